from __future__ import annotations

from itertools import combinations
from math import isnan, nan

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from segshift.errors import DataError
from segshift.metrics import (
    accuracy,
    friedman_p_value,
    holm,
    iou,
    mean_accuracy,
    mean_interval,
    mean_ranks,
    miou,
    paired_interval,
    paired_jackknife,
    paired_p_value,
    seed_p_value,
)

SHARES = np.array([4, 2, 1, 0.5])
"""Of the classes among the pixels, up to a factor."""
RECALL = np.array([0.6, 0.55, 0.5, 0.45])
"""Of the classes, on average over all images and seeds."""
GAIN = 0.03
"""Of the first method's recall over the second's."""


def seeded(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def fill(pixels: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Matrices of these pixels a class; what is missed goes to the other classes by their shares. Linear in pixels * recall."""
    wrong = np.where(np.eye(4, dtype=bool), 0, SHARES)
    matrices: np.ndarray = (pixels * (1 - recall))[..., None] * wrong / wrong.sum(1, keepdims=True)
    matrices[..., range(4), range(4)] = pixels * recall
    return matrices


def draw_runs(blocks: int, seeds: int, generator: np.random.Generator) -> list[tuple[np.ndarray, float, float]]:
    """Matrices (blocks, seeds, 4, 4) of two methods on the same blocks, each with two truths.

    Recall = mean of the method + effect of the block + of the block on this method + of the seed + of block and seed; all have mean 0 and do not
    depend on the pixels. The first truth is the mean accuracy on these blocks over all seeds: it is linear in recall, so the seed's effects drop
    out. The second is the mean over these seeds of the mIoU on all blocks: it is that of the mean matrix, in which the block's effects drop out.
    """
    pixels = 1000 * generator.dirichlet(2 * SHARES, blocks)[:, None]
    common = generator.uniform(-0.2, 0.2, (blocks, 1, 4))
    runs = []
    for gain in (GAIN, 0.0):
        of_blocks = RECALL + gain + common + generator.uniform(-0.05, 0.05, (blocks, 1, 4))
        of_seeds = generator.normal(0, 0.04, (1, seeds, 4))
        matrices = fill(pixels, of_blocks + of_seeds + generator.uniform(-0.05, 0.05, (blocks, seeds, 4)))
        on_these_blocks = float(mean_accuracy(fill(pixels, of_blocks)[:, 0].sum(0)))
        of_these_seeds = float(miou(fill(SHARES, RECALL + gain + of_seeds[0])).mean())
        runs.append((matrices, on_these_blocks, of_these_seeds))
    return runs


def simulate(blocks: int, studies: int, generator: np.random.Generator) -> np.ndarray:
    """Share of the studies in which an interval of 95 % held: over seeds its own truth and the wider one, over blocks likewise."""
    on_all_blocks = float((RECALL + GAIN).mean())
    of_many_seeds = RECALL + generator.normal(0, 0.04, (100_000, 4))
    of_all_seeds = float((miou(fill(SHARES, of_many_seeds + GAIN)) - miou(fill(SHARES, of_many_seeds))).mean())
    held = np.zeros(4)
    for _ in range(studies):
        (a, on_these_blocks, of_a), (b, _, of_b) = draw_runs(blocks, 5, generator)
        over_seeds = mean_interval(np.asarray(mean_accuracy(a.sum(0))))
        over_blocks = paired_interval(a, b, samples=400, generator=generator)
        held += [not interval.excludes(truth) for interval, truth in ((over_seeds, on_these_blocks), (over_seeds, on_all_blocks))] + [
            not over_blocks.excludes(truth) for truth in (of_a - of_b, of_all_seeds)
        ]
    return held / studies


@pytest.mark.parametrize("blocks", [20, 40])  # by the jackknife, by the bootstrap
def test_coverage_over_seeds_and_over_blocks(blocks: int) -> None:
    """1,000 studies gave 0.951, 0.767, 0.948, 0.589 with 20 blocks and 0.961, 0.856, 0.950, 0.460 with 40; three standard deviations of 400 are 0.033.

    The second and fourth are what the intervals do not cover: other images for the one, other seeds for the other.
    """
    over_seeds, on_other_images, over_blocks, with_other_seeds = simulate(blocks, 400, seeded(blocks))
    assert 0.917 <= over_seeds <= 0.983
    assert 0.917 <= over_blocks <= 0.983
    assert on_other_images < 0.917
    assert with_other_seeds < 0.7


def test_mean_interval_equals_scipy() -> None:
    values = seeded(1).normal(0.5, 0.02, 5)
    ours = mean_interval(values, level=0.9)
    theirs = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (ours.value, ours.low, ours.high) == pytest.approx((values.mean(), theirs.low, theirs.high), rel=1e-12)
    assert (ours.level, ours.blocks, ours.samples) == (0.9, 5, 5)
    assert mean_interval(list(map(float, values)), level=0.9) == ours


def test_a_mean_of_one_value_or_with_nan_has_no_interval() -> None:
    one = mean_interval([0.5])
    assert (one.value, one.exists, one.blocks, one.samples) == (0.5, False, 1, 0)
    unknown = mean_interval([0.5, 0.6, nan])
    assert isnan(unknown.value)
    assert not unknown.exists
    same = mean_interval([0.5, 0.5])
    assert (same.low, same.high) == (0.5, 0.5)
    with pytest.raises(DataError, match="mean of no values"):
        mean_interval([])
    with pytest.raises(DataError, match="level=95"):
        mean_interval([0.5, 0.6], level=95.0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 8))
def test_seed_p_value_equals_scipy_and_agrees_with_the_interval(seed: int, count: int) -> None:
    differences = seeded(seed).normal(0.02, 0.02, count)
    p = seed_p_value(differences)
    assert p == pytest.approx(scipy.stats.ttest_1samp(differences, 0).pvalue, rel=1e-9)
    assert p == pytest.approx(seed_p_value(-differences), rel=1e-12)
    assert (p < 0.05) == mean_interval(differences).excludes(0.0)


def test_seed_p_value_at_its_limits() -> None:
    assert isnan(seed_p_value([]))
    assert isnan(seed_p_value([0.1]))
    assert isnan(seed_p_value([0.1, 0.2, nan]))
    assert seed_p_value([0.0, 0.0, 0.0]) == 1  # 0 / 0 in the formula
    assert seed_p_value([-0.25, 0.25]) == 1
    assert seed_p_value([0.25, 0.25]) == 0


@pytest.mark.parametrize("blocks", [3, 5, 20, 40])
def test_paired_p_value_agrees_with_the_jackknife_interval(blocks: int) -> None:
    generator = seeded(blocks)
    found = 0
    for _ in range(40):
        (a, *_), (b, *_) = draw_runs(blocks, 2, generator)
        p = paired_p_value(a, b)
        assert p == pytest.approx(paired_p_value(b, a), rel=1e-9)  # se is the same up to rounding
        for level in (0.5, 0.95):
            assert (p < 1 - level) == paired_jackknife(a, b, level=level).excludes(0.0)
        found += p < 0.5
    assert found > 0  # else nothing was compared


def two_class_images(accuracies: np.ndarray) -> np.ndarray:
    """Matrices (..., 2, 2) of 1000 pixels each: the accuracy of all is the mean of their accuracies."""
    matrices = np.zeros((*accuracies.shape, 2, 2))
    matrices[..., 0, 0] = 1000 * accuracies
    matrices[..., 0, 1] = 1000 * (1 - accuracies)
    return matrices


def test_paired_p_value_of_a_mean_is_the_paired_t_test() -> None:
    one, other = seeded(2).normal(0.5, 0.05, (7, 3)), seeded(3).normal(0.55, 0.05, (7, 2))
    ours = paired_p_value(two_class_images(one), two_class_images(other), statistic=accuracy)
    assert ours == pytest.approx(scipy.stats.ttest_rel(one.mean(1), other.mean(1)).pvalue, rel=1e-6)
    # 14 images in blocks of two: the pairs' means are what varies.
    frames, blocks = np.repeat(one[:, 0], 2), [f"{i // 2}" for i in range(14)]
    by_block = paired_p_value(two_class_images(frames), two_class_images(np.repeat(other[:, 0], 2)), blocks, accuracy)
    assert by_block == pytest.approx(scipy.stats.ttest_rel(one[:, 0], other[:, 0]).pvalue, rel=1e-6)


def test_paired_p_value_at_its_limits() -> None:
    (a, *_), (b, *_) = draw_runs(4, 3, seeded(4))
    names = [f"{i}.png" for i in range(4)]
    assert isnan(paired_p_value(a[:1], b[:1]))
    assert isnan(paired_p_value(a, b, ["one"] * 4))
    rare = np.zeros((3, 2, 2))
    rare[:, 0, 0] = 10
    rare[0, 1] = [1, 3]
    assert isnan(paired_p_value(rare, rare[:, ::-1], statistic=lambda matrices: iou(matrices)[..., 1]))  # only image 0 shows class 1
    assert paired_p_value(a, a) == 1
    # The same seeds in another order, and one seed many times: sums that differ by rounding are no finding.
    assert paired_p_value(a, a[:, [2, 0, 1]]) == 1
    assert paired_p_value(a[:, :1].repeat(7, axis=1), a[:, 0]) == 1
    with pytest.raises(DataError, match=r"image 0 is '0.png' in one evaluation and '3.png'"):
        paired_p_value(a, b, names=(names, names[::-1]))


def adjust_by_closed_testing(p_values: list[float]) -> list[float]:
    """Holm's adjusted p-values from what they mean: the largest Bonferroni p of all sets of hypotheses that hold this one."""
    places = range(len(p_values))
    sets = [chosen for size in range(1, len(p_values) + 1) for chosen in combinations(places, size)]
    return [max(min(1.0, len(chosen) * min(p_values[j] for j in chosen)) for chosen in sets if i in chosen) for i in places]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.01, 0.02, 1.0])), max_size=6), st.integers(0, 6))
def test_holm_equals_closed_testing(p_values: list[float], place: int) -> None:
    expected = adjust_by_closed_testing(p_values)
    assert holm(p_values).tolist() == pytest.approx(expected, rel=1e-12)
    place = min(place, len(p_values))
    with_unknown = holm([*p_values[:place], nan, *p_values[place:]])
    assert isnan(with_unknown[place])
    assert np.delete(with_unknown, place).tolist() == pytest.approx(expected, rel=1e-12)


def test_holm_on_an_example_by_hand() -> None:
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, then 0.04 is raised to what came before it.
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(holm([nan, nan])).all()
    with pytest.raises(DataError, match="between 0 and 1"):
        holm([0.2, 1.2])
    with pytest.raises(DataError, match=r"shape \(1, 2\)"):
        holm(np.array([[0.2, 0.1]]))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(3, 6))
def test_ranks_and_friedman_equal_scipy(seed: int, cases: int, methods: int) -> None:
    table = seeded(seed).normal(np.linspace(0, 1, methods), 1, (cases, methods)).round(1)  # rounded: some are equal
    assert mean_ranks(table).tolist() == pytest.approx(scipy.stats.rankdata(-table, axis=1).mean(0).tolist(), rel=1e-12)
    assert friedman_p_value(table) == pytest.approx(scipy.stats.friedmanchisquare(*table.T).pvalue, rel=1e-9)


def test_figures_that_are_missing_are_left_out_of_the_ranks() -> None:
    table = seeded(5).normal(0, 1, (6, 4))
    holed = np.insert(np.insert(table, 2, nan, axis=1), 3, nan, axis=0)  # a method and a case without any figure
    holed = np.insert(holed, 0, [0.1, 0.2, nan, nan, 0.4], axis=0)  # and a case in which one more method is missing
    ranks = mean_ranks(holed)
    assert isnan(ranks[2])
    assert np.delete(ranks, 2).tolist() == pytest.approx(mean_ranks(table).tolist(), rel=1e-12)
    assert friedman_p_value(holed) == pytest.approx(friedman_p_value(table), rel=1e-12)
    for nothing in (np.full((3, 4), nan), np.empty((0, 4))):
        assert np.isnan(mean_ranks(nothing)).all()
        assert len(mean_ranks(nothing)) == 4
        assert isnan(friedman_p_value(nothing))


def test_friedman_at_its_limits() -> None:
    assert isnan(friedman_p_value(seeded(6).normal(0, 1, (9, 2))))
    assert isnan(friedman_p_value(seeded(6).normal(0, 1, (1, 4))))
    assert friedman_p_value(np.full((5, 3), 0.5)) == 1  # 0 / 0 in the formula
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        friedman_p_value(np.array([0.1, 0.2, 0.3]))
