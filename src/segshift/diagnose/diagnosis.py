"""A diagnosis of several targets against one clean model, as a file: what moved, where it is consistent, and what the tuning `top-k` reads."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, final

from segshift.diagnose.parameter_shift import LayerShift, ParameterShift
from segshift.errors import MissingDataError, ModelError, RecipeError, WeightsError
from segshift.models import SegmentationModel

SCHEMA = 1


@final
@dataclass(frozen=True)
class Moved:
    """A layer among those that moved most: its place in `Diagnosis.ranked` from 1, and means over the targets; `excess` is None without a null control.

    `ranks` are its places in the targets' own rankings, from 1; `lists` counts those of at most k, the k of `Diagnosis.moved_most`.
    """

    rank: int
    layer: LayerShift
    shift: float
    relative_norm: float
    excess: float | None
    ranks: Mapping[str, int]
    lists: int


@final
@dataclass(frozen=True)
class Diagnosis:
    """The shift of each target, by name, from the clean model of that name; all of one anatomy, threshold and granularity."""

    clean: str
    shifts: Mapping[str, ParameterShift]

    def __post_init__(self) -> None:
        if not self.shifts:
            raise RecipeError("a diagnosis needs a target beside the clean model: name one run or more")

    def ranked(self) -> tuple[tuple[LayerShift, float], ...]:
        """The learnable tensors with their mean shift over the targets, most first; of equal ones the first in the forward pass."""
        columns = list(zip(*(shift.learnable for shift in self.shifts.values()), strict=True))
        means = [(layers[0], fmean(layer.shift for layer in layers)) for layers in columns]
        return tuple(sorted(means, key=lambda pair: (-pair[1], pair[0].depth)))

    def agreement(self, k: int) -> dict[str, tuple[str, ...]]:
        """The layers that are among the k that moved most for at least one target, in forward order, with those targets.

        With all targets a layer is consistent, with some it fluctuates.
        """
        chosen = {target: {layer.name for layer in shift.top(k)} for target, shift in self.shifts.items()}
        order = next(iter(self.shifts.values())).layers
        found = {layer.name: tuple(target for target, names in chosen.items() if layer.name in names) for layer in order}
        return {name: targets for name, targets in found.items() if targets}

    def moved_most(self, k: int) -> tuple[Moved, ...]:
        """The k that `top-k` tunes, and whatever else is among the k that moved most for a target, in the order of `ranked`.

        Raises RecipeError for a k below 1 or above their number.
        """
        lists = self.agreement(k)
        ranks = {target: {layer.name: rank for rank, layer in enumerate(shift.ranked(), 1)} for target, shift in self.shifts.items()}
        columns = {same[0].name: same for same in zip(*(shift.learnable for shift in self.shifts.values()), strict=True)}
        found = []
        for rank, (layer, shift) in enumerate(self.ranked(), 1):
            if rank <= k or layer.name in lists:
                same = columns[layer.name]
                excess = [each.excess for each in same if each.excess is not None]
                own = {target: places[layer.name] for target, places in ranks.items()}
                norm = fmean(each.relative_norm for each in same)
                found.append(Moved(rank, layer, shift, norm, fmean(excess) if excess else None, own, len(lists.get(layer.name, ()))))
        return tuple(found)

    def require_model(self, model: SegmentationModel, path: str) -> None:
        """ModelError where the diagnosis was made of another anatomy, with the tensors that differ."""
        sizes = {name: value.numel() for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
        found = {layer.name: layer.values for layer in next(iter(self.shifts.values())).layers}
        wrong = [name for name in {**found, **sizes} if found.get(name) != sizes.get(name)]
        if wrong:
            raise ModelError(
                f"{path} is the diagnosis of another model than {model.architecture} / {model.encoder_name}: {len(wrong)} tensors differ "
                f"({', '.join(wrong[:3])}{', ...' if len(wrong) > 3 else ''}); diagnose runs of this one"
            )

    def to_json(self) -> str:
        """What `read_diagnosis` reads."""
        first = next(iter(self.shifts.values()))
        content = {
            "schema": SCHEMA,
            "clean": self.clean,
            "threshold": first.threshold,
            "granularity": first.granularity,
            "targets": {target: [_plain(layer) for layer in shift.layers] for target, shift in self.shifts.items()},
        }
        return json.dumps(content, indent=1, allow_nan=False) + "\n"

    def fingerprint(self) -> str:
        """SHA-256 of all that it says."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_csv(self) -> str:
        """A line a tensor and target, in forward order."""
        text = io.StringIO()
        fields = ["target", "name", "kind", "depth", "values", "similarity", "shift", "relative_norm", "null_similarity", "excess"]
        writer = csv.DictWriter(text, fields, lineterminator="\n")
        writer.writeheader()
        for target, shift in self.shifts.items():
            for layer in shift.layers:
                writer.writerow({"target": target, **asdict(layer), "shift": layer.shift, "excess": layer.excess})
        return text.getvalue()

    def top_csv(self, k: int) -> str:
        """`moved_most` as a table: a line a layer, `lists` the targets that have it among their k, and its rank in each."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["rank", "layer", "kind", "shift", "relative_norm", "excess", "lists", *(f"rank in {target}" for target in self.shifts)])
        for moved in self.moved_most(k):
            layer = moved.layer
            writer.writerow([moved.rank, layer.name, layer.kind, moved.shift, moved.relative_norm, moved.excess, moved.lists, *moved.ranks.values()])
        return text.getvalue()


def as_diagnosis(found: str | Path | Diagnosis | ParameterShift) -> Diagnosis:
    """The diagnosis in a file or folder, or what `compare_parameters` gave as a diagnosis of one target. RecipeError for anything else."""
    if isinstance(found, ParameterShift):
        return Diagnosis("clean", {"other": found})
    if isinstance(found, Diagnosis):
        return found
    if not isinstance(found, str | Path):
        raise RecipeError(f"a diagnosis is the folder that `segshift diagnose` wrote, or what ss.compare_parameters gave, not a {type(found).__name__}")
    return read_diagnosis(found)


def read_diagnosis(path: str | Path) -> Diagnosis:
    """The diagnosis in a file, or in the folder that `segshift diagnose` wrote.

    Raises MissingDataError where there is none, WeightsError where it is damaged or of another version.
    """
    file = Path(path) / "diagnosis.json" if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise MissingDataError(f"no diagnosis at {path}: make one with `segshift diagnose CLEAN RUN... --out FOLDER`")
    try:
        content = json.loads(file.read_text())
        if content["schema"] != SCHEMA or not content["targets"]:
            raise KeyError("schema")
        shifts = {
            target: ParameterShift(tuple(_layer(layer) for layer in layers), content["threshold"], content["granularity"])
            for target, layers in content["targets"].items()
        }
        return Diagnosis(content["clean"], shifts)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{file} is no diagnosis, or one of another version: make it again with `segshift diagnose`") from error


def _plain(layer: LayerShift) -> dict[str, Any]:
    """Without infinity, which JSON does not have: null instead."""
    return {**asdict(layer), "relative_norm": layer.relative_norm if math.isfinite(layer.relative_norm) else None}


def _layer(plain: Mapping[str, Any]) -> LayerShift:
    return LayerShift(**{**plain, "relative_norm": math.inf if plain["relative_norm"] is None else plain["relative_norm"]})
