"""Time of the weathers at 2048 x 1024 beside a float32 copy of the image, numpy and albumentations.

    python benchmarks/weather.py [--rounds 15]

Every round times each way once, in turn, so that whatever else the machine does hits all of them; a ratio is formed within a round.
Printed are medians over the rounds, with the smallest and largest in brackets. albumentations is taken where it is installed (its rain
and its fog know no depth: they are peers in time alone); the direct guided filter is cv2's box filters.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch

from segshift.data.label_space import LABEL_SPACES
from segshift.data.streets import render_street
from segshift.weather import View, add_rain, add_snow, prepare_fog
from segshift.weather.refine.guided import guided_filter

HEIGHT, WIDTH = 1024, 2048
Way = Callable[[], object]


def fog_in_numpy(image: np.ndarray, distance: np.ndarray, light: np.ndarray, beta: float) -> np.ndarray:
    """The formula as it is written down, in float32."""
    t = np.exp(-np.float32(beta) * distance)[None]
    return (image.astype(np.float32) * t + light[:, None, None] * (1 - t) + np.float32(0.5)).astype(np.uint8)


def guided_directly(guide: list[np.ndarray], values: np.ndarray, radius: int = 20, eps: float = 1e-3) -> np.ndarray:
    """The colour guided filter at full resolution, with cv2's box filter."""

    def box(given: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(given, -1, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT)

    r, g, b = guide
    mr, mg, mb, mean = box(r), box(g), box(b), box(values)
    pr, pg, pb = box(r * values) - mr * mean, box(g * values) - mg * mean, box(b * values) - mb * mean
    xx, xy, xz = box(r * r) - mr * mr + eps, box(r * g) - mr * mg, box(r * b) - mr * mb
    yy, yz, zz = box(g * g) - mg * mg + eps, box(g * b) - mg * mb, box(b * b) - mb * mb + eps
    cxx, cxy, cxz = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    cyy, cyz, czz = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    scale = 1 / (xx * cxx + xy * cxy + xz * cxz)
    ar, ag, ab = (cxx * pr + cxy * pg + cxz * pb) * scale, (cxy * pr + cyy * pg + cyz * pb) * scale, (cxz * pr + cyz * pg + czz * pb) * scale
    offset = mean - ar * mr - ag * mg - ab * mb
    return np.asarray(box(ar) * r + box(ag) * g + box(ab) * b + box(offset))


def ways() -> dict[str, Way]:
    """Each way, with its inputs made before the clock starts."""
    street = render_street(seed=0, index=3, look="camera", height=HEIGHT, width=WIDTH)
    image = torch.from_numpy(street.image).permute(2, 0, 1).contiguous()
    view = View(image, torch.from_numpy(street.depth), street.camera, torch.from_numpy(street.label), LABEL_SPACES["cityscapes-19"].classes)
    assert view.depth is not None
    scene, floats = prepare_fog(image, view.depth, street.camera), prepare_fog(image / 255, view.depth, street.camera)
    copied = image.to(torch.float32)
    target = torch.empty_like(copied)
    light, distance = 255 * scene.airlight.numpy(), scene.distance.numpy()
    guide = [np.ascontiguousarray(channel) for channel in (image / 255).numpy()]
    t = torch.exp(-0.01 * scene.distance)

    def rain() -> object:
        return add_rain(image, view.depth, 100.0, street.camera, generator=torch.Generator().manual_seed(0))

    def snow(label: torch.Tensor | None, threads: int, airlight: torch.Tensor | None = None) -> object:
        drawn = torch.Generator().manual_seed(0)
        return add_snow(image, view.depth, 6.0, street.camera, label, view.classes, generator=drawn, airlight=airlight, threads=threads)

    found: dict[str, Way] = {
        "float32 copy": lambda: target.copy_(copied),  # into memory that is there: the strictest base
        "fog, uint8, cached airlight": lambda: scene.render(0.01),
        "fog, float32, cached airlight": lambda: floats.render(0.01),
        "fog, uint8, from the image": lambda: prepare_fog(image, view.depth, street.camera).render(0.01),
        "fog in numpy": lambda: fog_in_numpy(street.image.transpose(2, 0, 1), distance, light, 0.01),
        "rain, 100 mm/h": rain,
        "snow, 6 mm/h": lambda: snow(None, 1),
        "snow, 6 mm/h, cached airlight": lambda: snow(None, 1, scene.airlight),
        "snow, 6 mm/h, two threads": lambda: snow(None, 2),
        "snow, 6 mm/h, lying": lambda: snow(view.label, 1),
        "snow, 6 mm/h, lying, two threads": lambda: snow(view.label, 2),
        "guided filter": lambda: guided_filter(image, t),
        "guided filter, direct, cv2": lambda: guided_directly(guide, t.numpy()),
    }
    return found | peers(street.image)


def peers(image: np.ndarray) -> dict[str, Way]:
    try:
        import albumentations
    except ImportError:
        return {}
    fog = albumentations.RandomFog(fog_coef_range=(0.5, 0.5), alpha_coef=0.08, p=1)
    rain = albumentations.RandomRain(p=1)
    return {"fog, albumentations": lambda: fog(image=image), "rain, albumentations": lambda: rain(image=image)}


def spread(values: np.ndarray, digits: int = 2) -> str:
    return f"{np.median(values):.{digits}f} ({values.min():.{digits}f}-{values.max():.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    found = ways()
    for way in found.values():
        way()
    seconds = {name: np.empty(rounds) for name in found}
    for i in range(rounds):
        for name, way in found.items():
            start = time.perf_counter()
            way()
            seconds[name][i] = time.perf_counter() - start
    print(f"{WIDTH} x {HEIGHT}, {rounds} rounds; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}")
    print(f"{'':34}{'ms':>26}{'times the float32 copy':>28}{'times fog, cached':>28}")
    for name, taken in seconds.items():
        ratios = [spread(taken / seconds[base]) for base in ("float32 copy", "fog, uint8, cached airlight")]
        print(f"{name:34}{spread(1e3 * taken):>26}{ratios[0]:>28}{ratios[1]:>28}")


if __name__ == "__main__":
    main()
