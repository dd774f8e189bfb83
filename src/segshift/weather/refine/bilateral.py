"""The dual-reference cross-bilateral filter of Foggy Cityscapes-DBF, which makes transmittance follow classes and colours.

Sakaridis, Dai, Hecker and Van Gool, "Model Adaptation with Synthetic and Real Data for Semantic Dense Foggy Scene Understanding",
ECCV 2018:

    t(p) = sum_q G_s(q - p) (delta(h(q) - h(p)) + lambda G_c(J(q) - J(p))) t(q) / the same sum without t(q)        (1)

h the class, J the colour in CIELAB with L* in [0, 1] (a* and b* on the same scale), G_s and G_c Gaussians of sigma_s = 20 pixels and
sigma_c = 0.1, delta 1 where equal and 0 elsewhere, lambda = 5. As in the authors' program both sums are taken on bilateral grids with
cells of sigma_s and sigma_c (Chen, Paris and Durand, SIGGRAPH 2007), blurred by three taps an axis that sum to 1, and read linearly.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Num, UInt8
from torch import Tensor

from segshift.weather.checks import check_label
from segshift.weather.srgb import decode

SIGMA_S = 20.0
SIGMA_C = 0.1
LAMBDA = 5.0
TAPS = np.array([math.exp(-0.5), 1.0, math.exp(-0.5)], np.float32) / np.float32(1 + 2 * math.exp(-0.5))
TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.950456, 1.0, 1.088754)  # D65


def dual_reference_filter(image: Num[Tensor, "3 h w"], label: UInt8[Tensor, "lh lw"], values: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """`values` with the edges of classes and colours: equation (1). Every label value, 255 too, is a class of its own; no gradients pass.

    >>> dual_reference_filter(torch.zeros(3, 9, 9), torch.zeros(9, 9, dtype=torch.uint8), torch.full((9, 9), 0.5)).allclose(torch.tensor(0.5))
    True
    """
    from segshift.weather.refine import kernels  # importing numba takes most of a second

    check_label(label, image)
    color = lab_of(image.detach()).cpu().numpy()
    color -= color.min(axis=(1, 2), keepdims=True)
    classes, place = np.unique(label.cpu().numpy(), return_inverse=True)
    place = place.reshape(label.shape)
    cells = [int((side - 1) / SIGMA_S) + 2 for side in label.shape]
    depths = [int(top / SIGMA_C) + 2 for top in color.max(axis=(1, 2))]
    by_label, by_color = np.zeros((*cells, len(classes), 2), np.float32), np.zeros((*cells, *depths, 2), np.float32)
    given = values.detach().cpu().to(torch.float32).numpy()
    kernels.splat(given, place, color, SIGMA_S, SIGMA_C, by_label, by_color)
    for axis in range(5):
        by_color = blur(by_color, axis)
    by_label = blur(blur(by_label, 0), 1)
    out = np.empty_like(given)
    kernels.slice_grids(place, color, SIGMA_S, SIGMA_C, by_label, by_color, LAMBDA, out)
    return torch.from_numpy(out).to(values.device)


def blur(grid: Float[np.ndarray, ...], axis: int) -> Float[np.ndarray, ...]:
    """Three taps along an axis, nothing beyond its ends."""
    out: np.ndarray = grid * TAPS[1]
    before, after = np.moveaxis(grid, axis, 0)[:-1], np.moveaxis(grid, axis, 0)[1:]
    np.moveaxis(out, axis, 0)[1:] += TAPS[0] * before
    np.moveaxis(out, axis, 0)[:-1] += TAPS[2] * after
    return out


def lab_of(image: Num[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """CIELAB (D65) of sRGB in [0, 1] or uint8, divided by 100: L* is in [0, 1].

    >>> [round(100 * value, 1) for value in lab_of(torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1)).flatten().tolist()]
    [53.2, 80.1, 67.2]
    """
    linear = decode(image)
    xyz = torch.einsum("ij,jhw->ihw", linear.new_tensor(TO_XYZ), linear) / linear.new_tensor(WHITE).view(3, 1, 1)
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp(min=0).pow(1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return torch.stack([1.16 * f[1] - 0.16, 5 * (f[0] - f[1]), 2 * (f[1] - f[2])])
