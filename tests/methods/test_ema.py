from __future__ import annotations

import pytest
import torch
from torch import nn

from segshift.errors import RecipeError
from segshift.methods.ema import ExponentialMovingAverage


def model(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))


def test_it_is_the_weighted_sum_of_all_steps() -> None:
    steps = [model(seed) for seed in range(6)]
    ema = ExponentialMovingAverage(steps[0], 0.9, ramp=False)
    for step in steps[1:]:
        ema.update(step)
    weights = [0.9**5, *(0.1 * 0.9 ** (5 - n) for n in range(1, 6))]
    expected = sum(weight * step[0].weight for weight, step in zip(weights, steps, strict=True))
    torch.testing.assert_close(ema.average[0].weight, expected.detach())


def test_with_a_ramp_the_first_updates_are_the_mean() -> None:
    steps = [model(seed) for seed in range(5)]
    ema = ExponentialMovingAverage(steps[0], 0.99)
    for step in steps[1:]:
        ema.update(step)
    # alpha = t / (t + 1) keeps the mean of all so far: the first model and each step count the same.
    torch.testing.assert_close(ema.average[0].weight, torch.stack([step[0].weight for step in steps]).mean(0))


def test_what_does_not_change_stays_bit_for_bit() -> None:
    source = model()
    frozen = source[0].weight.detach().clone()
    ema = ExponentialMovingAverage(source, 0.7)
    naive = frozen.clone()
    for _ in range(200):
        source[0].bias.data += 0.1
        ema.update(source)
        naive = 0.7 * naive + (1 - 0.7) * frozen
    assert torch.equal(ema.average[0].weight, frozen)
    assert not torch.equal(naive, frozen), "the sum of two products would have drifted"
    assert not torch.equal(ema.average[0].bias, source[0].bias)


def test_buffers_follow_and_nothing_learns() -> None:
    source = model().train()
    ema = ExponentialMovingAverage(source, 0.9)
    source(torch.rand(2, 3, 8, 8))
    assert not torch.equal(ema.average[1].running_mean, source[1].running_mean)
    ema.update(source)
    for mine, theirs in zip(ema.average.buffers(), source.buffers(), strict=True):
        assert torch.equal(mine, theirs)
    assert not any(module.training for module in ema.average.modules())
    assert not any(parameter.requires_grad for parameter in ema.average.parameters())
    assert source.training
    assert all(parameter.requires_grad for parameter in source.parameters())


def test_goes_on_after_a_restart() -> None:
    steps = [model(seed) for seed in range(6)]
    whole, first, second = (ExponentialMovingAverage(steps[0], 0.9) for _ in range(3))
    for step in steps[1:]:
        whole.update(step)
    for step in steps[1:3]:
        first.update(step)
    second.load_state_dict(first.state_dict())
    for step in steps[3:]:
        second.update(step)
    assert torch.equal(second.average[0].weight, whole.average[0].weight)
    assert second.updates == whole.updates == 5


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_refuses_a_share_that_is_none(decay: float) -> None:
    with pytest.raises(RecipeError, match=r"decay is .*0 or more and below 1"):
        ExponentialMovingAverage(model(), decay)
