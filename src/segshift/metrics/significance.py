"""Whether a difference could be chance: over seeds, over blocks of images, over many comparisons, over many cases.

S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
M. Friedman, The use of ranks to avoid the assumption of normality implicit in the analysis of variance, JASA 32, 1937.
J. Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006 (mean ranks, Friedman's test).
W. J. Conover, Practical Nonparametric Statistics, 3rd edition, 1999 (Friedman's statistic with ties).

Two things vary, and each interval covers one of them. Student's t over seeds (`mean_interval`, `seed_p_value`) says what other seeds would give
on these very test images. Blocks (`statistics.paired_interval`, `paired_p_value`) say what other images would give with these very trained models.
Neither covers the other, nor both at once: that a gain passes both is the least to ask where it is to hold for new seeds and new images.

Of 1,000 synthetic studies each (`draw_runs` in the tests: 2 methods, 5 seeds), an interval of 95 % held so many per cent:

                                                                     20 blocks   40 blocks
    t over seeds, of the mean of all seeds on the study's images          95          96
    the same, taken for the mean of all seeds on all images               77          86
    paired over blocks, of the study's models' gain on all images         95          95
    the same, taken for the gain of all seeds on all images               59          46
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Num

from segshift.errors import DataError
from segshift.metrics.confusion import miou
from segshift.metrics.interval import Interval, check_level
from segshift.metrics.statistics import ImageMatrices, OtherMatrices, Statistic, paired_jackknife

Values = Sequence[float] | Num[np.ndarray, "..."]  # (n,): another shape is for DataError to say
Table = Num[np.ndarray, "..."]  # (cases, methods), likewise


def mean_interval(values: Values, level: float = 0.95) -> Interval:
    """Interval mean +- t se of what `values`, one a seed, are on average; their number is the interval's `blocks`.

    It covers the chance of training (order of images, augmentation, initial weights), not that of the test images, which all seeds share.
    One value has no interval; a NaN leaves neither mean nor interval.

    >>> print(mean_interval([0.51, 0.54, 0.52]))
    0.523 [0.485, 0.561]
    """
    check_level(level)
    mean, error, count = _mean_and_error(values)
    if not count:
        raise DataError("a mean of no values: give at least one, and two for an interval")
    if np.isnan(error):
        return Interval(mean, float("nan"), float("nan"), level, count, 0)
    from scipy.special import stdtrit

    half = float(stdtrit(count - 1, (1 + level) / 2)) * error
    return Interval(mean, mean - half, mean + half, level, count, count)


def seed_p_value(differences: Values) -> float:
    """Two-sided p of "no difference on average" by Student's t over seeds: of a paired test, where `differences` are those of pairs.

    Below 0.05 where the `mean_interval` of 95 % excludes 0. NaN for fewer than 2 differences; 1 where all are 0.

    >>> round(seed_p_value([0.02, 0.03, 0.01]), 3)
    0.074
    """
    mean, error, count = _mean_and_error(differences)
    return _two_sided(mean, error, count - 1)


def paired_p_value(
    a: ImageMatrices,
    b: OtherMatrices,
    blocks: Sequence[str] | None = None,
    statistic: Statistic = miou,
    names: tuple[Sequence[str], Sequence[str]] | None = None,
) -> float:
    """Two-sided p of "no difference on all images" between two models: the jackknife's t = difference / se with B - 1 degrees of freedom.

    The arguments are those of `paired_jackknife`, several seeds among them; p is below 0.05 where its interval of 95 % excludes 0.
    NaN where there is no interval (too few blocks, a figure that hangs on one block); 1 where the two are equal in every block.

    >>> plain = np.array([[[8, 2], [1, 9]], [[5, 5], [0, 10]], [[9, 1], [2, 8]]])
    >>> better = np.array([[[9, 1], [1, 9]], [[6, 4], [0, 10]], [[9, 1], [1, 9]]])
    >>> round(paired_p_value(better, plain), 4), paired_p_value(plain, plain)
    (0.0023, 1.0)
    """
    interval = paired_jackknife(a, b, blocks, statistic, names=names)
    if not interval.exists:
        return float("nan")
    from scipy.special import stdtrit

    freedom = interval.blocks - 1
    error = (interval.high - interval.low) / 2 / float(stdtrit(freedom, (1 + interval.level) / 2))
    return _two_sided(interval.value, error, freedom)


def holm(p_values: Values) -> Float64[np.ndarray, " n"]:
    """p-values of m comparisons, adjusted so that the chance of a single false finding among all those below 0.05 is at most 0.05.

    In ascending order p_1 ... p_m: adjusted p_i = min(1, max_{j <= i} (m - j + 1) p_j). It holds however the comparisons depend on one another.
    NaN (a comparison that could not be made) stays NaN and does not count in m.

    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    given = _vector(p_values)
    made = np.flatnonzero(~np.isnan(given))
    if np.any((given[made] < 0) | (given[made] > 1)):
        raise DataError(f"p-values {given.tolist()}: each lies between 0 and 1, or is NaN")
    order = made[np.argsort(given[made], kind="stable")]
    adjusted = np.full(len(given), np.nan)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(given[order] * np.arange(len(order), 0, -1)))
    return adjusted


def mean_ranks(table: Table) -> Float64[np.ndarray, " methods"]:
    """Mean rank of each method over the cases (data sets, domains) of a table (cases, methods) of figures; higher is better.

    The best method of a case has rank 1, equal ones share the mean of theirs. A method without any figure has NaN; a case in which one of the
    others has none is left out, as ranks among fewer would not compare. All NaN where no case is left.

    >>> mean_ranks(np.array([[0.5, 0.6, 0.4], [0.7, 0.7, 0.2], [0.9, float("nan"), 0.1]])).tolist()
    [1.75, 1.25, 3.0]
    """
    known, figures = _complete(table)
    ranks = np.full(len(known), np.nan)
    if len(figures):
        ranks[known] = _ranks(figures).mean(0)
    return ranks


def friedman_p_value(table: Table) -> float:
    """p of "all methods rank alike in every case" by Friedman's test; NaN figures are left out as in `mean_ranks`.

    With r_ij the rank of method j in case i, of n cases and k methods, and s_ij = r_ij - (k + 1) / 2:
    Q = (k - 1) sum_j (sum_i s_ij)^2 / sum_ij s_ij^2, chi-squared with k - 1 degrees of freedom. That is an approximation for n > 10 and k > 5
    (Demsar, section 3.2.2). Cases are taken to be independent: seeds on one data set are not cases.
    NaN for fewer than 3 methods or 2 cases; 1 where all methods are equal in every case.

    >>> round(friedman_p_value(np.array([[0.5, 0.6, 0.4], [0.7, 0.8, 0.2], [0.8, 0.9, 0.1]])), 3)
    0.05
    """
    _, figures = _complete(table)
    cases, methods = figures.shape
    if cases < 2 or methods < 3:
        return float("nan")
    spread = _ranks(figures) - (methods + 1) / 2
    total = np.square(spread).sum()
    if total == 0:
        return 1.0
    from scipy.special import chdtrc

    return float(chdtrc(methods - 1, (methods - 1) * np.square(spread.sum(0)).sum() / total))


def _vector(values: Values) -> Float64[np.ndarray, " n"]:
    array = np.asarray(values, np.float64)
    if array.ndim != 1:
        raise DataError(f"values of shape {array.shape}: one row of numbers is needed")
    return array


def _mean_and_error(values: Values) -> tuple[float, float, int]:
    """Mean, its standard error (NaN of one value) and the number of values."""
    array = _vector(values)
    count = len(array)
    if not count:
        return float("nan"), float("nan"), 0
    error = float(array.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    return float(array.mean()), error, count


def _two_sided(value: float, error: float, freedom: int) -> float:
    """p of |t| or more, t = value / error; a value of 0 is no difference, and any other without error is no chance."""
    if np.isnan(value) or np.isnan(error):
        return float("nan")
    if value == 0 or error == 0:
        return float(value == 0)
    from scipy.special import stdtr

    return 2 * float(stdtr(freedom, -abs(value / error)))


def _complete(table: Table) -> tuple[np.ndarray, Float64[np.ndarray, "kept known"]]:
    """Which methods have a figure at all, and the figures of these in the cases where all of them have one."""
    if table.ndim != 2:
        raise DataError(f"a table of shape {table.shape}: it is (cases, methods)")
    figures = np.asarray(table, np.float64)
    known: np.ndarray = ~np.all(np.isnan(figures), axis=0)
    figures = figures[:, known]
    return known, figures[~np.isnan(figures).any(1)]


def _ranks(figures: Float64[np.ndarray, "cases methods"]) -> Float64[np.ndarray, "cases methods"]:
    """Rank of each figure in its row: one more than those above it, and half of its equals."""
    mine, others = figures[:, :, None], figures[:, None, :]
    ranks: np.ndarray = 1 + (others > mine).sum(-1) + ((others == mine).sum(-1) - 1) / 2
    return ranks
