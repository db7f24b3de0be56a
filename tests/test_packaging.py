"""What is published: the extras, the version in each file that has it, and the wheel by itself."""

import re
import tomllib
from pathlib import Path

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
