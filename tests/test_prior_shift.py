"""Shifted priors: a data set with them made of any other."""

from dataclasses import replace
from pathlib import Path

import pytest
from data_scripts import Script, make_images

from vlrnn.data.records import Example, Id, describe_dataset, open_split, write_dataset, write_records


def yes_no(folder: Path, per_split: int = 400) -> None:
    """Half of the questions about dogs, and of those about cats, are answered yes."""
    splits: dict[str, list[Example]] = {}
    for split in ("train", "val", "test"):
        make_images(folder, [f"{split}-{number}.png" for number in range(4)])
        splits[split] = [
            Example(
                id=f"{split}-{number}",
                image_id=f"{split}-{number % 4}",
                image=f"{split}-{number % 4}.png",
                question=f"is it a {kind}",
                answers=("yes" if number // 4 % 2 else "no",),
                question_type=kind,
            )
            for number in range(per_split)
            for kind in ["dogs" if number % 3 else "cats"]
        ]
    write_dataset(folder, splits, name="pets", source="nowhere", licence="none")


def test_priors_are_shifted(script: Script, tmp_path: Path) -> None:
    yes_no(tmp_path / "pets")
    assert script.run("shift_priors", tmp_path / "pets", "--strength", "0.8") == 0

    def shares(name: str, split: str) -> dict[str | None, float]:
        examples = list(open_split(script.out / name, split))
        assert {example.image_id.split("-")[0] for example in examples if isinstance(example.image_id, str)} == {split}
        kinds: dict[str | None, list[bool]] = {}
        for example in examples:
            kinds.setdefault(example.question_type, []).append(example.answers == ("yes",))
        return {kind: sum(each) / len(each) for kind, each in kinds.items()}

    train, val, shifted, same = shares("shifted", "train"), shares("shifted", "val"), shares("shifted", "test"), {}
    same = shares("same", "test")
    for kind in ("dogs", "cats"):
        frequent = train[kind] > 0.5
        # of one in six and five in six, or thereabouts
        for share, same_prior in ((train[kind], True), (val[kind], True), (same[kind], True), (shifted[kind], False)):
            assert share == pytest.approx(5 / 6 if frequent == same_prior else 1 / 6, abs=0.1)
    assert describe_dataset(script.out / "shifted")["strength"] == 0.8
    again = Script(script.capsys, tmp_path / "again")
    assert again.run("shift_priors", tmp_path / "pets", "--strength", "0.8") == 0
    assert (again.out / "shifted" / "train.jsonl").read_bytes() == (script.out / "shifted" / "train.jsonl").read_bytes()


def test_priors_of_a_data_set_that_tells_little_of_itself(script: Script, tmp_path: Path) -> None:
    yes_no(tmp_path / "pets")
    (tmp_path / "pets" / "dataset.json").write_text("{}")
    assert script.run("shift_priors", tmp_path / "pets") == 0
    assert describe_dataset(script.out / "same")["name"] == "pets, same priors"


def test_what_lacks_is_cut_from_train_by_image(script: Script, tmp_path: Path) -> None:
    """VQA v2 has no answers to its test, others have no val; yet val is never what is tested on."""
    yes_no(tmp_path / "pets")

    def images(split: str) -> set[Id]:
        return {example.image_id for example in open_split(script.out / "shifted", split)}

    secret = [replace(each, answers=()) for each in open_split(tmp_path / "pets", "test")]
    write_records(tmp_path / "pets" / "test.jsonl", secret)
    assert script.run("shift_priors", tmp_path / "pets", "--dev", "1") == 0
    assert "test: val is used" in script.printed
    assert "val: 1 images, taken from train" in script.printed
    assert images("test") == {f"val-{number}" for number in range(4)}
    assert images("train") | images("val") == {f"train-{number}" for number in range(4)}
    assert not images("train") & images("val")
    (tmp_path / "pets" / "val.jsonl").unlink()
    assert script.run("shift_priors", tmp_path / "pets", "--dev", "1") == 0
    assert "test: 1 images, taken from train" in script.printed
    parts = [images(split) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [2, 1, 1]
    assert len(set.union(*parts)) == 4


def test_priors_that_cannot_be_shifted(script: Script, tmp_path: Path) -> None:
    yes_no(tmp_path / "pets", 8)
    assert "below 1, not 1.0" in script.refuses("shift_priors", tmp_path / "pets", "--strength", "1")
    (tmp_path / "pets" / "val.jsonl").unlink()
    assert "there is no val, and no images of train are taken" in script.refuses(
        "shift_priors", tmp_path / "pets", "--dev", "0"
    )
    assert "of 4 images none would be left" in script.refuses("shift_priors", tmp_path / "pets", "--dev", "4")
    make_images(tmp_path / "captioned", ["a.png", "b.png", "c.png"])
    splits = {
        split: [Example(id=1, image_id=name, image=f"{name}.png", captions=("a dog",))]
        for split, name in zip(("train", "val", "test"), "abc", strict=True)
    }
    write_dataset(tmp_path / "captioned", splits, name="dogs", source="nowhere", licence="none")
    assert "holds no questions with answers" in script.refuses("shift_priors", tmp_path / "captioned")
