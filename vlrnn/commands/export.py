"""export: write a trained model as a folder that holds no pickle."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", required=True, help="a .ckpt file of training")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="gets model.safetensors and config.json")


def run(arguments: argparse.Namespace) -> None:
    """Load, and write again."""
    from vlrnn.tasks.base import Task
    from vlrnn.tasks.checkpoint import load_task, save_pretrained

    save_pretrained(load_task(arguments.checkpoint, Task), arguments.out)
    print(f"{arguments.out}: model.safetensors, config.json")
