"""What a results file says of a run: rows made from its folder, and rows as they are read.

A matrix is kept as zlib-compressed little-endian int64, row after row: `zlib.decompress` and `np.frombuffer(..., "<i8")` give it back.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, final

import numpy as np
from jaxtyping import Int64

from segshift.engine.run import Evaluation, Run
from segshift.methods import METHODS
from segshift.metrics import confusion as metrics
from segshift.study.database import Row
from segshift.study.grid import Planned

Tables = dict[str, list[Row]]
"""Rows of one run by table, in an order that their references allow."""
Label = int | float | str
FIGURES = ("miou", "mean_accuracy", "accuracy", "dice", "frequency_weighted_iou")
_NOT_VERSIONS = ("commit", "command", "device", "threads", "created")


@final
@dataclass(frozen=True)
class RunResult:
    """A run. `axes` holds numbers where the axis has numbers, else texts; `folder` is relative to the study's. None: not known, as of a run that failed."""

    identity: str
    key: str
    entry: str
    title: str
    seed: int
    axes: Mapping[str, Label]
    parent: str | None
    method: str
    method_options: Mapping[str, Any]
    tuning: str | None
    architecture: str
    encoder: str | None
    status: str
    error: str | None
    seconds: float | None
    parameters: int | None
    parameters_changed: int | None
    statistics_changed: int | None
    labels_used: int | None
    sees: tuple[str, ...]
    protocol: str | None
    folder: Path | None
    recipe: Mapping[str, Any]
    versions: Mapping[str, Any]
    git_commit: str | None
    device: str | None
    created: str | None


@final
@dataclass(frozen=True)
class Score:
    """A run on a domain: `domain` is the test's label, `data` what it stands for. Figures in [0, 1], NaN where nothing was counted."""

    identity: str
    domain: str
    data: str
    fingerprint: str
    images: int
    blocks: int
    checkpoint: str
    known_images: str
    label_space: str
    matrix_rows: int
    matrix_columns: int
    miou: float
    mean_accuracy: float
    accuracy: float
    dice: float
    frequency_weighted_iou: float
    definition: str


@final
@dataclass(frozen=True)
class ClassScore:
    """A run on one class of a domain. NaN: `iou` of a class in neither truth nor prediction, `accuracy` of one that is not in the truth."""

    identity: str
    domain: str
    position: int
    name: str
    iou: float
    accuracy: float


def run_tables(planned: Planned, identity: str, run: Run, root: Path) -> Tables:
    """All rows of a run on the study's tests; `root` is the study's folder. WeightsError where an evaluation is damaged."""
    evaluations = [evaluation for evaluation in run.evaluations() if evaluation.name in planned.recipe.evaluated_tests]
    return {
        "runs": [run_row(planned, identity, run, root)],
        "axes": axis_rows(planned.axes),
        "scores": [score_row(evaluation) for evaluation in evaluations],
        "class_scores": [row for evaluation in evaluations for row in class_rows(evaluation)],
        "confusions": [row for evaluation in evaluations for row in confusion_rows(evaluation)],
    }


def run_row(planned: Planned, identity: str, run: Run, root: Path) -> Row:
    """The row of `runs` for a run folder; `root` is the study's."""
    record, provenance = run.record, run.record.get("provenance") or {}
    return {
        **_planned_row(planned, identity),
        "parent": record["parent"]["identity"] if record.get("parent") else None,
        "method": record["method"],
        "method_options": _json(record["method_options"]),
        "tuning": record["tuning"],
        "architecture": record["model"]["architecture"],
        "encoder": record["model"]["encoder"],
        "status": record["status"],
        "error": None,
        **{name: record.get(name) for name in ("seconds", "parameters", "parameters_changed", "statistics_changed", "labels_used")},
        "sees": ", ".join(record["sees"]),
        "protocol": record["protocol"],
        "folder": _relative(run.path, root),
        "versions": _json({name: value for name, value in provenance.items() if name not in _NOT_VERSIONS}),
        "git_commit": provenance.get("commit"),
        "device": provenance.get("device"),
        "created": provenance.get("created"),
    }


def failure_row(planned: Planned, identity: str, parent: str | None, error: str) -> Row:
    """The row of `runs` for a run that failed, from its recipe alone; `parent` is its parent's identity."""
    recipe = planned.recipe
    return {
        **_planned_row(planned, identity),
        "parent": parent,
        "method": recipe.method.name,
        "method_options": _json(recipe.method.options),
        "tuning": recipe.tuning.name if METHODS[recipe.method.name].kind == "trains" else None,
        "architecture": recipe.model.architecture,
        "encoder": recipe.model.encoder,
        "status": "failed",
        "error": error,
    }


def axis_rows(axes: Mapping[str, Any]) -> list[Row]:
    """Rows of `axes`: the label as it stands in the run's key, and as a number where it is one."""
    return [
        {"axis": axis, "position": place, "value": str(value), "number": float(value) if type(value) in (int, float) else None}
        for place, (axis, value) in enumerate(axes.items())
    ]


def read_label(value: str, number: float | None) -> Label:
    """The label of an axis from its row.

    >>> read_label("2", 2.0), read_label("0.02", 0.02), read_label("2", None)
    (2, 0.02, '2')
    """
    if number is None:
        return value
    with suppress(ValueError):
        return int(value)
    return number


def score_row(evaluation: Evaluation) -> Row:
    """The row of `scores` for an evaluation."""
    record, matrices = evaluation.record, evaluation.confusions
    return {
        "domain": evaluation.name,
        "data": record["domain"],
        "fingerprint": record["fingerprint"],
        "images": len(matrices),
        "blocks": len(set(evaluation.blocks)),
        "checkpoint": record["checkpoint"],
        "known_images": record["protocol"].get("known_images", ""),
        "label_space": record["label_space"],
        "matrix_rows": matrices.shape[1],
        "matrix_columns": matrices.shape[2],
        **{name: record[name] for name in FIGURES},
        "definition": record["definition"],
    }


def class_rows(evaluation: Evaluation) -> list[Row]:
    """Rows of `class_scores` for an evaluation."""
    total = evaluation.confusions.sum(0)
    figures = zip(evaluation.record["classes"], metrics.iou(total).tolist(), metrics.class_accuracy(total).tolist(), strict=True)
    return [
        {"domain": evaluation.name, "position": place, "class": name, "iou": _or_none(iou), "accuracy": _or_none(accuracy)}
        for place, (name, iou, accuracy) in enumerate(figures)
    ]


def confusion_rows(evaluation: Evaluation) -> list[Row]:
    """Rows of `confusions` for an evaluation, one an image."""
    images = zip(evaluation.names, evaluation.blocks, evaluation.confusions, strict=True)
    return [
        {"domain": evaluation.name, "position": place, "image": image, "block": block, "matrix": pack_matrix(matrix)}
        for place, (image, block, matrix) in enumerate(images)
    ]


def pack_matrix(matrix: Int64[np.ndarray, "k c"]) -> bytes:
    """A confusion matrix as it is kept."""
    return zlib.compress(matrix.astype("<i8").tobytes())


def unpack_matrices(packed: Iterable[bytes], rows: int, columns: int) -> Int64[np.ndarray, "n k c"]:
    """Confusion matrices (N, rows, columns) from what is kept; zlib.error or ValueError where that is something else."""
    counts = np.frombuffer(b"".join(map(zlib.decompress, packed)), "<i8")
    return counts.reshape(-1, rows, columns).astype(np.int64)


def _planned_row(planned: Planned, identity: str) -> Row:
    return {
        "identity": identity,
        "key": planned.key,
        "entry": planned.entry,
        "title": planned.title,
        "seed": planned.recipe.seed,
        "recipe": _json(planned.recipe.model_dump(mode="json")),
    }


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _relative(path: Path, root: Path) -> str:
    """`path` from `root`, with slashes on every system; absolute where they share no drive."""
    with suppress(ValueError):
        return PurePath(os.path.relpath(path, root)).as_posix()
    return path.resolve().as_posix()


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
