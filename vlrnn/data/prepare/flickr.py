"""Prepares Flickr8k and Flickr30k."""

import argparse
from collections.abc import Mapping, Sequence

from vlrnn.data.formats.base import SkipReport
from vlrnn.data.formats.flickr import read_flickr
from vlrnn.data.prepare.base import find_first, publish
from vlrnn.errors import UserError
from vlrnn.terminal import print_line


def prepare_flickr(
    options: argparse.Namespace,
    *,
    name: str,
    source: str,
    tokens: Sequence[str],
    images: Sequence[str],
    split_lists: Mapping[str, Sequence[str]],
) -> None:
    """Do the work of a script.

    Args:
        options: `source`, `out` and `unchecked`, of `script_parser`.
        name, source: of the data set, for `dataset.json`.
        tokens, images, split_lists: where in the source folder the token file, the images and each split's
            list may be; the first place where there is one counts, and a split without a list is left out.

    Raises:
        UserError: a file is missing or not of its format, or an image stands in two splits.
    """
    folder = options.source
    token_file = find_first([folder / place for place in tokens], "token file")
    image_root = find_first([folder / place for place in images], "folder of images")
    lists = {
        split: path
        for split, places in split_lists.items()
        if (path := next((folder / place for place in places if (folder / place).is_file()), None))
    }
    if not lists:
        wanted = ", ".join(places[0] for places in split_lists.values())
        raise UserError(f"{folder}: no split list (looked for {wanted}); put at least one there")
    dropped = SkipReport()
    splits = read_flickr(token_file, lists, dropped)
    print_line(f"read {token_file} and the lists of {', '.join(lists)}")
    licence = "photographs and captions for research and education only"
    publish(
        options.out,
        splits,
        image_root,
        dropped,
        name=name,
        source=source,
        licence=licence,
        check=not options.unchecked,
    )
