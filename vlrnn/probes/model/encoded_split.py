"""A split whose images are encoded once, and predictions under perturbed images and questions."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vlrnn.data.batches import CaptionedImages, Images, Item, QuestionedImages, View, collate
from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.feature_cache import FeatureCache
from vlrnn.data.records import Example, Id, Prediction, open_split
from vlrnn.data.region_files import RegionFiles
from vlrnn.data.split_index import SplitImages
from vlrnn.errors import UserError
from vlrnn.generation.generate import TokenDistributions
from vlrnn.inference.predictor import Predictor
from vlrnn.nn.encoders.precomputed import PrecomputedRegions
from vlrnn.progress import track
from vlrnn.text.vocabulary import BOS, EOS

_GREY = 128


class EncodedSplit:
    """Examples, and the regions of their images.

    Args:
        examples: of the split, by id, in its order.
        items: its images; their captions or questions are encoded when an item is read.
        cache: the regions of all images.
        blank: [N, D], the regions of a uniformly grey image.
    """

    def __init__(
        self, examples: dict[Id, Example], items: Images, cache: FeatureCache | RegionFiles, blank: Tensor
    ) -> None:
        self.examples = examples
        self.blank = blank
        self.image_index = {example.image_id: example.image for example in examples.values()}
        self._items = items
        self._cache = cache

    def regions(self, image_id: Id) -> Tensor:
        """The regions [N, D] of an image."""
        return torch.from_numpy(self._cache[self.image_index[image_id]].copy())

    @property
    def mean(self) -> Tensor:
        """The mean regions [N, D], place by place, of all images; [1, D] where these have no grid in common."""
        each = (self._cache[image].astype(np.float64) for image in self.image_index.values())
        if isinstance(self._cache, RegionFiles):
            each = (regions.mean(0, keepdims=True) for regions in each)
        total: np.ndarray = sum(each)  # type: ignore[assignment]
        return torch.from_numpy(total / len(self.image_index)).to(self.blank.dtype)

    def batches(self, size: int, description: str) -> Iterator[list[Item]]:
        """The items, some at a time, under a progress bar labelled `description`."""
        starts = range(0, len(self._items), size)  # type: ignore[arg-type]
        for start in track(starts, description, unit="batches"):
            yield [self._items[place] for place in range(start, min(start + size, starts.stop))]


def open_predictor(
    checkpoint: str | Path | Predictor, device: str | None = None, trust: Sequence[str] = ()
) -> Predictor:
    """The predictor of a checkpoint, by `Predictor.load`; a `Predictor` is returned unchanged."""
    return checkpoint if isinstance(checkpoint, Predictor) else Predictor.load(checkpoint, device, trust=trust)


@contextmanager
def encoded(
    predictor: Predictor, folder: str | Path, split: str, cache: str | Path | None = None, *, captions: int | None = 0
) -> Iterator[EncodedSplit]:
    """A split encoded by a model's encoder, in float16, as in training from a cache.

    Args:
        predictor: the model.
        folder: a prepared data set.
        split: one of its splits.
        cache: the folder for encoder outputs, for example that of training; by default a temporary folder.
        captions: captions in the item of an image; None: all.

    Raises:
        UserError: no such data or split, the model needs other data, two examples have one id, or an image cannot be
            read.
    """
    encoder = predictor.task.encoder.requires_grad_(False)
    with TemporaryDirectory() as temporary:
        data = VisionLanguageData(str(folder), cache=str(cache or temporary))
        examples = _examples(predictor, data, split)
        regions = data.make_cache(encoder, [split], predictor.device)[split]
        items = _items(predictor, data, examples, regions, captions)
        yield EncodedSplit(examples, items, regions, _blank(predictor))


def _examples(predictor: Predictor, data: VisionLanguageData, split: str) -> dict[Id, Example]:
    found = list(open_split(data.root, split))
    if not found:
        raise UserError(f"{data.root}/{split}.jsonl: holds no examples")
    if "image" not in predictor.task.accepts:
        raise predictor.refused("takes no images")
    if data.has_questions != ("question" in predictor.task.accepts):
        holds, does = ("questions", "captions") if data.has_questions else ("captions", "answers questions")
        raise UserError(f"{data.root}: holds {holds}, where {predictor.name} {does}")
    examples = {example.id: example for example in found}
    if len(examples) < len(found):
        raise UserError(f"{data.root}/{split}.jsonl: two examples have one id; give each its own id")
    return examples


def _items(
    predictor: Predictor,
    data: VisionLanguageData,
    examples: dict[Id, Example],
    regions: FeatureCache | RegionFiles,
    captions: int | None,
) -> CaptionedImages | QuestionedImages:
    task, listed = predictor.task, list(examples.values())
    vocabulary = task.vocabulary
    more = {"locate": data.locate, "size": task.encoder.image_size, "cache": regions}
    if "question" not in task.accepts:
        return CaptionedImages(listed, captions, encode=lambda text: [BOS, *vocabulary.encode_text(text), EOS], **more)
    image_index = SplitImages(listed).of_example
    return QuestionedImages(listed, image_index, encode=vocabulary.encode_text, **more)


@torch.inference_mode()
def _blank(predictor: Predictor) -> Tensor:
    """The regions [N, D], float16, of a uniformly grey image."""
    encoder = predictor.task.encoder
    if isinstance(encoder, PrecomputedRegions):
        return encoder.blank()
    image = torch.full(
        (1, 3, encoder.image_size, encoder.image_size), _GREY, dtype=torch.uint8, device=predictor.device
    )
    return encoder.folded().regions(image)[0].half().cpu()


@dataclass(frozen=True)
class ViewPredictions:
    """Predictions under a view, by the ids of examples: the `texts`; the `divergence` in nats of the unperturbed
    distributions from those under the view, summed over the `words` of the unperturbed text, its end counted. An answer
    of a classifier counts as one word."""

    texts: dict[Id, str] = field(default_factory=dict)
    divergence: dict[Id, float] = field(default_factory=dict)
    words: dict[Id, int] = field(default_factory=dict)


@torch.inference_mode()
def predict_views(
    predictor: Predictor, split: EncodedSplit, views: Mapping[str, View], batch_size: int = 32
) -> tuple[dict[Id, Prediction], dict[str, ViewPredictions]]:
    """Predict the items of a split, unperturbed and under each view.

    Args:
        predictor: the model.
        split: the examples and their regions.
        views: name -> view.
        batch_size: images.

    Returns:
        the unperturbed predictions, by id; and for each view its predictions.
    """
    task = predictor.task
    predictions: dict[Id, Prediction] = {}
    found = {name: ViewPredictions() for name in views}
    for items in split.batches(batch_size, "views"):
        batch = collate(items).to(predictor.device)
        plain = task.predict(batch)
        predictions |= {each.id: each for each in plain}
        possible = task.distributions(batch, plain)
        words = possible.mask.sum(1).tolist()
        for name, view in views.items():
            viewed = collate(list(map(view, items))).to(predictor.device)
            apart = divergence(possible, task.distributions(viewed, plain)).tolist()
            for other, nats, count in zip(task.predict(viewed), apart, words, strict=True):
                found[name].texts[other.id] = other.text
                found[name].divergence[other.id] = nats
                found[name].words[other.id] = count
    return predictions, found


def divergence(ours: TokenDistributions, theirs: TokenDistributions) -> Tensor:
    """The Kullback-Leibler divergence KL(ours || theirs) in nats, summed over the places of each sentence: [M]."""
    each = F.kl_div(theirs.log_probs, ours.log_probs, reduction="none", log_target=True).sum(-1)
    return each.masked_fill(~ours.mask, 0.0).sum(1).clamp(min=0)  # which rounding may leave below
