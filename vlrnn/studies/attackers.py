"""Captions with their gender words masked, and attackers, which predict from them who is in the image: one over word
counts, one over the sequence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vlrnn.data.formats.captions import read_predictions, read_references
from vlrnn.data.matching import match
from vlrnn.data.records import Id
from vlrnn.errors import UserError
from vlrnn.metrics.statistics import Floats
from vlrnn.nn.question_encoder import RecurrentQuestionEncoder
from vlrnn.nn.recurrent.rnn import LSTM
from vlrnn.probes.gender_words import GENDERS, Gender, GenderWords, find_people
from vlrnn.studies.fitting import fit_small
from vlrnn.text.ptb_tokenizer import tokenize
from vlrnn.text.vocabulary import BOS, PAD, SPECIAL, UNK, Vocabulary

MASK = "<gender>"
FEWEST = 20


@dataclass(frozen=True)
class Masked:
    """The captions of an image, tokenized and masked: the model's, and human ones in the model's vocabulary."""

    id: Id
    gender: Gender
    caption: tuple[str, ...]
    human: tuple[tuple[str, ...], ...]


def mask(caption: str, masked: frozenset[str], vocabulary: frozenset[str] | None = None) -> tuple[str, ...]:
    """The tokens of a caption, with `<gender>` for the masked words, and `<unk>` for those outside the vocabulary, if
    given."""
    tokens = (MASK if token in masked else token for token in tokenize(caption))
    unknown = SPECIAL[UNK]
    return tuple(each if each == MASK or vocabulary is None or each in vocabulary else unknown for each in tokens)


def read_masked(
    predictions: str | Path,
    references: str | Path,
    *,
    women: str | Path | None = None,
    men: str | Path | None = None,
    words: GenderWords | None = None,
) -> tuple[list[Masked], list[str]]:
    """The images of women and men that have both predictions and references, and notes on what was left out.

    Args:
        predictions: `predictions.jsonl`, or COCO results. The vocabulary is counted on all of them.
        references: human captions.
        women, men: an image id on each line; see `find_people`.
        words: that name women and men; all of these are masked, and more.

    Raises:
        UserError: a file is wrong, only one list is given, or too few images are left.
    """
    words = words or GenderWords.load()
    captions = read_references(references).as_lists()
    people, notes = find_people(captions, words, women, men)
    described = {id: gender for id, gender in people.items() if id in captions}
    if len(described) < len(people):
        notes.append(f"{references}: has captions of {len(described)} of the {len(people)} images of women and men")
    predicted = read_predictions(predictions)
    matched = match(predicted, described, "skip", str(predictions), files=captions.files)
    vocabulary = frozenset(token for prediction in predicted for token in tokenize(prediction.text))
    masked = words.masked()
    images = [
        Masked(
            id,
            gender,
            mask(matched.predictions[id].text, masked),
            tuple(mask(caption, masked, vocabulary) for caption in captions[id]),
        )
        for id, gender in matched.references.items()
    ]
    counts = {gender: sum(image.gender == gender for image in images) for gender in GENDERS}
    if min(counts.values()) < FEWEST:
        raise UserError(
            f"{predictions}: {counts['woman']} images of women and {counts['man']} of men have predictions and "
            f"references; an attack needs {FEWEST} of each"
        )
    fewer = min(counts, key=counts.__getitem__)
    notes.append(
        f"{counts[fewer]} images of each gender are used, of {counts['woman']} of women and {counts['man']} of men"
    )
    return images, [*matched.notes, *notes]


EPOCHS, PATIENCE, BATCH_SIZE = 40, 5, 64


class Attacker(nn.Module):
    """The interface: built for a number of words, V.

    Attributes:
        lr: the learning rate of Adam.
    """

    lr: float

    def forward(self, tokens: Tensor) -> Tensor:
        """Captions [M, T], padded with `<pad>` -> the logit [M] of a woman in the image."""
        raise NotImplementedError


class LinearAttacker(Attacker):
    """Logistic regression on the word counts of a caption."""

    lr = 5e-2

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self.weights = nn.EmbeddingBag(len(words), 1, mode="sum", padding_idx=PAD)
        nn.init.zeros_(self.weights.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.weights(tokens)[:, 0]  # the weight of <bos> is the bias


class LSTMAttacker(Attacker):
    """An LSTM over the caption and a linear layer on its last output. Smaller than that of Hirota et al., which has two
    layers and both directions."""

    lr = 2e-3

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self.reader = RecurrentQuestionEncoder(LSTM(128), embedding_dim=100, dropout=0.5).build(words)
        self.score = nn.Linear(self.reader.output_dim, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.score(self.reader(tokens))[:, 0]


ATTACKERS: dict[str, Callable[[Sequence[str]], Attacker]] = {"linear": LinearAttacker, "lstm": LSTMAttacker}


class Captions(NamedTuple):
    """Tokenized captions, and which of them are of images of women [M]."""

    tokens: Sequence[Sequence[str]]
    women: NDArray[np.bool_]


def attack(
    build: Callable[[Sequence[str]], Attacker], train: Captions, validation: Captions, test: Captions, *, seed: int = 0
) -> Floats:
    """Train an attacker, and predict the gender of test captions.

    Args:
        build: makes the attacker for words in the order of their ids.
        train: captions to train on; the vocabulary is counted on them.
        validation: for early stopping: the weights of the epoch of the lowest loss on these are used.
        test: captions to predict.
        seed: of its parameters and of the order of captions; the state of the global generator is restored.

    Returns:
        the probability [M] of the true gender given each test caption.
    """
    vocabulary = Vocabulary.count(train.tokens)

    def tensors(captions: Captions) -> tuple[Tensor, Tensor]:
        rows = [torch.tensor([BOS, *vocabulary.encode(tokens)]) for tokens in captions.tokens]
        return pad_sequence(rows, batch_first=True, padding_value=PAD), torch.from_numpy(captions.women).float()

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        attacker = build(vocabulary.words)
        _fit(attacker, *tensors(train), *tensors(validation))
    attacker.eval()
    tokens, women = tensors(test)
    with torch.no_grad():
        probability = torch.sigmoid(attacker(tokens))
    return torch.where(women > 0, probability, 1 - probability).double().numpy()


def _fit(attacker: Attacker, tokens: Tensor, women: Tensor, validation: Tensor, truth: Tensor) -> None:
    optimizer = torch.optim.Adam(attacker.parameters(), lr=attacker.lr)
    best, since, best_state = np.inf, 0, {}
    for _ in range(EPOCHS):
        attacker.train()
        fit_small(
            torch.randperm(len(tokens)).split(BATCH_SIZE),
            lambda rows: F.binary_cross_entropy_with_logits(attacker(tokens[rows]), women[rows]),
            optimizer,
        )
        attacker.eval()
        with torch.no_grad():
            loss = F.binary_cross_entropy_with_logits(attacker(validation), truth).item()
        since += 1
        if loss < best:
            best, since = loss, 0
            best_state = {name: value.clone() for name, value in attacker.state_dict().items()}
        if since == PATIENCE:
            break
    attacker.load_state_dict(best_state)
