"""Trunks: classifiers of `torchvision.models`, cut behind the feature map whose cells are the regions of an image."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import torch
import torchvision
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from vlrnn.errors import UserError


def cut(name: str, size: int, block: str | None) -> tuple[fx.GraphModule, int, int]:
    """Build a classifier and cut it behind its last feature map, or that of a block.

    Args:
        name: the model, of random weights.
        size: the side in pixels of its images.
        block: the block whose output is the grid; None: the last feature map.

    Returns:
        the trunk, and the width D and the count N of its regions.

    Raises:
        UserError: it takes no images of this size, or leaves no grid there.
    """
    end, shape = _end(name, size, block)
    with torch.device("cpu") if _counts_on_numbers(name) else nullcontext():
        model, trunk = _traced(name)
    last = next(node for node in trunk.graph.nodes if node.name == end)
    if len(shape) == 3 and hasattr(model, "class_token"):  # the first "patch" of a vision transformer is no patch
        with trunk.graph.inserting_after(last):
            last = trunk.graph.call_function(torch.narrow, (last, 1, 1, shape[1] - 1))
        shape = (1, shape[1] - 1, shape[2])
    output = next(node for node in trunk.graph.nodes if node.op == "output")
    output.args = (last,)
    trunk.graph.eliminate_dead_code()
    trunk.delete_all_unused_submodules()
    trunk.recompile()
    for module in trunk.modules():
        module.training = False
    trunk.to(memory_format=torch.channels_last)
    if len(shape) == 4:
        return (trunk, shape[3], shape[1] * shape[2]) if channels_last(shape) else (trunk, shape[1], shape[2] ** 2)
    return trunk, shape[2], shape[1]


def channels_last(shape: Sequence[int]) -> bool:
    """Whether a map has its channels behind: images are square, and so is every map of them."""
    return shape[2] != shape[3]


@lru_cache(maxsize=32)
def _end(name: str, size: int, block: str | None) -> tuple[str, tuple[int, ...]]:
    """The node of a classifier's graph whose output is the map, and its shape, found on the meta device."""
    with torch.device("cpu" if _counts_on_numbers(name) else "meta"):
        model, trunk = _traced(name)
        try:
            with torch.no_grad():
                model(torch.zeros(1, 3, size, size))  # what goes wrong here, ShapeProp would print with a traceback
                ShapeProp(trunk).propagate(torch.zeros(1, 3, size, size))
        except Exception as fault:
            reason = " ".join(str(fault).split())
            raise UserError(f"encoder: {name} takes no images of {size} x {size} pixels: {reason}") from None
    nodes = [node for node in trunk.graph.nodes if node.op != "placeholder" and _holds_regions(node)]
    if block is not None:
        nodes = [node for node in nodes if any(path == block for path, _ in node.meta["nn_module_stack"].values())]
        if not nodes:
            blocks = ", ".join(name for name, _ in model.named_children())
            raise UserError(f"encoder: {name} has no block {block!r} that leaves a grid; it consists of {blocks}")
    if not nodes:
        raise UserError(f"encoder: {name} leaves no grid of regions at {size} x {size} pixels; give a larger size")
    return nodes[-1].name, tuple(nodes[-1].meta["tensor_meta"].shape)


def _traced(name: str) -> tuple[nn.Module, fx.GraphModule]:
    model = torchvision.models.get_model(name, weights=None, **_quiet_init(name)).eval()
    return model, fx.symbolic_trace(model).eval()


def _counts_on_numbers(name: str) -> bool:
    """Whether a classifier computes its sizes from the values of tensors, which the meta device does not have."""
    return name.startswith("regnet")


def _quiet_init(name: str) -> dict[str, Any]:
    """Arguments that spare the two Inceptions a slow initialisation with a warning, and their auxiliary heads."""
    return {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}


def _holds_regions(node: fx.Node) -> bool:
    shape: Sequence[int] = getattr(node.meta.get("tensor_meta"), "shape", ())
    if len(shape) == 4:  # with one channel it is a transposed vector, as in ConvNeXt for its last norm
        return shape[0] == 1 and shape[1] > 1 and shape[2] * shape[3] > 1
    return len(shape) == 3 and shape[0] == 1 and shape[1] > 1
