"""`vlrnn prepare`: data sets into the record format. Each is a function of vlrnn/data/prepare."""

import argparse
import gc

from vlrnn.commands.signature import Signature

DATA_SETS = {
    "coco": "vlrnn.data.prepare.captions.coco",
    "flickr8k": "vlrnn.data.prepare.captions.flickr8k",
    "flickr30k": "vlrnn.data.prepare.captions.flickr30k",
    "vqa_v2": "vlrnn.data.prepare.questions.vqa_v2",
    "vqa_cp": "vlrnn.data.prepare.questions.vqa_cp",
    "daquar": "vlrnn.data.prepare.questions.daquar",
    "easy_vqa": "vlrnn.data.prepare.questions.easy_vqa",
    "folder": "vlrnn.data.prepare.captions.folder",
    "folder_vqa": "vlrnn.data.prepare.questions.folder_vqa",
    "synthetic": "vlrnn.data.prepare.derived.synthetic",
    "prose": "vlrnn.data.prepare.derived.prose",
    "inverses": "vlrnn.data.prepare.derived.inverses",
    "shift_priors": "vlrnn.data.prepare.derived.shift_priors",
    "shards": "vlrnn.data.prepare.derived.shards",
    "pope": "vlrnn.data.prepare.derived.pope",
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
