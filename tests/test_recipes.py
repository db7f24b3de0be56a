"""Every recipe, alone and under every overlay, is understood by the command line, and trains."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from quick import quick

from vlrnn.cli import main
from vlrnn.data.records import SPLITS, open_split
from vlrnn.data.synthetic.dataset import make_scenes, paragraphs
from vlrnn.training.recipes import find_recipe, locate_recipes
from vlrnn.training.recipes import merged as merged_recipes

CONFIGS = Path(__file__).parent.parent / "configs"
RECIPES = [CONFIGS / name for name in ("synthetic.yaml", "flickr8k.yaml", "coco.yaml")]
RECIPES += [path for folder in ("quickstart", "vqa") for path in sorted((CONFIGS / folder).glob("*.yaml"))]
TEXT = CONFIGS / "language_model.yaml"
OVERLAYS = sorted({*CONFIGS.rglob("*.yaml")} - {*RECIPES, TEXT})
CELLS = [path for path in OVERLAYS if path.parent.name == "cells"]


def merged(capsys: pytest.CaptureFixture[str], *configs: Path) -> dict:
    arguments = [word for path in configs for word in ("--config", str(path))]
    with pytest.raises(SystemExit) as leaving:
        main(["fit", *arguments, "--print_config"])
    assert leaving.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_recipes(subtests: pytest.Subtests, capsys: pytest.CaptureFixture[str]) -> None:
    for recipe in [*RECIPES, TEXT]:
        with subtests.test(recipe=recipe):
            written = yaml.safe_load(recipe.read_text())
            read = merged(capsys, recipe)
            assert read["model"]["class_path"] == written["model"]["class_path"]
            if recipe == TEXT:
                assert read["data"].pop("tokenizer") == {"class_path": written["data"].pop("tokenizer")}
            assert read["data"].items() >= written["data"].items()


def test_no_recipe_allows_an_empty_caption(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty caption is a short one, and would win where nothing is sure."""
    captioning = [path for path in RECIPES if "Captioner" in path.read_text()]
    assert len(captioning) == 4
    found = [merged(capsys, path)["model"]["init_args"]["generation"]["init_args"] for path in captioning]
    assert [each["min_new_tokens"] for each in found] == [1, 1, 1, 1]


@pytest.mark.parametrize(("flag", "meant"), [("true", True), ("false", False), ("never", "never")])
def test_when_searches_stop_and_when_training_does(flag: str, meant: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Two settings of one name: the search's stands in its block."""
    flags = ["--model.init_args.generation.early_stopping", flag, "--early_stopping.patience", "7", "--print_config"]
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(RECIPES[0]), *flags])
    read = yaml.safe_load(capsys.readouterr().out)
    assert read["model"]["init_args"]["generation"]["init_args"]["early_stopping"] == meant
    assert read["early_stopping"]["patience"] == 7


@pytest.mark.parametrize("overlay", quick(OVERLAYS, *OVERLAYS[::4]), ids=lambda path: path.stem)
def test_overlays(overlay: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What an overlay says holds, and what the class that it replaces was told is gone."""
    is_vqa = CONFIGS / "vqa" in overlay.parents
    read = merged(capsys, CONFIGS / ("vqa/synthetic-classifier.yaml" if is_vqa else "flickr8k.yaml"), overlay)
    holds(yaml.safe_load(overlay.read_text()), read)


def holds(written: dict, read: dict) -> None:
    for key, value in written.items():
        if isinstance(value, dict) and key != "init_args" and "init_args" in read[key] and "class_path" not in value:
            read_part = read[key] if "init_args" in value else read[key]["init_args"]
        else:
            read_part = read[key]
        if isinstance(value, dict):
            holds(value, read_part)
        else:
            assert read_part == value


# Trained for a step, on small images, and with random weights for the encoders: the recipes' are downloads.

OFTEN = [path for path in RECIPES if path.stem in ("synthetic", "flickr8k", "vqa-v2-generative")]
MODELS = [path for path in OVERLAYS if "hardware" not in path.parts]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, train=12, val=3, test=3, image_size=64, workers=1)
    return folder


TINY = {
    "data": {"cache": None, "min_count": 1, "min_answer_count": 1, "num_workers": 0, "batch_size": 4},
    "trainer": {"accelerator": "cpu", "fast_dev_run": True, "enable_model_summary": False},
}
ENCODER = {"weights": None, "image_size": 64}
TIMM = {"name": "resnet18", "weights": None, "image_size": 64}


def regions(scenes: Path, folder: Path) -> Path:
    """A region for each image, by its id."""
    ids = [each.image_id for split in SPLITS for each in open_split(scenes / "captions", split)]
    np.savez(
        folder / "regions.npz", ids=np.array(ids), features=np.ones((len(ids), 2, 4)), boxes=np.ones((len(ids), 2, 4))
    )
    return folder / "regions.npz"


def step(scenes: Path, folder: Path, *configs: Path) -> None:
    written = "".join(path.read_text() for path in configs)
    tiny: dict[str, Any] = {"data": {**TINY["data"]}, "trainer": {**TINY["trainer"]}}
    tiny["data"]["root"] = str(scenes / ("vqa" if "VQA" in configs[0].read_text() else "captions"))
    tiny["data"]["image_root"] = None
    tiny["trainer"]["default_root_dir"] = str(folder / "run")
    if not any(name in written for name in ("BlindEncoder", "PriorVQA")):
        encoder = TIMM if "TimmEncoder" in written else ENCODER
        if "PrecomputedRegions" in written:
            encoder = {"path": str(regions(scenes, folder)), "feature_dim": 4}
        tiny["model"] = {"init_args": {"encoder": {"init_args": encoder}}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    flags = [word for path in (*configs, folder / "tiny.yaml") for word in ("--config", str(path))]
    assert main(["fit", *flags]) == 0


@pytest.mark.parametrize("recipe", quick(RECIPES, *OFTEN), ids=lambda path: path.stem)
def test_recipes_train(recipe: Path, scenes: Path, tmp_path: Path) -> None:
    step(scenes, tmp_path, recipe)


@pytest.mark.slow
@pytest.mark.parametrize("overlay", MODELS, ids=lambda path: path.stem)
def test_overlays_train(overlay: Path, scenes: Path, tmp_path: Path) -> None:
    is_vqa = CONFIGS / "vqa" in overlay.parents
    step(scenes, tmp_path, CONFIGS / ("vqa/synthetic-classifier.yaml" if is_vqa else "flickr8k.yaml"), overlay)


@pytest.mark.parametrize(
    "overlays", quick([[], *([each] for each in CELLS)], []), ids=lambda paths: "".join(p.stem for p in paths)
)
def test_language_models_train(overlays: list[Path], tmp_path: Path) -> None:
    """The cells of captioners, in the same place of the recipe."""
    (tmp_path / "text.txt").write_text("".join(f"{each}\n" for each in paragraphs(50)))
    flags = [word for path in (TEXT, *overlays) for word in ("--config", str(path))]
    flags += ["--data.root", str(tmp_path / "text.txt"), "--trainer.default_root_dir", str(tmp_path)]
    more = ["--data.batch_size", "2", "--data.bptt_length", "8", "--trainer.accelerator", "cpu"]
    assert main(["fit", *flags, *more, "--trainer.fast_dev_run", "true"]) == 0


# Found by name, from any folder.


def test_recipes_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of that path comes first; a folder of that name is no recipe."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coco").mkdir()
    (tmp_path / "flickr8k").write_text("data: {batch_size: 3}")
    assert find_recipe("cells/gru") == CONFIGS / "cells/gru.yaml"
    assert find_recipe("coco") == CONFIGS / "coco.yaml"
    assert find_recipe("flickr8k") == Path("flickr8k")
    assert locate_recipes(["--config=coco", "--config", "cells/gru", "--quiet"]) == [
        f"--config={CONFIGS}/coco.yaml",
        "--config",
        f"{CONFIGS}/cells/gru.yaml",
        "--quiet",
    ]
    assert merged_recipes(["coco", "flickr8k"])["data"]["batch_size"] == 3


@pytest.mark.parametrize(
    ("name", "near"),
    [("flickr9k", "flickr8k"), ("gru", "cells/gru"), ("old/blind.yaml", "blind"), ("", ""), ("/", "")],
)
def test_an_unknown_recipe(name: str, near: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--config", name]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"vlrnn fit: {name}: no such file or recipe")
    assert near in error
    assert error.count("\n") == 1
