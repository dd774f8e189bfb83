"""Images, truths and predictions of a few images of a domain, made again from the runs' weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

from segshift.data.dataset import open_domain
from segshift.data.label_space import LabelSpace, mapping
from segshift.engine.prediction import predict_label
from segshift.errors import DataError
from segshift.metrics import miou
from segshift.report.comparison import Row
from segshift.report.picture_grid import Color, Panel, hatch
from segshift.types import IGNORE

LARGEST = 480
"""Pixels of a picture's longer side: a page of a few images stays below some megabytes."""


@final
@dataclass(frozen=True)
class Overlays:
    """Panels, the classes that occur in them with their colours, and how the images were chosen."""

    panels: tuple[Panel, ...]
    legend: Mapping[str, Color]
    choice: str


def draw_overlays(source: Row, repairs: Sequence[Row], domain: str, images: int = 4, when: tuple[str, str] = ("before: ", "after: ")) -> Overlays:
    """Label maps of `source` and its repairs on one domain; `images` of them, from the source model's worst image to its best.

    `when` stands before the name of the source and of each repair; other runs than repairs may be drawn without it.
    Raises UserError where the data or the weights are not there any more, DataError where the data are not those that were evaluated.
    """
    evaluation = source.cells[domain].evaluation
    dataset = open_domain(str(evaluation.record["domain"]), depth=False)
    if dataset.fingerprint() != evaluation.record["fingerprint"]:
        raise DataError(f"{dataset.domain} has changed since the evaluation: evaluate again")
    chosen = spread_over(image_scores(evaluation.confusions), images)
    samples = [dataset[index] for index in chosen]
    legend: dict[str, Color] = {}
    columns: list[list[tuple[str, UInt8[np.ndarray, "h w 3"]]]] = [[("image", thumbnail(sample.image))] for sample in samples]
    for column, sample in zip(columns, samples, strict=True):
        if sample.label is not None:
            column.append(("truth", paint(sample.label, dataset.label_space, legend)))
    rows = (source, *repairs)
    names = [source.name, *tell_apart([row.name for row in repairs])] if any(when) else tell_apart([row.name for row in rows])
    for row, name in zip(rows, names, strict=True):
        before = when[row is not source]
        row.run.require_standalone()
        model = row.run.load_model()
        to_common, _, common = mapping(row.run.label_space, dataset.label_space)
        for column, sample, index in zip(columns, samples, chosen, strict=True):
            label = torch.as_tensor(to_common)[predict_label(model, sample.image, row.run.size).long()]
            score = image_scores(row.cells[domain].evaluation.confusions[[index]])[0] if domain in row.cells else np.nan
            caption = f"{before}{name}\n{f'mIoU {100 * score:.0f} %' if score == score else ''}"
            column.append((caption, paint(label, common, legend)))
    panels = tuple(Panel(sample.name, tuple(column)) for sample, column in zip(samples, columns, strict=True))
    return Overlays(
        panels,
        in_order(legend, dataset.label_space),
        f"{len(panels)} of {len(dataset)} images, evenly spaced from the source model's worst to its best by mIoU of the image",
    )


def tell_apart(names: Sequence[str]) -> list[str]:
    """The names without the words that all begin with: there is little room above a picture.

    >>> tell_apart(["supervised-all", "supervised-freeze-n-update"]), tell_apart(["adabn-fog", "adabn"])
    (['all', 'freeze-n-update'], ['adabn-fog', 'adabn'])
    """
    words = [name.split("-") for name in names]
    shared = 0
    while len(set(names)) > 1 and all(len(each) > shared + 1 for each in words) and len({each[shared] for each in words}) == 1:
        shared += 1
    return ["-".join(each[shared:]) for each in words]


def in_order(legend: Mapping[str, Color], space: LabelSpace) -> dict[str, Color]:
    """The legend in the order of the classes, then what is no class of the space."""
    return {name: legend[name] for name in dict.fromkeys((*space.classes, *legend)) if name in legend}


def image_scores(confusions: np.ndarray) -> np.ndarray:
    """mIoU of each image by itself."""
    scores: np.ndarray = np.asarray(miou(confusions))
    return scores


def spread_over(scores: np.ndarray, count: int) -> list[int]:
    """Places of `count` scores, evenly spaced from the lowest to the highest; NaN is never chosen.

    >>> spread_over(np.array([0.5, 0.1, 0.9, 0.3, 0.7]), 3)
    [1, 0, 2]
    """
    ranked = [int(i) for i in np.argsort(scores, kind="stable") if not np.isnan(scores[i])]
    places = np.linspace(0, len(ranked) - 1, min(count, len(ranked)))
    return [ranked[round(float(place))] for place in places]


def thumbnail(image: UInt8[Tensor, "3 h w"]) -> UInt8[np.ndarray, "th tw 3"]:
    """The image, not larger than a page needs."""
    size = _shrunk(image.shape[1:])
    small = F.interpolate(image[None].float(), size=size, mode="area")[0] if size != tuple(image.shape[1:]) else image
    return np.ascontiguousarray(small.round().to(torch.uint8).permute(1, 2, 0).numpy())


def paint(label: Tensor, space: LabelSpace, legend: dict[str, Color]) -> UInt8[np.ndarray, "th tw 3"]:
    """The classes' own colours, as in the legend, which grows by those that occur; void is hatched. As large as the image's thumbnail."""
    size = _shrunk(label.shape)
    small = F.interpolate(label[None, None].float(), size=size, mode="nearest-exact")[0, 0].to(torch.uint8)
    for value in np.unique(small.numpy()).tolist():
        name, color = ("void", None) if value == IGNORE else (space.classes[value], space.colors[value])
        legend.setdefault(name, color)
    return hatch(space.colorize(small), small.numpy() == IGNORE)


def _shrunk(size: Sequence[int]) -> tuple[int, int]:
    factor = min(1.0, LARGEST / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
