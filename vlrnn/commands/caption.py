"""caption: say what is in images."""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from vlrnn.commands.decoding import add_decoding, chosen
from vlrnn.errors import UserError
from vlrnn.files import replacing, write_json
from vlrnn.progress import track

if TYPE_CHECKING:
    from vlrnn.predictor import Predictor
    from vlrnn.records import Prediction


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER")
    parser.add_argument("--checkpoint", required=True, help="a .ckpt file, or a folder that vlrnn export wrote")
    parser.add_argument("--json", action="store_true", help="print a JSON object for each image, one per line")
    parser.add_argument("--out", metavar="FILE", help="write .csv (image, rank, caption, score), .json or .jsonl")
    parser.add_argument("--explain", metavar="PICTURE", help="save where the model looked at each word (one image)")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--device", help="cpu, cuda, cuda:1, ...; by default a GPU where there is one")
    parser.add_argument("--bf16", action="store_true", help="see in bfloat16, where the processor or GPU has it")
    parser.add_argument("--compiled", action="store_true", help="generate code for the encoder first; for many images")
    add_decoding(parser)


def run(arguments: argparse.Namespace) -> int:
    """Caption all images; one that cannot be read is told of, and the others go on.

    Returns:
        the exit code: 2 when an image that was named could not be read, or none at all could.
    """
    if arguments.out and Path(arguments.out).suffix not in (".csv", ".json", ".jsonl"):
        raise UserError(f"--out {arguments.out}: end the name in .csv, .json or .jsonl")
    from vlrnn.predictor import Predictor

    paths = _images(arguments.images)
    if arguments.explain and len(paths) != 1:
        raise UserError(f"--explain takes one image, not {len(paths)}")
    if arguments.explain and not Path(arguments.explain).absolute().parent.is_dir():
        raise UserError(f"--explain: there is no folder {Path(arguments.explain).parent}")
    predictor = Predictor.load(arguments.checkpoint, arguments.device, bf16=arguments.bf16, compiled=arguments.compiled)
    settings = chosen(arguments)
    made: list[Prediction] = []
    named, missed = {Path(each) for each in arguments.images}, False
    results = predictor.captions(paths, batch_size=arguments.batch_size, seed=arguments.seed, **settings)
    if not sys.stdout.isatty():  # else the captions themselves tell
        results = track(results, "captioning", total=len(paths), unit="images")
    for path, result in zip(paths, results, strict=True):
        if isinstance(result, UserError):
            print(f"vlrnn caption: {result}", file=sys.stderr)
            missed = missed or path in named
        else:
            made.append(result)
            print(_line(result, arguments.json), flush=True)
    if arguments.out and made:
        _write(Path(arguments.out), made)
    if arguments.explain and made:
        _explain(arguments.explain, predictor, paths[0], made[0])
    return 2 if missed or not made else 0


def _images(named: Sequence[str]) -> list[Path]:
    """The files that are named, and those in the folders that are."""
    from vlrnn.data.images import find_images

    return [path for each in named for path in (find_images(each) if Path(each).is_dir() else [Path(each)])]


def _line(prediction: "Prediction", as_json: bool) -> str:
    if as_json:
        return json.dumps(asdict(prediction), ensure_ascii=False)
    lines = [f"{prediction.image_id}: {prediction.text}"]
    lines += [f"  {each['score']:8.3f}  {each['text']}" for each in prediction.alternatives]
    return "\n".join(lines)


def _write(path: Path, predictions: "Sequence[Prediction]") -> None:
    from vlrnn.records import write_records

    if path.suffix == ".jsonl":
        write_records(path, predictions)
    elif path.suffix == ".json":
        write_json(path, [asdict(prediction) for prediction in predictions])
    else:
        with replacing(path) as file:
            table = csv.writer(file)
            table.writerow(["image", "rank", "caption", "score"])
            for prediction in predictions:
                said = [{"text": prediction.text, "score": prediction.score}, *prediction.alternatives]
                for rank, each in enumerate(said, 1):
                    table.writerow([prediction.image_id, rank, each["text"], f"{each['score']:.4f}"])


def _explain(picture: str, predictor: "Predictor", image: Path, prediction: "Prediction") -> None:
    from vlrnn.data.images import open_image
    from vlrnn.report.attention import save_attention

    weights = predictor.attention(image, prediction.tokens)
    if weights is None:
        raise UserError("--explain: the decoder of this checkpoint does not attend to regions")
    words = [*prediction.tokens, "(end)"][: len(prediction.log_probs)]  # the end only where it was said
    save_attention(picture, open_image(image), words, weights)
