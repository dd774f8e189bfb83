"""Temperatures, calibration error and label-free estimates, against closed forms and a second formula."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from segshift.errors import DataError
from segshift.metrics.calibration import (
    BINS,
    COLDEST,
    FEWEST_PIXELS,
    ConfidenceCounts,
    Estimates,
    SourceCalibration,
    count_above,
    estimate,
    expected_calibration_error,
    find_threshold,
    fit_temperature,
    fit_temperatures,
    reliability,
)


def drawn(count: int, temperature: float, classes: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits, and labels drawn from softmax(logits / temperature): the temperature is the right one."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, classes, generator=generator)
    return logits, torch.multinomial((logits / temperature).softmax(1), 1, generator=generator)[:, 0]


def counted(logits: Tensor, labels: Tensor | None, temperatures: Tensor | None = None, thresholds: np.ndarray | None = None) -> ConfidenceCounts:
    counts = ConfidenceCounts(torch.ones(logits.shape[1], dtype=torch.float64) if temperatures is None else temperatures, thresholds)
    counts.update(logits.T[None, :, :, None], None if labels is None else labels[None, :, None])
    return counts


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_drew_the_labels_is_found(temperature: float) -> None:
    logits, labels = drawn(40000, temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.03)  # 40,000 labels: about 1 % of standard error
    assert fit_temperatures(logits, labels).tolist() == pytest.approx([temperature] * 4, rel=0.06)


def test_the_temperature_is_the_least_of_the_loss() -> None:
    logits, labels = drawn(500, 1.7)
    best = fit_temperature(logits, labels)

    def loss(t: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / t, labels))

    assert loss(best) < min(loss(best * 1.01), loss(best / 1.01))
    assert fit_temperature(logits, logits.argmax(1)) == COLDEST  # always right
    assert fit_temperature(logits[:0], labels[:0]) == 1


def test_the_calibration_error_is_torchmetrics() -> None:
    logits, labels = drawn(5000, 2.0)
    theirs = multiclass_calibration_error(logits.softmax(1), labels, num_classes=4, n_bins=10, norm="l1")
    assert expected_calibration_error(counted(logits, labels), bins=10) == pytest.approx(float(theirs), abs=1e-5)
    number, right, _ = reliability(counted(logits, labels), bins=10)
    assert number.sum() == 5000
    assert right.sum() == int((logits.argmax(1) == labels).sum())


def test_the_right_temperatures_calibrate() -> None:
    logits, labels = drawn(40000, 2.5)
    before = expected_calibration_error(counted(logits, labels))
    after = expected_calibration_error(counted(logits, labels, fit_temperatures(logits, labels)))
    assert before > 0.15
    assert after < 0.01


def test_soft_iou_is_its_sum_over_pixels() -> None:
    logits, _ = drawn(300, 1.0)
    temperatures = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    counts = counted(logits, None, temperatures)
    inside, count, outside = np.zeros(4), np.zeros(4), np.zeros(4)
    for z in logits.double():
        c = int(z.argmax())
        p = (z / temperatures[c]).softmax(0).numpy()
        inside[c] += p[c]
        count[c] += 1
        outside += np.where(np.arange(4) == c, 0, p)
    assert counts.soft_iou() == pytest.approx(inside / (count + outside), abs=1e-6)
    assert counts.mean_confidence == pytest.approx(inside.sum() / 300, abs=1e-6)


def test_of_a_calibrated_model_soft_iou_is_the_true_iou() -> None:
    logits, labels = drawn(60000, 1.0)
    predicted = logits.argmax(1)
    true = [float(((predicted == c) & (labels == c)).sum() / ((predicted == c) | (labels == c)).sum()) for c in range(4)]
    assert counted(logits, None).soft_iou() == pytest.approx(true, abs=0.01)


def test_thresholds_and_shares_are_each_others_inverse() -> None:
    pixels = np.zeros(BINS, np.int64)
    pixels[[100, 500, 900]] = (10, 30, 60)
    for share in (0.05, 0.1, 0.25, 0.7):
        threshold = find_threshold(pixels, share)
        assert count_above(pixels, threshold) == pytest.approx(100 * (1 - share))
    assert find_threshold(pixels, 0) == 0
    assert count_above(pixels, 0.0) == 100
    assert count_above(pixels, 1.0) == 0


def calibrated(logits: Tensor, labels: Tensor) -> SourceCalibration:
    predicted, known = logits.argmax(1), labels < 255
    iou = [float(((predicted == c) & (labels == c)).sum() / (known & ((predicted == c) | (labels == c))).sum()) for c in range(4)]
    return SourceCalibration.measure(counted(logits, labels), np.array(iou), np.zeros(4))


def estimated(source: SourceCalibration, logits: Tensor) -> Estimates:
    return estimate(source, counted(logits, None, thresholds=source.thresholds))


def test_on_the_source_itself_the_estimates_are_what_was_measured() -> None:
    logits, labels = drawn(20000, 2.0)  # far from calibrated
    source = calibrated(logits, labels)
    found = estimated(source, logits)
    accuracy = float((logits.argmax(1) == labels).float().mean())
    assert found.accuracy["doc"] == pytest.approx(accuracy, abs=1e-6)
    assert found.accuracy["atc"] == pytest.approx(accuracy, abs=1e-4)
    assert found.iou["soft-difference"] == pytest.approx(source.iou, abs=1e-6)
    assert found.miou("soft-difference") == pytest.approx(float(np.mean(source.iou)), abs=1e-6)
    assert found.accuracy["soft"] > accuracy + 0.1  # uncalibrated confidence


def test_less_confidence_lowers_every_estimate() -> None:
    logits, labels = drawn(20000, 1.0)
    source = calibrated(logits, labels)
    weaker = estimated(source, logits / 3)
    same = estimated(source, logits)
    assert all(weaker.accuracy[name] < same.accuracy[name] for name in same.accuracy)
    assert all(weaker.miou(name) < same.miou(name) for name in same.iou)


def test_a_class_that_the_source_has_not_is_left_out() -> None:
    logits, labels = drawn(2000, 1.0)
    source = calibrated(logits, labels)
    found = estimated(replace(source, iou=np.array([math.nan, *source.iou[1:]])), logits)
    assert all(math.isnan(values[0]) and not np.isnan(values[1:]).any() for values in found.iou.values())
    assert math.isfinite(found.miou("atc"))


def test_a_class_that_the_target_does_not_show_is_left_out() -> None:
    """As in the truth: an image without a class has no IoU of it. One that is said to be there, or nearly, stays."""
    logits, labels = drawn(4000, 1.0)
    source = calibrated(logits, labels)
    without = logits - 20 * torch.eye(4)[3]
    found = estimated(source, without)
    assert all(math.isnan(values[3]) and not np.isnan(values[:3]).any() for values in found.iou.values())
    assert found.miou("soft") == pytest.approx(found.iou["soft"][:3].mean())
    without[0, 3] = 30  # a pixel
    assert not math.isnan(estimated(source, without).iou["soft"][3])
    nearly = logits.clone()
    nearly[:, 3] = torch.minimum(nearly[:, 3], nearly[:, :3].amax(1) - 0.1)  # never predicted, and half as likely as before
    assert counted(nearly, None).pixels[3].sum() == 0
    assert not math.isnan(estimated(source, nearly).iou["soft"][3])
    assert math.isnan(estimated(source, logits[:0]).miou("soft"))


def test_void_pixels_leave_atc_what_was_measured() -> None:
    """On the source itself, where the model is unsure of void: thresholds are shares of all pixels, as the target's are."""
    logits, labels = drawn(20000, 1.0)
    logits[:2400], labels[:2400] = logits[:2400] / 20, 255
    source = calibrated(logits, labels)
    found = estimated(source, logits)
    assert found.accuracy["atc"] == pytest.approx(source.accuracy, abs=1e-4)
    counts = counted(logits, None, thresholds=source.thresholds)
    predicted, right = logits.argmax(1), logits.argmax(1) == labels
    precision = [float(right[(predicted == c) & (labels < 255)].float().mean()) for c in range(4)]
    assert 1 - counts.below.sum(1) / counts.pixels.sum(1) == pytest.approx(precision, abs=1e-4)


def test_a_class_of_few_pixels_has_the_temperature_and_threshold_of_all() -> None:
    """Five pixels that are all right say neither that the model is always right about the class nor that it is sure."""
    logits, labels = drawn(4000, 2.0)
    rare = logits.argmax(1) == 3
    keep = ~rare
    keep[rare.nonzero()[:5, 0]] = True
    logits, labels = logits[keep], torch.where(rare, 3, labels)[keep]
    assert fit_temperatures(logits, labels)[3] == pytest.approx(fit_temperature(logits, labels))
    source = calibrated(logits, labels)
    assert source.thresholds[3] == source.threshold > 0
    assert (source.thresholds[:3] != source.threshold).all()
    enough = torch.cat([logits, 9 * torch.eye(4)[3].expand(FEWEST_PIXELS, 4)]), torch.cat([labels, torch.full((FEWEST_PIXELS,), 3)])
    assert fit_temperatures(*enough)[3] == pytest.approx(COLDEST)


def test_the_second_class_is_that_of_the_logits_where_probabilities_underflow() -> None:
    logits = torch.tensor([[9.0, -9.0, 3.0, 1.0]]).expand(10, 4)
    counts = counted(logits, None, torch.full((4,), COLDEST, dtype=torch.float64), thresholds=np.full(4, 1.0))
    assert counts.below.sum() == counts.below[0, 2] > 0


def test_pixels_below_a_threshold_are_its_bins_in_part() -> None:
    logits, labels = drawn(3000, 1.0)
    source = calibrated(logits, labels)
    counts = counted(logits, None, thresholds=source.thresholds)
    above = [count_above(counts.pixels[c], source.thresholds[c]) for c in range(4)]
    assert counts.pixels.sum(1) - counts.below.sum(1) == pytest.approx(above)
    assert not counts.below.diagonal().any()  # the second class is another
    with pytest.raises(DataError, match="was counted without thresholds"):
        estimate(source, counted(logits, None))


def test_void_pixels_count_without_labels_alone() -> None:
    logits, labels = drawn(100, 1.0)
    labels[:40] = 255
    counts = counted(logits, labels)
    assert counts.labelled.sum() == 60
    assert counts.pixels.sum() == 100
    assert math.isnan(expected_calibration_error(counted(logits, None)))
