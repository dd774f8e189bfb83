"""How long a study takes: a short trial of every kind of run, multiplied by the images that each run works through."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.recipe import Recipe
from segshift.engine.train import Interrupted
from segshift.methods import METHODS
from segshift.models import create_model
from segshift.study.plan import Entry

STEPS = 4
"""Optimizer steps of a trial; the first one is not counted."""


@final
@dataclass(frozen=True)
class Estimate:
    """Seconds of all runs one after another, and of how many kinds the trial was made."""

    seconds: float
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
    """Tries one run of every kind (model, sizes, batch, method, tuning) and adds up. `sizes` gives the number of images of a domain."""
    start = time.perf_counter()
    rates: dict[str, tuple[float, float]] = {}
    total = 0.0
    for entry in entries:
        recipe = entry.planned.recipe
        kind = str((recipe.model, recipe.data.size, recipe.training.batch_size, recipe.method, recipe.tuning))
        if kind not in rates:
            rates[kind] = _try(recipe)
        learn, test = rates[kind]
        total += learn * _images_learned(recipe, sizes) + test * sum(sizes(domain) for domain in recipe.data.tests.values())
    return Estimate(total, len(rates), time.perf_counter() - start)


def _images_learned(recipe: Recipe, sizes: Callable[[str], int]) -> float:
    """Images that a run trains on, or reads once where it estimates; validation counts as a quarter of a training step, its forward pass."""
    method = METHODS[recipe.method.name](**recipe.method.options)
    counts = {role: sizes(name) for role, (name, _, _) in read_domains(recipe, method).items()}
    if method.kind != "trains":
        return float(sum(counts.values()))
    labelled = [role for role in ("source", "target") if f"{role}_labels" in method.sees]
    learned = counts[labelled[0]] if labelled else counts["target"]
    return recipe.training.epochs * (learned + counts.get("validation", 0) / (4 * recipe.training.validate_every))


def _try(recipe: Recipe) -> tuple[float, float]:
    """Seconds an image of learning and of predicting."""
    method = METHODS[recipe.method.name](**recipe.method.options)
    domains = read_domains(recipe, method)
    predict = _time_prediction(recipe, next(iter(domains.values()))[0])
    if method.kind != "trains":
        return predict, predict
    clock = _Clock()
    content = recipe.model_dump(mode="json")
    content["data"] |= {"tests": {}, "validation": None}
    content["model"]["weights"] = "none"
    with TemporaryDirectory(prefix="segshift-trial-") as folder, suppress(_Enough):
        execute(validate_recipe(content, ("training.epochs=1000",)), Path(folder) / "trial", reporter=clock)
    return clock.rate, predict


def _time_prediction(recipe: Recipe, domain: str) -> float:
    """Seconds to read, resize and predict an image, over two batches."""
    parsed = parse_domain(domain)
    filters = dict(parsed.filters)
    count = 2 * recipe.training.batch_size
    filters["first"] = str(min(count, int(filters.get("first", count))))
    samples = ResizedSamples(open_domain(replace(parsed, filters=tuple(sorted(filters.items()))), depth=False, labels=False), recipe.data.size)
    model = create_model(recipe.model.architecture, encoder=recipe.model.encoder, classes=19, **recipe.model.options).eval()
    start = time.perf_counter()
    with torch.no_grad():
        for index in range(len(samples)):
            batch = to_batch(collate([samples[index]]), torch.device("cpu"))
            model(batch.images)
    return (time.perf_counter() - start) / len(samples)
