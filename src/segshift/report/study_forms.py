"""Which tables of a study are asked for: by name on the command line, and all of them on a page."""

from __future__ import annotations

from collections.abc import Sequence

from segshift.errors import RecipeError, unknown_name
from segshift.report.forms import Form
from segshift.report.studies import class_means
from segshift.report.study_rows import StudyComparison
from segshift.report.study_tables import classes_form, cost_form, differences_form, pivot_form, scores_form
from segshift.study.results import Results

TABLES = {
    "scores": "runs x (mIoU, accuracy)",
    "differences": "points more than the source model, corrected for many comparisons",
    "cost": "cost beside accuracy",
    "classes": "one row a class, on the domains",
    "pivot": "one axis against another: --rows AXIS --columns AXIS",
}


def make_forms(
    results: Results, comparison: StudyComparison, tables: Sequence[str] = (), rows: str | None = None, columns: str | None = None, entry: str | None = None
) -> list[Form]:
    """The tables by name; none: scores, differences (where there are repairs) and cost, or the pivot where its axes are given.

    Raises UnknownNameError for a table or an axis that is none, RecipeError where a pivot lacks an axis.
    """
    for name in tables:
        if name not in TABLES:
            raise unknown_name("table", name, TABLES)
    repaired = any(cell.difference is not None for row in comparison.rows for cell in row.cells.values())
    standard = ["pivot"] if rows or columns else ["scores", *["differences"] * repaired, "cost"]
    return [form for name in tables or standard for form in _make(name, results, comparison, rows, columns, entry)]


def _make(name: str, results: Results, comparison: StudyComparison, rows: str | None, columns: str | None, entry: str | None) -> list[Form]:
    if name == "scores":
        return [scores_form(comparison)]
    if name == "differences":
        return [differences_form(comparison)]
    if name == "cost":
        return [cost_form(comparison)]
    if name == "classes":
        return [classes_form(comparison, domain, *class_means(results, comparison, domain)) for domain in comparison.domains]
    if not rows or not columns:
        axes = dict.fromkeys(axis for row in comparison.rows for axis in row.axes)
        raise RecipeError(f"a pivot needs --rows AXIS and --columns AXIS; the axes of {comparison.study} are {', '.join(axes) or 'none'}")
    return [pivot_form(comparison, rows, columns, domain, entry) for domain in comparison.domains]
