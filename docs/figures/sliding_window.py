"""A sliding-window network: a patch of 65 x 65 pixels in, the class of its centre out (after Ciresan et al., NIPS 2012), and what equals it.

`patchwise` asks it once a pixel. `dense` gives the same logits in one pass: every pooling runs at stride 1, and what follows it is
dilated by the stride it had. `coarse` runs it over the whole image as it is: the logits of every 16th pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segshift.models.receptive_field import Layer

PATCH = 65
STRIDE = 16
# Kernels of the convolutions; a pooling of 2 follows each of the first four.
KERNELS = (4, 4, 3, 3, 2, 1)
LAYERS = tuple(layer for place, kernel in enumerate(KERNELS) for layer in ((Layer(kernel), Layer(2, stride=2)) if place < 4 else (Layer(kernel),)))


class SlidingWindow(nn.Module):
    """Six convolutions without padding; the last two are fully connected layers on a patch. Its forward is `dense`."""

    def __init__(self, classes: int = 19, width: int = 48, hidden: int = 200) -> None:
        super().__init__()
        widths = (3, *[width] * 4, hidden, classes)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, kernel) for a, b, kernel in zip(widths, widths[1:], KERNELS, strict=False))
        for convolution in self.convolutions:
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")

    def classify(self, patches: Float[Tensor, "n 3 h w"], dense: bool = False) -> Float[Tensor, "n k i j"]:
        """Logits of every 16th pixel that has a whole patch around it, or of every one."""
        maps, step = patches, 1
        for place, convolution in enumerate(self.convolutions):
            maps = F.conv2d(maps, convolution.weight, convolution.bias, dilation=step)
            if place < len(KERNELS) - 1:
                maps = F.relu(maps)
            if place < 4 and dense:
                maps = F.max_pool2d(maps, 2, stride=1, dilation=step)
                step *= 2
            elif place < 4:
                maps = F.max_pool2d(maps, 2)
        return maps

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        return self.dense(images)

    def dense(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        return self.classify(surround(images), dense=True)

    def coarse(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k i j"]:
        return self.classify(surround(images))

    def patchwise(self, images: Float[Tensor, "1 3 h w"], pixels: list[tuple[int, int]], batch: int = 64) -> Float[Tensor, "n k"]:
        """Logits of some pixels (row, column), a patch for each."""
        around = surround(images)[0]
        patches = torch.stack([around[:, row : row + PATCH, column : column + PATCH] for row, column in pixels])
        return torch.cat([self.classify(part)[:, :, 0, 0] for part in patches.split(batch)])


def surround(images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 hp wp"]:
    """32 pixels of zeros on every side, so that each pixel has a whole patch."""
    return F.pad(images, [PATCH // 2] * 4)
