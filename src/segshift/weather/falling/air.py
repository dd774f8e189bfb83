"""The air between the camera and the scene: overcast light, the veil, and particles in front of it.

    J'(x) = g ((1 - s) J(x) + s Y(x))                                                                     (1)
    I(x) = J'(x) t(x) + A (1 - t(x)),   t(x) = exp(-beta l(x))                                            (2)
    O(x)^2 = (1 - a(x)) I(x)^2 + a(x) B^2                                                                 (3)

J the image in [0, 1] and Y its grey, s the share of colour lost and g the gain under clouds, A the airlight, beta the attenuation
per metre, l the range along the ray in metres, a the share of the exposure for which particles of colour B hide the pixel.
A sensor adds up light over the exposure, not encoded values: (3) is that sum under an encoding with the exponent 1 / 2, the nearest
to that of sRGB (about 1 / 2.2) that costs one root. (2) is left in encoded values, as in Foggy Cityscapes and for the same airlight.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor

from segshift.errors import DataError
from segshift.weather.airlight import GREY, estimate_airlight
from segshift.weather.checks import check_depth, check_image
from segshift.weather.depth import Camera, complete_depth
from segshift.weather.falling.particles import Capsules, in_bands

GLANCE = 256
"""Rows of the smaller image from which airlight is estimated: its window of 15 pixels is then a larger share of the view."""


def see_through(
    image: Num[Tensor, "3 h w"],
    depth: Float[Tensor, "h w"],
    camera: Camera | None,
    beta: float,
    airlight: Float[Tensor, " 3"],
    cover: Float[Tensor, "h padded"] | Capsules,
    glow: Float[Tensor, " 3"],
    fade: float = 0.0,
    gain: float = 1.0,
    threads: int = 1,
) -> Num[Tensor, "3 h w"]:
    """Equations (1) to (3) in one pass, in the image's dtype: `fade` is s, `cover` a (further columns are not read) or the particles, `glow` B."""
    from segshift.weather.falling.kernels import compose, draw_and_compose  # here, because importing numba takes most of a second

    planes = (image if image.dtype == torch.uint8 else image.to(torch.float32)).detach().contiguous().numpy()
    out = np.empty_like(planes)
    _, h, w = planes.shape
    x2, y2 = torch.zeros(w), torch.zeros(h)
    if camera is not None:
        x2, y2 = ((torch.arange(w) - camera.cx) / camera.fx).square(), ((torch.arange(h) - camera.cy) / camera.fy).square()
    far, xs, ys, light, shine = (v.numpy() for v in (depth, x2, y2, airlight.contiguous(), glow.contiguous()))
    white, per_metre, grey, bright = (np.float32(v) for v in (255 if image.dtype == torch.uint8 else 1, beta, fade, gain))

    def draw(first: int, last: int) -> None:
        if isinstance(cover, Capsules):
            draw_and_compose(cover.order, cover.starts, cover.arrays, planes, white, far, xs, ys, per_metre, light, grey, bright, shine, first, last, out)
        else:
            rows = slice(first, last)
            compose(planes[:, rows], white, far[rows], xs, ys[rows], per_metre, light, grey, bright, cover.numpy()[rows], shine, out[:, rows])

    in_bands(draw, cover.starts.size - 1 if isinstance(cover, Capsules) else h, threads)
    return torch.from_numpy(out).to(image.dtype)


def known_depth(depth: Float[Tensor, "dh dw"] | None, image: Num[Tensor, "c h w"], camera: Camera | None, weather: str) -> Float[Tensor, "h w"]:
    """Checked, completed, contiguous float32 depth in the CPU's memory."""
    check_image(image, weather)
    depth = check_depth(depth, image, weather).detach().to(device="cpu", dtype=torch.float32).contiguous()
    if camera is not None:
        camera.check_size(image.shape[1], image.shape[2])
    return complete_depth(depth)


def check_rate(rate: float, weather: str, unit: str, heaviest: float) -> None:
    if not 0 <= rate <= heaviest:  # NaN is neither
        raise DataError(f"{weather} with rate {rate}: it must be from 0 to {heaviest:g}, in {unit}")


def check_share(value: float | None, name: str, weather: str) -> None:
    if value is not None and not 0 <= value <= 1:
        raise DataError(f"{weather} with {name}={value}: it must lie in [0, 1], or be None for what goes with the rate")


def assumed_camera(h: int, w: int) -> Camera:
    """A camera that sees 53 degrees across, for an image without one."""
    return Camera(fx=float(w), fy=float(w), cx=(w - 1) / 2, cy=(h - 1) / 2)


def cloudy_airlight(image: Num[Tensor, "3 h w"]) -> Float[Tensor, " 3"]:
    """Light of an overcast sky: the image's airlight, estimated on a smaller image, without most of its colour.

    It is at least as bright as the brightest twentieth of the image begins: the dark channel of a blue sky is low, clouds are not.
    """
    step = max(1, image.shape[1] // GLANCE)
    small = image[:, ::step, ::step].detach().cpu().contiguous()
    light = estimate_airlight(small)
    grey = torch.tensordot(light.new_tensor(GREY), small.to(torch.float32), 1).flatten() / (255 if image.dtype == torch.uint8 else 1)
    own = light.new_tensor(GREY) @ light
    rank = max(0, round(0.95 * grey.numel()) - 1)
    bright = own.clamp_min(float(np.partition(grey.numpy(), rank)[rank]))  # a tenth of the time of torch's kthvalue
    return ((0.8 * own + 0.2 * light) * (bright / own.clamp_min(1e-6))).clamp_(max=1)
