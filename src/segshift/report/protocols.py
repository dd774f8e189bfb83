"""What each run saw and how, in few lines: what all repairs have in common is said once."""

from __future__ import annotations

from collections.abc import Sequence

from segshift.report.comparison import Comparison, Row


def protocol(row: Row) -> str:
    """What the run sees and how, and which checkpoint was tested."""
    record = row.run.record
    tested = sorted({str(cell.evaluation.record["checkpoint"]) for cell in row.cells.values()})
    how = record.get("protocol") or f"sees {', '.join(record.get('sees', ())) or 'nothing'}"
    return f"{how}; tested checkpoint: {' and '.join(tested) or 'none'}"


def protocol_lines(comparison: Comparison) -> list[str]:
    """The protocols: source models, then repairs, each kind with a line of what all of it have in common and one for each of the rest.

    That a repair is made from its source model stands in the table already.
    """
    names = {row.source: row.run.name for row in comparison.rows if row.is_source}
    sources, repairs = dict[str, list[str]](), dict[str, list[str]]()
    for row in comparison.rows:
        parts = protocol(row).split("; ")
        if row.depth == 1:
            parts = [part for part in parts if part != f"from {names.get(row.source)}"]
        (sources if row.is_source else repairs)[row.name] = parts
    return [*_shared("all source models", sources), *_shared("all repairs", repairs)]


def _shared(kind: str, protocols: dict[str, list[str]]) -> list[str]:
    """Lines of runs with these parts; no part that only one run has is common."""
    everyone: Sequence[str] = next(iter(protocols.values()), [])
    common = [part for part in everyone if all(part in parts for parts in protocols.values())] if len(protocols) > 1 else []
    own: dict[str, list[str]] = {}
    for name, parts in protocols.items():
        if rest := "; ".join(part for part in parts if part not in common):
            own.setdefault(rest, []).append(name)
    return [*([f"{kind}: {'; '.join(common)}"] if common else []), *(f"{'; '.join(names)}: {rest}" for rest, names in own.items())]
