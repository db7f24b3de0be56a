"""The log of a run, `log.csv`: Lightning's CSV logger with this file name; a resumed run appends to it."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter
from pytorch_lightning.loggers.logger import rank_zero_experiment
from pytorch_lightning.utilities import rank_zero_only

from vlrnn.errors import UserError
from vlrnn.files import replacing


class RunLog(CSVLogger):
    """The CSV log of a run, `log.csv` in the run's folder."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, name="", version="")

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.log_dir) / "log.csv"

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        if self._experiment is None:
            self._experiment = _LogWriter(self.path)
        return self._experiment

    @rank_zero_only
    def forget(self, step: int) -> None:
        """Drop the rows of this step and later ones, which are repeated after resuming, and incomplete rows."""
        if self.path.is_file():
            columns, rows = _read_log(self.path)
            _write_log(self.path, columns, (row for row in rows if row["step"].isdigit() and int(row["step"]) < step))


class _LogWriter(ExperimentWriter):
    """Lightning's writer with another file name, which rewrites the file when its columns change."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path.parent))
        self.metrics_file_path = str(path)
        if path.is_file():  # of the same run, to be appended to
            self.metrics_keys, _ = _read_log(path)

    def save(self) -> None:
        try:
            super().save()
        except OSError as fault:
            raise UserError(f"{self.metrics_file_path}: cannot be written: {fault.strerror or fault}") from None

    def _check_log_dir_exists(self) -> None:
        """Does nothing; Lightning's deletes the file of an earlier run here."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        _, rows = _read_log(Path(self.metrics_file_path))
        _write_log(Path(self.metrics_file_path), fieldnames, rows)


def _read_log(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows; missing cells of an incomplete row are empty."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        return list(reader.fieldnames or ()), list(reader)


def _write_log(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    with replacing(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(rows)
