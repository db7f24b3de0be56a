"""Captioners without torch: graphs for ONNX Runtime, programs of torch.export, and a reader that has numpy alone."""

import io
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from test_images import tall_png
from test_predictor import odd_images
from torch import Tensor

from vlrnn.cli import main
from vlrnn.errors import UserError
from vlrnn.generation.search import GenerationConfig, Step, search
from vlrnn.inference import onnx_captioner
from vlrnn.inference.onnx_captioner import OnnxCaptioner, beam_search
from vlrnn.inference.predictor import Predictor
from vlrnn.nn.attention import DotAttention, SoftAttention
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
from vlrnn.nn.recurrent.rnn import GRU, LSTM, RNN
from vlrnn.tasks.captioning import Captioner
from vlrnn.training.checkpoint import from_pretrained, load_task, save_pretrained

pytest.importorskip("onnxruntime", reason="needs onnxruntime, of the extra export")
from vlrnn.inference.export import export_captioner

DEMO = Path(__file__).parent.parent / "demo" / "caption_onnx.py"
DECODERS = {
    "attends": lambda: ShowAttendTell(LSTM(16), SoftAttention(8), embedding_dim=12),
    "attends by products, with places": lambda: ShowAttendTell(
        GRU(16, num_layers=2),
        DotAttention(8),
        embedding_dim=12,
        region_dim=10,
        position_frequencies=2,
        attend_with_word=True,
    ),
    "is told once": lambda: ShowAndTell(RNN(16), embedding_dim=12),
    "is told once, by two layers": lambda: ShowAndTell(
        LSTM(16, num_layers=2, learn_initial_state=True), embedding_dim=12
    ),
}


def captioner(decoder: Decoder, trained: Captioner) -> Captioner:
    torch.manual_seed(3)
    encoder = TorchvisionEncoder("mobilenet_v3_small", image_size=64)
    encoder.load_state_dict(trained.encoder.state_dict())
    return Captioner(trained.vocabulary, encoder, decoder, GenerationConfig(max_new_tokens=9)).eval()


def agree(folder: Path, predictor: Predictor, paths: Sequence[Path], **settings: Any) -> None:
    """The program that was exported gives the captions of the model, all of them, and their scores."""
    written = OnnxCaptioner(folder)
    for path in paths:
        expected = predictor.caption(path, **settings)
        best, *others = written.captions(path, **settings)
        assert best.tokens == expected.tokens
        assert best.score == pytest.approx(expected.score, abs=1e-4)
        assert [each.score for each in others] == pytest.approx(
            [each["score"] for each in expected.alternatives], abs=1e-4
        )


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(DECODERS))
def test_onnx_runtime_gives_the_same_captions(kind: str, checkpoints: Any, dataset: Path, tmp_path: Path) -> None:
    task = captioner(DECODERS[kind](), load_task(checkpoints.file, Captioner))
    files = export_captioner(task, tmp_path)
    assert files == ["encoder.onnx", "begin.onnx", "step.onnx", "captioner.json", "caption_onnx.py"]
    for settings in ({}, {"num_beams": 4, "num_return_sequences": 3}):
        agree(tmp_path, Predictor(task, "cpu"), sorted((dataset / "images").iterdir())[::2], **settings)


# The search of the program, which has no torch, against vlrnn's.

SETTINGS: dict[str, tuple[Any, ...]] = {
    "num_beams": (1, 2, 3, 5),
    "max_new_tokens": (1, 2, 7, 12),
    "min_new_tokens": (0, 0, 3),
    "length_penalty": (-1.0, 0.0, 0.5, 1.0, 2.0, 50.0),
    "early_stopping": (True, False, "never"),
    "no_repeat_ngram_size": (0, 0, 1, 2, 3),
}


def steps(seed: int, size: int = 11) -> tuple[Step, Tensor]:
    """A step whose state matters, over so many words, and what it begins with."""
    torch.manual_seed(seed)
    embed, turn, out = torch.randn(size, 6), torch.randn(6, 6), torch.randn(6, size) * (1 + seed % 3)

    def step(tokens: Tensor, state: Any, memory: Any) -> tuple[Tensor, Any]:
        after = torch.tanh(state @ turn + embed[tokens.flatten()])
        return (after @ out).unflatten(0, tuple(tokens.shape)), after

    return step, torch.randn(1, 6)


def test_the_search_without_torch_finds_the_same() -> None:
    """The texts, their scores and their order, whatever the settings."""
    random = Random(0)
    for seed in range(600):
        settings = {name: random.choice(values) for name, values in SETTINGS.items()}
        settings["min_new_tokens"] = min(settings["min_new_tokens"], settings["max_new_tokens"] - 1)
        settings["num_return_sequences"] = random.randint(1, settings["num_beams"])
        step, state = steps(seed)
        expected = search(
            step, state, torch.zeros(1, 1), GenerationConfig(**settings), bos=1, eos=2, forbidden=(0, 1, 3)
        )

        def with_arrays(tokens: np.ndarray, state: list[np.ndarray], step: Step = step) -> Any:
            scores, after = step(torch.from_numpy(tokens)[None], torch.from_numpy(state[0]), None)
            return scores[0].numpy(), [after.numpy()]

        found = beam_search(with_arrays, [state.numpy()], settings, {"pad": 0, "bos": 1, "eos": 2, "unk": 3})
        lengths = [length for length in expected.lengths[0].tolist() if length]
        texts = [ids[:length] for ids, length in zip(expected.tokens[0].tolist(), lengths, strict=False)]
        assert [each.tokens for each in found] == texts, (seed, settings)
        scales = [len(each.tokens) ** settings["length_penalty"] for each in found]
        sums = [score * scale for score, scale in zip(expected.scores[0].tolist(), scales, strict=False)]
        assert [each.score * scale for each, scale in zip(found, scales, strict=True)] == pytest.approx(sums, abs=1e-4)


@pytest.mark.slow
def test_programs_are_loaded_by_torch(checkpoints: Any, tmp_path: Path) -> None:
    task = load_task(checkpoints.file, Captioner)
    assert export_captioner(task, tmp_path, onnx=False)[0] == "encoder.pt2"
    images = torch.randint(0, 256, (3, 3, task.encoder.image_size, task.encoder.image_size), dtype=torch.uint8)
    regions = torch.export.load(tmp_path / "encoder.pt2").module()(images)
    torch.testing.assert_close(regions, task.encoder.regions(images), rtol=1e-4, atol=1e-4)


class Exported(NamedTuple):
    folder: Path
    printed: str


@pytest.fixture(scope="module")
def export(checkpoints: Any, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """What the command line wrote and printed, as it exported and checked on images as strangers have them."""
    folder, images = tmp_path_factory.mktemp("exported"), tmp_path_factory.mktemp("odd") / "odd"
    odd_images(images)
    arguments = ["export", "--checkpoint", str(checkpoints.file), "--out", str(folder), "--onnx"]
    with redirect_stdout(io.StringIO()) as printed:
        assert main([*arguments, "--check", str(images)]) == 0
    return Exported(folder, printed.getvalue())


@pytest.fixture
def exported(export: Exported) -> Path:
    return export.folder


@pytest.mark.slow
@pytest.mark.parametrize("program", ["the exported one", "the demo"])
def test_numpy_alone_captions_as_vlrnn_does(program: str, exported: Path, checkpoints: Any, tmp_path: Path) -> None:
    """Images as strangers have them, and every setting; one that cannot be read is told, and the others go on."""
    paths = list(map(str, odd_images(tmp_path / "odd").values()))
    tall = tall_png(tmp_path / "tall.png", 1, 70_000)
    file = str(exported / "caption_onnx.py" if program == "the exported one" else DEMO)
    hidden = "import sys; sys.modules['torch'] = sys.modules['vlrnn'] = None; import runpy; sys.argv = sys.argv[1:]; "
    command = [sys.executable, "-c", hidden + "runpy.run_path(sys.argv[0], run_name='__main__')", file, str(exported)]
    settings = {"num_beams": 3, "min_new_tokens": 8, "no_repeat_ngram_size": 1, "num_return_sequences": 2}
    settings |= {"max_new_tokens": 9, "length_penalty": 0.5, "early_stopping": "never"}
    flags = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    done = subprocess.run([*command, str(tall), *paths, *flags], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr == f"'{tall}': 'a side of more than 65,535 pixels; make the image smaller'\n"
    predictor = Predictor.load(checkpoints.file)
    for line, path in zip(done.stdout.splitlines(), paths, strict=True):
        expected, printed = predictor.caption(path, **settings), json.loads(line)
        assert (printed["image"], printed["caption"]) == (path, " ".join(expected.tokens))
        scores = [printed["score"], *(each["score"] for each in printed["alternatives"])]
        assert scores == pytest.approx([expected.score, *(each["score"] for each in expected.alternatives)], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*filter("early_stopping".__ne__, SETTINGS), "num_return_sequences"])
def test_settings_have_the_bounds_of_vlrnn(name: str, exported: Path, checkpoints: Any) -> None:
    written, own = OnnxCaptioner(exported), Predictor.load(checkpoints.file)
    for value in (-51, -50, -1, 0, 1, 2, 29, 30, 50, 51, 1000, 1001, 100_000, 100_001, math.nan, math.inf):
        if isinstance(value, float) and name != "length_penalty":
            continue  # the flags take whole numbers alone
        for more in ({}, {"num_beams": 40}, {"max_new_tokens": 40}, {"max_new_tokens": 1_001}):
            try:
                own.decoding(**{**more, name: value})
            except UserError:
                with pytest.raises(ValueError, match="must be from"):
                    written.settings(**{**more, name: value})
            else:
                assert written.settings(**{**more, name: value})[name] == value


@pytest.mark.slow
def test_a_model_that_draws_is_searched(exported: Path) -> None:
    written = OnnxCaptioner(exported)
    drawing = {"temperature": 1.0, "top_k": 5, "num_beams": 1, "num_return_sequences": 3}
    written.about["decoding"] |= drawing
    assert written.settings()["num_return_sequences"] == 1
    assert written.settings(num_beams=4, num_return_sequences=3)["num_return_sequences"] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "flags"),
    [
        ("absent", []),
        ("empty", []),
        ("broken", []),
        ("", ["--num_beams", "0"]),
        ("", ["--length_penalty", "nan"]),
        ("", ["--early_stopping", "maybe"]),
    ],
)
def test_its_mistakes_are_one_line(
    folder: str, flags: list[str], exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(exported, tmp_path / "broken")
    (tmp_path / "broken" / "step.onnx").write_bytes(b"broken")
    assert onnx_captioner.main([str(tmp_path / folder if folder else exported), "a.png", *flags]) == 2
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1


def test_its_mistaken_arguments_are_one_line(subtests: pytest.Subtests, capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in [
        [],
        ["folder"],
        ["folder", "a.png", "--num_beams", "x"],
        ["folder", "a.png", "--num_beams"],
        ["folder", "a.png", "--no\nsuch\x1b[1m"],
    ]:
        with subtests.test(arguments=arguments):
            with pytest.raises(SystemExit) as left:
                onnx_captioner.main(arguments)
            assert left.value.code == 2
            printed = capfd.readouterr()
            assert printed.out == ""
            assert printed.err.endswith("\n")
            assert printed.err[:-1].isprintable()


@pytest.mark.slow
@pytest.mark.parametrize("value", [True, False, "never"])
def test_its_flag_of_when_to_stop(value: bool | str, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(OnnxCaptioner, "captions", lambda _, path, **settings: given.append(settings) or [])
    onnx_captioner.main([str(exported), __file__, "--early_stopping", str(value).lower()])
    assert given == [{"early_stopping": value}]


@pytest.mark.slow
def test_the_command_checks_on_real_files(export: Exported) -> None:
    assert "the same caption for 8 of 8 images" in export.printed
    about = json.loads((export.folder / "captioner.json").read_text())
    assert about["words"][:4] == ["<pad>", "<bos>", "<eos>", "<unk>"]


@pytest.mark.slow
def test_another_model_does_not_agree(exported: Path, checkpoints: Any, photos: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("vlrnn.inference.export.export_captioner", lambda *_, **__: [])  # what was exported stays
    task = captioner(DECODERS["attends"](), load_task(checkpoints.file, Captioner))
    monkeypatch.setattr("vlrnn.training.checkpoint.load_task", lambda *_: task)
    arguments = ["export", "--checkpoint", "other", "--out", str(exported), "--onnx", "--check", str(photos)]
    assert main(arguments) == 1


def test_mistakes(checkpoints: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    arguments = ["export", "--checkpoint", str(checkpoints.file), "--out", str(tmp_path)]
    assert main([*arguments, "--check", "photo.jpg"]) == 2
    assert "--onnx" in capsys.readouterr().err
    monkeypatch.setattr("vlrnn.inference.export.find_spec", lambda name: None)
    assert main([*arguments, "--onnx"]) == 2
    assert "pip install 'vlrnn[export]'" in capsys.readouterr().err


# The hub's form.


def test_save_pretrained_and_back(checkpoints: Any, tmp_path: Path) -> None:
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
    requested = {}

    def download(repo_id: str, **more: Any) -> str:
        requested.update(more, repo_id=repo_id)
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", download)
    assert isinstance(from_pretrained("somebody/captioner", Captioner, revision="v1"), Captioner)
    expected = {"repo_id": "somebody/captioner", "revision": "v1"}
    assert requested == {**expected, "allow_patterns": ["model.safetensors", "config.json"]}


def test_a_folder_is_never_searched_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a model folder"):
        from_pretrained(tmp_path, Captioner)
    with pytest.raises(UserError, match="no such folder"):
        from_pretrained(tmp_path / "none", Captioner)


def test_without_the_extra_that_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"vlrnn\[hub\]"):
        from_pretrained("somebody/captioner", Captioner)
