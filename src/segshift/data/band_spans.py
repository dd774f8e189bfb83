"""Whether pictures of integers fill the range that they are divided by: 12 bits that are read as 16 look black to a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

NARROW = 0.07
"""Span of scaled values in which there is next to nothing for a network: 12 bits of 16 span 0.0625."""


@final
class Spans:
    """From where to where the stored values of each band go, over all pictures, where they are integers that were divided by what their type can hold."""

    def __init__(self) -> None:
        self._low: Tensor | None = None
        self._high: Tensor | None = None
        self._scales: set[float | None] = set()

    def take(self, stored: Float[Tensor, "c h w"], scale: float | None) -> None:
        """One more picture; `scale` is None where it was given, or belongs to floats."""
        low, high = stored.amin((1, 2)), stored.amax((1, 2))
        if self._low is None or self._high is None or self._low.shape != low.shape:
            self._low, self._high = low, high
        self._low, self._high = self._low.minimum(low), self._high.maximum(high)
        self._scales.add(scale)

    def describe(self, std: Sequence[float | int] | None) -> str:
        """What to say where every band spans next to nothing, "" otherwise.

        A deviation is at most half the span of what it is of, so values whose span is under one `std` were scaled otherwise when it was measured.
        """
        if self._low is None or self._high is None or None in self._scales or len(self._scales) > 1:
            return ""
        (scale,) = self._scales
        assert scale is not None
        spans = (self._high - self._low) / scale
        if not bool(spans.any()) or not bool((spans < (NARROW if std is None else torch.tensor(std, dtype=torch.float32))).all()):
            return ""
        largest = int(self._high.max())
        bits = largest.bit_length()
        return (
            f"the largest value stored is {largest}, and divided by {scale:g} a band spans at most {float(spans.max()):.2g}: give scale={2**bits - 1} if these "
            f"are {bits} bits, mean= and std= if they lie within a narrow range, or scale={scale:g} if the network was trained with it"
        )
