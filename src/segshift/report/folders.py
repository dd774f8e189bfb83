"""From folders on disk to a comparison that says what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segshift.engine.run import Run
from segshift.report.comparison import Comparison, compare_runs, open_runs


def compare_folders(paths: Sequence[Path | str], domains: Sequence[str] = ()) -> Comparison:
    """`compare_runs` of the finished runs in the folders, with a note that names the unfinished ones beside them.

    Raises what `open_runs` and `compare_runs` raise.
    """
    comparison = compare_runs(open_runs(paths), domains)
    found = unfinished(paths)
    if not found:
        return comparison
    named = ", ".join(f"{run.path} ({run.record.get('status', 'unknown')})" for run in found)
    note = f"left out, because not finished: {named}; let it end, or repeat the command that began it with --resume"
    return replace(comparison, notes=(*comparison.notes, note))


def unfinished(paths: Sequence[Path | str]) -> list[Run]:
    """The runs that `open_runs` leaves out: those that have not ended, inside a folder of run folders, each once, by path."""
    folders = {path.resolve(): path for path in map(Path, paths) if not (path / "run.json").is_file()}
    inside = [Run.open(file.parent) for folder in folders.values() for file in sorted(folder.glob("*/run.json"))]
    return [run for run in inside if run.record.get("status") != "finished"]
