"""The Python interface to a trained model: load a checkpoint once, then caption images, ask about them, or go
on with texts."""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from vlrnn.config import to_config
from vlrnn.data.batches import Item, collate
from vlrnn.data.images import ImageLike
from vlrnn.data.records import Example, Prediction
from vlrnn.errors import UserError
from vlrnn.generation.generate import as_prediction
from vlrnn.generation.search import GenerationConfig
from vlrnn.inference.image_reader import ImageReader, image_name
from vlrnn.nn.encoders.base import Context, on_grid
from vlrnn.nn.weights import digest
from vlrnn.tasks.captioning import Captioner
from vlrnn.tasks.language_model import LanguageModel
from vlrnn.tasks.vqa import VQATask
from vlrnn.text.tokenizers import CaptionTokenizer
from vlrnn.text.vocabulary import BOS, EOS
from vlrnn.training.checkpoint import load_task
from vlrnn.training.module import Task


class Reread(NamedTuple):
    """What a captioner reveals of T words that it is made to say, and of the end behind them: the natural `log_probs`
    [T + 1]; where it looked, `attention` [T + 1, N]; and how much of that it let in, `gates` [T + 1] in 0..1. The two
    are None where the decoder has none."""

    log_probs: np.ndarray
    attention: np.ndarray | None
    gates: np.ndarray | None


class Predictor:
    """A captioner, a model that answers questions, or one that goes on with texts, ready to be asked.

    Args:
        task: trained.
        device: where it runs; by default a GPU where there is one.
        name: what errors call it.
        bf16, compiled: how the encoder sees, as `Encoder.folded` takes them.

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

    def fingerprint(self) -> str:
        """A digest of the model: of its description and its weights."""
        return hashlib.sha256(f"{to_config(self.task)} {digest(self.task.state_dict())}".encode()).hexdigest()

    def decoding(self, **settings: Any) -> GenerationConfig:
        """The model's own decoding settings, changed where `settings` says (`num_beams=5`, ...)."""
        return _changed(self._captioner.generation, settings)

    def caption(self, image: ImageLike, *, seed: int = 0, **settings: Any) -> Prediction:
        """Caption one image.

        Args:
            image: a file, its bytes, an image of Pillow, or an array of uint8 [height, width, 3]; see
                `vlrnn.data.images.read_image`.
            seed: of random drawing, when a temperature is given.
            settings: fields of `GenerationConfig` to change.

        Raises:
            UserError: the file is no image, or the settings contradict each other.
        """
        (prediction,) = self.captions([image], seed=seed, **settings)
        if isinstance(prediction, UserError):
            raise prediction
        return prediction

    def captions(
        self, images: Iterable[ImageLike], *, batch_size: int = 16, seed: int = 0, first: int = 0, **settings: Any
    ) -> Iterator[Prediction | UserError]:
        """Caption many images, in order. Where one cannot be read, its error stands in the place of its caption.

        Args:
            images: as for `caption`, read when they are needed.
            batch_size: how many are captioned at a time.
            seed: of random drawing, when a temperature is given; each batch draws by itself.
            first: how many images of the same work come before these, whole batches: what is drawn goes on behind them.
            settings: fields of `GenerationConfig` to change.

        Raises:
            UserError: the settings contradict each other, or `images` is one image.
        """
        _check_whole("batch_size", batch_size, 1)
        one = isinstance(images, (str, bytes, bytearray, memoryview, os.PathLike, Image.Image))
        one = one or hasattr(images, "read")
        if one or not isinstance(images, Iterable) or (isinstance(images, np.ndarray) and images.ndim < 4):
            raise UserError(f"captions takes a list of images, not a {type(images).__name__}; caption takes one image")
        self._generator(seed, first)
        return self._captions(images, batch_size, seed, first, self.decoding(**settings))

    def _captions(
        self, images: Iterable[ImageLike], batch_size: int, seed: int, first: int, decoding: GenerationConfig
    ) -> Iterator[Prediction | UserError]:
        numbered = enumerate(images, first + 1)
        while batch := list(islice(numbered, batch_size)):
            generator = self._generator(seed, batch[0][0] - 1)
            read = [self._images.read(image, number) for number, image in batch]
            good = [each for each in read if isinstance(each, np.ndarray)]
            sentences = iter(self._captioner.generate(self._images.context(good), decoding, generator) if good else ())
            for (number, image), result in zip(batch, read, strict=True):
                if isinstance(result, UserError):
                    yield result
                else:
                    name = image_name(image, number)
                    yield as_prediction(name, name, next(sentences), decoding.describe())

    def attention(self, image: ImageLike, tokens: Iterable[str]) -> np.ndarray | None:
        """Where the model looks as it says these words, and then ends: weights [T + 1, N] over the regions, row by row
        of the grid; None when its decoder does not attend."""
        return self.reread(image, tokens).attention

    @torch.no_grad()
    def reread(self, image: ImageLike, tokens: Iterable[str]) -> Reread:
        """Have a captioner say these words, and then end, of an image, whether it would have or not.

        Raises:
            UserError: the file is no image, or the model answers questions.
        """
        captioner = self._captioner
        ids = torch.tensor([[BOS, *captioner.vocabulary.encode(tokens), EOS]], device=self.device)
        context = self.context(image)
        memory = captioner.decoder.prepare(context)
        output = captioner.decoder(ids[:, :-1], memory, torch.zeros(1, dtype=torch.long, device=self.device))
        attention = None if output.attention is None else on_grid(output.attention, context)
        possible = captioner.decoder.logits(output.hidden).float().log_softmax(-1)
        log_probs = possible.gather(2, ids[:, 1:, None])[0, :, 0]
        looked, gates = (None if each is None else each[0].cpu().numpy() for each in (attention, output.gate))
        return Reread(log_probs.cpu().numpy(), looked, gates)

    def context(self, image: ImageLike) -> Context:
        """The encoder's output for one image.

        Raises:
            UserError: the file is no image, or has no precomputed regions.
        """
        read = self._images.read(image)
        if isinstance(read, UserError):
            raise read
        return self._images.context([read])

    def answer(self, image: ImageLike, question: str) -> Prediction:
        """Answer one question about an image, in any form that `caption` takes; see `answers`."""
        (prediction,) = self.answers(image, [question])
        return prediction

    @torch.no_grad()
    def answers(self, image: ImageLike, questions: Sequence[str]) -> list[Prediction]:
        """Answer questions about one image, which is encoded once.

        Returns:
            of each question the answer, whose `score` is its `score_name`; `alternatives` are the next best.

        Raises:
            UserError: the file is no image, a question has no words, `questions` is one question, or the model
                captions.
        """
        if isinstance(questions, str):
            raise UserError("answers takes a list of questions, not a text; answer takes one question")
        task = self._answerer
        rows = [task.vocabulary.encode_text(question) for question in questions]
        for question in questions:
            if not any(map(str.isalnum, question)):
                raise UserError(f"a question without words: {question!r}")
        read = self._images.read(image)
        if isinstance(read, UserError):
            raise read
        name = image_name(image)
        regions = self._images.regions([read])[0]
        examples = tuple(Example(number, name, name, question=question) for number, question in enumerate(questions, 1))
        return task.predict(collate([Item(examples, None, regions.cpu(), rows)]).to(self.device)) if rows else []

    def continue_text(self, text: str, *, seed: int = 0, **settings: Any) -> Prediction:
        """Go on with a text that begins so, by `max_new_tokens` units.

        Args:
            text: what the model hears first; it may be empty.
            seed: of random drawing, when a temperature is given.
            settings: fields of `GenerationConfig` to change.

        Returns:
            what comes behind the text, without it.

        Raises:
            UserError: the settings contradict each other, or the model does something else.
        """
        model = self._language_model
        decoding = _changed(model.generation, settings)
        found = model.continue_text(*model.advance_state(text), decoding, self._generator(seed))
        return as_prediction("text", "text", found, decoding.describe())

    def unknown_units(self, text: str) -> list[str]:
        """The words or characters of a text that training never showed, which are all alike to the model."""
        model = self._language_model
        return [unit for unit in dict.fromkeys(model.tokenizer.split(text)) if unit not in model.vocabulary]

    def unknown_words(self, question: str) -> list[str]:
        """The words of a question that training never showed, which are all alike to the model."""
        return [word for word in self.tokenizer.tokenize(question) if word not in self._answerer.vocabulary]

    @property
    def tokenizer(self) -> CaptionTokenizer:
        """What the model's captions or questions are cut into.

        Raises:
            UserError: it has none.
        """
        if not isinstance(self.task, (Captioner, VQATask)):
            raise UserError(f"{self.name}: has neither captions nor questions: it {self.task.summary}")
        return self.task.vocabulary.tokenizer

    @property
    def _captioner(self) -> Captioner:
        if not isinstance(self.task, Captioner):
            raise UserError(f"{self.name}: does not caption: it {self.task.summary}")
        return self.task

    @property
    def _answerer(self) -> VQATask:
        if not isinstance(self.task, VQATask):
            raise UserError(f"{self.name}: answers no questions: it {self.task.summary}")
        return self.task

    @property
    def _language_model(self) -> LanguageModel:
        if not isinstance(self.task, LanguageModel):
            raise UserError(f"{self.name}: is no language model: it {self.task.summary}")
        return self.task

    def _generator(self, seed: int, first: int = 0) -> torch.Generator:
        """Of random numbers of its own for each seed, and each number of images that come before."""
        _check_whole("seed", seed, 0)
        own = int(np.random.SeedSequence((seed, first)).generate_state(1, np.uint64)[0])
        return torch.Generator(self.device).manual_seed(own >> 1)


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) < 2**63:
        raise UserError(f"{name} must be a whole number from {least} to 2^63 - 1, not {value!r:.60}")


def _changed(decoding: GenerationConfig, settings: dict[str, Any]) -> GenerationConfig:
    # Random drawing has no beams: who asks for a temperature alone means one.
    if settings.get("temperature") is not None:
        settings.setdefault("num_beams", 1)
    return replace(decoding, **settings)
