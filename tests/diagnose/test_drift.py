"""The distance of the batch norms' inputs: its closed form, its alarm, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from segshift.diagnose.drift import InputMoments, calibrate_alarm, describe_moments, layer_distances, normalization_distance, read_moments, watch_inputs
from segshift.errors import DataError, ModelError
from segshift.models import create_model


class TwoNorms(nn.Module):
    """Batch norm straight on the images, and one behind it; a third that evaluation leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.auxiliary = nn.BatchNorm2d(3), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(images))


def measured(images: Tensor, batch: int = 4) -> InputMoments:
    model = TwoNorms().eval()
    with watch_inputs(model) as found:
        for part in images.split(batch):
            model(part)
    return InputMoments.join(found)


def drawn(count: int, mean: float, std: float, seed: int) -> Tensor:
    return torch.randn(count, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * std + mean


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_pooled_moments_are_those_of_all_pixels(batch: int) -> None:
    images = drawn(8, 2.0, 0.5, 0) * torch.arange(1, 9).view(8, 1, 1, 1)
    mean, variance = measured(images, batch).pool()
    values = images.double().movedim(1, 0).flatten(1)
    assert mean[:3].tolist() == pytest.approx(values.mean(1).tolist(), rel=1e-5)
    assert variance[:3].tolist() == pytest.approx(values.var(1, correction=0).tolist(), rel=1e-5)
    assert measured(images, batch).layers == ("first", "second")


def test_known_gaussians_give_the_closed_form() -> None:
    """Mean 1 and deviation 2 against 0 and 1: (1^2 + 1^2) / 1."""
    found = normalization_distance(measured(drawn(200, 1.0, 2.0, 0)), measured(drawn(200, 0.0, 1.0, 1)))
    assert float(found[0]) == pytest.approx(2.0, rel=0.03)  # 51,200 values a channel
    assert float(normalization_distance(measured(drawn(8, 0, 1, 0)), measured(drawn(8, 0, 1, 0))).abs().max()) == 0


def test_a_layer_s_distance_is_a_mean_over_its_channels() -> None:
    source = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    target = torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    assert layer_distances(target, source, (2, 1), eps=0.0).tolist() == pytest.approx([5.0, 4.0])


def test_clean_sets_raise_the_alarm_as_often_as_said_and_shifted_ones_do() -> None:
    source = measured(drawn(60, 0.0, 1.0, 0))
    above = calibrate_alarm(source, 8, false_alarms=0.05)
    clean = [float(normalization_distance(measured(drawn(8, 0.0, 1.0, seed)), source).mean()) > above for seed in range(1, 201)]
    assert sum(clean) / 200 <= 0.12  # 0.05, and 200 sets have a standard error of 0.015; new images lie a little further away than drawn ones
    shifted = [float(normalization_distance(measured(drawn(8, 0.15, 1.0, seed)), source).mean()) > above for seed in range(1, 21)]
    assert all(shifted)
    assert calibrate_alarm(source, 8, 0.01) > above
    assert calibrate_alarm(source, 4, 0.05) > above  # fewer images vary more
    assert calibrate_alarm(source, 100, 0.05) > 0  # more than there are


def test_moments_survive_the_disk() -> None:
    before = measured(drawn(4, 0.0, 1.0, 0))
    after = read_moments(describe_moments(before))
    assert after.layers == before.layers
    assert torch.equal(after.means, before.means)


def test_what_cannot_be_measured_has_its_line() -> None:
    with pytest.raises(ModelError, match="has no batch norm"), watch_inputs(nn.Conv2d(3, 3, 1)):
        pass
    with pytest.raises(DataError, match="there are 4: at least 8"):
        calibrate_alarm(measured(drawn(4, 0, 1, 0)), 2)
    other = create_model("unet", encoder="resnet18", classes=5, seed=0).eval()
    with watch_inputs(other) as found, torch.no_grad():
        other(torch.rand(1, 3, 32, 32))
    with pytest.raises(ModelError, match="measure both on one model"):
        normalization_distance(found[0], measured(drawn(4, 0, 1, 0)))
