"""One self-contained HTML page of a study: what was found, the tables, the curves, cost, and where every figure comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segshift.engine.logs import duration
from segshift.engine.provenance import command_line, now
from segshift.report.figures import find_curves
from segshift.report.page import PageFigure
from segshift.report.study_figures import COSTS, known_costs, study_cost_figure, study_curve_figure
from segshift.report.study_forms import make_forms
from segshift.report.study_rows import StudyComparison, StudyRow
from segshift.report.study_words import describe_study
from segshift.study.results import Results


def build_study_page(results: Results, comparison: StudyComparison, title: str | None = None) -> str:
    """The page; `results` is the file that the comparison was made from."""
    environment = Environment(loader=PackageLoader("segshift", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters["duration"] = duration
    return environment.get_template("study.html.j2").render(
        title=title or f"Study {comparison.study}",
        created=now().replace("T", " ").replace("+00:00", " UTC"),
        command=command_line(),
        comparison=comparison,
        findings=describe_study(comparison),
        forms=make_forms(results, comparison),
        classes=make_forms(results, comparison, ["classes"]),
        figures=[*_curves(comparison), *_costs(comparison)],
        recipes=_recipes(comparison, results.path.parent),
    )


def _curves(comparison: StudyComparison) -> list[PageFigure]:
    figures = []
    for curve in find_curves(comparison.domains):
        for group in comparison.groups():
            if any(sum(name in row.cells for _, name in curve.points) > 1 for row in group):
                svg = Markup(study_curve_figure(group, curve, inline=True).decode())
                caption = f"Means over the seeds, bars are 95 % intervals. Every point is a domain of the tables; data: {curve.base}."
                figures.append(PageFigure(f"mIoU over {curve.weather}: {group[0].title} and its repairs", svg, caption))
    return figures


def _costs(comparison: StudyComparison) -> list[PageFigure]:
    figures = []
    for domain, data in comparison.domains.items():
        for group in comparison.groups():
            if domain in group[0].cells and known_costs(group, domain):
                svg = Markup(study_cost_figure(group, domain, inline=True).decode())
                caption = (
                    f"The dashed line is the source model. Seconds of adapting, without evaluation, mean over the seeds.{_left_out(group, domain)} {data}."
                )
                figures.append(PageFigure(f"Accuracy against cost on {domain}: {group[0].title} and its repairs", svg, caption, wide=True))
    return figures


def _left_out(group: Sequence[StudyRow], domain: str) -> str:
    """Which repairs a panel of costs lacks, as they take that on each test anew."""
    lacking = {
        axis: [row.title for row in group if domain in row.cells and not row.is_source and math.isnan(COSTS[axis](row))] for axis in known_costs(group, domain)
    }
    told = "; ".join(f"{axis}: {', '.join(titles)}" for axis, titles in lacking.items() if titles)
    return f" Not drawn, as it is taken on each test anew: {told}." if told else ""


def _recipes(comparison: StudyComparison, folder: Path) -> dict[str, str]:
    """The recipe of the first seed of each row, by title; rows whose folder is gone have none."""
    found = {}
    for row in comparison.rows:
        file = folder / (row.runs[0].folder or "") / "recipe.yaml"
        if file.is_file():
            found[row.title] = file.read_text(encoding="utf-8")
    return found
