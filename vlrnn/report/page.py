"""Writes a report: one self-contained HTML file with thumbnails, and the same content as Markdown and JSON."""

import base64
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Literal

import yaml
from PIL import Image

from vlrnn.data.images import open_image
from vlrnn.errors import UserError
from vlrnn.files import replacing, write_json
from vlrnn.probes.finding import number
from vlrnn.progress import print_progress, track
from vlrnn.report.charts import curves, parallel_coordinates, probe_picture, study_picture
from vlrnn.report.content import Section, build
from vlrnn.report.drawing import templates
from vlrnn.runs import format_score


def write_report(
    runs: Sequence[str | Path],
    /,
    out: str | Path | None = None,
    *,
    baseline: Sequence[str | Path] = (),
    examples: int = 1000,
    thumbnail: int = 192,
    seed: int = 0,
    split: Literal["train", "val", "test"] | None = None,
) -> list[Path]:
    """Write the report of one or several runs. Parts that are missing because files were not found are listed in it,
    and on stderr.

    Args:
        runs: run folders, the first is compared with the others that were scored on the same examples; studies.
        out: .md and .json of that name are written, too; by default report.html in the first RUN.
        baseline: runs of baselines; RUN-* of the same examples are baselines anyway.
        examples: shown for each data set.
        thumbnail: the longer side of pictures, in pixels.
        seed: of the bootstrap and of the random examples.
        split: by default test if it has scores, otherwise val; for further runs the split of the first.

    Returns:
        the files.

    Raises:
        UserError: a folder is no scored run, or has nothing of the split, or a number makes no sense.
    """
    out = Path(runs[0]) / "report.html" if out is None else Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {out}: the name of a report ends in .html")
    if thumbnail < 16:
        raise UserError(f"--thumbnail must be 16 pixels at least, not {thumbnail}")
    report, pictures = build(runs, baseline, examples, seed, split)
    for line in report.not_found:
        print_progress(line)
    pages = templates()
    as_yaml = partial(yaml.safe_dump, sort_keys=False, allow_unicode=True)
    pages.filters |= {"score": format_score, "cell": cell, "as_yaml": as_yaml}
    functions = (curves, parallel_coordinates, probe_picture, study_picture, whisker)
    pages.globals |= {each.__name__: each for each in functions}
    written = [out, out.with_suffix(".md"), out.with_suffix(".json")]
    with replacing(out) as file:
        stream = pages.get_template("page.html").stream(
            report=report,
            items=[_items(section) for section in report.sections],
            pictures=thumbnails(pictures, thumbnail),
        )
        file.writelines(stream)
    with replacing(written[1]) as file:
        file.write(pages.get_template("page.md").render(report=report))
    write_json(written[2], plain(report))
    return written


def _items(section: Section) -> dict[str, Any]:
    """Input of the page's script: the items of a section."""
    runs = [{name: getattr(run, name) for name in ("name", "baseline", "score_name")} for run in section.runs]
    settings = {name: getattr(section, name) for name in ("has_questions", "is_text", "unit")}
    return {**settings, "runs": runs, "items": plain(section.shown.items)}


def plain(value: Any) -> Any:
    """A value for JSON: dataclasses as objects, numbers with six digits, null for those that are not finite."""
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def whisker(score: Any, others: Sequence[Any] = (), reach: tuple[float, float] | None = None) -> dict[str, Any] | None:
    """The positions of a score, its interval and other scores on a scale, in percent of its width.

    Args:
        score: a number, or `{"value", "low", "high"}`.
        others: scores to compare with, None where there is none.
        reach: the ends of the scale; by default those of all values and zero.
    """
    value = number(score)
    if value is None or not math.isfinite(value):
        return None
    ends = [number(score.get(end)) for end in ("low", "high")] if isinstance(score, Mapping) else [None, None]
    low, high = (value if end is None else end for end in ends)
    ticks = [each for each in map(number, others) if each is not None and math.isfinite(each)]
    first, last = reach or (min(0.0, low, *ticks), max(0.0, high, *ticks))

    def percent(each: float) -> float:
        return round(100 * min(1.0, max(0.0, (each - first) / (last - first))), 2) if last > first else 0.0

    return {"value": percent(value), "low": percent(low), "high": percent(high), "ticks": list(map(percent, ticks))}


def cell(text: Any) -> str:
    """Text escaped for Markdown, also in a cell of a table."""
    return re.sub(r"([\\`|\[\]*~])", r"\\\1", escape(" ".join(str(text).split()), quote=False))


def thumbnails(paths: Sequence[Path], side: int) -> Iterator[str]:
    """The data URL of each picture, its longer side `side` pixels at most; empty without a picture."""
    with ThreadPoolExecutor() as pool:  # Pillow decodes outside of Python's lock
        made = pool.map(partial(thumbnail, side=side), paths)
        yield from track(made, "pictures", total=len(paths), unit="images")


def thumbnail(path: Path, side: int) -> str:
    try:
        image = open_image(path)
    except UserError:
        return ""
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    held = io.BytesIO()
    image.save(held, "WEBP", quality=70)
    return f"data:image/webp;base64,{base64.b64encode(held.getvalue()).decode()}"
