"""Draw what AdaBN does to pictures: clear, shifted, the label map before and after, and the truth; one run before, one after.

python docs/figures/adabn_panels.py BEFORE AFTER 'streets::test?count=60&size=128x64' +fog=0.04 docs/images/adabn_panels.png [--images 4]

BEFORE and AFTER are run folders; the clear domain and the weather that is added to it (or, without a `+`, another domain of the same images).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from segshift.data.dataset import open_domain
from segshift.data.label_space import mapping
from segshift.engine.prediction import predict_label
from segshift.engine.run import Run
from segshift.metrics import confusion_matrix, miou
from segshift.report.overlays import paint, thumbnail
from segshift.report.picture_grid import Color, Panel, overlay_figure


def draw_panels(before: Run, after: Run, clear: str, shifted: str, images: int) -> tuple[list[Panel], dict[str, Color]]:
    """Rows of images, evenly spaced over the domain, and the classes in them."""
    plain, changed = (open_domain(domain, depth=False) for domain in (clear, f"{clear}{shifted}" if shifted.startswith("+") else shifted))
    models = [run.load_model() for run in (before, after)]
    to_common, of_data, common = mapping(before.label_space, plain.label_space)
    legend: dict[str, Color] = {}
    panels = []
    for index in torch.linspace(0, len(plain) - 1, images).round().long().tolist():
        sample = changed[index]
        assert sample.label is not None  # it is tested on
        truth = torch.as_tensor(of_data)[sample.label.long()]
        pictures = [("clear", thumbnail(plain[index].image)), ("shifted", thumbnail(sample.image))]
        for name, model in zip(("before", "after"), models, strict=True):
            label = torch.as_tensor(to_common)[predict_label(model, sample.image, before.size).long()]
            score = float(miou(confusion_matrix(label, truth, len(common))))
            pictures.append((f"{name}\nmIoU {100 * score:.0f} %", paint(label, common, legend)))
        pictures.append(("truth", paint(truth, common, legend)))
        panels.append(Panel(sample.name, tuple(pictures)))
    return panels, {name: legend[name] for name in dict.fromkeys((*common.classes, *legend)) if name in legend}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for argument in ("before", "after"):
        parser.add_argument(argument, type=Path)
    parser.add_argument("clear")
    parser.add_argument("shifted")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--images", type=int, default=4)
    given = parser.parse_args()
    rows, classes = draw_panels(Run.open(given.before), Run.open(given.after), given.clear, given.shifted, given.images)
    given.picture.write_bytes(overlay_figure(rows, classes, "png"))
