"""Notices that training has diverged, and says where. Knows nothing of what is trained."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vlrnn.data.records import Id
from vlrnn.errors import UserError

_MOST = 5  # ids that are told
_MEND = (
    "lower optimization.lr or trainer.gradient_clip_val, and go on from the last good checkpoint with --ckpt_path last"
)


class LossGuard:
    """Looks whether losses are numbers: at once where that costs nothing, else at so many losses at a time, for a GPU
    would have to wait for each that is looked at.

    Args:
        every: how many losses of a GPU are looked at together.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self._seen: list[tuple[int, Sequence[Id], Tensor]] = []

    def watch(self, step: int, ids: Sequence[Id], loss: Tensor, model: nn.Module) -> None:
        """Take note of the loss of a step, a scalar, over the examples of these ids.

        Raises:
            UserError: it, or one before it, is not finite; names step, examples, and a parameter that is not, either.
        """
        self._seen.append((step, ids, loss.detach()))
        if loss.device.type == "cpu" or len(self._seen) >= self.every:
            self._look(model)

    def check(self, step: int, model: nn.Module) -> None:
        """Look at all that has not been looked at, and at the parameters after a step.

        Raises:
            UserError: a loss or a parameter is not finite.
        """
        self._look(model)
        if odd := _not_finite(model):
            raise UserError(f"training has diverged: {odd} is not finite after step {step}; {_MEND}")

    def _look(self, model: nn.Module) -> None:
        seen, self._seen = self._seen, []
        fine = torch.stack([loss for *_, loss in seen]).isfinite().tolist() if seen else []
        if all(fine):
            return
        step, ids, loss = seen[fine.index(False)]
        told = ", ".join(map(str, ids[:_MOST])) + (f" and {len(ids) - _MOST} more" if len(ids) > _MOST else "")
        odd = _not_finite(model)
        raise UserError(
            f"training has diverged: the loss of step {step} is {loss.item()}, over the examples {told}; "
            + (f"{odd} is not finite, either; " if odd else "")
            + _MEND
        )


def _not_finite(model: nn.Module) -> str | None:
    """The name of the first parameter that holds something else than numbers."""
    return next((name for name, each in model.named_parameters() if not each.isfinite().all()), None)
