"""segshift compare"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console


def command(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, folders that hold run folders, or the folder of one study.")],
    csv: Annotated[Path | None, typer.Option(help="Write the table to this file too; of a study each, the second to NAME-2.csv and so on.")] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Only this domain, by the name it was evaluated under. Repeatable.")] = None,
    table: Annotated[list[str] | None, typer.Option(help="Of a study: scores, differences, cost, classes or pivot. Repeatable.")] = None,
    rows: Annotated[str | None, typer.Option(help="Of a study's pivot: the axis down.")] = None,
    columns: Annotated[str | None, typer.Option(help="Of a study's pivot: the axis across.")] = None,
    entry: Annotated[str | None, typer.Option(help="Of a study's pivot: only this entry of `runs`.")] = None,
    latex: Annotated[Path | None, typer.Option(help="Of a study: write its tables to this file, for booktabs.")] = None,
) -> None:
    """Compare runs, or those of a study: mIoU with intervals, the difference to the source model, and what each repair took."""
    import sys

    from segshift.errors import require_runs

    require_runs(runs)
    from rich.console import Console

    from segshift.engine.checkpoint import write_atomic
    from segshift.errors import RecipeError
    from segshift.report.studies import find_study

    console = Console(width=None if sys.stdout.isatty() else 100)  # a file or pipe has no width of its own
    study = find_study(runs)
    if study is not None:
        texts = _compare_study(study, domain or [], table or [], rows, columns, entry, console, latex)
    elif table or rows or columns or entry or latex:
        raise RecipeError("--table, --rows, --columns, --entry and --latex belong to studies: name the folder of one")
    else:
        from segshift.report.folders import compare_folders
        from segshift.report.tables import print_comparison, to_csv

        comparison = compare_folders(runs, domain or ())
        print_comparison(comparison, console)
        texts = [to_csv(comparison)]
    if csv is not None:
        for number, text in enumerate(texts, 1):
            path = csv if number == 1 else csv.with_stem(f"{csv.stem}-{number}")
            write_atomic(path, text)
            typer.echo(f"written: {path}")


def _compare_study(
    folder: Path,
    domains: list[str],
    tables: list[str],
    rows: str | None,
    columns: str | None,
    entry: str | None,
    console: Console,
    latex: Path | None,
) -> list[str]:
    """Prints the tables of a study, writes them for LaTeX, and gives each as CSV."""
    from rich.text import Text

    from segshift.engine.checkpoint import write_atomic
    from segshift.report.forms import print_form, to_csv, to_latex
    from segshift.report.studies import compare_study_folder
    from segshift.report.study_forms import make_forms

    comparison, results = compare_study_folder(folder, domains)
    with results:
        forms = make_forms(results, comparison, tables, rows, columns, entry)
    for form in forms:
        print_form(form, console)
        console.print()
    for note in dict.fromkeys(note for form in forms for note in form.notes):
        console.print(Text(note, style="dim"))
    if latex is not None:
        write_atomic(latex, "\n".join(map(to_latex, forms)))
        typer.echo(f"written: {latex}")
    return list(map(to_csv, forms))
