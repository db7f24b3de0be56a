"""POPE: polls made and read, replies from files, captions and models; the published figures."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from data_scripts import Script

from vlrnn.cli import main
from vlrnn.probes.object_annotations import ObjectSets, make_polls, read_poll
from vlrnn.probes.pope import frequent, parse_reply

OBJECTS = {1: {"dog", "cat"}, 2: {"dog"}, 3: {"bus"}, 4: set()}


def write(path: Path, value: Any) -> Path:
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def line(id: int, image: int, name: str, label: str) -> dict[str, Any]:
    text = f"Is there a {name} in the image?"
    return {"question_id": id, "image": f"COCO_val2014_{image:012}.jpg", "text": text, "label": label}


@pytest.fixture
def poll(tmp_path: Path) -> Path:
    lines = [line(1, 1, "dog", "yes"), line(2, 1, "bus", "no"), line(3, 2, "dog", "yes"), line(4, 2, "cat", "no")]
    return write(tmp_path / "poll.json", "".join(json.dumps(each) + "\n" for each in lines))


def probe(out: Path, *arguments: Any) -> dict[str, Any]:
    assert main(["probe", "pope", *map(str, arguments), "--out", str(out)]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def values(scores: dict[str, Any]) -> dict[str, float]:
    return {name: score["value"] for name, score in scores.items()}


def test_by_hand(poll: Path, tmp_path: Path) -> None:
    replies = [{"question_id": str(n), "answer": text} for n, text in enumerate(["Yes.", "yes", "No", "maybe"], 1)]
    found = probe(tmp_path / "out.json", "--questions", poll, "--answers", write(tmp_path / "a.json", replies))
    assert values(found["scores"]["poll"]) == {
        "accuracy": 0.25,
        "precision": pytest.approx(1 / 3),
        "recall": 0.5,
        "f1": pytest.approx(0.4),
        "yes_ratio": 0.75,
        "unknown_ratio": 0.25,
    }
    assert values(found["baselines"]["always yes"]["poll"])["accuracy"] == 0.5
    assert [case["question_id"] for case in found["cases"]] == [2, 4, 3]  # what was invented comes first
    assert [case["id"] for case in found["cases"]] == [1, 2, 2]  # the images, of which there are pictures
    assert found["settings"]["short"] is False


def test_a_no_that_the_published_script_does_not_find_is_reported_with_both_readings(
    subtests: pytest.Subtests, poll: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The scores are the published script's."""
    for no in ["No!", '"No"', "NO", "'no'", "Not.", "NO, there is none", "no?"]:
        with subtests.test(no=no):
            tmp_path = tmp_path_factory.mktemp("case")
            replies = [{"question_id": n, "answer": text} for n, text in enumerate(["yes", no, "Yes", no], 1)]
            found = probe(tmp_path / "out.json", "--questions", poll, "--answers", write(tmp_path / "a.json", replies))
            assert values(found["scores"]["poll"])["accuracy"] == 0.5
            assert values(found["baselines"]["case and marks aside"]["poll"])["accuracy"] == 1
            (note,) = found["notes"]
            assert note.startswith("poll: 2 answers are no in another case or with punctuation")
            assert note.endswith(": 2, 4; accuracy is 0.5000, read as no 1.0000")


def test_where_both_readings_agree_nothing_is_reported(poll: Path, tmp_path: Path) -> None:
    replies = [{"question_id": n, "answer": text} for n, text in enumerate(["Yes!", "No", "no.", "No, not one"], 1)]
    found = probe(tmp_path / "out.json", "--questions", poll, "--answers", write(tmp_path / "a.json", replies))
    assert "case and marks aside" not in found["baselines"]
    assert found["notes"] == []


def test_one_file_answers_several_polls(poll: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other.json", json.dumps(line(5, 1, "cat", "no")))
    texts = ["yes", "no", "yes", "", "yes", "yes"]
    answers = write(tmp_path / "a.json", [{"question_id": n, "answer": text} for n, text in enumerate(texts, 1)])
    found = probe(tmp_path / "out.json", "--questions", poll, other, "--answers", answers)
    accuracy = {name: scores["accuracy"]["value"] for name, scores in found["scores"].items()}
    assert accuracy == {"poll": 0.75, "other": 0, "pooled": 0.6}
    assert found["scores"]["pooled"]["unknown_ratio"]["value"] == 0.2
    assert found["notes"] == [
        f"{answers}: 1 answers to questions of no poll: 6",
        f"{answers}: 1 answers are empty, and count as yes: 4",
        "other: every question has the answer no",
    ]


def test_one_file_cannot_answer_two_questions_of_one_id(
    poll: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The published polls count from 1 each."""
    other = write(tmp_path / "other.json", json.dumps(line(1, 2, "bus", "no")))
    answers = write(tmp_path / "a.json", [{"question_id": n, "answer": "no"} for n in range(1, 5)])
    assert main(["probe", "pope", "--questions", str(poll), str(other), "--answers", str(answers)]) == 2
    assert "1 ids are of questions in several polls, 1; give a file for each poll" in capsys.readouterr().err
    files = [str(answers)] * 3
    assert main(["probe", "pope", "--questions", str(poll), str(other), "--answers", *files]) == 2
    assert "3 files for 2 polls" in capsys.readouterr().err


def test_answers_without_ids_stand_in_the_order_of_the_questions(
    poll: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So the published script takes them."""
    names = ["dog", "bus", "dog", "cat"]
    entries = [
        {"question": f"is there a {name} in the image?", "answer": "no" if name == "bus" else "yes"} for name in names
    ]
    answers = write(tmp_path / "a.jsonl", "".join(json.dumps(each) + "\n" for each in entries))
    found = probe(tmp_path / "out.json", "--questions", poll, "--answers", answers)
    assert values(found["scores"]["poll"])["accuracy"] == 0.75
    other = write(tmp_path / "other.json", json.dumps(line(1, 1, "cat", "no")))  # an id that both polls have
    write(tmp_path / "all.json", [*entries, {"answer": "no"}])
    found = probe(tmp_path / "out.json", "--questions", poll, other, "--answers", tmp_path / "all.json")
    assert values(found["scores"]["other"])["accuracy"] == 1
    wrong = {
        "short": entries[:3],
        "crossed": entries[::-1],
        "mixed": [*entries[:3], {"question_id": 4, "answer": "no"}],
    }
    complaints = [
        "3 answers to 4 questions",
        "entry 0: answers 'is there a cat in",
        "entry 0: 'question_id' is missing",
    ]
    for (name, lines), complaint in zip(wrong.items(), complaints, strict=True):
        arguments = ["--questions", str(poll), "--answers", str(write(tmp_path / f"{name}.json", lines))]
        assert main(["probe", "pope", *arguments]) == 2
        assert complaint in capsys.readouterr().err


def test_published_slips_of_the_pen_are_read(tmp_path: Path) -> None:
    slip = line(1, 1, "umbrella", "no") | {"text": "Is there an umbrella in the imange?"}
    (question,) = read_poll(write(tmp_path / "poll.json", json.dumps(slip)))
    assert question.object == "umbrella"


def test_a_blind_row_is_always_present(poll: Path, tmp_path: Path) -> None:
    """Without any annotations the polls say themselves what is frequent: dogs are everywhere, and nothing else is."""
    answers = write(tmp_path / "a.json", [{"question_id": n, "answer": "yes"} for n in range(1, 5)])
    found = probe(tmp_path / "out.json", "--questions", poll, "--answers", answers)
    assert values(found["baselines"]["frequent"]["poll"])["accuracy"] == 1
    assert found["settings"]["frequent"] == "in more than 5% of 2 images of the polls"


def test_the_blind_row_learns_from_training(poll: Path, tmp_path: Path) -> None:
    predictions = write(tmp_path / "p.json", [{"image_id": n, "caption": "a dog"} for n in (2, 1, 7)])
    training = write(tmp_path / "t.json", {"8": ["cat"], "9": ["bus"]})
    found = probe(tmp_path / "out.json", "--questions", poll, "--predictions", predictions, "--training", training)
    assert found["baselines"].keys() == {"always yes", "frequent"}
    assert found["baselines"]["frequent"]["poll"]["accuracy"]["value"] == 0
    assert found["notes"] == [f"{predictions}: 1 ids unknown: 7"]


def test_captions_are_listened_to(poll: Path, tmp_path: Path) -> None:
    predictions = [{"image_id": 1, "caption": "two dogs"}, {"image_id": 2, "caption": "a cat"}]
    objects = write(tmp_path / "o.json", {id: sorted(names) for id, names in OBJECTS.items()})
    arguments = ["--questions", poll, "--predictions", write(tmp_path / "p.json", predictions), "--objects", objects]
    found = probe(tmp_path / "out.json", *arguments)
    assert values(found["scores"]["poll"])["accuracy"] == 0.5
    assert values(found["scores"]["poll"])["unknown_ratio"] == 0
    assert set(values(found["baselines"]["oracle"]["poll"]).values()) == {1, 0.5, 0}
    assert "pooled" not in found["scores"]


def test_what_is_never_generated_has_no_precision(poll: Path, tmp_path: Path) -> None:
    replies = [{"question_id": n, "text": "no"} for n in range(1, 5)]
    found = probe(tmp_path / "out.json", "--questions", poll, "--answers", write(tmp_path / "a.json", replies))
    assert "precision" not in found["scores"]["poll"]
    assert found["not_computed"] == {"poll: precision": "never answers yes"}
    assert found["scores"]["poll"]["f1"]["value"] == 0


def test_a_poll_without_negatives_is_named(tmp_path: Path) -> None:
    only = write(tmp_path / "only.json", json.dumps(line(1, 1, "dog", "yes")))
    answers = write(tmp_path / "a.json", json.dumps({"question_id": 1, "answer": "yes"}))
    found = probe(tmp_path / "out.json", "--questions", only, "--answers", answers)
    assert "only: every question has the answer yes" in found["notes"]


READINGS = [
    ("Yes, no doubt", False, True),
    ("There is none", True, False),
    ("NO", True, True),  # as published
    ("No.", False, True),
    ("It is not. Yes", False, True),
    ("", True, False),
    ("a dog", True, False),
    ("yes!", True, True),
    ("I do not know", False, False),
    ("not sure", False, False),
    ("No idea!", False, False),
    ("no, it is not clear", False, True),
]


def test_how_answers_are_read(subtests: pytest.Subtests) -> None:
    for text, yes, clear in READINGS:
        with subtests.test(text=text, yes=yes, clear=clear):
            assert parse_reply(text)[:2] == (yes, clear)


def test_polls_are_balanced_and_seeded() -> None:
    sets = {n: frozenset(names) for n, names in enumerate([["a", "b"], ["a", "b", "c"], ["a", "d"], ["e"], []])}
    object_sets = ObjectSets(sets, {0: "zero.png"})
    polls = make_polls(object_sets, per_image=4, seed=1)
    assert polls == make_polls(object_sets, per_image=4, seed=1)
    assert polls != make_polls(object_sets, per_image=4, seed=2)
    for lines in polls.values():
        assert Counter(each["label"] for each in lines) == {"yes": 7, "no": 7}
        for each in lines:
            name = each["text"].split()[3]
            assert (name in sets[each["image_id"]]) == (each["label"] == "yes")
    positive = [[each["text"] for each in lines if each["label"] == "yes"] for lines in polls.values()]
    assert positive[0] == positive[1] == positive[2]
    of_zero = {kind: [e["text"][11:12] for e in lines if e["image_id"] == 0][1::2] for kind, lines in polls.items()}
    assert set(of_zero["adversarial"]) == {"c", "d"}  # c comes with a and b, d with a alone
    assert of_zero["adversarial"][0] == "c"
    assert of_zero["popular"] == ["c", "d"]
    assert "Is there an a in the image?" in positive[0]
    assert polls["random"][0]["image"] == "zero.png"
    assert polls["random"][-1]["image"] == f"{3:012}.jpg"


def test_made_polls_are_read_back(script: Script, tmp_path: Path) -> None:
    objects = write(tmp_path / "o.json", {id: sorted(names) for id, names in OBJECTS.items()})
    assert script.run("pope", objects) == 0
    for kind in ("random", "popular", "adversarial"):
        questions = read_poll(script.out / f"{kind}.json")
        assert {question.image_id for question in questions} == {1, 2, 3}
        assert all((each.object in OBJECTS[int(each.image_id)]) == each.label for each in questions)
    assert script.run("pope", objects, "--images", 1) == 0
    assert len({each.image_id for each in read_poll(script.out / "random.json")}) == 1
    assert "--per_image must be at least 2" in refused(script, "pope", objects, "--per_image", 1)
    assert "no poll can be made" in refused(script, "pope", write(tmp_path / "x.json", {"1": ["dog"]}))


def refused(script: Script, *arguments: Any) -> str:
    assert script.run(*arguments) == 2
    return script.error


def test_frequent_is_more_than_a_twentieth() -> None:
    sets = {n: frozenset(["rare"] if n == 0 else ["often"] if n < 3 else []) for n in range(20)}
    assert frequent(ObjectSets(sets, {})) == {"often"}


BAD_FILES = [
    ("", "[]", "holds no questions"),
    ('{"question_id": 1}', "[]", "poll.json:1: the field 'image' is missing"),
    (json.dumps({**line(1, 1, "dog", "yes"), "label": "perhaps"}), "[]", "with the label yes or no"),
    (json.dumps({**line(1, 1, "dog", "yes"), "text": "A dog?"}), "[]", "Is there a ... in the image?"),
    (f"{json.dumps(line(1, 1, 'dog', 'yes'))}\n" * 2, "[]", "poll.json:2: question 1 occurs twice"),
    (json.dumps(line(1, 1, "dog", "yes")), "[]", "0 answers to 1 questions"),
    (
        json.dumps(line(1, 1, "dog", "yes")),
        '[{"question_id": 2, "answer": "no"}]',
        "1 questions have no answer: 1",
    ),
    (json.dumps(line(1, 1, "dog", "yes")), '[{"question_id": 1}]', "entry 0: expected an 'answer' that is text"),
    (json.dumps(line(1, 1, "dog", "yes")), "[3]", "entry 0: expected an object"),
]


def test_bad_files(
    subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    for poll_text, answers, complaint in BAD_FILES:
        with subtests.test(poll_text=poll_text, answers=answers, complaint=complaint):
            tmp_path = tmp_path_factory.mktemp("case")
            files = [
                "--questions",
                write(tmp_path / "poll.json", poll_text),
                "--answers",
                write(tmp_path / "a.json", answers),
            ]
            assert main(["probe", "pope", *map(str, files)]) == 2
            printed = capsys.readouterr().err
            assert complaint in printed
            assert printed.count("\n") == 1


def test_images_without_a_caption_are_named(poll: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions = write(tmp_path / "p.json", [{"image_id": 1, "caption": "two dogs"}])
    assert main(["probe", "pope", "--questions", str(poll), "--predictions", str(predictions)]) == 2
    assert "1 images of the polls have no caption: 2" in capsys.readouterr().err


def test_images_that_are_absent_are_named_before_a_model_is_loaded(
    poll: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are looked for beside the poll, unless somebody says where they are."""
    assert main(["probe", "pope", "--questions", str(poll), "--checkpoint", "x"]) == 2
    assert f"{tmp_path}: lacks 2 of the polls' 2 images: 'COCO_val2014_000000000001.jpg'" in capsys.readouterr().err
    (tmp_path / "images").mkdir()
    for number in (1, 2):
        write(tmp_path / "images" / f"COCO_val2014_{number:012}.jpg", "")
    arguments = ["--checkpoint", str(tmp_path / "x"), "--images", str(tmp_path / "images")]
    assert main(["probe", "pope", "--questions", str(poll), *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"vlrnn probe: {tmp_path / 'x'}: ")


def test_published_figures(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "metrics"
    expected = json.loads((folder / "expected_scores.json").read_text())["pope"]["expected"]
    polls = {kind: folder / f"coco_pope_{kind}.json" for kind in ("random", "popular", "adversarial")}
    assert {text: "yes" if parse_reply(text).yes else "no" for text in expected["answer_parser"]} == (
        expected["answer_parser"]
    )
    tables = ["--synonyms", folder / "chair_synonyms.txt", "--double_words", folder / "chair_double_words.json"]
    objects = json.loads((folder / "coco_objects.json").read_text())
    ids = {image["id"] for image in json.loads((folder / "captions_val2017.json").read_text())["images"]}
    val = write(tmp_path / "val.json", {id: names for id, names in objects.items() if int(id) in ids})
    from_captions = probe(
        *(tmp_path / "out.json", "--questions", *polls.values(), "--mode", "chair-2018", "--resamples", 10, *tables),
        *("--predictions", folder / "baseline_ft_pope_results.json"),
        *("--objects", folder / "coco_objects.json", "--training", val),
    )
    names = {"acc": "accuracy", "P": "precision", "R": "recall", "F1": "f1"}
    names |= {"yes": "yes_ratio", "yes_ratio": "yes_ratio"}
    often = expected["blind_freq_gt_5pct_of_coco"]["yes_objects"]
    answers = []
    for kind, path in polls.items():
        replies = [(each.id, "yes" if each.object in often else "no") for each in read_poll(path)]
        lines = [{"question_id": id, "answer": text} for id, text in replies]
        answers.append(write(tmp_path / f"{kind}.json", lines))
    listed = probe(tmp_path / "out.json", "--questions", *polls.values(), "--answers", *answers, "--resamples", 10)
    for kind in polls:
        rows = {
            "im2txt_baseline_ft_caption_as_answer": from_captions["scores"],
            "blind_freq_gt_5pct_of_coco": listed["scores"],
            "blind_freq_gt_5pct_of_val2017": from_captions["baselines"]["frequent"],
        }
        for row, scores in rows.items():
            for name, value in expected[row][kind].items():
                assert round(scores[f"coco_pope_{kind}"][names[name]]["value"], 4) == value, (row, kind, name)
        for name, value in expected["always_yes"].items():
            always = from_captions["baselines"]["always yes"][f"coco_pope_{kind}"]
            assert round(always[names[name]]["value"], 4) == value
        oracle = from_captions["baselines"]["oracle"][f"coco_pope_{kind}"]
        assert oracle["accuracy"]["value"] == expected["gt_oracle_acc"][kind]
    assert from_captions["settings"]["questions"] == dict.fromkeys((f"coco_pope_{kind}" for kind in polls), 3000)
