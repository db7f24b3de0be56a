"""What is published: the extras, the version in each file that has it, and the wheel by itself."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

import vlrnn

ROOT = Path(__file__).parent.parent
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


def test_dev_holds_every_extra() -> None:
    (own,) = (each for each in EXTRAS["dev"] if each.startswith("vlrnn["))
    assert set(own.removeprefix("vlrnn[").removesuffix("]").split(",")) == EXTRAS.keys() - {"dev"}


def test_changelog_and_citation_name_the_version() -> None:
    released = re.findall(r"^## \[(\d.*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert released[0] == (vlrnn.__version__, citation["date-released"]) == (citation["version"], released[0][1])


# The wheel.


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which a wheel of this checkout was unpacked."""
    pytest.importorskip("hatchling", reason="needs hatchling, of the extra dev")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (file,) = folder.glob("vlrnn-*.whl")
    with ZipFile(file) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


@pytest.mark.slow
def test_files_of_the_wheel(wheel: Path) -> None:
    """The package with its pages and word lists, the recipes, and nothing else."""
    expected = {path.relative_to(ROOT): path for path in (ROOT / "vlrnn").rglob("*") if path.is_file()}
    expected = {name: path for name, path in expected.items() if "__pycache__" not in name.parts}
    recipes = {path.relative_to(ROOT / "configs"): path for path in (ROOT / "configs").rglob("*.yaml")}
    expected |= {Path("vlrnn", "recipes", name): path for name, path in recipes.items()}
    found = {path.relative_to(wheel): path for path in wheel.rglob("*") if path.is_file()}
    about = {name: path for name, path in found.items() if name.parts[0].endswith(".dist-info")}
    assert found.keys() - about.keys() == expected.keys()
    assert all(found[name].read_bytes() == path.read_bytes() for name, path in expected.items())
    assert {Path("vlrnn", *name) for name in (("report", "page.html"), ("probes", "words", "nouns.txt"))} < found.keys()
    (scripts,) = (path for name, path in about.items() if name.name == "entry_points.txt")
    assert scripts.read_text().split() == ["[console_scripts]", "vlrnn", "=", "vlrnn.cli:main"]


@pytest.mark.slow
def test_commands_of_the_wheel(subtests: pytest.Subtests, wheel: Path, tmp_path: Path) -> None:
    """In an empty folder, with the wheel ahead of the checkout."""
    names = [
        path.relative_to(ROOT / "configs").with_suffix("").as_posix() for path in (ROOT / "configs").rglob("*.yaml")
    ]
    locate = (
        "import sys; from vlrnn.training.recipes import find_recipe as find; print(*map(find, sys.argv[1:]), sep='\\n')"
    )
    module = ["-m", "vlrnn"]
    for arguments, words in [
        ([*module, "--help"], "usage: vlrnn"),
        ([*module, "prepare", "--help"], "synthetic"),
        ([*module, "prepare", "synthetic", "--out", "scenes", "--train", "4", "--val", "2", "--test", "2"], ""),
        ([*module, "fit", "--help"], "--config"),
        ([*module, "fit", "--config", "synthetic", "--config", "cells/gru", "--print_config"], "vlrnn.nn.GRU"),
        (["-c", locate, *names], "\n".join(str(wheel / "vlrnn" / "recipes" / f"{name}.yaml") for name in names)),
    ]:
        with subtests.test(arguments=arguments[:4]):
            done = subprocess.run(
                [sys.executable, *arguments],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(wheel)},
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert done.returncode == 0, done.stderr
            assert words in done.stdout
    assert (tmp_path / "scenes" / "captions" / "dataset.json").is_file()
