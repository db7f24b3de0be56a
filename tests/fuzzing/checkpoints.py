"""Checkpoints that are none, are broken, are of something else, or would run code: to every command that reads one."""

import json
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fuzzing.mutations import bend, bend_bytes, odd_text, odd_value
from fuzzing.running import Case
from fuzzing.world import MODELS, World
from vlrnn.nn.weights import digest


def make(random: Random, world: World, folder: Path) -> Case:
    name = random.choice(list(MODELS))
    if random.random() < 0.4:
        path = folder / "model"
        shutil.copytree(world.exported(name), path)
        _spoil_folder(random, path)
    else:
        path = folder / "model.ckpt"
        shutil.copy(world.checkpoint(name), path)
        SPOILS[random.choice(list(SPOILS))](random, path)
    return Case([*_command(random, world, name, path), "--quiet"])


def _command(random: Random, world: World, name: str, path: Path) -> list[str]:
    image, checkpoint = str(world.folder / "images" / "test-000001.png"), ["--checkpoint", str(path)]
    way = random.random()
    if way < 0.04:
        data = str(world.folder / ("captions" if name == "captioner" else "vqa"))
        return ["probe", "grounding", *checkpoint, "--data", data, "--resamples", "10", "--out", "out/found.json"]
    if way < 0.16:
        other = name if random.random() < 0.7 else random.choice(list(MODELS))  # another model's recipe
        command = random.choice(("fit", "test", "validate"))
        flags = ["--trainer.default_root_dir=run", "--trainer.enable_model_summary=false", "--trainer.max_epochs=2"]
        return [command, "--config", str(world.recipe(other)), "--ckpt_path", str(path), *flags]
    if way < 0.3:
        return ["export", *checkpoint, "--out", "out/exported"]
    if (name == "captioner") == (way < 0.9):
        return ["caption", image, *checkpoint, "--out", "out/said.json"]
    return ["ask", image, "how many dogs?", *checkpoint, "--json"]


# Files of torch.


def _bent(random: Random, path: Path) -> None:
    path.write_bytes(bend_bytes(random, path.read_bytes()))


def _cut(random: Random, path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * random.random() ** 2)])


def _odd_file(random: Random, path: Path) -> None:
    content = (b"", b"\x80\x02.", b"PK\x03\x04", b"\x80\x05", random.randbytes(2000), odd_text(random, 2000).encode())
    path.write_bytes(random.choice(content))


class Canary:
    """Runs when it is unpickled: makes the file `ran`."""

    def __init__(self, way: int) -> None:
        self.way = way

    def __reduce__(self) -> Any:
        if self.way == 0:
            return os.mkdir, ("ran",)
        if self.way == 1:
            return eval, ("__import__('os').mkdir('ran')",)
        return exec, ("import os; os.mkdir('ran')",)


def _canary(random: Random, path: Path) -> None:
    canary = Canary(random.randrange(3))
    if random.random() < 0.4:
        path.write_bytes(pickle.dumps(canary, random.randrange(6)))
        return
    checkpoint = torch.load(path, weights_only=True)
    holder = random.choice((checkpoint, checkpoint["vlrnn"], checkpoint["state_dict"]))
    holder[random.choice([*holder, "surplus"])] = canary
    torch.save(checkpoint, path, _use_new_zipfile_serialization=random.random() < 0.5)


def _other_torch(random: Random, path: Path) -> None:
    things: tuple[Callable[[], Any], ...] = (
        lambda: torch.zeros(3),
        lambda: {"state_dict": OrderedDict(weight=torch.zeros(3))},
        lambda: torch.nn.Linear(2, 3),
        lambda: torch.nn.Linear(2, 3).state_dict(),
        lambda: [1, 2, 3],
        lambda: None,
        lambda: {"vlrnn": None, "state_dict": None},
        lambda: {"vlrnn": {"format": 2, "task": {}}, "state_dict": {}},
        lambda: {0: torch.zeros(2), "vlrnn": []},
        lambda: {"model": {"weight": torch.zeros(2)}, "epoch": 3, "optimizer": {}},
    )
    torch.save(random.choice(things)(), path)


def _zip(random: Random, path: Path) -> None:
    """The archive with a member changed, gone, or doubled."""
    with zipfile.ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    chosen = random.choice([*members, *(each for each in members if each.endswith("data.pkl"))])
    if random.random() < 0.3:
        del members[chosen]
    else:
        members[chosen] = bend_bytes(random, members[chosen]) if members[chosen] else b"x"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _other_description(random: Random, path: Path) -> None:
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["vlrnn"] = _described(random, checkpoint["vlrnn"])
    torch.save(checkpoint, path)


def _other_weights(random: Random, path: Path) -> None:
    checkpoint = torch.load(path, weights_only=True)
    _change_weights(random, checkpoint["state_dict"])
    if random.random() < 0.7:  # forged, and not only damaged
        checkpoint["vlrnn"]["digest"] = _digest(checkpoint["state_dict"])
    torch.save(checkpoint, path)


def _other_state(random: Random, path: Path) -> None:
    """What training goes on from, changed: of the optimizer, the loops, the callbacks."""
    checkpoint = torch.load(path, weights_only=True)
    key = random.choice([each for each in checkpoint if each != "vlrnn"])
    kind = random.randrange(4)
    if kind == 0:
        del checkpoint[key]
    elif kind == 1 or not isinstance(checkpoint[key], (dict, list)):
        checkpoint[key] = odd_value(random)
    else:
        holder = checkpoint[key]
        while isinstance(holder, dict) and holder and random.random() < 0.7:
            inner = random.choice(list(holder.values()))
            if not isinstance(inner, dict) or not inner:
                break
            holder = inner
        if isinstance(holder, dict) and holder:
            holder[random.choice(list(holder))] = odd_value(random)
        elif holder:
            holder[random.randrange(len(holder))] = odd_value(random)
    torch.save(checkpoint, path)


def _described(random: Random, described: dict[str, Any]) -> Any:
    """A description of another version, of other parts, or of none."""
    kind = random.randrange(6)
    if kind == 0:
        return {**described, "format": random.choice((0, 1, 99, "2", None, 1.5, [1]))}
    if kind == 1:
        text = json.dumps(described)
        paths = sorted({each for each in text.split('"') if each.startswith("vlrnn.")})
        others = [*paths, "os.system", "vlrnn.training.cli.run_recipe", "vlrnn.nn.Encoder", "builtins.exec"]
        return json.loads(text.replace(f'"{random.choice(paths)}"', f'"{random.choice(others)}"'))
    if kind == 2:
        _absurd(random, described)
        return described
    for _ in range(random.choice((1, 1, 2))):
        described = bend(random, described)
    return described


def _absurd(random: Random, described: dict[str, Any]) -> None:
    """A number without sense, or a part within itself."""
    holders, left = [], [described["task"]["arguments"]]
    while left:
        each = left.pop()
        holders.append(each)
        left += [inner for inner in each.values() if isinstance(inner, dict)]
    chosen = random.choice([each for each in holders if each])
    numbers = (8192, 10**6, 10**9, 10**30, float("nan"), float("inf"), -1)
    chosen[random.choice(list(chosen))] = random.choice(holders if random.random() < 0.2 else numbers)


ODD: dict[str, Callable[[Tensor], Tensor]] = {
    "half": lambda each: each.half(),
    "double": lambda each: each.double(),
    "bfloat16": lambda each: each.bfloat16(),
    "integers": lambda each: each.long(),
    "bytes": lambda each: each.byte(),
    "booleans": lambda each: each.bool(),
    "complex": lambda each: each.to(torch.complex64),
    "expanded": lambda each: each.flatten()[:1].expand(each.numel()).view(each.shape),
    "expanded without end": lambda each: each.flatten()[0].expand(10**6, 10**6),
    "sparse": lambda each: each.to_sparse() if each.dim() else each.expand(3).to_sparse(),
    "meta": lambda each: each.to("meta"),
    "quantised": lambda each: torch.quantize_per_tensor(each.float(), 0.1, 0, torch.qint8),
}
STORED = ("half", "double", "bfloat16", "integers", "bytes", "booleans")  # that a safetensors file can hold


def _digest(weights: dict[str, Any]) -> str:
    try:
        return digest(weights)
    except Exception:  # of what has no bytes
        return "none"


def _change_weights(random: Random, weights: dict[str, Any], odd: Sequence[str] = tuple(ODD)) -> None:
    name = random.choice(list(weights))
    weight: Tensor = weights[name]
    kind = random.randrange(7)
    if kind == 0:
        del weights[name]
    elif kind == 1:
        weights[random.choice(("surplus", f"{name}.more", odd_text(random, 50)))] = torch.zeros(2)
    elif kind == 2:
        shapes = (
            weight[..., None],
            weight.flatten(),
            weight[:0] if weight.dim() else weight,
            weight.repeat(2, *[1] * max(0, weight.dim() - 1)),
        )
        weights[name] = random.choice(shapes).clone()
    elif kind == 3:
        weights[name] = ODD[random.choice(odd)](weight)
    elif kind == 4:
        weights[name] = torch.full_like(
            weight, random.choice((float("nan"), float("inf"), 1e30, 0.0)) if weight.is_floating_point() else 0
        )
    elif kind == 5:
        weights[f"{name}s"] = weights.pop(name)
    else:
        weights.clear()


SPOILS: dict[str, Callable[[Random, Path], None]] = {
    "bent": _bent,
    "cut": _cut,
    "odd file": _odd_file,
    "canary": _canary,
    "of torch": _other_torch,
    "archive": _zip,
    "description": _other_description,
    "description too": _other_description,
    "weights": _other_weights,
    "state": _other_state,
}


# Folders.


def _spoil_folder(random: Random, folder: Path) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    kind = random.randrange(7)
    if kind < 3:
        described = _described(random, json.loads(config.read_text()))
        with suppress(ValueError):  # what is within itself is no JSON
            config.write_text(json.dumps(described))
    elif kind == 3:
        found = dict(load_file(weights))
        _change_weights(random, found, STORED)
        found = {name: each.contiguous() for name, each in found.items()}
        save_file(found, weights, {"digest": _digest(found)} if random.random() < 0.7 else None)
    elif kind == 4:
        _bent(random, random.choice((config, weights)))
    elif kind == 5:
        random.choice((_cut, _odd_file))(random, random.choice((config, weights)))
    else:
        random.choice((config, weights)).unlink()
