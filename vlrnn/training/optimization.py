"""Optimizer and learning rate schedule, AdamW with warm-up and cosine decay; detection of diverged training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vlrnn.config import Configurable
from vlrnn.data.records import Id
from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import Encoder


@dataclass(frozen=True)
class Optimization(Configurable):
    """AdamW (Loshchilov and Hutter 2019) with a linear warm-up and a cosine decay to zero at the last step.

    Attributes:
        lr: peak learning rate.
        encoder_lr: peak learning rate of the trained blocks of the encoder, if any.
        weight_decay: of matrices; not of biases, gains and embeddings.
        warmup_fraction: fraction of all steps that are warm-up.
    """

    lr: float = 1e-3
    encoder_lr: float = 1e-5
    weight_decay: float = 1e-4
    warmup_fraction: float = 0.05

    def __post_init__(self) -> None:
        for name, value in self.arguments.items():
            if not 0 <= value < math.inf:
                raise UserError(f"optimization.{name} must be a number that is not negative, not {value}")
        if self.warmup_fraction > 1:
            raise UserError(f"optimization.warmup_fraction must be at most 1, not {self.warmup_fraction}")

    def optimizer(self, task: pl.LightningModule, encoder: Encoder) -> Optimizer:
        """The fused optimizer of all trainable parameters."""
        in_encoder = {id(parameter) for parameter in encoder.parameters()}
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in task.named_parameters():
            if parameter.requires_grad:
                decays = parameter.dim() > 1 and "embedding" not in name
                groups.setdefault((id(parameter) in in_encoder, decays), []).append(parameter)
        lrs, decay = {True: self.encoder_lr, False: self.lr}, {True: self.weight_decay, False: 0.0}
        settings = [
            {"params": parameters, "lr": lrs[is_encoder], "weight_decay": decay[decays]}
            for (is_encoder, decays), parameters in groups.items()
        ]
        optimizer = AdamW(settings, fused=True)
        # A fused optimizer can unscale the gradients of float16 itself; Lightning then refuses to clip them, also under
        # bfloat16, which has no scale. With this off, they are unscaled before they are clipped.
        optimizer._step_supports_amp_scaling = False
        optimizer.register_load_state_dict_pre_hook(_keep_settings)
        return optimizer

    def schedule(self, optimizer: Optimizer, steps: int) -> LambdaLR:
        """The schedule of the learning rate over this number of steps."""
        warm = max(1, round(self.warmup_fraction * steps))

        def factor(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))

        return _Schedule(optimizer, factor)


def _keep_settings(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """A stored optimizer state with the settings of this optimizer: a resumed run uses those of its recipe."""
    ours, theirs = optimizer.param_groups, state["param_groups"]
    if len(ours) != len(theirs):
        return state  # torch raises an error for it
    groups = [{**group, "params": each["params"]} for group, each in zip(ours, theirs, strict=True)]
    return {**state, "param_groups": groups}


class _Schedule(LambdaLR):
    """A schedule that resumes at the step of a stored one, with its own learning rates."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        mine = {name: state_dict[name] for name in ("last_epoch", "_step_count")}
        rates = [base * factor(mine["last_epoch"]) for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.__dict__.update(mine, _last_lr=rates)


_MOST = 5  # ids in a message
_HINT = (
    "lower optimization.lr or trainer.gradient_clip_val, and resume from the last good checkpoint with --ckpt_path last"
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
