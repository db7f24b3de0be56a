"""Captions and questions that nobody writes, in files that are as they should be, and on the command line."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from fuzzing.mutations import odd_text
from fuzzing.readings import OF_CAPTIONS, OF_QUESTIONS, OF_RUNS, TRAINING, bad_case, entries
from fuzzing.running import Case
from fuzzing.world import World

_CAPTIONS = {"captions", "caption", "text", "raw", "tokens"}
_QUESTIONS = {"question", "answers", "answer", "text", "question_type", "answer_type", "multiple_choice_answer"}


def captions(random: Random, world: World, folder: Path) -> Case:
    (readings,) = random.choices((OF_CAPTIONS, OF_RUNS[:1], TRAINING[:1]), (93, 4, 3))
    return bad_case(
        random, world, folder, random.choice(readings), lambda *arguments: _rewritten(*arguments, _CAPTIONS), _ENDS
    )


def questions(random: Random, world: World, folder: Path) -> Case:
    if random.random() < 0.4:
        return _typed_questions(random, world)
    (readings,) = random.choices((OF_QUESTIONS, OF_RUNS[1:], TRAINING[1:3]), (93, 4, 3))
    return bad_case(
        random, world, folder, random.choice(readings), lambda *arguments: _rewritten(*arguments, _QUESTIONS), _ENDS
    )


_ENDS = (".json", ".jsonl")


def _typed_questions(random: Random, world: World) -> Case:
    """Questions as a shell hands them on: no null byte, and bytes that are no UTF-8 as Python has them."""
    texts = [odd_text(random).replace("\x00", "").lstrip("-") for _ in range(random.choice((1, 1, 3)))]
    if random.random() < 0.2:
        texts[0] = os.fsdecode(random.randbytes(random.randint(1, 30)).replace(b"\x00", b"?")).lstrip("-")
    image = str(world.folder / "images" / "test-000001.png")
    flags = ["--json"] if random.random() < 0.5 else []
    checkpoint = str(world.exported(random.choice(("speaker", "classifier"))))
    return Case(["ask", image, *texts, "--checkpoint", checkpoint, *flags, "--quiet"])


def _rewritten(random: Random, path: Path, fields: set[str]) -> bytes:
    values, _ = entries(path)
    places = [place for value in values for place in _texts(value, fields)]
    for _ in range(random.choice((1, 1, 3, len(places)))):
        if places:
            holder, key = random.choice(places)
            holder[key] = odd_text(random, 20_000)  # what is trained on takes time by its length
    return "\n".join(json.dumps(value, ensure_ascii=random.random() < 0.5) for value in values).encode()


def _texts(value: Any, fields: set[str], inside: bool = False) -> Iterator[tuple[Any, Any]]:
    """Where the texts of these fields stand."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        within = key in fields if isinstance(value, dict) else inside
        if isinstance(value[key], str) and within:
            yield value, key
        yield from _texts(value[key], fields, within)
