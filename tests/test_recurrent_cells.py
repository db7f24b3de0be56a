"""The cells, number by number as their papers write them: a loop over steps, rows by themselves, and no step of it
shared with the code."""

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vlrnn.errors import UserError
from vlrnn.nn.recurrent.base import LayeredRecurrence, RecurrentLayer
from vlrnn.nn.recurrent.causal_attention import CausalSelfAttention
from vlrnn.nn.recurrent.linear import LRU, RGLRU, MinGRU, MinLSTM, linear_scan
from vlrnn.nn.recurrent.lstm_variants import CoupledLSTM, LayerNormLSTM, PeepholeLSTM
from vlrnn.nn.recurrent.mamba import Mamba
from vlrnn.nn.recurrent.rnn import GRU, LSTM
from vlrnn.nn.recurrent.rwkv import RWKV
from vlrnn.nn.recurrent.wrappers import HighwayStack, ResidualStack

T, I, D = 41, 3, 6  # noqa: E741


def s(x: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-x))


def softplus(x: Tensor) -> Tensor:
    return torch.log(1 + torch.exp(x))


def silu(x: Tensor) -> Tensor:
    return x * s(x)


def norm(x: Tensor, gain: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    return gain * (x - x.mean()) / torch.sqrt(x.var(correction=0) + 1e-5) + bias


def layer_norm_lstm(layer: RecurrentLayer, xs: Tensor) -> list[Tensor]:
    p = dict(layer.named_parameters())
    h = c = torch.zeros(D).double()
    outputs = []
    for x in xs:
        gates = norm(p["from_output.weight"] @ h, p["even_output.weight"])
        gates = gates + norm(p["from_input.weight"] @ x, p["even_input.weight"], p["even_input.bias"])
        i, f, g, o = gates[:D], gates[D : 2 * D], gates[2 * D : 3 * D], gates[3 * D :]
        c = s(f) * c + s(i) * torch.tanh(g)
        h = s(o) * torch.tanh(norm(c, p["even_cell.weight"], p["even_cell.bias"]))
        outputs.append(h)
    return outputs


def peephole_lstm(layer: RecurrentLayer, xs: Tensor) -> list[Tensor]:
    p = dict(layer.named_parameters())
    wi, wf, wg, wo = p["from_input.weight"].split(D)
    bi, bf, bg, bo = p["from_input.bias"].split(D)
    ui, uf, ug, uo = p["from_output.weight"].split(D)
    pi, pf, po = p["peepholes"]
    h = c = torch.zeros(D).double()
    outputs = []
    for x in xs:
        i = s(wi @ x + ui @ h + pi * c + bi)
        f = s(wf @ x + uf @ h + pf * c + bf)
        c = f * c + i * torch.tanh(wg @ x + ug @ h + bg)
        h = s(wo @ x + uo @ h + po * c + bo) * torch.tanh(c)
        outputs.append(h)
    return outputs


def coupled_lstm(layer: RecurrentLayer, xs: Tensor) -> list[Tensor]:
    p = dict(layer.named_parameters())
    wi, wg, wo = p["from_input.weight"].split(D)
    bi, bg, bo = p["from_input.bias"].split(D)
    ui, ug, uo = p["from_output.weight"].split(D)
    h = c = torch.zeros(D).double()
    outputs = []
    for x in xs:
        i = s(wi @ x + ui @ h + bi)
        c = (1 - i) * c + i * torch.tanh(wg @ x + ug @ h + bg)
        h = s(wo @ x + uo @ h + bo) * torch.tanh(c)
        outputs.append(h)
    return outputs


def min_gru(layer: RecurrentLayer, xs: Tensor) -> list[Tensor]:
    (vz, wh), (bz, bh) = (each.split(D) for _, each in layer.named_parameters())
    h = torch.zeros(D).double()
    outputs = []
    for x in xs:
        z = s(vz @ x + bz)
        h = (1 - z) * h + z * (wh @ x + bh)
        outputs.append(h)
    return outputs


def min_lstm(layer: RecurrentLayer, xs: Tensor) -> list[Tensor]:
    (wf, wi, wh), (bf, bi, bh) = (each.split(D) for _, each in layer.named_parameters())
    h = torch.zeros(D).double()
    outputs = []
    for x in xs:
        f, i = s(wf @ x + bf), s(wi @ x + bi)
        h = f / (f + i) * h + i / (f + i) * (wh @ x + bh)
        outputs.append(h)
    return outputs


def rg_lru(layer: RecurrentLayer, xs: Tensor) -> list[Tensor]:
    p = dict(layer.named_parameters())
    (wr, wi), (br, bi) = p["gate_maps.weight"].split(D), p["gate_maps.bias"].split(D)
    h = torch.zeros(D).double()
    outputs = []
    for raw in xs:
        x = p["from_input.weight"] @ raw + p["from_input.bias"]
        r, i = s(wr @ x + br), s(wi @ x + bi)
        a = s(p["slowness"]) ** (8 * r)
        h = a * h + torch.sqrt(1 - a**2) * (i * x)
        outputs.append(h)
    return outputs


def lru(layer: RecurrentLayer, xs: Tensor) -> list[Tensor]:
    p = dict(layer.named_parameters())
    eigenvalues = torch.exp(torch.complex(-torch.exp(p["log_decay"]), torch.exp(p["log_angle"])))
    into = torch.complex(p["from_input.weight"][0::2], p["from_input.weight"][1::2])
    out = torch.complex(p["from_state.weight"][:, 0::2], -p["from_state.weight"][:, 1::2])
    h = torch.zeros(D, dtype=torch.cdouble)
    outputs = []
    for x in xs:
        h = eigenvalues * h + torch.exp(p["log_scale"]) * (into @ x.to(torch.cdouble))
        y = (out @ h).real + p["past.weight"] @ x + p["past.bias"]
        y = y * 0.5 * (1 + torch.erf(y / math.sqrt(2)))
        y = p["output.weight"] @ y + p["output.bias"]
        outputs.append(y[:D] * s(y[D:]))
    return outputs


def mamba(layer: RecurrentLayer, xs: Tensor) -> list[Tensor]:
    p = dict(layer.named_parameters())
    inner, memory, rank, window = 2 * D, 4, 1, 4
    window_inputs = [torch.zeros(inner).double()] * (window - 1)
    h = torch.zeros(inner, memory).double()
    outputs = []
    for x in xs:
        u, z = (p["from_input.weight"] @ x).split(inner)
        window_inputs = [*window_inputs[-(window - 1) :], u]
        kernel = p["convolution.weight"][:, 0]
        v = silu(p["convolution.bias"] + sum(kernel[:, k] * window_inputs[k] for k in range(window)))
        chosen = p["choose.weight"] @ v
        d = softplus(p["step_size.weight"] @ chosen[:rank] + p["step_size.bias"])
        b, c = chosen[rank : rank + memory], chosen[rank + memory :]
        a = -torch.exp(p["log_decay"])
        h = torch.stack([torch.exp(d[e] * a[e]) * h[e] + d[e] * b * v[e] for e in range(inner)])
        outputs.append(p["output.weight"] @ ((h @ c + p["past"] * v) * silu(z)))
    return outputs


def rwkv(layer: RecurrentLayer, xs: Tensor) -> list[Tensor]:
    p, heads = dict(layer.named_parameters()), 2
    head = D // heads
    before, memory = torch.zeros(D).double(), torch.zeros(heads, head, head).double()
    outputs = []
    for raw in xs:
        x = p["from_input.weight"] @ raw + p["from_input.bias"]
        first = x + (before - x) * p["mix_first"]
        parts = []
        for part in range(5):
            share = p["mix"][part] + torch.tanh(first @ p["mix_down"][part]) @ p["mix_up"][part]
            parts.append(x + (before - x) * share)
        r, k, v, g = (p[f"maps.{part}.weight"] @ parts[part] for part in range(4))
        w = torch.exp(-torch.exp(p["decay"] + torch.tanh(parts[4] @ p["decay_down"]) @ p["decay_up"]))
        y, after = [], []
        for at in range(heads):
            here = slice(at * head, (at + 1) * head)
            now = torch.outer(k[here], v[here])
            received = r[here] @ (memory[at] + torch.diag(p["now"][at]) @ now)
            after.append(torch.diag(w[here]) @ memory[at] + now)
            y.append(received)
        normed = F.group_norm(torch.cat(y)[None], heads, p["even_out.weight"], p["even_out.bias"], eps=64e-5)[0]
        outputs.append(p["output.weight"] @ (normed * silu(g)))
        before, memory = x, torch.stack(after)
    return outputs


def self_attention(layer: RecurrentLayer, xs: Tensor) -> list[Tensor]:
    p = dict(layer.named_parameters())
    keys: list[Tensor] = []
    values: list[Tensor] = []
    outputs = []
    for x in xs:
        x = p["from_input.weight"] @ x + p["from_input.bias"]
        maps = p["maps.weight"] @ norm(x, p["norm.weight"], p["norm.bias"]) + p["maps.bias"]
        query, key, value = maps.split(D)
        keys.append(key)
        values.append(value)
        parts = []
        for head, here in enumerate(torch.arange(D).chunk(2)):
            attended = list(range(max(0, len(keys) - 5), len(keys)))  # the last five
            scores = torch.stack(
                [
                    query[here] @ keys[place][here] / math.sqrt(D / 2) + p["distance"][head, len(keys) - 1 - place]
                    for place in attended
                ]
            )
            shares = torch.exp(scores) / torch.exp(scores).sum()
            parts.append(sum(share * values[place][here] for share, place in zip(shares, attended, strict=True)))
        x = x + p["joined.weight"] @ torch.cat(parts) + p["joined.bias"]
        inner = p["inner.0.weight"] @ norm(x, p["inner_norm.weight"], p["inner_norm.bias"]) + p["inner.0.bias"]
        inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
        outputs.append(x + p["inner.2.weight"] @ inner + p["inner.2.bias"])
    return outputs


LITERAL: dict[str, tuple[Callable[[], LayeredRecurrence], Callable[[RecurrentLayer, Tensor], list[Tensor]]]] = {
    "lstm-layer-norm": (lambda: LayerNormLSTM(D), layer_norm_lstm),
    "lstm-peephole": (lambda: PeepholeLSTM(D), peephole_lstm),
    "lstm-coupled": (lambda: CoupledLSTM(D), coupled_lstm),
    "min-gru": (lambda: MinGRU(D), min_gru),
    "min-lstm": (lambda: MinLSTM(D), min_lstm),
    "rg-lru": (lambda: RGLRU(D), rg_lru),
    "lru": (lambda: LRU(D), lru),
    "mamba": (lambda: Mamba(D, state_dim=4), mamba),
    "rwkv": (lambda: RWKV(D, num_heads=2, lora_rank=3), rwkv),
    "self-attention": (lambda: CausalSelfAttention(D, num_heads=2, window_size=5), self_attention),
}


@pytest.mark.parametrize("cell", list(LITERAL))
def test_it_is_what_the_paper_defines(cell: str) -> None:
    make, literal = LITERAL[cell]
    recurrence = make().build(I).double().eval()
    with torch.no_grad():
        for parameter in recurrence.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    xs = torch.randn(2, T, I).double()
    ys, _ = recurrence(xs, recurrence.initial_state(2))
    for row in range(2):
        expected = torch.stack(literal(recurrence.stack[0], xs[row]))  # type: ignore[arg-type]
        torch.testing.assert_close(ys[row], expected, rtol=0, atol=1e-9)
    weights = torch.randn_like(ys)
    ours = torch.autograd.grad((ys * weights).sum(), list(recurrence.parameters()))
    again = torch.stack([torch.stack(literal(recurrence.stack[0], each)) for each in xs])  # type: ignore[arg-type]
    theirs = torch.autograd.grad((again * weights).sum(), list(recurrence.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_the_scan_is_the_loop(subtests: pytest.Subtests) -> None:
    """And so are its gradients, those of a first state that is zero, a that is zero, negative or large too; in parts
    side by side, and one by one as where a step is large."""
    for dtype, large, time in product([torch.double, torch.cdouble], [False, True], [1, 2, 3, 16, 17, 100]):
        with subtests.test(dtype=dtype, large=large, time=time), pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr("vlrnn.nn.recurrent.linear._LARGE", 0 if large else 100)
            a, b = torch.randn(2, time, 3, dtype=dtype), torch.randn(2, time, 3, dtype=dtype)
            a[0, time // 2], a[1, 0] = 0, 3
            first = torch.randn(2, 3, dtype=dtype)
            given = [each.requires_grad_() for each in (a, b, first)]
            h, hs = first, []
            for step in range(time):
                h = a[:, step] * h + b[:, step]
                hs.append(h)
            expected, found = torch.stack(hs, 1), linear_scan(a, b, first)
            torch.testing.assert_close(found, expected)
            weights = torch.randn_like(expected)
            for one, other in zip(
                *(torch.autograd.grad((each * weights).abs().sum(), given) for each in (found, expected)), strict=True
            ):
                torch.testing.assert_close(one, other)


def test_stacks_go_around_their_layers() -> None:
    xs = torch.randn(2, 5, I)
    for stack in (ResidualStack(LSTM(D), num_layers=3), HighwayStack(GRU(D), num_layers=3)):
        stack.build(I).eval()
        ys, _ = stack(xs, stack.initial_state(2))
        expected, _ = stack.cells[0](xs, stack.cells[0].initial_state(2))  # type: ignore[operator]
        for depth in (1, 2):
            more, _ = stack.cells[depth](expected, stack.cells[depth].initial_state(2))  # type: ignore[operator]
            if isinstance(stack, HighwayStack):
                open_ = s(stack.openings[depth - 1](expected))
                expected = open_ * more + (1 - open_) * expected
            else:
                expected = expected + more
        torch.testing.assert_close(ys, expected)
    assert len({id(each) for each in stack.parameters()}) == 3 * 4 + 2 * 2  # every layer has its own


def test_what_cannot_be_built_is_refused() -> None:
    for make, message in (
        (lambda: RWKV(10, num_heads=3), "num_heads .3. must divide hidden_size .10."),
        (lambda: Mamba(8, conv_width=1), "conv_width must be at least 2"),
        (lambda: Mamba(8, state_dim=0), "state_dim must be at least 1"),
        (lambda: CausalSelfAttention(8, num_heads=3), "num_heads .3. must divide hidden_size .8."),
        (lambda: CausalSelfAttention(8, num_heads=2, window_size=1), "window_size must be at least 2"),
        (lambda: LRU(8, r_min=0.9, r_max=0.5), "r_min < r_max"),
        (lambda: ResidualStack(LSTM(8), num_layers=1), "at least two layers"),
    ):
        with pytest.raises(UserError, match=message):
            make()


@pytest.mark.parametrize("lengths", [None, torch.tensor([11, 4, 0])])
def test_mambas_chunks_are_one_text(lengths: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, xs = Mamba(8, state_dim=4).build(5).double(), torch.randn(3, 11, 5, dtype=torch.double)
    found = []
    for size in (4, 100):
        monkeypatch.setattr("vlrnn.nn.recurrent.mamba._CHUNK", size)
        ys, state = cell(xs, cell.initial_state(3), lengths)
        found.append((ys, *state, *torch.autograd.grad(ys.square().sum(), list(cell.parameters()))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
