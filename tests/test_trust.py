"""Classes outside vlrnn, from the command line: a recipe trains them, and a checkpoint builds them where they are
trusted, and nothing else."""

import csv
import importlib
import io
import json
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
import yaml
from conftest import SMALL_RECIPE
from own_parts import ShiftedDecoder, UnhintedDecoder
from safetensors.torch import load_file

from vlrnn.cli import main
from vlrnn.commands import RECIPE_COMMANDS
from vlrnn.config import from_config
from vlrnn.errors import UserError
from vlrnn.inference.predictor import Predictor
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.rnn import GRU
from vlrnn.tasks.captioning import Captioner
from vlrnn.text.vocabulary import Vocabulary
from vlrnn.training.checkpoint import from_pretrained, note_trust
from vlrnn.trust import checked_trust, import_class

OWN = Path(__file__).parent / "own_parts.py"
SCRIPT = "from vlrnn.cli import main\nraise SystemExit(main())\n"


class Workshop:
    """A folder with own classes, a recipe that names them, and the command line to run there, started as an installed
    script is: the current folder is not on the import path, that of the script is, as installed packages are."""

    def __init__(self, folder: Path, dataset: Path, package: str = "my_parts") -> None:
        self.folder, self.installed = folder / "work", folder / "installed"
        self.dataset = dataset
        self.folder.mkdir()
        self.installed.mkdir()
        (self.installed / "start.py").write_text(SCRIPT)
        shutil.copy(OWN, self.folder / "my_parts.py")
        self.write_recipe("recipe.yaml", package)

    def write_recipe(self, name: str, package: str) -> None:
        recurrence = {"class_path": f"{package}.LeakyUnit", "init_args": {"share": 0.4}}
        decoder = {"class_path": f"{package}.ShiftedDecoder", "init_args": {"recurrence": recurrence}}
        model = {**SMALL_RECIPE["model"]["init_args"], "decoder": decoder}
        recipe = {
            **SMALL_RECIPE,
            "model": {**SMALL_RECIPE["model"], "init_args": model},
            "data": {**SMALL_RECIPE["data"], "root": str(self.dataset)},
        }
        (self.folder / name).write_text(yaml.safe_dump(recipe))

    def run(self, *arguments: str | Path) -> "forked.CompletedProcess[str]":
        if arguments[0] not in RECIPE_COMMANDS and not any(self.installed.glob("*.dist-info")):
            return self.called(*map(str, arguments))
        command = [sys.executable, str(self.installed / "start.py"), *map(str, arguments)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
        return forked.run(command, cwd=self.folder, env=environment, capture_output=True)

    def called(self, *arguments: str) -> "forked.CompletedProcess[str]":
        """What the command does in this process, from which its own modules are removed again."""
        importlib.invalidate_caches()  # a file of this moment is found
        written = io.BytesIO(), io.BytesIO()
        out, err = (io.TextIOWrapper(each, "utf-8", write_through=True) for each in written)
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            patch.setenv("COLUMNS", "200")
            code = main(arguments)
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").parent == self.folder:
                del sys.modules[name]
        return forked.CompletedProcess(arguments, code, *(each.getvalue().decode() for each in written))

    def good(self, *arguments: str | Path) -> "forked.CompletedProcess[str]":
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done

    def refused(self, *arguments: str | Path) -> str:
        """The line that refuses what is asked for."""
        done = self.run(*arguments)
        assert done.returncode == 2, done.stdout + done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def exported(self, name: str, **classes: str) -> Path:
        """A copy of the exported model; where it names LeakyUnit or ShiftedDecoder it names another class."""
        folder = Path(shutil.copytree(self.folder / "model", self.folder / name))
        text = (folder / "config.json").read_text()
        for own, other in classes.items():
            text = text.replace(f'"my_parts.{own}"', json.dumps(other))
        (folder / "config.json").write_text(text)
        return folder


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, dataset: Path) -> Workshop:
    """One in which a model has been trained, `run`, and exported, `model`."""
    shop = Workshop(tmp_path_factory.mktemp("own"), dataset)
    shop.fitted = shop.good("fit", "--config", "recipe.yaml", "--trainer.default_root_dir", "run")  # type: ignore[attr-defined]
    shop.good("export", "--checkpoint", "run/checkpoints/best.ckpt", "--out", "model", "--trust", "my_parts")
    return shop


@pytest.fixture
def image(dataset: Path) -> Path:
    return dataset / "images/red_left.png"


def test_fit_names_the_package_to_trust(workshop: Any) -> None:
    lines = [line for line in workshop.fitted.stderr.splitlines() if "--trust" in line]
    assert len(lines) == 1
    assert lines[0].endswith("need --trust my_parts")
    assert workshop.fitted.stdout.splitlines()[-1].endswith("/best.ckpt --trust my_parts")


@pytest.mark.parametrize("checkpoint", ["run/checkpoints/best.ckpt", "model"])
def test_a_checkpoint_is_loaded_where_its_package_is_trusted(workshop: Workshop, image: Path, checkpoint: str) -> None:
    line = workshop.refused("caption", image, "--checkpoint", checkpoint)
    assert "'my_parts.ShiftedDecoder'" in line
    assert "--trust my_parts" in line
    done = workshop.good("caption", image, "--checkpoint", checkpoint, "--trust", "json", "--trust", "my_parts")
    assert done.stdout.startswith(f"{image}: ")


def test_every_command_that_loads_needs_trust(workshop: Workshop, image: Path, tmp_path: Path) -> None:
    probe = ("--data", workshop.dataset, "--checkpoint", "model")
    for command in (
        ("export", "--checkpoint", "model", "--out", tmp_path / "again"),
        ("probe", "grounding", *probe),
        ("probe", "units", *probe),
    ):
        assert "--trust my_parts" in workshop.refused(*command)
        if "units" in command:
            done = workshop.run(*command, "--trust", "my_parts")
            assert done.returncode == 2
            assert done.stderr.splitlines()[-1].startswith("vlrnn probe: LeakyUnit does not define layer_outputs")
        else:
            assert "--trust my_parts" not in workshop.run(*command, "--trust", "my_parts").stderr
    assert (tmp_path / "again/model.safetensors").is_file()
    card = (tmp_path / "again/README.md").read_text()
    assert "commands need `--trust my_parts`" in card
    assert "trust=['my_parts'])" in card


def test_an_objective_needs_no_trust_but_to_train(workshop: Workshop, image: Path, small_recipe: Path) -> None:
    """A checkpoint is used without it, and without its weights."""
    flags = ("--config", small_recipe, "--model.init_args.objective", "my_parts.ScaledCrossEntropy")
    done = workshop.good("fit", *flags, "--trainer.default_root_dir", "scaled")
    assert "--trust" not in done.stderr
    best = workshop.folder / "scaled/checkpoints/best.ckpt"
    checkpoint = torch.load(best, weights_only=True)
    assert checkpoint["vlrnn"]["objective"] == {"class": "my_parts.ScaledCrossEntropy", "arguments": {"start": 1.0}}
    assert checkpoint["state_dict"]["objective.scale"] != 1
    assert "my_parts" not in json.dumps(checkpoint["vlrnn"]["task"])
    (workshop.folder / "my_parts.py").rename(workshop.folder / "gone.py")
    try:
        workshop.good("caption", image, "--checkpoint", best)
        workshop.good("export", "--checkpoint", best, "--out", "without")
        workshop.good(
            "validate", "--config", small_recipe, "--ckpt_path", best, "--trainer.default_root_dir", "validated"
        )
    finally:
        (workshop.folder / "gone.py").rename(workshop.folder / "my_parts.py")
    assert not any(name.startswith("objective") for name in load_file(workshop.folder / "without/model.safetensors"))


def test_a_recipe_trusts_the_classes_that_it_names(workshop: Workshop, tmp_path: Path) -> None:
    run = Path(shutil.copytree(workshop.folder / "run", tmp_path / "run"))
    recipe = ("--config", run / "config.yaml", "--trainer.default_root_dir", run)
    for command in ("validate", "test"):
        workshop.good(command, *recipe)
    assert (run / "metrics.json").is_file()
    workshop.good("fit", *recipe, "--ckpt_path", "last", "--trainer.max_epochs", "3")


def test_nothing_untrusted_is_imported(workshop: Workshop, image: Path) -> None:
    (workshop.folder / "spy.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    fresh = ("--config", "recipe.yaml", "--trainer.default_root_dir", "fresh")
    for name, path in (("one", "spy.LeakyUnit"), ("other", "my_parts_too.LeakyUnit")):
        folder = workshop.exported(name, LeakyUnit=path)
        shutil.copy(workshop.folder / "spy.py", workshop.folder / "my_parts_too.py")
        line = workshop.refused("caption", image, "--checkpoint", folder, "--trust", "my_parts")
        assert f"'{path}'" in line
        done = workshop.run("fit", *fresh, "--ckpt_path", folder)
        assert "made with another decoder" in done.stderr
        workshop.good("fit", *fresh, "--trainer.fast_dev_run", "true", "--init_from", folder)
    assert not (workshop.folder / "imported").exists()


def test_a_trusted_class_may_be_wrong(subtests: pytest.Subtests, workshop: Workshop, image: Path) -> None:
    for path, reason in [
        ("my_parts.NoSuchUnit", "no Recurrence"),
        ("my_parts.ShiftedDecoder", "no Recurrence"),
        ("my_parts.LSTM", "no Recurrence"),  # imported there, at home elsewhere
        ("my_parts.torch", "no Recurrence"),
        ("my_parts.deeper.LeakyUnit", "whose module cannot be found"),
        ("my_parts.LeakyUnit.build", "whose module cannot be found"),
        ("broken.LeakyUnit", "broken: fails at import: ZeroDivisionError: division by zero"),
        ("leaving.LeakyUnit", "leaving: fails at import: SystemExit: 3"),
        ("torch.nn.GRU", "no Recurrence"),
        ("os.system", "no Recurrence of vlrnn"),
        ("builtins.eval", "no Recurrence of vlrnn"),
    ]:
        with subtests.test(path=path, reason=reason):
            (workshop.folder / "broken.py").write_text("1 / 0\n")
            (workshop.folder / "leaving.py").write_text("import sys\nsys.exit(3)\n")
            folder = workshop.exported(path.replace(".", "-"), LeakyUnit=path)
            trust = [word for each in ("my_parts", "broken", "leaving", "torch", "os") for word in ("--trust", each)]
            assert reason in workshop.refused("caption", image, "--checkpoint", folder, *trust)


def test_a_package_that_is_absent(subtests: pytest.Subtests, workshop: Workshop, image: Path) -> None:
    for package in ["no_such_package", "my_parts.deeper", "my-parts", "./my_parts", "", "."]:
        with subtests.test(package=package):
            line = workshop.refused("caption", image, "--checkpoint", "model", "--trust", package)
            assert f"--trust {package}: no such package is installed" in line
    assert "no such package" in workshop.refused("fit", "--config", "recipe.yaml", "--trust", "no_such_package")


def test_a_recipe_names_a_wrong_class(subtests: pytest.Subtests, workshop: Workshop) -> None:
    for path, reason in [
        ("my_parts.NoSuchUnit", "my_parts.NoSuchUnit: the module my_parts has no class NoSuchUnit"),
        ("no_such_package.LeakyUnit", "there is no class no_such_package.LeakyUnit"),
        ("my_parts.ShiftedDecoder", "is not a Recurrence, which recurrence must be"),
        ("broken_at_once.LeakyUnit", "broken_at_once: fails at import: NameError"),
    ]:
        with subtests.test(path=path, reason=reason):
            (workshop.folder / "broken_at_once.py").write_text("nothing\n")
            key = "--model.init_args.decoder.init_args.recurrence"
            assert reason in workshop.refused("fit", "--config", "recipe.yaml", key, path)


def test_what_no_checkpoint_can_build_is_refused_before_training() -> None:
    task = Captioner(Vocabulary(["a"]), BlindEncoder(), UnhintedDecoder(GRU(4)))
    with pytest.raises(UserError, match=r"'recurrence' of 'own_parts\.UnhintedDecoder', whose type hint has none"):
        note_trust(task)
    note_trust(Captioner(Vocabulary(["a"]), BlindEncoder(), ShiftedDecoder(GRU(4))))


def test_own_units_of_a_language_model(workshop: Workshop) -> None:
    """What validation builds from the checkpoint are classes that the recipe names, too."""
    recurrence = {"class_path": "vlrnn.nn.GRU", "init_args": {"hidden_size": 8}}
    decoder = {
        "class_path": "vlrnn.nn.RecurrentLanguageModel",
        "init_args": {"recurrence": recurrence, "embedding_dim": 8},
    }
    (workshop.folder / "text.txt").write_text("so it is, and so it was.\n" * 600)
    recipe = {
        "model": {"class_path": "vlrnn.tasks.LanguageModel", "init_args": {"decoder": decoder}},
        "data": {"root": "text.txt", "tokenizer": "my_parts.Pairs", "batch_size": 2, "bptt_length": 16},
        "trainer": {"accelerator": "cpu", "max_epochs": 1, "default_root_dir": "text"},
    }
    (workshop.folder / "text.yaml").write_text(yaml.safe_dump(recipe))
    assert "--trust my_parts" in workshop.good("fit", "--config", "text.yaml").stderr
    workshop.good("validate", "--config", "text.yaml")
    command = ("continue", "so", "--checkpoint", "text/checkpoints/best.ckpt", "--max_new_tokens", "2")
    assert "'my_parts.Pairs'" in workshop.refused(*command)
    workshop.good(*command, "--trust", "my_parts")


def test_the_current_folder_takes_the_place_of_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wave.py").write_text("raise SystemExit\n")  # a name of Python's library
    Path("parts_of_mine.py").write_text("import wave\nimport sys\n\nclass Seen:\n    path = list(sys.path)\n")
    before = list(sys.path)
    imported = import_class("parts_of_mine.Seen")
    assert imported.path == [*before, str(tmp_path)]
    assert sys.path == before
    del sys.modules["parts_of_mine"]


def test_trust_is_of_a_package_and_no_prefix() -> None:
    description = {"class": "ab.C", "arguments": {}}
    for trust in (["a"], ["ab.c"], ["ab.C.d"], ["b"], [""], ["json", "torch"]):
        with pytest.raises(UserError, match="refused without --trust ab"):
            from_config(description, Recurrence, "a.ckpt", trust)
    assert checked_trust(["json", "torch.nn"]) == ["json", "torch.nn"]


def test_trust_from_python(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workshop.folder)
    with pytest.raises(UserError, match=r"trust=\['my_parts'\]"):
        Predictor.load("model", "cpu")
    one = Predictor.load("model", "cpu", trust=["my_parts"])
    other = from_pretrained("model", Captioner, trust=["my_parts"])
    assert type(one.task.decoder) is type(other.decoder)
    assert type(other.decoder).__module__ == "my_parts"
    assert all(map(torch.equal, one.task.state_dict().values(), other.state_dict().values()))
    del sys.modules["my_parts"]


# A task.


@pytest.mark.parametrize("cached", [False, True])
def test_a_task_is_trained_used_and_reported(
    workshop: Workshop, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: bool
) -> None:
    cell = {"class_path": "vlrnn.nn.GRU", "init_args": {"hidden_size": 16}}
    model = {"encoder": "my_parts.CellColours", "recurrence": cell}
    recipe = {
        "model": {"class_path": "my_parts.PlaceNaming", "init_args": model},
        "data": {
            **SMALL_RECIPE["data"],
            "root": str(workshop.dataset),
            "cache": str(tmp_path) if cached else None,
        },
        "trainer": {**SMALL_RECIPE["trainer"], "max_epochs": 40},
    }
    (workshop.folder / "task.yaml").write_text(yaml.safe_dump(recipe))
    run = tmp_path / "run"
    named = ("--config", "task.yaml", "--trainer.default_root_dir", run)
    done = workshop.good("fit", *named, "--overfit", "8", "--early_stopping.patience", "40")
    assert "--trust my_parts" in done.stderr
    workshop.good("test", *named)
    assert json.loads((run / "metrics.json").read_text())["scores"].keys() == {"right"}
    checkpoint = ("--checkpoint", run / "checkpoints/best.ckpt")
    assert "--trust my_parts" in workshop.refused("caption", image, *checkpoint)
    done = workshop.good("caption", image, *checkpoint, "--trust", "my_parts")
    assert done.stdout.removeprefix(f"{image}: ") in ("left\n", "right\n", "top\n")
    assert "answers no questions: it names places (vlrnn caption)" in workshop.refused(
        "ask", image, "what?", *checkpoint, "--trust", "my_parts"
    )
    beams = ("--trust", "my_parts", "--num_beams", "2")
    assert "has no generation settings" in workshop.refused("caption", image, *checkpoint, *beams)
    workshop.good("report", run, "--out", tmp_path / "report.html")
    assert "right" in (tmp_path / "report.html").read_text()
    with (run / "log.csv").open() as log:
        scores = [float(row["val/right"]) for row in csv.DictReader(log) if row["val/right"]]
    assert max(scores) > 70 > scores[0]  # of the same eight examples; by chance a third of them
    monkeypatch.chdir(workshop.folder)
    predictor = Predictor.load(run / "checkpoints/best.ckpt", "cpu", trust=["my_parts"])
    del sys.modules["my_parts"]
    assert predictor(image).text in ("left", "right", "top")


# Installed plugins.


def install(shop: Workshop, package: str, points: Sequence[str]) -> None:
    """A package of own classes in a module `parts`, with entry points."""
    (shop.installed / package).mkdir()
    (shop.installed / package / "__init__.py").touch()
    shutil.copy(OWN, shop.installed / package / "parts.py")
    information = shop.installed / f"{package}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("\n".join(["[vlrnn.parts]", *points]) + "\n")


def test_installed_plugins_are_trusted(dataset: Path, image: Path, tmp_path: Path) -> None:
    shop = Workshop(tmp_path, dataset, "plugged.parts")
    install(shop, "plugged", ["a = plugged.no_such_module", "b = plugged.parts:NoSuchClass", "mine = plugged.parts"])
    install(shop, "other", ["other = other.breaks"])
    (shop.installed / "other/breaks.py").write_text("from pathlib import Path\nPath('imported').touch()\n1 / 0\n")
    done = shop.good("fit", "--config", "recipe.yaml", "--trainer.default_root_dir", "run")
    assert "--trust" not in done.stderr
    done = shop.good("caption", image, "--checkpoint", "run/checkpoints/best.ckpt")
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    for line, name in zip(lines, ("a (plugged.no_such_module)", "b (plugged.parts:NoSuchClass)"), strict=True):
        assert line.startswith(f"the plugin {name} fails at import, and is left out: ")
    assert not (shop.folder / "imported").exists()  # no model names what it has


def test_a_plugin_publishes_single_classes(dataset: Path, image: Path, tmp_path: Path) -> None:
    shop = Workshop(tmp_path, dataset, "plugged.parts")
    install(shop, "plugged", ["cell = plugged.parts:LeakyUnit"])
    shop.good("fit", "--config", "recipe.yaml", "--trainer.default_root_dir", "run")
    line = shop.refused("caption", image, "--checkpoint", "run/checkpoints/best.ckpt")
    assert "'plugged.parts.ShiftedDecoder'" in line
    shop.good("caption", image, "--checkpoint", "run/checkpoints/best.ckpt", "--trust", "plugged")
