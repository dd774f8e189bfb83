"""segshift train"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    recipe: Annotated[Path, typer.Argument(help="YAML recipe; `segshift recipe schema` describes it.")],
    out: Annotated[Path | None, typer.Option(help="Run folder (default: runs/NAME-IDENTITY).")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="Change a value: section.key=value. Repeatable.")] = None,
    track: Annotated[list[str] | None, typer.Option(help="Mirror the figures: tensorboard, wandb, mlflow. Repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
) -> None:
    """Train a source model as a recipe says, then evaluate it on the recipe's tests."""
    from segshift.errors import require_recipe

    require_recipe(recipe)
    from segshift.cli.console import reporter, resumable, track_changes
    from segshift.engine.execute import execute
    from segshift.engine.read_recipe import load_recipe

    loaded = load_recipe(recipe, [*(changes or ()), *track_changes(track)])
    say = reporter()
    with resumable(say):
        run = execute(loaded, out, resume=resume, reporter=say)
    say.say(f"run folder: {run.path}")
