"""Every recipe, alone and under every overlay, is understood by the command line."""

from pathlib import Path

import pytest
import yaml

from vlrnn.cli import main

CONFIGS = Path(__file__).parent.parent / "configs"
RECIPES = [CONFIGS / name for name in ("synthetic.yaml", "flickr8k.yaml", "coco.yaml")]
RECIPES += sorted((CONFIGS / "vqa").glob("*.yaml"))
OVERLAYS = sorted(set(CONFIGS.rglob("*.yaml")) - set(RECIPES))


def merged(capsys: pytest.CaptureFixture[str], *configs: Path) -> dict:
    arguments = [word for path in configs for word in ("--config", str(path))]
    with pytest.raises(SystemExit) as leaving:
        main(["fit", *arguments, "--print_config"])
    assert leaving.value.code == 0
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = yaml.safe_load(recipe.read_text())
    read = merged(capsys, recipe)
    assert read["model"]["class_path"] == written["model"]["class_path"]
    assert read["data"].items() >= written["data"].items()


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda path: path.stem)
def test_overlays(overlay: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What an overlay says holds, and what the class that it replaces was told is gone."""
    asks = CONFIGS / "vqa" in overlay.parents
    read = merged(capsys, CONFIGS / ("vqa/synthetic-classifier.yaml" if asks else "flickr8k.yaml"), overlay)
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
