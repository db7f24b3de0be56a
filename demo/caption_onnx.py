"""Caption images from the ONNX files of a captioner, with ONNX Runtime, numpy and Pillow alone: no torch, no vlrnn.

vlrnn export --checkpoint runs/quickstart/captioning/checkpoints/best.ckpt --out captioner --onnx
python demo/caption_onnx.py captioner photo.jpg

Shapes: B = 1 image, K hypotheses, V words.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


class Captioner:
    """The three graphs of a folder, and the search over them.

    Args:
        folder: of `encoder.onnx`, `begin.onnx`, `step.onnx` and `captioner.json`.
    """

    def __init__(self, folder: Path) -> None:
        self.about = json.loads((folder / "captioner.json").read_text(encoding="utf-8"))
        self.graphs = {
            name: onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
            for name in ("encoder", "begin", "step")
        }

    def run(self, name: str, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """A graph's outputs, in order."""
        graph = self.graphs[name]
        fed = {each.name: array for each, array in zip(graph.get_inputs(), inputs, strict=True)}
        found: list[np.ndarray] = graph.run(None, fed)
        return found

    def caption(self, image: Image.Image, width: int, decoding: dict[str, Any]) -> tuple[str, float]:
        """The best sentence by beam search, and its score: the sum of log p, over its length to the penalty.

        A step takes the best 2K continuations; of the first K those that end go to the pool of the best K, and the best
        K that do not end live on.
        """
        size, special = self.about["image_size"], self.about["special"]
        upright = ImageOps.exif_transpose(image).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(upright, np.uint8).transpose(2, 0, 1)[None]
        begun = self.run("begin", self.run("encoder", [np.ascontiguousarray(pixels)]))
        count = self.about["memories"]
        memory, state = begun[:count], [np.repeat(leaf[:, None], width, 1) for leaf in begun[count:]]

        said = np.full((width, 1), special["bos"], np.int64)
        sums = np.where(np.arange(width) == 0, 0.0, -np.inf)  # all are alike: one lives
        pool: list[tuple[float, list[int]]] = []
        longest, penalty, early = (decoding[name] for name in ("max_new_tokens", "length_penalty", "early_stopping"))
        for length in range(1, longest + 1):
            scores, *state = self.run("step", [said[None, :, -1], *memory, *state])
            scores = scores[0].astype(np.float64)
            log_probs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)  # [K, V]
            log_probs[:, [special["pad"], special["bos"], special["unk"]]] = -np.inf
            if length <= decoding["min_new_tokens"]:
                log_probs[:, special["eos"]] = -np.inf
            reached = (sums[:, None] + log_probs).ravel()
            best = np.argsort(-reached, kind="stable")[: 2 * width]
            parents, words, reached = best // scores.shape[1], best % scores.shape[1], reached[best]
            said = np.concatenate([said[parents], words[:, None]], 1)
            ends = (words == special["eos"]) | (length == longest)
            new = np.flatnonzero(ends[:width] & (reached[:width] > -np.inf))
            pool += [(float(reached[row]) / length**penalty, said[row, 1:].tolist()) for row in new]
            pool = sorted(pool, key=lambda each: -each[0])[:width]
            live = np.flatnonzero(~ends)[:width]
            said, sums, state = said[live], reached[live], [leaf[:, parents[live]] for leaf in state]
            far = longest if early == "never" and penalty > 0 else length
            if not len(live) or (
                len(pool) == width and (width == 1 or early is True or sums[0] / far**penalty <= pool[-1][0])
            ):
                break
        score, ids = pool[0]
        ids = ids[: ids.index(special["eos"])] if special["eos"] in ids else ids
        space = "" if self.about.get("tokenizer") == "characters" else " "
        return space.join(self.about["words"][id] for id in ids), score


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Caption images from ONNX files, without torch.")
    parser.add_argument("folder", type=Path, help="that vlrnn export --onnx wrote")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--num_beams", type=int, help="by default as the model was trained with")
    arguments = parser.parse_args(words)
    captioner = Captioner(arguments.folder)
    decoding = captioner.about["decoding"]
    width = arguments.num_beams or decoding["num_beams"]
    for path in arguments.images:
        with Image.open(path) as image:
            text, score = captioner.caption(image, width, decoding)
        print(f"{path}: {text} ({score:.3f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
