"""Weather by physics on an image and its depth, as pure functions, and the table of the weathers a domain can name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor

from segshift.errors import DataError
from segshift.weather.airlight import estimate_airlight
from segshift.weather.corruptions import CORRUPTIONS, DETERMINISTIC, apply_corruption, corrupt
from segshift.weather.depth import Camera, complete_depth, disparity_to_depth
from segshift.weather.fog import FOG_PRESETS, FogScene, add_fog, apply_fog, prepare_fog, sweep_fog, visibility
from segshift.weather.lens import LENS_SEVERITIES, MOST_DROPS, add_lens_drops, apply_lens_drops
from segshift.weather.night import DARKEST, NIGHT_SEVERITIES, add_night, apply_night
from segshift.weather.rain import HEAVIEST, RAIN_SEVERITIES, add_rain, apply_rain
from segshift.weather.rain_cityscapes import RAINCITYSCAPES, add_rain_cityscapes, apply_rain_cityscapes
from segshift.weather.snow import HEAVIEST as HEAVIEST_SNOW
from segshift.weather.snow import SNOW_SEVERITIES, add_snow, apply_snow
from segshift.weather.view import View

__all__ = [
    "CORRUPTIONS",
    "FOG_PRESETS",
    "RAINCITYSCAPES",
    "WEATHER",
    "Camera",
    "FogScene",
    "View",
    "Weather",
    "add_fog",
    "add_lens_drops",
    "add_night",
    "add_rain",
    "add_rain_cityscapes",
    "add_snow",
    "complete_depth",
    "corrupt",
    "disparity_to_depth",
    "estimate_airlight",
    "prepare_fog",
    "visibility",
]


@runtime_checkable
class Apply(Protocol):
    """What a weather does to one image; whatever is random in it is drawn from the generator."""

    def __call__(self, view: View, value: float, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]: ...


@dataclass(frozen=True)
class Weather:
    """One weather: `value` of `apply` is its physical parameter in `unit`; `severities` are its values for severity 1, 2, and so on.

    `unit` is None where only severities are defined. `depth` is what the weather does without it: refuse ("needed"), do with less ("used"), or
    nothing else ("unused"). `uses_labels`: the picture depends on the labels where there are any. `random`: it draws
    from the generator. `most` is the greatest value that is taken, `whole` refuses a fraction. `version` counts up when pictures change.
    `prepare` does what is the same for every value: from a view, it gives the picture as a function of the value.
    """

    name: str
    unit: str | None
    depth: Literal["needed", "used", "unused"]
    summary: str
    paper: str
    severities: tuple[float, ...]
    apply: Apply
    uses_labels: bool = False
    random: bool = True
    most: float = math.inf
    whole: bool = False
    version: int = 1
    prepare: Callable[[View], Callable[[float], UInt8[Tensor, "3 h w"]]] | None = None

    def value(self, severity: float) -> float:
        """The physical parameter of a severity, a whole number from 1 (least) to the number of `severities`.

        >>> WEATHER["fog"].value(3)
        0.01
        """
        known = range(1, len(self.severities) + 1)
        if severity not in known:
            other = "" if self.unit is None else f"; `{self.name}=VALUE` gives the value in {self.unit}"
            raise DataError(f"{self.name} of severity {severity:g}: severities are {', '.join(map(str, known))}{other}")
        return self.severities[int(severity) - 1]


WEATHER: Mapping[str, Weather] = MappingProxyType(
    {
        "fog": Weather(
            name="fog",
            unit="beta per metre",
            depth="needed",
            summary="homogeneous fog from depth, airlight from the dark channel",
            paper="Sakaridis et al., IJCV 2018 (Foggy Cityscapes)",
            severities=(0.005, 0.0075, 0.01, 0.015, 0.02),  # 1, 3 and 5 are the published presets
            apply=apply_fog,
            random=False,
            most=1.0,
            version=2,
            prepare=sweep_fog,
        ),
        "rain": Weather(
            name="rain",
            unit="mm/h",
            depth="needed",
            summary="near drops as streaks behind nearer things, far ones as a veil, light of clouds",
            paper="Garg and Nayar, IJCV 2007; Tremblay et al., IJCV 2021",
            severities=RAIN_SEVERITIES,
            apply=apply_rain,
            most=HEAVIEST,
        ),
        "rain_cityscapes": Weather(
            name="rain_cityscapes",
            unit=None,
            depth="needed",
            summary="streaks that fade with depth and fog that grows with it, at the published light, medium and heavy",
            paper="Hu et al., CVPR 2019 (RainCityscapes)",
            severities=(1.0, 2.0, 3.0),
            apply=apply_rain_cityscapes,
        ),
        "night": Weather(
            name="night",
            unit="stops below daylight",
            depth="used",
            summary="less light, lamps of the street and of others, and a camera that gets noisy",
            paper="EMVA Standard 1288 (shot and read noise)",
            severities=NIGHT_SEVERITIES,
            apply=apply_night,
            most=DARKEST,
            version=3,
            uses_labels=True,
        ),
        "snow": Weather(
            name="snow",
            unit="mm/h of water",
            depth="needed",
            summary="flakes behind nearer things, a veil, and where labels say, snow on the ground, roofs and trees",
            paper="Gunn and Marshall 1958; ITU-R P.1814",
            severities=SNOW_SEVERITIES,
            apply=apply_snow,
            most=HEAVIEST_SNOW,
            version=2,
            uses_labels=True,
        ),
        "lens": Weather(
            name="lens",
            unit="drops",
            depth="unused",
            summary="drops of water on the lens, each with the blurred scene upside down",
            paper="Roser and Geiger, ICCV Workshops 2009",
            severities=LENS_SEVERITIES,
            apply=apply_lens_drops,
            most=MOST_DROPS,
            whole=True,
        ),
        **{
            f"c_{name}": Weather(
                name=f"c_{name}",
                unit=None,
                depth="unused",
                summary=f"{name.replace('_', ' ')} of ImageNet-C and Cityscapes-C, at its published constants",
                paper="Hendrycks and Dietterich, ICLR 2019",
                severities=(1.0, 2.0, 3.0, 4.0, 5.0),
                apply=partial(apply_corruption, name),
                random=name not in DETERMINISTIC,
            )
            for name in CORRUPTIONS
        },
    }
)
