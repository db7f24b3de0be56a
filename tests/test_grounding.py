"""`vlrnn probe grounding`: blind models and models that see, on a few synthetic scenes and squares."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CLASSIFIER, Checkpoints
from quick import quick

from vlrnn.cli import main
from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.records import Prediction, open_split, write_dataset, write_records
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.generation.answer_decoding import RankedAnswers
from vlrnn.generation.generate import TokenDistributions
from vlrnn.inference.predictor import Predictor
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.base import BlindEncoder, Encoder
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
from vlrnn.nn.fusion import Concatenation
from vlrnn.nn.question_encoder import NoQuestion, QuestionEncoder, RecurrentQuestionEncoder
from vlrnn.nn.question_image import MeanPool
from vlrnn.nn.recurrent.rnn import GRU
from vlrnn.probes.model.encoded_split import divergence, encoded, predict_views
from vlrnn.probes.model.grounding import grounding
from vlrnn.tasks.captioning import Captioner
from vlrnn.tasks.classifier_vqa import ClassifierVQA
from vlrnn.tasks.generative_vqa import GenerativeVQA
from vlrnn.tasks.vqa import PriorVQA
from vlrnn.training.checkpoint import save_pretrained
from vlrnn.training.module import Task

IMAGE_VIEWS = ("blank_image", "other_image", "mean_feature")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, train=12, val=0, test=4, image_size=32)
    return folder


@pytest.fixture(scope="module")
def make(scenes: Path, classifier_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Saves an untrained model: function of its kind, and of whether it sees and reads."""
    questions, captions = (VisionLanguageData(str(scenes / name), min_count=1) for name in ("vqa", "captions"))
    saved = tmp_path_factory.mktemp("models")

    def build(kind: str, encoder: Encoder, reader: QuestionEncoder) -> Task:
        if kind == "captioner":
            return Captioner(captions.vocabulary, encoder, ShowAndTell(GRU(8), embedding_dim=8))
        parts = (questions.vocabulary, questions.answers, encoder, reader, MeanPool(), Concatenation(8))
        if kind == "classifier":
            return ClassifierVQA(*parts)
        return GenerativeVQA(*parts, ShowAndTell(GRU(8), embedding_dim=8), RankedAnswers())

    def make(kind: str, has_encoder: bool = True, has_question: bool = True) -> Path:
        path = saved / f"{kind}{has_encoder}{has_question}"
        if not path.exists():
            torch.manual_seed(2)
            encoder = TorchvisionEncoder(CLASSIFIER, str(classifier_file)) if has_encoder else BlindEncoder()
            reader = RecurrentQuestionEncoder(GRU(8), embedding_dim=8) if has_question else NoQuestion()
            task = build(kind, encoder, reader)
            for parameter in [each for each in task.parameters() if each.requires_grad and each.dim() > 1]:
                parameter.data *= 3  # of small weights nothing that is said would ever change
            save_pretrained(task, path)
        return path

    return make


def probe(checkpoint: Path, data: Path, folder: Path, *more: str) -> dict[str, Any]:
    arguments = ["--checkpoint", str(checkpoint), "--data", str(data), "--out", str(folder / "found.json")]
    assert main(["probe", "grounding", *arguments, "--resamples", "20", *more]) == 0
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


KINDS = ("captioner", "classifier", "generative")


@pytest.mark.parametrize("kind", KINDS)
def test_a_blind_model_loses_nothing_without_its_image(
    kind: str, make: Callable[..., Path], scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = scenes / ("captions" if kind == "captioner" else "vqa")
    scores = probe(make(kind, has_encoder=False), data, tmp_path)["scores"]
    for view in IMAGE_VIEWS:
        for name in ("drop", "changed", "kl"):
            assert scores[view][name] == {"value": 0, "low": 0, "high": 0, "n": len(open_split(data, "test"))}
    if kind != "captioner":
        assert scores["first_1_words"]["kl"]["value"] > 0
    assert "the model does not use the image" in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_with_an_encoder_is_moved(
    kind: str, make: Callable[..., Path], scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And one that reads nothing is not, by any view of the question."""
    data, score = (scenes / "captions", "CIDEr") if kind == "captioner" else (scenes / "vqa", "accuracy")
    found = probe(make(kind, has_question=False), data, tmp_path)
    assert all(found["scores"][view]["kl"]["low"] > 0 for view in IMAGE_VIEWS)
    full = found["scores"]["full"][score]["value"]
    by_type = found["details"]["drop_per_question_type"].values()
    for view in IMAGE_VIEWS[: 3 if by_type else 0]:
        total = sum(each[view]["value"] * each[view]["n"] for each in by_type)
        assert total / len(open_split(data, "test")) == pytest.approx(found["scores"][view]["drop"]["value"])
    for view, scores in found["scores"].items():
        if view != "full":
            assert scores["drop"]["value"] == pytest.approx(full - scores[score]["value"])
        if view not in ("full", *IMAGE_VIEWS):
            assert (scores["kl"]["value"], scores["changed"]["value"]) == (0, 0)
    assert "the model does not use the image" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", quick(KINDS, "classifier"))
def test_the_size_of_batches_changes_nothing(kind: str, make: Callable[..., Path], scenes: Path) -> None:
    predictor, data = Predictor.load(make(kind), "cpu"), scenes / ("captions" if kind == "captioner" else "vqa")
    one, other = (grounding(predictor, data, batch_size=size, resamples=5).scores for size in (2, 5))
    assert one.keys() == other.keys()
    for view, scores in one.items():
        for name, score in scores.items():
            assert score == pytest.approx(other[view][name], abs=1e-4)


@pytest.mark.parametrize("kind", quick(KINDS, "captioner", "generative"))
def test_the_view_that_changes_nothing(kind: str, make: Callable[..., Path], scenes: Path) -> None:
    """Is told so; and what is said without a view is what the model says of the files."""
    predictor, data = Predictor.load(make(kind), "cpu"), scenes / ("captions" if kind == "captioner" else "vqa")
    with encoded(predictor, data, "test") as split:
        plain, found = predict_views(predictor, split, {"same": lambda item: item}, batch_size=2)
    assert found["same"].texts == {id: each.text for id, each in plain.items()}
    assert not any(found["same"].divergence.values())
    for example in list(open_split(data, "test"))[:4]:
        image = data / example.image
        alone = predictor.answer(image, example.question) if example.question else predictor.caption(image)
        assert alone.text == plain[example.id].text
        assert found["same"].words[example.id] == max(1, len(alone.log_probs))


def test_divergence_by_hand() -> None:
    ours = torch.tensor([[[0.5, 0.5], [0.9, 0.1]], [[0.5, 0.5], [0.5, 0.5]]]).log()
    theirs = torch.tensor([[[0.25, 0.75], [0.9, 0.1]], [[0.2, 0.8], [0.1, 0.9]]]).log()
    mask = torch.tensor([[True, True], [True, False]])
    found = divergence(TokenDistributions(ours, mask), TokenDistributions(theirs, mask))
    expected = [0.5 * math.log(2) + 0.5 * math.log(2 / 3), 0.5 * math.log(0.5 / 0.2) + 0.5 * math.log(0.5 / 0.8)]
    assert found.tolist() == pytest.approx(expected)


def test_a_trained_captioner_depends_on_its_image(
    checkpoints: Checkpoints, make_dataset: Callable[..., Path], tmp_path: Path
) -> None:
    """Of twelve pictures that it knows by heart nothing is left without them."""
    data = make_dataset(tmp_path / "squares", sizes=(4, 0, 8))
    found = probe(checkpoints.file, data, tmp_path)
    scores = found["scores"]
    assert scores["full"]["CIDEr"]["value"] > 5
    assert scores["other_image"]["drop"]["low"] > 2
    assert scores["other_image"]["changed"]["value"] == 1
    assert found["cases"] == []
    assert found["baselines"]["prior"]["full"]["CIDEr"]["value"] < scores["full"]["CIDEr"]["value"] / 2


def test_baselines_and_priors(make: Callable[..., Path], scenes: Path, tmp_path: Path) -> None:
    """Rows are scored as they would be alone; the prior is what PriorVQA says."""
    data, run = scenes / "vqa", tmp_path / "run"
    examples = {each.id: each for each in open_split(data, "test")}
    predictions = [Prediction(each.id, each.image_id, "yes") for each in examples.values()]
    write_records(run / "predictions.jsonl", reversed(predictions))
    found = probe(make("classifier", has_encoder=False), data, tmp_path, "--baseline", str(run))
    right = [example.answers[0] == "yes" for example in examples.values()]
    rows = found["baselines"]
    assert found["not_computed"] == {}
    assert rows[str(run)]["full"]["accuracy"]["value"] == pytest.approx(100 * sum(right) / len(right))
    dataset = VisionLanguageData(str(data))
    for row, per_type in (("prior", False), ("prior-per-type", True)):
        save_pretrained(PriorVQA(dataset.vocabulary, dataset.answers, dataset.prior, per_type), tmp_path / row)
        alone = probe(tmp_path / row, data, tmp_path)
        assert "--baseline" in alone["not_computed"]["blind"]
        assert rows[row]["full"]["accuracy"]["value"] == alone["scores"]["full"]["accuracy"]["value"]
        assert alone["scores"]["shuffled_words"]["kl"]["value"] == 0
    for case in found["cases"]:
        assert examples[case["id"]].answers[0] == case["said of any image"]


def test_a_split_without_answers_or_training(make: Callable[..., Path], scenes: Path, tmp_path: Path) -> None:
    secret = [
        replace(each, answers=(), image=str(scenes / "vqa" / each.image)) for each in open_split(scenes / "vqa", "test")
    ]
    write_dataset(tmp_path / "secret", {"test": secret}, name="a challenge", source="", licence="")
    found = probe(make("classifier", has_encoder=False), tmp_path / "secret", tmp_path)
    assert found["scores"].keys() >= set(IMAGE_VIEWS)
    assert found["scores"]["blank_image"].keys() == {"changed", "kl"}
    assert "neither captions nor answers" in found["not_computed"]["full"]
    assert found["baselines"] == {}


def test_mistakes_are_errors_of_one_line(
    make: Callable[..., Path], scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions, captions, model = (
        str(scenes / "vqa"),
        str(scenes / "captions"),
        str(make("classifier", has_encoder=False)),
    )
    single = [*open_split(scenes / "vqa", "test")][:1]
    single = [replace(each, image=str(scenes / "vqa" / each.image)) for each in single]
    for name, examples in (("single", single), ("twice", [*single, *single]), ("empty", [])):
        write_dataset(tmp_path / name, {"test": examples[:1]}, name=name, source="", licence="")
        write_records(tmp_path / name / "test.jsonl", examples)
    write_records(tmp_path / "run" / "predictions.jsonl", [Prediction("x", "x", "yes")])
    for arguments, complaint in (
        (["--checkpoint", "absent", "--data", questions], "absent: no such file"),
        (["--checkpoint", model, "--data", str(tmp_path)], "not a prepared data set"),
        (["--checkpoint", model, "--data", questions, "--split", "val"], "has no split 'val'"),
        (["--checkpoint", model, "--data", captions], "holds captions, where"),
        (["--checkpoint", str(make("captioner", has_encoder=False)), "--data", questions], "holds questions, where"),
        (["--checkpoint", model, "--data", str(tmp_path / "single")], "needs at least two images"),
        (["--checkpoint", model, "--data", str(tmp_path / "twice")], "two examples have one id"),
        (["--checkpoint", model, "--data", str(tmp_path / "empty")], "holds no examples"),
        (
            ["--checkpoint", model, "--data", questions, "--baseline", str(tmp_path)],
            "predictions.jsonl: cannot be read",
        ),
        (
            ["--checkpoint", model, "--data", questions, "--baseline", str(tmp_path / "run")],
            f"is not for the same examples: {len(open_split(questions, 'test'))} are missing, 1 unknown",
        ),
        (["--checkpoint", model, "--data", questions, "--device", "nowhere"], "device nowhere"),
    ):
        capsys.readouterr()
        assert main(["probe", "grounding", *arguments]) == 2
        printed = capsys.readouterr().err
        assert complaint in printed
        assert printed.splitlines()[-1].startswith("vlrnn probe: ")
