"""Results of models in every form that people have, with ids of every kind, to what scores and probes them."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from fuzzing.mutations import bend, odd_text, spoil
from fuzzing.running import Case
from fuzzing.world import World
from vlrnn.data.records import Example, open_split

_ENDS = ("</s>", "<eos>", "!", ".", '"', "<|im_end|>", "\x1b[31m")


def make(random: Random, world: World, folder: Path) -> Case:
    is_vqa = random.random() < 0.4
    examples = list(open_split(world.folder / ("vqa" if is_vqa else "captions"), "test"))
    odd = random.choice((0.0, 0.05, 0.5))  # how much of it
    way = random.randrange(8)
    pairs = [(_id(random, each, odd, way), _text(random, each, odd)) for each in examples]
    if random.random() < 0.1:
        pairs += random.choices(pairs, k=random.randint(1, 3))
    content, suffix = FORMS[random.choice(list(FORMS))](random, pairs, is_vqa)
    path = folder / f"results{suffix}"
    path.write_bytes(content)
    if is_vqa:
        references = random.choice((world.folder / "vqa" / "test.jsonl", world.files / "annotations.json"))
        protocol = random.choice(("official-2021", "official-2017", "normalized", "no-such"))
        command = ["score", "vqa", "--protocol", protocol]
    else:
        prepared = (world.folder / "captions" / "test.jsonl", world.files / "captions_val2014.json")
        references = random.choice((*prepared, world.files / "karpathy.json"))
        command = ["score", "captions", "--no-java"]
    missing = ["--missing", random.choice(("skip", "empty"))] if random.random() < 0.4 else []
    files = ["--references", str(references), "--predictions", str(path), "--out", "out/scores.json"]
    return Case([*command, *files, *missing, "--resamples", "10", "--quiet"])


def _id(random: Random, example: Example, odd: float, way: int) -> Any:
    name = Path(example.image or "").name
    number = sum(map(ord, str(example.id))) % 1000
    ways = (
        example.id,
        example.id,
        example.id,
        example.image_id,
        name,
        name,
        f"photos/{name}",
        Path(name).stem,
        f"COCO_val2014_{number:012}",
        f"COCO_val2014_{number:012}.jpg",
        number,
        str(number),
        None,
        odd_text(random, 200),
    )
    return random.choice(ways) if random.random() < odd else ways[way]


def _text(random: Random, example: Example, odd: float) -> Any:
    text = (example.captions or example.answers or ("a dog",))[0]
    if random.random() < odd:
        return random.choice((odd_text(random, 30_000), None, 3, ["a", "b"], ""))
    return text + (random.choice(_ENDS) if random.random() < 0.3 else "")


def _fields(is_vqa: bool) -> tuple[str, str]:
    return ("question_id", "answer") if is_vqa else ("image_id", "caption")


def _list(random: Random, pairs: list[tuple[Any, Any]], is_vqa: bool) -> tuple[bytes, str]:
    entries: Any = [dict(zip(_fields(is_vqa), pair, strict=True)) for pair in pairs]
    if random.random() < 0.2:
        entries = bend(random, entries)
    text = json.dumps(entries)
    return (spoil(random, text) if random.random() < 0.2 else text).encode(errors="surrogatepass"), ".json"


def _lines(random: Random, pairs: list[tuple[Any, Any]], is_vqa: bool) -> tuple[bytes, str]:
    entries = [dict(zip(_fields(is_vqa), pair, strict=True)) for pair in pairs]
    lines = [json.dumps(bend(random, each) if random.random() < 0.03 else each) for each in entries]
    return "\n".join(lines).encode(errors="surrogatepass"), random.choice((".jsonl", ".json"))


def _dictionary(random: Random, pairs: list[tuple[Any, Any]], is_vqa: bool) -> tuple[bytes, str]:
    ways: tuple[Callable[[Any], Any], ...] = (
        lambda text: text,
        lambda text: [text],
        lambda text: [{"caption": text}],
        lambda text: {"caption": text},
        lambda text: [text, text],
        lambda text: [],
    )
    way = random.choice(ways)
    return json.dumps({str(id): way(text) for id, text in pairs}).encode(errors="surrogatepass"), ".json"


def _table(random: Random, pairs: list[tuple[Any, Any]], is_vqa: bool) -> tuple[bytes, str]:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=random.choice(",,;\t|"))
    writer.writerow(random.choice((_fields(is_vqa), ("image", "caption"), ("id", "text"), ("a", "b"))))
    writer.writerows(pairs)
    return file.getvalue().encode("utf-8", "replace"), random.choice((".csv", ".tsv"))


FORMS: dict[str, Callable[[Random, list[tuple[Any, Any]], bool], tuple[bytes, str]]] = {
    "list": _list,
    "lines": _lines,
    "dictionary": _dictionary,
    "table": _table,
}
