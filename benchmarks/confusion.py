"""Time of one confusion matrix (2048 x 1024 pixels, 19 classes, ignore 255) beside that of torchmetrics and cv2.calcHist.

    python benchmarks/confusion.py [--rounds 21]

Every round times each counter once, in turn, so that whatever else the machine does hits all of them; a ratio is formed within a round.
Printed are medians over the rounds, with the smallest and largest in brackets. All counters are first checked to give equal counts.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torchmetrics.classification import MulticlassConfusionMatrix

from segshift.metrics.confusion import confusion_matrix
from segshift.metrics.counting import count_with_torch

HEIGHT, WIDTH, CLASSES, IGNORE = 1024, 2048, 19, 255
Counter = Callable[[], np.ndarray]


def draw_scene(generator: np.random.Generator, wrong: float) -> tuple[np.ndarray, np.ndarray]:
    """Patches of 64 x 64 and 8 % ignored rows, like the hood of a car; the prediction is shifted by 3 pixels and wrong in a share of all."""
    label = np.kron(generator.integers(0, CLASSES, (HEIGHT // 64, WIDTH // 64)), np.ones((64, 64), np.int64))
    pred = np.roll(label, 3, axis=1)
    noise = np.asarray(generator.random(pred.shape) < wrong)
    pred[noise] = generator.integers(0, CLASSES, np.count_nonzero(noise))
    label[-HEIGHT * 8 // 100 :] = IGNORE
    return pred, label


def draw_noise(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """No two neighbours alike: the worst case for counting runs."""
    pred, label = generator.integers(0, CLASSES, (2, HEIGHT, WIDTH))
    label[generator.random(label.shape) < 0.08] = IGNORE
    return pred, label


def counters_for(pred: np.ndarray, label: np.ndarray) -> dict[str, Counter]:
    """Each way to count, with the inputs in the dtype it works on, made before the clock starts."""
    pred8, label8 = pred.astype(np.uint8), label.astype(np.uint8)
    wide, wide_label = torch.from_numpy(pred), torch.from_numpy(label)
    metric = MulticlassConfusionMatrix(num_classes=CLASSES, ignore_index=IGNORE)
    unchecked = MulticlassConfusionMatrix(num_classes=CLASSES, ignore_index=IGNORE, validate_args=False)

    def count_with_peer(metric: MulticlassConfusionMatrix) -> np.ndarray:
        metric.reset()
        metric.update(wide, wide_label)
        return np.asarray(metric.compute())

    def count_with_numpy() -> np.ndarray:
        kept = label != IGNORE
        return np.bincount(label[kept] * CLASSES + pred[kept], minlength=CLASSES**2).reshape(CLASSES, CLASSES)

    def narrow_first() -> np.ndarray:
        return confusion_matrix(wide.to(torch.uint8), label8, CLASSES, IGNORE)

    return {
        "segshift, uint8 and uint8": lambda: confusion_matrix(pred8, label8, CLASSES, IGNORE),
        "segshift, int64 prediction": lambda: confusion_matrix(wide, label8, CLASSES, IGNORE),
        "segshift, int64 made uint8 first": narrow_first,
        "segshift, int64 and int64": lambda: confusion_matrix(wide, wide_label, CLASSES, IGNORE),
        "segshift without numba, uint8": lambda: count_with_torch(pred8, label8, CLASSES, IGNORE)[0],
        "cv2.calcHist, uint8": lambda: cv2.calcHist([label8, pred8], [0, 1], None, [CLASSES] * 2, [0, CLASSES] * 2),
        "numpy bincount, int64": count_with_numpy,
        "torchmetrics, int64, unchecked": lambda: count_with_peer(unchecked),
        "torchmetrics, int64": lambda: count_with_peer(metric),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    generator = np.random.default_rng(0)
    inputs = {
        "scene, 5 % wrong": draw_scene(generator, 0.05),
        "scene, 20 % wrong": draw_scene(generator, 0.20),
        "noise": draw_noise(generator),
    }
    print(f"{WIDTH} x {HEIGHT}, {CLASSES} classes, ignore {IGNORE}, {rounds} rounds; threads: torch {torch.get_num_threads()}, cv2 {cv2.getNumThreads()}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; torch {torch.__version__}, cv2 {cv2.__version__}, numpy {np.__version__}")
    for title, (pred, label) in inputs.items():
        counters = counters_for(pred, label)
        expected = counters["torchmetrics, int64"]()
        for name, count in counters.items():
            if not np.array_equal(count(), expected):
                raise SystemExit(f"{name} differs from torchmetrics on {title}")
        seconds = measure(counters, rounds)
        print(f"\n{title}: all counts equal\n{'':34}{'ms':>22}{'torchmetrics is x':>24}{'times calcHist':>22}")
        for name, taken in seconds.items():
            faster, share = seconds["torchmetrics, int64"] / taken, taken / seconds["cv2.calcHist, uint8"]
            print(f"{name:34}{spread(1e3 * taken, 2):>22}{spread(faster, 1):>24}{spread(share, 2):>22}")


if __name__ == "__main__":
    main()
