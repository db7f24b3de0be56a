"""Activations of the hidden units of a model over a text, or over captions: each layer's output, cell and gates.

Shapes: B rows, L layers, D hidden size, N input units in all, S passages, U hidden units.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vlrnn.data.batches import Batch, collate
from vlrnn.data.records import Id
from vlrnn.data.text_datamodule import PASSAGE
from vlrnn.errors import UserError
from vlrnn.files import read_text
from vlrnn.inference.predictor import Predictor
from vlrnn.metrics.statistics import Floats
from vlrnn.nn.batching import Tree, index_rows
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.probes.model.encoded_split import encoded
from vlrnn.progress import track
from vlrnn.text.tokenizers import WORDS
from vlrnn.text.vocabulary import BOS, UNK
from vlrnn.training.module import Task

OPEN, CLOSED = 0.9, 0.1
"""A gate that is above, or below, is saturated (Karpathy, Johnson, Fei-Fei 2016, section 4.2)."""

FEWEST = 4
"""Passages, or images, at least: two to choose units on, two to evaluate them."""

_BATCH = 32  # images at a time


class Passage(NamedTuple):
    """A piece of input: the `id` of the passage, or of the caption's example; the number of its `group`, its image or
    itself; and its `units`, whose concatenation is the text."""

    id: Id
    group: int
    units: Sequence[str]


@dataclass(frozen=True)
class Activations:
    """The input of a model, and its activations.

    Attributes:
        passages: S of them; their positions are numbered consecutively.
        activations: [N, U], after each input unit.
        names: U, of the hidden units: `h1.5` is number 5 (from 0) of the output of layer 1, `c1.5` of its cell.
        gates: (layer, from 1, and name) -> the shares of the gate's values that are open and closed, summed over the
            positions of each passage: [S, 2].
        running: whether the passages are consecutive pieces of one text.
        source: the settings of the input, for results.
        notes: for the reader of a result.
    """

    passages: Sequence[Passage]
    activations: np.ndarray
    names: Sequence[str]
    gates: dict[tuple[int, str], Floats]
    running: bool
    source: dict[str, object]
    notes: Sequence[str]

    @property
    def pieces(self) -> list[Sequence[str]]:
        """The units of each continuous input: of each caption, or of the whole text."""
        each_of = [each.units for each in self.passages]
        return [[unit for units in each_of for unit in units]] if self.running else each_of


class Step(NamedTuple):
    """A step of a recurrence: `activations` [B, U], and of each gate the shares [B, L, 2] of open and closed values."""

    activations: Tensor
    gates: dict[str, Tensor]


class RecordingRecurrence(Recurrence):
    """A recurrence that records the steps of another, and can replace it in a decoder.

    Args:
        inner: the recurrence to record.
    """

    def __init__(self, inner: Recurrence) -> None:
        super().__init__()
        self.inner = inner
        self.hidden_size, self.causal = inner.hidden_size, inner.causal
        self.accepts_initial_state = inner.accepts_initial_state
        self.steps: list[Step] = []

    def initial_state(self, batch_size: int) -> Tree:
        return self.inner.initial_state(batch_size)

    def step(self, x: Tensor, state: Tree) -> tuple[Tensor, Tree]:
        gates = {
            name: torch.stack([(each > OPEN).float().mean(-1), (each < CLOSED).float().mean(-1)], -1)
            for name, each in self.inner.gates(x, state).items()
        }
        y, state = self.inner.step(x, state)
        outputs, cells = self.inner.layer_outputs(state), self.inner.layer_cells(state)
        layers = outputs if cells is None else torch.cat([outputs, cells], 1)
        self.steps.append(Step(layers.flatten(1), gates))
        return y, state

    def names(self) -> list[str]:
        """The names of the hidden units."""
        state = self.inner.initial_state(1)
        kinds = "h" if self.inner.layer_cells(state) is None else "hc"
        layers = range(1, self.inner.layer_outputs(state).shape[1] + 1)
        return [f"{kind}{layer}.{unit}" for kind in kinds for layer in layers for unit in range(self.hidden_size)]

    def taken(self) -> Step:
        """The T recorded steps as one of [B, T, ...] on the CPU; clears the record.

        Raises:
            UserError: activations are not finite.
        """
        steps, self.steps = self.steps, []
        activations = torch.stack([each.activations for each in steps], 1).float().cpu()
        if not activations.isfinite().all():
            raise UserError("the model's activations are not finite: its training has diverged; lower optimization.lr")
        gates = {name: torch.stack([each.gates[name] for each in steps], 1).cpu() for name in steps[0].gates}
        return Step(activations, gates)


class _Collector:
    """Collects passages and the activations at their positions."""

    def __init__(self) -> None:
        self.passages: list[Passage] = []
        self.activations: list[np.ndarray] = []
        self.gates: dict[tuple[int, str], list[np.ndarray]] = {}

    def add(self, passage: Passage, step: Step, row: int, start: int) -> None:
        """Add a passage whose units are the steps [B, T, ...] of a row from `start` on."""
        places = slice(start, start + len(passage.units))
        self.passages.append(passage)
        self.activations.append(step.activations[row, places].numpy())
        for name, shares in step.gates.items():
            for layer, each in enumerate(shares[row, places].sum(0), 1):
                self.gates.setdefault((layer, name), []).append(each.double().numpy())

    @property
    def count(self) -> int:
        """Positions so far."""
        return sum(map(len, self.activations))

    def build(
        self, names: Sequence[str], running: bool, source: dict[str, object], notes: Sequence[str]
    ) -> Activations:
        gates = {key: np.stack(each) for key, each in sorted(self.gates.items())}
        return Activations(self.passages, np.concatenate(self.activations), names, gates, running, source, notes)


@torch.inference_mode()
def record_text(predictor: Predictor, path: str | Path, limit: int = 20_000) -> Activations:
    """Run a language model over a text from its start, its state carried through.

    Args:
        predictor: the model.
        path: of the text.
        limit: units at most.

    Returns:
        passages of 256 units each, as in scoring of texts; an incomplete last passage is left out.

    Raises:
        UserError: no such text, it is too short, or the model is no language model.
    """
    model = predictor.require({"text"}, "reads no --text, which is for language models")
    units = model.tokenizer.split(read_text(path))
    count = min(limit, len(units)) // PASSAGE
    if count < FEWEST:
        raise UserError(
            f"{path}: {min(limit, len(units)):,} {model.tokenizer.name} are too few to select hidden units on one half "
            f"and to test them on the other: give a longer text, and a --limit of {FEWEST * PASSAGE:,} at least"
        )
    ids = model.vocabulary.encode(units[: count * PASSAGE])
    recorder, collector = RecordingRecurrence(model.decoder.recurrence), _Collector()
    # The step of `<bos>` is not recorded: it is no position of the text.
    embedded = model.decoder.embedding(torch.tensor([BOS, *ids], device=predictor.device))
    _, state = recorder.inner.step(embedded[:1], recorder.initial_state(1))
    for number in track(range(count), "passages"):
        passage = slice(number * PASSAGE, (number + 1) * PASSAGE)
        for x in embedded[1:][passage].split(1):
            _, state = recorder.step(x, state)
        name = f"{Path(path).stem}-{passage.start:09}"
        collector.add(Passage(name, number, units[passage]), recorder.taken(), 0, 0)
    notes = _unknown_note(ids, model.tokenizer.name)
    if left := len(units) - count * PASSAGE:
        message = f"the last {left:,} of {len(units):,} {model.tokenizer.name} were not read"
        notes.append(f"{message} (--limit; an incomplete passage of {PASSAGE})")
    source = {"text": str(path), "units": model.tokenizer.name, "passages": count}
    return collector.build(recorder.names(), True, source, notes)


@torch.inference_mode()
def record_captions(
    predictor: Predictor, folder: str | Path, split: str = "test", limit: int = 20_000, cache: str | Path | None = None
) -> Activations:
    """Run a captioner over the reference captions of a data set under teacher forcing.

    Args:
        predictor: the captioner.
        folder, split: images with their captions.
        limit: words after which no more images are taken.
        cache: the folder for encoder outputs; see `vlrnn.probes.model.encoded_split`.

    Returns:
        a passage for each caption, a group for each image.

    Raises:
        UserError: too few images, no such data, or the model is no captioner.
    """
    captioner = predictor.require({"image"}, "reads no --data, which are for captioners")
    recurrence = getattr(captioner.decoder, "recurrence", None)
    if not isinstance(recurrence, Recurrence):
        name = type(captioner.decoder).__name__
        raise UserError(f"{predictor.name}: {name} has no recurrence")
    collector, groups, ids = _Collector(), dict[Id, int](), list[int]()
    tokenize, unit = predictor.tokenizer.tokenize, predictor.tokenizer.name
    space = " " if predictor.tokenizer is WORDS else ""
    recorder = RecordingRecurrence(recurrence)
    with encoded(predictor, folder, split, cache, captions=None) as shown:
        for items in shown.batches(_BATCH, "captions"):
            batch = collate(items).to(predictor.device)
            tokenized = [(example, tokenize(caption)) for example in batch.examples for caption in example.captions]
            if tokenized and collector.count < limit:
                step = _record_caption(captioner, batch, recorder)
                for row, (example, words) in enumerate(tokenized):
                    if words:
                        group = groups.setdefault(example.image_id, len(groups))
                        units = [words[0], *(f"{space}{word}" for word in words[1:])]
                        collector.add(Passage(example.id, group, units), step, row, 1)
                        ids += captioner.vocabulary.encode(words)
    if len(groups) < FEWEST:
        raise UserError(
            f"{folder}/{split}.jsonl: {len(groups)} images with captions are too few to select hidden units on one "
            f"half and to test them on the other; give {FEWEST} at least"
        )
    notes = _unknown_note(ids, unit)
    if len(groups) < len(shown.image_index):
        notes.append(f"the captions of {len(groups):,} of {len(shown.image_index):,} images were read (--limit)")
    source = {"data": str(folder), "split": split, "units": unit, "captions": len(collector.passages)}
    return collector.build(recorder.names(), False, source, notes)


def _record_caption(captioner: Task, batch: Batch, recorder: RecordingRecurrence) -> Step:
    """The steps [M, T, ...] of captions [M, 1 + T]: every token is an input but the last, `<eos>`. One step at a time,
    because a scan over the whole sequence records no steps."""
    decoder = captioner.decoder
    memory = index_rows(decoder.prepare(captioner.encode_images(batch)), batch.image_index)
    state = decoder.init_state(memory)
    inner, decoder.recurrence = decoder.recurrence, recorder
    try:
        for word in batch.tokens[:, :-1].to(captioner.device).split(1, 1):
            _, state = decoder.step(word, state, memory)
    finally:
        decoder.recurrence = inner
    return recorder.taken()


def _unknown_note(ids: Sequence[int], units: str) -> list[str]:
    """A note if there are units outside the vocabulary."""
    unknown = sum(id == UNK for id in ids)
    message = f"{unknown:,} of {len(ids):,} {units} are not in the training data: one unknown token for the model"
    return [message] if unknown else []
