"""What is learnt of the texts of a training split, and what is told of it: the vocabulary, captions that are cut, those
of no word; and hand-written splits whose ids are wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_datamodule import attached

from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.text.vocabulary import BOS, EOS, PAD

COMMON = "a man rides a brown horse on the beach"


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes a data set by hand: train and val of captions, one an image."""

    def write(train: list[str], val: list[str] | None = None) -> Path:
        (tmp_path / "dataset.json").write_text(json.dumps({"name": "by hand"}))
        for split, captions in (("train", train), ("val", val or ["a dog", "a cat"])):
            lines = [
                {"id": f"{split}{number}", "image_id": f"{split}{number}", "image": "a.png", "captions": [caption]}
                for number, caption in enumerate(captions)
            ]
            (tmp_path / f"{split}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
        return tmp_path

    return write


def lines(data: VisionLanguageData, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What is told ahead of training."""
    capsys.readouterr()
    attached(data, BlindEncoder())  # type: ignore[arg-type]
    return capsys.readouterr().err.splitlines()


VOCABULARIES = [
    # 24 photographs, as somebody's first try: 8 words by 4 times each, and others that stand there once.
    (
        [f"{COMMON} rare{number} odd{number}" for number in range(24)],
        {"min_count": 4},
        "vocabulary: 8 words, 81.8 % of running words; those that occur less than 4 times are unknown: "
        "lower data.min_count",
    ),
    (
        [f"{COMMON} rare{number} odd{number}" for number in range(24)],
        {},
        "vocabulary: 56 words, 100.0 % of running words",
    ),
    ([COMMON] * 4, {"min_count": 1}, "vocabulary: 8 words, 100.0 % of running words"),
    (
        [COMMON] * 4,
        {"min_count": 2},
        "vocabulary: 8 words, 100.0 % of running words; those that occur less than 2 times are unknown: "
        "lower data.min_count",
    ),
    (
        [" ".join(f"w{number}" for number in range(25)), "once"] * 1 + [" ".join(f"w{n}" for n in range(25))],
        {"min_count": 2},
        "vocabulary: 25 words, 98.0 % of running words",
    ),
]


def test_the_vocabulary_is_reported(
    subtests: pytest.Subtests, written: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for captions, settings, message in VOCABULARIES:
        with subtests.test(captions=captions, settings=settings, message=message):
            assert lines(VisionLanguageData(str(written(captions)), **settings), capsys) == [message]


def test_min_count_rises_with_the_data(subtests: pytest.Subtests, written: Callable[..., Path]) -> None:
    """Words that stand there 1, 2, ... times."""
    for captions, least in [(24, 1), (1999, 1), (2000, 2), (8000, 5), (20_000, 5)]:
        with subtests.test(captions=captions, least=least):
            texts = [" ".join(f"w{count}" for count in range(1, 7) if count > number) for number in range(6)]
            data = VisionLanguageData(str(written(texts + [COMMON] * (captions - 6))))
            frequent = {count for count in range(1, 7) if f"w{count}" in data.vocabulary}
            assert frequent == set(range(least, 7))


@pytest.mark.parametrize(
    ("captions", "settings", "message"),
    [
        ([COMMON], {"min_count": 3}, "no words to learn: none occurs 3 times; lower data.min_count"),
        (["...", "nan"], {}, "no words to learn: it holds no text with a word"),
    ],
)
def test_no_word_is_refused(
    captions: list[str], settings: dict[str, int], message: str, written: Callable[..., Path]
) -> None:
    with pytest.raises(UserError, match=rf"train\.jsonl: {message}"):
        _ = VisionLanguageData(str(written(captions)), **settings).vocabulary


def test_no_end_is_a_target_after_a_cut(
    subtests: pytest.Subtests, written: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for words, ends in [(3, True), (4, True), (5, False), (9, False)]:
        with subtests.test(words=words, ends=ends):
            data = VisionLanguageData(str(written([" ".join("abcdefghi"[:words]), "b c"])), max_length=4)
            printed = lines(data, capsys)[1:]
            ids = data.encode_caption(" ".join("abcdefghi"[:words]))
            assert ids[0] == BOS
            assert ids[1:] == data.vocabulary.encode("abcd"[:words]) + [EOS] * ends
            line = (
                "1 of 2 captions are longer than 4 words and are cut there, without an end token: "
                "raise data.max_length to avoid this"
            )
            assert printed == ([] if ends else [line])


def test_long_questions_are_read_no_further_in_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As others are asked they are read whole."""
    (tmp_path / "dataset.json").write_text(json.dumps({"name": "by hand"}))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    record = {"image": "a.png", "image_id": "a", "answers": ["yes"]}
    for split in ("train", "val"):
        questions = [{"id": split + text, "question": text, **record} for text in ("a b c d", "a b c d e f g h i")]
        (tmp_path / f"{split}.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in questions))
    data = VisionLanguageData(str(tmp_path), max_question_length=4)
    printed = lines(data, capsys)[1:]
    assert printed == [
        "1 of 2 questions are longer than 4 words and are cut there: raise data.max_question_length to avoid this"
    ]
    words = data.vocabulary.encode("abcdefghi")
    (train,), (val,) = data.train_dataloader(), data.val_dataloader()
    assert train.tokens.tolist() == [words[:4]] * 2
    assert val.tokens.tolist() == [words[:4] + [PAD] * 5, words]
    assert lines(VisionLanguageData(str(tmp_path)), capsys)[1:] == []


def test_long_answers_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each annotator's; what of them is learnt stands in tests/test_vqa_tasks.py."""
    (tmp_path / "dataset.json").write_text(json.dumps({"name": "by hand"}))
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    record = {"image": "a.png", "image_id": "a", "question": "what is it", "answers": ["yes yes yes"] * 2 + ["no no"]}
    for split in ("train", "val"):
        (tmp_path / f"{split}.jsonl").write_text(json.dumps({"id": split, **record}))
    for longest, message in (
        (1, "3 of 3 answers are longer than 1 "),
        (2, "2 of 3 answers are longer than 2 "),
        (3, ""),
    ):
        line = f"{message}words, and are cut there: raise data.max_answer_length to avoid this"
        data = VisionLanguageData(str(tmp_path), max_answer_length=longest)
        assert lines(data, capsys)[1:] == ([line] if message else [])


def test_nothing_is_learned_of_a_caption_of_no_word(
    subtests: pytest.Subtests, written: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for nothing in ["...", "nan", "", " ", "\N{GRINNING FACE}"]:
        with subtests.test(nothing=nothing):
            data = VisionLanguageData(str(written(["a dog", nothing])))
            assert lines(data, capsys)[1:] == ["1 of 2 captions have no word, and are not trained on"]
            assert data.encode_caption(nothing) == [BOS, PAD]
            assert "nan" not in data.vocabulary


WRONG: dict[str, tuple[Callable[[list[Any]], list[Any]], str]] = {
    "nothing": (lambda lines: [], "no words to learn: it holds no text with a word|scores need two images"),
    "twice": (lambda lines: [lines[0], lines[0]], "occurs twice in .*jsonl"),
    "text and number": (lambda lines: [{**lines[0], "id": 1}, {**lines[1], "id": "1"}], "is the same id, in .*jsonl"),
    "null": (lambda lines: [lines[0], {**lines[1], "id": None}], "jsonl:2: 'id' must be a whole number or text"),
    "no image": (lambda lines: [lines[0], {**lines[1], "image_id": None}], "jsonl:2: 'image_id' must be"),
    "key twice": (
        lambda lines: [json.dumps(lines[0])[:-1] + ', "id": 2}', lines[1]],
        "jsonl:1: the key 'id' occurs twice",
    ),
}


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("fault", WRONG)
def test_hand_written_splits(fault: str, split: str, written: Callable[..., Path]) -> None:
    """Found ahead of training, in train and in val."""
    folder = written(["a dog", "a cat"])
    change, printed = WRONG[fault]
    path = folder / f"{split}.jsonl"
    changed = change([json.loads(line) for line in path.read_text().splitlines()])
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in changed))

    def begin() -> None:
        """As the command line does."""
        data = VisionLanguageData(str(folder))
        assert not data.has_questions
        assert data.vocabulary
        attached(data, BlindEncoder())  # type: ignore[arg-type]

    with pytest.raises(UserError, match=printed) as refused:
        begin()
    assert "\n" not in str(refused.value)
