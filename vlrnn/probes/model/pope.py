"""Yes/no questions after an object, put to a model: a head of VQA is asked, a captioner is listened to. Knows no score;
vlrnn.probes.pope scores what is answered.

Source of the questions: Li et al., Evaluating object hallucination in large vision-language models, EMNLP 2023.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch

from vlrnn.errors import UserError
from vlrnn.generation.generate import score_sequences
from vlrnn.inference.predictor import Predictor
from vlrnn.progress import track
from vlrnn.text.vocabulary import PAD, UNK

Pair = tuple[str, str]
"""The file of an image, and what is asked about it: a question, or an object."""


def answer(predictor: Predictor, pairs: Iterable[Pair], folder: str | Path) -> dict[Pair, str]:
    """Ask a head of VQA questions about images in a folder; each image is encoded once.

    Raises:
        UserError: the model captions, or an image cannot be read.
    """
    return {
        (image, question): prediction.text
        for image, questions in _by_image(pairs)
        for question, prediction in zip(questions, predictor.answers(Path(folder) / image, questions), strict=True)
    }


def caption(predictor: Predictor, images: Iterable[str], folder: str | Path) -> dict[str, str]:
    """Have a captioner caption images in a folder: file -> caption.

    Raises:
        UserError: the model answers questions, or an image cannot be read.
    """
    return {
        image: predictor.caption(Path(folder) / image).text for image, _ in _by_image((each, "") for each in images)
    }


def likely(predictor: Predictor, pairs: Iterable[Pair], folder: str | Path) -> dict[Pair, bool | None]:
    """Whether a captioner finds an object likely in an image of a folder: at one place of its caption or other it would
    name it sooner than chance would, which draws one of all the objects that are asked about. None where a word of the
    name is not in its vocabulary.

    Raises:
        UserError: the model answers questions, or an image cannot be read.
    """
    pairs = list(pairs)
    chance = -math.log(max(2, len({name for _, name in pairs})))
    found: dict[Pair, bool | None] = {}
    for image, names in _by_image(pairs):
        ids = {name: predictor.require({"image"}, "does not caption").vocabulary.encode_text(name) for name in names}
        encodable = {name: each for name, each in ids.items() if each and UNK not in each}
        best = _best(predictor, Path(folder) / image, list(encodable.values()))
        found |= {(image, name): None for name in names} | {
            (image, name): each > chance for name, each in zip(encodable, best, strict=True)
        }
    return found


@torch.inference_mode()
def _best(predictor: Predictor, path: Path, names: Sequence[Sequence[int]]) -> list[float]:
    """The log probability of each name, as ids, about an image, at that place of the caption where it is largest."""
    captioner = predictor.require({"image"}, "does not caption")
    caption = captioner.vocabulary.encode(predictor.caption(path).tokens)
    if not names:
        return []
    places = range(len(caption) + 1)
    rows = [torch.tensor([*caption[:place], *name]) for name in names for place in places]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, True, PAD).to(predictor.device)
    memory = captioner.decoder.prepare(predictor.context(path))
    log_probs = score_sequences(captioner.decoder, memory, tokens, tokens.new_zeros(len(tokens)))
    by_name = log_probs.unflatten(0, (len(names), len(places))).cpu()
    return [
        max(float(each[place, place : place + len(name)].sum()) for place in places)
        for name, each in zip(names, by_name, strict=True)
    ]


def _by_image(pairs: Iterable[Pair]) -> Iterator[tuple[str, list[str]]]:
    """Each image with what is asked about it, each once, under a progress bar."""
    grouped: dict[str, dict[str, None]] = {}
    for image, text in pairs:
        grouped.setdefault(image, {})[text] = None
    if not grouped:
        raise UserError("there is nothing to ask")
    for image, texts in track(grouped.items(), "asking", unit="images"):
        yield image, list(texts)
