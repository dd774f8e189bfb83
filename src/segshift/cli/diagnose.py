"""segshift diagnose"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from segshift.diagnose import Diagnosis


def command(
    clean: Annotated[Path, typer.Argument(help="Run folder of the clean model, or the folder of a study.")],
    runs: Annotated[
        list[str] | None, typer.Argument(help="Run folders of the models that were fitted to other domains, [LABEL:=]RUN; of a study none.")
    ] = None,
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
    from segshift.cli.console import label_and_domain, say_done
    from segshift.errors import RecipeError, require_run

    if (clean / "plan.json").is_file():
        if entry is None or runs:
            raise RecipeError(f"{clean} is the folder of a study: name one of its entries, --entry NAME, instead of run folders")
        from segshift.engine.run import slug
        from segshift.study.diagnosis import diagnose_study

        found = diagnose_study(clean, entry, null, threshold, granularity)
        said = []
        for title, (diagnosis, notes) in found.items():
            said += [f"{title}:", *write(diagnosis, notes, top, out / slug(title) if len(found) > 1 else out)]
        say_done(said)
        return
    if not runs or entry is not None:
        raise RecipeError("name the run folders to compare with the clean one: segshift diagnose CLEAN RUN...; --entry belongs to studies")
    named = [label_and_domain(text) if ":=" in text else (None, text) for text in runs]
    for path in (clean, *(Path(path) for _, path in named), *([Path(null)] if null else [])):
        require_run(path)
    from segshift.engine.diagnosis import diagnose_runs
    from segshift.engine.run import Run

    control = None if null is None else Run.open(null)
    others = [Run.open(path) for _, path in named]
    diagnosis, notes = diagnose_runs(Run.open(clean), others, threshold, granularity, control, [label for label, _ in named])
    say_done(write(diagnosis, notes, top, out))


def write(diagnosis: Diagnosis, notes: list[str], top: int | None, out: Path) -> list[str]:
    """Writes the files of a diagnosis; what is to be said of it comes back."""
    from segshift.report.diagnosis import PRINTED, describe_diagnosis, listed, write_diagnosis

    files = write_diagnosis(diagnosis, out, top)
    k = min(listed(diagnosis, top), PRINTED)
    hint = f"{', '.join(files)} in {out}; tune what moved most with --tuning top-k --diagnosis {out} --k {k}"
    return [*describe_diagnosis(diagnosis, top), *(f"note: {note}" for note in notes), hint]
