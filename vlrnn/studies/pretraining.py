"""Pretraining a small CNN on synthetic scenes, so that the quickstart has a pretrained one: which objects are there?

Every region of the CNN's grid is asked for the colour, the shape and the size of the object that lies there, and the
picture for its ground. What is learnt is saved as any pretrained CNN is: as a file of weights, by torchvision's names.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from safetensors.torch import save
from torch import Tensor, nn

from vlrnn.data.images import open_image, pixels
from vlrnn.data.scenes import COLOURS, GROUNDS, SHAPES, SIZES, Scene
from vlrnn.files import replacing
from vlrnn.nn.encoders import CNNEncoder
from vlrnn.records import Example, open_split

_NAMES = (COLOURS, SHAPES, tuple(SIZES))
_BATCH = 32
_NOTHING_WEIGHT = 0.3  # most regions show the ground, which is soon learnt


class _Questions(nn.Module):
    """Linear answers to the four questions, from regions [B, N, D]: three of [B, N, names + 1], 0 meaning nothing, and
    [B, G]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = [len(names) + 1 for names in _NAMES] + [len(GROUNDS)]
        self.linear = nn.Linear(width, sum(self.sizes))

    def forward(self, regions: Tensor) -> tuple[Tensor, ...]:
        *things, ground = self.linear(regions).split(self.sizes, -1)
        return *things, ground.mean(1)


def pretrain(
    scenes: Path, out: Path, *, name: str, size: int, regions_from: str, first: str, epochs: int = 4, lr: float = 3e-3
) -> float:
    """Train a torchvision classifier from nothing, and write its weights to a safetensors file.

    Args:
        scenes: a prepared data set of scenes.
        out: the file.
        name, size, regions_from: of the `CNNEncoder`.
        first: its first block.
        epochs: over the training scenes.
        lr: the highest learning rate.

    Returns:
        the share of the object regions of the validation scenes whose colour, shape and size are all told right.
    """
    encoder = CNNEncoder(name, size=size, regions_from=regions_from, trainable_from=first)
    questions = _Questions(encoder.width)
    images, answers = _load(open_split(scenes, "train"), encoder)
    parameters = [*encoder.parameters(), *questions.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=1e-2)
    steps = epochs * math.ceil(len(images) / _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.2)
    batches = _batches(len(images), epochs)
    for batch in track(batches, "pretraining the CNN", steps, console=Console(stderr=True)):
        loss = _loss(questions(encoder.regions(images[batch])), [each[batch] for each in answers])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    weights = {key: tensor.contiguous() for key, tensor in encoder.trunk.state_dict().items()}
    mean, std = (",".join(map(str, encoder.arguments[key])) for key in ("mean", "std"))
    with replacing(out, binary=True) as file:
        file.write(save(weights, {"mean": mean, "std": std, "input_size": str(size)}))
    return _accuracy(encoder.eval(), questions, *_load(open_split(scenes, "val"), encoder))


def _batches(count: int, epochs: int) -> Iterator[Tensor]:
    for _ in range(epochs):
        yield from torch.randperm(count).split(_BATCH)


def _load(examples: Sequence[Example], encoder: CNNEncoder) -> tuple[Tensor, list[Tensor]]:
    """Pixels [S, 3, H, W] of the scenes, and the right answers: three of [S, N], 0 meaning nothing, and [S]."""
    folder = examples.path.parent  # type: ignore[attr-defined]
    images, answers = [], []
    for example in examples:
        images.append(torch.from_numpy(pixels(open_image(folder / example.image), encoder.size)))
        answers.append(_answers(Scene.from_dict((example.attributes or {})["scene"]), math.isqrt(encoder.count)))
    return torch.stack(images), [torch.stack(each) for each in zip(*answers, strict=True)]


def _answers(scene: Scene, side: int) -> list[Tensor]:
    """What lies in each region of a grid: the object whose centre is nearest, if it reaches the region's middle."""
    middle = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    nearest = torch.full((side, side), torch.inf)
    answers = [torch.zeros(side, side, dtype=torch.long) for _ in _NAMES]
    for thing in scene.objects:
        distance = torch.maximum((x - thing.x).abs(), (y - thing.y).abs())
        here = (distance <= max(thing.radius, 0.5 / side)) & (distance < nearest)
        nearest[here] = distance[here]
        for answer, names, value in zip(answers, _NAMES, (thing.colour, thing.shape, thing.size), strict=True):
            answer[here] = names.index(value) + 1
    return [*(answer.flatten() for answer in answers), torch.tensor(GROUNDS.index(scene.ground))]


def _loss(told: tuple[Tensor, ...], answers: list[Tensor]) -> Tensor:
    *things, ground = told
    loss = F.cross_entropy(ground, answers[-1])
    for logits, answer in zip(things, answers, strict=False):
        weight = torch.ones(logits.shape[-1])
        weight[0] = _NOTHING_WEIGHT
        loss = loss + F.cross_entropy(logits.flatten(0, 1), answer.flatten(), weight)
    return loss


@torch.no_grad()
def _accuracy(encoder: CNNEncoder, questions: _Questions, images: Tensor, answers: list[Tensor]) -> float:
    right = []
    for batch in torch.arange(len(images)).split(_BATCH):
        *things, _ = questions(encoder.regions(images[batch]))
        each = [logits.argmax(-1) == answer[batch] for logits, answer in zip(things, answers, strict=False)]
        right.append(torch.stack(each).all(0)[answers[0][batch] > 0])
    return torch.cat(right).float().mean().item()
