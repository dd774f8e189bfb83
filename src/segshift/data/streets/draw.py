"""Random choices of a scene from one numbered stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


class Draw:
    """Draws from a Philox stream, taken in blocks because single draws from numpy are slow."""

    def __init__(self, sequence: np.random.SeedSequence) -> None:
        self._generator = np.random.Generator(np.random.Philox(sequence))
        self._block: list[float] = []

    def share(self) -> float:
        """A number in [0, 1)."""
        if not self._block:
            self._block = self._generator.random(2048).tolist()
        return self._block.pop()

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
        light = self.uniform(-spread, spread)
        r, g, b = (min(1.0, max(0.02, c + light + self.uniform(-0.35, 0.35) * spread)) for c in colour)
        return r, g, b
