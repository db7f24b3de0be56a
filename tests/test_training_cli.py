"""fit, validate, test and cache, run for real from the command line on a tiny data set."""

import csv
import json
import os
import pickle
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
import yaml
from quick import quick

from vlrnn.cli import main
from vlrnn.data.records import Prediction, RecordFile
from vlrnn.tasks.captioning import Captioner
from vlrnn.training.checkpoint import load_task

RECIPE = """
model:
  class_path: vlrnn.tasks.Captioner
  init_args:
    encoder:
      class_path: vlrnn.nn.TorchvisionEncoder
      init_args: {name: mobilenet_v3_small, image_size: 64}
    decoder:
      class_path: vlrnn.nn.ShowAttendTell
      init_args:
        recurrence:
          class_path: vlrnn.nn.LSTM
          init_args: {hidden_size: 16}
        attention:
          class_path: vlrnn.nn.SoftAttention
          init_args: {attention_dim: 8}
        embedding_dim: 16
    generation: {max_new_tokens: 8}
data: {batch_size: 4, min_count: 1}
trainer: {accelerator: cpu, max_epochs: 2, log_every_n_steps: 1}
"""


class Workshop:
    """A folder with a recipe, weights and data, and the command line to run there."""

    def __init__(self, folder: Path, weights: Path, dataset: Path) -> None:
        self.folder = folder
        recipe = yaml.safe_load(RECIPE)
        recipe["model"]["init_args"]["encoder"]["init_args"]["weights"] = str(weights)
        recipe["data"] |= {"root": str(dataset), "cache": str(folder / "cache")}
        recipe["trainer"]["default_root_dir"] = str(self.run_folder)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))

    @property
    def run_folder(self) -> Path:
        return self.folder / "run"

    def command(self, name: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "vlrnn", name, "--config", "recipe.yaml", *arguments]

    def run(self, name: str, *arguments: str) -> "forked.CompletedProcess[str]":
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        return forked.run(self.command(name, *arguments), cwd=self.folder, env=environment, capture_output=True)

    def call(self, name: str, *arguments: str) -> None:
        """Run a recipe's command to its end in this process, where nothing is held about one of its own."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            assert main([name, *arguments]) == 0

    def log(self) -> list[dict[str, str]]:
        with (self.run_folder / "log.csv").open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, classifier_file: Path, dataset: Path) -> Workshop:
    """One in which a model has been trained."""
    shop = Workshop(tmp_path_factory.mktemp("workshop"), classifier_file, dataset)
    done = shop.run("cache")
    assert done.returncode == 0, done.stderr
    shop.cached = done  # type: ignore[attr-defined]
    done = shop.run("fit")
    assert done.returncode == 0, done.stderr
    shop.fitted = done  # type: ignore[attr-defined]
    return shop


def wait_for(path: Path, process: forked.Popen) -> None:
    """Wait until a process has left a file."""
    deadline = time.monotonic() + forked.PATIENCE
    while not path.is_file():
        assert time.monotonic() < deadline, f"no {path}"
        assert process.poll() is None, f"it has ended with {process.returncode}"
        time.sleep(0.05)


def quiet(done: "forked.CompletedProcess[str]") -> None:
    """Nothing but what the user wants to know."""
    for noise in ("Warning", "warn(", "Tip:", "Traceback", "GPU available", "litlogger", "LeafSpec", "workers"):
        assert noise not in done.stdout + done.stderr


def test_cache_is_made_ahead(workshop: Any) -> None:
    assert "features of train" in workshop.cached.stderr
    assert len(list((workshop.folder / "cache").iterdir())) == 3
    assert "features of" not in workshop.fitted.stderr
    quiet(workshop.cached)


def test_fit_leaves_a_run_folder(workshop: Any) -> None:
    quiet(workshop.fitted)
    for name in ("config.yaml", "log.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt"):
        assert (workshop.run_folder / name).is_file(), name
    assert len(list((workshop.run_folder / "checkpoints").iterdir())) == 2
    columns = workshop.log()[0].keys()
    assert {"epoch", "step", "train/loss", "val/loss", "val/CIDEr", "val/Bleu_4", "val/ROUGE_L"} <= columns
    task = load_task(workshop.run_folder / "checkpoints" / "best.ckpt", Captioner)
    assert "red" in task.vocabulary
    assert "white" not in task.vocabulary
    config = yaml.safe_load((workshop.run_folder / "config.yaml").read_text())
    assert config["seed_everything"] == 0
    assert config["trainer"]["max_epochs"] == 2


@pytest.mark.parametrize(("command", "split"), [("validate", "val"), ("test", "test")])
def test_test_and_validate_write_their_results(workshop: Any, command: str, split: str) -> None:
    before = workshop.log()
    done = workshop.run(command, "--ckpt_path", str(workshop.run_folder / "checkpoints" / "best.ckpt"))
    assert done.returncode == 0, done.stderr
    quiet(done)
    metrics = json.loads((workshop.run_folder / "metrics.json").read_text())
    assert {"Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "ROUGE_L", "CIDEr"} <= metrics["scores"].keys()
    assert metrics["scores"]["CIDEr"]["n"] == 2
    assert metrics["settings"]["split"] == split
    assert metrics["settings"]["num_beams"] == 1
    predictions = list(RecordFile(workshop.run_folder / "predictions.jsonl", Prediction))
    assert len(predictions) == 2
    assert all(each.settings["max_new_tokens"] == 8 for each in predictions)
    assert workshop.log() == before  # the log is of training


def test_a_run_is_its_own_recipe(workshop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The saved configuration trains the same again, and no test has written over it."""
    saved = workshop.run_folder / "config.yaml"
    before = saved.read_bytes()
    best = str(workshop.run_folder / "checkpoints" / "best.ckpt")
    monkeypatch.chdir(workshop.folder)
    assert main(["test", "--config", str(saved), "--ckpt_path", best]) == 0
    assert saved.read_bytes() == before
    assert main(["fit", "--config", str(saved), "--trainer.default_root_dir", str(tmp_path)]) == 0
    one, other = (
        torch.load(path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for path in (workshop.run_folder, tmp_path)
    )
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


# Mistakes.


def one_line(printed: str, *words: str) -> None:
    assert len(printed.strip().splitlines()) == 1, printed
    assert printed.startswith("vlrnn fit: ")
    for word in words:
        assert word in printed


MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "unknown key": (["--data.no_such_key", "1"], ["no_such_key"]),
    "unknown key of a part": (["--model.init_args.decoder.init_args.no_such_key", "1"], ["no_such_key"]),
    "missing data": (["--data.root", "absent"], ["absent", "not a prepared data set"]),
    "bad number": (["--trainer.max_epochs", "many"], ["max_epochs"]),
    "bad value": (["--data.batch_size", "0"], ["batch_size"]),
    "bad decoding": (["--model.init_args.generation.num_beams", "0"], ["num_beams"]),
    "one example by heart": (["--overfit", "1"], ["--overfit: scores need two images at least; there are 1"]),
    "unknown class": (["--model.init_args.decoder.init_args.recurrence", "NoSuchCell"], ["NoSuchCell"]),
    "unknown encoder": (["--model.init_args.encoder.init_args.name", "no_such_cnn"], ["no_such_cnn"]),
    "weights that are none": (["--model.init_args.encoder.init_args.weights", "recipe.yaml"], ["recipe.yaml"]),
    "unknown block": (
        ["--model.init_args.encoder.init_args.finetune_from", "layer9", "--data.cache", "null"],
        ["layer9", "features.12"],
    ),
    "cache of what learns": (["--model.init_args.encoder.init_args.finetune_from", "features.9"], ["cache"]),
    "nothing in the place of a part": (
        ["--model.init_args.optimization=null\n"],
        ["optimization must be Optimization, not null"],
    ),
    "no such recipe": (["--config", "absent.yaml"], ["absent.yaml"]),
    "a recipe that is none": (["--config", "broken.yaml"], ["broken.yaml:3: not YAML"]),
    "a recipe of nothing": (["--config", "empty.yaml"], ["empty.yaml"]),
    "a recipe of bytes": (["--config=pickle.ckpt"], ["pickle.ckpt"]),
    "a truncated checkpoint": (["--ckpt_path", "half.ckpt"], ["half.ckpt"]),
    "a pickle to go on from": (["--ckpt_path", "pickle.ckpt"], ["pickle.ckpt: not a checkpoint"]),
    "a checkpoint of which something is missing": (
        ["--ckpt_path", "strange.ckpt", "--trainer.max_epochs", "3"],
        ["broken"],
    ),
    "no strategy": (["--trainer.strategy", "no_such"], ["invalid strategy name", "no_such"]),
    "no number of processes": (["--trainer.devices", "0"], ["devices"]),
    "no checkpoint to go on from": (["--ckpt_path", "absent.ckpt"], ["absent.ckpt"]),
}


@pytest.fixture(scope="module")
def bad_files(workshop: Any) -> Path:
    """The workshop's folder, with the files that some mistakes are about."""
    (workshop.folder / "broken.yaml").write_text("model: [1,\n  2: {")
    (workshop.folder / "empty.yaml").write_text("")
    last = workshop.run_folder / "checkpoints" / "last.ckpt"
    (workshop.folder / "half.ckpt").write_bytes(last.read_bytes()[:5000])
    strange = {**torch.load(last, weights_only=True), "optimizer_states": 3}
    torch.save(strange, workshop.folder / "strange.ckpt")
    (workshop.folder / "pickle.ckpt").write_bytes(pickle.dumps(Path("x"), protocol=2))
    return Path(workshop.folder)


def test_mistakes_are_errors_of_one_line(
    subtests: pytest.Subtests,
    bad_files: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for mistake in MISTAKES:
        with subtests.test(mistake=mistake), pytest.MonkeyPatch.context() as monkeypatch:
            tmp_path = tmp_path_factory.mktemp("case")
            arguments, words = MISTAKES[mistake]
            monkeypatch.chdir(bad_files)
            with warnings.catch_warnings():
                place = ["--trainer.default_root_dir", str(tmp_path), "--quiet"]
                code = main(["fit", "--config", "recipe.yaml", *place, *arguments])
            assert code == 2
            one_line(capfd.readouterr().err, *words)


def test_a_fault_of_ours_is_no_mistake(workshop: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is raised by our own code, or below it, is not told as if the recipe were wrong."""

    def wrong(_: Any) -> None:
        raise ValueError("ours")

    monkeypatch.chdir(workshop.folder)
    monkeypatch.setattr("vlrnn.data.datamodule.VisionLanguageData.prepare_data", wrong)
    with pytest.raises(ValueError, match="ours"):
        main(["fit", "--config", "recipe.yaml", "--trainer.default_root_dir", str(tmp_path)])


def test_a_checkpoint_is_scored_on_other_data(
    workshop: Any, make_dataset: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Data that has no training split, and whose words are not counted: those of the checkpoint are said."""
    folder = make_dataset(tmp_path / "others", (2, 2, 4))
    (folder / "train.jsonl").unlink()
    (folder / "val.jsonl").unlink()
    run = tmp_path / "run"
    best = str(workshop.run_folder / "checkpoints" / "best.ckpt")
    flags = ("--data.root", str(folder), "--ckpt_path", best, "--trainer.default_root_dir", str(run))
    workshop.call("test", "--config", "recipe.yaml", *flags)
    assert "features of test" in capsys.readouterr().err
    assert json.loads((run / "metrics.json").read_text())["scores"]["CIDEr"]["n"] == 4


@pytest.mark.slow
def test_a_few_examples_are_memorized(workshop: Any, tmp_path: Path) -> None:
    """Validation is on those of train, so that its scores say whether they are."""
    rate = "--model.init_args.optimization.lr", "0.03", "--model.init_args.decoder.init_args.dropout", "0"
    flags = ("--overfit", "2", "--trainer.max_epochs", "60", "--trainer.check_val_every_n_epoch", "20", *rate)
    done = workshop.run("fit", *flags, "--trainer.default_root_dir", str(tmp_path), "--trainer.deterministic", "true")
    assert done.returncode == 0, done.stderr
    quiet(done)
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["callbacks"]
    assert max(float(each["best_model_score"]) for each in best.values() if "best_model_score" in each) > 1
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert config["seed_everything"] == 0
    assert config["trainer"]["deterministic"] is True


def test_a_dry_run_leaves_what_exists(workshop: Any) -> None:
    before = {path: path.stat().st_mtime_ns for path in workshop.run_folder.rglob("*.ckpt")}
    done = workshop.run("fit", "--trainer.fast_dev_run", "true")
    assert done.returncode == 0, done.stderr
    quiet(done)
    assert before == {path: path.stat().st_mtime_ns for path in workshop.run_folder.rglob("*.ckpt")}


def test_half_precision(workshop: Any, tmp_path: Path) -> None:
    """bfloat16 where it is safe, as on GPUs; the weights that are kept are float32."""
    flags = ("--trainer.precision", "bf16-mixed", "--trainer.max_epochs", "1")
    done = workshop.run("fit", *flags, "--trainer.default_root_dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    quiet(done)
    task = load_task(tmp_path / "checkpoints" / "best.ckpt", Captioner)
    assert {parameter.dtype for parameter in task.parameters()} == {torch.float32}
    assert all(parameter.isfinite().all() for parameter in task.parameters())


def test_an_unreadable_image_is_named(make_dataset: Callable[..., Path], classifier_file: Path, tmp_path: Path) -> None:
    folder = make_dataset(tmp_path / "squares")
    (folder / "images" / "red_top.png").write_bytes(b"no image")
    shop = Workshop(tmp_path, classifier_file, folder)
    done = shop.run("fit", "--data.cache", "null", "--data.num_workers", "1", "--quiet")
    assert done.returncode == 2
    one_line(done.stderr, "red_top.png")
    quiet(done)


def test_help_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["fit", "--help"])
    assert left.value.code == 0
    assert "--data.batch_size" in capsys.readouterr().out


# Interruption.


@pytest.mark.parametrize("number", quick([signal.SIGINT, signal.SIGTERM], signal.SIGINT))
def test_interrupted_training_goes_on(
    number: signal.Signals, classifier_file: Path, dataset: Path, tmp_path: Path
) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    forever = shop.command("fit", "--trainer.max_epochs", "100000", "--early_stopping.patience", "100000")
    with forked.Popen(forever, cwd=tmp_path, stderr=forked.PIPE, stdout=forked.DEVNULL) as process:
        wait_for(shop.run_folder / "checkpoints" / "last.ckpt", process)
        process.send_signal(number)
        _, printed = process.communicate()
    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    assert "stopping after this step" in printed
    found = re.search(r"--ckpt_path (\S+last\.ckpt)", printed)
    assert found, printed
    step = torch.load(found[1], weights_only=True)["global_step"]
    epochs = str(torch.load(found[1], weights_only=True)["epoch"] + 2)
    more = ("--trainer.max_epochs", epochs, "--early_stopping.patience", "100000")
    shop.call("fit", "--config", "recipe.yaml", "--ckpt_path", found[1], *more)
    after = torch.load(shop.run_folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert after["global_step"] > step > 0
    steps = [int(row["step"]) for row in shop.log()]
    assert steps[0] < step <= steps[-1]  # one log, of both


def test_a_worker_that_is_lost_is_reported(classifier_file: Path, dataset: Path, tmp_path: Path) -> None:
    """As where the system runs out of memory. An example's image is read by whoever ends itself then."""
    Workshop(tmp_path, classifier_file, dataset)
    program = "\n".join(
        [
            "import os, signal, sys, vlrnn.data.batches",
            "vlrnn.data.batches.open_image = lambda path: os.kill(os.getpid(), signal.SIGKILL)",
            "from vlrnn.cli import main",
            "sys.exit(main(sys.argv[1:]))",
        ]
    )
    flags = ["fit", "--config", "recipe.yaml", "--data.cache", "null", "--data.num_workers", "1"]
    done = forked.run([sys.executable, "-c", program, *flags], cwd=tmp_path, capture_output=True)
    assert done.returncode == 2, done.stderr
    one_line(done.stderr.splitlines()[-1], "a process that loads examples was killed", "--ckpt_path last")
    assert "Traceback" not in done.stderr


def test_without_arguments_what_is_missing_is_reported(
    subtests: pytest.Subtests, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ["fit", "validate", "test", "cache"]:
        with subtests.test(command=command):
            assert main([command]) == 2
            assert capsys.readouterr().err.count("\n") == 1


def test_a_logger_of_ones_own_is_used_with_the_log(classifier_file: Path, dataset: Path, tmp_path: Path) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    recipe = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    recipe["trainer"]["logger"] = {
        "class_path": "pytorch_lightning.loggers.CSVLogger",
        "init_args": {"save_dir": str(tmp_path / "own")},
    }
    recipe["trainer"]["max_epochs"] = 1
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    shop.call("fit", "--config", "recipe.yaml")
    assert {path.name for path in shop.run_folder.iterdir()} >= {"config.yaml", "log.csv", "checkpoints"}
    assert list((tmp_path / "own").rglob("metrics.csv"))


# A run folder.


def test_a_run_folder_is_enough_to_score(
    classifier_file: Path, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its recipe, its best checkpoint, and no file of weights; scores and cached features are those of training."""
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(classifier_file.read_bytes())
    shop = Workshop(tmp_path, weights, dataset)
    shop.call("fit", "--config", "recipe.yaml", "--trainer.max_epochs", "1")
    shop.call("validate", "--config", "recipe.yaml")

    def captions(run: Path) -> list[str]:
        return [each.text for each in RecordFile(run / "predictions.jsonl", Prediction)]

    before = captions(shop.run_folder)
    weights.unlink()
    moved = shop.run_folder.rename(tmp_path / "moved")
    for flags in ([], ["--data.cache", "new"], ["--data.cache", "null", "--ckpt_path", "last"]):
        capsys.readouterr()
        shop.call("validate", "moved", *flags)
        assert captions(moved) == before
        assert "features of" not in capsys.readouterr().err or flags
    program = [sys.executable, "-m", "vlrnn", "predict", "moved", "--quiet"]
    done = forked.run(program, cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (moved / "splits" / "test" / "predictions.jsonl").is_file()


@pytest.mark.parametrize(("run", "words"), [("absent", "no such run folder"), ("images", "no config.yaml")])
def test_what_is_no_run_folder_is_refused(
    run: str, words: str, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(dataset)
    assert main(["test", run]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"vlrnn test: {run}: ")
    assert words in line


# Names that do not exist.


MISTYPED = {
    "argument": (
        ["--model.init_args.decoder.init_args.dropuot", "1"],
        "ShowAndTell has no argument dropuot",
        "dropout",
    ),
    "deep": (["--model.decoder.recurrence.hiden_size", "1"], "vlrnn.nn.GRU has no argument hiden_size", "hidden_size"),
    "flag": (["--data.bach_size", "1"], "unrecognized arguments: --data.bach_size", "--data.batch_size"),
    "class": (["--model.decoder.recurrence", "vlrnn.nn.LTSM"], "there is no class vlrnn.nn.LTSM", "vlrnn.nn.LSTM"),
    "key": ({"batch_size": "bach_size"}, "{}: there is no key data.bach_size", "data.batch_size"),
    "argument of a recipe": ({"hidden_size": "hiden_size"}, "{}: vlrnn.nn.GRU has no argument", "hidden_size"),
    "class of a recipe": ({"nn.GRU": "nn.GUR"}, "{}: there is no class vlrnn.nn.GUR", "vlrnn.nn.GRU"),
}


@pytest.mark.parametrize("kind", list(MISTYPED))
def test_the_nearest_name_is_suggested(
    kind: str, small_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, start, nearest = MISTYPED[kind]
    recipe, text = tmp_path / "mine.yaml", small_recipe.read_text()
    for old, new in change.items() if isinstance(change, dict) else ():
        text = text.replace(old, new)
    recipe.write_text(text)
    flags = change if isinstance(change, list) else []
    assert main(["fit", "--config", str(recipe), *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert start.format(recipe) in line
    assert line.endswith(f"did you mean {nearest}?")


def test_a_class_of_another_base_is_refused_in_a_line(small_recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", str(small_recipe), "--model.init_args.decoder", "vlrnn.nn.LSTM"]) == 2
    assert capsys.readouterr().err == "vlrnn fit: vlrnn.nn.LSTM is not a Decoder, which decoder must be\n"


def test_a_recipe_cannot_name_a_class_of_data(
    small_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(yaml.safe_dump({"data": {"class_path": "my.Data"}}))
    assert main(["fit", "--config", str(small_recipe), "--config", str(recipe)]) == 2
    assert "there is no key data.class_path: the data class is that of the task" in capsys.readouterr().err


def test_null_reaches_the_argument_of_a_part_of_a_part(small_recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = ["--model.init_args.encoder", "vlrnn.nn.TorchvisionEncoder", "--model.init_args.encoder.init_args"]
    flags = [encoder[0], encoder[1], f"{encoder[2]}.weights", "x", f"{encoder[2]}.weights=null"]
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(small_recipe), *flags, "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["encoder"]["init_args"]["weights"] is None


def test_help_topics(small_recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {"trainer": "--trainer.max_epochs", "model": "--decoder", "data": "--data.root", "LSTM": "--hidden_size"}
    for topic, flag in expected.items():
        with pytest.raises(SystemExit) as left:
            main(["fit", "--config", str(small_recipe), "--help", topic])
        assert left.value.code == 0
        assert f"  {flag} " in capsys.readouterr().out
    assert main(["fit", "--help", "LTSM"]) == 2
    assert "did you mean LSTM?" in capsys.readouterr().err
