from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

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
