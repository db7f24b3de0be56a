"""Weights in files: damage is found, odd tensors and absurd sizes are refused, whichever way they were written."""

import copy
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from conftest import Checkpoints
from pytorch_lightning.callbacks import EMAWeightAveraging, StochasticWeightAveraging
from quick import quick
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

from vlrnn.data.batches import Batch
from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.nn.attention import SoftAttention
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.nn.recurrent.rnn import LSTM
from vlrnn.nn.weights import digest
from vlrnn.tasks.captioning import Captioner
from vlrnn.text.vocabulary import Vocabulary
from vlrnn.training.checkpoint import load_task, read_checkpoint, save_pretrained

WORDS = Vocabulary(list("abcdefgh"))
RECURRENCE = ("decoder", "recurrence")
FORMS = ["file", "folder"]


def captioner() -> Captioner:
    torch.manual_seed(0)
    decoder = ShowAttendTell(LSTM(6, num_layers=2), SoftAttention(4), embedding_dim=5, region_dim=7)
    return Captioner(WORDS, BlindEncoder(), decoder)


class Saved(NamedTuple):
    """A checkpoint, as a file or a folder, that can be changed."""

    path: Path

    def change(
        self, weights: Callable[[dict[str, Any]], None] | None = None, about: Callable[[Any], None] | None = None
    ) -> None:
        """Change weights, which leaves their digest as it was, or the description."""
        if self.path.is_file():
            found = torch.load(self.path, weights_only=True)
            (weights or bool)(found["state_dict"])
            (about or bool)(found["vlrnn"])
            torch.save(found, self.path)
            return
        config, file = self.path / "config.json", self.path / "model.safetensors"
        if about is not None:
            described = json.loads(config.read_text())
            about(described)
            config.write_text(json.dumps(described))
        if weights is not None:
            with safe_open(file, "pt") as opened:
                held, metadata = {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118
            weights(held)
            save_file({name: each.contiguous().clone() for name, each in held.items()}, file, metadata)

    def forge(self, weights: Callable[[dict[str, Any]], None]) -> None:
        """Change weights, and their digest with them where they have one."""
        found = torch.load(self.path, weights_only=True)
        weights(found["state_dict"])
        with suppress(Exception):  # of what has no bytes
            found["vlrnn"]["digest"] = digest(found["state_dict"])
        torch.save(found, self.path)

    def refused(self, word: str) -> str:
        with pytest.raises(UserError, match=word) as error:
            load_task(self.path, Captioner)
        assert str(error.value).startswith(str(self.path))
        assert "\n" not in str(error.value)
        return str(error.value)


def trainer(folder: Path, **more: Any) -> pl.Trainer:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    return pl.Trainer(**{**quiet, "accelerator": "cpu", "max_epochs": 3, "default_root_dir": folder, **more})


def batches() -> DataLoader[Any]:
    tokens = torch.tensor([[1, 4, 5, 2], [1, 6, 2, 0]])
    examples = tuple(Example(name, name, f"{name}.png", ("a b",)) for name in "ab")
    return DataLoader([Batch(None, torch.zeros(2, 1, 1), tokens, torch.arange(2), examples)] * 2, batch_size=None)


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, task = tmp_path_factory.mktemp("saved"), captioner()
    made = trainer(folder, max_epochs=1)
    made.fit(task, batches())
    made.save_checkpoint(folder / "model.ckpt")
    save_pretrained(task, folder / "model")
    return {"file": folder / "model.ckpt", "folder": folder / "model"}


@pytest.fixture(params=FORMS)
def saved(request: pytest.FixtureRequest, originals: dict[str, Path], tmp_path: Path) -> Saved:
    path = originals[request.param]
    (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    return Saved(tmp_path / path.name)


@pytest.fixture
def file(originals: dict[str, Path], tmp_path: Path) -> Saved:
    return Saved(Path(shutil.copy(originals["file"], tmp_path / "model.ckpt")))


# Damage.


def test_a_byte_that_changes_is_found_or_changes_nothing(saved: Saved) -> None:
    """Wherever it is; some bytes of an archive, its padding, stand for nothing."""
    whole = load_task(saved.path, Captioner).state_dict()
    place = saved.path if saved.path.is_file() else saved.path / "model.safetensors"
    content = place.read_bytes()
    found = 0
    for at in range(0, len(content), len(content) // 150):
        place.write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :])
        try:
            again = load_task(saved.path, Captioner).state_dict()
        except UserError:
            found += 1
        else:
            assert all(torch.equal(again[name], whole[name]) for name in whole), at
    assert found > 50


def test_what_is_cut_off_is_reported_to_be_incomplete(saved: Saved) -> None:
    """Wherever it is cut, at either end."""
    place = saved.path if saved.path.is_file() else saved.path / "model.safetensors"
    content = place.read_bytes()
    places = range(1, len(content), len(content) // 25)
    cut = [each for at in places for each in (content[:at], content[at:])]
    for each in (*cut, content[:-1], b"", bytes(100)):
        place.write_bytes(each)
        saved.refused("damaged or incomplete")


def test_damage_of_the_metadata_of_an_archive_is_reported_as_such(file: Saved) -> None:
    """At its end, where it says where its parts are: not as a file that cannot be read."""
    content = file.path.read_bytes()
    printed = []
    for at in range(len(content) - 100, len(content)):
        file.path.write_bytes(content[:at] + bytes([content[at] ^ 128]) + content[at + 1 :])
        try:
            load_task(file.path, Captioner)
        except UserError as fault:
            printed.append(str(fault))
    assert len(printed) > 20
    assert all("damaged" in each for each in printed)


def test_a_weight_that_changes_on_the_disk_is_reported(saved: Saved) -> None:
    place = saved.path if saved.path.is_file() else saved.path / "model.safetensors"
    content = place.read_bytes()
    values = load_task(saved.path, Captioner).state_dict()["decoder.score.weight"].numpy().tobytes()
    at = content.index(values) + len(values) // 2
    place.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    assert "another copy" in saved.refused("damaged")


def exchange(weights: dict[str, Tensor]) -> None:
    one, other = "decoder.recurrence.kernel.weight_hh_l0", "decoder.recurrence.kernel.weight_hh_l1"
    weights[one], weights[other] = weights[other], weights[one]


CHANGES: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    "a number": lambda weights: weights["decoder.score.bias"][0].add_(1e-3),
    "names": exchange,
    "a type": lambda weights: weights.update({"decoder.score.bias": weights["decoder.score.bias"].bfloat16()}),
    "a shape": lambda weights: weights.update({"decoder.score.weight": weights["decoder.score.weight"].t()}),
    "one less": lambda weights: weights.pop("decoder.score.bias"),
    "one more": lambda weights: weights.update(surplus=torch.zeros(1)),
    "none left": lambda weights: weights.clear(),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_other_weights_than_were_saved_are_refused(saved: Saved, change: str) -> None:
    """An archive written anew has checksums of its own."""
    saved.change(CHANGES[change])
    saved.refused("digest")


def test_none_without_a_digest(saved: Saved) -> None:
    if saved.path.is_file():
        saved.change(about=lambda about: about.pop("digest"))
    else:
        with safe_open(saved.path / "model.safetensors", "pt") as opened:
            weights = {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
        save_file(weights, saved.path / "model.safetensors", {"format": "pt"})
    assert "train again" in saved.refused("no digest")


def test_an_archive_that_is_packed_is_refused(file: Saved) -> None:
    with zipfile.ZipFile(file.path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(file.path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    file.refused("larger than the file")


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/zero", path), Path.mkdir])
def test_what_is_no_file_is_refused_unread(make: Callable[[Path], None], tmp_path: Path) -> None:
    """To open a pipe would wait for ever, and a device has no end."""
    make(path := tmp_path / "model.ckpt")
    with pytest.raises(UserError, match=r"not a regular file|not a model folder"):
        load_task(path, Captioner)


# All that write.


class Averaged(EMAWeightAveraging):
    def __init__(self) -> None:
        super().__init__(decay=0.5)


WRITERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "averaged by step": {"callbacks": [Averaged]},
    "averaged by epoch": {"callbacks": [lambda: StochasticWeightAveraging(0.1, swa_epoch_start=1)]},
    "bfloat16": {"precision": "bf16-true"},
    "double": {"precision": "64-true"},
}


@pytest.mark.parametrize("weights_only", [False, True])
@pytest.mark.parametrize("writer", list(WRITERS))
@pytest.mark.filterwarnings("ignore")
def test_the_digest_is_of_what_is_written(writer: str, weights_only: bool, tmp_path: Path) -> None:
    more = dict(WRITERS[writer])
    callbacks = [each() for each in more.pop("callbacks", ())]
    task, made = captioner(), trainer(tmp_path, callbacks=callbacks, **more)
    made.fit(task, batches())
    made.save_checkpoint(tmp_path / "model.ckpt", weights_only)
    found = read_checkpoint(tmp_path / "model.ckpt")
    assert found["vlrnn"]["digest"] == digest(found["state_dict"])
    again = load_task(tmp_path / "model.ckpt", Captioner).state_dict()
    for name, each in found["state_dict"].items():
        assert again[name].dtype in (torch.float32, torch.int64)
        torch.testing.assert_close(again[name], each.to(again[name].dtype), rtol=0, atol=0)


def test_the_layout_in_memory_is_no_matter() -> None:
    weights = {"a": torch.rand(2, 3, 4, 5), "b": torch.tensor(1), "c": torch.zeros(0, 2)}
    other = {name: weights[name] for name in "cb"} | {"a": weights["a"].to(memory_format=torch.channels_last)}
    assert digest(weights) == digest(other)
    assert digest(weights) != digest(weights | {"c": torch.zeros(2, 0)})


# What no weights are, by whoever knows how to write a digest.

ODD: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "integers": (lambda each: each.long(), "int64"),
    "booleans": (lambda each: each.bool(), "bool"),
    "bytes": (lambda each: each.byte(), "uint8"),
    "complex": (lambda each: each.to(torch.complex64), "complex64"),
    "eight bits": (lambda each: each.to(torch.float8_e4m3fn), "float8"),
    "expanded": (lambda each: each[:1].expand(each.shape), "expanded"),
    "expanded without end": (lambda each: each[0].expand(10**7, 10**7), "expanded"),
    "sparse": (lambda each: each.to_sparse(), "sparse"),
    "sparse rows": (lambda each: each.expand(2, -1).to_sparse_csr(), "sparse"),
    "meta": (lambda each: each.to("meta"), "meta"),
    "quantised": (lambda each: torch.quantize_per_tensor(each, 0.1, 0, torch.qint8), "quantised"),
    "not a number": (lambda each: each.fill_(torch.nan), "not all finite"),
    "infinite as float32": (lambda each: each.double() + 1e300, "not all finite"),
    "no tensor": (lambda each: each.tolist(), "something other than weights"),
    "of another shape": (lambda each: each[:, None].clone(), "do not match"),
}


@pytest.mark.parametrize("kind", list(ODD))
@pytest.mark.filterwarnings("ignore")
def test_odd_weights_are_refused(file: Saved, kind: str) -> None:
    make, word = ODD[kind]
    file.forge(lambda weights: weights.update({"decoder.score.bias": make(weights["decoder.score.bias"])}))
    file.refused(word)


def test_weights_that_share_their_memory_are_refused(file: Saved) -> None:
    """A small file may stand for much."""
    file.forge(lambda weights: weights.update({str(each): weights["decoder.score.weight"] for each in range(100)}))
    file.refused("share memory")


def test_other_precisions_are_taken(file: Saved) -> None:
    whole = load_task(file.path, Captioner).state_dict()["decoder.score.bias"]
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        file.forge(lambda weights: weights.update({"decoder.score.bias": whole.to(dtype)}))  # noqa: B023
        found = load_task(file.path, Captioner).state_dict()["decoder.score.bias"]
        assert torch.equal(found, whole.to(dtype).float())


# Descriptions.


def inner(about: Any, *path: str) -> dict[str, Any]:
    """The arguments of a part within a description of a captioner."""
    found: dict[str, Any] = about["task"]["arguments"]
    for name in path:
        found = found[name]["arguments"]
    return found


def within_itself(about: Any) -> None:
    decoder = inner(about)["decoder"]
    decoder["arguments"]["recurrence"] = decoder


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


FORGED: dict[str, tuple[Callable[[Any], None], str]] = {
    "within itself": (within_itself, "contains itself"),
    "twice": (lambda about: about.update(more=[about["task"]] * 2), "twice"),
    "no number": (lambda about: inner(about, *RECURRENCE).update(dropout=float("nan")), "holds nan"),
    "without end": (lambda about: inner(about, "generation").update(length_penalty=float("inf")), "holds inf"),
    "deep": (lambda about: about.update(more=nested(150)), "nested too deeply"),
    "a tuple": (lambda about: about.update(more=(1, 2)), "holds"),
    "a tensor": (lambda about: about.update(more=torch.zeros(1)), "holds"),
}


@pytest.mark.parametrize("kind", list(FORGED))
def test_descriptions_that_are_no_trees_of_plain_values(file: Saved, kind: str) -> None:
    change, word = FORGED[kind]
    file.change(about=change)
    file.refused(word)


class Largest(TorchDispatchMode):
    """Notes the memory of the largest tensor that is made on the CPU."""

    bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        for each in tree_leaves(found):
            if isinstance(each, Tensor) and each.device.type == "cpu" and each.layout == torch.strided:
                self.bytes = max(self.bytes, each.untyped_storage().nbytes())
        return found


@pytest.fixture
def memory() -> Iterator[None]:
    with Largest() as largest:
        yield
    assert largest.bytes < 2**20


ABSURD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "hidden units": lambda arguments: arguments["decoder"]["arguments"]["recurrence"]["arguments"].update(
        hidden_size=20_000
    ),
    "hidden units without end": lambda arguments: inner({"task": {"arguments": arguments}}, *RECURRENCE).update(
        hidden_size=10**9
    ),
    "layers": lambda arguments: inner({"task": {"arguments": arguments}}, *RECURRENCE).update(num_layers=10**9),
    "layers of another kind": lambda arguments: arguments["decoder"]["arguments"].update(
        recurrence={
            "class": "vlrnn.nn.ResidualStack",
            "arguments": {"recurrence": arguments["decoder"]["arguments"]["recurrence"], "num_layers": 10**9},
        }
    ),
    "embedding": lambda arguments: arguments["decoder"]["arguments"].update(embedding_dim=10**9),
    "attention": lambda arguments: inner({"task": {"arguments": arguments}}, "decoder", "attention").update(
        attention_dim=10**12
    ),
    "regions": lambda arguments: arguments["decoder"]["arguments"].update(region_dim=10**8),
    "words": lambda arguments: arguments["vocabulary"]["arguments"].update(words=[str(n) for n in range(50_000)]),
    "frequencies": lambda arguments: arguments["decoder"]["arguments"].update(position_frequencies=10**9),
}


@pytest.mark.parametrize("kind", quick(ABSURD, *list(ABSURD)[::4]))
def test_absurd_sizes_are_refused_before_memory_is_requested(saved: Saved, kind: str, memory: None) -> None:
    saved.change(about=lambda about: ABSURD[kind](about["task"]["arguments"]))
    saved.refused("do not match|cannot build")


@pytest.mark.parametrize("size", quick([8192, 10**9, -1], 10**9))
def test_absurd_images_are_refused_before_memory_is_requested(
    checkpoints: Checkpoints, size: int, tmp_path: Path, memory: None
) -> None:
    path = shutil.copytree(checkpoints.plain, tmp_path / "model")
    Saved(path).change(about=lambda about: inner(about, "encoder").update(image_size=size))
    Saved(path).refused("image_size must be")


def test_what_is_described_is_not_built_without_its_weights(
    file: Saved, originals: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The law behind them all: what is built first is built without memory, and the model itself when all fits."""
    devices: list[str] = []
    build = nn.Linear.__init__

    def noted(self: nn.Linear, *args: Any, **more: Any) -> None:
        build(self, *args, **more)
        devices.append(self.weight.device.type)

    monkeypatch.setattr(nn.Linear, "__init__", noted)
    load_task(file.path, Captioner)
    first = devices.count("meta")
    assert devices == ["meta"] * first + ["cpu"] * (len(devices) - first)
    devices.clear()
    file.change(about=lambda about: inner(about, *RECURRENCE).update(hidden_size=7))
    file.refused("do not match")
    assert set(devices) == {"meta"}


def test_a_copy_of_a_checkpoint_is_the_checkpoint(saved: Saved) -> None:
    """Changing nothing is no damage."""
    before = load_task(saved.path, Captioner)
    saved.change(weights=lambda weights: None, about=lambda about: copy.deepcopy(about))
    after = load_task(saved.path, Captioner)
    assert digest(before.state_dict()) == digest(after.state_dict())
