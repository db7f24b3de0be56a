"""export: write a trained model as a folder that holds no pickle, and for programs that have no torch."""

import argparse
from typing import TYPE_CHECKING, Any

from vlrnn.errors import UserError
from vlrnn.terminal import print_line
from vlrnn.trust import add_trust

if TYPE_CHECKING:
    from vlrnn.training.module import Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help="a .ckpt file of training")
    add_trust(parser)
    parser.add_argument("--out", required=True, metavar="FOLDER", help="gets model.safetensors and config.json")
    parser.add_argument("--onnx", action="store_true", help="write a captioner's graphs for ONNX Runtime as well")
    parser.add_argument("--programs", action="store_true", help="write them as programs of torch.export as well")
    parser.add_argument(
        "--check", metavar="IMAGE_OR_FOLDER", nargs="+", help="caption these with ONNX Runtime, too, and compare"
    )


def run(arguments: argparse.Namespace) -> int:
    """Load, and write again.

    Returns:
        the exit code: 1 when ONNX Runtime gives another caption than the model.
    """
    from vlrnn.inference.export import export_captioner
    from vlrnn.training.checkpoint import load_task, save_pretrained
    from vlrnn.training.module import Task

    if arguments.check and not arguments.onnx:
        raise UserError("--check compares with ONNX Runtime: give --onnx with it")
    task = load_task(arguments.checkpoint, Task, arguments.trust)
    wanted = [name for name in ("onnx", "programs") if getattr(arguments, name)]
    if wanted and not (task.accepts == {"image"} and hasattr(task, "decoder")):
        raise UserError(f"--{wanted[0]} is of captioners; {arguments.checkpoint} is of a {type(task).__name__}")
    save_pretrained(task, arguments.out)
    files = ["model.safetensors", "config.json"]
    for name in wanted:
        files += [file for file in export_captioner(task, arguments.out, onnx=name == "onnx") if file not in files]
    print_line(f"{arguments.out}: {', '.join(files)}")
    return _check(task, arguments.out, arguments.check) if arguments.check else 0


def _check(task: "Task", folder: str, named: list[str]) -> int:
    """Caption images by the model, and by the program that was written, from the files on: pixels, search and all."""
    from vlrnn.data.images import named_images
    from vlrnn.inference.onnx_captioner import OnnxCaptioner
    from vlrnn.inference.predictor import Predictor

    paths = named_images(named)
    searched: dict[str, Any] = {"temperature": None, "top_k": 0, "top_p": 1.0, "num_return_sequences": 1}
    captioner, same = OnnxCaptioner(folder), 0
    for path, ours in zip(paths, Predictor(task, "cpu").captions(paths, **searched), strict=True):
        if isinstance(ours, UserError):
            raise ours
        same += captioner.captions(path, **searched)[0].tokens == ours.tokens
    print_line(f"{folder}: ONNX Runtime gives the same caption for {same} of {len(paths)} images")
    return int(same < len(paths))
