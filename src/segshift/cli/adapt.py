"""segshift adapt"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def command(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Run folder of the model to repair.")],
    method: Annotated[str, typer.Option(help="What drives the change: see `segshift list methods`.")],
    target: Annotated[str, typer.Option(help="Domain to adapt to.")],
    source: Annotated[str | None, typer.Option(help="Source domain, for methods that see it (default: the run's own).")] = None,
    tuning: Annotated[str, typer.Option(help="What may change: see `segshift list tunings`.")] = "all",
    test: Annotated[list[str] | None, typer.Option(help="Evaluate afterwards: [LABEL:=]DOMAIN. Repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder (default: runs/NAME-IDENTITY).")] = None,
    name: Annotated[str | None, typer.Option(help="Name in tables.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="Change a value of the parent's recipe: section.key=value. Repeatable.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
) -> None:
    """Repair a trained model on a target domain. Options of the method and the tuning have the names of `segshift list`: --source-ratio 0.2"""
    from segshift.cli.console import reporter, resumable
    from segshift.engine.adapt import adaptation_recipe
    from segshift.engine.execute import execute
    from segshift.engine.run import Run

    parent = Run.open(run)
    parent.require_finished()
    method_options, tuning_options = split_options(context.args, method, tuning)
    tests: dict[str, str] = {}
    for text in test or []:
        label, separator, domain = text.partition(":=")
        tests[label if separator else text] = domain if separator else text
    recipe = adaptation_recipe(parent.recipe, method, tuning, target, source, method_options, tests, name, tuple(changes or ()), tuning_options)
    with resumable("the same command and --resume"):
        adapted = execute(recipe, out, parent, resume, reporter())
    typer.echo(f"run folder: {adapted.path}")


def split_options(arguments: list[str], method: str, tuning: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """`--key value` pairs, sorted into those of the method and those of the tuning."""
    import yaml

    from segshift.engine.options import option_types
    from segshift.errors import RecipeError, unknown_name
    from segshift.methods import METHODS
    from segshift.tuning import TUNINGS

    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if tuning not in TUNINGS:
        raise unknown_name("tuning", tuning, TUNINGS)
    of_method = option_types(METHODS[method])
    of_tuning = option_types(TUNINGS[tuning].options, ("model",))
    chosen: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
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
        option = key.replace("-", "_")
        if option in of_method:
            chosen[0][option] = yaml.safe_load(value)
        elif option in of_tuning:
            chosen[1][option] = yaml.safe_load(value)
        else:
            known = [f"--{name.replace('_', '-')}" for name in (*of_method, *of_tuning)]
            raise unknown_name(f"option of method {method} and tuning {tuning}", f"--{key}", known or ["(none)"])
    return chosen
