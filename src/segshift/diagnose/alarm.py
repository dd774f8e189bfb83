"""When is a distance an alarm? A small set of images is never quite the source: see how far small sets of the source lie from it.

The alarm lies above (1 - false alarms) of the distances D of `drift.py` between as many source images and the others. Frames of a video resemble one another,
so of a video those sets are stretches of it, never frames at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from segshift.diagnose.drift import InputMoments, over_layers
from segshift.errors import DataError, RecipeError

DRAWS = 1000
"""Sets of source images that an alarm is calibrated on, at most."""
FEWEST = 8
"""Source images below which there is no alarm."""
STRETCHES = 20
"""Stretches of a video side by side below which sets are shorter ones."""


@final
@dataclass(frozen=True)
class CleanSets:
    """Distances D between sets of `size` source images and the others. `stretches` counts the sets side by side that the
    source's videos have room for, on which the distances rest; None where images are independent."""

    size: int
    distances: Float[Tensor, " draws"]
    stretches: int | None

    @property
    def typical(self) -> float:
        """The median: how far a set lies from the source for being small, without any shift."""
        return float(self.distances.median())

    def above(self, false_alarms: float) -> float:
        """The distance that this share of clean sets exceeds.

        Few stretches have no 99th percentile: it is at least the prediction bound of one more, mean + t s sqrt(1 + 1 / stretches) of log D, t of Student
        with stretches - 1 degrees of freedom.
        """
        require_rate(false_alarms)
        empirical = float(self.distances.quantile(1 - false_alarms))
        if self.stretches is None:
            return empirical
        from scipy.special import stdtrit  # heavy

        logs = self.distances.clamp_min(torch.finfo(torch.float32).tiny).double().log()
        far = float(stdtrit(self.stretches - 1, 1 - false_alarms)) * (1 + 1 / self.stretches) ** 0.5
        return max(empirical, float((logs.mean() + far * logs.std()).exp()))


def clean_sets(source: InputMoments, images: int, generator: torch.Generator | None = None) -> CleanSets:
    """How far so many images of the source lie from the others. DataError below 8 images, which tell too little of their spread.

    Of independent images sets are drawn at random; where there are fewer than twice as many, a set is drawn with repetition, and as many as there are to
    measure it against. Of videos every stretch of neighbouring frames is a set, measured against all but itself and the block on either side of
    it; where they have no room for STRETCHES such stretches side by side, of shorter ones, which vary more.
    """
    count = len(source)
    if count < FEWEST:
        raise DataError(f"the alarm is calibrated on the source's validation images and there are {count}: at least {FEWEST}, better 50 (--source DOMAIN)")
    runs = runs_of(source.blocks)
    if not runs:
        inside, outside = _draw_independent(count, images, generator or torch.Generator().manual_seed(0))
        return CleanSets(images, _distances(source, inside, outside), None)
    size = max(size for size in range(1, images + 1) if size == 1 or room(runs, size) >= STRETCHES)
    inside, outside = _draw_stretches(runs, size, max(source.blocks.count(block) for block in set(source.blocks)))
    return CleanSets(size, _distances(source, inside, outside), room(runs, size))


def calibrate_alarm(source: InputMoments, images: int, false_alarms: float = 0.01, generator: torch.Generator | None = None) -> float:
    """The distance above which so many images have left the source, at this share of false alarms; see `clean_sets`."""
    require_rate(false_alarms)
    return clean_sets(source, images, generator).above(false_alarms)


def require_rate(false_alarms: float) -> None:
    """RecipeError for a share of false alarms outside (0, 1)."""
    if not 0 < false_alarms < 1:
        raise RecipeError(f"false_alarms is {false_alarms}: a share of clean sets between 0 and 1, for example 0.01")


def runs_of(blocks: Sequence[str]) -> list[range]:
    """The stretch of images that each video has in a row; none where every image has a block of its own, and so is independent.

    >>> runs_of(["a/0", "a/0", "a/1", "b/0"])
    [range(0, 3), range(3, 4)]
    >>> runs_of(["town/x", "town/y"])
    []
    """
    if len(set(blocks)) == len(blocks):
        return []
    sequences = [block.rpartition("/")[0] for block in blocks]
    starts = [i for i, sequence in enumerate(sequences) if i == 0 or sequence != sequences[i - 1]]
    return [range(start, stop) for start, stop in zip(starts, [*starts[1:], len(blocks)], strict=True)]


def room(runs: Sequence[range], size: int) -> int:
    """How many stretches of so many images lie side by side in the videos."""
    return sum(len(run) // size for run in runs)


def _draw_independent(count: int, images: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """How often each image is in a set and in what it is measured against: (DRAWS, count) twice."""
    if 2 * images <= count:
        inside = torch.zeros(DRAWS, count)
        inside.scatter_(1, torch.rand(DRAWS, count, generator=generator).argsort(1)[:, :images], 1.0)
        return inside, 1 - inside
    drawn = (torch.randint(count, (DRAWS, size), generator=generator) for size in (images, count))
    inside, outside = (torch.zeros(DRAWS, count).scatter_add_(1, places, torch.ones(1, 1).expand_as(places)) for places in drawn)
    return inside, outside


def _draw_stretches(runs: Sequence[range], size: int, block: int) -> tuple[Tensor, Tensor]:
    """The same for stretches of `size` images of one video, at most DRAWS evenly over all."""
    count = sum(map(len, runs))
    gap = min(block, (count - size) // 4)
    places = [(run, start) for run in runs for start in range(run.start, run.stop - size + 1)]
    places = [places[i] for i in torch.linspace(0, len(places) - 1, min(DRAWS, len(places))).round().long().tolist()]
    inside, outside = torch.zeros(len(places), count), torch.ones(len(places), count)
    for row, (run, start) in enumerate(places):
        inside[row, start : start + size] = 1
        outside[row, max(run.start, start - gap) : min(run.stop, start + size + gap)] = 0
    return inside, outside


def _distances(source: InputMoments, inside: Float[Tensor, "d n"], outside: Float[Tensor, "d n"]) -> Float[Tensor, " d"]:
    """D of (1) between two sets of images a row, given by how often each image is in them: pooled moments are products with moments, a layer at a time."""
    inside, outside = inside / inside.sum(1, keepdim=True), outside / outside.sum(1, keepdim=True)
    center, spread = source.pooled
    found = []
    parts = (torch.split(values, list(source.sizes), -1) for values in (source.means, source.variances, center, spread))
    for mean, variance, middle, width, eps in zip(*parts, source.eps, strict=True):
        # In the source's deviations around its mean, single precision cancels nothing.
        unit = width + eps
        means = ((mean - middle) / unit.sqrt()).float()
        seconds = (variance / unit).float() + means**2
        (mean_t, std_t, _), (mean_s, std_s, var_s) = (_pool(weights, means, seconds) for weights in (inside, outside))
        found.append((((mean_t - mean_s) ** 2 + (std_t - std_s) ** 2) / (var_s + (eps / unit).float())).mean(1))
    return over_layers(torch.stack(found, 1))


def _pool(weights: Tensor, means: Tensor, seconds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, deviation and variance (d, c) of sets of images."""
    mean = weights @ means
    variance = (weights @ seconds - mean**2).clamp_min(0)
    return mean, variance.sqrt(), variance
