"""Overhead of a study's driver: thousands of runs that take no time themselves, from the study file to the results.

python benchmarks/scale.py [RUNS ...]

The runs are performed by a stand-in that writes a finished run folder at once, so that what is measured is ours: reading and expanding the
study, addressing and starting runs, keeping results, and finding everything done when the same command is given again.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from segshift.data.dataset import open_domain
from segshift.data.label_space import LABEL_SPACES
from segshift.engine.evaluate import summarise
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.run import Run, create_folder, write_evaluation
from segshift.engine.scoring import Scores
from segshift.study.file import Study
from segshift.study.grid import expand
from segshift.study.jobs import Job, Message
from segshift.study.plan import Domains, address
from segshift.study.results import Results
from segshift.study.runner import Status, run_study

RUNS = (100, 1000, 10000)
TEST = "streets::test?count=2&size=64x32"


class Instantly:
    """An executor whose runs are finished when they begin."""

    tries = threads = 1

    def __init__(self) -> None:
        self.done: list[Message] = []
        self.seconds = 0.0
        self.fingerprint = open_domain(TEST, depth=False).fingerprint()
        self.scores = Scores(np.tile(np.eye(19, dtype=np.int64), (2, 1, 1)), ["a", "b"], ["a", "b"], LABEL_SPACES["cityscapes-19"], 0.0)

    @property
    def slots(self) -> int:
        return 8 - len(self.done)

    def start(self, job: Job) -> None:
        start = time.perf_counter()
        recipe = validate_recipe(job.recipe)
        record: dict[str, Any] = {
            "identity": job.identity,
            "name": job.key,
            "parent": None,
            "method": "supervised",
            "method_version": 1,
            "method_options": {},
            "tuning": "all",
            "sees": [],
            "protocol": "",
            "label_space": "cityscapes-19",
            "seed": recipe.seed,
            "data": {},
            "model": {"architecture": "unet", "encoder": None, "classes": 19, "options": {}},
            "tested_checkpoint": "last",
            "status": "finished",
            "seconds": 0.0,
        }
        create_folder(Path(job.folder), recipe, record)
        tested = {"name": "clear", "domain": TEST, "fingerprint": self.fingerprint, "checkpoint": "last", **summarise(self.scores), "protocol": {}}
        write_evaluation(Run.open(job.folder), tested, self.scores.confusions, self.scores.names, self.scores.blocks)
        self.done.append(Message("done", job.key))
        self.seconds += time.perf_counter() - start  # the run's own work

    def wait(self, seconds: float) -> list[Message]:
        found, self.done = self.done, []
        return found

    def stop(self) -> None: ...

    def close(self) -> None: ...


class Silent:
    """A view of nothing."""

    def update(self, status: Status) -> None: ...

    def say(self, text: str) -> None: ...


def measure(count: int) -> dict[str, float]:
    """Milliseconds a run of each part."""
    study = Study.model_validate(
        {"name": "scale", "seeds": list(range(count)), "runs": {"a": {"recipe": {"data": {"source": "streets?count=4"}}}}, "tests": {"clear": TEST}}
    )
    with tempfile.TemporaryDirectory(prefix="segshift-scale-") as folder:
        out, times = Path(folder), [time.perf_counter()]
        planned = expand(study, out)
        times.append(time.perf_counter())
        domains = Domains()
        entries = address(planned, out, domains)
        times.append(time.perf_counter())
        executor = Instantly()
        with Results.open(out / "results.sqlite", "scale") as results:
            run_study(entries, executor, results, domains, Silent())
        times.append(time.perf_counter() - executor.seconds)
        again = time.perf_counter()
        with Results.open(out / "results.sqlite", "scale") as results:
            status = run_study(entries, executor, results, domains, Silent())
        assert len(status.done) == count
        resumed = time.perf_counter() - again
    parts = dict(zip(("expand", "address", "drive"), np.diff(times), strict=True)) | {"find done": resumed}
    return {name: 1000 * float(seconds) / count for name, seconds in parts.items()}


def main(counts: list[int]) -> None:
    for count in counts:
        rounds = [measure(count) for _ in range(3 if count <= 1000 else 1)]
        parts = {name: [one[name] for one in rounds] for name in rounds[0]}
        total = [one["expand"] + one["address"] + one["drive"] for one in rounds]
        words = ", ".join(f"{name} {statistics.median(values):.2f}" for name, values in parts.items())
        print(f"{count} runs: {statistics.median(total):.2f} ms a run ({min(total):.2f} to {max(total):.2f}); {words}", flush=True)


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or list(RUNS))
