"""What a run took: time before its tests and in them, and what it changed. A run that adapts while it is tested took nothing before."""

from __future__ import annotations

from collections.abc import Container, Iterable

from segshift.engine.logs import duration
from segshift.methods import METHODS
from segshift.report.comparison import Comparison, Row

WHILE_TESTED = "online"
ONLINE = "online: the run adapts on each test while it is tested and keeps nothing of it; the time of tests includes reading the images"


def tests_are_timed(comparison: Comparison) -> bool:
    """Whether what a test takes is told: with a run that works while it is tested."""
    return any(row.run.record.get("online") for row in comparison.rows)


def outlives_a_batch(method: str) -> bool:
    """Whether what an online method learns on a batch outlives it: then the tests change the model, else nothing does."""
    return bool(getattr(METHODS.get(method), "keeps", True))


def sees_tests_alone(sees: Iterable[str]) -> bool:
    """Whether an online method of these `sees` did nothing before its tests: what it prepares, it prepares from the source."""
    return not set(sees) - {"target"}


def learns_while_tested(row: Row) -> bool:
    """Whether the tests change a run, each anew: its folder holds the weights that it begins with."""
    return bool(row.run.record.get("online")) and outlives_a_batch(str(row.run.record["method"]))


def works_only_while_tested(row: Row) -> bool:
    """Whether a run did nothing before its tests, such as learning from the source."""
    return bool(row.run.record.get("online")) and sees_tests_alone(row.run.record.get("sees", ()))


def changed_share(row: Row) -> float | None:
    """Changed parameters over all, None where they change while it is tested."""
    changed, count = row.run.record.get("parameters_changed"), row.run.record.get("parameters")
    return changed / count if count and changed is not None and not learns_while_tested(row) else None


def changed_parameters(row: Row) -> str:
    """Count and share of the parameters that changed."""
    if learns_while_tested(row):
        return WHILE_TESTED
    share = changed_share(row)
    if share is None:
        return "-"
    changed = row.run.record["parameters_changed"]
    return f"{changed:,} ({share:.1%})" if changed else "0"


def changed_statistics(row: Row) -> str:
    """Values of running statistics that changed."""
    return WHILE_TESTED if learns_while_tested(row) else f"{row.run.record.get('statistics_changed', 0):,}"


def time_before_tests(row: Row) -> str:
    """What training or adapting took."""
    return WHILE_TESTED if works_only_while_tested(row) else duration(float(row.run.record.get("seconds", 0.0)))


def seconds_per_image(row: Row, columns: Container[str] | None = None) -> float | None:
    """Time of its tests over their images, reading them included, of these columns or of all; None where there are none."""
    tests = [cell.evaluation.record for name, cell in row.cells.items() if columns is None or name in columns]
    images = sum(test["images"] for test in tests)
    return sum(test["seconds"] for test in tests) / images if images else None


def describe_tests(row: Row) -> str:
    """Seconds an image of its tests."""
    seconds = seconds_per_image(row)
    return "-" if seconds is None else f"{seconds:.2g}"
