"""The laws of decoders, over every decoder with a cell of each kind in it."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from itertools import product

import every_cell
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vlrnn.generation.generate import score_sequences, search_step
from vlrnn.generation.search import GenerationConfig, search
from vlrnn.nn.attention import DotAttention, SoftAttention
from vlrnn.nn.batching import Tree, index_rows, map_tree
from vlrnn.nn.decoders.base import Decoder, DecoderOutput, WordScores
from vlrnn.nn.decoders.ensemble import Ensemble
from vlrnn.nn.decoders.language_model import RecurrentLanguageModel
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.rnn import GRU, LSTM

B, K, T, N, D, H, E, A, V, C = 4, 3, 6, 5, 7, 6, 8, 4, 11, 3
BOS, EOS, FORBIDDEN = 1, 2, (0, 1, 3)


class Plain(Decoder):
    """The five methods that a decoder must have, and no more: no attention, no gate, tensors in place of trees."""

    def build(self, vocab_size: int, feature_dim: int, condition_dim: int = 0) -> "Plain":
        self.embedding = torch.nn.Embedding(vocab_size, H)
        self.cell = torch.nn.GRUCell(H + feature_dim, H)
        self.score = torch.nn.Linear(H, vocab_size)
        return self

    def prepare(self, context: Context) -> Tensor:
        return context.pooled

    def init_state(self, memory: Tensor, condition: Tensor | None = None) -> Tensor:
        return memory.new_zeros(len(memory), H)

    def step(self, tokens: Tensor, state: Tensor, memory: Tensor) -> tuple[DecoderOutput, Tensor]:
        image = memory[:, None].expand(-1, tokens.shape[1], -1)
        state = self.cell(torch.cat([self.embedding(tokens), image], -1).flatten(0, 1), state)
        return DecoderOutput(state.unflatten(0, tokens.shape)), state

    def logits(self, hidden: Tensor) -> Tensor:
        return self.score(torch.nn.functional.dropout(hidden, 0.5, self.training))


CELLS: dict[str, Callable[[], Recurrence]] = {
    **{name: partial(cell, H) for name, cell in every_cell.KINDS.items()},
    "gru": lambda: GRU(hidden_size=H),
    "lstm": lambda: LSTM(hidden_size=H),
}
KINDS = list(every_cell.KINDS)
DECODERS = {
    "show-and-tell": lambda cell: ShowAndTell(cell, embedding_dim=E),
    "show-attend-tell": lambda cell: ShowAttendTell(cell, SoftAttention(A), embedding_dim=E),
    "show-attend-tell-projected": lambda cell: ShowAttendTell(cell, SoftAttention(A), embedding_dim=E, region_dim=9),
    "show-attend-tell-placed": lambda cell: ShowAttendTell(
        cell, DotAttention(A), embedding_dim=E, region_dim=9, position_frequencies=2, attend_with_word=True
    ),
    "ensemble": lambda cell: Ensemble(
        [ShowAndTell(deepcopy(cell), embedding_dim=E), ShowAndTell(cell, embedding_dim=E)]
    ),
    "ensemble-attends": lambda cell: Ensemble([ShowAttendTell(cell, SoftAttention(A), embedding_dim=E)]),
    "plain": lambda cell: Plain(),
    "language-model": lambda cell: RecurrentLanguageModel(cell, embedding_dim=E, dropout=0.5),
}
every_decoder = pytest.mark.parametrize("decoder", list(DECODERS))
ATTENDING = [name for name in DECODERS if "attend" in name]
OF_IMAGES = [name for name in DECODERS if name != "language-model"]
every_conditioned = pytest.mark.parametrize("decoder", ["show-and-tell", "show-attend-tell", "ensemble"])


def make(decoder: str, cell: str, condition_dim: int = 0) -> Decoder:
    built = DECODERS[decoder](CELLS[cell]()).build(V, D, condition_dim).eval()
    with torch.no_grad():  # no parameter may hide by being zero
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return built


def of_each_kind(decoder: str, condition_dim: int = 0) -> list[Decoder]:
    """The decoder with a fused kernel, a linear scan and a stack in it."""
    return [make(decoder, cell, condition_dim) for cell in KINDS]


def context(batch_size: int = B) -> Context:
    regions, corners = torch.randn(batch_size, N, D), torch.rand(batch_size, N, 2) / 2
    boxes = torch.cat([corners, corners + 0.4], -1)
    return Context(regions, torch.ones(batch_size, N, dtype=torch.bool), regions.mean(1), boxes)


def close(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


def scores(
    built: Decoder, tokens: Tensor, memory: Tree, image_index: Tensor, condition: Tensor | None = None
) -> Tensor:
    """Logits [M, T, V] by teacher forcing."""
    return built.logits(built(tokens, memory, image_index, condition).hidden)


@every_decoder
def test_teacher_forcing_is_step_by_step(decoder: str) -> None:
    for built in of_each_kind(decoder):
        encoded = context()
        image_index = torch.tensor([2, 0, 2, 3, 0, 2])  # unsorted, uneven, and image 1 has no row
        tokens = torch.randint(1, V, (len(image_index), T))
        logits = scores(built, tokens, built.prepare(encoded), image_index)
        assert logits.shape == (len(image_index), T, V)
        for row, image in enumerate(image_index.tolist()):
            memory = built.prepare(index_rows(encoded, torch.tensor([image])))
            state = built.init_state(memory)
            for time in range(T):
                output, state = built.step(tokens[row, time].view(1, 1), state, memory)
                close(built.logits(output.hidden)[0, 0], logits[row, time])


@every_conditioned
def test_conditions_are_of_rows_and_the_memory_of_images(decoder: str) -> None:
    """Teacher forcing of rows with conditions is step by step, each row alone."""
    for built in of_each_kind(decoder, 2 * C):
        encoded = context()
        image_index, condition = torch.tensor([2, 0, 2, 3, 0, 2]), torch.randn(6, 2 * C)
        tokens = torch.randint(1, V, (len(image_index), T))
        memory = built.prepare(encoded)
        logits = scores(built, tokens, memory, image_index, condition)
        for row, image in enumerate(image_index.tolist()):
            own = index_rows(memory, torch.tensor([image]))
            state = built.init_state(own, condition[row].view(1, 1, -1))
            for time in range(T):
                output, state = built.step(tokens[row, time].view(1, 1), state, own)
                close(built.logits(output.hidden)[0, 0], logits[row, time])
        other = scores(built, tokens, memory, image_index, condition.flip(0))
        assert ((other - logits).abs().amax(-1) > 1e-7).all()


@every_conditioned
def test_gradients_reach_every_parameter_of_conditions(decoder: str) -> None:
    built = make(decoder, "fused", 2 * C)
    tokens, condition = torch.arange(1, V).repeat(B, 1), torch.randn(B, 2 * C)
    scores(built, tokens, built.prepare(context()), torch.arange(B), condition).square().sum().backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in built.parameters())


@every_decoder
def test_greedy_search_is_the_literal_loop(decoder: str) -> None:
    for built in of_each_kind(decoder):
        memory = built.prepare(context())
        settings = GenerationConfig(max_new_tokens=T)
        state = built.init_state(memory)
        found = search(search_step(built), state, memory, settings, bos=BOS, eos=EOS, forbidden=FORBIDDEN)
        for image in range(B):
            own = index_rows(memory, torch.tensor([image]))
            state, token = built.init_state(own), BOS
            for place in range(int(found.lengths[image])):
                output, state = built.step(torch.tensor([[token]]), state, own)
                log_probs = built.logits(output.hidden)[0, 0].log_softmax(-1)
                log_probs[list(FORBIDDEN)] = -torch.inf
                token = int(found.tokens[image, 0, place])
                close(log_probs[token], log_probs.max())  # of two that are as likely either may be taken
                close(found.token_log_probs[image, 0, place], log_probs[token])
            assert token == EOS or int(found.lengths[image]) == T


@every_decoder
def test_a_beam_as_wide_as_the_space_is_brute_force(decoder: str) -> None:
    """All sentences of up to two words, scored by teacher forcing; and the log probability of each word."""
    for built in of_each_kind(decoder):
        memory = built.prepare(context(2))
        words = [token for token in range(V) if token not in (*FORBIDDEN, EOS)]
        sentences = [[EOS], *([first, second] for first in words for second in (EOS, *words))]
        wide = len(sentences) + 5
        settings = GenerationConfig(num_beams=wide, num_return_sequences=wide, max_new_tokens=2, length_penalty=0.7)
        state = built.init_state(memory)
        found = search(search_step(built), state, memory, settings, bos=BOS, eos=EOS, forbidden=FORBIDDEN)
        tokens = torch.tensor([[*each, 0][:2] for each in sentences])
        for image in range(2):
            log_probs = score_sequences(built, memory, tokens, torch.full((len(tokens),), image))
            expected = {tuple(each): log_probs[row, : len(each)].tolist() for row, each in enumerate(sentences)}
            lengths = found.lengths[image].tolist()
            assert sum(length > 0 for length in lengths) == len(sentences)
            for place, length in enumerate(lengths[: len(sentences)]):
                own = expected.pop(tuple(found.tokens[image, place, :length].tolist()))
                assert found.token_log_probs[image, place, :length].tolist() == pytest.approx(own, abs=1e-5)
                assert found.scores[image, place].item() == pytest.approx(sum(own) / length**0.7, abs=1e-5)
                assert (found.token_log_probs[image, place, length:] == 0).all()


@pytest.mark.parametrize("decoder", list(DECODERS))
def test_the_graph_of_what_is_drawn_is_retained_on_request(decoder: str) -> None:
    """The gradient of the log probabilities of drawn sentences is that of teacher forcing on them."""
    built, encoded = make(decoder, "gru"), context()
    settings = GenerationConfig(temperature=1.0, num_return_sequences=K, max_new_tokens=T)

    def draw(keep_graph: bool) -> tuple[Tensor, Tensor, Tensor]:
        memory = built.prepare(encoded)
        found = search(
            search_step(built), built.init_state(memory), memory, settings, bos=BOS, eos=EOS, forbidden=FORBIDDEN,
            generator=torch.Generator().manual_seed(0), keep_graph=keep_graph,
        )  # fmt: skip
        return found.token_log_probs, found.tokens, found.lengths

    def gradients(total: Tensor) -> list[Tensor]:
        built.zero_grad()
        total.backward()
        return [each.grad.clone() for each in built.parameters() if each.grad is not None]

    assert not draw(keep_graph=False)[0].requires_grad
    log_probs, tokens, lengths = draw(keep_graph=True)
    drawn = gradients(log_probs.sum())
    tokens = tokens.masked_fill(torch.arange(tokens.shape[2]) >= lengths[..., None], 0).flatten(0, 1)
    again = score_sequences(built, built.prepare(encoded), tokens, torch.arange(B).repeat_interleave(K))
    close(log_probs.flatten(0, 1), again.masked_fill(tokens == 0, 0.0))
    for one, other in zip(drawn, gradients(again[tokens != 0].sum()), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@every_decoder
def test_rows_of_any_length(decoder: str) -> None:
    """Images about which no more is said leave on the way; what was said before stays as it is."""
    for built in of_each_kind(decoder):
        encoded = context()
        image_index, lengths = torch.tensor([2, 0, 2, 3, 0, 2, 3]), torch.tensor([1, 3, 4, T, 2, 4, 1])
        full = torch.randint(1, V, (len(image_index), T))
        within = torch.arange(T) < lengths[:, None]
        memory = built.prepare(encoded)
        output = built(torch.where(within, full, 0), memory, image_index)
        whole = built(full, memory, image_index)
        close(output.hidden[within], whole.hidden[within])
        if whole.attention is not None:
            close(output.attention[within], whole.attention[within])
        if whole.gate is not None:
            close(output.gate[within], whole.gate[within])
            assert ((output.gate[within] > 0) & (output.gate[within] < 1)).all()
        for rows in (torch.tensor([3]), torch.tensor([0, 6])):  # fewer rows, and images without any
            close(built(full[rows], memory, image_index[rows]).hidden, built(full, memory, image_index).hidden[rows])


@every_decoder
def test_no_rows_at_all(decoder: str) -> None:
    for built in of_each_kind(decoder):
        nothing = torch.empty(0, T, dtype=torch.long)
        logits = scores(built, nothing, built.prepare(context()), torch.empty(0, dtype=torch.long))
        assert logits.shape == (0, T, V)


@every_decoder
def test_order_of_rows_does_not_matter(decoder: str) -> None:
    for built in of_each_kind(decoder):
        encoded = context()
        image_index = torch.tensor([0, 0, 1, 2, 2, 2, 3])
        tokens = torch.randint(1, V, (len(image_index), T))
        order = torch.randperm(len(image_index))
        memory = built.prepare(encoded)
        close(built(tokens, memory, image_index).hidden[order], built(tokens[order], memory, image_index[order]).hidden)


@every_decoder
def test_beams_are_each_alone(decoder: str) -> None:
    """State leaves are [B * K, ...], memory leaves [B, ...]; images and beams do not see each other."""
    for built in of_each_kind(decoder):
        memory = built.prepare(context())
        state = map_tree(lambda leaf: leaf.repeat_interleave(K, 0), built.init_state(memory))
        tokens = torch.randint(1, V, (T, B, K))
        alone = {
            (b, k): (built.init_state(index_rows(memory, torch.tensor([b]))), index_rows(memory, torch.tensor([b])))
            for b in range(B)
            for k in range(K)
        }
        for time in range(T):
            output, state = built.step(tokens[time], state, memory)
            logits = built.logits(output.hidden)
            assert logits.shape == (B, K, V)
            for (b, k), (own, its_memory) in alone.items():
                expected, own = built.step(tokens[time, b, k].view(1, 1), own, its_memory)
                close(logits[b, k], built.logits(expected.hidden)[0, 0])
                alone[b, k] = (own, its_memory)


@every_decoder
def test_finished_images_can_leave(decoder: str) -> None:
    for built in of_each_kind(decoder):
        memory = built.prepare(context())
        tokens = torch.randint(1, V, (B, 1))
        _, state = built.step(tokens, built.init_state(memory), memory)
        rows = torch.tensor([3, 1])
        remaining, _ = built.step(tokens[rows], index_rows(state, rows), index_rows(memory, rows))
        close(remaining.hidden, built.step(tokens, state, memory)[0].hidden[rows])


@pytest.mark.parametrize("decoder", ATTENDING)
def test_masked_regions_do_not_matter(decoder: str) -> None:
    for built in of_each_kind(decoder):
        encoded, mask = context(), torch.rand(B, N) > 0.4
        mask[:, 0] = True
        tokens, image_index = torch.randint(1, V, (B, T)), torch.arange(B)
        outcomes = []
        for filling in (0.0, 1e3):
            filled = torch.where(mask[..., None], encoded.regions, filling)
            pooled = (encoded.regions * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
            memory = built.prepare(Context(filled, mask, pooled, encoded.boxes))
            outcomes.append(built(tokens, memory, image_index))
        close(built.logits(outcomes[0].hidden), built.logits(outcomes[1].hidden))
        attention = outcomes[0].attention
        assert attention.shape == (B, T, N)
        close(attention.sum(-1), torch.ones(B, T))
        assert (attention.masked_select(~mask[:, None]) == 0).all()
        shortened = torch.stack([each[each.bool()].sum() for each in mask.float()])  # regions that are there, per image
        assert ((attention > 0).sum(-1) == shortened[:, None]).all()


def test_decoders_without_attention_return_none() -> None:
    built = make("show-and-tell", "gru")
    output = built(torch.ones(1, T, dtype=torch.long), built.prepare(context(1)), torch.zeros(1, dtype=torch.long))
    assert output.attention is None


@every_decoder
def test_gradients_reach_every_parameter(decoder: str) -> None:
    for built in of_each_kind(decoder):
        tokens = torch.arange(1, V).repeat(B, 1)  # every word but <pad> goes in
        scores(built, tokens, built.prepare(context()), torch.arange(B)).square().sum().backward()
        for name, parameter in built.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name
        embeddings = [each for each in built.modules() if isinstance(each, torch.nn.Embedding)]
        assert (sum(each.weight.grad[1:].abs().sum(1) for each in embeddings) > 0).all()


@pytest.mark.parametrize("decoder", OF_IMAGES)
def test_the_image_matters_to_every_word(decoder: str) -> None:
    for built in of_each_kind(decoder):
        tokens, image_index = torch.randint(1, V, (1, T)).expand(2, -1), torch.arange(2)
        logits = scores(built, tokens, built.prepare(context(2)), image_index)
        assert ((logits[0] - logits[1]).abs().amax(-1) > 1e-7).all()


@every_decoder
def test_dropout_only_in_training(decoder: str) -> None:
    for built in of_each_kind(decoder):
        encoded = context()
        tokens, image_index = torch.randint(1, V, (B, T)), torch.arange(B)
        assert torch.equal(*(scores(built, tokens, built.prepare(encoded), image_index) for _ in range(2)))
        built.train()
        assert not torch.equal(*(scores(built, tokens, built.prepare(encoded), image_index) for _ in range(2)))


def test_the_equations_of_xu_et_al() -> None:
    """Xu et al. (2015) transcribed slowly, one caption and one region at a time: equations 1 to 7 and section 4.2.1."""
    torch.manual_seed(3)
    built = make("show-attend-tell", "lstm")
    regions, mask = torch.randn(2, N, D), torch.ones(2, N, dtype=torch.bool)
    mask[1, 3:] = False
    tokens = torch.randint(1, V, (2, T))
    memory = built.prepare(Context(regions, mask, torch.full((2, D), torch.nan)))  # the mean is its own affair
    logits = scores(built, tokens, memory, torch.arange(2))
    p = dict(built.named_parameters())
    w_ih, w_hh = p["recurrence.kernel.weight_ih_l0"], p["recurrence.kernel.weight_hh_l0"]
    bias = p["recurrence.kernel.bias_ih_l0"] + p["recurrence.kernel.bias_hh_l0"]

    def start(leaf: int, mean: Tensor) -> Tensor:  # f_init: a map of the mean region
        return torch.tanh(p[f"state_init.maps.{leaf}.weight"] @ mean + p[f"state_init.maps.{leaf}.bias"])

    for row in range(2):
        annotations = [regions[row, n] for n in range(N) if mask[row, n]]
        mean = sum(annotations) / len(annotations)
        before, h, c = (start(leaf, mean) for leaf in range(3))
        for time in range(T):
            # eq. 4 to 6: where to look, given the hidden state before
            e = torch.stack(
                [
                    p["attention.score.weight"][0]
                    @ torch.tanh(
                        p["attention.from_region.weight"] @ a
                        + p["attention.from_region.bias"]
                        + p["attention.from_query.weight"] @ before
                    )
                    for a in annotations
                ]
            )
            alpha = torch.exp(e) / torch.exp(e).sum()
            # section 4.2.1: the expectation of the context, and its gate beta
            beta = torch.sigmoid(p["gate.weight"] @ before + p["gate.bias"])
            z = beta * sum(weight * a for weight, a in zip(alpha, annotations, strict=True))
            # eq. 1 to 3: the LSTM on the word, the hidden state and the context
            word = p["embedding.weight"][tokens[row, time]]
            i, f, g, o = (w_ih @ torch.cat([word, z]) + w_hh @ h + bias).chunk(4)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            # eq. 7: the deep output
            deep = word + p["from_state.weight"] @ h + p["from_state.bias"] + p["from_attended.weight"] @ z
            close(logits[row, time], p["score.weight"] @ deep + p["score.bias"])
            before = h


def test_the_equations_of_vinyals_et_al() -> None:
    """Vinyals et al. (2015), eq. 10 to 12: the image once, before the first word."""
    built, encoded = make("show-and-tell", "gru"), context(1)
    tokens = torch.randint(1, V, (1, T))
    logits = scores(built, tokens, built.prepare(encoded), torch.zeros(1, dtype=torch.long))
    inputs = torch.cat([built.image(encoded.pooled)[:, None], built.embedding(tokens)], 1)
    outputs, _ = built.recurrence(inputs, built.recurrence.initial_state(1))
    close(logits, built.score(outputs[:, 1:]))


def test_an_ensemble_averages_probabilities_and_each_hears_its_own_question() -> None:
    alone = [ShowAndTell(GRU(hidden_size=H), embedding_dim=E).build(V, D, 3).eval() for _ in range(2)]
    together = Ensemble(alone).eval()
    encoded, questions = context(), torch.randn(B, 6)
    tokens, image_index = torch.randint(1, V, (B, T)), torch.arange(B)
    shares = [
        scores(each, tokens, each.prepare(encoded), image_index, own).softmax(-1)
        for each, own in zip(alone, (questions[:, :3], questions[:, 3:]), strict=True)
    ]
    log_probs = scores(together, tokens, together.prepare(encoded), image_index, questions)
    close(log_probs.exp(), torch.stack(shares).mean(0))


def test_an_ensemble_averages_the_attention_of_its_members() -> None:
    alone = [
        ShowAttendTell(LSTM(hidden_size=H), SoftAttention(A), embedding_dim=E).build(V, D).eval() for _ in range(2)
    ]
    tokens, image_index, encoded = torch.randint(1, V, (B, T)), torch.arange(B), context()
    maps = [each(tokens, each.prepare(encoded), image_index).attention for each in (*alone, Ensemble(alone).eval())]
    close(maps[2], (maps[0] + maps[1]) / 2)


# The last layer of decoders is `nn.Linear`, however few rows there are.


def test_it_is_linear(subtests: pytest.Subtests) -> None:
    for shape, learns, dtype in product(
        [(), (0,), (1,), (8,), (9,), (2, 3), (2, 0, 3), (4, 5, 2)],
        [False, True],
        [torch.float32, torch.float64, torch.bfloat16],
    ):
        with subtests.test(shape=shape, learns=learns, dtype=dtype):
            layer = WordScores(6, 11, dtype=dtype)
            vectors = torch.randn(*shape, 6, dtype=dtype, requires_grad=learns)
            with torch.set_grad_enabled(learns):
                scores = layer(vectors)
            assert scores.shape == (*shape, 11)
            torch.testing.assert_close(scores, F.linear(vectors, layer.weight, layer.bias))
            assert scores.requires_grad == learns
