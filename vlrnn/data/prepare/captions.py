"""Preparation of data sets of captions: COCO, Flickr8k and Flickr30k from their official files, and one's own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from vlrnn.data.formats.base import SPLIT_NAMES, SkipReport, Splits
from vlrnn.data.formats.coco import name_by_files, read_coco
from vlrnn.data.formats.flickr import read_flickr, read_karpathy
from vlrnn.data.formats.table import read_captions
from vlrnn.data.prepare.base import TableOptions, Target, find_first, publish, publish_table
from vlrnn.errors import UserError
from vlrnn.terminal import print_line


def coco(
    source: Path,
    /,
    target: Target,
    karpathy: Path | None = None,
    captions: Sequence[Path] | None = None,
    split: Literal["train", "val", "test"] | None = None,
) -> None:
    """Prepare COCO captions from the official captions_*.json and instances_*.json, or from Karpathy's splits.

    Args:
        source: the folder with annotations/ and the images (train2017/, val2017/, ...).
        karpathy: dataset_coco.json: take captions and splits from there.
        captions: instead of all captions in SOURCE/annotations.
        split: of the captions, instead of the one in the file names.

    Raises:
        UserError: a file is missing or not of its format, or an image is in two splits.
    """
    dropped = SkipReport()
    if karpathy:
        name, splits = read_karpathy(karpathy, source)
        print_line(f"read {karpathy}: {sum(map(len, splits.values())):,} images of {name}")
    else:
        name, splits = "coco", _official_coco(source, captions, split, dropped)
    about = {"source": str(karpathy and karpathy.name), "licence": f"that of {name}"}
    if name == "coco":
        about["source"] = "Lin et al., ECCV 2014; Chen et al., arXiv 1504.00325"
        about["licence"] = "annotations CC BY 4.0; photographs under the terms of Flickr"
    publish(target, splits, source, dropped, name=name + (", Karpathy's splits" if karpathy else ""), **about)


def _official_coco(folder: Path, named: Sequence[Path] | None, only: str | None, dropped: SkipReport) -> Splits:
    files = named or sorted((folder / "annotations").glob("captions_*.json"))
    if not files:
        raise UserError(f"{folder}: no annotations/captions_*.json; name the file with --captions")
    splits: Splits = {}
    for captions in files:
        part = captions.stem.removeprefix("captions_")  # val2017
        split = only or SPLIT_NAMES.get(part.rstrip("0123456789"))
        if split is None:
            raise UserError(f"{captions}: its name does not contain the split; name it with --split")
        instances = captions.with_name(f"instances_{part}.json")
        images = next((place for place in (part, f"images/{part}", "images") if (folder / place).is_dir()), "")
        examples = read_coco(captions, instances if instances.is_file() else None, images, dropped)
        splits.setdefault(split, []).extend(examples)
        print_line(f"read {captions}, " + (instances.name if instances.is_file() else "without instances"))
    return name_by_files(splits, folder)


def flickr8k(source: Path, /, target: Target) -> None:
    """Prepare Flickr8k from its official files: the token file, the split lists that exist, the images.

    Args:
        source: the folder with Flickr8k.token.txt, the split lists and the images.

    Raises:
        UserError: a file is missing or not of its format, or an image is in two splits.
    """
    tokens = ("Flickr8k.token.txt", "Flickr8k_text/Flickr8k.token.txt")
    images = ("images", "Flicker8k_Dataset", "Flickr8k_Dataset", "Images")  # [sic]
    lists = ("Flickr_8k.{}Images.txt", "Flickr8k_text/Flickr_8k.{}Images.txt")
    about = {"name": "Flickr8k", "source": "Hodosh, Young and Hockenmaier, JAIR 2013"}
    _flickr(source, target, tokens, images, lists, "dev", about)


def flickr30k(source: Path, /, target: Target) -> None:
    """Prepare Flickr30k from its official files: the token file, the split lists that exist, the images.

    Args:
        source: the folder with results_20130124.token, train.txt, ..., and the images.

    Raises:
        UserError: a file is missing or not of its format, or an image is in two splits.
    """
    tokens = ("results_20130124.token", "flickr30k/results_20130124.token")
    images = ("images", "flickr30k-images", "flickr30k_images")
    lists = ("{}.txt", "flickr30k_{}.txt", "flickr30k_entities/{}.txt")
    about = {"name": "Flickr30k", "source": "Young, Lai, Hodosh and Hockenmaier, TACL 2014"}
    _flickr(source, target, tokens, images, lists, "val", about)


def _flickr(
    folder: Path,
    target: Target,
    tokens: Sequence[str],
    images: Sequence[str],
    lists: Sequence[str],
    val: str,
    about: Mapping[str, str],
) -> None:
    """Prepare Flickr8k or Flickr30k. `tokens`, `images` and `lists` are candidate paths, in the folder, of the token
    file, the images and the list of each split, with its name in braces, of val the name `val`: the first that exists
    is used; a split without a list is left out."""
    token_file = find_first([folder / place for place in tokens], "token file")
    image_root = find_first([folder / place for place in images], "folder of images")
    names = {"train": "train", "val": val, "test": "test"}
    found = {split: [folder / each.format(name) for each in lists] for split, name in names.items()}
    split_lists = {
        split: next(filter(Path.is_file, paths)) for split, paths in found.items() if any(map(Path.is_file, paths))
    }
    if not split_lists:
        wanted = ", ".join(map(lists[0].format, names.values()))
        raise UserError(f"{folder}: no split list (looked for {wanted}); put at least one there")
    dropped = SkipReport()
    splits = read_flickr(token_file, split_lists, dropped)
    print_line(f"read {token_file} and the lists of {', '.join(split_lists)}")
    licence = "photographs and captions for research and education only"
    publish(target, splits, image_root, dropped, **about, licence=licence)


def folder(source: Path, /, target: Target, captions: Path, options: TableOptions) -> None:
    """Prepare any folder of images with a CSV or JSON of captions; splits are those of the table, or random.

    Args:
        source: the folder of images.
        captions: CSV (image, caption, split), JSON or JSON lines.

    Raises:
        UserError: there is no such folder, or the table is not of its format.
    """
    publish_table(target, source, captions, read_captions, "caption", options)
