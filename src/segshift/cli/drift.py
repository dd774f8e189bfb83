"""segshift drift"""

from __future__ import annotations

from collections.abc import Mapping
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
    say.say(f"{opened.name}, estimated without labels; on its source, {calibration.domain}, it scores {100 * calibration.source.miou:.1f} % mIoU")
    for drift in found:
        for line in describe(drift):
            say.say(line, "bold red" if drift.alarm and line.startswith("  ALARM") else None)
    say.say(f"+-: what 9 of 10 rehearsals ({len(calibration.rehearsal.names)} corruptions of the source) stay within, each estimated from the others", "dim")
    stretches = [drift.stretches for drift in found if drift.stretches is not None]
    if stretches:
        say.say(
            f"the source is video, in which {min(stretches)} stretches of frames find room side by side; the alarm rests on them: "
            "a --source of more of its drives makes it surer",
            "dim",
        )
    for reason in dict.fromkeys(drift.no_alarm for drift in found if drift.no_alarm):
        say.say(reason, "yellow")
    if out is not None:
        write_atomic(out, json.dumps([drift.to_json() for drift in found], indent=2) + "\n")
        say.say(f"written: {out}")
    if failed is not None:
        raise failed


def describe(drift: Drift) -> list[str]:
    """Lines of at most 80 characters but for the domain's, which comes first."""
    skipped = f", {len(drift.unreadable)} left out, unreadable" if drift.unreadable else ""
    lines = [f"{drift.domain}: {drift.images} images{skipped}"]
    if drift.distance is not None and drift.alarm_above is None:
        lines.append(f"  distance  {drift.distance:.2g}")
    elif drift.distance is not None:
        lines.append(f"  {'ALARM   ' if drift.alarm else 'no alarm'}  distance {drift.distance:.2g}, alarm above {drift.alarm_above:.2g}")
    told, rehearsal = drift.estimates, drift.calibration.rehearsal
    others = {"soft": told.miou("soft"), "difference": told.miou("soft-difference"), "ATC": told.miou("atc")}
    lines.append(line_of("mIoU", told.miou("rehearsed"), rehearsal.iou_margin, others, drift.true_miou))
    others = {"DoC": told.accuracy["doc"], "ATC": told.accuracy["atc"]}
    lines.append(line_of("accuracy", told.accuracy["rehearsed"], rehearsal.accuracy_margin, others, drift.true_accuracy))
    return lines


def line_of(name: str, value: float, margin: float, others: Mapping[str, float], true: float | None) -> str:
    """An estimate in per cent with its margin, the other estimates, and what the labels say.

    >>> line_of("mIoU", 0.305, 0.04, {"soft": 0.35}, 0.29)
    '  mIoU      30.5 +-4.0  (soft 35.0)  labels: 29.0'
    """
    beside = ", ".join(f"{other} {100 * estimate:.1f}" for other, estimate in others.items())
    labels = "" if true is None else f"  labels: {100 * true:.1f}"
    return f"  {name:8}  {100 * value:.1f} +-{100 * margin:.1f}  ({beside}){labels}"
