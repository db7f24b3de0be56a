"""Files of results and references of every form, and how predictions find their references: by id, by the name of the
image's file, by number. What matches twice is refused."""

import csv
import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from vlrnn import cli
from vlrnn.commands.prediction_file import PredictionFile
from vlrnn.data.formats.answers import read_answers, read_questions
from vlrnn.data.formats.captions import read_predictions, read_references
from vlrnn.data.matching import match
from vlrnn.data.records import Id, Prediction
from vlrnn.errors import UserError

FILES = {7: "val2014/COCO_val2014_000000000007.jpg", 12: "val2014/COCO_val2014_000000000012.jpg"}


def predictions_of(*ids: Id) -> list[Prediction]:
    return [Prediction(id=id, image_id=id, text=f"text of {id}") for id in ids]


def pairs(ids: list[Id], references: dict[Id, str] | list[Id], **more: Any) -> dict[Id, Id]:
    """Reference -> the prediction that it got."""
    files = references if isinstance(references, dict) else {}
    found = match(predictions_of(*ids), dict.fromkeys(references, ""), "error", "p.json", files=files, **more)
    return {id: each.image_id for id, each in found.predictions.items()}


MATCHES: dict[str, tuple[list[Id], dict[Id, str] | list[Id], str]] = {
    "by id": ([7, 12], FILES, ""),
    "ids as text": (["7", "12"], FILES, "2 ids matched in another form: '7' as 7"),
    "ids as numbers": ([7, 12], ["7", "12"], "2 ids matched in another form: 7 as '7'"),
    "by the path": (list(FILES.values()), FILES, "2 ids matched by file name: "),
    "by the name": ([f"/photos/{Path(file).name}" for file in FILES.values()], FILES, "2 ids matched by file name"),
    "by the stem": (
        [Path(file).stem for file in FILES.values()],
        FILES,
        "by file name: 'COCO_val2014_000000000007' as",
    ),
    "another kind of file": ([f"p/{Path(file).stem}.png" for file in FILES.values()], FILES, "2 ids matched by file"),
    "names as ids": (["photos/a.jpg", "photos/b"], ["a.jpg", "b.jpg"], "2 ids matched by file name: 'photos/a.jpg' as"),
    "composed otherwise": (["Cafe\u0301.jpg", "b.jpg"], {1: "x/Caf\u00e9.jpg", 2: "x/b.jpg"}, "2 ids matched by file"),
    "backslashes": (["x\\a.jpg", "x\\b.jpg"], {1: "x/a.jpg", 2: "x/b.jpg"}, "whose file is x/a.jpg"),
    "the folder decides": (["me/b/1.jpg", "me/a/1.jpg"], {2: "d/b/1.jpg", 1: "d/a/1.jpg"}, "2 ids matched by file"),
    "by COCO's number": (["COCO_test2015_000000000007.jpg", "COCO_x_000000000012"], [7, 12], "2 ids matched by number"),
    "by digits alone": (["000000000007.jpg", "p/12.png"], [7, 12], "by number: '000000000007.jpg' as 7"),
    "digits of the file": ([7, "12"], {"one": "p/007.jpg", "two": "p/0012.jpg"}, "2 ids matched by number: 7 as 'one'"),
    "each by its own rule": (["7", "COCO_val2014_000000000012"], FILES, "1 ids matched by file name"),
}


def test_a_prediction_finds_its_reference(subtests: pytest.Subtests) -> None:
    for what in MATCHES:
        with subtests.test(what=what):
            ids, references, note = MATCHES[what]
            assert pairs(ids, references) == dict(zip(references, ids, strict=True))
            files = references if isinstance(references, dict) else {}
            found = match(predictions_of(*ids), dict.fromkeys(references, ""), place="p.json", files=files)
            assert note in " ".join(found.notes)
            assert bool(found.notes) == bool(note)
            assert sum(found.rules.values()) == 2


APART: dict[str, tuple[list[Id], dict[Id, str] | list[Id]]] = {
    "a number within a name": (["cat7.jpg"], [7]),
    "a number that is no stem": (["7.5"], [7]),
    "eleven digits": (["COCO_val2014_00000000007"], [7]),
    "a number behind a minus": ([-7], [7]),
    "digits of other scripts": (["٧"], [7]),
    "another name": (["photos/a.jpg"], {1: "photos/b.jpg"}),
    "a name in another case": (["A.jpg"], {1: "a.jpg"}),
}


def test_what_is_not_the_same_stays_apart_and_an_id_of_each_side_is_reported(subtests: pytest.Subtests) -> None:
    for what in APART:
        with subtests.test(what=what):
            ids, references = APART[what]
            with pytest.raises(UserError, match="none of its 1 image ids matches the references") as refusal:
                pairs(ids, references)
            for side in (ids, [*references]):
                assert repr(side[0]) in str(refusal.value)


TWICE: dict[str, tuple[list[Id], dict[Id, str], str]] = {
    "two files of one name": (
        ["1.jpg"],
        {1: "a/1.jpg", 2: "b/1.jpg"},
        "'1.jpg' matches 2 of the references by its file",
    ),
    "two files of one stem": (
        ["a"],
        {1: "a.jpg", 2: "a.png"},
        "'a' matches 2 of the references by its file name: 1, 2",
    ),
    "two numbers": ([7], {"a": "07.jpg", "b": "007.jpg"}, "7 matches 2 of the references by its number: 'a', 'b'"),
    "two predictions of one name": (["a/1.jpg", "b/1.jpg"], {5: "1.jpg"}, "'a/1.jpg' and 'b/1.jpg' both match 5"),
    "an id and a name": (
        [5, "1.jpg"],
        {5: "1.jpg"},
        "5 and '1.jpg' both match 5 of the references, '1.jpg' by its file",
    ),
    "a name and a number": (["a.jpg", "0005"], {5: "a.jpg"}, "'a.jpg' and '0005' both match 5 of the references"),
}


def test_what_matches_twice_is_refused_whatever_may_be_missing(subtests: pytest.Subtests) -> None:
    for what in TWICE:
        with subtests.test(what=what):
            ids, files, printed = TWICE[what]
            for missing in ("error", "skip", "empty"):
                with pytest.raises(UserError) as refusal:
                    match(predictions_of(*ids), files, missing, "p.json", files=files)  # type: ignore[arg-type]
                assert printed in str(refusal.value)


def test_questions_are_no_files() -> None:
    """An id of a question that looks like a path is no name of a file; its number counts."""
    with pytest.raises(UserError, match="question ids"):
        match(predictions_of("x/q1.jpg"), {"q1.jpg": ""}, by="id")
    assert [*match(predictions_of("000012"), {12: ""}, by="id").predictions] == [12]


def test_many_files_of_one_name_are_matched_in_linear_time() -> None:
    files: dict[Id, str] = {number: f"folders/{number}/image.jpg" for number in range(30_000)}
    found = match(predictions_of(*(f"elsewhere/{number}/image.jpg" for number in files)), files, files=files)
    assert all(each.image_id == f"elsewhere/{id}/image.jpg" for id, each in found.predictions.items())


# What `vlrnn caption --out` writes, and forms of others, on the command line.

CAPTIONS = {"photos/a.jpg": "a man on a horse", "photos/b.jpg": '=two dogs, "playing"', "-c.jpg": "a bus"}
REFERENCES = {1: ["A man rides a horse."], 2: ["Two dogs play."], 3: ["A red bus."]}
NAMES = dict(zip(REFERENCES, ("a.jpg", "b.jpg", "-c.jpg"), strict=True))


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    path = tmp_path / "captions_val.json"
    annotations = [{"image_id": id, "caption": text} for id, texts in REFERENCES.items() for text in texts]
    images = [{"id": id, "file_name": name} for id, name in NAMES.items()]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def dump(path: Path, value: Any) -> Path:
    lines = [json.dumps(each) for each in value] if path.suffix == ".jsonl" else [json.dumps(value)]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def table(path: Path, delimiter: str) -> Path:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        rows = csv.writer(file, delimiter=delimiter)
        rows.writerow(["Image_ID", "Caption", "note"])
        rows.writerows([id, text, "x"] for id, text in by_number().items())
    return path


def by_number() -> dict[int, str]:
    return dict(zip(NAMES, CAPTIONS.values(), strict=True))


def records() -> list[Prediction]:
    alternatives = ({"text": "another", "score": -2.0}, {"text": "a third", "score": -3.0})
    return [
        Prediction(id, id, text, ("a",), (-1.0, -2.0), -1.5, alternatives, {"num_beams": 3})
        for id, text in CAPTIONS.items()
    ]


def our_own(path: Path) -> Path:
    with PredictionFile(path, resume=False, overwrite=True) as file:
        keys = [(str(each.id), 0) for each in records()]
        file.begin({}, keys)
        for key, each in zip(keys, records(), strict=True):
            file.add(key, each)
        file.finish(keys)
    return path


FORMS: dict[str, Callable[[Path], Path]] = {
    "our .json": lambda folder: our_own(folder / "mine.json"),
    "our .csv": lambda folder: our_own(folder / "mine.csv"),
    "our .jsonl": lambda folder: our_own(folder / "mine.jsonl"),
    "lines": lambda folder: dump(
        folder / "p.jsonl", [{"image_id": id, "caption": text} for id, text in by_number().items()]
    ),
    "lines under another name": lambda folder: dump(
        folder / "p.jsonl", [{"image_id": id, "caption": text} for id, text in by_number().items()]
    ).rename(folder / "p.json"),
    "pycocoevalcap's objects": lambda folder: dump(
        folder / "p.json", {str(id): [{"caption": text}] for id, text in by_number().items()}
    ),
    "pycocoevalcap's texts": lambda folder: dump(
        folder / "p.json", {str(id): [text] for id, text in by_number().items()}
    ),
    "semicolons": lambda folder: table(folder / "p.csv", ";"),
    "tabs": lambda folder: table(folder / "p.tsv", "\t"),
}


def test_captions_of_every_form_are_scored(
    subtests: pytest.Subtests, coco: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for form in FORMS:
        with subtests.test(form=form):
            tmp_path = tmp_path_factory.mktemp("case")
            written, out = FORMS[form](tmp_path), tmp_path / "scores.json"
            options = ["--references", str(coco), "--predictions", str(written), "--no-java", "--out", str(out)]
            assert cli.main(["score", "captions", *options, "--per_image", str(tmp_path / "each.jsonl")]) == 0
            each = [json.loads(line) for line in (tmp_path / "each.jsonl").read_text().splitlines()]
            assert {line["image_id"]: line["caption"] for line in each} == by_number()
            found = json.loads(out.read_text())
            ours = form.startswith("our ")
            assert found["settings"]["matched_by"] == {"file name" if ours else "id": 3}
            assert ("mBLEU_4" in found["health"]) == ours
            assert (
                "3 ids matched by file name: 'photos/a.jpg' as 1, whose file is a.jpg" in " ".join(found["notes"])
            ) == ours


def test_a_dictionary_of_references(tmp_path: Path) -> None:
    for texts in (["A man.", "The man."], [{"caption": "A man."}, {"caption": "The man.", "id": 3}]):
        path = dump(tmp_path / "gts.json", {"1": texts, "b.jpg": texts})
        assert read_references(path) == {"1": ["A man.", "The man."], "b.jpg": ["A man.", "The man."]}


def test_vizwiz_captions_that_are_rejected_or_canned_are_left_out(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "VizWiz_val_00000001.jpg"}, {"id": 2, "file_name": "VizWiz_val_00000002.jpg"}]
    marks = [(1, "A can.", False, False), (1, "Spam.", True, False), (2, "A cup.", False, False)]
    marks.append((2, "Quality issues are too severe to recognize visual content.", False, True))
    annotations = [
        {
            "image_id": id,
            "caption": text,
            "is_rejected": rejected,
            "is_precanned": canned,
            "id": 1,
            "text_detected": True,
        }
        for id, text, rejected, canned in marks
    ]
    found = read_references(dump(tmp_path / "val.json", {"info": {}, "images": images, "annotations": annotations}))
    assert found == {1: ["A can."], 2: ["A cup."]}
    assert found.files[1] == "VizWiz_val_00000001.jpg"
    assert "2 captions that VizWiz marks as rejected or canned are left out" in found.notes[0]


def test_an_id_that_two_photographs_have_is_refused(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]
    path = dump(tmp_path / "c.json", {"images": images, "annotations": [{"image_id": 1, "caption": "x"}]})
    with pytest.raises(UserError, match=r"image id 1 occurs twice, for a\.jpg and b\.jpg"):
        read_references(path)


@pytest.mark.parametrize("kind", ["COCO", "prepared captions", "VQA", "prepared questions"])
def test_a_number_and_the_same_as_text_are_one_id(kind: str, tmp_path: Path) -> None:
    """Results have either, so that nobody could tell which of the two is meant."""
    ids: list[Any] = [1, 2, "1"]
    record = {"image": "a.png", "question": "Is it?", "answers": ["yes"]}
    annotations = [{"image_id": id, "question_id": id, "caption": "x", "answers": TEN} for id in ids]
    coco = {"images": [{"id": id, "file_name": f"{id!r}.png"} for id in ids], "annotations": annotations}
    if kind.startswith("prepared"):
        path = tmp_path / "r.jsonl"
        records = [{"id": id, "image_id": id, "image": f"{id!r}.png"} for id in ids]
        more: dict[str, Any] = {"captions": ["x"]} if "captions" in kind else record
        path.write_text("".join(json.dumps({**each, **more}) + "\n" for each in records))
    else:
        path = dump(tmp_path / "r.json", coco if kind == "COCO" else {"annotations": annotations})
    read: Any = read_questions if kind in ("VQA", "prepared questions") else read_references
    with pytest.raises(UserError, match="'1' stands beside 1, which is the same id"):
        read(path)


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_single_result_is_a_file_of_one(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"p{suffix}"
    path.write_text('{"image_id": 1, "caption": "x"}')
    assert [(each.id, each.text) for each in read_predictions(path)] == [(1, "x")]


TEN = [{"answer": "yes", "answer_confidence": "yes"}] * 7 + [{"answer": "no", "answer_confidence": "maybe"}] * 3
VQA: dict[str, tuple[Any, Any]] = {
    "VizWiz": (
        [{"image": "v_1.jpg", "question": "Is it?", "answers": TEN, "answer_type": "yes/no", "answerable": 1}],
        [{"image": "v_1.jpg", "answer": "yes"}],
    ),
    "TextVQA": (
        {
            "dataset_type": "val",
            "dataset_name": "textvqa",
            "data": [
                {
                    "question_id": 34602,
                    "image_id": "003a8ae2ef43b901",
                    "question": "Is it?",
                    "question_tokens": ["is", "it"],
                    "image_classes": ["Car"],
                    "answers": ["yes"] * 7 + ["no"] * 3,
                }
            ],
        },
        [{"question_id": 34602, "answer": "yes"}],
    ),
    "GQA": (
        {
            "201307251": {
                "question": "Is it?",
                "imageId": "2354786",
                "answer": "yes",
                "fullAnswer": "Yes, it is.",
                "isBalanced": True,
                "types": {"structural": "verify", "semantic": "attr", "detailed": "verifyAttr"},
                "semantic": [{"operation": "select", "argument": "sky (2486325)", "dependencies": []}],
                "annotations": {"answer": {}, "question": {"2": "2486325"}, "fullAnswer": {}},
            }
        },
        [{"questionId": "201307251", "prediction": "yes"}],
    ),
    "lines": (
        [{"question_id": 1, "image_id": 2, "question": "Is it?", "answers": TEN}],
        {"1": "yes"},
    ),
}


def test_references_and_results_of_other_data_sets(
    subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory
) -> None:
    for name, suffix in product(VQA, [".json", ".jsonl"]):
        with subtests.test(name=name, suffix=suffix):
            tmp_path = tmp_path_factory.mktemp("case")
            references, results = VQA[name]
            if suffix == ".jsonl" and isinstance(results, dict):
                results = [{"question_id": id, "answer": answer} for id, answer in results.items()]
            questions, answered = dump(tmp_path / "asked.json", references), dump(tmp_path / f"said{suffix}", results)
            out = tmp_path / "scores.json"
            options = [
                "--references",
                str(questions),
                "--predictions",
                str(answered),
                "--out",
                str(out),
                "--resamples",
                "9",
            ]
            assert cli.main(["score", "vqa", *options]) == 0
            assert json.loads(out.read_text())["scores"]["overall"]["value"] == 100
            (example,) = read_questions(questions).values()
            assert example.question == "Is it?"
            assert example.answers == (("yes",) if name == "GQA" else ("yes",) * 7 + ("no",) * 3)
            assert example.question_type == ("verify" if name == "GQA" else None)


def test_texts_called_text_are_answers_too(tmp_path: Path) -> None:
    path = dump(tmp_path / "a.jsonl", [{"question_id": 3, "text": "red", "prompt": "What colour?"}])
    assert [(each.id, each.text) for each in read_answers(path)] == [(3, "red")]


def test_a_table_of_ranks(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("image,rank,caption,score\na,1,one,-1\na,2,two,-2\nb,1,three,-1\n")
    first, second = read_predictions(path)
    assert (first.text, first.score, first.alternatives) == ("one", -1, ({"text": "two", "score": -2},))
    assert (second.image_id, second.text, second.alternatives) == ("b", "three", ())


# Probes go by the same rules.

OBJECTS = {1: ["dog", "horse"], 2: ["dog"], 3: ["bus"]}
PROBES: dict[str, Callable[[Path, Path], list[Any]]] = {
    "chair": lambda folder, coco: ["--objects", instances(folder / "instances.json")],
    "chair of prepared data": lambda folder, coco: ["--objects", prepared(folder / "val.jsonl")],
    "chair by the references' files": lambda folder, coco: [
        *("--objects", dump(folder / "objects.json", {str(id): names for id, names in OBJECTS.items()})),
        *("--references", coco),
    ],
    "pope": lambda folder, coco: ["--questions", poll(folder / "poll.jsonl")],
    "gender": lambda folder, coco: [
        *("--women", lines(folder / "women.txt", [1])),
        *("--men", lines(folder / "men.txt", [2, 3])),
        *("--references", coco),
    ],
}


def instances(path: Path) -> Path:
    names = sorted({name for each in OBJECTS.values() for name in each})
    annotations = [{"image_id": id, "category_id": names.index(name)} for id, each in OBJECTS.items() for name in each]
    images = [{"id": id, "file_name": name} for id, name in NAMES.items()]
    categories = [{"id": place, "name": name} for place, name in enumerate(names)]
    return dump(path, {"images": images, "annotations": annotations, "categories": categories})


def prepared(path: Path) -> Path:
    return dump(
        path,
        [
            {
                "id": id,
                "image_id": id,
                "image": f"images/{NAMES[id]}",
                "captions": REFERENCES[id],
                "objects": OBJECTS[id],
            }
            for id in REFERENCES
        ],
    )


def poll(path: Path) -> Path:
    return dump(
        path,
        [
            {
                "question_id": id,
                "image_id": id,
                "image": NAMES[id],
                "text": "Is there a dog in the image?",
                "label": "no",
            }
            for id in NAMES
        ],
    )


def lines(path: Path, ids: list[int]) -> Path:
    path.write_text("\n".join(map(str, ids)) + "\n")
    return path


@pytest.mark.parametrize("what", list(PROBES))
def test_probes_find_the_references_of_captioned_files(what: str, coco: Path, tmp_path: Path) -> None:
    by_file, by_id, out = our_own(tmp_path / "mine.csv"), FORMS["lines"](tmp_path), tmp_path / "found.json"
    found = []
    for predictions in (by_file, by_id):
        options = [*PROBES[what](tmp_path, coco), "--predictions", predictions, "--out", out, "--resamples", 9]
        assert cli.main(["probe", what.split()[0], *map(str, options)]) == 0
        found.append(json.loads(out.read_text()))
    assert found[0]["scores"] == found[1]["scores"]
    assert found[0]["baselines"] == found[1]["baselines"]
    assert "3 ids matched by file name: 'photos/a.jpg' as 1" in " ".join(found[0]["notes"])
