"""Ten faults put into the middle of the package, one at a time: the tests named with each must fail.

`python tests/mutations.py` works on a copy in a temporary folder, and exits with 1 if a fault is not caught.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent

ROWS, WHERE = "values.flatten(0, 1)", "values.flatten(0, 1).index_select(0, self._place(values))"
FAULTS = [  # file, its text, the fault, the tests
    ("nn/recurrent/lstm_variants.py", "torch.lerp(c, g.tanh(), i)", "torch.lerp(g.tanh(), c, i)", "recurrent_cells"),
    ("nn/attention.py", 'scores.masked_fill(~mask[:, None], float("-inf"))', "scores", "decoders"),
    ("nn/batching.py", WHERE, f"{ROWS}[: len(self.place)]", "decoders"),
    ("generation/hypotheses.py", "math.log(length)", "math.log(length + 1)", "search"),
    ("generation/hypotheses.py", "length_penalty * math.log", "math.log", "search"),
    ("metrics/caption_measures.py", "np.minimum(0, 1 - 1 / ratio)", "np.minimum(0, 1 - ratio)", "caption_metrics"),
    ("metrics/ngrams.py", "in_documents[_first_of_runs(in_documents)]", "in_documents", "caption_metrics_literal"),
    ("text/vocabulary.py", "max(0, count - 1) / 3", "count / 3", "answer_vocabulary"),
    ("training/objectives/base.py", "=self.label_smoothing)", "=self.label_smoothing / 2)", "objectives"),
    ("tasks/language_model.py", "if batch.is_start or carried is None:", "if carried is None:", "language_model"),
]


def caught(folder: Path, file: str, text: str, fault: str, tests: str) -> list[str]:
    """The tests that fail with the fault."""
    path = folder / "vlrnn" / file
    whole = path.read_text()
    assert text in whole, f"{file} has no {text}"
    path.write_text(whole.replace(text, fault))
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", f"tests/test_{tests}.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    path.write_text(whole)
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("FAILED")]


def main() -> int:
    missed = 0
    with tempfile.TemporaryDirectory() as name:
        for each in ("vlrnn", "tests", "configs", "data_prep", "demo", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / each).is_dir() else shutil.copy
            copy(ROOT / each, Path(name) / each)
        for file, text, fault, tests in FAULTS:
            found = caught(Path(name), file, text, fault, tests)
            print(f"{file}: {fault}: {', '.join(found[:2]) or 'NOT CAUGHT'} ({len(found)})", flush=True)
            missed += not found
    return missed > 0


if __name__ == "__main__":
    sys.exit(main())
