from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from segshift.engine.execute import execute
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run

TINY: dict[str, Any] = {
    "name": "tiny",
    "model": {"architecture": "unet", "encoder": "mobilenetv2_050", "options": {"decoder_channels": [32, 16, 16, 8, 8]}},
    "data": {"source": "streets?size=64x32&count=12", "size": [32, 64]},
    "augmentation": {"flip": 0.5, "brightness": 0.2},
    "training": {"epochs": 2, "batch_size": 4},
    "compute": {"device": "cpu", "workers": 0},
}


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Recipe]:
    """A recipe that trains in a second; changes are written as on the command line."""
    return lambda *changes: validate_recipe(TINY, changes)


@pytest.fixture(scope="session")
def source_run(tiny: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished source model, tested on one domain."""
    return execute(tiny("data.tests.clear=streets::test?size=64x32&count=4"), tmp_path_factory.mktemp("runs") / "source")
