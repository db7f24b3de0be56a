"""What a report says of runs: the laws of its breakdowns, comparisons, choice of items and scales."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from test_report import write_items

from vlrnn.data.records import AttentionMaps, Example, Prediction, write_dataset, write_records
from vlrnn.errors import UserError
from vlrnn.files import write_json
from vlrnn.metrics.captions import CaptionScorer, compare
from vlrnn.metrics.vqa import compare_answers
from vlrnn.report.content import Report, Section, build
from vlrnn.report.page import cell, whisker, write_report

SIZE = 40
NAMES = ("dog", "cat", "bus", "cup")


def describe(random: Random) -> str:
    words = random.choices(("a", "the", *NAMES, "red", "on", "grass"), k=random.randint(3, 12))
    return " ".join(words)


def captioned() -> list[Example]:
    random = Random(0)
    return [
        Example(
            id=f"c{number}",
            image_id=number,
            image=f"{number}.png",
            captions=tuple(describe(random) for _ in range(3)),
            objects=tuple(random.sample(NAMES, random.randint(1, 2))),
        )
        for number in range(SIZE)
    ]


def vqa_examples() -> list[Example]:
    random = Random(1)
    return [
        Example(
            id=number,
            image_id=f"i{number // 2}",
            image=f"{number // 2}.png",
            question="is it " + "very " * (number % 4) + "red?",
            answers=tuple(random.choices(("yes", "no"), k=10)),
            question_type=("is it", "what", None)[number % 3],
        )
        for number in range(SIZE)
    ]


def run_of(folder: Path, examples: Sequence[Example], texts: Mapping[Any, str], **more: Any) -> Path:
    data = folder.parent / ("vqa" if examples[0].question else "captions")
    if not data.is_dir():
        write_dataset(data, {"test": examples}, name=data.name, source="made by the tests", licence="CC0")
    write_json(folder / "metrics.json", {"scores": {}, "settings": {"data": str(data), "split": "test"}})
    predictions = [Prediction(id, id, text, **more) for id, text in texts.items()]
    write_records(folder / "predictions.jsonl", predictions)
    write_items(folder, examples, texts)
    return folder


def texts_for(examples: Sequence[Example], seed: int) -> dict[Any, str]:
    random = Random(seed)
    return {each.id: random.choice(("yes", "no")) if each.question else describe(random) for each in examples}


def section(*folders: Path, examples: int = 1000) -> Section:
    report, _ = build(folders, [], examples)
    (found,) = report.sections
    return found


def test_the_scores_of_answers_are_named(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In all three files; those of older predictions, which do not say what they are, are just scores."""
    for name in ["sigmoid", "softmax probability", "score"]:
        with subtests.test(name=name):
            tmp_path = tmp_path_factory.mktemp("case")
            settings = {} if name == "score" else {"score": name}
            run = run_of(tmp_path / "run", vqa_examples(), texts_for(vqa_examples(), 3), score=0.75, settings=settings)
            page, text, data = write_report([run], tmp_path / "page.html")
            assert f", {name} 0.750" in text.read_text()
            assert f'"score_name": "{name}"' in page.read_text()
            assert f'"score_name": "{name}"' in data.read_text()


def test_breakdowns_are_means_of_equal_groups(tmp_path: Path) -> None:
    examples = captioned()
    all_texts = [texts_for(examples, seed) for seed in (1, 2)]
    found = section(*(run_of(tmp_path / str(place), examples, texts) for place, texts in enumerate(all_texts)))
    by_title = {each.title: each for each in found.breakdowns}
    scorer = CaptionScorer({each.id: each.captions for each in examples})
    values = [dict(zip(scorer.ids, scorer.score(texts).per_image["CIDEr"], strict=True)) for texts in all_texts]
    objects = {row.label: row for row in by_title["object"].rows}
    assert list(objects) == sorted(NAMES, key=lambda name: (-objects[name].n, name))
    for name, row in objects.items():
        those = [each.id for each in examples if name in (each.objects or ())]
        assert row.n == len(those)
        for run, score in enumerate(row.scores):
            assert score["value"] == pytest.approx(np.mean([values[run][id] for id in those]))
            assert score["low"] <= score["value"] <= score["high"] <= by_title["object"].reach[1]
    lengths = by_title["words of the references, their mean"].rows
    assert sum(row.n for row in lengths) == SIZE
    whole = sum(row.n * row.scores[0]["value"] for row in lengths) / SIZE
    assert whole == pytest.approx(np.mean(list(values[0].values())))


def test_questions_are_broken_down_by_type_and_length(tmp_path: Path) -> None:
    examples = vqa_examples()
    texts = texts_for(examples, 3)
    found = section(run_of(tmp_path / "run", examples, texts))
    by_title = {each.title: each for each in found.breakdowns}
    assert {row.label for row in by_title["question type"].rows} == {"is it", "what"}
    assert [row.label for row in by_title["words of the question"].rows] == ["up to 3", "4", "5", "6 or more"]
    scores = compare_answers(texts, {each.id: each for each in examples})
    right = dict(zip(scores.ids, scores.per_question["accuracy"], strict=True))
    (what,) = [row for row in by_title["question type"].rows if row.label == "what"]
    expected = [right[each.id] for each in examples if each.question_type == "what"]
    assert what.scores[0]["value"] == pytest.approx(np.mean(expected))


def test_runs_are_compared_on_what_all_have(tmp_path: Path) -> None:
    examples = captioned()
    one, two = (texts_for(examples, seed) for seed in (1, 2))
    two = {id: two[id] for id in list(two)[:30]}
    found = section(run_of(tmp_path / "one", examples, one), run_of(tmp_path / "two", examples, two))
    assert found.compared_on == 30
    scorer = CaptionScorer({each.id: each.captions for each in examples if each.id in two})
    expected = compare(scorer.score({id: one[id] for id in two}), scorer.score(two))
    ((other, difference),) = found.differences
    assert other == "two"
    for name in ("Bleu_1", "Bleu_4", "ROUGE_L"):  # CIDEr has the document frequencies of all examples of each run
        assert difference[name] == expected[name]
    missing = [item for item in found.shown.items if item.outputs[1] is None]
    assert not missing  # what is shown is what is compared


def test_answers_are_compared_in_pairs(tmp_path: Path) -> None:
    examples = vqa_examples()
    one, two = (texts_for(examples, seed) for seed in (1, 2))
    found = section(run_of(tmp_path / "one", examples, one), run_of(tmp_path / "two", examples, two))
    scores = [compare_answers(texts, {each.id: each for each in examples}) for texts in (one, two)]
    assert found.differences[0][1]["overall"] == scores[0].less(scores[1])["overall"]
    assert "per_question_type" not in found.differences[0][1]


def test_the_best_and_the_worst_are_shown(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for most in [1, 8, 20, 40]:
        with subtests.test(most=most):
            tmp_path = tmp_path_factory.mktemp("case")
            examples = captioned()
            folder = run_of(tmp_path / "run", examples, texts_for(examples, 1))
            every, some = section(folder).shown, section(folder, examples=most).shown
            scores = [item.outputs[0].score for item in every.items if item.outputs[0]]
            assert scores == sorted(scores)
            assert len(some.items) == most
            assert some.total == SIZE
            shown = [item.id for item in some.items]
            ranked = [item.id for item in every.items]
            assert shown == sorted(shown, key=ranked.index)
            assert set(ranked[: 2 * most // 10]) | set(ranked[SIZE - most // 10 :]) <= set(shown)
            for places in (some.best, some.worst):
                assert len(places) == len(set(places)) == min(8, most)
            assert 0 < len(some.random) <= 8
            assert section(folder, examples=most).shown == some


def test_what_is_drawn_at_random_is_drawn_of_all(tmp_path: Path) -> None:
    """However few are shown: over many seeds every item is among them."""
    examples = captioned()
    folder = run_of(tmp_path / "run", examples, texts_for(examples, 1))
    drawn = set()
    for seed in range(60):
        (found,) = build([folder], [], 20, seed)[0].sections
        drawn |= {found.shown.items[place].id for place in found.shown.random}
    assert len(drawn) == SIZE


def test_objects_that_are_absent_are_named(tmp_path: Path) -> None:
    examples = [
        Example("a", 1, "1.png", ("a dog",), objects=("dog",)),
        Example("b", 2, "2.png", ("a cat",), objects=("cat",)),
        Example("c", 3, "3.png", ("nothing",)),
    ]
    texts = {"a": "two cats and a dog", "b": "a cat", "c": "a dog"}
    found = {item.id: item.hallucinated for item in section(run_of(tmp_path / "run", examples, texts)).shown.items}
    assert found == {"a": ["cat"], "b": [], "c": None}


def test_words_have_their_maps(tmp_path: Path) -> None:
    examples = captioned()[:2]
    folder = run_of(tmp_path / "run", examples, {"c0": "a", "c1": "b"}, tokens=("x",), log_probs=(-1.0, -2.0))
    maps = AttentionMaps("c1", (0.5, 0.25), base64.b64encode(bytes(8)).decode(), (0.75, 0.5))
    write_records(folder / "attention.jsonl", [maps])
    outputs = {item.id: item.outputs[0] for item in section(folder).shown.items}
    assert {id: each.attention for id, each in outputs.items() if each} == {"c0": None, "c1": maps}


def test_maps_that_are_none_are_reported(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for maps in ["", "AAA", "A", "not base64", "AAAAAAA="]:
        with subtests.test(maps=maps):
            tmp_path = tmp_path_factory.mktemp("case")
            examples = captioned()[:2]
            folder = run_of(tmp_path / "run", examples, {"c0": "a", "c1": "b"}, tokens=("x",), log_probs=(-1.0, -2.0))
            write_records(folder / "attention.jsonl", [AttentionMaps("c1", (0.5, 0.25), maps)])
            with pytest.raises(UserError, match=r"attention.jsonl: the maps of 'c1'"):
                section(folder)


def test_probes_are_reported_with_their_baselines_and_pictures(tmp_path: Path) -> None:
    examples = captioned()
    folder = run_of(tmp_path / "run", examples, texts_for(examples, 1))
    scores = {"group": {"a": {"value": 1.0, "low": 0.5, "high": 2.0, "n": 3}, "b": 2}, "c": 3, "words": "no score"}
    finding = {"scores": scores, "settings": {}, "baselines": {"chance": {"group": {"a": 0.25}}}}
    finding["cases"] = [{"id": "c3", "said": ["x", "y"]}, {"id": 3, "n": 1}, {"id": "no such"}]
    write_json(folder / "probes" / "it.json", {**finding, "not_computed": {"d": "no data"}})
    report, pictures = build([folder], [], 1000)
    (probe,) = report.sections[0].probes
    assert [(row.label, row.baseline_scores) for row in probe.rows] == [
        ("group: a", [0.25]),
        ("group: b", [None]),
        ("c", [None]),
    ]
    by_id, by_image, unknown = probe.cases
    assert by_id.fields == {"said": "x, y"}
    assert by_id.picture == by_image.picture is not None
    assert pictures[by_id.picture].name == "3.png"
    assert unknown.picture is None


def test_an_image_is_held_once(tmp_path: Path) -> None:
    """Whatever is asked about it, and however the path to it is written."""
    examples = vqa_examples()
    report, pictures = build([run_of(tmp_path / "run", examples, texts_for(examples, 1))], [], 1000)
    assert len(pictures) == SIZE / 2
    assert isinstance(report, Report)


SCALES = [
    ({"value": 5, "low": 2.5, "high": 10}, [0], {"value": 50, "low": 25, "high": 100, "ticks": [0]}),
    (-5, [5, None], {"value": 0, "low": 0, "high": 0, "ticks": [100]}),
    (0, [], {"value": 0, "low": 0, "high": 0, "ticks": []}),
    ({"value": None}, [1], None),
    (float("nan"), [1], None),
    ("word", [1], None),
]


def test_scales(subtests: pytest.Subtests) -> None:
    for score, others, expected in SCALES:
        with subtests.test(score=score, others=others, expected=expected):
            assert whisker(score, others) == expected


def test_markdown_shows_text_as_it_is() -> None:
    assert cell("a|b\n<b> [x](y) `c` ~~d~~") == r"a\|b &lt;b&gt; \[x\](y) \`c\` \~\~d\~\~"
