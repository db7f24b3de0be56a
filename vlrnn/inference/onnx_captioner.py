"""Captions from an exported captioner, with ONNX Runtime, numpy and Pillow alone: no torch, and nothing else of vlrnn.

`vlrnn export --onnx` copies this file into the folder that it writes, where it runs by itself:

    python captioner/caption_onnx.py captioner photo.jpg --num_beams 3

Images become pixels here for all of vlrnn (vlrnn.data.images adds the errors), and the search is that of
vlrnn.generation.search for one image: so captions and scores are those of the model that was exported.

Shapes: K live hypotheses, t tokens, V words.
"""

import argparse
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image, ImageOps, features


class Limits(NamedTuple):
    """The largest size of an image, checked by its header before anything is decoded."""

    side: int
    pixels: int


LIMITS = Limits(side=65_535, pixels=89_478_485)
"""By default: the longest side of a JPEG; and a quarter of a gigabyte as RGB, where Pillow begins to warn of
decompression bombs."""

AVIF = "avif" in features.modules and features.check_module("avif")  # since Pillow 11.3, where it is built with it

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", *(["AVIF"] if AVIF else []))
"""The decoders that are tried; that of JPEG reads MPO, too. Pillow has others that start programs (EPS) or that are
little tested."""


class TooLargeError(ValueError):
    """An image beyond the limits."""


@contextmanager
def opened(source: str | IO[bytes], limits: Limits = LIMITS) -> Iterator[Image.Image]:
    """Open an image file; of its content only the header is read.

    Raises:
        TooLargeError: it is beyond the limits.
        Exception: it is no image; which one is up to Pillow.
    """
    try:
        image = Image.open(source, formats=FORMATS)
    except Image.DecompressionBombError:  # beyond what Pillow opens
        raise TooLargeError(f"more than {limits.pixels:,} pixels; make the image smaller") from None
    with image:
        check_size(image, limits)
        yield image


def check_size(image: Image.Image, limits: Limits) -> None:
    """Refuse an image beyond the limits, by a `TooLargeError`."""
    if max(image.size) > limits.side:
        raise TooLargeError(f"a side of more than {limits.side:,} pixels; make the image smaller")
    if image.width * image.height > limits.pixels:
        raise TooLargeError(f"more than {limits.pixels:,} pixels; make the image smaller")


def as_rgb(image: Image.Image) -> Image.Image:
    """An image in RGB: rotated by its EXIF data, alpha on white, deep greys scaled to 8 bits."""
    image.load()
    with suppress(Exception):  # a picture with broken EXIF data is still a picture
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale integer greys by their 16 bits and floats by their unit range, or by their own range."""
    values = np.asarray(image)
    if image.mode != "F" and values.min() >= 0 and values.max() <= 65535:
        table = np.rint(np.arange(65536) * (255.0 / 65535))  # much quicker, and in less memory
        return Image.fromarray(table.astype(np.uint8)[values])
    values = np.nan_to_num(values.astype(np.float64))
    low, high = float(values.min()), float(values.max())
    unit = 1.0 if high <= 1 else 255.0 if high <= 255 else high
    black, white = (low, high) if low < 0 or high > 65535 else (0.0, unit)
    scaled = (values - black) * (255.0 / max(white - black, 1e-12))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def pixels(image: Image.Image, size: int) -> np.ndarray:
    """An RGB image as uint8 [3, size, size]: squeezed to a square, so that no border is lost."""
    return np.array(image.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1)


class Found(NamedTuple):
    """A finished sentence: its `tokens`, with `<eos>` if there is one; its `score`, the sum of log p over the length to
    the penalty; and its `rank`, which orders as the score does, at any penalty."""

    tokens: list[int]
    score: float
    rank: float


Settings = Mapping[str, Any]
"""Of decoding, by their names in vlrnn."""

Step = Callable[[np.ndarray, list[np.ndarray]], tuple[np.ndarray, list[np.ndarray]]]
"""Tokens [K] and a state of leaves [K, ...] -> scores [K, V] of the next word, and the next state."""


def beam_search(step: Step, state: list[np.ndarray], settings: Settings, special: Mapping[str, int]) -> list[Found]:
    """The best sentences about one image, up to `num_return_sequences`, as `vlrnn.generation.search` finds them.

    Args:
        step: scores the next word.
        state: leaves [1, ...], before the first word.
        settings: of generation.
        special: `bos` and `eos`, the tokens that open and close a sentence, and those that are never generated.
    """
    width, longest, penalty = settings["num_beams"], settings["max_new_tokens"], settings["length_penalty"]
    tokens, sums, pool = np.full((1, 1), special["bos"]), np.zeros(1), list[Found]()
    for length in range(1, longest + 1):
        scores, state = step(tokens[:, -1], state)
        reached = (sums[:, None] + _allowed(scores, tokens[:, 1:], settings, special)).ravel()
        best = np.argsort(-reached, kind="stable")[: 2 * width]
        best = best[reached[best] > -np.inf]
        parents, words = np.divmod(best, scores.shape[1])
        ends = (words == special["eos"]) | (length == longest)
        for place in np.flatnonzero(ends[:width]):
            sentence, total = [*tokens[parents[place], 1:].tolist(), int(words[place])], float(reached[best[place]])
            pool.append(Found(sentence, total / length**penalty, _rank(total, length, penalty)))
        pool = sorted(pool, key=lambda each: -each.rank)[:width]
        live = np.flatnonzero(~ends)[:width]
        if not live.size or _is_done(reached[best[live[0]]], length, pool, settings):
            break
        tokens, sums = np.column_stack([tokens[parents[live]], words[live]]), reached[best[live]]
        state = [leaf[parents[live]] for leaf in state]
    if not pool:
        raise ValueError("the model's scores are not finite: its training has diverged")
    return pool[: settings["num_return_sequences"]]


def _allowed(scores: np.ndarray, prefix: np.ndarray, settings: Settings, special: Mapping[str, int]) -> np.ndarray:
    """Log probabilities [K, V] of the allowed words after `prefix` [K, t]; minus infinity for the others."""
    scores, eos = scores.astype(np.float64), special["eos"]
    log_probs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    ending, size = log_probs[:, eos].copy(), settings["no_repeat_ngram_size"]
    log_probs[:, [token for token in special.values() if token != eos]] = -np.inf
    if prefix.shape[1] < settings["min_new_tokens"]:
        log_probs[:, eos] = -np.inf
    if 0 < size <= prefix.shape[1]:
        ngrams, last = sliding_window_view(prefix, size, axis=1), prefix[:, None, prefix.shape[1] - size + 1 :]
        rows, starts = np.nonzero((ngrams[..., :-1] == last).all(-1))
        log_probs[rows, ngrams[rows, starts, -1]] = -np.inf
    stuck = np.isneginf(log_probs.max(1))  # no word is allowed: end
    log_probs[stuck, eos] = ending[stuck]
    return log_probs


def _rank(total: float, length: int, penalty: float) -> float:
    return penalty * math.log(length) - (math.log(-total) if total < 0 else -math.inf)


def _is_done(best: float, length: int, pool: Sequence[Found], settings: Settings) -> bool:
    """Whether the pool is full and no live hypothesis, of which the largest sum is `best`, can enter it."""
    if len(pool) < settings["num_beams"]:
        return False
    if settings["num_beams"] == 1 or settings["early_stopping"] is True:
        return True
    far = settings["early_stopping"] == "never" and settings["length_penalty"] > 0
    return _rank(best, settings["max_new_tokens"] if far else length, settings["length_penalty"]) <= pool[-1].rank


class Caption(NamedTuple):
    """The words of a caption, and its score in the search."""

    tokens: tuple[str, ...]
    score: float


class OnnxCaptioner:
    """The three graphs of a folder: `encoder.onnx`, `begin.onnx`, `step.onnx`, as `captioner.json` describes them."""

    def __init__(self, folder: str | Path) -> None:
        import onnxruntime  # here, as vlrnn.data reads images where it is not installed

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        folder, load = Path(folder), partial(onnxruntime.InferenceSession, providers=["CPUExecutionProvider"])
        self.about = json.loads((folder / "captioner.json").read_text(encoding="utf-8"))
        self._graphs = {name: load(str(folder / f"{name}.onnx"), options) for name in ("encoder", "begin", "step")}

    def _run(self, name: str, *inputs: np.ndarray) -> list[np.ndarray]:
        graph = self._graphs[name]
        return list(graph.run(None, {each.name: array for each, array in zip(graph.get_inputs(), inputs, strict=True)}))

    def settings(self, **changed: Any) -> dict[str, Any]:
        """The model's own settings of generation, updated by `changed`. A model that samples is searched instead.

        Raises:
            ValueError: one is out of its bounds.
        """
        own = self.about["decoding"]
        settings = {**own, **({"num_return_sequences": 1} if own["temperature"] else {}), **changed}
        bounds = {  # those of vlrnn.generation.search
            "num_beams": (1, 1_000),
            "max_new_tokens": (1, min(100_000, 1_000_000 // max(1, settings["num_beams"]))),
            "min_new_tokens": (0, settings["max_new_tokens"] - 1),
            "no_repeat_ngram_size": (0, 100_000),
            "length_penalty": (-50, 50),
            "num_return_sequences": (1, settings["num_beams"]),
        }
        for name, (least, most) in bounds.items():
            if not least <= settings[name] <= most:  # not a number is in no bounds, either
                raise ValueError(f"{name} must be from {least:,} to {most:,}, not {settings[name]}")
        if settings["early_stopping"] not in (True, False, "never"):
            raise ValueError(f"early_stopping must be true, false or never, not {settings['early_stopping']}")
        return settings

    def captions(self, path: str | Path, **settings: Any) -> list[Caption]:
        """The best captions of an image file, by `settings`.

        Raises:
            ValueError: as `settings`.
            Exception: it is no image; which one is up to Pillow.
        """
        words, special, settings = self.about["words"], self.about["special"], self.settings(**settings)
        with opened(str(path)) as image:
            batch = np.ascontiguousarray(pixels(as_rgb(image), self.about["image_size"])[None])
        begun = self._run("begin", *self._run("encoder", batch))
        memory, state = begun[: self.about["memories"]], begun[self.about["memories"] :]

        def step(tokens: np.ndarray, state: list[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
            scores, *after = self._run("step", tokens[None], *memory, *(leaf[None] for leaf in state))
            return scores[0], [leaf[0] for leaf in after]

        found = beam_search(step, state, settings, special)
        return [Caption(tuple(words[id] for id in each.tokens if id != special["eos"]), each.score) for each in found]


class _Parser(argparse.ArgumentParser):
    """Prints an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message!a}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Caption images, a JSON object for each; returns the exit code, 2 where one could not be read."""
    parser = _Parser(description="Caption images by ONNX Runtime, without torch.", argument_default=argparse.SUPPRESS)
    parser.add_argument("folder", type=Path, help="that vlrnn export --onnx wrote")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    for name in ("num_beams", "max_new_tokens", "min_new_tokens", "no_repeat_ngram_size", "num_return_sequences"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--length_penalty", type=float)
    parser.add_argument("--early_stopping", type=lambda text: {"true": True, "false": False}.get(text, text))
    given = vars(parser.parse_args(arguments))
    folder, images = given.pop("folder"), given.pop("images")
    warnings.simplefilter("ignore")  # Pillow's, of EXIF data that is broken, say
    try:
        captioner, code = OnnxCaptioner(folder), 0
        captioner.settings(**given)
    except Exception as fault:  # what onnxruntime raises is not documented, and varied
        print(f"{str(folder)!a}: {str(fault)!a}", file=sys.stderr)
        return 2
    join = ("" if captioner.about.get("tokenizer") == "characters" else " ").join
    for path in images:
        try:
            if not path.is_file():  # a pipe into which nobody writes would never open
                raise ValueError("no such file")
            best, *others = captioner.captions(path, **given)
        except Exception as fault:  # what a decoder raises on broken bytes is not documented, and varied
            print(f"{str(path)!a}: {str(fault)!a}", file=sys.stderr)
            code = 2
            continue
        line = {"image": str(path), "caption": join(best.tokens), "score": best.score}
        if others:
            line["alternatives"] = [{"caption": join(each.tokens), "score": each.score} for each in others]
        print(json.dumps(line), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
