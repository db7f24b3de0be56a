"""Does a model that answers questions know what it knows? Its confidence, held against how right it is."""

from pathlib import Path

import numpy as np

from vlrnn.errors import UserError
from vlrnn.interchange import match, read_answers, read_questions
from vlrnn.metrics.vqa import compare_answers
from vlrnn.probes.confidence import BINS, Judged, fit_temperature, tempered
from vlrnn.probes.finding import TELLING, Finding
from vlrnn.records import Example, Id, Prediction
from vlrnn.text.answers import DEFAULT_PROTOCOL

Answered = tuple[dict[Id, Prediction], dict[Id, Example]]


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
            confidence stands under `tempered`.
        protocol: of the accuracy.
        resamples, seed: of the bootstrap over images.

    Raises:
        UserError: a file is wrong, ids do not match, or an answer has no confidence in 0..1.
    """
    if (val is None) != (val_references is None):
        raise UserError("--val and --val_references belong together: a temperature takes both")
    predicted, asked = _read(predictions, references)
    judged = _judge(predicted, asked, protocol, str(predictions))
    base = float(judged.right.mean())
    scores = judged.scores(resamples, seed)
    temperature = None
    if val is not None and val_references is not None:
        held = _judge(*_read(val, val_references), protocol, str(val))
        temperature = fit_temperature(held.sure, held.right)
        scores["tempered"] = Judged(tempered(judged.sure, temperature), judged.right, judged.image).scores(
            resamples, seed
        )
    rows = {"always sure": 1.0, "as sure as right on average": base}
    return Finding(
        scores=scores,
        settings={
            "predictions": str(predictions),
            "references": str(references),
            "val": None if val is None else str(val),
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
            row: Judged(np.full_like(judged.sure, sure), judged.right, judged.image).scores(resamples, seed)
            for row, sure in rows.items()
        },
        cases=_overconfident(predicted, asked, judged),
        details={"reliability": judged.reliability(), "risk_coverage": judged.risk_coverage()},
        not_computed={} if temperature else {"tempered": "needs the predictions of val (--val, --val_references)"},
    )


def _read(predictions: str | Path, references: str | Path) -> Answered:
    matched = match(read_answers(predictions), read_questions(references), "error", str(predictions), by="id")
    return matched.predictions, matched.references


def _judge(predicted: dict[Id, Prediction], asked: dict[Id, Example], protocol: str, place: str) -> Judged:
    for id, prediction in predicted.items():
        if prediction.score is None or not 0 <= prediction.score <= 1:
            raise UserError(f"{place}: the answer to question {id!r} has no confidence ('score') in 0..1")
    scored = compare_answers({id: each.text for id, each in predicted.items()}, asked, protocol)
    sure = np.array([predicted[id].score for id in scored.ids], float)
    return Judged(sure, scored.per_question["accuracy"] / 100, scored.clusters)


def _overconfident(
    predicted: dict[Id, Prediction], asked: dict[Id, Example], judged: Judged
) -> list[dict[str, str | float | Id | None]]:
    """The surest of what is wrong."""
    ids = list(asked)
    wrong = np.flatnonzero(judged.right == 0)
    return [
        {
            "id": ids[place],
            "question": asked[ids[place]].question,
            "said": predicted[ids[place]].text,
            "sure": round(float(judged.sure[place]), 4),
            "right": asked[ids[place]].answers[0],
        }
        for place in wrong[np.argsort(-judged.sure[wrong], kind="stable")][:TELLING]
    ]
