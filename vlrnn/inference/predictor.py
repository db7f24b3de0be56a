"""The Python interface to a trained model: load it once, then caption images, answer questions, or continue texts."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from inspect import signature
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlrnn.config import to_config
from vlrnn.data.image_reader import ImageReader, image_list, image_name, is_image
from vlrnn.data.images import ImageLike
from vlrnn.data.records import Prediction
from vlrnn.errors import UserError, check_names, check_whole, or_raise
from vlrnn.generation.generate import TokenScores, score_tokens
from vlrnn.generation.search import GenerationConfig
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.weights import digest
from vlrnn.terminal import html_table
from vlrnn.text.tokenizers import CaptionTokenizer
from vlrnn.training.checkpoint import load_task
from vlrnn.training.module import Task


class Predictor:
    """A trained task, ready to predict: `predictor(image)`, `predictor(image, question)`, or `predictor(text)`.

    Args:
        task: trained.
        device: where it runs; by default a GPU if available.
        name: what errors call it.
        bf16, compiled: of the encoder, as `Encoder.folded` takes them.

    Raises:
        UserError: there is no such device.
    """

    def __init__(
        self,
        task: Task,
        device: str | torch.device | None = None,
        name: str = "this model",
        *,
        bf16: bool = False,
        compiled: bool = False,
    ) -> None:
        self.name = name
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            self.task = task.to(self.device).eval()
        except (AssertionError, RuntimeError) as fault:  # each kind of device is refused in its own way
            raise UserError(f"device {device}: cannot be used: {' '.join(str(fault).split())[:200]}") from None
        self._images = ImageReader(task.encoder.folded(bf16, compiled), self.device)

    @classmethod
    def load(
        cls, path: str | Path, device: str | torch.device | None = None, *, trust: Sequence[str] = (), **how: Any
    ) -> "Predictor":
        """Load a `.ckpt` file or a folder of `save_pretrained`; runs no code but of vlrnn and of packages that are
        trusted, and downloads nothing.

        Args:
            path: of the file or folder.
            device: as of the class.
            trust: packages outside vlrnn whose classes it may name: `trust=["my_parts"]`.
            how: `bf16` and `compiled`, as of the class.

        Raises:
            UserError: it is none, or names a class that is not trusted.
        """
        return cls(load_task(path, Task, trust), device, str(path), **how)

    def __repr__(self) -> str:
        millions = sum(each.numel() for each in self.task.parameters()) / 1e6
        return f"Predictor({self.name!r}: {type(self.task).__name__}, {millions:.1f} M parameters, on {self.device})"

    def _repr_html_(self) -> str:
        parts = ((name, type(part).__name__) for name, part in self.task.named_children())
        return html_table([("model", self), *parts])

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        """The prediction for one input, of what the task accepts: an image, an image and a question, or a text. Of
        several images, as `captions` takes them, a list.

        Args:
            inputs: as of `caption`, `answer` or `continue_text`.
            settings: as of these methods.

        Raises:
            UserError: the inputs are others, or as of these methods.
        """
        kinds = [kind for kind in ("image", "question", "text") if kind in self.task.accepts]
        if len(inputs) != len(kinds):
            raise UserError(f"{self.name}: takes {' and '.join(kinds)}, {len(kinds)} in all, not {len(inputs)}")
        if kinds == ["image"] and not is_image(inputs[0]):
            return [or_raise(each) for each in self.captions(*inputs, **settings)]
        methods: dict[str, Any] = {"image": self.caption, "question": self.answer, "text": self.continue_text}
        return methods[kinds[-1]](*inputs, **settings)

    def fingerprint(self) -> str:
        """A digest of the model: of its description and its weights."""
        return hashlib.sha256(f"{to_config(self.task)} {digest(self.task.state_dict())}".encode()).hexdigest()

    def decoding(self, **settings: Any) -> GenerationConfig:
        """The model's own generation settings, changed where `settings` has others (`num_beams=5`, ...); the defaults
        of a task without settings."""
        task = self.require({"image"}, "does not caption")
        found: GenerationConfig = task.generation_arguments(settings).get("generation", GenerationConfig())
        return found

    def caption(self, image: ImageLike, *, seed: int = 0, **settings: Any) -> Prediction:
        """Caption one image.

        Args:
            image: as of `vlrnn.data.images.read_image`: a file, bytes, an image of Pillow, or uint8 [height, width, 3].
            seed: of random drawing, when a temperature is given.
            settings: fields of `GenerationConfig` to change.

        Raises:
            UserError: the file is no image, or the settings contradict each other.
        """
        (prediction,) = self.captions([image], seed=seed, **settings)
        return or_raise(prediction)

    def captions(
        self, images: Iterable[ImageLike], *, batch_size: int = 16, seed: int = 0, first: int = 0, **settings: Any
    ) -> Iterator[Prediction | UserError]:
        """Caption many images, in order. Where one cannot be read, its error stands in the place of its caption.

        Args:
            images: as for `caption`, read when they are needed; or a tensor of uint8 [B, 3, H, W].
            batch_size: how many are captioned at a time.
            seed: of random drawing, when a temperature is given; each batch draws by itself.
            first: how many images of the same work come before these, whole batches: what is drawn goes on behind them.
            settings: fields of `GenerationConfig` to change.

        Raises:
            UserError: the settings contradict each other, or `images` is one image.
        """
        check_whole("batch_size", batch_size, 1)
        images = image_list(images, "captions")
        self._generator(seed, first)
        self.require({"image"}, "does not caption").generation_arguments(settings)
        return self._captions(images, batch_size, seed, first, settings)

    def _captions(
        self, images: Iterable[ImageLike], batch_size: int, seed: int, first: int, settings: dict[str, Any]
    ) -> Iterator[Prediction | UserError]:
        numbered = enumerate(images, first + 1)
        while batch := list(islice(numbered, batch_size)):
            generator = self._generator(seed, batch[0][0] - 1)
            read = [self._read(image, number) for number, image in batch]
            names = [image_name(image, number) for number, image in batch]
            good = [(each, name) for each, name in zip(read, names, strict=True) if isinstance(each, np.ndarray)]
            found: Iterator[Prediction] = iter(())
            if good:
                with torch.no_grad():
                    more = self.task.generation_arguments(settings, generator)
                    found = iter(self.task.predict(self._images.batch(*zip(*good, strict=True)), **more))
            yield from (each if isinstance(each, UserError) else next(found) for each in read)

    def _read(self, image: ImageLike, number: int) -> np.ndarray | UserError:
        try:
            return self._images.read(image, number)
        except UserError as fault:
            return fault

    def attention(self, image: ImageLike, tokens: Iterable[str]) -> np.ndarray | None:
        """Attention weights [T + 1, N] over the regions at each of T given tokens, and at the end after them, row by
        row of the grid; None when the decoder has no attention."""
        return self.score_caption(image, tokens).attention

    def score_caption(self, image: ImageLike, tokens: Iterable[str]) -> TokenScores:
        """Score given tokens, and the end after them, as a caption of an image, by teacher forcing.

        Raises:
            UserError: the file is no image, or the model answers questions.
        """
        task = self.require({"image"}, "does not caption")
        if not hasattr(task, "decoder"):
            raise UserError(f"{self.name}: {type(task).__name__} has no decoder, which scores tokens")
        return score_tokens(task.decoder, task.vocabulary, self.context(image), tuple(tokens))

    def features(self, images: Iterable[ImageLike]) -> Tensor:
        """The regions [B, N, D] of images, on the device.

        Args:
            images: as for `captions`.

        Raises:
            UserError: one is no image, or there are none.
        """
        read = [self._images.read(image, number) for number, image in enumerate(image_list(images, "features"), 1)]
        if not read:
            raise UserError("features takes at least one image")
        return self._images.regions(read)

    def context(self, image: ImageLike) -> Context:
        """The encoder's output for one image.

        Raises:
            UserError: the file is no image, or has no precomputed regions.
        """
        return self._images.context([self._images.read(image)])

    def answer(self, image: ImageLike, question: str, **settings: Any) -> Prediction:
        """Answer one question about an image, in any form that `caption` takes; see `answers`."""
        (prediction,) = self.answers(image, [question], **settings)
        return prediction

    @torch.no_grad()
    def answers(self, image: ImageLike, questions: Sequence[str], **settings: Any) -> list[Prediction]:
        """Answer questions about one image, which is encoded once.

        Args:
            image: in any form that `caption` takes.
            questions: about it.
            settings: arguments of the task's `predict`: `top_n`, of a classifier.

        Returns:
            of each question the answer, whose `score` is its `score_name`; `alternatives` are the next best.

        Raises:
            UserError: the file is no image, a question has no words, `questions` is one question, or the model
                captions.
        """
        if isinstance(questions, str):
            raise UserError("answers takes a list of questions, not a text; answer takes one question")
        task = self.require({"image", "question"}, "answers no questions")
        check_names(settings, list(signature(task.predict).parameters)[1:], "argument")
        if not questions:
            return []
        batch = self._images.batch([self._images.read(image)], [image_name(image)], questions, task.vocabulary)
        return task.predict(batch, **settings)

    def continue_text(self, text: str, *, seed: int = 0, **settings: Any) -> Prediction:
        """Continue a text by `max_new_tokens` tokens.

        Args:
            text: its beginning; it may be empty.
            seed: of random drawing, when a temperature is given.
            settings: fields of `GenerationConfig` to change.

        Returns:
            the continuation, without the text.

        Raises:
            UserError: the settings contradict each other, or the model does something else.
        """
        model = self.require({"text"}, "is no language model")
        (prediction,) = model.generate(texts=[text], generator=self._generator(seed), **settings)
        return prediction

    def unknown_units(self, text: str) -> list[str]:
        """The words or characters of a text that are not in the vocabulary: all are `<unk>` to the model."""
        model = self.require({"text"}, "is no language model")
        return [unit for unit in dict.fromkeys(model.tokenizer.split(text)) if unit not in model.vocabulary]

    def unknown_words(self, question: str) -> list[str]:
        """The words of a question that are not in the vocabulary: all are `<unk>` to the model."""
        return [word for word in self.tokenizer.tokenize(question) if word not in self.task.vocabulary]

    @property
    def tokenizer(self) -> CaptionTokenizer:
        """The tokenizer of captions or questions.

        Raises:
            UserError: the model has none.
        """
        if "image" not in self.task.accepts:
            raise self.refused("has neither captions nor questions")
        return self.task.vocabulary.tokenizer

    def require(self, inputs: set[str], refusal: str) -> Task:
        """The task, if it accepts just these inputs.

        Raises:
            UserError: it accepts others: the `refusal`, and what the task does.
        """
        if self.task.accepts != inputs:
            raise self.refused(refusal)
        return self.task

    def refused(self, refusal: str) -> UserError:
        """The error that the task does something else."""
        return UserError(f"{self.name}: {refusal}: it {self.task.summary} (vlrnn {self.task.command})")

    def _generator(self, seed: int, first: int = 0) -> torch.Generator:
        """Random numbers of their own for each seed, and each number of images that come before."""
        check_whole("seed", seed, 0)
        own = int(np.random.SeedSequence((seed, first)).generate_state(1, np.uint64)[0])
        return torch.Generator(self.device).manual_seed(own >> 1)
