"""caption: describe images."""

import argparse
from collections.abc import Container, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vlrnn.commands.generation_flags import add_decoding, add_model, add_out, chosen, open_out, put_out
from vlrnn.errors import UserError, check_least
from vlrnn.terminal import print_json, print_line

if TYPE_CHECKING:
    from vlrnn.commands.prediction_file import Key, PredictionFile
    from vlrnn.data.records import Prediction
    from vlrnn.inference.predictor import Predictor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE_OR_FOLDER")
    add_model(parser, " for each image, one per line")
    add_out(parser, "image, rank, caption, score")
    parser.add_argument("--explain", metavar="PICTURE", help="save the attention at each word (one image)")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--bf16", action="store_true", help="encode in bfloat16, if the processor or GPU supports it")
    parser.add_argument("--compiled", action="store_true", help="compile the encoder first; for many images")
    add_decoding(parser)


def run(arguments: argparse.Namespace) -> int:
    """Caption all images; one that cannot be read is reported, and the others go on.

    Returns:
        the exit code: 2 when an image that was named could not be read, or none at all could.
    """
    with open_out(arguments) as file:
        return 0 if file and file.is_finished else _run(arguments, file)


def _run(arguments: argparse.Namespace, file: "PredictionFile | None") -> int:
    from vlrnn.commands.prediction_file import keys
    from vlrnn.data.images import named_images
    from vlrnn.inference.predictor import Predictor, image_name

    paths = named_images(arguments.images)
    if arguments.explain and len(paths) != 1:
        raise UserError(f"--explain takes one image, not {len(paths)}")
    check_least("--batch_size", arguments.batch_size)
    if arguments.explain and not Path(arguments.explain).absolute().parent.is_dir():
        raise UserError(f"--explain: there is no folder {Path(arguments.explain).parent}")
    how = {"bf16": arguments.bf16, "compiled": arguments.compiled}
    predictor = Predictor.load(arguments.checkpoint, arguments.device, trust=arguments.trust, **how)
    images = dict(zip(keys([image_name(path) for path in paths]), paths, strict=True))
    if file:
        made_by = {"model": predictor.fingerprint(), "seed": arguments.seed, "bf16": arguments.bf16}
        file.begin({**made_by, **predictor.decoding(**chosen(arguments)).describe()}, list(images))
    found = file.found if file else {}
    results, done = _results(arguments, predictor, images, found), len(found)
    missed, last = put_out("caption", results, list(images), "images", file, partial(_show, as_json=arguments.json))
    if arguments.explain and last:
        _explain(arguments.explain, predictor, paths[0], last)
    named = {Path(each) for each in arguments.images}
    return 2 if any(images[key] in named for key in missed) or not (last or done) else 0


def _results(
    arguments: argparse.Namespace, predictor: "Predictor", images: "Mapping[Key, Path]", found: "Container[Key]"
) -> "Iterator[tuple[Key, Prediction | UserError]]":
    """What becomes of each image. A batch of which a result is missing is made anew as a whole: so the results are to
    the last digit those of a run that was not interrupted."""
    how = {"batch_size": arguments.batch_size, "seed": arguments.seed, **chosen(arguments)}
    items = list(images.items())
    for first in range(0, len(items), arguments.batch_size):
        batch = items[first : first + arguments.batch_size]
        if not all(key in found for key, _ in batch):
            results = predictor.captions([path for _, path in batch], first=first, **how)
            yield from zip((key for key, _ in batch), results, strict=True)


def _show(prediction: "Prediction", as_json: bool) -> None:
    if as_json:
        print_json(asdict(prediction))
        return
    print_line(f"{prediction.image_id}: {prediction.text}")
    for each in prediction.alternatives:
        print_line(f"  {each['score']:8.3f}  {each['text']}")


def _explain(picture: str, predictor: "Predictor", image: Path, prediction: "Prediction") -> None:
    from vlrnn.data.images import open_image
    from vlrnn.report.drawing import save_attention

    weights = predictor.attention(image, prediction.tokens)
    if weights is None:
        raise UserError("--explain: the decoder of this checkpoint has no attention over regions with known boxes")
    words = [*prediction.tokens, "(end)"][: len(prediction.log_probs)]  # the end only where it was said
    save_attention(picture, open_image(image), words, weights)
