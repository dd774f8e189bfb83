"""segshift weather"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Labels(StrEnum):
    copy = "copy"
    link = "link"


def command(
    name: Annotated[str, typer.Argument(metavar="WEATHER", help="A weather: fog, rain, night, snow or another of `segshift list weather`.")],
    source: Annotated[str, typer.Argument(metavar="IN", help="Domain such as cityscapes:PATH:val, or a folder with images/ in it.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for images/, labels/, mapping.yaml and manifest.json.")],
    severity: Annotated[str, typer.Option(help="Severities, such as 1,3,5 or 1-5.  [default: all of them]")] = "",
    value: Annotated[str, typer.Option(help="Physical values instead, with commas between: fog beta per metre, rain and snow mm/h, night stops.")] = "",
    depth: Annotated[str, typer.Option(help="plane (from labels and camera), or a metric depth network: its folder or hub name.")] = "",
    refine: Annotated[str, typer.Option(help="How fog follows the picture: guided, labels or none.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="What is random is drawn from it and the image's name.")] = 0,
    labels: Annotated[Labels, typer.Option(help="Copy label files, or link them.")] = Labels.copy,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out images that cannot be read, and say so.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Images at a time.  [default: one a core]")] = None,
) -> None:
    """Render a data set in weather, graded, with its labels; the same command goes on after a stop."""
    from segshift.cli.console import reporter
    from segshift.data.domain import Condition, parse_domain
    from segshift.errors import DataError

    if "+" in name:
        raise DataError(f"{name}: one weather a command, put those before it into IN, as in `night {source}+fog@2`")
    if set("@=") & set(name):
        found = re.split("[@=]", name)
        raise DataError(f"{name}: write the weather alone, and its strength as `{found[0]} IN OUT --{'severity' if '@' in name else 'value'} {found[-1]}`")
    if severity and value:
        raise DataError("--severity and --value together: give one of them")
    conditions = [Condition(name, number, severity=not value) for number in numbers_of(name, severity, value)]
    clear = parse_domain(domain_of(source, {key: text for key, text in (("depth", depth), ("refine", refine)) if text}))
    for condition in conditions:
        parse_domain(f"streets+{condition}")  # a wrong weather or strength is told before the engine is imported
    from segshift.render import render_set

    done = render_set(clear, conditions, out, seed=seed, labels=labels.value, skip_bad=skip_bad, threads=threads, reporter=reporter())
    for _, reason in done.skipped:
        typer.echo(f"skipped: {reason}", err=True)
    from segshift.weather import WEATHER, visibility

    if WEATHER[name].depth != "unused":
        typer.echo(f"depth: {'none' if done.depth == 'unused' else done.depth}")
    if WEATHER[name].uses_labels or done.depth == "plane prior":
        shown = "; ".join(f"{what}: {', '.join(names) or 'none'}" for what, names in done.classes.items())
        typer.echo(f"classes taken for {shown}" if any(done.classes.values()) else "no labels that tell sky, ground or vehicles: nothing is drawn by them")
    if name == "fog":
        betas = [WEATHER[name].value(c.value) if c.severity else c.value for c in conditions]
        typer.echo("visibility: " + ", ".join(f"{visibility(beta):.0f} m at beta {beta:g}" for beta in betas))
    kept = f", {done.kept} there before" if done.kept else ""
    skipped = f", {len(done.skipped)} {'images' if len(done.skipped) > 1 else 'image'} skipped" if done.skipped else ""
    typer.echo(f"{done.written} image{'s' * (done.written != 1)} written to {out}{kept}{skipped}")
    if not done.written + done.kept:
        raise DataError(f"no image could be rendered: all {len(done.skipped)} were skipped")
    for domain in done.domains:
        typer.echo(f"as a domain: {domain}")


def numbers_of(name: str, severity: str, value: str) -> list[float]:
    """The severities or values asked for; all severities of the weather where none are."""
    from segshift.errors import DataError, unknown_name
    from segshift.weather import WEATHER

    if name not in WEATHER:
        raise unknown_name("weather", name, WEATHER)
    text, option = value or severity, "--value" if value else "--severity"
    if not text:
        return [float(step) for step in range(1, len(WEATHER[name].severities) + 1)]
    parts = [part.strip() for part in text.split(",")]
    if value and WEATHER[name].unit is None:
        raise DataError(f"{name} has no physical value: give --severity, from 1 to {len(WEATHER[name].severities)}")
    if any(re.fullmatch(r"0\d+", part) for part in parts[1:]):
        raise DataError(f"{option} {text}: commas stand between numbers, decimals have a point, as 0.01,0.02")
    try:
        return [number for part in parts for number in (span(part) if severity else [float(part)])]
    except ValueError:
        raise DataError(f"{option} {text}: takes numbers with commas between, such as {'0.005,0.01' if value else '1,3,5 or 1-5'}") from None


def span(text: str) -> list[float]:
    """A number, or all from the first to the last of `1-5`.

    >>> span("3"), span("1-3")
    ([3.0], [1.0, 2.0, 3.0])
    """
    ends = re.fullmatch(r"(\d+)\s*-\s*(\d+)", text)
    if ends is None:
        return [float(text)]
    first, last = int(ends[1]), min(int(ends[2]), 100)  # what is too much is told with the others
    if first > last:
        raise ValueError
    return [float(step) for step in range(first, last + 1)]


def domain_of(text: str, keys: dict[str, str]) -> Any:
    """The domain that the text names; a folder's path is the data set `folder` there."""
    from segshift.data.catalog import DATASETS
    from segshift.data.domain import Domain, parse_domain
    from segshift.errors import MissingDataError

    name = text.partition(":")[0].partition("?")[0].partition("+")[0]
    if name not in DATASETS and Path(text).is_dir():
        mapping = {"labels": "mapping.yaml"} if (Path(text) / "mapping.yaml").is_file() else {}
        return {"name": "folder", "root": text, **mapping, **keys}
    if name not in DATASETS and ("/" in text or text.startswith(".")):
        raise MissingDataError(f"no folder {text}: IN is a folder with images/ in it, or a domain such as cityscapes:PATH:val")
    parsed = parse_domain(text)
    return Domain(parsed.name, parsed.root, parsed.split, tuple(sorted((dict(parsed.filters) | keys).items())), parsed.weather)
