"""Fog from an image and its depth.

Koschmieder's law of horizontal visibility, as applied to street images by Sakaridis, Dai and Van Gool, "Semantic Foggy
Scene Understanding with Synthetic Data", IJCV 2018 (Foggy Cityscapes):

    I(x) = J(x) t(x) + A (1 - t(x))                                                                       (1)
    t(x) = exp(-beta l(x))                                                                                (2)

I the foggy and J the clear image, A the atmospheric light (airlight) in [0, 1] per channel, t the transmittance, beta the
attenuation per metre, l the range along the ray in metres. The visibility is the range at which 5 % of the contrast is
left: -ln(0.05) / beta.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from jaxtyping import Float, Num
from torch import Tensor

from segshift.errors import DataError
from segshift.weather.depth import Camera, complete_depth

FOG_PRESETS: Mapping[str, float] = MappingProxyType({"light": 0.005, "medium": 0.01, "dense": 0.02})
"""The attenuations of Foggy Cityscapes, beta per metre: visibility 599, 300 and 150 m."""

PATCH = 15
BRIGHTEST = 0.001
GREY = (0.2989, 0.5870, 0.1140)


def add_fog(
    image: Num[Tensor, "c h w"],
    depth: Float[Tensor, "dh dw"] | None,
    beta: float,
    airlight: float | Sequence[float] | Tensor | None = None,
    camera: Camera | None = None,
) -> Num[Tensor, "c h w"]:
    """The image seen through homogeneous fog: equations (1) and (2).

    `image` is (3, H, W), in [0, 1] or uint8, and the result has its dtype (uint8 is rounded). `depth` is (H, W) in metres
    along the optical axis; with a `camera` it is turned into the range along each ray, without one it is taken as the range.
    0 marks an unknown depth, which is taken from the nearest known pixel; infinity is allowed. `beta` is per metre.
    `airlight` is in [0, 1] for either dtype, one value or three; None estimates it from the image (`estimate_airlight`).

    Raises DataError for a depth that is None (the sample of a domain without depth), of another size, negative, NaN or unknown
    everywhere, or beta below 0.

    >>> add_fog(torch.zeros(3, 1, 2), torch.tensor([[10.0, 100.0]]), beta=0.01, airlight=1.0)[0]
    tensor([[0.0952, 0.6321]])
    """
    check_image(image)
    check_beta(beta)
    depth = check_depth(depth, image)
    if beta == 0:
        return image.clone()
    work = torch.promote_types(image.dtype, torch.float32)
    light = estimate_airlight(image) if airlight is None else check_airlight(airlight, image.device)
    distance = complete_depth(depth.to(device=image.device, dtype=work))
    if camera is not None:
        distance = distance * camera.ray_factor(image.shape[1], image.shape[2], device=image.device)
    transmittance = torch.exp(-beta * distance)
    # lerp is exact at both ends: t = 1 leaves the image, t = 0 is the airlight.
    if image.dtype == torch.uint8:
        foggy = image.to(work)  # in place from here: a second float image costs more than the arithmetic
        return torch.lerp(255 * light.view(3, 1, 1), foggy, transmittance, out=foggy).round_().to(torch.uint8)
    return torch.lerp(light.to(work).view(3, 1, 1), image.to(work), transmittance).to(image.dtype)


def apply_fog(
    image: Num[Tensor, "c h w"], depth: Float[Tensor, "dh dw"] | None, value: float, camera: Camera | None, generator: torch.Generator
) -> Num[Tensor, "c h w"]:
    """Fog as a row of the weather table: `value` is beta per metre; nothing is drawn from the generator."""
    return add_fog(image, depth, beta=value, camera=camera)


def visibility(beta: float) -> float:
    """Metres at which fog leaves 5 % of the contrast: -ln(0.05) / beta; infinite for beta 0.

    >>> round(visibility(0.01), 1)
    299.6
    """
    check_beta(beta)
    return -math.log(0.05) / beta if beta > 0 else math.inf


def estimate_airlight(image: Num[Tensor, "c h w"]) -> Float[Tensor, " 3"]:
    """Airlight in [0, 1] from the dark channel, as for Foggy Cityscapes.

    The dark channel is the least value of the three channels in a 15 x 15 window. Of its brightest 0.1 % (rounded down, then
    up to an odd count; of equals the first in reading order), the pixel with the median grey gives its colour.

    Source: He, Sun and Tang, "Single Image Haze Removal Using Dark Channel Prior", CVPR 2009, with the median of Sakaridis et al.
    """
    check_image(image)
    dark = dark_channel(image).flatten()
    count = int(BRIGHTEST * dark.numel())
    count += (count + 1) % 2
    least = dark.topk(count, sorted=False).values.min()
    above, equal = (dark > least).nonzero().flatten(), (dark == least).nonzero().flatten()
    chosen = torch.cat([above, equal[: count - above.numel()]])
    colors = image.flatten(1)[:, chosen].to(torch.float32)
    if image.dtype == torch.uint8:
        colors = colors / 255
    elif not bool(((colors >= 0) & (colors <= 1)).all()):
        raise DataError("float image outside [0, 1]: divide it by 255, or pass it as uint8")
    grey = colors.new_tensor(GREY) @ colors
    return colors[:, grey.argsort(stable=True)[count // 2]]


def dark_channel(image: Num[Tensor, "c h w"], patch: int = PATCH) -> Num[Tensor, "h w"]:
    """Least value over the channels and a window of `patch` x `patch` pixels, cut off at the image's border."""
    dark = image.amin(0)
    most = 255 if image.dtype == torch.uint8 else math.inf
    for _ in range(2):
        dark = running_minimum(torch.nn.functional.pad(dark, (patch // 2, (patch - 1) // 2), value=most), patch).T
    return dark


def running_minimum(values: Num[Tensor, "h v"], window: int) -> Num[Tensor, "h w"]:
    """Minimum of each `window` neighbours along the last axis, in log2(window) vector operations: windows of 1, 2, 4 ... grow."""
    width = 1
    while width < window:
        step = min(width, window - width)
        values = torch.minimum(values[:, :-step], values[:, step:])
        width += step
    return values


def check_image(image: Tensor) -> None:
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
        raise DataError(f"image of shape {tuple(image.shape)}: fog takes (3, H, W)")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise DataError(f"image of {image.dtype}: fog takes uint8, or floats in [0, 1]")


def check_beta(beta: float) -> None:
    if not (math.isfinite(beta) and beta >= 0):
        presets = ", ".join(f"{name} {value}" for name, value in FOG_PRESETS.items())
        raise DataError(f"fog with beta {beta}: it must be 0 or above, per metre ({presets})")


def check_depth(depth: Tensor | None, image: Tensor) -> Tensor:
    if depth is None:
        raise DataError("fog needs depth in metres, and there is none: use the samples of a domain with depth (streets, cityscapes, a folder with `depth`)")
    if depth.shape != image.shape[1:]:
        raise DataError(f"depth of shape {tuple(depth.shape)} for an image of {tuple(image.shape[1:])}: both must have the same height and width")
    if not bool(depth.amin() >= 0):  # NaN is passed on by amin
        raise DataError("depth with negative or NaN values: set unknown pixels to 0, they are filled from the nearest known ones")
    return depth


def check_airlight(airlight: float | Sequence[float] | Tensor, device: torch.device) -> Tensor:
    light = torch.as_tensor(airlight, dtype=torch.float32, device=device).flatten()
    if light.numel() not in (1, 3) or not bool(((light >= 0) & (light <= 1)).all()):
        raise DataError(f"airlight {light.tolist()}: give one value or three (red, green, blue), each in [0, 1], also for uint8 images")
    return light.expand(3)
