"""Time of counting scores for ROC and precision-recall (2048 x 1024 pixels, 19 classes, ignore 255) beside plain numpy, and the memory it takes.

    python benchmarks/curves.py [--rounds 7] [--images 500]

Every round times each counter once, in turn, so that whatever else the machine does hits all of them; a ratio is formed within a round.
Printed are medians over the rounds, with the smallest and largest in brackets. Then one histogram is filled with images, each drawn anew by
shifting one scene, and the largest resident memory of the process is printed. All counters are first checked to give equal AUC within 1e-3.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from segshift.metrics import ScoreHistogram, score_curves
from segshift.metrics.score_bins import count_with_numba, count_with_torch

HEIGHT, WIDTH, CLASSES, IGNORE, BINS = 1024, 2048, 19, 255, 13057
Counter = Callable[[], np.ndarray]


def draw_scene(spread: float) -> tuple[Tensor, Tensor]:
    """Smooth logits that lean to patches of 64 x 64, and 8 % ignored rows, like the hood of a car."""
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(0, CLASSES, (HEIGHT // 64, WIDTH // 64), generator=generator).repeat_interleave(64, 0).repeat_interleave(64, 1)
    coarse = torch.randn(1, CLASSES, HEIGHT // 8, WIDTH // 8, generator=generator) * spread
    logits = interpolate(coarse, size=(HEIGHT, WIDTH), mode="bilinear")[0]
    logits.scatter_add_(0, label[None], torch.full((1, HEIGHT, WIDTH), 2 * spread))
    label[-HEIGHT * 8 // 100 :] = IGNORE
    return logits, label.to(torch.uint8)


def count_with_numpy(logits: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Softmax, bins of equal width in its logit, and a bincount a class: (2, K, bins)."""
    kept = label.reshape(-1) != IGNORE
    truth = label.reshape(-1)[kept]
    values = logits.reshape(CLASSES, -1)[:, kept]
    power = np.exp(values - values.max(0))
    score = power / power.sum(0)
    odds = np.log(np.maximum(score, 1e-30)) - np.log(np.maximum(1 - score, 1e-30))
    cells = np.clip((odds + 70) * (BINS / 140), 0, BINS - 1).astype(np.int32)
    everyone = np.stack([np.bincount(cell, minlength=BINS) for cell in cells])
    right = np.stack([np.bincount(cells[k, truth == k], minlength=BINS) for k in range(CLASSES)])
    return np.stack([everyone - right, right])


def counters_for(logits: Tensor, label: Tensor) -> dict[str, Counter]:
    flat, values, truth = logits.reshape(CLASSES, -1), logits.numpy(), label.numpy()
    return {
        "segshift": lambda: np.stack(count_with_numba(flat, label, CLASSES, IGNORE)[:2]),
        "segshift without numba": lambda: np.stack(count_with_torch(flat, label, CLASSES, IGNORE)[:2]),
        "numpy": lambda: count_with_numpy(values, truth),
        "torch.softmax alone": lambda: torch.softmax(flat, 0).numpy(),
        "argmax alone": lambda: flat.argmax(0).numpy(),
    }


def measure(counters: dict[str, Counter], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each counter in each round."""
    seconds = {name: np.empty(rounds) for name in counters}
    for i in range(rounds):
        for name, count in counters.items():
            start = time.perf_counter()
            count()
            seconds[name][i] = time.perf_counter() - start
    return seconds


def spread(values: np.ndarray, digits: int) -> str:
    return f"{np.median(values):.{digits}f} ({values.min():.{digits}f}-{values.max():.{digits}f})"


def resident() -> float:
    """The largest resident memory of the process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def fill(images: int) -> None:
    """Streams images through one histogram; nothing but the image, the histogram and the counter's own memory is alive."""
    logits, label = draw_scene(3.0)
    before = resident()
    histogram = ScoreHistogram(CLASSES)
    start = time.perf_counter()
    for image in range(images):
        histogram.update(logits, torch.roll(label, image % 16, 1))
    seconds = time.perf_counter() - start
    found = histogram.compute()
    print(f"{images} images: {seconds:.0f} s, mean AUC {found.mean_roc_auc:.4f} (within {found.roc_auc_error.max():.1e})")
    print(f"largest resident memory {resident():.0f} MB, of which before the first image {before:.0f} MB; the histogram {histogram.counts.nbytes / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=500)
    asked = parser.parse_args()
    print(f"{WIDTH} x {HEIGHT}, {CLASSES} classes, ignore {IGNORE}, {asked.rounds} rounds; torch threads {torch.get_num_threads()}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}, numpy {np.__version__}")
    if asked.images:
        fill(asked.images)  # first, as the other counters need more memory
    for title, width in {"logits of spread 1": 1.0, "logits of spread 6, scores near 0 and 1": 6.0}.items() if asked.rounds else ():
        counters = counters_for(*draw_scene(width))
        ours, torchs, plain = (count() for count in list(counters.values())[:3])
        if not np.array_equal(ours, torchs) or np.abs(score_curves(ours).roc_auc - score_curves(plain).roc_auc).max() > 1e-3:
            raise SystemExit(f"the counters differ on {title}")
        seconds = measure(counters, asked.rounds)
        print(f"\n{title}: counts equal with and without numba, AUC of numpy's within 1e-3\n{'':26}{'ms':>20}{'numpy is x':>20}")
        for name, taken in seconds.items():
            print(f"{name:26}{spread(1e3 * taken, 0):>20}{spread(seconds['numpy'] / taken, 1):>20}")


if __name__ == "__main__":
    main()
