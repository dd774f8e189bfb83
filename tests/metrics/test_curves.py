from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score
from torch import Tensor

from segshift.errors import DataError
from segshift.metrics import counting, score_bins
from segshift.metrics.curves import CurveScores, ScoreHistogram, precision_recall_points, roc_points
from segshift.metrics.score_bins import BINS, CENTRE, count_with_numba, count_with_torch

K = 5
PATIENT = settings(deadline=None, max_examples=25)  # the first example may have to compile


def draw(seed: int, spread: float = 2.0, gain: float = 2.0, pixels: int = 6000, classes: int = K, ignored: float = 0.1) -> tuple[Tensor, Tensor]:
    """Logits (K, 1, N) that lean to the label by `gain`; large values pile the scores up near 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(0, classes, (pixels,), generator=generator)
    logits = torch.randn(classes, pixels, generator=generator) * spread
    logits[label, torch.arange(pixels)] += gain
    label[torch.rand(pixels, generator=generator) < ignored] = 255
    return logits[:, None], label[None].to(torch.uint8)


def curves(logits: Tensor, label: Tensor, **options: Any) -> CurveScores:
    histogram = ScoreHistogram(len(logits), **options)
    histogram.update(logits, label)
    return histogram.compute()


def log_odds(logits: Tensor) -> np.ndarray:
    """log p / (1 - p) of the softmax in double precision: ordered like p, and not rounded to 1."""
    flat = logits[:, 0].double()
    return torch.stack([row - torch.cat([flat[:k], flat[k + 1 :]]).logsumexp(0) for k, row in enumerate(flat)]).numpy()


# Tolerances are the promise (1e-3); found are 2e-5 for AUC and 3e-4 for average precision, of nearly equal scores 2e-4 and 5e-3.
@pytest.mark.parametrize(("spread", "gain", "within"), [(1, 1, 1e-3), (2, 2, 1e-3), (8, 12, 1e-3), (20, 30, 1e-3), (0.05, 0.05, 1e-2)])
def test_figures_are_those_of_scikit_learn(spread: float, gain: float, within: float) -> None:
    logits, label = draw(int(spread), spread, gain)
    found = curves(logits, label)
    kept = label[0] != 255
    scores, truth = log_odds(logits[..., kept]), label[0, kept].numpy()
    for k in range(K):
        auc = roc_auc_score(truth == k, scores[k])
        assert found.roc_auc[k] == pytest.approx(auc, abs=1e-3)
        assert abs(found.roc_auc[k] - auc) <= found.roc_auc_error[k]
        assert found.average_precision[k] == pytest.approx(average_precision_score(truth == k, scores[k]), abs=within)
    assert found.mean_roc_auc == pytest.approx(found.roc_auc.mean())


def test_figures_are_those_of_scikit_learn_on_a_softmax_in_single_precision() -> None:
    logits, label = draw(0, 4.0, 6.0, classes=19, pixels=40_000)
    found = curves(logits, label)
    kept = label[0] != 255
    scores, truth = torch.softmax(logits[:, 0, kept], 0).T.numpy(), label[0, kept].numpy()
    scores /= scores.sum(1, keepdims=True)
    assert found.mean_roc_auc == pytest.approx(roc_auc_score(truth, scores, multi_class="ovr"), abs=1e-3)
    assert found.mean_average_precision == pytest.approx(average_precision_score(truth, scores), abs=1e-3)


@pytest.mark.parametrize(("spread", "gain"), [(40, 25), (0.01, 0.01)])
def test_scores_beyond_the_bins_are_within_the_error_that_is_said(spread: float, gain: float) -> None:
    logits, label = draw(1, spread, gain)
    found = curves(logits, label)
    kept = label[0] != 255
    scores, truth = log_odds(logits[..., kept]), label[0, kept].numpy()
    expected = np.array([roc_auc_score(truth == k, scores[k]) for k in range(K)])
    assert (np.abs(found.roc_auc - expected) <= found.roc_auc_error).all()
    assert (found.roc_auc_error > 1e-2).any()


def test_scores_that_single_precision_rounds_to_one_stay_apart() -> None:
    gaps = torch.linspace(20, 60, 400)  # 1 - p from 2e-9 to 1e-26
    logits, label = torch.stack([gaps, torch.zeros(400)])[:, None], (gaps < 40).to(torch.uint8)[None]
    assert (torch.softmax(logits, 0)[0] == 1).all()
    assert curves(logits, label).roc_auc == pytest.approx([1.0, 1.0], abs=1e-4)  # the bin at 40 may be shared


def test_perfect_reversed_and_constant_scores() -> None:
    label = torch.tensor([[0, 0, 1, 1, 1]], dtype=torch.uint8)
    right = torch.tensor([[[5.0, 4.0, 0.0, 1.0, -3.0]], [[0.0] * 5]])
    assert curves(right, label).roc_auc.tolist() == curves(right, label).average_precision.tolist() == [1.0, 1.0]
    assert curves(-right, label).roc_auc.tolist() == [0.0, 0.0]
    ties = curves(torch.zeros(2, 1, 5), label)
    assert ties.roc_auc.tolist() == ties.roc_auc_error.tolist() == [0.5, 0.5]  # all tied: it could be anything
    assert ties.average_precision.tolist() == pytest.approx([2 / 5, 3 / 5])  # the share of the class


def test_scores_that_know_nothing_give_a_half() -> None:
    logits, label = draw(0, gain=0.0, pixels=200_000)
    assert curves(logits, label).roc_auc == pytest.approx([0.5] * K, abs=0.006)  # 4 standard errors: 0.29 / sqrt(36 000)


def test_a_hand_made_curve_with_a_tie() -> None:
    # Scores of class 0, descending: one right; one right and one wrong, tied; one wrong.
    logits = torch.tensor([[[3.0, 1.0, 1.0, -2.0]], [[0.0] * 4]])
    label = np.array([[0, 0, 1, 1]])
    histogram = ScoreHistogram(2)
    histogram.update(logits, label)
    found = histogram.compute()
    assert found.roc_auc[0] == 0.875
    assert found.average_precision[0] == pytest.approx(1 / 2 * 1 + 1 / 2 * 2 / 3)
    assert [list(axis) for axis in roc_points(histogram.counts, 0)] == [[0, 0, 0.5, 1], [0, 0.5, 1, 1]]
    assert [list(axis) for axis in precision_recall_points(histogram.counts, 0)] == [[0.5, 1, 1], [1, pytest.approx(2 / 3), 0.5]]


def test_the_area_under_the_points_is_the_figure() -> None:
    histogram = ScoreHistogram(K)
    histogram.update(*draw(4))
    for k in range(K):
        assert np.trapezoid(*reversed(roc_points(histogram.counts, k))) == pytest.approx(histogram.compute().roc_auc[k], abs=1e-12)
        recall, precision = precision_recall_points(histogram.counts, k)
        assert (np.diff(recall, prepend=0) * precision).sum() == pytest.approx(histogram.compute().average_precision[k], abs=1e-12)
        assert recall[-1] == 1


def test_absent_classes_are_nan_and_left_out_of_the_mean() -> None:
    logits, label = draw(1)
    label[label == 3] = 255
    found = curves(logits, label)
    assert np.isnan(found.roc_auc).tolist() == np.isnan(found.average_precision).tolist() == [False, False, False, True, False]
    assert found.mean_roc_auc == pytest.approx(np.nanmean(found.roc_auc))
    assert found.mean_average_precision == pytest.approx(np.nanmean(found.average_precision))
    alone = curves(logits, torch.full_like(label, 2))
    assert np.isnan(alone.roc_auc).all()  # nothing to tell it from
    assert alone.average_precision[2] == 1
    nothing = ScoreHistogram(K)
    assert np.isnan(nothing.compute().mean_roc_auc)
    histogram = ScoreHistogram(K)
    for _ in range(2):  # nothing counted, then one class absent
        for points in (roc_points, precision_recall_points):
            with pytest.raises(DataError, match=r"class 3 has no .* curve: it is not in the truth"):
                points(histogram.counts, 3)
        histogram.update(logits, label)


@PATIENT
@given(st.integers(0, 10_000), st.floats(0.1, 60), st.integers(1, 1700))
def test_both_ways_of_counting_are_equal(seed: int, spread: float, pixels: int) -> None:
    logits, label = draw(seed, spread, spread, pixels)
    flat, truth = logits[:, 0].contiguous(), label[0]
    for found, expected in zip(count_with_numba(flat, truth, K, 255), count_with_torch(flat, truth, K, 255), strict=True):
        np.testing.assert_array_equal(found, expected)


@PATIENT
@given(st.integers(0, 10_000), st.floats(0.1, 30))
def test_order_does_not_matter_and_merging_is_concatenation(seed: int, spread: float) -> None:
    logits, label = draw(seed, spread, spread, 900)
    whole, first, second = ScoreHistogram(K), ScoreHistogram(K), ScoreHistogram(K)
    order = torch.randperm(900, generator=torch.Generator().manual_seed(seed))
    whole.update(logits[..., order], label[..., order])
    first.update(logits[..., :100], label[..., :100])
    second.update(logits[..., 100:], label[..., 100:])
    first.merge(second)
    np.testing.assert_array_equal(whole.counts, first.counts)
    kept = int((label != 255).sum())
    assert whole.counts[1].sum() == kept
    assert (whole.counts.sum((0, 2)) == kept).all()  # every counted pixel once a class


@pytest.mark.parametrize("numba", [True, False])
def test_ignored_pixels_do_not_count_whatever_was_predicted(numba: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_bins, "numba_works", lambda: numba)
    logits, label = draw(2)
    kept = label[0] != 255
    expected = curves(logits[..., kept], label[:, kept])
    logits[..., ~kept] = torch.nan
    for dtype in (torch.uint8, torch.int64, torch.int32):
        np.testing.assert_array_equal(curves(logits, label.to(dtype)).roc_auc, expected.roc_auc)
    moved = torch.where(label == 255, -1, label.long())
    np.testing.assert_array_equal(curves(logits, moved, ignore_index=-1).roc_auc, expected.roc_auc)


@pytest.mark.parametrize("numba", [True, False])
def test_what_cannot_be_counted_is_refused_whole(numba: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_bins, "numba_works", lambda: numba)
    logits, label = draw(3, ignored=0.0)
    histogram = ScoreHistogram(K)
    for value in (torch.nan, torch.inf):
        broken = logits.clone()
        broken[2, 0, 7] = value
        with pytest.raises(DataError, match="NaN or infinite in 1 counted pixels"):
            histogram.update(broken, label)
    broken[:, 0, 7] = -torch.inf
    with pytest.raises(DataError, match="NaN or infinite in 1 counted pixels"):
        histogram.update(broken, label)
    wrong = label.clone()
    wrong[0, 3] = K
    with pytest.raises(DataError, match="label holds the value 5 in 1 pixels"):
        histogram.update(logits, wrong)
    for values, truth in ((logits[:3], label), (logits, label[:, 1:]), (logits[:, 0], label[0])):
        with pytest.raises(DataError, match="resize the logits"):
            histogram.update(values, truth)
    with pytest.raises(DataError, match="integer dtype"):
        histogram.update(logits, label.float())
    assert not histogram.counts.any()
    with pytest.raises(DataError, match="cannot merge"):
        histogram.merge(ScoreHistogram(K + 1))


def test_a_score_of_zero_and_of_one_have_bins_at_the_ends() -> None:
    logits = torch.tensor([[0.0, -torch.inf, 0.0], [-torch.inf, 0.0, 0.0]])
    others, mine, *_ = count_with_numba(logits, torch.zeros(3, dtype=torch.uint8), 2, 255)
    assert mine[0].nonzero()[0].tolist() == [0, CENTRE, BINS - 1]
    assert others[1].nonzero()[0].tolist() == [0, CENTRE, BINS - 1]


def test_batches_and_what_is_beyond_the_classes() -> None:
    logits, label = draw(5)
    batch = logits.reshape(K, 2, 1, -1).movedim(0, 1)
    histogram = ScoreHistogram(K)
    histogram.update(batch, label.reshape(2, 1, -1))
    np.testing.assert_array_equal(histogram.compute().roc_auc, curves(logits, label).roc_auc)
    label[label == K - 1] = 255
    fewer = ScoreHistogram(K - 1)
    fewer.update(logits, label)
    np.testing.assert_array_equal(fewer.compute().roc_auc, curves(logits, label).roc_auc[:-1])
    histogram.reset()
    assert not histogram.counts.any()


def test_counting_works_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, label = draw(6)
    expected = curves(logits, label)
    monkeypatch.setattr(score_bins, "numba_works", lambda: False)
    monkeypatch.setattr(score_bins, "PIXELS", 1000)  # in several pieces
    np.testing.assert_array_equal(curves(logits, label).average_precision, expected.average_precision)
    assert counting.numba_works()


def test_bins_ascend_with_the_score_and_are_narrow_in_its_logit() -> None:
    odds = np.linspace(-65, 65, 40_001)  # 2^-94 and up, in natural units
    logits = torch.tensor(np.stack([odds, np.zeros_like(odds)]), dtype=torch.float32)
    others, mine, *_ = count_with_torch(logits, torch.zeros(len(odds), dtype=torch.uint8), 2, None)
    cells = np.repeat(np.arange(BINS), mine[0])
    assert mine[0].sum() == len(odds)
    assert mine[0].max() <= 11  # 0.031 / 0.00325, and its ends
    assert mine[0][np.abs(np.arange(BINS) - CENTRE) < 15 * 256].max() <= 3  # 0.004 / 0.00325, and its ends
    np.testing.assert_array_equal(others[1], mine[0][::-1])  # what is left of 1 is counted like p
    single = [int(count_with_numba(logits[:, [i]], torch.zeros(1, dtype=torch.uint8), 2, None)[1][0].argmax()) for i in range(0, 40_001, 800)]
    np.testing.assert_array_equal(single, cells[::800])
