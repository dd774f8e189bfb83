"""segshift drift"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from segshift.engine.drift import Drift


def command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    domain: Annotated[list[str], typer.Argument(help="Domains to look at, with or without labels: NAME[:ROOT[:SPLIT]][?filters][+weather].")],
    source: Annotated[str | None, typer.Option(help="Labelled split that the run did not learn from (default: the run's validation split).")] = None,
    false_alarms: Annotated[float, typer.Option(min=0.001, max=0.5, help="Share of clean sets of as many images that may raise the alarm.")] = 0.01,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that load data.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also write everything, each layer and class, as JSON.")] = None,
) -> None:
    """Has a domain left the source, and what does the run score there? No label of it is used; labels that are there only stand beside."""
    from segshift.errors import require_run

    require_run(run)
    import json

    from rich.console import Console
    from rich.table import Table

    from segshift.cli.console import reporter
    from segshift.data.dataset import open_domain
    from segshift.engine.checkpoint import write_atomic
    from segshift.engine.drift import estimate_drift
    from segshift.engine.processes import choose_device
    from segshift.engine.run import Run
    from segshift.errors import UserError

    opened = Run.open(run)
    say, chosen = reporter(), choose_device(device)
    datasets = [open_domain(name, depth=False) for name in domain]  # a wrong name costs nothing
    found: list[Drift] = []
    failed = None
    for dataset in datasets:
        try:
            found.append(estimate_drift(opened, dataset, source, false_alarms=false_alarms, device=chosen, workers=workers, reporter=say))
        except UserError as error:
            if not found:
                raise
            failed = error  # those before it are not lost
            break
    calibration = found[0].calibration
    title = f"{opened.name}, estimated without labels (source: {calibration.domain}, mIoU {100 * calibration.source.miou:.1f} %)"
    table = Table(title=title, title_justify="left")
    for column in ("domain", "images", "distance", "alarm", "mIoU: rehearsed; soft, difference, ATC", "accuracy: rehearsed; DoC, ATC", "true mIoU, accuracy"):
        table.add_column(column, justify="left" if column == "domain" else "right", overflow="fold")
    for drift in found:
        table.add_row(*cells(drift))
    Console().print(table)
    rehearsal = calibration.rehearsal
    errors = f"{100 * rehearsal.iou_error:.1f} points of mIoU and {100 * rehearsal.accuracy_error:.1f} of accuracy"
    say.say(f"rehearsed: learned on {len(rehearsal.names)} corruptions of the source; on each of them the others are off by {errors} on average")
    stretches = [drift.stretches for drift in found if drift.stretches is not None]
    if stretches:
        say.say(f"the source is video, and the alarm rests on as few as {min(stretches)} stretches of it side by side: name more of its drives by --source")
    for reason in dict.fromkeys(drift.no_alarm for drift in found if drift.no_alarm):
        say.say(reason, "yellow")
    if out is not None:
        write_atomic(out, json.dumps([drift.to_json() for drift in found], indent=2) + "\n")
        say.say(f"written: {out}")
    if failed is not None:
        raise failed


def cells(drift: Drift) -> list[str]:
    """A row of the table."""
    iou = f"{joined([drift.estimates.miou('rehearsed')])}; {joined(drift.estimates.miou(name) for name in ('soft', 'soft-difference', 'atc'))}"
    accuracy = f"{joined([drift.estimates.accuracy['rehearsed']])}; {joined(drift.estimates.accuracy[name] for name in ('doc', 'atc'))}"
    true = "" if drift.true_miou is None or drift.true_accuracy is None else joined((drift.true_miou, drift.true_accuracy))
    distance = "" if drift.distance is None else f"{drift.distance:.2g}"
    alarm = "" if drift.alarm_above is None else f"{'ALARM' if drift.alarm else 'no'} (above {drift.alarm_above:.2g})"
    return [drift.domain, str(drift.images), distance, alarm, iou, accuracy, true]


def joined(values: Iterable[float]) -> str:
    """In per cent."""
    return ", ".join(f"{100 * value:.1f}" for value in values)
