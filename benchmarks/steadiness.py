"""Whether training slows down, or takes more and more memory: 10,000 steps of a small captioner on the command line's
own path, Lightning, log, checkpoints and all.

    python benchmarks/steadiness.py [--steps 10000] [--quick] [--out FILE]

Compares the median CPU time of a step in the last tenth with that in the first, and the memory at the end with that
after the first tenth.
"""

import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from side_by_side import arguments_of, begin, keep

from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.training.cli import run_recipe

RECIPE = """
model:
  class_path: vlrnn.tasks.Captioner
  init_args:
    encoder: {class_path: vlrnn.nn.TorchvisionEncoder, init_args: {name: shufflenet_v2_x0_5, image_size: 64}}
    decoder:
      class_path: vlrnn.nn.ShowAttendTell
      init_args:
        recurrence: {class_path: vlrnn.nn.LSTM, init_args: {hidden_size: 32}}
        attention: {class_path: vlrnn.nn.SoftAttention, init_args: {attention_dim: 32}}
        embedding_dim: 32
data: {batch_size: 4, min_count: 1}
trainer: {accelerator: cpu, max_epochs: 1000000, check_val_every_n_epoch: 50, enable_model_summary: false}
"""


class Watch(pl.Callback):
    """Notes the CPU time of every step, and the memory in use."""

    steps: list[float] = []  # noqa: RUF012 (the command line makes the watch; this is where it is read)
    memory: list[float] = []  # noqa: RUF012

    def on_train_batch_start(self, *_: Any) -> None:
        self._began = time.process_time()

    def on_train_batch_end(self, *_: Any) -> None:
        Watch.steps.append(time.process_time() - self._began)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        Watch.memory.append(pages * resource.getpagesize() / 2**20)


def main() -> None:
    parser = arguments_of(__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    arguments = parser.parse_args()
    begin(arguments)
    steps = 40 if arguments.quick else arguments.steps
    with tempfile.TemporaryDirectory() as folder:
        make_scenes(folder, train=64, val=4, test=4, image_size=64, workers=1)
        (Path(folder) / "recipe.yaml").write_text(RECIPE)
        flags = {
            "config": f"{folder}/recipe.yaml",
            "data.root": f"{folder}/captions",
            "data.cache": f"{folder}/cache",
            "trainer.default_root_dir": f"{folder}/run",
            "trainer.max_steps": steps,
            "trainer.callbacks+": f"{Watch.__module__}.Watch",
        }
        run_recipe("fit", [str(word) for name, value in flags.items() for word in (f"--{name}", value)])
    tenth = steps // 10
    first, last = (statistics.median(Watch.steps[part]) for part in (slice(tenth), slice(-tenth, None)))
    early, late = Watch.memory[tenth], Watch.memory[-1]
    print(f"{steps:,} steps: median {1e3 * first:.2f} ms in the first tenth, {1e3 * last:.2f} ms in the last;")
    print(f"  ratio {last / first:.3f}; memory {early:.0f} MiB after the first tenth, {late:.0f} MiB at the end")
    keep(arguments, {"first": first, "last": last, "ratio": last / first, "memory": {"early": early, "late": late}})


if __name__ == "__main__":
    main()
