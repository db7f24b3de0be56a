"""Pretraining of a small CNN on synthetic scenes, for the quickstart.

Every region of the CNN's grid predicts the colour, shape, size and offset of the object whose centre is in it; the mean
over regions predicts the ground. Half of the pictures have false colours, so that a shape is recognised in any colour.
The weights are saved under torchvision's names.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn

from vlrnn.data.images import open_image, pixels
from vlrnn.data.records import open_split
from vlrnn.data.synthetic.scenes import COLOURS, GROUNDS, SHAPES, SIZES, Scene
from vlrnn.files import replacing
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
from vlrnn.studies.fitting import fit_small

_KINDS = (COLOURS, SHAPES, tuple(SIZES))
_BATCH = 32
_REACH = 0.65  # of a region's side: an object on the border of two regions lies in both
_IGNORED = -100  # the `ignore_index` of cross_entropy


class SceneTargets(NamedTuple):
    """Targets of S scenes with N regions: `kinds` [S, N, 3] are the numbers of colour, shape and size, from 1, 0 for no
    object, `_IGNORED` for no target; `places` [S, N, 2] the offset of the object's centre from the region's, in sides
    of a region; `ground` [S]."""

    kinds: Tensor
    places: Tensor
    ground: Tensor


class SceneOutput(NamedTuple):
    """Predictions for B scenes: `kinds`, three logits [B, N, names + 1]; `places` [B, N, 2]; `ground` [B, G]."""

    kinds: tuple[Tensor, ...]
    places: Tensor
    ground: Tensor


class SceneHead(nn.Module):
    """Linear predictions from regions [B, N, D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = [*(len(names) + 1 for names in _KINDS), 2, len(GROUNDS)]
        self.linear = nn.Linear(width, sum(self.sizes))

    def forward(self, regions: Tensor) -> SceneOutput:
        *kinds, places, ground = self.linear(regions).split(self.sizes, -1)
        return SceneOutput(tuple(kinds), places, ground.mean(1))


def pretrain(
    scenes: Path, out: Path, *, name: str, image_size: int, out_layer: str, first: str, epochs: int, lr: float = 3e-3
) -> float:
    """Train a torchvision classifier from scratch, and write its weights to a safetensors file.

    Args:
        scenes: a prepared data set of scenes.
        out: the file.
        name, image_size, out_layer: of the `TorchvisionEncoder`.
        first: its first block.
        epochs: over the training scenes.
        lr: the highest learning rate.

    Returns:
        the share of the objects of the validation scenes whose colour, shape and size are all predicted right.
    """
    encoder = TorchvisionEncoder(name, image_size=image_size, out_layer=out_layer, finetune_from=first)
    questions = SceneHead(encoder.feature_dim)
    images, answers = load_scenes(scenes, "train", encoder)
    parameters = [*encoder.parameters(), *questions.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=1e-2)
    steps = epochs * math.ceil(len(images) / _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.2)

    def loss(rows: Tensor) -> Tensor:
        varied, true = vary(images[rows], SceneTargets(*(each[rows] for each in answers)))
        return _loss(questions(encoder.regions(varied)), true)

    fit_small(_batches(len(images), epochs), loss, optimizer, schedule)
    weights = {key: tensor.contiguous() for key, tensor in encoder.trunk.state_dict().items()}
    mean, std = (",".join(map(str, encoder.arguments[key])) for key in ("mean", "std"))
    with replacing(out, binary=True) as file:
        file.write(save(weights, {"mean": mean, "std": std, "input_size": str(image_size)}))
    return _accuracy(encoder.eval(), questions, *load_scenes(scenes, "val", encoder))


def load_scenes(folder: Path, split: str, encoder: TorchvisionEncoder) -> tuple[Tensor, SceneTargets]:
    """Pixels [S, 3, H, W] of a split's scenes, and their targets."""
    images, answers = [], []
    for example in open_split(folder, split):
        images.append(torch.from_numpy(pixels(open_image(folder / example.image), encoder.image_size)))
        answers.append(_targets(Scene.from_dict((example.attributes or {})["scene"]), math.isqrt(encoder.num_regions)))
    return torch.stack(images), SceneTargets(*map(torch.stack, zip(*answers, strict=True)))


def _targets(scene: Scene, side: int) -> SceneTargets:
    """Targets of the regions of a side x side grid: the object with the nearest centre, if it covers the region's
    centre, or nearly."""
    middle = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    middles = torch.stack([x, y], -1).view(-1, 2)  # [N, 2]
    nearest = torch.full((side * side,), torch.inf)
    kinds = torch.zeros(side * side, len(_KINDS), dtype=torch.long)
    places = torch.zeros(side * side, 2)
    for thing in scene.objects:
        offset = (torch.tensor([thing.x, thing.y]) - middles) * side
        distance = offset.abs().amax(1) / side
        here = (distance < max(thing.radius, _REACH / side)) & (distance < nearest)
        nearest[here] = distance[here]
        words = (thing.colour, thing.shape, thing.size)
        numbers = [names.index(word) + 1 for names, word in zip(_KINDS, words, strict=True)]
        kinds[here] = torch.tensor(numbers)
        places[here] = offset[here]
    return SceneTargets(kinds, places, torch.tensor(GROUNDS.index(scene.ground)))


def _batches(count: int, epochs: int) -> Iterator[Tensor]:
    for _ in range(epochs):
        yield from torch.randperm(count).split(_BATCH)


def vary(images: Tensor, answers: SceneTargets) -> tuple[Tensor, SceneTargets]:
    """Mirror half of the batches; and of each batch permute red, green and blue of the first half at random.

    Those have no targets of colour. Without false colours, a CNN confuses a shape that was never red in training with
    one that was.
    """
    kinds, places = answers.kinds.clone(), answers.places
    if torch.rand(()) < 0.5:
        images = images.flip(3)
        kinds, places = _mirrored(kinds), _mirrored(places) * torch.tensor([-1.0, 1.0])
    false = len(images) // 2
    orders = torch.rand(false, 3, 1, 1).argsort(1).expand_as(images[:false])
    colours = kinds[:false, :, 0]
    colours[colours > 0] = _IGNORED
    return torch.cat([images[:false].gather(1, orders), images[false:]]), SceneTargets(kinds, places, answers.ground)


def _mirrored(grid: Tensor) -> Tensor:
    """Regions [B, N, ...] of a square grid, each row of the grid reversed."""
    side = math.isqrt(grid.shape[1])
    return grid.unflatten(1, (side, side)).flip(2).flatten(1, 2)


def _loss(predicted: SceneOutput, answers: SceneTargets) -> Tensor:
    present = answers.kinds[..., 1] > 0  # [B, N]
    loss = F.cross_entropy(predicted.ground, answers.ground)
    loss = loss + F.smooth_l1_loss(predicted.places[present], answers.places[present])
    for logits, numbers in zip(predicted.kinds, answers.kinds.unbind(-1), strict=True):
        loss = loss + F.cross_entropy(logits.flatten(0, 1), numbers.flatten())
    return loss


@torch.no_grad()
def _accuracy(encoder: TorchvisionEncoder, questions: SceneHead, images: Tensor, answers: SceneTargets) -> float:
    right = []
    for batch in torch.arange(len(images)).split(_BATCH):
        kinds = answers.kinds[batch]
        predicted = torch.stack([logits.argmax(-1) for logits in questions(encoder.regions(images[batch])).kinds], -1)
        right.append((predicted == kinds).all(-1)[kinds[..., 0] > 0])
    return torch.cat(right).float().mean().item()
