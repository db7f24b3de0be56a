"""Mistakes in classes outside vlrnn: each is a UserError of one line, which names the class, the method and what it
must return."""

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from conftest import SMALL_RECIPE
from own_parts import CellColours, LeakyUnit, PlaceNaming, PooledDecoder, ScaledCrossEntropy
from torch import Tensor, nn

from vlrnn.cli import main
from vlrnn.data.batches import Batch
from vlrnn.data.loaders import SplitDataModule
from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.nn.attention import Attention, SoftAttention
from vlrnn.nn.decoders.base import Decoder, DecoderOutput
from vlrnn.nn.encoders.base import Context, Encoder
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.tasks.captioning import Captioner
from vlrnn.text.vocabulary import BOS, EOS, Vocabulary
from vlrnn.training.module import Task
from vlrnn.training.objectives.base import Loss, Objective
from vlrnn.training.recipes import task_class

B, V, D = 4, 9, 6


def with_methods(part_class: type, **methods: Any) -> Any:
    """A subclass of this name with these methods."""
    return type("Mine", (part_class,), {"__module__": __name__, **methods})


def without(part_class: type, base: type, name: str) -> Any:
    """The class with the method of its base."""
    return with_methods(part_class, **{name: vars(base)[name]})


def context() -> Context:
    return Context(torch.rand(B, 5, D), torch.ones(B, 5, dtype=torch.bool), torch.rand(B, D))


def use_decoder(condition_dim: int = 0, cell: Callable[[], Recurrence] = LeakyUnit, **methods: Any) -> None:
    decoder = with_methods(PooledDecoder, **methods)(cell()).build(V, D, *([condition_dim] if condition_dim else []))
    decoder.prepare(context())


def step_with(change: Callable[[DecoderOutput, Tensor], Any]) -> Callable[..., Any]:
    return lambda self, tokens, state, memory: change(*PooledDecoder.step(self, tokens, state, memory))


def use_cell(**methods: Any) -> None:
    with_methods(LeakyUnit, **methods)().build(3)


class Weights(SoftAttention):
    def forward(self, query: Tensor, keys: Tensor, regions: Tensor, mask: Tensor) -> Any:
        return super().forward(query, keys, regions, mask)[0]


def small_batch() -> Batch:
    captions = torch.tensor([[BOS, 4, 5, EOS]] * B)
    examples = tuple(Example(n, n, f"{n}.png", ("a b",)) for n in range(B))
    return Batch(torch.zeros(B, 3, 8, 8, dtype=torch.uint8), None, captions, torch.arange(B), examples)


def use_task(encoder: Callable[[], Encoder] = CellColours, objective: Objective | None = None, **methods: Any) -> None:
    task_type = with_methods(Captioner, **methods)
    task = task_type(Vocabulary(["a", "b"]), encoder(), PooledDecoder(LeakyUnit()), objective=objective)
    task.trainer = SimpleNamespace(state=SimpleNamespace(fn="fit"))
    task.log = lambda *_, **__: None
    task._collect(small_batch())
    task.training_step(small_batch(), 0)


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "build returns nothing": (
        lambda: use_decoder(build=lambda self, *sizes: PooledDecoder.build(self, *sizes) and None),
        "Mine.build must end with `return self`; it returns None",
    ),
    "build takes no condition_dim": (
        lambda: use_decoder(5, build=lambda self, vocab_size, feature_dim: self),
        r"Mine.build\(vocab_size, feature_dim\) must take the arguments of Decoder.build\(vocab_size, feature_dim, c",
    ),
    "a second build": (
        lambda: copy.deepcopy(PooledDecoder(LeakyUnit()).build(V, D)).build(V, D),
        "PooledDecoder: is already part of a model",
    ),
    "one recurrence in two decoders": (
        lambda: [PooledDecoder(cell).build(V, D) for cell in [LeakyUnit()] * 2],
        "LeakyUnit: is already part of a model",
    ),
    "no logits": (
        lambda: without(PooledDecoder, Decoder, "logits")(LeakyUnit()),
        r"Mine: Decoder requires the method logits\(hidden\): Logits of the next word: hidden \[..., H\] -> \[..., V\]",
    ),
    "a memory that is a dict": (
        lambda: use_decoder(prepare=lambda self, context: {"pooled": context.pooled}),
        r"Mine.prepare must return a tensor or a tuple of tensors \[B, ...\] as the memory, nested or not, not a dict",
    ),
    "a state that is a list": (
        lambda: use_decoder(init_state=lambda self, memory, condition=None: [memory, memory]),
        r"Mine.init_state must return a tensor or a tuple of tensors \[B, ...\] as the state, nested .* a list",
    ),
    "a state with a number": (
        lambda: use_decoder(init_state=lambda self, memory, condition=None: (memory, 0)),
        "Mine.init_state must return .* not one with an int",
    ),
    "one row for all": (
        lambda: use_decoder(init_state=lambda self, memory, condition=None: memory[:1]),
        r"Mine.init_state must return tensors \[B, ...\] as the state, here \[3, ...\], not \[1, 6\]",
    ),
    "a condition that is not taken": (
        lambda: use_decoder(5, init_state=lambda self, memory: memory),
        r"Mine.init_state\(memory, condition\) must .* \[B \* K, ...\] .*; it takes none. A decoder without",
    ),
    "a condition that is not used": (lambda: use_decoder(5), "; it returns one row for each image. "),
    "hidden as rows": (
        lambda: use_decoder(step=step_with(lambda out, state: (DecoderOutput(out.hidden.flatten(0, 1)), state))),
        r"Mine.step: hidden must be a tensor \[B, K, H\], here \[3, 2, H\], not \[6, 8\]",
    ),
    "hidden without DecoderOutput": (
        lambda: use_decoder(step=step_with(lambda out, state: (out.hidden, state))),
        "Mine.step must return a DecoderOutput.* not a Tensor",
    ),
    "no next state": (
        lambda: use_decoder(step=step_with(lambda out, state: [out])),
        "Mine.step must return a DecoderOutput and the next state, not a list",
    ),
    "weights of all regions as one": (
        lambda: use_decoder(step=step_with(lambda out, state: (out._replace(attention=out.hidden[0]), state))),
        r"Mine.step: attention must be a tensor \[B, K, N\]",
    ),
    "a state that grows": (
        lambda: use_decoder(step=step_with(lambda out, state: (out, torch.cat([state, state], 1)))),
        r"Mine.step must return a next state of the same shapes as the state, \[\[6, 8\]\], not \[\[6, 16\]\]",
    ),
    "logits of another vocabulary": (
        lambda: use_decoder(logits=lambda self, hidden: hidden),
        r"Mine.logits must be a tensor \[B, K, V\], here \[3, 2, 9\], not \[3, 2, 8\]",
    ),
    "hidden of another size than logits takes": (
        lambda: use_decoder(step=step_with(lambda out, state: (DecoderOutput(out.hidden[..., :3]), state))),
        r"Mine: fails in logits \(own_parts.py, line \d+\): RuntimeError: mat1 and mat2 shapes cannot be multiplied",
    ),
    "a cell without hidden_size": (
        lambda: use_cell(__init__=lambda self: Recurrence.__init__(self), build=lambda self, width: self),
        "Mine: Recurrence requires the attribute hidden_size",
    ),
    "a cell without step": (
        lambda: without(LeakyUnit, Recurrence, "step")(),
        "Mine: Recurrence requires the method step",
    ),
    "a cell whose forward is not its steps": (
        lambda: use_cell(
            forward=lambda self, xs, state, lengths=None: (xs.mean(-1, keepdim=True) + state[:, None], state)
        ),
        r"Mine.forward\(xs, state\) must return the same as .*; at step 1 the outputs differ by",
    ),
    "outputs of the last step alone": (
        lambda: use_cell(forward=lambda self, xs, state, lengths=None: (state, state)),
        r"the outputs of Mine.forward must be a tensor \[B, T, D\], here \[2, 3, 8\], not \[2, 8\]",
    ),
    "a cell with a list": (
        lambda: use_cell(initial_state=lambda self, batch_size: [torch.zeros(batch_size, 8)]),
        "Mine.initial_state must return a tensor or .* not a list",
    ),
    "attention without weights": (
        lambda: Weights(4).build(3, D),
        r"Weights.forward must return attended features \[B, K, D\] and weights \[B, K, N\], not a Tensor",
    ),
    "no keys": (lambda: without(SoftAttention, Attention, "prepare")(4), "Mine: Attention requires the method prepare"),
    "a map of another width": (
        lambda: use_task(with_methods(CellColours, feature_dim=5)),
        r"Mine.encode: regions must be a tensor \[B, num_regions, feature_dim\], here \[B, 16, 5\], not \[4, 16, 6\]",
    ),
    "an encoder without a size": (
        lambda: use_task(with_methods(CellColours, num_regions=None)),
        "Mine: Encoder requires the attribute num_regions",
    ),
    "a context that is a tuple": (
        lambda: use_task(with_methods(CellColours, context=lambda self, regions: (regions, None))),
        r"Mine.context must return a Context\(regions, mask, pooled\), not a tuple",
    ),
    "a context without a mask": (
        lambda: use_task(
            with_methods(CellColours, context=lambda self, regions: Context(regions, None, regions.mean(1)))
        ),
        r"Mine.context: mask must be a tensor \[B, N\], here \[4, 16\], not a NoneType",
    ),
    "an objective that returns a tensor": (
        lambda: use_task(objective=with_methods(ScaledCrossEntropy, loss=lambda self, task, batch: torch.zeros(()))()),
        r"Mine.loss must return a Loss\(total, count\), not a Tensor",
    ),
    "an objective that returns a loss for each word": (
        lambda: use_task(
            objective=with_methods(ScaledCrossEntropy, loss=lambda *_: Loss(torch.ones(3), torch.tensor(3)))()
        ),
        "Mine.loss: total must be a tensor without dimensions, a sum, not",
    ),
    "an objective without loss": (
        lambda: with_methods(Objective)(),
        r"Mine: Objective requires the method loss\(task, batch\): The loss of a batch",
    ),
    "a task that returns a tensor": (
        lambda: use_task(loss=lambda self, batch: torch.zeros(())),
        r"Mine.loss must return a Loss\(total, count\)",
    ),
    "a task that predicts texts": (
        lambda: use_task(predict=lambda self, batch: ["a"] * B),
        "Mine.predict must return a list with a Prediction for each example of the batch",
    ),
    "a task without score": (
        lambda: without(PlaceNaming, Task.__mro__[1], "score")(None, None, None),
        r"Mine: TaskInterface requires the method score\(predictions, examples\)",
    ),
    "data without an argument of the task": (
        lambda: PlaceNaming.from_data(SimpleNamespace(root="here", has_questions=False), {}),
        "SimpleNamespace: PlaceNaming requires the attribute vocabulary of its data class",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str) -> None:
    make, line = MISTAKES[mistake]
    with pytest.raises(UserError, match=line) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_what_is_right_is_used_as_it_is() -> None:
    """The checks change neither random numbers nor modes, and take place once."""
    torch.manual_seed(1)
    decoder = PooledDecoder(LeakyUnit()).build(V, D)
    decoder.recurrence.eval()
    decoder.prepare(context())
    after = torch.rand(2)
    assert decoder.training
    assert not decoder.recurrence.training
    torch.manual_seed(1)
    nn.Embedding(V, 8), nn.Linear(8 + D + 8, 8), nn.Linear(8, V), context()
    assert torch.equal(torch.rand(2), after)
    decoder.step = None  # type: ignore[assignment]
    decoder.prepare(context())


class NoMonitor(PlaceNaming):
    monitor = Task.__annotations__.get("monitor")  # type: ignore[assignment]


class NoLoader(SplitDataModule):
    pass


class OfNoLoader(PlaceNaming):
    data_class = NoLoader


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("NoMonitor", "NoMonitor: TaskInterface requires the attribute monitor"),
        ("OfNoLoader", r"NoLoader: SplitDataModule requires the method loader\(split\): The batches of a split"),
    ],
)
def test_what_a_task_lacks_is_named_before_it_is_built(name: str, line: str) -> None:
    with pytest.raises(UserError, match=line):
        task_class([{"model": f"{__name__}.{name}"}], [])


class GrowingDecoder(PooledDecoder):
    def step(self, tokens: Tensor, state: Any, memory: Tensor) -> Any:
        return self.recurrence.step(self.embedding(tokens.flatten()), state)


class TensorObjective(ScaledCrossEntropy):
    def loss(self, task: Any, batch: Any) -> Any:
        return super().loss(task, batch).total


class UnreturnedUnit(LeakyUnit):
    def build(self, input_width: int) -> Any:
        super().build(input_width)


RECIPES = {
    "decoder": ("GrowingDecoder", "GrowingDecoder"),
    "objective": ("TensorObjective", "TensorObjective.loss"),
    "decoder.init_args.recurrence": ("UnreturnedUnit", "UnreturnedUnit.build"),
}


@pytest.mark.parametrize("key", RECIPES)
def test_a_mistake_is_one_line_of_fit(
    key: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, start = RECIPES[key]
    given = ["--config", str(tmp_path / "recipe.yaml"), f"--model.init_args.{key}", f"{__name__}.{name}"]
    if name == "GrowingDecoder":
        given += ["--model.init_args.decoder.init_args.recurrence", "own_parts.LeakyUnit"]
    data = {**SMALL_RECIPE["data"], "root": str(dataset)}
    trainer = {**SMALL_RECIPE["trainer"], "default_root_dir": str(tmp_path / "run")}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**SMALL_RECIPE, "data": data, "trainer": trainer}))
    assert main(["fit", *given, "--quiet"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"vlrnn fit: {start}")
    assert printed.count("\n") == 1
