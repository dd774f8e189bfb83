"""segshift adapt"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Run folder of the model to repair.")],
    method: Annotated[str, typer.Option(help="What drives the change: see `segshift list methods`.")],
    target: Annotated[
        str | None, typer.Option(help="Domain to adapt to. Without it, a method that answers a stream adapts on each --test while it is tested.")
    ] = None,
    source: Annotated[str | None, typer.Option(help="Source domain, for methods that see it (default: the run's own).")] = None,
    tuning: Annotated[str, typer.Option(help="What may change: see `segshift list tunings`.")] = "all",
    test: Annotated[list[str] | None, typer.Option(help="Evaluate afterwards: [LABEL:=]DOMAIN. Repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder (default: runs/NAME-IDENTITY).")] = None,
    name: Annotated[str | None, typer.Option(help="Name in tables.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="Change a value of the parent's recipe: section.key=value. Repeatable.")] = None,
    track: Annotated[list[str] | None, typer.Option(help="Mirror the figures: tensorboard, wandb, mlflow (default: as RUN). Repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
) -> None:
    """Repair a trained model on a target domain. Options of the method and the tuning have the names of `segshift list`: --source-ratio 0.2"""
    from segshift.errors import require_run

    require_run(run)
    from segshift.cli.console import label_and_domain, reporter, resumable, track_changes
    from segshift.engine.adapt import adaptation_recipe
    from segshift.engine.execute import execute
    from segshift.engine.run import Run

    parent = Run.open(run)
    options = read_options(context.args)
    tests = dict(map(label_and_domain, test or []))
    changes = [*(changes or ()), *track_changes(track)]
    recipe = adaptation_recipe(parent.recipe, method, tuning, target, source, options, tests, name, tuple(changes))
    say = reporter()
    with resumable(say):
        adapted = execute(recipe, out, parent, resume, say)
    say.say(f"run folder: {adapted.path}")
    if not tests:
        yet = "adapts while it is tested" if recipe.online else "not tested yet"
        say.say(f"{yet}: segshift evaluate {adapted.path} --domain DOMAIN")


def read_options(arguments: list[str]) -> dict[str, Any]:
    """`--key value` and `--key=value` pairs, their values read as YAML."""
    import yaml

    from segshift.errors import RecipeError

    options: dict[str, Any] = {}
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("--"):
            raise RecipeError(f"unexpected argument {word!r}: options are written --name value")
        key, separator, value = word[2:].partition("=")
        if not separator:
            if not waiting:
                raise RecipeError(f"option --{key} needs a value")
            value = waiting.pop(0)
        try:
            options[key.replace("-", "_")] = yaml.safe_load(value)
        except yaml.YAMLError:
            options[key.replace("-", "_")] = value
    return options
