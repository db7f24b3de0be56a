"""VQA accuracy: the official figures, a literal version as oracle, means per type, intervals, and laws."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.metrics.vqa import AnswerScores, compare_answers
from vlrnn.metrics.vqa_evaluation import score_answers
from vlrnn.metrics.wups import WordNet
from vlrnn.text.vqa_normalization import PROTOCOLS, clean, normalize_answer, without_punctuation

PROTOCOL_KEYS = {"official-2021": "official_2021", "official-2017": "official_pre2021"}
WORDS = st.sampled_from(["cat", "a cat", "Cat.", "two", "2", "none", "dog", "dont", "don't", "", "the"])


def question(id: int, *answers: str, image: int | None = None, **types: str) -> Example:
    return Example(id, id if image is None else image, "", question="What?", answers=answers, **types)


def compared(predictions: list[str], questions: list[Example], protocol: str = "official-2021") -> AnswerScores:
    examples = {each.id: each for each in questions}
    return compare_answers(dict(zip(examples, predictions, strict=True)), examples, protocol)


@pytest.mark.parametrize("protocol", PROTOCOL_KEYS)
def test_accuracy_is_the_official_one(real_data: Path, protocol: str) -> None:
    cases = json.loads((real_data / "metrics" / "vqa_accuracy_expected.json").read_text("utf-8"))["accuracy_cases"]
    for case in cases:
        scores = compared([case["ans"]], [question(1, *case["gt"])], protocol)
        assert round(scores.corpus["overall",], 2) == case[PROTOCOL_KEYS[protocol]], case["name"]


def literal(prediction: str, answers: list[str], protocol: str) -> float:
    """The official loop: one annotator left out after the other."""
    if protocol == "normalized":
        prediction, answers = normalize_answer(clean(prediction)), [normalize_answer(clean(each)) for each in answers]
    elif protocol == "official-2021":
        prediction, answers = clean(prediction), [clean(each) for each in answers]
        if len(set(answers)) > 1:
            prediction, answers = normalize_answer(prediction), [normalize_answer(each) for each in answers]
    else:
        prediction = normalize_answer(prediction)
        if len(set(answers)) > 1:
            answers = [without_punctuation(each) for each in answers]
    reached = []
    for left_out in range(len(answers)):
        others = answers[:left_out] + answers[left_out + 1 :]
        reached.append(min(1, sum(other == prediction for other in others) / 3))
    return 100 * sum(reached) / len(reached)


@given(WORDS, st.lists(WORDS, min_size=2, max_size=10), st.sampled_from(list(PROTOCOLS)))
def test_accuracy_is_that_of_leaving_each_annotator_out(prediction: str, answers: list[str], protocol: str) -> None:
    assert compared([prediction], [question(1, *answers)], protocol).corpus["overall",] == pytest.approx(
        literal(prediction, answers, protocol)
    )


@given(WORDS, st.lists(WORDS, min_size=1, max_size=10), st.randoms())
def test_the_order_of_annotators_does_not_matter(prediction: str, answers: list[str], random) -> None:
    shuffled = random.sample(answers, len(answers))
    one, other = (compared([prediction], [question(1, *each)]).corpus["overall",] for each in (answers, shuffled))
    assert one == other


def test_what_normalising_would_change_stands_in_the_results_of_training_too() -> None:
    (note,) = score_answers(
        {1: "red", 2: "blue"}, {each.id: each for each in (question(1, "red."), question(2, "blue"))}
    )["notes"]
    assert note.startswith("overall is 50.00, and under --protocol normalized 100.00")
    assert score_answers({1: "red"}, {1: question(1, "red")})["notes"] == []


def test_of_a_single_annotator_it_is_whether_the_two_agree() -> None:
    scores = compared(["red", "blue"], [question(1, "red"), question(2, "red")])
    assert scores.per_question["accuracy"].tolist() == [100, 0]


def test_the_normalized_protocol_always_normalises_both_sides(subtests: pytest.Subtests) -> None:
    for answers, prediction in product(
        [["red"], ["red"] * 10, ["Red."], ["a red"] * 10, ["red"] * 9 + ["Red"]],
        ["red.", "Red", "red", "a red", " red\n"],
    ):
        with subtests.test(answers=answers, prediction=prediction):
            assert compared([prediction], [question(1, *answers)], "normalized").corpus["overall",] == 100
            assert compared([f"{prediction} ball"], [question(1, *answers)], "normalized").corpus["overall",] == 0


def test_a_hundred_thousand_annotators_take_linear_time() -> None:
    answers = [f"answer {number}" for number in range(100_000)]
    assert compared(["answer 7"], [question(1, *answers)]).per_question["exact_match"].tolist() == [0]


def test_exact_match_is_of_sets() -> None:
    right = [question(1, "chair, table_lamp"), question(2, "chair, table"), question(3, "red", "red", "blue")]
    scores = compared(["Table lamp,chair", "chair", "red"], right)
    assert scores.per_question["exact_match"].tolist() == [100, 0, 100]


TYPED = [
    question(1, "yes", image=1, answer_type="yes/no", question_type="is"),
    question(2, "no", image=1, answer_type="yes/no", question_type="is"),
    question(3, "2", image=2, answer_type="number", question_type="how"),
    question(4, "cat", image=3, question_type="what"),
]


def test_scores_per_type_and_their_means() -> None:
    result = score_answers({1: "yes", 2: "yes", 3: "2", 4: "dog"}, {each.id: each for each in TYPED})
    scores = result["scores"]
    assert {name: score["value"] for name, score in scores["per_answer_type"].items()} == {"number": 100, "yes/no": 50}
    assert {name: score["n"] for name, score in scores["per_question_type"].items()} == {"how": 1, "is": 2, "what": 1}
    assert scores["overall"]["value"] == 50
    assert scores["arithmetic_mean_per_answer_type"]["value"] == 75
    assert scores["harmonic_mean_per_answer_type"]["value"] == pytest.approx(2 / (1 / 100 + 1 / 50))
    assert scores["arithmetic_mean_per_answer_type"]["n"] == 3
    assert scores["arithmetic_mean_per_question_type"]["value"] == pytest.approx(50)
    assert scores["harmonic_mean_per_question_type"]["value"] == 0
    assert result["settings"]["protocol"] == "official-2021"
    assert (result["settings"]["n"], result["settings"]["images"]) == (4, 3)


def test_questions_without_types_have_no_scores_per_type() -> None:
    scores = compared(["red", "blue"], [question(1, "red"), question(2, "red")]).with_intervals(10)
    assert scores["per_answer_type"] == scores["per_question_type"] == {}
    assert not [name for name in scores if "mean" in name]


def test_resampling_goes_by_image() -> None:
    """Ten images that are all right or all wrong: the interval does not shrink with the questions about each."""
    few, many = (
        [question(10 * image + number, "yes", image=image) for image in range(10) for number in range(count)]
        for count in (1, 8)
    )
    intervals = []
    for questions in (few, many):
        predictions = ["yes" if each.image_id % 2 else "no" for each in questions]
        intervals.append(compared(predictions, questions).with_intervals()["overall"])
    assert {**intervals[0], "n": 80} == intervals[1]


def test_resamples_are_those_of_a_loop() -> None:
    scores = compared(["yes", "yes", "2", "dog"], TYPED)
    samples = scores.resampled(50, seed=3)
    random = np.random.default_rng(3)
    for place, drawn in enumerate(random.integers(0, 3, (50, 3))):
        rows = [row for image in drawn for row in range(4) if scores.clusters[row] == image]
        printed = [scores.per_question["accuracy"][row] for row in rows]
        assert samples["overall",][place] == pytest.approx(np.mean(printed))
        numbers = [value for value, row in zip(printed, rows, strict=True) if TYPED[row].answer_type == "number"]
        expected = np.mean(numbers) if numbers else np.nan
        assert samples["per_answer_type", "number"][place] == pytest.approx(expected, nan_ok=True)


def test_many_types_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = compared(["yes", "yes", "2", "dog"], TYPED).resampled(20)
    monkeypatch.setattr("vlrnn.metrics.vqa._CELLS", 1)
    parts = compared(["yes", "yes", "2", "dog"], TYPED).resampled(20)
    assert whole.keys() == parts.keys()
    for path, samples in whole.items():
        np.testing.assert_array_equal(samples, parts[path])


def test_any_number_of_types_takes_memory_by_the_questions() -> None:
    """As where each has a type of its own; a mask for each type would be gigabytes."""
    many = [question(number, "yes", image=number // 4, question_type=f"type {number}") for number in range(2000)]
    scores = compared(["yes", "no"] * 1000, many)
    assert sum(len(part.members) for part in scores._parts.values()) == 3 * len(many)
    found = scores.with_intervals(20)
    assert len(found["per_question_type"]) == 2000
    assert found["per_question_type"]["type 1"] == {"value": 0, "low": 0, "high": 0, "n": 1}
    assert found["arithmetic_mean_per_question_type"]["value"] == 50


def test_of_answers_of_very_many_things_the_first_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlrnn.metrics.vqa.MOST_THINGS", 10)

    class Counted(WordNet):
        compared = 0

        def __init__(self) -> None:
            pass

        def similarity(self, one: str, other: str) -> float:
            self.compared += 1
            return 0.5

    wordnet = Counted()
    many = ", ".join(f"thing {number}" for number in range(11))
    scores = compare_answers({1: many}, {1: question(1, many + ", more")}, wordnet=wordnet)
    assert wordnet.compared <= 2 * 10 * 10
    assert scores.notes == ("WUPS: of 1 questions only the first 10 things are compared",)
    assert compare_answers({1: "a, b"}, {1: question(1, "a")}, wordnet=wordnet).notes == ()


def test_a_type_that_no_resample_holds_has_its_value_as_interval() -> None:
    scores = compared(["yes", "yes", "2", "dog"], TYPED)
    seed = next(s for s in range(99) if np.isnan(scores.resampled(1, s)["per_answer_type", "number"][0]))
    assert scores.with_intervals(1, seed)["per_answer_type"]["number"] == {
        "value": 100,
        "low": 100,
        "high": 100,
        "n": 1,
    }


def test_a_system_less_itself_is_nothing() -> None:
    scores = compared(["yes", "yes", "2", "dog"], TYPED)
    less = scores.less(scores)
    assert less["overall"] == {"value": 0, "low": 0, "high": 0, "n": 4, "p": 1}
    better = compared(["yes", "no", "2", "cat"], TYPED).less(scores)
    assert better["overall"]["value"] == 50
    assert better["per_answer_type"]["yes/no"]["value"] == 50
    with pytest.raises(UserError, match="same questions"):
        scores.less(compared(["yes"], TYPED[:1]))


def test_what_cannot_be_scored_is_refused() -> None:
    references = {1: question(1, "red"), 2: question(2)}
    for predictions, examples, message in (
        ({}, {}, "no questions"),
        ({}, references, "2 questions have no prediction, the first is 1"),
        ({1: "a", 2: "b", 3: "c"}, references, "1 predictions are for other questions, the first is 3"),
        ({1: "a", 2: "b"}, references, "1 questions have no answers, the first is 2"),
    ):
        with pytest.raises(UserError, match=message):
            compare_answers(predictions, examples)
    with pytest.raises(UserError, match="no protocol 'mine'"):
        compare_answers({1: "a"}, {1: references[1]}, "mine")
