"""The distance of the batch norms' inputs: its closed form, its alarm, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from segshift.diagnose.alarm import CleanSets, calibrate_alarm, clean_sets, runs_of
from segshift.diagnose.drift import (
    InputMoments,
    PooledMoments,
    describe_moments,
    layer_distances,
    normalization_distance,
    over_layers,
    read_moments,
    watch_inputs,
)
from segshift.engine.checkpoint import load_state, save_state
from segshift.errors import DataError, ModelError, RecipeError
from segshift.models import create_model


class TwoNorms(nn.Module):
    """Batch norm straight on the images, and one behind it; a third that evaluation leaves out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.auxiliary = nn.BatchNorm2d(3), nn.BatchNorm2d(3, eps=0.5), nn.BatchNorm2d(3)

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
    assert layer_distances(target, source, (2, 1), (0.0, 0.0)).tolist() == pytest.approx([5.0, 4.0])
    assert layer_distances(target, source, (2, 1), (0.0, 1.0)).tolist() == pytest.approx([5.0, 2.0])  # each beside its own eps


def test_a_layer_s_own_eps_is_measured_with_it() -> None:
    assert measured(drawn(2, 0, 1, 0)).eps == (1e-5, 0.5)


@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_moments_pooled_as_they_come_are_those_of_all(mean: float) -> None:
    images = drawn(9, mean, 1.0, 0) * torch.linspace(1, 1.1, 9).view(9, 1, 1, 1)
    pooled = PooledMoments()
    for part in images.split(4):
        pooled.add(measured(part))
    for found, expected in zip(pooled.pooled, measured(images).pool(), strict=True):
        assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-6)  # moments of an image are single precision
    assert pooled.images == 9
    assert normalization_distance(pooled, measured(images)).tolist() == pytest.approx([0, 0], abs=1e-9)


def varied(count: int, seed: int, drift: float = 0.0, blocks: tuple[str, ...] = ()) -> InputMoments:
    """Images of a brightness of their own; with `drift`, that of a frame is the last one's and so much noise."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(count, 3, 1, 1, generator=generator)
    if drift:
        kept = (1 - drift**2) ** 0.5
        for i in range(1, count):
            steps[i] = kept * steps[i - 1] + drift * steps[i]
    return replace(measured(torch.randn(count, 3, 8, 8, generator=generator) + steps, batch=count), blocks=blocks)


def test_clean_sets_raise_the_alarm_as_often_as_said_and_shifted_ones_do() -> None:
    """Both bounds: an alarm that never rises is none."""
    found = []
    for seed in range(10):
        source = varied(60, seed)
        above = calibrate_alarm(source, 8, false_alarms=0.05)
        found += [float(over_layers(normalization_distance(varied(8, 1000 + 100 * seed + i), source))) > above for i in range(40)]
    # 5 % of 400 sets that share ten sources: a standard error of 1 to 2 points; new images lie a little further away than drawn ones.
    assert 0.02 <= sum(found) / 400 <= 0.11
    source = varied(60, 0)
    above = calibrate_alarm(source, 8, false_alarms=0.05)
    assert all(float(over_layers(normalization_distance(measured(drawn(8, 2.0, 1.4, seed)), source))) > above for seed in range(20))
    assert calibrate_alarm(source, 8, 0.01) > above
    assert calibrate_alarm(source, 4, 0.05) > above  # fewer images vary more
    assert clean_sets(source, 8).typical < above


def test_with_repetition_large_sets_vary_less() -> None:
    """More images than the source has: D of independent images goes with 1 / set + 1 / source."""
    source = varied(60, 0)
    few, many = (float(clean_sets(source, images).distances.mean()) for images in (60, 600))
    assert many / few == pytest.approx((1 / 600 + 1 / 60) / (2 / 60), rel=0.1)  # 1,000 draws: 3 %


@pytest.mark.parametrize("images", [3, 12])
def test_drawn_distances_are_those_of_pooled_moments(images: int) -> None:
    """Products with moments, against gathering the images of each set."""
    source = replace(varied(60, 0), blocks=tuple(f"a/{i // 2}" for i in range(60)))
    found = clean_sets(source, images)
    size, gap = found.size, 2
    assert size == 3  # of which there is room for twenty
    for start, distance in enumerate(found.distances.tolist()):
        outside = [i for i in range(60) if not start - gap <= i < start + size + gap]
        expected = over_layers(layer_distances(source.pool(range(start, start + size)), source.pool(outside), source.sizes, source.eps))
        assert distance == pytest.approx(float(expected), rel=1e-4)  # single precision


def test_of_a_video_sets_are_stretches_not_frames_at_random() -> None:
    """Neighbouring frames resemble one another: stretches of the drive raise an alarm of random frames nearly always, and that of stretches rarely."""
    blocks = tuple(f"drive/{i // 10}" for i in range(400))
    random, stretches = [], []
    for seed in range(4):
        source, later = varied(400, seed, 0.15, blocks), varied(400, 100 + seed, 0.15)
        wrong, above = calibrate_alarm(replace(source, blocks=()), 16), calibrate_alarm(source, 16)
        for start in range(0, 400 - 16, 16):
            pooled = later.pool(range(start, start + 16))
            distance = float(over_layers(layer_distances(pooled, source.pooled, source.sizes, source.eps)))
            random.append(distance > wrong)
            stretches.append(distance > above)
    assert sum(random) / len(random) > 0.5
    assert sum(stretches) / len(stretches) <= 0.05  # 1 % was asked for, from 25 stretches a source


def test_of_few_stretches_the_alarm_is_a_prediction_bound() -> None:
    few, many = (CleanSets(4, torch.tensor([1.0, 2.0, 4.0]), stretches) for stretches in (3, 300))
    logs = torch.tensor([1.0, 2.0, 4.0]).log()
    assert few.above(0.05) == pytest.approx(float((logs.mean() + 2.91999 * (1 + 1 / 3) ** 0.5 * logs.std()).exp()), rel=1e-4)  # t of 2 degrees, a table's
    assert many.above(0.05) < few.above(0.05)
    assert CleanSets(4, torch.tensor([1.0, 2.0, 4.0]), None).above(0.5) == 2


def test_longer_sets_than_the_video_has_room_for_are_judged_by_shorter_ones() -> None:
    source = varied(40, 0, 0.2, tuple(f"drive/{i // 10}" for i in range(40)))
    found = clean_sets(source, 30)
    assert (found.size, found.stretches) == (2, 20)
    assert found.above(0.01) == clean_sets(source, 2).above(0.01)
    assert runs_of(("a/0", "a/0", "b/0", "a/1")) == [range(2), range(2, 3), range(3, 4)]
    assert runs_of(("town/1", "town/2")) == []  # blocks of their own
    assert runs_of(()) == []


def test_moments_survive_the_disk(tmp_path: Path) -> None:
    before = replace(measured(drawn(4, 0.0, 1.0, 0)), blocks=("a/0", "a/0", "a/1", "a/1"))
    save_state(tmp_path / "moments", {"moments": describe_moments(before)})
    after = read_moments(load_state(tmp_path / "moments")["moments"])
    assert (after.layers, after.sizes, after.eps) == (before.layers, before.sizes, before.eps)
    assert torch.equal(after.means, before.means)
    assert torch.equal(after.variances, before.variances)
    assert after.blocks == before.blocks == ("a/0", "a/0", "a/1", "a/1")


def test_one_layer_in_which_single_images_reach_far_does_not_decide() -> None:
    assert over_layers(torch.tensor([[0.1, 0.2, 50.0], [0.3, 0.1, 0.2]])).tolist() == pytest.approx([0.2, 0.2])
    assert float(over_layers(torch.tensor([1.0, 3.0]))) == 2


def test_what_cannot_be_measured_has_its_line() -> None:
    with pytest.raises(ModelError, match="has no batch norm"), watch_inputs(nn.Conv2d(3, 3, 1)):
        pass
    with pytest.raises(DataError, match="there are 4: at least 8"):
        calibrate_alarm(measured(drawn(4, 0, 1, 0)), 2)
    for rate in (0.0, 1.0, 2.0):
        with pytest.raises(RecipeError, match=f"false_alarms is {rate}: a share"):
            calibrate_alarm(measured(drawn(8, 0, 1, 0)), 2, rate)
    other = create_model("unet", encoder="resnet18", classes=5, seed=0).eval()
    with watch_inputs(other) as found, torch.no_grad():
        other(torch.rand(1, 3, 32, 32))
    with pytest.raises(ModelError, match="measure both on one model"):
        normalization_distance(found[0], measured(drawn(4, 0, 1, 0)))
