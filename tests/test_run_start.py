"""How fit begins: no model and no result is lost, whatever the folder holds and however it is spelled."""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from quick import quick

from vlrnn.cli import main
from vlrnn.data.records import open_split, write_dataset
from vlrnn.files import read_json
from vlrnn.processes import alone
from vlrnn.training.run_start import RunStart, contents

Fit = Callable[..., int]
OWN = "--trainer.callbacks+=pytorch_lightning.callbacks."


@pytest.fixture(scope="module")
def trained(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, which no test changes."""
    run = tmp_path_factory.mktemp("trained") / "run"
    assert fit(run) == 0
    return run


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, `run` of the working folder."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(trained, tmp_path / "run"))


def snapshot(folder: Path) -> dict[str, bytes]:
    """All files, but for those that TensorBoard opens ahead of everything."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith("tensorboard")}


def states(path: Path, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        state
        for key, state in torch.load(path, weights_only=True)["callbacks"].items()
        if key.partition("{")[0] == kind
    )
    return found


def printed_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed on stderr, but for what every training says of its data."""
    lines = capsys.readouterr().err.strip().splitlines()
    return "\n".join(line for line in lines if not line.startswith("vocabulary: "))


# Beginning.


def test_what_would_be_destroyed_is_found(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for file, found in [
        ("checkpoints/best.ckpt", "a trained model"),
        ("checkpoints/last.ckpt", "a trained model"),
        ("metrics.json", "results"),
        ("predictions.jsonl", "results"),
        ("splits/val/metrics.json", "results"),
        ("probes/chair.json", "results"),
        ("config.yaml", ""),
        ("log.csv", ""),
        ("recipe.yaml", ""),
    ]:
        with subtests.test(file=file, found=found):
            tmp_path = tmp_path_factory.mktemp("case")
            assert contents(tmp_path / "absent") == ""
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text("")
            assert contents(tmp_path) == found


@pytest.mark.parametrize("root", ["run", "./run", "link", "../{}/run"])
@pytest.mark.parametrize("existing", ["everything", "best.ckpt", "last.ckpt", "results"])
def test_what_exists_is_not_trained_over(
    root: str, existing: str, run: Path, fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("link").symlink_to(run)
    if existing == "results":
        shutil.rmtree(run / "checkpoints")
        (run / "metrics.json").write_text("{}")
    elif existing != "everything":
        (run / "checkpoints" / {"best.ckpt": "last.ckpt", "last.ckpt": "best.ckpt"}[existing]).unlink()
    before = snapshot(run)
    assert fit(root.format(Path.cwd().name)) == 2
    line = printed_line(capsys)
    assert line.count("\n") == 0
    assert ("results" if existing == "results" else "a trained model") in line
    assert ("--ckpt_path last" in line) == (existing in ("everything", "last.ckpt"))
    assert "--overwrite" in line
    assert "run.old-1" in line
    assert snapshot(run) == before


def test_another_checkpoint_is_not_trained_over_it_either(
    run: Path, fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(run / "checkpoints" / "last.ckpt", "other.ckpt")
    before = snapshot(run)
    assert fit(run, "--ckpt_path", "other.ckpt", "--trainer.max_epochs", "3") == 2
    assert "holds a trained model" in printed_line(capsys)
    assert snapshot(run) == before


def test_overwrite_moves_the_old_run_aside(run: Path, fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "metrics.json").write_text("{}")
    before = snapshot(run)
    for number in (1, 2):
        assert fit(run, "--overwrite") == 0
        assert f"run.old-{number}" in printed_line(capsys)
        assert not (run / "metrics.json").exists()
        assert "overwrite" not in yaml.safe_load((run / "config.yaml").read_text())
    assert snapshot(Path("run.old-1")) == before
    assert states(run / "checkpoints" / "best.ckpt", "RecipeCheckpoint")["best_model_path"].startswith(str(run))


@pytest.mark.parametrize("checkpoint", ["last", "run/checkpoints/best.ckpt"])
def test_overwriting_and_going_on_exclude_each_other(
    checkpoint: str, run: Path, fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(run)
    assert fit(run, "--overwrite", "--ckpt_path", checkpoint) == 2
    assert "remove one of them" in printed_line(capsys)
    assert snapshot(run) == before
    assert not Path("run.old-1").exists()


def test_a_run_is_not_moved_from_within(
    run: Path, fit: Fit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run)
    assert fit(".") == 2
    assert "run.old-1 first" in printed_line(capsys)
    assert fit(".", "--overwrite") == 2
    assert "as it is the current folder" in printed_line(capsys)
    assert (run / "checkpoints" / "best.ckpt").is_file()


@pytest.mark.parametrize("key", ["data.root", "data.image_root", "trainer.callbacks.dirpath"])
def test_what_training_reads_is_not_moved_aside(
    key: str, run: Path, fit: Fit, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what it writes there is."""
    shutil.copytree(dataset, run / "data")
    own = (f"{OWN}ModelCheckpoint", "--trainer.callbacks.filename", "own") if "callbacks" in key else ()
    is_data = key.startswith("data")
    assert fit(run, "--overwrite", *own, f"--{key}", str(run / "data" if is_data else run / "own")) == (
        2 if is_data else 0
    )
    assert (f"run: cannot be moved, as {key} ({run}/data) is in it" in printed_line(capsys)) == is_data
    assert Path("run.old-1").exists() != is_data


@pytest.mark.parametrize(
    "named", quick(["absent.ckpt", "best", "https://example.org/a.ckpt", "s3://bucket/a.ckpt", "pipe"], "best", "pipe")
)
def test_a_checkpoint_that_is_absent_is_reported_at_once(
    named: str, run: Path, fit: Fit, small_recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As itself, and a URL as such."""
    os.mkfifo("pipe")
    shutil.rmtree(run)
    path = "run/checkpoints/best.ckpt" if named == "best" else named
    reason = {"h": "a URL", "s": "a URL", "p": "a named pipe"}.get(named[0], "no such file")
    for command in ("fit", "validate", "test"):
        flags = ["--config", str(small_recipe), "--trainer.default_root_dir", "run", "--ckpt_path", named]
        assert main([command, *flags]) == 2
        assert capsys.readouterr().err.startswith(f"vlrnn {command}: {path}: {reason}")
    assert not run.exists()


def test_the_checkpoints_of_a_run_have_names(run: Path, fit: Fit, small_recipe: Path) -> None:
    for command in ("validate", "test"):
        for named in ("best", "last"):
            flags = ["--config", str(small_recipe), "--trainer.default_root_dir", "run", "--ckpt_path", named]
            assert main([command, *flags]) == 0
            made = read_json(run / "metrics.json")["provenance"]["checkpoint"]
            assert made == f"run/checkpoints/{named}.ckpt"
    assert fit(run, "--ckpt_path", "best", "--trainer.max_epochs", "3") == 0


def test_a_dry_run_touches_nothing(run: Path, fit: Fit) -> None:
    before = snapshot(run)
    with alone(run, pytest.fail):
        for flags, code in (((), 0), (("--overwrite",), 0), (("--ckpt_path", "last"), 2)):
            assert fit(run, "--trainer.fast_dev_run", "true", *flags) == code
    assert snapshot(run) == before
    assert not Path("run.old-1").exists()


@pytest.mark.parametrize("flags", [(), ("--ckpt_path", "last")])
def test_what_was_killed_ahead_of_its_first_checkpoint_begins_anew(
    flags: Sequence[str], run: Path, fit: Fit, trained: Path
) -> None:
    shutil.rmtree(run / "checkpoints")
    assert fit(run, *flags) == 0
    assert (run / "log.csv").read_text().count("\n") == (trained / "log.csv").read_text().count("\n")


def test_what_was_killed_between_its_first_checkpoints_begins_anew(run: Path, fit: Fit) -> None:
    """The best is written when it is found, and the last behind it."""
    (run / "checkpoints" / "last.ckpt").unlink()
    best = run / "checkpoints" / "best.ckpt"
    first = torch.load(best, weights_only=True)
    next(each for key, each in first["callbacks"].items() if key.startswith("RecipeCheckpoint"))["last_model_path"] = ""
    torch.save(first, best)
    assert fit(run, "--ckpt_path", "last") == 0
    assert (run / "checkpoints" / "last.ckpt").is_file()


def test_two_do_not_train_in_one_folder(run: Path, fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(run)
    with alone(run, pytest.fail):
        for flags in (("--overwrite",), ("--ckpt_path", "last", "--trainer.max_epochs", "3")):
            assert fit(run, *flags) == 2
            line = printed_line(capsys)
            assert line.count("\n") == 0
            assert "another vlrnn fit trains in it" in line
    assert snapshot(run) == before
    assert fit(run, "--ckpt_path", "last", "--trainer.max_epochs", "3") == 0


def test_what_another_trained_meanwhile_is_not_trained_over(
    trained: Path, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the data were made ready, which can take long."""
    hold = RunStart.hold

    def late(self: RunStart, trainer: Any) -> None:
        shutil.copytree(trained, tmp_path / "run")
        hold(self, trainer)

    monkeypatch.setattr(RunStart, "hold", late)
    assert fit(tmp_path / "run") == 2
    assert "holds a trained model" in printed_line(capsys)
    assert snapshot(tmp_path / "run") == snapshot(trained)


def test_what_a_kill_left_is_cleared(run: Path, fit: Fit) -> None:
    """And nothing else, in a folder that may be that of a whole project."""
    (run / ".env.template").write_text("own")
    for name in ("checkpoints/.last.ckpt.abcd1234.unfinished", ".log.csv.abcd1234.unfinished"):
        (run / name).write_text("half")
    assert fit(run, "--ckpt_path", "last", "--trainer.max_epochs", "3") == 0
    assert not [name for name in snapshot(run) if ".abcd1234" in name]
    assert (run / ".env.template").read_text() == "own"


UNSCORABLE = {
    "none of val": ((0, 1), "'blue-top' has no captions, nor have 1 more; fit selects the best model"),
    "one of val": ((1,), "'white-left' has no captions; fit selects the best model"),
}


@pytest.mark.parametrize("missing", list(UNSCORABLE))
def test_what_cannot_choose_a_model_is_reported_ahead_of_training(
    missing: str, dataset: Path, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare, words = UNSCORABLE[missing]
    splits = {split: list(open_split(dataset, split)) for split in ("train", "val")}
    for place in bare:
        splits["val"][place] = replace(splits["val"][place], captions=())
    shutil.copytree(dataset / "images", tmp_path / "data" / "images")
    write_dataset(tmp_path / "data", splits, name="a challenge", source="", licence="")
    assert fit(tmp_path / "run", "--data.root", str(tmp_path / "data")) == 2
    line = printed_line(capsys)
    assert line.count("\n") == 0
    assert f"{tmp_path}/data/val.jsonl: {words}" in line
    assert not (tmp_path / "run" / "log.csv").exists()
    assert fit(tmp_path / "run", "--data.root", str(tmp_path / "data"), "--overfit", "4") == 0


# Going on.


def renamed(run: Path) -> str:
    run.rename("renamed")
    return "renamed"


def linked(run: Path) -> str:
    Path("link").symlink_to(run)
    return "link"


SPELLINGS: dict[str, Callable[[Path], str]] = {
    "as before": str,
    "relative": lambda run: os.path.relpath(run),
    "dotted": lambda run: f"./{run.name}/../{run.name}",
    "through a link": linked,
    "renamed": renamed,
}


@pytest.mark.parametrize("spelling", quick(SPELLINGS, "through a link"))
def test_a_worse_model_does_not_replace_the_best(spelling: str, run: Path, fit: Fit) -> None:
    """However its folder is called. The best is given a score here that no model has."""
    best = run / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(best, weights_only=True)
    for key, state in checkpoint["callbacks"].items():
        if key.startswith("RecipeCheckpoint"):
            state["best_model_score"] = torch.tensor(11.0)
    torch.save(checkpoint, best)
    before = best.read_bytes()
    root = SPELLINGS[spelling](run)
    assert fit(root, "--ckpt_path", "last", "--trainer.max_epochs", "3") == 0
    assert (Path(root) / "checkpoints" / "best.ckpt").read_bytes() == before
    last = Path(root) / "checkpoints" / "last.ckpt"
    assert float(states(last, "RecipeCheckpoint")["best_model_score"]) == 11
    assert torch.load(last, weights_only=True)["epoch"] == 3


def test_the_best_of_another_folder_is_another(run: Path, fit: Fit) -> None:
    last = str(run / "checkpoints" / "last.ckpt")
    before = snapshot(run)
    assert fit("other", "--ckpt_path", last, "--trainer.max_epochs", "3") == 0
    assert Path("other/checkpoints/best.ckpt").is_file()
    assert snapshot(run) == before


def test_the_recipe_counts(run: Path, fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    """Of what training goes by, too: its checkpoint is that of a run by the recipe from the start, but for what it
    learnt."""
    optimization = "model.init_args.optimization"
    changed = {
        f"{optimization}.lr": ("0.001", "0.5"),
        f"{optimization}.weight_decay": ("0.0001", "0.125"),
        f"{optimization}.warmup_fraction": ("0.05", "0.5"),
        "early_stopping.patience": ("5", "7"),
        "trainer.max_epochs": ("2", "3"),
        "trainer.gradient_clip_val": ("5.0", "0.25"),
    }
    flags = [word for name, (_, now) in changed.items() for word in (f"--{name}", now)]
    more = ("--checkpoint.last_every_n_steps", "1")
    assert fit(run, "--ckpt_path", "last", *flags, *more) == 0
    line = printed_line(capsys)
    assert line.count("\n") == 0
    for name, (then, now) in changed.items():
        assert f"{name.rpartition('.')[2]} {then} -> {now}" in line
    assert "seed" not in line
    assert fit("whole", *flags) == 0
    ours, theirs = (torch.load(f"{each}/checkpoints/last.ckpt", weights_only=True) for each in ("run", "whole"))
    for one, other in zip(*(each["optimizer_states"][0]["param_groups"] for each in (ours, theirs)), strict=True):
        assert one == other
        assert one["initial_lr"] == 0.5
        assert one["lr"] == 0
    assert {group["weight_decay"] for group in ours["optimizer_states"][0]["param_groups"]} == {0, 0.125}
    assert ours["lr_schedulers"] == theirs["lr_schedulers"]
    assert states(run / "checkpoints" / "last.ckpt", "EarlyStopping")["patience"] == 7
    assert yaml.safe_load((run / "config.yaml").read_text())["early_stopping"]["patience"] == 7


def test_the_learning_rate_is_that_of_the_schedule_at_the_step(run: Path, fit: Fit) -> None:
    flags = (
        "--trainer.max_epochs",
        "5",
        "--model.init_args.optimization.lr",
        "0.01",
        "--trainer.log_every_n_steps",
        "1",
    )
    rates = {}
    for root, more in (("run", ("--ckpt_path", "last")), ("whole", ())):
        assert fit(root, *flags, *more) == 0
        rows = (Path(root) / "log.csv").read_text().splitlines()
        place, step = (rows[0].split(",").index(name) for name in ("lr-AdamW/pg1", "step"))
        rates[root] = {cells[step]: cells[place] for cells in (row.split(",") for row in rows[1:]) if cells[place]}
    assert {step: rate for step, rate in rates["run"].items() if int(step) >= 4} == {
        step: rate for step, rate in rates["whole"].items() if int(step) >= 4
    }


def test_nothing_is_reported_where_nothing_changed(run: Path, fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"] |= {"processed": 1, "completed": 1}
    torch.save(checkpoint, run / "checkpoints" / "last.ckpt")
    assert fit(run, "--ckpt_path", "last") == 0
    assert "resuming from" not in printed_line(capsys)


OWN_PATIENCE = (f"{OWN}EarlyStopping", "--trainer.callbacks.monitor", "val/loss", "--trainer.callbacks.patience")
OWN_TIME = (f"{OWN}Timer", "--trainer.callbacks.duration")


@pytest.mark.parametrize(
    ("flags", "ended", "more", "reason"),
    [
        (
            OWN_PATIENCE,
            "1",
            "9",
            "val/loss did not improve on .* in 1 valid.*; .* its EarlyStopping a larger patience",
        ),
        (OWN_TIME, "00:00:01:00", "00:00:02:00", "has used its time; to continue, give its Timer a longer duration"),
    ],
)
def test_callbacks_of_ones_own_end_a_run_by_the_recipe_of_today(
    flags: Sequence[str],
    ended: str,
    more: str,
    reason: str,
    fit: Fit,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    last = tmp_path / "checkpoints" / "last.ckpt"
    flags = ("--model.init_args.optimization.lr", "0", *flags)
    assert fit(tmp_path, *flags, ended) == 0
    checkpoint = torch.load(last, weights_only=True)
    if "Timer" in checkpoint["callbacks"]:
        checkpoint["callbacks"]["Timer"]["time_elapsed"]["train"] = 90.0
        torch.save(checkpoint, last)
    printed_line(capsys)
    go_on = ("--ckpt_path", "last", "--trainer.max_epochs", "4")
    assert fit(tmp_path, *flags, ended, *go_on) == 0
    assert re.search(reason, printed_line(capsys))
    assert fit(tmp_path, *flags, more, *go_on) == 0
    assert torch.load(last, weights_only=True)["epoch"] == 4


OVER = {
    "its epochs": ((), "complete, at epoch 2 of 2", "--trainer.max_epochs"),
    "more epochs": (("--trainer.max_epochs", "1"), "complete, at epoch 2 of 1", "--trainer.max_epochs"),
    "its steps": (("--trainer.max_steps", "4"), "complete, at ", "--trainer.max_"),
    "its patience": (
        ("--trainer.max_epochs", "9", "--early_stopping.patience", "3"),
        "stopped early, after epoch 2: val/CIDEr did not improve on 0.5 in 3 validations",
        "--early_stopping.patience",
    ),
}


@pytest.mark.parametrize("why", list(OVER))
def test_a_finished_run_prints_its_line(why: str, run: Path, fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    last = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(last, weights_only=True)
    for key, state in checkpoint["callbacks"].items():
        if key.startswith("EarlyStopping"):
            state |= {"wait_count": 3, "best_score": torch.tensor(0.5), "patience": 3}
    torch.save(checkpoint, last)
    flags, reason, advice = OVER[why]
    before = snapshot(run)
    assert fit(run, "--ckpt_path", "last", *flags) == 0
    line = printed_line(capsys)
    assert line.count("\n") == 0
    assert reason in line
    assert advice in line
    assert snapshot(run) == before
    more = ("--trainer.max_epochs", "3", "--early_stopping.patience", "9")
    assert fit(run, "--ckpt_path", "last", *more) == 0
    assert torch.load(last, weights_only=True)["epoch"] == 3


def test_a_checkpoint_that_is_refused_changes_nothing(run: Path, fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does it count as going on."""
    before = snapshot(run)
    width = "--model.init_args.decoder.init_args.recurrence.init_args.hidden_size"
    assert fit(run, "--ckpt_path", "last", "--trainer.max_epochs", "3", width, "16") == 2
    line = printed_line(capsys)
    assert line.count("\n") == 0
    assert "another decoder than the recipe's" in line
    assert snapshot(run) == before
