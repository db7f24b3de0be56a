"""Single hidden units that detect a property of the input, and how often gates are saturated.

After Karpathy, Johnson and Fei-Fei, Visualizing and understanding recurrent networks, ICLR workshop 2016: units that
detect an open quotation, and gates that are saturated. They found units by inspection; here all units are searched,
chosen on one half of the input and evaluated on the other.

Shapes: N positions, S passages, U hidden units.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vlrnn.errors import UserError
from vlrnn.inference.predictor import Predictor
from vlrnn.metrics.statistics import Ratio, Resampler, bootstrap_settings, nested, ratios, spearman
from vlrnn.probes.detection import ROLLS, Detection, Unit, detect
from vlrnn.probes.finding import TELLING, Finding, constant_score, path_settings
from vlrnn.probes.model.activations import CLOSED, OPEN, Activations, record_captions, record_text
from vlrnn.probes.model.encoded_split import open_predictor
from vlrnn.probes.model.passage_splits import (
    PassageSplit,
    PropertyLabels,
    activation_levels,
    label_properties,
    split_passages,
    unit_of,
)
from vlrnn.probes.object_mentions import PhraseTable, object_names, phrases
from vlrnn.probes.text_properties import PROPERTIES, Property, check_names, noun_table, properties

SHOWN_UNITS = 8
"""Hidden units in a page or picture."""

_LISTED = 5  # of the best units for a property


def probe_units(
    checkpoint: str | Path | Predictor,
    *,
    text: str | Path | None = None,
    data: str | Path | None = None,
    split: str = "test",
    property: Sequence[str] = (),
    nouns: str | Path | None = None,
    units: Sequence[str] = (),
    limit: int = 20_000,
    cache: str | Path | None = None,
    device: str | None = None,
    trust: Sequence[str] = (),
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """Do single hidden units detect quotes, lines, nouns or mentioned objects, and how often are gates saturated?
    Finds them by `hidden_units`.

    Args:
        checkpoint: of a language model or a captioner: a .ckpt file, or a folder written by vlrnn export.
        text: input of a language model.
        data: a prepared data set whose captions are input of a captioner.
        split: of the data.
        property: inside_quotes, inside_brackets, line_position, word_position, noun_just_said, mentioned:OBJECT, and
            mentioned, of the objects that are mentioned most; by default all.
        nouns: nouns, one on a line; by default a list of common ones.
        units: hidden units to show, 12,c1.40; by default the best detectors.
        limit: characters or words of input at most.
        cache: for encoder outputs; by default a temporary folder.
        device: cpu, cuda, cuda:1, ...; by default a GPU if available.
        trust: allow classes of this package in the checkpoint, which runs its code; may be repeated.
        resamples, seed: of the bootstrap over passages, or images; of what else is drawn.
    """
    if (text is None) == (data is None):
        raise UserError("give either --text, for a language model, or --data, for a captioner")
    if limit < 1:
        raise UserError(f"--limit must be at least 1, not {limit}")
    check_names(property)
    names = object_names(data) if data is not None else set()
    noun_phrases = noun_table(nouns, names)
    predictor = open_predictor(checkpoint, device, trust)
    if data is not None:
        recorded = record_captions(predictor, data, split, limit, cache)
    else:
        recorded = record_text(predictor, str(text), limit)
    passages = ["".join(each) for each in recorded.pieces]
    objects = PhraseTable(phrases(names)) if names else noun_phrases
    detected = properties(noun_phrases, objects, passages, property or PROPERTIES)
    finding = hidden_units(recorded, detected, units=units, resamples=resamples, seed=seed)
    return finding.with_input({"checkpoint": predictor.name, **path_settings(nouns=nouns)})


def hidden_units(
    recorded: Activations,
    detected: Mapping[str, Property],
    *,
    units: Sequence[str] = (),
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """Search for the units that detect properties; count saturated gates.

    Units are chosen on the first half of a text, or on a random half of the images, by the distance of their AUC from
    0.5; below 0.5 the negative of the unit is the detector. A numeric property holds above its median in that half.

    Args:
        recorded: the inputs and the activations of the model.
        detected: properties by their names.
        units: names of those to show; `12` is number 12 of the last layer's output. By default the best.
        resamples, seed: of the bootstrap over passages, or images; the seed also of the random halves.

    Returns:
        of each property the AUC of its best unit, `held_out`, and `chosen` in the half that it was chosen on; as
        baselines `chance`, 0.5, and `other passages`: the mean of the same search for the properties of other
        passages. Of each layer's gates the share of values that are `open` (> 0.9) and `closed` (< 0.1).
        `details.detectors` has the best units of each property, `details.heat` the input of pages and pictures.

    Raises:
        UserError: there is no such unit.
    """
    shown = [_numbered(name, recorded.names) for name in units]
    choose, held = split_passages(recorded, seed)
    labels, not_computed = label_properties(recorded, detected, choose, held)
    flags = {name: each.flags for name, each in labels.items()}
    found = detect(choose.part, held.part, flags, resamples=resamples, seed=seed)
    order = sorted(found, key=lambda name: -found[name].held_out["value"])
    rows = _rows(found, order, shown)
    scores: dict[str, Any] = {name: {"held_out": each.held_out, "chosen": each.chosen} for name, each in found.items()}
    gates = _gates(recorded, resamples, seed)
    used: dict[str, Any] = {"chosen_on": len(choose.places), "held_out": len(held.places), "other_passages": ROLLS}
    used = {"hidden_units": len(recorded.names), **used, "saturated": {"open": OPEN, "closed": CLOSED}}
    over = "passages" if recorded.running else "images"
    return Finding(
        scores=scores | ({"gates": gates} if gates else {}),
        settings={**recorded.source, **used, **bootstrap_settings(resamples, seed, over)},
        baselines=_baselines(found),
        cases=[_case(recorded, held, name, found[name].units[0]) for name in order[:TELLING]],
        details={
            "detectors": {name: _detector(recorded, held, found[name], labels[name]) for name in order},
            "heat": activation_levels(recorded, held, rows, found, labels),
        },
        not_computed=not_computed,
        notes=_notes(recorded, found, labels),
    )


def _numbered(name: str, names: Sequence[str]) -> int:
    last = max(int(each[1:].partition(".")[0]) for each in names)
    full = f"h{last}.{name}" if name.isdigit() else name
    if full not in names:
        kinds = dict.fromkeys(each.partition(".")[0] for each in names)
        width = len(names) // len(kinds)
        available = ", ".join(f"{kind}.0 to {kind}.{width - 1}" for kind in kinds)
        raise UserError(f"--units {name}: there is no such hidden unit; there are {available}")
    return names.index(full)


def _rows(found: Mapping[str, Detection], order: Sequence[str], shown: Sequence[int]) -> list[tuple[int, str]]:
    """The units to show, each with a property, "" for none: the requested ones with the property that they detect best,
    by default the best unit of each property, each unit once."""
    if not shown:
        best: dict[int, str] = {}
        for name in order:
            best.setdefault(found[name].units[0].number, name)
        return list(best.items())[:SHOWN_UNITS]
    rows = []
    for number in shown:
        chosen = {name: unit_of(each, number).chosen for name, each in found.items()}
        rows.append((number, max(chosen, key=lambda name: chosen[name], default="")))
    return rows


def _baselines(found: Mapping[str, Detection]) -> dict[str, Any]:
    if not found:
        return {}
    ends = {name: {"held_out": each.held_out, "chosen": each.chosen} for name, each in found.items()}
    chance = {name: {key: constant_score(0.5, end["n"]) for key, end in each.items()} for name, each in ends.items()}
    return {"chance": chance, "other passages": {name: each.rolled for name, each in found.items() if each.rolled}}


def _gates(recorded: Activations, resamples: int, seed: int) -> dict[str, Any]:
    """Layer and gate -> the shares of its values that are open and closed."""
    count = max(each.group for each in recorded.passages) + 1
    of = np.array([each.group for each in recorded.passages])
    places = np.bincount(of, [len(each.units) for each in recorded.passages], count)
    parts = {
        (f"layer {layer}, {gate}", state): Ratio(np.bincount(of, shares[:, side], count), places)
        for (layer, gate), shares in recorded.gates.items()
        for side, state in enumerate(("open", "closed"))
    }
    return nested(ratios(parts, Resampler(count, resamples, seed)))


def _detector(
    recorded: Activations, held: PassageSplit, detection: Detection, labels: PropertyLabels
) -> dict[str, Any]:
    """The entry of a property in `details.detectors`."""
    best = detection.units[0]
    summary: dict[str, Any] = {
        "held_out": detection.held_out,
        "other_passages": detection.rolled.get("chosen"),
        "share": float(labels.flags[1].mean()),
        "units": [
            {"unit": recorded.names[each.number], "sign": each.sign, "chosen": each.chosen, "held_out": each.held_out}
            for each in detection.units[:_LISTED]
        ],
    }
    if labels.threshold is not None:
        activations = held.part.activations[:, best.number].astype(np.float64)
        summary["above"] = labels.threshold
        summary["rank_correlation"] = spearman(activations, labels.values[1].astype(np.float64))
    return summary


def _case(recorded: Activations, held: PassageSplit, name: str, unit: Unit) -> dict[str, Any]:
    """The excerpts of the held-out half where the best unit for a property has its highest and lowest activation."""
    activations = unit.sign * held.part.activations[:, unit.number]
    high, low = int(activations.argmax()), int(activations.argmin())
    return {
        "id": held.passage(high).id,
        "unit": recorded.names[unit.number],
        "detects": name if unit.sign > 0 else f"not {name}",
        "held_out": round(unit.held_out, 4),
        "surest": held.until(high),
        "least": held.until(low),
    }


def _notes(recorded: Activations, found: Mapping[str, Detection], labels: Mapping[str, PropertyLabels]) -> list[str]:
    notes = list(recorded.notes)
    if not recorded.gates:
        notes.append("this recurrence has no gates")
    if numbers := [f"{name} above {each.threshold:g}" for name, each in labels.items() if each.threshold is not None]:
        notes.append(f"numeric properties hold above their median in the half for selection: {', '.join(numbers)}")
    if constant := [name for name, each in found.items() if not each.rolled]:
        notes.append(f"no baseline of other passages, as the property is the same at each place: {', '.join(constant)}")
    return notes
