"""segshift drift"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from segshift.engine.drift import Drift


def command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    domain: Annotated[list[str], typer.Argument(help="Domains to look at, with or without labels: [LABEL:=]NAME[:ROOT[:SPLIT]][?filters][+weather].")],
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
    from dataclasses import replace

    from segshift.cli.console import STOPPED, label_and_domain, reporter
    from segshift.data.dataset import open_domain
    from segshift.engine.checkpoint import write_atomic
    from segshift.engine.drift import estimate_drift
    from segshift.engine.processes import choose_device
    from segshift.engine.run import Run
    from segshift.errors import UserError

    opened = Run.open(run)
    say, chosen = reporter(), choose_device(device)
    named = [label_and_domain(text) for text in domain]
    datasets = [(label, name, open_domain(name, depth=False)) for label, name in named]  # a wrong name costs nothing
    found: list[Drift] = []
    failed: UserError | SystemExit | None = None
    for label, name, dataset in datasets:
        try:
            drift = estimate_drift(opened, dataset, source, false_alarms=false_alarms, device=chosen, workers=workers, reporter=say)
            found.append(replace(drift, label=label if label != name else ""))
        except (UserError, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt):
                say.say(f"stopped at {label}; a finished calibration is kept, and the same command goes on with it")
            failed = SystemExit(STOPPED) if isinstance(error, KeyboardInterrupt) else error
            if not found:
                raise failed from None
            break  # those before it are not lost
    calibration = found[0].calibration
    say.say(f"{opened.name}, estimated without labels; on its source, {calibration.domain}, it scores {100 * calibration.source.miou:.1f} % mIoU")
    for drift in found:
        for line in drift.lines():
            say.say(line, "bold red" if drift.alarm and line.startswith("  ALARM") else None)
    corruptions = len(calibration.rehearsal.names)
    say.say(f"+-: what 9 of 10 rehearsals ({corruptions} corruptions of the source) stay within; what other scenes cost comes on top", "dim")
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
