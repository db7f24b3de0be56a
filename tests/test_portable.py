"""Captioners without torch: graphs for ONNX Runtime, programs of torch.export, and a reader that has numpy alone."""

import builtins
import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from vlrnn.cli import main
from vlrnn.decoding.search import Decoding
from vlrnn.errors import UserError
from vlrnn.nn.attention import DotAttention, SoftAttention
from vlrnn.nn.decoders import Decoder, ShowAndTell, ShowAttendTell
from vlrnn.nn.encoders import CNNEncoder
from vlrnn.nn.recurrence import GRU, LSTM, RNN
from vlrnn.predictor import Predictor
from vlrnn.tasks.captioning import Captioner
from vlrnn.tasks.checkpoint import from_pretrained, load_task, save_pretrained

pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra export")
from vlrnn.portable import agreement, export_captioner

DEMO = Path(__file__).parent.parent / "demo" / "caption_onnx.py"
DECODERS = {
    "attends": lambda: ShowAttendTell(LSTM(16), SoftAttention(8), embedding=12),
    "attends by products, with places": lambda: ShowAttendTell(
        GRU(16, layers=2), DotAttention(8), embedding=12, region_width=10, frequencies=2, query_word=True
    ),
    "is told once": lambda: ShowAndTell(RNN(16), embedding=12),
    "is told once, by two layers": lambda: ShowAndTell(LSTM(16, layers=2, learned_state=True), embedding=12),
}


def captioner(decoder: Decoder, trained: Captioner) -> Captioner:
    torch.manual_seed(3)
    encoder = CNNEncoder("mobilenet_v3_small", size=64)
    encoder.load_state_dict(trained.encoder.state_dict())
    return Captioner(trained.vocabulary, encoder, decoder, Decoding(max_new_tokens=9)).eval()


@pytest.mark.parametrize(
    "kind", [pytest.param(name, marks=[] if name == "is told once" else pytest.mark.slow) for name in DECODERS]
)
def test_onnx_runtime_gives_the_same_captions(kind: str, checkpoints: Any, tmp_path: Path) -> None:
    task = captioner(DECODERS[kind](), load_task(checkpoints.file, Captioner))
    files = export_captioner(task, tmp_path)
    assert files == ["encoder.onnx", "begin.onnx", "step.onnx", "captioner.json"]
    images = torch.randint(0, 256, (5, 3, 64, 64), dtype=torch.uint8)
    for settings in ({}, {"num_beams": 4}):
        assert agreement(task, tmp_path, images, **settings) == 5
    assert agreement(task, tmp_path, images[:1]) == 1


@pytest.mark.slow
def test_another_model_does_not_agree(checkpoints: Any, tmp_path: Path) -> None:
    task = load_task(checkpoints.file, Captioner)
    export_captioner(captioner(DECODERS["attends"](), task), tmp_path)
    images = torch.randint(0, 256, (8, 3, 64, 64), dtype=torch.uint8)
    assert agreement(task, tmp_path, images) < 8


@pytest.mark.slow
def test_programs_are_loaded_by_torch(checkpoints: Any, tmp_path: Path) -> None:
    task = load_task(checkpoints.file, Captioner)
    assert export_captioner(task, tmp_path, onnx=False)[0] == "encoder.pt2"
    images = torch.randint(0, 256, (3, 3, task.encoder.size, task.encoder.size), dtype=torch.uint8)
    seen = torch.export.load(tmp_path / "encoder.pt2").module()(images)
    torch.testing.assert_close(seen, task.encoder.regions(images), rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def exported(checkpoints: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the command line wrote."""
    folder = tmp_path_factory.mktemp("exported")
    assert main(["export", "--checkpoint", str(checkpoints.file), "--out", str(folder), "--onnx"]) == 0
    return folder


@pytest.mark.parametrize("num_beams", [1, 3])
def test_numpy_alone_captions(num_beams: int, exported: Path, checkpoints: Any, photos: Path) -> None:
    paths = sorted(map(str, photos.glob("*.png")))
    hidden = "import sys; sys.modules['torch'] = sys.modules['vlrnn'] = None; import runpy; sys.argv = sys.argv[1:]; "
    command = [sys.executable, "-c", hidden + "runpy.run_path(sys.argv[0], run_name='__main__')", str(DEMO)]
    done = subprocess.run(
        [*command, str(exported), *paths, "--num_beams", str(num_beams)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    predictor = Predictor.load(checkpoints.file)
    expected = [predictor.caption(path, num_beams=num_beams) for path in paths]
    for line, path, prediction in zip(done.stdout.splitlines(), paths, expected, strict=True):
        assert line == f"{path}: {' '.join(prediction.tokens)} ({prediction.score:.3f})"


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
def test_numpy_searches_as_torch_does(early_stopping: Any, exported: Path, checkpoints: Any, photos: Path) -> None:
    captioner, predictor = runpy.run_path(str(DEMO))["Captioner"](exported), Predictor.load(checkpoints.file, "cpu")
    path = photos / "a.png"
    for width, penalty, least in ((2, 0.0, 0), (3, 2.0, 4), (4, -1.0, 1), (1, 1.0, 1)):
        changed = {"length_penalty": penalty, "early_stopping": early_stopping, "min_new_tokens": least}
        expected = predictor.caption(path, num_beams=width, **changed)
        with Image.open(path) as image:
            text, score = captioner.caption(image, width, {**captioner.about["decoding"], **changed})
        assert text == " ".join(expected.tokens)
        assert score == pytest.approx(expected.score, abs=1e-4)


def test_the_command_checks_on_real_files(
    exported: Path, checkpoints: Any, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", "--checkpoint", str(checkpoints.file), "--out", str(exported), "--onnx"]
    assert main([*arguments, "--check", str(photos)]) == 0
    assert "the same caption for 3 of 3 images" in capsys.readouterr().out
    about = json.loads((exported / "captioner.json").read_text())
    assert about["words"][:4] == ["<pad>", "<bos>", "<eos>", "<unk>"]


def test_mistakes(checkpoints: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    arguments = ["export", "--checkpoint", str(checkpoints.file), "--out", str(tmp_path)]
    assert main([*arguments, "--check", "photo.jpg"]) == 2
    assert "--onnx" in capsys.readouterr().err
    monkeypatch.setattr("vlrnn.portable.find_spec", lambda name: None)
    assert main([*arguments, "--onnx"]) == 2
    assert "pip install 'vlrnn[export]'" in capsys.readouterr().err


# The hub's form.


def test_pretrained_there_and_back(checkpoints: Any, tmp_path: Path) -> None:
    task = load_task(checkpoints.file, Captioner)
    save_pretrained(task, tmp_path)
    again = from_pretrained(tmp_path, Captioner)
    assert all(torch.equal(each, again.state_dict()[name]) for name, each in task.state_dict().items())
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\n")
    assert "library_name: vlrnn" in card
    assert "pipeline_tag: image-to-text" in card
    (tmp_path / "README.md").write_text("mine")
    save_pretrained(task, tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_pretrained_from_the_hub(checkpoints: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the two files are asked for; a stand-in for the hub gives them."""
    hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub, of the extra hub")
    save_pretrained(load_task(checkpoints.file, Captioner), tmp_path)
    asked = {}

    def download(repo_id: str, **more: Any) -> str:
        asked.update(more, repo_id=repo_id)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert isinstance(from_pretrained("somebody/captioner", Captioner, revision="v1"), Captioner)
    expected = {"repo_id": "somebody/captioner", "revision": "v1"}
    assert asked == {**expected, "allow_patterns": ["model.safetensors", "config.json"]}


def test_a_folder_is_never_looked_for_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a model folder"):
        from_pretrained(tmp_path, Captioner)
    with pytest.raises(UserError, match="no such folder"):
        from_pretrained(tmp_path / "none", Captioner)


def test_without_the_extra_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *more: Any, **others: Any) -> Any:
        if name == "huggingface_hub":
            raise ImportError
        return whole(name, *more, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"vlrnn\[hub\]"):
        from_pretrained("somebody/captioner", Captioner)
