"""How long `vlrnn score vqa` takes, and how much memory, on made-up files of the size of VQA v2's val.

    python benchmarks/vqa_scoring.py [--questions 214354] [--images 40504] [--protocol official-2021]

Makes official annotations and results, unless `--folder` holds them already, then scores them by the command line in a
process of its own. The answers are drawn from a long-tailed vocabulary, some with articles, punctuation and escapes as
the real ones have; nothing is known from them but their size. Prints what it finds, asserts nothing.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import Any

_ANSWER_TYPES = ("yes/no", "number", "other")
_QUESTION_TYPES = [f"question type {number}" for number in range(65)]


def _word(random: random.Random, number: int) -> str:
    letters = "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(3, 9)))
    forms = (
        letters,
        letters,
        letters,
        f"the {letters}",
        f"{letters} on a {letters}",
        f"{letters}-{number}",
        f"{letters}é.",
    )
    return random.choice(forms)


def write_files(folder: Path, questions: int, images: int) -> None:
    """Write `annotations.json` and `results.json`."""
    draw = random.Random(0)
    words = ["yes", "no", "0", "1", "two", "red", "none", *(_word(draw, number) for number in range(60_000))]
    weights = list(accumulate(1 / (rank + 1) for rank in range(len(words))))
    annotations: list[dict[str, Any]] = []
    results = []
    for id in range(questions):
        right, *others = draw.choices(words, cum_weights=weights, k=4)
        answers = [right if draw.random() < 0.6 else draw.choice(others) for _ in range(10)]
        told = enumerate(answers, start=1)
        annotations.append(
            {
                "question_type": draw.choice(_QUESTION_TYPES),
                "multiple_choice_answer": right,
                "answers": [{"answer": each, "answer_confidence": "yes", "answer_id": n} for n, each in told],
                "image_id": id * images // questions,
                "answer_type": draw.choice(_ANSWER_TYPES),
                "question_id": 10 * id,
            }
        )
        results.append({"question_id": 10 * id, "answer": draw.choice([right, *others])})
    (folder / "annotations.json").write_text(json.dumps({"annotations": annotations}))
    (folder / "results.json").write_text(json.dumps(results))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--questions", type=int, default=214_354)
    parser.add_argument("--images", type=int, default=40_504)
    parser.add_argument("--protocol", default="official-2021")
    parser.add_argument("--folder", type=Path, help="where the files are, or are to be kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        files = [folder / "annotations.json", folder / "results.json"]
        if not all(file.is_file() for file in files):
            # In a process of its own: what it takes would count as the memory of every process started behind it.
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                pool.submit(write_files, folder, arguments.questions, arguments.images).result()
        command = [sys.executable, "-m", "vlrnn", "score", "vqa", "--protocol", arguments.protocol]
        command += ["--references", str(files[0]), "--predictions", str(files[1]), "--out", str(folder / "scores.json")]
        start = time.perf_counter()
        scoring = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(scoring.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            raise SystemExit("the scoring failed")
        result = json.loads((folder / "scores.json").read_text())
        size = sum(file.stat().st_size for file in files) / 2**20
    settings, overall = result["settings"], result["scores"]["overall"]
    print(f"{settings['n']} questions about {settings['images']} images, {size:.0f} MiB of files")
    print(f"{seconds:.1f} s, {usage.ru_maxrss / 1024:.0f} MiB at most; overall {overall['value']:.2f} %")


if __name__ == "__main__":
    main()
