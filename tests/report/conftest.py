"""Tiny run folders with known confusion matrices, written as the engine writes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segshift.engine.run import Run, write_evaluation
from segshift.metrics import confusion as metrics

CLASSES = ("road", "sky", "person")


def diagonal(accuracies: list[float], classes: int = 3, pixels: int = 100) -> np.ndarray:
    """(N, K, K): in image n a share `accuracies[n]` of each class's pixels is right, the rest is taken for the next class."""
    matrices = np.zeros((len(accuracies), classes, classes), np.int64)
    for matrix, share in zip(matrices, accuracies, strict=True):
        right = round(share * pixels)
        for k in range(classes):
            matrix[k, k] += right
            matrix[k, (k + 1) % classes] += pixels - right
    return matrices


def write_run(
    folder: Path,
    name: str,
    scores: Mapping[str, np.ndarray] | None = None,
    *,
    parent: Run | None = None,
    domains: Mapping[str, str] | None = None,
    fingerprints: Mapping[str, str] | None = None,
    blocks: list[str] | None = None,
    classes: tuple[str, ...] = CLASSES,
    known: Mapping[str, str] | None = None,
    streams: Mapping[str, Mapping[str, int]] | None = None,
    **record: Any,
) -> Run:
    """A run folder with an evaluation for each entry of `scores`; `record` overrides entries of run.json, `known` says what it knew of images, `streams`
    what its method counted while it was tested.
    """
    path = folder / name
    path.mkdir(parents=True)
    content = {
        "schema": 1,
        "identity": hashlib.sha256(str(path).encode()).hexdigest(),
        "name": name,
        "parent": None if parent is None else {"path": f"../{parent.path.name}", "identity": parent.record["identity"], "name": parent.name},
        "method": "supervised" if parent is None else "adabn",
        "method_version": 1,
        "method_options": {},
        "tuning": "all" if parent is None else None,
        "sees": ["source", "source_labels"] if parent is None else ["target"],
        "protocol": "sees what it sees; offline",
        "model": {"architecture": "unet", "encoder": "resnet18", "classes": len(classes), "options": {}},
        "label_space": {"name": "three", "classes": list(classes), "colors": [[10 * i, 20, 30] for i in range(len(classes))]},
        "seed": 0,
        "data": {"source": {"domain": "streets::train?count=4", "fingerprint": "ab", "images": 4, "labels_used": 4}},
        "labels_used": 0,
        "parameters": 1000,
        "parameters_changed": 1000 if parent is None else 0,
        "tensors_changed": 10,
        "statistics_changed": 64,
        "seconds": 12.5,
        "tested_checkpoint": "last",
        "status": "finished",
        "provenance": {
            "segshift": "0.1.0",
            "torch": "2.11",
            "python": "3.11",
            "commit": "abc",
            "command": "segshift train",
            "device": "cpu",
            "created": "2025",
        },
    }
    (path / "run.json").write_text(json.dumps(content | record))
    run = Run.open(path)
    for label, confusions in (scores or {}).items():
        write_scores(
            run,
            label,
            confusions,
            (domains or {}).get(label, "streets::test"),
            (fingerprints or {}).get(label, label),
            blocks,
            classes,
            (known or {}).get(label, ""),
            (streams or {}).get(label),
        )
    return run


def write_scores(
    run: Run,
    label: str,
    confusions: np.ndarray,
    domain: str,
    fingerprint: str,
    blocks: list[str] | None,
    classes: tuple[str, ...] = CLASSES,
    known: str = "",
    stream: Mapping[str, int] | None = None,
) -> None:
    """An evaluation of known matrices."""
    total = confusions.sum(0)
    names = [f"{i:03d}" for i in range(len(confusions))]
    iou = metrics.iou(total)
    record = {
        "schema": 1,
        "name": label,
        "domain": domain,
        "fingerprint": fingerprint,
        "checkpoint": "last",
        "checkpoint_hash": "cd",
        "label_space": "three",
        "classes": list(classes),
        "images": len(confusions),
        "size": [32, 64],
        "scored_at": "label size",
        "protocol": {"prediction": "offline: fixed weights, evaluation mode", "batch_size": 8, "known_images": known} | ({"stream": stream} if stream else {}),
        "definition": metrics.DEFINITION,
        "miou": float(metrics.miou(total)),
        "mean_accuracy": float(metrics.mean_accuracy(total)),
        "accuracy": float(metrics.accuracy(total)),
        "dice": float(metrics.dice(total)),
        "frequency_weighted_iou": float(metrics.frequency_weighted_iou(total)),
        "iou": [None if np.isnan(value) else float(value) for value in iou],
        "seconds": 1.0,
        "created": "2025",
        "command": "segshift evaluate",
    }
    write_evaluation(run, record, confusions, names, blocks or names)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """`write_run` below a fresh folder `runs`."""

    def make(name: str, scores: Mapping[str, np.ndarray] | None = None, **options: Any) -> Run:
        return write_run(tmp_path / "runs", name, scores, **options)

    return make


@pytest.fixture
def shares() -> Callable[..., np.ndarray]:
    """`diagonal`: matrices from the share of right pixels in each image."""
    return diagonal
