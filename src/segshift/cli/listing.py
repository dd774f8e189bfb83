"""segshift list"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import typer


class What(StrEnum):
    """The tables."""

    models = "models"
    methods = "methods"
    tunings = "tunings"
    domains = "domains"
    weather = "weather"


def command(what: Annotated[What, typer.Argument(help="Which table.")]) -> None:
    """List models, methods, tunings, domains or weather: one line each."""
    for line in lines(what):
        typer.echo(line)


def lines(what: What) -> Iterator[str]:
    """Name, what it is, what it may see, options, paper."""
    if what is What.models:
        from segshift.models import MODELS

        for name, architecture in MODELS.items():
            yield f"{name:28} {architecture.summary}  [paper: {architecture.paper}]"
    elif what is What.methods:
        from segshift.engine.options import describe_options
        from segshift.methods import METHODS

        for name, method in METHODS.items():
            yield f"{name:28} {method.summary}  [{method.kind}; may see: {may_see(method)}]  {describe_options(method)}  [paper: {method.paper}]"
    elif what is What.tunings:
        from segshift.engine.options import describe_options
        from segshift.tuning import TUNINGS

        for name, entry in TUNINGS.items():
            yield f"{name:28} {entry.summary}  {describe_options(entry.options, ('model',))}  [paper: {entry.paper}]"
    elif what is What.domains:
        from segshift.data.catalog import DATASETS

        for name, dataset in DATASETS.items():
            yield f"{name:28} {dataset.summary}"
    else:
        from segshift.weather import WEATHER

        for name, weather in WEATHER.items():
            depth = "needs depth" if weather.needs_depth else "from the image alone"
            yield f"{name:28} {weather.summary}  [{name}=VALUE in {weather.unit}; {depth}]  [paper: {weather.paper}]"


def may_see(method: type) -> str:
    """What a method may see over its configurations: its defaults, and what its own options can add."""
    from segshift.engine.options import sees_of_configurations

    return " | ".join(", ".join(sorted(sees)) for sees in sees_of_configurations(method))
