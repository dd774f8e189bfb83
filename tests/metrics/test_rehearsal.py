from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear

from segshift.metrics.calibration import ConfidenceCounts, Estimates, SourceCalibration, estimate
from segshift.metrics.rehearsal import Rehearsal, add_rehearsed, fit, leave_one_out


def rehearsed(a: float, b: float, noise: float = 0.0, seed: int = 0) -> Rehearsal:
    """Twelve corruptions: mIoU falls by a lost consistency + b sqrt(distance), accuracy by half of a lost confidence + b distance."""
    random = np.random.default_rng(seed)
    agreed, sure, root = random.uniform(0, 0.2, 12), random.uniform(0, 0.1, 12), random.uniform(0, 0.8, 12)
    iou = a * agreed + b * root + noise * random.standard_normal(12)
    return Rehearsal(tuple(f"c_{i}" for i in range(12)), np.stack([agreed, sure, root**2, iou, 0.5 * (a * sure + b * root**2)], 1))


def test_known_costs_are_found_and_leave_no_error() -> None:
    rehearsal = rehearsed(1.2, 0.3)
    assert rehearsal.iou == pytest.approx((1.2, 0.3))
    assert rehearsal.accuracy == pytest.approx((0.6, 0.15))
    assert rehearsal.iou_margin == pytest.approx(0, abs=1e-12)
    assert rehearsal.accuracy_margin == pytest.approx(0, abs=1e-12)


def test_costs_are_those_of_bounded_least_squares_and_never_negative() -> None:
    random = np.random.default_rng(0)
    for seed in range(20):
        causes, lost = random.uniform(0, 1, (9, 2)), random.uniform(-1, 1, 9)
        peer = lsq_linear(causes, lost, bounds=(0, np.inf)).x
        assert fit(causes, lost) == pytest.approx(peer, abs=1e-6), seed
    gained = rehearsed(1.0, 0.5).points * [1, 1, 1, -1, -1]  # mIoU rises with distance: no cost
    assert Rehearsal(("x",) * 12, gained).iou == (0.0, 0.0)


def test_the_error_is_that_of_what_was_left_out() -> None:
    noisy = rehearsed(1.2, 0.3, noise=0.02)
    causes, lost = noisy.points[:, [0, 2]] ** [1, 0.5], noisy.points[:, 3]
    away = []
    for i in range(12):
        a, b = fit(np.delete(causes, i, 0), np.delete(lost, i))
        away.append(abs(lost[i] - a * causes[i, 0] - b * causes[i, 1]))
    assert noisy.iou_errors == pytest.approx(away)
    assert (noisy.iou_errors <= noisy.iou_margin).mean() == pytest.approx(0.9, abs=0.1)
    assert 0.01 < noisy.iou_margin < 0.08
    assert np.isnan(leave_one_out(causes[:1], lost[:1]))


AGREED = np.array([0.9, 0.8, 0.7, 0.6])


@pytest.fixture
def source() -> tuple[SourceCalibration, ConfidenceCounts]:
    """Four classes, the last absent from the source's labels; their logits and labels."""
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(3, 4, 16, 16, generator=generator)
    labels = torch.where(torch.rand(3, 16, 16, generator=generator) < 0.8, logits[:, :3].argmax(1), torch.zeros(3, 16, 16, dtype=torch.long))
    counts = ConfidenceCounts(torch.ones(4), np.full(4, 0.5))
    counts.update(logits, labels)
    return SourceCalibration.measure(counts, np.array([0.7, 0.6, 0.5, np.nan]), AGREED), counts


def weaker(scale: float) -> ConfidenceCounts:
    counts = ConfidenceCounts(torch.ones(4), np.full(4, 0.5))
    counts.update(scale * 4 * torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(0)))
    return counts


def test_where_nothing_is_lost_the_source_s_figures_stand(source: tuple[SourceCalibration, ConfidenceCounts]) -> None:
    calibration, counts = source
    found = add_rehearsed(estimate(calibration, counts), calibration, counts, AGREED, 0.0, rehearsed(1.2, 0.3))
    assert found.miou("rehearsed") == pytest.approx(0.6)
    assert found.iou["rehearsed"] == pytest.approx(calibration.iou, nan_ok=True)
    assert found.accuracy["rehearsed"] == pytest.approx(calibration.accuracy)
    assert set(found.iou) == {"rehearsed", "soft", "soft-difference", "atc"}


def test_lost_consistency_and_distance_cost_what_was_learned(source: tuple[SourceCalibration, ConfidenceCounts]) -> None:
    calibration, _ = source
    target = weaker(0.5)
    plain = estimate(calibration, target)
    agreed, lost = AGREED - [0.2, 0.1, 0.0, 0.7], 0.1  # a class that the source's labels lack does not count
    found = add_rehearsed(plain, calibration, target, agreed, 0.36, rehearsed(0.5, 0.3))
    assert found.miou("rehearsed") == pytest.approx(0.6 - 0.5 * lost - 0.3 * 0.6)
    assert found.accuracy["rehearsed"] == pytest.approx(calibration.accuracy - 0.25 * (calibration.mean_confidence - target.mean_confidence) - 0.15 * 0.36)
    assert np.isnan(found.iou["rehearsed"][3])
    share = found.iou["rehearsed"] / plain.iou["soft-difference"]
    assert share[:3] == pytest.approx(share[0])  # every class falls by the same share
    without = add_rehearsed(plain, calibration, target, agreed, None, rehearsed(0.5, 0.3))  # a model without batch norm
    assert without.miou("rehearsed") == pytest.approx(0.6 - 0.5 * lost)
    assert add_rehearsed(plain, calibration, target, agreed, 100.0, rehearsed(0.5, 0.3)).miou("rehearsed") == 0


def test_more_confidence_and_consistency_than_on_the_source_are_no_gain(source: tuple[SourceCalibration, ConfidenceCounts]) -> None:
    calibration, _ = source
    found = add_rehearsed(estimate(calibration, weaker(3.0)), calibration, weaker(3.0), AGREED + 0.1, 0.0, rehearsed(1.0, 0.3))
    assert found.miou("rehearsed") == pytest.approx(0.6)
    assert found.accuracy["rehearsed"] == pytest.approx(calibration.accuracy)


def test_the_mean_over_classes_is_the_equation_s_where_distance_says_less_than_confidence(source: tuple[SourceCalibration, ConfidenceCounts]) -> None:
    """Soft IoU lost much and costs nothing: classes move towards the source's and none is cut off."""
    calibration, counts = source
    calibration = replace(calibration, iou=np.array([0.95, 0.5, 0.3, np.nan]))
    for soft in ([0.93, 0.2, 0.05, np.nan], [0.0, 0.0, 0.0, np.nan]):
        plain = Estimates({}, {"soft": np.array(soft), "soft-difference": np.array(soft)})
        found = add_rehearsed(plain, calibration, counts, AGREED, 0.0025, rehearsed(0.0, 0.5))
        assert found.miou("rehearsed") == pytest.approx((0.95 + 0.5 + 0.3) / 3 - 0.5 * 0.05)
        assert ((found.iou["rehearsed"] >= soft) & (found.iou["rehearsed"] <= calibration.iou))[:3].all()


def test_what_as_many_clean_images_have_costs_nothing(source: tuple[SourceCalibration, ConfidenceCounts]) -> None:
    calibration, counts = source
    plain = estimate(calibration, counts)

    def miou(distance: float, clean: float) -> float:
        return add_rehearsed(plain, calibration, counts, AGREED, distance, rehearsed(0.5, 0.3), clean).miou("rehearsed")

    assert miou(0.2, 0.25) == pytest.approx(0.6)
    assert miou(0.29, 0.25) == pytest.approx(0.6 - 0.3 * 0.2)


def test_the_source_s_means_are_over_the_classes_that_the_target_shows(source: tuple[SourceCalibration, ConfidenceCounts]) -> None:
    calibration, _ = source
    shown = ConfidenceCounts(torch.ones(4), np.full(4, 0.5))
    logits = 4 * torch.randn(3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    logits[:, 2] -= 100
    shown.update(logits)
    found = add_rehearsed(estimate(calibration, shown), calibration, shown, AGREED, 0.0, rehearsed(0.0, 0.3))
    assert found.miou("rehearsed") == pytest.approx(0.65)
    assert np.isnan(found.iou["rehearsed"][2:]).all()
