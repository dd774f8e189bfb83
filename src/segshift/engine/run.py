"""A run folder: what was asked (recipe.yaml), what it is (run.json), how it went (metrics.jsonl), its weights and its evaluations.

RUN/recipe.yaml   run.json   metrics.jsonl   last.safetensors   [best.safetensors]   evaluations/NAME.json + NAME.npz   [tensorboard/]   [wandb/]
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, final
from zipfile import BadZipFile

import numpy as np
import yaml
from torch import Tensor

from segshift.data.label_space import LABEL_SPACES, LabelSpace
from segshift.engine.checkpoint import hash_tensors, load_state, write_atomic
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.recipe import Recipe
from segshift.errors import MissingDataError, RecipeError, TrainingError, WeightsError, require_run
from segshift.models import SegmentationModel, create_model, load_into

SCHEMA = 1


@final
class Run:
    """One run folder, finished or not."""

    def __init__(self, path: Path, record: dict[str, Any]) -> None:
        self.path = path
        self.record = record
        self.writes = True
        """Several processes share a run; the first alone writes."""

    @classmethod
    def open(cls, path: Path | str) -> Run:
        """Reads a run folder; MissingDataError where there is none, WeightsError where its record is damaged."""
        path = Path(path)
        require_run(path)
        file = path / "run.json"
        try:
            record = json.loads(file.read_text())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise WeightsError(f"{file} is damaged: run it again") from error
        return cls(path, record)

    def require_finished(self) -> None:
        """RecipeError where the run has not ended: its weights are not what its recipe asks for."""
        if self.record["status"] != "finished":
            raise RecipeError(f"{self.path} is {self.record['status']}, not finished: go on with --resume first")

    def require_standalone(self) -> None:
        """RecipeError where the run adapts while it predicts: its weights alone are those that it began with."""
        if self.record.get("online"):
            method = self.record["method"]
            raise RecipeError(
                f"{self.path} adapts while it predicts ({method}), and without it its weights are those of its source model: take that run, "
                f"a run with --target, or `segshift watch SOURCE FOLDER --method {method} --predictions OUT`"
            )

    @property
    def name(self) -> str:
        """A short name for tables."""
        return str(self.record["name"])

    @cached_property
    def recipe(self) -> Recipe:
        """The complete recipe."""
        return validate_recipe(yaml.safe_load((self.path / "recipe.yaml").read_text()), (), str(self.path / "recipe.yaml"))

    @property
    def label_space(self) -> LabelSpace:
        """What the model's classes mean."""
        space = label_space_of(self.record["label_space"])
        return space if isinstance(self.record["label_space"], str) else replace(space, origin=str(self.path))

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that the model sees."""
        return self.recipe.data.size

    def parent(self) -> Run | None:
        """The run that this one started from."""
        parent = self.record.get("parent")
        if not parent:
            return None
        path = Path(parent["path"])
        return Run.open(path if path.is_absolute() else self.path / path)

    def checkpoint(self, name: str | None = None) -> Path:
        """The file of `last` or `best`; by default the one that the run's recipe says is tested."""
        return self.path / f"{name or self.record['tested_checkpoint']}.safetensors"

    def build_model(self) -> SegmentationModel:
        """The network of the run, with random weights."""
        described = self.record["model"]
        return create_model(described["architecture"], encoder=described["encoder"], classes=described["classes"], **described.get("options", {}))

    def weights(self, checkpoint: str | None = None) -> dict[str, Tensor]:
        """The state dict of the model that the run gives, on the CPU."""
        state = load_state(self.checkpoint(checkpoint), only=("model", "predictor"))
        found: dict[str, Tensor] = state["predictor"] if state.get("predictor") is not None else state["model"]
        return found

    def load_model(self, checkpoint: str | None = None) -> SegmentationModel:
        """The model that the run gives, in evaluation mode, on the CPU."""
        weights, model = self.weights(checkpoint), self.build_model()
        load_into(model, weights, str(self.checkpoint(checkpoint)))
        return model.eval()

    def model_hash(self, checkpoint: str | None = None) -> str:
        """Hash of the weights that `load_model` gives."""
        return hash_tensors(self.weights(checkpoint))

    def update(self, **fields: Any) -> None:
        """Changes the record, on disk too."""
        self.record.update(fields)
        if self.writes:
            write_atomic(self.path / "run.json", _json(self.record))

    def evaluations(self) -> list[Evaluation]:
        """Everything it was tested on, in the order of the names."""
        return [Evaluation.open(file) for file in sorted((self.path / "evaluations").glob("*.json"))]

    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl; one that is being written, or that a kill cut off, is left out."""
        file = self.path / "metrics.jsonl"
        lines = []
        for line in file.read_text().splitlines() if file.is_file() else ():
            with suppress(json.JSONDecodeError):
                lines.append(json.loads(line))
        return lines


@final
@dataclass(frozen=True)
class Evaluation:
    """One test of one run: its record, and one confusion matrix an image, read when asked for."""

    record: Mapping[str, Any]
    arrays: Path

    @classmethod
    def open(cls, file: Path) -> Evaluation:
        """Reads the record NAME.json; the matrices lie beside it in NAME.npz."""
        try:
            return cls(json.loads(file.read_text()), file.with_suffix(".npz"))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise WeightsError(f"{file} is damaged: evaluate again") from error

    @property
    def name(self) -> str:
        """The short name of the domain in tables."""
        return str(self.record["name"])

    @cached_property
    def confusions(self) -> np.ndarray:
        """(N, K, K) integers, rows are the truth."""
        return self._array("confusions").astype(np.int64)

    @cached_property
    def names(self) -> list[str]:
        """The images' names."""
        return [str(name) for name in self._array("names")]

    @cached_property
    def blocks(self) -> list[str]:
        """The bootstrap's blocks, one an image."""
        return [str(block) for block in self._array("blocks")]

    @cached_property
    def score_counts(self) -> np.ndarray:
        """(2, K, bins) integers: pixels of other classes and of the class by its score. MissingDataError where it was tested without curves."""
        if "curves" not in self.record:
            folder, checkpoint = self.arrays.parent.parent, str(self.record["checkpoint"])
            label = self.name.removesuffix(f" ({checkpoint} checkpoint)")
            other = f" --checkpoint {checkpoint}" if label != self.name else ""
            again = f"segshift evaluate {folder} --domain '{label}:={self.record['domain']}'{other} --curves"
            raise MissingDataError(f"{self.name} in {folder} has no curves: `{again}`")
        return self._array("scores").astype(np.int64)

    def _array(self, key: str) -> np.ndarray:
        try:
            with open(self.arrays, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                found: np.ndarray = arrays[key]
                return found
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise WeightsError(f"{self.arrays} is missing or damaged: evaluate again") from error


def write_evaluation(
    run: Run,
    record: Mapping[str, Any],
    confusions: np.ndarray,
    names: Sequence[str],
    blocks: Sequence[str],
    score_counts: np.ndarray | None = None,
) -> Evaluation:
    """Keeps an evaluation in the run folder, arrays first, so that a record never stands without them."""
    file = run.path / "evaluations" / f"{slug(str(record['name']))}.json"
    buffer = io.BytesIO()
    arrays = {"confusions": _narrowed(confusions), "names": np.array(names), "blocks": np.array(blocks)}
    if score_counts is not None:
        arrays["scores"] = _narrowed(score_counts)
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # numpy's signature mixes the arrays with its one option
    write_atomic(file.with_suffix(".npz"), buffer.getvalue())
    write_atomic(file, _json(record))
    return Evaluation.open(file)


def evaluate_command(run: Run, wanted: Iterable[tuple[str, str]]) -> str:
    """The command that tests a run on these (label, domain), a label that it has already with a number behind it."""
    names = {evaluation.name for evaluation in run.evaluations()}
    words = ["segshift", "evaluate", str(run.path)]
    for label, domain in wanted:
        free = label if label not in names else next(name for number in count(2) if (name := f"{label} {number}") not in names)
        names.add(free)
        words += ["--domain", f"{free}:={domain}"]
    return shlex.join(words)


def _narrowed(counts: np.ndarray) -> np.ndarray:
    """Counts in 32 bits where they fit."""
    return counts.astype(np.uint32 if counts.max(initial=0) < 2**32 else np.uint64)


def create_folder(folder: Path, recipe: Recipe, record: Mapping[str, Any]) -> None:
    """A new run folder with its recipe and its record, both or none: written beside it under another name, then renamed."""
    staged = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(staged, ignore_errors=True)
    try:
        write_atomic(staged / "recipe.yaml", recipe.to_yaml())
        write_atomic(staged / "run.json", _json(record))
        try:
            for name in ("recipe.yaml", "run.json", "metrics.jsonl"):  # of a run that failed before it had weights
                (folder / name).unlink(missing_ok=True)
            for name in ("tensorboard", "wandb"):
                shutil.rmtree(folder / name, ignore_errors=True)
            staged.replace(folder)
        except OSError as error:
            raise TrainingError(f"cannot create {folder} ({error.strerror}): choose another --out") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def label_space_of(described: str | Mapping[str, Any]) -> LabelSpace:
    """A label space by name, or from its own description where a mapping file made it."""
    if isinstance(described, str):
        return LABEL_SPACES[described]
    return LabelSpace(described["name"], tuple(described["classes"]), tuple(tuple(c) for c in described["colors"]), None)


def describe_label_space(space: LabelSpace) -> str | dict[str, Any]:
    """What `label_space_of` reads."""
    if LABEL_SPACES.get(space.name) == space:
        return space.name
    return {"name": space.name, "classes": list(space.classes), "colors": [list(color) for color in space.colors]}


def slug(text: str, signs: str = ".=@") -> str:
    """A file name for a text, of letters, digits, hyphens and `signs`; texts that would share one get a part of their hash."""
    name = re.sub(rf"[^A-Za-z0-9{re.escape(signs)}-]+", "-", text).strip("-.")
    return name if name == text else "-".join([*filter(None, [name]), hashlib.sha256(text.encode()).hexdigest()[:6]])


def _json(value: Any) -> str:
    """Indented JSON without NaN, which JSON does not have: null instead."""
    return json.dumps(_plain(value), indent=2, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
