"""The quickstart: the whole path on synthetic scenes, small and quick."""

import json
import shutil
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from one_process import in_one_process
from snapshots import check_snapshot, folder_lines

from vlrnn.cli import main
from vlrnn.data.images import pixels
from vlrnn.data.records import open_split
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.data.synthetic.rendering import render
from vlrnn.data.synthetic.scenes import COLOURS, GROUNDS, SHAPES, SIZES, sample_scene
from vlrnn.inference.predictor import Predictor
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
from vlrnn.processes import alone
from vlrnn.studies.pretraining import load_scenes, pretrain, vary
from vlrnn.studies.quickstart import PROBES

CNN: dict[str, Any] = {"name": "resnet18", "image_size": 64, "out_layer": "layer2"}


def test_the_right_answers_are_those_of_the_scene(tmp_path: Path) -> None:
    """A region is asked for the nearest object, if that reaches its middle."""
    make_scenes(tmp_path, train=20, val=0, test=0, image_size=64, workers=1)
    _, answers = load_scenes(tmp_path / "captions", "train", TorchvisionEncoder(**CNN))
    for index, example in enumerate(open_split(tmp_path / "captions", "train")):
        scene = (example.attributes or {})["scene"]
        assert answers.ground[index] == GROUNDS.index(scene["ground"])
        for region in range(64):
            x, y = (region % 8 + 0.5) / 8, (region // 8 + 0.5) / 8
            distance, thing = min(
                ((max(abs(each["x"] - x), abs(each["y"] - y)), each) for each in scene["objects"]),
                key=lambda pair: pair[0],
            )
            expected = [0, 0, 0]
            if distance < max(thing["radius"], 0.65 / 8):
                words = (COLOURS, thing["colour"]), (SHAPES, thing["shape"]), (tuple(SIZES), thing["size"])
                expected = [names.index(word) + 1 for names, word in words]
                offset = torch.tensor([thing["x"] - x, thing["y"] - y]) * 8
                assert torch.allclose(answers.places[index, region], offset, atol=1e-4)
            assert answers.kinds[index, region].tolist() == expected


def test_a_mirrored_scene_has_mirrored_answers(tmp_path: Path) -> None:
    """Those of the scene with every object at 1 - x; of pictures in false colours the colours alone are not asked."""
    make_scenes(tmp_path, train=12, val=0, test=0, image_size=64, workers=1)
    encoder = TorchvisionEncoder(**CNN)
    images, answers = load_scenes(tmp_path / "captions", "train", encoder)
    examples = tmp_path / "captions" / "train.jsonl"
    records = [json.loads(line) for line in examples.read_text().splitlines()]
    for thing in (thing for record in records for thing in record["attributes"]["scene"]["objects"]):
        thing["x"] = 1 - thing["x"]
    examples.write_text("".join(json.dumps(record) + "\n" for record in records))
    _, mirrored = load_scenes(tmp_path / "captions", "train", encoder)
    ways = set()
    for seed in range(8):
        torch.manual_seed(seed)
        varied, varied_answers = vary(images, answers)
        flipped = torch.equal(varied[6:], images[6:].flip(3))
        ways.add(flipped)
        true, plain = (mirrored, images.flip(3)) if flipped else (answers, images)
        assert torch.equal(varied[6:], plain[6:])
        assert torch.equal(varied.sort(1).values, plain.sort(1).values)
        assert not torch.equal(varied[:6], plain[:6])
        assert torch.allclose(varied_answers.places, true.places, atol=1e-4)
        assert torch.equal(varied_answers.kinds[6:], true.kinds[6:])
        assert torch.equal(varied_answers.kinds[:6, :, 1:], true.kinds[:6, :, 1:])
        assert torch.equal(varied_answers.kinds[:6, :, 0] == 0, true.kinds[:6, :, 0] == 0)
        assert varied_answers.kinds[:6, :, 0].max() == 0
    assert ways == {True, False}


def test_pretrained_weights_are_weights_as_any(tmp_path: Path) -> None:
    """What is written loads through the `weights` option, with its own transform, and sees something."""
    make_scenes(tmp_path, train=64, val=8, test=0, image_size=64, workers=1)
    torch.manual_seed(0)
    share = pretrain(tmp_path / "captions", tmp_path / "cnn.safetensors", first="conv1", epochs=1, **CNN)
    assert 0 <= share <= 1
    encoder = TorchvisionEncoder("resnet18", weights=str(tmp_path / "cnn.safetensors"), out_layer="layer2").eval()
    assert (encoder.image_size, encoder.feature_dim, encoder.num_regions, encoder.frozen) == (64, 128, 64, True)
    scenes = [render(sample_scene(Random(seed)), 64) for seed in (1, 2)]
    first, second = encoder.regions(torch.stack([torch.from_numpy(pixels(scene, 64)) for scene in scenes]))
    assert not torch.allclose(first, second, atol=1e-3)


SMALL = ("--train", "48", "--val", "6", "--test", "8")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quickstart") / "run"
    with pytest.MonkeyPatch.context() as patch:
        in_one_process(patch)
        assert main(["quickstart", "--out", str(out), *SMALL]) == 0
    return out


TASKS = {"captioning": {"Bleu_4", "ROUGE_L", "CIDEr", "right"}}
TASKS |= {head: {"overall", "per_answer_type", "per_question_type"} for head in ("generative_vqa", "classifier_vqa")}


def test_it_leaves_what_it_promises(small: Path) -> None:
    metrics = json.loads((small / "metrics.json").read_text())
    assert metrics.keys() == {*TASKS, "seconds"}
    for task, names in TASKS.items():
        assert 0 < metrics[task]["seconds"] < metrics["seconds"]
        assert metrics[task]["scores"].keys() == metrics[task]["blind"].keys() >= names
        for run in (task, f"{task}-blind"):
            left = {path.name for path in (small / run).iterdir()}
            assert left >= {"config.yaml", "metrics.json", "predictions.jsonl", "log.csv", "checkpoints", "output.txt"}
            assert "progress" not in (small / run / "recipe.yaml").read_text()  # who changes it sees how far it is
    page = (small / "report.html").read_text()
    assert page.count('id="picture-') == 8  # captions and questions are about the same
    assert page.count("<section") == 2  # captions and answers have no score in common
    for run, names in {**PROBES, "captioning-blind": ("scene_truth",)}.items():
        for name in names:
            finding = json.loads((small / run / "probes" / f"{name}.json").read_text())
            assert finding["scores"] or finding["not_computed"]
            assert f"<h4>{name}: {run}</h4>" in page
    assert (small / "report.md").is_file()
    assert len(json.loads((small / "report.json").read_text())["sections"]) == 2


def test_its_files_are_as_they_were(small: Path) -> None:
    """The keys of its own results, and the names of all that it leaves; those of runs are in `test_contract`."""
    lines = folder_lines(small, "quickstart", names_only=["*/*/*", "*/report.json"])
    left_out = ("/images/", "/cache/", "/tensorboard/")  # named by number, by arguments of the encoder, by time
    check_snapshot("quickstart", [line for line in lines if not any(each in line for each in left_out)])


def test_its_commands_work(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The checkpoint captions a scene, and the blind one is blind."""
    scenes = [small / "scenes" / "images" / f"test-00000{number}.png" for number in (1, 2, 3)]
    checkpoint = small / "captioning" / "checkpoints" / "best.ckpt"
    assert main(["caption", str(scenes[0]), "--checkpoint", str(checkpoint)]) == 0
    assert capsys.readouterr().out.startswith(str(scenes[0]))
    checkpoint = small / "generative_vqa" / "checkpoints" / "best.ckpt"
    assert main(["ask", str(scenes[0]), "how many objects are there?", "--checkpoint", str(checkpoint)]) == 0
    assert "how many objects are there?: " in capsys.readouterr().out
    blind = Predictor.load(small / "captioning-blind" / "checkpoints" / "best.ckpt")
    assert len({blind.caption(scene).text for scene in scenes}) == 1


def test_other_settings_and_a_second_process_are_refused(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*") if path.is_file()}
    assert main(["quickstart", "--out", str(small), *SMALL, "--seed", "1"]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert "holds another plan (seed)" in line
    assert "--overwrite" in line
    assert f"{small.name}.old-1" in line
    with alone(small, pytest.fail):
        assert main(["quickstart", "--out", str(small), *SMALL]) == 2
    assert "another process works in it" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_it_goes_on_where_it_was_ended(small: Path, tmp_path: Path) -> None:
    """Whatever its folder is called now. What is there stays; a run that was not scored yet is."""
    out = tmp_path / "moved"
    shutil.copytree(small, out)
    (out / "classifier_vqa-blind" / "metrics.json").unlink()
    before = {path: path.read_bytes() for path in out.rglob("*.ckpt")}
    assert main(["quickstart", "--out", str(out), *SMALL]) == 0
    assert {path: path.read_bytes() for path in out.rglob("*.ckpt")} == before
    one, other = (json.loads((each / "metrics.json").read_text()) for each in (small, out))
    for task in TASKS:
        assert one[task]["scores"] == other[task]["scores"]
        assert one[task]["blind"] == other[task]["blind"]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # beside other tests it takes longer than any other
def test_at_full_size_it_reports_all(tmp_path: Path) -> None:
    """85 % of the captions of unseen scenes are right in everything; on pairs of colour and shape that were never shown
    the share is lower, and told; without the image there is nothing to say."""
    out = tmp_path / "run"
    assert main(["quickstart", "--out", str(out)]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    scores, blind = metrics["captioning"]["scores"], metrics["captioning"]["blind"]
    assert scores["right"]["n"] == 1000
    assert scores["right"]["value"] >= 0.85
    assert scores["right_held_out"]["value"] >= 0.6
    assert scores["CIDEr"]["value"] >= 2 * blind["CIDEr"]["value"]
    assert blind["right"]["value"] < 0.05
    for head in ("generative_vqa", "classifier_vqa"):
        assert metrics[head]["scores"]["overall"]["value"] >= 70
        assert metrics[head]["blind"]["overall"]["value"] <= 45
