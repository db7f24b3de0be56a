"""Evaluation of a run: settings and provenance of its scores, and a table of them with those of baselines; a metric of
captions for distributed training. Independent of tasks."""

import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

import vlrnn
from vlrnn.data.records import Id
from vlrnn.errors import UserError
from vlrnn.metrics.captions import CaptionScorer, CaptionScores
from vlrnn.runs import baselines, format_score
from vlrnn.terminal import printable


def origin_of(trainer: pl.Trainer, split: str) -> dict[str, Any]:
    """The results of a split but its scores: `{"settings": {...}, "provenance": {...}}`. Where only a part of it is
    scored, the settings name the `part`."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    # From Python, a Trainer may be given loaders without a data module.
    place = {} if data is None else data.place
    part = _part(trainer, split)
    settings = {"split": split, **place, **({"part": part} if part else {})}
    device = str(trainer.strategy.root_device)
    made = {**provenance(), "checkpoint": str(trainer.ckpt_path or ""), "device": device}
    return {"settings": settings, "provenance": made}


def _part(trainer: pl.Trainer, split: str) -> str:
    """The part of a split that is scored; empty text where it is all of it."""
    parts = []
    first = getattr(trainer.datamodule, "overfit", None)  # type: ignore[attr-defined]
    if first is not None and split == "val":
        parts.append(f"the first {first} of train (--overfit)")
    name = f"limit_{split}_batches"
    limit = getattr(trainer, name)
    if isinstance(limit, int) or limit < 1:  # Lightning has 1.0 for all of them, and 1 for one
        parts.append(f"its first batches (--trainer.{name} {limit})")
    return ", ".join(parts)


def print_with_baselines(run: Path, result: Mapping[str, Any]) -> None:
    """Print the scores of a run with those of its baselines; nothing where there are none."""
    others = {path.name: scores for path, scores in baselines(run, result["settings"]).items()}
    if others:
        Console(emoji=False).print(_table({run.name: result["scores"], **others}, result["settings"]["split"]))


def _table(rows: Mapping[str, Mapping[str, Any]], split: str) -> Table:
    """Scores down, runs across, with their 95 % intervals."""
    table = Table(title=f"{split}, with its baselines", caption="95 % intervals in brackets")
    table.add_column("")
    for run in rows:
        table.add_column(escape(printable(run)), justify="right")
    for name, score in next(iter(rows.values())).items():
        if isinstance(score, Mapping) and "low" in score:
            table.add_row(name, *(escape(format_score(scores.get(name))) for scores in rows.values()))
    return table


_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy")


def provenance() -> dict[str, str]:
    """The date (UTC), the version of this package, its commit (if it runs from a repository; followed by `, changed` if
    files differ from it), and the versions of Python and the numerical libraries."""
    found = {"date": datetime.now(UTC).isoformat(" ", "seconds"), "vlrnn": vlrnn.__version__, "commit": _commit()}
    found["python"] = platform.python_version()
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {name: value for name, value in found.items() if value}


def _commit() -> str:
    root = Path(vlrnn.__file__).parents[1]
    if not (root / ".git").exists():  # installed, perhaps within another repository
        return ""
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    return commit + (", changed" if commit and _git(root, "status", "--porcelain", "--untracked-files=no") else "")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


class CaptionMetric(Metric):
    """BLEU-1..4, ROUGE-L and CIDEr-D of the captions of all processes, a metric of torchmetrics.

    Captions are stored as tensors, since torchmetrics gathers nothing else. Scored are the images that have a
    prediction. Of several predictions for one image, as from a sampler that pads the
    last batch, the first is used.

    Args:
        references: image id -> its reference captions, the same in every process; tokenized and counted once.
        options: of torchmetrics, such as `dist_sync_fn`.
    """

    full_state_update = False
    higher_is_better = True
    images: list[Tensor]
    lengths: list[Tensor]
    letters: list[Tensor]

    def __init__(self, references: Mapping[Id, Sequence[str]], **options: Any) -> None:
        super().__init__(**options)
        self.references = {id: tuple(captions) for id, captions in references.items()}
        self._places = {id: place for place, id in enumerate(self.references)}
        self._scorer: CaptionScorer | None = None
        for name in ("images", "lengths", "letters"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, predictions: Mapping[Id, str]) -> None:
        """Add predictions: image id -> caption.

        Raises:
            UserError: an image has no references.
        """
        unknown = [id for id in predictions if id not in self._places]
        if unknown:
            raise UserError(
                f"{len(unknown)} predictions are for images without references, the first is {unknown[0]!r}"
            )
        if not predictions:
            return
        texts = [caption.encode("utf-8", "surrogatepass") for caption in predictions.values()]
        self.images.append(torch.tensor([self._places[id] for id in predictions], device=self.device))
        self.lengths.append(torch.tensor(list(map(len, texts)), device=self.device))
        self.letters.append(torch.tensor(list(b"".join(texts)), dtype=torch.uint8, device=self.device))

    def scores(self) -> CaptionScores:
        """The scores of the corpus and of each image.

        Raises:
            UserError: fewer than two images.
        """
        predictions = self._predictions()
        if len(predictions) < len(self.references):
            scored = {id: self.references[id] for id in self.references if id in predictions}
            return CaptionScorer(scored).score(predictions)
        self._scorer = self._scorer or CaptionScorer(self.references)
        return self._scorer.score(predictions)

    def compute(self) -> dict[str, Tensor]:
        """The scores of the corpus: `Bleu_1` .. `Bleu_4` and `ROUGE_L` in 0..1, `CIDEr` in 0..10."""
        scores = self.scores().corpus
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in scores.items()}

    def _predictions(self) -> dict[Id, str]:
        if not len(self.images):
            return {}
        # A state is a list of tensors in one process and one tensor after gathering.
        images, lengths, letters = map(dim_zero_cat, (self.images, self.lengths, self.letters))
        text = BytesIO(bytes(letters.tolist()))
        ids = list(self.references)
        predictions: dict[Id, str] = {}
        for image, length in zip(images.tolist(), lengths.tolist(), strict=True):
            predictions.setdefault(ids[image], text.read(length).decode("utf-8", "surrogatepass"))
        return predictions
