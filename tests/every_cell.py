"""Every cell that there is, by a name: a function of its width. The laws of recurrences are tested over all of them: a
new cell is one line here. What decoders, question encoders and searches do with a recurrence is tested with one cell of
each kind, since no law of theirs depends on more (tests/test_broken_cells.py breaks a cell in many ways: the laws of
recurrences find each)."""

from collections.abc import Callable

from vlrnn.nn.recurrent.base import Recurrence
from vlrnn.nn.recurrent.causal_attention import CausalSelfAttention
from vlrnn.nn.recurrent.linear import LRU, RGLRU, MinGRU, MinLSTM
from vlrnn.nn.recurrent.lstm_variants import CoupledLSTM, LayerNormLSTM, PeepholeLSTM
from vlrnn.nn.recurrent.mamba import Mamba
from vlrnn.nn.recurrent.rnn import GRU, LSTM, RNN
from vlrnn.nn.recurrent.rwkv import RWKV
from vlrnn.nn.recurrent.wrappers import HighwayStack, ResidualStack

Make = Callable[..., Recurrence]

FUSED: dict[str, Make] = {
    "rnn-tanh": lambda width, **more: RNN(width, nonlinearity="tanh", **more),
    "rnn-relu": lambda width, **more: RNN(width, nonlinearity="relu", **more),
    "gru": GRU,
    "lstm": LSTM,
}
"""Those that the library has kernels for. They can learn their first state (`learn_initial_state`)."""

OWN: dict[str, Make] = {
    "lstm-layer-norm": LayerNormLSTM,
    "lstm-peephole": PeepholeLSTM,
    "lstm-coupled": CoupledLSTM,
    "min-gru": MinGRU,
    "min-lstm": MinLSTM,
    "rg-lru": RGLRU,
    "lru": LRU,
    "mamba": lambda width, **more: Mamba(width, state_dim=4, **more),
    "rwkv": lambda width, **more: RWKV(width, num_heads=2, lora_rank=3, **more),
    "self-attention": lambda width, **more: CausalSelfAttention(width, num_heads=2, window_size=24, **more),
}

STACKS: dict[str, Make] = {
    "residual-lstm": lambda width, **more: ResidualStack(LSTM(width), **more),
    "residual-mamba": lambda width, **more: ResidualStack(Mamba(width, state_dim=4), **more),
    "highway-gru": lambda width, **more: HighwayStack(GRU(width), **more),
}
"""These have two layers at least."""

CELLS: dict[str, Make] = {**FUSED, **OWN, **STACKS}

KINDS: dict[str, Callable[[int], Recurrence]] = {
    "fused": lambda width: LSTM(width, num_layers=2, dropout=0.2, learn_initial_state=True),
    "linear": lambda width: Mamba(width, state_dim=4),
    "stacked": lambda width: HighwayStack(GRU(width)),
}
"""One cell of each kind. They differ in all that a decoder can see: a state of one tensor, a pair or a nest; a first
state that is zero, learned, or must stay closed to the image; a cell beside the output, or none."""

LONG_MEMORY = ("lstm", "lstm-layer-norm", "lstm-peephole", "lstm-coupled")
"""Those that remember something else than they say, in the second leaf of their state."""
