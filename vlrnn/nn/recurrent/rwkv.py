"""RWKV-6: linear attention whose past fades as what is read decides."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree
from vlrnn.nn.recurrent.base import Layer, Layered
from vlrnn.nn.recurrent.linear_scan import last

_CHUNK = 16  # steps that are computed at once; the memory of training grows with it
_PARTS = 5  # receptance, key, value, gate, decay
_NORM_EPS = 64e-5  # 1e-5 * 8^2, see `RWKV`


class _RWKVLayer(Layer):
    def __init__(self, input_width: int, width: int, heads: int, rank: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.from_input = nn.Linear(input_width, width)
        self.mix_first = nn.Parameter(torch.rand(width))
        self.mix = nn.Parameter(torch.rand(_PARTS, width))
        self.mix_down = nn.Parameter(torch.empty(_PARTS, width, rank).uniform_(-1e-2, 1e-2))
        self.mix_up = nn.Parameter(torch.empty(_PARTS, rank, width).uniform_(-1e-2, 1e-2))
        self.maps = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(_PARTS - 1))
        self.decay = nn.Parameter(torch.linspace(-6.0, 1.0, width))  # log of minus log of the share that is kept
        self.decay_down = nn.Parameter(torch.empty(width, rank).uniform_(-1e-2, 1e-2))
        self.decay_up = nn.Parameter(torch.empty(rank, width).uniform_(-1e-2, 1e-2))
        self.now = nn.Parameter(torch.empty(heads, width // heads).uniform_(-0.5, 0.5))
        self.even_out = nn.GroupNorm(heads, width, eps=_NORM_EPS)
        self.output = nn.Linear(width, width, bias=False)

    def initial(self, batch_size: int) -> Tree:
        new, head = self.decay.new_zeros, self.width // self.heads
        return (
            new(batch_size, self.width),
            new(batch_size, len(self.mix_first)),
            new(batch_size, self.heads, head, head),
        )

    def scan(self, xs: Tensor, state: Tree, there: Tensor | None) -> tuple[Tensor, Tree]:
        said, before, memory = state
        xs = self.from_input(xs)
        mixed = self._mix(xs, before)
        receptance, key, value, gate = (one(each) for one, each in zip(self.maps, mixed[:4], strict=True))
        log_kept = self._log_kept(mixed[4])
        if there is not None:
            log_kept, key = log_kept.where(there[..., None], 0.0), key.where(there[..., None], 0.0)
        r, k, v, w = (each.unflatten(-1, (self.heads, -1)) for each in (receptance, key, value, log_kept))
        ys, memory = fading_attention(r, k, v, w, self.now, memory)
        ys = self.even_out(ys.flatten(0, 1).flatten(1)).view_as(gate)
        ys = self.output(ys * F.silu(gate))
        return ys, (last(ys, said, there), last(xs, before, there), memory)

    def _mix(self, xs: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        """What r, k, v, g and w are made of: each its mixture of the steps [B, T, D] and of those before them."""
        older = torch.cat([before[:, None], xs[:, :-1]], 1) - xs
        first = xs + older * self.mix_first
        shifts = torch.tanh(torch.einsum("bti,pir->btpr", first, self.mix_down))
        shifts = self.mix + torch.einsum("btpr,pri->btpi", shifts, self.mix_up)
        return (xs[:, :, None] + older[:, :, None] * shifts).unbind(2)

    def _log_kept(self, mixed: Tensor) -> Tensor:
        return -torch.exp(self.decay + torch.tanh(mixed @ self.decay_down) @ self.decay_up)

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        mixed = self._mix(self.from_input(x)[:, None], state[1])
        return {"forget": self._log_kept(mixed[4])[:, 0].exp()}


def fading_attention(
    receptance: Tensor, key: Tensor, value: Tensor, log_kept: Tensor, now: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """y_t = r_t (S_{t-1} + diag(u) k_t v_t^T),  S_t = diag(w_t) S_{t-1} + k_t v_t^T, some steps at once.

    Within a chunk step t hears step j < t through the product of the w between, which is taken as exp of a sum of logs
    that are not positive: nothing overflows, however long the text is (Yang et al. 2024, section 4, of decays for each
    channel).

    Args:
        receptance, key, value: r, k and v [B, T, H, d].
        log_kept: log w [B, T, H, d], none positive.
        now: u [H, d].
        memory: S before the first step [B, H, d, d].

    Returns:
        y [B, T, H, d] and S after the last step.
    """
    ys = []
    for r, k, v, log_w in zip(*(each.split(_CHUNK, 1) for each in (receptance, key, value, log_kept)), strict=True):
        upto = log_w.cumsum(1)
        until = upto - log_w  # before the step itself
        time = r.shape[1]
        earlier = torch.ones(time, time, dtype=torch.bool, device=r.device).tril(-1)[None, :, :, None, None]
        between = (until[:, :, None] - upto[:, None]).masked_fill(~earlier, float("-inf")).exp()  # [B, t, j, H, d]
        heard = torch.einsum("bthd,bjhd,btjhd->bhtj", r, k, between)
        heard = heard + torch.diag_embed(torch.einsum("bthd,hd,bthd->bht", r, now, k))
        ys.append(torch.einsum("bhtj,bjhe->bthe", heard, v) + torch.einsum("bthd,bhde->bthe", r * until.exp(), memory))
        left = (upto[:, -1:] - upto).exp()
        memory = upto[:, -1].exp()[..., None] * memory + torch.einsum("bthd,bthe->bhde", k * left, v)
    return torch.cat(ys, 1), memory


class RWKV(Layered):
    """The time mixing of RWKV-6 (Peng et al. 2024, Eagle and Finch, section 4.1 and eq. 14 to 19), of the input mapped
    to the width of the output.

    Each of r, k, v, g and w is made of its own mixture of this input and the one before, in shares that the input
    itself chooses through a map of small rank; in every head, with the share w = exp(-exp(...)) of the past that is
    kept,

    y = r (S + diag(u) k v^T),  S' = diag(w) S + k v^T,  o = W (silu(g) norm(y)).

    The input before and S are the state. The norm is a group norm over each head, with eps = 64e-5. The published code
    (BlinkDL/RWKV-LM, RWKV-v5/src/model.py, RWKV_Tmix_x060, and train.py) takes 1e-5 * head_size_divisor^2, with a
    divisor of 8: RWKV-5 divided by 8 ahead of a norm with eps = 1e-5, and this is the same.

    Args:
        width, layers, dropout: as everywhere.
        heads: H, which divide D.
        rank: of the maps that choose.
    """

    open_state = False

    def __init__(self, width: int = 512, layers: int = 1, dropout: float = 0.0, heads: int = 8, rank: int = 32) -> None:
        super().__init__(width, layers, dropout)
        if heads < 1 or width % heads:
            raise UserError(f"RWKV: heads ({heads}) must divide the width ({width})")
        self.heads, self.rank = heads, rank

    def _layer(self, input_width: int) -> Layer:
        return _RWKVLayer(input_width, self.width, self.heads, self.rank)
