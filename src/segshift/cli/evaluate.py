"""segshift evaluate"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    domain: Annotated[list[str], typer.Option(help="Domain to test on, [LABEL:=]NAME[:ROOT[:SPLIT]][?filters][+weather]. Repeatable.")],
    checkpoint: Annotated[str | None, typer.Option(help="last or best (default: what the run's recipe says is tested).")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    replace: Annotated[bool, typer.Option("--replace", help="A label that stands for other images may be replaced.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that load data.")] = 1,
    curves: Annotated[bool, typer.Option("--curves", help="Also count scores, for ROC and precision-recall: see `segshift figures`.")] = False,
) -> None:
    """Test a run on domains; the results are kept in its folder."""
    from segshift.errors import require_run

    require_run(run)
    from segshift.cli.console import label_and_domain, reporter
    from segshift.engine.evaluate import evaluate_run
    from segshift.engine.processes import choose_device
    from segshift.engine.run import Run
    from segshift.errors import unknown_name

    if checkpoint not in (None, "last", "best"):
        raise unknown_name("checkpoint", checkpoint, ("last", "best"))
    opened = Run.open(run)
    opened.require_finished()
    chosen = choose_device(device)
    for text in domain:
        label, named = label_and_domain(text)
        name = None if label == named else label
        evaluate_run(opened, named, name, checkpoint, batch_size, chosen, workers, reporter(), replace, curves=curves)
