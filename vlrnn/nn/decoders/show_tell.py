"""Show and Tell: the image is the initial state of a recurrence (Vinyals et al., CVPR 2015)."""

from collections.abc import Sequence
from typing import NamedTuple, Self

from torch import Tensor, nn

from vlrnn.nn.batching import Tree
from vlrnn.nn.decoders.base import Decoder, Said, _known
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.recurrent.base import Recurrence, that_speaks
from vlrnn.nn.word_scores import WordScores


class ShowAndTell(Decoder):
    """The image is given once, as the first input of the recurrence (Vinyals et al. 2015, eq. 10 to 12), and the
    question with it, where there is one. A question is also added to what is said at every word, so that an answer need
    not be carried through the recurrence: of few examples, that is learnt late.

    Args:
        recurrence: any.
        embedding: E.
        dropout: of the words that go in and of the output.
    """

    class Memory(NamedTuple):
        image: Tensor  # [B, E]
        question: Tensor | None  # [B, H]

    def __init__(self, recurrence: Recurrence, embedding: int = 512, dropout: float = 0.5) -> None:
        super().__init__()
        self.recurrence = that_speaks(recurrence)
        self.embedding_width = embedding
        self.dropout = nn.Dropout(dropout)

    def build(self, vocabulary_size: int, context_width: int, question_width: int = 0) -> Self:
        self.embedding = nn.Embedding(vocabulary_size, self.embedding_width, padding_idx=0)
        self.image = nn.Linear(context_width + question_width, self.embedding_width)
        self.recurrence.build(self.embedding_width)
        self.question = nn.Linear(question_width, self.recurrence.width) if question_width else None
        self.score = WordScores(self.recurrence.width, vocabulary_size)
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        return self

    def prepare(self, context: Context) -> Tree:
        question = None if self.question is None else self.question(context.question)
        return self.Memory(self.image(_known(context.pooled, context)), question)

    def initial_state(self, memory: Tree) -> Tree:
        _, state = self.recurrence.step(memory.image, self.recurrence.initial_state(memory.image.shape[0]))
        return state

    def embed(self, tokens: Tensor) -> Tensor:
        return self.dropout(self.embedding(tokens.to(self.embedding.weight.device, non_blocking=True)))

    def advance(self, words: Tensor, state: Tree, memory: Tree) -> tuple[Said, Tree]:
        output, state = self.recurrence.step(words.flatten(0, 1), state)
        return self._said(output.unflatten(0, words.shape[:2]), memory), state

    def run(self, words: Tensor, alive: Sequence[int], state: Tree, memory: Tree) -> Said:
        outputs, _ = self.recurrence.scan(words.flatten(0, 1), state)  # [B * K, T, H]
        return self._said(outputs.unflatten(0, words.shape[:2]), memory)

    def _said(self, output: Tensor, memory: Tree) -> Said:
        """What the recurrence says [B, K, ..., H], and with it the question."""
        if memory.question is not None:
            output = output + memory.question.view(output.shape[0], *[1] * (output.dim() - 2), -1)
        return Said(output)

    def readout(self, output: Tensor) -> Tensor:
        return self.score(self.dropout(output))
