"""PSNR of each weather at each severity against the clear image, and how often a step does not lower it.

python benchmarks/severity.py [DOMAIN ...]
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from segshift.data.dataset import open_domain
from segshift.weather import WEATHER

WEATHERS = ("fog", "rain", "rain_cityscapes", "night", "snow", "lens")


def psnr(image: Tensor, clear: Tensor) -> float:
    """Decibels."""
    return float(10 * torch.log10(255**2 / (image.float() - clear.float()).square().mean()))


def main(domains: list[str]) -> None:
    for domain in domains:
        clear = [sample.image for sample in open_domain(domain)]
        print(f"{domain}, {len(clear)} images: mean PSNR in dB at severity 1, 2 and so on; steps that do not lower it")
        for weather in WEATHERS:
            graded = [open_domain(f"{domain}+{weather}@{severity}") for severity in range(1, len(WEATHER[weather].severities) + 1)]
            values = torch.tensor([[psnr(sample.image, image) for sample, image in zip(data, clear, strict=True)] for data in graded])
            means = " ".join(f"{mean:5.1f}" for mean in values.mean(1).tolist())
            print(f"{weather:15} {means}   {int((values[1:] >= values[:-1]).sum())} of {values[1:].numel()}")


if __name__ == "__main__":
    main(sys.argv[1:] or ["streets::test?first=20"])
