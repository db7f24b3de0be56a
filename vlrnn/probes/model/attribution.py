"""Are hallucinated objects predicted from the image or the preceding words? Compares the probability of each object
word given the image with that given a blank image.

After the language consistency and the image consistency of Rohrbach et al., Object hallucination in image captioning,
EMNLP 2018. They use a language model and a classifier; here the captioner itself gives both, after the same words.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vlrnn.data.batches import collate, constant_image
from vlrnn.data.records import Example, Id
from vlrnn.errors import UserError
from vlrnn.generation.generate import predicted_tokens, shift_right
from vlrnn.inference.predictor import ImageLike, Predictor
from vlrnn.metrics.statistics import Floats, MeansByImage, bootstrap_settings
from vlrnn.probes.finding import TELLING, Finding
from vlrnn.probes.model.encoded_split import EncodedSplit, encoded, open_predictor
from vlrnn.probes.object_mentions import PhraseTable, Span, object_names, phrases
from vlrnn.text.vocabulary import EOS, UNK
from vlrnn.training.module import Task

Finder = Callable[[Sequence[str]], Sequence[Span]]
"""From the words of a caption to the objects that they name."""


@dataclass(frozen=True)
class ObjectMention:
    """An object that a caption names.

    Attributes:
        id, image_id: of the example.
        caption: the whole text.
        words: those that name the object.
        object: the name in the table of objects.
        present: whether it is in the image.
        image: the natural log probability of the words, given the image and the words before.
        blank: the same, given a blank image.
        rank: of the words given the blank image, 1 for the likeliest; of several words that of the least expected.
        spread: the entropy of the attention at the words, their mean, as a share of the largest, log N of N regions;
            None if the decoder has no attention, or there is one region.
    """

    id: Id
    image_id: Id
    caption: str
    words: str
    object: str
    present: bool
    image: float
    blank: float
    rank: int
    spread: float | None


def attribution(
    checkpoint: str | Path | Predictor,
    data: str | Path,
    split: str = "test",
    *,
    synonyms: str | Path | None = None,
    find: Finder | None = None,
    cache: str | Path | None = None,
    device: str | None = None,
    trust: Sequence[str] = (),
    batch_size: int = 32,
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """Are hallucinated objects predicted from the image or from the preceding words? The control row has the objects
    that are named and in the image.

    Args:
        checkpoint: of a captioner: a .ckpt file, or a folder written by vlrnn export.
        data: a prepared data set with objects.
        split: of the data.
        synonyms: one object per line with its synonyms, separated by commas.
        find: from the words of a caption to the objects that they name; by default those of the data, by `synonyms`.
        cache: for encoder outputs; by default a temporary folder.
        device: cpu, cuda, cuda:1, ...; by default a GPU if available.
        trust: allow classes of this package in the checkpoint, which runs its code; may be repeated.
        batch_size: images that are encoded at a time; it changes nothing else.
        resamples, seed: of the bootstrap over images.

    Returns:
        `hallucinated`, the share of the mentioned objects that are not in the image; and means over these, each in
        0..1: `image_probability` and `blank_probability` of their words, `reciprocal_rank` of them given the blank
        image, `by_language`, the share that the image makes no likelier than a blank one, and `attention_entropy`, as a
        share of the largest; and `raised`, by how many nats the image raises their log probability.

    Raises:
        UserError: no captioner, or no example has a list of the objects in its image.
    """
    find = find or PhraseTable(phrases(object_names(data), synonyms)).find
    predictor = open_predictor(checkpoint, device, trust)
    predictor.require({"image"}, "does not caption")
    with encoded(predictor, data, split, cache) as encoded_split:
        annotated = {id: example for id, example in encoded_split.examples.items() if example.objects is not None}
        if not annotated:
            raise UserError(f"{data}/{split}.jsonl: no example has annotated objects ('objects')")
        named = [each for each in _mentions(predictor, encoded_split, find, batch_size) if each.id in annotated]
    settings = {"checkpoint": predictor.name, "data": str(data), "split": split, "images": len(annotated)}
    settings |= {"named": len(named), **bootstrap_settings(resamples, seed)}
    means = MeansByImage([each.image_id for each in named], resamples, seed)
    wrong, right = (np.array([each.present == present for each in named], bool) for present in (False, True))
    figures = _figures(named)
    return Finding(
        scores=means.of({"hallucinated": wrong}) | means.of(figures, members=wrong),
        settings=settings | {"decoding": predictor.task.generation.describe()},
        baselines={"named rightly": means.of(figures, members=right)},
        cases=_cases([each for each in named if not each.present]),
        details={"objects": _by_object(named)},
        not_computed=_not_computed(named, figures),
        notes=_notes(encoded_split.examples, annotated),
    )


@torch.inference_mode()
def _mentions(predictor: Predictor, split: EncodedSplit, find: Finder, batch_size: int) -> Iterator[ObjectMention]:
    """The objects that the generated captions of a split mention."""
    captioner = predictor.task
    for items in split.batches(batch_size, "captions"):
        batch, blank = (
            collate(each).to(predictor.device) for each in (items, list(map(constant_image(split.blank), items)))
        )
        captions = captioner.predict(batch)
        tokens = predicted_tokens(captioner.vocabulary, captions).to(predictor.device)
        with_image, without_image = (_WordScores.of(captioner, each.regions, tokens) for each in (batch, blank))
        for row, (example, caption) in enumerate(zip(batch.examples, captions, strict=True)):
            for span in find(caption.tokens):
                place = (row, slice(span.start, span.stop))
                yield ObjectMention(
                    id=example.id,
                    image_id=example.image_id,
                    caption=caption.text,
                    words=" ".join(caption.tokens[place[1]]),
                    object=span.object,
                    present=span.object in (example.objects or ()),
                    image=float(with_image.log_probs[place].sum()),
                    blank=float(without_image.log_probs[place].sum()),
                    rank=int(without_image.ranks[place].max()),
                    spread=None if with_image.spread is None else float(with_image.spread[place].mean()),
                )


class _WordScores(NamedTuple):
    """Captions [M, T] scored under teacher forcing: the `log_probs` [M, T] of their words, their `ranks` [M, T] in the
    vocabulary without special tokens, and the entropy of the attention, `spread` [M, T], as a share of the largest."""

    log_probs: Tensor
    ranks: Tensor
    spread: Tensor | None

    @classmethod
    def of(cls, captioner: Task, regions: Tensor | None, tokens: Tensor) -> "_WordScores":
        """Score captions, one for each image, given the regions [M, N, D] of the images."""
        assert regions is not None
        memory = captioner.decoder.prepare(captioner.encoder.context(regions))
        rows = torch.arange(len(tokens), device=tokens.device)
        output = captioner.decoder(shift_right(tokens), memory, rows)
        possible = captioner.decoder.logits(output.hidden).float().log_softmax(-1)
        log_probs = possible.gather(2, tokens[..., None])
        possible[..., [id for id in range(UNK + 1) if id != EOS]] = -torch.inf  # never generated
        ranks = 1 + (possible > log_probs).sum(-1)
        return cls(log_probs[..., 0], ranks, None if output.attention is None else _spread(output.attention))


def _spread(attention: Tensor) -> Tensor | None:
    """The entropy [...] of weights [..., N] as a share of the largest, log N; None of a single region."""
    count = attention.shape[-1]
    return torch.special.entr(attention.float()).sum(-1) / math.log(count) if count > 1 else None


def _figures(named: Sequence[ObjectMention]) -> dict[str, Floats]:
    """The columns [named] whose means are scores; see `attribution`."""
    image, blank, rank = (np.array([getattr(each, name) for each in named]) for name in ("image", "blank", "rank"))
    figures = {
        "image_probability": np.exp(image),
        "blank_probability": np.exp(blank),
        "raised": image - blank,
        "reciprocal_rank": 1 / rank,
        "by_language": (image <= blank).astype(np.float64),
    }
    spread = [each.spread for each in named if each.spread is not None]
    return figures | ({"attention_entropy": np.array(spread)} if spread else {})


def _cases(invented: Sequence[ObjectMention]) -> list[dict[str, Any]]:
    """Those whose probability the image raises least, first."""
    return [
        {
            "id": each.id,
            "caption": each.caption,
            "object": each.object,
            "image_probability": round(math.exp(each.image), 4),
            "blank_probability": round(math.exp(each.blank), 4),
            "rank": each.rank,
            "by": "language" if each.image <= each.blank else "eye",
        }
        for each in sorted(invented, key=lambda each: each.image - each.blank)[:TELLING]
    ]


def _by_object(named: Sequence[ObjectMention]) -> dict[str, dict[str, int]]:
    """Object -> how often it is mentioned, hallucinated, and hallucinated where the image makes it no likelier."""
    found: dict[str, dict[str, int]] = {}
    for each in sorted(named, key=lambda each: each.object):
        row = found.setdefault(each.object, {"named": 0, "hallucinated": 0, "by_language": 0})
        row["named"] += 1
        row["hallucinated"] += not each.present
        row["by_language"] += not each.present and each.image <= each.blank
    return found


def _not_computed(named: Sequence[ObjectMention], figures: Mapping[str, Floats]) -> dict[str, str]:
    if not named:
        return {"hallucinated": "no caption names an object of the table"}
    if all(each.present for each in named):
        return dict.fromkeys(figures, "every named object is in its image")
    if "attention_entropy" not in figures:
        return {"attention_entropy": "the decoder has no attention, or there is only one region"}
    return {}


def _notes(examples: Mapping[Id, Example], annotated: Mapping[Id, Example]) -> list[str]:
    left = len(examples) - len(annotated)
    return [f"{left} of {len(examples)} images are left out: their objects are not annotated"] if left else []


_GREY = Image.new("RGB", (64, 64), (128, 128, 128))
_LIKELY = 0.5


class Support(NamedTuple):
    """An object that a caption names: the probability of its words, given the words before them and the picture,
    `image`, or a grey picture, `blank`."""

    object: str
    image: float
    blank: float

    @property
    def doubtful(self) -> bool:
        """May be hallucinated: it is no likelier given the picture than given grey, or its probability is below 0.5."""
        return self.image <= self.blank or self.image < _LIKELY


def support(
    predictor: Predictor, image: ImageLike, words: Sequence[str], find: Callable[[Sequence[str]], Sequence[Span]]
) -> list[Support]:
    """The objects that the words of a caption name, from left to right.

    Args:
        predictor: a captioner.
        image: what the caption is of.
        words: of the caption.
        find: from words to the objects that they name.

    Raises:
        UserError: the file is no image, or the model answers questions.
    """
    with_image, without_image = (predictor.score_caption(each, words).log_probs for each in (image, _GREY))
    return [
        Support(span.object, *(math.exp(each[span.start : span.stop].sum()) for each in (with_image, without_image)))
        for span in find(words)
    ]
