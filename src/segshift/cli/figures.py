"""segshift figures"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from segshift.report.canvas import Format


def command(
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders, folders that hold run folders, or studies.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the figures.")] = Path("figures"),
    kind: Annotated[
        list[str] | None,
        typer.Option(help="learning, confusion, roc, precision-recall, images or difference (each run less the first one named); default: all. Repeatable."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only runs whose name matches, in this order: 'fine-tuned*'. Repeatable.")] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Only this domain, by the name it was evaluated under. Repeatable.")] = None,
    mark: Annotated[list[str] | None, typer.Option(help="Class that stands out in a difference: sky. Repeatable.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Images in the grid of predictions.")] = 4,
    samples: Annotated[list[str] | None, typer.Option(help="Also a grid of random samples of this domain, which need no run. Repeatable.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Samples in a grid.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Of the random samples.")] = 0,
    format: Annotated[str, typer.Option(help="png or svg.")] = "png",
) -> None:
    """Draw figures for a paper: training curves, confusion matrices, ROC, precision-recall, predictions, differences by class, samples of a data set."""
    from segshift.errors import RecipeError, require_runs, unknown_name

    require_runs(runs or [])
    if not runs and not samples:
        raise RecipeError("nothing to draw: name run folders, or a data set with --samples DOMAIN")
    if format not in ("png", "svg"):
        raise unknown_name("format", format, ("png", "svg"))
    chosen: Format = "svg" if format == "svg" else "png"
    from segshift.engine.checkpoint import write_atomic
    from segshift.report.gallery import Gallery, draw_gallery, find_all_runs, samples_drawing

    def write(name: str, content: bytes) -> None:
        write_atomic(out / name, content)
        typer.echo(f"figure: {out / name}")

    if runs:
        gallery = Gallery(find_all_runs(runs, only or ()), domain or (), images, chosen, mark or ())
        for name, content in draw_gallery(gallery, kind or ()):
            write(name, content)
        for note in gallery.notes:
            typer.echo(f"note: {note}")
    for text in samples or ():
        write(*samples_drawing(text, count, seed, chosen))
