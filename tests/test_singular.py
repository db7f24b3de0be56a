"""The singulariser of the published CHAIR script."""

import json
from pathlib import Path

import pytest

from vlrnn.probes.object_mentions import singular

WORDS = [
    ("dogs", "dog"),
    ("bus", "bu"),  # as published
    ("women", "woman"),
    ("mothers-in-law", "mother-in-law"),
    ("dogs'", "dog's"),
    ("craft", "craft"),
    ("theses", "thesis"),
    ("analyses", "analysis"),
    ("collies", "collies"),
    ("gases", "gas"),
    ("", ""),
]


def test_singular(subtests: pytest.Subtests) -> None:
    for plural, one in WORDS:
        with subtests.test(plural=plural, one=one):
            assert singular(plural) == one


def test_published_singulars(real_data: Path) -> None:
    expected = json.loads((real_data / "metrics" / "expected_scores.json").read_text())
    words = expected["chair"]["singularize_of_the_2018_script"]
    assert {word: singular(word) for word in words} == words
