"""`vlrnn study`: what all studies have in common on the command line."""

import json
from pathlib import Path
from typing import Any

import pytest

from vlrnn.cli import main
from vlrnn.commands.study import STUDIES
from vlrnn.studies import leakage


def test_a_study_shows_and_writes_what_it_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    people = ["woman", "man"] * 20
    predictions = [{"image_id": id, "caption": f"a {who} and a dog"} for id, who in enumerate(people)]
    (tmp_path / "p.json").write_text(json.dumps(predictions))
    (tmp_path / "r.json").write_text(json.dumps({"annotations": predictions}))

    def guesses(images: Any, seed: int) -> dict[str, Any]:
        sure = {"said": [0.8, 0.6], "human": [[0.7, 0.2]]}
        return {"images": [0, 1], "attackers": {"linear": sure, "lstm": sure}}

    monkeypatch.setattr(leakage, "attack_once", guesses)
    arguments = ["--predictions", str(tmp_path / "p.json"), "--references", str(tmp_path / "r.json")]
    out = tmp_path / "out"
    assert main(["study", "leakage", *arguments, "--seeds", "2", "--seed", "3", "--out", str(out)]) == 0
    found = json.loads((out / "metrics.json").read_text())
    assert found["scores"]["lstm"]["LIC_M"]["value"] == pytest.approx(70)
    assert found["settings"]["seeds"] == [3, 4]
    assert {path.name for path in out.iterdir()} == {"metrics.json", "plan.json", "seed-3.json", "seed-4.json"}
    printed = capsys.readouterr().out
    assert " 70 " in printed
    assert "a <gender> and a dog" in printed


def test_every_study_has_help(subtests: pytest.Subtests, capsys: pytest.CaptureFixture[str]) -> None:
    for name in STUDIES:
        with subtests.test(name=name):
            with pytest.raises(SystemExit, match="0"):
                main(["study", name, "--help"])
            assert f"(default runs/{name})" in capsys.readouterr().out


FILES = ["--predictions", "x.json", "--references", "y.jsonl"]


MISTAKES = [
    (["nonsense"], "invalid choice: 'nonsense'"),
    (["leakage"], "--predictions"),
    (["leakage", *FILES], "y.jsonl: cannot be read"),
    (["leakage", *FILES, "--resamples", "0"], "--resamples must be at least 1"),
    (["leakage", *FILES, "--seed", "-1"], "--seed must not be negative"),
    (["leakage", *FILES, "--seeds", "0"], "--seeds must be at least 1"),
    (["leakage", *FILES, "--women", "w.txt"], "y.jsonl: cannot be read"),
]


def test_mistakes_are_errors_of_one_line(subtests: pytest.Subtests, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, complaint in MISTAKES:
        with subtests.test(arguments=arguments, complaint=complaint):
            assert main(["study", *arguments]) == 2
            printed = capsys.readouterr().err
            assert complaint in printed
            assert printed.count("\n") == 1
