"""DeepLabv3+ as the fine-tuning paper's code base has it: full convolutions where segmentation_models_pytorch's are separable.

Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", arXiv:1802.02611, with

    ASPP        1x1, three 3x3 at rates 6 / 12 / 18 (doubled at output stride 8), image pooling; 5 x 256 -> 256 by 1x1
    low level   the map at 1/4, 1x1 to 48 channels
    head        3x3 of 256 + 48 channels to 256, then 1x1 to the classes

every convolution but the last followed by batch norm and ReLU. On ResNet-101 with 19 classes it has 58,753,459 parameters,
113 convolutions and 112 batch norms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segshift.errors import ModelError, unknown_name
from segshift.models.anatomy import Anatomy
from segshift.models.encoders import MIT
from segshift.models.networks import build_smp, smp_anatomy

CHANNELS = 256
LOW_CHANNELS = 48
RATES = (6, 12, 18)
DROPOUT = 0.1


def build_deeplabv3plus(architecture: str, encoder: str, classes: int, options: Mapping[str, Any]) -> tuple[nn.Module, Anatomy]:
    """The separable head of segmentation_models_pytorch, or `head="reference"`."""
    settings = dict(options)
    head = settings.pop("head", "separable")
    if head not in ("separable", "reference"):
        raise unknown_name("head of deeplabv3plus", str(head), ("separable", "reference"))
    if head == "separable":
        return build_smp(architecture, encoder, classes, settings)
    stride = settings.pop("encoder_output_stride", 16)
    if stride not in (8, 16):
        raise ModelError(f"deeplabv3plus with an output stride of {stride}: give 8 or 16")
    if settings:
        raise ModelError(f"the reference head of deeplabv3plus is fixed: leave out {', '.join(settings)}, or use head='separable'")
    network = ReferenceNetwork(encoder, classes, stride)
    return network, smp_anatomy(network, encoder)


@final
class ReferenceNetwork(nn.Module):
    """Encoder, decoder and segmentation head; images whose sides are multiples of the output stride."""

    def __init__(self, encoder: str, classes: int, stride: int) -> None:
        super().__init__()
        from segmentation_models_pytorch.encoders import get_encoder

        self.encoder = get_encoder(encoder if encoder in MIT else f"tu-{encoder}", weights=None, output_stride=stride)
        channels = self.encoder.out_channels
        self.decoder = ReferenceDecoder(channels[2], channels[-1], [rate * 16 // stride for rate in RATES])
        self.segmentation_head = nn.Sequential(
            nn.Conv2d(CHANNELS, classes, 1),
            nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False),
        )
        for module in (*self.decoder.modules(), *self.segmentation_head.modules()):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)


@final
class ReferenceDecoder(nn.Module):
    """ASPP on the deepest map, upsampled to 1/4, joined with the low-level map there."""

    def __init__(self, low_channels: int, channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.aspp = nn.ModuleList([convolve(channels, CHANNELS, 1), *(convolve(channels, CHANNELS, 3, rate) for rate in rates)])
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), *convolve(channels, CHANNELS, 1))
        self.project = nn.Sequential(*convolve(5 * CHANNELS, CHANNELS, 1), nn.Dropout(DROPOUT))
        self.low = convolve(low_channels, LOW_CHANNELS, 1)
        self.fuse = convolve(CHANNELS + LOW_CHANNELS, CHANNELS, 3)

    def forward(self, features: Sequence[Tensor]) -> Float[Tensor, "b c h w"]:
        deep, low = features[-1], self.low(features[2])  # B C H/16 W/16, B 48 H/4 W/4
        pooled = self.pool(deep).expand(-1, -1, *deep.shape[-2:])
        context = self.project(torch.cat([*(branch(deep) for branch in self.aspp), pooled], dim=1))
        upsampled = F.interpolate(context, size=low.shape[-2:], mode="bilinear", align_corners=False)
        fused: Tensor = self.fuse(torch.cat([upsampled, low], dim=1))
        return fused


def convolve(channels: int, out: int, kernel: int, rate: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU, at the same size."""
    padding = rate * (kernel // 2)
    return nn.Sequential(nn.Conv2d(channels, out, kernel, padding=padding, dilation=rate, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True))
