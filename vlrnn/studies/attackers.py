"""Attackers, which predict from a caption who is in its image: one over word counts, one over the sequence."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from vlrnn.metrics.statistics import Floats
from vlrnn.nn.question_encoder import RecurrentQuestionEncoder
from vlrnn.nn.recurrent.rnn import LSTM
from vlrnn.studies.fitting import fit_small
from vlrnn.text.vocabulary import BOS, PAD, Vocabulary

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
        logits: Tensor = self.weights(tokens)[:, 0]  # the weight of <bos> is the bias
        return logits


class LSTMAttacker(Attacker):
    """An LSTM over the caption and a linear layer on its last output. Smaller than that of Hirota et al., which has two
    layers and both directions."""

    lr = 2e-3

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__()
        self.reader = RecurrentQuestionEncoder(LSTM(128), embedding_dim=100, dropout=0.5).build(words)
        self.score = nn.Linear(self.reader.output_dim, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.score(self.reader(tokens))[:, 0]
        return logits


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
