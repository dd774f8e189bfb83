"""Time of loading training images: a crop from the cache beside decoding its PNG, the whole loader beside torchvision's reference pipeline, colour jitter.

    python benchmarks/loading.py [--rounds 7] [--frames 24] [--workers 2] [--step 0.2]

Frames are drawn streets of 2048 x 1024, written as PNG. Both loaders resize by 0.5 to 2, cut 512 x 1024, mirror and jitter, in batches of 4 with as many
workers; torchvision's works on PIL images, as in its references for segmentation. Every round times each way once, in turn; a ratio is formed
within a round. Printed are medians with smallest and largest. Waiting is the share of a loop in which a step takes `--step` seconds
without the CPU, as on a GPU.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from segshift.data.cache import cache_samples
from segshift.data.color import change_colors
from segshift.data.dataset import open_domain
from segshift.data.streets import render_street
from segshift.data.transforms import JointTransform
from segshift.engine.loading import EndlessSampler, TrainingSamples, one_thread, training_loader

HEIGHT, WIDTH = 1024, 2048
CROP = (512, 1024)
BATCH = 4


def write_frames(folder: Path, frames: int) -> None:
    for index in range(frames):
        street = render_street(seed=0, index=index, look="camera", height=HEIGHT, width=WIDTH)
        for kind, array in (("images", street.image), ("labels", street.label)):
            path = folder / kind / f"{index:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path, compress_level=6)
    (folder / "mapping.yaml").write_text("classes: cityscapes-19\n")


class Reference(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """torchvision's references/segmentation: PIL images, resized whole, cut, mirrored; with its colour jitter."""

    def __init__(self, folder: Path) -> None:
        self.images, self.labels = (sorted((folder / kind).glob("*.png")) for kind in ("images", "labels"))
        self.jitter = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, drawn: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        _, index = drawn
        image, label = Image.open(self.images[index]).convert("RGB"), Image.open(self.labels[index])
        size = random.randint(HEIGHT // 2, HEIGHT * 2)
        image, label = F.resize(image, [size]), F.resize(label, [size], interpolation=v2.InterpolationMode.NEAREST)
        if random.random() < 0.5:
            image, label = F.horizontal_flip(image), F.horizontal_flip(label)
        place = random.randint(0, size - CROP[0]), random.randint(0, 2 * size - CROP[1])
        image, label = F.crop(image, *place, *CROP), F.crop(label, *place, *CROP)
        return F.pil_to_tensor(self.jitter(image)), F.pil_to_tensor(label)


def seconds(way: Callable[[], object]) -> float:
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def waiting(batches: Iterator[Any], step: float, steps: int = 6) -> tuple[float, float]:
    """Images a second without a step, and the share of the time that a loop with a step of that length waits."""
    next(batches)
    rate = BATCH * steps / seconds(lambda: list(islice(batches, steps)))
    waited = 0.0
    for _ in range(steps):
        time.sleep(step)
        waited += seconds(lambda: next(batches))
    return rate, waited / (waited + steps * step)


def spread(values: list[float], digits: int = 1) -> str:
    return f"{np.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, kind, default in (("rounds", int, 7), ("frames", int, 24), ("workers", int, 2), ("step", float, 0.2)):
        parser.add_argument(f"--{name}", type=kind, default=default)
    given = parser.parse_args()
    torch.set_num_threads(1)  # as a loading process has
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        write_frames(folder, given.frames)
        dataset = open_domain(f"folder:{folder}?labels=mapping.yaml", depth=False)
        built = seconds(lambda: dataset.read_from(cache_samples(dataset, folder / "cache")))
        print(f"{given.frames} frames of {WIDTH} x {HEIGHT}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}")
        print(f"cache built in {built:.1f} s, {given.frames / built:.1f} images/s")
        print_crops(folder, dataset, given.rounds)
        print_jitter(dataset[0].image[:, : CROP[0], : CROP[1]].contiguous(), given.rounds)
        transform = JointTransform(size=(HEIGHT, WIDTH), crop=CROP, scale=(0.5, 2.0), flip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
        sampler = EndlessSampler(len(dataset), BATCH, 0)
        # Begun anew in every round: else the one is timed beside the other's reading ahead, and hands out what it read meanwhile.
        loaders: tuple[Callable[[], DataLoader[Any]], ...] = (
            lambda: training_loader(TrainingSamples(dataset, transform, 0), sampler, given.workers),
            lambda: DataLoader(Reference(folder), batch_sampler=sampler, num_workers=given.workers, worker_init_fn=one_thread),
        )
        found = [tuple(waiting(iter(loader()), given.step) for loader in loaders) for _ in range(given.rounds)]
        for name, place in (("ours, from the cache", 0), ("torchvision's reference", 1)):
            rates, shares = zip(*(pair[place] for pair in found), strict=True)
            print(f"{name:28}{spread(list(rates))} images/s, waiting {spread([100 * share for share in shares])} % beside steps of {given.step} s")
        print(f"{'ratio':28}{spread([a[0] / b[0] for a, b in found])}")


def print_crops(folder: Path, dataset: Any, rounds: int) -> None:
    """A crop of a frame, from the cache and by decoding the PNG."""
    paths = sorted((folder / "images").glob("*.png"))
    ratios, cached, decoded = [], [], []
    first = seconds(lambda: [crop(dataset[i].image, 0) for i in range(len(paths))])  # compares checksums
    for _ in range(rounds):
        places = [(i, random.randint(0, HEIGHT - CROP[0])) for i in range(len(paths))]
        fast = seconds(lambda places=places: [crop(dataset[i].image, top) for i, top in places])
        slow = seconds(lambda: [crop(torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1), 0) for path in paths])
        ratios.append(slow / fast)
        cached.append(1e3 * fast / len(paths))
        decoded.append(1e3 * slow / len(paths))
    print(f"{'crop of 512 x 1024':28}{spread(cached, 2)} ms from the cache, {spread(decoded)} ms by decoding, ratio {spread(ratios)}")
    print(f"{'the first of a frame':28}{1e3 * first / len(paths):.2f} ms, its checksum compared")


def crop(image: torch.Tensor, top: int) -> torch.Tensor:
    return image[:, top : top + CROP[0], 2 * top : 2 * top + CROP[1]].contiguous()


def print_jitter(image: torch.Tensor, rounds: int) -> None:
    def peer() -> object:
        changed = F.adjust_saturation(F.adjust_contrast(F.adjust_brightness(image, 1.2), 0.8), 1.3)
        return F.adjust_hue(changed, 0.05)

    def ours() -> object:
        return change_colors(image, brightness=1.2, contrast=0.8, saturation=1.3, hue=0.05)

    peer(), ours()
    pairs = [(1e3 * seconds(ours), 1e3 * seconds(peer)) for _ in range(3 * rounds)]
    fast, slow = (list(column) for column in zip(*pairs, strict=True))
    print(f"{'jitter of 512 x 1024':28}{spread(fast)} ms, torchvision uint8 {spread(slow)} ms, ratio {spread([b / a for a, b in pairs])}")


if __name__ == "__main__":
    main()
