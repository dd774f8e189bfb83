"""The fifteen common corruptions of ImageNet-C at their published constants, for colour images of any size.

Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019, in the
form for any image size of Michaelis et al., "Benchmarking Robustness in Object Detection", 2019 (the package
`imagecorruptions`, 1.1.2, to which "published" refers in this folder); on Cityscapes as in Kamann and Rother,
"Benchmarking the Robustness of Semantic Segmentation Models", CVPR 2020 (Cityscapes-C).

Unlike a weather, a corruption knows nothing of the scene's depth: it is a test of robustness, not a simulation. The labels of
an image stay as they are, also under `elastic_transform`, as published.

Departures from the published ones, here and where they occur:
- random numbers come from a torch generator, so single random images differ and their statistics agree;
- `frost` draws its ice, for the published photographs cannot be shipped (frost.py);
- motion that is longer than the image goes on over the repeated border, instead of darkening it (blur.py);
- single snow flakes at the border differ where scipy's zoom, which the published one calls, reads past the last pixel by round-off (sky.py);
- an image that is a pixel or two wide is blurred and resized as far as it can be, instead of being refused (the published ones want 32).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from torch import Tensor

from segshift.errors import DataError, unknown_name
from segshift.weather.corruptions.blur import defocus_blur, glass_blur, motion_blur, zoom_blur
from segshift.weather.corruptions.digital import contrast, elastic_transform, jpeg_compression, pixelate
from segshift.weather.corruptions.frost import frost
from segshift.weather.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from segshift.weather.corruptions.sky import brightness, fog, snow
from segshift.weather.view import View

__all__ = ["CORRUPTIONS", "Corrupt", "apply_corruption", "corrupt"]


@runtime_checkable
class Corrupt(Protocol):
    """What a corruption does to one image at a severity of 1 (least) to 5; whatever is random in it is drawn from the generator."""

    def __call__(self, image: UInt8[Tensor, "3 h w"], severity: int, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]: ...


CORRUPTIONS: Mapping[str, Corrupt] = MappingProxyType(
    {
        "gaussian_noise": gaussian_noise,
        "shot_noise": shot_noise,
        "impulse_noise": impulse_noise,
        "defocus_blur": defocus_blur,
        "glass_blur": glass_blur,
        "motion_blur": motion_blur,
        "zoom_blur": zoom_blur,
        "snow": snow,
        "frost": frost,
        "fog": fog,
        "brightness": brightness,
        "contrast": contrast,
        "elastic_transform": elastic_transform,
        "pixelate": pixelate,
        "jpeg_compression": jpeg_compression,
    }
)
"""The common corruptions in their published order: noise, blur, weather, digital."""
DETERMINISTIC = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
"""Those that draw nothing from the generator."""


def corrupt(image: UInt8[Tensor, "3 h w"], name: str, severity: int, *, generator: torch.Generator | None = None) -> UInt8[Tensor, "3 h w"]:
    """The image under one of CORRUPTIONS, as a new image of the same size on the same device; equal generators give equal images.

    `severity` is a whole number from 1 (least) to 5. Without a generator torch's default one draws; it must be one of the CPU,
    where the work is done. Grey levels are cut off, not rounded, as published.

    Raises UnknownNameError for another name; DataError for another severity, and for an image that is not uint8 (3, H, W).

    >>> corrupt(torch.full((3, 1, 2), 100, dtype=torch.uint8), "brightness", severity=3)[0]
    tensor([[176, 176]], dtype=torch.uint8)
    """
    if name not in CORRUPTIONS:
        raise unknown_name("corruption", name, CORRUPTIONS)
    if severity not in range(1, 6):
        raise DataError(f"{name} of severity {severity!r}: severities are 1, 2, 3, 4, 5, from least to most")
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
        raise DataError(f"image of shape {tuple(image.shape)}: corruptions take (3, H, W), one image with its channels first")
    if image.dtype != torch.uint8:
        raise DataError(f"image of {image.dtype}: corruptions take uint8; for floats in [0, 1]: (255 * image).round().to(torch.uint8)")
    drawn = torch.default_generator if generator is None else generator
    return CORRUPTIONS[name](image.cpu(), int(severity), drawn).to(image.device)


def apply_corruption(name: str, view: View, value: float, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """A corruption as a row of the weather table, once `name` is given: `value` is the severity."""
    return corrupt(view.image, name, int(value), generator=generator)
