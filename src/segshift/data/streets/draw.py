"""Random choices of a scene from one numbered stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Draw:
    """Draws from a Philox stream, taken in blocks because single draws from numpy are slow."""

    def __init__(self, sequence: np.random.SeedSequence) -> None:
        generator = np.random.Generator(np.random.Philox(sequence))
        blocks = iter(lambda: generator.random(2048).tolist(), None)
        self.share: Callable[[], float] = chain.from_iterable(blocks).__next__
        """A number in [0, 1)."""

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self.share()

    def integer(self, end: int) -> int:
        """A whole number in [0, end)."""
        return int(end * self.share())

    def chance(self, probability: float) -> bool:
        """True with a probability."""
        return self.share() < probability

    def choice(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(len(options) * self.share())]

    def vary(self, colour: tuple[float, float, float], spread: float) -> tuple[float, float, float]:
        """A colour near another, mostly lighter or darker, a little in hue."""
        share = self.share
        light, hue = spread * (2 * share() - 1.35), 0.7 * spread
        r, g, b = colour[0] + light + hue * share(), colour[1] + light + hue * share(), colour[2] + light + hue * share()
        return (min(1.0, max(0.02, r)), min(1.0, max(0.02, g)), min(1.0, max(0.02, b)))
