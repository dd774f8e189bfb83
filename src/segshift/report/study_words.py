"""What a study found, in sentences: for every source model and domain what repairs change, counting only what is outside the noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from segshift.report.study_rows import StudyCell, StudyComparison, StudyRow


@final
@dataclass(frozen=True)
class StudyFinding:
    """A source model, and a sentence a domain."""

    source: str
    sentences: tuple[str, ...]


def describe_study(comparison: StudyComparison) -> list[StudyFinding]:
    """A finding for every source model that was tested."""
    found = []
    for group in comparison.groups():
        source = group[0]
        if not source.is_source or not source.cells:
            continue
        sentences = [_domain(source, group[1:], domain) for domain in comparison.domains if domain in source.cells]
        found.append(StudyFinding(source.title, tuple(sentences)))
    return found


def _domain(source: StudyRow, repairs: Sequence[StudyRow], domain: str) -> str:
    start = f"On {domain}: {score(source.cells[domain])}"
    compared = [(row, row.cells[domain]) for row in repairs if domain in row.cells and row.cells[domain].difference is not None]
    if not compared:
        return f"{start}."
    better = [(row, cell) for row, cell in compared if not cell.within_noise and _gain(cell) > 0]
    worse = [(row, cell) for row, cell in compared if not cell.within_noise and _gain(cell) < 0]
    noise = len(compared) - len(better) - len(worse)
    parts = []
    if better:
        row, cell = max(better, key=lambda pair: _gain(pair[1]))
        parts.append(f"{len(better)} of {len(compared)} repairs {'gain' if len(better) > 1 else 'gains'}, {row.title} the most ({points(cell)})")
    if worse:
        row, cell = min(worse, key=lambda pair: _gain(pair[1]))
        parts.append(f"{len(worse)} of {len(compared)} repairs {'lose' if len(worse) > 1 else 'loses'}, {row.title} the most ({points(cell)})")
    if noise:
        parts.append(f"{noise} of {len(compared)} repairs {'are' if noise > 1 else 'is'} within noise")
    return f"{start}; {', '.join(parts)}."


def score(cell: StudyCell) -> str:
    """`31.2 % mIoU [30.0, 32.4]`."""
    bounds = f" [{100 * cell.miou.low:.1f}, {100 * cell.miou.high:.1f}]" if cell.miou.exists else ""
    return f"{100 * cell.miou.value:.1f} % mIoU{bounds}"


def points(cell: StudyCell) -> str:
    """`+2.1 points [+1.0, +3.2], p = 0.01`."""
    assert cell.difference is not None
    bounds = f" [{100 * cell.difference.low:+.1f}, {100 * cell.difference.high:+.1f}]" if cell.difference.exists else ""
    return f"{100 * cell.difference.value:+.1f} points{bounds}, p = {cell.p:.2g}"


def _gain(cell: StudyCell) -> float:
    assert cell.difference is not None
    return cell.difference.value
