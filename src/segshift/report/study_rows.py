"""What a study's comparison consists of: cells, rows, and the whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from segshift.errors import unknown_name
from segshift.methods import METHODS
from segshift.metrics import Interval
from segshift.report.costs import outlives_a_batch, sees_tests_alone
from segshift.study.rows import RunResult

CERTAIN = 0.05
"""Corrected p below which a difference is no noise."""


@final
@dataclass(frozen=True)
class StudyCell:
    """One title on one domain. `miou` and `difference` (to the source models, seed by seed) are in [0, 1]; `p` is corrected."""

    seeds: tuple[int, ...]
    values: tuple[float, ...]
    miou: Interval
    accuracy: float
    difference: Interval | None = None
    differences: tuple[float, ...] = ()
    p: float = float("nan")

    @property
    def within_noise(self) -> bool:
        """Whether the difference may be none."""
        return self.difference is not None and not self.p < CERTAIN


@final
@dataclass(frozen=True)
class StudyRow:
    """All seeds of one point of a study. `axes` lack the seed; `source` is the title of its source models, its own for one of these."""

    title: str
    entry: str
    axes: Mapping[str, Any]
    source: str
    runs: tuple[RunResult, ...]
    cells: Mapping[str, StudyCell]
    rank: float = float("nan")

    @property
    def is_source(self) -> bool:
        """Whether its models started from no other run."""
        return self.title == self.source

    @property
    def online(self) -> bool:
        """Whether its runs adapt on what they are tested on, while they are tested."""
        run = self.runs[0]
        return getattr(METHODS.get(run.method), "kind", None) == "online" and run.recipe["data"].get("target") is None

    @property
    def learns_while_tested(self) -> bool:
        """Whether the tests change its models, each anew."""
        return self.online and outlives_a_batch(self.runs[0].method)

    @property
    def works_only_while_tested(self) -> bool:
        """Whether its runs did nothing before their tests."""
        return self.online and sees_tests_alone(self.runs[0].sees)

    @property
    def share(self) -> float | None:
        """Changed parameters over all, None where they change while it is tested."""
        run = self.runs[0]
        if self.learns_while_tested or not run.parameters or run.parameters_changed is None:
            return None
        return run.parameters_changed / run.parameters

    @property
    def seconds(self) -> float:
        """Mean over the seeds of what came before the tests, NaN where nothing did."""
        if self.works_only_while_tested:
            return float("nan")
        known = [run.seconds for run in self.runs if run.seconds is not None]
        return float(np.mean(known)) if known else float("nan")


@final
@dataclass(frozen=True)
class StudyComparison:
    """Rows (each source, then its repairs), the domains' labels with what they stand for, notes."""

    study: str
    rows: tuple[StudyRow, ...]
    domains: Mapping[str, str]
    definitions: tuple[str, ...]
    notes: tuple[str, ...]

    def groups(self) -> list[tuple[StudyRow, ...]]:
        """The rows by source."""
        found: dict[str, list[StudyRow]] = {}
        for row in self.rows:
            found.setdefault(row.source, []).append(row)
        return [tuple(rows) for rows in found.values()]

    def domain(self, name: str) -> str:
        """The name itself, UnknownNameError where nothing was tested on it."""
        if name not in self.domains:
            raise unknown_name("evaluated domain", name, self.domains)
        return name
