"""Rain from an image and its depth: a veil of far drops, and the near ones as streaks.

    beta = 0.312e-3 R^0.67                                                                                (1)
    N(D) = 8000 exp(-Lambda D),   Lambda = 4.1 R^-0.21                                                    (2)
    v(D) = 9.65 - 10.3 exp(-0.6 D)                                                                        (3)
    L = fy v T / z,   d = f D / z                                                                         (4)
    a = (pi / 4) D / (v T)                                                                                (5)
    B = 0.94 A                                                                                            (6)

R is the rate in mm/h. (1) the veil's attenuation per metre: I = J t + A (1 - t), t = exp(-beta l), l the range in metres. (2) drops per
m3 and mm of diameter D in mm. (3) their terminal velocity in m/s. (4) length and width in pixels of the streak of a drop at the depth z
in metres, fy in pixels, T the exposure in seconds. (5) the share of the exposure for which a pixel on the streak is hidden: the drop's
mean chord at its speed; where a streak is thinner than a pixel, its share of the pixel besides. (6) its colour: a drop refracts a field
of view of 165 degrees, mostly sky, whatever is behind it.

Sources: (2) Marshall and Palmer 1948; (3) Atlas, Srivastava and Sekhon 1973; (1) Tremblay et al., "Rain Rendering for Evaluating and
Improving Robustness to Bad Weather", IJCV 2021; (5) and (6) Garg and Nayar, "Vision and Rain", IJCV 2007.
Departures: drops keep their shape (no oscillation); those beyond FARTHEST or under SMALLEST are in the veil only; the veil in front of
a streak is left out (within FARTHEST it hides less than a tenth up to 400 mm/h); light is made overcast, because rain falls from clouds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Num, UInt8
from torch import Tensor

from segshift.errors import DataError
from segshift.weather.airlight import check_airlight
from segshift.weather.depth import Camera
from segshift.weather.falling.air import assumed_camera, check_rate, check_share, cloudy_airlight, known_depth, see_through
from segshift.weather.falling.particles import Particles, draw_places, project
from segshift.weather.lens import add_lens_drops
from segshift.weather.view import View

RAIN_SEVERITIES = (5.0, 12.0, 25.0, 50.0, 100.0)
"""mm/h of severity 1 to 5: moderate rain, heavy rain, and three degrees of a downpour."""

HEAVIEST = 500.0
"""mm/h; more has fallen only for minutes."""
EXPOSURE = 1 / 120
"""Seconds. A driving camera under clouds: longer exposures blur the scene when it moves, shorter ones are noisy."""
NEAREST, FARTHEST = 0.5, 6.0
"""Metres between which drops are drawn one by one; at 6 m a drop of 1 mm covers a third of a pixel at a focal length of 2000."""
SMALLEST, LARGEST = 1.0, 6.0
"""Diameters in mm of drops that are drawn; larger ones break up as they fall."""


def add_rain(
    image: Num[Tensor, "c h w"],
    depth: Float[Tensor, "dh dw"] | None,
    rate: float,
    camera: Camera | None = None,
    *,
    generator: torch.Generator,
    airlight: float | Sequence[float] | Tensor | None = None,
    exposure: float = EXPOSURE,
    overcast: float | None = None,
    streaks: bool = True,
    lens_drops: int = 0,
    threads: int = 1,
) -> Num[Tensor, "c h w"]:
    """The image in rain of `rate` mm/h: equations (1) to (6).

    `image` is (3, H, W), in [0, 1] or uint8, and the result has its dtype. `depth` is (H, W) in metres along the optical axis, 0
    where unknown; without a `camera` it is taken as the range, and streaks are those of a view of 53 degrees. The wind's slant and
    the drops are drawn from `generator`. `exposure` is in seconds. `overcast` in [0, 1] is how far sunlight is turned into that of
    clouds, None for what goes with the rate. `lens_drops` is a number of drops on the lens. `threads` changes the speed only.

    >>> image, depth = torch.full((3, 4, 6), 0.2), torch.full((4, 6), 50.0)
    >>> rainy = add_rain(image, depth, rate=25.0, generator=torch.Generator().manual_seed(0))
    >>> rainy.shape, bool((rainy != image).any())
    (torch.Size([3, 4, 6]), True)
    """
    distance = known_depth(depth, image, camera, "rain")
    check_rate(rate, "rain", "mm/h", HEAVIEST)
    check_share(overcast, "overcast", "rain")
    if not (math.isfinite(exposure) and exposure > 0):
        raise DataError(f"rain with an exposure of {exposure} s: it must be above 0")
    if rate == 0:
        return image.clone() if lens_drops == 0 else add_lens_drops(image, lens_drops, generator=generator)
    cloud = min(1.0, (rate / 100) ** 0.3) if overcast is None else overcast
    light = (1 - 0.1 * cloud) * cloudy_airlight(image) if airlight is None else check_airlight(airlight, torch.device("cpu"))
    _, h, w = image.shape
    eye = camera or assumed_camera(h, w)
    cover = project(draw_drops(rate, eye, h, w, exposure, generator), eye, h) if streaks else torch.zeros(h, w)
    rainy = see_through(image.cpu(), distance, camera, attenuation(rate), light, cover, 0.94 * light, 0.5 * cloud, 1 - 0.25 * cloud, threads)
    rainy = rainy if lens_drops == 0 else add_lens_drops(rainy, lens_drops, generator=generator)
    return rainy.to(image.device)


def apply_rain(view: View, value: float, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Rain as a row of the weather table: `value` is mm/h."""
    return add_rain(view.image, view.depth, value, view.camera, generator=generator)


def attenuation(rate: float) -> float:
    """The veil's beta per metre: equation (1)."""
    return 0.312e-3 * math.pow(rate, 0.67)


def terminal_velocity(diameter: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Metres a second of drops of some mm: equation (3)."""
    return 9.65 - 10.3 * torch.exp(-0.6 * diameter)


def drops_per_volume(rate: float, smallest: float = SMALLEST) -> float:
    """Drops per m3 of at least `smallest` mm: the integral of (2)."""
    slope = 4.1 * math.pow(rate, -0.21)
    return 8000 / slope * math.exp(-slope * smallest)


def draw_drops(rate: float, camera: Camera, h: int, w: int, exposure: float, generator: torch.Generator) -> Particles:
    """Drops in front of the camera: places, diameters (2), and motion (4) aslant by the wind of this picture."""
    x, y, z = draw_places(drops_per_volume(rate), camera, h, w, NEAREST, FARTHEST, generator)
    slope = 4.1 * math.pow(rate, -0.21)
    # Clamped: exponential_ can return infinity.
    diameter = (SMALLEST + torch.empty(z.shape).exponential_(slope, generator=generator)).clamp_(max=LARGEST)
    tilt = float(torch.randn((), generator=generator).clamp_(-2, 2)) * math.radians(7)
    fall = terminal_velocity(diameter) * exposure / z
    return Particles(x, y, z, diameter / 1000, camera.fx * fall * math.tan(tilt), camera.fy * fall)
