"""Requests of the page to models, each within limits that hold for every client. Independent of page and network.

The page's process imports this, too, and has no models: slow imports, torch above all, are made where the models are.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from vlrnn.data.images import Limits, open_image
from vlrnn.data.records import Prediction
from vlrnn.data.synthetic.rendering import render
from vlrnn.data.synthetic.scenes import sample_scene
from vlrnn.errors import UserError
from vlrnn.probes.object_mentions import PhraseTable, object_names, phrases
from vlrnn.terminal import percent

if TYPE_CHECKING:
    from vlrnn.inference.predictor import Predictor

HEADS = {"generative": "generative head", "classifier": "classifier head"}
"""The models that answer questions, and their titles."""

SETTINGS = {
    "beams": (1, 10),
    "temperature": (0, 2),
    "most": (2, 60),
    "least": (0, 30),
    "penalty": (0, 2),
    "count": (1, 5),
}
"""The least and the greatest value of each setting of the search."""

LIMITS = Limits(side=16_384, pixels=2**26)
"""Of a picture: a phone's photograph has at most so many pixels, 64 mebi."""

MIN_SIDE = 1024
"""A photograph is decoded at a reduced scale, at no fewer pixels to a side than this."""

MAX_QUESTION = 500
MAX_CAPTION = 1000
"""Characters."""

NOTHING = "(nothing)"


class Models(NamedTuple):
    """A captioner, heads of VQA by their names, and the finder of objects in captions; each may be absent."""

    captioner: Predictor | None
    heads: dict[str, Predictor]
    find: Callable[[Sequence[str]], Any] | None


def load(options: argparse.Namespace) -> Models:
    """The models that the command line names.

    Raises:
        UserError: one cannot be loaded, or is of another kind.
    """
    from vlrnn.inference.predictor import Predictor

    paths = checkpoints(options)
    models = {name: Predictor.load(path, options.device, trust=options.trust) for name, path in paths.items()}
    for name, model in models.items():  # each is run once, so that one of another kind is refused now
        blank = render(sample_scene(Random(0)))
        model.caption(blank) if name == "captioner" else model.answer(blank, "what is it?")
    table = options.objects or (f"{options.quickstart}/scenes/captions" if options.quickstart else None)
    find = None
    if table:
        folder = Path(table).is_dir()
        find = PhraseTable(phrases(object_names(table) if folder else (), None if folder else table)).find
    return Models(models.pop("captioner", None), models, find)


def checkpoints(options: argparse.Namespace) -> dict[str, str]:
    """Model -> its checkpoint, as the command line names them.

    Raises:
        UserError: none is named.
    """
    paths = {name: getattr(options, name) for name in ("captioner", *HEADS)}
    if options.quickstart:
        runs = {"captioner": "captioning", "generative": "generative_vqa", "classifier": "classifier_vqa"}
        paths = {name: paths[name] or f"{options.quickstart}/{run}/checkpoints/best.ckpt" for name, run in runs.items()}
    if not any(paths.values()):
        raise UserError("name a model: --quickstart RUN, or --captioner, --generative, --classifier with a checkpoint")
    return {name: path for name, path in paths.items() if path}


def prepare(options: argparse.Namespace) -> Callable[..., Any]:
    """Load the models -> `reply` of them.

    Raises:
        UserError: as `load`.
    """
    return partial(reply, load(options))


def reply(models: Models, request: str, picture: Path, *arguments: Any) -> Any:
    """Decode a picture, once, and answer a request, one of `REQUESTS`, about it.

    Raises:
        UserError: it is no picture, beyond the limits, or an argument is wrong.
    """
    return REQUESTS[request](models, open_image(picture, LIMITS, MIN_SIDE), *arguments)


# Each request checks its arguments: a client can send others than the page offers.


def caption(models: Models, picture: Image.Image, *settings: Any) -> tuple[str, list[list[Any]], list[str]]:
    """The best caption; all hypotheses with their scores; and the words of the best. `settings` are those of
    `SETTINGS`, in order.

    Raises:
        UserError: one is out of its bounds.
    """
    assert models.captioner is not None
    beams, temperature, most, least, penalty, count = map(_bounded, SETTINGS, settings)
    sampled = {"temperature": temperature} if temperature else {"num_beams": max(int(beams), int(count))}
    best = models.captioner.caption(
        picture,
        **sampled,
        max_new_tokens=int(most),
        min_new_tokens=int(least),
        length_penalty=penalty,
        num_return_sequences=int(count),
    )
    rows = [[best.text, best.score], *([each["text"], each["score"]] for each in best.alternatives)]
    return best.text, [[text, round(score, 3)] for text, score in rows], list(best.tokens)


def attention(models: Models, picture: Image.Image, text: Any, place: Any) -> tuple[Image.Image | None, str]:
    """The picture, bright where the captioner attends at a word of a caption; and the probability of the word.

    Raises:
        UserError: the caption is too long.
    """
    from vlrnn.report.drawing import shaded, within

    assert models.captioner is not None
    words = models.captioner.tokenizer.tokenize(_short(text, MAX_CAPTION, "a caption"))
    if not isinstance(place, int) or not 0 <= place < len(words):
        return None, ""
    read = models.captioner.score_caption(picture, words)
    line = f"“{words[place]}”: probability {percent(math.exp(read.log_probs[place]))}"
    if read.attention is None:
        return None, f"{line}; this decoder has no attention"
    if read.gates is not None:
        line += f", gate {read.gates[place]:.2f}"
    return shaded(within(picture, 512), read.attention[place]), line


def objects(models: Models, picture: Image.Image, text: Any) -> list[list[str]]:
    """A row for each object that a caption names: its probabilities, the answers of the heads, and a verdict.

    Raises:
        UserError: the caption is too long, or there is no table of objects.
    """
    from vlrnn.probes.model.attribution import support

    assert models.captioner is not None
    if models.find is None:
        raise UserError("there is no list of objects; start with --objects")
    rows = []
    words = models.captioner.tokenizer.tokenize(_short(text, MAX_CAPTION, "a caption"))
    for each in support(models.captioner, picture, words, models.find):
        question = f"is there a {each.object}"
        replies = [head.answer(picture, question).text for head in models.heads.values()]
        doubtful = each.doubtful or "no" in replies
        reading = "may be hallucinated" if doubtful else "seen"
        rows.append([each.object, percent(each.image), percent(each.blank), ", ".join(replies) or "-", reading])
    return rows


def answers(models: Models, picture: Image.Image, question: Any) -> tuple[list[dict[str, float]], list[str]]:
    """The answers of each head with their scores; and the row of the history, which names the kind of score.

    Raises:
        UserError: the question is too long, or has no words.
    """
    question = _short(question, MAX_QUESTION, "a question")
    replies = [head.answer(picture, question) for head in models.heads.values()]
    row = [question, *(f"{each.text or NOTHING} ({each.score_name} {percent(each.score or 0)})" for each in replies)]
    return list(map(_probabilities, replies)), row


REQUESTS: dict[str, Callable[..., Any]] = {each.__name__: each for each in (caption, attention, objects, answers)}


def _probabilities(reply: Prediction) -> dict[str, float]:
    found = {reply.text or NOTHING: float(reply.score or 0)}
    for each in reply.alternatives:
        found.setdefault(str(each["text"]) or NOTHING, float(each["score"]))
    return found


def _bounded(name: str, value: Any) -> float:
    least, most = SETTINGS[name]
    if not isinstance(value, int | float) or not least <= value <= most:  # not a number is in no bounds, either
        raise UserError(f"{name} must be a number from {least} to {most}")
    return value


def _short(text: Any, longest: int, what: str) -> str:
    if not isinstance(text, str) or len(text) > longest:
        raise UserError(f"{what} must be a text of at most {longest:,} characters")
    return text
