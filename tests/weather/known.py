"""Scenes that the tests of several weathers look at."""

from __future__ import annotations

import math
from functools import cache

import torch

from segshift.data.label_space import LABEL_SPACES
from segshift.data.streets import render_street
from segshift.weather.depth import Camera
from segshift.weather.view import View

CLASSES = LABEL_SPACES["cityscapes-19"].classes
CAMERA = Camera(fx=100.0, fy=110.0, cx=29.5, cy=19.5, width=60, height_px=40)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene(height: int = 40, width: int = 60, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A random uint8 image and a depth between 2 and 300 m."""
    generator = seeded(seed)
    image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    return image, 2 + 298 * torch.rand(height, width, generator=generator)


@cache
def street(index: int, height: int, width: int) -> View:
    drawn = render_street(0, index, look="camera", height=height, width=width)
    image, label = torch.from_numpy(drawn.image).permute(2, 0, 1).contiguous(), torch.from_numpy(drawn.label)
    return View(image, torch.from_numpy(drawn.depth), drawn.camera, label, CLASSES)


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    return 10 * math.log10(255**2 / float((a.double() - b.double()).square().mean()))
