from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from segshift.study.plan import Entry
from tests.report.conftest import diagonal, write_run
from tests.study.known import ABSENT, entry_of, plan

TINY: dict[str, Any] = {
    "model": {"architecture": "unet", "encoder": "mobilenetv2_050", "options": {"decoder_channels": [32, 16, 16, 8, 8]}},
    "data": {"source": "streets?size=64x32&count=8", "size": [32, 64]},
    "training": {"epochs": 1, "batch_size": 4},
    "compute": {"device": "cpu", "workers": 0},
}
STUDY: dict[str, Any] = {
    "name": "small",
    "seeds": [0, 1],
    "runs": {
        "source": {"recipe": TINY, "grid": {"optimizer.lr": [0.001, 0.002]}},
        "adabn": {
            "parent": "source",
            "method": "adabn",
            "target": "streets::val?size=64x32&count=4+fog={fog}",
            "grid": {"fog": [0.01, 0.03], "ratio": {"none": {}, "half": {"method.source_ratio": 0.5}}},
            "where": {"optimizer.lr": 0.001},
        },
    },
    "tests": {"clear": "streets::test?size=64x32&count=3", "fog": "streets::test?size=64x32&count=3+fog=0.02"},
}

WriteStudy = Callable[..., Path]


@pytest.fixture
def write_study(tmp_path: Path) -> WriteStudy:
    """Writes a study file; `changes` replace whole top-level keys."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(yaml.safe_dump({**STUDY, **changes}, sort_keys=False))
        return path

    return write


@pytest.fixture
def study(tmp_path: Path) -> list[Entry]:
    """Two source models and an adapted one below OUT/runs, tested on one or two domains."""
    folder = tmp_path / "out" / "runs"
    source = write_run(folder, "a", {"clear": diagonal([0.9, 0.8]), "fog": ABSENT}, blocks=["x", "x"], domains={"fog": "streets::test+fog=0.02"})
    other = write_run(folder, "b", {"clear": diagonal([0.7, 0.6, 1.0])}, seed=1)
    wide = np.concatenate([diagonal([0.5, 0.25]), np.full((2, 3, 1), 7)], -1)  # a column for no class
    adapted = write_run(folder, "c", {"clear": wide}, parent=source, method_options={"source_ratio": 0.2}, tuning=None)
    keys = [("source lr=0.001 seed=0", None, 0, {"lr": 0.001}), ("source lr=0.001 seed=1", None, 1, {"lr": 0.001})]
    keys.append(("adabn lr=0.001 seed=0 look=camera", "source lr=0.001 seed=0", 0, {"lr": 0.001, "steps": 2, "look": "camera", "on": True}))
    runs = (source, other, adapted)
    tests = [tuple(evaluation.name for evaluation in run.evaluations()) for run in runs]
    planned = [plan(key, parent, seed, labels, **axes) for (key, parent, seed, axes), labels in zip(keys, tests, strict=True)]
    return [entry_of(*pair) for pair in zip(planned, runs, strict=True)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out" / "results.sqlite"
