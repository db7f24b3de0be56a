"""The laws of decoders, over every decoder with a cell of each kind in it."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial

import every_cell
import pytest
import torch
from torch import Tensor

from vlrnn.nn.attention import DotAttention, SoftAttention
from vlrnn.nn.batching import map_tree, select
from vlrnn.nn.decoders.base import Decoder
from vlrnn.nn.decoders.ensemble import Ensemble
from vlrnn.nn.decoders.show_attend_tell import ShowAttendTell
from vlrnn.nn.decoders.show_tell import ShowAndTell
from vlrnn.nn.encoders.base import Context
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.rnn import GRU, LSTM

B, K, T, N, D, H, E, A, V = 4, 3, 6, 5, 7, 6, 8, 4, 11

CELLS: dict[str, Callable[[], Recurrence]] = {
    **{name: partial(cell, H) for name, cell in every_cell.KINDS.items()},
    "gru": lambda: GRU(width=H),
    "lstm": lambda: LSTM(width=H),
}
DECODERS = {
    "show-and-tell": lambda cell: ShowAndTell(cell, embedding=E),
    "show-attend-tell": lambda cell: ShowAttendTell(cell, SoftAttention(A), embedding=E),
    "show-attend-tell-projected": lambda cell: ShowAttendTell(cell, SoftAttention(A), embedding=E, region_width=9),
    "show-attend-tell-placed": lambda cell: ShowAttendTell(
        cell, DotAttention(A), embedding=E, region_width=9, frequencies=2, query_word=True
    ),
    "ensemble": lambda cell: Ensemble([ShowAndTell(deepcopy(cell), embedding=E), ShowAndTell(cell, embedding=E)]),
    "ensemble-attends": lambda cell: Ensemble([ShowAttendTell(cell, SoftAttention(A), embedding=E)]),
}
every = [pytest.mark.parametrize("decoder", list(DECODERS)), pytest.mark.parametrize("cell", list(every_cell.KINDS))]
ATTENDING = [name for name in DECODERS if "attend" in name]


def every_decoder(test: object) -> object:
    return every[0](every[1](test))


def make(decoder: str, cell: str) -> Decoder:
    built = DECODERS[decoder](CELLS[cell]()).build(V, D).eval()
    with torch.no_grad():  # no parameter may hide by being zero
        for parameter in built.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return built


def context(batch_size: int = B) -> Context:
    regions, corners = torch.randn(batch_size, N, D), torch.rand(batch_size, N, 2) / 2
    boxes = torch.cat([corners, corners + 0.4], -1)
    return Context(regions, torch.ones(batch_size, N, dtype=torch.bool), regions.mean(1), boxes)


def close(left: Tensor, right: Tensor) -> None:
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


@every_decoder
def test_teacher_forcing_is_step_by_step(decoder: str, cell: str) -> None:
    built, known = make(decoder, cell), context()
    image_of = torch.tensor([2, 0, 2, 3, 0, 2])  # unsorted, uneven, and image 1 has no row
    tokens = torch.randint(1, V, (len(image_of), T))
    logits = built(tokens, built.prepare(known), image_of)
    assert logits.shape == (len(image_of), T, V)
    for row, image in enumerate(image_of.tolist()):
        memory = built.prepare(select(known, torch.tensor([image])))
        state = built.initial_state(memory)
        for time in range(T):
            scores, state = built.step(tokens[row, time].view(1, 1), state, memory)
            close(scores[0, 0], logits[row, time])


@every_decoder
def test_rows_of_any_length(decoder: str, cell: str) -> None:
    """Images about which no more is said leave on the way; what was said before stays as it is."""
    built, known = make(decoder, cell), context()
    image_of, lengths = torch.tensor([2, 0, 2, 3, 0, 2, 3]), torch.tensor([1, 3, 4, T, 2, 4, 1])
    full = torch.randint(1, V, (len(image_of), T))
    there = torch.arange(T) < lengths[:, None]
    memory = built.prepare(known)
    said = built.read(torch.where(there, full, 0), memory, image_of)
    whole = built.read(full, memory, image_of)
    close(said.output[there], whole.output[there])
    if whole.attention is not None:
        close(said.attention[there], whole.attention[there])
        close(said.gate[there], whole.gate[there])
        assert ((said.gate[there] > 0) & (said.gate[there] < 1)).all()
    for rows in (torch.tensor([3]), torch.tensor([0, 6])):  # fewer rows, and images without any
        close(built(full[rows], memory, image_of[rows]), built(full, memory, image_of)[rows])


@every_decoder
def test_no_rows_at_all(decoder: str, cell: str) -> None:
    built = make(decoder, cell)
    logits = built(torch.empty(0, T, dtype=torch.long), built.prepare(context()), torch.empty(0, dtype=torch.long))
    assert logits.shape == (0, T, V)


@every_decoder
def test_order_of_rows_does_not_matter(decoder: str, cell: str) -> None:
    built, known = make(decoder, cell), context()
    image_of = torch.tensor([0, 0, 1, 2, 2, 2, 3])
    tokens = torch.randint(1, V, (len(image_of), T))
    order = torch.randperm(len(image_of))
    memory = built.prepare(known)
    close(built(tokens, memory, image_of)[order], built(tokens[order], memory, image_of[order]))


@every_decoder
def test_beams_are_each_alone(decoder: str, cell: str) -> None:
    """State leaves are [B * K, ...], memory leaves [B, ...]; images and beams do not see each other."""
    built = make(decoder, cell)
    memory = built.prepare(context())
    state = map_tree(lambda leaf: leaf.repeat_interleave(K, 0), built.initial_state(memory))
    tokens = torch.randint(1, V, (T, B, K))
    alone = {
        (b, k): (built.initial_state(select(memory, torch.tensor([b]))), select(memory, torch.tensor([b])))
        for b in range(B)
        for k in range(K)
    }
    for time in range(T):
        logits, state = built.step(tokens[time], state, memory)
        assert logits.shape == (B, K, V)
        for (b, k), (own, its_memory) in alone.items():
            expected, own = built.step(tokens[time, b, k].view(1, 1), own, its_memory)
            close(logits[b, k], expected[0, 0])
            alone[b, k] = (own, its_memory)


@every_decoder
def test_finished_images_can_leave(decoder: str, cell: str) -> None:
    built = make(decoder, cell)
    memory = built.prepare(context())
    tokens = torch.randint(1, V, (B, 1))
    _, state = built.step(tokens, built.initial_state(memory), memory)
    rows = torch.tensor([3, 1])
    kept, _ = built.step(tokens[rows], select(state, rows), select(memory, rows))
    close(kept, built.step(tokens, state, memory)[0][rows])


@pytest.mark.parametrize("decoder", ATTENDING)
@pytest.mark.parametrize("cell", ["gru", "fused"])
def test_masked_regions_do_not_matter(decoder: str, cell: str) -> None:
    built = make(decoder, cell)
    known, mask = context(), torch.rand(B, N) > 0.4
    mask[:, 0] = True
    tokens, image_of = torch.randint(1, V, (B, T)), torch.arange(B)
    outcomes = []
    for filling in (0.0, 1e3):
        filled = torch.where(mask[..., None], known.regions, filling)
        pooled = (known.regions * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        memory = built.prepare(Context(filled, mask, pooled, known.boxes))
        outcomes.append(built.read(tokens, memory, image_of))
    close(built.readout(outcomes[0].output), built.readout(outcomes[1].output))
    attention = outcomes[0].attention
    assert attention.shape == (B, T, N)
    close(attention.sum(-1), torch.ones(B, T))
    assert (attention.masked_select(~mask[:, None]) == 0).all()
    shortened = torch.stack([each[each.bool()].sum() for each in mask.float()])  # regions that are there, per image
    assert ((attention > 0).sum(-1) == shortened[:, None]).all()


def test_who_does_not_attend_says_so() -> None:
    built = make("show-and-tell", "gru")
    said = built.read(torch.ones(1, T, dtype=torch.long), built.prepare(context(1)), torch.zeros(1, dtype=torch.long))
    assert said.attention is None


@every_decoder
def test_gradients_reach_every_parameter(decoder: str, cell: str) -> None:
    built = make(decoder, cell)
    tokens = torch.arange(1, V).repeat(B, 1)  # every word but <pad> goes in
    built(tokens, built.prepare(context()), torch.arange(B)).square().sum().backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
    embeddings = [each for each in built.modules() if isinstance(each, torch.nn.Embedding)]
    assert (sum(each.weight.grad[1:].abs().sum(1) for each in embeddings) > 0).all()


@every_decoder
def test_the_image_matters_to_every_word(decoder: str, cell: str) -> None:
    built = make(decoder, cell)
    tokens, image_of = torch.randint(1, V, (1, T)).expand(2, -1), torch.arange(2)
    logits = built(tokens, built.prepare(context(2)), image_of)
    assert ((logits[0] - logits[1]).abs().amax(-1) > 1e-7).all()


@every_decoder
def test_dropout_only_in_training(decoder: str, cell: str) -> None:
    built, known = make(decoder, cell), context()
    tokens, image_of = torch.randint(1, V, (B, T)), torch.arange(B)
    assert torch.equal(*(built(tokens, built.prepare(known), image_of) for _ in range(2)))
    built.train()
    assert not torch.equal(*(built(tokens, built.prepare(known), image_of) for _ in range(2)))


def test_show_attend_tell_is_its_equations() -> None:
    """Xu et al. (2015) transcribed slowly, one caption and one region at a time: equations 1 to 7 and section 4.2.1."""
    torch.manual_seed(3)
    built = make("show-attend-tell", "lstm")
    regions, mask = torch.randn(2, N, D), torch.ones(2, N, dtype=torch.bool)
    mask[1, 3:] = False
    tokens = torch.randint(1, V, (2, T))
    memory = built.prepare(Context(regions, mask, torch.full((2, D), torch.nan)))  # the mean is its own affair
    logits = built(tokens, memory, torch.arange(2))
    p = dict(built.named_parameters())
    w_ih, w_hh = p["recurrence.kernel.weight_ih_l0"], p["recurrence.kernel.weight_hh_l0"]
    bias = p["recurrence.kernel.bias_ih_l0"] + p["recurrence.kernel.bias_hh_l0"]

    def start(leaf: int, mean: Tensor) -> Tensor:  # f_init: a map of the mean region
        return torch.tanh(p[f"first_state.maps.{leaf}.weight"] @ mean + p[f"first_state.maps.{leaf}.bias"])

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
            deep = word + p["from_state.weight"] @ h + p["from_state.bias"] + p["from_seen.weight"] @ z
            close(logits[row, time], p["score.weight"] @ deep + p["score.bias"])
            before = h


def test_show_and_tell_is_the_paper() -> None:
    """Vinyals et al. (2015), eq. 10 to 12: the image once, before the first word."""
    built, known = make("show-and-tell", "gru"), context(1)
    tokens = torch.randint(1, V, (1, T))
    logits = built(tokens, built.prepare(known), torch.zeros(1, dtype=torch.long))
    inputs = torch.cat([built.image(known.pooled)[:, None], built.embedding(tokens)], 1)
    outputs, _ = built.recurrence.scan(inputs, built.recurrence.initial_state(1))
    close(logits, built.score(outputs[:, 1:]))


def test_an_ensemble_averages_probabilities_and_each_hears_its_own_question() -> None:
    alone = [ShowAndTell(GRU(width=H), embedding=E).build(V, D, 3).eval() for _ in range(2)]
    together = Ensemble(alone).eval()
    known, questions = context(), torch.randn(B, 6)
    tokens, image_of = torch.randint(1, V, (B, T)), torch.arange(B)
    heard = [known._replace(question=each) for each in (questions[:, :3], questions[:, 3:])]
    shares = [each(tokens, each.prepare(it), image_of).softmax(-1) for each, it in zip(alone, heard, strict=True)]
    log_probs = together(tokens, together.prepare(known._replace(question=questions)), image_of)
    close(log_probs.exp(), torch.stack(shares).mean(0))


def test_an_ensemble_tells_where_its_members_look_on_average() -> None:
    alone = [ShowAttendTell(LSTM(width=H), SoftAttention(A), embedding=E).build(V, D).eval() for _ in range(2)]
    tokens, image_of, known = torch.randint(1, V, (B, T)), torch.arange(B), context()
    looked = [each.read(tokens, each.prepare(known), image_of).attention for each in (*alone, Ensemble(alone).eval())]
    close(looked[2], (looked[0] + looked[1]) / 2)
