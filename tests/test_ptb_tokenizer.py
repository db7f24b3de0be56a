"""The tokenizer is the official one, token for token; and detokenizing loses no token."""

import json
import os
import shutil
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.golden.build import java_tokenize, sentences
from tests.golden.corpora import EVERY, corpora, digests
from vlrnn.text.ptb_tokenizer import LONGEST_TOKEN, detokenize, tokenize, tokenize_all

GOLDEN = Path(__file__).parent / "golden"
DATA = os.environ.get("VLRNN_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="VLRNN_DATA, the data folder, is not set")
needs_java = pytest.mark.skipif(
    find_spec("pycocoevalcap") is None or shutil.which("java") is None,
    reason="pycocoevalcap or Java is not there",
)

captions = st.text(
    st.sampled_from("abdmnostvABDMNOST0159   ..,'''\"\"!?-_/\\()[]{}<>@#$%&*+=~:;’“”—…éñ½£°²日\u00a0\u00ad🙂")
)
pieces = st.sampled_from(
    [
        "a",
        "A",
        "man",
        "dog's",
        "don't",
        "can't",
        "cannot",
        "gonna",
        "St.",
        "U.S.",
        "Mr.",
        "no.",
        "fig.",
        "5",
        "1/2",
        "1,000",
        "555-1234",
        "(red)",
        "[x]",
        "t-shirt",
        "'tis",
        "'80s",
        "y'all",
        "o'clock",
        "p.m.",
        "e.g.",
        "etc.,",
        "$5",
        "10%",
        "a.b",
        "http://a.com/b",
        "<b>",
        "AT&T",
        ":)",
        "--",
        "...",
        "''",
    ]
)


def golden_tokens() -> list[list[str]]:
    lines = (GOLDEN / "sentences.tokens.txt").read_text("utf-8").split("\n")[:-1]
    return [line.split("\t") if line else [] for line in lines]


def test_own_sentences_get_the_official_tokens() -> None:
    wrong = {
        sentence: (ours, official)
        for sentence, ours, official in zip(sentences(), tokenize_all(sentences()), golden_tokens(), strict=True)
        if ours != official
    }
    assert not wrong
    assert len(sentences()) >= 300


@needs_data
def test_real_captions_get_the_official_tokens() -> None:
    golden = json.loads((GOLDEN / "digests.json").read_text("utf-8"))
    found = corpora(str(DATA))
    assert found.keys() == golden.keys()
    for name, texts in found.items():
        ours = digests(tokenize_all(texts))
        wrong = [place * EVERY for place, pair in enumerate(zip(ours, golden[name], strict=True)) if len(set(pair)) > 1]
        assert not wrong, f"{name}: captions differ among the {EVERY} from each of {wrong}"


@needs_java
@settings(max_examples=5, deadline=None)
@given(st.lists(st.one_of(captions, st.lists(pieces).map(" ".join)), min_size=1, max_size=300))
def test_any_text_gets_the_official_tokens(texts: list[str]) -> None:
    assert tokenize_all(texts) == java_tokenize(texts)


TOKENIZED = [
    ("A man can't ride.", ["a", "man", "ca", "n't", "ride"]),
    ("cannot gonna", ["can", "not", "gon", "na"]),
    ("(a) [b] {c}", ["-lrb-", "a", "-rrb-", "-lsb-", "b", "-rsb-", "-lcb-", "c", "-rcb-"]),
    ("2 1/2 cups", ["2\u00a01/2", "cups"]),
    ("the dog’s “bone”…", ["the", "dog", "'s", "bone"]),
    ("a U.S. flag in the U.S.", ["a", "u.s.", "flag", "in", "the", "u.s."]),
    ("See no. 5. He said no. The end", ["see", "no.", "5", "he", "said", "no", "the", "end"]),
    ("what?! no!", ["what", "?!", "no"]),
    ("well-known x--y", ["well-known", "x", "y"]),
    ("", []),
    (" \n ", []),
]


def test_published_tokens(subtests: pytest.Subtests) -> None:
    for caption, tokens in TOKENIZED:
        with subtests.test(caption=caption, tokens=tokens):
            assert tokenize(caption) == tokens


def test_the_next_caption_decides_over_a_last_letter() -> None:
    assert tokenize("it reads K.") == ["it", "reads", "k."]
    assert tokenize_all(["it reads K.", "A man"])[0] == ["it", "reads", "k"]
    assert tokenize_all(["it reads K.", "a man"])[0] == ["it", "reads", "k."]
    assert tokenize_all(["it reads K.", "", " ", "A man"])[0] == ["it", "reads", "k"]  # blank captions are skipped
    assert tokenize_all(["see no.", "", "5 dogs"])[0] == ["see", "no"]


@given(st.text())
def test_any_unicode_is_tokenized(text: str) -> None:
    assert all(token and " " not in token for token in tokenize(text))


@given(st.lists(st.text(), max_size=5))
def test_captions_are_tokenized_together_as_alone_unless_their_end_is_open(texts: list[str]) -> None:
    closed = [text + " end" for text in texts]
    assert tokenize_all(closed) == list(map(tokenize, closed))


DETOKENIZED = [
    (["a", "dog", "'s", "toy"], "a dog's toy"),
    (["do", "n't", "go"], "don't go"),
    (["a", "-lrb-", "red", "-rrb-", "bus"], "a (red) bus"),
    (["$", "5", "and", "10", "%"], "$5 and 10%"),
    (["y'", "all"], "y'all"),
    ([], ""),
]


def test_detokenized_captions_are_readable(subtests: pytest.Subtests) -> None:
    for tokens, text in DETOKENIZED:
        with subtests.test(tokens=tokens, text=text):
            assert detokenize(tokens) == text


@given(st.lists(pieces).map(" ".join))
def test_detokenizing_keeps_the_tokens(caption: str) -> None:
    tokens = tokenize(caption)
    assert tokenize(detokenize(tokens)) == tokens


def test_detokenizing_keeps_the_tokens_of_the_nasty_set() -> None:
    runs_of_quotes = ("``''", "'``")
    for tokens in golden_tokens():
        if not any(token in runs_of_quotes for token in tokens):
            assert tokenize(detokenize(tokens)) == tokens


@pytest.mark.parametrize("unit", ["&a", "a,", '<a b="c" ', "@.a", "<!a"])
def test_endless_texts_take_linear_time(unit: str) -> None:
    """Rules that look for an `@`, a hyphen or the end of a tag would go to the end of the text at every place. Times
    are those of this process, so that other work does not count; by the square they would be 16 times as long."""

    def seconds(characters: int, first: str) -> float:
        text = first + unit * (characters // len(unit))  # another text each time: what was tokenized is remembered
        start = time.process_time()
        assert len(tokenize(text)) > characters / 20
        return time.process_time() - start

    short = min(seconds(2500, first) for first in "bc")
    assert seconds(10_000, "b") < 9 * short


def test_detokenizing_endless_texts_takes_linear_time() -> None:
    """Also where no spelling gives the tokens back, as a model may say them in any order, and all ways are tried."""

    def seconds(times: int) -> float:
        start = time.process_time()
        assert detokenize(["don", "'s", "n't", "a.", "'re"] * times)
        return time.process_time() - start

    short = seconds(10)
    assert seconds(40) < 9 * short


def test_words_of_any_length_keep_all_their_characters() -> None:
    assert "".join(tokenize("a" * 2500)) == "a" * 2500
    assert len(tokenize("http://" + "b" * 2500)[0]) == LONGEST_TOKEN


def test_text_imports_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, vlrnn.text.ptb_tokenizer, vlrnn.metrics.caption_evaluation; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
