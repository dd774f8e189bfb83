"""Joint augmentation of image, label and depth.

Geometry is the same for the three, colour touches the image only. Labels and depths are sampled at the nearest pixel, so
that no class and no distance is invented; what lies outside the image is 255 in the label, 0 (unknown) in the depth and
the image's mean colour in the image. Depths stay metres: scaling or rotating an image leaves them as they are, so after a
random scale they no longer follow from the image's size and the camera.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import Image, Mask

from segshift.data.color import change_colors
from segshift.errors import DataError, RecipeError
from segshift.types import IGNORE, Sample

# One uniform number each, always drawn in this order: switching one thing on leaves what the others draw as it was.
DRAWN = ("scale", "row", "column", "flip", "rotate", "angle", "gamma", "blur", "sigma", "brightness", "contrast", "saturation", "hue", "curve", "jitter")


@final
@dataclass(frozen=True, kw_only=True)
class JointTransform:
    """Random geometry and colour for a sample, in this order; whatever is left at its default is off.

    - `size` (height, width): resize to it; None keeps the sample's own size.
    - `scale` (low, high): multiply that size by a factor drawn uniformly, then cut a window of `crop` at random (padding
      where the image is smaller). `crop` is (height, width); None is `size`.
    - `flip`: probability of a mirror image. `rotation`: largest angle in degrees, either way, with probability `rotation_p`.
    - `gamma` (low, high): exponent of the values in [0, 1], with probability `gamma_p`.
    - `blur`: probability of a Gaussian blur, its standard deviation drawn from `blur_sigma` in pixels.
    - `brightness`, `contrast`, `saturation`: factors drawn from 1 - x to 1 + x (not below 0). `hue`: drawn from -x to x turns.
      All four or none of them, with probability `jitter_p`.

    What the colour steps are, and that they are torchvision's, is said in `data/color`.

    The result depends on the sample and on the generator's state only. Raises RecipeError for options that cannot be.

    >>> transform = JointTransform(size=(4, 6), flip=0.5, brightness=0.4)
    >>> sample = Sample(torch.zeros(3, 8, 12, dtype=torch.uint8), torch.ones(8, 12, dtype=torch.uint8), None, "black")
    >>> transform(sample, torch.Generator().manual_seed(0)).label.shape
    torch.Size([4, 6])
    """

    size: Sequence[int] | None = None
    crop: Sequence[int] | None = None
    scale: Sequence[float] | None = None
    flip: float = 0.0
    rotation: float = 0.0
    rotation_p: float = 0.5
    gamma: Sequence[float] | None = None
    gamma_p: float = 1.0
    blur: float = 0.0
    blur_sigma: Sequence[float] = (0.1, 2.0)
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter_p: float = 1.0

    def __post_init__(self) -> None:
        for name in ("size", "crop"):
            check_size(name, getattr(self, name))
        for name in ("scale", "gamma", "blur_sigma"):
            check_range(name, getattr(self, name))
        for name, most in (("flip", 1.0), ("rotation_p", 1.0), ("gamma_p", 1.0), ("blur", 1.0), ("hue", 0.5), ("jitter_p", 1.0), ("rotation", 180.0)):
            check_between(name, getattr(self, name), most)
        for name in ("brightness", "contrast", "saturation"):
            check_between(name, getattr(self, name), math.inf)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        """A changed copy of the sample: uint8 image; the sample itself where nothing changes."""
        check_sample(sample)
        u = dict(zip(DRAWN, torch.rand(len(DRAWN), generator=generator).tolist(), strict=True))
        size = tuple(self.size or sample.image.shape[1:])
        factor = 1.0 if self.scale is None else between(u["scale"], *self.scale)
        sample = resize_and_crop(sample, size, tuple(self.crop or size), factor, u["row"], u["column"])
        if u["flip"] < self.flip:
            sample = map_planes(sample, F.horizontal_flip, lambda plane, fill: F.horizontal_flip(plane))
        if self.rotation > 0 and u["rotate"] < self.rotation_p:
            sample = rotate(sample, between(u["angle"], -self.rotation, self.rotation))
        jitters = u["jitter"] < self.jitter_p
        image = change_colors(
            sample.image,
            gamma=between(u["gamma"], *self.gamma) if self.gamma is not None and u["curve"] < self.gamma_p else 1.0,
            sigma=between(u["sigma"], *self.blur_sigma) if u["blur"] < self.blur else 0.0,
            brightness=around_one(u["brightness"], jitters * self.brightness),
            contrast=around_one(u["contrast"], jitters * self.contrast),
            saturation=around_one(u["saturation"], jitters * self.saturation),
            hue=jitters * between(u["hue"], -self.hue, self.hue),
        )
        return sample if image is sample.image else replace(sample, image=image)


def resize_sample(sample: Sample, size: Sequence[int]) -> Sample:
    """The sample at another size (height, width): image bilinear with antialiasing, label and depth nearest."""
    check_size("size", size)
    check_sample(sample)
    return resize_and_crop(sample, tuple(size), tuple(size))


def resize_and_crop(sample: Sample, size: tuple[int, ...], crop: tuple[int, ...], factor: float = 1.0, row: float = 0.0, column: float = 0.0) -> Sample:
    """Resize to `size` times `factor`, then cut or pad to `crop`; `row` and `column` in [0, 1) say where the window lies.

    Only the part of the sample that ends up in the window is resized.
    """
    windows, resized, padding = [], [], []
    for have, whole, wanted, place in zip(sample.image.shape[1:], size, crop, (row, column), strict=True):
        whole = max(1, round(whole * factor))
        part = have if whole <= wanted else max(1, round(have * wanted / whole))
        start = int(place * (have - part + 1))
        windows.append(slice(start, start + part))
        resized.append(min(whole, wanted))
        before = int(place * (wanted - resized[-1] + 1))
        padding.append((before, wanted - resized[-1] - before))

    rows, columns = windows
    if (rows.stop - rows.start, columns.stop - columns.start) != sample.image.shape[1:]:
        sample = map_planes(sample, lambda image: image[:, rows, columns], lambda plane, fill: plane[:, rows, columns])
    if tuple(resized) != sample.image.shape[1:]:
        # nearest-exact keeps pixel centres where bilinear has them; torchvision's nearest for masks is up to half a pixel off.
        sample = map_planes(
            sample,
            lambda image: resize_image(image, resized),
            lambda plane, fill: F.resize_image(plane, resized, interpolation=InterpolationMode.NEAREST_EXACT),
        )
    (top, bottom), (left, right) = padding
    if top or bottom or left or right:
        sides, mean = [left, top, right, bottom], mean_color(sample.image)
        sample = map_planes(sample, lambda image: F.pad(image, sides, fill=mean), lambda plane, fill: F.pad(plane, sides, fill=fill))
    return sample


def resize_image(image: UInt8[Tensor, "3 h w"], size: list[int]) -> UInt8[Tensor, "3 rh rw"]:
    # PyTorch's kernel for uint8 stops with an internal error where the result is a single pixel.
    values = image.float() if size == [1, 1] else image
    resized: Tensor = F.resize(values, size, interpolation=InterpolationMode.BILINEAR, antialias=True)
    return resized.round().to(torch.uint8) if size == [1, 1] else resized


def rotate(sample: Sample, degrees: float) -> Sample:
    """The sample turned about its centre, counter-clockwise."""
    mean = mean_color(sample.image)
    return map_planes(
        sample,
        lambda image: F.rotate(image, degrees, interpolation=InterpolationMode.BILINEAR, fill=mean),
        lambda plane, fill: F.rotate(plane, degrees, interpolation=InterpolationMode.NEAREST, fill=fill),
    )


def map_planes(sample: Sample, on_image: Callable[[Tensor], Tensor], on_plane: Callable[[Tensor, int], Tensor]) -> Sample:
    """`on_image` of the image, and `on_plane` of label and depth, (1, H, W), with the value of what is outside."""

    def plane(values: Tensor | None, fill: int) -> Tensor | None:
        return None if values is None else on_plane(Mask(values.unsqueeze(0)), fill).as_subclass(Tensor).squeeze(0)

    return replace(
        sample,
        image=on_image(Image(sample.image)).as_subclass(Tensor),
        label=plane(sample.label, IGNORE),
        depth=plane(sample.depth, 0),
    )


def mean_color(image: UInt8[Tensor, "3 h w"]) -> list[float]:
    mean: list[float] = image.mean((1, 2), dtype=torch.float32).round().tolist()
    return mean


def between(u: float, low: float, high: float) -> float:
    return low + u * (high - low)


def around_one(u: float, spread: float) -> float:
    return between(u, max(0.0, 1 - spread), 1 + spread)


def check_sample(sample: Sample) -> None:
    size = tuple(sample.image.shape[1:])
    for what, plane in (("label", sample.label), ("depth", sample.depth)):
        if plane is not None and tuple(plane.shape) != size:
            have, wanted = " x ".join(map(str, plane.shape)), " x ".join(map(str, size))
            raise DataError(f"{sample.name}: {what} is {have} and image {wanted} (height x width): they must be of one size")


def check_size(name: str, value: Sequence[int] | None) -> None:
    if value is not None and not (len(value) == 2 and all(isinstance(side, int) and side >= 1 for side in value)):
        raise RecipeError(f"{name} {value}: give (height, width), two whole numbers of at least 1")


def check_range(name: str, value: Sequence[float] | None) -> None:
    if value is not None and not (len(value) == 2 and 0 < value[0] <= value[1] < math.inf):
        raise RecipeError(f"{name} {value}: give (low, high) with 0 < low <= high")


def check_between(name: str, value: float, most: float) -> None:
    if not (0 <= value <= most and math.isfinite(value)):
        raise RecipeError(f"{name} {value}: it must be {'0 or above' if most == math.inf else f'from 0 to {most:g}'}")
