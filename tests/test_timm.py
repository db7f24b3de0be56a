"""Models of timm as encoders, with random weights: maps and patches of several families, weights from files, and
training."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from quick import quick
from safetensors.torch import save_file

from vlrnn.cli import main
from vlrnn.config import from_config, to_config
from vlrnn.errors import UserError
from vlrnn.inference.predictor import Predictor
from vlrnn.nn.encoders.timm import TimmEncoder

timm = pytest.importorskip("timm", reason="needs timm, of the extra timm")

FAMILIES = {  # name, out_index -> image_size, N, D, first block that is trained
    ("resnet18", None): (64, 4, 512, "layer4"),
    ("resnet18", 3): (64, 16, 256, "layer3"),
    ("convnext_atto", None): (64, 4, 320, "stages.3"),
    ("convnext_femto", 2): (64, 16, 192, "stages.2"),
    ("vit_tiny_patch16_224", None): (64, 16, 192, "blocks.11"),
    ("vit_tiny_patch16_224", 5): (64, 16, 192, "blocks.5"),
    ("mobilenetv3_small_050", None): (64, 4, 288, "blocks.5"),
    ("swin_tiny_patch4_window7_224", None): (224, 49, 768, "layers.3"),
}
SMALL = list(FAMILIES)[:1] + list(FAMILIES)[3:5] + list(FAMILIES)[6:7]


def photographs(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


@pytest.mark.parametrize(("name", "out_index"), quick(FAMILIES, *SMALL))
def test_every_family_gives_regions(name: str, out_index: int | None) -> None:
    size, count, width, _ = FAMILIES[name, out_index]
    encoder = TimmEncoder(name, image_size=size, out_index=out_index)
    images = photographs(3, size)
    context = encoder(images)
    assert (encoder.image_size, encoder.num_regions, encoder.feature_dim) == (size, count, width)
    assert context.regions.shape == (3, count, width)
    assert context.mask.all()
    assert context.boxes is not None
    torch.testing.assert_close(context.pooled, context.regions.mean(1))
    assert encoder.frozen
    assert not context.regions.requires_grad
    torch.testing.assert_close(encoder(images[1:2]).regions[0], context.regions[1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(encoder.folded()(images).regions, context.regions, rtol=1e-3, atol=1e-3)


def test_regions_are_the_models_own_features() -> None:
    """Patches without the class token; cells row by row; nothing of the classifier is left."""
    for name in ("vit_tiny_patch16_224", "mobilenetv3_small_050"):
        encoder = TimmEncoder(name, image_size=64, mean=(0.0,) * 3, std=(1.0,) * 3)
        more = {"img_size": 64} if "vit" in name else {}
        model = timm.create_model(name, num_classes=0, **more).eval()
        model.load_state_dict(encoder.trunk.model.state_dict(), strict=False)
        images = photographs()
        with torch.no_grad():
            features = model.forward_features(images / 255)
        expected = features[:, 1:] if "vit" in name else features.flatten(2).transpose(1, 2)
        torch.testing.assert_close(encoder(images).regions, expected, rtol=1e-4, atol=1e-4)
    assert not any("head" in key or "classifier" in key for key in encoder.state_dict())


def test_images_are_normalised_as_the_model_wants() -> None:
    encoder = TimmEncoder("vit_tiny_patch16_224", image_size=64)
    assert encoder.mean.flatten().tolist() == encoder.std.flatten().tolist() == [127.5] * 3
    assert TimmEncoder("resnet18").image_size == 224
    assert encoder.arguments["mean"] == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(("name", "out_index"), quick(FAMILIES, *SMALL))
def test_finetune_from(name: str, out_index: int | None) -> None:
    size, _, _, block = FAMILIES[name, out_index]
    encoder = TimmEncoder(name, image_size=size, out_index=out_index, finetune_from=block).train()
    assert not encoder.frozen
    encoder(photographs(2, size)).regions.square().sum().backward()
    trained = [key for key, each in encoder.trunk.model.named_parameters() if each.requires_grad]
    assert trained[0].startswith(f"{block}.")
    for key, parameter in encoder.trunk.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, key
    modes = {key: each.training for key, each in encoder.trunk.model.named_modules()}
    assert any(mode for key, mode in modes.items() if key.startswith(block))
    assert not any(mode for key, mode in modes.items() if not key.startswith(block) and "norm" not in key)
    assert not any(each.training for each in encoder.eval().trunk.modules())


def test_batch_norm_of_frozen_blocks_stays() -> None:
    encoder = TimmEncoder("resnet18", image_size=64, finetune_from="layer4").train()
    before = {key: each.clone() for key, each in encoder.trunk.model.named_buffers() if "running_mean" in key}
    encoder(photographs(4))
    for key, buffer in encoder.trunk.model.named_buffers():
        if "running_mean" in key:
            assert torch.equal(buffer, before[key]) != key.startswith("layer4"), key


def test_weights_from_files(tmp_path: Path) -> None:
    """A classifier's state dict, of torch or safetensors; the metadata of the second count."""
    state = timm.create_model("mobilenetv3_small_050", num_classes=7).state_dict()
    torch.save(state, tmp_path / "small.pth")
    save_file(state, tmp_path / "small.safetensors", {"mean": "0.1,0.2,0.3", "input_size": "96"})
    plain = TimmEncoder("mobilenetv3_small_050", str(tmp_path / "small.pth"), image_size=64)
    encoder = TimmEncoder("mobilenetv3_small_050", str(tmp_path / "small.safetensors"))
    assert encoder.image_size == 96
    assert encoder.arguments["mean"] == pytest.approx((0.1, 0.2, 0.3))
    for key, tensor in encoder.trunk.model.state_dict().items():
        assert torch.equal(tensor, state[key])
        assert torch.equal(plain.trunk.model.state_dict()[key], tensor)
    assert encoder.arguments["weights"] is None
    (tmp_path / "small.safetensors").unlink()
    again = from_config(to_config(encoder), TimmEncoder, "here")
    again.load_state_dict(encoder.state_dict())
    assert again.fingerprint() == encoder.fingerprint() != plain.fingerprint()


def test_pretrained_weights_are_timms(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tag has timm fetch them; the checkpoint then needs none, and its transform is that of the tag."""
    make, fetched = timm.create_model, []

    def create(name: str, pretrained: bool, **more: object) -> torch.nn.Module:
        fetched.extend([name] if pretrained else [])
        return make(name, pretrained=False, **more)

    monkeypatch.setattr(timm, "create_model", create)
    encoder = TimmEncoder("vit_tiny_patch16_224", "augreg_in21k_ft_in1k", image_size=64)
    assert fetched == ["vit_tiny_patch16_224.augreg_in21k_ft_in1k"]
    assert encoder.arguments["name"] == fetched[0]
    from_config(to_config(encoder), TimmEncoder, "here")
    assert len(fetched) == 1

    def broken(name: str, pretrained: bool, **more: object) -> torch.nn.Module:
        if pretrained:
            raise OSError("no network\nhere")
        return make(name, **more)

    monkeypatch.setattr(timm, "create_model", broken)
    with pytest.raises(UserError, match=r"could not be fetched \(no network here\); give a file"):
        TimmEncoder("resnet18", "a1_in1k", image_size=64)


REFUSED = [
    ({"name": "resnet17"}, "no model 'resnet17'"),
    ({"name": "hf_hub:somebody/something"}, "no model"),
    ({"name": "resnet18.nothing"}, "'nothing' is no file, and no weights of resnet18; it has .*a1_in1k"),
    ({"name": "resnet18", "weights": "absent.pth"}, "'absent.pth' is no file"),
    ({"name": "resnet18", "image_size": 0}, "must be 1 to 1,024"),
    ({"name": "resnet18", "image_size": 16}, "one region at 16 x 16"),
    ({"name": "resnet18", "out_index": 9}, "out of range"),
    ({"name": "resnet18", "finetune_from": "layer9"}, "no block 'layer9'.*layer4"),
    ({"name": "coat_tiny", "image_size": 64}, "gives a list, not a square map"),
]


def test_what_cannot_be_is_refused_in_a_line(subtests: pytest.Subtests) -> None:
    for arguments, word in REFUSED:
        with subtests.test(arguments=arguments, word=word):
            with pytest.raises(UserError, match=word) as refused:
                TimmEncoder(**{"image_size": 64, **arguments})
            assert "\n" not in str(refused.value)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "other.pth")
    with pytest.raises(UserError, match="no weights of convnext_atto"):
        TimmEncoder("convnext_atto", str(tmp_path / "other.pth"), image_size=64)


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"needs timm: pip install 'vlrnn\[timm\]'"):
        TimmEncoder("resnet18")


def test_a_captioner_is_trained(fit: Callable[..., int], dataset: Path, tmp_path: Path) -> None:
    """From a recipe, fine-tuned; the checkpoint captions, and is exported with nothing but itself."""
    encoder = {"name": "convnext_atto", "image_size": 32, "out_index": 1, "finetune_from": "stages.1"}
    flags = [f"--model.init_args.encoder.init_args.{key}={value}" for key, value in encoder.items()]
    assert fit(tmp_path / "run", "--model.init_args.encoder=vlrnn.nn.TimmEncoder", *flags) == 0
    checkpoint = tmp_path / "run/checkpoints/best.ckpt"
    image = dataset / "images/red_left.png"
    caption = Predictor.load(checkpoint).caption(image)
    assert main(["export", "--checkpoint", str(checkpoint), "--out", str(tmp_path / "model")]) == 0
    assert Predictor.load(tmp_path / "model").caption(image) == caption
