"""What goes wrong in data sets that people bring, by kind: ids, names of images, tables, captions that are none. It is
read, or told in one line; never taken in silence."""

import json
import unicodedata
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from data_scripts import Script, make_images, write
from PIL import Image

from vlrnn.data.records import open_split

CANNED = "Quality issues are too severe to recognize visual content."


def paint(path: Path, colour: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), colour).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four images, one of which has its accents as macOS writes them."""
    names = ["a.png", "b.png", unicodedata.normalize("NFD", "café/é.png"), "deep/c.png"]
    make_images(tmp_path / "pictures", names)
    return tmp_path / "pictures"


# Ids, over all readers: a function that makes the files of one image with this id, and the arguments of the script.


def coco(folder: Path, *images: tuple[Any, str], **more: Any) -> list[Any]:
    make_images(folder / "train2017", [name for _, name in images])
    contents = {
        "images": [{"id": id, "file_name": name} for id, name in images],
        "annotations": [{"id": n, "image_id": id, "caption": f"A {name}"} for n, (id, name) in enumerate(images)],
        **more,
    }
    write(folder / "annotations/captions_train2017.json", contents)
    return ["coco", folder]


def karpathy(folder: Path, *images: tuple[Any, str]) -> list[Any]:
    make_images(folder, [name for _, name in images])
    entries = [
        {"filename": name, "cocoid": id, "split": "train", "sentences": [{"raw": f"A {name}"}]} for id, name in images
    ]
    return ["coco", folder, "--karpathy", write(folder / "dataset.json", {"images": entries})]


def vqa(folder: Path, *images: tuple[Any, str]) -> list[Any]:
    make_images(folder / "train2014", [f"COCO_train2014_{number:012}.jpg" for number in range(9)])
    entries = [{"question_id": id, "image_id": 1, "question": "What?"} for id, _ in images]
    answers = [
        {**entry, "answers": [{"answer": "dog"}], "question_type": "what", "answer_type": "other"} for entry in entries
    ]
    about = {"data_subtype": "train2014"}
    write(folder / "v2_OpenEnded_mscoco_train2014_questions.json", {**about, "questions": entries})
    write(folder / "v2_mscoco_train2014_annotations.json", {**about, "annotations": answers})
    return ["vqa_v2", folder]


def easy_vqa(folder: Path, *images: tuple[Any, str]) -> list[Any]:
    for split in ("train", "test"):
        make_images(folder / split / "images", ["1.png", "2.png"])
        write(folder / split / "questions.json", [["Is it?", "yes", id] for id, _ in images])
    write(folder / "answers.txt", "yes\nno\n")
    return ["easy_vqa", folder]


def folder_table(folder: Path, *images: tuple[Any, str]) -> list[Any]:
    make_images(folder, [name for _, name in images])
    return [
        "folder",
        folder,
        "--captions",
        write(folder / "c.json", [{"image": id, "caption": "A"} for id, _ in images]),
    ]


READERS: list[Callable[..., list[Any]]] = [coco, karpathy, vqa, easy_vqa, folder_table]


def test_an_id_of_a_wrong_type_is_named(
    subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    for id, reader in product([None, 1.5, True, [1]], READERS):
        with subtests.test(id=id, reader=reader):
            tmp_path = tmp_path_factory.mktemp("case")
            script.out = tmp_path / "prepared"
            error = script.refuses(*reader(tmp_path / "data", (id, "a.jpg")))
            assert "data/" in error
            assert any(place in error for place in ("[0]", "entry 0"))


def test_one_id_for_two_is_refused(
    subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    """Nor does a number differ from a text that spells it, in files of results."""
    for ids, reader in product([(1, 1), (1, "1"), ("1", 1)], [coco, karpathy, vqa]):
        with subtests.test(ids=ids, reader=reader):
            tmp_path = tmp_path_factory.mktemp("case")
            script.out = tmp_path / "prepared"
            error = script.refuses(*reader(tmp_path / "data", (ids[0], "a.jpg"), (ids[1], "b.jpg")))
            assert "1" in error
            if reader is not vqa:  # whose files are named by the ids of images
                assert "a.jpg" in error
                assert "b.jpg" in error


def test_annotations_write_ids_as_the_images_do(tmp_path: Path, script: Script) -> None:
    """A caption whose image is `"1"`, where images has 1, is not lost in silence."""
    arguments = coco(tmp_path / "data", (1, "a.jpg"))
    path = tmp_path / "data/annotations/captions_train2017.json"
    contents = json.loads(path.read_text())
    contents["annotations"][0]["image_id"] = "1"
    write(path, contents)
    assert "annotations[0]" in script.refuses(*arguments)


def test_captions_need_no_categories(
    subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    for categories in [None, [], {}, [1], [{"id": None}], "none", [{"id": 1}]]:
        with subtests.test(categories=categories):
            tmp_path = tmp_path_factory.mktemp("case")
            script.out = tmp_path / "prepared"
            arguments = coco(tmp_path / "data", (1, "a.jpg"), (2, "b.jpg"), categories=categories)
            assert script.run(*arguments) == 0
            assert list(script.split("train")) == [1, 2]


def test_file_names_may_hold_the_folder(tmp_path: Path, script: Script) -> None:
    arguments = coco(tmp_path / "data", (1, "a.jpg"), (2, "b.jpg"))
    path = tmp_path / "data/annotations/captions_train2017.json"
    path.write_text(path.read_text().replace('"a.jpg"', '"train2017/a.jpg"'))
    assert script.run(*arguments) == 0
    assert [each.image for each in script.split("train").values()] == ["train2017/a.jpg", "train2017/b.jpg"]


def test_an_image_that_is_listed_again_does_no_harm(tmp_path: Path, script: Script) -> None:
    """People's files have it once for each of its captions."""
    assert script.run(*coco(tmp_path / "data", (1, "a.jpg"), (1, "a.jpg"), (2, "b.jpg"))) == 0
    assert script.split("train")[1].captions == ("A a.jpg", "A a.jpg")


def test_ids_that_begin_anew_in_each_split(tmp_path: Path, script: Script) -> None:
    """Of other photographs: they are told apart by their files, in both splits."""
    coco(tmp_path / "data", (1, "a.jpg"), (2, "b.jpg"))
    train = tmp_path / "data/annotations/captions_train2017.json"
    contents = json.loads(train.read_text())
    write(train.with_name("captions_val2017.json"), contents)
    for number, name in enumerate(("train2017/a.jpg", "train2017/b.jpg", "val2017/a.jpg", "val2017/b.jpg")):
        paint(tmp_path / "data" / name, ["red", "green", "blue", "black"][number])
    assert script.run("coco", tmp_path / "data") == 0
    assert (
        "image ids start again in each split (1 is train2017/a.jpg in train and val2017/a.jpg in val)" in script.printed
    )
    assert list(script.split("train")) == ["train2017/a.jpg", "train2017/b.jpg"]
    assert script.images("val") == {"val2017/a.jpg", "val2017/b.jpg"}
    assert script.split("val")["val2017/b.jpg"].captions == ("A b.jpg",)


def test_one_photograph_in_two_splits_is_refused(tmp_path: Path, script: Script) -> None:
    """Whatever its files are called."""
    coco(tmp_path / "data", (1, "a.jpg"))
    annotations = tmp_path / "data/annotations"
    write(
        annotations / "captions_val2017.json",
        {
            "images": [{"id": 1, "file_name": "other.jpg"}],
            "annotations": [{"id": 1, "image_id": 1, "caption": "A dog"}],
        },
    )
    make_images(tmp_path / "data/val2017", ["other.jpg"])
    error = script.refuses("coco", tmp_path / "data")
    for part in ("two splits", "train2017/a.jpg", "val2017/other.jpg"):
        assert part in error


# Captions that are none.


def test_captions_that_vizwiz_rejected_or_canned(tmp_path: Path, script: Script) -> None:
    entries = [
        {"caption": "A tin of soup"},
        {"caption": "Buy my book", "is_rejected": True},
        {"caption": CANNED, "is_precanned": True},
        {"caption": CANNED.lower().rstrip("."), "is_precanned": False},
        {"caption": "A tin", "is_rejected": False, "is_precanned": False},
    ]
    annotations = [{"id": number, "image_id": 1, **entry} for number, entry in enumerate(entries)]
    annotations += [{"id": 9, "image_id": 2, "caption": CANNED, "is_precanned": True}]
    arguments = coco(tmp_path / "data", (1, "a.jpg"), (2, "b.jpg"), annotations=annotations)
    assert script.run(*arguments) == 0
    assert list(script.split("train")) == [1]
    assert script.split("train")[1].captions == ("A tin of soup", "A tin")
    assert script.dropped(" 1: ", "rejected", "(1)")
    assert script.dropped(" 3: ", "canned caption")
    assert script.dropped(" 1: ", "image without a caption", "b.jpg")


def test_captions_of_no_word_are_dropped(
    subtests: pytest.Subtests, pictures: Path, tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    for caption in ["...", "nan", "NaN", " ", "", "!?", "None", "null", "\N{GRINNING FACE}"]:
        with subtests.test(caption=caption):
            tmp_path = tmp_path_factory.mktemp("case")
            script.out = tmp_path / "prepared"
            captions = {"a.png": ["A dog", caption], "b.png": [caption]}
            assert (
                script.run("folder", pictures, "--captions", write(tmp_path / "c.json", captions), "--shares", "1,0,0")
                == 0
            )
            assert [each.captions for each in script.split("train").values()] == [("A dog",)]
            assert script.dropped(" 2: ", "caption of no word", "a.png", "b.png")


TEXTS = [
    (["一个男人在海边的沙滩上骑着一匹马。", "一只狗追着红色的飞盘"], True),
    (["男の人がサーフボードに乗っています", "赤い車が止まっている"], True),
    (["ผู้ชายคนหนึ่งกำลังขี่ม้าบนชายหาด", "สุนัขวิ่งเล่นบนสนามหญ้า"], True),
    (["红色汽车", "一只狗"], True),
    (["หมาวิ่ง", "แมวนอน"], True),
    (["汽车", "狗"], False),
    (["一个 男人 在 海边 骑 着 马", "一只 狗 追 着 飞盘"], False),
    (["ผู้ชาย คน หนึ่ง กำลัง ขี่ ม้า บน ชายหาด", "สุนัข วิ่ง เล่น บน สนาม หญ้า"], False),
    (["Мужчина едет на лошади по пляжу", "말을 타는 남자"], False),
    (["A man rides a horse", "A sign that says 禁止停车"], False),
]


def test_texts_without_spaces_are_warned_of(
    subtests: pytest.Subtests, pictures: Path, tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    for texts, warned in TEXTS:
        with subtests.test(texts=texts, warned=warned):
            tmp_path = tmp_path_factory.mktemp("case")
            script.out = tmp_path / "prepared"
            captions = write(tmp_path / "c.json", dict(zip(("a.png", "b.png"), texts, strict=True)))
            assert script.run("folder", pictures, "--captions", captions) == 0
            assert ("2 of 2 texts are written without spaces" in script.printed) == warned
            assert ("data.tokenizer characters" in script.printed) == warned


# Names of images, and tables.


NAMES = [
    (unicodedata.normalize("NFC", "café/é.png"), unicodedata.normalize("NFD", "café/é.png")),
    (unicodedata.normalize("NFC", "café") + unicodedata.normalize("NFD", "/é.png"), None),
    ("deep\\c.png", "deep/c.png"),
    (".\\deep\\c.png", "deep/c.png"),
    ("./deep//c.png", "deep/c.png"),
    ("{source}/deep/c.png", "deep/c.png"),
    ("{source}/../pictures/deep/c.png", "error"),
    ("c.png", "dropped"),
]


def test_names_of_images(
    subtests: pytest.Subtests, pictures: Path, tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    for (name, meant), kind in product(NAMES, ["table", "coco"]):
        with subtests.test(name=name, meant=meant, kind=kind):
            tmp_path = tmp_path_factory.mktemp("case")
            script.out = tmp_path / "prepared"
            name = name.format(source=pictures)
            meant = meant or unicodedata.normalize("NFD", "café/é.png")
            arguments: list[Any] = ["folder", pictures, "--shares", "1,0,0", "--captions"]
            arguments.append(write(tmp_path / "c.json", {name: "A dog", "a.png": "A cat"}))
            if kind == "coco":
                make_images(pictures / "annotations", [])
                contents = {
                    "images": [{"id": 1, "file_name": name}, {"id": 2, "file_name": "a.png"}],
                    "annotations": [{"id": id, "image_id": id, "caption": "A dog"} for id in (1, 2)],
                }
                arguments = ["coco", pictures, "--captions", write(tmp_path / "captions_train.json", contents)]
            if meant == "error" and kind == "table":
                assert "within the folder of images" in script.refuses(*arguments)
                continue
            assert script.run(*arguments) == 0
            found = {example.image for example in script.split("train").values()}
            if meant == "dropped":
                assert script.dropped("missing image", name)
            elif meant != "error":
                assert found == {meant, "a.png"}


def test_two_spellings_of_a_name_are_one_image(pictures: Path, tmp_path: Path, script: Script) -> None:
    names = [unicodedata.normalize(form, "café/é.png") for form in ("NFC", "NFD")]
    rows = [
        {"image": name, "caption": "A cup", "split": split} for name, split in zip(names, ("train", "val"), strict=True)
    ]
    assert "two splits" in script.refuses("folder", pictures, "--captions", write(tmp_path / "c.json", rows))


TABLES = [
    ("c.csv", "image;caption\na.png;A dog, running\nb.png;A cat\n"),
    ("c.csv", "image|caption\na.png|A dog, running\nb.png|A cat\n"),
    ("c.csv", "image_name| comment_number| comment\na.png| 0| A dog, running\nb.png| 1| A cat\n"),
    ("c.csv", "image\tcaption\na.png\tA dog, running\nb.png\tA cat\n"),
    ("c.csv", '"image","caption"\r\n"a.png","A dog, running"\r\n\r\n"b.png","A cat"\r\n'),
    ("metadata.csv", 'file_name,text\na.png,"A dog, running"\nb.png,A cat\n'),
    (
        "metadata.jsonl",
        '{"file_name": "a.png", "text": "A dog, running"}\n\n{"file_name": "b.png", "text": "A cat"}',
    ),
    ("c.tsv", 'image\tcaption\na.png\t"A dog, running"\nb.png\tA cat\n'),
]


def test_tables_of_many_forms(
    subtests: pytest.Subtests, pictures: Path, tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    for name, contents in TABLES:
        with subtests.test(name=name, contents=contents):
            tmp_path = tmp_path_factory.mktemp("case")
            script.out = tmp_path / "prepared"
            table = write(tmp_path / name, contents)
            assert script.run("folder", pictures, "--captions", table, "--shares", "1,0,0") == 0
            assert {id: each.captions for id, each in script.split("train").items()} == {
                "a.png": ("A dog, running",),
                "b.png": ("A cat",),
            }


def test_the_folder_of_the_table_counts_as_well(pictures: Path, script: Script) -> None:
    """Hugging Face's `metadata.jsonl` stands beside the images that it names."""
    table = write(pictures / "deep/metadata.jsonl", '{"file_name": "c.png", "text": "A cat"}\n')
    assert script.run("folder", pictures, "--captions", table, "--shares", "1,0,0") == 0
    assert list(script.split("train")) == ["deep/c.png"]


def test_quotes_in_a_tsv(pictures: Path, tmp_path: Path, script: Script) -> None:
    rows = ['"Stop" says a sign', 'A sign that says "go', '"A ""good"" dog"', '"', 'A 12" pizza']
    table = write(tmp_path / "c.tsv", "image\tcaption\n" + "".join(f"a.png\t{row} x\n" for row in rows[:2]))
    table.write_text(table.read_text() + f"a.png\t{rows[2]}\nb.png\t{rows[3]}\nb.png\t{rows[4]}\n")
    assert script.run("folder", pictures, "--captions", table, "--shares", "1,0,0") == 0
    train = script.split("train")
    assert train["a.png"].captions == ('"Stop" says a sign x', 'A sign that says "go x', 'A "good" dog')
    assert train["b.png"].captions == ('A 12" pizza',)


ODD_TABLES = [
    ("c.csv", "image,caption,caption\na.png,A,B\n", "c.csv:1: the column 'caption' occurs twice"),
    ("c.csv", "file_name,filename,text\na.png,A,B\n", "c.csv:1: the column 'image' occurs twice"),
    ("c.csv", "picture,words\na.png,A\n", "c.csv:1: no column 'image' (found: picture, words)"),
    ("c.csv", "", "c.csv: is empty"),
    ("c.csv", 'image,caption\na.png,"A\ndog"\n\nb.png,A,B\n', "c.csv:5: 3 columns"),
    ("c.csv", 'image,caption\na.png,"A\ndog"\nb.png,"A\ncat', "c.csv:4: not CSV"),
    ("c.csv", 'image,caption,split\na.png,"A\ndog",train\nb.png,"A\ncat",never\n', "c.csv:4: the split 'never'"),
    ("c.tsv", "image\tcaption\na.png\tA\tdog\n", "c.tsv:2: 3 columns"),
    ("c.json", '{"a.png": ["A dog"], "a.png": ["A cat"]}', "the key 'a.png' occurs twice"),
    ("c.json", '[{"image": "a.png", "caption": "A", "caption": "B"}]', "the key 'caption' occurs twice"),
    ("c.jsonl", '{"file_name": "a.png", "text": "A"}\n[1]\n', "c.jsonl:2: expected an object"),
    ("c.jsonl", '{"file_name": "a.png", "text": "A"}\n{"text": "B"}\n', "c.jsonl:2: the field 'image' is missing"),
    ("c.jsonl", '{"file_name": "a.png", "text": "A", "text": "B"}\n', "c.jsonl:1: the key 'text'"),
]


def test_what_is_odd_in_a_table_is_reported(
    subtests: pytest.Subtests, pictures: Path, tmp_path_factory: pytest.TempPathFactory, script: Script
) -> None:
    for name, contents, message in ODD_TABLES:
        with subtests.test(name=name, contents=contents, message=message):
            tmp_path = tmp_path_factory.mktemp("case")
            script.out = tmp_path / "prepared"
            assert message in script.refuses("folder", pictures, "--captions", write(tmp_path / name, contents))


def test_questions_in_the_same_forms(pictures: Path, tmp_path: Path, script: Script) -> None:
    table = write(tmp_path / "q.csv", "file_name;question;answer\ndeep\\c.png;What, then?;a dog\n")
    assert script.run("folder_vqa", pictures, "--questions", table, "--shares", "1,0,0") == 0
    assert script.split("train")[1].image == "deep/c.png"


def test_real_coco_with_odd_sections(real_data: Path, tmp_path: Path, script: Script) -> None:
    contents = json.loads((real_data / "coco_mini/annotations/captions_val2017.json").read_text())
    first, second = contents["images"][:2]
    twice = [first, {**second, "id": first["id"]}, *contents["images"][2:]]
    captions = write(tmp_path / "captions_val2017.json", {**contents, "images": twice})
    error = script.refuses("coco", real_data / "coco_mini", "--captions", captions)
    assert first["file_name"] in error
    assert second["file_name"] in error
    write(captions, {**contents, "categories": None, "licenses": 7})
    assert script.run("coco", real_data / "coco_mini", "--captions", captions) == 0
    assert len(open_split(script.out, "val")) == 79


def test_hidden_images_are_no_images_without_a_caption(pictures: Path, tmp_path: Path, script: Script) -> None:
    make_images(pictures, [".ipynb_checkpoints/a-checkpoint.png", "deep/.thumbnails/c.png", ".hidden.png"])
    captions = write(tmp_path / "c.json", {"a.png": "A dog"})
    assert script.run("folder", pictures, "--captions", captions) == 0
    assert script.dropped(" 3: ", "image without a caption", "b.png", "c.png")
    assert "checkpoint" not in script.printed
    assert ".thumbnails" not in script.printed
