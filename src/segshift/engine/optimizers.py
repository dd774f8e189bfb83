"""Optimizers and schedules. A schedule is a pure function of the position, so resuming needs no state of its own.

polynomial   (1 - t/T)^power          exponential  gamma^epoch           cosine   (1 + cos(pi t/T)) / 2
step         gamma^(epoch // every)   one-cycle    up to 1 over 30 % of T by cosine from 1/25, then down to 1e-4/25
constant     1                        `warmup` steps rise linearly first, for every schedule
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from segshift.engine.sections import OptimizerRecipe, ScheduleRecipe


def learning_rate_factor(schedule: ScheduleRecipe, position: int, total: int, steps_per_epoch: int) -> float:
    """What the initial learning rate is multiplied by at this step, 0-based."""
    if position < schedule.warmup:
        return (position + 1) / (schedule.warmup + 1)
    t = (position - schedule.warmup) / max(total - schedule.warmup, 1)
    epoch = position // steps_per_epoch
    if schedule.name == "polynomial":
        return float((1 - min(t, 1.0)) ** schedule.power)
    if schedule.name == "exponential":
        return float(schedule.gamma**epoch)
    if schedule.name == "cosine":
        return (1 + math.cos(math.pi * min(t, 1.0))) / 2
    if schedule.name == "step":
        return float(schedule.gamma ** (epoch // schedule.every))
    if schedule.name == "one-cycle":
        rise, low, final = 0.3, 1 / 25, 1e-4 / 25
        if t < rise:
            return low + (1 - low) * (1 - math.cos(math.pi * t / rise)) / 2
        return final + (1 - final) * (1 + math.cos(math.pi * min((t - rise) / (1 - rise), 1.0))) / 2
    return 1.0


def build_optimizer(recipe: OptimizerRecipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """SGD, Adam or AdamW over parameter groups; each group remembers its initial rate as `initial_lr`."""
    optimizer: torch.optim.Optimizer
    if recipe.name == "sgd":
        optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov)
    else:
        kind = torch.optim.Adam if recipe.name == "adam" else torch.optim.AdamW
        optimizer = kind(groups, lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay, amsgrad=recipe.amsgrad)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def parameter_groups(model: nn.Module, recipe: OptimizerRecipe, encoder: tuple[str, ...], apart: bool = False) -> list[dict[str, Any]]:
    """Learnable parameters only, the encoder's at `encoder_lr_factor` times the rate. Frozen ones get no optimizer state.

    `apart` makes a group of each tensor, with its name, for rates of its own.
    """
    inside: list[nn.Parameter] = []
    outside: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (inside if any(name.startswith(f"{prefix}.") for prefix in encoder) else outside).append(parameter)
    if apart:
        rates = {id(p): recipe.lr * recipe.encoder_lr_factor for p in inside}
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        return [{"params": [p], "lr": rates.get(id(p), recipe.lr), "name": name} for name, p in named]
    groups = [{"params": inside, "lr": recipe.lr * recipe.encoder_lr_factor}, {"params": outside, "lr": recipe.lr}]
    return [group for group in groups if group["params"]]


def set_learning_rate(optimizer: torch.optim.Optimizer, factor: float, rates: Mapping[str, float] | None = None) -> None:
    """Every group's rate is its initial one times the factor, and times its tensor's own of `rates`."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor * (1.0 if rates is None else rates[group["name"]])


def optimizer_state(optimizer: torch.optim.Optimizer, names: Mapping[Tensor, str]) -> dict[str, Any]:
    """The state by parameter name, so that it survives another order of parameters."""
    return {names[parameter]: dict(state) for parameter, state in optimizer.state.items() if state}


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any], parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
    """Takes back what `optimizer_state` gave."""
    for name, parameter in parameters:
        if name in state:
            optimizer.state[parameter] = {
                # Adam's step counter stays on the CPU, as in the optimizer's own loading
                key: value.to(parameter.device) if isinstance(value, torch.Tensor) and key != "step" else value
                for key, value in state[name].items()
            }
