"""Synthetic data sets, and those derived from other data sets: scenes and texts, shifted priors, inverse questions,
shards, polls of objects."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vlrnn.data.formats.base import SkipReport, Splits
from vlrnn.data.prepare.base import Target, publish
from vlrnn.data.records import SPLITS, Example, describe_dataset, open_split
from vlrnn.data.shards import write_shards
from vlrnn.data.splits import checked_dev, cut_dev, draw_order, shift
from vlrnn.data.synthetic.dataset import SceneSettings, make_scenes
from vlrnn.data.synthetic.dataset import paragraphs as make_paragraphs
from vlrnn.data.synthetic.questions import with_inverses
from vlrnn.errors import UserError, check_least
from vlrnn.files import replacing
from vlrnn.probes.object_annotations import make_polls, read_object_sets, write_polls
from vlrnn.terminal import print_line


def synthetic(*, out: Path, settings: SceneSettings) -> None:
    """Make synthetic scenes: FOLDER/images, and FOLDER/captions and FOLDER/vqa, which are prepared data sets.

    Args:
        out: the FOLDER.

    Raises:
        UserError: a value out of range.
    """
    description = make_scenes(out, **vars(settings))
    for split, rates in description["scenes"].items():
        print_line(f"{split}: " + ", ".join(f"{name} {value}" for name, value in rates.items()))
    print_line(f"written to {out}: images, captions, vqa")


def prose(*, out: Path, paragraphs: int = 3000, seed: int = 0) -> None:
    """Make a running text for language models: people talk about synthetic scenes, a paragraph on each line.

    Args:
        out: the text file.
        paragraphs: each about another scene.
        seed: of the text.

    Raises:
        UserError: less than one paragraph.
    """
    check_least("--paragraphs", paragraphs)
    text = "".join(f"{each}\n" for each in make_paragraphs(paragraphs, seed))
    with replacing(out) as file:
        file.write(text)
    print_line(f"written to {out}: {paragraphs:,} paragraphs, {len(text):,} characters")


def inverses(source: Path, /, target: Target) -> None:
    """Make the inverses of a synthetic data set's questions about relations, for `vlrnn probe consistency`. Of the test
    split, each such question comes with its opposite, and with the same one the other way round.

    Args:
        source: the folder of prepared questions about synthetic scenes.

    Raises:
        UserError: no question is after a relation.
    """
    examples = with_inverses(open_split(source, "test"))
    if not examples:
        raise UserError(f"{source}/test.jsonl: has no questions about relations, which synthetic scenes have")
    _publish(source, target, {"test": examples}, "inverses")


def shift_priors(source: Path, /, target: Target, strength: float = 0.9, dev: float = 0.1, seed: int = 0) -> None:
    """Shift the priors of the answers of a prepared data set of questions: one in train and val, the reverse in test.

    A data set that has no test, or one without answers, is tested on its val; a val that lacks then is cut from train
    by image. The results are `OUT/shifted`, and `OUT/same`, whose test has the priors of train: compare the gain of a
    model on the one with its loss on the other.

    Args:
        source: the folder of a prepared data set of questions.
        strength: fraction removed of the questions with the rarest answer of a type, 0 to below 1.
        dev: images of train that become a missing val or test; below 1 a fraction.
        seed: of the order of the answers.

    Raises:
        UserError: there is no train with answers, or nothing is cut from it.
    """
    splits = _with_all_splits(source, checked_dev(dev), seed)
    order = draw_order(splits["train"], seed)
    settings: dict[str, Any] = {"strength": strength, "seed": seed}
    same = {split: shift(examples, order, **settings) for split, examples in splits.items()}
    shifted = same | {"test": shift(splits["test"], order, **settings, reverse=True)}
    for name, each in {"shifted": shifted, "same": {"test": same["test"]}}.items():
        _publish(source, replace(target, out=target.out / name), each, f"{name} priors", **settings)


def _with_all_splits(source: Path, dev: float, seed: int) -> Splits:
    """Train, val and test of a data set, all with answers; a missing val or test is cut from train by image."""
    found = [split for split in SPLITS if (source / f"{split}.jsonl").is_file()]
    read = {split: list(open_split(source, split)) for split in found}
    splits = {split: each for split, each in read.items() if any(one.question and one.answers for one in each)}
    if "train" not in splits:
        raise UserError(f"{source}/train.jsonl: holds no questions with answers")
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
        print_line("test: val is used, as there is none with answers")
    for split in ("test", "val"):
        if split not in splits:
            cut = cut_dev(splits["train"], dev, seed)
            if "val" not in cut:
                raise UserError(f"--dev {dev:g}: there is no {split}, and no images of train are taken for it")
            splits |= {"train": cut["train"], split: cut["val"]}
            print_line(f"{split}: {len({each.image_id for each in cut['val']}):,} images, taken from train")
    return splits


def _publish(source: Path, target: Target, splits: Mapping[str, Sequence[Example]], change: str, **more: Any) -> None:
    """Publish a data set that was derived from another, under the name of that and the change."""
    about = describe_dataset(source)
    more |= {"name": f"{about.get('name', source.resolve().name)}, {change}"}
    more |= {name: about.get(name, "unknown") for name in ("source", "licence")}
    publish(target, splits, source / about.get("image_root", "."), SkipReport(), **more)


def shards(source: Path, /, out: Path, size: float = 1024) -> None:
    """Store the images of a prepared data set in tar files, which clusters and network disks read faster. Each tar file
    is also a shard of webdataset, with a JSON file of the captions or questions of every image.

    Args:
        source: the folder of a prepared data set.
        out: the folder of the sharded data set.
        size: approximate MiB of a shard.

    Raises:
        UserError: there is no such data set, one of its images cannot be read, or webdataset is not installed.
    """
    for split, (images, count) in write_shards(source, out, size).items():
        print_line(f"{split}: {images:,} images in {count:,} shards")
    print_line(f"written to {out}")


def pope(objects: str, /, out: Path, per_image: int = 6, images: int | None = None, seed: int = 0) -> None:
    """Make polls from annotations of objects: yes/no questions for `vlrnn probe pope`. Writes
    `random.json`, `popular.json` and `adversarial.json` in the form of the published polls (POPE, Li et al. 2023).

    Args:
        objects: {"image id": [names]} as JSON, a prepared .jsonl, or COCO's instances.
        out: the folder of the polls.
        per_image: questions about an image.
        images: number of images, drawn at random; by default all.
        seed: of what is drawn.

    Raises:
        UserError: a value out of range, or the objects cannot be read.
    """
    check_least("--per_image", per_image, 2)
    check_least("--images", images)
    polls = make_polls(read_object_sets(objects), per_image=per_image, images=images, seed=seed)
    write_polls(out, polls)
    for kind, lines in polls.items():
        print_line(f"{kind}: {len(lines):,} questions about {len({line['image_id'] for line in lines}):,} images")
    print_line(f"written to {out}")
