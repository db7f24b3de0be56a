"""Files of predictions, our own and official ones. Knows neither captions nor answers."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from vlrnn.errors import UserError
from vlrnn.files import read_json
from vlrnn.records import Prediction, RecordFile


def read_results(path: str | Path, read: Callable[[list[Any]], Iterable[Prediction]], form: str) -> list[Prediction]:
    """Predictions, in the order of the file.

    Args:
        path: a `.jsonl` of Predictions, or an official result file, which is a list.
        read: the list -> predictions.
        form: what the official file is, for errors.

    Raises:
        UserError: the file is neither, or holds nothing, or as `read` says.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        predictions = list(RecordFile(path, Prediction))
    else:
        value = read_json(path)
        if not isinstance(value, list):
            raise UserError(f"{path}: no predictions: expected a .jsonl, or {form}")
        predictions = list(read(value))
    if not predictions:
        raise UserError(f"{path}: holds no predictions")
    return predictions
