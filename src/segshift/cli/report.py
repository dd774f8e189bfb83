"""segshift report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders that hold run folders.")],
    out: Annotated[Path, typer.Option(help="The HTML file.")] = Path("report.html"),
    domain: Annotated[list[str] | None, typer.Option(help="Only this domain, by the name it was evaluated under. Repeatable.")] = None,
    shift: Annotated[str | None, typer.Option(help="Tell of the shift to this domain (default: the one that the repairs were made for).")] = None,
    images: Annotated[int, typer.Option(min=0, help="How many images to show with truth and predictions.")] = 4,
    title: Annotated[str, typer.Option(help="The page's heading.")] = "What the shift costs and what repairs win back",
) -> None:
    """Write one HTML page: the result in words, table, curves, classes, overlays, protocol and provenance. It needs no network."""
    from segshift.cli.console import reporter
    from segshift.engine.checkpoint import write_atomic
    from segshift.report.folders import compare_folders
    from segshift.report.page import build_page

    comparison = compare_folders(runs, domain or ())
    write_atomic(out, build_page(comparison, title, images, reporter(), shift))
    typer.echo(f"page: {out}")
