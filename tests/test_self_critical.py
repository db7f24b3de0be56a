"""Self-critical sequence training: its reward, its gradient, and that it raises the reward."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import CLASSIFIER
from torch import Tensor

from vlrnn.data.batches import Batch
from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.generation.search import GenerationConfig
from vlrnn.metrics.caption_measures import CiderReward
from vlrnn.metrics.captions import CaptionScorer
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.nn.recurrent.rnn import GRU
from vlrnn.tasks.captioning import Captioner
from vlrnn.text.vocabulary import BOS, EOS, Vocabulary
from vlrnn.training.objectives.self_critical import SelfCritical

WORDS = ["a", "red", "green", "dog", "cat", "sits", "on", "the", "mat"]
OVERLAY = str(Path(__file__).parent.parent / "configs/objectives/self-critical.yaml")


def captions(count: int, seed: int) -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, size=draw.integers(0, 9))) for _ in range(count)]


REFERENCES = {f"image {number}": captions(1 + number % 5, number) for number in range(40)}


def test_the_reward_is_cider_of_the_image() -> None:
    """For captions of some of the images, in any order, with the document frequencies of all."""
    ids = [f"image {number}" for number in (7, 3, 7, 39, 0, 3)]
    samples = captions(len(ids), 99)
    scorer = {id: CaptionScorer({id: REFERENCES[id]}, corpus=REFERENCES) for id in ids}
    expected = [scorer[id].score({id: caption}).per_image["CIDEr"][0] for id, caption in zip(ids, samples, strict=True)]
    rewards = CiderReward(REFERENCES)(ids, samples, [True] * len(ids))
    assert rewards.max() > 0.1
    np.testing.assert_allclose(rewards, expected, rtol=0, atol=1e-12)


def test_the_end_counts_as_a_token() -> None:
    ids, samples = ["image 7", "image 3", "image 9"], captions(3, 5)
    ends = {id: [f"{caption} finis" for caption in each] for id, each in REFERENCES.items()}
    appended = CiderReward(ends)(ids, [f"{samples[0]} finis", samples[1], f"{samples[2]} finis"], [False] * 3)
    np.testing.assert_array_equal(CiderReward(REFERENCES, count_eos=True)(ids, samples, [True, False, True]), appended)


def test_images_without_references_have_no_reward() -> None:
    assert CiderReward({"a": ["a dog"], "b": [], "c": ["a cat"]})(["b", "x"], ["a dog"] * 2, [True] * 2).tolist() == [
        0,
        0,
    ]
    with pytest.raises(UserError, match="no image of train has"):
        CiderReward({"a": []})


class Table:
    """A reward by caption and end."""

    def __call__(self, ids: Sequence[str], captions: Sequence[str], ended: Sequence[bool]) -> np.ndarray:
        found = [len(caption) + caption.count("a") + 3 * end for caption, end in zip(captions, ended, strict=True)]
        return np.array(found, float)


def tiny(num_samples: int, images: int, dropout: float = 0.0) -> tuple[Captioner, Batch]:
    """A captioner of the words a and b, whose captions have two tokens at most, and a batch."""
    objective = SelfCritical(num_samples, max_new_tokens=2)
    objective.reward = Table()  # type: ignore[assignment]
    decoder = ShowAndTell(GRU(4), embedding_dim=4, dropout=dropout)
    task = Captioner(Vocabulary(["a", "b"]), BlindEncoder(), decoder, objective=objective)
    examples = tuple(Example(str(number), str(number), "-", ("a",)) for number in range(images))
    pixels = torch.zeros(images, 3, 8, 8, dtype=torch.uint8)
    return task.train(), Batch(pixels, None, torch.tensor([[BOS, 4, EOS]]), torch.tensor([0]), examples)


def log_prob(task: Captioner, batch: Batch, tokens: Sequence[int]) -> Tensor:
    """Log probability of a caption of the first image, by the letter: `<eos>`, a and b share all of it."""
    one = batch._replace(images=batch.images[:1])  # type: ignore[index]
    memory = task.decoder.prepare(task.encode_images(one))
    state, total = task.decoder.init_state(memory), torch.zeros(())
    for before, token in zip((BOS, *tokens), tokens, strict=False):
        output, state = task.decoder.step(torch.tensor([[before]]), state, memory)
        logits = task.decoder.logits(output.hidden).flatten()[[EOS, 4, 5]]
        total = total + logits[(EOS, 4, 5).index(token)] - logits.exp().sum().log()
    return total


def gradients(task: Captioner, total: Tensor) -> Tensor:
    task.zero_grad()
    total.backward()
    return torch.cat([each.grad.flatten() for each in task.parameters() if each.grad is not None])


def test_the_gradient_is_that_of_reinforce() -> None:
    task, batch = tiny(num_samples=3, images=2)
    settings = GenerationConfig(temperature=1.0, num_return_sequences=3, max_new_tokens=2)
    torch.manual_seed(3)
    sampled, _ = task.sample(batch, settings)
    greedy, _ = task.sample(batch, GenerationConfig(max_new_tokens=2))
    torch.manual_seed(3)
    loss = task.loss(batch)
    found = gradients(task, loss.total / loss.count)
    literal, rewards = torch.zeros(()), []
    for row, (baseline,) in zip(sampled, greedy, strict=True):
        for each in row:
            tokens = [*task.vocabulary.encode(each.tokens), *([EOS] if len(each.log_probs) > len(each.tokens) else [])]
            reward, base = (
                Table()([""], [one.text], [len(one.log_probs) > len(one.tokens)])[0] for one in (each, baseline)
            )
            literal = literal - (reward - base) * log_prob(task, batch, tokens) / 6
            rewards.append(reward)
    assert loss.count == 6
    assert float(loss.logged["reward"]) == pytest.approx(np.mean(rewards))
    torch.testing.assert_close(found, gradients(task, literal))


def test_in_expectation_it_is_the_gradient_of_the_expected_reward() -> None:
    task, batch = tiny(num_samples=1000, images=20)
    loss = task.loss(batch)
    found = gradients(task, loss.total / loss.count)
    expected = torch.zeros(())
    for tokens in ([EOS], *([first, last] for first in (4, 5) for last in (EOS, 4, 5))):
        ended = tokens[-1] == EOS
        text = task.vocabulary.tokenizer.detokenize(task.vocabulary.decode(tokens[: -1 if ended else None]))
        expected = expected - log_prob(task, batch, tokens).exp() * Table()([""], [text], [ended])[0]
    exact = gradients(task, expected)
    assert (found - exact).norm() < 0.05 * exact.norm()


def test_the_baseline_is_decoded_in_evaluation_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    task, batch = tiny(num_samples=2, images=2, dropout=0.5)
    task.encoder.eval()
    modes = []
    prepare = task.decoder.prepare
    monkeypatch.setattr(
        task.decoder,
        "prepare",
        lambda context: modes.append((task.decoder.training, torch.is_grad_enabled())) or prepare(context),
    )
    task.loss(batch).total.backward()
    assert modes == [(True, True), (False, False)]
    assert task.decoder.training
    assert not task.encoder.training
    task.eval()
    assert task.loss(batch).count == 2  # in validation: words, under cross entropy


def test_a_short_run_raises_the_reward(fit: Callable[..., int], classifier_file: Path, tmp_path: Path) -> None:
    """By the overlay, from the weights of a first training."""
    flags = ["--model.init_args.encoder", "vlrnn.nn.TorchvisionEncoder", "--model.init_args.encoder.name", CLASSIFIER]
    flags += ["--model.init_args.encoder.weights", str(classifier_file)]
    flags += ["--data.cache", str(tmp_path / "cache"), "--model.init_args.optimization.lr", "0.01"]
    flags += ["--model.init_args.decoder.recurrence.hidden_size", "32", "--trainer.check_val_every_n_epoch", "40"]
    assert fit(tmp_path / "first", *flags, "--trainer.max_epochs", "40") == 0
    flags += ["--config", OVERLAY, "--init_from", str(tmp_path / "first/checkpoints/last.ckpt")]
    flags += ["--trainer.max_epochs", "40", "--trainer.log_every_n_steps", "1"]
    flags += ["--model.init_args.objective.max_new_tokens", "10", "--model.init_args.objective.num_samples", "50"]
    flags += ["--model.init_args.optimization.lr", "0.01"]
    assert fit(tmp_path / "second", *flags) == 0
    with (tmp_path / "second/log.csv").open(newline="") as file:
        rewards = [float(row["train/reward"]) for row in csv.DictReader(file) if row["train/reward"]]
    assert len(rewards) == 80
    assert np.mean(rewards[-20:]) > np.mean(rewards[:10]) + 0.3


def test_without_references_of_train_it_is_refused() -> None:
    task, batch = tiny(num_samples=2, images=2)
    task.objective.reward = None  # type: ignore[assignment]
    with pytest.raises(UserError, match="needs the references of train"):
        task.loss(batch)
