"""The command line. Only typer and the standard library are imported before a command runs: help answers at once.

Exit codes: 0 done; 1 an error that the user can mend, in one line; 2 a wrong command line; 130 stopped by Ctrl-C. A traceback only with --debug.
"""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, TextIO

import typer

from segshift.cli import (
    adapt,
    cache,
    check,
    compare,
    diagnose,
    download,
    drift,
    evaluate,
    figures,
    listing,
    predict,
    quickstart,
    recipe,
    report,
    study,
    train,
    watch,
    weather,
)
from segshift.cli.console import STOPPED

app = typer.Typer(
    name="segshift",
    help="Measure, explain and repair what a change of domain does to a semantic segmentation model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help without rich answers in half the time
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("quickstart")(quickstart.command)
app.command("train")(train.command)
app.command("evaluate")(evaluate.command)
app.command("adapt", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(adapt.command)
app.command("compare")(compare.command)
app.command("report")(report.command)
app.command("diagnose")(diagnose.command)
app.command("drift")(drift.command)
app.command("watch", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(watch.command)
app.command("figures")(figures.command)
app.command("study")(study.command)
app.command("weather")(weather.command)
app.command("check")(check.command)
app.command("cache")(cache.command)
app.command("predict")(predict.command)
app.command("download")(download.command)
app.command("list", help=listing.HELP, no_args_is_help=True)(listing.command)
app.add_typer(recipe.app, name="recipe")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"segshift {version('segshift')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and turns what goes wrong into one line and an exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _warn
            code = app(arguments, prog_name="segshift", standalone_mode=False)
    except Exception as error:
        if debug and not hasattr(error, "exit_code"):  # what the command line itself refuses has no traceback worth reading
            raise
        _stop(error)
    except KeyboardInterrupt:
        code = STOPPED
    if code == STOPPED:
        print("segshift: stopped", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _warn(message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None) -> None:
    """Prints a warning about data as one line, others as Python does."""
    if "DataWarning" in [kind.__name__ for kind in category.__mro__]:
        print(f"segshift: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), file=file or sys.stderr, end="")


def _stop(error: Exception) -> None:
    """Prints the error as one line and exits with its code."""
    from segshift.errors import UserError

    if isinstance(error, UserError):
        print(f"segshift: {_line(error)}", file=sys.stderr)
        sys.exit(1)
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the whole help
        typer.echo(str(error), err=True)
        sys.exit(2)
    if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # click's own: a wrong command line
        context = getattr(error, "ctx", None)
        where = f" (see `{context.command_path} --help`)" if context is not None else ""
        print(f"segshift: {' '.join(error.format_message().split())}{where}", file=sys.stderr)
        sys.exit(2)
    if type(error).__name__ in ("Exit", "Abort"):
        sys.exit(getattr(error, "exit_code", 1))
    if isinstance(error, OSError):
        print(f"segshift: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)
        sys.exit(1)
    print(f"segshift: unexpected {type(error).__name__}: {_line(error)}; run again with --debug and report it", file=sys.stderr)
    sys.exit(1)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
