"""The label map of one image at its own size, in bounded memory, and the picture of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from segshift.data.transforms import resize_sample
from segshift.models import SegmentationModel
from segshift.types import Sample

CELLS_AT_A_TIME = 2**25
"""Logits held at a time at an image's own size (128 MiB): large photographs are done in strips."""


@torch.no_grad()
def predict_label(
    model: SegmentationModel, image: UInt8[Tensor, "3 h w"], size: tuple[int, int] | None = None, device: torch.device | str = "cpu"
) -> UInt8[Tensor, "h w"]:
    """Class of every pixel at the image's own size; the model sees the image at `size`. The model must be in evaluation mode."""
    seen = image if size is None else resize_sample(Sample(image, None, None, ""), size).image
    logits = model(seen.to(device).float().div_(255)[None])[0].float()
    height, width = image.shape[1:]
    return label_map(logits, height, width).cpu()


def label_map(logits: Float[Tensor, "k h w"], height: int, width: int) -> UInt8[Tensor, "height width"]:
    """Class of every pixel at another size: bilinear logits, then the argmax; of large pictures a strip of rows at a time."""
    strips = [strip.max(0).indices.to(torch.uint8) for strip in resized(logits, height, width)]
    return strips[0] if len(strips) == 1 else torch.cat(strips)


def resized(logits: Float[Tensor, "k h w"], height: int, width: int) -> Iterator[Tensor]:
    """Bilinear logits at another size, (K, rows, width) at a time from the top: of large pictures a strip of rows, else all."""
    classes, rows, columns = logits.shape
    if (rows, columns) == (height, width):
        yield logits
        return
    if classes * height * width <= CELLS_AT_A_TIME:
        yield F.interpolate(logits[None], size=(height, width), mode="bilinear", align_corners=False)[0]
        return
    step = max(1, CELLS_AT_A_TIME // (classes * width))
    for start in range(0, height, step):
        # Row centres in the logits' rows, as bilinear interpolation with align_corners=False places them.
        where = (torch.arange(start, min(start + step, height), device=logits.device) + 0.5) * (rows / height) - 0.5
        where = where.clamp_(0, rows - 1)
        above = where.long()
        below, weight = (above + 1).clamp_(max=rows - 1), (where - above).view(1, -1, 1)
        strip = torch.lerp(logits[:, above], logits[:, below], weight.to(logits.dtype))
        if columns != width:
            strip = F.interpolate(strip[None], size=(strip.shape[1], width), mode="bilinear", align_corners=False)[0]
        yield strip


def blend(image: UInt8[Tensor, "3 h w"], colors: UInt8[np.ndarray, "h w 3"], opacity: float = 0.5) -> UInt8[np.ndarray, "h w 3"]:
    """(1 - opacity) image + opacity colours."""
    base = image.permute(1, 2, 0).numpy().astype(np.float32)
    mixed = base + (colors.astype(np.float32) - base) * np.float32(opacity)
    return mixed.round().astype(np.uint8)
