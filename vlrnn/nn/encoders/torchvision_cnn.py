"""Classifiers of torchvision as encoders: the cells of a feature map are the regions."""

import copy
import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from vlrnn.errors import UserError
from vlrnn.nn.encoders.efficientnet_lite import VARIANTS, WEIGHTS, efficientnet_lite, packaged_weights
from vlrnn.nn.encoders.module_encoder import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ModuleEncoder,
    channels_last,
    check_image_size,
    load_weights,
    read_weights,
)

_IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "size": 224, "padding": "symmetric"}


class TorchvisionEncoder(ModuleEncoder):
    """Any classifier of `torchvision.models`, or EfficientNet-Lite, cut after its last feature map, whose cells are the
    regions.

    The classifier is traced with `torch.fx`, and cut after the last node whose output is a map [B, D, h, w] with more
    than one cell, or a sequence of patches [B, N, D]. The N = h * w cells, row by row, are the regions. Batch norm of
    frozen blocks stays in evaluation mode in `train()`.

    Args:
        name: the model (`resnet101`); or `efficientnet_lite0`, 1 or 2.
        weights: the name of official weights (`IMAGENET1K_V2`), which torchvision downloads; for EfficientNet-Lite
            `IMAGENET1K_V1`, read from an installed package (extra `photos`); or a file, safetensors or a state dict;
            or null for random ones.
        image_size: the side of images in pixels; by default what the weights were made for, else 224.
        mean, std: of the three channels scaled to 0..1; by default those of the weights' metadata, else ImageNet's.
        out_layer: the block whose output is the map (`layer3`); null: the last feature map. An earlier one is finer,
            and faster to compute.
        padding: `same`: strided layers pad as TensorFlow does, with the larger half below and right, which weights
            trained there need; `symmetric`: as torchvision does; by default that of the weights' metadata, else
            `symmetric`.
        finetune_from: the first block that is trained, with all after it (`features.14`); null: frozen.

    Raises:
        UserError: an unknown model or block, or weights that do not fit.
    """

    def __init__(
        self,
        name: str = "mobilenet_v2",
        weights: str | None = None,
        image_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        out_layer: str | None = None,
        finetune_from: str | None = None,
        padding: Literal["same", "symmetric"] | None = None,
    ) -> None:
        if name not in VARIANTS and name not in torchvision.models.list_models(module=torchvision.models):
            raise UserError(f"encoder: torchvision.models has no classifier {name!r}")
        state, transform = _load_weights(name, weights)
        image_size = image_size or transform["size"]
        check_image_size(image_size)
        padding = padding or transform["padding"]
        if padding not in ("same", "symmetric"):
            raise UserError(f"encoder: padding {padding!r} is neither same nor symmetric")
        trunk, *shape = cut(name, image_size, out_layer, padding)
        if state is not None:
            load_weights(trunk, state, f"{weights}", name)
        mean, std = tuple(mean or transform["mean"]), tuple(std or transform["std"])
        super().__init__(trunk, image_size, mean, std, finetune_from, shape=(shape[0], shape[1]))
        # A checkpoint has the weights, and must not need the file that they came from.
        self.arguments |= {
            "weights": None,
            "image_size": image_size,
            "mean": mean,
            "std": std,
            "padding": padding,
        }


def _load_weights(name: str, weights: str | None) -> tuple[dict[str, Tensor] | None, dict[str, Any]]:
    """The state dict and its transform (mean, std, size, padding)."""
    if weights is None:
        return None, _IMAGENET
    if name in VARIANTS and weights == WEIGHTS:
        return packaged_weights(name)
    if not Path(weights).is_file():
        if name in VARIANTS:
            raise UserError(f"encoder: weights {weights!r} is no file, and {name} has only {WEIGHTS}")
        try:
            official = torchvision.models.get_model_weights(name)[weights]
        except KeyError:
            names = ", ".join(each.name for each in torchvision.models.get_model_weights(name))
            raise UserError(f"encoder: weights {weights!r} is no file, and {name} has only {names}") from None
        recipe = official.transforms()
        transform = {**_IMAGENET, "mean": recipe.mean, "std": recipe.std, "size": recipe.crop_size[0]}
        try:
            return official.get_state_dict(progress=True, check_hash=True), transform
        except (OSError, RuntimeError) as fault:
            reason = " ".join(str(fault).split())
            raise UserError(
                f"encoder: the weights {weights} of {name} could not be fetched ({reason}); give a file instead"
            ) from None
    state, found = read_weights(weights)
    return state, {**_IMAGENET, **found}


def cut(name: str, size: int, block: str | None, padding: str = "symmetric") -> tuple[fx.GraphModule, int, int]:
    """Build a classifier with random weights and cut it after its last feature map, or that of a block.

    Args:
        name: the model.
        size: side of the images in pixels.
        block: the block whose output is the map; None: the last feature map.
        padding: of strided layers, `same` or `symmetric`.

    Returns:
        the trunk, and the width D and number N of its regions.

    Raises:
        UserError: the model takes no images of this size, or gives no map there.
    """
    graph, shape, padded = _cut_graph(name, size, block, padding)
    with torch.device("cpu") if _needs_values(name) else nullcontext():
        model = _classifier(name)
    if any(str(node.target).startswith("_tensor_constant") for node in graph.nodes):
        fx.symbolic_trace(model)  # gives the model the tensors that it makes in its forward pass, as of MaxViT
    trunk = fx.GraphModule(model, copy.deepcopy(graph), type(model).__name__)
    for target in padded:
        trunk.get_submodule(target).padding = (0, 0)  # type: ignore[assignment]
    for module in trunk.modules():
        module.training = False
    trunk.to(memory_format=torch.channels_last)
    if len(shape) == 4:
        return (trunk, shape[3], shape[1] * shape[2]) if channels_last(shape) else (trunk, shape[1], shape[2] ** 2)
    return trunk, shape[2], shape[1]


_Pad = tuple[tuple[int, int, int, int], str, float]
"""Left, right, top, bottom, mode and value: the arguments of `F.pad`."""


class _SamePadding(ShapeProp):
    """Runs a graph with TensorFlow's `SAME` padding of its strided convolutions and maximum poolings, and gathers the
    pads of each: an input of n cells gives ceil(n / stride) cells, and an odd pad has its larger half at the end."""

    def __init__(self, trunk: fx.GraphModule) -> None:
        super().__init__(trunk)
        self.pads: dict[str, _Pad] = {}

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        layer: Any = self.fetch_attr(target)
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d) and max(_pair(layer.stride)) > 1:
            sizes = zip(args[0].shape[2:], *map(_pair, (layer.kernel_size, layer.stride, layer.dilation)), strict=True)
            (top, bottom), (left, right) = (_same(*each) for each in sizes)
            value = -math.inf if isinstance(layer, nn.MaxPool2d) else 0.0
            self.pads[target] = (left, right, top, bottom), "constant", value
            layer.padding = (0, 0)
            args = (F.pad(args[0], *self.pads[target]),)
        return super().call_module(target, args, kwargs)


def _pair(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size, size) if isinstance(size, int) else size


def _same(cells: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """The pads before and after an axis."""
    total = max((math.ceil(cells / stride) - 1) * stride + (kernel - 1) * dilation + 1 - cells, 0)
    return total // 2, total - total // 2


@lru_cache(maxsize=32)
def _cut_graph(name: str, size: int, block: str | None, padding: str) -> tuple[fx.Graph, tuple[int, ...], list[str]]:
    """The graph of a classifier up to the map, traced once for all encoders of it; the shape of the map; and the layers
    whose inputs the graph pads."""
    trunk, last, pads = _outline(name, size, block, padding)
    graph, shape = trunk.graph, tuple(last.meta["tensor_meta"].shape)
    if len(shape) == 3 and hasattr(trunk, "class_token"):  # the first "patch" of a vision transformer is no patch
        with graph.inserting_after(last):
            last = graph.call_function(torch.narrow, (last, 1, 1, shape[1] - 1))
        shape = (1, shape[1] - 1, shape[2])
    next(node for node in graph.nodes if node.op == "output").args = (last,)
    graph.eliminate_dead_code()
    padded = [node for node in graph.nodes if node.op == "call_module" and node.target in pads]
    for node in padded:
        with graph.inserting_before(node):
            node.args = (graph.call_function(F.pad, (node.args[0], *pads[str(node.target)])),)
    return graph, shape, [str(node.target) for node in padded]


def _outline(name: str, size: int, block: str | None, padding: str) -> tuple[fx.GraphModule, fx.Node, dict[str, _Pad]]:
    """A classifier without values, on the meta device, the node of its graph whose output is the map, and the pads of
    its layers."""
    with torch.device("cpu" if _needs_values(name) else "meta"):
        model = _classifier(name)
        trunk = fx.symbolic_trace(model)
        shapes = _SamePadding(trunk) if padding == "same" else ShapeProp(trunk)
        try:
            with torch.no_grad():
                model(torch.zeros(1, 3, size, size))  # raises first: ShapeProp would print a traceback
                shapes.propagate(torch.zeros(1, 3, size, size))
        except Exception as fault:
            reason = " ".join(str(fault).split())
            raise UserError(f"encoder: {name} takes no images of {size} x {size} pixels: {reason}") from None
    nodes = [node for node in trunk.graph.nodes if node.op != "placeholder" and _holds_regions(node)]
    if block is not None:
        nodes = [node for node in nodes if block in dict(node.meta.get("nn_module_stack", {}).values())]
        if not nodes:
            blocks = ", ".join(name for name, _ in model.named_children())
            raise UserError(f"encoder: {name} has no block {block!r} with a grid as output; its blocks are {blocks}")
    if not nodes:
        raise UserError(f"encoder: {name} has no grid of regions at {size} x {size} pixels; give a larger size")
    return trunk, nodes[-1], getattr(shapes, "pads", {})


def _classifier(name: str) -> nn.Module:
    if name in VARIANTS:
        return efficientnet_lite(name).eval()
    return torchvision.models.get_model(name, weights=None, **_quiet_init(name)).eval()


def _needs_values(name: str) -> bool:
    """True if a model computes layer sizes from values of tensors, which the meta device does not have."""
    return name.startswith("regnet")


def _quiet_init(name: str) -> dict[str, Any]:
    """Arguments that skip the slow initialisation (with its warning) and the auxiliary heads of the two Inceptions."""
    return {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}


def _holds_regions(node: fx.Node) -> bool:
    shape: Sequence[int] = getattr(node.meta.get("tensor_meta"), "shape", ())
    if len(shape) == 4:  # with one channel it is a transposed vector, as in ConvNeXt for its last norm
        return shape[0] == 1 and shape[1] > 1 and shape[2] * shape[3] > 1
    return len(shape) == 3 and shape[0] == 1 and shape[1] > 1
