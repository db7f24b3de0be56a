"""The scores of answers are named as what they are, and shown as nothing that they are not."""

import json
import re

import pytest
import torch

from vlrnn.cli import main
from vlrnn.data.records import Prediction
from vlrnn.inference.predictor import Predictor
from vlrnn.terminal import percent
from vlrnn.training.objectives.answers import (
    LINKS,
    AnswerObjective,
    LogitObjective,
    MajorityCrossEntropy,
    SampledCrossEntropy,
    SoftScores,
    apply_link,
)
from vlrnn.training.objectives.debiasing import BiasProduct, Debiased, LearnedMixin, Reweighting, RUBi

INNER = [SoftScores, MajorityCrossEntropy, SampledCrossEntropy]
AROUND: list[type[Debiased]] = [Reweighting, BiasProduct, LearnedMixin, RUBi]
LOSSES: list[AnswerObjective] = [
    *(each() for each in INNER),
    *(around(inner()) for around in AROUND for inner in INNER),
]


def subclasses(kind: type) -> set[type]:
    return {each for child in kind.__subclasses__() for each in (child, *subclasses(child))}


def test_every_loss_is_checked() -> None:
    of_ours = {each for each in subclasses(AnswerObjective) if each.__module__.startswith("vlrnn.")}
    assert {type(each) for each in LOSSES} == {
        each for each in of_ours - {LogitObjective, Debiased} if not each.__name__.startswith("_")
    }


def test_a_link_is_what_it_is_called(subtests: pytest.Subtests) -> None:
    for loss in LOSSES:
        with subtests.test(loss=loss):
            logits = torch.randn(5, 7) + 1
            found = apply_link(loss.link, logits)
            if LINKS[loss.link] == "sigmoid":
                torch.testing.assert_close(found, 1 / (1 + torch.exp(-logits)))
                assert (found.sum(1) > 1.2).all()
            else:
                assert LINKS[loss.link] == "softmax probability"
                torch.testing.assert_close(found, logits.exp() / logits.exp().sum(1, keepdim=True))


SHARES = [
    (0.0, "< 0.1 %"),
    (1e-9, "< 0.1 %"),
    (0.00096, "< 0.1 %"),
    (0.001, "0.1 %"),
    (0.0123, "1.2 %"),
    (0.5, "50.0 %"),
    (0.999, "99.9 %"),
    (0.99951, "> 99.9 %"),
    (1.0, "> 99.9 %"),
]


def test_a_share_is_not_rounded_to_nothing_or_all(subtests: pytest.Subtests) -> None:
    for share, message in SHARES:
        with subtests.test(share=share, message=message):
            assert percent(share) == message


def test_no_share_is_reported_as_nothing_or_all() -> None:
    printed = {percent(step / 100_000) for step in range(100_001)}
    assert not printed & {"0.0 %", "100.0 %"}
    assert len(printed) == 2 + 999  # every tenth of a percent between


SETTINGS = [
    ({}, "score"),
    ({"score": "sigmoid"}, "sigmoid"),
    ({"length_penalty": 1.0, "score": "sequence probability"}, "sequence probability"),
    ({"length_penalty": 0.0}, "log probability"),
    ({"length_penalty": 0.5}, "log probability / length^0.5"),
]


def test_the_name_is_in_the_settings(subtests: pytest.Subtests) -> None:
    for settings, name in SETTINGS:
        with subtests.test(settings=settings, name=name):
            assert Prediction(1, 1, "a", settings=settings).score_name == name


class Answerer:
    """A model whose two first answers are both very likely, as sigmoids may be."""

    def __init__(self, name: str) -> None:
        self.name = name

    def answers(self, _: str, questions: list[str]) -> list[Prediction]:
        others = ({"text": "blue", "score": 0.61}, {"text": "no", "score": 1e-7})
        settings = {"score": self.name}
        return [Prediction(1, 1, "red", score=0.9999, alternatives=others, settings=settings) for _ in questions]

    def unknown_words(self, _: str) -> list[str]:
        return []


@pytest.mark.parametrize("name", ["sigmoid", "softmax probability", "sequence probability"])
def test_the_command_names_them(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(Predictor, "load", lambda *_, **__: Answerer(name))
    assert main(["ask", "a.png", "what color?", "--checkpoint", "x.ckpt"]) == 0
    question, title, *lines = capsys.readouterr().out.splitlines()
    assert question == "what color?: red"
    assert title.strip().partition(",")[0] == name
    assert ("need not add up to 100 %" in title) == (name == "sigmoid")
    assert [re.split(r"  +", line.strip()) for line in lines] == [
        ["> 99.9 %", "red"],
        ["61.0 %", "blue"],
        ["< 0.1 %", "no"],
    ]
    assert main(["ask", "a.png", "what color?", "--checkpoint", "x.ckpt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["score"] == name
