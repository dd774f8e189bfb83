"""Random samples of a data set with their labels: what is in there, drawn again from its name and a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from segshift.data.dataset import DomainDataset
from segshift.report.overlays import Overlays, in_order, paint, thumbnail
from segshift.report.picture_grid import Color, Panel

SIDE_BY_SIDE = 2
"""Samples in a line."""


def choose_samples(images: int, count: int, seed: int) -> list[int]:
    """Places of `count` of the images, or of all, without repetition; they depend on the three numbers only.

    >>> choose_samples(10, 3, seed=0)
    [4, 6, 2]
    """
    return [int(place) for place in np.random.default_rng(seed).permutation(images)[:count]]


def draw_samples(dataset: DomainDataset, count: int = 8, seed: int = 0) -> Overlays:
    """Images beside their labels, which unlabelled data lack, and the classes that occur. Raises UserError for what cannot be read."""
    legend: dict[str, Color] = {}
    pictures: list[list[tuple[str, Any]]] = []
    for place in choose_samples(len(dataset), count, seed):
        sample = dataset[place]
        pair = [(f"image\n{sample.name}", thumbnail(sample.image))]
        if sample.label is not None:
            pair.append(("truth", paint(sample.label, dataset.label_space, legend)))
        pictures.append(pair)
    lines = [pictures[start : start + SIDE_BY_SIDE] for start in range(0, len(pictures), SIDE_BY_SIDE)]
    panels = tuple(Panel("", tuple(picture for pair in line for picture in pair)) for line in lines)
    return Overlays(panels, in_order(legend, dataset.label_space), f"{len(pictures)} of {len(dataset)} images, drawn with seed {seed}")
