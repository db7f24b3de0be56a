"""The picture of a probe that has none of its own: its scores with their intervals."""

import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from vlrnn.cli import main
from vlrnn.files import write_json
from vlrnn.report.charts import intervals, probe_picture
from vlrnn.report.content import ProbeRow, ProbeSection


def score(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def probe(rows: dict[str, Any], details: Any = None, **columns: dict[str, Any]) -> ProbeSection:
    printed = [ProbeRow(label, each, [of.get(label) for of in columns.values()]) for label, each in rows.items()]
    return ProbeSection("it", "run", list(columns), printed, (), details or {}, (), {})


def labels(figure: Figure | None) -> dict[str, list[str]]:
    """Panel -> its rows."""
    assert figure is not None
    return {axis.get_xlabel(): [each.get_text() for each in axis.get_yticklabels()] for axis in figure.axes}


def test_what_several_groups_have_shares_a_scale() -> None:
    rows = {"of type: a: f1": score(10, 5, 20), "of type: b: f1": score(30, 20, 40), "b: kappa": score(0.5, 0, 1)}
    found = intervals(probe({**rows, "f1": score(20, 15, 25), "count": 7}, chance={"f1": 5}))
    assert labels(found) == {"f1": ["a", "b", "all"]}
    assert found is not None
    (axis,) = found.axes
    chance, values = axis.get_lines()
    assert (list(chance.get_xdata()), list(chance.get_ydata())) == ([5], [2])  # type: ignore[arg-type]
    assert list(values.get_xdata()) == [10, 30, 20]  # type: ignore[arg-type]
    (spans,) = axis.collections
    assert [tuple(each[:, 0]) for each in spans.get_segments()] == [(5, 20), (20, 40), (15, 25)]  # type: ignore[attr-defined]


def test_shares_stand_together() -> None:
    found = intervals(probe({"right": score(0.5, 0.25, 1), "$a$": score(0, 0, 0), "seconds": score(3, 2, 4)}))
    assert labels(found) == {"": ["right", r"\$a\$"]}


def test_what_has_no_interval_is_not_drawn(subtests: pytest.Subtests) -> None:
    for ends in [(None, 1), (float("nan"), 1), (0, float("inf")), (0, 10**400)]:
        with subtests.test(ends=ends):
            assert intervals(probe({"right": score(0.5, *ends), "wrong": 0.5})) is None
            assert not probe_picture(probe({"right": score(0.5, *ends)}, {"objects": [1]}))


def test_every_probe_has_a_picture(subtests: pytest.Subtests) -> None:
    """Also where what its own is drawn from is not there, or of another form."""
    for details in [{}, {"objects": [1]}, {"reliability": {"a": 1}}, {"pairs": [1]}, {"curves": [1]}]:
        with subtests.test(details=details):
            assert "<svg" in probe_picture(
                probe({"right": score(0.5, 0.25, 1)}, details, chance={"right": float("inf")})
            )


def test_pictures_stand_in_the_page(tmp_path: Path) -> None:
    write_json(tmp_path / "run" / "metrics.json", {"scores": {"CIDEr": 1}, "settings": {}})
    finding = {"scores": {"said yes": score(0.5, 0.25, 1)}, "settings": {}, "baselines": {"by chance": {"said yes": 0}}}
    write_json(tmp_path / "run" / "probes" / "it.json", finding)
    assert main(["report", str(tmp_path / "run"), "--out", str(tmp_path / "report.html")]) == 0
    drawing = (tmp_path / "report.html").read_text().partition("<svg")[2].partition("</svg>")[0]
    assert ">said yes<" in drawing
    assert ">by chance<" in drawing
    assert json.loads((tmp_path / "report.json").read_text())["sections"][0]["probes"][0]["baselines"] == ["by chance"]
