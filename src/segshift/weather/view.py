"""What a weather is applied to: an image and what is known of its scene."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, final

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from segshift.weather.depth import Camera

Refine = Literal["guided", "labels"]

SKY = ("sky",)
ALIASES = MappingProxyType(
    {
        "street": "road",
        "asphalt": "road",
        "carriageway": "road",
        "drivable": "road",
        "drivable area": "road",
        "footpath": "sidewalk",
        "footway": "sidewalk",
        "grass": "terrain",
        "vehicle": "car",
        "trees": "vegetation",
        "plants": "vegetation",
        "greenery": "vegetation",
        "traffic signal": "traffic light",
        "traffic lights": "traffic light",
        "house": "building",
        "houses": "building",
        "buildings": "building",
    }
)
"""Other names of classes, and what weather takes them for."""
GROUND = ("road", "sidewalk", "pavement", "terrain", "parking", "rail track", "ground", "road marking", "lane marking")
"""Classes that lie on the ground plane."""
LAMPS = ("traffic light",)
"""Classes that shine at night by themselves."""
VEHICLES = ("car", "truck", "bus", "train", "caravan", "trailer", "van")
"""Classes with head and tail lamps."""


def known_names(classes: Iterable[str]) -> tuple[str, ...]:
    """The classes under the names that weather knows: lower case, spaces, other names replaced.

    >>> known_names(["Road", "street", "traffic_light"])
    ('road', 'road', 'traffic light')
    """
    plain = (name.strip().lower().replace("_", " ").replace("-", " ") for name in classes)
    return tuple(ALIASES.get(name, name) for name in plain)


@final
@dataclass(frozen=True)
class View:
    """One image with what is known of its scene, all of one height and width.

    `image` is uint8 RGB. `depth` is in metres along the optical axis, 0 where unknown. `label` holds train ids, 255 is void, and
    `classes` the names of the train ids. `refine` is how
    transmittance is made to follow the picture where depth is rough: by its colours ("guided"), or by colours and labels.
    """

    image: UInt8[Tensor, "3 h w"]
    depth: Float[Tensor, "dh dw"] | None = None
    camera: Camera | None = None
    label: UInt8[Tensor, "lh lw"] | None = None
    classes: tuple[str, ...] = ()
    refine: Refine | None = None

    def where(self, names: Iterable[str]) -> Bool[Tensor, "h w"] | None:
        """The pixels whose class is one of `names`; None without labels, or where the label space has none of them.

        >>> view = View(torch.zeros(3, 1, 2, dtype=torch.uint8), label=torch.tensor([[0, 255]], dtype=torch.uint8), classes=("sky", "road"))
        >>> view.where(SKY), view.where(("moon",))
        (tensor([[ True, False]]), None)
        """
        ids = [train for train, name in enumerate(self.classes) if name in set(names)]
        if self.label is None or not ids:
            return None
        return torch.isin(self.label, torch.tensor(ids, dtype=self.label.dtype, device=self.label.device))
