"""Show, attend and tell as tutorials write it out, over the parameters of our decoder: what benchmarks compare with.

One row of features for each caption; at every step the regions are projected anew, the vocabulary is scored for the
rows that are left, and the beam of one image at a time is a loop with the features copied for each hypothesis.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.nn.attention import SoftAttention
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.recurrent.rnn import LSTM
from vlrnn.text.vocabulary import BOS, EOS, PAD, UNK


class Literal:
    """The formulas of `ShowAttendTell` with soft attention and an LSTM of one layer, step by step.

    Args:
        decoder: built, without dropout.
    """

    def __init__(self, decoder: ShowAttendTell) -> None:
        assert isinstance(decoder.attention, SoftAttention)
        assert isinstance(decoder.recurrence, LSTM)
        self.decoder = decoder
        self.attention = decoder.attention
        kernel = decoder.recurrence.kernel
        self.lstm = nn.LSTMCell(kernel.input_size, kernel.hidden_size)
        self.lstm.weight_ih, self.lstm.weight_hh, self.lstm.bias_ih, self.lstm.bias_hh = kernel.parameters()

    def first(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features [M, N, D] -> the first query, and the LSTM's first output and cell, each [M, H]."""
        decoder, mean = self.decoder, features.mean(1)
        query, output, cell = (torch.tanh(each(mean)) for each in decoder.state_init.maps)
        return query, output, cell

    def step(
        self, word: Tensor, state: tuple[Tensor, Tensor, Tensor], features: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Words [M] and the state of M rows -> scores [M, V] and the next state."""
        decoder = self.decoder
        query, output, cell = state
        embedded = decoder.embedding(word)
        from_regions = self.attention.from_region(features)  # [M, N, A], the same at every step
        from_query = self.attention.from_query(query)
        scores = self.attention.score(torch.tanh(from_regions + from_query.unsqueeze(1))).squeeze(2)
        alpha = F.softmax(scores, dim=1)
        seen = (features * alpha.unsqueeze(2)).sum(dim=1)
        seen = torch.sigmoid(decoder.gate(query)) * seen
        output, cell = self.lstm(torch.cat([embedded, seen], dim=1), (output, cell))
        deep = embedded + decoder.from_state(output) + decoder.from_attended(seen)
        return decoder.score(deep), (output, output, cell)

    def loss(self, features: Tensor, tokens: Tensor) -> Tensor:
        """The mean cross entropy over the words of captions [M, T], one for each row of features [M, N, D]."""
        lengths = (tokens != PAD).sum(1) - 1
        lengths, order = lengths.sort(descending=True)
        features, tokens = features[order], tokens[order]
        state = self.first(features)
        total = features.new_zeros(())
        for time in range(int(lengths[0])):
            left = int((lengths > time).sum())
            state = state[0][:left], state[1][:left], state[2][:left]
            scores, state = self.step(tokens[:left, time], state, features[:left])
            total = total + F.cross_entropy(scores, tokens[:left, time + 1], reduction="sum")
        return total / lengths.sum()

    @torch.no_grad()
    def beam(self, features: Tensor, width: int, steps: int) -> list[int]:
        """The best sentence of just so many tokens, of one image's features [N, D], by the sum of log p: a beam search
        that keeps the best that have finished."""
        copies = features.unsqueeze(0).expand(width, -1, -1).contiguous()
        state = self.first(copies)
        words = torch.full((width,), BOS)
        sums = torch.zeros(width)
        said: list[list[int]] = [[]]
        finished: list[tuple[float, list[int]]] = []
        for time in range(steps):
            scores, state = self.step(words, state, copies)
            log_probs = F.log_softmax(scores, dim=1)
            log_probs[:, [PAD, BOS, UNK]] = -torch.inf
            if time < steps - 1:
                log_probs[:, EOS] = -torch.inf
            reached = sums.unsqueeze(1) + log_probs
            flat = reached[0] if time == 0 else reached.view(-1)
            best_sums, best = flat.topk(2 * width)
            live: list[tuple[float, int, int]] = []
            for rank, (total, place) in enumerate(zip(best_sums.tolist(), best.tolist(), strict=True)):
                parent, word = divmod(place, log_probs.shape[1])
                if word == EOS or time == steps - 1:
                    if rank < width:
                        finished.append((total, [*said[parent], word]))
                elif len(live) < width:
                    live.append((total, parent, word))
            finished = sorted(finished, reverse=True)[:width]
            if not live or (len(finished) == width and live[0][0] <= finished[-1][0]):
                break
            sums = torch.tensor([total for total, _, _ in live])
            parents = torch.tensor([parent for _, parent, _ in live])
            words = torch.tensor([word for _, _, word in live])
            said = [[*said[parent], word] for _, parent, word in live]
            state = state[0][parents], state[1][parents], state[2][parents]
        return finished[0][1]


def captions(count: int, words: int, vocabulary: int) -> Tensor:
    """Made-up captions [M, words + 2] of just so many words."""
    body = torch.randint(4, vocabulary, (count, words))
    return torch.cat([torch.full((count, 1), BOS), body, torch.full((count, 1), EOS)], 1)


def decoder_of(width: int, vocabulary: int, region_width: int) -> ShowAttendTell:
    """A decoder with random parameters, without dropout."""
    decoder = ShowAttendTell(LSTM(width), SoftAttention(width), embedding_dim=width, dropout=0.0)
    return decoder.build(vocabulary, region_width)


def same(ours: Sequence[Sequence[object]], theirs: Sequence[Sequence[object]]) -> str:
    """How many sentences are the same, in words."""
    count = sum(list(a) == list(b) for a, b in zip(ours, theirs, strict=True))
    return f"{count} of {len(ours)} captions are identical"
