"""What flows through the house: samples, batches and the value of an ignored pixel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Integer, UInt8
from torch import Tensor

IGNORE = 255
"""Label of a pixel that counts neither in a loss nor in a metric."""

ROLES: tuple[str, ...] = ("source", "target")
"""What a domain may be to a method."""

SEES = ("source", "source_labels", "target", "target_labels", "depth")
"""What a method may declare that it sees."""


@dataclass(frozen=True)
class Sample:
    """One image as it lies on disk, or as it is drawn, at its own size.

    `label` holds train ids and 255; `depth` is in metres along the optical axis, 0 where unknown.
    """

    image: UInt8[Tensor, "3 h w"]
    label: UInt8[Tensor, "h w"] | None
    depth: Float[Tensor, "h w"] | None
    name: str


@dataclass(frozen=True)
class Batch:
    """Images in [0, 1], with labels and depths (metres) only where they may be seen.

    `names` are the samples' names, for messages and for the record.
    """

    images: Float[Tensor, "b 3 h w"]
    labels: Integer[Tensor, "b h w"] | None
    depths: Float[Tensor, "b h w"] | None
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return replace(
            self,
            images=self.images.to(device, non_blocking=True),
            labels=None if self.labels is None else self.labels.to(device, non_blocking=True),
            depths=None if self.depths is None else self.depths.to(device, non_blocking=True),
        )
