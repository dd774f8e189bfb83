"""What a tracker is: a place besides metrics.jsonl where a run's figures can be looked at, and what they are called there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, final, runtime_checkable

SPLITS = {"step": "train", "epoch": "train", "validation": "validation"}
"""Event of metrics.jsonl -> what its figures are measured on."""
NAMES = {("epoch", "loss"): "train/epoch_loss", ("epoch", "epoch"): "epoch"}
"""A loss of a step and the mean of an epoch are two curves; the epoch belongs to both splits."""
UNTRACKED = {("epoch", "images"), ("epoch", "seconds"), ("validation", "epoch")}
"""What other figures say already."""


@final
@dataclass(frozen=True)
class Subject:
    """What a tracker is told of a run: `position` is that of its last figures, `config` its recipe and its record, flat, without what is null."""

    name: str
    identity: str
    folder: Path
    config: Mapping[str, str | int | float]
    position: int


@runtime_checkable
class Tracker(Protocol):
    """Mirrors one run. Whatever it raises switches it off and the run goes on; its package is imported by `begin`."""

    summary: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    """Modules that must be there."""

    where: str
    """How to look at it, known once it has begun."""

    def begin(self, subject: Subject) -> int:
        """Opens it, or goes on with it. The position up to which it needs no figures again; -1 where it must see all (it leaves out what it has)."""
        ...

    def write(self, values: Mapping[str, float], position: int) -> None:
        """Figures at a number of optimizer steps."""
        ...

    def evaluated(self, values: Mapping[str, float], position: int) -> None:
        """Figures of a test of the weights at this position."""
        ...

    def end(self, status: str) -> None:
        """The run is "finished", "interrupted" or "failed": everything is written."""
        ...


def name_line(event: str, fields: Mapping[str, Any]) -> dict[str, float]:
    """A line of metrics.jsonl as figures by name.

    >>> name_line("validation", {"epoch": 1, "miou": 0.5})
    {'validation/miou': 0.5}
    """
    return {
        NAMES.get((event, key), f"{SPLITS.get(event, event)}/{key}"): float(value)
        for key, value in fields.items()
        if isinstance(value, int | float) and (event, key) not in UNTRACKED
    }


def name_evaluation(record: Mapping[str, Any]) -> dict[str, float]:
    """The mIoU and the IoU of each class that occurs, as figures by name."""
    test = f"test/{clean(record['name'])}"
    classes = {f"{test}/iou/{clean(name)}": iou for name, iou in zip(record["classes"], record["iou"], strict=True)}
    return {name: value for name, value in {f"{test}/miou": record["miou"], **classes}.items() if value is not None}


def clean(text: str) -> str:
    """A text as one part of a name that all trackers take.

    >>> clean("streets::test+fog=0.02")
    'streets_test_fog_0.02'
    """
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text)


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float]:
    """Nested mappings as `section.key`; lists become JSON, and what is null is left out.

    >>> flatten({"data": {"size": [32, 64], "target": None}, "seed": 0})
    {'data.size': '[32, 64]', 'seed': 0}
    """
    found: dict[str, str | int | float] = {}
    for key, value in content.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{prefix}{key}.")
        elif value is not None:
            found[prefix + key] = value if isinstance(value, str | int | float) else json.dumps(value)
    return found
