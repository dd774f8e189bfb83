"""MLflow: the server of MLFLOW_TRACKING_URI, or else one SQLite file in `mlruns` beside the run folders.

Folders of plain files, MLflow's older local store, are refused by its newer versions.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, final

from segshift.engine.trackers.tracker import Subject

TAG = "segshift.identity"
STATUSES = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
PARAMS = 100
"""As many as MLflow takes at once."""
LONGEST = 6000
"""Characters of a parameter."""


@final
class MLflow:
    """The run with this identity, of the experiment segshift. What is logged stays: a resumed run adds what is not there yet."""

    summary: ClassVar[str] = "SQLite in mlruns beside the run, or MLFLOW_TRACKING_URI"
    packages: ClassVar[tuple[str, ...]] = ("mlflow", "sqlalchemy", "alembic")

    def __init__(self) -> None:
        self.where = ""
        self._client: Any = None
        self._id = ""
        self._values: dict[str, float] = {}
        self._positions: dict[str, int] = {}

    def begin(self, subject: Subject) -> int:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.entities import Param

        for noisy in ("mlflow", "alembic"):  # a line for each table of a new database
            logging.getLogger(noisy).setLevel(logging.WARNING)
        server = os.environ.get("MLFLOW_TRACKING_URI", "")
        folder = subject.folder.absolute().parent / "mlruns"
        uri = server or f"sqlite:///{folder / 'mlflow.db'}"
        with alone(None if server else folder):
            self._client = MlflowClient(tracking_uri=uri)
            experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "segshift"), None if server else (folder / "artifacts").as_uri())
            known = self._client.search_runs([experiment], f"tags.`{TAG}` = '{subject.identity}'", max_results=1)
            if known:
                self._resume(known[0])
            else:
                self._id = self._client.create_run(experiment, run_name=subject.name, tags={TAG: subject.identity}).info.run_id
        if not known:
            params = [Param(key, str(value)[:LONGEST]) for key, value in subject.config.items()]
            for first in range(0, len(params), PARAMS):
                self._client.log_batch(self._id, params=params[first : first + PARAMS])
        self.where = f"run {self._id} on the server" if server else f"mlflow ui --backend-store-uri {uri}"
        return -1

    def _experiment(self, name: str, artifacts: str | None) -> str:
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name, artifact_location=artifacts))

    def _resume(self, run: Any) -> None:
        """Goes on with a run, from the last step of each of its figures."""
        self._id = run.info.run_id
        self._client.update_run(self._id, status="RUNNING")
        self._values = dict(run.data.metrics)
        self._positions = {name: max(point.step for point in self._client.get_metric_history(self._id, name)) for name in self._values}

    def write(self, values: Mapping[str, float], position: int) -> None:
        self._log({name: value for name, value in values.items() if position > self._positions.get(name, -1)}, position)

    def evaluated(self, values: Mapping[str, float], position: int) -> None:
        self._log({name: value for name, value in values.items() if value != self._values.get(name)}, position)

    def _log(self, values: Mapping[str, float], position: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        if values:
            self._client.log_batch(self._id, metrics=[Metric(name, value, now, position) for name, value in values.items()])

    def end(self, status: str) -> None:
        self._client.set_terminated(self._id, STATUSES[status])


@contextmanager
def alone(folder: Path | None) -> Iterator[None]:
    """One process at a time in a folder: two that create the same database, or the same experiment, would fail."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "lock", timeout=600)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        yield
