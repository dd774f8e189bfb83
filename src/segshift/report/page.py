"""One self-contained HTML page of a comparison: the result in words, the table, the figures, the protocol and the provenance of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segshift.engine.logs import Reporter
from segshift.engine.provenance import command_line, now
from segshift.errors import UserError
from segshift.report.comparison import Comparison, Row
from segshift.report.costs import changed_parameters, changed_statistics, describe_tests, tests_are_timed, time_before_tests
from segshift.report.figures import class_figure, degradation_figure, find_curves
from segshift.report.overlays import draw_overlays
from segshift.report.picture_grid import overlay_figure
from segshift.report.protocols import protocol
from segshift.report.shift import choose_domains
from segshift.report.tables import describe_method, legend, percent
from segshift.report.words import compare_with_best_source, describe_findings

REPAIRS_SHOWN = 3
"""Repairs beside each image; the best ones on the domain."""


@final
@dataclass(frozen=True)
class PageFigure:
    """An inline SVG with its title and caption; without a drawing the caption says why."""

    title: str
    svg: Markup
    caption: str
    wide: bool = False


def build_page(
    comparison: Comparison,
    title: str = "What the shift costs and what repairs win back",
    images: int = 4,
    reporter: Reporter | None = None,
    domain: str | None = None,
) -> str:
    """The page. `images` are shown with label maps (0: none), predicted anew from the runs' weights; where the data are gone the page says so.

    `domain`, the name of an evaluation, is the one that words, bars and images are about; None: `choose_domains` decides.
    Raises UnknownNameError where no run was evaluated on it.
    """
    if domain is not None:
        comparison.column(domain)
    environment = Environment(loader=PackageLoader("segshift", "report"), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters |= {"percent": percent}
    return environment.get_template("page.html.j2").render(
        title=title,
        created=now().replace("T", " ").replace("+00:00", " UTC"),
        command=command_line(),
        comparison=comparison,
        findings=describe_findings(comparison, domain),
        across=compare_with_best_source(comparison, domain),
        figures=[*_curves(comparison), *_classes(comparison, domain), *_overlays(comparison, images, reporter, domain)],
        rows=[_describe_row(row) for row in comparison.rows],
        legend=legend(comparison),
        timed=tests_are_timed(comparison),
        definitions=comparison.definitions(),
    )


def _curves(comparison: Comparison) -> list[PageFigure]:
    figures = []
    for curve in find_curves({column.name: column.domain for column in comparison.columns}):
        svg = degradation_figure(comparison, curve, inline=True)
        caption = f"Bars are 95 % intervals. Every point is a domain of the table; data: {curve.base}. {_tested(comparison)}"
        figures.append(PageFigure(f"mIoU as {curve.weather} thickens" if curve.weather == "fog" else f"mIoU over {curve.weather}", _markup(svg), caption))
    return figures


def _classes(comparison: Comparison, domain: str | None) -> list[PageFigure]:
    figures = []
    for group in _measured(comparison):
        shift = choose_domains(group, domain)
        columns = [comparison.column(name) for name in dict.fromkeys((shift.away, shift.home))]
        data = "; ".join(f"{column.domain}, {column.images} images" for column in columns)
        caption = f"{data}; one confusion matrix over all images of a domain. {_tested(comparison)}"
        title = f"IoU of each class on {' and on '.join(column.name for column in columns)}: {group[0].name}{' and its repairs' if len(group) > 1 else ''}"
        figures.append(PageFigure(title, _markup(class_figure(group, shift.away, shift.home, inline=True)), caption))
    return figures


def _overlays(comparison: Comparison, images: int, reporter: Reporter | None, domain: str | None) -> list[PageFigure]:
    figures: list[PageFigure] = []
    for group in _measured(comparison) if images else ():
        source, away = group[0], choose_domains(group, domain).away
        measured = [row for row in group[1:] if away in row.cells]
        repairs = sorted(measured, key=lambda row: -row.cells[away].miou.value)[:REPAIRS_SHOWN]
        title = f"Images, truth and predictions on {away}: {source.name} before and after"
        if reporter is not None:
            reporter.say(f"predict {images} images of {away} with {', '.join(row.name for row in (source, *repairs))}")
        try:
            overlays = draw_overlays(source, repairs, away, images)
        except UserError as error:
            figures.append(PageFigure(title, Markup(""), f"Not drawn: {error}"))
            continue
        svg = overlay_figure(overlays.panels, overlays.legend, inline=True)
        left_out = f" The {REPAIRS_SHOWN} best of {len(measured)} repairs are shown." if len(measured) > REPAIRS_SHOWN else ""
        caption = f"{overlays.choice}. {comparison.column(away).domain}.{left_out} Hatched is void: it is not scored. {_tested(comparison)}"
        figures.append(PageFigure(title, _markup(svg), caption, wide=True))
    return figures


def _measured(comparison: Comparison) -> list[tuple[Row, ...]]:
    return [group for group in comparison.groups() if group[0].cells]


def _tested(comparison: Comparison) -> str:
    checkpoints = {str(cell.evaluation.record["checkpoint"]) for row in comparison.rows for cell in row.cells.values()}
    how = {str(cell.evaluation.record.get("protocol", {}).get("prediction", "")) for row in comparison.rows for cell in row.cells.values()} - {""}
    return f"Tested checkpoint: {', '.join(sorted(checkpoints))}; prediction {'; '.join(sorted(how)) or 'as in the protocol below'}."


def _describe_row(row: Row) -> dict[str, Any]:
    """What the template shows of a run beside its scores."""
    record = row.run.record
    provenance: Mapping[str, Any] = record.get("provenance") or {}
    versions = {key: value for key, value in provenance.items() if key not in ("command", "commit", "device", "threads", "created") and value}
    recipe = row.run.path / "recipe.yaml"
    parent = record.get("parent") or {}
    scored = [cell.evaluation.record for cell in row.cells.values()]
    return {
        "row": row,
        "method": describe_method(row.run),
        "sees": ", ".join(record.get("sees", ())) or "nothing",
        "changed": changed_parameters(row),
        "statistics": changed_statistics(row),
        "labels": f"{record.get('labels_used', 0):,}",
        "time": time_before_tests(row),
        "tests": describe_tests(row),
        "protocol": protocol(row),
        "evaluation": _one_line(scored),
        "provenance": {
            "folder": row.run.path,
            "identity": record["identity"],
            "parent": f"{parent['path']} ({parent['identity']})" if parent else None,
            "model": " / ".join(str(part) for part in (record["model"]["architecture"], record["model"]["encoder"]) if part),
            "seed": record.get("seed"),
            "data": "; ".join(_describe_data(role, data) for role, data in record.get("data", {}).items()),
            "command": provenance.get("command"),
            "commit": provenance.get("commit"),
            "versions": ", ".join(f"{key} {value}" for key, value in versions.items()),
            "device": provenance.get("device"),
            "created": provenance.get("created"),
        },
        "recipe": recipe.read_text(encoding="utf-8") if recipe.is_file() else None,
    }


def _describe_data(role: str, data: Mapping[str, Any]) -> str:
    purpose = "validation, to choose the checkpoint" if role == "validation" else role
    details = [f"{data['images']} images", "with labels" if data.get("labels_used") else "", f"depth: {data['depth']}" if data.get("depth") else ""]
    return f"{purpose}: {data['domain']} ({', '.join([*filter(None, details), data['fingerprint'][:16]])})"


def _one_line(scored: Sequence[Mapping[str, Any]]) -> str:
    """How the run was scored, said once where it was the same on every domain."""
    lines = []
    for record in scored:
        size = " x ".join(map(str, record["size"])) if record.get("size") else "the image's own size"
        details = record.get("protocol", {})
        over = record.get("scored_over") or f"over {len(record['classes'])} classes"
        lines.append(
            f"{details.get('prediction', 'offline')}; batch {details.get('batch_size', '?')}; the model sees {size}; "
            f"scored at {record.get('scored_at', 'label size')} {over}"
        )
    return "; or ".join(dict.fromkeys(lines))


def _markup(svg: bytes) -> Markup:
    """Our own drawing, whose texts matplotlib has escaped."""
    return Markup(svg.decode())
