"""Tables of captions and questions as people write them: CSV, JSON, JSON lines, any dialect, any name of an image."""

import csv
import io
import json
import unicodedata
from pathlib import Path
from random import Random
from typing import Any

from fuzzing.mutations import bend_bytes, odd_text, spoil
from fuzzing.running import Case
from fuzzing.world import World

_HEADS = {
    "image": ("image", "Image", "file_name", "image ", "\ufeffimage", "filename", "path", "bild", ""),
    "caption": ("caption", "Caption", "text", "captions", "comment", "caption"),
    "question": ("question", "Question", "q", "text"),
    "answer": ("answer", "answers", "Answer", "a"),
    "split": ("split", "Split", "set"),
}
_SPLITS = ("train", "val", "test", "validation", "dev", "", "nan", "train ", "TRAIN")
_WORDLESS = ("...", "nan", "", " ", "?!", "None", "null", "-")


def make(random: Random, world: World, folder: Path) -> Case:
    is_vqa = random.random() < 0.4
    names = ["image", "question", "answer", "split"] if is_vqa else ["image", "caption", "split"]
    images = sorted(each.name for each in (world.folder / "images").glob("*.png"))
    odd = random.choice((0.0, 0.05, 0.4))  # how much of it
    rows = [_row(random, random.choice(images), names, world, odd) for _ in range(random.randint(0, 12))]
    heads = [random.choice(_HEADS[name]) if random.random() < 0.2 else name for name in names]
    if random.random() < 0.1:
        heads.append(random.choice(heads))
        rows = [[*row, row[0]] for row in rows]
    content, suffix = (_json if random.random() < 0.3 else _csv)(random, heads, rows)
    if random.random() < 0.1:
        content = bend_bytes(random, content) if content else b""
    path = folder / f"{random.choice(('metadata', 'table'))}{suffix}"
    path.write_bytes(content)
    option, name = ("--questions", "folder_vqa") if is_vqa else ("--captions", "folder")
    more = ["--shares", "0.5,0.25,0.25"] if random.random() < 0.3 else []
    return Case(["prepare", name, str(world.folder / "images"), option, str(path), "--out", "out", *more, "--quiet"])


def _row(random: Random, image: str, names: list[str], world: World, odd: float) -> list[str]:
    row = [_named(random, image, world) if random.random() < odd else image]
    for name in names[1:]:
        if name == "split":
            row.append(random.choice(_SPLITS) if random.random() < odd else random.choice(_SPLITS[:3]))
        elif random.random() < odd:
            row.append(random.choice(_WORDLESS) if random.random() < 0.5 else odd_text(random, 2000))
        else:
            row.append(random.choice(("a dog", 'a "big" dog', "a dog, a cat; a bird", "two\nlines", "yes", "红色的圆")))
    return row


def _named(random: Random, image: str, world: World) -> str:
    folder = world.folder / "images"
    ways = (
        image,
        f"./{image}",
        f"images/{image}",
        f"images\\{image}",
        f".\\{image}",
        str(folder / image),
        f"../images/{image}",
        unicodedata.normalize("NFD", f"é{image}"),
        Path(image).stem,
        image.upper(),
        f"http://localhost/{image}",
        f"{image}/",
        odd_text(random, 300),
    )
    return random.choice(ways)


def _csv(random: Random, heads: list[str], rows: list[list[str]]) -> tuple[bytes, str]:
    file = io.StringIO()
    delimiter = random.choice(",,;|\t")
    quoting = random.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    ends = random.choice(("\n", "\r\n", "\r"))
    writer = csv.writer(file, delimiter=delimiter, quoting=quoting, lineterminator=ends)
    writer.writerows([heads, *rows] if random.random() < 0.9 else rows)
    text = file.getvalue()
    if random.random() < 0.2:
        text = text.replace('"', "", random.randint(1, 3))
    if random.random() < 0.2:
        text = text.replace(ends, ends * 2, 1) + random.choice(("", ends, "# remark", delimiter * 3))
    encoding = random.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "cp1252"))
    suffix = ".tsv" if delimiter == "\t" and random.random() < 0.7 else ".csv"
    return text.encode(encoding, "replace"), suffix


def _json(random: Random, heads: list[str], rows: list[list[str]]) -> tuple[bytes, str]:
    entries: list[dict[str, Any]] = [dict(zip(heads, row, strict=False)) for row in rows]
    if random.random() < 0.5:
        lines = [json.dumps(each, ensure_ascii=random.random() < 0.5) for each in entries]
        if lines and random.random() < 0.4:
            at = random.randrange(len(lines))
            lines[at] = spoil(random, lines[at])
        return "\n".join(lines).encode(errors="surrogatepass"), ".jsonl"
    text = json.dumps({row[0]: row[1] for row in rows} if random.random() < 0.5 else entries)
    return (spoil(random, text) if random.random() < 0.4 else text).encode(errors="surrogatepass"), ".json"
