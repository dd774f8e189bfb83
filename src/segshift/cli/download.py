"""segshift download"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A data set that needs no account, such as oxford-pets.")],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where its folders shall lie; archives that are there already are used.")],
) -> None:
    """Download a data set that needs no account, check its hash and extract it."""
    from segshift.data.download import download

    download(name, folder, say=lambda line: typer.echo(line, err=True))
    typer.echo(f"{name}:{folder}")
