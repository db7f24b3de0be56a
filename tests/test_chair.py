"""CHAIR on the command line: hand-made captions, the published figures, bad files."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.tokenize import word_tokenize

from vlrnn.cli import main
from vlrnn.data.records import Example, write_records
from vlrnn.metrics.statistics import Resampler, spearman
from vlrnn.probes.chair import _correlations, chair
from vlrnn.probes.object_annotations import read_object_sets
from vlrnn.probes.object_mentions import mentions, nltk_tokens

TABLE = "dog, puppy\ncat, kitten\nbus, minibus\ntoilet\nchair, seat\n"
CAPTIONS = {1: "A dog and a puppy.", 2: "Two cats on a bus", 3: "Nothing here", 4: "kitten"}
PRESENT = {"1": ["dog"], "2": ["cat"], "3": ["bus"], "4": []}


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    predictions = write(tmp_path / "said.json", [{"image_id": id, "caption": text} for id, text in CAPTIONS.items()])
    objects, table = write(tmp_path / "there.json", PRESENT), write(tmp_path / "table.txt", TABLE)
    return ["--predictions", str(predictions), "--objects", str(objects), "--synonyms", str(table)]


def probe(out: Path, *arguments: str) -> dict[str, Any]:
    assert main(["probe", "chair", *arguments, "--out", str(out)]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_by_hand(files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = probe(tmp_path / "out.json", *files)
    value = {name: score["value"] for name, score in found["scores"].items()}
    assert value["CHAIRs"] == 50  # the bus of 2, the kitten of 4
    assert value["CHAIRi"] == pytest.approx(100 * 2 / 5)
    assert value["recall"] == pytest.approx(100 * 2 / 3)
    assert value["mean_length"] == pytest.approx((5 + 5 + 2 + 1) / 4)
    assert {name: score["n"] for name, score in found["scores"].items()} == {
        "CHAIRs": 4,
        "CHAIRi": 5,
        "recall": 3,
        "mean_length": 4,
    }
    assert {case["id"] for case in found["cases"]} == {2, 4}
    assert found["details"]["objects"]["bus"] == {"mentions": 1, "made_up": 1, "rate": 100}
    assert "1 of 4 images have no object" in capsys.readouterr().out


def test_2018_forgets_the_bus(files: list[str], tmp_path: Path) -> None:
    found = probe(tmp_path / "out.json", *files, "--mode", "chair-2018")
    assert found["scores"]["CHAIRi"]["value"] == 25
    assert "bus" not in found["details"]["objects"]


READINGS = [
    ("A seat by the toilet", ["chair", "toilet"], ["toilet"]),
    ("puppies, buses", ["dog", "bus"], ["dog", "bus"]),
    ("a toilet seat", ["toilet"], ["toilet"]),
    ("a dog dog", ["dog", "dog"], ["dog", "dog"]),
    ("the dog track", [], []),
    ("dogs.", ["dog"], ["dog"]),
    ("", [], []),
]


def test_how_captions_are_read(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for caption, fixed, published in READINGS:
        with subtests.test(caption=caption, fixed=fixed, published=published):
            tmp_path = tmp_path_factory.mktemp("case")
            table = write(tmp_path / "table.txt", TABLE)
            doubles = write(tmp_path / "doubles.json", {"toilet seat": "toilet", "dog track": "dog track"})
            assert mentions("fixed", [], table, doubles)(caption) == fixed
            assert mentions("chair-2018", [], table, doubles)(caption) == published


def test_irregular_plurals_are_found() -> None:
    find = mentions("fixed", ["policeman", "knife", "mouse", "giraffe", "wine glass", "person"])
    assert find("policemen with knives , mice , giraffes , wine glasses and people") == [
        "policeman",
        "knife",
        "mouse",
        "giraffe",
        "wine glass",
        "person",
    ]


WORDS = st.sampled_from(
    ["a", "dog", "cannot", "gimme", "wanna", "dog's", "it.", "5", ".", "...", ",", "``", '"', "tis", " "]
)


@given(st.lists(st.tuples(WORDS, st.sampled_from(["", " "]))))
def test_tokens_are_those_of_nltk(parts: list[tuple[str, str]]) -> None:
    text = "".join(word + blank for word, blank in parts)
    assert nltk_tokens(text) == word_tokenize(text, preserve_line=True)


OBJECTS = st.frozensets(st.sampled_from(["dog", "cat", "bus"]))


@given(st.lists(st.tuples(st.lists(st.sampled_from(["dog", "cat", "bus", "and"])), OBJECTS), min_size=1, max_size=6))
def test_it_is_what_counting_one_by_one_gives(images: list[tuple[list[str], frozenset[str]]]) -> None:
    captions = {id: [" ".join(words)] for id, (words, _) in enumerate(images)}
    present = {id: objects for id, (_, objects) in enumerate(images)}
    scores, _ = chair(captions, present, mentions("fixed", ["dog", "cat", "bus"]), Resampler(len(images), 20))
    mentioned = [(word, objects) for words, objects in images for word in words if word != "and"]
    wrong = [word for word, objects in mentioned if word not in objects]
    assert ("CHAIRi" in scores) == bool(mentioned)
    if mentioned:
        assert scores["CHAIRi"]["value"] == pytest.approx(100 * len(wrong) / len(mentioned))
    some = sum(any(word not in objects for word in words if word != "and") for words, objects in images)
    assert scores["CHAIRs"]["value"] == pytest.approx(100 * some / len(images))


def test_floor_and_ceiling(files: list[str], tmp_path: Path) -> None:
    """References that name what is there make nothing up; captions of other images do more than their own."""
    written = {"annotations": [{"image_id": 1, "caption": "a dog"}, {"image_id": 2, "caption": "a cat and a dog"}]}
    found = probe(tmp_path / "out.json", *files, "--references", str(write(tmp_path / "r.json", written)))
    assert found["baselines"]["references"]["CHAIRs"] == {"value": 50, "low": 0, "high": 100, "n": 2}
    assert found["baselines"]["shuffled"]["CHAIRi"]["value"] > found["scores"]["CHAIRi"]["value"]
    assert found["baselines"]["shuffled"]["CHAIRs"]["n"] == 5 * 4


def test_references_add_to_outlines_alone(files: list[str], tmp_path: Path) -> None:
    instances = {
        "images": [{"id": id} for id in CAPTIONS],
        "categories": [{"id": id, "name": name} for id, name in enumerate(["dog", "cat", "nothing"], 1)],
        "annotations": [{"image_id": 1, "category_id": 1}, {"image_id": 2, "category_id": 2}],
    }
    path = write(tmp_path / "instances.json", instances)
    assert read_object_sets(path).of == {1: {"dog"}, 2: {"cat"}, 3: set(), 4: set()}
    written = {"annotations": [{"image_id": 2, "caption": "a bus"}, {"image_id": 4, "caption": "a dog"}]}
    arguments = [*files[:2], "--objects", str(path), *files[4:]]
    alone = probe(tmp_path / "alone.json", *arguments)
    assert alone["scores"]["CHAIRs"]["value"] == 75
    assert alone["details"]["objects"]["nothing"]["made_up"] == 1  # though no image has it
    assert any("instances only" in note for note in alone["notes"])
    both = probe(tmp_path / "both.json", *arguments, "--references", str(write(tmp_path / "r.json", written)))
    assert both["scores"]["CHAIRs"]["value"] == 50
    assert both["baselines"]["references"]["CHAIRs"]["value"] == 100  # neither is borne out by another caption
    written["annotations"] += [{"image_id": 2, "caption": "a minibus"}, {"image_id": 2, "caption": "a cat"}]
    both = probe(tmp_path / "both.json", *arguments, "--references", str(write(tmp_path / "r.json", written)))
    assert both["baselines"]["references"]["CHAIRs"]["value"] == 25  # the dog of 4


def test_a_prepared_data_set_names_its_own_objects(tmp_path: Path) -> None:
    examples = [Example(n, n, "a.png", captions=("a",), objects=("red circle", "red star")) for n in ("a", "b")]
    write_records(tmp_path / "test.jsonl", examples)
    predictions = [{"image_id": "a", "caption": "a red circle"}, {"image_id": "b", "caption": "two red circles"}]
    arguments = [
        "--objects",
        str(tmp_path / "test.jsonl"),
        "--predictions",
        str(write(tmp_path / "p.json", predictions)),
    ]
    found = probe(tmp_path / "out.json", *arguments)
    assert found["scores"]["recall"]["value"] == 50
    assert found["baselines"]["references"]["recall"]["value"] == 0  # the examples have captions of their own


def test_examples_of_one_image_together_state_what_is_in_it(tmp_path: Path) -> None:
    examples = [Example(n, 1, "a.png", question="what?", objects=(name,)) for n, name in enumerate(["dog", "cat"])]
    write_records(tmp_path / "test.jsonl", examples)
    assert read_object_sets(tmp_path / "test.jsonl").of == {1: {"dog", "cat"}}


def test_objects_that_captions_or_tables_lack_are_named(files: list[str], tmp_path: Path) -> None:
    objects = write(tmp_path / "o.json", {"1": ["dog", "bus"], "2": ["puppy", "unicorn"]})
    arguments = [*files, "--objects", str(objects)]
    (note,) = probe(tmp_path / "out.json", *arguments)["notes"][:1]
    assert "2 objects are not in" in note
    assert note.endswith("'puppy', 'unicorn'")
    notes = probe(tmp_path / "out.json", *arguments, "--mode", "chair-2018")["notes"]
    assert notes[0] == "3 objects are not found by their names in captions: 'bus', 'puppy', 'unicorn'"


def test_an_image_without_captions_is_left_out(tmp_path: Path) -> None:
    """It differs from an image in which there is nothing."""
    objects = {"01": ("dog",), "2": None, "3": ()}
    write_records(
        tmp_path / "test.jsonl", [Example(id, id, f"{id}.png", objects=names) for id, names in objects.items()]
    )
    predictions = [{"image_id": n, "caption": "a dog"} for n in (1, 2, 3)]
    arguments = [
        "--objects",
        str(tmp_path / "test.jsonl"),
        "--predictions",
        str(write(tmp_path / "p.json", predictions)),
    ]
    written = {"annotations": [{"image_id": 1, "caption": "dogs"}]}
    found = probe(tmp_path / "out.json", *arguments, "--references", str(write(tmp_path / "r.json", written)))
    assert found["scores"]["CHAIRs"]["value"] == 50
    assert found["settings"]["ids"]["unknown"] == 1
    assert found["baselines"]["references"]["recall"]["value"] == 100


def test_rates_are_held_against_training(files: list[str], tmp_path: Path) -> None:
    names = ["dog", "cat", "bus"]
    predictions = [{"image_id": 1, "caption": " ".join(["dog"] * 5 + ["cat"] * 5 + ["bus"] * 5)}]
    predictions += [{"image_id": 2, "caption": " ".join(["cat"] * 5 + ["bus"] * 10)}]
    objects = {"1": ["dog"], "2": ["cat"]}  # made up: never, half of the time, always
    training = {str(n): names[: 1 + n % 3] for n in range(9)}  # dogs 9, cats 6, buses 3
    arguments = ["--predictions", str(write(tmp_path / "p.json", predictions))]
    arguments += ["--objects", str(write(tmp_path / "o.json", objects | {"3": ["bus"]}))]
    found = probe(tmp_path / "out.json", *arguments, "--training", str(write(tmp_path / "t.json", training)))
    assert found["scores"]["frequency_correlation"]["value"] == pytest.approx(-1)
    assert found["scores"]["frequency_correlation"]["n"] == 3


def test_what_is_too_rare_is_no_companion() -> None:
    """A unicorn that was seen once, with a dog, would make dogs what comes most surely with anything."""
    rates = {name: {"mentions": 5, "rate": rate} for name, rate in (("dog", 0.0), ("cat", 50.0), ("bus", 100.0))}
    trained = [frozenset(names) for names in [("dog", "tree")] * 5 + [("cat", "tree")] * 10 + [("bus", "tree")] * 15]
    values = [
        _correlations(rates, [*trained, *rare], 9, 0)["cooccurrence_correlation"]["value"]
        for rare in ([], [frozenset(["dog", "unicorn"])])
    ]
    assert values == pytest.approx([1, 1])


def test_spearman() -> None:
    x = np.array([1.0, 2, 3, 4])
    assert spearman(x, x**3) == pytest.approx(1)
    assert spearman(x, -x) == pytest.approx(-1)
    assert spearman(x, np.array([1.0, 1, 2, 2])) == pytest.approx(0.8944, abs=1e-4)
    assert spearman(x, np.ones(4)) is None
    assert spearman(x[:2], x[:2]) is None


def test_nothing_mentioned_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = write(
        tmp_path / "p.json", [{"image_id": 1, "caption": "nothing"}, {"image_id": 99, "caption": "a dog"}]
    )
    arguments = ["--predictions", str(predictions), "--objects", str(write(tmp_path / "o.json", {"1": []}))]
    found = probe(tmp_path / "out.json", *arguments)
    correlations = {"frequency_correlation", "cooccurrence_correlation"}
    assert found["not_computed"].keys() == {"CHAIRi", "recall", "shuffled", "references", *correlations}
    assert found["not_computed"]["references"] == "the floor needs human captions (--references)"
    written = write(tmp_path / "r.json", {"annotations": [{"image_id": 2, "caption": "a dog"}]})
    found = probe(tmp_path / "out.json", *arguments, "--references", str(written), "--training", arguments[3])
    assert found["not_computed"]["references"] == f"{written} has no caption of these images"
    assert all("fewer than three objects" in found["not_computed"][name] for name in correlations)
    assert found["settings"]["ids"]["unknown"] == 1
    assert "1 ids unknown: 99" in capsys.readouterr().out


BAD_FILES = [
    ("--objects", "[]", "no objects"),
    ("--objects", '{"1": "dog"}', "image '1': expected a list of names"),
    ("--objects", '{"1": ["dog"], "01": []}', "1 images occur twice, in two spellings: 1; keep one"),
    ("--objects", '{"annotations": [], "images": []}', "no list of categories"),
    ("--objects", '{"7": ["dog"]}', "none of its 4 image ids matches the references"),
    ("--synonyms", "\n", "has no object"),
    ("--double_words", "[1]", "two words"),
    ("--predictions", "[]", "holds no predictions"),
    ("--predictions", "{", "not JSON"),
]


def test_bad_files(
    subtests: pytest.Subtests,
    files: list[str],
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for flag, contents, complaint in BAD_FILES:
        with subtests.test(flag=flag, contents=contents, complaint=complaint):
            tmp_path = tmp_path_factory.mktemp("case")
            assert main(["probe", "chair", *files, flag, str(write(tmp_path / "bad.json", contents))]) == 2
            printed = capsys.readouterr().err
            assert complaint in printed
            assert printed.count("\n") == 1


def test_published_figures(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "metrics"
    expected = json.loads((folder / "expected_scores.json").read_text())["chair"]
    arguments = [f"--{name}={folder / expected[name]}" for name in ("predictions", "objects", "synonyms")]
    arguments += [f"--double_words={folder / expected['double_words']}", "--mode=chair-2018", "--resamples=10"]
    found = probe(tmp_path / "out.json", *arguments)
    for name, value in expected["expected_percent"].items():
        assert round(found["scores"][name]["value"], 4) == value
    assert found["settings"]["captions"] == expected["counts"]["captions"]
    assert found["settings"]["mentions"] == expected["counts"]["mentions"]
    made_up = sum(each["made_up"] for each in found["details"]["objects"].values())
    assert made_up == expected["counts"]["hallucinated_mentions"]


def test_it_imports_no_torch(files: list[str]) -> None:
    code = (
        f"import sys; from vlrnn.cli import main; main(['probe', 'chair', *{files!r}]); print('torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines()[-1] == "False"
