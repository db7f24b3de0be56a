"""units: what do single hidden units detect?"""

import argparse
from pathlib import Path

from vlrnn.errors import UserError
from vlrnn.probes.finding import Finding
from vlrnn.terminal import print_line
from vlrnn.trust import add_trust

PURPOSE = "do single hidden units detect quotes, lines, nouns, or what was mentioned, and how far do gates open?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--checkpoint",
        required=True,
        help="of a language model or a captioner: a .ckpt file, or what vlrnn export wrote",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--text", metavar="FILE", help="input of a language model")
    what.add_argument("--data", metavar="FOLDER", help="a prepared data set whose captions are input of a captioner")
    add("--split", default="test", help="of the data (default test)")
    add(
        "--property",
        nargs="+",
        default=[],
        metavar="NAME",
        help="inside_quotes, inside_brackets, line_position, word_position, noun_just_said, mentioned:OBJECT, and "
        "mentioned, of the objects that are mentioned most; by default all",
    )
    add("--nouns", metavar="FILE", help="what a noun is, a word on a line; by default a list of common ones")
    add("--units", default="", metavar="NAME,...", help="hidden units to show: 12,c1.40; by default the best detectors")
    add("--limit", type=int, default=20_000, help="characters or words of input at most (%(default)s)")
    add("--page", type=Path, metavar="FILE.html", help="write the text, coloured by what units do")
    add("--picture", type=Path, metavar="FILE", help="draw the beginning of it: .png, .svg or .pdf")
    add("--cache", metavar="FOLDER", help="for encoder outputs; by default one that is gone in the end")
    add("--device", help="cpu, cuda, cuda:1, ...; by default a GPU where there is one")
    add_trust(parser)


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.probes.text_properties import check_names
    from vlrnn.report.drawing import picture_file
    from vlrnn.report.unit_pages import page_file, save_heat, save_page

    if arguments.limit < 1:
        raise UserError(f"--limit must be at least 1, not {arguments.limit}")
    check_names(arguments.property)
    page = arguments.page and page_file(arguments.page)
    picture = arguments.picture and picture_file(arguments.picture)
    finding = _find(arguments)
    if page:
        save_page(page, finding.details["heat"], arguments.checkpoint)
        print_line(f"written: {page}")
    if picture:
        save_heat(picture, finding.details["heat"])
        print_line(f"drawn: {picture}")
    return finding


def _find(arguments: argparse.Namespace) -> Finding:
    from vlrnn.inference.predictor import Predictor
    from vlrnn.probes.model.activations import record_captions, record_text
    from vlrnn.probes.model.hidden_units import hidden_units
    from vlrnn.probes.object_mentions import PhraseTable, object_names, phrases
    from vlrnn.probes.text_properties import PROPERTIES, noun_table, properties

    names = object_names(arguments.data) if arguments.data else set()
    nouns = noun_table(arguments.nouns, names)
    predictor = Predictor.load(arguments.checkpoint, arguments.device, trust=arguments.trust)
    if arguments.data:
        activations = record_captions(predictor, arguments.data, arguments.split, arguments.limit, arguments.cache)
    else:
        activations = record_text(predictor, arguments.text, arguments.limit)
    return hidden_units(
        activations,
        properties(
            nouns,
            PhraseTable(phrases(names)) if names else nouns,
            ["".join(each) for each in activations.pieces],
            arguments.property or PROPERTIES,
        ),
        units=[each for each in arguments.units.split(",") if each],
        settings={"checkpoint": predictor.name, "nouns": arguments.nouns},
        resamples=arguments.resamples,
        seed=arguments.seed,
    )
