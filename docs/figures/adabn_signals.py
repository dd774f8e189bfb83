"""Print which label-free signal tells what AdaBN will give, from the folder of studies/adabn-streets.yaml or adabn-camvid.yaml.

python docs/figures/adabn_signals.py runs/adabn-camvid [--images 30]

Each adaptation with a ratio is looked at on (the first) target images that it adapted to, beside its source model; labels of the test say what it truly gave.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from segshift.data.dataset import open_domain
from segshift.data.transforms import resize_sample
from segshift.diagnose.drift import InputMoments, normalization_distance, over_layers, watch_inputs
from segshift.engine.run import Run
from segshift.methods.consistency import consistency
from segshift.metrics.calibration import ConfidenceCounts
from segshift.study.results import Results
from segshift.types import Batch

BATCH = 8
NAMES = ("consistency", "soft IoU", "confidence", "entropy, falling", "distance")


def read_images(domain: str, size: tuple[int, int] | None, count: int) -> Tensor:
    """The first images of a domain, in [0, 1]."""
    data = open_domain(domain, depth=False)
    samples = (data[index] for index in range(min(count, len(data))))
    return torch.stack([(resize_sample(sample, size) if size else sample).image for sample in samples]).float() / 255


def batches(images: Tensor) -> Iterator[Batch]:
    for part in images.split(BATCH):
        yield Batch(part, None, None, tuple("" for _ in part))


def alone(action: Callable[[], Any]) -> list[Any]:
    return [action()]


@torch.no_grad()
def signals(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Of one state of a model, all in [0, 1] but the entropy, which is negative."""
    counts, entropy = ConfidenceCounts(torch.ones(len(model(images[:1])[0]))), []
    for batch in batches(images):
        logits = model(batch.images)
        counts.update(logits)
        entropy.append(-(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean((1, 2)))
    return {
        "consistency": consistency(model, lambda: batches(images), alone),
        "soft IoU": float(np.nan_to_num(counts.soft_iou()).mean()),
        "confidence": counts.mean_confidence,
        "entropy, falling": -float(torch.cat(entropy).mean()),
    }


@torch.no_grad()
def distance(model: nn.Module, images: Tensor, source: Tensor) -> float:
    """How far the images are from the source's to the layers of the model."""
    moments = []
    for part in (images, source):
        with watch_inputs(model) as found:
            for batch in batches(part):
                model(batch.images)
        moments.append(InputMoments.join(found))
    return float(over_layers(normalization_distance(*moments)))


def read_pairs(folder: Path, count: int) -> list[tuple[dict[str, float], float]]:
    """What each signal gains by each adaptation, and what its test's mIoU truly gains."""
    with Results.open(folder / "results.sqlite") as results:
        runs, scores = list(results.runs()), {(score.identity, score.domain): score.miou for score in results.scores()}
    sources = {(run.axes["augmentation"], run.seed): run for run in runs if run.entry == "source"}
    pairs, before = [], {}
    for run in runs:
        if run.entry != "adabn" or run.axes["ratio"] == "auto" or run.folder is None:
            continue
        weather, place = str(run.axes["weather"]), (run.axes["augmentation"], run.seed)
        adapted, source = Run.open(folder / run.folder), Run.open(folder / str(sources[place].folder))
        target = adapted.recipe.data.target
        assert target is not None  # it is adapted to
        images = read_images(target, adapted.size, count)
        if (place, weather) not in before:
            model = source.load_model()
            learned = read_images(source.recipe.data.source, source.size, count)
            before[place, weather] = signals(model, images), distance(model, images, learned)
        was, away = before[place, weather]
        now = signals(adapted.load_model(), images)
        true = scores[run.identity, weather] - scores[sources[place].identity, weather]
        pairs.append(({**{name: now[name] - was[name] for name in now}, "distance": away}, true))
        print(f"{run.entry} {run.axes}: true {100 * true:+.1f}, " + ", ".join(f"{name} {100 * value:+.1f}" for name, value in pairs[-1][0].items()), flush=True)
    return pairs


def print_signals(pairs: list[tuple[dict[str, float], float]]) -> None:
    true = np.array([gain for _, gain in pairs])
    clear = np.abs(true) > 0.01
    print(f"\n| signal, {len(pairs)} adaptations | Spearman with the true gain | sign right of the {clear.sum()} beyond a point |\n|---|---|---|")
    for name in NAMES:
        told = np.array([found[name] for found, _ in pairs])
        right = "-" if name == "distance" else f"{np.mean(np.sign(told) == np.sign(true), where=clear):.0%}"
        print(f"| {name} | {spearmanr(told, true).statistic:.2f} | {right} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=30)
    given = parser.parse_args()
    print_signals(read_pairs(given.folder, given.images))
