"""Files of odd forms: whatever stands in a file of references or predictions, scoring ends in scores or in one line
that names the file."""

import copy
import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from vlrnn.errors import UserError
from vlrnn.metrics.caption_evaluation import evaluate_captions
from vlrnn.metrics.vqa_evaluation import evaluate_answers

IDS = (1, 2, 3)
TEN = [{"answer": "yes", "answer_confidence": "maybe", "answer_id": 1}] * 9 + [{"answer": "no"}]

# Reader -> the suffix of its file, its value, and the entries in it that are made odd: their place, and the fields that
# it cannot do without.
Form = tuple[str, Any, Callable[[Any], Any], tuple[str, ...]]


def itself(value: Any) -> Any:
    return value


CAPTION_REFERENCES: dict[str, Form] = {
    "prepared": (
        ".jsonl",
        [{"id": id, "image_id": id, "image": f"{id}.jpg", "captions": ["A man.", "A dog."]} for id in IDS],
        itself,
        ("id", "image_id", "image"),
    ),
    "COCO": (
        ".json",
        {
            "images": [{"id": id, "file_name": f"{id}.jpg"} for id in IDS],
            "annotations": [{"image_id": id, "caption": "A man.", "is_rejected": False} for id in IDS],
        },
        lambda value: value["annotations"],
        ("image_id", "caption"),
    ),
    "images of COCO": (
        ".json",
        {
            "images": [{"id": id, "file_name": f"{id}.jpg"} for id in IDS],
            "annotations": [{"image_id": id, "caption": "A man."} for id in IDS],
        },
        lambda value: value["images"],
        (),
    ),
    "Karpathy": (
        ".json",
        {
            "images": [
                {"cocoid": id, "filename": f"{id}.jpg", "split": "test", "sentences": [{"raw": "A man."}]} for id in IDS
            ]
        },
        lambda value: value["images"],
        ("sentences",),
    ),
    "sentences of Karpathy": (
        ".json",
        {
            "images": [
                {"cocoid": id, "filename": f"{id}.jpg", "split": "test", "sentences": [{"raw": "A man."}]} for id in IDS
            ]
        },
        lambda value: value["images"][0]["sentences"],
        ("raw",),
    ),
    "dictionary": (".json", {str(id): [{"caption": "A man."}] for id in IDS}, lambda value: value["1"], ("caption",)),
}
CAPTION_PREDICTIONS: dict[str, Form] = {
    "records": (
        ".jsonl",
        [
            {"id": id, "image_id": id, "text": "A man.", "score": -1.0, "alternatives": [{"text": "A dog."}]}
            for id in IDS
        ],
        itself,
        ("id", "image_id", "text"),
    ),
    "list": (".json", [{"image_id": id, "caption": "A man."} for id in IDS], itself, ("image_id", "caption")),
    "lines": (".jsonl", [{"image_id": id, "caption": "A man."} for id in IDS], itself, ("image_id", "caption")),
    "dictionary": (".json", {str(id): [{"caption": "A man."}] for id in IDS}, lambda value: value["1"], ("caption",)),
}
ANSWER_REFERENCES: dict[str, Form] = {
    "prepared": (
        ".jsonl",
        [{"id": id, "image_id": id, "image": "1.jpg", "question": "Is it?", "answers": ["yes", "no"]} for id in IDS],
        itself,
        ("id", "image_id", "question", "answers"),
    ),
    "VQA": (
        ".json",
        {
            "annotations": [
                {"question_id": id, "image_id": 1, "answers": TEN, "answer_type": "yes/no", "question_type": "is"}
                for id in IDS
            ]
        },
        lambda value: value["annotations"],
        ("question_id", "answers"),
    ),
    "answers of VQA": (
        ".json",
        [{"question_id": id, "image_id": 1, "answers": copy.deepcopy(TEN)} for id in IDS],
        lambda value: value[0]["answers"],
        ("answer",),
    ),
    "VizWiz": (
        ".json",
        [{"image": str(id), "question": "Is it?", "answers": TEN, "answerable": 1} for id in IDS],
        itself,
        ("image", "answers"),
    ),
    "TextVQA": (
        ".json",
        {"data": [{"question_id": id, "image_id": "x", "question": "Is it?", "answers": ["yes", "no"]} for id in IDS]},
        lambda value: value["data"],
        ("question_id", "answers"),
    ),
    "GQA": (
        ".json",
        {str(id): {"question": "Is it?", "imageId": "7", "answer": "yes", "types": {"structural": "is"}} for id in IDS},
        itself,
        ("answer",),
    ),
}
ANSWER_PREDICTIONS: dict[str, Form] = {
    "records": (
        ".jsonl",
        [{"id": id, "image_id": id, "text": "yes", "score": 0.5} for id in IDS],
        itself,
        ("id", "image_id", "text"),
    ),
    "list": (".json", [{"question_id": id, "answer": "yes"} for id in IDS], itself, ("question_id", "answer")),
    "lines": (".jsonl", [{"question_id": id, "answer": "yes"} for id in IDS], itself, ("question_id", "answer")),
    "GQA": (
        ".json",
        [{"questionId": str(id), "prediction": "yes"} for id in IDS],
        itself,
        ("questionId", "prediction"),
    ),
    "VizWiz": (".json", [{"image": str(id), "answer": "yes"} for id in IDS], itself, ("image", "answer")),
}
READERS = {
    ("captions", "references"): CAPTION_REFERENCES,
    ("captions", "predictions"): CAPTION_PREDICTIONS,
    ("vqa", "references"): ANSWER_REFERENCES,
    ("vqa", "predictions"): ANSWER_PREDICTIONS,
}
CASES = [(*reader, form) for reader, forms in READERS.items() for form in forms]
TABLES = {
    "captions": "image,rank,caption,score\n1,1,a man,-1\n1,2,a dog,-2\n2,1,a man,-1\n3,1,a man,\n",
    "vqa": "question_id,answer\n1,yes\n2,yes\n3,yes\n",
}
OTHER: dict[tuple[str, str], tuple[str, str]] = {
    ("captions", "references"): CAPTION_REFERENCES["prepared"][:2],
    ("captions", "predictions"): CAPTION_PREDICTIONS["list"][:2],
    ("vqa", "references"): ANSWER_REFERENCES["prepared"][:2],
    ("vqa", "predictions"): ANSWER_PREDICTIONS["list"][:2],
}

ODD_VALUES = [None, True, 0, -3, 1.5, float("nan"), 10**30, "", " ", "x", "\x00", [], [None], [[]], ["x"], {}, {"x": 1}]
ODD_FILES = [b"", b" \n", b"null", b"[]", b"{}", b"3", b'"x"', b"[null]", b"[[]]", b"[1, 2]", b'{"images": 5}']
ODD_FILES += [
    b"\xff\xfe\x00x",
    b'{"a": "\xe9"}',
    b"[" * 50_000,
    b'[{"image_id": 1,',
    b'{"annotations": null}',
    b"\x00" * 9,
]
ODD_FILES += [b'{"1": null}', b'{"1": {}}', b'{"1": []}', b'{"": [""]}', b"[" + b"1" * 5000 + b"]", b'["\\ud800"]']


def dump(value: Any, suffix: str) -> bytes:
    lines = [json.dumps(each) for each in value] if suffix == ".jsonl" else [json.dumps(value)]
    return ("\n".join(lines) + "\n").encode()


def score(kind: str, side: str, odd: Path) -> str | None:
    """Score an odd file against a sound one; what is told where it is refused."""
    other_side = "predictions" if side == "references" else "references"
    suffix, value = OTHER[kind, other_side]
    other = odd.with_name(f"sound{suffix}")
    other.write_bytes(dump(value, suffix))
    files = {side: odd, other_side: other}
    try:
        if kind == "captions":
            split = "test" if odd.suffix == ".json" and side == "references" else None
            evaluate_captions(**files, split=split, java=False, resamples=2, missing="skip")
        else:
            evaluate_answers(**files, resamples=2, missing="skip")
    except UserError as refusal:
        return str(refusal)
    return None


def check(kind: str, side: str, odd: Path, content: bytes, what: object) -> str | None:
    odd.write_bytes(content)
    printed = score(kind, side, odd)
    if printed is not None:
        assert "\n" not in printed, what
        # Two lines are of both files: that no id is in both, and CIDEr's, that one image alone is.
        assert str(odd) in printed or "matches the references" in printed or "two images" in printed, (what, printed)
    return printed


def changed(value: Any, entries: Callable[[Any], Any]) -> Iterator[tuple[str, Any, Any]]:
    """Name of the field, odd value, and the whole with it in the second entry, or the first of one."""
    found = entries(value)
    key = list(found)[-1] if isinstance(found, dict) else len(found) - 1
    for odd in ODD_VALUES:
        whole = copy.deepcopy(value)
        entries(whole)[key] = odd
        yield "", odd, whole
    for name in found[key]:
        for odd in ODD_VALUES:
            whole = copy.deepcopy(value)
            entries(whole)[key][name] = odd
            yield name, odd, whole
        whole = copy.deepcopy(value)
        del entries(whole)[key][name]
        yield name, None, whole


def test_odd_entries_and_fields(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for kind, side, form in CASES:
        with subtests.test(kind=kind, side=side, form=form):
            tmp_path = tmp_path_factory.mktemp("case")
            suffix, value, entries, needed = READERS[kind, side][form]
            assert check(kind, side, tmp_path / f"odd{suffix}", dump(value, suffix), "nothing") is None
            for name, odd, whole in changed(value, entries):
                printed = check(kind, side, tmp_path / f"odd{suffix}", dump(whole, suffix), (name, odd))
                if name in needed and odd is None:
                    assert printed, f"{name}: null is taken"


def test_doubled_entries(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for kind, side, form in CASES:
        with subtests.test(kind=kind, side=side, form=form):
            tmp_path = tmp_path_factory.mktemp("case")
            suffix, value, entries, _ = READERS[kind, side][form]
            whole = copy.deepcopy(value)
            if isinstance(listed := entries(whole), list):
                listed.append(copy.deepcopy(listed[0]))
            else:
                whole = {**whole, "1 ": whole["1"]}
            printed = check(kind, side, tmp_path / f"odd{suffix}", dump(whole, suffix), "doubled")
            if kind == "vqa" and side == "references" and form not in ("answers of VQA", "GQA"):
                assert printed is not None
                assert "occurs twice" in printed


def test_odd_files(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for (kind, side), suffix in product(READERS, [".json", ".jsonl", ".csv"]):
        with subtests.test(kind=kind, side=side, suffix=suffix):
            tmp_path = tmp_path_factory.mktemp("case")
            for content in ODD_FILES:
                assert check(kind, side, tmp_path / f"odd{suffix}", content, content[:20]), content[:20]


TABLE_CHANGES: list[tuple[str, str, str | None]] = [
    (",", ";", None),
    ("\n", "\r\n", None),
    ("1,", '"1",', None),
    ("2,", "1,", None),
    ("a man", "a, man", "columns where the first line has"),
    ("a man", '"a man', "not CSV"),
    (",-1", ",one", "the score 'one' is no number"),
    ("1,1", "1,2", "has no rank 1 before it"),
    ("1,1", "1,", None),
    ("caption", "image", "occurs twice"),
    ("image", "picture", "'image_id' is missing"),
    ("question_id", "q", "'question_id' is missing"),
    ("answer", "a", "'answer' is missing"),
    ("caption", "what", "'caption' is missing"),
    ("yes", "", None),
    ("yes", "y" * 200_000, "field larger than field limit"),
    ("yes", "\x00", None),
]


@pytest.mark.parametrize("kind", list(TABLES))
def test_odd_tables(kind: str, tmp_path: Path) -> None:
    used = 0
    for old, new, expected in TABLE_CHANGES:
        if old not in TABLES[kind]:
            continue
        used += 1
        printed = check(
            kind, "predictions", tmp_path / "odd.csv", TABLES[kind].replace(old, new, 1).encode(), (old, new)
        )
        if expected is not None:
            assert printed is not None, (old, new)
            assert expected in printed, (old, new)
    assert used > 7
