"""The captioner as a whole: it learns, sums up its losses rightly, and a saved one answers the same elsewhere."""

import json
import pickle
import shutil
import warnings
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from every_cell import KINDS
from quick import quick
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader

from vlrnn.config import to_config
from vlrnn.data.batches import Batch, Item, collate
from vlrnn.data.images import open_image, pixels
from vlrnn.data.records import AttentionMaps, Example, Prediction, RecordFile, open_split
from vlrnn.errors import UserError
from vlrnn.generation.search import GenerationConfig
from vlrnn.nn.attention import SoftAttention
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.encoders.torchvision_cnn import TorchvisionEncoder
from vlrnn.nn.recurrent.rnn import LSTM
from vlrnn.nn.weights import digest
from vlrnn.tasks.captioning import Captioner
from vlrnn.text.ptb_tokenizer import tokenize
from vlrnn.text.vocabulary import BOS, EOS, Vocabulary
from vlrnn.training.checkpoint import load_task, save_pretrained
from vlrnn.training.module import Task
from vlrnn.training.objectives.base import CrossEntropy
from vlrnn.training.optimization import Optimization

CLASSIFIER = "mobilenet_v3_small"
FAST = Optimization(lr=1e-2, weight_decay=0.0, warmup_fraction=0.1)


def examples_of(dataset: Path) -> tuple[list[Example], Vocabulary]:
    examples = list(open_split(dataset, "train"))
    return examples, Vocabulary.count(tokenize(caption) for each in examples for caption in each.captions)


def items_of(dataset: Path, examples: list[Example], vocabulary: Vocabulary, size: int = 64) -> list[Item]:
    return [
        Item(
            (example,),
            torch.from_numpy(pixels(open_image(dataset / example.image), size)),
            None,
            [[BOS, *vocabulary.encode(tokenize(caption)), EOS] for caption in example.captions],
        )
        for example in examples
    ]


def attending(dropout: float = 0.0) -> Decoder:
    return ShowAttendTell(LSTM(32), SoftAttention(16), embedding_dim=24, dropout=dropout, region_dim=32)


def make(vocabulary: Vocabulary, weights: Path, decoder: Decoder | None = None, **more: Any) -> Captioner:
    torch.manual_seed(0)
    encoder = TorchvisionEncoder(CLASSIFIER, str(weights), finetune_from=more.pop("finetune_from", None))
    return Captioner(vocabulary, encoder, decoder or attending(), GenerationConfig(max_new_tokens=12), **more)


def train(task: Captioner, loader: DataLoader[Batch], folder: Path, **more: Any) -> pl.Trainer:
    settings: dict[str, Any] = {"max_epochs": 1, "accelerator": "cpu", "gradient_clip_val": 5.0, **more}
    quiet = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(default_root_dir=folder, **{**quiet, **settings})
        trainer.fit(task, loader)
    return trainer


DECODERS: dict[str, Callable[[], Decoder]] = {
    "show-attend-tell": attending,
    **{name: lambda make=make: ShowAndTell(make(32), embedding_dim=24, dropout=0.0) for name, make in KINDS.items()},
}


@pytest.mark.parametrize("kind", quick(DECODERS, "show-attend-tell"))
def test_eight_examples_memorized(dataset: Path, classifier_file: Path, tmp_path: Path, kind: str) -> None:
    examples, vocabulary = examples_of(dataset)
    examples = [Example(each.id, each.image_id, each.image, each.captions[:1]) for each in examples]
    task = make(vocabulary, classifier_file, DECODERS[kind](), optimization=FAST)
    batch = collate(items_of(dataset, examples, vocabulary))
    regions = torch.randn(8, task.encoder.num_regions, task.encoder.feature_dim).half()  # as the feature cache has them
    batch = batch._replace(images=None, regions=regions)
    loader = DataLoader([batch] * 400, batch_size=None)
    train(task, loader, tmp_path)
    task.eval()
    for beams in (1, 3):
        sentences = task.decode(task.encode_images(batch), GenerationConfig(num_beams=beams, max_new_tokens=12))
        for example, (best, *_) in zip(examples, sentences, strict=True):
            assert best.tokens == tuple(tokenize(example.captions[0]))
            assert len(best.log_probs) == len(best.tokens) + 1
            assert best.score == pytest.approx(sum(best.log_probs) / len(best.log_probs), abs=1e-4)
            assert best.score > -0.2
    save_pretrained(task, tmp_path / "saved")
    again = load_task(tmp_path / "saved", Captioner).decode(
        task.encode_images(batch), GenerationConfig(num_beams=3, max_new_tokens=12)
    )
    assert [best.tokens for best, *_ in again] == [best.tokens for best, *_ in sentences]
    predictions = {each.id: each for each in task.predict(batch)}
    scores = task.score(predictions, {example.id: example for example in examples})["scores"]
    assert scores["Bleu_4"]["value"] == pytest.approx(1.0)


# One process, accumulation, several processes: the same numbers.


def uneven(dataset: Path, vocabulary: Vocabulary) -> list[Item]:
    """Items whose captions differ in number and length, so that a mean of means would be another mean."""
    items = items_of(dataset, examples_of(dataset)[0], vocabulary)
    return [
        item._replace(rows=[row[: 3 + index] for row in item.rows[: 1 + index % 2]]) for index, item in enumerate(items)
    ]


def parameters(task: Captioner) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in task.named_parameters()}


def stepped(task: Captioner, loader: DataLoader[Batch], folder: Path, **more: Any) -> dict[str, Tensor]:
    """The parameters after training, by plain SGD: AdamW would hide a wrong scale of the gradient."""
    task.configure_optimizers = lambda: torch.optim.SGD(  # type: ignore[method-assign]
        [each for each in task.parameters() if each.requires_grad], lr=0.5
    )
    train(task, loader, folder, **more)
    return parameters(task)


@pytest.mark.parametrize(
    ("finetune_from", "clip"), quick(product([None, "features.12"], [None, 0.1]), ("features.12", 0.1))
)
def test_accumulated_parts_are_the_batch(
    dataset: Path, classifier_file: Path, tmp_path: Path, clip: float | None, finetune_from: str | None
) -> None:
    _, vocabulary = examples_of(dataset)
    items = uneven(dataset, vocabulary)
    loss = CrossEntropy(label_smoothing=0.1, doubly_stochastic_weight=1.0)

    def run(batches: int) -> dict[str, Tensor]:
        task = make(vocabulary, classifier_file, objective=loss, finetune_from=finetune_from)
        task.encoder.train = lambda mode=True: task.encoder  # type: ignore[method-assign] # no batch norm over halves
        for module in task.encoder.modules():
            module.training = False
        loader = DataLoader(items, batch_size=8 // batches, collate_fn=collate)
        return stepped(task, loader, tmp_path, max_epochs=2, accumulate_grad_batches=batches, gradient_clip_val=clip)

    start = parameters(make(vocabulary, classifier_file, objective=loss, finetune_from=finetune_from))
    whole = run(1)
    changed = [name for name in whole if not torch.equal(whole[name], start[name])]
    assert any("decoder" in name for name in changed)
    assert any("encoder" in name for name in changed) == (finetune_from is not None)
    for batches in (2, 4):
        for name, parameter in run(batches).items():
            torch.testing.assert_close(parameter, whole[name], rtol=1e-4, atol=1e-5, msg=name)


def test_the_gradient_is_of_the_mean_over_words(dataset: Path, classifier_file: Path, tmp_path: Path) -> None:
    _, vocabulary = examples_of(dataset)
    batch = collate(uneven(dataset, vocabulary))
    task = make(vocabulary, classifier_file)
    before = parameters(task)
    loss = task.loss(batch)
    (loss.total / loss.count).backward()
    expected = {name: each.grad.clone() for name, each in task.named_parameters() if each.grad is not None}
    task.zero_grad()
    after = stepped(task, DataLoader([batch], batch_size=None), tmp_path, gradient_clip_val=None)
    for name, gradient in expected.items():
        torch.testing.assert_close(after[name], before[name] - 0.5 * gradient, rtol=1e-4, atol=1e-6)


def test_a_batch_without_captions_does_no_harm(dataset: Path, classifier_file: Path) -> None:
    examples, vocabulary = examples_of(dataset)
    batch = collate([item._replace(rows=[]) for item in items_of(dataset, examples[:2], vocabulary)])
    loss = make(vocabulary, classifier_file).loss(batch)
    assert loss.total == 0
    assert loss.count == 0


def test_a_batch_of_float_images_is_refused(checkpoints: Any, dataset: Path) -> None:
    """Whatever is asked of the task."""
    task = load_task(checkpoints.plain, Captioner)
    batch = collate(items_of(dataset, list(open_split(dataset, "val")), task.vocabulary))
    assert batch.images is not None
    batch = batch._replace(images=batch.images / 255)
    for work in (task.loss, task.predict, task.encode_images, task.with_features):
        with pytest.raises(UserError, match="uint8 tensors"):
            work(batch)


class Plain(Captioner):
    """Moved by plain SGD, as `stepped` does, in whatever process."""

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD([each for each in self.parameters() if each.requires_grad], lr=0.5)


def test_two_processes_are_one(dataset: Path, classifier_file: Path, tmp_path: Path) -> None:
    """The same parameters after some steps, and the same scores, though one rank has an example more than the other."""
    _, vocabulary = examples_of(dataset)
    items = uneven(dataset, vocabulary)
    tested = items_of(dataset, [*open_split(dataset, "val"), *open_split(dataset, "test")][:3], vocabulary)
    outcomes = []
    for devices in (1, 2):
        torch.manual_seed(0)
        decoding, loss = (
            GenerationConfig(max_new_tokens=6),
            CrossEntropy(label_smoothing=0.1, doubly_stochastic_weight=1.0),
        )
        task = Plain(vocabulary, TorchvisionEncoder(CLASSIFIER, str(classifier_file)), attending(), decoding, loss)
        # All examples make one step: Lightning deals them out to the ranks at random.
        loader = DataLoader(items, batch_size=8 // devices, collate_fn=collate)
        folder = tmp_path / str(devices)
        strategy = "ddp_fork" if devices > 1 else "auto"
        trainer = train(task, loader, folder, max_epochs=4, devices=devices, strategy=strategy, gradient_clip_val=0.5)
        assert trainer.global_step == 4 or devices > 1  # whose steps other processes took
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.test(task, DataLoader(tested, batch_size=1, collate_fn=collate), verbose=False)
        outcomes.append((parameters(task), folder))
    (one, alone), (two, together) = outcomes
    for name, parameter in one.items():
        torch.testing.assert_close(two[name], parameter, rtol=1e-4, atol=1e-5, msg=name)
    scores = [json.loads((folder / "metrics.json").read_text()) for folder in (alone, together)]
    assert all(scores[0][part] == scores[1][part] for part in ("scores", "settings"))
    predictions = [list(RecordFile(folder / "predictions.jsonl", Prediction)) for folder in (alone, together)]
    assert len(predictions[0]) == 3
    assert [(each.id, each.text) for each in predictions[0]] == [(each.id, each.text) for each in predictions[1]]
    maps = [list(RecordFile(folder / "attention.jsonl", AttentionMaps)) for folder in (alone, together)]
    assert [each.id for each in maps[0]] == [each.id for each in maps[1]] == [each.id for each in predictions[0]]


# Saved and loaded.


@pytest.fixture(scope="module")
def trained(dataset: Path, classifier_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Captioner, Path]:
    """A captioner whose encoder has learnt too, and a folder with both forms of it; its weights file is gone."""
    folder = tmp_path_factory.mktemp("trained")
    weights = folder / "gone.safetensors"
    weights.write_bytes(classifier_file.read_bytes())
    examples, vocabulary = examples_of(dataset)
    task = make(vocabulary, weights, finetune_from="features.12", optimization=FAST)
    loader = DataLoader(items_of(dataset, examples, vocabulary), batch_size=4, collate_fn=collate)
    trainer = train(task, loader, folder / "run", max_epochs=3, enable_checkpointing=True)
    weights.unlink()
    trainer.save_checkpoint(folder / "saved" / "model.ckpt")
    save_pretrained(task, folder / "saved" / "folder")
    return task, folder / "saved"


@pytest.fixture
def saved(trained: tuple[Captioner, Path], tmp_path: Path) -> tuple[Captioner, dict[str, Path]]:
    task, folder = trained
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    return task, {"file": elsewhere / "model.ckpt", "folder": elsewhere / "folder"}


def test_a_saved_model_answers_the_same(
    saved: tuple[Captioner, dict[str, Path]], dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, paths = saved
    task.eval()
    monkeypatch.chdir(tmp_path / "elsewhere")
    batch = collate(items_of(dataset, list(open_split(dataset, "test")), task.vocabulary))
    for path in paths.values():
        again = load_task(path, Captioner)
        assert not again.training
        assert to_config(again) == to_config(task)
        assert again.state_dict().keys() == task.state_dict().keys()
        for name, tensor in again.state_dict().items():
            assert torch.equal(tensor, task.state_dict()[name]), name
        assert again.predict(batch) == task.predict(batch)
        assert load_task(path, Task).generation == task.generation


def test_a_loaded_model_can_be_saved_again(saved: tuple[Captioner, dict[str, Path]], tmp_path: Path) -> None:
    _, paths = saved
    save_pretrained(load_task(paths["file"], Captioner), tmp_path / "again")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (paths["folder"] / name).read_bytes()


def edited(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The checkpoint with its description changed."""
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    if checkpoint["vlrnn"]:
        checkpoint["vlrnn"]["digest"] = digest(checkpoint["state_dict"])
    torch.save(checkpoint, path)
    return path


class Dangerous:
    """Would write a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.path)!r}, 'w')",))


def test_files_that_are_no_checkpoints(saved: tuple[Captioner, dict[str, Path]], tmp_path: Path) -> None:
    path = saved[1]["file"]
    content, ran = path.read_bytes(), tmp_path / "ran"

    def refused(bad: Path, word: str = "") -> None:
        with warnings.catch_warnings(action="error"), pytest.raises(UserError) as error:
            load_task(bad, Captioner)
        assert str(bad) in str(error.value)
        assert word in str(error.value)
        assert "\n" not in str(error.value)
        assert not ran.exists()

    refused(tmp_path / "absent.ckpt", "no such file")
    for name, bytes_ in {
        "empty": b"",
        "text": b"this is no checkpoint\n",
        "half": content[: len(content) // 2],
        "short": content[:-100],
        "pickle": pickle.dumps(Dangerous(ran)),
        "old": pickle.dumps(Dangerous(ran), protocol=2),
    }.items():
        (tmp_path / name).write_bytes(bytes_)
        refused(tmp_path / name)
    torch.save({"state_dict": {}, "vlrnn": Dangerous(ran)}, tmp_path / "zip")
    refused(tmp_path / "zip", "refused")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other")
    refused(tmp_path / "other", "no description")
    torch.save([1], tmp_path / "list")
    refused(tmp_path / "list")
    torch.save({"state_dict": 3, "vlrnn": {"format": 2, "task": to_config(saved[0])}}, tmp_path / "number")
    refused(tmp_path / "number")


def set_in(checkpoint: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        checkpoint = checkpoint[key]
    checkpoint[keys[-1]] = value


TASK = ["vlrnn", "task"]
LSTM_HERE = [*TASK, "arguments", "decoder", "arguments", "recurrence"]


FORGED = [
    (["vlrnn"], None),
    (["vlrnn", "format"], 99),
    (TASK, None),
    ([*TASK, "class"], "os.system"),
    ([*TASK, "class"], "vlrnn.cli.main"),
    ([*TASK, "class"], "vlrnn.training.Task"),
    ([*TASK, "class"], "vlrnn.nn.TorchvisionEncoder"),
    ([*LSTM_HERE, "class"], "subprocess.Popen"),
    ([*LSTM_HERE, "class"], "vlrnn.nn.SoftAttention"),
    ([*LSTM_HERE, "class"], "vlrnn.nn.Recurrence"),
    ([*LSTM_HERE, "class"], "vlrnn.nn.GRU"),
    ([*LSTM_HERE, "arguments", "hidden_size"], 33),
    ([*LSTM_HERE, "arguments", "hidden_size"], "wide"),
    ([*LSTM_HERE, "arguments", "command"], "ls"),
    (LSTM_HERE, 3),
    ([*TASK, "arguments", "encoder", "arguments", "name"], "os.system"),
    ([*TASK, "arguments", "encoder", "arguments", "weights"], "/etc/passwd"),
    ([*TASK, "arguments", "encoder", "arguments", "weights"], "IMAGENET1K_V1"),
    ([*TASK, "arguments", "encoder", "arguments", "mean"], "abc"),
    ([*TASK, "arguments", "vocabulary", "arguments", "words"], ["a"]),
    ([*TASK, "arguments", "vocabulary", "arguments", "words"], [1, "a"]),
    ([*TASK, "arguments", "generation", "arguments", "num_beams"], 0),
    ([*TASK, "arguments", "generation", "arguments", "num_beams"], 1.5),
    ([*TASK, "arguments", "generation", "arguments", "max_new_tokens"], True),
    (["state_dict"], {}),
    (["state_dict", "extra"], torch.zeros(1)),
]


def test_forged_checkpoints_are_refused(
    subtests: pytest.Subtests, saved: tuple[Captioner, dict[str, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:

    def no_download(*_: Any, **__: Any) -> None:
        raise AssertionError("loading never downloads")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", no_download)
    path = saved[1]["file"]
    whole = path.read_bytes()
    for keys, value in FORGED:
        with subtests.test(keys=keys, value=value):
            path.write_bytes(whole)
            edited(path, partial(set_in, keys=keys, value=value))
            with pytest.raises(UserError) as error:
                load_task(path, Captioner)
            assert str(error.value).startswith(f"{path}: ")
            assert "\n" not in str(error.value)
            assert "never downloads" not in str(error.value)


def test_folders_that_are_no_models(saved: tuple[Captioner, dict[str, Path]], tmp_path: Path) -> None:
    folder = saved[1]["folder"]
    config, weights = (folder / "config.json").read_text(), load_file(folder / "model.safetensors")
    weights = {name: each.clone() for name, each in weights.items()}  # they lie in the file, which is written over

    def refused(word: str) -> None:
        with pytest.raises(UserError, match=word) as error:
            load_task(folder, Captioner)
        assert "\n" not in str(error.value)

    (folder / "config.json").write_text("{")
    refused("not JSON")
    (folder / "config.json").write_text("[]")
    refused("not a checkpoint")
    (folder / "config.json").write_text(config.replace("vlrnn.nn.LSTM", "os.path.LSTM"))
    refused("refused")
    (folder / "config.json").write_text(json.dumps({"format": 1, "task": {}}))
    refused("format 1.*train the model again")
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes(b"nothing")
    refused("safetensors")
    less = {name: each for name, each in weights.items() if "score" not in name}
    save_file(less, folder / "model.safetensors", {"digest": digest(less)})
    refused("do not match")
    (folder / "model.safetensors").unlink()
    refused("no model.safetensors")
    with pytest.raises(UserError, match=r"no config\.json"):
        load_task(tmp_path, Captioner)


# Speaking.


def test_generation_does_not_depend_on_the_batch(dataset: Path, classifier_file: Path) -> None:
    examples, vocabulary = examples_of(dataset)
    task = make(vocabulary, classifier_file).eval()
    batch = collate(items_of(dataset, examples, vocabulary))
    settings = GenerationConfig(num_beams=3, num_return_sequences=3, max_new_tokens=8)
    together = task.decode(task.encode_images(batch), settings)
    assert all(len(each) == 3 for each in together)
    context = task.encode_images(batch)
    for index in range(len(examples)):
        alone = task.decode(Context(*(each[[index]] if each is not None else None for each in context)), settings)[0]
        for one, other in zip(alone, together[index], strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4)
            if len({round(each.score, 4) for each in alone}) == 3:
                assert one.tokens == other.tokens
                assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_caption_is_decoded_once(
    beams: int, dataset: Path, classifier_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step for each word of the longest hypothesis, and no pass over finished captions."""
    examples, vocabulary = examples_of(dataset)
    task = make(vocabulary, classifier_file).eval()
    batch, steps = collate(items_of(dataset, examples[:3], vocabulary)), []
    step = ShowAttendTell.step
    monkeypatch.setattr(ShowAttendTell, "step", lambda *arguments: (steps.append(1), step(*arguments))[1])
    monkeypatch.setattr(ShowAttendTell, "forward", lambda *_: pytest.fail("a caption is decoded again"))
    settings = GenerationConfig(num_beams=beams, num_return_sequences=beams, max_new_tokens=9, min_new_tokens=8)
    found = task.decode(task.encode_images(batch), settings)
    assert len(steps) == 9
    assert max(len(each.log_probs) for sentences in found for each in sentences) == 9
    task.predict(batch)
    assert len(steps) <= 9 + task.generation.max_new_tokens


def test_what_is_never_generated(dataset: Path, classifier_file: Path) -> None:
    """`<unk>`, `<pad>` and `<bos>` are no words, however likely."""
    examples, vocabulary = examples_of(dataset)
    task = make(vocabulary, classifier_file).eval()
    with torch.no_grad():
        task.decoder.score.bias[[0, 1, 3]] = 30.0
    batch = collate(items_of(dataset, examples[:2], vocabulary))
    for settings in (
        GenerationConfig(max_new_tokens=5),
        GenerationConfig(num_beams=3, max_new_tokens=5),
        GenerationConfig(temperature=1.0),
    ):
        for best, *_ in task.decode(task.encode_images(batch), settings):
            assert not {"<unk>", "<pad>", "<bos>", "<eos>"} & set(best.tokens)


@pytest.mark.parametrize("length_penalty", [50.0, -50.0])
def test_a_large_length_penalty_is_no_divergence(length_penalty: float, dataset: Path, classifier_file: Path) -> None:
    examples, vocabulary = examples_of(dataset)
    task = make(vocabulary, classifier_file).eval()
    batch = collate(items_of(dataset, examples[:2], vocabulary))
    for best, *_ in task.decode(
        task.encode_images(batch), GenerationConfig(num_beams=5, length_penalty=length_penalty)
    ):
        length = len(best.log_probs)
        assert best.score == pytest.approx(sum(best.log_probs) / length**length_penalty, rel=1e-3)


def test_a_model_that_has_diverged_is_an_error(dataset: Path, classifier_file: Path) -> None:
    examples, vocabulary = examples_of(dataset)
    task = make(vocabulary, classifier_file).eval()
    with torch.no_grad():
        task.decoder.score.bias.fill_(torch.nan)
    batch = collate(items_of(dataset, examples[:2], vocabulary))
    for settings in (GenerationConfig(), GenerationConfig(num_beams=2), GenerationConfig(temperature=1.0)):
        with pytest.raises(UserError, match="diverged"):
            task.decode(task.encode_images(batch), settings)
