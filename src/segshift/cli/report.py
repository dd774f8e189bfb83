"""segshift report"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, folders that hold run folders, or the folder of one study.")],
    out: Annotated[Path, typer.Option(help="The HTML file.")] = Path("report.html"),
    domain: Annotated[list[str] | None, typer.Option(help="Only this domain, by the name it was evaluated under. Repeatable.")] = None,
    shift: Annotated[str | None, typer.Option(help="Tell of the shift to this domain (default: the one that the repairs were made for).")] = None,
    images: Annotated[int, typer.Option(min=0, help="How many images to show with truth and predictions.")] = 4,
    title: Annotated[str | None, typer.Option(help="The page's heading.")] = None,
) -> None:
    """Write one HTML page: the result in words, table, curves, classes, overlays, protocol and provenance. It needs no network."""
    from segshift.errors import require_runs

    require_runs(runs)
    from segshift.engine.checkpoint import write_atomic
    from segshift.report.studies import compare_study_folder, find_study

    folder = find_study(runs)
    if folder is not None:
        from segshift.report.study_page import build_study_page

        study, results = compare_study_folder(folder, domain or ())
        with results:
            page = build_study_page(results, study, title)
    else:
        from segshift.cli.console import reporter
        from segshift.report.folders import compare_folders
        from segshift.report.page import build_page

        heading = {} if title is None else {"title": title}
        page = build_page(compare_folders(runs, domain or ()), images=images, reporter=reporter(), domain=shift, **heading)
    write_atomic(out, page)
    typer.echo(f"page: {out}")
