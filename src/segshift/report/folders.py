"""From folders on disk to a comparison that says what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segshift.engine.run import Run
from segshift.errors import MissingDataError
from segshift.report.comparison import Comparison, compare_runs


def open_runs(paths: Sequence[Path | str]) -> list[Run]:
    """The runs of the folders; a folder of run folders stands for the finished runs in it, by time of creation.

    Raises MissingDataError where a folder holds no run, RecipeError where a named run is not finished.
    """
    runs: dict[Path, Run] = {}
    for path in map(Path, paths):
        inside = [] if (path / "run.json").is_file() else sorted(path.glob("*/run.json"))
        if inside:
            found = [Run.open(file.parent) for file in inside]
            found = sorted((run for run in found if run.record.get("status") == "finished"), key=_created)
            if not found:
                raise MissingDataError(f"{path} holds {len(inside)} run folders, none of them finished: go on with --resume first")
        else:
            found = [Run.open(path)]
            found[0].require_finished()
        runs.update({run.path.resolve(): run for run in found})
    return list(runs.values())


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


def _created(run: Run) -> tuple[str, str]:
    return str((run.record.get("provenance") or {}).get("created", "")), run.name
