"""segshift study"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from segshift.study.jobs import Executor
    from segshift.study.plan import Domains, Entry
    from segshift.study.runner import Status


WIDE = 400
"""Columns of a file or a pipe, so that no line is broken."""


def command(
    study: Annotated[Path, typer.Argument(help="Study file: runs, grids, tests.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the study (default: runs/NAME).")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Runs at a time (default: 1; in a cluster as many as fit). Cores and GPUs are divided.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of each run (default: as the study was begun; then the cores divided).")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only runs whose name matches, and their parents: 'adabn*'. Repeatable.")] = None,
    on: Annotated[str, typer.Option(help="Where runs happen: local, ray (a cluster that this machine is in, or a new one here) or ray:HOST:PORT.")] = "local",
    max_minutes: Annotated[float | None, typer.Option(min=0, help="Save and stop after so long; the same command goes on.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the runs, what is done already and an estimate of the time from a short trial.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Show where every run stands.")] = False,
    accept_changes: Annotated[bool, typer.Option("--accept-changes", help="Go on although the study file or the data changed.")] = False,
) -> None:
    """Run a study: many runs with shared parents. Whatever stopped it, the same command goes on and gives the same results."""
    import sys
    from functools import partial

    from segshift.errors import require_study

    require_study(study)

    from rich.console import Console

    from segshift.study.file import read_study
    from segshift.study.grid import expand
    from segshift.study.plan import Domains, address, check_unchanged, read_threads, select, write_plan
    from segshift.study.results import open_or_rebuild
    from segshift.study.runner import lock_study, run_study
    from segshift.study.view import StudyView

    content = read_study(study)
    folder = out or Path("runs") / content.name
    planned = expand(content, study.parent)
    chosen = select(planned, only or ())
    before = read_threads(folder)
    devices = [run.recipe.compute.device for run in chosen]
    executor = None if status or dry_run else _executor(on, processes, folder, threads or before, devices)
    domains = Domains()
    entries = address(planned, folder, domains)
    mine = {run.key: entries[run.key] for run in chosen}
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
    say = partial(console.print, markup=False, highlight=False)
    if executor is None:
        for line in check_unchanged(folder, entries, accept=True):
            say(f"the study changed: {line}")
        _show(console, mine, domains, folder, dry_run, processes or 1)
        return
    with lock_study(folder):
        for line in check_unchanged(folder, entries, accept_changes):
            say(f"the study changed: {line}")
        if before not in (None, executor.threads):
            say(f"the study was begun with {before} threads a run and goes on with {executor.threads}: new runs round differently from the old ones")
        with open_or_rebuild(folder / "results.sqlite", content.name, entries.values(), say) as results, StudyView(console, len(mine)) as view:
            write_plan(folder, entries, study.read_text(encoding="utf-8"), executor.threads)
            reached = run_study(entries, executor, results, domains, view, max_minutes, mine)
    _conclude(console, reached, folder, study)


def _executor(on: str, processes: int | None, folder: Path, threads: int | None, devices: Sequence[str]) -> Executor:
    """Processes here, or a Ray cluster."""
    from segshift.errors import RecipeError

    place, _, address = on.partition(":")
    if place == "local" and not address:
        from segshift.engine.processes import visible_gpus
        from segshift.study.local import LocalProcesses

        return LocalProcesses(processes or 1, folder / "logs", threads, visible_gpus())
    if place == "ray":
        from segshift.study.cluster import RayCluster

        return RayCluster(on if address.startswith("//") else address or None, processes, folder, threads, gpus=any(device != "cpu" for device in devices))
    raise RecipeError(f"--on {on}: write local, ray or ray:HOST:PORT")


def _show(console: Console, entries: Mapping[str, Entry], domains: Domains, folder: Path, dry_run: bool, processes: int) -> None:
    """The runs with their states; with `dry_run` an estimate of the time too."""
    from rich.table import Table
    from rich.text import Text

    from segshift.engine.logs import duration
    from segshift.study.estimate import estimate
    from segshift.study.plan import state_of

    states = {key: state_of(entry, domains) for key, entry in entries.items()}
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("run", "state", "folder"):
        table.add_column(column)
    styles = {"done": "green", "untested": "cyan", "failed": "red", "begun": "cyan", "waiting": "dim"}
    errors = _errors(folder)
    for key, state in states.items():
        table.add_row(Text(key), Text(state, style=styles[state]), Text(str(entries[key].folder)))
    console.print(table)
    for key, state in states.items():
        parent = entries[key].planned.parent
        if state == "failed" and key in errors:
            console.print(f"failed: {key}: {errors[key]}", markup=False, highlight=False)
        elif state == "waiting" and parent is not None and states.get(parent) == "failed":
            console.print(f"blocked: {key}: its parent {parent} failed", markup=False, highlight=False)
    counts = {name: sum(state == name for state in states.values()) for name in styles}
    console.print(f"{len(states)} runs in {folder}: " + ", ".join(f"{count} {name}" for name, count in counts.items() if count), markup=False)
    left = [entry for key, entry in entries.items() if states[key] != "done"]
    if dry_run and left:
        guess = estimate(left, lambda domain: len(domains.open(domain, depth=False, labels=False)))
        console.print(
            f"about {duration(guess.seconds)} for the {len(left)} that are left, one after another (a trial of {guess.kinds} kinds of runs took "
            f"{duration(guess.trial_seconds)})" + (f"; {processes} processes share the same cores, so not {processes} times less" if processes > 1 else ""),
            markup=False,
        )
        for entry, seconds in guess.entries.items():
            console.print(f"  {entry}: {duration(seconds)}", markup=False, highlight=False)


def _errors(folder: Path) -> dict[str, str]:
    """Why runs failed, by key; empty where the results do not say."""
    from contextlib import suppress

    from segshift.errors import UserError
    from segshift.study.results import Results

    with suppress(UserError), Results.open(folder / "results.sqlite") as results:
        return {run.key: (run.error or "").splitlines()[0] for run in results.runs() if run.status == "failed" and run.error}
    return {}


def _conclude(console: Console, status: Status, folder: Path, study: Path) -> None:
    """The last lines; exit code 1 where something failed."""
    total = len(status.done) + status.left + len(status.failed) + len(status.blocked)
    console.print(f"{len(status.done)} of {total} runs done; results: {folder / 'results.sqlite'}", markup=False, highlight=False)
    for key, why in status.failed.items():
        console.print(f"failed: {key}: {why}", markup=False, highlight=False, style="red")
    for key, cause in status.blocked.items():
        console.print(f"not begun: {key}: its parent {cause} failed", markup=False, highlight=False)
    if status.left:
        console.print(f"{status.left} left: the same command goes on", markup=False, highlight=False)
    if status.interrupted:
        raise SystemExit(130)
    if status.failed:
        console.print("run it again once the cause is mended: failed runs are tried again", markup=False)
        raise typer.Exit(1)
    if not status.left:
        console.print(f"compare: segshift compare {folder}", markup=False, highlight=False)
