"""How time grows: with the captions that are scored, the words of the vocabulary, the hypotheses of a beam, the images
of a batch, and the length of sentences.

    python benchmarks/growth.py [--repeats 3] [--quick] [--out FILE]

For each a curve of CPU seconds, and the exponent of the power law between its ends: 1 is in proportion.
"""

import math
import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from beam_search import found
from literal import captions, decoder_of
from side_by_side import arguments_of, begin, in_turns, keep

from vlrnn.data.records import Id
from vlrnn.metrics import CaptionScorer
from vlrnn.nn.encoders.base import Context
from vlrnn.training.objectives.base import CrossEntropy


def curve(name: str, ways: Mapping[int, Callable[[], Any]], repeats: int) -> dict[str, Any]:
    """Measure, print, and return the seconds at each size and the exponent."""
    seconds = in_turns({str(size): way for size, way in ways.items()}, repeats)
    sizes, times = list(ways), list(seconds.values())
    exponent = math.log(times[-1] / times[0]) / math.log(sizes[-1] / sizes[0])
    points = "   ".join(f"{size:,}: {time:.3f} s" for size, time in zip(sizes, times, strict=True))
    print(f"{name:24} {points}   exponent {exponent:.2f}")
    return {"seconds": seconds, "exponent": exponent}


def scoring(count: int) -> Callable[[], Any]:
    """Scores so many captions with five references each."""
    draw = random.Random(0)
    words = [f"word{number}" for number in range(500)]

    def sentence() -> str:
        return " ".join(draw.choices(words, k=10))

    references: dict[Id, list[str]] = {str(id): [sentence() for _ in range(5)] for id in range(count)}
    said = {id: sentence() for id in references}
    return lambda: CaptionScorer(references).score(said)


def searching(images: int, width: int, steps: int, vocabulary: int) -> Callable[[], Any]:
    """Searches with beams."""
    decoder, features = decoder_of(256, vocabulary, 512).eval(), torch.randn(images, 49, 512)
    return lambda: found(decoder, features, width, steps)


def training(words: int, vocabulary: int) -> Callable[[], Any]:
    """Takes a step, but for the optimizer."""
    decoder, features = decoder_of(256, vocabulary, 512), torch.randn(16, 49, 512)
    tokens = captions(16, words, vocabulary)
    context = Context(features, torch.ones(16, 49, dtype=torch.bool), features.mean(1), None)

    def step() -> None:
        decoder.zero_grad()
        output = decoder(tokens[:, :-1], decoder.prepare(context), torch.arange(16))
        CrossEntropy()(decoder, output, tokens[:, 1:]).total.backward()

    return step


def main() -> None:
    parser = arguments_of(__doc__)
    parser.set_defaults(repeats=3)
    arguments = parser.parse_args()
    begin(arguments)
    times, repeats = ((1, 2), 1) if arguments.quick else ((1, 2, 4, 8), arguments.repeats)
    of_search = {"images": 8, "width": 3, "steps": 8, "vocabulary": 2000}
    figures = {
        "captions scored": curve("captions scored", {500 * n: scoring(500 * n) for n in times}, repeats),
        "vocabulary, training": curve(
            "vocabulary, training", {2000 * n: training(10, 2000 * n) for n in times}, repeats
        ),
        "words, training": curve("words, training", {5 * n: training(5 * n, 2000) for n in times}, repeats),
    }
    for name, size in of_search.items():
        ways = {size * n: searching(**{**of_search, name: size * n}) for n in times}
        figures[f"{name}, search"] = curve(f"{name}, search", ways, repeats)
    keep(arguments, figures)


if __name__ == "__main__":
    main()
