"""Rendering a split of files with one and with two threads: images a second, and memory beyond one image a thread.

    python benchmarks/render.py [--images 24] [--rounds 3]

The split is drawn streets of 1024 x 512 with depth, written once as a folder; every round renders it whole with one thread and with two, in turn.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from segshift.data.domain import Condition
from segshift.data.streets import render_street
from segshift.render import render_set

WEATHERS = (Condition("fog", 0.01), Condition("night", 5.0), Condition("snow", 2.0))
HEIGHT, WIDTH = 512, 1024


def write_split(root: Path, images: int) -> None:
    """A folder data set with labels, depth and a camera."""
    for kind in ("images", "labels", "depth"):
        (root / kind).mkdir()
    for index in range(images):
        street = render_street(seed=0, index=index, look="camera", height=HEIGHT, width=WIDTH)
        Image.fromarray(street.image).save(root / "images" / f"{index:03d}.png")
        Image.fromarray(street.label).save(root / "labels" / f"{index:03d}.png")
        np.save(root / "depth" / f"{index:03d}.npy", street.depth)
    camera = {"fx": 800.0, "fy": 800.0, "cx": 511.5, "cy": 255.5, "height": 1.4, "pitch": 0.0}
    (root / "mapping.yaml").write_text(yaml.safe_dump({"classes": "cityscapes-19", "depth": "depth", "camera": camera}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "split"
        root.mkdir()
        write_split(root, given.images)
        domain = f"folder:{root}?labels=mapping.yaml"
        for condition in WEATHERS:
            render_set(domain, [condition], Path(folder) / "warm", threads=1)
            shutil.rmtree(Path(folder) / "warm")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            seconds: dict[int, list[float]] = {1: [], 2: []}
            for _ in range(given.rounds):
                for threads, taken in seconds.items():
                    start = time.perf_counter()
                    render_set(domain, [condition], Path(folder) / "out", threads=threads)
                    taken.append(time.perf_counter() - start)
                    shutil.rmtree(Path(folder) / "out")
            ratios = np.array(seconds[1]) / np.array(seconds[2])
            more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            print(
                f"{condition.name:6}: {given.images / np.median(seconds[2]):5.1f} images/s with two threads, {np.median(ratios):.2f} times one "
                f"({ratios.min():.2f}-{ratios.max():.2f}); {more:.0f} MiB more than one thread; torch {torch.__version__}"
            )


if __name__ == "__main__":
    main()
