"""Image models of timm as encoders; the map or the patches before the classifier are the regions."""

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.encoders.module_encoder import (
    ModuleEncoder,
    check_image_size,
    load_weights,
    read_weights,
    region_shape,
)


class TimmEncoder(ModuleEncoder):
    """Any model of timm (Wightman 2019, extra `timm`) whose features are a map, as of CNNs, or patches, as of ViTs.

    Layers after the map, such as pooling and classifier, are left out. Class and register tokens are no regions.

    Args:
        name: the model, `convnext_atto`, or with the tag of its weights, `convnext_atto.d2_in1k`.
        weights: the tag of pretrained weights (`d2_in1k`), which timm downloads; or a file, safetensors or a state
            dict of timm's model; or null for random ones.
        image_size: the side of images in pixels; by default what the weights were made for.
        mean, std: of the three channels scaled to 0..1; by default the model's own, or what the file's metadata gives.
        out_index: the number of the stage (of a ViT, the block) whose map is taken, as in timm's `out_indices`; null:
            the last map, normalised as before the classifier.
        finetune_from: the first block that is trained, with all after it (`stages.3`); null: frozen.

    Raises:
        UserError: timm is not installed; the model, tag, stage or block is unknown; weights do not fit; or the model
            gives no map.
    """

    def __init__(
        self,
        name: str = "convnext_atto",
        weights: str | None = None,
        image_size: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        out_index: int | None = None,
        finetune_from: str | None = None,
    ) -> None:
        state: dict[str, Tensor] | None = None
        transform: dict[str, Any] = {}
        if weights is not None and Path(weights).is_file():
            state, transform = read_weights(weights)
        elif weights is not None:
            name = _tagged(name, weights)
        own = _config(name)
        if image_size is None:
            image_size = transform.get("size", own["input_size"][-1])
        check_image_size(image_size)
        width, count, unused = _outline(name, image_size, out_index)
        backbone = _build(name, image_size, out_index, pretrained=weights is not None and state is None)
        for path in unused:
            parent, _, child = path.rpartition(".")
            setattr(backbone.get_submodule(parent), child, nn.Identity())
        if state is not None:
            load_weights(backbone.model, state, f"{weights}", name)
        mean = tuple(mean or transform.get("mean", own["mean"]))
        std = tuple(std or transform.get("std", own["std"]))
        backbone.to(memory_format=torch.channels_last)
        super().__init__(backbone, image_size, mean, std, finetune_from, backbone.model, (width, count))
        # A checkpoint has the weights, and must not need the file that they came from.
        self.arguments |= {"name": name, "weights": None, "image_size": image_size, "mean": mean, "std": std}


class _Backbone(nn.Module):
    """A model of timm up to its last map, or to that of a stage."""

    def __init__(self, model: Any, out_index: int | None) -> None:
        super().__init__()
        self.model = model
        self.out_index = out_index

    def forward(self, pixels: Tensor) -> Tensor:
        if self.out_index is not None:
            (output,) = self.model.forward_intermediates(
                pixels, indices=[self.out_index], stop_early=True, output_fmt="NCHW", intermediates_only=True
            )
            return output
        output = self.model.forward_features(pixels)
        if isinstance(output, Tensor) and output.dim() == 3:
            count = output.shape[1]
            return output[:, getattr(self.model, "num_prefix_tokens", count - math.isqrt(count) ** 2) :]
        return output


def _timm() -> ModuleType:
    try:
        import timm
    except ImportError:
        raise UserError("encoder: TimmEncoder needs timm: pip install 'vlrnn[timm]'") from None
    return timm


def _config(name: str) -> dict[str, Any]:
    """Size, mean and std of a model's images, and whether that size is fixed.

    Raises:
        UserError: there is no such model.
    """
    timm = _timm()
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise UserError(f"encoder: timm has no model {architecture!r}; timm.list_models() names them")
    tagged = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged:
        names = ", ".join(each.partition(".")[2] for each in tagged)
        raise UserError(f"encoder: {tag!r} is no file, and no weights of {architecture}; it has {names or 'none'}")
    config = timm.get_pretrained_cfg(name)
    config = config.to_dict() if config else {}
    fixed = config.get("fixed_input_size", False)
    return {**timm.data.resolve_data_config(pretrained_cfg=config), "fixed_input_size": fixed}


def _tagged(name: str, tag: str) -> str:
    """The name of a model with the tag of its weights."""
    return f"{name.partition('.')[0]}.{tag}"


def _build(name: str, image_size: int, out_index: int | None, pretrained: bool = False) -> _Backbone:
    size = {"img_size": image_size} if _config(name)["fixed_input_size"] else {}
    try:
        model = _timm().create_model(name, pretrained=pretrained, num_classes=0, **size)
    except Exception as fault:  # network and hub errors, and any exception of a model for a size that it does not take
        reason = " ".join(str(fault).split())[:200]
        if pretrained:
            raise UserError(
                f"encoder: the weights of {name} could not be fetched ({reason}); give a file instead"
            ) from None
        raise UserError(f"encoder: {name} takes no images of {image_size} x {image_size} pixels: {reason}") from None
    if out_index is not None and not hasattr(model, "forward_intermediates"):
        raise UserError(f"encoder: timm gives no map of a stage of {name}; leave out out_index")
    return _Backbone(model.eval(), out_index)


@lru_cache(maxsize=32)
def _outline(name: str, image_size: int, out_index: int | None) -> tuple[int, int, tuple[str, ...]]:
    """Width and number of a model's regions, and its top-level modules that are not used for them, found on torch's
    meta device, without memory."""
    with torch.device("meta"), torch.inference_mode(False), torch.enable_grad():
        backbone = _build(name, image_size, out_index)
        width, count = region_shape(backbone, image_size, name)
        if count < 2:
            raise UserError(f"encoder: {name} has one region at {image_size} x {image_size} pixels; give a larger size")
        names, parameters = zip(*backbone.named_parameters(), strict=True)
        output = backbone(torch.zeros(1, 3, image_size, image_size))
        gradients = torch.autograd.grad(output.sum(), parameters, allow_unused=True)
    used = {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}
    unused: list[str] = []
    for path, _ in backbone.named_modules():
        inside = {name for name in names if name.startswith(f"{path}.")}
        if path and inside and not inside & used and not path.startswith(tuple(f"{each}." for each in unused)):
            unused.append(path)
    return width, count, tuple(unused)
