"""Costs of a recurrence: parameters, the size of its state, and words per second in training and in decoding.

Takes trained models; independent of their recurrences.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from vlrnn.data.batches import Batch, collate
from vlrnn.inference.predictor import Predictor
from vlrnn.nn.batching import leaves
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.probes.finding import constant_score
from vlrnn.probes.model.encoded_split import encoded
from vlrnn.report.run import load_run
from vlrnn.studies.fitting import one_thread
from vlrnn.text.vocabulary import PAD
from vlrnn.yaml_text import read_yaml

_IMAGES = 32  # in a batch

Score = dict[str, float | int]


@one_thread()
def costs(runs: Mapping[str, Path], repeats: int = 5) -> dict[str, dict[str, Score]]:
    """Measure models side by side, in turns; on a CPU the time of one thread.

    Args:
        runs: name -> the run folder of a model that was scored.
        repeats: how often each is timed.

    Returns:
        name -> `parameters` of its recurrences; `state`, the size of their state for a row; `trained_words`, words of
        captions or questions per second in training; `decoded_words`, words per second in decoding by its recipe, of
        captions, or of the answered questions. Times are medians, with the fastest and the slowest.
    """
    with ExitStack() as stack:
        timed = {name: _Timed(run, stack) for name, run in runs.items()}
        for each in timed.values():  # the first time includes what is loaded once
            each.train()
            each.decode()
        trained: dict[str, list[float]] = {name: [] for name in timed}
        decoded: dict[str, list[float]] = {name: [] for name in timed}
        for _ in range(repeats):
            for name, each in timed.items():
                trained[name].append(each.train())
                decoded[name].append(each.decode())
    return {
        name: {
            "parameters": constant_score(each.parameters),
            "state": constant_score(each.state),
            "trained_words": _median(trained[name]),
            "decoded_words": _median(decoded[name]),
        }
        for name, each in timed.items()
    }


class _Timed:
    """A model, and a batch of the data that it was scored on."""

    def __init__(self, run: Path, stack: ExitStack) -> None:
        predictor = Predictor.load(run / "checkpoints" / "best.ckpt")
        self.task, self.device = predictor.task, predictor.device
        data, split = load_run(run).scored_on or ("", "")
        cache = read_yaml(run / "config.yaml")["data"]["cache"]
        cache = cache or run.parent.parent / "cache"  # shared by all: their encoders are the same
        examples = stack.enter_context(encoded(predictor, data, split, cache, captions=None))
        self.batch = collate(next(iter(islice(examples.batches(_IMAGES, "a batch"), 1)))).to(self.device)
        self.optimizer = self.task.optimization.optimizer(self.task, self.task.encoder)
        parts = _recurrences(self.task)
        self.parameters = sum(each.numel() for part in parts for each in part.parameters())
        self.state = sum(leaf[0].numel() for part in parts for leaf in leaves(part.initial_state(1)))

    def train(self) -> float:
        """Words per second of a step of training."""
        self.task.train()
        return _words(self.batch) / self._seconds(self._step)

    def decode(self) -> float:
        """Words per second of decoding."""
        self.task.eval()
        counts: list[int] = []
        seconds = self._seconds(lambda: counts.append(self._decoded_words()))
        return counts[0] / seconds

    def _step(self) -> None:
        loss = self.task.loss(self.batch)
        (loss.total / loss.count).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.inference_mode()
    def _decoded_words(self) -> int:
        predictions = self.task.predict(self.batch)
        if "question" in self.task.accepts:
            return _words(self.batch)
        return sum(len(each.tokens) + 1 for each in predictions)  # with the end

    def _seconds(self, what: Callable[[], None]) -> float:
        clock = time.process_time if self.device.type == "cpu" else time.perf_counter
        began = clock()
        what()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return clock() - began


def _words(batch: Batch) -> int:
    """Words of questions; of captions with their ends."""
    rows = batch.tokens if batch.examples[0].question is not None else batch.tokens[:, 1:]
    return int((rows != PAD).sum())


def _recurrences(model: torch.nn.Module) -> list[Recurrence]:
    """The recurrences of a model, without those within others."""
    if isinstance(model, Recurrence):
        return [model]
    return [found for child in model.children() for found in _recurrences(child)]


def _median(measured: list[float]) -> Score:
    low, value, high = np.quantile(measured, [0, 0.5, 1]).tolist()
    return {"value": value, "low": low, "high": high, "n": len(measured)}
