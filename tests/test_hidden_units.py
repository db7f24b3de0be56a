"""`vlrnn probe units`: AUCs against all pairs, units that were planted, activations against the network's own steps,
and what a page shows."""

import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Checkpoints
from every_cell import CELLS, LONG_MEMORY
from numpy.typing import NDArray
from PIL import Image
from quick import quick
from test_vqa_tasks import MAKERS

from vlrnn.cli import main
from vlrnn.data.images import open_image, pixels
from vlrnn.data.records import open_split, write_records
from vlrnn.data.synthetic.dataset import paragraphs
from vlrnn.errors import UserError
from vlrnn.inference.predictor import Predictor
from vlrnn.metrics.statistics import Resampler
from vlrnn.nn.decoders.ensemble import Ensemble
from vlrnn.nn.decoders.language_model import RecurrentLanguageModel
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.base import BlindEncoder
from vlrnn.nn.recurrent.rnn import GRU, LSTM, RNN
from vlrnn.probes.detection import ActivationSet, detect
from vlrnn.probes.model.activations import Activations, Passage, RecordingRecurrence, record_captions, record_text
from vlrnn.probes.model.hidden_units import hidden_units
from vlrnn.probes.object_mentions import PhraseTable
from vlrnn.probes.text_properties import (
    Property,
    at_units,
    inside_brackets,
    inside_quotes,
    line_position,
    most_mentioned,
    noun_table,
    properties,
    word_position,
)
from vlrnn.report.charts import probe_picture
from vlrnn.report.content import ProbeSection
from vlrnn.report.unit_pages import save_page
from vlrnn.tasks.captioning import Captioner
from vlrnn.tasks.language_model import LanguageModel
from vlrnn.text.ptb_tokenizer import tokenize
from vlrnn.text.tokenizers import CharTokenizer, LMTokenizer, WordTokenizer
from vlrnn.text.vocabulary import BOS, Vocabulary
from vlrnn.training.checkpoint import save_pretrained

TEXT = "".join(f"{each}\n" for each in paragraphs(16, seed=7))

# Properties.


PROPERTIES = [
    (inside_quotes, 'He: "No," she said. "I', "0000111100000000000011"),
    (inside_quotes, "“no” «yes» „so“ x", "11100111100111000"),
    (inside_quotes, 'so," he said', "000000000000"),  # cut off in the middle of one
    (inside_quotes, '"a\n"b\n\nc', "11111100"),
    (inside_quotes, 'it\'s "a" 7" b', "0000011000000"),
    (inside_brackets, "a (b [c] d) e", "0011111111000"),
    (inside_brackets, "a (b\n\nc) d", "0011100000"),
    (line_position, "ab\nc\n\nd", "1201001"),
    (word_position, "ab, c1", "120012"),
]


def test_properties_letter_by_letter(subtests: pytest.Subtests) -> None:
    for holds, text, expected in PROPERTIES:
        with subtests.test(holds=holds, text=text, expected=expected):
            assert "".join(str(int(each)) for each in holds(text)) == expected


def letters(name: str, text: str) -> str:
    table = PhraseTable({"dog": "dog", "fire truck": "fire truck"})
    values = properties(table, table, [text], [name])[name](text)
    return "".join(str(int(each)) for each in values)


def test_nouns_and_mentions() -> None:
    assert letters("noun_just_said", "a dog ran") == "000011110"  # until the next word has ended
    assert letters("noun_just_said", "Dogs, fire truck.") == "00011111100000011"
    assert letters("mentioned:dog", "a dog ran. a cat") == "0000111111000000"
    assert letters("mentioned:fire truck", "A fire truck\nx") == "00000000000110"
    assert letters("mentioned:dog", "İ dogs") == "000001"  # a letter that is two in lower case
    table = PhraseTable({"dog": "dog", "cat": "cat"})
    assert most_mentioned(["A dog, a dog. A cat", "a cat, a bird"], table, 1) == ["cat"]


def test_a_unit_has_what_holds_at_its_end() -> None:
    units = WordTokenizer().split('He said: "No."')
    assert list(zip(units, at_units(inside_quotes, units), strict=True))[3:] == [
        (' "', True),
        ("No", True),
        (".", True),
        ('"', False),
    ]


def test_common_nouns_are_found() -> None:
    values = properties(noun_table(), noun_table(), (), ["noun_just_said"])["noun_just_said"]
    words = ["two", " dogs", " see", " a", " red", " ring"]
    assert [word for word, noun in zip(words, at_units(values, words), strict=True) if noun] == [" dogs", " ring"]


# AUC.


def literal_auc(values: NDArray[Any], flags: NDArray[np.bool_]) -> float:
    pairs = list(product(values[flags], values[~flags]))
    return sum(1.0 if above > below else 0.5 if above == below else 0.0 for above, below in pairs) / len(pairs)


def part(activations: NDArray[Any], lengths: list[int], groups: list[int] | None = None) -> ActivationSet:
    return ActivationSet(activations, np.array(lengths), np.array(groups or range(len(lengths))))


def test_the_auc_is_the_share_of_pairs_ties_counting_half() -> None:
    random = np.random.default_rng(0)
    values = np.stack([random.normal(size=60), random.integers(0, 4, 60), np.zeros(60)], 1)
    flags = random.random((2, 60)) < [[0.3], [0.7]]
    found = part(values, [60]).aucs(flags)
    for row, unit in product(range(2), range(3)):
        assert found[row, unit] == pytest.approx(literal_auc(values[:, unit], flags[row]))
    assert found[0, 2] == 0.5
    places = np.flatnonzero(random.random(60) < 0.5)
    some = part(values, [60]).aucs(flags[:, places], places)
    assert some[1, 1] == pytest.approx(literal_auc(values[places, 1], flags[1, places]))
    assert np.isnan(part(values, [60]).aucs(np.zeros((1, 60), bool))).all()


def test_resampling_is_of_whole_groups() -> None:
    """A resampled AUC is that of the places, each group as often as it was drawn."""
    random = np.random.default_rng(1)
    values, flags = random.integers(0, 5, (30, 1)), random.random(30) < 0.4
    whole = part(values, [5, 7, 3, 9, 6], [0, 0, 1, 2, 3])
    group_of = np.repeat([0, 0, 1, 2, 3], [5, 7, 3, 9, 6])
    expected = []
    for counts in np.concatenate(list(Resampler(4, 20, seed=3).counts())).astype(int):
        drawn = [np.tile(np.flatnonzero(group_of == group), count) for group, count in enumerate(counts)]
        places = np.concatenate(drawn)
        expected.append(literal_auc(values[places, 0], flags[places]))
    assert whole.resampled(0, flags, 20, seed=3) == pytest.approx(expected)


def test_properties_move_by_whole_passages_place_by_place() -> None:
    lengths = [3, 1, 2]
    here, moved = part(np.zeros((6, 1)), lengths).rolled(1)
    assert here.tolist() == [0, 3, 4, 5]  # as far as both go
    assert moved.tolist() == [3, 4, 0, 1]
    rolls = part(np.zeros((8, 1)), [1] * 8, [0, 0, 1, 1, 1, 2, 3, 3]).rolls(20, np.random.default_rng(0))
    assert sorted(rolls) == [3, 4, 5]  # further than any group is large, from both sides
    assert not part(np.zeros((3, 1)), [1] * 3, [0, 0, 1]).rolls(20, np.random.default_rng(0))


def test_of_noise_the_best_is_chance_where_it_is_held_out() -> None:
    """And what it is in the half that it is chosen on is no more than the same search finds elsewhere."""
    random = np.random.default_rng(2)
    sides = [part(random.normal(size=(2000, 100)), [20] * 100) for _ in range(2)]
    flags = [np.repeat(random.random(100) < 0.5, 20) for _ in range(2)]  # whole passages: few are independent
    found = detect(sides[0], sides[1], {"x": (flags[0], flags[1])}, resamples=100)["x"]
    assert found.chosen["value"] > 0.52
    assert found.rolled["chosen"]["low"] - 0.02 < found.chosen["value"] < found.rolled["chosen"]["high"] + 0.02
    assert found.held_out["value"] == pytest.approx(0.5, abs=0.05)
    assert found.rolled["held_out"]["value"] == pytest.approx(0.5, abs=0.02)


# Planted units.


def planted(units: int = 12, seed: int = 0, sign: int = 1) -> Activations:
    """Noise over a text, in which unit 5 is what inside_quotes is, and unit 7 what line_position is, with noise."""
    random = np.random.default_rng(seed)
    size = 128
    passages = [Passage(f"p{n}", n, TEXT[n * size : (n + 1) * size]) for n in range(len(TEXT) // size)]
    text = "".join("".join(each.units) for each in passages)
    activations = random.normal(size=(len(text), units))
    activations[:, 5] = sign * inside_quotes(text)
    activations[:, 7] = line_position(text) + random.normal(size=len(text))
    names = [f"h1.{number}" for number in range(units)]
    return Activations(passages, activations, names, {}, True, {"text": "planted"}, [])


def all_properties(**more: Any) -> dict[str, Property]:
    return properties(noun_table(), noun_table(), [TEXT], **more)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_unit_is_found(sign: int) -> None:
    found = hidden_units(planted(sign=sign), all_properties(), resamples=50)
    score = found.scores["inside_quotes"]["held_out"]
    assert score == {"value": 1, "low": 1, "high": 1, "n": found.settings["held_out"]}
    best = found.details["detectors"]["inside_quotes"]["units"][0]
    assert (best["unit"], best["sign"], best["chosen"], best["held_out"]) == ("h1.5", sign, 1, 1)
    assert found.baselines["chance"]["inside_quotes"]["held_out"]["value"] == 0.5
    assert found.baselines["other passages"]["inside_quotes"]["held_out"]["value"] == pytest.approx(0.5, abs=0.1)
    line = found.details["detectors"]["line_position"]
    assert line["units"][0]["unit"] == "h1.7"
    assert line["rank_correlation"] > 0.9
    assert line["above"] > 10
    assert found.not_computed == {"inside_brackets": "holds nowhere in the input"}
    printed = {case["detects"]: case["unit"] for case in found.cases}
    assert printed["inside_quotes" if sign > 0 else "not inside_quotes"] == "h1.5"
    assert "no gates" in " ".join(found.notes)
    assert "nan" not in json.dumps([found.scores, found.baselines, found.details]).lower()


def inverse(flags: str) -> str:
    return flags.translate({ord("0"): "1", ord("1"): "0"})


def test_what_a_picture_shows_is_what_was_recorded() -> None:
    recorded = planted()
    found = hidden_units(recorded, all_properties(), units=["5", "h1.3"], resamples=5)
    heat = found.details["heat"]
    assert [row["unit"] for row in heat["rows"]] == ["h1.5", "h1.3"]
    row = heat["rows"][0]
    assert row["property"] == "inside_quotes"
    middle = len(recorded.passages) // 2
    for number, (passage, levels, holds) in enumerate(zip(heat["passages"], row["levels"], row["holds"], strict=True)):
        assert passage == {"id": f"p{middle + number}", "units": recorded.passages[middle + number].units}
        assert len(levels) == len(holds) == len(passage["units"])
        assert "".join(str(int(level != "k")) for level in levels) in (holds, inverse(holds))  # the median is one side
    sizes = [len(each["units"]) for each in heat["passages"]]
    assert sum(sizes) <= 2000 < sum(sizes) + 128


def test_a_property_that_holds_everywhere() -> None:
    found = hidden_units(planted(), {"all": lambda text: np.ones(len(text), bool)}, resamples=5)
    assert found.scores == {}
    assert found.not_computed == {"all": "holds everywhere in the input"}
    assert [row["unit"] for row in found.details["heat"]["rows"]] == []


# Models.


def language_model(recurrence: Any, units: LMTokenizer | None = None) -> LanguageModel:
    torch.manual_seed(0)
    units = units or CharTokenizer()
    vocabulary = Vocabulary.count([units.split(TEXT[:4000])], 1)
    return LanguageModel(vocabulary, units, RecurrentLanguageModel(recurrence, embedding_dim=8))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "prose.txt"
    path.write_text("Ü " + TEXT)
    return path


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained language model."""
    folder = tmp_path_factory.mktemp("models") / "lm"
    save_pretrained(language_model(LSTM(16)), folder)
    return folder


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_is_recorded_step_by_step(cell: str) -> None:
    torch.manual_seed(0)
    recurrence = CELLS[cell](6).build(4).eval()
    recording = RecordingRecurrence(recurrence)
    xs = torch.randn(5, 2, 4)
    state = start = recurrence.initial_state(2)
    for x in xs:
        _, state = recording.step(x, state)
    taken, names = recording.taken(), recording.names()
    assert taken.activations.shape == (2, 5, len(names))
    assert len(set(names)) == len(names)
    assert any(name.startswith("c") for name in names) == (cell in (*LONG_MEMORY, "residual-lstm"))
    ys, after = recurrence(xs.transpose(0, 1), start)
    layer = recurrence.layer_outputs(after).shape[1]
    last = [names.index(f"h{layer}.{number}") for number in range(6)]
    torch.testing.assert_close(taken.activations[..., last], ys, rtol=1e-4, atol=1e-5)
    cells = [number for number, name in enumerate(names) if name.startswith(f"c{layer}.")]
    if cells:
        torch.testing.assert_close(taken.activations[:, -1, cells], recurrence.cell_state(after))
    for name, shares in taken.gates.items():
        assert shares.shape[:2] == (2, 5), name
        assert shares.min() >= 0
        assert shares.max() <= 1


def test_a_text_is_recorded_as_the_model_reads_it(text: Path) -> None:
    """Its state carried from passage to passage, `<bos>` first; what training never showed is one symbol."""
    model = language_model(LSTM(8, num_layers=2))
    recorded = record_text(Predictor(model, "cpu"), text, limit=1400)
    assert len(recorded.passages) == 5
    assert "".join("".join(each.units) for each in recorded.passages) == text.read_text()[:1280]
    ids = model.vocabulary.encode(text.read_text()[:1280])
    with torch.no_grad():
        ys, state = model.decoder.recurrence(
            model.decoder.embedding(torch.tensor([[BOS, *ids]])), model.decoder.recurrence.initial_state(1)
        )
    assert np.allclose(recorded.activations[:, 8:16], ys[0, 1:].numpy(), atol=1e-5)
    assert np.allclose(recorded.activations[-1, 24:32], model.decoder.recurrence.cell_state(state)[0], atol=1e-5)
    assert [recorded.names[at] for at in (0, 8, 16, 31)] == ["h1.0", "h2.0", "c1.0", "c2.7"]
    assert list(recorded.gates) == [(layer, gate) for layer in (1, 2) for gate in ("forget", "input", "output")]
    assert recorded.notes[0].startswith("1 of 1,280 characters are not in the training data")
    assert "were not read" in recorded.notes[1]


def test_saturated_gates_are_counted(text: Path) -> None:
    """Of an LSTM whose forget gates are held open, and whose input gates are held shut, but for one unit."""
    model = language_model(LSTM(8))
    bias = model.decoder.recurrence.kernel.bias_ih_l0.data.view(4, 8)
    bias[0], bias[1], bias[0, 0] = -20.0, 20.0, 20.0
    found = hidden_units(record_text(Predictor(model, "cpu"), text, 1024), {}, resamples=10)
    gates = found.scores["gates"]
    assert gates["layer 1, forget"]["open"] == {"value": 1, "low": 1, "high": 1, "n": 1024}
    assert gates["layer 1, forget"]["closed"]["value"] == 0
    assert gates["layer 1, input"]["open"]["value"] == pytest.approx(1 / 8)
    assert gates["layer 1, input"]["closed"]["value"] == pytest.approx(7 / 8)
    assert gates["layer 1, output"]["open"]["value"] == 0
    plain = hidden_units(record_text(Predictor(language_model(RNN(4)), "cpu"), text, 1024), {}, resamples=10)
    assert plain.scores == {}
    assert plain.notes[-1] == "this recurrence has no gates"


def test_words_are_recorded_too(text: Path) -> None:
    model = language_model(GRU(4), WordTokenizer())
    recorded = record_text(Predictor(model, "cpu"), text, 1100)
    assert [len(each.units) for each in recorded.passages] == [256] * 4
    found = hidden_units(recorded, all_properties(), resamples=5)
    assert found.settings["units"] == "words"
    assert {"inside_quotes", "noun_just_said"} <= found.scores.keys()


@pytest.mark.parametrize("batch", quick([2, 32], 32))
def test_captions_are_recorded_as_they_are_generated(
    checkpoints: Checkpoints, captions: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the decoder's own steps, on pixels; of each image all captions."""
    monkeypatch.setattr("vlrnn.probes.model.activations._BATCH", batch)
    predictor = Predictor.load(checkpoints.file, "cpu")
    recorded = record_captions(predictor, captions, "test")
    task: Any = predictor.task
    assert len(recorded.passages) == 24
    assert {each.group for each in recorded.passages} == set(range(12))
    examples = {each.id: each for each in open_split(captions, "test")}
    starts = np.cumsum([0, *(len(each.units) for each in recorded.passages)])
    for number in (0, 1, 23):
        passage = recorded.passages[number]
        image = torch.from_numpy(pixels(open_image(captions / examples[passage.id].image), task.encoder.image_size))
        words = tokenize("".join(passage.units))
        assert "".join(passage.units) == " ".join(words)
        with torch.no_grad():
            memory = task.decoder.prepare(task.encoder(image[None]))
            state = task.decoder.init_state(memory)
            for place, id in enumerate([BOS, *task.vocabulary.encode(words)]):
                _, state = task.decoder.step(torch.tensor([[id]]), state, memory)
                if place:
                    _, (h, c) = state
                    expected = torch.cat([h[0, 0], c[0, 0]]).numpy()
                    assert np.allclose(recorded.activations[starts[number] + place - 1], expected, atol=0.02)
    assert type(task.decoder.recurrence) is LSTM  # as it was


@pytest.fixture(scope="module")
def captions(make_dataset: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures, which say what is in them."""
    folder = make_dataset(tmp_path_factory.mktemp("data") / "squares", sizes=(0, 0, 12))
    printed = [
        replace(each, objects=(f"{str(each.id).partition('-')[0]} square",)) for each in open_split(folder, "test")
    ]
    write_records(folder / "test.jsonl", printed)
    return folder


# The command.


class Page(HTMLParser):
    """The text of a page, and its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", set[str]()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_of_a_language_model(speaker: Path, text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / f"u.{name}" for name in ("json", "html", "png")}
    flags = ["--out", str(files["json"]), "--page", str(files["html"]), "--picture", str(files["png"])]
    arguments = ["probe", "units", "--checkpoint", str(speaker), "--text", str(text), "--resamples", "20"]
    assert main([*arguments, *flags, "--limit", "2100"]) == 0
    found = json.loads(files["json"].read_text())
    assert {"inside_quotes", "line_position", "noun_just_said", "mentioned:picture", "gates"} <= found["scores"].keys()
    assert found["scores"]["inside_quotes"]["held_out"]["n"] == 1024
    assert found["baselines"]["other passages"]["inside_quotes"]["chosen"]["n"] == 3  # of four passages
    assert len(found["cases"]) == len(found["scores"]) - 1
    shown = Page(files["html"].read_text())
    assert text.read_text()[1024:1300] in shown.text
    assert "script" not in shown.tags
    assert "http" not in files["html"].read_text()
    assert Image.open(files["png"]).size[0] > 500
    assert "other passages" in capsys.readouterr().out
    few = ["--property", "inside_quotes", "mentioned:picture", "--units", "3,c1.2", "--limit", "1024"]
    assert main([*arguments, *few, "--out", str(files["json"])]) == 0
    found = json.loads(files["json"].read_text())
    assert found["scores"].keys() == {"inside_quotes", "mentioned:picture", "gates"}
    assert [row["unit"] for row in found["details"]["heat"]["rows"]] == ["h1.3", "c1.2"]


def test_of_a_captioner(checkpoints: Checkpoints, captions: Path, tmp_path: Path) -> None:
    out, page = tmp_path / "u.json", tmp_path / "u.html"
    arguments = ["probe", "units", "--checkpoint", str(checkpoints.file), "--data", str(captions)]
    assert main([*arguments, "--out", str(out), "--page", str(page), "--resamples", "20"]) == 0
    found = json.loads(out.read_text())
    assert {"noun_just_said", "line_position", "mentioned:red square"} <= found["scores"].keys()
    assert found["not_computed"]["inside_quotes"] == "holds nowhere in the input"
    ids = {each.id for each in open_split(captions, "test")}
    assert {case["id"] for case in found["cases"]} <= ids
    assert len(found["details"]["heat"]["passages"]) == 6  # one caption of each image that is held out
    assert "a red square on the left" in Page(page.read_text()).text
    assert main([*arguments, "--out", str(out), "--limit", "5", "--resamples", "5"]) == 0
    assert json.loads(out.read_text())["scores"]


def test_a_report_draws_it(speaker: Path, text: Path) -> None:
    found = hidden_units(record_text(Predictor.load(speaker, "cpu"), text, 1024), all_properties(), resamples=5)
    details = json.loads(json.dumps(found.details))
    drawn = probe_picture(ProbeSection("units", "run", [], [], [], details, [], {}))
    assert "inside_quotes" in drawn
    assert "AUC of the best unit" in drawn
    none = hidden_units(record_text(Predictor.load(speaker, "cpu"), text, 1024), {}, resamples=5)
    assert probe_picture(ProbeSection("units", "run", [], [], [], none.details, [], {})) is not None


def test_text_is_text_on_a_page(tmp_path: Path) -> None:
    caption = ["<script>", " alert(1)", "</script>", " &amp;", " $a$"]
    row = {"unit": "h1.0", "property": "mentioned:<b>", "sign": 1, "held_out": 0.5, "median": 0.0, "scale": 1.0}
    row |= {"levels": ["akuuk"], "holds": ["00110"]}
    heat = {"passages": [{"id": "<i>1", "units": caption}], "rows": [row], "running": False}
    save_page(tmp_path / "p.html", heat, "<u>")
    page = (tmp_path / "p.html").read_text()
    shown = Page(page)
    assert not {"script", "b", "i", "u"} & shown.tags
    assert "<script> alert(1)</script> &amp; $a$" in shown.text
    assert '<span class="n10">&lt;script&gt;</span><span> alert(1)</span><span class="p10 h">' in page


MISTAKES = [
    (["--text", "{text}", "--property", "nonsense"], "--property nonsense: no such property"),
    (["--text", "{text}", "--units", "16"], "no such hidden unit; there are h1.0 to h1.15, c1.0 to c1.15"),
    (["--text", "{text}", "--units", "c2.1"], "--units c2.1: there is no such"),
    (["--text", "{short}"], "short.txt: 1,023 characters are too few"),
    (["--text", "{text}", "--limit", "900"], "900 characters are too few"),
    (["--text", "{text}", "--limit", "0"], "--limit must be at least 1"),
    (["--text", "{text}", "--picture", "x.txt"], "x.txt: pictures are written as one of"),
    (["--text", "{text}", "--page", "x.png"], "x.png: end the name in .html"),
    (["--text", "{text}", "--nouns", "{short}"], "is more than one word"),
    (["--text", "missing.txt"], "missing.txt: cannot be read"),
    (["--data", "{data}"], "which are for captioners: it continues texts"),
    (["--text", "{text}", "--data", "{data}"], "give either --text, for a language model, or --data"),
    ([], "give either --text, for a language model, or --data"),
    (["--checkpoint", "{captioner}", "--text", "{text}"], "which is for language models: it captions"),
    (["--checkpoint", "{captioner}", "--data", "{few}"], "2 images with captions are too few"),
    (["--checkpoint", "{classifier}", "--data", "{data}"], "which are for captioners: it answers questions"),
]


def test_mistakes_are_reported(
    subtests: pytest.Subtests, others: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, complaint in MISTAKES:
        with subtests.test(arguments=arguments, complaint=complaint):
            given = [each.format(**others) for each in arguments]
            assert main(["probe", "units", "--checkpoint", others["speaker"], *given]) == 2
            printed = capsys.readouterr().err
            assert complaint in printed
            assert "Traceback" not in printed


@pytest.fixture(scope="module")
def others(
    speaker: Path,
    text: Path,
    captions: Path,
    dataset: Path,
    checkpoints: Checkpoints,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """What can be named on the command line, good and bad."""
    folder = tmp_path_factory.mktemp("others")
    (folder / "short.txt").write_text("two words " * 102 + "end")
    save_pretrained(MAKERS["majority"](), folder / "classifier")
    return {
        "speaker": str(speaker),
        "text": str(text),
        "data": str(captions),
        "few": str(dataset),
        "captioner": str(checkpoints.plain),
        "short": str(folder / "short.txt"),
        "classifier": str(folder / "classifier"),
    }


def test_models_that_have_no_hidden_units(text: Path, captions: Path) -> None:
    diverged = language_model(GRU(4))
    diverged.decoder.embedding.weight.data.fill_(float("nan"))
    with pytest.raises(UserError, match="activations are not finite: its training has diverged"):
        record_text(Predictor(diverged, "cpu"), text)
    both = Ensemble([ShowAndTell(GRU(4), embedding_dim=4) for _ in range(2)])
    with pytest.raises(UserError, match="Ensemble has no recurrence"):
        record_captions(Predictor(Captioner(Vocabulary(["square"]), BlindEncoder(), both), "cpu"), captions)
