"""Training that begins with the weights of a checkpoint, `fit --init_from`."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CLASSIFIER
from test_vqa_tasks import ANSWERS, VOCABULARY, classifier, parts

from vlrnn.cli import main
from vlrnn.data.records import open_split, write_dataset
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
from vlrnn.nn.recurrent.rnn import GRU
from vlrnn.tasks.captioning import Captioner
from vlrnn.tasks.classifier_vqa import ClassifierVQA
from vlrnn.text.vocabulary import AnswerVocabulary, Vocabulary
from vlrnn.training.checkpoint import load_task, save_pretrained
from vlrnn.training.initial_weights import init_from
from vlrnn.training.objectives.debiasing import RUBi

Fit = Callable[..., int]
STILL = ("--model.init_args.optimization.lr", "0", "--model.init_args.optimization.weight_decay", "0")
"""With which nothing moves."""


@pytest.fixture(scope="module")
def run(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, exported into its folder `model`."""
    run = tmp_path_factory.mktemp("trained") / "run"
    assert fit(run) == 0
    assert main(["export", "--checkpoint", str(best(run)), "--out", str(run / "model")]) == 0
    return run


def best(run: Path) -> Path:
    return run / "checkpoints/best.ckpt"


def losses(run: Path) -> list[tuple[int, float]]:
    """Epoch and loss of each validation."""
    with (run / "log.csv").open(newline="") as file:
        return [(int(row["epoch"]), float(row["val/loss"])) for row in csv.DictReader(file) if row["val/loss"]]


def taken(err: str) -> list[str]:
    """The two lines on what was taken and what is new, without the path."""
    lines = [line for line in err.splitlines() if line.startswith(("copied from ", "new: "))]
    return [re.sub("^copied from .*?: ", "", line) for line in lines]


@pytest.mark.parametrize("form", ["checkpoints/best.ckpt", "model"])
def test_the_same_words(form: str, run: Path, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first validation of what does not move is that of the checkpoint."""
    assert fit(tmp_path / "new", "--init_from", str(run / form), *STILL) == 0
    assert taken(capsys.readouterr().err) == ["9 of 9 weights", "new: nothing"]
    (first, loss), (second, again) = losses(tmp_path / "new")
    epoch = torch.load(best(run), weights_only=True)["epoch"]
    assert (first, second) == (0, 1)
    assert loss == again == dict(losses(run))[epoch]
    before, after = (load_task(best(each), Captioner).state_dict() for each in (run, tmp_path / "new"))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert "init_from" not in (tmp_path / "new/config.yaml").read_text()


def test_other_words(run: Path, fit: Fit, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows of embeddings and of the output layer are copied by word."""
    examples = {split: list(open_split(dataset, split)) for split in ("train", "val", "test")}

    def renamed(caption: str) -> str:
        return caption.replace("square", "box").replace("red", "red red crimson").replace("There is", "Is")

    for split, each in examples.items():
        examples[split] = [
            replace(one, image=str(dataset / one.image), captions=tuple(map(renamed, one.captions))) for one in each
        ]
    write_dataset(tmp_path / "data", examples, name="boxes", source="tests", licence="CC0")
    flags = ("--data.root", str(tmp_path / "data"), "--init_from", str(best(run)), *STILL)
    assert fit(tmp_path / "new", *flags) == 0
    old, new = (load_task(best(each), Captioner) for each in (run, tmp_path / "new"))
    shared = [word for word in new.vocabulary.words if word in old.vocabulary.words]
    added = [word for word in new.vocabulary.words if word not in old.vocabulary.words]
    assert {"box", "crimson"} <= set(added)
    assert {"<pad>", "<unk>", "red", "on"} <= set(shared)
    assert new.vocabulary.words.index("red") != old.vocabulary.words.index("red")
    before, after = old.state_dict(), new.state_dict()
    rows = [old.vocabulary.words.index(word) for word in shared], [new.vocabulary.words.index(word) for word in shared]
    by_word = {name for name, each in before.items() if len(each) == len(old.vocabulary)}
    assert {"decoder.embedding.weight", "decoder.score.weight", "decoder.score.bias"} == by_word
    for name in before:
        if name in by_word:
            assert torch.equal(before[name][rows[0]], after[name][rows[1]])
        else:
            assert torch.equal(before[name], after[name])
    assert taken(capsys.readouterr().err) == [
        f"9 of 9 weights, rows of {len(shared)} of {len(new.vocabulary)} words",
        f"new: rows of {len(added)} of {len(new.vocabulary)} words",
    ]


def test_another_objective_and_other_parts(
    run: Path, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    smoothing = ("--model.init_args.objective", "CrossEntropy", "--model.init_args.objective.label_smoothing", "0.1")
    flags = ("--init_from", str(best(run)), *STILL, *smoothing)
    wider = ("--model.init_args.decoder.init_args.recurrence.init_args.hidden_size", "9")
    assert fit(tmp_path / "new", *flags, *wider) == 0
    first, second = taken(capsys.readouterr().err)
    assert first == "4 of 9 weights"
    assert second.startswith("new: decoder.recurrence.")
    assert second.endswith(", 1 more weights")


def test_what_cannot_be(run: Path, fit: Fit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*flags: str) -> str:
        assert fit(tmp_path / "new", *flags) == 2
        *_, line = capsys.readouterr().err.splitlines()
        return line

    for named in ("last", str(best(run))):
        assert "remove one of them" in refused("--init_from", str(best(run)), "--ckpt_path", named)
    assert "no such file" in refused("--init_from", str(tmp_path / "none.ckpt"))
    (tmp_path / "note.txt").write_text("no weights")
    assert "not a checkpoint" in refused("--init_from", str(tmp_path / "note.txt"))
    (tmp_path / "empty").mkdir()
    assert "not a model folder" in refused("--init_from", str(tmp_path / "empty"))
    save_pretrained(classifier(), tmp_path / "other")
    line = refused("--init_from", str(tmp_path / "other"))
    assert line.endswith("other: none of its weights has the name and shape of one of this model")


def test_a_finished_run_names_init_from(run: Path, fit: Fit, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(run, "--ckpt_path", "last") == 0
    *_, line = capsys.readouterr().err.splitlines()
    assert "training is complete, at epoch 2 of 2" in line
    assert "--init_from" in line


def test_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows of a classifier are copied by answer; weights of an objective are not copied."""
    old = classifier(RUBi(hidden_size=5), num_members=2)
    save_pretrained(old, tmp_path / "old")
    torch.manual_seed(1)
    answers = AnswerVocabulary(["a horse", *reversed(ANSWERS.answers[1:])])
    new = ClassifierVQA(VOCABULARY, answers, **parts(), objective=RUBi(hidden_size=5), num_members=2)  # type: ignore[arg-type]
    fresh = {name: each.clone() for name, each in new.state_dict().items()}
    init_from(new, tmp_path / "old")
    count, shared = len(ANSWERS), len(ANSWERS) - 1
    weights = sum(not name.startswith("objective.") for name in fresh)
    assert taken(capsys.readouterr().err) == [
        f"{weights} of {weights} weights, rows of {shared} of {count} answers",
        f"new: rows of 1 of {count} answers",
    ]
    order = list(range(count - 1, 0, -1))
    for name, own in new.state_dict().items():
        given = old.state_dict()[name]
        if name.startswith("objective."):
            assert torch.equal(own, fresh[name]), name
        elif re.fullmatch(r"members\.\d\.score\.\w+", name):
            assert torch.equal(own[1:], given[order]), name
            assert torch.equal(own[0], fresh[name][0]), name
        else:
            assert torch.equal(own, given), name


@pytest.mark.parametrize(("before", "after"), [(None, "features.12"), ("features.12", None)])
def test_a_frozen_encoder_may_learn_and_the_other_way(
    before: str | None, after: str | None, classifier_file: Path, tmp_path: Path
) -> None:
    def captioner(trainable_from: str | None) -> Captioner:
        encoder = TorchvisionEncoder(CLASSIFIER, str(classifier_file), finetune_from=trainable_from)
        return Captioner(Vocabulary(["a"]), encoder, ShowAndTell(GRU(4), embedding_dim=3))

    old, new = captioner(before), captioner(after)
    with torch.no_grad():
        for weight in old.parameters():
            weight.add_(1)
    save_pretrained(old, tmp_path)
    learns = [name for name, each in new.named_parameters() if each.requires_grad]
    init_from(new, tmp_path)
    assert all(map(torch.equal, old.state_dict().values(), new.state_dict().values()))
    assert [name for name, each in new.named_parameters() if each.requires_grad] == learns


def test_random_numbers_stay_as_they_were(tmp_path: Path) -> None:
    vocabulary = Vocabulary(["a", "b"])

    def captioner() -> Captioner:
        return Captioner(vocabulary, BlindEncoder(), ShowAndTell(GRU(4), embedding_dim=3))

    save_pretrained(captioner(), tmp_path)
    task = captioner()
    before = torch.get_rng_state()
    init_from(task, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_words_of_a_damaged_description(tmp_path: Path, fit: Fit, run: Path, capsys: Any) -> None:
    """The words of a checkpoint are built as loading builds them: nothing else can stand in their place."""
    for words in ({"class": "os.system", "arguments": {}}, {"class": "spy.Vocabulary", "arguments": {"words": []}}):
        folder = tmp_path / words["class"]
        save_pretrained(load_task(best(run), Captioner), folder)
        description = json.loads((folder / "config.json").read_text())
        description["task"]["arguments"]["vocabulary"] = words
        (folder / "config.json").write_text(json.dumps(description))
        assert fit(tmp_path / "new", "--init_from", str(folder)) == 2
        assert "refused" in capsys.readouterr().err.splitlines()[-1]
