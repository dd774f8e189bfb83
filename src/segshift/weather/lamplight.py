"""Artificial light of a street at night: street lamps, the car's own head lamps, and the lamps of others.

Illuminances are shares of daylight (1 is about 20,000 lux). A street lamp at height a lights a point at distance r, seen under the angle
theta from above, by

    S = S_0 min(1.5, sum_j (a / r_j)^2 cos theta_j)                                                       (1)

and the own beam, at range r and angle phi aside, falls as

    H = H_0 (10 m / r)^2 exp(-(phi / phi_0)^2) below the cut-off                                           (2)

from 4 m on. Depth is complete here.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from segshift.weather.view import LAMPS, VEHICLES, View

POLE, SPACING, ASIDE, FAR = 8.0, 30.0, 6.0, 200.0
"""Street lamps: height above the road, distance along it and aside of the camera, and how far they are placed, in metres."""
STREET = 2.0**-7.5
"""S_0, the light straight below a lamp: about 100 lux, a main road."""
BEAM = 2.0**-7.5
"""H_0, the light of the own beam at 10 m."""
BEAM_ANGLE = 0.35
CUT_OFF = 1.2
"""Height above the road, in metres, that the beam hardly passes."""
GLOW = 2.0**-4
"""What a lamp sends into the lens, where daylight's white is 1."""
RADIUS = 0.06
"""Radius of a lamp in metres."""
STEP = 0.15
"""Change of depth, as a share, from one vehicle to the next."""
WIDE, SIDE, LONG = 1.5, 2.2, 4.0
"""Width over height of a vehicle from ahead, from where on it is seen from the side, and the most that a vehicle has."""
GOLDEN = 0.618
LIT = {"red": (1.0, 0.06, 0.03), "amber": (1.0, 0.55, 0.05), "green": (0.10, 1.0, 0.45), "white": (1.0, 0.97, 0.85)}
SIGNALS = (("red", 0.2), ("amber", 0.5), ("green", 0.8))
"""Colours of a traffic light, and where on its height each shines, from above."""


Points = tuple[Float[Tensor, "h w"], Float[Tensor, "h w"], Float[Tensor, "h w"]]
"""Where the scene of each pixel lies, in metres: to the right, above the road, ahead along it."""


def street_light(points: Points | None, generator: torch.Generator) -> Float[Tensor, ...]:
    """Light of lamps on alternate sides of the street, the first at a random distance: equation (1); the same everywhere without points."""
    start = SPACING * float(torch.rand((), generator=generator))
    if points is None:
        return torch.tensor(STREET / 2)
    aside, height, ahead = points
    light = torch.zeros_like(ahead)
    for place in range(-1, int(FAR / SPACING)):
        above = (POLE - height).clamp_(min=0)  # lamps shine downwards
        across, along = aside - (ASIDE if place % 2 else -ASIDE), ahead - (start + SPACING * place)
        r2 = (across.square() + above.square() + along.square()).clamp_(min=0.25)
        light += POLE**2 * above / (r2 * r2.sqrt())
    return STREET * light.clamp_(max=1.5)


def own_beam(points: Points | None) -> Float[Tensor, ...]:
    """Light of the car's own head lamps: equation (2); none without points."""
    if points is None:
        return torch.tensor(0.0)
    aside, height, ahead = points
    r2 = (aside.square() + ahead.square()).clamp_(min=16.0)
    spread = torch.exp(-(torch.atan2(aside, ahead.clamp(min=0.1)) / BEAM_ANGLE).square())
    return BEAM * 100 / r2 * spread * torch.sigmoid((CUT_OFF - height) / 0.25).clamp_(min=0.05)


def points_of(view: View) -> Points | None:
    """The points of a view whose depth is complete; None without depth, or without a camera that knows its height."""
    camera = view.camera
    if view.depth is None or camera is None or camera.height is None:
        return None
    h, w = view.image.shape[1:]
    z = view.depth.clamp(max=1e4)
    aside = z * ((torch.arange(w) - camera.cx) / camera.fx)
    down = z * ((torch.arange(h) - camera.cy) / camera.fy).unsqueeze(1)
    c, s = math.cos(camera.pitch), math.sin(camera.pitch)
    return aside, camera.height - (down * c + z * s), z * c - down * s


def draw_lamps(view: View, generator: torch.Generator) -> Float[Tensor, "3 h w"]:
    """The lamps of others: one of three on each traffic light, two on each vehicle; the colours are drawn, for labels do not tell front from back."""
    from scipy.ndimage import find_objects, label  # heavy

    lamps = torch.zeros(3, *view.image.shape[1:])
    for names, light in ((LAMPS, light_signal), (VEHICLES, light_vehicle)):
        found = view.where(names)
        if found is None:
            continue
        numbered, count = label((found & ~steps_of(view.depth)).cpu().numpy())
        draws = torch.rand(count, generator=generator)
        for number, (place, draw) in enumerate(zip(find_objects(numbered), draws.tolist(), strict=True), start=1):
            inside = numbered[place] == number
            light(lamps, draw, place[0].start, place[1].start, inside, radius_of(view, place, inside))
    return lamps


def steps_of(depth: Tensor | None) -> Tensor:
    """Where depth jumps to the pixel on the right or below: the outlines of vehicles in front of each other."""
    if depth is None:
        return torch.zeros((), dtype=torch.bool)
    steps = torch.zeros_like(depth, dtype=torch.bool)
    for axis in (0, 1):
        near, far = depth.narrow(axis, 0, depth.shape[axis] - 1), depth.narrow(axis, 1, depth.shape[axis] - 1)
        steps.narrow(axis, 0, depth.shape[axis] - 1).logical_or_((near - far).abs() > STEP * torch.minimum(near, far))
    return steps


def radius_of(view: View, place: tuple[slice, slice], inside: np.ndarray) -> float:
    """Radius of a lamp in pixels, by the distance of what carries it; a share of its size where that is not known, for rows of cars have one label."""
    least = 0.4
    if view.depth is None or view.camera is None:
        return max(least, 0.04 * float(min(inside.shape[1], 1.5 * inside.shape[0])))
    return max(least, RADIUS * view.camera.fx / max(1.0, float(np.median(view.depth[place].numpy()[inside]))))


def light_signal(lamps: Tensor, draw: float, top: int, left: int, inside: np.ndarray, radius: float) -> None:
    height, width = inside.shape
    name, share = SIGNALS[int(draw * len(SIGNALS))]
    shine(lamps, LIT[name], top + share * height - 0.5, left + 0.5 * width - 0.5, radius)


def light_vehicle(lamps: Tensor, draw: float, top: int, left: int, inside: np.ndarray, radius: float) -> None:
    """A pair at the height of lamps, on the vehicle's own pixels: alike from ahead or behind, white and red from the side.

    What is narrow has one, as a motorcycle; of what is longer than a vehicle's side, a row with one label, every part of a vehicle's width its own pair.
    """
    height, width = inside.shape
    if min(height, width) < 3:
        return
    row = min(height - 1, round(0.6 * height))
    parts = round(width / (WIDE * height)) if width > LONG * height else 1
    for part, columns in enumerate(np.array_split(np.arange(width), parts)):
        own = columns[inside[row, columns]]
        if not len(own):
            continue
        drawn = (draw + part * GOLDEN) % 1
        first, last = ("red", "red") if drawn < 0.5 else ("white", "white")
        if parts == 1 and width > SIDE * height:
            first, last = ("red", "white") if drawn < 0.5 else ("white", "red")
        for share, name in ((0.14, first), (0.86, last)) if 2 * len(columns) > height else ((0.5, first),):
            column = own[round(share * (len(own) - 1))]
            shine(lamps, LIT[name], float(top + row), left + float(column), radius)


def shine(lamps: Tensor, color: tuple[float, float, float], row: float, column: float, radius: float) -> None:
    """Add a soft disc of light."""
    h, w = lamps.shape[1:]
    reach = math.ceil(3 * radius)
    rows = torch.arange(max(0, int(row) - reach), min(h, int(row) + reach + 2))
    columns = torch.arange(max(0, int(column) - reach), min(w, int(column) + reach + 2))
    if not (len(rows) and len(columns)):
        return
    disc = torch.exp(-0.5 * ((rows - row).square().unsqueeze(1) + (columns - column).square()) / radius**2)
    lamps[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += GLOW * torch.tensor(color).view(3, 1, 1) * disc
