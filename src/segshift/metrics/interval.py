"""A figure with the interval that holds its true value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segshift.errors import DataError


@dataclass(frozen=True)
class Interval:
    """A figure and the interval that holds its true value with probability `level`.

    `low` and `high` are NaN where no interval exists: there are too few blocks (`statistics.LEAST_BLOCKS`), or the figure is NaN in every resample.
    `blocks` is what was resampled, or what a mean was taken over; `samples` are the figures behind it that were not NaN: resamples, blocks left out in turn,
    or the values of a mean.

    >>> print(Interval(0.41237, 0.38, 0.45, level=0.95, blocks=100, samples=1000))
    0.412 [0.380, 0.450]
    >>> f"{Interval(0.41237, float('nan'), float('nan'), level=0.95, blocks=1, samples=0):.1%}"
    '41.2% [no interval]'
    """

    value: float
    low: float
    high: float
    level: float
    blocks: int
    samples: int

    def __format__(self, spec: str) -> str:
        """The three numbers, each in the format `spec` (default .3f)."""
        spec = spec or ".3f"
        bounds = f"{self.low:{spec}}, {self.high:{spec}}" if self.exists else "no interval"
        return f"{self.value:{spec}} [{bounds}]"

    def __str__(self) -> str:
        return format(self)

    @property
    def exists(self) -> bool:
        """Whether there are bounds."""
        return not (np.isnan(self.low) or np.isnan(self.high))

    def excludes(self, value: float) -> bool:
        """Whether `value` (0 for a difference) lies outside; never where no interval exists: what is unknown is no finding."""
        return bool(self.low > value or self.high < value)


def check_level(level: float) -> None:
    """Raise DataError for a probability that is none."""
    if not 0 < level < 1:
        raise DataError(f"level={level}: it lies between 0 and 1, for instance 0.95")
