"""METEOR and SPICE by the official Java programs, if the extra `java` of the package and a Java runtime are installed.
Nothing is downloaded. Failures of Java raise NotComputedError, with the reason for the result file."""

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from vlrnn.metrics.ngrams import Tokens
from vlrnn.metrics.statistics import Floats, Resampler

_PATIENCE = 3600
"""Timeout of a Java program in seconds."""


class NotComputedError(Exception):
    """Why there is no score, as a text for tables: `needs ...`."""


@dataclass(frozen=True)
class JavaScore:
    """A score of the corpus, of each image [images], and of each resampled set of images [resamples], in 0..1."""

    value: float
    per_image: Floats
    samples: Floats


def meteor(predictions: Sequence[Tokens], references: Sequence[Sequence[Tokens]], resampler: Resampler) -> JavaScore:
    """METEOR 1.5 for English (Denkowski and Lavie, WMT 2014), from the tokens that the official scorer passes to it.
    The score of a corpus, or of a resampled set, is computed from summed statistics of its images.

    Raises:
        NotComputedError: the program or Java is not installed, or fails.
    """
    jar = _package("METEOR") / "meteor" / "meteor-1.5.jar"
    command = ["-Xmx2G", "-jar", str(jar), "-", "-", "-stdio", "-l", "en", "-norm"]
    segments = []
    for prediction, texts in zip(predictions, references, strict=True):
        hypothesis = " ".join(prediction).replace("|||", "").replace("  ", " ")
        segments.append(" ||| ".join(["SCORE", *map(" ".join, texts), hypothesis]))
    images = len(segments)
    with _java(command) as request:
        statistics = request(segments, images)
        counts = _numbers([line.split() for line in statistics])
        sums = [f"EVAL ||| {' '.join(map(str, row))}" for row in resampler.sums(counts)]
        # The output of EVAL is the score of each of its segments, then that of all together.
        answers = request(["EVAL ||| " + " ||| ".join(statistics), *sums], images + 1 + 2 * len(sums))
    values = _numbers(answers)
    return JavaScore(float(values[images]), values[:images], values[images + 2 :: 2])


def _numbers(answers: Sequence[str] | Sequence[Sequence[str]]) -> Floats:
    try:
        return np.array(answers, np.float64)
    except ValueError:
        raise NotComputedError(f"METEOR returned what is not a number: {str(answers)[:80]}") from None


def spice(predictions: Sequence[Tokens], references: Sequence[Sequence[Tokens]], resampler: Resampler) -> JavaScore:
    """SPICE 1.0 (Anderson et al., ECCV 2016): the mean F score of scene-graph tuples.

    Raises:
        NotComputedError: the program, its Stanford models or Java is not installed, or fails.
    """
    home = _package("SPICE") / "spice"
    if len(list((home / "lib").glob("stanford-corenlp-3.6.0*.jar"))) < 2:
        raise NotComputedError(f"needs the Stanford CoreNLP 3.6.0 jars in {home.name}/lib of pycocoevalcap")
    with tempfile.TemporaryDirectory() as folder:
        input_file, answered, cache = (Path(folder) / name for name in ("in.json", "out.json", "cache"))
        cache.mkdir()
        pairs = zip(predictions, references, strict=True)
        entries = [
            {"image_id": place, "test": " ".join(prediction), "refs": [" ".join(text) for text in texts]}
            for place, (prediction, texts) in enumerate(pairs)
        ]
        input_file.write_text(json.dumps(entries), encoding="utf-8")
        options = ["-cache", str(cache), "-out", str(answered), "-subset", "-silent"]
        with _java(["-Xmx8G", "-jar", str(home / "spice-1.0.jar"), str(input_file), *options]):
            pass
        try:
            scores = {each["image_id"]: each["scores"]["All"]["f"] for each in json.loads(answered.read_text("utf-8"))}
            per_image = np.array([scores[place] for place in range(len(entries))], np.float64)
        except (OSError, ValueError, KeyError, TypeError):
            raise NotComputedError("SPICE gave no scores") from None
    return JavaScore(float(per_image.mean()), per_image, resampler.sums(per_image) / len(per_image))


def _package(name: str) -> Path:
    spec = find_spec("pycocoevalcap")
    if spec is None or not spec.submodule_search_locations:
        raise NotComputedError(f"{name} needs the extra 'java': pip install vlrnn[java]")
    if shutil.which("java") is None:
        raise NotComputedError(f"{name} needs Java on the PATH")
    return Path(next(iter(spec.submodule_search_locations)))


@contextmanager
def _java(arguments: list[str]) -> Iterator[Callable[[list[str], int], list[str]]]:
    """Start a Java program; yields a function of the input lines and the number of output lines, which it returns."""
    command = ["java", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-Duser.language=en", *arguments]
    with tempfile.TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=complaints)
        except OSError as fault:
            raise NotComputedError(f"Java could not be run: {fault}") from None
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        patience = threading.Timer(_PATIENCE, process.kill)
        patience.start()

        def failed() -> NotComputedError:
            complaints.seek(0)
            first = complaints.read().decode("utf-8", "replace").strip().partition("\n")[0]
            return NotComputedError(f"the Java program failed: {first or f'exit code {process.poll()}'}")

        def write(text: bytes) -> None:
            with suppress(OSError):  # a terminated program is detected by its missing output
                stdin.write(text)
                stdin.flush()

        def request(lines: list[str], answers: int) -> list[str]:
            # Input is written in a thread: with both pipes full, the two programs would wait for each other.
            text = "".join(line.replace("\n", " ") + "\n" for line in lines).encode("utf-8", "replace")
            writer = threading.Thread(target=write, args=(text,))
            writer.start()
            answered = [line.decode("utf-8", "replace").rstrip("\n") for line in islice(stdout, answers)]
            writer.join()
            if len(answered) < answers:
                process.wait()
                raise failed()
            return answered

        try:
            yield request
            stdin.close()
            if process.wait():
                raise failed()
        finally:
            patience.cancel()
            process.kill()
            stdout.close()
            process.wait()
