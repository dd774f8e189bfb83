from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from segshift.errors import DataError
from segshift.metrics import statistics
from segshift.metrics.confusion import accuracy, iou, miou
from segshift.metrics.significance import paired_p_value
from segshift.metrics.statistics import (
    FEW_BLOCKS,
    LEAST_BLOCKS,
    Interval,
    bootstrap_interval,
    confidence_interval,
    jackknife_interval,
    paired_bootstrap,
    paired_interval,
    paired_jackknife,
)


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def draw_study(images: int, generator: np.random.Generator, classes: int = 6) -> np.ndarray:
    """Images whose shares of the classes (from common to rare) and recalls vary: independent draws of one population."""
    shares = np.array([4, 2, 1, 0.5, 0.2, 0.1])[:classes]
    recall = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.5])[:classes]
    pixels = 1000 * generator.dirichlet(2 * shares, images)
    right = generator.beta(6 * recall, 6 * (1 - recall), (images, classes))
    wrong = np.where(np.eye(classes, dtype=bool), 0, shares)
    matrices: np.ndarray = (pixels * (1 - right))[..., None] * wrong / wrong.sum(1, keepdims=True)
    matrices[:, range(classes), range(classes)] = pixels * right
    return matrices


def images_of_accuracy(shares: np.ndarray) -> np.ndarray:
    """Two-class images of 1000 pixels each: the accuracy of all is the mean of their accuracies."""
    matrices = np.zeros((len(shares), 2, 2))
    matrices[:, 0, 0] = 1000 * shares
    matrices[:, 0, 1] = 1000 * (1 - shares)
    return matrices


def test_equals_scipy_for_the_mean_of_images() -> None:
    shares = seeded(1).beta(8, 3, 60)
    ours = bootstrap_interval(images_of_accuracy(shares), statistic=accuracy, samples=2000, generator=seeded(2))
    theirs = scipy.stats.bootstrap((shares,), np.mean, n_resamples=2000, method="percentile", rng=seeded(2))
    assert ours.value == pytest.approx(shares.mean(), rel=1e-12)
    # Both draw the same integers; what is left is rounding.
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), rel=1e-12)


def test_expanded_interval_of_a_mean_is_near_the_t_interval() -> None:
    shares = seeded(3).normal(0.5, 0.05, 12)
    study = images_of_accuracy(shares)
    interval = bootstrap_interval(study, statistic=accuracy, samples=20000, generator=seeded(4), expanded=True)
    half = scipy.stats.t.ppf(0.975, 11) * shares.std(ddof=1) / np.sqrt(12)
    # The bootstrap mean of 12 values is not quite normal, and its quantiles are known to 2 %: 6 % covers both.
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.06)
    narrow = bootstrap_interval(study, statistic=accuracy, samples=20000, generator=seeded(4))
    assert interval.low < narrow.low < narrow.high < interval.high


def test_equals_resampling_one_by_one() -> None:
    study = draw_study(9, seeded(5))
    drawn = seeded(6).integers(0, 9, size=(50, 9))
    values = [float(miou(study[rows].sum(0))) for rows in drawn]
    interval = bootstrap_interval(study, samples=50, generator=seeded(6))
    expected = (float(miou(study.sum(0))), *np.quantile(values, (0.025, 0.975)))
    assert (interval.value, interval.low, interval.high) == pytest.approx(expected, rel=1e-12)  # sums in another order


def test_memory_is_bounded_without_a_change_of_result(monkeypatch: pytest.MonkeyPatch) -> None:
    study = draw_study(9, seeded(7))
    whole = bootstrap_interval(study, samples=100, generator=seeded(8))
    monkeypatch.setattr(statistics, "CELLS_AT_A_TIME", 4 * (9 + 36))
    chunked = bootstrap_interval(study, samples=100, generator=seeded(8))
    assert (chunked.low, chunked.high) == pytest.approx((whole.low, whole.high), rel=1e-12)  # other shapes, other order of sums


@pytest.mark.parametrize("images", [3, 4, 5, 10, 29, 30, 100])
def test_coverage_in_synthetic_studies(images: int) -> None:
    """Of 400 studies: 1,000 gave 0.92 to 0.96, and three standard deviations of 400 are 0.037."""
    truth = float(miou(draw_study(200_000, seeded(9)).sum(0)))
    generator = seeded(10)
    held = 0
    for _ in range(400):
        interval = confidence_interval(draw_study(images, generator), samples=400, generator=generator)
        held += interval.low <= truth <= interval.high
    assert 0.89 <= held / 400 <= 0.985


@pytest.mark.parametrize("images", [3, 4, 10, 40])
def test_coverage_of_a_difference_that_is_zero(images: int) -> None:
    """Two models that share most of what makes an image hard, and are as good as one another; 1,000 studies gave 0.943 to 0.965."""
    generator = seeded(33)
    held = 0
    for _ in range(400):
        common, one, other = (draw_study(images, generator) for _ in range(3))
        held += not paired_interval(0.7 * common + 0.3 * one, 0.7 * common + 0.3 * other, samples=400, generator=generator).excludes(0.0)
    assert 0.91 <= held / 400 <= 0.99


def test_few_blocks_are_told_by_the_jackknife() -> None:
    for blocks in (FEW_BLOCKS - 1, FEW_BLOCKS):
        study, other = draw_study(blocks, seeded(34)), draw_study(blocks, seeded(35))
        drawn = bootstrap_interval(study, generator=seeded(36), expanded=True)
        assert confidence_interval(study, generator=seeded(36)) == (jackknife_interval(study) if blocks < FEW_BLOCKS else drawn)
        pair = paired_interval(study, other, generator=seeded(36))
        assert (pair == paired_bootstrap(study, other, generator=seeded(36), expanded=True)) == (blocks >= FEW_BLOCKS)


def test_an_interval_takes_blocks_enough_to_be_no_more_than_twice_as_long_as_with_a_known_spread() -> None:
    """The mean length over that with a known spread: in closed form, and of drawn accuracies."""
    known = 2 * scipy.stats.norm.ppf(0.975)
    lengths = {b: scipy.stats.t.ppf(0.975, b - 1) * scipy.stats.chi.mean(b - 1) / np.sqrt(b - 1) / scipy.stats.norm.ppf(0.975) for b in range(2, 6)}
    assert [round(float(length), 1) for length in lengths.values()] == [5.2, 1.9, 1.5, 1.3]  # as LEAST_BLOCKS says
    assert min(b for b, length in lengths.items() if length <= 2) == LEAST_BLOCKS
    drawn = [jackknife_interval(images_of_accuracy(seeded(seed).normal(0.5, 0.05, LEAST_BLOCKS)), statistic=accuracy) for seed in range(400)]
    mean = np.mean([interval.high - interval.low for interval in drawn]) * np.sqrt(LEAST_BLOCKS) / 0.05 / known
    assert mean == pytest.approx(lengths[LEAST_BLOCKS], rel=0.08)  # of 400 whose standard deviation is half of their mean: 3 of 0.026


def test_no_interval_rests_on_fewer_blocks() -> None:
    for blocks in (1, LEAST_BLOCKS - 1, LEAST_BLOCKS):
        a, b = draw_study(blocks, seeded(61)), draw_study(blocks, seeded(62))
        found = [
            *(confidence_interval(a, generator=seeded()), jackknife_interval(a), bootstrap_interval(a, generator=seeded())),
            *(paired_interval(a, b, generator=seeded()), paired_jackknife(a, b), paired_bootstrap(a, b, generator=seeded())),
        ]
        assert {interval.exists for interval in found} == {blocks == LEAST_BLOCKS}
        assert {interval.value for interval in found[:3]} == {found[0].value}  # the figure is there all the same
        assert np.isnan(paired_p_value(a, b)) == (blocks < LEAST_BLOCKS)


def test_the_jackknife_of_a_mean_is_the_t_interval() -> None:
    one, other = seeded(37).normal(0.5, 0.05, 7), seeded(38).normal(0.6, 0.05, 7)
    ours = jackknife_interval(images_of_accuracy(one), statistic=accuracy, level=0.9)
    theirs = scipy.stats.ttest_1samp(one, 0).confidence_interval(0.9)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), rel=1e-9)
    assert (ours.blocks, ours.samples) == (7, 7)
    pair = paired_interval(images_of_accuracy(one), images_of_accuracy(other), statistic=accuracy, generator=seeded())
    assert (pair.low, pair.high) == pytest.approx(tuple(scipy.stats.ttest_rel(one, other).confidence_interval(0.95)), rel=1e-9)


@pytest.mark.parametrize("blocks", [4, 40])
def test_a_class_of_one_block_does_not_change_what_the_mean_runs_over(blocks: int) -> None:
    """With and without a class that is found in one block only and never there: the mean of one class more, so smaller by its share."""
    study = np.zeros((blocks, 3, 3))
    study[:, :2, :2] = np.round(draw_study(blocks, seeded(39))[:, :2, :2])
    without = confidence_interval(study, generator=seeded(40))
    study[0, 2, 0] = 1e-9
    rare = confidence_interval(study, generator=seeded(40))
    assert (rare.low, rare.value, rare.high) == pytest.approx(tuple(2 / 3 * x for x in (without.low, without.value, without.high)), rel=1e-6)


def test_a_figure_that_hangs_on_one_block_has_no_jackknife() -> None:
    study = np.zeros((3, 2, 2))
    study[:, 0, 0] = 10
    study[0, 1] = [1, 3]
    interval = jackknife_interval(study, statistic=lambda matrices: iou(matrices)[..., 1])
    assert interval.value == 0.75
    assert not interval.exists
    assert interval.samples == 2


def test_matrices_with_a_column_for_no_class_are_resampled_too() -> None:
    study = draw_study(9, seeded(30))
    empty = np.concatenate([study, np.zeros((9, 6, 1))], axis=2)
    plain, wide = (bootstrap_interval(x, samples=50, generator=seeded(31)) for x in (study, empty))
    assert (wide.value, wide.low, wide.high) == pytest.approx((plain.value, plain.low, plain.high), rel=1e-12)  # sums in another order


def test_a_higher_level_is_wider() -> None:
    study = draw_study(30, seeded(11))
    inner, outer = (bootstrap_interval(study, level=level, generator=seeded(12)) for level in (0.8, 0.99))
    assert outer.low < inner.low < inner.value < inner.high < outer.high


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(12)))
def test_the_order_of_images_does_not_matter(order: list[int]) -> None:
    study = np.round(draw_study(12, seeded(13)))  # whole pixels: their sums are exact in any order
    for names in ([f"image {i:02d}" for i in range(12)], [f"video {i // 3}" for i in range(12)]):
        plain = bootstrap_interval(study, names, samples=50, generator=seeded(14))
        moved = bootstrap_interval(study[order], [names[i] for i in order], samples=50, generator=seeded(14))
        assert moved == plain


def test_copies_in_one_block_bring_no_certainty() -> None:
    study = np.round(draw_study(20, seeded(15)))
    frames = np.repeat(study, 5, axis=0)
    blocks = [f"{i // 5:03d}" for i in range(100)]
    by_block = bootstrap_interval(frames, blocks, generator=seeded(16))
    once = bootstrap_interval(study, generator=seeded(16))
    by_frame = bootstrap_interval(frames, generator=seeded(16))
    assert by_block.blocks == 20
    assert (by_block.value, by_block.low, by_block.high) == pytest.approx((once.value, once.low, once.high), rel=1e-12)
    # A fifth of the independent images: wider by sqrt(5) = 2.2, where 1.8 leaves room for 1000 resamples.
    assert by_block.high - by_block.low > 1.8 * (by_frame.high - by_frame.low)


@pytest.mark.parametrize("blocks", [["one"] * 4, None])
def test_one_block_has_no_interval(blocks: list[str] | None) -> None:
    study = draw_study(4 if blocks else 1, seeded(17))
    interval = bootstrap_interval(study, blocks, generator=seeded(18))
    assert interval.value == float(miou(study.sum(0)))
    assert np.isnan([interval.low, interval.high]).all()
    assert not interval.exists
    assert not interval.excludes(0.0)
    assert (interval.blocks, interval.samples) == (1, 0)
    assert str(interval) == f"{interval.value:.3f} [no interval]"
    difference = paired_bootstrap(study, study, blocks, generator=seeded(18))
    assert difference.value == 0
    assert not difference.exists
    assert not jackknife_interval(study, blocks).exists
    assert not paired_interval(study, study, blocks, generator=seeded(18)).exists


def test_resamples_without_a_class_are_left_out() -> None:
    study = np.zeros((3, 2, 2))
    study[:, 0, 0] = 10
    study[0, 1] = [1, 3]

    def rare(matrices: np.ndarray) -> Any:
        return iou(matrices)[..., 1]

    interval = bootstrap_interval(study, statistic=rare, samples=3000, generator=seeded(19))
    assert interval.value == interval.low == interval.high == 0.75
    # (2/3)^3 of the resamples miss image 0; three standard deviations of the share are 0.025.
    assert interval.samples / 3000 == pytest.approx(1 - 8 / 27, abs=0.025)
    assert not np.isnan(bootstrap_interval(study, samples=100, generator=seeded(19)).low)
    never = bootstrap_interval(study[1:], statistic=rare, generator=seeded(19))
    assert np.isnan(never.value)
    assert not never.exists
    assert never.samples == 0


def test_a_paired_difference_uses_the_same_draws_for_both() -> None:
    a, b = draw_study(15, seeded(20)), draw_study(15, seeded(21))
    drawn = seeded(22).integers(0, 15, size=(60, 15))
    values = [float(miou(a[rows].sum(0)) - miou(b[rows].sum(0))) for rows in drawn]
    interval = paired_bootstrap(a, b, samples=60, generator=seeded(22))
    expected = (float(miou(a.sum(0)) - miou(b.sum(0))), *np.quantile(values, (0.025, 0.975)))
    assert (interval.value, interval.low, interval.high) == pytest.approx(expected, abs=1e-12)  # sums in another order
    mirrored = paired_bootstrap(b, a, samples=60, generator=seeded(22))
    assert (mirrored.low, mirrored.high) == pytest.approx((-interval.high, -interval.low), abs=1e-12)
    same = paired_bootstrap(a, a, samples=60, generator=seeded(22))
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert not same.excludes(0.0)


def test_pairing_finds_what_separate_intervals_hide() -> None:
    shares = seeded(23).beta(4, 2, 40)
    better = images_of_accuracy(np.clip(shares + 0.02 + seeded(24).normal(0, 0.02, 40), 0, 1))
    plain = images_of_accuracy(shares)
    one, other = (bootstrap_interval(x, statistic=accuracy, generator=seeded(25)) for x in (better, plain))
    assert one.low < other.high, "the images' own spread makes the intervals overlap"
    gain = paired_bootstrap(better, plain, statistic=accuracy, generator=seeded(25))
    assert gain.excludes(0.0)
    assert gain.low > 0


def draw_runs(images: int, seeds: int, generator: np.random.Generator) -> np.ndarray:
    """Several trainings, which share most of what makes an image hard, on the same images."""
    common = draw_study(images, generator)
    return np.stack([0.7 * common + 0.3 * draw_study(images, generator) for _ in range(seeds)], axis=1)


def mean_miou(runs: np.ndarray) -> float:
    """One by one, from matrices (images, seeds, K, K)."""
    return float(np.mean([miou(runs[:, seed].sum(0)) for seed in range(runs.shape[1])]))


def test_seeds_are_averaged_on_the_same_draws() -> None:
    a, b = draw_runs(9, 4, seeded(41)), draw_runs(9, 2, seeded(42))
    drawn = seeded(43).integers(0, 9, size=(60, 9))
    own = bootstrap_interval(a, samples=60, generator=seeded(43))
    values = [mean_miou(a[rows]) for rows in drawn]
    expected = (mean_miou(a), *np.quantile(values, (0.025, 0.975)))
    assert (own.value, own.low, own.high) == pytest.approx(expected, rel=1e-12)  # sums in another order
    pair = paired_bootstrap(a, b, samples=60, generator=seeded(43))
    values = [mean_miou(a[rows]) - mean_miou(b[rows]) for rows in drawn]
    expected = (mean_miou(a) - mean_miou(b), *np.quantile(values, (0.025, 0.975)))
    assert (pair.value, pair.low, pair.high) == pytest.approx(expected, abs=1e-12)
    assert (pair.blocks, pair.samples) == (9, 60)


def test_the_jackknife_leaves_a_block_out_for_all_seeds() -> None:
    a, b = draw_runs(12, 3, seeded(44)), draw_runs(12, 2, seeded(45))
    names = [f"video {i // 3}" for i in range(12)]
    for interval, figure in (
        (jackknife_interval(a, names), lambda rows: mean_miou(a[rows])),
        (paired_jackknife(a, b, names), lambda rows: mean_miou(a[rows]) - mean_miou(b[rows])),
    ):
        left_out = [figure(np.arange(12) // 3 != block) for block in range(4)]
        half = scipy.stats.t.ppf(0.975, 3) * np.sqrt(3 * np.var(left_out))
        value = figure(np.ones(12, bool))
        assert (interval.value, interval.low, interval.high) == pytest.approx((value, value - half, value + half), rel=1e-9)
        assert (interval.blocks, interval.samples) == (4, 4)


@pytest.mark.parametrize("images", [FEW_BLOCKS - 1, FEW_BLOCKS])
def test_seeds_are_chosen_between_like_one_run(images: int) -> None:
    a, b = draw_runs(images, 3, seeded(46)), draw_study(images, seeded(47))
    few = images < FEW_BLOCKS
    assert confidence_interval(a, generator=seeded(48)) == (jackknife_interval(a) if few else bootstrap_interval(a, generator=seeded(48), expanded=True))
    pair = paired_interval(a, b, generator=seeded(48))
    assert pair == (paired_jackknife(a, b) if few else paired_bootstrap(a, b, generator=seeded(48), expanded=True))


@pytest.mark.parametrize("images", [9, 40])
def test_one_seed_is_no_seed(images: int) -> None:
    """Bit for bit; and a training that is given several times is still one, but for rounding."""
    a, b = draw_study(images, seeded(49)), draw_study(images, seeded(50))
    plain = paired_interval(a, b, generator=seeded(51))
    assert paired_interval(a[:, None], b, generator=seeded(51)) == plain == paired_interval(a, b[:, None], generator=seeded(51))
    assert confidence_interval(a[:, None], generator=seeded(51)) == confidence_interval(a, generator=seeded(51))
    copies = paired_interval(np.stack([a] * 3, axis=1), b, generator=seeded(51))
    assert (copies.value, copies.low, copies.high) == pytest.approx((plain.value, plain.low, plain.high), rel=1e-9)


@pytest.mark.parametrize("images", [9, 40])
def test_the_order_of_seeds_makes_no_difference(images: int) -> None:
    a = draw_runs(images, 7, seeded(52))
    for other in (a[:, ::-1], a[:, [3, 1, 4, 0, 6, 2, 5]], np.concatenate([a, a], axis=1)):
        same = paired_interval(a, other, generator=seeded(53))
        assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_figure_that_one_seed_lacks_is_unknown() -> None:
    runs = np.stack([np.array([[[8, 2], [1, 9]], [[5, 5], [0, 10]]]), np.array([[[8, 0], [0, 0]], [[5, 0], [0, 0]]])], axis=1)
    interval = jackknife_interval(runs, statistic=lambda matrices: iou(matrices)[..., 1])
    assert np.isnan(interval.value)
    assert not interval.exists


def test_memory_is_bounded_with_seeds_too(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = draw_runs(50, 4, seeded(54)), draw_runs(50, 2, seeded(55))
    sizes = []

    def watched(matrices: np.ndarray) -> Any:
        sizes.append(matrices.size)
        return miou(matrices)

    wholes = paired_bootstrap(a, b, samples=100, generator=seeded(56)), paired_jackknife(a, b)
    monkeypatch.setattr(statistics, "CELLS_AT_A_TIME", 1000)
    chunked = paired_bootstrap(a, b, statistic=watched, samples=100, generator=seeded(56)), paired_jackknife(a, b, statistic=watched)
    assert max(sizes) <= 1000
    for part, whole in zip(chunked, wholes, strict=True):
        assert (part.low, part.high) == pytest.approx((whole.low, whole.high), rel=1e-9)  # other shapes, other order of sums


def test_studies_that_do_not_fit_are_refused() -> None:
    a = draw_study(5, seeded(26))
    names = [f"{i}.png" for i in range(5)]
    with pytest.raises(DataError, match="paired comparison of 5 and 4 images"):
        paired_bootstrap(a, a[:4], generator=seeded())
    with pytest.raises(DataError, match="with 6 and 5 classes"):
        paired_bootstrap(a, a[:, :5, :5], generator=seeded())
    with pytest.raises(DataError, match=r"image 3 is '3.png' in one evaluation and '4.png' in the other"):
        paired_bootstrap(a, a, names=(names, [*names[:3], names[4], names[3]]), generator=seeded())
    with pytest.raises(DataError, match="5 images but 5 and 4 names"):
        paired_bootstrap(a, a, names=(names, names[:4]), generator=seeded())
    with pytest.raises(DataError, match="5 images but 4 block names"):
        bootstrap_interval(a, names[:4], generator=seeded())
    with pytest.raises(DataError, match="no images"):
        bootstrap_interval(a[:0], generator=seeded())
    with pytest.raises(DataError, match="level=95"):
        bootstrap_interval(a, level=95.0, generator=seeded())
    with pytest.raises(DataError, match="samples=0"):
        bootstrap_interval(a, samples=0, generator=seeded())
    with pytest.raises(DataError, match=r"shape \(5, 0, 6, 6\): no seeds"):
        paired_interval(a, np.empty((5, 0, 6, 6)), generator=seeded())
    with pytest.raises(DataError, match=r"they are \(images, K, C\), or \(images, seeds, K, C\)"):
        jackknife_interval(a[:, None, None])


def test_an_interval_prints_in_any_format() -> None:
    interval = Interval(0.25, 0.125, 0.375, level=0.95, blocks=10, samples=1000)
    assert str(interval) == "0.250 [0.125, 0.375]"
    assert f"{interval:+.1%}" == "+25.0% [+12.5%, +37.5%]"
    assert interval.excludes(0.0)
    assert interval.excludes(0.4)
    assert not interval.excludes(0.375)
