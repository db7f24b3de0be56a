"""The real captions that the tokenizer is held to, read from the data folder, and the digests kept of their
tokens."""

import hashlib
import json
from pathlib import Path

EVERY = 500
"""Captions to a digest."""


def corpora(folder: str | Path) -> dict[str, list[str]]:
    """Name -> captions, in the order of their files."""
    folder = Path(folder)
    coco = json.loads((folder / "metrics/captions_val2017.json").read_text("utf-8"))["annotations"]
    flickr = (folder / "flickr8k/Flickr8k.token.txt").read_text("utf-8").split("\n")
    found = {
        "captions_val2017": [each["caption"] for each in coco],
        "Flickr8k.token": [line.split("\t", 1)[1] for line in flickr if line],
    }
    for path in sorted((folder / "metrics").glob("*_results.json")):
        found[path.stem] = [each["caption"] for each in json.loads(path.read_text("utf-8"))]
    return found


def digests(tokens: list[list[str]]) -> list[str]:
    """A digest for each 500 captions."""
    lines = [" ".join(each) + "\n" for each in tokens]
    parts = ("".join(lines[first : first + EVERY]) for first in range(0, len(lines), EVERY))
    return [hashlib.sha256(part.encode()).hexdigest()[:16] for part in parts]
