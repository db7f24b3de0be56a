"""The file of `vlrnn caption --out FILE` and `vlrnn ask --out FILE`. Results are kept as they come, in `FILE.partial`,
a line of JSON for each; when all are there, FILE is written in its own format, and the partial file removed. So FILE is
always complete, and an interrupted run loses no result."""

import csv
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from vlrnn.data.records import Prediction, parse_record, to_line, write_records
from vlrnn.errors import UserError, accessing
from vlrnn.files import clear_unfinished, parse_json, read_text, replacing, spreadsheet_cell, write_json
from vlrnn.processes import lock
from vlrnn.progress import print_progress

Key = tuple[str, int]
"""The name of an image or question, and its number among those of this name: one may be given twice."""


def keys(names: Sequence[str]) -> list[Key]:
    """The key of each of these images or questions."""
    counts: Counter[str] = Counter()
    found = []
    for name in names:
        found.append((name, counts[name]))
        counts[name] += 1
    return found


class PredictionFile:
    """Results on their way to a `.csv`, `.json` or `.jsonl` file. As a context it ends with the partial file closed,
    and gone if it holds nothing.

    Args:
        path: the file.
        resume: go on from the partial file.
        overwrite: replace what is there.

    Raises:
        UserError: the format is another; or there are results already, and it is neither to go on nor to replace them.
    """

    def __init__(self, path: Path, *, resume: bool, overwrite: bool) -> None:
        if path.suffix not in (".csv", ".json", ".jsonl"):
            raise UserError(f"--out {path}: end the name in .csv, .json or .jsonl")
        if path.is_dir():
            raise UserError(f"--out {path}: a folder has this name; name another file")
        self.path, self.partial = path, path.with_name(f"{path.name}.partial")
        self._resume, self._overwrite = resume, overwrite
        self.is_finished = resume and path.exists() and not self.partial.exists()
        self.found: dict[Key, Prediction] = {}
        self._handle: int | None = None  # of the partial file, which it has for itself
        self._begun = False
        self._refuse_existing()

    def begin(self, run: Mapping[str, Any], images: Sequence[Key]) -> None:
        """Open the partial file, and read what it holds into `found`.

        Args:
            run: what the results depend on, as plain values: the model, the settings.
            images: the keys of what results are wanted of, images or questions.

        Raises:
            UserError: it is damaged, or of another run or other images; another process writes it; or it cannot be
                written.
        """
        with accessing(self.partial, "written"):
            self.partial.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.partial, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        if not lock(handle):
            os.close(handle)
            raise UserError(f"--out {self.path}: another process writes it; wait for it, or name another file")
        self._handle = handle
        self._refuse_existing()  # which may have come meanwhile
        clear_unfinished([self.path.parent])
        end = self._read(run, images) if self._resume else 0
        os.ftruncate(handle, end)
        os.lseek(handle, end, os.SEEK_SET)
        self._begun = True
        if not end:
            self._append(json.dumps(dict(run), ensure_ascii=False))

    def _refuse_existing(self) -> None:
        if self._resume or self._overwrite:
            return
        if self.partial.exists() and self.partial.stat().st_size:
            raise UserError(
                f"--out {self.path}: {self.partial.name} holds results of a run that is in progress, or was "
                "interrupted; --resume continues it, --overwrite starts again"
            )
        if self.path.exists():
            raise UserError(f"--out {self.path}: already exists; --overwrite replaces it, or name another file")

    def add(self, key: Key, prediction: Prediction) -> None:
        """Keep a result."""
        self._append(f"{key[1]} {to_line(prediction)}")
        self.found[key] = prediction

    def finish(self, images: Sequence[Key]) -> None:
        """Write the results of these images, in this order, to the file; nothing where there are none."""
        predictions = [self.found[key] for key in images if key in self.found]
        if predictions:
            _WRITERS[self.path.suffix](self.path, predictions)
            self.found.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind in (KeyboardInterrupt, BrokenPipeError) and self.found:
            print_progress(
                f"interrupted; {self.partial} has {len(self.found):,} results: the same command with --resume continues"
            )
        if self._handle is not None:
            nothing = not self.found if self._begun else not os.fstat(self._handle).st_size
            os.close(self._handle)
            if nothing:
                self.partial.unlink(missing_ok=True)

    def _append(self, line: str) -> None:
        assert self._handle is not None
        left = memoryview(f"{line}\n".encode())
        with accessing(self.partial, "written"):
            while left:
                left = left[os.write(self._handle, left) :]

    def _read(self, run: Mapping[str, Any], images: Sequence[Key]) -> int:
        """Returns where what is whole ends: a kill may have cut off the last line."""
        content = read_text(self.partial)
        header, *lines = content[: content.rfind("\n") + 1].split("\n")
        if not lines:
            return 0
        before = parse_json(header, f"{self.partial}:1")
        others = [name for name, value in run.items() if not isinstance(before, dict) or before.get(name) != value]
        if others:
            raise UserError(
                f"{self.partial}: was started with another {' and '.join(others)}; use the same, or --overwrite "
                "to start again"
            )
        for number, line in enumerate(lines[:-1], 2):
            count, _, record = line.partition(" ")
            prediction = parse_record(Prediction, record, f"{self.partial}:{number}")
            self.found[str(prediction.id), int(count) if count.isdecimal() else 0] = prediction
        if unknown := self.found.keys() - set(images):
            raise UserError(
                f"{self.partial}: holds a result of {min(unknown)[0]}, which is not among the images; name the "
                "same ones, or --overwrite to start again"
            )
        return len("\n".join([header, *lines]).encode())


def _write_json(path: Path, predictions: Sequence[Prediction]) -> None:
    write_json(path, [asdict(prediction) for prediction in predictions])


def _write_csv(path: Path, predictions: Sequence[Prediction]) -> None:
    """Captions, or answers, whose settings name their question."""
    with replacing(path) as file:
        table = csv.writer(file)
        answers = "question" in predictions[0].settings
        table.writerow(["image", "question", "rank", "answer", "score"] if answers else _CAPTION_COLUMNS)
        for prediction in predictions:
            begin = [prediction.image_id, *([prediction.settings["question"]] if answers else [])]
            best = {"text": prediction.text, "score": prediction.score}
            for rank, each in enumerate([best, *prediction.alternatives], 1):
                cells = [*map(spreadsheet_cell, map(str, begin)), rank, spreadsheet_cell(each["text"])]
                table.writerow([*cells, f"{each['score']:.4f}"])


_CAPTION_COLUMNS = ["image", "rank", "caption", "score"]
_WRITERS = {".csv": _write_csv, ".json": _write_json, ".jsonl": write_records}
