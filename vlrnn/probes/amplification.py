"""Bias amplification: whether attributes (such as gender) and tasks (such as objects) that co-occur in the labels
co-occur more often in the predictions.

Sources: Zhao, Wang, Yatskar, Ordonez, Chang, Men also like shopping, EMNLP 2017, section 3; Wang and Russakovsky,
Directional bias amplification, ICML 2021, section 4.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vlrnn.data.matching import name_some
from vlrnn.data.records import Id
from vlrnn.errors import UserError
from vlrnn.metrics.statistics import Floats, Resampler, Scores, interval
from vlrnn.probes.finding import TELLING, Finding
from vlrnn.probes.labels import LabelFiles, LabelledImage, Labels, LabelSets, read_labels, tabulate

Values = dict[str, Floats]
"""Measure (`A_to_T`, `T_to_A`, `bias_amplification`) -> values."""


class Bias(NamedTuple):
    """The bias of labels [A, T].

    Attributes:
        direction: 1 where an attribute and a task co-occur more often than by chance, -1 where less often, else 0.
        share: fraction with this attribute of the images with a task and any attribute; NaN where there are none.
    """

    direction: Floats
    share: Floats


def bias_of(labels: Labels) -> Bias:
    """The bias of labels, over the images with labels."""
    some = (labels.attributes.sum(1) + labels.tasks.sum(1)) > 0
    apart = np.outer(labels.attributes.sum(0), labels.tasks.sum(0))
    return Bias(np.sign(some.sum() * labels.both.sum(0) - apart), _share(labels.both.sum(0)))


def _share(both: Floats) -> Floats:
    """The fraction of each attribute in its task, from counts [..., A, T]."""
    with np.errstate(invalid="ignore"):
        return both / both.sum(-2, keepdims=True)


def count(true: Labels, predicted: Labels) -> Floats:
    """The counts of the measures [I, 6, A, T], for each image: attribute, task, both; attribute with predicted task,
    predicted attribute with task; both predicted."""
    a, t = true.attributes[:, :, None], true.tasks[:, None, :]
    parts = (a, t, true.both, a * predicted.tasks[:, None, :], predicted.attributes[:, :, None] * t, predicted.both)
    return np.stack(np.broadcast_arrays(*parts), 1)


def amplify(counts: Floats, bias: Bias, trained: bool = False) -> Values:
    """The measures of each pair.

    Args:
        counts: [..., 6, A, T], see `count`, summed over images.
        bias: of the labels, or of training.
        trained: `bias_amplification` compares with the shares of `bias` instead of those of the counted labels.

    Returns:
        of each measure [..., A, T]; NaN where a denominator is zero. `A_to_T` and `T_to_A` (Wang and Russakovsky,
        equation 1): direction times P(predicted task | attribute) - P(task | attribute), and with attribute and task
        exchanged. `bias_amplification` (Zhao et al., section 3.2): predicted minus true share of an attribute in a
        task, where the true one is above 1/A, else 0.
    """
    attribute, task, both, task_predicted, attribute_predicted, both_predicted = np.moveaxis(counts, -3, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        a_to_t = bias.direction * (task_predicted - both) / attribute
        t_to_a = bias.direction * (attribute_predicted - both) / task
    more = _share(both_predicted) - (bias.share if trained else _share(both))
    leading = bias.share > 1 / counts.shape[-2]
    return {"A_to_T": a_to_t, "T_to_A": t_to_a, "bias_amplification": np.where(leading | np.isnan(more), more, 0.0)}


def total(pairs: Values) -> Values:
    """The measures of all pairs [...]: the mean over pairs of the directional ones, over tasks of the other; without
    NaNs, and NaN where all are."""
    means = {}
    for name, each in pairs.items():
        values = each.sum(-2) if name == "bias_amplification" else each.reshape(*each.shape[:-2], -1)
        defined = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            means[name] = np.where(defined, values, 0.0).sum(-1) / defined.sum(-1)
    return means


class AmplificationMeasures(NamedTuple):
    """The measures of one row of results: `value` [...] and its bootstrap `samples` [resamples, ...]."""

    value: Values
    samples: Values

    def scores(self, counts: Mapping[str, int], pair: tuple[int, ...] = ()) -> Scores:
        """The measures in `counts`, which has the `n` of each, of a pair or of all; without those that are NaN."""
        found = {}
        for name, n in counts.items():
            value = float(self.value[name][pair])
            if np.isfinite(value):
                # Denominators of resampled sets may be zero even if that of the data is not.
                drawn = np.append(np.moveaxis(self.samples[name], 0, -1)[pair], value)
                found[name] = interval(value, drawn[np.isfinite(drawn)], n)
        return found


def probe_amplification(files: LabelFiles, *, resamples: int = 1000, seed: int = 0) -> Finding:
    """Is a bias of the data, of women and handbags for example, amplified in captions or labels? See `amplification`.

    Args:
        files: of the labels.
        resamples, seed: of the bootstrap over images.

    Raises:
        UserError: a file is wrong, or there is no pair.
    """
    labels = files.read()
    training = None if files.training is None else read_labels(files.training, predicted=False)
    finding = amplification(labels.images, training, human=labels.human, resamples=resamples, seed=seed)
    return finding.with_input(vars(files), labels.notes)


def amplification(
    images: Sequence[LabelledImage],
    training: Sequence[LabelledImage] | None = None,
    *,
    human: Mapping[Id, Sequence[LabelSets]] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """Bias amplification of a model over all pairs of an attribute and a task.

    Args:
        images: true and predicted labels, see `vlrnn.probes.labels`.
        training: images whose labels define the bias, by default `images`; the bias is fixed in the bootstrap.
        human: image id -> labels of its reference captions, for a baseline.
        resamples, seed: of the bootstrap over images.

    Returns:
        `A_to_T`, `T_to_A` and `bias_amplification`, see `amplify`; in `details` those of each pair. Baselines:
        `identity`, the labels as predictions; `shuffled`, the mean over all permutations of the predictions; and
        `references`. The cases are the pairs whose intervals are farthest above 0.

    Raises:
        UserError: there is no pair.
    """
    labelled = [image.true for image in (*images, *(training or ()))]
    attributes = sorted(frozenset().union(*(each.attributes for each in labelled)))
    tasks = sorted(frozenset().union(*(each.tasks for each in labelled)))
    if not attributes or not tasks:
        raise UserError(f"no image has {'a task' if attributes else 'an attribute'}: there is no pair to measure")
    true = tabulate([[image.true] for image in images], attributes, tasks)
    predicted = tabulate([[image.predicted] for image in images], attributes, tasks)
    bias = bias_of(tabulate([[image.true] for image in training], attributes, tasks) if training else true)

    def measure(true: Labels, predicted: Labels) -> tuple[AmplificationMeasures, Scores]:
        """The measures of each pair, and the scores of all."""
        counts = count(true, predicted)
        sums = Resampler(len(counts), resamples, seed).sums(counts)
        pairs = AmplificationMeasures(*(amplify(each, bias, training is not None) for each in (counts.sum(0), sums)))
        return pairs, AmplificationMeasures(*map(total, pairs)).scores(dict.fromkeys(_NOTHING, len(counts)))

    pairs, scores = measure(true, predicted)
    others = Labels(*(np.broadcast_to(each.mean(0), each.shape) for each in predicted))
    rows = {"identity": (true, true), "shuffled": (true, others)}
    if human and (described := [image for image in images if image.id in human]):
        of_true = tabulate([[image.true] for image in described], attributes, tasks)
        rows["references"] = of_true, tabulate([human[image.id] for image in described], attributes, tasks)
    pair_rows = _pairs(pairs, true, bias, attributes, tasks)
    return Finding(
        scores,
        settings={"n": len(images), "attributes": attributes, "resamples": resamples, "seed": seed},
        baselines={name: measure(*row)[1] for name, row in rows.items()},
        cases=_cases(pair_rows),
        details={"pairs": pair_rows},
        not_computed={name: reason for name, reason in _NOTHING.items() if name not in scores},
        notes=_left_out(images, true, predicted, bias, attributes, tasks),
    )


_NOTHING = {
    "A_to_T": "no image has an attribute",
    "T_to_A": "no image has a task",
    "bias_amplification": "no task has an attribute both in the labels and in the predictions",
}


def _pairs(
    pairs: AmplificationMeasures, true: Labels, bias: Bias, attributes: Sequence[str], tasks: Sequence[str]
) -> list[dict[str, Any]]:
    """Each pair: its measures, with the number of images with the attribute, or the task, as `n`; its direction, and
    its number of images."""
    rows = []
    for a, attribute in enumerate(attributes):
        with_attribute = int(true.attributes[:, a].sum())
        for t, task in enumerate(tasks):
            with_task = int(true.tasks[:, t].sum())
            counts = {"A_to_T": with_attribute, "T_to_A": with_task, "bias_amplification": with_task}
            about = {"direction": int(bias.direction[a, t]), "images": int(true.both[:, a, t].sum())}
            rows.append({"attribute": attribute, "task": task, **about, **pairs.scores(counts, (a, t))})
    return rows


def _cases(pairs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The pairs whose intervals are farthest above 0, each with the measure for which it is."""
    cases = []
    for pair in pairs:
        measures = [(pair[name]["low"], name) for name in ("A_to_T", "T_to_A") if name in pair]
        low, name = max(measures, default=(0.0, ""))
        if low > 0:
            goes = "often" if pair["direction"] > 0 else "seldom"
            figures = {key: round(pair[name][key], 4) for key in ("value", "low", "high")}
            cases.append({"id": f"{pair['attribute']} + {pair['task']}", "together": goes, "measure": name, **figures})
    return sorted(cases, key=lambda case: -case["low"])[:TELLING]


def _left_out(
    images: Sequence[LabelledImage],
    true: Labels,
    predicted: Labels,
    bias: Bias,
    attributes: Sequence[str],
    tasks: Sequence[str],
) -> list[str]:
    """Notes on labels and pairs that are left out of the measures, or are 0 in them."""
    unknown = frozenset().union(*(image.predicted.attributes - {*attributes} for image in images))
    unknown |= frozenset().union(*(image.predicted.tasks - {*tasks} for image in images))
    empty = np.isnan(bias.share[0]) | (predicted.both.sum((0, 1)) == 0)
    nowhere = {
        "A_to_T": np.array(attributes)[~true.attributes.any(0)].tolist(),
        "T_to_A": np.array(tasks)[~true.tasks.any(0)].tolist(),
        "bias_amplification": np.array(tasks)[empty].tolist(),
    }
    notes = [
        f"{name} omits {name_some(those)} ({len(those)}): division by zero" for name, those in nowhere.items() if those
    ]
    if unknown:
        notes.append(f"{len(unknown)} predicted names occur in no image, and are omitted: {name_some(sorted(unknown))}")
    if independent := int((bias.direction == 0).sum()):
        notes.append(f"{independent} of {bias.direction.size} pairs co-occur exactly as by chance, and count as 0")
    return notes
