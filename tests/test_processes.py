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
from test_training_cli import Workshop, wait_for

from vlrnn.files import read_json
from vlrnn.locks import alone
from vlrnn.records import Prediction, RecordFile

ENCODER = "model.init_args.encoder.init_args"
TWO = ("--trainer.devices", "2", "--trainer.strategy", "ddp")
# Examples in the same order; no word is dropped at random.
LOSS = ("--data.batch_size", "4", "--model.init_args.decoder.init_args.dropout", "0", "--trainer.max_epochs", "3")


@pytest.fixture(scope="module")
def odd(make_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures: the last step has one, and the second of two processes none."""
    folder: Path = make_dataset(tmp_path_factory.mktemp("odd") / "squares", (9, 3))
    return folder


def see_anew(shop: Workshop) -> None:
    """Let the recipe's encoder learn, one whose batches do not matter: it has no batch norm."""
    path = shop.folder / "recipe.yaml"
    recipe = yaml.safe_load(path.read_text())
    learns = {"name": "squeezenet1_1", "weights": None, "trainable_from": "features.12"}
    recipe["model"]["init_args"]["encoder"]["init_args"] |= learns
    recipe["data"]["cache"] = None
    path.write_text(yaml.safe_dump(recipe))


def test_two_processes_learn_and_score_as_one(classifier_file: Path, odd: Path, tmp_path: Path) -> None:
    """Where they do not divide the images evenly, and where the encoder learns; and one goes on where two have been."""
    logs, scores, said = [], [], []
    for folder, flags in ((tmp_path / "one", ()), (tmp_path / "two", (*TWO, "--data.batch_size", "2"))):
        folder.mkdir()
        shop = Workshop(folder, classifier_file, odd)
        see_anew(shop)
        for command in ("fit", "validate"):
            done = shop.run(command, *LOSS, *flags)
            assert done.returncode == 0, done.stderr
            assert "batch norm" not in done.stderr
        scores.append(read_json(shop.run_folder / "metrics.json"))
        said.append({each.id: each.text for each in RecordFile(shop.run_folder / "predictions.jsonl", Prediction)})
        done = shop.run("fit", *LOSS, "--trainer.max_epochs", "4", "--ckpt_path", "last")
        assert done.returncode == 0, done.stderr
        logs.append(shop.log())
    for name, count in (("train/loss", 12 + 4), ("val/loss", 4), ("val/CIDEr", 4)):
        one, two = ([float(row[name]) for row in log if row.get(name)] for log in logs)
        assert len(one) == len(two) == count
        assert two == pytest.approx(one, rel=1e-4, abs=1e-5), name
    assert said[0] == said[1]
    assert scores[0]["scores"] == scores[1]["scores"]


def test_batch_norm_of_each_process_is_told(classifier_file: Path, dataset: Path, tmp_path: Path) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    learns = ("--data.cache", "null", f"--{ENCODER}.trainable_from", "features.12")
    done = shop.run("fit", *TWO, *learns, "--trainer.max_epochs", "1")
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stderr.splitlines() if "--trainer.sync_batchnorm true" in line]) == 1


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


def of_a_cluster(shop: Workshop, arguments: tuple[str, ...]) -> list[tuple[list[str], dict[str, str]]]:
    tasks = ({**SLURM, "SLURM_PROCID": number, "SLURM_LOCALID": number} for number in "01")
    return [(shop.command("fit", *arguments), task) for task in tasks]


def ended(launched: list[tuple[list[str], dict[str, str]]], folder: Path) -> list[int]:
    """Run all of these at once; their exit codes."""
    with ExitStack() as stack:
        running = [
            stack.enter_context(forked.Popen(command, cwd=folder, env={**os.environ, **environment}))
            for command, environment in launched
        ]
        return [each.wait() for each in running]


def of_torchrun(shop: Workshop, arguments: tuple[str, ...]) -> list[tuple[list[str], dict[str, str]]]:
    _, *command = shop.command("fit", *arguments)
    launch = ["--nproc-per-node", "2", "--master-port", str(free_port())]
    return [([sys.executable, "-m", "torch.distributed.run", *launch, *command], {})]


def of_two_machines(shop: Workshop, arguments: tuple[str, ...]) -> list[tuple[list[str], dict[str, str]]]:
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
        launched = started(shop, arguments) if folder.name == "theirs" else [(shop.command("fit", *arguments), {})]
        assert ended(launched, folder) == [0] * len(launched)
        logs.append([row["train/loss"] for row in shop.log() if row["train/loss"]])
    assert len(logs[0]) == 4 + 2  # of steps and of epochs
    assert logs[0] == logs[1]


def test_the_cache_is_built_once(classifier_file: Path, dataset: Path, tmp_path: Path) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    done = shop.run("fit", *TWO, "--trainer.max_epochs", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("features of train") == 1
    assert len(list((tmp_path / "cache").iterdir())) == 2


@contextmanager
def two_that_train(shop: Workshop, *more: str) -> Iterator[tuple[forked.Popen, int]]:
    """The first of two processes that train for ever, which has started the second, and that one's id."""
    first = forked.Popen(
        shop.command("fit", *TWO, "--trainer.max_epochs", "100000", "--early_stopping.patience", "100000", *more),
        cwd=shop.folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stderr=forked.PIPE,
        stdout=forked.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(shop.run_folder / "checkpoints" / "last.ckpt", first)
        children = subprocess.run(["pgrep", "-P", str(first.pid), "-f", "vlrnn"], capture_output=True, text=True)
        yield first, int(children.stdout)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)


def ends(process: int) -> None:
    """Wait until it has."""
    deadline = time.monotonic() + forked.PATIENCE
    while Path(f"/proc/{process}/stat").exists() and " Z " not in Path(f"/proc/{process}/stat").read_text():
        assert time.monotonic() < deadline, "the other rank hangs"
        time.sleep(0.2)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_dies_ends_the_others(rank: int, classifier_file: Path, dataset: Path, tmp_path: Path) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    with two_that_train(shop) as (first, second):
        os.kill((first.pid, second)[rank], signal.SIGKILL)
        _, told = first.communicate()
        ends(second)
    assert "Traceback" not in told
    assert "another process of this training has ended" in told


def test_a_job_that_is_to_end_leaves_its_last_checkpoint(classifier_file: Path, dataset: Path, tmp_path: Path) -> None:
    """And no other: Lightning's would lie within a step, and be taken for newer from then on."""
    shop = Workshop(tmp_path, classifier_file, dataset)
    forever = ("--trainer.max_epochs", "100000", "--early_stopping.patience", "100000")
    with ExitStack() as stack:
        tasks = [
            stack.enter_context(forked.Popen(command, cwd=tmp_path, env={**os.environ, **environment}))
            for command, environment in of_a_cluster(shop, (*TWO, *forever))
        ]
        wait_for(shop.run_folder / "checkpoints" / "last.ckpt", tasks[0])
        for task in tasks:
            task.send_signal(signal.SIGUSR1)
        assert [task.wait() for task in tasks] == [130, 130]
    assert {path.name for path in shop.run_folder.rglob("*.ckpt")} == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize(("rank", "number"), [(0, signal.SIGINT), (1, signal.SIGTERM)])
def test_where_one_is_asked_to_end_all_do(
    rank: int, number: signal.Signals, classifier_file: Path, dataset: Path, tmp_path: Path
) -> None:
    """At the same step, which one process that is interrupted cannot choose alone: the others wait for it."""
    shop = Workshop(tmp_path, classifier_file, dataset)
    with two_that_train(shop) as (first, second):
        os.kill((first.pid, second)[rank], number)
        _, told = first.communicate()
        ends(second)
    assert first.returncode == 130
    assert "Traceback" not in told
    assert "to go on: vlrnn fit" in told
    last = torch.load(shop.run_folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] > 0
    assert "between_steps" in last


@pytest.mark.slow
@pytest.mark.parametrize("started", ["by Lightning", of_a_cluster, of_two_machines])
def test_where_the_first_may_not_have_the_folder_all_end(
    started: Any, classifier_file: Path, dataset: Path, tmp_path: Path
) -> None:
    shop = Workshop(tmp_path, classifier_file, dataset)
    launched = [(shop.command("fit", *TWO), {})] if isinstance(started, str) else started(shop, TWO)
    with alone(shop.run_folder, pytest.fail), ExitStack() as stack:
        running = [
            stack.enter_context(
                forked.Popen(command, cwd=tmp_path, stderr=forked.PIPE, env={**os.environ, **environment})
            )
            for command, environment in launched
        ]
        said = [each.communicate()[1] for each in running]
    assert [each.returncode for each in running] == [2] * len(running)
    assert all("another vlrnn fit trains in it" in each for each in said)
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
    assert "training is at its end" in done.stderr
    assert (tmp_path / "run.old-1" / "checkpoints" / "best.ckpt").is_file()
    assert (shop.run_folder / "checkpoints" / "best.ckpt").is_file()
