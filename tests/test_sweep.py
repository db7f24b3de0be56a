"""`vlrnn study sweep`: the notation of what is swept, what is proposed, and trials that go on where they were."""

import csv
import json
import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from one_process import in_one_process

from vlrnn.cli import main
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.errors import UserError
from vlrnn.files import write_json
from vlrnn.nn.recurrent.spec import cell_part
from vlrnn.report.content import build
from vlrnn.report.drawing import axis_of
from vlrnn.report.page import write_report
from vlrnn.report.study_plots import draw_sweep
from vlrnn.studies.search_space import (
    Choice,
    Range,
    Space,
    Tried,
    combinations,
    propose,
    read_space,
    recipe_of,
    short_names,
)

ROOT = Path(__file__).parent.parent


def part(path: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"vlrnn.{path}", "init_args": arguments}


# The notation.

DECODER = part("nn.ShowAndTell", recurrence=part("nn.LSTM", hidden_size=8), embedding_dim=6, dropout=0.5)
MOVED = part("training.Optimization", lr=1e-3)
WHOLE = {
    "model": part("tasks.Captioner", decoder=DECODER, optimization=MOVED),
    "trainer": {"max_epochs": 1, "accelerator": None},
}


def space(*texts: str) -> Space:
    return read_space(texts, WHOLE)


VALUES = [
    ("0.0..0.5", Range(0.0, 0.5, log=False, whole=False)),
    ("log:1e-4..1e-2", Range(1e-4, 1e-2, log=True, whole=False)),
    ("1..10", Range(1, 10, log=False, whole=True)),
    ("1..10.", Range(1.0, 10.0, log=False, whole=False)),
    ("log:16..1024", Range(16, 1024, log=True, whole=True)),
    ("-1..-.5", Range(-1.0, -0.5, log=False, whole=False)),
    ("128,256", Choice((128, 256), {})),
    ("1e-3,true,null,a.b,../x", Choice((1e-3, True, None, "a.b", "../x"), {})),
]


def test_values_are_read(subtests: pytest.Subtests) -> None:
    for values, meant in VALUES:
        with subtests.test(values=values, meant=meant):
            (key,) = space(f"trainer.accelerator={values}")
            assert (key.place, key.values) == (("trainer", "accelerator"), meant)


def test_keys_are_found_as_flags_are() -> None:
    long = "model.init_args.decoder.init_args.recurrence.init_args.hidden_size"
    place = space("model.decoder.recurrence.hidden_size=8,16")[0].place
    assert place == space(f"{long}=8,16")[0].place == tuple(long.split("."))


def test_settings_become_an_overlay() -> None:
    cells = "model.decoder.recurrence=gru,lstm:forget_bias=3,num_layers=2"
    swept = space("model.decoder.recurrence.hidden_size=8..64", cells, "trainer.max_epochs=1,2")
    names = [key.name for key in swept]
    assert isinstance(swept[1].values, Choice)
    assert swept[1].values.parts["gru"] == cell_part("gru", hidden_size=8)
    overlay = recipe_of(swept, dict(zip(names, (32, "lstm:forget_bias=3,num_layers=2", 2), strict=True)))
    recurrence = part("nn.LSTM", hidden_size=32, forget_bias=3, num_layers=2)
    decoder = {"init_args": {"recurrence": recurrence}}
    assert overlay == {"model": {"init_args": {"decoder": decoder}}, "trainer": {"max_epochs": 2}}
    (key,) = space("model.decoder=vlrnn.nn.ShowAndTell,vlrnn.nn.ShowAttendTell")
    printed = recipe_of([key], {key.name: "vlrnn.nn.ShowAttendTell"})
    assert printed == {"model": {"init_args": {"decoder": {"class_path": "vlrnn.nn.ShowAttendTell"}}}}


def test_names_are_as_short_as_they_can_be_distinguished() -> None:
    names = ["a.init_args.width", "b.c.width", "x.c.dropout", "dropout"]
    assert list(short_names(names).values()) == ["a.width", "c.width", "c.dropout", "dropout"]


IMPOSSIBLE = [
    ("model.optimisation.lr=1,2", "--key model.optimisation.lr: the recipe has no such key; model has decoder, "),
    ("modle.lr=1,2", "--key modle.lr: the recipe has no such key; it has model, trainer"),
    ("trainer.max_epochs.x=1,2", "no such key; trainer.max_epochs has no keys"),
    ("model.decoder.embedding_dim", "expected KEY=VALUES"),
    ("trainer=1,2", "--key trainer: has keys of its own, max_epochs, accelerator; name one of them"),
    ("trainer.max_epochs=3", "--key trainer.max_epochs: one value cannot be searched"),
    ("trainer.max_epochs=3,3", "two of its values are the same"),
    ("trainer.max_epochs=3..2", "3..2: must increase"),
    ("trainer.max_epochs=2..2", "2..2: must increase"),
    ("trainer.max_epochs=log:0..2", "log:0..2: log needs numbers above 0"),
    ("model.decoder.recurrence=gru,nonsense", "nonsense: no recurrence; there are "),
    ("model.decoder.recurrence=gru,lstm:num_heads=2", "'num_heads' is no setting of LSTM"),
]


def test_what_cannot_be_swept_is_reported(subtests: pytest.Subtests) -> None:
    for message, complaint in IMPOSSIBLE:
        with subtests.test(message=message, complaint=complaint):
            with pytest.raises(UserError) as refused:
                space(message)
            assert complaint in str(refused.value)


def test_a_key_is_swept_once() -> None:
    with pytest.raises(UserError, match="occurs twice"):
        space("model.decoder.dropout=0.1,0.2", "model.init_args.decoder.init_args.dropout=0.0..0.5")


# Proposals.


def tried(swept: Space, count: int, judge: Callable[[dict[str, Any]], float], sampler: Any = "tpe") -> list[Tried]:
    """So many trials, one after the other."""
    results: list[Tried] = []
    for number in range(count):
        settings = propose(swept, results, "max", sampler, (0, number))
        results.append(Tried(settings, judge(settings)))
    return results


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_proposals_are_within_bounds_and_new(sampler: str) -> None:
    lr, width, cell = "model.optimization.lr", "model.decoder.recurrence.hidden_size", "model.decoder.recurrence"
    swept = space(f"{lr}=log:1e-4..1e-2", f"{width}=log:8..64", f"{cell}=gru,rnn", "trainer.accelerator=null,true,cpu")
    proposals = [each.settings for each in tried(swept, 30, lambda settings: float(settings[width]), sampler)]
    rates: list[Any] = [each[lr] for each in proposals]
    assert all(1e-4 <= rate <= 1e-2 and rate == float(f"{rate:.4g}") for rate in rates)
    assert sum(rate < 1e-3 for rate in rates) > 8  # as many of each order of magnitude
    assert {type(each[width]) for each in proposals} == {int}
    assert {each[cell] for each in proposals} == {"gru", "rnn"}
    assert {each["trainer.accelerator"] for each in proposals} == {None, True, "cpu"}
    assert len({json.dumps(each) for each in proposals}) == len(proposals)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_all_combinations_are_found(sampler: str) -> None:
    swept = space("trainer.max_epochs=1..4", "model.decoder.recurrence=gru,rnn,lstm")
    assert combinations(swept) == 12
    found = {json.dumps(each.settings) for each in tried(swept, 12, lambda _: 0.0, sampler)}
    assert len(found) == 12
    assert combinations(space("model.decoder.dropout=0.0..0.5")) == math.inf


def test_trials_guide_the_search() -> None:
    """Behind the random ones they come near to the best, and keep away from where they fail."""
    swept = space("model.decoder.dropout=0.0..1.0")

    def judge(settings: dict[str, Any]) -> float:
        rate = settings["model.decoder.dropout"]
        return math.nan if rate > 0.5 else -abs(rate - 0.3)

    guided = [each.score or 0.0 for each in tried(swept, 30, judge)[10:]]
    drawn = [each.score or 0.0 for each in tried(swept, 30, judge, "random")[10:]]
    assert sum(map(math.isnan, guided)) < sum(map(math.isnan, drawn)) / 2
    near = [sum(score > -0.1 for score in scores) for scores in (guided, drawn)]
    assert near[0] > 2 * near[1]


# The study, on recipes whose training is only told.


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    decoder = part("nn.ShowAndTell", recurrence=part("nn.LSTM", hidden_size=8), embedding_dim=6)
    model = part(
        "tasks.Captioner",
        encoder=part("nn.BlindEncoder"),
        decoder=decoder,
        generation={"max_new_tokens": 12},
        optimization={"lr": 0.01},
    )
    data = {"root": str(tmp_path / "scenes/captions"), "batch_size": 8, "min_count": 1, "captions_per_image": 1}
    trainer = {"max_epochs": 1, "accelerator": "cpu", "enable_model_summary": False}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump({"model": model, "data": data, "trainer": trainer}))
    return path


KEYS = ("model.optimization.lr=log:1e-3..1e-1", "model.decoder.dropout=0.0..0.5")


@pytest.fixture
def study(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    in_one_process(monkeypatch)

    def run(*more: str, keys: Sequence[str] = KEYS, out: Path = tmp_path / "out", config: Path = recipe) -> int:
        printed = [word for key in keys for word in ("--key", key)]
        return main(["study", "sweep", "--config", str(config), "--out", str(out), *printed, *more])

    return run


class Runs:
    """In the place of training: what was run, and a score that follows from the settings. A high rate diverges."""

    def __init__(self) -> None:
        self.fitted: list[str] = []
        self.killed_at = 0
        self.score = "CIDEr"

    def __call__(self, command: str, arguments: Sequence[str]) -> None:
        if command == "fit":
            configs = [Path(value) for flag, value in pairwise(arguments) if flag == "--config"]
            self.fitted.append(configs[-1].parent.name)
            if len(self.fitted) == self.killed_at:
                raise KeyboardInterrupt
            if rate(configs[-1]) > 0.05:
                raise UserError("training has diverged")
        else:
            run = Path(arguments[1]).parent
            score = {"value": rate(run / "trial.yaml"), "low": 0.0, "high": 1.0, "n": 3}
            write_json(run / "metrics.json", {"scores": {self.score: score}, "settings": {"data": "d", "split": "val"}})


def rate(overlay: Path) -> float:
    return yaml.safe_load(overlay.read_text())["model"]["init_args"]["optimization"]["init_args"]["lr"]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    found = Runs()
    monkeypatch.setattr("vlrnn.studies.sweep.run_recipe", found)
    return found


def trials(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "metrics.json").read_text())["details"]["trials"]


@pytest.mark.slow
def test_it_goes_on_as_if_it_had_not_ended(
    study: Callable[..., int], runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert study("--trials", "15", out=whole) == 0
    assert runs.fitted == [f"trial-{number:03d}" for number in range(1, 16)]
    assert trials(whole) != sorted(trials(whole), key=lambda each: each["settings"]["model.optimization.lr"])
    runs.fitted, runs.killed_at = [], 13
    assert study("--trials", "15", out=cut) == 130
    assert not (cut / "metrics.json").exists()
    runs.fitted, runs.killed_at = [], 0
    assert study("--trials", "13", out=cut) == 0
    assert runs.fitted == ["trial-013"]  # which was killed in its middle
    assert study("--trials", "15", out=cut) == 0
    assert runs.fitted == ["trial-013", "trial-014", "trial-015"]
    assert trials(cut) == trials(whole)
    capsys.readouterr()
    other = {"seed": ["--seed", "1"], "sampler": ["--sampler", "random"], "flags": ["--", "--trainer.max_epochs", "2"]}
    for differing, more in other.items():
        assert study(*more, out=cut) == 2
        assert f"holds another plan ({differing})" in capsys.readouterr().err
    assert len(runs.fitted) == 3


def test_trials_that_fail_are_stored_with_their_reason(
    study: Callable[..., int], runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert study("--trials", "12") == 0
    found = json.loads((out / "metrics.json").read_text())
    failed = [each for each in trials(out) if each["reason"]]
    assert 0 < len(failed) < 6
    assert all(each["settings"]["model.optimization.lr"] > 0.05 and each["score"] is None for each in failed)
    assert len(found["not_computed"]) == len(failed)
    assert len(found["scores"]) == 1 + 12 - len(failed)
    assert f"{len(failed)} of 12 trials failed, the first, trial {failed[0]['trial']}: lr=" in found["notes"][1]
    assert "training has diverged" in capsys.readouterr().out
    with (out / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    states = {row["state"]: row for row in rows}
    assert states["failed"]["reason"] == "training has diverged"
    assert states["failed"]["CIDEr"] == ""
    last = draw_sweep(found["details"], found["settings"]).axes[0].get_lines()[failed[0]["trial"] - 1]
    assert math.isnan(last.get_ydata()[-1])  # type: ignore[arg-type, index]
    runs.fitted = []
    assert study("--trials", "12") == 0
    assert not runs.fitted


def test_all_may_fail(
    study: Callable[..., int], runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study("--trials", "3", keys=["model.optimization.lr=0.1,0.2,0.3"]) == 2
    assert "all 3 trials failed, the first because: training has diverged" in capsys.readouterr().err


def test_the_lowest_is_the_best_where_the_task_minimises(
    study: Callable[..., int], runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.score = "bits_per_character"
    assert study("--trials", "4", config=ROOT / "configs/language_model.yaml") == 0
    out = tmp_path / "out"
    found = json.loads((out / "metrics.json").read_text())
    values = [each["bits_per_character"]["value"] for each in found["scores"].values()]
    assert values[0] == values[1] == min(values)
    assert values[1:] == sorted(values[1:])
    assert rate(out / "best.yaml") == values[0]
    assert yaml.safe_load((out / "runs" / f"trial-{found['details']['best']:03d}" / "trial.yaml").read_text()) == (
        yaml.safe_load((out / "best.yaml").read_text())
    )


def test_a_key_that_is_absent_is_refused_ahead_of_all(
    study: Callable[..., int], runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for keys, complaint in (
        (
            ["model.decoder.dropuot=0.0..0.5"],
            "--key model.decoder.dropuot: the recipe has no such key; model.decoder has",
        ),
        ([KEYS[0], KEYS[0]], "occurs twice"),
    ):
        assert study(keys=keys) == 2
        (printed,) = capsys.readouterr().err.splitlines()
        assert complaint in printed
    assert study("--trials", "0") == 2
    assert "--trials must be at least 1" in capsys.readouterr().err
    assert study("--", "--nonsense", "1") == 2
    assert "nonsense" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not runs.fitted


def test_without_the_extra_a_line_states_how_to_get_it(
    study: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert study() == 2
    assert capsys.readouterr().err.splitlines() == ["vlrnn study: a sweep needs Optuna: pip install 'vlrnn[sweep]'"]


# And with training.


def test_a_sweep_of_scenes(study: Callable[..., int], recipe: Path, tmp_path: Path) -> None:
    make_scenes(tmp_path / "scenes", train=16, val=4, test=4, image_size=32, workers=1)
    out = tmp_path / "out"
    keys = ["model.decoder.recurrence=gru,rnn", "model.optimization.lr=-1,0.05"]
    assert study("--trials", "9", keys=keys) == 0
    found = json.loads((out / "metrics.json").read_text())
    assert found["settings"]["scored_split"] == "val"
    assert any("optimistic" in note for note in found["notes"])
    assert "4 trials are all combinations of the values" in found["notes"]
    assert all(
        "optimization.lr must be a number that is not negative" in each for each in found["not_computed"].values()
    )
    assert len(found["not_computed"]) == 2
    best = found["scores"]["best"]["CIDEr"]
    own = json.loads((out / "runs" / f"trial-{found['details']['best']:03d}" / "metrics.json").read_text())
    assert best == own["scores"]["CIDEr"]
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")
    with (out / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["model.decoder.recurrence"] for row in rows} == {"gru", "rnn"}
    assert max(float(row["CIDEr"]) for row in rows if row["state"] == "done") == best["value"]
    # The overlay makes the model of the best trial, and so its score.
    again = [
        "--config",
        str(recipe),
        "--config",
        str(out / "best.yaml"),
        "--trainer.default_root_dir",
        str(tmp_path / "a"),
    ]
    assert main(["fit", *again]) == 0
    assert main(["validate", *again]) == 0
    assert json.loads((tmp_path / "a" / "metrics.json").read_text())["scores"]["CIDEr"] == best

    report, _ = build([out], [], examples=10)
    (printed,) = report.studies
    assert printed.name == "sweep"
    assert [name.partition(" ")[0] for name, _ in printed.rows] == ["best", "trial", "trial"]
    page, text, _ = write_report([out], tmp_path / "report.html")
    assert "the best</text>" in page.read_text()  # in the picture
    assert "optimistic" in text.read_text()


# The picture.


def test_axes_stand_by_order_of_magnitude_and_leave_out_what_is_absent() -> None:
    assert axis_of("", [1e-4, 1e-3, 1e-2], log=True).heights == pytest.approx([0, 0.5, 1])
    axis = axis_of("", [1.0, math.nan, 3.0, 2.0])
    assert math.isnan(axis.heights[1])
    assert (axis.heights[2], axis.heights[3]) == (1, 0.5)
    assert axis.ticks == {"1": 0, "3": 1, "2": 0.5}
    assert axis_of("", ["a.B", "a.A", None]).ticks == {"A": 0, "B": 0.5, "None": 1}
    ticks = axis_of("", list(range(100))).ticks
    assert {"0", "99"} <= ticks.keys()
    assert 10 < len(ticks) < 25  # what would be written over another is left out
