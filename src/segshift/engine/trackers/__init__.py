"""Where a run's figures can be looked at besides its folder. Each file imports its package only when a run begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from segshift.engine.trackers.mlflow import MLflow
from segshift.engine.trackers.tensorboard import TensorBoard
from segshift.engine.trackers.tracker import Tracker
from segshift.engine.trackers.wandb import WandB
from segshift.errors import RecipeError

TRACKERS: Mapping[str, type[Tracker]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}
"""Name -> what mirrors a run there; its extra in pyproject.toml has the same name."""


def is_installed(name: str) -> bool:
    """Whether the packages of a tracker are there."""
    return all(find_spec(package) is not None for package in TRACKERS[name].packages)


def require_installed(names: Sequence[str]) -> None:
    """RecipeError for trackers whose packages are not there."""
    if missing := [name for name in names if not is_installed(name)]:
        raise RecipeError(f"compute.trackers: {', '.join(missing)}: not installed: pip install 'segshift[{','.join(missing)}]', or leave them out")
