"""What a model says of a split under views of it, beside what it says of the split itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from vlrnn.data.batches import collate
from vlrnn.data.views import View
from vlrnn.instruments.encoded import EncodedSplit
from vlrnn.predictor import Predictor
from vlrnn.records import Id, Prediction
from vlrnn.tasks.speaking import Distributions


@dataclass(frozen=True)
class Replies:
    """What was said under a view, by the ids of examples: the `texts`; and how far in nats (see `divergence`) what
    could be said is from what could be without the view, summed over the `words` of what was said without, its end
    counted. An answer that is chosen counts as a word."""

    texts: dict[Id, str] = field(default_factory=dict)
    divergence: dict[Id, float] = field(default_factory=dict)
    words: dict[Id, int] = field(default_factory=dict)


@torch.inference_mode()
def replies(
    predictor: Predictor, split: EncodedSplit, views: Mapping[str, View], batch_size: int = 32
) -> tuple[dict[Id, Prediction], dict[str, Replies]]:
    """Show a model the items of a split, as they are and under each view.

    Args:
        predictor: the model.
        split: its images are encoded already.
        views: name -> view.
        batch_size: images that are shown at a time.

    Returns:
        the predictions as the split is, by id; and for each view the replies.
    """
    task = predictor.task
    said: dict[Id, Prediction] = {}
    found = {name: Replies() for name in views}
    for items in split.batches(batch_size, "views"):
        batch = collate(items).to(predictor.device)
        plain = task.predict(batch)
        said |= {each.id: each for each in plain}
        possible = task.distributions(batch, plain)
        words = possible.there.sum(1).tolist()
        for name, view in views.items():
            seen = collate(list(map(view, items))).to(predictor.device)
            apart = divergence(possible, task.distributions(seen, plain)).tolist()
            for other, nats, count in zip(task.predict(seen), apart, words, strict=True):
                found[name].texts[other.id] = other.text
                found[name].divergence[other.id] = nats
                found[name].words[other.id] = count
    return said, found


def divergence(ours: Distributions, theirs: Distributions) -> Tensor:
    """The Kullback-Leibler divergence KL(ours || theirs) in nats, summed over the places of each sentence: [M]."""
    each = F.kl_div(theirs.log_probs, ours.log_probs, reduction="none", log_target=True).sum(-1)
    return each.masked_fill(~ours.there, 0.0).sum(1).clamp(min=0)  # which rounding may leave below
