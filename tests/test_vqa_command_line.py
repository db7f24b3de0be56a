"""Questions from the command line: fit, validate and test of both heads, for real on a few synthetic scenes."""

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from quick import quick
from test_resuming import fit, killed, same_run

from vlrnn.cli import main
from vlrnn.commands.prediction_file import PredictionFile
from vlrnn.data.batches import QuestionedImages
from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.records import Prediction, RecordFile, open_split, write_dataset, write_records
from vlrnn.data.split_index import SplitImages
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.errors import UserError
from vlrnn.tasks.vqa import VQATask
from vlrnn.training.checkpoint import load_task

RECIPE = """
model:
  class_path: vlrnn.tasks.ClassifierVQA
  init_args:
    encoder: {class_path: vlrnn.nn.BlindEncoder}
    question_encoder:
      class_path: vlrnn.nn.RecurrentQuestionEncoder
      init_args:
        recurrence: {class_path: vlrnn.nn.GRU, init_args: {hidden_size: 8}}
        embedding_dim: 8
    image_pooling: {class_path: vlrnn.nn.MeanPool}
    fusion: {class_path: vlrnn.nn.Concatenation, init_args: {output_dim: 8}}
data: {batch_size: 4, min_count: 1, max_answers: 12}
trainer: {accelerator: cpu, max_epochs: 1, enable_progress_bar: false, enable_model_summary: false}
"""
DECODER = {
    "class_path": "vlrnn.nn.ShowAndTell",
    "init_args": {"recurrence": {"class_path": "vlrnn.nn.LSTM", "init_args": {"hidden_size": 8}}, "embedding_dim": 8},
}


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, train=12, val=3, test=3, image_size=64, workers=1)
    return folder / "vqa"


def recipe_in(folder: Path, questions: Path, head: str) -> Path:
    recipe: dict[str, Any] = yaml.safe_load(RECIPE)
    if head == "generative":
        recipe["model"]["class_path"] = "vlrnn.tasks.GenerativeVQA"
        recipe["model"]["init_args"]["decoder"] = DECODER
        recipe["model"]["init_args"]["answer_decoding"] = {"class_path": "vlrnn.generation.ConstrainedAnswers"}
    recipe["data"]["root"] = str(questions)
    recipe["trainer"]["default_root_dir"] = str(folder / "run")
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.mark.parametrize("head", quick(["classifier", "generative"], "generative"))
def test_fit_and_test(questions: Path, tmp_path: Path, head: str, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, run = recipe_in(tmp_path, questions, head), tmp_path / "run"
    assert main(["fit", "--config", str(recipe), "--data.max_answer_length", "7"]) == 0
    pattern = r"12 answers; the highest accuracy with them is ([\d.]+) % on train, [\d.]+ % on val"
    printed = re.search(pattern, capsys.readouterr().err)
    assert printed is not None
    assert 0 < float(printed[1]) < 100
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["checkpoint"]["monitor"] == saved["early_stopping"]["monitor"] == "val/overall"
    for command, split in (("validate", "val"), ("test", "test")):
        assert main([command, "--config", str(recipe)]) == 0
        result = json.loads((run / "metrics.json").read_text())
        count = len(open_split(questions, split))
        assert result["scores"]["overall"].keys() == {"value", "low", "high", "n"}
        assert result["scores"]["overall"]["n"] == count
        assert 0 <= result["scores"]["overall"]["value"] <= 100
        assert result["scores"]["per_answer_type"].keys() == {"yes/no", "number", "other"}
        assert "color" in result["scores"]["per_question_type"]
        assert result["settings"]["split"] == split
        assert result["settings"].get("answering") == ("constrained" if head == "generative" else None)
        assert len(RecordFile(run / "predictions.jsonl", Prediction)) == count
    task = load_task(run / "checkpoints" / "best.ckpt", VQATask)
    assert len(task.answers) == 12
    assert task.arguments.get("max_answer_length") == (7 if head == "generative" else None)
    assert "color" in task.vocabulary
    check_answers(run / "checkpoints" / "best.ckpt", questions, capsys)
    report = tmp_path / "report.html"
    assert main(["report", str(run), "--out", str(report)]) == 0


DRAWN = {
    "classifier": ["--model.init_args.objective", "vlrnn.training.SampledCrossEntropy"],
    "generative": ["--model.init_args.sample_annotator", "true"],
}
"""Learning from an annotator's answer that is drawn anew each time."""


@pytest.mark.slow
@pytest.mark.parametrize("head", ["classifier", "generative"])
def test_a_killed_run_ends_as_if_it_had_not_been(questions: Path, tmp_path: Path, head: str) -> None:
    recipe_in(tmp_path, questions, head)
    shop: Any = SimpleNamespace(folder=tmp_path, run_folder=tmp_path / "run")
    for run in killed(shop, fit(shop, *DRAWN[head]), kills=4, seed=3):
        same_run(run, tmp_path / "whole")


def check_answers(checkpoint: Path, questions: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several questions on one image; as alone, in words and as JSON; a captioner's command is refused."""
    capsys.readouterr()
    image = str(questions.parent / "images" / "test-000001.png")
    texts = ["what color is the circle?", "Where is the xyzzy", "what color is the circle?"]
    assert main(["ask", image, *texts, "--checkpoint", str(checkpoint), "--json"]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [each["question"] for each in printed] == texts
    assert [each["unknown_words"] for each in printed] == [[], ["xyzzy"], []]
    assert (printed[0]["text"], printed[0]["score"]) == (printed[2]["text"], pytest.approx(printed[2]["score"]))
    assert 1 >= printed[0]["score"] >= printed[0]["alternatives"][0]["score"] > 0
    name = printed[0]["settings"]["score"]
    assert name in ("sigmoid", "sequence probability")
    assert main(["ask", image, texts[1], "--checkpoint", str(checkpoint)]) == 0
    printed_streams = capsys.readouterr()
    assert printed_streams.out.startswith(f"{texts[1]}: {printed[1]['text']}\n  {name}")
    assert ("need not add up to 100 %" in printed_streams.out) == (name == "sigmoid")
    assert "%" in printed_streams.out
    assert "words that are not in the vocabulary: xyzzy" in printed_streams.err
    for arguments, complaint in (
        (["ask", image, " ?!"], "a question without words"),
        (["ask", str(questions / "absent.png"), texts[0]], "absent.png"),
        (["caption", image], f"{checkpoint}: does not caption"),
    ):
        assert main([*arguments, "--checkpoint", str(checkpoint)]) == 2
        mistake = capsys.readouterr().err
        assert complaint in mistake
        assert mistake.count("\n") == 1


def test_questions_of_a_file(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """About many images; what cannot be answered is a line each; results are kept, and gone on from."""
    images = sorted((world.folder / "images").iterdir())[:2]
    rows = [(images[0], "what?"), (images[0], "?!"), ("absent.png", "what?"), (images[1], "where is it?")]
    table, lines = tmp_path / "questions.csv", tmp_path / "questions.txt"
    table.write_text(
        "\n".join(["question_id,image,question", *(f"q{n},{i},{text}" for n, (i, text) in enumerate(rows))])
    )
    command = ["ask", "--checkpoint", str(world.checkpoint("classifier")), "--json"]
    given = [*command, "--questions", str(table), "--out"]
    assert main([*given, str(tmp_path / "out.csv")]) == 2
    shown = capsys.readouterr()
    assert [json.loads(line)["id"] for line in shown.out.splitlines()] == ["q0", "q3"]
    wordless, absent = (line for line in shown.err.splitlines() if line.startswith("vlrnn ask: "))
    assert f"{table}:3: a question without words" in wordless
    assert "absent.png" in absent
    with (tmp_path / "out.csv").open(newline="") as file:
        best = [row for row in csv.DictReader(file) if row["rank"] == "1"]
    assert [(row["image"], row["question"]) for row in best] == [(str(image), text) for image, text in rows[::3]]
    add = PredictionFile.add

    def interrupted(*arguments: Any) -> None:
        add(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PredictionFile, "add", interrupted)
        assert main([*given, str(tmp_path / "out.jsonl")]) == 130
    capsys.readouterr()
    assert main([*given, str(tmp_path / "out.jsonl"), "--resume"]) == 2
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["q3"]
    assert [each.id for each in RecordFile(tmp_path / "out.jsonl", Prediction)] == ["q0", "q3"]
    lines.write_text("what?\n\nwhere is it?\n")
    assert main([*command, str(images[0]), "--questions", str(lines)]) == 0
    assert [json.loads(line)["question"] for line in capsys.readouterr().out.splitlines()] == ["what?", "where is it?"]
    assert main([*command, "--questions", str(lines)]) == 2
    assert "names no image" in capsys.readouterr().err


def test_an_image_stands_once_with_all_its_questions(questions: Path) -> None:
    examples = open_split(questions, "train")
    image_index = SplitImages(examples).of_example
    data = QuestionedImages(examples, image_index, locate=questions.joinpath, size=8, encode=lambda text: [len(text)])
    assert len(data) == len({example.image for example in examples})
    loaded = [example for item in map(data.__getitem__, range(len(data))) for example in item.examples]
    assert sorted(example.id for example in loaded) == sorted(example.id for example in examples)
    for item in (data[0], data[-1]):
        assert len({example.image for example in item.examples}) == 1
        assert item.rows == [[len(example.question or "")] for example in item.examples]
        assert item.pixels is not None
        assert item.pixels.shape == (3, 8, 8)


def test_words_and_answers_are_of_train_alone(questions: Path) -> None:
    data = VisionLanguageData(str(questions), min_count=1, min_answer_count=2)
    assert data.has_questions
    assert all(
        answer in {a for e in open_split(questions, "train") for a in e.answers} for answer in data.answers.answers
    )
    (color,) = data.encode_question("color")
    assert data.encode_question("color " * 200) == [color] * 200
    assert data.encode_question("xyzzy ?") == [3]
    assert data.encode_question("") == []


def test_answers_that_nobody_gave_often_enough(
    questions: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recipe = recipe_in(tmp_path, questions, "classifier")
    assert main(["fit", "--config", str(recipe), "--data.min_answer_count", "1000"]) == 2
    printed = capsys.readouterr().err
    assert re.search(
        r"train\.jsonl: no answer is correct for 1000 questions; '\w+', the most frequent, is for \d+", printed
    )
    assert printed.count("\n") == 1


def test_baselines_are_reported_with_the_model(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The prior answers exactly what train says; what reads or sees nothing says the same of all images or questions;
    and a test prints all that were run."""
    recipe, configs = recipe_in(tmp_path, questions, "classifier"), Path(__file__).parent.parent / "configs"
    overlays = {
        "prior": "vqa/baselines/prior.yaml",
        "prior-per-type": "vqa/baselines/prior-per-type.yaml",
        "image-only": "vqa/baselines/image-only.yaml",
        "question-only": "blind.yaml",
    }
    runs = {name: tmp_path / f"run-{name}" for name in overlays}
    for name, overlay in overlays.items():
        arguments = ["--config", str(recipe), "--config", str(configs / overlay)]
        arguments += ["--trainer.default_root_dir", str(runs[name])]
        assert main(["fit", *arguments]) == 0
        assert main(["test", *arguments]) == 0
    tested = {example.id: example for example in open_split(questions, "test")}
    train = list(open_split(questions, "train"))
    predictions = {
        name: {each.id: each for each in RecordFile(run / "predictions.jsonl", Prediction)}
        for name, run in runs.items()
    }
    answers = load_task(runs["prior"] / "checkpoints" / "best.ckpt", VQATask).answers
    for name in ("prior", "prior-per-type"):
        for id, example in tested.items():
            same_type = [each for each in train if name == "prior" or each.question_type == example.question_type]
            right = Counter(each.answers[0] for each in same_type or train)
            assert right[predictions[name][id].text] == max(right.values())
            counted = {answer: count for answer, count in right.items() if answer in answers}
            assert predictions[name][id].score == pytest.approx(max(right.values()) / sum(counted.values()))
    by_question: dict[str, set[str]] = {}
    for id, example in tested.items():
        by_question.setdefault(example.question or "", set()).add(predictions["question-only"][id].text)
    assert all(len(answers) == 1 for answers in by_question.values())
    assert len({each.text for each in predictions["image-only"].values()}) == 1  # its encoder is BlindEncoder too
    assert main(["fit", "--config", str(recipe)]) == 0
    capsys.readouterr()
    assert main(["test", "--config", str(recipe)]) == 0
    printed = capsys.readouterr().out
    assert "with its baselines" in printed
    row = next(line for line in printed.splitlines() if re.match(r".\s+overall ", line))
    for run in (tmp_path / "run", *runs.values()):
        score = json.loads((run / "metrics.json").read_text())["scores"]["overall"]
        assert f"{score['value']:.3f}" in row


@pytest.mark.parametrize("head", quick(["classifier", "generative"], "classifier"))
def test_a_split_without_answers_is_answered(
    questions: Path, tmp_path: Path, head: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answers to a challenge: nothing can be scored, and the file for its server comes of the predictions. Those of
    val keep their scores; and where scoring itself goes wrong, the predictions are there."""
    recipe = recipe_in(tmp_path, questions, head)
    assert main(["fit", "--config", str(recipe)]) == 0
    folder = tmp_path / "kept-secret"
    secret = [replace(each, answers=()) for each in open_split(questions, "test")]
    write_dataset(folder, {"test": secret}, name="a challenge", source="", licence="")
    arguments = ["--config", str(recipe), "--data.root", str(folder), "--data.image_root", str(questions)]
    run = tmp_path / "run"
    assert main(["validate", "--config", str(recipe)]) == 0
    val = (run / "metrics.json").read_bytes()
    assert main(["test", *arguments]) == 0
    assert (run / "metrics.json").read_bytes() == (run / "splits" / "val" / "metrics.json").read_bytes() == val
    assert json.loads((run / "splits" / "test" / "metrics.json").read_text())["scores"] == {}
    predictions_file = run / "splits" / "test" / "predictions.jsonl"
    printed = f"test: not scored: the split has no answers; its predictions are in {predictions_file}\n"
    assert printed in capsys.readouterr().out
    official = tmp_path / "answers.json"
    references = ["--references", str(folder / "test.jsonl"), "--predictions", str(predictions_file)]
    assert main(["score", "vqa", *references, "--official", str(official)]) == 0
    assert [each["question_id"] for each in json.loads(official.read_text())] == [each.id for each in secret]
    answered = predictions_file.read_bytes()
    predictions_file.unlink()

    def refused(*_: Any) -> None:
        raise UserError("no more room")

    monkeypatch.setattr(VQATask, "score", refused)
    capsys.readouterr()
    assert main(["test", *arguments]) == 2
    assert capsys.readouterr().err.endswith(f"vlrnn test: no more room; its predictions are in {predictions_file}\n")
    assert predictions_file.read_bytes() == answered
    assert (run / "metrics.json").read_bytes() == val


def test_what_does_not_fit_together_is_an_error_of_one_line(
    questions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, about = recipe_in(tmp_path, questions, "generative"), {"name": "a few", "source": "", "licence": ""}
    assert main(["fit", "--config", str(recipe)]) == 0
    one, other = [*open_split(questions, "test")][:2]
    write_dataset(tmp_path / "twice", {"test": [one]}, **about)
    write_records(tmp_path / "twice" / "test.jsonl", [one, replace(other, id=one.id)])
    write_dataset(tmp_path / "single", {"test": [one]}, **about)
    capsys.readouterr()

    def refused(command: str, *arguments: str) -> str:
        assert main([command, "--config", str(recipe), "--data.image_root", str(questions), *arguments]) == 2
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1, printed
        return printed

    assert "another model" in refused("test", "--model.init_args.num_members", "2")
    assert "has captions, but GenerativeVQA is for questions" in refused(
        "fit", "--data.root", str(questions.parent / "captions"), "--trainer.default_root_dir", str(tmp_path / "other")
    )
    printed = refused("test", "--data.root", str(tmp_path / "twice"))
    assert f"id {one.id!r} occurs twice in {tmp_path / 'twice'}/test.jsonl" in printed
    single = ["--data.root", str(tmp_path / "single"), "--data.image_root", str(questions)]
    assert main(["test", "--config", str(recipe), *single]) == 0


@pytest.mark.parametrize(
    "overlay",
    [
        "rubi",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("reweighting", "bias-product", "learned-mixin")),
    ],
)
def test_debiased_training_and_its_checkpoint(overlay: str, questions: Path, tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, questions, "classifier")
    path = Path(__file__).parent.parent / "configs" / "vqa" / "debiasing" / f"{overlay}.yaml"
    arguments = ["--config", str(recipe), "--config", str(path)]
    assert main(["fit", *arguments]) == 0
    assert main(["test", *arguments]) == 0
    assert main(["validate", "--config", str(tmp_path / "run" / "config.yaml")]) == 0


def test_averaged_weights_are_what_a_checkpoint_holds(questions: Path, tmp_path: Path) -> None:
    """Lightning's moving average, as the recipes for DAQUAR have it: scored in validation, saved, and loaded."""
    recipe, run = recipe_in(tmp_path, questions, "classifier"), tmp_path / "run"
    averaging = {"class_path": "pytorch_lightning.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.5}}
    given = yaml.safe_load(recipe.read_text())
    given["trainer"]["callbacks"] = [averaging]
    recipe.write_text(yaml.safe_dump(given))
    assert main(["fit", "--config", str(recipe)]) == 0
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    name = "members.0.score.weight"
    assert not torch.equal(checkpoint["state_dict"][name], checkpoint["current_model_state"][name])
    assert torch.equal(
        load_task(run / "checkpoints" / "best.ckpt", VQATask).state_dict()[name],
        checkpoint["state_dict"][name],
    )
    scores = {}
    for command in ("validate", "test"):
        assert main([command, "--config", str(recipe)]) == 0
        scores[command] = json.loads((run / "metrics.json").read_text())["scores"]["overall"]["value"]
    assert scores["validate"] == pytest.approx(float(last(run / "log.csv", "val/overall")), abs=1e-3)


def last(log: Path, column: str) -> str:
    with log.open() as file:
        return [row[column] for row in csv.DictReader(file) if row[column]][-1]
