"""Preparation of data sets of questions: VQA, VQA-CP, DAQUAR and easy-VQA from their official files, and one's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from vlrnn.data.formats.base import SkipReport, Splits
from vlrnn.data.formats.table import read_questions
from vlrnn.data.formats.vqa import COCO_PARTS, LICENCE, read_daquar, read_easy_vqa, read_vqa
from vlrnn.data.images import find_images
from vlrnn.data.prepare.base import TableOptions, Target, find_first, publish, publish_table
from vlrnn.data.records import Example
from vlrnn.data.splits import checked_dev, cut_dev, cut_fold
from vlrnn.errors import UserError
from vlrnn.files import read_text
from vlrnn.terminal import print_line

_VQA_FOLDERS = ("", "questions", "annotations", "Questions", "Annotations")
_PHOTOGRAPH_FOLDERS = ("", "images", "Images/mscoco")
_VQA_TESTS = ("test2015", "test-dev2015")
_VQA_PREFIXES = {1: "", 2: "v2_"}
_VQA_SOURCES = {1: "Antol et al., ICCV 2015", 2: "Goyal et al., CVPR 2017"}
_DAQUAR_FILES = ("qa.{}.txt", "qa.894.raw.{}.txt", "qa.37.raw.{}.txt")


def vqa_v2(
    source: Path,
    /,
    target: Target,
    version: Literal[1, 2] = 2,
    images: Path | None = None,
    test: Literal["test2015", "test-dev2015"] | None = None,
) -> None:
    """Prepare VQA v2, or v1, from its official files: questions and annotations, for test only the questions.

    Args:
        source: the folder with the questions, the annotations and the photographs.
        version: of the questions.
        images: the folder with train2014/ and similar; by default SOURCE.
        test: the questions of test; by default the first of these that exist.

    Raises:
        UserError: a file is missing or not of its format.
    """
    image_root = _find_photographs(source, images)
    parts = [("train", "train2014"), ("val", "val2014"), *(("test", part) for part in ([test] if test else _VQA_TESTS))]
    dropped, splits = SkipReport(), Splits()
    for split, part in parts:
        path = _find_vqa_file(source, f"{_VQA_PREFIXES[version]}OpenEnded_mscoco_{part}_questions.json")
        if path and split not in splits:
            splits[split] = _read_vqa(source, f"{_VQA_PREFIXES[version]}mscoco_{part}", path, dropped)
    if not splits:
        wanted = f"{_VQA_PREFIXES[version]}OpenEnded_mscoco_train2014_questions.json"
        raise UserError(f"{source}: no questions of VQA v{version} ({wanted} and its like)")
    about = {"name": f"VQA v{version}", "source": _VQA_SOURCES[version], "licence": LICENCE}
    publish(target, splits, image_root, dropped, **about)


def _read_vqa(source: Path, prefix: str, questions: Path, dropped: SkipReport) -> list[Example]:
    annotations = _find_vqa_file(source, f"{prefix}_annotations.json")
    pairs = _find_vqa_file(source, f"{prefix}_complementary_pairs.json")
    if annotations is None and "_test" not in prefix:
        raise UserError(f"{questions}: no {prefix}_annotations.json beside it")
    examples = read_vqa(questions, annotations, dropped, pairs)
    others = [path.name for path in (annotations, pairs) if path]
    print_line(f"read {questions}: {len(examples):,} questions; " + (", ".join(others) or "no annotations"))
    return examples


def vqa_cp(
    source: Path,
    /,
    target: Target,
    version: Literal[1, 2] = 2,
    images: Path | None = None,
    dev: float = 0.1,
    seed: int = 0,
) -> None:
    """Prepare VQA-CP, v1 or v2, from its official files; its val is split from train by image.

    Args:
        source: the folder with the questions, the annotations and the photographs.
        version: of the questions.
        images: the folder with train2014/ and similar; by default SOURCE.
        dev: images of train that become val; below 1 a fraction.
        seed: of the val split.

    Raises:
        UserError: a file is missing or not of its format.
    """
    dev, image_root, dropped = checked_dev(dev), _find_photographs(source, images), SkipReport()
    splits: Splits = {}
    for split in ("train", "test"):
        names = [f"vqacp_v{version}_{split}_{kind}.json" for kind in ("questions", "annotations")]
        questions, annotations = (_find_vqa_file(source, name) for name in names)
        if questions is None or annotations is None:
            raise UserError(f"{source}: VQA-CP v{version} needs {' and '.join(names)}")
        splits[split] = read_vqa(questions, annotations, dropped)
        print_line(f"read {questions} and {annotations.name}: {len(splits[split]):,} questions")
    splits = cut_dev(splits["train"], dev, seed) | {"test": splits["test"]}
    about = {"name": f"VQA-CP v{version}", "source": "Agrawal et al., CVPR 2018", "licence": LICENCE}
    # Its splits are by the answers: questions about one image are in both.
    publish(target, splits, image_root, dropped, **about, test_shares_images=True, dev=dev, seed=seed)


def _find_vqa_file(source: Path, name: str) -> Path | None:
    """The file of this name in SOURCE, or in a folder for questions or annotations in it."""
    return next((path for folder in _VQA_FOLDERS if (path := source / folder / name).is_file()), None)


def _find_photographs(source: Path, images: Path | None) -> Path:
    """The folder with `train2014/`, `val2014/` or `test2015/`: `images`, or else in SOURCE."""
    places = [images] if images else [source / folder for folder in _PHOTOGRAPH_FOLDERS]
    for place in places:
        if any((place / part).is_dir() for part in COCO_PARTS):
            return place
    raise UserError(
        f"{places[0]}: no photographs ({'/, '.join(COCO_PARTS)}/); name the folder that holds them by --images"
    )


def daquar(
    source: Path, /, target: Target, dev: float = 0.1, seed: int = 0, folds: int | None = None, fold: int | None = None
) -> None:
    """Prepare DAQUAR from its raw two-line files; val, or the folds of a cross-validation, are split from train.

    Args:
        source: the folder with qa.train.txt, perhaps qa.test.txt, and images/.
        dev: images of train that become val; below 1 a fraction.
        seed: of the val split.
        folds: number of folds of train by image, for cross-validation.
        fold: the fold, from 1, that is test; val is split from the rest.

    Raises:
        UserError: a file is missing or not of its format, or there is no such fold.
    """
    dev = checked_dev(dev)
    if (folds is None) != (fold is None):
        raise UserError("--folds and --fold go together: how many, and which of them is test")
    image_root = find_first([source / "images", source / "nyu_depth_images"], "folder of images")
    images, dropped = find_images(image_root), SkipReport()
    settings = {"dev": dev, "seed": seed}
    train = _read_daquar(source, "train", images, dropped)
    test: Splits = {}
    if folds is not None and fold is not None:
        train, test["test"] = cut_fold(train, folds, fold, seed)
        settings |= {"folds": folds, "fold": fold}
        print_line(f"test is fold {fold} of {folds}, of the images of the official train split")
    elif any((source / name.format("test")).is_file() for name in _DAQUAR_FILES):
        test["test"] = _read_daquar(source, "test", images, dropped)
    source_paper = "Malinowski and Fritz, NIPS 2014, over NYU-Depth v2"
    about = {"name": "DAQUAR", "source": source_paper, "licence": "research only"}
    publish(target, cut_dev(train, dev, seed) | test, image_root, dropped, **about, **settings)


def _read_daquar(folder: Path, split: str, images: Sequence[Path], dropped: SkipReport) -> list[Example]:
    path = find_first([folder / name.format(split) for name in _DAQUAR_FILES], f"{split} questions")
    listed = folder / f"{split}_images.txt"
    examples = read_daquar(path, split, images, listed if listed.is_file() else None, dropped)
    lists = listed.name if listed.is_file() else "no list of images"
    print_line(f"read {path}: {len(examples):,} questions, {lists}")
    return examples


def easy_vqa(source: Path, /, target: Target, dev: float = 0.1, seed: int = 0) -> None:
    """Prepare easy-VQA from its files: questions.json and the images of train and test, and answers.txt.

    Args:
        source: the folder with answers.txt, train/ and test/.
        dev: images of train that become val; below 1 a fraction.
        seed: of the val split.

    Raises:
        UserError: a file is missing or not of its format.
    """
    dev, dropped = checked_dev(dev), SkipReport()
    answers = {line.strip() for line in read_text(source / "answers.txt").split("\n")}
    train, test = (read_easy_vqa(source, split, answers, dropped) for split in ("train", "test"))
    print_line(f"read {source}: {len(train):,} questions of train, {len(test):,} of test")
    splits = cut_dev(train, dev, seed) | {"test": test}
    about = {"name": "easy-VQA", "source": "V. Zhou, easy-VQA, 2019", "licence": "MIT"}
    publish(target, splits, source, dropped, dev=dev, seed=seed, **about)


def folder_vqa(source: Path, /, target: Target, questions: Path, options: TableOptions) -> None:
    """Prepare any folder of images with a CSV or JSON of questions; splits are those of the table, or random.

    Args:
        source: the folder of images.
        questions: CSV (image, question, answer, split), JSON or JSON lines.

    Raises:
        UserError: there is no such folder, or the table is not of its format.
    """
    publish_table(target, source, questions, read_questions, "question", options)
