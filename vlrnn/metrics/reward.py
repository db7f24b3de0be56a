"""CIDEr-D as the reward of sampled captions (Rennie et al., CVPR 2017)."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from vlrnn.data.records import Id
from vlrnn.errors import UserError
from vlrnn.metrics.captions import ngram_words
from vlrnn.metrics.cider import CiderD
from vlrnn.metrics.references import ReferenceTable, Tokens
from vlrnn.text.tokenizers import WORDS, CaptionTokenizer

_END = "<eos>"


class CiderReward:
    """CIDEr-D of captions of training images. References and document frequencies are counted once.

    Args:
        references: image id -> its reference captions; images without captions have the reward 0.
        tokenizer: splits captions into the tokens that are compared.
        count_eos: take the end of a caption for one more token, so that a caption with an incomplete end scores less.

    Raises:
        UserError: no image has references.
    """

    def __init__(
        self, references: Mapping[Id, Sequence[str]], tokenizer: CaptionTokenizer = WORDS, count_eos: bool = False
    ) -> None:
        self._tokenizer = tokenizer
        self._count_eos = count_eos
        described = {id: captions for id, captions in references.items() if captions}
        if not described:
            raise UserError("a reward needs reference captions, which no image of train has")
        self._places = {id: place for place, id in enumerate(described)}
        self._cider = CiderD(ReferenceTable([self._tokens(each, [True] * len(each)) for each in described.values()]))

    def __call__(self, ids: Sequence[Id], captions: Sequence[str], ended: Sequence[bool]) -> NDArray[np.float64]:
        """The rewards [M], 0..10, of M captions.

        Args:
            ids: the image of each.
            captions: the captions.
            ended: whether each was generated up to its end.
        """
        rewards = np.zeros(len(ids))
        scored = [row for row, id in enumerate(ids) if id in self._places]
        tokens = self._tokens([captions[row] for row in scored], [ended[row] for row in scored])
        lengths = np.fromiter(map(len, tokens), np.int64)
        images = np.fromiter((self._places[ids[row]] for row in scored), np.int64)
        rewards[scored] = self._cider.score(self._cider.table.index.count(tokens), lengths, images)
        return rewards

    def _tokens(self, captions: Sequence[str], ended: Sequence[bool]) -> list[Tokens]:
        ends = [[_END] if self._count_eos and each else [] for each in ended]
        return [
            [*ngram_words(tokens), *end]
            for tokens, end in zip(self._tokenizer.tokens_for_scores(captions), ends, strict=True)
        ]
