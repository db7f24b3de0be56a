"""RWKV-6: linear attention with a decay that depends on the input."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vlrnn.errors import UserError
from vlrnn.nn.batching import Tree
from vlrnn.nn.recurrent.base import LayeredRecurrence, RecurrentLayer
from vlrnn.nn.recurrent.linear import last

_CHUNK = 16  # steps computed at once; training memory grows with it
_PARTS = 5  # receptance, key, value, gate, decay
_NORM_EPS = 64e-5  # 1e-5 * 8^2, see `RWKV`


class _RWKVLayer(RecurrentLayer):
    def __init__(self, input_width: int, hidden_size: int, num_heads: int, lora_rank: int) -> None:
        super().__init__()
        self.hidden_size, self.num_heads = hidden_size, num_heads
        self.from_input = nn.Linear(input_width, hidden_size)
        self.mix_first = nn.Parameter(torch.rand(hidden_size))
        self.mix = nn.Parameter(torch.rand(_PARTS, hidden_size))
        self.mix_down = nn.Parameter(torch.empty(_PARTS, hidden_size, lora_rank).uniform_(-1e-2, 1e-2))
        self.mix_up = nn.Parameter(torch.empty(_PARTS, lora_rank, hidden_size).uniform_(-1e-2, 1e-2))
        self.maps = nn.ModuleList(nn.Linear(hidden_size, hidden_size, bias=False) for _ in range(_PARTS - 1))
        self.decay = nn.Parameter(torch.linspace(-6.0, 1.0, hidden_size))  # log of minus log of the decay
        self.decay_down = nn.Parameter(torch.empty(hidden_size, lora_rank).uniform_(-1e-2, 1e-2))
        self.decay_up = nn.Parameter(torch.empty(lora_rank, hidden_size).uniform_(-1e-2, 1e-2))
        self.now = nn.Parameter(torch.empty(num_heads, hidden_size // num_heads).uniform_(-0.5, 0.5))
        self.even_out = nn.GroupNorm(num_heads, hidden_size, eps=_NORM_EPS)
        self.output = nn.Linear(hidden_size, hidden_size, bias=False)

    def initial(self, batch_size: int) -> Tree:
        new, head = self.decay.new_zeros, self.hidden_size // self.num_heads
        return (
            new(batch_size, self.hidden_size),
            new(batch_size, len(self.mix_first)),
            new(batch_size, self.num_heads, head, head),
        )

    def forward(self, xs: Tensor, state: Tree, mask: Tensor | None) -> tuple[Tensor, Tree]:
        output, before, memory = state
        xs = self.from_input(xs)
        mixed = self._mix(xs, before)
        receptance, key, value, gate = (one(each) for one, each in zip(self.maps, mixed[:4], strict=True))
        log_decay = self._log_decay(mixed[4])
        if mask is not None:
            log_decay, key = log_decay.where(mask[..., None], 0.0), key.where(mask[..., None], 0.0)
        r, k, v, w = (each.unflatten(-1, (self.num_heads, -1)) for each in (receptance, key, value, log_decay))
        ys, memory = fading_attention(r, k, v, w, self.now, memory)
        ys = self.even_out(ys.flatten(0, 1).flatten(1)).view_as(gate)
        ys = self.output(ys * F.silu(gate))
        return ys, (last(ys, output, mask), last(xs, before, mask), memory)

    def _mix(self, xs: Tensor, before: Tensor) -> tuple[Tensor, ...]:
        """The inputs of r, k, v, g and w: for each a mixture of the steps [B, T, D] and those before them."""
        older = torch.cat([before[:, None], xs[:, :-1]], 1) - xs
        first = xs + older * self.mix_first
        shifts = torch.tanh(torch.einsum("bti,pir->btpr", first, self.mix_down))
        shifts = self.mix + torch.einsum("btpr,pri->btpi", shifts, self.mix_up)
        return (xs[:, :, None] + older[:, :, None] * shifts).unbind(2)

    def _log_decay(self, mixed: Tensor) -> Tensor:
        return -torch.exp(self.decay + torch.tanh(mixed @ self.decay_down) @ self.decay_up)

    def gates(self, x: Tensor, state: Tree) -> dict[str, Tensor]:
        mixed = self._mix(self.from_input(x)[:, None], state[1])
        return {"forget": self._log_decay(mixed[4])[:, 0].exp()}


def fading_attention(
    receptance: Tensor, key: Tensor, value: Tensor, log_decay: Tensor, now: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """y_t = r_t (S_{t-1} + diag(u) k_t v_t^T),  S_t = diag(w_t) S_{t-1} + k_t v_t^T, in chunks of steps.

    Within a chunk the weight of step j < t at step t contains the product of the w between them, computed as exp of a
    sum of non-positive logs, which cannot overflow (Yang et al. 2024, section 4, with a decay per channel).

    Args:
        receptance, key, value: r, k and v [B, T, H, d].
        log_decay: log w [B, T, H, d], non-positive.
        now: u [H, d].
        memory: S before the first step [B, H, d, d].

    Returns:
        y [B, T, H, d] and S after the last step.
    """
    ys = []
    for r, k, v, log_w in zip(*(each.split(_CHUNK, 1) for each in (receptance, key, value, log_decay)), strict=True):
        upto = log_w.cumsum(1)
        until = upto - log_w  # before the step itself
        time = r.shape[1]
        earlier = torch.ones(time, time, dtype=torch.bool, device=r.device).tril(-1)[None, :, :, None, None]
        between = (until[:, :, None] - upto[:, None]).masked_fill(~earlier, float("-inf")).exp()  # [B, t, j, H, d]
        scores = torch.einsum("bthd,bjhd,btjhd->bhtj", r, k, between)
        scores = scores + torch.diag_embed(torch.einsum("bthd,hd,bthd->bht", r, now, k))
        ys.append(torch.einsum("bhtj,bjhe->bthe", scores, v) + torch.einsum("bthd,bhde->bthe", r * until.exp(), memory))
        left = (upto[:, -1:] - upto).exp()
        memory = upto[:, -1].exp()[..., None] * memory + torch.einsum("bthd,bthe->bhde", k * left, v)
    return torch.cat(ys, 1), memory


class RWKV(LayeredRecurrence):
    """The time mixing of RWKV-6 (Peng et al. 2024, Eagle and Finch, section 4.1 and eq. 14 to 19), of the input
    projected to hidden_size.

    Each of r, k, v, g and w is computed from its own mixture of this input and the one before, with weights from the
    input through a low-rank map; in every head, with the decay w = exp(-exp(...)) of the state,

    y = r (S + diag(u) k v^T),  S' = diag(w) S + k v^T,  o = W (silu(g) norm(y)).

    The input before and S are the state. The norm is a group norm over each head, with eps = 64e-5. The published code
    (BlinkDL/RWKV-LM, RWKV-v5/src/model.py, RWKV_Tmix_x060, and train.py) takes 1e-5 * head_size_divisor^2, with a
    divisor of 8: RWKV-5 divided by 8 ahead of a norm with eps = 1e-5, and this is the same.

    Args:
        hidden_size, num_layers, dropout: as of `LayeredRecurrence`.
        num_heads: H, a divisor of D.
        lora_rank: of the low-rank maps for mixtures and decay.
    """

    accepts_initial_state = False

    def __init__(
        self, hidden_size: int = 512, num_layers: int = 1, dropout: float = 0.0, num_heads: int = 8, lora_rank: int = 32
    ) -> None:
        super().__init__(hidden_size, num_layers, dropout)
        if num_heads < 1 or hidden_size % num_heads:
            raise UserError(f"RWKV: num_heads ({num_heads}) must divide hidden_size ({hidden_size})")
        self.num_heads, self.lora_rank = num_heads, lora_rank

    def _layer(self, input_width: int) -> RecurrentLayer:
        return _RWKVLayer(input_width, self.hidden_size, self.num_heads, self.lora_rank)
