"""Training over several processes, on the real command line: it is the training of one, and what befalls one befalls
all."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
import yaml
from quick import quick
from test_training_cli import Workshop, wait_for

from vlrnn.data.records import Prediction, RecordFile
from vlrnn.files import read_json
from vlrnn.processes import alone

Launched = list[tuple[list[str], dict[str, str]]]
"""Commands, each with what it adds to the environment."""

ENCODER = "model.init_args.encoder.init_args"
TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
# Examples in the same order; no word is dropped at random.
LOSS = ("--data.batch_size", "4", "--model.init_args.decoder.init_args.dropout", "0", "--trainer.max_epochs", "3")


@pytest.fixture(scope="module")
def odd(make_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures: the last step has one, and the second of two processes none."""
    folder: Path = make_dataset(tmp_path_factory.mktemp("odd") / "squares", (9, 3))
    return folder


def clear_memory(shop: Workshop) -> None:
    """Let the recipe's encoder learn, one whose batches do not matter: it has no batch norm."""
    path = shop.folder / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    learns = {"name": "squeezenet1_1", "weights": None, "finetune_from": "features.12"}
    recipe["model"]["init_args"]["encoder"]["init_args"] |= learns
    recipe["data"]["cache"] = None
    path.write_text(yaml.safe_dump(recipe))


def test_two_processes_learn_and_score_as_one(classifier_file: Path, odd: Path, tmp_path: Path) -> None:
    """Where they do not divide the images evenly, and where the encoder learns; and one goes on where two have been."""
    logs, scores, texts, items = [], [], [], []
    for folder, many in ((tmp_path / "one", False), (tmp_path / "two", True)):
        folder.mkdir()
        shop = Workshop(folder, classifier_file, odd)
        clear_memory(shop)
        for command in ("fit", "validate"):
            printed = train_two(shop, command, *LOSS, "--data.batch_size", "2") if many else train(shop, command, *LOSS)
            assert "batch norm" not in printed
        scores.append(read_json(shop.run_folder / "metrics.json"))
        texts.append({each.id: each.text for each in RecordFile(shop.run_folder / "predictions.jsonl", Prediction)})
        items.append((shop.run_folder / "items.jsonl").read_text())
        train(shop, "fit", *LOSS, "--trainer.max_epochs", "4", "--ckpt_path", "last")
        logs.append(shop.log())
    for name, count in (("train/loss", 12 + 4), ("val/loss", 4), ("val/CIDEr", 4)):
        one, two = ([float(row[name]) for row in log if row.get(name)] for log in logs)
        assert len(one) == len(two) == count
        assert two == pytest.approx(one, rel=1e-4, abs=1e-5), name
    assert texts[0] == texts[1]
    assert items[0] == items[1] != ""
    assert scores[0]["scores"] == scores[1]["scores"]


@pytest.mark.slow
def test_batch_norm_of_each_process_is_reported(classifier_file: Path, dataset: Path, tmp_path: Path) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    learns = ("--data.cache", "null", f"--{ENCODER}.finetune_from", "features.12")
    printed = train_two(shop, "fit", *learns, "--trainer.max_epochs", "1")
    assert len([line for line in printed.splitlines() if "--trainer.sync_batchnorm true" in line]) == 1


SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "captions",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_NNODES": "1",
    "SLURM_NODEID": "0",
    "SLURM_JOB_NODELIST": "localhost",
}
"""What a task of `srun` finds in its environment, beside its number."""


def of_a_cluster(shop: Workshop, arguments: tuple[str, ...], name: str = "fit") -> Launched:
    place = {**SLURM, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    tasks = ({**place, "SLURM_PROCID": number, "SLURM_LOCALID": number} for number in "01")
    return [(shop.command(name, *arguments), task) for task in tasks]


@contextmanager
def all_of(launched: Launched, folder: Path) -> Iterator[list[forked.Popen]]:
    """These, running at once."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                forked.Popen(
                    command, cwd=folder, stderr=forked.PIPE, env={**os.environ, "COLUMNS": "200", **environment}
                )
            )
            for command, environment in launched
        ]


def train(shop: Workshop, name: str, *arguments: str) -> str:
    done = shop.run(name, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stderr


def train_two(shop: Workshop, name: str, *arguments: str) -> str:
    """As `train` by two processes, which start at once, and what both wrote to stderr."""
    with all_of(of_a_cluster(shop, (*arguments, *TWO), name), shop.folder) as running:
        printed = [each.communicate()[1] for each in running]
        assert [each.returncode for each in running] == [0, 0], printed
    return "".join(printed)


def of_torchrun(shop: Workshop, arguments: tuple[str, ...]) -> Launched:
    _, *command = shop.command("fit", *arguments)
    launch = ["--nproc-per-node", "2", "--master-port", str(free_port())]
    return [([sys.executable, "-m", "torch.distributed.run", *launch, *command], {})]


def of_two_machines(shop: Workshop, arguments: tuple[str, ...]) -> Launched:
    """Both of them this one."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    command = shop.command("fit", *arguments, "--trainer.devices", "1", "--trainer.num_nodes", "2")
    return [(command, {**place, "NODE_RANK": number}) for number in "01"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.mark.slow
@pytest.mark.parametrize("started", [of_a_cluster, of_torchrun, of_two_machines])
def test_processes_that_others_start_find_each_other(
    started: Any, classifier_file: Path, dataset: Path, tmp_path: Path
) -> None:
    logs = []
    for folder in (tmp_path / "ours", tmp_path / "theirs"):
        folder.mkdir()
        shop = Workshop(folder, classifier_file, dataset)
        arguments = (*TWO, *LOSS, "--data.batch_size", "2", "--trainer.max_epochs", "2")
        launched = started(shop, arguments) if folder.name == "theirs" else by_lightning(shop, arguments)
        with all_of(launched, folder) as running:
            printed = [each.communicate()[1] for each in running]
            assert [each.returncode for each in running] == [0] * len(running), printed
        logs.append([row["train/loss"] for row in shop.log() if row["train/loss"]])
    assert len(logs[0]) == 4 + 2  # of steps and of epochs
    assert logs[0] == logs[1]


def test_the_cache_is_built_once(classifier_file: Path, dataset: Path, tmp_path: Path) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    printed = train_two(shop, "fit", "--trainer.max_epochs", "1")
    assert printed.count("features of train") == 1
    assert len(list((tmp_path / "cache").iterdir())) == 2


def by_lightning(shop: Workshop, arguments: tuple[str, ...]) -> Launched:
    """The first, which starts the other."""
    return [(shop.command("fit", *arguments), {})]


FOREVER = ("--trainer.max_epochs", "100000", "--early_stopping.patience", "100000")


@contextmanager
def two_that_train(shop: Workshop, started: Any = of_a_cluster) -> Iterator[tuple[list[forked.Popen], list[int]]]:
    """The processes that were started of two that train for ever and have written a checkpoint, and the ids of both."""
    with all_of(started(shop, (*TWO, *FOREVER)), shop.folder) as running:
        wait_for(shop.run_folder / "checkpoints" / "last.ckpt", running[0])
        ids = [each.pid for each in running]
        if len(ids) == 1:
            children = subprocess.run(["pgrep", "-P", str(ids[0]), "-f", "vlrnn"], capture_output=True, text=True)
            ids.append(int(children.stdout))
        try:
            yield running, ids
        finally:
            with suppress(ProcessLookupError):
                os.kill(ids[1], signal.SIGKILL)


def ends(process: int) -> None:
    """Wait until it has."""
    deadline = time.monotonic() + forked.PATIENCE
    while Path(f"/proc/{process}/stat").exists() and " Z " not in Path(f"/proc/{process}/stat").read_text():
        assert time.monotonic() < deadline, "the other rank hangs"
        time.sleep(0.2)


@pytest.mark.parametrize(
    ("rank", "started"),
    quick([(0, of_a_cluster), (1, of_a_cluster), (0, by_lightning)], (1, of_a_cluster)),
)
def test_a_rank_that_dies_ends_the_others(
    rank: int, started: Any, classifier_file: Path, dataset: Path, tmp_path: Path
) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    with two_that_train(shop, started) as (running, ids):
        os.kill(ids[rank], signal.SIGKILL)
        printed = "".join(each.communicate()[1] for each in running)
        ends(ids[1])
    assert "Traceback" not in printed
    assert "another process of this training has stopped" in printed


@pytest.mark.slow
def test_a_job_that_is_to_end_leaves_its_last_checkpoint(classifier_file: Path, dataset: Path, tmp_path: Path) -> None:
    """And no other: Lightning's would lie within a step, and be taken for newer from then on."""
    shop = Workshop(tmp_path, classifier_file, dataset)
    with two_that_train(shop) as (running, _):
        for task in running:
            task.send_signal(signal.SIGUSR1)
        printed = [task.communicate()[1] for task in running]
        assert [task.returncode for task in running] == [130, 130], printed
    assert {path.name for path in shop.run_folder.rglob("*.ckpt")} == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize(
    ("rank", "number", "started"),
    quick(
        [(0, signal.SIGINT, of_a_cluster), (1, signal.SIGTERM, of_a_cluster), (0, signal.SIGINT, by_lightning)],
        (0, signal.SIGINT, of_a_cluster),
    ),
)
def test_where_one_is_to_end_all_do(
    rank: int, number: signal.Signals, started: Any, classifier_file: Path, dataset: Path, tmp_path: Path
) -> None:
    """At the same step, which one process that is interrupted cannot choose alone: the others wait for it."""
    shop = Workshop(tmp_path, classifier_file, dataset)
    with two_that_train(shop, started) as (running, ids):
        os.kill(ids[rank], number)
        printed = "".join(each.communicate()[1] for each in running)
        ends(ids[1])
    assert [each.returncode for each in running] == [130] * len(running)
    assert "Traceback" not in printed
    assert "to resume: vlrnn fit" in printed
    last = torch.load(shop.run_folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] > 0
    assert "between_steps" in last


@pytest.mark.slow
@pytest.mark.parametrize("started", [by_lightning, of_a_cluster, of_two_machines])
def test_where_the_first_may_not_have_the_folder_all_end(
    started: Any, classifier_file: Path, dataset: Path, tmp_path: Path
) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    with alone(shop.run_folder, pytest.fail), all_of(started(shop, TWO), tmp_path) as running:
        printed = [each.communicate()[1] for each in running]
    assert [each.returncode for each in running] == [2] * len(running)
    assert all("another vlrnn fit trains in it" in each for each in printed)
    assert list(shop.run_folder.iterdir()) == []


@pytest.mark.slow
def test_two_processes_replace_a_run_by_its_own_recipe(classifier_file: Path, dataset: Path, tmp_path: Path) -> None:
    """Which is moved aside only when both have read it."""
    shop = Workshop(tmp_path, classifier_file, dataset)
    assert shop.run("fit", *TWO, "--trainer.max_epochs", "1").returncode == 0
    again = [sys.executable, "-m", "vlrnn", "fit", "--config", "run/config.yaml"]
    for flags, code in (([], 2), (["--overwrite"], 0), (["--ckpt_path", "last"], 0)):
        done = forked.run([*again, *flags], cwd=tmp_path, capture_output=True)
        assert done.returncode == code, done.stderr
    assert "training is complete" in done.stderr
    assert (tmp_path / "run.old-1" / "checkpoints" / "best.ckpt").is_file()
    assert (shop.run_folder / "checkpoints" / "best.ckpt").is_file()
