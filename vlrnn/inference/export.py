"""Captioners for programs that have no torch: as ONNX, or as programs of torch.export.

Three graphs, with the batch B and the hypotheses K left open:

    encoder   images [B, 3, S, S] uint8 -> regions [B, N, D]
    begin     regions -> memory_0 ..., state_0 ..., each [B, ...]: what does not depend on the words; where to start
    step      tokens [B, K], memory_0 ..., state_0 ... [B, K, ...] -> scores [B, K, V] of the next word, next_0 ...

`captioner.json` beside them has the words, the special tokens, the image size, and how to search; beside those for ONNX
lies `caption_onnx.py`, a copy of vlrnn.inference.onnx_captioner, which reads them all. Leaves of a state are
[B, K, ...] here, and [B * K, ...] in vlrnn.nn.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from vlrnn.errors import UserError, refusing
from vlrnn.files import read_text, replacing, write_json
from vlrnn.inference import onnx_captioner
from vlrnn.nn.batching import Tree, leaves, map_tree
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.encoders.base import Encoder
from vlrnn.text.vocabulary import BOS, EOS, PAD, UNK
from vlrnn.training.module import Task

_B, _K = Dim("B", min=1, max=4096), Dim("K", min=1, max=256)


class _Encode(nn.Module):
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
        return memory, self.decoder.init_state(memory)

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
        of_images = map_tree(lambda _: next(held), self.memory)
        before = map_tree(lambda _: next(rows).flatten(0, 1), self.state)
        output, after = self.decoder.step(tokens, before, of_images)
        scores = self.decoder.logits(output.hidden)
        return (scores, *(leaf.unflatten(0, (tokens.shape[0], tokens.shape[1])) for leaf in leaves(after)))


def export_captioner(task: Task, folder: str | Path, *, onnx: bool = True) -> list[str]:
    """Write the three graphs of a captioner, as `.onnx` or as `.pt2`, `captioner.json`, and for ONNX the program that
    reads them.

    Returns:
        the names of the files.

    Raises:
        UserError: the task is no captioner, the extra `export` is not installed, or a part can not be traced.
    """
    if task.accepts != {"image"} or not hasattr(task, "decoder"):
        raise UserError(f"graphs are of captioners, not of a {type(task).__name__}")
    if onnx and (missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if not find_spec(name)]):
        raise UserError(f"--onnx needs {', '.join(missing)}: pip install 'vlrnn[export]'")
    folder, task = Path(folder), task.cpu().eval()
    encoder = task.encoder.folded()
    begin = _Begin(encoder, task.decoder)
    images = torch.zeros(2, 3, encoder.image_size, encoder.image_size, dtype=torch.uint8)
    with torch.no_grad():
        regions = encoder.regions(images)
        memory, state = begin.trees(regions)
        held, started = leaves(memory), [torch.stack([leaf] * 3, 1) for leaf in leaves(state)]
    inner = [f"memory_{number}" for number in range(len(held))], [f"state_{number}" for number in range(len(started))]
    tokens = torch.full((2, 3), BOS)
    batch, rows = {0: _B}, {0: _B, 1: _K}
    graphs: dict[str, tuple[nn.Module, tuple[Any, ...], Any, list[str], list[str]]] = {
        "encoder": (_Encode(encoder), (images,), (batch,), ["images"], ["regions"]),
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
    about = {
        "words": list(task.vocabulary.words),
        "tokenizer": task.vocabulary.tokenizer.name,
        "special": {"pad": PAD, "bos": BOS, "eos": EOS, "unk": UNK},
        "image_size": encoder.image_size,
        "memories": len(held),
        "states": len(started),
        "decoding": task.generation.describe(),
    }
    write_json(folder / "captioner.json", about)
    others = ["captioner.json"]
    if onnx:
        others.append("caption_onnx.py")
        with replacing(folder / others[-1]) as file:
            file.write(read_text(onnx_captioner.__file__))
    return [*(f"{name}.{suffix}" for name in graphs), *others]


def _write(
    path: Path, module: nn.Module, example: tuple[Any, ...], shapes: Any, into: list[str], out: list[str]
) -> None:
    with refusing(f"the {path.stem} cannot be exported"), _hushed(), torch.no_grad():
        program = torch.export.export(module.eval(), example, dynamic_shapes=shapes, strict=False)
        if path.suffix == ".onnx":
            traced = torch.onnx.export(program, input_names=into, output_names=out, dynamo=True, verbose=False)
            assert traced is not None
            content = traced.model_proto.SerializeToString()
    with replacing(path, binary=True) as file, _hushed():
        if path.suffix == ".onnx":
            file.write(content)
        else:
            torch.export.save(program, file)


@contextmanager
def _hushed() -> Iterator[None]:
    """Silence the long output of exporters."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
