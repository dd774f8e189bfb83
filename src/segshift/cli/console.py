"""What commands share: the reporter of this terminal, and how an interrupted run is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segshift.engine.logs import Reporter


def reporter() -> Reporter:
    """Live progress on a terminal, plain lines elsewhere."""
    from rich.console import Console

    from segshift.engine.logs import Reporter

    return Reporter(Console())


@contextmanager
def resumable(how: str) -> Iterator[None]:
    """Turns an interruption into one line that says how to go on."""
    import typer

    from segshift.engine.train import Interrupted

    try:
        yield
    except Interrupted:
        typer.echo(f"stopped; everything is saved. Go on with: {how}")
        raise typer.Exit(1) from None
