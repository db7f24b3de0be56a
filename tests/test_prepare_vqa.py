"""VQA and VQA-CP from their official files, with the usual defects."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from data_scripts import Script, cut_short, make_images, write

from vlrnn.data.images import open_image
from vlrnn.data.records import Example, describe_dataset, write_dataset


def vqa_question(id: int, image: int, question: str = "What is it?") -> dict[str, Any]:
    return {"question_id": id, "image_id": image, "question": question}


def answered(id: int, image: int, *answers: str) -> dict[str, Any]:
    printed = [{"answer": each, "answer_confidence": "yes", "answer_id": n} for n, each in enumerate(answers, start=1)]
    return {
        "question_id": id,
        "image_id": image,
        "question_type": "what is",
        "answer_type": "other",
        "answers": printed,
        "multiple_choice_answer": answers[0],
    }


TEN = ("dog", "dog", "a dog", "puppy", "dog", "dog", "", "dog", "Dog", "dog")


def vqa_files(
    source: Path, part: str, questions: Sequence[Any], annotations: Sequence[Any] | None, prefix: str = "v2_"
) -> None:
    common = {"info": {}, "license": {}, "data_subtype": part, "data_type": "mscoco"}
    write(source / f"{prefix}OpenEnded_mscoco_{part}_questions.json", {**common, "questions": questions})
    if annotations is not None:
        write(source / f"{prefix}mscoco_{part}_annotations.json", {**common, "annotations": annotations})


def photographs(source: Path, part: str, *images: int) -> None:
    make_images(source / part, [f"COCO_{part}_{image:012}.jpg" for image in images])


@pytest.fixture
def vqa(tmp_path: Path) -> Path:
    """With an empty question, one without an annotation, an annotation and a pair of no question, and a missing and a
    broken photograph."""
    source = tmp_path / "vqa"
    photographs(source, "train2014", 1, 2, 5)
    cut_short(source / "train2014/COCO_train2014_000000000005.jpg")
    photographs(source, "val2014", 3)
    photographs(source, "test2015", 4)
    questions = [
        vqa_question(10, 1, " What is\nit? "),
        vqa_question(20, 2),
        vqa_question(21, 2, " ? "),
        vqa_question(22, 2, "Unanswered?"),
        vqa_question(50, 5),
        vqa_question(90, 9),
    ]
    annotations = [answered(id, id // 10, *TEN) for id in (90, 50, 21, 20, 10)] + [answered(77, 1, *TEN)]
    vqa_files(source, "train2014", questions, annotations)
    vqa_files(source, "val2014", [vqa_question(30, 3)], [answered(30, 3, *TEN)])
    vqa_files(source, "test2015", [vqa_question(40, 4), vqa_question(41, 4)], None)
    vqa_files(source, "test-dev2015", [vqa_question(41, 4)], None)
    write(source / "v2_mscoco_train2014_complementary_pairs.json", [[10, 20], [10, 90], [50, 1000]])
    return source


def test_vqa_v2(vqa: Path, script: Script) -> None:
    assert script.run("vqa_v2", vqa) == 0
    train, test = script.split("train"), script.split("test")
    assert list(train) == [10, 20]
    assert train[10] == Example(
        id=10,
        image_id=1,
        image="train2014/COCO_train2014_000000000001.jpg",
        question="What is it?",
        answers=TEN,
        question_type="what is",
        answer_type="other",
        attributes={"pair": 20},
    )
    assert train[20].attributes == {"pair": 10}
    assert script.split("val")[30].attributes is None
    assert list(test) == [40, 41]
    assert test[41].answers == ()
    assert test[41].image == "test2015/COCO_test2015_000000000004.jpg"
    for reason, name in (
        ("question of no word", "21"),
        ("question without an answer", "22"),
        ("annotation of a question that does not exist", "77"),
        ("complementary pair of a question that does not exist", "1000"),
        ("missing image", "COCO_train2014_000000000009.jpg"),
        ("unreadable image", "COCO_train2014_000000000005.jpg"),
    ):
        assert script.dropped(" 1: ", reason, name), script.printed
    assert script.dropped(" 2: ", "question without an image file", "50, 90")
    assert "second complementary pair" in script.printed
    assert "train: 2 images, 2 questions, 20 answers" in script.printed
    description = describe_dataset(script.out)
    assert description["counts"]["test"] == {"examples": 2, "images": 1, "questions": 2, "answers": 0}
    assert open_image(script.out / description["image_root"] / train[20].image).size == (16, 12)


def test_vqa_v2_with_test_dev(vqa: Path, script: Script) -> None:
    assert script.run("vqa_v2", vqa, "--test", "test-dev2015") == 0
    assert list(script.split("test")) == [41]
    assert script.split("test")[41].image == "test2015/COCO_test2015_000000000004.jpg"


def test_vqa_v1_in_the_folders_of_its_tools(tmp_path: Path, script: Script) -> None:
    photographs(tmp_path / "vqa/Images/mscoco", "val2014", 3)
    vqa_files(tmp_path / "vqa/Questions", "val2014", [vqa_question(30, 3)], [answered(30, 3, *TEN)], prefix="")
    (tmp_path / "vqa/Annotations").mkdir()
    name = "mscoco_val2014_annotations.json"
    (tmp_path / "vqa/Questions" / name).rename(tmp_path / "vqa/Annotations" / name)
    assert "VQA v2" in script.refuses("vqa_v2", tmp_path / "vqa")
    assert script.run("vqa_v2", tmp_path / "vqa", "--version", 1) == 0
    assert list(script.split("val")) == [30]
    assert describe_dataset(script.out)["name"] == "VQA v1"


def test_vqa_photographs_may_be_elsewhere_and_unchecked(vqa: Path, tmp_path: Path, script: Script) -> None:
    for part in ("train2014", "val2014", "test2015"):
        (tmp_path / "coco").mkdir(exist_ok=True)
        (vqa / part).rename(tmp_path / "coco" / part)
    assert "--images" in script.refuses("vqa_v2", vqa)
    assert script.run("vqa_v2", vqa, "--images", tmp_path / "coco", "--unchecked") == 0
    assert list(script.split("train")) == [10, 20, 50]


def test_vqa_without_annotations_is_refused(vqa: Path, script: Script) -> None:
    (vqa / "v2_mscoco_val2014_annotations.json").unlink()
    assert "v2_mscoco_val2014_annotations.json" in script.refuses("vqa_v2", vqa)


QUESTIONS, ANNOTATIONS = "v2_OpenEnded_mscoco_val2014_questions.json", "v2_mscoco_val2014_annotations.json"


@pytest.mark.parametrize(
    ("file", "contents", "message"),
    [
        (QUESTIONS, '{"data_subtype": "val2014",\n "questions": [}', f"{QUESTIONS}:2"),
        (QUESTIONS, {"data_subtype": "val2014"}, "no list of questions"),
        (QUESTIONS, {"questions": [vqa_question(30, 3)]}, "questions[0]"),
        (QUESTIONS, {"data_subtype": "../up", "questions": [vqa_question(30, 3)]}, "../up"),
        (QUESTIONS, {"data_subtype": "val2014", "questions": ["?"]}, "questions[0]"),
        (QUESTIONS, {"data_subtype": "val2014", "questions": [{"question_id": 30, "image_id": 3}]}, "question 30"),
        (QUESTIONS, {"data_subtype": "val2014", "questions": [{"question_id": 30, "question": "?"}]}, "image_id"),
        (
            QUESTIONS,
            {"data_subtype": "val2014", "questions": [vqa_question(30, 3)] * 2},
            "question 30 occurs twice",
        ),
        (QUESTIONS, {"data_subtype": "val2014", "questions": [vqa_question(30, 4)]}, "image 4, but about 3 in"),
        (QUESTIONS, {"data_subtype": "val2014", "questions": [vqa_question(31, 3)]}, "other questions"),
        (ANNOTATIONS, {"data_subtype": "val2014", "annotations": [answered(30, 3, *TEN)] * 2}, "question 30 occurs"),
        (ANNOTATIONS, {"data_subtype": "val2014", "annotations": [vqa_question(30, 3)]}, "'answers'"),
        ("v2_mscoco_val2014_complementary_pairs.json", [[1, 2, 3]], "entry 0"),
    ],
)
def test_vqa_names_what_is_malformed(file: str, contents: Any, message: str, vqa: Path, script: Script) -> None:
    path = write(vqa / file, contents)
    error = script.refuses("vqa_v2", vqa)
    assert message in error
    assert path.stem.removeprefix("v2_").split("_")[0] in error


def test_vqa_refuses_an_image_in_two_splits(vqa: Path, script: Script) -> None:
    photographs(vqa, "val2014", 1)
    vqa_files(vqa, "val2014", [vqa_question(31, 1)], [answered(31, 1, *TEN)])
    assert "two splits" in script.refuses("vqa_v2", vqa)


# VQA-CP.


@pytest.fixture
def vqa_cp(tmp_path: Path) -> Path:
    """Twenty images in train, one of which test asks about too."""
    source = tmp_path / "vqa_cp"
    photographs(source, "train2014", *range(1, 21))
    photographs(source, "val2014", 30)
    train = [(10 * image + k, image, "train2014") for image in range(1, 21) for k in range(2)]
    test = [(19, 1, "train2014"), (300, 30, "val2014")]
    for split, ids in (("train", train), ("test", test)):
        questions = [vqa_question(id, image) | {"coco_split": part} for id, image, part in ids]
        annotations = [answered(id, image, *TEN) | {"coco_split": part} for id, image, part in ids]
        write(source / f"vqacp_v2_{split}_questions.json", questions)
        write(source / f"vqacp_v2_{split}_annotations.json", annotations)
    return source


def test_vqa_cp(vqa_cp: Path, script: Script) -> None:
    assert script.run("vqa_cp", vqa_cp) == 0
    assert script.split("test")[300].image == "val2014/COCO_val2014_000000000030.jpg"
    assert script.split("test")[19].answers == TEN
    assert len(script.images("val")) == 2
    assert script.images("train") | script.images("val") == set(range(1, 21))
    assert not script.images("train") & script.images("val")
    assert describe_dataset(script.out)["images_shared_with_test"] == 1


def test_vqa_cp_without_val(vqa_cp: Path, script: Script) -> None:
    assert script.run("vqa_cp", vqa_cp, "--dev", 0) == 0
    assert len(script.split("train")) == 40
    assert not (script.out / "val.jsonl").exists()
    assert "val:" not in script.printed


def test_vqa_cp_names_which_files_it_needs(vqa_cp: Path, script: Script) -> None:
    assert "vqacp_v1_train_questions.json" in script.refuses("vqa_cp", vqa_cp, "--version", 1)


def test_only_test_may_share_images(tmp_path: Path) -> None:
    one = Example(1, "a", "a.png", question="?", answers=("yes",))
    about: dict[str, Any] = {"name": "n", "source": "s", "licence": "l", "test_shares_images": True}
    write_dataset(tmp_path / "allowed", {"test": [one], "train": [one]}, **about)
    with pytest.raises(Exception, match="two splits, train and val"):
        write_dataset(tmp_path / "refused", {"test": [one], "train": [one], "val": [one]}, **about)
