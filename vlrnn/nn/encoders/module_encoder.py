"""Encoders around a module that maps pixels to a feature map: normalisation, fine-tuning, weights from files, and the
backbone for inference."""

import copy
import math
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import Context, Encoder, grid_boxes
from vlrnn.nn.weights import check_archive, check_weights
from vlrnn.progress import print_progress


class InferenceBackbone(nn.Module):
    """A trunk in evaluation mode, channels last, with batch norms folded into convolutions if it is a traced graph.

    Args:
        trunk: the backbone; not modified.
        bf16: compute in bfloat16 (8 significant bits) if the device supports it; otherwise a line is printed and
            float32 is used.
        compiled: use torch.compile, which generates code at the first batch, in about half a minute. If it fails, for
            example without a C++ compiler, a line is printed and the operators run eagerly.
    """

    def __init__(self, trunk: nn.Module, bf16: bool = False, compiled: bool = False) -> None:
        super().__init__()
        device = next(iter(trunk.parameters()), torch.empty(0)).device
        if bf16 and not has_bf16(device):
            print_progress(f"bf16: {device.type} has no bfloat16; float32 is used")
            bf16 = False
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        folded = copy.deepcopy(trunk).eval()
        if isinstance(folded, fx.GraphModule):
            folded = fuse(folded, inplace=True, no_trace=True)
        self.trunk = folded.to(dtype=self.dtype).to(memory_format=torch.channels_last)
        self.compiled = torch.compile(self.trunk, dynamic=False) if compiled else None
        self.rows = 0

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [B, 3, S, S], channels last -> the output of the trunk, float32."""
        pixels = pixels.to(self.dtype)
        if self.compiled is None:
            return self.trunk(pixels).float()
        from torch._inductor import config  # slow to import, and rarely needed

        # Code is generated for one batch size; smaller batches are padded instead of compiled again.
        self.rows = max(self.rows, len(pixels))
        filled = torch.cat([pixels, pixels.new_zeros(self.rows - len(pixels), *pixels.shape[1:])])
        filled = filled.contiguous(memory_format=torch.channels_last)
        try:
            with config.patch(freezing=True), torch.no_grad():  # constant weights are packed at compile time
                return self.compiled(filled)[: len(pixels)].float()
        except Exception as fault:  # torch.compile raises what its compilers raise
            reason = " ".join(str(fault).split())
            print_progress(f"compiled: torch.compile cannot ({reason[:120]}); the encoder is not compiled")
            self.compiled = None
            return self.trunk(pixels).float()


def has_bf16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 natively, not by emulation."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # of newer versions of torch
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

_LARGEST = 1024  # pixels; the largest that torchvision's weights were made for is 600


class ModuleEncoder(Encoder):
    """Base of encoders around a module: normalised images [B, 3, S, S] -> a square map [B, D, h, h] (or [B, h, h, D]),
    or patches [B, N, D]. The cells of the map, row by row, are the regions.

    The constructor of a subclass takes plain values, so that a recipe and a checkpoint can describe it, and passes the
    module to this class. Layers without trainable parameters stay in evaluation mode in `train()`.

    Args:
        trunk: the module.
        image_size: the side of images in pixels.
        mean, std: of the three channels scaled to 0..1; by default ImageNet's.
        finetune_from: name of the first block that is trained, with all blocks after it; null: frozen.
        blocks: the module that has this block; by default the trunk.
        shape: width D and number N of the regions; by default found by running the trunk once.

    Raises:
        UserError: an image size, mean, std or block is invalid, or the module gives no map.
    """

    def __init__(
        self,
        trunk: nn.Module,
        image_size: int = 224,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        finetune_from: str | None = None,
        blocks: nn.Module | None = None,
        shape: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        check_image_size(image_size)
        if len(mean) != 3 or len(std) != 3 or not all(each > 0 for each in std):
            raise UserError(f"encoder: mean and std are three numbers each, not {tuple(mean)} and {tuple(std)}")
        self.image_size = image_size
        self.trunk = trunk
        self.feature_dim, self.num_regions = shape or region_shape(trunk, image_size, type(self).__name__)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1) * 255, persistent=False)
        self._freeze_before(finetune_from, blocks or trunk)
        self.train()

    def _freeze_before(self, block: str | None, module: nn.Module) -> None:
        learns = False
        names = [name for name, _ in module.named_parameters()]
        for name, parameter in module.named_parameters():
            learns = learns or (block is not None and f"{name}.".startswith(f"{block}."))
            parameter.requires_grad_(learns)
        if block is not None and not learns:
            blocks = dict.fromkeys(".".join(name.split(".")[:2]) for name in names)
            raise UserError(f"encoder: no block {block!r}; the first to be trained may be {', '.join(blocks)}")

    def train(self, mode: bool = True) -> Self:
        self.training = mode
        for module in self.trunk.modules():
            module.training = mode and any(each.requires_grad for each in module.parameters(recurse=False))
        return self

    def folded(self, bf16: bool = False, compiled: bool = False) -> Encoder:
        twin = copy.copy(self)  # shares all but the trunk
        twin._modules = {**self._modules, "trunk": InferenceBackbone(self.trunk, bf16, compiled)}
        return twin.requires_grad_(False)

    def encode(self, images: Tensor) -> Tensor:
        pixels = ((images - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return as_regions(self.trunk(pixels))

    def context(self, regions: Tensor) -> Context:
        regions = regions.to(self.mean.dtype)
        batch_size, count, _ = regions.shape
        side = math.isqrt(count)
        mask = regions.new_ones(batch_size, count, dtype=torch.bool)
        boxes = None
        if side * side == count:
            boxes = grid_boxes(side, regions).expand(batch_size, -1, -1)
        return Context(regions, mask, regions.mean(1), boxes)


def check_image_size(image_size: int) -> None:
    """Raise a UserError for a side in pixels that is out of range."""
    if not 1 <= image_size <= _LARGEST:
        raise UserError(f"encoder: image_size must be 1 to {_LARGEST:,} pixels, not {image_size:,}")


def channels_last(shape: Sequence[int]) -> bool:
    """True if the shape of a map is [B, h, w, D]; images and their maps are square."""
    return shape[2] != shape[3]


def as_regions(output: Tensor) -> Tensor:
    """A map [B, D, h, w], or [B, h, w, D] as of Swin, or patches [B, N, D] -> regions [B, N, D]."""
    if output.dim() == 4:
        return output.flatten(1, 2) if channels_last(output.shape) else output.flatten(2).transpose(1, 2)
    return output


@torch.no_grad()
def region_shape(trunk: nn.Module, image_size: int, name: str) -> tuple[int, int]:
    """Width D and number N of the regions of a module, found by running it once.

    Raises:
        UserError: it fails on images of this size, or gives no map.
    """
    try:
        output = trunk.eval()(torch.zeros(1, 3, image_size, image_size))
    except Exception as fault:
        reason = " ".join(str(fault).split())
        raise UserError(
            f"encoder: {name} takes no images of {image_size} x {image_size} pixels: {reason[:200]}"
        ) from None
    shape = tuple(output.shape) if isinstance(output, Tensor) else ()
    square = len(shape) == 4 and (shape[2] == shape[3] or shape[1] == shape[2])
    if not (square or len(shape) == 3) or shape[0] != 1:
        found = f"a tensor {list(shape)}" if shape else f"a {type(output).__name__}"
        raise UserError(f"encoder: {name} gives {found}, not a square map [B, D, h, h] or patches [B, N, D]")
    count, width = as_regions(output).shape[1:]
    return width, count


def read_weights(path: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a safetensors file or a state dict of torch, and `mean`, `std`, `size` and `padding` where its
    metadata has them. Nothing is unpickled.

    Raises:
        UserError: the file has no weights, or is damaged.
    """
    if Path(path).suffix == ".safetensors":
        state, transform = _read_safetensors(path)
    else:
        state, transform = _read_state_dict(path), {}
    check_weights(state, f"encoder: {path}")
    return state, transform


def _read_state_dict(path: str) -> dict[str, Tensor]:
    if zipfile.is_zipfile(path):  # otherwise the format of torch before 1.6
        check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid pickles, which raise a UserError below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        raise UserError(
            f"encoder: {path} has no plain state dict; save one with torch.save(model.state_dict(), ...)"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(each, Tensor) for each in state.values()):
        raise UserError(f"encoder: {path} holds no state dict of tensors")
    return state


def _read_safetensors(path: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    transform: dict[str, Any] = {}
    try:
        with safe_open(path, framework="pt") as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
            metadata = file.metadata() or {}
        for key in ("mean", "std"):
            if key in metadata:
                red, green, blue = map(float, metadata[key].split(","))
                transform[key] = (red, green, blue)
        if "input_size" in metadata:
            transform["size"] = int(metadata["input_size"])
        if "padding" in metadata:
            transform["padding"] = metadata["padding"]
    except (SafetensorError, OSError, ValueError) as fault:
        raise UserError(f"encoder: {path}: not a safetensors file of weights: {fault}") from None
    return state, transform


def load_weights(trunk: nn.Module, state: dict[str, Tensor], source: str, name: str) -> None:
    """Load the weights of a trunk; further keys, as of the removed classifier, are ignored.

    Raises:
        UserError: a tensor is missing, or has another shape.
    """
    wanted = trunk.state_dict()
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    if missing:
        raise UserError(f"encoder: {source}: no weights of {name}: {missing[0]!r} is missing")
    for key in wanted.keys() & state.keys():
        if state[key].shape != wanted[key].shape:
            found, expected = tuple(state[key].shape), tuple(wanted[key].shape)
            raise UserError(f"encoder: {source}: no weights of {name}: {key!r} is {found}, not {expected}")
    trunk.load_state_dict({key: state.get(key, value) for key, value in wanted.items()})
