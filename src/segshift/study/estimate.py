"""How long a study takes: a short trial of every kind of run, multiplied by the images that each run works through."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

import torch

from segshift.data.dataset import open_domain
from segshift.data.domain import parse_domain
from segshift.engine.execute import execute
from segshift.engine.folder import read_domains
from segshift.engine.loading import ResizedSamples, collate, to_batch
from segshift.engine.logs import Reporter
from segshift.engine.processes import choose_device
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.engine.train import Interrupted
from segshift.errors import UserError
from segshift.methods import METHODS, Method
from segshift.models import create_model
from segshift.study.plan import Entry

STEPS = 4
"""Optimizer steps of a trial; the first one is not counted."""


@final
@dataclass(frozen=True)
class Estimate:
    """Seconds of all runs one after another, of those of each entry, and of how many kinds the trial was made."""

    seconds: float
    entries: Mapping[str, float]
    kinds: int
    trial_seconds: float


class _Enough(Interrupted):
    """The trial has what it needs."""


@final
class _Clock(Reporter):
    """Measures the time an image from the second step on, then stops the training."""

    def __init__(self) -> None:
        super().__init__(None)
        self.steps, self.images, self.start, self.rate = 0, 0, 0.0, 0.0

    def advance(self, images: int, note: str = "") -> None:
        """A step is done."""
        self.steps += 1
        now = time.perf_counter()
        if self.steps == 1:
            self.start = now
        else:
            self.images += images
            self.rate = (now - self.start) / self.images
        if self.steps >= STEPS:
            raise _Enough


def estimate(entries: Sequence[Entry], sizes: Callable[[str], int]) -> Estimate:
    """Tries one run of every kind (model, sizes, batch, method, tuning) and adds up. `sizes` gives the number of images of a domain.

    What is trained already is only tested, on what it was not tested on.
    """
    start = time.perf_counter()
    learning: dict[str, float] = {}
    predicting: dict[str, float] = {}
    total: dict[str, float] = {}
    for entry in entries:
        recipe = entry.planned.recipe
        method = METHODS[recipe.method.name](**recipe.method.options)
        trained, tested = _done(entry)
        model = str((recipe.model, recipe.data.size, recipe.training.batch_size))
        if model not in predicting:
            read = [*recipe.data.tests.values(), *(name for name, _, _ in read_domains(recipe, method).values())]
            predicting[model] = _time_prediction(recipe, read[0])
        seconds = predicting[model] * sum(sizes(domain) for name, domain in recipe.evaluated_tests.items() if name not in tested)
        if not trained:
            kind = str((model, recipe.method, recipe.tuning))
            if kind not in learning:
                learning[kind] = _time_training(recipe) if method.kind == "trains" else predicting[model]
            seconds += learning[kind] * _images_learned(recipe, method, sizes)
        total[entry.planned.entry] = total.get(entry.planned.entry, 0.0) + seconds
    return Estimate(sum(total.values()), total, len({*learning, *predicting}), time.perf_counter() - start)


def _done(entry: Entry) -> tuple[bool, set[str]]:
    """Whether a run is trained already, and the labels that it was tested on."""
    with suppress(UserError):
        run = Run.open(entry.folder)
        if run.record["status"] == "finished":
            return True, {evaluation.name for evaluation in run.evaluations()}
    return False, set()


def _images_learned(recipe: Recipe, method: Method, sizes: Callable[[str], int]) -> float:
    """Images that a run trains on, or reads once where it estimates; validation counts as a quarter of a training step, its forward pass."""
    counts = {role: sizes(name) for role, (name, _, _) in read_domains(recipe, method).items()}
    if method.kind != "trains":
        return float(sum(counts.values()))
    labelled = [role for role in ("source", "target") if f"{role}_labels" in method.sees]
    learned = counts[labelled[0]] if labelled else counts["target"]
    return recipe.training.epochs * (learned + counts.get("validation", 0) / (4 * recipe.training.validate_every))


def _time_training(recipe: Recipe) -> float:
    """Seconds an image, over a few steps of a training that is thrown away."""
    clock = _Clock()
    content = recipe.model_dump(mode="json")
    content["data"] |= {"tests": {}, "validation": None}
    content["model"] |= {"weights": "none", "head": "parent"}  # it starts from nothing, whatever it would start from
    content["compute"] |= {"trackers": [], "cache": None}  # what is kept would be counted as trained
    if recipe.tuning.name == "top-k":  # as many tensors, of which what moves is not known yet
        content["tuning"] = {**content["tuning"], "name": "random-k"}
        content["tuning"].pop("diagnosis", None)
    with TemporaryDirectory(prefix="segshift-trial-") as folder, suppress(_Enough):
        execute(validate_recipe(content, ("training.epochs=1000",)), Path(folder) / "trial", reporter=clock)
    return clock.rate


def _time_prediction(recipe: Recipe, domain: str) -> float:
    """Seconds to read, resize and predict an image, over two batches."""
    parsed = parse_domain(domain)
    filters = dict(parsed.filters)
    count = 2 * recipe.training.batch_size
    filters["first"] = str(min(count, int(filters.get("first", count))))
    samples = ResizedSamples(open_domain(replace(parsed, filters=tuple(sorted(filters.items()))), depth=False, labels=False), recipe.data.size)
    device = torch.device(choose_device(recipe.compute.device))
    model = create_model(recipe.model.architecture, encoder=recipe.model.encoder, classes=19, **recipe.model.options).to(device).eval()
    start = time.perf_counter()
    with torch.no_grad():
        for index in range(len(samples)):
            batch = to_batch(collate([samples[index]]), device)
            model(batch.images).sum().item()
    return (time.perf_counter() - start) / len(samples)
