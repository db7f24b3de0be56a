"""Whether training starts as soon, and takes as little memory, whatever the number of images: made-up data sets of up
to a million images in tar files, each with a caption.

    python benchmarks/scale.py [--sizes 10000 100000 1000000] [--quick] [--out FILE]

Each figure is of a process of its own, from behind the imports to the first batch; once as the data set is seen for the
first time and its index is built, and once when that is there.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from side_by_side import arguments_of, keep

from vlrnn.data.records import Example, write_dataset

PER_SHARD = 100_000
WORDS = ("a", "the", "red", "blue", "small", "large", "dog", "cat", "horse", "bus", "sits", "runs", "stands", "waits")
RECIPE = """
model:
  class_path: vlrnn.tasks.Captioner
  init_args:
    encoder: {class_path: vlrnn.nn.TorchvisionEncoder, init_args: {name: shufflenet_v2_x0_5, image_size: 32}}
    decoder:
      class_path: vlrnn.nn.ShowAttendTell
      init_args:
        recurrence: {class_path: vlrnn.nn.LSTM, init_args: {hidden_size: 32}}
        attention: {class_path: vlrnn.nn.SoftAttention, init_args: {attention_dim: 32}}
        embedding_dim: 32
data: {batch_size: 32, min_count: 1}
trainer: {accelerator: cpu, max_steps: 1, limit_val_batches: 1, logger: false, enable_model_summary: false}
"""


def make(folder: Path, size: int) -> None:
    """A data set of so many images, all of them the same few bytes, each a file of its own within a shard."""
    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(picture, "PNG")
    content = picture.getvalue()
    (folder / "shards").mkdir(parents=True)
    for start in range(0, size + 2, PER_SHARD):
        with tarfile.open(folder / _shard(start), "w") as shard:
            for number in range(start, min(start + PER_SHARD, size + 2)):
                member = tarfile.TarInfo(f"{number:09}.png")
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    examples = list(_examples(size + 2))
    splits = {"train": examples[:size], "val": examples[size:]}
    write_dataset(folder, splits, name="made up", source="benchmarks/scale.py", licence="none")
    (folder / "recipe.yaml").write_text(RECIPE)


def _shard(number: int) -> str:
    return f"shards/{number // PER_SHARD:06}.tar"


def _examples(size: int) -> Iterator[Example]:
    for number in range(size):
        caption = " ".join(WORDS[(number * step + step) % len(WORDS)] for step in range(1, 11))
        yield Example(f"{number}", f"{number}", f"{_shard(number)}/{number:09}.png", (caption,))


def first_batch(folder: str) -> dict[str, float]:
    """The seconds from here to the first batch of training, and the most memory that the process had by then."""
    import pytorch_lightning as pl
    import torch

    from vlrnn.training.cli import run_recipe

    torch.set_num_threads(1)
    began, found = time.monotonic(), dict[str, float]()

    class Watch(pl.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
            most = int(status["VmHWM"].removesuffix("kB")) / 1024  # ru_maxrss counts what the parent had as it forked
            found.update(seconds=time.monotonic() - began, MiB=most)

    sys.modules["watching"] = type(sys)("watching")
    sys.modules["watching"].Watch = Watch  # type: ignore[attr-defined]
    Watch.__module__ = "watching"
    flags = {
        "config": f"{folder}/recipe.yaml",
        "data.root": folder,
        "trainer.default_root_dir": f"{folder}/run-{os.getpid()}",
        "trainer.callbacks+": "watching.Watch",
    }
    run_recipe("fit", [word for name, value in flags.items() for word in (f"--{name}", value)])
    return found


def measured(folder: Path) -> dict[str, float]:
    """`first_batch`, in a process of its own."""
    done = subprocess.run([sys.executable, __file__, "--of", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = arguments_of(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--of", help=argparse.SUPPRESS)  # what a process of its own measures
    arguments = parser.parse_args()
    if arguments.of:
        print(json.dumps(first_batch(arguments.of)))
        return
    figures: dict[str, Any] = {}
    for size in [50] if arguments.quick else arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            make(data, size)
            new, known = measured(data), measured(data)
            figures[str(size)] = {"building the index": new, "index built": known}
            told = [
                f"{name}: {each['seconds']:6.1f} s, {each['MiB']:5.0f} MiB" for name, each in figures[str(size)].items()
            ]
            print(f"{size:>9,} images   " + "   ".join(told), flush=True)
    keep(arguments, figures)


if __name__ == "__main__":
    main()
