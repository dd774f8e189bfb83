from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from segshift.engine.optimizers import build_optimizer, learning_rate_factor, load_optimizer_state, optimizer_state, parameter_groups
from segshift.engine.sections import OptimizerRecipe, ScheduleRecipe

TOTAL, PER_EPOCH = 40, 4
PEERS = {
    "polynomial": lambda o: torch.optim.lr_scheduler.PolynomialLR(o, TOTAL, 0.9),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, TOTAL),
    "constant": lambda o: torch.optim.lr_scheduler.ConstantLR(o, 1.0),
}
EPOCH_PEERS = {
    "exponential": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.9),
    "step": lambda o: torch.optim.lr_scheduler.StepLR(o, 3, 0.9),
}


def peer_rates(scheduler, steps: int) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = scheduler(optimizer)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the schedulers want an optimizer step first; there is nothing to step
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            schedule.step()
    return rates


@pytest.mark.parametrize("name", PEERS)
def test_schedules_equal_pytorch_step_by_step(name: str) -> None:
    recipe = ScheduleRecipe(name=name)
    ours = [learning_rate_factor(recipe, t, TOTAL, PER_EPOCH) for t in range(TOTAL)]
    assert ours == pytest.approx(peer_rates(PEERS[name], TOTAL), abs=1e-6)  # PyTorch multiplies up rounding errors


@pytest.mark.parametrize("name", EPOCH_PEERS)
def test_schedules_equal_pytorch_epoch_by_epoch(name: str) -> None:
    recipe = ScheduleRecipe(name=name, gamma=0.9, every=3)
    ours = [learning_rate_factor(recipe, t, TOTAL, PER_EPOCH) for t in range(0, TOTAL, PER_EPOCH)]
    assert ours == pytest.approx(peer_rates(EPOCH_PEERS[name], TOTAL // PER_EPOCH), rel=1e-9)


def test_one_cycle_rises_to_one_and_falls_to_nearly_nothing() -> None:
    rates = [learning_rate_factor(ScheduleRecipe(name="one-cycle"), t, 1000, 10) for t in range(1001)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(range(1001), key=rates.__getitem__) == 300
    assert rates[300] == pytest.approx(1)
    assert rates[1000] == pytest.approx(1e-4 / 25)


def test_warmup_rises_linearly_before_the_schedule() -> None:
    recipe = ScheduleRecipe(name="polynomial", power=1.0, warmup=4)
    assert [learning_rate_factor(recipe, t, 14, 2) for t in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert learning_rate_factor(recipe, 9, 14, 2) == pytest.approx(0.5)


def test_groups_hold_only_what_learns_and_the_encoder_has_its_factor() -> None:
    model = nn.ModuleDict({"encoder": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    model["encoder"].bias.requires_grad_(False)
    groups = parameter_groups(model, OptimizerRecipe(lr=0.1, encoder_lr_factor=0.1), ("encoder",))
    assert [len(g["params"]) for g in groups] == [1, 2]
    assert [g["lr"] for g in groups] == pytest.approx([0.01, 0.1])


@pytest.mark.parametrize("recipe", [OptimizerRecipe(name="sgd"), OptimizerRecipe(name="adam", amsgrad=True), OptimizerRecipe(name="adamw", weight_decay=0.1)])
def test_a_restored_optimizer_goes_on_bit_for_bit(recipe: OptimizerRecipe) -> None:
    def fresh() -> tuple[nn.Linear, torch.optim.Optimizer]:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layer = nn.Linear(3, 2)
        return layer, build_optimizer(recipe, [{"params": list(layer.parameters())}])

    def step(layer: nn.Linear, optimizer: torch.optim.Optimizer, t: int) -> None:
        optimizer.zero_grad()
        layer(torch.full((1, 3), float(t))).square().sum().backward()
        optimizer.step()

    whole, whole_optimizer = fresh()
    for t in range(6):
        step(whole, whole_optimizer, t)
    first, first_optimizer = fresh()
    for t in range(3):
        step(first, first_optimizer, t)
    state = optimizer_state(first_optimizer, {p: n for n, p in first.named_parameters()})
    second, second_optimizer = fresh()
    second.load_state_dict(first.state_dict())
    load_optimizer_state(second_optimizer, state, second.named_parameters())
    for t in range(3, 6):
        step(second, second_optimizer, t)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))
