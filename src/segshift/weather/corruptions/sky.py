"""Weather drawn over the picture without knowledge of depth, and bright light.

With x in [0, 1], m its largest value, grey(x) = 0.299 r + 0.587 g + 0.114 b:

    snow:         y = w x + (1 - w) max(x, 1.5 grey(x) + 0.5) + f + rot180(f)   f the flakes, w the share that is not whitened   (1)
    fog:          y = (x + c p) m / (m + c)           p plasma in [0, 1], c the amount                              (2)
    brightness:   V(y) = V(x) + b at the same hue and saturation,  V = max(r, g, b)                               (3)
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from segshift.weather.corruptions.blur import enlarge, smear
from segshift.weather.corruptions.levels import GREY, to_levels, to_unit

SNOW = (  # mean and deviation of the noise, zoom, threshold, radius and deviation of the motion, share w
    (0.1, 0.3, 3.0, 0.5, 10, 4.0, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12, 4.0, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12, 8.0, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8.0, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12.0, 0.55),
)
FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))  # amount c, decay of the plasma
BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)


def snow(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (1): white flakes, seen twice, the second time upside down, over a whitened picture."""
    mean, deviation, zoom, threshold, radius, motion, share = SNOW[severity - 1]
    values = to_unit(image)
    _, height, width = values.shape
    flakes = draw_flakes(height, width, mean, deviation, zoom, threshold, radius, motion, generator)
    grey = torch.einsum("chw, c -> hw", values, values.new_tensor(GREY))
    whitened = torch.maximum(values, grey.mul_(1.5).add_(0.5))
    return to_levels(torch.lerp(whitened, values, share) + flakes + flakes.flip(0, 1))


def draw_flakes(
    height: int, width: int, mean: float, deviation: float, zoom: float, threshold: float, radius: int, motion: float, generator: torch.Generator
) -> Float[Tensor, "h w"]:
    """Normal noise, enlarged, cleared below the threshold, clipped to [0, 1] and smeared along an angle that is uniform in -135 to -45 degrees.

    The motion is that of `motion_blur`; the first ImageNet-C called ImageMagick for it.
    """
    noise = torch.randn(1, height, width, generator=generator).mul_(deviation).add_(mean)
    angle = float(torch.empty(()).uniform_(-135, -45, generator=generator))
    flakes = enlarge(noise, zoom)
    flakes = torch.where(flakes < threshold, 0.0, flakes).clamp_(0, 1)
    return to_unit((smear(flakes, radius, motion, angle) * 255).round_().to(torch.uint8))[0, :height, :width]


def fog(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (2): clouds of plasma, the same near and far; `add_fog` is fog by physics."""
    amount, decay = FOG[severity - 1]
    values = to_unit(image)
    _, height, width = values.shape
    brightest = float(values.max())
    side = 1 << (max(height, width, 3) - 1).bit_length()
    clouds = plasma(side, decay, generator)[:height, :width]
    return to_levels(values.add_(clouds, alpha=amount).mul_(brightest / (brightest + amount)))


def plasma(side: int, decay: float, generator: torch.Generator) -> Float[Tensor, "{side} {side}"]:
    """A fractal landscape in [0, 1] by the diamond-square algorithm, periodic; `side` is a power of two, 2 at least.

    Each point is the mean of its four neighbours on the grid so far plus uniform noise, whose range shrinks by the square of `decay`
    when the grid's step is halved. Source: Fournier, Fussell and Carpenter, "Computer Rendering of Stochastic Models", 1982.
    """
    field = torch.zeros(side, side)
    step, reach = side, 1.0
    while step > 1:
        half = step // 2
        corner = field[::step, ::step].clone()

        def jolted(four: Tensor) -> Tensor:
            return four.div_(4).add_(torch.empty_like(four).uniform_(-reach, reach, generator=generator))  # noqa: B023  # used in this turn only

        right, below = corner.roll(-1, 1), corner.roll(-1, 0)
        centre = jolted(corner + right + below + below.roll(-1, 1))
        field[half::step, half::step] = centre
        field[::step, half::step] = jolted(corner + right + centre + centre.roll(1, 0))
        field[half::step, ::step] = jolted(corner + below + centre + centre.roll(1, 1))
        step, reach = half, reach / decay**2
    field -= field.min()
    return field.div_(field.max())


def brightness(image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Equation (3), where V is clipped at 1 and black becomes grey; nothing is drawn from the generator."""
    values = to_unit(image)
    value = values.amax(0)
    brighter = (value + BRIGHTNESS[severity - 1]).clamp_(max=1)
    return to_levels(torch.where(value > 0, values * (brighter / value), brighter))
