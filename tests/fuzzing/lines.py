"""JSON, JSON lines, and tables that are not as they should be, to whatever reads such."""

import json
from pathlib import Path
from random import Random

from fuzzing.mutations import bend, bend_bytes, odd_text, spoil, spoil_lines
from fuzzing.readings import OF_CAPTIONS, OF_DATA, OF_OBJECTS, OF_QUESTIONS, OF_RUNS, TRAINING, bad_case, entries
from fuzzing.running import Case
from fuzzing.world import World

_SHARES = {OF_CAPTIONS: 34, OF_QUESTIONS: 34, OF_OBJECTS: 12, OF_DATA: 12, OF_RUNS: 5, TRAINING: 3}


def make(random: Random, world: World, folder: Path) -> Case:
    (readings,) = random.choices(list(_SHARES), list(_SHARES.values()))
    return bad_case(random, world, folder, random.choice(readings), _spoilt)


def _spoilt(random: Random, path: Path) -> bytes:
    if path.suffix not in (".json", ".jsonl"):
        return _spoilt_text(random, path.read_bytes())
    values, on_lines = entries(path)
    kind = random.randrange(5)
    if kind < 3:
        at = random.randrange(len(values))
        for _ in range(random.choice((1, 1, 1, 3))):
            values[at] = bend(random, values[at])
        return "\n".join(json.dumps(value, ensure_ascii=random.random() < 0.5) for value in values).encode()
    lines = [json.dumps(value) for value in values]
    if kind == 3 and on_lines:
        return spoil_lines(random, lines)
    at = random.randrange(len(lines))
    lines[at] = spoil(random, lines[at])
    return "\n".join(lines).encode()


def _spoilt_text(random: Random, text: bytes) -> bytes:
    if random.random() < 0.5:
        return bend_bytes(random, text)
    lines = text.decode().splitlines()
    lines.insert(random.randrange(len(lines) + 1), odd_text(random, 3000))
    return "\n".join(lines).encode()
