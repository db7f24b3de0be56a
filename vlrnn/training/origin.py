"""Of what results are, and by what they were made. Knows no task."""

from typing import Any

import pytorch_lightning as pl

from vlrnn.provenance import provenance


def origin_of(trainer: pl.Trainer, split: str) -> dict[str, Any]:
    """What is known of the results of a split ahead of its scores: `{"settings": {...}, "provenance": {...}}`. Where
    they are of a part of it alone, `part` among the settings says of which."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    # From Python, a Trainer may be given loaders without a data module.
    place = {} if data is None else data.place
    part = _part(trainer, split)
    settings = {"split": split, **place, **({"part": part} if part else {})}
    device = str(trainer.strategy.root_device)
    made = {**provenance(), "checkpoint": str(trainer.ckpt_path or ""), "device": device}
    return {"settings": settings, "provenance": made}


def _part(trainer: pl.Trainer, split: str) -> str:
    """What is scored in the place of a split; empty text where it is all of it."""
    told = []
    first = getattr(trainer.datamodule, "overfit", None)  # type: ignore[attr-defined]
    if first is not None and split == "val":
        told.append(f"the first {first} of train (--overfit)")
    name = f"limit_{split}_batches"
    limit = getattr(trainer, name)
    if isinstance(limit, int) or limit < 1:  # Lightning has 1.0 for all of them, and 1 for one
        told.append(f"its first batches (--trainer.{name} {limit})")
    return ", ".join(told)
