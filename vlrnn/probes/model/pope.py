"""Yes/no questions after an object, answered by a VQA model, or from the output of a captioner; `vlrnn.probes.pope`
scores the answers.

Source of the questions: Li et al., Evaluating object hallucination in large vision-language models, EMNLP 2023.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from vlrnn.data.matching import name_some
from vlrnn.errors import UserError
from vlrnn.probes.finding import Finding
from vlrnn.probes.object_annotations import read_object_sets, read_poll
from vlrnn.probes.object_mentions import Mentions, mentions, unread
from vlrnn.probes.pope import Polls, Reply, mentioned, parse_reply, read_captions, read_replies, score_polls
from vlrnn.progress import track
from vlrnn.text.vocabulary import PAD, UNK

if TYPE_CHECKING:  # torch is imported for a checkpoint alone
    from vlrnn.inference.predictor import Predictor

Pair = tuple[str, str]
"""The file of an image, and what is asked about it: a question, or an object."""


@dataclass(frozen=True)
class ReplySource:
    """The source of replies: one of answers, predictions and checkpoint; and how captions are read.

    Args:
        answers: for each file of questions, or one for all: answer, and question_id or in order.
        predictions: captions: yes for the objects that they mention.
        checkpoint: a VQA model, which answers the questions, or a captioner.
        images: the folder of the images, for a checkpoint; by default that of the first file of questions.
        device: for a checkpoint: cpu, cuda, cuda:1, ...; by default a GPU if available.
        trust: allow classes of this package in the checkpoint, which runs its code; may be repeated.
        short: questions without 'in the image', for a VQA model trained without this phrase.
        by: of a captioner: an object is predicted if the caption mentions it, or if its name is probable.
        mode: how objects are found in captions, as for chair.
        synonyms: a line for each object: its name, its synonyms, separated by commas.
        double_words: {"two words": "the object that they name"}.
    """

    answers: Sequence[str] | None = None
    predictions: str | None = None
    checkpoint: str | None = None
    images: str | None = None
    device: str | None = None
    trust: Sequence[str] = ()
    short: bool = False
    by: Literal["mention", "likelihood"] = "mention"
    mode: Literal["fixed", "chair-2018"] = "fixed"
    synonyms: str | None = None
    double_words: str | None = None

    def __post_init__(self) -> None:
        if [self.answers, self.predictions, self.checkpoint].count(None) != 2:
            raise UserError("give one of --answers, --predictions and --checkpoint")

    def replies(self, polls: Polls, folder: Path, find: Mentions) -> tuple[dict[str, list[Reply]], list[str]]:
        """The replies to each poll, question by question, and notes; `folder` is the default of `images`."""
        if self.answers is not None:
            return read_replies(self.answers, polls)
        if self.predictions is not None:
            captions, notes = read_captions(self.predictions, polls)
            return {name: mentioned(captions, find, each) for name, each in polls.items()}, notes
        folder = Path(self.images or folder)
        files = dict.fromkeys(question.image for each in polls.values() for question in each)
        if missing := [file for file in files if not (folder / file).is_file()]:
            raise UserError(
                f"{folder}: lacks {len(missing)} of the polls' {len(files)} images: {name_some(missing)}; "
                "give their folder with --images"
            )
        from vlrnn.probes.model.encoded_split import open_predictor

        predictor = open_predictor(str(self.checkpoint), self.device, self.trust)
        return _model_replies(predictor, polls, folder, find, self.short, self.by), []


_SETTINGS = ("answers", "predictions", "checkpoint", "short", "by", "mode", "synonyms", "double_words")


def probe_pope(
    questions: Sequence[str],
    source: ReplySource,
    *,
    objects: str | None = None,
    training: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Finding:
    """Does a model predict objects that are not in the image, in answers or captions (POPE)?

    Args:
        questions: files of yes/no questions in the published form; see `vlrnn prepare pope`.
        source: of the replies.
        objects: the objects of each image, as for chair: for the oracle and the blind baseline.
        training: the objects of each training image: for the blind baseline, in place of objects.
        resamples, seed: of the bootstrap over images.

    Raises:
        UserError: a file is wrong, or images are missing.
    """
    polls = {Path(path).stem: read_poll(path) for path in questions}
    if len(polls) < len(questions):
        raise UserError("--questions: two files have the same name")
    names = sorted({question.object for each in polls.values() for question in each})
    # Cached: it is called again for each question about a caption.
    find = cache(mentions(source.mode, names, source.synonyms, source.double_words))
    replies, notes = source.replies(polls, Path(questions[0]).parent, find)
    annotated, trained = (None if path is None else read_object_sets(path) for path in (objects, training))
    finding = score_polls(polls, replies, annotated=annotated, training=trained, resamples=resamples, seed=seed)
    if source.answers is None:
        notes = [*notes, *unread(find, names, source.synonyms)]
    settings = {name: getattr(source, name) for name in _SETTINGS} | {"objects": objects, "training": training}
    return finding.with_input(settings, notes)


def _model_replies(
    predictor: "Predictor", polls: Polls, folder: Path, find: Mentions, short: bool, by: str
) -> dict[str, list[Reply]]:
    """The answers of a VQA model; of a captioner, the objects that its captions mention, or that are likely."""
    every = [question for each in polls.values() for question in each]
    if "question" in predictor.task.accepts:
        texts = [each.text.rpartition(" in the ")[0] if short else each.text for each in every]
        pairs = [(each.image, text) for each, text in zip(every, texts, strict=True)]
        given = answer(predictor, pairs, folder)
        found = [parse_reply(given[pair]) for pair in pairs]
    elif by == "mention":
        captions = caption(predictor, [each.image for each in every], folder)
        found = [Reply(each.object in find(captions[each.image])) for each in every]
    else:
        claims = likely(predictor, [(each.image, each.object) for each in every], folder)
        found = [Reply(bool(yes), yes is not None) for yes in (claims[each.image, each.object] for each in every)]
    replies = iter(found)
    return {name: list(islice(replies, len(questions))) for name, questions in polls.items()}


def answer(predictor: "Predictor", pairs: Iterable[Pair], folder: str | Path) -> dict[Pair, str]:
    """The answers of a VQA model to questions about images in a folder; each image is encoded once.

    Raises:
        UserError: the model captions, or an image cannot be read.
    """
    return {
        (image, question): prediction.text
        for image, questions in _by_image(pairs)
        for question, prediction in zip(questions, predictor.answers(Path(folder) / image, questions), strict=True)
    }


def caption(predictor: "Predictor", images: Iterable[str], folder: str | Path) -> dict[str, str]:
    """The captions of images in a folder: file -> caption.

    Raises:
        UserError: the model answers questions, or an image cannot be read.
    """
    pairs = _by_image((image, "") for image in images)
    return {image: predictor.caption(Path(folder) / image).text for image, _ in pairs}


def likely(predictor: "Predictor", pairs: Iterable[Pair], folder: str | Path) -> dict[Pair, bool | None]:
    """Whether an object is likely in an image of a folder by a captioner: the probability of its name at some position
    of the caption is above chance, 1 / the number of objects in the questions. None if a word of the name is not in the
    vocabulary.

    Raises:
        UserError: the model answers questions, or an image cannot be read.
    """
    pairs = list(pairs)
    chance = -math.log(max(2, len({name for _, name in pairs})))
    found: dict[Pair, bool | None] = {}
    for image, names in _by_image(pairs):
        ids = {name: predictor.require({"image"}, "does not caption").vocabulary.encode_text(name) for name in names}
        encodable = {name: each for name, each in ids.items() if each and UNK not in each}
        best = _best(predictor, Path(folder) / image, list(encodable.values()))
        found |= {(image, name): None for name in names} | {
            (image, name): each > chance for name, each in zip(encodable, best, strict=True)
        }
    return found


def _best(predictor: "Predictor", path: Path, names: Sequence[Sequence[int]]) -> list[float]:
    """The log probability of each name, as ids, at the position of the image's caption where it is largest."""
    import torch

    from vlrnn.generation.generate import score_sequences

    captioner = predictor.require({"image"}, "does not caption")
    caption = captioner.vocabulary.encode(predictor.caption(path).tokens)
    if not names:
        return []
    places = range(len(caption) + 1)
    rows = [torch.tensor([*caption[:place], *name]) for name in names for place in places]
    tokens = torch.nn.utils.rnn.pad_sequence(rows, True, PAD).to(predictor.device)
    with torch.inference_mode():
        memory = captioner.decoder.prepare(predictor.context(path))
        log_probs = score_sequences(captioner.decoder, memory, tokens, tokens.new_zeros(len(tokens)))
    by_name = log_probs.unflatten(0, (len(names), len(places))).cpu()
    return [
        max(float(each[place, place : place + len(name)].sum()) for place in places)
        for name, each in zip(names, by_name, strict=True)
    ]


def _by_image(pairs: Iterable[Pair]) -> Iterator[tuple[str, list[str]]]:
    """Each image with its questions or objects, without repetition, under a progress bar."""
    grouped: dict[str, dict[str, None]] = {}
    for image, text in pairs:
        grouped.setdefault(image, {})[text] = None
    if not grouped:
        raise UserError("there are no questions")
    for image, texts in track(grouped.items(), "asking", unit="images"):
        yield image, list(texts)
