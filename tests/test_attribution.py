"""`vlrnn probe attribution`: a captioner that knows twelve pictures by heart, and what is said to be in them."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import COLOURS, Checkpoints
from PIL import Image

from vlrnn.cli import main
from vlrnn.data.images import open_image, pixels
from vlrnn.data.records import open_split, write_records
from vlrnn.errors import UserError
from vlrnn.inference.predictor import Predictor
from vlrnn.nn.attention import SoftAttention
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.nn.recurrent.rnn import GRU
from vlrnn.probes.model.attribution import ObjectMention, Support, _mentions, _spread, attribution, support
from vlrnn.probes.model.encoded_split import encoded
from vlrnn.probes.object_mentions import PhraseTable, Span
from vlrnn.report.drawing import shaded
from vlrnn.tasks.captioning import Captioner
from vlrnn.text.vocabulary import BOS, EOS, Vocabulary


def squares(words: Sequence[str]) -> list[Span]:
    """`red square`, and its like."""
    pairs = enumerate(pairwise(words))
    return [Span(" ".join(pair), at, at + 2) for at, pair in pairs if pair[0] in COLOURS and pair[1] == "square"]


@pytest.fixture(scope="module")
def data(make_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The twelve pictures; of red ones it is said that they are blue, and nothing of white ones."""
    folder = make_dataset(tmp_path_factory.mktemp("data") / "squares", sizes=(0, 0, 12))
    objects = {"red": ("blue square",), "green": ("green square",), "blue": ("blue square", "dog"), "white": None}
    examples = [replace(each, objects=objects[str(each.id).partition("-")[0]]) for each in open_split(folder, "test")]
    write_records(folder / "test.jsonl", examples)
    return folder


@pytest.fixture(scope="module")
def predictor(checkpoints: Checkpoints) -> Predictor:
    return Predictor.load(checkpoints.file, "cpu")


def test_absent_objects_are_reported_with_present_ones(predictor: Predictor, data: Path) -> None:
    found = attribution(predictor, data, find=squares, resamples=50)
    assert found.scores["hallucinated"]["value"] == pytest.approx(3 / 9)
    assert found.scores["hallucinated"]["n"] == 9
    control = found.baselines["named rightly"]
    assert (found.scores["image_probability"]["n"], control["image_probability"]["n"]) == (3, 6)
    assert control["image_probability"]["value"] > 0.9  # it has learnt them by heart
    assert found.scores["image_probability"]["value"] > 0.9
    assert len(found.cases) == 3
    assert all(case["object"] == "red square" for case in found.cases)
    assert found.details["objects"]["red square"] == {"named": 3, "hallucinated": 3, "by_language": 0}
    assert found.notes == ["3 of 12 images are left out: their objects are not annotated"]
    assert not found.not_computed


def test_word_by_word(predictor: Predictor, data: Path) -> None:
    """Against the decoder's own steps, one word after the other, on pixels."""
    task = predictor.task
    assert isinstance(task, Captioner)
    with encoded(predictor, data, "test") as split:
        named = list(_mentions(predictor, split, squares, batch_size=5))
    assert len(named) == 12
    blank = torch.full((3, task.encoder.image_size, task.encoder.image_size), 128, dtype=torch.uint8)
    for each in named[::5]:
        image = torch.from_numpy(pixels(open_image(data / split.examples[each.id].image), task.encoder.image_size))
        for shown, log_prob in ((image, each.image), (blank, each.blank)):
            total, ranks = literally(task, shown, each)
            assert total == pytest.approx(log_prob, abs=0.02)  # the regions lie in float16
        assert max(ranks) == each.rank


@torch.no_grad()
def literally(task: Captioner, image: torch.Tensor, named: ObjectMention) -> tuple[float, list[int]]:
    """The log probability of the words that name an object, and the rank of each."""
    memory = task.decoder.prepare(task.encoder(image[None]))
    state, before, total, ranks = task.decoder.init_state(memory), BOS, 0.0, []
    words = named.caption.split()
    (span,) = squares(words)
    for place, word in enumerate(words):
        output, state = task.decoder.step(torch.tensor([[before]]), state, memory)
        (before,) = task.vocabulary.encode([word])
        log_probs = task.decoder.logits(output.hidden)[0, 0].log_softmax(-1)
        if span.start <= place < span.stop:
            total += log_probs[before].item()
            better = [id for id, each in enumerate(log_probs) if each > log_probs[before] and (id == EOS or id > 3)]
            ranks.append(1 + len(better))
    return total, ranks


def test_the_size_of_batches_changes_nothing(predictor: Predictor, data: Path) -> None:
    one, other = (attribution(predictor, data, find=squares, batch_size=size, resamples=5) for size in (1, 12))
    for name, score in one.scores.items():
        assert score == pytest.approx(other.scores[name], rel=1e-3)


def test_a_blind_captioner_makes_everything_up(data: Path) -> None:
    vocabulary = Vocabulary(["red", "green", "square"])
    decoder = ShowAttendTell(GRU(8), SoftAttention(8), embedding_dim=8)
    blind = Predictor(Captioner(vocabulary, BlindEncoder(), decoder), "cpu")
    found = attribution(blind, data, find=lambda words: [Span("dog", 0, 1), Span("blue square", 1, 2)], resamples=5)
    assert found.scores["raised"]["value"] == 0
    assert found.scores["by_language"]["value"] == 1
    assert {case["by"] for case in found.cases} == {"language"}
    assert found.not_computed.keys() == {"attention_entropy"}


def test_the_entropy_of_attention_by_hand() -> None:
    weights = torch.tensor([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    spread = _spread(weights)
    assert spread is not None
    assert spread.tolist() == pytest.approx([1, 0, math.log(2) / math.log(4)])
    assert _spread(torch.ones(3, 1)) is None


def test_what_cannot_be_computed_is_reported(predictor: Predictor, data: Path) -> None:
    none = attribution(predictor, data, find=lambda words: [], resamples=5)
    assert none.scores == {}
    assert "no caption names an object" in none.not_computed["hallucinated"]
    right = attribution(predictor, data, find=lambda words: [s for s in squares(words) if "red" not in s.object])
    assert right.scores["hallucinated"]["value"] == 0
    assert right.not_computed["raised"] == "every named object is in its image"
    assert right.cases == []


def test_data_that_have_no_objects_are_refused(predictor: Predictor, dataset: Path) -> None:
    with pytest.raises(UserError, match=r"test.jsonl: no example has annotated objects"):
        attribution(predictor, dataset, find=squares)


def test_from_the_command_line(
    checkpoints: Checkpoints, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synonyms = tmp_path / "synonyms.txt"
    synonyms.write_text("red square, crimson\n")
    out = tmp_path / "found.json"
    arguments = ["probe", "attribution", "--checkpoint", str(checkpoints.file), "--data", str(data)]
    assert main([*arguments, "--synonyms", str(synonyms), "--out", str(out), "--resamples", "20"]) == 0
    found = json.loads(out.read_text())
    assert found["scores"]["hallucinated"]["value"] == pytest.approx(1 / 3)
    assert found["baselines"]["named rightly"]["raised"]["n"] == 6
    assert "by eye" in capsys.readouterr().out
    assert main([*arguments, "--split", "train"]) == 2
    assert "train.jsonl: holds no examples" in capsys.readouterr().err


# How much a picture speaks for what a caption of it names.

FIND = PhraseTable({"square": "square", "white square": "square", "top": "top"}).find


def test_the_probabilities_are_those_of_the_search(checkpoints: Any, dataset: Path) -> None:
    """A caption that is said again has the probabilities that it had when it was found."""
    predictor = Predictor.load(checkpoints.file, "cpu")
    for example in open_split(dataset, "test"):
        prediction = predictor.caption(dataset / example.image)
        again = predictor.score_caption(dataset / example.image, prediction.tokens)
        np.testing.assert_allclose(again.log_probs[: len(prediction.log_probs)], prediction.log_probs, atol=1e-4)
        assert again.attention is not None
        np.testing.assert_allclose(again.attention.sum(-1), 1, atol=1e-5)
        assert again.gates is not None
        assert again.gates.shape == again.log_probs.shape


def test_the_picture_speaks_for_what_it_shows(checkpoints: Any, dataset: Path) -> None:
    predictor = Predictor.load(checkpoints.file, "cpu")
    (example, *_) = open_split(dataset, "test")
    words = ["a", "white", "square", "on", "the", "top"]
    image = dataset / example.image
    found = support(predictor, image, words, FIND)
    assert [each.object for each in found] == ["square", "top"]
    log_probs = predictor.score_caption(image, words).log_probs
    assert found[0].image == pytest.approx(math.exp(log_probs[1] + log_probs[2]))
    grey = Image.new("RGB", (64, 64), (128, 128, 128))
    for each in support(predictor, grey, words, FIND):
        assert each.image == pytest.approx(each.blank)
        assert each.doubtful  # it is what the language says
    assert Support("x", 0.9, 0.1).doubtful is False
    assert Support("x", 0.4, 0.1).doubtful


def test_a_model_without_attention_has_none(checkpoints: Any, dataset: Path) -> None:
    (example, *_) = open_split(dataset, "test")
    again = Predictor.load(checkpoints.plain, "cpu").score_caption(dataset / example.image, ["a", "square"])
    assert again.attention is None
    assert again.gates is None
    assert again.log_probs.shape == (3,)


def test_a_veil_is_thin_where_the_weight_is(dataset: Path) -> None:
    (example, *_) = open_split(dataset, "test")
    image = open_image(dataset / example.image).resize((40, 40))
    pixels = np.asarray(shaded(image, np.array([0.0, 0, 0, 1])), int)
    plain = np.asarray(image, int)
    assert np.abs(pixels[-1, -1] - plain[-1, -1]).max() <= 1
    assert (pixels[0, 0] <= plain[0, 0] * 0.3 + 1).all()
