"""Metric depth of a labelled street image without depth: a ground plane, and things that stand on it.

For the ray (x, y, 1) of a pixel, x = (u - cx) / fx and y = (v - cy) / fy, and a camera h metres above flat ground that looks
down by the pitch p, without roll, depth along the optical axis and horizontal distance are

    ground        z = h / (y cos p + sin p)                                                                (1)
                  d = z (cos p - y sin p)                                                                  (2)
    upright       z = d / (cos p - y sin p)                                                                (3)

(1) holds below the horizon y = -tan p, up to FAR; ground at the horizon or above it is at FAR. d is the same all the way up
an upright thing, and 1 / d is linear in u along a wall. These priors are ours; no single paper is followed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from segshift.errors import DataError
from segshift.types import IGNORE
from segshift.weather.depth import Camera, complete_depth
from segshift.weather.view import GROUND, SKY, known_names

FAR = 500.0
"""Depth of the farthest ground or thing, metres."""
SKY_DEPTH = 1000.0
"""Depth of the sky, metres, as in the drawn streets: in fog of any preset nothing of it is left."""
CARRIED = ("traffic light", "traffic sign", "sign symbol", "sign", "rider")
"""Classes that hang on, or ride, what is beneath them."""
REACH = 4.5
"""Metres, about a car's length: what hangs between two feet or beside one by no more belongs to them."""
GAP = 2.0
"""Metres that a hidden thing stands farther to the side than what hides it, where no other of its class has a foot in the image."""
STRAIGHT = 0.08
"""Least slope to the side for both of these: a street is not seen for more than 12 times its half width."""
NEARBY = 60.0
"""Metres up to which feet tell where their class stands: beyond, a row of pixels is several metres."""


def estimate_plane_depth(label: UInt8[Tensor, "h w"], classes: Sequence[str], camera: Camera) -> Float[Tensor, "h w"]:
    """Depth in metres along the optical axis from labels (train ids, 255 void) and a camera with `height` and `pitch`.

    Ground classes (`view.GROUND`) lie on the plane, equation (1); the sky is at SKY_DEPTH. Each connected component of any
    other class stands upright on its feet, column by column:
    - a column whose lowest pixel meets ground, or the image's lower border, has its foot there (2). Void between is ground, as a shadow is, if
      it is not deeper than REACH there; if it is, it hides the foot, which is taken to be at its lower edge. Feet that hang, as a
      bumper between wheels, are replaced by the line between their neighbours, if these are REACH apart at most; a component
      narrower than REACH, and not cut off at the side, has none more than REACH behind its nearest;
    - between two feet 1 / d is linear, as along a wall, and beside the outermost it is constant;
    - a column more than REACH from a foot and with another thing beneath it is hidden by that, and stands behind it and before
      the ground seen at its own lower edge. Beyond the outermost foot it is taken to be as far to the side of the optical axis
      as the median foot of its class on this side of the image (else on the other, else GAP farther than what hides it). A
      narrow component without feet is so placed as a whole, by its lowest column;
    - CARRIED classes, such as signs and riders, take the distance of the nearest thing beneath them.
    Void pixels take the depth of the nearest thing or ground; void that touches the sky alone is sky.

    An error of the pitch is an error of the horizon: at 1.4 m height half a degree moves ground at 10 m by 6 % and at 50 m by a third.

    Raises DataError without a height, without ground below the horizon, or for labels outside `classes`.

    >>> camera = Camera(fx=2.0, fy=2.0, cx=0.0, cy=0.0, height=1.5)
    >>> label = torch.tensor([[1], [1], [0], [0]], dtype=torch.uint8)  # a car on a road
    >>> estimate_plane_depth(label, ("road", "car"), camera).flatten()
    tensor([2.0000, 2.0000, 1.5000, 1.0000])
    """
    classes = known_names(classes)
    height, width = label.shape
    above = check_camera(camera, height, width)
    ids = label.cpu().numpy()
    kind = sort_pixels(ids, classes)
    down, slope = cast_rows(np.arange(height), camera)
    ground = above / np.maximum(down, above / FAR)

    from segshift.weather.components import kernels  # compiles on first use

    on_ground = kind == kernels.GROUND
    check_ground(on_ground, down, camera)
    depth = np.where(on_ground, ground[:, None], np.where(ids == IGNORE, 0.0, SKY_DEPTH)).astype(np.float32)
    down, ahead = cast_rows(np.arange(height) + 0.5, camera)
    edge = down / (ahead * above)  # nearness of the ground between a row and the next
    component = np.empty((height, width), dtype=np.int32)
    count = kernels.find_components(kind, component)
    if count:
        start, first, what, foot, beneath = kernels.find_feet(kind, component, count, edge, REACH)
        column = np.arange(start[-1]) - np.repeat(start[:-1] - first, np.diff(start))
        aside = (np.arange(width) - camera.cx) / camera.fx
        usual = find_usual(np.repeat(what, np.diff(start)), aside[column], edge[foot], beneath == kernels.ON_GROUND)
        carried = np.isin(what, [i for i, name in enumerate(classes) if name in CARRIED])
        order = np.argsort(-np.maximum.reduceat(foot, start[:-1]), kind="stable")
        near = np.zeros(start[-1])
        aside = np.maximum(np.abs(aside), STRAIGHT)
        kernels.stand(start, first, foot, beneath, order, carried, edge, aside, usual, 1 / FAR, camera.fx, REACH, GAP, near)
        kernels.paint(component, start, first, near, slope, FAR, depth)
    return fill_void(torch.from_numpy(depth), torch.from_numpy(ids == IGNORE)).to(label.device)


def cast_rows(v: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """How far rays of the rows fall and how far they go ahead, for each metre along the optical axis."""
    y = (v - camera.cy) / camera.fy
    down, ahead = y * math.cos(camera.pitch) + math.sin(camera.pitch), math.cos(camera.pitch) - y * math.sin(camera.pitch)
    return down, np.maximum(ahead, 0.05)  # rays that look straight down, or back, meet nothing upright


def sort_pixels(ids: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Train ids, with GROUND for every ground class, SKY and VOID; the kernels' values."""
    from segshift.weather.components import kernels

    used = np.bincount(ids.ravel(), minlength=256) > 0
    wrong = np.flatnonzero(used[len(classes) : IGNORE])
    if len(wrong):
        raise DataError(f"label value {len(classes) + wrong[0]} with {len(classes)} classes: give the classes of this label, in the order of its train ids")
    table = np.arange(256, dtype=np.uint8)
    table[IGNORE] = kernels.VOID
    for i, name in enumerate(classes):
        if name in GROUND or name in SKY:
            table[i] = kernels.GROUND if name in GROUND else kernels.SKY
    kinds: np.ndarray = table[ids]
    return kinds


def fill_void(depth: Float[Tensor, "h w"], void: Bool[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """Void takes the depth of the nearest thing or ground; where it touches the sky alone, that of the sky."""
    if not bool(void.any()):
        return depth
    from scipy.ndimage import binary_dilation, label  # heavy, and many labels have no void

    things = (depth > 0) & (depth < SKY_DEPTH)
    numbered, _ = label(void.numpy())
    touching = np.unique(numbered[binary_dilation(things.numpy())])
    alone = torch.from_numpy(~np.isin(numbered, touching)) & void
    nearest = complete_depth(torch.where(things, depth, 0.0))
    return torch.where(void & ~alone, nearest, torch.where(alone, SKY_DEPTH, depth))


def find_usual(kinds: np.ndarray, aside: np.ndarray, edge: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Nearness of each cell if it stands as far to the side as its class does on its side of the image; 0 where none has a foot."""
    usual = np.zeros(len(kinds))
    feet = seen & (edge > 1 / NEARBY)
    right = aside >= 0
    for kind in np.unique(kinds[feet]):
        mine = kinds == kind
        for side in (right, ~right):
            some = mine & feet & side
            if not some.any():
                some = mine & feet
            offset = max(float(np.median(np.abs(aside[some]) / edge[some])), 0.5)
            here = mine & side
            usual[here] = np.maximum(np.abs(aside[here]), STRAIGHT) / offset
    return usual


def check_camera(camera: Camera, height: int, width: int) -> float:
    """The camera's height in metres, if it has one and is for this image size."""
    if camera.height is None or not (math.isfinite(camera.height) and camera.height > 0):
        raise DataError(f"camera with height {camera.height}: plane depth needs its height above the ground, give Camera(..., height=METRES, pitch=RADIANS)")
    if not abs(camera.pitch) < math.pi / 2:
        raise DataError(f"camera with pitch {camera.pitch}: plane depth needs radians between -pi/2 and pi/2, positive looks down (0.03 is usual in a car)")
    camera.check_size(height, width)
    return camera.height


def check_ground(on_ground: np.ndarray, down: np.ndarray, camera: Camera) -> None:
    """DataError where no pixel of ground lies below the horizon."""
    rows = on_ground.any(1)
    if not rows.any():
        raise DataError(f"label without a pixel of ground ({', '.join(GROUND[:4])} ...): plane depth starts from the ground, use another source of depth")
    if not (rows & (down > 0)).any():
        raise DataError(
            f"all ground lies above the camera's horizon (row {camera.cy - camera.fy * math.tan(camera.pitch):.0f}): "
            f"pitch {camera.pitch} must be radians, positive where the camera looks down"
        )
