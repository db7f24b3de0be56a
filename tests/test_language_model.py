"""The language model as a whole, most of it from the command line: it learns, scores, and goes on."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from test_distributed import train_two
from test_resuming import killed, same_run
from test_training_cli import Workshop, one_line, quiet

from vlrnn.cli import main
from vlrnn.config import to_config
from vlrnn.data.records import Prediction, RecordFile, ScoredExample
from vlrnn.data.synthetic.dataset import NAMES, paragraphs
from vlrnn.data.text_datamodule import TextBatch
from vlrnn.errors import UserError
from vlrnn.generation.search import GenerationConfig
from vlrnn.inference.predictor import Predictor
from vlrnn.metrics.perplexity import ngram_bits
from vlrnn.nn.decoders.language_model import RecurrentLanguageModel
from vlrnn.nn.recurrent.rnn import GRU, LSTM
from vlrnn.tasks.language_model import LanguageModel
from vlrnn.text.tokenizers import CharTokenizer, WordTokenizer
from vlrnn.text.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from vlrnn.training.checkpoint import load_task, save_pretrained

ROOT = Path(__file__).parents[1]
RECIPE = """
model:
  class_path: vlrnn.tasks.LanguageModel
  init_args:
    decoder:
      class_path: vlrnn.nn.RecurrentLanguageModel
      init_args:
        recurrence:
          class_path: vlrnn.nn.LSTM
          init_args: {hidden_size: 32}
        embedding_dim: 16
        dropout: 0.1
    generation: {max_new_tokens: 12}
    sample_passages: 2
    optimization: {lr: 1.0e-2}
data: {tokenizer: vlrnn.text.CharTokenizer, batch_size: 4, bptt_length: 32}
trainer: {accelerator: cpu, max_epochs: 2, log_every_n_steps: 1}
"""


class TextWorkshop(Workshop):
    """A folder with a recipe and a text, and the command line to run there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        recipe = yaml.safe_load(RECIPE)
        recipe["data"]["root"] = str(folder / "text.txt")
        recipe["trainer"]["default_root_dir"] = str(self.run_folder)
        (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        (folder / "text.txt").write_text("".join(f"{each}\n" for each in paragraphs(110)))

    def here(self, name: str, *arguments: str) -> None:
        """Run a command in this process: a new one takes seconds to begin."""
        assert main([name, "--config", str(self.folder / "recipe.yaml"), *arguments]) == 0


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> TextWorkshop:
    """One in which a model has been trained and tested."""
    shop = TextWorkshop(tmp_path_factory.mktemp("workshop"))
    for command in ("fit", "test"):
        done = shop.run(command)
        assert done.returncode == 0, done.stderr
        quiet(done)
    return shop


@pytest.fixture(scope="module")
def best(workshop: TextWorkshop) -> str:
    return str(workshop.run_folder / "checkpoints" / "best.ckpt")


# A run.


@pytest.mark.slow
def test_fit_chooses_the_lowest(workshop: TextWorkshop, best: str) -> None:
    rows = workshop.log()
    assert {"train/loss", "val/loss", "val/bits_per_character", "val/perplexity", "val/unseen"} <= rows[0].keys()
    bits = [float(row["val/bits_per_character"]) for row in rows if row["val/bits_per_character"]]
    losses = [float(row["val/loss"]) for row in rows if row["val/loss"]]
    assert len(bits) == 2
    assert bits[1] < bits[0]
    for loss, each in zip(losses, bits, strict=True):
        assert loss / math.log(2) == pytest.approx(each, rel=1e-4)  # a character is a unit
    callbacks = torch.load(best, weights_only=True)["callbacks"].values()
    scores = [float(each["best_model_score"]) for each in callbacks if "best_model_score" in each]
    assert scores == [pytest.approx(min(bits), rel=1e-6)]


def test_test_writes_the_text_as_it_was_foreseen(workshop: TextWorkshop, best: str) -> None:
    metrics = json.loads((workshop.run_folder / "metrics.json").read_text())
    assert metrics["settings"]["units"] == "characters"
    assert metrics["settings"]["split"] == "test"
    assert metrics["settings"]["intervals"] == "over passages of 256 characters"
    passages = list(RecordFile(workshop.run_folder / "predictions.jsonl", Prediction))
    text = "".join(each.text for each in passages)
    assert (workshop.folder / "text.txt").read_text().endswith(text)
    assert all("".join(each.tokens) == each.text for each in passages)
    assert [len(each.alternatives) for each in passages] == [1, 1, *[0] * (len(passages) - 2)]
    items = list(RecordFile(workshop.run_folder / "items.jsonl", ScoredExample))
    assert [each.id for each in items] == [each.id for each in passages]
    bits = sum(each.scores["bits_per_character"] * len(one.text) for each, one in zip(items, passages, strict=True))
    nats = -sum(sum(each.log_probs) for each in passages)
    assert bits == pytest.approx(nats / math.log(2))
    assert metrics["scores"]["bits_per_character"]["value"] == pytest.approx(nats / math.log(2) / len(text))
    # All of it at once, by the network alone.
    task = load_task(best, LanguageModel)
    tokens = torch.tensor([[BOS, *task.vocabulary.encode(text)]])
    with torch.no_grad():
        log_probs, _ = task.decoder.log_probs(tokens, task.decoder.init_state(task.decoder.empty_memory(1)))
    assert -log_probs.sum().item() == pytest.approx(nats, rel=1e-5)
    # What it would have said in the place of the second passage follows from the first.
    instead = Predictor(task).continue_text(passages[0].text)
    (shown,) = passages[1].alternatives
    assert instead.text == shown["text"]


def test_what_is_scored_has_the_units_of_the_checkpoint(workshop: TextWorkshop, tmp_path: Path) -> None:
    """Whatever the recipe says now, and on any other text; what training never showed is told of, and unlikely."""
    (tmp_path / "other.txt").write_text("Ünlike ÄÖ what was shown.\n" * 400)
    flags = ["--data.root", str(tmp_path / "other.txt"), "--data.tokenizer", "vlrnn.text.WordTokenizer"]
    flags += [
        "--trainer.default_root_dir",
        str(tmp_path),
        "--ckpt_path",
        str(workshop.run_folder / "checkpoints/last.ckpt"),
    ]
    workshop.here("test", *flags)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["settings"]["units"] == "characters"
    assert metrics["scores"]["unseen"]["value"] == pytest.approx(3 / 26, abs=0.01)
    assert metrics["scores"]["bits_per_character"]["value"] > 3


def test_a_report_shows_it(workshop: TextWorkshop, tmp_path: Path) -> None:
    assert main(["report", str(workshop.run_folder), "--out", str(tmp_path / "page.html")]) == 0
    printed = (tmp_path / "page.md").read_text()
    for words in ("| bits_per_character |", "| perplexity |", "instead: **", "LanguageModel", "bptt length 32"):
        assert words in printed
    page = (tmp_path / "page.html").read_text()
    assert "bits per character" in page  # the learning curve
    assert "continuations that the model generated instead" in page
    report = json.loads((tmp_path / "page.json").read_text())
    assert report["not_found"] == []  # a text has no pictures
    bits = [item["outputs"][0]["score"] for item in report["sections"][0]["shown"]["items"]]
    assert bits == sorted(bits, reverse=True)  # the worst first


def test_of_words(workshop: TextWorkshop, tmp_path: Path) -> None:
    flags = ("--data.tokenizer", "vlrnn.text.WordTokenizer", "--data.bptt_length", "null", "--data.min_count", "2")
    for command in ("fit", "test"):
        workshop.here(command, *flags, "--trainer.default_root_dir", str(tmp_path))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["settings"]["units"] == "words"
    passages = list(RecordFile(tmp_path / "predictions.jsonl", Prediction))
    assert " looks" in passages[0].tokens
    units, characters = sum(len(each.tokens) for each in passages), sum(len(each.text) for each in passages)
    bits = metrics["scores"]["bits_per_character"]["value"] * characters / units
    assert metrics["scores"]["perplexity"]["value"] == pytest.approx(2**bits)


@pytest.mark.slow
def test_memory_and_time_can_be_traded(workshop: TextWorkshop, tmp_path: Path) -> None:
    """Without dropout, whose draws fall otherwise, the same is learnt."""
    decoder = "--model.init_args.decoder.init_args"
    for name, more in {"whole": [], "again": [f"{decoder}.checkpoint_every", "8"]}.items():
        flags = ["--trainer.max_epochs", "1", f"{decoder}.dropout", "0", *more]
        workshop.here("fit", *flags, "--trainer.default_root_dir", str(tmp_path / name))
    whole, again = (
        load_task(tmp_path / name / "checkpoints" / "last.ckpt", LanguageModel).state_dict()
        for name in ("whole", "again")
    )
    for name, weights in whole.items():
        torch.testing.assert_close(weights, again[name], rtol=1e-3, atol=1e-4)


def test_few_passages_are_memorized(workshop: TextWorkshop, tmp_path: Path) -> None:
    options = {
        "overfit": "2",
        "data.batch_size": "1",
        "trainer.max_epochs": "40",
        "early_stopping.patience": "40",
        "model.init_args.decoder.init_args.dropout": "0",
        "model.init_args.optimization.lr": "0.03",
        "trainer.default_root_dir": str(tmp_path),
    }
    workshop.here("fit", *(word for name, value in options.items() for word in (f"--{name}", value)))
    callbacks = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["callbacks"].values()
    assert min(float(each["best_model_score"]) for each in callbacks if "best_model_score" in each) < 0.6


@pytest.mark.slow
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    """The state that is carried, too: the epoch goes on within the text."""
    shop = TextWorkshop(tmp_path)
    options = {"checkpoint.last_every_n_steps": "3", "trainer.max_epochs": "3", "ckpt_path": "last"}
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    arguments = ["fit", "--config", str(tmp_path / "recipe.yaml"), *flags]
    for run in killed(shop, arguments, kills=3, seed=5):
        same_run(run, tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_learn_what_one_does(workshop: TextWorkshop, tmp_path: Path) -> None:
    flags = ["--trainer.max_epochs", "1", "--model.init_args.decoder.init_args.dropout", "0"]
    workshop.here("fit", *flags, "--trainer.default_root_dir", str(tmp_path / "one"))
    train_two(workshop, "fit", *flags, "--data.batch_size", "2", "--trainer.default_root_dir", str(tmp_path / "two"))
    one, two = (
        load_task(tmp_path / name / "checkpoints" / "last.ckpt", LanguageModel).state_dict() for name in ("one", "two")
    )
    for name, weights in one.items():
        torch.testing.assert_close(weights, two[name], rtol=1e-3, atol=1e-4)


# Going on.


def test_greedy_is_the_literal_loop(best: str) -> None:
    predictor = Predictor.load(best, "cpu")
    task = predictor.task
    assert isinstance(task, LanguageModel)
    prompt = 'Mia looks at a picture. "A'
    text = prompt
    with torch.no_grad():
        for _ in range(40):
            tokens = torch.tensor([[BOS, *task.vocabulary.encode(text)]])
            output = task.decoder(tokens, task.decoder.empty_memory(1), torch.zeros(1, dtype=torch.long))
            scores = task.decoder.logits(output.hidden)
            scores[..., [PAD, BOS, EOS, UNK]] = -torch.inf
            text += task.vocabulary.words[int(scores[0, -1].argmax())]
    found = predictor.continue_text(prompt, max_new_tokens=40)
    assert prompt + found.text == text
    assert len(found.log_probs) == len(found.tokens) == 40
    assert found.score == pytest.approx(sum(found.log_probs) / 40, abs=1e-4)


def test_beams_find_what_is_likelier(best: str) -> None:
    predictor = Predictor.load(best, "cpu")
    scores = [predictor.continue_text("Tom", num_beams=beams, max_new_tokens=15).score for beams in (1, 4)]
    assert scores[1] >= scores[0]
    several = predictor.continue_text("Tom", num_beams=4, max_new_tokens=15, num_return_sequences=3)
    assert len({several.text, *(each["text"] for each in several.alternatives)}) == 3
    ranked = [several.score, *(each["score"] for each in several.alternatives)]
    assert all(a >= b for a, b in pairwise(ranked))


def test_drawing_follows_its_seed(best: str) -> None:
    predictor = Predictor.load(best, "cpu")

    def drawn(seed: int, **more: Any) -> str:
        return predictor.continue_text("Tom", seed=seed, temperature=1.0, max_new_tokens=30, **more).text

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert drawn(1, top_k=1) == predictor.continue_text("Tom", max_new_tokens=30).text


def test_a_folder_gives_the_same(best: str, tmp_path: Path) -> None:
    task = load_task(best, LanguageModel)
    save_pretrained(task, tmp_path / "folder")
    again = load_task(tmp_path / "folder", LanguageModel)
    assert to_config(again) == to_config(task)
    assert Predictor(again).continue_text("Leo looks") == Predictor(task).continue_text("Leo looks")


def test_continue(best: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["continue", "Mia looks at", "--checkpoint", best, "--device", "cpu"]
    assert main([*command, "--max_new_tokens", "20", "--out", str(tmp_path / "said.txt")]) == 0
    continued = capsys.readouterr().out
    assert continued.startswith("Mia looks at")
    assert len(continued) == len("Mia looks at") + 20 + 1
    assert (tmp_path / "said.txt").read_text() == continued
    assert main([*command, "--json", "--num_beams", "3", "--num_return_sequences", "2"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert len(printed["alternatives"]) == 1
    assert printed["settings"]["max_new_tokens"] == 12
    for name in ("said.json", "said.jsonl"):
        assert (
            main([*command, "--temperature", "0.8", "--top_k", "5", "--seed", "3", "--out", str(tmp_path / name)]) == 0
        )
    (record,) = RecordFile(tmp_path / "said.jsonl", Prediction)
    assert json.loads((tmp_path / "said.json").read_text())["text"] == record.text
    assert capsys.readouterr().err == ""


def test_symbols_that_training_never_showed_are_reported(best: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["continue", "Zoë été", "--checkpoint", best]) == 0
    printed = capsys.readouterr()
    assert printed.err == "vlrnn continue: not in the training text, and one unknown token for the model: 'ë', 'é'\n"
    assert printed.out.startswith("Zoë été")
    assert main(["continue", "", "--checkpoint", best]) == 0
    assert len(capsys.readouterr().out) == 12 + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "said.csv"], "end the name in .txt, .json or .jsonl"),
        (["--num_beams", "0"], "num_beams must be a whole number from 1 to 1,000, not 0"),
        (["--top_k", "3"], "give a temperature with them"),
        (["--seed", "-1"], "seed must be a whole number from 0"),
        (["--device", "nowhere"], "device nowhere: cannot be used"),
    ],
)
def test_mistakes_of_continue(
    best: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["continue", "Mia", "--checkpoint", best, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_models_are_used_for_their_task(
    best: str, checkpoints: Any, photos: Path, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (
        ["caption", str(photos / "a.png"), "--checkpoint", best],
        ["ask", str(photos / "a.png"), "what?", "--checkpoint", best],
        ["probe", "grounding", "--checkpoint", best, "--data", str(dataset)],
        ["probe", "attribution", "--checkpoint", best, "--data", str(dataset)],
    ):
        assert main(command) == 2, command
        error = capsys.readouterr().err
        assert "continues texts (vlrnn continue)" in error
        assert error.count("\n") == 1
    assert main(["continue", "Mia", "--checkpoint", str(checkpoints.file)]) == 2
    assert "is no language model: it captions (vlrnn caption)" in capsys.readouterr().err


# Mistakes in recipes.

MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "no such text": (["--data.root", "absent.txt"], ["absent.txt", "cannot be read"]),
    "a text too short": (["--data.batch_size", "64", "--data.bptt_length", "512"], ["text.txt", "less than 64 x 512"]),
    "units that are none": (["--data.tokenizer", "vlrnn.text.tokenizers.Syllables"], ["Syllables"]),
    "a key of pictures": (["--data.captions_per_image", "2"], ["captions_per_image"]),
    "no units": (["--data.tokenizer", "null"], ["tokenizer"]),
    "a recurrence that is none": (["--model.init_args.decoder.init_args.recurrence", "NoSuchCell"], ["NoSuchCell"]),
    "no steps to compute again": (["--model.init_args.decoder.init_args.checkpoint_every", "0"], ["checkpoint_every"]),
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_mistakes_are_errors_of_one_line(
    workshop: TextWorkshop,
    mistake: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments, words = MISTAKES[mistake]
    monkeypatch.chdir(workshop.folder)
    code = main(["fit", "--config", "recipe.yaml", "--trainer.default_root_dir", str(tmp_path), *arguments])
    assert code == 2
    one_line(capfd.readouterr().err, *words)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--model.init_args.decoder.init_args.recurrence.init_args.hidden_size", "16"], "another decoder"),
        (["--model.init_args.decoder.init_args.recurrence", "vlrnn.nn.GRU"], "another decoder"),
        (["--data.tokenizer", "vlrnn.text.WordTokenizer"], "another vocabulary"),
    ],
)
def test_another_model_is_not_gone_on_with(
    workshop: TextWorkshop,
    best: str,
    change: list[str],
    message: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--config", str(workshop.folder / "recipe.yaml"), "--ckpt_path", best, *change]
    assert main(["fit", *arguments, "--trainer.default_root_dir", str(tmp_path), "--trainer.max_epochs", "4"]) == 2
    one_line(capfd.readouterr().err, message)


def test_diverging_training_keeps_its_last_good_checkpoint(workshop: TextWorkshop, tmp_path: Path) -> None:
    options = {
        "model.init_args.optimization.lr": "1e38",
        "model.init_args.optimization.warmup_fraction": "0.9",
        "trainer.gradient_clip_val": "null",
        "checkpoint.last_every_n_steps": "1",
        "trainer.default_root_dir": str(tmp_path),
    }
    done = workshop.run("fit", *(word for name, value in options.items() for word in (f"--{name}", value)))
    assert done.returncode == 2
    one_line(done.stderr.splitlines()[-1], "training has diverged", "weight_ih_l0 is not finite after step", "last")
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(each.isfinite().all() for each in (*last["state_dict"].values(), *last.get("carried", ())))


# The task itself.


def test_the_state_is_carried_between_windows_and_begins_anew_with_an_epoch() -> None:
    torch.manual_seed(0)
    task = LanguageModel(Vocabulary("abc"), CharTokenizer(), RecurrentLanguageModel(GRU(8), embedding_dim=4))
    tokens = torch.randint(3, 7, (2, 13))
    first = TextBatch(tokens[:, :7], True, ())
    second = TextBatch(tokens[:, 6:], False, ())
    losses = [task.loss(batch).total.item() for batch in (first, second, first, second)]
    assert losses[:2] == losses[2:]
    whole, _ = task.decoder.log_probs(tokens, task.decoder.init_state(task.decoder.empty_memory(2)))
    assert sum(losses[:2]) == pytest.approx(-whole.sum().item(), rel=1e-5)
    task.loss(second).total.backward()
    task.loss(second).total.backward()  # nothing is left of the graph of the window before


def test_a_batch_of_another_size_is_refused_amidst_a_text() -> None:
    task = LanguageModel(Vocabulary("abc"), CharTokenizer(), RecurrentLanguageModel(LSTM(8), embedding_dim=4))
    task.loss(TextBatch(torch.full((2, 7), 4), True, ()))
    with pytest.raises(UserError, match="the state does not fit"):
        task.loss(TextBatch(torch.full((3, 7), 4), False, ()))


def test_nothing_special_is_ever_generated() -> None:
    """A text has no end, and no unknown letters; with nothing else to say the model still says something."""
    torch.manual_seed(0)
    task = LanguageModel(Vocabulary("ab"), CharTokenizer(), RecurrentLanguageModel(GRU(8), embedding_dim=4)).eval()
    task.decoder.score.bias.data[:4] = 50.0
    for settings in (
        GenerationConfig(max_new_tokens=25),
        GenerationConfig(num_beams=5, max_new_tokens=25),
        GenerationConfig(temperature=2.0),
    ):
        (best, *_) = task.continue_text(*task.advance_state("ab"), settings)
        assert len(best.text) == settings.max_new_tokens
        assert set(best.text) <= {"a", "b"}


# The text that is made.


def test_prose_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    assert list(paragraphs(5)) == list(paragraphs(9))[:5]
    assert list(paragraphs(5)) != list(paragraphs(5, seed=1))
    for each in paragraphs(50):
        first_name = each.split()[0]
        assert first_name in NAMES
        assert each.count('"') % 2 == 0
        assert each.endswith(f"says {first_name}.")


@pytest.mark.slow
def test_a_minute_of_training_beats_counting(tmp_path: Path) -> None:
    """The recipe, for an epoch, on the text that it is for."""
    text = "".join(f"{each}\n" for each in paragraphs(3000))
    assert len(text) < 2**20
    (tmp_path / "prose.txt").write_text(text)
    config = ["--config", str(ROOT / "configs" / "language_model.yaml"), "--data.root", str(tmp_path / "prose.txt")]
    run = ["--trainer.default_root_dir", str(tmp_path), "--trainer.accelerator", "cpu"]
    assert main(["fit", *config, *run, "--trainer.max_epochs", "1"]) == 0
    assert main(["test", *config, *run]) == 0
    bits = json.loads((tmp_path / "metrics.json").read_text())["scores"]["bits_per_character"]
    train, test = text[: int(0.9 * len(text))], text[int(0.95 * len(text)) :]
    for order, margin in ((1, 4), (2, 2), (3, 0.5)):
        assert bits["high"] < ngram_bits(train, test, order) - margin


def test_words_of_a_prompt_are_split_as_those_of_train() -> None:
    torch.manual_seed(0)
    words = WordTokenizer()
    task = LanguageModel(
        Vocabulary(dict.fromkeys(words.split("Mia looks at Tom.")).keys()), words, RecurrentLanguageModel(GRU(8))
    )  # type: ignore[arg-type]
    predictor = Predictor(task)
    assert predictor.unknown_units("Mia looks away.") == [" away"]
    assert set(predictor.continue_text("Mia", max_new_tokens=5).tokens) <= {"Mia", " looks", " at", " Tom", "."}
