"""Captioners for programs that have no torch: as ONNX, or as programs of torch.export. Knows no training.

Three graphs, with the batch B and the hypotheses K left open:

    encoder   images [B, 3, S, S] uint8 -> regions [B, N, D]
    begin     regions -> memory_0 ..., state_0 ..., each [B, ...]: what does not depend on the words; where to start
    step      tokens [B, K], memory_0 ..., state_0 ... [B, K, ...] -> scores [B, K, V] of the next word, next_0 ...

`captioner.json` beside them has the words, the special tokens, the image size, and how to search. Leaves of a state are
[B, K, ...] here, where they are [B * K, ...] in vlrnn.nn.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from vlrnn.decoding.search import Decoding, Hypotheses, search
from vlrnn.errors import UserError
from vlrnn.files import read_json, replacing, write_json
from vlrnn.nn.decoders import Decoder
from vlrnn.nn.encoders import Encoder
from vlrnn.nn.tree import Tree, leaves, map_tree
from vlrnn.tasks.captioning import Captioner
from vlrnn.text.vocabulary import BOS, EOS, PAD, UNK

PARTS = ("encoder", "begin", "step")
_B, _K = Dim("B", min=1, max=4096), Dim("K", min=1, max=256)


class _See(nn.Module):
    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder.regions(images)


class _Begin(nn.Module):
    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def trees(self, regions: Tensor) -> tuple[Tree, Tree]:
        memory = self.decoder.prepare(self.encoder.context(regions))
        return memory, self.decoder.initial_state(memory)

    def forward(self, regions: Tensor) -> tuple[Tensor, ...]:
        memory, state = self.trees(regions)
        return (*leaves(memory), *leaves(state))


class _Step(nn.Module):
    """A decoder's step over lists of leaves, shaped as these trees of one row are."""

    def __init__(self, decoder: Decoder, memory: Tree, state: Tree) -> None:
        super().__init__()
        self.decoder, self.memory, self.state = decoder, memory, state

    def forward(self, tokens: Tensor, memory: Sequence[Tensor], state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        held, rows = iter(memory), iter(state)
        known = map_tree(lambda _: next(held), self.memory)
        before = map_tree(lambda _: next(rows).flatten(0, 1), self.state)
        scores, after = self.decoder.step(tokens, before, known)
        return (scores, *(leaf.unflatten(0, (tokens.shape[0], tokens.shape[1])) for leaf in leaves(after)))


def export_captioner(task: Captioner, folder: str | Path, *, onnx: bool = True) -> list[str]:
    """Write the three graphs of a captioner, as `.onnx` or as `.pt2`, and `captioner.json`.

    Returns:
        the names of the files.

    Raises:
        UserError: the extra `export` is not installed, or a part can not be traced.
    """
    if onnx and (missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if not find_spec(name)]):
        raise UserError(f"--onnx needs {', '.join(missing)}: pip install 'vlrnn[export]'")
    folder, task = Path(folder), task.cpu().eval()
    encoder = task.encoder.folded()
    begin = _Begin(encoder, task.decoder)
    images = torch.zeros(2, 3, encoder.size, encoder.size, dtype=torch.uint8)
    with torch.no_grad():
        regions = encoder.regions(images)
        memory, state = begin.trees(regions)
        held, started = leaves(memory), [torch.stack([leaf] * 3, 1) for leaf in leaves(state)]
    inner = [f"memory_{number}" for number in range(len(held))], [f"state_{number}" for number in range(len(started))]
    tokens = torch.full((2, 3), BOS)
    batch, rows = {0: _B}, {0: _B, 1: _K}
    graphs: dict[str, tuple[nn.Module, tuple[Any, ...], Any, list[str], list[str]]] = {
        "encoder": (_See(encoder), (images,), (batch,), ["images"], ["regions"]),
        "begin": (begin, (regions,), (batch,), ["regions"], [*inner[0], *inner[1]]),
        "step": (
            _Step(task.decoder, map_tree(lambda leaf: leaf[:1], memory), map_tree(lambda leaf: leaf[:1], state)),
            (tokens, held, started),
            (rows, [batch] * len(held), [rows] * len(started)),
            ["tokens", *inner[0], *inner[1]],
            ["scores", *(f"next_{number}" for number in range(len(started)))],
        ),
    }
    suffix = "onnx" if onnx else "pt2"
    for name, (module, example, shapes, into, out) in graphs.items():
        _write(folder / f"{name}.{suffix}", module, example, shapes, into, out)
    write_json(folder / "captioner.json", _description(task, encoder, len(held), len(started)))
    return [*(f"{name}.{suffix}" for name in graphs), "captioner.json"]


def _description(task: Captioner, encoder: Encoder, memories: int, states: int) -> dict[str, Any]:
    return {
        "words": list(task.vocabulary.words),
        "tokenizer": task.vocabulary.tokenizer.name,
        "special": {"pad": PAD, "bos": BOS, "eos": EOS, "unk": UNK},
        "image_size": encoder.size,
        "memories": memories,
        "states": states,
        "decoding": task.decoding.describe(),
    }


def _write(
    path: Path, module: nn.Module, example: tuple[Any, ...], shapes: Any, into: list[str], out: list[str]
) -> None:
    try:
        with _hushed(), torch.no_grad():
            program = torch.export.export(module.eval(), example, dynamic_shapes=shapes)
            if path.suffix == ".onnx":
                traced = torch.onnx.export(program, input_names=into, output_names=out, dynamo=True, verbose=False)
                assert traced is not None
                content = traced.model_proto.SerializeToString()
    except Exception as fault:  # whatever a tracer stumbles over
        reason = " ".join(str(fault).split())
        raise UserError(f"the {path.stem} cannot be exported: {type(fault).__name__}: {reason[:200]}") from None
    with replacing(path, binary=True) as file, _hushed():
        if path.suffix == ".onnx":
            file.write(content)
        else:
            torch.export.save(program, file)


@contextmanager
def _hushed() -> Iterator[None]:
    """Silence exporters, which tell of themselves at length."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class OnnxCaptioner:
    """What `export_captioner` wrote, run by ONNX Runtime and searched by vlrnn.decoding: to compare it with its model.

    Args:
        folder: of the three `.onnx` files and `captioner.json`.
    """

    def __init__(self, folder: str | Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        load = onnxruntime.InferenceSession
        self._sessions = {
            name: load(str(Path(folder) / f"{name}.onnx"), options, providers=["CPUExecutionProvider"])
            for name in PARTS
        }
        self.description = read_json(Path(folder) / "captioner.json")

    def _run(self, name: str, inputs: Sequence[Tensor]) -> list[Tensor]:
        session = self._sessions[name]
        fed = {each.name: tensor.numpy() for each, tensor in zip(session.get_inputs(), inputs, strict=True)}
        return [torch.from_numpy(each) for each in session.run(None, fed)]

    def search(self, images: Tensor, decoding: Decoding) -> Hypotheses:
        """Sentences about uint8 images [B, 3, S, S]."""
        begun = self._run("begin", self._run("encoder", [images]))
        count = self.description["memories"]

        def step(tokens: Tensor, state: Tree, memory: Tree) -> tuple[Tensor, Tree]:
            rows = [leaf.unflatten(0, tuple(tokens.shape)) for leaf in leaves(state)]
            scores, *after = self._run("step", [tokens, *leaves(memory), *rows])
            return scores, tuple(leaf.flatten(0, 1) for leaf in after)

        memory, state = tuple(begun[:count]), tuple(begun[count:])
        return search(step, state, memory, decoding, bos=BOS, eos=EOS, forbidden=(PAD, BOS, UNK))


def agreement(task: Captioner, folder: str | Path, images: Tensor, **settings: Any) -> int:
    """Of how many of B images, uint8 [B, 3, S, S], ONNX Runtime gives the caption that the model gives.

    Args:
        task: that was exported.
        folder: where to.
        images: of the model's size.
        settings: fields of the task's `Decoding` to change; nothing is drawn at random.
    """
    decoding = replace(task.decoding, **{"temperature": None, "num_return_sequences": 1, **settings})
    begin = _Begin(task.encoder.folded(), task.decoder)
    with torch.no_grad():
        memory, state = begin.trees(begin.encoder.regions(images))
        ours = search(task.decoder.step, state, memory, decoding, bos=BOS, eos=EOS, forbidden=(PAD, BOS, UNK))
    theirs = OnnxCaptioner(folder).search(images, decoding)
    said = [
        [ids[:length] for ids, length in zip(each.tokens[:, 0].tolist(), each.lengths[:, 0].tolist(), strict=True)]
        for each in (ours, theirs)
    ]
    return sum(a == b for a, b in zip(*said, strict=True))
