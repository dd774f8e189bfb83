"""segshift recipe"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Check a recipe, or print what it may say.", no_args_is_help=True)


@app.command("schema")
def schema() -> None:
    """Print the JSON schema of a recipe, for editors."""
    from segshift.engine.read_recipe import recipe_schema

    typer.echo(recipe_schema())


@app.command("show")
def show(
    recipe: Annotated[Path, typer.Argument(help="YAML recipe.")],
    changes: Annotated[list[str] | None, typer.Option("--set", help="Change a value: section.key=value. Repeatable.")] = None,
) -> None:
    """Check a recipe and print it whole, defaults included."""
    from segshift.errors import require_recipe

    require_recipe(recipe)
    from segshift.engine.read_recipe import load_recipe

    typer.echo(load_recipe(recipe, changes or []).to_yaml(), nl=False)
