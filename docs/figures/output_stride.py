"""What an output stride can keep: mIoU of true labels that went through a smaller map, as a table and a figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from segshift import ConfusionMatrix, open_domain
from segshift.data.label_space import LABEL_SPACES
from segshift.report.canvas import COLORS, MARKERS, canvas

PICTURE = Path(__file__).parents[1] / "images" / "networks_ceilings.png"
CLASSES = LABEL_SPACES["cityscapes-19"].classes
GROUPS = {
    "all 19 classes": CLASSES,
    "large: road, building, vegetation, sky": ("road", "building", "vegetation", "sky"),
    "thin: pole, traffic light and sign, person": ("pole", "traffic light", "traffic sign", "person"),
}
FACTORS = (1, 2, 4, 8, 16, 32)
WAYS = {"centre": "the centre's class", "majority": "the class of most pixels", "shares": "class shares, bilinear"}


def shrink_and_grow(label: Tensor, factor: int, way: str) -> Tensor:
    """A label (H W) through one cell for every factor x factor pixels, and back at its size."""
    if way == "centre":
        small = label[factor // 2 :: factor, factor // 2 :: factor]
        return small.repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    shares = F.avg_pool2d((label == torch.arange(len(CLASSES))[:, None, None])[None].float(), factor)
    if way == "majority":
        return shares.argmax(1)[0].repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    return F.interpolate(shares, scale_factor=factor, mode="bilinear", align_corners=False).argmax(1)[0]


def show_ceilings() -> None:
    """mIoU of true labels after they went through a smaller map: the table and the figure."""
    counts = {(way, factor): ConfusionMatrix(len(CLASSES)) for way in WAYS for factor in FACTORS}
    for sample in open_domain("streets::test?size=1024x512", depth=False):
        assert sample.label is not None
        for (way, factor), count in counts.items():
            count.update(shrink_and_grow(sample.label, factor, way), sample.label)
    found = {}
    print("| classes | through a cell | " + " | ".join(str(factor) for factor in FACTORS) + " |\n|---|---|" + "---|" * len(FACTORS))
    for group, names in GROUPS.items():
        members = [CLASSES.index(name) for name in names]
        for way, meaning in WAYS.items():
            found[group, way] = [100 * float(np.nanmean(counts[way, factor].iou()[members])) for factor in FACTORS]
            print(f"| {group} | {meaning} | " + " | ".join(f"{value:.1f}" for value in found[group, way]) + " |")
    with canvas(8.4, 3.1) as figure:
        panels = figure.subplots(1, len(GROUPS), sharey=True)
        for axes, group in zip(panels, GROUPS, strict=True):
            for place, (way, meaning) in enumerate(WAYS.items()):
                axes.plot(FACTORS, found[group, way], color=COLORS[1 + place], marker=MARKERS[place], markersize=4, label=meaning)
            axes.set_xscale("log", base=2)
            axes.set_xticks(FACTORS, [str(factor) for factor in FACTORS])
            axes.set_title(group.replace(": ", "\n", 1), fontsize=9)
            axes.set_xlabel("output stride, pixels")
            axes.grid(linewidth=0.3)
            axes.set_ylim(0, 103)
        panels[0].set_ylabel("mIoU of the true labels, %")
        panels[0].legend(loc="lower left", fontsize=8)
        figure.savefig(PICTURE, dpi=110)
