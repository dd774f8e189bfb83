"""Weather by physics on an image and its depth, as pure functions, and the table of the weathers a domain can name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from segshift.errors import DataError
from segshift.weather.depth import Camera, complete_depth, disparity_to_depth
from segshift.weather.fog import FOG_PRESETS, add_fog, apply_fog, estimate_airlight, visibility

__all__ = [
    "FOG_PRESETS",
    "WEATHER",
    "Camera",
    "Weather",
    "add_fog",
    "complete_depth",
    "disparity_to_depth",
    "estimate_airlight",
    "visibility",
]


@runtime_checkable
class Apply(Protocol):
    """What a weather does to one image; whatever is random in it is drawn from the generator."""

    def __call__(
        self,
        image: UInt8[Tensor, "3 h w"],
        depth: Float[Tensor, "dh dw"] | None,
        value: float,
        camera: Camera | None,
        generator: torch.Generator,
    ) -> UInt8[Tensor, "3 h w"]: ...


@dataclass(frozen=True)
class Weather:
    """One weather: `value` of `apply` is its physical parameter in `unit`; `severities` are its values for severity 1 to 5."""

    name: str
    unit: str
    needs_depth: bool
    summary: str
    paper: str
    severities: tuple[float, float, float, float, float]
    apply: Apply

    def value(self, severity: float) -> float:
        """The physical parameter of a severity, a whole number from 1 (least) to 5.

        >>> WEATHER["fog"].value(3)
        0.01
        """
        if severity not in range(1, len(self.severities) + 1):
            raise DataError(f"{self.name} of severity {severity:g}: severities are 1, 2, 3, 4, 5; `{self.name}=VALUE` gives the value in {self.unit}")
        return self.severities[int(severity) - 1]


WEATHER: Mapping[str, Weather] = MappingProxyType(
    {
        "fog": Weather(
            name="fog",
            unit="beta per metre",
            needs_depth=True,
            summary="homogeneous fog from depth, airlight from the dark channel",
            paper="Sakaridis et al., IJCV 2018 (Foggy Cityscapes)",
            severities=(0.005, 0.0075, 0.01, 0.015, 0.02),  # 1, 3 and 5 are the published presets
            apply=apply_fog,
        )
    }
)
