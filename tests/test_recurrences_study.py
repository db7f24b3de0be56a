"""`vlrnn study recurrences`: a recipe with one recurrence after the other; and cells by their names."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from one_process import in_one_process

from vlrnn.cli import main
from vlrnn.data.records import open_split
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.errors import UserError
from vlrnn.nn.recurrent.lstm_variants import LayerNormLSTM
from vlrnn.nn.recurrent.mamba import Mamba
from vlrnn.nn.recurrent.rnn import GRU, RNN
from vlrnn.nn.recurrent.spec import cell_part, named_cell, split_cells
from vlrnn.nn.recurrent.wrappers import ResidualStack
from vlrnn.report.content import build
from vlrnn.report.page import write_report
from vlrnn.studies.recurrences import _overlay, _recurrences


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    make_scenes(folder, train=16, val=4, test=6, image_size=32, workers=1)
    return folder


def part(path: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"vlrnn.{path}", "init_args": arguments}


@pytest.fixture(scope="module")
def recipe(scenes: Path) -> Path:
    decoder = part("nn.ShowAndTell", recurrence=part("nn.LSTM", hidden_size=8), embedding_dim=6)
    model = part(
        "tasks.Captioner",
        encoder=part("nn.BlindEncoder"),
        decoder=decoder,
        generation={"max_new_tokens": 12},
    )
    data = {"root": str(scenes / "captions"), "batch_size": 8, "min_count": 1, "captions_per_image": 1}
    trainer = {"max_epochs": 1, "accelerator": "cpu", "enable_model_summary": False}
    path = scenes / "recipe.yaml"
    path.write_text(yaml.safe_dump({"model": model, "data": data, "trainer": trainer}))
    return path


def run_study(config: Path, out: Path, cells: str, *more: str) -> int:
    command = ["study", "recurrences", "--config", str(config), "--cells", cells, "--out", str(out)]
    with pytest.MonkeyPatch.context() as patch:
        in_one_process(patch)
        return main([*command, "--resamples", "50", *more])


@pytest.fixture
def study(recipe: Path, tmp_path: Path) -> Callable[..., int]:
    def run(cells: str, *more: str, out: Path = tmp_path / "out", config: Path = recipe) -> int:
        return run_study(config, out, cells, *more)

    return run


@pytest.fixture(scope="module")
def of_one_cell(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study of the GRU alone."""
    out = tmp_path_factory.mktemp("study") / "out"
    assert run_study(recipe, out, "gru") == 0
    return out


def test_all_recurrences_of_a_recipe_are_replaced_whatever_their_arguments_are_called() -> None:
    cells = {"attention_lstm": part("nn.LSTM", hidden_size=8), "language_lstm": part("nn.LSTM", hidden_size=6)}
    recipe = {"model": {"init_args": {"decoder": {"class_path": "own.UpDown", "init_args": cells}}}}
    overlay = _overlay("gru", list(_recurrences(recipe)))
    found = overlay["model"]["init_args"]["decoder"]["init_args"]
    assert {name: each["init_args"]["hidden_size"] for name, each in found.items()} == {
        "attention_lstm": 8,
        "language_lstm": 6,
    }
    assert {each["class_path"] for each in found.values()} == {"vlrnn.nn.GRU"}


def test_every_cell_is_scored_and_timed(study: Callable[..., int], scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert study("gru,LSTM:forget_bias=3", "--seeds", "2") == 0
    found = json.loads((out / "metrics.json").read_text())
    assert list(found["scores"]) == ["gru", "LSTM:forget_bias=3", "causal-self-attention"]
    runs = {path.name for path in (out / "runs").iterdir()}
    assert runs >= {"gru-seed-0", "lstm-forget_bias-3-seed-1", "causal-self-attention-seed-0"}
    for cell, folder in (("gru", "gru"), ("LSTM:forget_bias=3", "lstm-forget_bias-3")):
        by_seed = [
            json.loads((out / "runs" / f"{folder}-seed-{seed}" / "metrics.json").read_text())["scores"]["CIDEr"]
            for seed in (0, 1)
        ]
        assert found["details"]["seeds"][cell] == pytest.approx([each["value"] for each in by_seed])
        score = found["scores"][cell]["CIDEr"]
        assert score["value"] == pytest.approx(sum(each["value"] for each in by_seed) / 2)
        assert score["n"] == len(open_split(scenes / "captions", "test"))
    gru, lstm = found["scores"]["gru"], found["scores"]["LSTM:forget_bias=3"]
    assert gru["parameters"]["value"] == sum(each.numel() for each in GRU(8).build(6).parameters())
    assert (gru["state"]["value"], lstm["state"]["value"]) == (8, 16)
    assert gru["difference"]["value"] == 0
    assert lstm["difference"]["value"] == pytest.approx(lstm["CIDEr"]["value"] - gru["CIDEr"]["value"])
    for name in ("trained_words", "decoded_words"):
        assert all(0 < each[name]["low"] <= each[name]["value"] <= each[name]["high"] for each in (gru, lstm))
    config = yaml.safe_load((out / "runs" / "lstm-forget_bias-3-seed-1" / "config.yaml").read_text())
    assert config["seed_everything"] == 1
    printed = config["model"]["init_args"]["decoder"]["init_args"]["recurrence"]
    assert printed["class_path"] == "vlrnn.nn.LSTM"
    assert (printed["init_args"]["hidden_size"], printed["init_args"]["forget_bias"]) == (8, 3)
    with (out / "recurrences.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["cell"] for row in rows] == list(found["scores"])
    assert float(rows[0]["CIDEr"]) == pytest.approx(gru["CIDEr"]["value"])
    assert float(rows[1]["seed_1"]) == pytest.approx(found["details"]["seeds"]["LSTM:forget_bias=3"][1])
    assert (out / "recurrences.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_it_goes_on_with_more_cells_and_no_other_recipe(
    study: Callable[..., int], of_one_cell: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(of_one_cell, tmp_path / "out")
    trained = tmp_path / "out" / "runs" / "gru-seed-0" / "metrics.json"
    before = trained.stat().st_mtime_ns
    assert study("gru,mamba") == 0
    assert trained.stat().st_mtime_ns == before
    assert "mamba" in json.loads((tmp_path / "out" / "metrics.json").read_text())["scores"]
    capsys.readouterr()
    assert study("gru", "--", "--trainer.max_epochs", "2") == 2
    assert "holds another plan (flags)" in capsys.readouterr().err


def test_a_report_has_it(of_one_cell: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(of_one_cell, out)
    report, _ = build([out, out / "runs" / "gru-seed-0"], [], examples=10)
    (printed,) = report.studies
    assert printed.name == "recurrences"
    assert [name for name, _ in printed.rows] == ["gru", "causal-self-attention"]
    assert printed.columns[0] == "CIDEr"
    assert [each.name for each in report.sections[0].runs] == ["gru-seed-0"]
    page, text, _ = write_report([out], tmp_path / "report.html")
    assert "words per second, decoding" in page.read_text()  # in the picture
    assert "| gru |" in text.read_text()
    broken = json.loads((out / "metrics.json").read_text())
    del broken["scores"]["gru"]["state"]  # of another version, say: told, without a picture
    broken["scores"]["<script>"] = broken["scores"].pop("gru")
    (out / "metrics.json").write_text(json.dumps(broken))
    page, _, _ = write_report([out], tmp_path / "report.html")
    assert "words per second, decoding" not in page.read_text()
    assert "&lt;script&gt;" in page.read_text()


IMPOSSIBLE_PLANS = [
    ("gru,nonsense", [], "nonsense: no recurrence; there are Bidirectional, "),
    ("gru:num_heads=2", [], "gru:num_heads=2: 'num_heads' is no setting of GRU: hidden_size, num_layers"),
    ("gru,bidirectional:recurrence=gru", [], "is not causal, and"),
    ("rwkv:num_heads=3", [], "rwkv:num_heads=3: cannot be built: RWKV: num_heads (3) must divide hidden_size (8)"),
    ("", [], "--cells names no recurrence"),
    ("gru,GRU", [], "would be one"),
    ("gru", ["--seeds", "0"], "--seeds must be at least 1"),
    ("gru", ["--config", "nowhere.yaml"], "nowhere.yaml"),
    ("gru", ["--", "--nonsense", "1"], "nonsense"),
]


def test_what_cannot_be_is_reported_before_anything_is_trained(
    subtests: pytest.Subtests,
    study: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for cells, more, complaint in IMPOSSIBLE_PLANS:
        with subtests.test(cells=cells, more=more, complaint=complaint):
            assert study(cells, *more) == 2
            printed = capsys.readouterr().err.splitlines()
            assert complaint in printed[-1]
            assert not list(tmp_path.rglob("*.ckpt"))


def test_a_recipe_without_a_recurrence_is_refused(
    study: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare.yaml"
    bare.write_text("trainer: {max_epochs: 1}")
    assert study("gru", config=bare) == 2
    assert "has no recurrence that could be replaced" in capsys.readouterr().err


@pytest.mark.slow
def test_questions_may_be_read_both_ways(study: Callable[..., int], scenes: Path, tmp_path: Path) -> None:
    reading = part("nn.RecurrentQuestionEncoder", recurrence=part("nn.LSTM", hidden_size=8), embedding_dim=6)
    model = part(
        "tasks.ClassifierVQA",
        encoder=part("nn.BlindEncoder"),
        question_encoder=reading,
        image_pooling=part("nn.MeanPool"),
        fusion=part("nn.Concatenation", output_dim=8),
    )
    data = {"root": str(scenes / "vqa"), "batch_size": 8, "min_count": 1}
    trainer = {"max_epochs": 1, "accelerator": "cpu", "enable_model_summary": False}
    path = tmp_path / "vqa.yaml"
    path.write_text(yaml.safe_dump({"model": model, "data": data, "trainer": trainer}))
    assert study("lstm,bidirectional:recurrence=gru", config=path) == 0
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["scores"]
    assert found["bidirectional:recurrence=gru"]["state"]["value"] == 16
    assert 0 <= found["lstm"]["accuracy"]["value"] <= 100


def test_cells_have_names() -> None:
    assert isinstance(named_cell("layer-norm-lstm", 3, hidden_size=4), LayerNormLSTM)
    assert isinstance(named_cell("LayerNormLSTM", 3, hidden_size=4), LayerNormLSTM)
    relu = named_cell("vlrnn.nn.RNN:nonlinearity=relu,num_layers=2", 3, hidden_size=4, num_layers=5)
    assert isinstance(relu, RNN)
    assert (relu.nonlinearity, relu.num_layers, relu.hidden_size) == ("relu", 2, 4)
    stack = named_cell("residual-stack:recurrence=mamba,num_layers=3", 3, hidden_size=4)
    assert isinstance(stack, ResidualStack)
    assert isinstance(stack.cells[0], Mamba)
    given = named_cell("residual-stack:recurrence=gru", 3, hidden_size=4, num_layers=3, dropout=0.5)
    assert isinstance(given, ResidualStack)
    assert (given.num_layers, given.dropout) == (3, 0.5)
    assert (given.cells[0].hidden_size, given.cells[0].num_layers, given.cells[0].dropout) == (4, 1, 0.0)
    xs = torch.randn(2, 5, 3)
    assert stack(xs, stack.initial_state(2))[0].shape == (2, 5, 4)
    assert cell_part("gru", hidden_size=4) == {"class_path": "vlrnn.nn.GRU", "init_args": {"hidden_size": 4}}
    assert split_cells(" rnn, gru:hidden_size=3,num_layers=2 ,residual-stack:recurrence=mamba,num_layers=3,lstm,") == [
        "rnn",
        "gru:hidden_size=3,num_layers=2",
        "residual-stack:recurrence=mamba,num_layers=3",
        "lstm",
    ]
    with pytest.raises(UserError, match="no recurrence"):
        named_cell("LayeredRecurrence", 3)
    with pytest.raises(UserError, match="cannot be built"):
        named_cell("residual-stack", 3)
