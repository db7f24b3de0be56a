"""The network of a language model: cut anywhere, a text is the same text; and what it costs to cut the gradient."""

import math
from collections.abc import Callable
from functools import partial
from itertools import product

import every_cell as every
import pytest
import torch
from torch import Tensor

from vlrnn.errors import UserError
from vlrnn.generation.generate import search_step
from vlrnn.generation.search import GenerationConfig, search
from vlrnn.nn.batching import Tree, leaves, map_tree
from vlrnn.nn.decoders.language_model import RecurrentLanguageModel
from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.rnn import GRU, LSTM

B, T, V = 3, 24, 9

CELLS: dict[str, Callable[[], Recurrence]] = {
    **{name: partial(cell, 8) for name, cell in every.KINDS.items()},
    "lstm": lambda: LSTM(8),
    "gru": lambda: GRU(8),
}
every_kind = pytest.mark.parametrize("cell", list(every.KINDS))


def make(cell: str = "lstm", **more: object) -> RecurrentLanguageModel:
    torch.manual_seed(0)
    decoder = RecurrentLanguageModel(CELLS[cell](), embedding_dim=5, **more).build(V).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return decoder


def first_state(decoder: RecurrentLanguageModel, rows: int) -> Tree:
    return decoder.init_state(decoder.empty_memory(rows))


def text(rows: int = B, time: int = T) -> Tensor:
    return torch.randint(0, V, (rows, 1 + time))


def literal(decoder: RecurrentLanguageModel, tokens: Tensor) -> Tensor:
    """Token by token, by the step that the search takes."""
    memory, step, found = decoder.empty_memory(len(tokens)), search_step(decoder), []
    state = decoder.init_state(memory)
    for time in range(tokens.shape[1] - 1):
        logits, state = step(tokens[:, time, None], state, memory)
        found.append(logits[:, 0].log_softmax(-1).gather(1, tokens[:, time + 1, None])[:, 0])
    return torch.stack(found, 1)


def test_reading_is_stepping(subtests: pytest.Subtests) -> None:
    for cell in every.KINDS:
        with subtests.test(cell=cell):
            decoder, tokens = make(cell), text()
            log_probs, _ = decoder.log_probs(tokens, first_state(decoder, B))
            torch.testing.assert_close(log_probs, literal(decoder, tokens), rtol=1e-5, atol=1e-5)


def test_windows_with_the_carried_state_are_the_whole_text(subtests: pytest.Subtests) -> None:
    for cell, cut in product(every.KINDS, [1, 5, 24]):
        with subtests.test(cell=cell, cut=cut):
            decoder, tokens = make(cell), text()
            whole, end = decoder.log_probs(tokens, first_state(decoder, B))
            state, parts = first_state(decoder, B), []
            for start in range(0, T, cut):
                part, state = decoder.log_probs(tokens[:, start : start + cut + 1], state)
                parts.append(part)
            torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-5)
            for ours, theirs in zip(leaves(state), leaves(end), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_of_no_weights_nothing_is_foreseen() -> None:
    decoder = make()
    for parameter in decoder.score.parameters():
        parameter.data.zero_()
    log_probs, _ = decoder.log_probs(text(), first_state(decoder, B))
    torch.testing.assert_close(log_probs, torch.full((B, T), -math.log(V)))


# Gradients.


def gradients(decoder: RecurrentLanguageModel, tokens: Tensor, window: int) -> list[Tensor]:
    """Of the loss of all windows, stopped between them."""
    decoder.zero_grad()
    state: Tree = first_state(decoder, len(tokens))
    for start in range(0, tokens.shape[1] - 1, window):
        log_probs, state = decoder.log_probs(tokens[:, start : start + window + 1], state)
        (-log_probs.sum()).backward()
        state = map_tree(Tensor.detach, state)
    return [parameter.grad.clone() for parameter in decoder.parameters() if parameter.grad is not None]


def test_computing_once_more_changes_no_gradient(subtests: pytest.Subtests) -> None:
    for cell, recompute in product(every.KINDS, [1, 7, 24, 100]):
        with subtests.test(cell=cell, recompute=recompute):
            tokens = text()
            expected = gradients(make(cell), tokens, T)
            for ours, theirs in zip(
                gradients(make(cell, checkpoint_every=recompute), tokens, T), expected, strict=True
            ):
                torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_computing_once_more_drops_the_same() -> None:
    """What dropout draws is drawn again the same, chunk by chunk: its gradient is the numeric one."""
    decoder, tokens = make(dropout=0.5, checkpoint_every=5).double(), text()

    def loss() -> Tensor:
        torch.manual_seed(3)
        return -decoder.log_probs(tokens, first_state(decoder, B))[0].sum()

    loss().backward()
    weight = decoder.embedding.weight
    assert weight.grad is not None
    place = int(tokens[0, 3])
    slope = 0.0
    for sign in (1, -1):
        with torch.no_grad():
            weight[place, 2] += sign * 1e-2
        slope += sign * loss().item() / 2e-2
        with torch.no_grad():
            weight[place, 2] -= sign * 1e-2
    assert weight.grad[place, 2].item() == pytest.approx(slope, rel=1e-2)


def test_truncation_cuts_the_gradient_and_nothing_else() -> None:
    """The gradient of windows is the sum over them, each by itself from the state that was carried there: what that of
    the whole text has beyond it flows through the cuts."""
    decoder, tokens = make(), text()
    full, cut = gradients(decoder, tokens, T), gradients(decoder, tokens, 6)
    assert not all(torch.allclose(a, b, rtol=1e-2) for a, b in zip(full, cut, strict=True))
    decoder.zero_grad()
    states = [first_state(decoder, B)]
    for time in range(T):
        states.append(decoder.hidden_states(tokens[:, time, None], states[-1])[1])
    for start in range(0, T, 6):
        state = states[start] if start == 0 else map_tree(Tensor.detach, states[start])
        for time in range(start, start + 6):
            hidden, state = decoder.hidden_states(tokens[:, time, None], state)
            torch.nn.functional.cross_entropy(
                decoder.logits(hidden[:, 0]), tokens[:, time + 1], reduction="sum"
            ).backward(retain_graph=True)
    for parameter, theirs in zip(decoder.parameters(), cut, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, theirs, rtol=1e-4, atol=1e-5)


def test_every_parameter_learns(subtests: pytest.Subtests) -> None:
    for cell in every.KINDS:
        with subtests.test(cell=cell):
            decoder = make(cell)
            assert len(gradients(decoder, text(rows=8), T)) == len(list(decoder.parameters()))
            assert all(each.grad.abs().sum() > 0 for each in decoder.parameters() if each.grad is not None)


# Going on.


def test_greedy_search_is_the_literal_loop(subtests: pytest.Subtests) -> None:
    for cell in every.KINDS:
        with subtests.test(cell=cell):
            decoder = make(cell).eval()
            memory, step, generated = decoder.empty_memory(1), search_step(decoder), []
            state, token = decoder.init_state(memory), torch.tensor([[1]])
            for _ in range(20):
                logits, state = step(token, state, memory)
                logits[..., :4] = -torch.inf
                token = logits.argmax(-1)
                generated.append(int(token))
            start = decoder.init_state(memory)
            found = search(step, start, memory, GenerationConfig(max_new_tokens=20), bos=1, eos=2, forbidden=range(4))
            assert found.tokens[0, 0].tolist() == generated


# States that do not fit.


def test_a_state_that_does_not_fit_is_refused(subtests: pytest.Subtests) -> None:
    for state in [
        first_state(make("lstm"), B + 1),
        first_state(make("gru"), B),
        first_state(RecurrentLanguageModel(LSTM(9)).build(V), B),
        first_state(RecurrentLanguageModel(LSTM(8, num_layers=2)).build(V), B),
        None,
    ]:
        with subtests.test(state=state):
            printed = (
                r"^the state does not fit: a LSTM of 3 rows has one of the shapes \[\(3, 1, 8\), \(3, 1, 8\)\], not \["
            )
            with pytest.raises(UserError, match=printed):
                make("lstm").log_probs(text(), state)


def test_recompute_must_be_a_number_of_steps() -> None:
    with pytest.raises(UserError, match="checkpoint_every"):
        RecurrentLanguageModel(GRU(4), checkpoint_every=0)
