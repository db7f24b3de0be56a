"""Recipes with values that nobody would write: over all keys of `configs/` and those of the Trainer, in YAML and as
flags."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import yaml

from fuzzing.mutations import bend_bytes, odd_value
from fuzzing.running import Case
from fuzzing.world import ENCODER, World

CONFIGS = Path(__file__).parent.parent.parent / "configs"
OVERLAYS_OF_ALL = ("cells", "hardware", "blind.yaml")
CLASSES = (
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "no.such.module.Part",
    "vlrnn.nn.recurrent.rnn.NoSuchCell",
    "vlrnn.nn.LSTM",
    "vlrnn.nn.Recurrence",
    "vlrnn.nn.SoftAttention",
    "vlrnn.nn.ShowAndTell",
    "vlrnn.nn.BlindEncoder",
    "vlrnn.tasks.Captioner",
    "vlrnn.training.Task",
    "vlrnn.cli.main",
    "torch.nn.Linear",
    "LSTM",
    "vlrnn..nn",
    "",
    ".",
    "1.2",
)
OTHER_KEYS = (
    "seed_everything",
    "overfit",
    "ckpt_path",
    "no_such_key",
    "model.init_args.generation.num_beams",
    "model.init_args.generation.max_new_tokens",
    "model.init_args.generation.early_stopping",
    "model.init_args.generation.length_penalty",
    "model.init_args.generation.temperature",
    "model.init_args.generation.top_p",
    "model.init_args.optimization.weight_decay",
    "model.init_args.optimization.warmup_fraction",
    "model.init_args.optimization.encoder_lr",
    "model.init_args.vocabulary",
    "model.init_args.encoder.init_args.mean",
    "model.init_args.encoder.init_args.finetune_from",
    "model.init_args.no_such_argument",
    "data.image_root",
    "data.captions_per_image",
    "data.max_answers",
    "data.min_answer_count",
    "data.num_workers",
    "data.no_such_key",
    "checkpoint.monitor",
    "checkpoint.mode",
    "checkpoint.save_top_k",
    "checkpoint.dirpath",
    "checkpoint.filename",
    "checkpoint.last_every_n_steps",
    "early_stopping.patience",
    "early_stopping.monitor",
    "early_stopping.mode",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.precision",
    "trainer.max_steps",
    "trainer.max_time",
    "trainer.min_epochs",
    "trainer.limit_train_batches",
    "trainer.limit_val_batches",
    "trainer.val_check_interval",
    "trainer.check_val_every_n_epoch",
    "trainer.num_sanity_val_steps",
    "trainer.log_every_n_steps",
    "trainer.accumulate_grad_batches",
    "trainer.gradient_clip_val",
    "trainer.gradient_clip_algorithm",
    "trainer.deterministic",
    "trainer.benchmark",
    "trainer.detect_anomaly",
    "trainer.use_distributed_sampler",
    "trainer.profiler",
    "trainer.logger",
    "trainer.callbacks",
    "trainer.plugins",
    "trainer.overfit_batches",
    "trainer.barebones",
    "trainer.inference_mode",
    "trainer.reload_dataloaders_every_n_epochs",
    "trainer.no_such_key",
)
UNCHANGED = ("trainer.fast_dev_run",)  # without it a case could rightly take for ever


def make(random: Random, world: World, folder: Path) -> Case:
    recipe = _recipe(random, world)
    keys = [*_keys(recipe), *OTHER_KEYS]
    bad = {random.choice(keys): _value(random) for _ in range(random.choice((1, 1, 1, 2, 3)))}
    flags: list[str] = []
    for key, value in bad.items():
        if key in UNCHANGED:
            continue
        if random.random() < 0.3:
            flags.append(f"--{key}={_flag(value)}")
        else:
            _put(recipe, key, value)
    path = folder / "recipe.yaml"
    text = yaml.safe_dump(recipe, allow_unicode=random.random() < 0.5).encode(errors="surrogatepass")
    path.write_bytes(bend_bytes(random, text) if random.random() < 0.05 else text)
    flags = [each.replace("\x00", "") for each in flags]
    command = "cache" if random.random() < 0.15 else "fit"
    return Case([command, "--config", str(path), *flags, "--trainer.fast_dev_run=1", "--quiet"])


@cache
def _files() -> tuple[list[Path], list[Path]]:
    """Recipes, and what is laid over some."""
    every = sorted(CONFIGS.rglob("*.yaml"))
    whole = [path for path in every if "class_path" in (yaml.safe_load(path.read_text()).get("model") or {})]
    return whole, [path for path in every if path not in whole]


def _recipe(random: Random, world: World) -> dict[str, Any]:
    """A recipe, with an overlay or without, made small."""
    recipes, overlays = _files()
    recipe = yaml.safe_load(random.choice(recipes).read_text())
    if random.random() < 0.4:
        _lay_over(recipe, yaml.safe_load(random.choice(overlays).read_text()))
    arguments = recipe["model"]["init_args"]
    if arguments.get("encoder", {}).get("class_path", "").endswith("TorchvisionEncoder"):
        arguments["encoder"]["init_args"] = dict(ENCODER)
    for part in _parts(recipe["model"]):
        part |= {name: min(value, 16) for name, value in part.items() if name in WIDTHS}
    is_vqa = "Captioner" not in recipe["model"]["class_path"]
    recipe["data"] |= {"root": str(world.folder / ("vqa" if is_vqa else "captions")), "cache": None, "min_count": 1}
    recipe["data"] |= {"image_root": None, "num_workers": 0, "batch_size": 4, "min_answer_count": 1}
    small = {"accelerator": "cpu", "devices": 1, "enable_model_summary": False, "default_root_dir": "run"}
    recipe["trainer"] = {**recipe["trainer"], **small, "strategy": "auto", "precision": "32-true"}
    return recipe


WIDTHS = ("hidden_size", "embedding_dim", "region_dim", "rank")


def _parts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _parts(each)


def _lay_over(recipe: dict[str, Any], overlay: dict[str, Any]) -> None:
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(recipe.get(key), dict):
            _lay_over(recipe[key], value)
        else:
            recipe[key] = value


def _keys(value: dict[str, Any], within: str = "") -> Iterator[str]:
    for key, each in value.items():
        yield f"{within}{key}"
        if isinstance(each, dict):
            yield from _keys(each, f"{within}{key}.")


def _value(random: Random) -> Any:
    kind = random.random()
    if kind < 0.15:
        return random.choice(CLASSES)
    if kind < 0.25:
        return {
            "class_path": random.choice(CLASSES),
            "init_args": random.choice(({}, None, {"hidden_size": -1}, [1], "x")),
        }
    if kind < 0.4:
        return random.choice((1, 2, 3, 16, 0.1, "1", "0.5", "cpu", "max", True, None))
    return odd_value(random)


def _flag(value: Any) -> str:
    return (
        value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True).strip().removesuffix("...")
    )


def _put(recipe: dict[str, Any], key: str, value: Any) -> None:
    *way, last = key.split(".")
    for each in way:
        if not isinstance(recipe.get(each), dict):
            recipe[each] = {}
        recipe = recipe[each]
    recipe[last] = deepcopy(value)
