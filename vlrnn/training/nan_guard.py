"""Detection of diverged training: losses or parameters that are NaN or infinite."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vlrnn.data.records import Id
from vlrnn.errors import UserError

_MOST = 5  # ids in a message
_HINT = (
    "lower optimization.lr or trainer.gradient_clip_val, and go on from the last good checkpoint with --ckpt_path last"
)


class LossGuard:
    """Checks that losses are finite: on the CPU each at once, on a GPU several together, since reading a loss
    synchronizes.

    Args:
        every: number of losses on a GPU that are checked together.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self._pending: list[tuple[int, Sequence[Id], Tensor]] = []

    def watch(self, step: int, ids: Sequence[Id], loss: Tensor, model: nn.Module) -> None:
        """Add the loss of a step, a scalar, over the examples of these ids.

        Raises:
            UserError: it, or an earlier one, is not finite; names step, examples, and a parameter that is not finite.
        """
        self._pending.append((step, ids, loss.detach()))
        if loss.device.type == "cpu" or len(self._pending) >= self.every:
            self._check_losses(model)

    def check(self, step: int, model: nn.Module) -> None:
        """Check all pending losses, and the parameters after a step.

        Raises:
            UserError: a loss or a parameter is not finite.
        """
        self._check_losses(model)
        if odd := _not_finite(model):
            raise UserError(f"training has diverged: {odd} is not finite after step {step}; {_HINT}")

    def _check_losses(self, model: nn.Module) -> None:
        pending, self._pending = self._pending, []
        finite = torch.stack([loss for *_, loss in pending]).isfinite().tolist() if pending else []
        if all(finite):
            return
        step, ids, loss = pending[finite.index(False)]
        examples = ", ".join(map(str, ids[:_MOST])) + (f" and {len(ids) - _MOST} more" if len(ids) > _MOST else "")
        odd = _not_finite(model)
        raise UserError(
            f"training has diverged: the loss of step {step} is {loss.item()}, over the examples {examples}; "
            + (f"{odd} is not finite, either; " if odd else "")
            + _HINT
        )


def _not_finite(model: nn.Module) -> str | None:
    """The name of the first parameter with a value that is not finite; None if there is none."""
    return next((name for name, each in model.named_parameters() if not each.isfinite().all()), None)
