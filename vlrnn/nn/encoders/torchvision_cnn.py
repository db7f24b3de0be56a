"""Pretrained CNNs and transformers of torchvision as encoders: a map of features becomes a set of regions."""

import copy
import math
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
import torchvision
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import Context, Encoder
from vlrnn.nn.encoders.inference_backbone import FoldedTrunk
from vlrnn.nn.encoders.trunks import channels_last, cut
from vlrnn.nn.weights import check_archive, check_weights

_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "size": 224}

_LARGEST = 1024  # pixels; the largest that torchvision's weights were made for is 600


class CNNEncoder(Encoder):
    """Any classifier of `torchvision.models`, cut behind its last feature map, whose cells are the regions.

    The classifier is traced with `torch.fx`, and cut behind the last node whose output is a map [B, D, h, w] with more
    than one cell, or a sequence of patches [B, N, D]. Row by row, the N = h * w cells are the regions. Batch norm of
    blocks that do not learn never moves, whatever `train()` is told.

    Args:
        name: the model, `resnet101`, say.
        weights: the name of official weights (`IMAGENET1K_V2`), which torchvision downloads; or a file, safetensors or
            a state dict; or null for random ones.
        size: the side in pixels that images are given in; by default what the weights were made for, else 224.
        mean, std: of the three channels scaled to 0..1; by default what the weights' metadata says, else ImageNet's.
        regions_from: the block whose output is the grid, `layer3`, say; null: the last feature map. An earlier one is
            finer, and is quicker to compute.
        trainable_from: the first block that learns, `features.14`, say; it and all behind it do. null: frozen.

    Raises:
        UserError: an unknown model or block, or weights that do not fit.
    """

    def __init__(
        self,
        name: str = "mobilenet_v2",
        weights: str | None = None,
        size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        regions_from: str | None = None,
        trainable_from: str | None = None,
    ) -> None:
        super().__init__()
        if name not in torchvision.models.list_models(module=torchvision.models):
            raise UserError(f"encoder: torchvision.models has no classifier {name!r}")
        state, transform = _load_weights(name, weights)
        self.size = size or transform["size"]
        if not 1 <= self.size <= _LARGEST:
            raise UserError(f"encoder: size must be 1 to {_LARGEST:,} pixels, not {self.size:,}")
        self.trunk, self.width, self.count = cut(name, self.size, regions_from)
        if state is not None:
            check_weights(state, f"encoder: {weights}")
            _fill(self.trunk, state, f"{weights}", name)
        mean, std = tuple(mean or transform["mean"]), tuple(std or transform["std"])
        if len(mean) != 3 or len(std) != 3 or not all(each > 0 for each in std):
            raise UserError(f"encoder: {weights or name}: mean and std are three numbers each, not {mean} and {std}")
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1) * 255, persistent=False)
        # A checkpoint holds the weights and must not look for the file they came from.
        self.arguments |= {"weights": None, "size": self.size, "mean": mean, "std": std}
        self._freeze_before(trainable_from)
        self.train()

    def _freeze_before(self, block: str | None) -> None:
        learns = False
        names = [name for name, _ in self.trunk.named_parameters()]
        for name, parameter in self.trunk.named_parameters():
            learns = learns or (block is not None and f"{name}.".startswith(f"{block}."))
            parameter.requires_grad_(learns)
        if block is not None and not learns:
            blocks = dict.fromkeys(".".join(name.split(".")[:2]) for name in names)
            raise UserError(f"encoder: no block {block!r}; trainable_from may be {', '.join(blocks)}")

    def train(self, mode: bool = True) -> Self:
        self.training = mode
        for module in self.trunk.modules():
            module.training = mode and any(each.requires_grad for each in module.parameters(recurse=False))
        return self

    def folded(self, bf16: bool = False, compiled: bool = False) -> Encoder:
        twin = copy.copy(self)  # shares all but the trunk
        twin._modules = {**self._modules, "trunk": FoldedTrunk(self.trunk, bf16, compiled)}
        return twin.requires_grad_(False)

    def encode(self, images: Tensor) -> Tensor:
        pixels = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return _as_regions(self.trunk(pixels))

    def context(self, regions: Tensor) -> Context:
        regions = regions.to(self.mean.dtype)
        batch_size, count, _ = regions.shape
        side = math.isqrt(count)
        mask = regions.new_ones(batch_size, count, dtype=torch.bool)
        boxes = None
        if side * side == count:
            low = torch.arange(side, device=regions.device) / side
            y, x = torch.meshgrid(low, low, indexing="ij")
            grid = torch.stack([x, y, x + 1 / side, y + 1 / side], dim=-1).view(1, count, 4)
            boxes = grid.expand(batch_size, -1, -1)
        return Context(regions, mask, regions.mean(1), boxes)


def _as_regions(output: Tensor) -> Tensor:
    """A map [B, D, h, w], or [B, h, w, D] as Swin has it, or patches [B, N, D] -> regions [B, N, D]."""
    if output.dim() == 4:
        return output.flatten(1, 2) if channels_last(output.shape) else output.flatten(2).transpose(1, 2)
    return output


def _load_weights(name: str, weights: str | None) -> tuple[dict[str, Tensor] | None, dict[str, Any]]:
    """The state dict and the transform (mean, std, size) that go with it."""
    if weights is None:
        return None, _IMAGENET
    if not Path(weights).is_file():
        try:
            official = torchvision.models.get_model_weights(name)[weights]
        except KeyError:
            names = ", ".join(each.name for each in torchvision.models.get_model_weights(name))
            raise UserError(f"encoder: weights {weights!r} is no file, and {name} has only {names}") from None
        recipe = official.transforms()
        transform = {"mean": recipe.mean, "std": recipe.std, "size": recipe.crop_size[0]}
        try:
            return official.get_state_dict(progress=True, check_hash=True), transform
        except (OSError, RuntimeError) as fault:
            reason = " ".join(str(fault).split())
            raise UserError(
                f"encoder: the weights {weights} of {name} could not be fetched ({reason}); give a file instead"
            ) from None
    if Path(weights).suffix == ".safetensors":
        return _read_safetensors(weights)
    if zipfile.is_zipfile(weights):  # else older than that form of torch's
        check_archive(weights)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of strange pickles, which are refused below in our own words
            state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception:
        raise UserError(
            f"encoder: {weights} holds no plain state dict; save one with torch.save(model.state_dict(), ...)"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(each, Tensor) for each in state.values()):
        raise UserError(f"encoder: {weights} holds no state dict of tensors")
    return state, _IMAGENET


def _read_safetensors(path: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    transform = dict(_IMAGENET)
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            metadata = file.metadata() or {}
        for key in ("mean", "std"):
            if key in metadata:
                transform[key] = tuple(float(each) for each in metadata[key].split(","))
        if "input_size" in metadata:
            transform["size"] = int(metadata["input_size"])
    except (SafetensorError, OSError, ValueError) as fault:
        raise UserError(f"encoder: {path}: not a safetensors file of weights: {fault}") from None
    return state, transform


def _fill(trunk: nn.Module, state: dict[str, Tensor], source: str, name: str) -> None:
    """Load what the trunk needs; the classifier's own keys, cut away here, may be there as well."""
    wanted = trunk.state_dict()
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    if missing:
        raise UserError(f"encoder: {source}: no weights of {name}: {missing[0]!r} is missing")
    for key in wanted.keys() & state.keys():
        if state[key].shape != wanted[key].shape:
            found, expected = tuple(state[key].shape), tuple(wanted[key].shape)
            raise UserError(f"encoder: {source}: no weights of {name}: {key!r} is {found}, not {expected}")
    trunk.load_state_dict({key: state.get(key, value) for key, value in wanted.items()})
