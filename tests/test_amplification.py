"""`vlrnn probe amplification`: the published toy, the definition written out, laws, tables and captions."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vlrnn.cli import main
from vlrnn.metrics.statistics import Floats
from vlrnn.probes.amplification import amplification, amplify, bias_of, count, total
from vlrnn.probes.gender_words import GenderWords
from vlrnn.probes.labels import LabelledImage, Labels, LabelSets, named_in
from vlrnn.probes.object_mentions import PhraseTable


def labels(attributes: Any, tasks: Any) -> Labels:
    a, t = np.array(attributes, float), np.array(tasks, float)
    return Labels(a, t, a[:, :, None] * t[:, None, :])


def measured(true: Labels, predicted: Labels, training: Labels | None = None) -> dict[str, float]:
    pairs = amplify(count(true, predicted).sum(0), bias_of(training or true), training is not None)
    return {name: float(value) for name, value in total(pairs).items()}


def test_the_published_toy(real_data: Path) -> None:
    toy = json.loads((real_data / "metrics" / "expected_scores.json").read_text())["directional_bias_amplification"][
        "toy"
    ]
    true = labels(toy["A"], toy["T"])
    found = measured(true, labels(toy["A_pred_for_TtoA"], toy["T_pred_for_AtoT"]))
    assert (found["A_to_T"], found["T_to_A"]) == (toy["A_to_T"], toy["T_to_A"])
    assert [measured(true, true)[name] for name in ("A_to_T", "T_to_A")] == [toy["identity"]] * 2


def literal(true: Labels, predicted: Labels) -> tuple[float, float, float]:
    """The definitions, word for word."""
    rows = range(len(true.tasks))
    some = [i for i in rows if true.attributes[i].any() or true.tasks[i].any()]

    def p(event: Any, given: Any, over: Sequence[int] = rows) -> float:
        those = [i for i in over if given(i)]
        return sum(map(event, those)) / len(those) if those else np.nan

    forth, back, zhao = [], [], []
    for t in range(true.tasks.shape[1]):
        more = []
        for a in range(true.attributes.shape[1]):
            has, does = (lambda i, a=a: true.attributes[i, a]), (lambda i, t=t: true.tasks[i, t])
            shown, acts = (lambda i, a=a: predicted.attributes[i, a]), (lambda i, t=t: predicted.tasks[i, t])
            counts = [sum(map(each, some)) for each in (has, does)]
            y = np.sign(len(some) * sum(has(i) * does(i) for i in some) - counts[0] * counts[1])
            forth.append(y * (p(acts, has) - p(does, has)))
            back.append(y * (p(shown, does) - p(has, does)))
            ours = sum(has(i) * does(i) for i in rows), sum(shown(i) * acts(i) for i in rows)
            more.append(ours)
        sums = np.sum(more, 0)
        if all(sums):
            shares = [(here / sums[0], predicted_count / sums[1]) for here, predicted_count in more]
            zhao.append(sum(predicted_count - here for here, predicted_count in shares if here > 1 / len(shares)))
    defined = [[each for each in values if not np.isnan(each)] for values in (forth, back, zhao)]
    return tuple(float(np.mean(values)) if values else np.nan for values in defined)


def tables(columns: int) -> st.SearchStrategy[Floats]:
    return arrays(float, (7, columns), elements=st.sampled_from([0.0, 1.0]))


@given(tables(2), tables(3), tables(2), tables(3))
def test_equals_the_definition(a: Floats, t: Floats, predicted_a: Floats, predicted_t: Floats) -> None:
    true, predicted = labels(a, t), labels(predicted_a, predicted_t)
    assert tuple(measured(true, predicted).values()) == pytest.approx(literal(true, predicted), nan_ok=True)


@given(tables(2), tables(3))
def test_labels_amplify_nothing(a: Floats, t: Floats) -> None:
    found = measured(labels(a, t), labels(a, t))
    assert all(value == 0 or np.isnan(value) for value in found.values())


def test_directions_are_apart() -> None:
    """Tasks that follow attributes amplify one way only, and the other way round."""
    a, t = [[1, 0]] * 4 + [[0, 1]] * 4, [[1, 0]] * 3 + [[0, 1]] * 4 + [[1, 0]]
    true = labels(a, t)
    assert measured(true, labels(a, a)) == {"A_to_T": 0.25, "T_to_A": 0, "bias_amplification": 0.25}
    assert measured(true, labels(t, t))["A_to_T"] == 0
    assert measured(true, labels(t, t))["T_to_A"] == 0.25


def test_training_states_the_bias() -> None:
    a, t = [[1, 0]] * 4 + [[0, 1]] * 4, [[1, 0]] * 3 + [[0, 1]] * 4 + [[1, 0]]
    against = labels(a, [[0, 1]] * 4 + [[1, 0]] * 4)  # what goes together here does not in training
    found = measured(labels(a, t), labels(a, a), against)
    assert found["A_to_T"] == -0.25
    assert found["bias_amplification"] == -1  # from all to nothing


IMAGES = [
    {"id": 1, "attributes": ["a"], "tasks": ["s"], "predicted_attributes": ["a"], "predicted_tasks": ["s", "other"]},
    {"id": 2, "attributes": ["a"], "tasks": ["t"], "predicted_attributes": ["a"], "predicted_tasks": ["s"]},
    {"id": 3, "attributes": ["b"], "tasks": ["t", "s"], "predicted_attributes": [], "predicted_tasks": ["t"]},
    {"id": 4, "attributes": ["b"], "tasks": ["t"], "predicted_attributes": ["b"], "predicted_tasks": ["t"]},
]


def write_table(path: Path, images: Sequence[Mapping[str, Any]]) -> str:
    if path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, images[0])
            table.writeheader()
            cells = [{n: "; ".join(v) if isinstance(v, list) else v for n, v in image.items()} for image in images]
            table.writerows(cells)
    elif path.suffix == ".jsonl":
        path.write_text("".join(f"{json.dumps(image)}\n" for image in images))
    else:
        path.write_text(json.dumps(images))
    return str(path)


def found(out: Path, *arguments: str) -> dict[str, Any]:
    assert main(["probe", "amplification", *arguments, "--out", str(out), "--resamples", "200"]) == 0
    result: dict[str, Any] = json.loads(out.read_text(), parse_constant=pytest.fail)
    return result


@pytest.mark.parametrize("name", ["t.csv", "t.json", "t.jsonl"])
def test_tables_of_every_form(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = found(tmp_path / "out.json", "--table", write_table(tmp_path / name, IMAGES))
    # a goes with s by chance (1 of 4, 2 and 2 of 4), and less often than so with t, of which b has all.
    pairs = {(pair["attribute"], pair["task"]): pair for pair in result["details"]["pairs"]}
    assert {pair: each["direction"] for pair, each in pairs.items()} == {
        ("a", "s"): 0,
        ("a", "t"): -1,
        ("b", "s"): 0,
        ("b", "t"): 1,
    }
    assert pairs["a", "t"]["A_to_T"]["value"] == 0.5
    assert pairs["b", "t"]["T_to_A"]["value"] == pytest.approx(1 / 3 - 2 / 3)
    assert (pairs["a", "t"]["A_to_T"]["n"], pairs["b", "t"]["T_to_A"]["n"]) == (2, 3)
    assert result["scores"]["A_to_T"]["value"] == 0.5 / 4
    assert result["scores"]["T_to_A"]["value"] == pytest.approx(-1 / 3 / 4)
    assert {each["value"] for each in result["baselines"]["identity"].values()} == {0}
    assert "1 predicted names occur in no image, and are omitted: 'other'" in capsys.readouterr().out


def test_captions_name_attributes_and_tasks(tmp_path: Path) -> None:
    def write(name: str, value: Any) -> str:
        (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value))
        return str(tmp_path / name)

    def captions(*pairs: tuple[int, str]) -> list[dict[str, Any]]:
        return [{"image_id": id, "caption": caption} for id, caption in pairs]

    human = captions(
        (1, "A woman."), (1, "She has a hot dog."), (2, "A man, a woman."), (3, "A man and a cat!"), (4, "?")
    )
    arguments = [
        *("--objects", write("o.json", {"1": ["person", "hot dog"], "2": ["cat"], "3": ["cat"], "9": ["cow"]})),
        *("--predictions", write("p.json", captions((1, "a man and a hot dog"), (3, "a man"), (5, "a dog")))),
        *("--references", write("r.json", {"annotations": human})),
    ]
    result = found(tmp_path / "out.json", *arguments)
    pairs = {f"{pair['attribute']} {pair['task']}": pair for pair in result["details"]["pairs"]}
    assert set(pairs) == {"man cat", "man hot dog", "woman cat", "woman hot dog"}  # images 1 and 3, and no person
    assert pairs["man cat"]["A_to_T"]["value"] == -1
    assert pairs["woman hot dog"]["T_to_A"]["value"] == -1
    assert result["scores"]["A_to_T"]["n"] == 2
    # Both human captions of image 1 name the woman, and one the hot dog.
    human_row = {name: each["value"] for name, each in result["baselines"]["references"].items()}
    assert human_row == {"A_to_T": -0.5 / 4, "T_to_A": 0, "bias_amplification": 0}
    called = found(tmp_path / "out.json", *arguments, "--synonyms", write("s.txt", "cat, man\nperson, hog\n"))
    pairs = {f"{pair['attribute']} {pair['task']}": pair for pair in called["details"]["pairs"]}
    assert pairs["man cat"]["A_to_T"]["value"] == 0  # where a man is called a cat
    lists = ["--women", write("w.txt", "1"), "--men", write("m.txt", "2\n3\n9999")]
    listed = found(tmp_path / "out.json", *arguments, *lists)
    assert any("has 3 of the 4 images of women and men" in note for note in listed["notes"])
    assert any("1 ids missing: 2" in note for note in listed["notes"])


def test_objects_are_found_by_their_names() -> None:
    things = PhraseTable({name: name for name in ("hot dog", "teddy bear", "bear", "ted")})
    predicted = named_in("A woman's hotdog; the TEDDY BEARS, a hot-dog.", GenderWords.load(), things)
    assert predicted == LabelSets(frozenset(), frozenset(["teddy bear"]))


def test_what_is_nowhere_is_reported() -> None:
    nobody, man = LabelSets(frozenset(), frozenset(["cat"])), LabelSets(frozenset(["man"]), frozenset())
    result = amplification([LabelledImage(1, nobody, nobody), LabelledImage(2, man, nobody)], resamples=20)
    assert result.scores["A_to_T"]["value"] == -1  # they seldom go together, and are said to
    assert set(result.not_computed) == {"bias_amplification"}


def test_shuffled_predictions_are_expected_ones() -> None:
    """The row in closed form is the mean of many shuffles."""
    rng = np.random.default_rng(0)
    names = [
        LabelSets(frozenset("ab"[i] for i in np.flatnonzero(x[:2])), frozenset("st"[i] for i in np.flatnonzero(x[2:])))
        for x in rng.random((40, 4)) < [0.5, 0.5, 0.3, 0.6]
    ]
    predicted = names[20:]
    row = amplification(
        [LabelledImage(i, *e) for i, e in enumerate(zip(names[:20], predicted, strict=True))], resamples=1
    )
    values = []
    for _ in range(200):
        rng.shuffle(predicted)  # type: ignore[arg-type]
        images = [LabelledImage(i, *each) for i, each in enumerate(zip(names[:20], predicted, strict=True))]
        scores = amplification(images, resamples=1).scores
        values.append([scores[name]["value"] for name in ("A_to_T", "T_to_A")])
    expected = [row.baselines["shuffled"][name]["value"] for name in ("A_to_T", "T_to_A")]
    error = np.std(values, 0) / np.sqrt(len(values))
    assert (np.abs(np.mean(values, 0) - expected) < 4 * error).all()


BAD_TABLES = [
    ("t.json", "{}", "t.json: expected a list of images, found dict"),
    ("t.json", "[]", "t.json: holds no images"),
    ("t.json", "[1]", "t.json: entry 0: expected an object"),
    ("t.json", '[{"id": 1}]', "t.json: entry 0: the list 'attributes' is missing"),
    ("t.json", '[{"id": true}]', "'id' must be a whole number or text"),
    ("t.json", '[{"id": 1, "attributes": "a"}]', "'attributes' must be a list of texts"),
    ("t.jsonl", "{\n", "t.jsonl:1: not JSON"),
    ("t.csv", "id,attributes\n1,a\n", "t.csv:2: the list 'tasks' is missing"),
    ("t.csv", "", "t.csv: holds no images"),
    ("t.json", json.dumps([IMAGES[0], IMAGES[0]]), "the image 1 occurs twice"),
    ("t.json", json.dumps([IMAGES[0] | {"tasks": []}]), "no image has a task"),
]


def test_bad_tables(
    subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content, complaint in BAD_TABLES:
        with subtests.test(name=name, content=content, complaint=complaint):
            tmp_path = tmp_path_factory.mktemp("case")
            (tmp_path / name).write_text(content)
            assert main(["probe", "amplification", "--table", str(tmp_path / name)]) == 2
            printed = capsys.readouterr().err
            assert complaint in printed
            assert printed.count("\n") == 1


MISTAKES = [
    ([], "give either --table, or --predictions"),
    (["--table", "x", "--predictions", "y"], "give either --table, or --predictions"),
    (["--predictions", "y"], "--predictions needs --objects"),
    (["--predictions", "y", "--objects", "list.json"], "list.json: no objects: expected"),
    (["--predictions", "y", "--objects", "o.json"], "no genders of the images: give both --women and --men"),
    (["--predictions", "y", "--objects", "o.json", "--women", "w.txt"], "no genders of the images"),
]


def test_mistakes_are_errors_of_one_line(
    subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, complaint in MISTAKES:
        with subtests.test(arguments=arguments, complaint=complaint), pytest.MonkeyPatch.context() as monkeypatch:
            tmp_path = tmp_path_factory.mktemp("case")
            monkeypatch.chdir(tmp_path)
            Path("o.json").write_text('{"1": ["cat"]}')
            Path("list.json").write_text("[]")
            assert main(["probe", "amplification", *arguments]) == 2
            printed = capsys.readouterr().err
            assert complaint in printed
            assert printed.count("\n") == 1
