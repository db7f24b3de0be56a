"""The docs tell the truth: every command in them is run, on small files of the official forms, and so is every block of
Python. What needs GPUs, or other machines, is read by the command line as far as it goes without them."""

import importlib.util
import json
import re
import runpy
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import test_decoders
import test_recurrence
import timm
import torch
import yaml
from data_scripts import make_images, write
from demo_server import command_line
from docs_workshop import ROOT, blocks, commands, furnish
from one_process import in_one_process
from test_self_critical import tiny

from vlrnn.cli import COMMANDS, main
from vlrnn.data.records import Example, Prediction, ScoredExample, open_split, write_records
from vlrnn.data.synthetic.dataset import make_scenes
from vlrnn.inference.predictor import Predictor
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.runs import read_result
from vlrnn.text.vocabulary import Vocabulary
from vlrnn.training.objectives.base import CrossEntropy
from vlrnn.training.recipes import find_recipe

DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
RECORDED = "docs/results.md"  # tells what was run to measure, for hours on real data

QUICK = ["--train", "64", "--val", "8", "--test", "16"]
STUDIES = {  # how they run small; all that a flag is given last counts
    "dose-response": ["--train", "16", "--test", "24", "--seeds", "1", "--biases", "0", "1", "--epochs", "1"],
    "horizon": ["--cells", "gru", "--lengths", "2", "3", "--steps", "3", "--seeds", "1"],
    "leakage": ["--seeds", "1"],
    "recurrences": ["--cells", "lstm", "--seeds", "1"],
    "sweep": ["--trials", "2", "--out", "runs/sweep"],  # whose best.yaml is trained behind it
}
PROBES = {  # the same of those that need it
    "dropout": ["--steps", "2", "--width", "4", "--draws", "2"],
    "gradients": ["--steps", "6", "--draws", "2"],
    "init": ["--depth", "2", "--width", "4", "--draws", "2", "--learning_steps", "2"],
}
SMALL_DATA = {  # and of data sets that are made
    "synthetic": ["--train", "200", "--val", "8", "--test", "40", "--workers", "1"],
    "prose": ["--paragraphs", "300"],
    "pope": ["--images", "20"],
}
PREPARED = "flickr8k"  # where a command stands for each of them
NAMES = {  # what the docs call what a reader has -> what is in the workshop
    "PRED": "results.json",
    "REF": "captions_val2017.json",
    "OBJECTS": "objects.json",
    "POLL.json": "pictures/poll.json",
    "CKPT": "runs/quickstart/captioning/checkpoints/best.ckpt",
    "P": "official-2021",
    "TRAIN": "runs/quickstart/scenes/vqa/train.jsonl",
    "TEST": "runs/quickstart/scenes/vqa/test.jsonl",
    "WEIGHTS": "weights.safetensors",
    "SOURCE": "flickr8k",
    "FOLDER": "somewhere",
    "N": "2",
}
HEAD = "runs/quickstart/classifier_vqa/predictions.jsonl"
QUESTIONS = "runs/quickstart/scenes/vqa/test.jsonl"
OF_ANSWERS = ("calibration", "consistency", "priors")
FILES = {  # (probe, or any, flag) -> what follows it
    ("", "--synonyms"): "synonyms.txt",
    ("", "--double_words"): "double_words.json",
    ("", "--answers"): "answers.json",
    ("", "--images"): "pictures",
    ("", "--groups"): "groups.json",
    **{(probe, flag): HEAD for probe in OF_ANSWERS for flag in ("--predictions", "--val", "--other")},
    **{(probe, flag): QUESTIONS for probe in OF_ANSWERS for flag in ("--references", "--val_references")},
}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory, classifier_file: Path) -> Path:
    """The folder in which all documents are gone through, one after the other; the quickstart has been run in it."""
    folder = tmp_path_factory.mktemp("workshop")
    furnish(folder)
    (folder / "weights.safetensors").symlink_to(classifier_file)
    torch.save(timm.create_model("mobilenetv3_small_050").state_dict(), folder / "timm.pth")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        in_one_process(patch)
        assert main(["quickstart", *QUICK]) == 0
    make_scenes(folder / "data/scenes", train=200, val=8, test=40, image_size=64, workers=1)
    shutil.copytree(folder / "runs/quickstart/captioning", folder / "runs/mine")
    write(folder / "groups.json", [["test-000001-1", "test-000001-2"]])
    return folder


@pytest.fixture
def in_workshop(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workshop)
    in_one_process(monkeypatch)
    for name in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    return workshop


def run(command: list[str]) -> None:
    """Run one command of the docs; fails where nobody knows how."""
    program, *arguments = command
    if program == "vlrnn":
        name, *rest = [NAMES.get(word, word) for word in arguments]
        assert name in COMMANDS
        _vlrnn(name, rest)
    elif program == "python":
        script, *rest = [NAMES.get(word, word) for word in arguments]
        _script(script, rest)
    else:
        assert program == "make"
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def _vlrnn(name: str, rest: list[str]) -> None:
    if name in ("fit", "validate", "test", "cache"):
        _recipe(name, rest)
        return
    if name == "demo":
        _load_demo(rest)
        return
    if name == "prepare":
        rest = [PREPARED if word == "NAME" else word for word in rest] + SMALL_DATA.get(rest[0], [])
    if name == "quickstart":
        rest += [*QUICK, "--out", "runs/another"]
    if name == "study":
        flags = rest.index("--") if "--" in rest else len(rest)  # of a recipe
        rest[flags:flags] = ["--out", tempfile.mkdtemp(dir="."), *STUDIES[rest[0]]]  # what is there is not made again
        if "--config" in rest:
            rest += [*(["--"] if "--" not in rest else []), *_small(" ".join(rest))]
    probe = rest[0] if name == "probe" else ""
    rest += PROBES.get(probe, [])
    if probe == "consistency" and "--other" not in rest:
        rest += ["--groups", "FILE"]  # these questions do not say themselves which belong together
    for place, flag in enumerate(rest[:-1] if name != "prepare" else []):
        rest[place + 1] = FILES.get((probe, flag), FILES.get(("", flag), rest[place + 1]))
    assert main([name, *rest]) == 0


def _recipe(name: str, rest: list[str]) -> None:
    """Two batches of it, over a small CNN; what needs several processes or GPUs is only read."""
    if any("gpu" in word or word == "ddp" for word in rest):
        with pytest.raises(SystemExit) as left:
            main([name, *rest, "--print_config"])
        assert left.value.code == 0
        return
    given = " ".join(rest)
    small = _small(given)
    if name == "cache":
        small += ["--data.cache=cache"]
    if name == "fit" and "--ckpt_path" not in rest:
        small += ["--overwrite"]  # what the document before it trained there
    assert main([name, *rest, *small]) == 0


def _small(given: str) -> list[str]:
    """What makes a recipe small, of the words that are given with it."""
    small = [f"--trainer.limit_{split}_batches=2" for split in ("train", "val", "test")]
    small += ["--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--trainer.enable_model_summary=false"]
    if "language_model" in given:
        return small
    small += ["--data.num_workers=0", "--data.min_count=1", "--data.cache=null"]
    if "blind" not in given and "baselines" not in given and "synthetic" not in given:
        encoder: dict[str, Any] = {"name": "mobilenet_v3_small", "weights": "weights.safetensors", "image_size": 64}
        if "encoders/timm" in given:
            encoder = {"name": "mobilenetv3_small_050", "weights": "timm.pth", "image_size": 64}
        elif "encoders/precomputed" in given:
            encoder = {"path": "regions.npz", "feature_dim": 4}
        elif "coco" in given:  # the one that is fine-tuned
            encoder["finetune_from"] = "features.12"
        small += [f"--model.init_args.encoder.init_args.{key}={value}" for key, value in encoder.items()]
    if "vqa" in given:
        small += ["--data.min_answer_count=1"]
    return small


def _script(script: str, rest: list[str]) -> None:
    spec = importlib.util.spec_from_file_location("script", ROOT / script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.main(rest) == 0


def _load_demo(rest: list[str]) -> None:
    """The page as far as its address: tests/test_demo_app.py opens it."""
    pytest.importorskip("gradio", reason="needs gradio, of the extra demo")
    from vlrnn.demo.app import page
    from vlrnn.demo.models import checkpoints, load

    options = command_line(rest)
    load(options)
    assert page(print, list(checkpoints(options)), []) is not None


@pytest.mark.slow
@pytest.mark.parametrize("document", [each for each in DOCUMENTS if each != RECORDED and commands(each)])
def test_every_command_runs(document: str, in_workshop: Path) -> None:
    for command in commands(document):
        print("$", *command)  # shown where one fails
        run(command)


def test_every_document_has_commands_that_are_found() -> None:
    """The reader of the docs reads them: no block is lost on it."""
    counts = {document: len(commands(document)) for document in DOCUMENTS if document != RECORDED}
    assert counts["README.md"] >= 20
    assert counts["docs/probes.md"] >= 20
    languages_run = {"sh", "python", "python no-run", "json", "text", "csv"}
    for document in DOCUMENTS:
        languages = re.findall(r"^```(.+)\n(?:.*\n)*?^```$", (ROOT / document).read_text(), re.MULTILINE)
        assert set(languages) <= languages_run, document


def test_commands_within_the_text_exist() -> None:
    for document in DOCUMENTS:
        text = (ROOT / document).read_text()
        for name in re.findall(r"`vlrnn ([a-z]+)", text):
            assert name in COMMANDS, (document, name)
        for path in re.findall(
            r"`(?:python )?((?:data_prep|demo|benchmarks|configs|tests)/[\w/.-]+\.(?:py|yaml))", text
        ):
            assert (ROOT / path).is_file() or "NAME" in path, (document, path)
        for path in re.findall(r"\]\(([\w/.-]+)\)", text):
            assert (ROOT / document).parent.joinpath(path).exists(), (document, path)


def test_what_was_measured_can_be_run_again() -> None:
    """The recipes and commands are there."""
    text = "\n".join(blocks(RECORDED, "sh")).replace("LOSS", "reweighting")
    for name in re.findall(r"--config ([a-z][\w/.-]*)", text.replace("$RECIPE", "synthetic-classifier")):
        find_recipe(name)
    for name in re.findall(r"^\s*vlrnn ([a-z]+)", text, re.MULTILINE):
        assert name in COMMANDS


# Python.


@pytest.mark.slow
def test_python_of_the_readme(in_workshop: Path) -> None:
    for block in blocks("README.md", "python"):
        exec(block, {})


def test_python_of_the_metrics() -> None:
    from vlrnn.data.records import Example

    examples = {1: Example(1, 1, "1.jpg", question="what?", answers=("dog",) * 3)}
    names = {"examples": examples, "example": examples[1], "ours": {1: "dog"}, "theirs": {1: "cat"}}
    names["references"] = {1: ["a man"], 2: ["a dog"]}
    for block in blocks("docs/metrics.md", "python"):
        exec(block, names)


@pytest.fixture(scope="module")
def contributed() -> dict[str, Any]:
    """What the examples of CONTRIBUTING.md define."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks("CONTRIBUTING.md", "python"):
        exec(block, names)
    return names


def test_the_cell_keeps_the_laws(contributed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    cell = contributed["MinimalGatedUnit"]
    monkeypatch.setitem(test_recurrence.CELLS, "new", lambda width, **_: cell(width))
    test_recurrence.test_scan_is_steps("new")
    test_recurrence.test_scan_is_scan_in_chunks("new")
    test_recurrence.test_past_its_length_a_row_stays("new")
    monkeypatch.setattr(test_decoders, "CELLS", {"new": lambda: cell(test_decoders.H)})
    monkeypatch.setattr(test_decoders, "KINDS", ["new"])
    for decoder in test_decoders.DECODERS:
        test_decoders.test_teacher_forcing_is_step_by_step(decoder)


def test_the_decoder_keeps_the_laws(contributed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    merge = contributed["Merge"]
    monkeypatch.setitem(test_decoders.DECODERS, "new", lambda cell: merge(cell, embedding_dim=test_decoders.E))
    test_decoders.test_teacher_forcing_is_step_by_step("new")
    test_decoders.test_greedy_search_is_the_literal_loop("new")
    test_decoders.test_the_image_matters_to_every_word("new")


def test_the_encoder_gives_regions(contributed: dict[str, Any]) -> None:
    encoder = contributed["SmallCNN"]()
    context = encoder(torch.zeros(2, 3, 64, 64, dtype=torch.uint8))
    assert context.regions.shape == (2, encoder.num_regions, encoder.feature_dim) == (2, 64, 64)
    assert context.boxes is not None
    assert not encoder.frozen


def test_the_objective_is_cross_entropy_without_its_exponent(contributed: dict[str, Any]) -> None:
    focal, (task, batch) = contributed["FocalLoss"], tiny(num_samples=1, images=1)
    found, plain = focal(0.0).loss(task, batch), CrossEntropy().loss(task, batch)
    torch.testing.assert_close((found.total, found.count), (plain.total, plain.count))
    assert focal(2.0).loss(task, batch).total < found.total


def test_the_task_is_trained_and_used(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_parts.py").write_text("\n".join(blocks("CONTRIBUTING.md", "python")))
    monkeypatch.chdir(tmp_path)
    cell = {"class_path": "my_parts.MinimalGatedUnit", "init_args": {"hidden_size": 8}}
    model = {"encoder": {"class_path": "my_parts.SmallCNN", "init_args": {"image_size": 32}}, "recurrence": cell}
    recipe = {"model": {"class_path": "my_parts.LastWord", "init_args": model}, "data": {"root": str(dataset)}}
    trainer = {"default_root_dir": "run", "max_epochs": 1, "accelerator": "cpu"}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**recipe, "trainer": trainer}))
    for command in (["fit", "--config", "recipe.yaml"], ["test", "run"], ["report", "run"]):
        assert main(command) == 0
    assert json.loads((tmp_path / "run/metrics.json").read_text())["scores"].keys() == {"right"}
    assert Predictor.load("run", "cpu", trust=["my_parts"]).task.monitor == "right"  # the best of the run folder
    sys.modules.pop("my_parts", None)


def test_the_metric_is_of_a_run_and_of_a_task(contributed: dict[str, Any], tmp_path: Path) -> None:
    examples = {id: Example(id, id, f"{id}.png", ("a big dog", "dog")) for id in ("a", "b")}
    predictions = {id: Prediction(id, id, text) for id, text in (("a", "a dog"), ("b", "a dog dog runs"))}
    write_records(tmp_path / "predictions.jsonl", predictions.values())
    write_records(tmp_path / "items.jsonl", [ScoredExample(**vars(each)) for each in examples.values()])
    assert contributed["length_ratio_of"](str(tmp_path))["length_ratio"]["value"] == 6 / 4
    decoder = contributed["Merge"](contributed["MinimalGatedUnit"](4), 4)
    captioner = contributed["MeasuredCaptioner"](Vocabulary(["a", "dog"]), BlindEncoder(), decoder)
    scores = captioner.score(predictions, examples)["scores"]
    assert scores["length_ratio"]["value"] == 6 / 4
    assert "CIDEr" in scores


def test_the_probe_finds_repetitions_and_is_reported(contributed: dict[str, Any], tmp_path: Path) -> None:
    texts = {"a": "a dog dog runs", "b": "a cat sits"}
    write_records(tmp_path / "predictions.jsonl", [Prediction(id, id, text) for id, text in texts.items()])
    found = contributed["probe_repetition"](tmp_path / "predictions.jsonl")
    assert found.scores["repeats"]["value"] == 0.5
    assert [case["id"] for case in found.cases] == ["a"]
    contributed["add_to_report"](str(tmp_path))
    assert read_result(tmp_path / "probes/repetition.json")["scores"] == found.scores


def test_the_data_set_is_prepared(contributed: dict[str, Any], tmp_path: Path) -> None:
    make_images(tmp_path / "images", ["1.png", "2.png"])
    write(tmp_path / "train.json", {"1.png": ["A dog."]})
    write(tmp_path / "val.json", {"2.png": ["A cat."]})
    contributed["prepare"](tmp_path, tmp_path / "out")
    assert open_split(tmp_path / "out", "val")[0].captions == ("A cat.",)


def test_the_check_of_a_decoder_prints_the_difference(contributed: dict[str, Any]) -> None:
    assert contributed["difference"] < 1e-5


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["tutorial.py", "--quick", "--out", str(tmp_path)])
    runpy.run_path(str(ROOT / "demo/tutorial.py"), run_name="__main__")
    printed = capsys.readouterr().out
    for step in ("1.", "2.", "4.", "5.", "6.", "7."):
        assert f"\n{step}" in f"\n{printed}"
    assert (tmp_path / "attention.png").is_file()
