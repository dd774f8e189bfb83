"""segshift diagnose"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from segshift.diagnose import Diagnosis


def command(
    clean: Annotated[Path, typer.Argument(help="Run folder of the clean model, or the folder of a study.")],
    runs: Annotated[list[Path] | None, typer.Argument(help="Run folders of the models that were fitted to other domains; of a study none.")] = None,
    entry: Annotated[str | None, typer.Option(help="Of a study: the entry whose runs are compared with their parents, as means over the seeds.")] = None,
    threshold: Annotated[float, typer.Option(help="Bound T of a difference of z-scores; 0.01 for a ResNet-101, 0.1 for a MobileNet.")] = 0.01,
    granularity: Annotated[str, typer.Option(help="layer (z-scores over a tensor) or kernel (over each output slice).")] = "layer",
    null: Annotated[
        str | None, typer.Option(help="Null control, the clean model fitted to clean data again: its run folder, or its entry in the study.")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Layers in the list of those that moved most (default: 50, or all of fewer).")] = None,
    out: Annotated[Path, typer.Option(help="Folder for diagnosis.json, layers.csv, top.csv and the figures.")] = Path("diagnosis"),
) -> None:
    """Which parameters moved: similarity of every layer to the clean model, and the layers that moved most, for each run."""
    from segshift.errors import RecipeError, require_run

    if (clean / "plan.json").is_file():
        if entry is None or runs:
            raise RecipeError(f"{clean} is the folder of a study: name one of its entries, --entry NAME, instead of run folders")
        from segshift.engine.run import slug
        from segshift.study.diagnosis import diagnose_study

        found = diagnose_study(clean, entry, null, threshold, granularity)
        for title, (diagnosis, notes) in found.items():
            typer.echo(f"{title}:")
            write(diagnosis, notes, top, out / slug(title) if len(found) > 1 else out)
        return
    if not runs or entry is not None:
        raise RecipeError("name the run folders to compare with the clean one: segshift diagnose CLEAN RUN...; --entry belongs to studies")
    for path in (clean, *runs, *([Path(null)] if null else [])):
        require_run(path)
    from segshift.engine.diagnosis import diagnose_runs
    from segshift.engine.run import Run

    control = None if null is None else Run.open(null)
    diagnosis, notes = diagnose_runs(Run.open(clean), [Run.open(path) for path in runs], threshold, granularity, control)
    write(diagnosis, notes, top, out)


def write(diagnosis: Diagnosis, notes: list[str], top: int | None, out: Path) -> None:
    """Prints a diagnosis and writes its files."""
    from segshift.engine.checkpoint import write_atomic
    from segshift.report.parameter_figures import heat_map, similarity_figure

    if top is None:
        top = min(50, len(next(iter(diagnosis.shifts.values())).learnable))
    for line in describe(diagnosis, top):
        typer.echo(line)
    files: dict[str, bytes | str] = {
        "diagnosis.json": diagnosis.to_json(),
        "layers.csv": diagnosis.to_csv(),
        "top.csv": diagnosis.agreement_csv(top),
        "similarity.png": similarity_figure(diagnosis, format="png"),
        "top.png": heat_map(diagnosis, min(top, 30), "png"),
    }
    for name, content in files.items():
        write_atomic(out / name, content)
    for note in notes:
        typer.echo(f"note: {note}")
    typer.echo(f"{', '.join(files)} in {out}; tune what moved most with --tuning top-k --diagnosis {out} --k {min(top, 10)}")


def describe(diagnosis: Diagnosis, top: int) -> list[str]:
    """Shift by kind and target, how much the targets agree, and the layers that moved most, as lines."""
    from segshift.models.layers import KINDS

    kinds = [kind for kind in KINDS if any(layer.kind == kind for layer in next(iter(diagnosis.shifts.values())).layers)]
    width = max(len(target) for target in (*diagnosis.shifts, "shift, %"))
    lines = ["  ".join(["shift, %".ljust(width), *(kind.rjust(max(len(kind), 6)) for kind in kinds)])]
    for target, shift in diagnosis.shifts.items():
        means = []
        for kind in kinds:
            layers = [layer for layer in shift.layers if layer.kind == kind]
            mean = 100 * sum(layer.shift * layer.values for layer in layers) / sum(layer.values for layer in layers)
            means.append(f"{mean:.1f}".rjust(max(len(kind), 6)))
        lines.append("  ".join([target.ljust(width), *means]))
    runs, lists = len(diagnosis.shifts), diagnosis.agreement(top)
    consistent = {name for name, targets in lists.items() if len(targets) == runs}
    if runs > 1:
        lines.append(f"of the {top} layers that moved most, {len(consistent)} are the same for all {runs} runs, {len(lists) - len(consistent)} are not")
    most = [(layer, shift) for layer, shift in diagnosis.ranked() if layer.name in consistent][:10]
    if most:
        lines.append(f"moved most{', of those' if runs > 1 else ''} (shift, %{', mean over the runs' if runs > 1 else ''}):")
    return [*lines, *(f"  {100 * shift:5.1f}  {layer.name}" for layer, shift in most)]
