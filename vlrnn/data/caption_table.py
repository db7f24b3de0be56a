"""Captions of a folder of images, as people have them: a CSV with a line for each caption, or a JSON."""

from collections.abc import Sequence
from pathlib import Path

from vlrnn.data.image_names import ImageFolder
from vlrnn.data.prepare import Splits
from vlrnn.data.splitting import draw_splits
from vlrnn.data.table import read_table
from vlrnn.errors import UserError
from vlrnn.records import SPLITS, Example


def read_captions(path: Path, folder: ImageFolder, shares: Sequence[float], seed: int) -> Splits:
    """The examples of a file of captions, one for each image, in the splits that it says, or else drawn by chance.

    CSV columns: `image`, `caption`, and, if wanted, `split`. JSON: `{"a.jpg": ["caption", ...]}`, or a list
    of `{"image": ..., "caption": ... or "captions": [...], "split": ...}`; JSON lines are such a list. `file_name` and
    `text`, as Hugging Face's image folders have them, are other names of `image` and `caption`.

    Args:
        path: `.json`, `.jsonl`, or else a CSV whose first line names the columns.
        folder: of the images.
        shares: of the images that go to train, val and test, when the file does not say.
        seed: another seed, other splits.

    Raises:
        UserError: the file is neither (names the line or the entry), only some captions name their split, or shares
            that do not make a whole.
    """
    captions: dict[tuple[str, str | None], list[str]] = {}
    for entry in read_table(path, folder, ["caption"], lambda captions: [{"captions": captions}]):
        if (told := entry.texts("caption")) is None:
            raise UserError(f"{entry.place}: needs a 'caption' or 'captions'")
        captions.setdefault((entry.image, entry.split), []).extend(told)
    homes = draw_splits(captions, shares, seed, "captions")
    splits: Splits = {split: [] for split in SPLITS}
    for (image, split), texts in captions.items():
        home = homes[image, split]
        splits[home].append(Example(id=image, image_id=image, image=image, captions=tuple(texts)))
    return splits
