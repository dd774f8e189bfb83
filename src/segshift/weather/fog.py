"""Fog from an image and its depth.

Koschmieder's law of horizontal visibility, as applied to street images by Sakaridis, Dai and Van Gool, "Semantic Foggy
Scene Understanding with Synthetic Data", IJCV 2018 (Foggy Cityscapes):

    I(x) = J(x) t(x) + A (1 - t(x))                                                                       (1)
    t(x) = exp(-beta l(x))                                                                                (2)

I the foggy and J the clear image, A the atmospheric light (airlight) in [0, 1] per channel, t the transmittance, beta the
attenuation per metre, l the range along the ray in metres. The visibility is the range at which 5 % of the contrast is
left: -ln(0.05) / beta. Where l comes from disparity, t is refined: by a guided filter (Foggy Cityscapes) or with the labels (Foggy
Cityscapes-DBF).

Departure: t is refined once, at beta = 0.01, and l = -ln(t) / 0.01 of the refined t serves every beta, so that a sweep costs one
exponential each. On a rendered street 99 % of the pixels are within 4 grey levels (beta 0.005) and 3 (0.02) of one refined there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Num, UInt8
from torch import Tensor

from segshift.errors import DataError
from segshift.weather.airlight import check_airlight, estimate_airlight
from segshift.weather.checks import check_depth, check_image
from segshift.weather.depth import Camera, complete_depth
from segshift.weather.refine.bilateral import dual_reference_filter
from segshift.weather.refine.guided import guided_filter
from segshift.weather.view import Refine, View

FOG_PRESETS: Mapping[str, float] = MappingProxyType({"light": 0.005, "medium": 0.01, "dense": 0.02})
"""The attenuations of Foggy Cityscapes, beta per metre: visibility 599, 300 and 150 m."""

REFINED_AT = FOG_PRESETS["medium"]
OPAQUE = 1e-6
"""Transmittance below which a refined pixel has nothing left of its own light."""


@final
@dataclass(frozen=True)
class FogScene:
    """All that fog needs of one image, computed once: `render` costs one exponential a pixel. Made by `prepare_fog`."""

    image: Num[Tensor, "3 h w"]
    airlight: Float[Tensor, " 3"]
    distance: Float[Tensor, "h w"]

    def render(self, beta: float) -> Num[Tensor, "3 h w"]:
        """The image in fog of `beta` per metre, in its own dtype: equations (1) and (2)."""
        check_beta(beta)
        if beta == 0:
            return self.image.clone()
        differentiated = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (self.image, self.distance, self.airlight))
        compiled = self.image.device.type == "cpu" and self.image.dtype in (torch.uint8, torch.float32) and not differentiated
        return (veil_compiled if compiled else veil_anywhere)(self.image, self.distance, self.airlight, beta)


def prepare_fog(
    image: Num[Tensor, "c h w"],
    depth: Float[Tensor, "dh dw"] | None,
    camera: Camera | None = None,
    airlight: float | Sequence[float] | Tensor | None = None,
    refine: Refine | None = None,
    label: UInt8[Tensor, "lh lw"] | None = None,
) -> FogScene:
    """Airlight and range of an image, for fog of any beta; the arguments are those of `add_fog`.

    >>> scene = prepare_fog(torch.zeros(3, 1, 2), torch.tensor([[10.0, 100.0]]), airlight=1.0)
    >>> [round(float(scene.render(beta)[0, 0, 0]), 4) for beta in (0.005, 0.01, 0.02)]
    [0.0488, 0.0952, 0.1813]
    """
    check_image(image, "fog")
    depth = check_depth(depth, image, "fog")
    light = estimate_airlight(image) if airlight is None else check_airlight(airlight, image.device)
    distance = complete_depth(depth.to(device=image.device, dtype=torch.promote_types(image.dtype, torch.float32)))
    if camera is not None:
        distance = distance * camera.ray_factor(image.shape[1], image.shape[2], device=image.device)
    if refine is not None:
        distance = refined(distance, image, refine, label)
    return FogScene(image, light, distance)


def add_fog(
    image: Num[Tensor, "c h w"],
    depth: Float[Tensor, "dh dw"] | None,
    beta: float,
    airlight: float | Sequence[float] | Tensor | None = None,
    camera: Camera | None = None,
    refine: Refine | None = None,
    label: UInt8[Tensor, "lh lw"] | None = None,
) -> Num[Tensor, "c h w"]:
    """The image seen through homogeneous fog: equations (1) and (2).

    `image` is (3, H, W), in [0, 1] or uint8, and the result has its dtype (uint8 is rounded). `depth` is (H, W) in metres
    along the optical axis; with a `camera` it is turned into the range along each ray, without one it is taken as the range.
    0 marks an unknown depth, which is taken from the nearest known pixel; infinity is allowed. `beta` is per metre.
    `airlight` is in [0, 1] for either dtype, one value or three; None estimates it from the image (`estimate_airlight`).
    `refine` makes transmittance follow the picture where depth is rough: "guided" by its colours, "labels" by colours and `label`.

    Raises DataError for a depth that is None (the sample of a domain without depth), of another size, negative, NaN or unknown
    everywhere, or beta below 0.

    >>> add_fog(torch.zeros(3, 1, 2), torch.tensor([[10.0, 100.0]]), beta=0.01, airlight=1.0)[0]
    tensor([[0.0952, 0.6321]])
    """
    check_beta(beta)
    check_image(image, "fog")
    if beta == 0:
        check_depth(depth, image, "fog")
        return image.clone()
    return prepare_fog(image, depth, camera, airlight, refine, label).render(beta)


def apply_fog(view: View, value: float, generator: torch.Generator) -> UInt8[Tensor, "3 h w"]:
    """Fog as a row of the weather table: `value` is beta per metre; nothing is drawn from the generator."""
    return add_fog(view.image, view.depth, beta=value, camera=view.camera, refine=view.refine, label=view.label)


def sweep_fog(view: View) -> Callable[[float], UInt8[Tensor, "3 h w"]]:
    """The view in fog as a function of beta, airlight and range being computed once."""
    scene = cache(lambda: prepare_fog(view.image, view.depth, view.camera, refine=view.refine, label=view.label))
    return lambda beta: add_fog(view.image, view.depth, beta) if beta <= 0 else scene().render(beta)


def visibility(beta: float) -> float:
    """Metres at which fog leaves 5 % of the contrast: -ln(0.05) / beta; infinite for beta 0.

    >>> round(visibility(0.01), 1)
    299.6
    """
    check_beta(beta)
    return -math.log(0.05) / beta if beta > 0 else math.inf


def refined(distance: Float[Tensor, "h w"], image: Num[Tensor, "3 h w"], refine: Refine, label: Tensor | None) -> Float[Tensor, "h w"]:
    """The range whose transmittance at beta = 0.01 is the filtered one."""
    t = torch.exp(-REFINED_AT * distance)
    if refine == "guided":
        t = guided_filter(image, t)
    elif refine == "labels":
        if label is None:
            raise DataError("fog refined with labels needs the label of the image: give `label`, or refine='guided'")
        t = dual_reference_filter(image, label, t)
    else:
        raise DataError(f"fog refined by {refine!r}: it takes 'guided', 'labels' or None")
    return t.clamp_(OPAQUE, 1).log_().div_(-REFINED_AT)


def veil_compiled(image: Num[Tensor, "3 h w"], distance: Float[Tensor, "h w"], light: Float[Tensor, " 3"], beta: float) -> Num[Tensor, "3 h w"]:
    """Equations (1) and (2) in one pass, for uint8 and float32 in the CPU's memory."""
    from segshift.weather import kernels  # importing numba takes most of a second

    given = image.contiguous().numpy().reshape(3, -1)
    out = np.empty_like(given)
    whole, far = image.dtype == torch.uint8, light.numpy().astype(np.float32)
    veil = kernels.veil_bytes if whole else kernels.veil_floats
    veil(given, distance.contiguous().numpy().reshape(-1), far * np.float32(255) if whole else far, beta, out)
    return torch.from_numpy(out).view(image.shape)


def veil_anywhere(image: Num[Tensor, "3 h w"], distance: Float[Tensor, "h w"], light: Float[Tensor, " 3"], beta: float) -> Num[Tensor, "3 h w"]:
    """Equations (1) and (2) on any device and in any precision."""
    transmittance = torch.exp(-beta * distance)
    scale = 255 if image.dtype == torch.uint8 else 1
    # lerp is exact at both ends: t = 1 leaves the image, t = 0 is the airlight.
    foggy = torch.lerp(scale * light.to(distance.dtype).view(3, 1, 1), image.to(distance.dtype), transmittance)
    return (foggy.round_() if image.dtype == torch.uint8 else foggy).to(image.dtype)


def check_beta(beta: float) -> None:
    if not (math.isfinite(beta) and beta >= 0):
        presets = ", ".join(f"{name} {value}" for name, value in FOG_PRESETS.items())
        raise DataError(f"fog with beta {beta}: it must be 0 or above, per metre ({presets})")
