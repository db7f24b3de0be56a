"""pope: does a model claim objects that are not in the image?"""

import argparse
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vlrnn.commands.probes.chair import MODES, add_tables
from vlrnn.commands.run_predictions import add_split
from vlrnn.errors import UserError
from vlrnn.probes.finding import Finding
from vlrnn.trust import add_trust

if TYPE_CHECKING:
    from vlrnn.probes.object_mentions import Mentions
    from vlrnn.probes.pope import Polls, Reply

PURPOSE = "does a model, in answers or captions, claim objects that are not in the picture?"

_SETTINGS = (
    *("answers", "predictions", "checkpoint", "short", "by", "mode", "synonyms", "double_words"),
    *("objects", "training"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--questions",
        nargs="+",
        required=True,
        metavar="POLL",
        help="files of the published form; see data_prep/polls.py",
    )
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument(
        "--answers",
        nargs="+",
        metavar="FILE",
        help="of each poll, or one that has all: answer, and question_id or in order",
    )
    who.add_argument("--predictions", metavar="PRED", help="captions: yes is what they mention; or a run folder")
    who.add_argument("--checkpoint", help="a VQA model, which answers the questions, or a captioner")
    add_split(parser)
    add(
        "--images",
        metavar="FOLDER",
        help="the polls' images, for --checkpoint; by default the folder of the first poll",
    )
    add("--device", help="for --checkpoint: cpu, cuda, cuda:1, ...; by default a GPU where there is one")
    add_trust(parser)
    add("--short", action="store_true", help="ask a model without 'in the image', for training data without it")
    add("--by", choices=("mention", "likelihood"), default="mention", help="of a captioner: how it replies")
    add("--objects", metavar="OBJECTS", help="what is in which image, as for chair: for the oracle and the blind row")
    add(
        "--training", metavar="OBJECTS", help="what is in which training image: for the blind row in place of --objects"
    )
    add("--mode", choices=MODES, default=MODES[0], help="how captions are read, as for chair; default %(default)s")
    add_tables(parser)


def run(arguments: argparse.Namespace) -> Finding:
    from vlrnn.probes.object_annotations import read_object_sets
    from vlrnn.probes.object_mentions import mentions, unread
    from vlrnn.probes.pope import mentioned, read_captions, read_replies, score_polls
    from vlrnn.probes.pope_questions import read_poll

    polls = {Path(path).stem: read_poll(path) for path in arguments.questions}
    if len(polls) < len(arguments.questions):
        raise UserError("--questions: two files have one name, by which they are told apart")
    names = sorted({question.object for each in polls.values() for question in each})
    find = cache(mentions(arguments.mode, names, arguments.synonyms, arguments.double_words))  # asked of many times
    if arguments.answers:
        replies, notes = read_replies(arguments.answers, polls)
    elif arguments.predictions:
        captions, notes = read_captions(arguments.predictions, polls)
        replies = {name: mentioned(captions, find, each) for name, each in polls.items()}
    else:
        replies, notes = _model_replies(arguments, polls, find), []
    finding = score_polls(
        polls,
        replies,
        annotated=None if arguments.objects is None else read_object_sets(arguments.objects),
        training=None if arguments.training is None else read_object_sets(arguments.training),
        settings={name: getattr(arguments, name) for name in _SETTINGS},
        resamples=arguments.resamples,
        seed=arguments.seed,
    )
    if not arguments.answers:
        notes = [*notes, *unread(find, names, arguments.synonyms)]
    return replace(finding, notes=[*notes, *finding.notes])


def _model_replies(arguments: argparse.Namespace, polls: "Polls", find: "Mentions") -> "dict[str, list[Reply]]":
    """The replies of a model: the answers of a VQA model; of a captioner, what it mentions, or is likely to."""
    from vlrnn.data.matching import name_some

    every = [question for each in polls.values() for question in each]
    folder = Path(arguments.images or Path(arguments.questions[0]).parent)
    files = dict.fromkeys(question.image for question in every)
    if missing := [file for file in files if not (folder / file).is_file()]:
        raise UserError(
            f"{folder}: lacks {len(missing)} of the polls' {len(files)} images: {name_some(missing)}; "
            "give --images, the folder that has them"
        )
    # Only now: they take seconds to import.
    from vlrnn.inference.predictor import Predictor
    from vlrnn.probes.model import pope as model
    from vlrnn.probes.pope import Reply, parse_reply

    predictor = Predictor.load(arguments.checkpoint, arguments.device, trust=arguments.trust)
    if "question" in predictor.task.accepts:
        questions = {each.text: each.text.rpartition(" in the ")[0] if arguments.short else each.text for each in every}
        texts = model.answer(predictor, [(each.image, questions[each.text]) for each in every], folder)
        return {
            name: [parse_reply(texts[question.image, questions[question.text]]) for question in each]
            for name, each in polls.items()
        }
    if arguments.by == "mention":
        captions = model.caption(predictor, [each.image for each in every], folder)
        found = {image: find(caption) for image, caption in captions.items()}
        return {
            name: [Reply(question.object in found[question.image]) for question in each] for name, each in polls.items()
        }
    likely = model.likely(predictor, [(each.image, each.object) for each in every], folder)
    return {
        name: [Reply(bool(sure := likely[question.image, question.object]), sure is not None) for question in each]
        for name, each in polls.items()
    }
