"""What a tuning may change, shown before training: the four switches by part, or phase by phase; and what it lets learn while it trains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from segshift.engine.checkpoint import write_atomic
from segshift.engine.logs import Reporter
from segshift.models import SegmentationModel
from segshift.tuning import Progress, Selection, Switches, Tuning, describe_selection
from segshift.tuning.phased import Phased


def show_selection(model: SegmentationModel, tuning: Tuning, reporter: Reporter, features_kept: bool) -> None:
    """The table; `features_kept` says that the encoder's maps are computed once, which takes its dropout out."""
    if reporter.console is None:
        return
    if tuning.selection.phases:
        show_phases(model, tuning.selection.phases, reporter.console)
    else:
        show_parts(model, tuning.selection, reporter.console)
    dropout = "on" if tuning.selection.dropout else "off"
    reporter.say(f"dropout: {dropout}{', off in the encoder, whose maps are computed once' if features_kept and tuning.selection.dropout else ''}")
    if tuning.selection.note:
        reporter.say(tuning.selection.note, "yellow")


def show_parts(model: SegmentationModel, chosen: Selection, console: Console) -> None:
    """A row a part of the network, the total last."""
    table = _table("what may change", "part")
    for row in describe_selection(model, chosen):
        table.add_row(row.part, *_cells(row))
    console.print(table)


def show_phases(model: SegmentationModel, phases: tuple[Selection, ...], console: Console) -> None:
    """A row a phase: the whole network, and the share of the encoder that learns."""
    table = _table(f"what may change, in {len(phases)} phases", "phase", "of the encoder")
    for number, chosen in enumerate(phases, 1):
        encoder, *_, total = describe_selection(model, chosen)
        table.add_row(str(number), *_cells(total), _share(encoder))
    console.print(table)


def warn_of_phases(tuning: Tuning, epochs: int, reporter: Reporter) -> None:
    """Says where training ends before the last phase."""
    if isinstance(tuning, Phased):
        end = Progress(1000 * epochs - 1, 1000, 1000 * epochs)
        reached, phases = tuning.phase_at(end) + 1, len(tuning.selection.phases)
        if reached < phases:
            reporter.say(f"{epochs} epochs reach phase {reached} of {phases}: what the later ones open stays frozen; give training.epochs more", "yellow")


def keep_rates(folder: Path | None, rates: Mapping[str, float], epoch: int) -> dict[str, float | int]:
    """Writes each tensor's share of the learning rate in this epoch to FOLDER/rates.json; gives how many learn and their median share."""
    if folder is not None:
        write_atomic(folder / "rates.json", json.dumps({"epoch": epoch + 1, "rates": dict(rates)}, indent=1) + "\n")
    learning = [rate for rate in rates.values() if rate > 0]
    return {"tensors_learning": len(learning), "median_rate": median(learning) if learning else 0.0}


def _table(title: str, first: str, *more: str) -> Table:
    table = Table(title=title, box=None, title_justify="left")
    for column in (first, "tensors", "parameters", "learn", "share", "norms learn", "statistics move", *more):
        table.add_column(column, justify="left" if column == first else "right")
    return table


def _cells(row: Switches) -> list[str]:
    """Of a row, behind its name."""
    return [
        f"{row.tensors_learn}/{row.tensors}",
        f"{row.parameters:,}",
        f"{row.parameters_learn:,}",
        _share(row),
        f"{row.norms_learn}/{row.norms}",
        f"{row.statistics_update}/{row.norms}",
    ]


def _share(row: Switches) -> str:
    return f"{row.parameters_learn / row.parameters:.1%}" if row.parameters else "-"
