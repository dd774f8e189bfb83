"""A colour guided filter, which makes a map follow the edges of a picture.

He, Sun and Tang, "Guided Image Filtering", TPAMI 2013: in each window w_k of |w| pixels the map p is a linear function of the picture I,

    a_k = (Sigma_k + eps U)^-1 (mean_k(I p) - mu_k mean_k(p))                                             (1)
    b_k = mean_k(p) - a_k . mu_k                                                                          (2)
    q_i = mean_i(a) . I_i + mean_i(b)                                                                     (3)

mu_k and Sigma_k the mean and the covariance (3 x 3) of I in the window, U the identity, mean_k and mean_i averages over a window.
He and Sun, "Fast Guided Filter", arXiv 2015: a and b are smooth, so (1) and (2) are computed on a picture that is smaller by s.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from segshift.errors import DataError

WINDOW = 41
EPS = 1e-3
SUBSAMPLE = 4
PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def guided_filter(
    guide: Num[Tensor, "3 h w"], values: Float[Tensor, "h w"], window: int = WINDOW, eps: float = EPS, subsample: int = SUBSAMPLE
) -> Float[Tensor, "h w"]:
    """`values` with the edges of `guide`, RGB in [0, 1] or uint8.

    `window` is the odd width of the windows in pixels, cut off at the border. `subsample` is s of the fast filter; 1 is the exact one.

    >>> guided_filter(torch.rand(3, 30, 40), torch.full((30, 40), 0.5)).allclose(torch.tensor(0.5))
    True
    """
    if window < 1 or window % 2 == 0 or subsample < 1 or not eps > 0:
        raise DataError(f"guided filter of window {window}, eps {eps}, subsample {subsample}: the window is odd, eps above 0, subsample at least 1")
    radius = max(1, round((window // 2) / subsample)) if window > 1 else 0
    differentiated = torch.is_grad_enabled() and (guide.requires_grad or values.requires_grad)
    compiled = guide.device.type == values.device.type == "cpu" and guide.dtype in (torch.uint8, torch.float32) and not differentiated
    return (filter_compiled if compiled else filter_anywhere)(guide, values.to(torch.float32), radius, eps, subsample)


def filter_compiled(guide: Num[Tensor, "3 h w"], values: Float[Tensor, "h w"], radius: int, eps: float, by: int) -> Float[Tensor, "h w"]:
    """`guided_filter` in the CPU's memory, for uint8 and float32."""
    from segshift.weather.refine import kernels  # importing numba takes most of a second

    image, given = guide.contiguous().numpy(), values.contiguous().numpy()
    scale = np.float32(1 / 255 if guide.dtype == torch.uint8 else 1)
    shape = (-(-given.shape[0] // by), -(-given.shape[1] // by))
    small, means = np.empty((4, *shape), np.float32), np.empty((13, *shape), np.float32)
    weights, out = np.empty_like(small), np.empty(given.shape, np.float32)
    kernels.shrink(image, scale, given, by, small)
    kernels.multiply(small, means)
    kernels.box_mean(means, radius)
    kernels.solve(means, np.float32(eps), weights)
    kernels.box_mean(weights, radius)
    kernels.apply_enlarged(weights, image, scale, by, out)
    return torch.from_numpy(out)


def filter_anywhere(guide: Num[Tensor, "3 h w"], values: Float[Tensor, "h w"], radius: int, eps: float, by: int) -> Float[Tensor, "h w"]:
    """`guided_filter` on any device."""
    image = guide.to(torch.float32) / 255 if guide.dtype == torch.uint8 else guide.to(torch.float32)
    small = shrink(torch.cat([image, values[None]]), by)
    weights = enlarge(box_mean(linear_models(small[:3], small[3], radius, eps), radius), by, values.shape)
    return (weights[:3] * image).sum(0).add_(weights[3])


def linear_models(image: Float[Tensor, "3 h w"], values: Float[Tensor, "h w"], radius: int, eps: float) -> Float[Tensor, "4 h w"]:
    """a and b of each window: equations (1) and (2)."""
    products = [image[i] * image[j] for i, j in PAIRS] + [channel * values for channel in image]
    means = box_mean(torch.cat([image, values[None], torch.stack(products)]), radius)
    mu, mean, second, mixed = means[:3], means[3], means[4:10], means[10:]
    xx, xy, xz, yy, yz, zz = (moment - mu[i] * mu[j] for moment, (i, j) in zip(second, PAIRS, strict=True))
    xx, yy, zz = xx + eps, yy + eps, zz + eps
    px, py, pz = mixed - mu * mean
    # The inverse of a symmetric 3 x 3 matrix by its cofactors.
    cxx, cxy, cxz = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    cyy, cyz, czz = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    scale = 1 / (xx * cxx + xy * cxy + xz * cxz)
    a = torch.stack([cxx * px + cxy * py + cxz * pz, cxy * px + cyy * py + cyz * pz, cxz * px + cyz * py + czz * pz]) * scale
    return torch.cat([a, (mean - (a * mu).sum(0))[None]])


def box_mean(values: Float[Tensor, "n h w"], radius: int) -> Float[Tensor, "n h w"]:
    """Mean over windows of 2 `radius` + 1 pixels a side, cut off at the border."""
    for axis in (1, 2):
        length = values.shape[axis]
        sums = torch.nn.functional.pad(values.to(torch.float64).cumsum(axis), (1, 0) if axis == 2 else (0, 0, 1, 0))
        places = torch.arange(length, device=values.device)
        last, first = (places + radius + 1).clamp_(max=length), (places - radius).clamp_(min=0)
        count = (last - first).view((-1, 1) if axis == 1 else (-1,))
        values = ((sums.index_select(axis, last) - sums.index_select(axis, first)) / count).to(torch.float32)
    return values


def shrink(values: Float[Tensor, "n h w"], by: int) -> Float[Tensor, "n y x"]:
    """Means of blocks of `by` x `by` pixels, the last ones of what is left."""
    return values if by == 1 else avg_pool2d(values[None], by, ceil_mode=True, count_include_pad=False)[0]


def enlarge(values: Float[Tensor, "n y x"], by: int, shape: torch.Size) -> Float[Tensor, "n h w"]:
    """Bilinear between the centres of the blocks of `shrink`."""
    return values if by == 1 else interpolate(values[None], scale_factor=by, mode="bilinear", align_corners=False)[0, :, : shape[0], : shape[1]]
