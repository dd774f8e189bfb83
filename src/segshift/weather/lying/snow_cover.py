"""Lying snow as albedo: what it hides becomes white, and keeps the light and the shadows that the picture has there.

    O(x) = (1 - c(x)) J(x) + c(x) B e(x)                                                                  (1)
    e(x) = mean over the ground near x of min(Y / Y', 1.1)                                                (2)

J the image, c the share of the pixel that snow hides, B the colour of snow in full light, e the light that arrives there: grey Y over
the usual grey Y' (the median) of the same class, so that a shadow stays, and a white line, brighter than its road, leaves no trace.

On the ground, c comes from a noise in the plane of the street, metres to the right and ahead (from depth and camera), against a level
that rises with the amount: first in patches, between the tyre tracks, last there too. On what stands upright, snow lies along the upper edges, as
high in pixels as some centimetres are at that depth; on foliage it lies where the leaves are bright, so face the sky.

Assumed: the camera looks along its lane, 3.5 m wide, with tracks at 0.75 m left and right of its middle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Num, UInt8
from torch import Tensor

from segshift.types import IGNORE
from segshift.weather.airlight import GREY
from segshift.weather.depth import Camera
from segshift.weather.falling.particles import in_bands
from segshift.weather.view import GROUND, VEHICLES, known_names

UPRIGHT = ("building", "wall", "fence", "traffic sign", "traffic light", "guard rail", "bridge", *VEHICLES)
"""Classes with upper edges on which snow lies."""
GREENERY = ("vegetation", "tree")
SIDE = 128
"""Side of the noise, a power of two: 32 m of street."""
BLOCK = 16
CRUMB = 100
"""Void at most this part of the image wide is taken for what is beside it."""


def lay_snow(
    image: Num[Tensor, "3 h w"],
    depth: Float[Tensor, "h w"],
    camera: Camera,
    label: UInt8[Tensor, "h w"],
    classes: Sequence[str],
    amount: float,
    light: Float[Tensor, " 3"],
    generator: torch.Generator,
    threads: int = 1,
) -> Num[Tensor, "3 h w"]:
    """The image with snow lying in it: equation (1). `amount` in [0, 1], `light` the colour B in [0, 1]; uint8 or float32 in and out."""
    from segshift.weather.lying.kernels import fill_crumbs, lay  # here, because importing numba takes most of a second

    noise = draw_noise(SIDE, generator).numpy()
    if bool((label == IGNORE).any()):  # pixels that nobody labelled would stay dark specks in the snow
        label = label.clone(memory_format=torch.contiguous_format)
        fill_crumbs(label.numpy(), np.uint8(IGNORE), max(1, label.shape[1] // CRUMB))
    kinds = kinds_of_classes(known_names(classes))
    usual, shade = light_on_ground(image, label, kinds)
    out = image.clone(memory_format=torch.contiguous_format)
    arrays = [v.contiguous().numpy() for v in (depth, label, kinds, usual, shade)]
    scene, white, colour = out.numpy(), np.float32(255 if image.dtype == torch.uint8 else 1), light.contiguous().numpy()
    lens = [np.float32(v) for v in (camera.fx, camera.fy, camera.cx, amount)]
    width = label.shape[1]
    step = max(1, width // 256)

    def draw(first: int, last: int) -> None:
        lay(scene, white, *arrays, noise, *lens, colour, step, first * step, min(width, last * step))

    in_bands(draw, -(-width // step), threads)
    return out


def kinds_of_classes(classes: Sequence[str]) -> UInt8[Tensor, " labels"]:
    """What each of the 256 train ids is to snow; void is bare."""
    from segshift.weather.lying import kernels

    of_name = dict.fromkeys(UPRIGHT, kernels.SOLID) | dict.fromkeys(GREENERY, kernels.FOLIAGE) | dict.fromkeys(GROUND, kernels.GROUND)
    of_name |= dict.fromkeys(("road", "road marking", "lane marking"), kernels.ROAD)
    kinds = torch.full((256,), kernels.BARE, dtype=torch.uint8)
    kinds[: len(classes)] = torch.tensor([of_name.get(name, kernels.BARE) for name in classes], dtype=torch.uint8)
    return kinds


def light_on_ground(
    image: Num[Tensor, "3 h w"], label: UInt8[Tensor, "h w"], kinds: UInt8[Tensor, " labels"]
) -> tuple[Float[Tensor, " kinds"], Float[Tensor, "gh gw"]]:
    """The usual grey of each kind in the image's own units, and equation (2) on a grid of one value in 16 x 16 pixels."""
    from segshift.weather.lying import kernels

    step = BLOCK // 2  # every 8th pixel tells as much
    few = image[:, ::step, ::step].to(torch.float32)
    grey = torch.tensordot(few.new_tensor(GREY), few, 1)
    kind = kinds[label[::step, ::step].to(torch.int64)]
    usual = grey.median().repeat(5)
    for k in (kernels.ROAD, kernels.GROUND, kernels.FOLIAGE):  # snow on all else asks for no grey
        own = grey[kind == k]
        if own.numel() > 0:
            usual[k] = own.median()
    usual.clamp_min_(1e-3)
    ground = ((kind == kernels.ROAD) | (kind == kernels.GROUND)).to(torch.float32)
    lit = (grey / usual[kind.to(torch.int64)]).clamp_(max=1.1)
    sides = [-(-side // BLOCK) + 2 for side in label.shape]
    blocks = torch.nn.functional.pad(torch.stack([lit * ground, ground])[None], (0, 2 * sides[1] - lit.shape[1], 0, 2 * sides[0] - lit.shape[0]))
    near = torch.nn.functional.avg_pool2d(blocks, 2)
    near = torch.nn.functional.avg_pool2d(near, 5, stride=1, padding=2)[0]
    return usual, torch.where(near[1] > 1e-4, near[0] / near[1].clamp_min(1e-4), 1.0)


def draw_noise(side: int, generator: torch.Generator) -> Float[Tensor, "{side} {side}"]:
    """Periodic noise of all scales, its values even over [0, 1]: white noise with the spectrum f^-1.2."""
    waves = torch.fft.rfft2(torch.randn(side, side, generator=generator))
    frequency = torch.hypot(torch.fft.fftfreq(side)[:, None], torch.fft.rfftfreq(side)[None])
    frequency[0, 0] = torch.inf
    field = torch.fft.irfft2(waves * frequency**-1.2, s=(side, side))
    even: Tensor = torch.special.ndtr(field / field.std())
    return even
