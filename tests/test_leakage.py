"""The study of leakage: what is masked, how images are divided, that attackers find what is there and nothing else, and
that seeds that are there are not attacked again."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlrnn.cli import main
from vlrnn.errors import UserError
from vlrnn.probes.gender_words import GenderWords
from vlrnn.studies import leakage as study
from vlrnn.studies.attackers import ATTACKERS, Captions, Masked, attack, mask, read_masked
from vlrnn.studies.leakage import leakage, split

MASKED = GenderWords.load().masked()
WORDS = ["dog", "cat", "tree", "car", "bus", "horse", "kite"]


def sentence(rng: random.Random, *more: str) -> tuple[str, ...]:
    return (*rng.choices(WORDS, k=4), *more)


def made(count: int, *, predicted: float, human: float = 0.0) -> list[Masked]:
    """Images, half of women; a share of the captions has a word that tells."""
    rng = random.Random(0)
    images = []
    for id in range(count):
        gender = "woman" if id % 2 else "man"
        tells = {"woman": "umbrella", "man": "skateboard"}[gender]
        captions = [sentence(rng, *([tells] if rng.random() < share else [])) for share in (predicted, human)]
        images.append(Masked(id, gender, captions[0], (captions[1],)))
    return images


def test_masking() -> None:
    caption = "A Woman's boyfriend, in HIS hat, and a mailman."
    assert mask(caption, MASKED) == ("a", "<gender>", "'s", "<gender>", "in", "<gender>", "hat", "and", "a", "<gender>")
    aligned = mask(caption, MASKED, frozenset(["a", "hat"]))
    assert " ".join(aligned) == "a <gender> <unk> <gender> <unk> <gender> hat <unk> a <gender>"


def test_every_word_that_names_a_gender_is_masked() -> None:
    words = GenderWords.load()
    for word in words.women | words.men | {"he", "him", "mother", "grandpa"}:
        assert mask(f"the {word} there", MASKED) == ("the", "<gender>", "there")


@given(st.integers(20, 60), st.integers(20, 60), st.integers(0, 5))
def test_splits_are_balanced_and_apart(women: int, men: int, seed: int) -> None:
    images = [Masked(i, "woman" if i < women else "man", (), ((),)) for i in range(women + men)]
    parts = [*split(images, seed).values()]
    assert [*split(images, seed).values()] == parts
    places = [place for part in parts for place in part]
    assert len(places) == len(set(places)) == 2 * min(women, men)
    for part in parts:
        assert len(part) > 0
        assert sum(place < women for place in part) * 2 == len(part)


@pytest.mark.parametrize("name", ATTACKERS)
def test_attackers_find_leakage(name: str) -> None:
    def parts(share: float) -> list[Captions]:
        images = made(240, predicted=share)
        women = np.array([image.gender == "woman" for image in images])
        bounds = [(0, 120), (120, 160), (160, 240)]
        return [Captions([image.caption for image in images[a:b]], women[a:b]) for a, b in bounds]

    before = torch.get_rng_state()
    surely = attack(ATTACKERS[name], *parts(1.0))
    assert (surely > 0.8).mean() > 0.95
    assert 0.35 < (attack(ATTACKERS[name], *parts(0.0)) > 0.5).mean() < 0.65
    half = attack(ATTACKERS[name], *parts(0.5))
    assert 0.65 < (half > 0.5).mean() < 0.9
    assert np.array_equal(half, attack(ATTACKERS[name], *parts(0.5)))
    assert not np.array_equal(half, attack(ATTACKERS[name], *parts(0.5), seed=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_order_is_read_by_the_lstm_alone() -> None:
    rng = random.Random(0)
    women = np.arange(300) % 2 == 0
    tokens = [("dog", "sees", "cat") if woman else ("cat", "sees", "dog") for woman in women]
    tokens = [(*each, rng.choice(WORDS)) for each in tokens]
    parts = [Captions(tokens[a:b], women[a:b]) for a, b in ((0, 200), (200, 240), (240, 300))]
    right = {name: (attack(build, *parts) > 0.5).mean() for name, build in ATTACKERS.items()}
    assert right["lstm"] > 0.95
    assert right["linear"] < 0.7


def test_empty_captions_are_guessed_by_nothing() -> None:
    empty = Captions([()] * 40, np.arange(40) % 2 == 0)
    for build in ATTACKERS.values():
        assert attack(build, empty, empty, empty) == pytest.approx(0.5, abs=0.1)


def test_planted_leakage_is_found(tmp_path: Path) -> None:
    found = leakage(tmp_path, made(120, predicted=0.9), seeds=2)
    for name in ATTACKERS:
        scores = found.scores[name]
        assert scores["LIC"]["low"] > 0
        assert scores["accuracy_difference"]["low"] > 0
        assert scores["LIC"]["value"] == pytest.approx(scores["LIC_M"]["value"] - scores["LIC_D"]["value"])
        assert found.baselines["chance"][name].keys() == scores.keys()
    by_seed = found.details["by_seed"]["linear"]["accuracy_M"]
    assert found.scores["linear"]["accuracy_M"]["value"] == pytest.approx(np.mean(by_seed))
    assert {row["word"] for row in found.details["words"][:2]} == {"umbrella", "skateboard"}
    assert {"umbrella", "skateboard"} & set(found.cases[0]["caption"].split())
    assert len({case["caption"] for case in found.cases}) == len(found.cases) == 10


def test_no_leakage_is_found_where_none_is(tmp_path: Path) -> None:
    found = leakage(tmp_path, made(120, predicted=0.5, human=0.5), seeds=2)
    for name in ATTACKERS:
        for measure in ("LIC", "accuracy_difference"):
            assert found.scores[name][measure]["low"] < 0 < found.scores[name][measure]["high"]


def test_what_exists_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def guesses(images: list[Masked], seed: int) -> dict[str, Any]:
        seeds_run.append(seed)
        sure = {"said": [0.9] * 10, "human": [[0.6] * 10, [0.4] * 10]}
        return {"images": list(range(10)), "attackers": dict.fromkeys(ATTACKERS, sure)}

    seeds_run: list[int] = []
    monkeypatch.setattr(study, "attack_once", guesses)
    images = made(40, predicted=0.5)
    first = leakage(tmp_path, images, seeds=2)
    assert leakage(tmp_path, images, seeds=2) == first
    assert leakage(tmp_path, images, seeds=3).settings["seeds"] == [0, 1, 2]
    assert seeds_run == [0, 1, 2]
    scores = {name: each["value"] for name, each in first.scores["lstm"].items()}
    assert scores == pytest.approx(
        {"LIC": 60, "accuracy_difference": 50, "LIC_M": 90, "LIC_D": 30, "accuracy_M": 100, "accuracy_D": 50}
    )
    assert first.scores["lstm"]["LIC"]["n"] == 10
    with pytest.raises(UserError, match=r"holds another plan \(captions\)"):
        leakage(tmp_path, made(40, predicted=0.6), seeds=1)
    (tmp_path / "seed-0.json").write_text("[]")
    with pytest.raises(UserError, match="computed from other captions"):
        leakage(tmp_path, images, seeds=1)


Write = Callable[[str, Any], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, value: Any) -> str:
        (tmp_path / name).write_text(value if isinstance(value, str) else json.dumps(value))
        return str(tmp_path / name)

    return write


def files(write: Write, women: int, men: int) -> tuple[str, str]:
    """Predictions and references of images, of whom the references tell."""
    people = ["woman"] * women + ["man"] * men
    predictions = [{"image_id": id, "caption": f"a {who} by a dog"} for id, who in enumerate(people)]
    human = [{"image_id": id, "caption": f"A {who} near a dog."} for id, who in enumerate(people)]
    return write("p.json", predictions), write(
        "r.json", {"annotations": [*human, {"image_id": 999, "caption": "a boy, a girl"}]}
    )


def test_references_replace_a_missing_list(write: Write) -> None:
    predictions, references = files(write, 20, 30)
    images, notes = read_masked(predictions, references)
    assert (len(images), images[0].gender, images[-1].gender) == (50, "woman", "man")
    assert images[0].caption == ("a", "<gender>", "by", "a", "dog")
    assert images[0].human == (("a", "<gender>", "<unk>", "a", "dog"),)
    assert any("20 images of each gender are used, of 20 of women and 30 of men" in note for note in notes)
    lists = {name: write(name, "\n".join(map(str, ids))) for name, ids in (("w", range(25, 46)), ("m", range(25)))}
    listed, notes = read_masked(predictions, references, women=lists["w"], men=lists["m"])
    assert sorted(image.id for image in listed if image.gender == "woman") == list(range(25, 46))
    assert sum(image.gender == "man" for image in listed) == 25
    with pytest.raises(UserError, match="give both --women and --men"):
        read_masked(predictions, references, women=lists["w"])


def test_too_few_images_are_refused(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions, references = files(write, 19, 30)
    arguments = ["--predictions", predictions, "--references", references, "--out", str(tmp_path / "out")]
    assert main(["study", "leakage", *arguments]) == 2
    printed = capsys.readouterr().err
    assert "19 images of women and 30 of men have predictions and references; an attack needs 20 of each" in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()
