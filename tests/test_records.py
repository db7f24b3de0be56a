"""The record format: what is read, what is refused and where, and what a file of records keeps in memory."""

import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.data.records import (
    Example,
    Prediction,
    RecordFile,
    describe_dataset,
    open_split,
    parse_record,
    to_line,
    write_dataset,
    write_records,
)
from vlrnn.errors import UserError

text = st.text(max_size=12)
ids = st.one_of(st.integers(-5, 2**40), st.text(min_size=1, max_size=8))
examples = st.builds(
    Example,
    id=ids,
    image_id=ids,
    image=text,
    captions=st.lists(text, max_size=3).map(tuple),
    question=st.none() | st.text(min_size=1, max_size=9),
    answers=st.lists(text, max_size=3).map(tuple),
    objects=st.none() | st.lists(text, min_size=1, max_size=3).map(tuple),
    attributes=st.none() | st.dictionaries(text, st.integers(), min_size=1, max_size=2),
)
predictions = st.builds(
    Prediction,
    id=ids,
    image_id=ids,
    text=text,
    tokens=st.lists(text, max_size=3).map(tuple),
    log_probs=st.lists(st.floats(-20, 0), max_size=3).map(tuple),
    score=st.none() | st.floats(-9, 0),
    alternatives=st.lists(st.fixed_dictionaries({"text": text, "score": st.floats(-9, 0)}), max_size=2).map(tuple),
    settings=st.dictionaries(text, st.integers(), max_size=2),
)


@given(record=examples)
def test_example_round_trip(record: Example) -> None:
    line = to_line(record)
    assert "\n" not in line
    assert parse_record(Example, line, "here") == record


@given(record=predictions)
def test_prediction_round_trip(record: Prediction) -> None:
    assert parse_record(Prediction, to_line(record), "here") == record


def test_empty_is_not_missing() -> None:
    """A picture of no objects is not one whose objects nobody knows."""
    record = Example(1, 1, "a.png", objects=())
    assert parse_record(Example, to_line(record), "here") == record


GOOD: dict[str, Any] = {"id": 1, "image_id": "a", "image": "a.png"}


WRONG_FIELDS = [
    ({"id": None}, "'id'"),
    ({"id": True}, "'id'"),
    ({"id": 1.5}, "'id'"),
    ({"image": 3}, "'image'"),
    ({"captions": "one"}, "'captions'"),
    ({"captions": [1]}, "'captions'"),
    ({"captions": None}, "'captions'"),
    ({"answers": {"a": 1}}, "'answers'"),
    ({"objects": [None]}, "'objects'"),
    ({"question": 5}, "'question'"),
    ({"answer_type": ["x"]}, "'answer_type'"),
    ({"attributes": [1]}, "'attributes'"),
    ({"caption": "typo"}, "'caption'"),
]


def test_wrong_fields_are_refused(subtests: pytest.Subtests) -> None:
    for change, message in WRONG_FIELDS:
        with subtests.test(change=change, message=message):
            with pytest.raises(UserError) as fault:
                parse_record(Example, json.dumps({**GOOD, **change}), "a.jsonl:3")
            assert str(fault.value).startswith("a.jsonl:3: ")
            assert message in str(fault.value)


def test_missing_fields_are_refused(subtests: pytest.Subtests) -> None:
    for missing in GOOD:
        with subtests.test(missing=missing):
            line = json.dumps({key: value for key, value in GOOD.items() if key != missing})
            with pytest.raises(UserError, match=f"a.jsonl:3: .*'{missing}' is missing"):
                parse_record(Example, line, "a.jsonl:3")


WRONG_PREDICTIONS = [
    {"log_probs": 3},
    {"log_probs": ["a"]},
    {"alternatives": ["a"]},
    {"alternatives": 1},
    {"score": "x"},
    {"settings": []},
]


def test_wrong_predictions_are_refused(subtests: pytest.Subtests) -> None:
    for change in WRONG_PREDICTIONS:
        with subtests.test(change=change):
            line = json.dumps({"id": 1, "image_id": 1, "text": "a", **change})
            with pytest.raises(UserError, match=f"^p.jsonl:1: .*'{next(iter(change))}'"):
                parse_record(Prediction, line, "p.jsonl:1")


def test_no_object_is_refused(subtests: pytest.Subtests) -> None:
    for line in ["", "[]", "3", "null", "{", '"a"']:
        with subtests.test(line=line), pytest.raises(UserError, match=r"^a\.jsonl:1"):
            parse_record(Example, line, "a.jsonl:1")


# Files of records.


def some(count: int) -> list[Example]:
    return [Example(i, f"é{i}", f"{i}.png", ("a cat", "ein Käse")) for i in range(count)]


def test_record_file_is_a_sequence(tmp_path: Path) -> None:
    records = some(5)
    assert write_records(tmp_path / "a.jsonl", records) == 5
    file = RecordFile(tmp_path / "a.jsonl", Example)
    assert len(file) == 5
    assert list(file) == records
    assert file[3] == records[3]
    assert file[-1] == records[-1]
    assert file[1:3] == records[1:3]
    for beyond in (5, -6):
        with pytest.raises(IndexError):
            file[beyond]


def test_record_file_without_a_last_line_break(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes("\n".join(map(to_line, some(3))).encode())
    assert list(RecordFile(path, Example)) == some(3)
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(map(to_line, some(3))).encode())
    assert list(RecordFile(path, Example)) == some(3)


def test_record_file_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"")
    assert list(RecordFile(tmp_path / "a.jsonl", Example)) == []


def test_record_file_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [to_line(each).encode() for each in some(4)]
    path.write_bytes(b"\n".join([lines[0], b"{oops", lines[2], b"\xff"]))
    file = RecordFile(path, Example)
    assert file[0] == some(1)[0]
    for index in (1, 3):
        with pytest.raises(UserError, match=f"a.jsonl:{index + 1}: "):
            file[index]
    with pytest.raises(UserError, match="cannot be read"):
        RecordFile(tmp_path / "absent.jsonl", Example)


def test_record_file_holds_only_offsets(tmp_path: Path) -> None:
    """Memory does not grow with what the lines hold."""
    path = tmp_path / "a.jsonl"
    count, wide = 2000, "word " * 400
    write_records(path, (Example(i, i, "a.png", (wide,)) for i in range(count)))
    tracemalloc.start()
    file = RecordFile(path, Example)
    for index in range(0, count, 100):
        assert file[index].id == index
    remaining, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 4_000_000
    assert remaining < 100_000
    assert peak < 300_000


def test_record_file_travels_to_workers(tmp_path: Path) -> None:
    write_records(tmp_path / "a.jsonl", some(5))
    file = RecordFile(tmp_path / "a.jsonl", Example)
    assert file[1] == some(5)[1]  # it is open now
    again = pickle.loads(pickle.dumps(file))
    assert again[4] == file[4] == some(5)[4]


# Data sets.


def prepared(folder: Path, **splits: list[Example]) -> dict[str, Any]:
    return write_dataset(folder, splits, name="n", source="s", licence="l", extra=1)


def test_dataset_round_trip(tmp_path: Path) -> None:
    written = prepared(tmp_path, train=some(3), test=[Example(9, 9, "9.png")])
    assert written == describe_dataset(tmp_path)
    assert written["counts"] == {
        "train": {"examples": 3, "images": 3, "captions": 6},
        "test": {"examples": 1, "images": 1, "captions": 0},
    }
    assert written["extra"] == 1
    assert list(open_split(tmp_path, "train")) == some(3)
    with pytest.raises(UserError, match="no split 'val'; it has train, test"):
        open_split(tmp_path, "val")
    prepared(tmp_path, train=some(2))
    with pytest.raises(UserError, match="no split 'test'; it has train"):
        open_split(tmp_path, "test")


def test_an_image_in_two_splits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="image 'é0' is in two splits, train and val"):
        prepared(tmp_path, train=some(2), val=some(1))
    one, other = (Example(id, id, "same.jpg", captions=("a dog",)) for id in (1, 2))
    with pytest.raises(UserError, match=r"image 'same\.jpg' is in two splits, train and test"):
        prepared(tmp_path, train=[one], test=[other])
    assert not list(tmp_path.iterdir())


def test_an_id_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="id 0 occurs twice"):
        prepared(tmp_path, train=[*some(2), *some(1)])
    with pytest.raises(UserError, match="not 'dev'"):
        prepared(tmp_path, dev=some(1))


def test_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a prepared data set"):
        open_split(tmp_path, "train")
    with pytest.raises(UserError, match=r"dataset\.json"):
        describe_dataset(tmp_path)
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(UserError, match="JSON object"):
        describe_dataset(tmp_path)
