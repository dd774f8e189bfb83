"""segshift predict"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out: Annotated[Path, typer.Option(help="Folder for NAME_label.png, NAME_overlay.png and classes.csv.")],
    opacity: Annotated[float, typer.Option(min=0, max=1, help="Of the colours over the image.")] = 0.5,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out images that cannot be read, and say so.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Write label maps and colour overlays of images, at the images' own size."""
    from segshift.errors import require_run

    require_run(run)
    from segshift.cli.console import reporter
    from segshift.engine.processes import choose_device
    from segshift.engine.run import Run
    from segshift.predict import predict_images

    opened = Run.open(run)
    opened.require_finished()
    done = predict_images(opened, images, out, device=choose_device(device), opacity=opacity, skip_bad=skip_bad, reporter=reporter())
    rotated = sum(prediction.rotated for prediction in done.written)
    if rotated:
        typer.echo(f"{rotated} of {len(done.written)} images carry an EXIF rotation: their files are upright, as viewers show the image")
    for _, reason in done.skipped:
        typer.echo(f"skipped: {reason}", err=True)
    skipped = f", {len(done.skipped)} skipped" if done.skipped else ""
    count = len(done.written)
    typer.echo(f"{count} image{'s' * (count != 1)} written to {out}{skipped}")
