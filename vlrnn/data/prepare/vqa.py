"""What the scripts for VQA and VQA-CP share: their options, and where questions and photographs lie."""

import argparse
from pathlib import Path

from vlrnn.data.formats.vqa import COCO_PARTS
from vlrnn.data.prepare.base import script_parser
from vlrnn.errors import UserError

_FILE_FOLDERS = ("", "questions", "annotations", "Questions", "Annotations")
_PHOTOGRAPH_FOLDERS = ("", "images", "Images/mscoco")


def vqa_parser(description: str) -> argparse.ArgumentParser:
    """A parser of what the scripts for VQA and VQA-CP take."""
    parser = script_parser(description, "the folder with the questions, the annotations and the photographs")
    parser.add_argument("--version", type=int, choices=(1, 2), default=2, help="of the questions; default 2")
    parser.add_argument(
        "--images", type=Path, metavar="FOLDER", help="with train2014/ and its like; SOURCE, if not given"
    )
    return parser


def find_vqa_file(source: Path, name: str) -> Path | None:
    """The file of this name in SOURCE, or in a folder for questions or annotations in it."""
    return next((path for folder in _FILE_FOLDERS if (path := source / folder / name).is_file()), None)


def find_photographs(source: Path, images: Path | None) -> Path:
    """The folder with `train2014/`, `val2014/` or `test2015/`: `images`, or else in SOURCE.

    Raises:
        UserError: there is none.
    """
    places = [images] if images else [source / folder for folder in _PHOTOGRAPH_FOLDERS]
    for place in places:
        if any((place / part).is_dir() for part in COCO_PARTS):
            return place
    raise UserError(
        f"{places[0]}: no photographs ({'/, '.join(COCO_PARTS)}/); name the folder that holds them by --images"
    )
