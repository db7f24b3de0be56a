"""Polls put to models: each way to get a yes or a no out of one."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import COLOURS, PLACES, Checkpoints, picture

from vlrnn.cli import main
from vlrnn.data.images import open_image, pixels
from vlrnn.errors import UserError
from vlrnn.inference.predictor import Predictor
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.nn.fusion import Concatenation
from vlrnn.nn.question_encoder import RecurrentQuestionEncoder
from vlrnn.nn.question_image import MeanPool
from vlrnn.nn.recurrent.rnn import GRU
from vlrnn.probes.model import pope as model
from vlrnn.probes.model.pope import answer, caption, likely
from vlrnn.tasks.captioning import Captioner
from vlrnn.tasks.classifier_vqa import ClassifierVQA
from vlrnn.text.vocabulary import BOS, AnswerVocabulary, Vocabulary
from vlrnn.training.checkpoint import save_pretrained

IMAGES = [f"{colour}_{place}.png" for colour in COLOURS for place in PLACES]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in IMAGES:
        picture(*name.removesuffix(".png").split("_")).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def head() -> Predictor:
    vocabulary = Vocabulary(["is", "there", "a", "red", "blue"])
    parts = (RecurrentQuestionEncoder(GRU(8), embedding_dim=8), MeanPool(), Concatenation(8))
    return Predictor(ClassifierVQA(vocabulary, AnswerVocabulary(["yes", "no"]), BlindEncoder(), *parts), "cpu")


def test_a_head_gets_each_question_once(head: Predictor, folder: Path) -> None:
    questions = [(image, f"is there a {colour}") for image in IMAGES[:3] for colour in ("red", "blue", "red")]
    found = answer(head, questions, folder)
    assert found.keys() == set(questions)
    for image, question in questions:
        assert found[image, question] == head.answer(folder / image, question).text


def test_a_captioner_is_listened_to(checkpoints: Checkpoints, folder: Path) -> None:
    predictor = Predictor.load(checkpoints.file, "cpu")
    captions = caption(predictor, [*IMAGES, *IMAGES], folder)
    assert list(captions) == IMAGES
    assert all(image.partition("_")[0] in text for image, text in captions.items())


def test_what_it_might_have_named_is_listed(checkpoints: Checkpoints, folder: Path) -> None:
    predictor = Predictor.load(checkpoints.file, "cpu")
    found = likely(predictor, [(image, f"{colour} square") for image in IMAGES for colour in COLOURS], folder)
    assert all(yes == name.startswith(image.partition("_")[0]) for (image, name), yes in found.items())
    unknown = [(IMAGES[0], "purple square"), (IMAGES[0], " ")]
    assert likely(predictor, unknown, folder) == dict.fromkeys(unknown)


def test_likelihood_word_by_word(checkpoints: Checkpoints, folder: Path) -> None:
    """Against the decoder's own steps from each place of the caption."""
    predictor = Predictor.load(checkpoints.file, "cpu")
    task = predictor.task
    assert isinstance(task, Captioner)

    @torch.no_grad()
    def best(image: torch.Tensor, caption: list[int], name: list[int]) -> float:
        memory = task.decoder.prepare(task.encoder(image[None]))
        sums = []
        for count in range(len(caption) + 1):
            state, total, before = task.decoder.init_state(memory), 0.0, BOS
            for place, word in enumerate([*caption[:count], *name]):
                output, state = task.decoder.step(torch.tensor([[before]]), state, memory)
                total += (
                    task.decoder.logits(output.hidden)[0, 0].log_softmax(-1)[word].item() if place >= count else 0.0
                )
                before = word
            sums.append(total)
        return max(sums)

    pairs = [(image, f"{word} {place}") for image in IMAGES[::4] for word in ("square", "the") for place in PLACES]
    for (image, name), yes in likely(predictor, pairs, folder).items():
        shown = torch.from_numpy(pixels(open_image(folder / image), task.encoder.image_size))
        words = task.vocabulary.encode(predictor.caption(folder / image).tokens)
        wanted = task.vocabulary.encode(name.split())
        assert yes == (best(shown, words, wanted) > math.log(1 / 6))


def poll_answers(folder: Path, *arguments: str) -> dict[str, Any]:
    """Poll whether each square is of its own colour, and whether it is of another."""
    lines = []
    for image in IMAGES:
        own = image.partition("_")[0]
        other = next(colour for colour in COLOURS if colour != own)
        for label, colour in (("yes", own), ("no", other)):
            text = f"Is there a {colour} square in the image?"
            lines.append({"question_id": len(lines), "image": image, "text": text, "label": label})
    poll, out = folder / "poll.json", folder / "out.json"
    poll.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert main(["probe", "pope", "--questions", str(poll), "--out", str(out), "--resamples", "9", *arguments]) == 0
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_a_captioner_is_polled_from_the_command_line(checkpoints: Checkpoints, folder: Path) -> None:
    for by in ("mention", "likelihood"):
        found = poll_answers(folder, "--checkpoint", str(checkpoints.file), "--by", by, "--device", "cpu")
        assert found["scores"]["poll"]["accuracy"]["value"] == 1
        assert found["settings"]["by"] == by
    assert found["cases"] == []


def test_a_head_is_polled_from_the_command_line(
    head: Predictor, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_pretrained(head.task, tmp_path / "head")
    printed: set[str] = set()

    def answered(predictor: Predictor, pairs: list[tuple[str, str]], images: Path) -> dict[tuple[str, str], str]:
        printed.update(question for _, question in pairs)
        return answer(predictor, pairs, images)

    monkeypatch.setattr(model, "answer", answered)
    for short, ending in (((), " in the image?"), (("--short",), "")):
        printed.clear()
        found = poll_answers(folder, "--checkpoint", str(tmp_path / "head"), "--device", "cpu", *short)
        assert printed == {f"Is there a {colour} square{ending}" for colour in COLOURS}
        assert found["settings"]["short"] is bool(short)
        assert found["scores"]["poll"]["accuracy"]["n"] == 2 * len(IMAGES)


@pytest.mark.parametrize("way", [answer, likely])
def test_mistakes(way: Callable[..., object], head: Predictor, checkpoints: Checkpoints, folder: Path) -> None:
    captioner = Predictor.load(checkpoints.plain, "cpu")
    able, unable = (head, captioner) if way is answer else (captioner, head)
    with pytest.raises(UserError, match=r"absent\.png: no such file"):
        way(able, [("absent.png", "red")], folder)
    with pytest.raises(UserError, match=r"answers no questions|does not caption"):
        way(unable, [(IMAGES[0], "red")], folder)
    with pytest.raises(UserError, match="there are no questions"):
        way(able, [], folder)
