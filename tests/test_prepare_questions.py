"""Questions of easy-VQA, and about a folder of one's own, with the usual defects."""

from pathlib import Path
from typing import Any

import pytest
from data_scripts import Script, make_images, write

from vlrnn.data.records import Example


@pytest.fixture
def easy_vqa(tmp_path: Path) -> Path:
    source = tmp_path / "easy"
    for split, count in (("train", 10), ("test", 3)):
        make_images(source / split / "images", [f"{number}.png" for number in range(count)])
        entries = [["is there a circle?", "yes", n] for n in range(count)] + [["what shape?", "circle", 0]]
        write(source / split / "questions.json", entries)
    write(source / "answers.txt", "circle\nyes\nno")
    return source


def test_easy_vqa(easy_vqa: Path, script: Script) -> None:
    assert script.run("easy_vqa", easy_vqa) == 0
    assert len(script.images("train")) == 9
    assert len(script.images("val")) == 1
    assert script.images("test") == {"test-0", "test-1", "test-2"}
    assert script.split("test")["test-3"] == Example(
        id="test-3",
        image_id="test-0",
        image="test/images/0.png",
        question="what shape?",
        answers=("circle",),
        answer_type="other",
    )
    assert script.split("test")["test-0"].answer_type == "yes/no"


def test_easy_vqa_drops_an_answer_that_is_none(easy_vqa: Path, script: Script) -> None:
    write(easy_vqa / "answers.txt", "yes\nno\n")
    assert script.run("easy_vqa", easy_vqa) == 0
    assert script.dropped(" 2: ", "answers.txt", "train-10", "test-3")


def test_easy_vqa_names_what_is_malformed(subtests: pytest.Subtests, easy_vqa: Path, script: Script) -> None:
    for contents in ['[["a", "b", 1],\n ["a"', {"a": 1}, [["a", "b"]], [["a", "b", "1"]], [["a", "b", True]]]:
        with subtests.test(contents=contents):
            write(easy_vqa / "train/questions.json", contents)
            assert "train/questions.json" in script.refuses("easy_vqa", easy_vqa)


# A folder of one's own.


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    make_images(tmp_path / "pictures", [f"{number:02}.png" for number in range(20)])
    return tmp_path / "pictures"


def test_folder_with_csv_and_annotators(pictures: Path, tmp_path: Path, script: Script) -> None:
    table = write(
        tmp_path / "q.csv",
        "image,question,answer,split,question_type\n"
        '00.png,"What, then?",A Dog,train,what\n00.png,Is it?,yes,train,\n./00.png,"What,  then?", puppy ,train,what\n'
        "01.png,What?,cat,val,\n01.png, ,cat,val,\n01.png,Who?, ,val,\n02.png,Where?,,test,\nnone.png,Where?,,test,\n",
    )
    assert script.run("folder_vqa", pictures, "--questions", table) == 0
    train = script.split("train")
    assert train[1].question == "What, then?"
    assert train[1].answers == ("dog", "puppy")
    assert train[1].question_type == "what"
    assert train[2].question_type is None
    assert [each.question for each in script.split("val").values()] == ["What?"]
    assert [each.answers for each in script.split("test").values()] == [()]
    assert script.dropped(" 1: ", "question of no word")
    assert script.dropped(" 1: ", "question without an answer")
    assert script.dropped(" 1: ", "missing image", "none.png")
    assert script.dropped(" 17: ", "image without a question", "03.png")


def test_an_answered_test_split_drops_what_has_no_answer(pictures: Path, tmp_path: Path, script: Script) -> None:
    table = write(tmp_path / "q.csv", "image,question,answer,split\n00.png,What?,dog,test\n00.png,Who?,,test\n")
    assert script.run("folder_vqa", pictures, "--questions", table) == 0
    assert list(script.split("test")) == [1]
    assert script.dropped(" 1: ", "question without an answer", "2")


@pytest.mark.parametrize("by_image", [False, True])
def test_folder_with_json_is_split_by_image(by_image: bool, pictures: Path, tmp_path: Path, script: Script) -> None:
    names = sorted(path.name for path in pictures.iterdir())
    entries = [{"question": "What?", "answers": ["dog", "cat"]}, {"question": "Is it?", "answer": "yes"}]
    contents: Any = dict.fromkeys(names, entries)
    if not by_image:
        contents = [{"image": name, **each} for name, questions in contents.items() for each in questions]
    table = write(tmp_path / "q.json", contents)
    assert script.run("folder_vqa", pictures, "--questions", table, "--shares", "0.5,0.25,0.25") == 0
    parts = [script.images(split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [10, 5, 5]
    assert len(set.union(*parts)) == 20
    assert len(script.split("test")) == 10


MALFORMED_FOLDERS = [
    ("q.csv", "image,question\n00.png,What?\n", "q.csv:1: "),
    ("q.csv", "image,question,answer\n00.png,What, then?,dog\n", "q.csv:2: "),
    ("q.csv", "image,question,answer,split\n00.png,What?,dog,train\n01.png,What?,dog,\n", "questions have a split"),
    ("q.csv", "image,question,answer,split\n00.png,What?,dog,train\n00.png,Who?,dog,val\n", "two splits"),
    ("q.json", '{"00.png":\n [}', "q.json:2"),
    ("q.json", {"00.png": ["What?"]}, "'00.png': entry 0"),
    ("q.json", {"00.png": {"question": "What?"}}, "'00.png': expected"),
    ("q.json", [{"image": "00.png", "question": 7, "answer": "dog"}], "entry 0: 'question'"),
    ("q.json", [{"image": "00.png", "question": "What?", "answer": 7}], "entry 0: 'answer'"),
    ("q.json", [{"question": "What?", "answer": "dog"}], "entry 0: the field 'image' is missing"),
]


def test_folder_names_what_is_malformed(
    subtests: pytest.Subtests, pictures: Path, tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    for name, contents, message in MALFORMED_FOLDERS:
        with subtests.test(name=name, contents=contents, message=message):
            tmp_path = tmp_path_factory.mktemp("case")
            table = write(tmp_path / name, contents)
            assert message in script.refuses("folder_vqa", pictures, "--questions", table)


def test_mistakes_of_arguments_are_errors_of_one_line(script: Script, tmp_path: Path) -> None:
    assert "--help" in script.refuses("daquar")
    assert "--shares a,b: must be three" in script.refuses(
        "folder_vqa", tmp_path, "--questions", "q", "--shares", "a,b"
    )
