"""A diagnosis as files, and in words for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from segshift.diagnose import Diagnosis, Moved, ParameterShift, as_diagnosis
from segshift.engine.checkpoint import write_atomic
from segshift.models.layers import KINDS, Kind
from segshift.report.parameter_figures import heat_map, similarity_figure

LISTED = 50
PRINTED = 10


def write_diagnosis(
    diagnosis: Diagnosis | ParameterShift | Mapping[str, ParameterShift], out: str | Path, top: int | None = None, clean: str = "clean"
) -> tuple[str, ...]:
    """Writes diagnosis.json (what `top-k` reads), layers.csv, top.csv, similarity.png and top.png into a folder; their names come back.

    `diagnosis` is what `compare_parameters` gave, or several by name; `top` is how many layers count as those that moved most (default: 50, or all of
    fewer); `clean` names the clean model.
    """
    found = Diagnosis(clean, diagnosis) if isinstance(diagnosis, Mapping) else as_diagnosis(diagnosis)
    k = listed(found, top)
    files: dict[str, bytes | str] = {
        "diagnosis.json": found.to_json(),
        "layers.csv": found.to_csv(),
        "top.csv": found.top_csv(k),
        "similarity.png": similarity_figure(found, format="png"),
        "top.png": heat_map(found, k, "png"),
    }
    for name, content in files.items():
        write_atomic(Path(out) / name, content)
    return tuple(files)


def listed(diagnosis: Diagnosis, top: int | None) -> int:
    """How many layers count as those that moved most."""
    return top if top is not None else min(LISTED, len(next(iter(diagnosis.shifts.values())).learnable))


def describe_diagnosis(diagnosis: Diagnosis, top: int | None = None) -> list[str]:
    """Shift by kind and target, how much the targets agree, and the layers that `top-k` would tune first, as lines."""
    k, runs = listed(diagnosis, top), len(diagnosis.shifts)
    moved = diagnosis.moved_most(k)
    lines = _by_kind(diagnosis)
    if runs > 1:
        same = sum(each.lists == runs for each in moved)
        some = sum(0 < each.lists < runs for each in moved)
        lines.append(f"of the {k} layers that moved most, {same} are the same for all {runs} runs, {some} are not")
    return [*lines, *_list(moved[: min(PRINTED, k)], k, runs)]


def _by_kind(diagnosis: Diagnosis) -> list[str]:
    """Mean shift of all values of a kind, a line a target, the null control last."""
    first = next(iter(diagnosis.shifts.values()))
    rows = {target: [(layer.kind, layer.values, layer.shift) for layer in shift.layers] for target, shift in diagnosis.shifts.items()}
    control = [(layer.kind, layer.values, 1 - layer.null_similarity) for layer in first.layers if layer.null_similarity is not None]
    kinds = [kind for kind in KINDS if any(layer.kind == kind for layer in first.layers)]
    table = [*rows.items(), *([("null control", control)] if control else [])]
    width = max(len(name) for name in (*(name for name, _ in table), "shift, %"))
    lines = ["  ".join(["shift, %".ljust(width), *(kind.rjust(max(len(kind), 6)) for kind in kinds)])]
    for name, layers in table:
        lines.append("  ".join([name.ljust(width), *(f"{100 * _mean(layers, kind):.1f}".rjust(max(len(kind), 6)) for kind in kinds)]))
    return lines


def _mean(layers: list[tuple[Kind, int, float]], kind: Kind) -> float:
    chosen = [(values, shift) for own, values, shift in layers if own == kind]
    return sum(values * shift for values, shift in chosen) / sum(values for values, _ in chosen)


def _list(moved: tuple[Moved, ...], k: int, runs: int) -> list[str]:
    """The layers with shift, excess over the null control where there is one, relative norm, and for how many runs they are among the k."""
    control, several = any(each.excess is not None for each in moved), runs > 1
    heads = ["shift, %", *(["over null"] if control else []), "norm, %", *([f"in top {k}"] if several else [])]
    lines = [f"moved most{f', mean over the {runs} runs' if several else ''}:", "  ".join(["", *heads, "layer"])]
    for each in moved:
        cells = [f"{100 * each.shift:.1f}", *([_points(each.excess)] if control else []), f"{100 * each.relative_norm:.3g}"]
        cells += [f"{each.lists} of {runs}"] if several else []
        lines.append("  ".join(["", *(cell.rjust(len(head)) for cell, head in zip(cells, heads, strict=True)), each.layer.name]))
    return lines


def _points(excess: float | None) -> str:
    return "" if excess is None else f"{100 * excess:+.1f}"
