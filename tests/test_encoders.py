"""Encoders: torchvision classifiers of several families behind one contract, and the weights that they accept and
refuse."""

import pickle
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from quick import quick
from safetensors.torch import load_file, save_file
from torch import nn

from vlrnn.config import from_config, to_config
from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.nn.encoders.module_encoder import ModuleEncoder
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder

CLASSIFIER = "mobilenet_v3_small"

FAMILIES = {
    "mobilenet_v3_small": (64, 4, 576),
    "resnet18": (96, 9, 512),
    "shufflenet_v2_x0_5": (64, 4, 1024),
    "squeezenet1_1": (64, 9, 1000),
    "convnext_tiny": (64, 4, 768),
    "vit_b_32": (224, 49, 768),
    "swin_t": (64, 4, 768),
}


def photographs(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8)


@pytest.mark.parametrize("name", quick(FAMILIES, *list(FAMILIES)[::3]))
def test_every_family_gives_regions(name: str) -> None:
    size, count, width = FAMILIES[name]
    encoder = TorchvisionEncoder(name, image_size=size)
    images = photographs(3, size)
    context = encoder(images)
    assert (encoder.num_regions, encoder.feature_dim, encoder.image_size) == (count, width, size)
    assert context.regions.shape == (3, encoder.num_regions, encoder.feature_dim)
    assert context.mask.shape == (3, encoder.num_regions)
    assert context.mask.all()
    assert context.pooled.shape == (3, encoder.feature_dim)
    torch.testing.assert_close(context.pooled, context.regions.mean(1))
    assert context.regions.isfinite().all()
    assert not context.regions.requires_grad
    assert encoder.frozen
    torch.testing.assert_close(encoder(images[1:2]).regions[0], context.regions[1], rtol=1e-3, atol=1e-3)
    folded = encoder.eval().folded()
    torch.testing.assert_close(folded(images).regions, context.regions, rtol=1e-3, atol=1e-3)
    assert (folded.image_size, folded.num_regions, folded.feature_dim) == (
        encoder.image_size,
        encoder.num_regions,
        encoder.feature_dim,
    )


def test_regions_are_the_classifiers_own_map() -> None:
    """What is cut off is only what makes classes of the map."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).eval()
    encoder = TorchvisionEncoder("resnet18", image_size=64, mean=(0.0,) * 3, std=(1.0,) * 3)
    encoder.trunk.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("fc")})
    images = photographs()
    pooled = encoder(images).pooled
    torch.testing.assert_close(model.fc(pooled), model(images / 255), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "size", "side"), [("resnet18", 160, 5), ("swin_t", 160, 5)])
def test_a_region_is_where_its_box_is(name: str, size: int, side: int) -> None:
    """A bright patch moves the region of its own place most, or one beside it; regions go row by row."""
    encoder = TorchvisionEncoder(name, image_size=size).eval()
    black = torch.zeros(1, 3, size, size, dtype=torch.uint8)
    assert encoder.num_regions == side * side
    before = encoder(black)
    for row, column in ((0, 0), (0, 4), (4, 0), (3, 1)):
        bright = black.clone()
        middle = [int((each + 0.5) * size / side) for each in (row, column)]
        bright[:, :, middle[0] - 12 : middle[0] + 12, middle[1] - 12 : middle[1] + 12] = 255
        moved = (encoder(bright).regions - before.regions).square().sum(-1)[0]
        place = divmod(int(moved.argmax()), side)
        assert abs(place[0] - row) <= 1
        assert abs(place[1] - column) <= 1
        x0, y0, x1, y1 = before.boxes[0, row * side + column].tolist()
        assert x0 <= middle[1] / size <= x1
        assert y0 <= middle[0] / size <= y1


# Weights.


def test_safetensors_bring_their_transform(classifier_file: Path) -> None:
    """A classifier of seven classes; only its trunk counts."""
    encoder = TorchvisionEncoder(CLASSIFIER, str(classifier_file))
    assert encoder.image_size == 64
    assert encoder.mean.flatten().tolist() == encoder.std.flatten().tolist() == [127.5] * 3
    state = load_file(classifier_file)
    for name, tensor in encoder.trunk.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert (
        TorchvisionEncoder(CLASSIFIER, str(classifier_file), image_size=96, mean=(0.1, 0.2, 0.3)).arguments[
            "image_size"
        ]
        == 96
    )


def test_state_dict_file(classifier_file: Path, tmp_path: Path) -> None:
    torch.save(load_file(classifier_file), tmp_path / "small.pth")
    encoder = TorchvisionEncoder(CLASSIFIER, str(tmp_path / "small.pth"))
    assert encoder.image_size == 224
    same = TorchvisionEncoder(CLASSIFIER, str(classifier_file))
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), same.parameters(), strict=True))


@pytest.mark.filterwarnings("error")
def test_wrong_weights_are_refused(classifier_file: Path, tmp_path: Path) -> None:
    state = load_file(classifier_file)
    first = "features.0.0.weight"

    def refused(file: str, word: str, name: str = CLASSIFIER) -> None:
        with pytest.raises(UserError) as error:
            TorchvisionEncoder(name, str(tmp_path / file) if file else None)
        assert word in str(error.value)
        assert "\n" not in str(error.value)

    save_file({key: value for key, value in state.items() if key != first}, tmp_path / "missing.safetensors")
    refused("missing.safetensors", first)
    save_file({**state, first: torch.zeros(2, 2)}, tmp_path / "shape.safetensors")
    refused("shape.safetensors", "(2, 2)")
    refused("shape.safetensors", "missing", "resnet18")
    save_file(state, tmp_path / "metadata.safetensors", {"mean": "a,b,c"})
    refused("metadata.safetensors", "metadata.safetensors")
    save_file(state, tmp_path / "two.safetensors", {"mean": "0.5,0.5"})
    refused("two.safetensors", "two.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    refused("text.safetensors", "text.safetensors")
    (tmp_path / "text.pth").write_text("no weights")
    refused("text.pth", "text.pth")
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps({"a": Path("x")}))
    refused("pickle.pth", "pickle.pth")
    torch.save(nn.Linear(2, 2), tmp_path / "module.pth")
    refused("module.pth", "module.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    refused("list.pth", "list.pth")
    refused("absent.pth", "absent.pth")
    refused("", "no_such_model", "no_such_model")


@pytest.mark.parametrize(("name", "size"), [(CLASSIFIER, 1), (CLASSIFIER, -3), ("vit_b_32", 64)])
def test_impossible_sizes_are_refused(name: str, size: int, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="pixels") as error:
        TorchvisionEncoder(name, image_size=size)
    assert "\n" not in str(error.value)
    assert not capfd.readouterr().err


@pytest.mark.parametrize("wrong", [{"mean": (0.5, 0.5)}, {"std": (0.5, 0.5, 0.0)}, {"std": (float("nan"),) * 3}])
def test_impossible_transforms_are_refused(wrong: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(UserError, match="mean and std"):
        TorchvisionEncoder(CLASSIFIER, image_size=64, **wrong)


def test_a_dangerous_pickle_never_runs(tmp_path: Path) -> None:
    class Dangerous:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    for name in ("raw.pth", "zip.pth", "named.safetensors"):
        if name == "zip.pth":
            torch.save({"a": Dangerous()}, tmp_path / name)
        else:
            (tmp_path / name).write_bytes(pickle.dumps(Dangerous()))
        with pytest.raises(UserError):
            TorchvisionEncoder(CLASSIFIER, str(tmp_path / name))
    assert not (tmp_path / "ran").exists()


# What learns.


def test_finetune_from() -> None:
    encoder = TorchvisionEncoder(CLASSIFIER, image_size=64, finetune_from="features.9")
    assert not encoder.frozen
    learns = {name.split(".")[1] for name, each in encoder.trunk.named_parameters() if each.requires_grad}
    stays = {name.split(".")[1] for name, each in encoder.trunk.named_parameters() if not each.requires_grad}
    assert learns == {"9", "10", "11", "12"}
    assert stays == {str(block) for block in range(9)}
    encoder(photographs()).regions.square().sum().backward()
    for name, parameter in encoder.trunk.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_a_block_is_no_prefix_of_a_name() -> None:
    """`features.1` is not `features.11`."""
    encoder = TorchvisionEncoder(CLASSIFIER, image_size=64, finetune_from="features.11")
    assert not next(iter(encoder.trunk.get_submodule("features.1").parameters())).requires_grad
    with pytest.raises(UserError, match="no block 'feat'"):
        TorchvisionEncoder(CLASSIFIER, image_size=64, finetune_from="feat")


def test_a_block_of_a_vision_transformer() -> None:
    with torch.device("meta"):
        encoder = TorchvisionEncoder("vit_b_16", out_layer="encoder.layers.encoder_layer_5")
    assert (encoder.num_regions, encoder.feature_dim) == (196, 768)


def test_a_graph_with_tensors_of_its_own() -> None:
    """It is traced once, and each encoder of it gets its tensors."""
    images = torch.randint(0, 256, (1, 3, 224, 224), dtype=torch.uint8)
    for _ in range(2):
        encoder = TorchvisionEncoder("maxvit_t", out_layer="blocks.0")
        assert encoder(images).regions.isfinite().all()


def test_unknown_block_lists_the_blocks() -> None:
    with pytest.raises(UserError, match=r"no block 'layer9'.*layer1.*layer4") as error:
        TorchvisionEncoder("resnet18", image_size=64, finetune_from="layer9")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("finetune_from", [None, "features.9", "features.0"])
def test_batch_norm_moves_where_its_block_learns(finetune_from: str | None) -> None:
    encoder = TorchvisionEncoder(CLASSIFIER, image_size=64, finetune_from=finetune_from).train()
    norms = {name: each for name, each in encoder.trunk.named_modules() if isinstance(each, nn.BatchNorm2d)}
    before = {name: each.running_mean.clone() for name, each in norms.items()}
    encoder(photographs(4))
    for name, norm in norms.items():
        learns = finetune_from is not None and int(name.split(".")[1]) >= int(finetune_from.split(".")[1])
        assert torch.equal(norm.running_mean, before[name]) != learns, name
    encoder.eval()
    before = {name: each.running_mean.clone() for name, each in norms.items()}
    encoder(photographs(4))
    assert all(torch.equal(each.running_mean, before[name]) for name, each in norms.items())


def test_folded_cannot_learn_and_leaves_the_original_as_it_is(classifier_file: Path) -> None:
    encoder = TorchvisionEncoder(CLASSIFIER, str(classifier_file), finetune_from="features.9").eval()
    images = photographs()
    before = encoder(images).regions.detach()
    folded = encoder.folded()
    assert folded.frozen
    assert not encoder.frozen
    torch.testing.assert_close(folded(images).regions, before, rtol=1e-4, atol=1e-4)
    assert torch.equal(encoder(images).regions, before)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.trunk.modules())


def test_a_learning_encoder_in_training_mode_folds() -> None:
    encoder = TorchvisionEncoder(CLASSIFIER, image_size=64, finetune_from="features.9").train()
    folded = encoder.folded()
    assert encoder.training
    torch.testing.assert_close(folded(photographs()).regions.shape, encoder(photographs()).regions.shape)


# Identity.


def test_fingerprint(classifier_file: Path) -> None:
    weights = str(classifier_file)
    encoder = TorchvisionEncoder(CLASSIFIER, weights)
    assert encoder.fingerprint() == TorchvisionEncoder(CLASSIFIER, weights).fingerprint()
    others = [
        TorchvisionEncoder(CLASSIFIER, weights, image_size=96),
        TorchvisionEncoder(CLASSIFIER, weights, mean=(0.4, 0.5, 0.5)),
        TorchvisionEncoder(CLASSIFIER, weights, std=(0.4, 0.5, 0.5)),
        TorchvisionEncoder(CLASSIFIER, image_size=64),
    ]
    moved = TorchvisionEncoder(CLASSIFIER, weights)
    with torch.no_grad():
        next(iter(moved.parameters()))[0] += 1e-3
    buffer = TorchvisionEncoder(CLASSIFIER, weights)
    next(each for name, each in buffer.named_buffers() if "running_var" in name)[0] += 1e-3
    prints = [encoder.fingerprint(), *(each.fingerprint() for each in (*others, moved, buffer))]
    assert len(set(prints)) == len(prints)


def test_fingerprint_does_not_depend_on_where_the_weights_lay(classifier_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(classifier_file.read_bytes())
    one, other = (TorchvisionEncoder(CLASSIFIER, str(path)) for path in (classifier_file, copy))
    assert one.fingerprint() == other.fingerprint()


def test_description_needs_no_file(classifier_file: Path) -> None:
    encoder = TorchvisionEncoder(CLASSIFIER, str(classifier_file), finetune_from="features.9")
    described = to_config(encoder)
    assert described["arguments"]["weights"] is None
    again = from_config(described, TorchvisionEncoder, "here")
    again.load_state_dict(encoder.state_dict())
    assert again.fingerprint() == encoder.fingerprint()
    images = photographs()
    assert torch.equal(again.eval()(images).regions, encoder.eval()(images).regions)


def test_real_weights_load_as_they_are(real_data: Path) -> None:
    encoder = TorchvisionEncoder("mobilenet_v2", str(real_data / "weights" / "mobilenet_v2_imagenet.safetensors"))
    assert encoder.mean.flatten().tolist() == encoder.std.flatten().tolist() == [127.5] * 3
    assert encoder.feature_dim == 1280
    assert encoder.num_regions == (encoder.image_size // 32) ** 2


def test_maps_with_channels_behind_are_read_right() -> None:
    """Swin's blocks leave [B, h, w, D]: the regions are its cells row by row, and not its channels."""
    encoder = TorchvisionEncoder("swin_t", image_size=64, out_layer="features.1").eval()
    assert (encoder.feature_dim, encoder.num_regions) == (96, 256)
    image = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        cells = encoder.trunk((image - encoder.mean) / encoder.std)
        assert torch.equal(encoder.regions(image)[0, 16 * 3 + 5], cells[0, 3, 5])


# Any module.


class Patches(nn.Module):
    """Patches [B, N, D] of images, without parameters."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return nn.functional.unfold(pixels, 8, stride=8).transpose(1, 2)


class OwnEncoder(ModuleEncoder):
    def __init__(self, image_size: int = 32, finetune_from: str | None = None) -> None:
        trunk = nn.Sequential(nn.Conv2d(3, 5, 8, 8), nn.BatchNorm2d(5), nn.Conv2d(5, 7, 1))
        super().__init__(trunk, image_size, (0.5,) * 3, (0.5,) * 3, finetune_from)


def test_any_module_is_an_encoder() -> None:
    encoder = OwnEncoder().eval()
    assert (encoder.image_size, encoder.feature_dim, encoder.num_regions, encoder.frozen) == (32, 7, 16, True)
    images = photographs(2, 32)
    expected = encoder.trunk(images / 127.5 - 1).flatten(2).transpose(1, 2)
    torch.testing.assert_close(encoder(images).regions, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(encoder.folded()(images).regions, encoder(images).regions)
    patches = ModuleEncoder(Patches(), 32)
    assert (patches.feature_dim, patches.num_regions) == (192, 16)
    assert patches.folded()(images).regions.shape == (2, 16, 192)


def test_any_module_is_fine_tuned_from_a_block() -> None:
    encoder = OwnEncoder(finetune_from="2").train()
    encoder(photographs(2, 32)).regions.sum().backward()
    assert [name for name, each in encoder.named_parameters() if each.grad is not None] == [
        "trunk.2.weight",
        "trunk.2.bias",
    ]
    assert not encoder.trunk[1].training
    with pytest.raises(UserError, match=r"no block '3'; the first to be trained may be 0.weight, 0.bias, 1.weight"):
        OwnEncoder(finetune_from="3")


NO_MAPS = [
    (nn.Conv2d(4, 5, 1), 32, "takes no images of 32 x 32 pixels: .*expected input"),
    (nn.Flatten(), 32, r"gives a tensor \[1, 3072\], not a square map"),
    (nn.MaxPool2d((2, 4)), 32, r"gives a tensor \[1, 3, 16, 8\], not a square map"),
    (nn.MaxPool2d(2, return_indices=True), 32, "gives a tuple, not a square map"),
    (nn.Identity(), 2000, "image_size must be 1 to 1,024 pixels"),
]


def test_a_module_that_gives_no_map_is_refused(subtests: pytest.Subtests) -> None:
    for module, size, word in NO_MAPS:
        with subtests.test(size=size, word=word), pytest.raises(UserError, match=f"^encoder: .*{word}"):
            ModuleEncoder(module, size)


# What is no image.


def test_images_are_uint8(subtests: pytest.Subtests) -> None:
    """Floats in 0..1 would be taken for pictures that are nearly black."""
    for dtype, make in product(
        [torch.float32, torch.float64, torch.float16, torch.int64, torch.bool],
        [lambda: TorchvisionEncoder(CLASSIFIER, image_size=64), BlindEncoder],
    ):
        with subtests.test(dtype=dtype, make=make):
            encoder = make().eval()
            for twin in (encoder, encoder.folded()):
                for give in (twin, twin.regions):
                    with pytest.raises(UserError, match=rf"uint8 tensors .* not {str(dtype)[6:]} \[.*torch.uint8"):
                        give(torch.ones(1, 3, 64, 64).to(dtype))
                    assert give(torch.ones(1, 3, 64, 64, dtype=torch.uint8)) is not None
                    for shape in ((1, 64, 64, 3), (3, 64, 64), (1, 1, 64, 64)):
                        with pytest.raises(
                            UserError, match=rf"uint8 tensors .* not uint8 \[{', '.join(map(str, shape))}\]"
                        ):
                            give(torch.ones(shape, dtype=torch.uint8))
                    with pytest.raises(UserError, match=r"uint8 tensors .* not of type ndarray"):
                        give(np.ones((1, 3, 64, 64), np.uint8))


# Quick.


def test_bf16_is_near(classifier_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "vlrnn.nn.encoders.module_encoder.has_bf16", lambda device: True
    )  # imitated, where it is not there
    encoder = TorchvisionEncoder(CLASSIFIER, str(classifier_file))
    images = photographs()
    exact, near = encoder(images).regions, encoder.folded(bf16=True)(images).regions
    assert near.dtype == torch.float32
    assert not torch.equal(near, exact)
    assert torch.nn.functional.cosine_similarity(near.flatten(), exact.flatten(), 0) > 0.995


def test_without_bf16_float32_is_used_and_reported(
    classifier_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vlrnn.nn.encoders.module_encoder.has_bf16", lambda device: False)
    encoder = TorchvisionEncoder(CLASSIFIER, str(classifier_file))
    images = photographs()
    assert torch.equal(encoder.folded(bf16=True)(images).regions, encoder.folded()(images).regions)
    assert capsys.readouterr().err == "bf16: cpu has no bfloat16; float32 is used\n"


@pytest.mark.slow
def test_compiled_is_the_same(classifier_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("needs a C++ compiler")
    encoder = TorchvisionEncoder(CLASSIFIER, str(classifier_file))
    compiled, folded = encoder.folded(compiled=True), encoder.folded()
    for count in (4, 1, 4):  # a smaller batch is filled up
        images = photographs(count)
        torch.testing.assert_close(compiled(images).regions, folded(images).regions, rtol=1e-4, atol=1e-4)
    assert "compiled:" not in capsys.readouterr().err


def test_where_nothing_can_be_compiled_that_is_reported(
    classifier_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no working C++ compiler found")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    encoder = TorchvisionEncoder(CLASSIFIER, str(classifier_file))
    compiled, images = encoder.folded(compiled=True), photographs()
    for _ in range(2):
        assert torch.equal(compiled(images).regions, encoder.folded()(images).regions)
    assert capsys.readouterr().err.count("compiled: torch.compile cannot (no working C++ compiler found)") == 1
