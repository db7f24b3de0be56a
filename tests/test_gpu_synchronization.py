"""A step of training never waits for a GPU: nothing in it depends on numbers that are computed there.

There need be none: fake tensors have a device, shapes and types, and no numbers, so that whoever reads one is found.
"""

import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from quick import quick
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from vlrnn.data.batches import Batch
from vlrnn.data.records import Example
from vlrnn.data.text_datamodule import TextBatch
from vlrnn.nn.attention import SoftAttention
from vlrnn.nn.decoders.language_model import RecurrentLanguageModel
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.nn.fusion import Concatenation
from vlrnn.nn.question_encoder import MaxOverTime, RecurrentQuestionEncoder
from vlrnn.nn.question_image import QuestionGuidedAttention
from vlrnn.nn.recurrent.linear import MinGRU
from vlrnn.nn.recurrent.rnn import LSTM
from vlrnn.nn.recurrent.wrappers import Bidirectional
from vlrnn.tasks.captioning import Captioner
from vlrnn.tasks.classifier_vqa import ClassifierVQA
from vlrnn.tasks.generative_vqa import GenerativeVQA
from vlrnn.tasks.language_model import LanguageModel
from vlrnn.text.tokenizers import CharTokenizer
from vlrnn.text.vocabulary import AnswerPrior, AnswerVocabulary, Vocabulary
from vlrnn.training.module import Task
from vlrnn.training.objectives.answers import MajorityCrossEntropy, SoftScores
from vlrnn.training.objectives.base import CrossEntropy
from vlrnn.training.objectives.debiasing import BiasProduct, LearnedMixin, Reweighting, RUBi

WORDS = Vocabulary(list("abcdefgh"))
ANSWERS = AnswerVocabulary(("a", "b", "c"))
GPU = torch.device("cuda", 0)


class MadeUpGPU(TorchDispatchMode):
    """Tensors on the CPU are what they are; those on a GPU have a shape and a type, and no numbers. Copies that are
    waited for are refused, unless `waits`: from the GPU, and to it where they are not told to be non-blocking."""

    def __init__(self, fake: FakeTensorMode) -> None:
        super().__init__()
        self.fake, self.waits = fake, False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        device = torch.device(kwargs.get("device") or "cpu")
        if device.type == "cpu" and not any(isinstance(each, FakeTensor) for each in given):
            with unset_fake_temporarily():
                return function(*args, **kwargs)
        if function is torch.ops.aten._to_copy.default and not isinstance(args[0], FakeTensor):
            assert self.waits or kwargs.get("non_blocking"), "taken to the GPU and waited for"
        args, kwargs = tree_map_only(torch.Tensor, self._faked, (args, kwargs))
        found = function(*args, **kwargs)
        assert all(each.device.type == "cuda" for each in tree_leaves(found) if isinstance(each, torch.Tensor))
        return found

    def _faked(self, each: torch.Tensor) -> torch.Tensor:
        return each if isinstance(each, FakeTensor) else self.fake.from_tensor(each)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[MadeUpGPU]:
    # The native kernels cannot be made up; what the library does before and behind them is looked at.
    monkeypatch.setattr(nn.LSTM, "forward", lambda self, xs, state: (xs, state))
    monkeypatch.setattr(torch._VF, "_pack_padded_sequence", packed)
    monkeypatch.setattr(torch._VF, "_pad_packed_sequence", lambda ys, lengths, *_: (ys, lengths))
    with warnings.catch_warnings(action="ignore"), FakeTensorMode() as fake, MadeUpGPU(fake) as made_up:
        yield made_up


def packed(xs: torch.Tensor, lengths: torch.Tensor, batch_first: bool) -> tuple[torch.Tensor, torch.Tensor]:
    assert lengths.device.type == "cpu"
    return xs, lengths


def decoder() -> ShowAttendTell:
    return ShowAttendTell(
        LSTM(6), SoftAttention(4), embedding_dim=5, region_dim=7, position_frequencies=2, attend_with_word=True
    )


def questions(cell: Any = None) -> dict[str, Any]:
    reader = RecurrentQuestionEncoder(
        cell or Bidirectional(MinGRU(6, num_layers=2)), embedding_dim=6, pooling=None if cell else MaxOverTime()
    )
    pooling = QuestionGuidedAttention(SoftAttention(4), num_glimpses=2, region_dim=7, add_mean_pool=True)
    return {"question_encoder": reader, "image_pooling": pooling, "fusion": Concatenation(8)}


def classifier(loss: Any) -> ClassifierVQA:
    prior = AnswerPrior({"what": {"a": 3, "b": 1}})
    return ClassifierVQA(WORDS, ANSWERS, BlindEncoder(), **questions(), objective=loss, prior=prior)


TASKS: dict[str, Any] = {
    "captions": lambda: Captioner(
        WORDS, BlindEncoder(), decoder(), objective=CrossEntropy(0.1, doubly_stochastic_weight=1.0)
    ),
    "spoken answers": lambda: GenerativeVQA(WORDS, ANSWERS, BlindEncoder(), **questions(LSTM(6)), decoder=decoder()),
    "soft answers": lambda: classifier(SoftScores()),
    "the majority's answer": lambda: classifier(MajorityCrossEntropy()),
    "reweighting": lambda: classifier(Reweighting()),
    "bias product": lambda: classifier(BiasProduct()),
    "learned mixin": lambda: classifier(LearnedMixin()),
    "RUBi": lambda: classifier(RUBi()),
    "text": lambda: LanguageModel(WORDS, CharTokenizer(), RecurrentLanguageModel(MinGRU(6), embedding_dim=5)),
}


def batch() -> Any:
    texts = ("a b", "a", ""), (("a", "b"), ("c",), ("no answer of the set",))
    examples = tuple(
        Example(str(number), "1", "1.png", question=question, answers=answers, question_type="what")
        for number, (question, answers) in enumerate(zip(*texts, strict=True))
    )
    tokens = torch.tensor([[1, 4, 5, 2], [1, 6, 2, 0], [1, 2, 0, 0]])
    return Batch(None, torch.zeros(2, 1, 1), tokens, torch.tensor([0, 1, 1]), examples)


def move(task: Task, device: torch.device = GPU) -> None:
    """As `task.to(device)`, which fake tensors do not support."""
    for module in task.modules():
        for name, each in module._parameters.items():
            module._parameters[name] = None if each is None else nn.Parameter(each.detach().to(device))
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else buffer.to(device)
    task._device = device


@pytest.mark.parametrize("what", quick(TASKS, "captions", "spoken answers", "soft answers", "RUBi", "text"))
def test_a_step_waits_for_no_gpu(what: str, gpu: MadeUpGPU, monkeypatch: pytest.MonkeyPatch) -> None:
    words, task = batch(), TASKS[what]()
    if what == "text":
        words = TextBatch(words.tokens, True, words.examples)
    monkeypatch.setattr(Task, "global_step", 0)
    monkeypatch.setattr(Task, "log", lambda *_, **__: None)
    task._trainer = SimpleNamespace(world_size=1, accumulate_grad_batches=1)

    def step() -> None:
        loss = task.training_step(words.to(GPU, non_blocking=True), 0)
        assert loss.requires_grad
        for each in task.parameters():  # going back needs a real GPU
            each.grad = torch.zeros_like(each)
        task.on_before_optimizer_step(None)

    gpu.waits = True  # the first step takes what is counted over steps to the GPU, once
    move(task)
    step()
    gpu.waits = False
    step()
    assert all(each.device.type == "cuda" for each in task.parameters())


def test_who_waits_is_found(gpu: MadeUpGPU) -> None:
    on_gpu = torch.zeros(3).to(GPU, non_blocking=True)
    texts, lengths = torch.zeros(2, 3, 4).to(GPU, non_blocking=True), torch.tensor([1, 3])
    ways = [
        lambda: on_gpu.sum().item(),
        lambda: on_gpu[on_gpu > 0],
        lambda: on_gpu.cpu(),
        lambda: on_gpu + torch.ones(3),
        lambda: torch.ones(3).to(GPU),
        lambda: nn.utils.rnn.pack_padded_sequence(texts, lengths, batch_first=True, enforce_sorted=False),
    ]
    for wait in ways:
        with pytest.raises(Exception):  # noqa: B017, PT011 (of whichever kind)
            wait()
