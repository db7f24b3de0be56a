"""How long `vlrnn probe chair` takes on 40,504 captions, and `vlrnn probe pope` on 9,000 answers, both made up.

    python benchmarks/probes.py [--captions 40504] [--questions 9000]

The captions have ten words, three of them objects, in singular or plural, of eighty with five synonyms each. Processor
time and elapsed time of the whole command, its start included, on one core where the system lets itself be told so.
Prints what it finds, asserts nothing.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_PLAIN = ("a", "the", "on", "of", "with", "near", "sitting", "standing", "large", "street")


def write(path: Path, value: Any) -> str:
    path.write_text(json.dumps(value))
    return str(path)


def chair(folder: Path, count: int) -> list[str]:
    """Make the files of CHAIR; returns the arguments."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefgh", k=8)) for _ in range(480)]
    lines = [words[6 * number : 6 * number + 6] for number in range(80)]
    table = folder / "synonyms.txt"
    table.write_text("".join(", ".join(line) + "\n" for line in lines))

    def caption() -> str:
        said = [word + draw.choice(("", "s")) for word in draw.choices(words, k=3)]
        return " ".join(draw.sample([*said, *draw.choices(_PLAIN, k=7)], 10))

    said = [{"image_id": id, "caption": caption()} for id in range(count)]
    there = {str(id): [line[0] for line in draw.sample(lines, 3)] for id in range(count)}
    files = {"predictions": write(folder / "said.json", said), "objects": write(folder / "there.json", there)}
    return ["chair", "--synonyms", str(table), *(f"--{name}={path}" for name, path in files.items())]


def pope(folder: Path, count: int) -> list[str]:
    """Make the files of POPE; returns the arguments."""
    draw = random.Random(0)
    lines, answers = [], []
    for id in range(count):
        text = f"Is there a thing{draw.randrange(80)} in the image?"
        image = f"COCO_val2014_{id // 6:012}.jpg"
        lines.append({"question_id": id, "image": image, "text": text, "label": draw.choice(("yes", "no"))})
        answers.append({"question_id": id, "answer": draw.choice(("Yes, there is.", "No, there is none."))})
    poll = folder / "poll.json"
    poll.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return ["pope", "--questions", str(poll), "--answers", write(folder / "answers.json", answers)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--captions", type=int, default=40_504)
    parser.add_argument("--questions", type=int, default=9_000)
    arguments = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as temporary:
        for name, command in (
            (f"chair, {arguments.captions:,} captions", chair(Path(temporary), arguments.captions)),
            (f"pope, {arguments.questions:,} answers", pope(Path(temporary), arguments.questions)),
        ):
            start = time.perf_counter()
            probe = subprocess.Popen([sys.executable, "-m", "vlrnn", "probe", *command], stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(probe.pid, 0)
            if status:
                raise SystemExit(f"{name}: failed")
            seconds, memory = time.perf_counter() - start, usage.ru_maxrss / 1024
            print(f"{name}: {usage.ru_utime + usage.ru_stime:.1f} s of one core ({seconds:.1f} s), {memory:.0f} MiB")


if __name__ == "__main__":
    main()
