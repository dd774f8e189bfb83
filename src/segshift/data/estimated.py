"""Depth that no file holds: estimated from labels and camera, or by a network, for domains that say so (`?depth=plane`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import final

from jaxtyping import Float, UInt8
from torch import Tensor

from segshift.errors import DataError
from segshift.types import Sample
from segshift.weather.depth import Camera
from segshift.weather.view import Refine

PLANE = "plane"


@final
@dataclass(frozen=True)
class PlanePrior:
    """Ground on a plane and everything else standing on it; see `weather/plane.py`."""

    name: str = "plane prior"
    needs_plane: bool = True
    refine: Refine | None = None  # its edges are those of the labels

    def version(self) -> str:
        return "plane 3"

    def __call__(self, sample: Sample, camera: Camera | None, classes: tuple[str, ...]) -> Float[Tensor, "h w"]:
        from segshift.weather.plane import estimate_plane_depth

        if sample.label is None or camera is None:
            raise DataError("depth=plane needs the image's label and a camera with its height")
        return estimate_plane_depth(sample.label, classes, camera)


@final
@dataclass(frozen=True)
class NetworkDepth:
    """A monocular network, loaded when the first image is read; see `weather/monocular.py`."""

    network: str
    needs_plane: bool = False
    refine: Refine | None = "guided"

    @property
    def name(self) -> str:
        return f"network {self.network}"

    def version(self) -> str:
        return f"network {loaded(self.network)[1]}"

    def __call__(self, sample: Sample, camera: Camera | None, classes: tuple[str, ...]) -> Float[Tensor, "h w"]:
        return loaded(self.network)[0](sample.image)


Estimator = PlanePrior | NetworkDepth
"""Gives the depth of a sample in metres along the optical axis; `name` is told with results, `version` counts in the fingerprint."""


@cache
def loaded(network: str) -> tuple[Callable[[UInt8[Tensor, "3 h w"]], Float[Tensor, "h w"]], str]:
    from segshift.weather.monocular import load_depth_network

    found = load_depth_network(network)
    return found, found.identity


def estimator_of(key: str | None) -> Estimator | None:
    """What the domain's key `depth` names; None where the data set's own depth is read."""
    return None if key is None else PlanePrior() if key == PLANE else NetworkDepth(key)
