"""What users hold on to stays as it is: flags, keys of JSON, names of files. `snapshots` has how to change it."""

import argparse
import os
import re
import runpy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fuzzing.world import World
from help_pages import page
from snapshots import REWRITE, check_snapshot, folder_lines

from vlrnn.cli import COMMANDS, RECIPE_COMMANDS, main
from vlrnn.commands import HELP
from vlrnn.data.records import Prediction, RecordFile, write_records
from vlrnn.training.cli import recipe_parser

ROOT = Path(__file__).parent.parent
SCRIPTS = [*sorted((ROOT / "data_prep").glob("*.py")), ROOT / "demo" / "app.py"]
NOT_OURS = re.compile(
    r"--(model|data|trainer|optimizer|lr_scheduler|print_config|print_shtab)\b| --> |"
    r"--early_stopping\.(?!(monitor|mode|patience|strict)\b)"
)
"""Of the commands that run recipes: keys that name parts of the code, links of keys, and what Lightning alone sets."""


# Flags.


class _HelpRequestedError(Exception):
    """Raised in place of printing help."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


@pytest.fixture
def help_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def caught(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _HelpRequestedError(parser)

    monkeypatch.setattr(argparse.ArgumentParser, "print_help", caught)


def flags(name: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    """A line for each flag and argument of a parser and of its sub-commands: its name and what it takes."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub_command, sub_parser in action.choices.items():
                yield from flags(f"{name} {sub_command}", sub_parser)
        elif "--help" not in action.option_strings:
            default = action.default not in (None, argparse.SUPPRESS)
            facts = {
                " required": bool(action.option_strings) and action.required,
                " repeated": isinstance(action, argparse._AppendAction),
                f" nargs={action.nargs}": action.nargs is not None,
                f" choices={as_text(action.choices)}": action.choices is not None,
                f" default={as_text(action.default)}": default,
            }
            flag = "/".join(action.option_strings) or action.dest
            yield f"{name} {flag}" + "".join(fact for fact, holds in facts.items() if holds)


def as_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple, dict)) else str(value)


@pytest.mark.usefixtures("help_is_caught")
def test_flags_of_commands() -> None:
    found: list[str] = []
    for command in COMMANDS:
        if command in RECIPE_COMMANDS:
            lines = flags(f"vlrnn {command}", recipe_parser(command.replace("predict", "test")))
            found += (line for line in lines if not NOT_OURS.search(line))
            continue
        with pytest.raises(_HelpRequestedError) as caught:
            main([command, "--help"])
        found += flags(f"vlrnn {command}", caught.value.parser)
    check_snapshot("flags_of_commands", found)


@pytest.mark.parametrize("command", RECIPE_COMMANDS)
def test_help_pages(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """They are files, and hold what the parser does; see `help_pages`."""
    path, expected = HELP / f"{command}.txt", page(command)
    if os.environ.get("VLRNN_CONTRACT") == "write":
        path.write_text(expected, "utf-8")
    assert path.read_text("utf-8") == expected, f"If this is meant, rewrite it: {REWRITE}"
    with pytest.raises(SystemExit) as left:
        main([command, "--config", "absent.yaml", "--help"])
    assert left.value.code == 0
    assert capsys.readouterr().out == expected
    assert expected.count("\n") <= 150


@pytest.mark.usefixtures("help_is_caught")
def test_flags_of_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of data_prep, and the demo's."""
    found: list[str] = []
    for script in SCRIPTS:
        monkeypatch.setattr("sys.argv", [script.name, "--help"])
        with pytest.raises(_HelpRequestedError) as caught:
            runpy.run_path(str(script), run_name="__main__")
        found += flags(f"{script.parent.name}/{script.name}", caught.value.parser)
    check_snapshot("flags_of_scripts", found)


# Files.


def test_run_folder(fit: Callable[..., int], small_recipe: Path, tmp_path: Path) -> None:
    """What training leaves, the scores of two splits, and the report."""
    run = tmp_path / "run"
    assert fit(run) == 0
    for command in ("validate", "test"):
        assert main([command, "--config", str(small_recipe), "--trainer.default_root_dir", str(run)]) == 0
    assert main(["report", str(run), "--out", str(run / "report.html")]) == 0
    lines = folder_lines(run, "run", names_only=["run/report.json", "run/splits/*", "run/tensorboard/*"])
    check_snapshot("run_folder", [line for line in lines if "/tensorboard/" not in line])


def test_data_sets(world: World) -> None:
    check_snapshot(
        "data_sets", [line for kind in ("captions", "vqa") for line in folder_lines(world.folder / kind, kind)]
    )


def test_models(world: World, tmp_path: Path) -> None:
    """Results of a captioner that attends and of both heads of VQA, and models that were exported."""
    lines = []
    for kind in ("captioner", "speaker", "classifier"):
        lines += folder_lines(world.folder / kind, kind, names_only=["*.csv", "*.yaml", "*/splits/*", "*/probes/*"])
        lines += folder_lines(world.exported(kind), f"{kind}-exported", names_only=["*/config.json"])
    arguments = ["--checkpoint", str(world.checkpoint("captioner")), "--out", str(tmp_path)]
    assert main(["export", *arguments, "--programs"]) == 0
    lines = [line for line in lines if "speaker/predictions.jsonl: tokens" not in line]  # all answers may be empty
    check_snapshot("models", [*lines, *folder_lines(tmp_path, "captioner-programs", names_only=["*/config.json"])])


SCORES = {
    "captions": "score captions --no-java --references captions/test.jsonl --predictions MIXED/captions.jsonl "
    "--compare files/captions.jsonl --training captions/train.jsonl --per_image OUT/images.jsonl",
    "vqa": "score vqa --references vqa/test.jsonl --predictions MIXED/answers.jsonl --compare files/answers.jsonl "
    "--per_question OUT/questions.jsonl",
    "official": "score vqa --references files/questions.json --predictions files/answers.json "
    "--official OUT/results.json",
}
PEOPLE = "--women files/women.txt --men files/men.txt"
PROBES = {
    "amplification": f"--predictions MIXED/people.jsonl --objects captions/test.jsonl {PEOPLE}",
    "amplification of a table": "--table files/table.jsonl --training files/table.jsonl",
    "calibration": "--predictions MIXED/answers.jsonl --references vqa/test.jsonl "
    "--val MIXED/answers.jsonl --val_references vqa/test.jsonl",
    "chair": "--predictions MIXED/captions.jsonl --objects captions/test.jsonl --training captions/train.jsonl",
    "consistency": "--predictions MIXED/answers.jsonl --references vqa/test.jsonl --other files/answers.jsonl",
    "consistency of groups": "--predictions files/answers.json --references files/annotations.json "
    "--groups files/groups.json",
    "dropout": "--steps 2 --width 4 --draws 2 --rates 0.5",
    "gender": f"--predictions MIXED/people.jsonl {PEOPLE} --references captions/test.jsonl",
    "gradients": "--steps 6 --draws 2 --cells gru",
    "grounding": "--checkpoint captioner/checkpoints/best.ckpt --data captions",
    "grounding of answers": "--checkpoint speaker/checkpoints/best.ckpt --data vqa",
    "init": "--depth 2 --width 4 --draws 2 --learning_steps 2 --initialisations zero xavier --nonlinearities tanh",
    "pope": "--questions files/poll.json --answers files/replies.json --objects captions/test.jsonl",
    "pope of captions": "--questions files/poll.json --predictions MIXED/captions.jsonl",
    "priors": "--train vqa/train.jsonl --test vqa/test.jsonl --predictions MIXED/answers.jsonl",
    "scene_truth": "--predictions MIXED/captions.jsonl --examples captions/test.jsonl",
    "units": "--checkpoint captioner/checkpoints/best.ckpt --data captions --property word_position noun_just_said",
}


@pytest.fixture
def mixed(world: World, tmp_path: Path) -> Path:
    """A folder of captions and answers of which every second is that of the example before, so that some are wrong; and
    the captions with a person in each."""
    (tmp_path / "mixed").mkdir()
    for name in ("captions.jsonl", "answers.jsonl"):
        right = list(RecordFile(world.files / name, Prediction))
        texts = [right[place - place % 2].text for place in range(len(right))]
        predictions = [replace(each, text=text) for each, text in zip(right, texts, strict=True)]
        write_records(tmp_path / "mixed" / name, predictions)
    captions = RecordFile(tmp_path / "mixed" / "captions.jsonl", Prediction)
    people = [replace(each, text=f"a {'woman' if n % 3 else 'man'} and {each.text}") for n, each in enumerate(captions)]
    write_records(tmp_path / "mixed" / "people.jsonl", people)
    return tmp_path / "mixed"


@pytest.fixture
def results(
    world: World, mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Runs a command line in the world's folder: function of it and of a name; the lines of the files it leaves."""
    monkeypatch.chdir(world.folder)

    def lines(words: str, name: str, *more: str) -> list[str]:
        out = tmp_path / name
        out.mkdir()
        command = words.replace("OUT", str(out)).replace("MIXED", str(mixed)).split()
        assert main([*command, *more, "--out", str(out / "found.json")]) == 0
        capsys.readouterr()  # a difference is told without it
        return folder_lines(out, name, data_keys=["*: details.objects"])

    return lines


def test_scores(results: Callable[..., list[str]]) -> None:
    check_snapshot("scores", [line for name, words in SCORES.items() for line in results(words, name)])


def test_probes(results: Callable[..., list[str]]) -> None:
    found: list[str] = []
    for name, words in PROBES.items():
        found += results(f"probe {name.partition(' ')[0]} {words}", name, "--resamples", "10")
    check_snapshot("probes", found)


def test_captions_and_answers(
    results: Callable[..., list[str]], world: World, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As files and as they are printed."""
    found = results(f"caption images --checkpoint {world.checkpoint('captioner')}", "caption")
    image = min((world.folder / "images").iterdir())
    assert main(["ask", str(image), "what?", "--checkpoint", str(world.checkpoint("classifier")), "--json"]) == 0
    (tmp_path / "printed").mkdir()
    (tmp_path / "printed" / "ask.jsonl").write_text(capsys.readouterr().out)
    check_snapshot("captions_and_answers", [*found, *folder_lines(tmp_path / "printed", "printed")])
