"""Pretrained CNNs and transformers of torchvision as encoders: a map of features becomes a set of regions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor

from vlrnn.errors import UserError
from vlrnn.nn.encoders.module_encoder import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ModuleEncoder,
    check_image_size,
    load_weights,
    read_weights,
)
from vlrnn.nn.encoders.trunks import cut

_IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "size": 224}


class TorchvisionEncoder(ModuleEncoder):
    """Any classifier of `torchvision.models`, cut behind its last feature map, whose cells are the regions.

    The classifier is traced with `torch.fx`, and cut behind the last node whose output is a map [B, D, h, w] with more
    than one cell, or a sequence of patches [B, N, D]. Row by row, the N = h * w cells are the regions. Batch norm of
    frozen blocks stays in evaluation mode, whatever `train()` is given.

    Args:
        name: the model (`resnet101`).
        weights: the name of official weights (`IMAGENET1K_V2`), which torchvision downloads; or a file, safetensors or
            a state dict; or null for random ones.
        image_size: the side of images in pixels; by default what the weights were made for, else 224.
        mean, std: of the three channels scaled to 0..1; by default those of the weights' metadata, else ImageNet's.
        out_layer: the block whose output is the map (`layer3`); null: the last feature map. An earlier one is finer,
            and faster to compute.
        finetune_from: the first block that is trained, with all behind it (`features.14`); null: frozen.

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
    ) -> None:
        if name not in torchvision.models.list_models(module=torchvision.models):
            raise UserError(f"encoder: torchvision.models has no classifier {name!r}")
        state, transform = _load_weights(name, weights)
        image_size = image_size or transform["size"]
        check_image_size(image_size)
        trunk, *shape = cut(name, image_size, out_layer)
        if state is not None:
            load_weights(trunk, state, f"{weights}", name)
        mean, std = tuple(mean or transform["mean"]), tuple(std or transform["std"])
        super().__init__(trunk, image_size, mean, std, finetune_from, shape=(shape[0], shape[1]))
        # A checkpoint holds the weights and must not look for the file they came from.
        self.arguments |= {"weights": None, "image_size": image_size, "mean": mean, "std": std}


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
    state, found = read_weights(weights)
    return state, {**_IMAGENET, **found}
