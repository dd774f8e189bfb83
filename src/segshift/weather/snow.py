"""Snow from an image and its depth: a veil of far flakes, the near ones one by one, and what lies on the scene.

    gamma = a S^b,   beta = gamma / (10 log10(e) 1000)                                                    (1)
        dry: a = 5.42e-5 lambda + 5.4958776,  b = 1.38;   wet: a = 1.023e-4 lambda + 3.7855466,  b = 0.72
    N(D) = 3.8e3 S^-0.87 exp(-2.55 S^-0.48 D)                                                             (2)
    F = D rho^(-1/3)                                                                                      (3)

S is the rate in mm/h of water. (1) the veil: specific attenuation gamma in dB/km at the wavelength lambda (550 nm), beta per metre, and
I = J t + A (1 - t), t = exp(-beta l), l the range in metres. (2) flakes per m3 and mm of the diameter D of the drop that they melt to, in
mm. (3) the diameter F of the flake, rho = 0.1 g/cm3 the density of fallen snow. Flakes fall at 1 m/s, drift with the wind, and are
discs that hide what is behind them for a share of the exposure (falling/particles.py); they are nearly as bright as the sky.

Sources: (1) Recommendation ITU-R P.1814; (2) Gunn and Marshall, "The distribution with size of aggregate snowflakes", 1958; lying
snow: lying/snow_cover.py. Departures: flakes are round; those beyond FARTHEST or under SMALLEST are in the veil only, and the veil in
front of a flake is left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Num, UInt8
from torch import Tensor

from segshift.weather.airlight import check_airlight
from segshift.weather.checks import check_label
from segshift.weather.depth import Camera
from segshift.weather.falling.air import assumed_camera, check_rate, check_share, cloudy_airlight, known_depth, see_through
from segshift.weather.falling.particles import Particles, draw_places, project
from segshift.weather.lying.snow_cover import lay_snow
from segshift.weather.view import View

SNOW_SEVERITIES = (0.5, 1.0, 2.0, 3.5, 6.0)
"""mm/h of water of severity 1 to 5; with 3.5, what is 600 m away has vanished."""

HEAVIEST = 50.0
VERY_FAR = 1e4
"""Metres beyond which all that lies looks the same; it keeps infinite depths out of the street's plane."""
EXPOSURE = 1 / 200
"""Seconds: snow and its sky are bright."""
WAVELENGTH = 550.0
DENSITY = 0.1
FALL = 1.0
"""Metres a second."""
NEAREST, FARTHEST = 0.5, 8.0
"""Metres between which flakes are drawn one by one."""
SMALLEST, LARGEST = 0.6, 7.0
"""Melted diameters in mm of flakes that are drawn."""


def add_snow(
    image: Num[Tensor, "c h w"],
    depth: Float[Tensor, "dh dw"] | None,
    rate: float,
    camera: Camera | None = None,
    label: UInt8[Tensor, "lh lw"] | None = None,
    classes: Sequence[str] = (),
    *,
    generator: torch.Generator,
    airlight: float | Sequence[float] | Tensor | None = None,
    wet: bool = False,
    lying: float | None = None,
    overcast: float | None = None,
    flakes: bool = True,
    threads: int = 1,
) -> Num[Tensor, "c h w"]:
    """The image in snow of `rate` mm/h of water: equations (1) to (3), and snow that lies on the scene.

    `image` is (3, H, W), in [0, 1] or uint8, and the result has its dtype. `depth` is (H, W) in metres along the optical axis, 0
    where unknown; without a `camera` it is taken as the range, and flakes are those of a view of 53 degrees. Snow lies where
    `label` (train ids) and `classes` (their names) say what is ground, roof or foliage; `lying` in [0, 1] is how much, None for what
    goes with the rate. `overcast` in [0, 1] is how far sunlight is turned into that of clouds. `threads` changes the speed only.

    >>> image, depth = torch.full((3, 4, 6), 0.2), torch.full((4, 6), 50.0)
    >>> snowy = add_snow(image, depth, rate=2.0, generator=torch.Generator().manual_seed(0))
    >>> snowy.shape, bool((snowy != image).any())
    (torch.Size([3, 4, 6]), True)
    """
    distance = known_depth(depth, image, camera, "snow")
    check_rate(rate, "snow", "mm/h of water", HEAVIEST)
    check_share(overcast, "overcast", "snow")
    check_share(lying, "lying", "snow")
    check_label(label, image)
    if rate == 0:
        return image.clone()
    cloud = min(1.0, (rate / 3.5) ** 0.3) if overcast is None else overcast
    deep = 1 - math.exp(-rate / 2) if lying is None else lying
    light = cloudy_airlight(image) if airlight is None else check_airlight(airlight, torch.device("cpu"))
    _, h, w = image.shape
    eye = camera or assumed_camera(h, w)
    scene = image.cpu() if image.dtype == torch.uint8 else image.detach().to("cpu", torch.float32)
    if label is not None and classes and deep > 0:
        scene = lay_snow(scene, distance.clamp(max=VERY_FAR), eye, label.cpu(), classes, deep, 0.95 * light, generator, threads)
    cover = project(draw_flakes(rate, eye, h, w, generator), eye, h) if flakes else torch.zeros(h, w)
    snowy = see_through(scene, distance, camera, attenuation(rate, wet), light, cover, 0.97 * light, 0.55 * cloud, 1.0, threads)
    return snowy.to(image.device, image.dtype)


def apply_snow(view: View, value: float, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Snow as a row of the weather table: `value` is mm/h of water."""
    return add_snow(view.image, view.depth, value, view.camera, view.label, view.classes, generator=generator)


def attenuation(rate: float, wet: bool = False, wavelength: float = WAVELENGTH) -> float:
    """The veil's beta per metre: equation (1), `wavelength` in nm.

    >>> round(attenuation(1.0), 6), round(attenuation(1.0, wet=True), 6)
    (0.001272, 0.000885)
    """
    a, b = (1.023e-4 * wavelength + 3.7855466, 0.72) if wet else (5.42e-5 * wavelength + 5.4958776, 1.38)
    return a * math.pow(rate, b) / (10 * math.log10(math.e) * 1000)


def flakes_per_volume(rate: float, smallest: float = SMALLEST) -> float:
    """Flakes per m3 that melt to drops of at least `smallest` mm: the integral of (2)."""
    slope = 2.55 * math.pow(rate, -0.48)
    return 3.8e3 * math.pow(rate, -0.87) / slope * math.exp(-slope * smallest)


def draw_flakes(rate: float, camera: Camera, h: int, w: int, generator: torch.Generator) -> Particles:
    """Flakes in front of the camera: places, diameters (2) and (3), and motion, each flake's own beside that of the wind."""
    x, y, z = draw_places(flakes_per_volume(rate), camera, h, w, NEAREST, FARTHEST, generator)
    melted = SMALLEST + torch.empty(z.shape).exponential_(2.55 * math.pow(rate, -0.48), generator=generator)
    diameter = melted.clamp_(max=LARGEST) * DENSITY ** (-1 / 3) / 1000  # clamped: exponential_ can return infinity
    wind = float(torch.randn((), generator=generator))
    dx, dy = torch.randn(2, z.numel(), generator=generator) * 0.35
    scale = EXPOSURE / z
    return Particles(x, y, z, diameter, camera.fx * scale * (wind + dx), camera.fy * scale * (FALL + dy))
