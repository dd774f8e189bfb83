"""segshift list"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from textwrap import wrap
from typing import Annotated

import typer


def command(
    table: Annotated[str, typer.Argument(help="One of the tables above.", metavar="TABLE", show_default=False)],
    entry: Annotated[str, typer.Argument(help="One entry of it alone.", metavar="[ENTRY]", show_default=False)] = "",
) -> None:
    if table not in TABLES:
        from segshift.errors import unknown_name

        raise typer.BadParameter(str(unknown_name("table", table, TABLES)))
    lines = list(TABLES[table][1]())
    heads = [line.split()[0] for line in lines if not line.startswith(" ")]
    if entry and entry not in heads:
        from segshift.errors import unknown_name

        raise typer.BadParameter(str(unknown_name(f"entry of {table}", entry, heads)))
    shown = not entry
    for line in lines:
        shown = not entry or (shown if line.startswith(" ") else line.split()[0] == entry)
        if shown:
            typer.echo(line)


def models() -> Iterator[str]:
    from segshift.models import MODELS

    for name, entry in MODELS.items():
        encoder = f"its own encoder: {', '.join(entry.encoders)}" if entry.encoders else f"default encoder: {entry.default_encoder}"
        yield join(name, entry.summary, f"[{encoder}]", cite(entry.paper))


def pairs() -> Iterator[str]:
    from segshift.models import MODELS
    from segshift.models.catalog import REFUSED

    for refusal in REFUSED:
        yield join(refusal.architecture, f"not with {', '.join(refusal.encoders)}: {refusal.reason}")
    for name, entry in MODELS.items():
        if entry.encoders:
            yield join(name, f"with {', '.join(entry.encoders)} alone: it is built on its own encoder")


def methods() -> Iterator[str]:
    from segshift.methods import METHODS
    from segshift.options import describe_options

    for name, method in METHODS.items():
        yield join(name, method.summary, f"[{method.kind}; may see: {may_see(method)}]", describe_options(method), cite(method.paper))


def tunings() -> Iterator[str]:
    from segshift.options import describe_options
    from segshift.tuning import TUNINGS

    for name, entry in TUNINGS.items():
        yield join(name, entry.summary, "[may see: nothing itself]", describe_options(entry.options, ("model",)), cite(entry.paper))


def domains() -> Iterator[str]:
    from segshift.data.catalog import DATASETS
    from segshift.data.catalog.keys import DEPTH, FILTERS, REFINE

    for name, entry in DATASETS.items():
        sizes = [size if i else f"{size} (default)" for i, size in enumerate(entry.spaces)]
        classes = f"{', '.join(sizes) or len(entry.classes)} classes" if entry.classes else "classes of its mapping file"
        counts = ", ".join(f"{split} {entry.counts[split]}{' without labels' if split in entry.unlabelled else ''}" for split in entry.splits)
        splits = f"images: {counts}" if counts else "splits: those of its tables" if entry.rows else "splits: any subfolder"
        values = {key: f" ({', '.join(choice.values)})" for key, choice in entry.choices.items()}
        keys = f"keys: {', '.join(key + values.get(key, '') for key in entry.own_keys)}; " if entry.own_keys else ""
        yield from block(name, entry.summary, f"{classes}; {splits}", f"{keys}licence: {entry.licence}")
    shared = {**FILTERS, "depth": DEPTH, "refine": REFINE}
    yield from block("(all)", f"keys of every data set: {', '.join(shared)}", *(f"{key}: {option.summary}" for key, option in shared.items()))


def weather() -> Iterator[str]:
    from segshift.weather import WEATHER

    for name, entry in WEATHER.items():
        depth = {"needed": "needs depth", "used": "better with depth", "unused": "from the image alone"}[entry.depth]
        severities = f"{name}@1 to {len(entry.severities)}"
        given = severities if entry.unit is None else f"{name}=VALUE in {entry.unit}, or {severities}"
        yield join(name, entry.summary, f"[{given}; {depth}]", cite(entry.paper))


def trackers() -> Iterator[str]:
    from segshift.engine.trackers import TRACKERS, is_installed

    for name, entry in TRACKERS.items():
        yield join(name, entry.summary, "[installed]" if is_installed(name) else f"[not installed: pip install 'segshift[{name}]']")


TABLES: Mapping[str, tuple[str, Callable[[], Iterator[str]]]] = {
    "models": ("architectures, each with its default encoder", models),
    "pairs": ("which encoders a model refuses, and why; the others are timm's and mit_b0 to mit_b5", pairs),
    "methods": ("what drives a repair, what it may see, and its options", methods),
    "tunings": ("what may change in a model, and its options", tunings),
    "domains": ("data sets, with their classes, sizes, licence and the keys of a domain", domains),
    "weather": ("what a domain can be put under, and its unit", weather),
    "trackers": ("where the figures of a run can be mirrored", trackers),
}
"""Name -> what it lists, and its lines."""

HELP = "\n".join(["List a table, one line an entry.", "", "\b", *(f"{name:9} {summary}" for name, (summary, _) in TABLES.items())])
r"""Help of the command; click leaves the paragraph after `\b` as it is."""


def join(name: str, *parts: str) -> str:
    """The name and what is said of it, on one line."""
    return f"{name:28} {'  '.join(part for part in parts if part)}"


def block(name: str, *parts: str) -> Iterator[str]:
    """The name and what is said of it, a paragraph a part, in 100 columns."""
    for i, part in enumerate(parts):
        yield from wrap(part, 100, initial_indent=f"{'' if i else name:18} ", subsequent_indent=" " * 21, break_on_hyphens=False)


def cite(paper: str) -> str:
    """The paper in brackets, nothing where there is none."""
    return "" if paper == "-" else f"[paper: {paper}]"


def may_see(method: type) -> str:
    """What a method may see over its configurations: its defaults, and what its own options can add."""
    from segshift.engine.options import sees_of_configurations

    return " | ".join(", ".join(sorted(sees)) or "nothing" for sees in sees_of_configurations(method))
