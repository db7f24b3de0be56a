"""Self-critical sequence training: the reward of sampled captions against that of greedy decoding."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from vlrnn.data.batches import Batch
from vlrnn.data.datamodule import VisionLanguageData
from vlrnn.data.records import open_split
from vlrnn.errors import UserError, check_least
from vlrnn.generation.generate import GeneratedSequence
from vlrnn.generation.search import GenerationConfig
from vlrnn.metrics.caption_measures import CiderReward
from vlrnn.nn.encoders.base import Encoder
from vlrnn.training.objectives.base import CrossEntropy, Loss, Objective, TeacherForcingTask


@runtime_checkable
class SamplingTask(TeacherForcingTask, Protocol):
    """A task, a module, that generates texts about the images of a batch."""

    encoder: Encoder

    def with_features(self, batch: Batch) -> Batch:
        """The batch with the encoder's output in the place of its images."""

    def sample(self, batch: Batch, settings: GenerationConfig) -> tuple[list[list[GeneratedSequence]], Tensor]:
        """R texts of each of B images, and their log probabilities [B, R], with their graph where gradients are
        enabled."""


class SelfCritical(Objective):
    """Self-critical sequence training (Rennie et al., CVPR 2017, equations 5 to 8).

    The loss of an image is -1/R * sum over R sampled captions of (reward - baseline) * log p(caption): REINFORCE with
    the reward of greedy decoding as baseline. Captions are sampled in training mode, and the baseline is decoded in
    evaluation mode, without gradient. The reward is CIDEr-D with the document frequencies of train. In validation the
    loss is the cross entropy of words, as of the training before. It is meant for a model that was trained with cross
    entropy (`--init_from`).

    Args:
        num_samples: R, captions sampled for each image.
        max_new_tokens: the most tokens of a sampled or greedy caption, `<eos>` included.
        count_eos: take `<eos>` for a token in the reward; without it captions lose their ends.
    """

    task_type = SamplingTask

    def __init__(self, num_samples: int = 5, max_new_tokens: int = 30, count_eos: bool = True) -> None:
        super().__init__()
        check_least("objective.num_samples", num_samples)
        self.count_eos = count_eos
        self.cross_entropy = CrossEntropy()
        self.reward: CiderReward | None = None
        self._sampling = GenerationConfig(
            temperature=1.0, num_return_sequences=num_samples, max_new_tokens=max_new_tokens
        )
        self._greedy = GenerationConfig(max_new_tokens=max_new_tokens)

    def setup(self, task: Any, data: VisionLanguageData | None) -> None:
        """Count the references of train; without a data module, give `reward` from Python."""
        if data is not None:
            references = {example.id: example.captions for example in open_split(data.root, "train")}
            self.reward = CiderReward(references, data.vocabulary.tokenizer, self.count_eos)

    def loss(self, task: SamplingTask, batch: Batch) -> Loss:
        if not self.training:
            return self.cross_entropy.loss(task, batch)
        if task.encoder.frozen:  # else its output may differ between training and evaluation mode
            batch = task.with_features(batch)
        sampled, log_probs = task.sample(batch, self._sampling)
        with _evaluation_mode(task):
            greedy, _ = task.sample(batch, self._greedy)
        rewards, baseline = self._rewards(batch, sampled), self._rewards(batch, greedy)
        advantage = (rewards - baseline).to(log_probs)
        logged = {"reward": rewards.mean(), "baseline": baseline.mean()}
        return Loss(-(advantage * log_probs).sum(), log_probs.new_full((), log_probs.numel()), logged)

    def _rewards(self, batch: Batch, texts: Sequence[Sequence[GeneratedSequence]]) -> Tensor:
        """The rewards [B, R] of R texts of each image."""
        if self.reward is None:
            raise UserError("objective: a reward needs the references of train; give `fit` a data module")
        rows = [(example.id, each) for example, some in zip(batch.examples, texts, strict=True) for each in some]
        ended = [len(each.log_probs) > len(each.tokens) for _, each in rows]
        rewards = self.reward([id for id, _ in rows], [each.text for _, each in rows], ended)
        return torch.from_numpy(rewards).view(len(texts), -1)


@contextmanager
def _evaluation_mode(task: Any) -> Iterator[None]:
    """Have all modules of a task in evaluation mode, without gradients."""
    modes: list[tuple[nn.Module, bool]] = [(module, module.training) for module in task.modules()]
    task.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
