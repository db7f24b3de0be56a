"""Words or characters: what captions, questions and answers are cut into, all the way from the data to the scores."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import picture
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.cli import main
from vlrnn.config import from_config, to_config
from vlrnn.data.records import Example, write_dataset
from vlrnn.errors import UserError
from vlrnn.inference.predictor import Predictor
from vlrnn.metrics.captions import CaptionScorer
from vlrnn.text.tokenizers import CAPTION_TOKENIZERS, caption_tokenizer
from vlrnn.text.vocabulary import Vocabulary
from vlrnn.text.vqa_normalization import answer_to_tokens, canonical_answer, tokens_to_answer

CHARACTERS = CAPTION_TOKENIZERS["characters"]
SAYINGS = ("一个红色的方块在左边。", "左边有一个红色方块", "右边有一个绿色方块。", "一个绿色的方块在右边")


@pytest.mark.parametrize("tokenizer", CAPTION_TOKENIZERS.values(), ids=lambda each: each.name)
@given(text=st.text("ab Té一个ไทย ,.。\n", max_size=20))
def test_a_text_of_tokens_gives_them_again(tokenizer: Any, text: str) -> None:
    tokens = tokenizer.tokenize(text)
    assert tokenizer.tokenize(tokenizer.detokenize(tokens)) == tokens


@given(text=st.text("ab 一个红,.。", max_size=12))
def test_answers_are_spelled_in_characters_and_read_again(text: str) -> None:
    answer = canonical_answer(text)
    assert tokens_to_answer(answer_to_tokens(answer, CHARACTERS), CHARACTERS) == answer


def test_characters() -> None:
    assert CHARACTERS.tokenize(" 一只  狗\n。") == ["一", "只", " ", "狗", " ", "。"]
    assert CHARACTERS.tokenize("e\u0301") == ["é"]
    assert CHARACTERS.detokenize(["一", "只", "狗"]) == "一只狗"
    assert CHARACTERS.tokens_for_scores(["一只 T恤,好。", "。", "A\u200bb"]) == [
        ["一", "只", "t", "恤", "好"],
        [],
        ["a", "b"],
    ]


def test_the_vocabulary_carries_its_tokenizer(tmp_path: Path) -> None:
    vocabulary = Vocabulary.of({"一": 2, "只": 1}, tokenizer="characters")
    vocabulary.save(tmp_path / "v.json")
    for other in (Vocabulary.load(tmp_path / "v.json"), from_config(to_config(vocabulary), Vocabulary, "here")):
        assert other.tokenizer is CHARACTERS
        assert other.encode_text("一只狗") == [4, 5, 3]
    assert Vocabulary(["a"]).tokenizer is caption_tokenizer("words")
    with pytest.raises(UserError, match="none of words, characters"):
        Vocabulary(["a"], "letters")


def test_scores_of_characters() -> None:
    """A caption that only says the full stop has none of the words, and one that shares half of them has some."""
    references = {1: ["一只狗在跑。"], 2: ["两个男人骑马。"]}
    scorer = CaptionScorer(references, tokenizer=CHARACTERS)
    same = scorer.score({1: "一只狗在跑", 2: "两个男人骑马"})
    assert same.corpus["Bleu_4"] == pytest.approx(1)
    assert same.settings["tokenizer"] == CHARACTERS.description
    assert scorer.score({1: "。", 2: "。"}).corpus["Bleu_1"] == pytest.approx(0, abs=1e-6)
    assert scorer.score({1: "一只狗", 2: "两个男人骑马"}).per_image["ROUGE_L"][0] < 1


@pytest.fixture
def sayings(tmp_path: Path) -> Callable[..., Path]:
    """Writes a data set of four pictures with captions, or questions, in Chinese."""

    def make(has_questions: bool = False) -> Path:
        folder = tmp_path / "sayings"
        examples = []
        for colour, place in (("red", "left"), ("green", "right")):
            (folder / "images").mkdir(parents=True, exist_ok=True)
            for number in range(2):
                name = f"images/{colour}{number}.png"
                picture(colour, place).save(folder / name)
                captions = SAYINGS[:2] if colour == "red" else SAYINGS[2:]
                answer = "红色" if colour == "red" else "绿色"
                fields: dict[str, Any] = {"question": "这个方块是什么颜色的？", "answers": (answer,)}
                examples.append(Example(name, name, name, **(fields if has_questions else {"captions": captions})))
        splits = {
            split: [
                Example(**{**vars(each), **dict.fromkeys(("id", "image_id", "image"), each.image)}) for each in part
            ]
            for split, part in (("train", examples[::2]), ("val", examples[1::2]))
        }
        write_dataset(folder, splits, name="sayings", source="made by the tests", licence="CC0")
        return folder

    return make


DECODER = {
    "class_path": "vlrnn.nn.ShowAndTell",
    "init_args": {"recurrence": {"class_path": "vlrnn.nn.LSTM", "init_args": {"hidden_size": 16}}, "embedding_dim": 8},
}


def recipe(folder: Path, data: Path, model: dict[str, Any], **more: Any) -> Path:
    value = {
        "model": model,
        "data": {"root": str(data), "batch_size": 4, **more},
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "default_root_dir": str(folder / "run"),
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def captioner() -> dict[str, Any]:
    parts = {"encoder": {"class_path": "vlrnn.nn.BlindEncoder"}, "decoder": DECODER}
    parts["generation"] = {"max_new_tokens": 6, "min_new_tokens": 3}
    return {"class_path": "vlrnn.tasks.Captioner", "init_args": parts}


def test_captions_of_characters(
    sayings: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained, scored and said in characters; scored again from the files, the same."""
    data = sayings()
    path = recipe(tmp_path, data, captioner(), tokenizer="characters")
    assert main(["fit", "--config", str(path)]) == 0
    letters = sorted({letter for caption in SAYINGS for letter in caption})
    printed = capsys.readouterr().err
    assert f"vocabulary: {len(letters)} characters, 100.0 % of running characters\n" in printed
    assert "without spaces" not in printed
    assert main(["validate", "--config", str(path)]) == 0
    run = tmp_path / "run"
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["settings"]["tokenizer"] == CHARACTERS.description

    predictor = Predictor.load(run / "checkpoints/best.ckpt", "cpu")
    assert predictor.tokenizer is CHARACTERS
    prediction = predictor.caption(data / "images/red0.png")
    assert set(map(len, prediction.tokens)) == {1}
    assert prediction.text == "".join(prediction.tokens)

    files = ["--references", str(data / "val.jsonl"), "--predictions", str(run / "predictions.jsonl")]
    scores = ["score", "captions", *files, "--out", str(tmp_path / "scores.json"), "--no-java", "--resamples", "1000"]
    assert main([*scores, "--tokenizer", "characters"]) == 0
    again = json.loads((tmp_path / "scores.json").read_text())
    assert again["scores"] == metrics["scores"]
    assert again["notes"] == []
    assert main(scores) == 0
    (note,) = json.loads((tmp_path / "scores.json").read_text())["notes"]
    assert "4 of 4 references are written without spaces" in note
    assert "--tokenizer characters" in note


def test_words_of_such_captions_are_warned_of(
    sayings: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = recipe(tmp_path, sayings(), captioner())
    assert main(["fit", "--config", str(path), "--trainer.fast_dev_run", "true"]) == 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "without spaces" in line]
    assert "4 of 4 captions or questions" in line
    assert "data.tokenizer" in line


@pytest.mark.parametrize("head", ["generative", "classifier"])
def test_questions_of_characters(
    head: str, sayings: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = sayings(has_questions=True)
    recurrence = {"class_path": "vlrnn.nn.GRU", "init_args": {"hidden_size": 8}}
    parts: dict[str, Any] = {
        "encoder": {"class_path": "vlrnn.nn.BlindEncoder"},
        "question_encoder": {
            "class_path": "vlrnn.nn.RecurrentQuestionEncoder",
            "init_args": {"recurrence": recurrence, "embedding_dim": 8},
        },
        "image_pooling": {"class_path": "vlrnn.nn.MeanPool"},
        "fusion": {"class_path": "vlrnn.nn.Concatenation", "init_args": {"output_dim": 8}},
    }
    name = "classifier_vqa.ClassifierVQA"
    if head == "generative":
        name = "generative_vqa.GenerativeVQA"
        parts["decoder"] = DECODER
        parts["answer_decoding"] = {"class_path": "vlrnn.generation.ConstrainedAnswers"}
    model = {"class_path": f"vlrnn.tasks.{name}", "init_args": parts}
    path = recipe(tmp_path, data, model, tokenizer="characters")
    assert main(["fit", "--config", str(path)]) == 0
    capsys.readouterr()
    predictor = Predictor.load(tmp_path / "run/checkpoints/best.ckpt", "cpu")
    prediction = predictor.answer(data / "images/red0.png", "这个方块是什么颜色的？")
    assert prediction.text in ("红色", "绿色")
    assert predictor.unknown_words("这只狗？") == ["只", "狗"]
    if head == "generative":
        assert prediction.tokens == tuple(prediction.text)
