"""The trackers of a run: they mirror what its folder keeps, and none of them can stop it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, final

from segshift.engine.logs import Reporter
from segshift.engine.run import Run
from segshift.engine.trackers import TRACKERS
from segshift.engine.trackers.tracker import Subject, Tracker, flatten, name_evaluation, name_line

RECORDED = ("identity", "parent", "method_version", "protocol", "provenance")
"""What of a run's record is told; its recipe says the rest."""


@final
class Tracking:
    """The trackers with these names. One that raises is told in a line and switched off; the run goes on."""

    def __init__(self, names: Sequence[str], reporter: Reporter) -> None:
        self._names: Sequence[str] = tuple(dict.fromkeys(names))
        self._reporter = reporter
        self._live: dict[str, Tracker] = {}
        self._position = 0

    def begin(self, run: Run) -> None:
        """Opens them, once, and gives each the figures of the run's folder that it needs: all of them to one that is new."""
        names, self._names = self._names, ()
        if not names:
            return
        lines = [line for line in run.metrics() if "position" in line]
        self._position = max((line["position"] for line in lines), default=0)
        subject = Subject(run.name, run.record["identity"], run.path, describe(run), self._position)
        evaluations = [name_evaluation(evaluation.record) for evaluation in run.evaluations()]

        def open_one(name: str, tracker: Tracker) -> None:
            held = tracker.begin(subject)
            self._reporter.say(f"{name}: {tracker.where}")
            for line in lines:
                if line["position"] > held:
                    tracker.write(_figures(line), line["position"])
            for evaluation in evaluations if held < 0 else ():
                tracker.evaluated(evaluation, self._position)

        self._live = {name: TRACKERS[name]() for name in names}
        self._each(open_one)

    def write(self, event: str, position: int, fields: Mapping[str, Any]) -> None:
        """A line of metrics.jsonl."""
        self._position = position
        self._each(lambda _, tracker: tracker.write(name_line(event, fields), position))

    def evaluated(self, record: Mapping[str, Any]) -> None:
        """The record of an evaluation."""
        self._each(lambda _, tracker: tracker.evaluated(name_evaluation(record), self._position))

    def end(self, status: str) -> None:
        """The run is "finished", "interrupted" or "failed"."""
        self._each(lambda _, tracker: tracker.end(status))
        self._live = {}

    def _each(self, action: Callable[[str, Tracker], None]) -> None:
        for name, tracker in list(self._live.items()):
            try:
                action(name, tracker)
            except Exception as error:
                del self._live[name]
                reason = " ".join(str(error).split()) or type(error).__name__
                self._reporter.say(f"{name} is switched off ({reason}): the run goes on, and metrics.jsonl has everything", "yellow")
                with suppress(Exception):
                    tracker.end("failed")


def describe(run: Run) -> dict[str, str | int | float]:
    """The recipe and what the record says of the run, flat."""
    return flatten(run.recipe.model_dump(mode="json")) | flatten({key: run.record[key] for key in RECORDED if key in run.record})


def _figures(line: Mapping[str, Any]) -> dict[str, float]:
    return name_line(line["event"], {key: value for key, value in line.items() if key not in ("event", "position")})
