"""`vlrnn prepare`: data sets into the record format. Each is a function of vlrnn/data/prepare."""

import argparse
import gc

from vlrnn.commands.signature import Signature

_MODULES = {
    "captions": "coco flickr8k flickr30k folder",
    "questions": "vqa_v2 vqa_cp daquar easy_vqa folder_vqa",
    "derived": "synthetic prose inverses shift_priors shards pope",
}
DATA_SETS = {
    name: f"vlrnn.data.prepare.{module}.{name}" for module, names in _MODULES.items() for name in names.split()
}
"""Name -> the function."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="data_set", required=True, metavar="NAME")
    for name, path in DATA_SETS.items():
        function = Signature(path)
        each = kinds.add_parser(name, help=function.summary, description=f"{function.summary}.")
        function.add_flags(each)
        each.set_defaults(function=function)


def run(arguments: argparse.Namespace) -> None:
    gc.disable()  # of millions of records without cycles, collection takes a third of the time
    try:
        arguments.function.call(arguments)
    finally:
        gc.enable()
