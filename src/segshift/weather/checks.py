"""What every weather asks of an image and its depth."""

from __future__ import annotations

import torch
from torch import Tensor

from segshift.errors import DataError

WITH_DEPTH = "streets, cityscapes, synthia, a folder with `depth`; or have it estimated: ?depth=plane from labels and camera, ?depth=FOLDER by a metric network"


def check_image(image: object, weather: str) -> None:
    if not isinstance(image, Tensor):
        raise DataError(f"image is a {type(image).__name__}: {weather} takes a tensor (3, H, W), such as torch.from_numpy(array).permute(2, 0, 1)")
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
        raise DataError(f"image of shape {tuple(image.shape)}: {weather} takes (3, H, W)")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise DataError(f"image of {image.dtype}: {weather} takes uint8, or floats in [0, 1]")


def check_label(label: Tensor | None, image: Tensor) -> None:
    if label is not None and label.shape != image.shape[1:]:
        raise DataError(f"label of shape {tuple(label.shape)} for an image of {tuple(image.shape[1:])}: both must have the same height and width")


def check_depth(depth: Tensor | None, image: Tensor, weather: str) -> Tensor:
    if depth is None:
        raise DataError(f"{weather} needs depth in metres, and there is none: use the samples of a domain with depth ({WITH_DEPTH})")
    if depth.shape != image.shape[1:]:
        raise DataError(f"depth of shape {tuple(depth.shape)} for an image of {tuple(image.shape[1:])}: both must have the same height and width")
    if not bool(depth.amin() >= 0):  # NaN is passed on by amin
        raise DataError("depth with negative or NaN values: set unknown pixels to 0, they are filled from the nearest known ones")
    return depth
