"""Hugging Face's pipelines over tasks of vlrnn: the calls and results of transformers 4, `ImageToTextPipeline`,
`VisualQuestionAnsweringPipeline` and `TextGenerationPipeline`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

from vlrnn.data.image_reader import image_list, is_image
from vlrnn.data.records import Prediction
from vlrnn.errors import UserError, or_raise
from vlrnn.inference.predictor import Predictor
from vlrnn.training.checkpoint import from_pretrained
from vlrnn.training.module import Task


class Pipeline:
    """A predictor that is called as a pipeline of Hugging Face is.

    Args:
        predictor: of a task that accepts what the pipeline takes.
    """

    accepts: frozenset[str]

    def __init__(self, predictor: Predictor) -> None:
        if predictor.task.accepts != self.accepts:
            raise predictor.refused(f"is for the pipeline {predictor.task.pipeline_tag!r}")
        self.predictor = predictor

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.predictor!r})"


class ImageToText(Pipeline):
    """Captions of images."""

    accepts = frozenset({"image"})

    def __call__(
        self, images: Any, *, batch_size: int = 16, generate_kwargs: Mapping[str, Any] | None = None, **settings: Any
    ) -> list[Any]:
        """Caption images.

        Args:
            images: an image as of `Predictor.caption`, or several as of `Predictor.captions`.
            batch_size: images at a time.
            generate_kwargs, settings: fields of `GenerationConfig` to change, and `seed`.

        Returns:
            `[{"generated_text": ...}]`, the hypotheses of one image, best first; of several images a list of these.

        Raises:
            UserError: an image cannot be read, or the settings contradict each other.
        """
        several = [images] if is_image(images) else images
        found = []
        for each in self.predictor.captions(several, batch_size=batch_size, **{**(generate_kwargs or {}), **settings}):
            found.append([{"generated_text": text} for text, _ in _ranked(or_raise(each))])
        return found[0] if is_image(images) else found


class VisualQuestionAnswering(Pipeline):
    """Answers to questions about images."""

    accepts = frozenset({"image", "question"})

    def __call__(
        self, image: Any, question: str | Sequence[str] | None = None, *, top_k: int | None = None
    ) -> list[Any]:
        """Answer questions.

        Args:
            image: an image, or several; or a mapping with `image` and `question`, or several of these.
            question: one, or several: with several images, each is answered about each, question by question.
            top_k: answers of each question at most, by default 5; a decoder gives those of its `answer_decoding`.

        Returns:
            `[{"score": ..., "answer": ...}]`, best first; of several questions or images a list of these.

        Raises:
            UserError: an image cannot be read, or a question has no words.
        """
        if top_k is not None and top_k < 1:
            raise UserError(f"top_k must be at least 1, not {top_k}")
        one = isinstance(image, Mapping) or (is_image(image) and isinstance(question, str))
        more: dict[str, Any] = {} if top_k is None else {"top_n": top_k}
        found = [
            [{"score": score, "answer": text} for text, score in _ranked(self.predictor.answer(*pair, **more))]
            for pair in _pairs(image, question)
        ]
        return found[0] if one else found


class TextGeneration(Pipeline):
    """Continuations of texts."""

    accepts = frozenset({"text"})

    def __call__(self, text: str | Sequence[str], *, return_full_text: bool = True, **settings: Any) -> list[Any]:
        """Continue texts.

        Args:
            text: the beginning of a text, or several.
            return_full_text: include it in what is returned.
            settings: fields of `GenerationConfig` to change, and `seed`.

        Returns:
            `[{"generated_text": ...}]`, best first; of several texts a list of these.

        Raises:
            UserError: the settings contradict each other.
        """
        found = [
            [
                {"generated_text": (each if return_full_text else "") + generated}
                for generated, _ in _ranked(self.predictor.continue_text(each, **settings))
            ]
            for each in ([text] if isinstance(text, str) else text)
        ]
        return found[0] if isinstance(text, str) else found


def _pairs(image: Any, question: Any) -> Iterable[tuple[Any, str]]:
    if question is None:
        items = [image] if isinstance(image, Mapping) else image
        if is_image(image) or not all(isinstance(each, Mapping) and {"image", "question"} <= {*each} for each in items):
            raise UserError("give image= and question=, or mappings with both")
        return [(each["image"], each["question"]) for each in items]
    images = [image] if is_image(image) else list(image_list(image, "the pipeline"))
    questions = [question] if isinstance(question, str) else question
    return [(each, text) for text, each in product(questions, images)]


def _ranked(prediction: Prediction) -> list[tuple[str, float]]:
    """Texts and scores of a prediction and its alternatives."""
    others = [(each["text"], each["score"]) for each in prediction.alternatives]
    return [(prediction.text, prediction.score or 0.0), *others]


PIPELINES: dict[str, Callable[[Predictor], Any]] = {
    "image-captioning": ImageToText,
    "image-to-text": ImageToText,
    "visual-question-answering": VisualQuestionAnswering,
    "text-generation": TextGeneration,
}


def pipeline(
    task: str,
    model: str | Path | Task | Predictor,
    device: str | torch.device | None = None,
    trust: Sequence[str] = (),
) -> Any:
    """A model with the calls and the results of a pipeline of Hugging Face.

    Args:
        task: `image-captioning` or `image-to-text`, `visual-question-answering`, `text-generation`.
        model: a `.ckpt` file, a folder of `save_pretrained`, `user/name` of the hub, a task, or a predictor.
        device: where it runs; by default a GPU if available.
        trust: packages outside vlrnn whose classes the model may name.

    Raises:
        UserError: there is no such pipeline or model, or the model does something else.
    """
    if task not in PIPELINES:
        raise UserError(f"there is no pipeline {task!r}; there are {', '.join(PIPELINES)}")
    if isinstance(model, Predictor):
        return PIPELINES[task](model)
    if isinstance(model, Task):
        return PIPELINES[task](Predictor(model, device))
    return PIPELINES[task](Predictor(from_pretrained(model, Task, trust=trust), device, str(model)))
