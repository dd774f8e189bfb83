"""What was taken back while the runs of a study were tested: counted in their folders, summed over seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from segshift.engine.guard import describe_trouble
from segshift.engine.run import Run
from segshift.errors import UserError
from segshift.study.rows import RunResult


def describe_rollbacks(tested: Mapping[str, Sequence[RunResult]], folder: Path) -> str:
    """Rollbacks and resets by domain of runs that differ by their seed, "" for none; `folder` is the study's. A run whose folder is gone counts nothing."""
    counts = {domain: Counter[str]() for domain in tested}
    for run in {run.identity: run for runs in tested.values() for run in runs}.values():
        for domain, stream in _streams(folder / (run.folder or "")).items():
            if run in tested.get(domain, ()):
                counts[domain].update(stream)
    told = [f"{trouble} on {domain}" for domain, found in counts.items() if found and (trouble := describe_trouble(found))]
    seeds = max(map(len, tested.values()), default=0)
    return "; ".join(told) + (f" ({seeds} seeds together)" if told and seeds > 1 else "")


def _streams(folder: Path) -> dict[str, Mapping[str, int]]:
    """What a run's method counted, by test."""
    try:
        evaluations = Run.open(folder).evaluations()
    except UserError:
        return {}
    return {each.name: stream for each in evaluations if (stream := each.record.get("protocol", {}).get("stream"))}
