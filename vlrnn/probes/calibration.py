"""Does a model that answers questions know what it knows? Its confidence, held against how right it is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vlrnn.errors import UserError
from vlrnn.interchange import Matched, match_answers, read_answered
from vlrnn.interchange.matching import name_some
from vlrnn.metrics.vqa import compare_answers
from vlrnn.probes.confidence import BINS, Judged, fit_temperature, tempered
from vlrnn.probes.finding import TELLING, Finding
from vlrnn.records import Example
from vlrnn.text.answer_set import majority
from vlrnn.text.answers import DEFAULT_PROTOCOL

TEMPERED = ("ECE", "ECE_adaptive", "Brier")
"""What a temperature changes; it leaves the order of answers, and so risk and coverage, as they are."""


def probe_calibration(
    predictions: str | Path,
    references: str | Path,
    *,
    val: str | Path | None = None,
    val_references: str | Path | None = None,
    protocol: str = DEFAULT_PROTOCOL,
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """Calibration and selective prediction of answers. Confidence is the probability of the answer given, `score` of
    a prediction; right is its VQA accuracy, in 0..1.

    Args:
        predictions: `predictions.jsonl`, with a score each.
        references: the questions, of any form that is scored.
        val, val_references: those of a validation split; a temperature is fitted on them, and what it makes of the
            confidence stands under `tempered`, as far as it changes anything.
        protocol: of the accuracy.
        resamples, seed: of the bootstrap over images.

    Raises:
        UserError: a file is wrong, ids do not match, or an answer has no confidence in 0..1.
    """
    if (val is None) != (val_references is None):
        raise UserError("--val and --val_references belong together: a temperature takes both")
    answered = _read(predictions, references)
    judged = _judge(answered, protocol, str(predictions))
    notes = answered.notes
    base = float(judged.right.mean())
    scores = judged.scores(resamples, seed)
    temperature, untempered = None, "needs the predictions of val (--val, --val_references)"
    if val is not None and val_references is not None:
        held_out = _read(val, val_references)
        held = _judge(held_out, protocol, str(val))
        notes = [*notes, *held_out.notes, *_known_already(answered, held_out)]
        if set(held.right.tolist()) in ({0.0}, {1.0}):
            untempered = f"all {len(held.right):,} answers of val are {'right' if held.right[0] else 'wrong'}"
        else:
            temperature = fit_temperature(held.sure, held.right)
            notes.append(f"temperature {temperature:.4g}, fitted on {len(held.sure):,} answers of val")
            cooled = replace(judged, sure=tempered(judged.sure, temperature)).scores(resamples, seed)
            scores["tempered"] = {name: cooled[name] for name in TEMPERED}
    rows = {"always sure": 1.0, "base rate": base}
    return Finding(
        scores=scores,
        settings={
            "predictions": str(predictions),
            "references": str(references),
            "val": None if val is None else str(val),
            "val_references": None if val_references is None else str(val_references),
            "confidence": "the probability of the answer given",
            "protocol": protocol,
            "bins": BINS,
            "temperature": temperature,
            "accuracy": base,
            "mean_confidence": float(judged.sure.mean()),
            "n": len(judged.sure),
            "bootstrap": {"resamples": resamples, "seed": seed, "level": 0.95},
        },
        baselines={
            row: replace(judged, sure=np.full_like(judged.sure, sure)).scores(resamples, seed)
            for row, sure in rows.items()
        },
        cases=_overconfident(answered, judged),
        details={"reliability": judged.reliability(), "risk_coverage": judged.risk_coverage()},
        not_computed={} if temperature else {"tempered": untempered},
        notes=notes,
    )


def _read(predictions: str | Path, references: str | Path) -> Matched[Example]:
    return match_answers(predictions, read_answered(references))


def _known_already(answered: Matched[Example], held_out: Matched[Example]) -> list[str]:
    """A note on questions of val that are also among those that are judged."""
    both = [id for id, example in held_out.references.items() if answered.references.get(id) == example]
    return [f"{len(both)} questions of val are among those judged: {name_some(both)}"] if both else []


def _judge(answered: Matched[Example], protocol: str, place: str) -> Judged:
    for id, prediction in answered.predictions.items():
        if prediction.score is None or not 0 <= prediction.score <= 1:
            raise UserError(f"{place}: the answer to question {id!r} has no confidence ('score') in 0..1")
    texts = {id: prediction.text for id, prediction in answered.predictions.items()}
    scored = compare_answers(texts, answered.references, protocol)
    sure = np.array([answered.predictions[id].score for id in scored.ids], float)
    return Judged(sure, scored.per_question["accuracy"] / 100, scored.clusters)


def _overconfident(answered: Matched[Example], judged: Judged) -> list[dict[str, Any]]:
    """The surest of what is wrong."""
    ids = list(answered.references)
    wrong = np.flatnonzero(judged.right == 0)
    surest = [ids[place] for place in wrong[np.argsort(-judged.sure[wrong], kind="stable")][:TELLING]]
    return [
        {
            "id": id,
            "question": answered.references[id].question,
            "said": answered.predictions[id].text,
            "sure": round(answered.predictions[id].score or 0.0, 4),
            "right": majority(answered.references[id].answers),
        }
        for id in surest
    ]
