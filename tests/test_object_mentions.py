"""Where words name objects."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.data.records import Example, write_dataset
from vlrnn.errors import UserError
from vlrnn.probes.object_mentions import PhraseTable, Span, object_names, phrases, singular

WORDS = st.lists(st.sampled_from(["hot", "dog", "dogs", "red", "bus", "a"]), max_size=12)
TABLE = PhraseTable({"dog": "dog", "hot dog": "hot dog", "puppy": "dog", "bus": "bus", "red bus": "red bus"})


PHRASES = [
    ("a hot dog and a dog", [("hot dog", 1, 3), ("dog", 5, 6)]),
    ("two hot dogs , puppies and buses", [("hot dog", 1, 3), ("dog", 4, 5), ("bus", 6, 7)]),
    ("a red bus red", [("red bus", 1, 3)]),
    ("doghouse", []),
    ("", []),
]


def test_the_longest_phrase_names_the_object(subtests: pytest.Subtests) -> None:
    for caption, found in PHRASES:
        with subtests.test(caption=caption, found=found):
            assert TABLE.find(caption.split()) == [Span(*each) for each in found]


@given(WORDS)
def test_no_word_is_of_two_objects(words: list[str]) -> None:
    spans = TABLE.find(words)
    places = [place for span in spans for place in range(span.start, span.stop)]
    assert places == sorted(set(places))
    assert set(range(len(words))) - set(places) <= {at for at, word in enumerate(words) if word in ("hot", "red", "a")}


def test_regular_plurals() -> None:
    table = PhraseTable({name: name for name in ("bench", "box", "bus", "pony", "toy", "cup")})
    plurals = ["benches", "boxes", "buses", "ponies", "toys", "cups"]
    assert [span.object for span in table.find(plurals)] == ["bench", "box", "bus", "pony", "toy", "cup"]
    assert PhraseTable({}).find(plurals) == []


def test_a_table_of_synonyms(tmp_path: Path) -> None:
    path = tmp_path / "synonyms.txt"
    path.write_text("dog, puppy, hound\n\ncat, kitten\n")
    assert phrases(["bird", "hound"], path) == {
        "bird": "bird",
        "hound": "hound",  # an object's own name is its own
        "dog": "dog",
        "puppy": "dog",
        "cat": "cat",
        "kitten": "cat",
    }
    assert phrases(["bird"]) == {"bird": "bird"}
    path.write_text("\n")
    with pytest.raises(UserError, match=r"synonyms.txt: has no object"):
        phrases([], path)
    with pytest.raises(UserError, match="cannot be read"):
        phrases([], tmp_path / "absent.txt")


def test_names_of_all_splits(tmp_path: Path) -> None:
    splits = {
        "train": [Example(1, 1, "1.png", objects=("dog", "cat")), Example(2, 2, "2.png")],
        "test": [Example(3, 3, "3.png", objects=("bird",))],
    }
    write_dataset(tmp_path, splits, name="", source="", licence="")
    assert object_names(tmp_path) == {"dog", "cat", "bird"}


# The singulariser of the published CHAIR script.

PLURALS = [
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
    for plural, one in PLURALS:
        with subtests.test(plural=plural, one=one):
            assert singular(plural) == one


def test_published_singulars(real_data: Path) -> None:
    expected = json.loads((real_data / "metrics" / "expected_scores.json").read_text())
    words = expected["chair"]["singularize_of_the_2018_script"]
    assert {word: singular(word) for word in words} == words
