"""segshift compare"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold run folders.")],
    csv: Annotated[Path | None, typer.Option(help="Write one line a run and domain to this file too.")] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Only this domain, by the name it was evaluated under. Repeatable.")] = None,
) -> None:
    """Compare runs: mIoU with intervals, the difference to the source model, and what each repair took."""
    import sys

    from rich.console import Console

    from segshift.engine.checkpoint import write_atomic
    from segshift.report.folders import compare_folders
    from segshift.report.tables import print_comparison, to_csv

    comparison = compare_folders(runs, domain or ())
    print_comparison(comparison, Console(width=None if sys.stdout.isatty() else 100))  # a file or pipe has no width of its own
    if csv is not None:
        write_atomic(csv, to_csv(comparison))
        typer.echo(f"written: {csv}")
