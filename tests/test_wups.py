"""WUPS: by hand on a tiny database, and against NLTK on WordNet where it is installed."""

import random
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.data.records import Example
from vlrnn.errors import UserError
from vlrnn.metrics.vqa import compare_answers
from vlrnn.metrics.wups import WordNet

DEBIAN = Path("/usr/share/wordnet")
LICENCE = "  1 This stands for the licence, which is indented.  \n"

# Words of a meaning -> the first words of those above it; a double star marks an instance.
TREE = {
    ("entity",): (),
    ("furniture", "piece_of_furniture"): ("entity",),
    ("seat",): ("furniture",),
    ("chair",): ("seat",),
    ("armchair",): ("chair",),
    ("table",): ("furniture",),
    ("knife",): ("entity",),
    ("throne", "chair"): ("seat", "entity"),
    ("Old_Sparky",): ("*chair",),
}


def write_database(folder: Path, tree: dict[tuple[str, ...], tuple[str, ...]]) -> Path:
    """The files of a database, in two goes: the places of the meanings are known when all lines have their length."""
    places = dict.fromkeys((words[0] for words in tree), 0)
    for _ in range(2):
        text = LICENCE
        for words, above in tree.items():
            places[words[0]] = len(text)
            printed = " ".join(f"{word} 0" for word in words)
            up = "".join(
                f"@i {places[each[1:]]:08d} n 0000 " if each[0] == "*" else f"@ {places[each]:08d} n 0000 "
                for each in above
            )
            text += f"{places[words[0]]:08d} 06 n {len(words):02x} {printed} {len(above):03d} {up}| what it is  \n"
    senses: dict[str, list[int]] = {}
    for words in tree:
        for word in words:
            senses.setdefault(word.lower(), []).append(places[words[0]])
    folder.mkdir(exist_ok=True)
    lines = [
        f"{word} n {len(at)} 1 @ {len(at)} 0 {' '.join(f'{each:08d}' for each in at)}  \n"
        for word, at in sorted(senses.items())
    ]
    (folder / "data.noun").write_text(text)
    (folder / "index.noun").write_text(LICENCE + "".join(lines))
    (folder / "noun.exc").write_text("knives knife\n")
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> WordNet:
    return WordNet(write_database(tmp_path_factory.mktemp("wordnet") / "tiny", TREE))


SIMILARITIES = [
    ("chair", "chair", 1.0),
    ("chair", "table", 2 * 2 / (4 + 3)),  # furniture is 2 deep; chair is 4, table 3
    ("armchair", "chair", 2 * 4 / (5 + 4)),
    ("armchair", "knife", 2 * 1 / (5 + 2)),
    ("chairs", "tables", 2 * 2 / (4 + 3)),
    ("knives", "knife", 1.0),
    ("old sparky", "chair", 2 * 4 / (5 + 4)),
    ("piece of furniture", "furniture", 1.0),
    ("chair", "nonsense", 0.0),
    ("", "", 0.0),
]


def test_likeness_of_words(subtests: pytest.Subtests, tiny: WordNet) -> None:
    for one, other, similarity in SIMILARITIES:
        with subtests.test(one=one, other=other, similarity=similarity):
            assert tiny.similarity(one, other) == pytest.approx(similarity)
            assert tiny.similarity(other, one) == pytest.approx(similarity)


def test_wups_downweights_what_is_below_the_threshold(tiny: WordNet) -> None:
    similarity = 4 / 7
    assert tiny.wups(["chair"], ["table"], 0.0) == pytest.approx(similarity)
    assert tiny.wups(["chair"], ["table"], 0.9) == pytest.approx(similarity / 10)
    assert tiny.wups(["nonsense"], ["nonsense"], 0.9) == 1
    assert tiny.wups(["nonsense"], ["chair"], 0.0) == 0


def test_wups_of_sets_is_the_lesser_of_two_products(tiny: WordNet) -> None:
    similarity = 4 / 7
    assert tiny.wups(["chair", "table"], ["table", "chair"], 0.9) == 1
    assert tiny.wups(["chair"], ["chair", "table"], 0.0) == pytest.approx(similarity)
    assert tiny.wups(["chair", "chair"], ["table"], 0.0) == pytest.approx(similarity**2)
    assert tiny.wups([], ["table"], 0.0) == 0
    assert tiny.wups([], [], 0.0) == 1


THINGS = st.lists(st.sampled_from(["chair", "chairs", "armchair", "table", "knife", "nonsense", "seat"]), max_size=3)


@given(THINGS, THINGS)
def test_laws(tiny: WordNet, predicted: list[str], right: list[str]) -> None:
    strict, lenient = (tiny.wups(predicted, right, threshold) for threshold in (0.9, 0.0))
    assert 0 <= strict <= lenient <= 1
    assert lenient == pytest.approx(tiny.wups(right, predicted, 0.0))
    assert tiny.wups(predicted, predicted, 0.9) == 1


def test_scores_of_questions(tiny: WordNet) -> None:
    example = Example(1, 1, "", question="What?", answers=("chair, table",))
    scores = compare_answers({1: "chair"}, {1: example}, wordnet=tiny)
    assert scores.corpus["WUPS_0.0",] == pytest.approx(100 * 4 / 7)
    assert scores.corpus["WUPS_0.9",] == pytest.approx(10 * 4 / 7)


Spoil = Callable[[Path], object]


BROKEN = [
    (lambda folder: (folder / "noun.exc").unlink(), "noun.exc: cannot be read"),
    (lambda folder: (folder / "index.noun").write_text("chair\n"), "index.noun:1: not a line of a WordNet index"),
    (lambda folder: (folder / "data.noun").write_text("nothing\n"), "data.noun has no meaning at byte"),
    (
        lambda folder: write_database(folder, {("chair",): ("seat",), ("seat",): ("chair",)}),
        "more general than itself",
    ),
]


def test_a_broken_database_is_reported(subtests: pytest.Subtests, tmp_path_factory: pytest.TempPathFactory) -> None:
    for spoil, message in BROKEN:
        with subtests.test(spoil=spoil, message=message):
            tmp_path = tmp_path_factory.mktemp("case")
            folder = write_database(tmp_path / "broken", TREE)
            spoil(folder)
            with pytest.raises(UserError, match=message):
                WordNet(folder).similarity("chair", "seat")


def test_likeness_is_nltks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (DEBIAN / "data.noun").is_file():
        pytest.skip("no WordNet database in /usr/share/wordnet (Debian's wordnet-base)")
    import nltk
    from nltk.corpus.reader.wordnet import WordNetCorpusReader

    class Reader(WordNetCorpusReader):
        def map_wn(self, version: str = "wordnet") -> dict:
            return {}  # would load a corpus that takes a download

    for file in filter(Path.is_file, DEBIAN.iterdir()):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "lexnames").write_text("".join(f"{number:02d}\tname\t1\n" for number in range(45)))
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path), *nltk.data.path])
    with warnings.catch_warnings(action="ignore"):
        theirs = Reader(str(tmp_path), None)
    ours = WordNet(DEBIAN)
    draw = random.Random(0)
    words = list(theirs.all_lemma_names("n"))
    plain = ["chair", "table", "lamps", "shelves", "knives", "people", "window", "glasses", "box", "men", "toy", "cat"]
    pairs = [(draw.choice(words), draw.choice(words)) for _ in range(300)]
    for one, other in [*pairs, *((one, other) for one in plain for other in plain)]:
        meanings = [theirs.synsets(word, pos="n") for word in (one, other)]
        similarities = [first.wup_similarity(second) or 0.0 for first in meanings[0] for second in meanings[1]]
        assert ours.similarity(one, other) == max(similarities, default=0.0), (one, other)
