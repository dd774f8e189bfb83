"""segshift check"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from segshift.data.check import DomainCheck, SplitCheck


def command(
    domain: Annotated[str, typer.Argument(metavar="DOMAIN", help="Such as cityscapes:PATH for all splits, or cityscapes:PATH:val.")],
    threads: Annotated[int | None, typer.Option(min=1, help="Images at a time.  [default: one a core]")] = None,
) -> None:
    """Read a data set whole: counts, sizes, classes, and what is wrong with it. Exit code 1 where something is."""
    from segshift.cli.console import reporter
    from segshift.data.check import check_domain

    shown = reporter()
    begun = ""

    def tell(split: str, done: int, total: int) -> None:
        nonlocal begun
        if split != begun:
            shown.end()
            shown.begin(f"check {split}", total)
            begun = split
        shown.advance(1)

    try:
        found = check_domain(domain, threads, tell)
    finally:
        shown.end()
    for line in describe(found):
        typer.echo(line)
    if not found.sound:
        raise typer.Exit(1)


def describe(found: DomainCheck) -> Iterator[str]:
    """The report, a line at a time."""
    for split in found.splits:
        yield from describe_split(split)
    for mistake in found.between:
        yield f"wrong: {mistake}"
    verdict = "whole" if found.sound else f"{found.wrong} mistake{'s' * (found.wrong != 1)}"
    yield f"{found.domain}: {verdict}"


def describe_split(split: SplitCheck) -> Iterator[str]:
    official = "" if split.official is None else f" of {split.official}"
    sizes = ", ".join(f"{w} x {h} ({count})" if len(split.sizes) > 1 else f"{w} x {h}" for (w, h), count in split.sizes.most_common(4))
    more = f" and {len(split.sizes) - 4} other sizes" if len(split.sizes) > 4 else ""
    yield f"{split.split}: {split.images}{official} image{'s' * ((split.official or split.images) != 1)}{f', {sizes}{more}' if sizes else ''}"
    if split.labelled and split.space is not None and split.pixels.any():
        shares = split.shares()
        width = max(map(len, shares))
        yield from (f"  {name:{width}}  {100 * share:6.2f} %" for name, share in shares.items())
    yield from (f"  note: {note}" for note in split.notes)
    yield from (f"  wrong: {mistake}" for mistake in split.mistakes)
