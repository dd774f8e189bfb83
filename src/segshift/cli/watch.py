"""segshift watch"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    folder: Annotated[Path, typer.Argument(help="Folder that frames arrive in.")],
    out: Annotated[Path | None, typer.Option(help="The log, a JSON line a batch (default: FOLDER/watch.jsonl).")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Frames a line.")] = 16,
    method: Annotated[str | None, typer.Option(help="Adapt while predicting: tent, prediction-bn ... (see `segshift list methods`), with its options.")] = None,
    predictions: Annotated[Path | None, typer.Option(help="Also write a label map of every frame there; not the folder that is watched.")] = None,
    source: Annotated[str | None, typer.Option(help="Labelled split that the run did not learn from (default: the run's validation split).")] = None,
    false_alarms: Annotated[float, typer.Option(min=0.001, max=0.5, help="Share of clean batches that may raise the alarm.")] = 0.01,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks into the folder; a frame is taken when two found it alike.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look twice, take what is there, the rest as a batch of its own, and stop.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Follow a folder of incoming frames: a line a batch with distance, alarm and estimated mIoU. The same command goes on where it was."""
    from segshift.errors import require_run

    require_run(run)
    from segshift.cli.adapt import read_options
    from segshift.cli.console import STOPPED, reporter
    from segshift.engine.processes import choose_device
    from segshift.engine.run import Run
    from segshift.errors import RecipeError, unknown_name
    from segshift.methods import METHODS
    from segshift.options import check_options
    from segshift.watch import watch_folder

    options = read_options(context.args)
    if method is None and options:
        raise RecipeError(f"unknown option --{next(iter(options)).replace('_', '-')}: without --method there are those of `segshift watch --help`")
    if method is not None and method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if method is not None:
        options = check_options(METHODS[method], options, f"method {method}")
    log = out or folder / "watch.jsonl"
    say = reporter()
    try:
        frames = watch_folder(
            Run.open(run),
            folder,
            log,
            batch_size=batch_size,
            method=method,
            options=options,
            predictions=predictions,
            source=source,
            false_alarms=false_alarms,
            every=every,
            once=once,
            device=choose_device(device),
            reporter=say,
        )
    except KeyboardInterrupt:
        say.say(f"stopped; what is in {log} is done, and the same command goes on behind it")
        raise SystemExit(STOPPED) from None
    say.say(f"{frames} frame{'s' * (frames != 1)}; log: {log}" if frames else f"no new frame in {folder}")
