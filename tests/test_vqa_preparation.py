"""The scripts of data_prep for questions, each run on a few files of the official format with their usual defects."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from data_scripts import Script, cut_short, make_images, write

from vlrnn.data.daquar import plain_question, question_type
from vlrnn.data.images import open_image
from vlrnn.records import Example, describe_dataset, open_split, write_dataset


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Script:
    return Script(capsys, tmp_path / "prepared")


def images_of(script: Script, split: str) -> set[Any]:
    return {example.image_id for example in script.split(split).values()}


# VQA v1 and v2.


def asked(id: int, image: int, question: str = "What is it?") -> dict[str, Any]:
    return {"question_id": id, "image_id": image, "question": question}


def answered(id: int, image: int, *answers: str) -> dict[str, Any]:
    told = [{"answer": each, "answer_confidence": "yes", "answer_id": n} for n, each in enumerate(answers, start=1)]
    return {
        "question_id": id,
        "image_id": image,
        "question_type": "what is",
        "answer_type": "other",
        "answers": told,
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
        asked(10, 1, " What is\nit? "),
        asked(20, 2),
        asked(21, 2, " ? "),
        asked(22, 2, "Unanswered?"),
        asked(50, 5),
        asked(90, 9),
    ]
    annotations = [answered(id, id // 10, *TEN) for id in (90, 50, 21, 20, 10)] + [answered(77, 1, *TEN)]
    vqa_files(source, "train2014", questions, annotations)
    vqa_files(source, "val2014", [asked(30, 3)], [answered(30, 3, *TEN)])
    vqa_files(source, "test2015", [asked(40, 4), asked(41, 4)], None)
    vqa_files(source, "test-dev2015", [asked(41, 4)], None)
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
        ("empty question", "21"),
        ("question without an answer", "22"),
        ("annotation of a question that is not there", "77"),
        ("complementary pair of a question that is not there", "1000"),
        ("missing image", "COCO_train2014_000000000009.jpg"),
        ("unreadable image", "COCO_train2014_000000000005.jpg"),
    ):
        assert script.dropped(" 1: ", reason, name), script.told
    assert "second complementary pair" in script.told
    assert "train: 2 images, 2 questions, 20 answers" in script.told
    description = describe_dataset(script.out)
    assert description["counts"]["test"] == {"examples": 2, "images": 1, "questions": 2, "answers": 0}
    assert open_image(script.out / description["image_root"] / train[20].image).size == (16, 12)


def test_vqa_v2_with_test_dev(vqa: Path, script: Script) -> None:
    assert script.run("vqa_v2", vqa, "--test", "test-dev2015") == 0
    assert list(script.split("test")) == [41]
    assert script.split("test")[41].image == "test2015/COCO_test2015_000000000004.jpg"


def test_vqa_v1_in_the_folders_of_its_tools(tmp_path: Path, script: Script) -> None:
    photographs(tmp_path / "vqa/Images/mscoco", "val2014", 3)
    vqa_files(tmp_path / "vqa/Questions", "val2014", [asked(30, 3)], [answered(30, 3, *TEN)], prefix="")
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
    ("file", "contents", "told"),
    [
        (QUESTIONS, '{"data_subtype": "val2014",\n "questions": [}', f"{QUESTIONS}:2"),
        (QUESTIONS, {"data_subtype": "val2014"}, "no list of questions"),
        (QUESTIONS, {"questions": [asked(30, 3)]}, "questions[0]"),
        (QUESTIONS, {"data_subtype": "../up", "questions": [asked(30, 3)]}, "../up"),
        (QUESTIONS, {"data_subtype": "val2014", "questions": ["?"]}, "questions[0]"),
        (QUESTIONS, {"data_subtype": "val2014", "questions": [{"question_id": 30, "image_id": 3}]}, "question 30"),
        (QUESTIONS, {"data_subtype": "val2014", "questions": [{"question_id": 30, "question": "?"}]}, "image_id"),
        (QUESTIONS, {"data_subtype": "val2014", "questions": [asked(30, 3)] * 2}, "question 30 stands there twice"),
        (QUESTIONS, {"data_subtype": "val2014", "questions": [asked(30, 4)]}, "image 4, but 3 in"),
        (QUESTIONS, {"data_subtype": "val2014", "questions": [asked(31, 3)]}, "other questions"),
        (ANNOTATIONS, {"data_subtype": "val2014", "annotations": [answered(30, 3, *TEN)] * 2}, "question 30 stands"),
        (ANNOTATIONS, {"data_subtype": "val2014", "annotations": [asked(30, 3)]}, "'answers'"),
        ("v2_mscoco_val2014_complementary_pairs.json", [[1, 2, 3]], "entry 0"),
    ],
)
def test_vqa_names_what_is_malformed(file: str, contents: Any, told: str, vqa: Path, script: Script) -> None:
    path = write(vqa / file, contents)
    error = script.refuses("vqa_v2", vqa)
    assert told in error
    assert path.stem.removeprefix("v2_").split("_")[0] in error


def test_vqa_refuses_an_image_in_two_splits(vqa: Path, script: Script) -> None:
    photographs(vqa, "val2014", 1)
    vqa_files(vqa, "val2014", [asked(31, 1)], [answered(31, 1, *TEN)])
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
        questions = [asked(id, image) | {"coco_split": part} for id, image, part in ids]
        annotations = [answered(id, image, *TEN) | {"coco_split": part} for id, image, part in ids]
        write(source / f"vqacp_v2_{split}_questions.json", questions)
        write(source / f"vqacp_v2_{split}_annotations.json", annotations)
    return source


def test_vqa_cp(vqa_cp: Path, script: Script) -> None:
    assert script.run("vqa_cp", vqa_cp) == 0
    assert script.split("test")[300].image == "val2014/COCO_val2014_000000000030.jpg"
    assert script.split("test")[19].answers == TEN
    assert len(images_of(script, "val")) == 2
    assert images_of(script, "train") | images_of(script, "val") == set(range(1, 21))
    assert not images_of(script, "train") & images_of(script, "val")
    assert describe_dataset(script.out)["images_shared_with_test"] == 1


def test_vqa_cp_without_val(vqa_cp: Path, script: Script) -> None:
    assert script.run("vqa_cp", vqa_cp, "--dev", 0) == 0
    assert len(script.split("train")) == 40
    assert not (script.out / "val.jsonl").exists()
    assert "val:" not in script.told


def test_vqa_cp_says_which_files_it_needs(vqa_cp: Path, script: Script) -> None:
    assert "vqacp_v1_train_questions.json" in script.refuses("vqa_cp", vqa_cp, "--version", 1)


def test_only_test_may_share_images(tmp_path: Path) -> None:
    one = Example(1, "a", "a.png", question="?", answers=("yes",))
    about: dict[str, Any] = {"name": "n", "source": "s", "licence": "l", "test_shares_images": True}
    write_dataset(tmp_path / "allowed", {"test": [one], "train": [one]}, **about)
    with pytest.raises(Exception, match="two splits, train and val"):
        write_dataset(tmp_path / "refused", {"test": [one], "train": [one], "val": [one]}, **about)


# DAQUAR.


@pytest.fixture
def daquar(tmp_path: Path) -> Path:
    """Twenty images with two questions each, and one that no question is about."""
    source = tmp_path / "daquar"
    make_images(source / "images", [f"image{number}.png" for number in range(1, 21)])
    lines = [
        f"{question} in the image{number} ?\n{answer}\n"
        for number in range(1, 21)
        for question, answer in (
            ("how many chairs are there", "2"),
            ("what is on the desk", "tape,paper_Scissor , book"),
        )
    ]
    write(source / "qa.train.txt", "".join(lines))
    write(source / "train_images.txt", "".join(f"image{number}\n" for number in [*range(1, 21), 77]))
    return source


def test_daquar(daquar: Path, script: Script) -> None:
    assert script.run("daquar", daquar) == 0
    train, val = script.split("train"), script.split("val")
    assert "image without a question (image77)" in script.told
    assert len(images_of(script, "val")) == 2
    assert len(images_of(script, "train")) == 18
    assert not images_of(script, "train") & images_of(script, "val")
    assert (train | val)["train-2"] == Example(
        id="train-2",
        image_id="image1",
        image="image1.png",
        question="what is on the desk?",
        answers=("book, paper scissor, tape",),
        question_type="object",
    )
    assert (train | val)["train-1"].question_type == "number"
    assert not (script.out / "test.jsonl").exists()


def test_daquar_drops_what_is_broken(daquar: Path, script: Script) -> None:
    (daquar / "images/image3.png").unlink()
    with (daquar / "qa.train.txt").open("a") as file:
        file.write("what is it in the image99 ?\nlamp\n in the image1 ?\nlamp\nwhat is it in the image2 ?\n , \n\n")
    assert script.run("daquar", daquar) == 0
    for reason, name in (
        ("missing image", "image3.jpg"),
        ("question about an image that is not in", "line 81"),
        ("empty question", "train-42"),
        ("question without an answer", "train-43"),
    ):
        assert script.dropped(" 1: ", reason, name), script.told


def test_daquar_with_its_test(daquar: Path, script: Script) -> None:
    make_images(daquar / "images", ["image50.png"])
    write(daquar / "qa.test.txt", "what colour is the wall in the image50 ?\nred\n")
    assert script.run("daquar", daquar, "--dev", 5) == 0
    assert len(images_of(script, "val")) == 5
    assert script.split("test")["test-1"].question_type == "color"
    write(daquar / "qa.test.txt", "what colour is the wall in the image1 ?\nred\n")
    assert script.run("daquar", daquar) == 2
    assert "two splits" in script.error


def test_daquar_val_is_drawn_by_seed(daquar: Path, script: Script) -> None:
    def val(*arguments: Any) -> set[Any]:
        assert script.run("daquar", daquar, "--dev", 0.25, *arguments) == 0
        return images_of(script, "val")

    drawn = val()
    assert len(drawn) == 5
    assert val() == drawn
    assert val("--seed", 1) != drawn


def test_daquar_folds_cover_every_image_once(daquar: Path, script: Script) -> None:
    tested: list[Any] = []
    for fold in range(1, 6):
        assert script.run("daquar", daquar, "--folds", 5, "--fold", fold) == 0
        parts = [images_of(script, split) for split in ("train", "val", "test")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 20
        assert len(script.split("test")) == 2 * len(parts[2])
        tested += parts[2]
    assert len(tested) == len(set(tested)) == 20
    assert describe_dataset(script.out)["fold"] == 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--folds", 5], "--fold go together"),
        (["--folds", 5, "--fold", 6], "--fold 6"),
        (["--folds", 1, "--fold", 1], "--folds 1"),
        (["--dev", 100], "--dev 100"),
        (["--dev", 2.5], "--dev 2.5"),
        (["--dev", -1], "--dev -1"),
        (["--dev", "nan"], "--dev nan"),
    ],
)
def test_daquar_refuses_splits_that_cannot_be(arguments: list[Any], told: str, daquar: Path, script: Script) -> None:
    assert told in script.refuses("daquar", daquar, *arguments)


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        ("what is it in the image1 ?\nlamp\nwhat is that ?\ndesk\n", "qa.train.txt:3: "),
        ("what is it in the image1 ?\nwhat is that in the image1 ?\ndesk\n", "qa.train.txt:2: "),
        ("what is it in the image1 ?\nlamp\nwhat is that in the image1 ?\n", "qa.train.txt:3: "),
    ],
)
def test_daquar_names_the_malformed_line(contents: str, told: str, daquar: Path, script: Script) -> None:
    write(daquar / "qa.train.txt", contents)
    assert told in script.refuses("daquar", daquar)


@pytest.mark.parametrize(
    ("raw", "plain", "kind"),
    [
        ("how many chairs are there on the image888 ?", "how many chairs are there?", "number"),
        ("what is the object in the image9 close to the wall in the image9 ?", None, "object"),
        ("what is on the left side of the image92 ?", "what is on the left side of the image?", "object"),
        ("what is on the table image108 ?", "what is on the table?", "object"),
        ("what are the colours of the wall in this image3?", "what are the colours of the wall?", "color"),
        ("what is the colorful thing in image3 ?", "what is the colorful thing?", "object"),
    ],
)
def test_daquar_questions_lose_the_name_of_their_image(raw: str, plain: str | None, kind: str) -> None:
    assert plain_question(raw) == (plain or "what is the object close to the wall?")
    assert question_type(plain_question(raw)) == kind


def test_real_daquar(real_data: Path, script: Script) -> None:
    assert script.run("daquar", real_data / "daquar", "--unchecked") == 0
    counts = describe_dataset(script.out)["counts"]
    assert counts["train"]["questions"] + counts["val"]["questions"] == 6795
    assert counts["train"]["images"] + counts["val"]["images"] == 794
    assert script.dropped(" 1: ", "image without a question", "image366")
    questions = [example.question or "" for split in ("train", "val") for example in open_split(script.out, split)]
    assert not any(character.isdigit() for text in questions for character in text.partition("image")[2])


# easy-VQA.


@pytest.fixture
def easy_vqa(tmp_path: Path) -> Path:
    source = tmp_path / "easy"
    for split, count in (("train", 10), ("test", 3)):
        make_images(source / split / "images", [f"{number}.png" for number in range(count)])
        asked = [["is there a circle?", "yes", n] for n in range(count)] + [["what shape?", "circle", 0]]
        write(source / split / "questions.json", asked)
    write(source / "answers.txt", "circle\nyes\nno")
    return source


def test_easy_vqa(easy_vqa: Path, script: Script) -> None:
    assert script.run("easy_vqa", easy_vqa) == 0
    assert len(images_of(script, "train")) == 9
    assert len(images_of(script, "val")) == 1
    assert images_of(script, "test") == {"test-0", "test-1", "test-2"}
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


@pytest.mark.parametrize(
    "contents", ['[["a", "b", 1],\n ["a"', {"a": 1}, [["a", "b"]], [["a", "b", "1"]], [["a", "b", True]]]
)
def test_easy_vqa_names_what_is_malformed(contents: Any, easy_vqa: Path, script: Script) -> None:
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
    assert script.dropped(" 1: ", "empty question")
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
    asked = [{"question": "What?", "answers": ["dog", "cat"]}, {"question": "Is it?", "answer": "yes"}]
    contents: Any = dict.fromkeys(names, asked)
    if not by_image:
        contents = [{"image": name, **each} for name, questions in contents.items() for each in questions]
    table = write(tmp_path / "q.json", contents)
    assert script.run("folder_vqa", pictures, "--questions", table, "--shares", "0.5,0.25,0.25") == 0
    parts = [images_of(script, split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [10, 5, 5]
    assert len(set.union(*parts)) == 20
    assert len(script.split("test")) == 10


@pytest.mark.parametrize(
    ("name", "contents", "told"),
    [
        ("q.csv", "image,question\n00.png,What?\n", "q.csv:1: "),
        ("q.csv", "image,question,answer\n00.png,What, then?,dog\n", "q.csv:2: "),
        ("q.csv", "image,question,answer,split\n00.png,What?,dog,train\n01.png,What?,dog,\n", "some questions name"),
        ("q.csv", "image,question,answer,split\n00.png,What?,dog,train\n00.png,Who?,dog,val\n", "two splits"),
        ("q.json", '{"00.png":\n [}', "q.json:2"),
        ("q.json", {"00.png": ["What?"]}, "'00.png': entry 0"),
        ("q.json", {"00.png": {"question": "What?"}}, "'00.png': expected"),
        ("q.json", [{"image": "00.png", "question": 7, "answer": "dog"}], "entry 0: 'question'"),
        ("q.json", [{"image": "00.png", "question": "What?", "answer": 7}], "entry 0: 'answer'"),
        ("q.json", [{"question": "What?", "answer": "dog"}], "entry 0: needs an 'image'"),
    ],
)
def test_folder_names_what_is_malformed(
    name: str, contents: Any, told: str, pictures: Path, tmp_path: Path, script: Script
) -> None:
    table = write(tmp_path / name, contents)
    assert told in script.refuses("folder_vqa", pictures, "--questions", table)


# Shifted priors.


def yes_no(folder: Path, per_split: int = 400) -> None:
    """Half of the questions about dogs, and of those about cats, are answered yes."""
    splits: dict[str, list[Example]] = {}
    for split in ("train", "val", "test"):
        make_images(folder, [f"{split}-{number}.png" for number in range(4)])
        splits[split] = [
            Example(
                id=f"{split}-{number}",
                image_id=f"{split}-{number % 4}",
                image=f"{split}-{number % 4}.png",
                question=f"is it a {kind}",
                answers=("yes" if number % 2 else "no",),
                question_type=kind,
            )
            for number in range(per_split)
            for kind in ["dogs" if number % 3 else "cats"]
        ]
    write_dataset(folder, splits, name="pets", source="nowhere", licence="none")


def test_priors_are_shifted(script: Script, tmp_path: Path) -> None:
    yes_no(tmp_path / "pets")
    assert script.run("shift_priors", tmp_path / "pets", "--strength", "0.8") == 0

    def shares(name: str, split: str) -> dict[str | None, float]:
        examples = list(open_split(script.out / name, split))
        assert {example.image_id.split("-")[0] for example in examples if isinstance(example.image_id, str)} == {split}
        kinds: dict[str | None, list[bool]] = {}
        for example in examples:
            kinds.setdefault(example.question_type, []).append(example.answers == ("yes",))
        return {kind: sum(each) / len(each) for kind, each in kinds.items()}

    train, val, shifted, same = shares("shifted", "train"), shares("shifted", "val"), shares("shifted", "test"), {}
    same = shares("same", "test")
    for kind in ("dogs", "cats"):
        frequent = train[kind] > 0.5
        # of one in six and five in six, or thereabouts
        for share, alike in ((train[kind], True), (val[kind], True), (same[kind], True), (shifted[kind], False)):
            assert share == pytest.approx(5 / 6 if frequent == alike else 1 / 6, abs=0.1)
    assert describe_dataset(script.out / "shifted")["strength"] == 0.8
    again = Script(script.capsys, tmp_path / "again")
    assert again.run("shift_priors", tmp_path / "pets", "--strength", "0.8") == 0
    assert (again.out / "shifted" / "train.jsonl").read_bytes() == (script.out / "shifted" / "train.jsonl").read_bytes()


def test_priors_of_a_data_set_that_tells_little_of_itself(script: Script, tmp_path: Path) -> None:
    yes_no(tmp_path / "pets")
    (tmp_path / "pets" / "dataset.json").write_text("{}")
    assert script.run("shift_priors", tmp_path / "pets") == 0
    assert describe_dataset(script.out / "same")["name"] == "pets, same priors"


def test_mistakes_of_arguments_are_told_in_one_line(script: Script, tmp_path: Path) -> None:
    assert "--help" in script.refuses("daquar")
    assert "--dev abc: must be a share" in script.refuses("daquar", tmp_path, "--dev", "abc")
    assert "--shares a,b: must be three" in script.refuses(
        "folder_vqa", tmp_path, "--questions", "q", "--shares", "a,b"
    )


def test_priors_that_cannot_be_shifted(script: Script, tmp_path: Path) -> None:
    yes_no(tmp_path / "pets", 8)
    assert "below 1, not 1.0" in script.refuses("shift_priors", tmp_path / "pets", "--strength", "1")
    (tmp_path / "pets" / "val.jsonl").unlink()
    assert "has no split 'val'" in script.refuses("shift_priors", tmp_path / "pets")
    make_images(tmp_path / "captioned", ["a.png", "b.png", "c.png"])
    splits = {
        split: [Example(id=1, image_id=name, image=f"{name}.png", captions=("a dog",))]
        for split, name in zip(("train", "val", "test"), "abc", strict=True)
    }
    write_dataset(tmp_path / "captioned", splits, name="dogs", source="nowhere", licence="none")
    assert "holds no questions with answers" in script.refuses("shift_priors", tmp_path / "captioned")
