"""Cameras, and metric depth from what a data set stores.

Depth Z is measured along the optical axis, in metres; range l is the distance to the camera's centre. For the pixel (u, v)

    l(u, v) = Z(u, v) sqrt(1 + ((u - cx) / fx)^2 + ((v - cy) / fy)^2)                                      (1)
    Z = b fx / d,   d = (png - 1) / 256                                                                    (2)

with fx, fy, cx, cy the intrinsics in pixels, b the stereo baseline in metres, d the disparity in pixels; (2) is how
Cityscapes stores disparity in 16 bits, 0 for an invalid pixel. Pixel centres lie at u = 0 .. w - 1, v = 0 .. h - 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from segshift.errors import DataError


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: intrinsics in pixels, baseline and height above the ground in metres, pitch in radians.

    A positive pitch looks down. `width` and `height_px` are the image size that the intrinsics are for; without them any
    size is accepted and taken to be that one.

    >>> camera = Camera(fx=100.0, fy=100.0, cx=50.0, cy=50.0)
    >>> round(float(camera.ray_factor(101, 151)[50, 150]), 4)
    1.4142
    """

    fx: float
    fy: float
    cx: float
    cy: float
    baseline: float | None = None
    height: float | None = None
    pitch: float = 0.0
    width: int | None = None
    height_px: int | None = None

    def __post_init__(self) -> None:
        if not (self.fx > 0 and self.fy > 0):
            raise DataError(f"camera with focal lengths fx={self.fx}, fy={self.fy}: both must be above 0 (pixels)")
        if self.baseline is not None and not self.baseline > 0:
            raise DataError(f"camera with baseline {self.baseline}: it must be above 0 (metres), or None without stereo")

    def scaled(self, height_px: int, width: int) -> Camera:
        """The same camera for its image resized to another size (not for a crop)."""
        if self.width is None or self.height_px is None:
            raise DataError("camera without an image size cannot be scaled: give `width` and `height_px`, the size its intrinsics are for")
        if height_px < 1 or width < 1:
            raise DataError(f"camera scaled to {width} x {height_px}: both sides must be at least 1 pixel")
        sx, sy = width / self.width, height_px / self.height_px
        # The image's corner, half a pixel before the first centre, is what stays in place.
        return replace(
            self,
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
            width=width,
            height_px=height_px,
        )

    def check_size(self, h: int, w: int) -> None:
        """Refuse an image h high and w wide that is not the one the intrinsics are for."""
        if (self.width is not None and self.width != w) or (self.height_px is not None and self.height_px != h):
            have = f"{self.width} x {self.height_px}"
            raise DataError(f"camera is for {have} pixels, the image has {w} x {h}: correct its width and height_px, or take camera.scaled({h}, {w})")

    def ray_factor(self, h: int, w: int, device: torch.device | str | None = None) -> Float[Tensor, "{h} {w}"]:
        """Range over depth for each pixel of an image h high and w wide: equation (1), at least 1."""
        self.check_size(h, w)
        x = (torch.arange(w, device=device) - self.cx) / self.fx
        y = (torch.arange(h, device=device) - self.cy) / self.fy
        return (1 + x.square() + y.square().unsqueeze(1)).sqrt_()


def disparity_to_depth(disparity: Integer[Tensor, "h w"], camera: Camera) -> Float[Tensor, "h w"]:
    """Depth in metres from a 16-bit disparity image as Cityscapes stores it: equation (2).

    0 marks an unknown pixel: an invalid one (png 0), and one without parallax (png 1), whose depth has no bound.

    >>> camera = Camera(fx=2262.52, fy=2265.30, cx=1096.98, cy=513.137, baseline=0.209313)
    >>> [round(z, 2) for z in disparity_to_depth(torch.tensor([[0, 1, 2561]]), camera)[0].tolist()]
    [0.0, 0.0, 47.36]
    """
    if camera.baseline is None:
        raise DataError("disparity needs the camera's baseline to become depth: give Camera(..., baseline=METRES)")
    png = disparity.to(torch.float32)
    if bool((png < 0).any()):
        raise DataError("disparity below 0: read the PNG as unsigned 16 bits, 0 marks an invalid pixel")
    return torch.where(png > 1, camera.baseline * camera.fx * 256 / (png - 1).clamp_min_(1), 0.0)


def complete_depth(depth: Float[Tensor, "h w"]) -> Float[Tensor, "h w"]:
    """The same depth with each unknown pixel (0) given the depth of the nearest known one in the image plane.

    Of several known pixels equally near, the choice is fixed, so the result is deterministic. A depth without unknown
    pixels is returned as it is.

    >>> complete_depth(torch.tensor([[4.0, 0.0, 0.0, 9.0]]))
    tensor([[4., 4., 9., 9.]])
    """
    if float(depth.amin()) > 0:  # a fifth of the time of looking for zeros
        return depth
    unknown = depth == 0
    if bool(unknown.all()):
        raise DataError("depth is unknown (0) everywhere: give depth in metres for at least one pixel")
    from scipy.ndimage import distance_transform_edt  # heavy, and needed only where depth has holes

    nearest = distance_transform_edt(unknown.cpu().numpy(), return_distances=False, return_indices=True)
    rows, columns = torch.from_numpy(nearest).to(device=depth.device, dtype=torch.int64)
    return depth[rows, columns]
