"""How parameters are moved: AdamW, with a warm-up and then a cosine down to zero."""

import math
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from torch import nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from vlrnn.config import Configurable
from vlrnn.errors import UserError
from vlrnn.nn.encoders.base import Encoder


@dataclass(frozen=True)
class Optimization(Configurable):
    """AdamW (Loshchilov and Hutter 2019) whose learning rate rises linearly and falls along a cosine to zero at the
    last step.

    Attributes:
        lr: the highest learning rate.
        encoder_lr: that of the encoder's blocks that learn, if any.
        weight_decay: of matrices; biases, gains and embeddings are left alone.
        warmup_fraction: the share of all steps in which the rate rises.
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
        """The optimizer of all parameters that learn, which moves them in one fused kernel."""
        in_encoder = {id(parameter) for parameter in encoder.parameters()}
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in task.named_parameters():
            if parameter.requires_grad:
                decays = parameter.dim() > 1 and "embedding" not in name
                groups.setdefault((id(parameter) in in_encoder, decays), []).append(parameter)
        moved = AdamW(
            [
                {
                    "params": parameters,
                    "lr": self.encoder_lr if is_encoder else self.lr,
                    "weight_decay": self.weight_decay if decays else 0.0,
                }
                for (is_encoder, decays), parameters in groups.items()
            ],
            fused=True,
        )
        # A fused optimizer offers to undo the scale of float16's gradients itself; Lightning then refuses to clip them,
        # under bfloat16 too, which has no scale. Declined, they are scaled back before they are clipped.
        moved._step_supports_amp_scaling = False
        moved.register_load_state_dict_pre_hook(_keep_settings)
        return moved

    def schedule(self, optimizer: Optimizer, steps: int) -> LambdaLR:
        """The learning rate over so many steps."""
        warm = max(1, round(self.warmup_fraction * steps))

        def factor(step: int) -> float:
            if step < warm:
                return (step + 1) / warm
            return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))

        return _Schedule(optimizer, factor)


def _keep_settings(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """The state of an optimizer with the settings of this one: training that goes on does so by its recipe."""
    ours, theirs = optimizer.param_groups, state["param_groups"]
    if len(ours) != len(theirs):
        return state  # which is then refused
    kept = [{**group, "params": each["params"]} for group, each in zip(ours, theirs, strict=True)]
    return {**state, "param_groups": kept}


class _Schedule(LambdaLR):
    """A schedule that goes on from the step of another, with learning rates of its own."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        mine = {name: state_dict[name] for name in ("last_epoch", "_step_count")}
        rates = [base * factor(mine["last_epoch"]) for base, factor in zip(self.base_lrs, self.lr_lambdas, strict=True)]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self.__dict__.update(mine, _last_lr=rates)
