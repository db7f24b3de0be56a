"""Caches that a disk, or somebody, has damaged: features of images, and the indices beside large files."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from fuzzing.mutations import bend, bend_bytes, odd_text
from fuzzing.running import Case
from fuzzing.world import World


def make(random: Random, world: World, folder: Path) -> Case:
    cache = folder / "cache"
    shutil.copytree(world.cache, cache)
    files = sorted(each for each in cache.rglob("*") if each.is_file())
    for _ in range(random.choice((1, 1, 2))):
        path, damage = random.choice(files), DAMAGES[random.choice(list(DAMAGES))]
        if path.is_file():
            damage(random, path)
    data = ["--data.cache", str(cache), "--trainer.default_root_dir", "run"]
    dry = ["--trainer.fast_dev_run", "1", "--trainer.enable_model_summary", "false"]
    command = ["cache"] if random.random() < 0.3 else ["fit", *dry]
    return Case([*command, "--config", str(world.recipe("captioner")), *data, "--quiet"])


def _flip(random: Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def _bend(random: Random, path: Path) -> None:
    path.write_bytes(bend_bytes(random, path.read_bytes()))


def _cut(random: Random, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.randrange(len(content) + 1)])


def _empty(random: Random, path: Path) -> None:
    path.write_bytes(b"")


def _gone(random: Random, path: Path) -> None:
    path.unlink(missing_ok=True)


def _folder(random: Random, path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir(exist_ok=True)


def _array(random: Random, path: Path) -> None:
    arrays = (
        np.zeros((1, 2, 3), np.float16),
        np.zeros(7),
        np.array(["a", {"b": 1}], dtype=object),
        np.zeros((0, 4, 4), np.float16),
        np.full((18, 1, 1), np.nan, np.float16),
    )
    file = io.BytesIO()
    np.save(file, random.choice(arrays), allow_pickle=True)
    path.write_bytes(file.getvalue())


def _json(random: Random, path: Path) -> None:
    try:
        value = json.loads(path.read_text("utf-8"))
    except ValueError:
        return _bend(random, path)
    path.write_text(json.dumps(bend(random, value)), "utf-8", errors="replace")
    return None


def _text(random: Random, path: Path) -> None:
    path.write_bytes(odd_text(random, 3000).encode(errors="replace"))


DAMAGES: dict[str, Callable[[Random, Path], None]] = {
    "flip": _flip,
    "bend": _bend,
    "cut": _cut,
    "empty": _empty,
    "gone": _gone,
    "folder": _folder,
    "array": _array,
    "json": _json,
    "text": _text,
}
