"""What commands share: the reporter of this terminal, and how an interrupted run is left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from segshift.engine.logs import Reporter


STOPPED = 130
"""What a shell gives a program that Ctrl-C ended."""


def reporter() -> Reporter:
    """Live progress on a terminal, plain lines elsewhere; of several processes the first alone speaks."""
    from rich.console import Console

    from segshift.engine.logs import Reporter, is_first_process

    return Reporter(Console() if is_first_process() else None)


def label_and_domain(text: str) -> tuple[str, str]:
    """`[LABEL:=]DOMAIN`; without a label the domain is its own. DataError for LABEL=DOMAIN, which lacks its colon."""
    label, separator, domain = text.partition(":=")
    if not separator and "=" in text.split(":")[0].split("?")[0].split("+")[0]:
        from segshift.errors import DataError

        raise DataError(f"{text!r}: a label stands before := ({text.replace('=', ':=', 1)!r})")
    return (label, domain) if separator else (text, text)


def say_done(lines: list[str]) -> None:
    """Prints the lines of a command whose work is done: a reader that stops early (`| head`) is no failure then."""
    import os
    import sys

    import typer

    try:
        for line in lines:
            typer.echo(line)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains when it flushes at its end


def track_changes(track: list[str] | None) -> tuple[str, ...]:
    """`--track` as a change of the recipe."""
    import json

    return (f"compute.trackers={json.dumps(track)}",) if track else ()


@contextmanager
def resumable(say: Reporter, option: str = "--resume") -> Iterator[None]:
    """Turns an interruption into one line with the command that goes on: training saves its position, all else what is finished."""
    import shlex
    import sys

    from segshift.engine.train import Interrupted

    try:
        yield
    except (Interrupted, KeyboardInterrupt) as stopped:
        again = [word for word in sys.argv[1:] if word != option] + [option] * bool(option)
        kept = "everything is saved" if isinstance(stopped, Interrupted) else "what was finished is kept, a pass that was not begins anew"
        say.say(f"stopped; {kept}. Go on with: segshift {shlex.join(again)}")
        raise SystemExit(STOPPED) from None
