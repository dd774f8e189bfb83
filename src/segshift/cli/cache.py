"""segshift cache"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer


def command(
    domains: Annotated[
        list[str], typer.Argument(metavar="DOMAIN...", help="Domains such as cityscapes:PATH:train, one a split; without a split the one that a recipe reads.")
    ],
    folder: Annotated[Path, typer.Option("--folder", "-f", help="Where the files are kept, one a domain and size.")],
    size: Annotated[
        str, typer.Option(help="WIDTHxHEIGHT in pixels, where the recipe's data.size is that and nothing is scaled.  [default: the images' own]")
    ] = "",
    labels: Annotated[bool, typer.Option(help="With --no-labels images alone, as a target without labels is read.")] = True,
    threads: Annotated[int | None, typer.Option(min=1, help="Images at a time.  [default: one a core]")] = None,
) -> None:
    """Keep a domain's decoded images and labels in one memory-mapped file, so that training never waits for PNGs.

    Recipes read it, and build it where it is missing, with `compute: {cache: FOLDER}`. It is rebuilt when the data changes,
    and by this command where the file is damaged.
    """
    from segshift.cli.console import reporter
    from segshift.data.cache import cache_samples
    from segshift.data.catalog.keys import size_of
    from segshift.data.dataset import open_domain
    from segshift.engine.loading import counter
    from segshift.errors import DataError

    wanted = None
    if size:
        try:
            width, height = size_of(size).split("x")
        except ValueError as error:
            raise DataError(f"--size {size}: {error}") from None
        wanted = int(height), int(width)
    shown = reporter()
    for domain in domains:
        dataset = open_domain(domain, depth=False, labels=labels)
        start = time.perf_counter()
        with shown.task(str(dataset.domain), len(dataset)):
            cache = cache_samples(dataset, folder, wanted, threads, counter(shown), shown.say, verify=True)
        taken = time.perf_counter() - start
        typer.echo(f"{dataset.domain}: {len(cache)} image{'s' * (len(cache) != 1)}, {amount(cache.path.stat().st_size)}, {taken:.1f} s, {cache.path}")
        others = [split for split in dataset.domain.entry.splits if split != dataset.domain.entry.split]
        if dataset.domain.split is None and others:
            example = replace(dataset.domain, split=others[0])
            typer.echo(f"  its split {dataset.domain.entry.split}; {' and '.join(others)} get caches of their own: segshift cache '{example}'")
    typer.echo(f"in a recipe: compute: {{cache: {folder}}}")


def amount(size: int) -> str:
    """Bytes in words.

    >>> amount(3 * 2**20), amount(3 * 2**30)
    ('3.00 MiB', '3.00 GiB')
    """
    return f"{size / 2**30:.2f} GiB" if size >= 2**30 else f"{size / 2**20:.2f} MiB"
