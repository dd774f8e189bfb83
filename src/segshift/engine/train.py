"""The one training loop. Methods say what a step is, tunings what may change; this file owns position, checkpoints and interruptions."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any, NoReturn, final

import torch
from lightning_fabric import Fabric
from torch import Tensor

from segshift.data.dataset import DomainDataset
from segshift.data.transforms import JointTransform
from segshift.engine.checkpoint import load_state, save_state
from segshift.engine.features import KeptFeatures, require_frozen_encoder
from segshift.engine.loading import EndlessSampler, TrainingSamples, generator_of, to_batch, training_loader, visible
from segshift.engine.logs import MetricsFile, Reporter, duration
from segshift.engine.processes import any_process, gather_names, mean_over_processes
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.engine.scoring import Scores, score, without_gradients
from segshift.engine.stepper import FabricStepper, NonFiniteError
from segshift.engine.stopping import stop_requests
from segshift.engine.switches import keep_rates
from segshift.engine.tracking import Tracking
from segshift.errors import DataError, TrainingError
from segshift.methods import TrainingMethod
from segshift.metrics import miou
from segshift.models import SegmentationModel
from segshift.tuning import Tuning, apply_selection, set_train_mode
from segshift.types import ROLES, Batch


class Interrupted(Exception):
    """The user, or the system, asked to stop; everything is saved."""


def run_training(
    run: Run,
    recipe: Recipe,
    model: SegmentationModel,
    method: TrainingMethod,
    tuning: Tuning,
    datasets: Mapping[str, DomainDataset],
    validation: DomainDataset | None,
    fabric: Fabric,
    reporter: Reporter,
    tracking: Tracking,
    resume: bool,
) -> None:
    """Trains in the run folder until the last epoch, or raises Interrupted with everything saved."""
    session = _Session(run, recipe, model, method, tuning, datasets, validation, fabric, reporter, tracking)
    if resume:
        session.load()
    # Dropout draws from the global generator: seeded a micro-batch at a time from (seed, its number), and given back as it was.
    with torch.random.fork_rng(), stop_requests() as stop:
        session.train(stop)


@final
class _Session:
    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        model: SegmentationModel,
        method: TrainingMethod,
        tuning: Tuning,
        datasets: Mapping[str, DomainDataset],
        validation: DomainDataset | None,
        fabric: Fabric,
        reporter: Reporter,
        tracking: Tracking,
    ) -> None:
        self.run, self.recipe, self.model, self.method, self.tuning = run, recipe, model, method, tuning
        self.validation, self.fabric, self.reporter, self.tracking = validation, fabric, reporter, tracking
        self.sees = method.sees
        self.roles = [role for role in ROLES if role in self.sees]
        self.datasets = {role: datasets[role] for role in self.roles}
        batch = recipe.training.batch_size
        self.samplers = {
            role: EndlessSampler(len(dataset), batch, recipe.seed * 2 + number, stride=fabric.world_size)
            for number, (role, dataset) in enumerate(self.datasets.items())
        }
        # An epoch is one pass over the domain whose labels are learned; without labels, over the target.
        labelled = [role for role in self.roles if f"{role}_labels" in self.sees]
        self.primary = labelled[0] if labelled else self.roles[-1]
        self.window = recipe.training.accumulation * fabric.world_size  # micro-batches a step, of all processes
        self.steps_per_epoch = max(self.samplers[self.primary].batches_per_epoch // self.window, 1)
        self.total = recipe.training.epochs * self.steps_per_epoch
        reachable = tuning.reachable
        for name, parameter in model.named_parameters():  # the optimizers are built for what learns at some time; what is frozen is none of theirs
            parameter.requires_grad_(name in reachable)
        self.stepper = FabricStepper(fabric, model, method, tuning, recipe, self.total, self.steps_per_epoch)
        apply_selection(model, tuning.selection)
        if recipe.training.feature_cache is not None:
            self.stepper.features = self._keep_features(recipe.training.feature_cache)
        self.best: float | None = None
        self.best_epoch = 0
        self.trained_seconds = 0.0
        self.losses: list[float] = []  # of the epoch's steps so far
        self.epoch_seconds = 0.0
        self.since = 0.0  # when time was counted last

    def _keep_features(self, gibibytes: float) -> KeptFeatures:
        """In the folder for caches where there is one, and in the run's own until it is finished."""
        require_frozen_encoder(self.model, self.tuning, self.recipe.tuning.name)
        folder = self.run.path / "features" if self.recipe.compute.cache is None else Path(self.recipe.compute.cache).expanduser()
        data = [[role, each.fingerprint(), each.stamp()] for role, each in self.datasets.items()]
        seen = [self.recipe.data.size, self.recipe.training.precision, data]
        return KeptFeatures(self.model, self.stepper.encode, folder, seen, int(gibibytes * 2**30), self.reporter.say)

    def _set_modes(self) -> None:
        set_train_mode(self.model, self.tuning.selection)
        if self.stepper.features is not None:
            self.model.encoder.eval()  # its dropout too: maps that are kept are the same each time

    # -- state ----------------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        predictor = self.method.predictor()
        plain = self.tuning.plain_state(predictor or self.model)
        return {
            "identity": self.run.record["identity"],
            "model": dict(self.model.state_dict()),
            "predictor": plain or (None if predictor is None else dict(predictor.state_dict())),
            "stepper": self.stepper.state_dict(),
            "method": self.method.state_dict(),
            "tuning": self.tuning.state_dict(),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "seconds": self.trained_seconds,
            "epoch": {"losses": self.losses, "seconds": self.epoch_seconds},
        }

    def save(self, name: str = "last") -> None:
        if self.fabric.is_global_zero:
            save_state(self.run.path / f"{name}.safetensors", self.state())

    def load(self) -> None:
        path = self.run.path / "last.safetensors"
        if not path.is_file():
            return  # killed before the first checkpoint: from the beginning
        state = load_state(path)
        if state["identity"] != self.run.record["identity"]:
            raise DataError(f"{path} belongs to another recipe or other data: resume with what it was started with, or choose another --out")
        self.model.load_state_dict(state["model"])
        self.stepper.load_state_dict(state["stepper"])
        self.method.load_state_dict(state["method"])
        self.tuning.load_state_dict(self.fabric.to_device(state["tuning"]))
        apply_selection(self.model, self.tuning.selection)
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.trained_seconds = state["seconds"]
        self.losses, self.epoch_seconds = state["epoch"]["losses"], state["epoch"]["seconds"]

    # -- loop -----------------------------------------------------------------------------------------------------------------

    def train(self, stop: threading.Event) -> None:
        file = self.run.path / "metrics.jsonl" if self.fabric.is_global_zero else Path(os.devnull)
        metrics = MetricsFile(file, self.stepper.position, self.tracking.write)
        try:
            self.tracking.begin(self.run)
            self._epochs(stop, metrics)
        finally:
            metrics.close()
            self.reporter.end()
            if self.stepper.features is not None:
                self.stepper.features.close()

    def _epochs(self, stop: threading.Event, metrics: MetricsFile) -> None:
        streams = self._streams()
        images_a_step = self.samplers[self.primary].batch_size * self.window
        described = False  # what is kept of the encoder
        while self.stepper.position < self.total and not self._out_of_patience():
            epoch = self.stepper.position // self.steps_per_epoch
            end = min((epoch + 1) * self.steps_per_epoch, self.total)
            done = self.stepper.position - epoch * self.steps_per_epoch
            of_epoch, title = self.steps_per_epoch * images_a_step, f"epoch {epoch + 1}/{self.recipe.training.epochs}"
            self.reporter.begin(title, of_epoch, done * images_a_step, later=(self.total - end) * images_a_step)
            self.since = time.perf_counter()
            self._set_modes()
            while self.stepper.position < end:
                logged = self._step(streams)
                self.losses.append(float(logged["loss"]))
                position = self.stepper.position
                if position % 10 == 0 or position == end:
                    metrics.write("step", position, lr=self.stepper.learning_rate, **{key: float(value) for key, value in logged.items()})
                self.reporter.advance(images_a_step, f"loss {self.losses[-1]:.4f}")
                if position == end:
                    break  # validated and saved below, stop or not
                stopping = any_process(self.fabric, stop.is_set())
                if stopping or (self.recipe.training.save_every and position % self.recipe.training.save_every == 0):
                    self._count_time()
                    self.save()
                    if stopping:
                        raise Interrupted
            self._count_time()
            losses, seconds = self.losses, self.epoch_seconds
            self.losses, self.epoch_seconds = [], 0.0
            rate = len(losses) * images_a_step / max(seconds, 1e-9)
            mean = sum(losses) / len(losses)
            told = {"images": len(losses) * images_a_step, "loss": mean, "images_per_second": rate, "seconds": seconds}
            learned = self.stepper.take_confusion()
            if learned.any():
                told["miou"] = float(miou(learned))
            rates = self.tuning.rates
            if rates is not None:
                told |= keep_rates(self.run.path if self.fabric.is_global_zero else None, rates, epoch)
            metrics.write("epoch", end, epoch=epoch + 1, **told)
            note = f"loss {mean:.4f}, {rate:.1f} images/s"
            if rates is not None:
                note += f", {told['tensors_learning']} of {len(rates)} tensors learn, in the median at {told['median_rate']:.2g} of the rate"
            if self.validation is not None and ((epoch + 1) % self.recipe.training.validate_every == 0 or end == self.total):
                note += self._validate(metrics, epoch)
            self.save()
            left = (self.total - end) * seconds / max(len(losses), 1)
            self.reporter.end(note + (f", {duration(left)} left" if left else ""))
            if self.stepper.features is not None and not described:
                self.reporter.say(self.stepper.features.describe())
                described = True
            if any_process(self.fabric, stop.is_set()):
                raise Interrupted
        if self.stepper.position < self.total:
            epochs = self.stepper.position // self.steps_per_epoch
            self.run.update(ended_after_epoch=epochs)
            since = f"no validation mIoU above that of epoch {self.best_epoch} since"
            self.reporter.say(f"ended after epoch {epochs} (patience {self.recipe.training.patience}): {since}")
        self.run.update(seconds=round(self.trained_seconds, 3))
        rmtree(self.run.path / "features", ignore_errors=True)

    def _out_of_patience(self) -> bool:
        """Whether the last validation lies `training.patience` epochs or more behind the best one."""
        patience, (epoch, step) = self.recipe.training.patience, divmod(self.stepper.position, self.steps_per_epoch)
        validated = step == 0 and epoch % self.recipe.training.validate_every == 0
        return patience is not None and validated and epoch - self.best_epoch >= patience

    def _count_time(self) -> None:
        """Adds the time since the last call."""
        now = time.perf_counter()
        self.trained_seconds += now - self.since
        self.epoch_seconds += now - self.since
        self.since = now

    def _streams(self) -> dict[str, Iterator[Any]]:
        streams: dict[str, Iterator[Any]] = {}
        first = self.stepper.position * self.window + self.fabric.global_rank
        augment = self.recipe.augmentation.model_dump()
        for role, dataset in self.datasets.items():
            self.samplers[role].start = first
            samples = TrainingSamples(dataset, JointTransform(size=self.recipe.data.size, **augment), self.recipe.seed)
            streams[role] = iter(training_loader(samples, self.samplers[role], self.recipe.compute.workers))
        return streams

    def _step(self, streams: Mapping[str, Iterator[Any]]) -> dict[str, Tensor]:
        position = self.stepper.position
        if self.tuning.before_step(self.model, self.stepper.progress):
            apply_selection(self.model, self.tuning.selection)
            self._set_modes()
        window = [self._batches(streams) for _ in range(self.recipe.training.accumulation)]
        self.stepper.begin(window)
        logged = []
        try:
            for micro, batches in enumerate(window):
                number = position * self.window + micro * self.fabric.world_size + self.fabric.global_rank
                torch.manual_seed(generator_of(self.recipe.seed, number).initial_seed())
                self.stepper.next_batch()
                logged.append(self.method.step(batches, self.stepper))
        except NonFiniteError as error:
            names = [name for batches in window for batch in batches.values() for name in batch.names]
            self._give_up(error, gather_names(self.fabric, names))
        self.stepper.end()
        return {key: mean_over_processes(self.fabric, torch.stack([line[key].detach() for line in logged]).mean()) for key in logged[0]}

    def _batches(self, streams: Mapping[str, Iterator[Any]]) -> dict[str, Batch]:
        batches = {}
        for role, stream in streams.items():
            batch = visible(to_batch(next(stream), self.fabric.device), role, self.sees)
            if f"{role}_labels" in self.sees and batch.labels is None:
                raise DataError(f"{self.datasets[role].domain} has no labels, but method {self.recipe.method.name} needs those of the {role}")
            batches[role] = batch
        return batches

    def _validate(self, metrics: MetricsFile, epoch: int) -> str:
        scores = self._score()
        metrics.write("validation", self.stepper.position, epoch=epoch + 1, loss=scores.loss, miou=scores.miou)
        if self.best is None or scores.miou > self.best:
            self.best, self.best_epoch = scores.miou, epoch + 1
            self.save("best")
        return f", validation mIoU {100 * scores.miou:.1f} % (best {100 * self.best:.1f} %)"

    def _score(self) -> Scores:
        assert self.validation is not None
        predictor = self.method.predictor() or self.model
        predictor.eval()
        return score(
            without_gradients(predictor),
            self.validation,
            self.run.label_space,
            self.recipe.data.size,
            self.recipe.training.batch_size,
            self.fabric.device,
            self.recipe.compute.workers,
            fabric=self.fabric,
            criterion=self.method.criterion,
        )

    def _give_up(self, error: NonFiniteError, names: list[str]) -> NoReturn:
        """Keeps the last good weights and says which batch it was, in the first process."""
        finite = self.stepper.undo() and all_finite(self.model.state_dict())
        if not self.fabric.is_global_zero:
            raise SystemExit(1) from error
        if finite:
            self._count_time()
            self.save()
        kept = self.run.path / "last.safetensors"
        saved = f"the weights before this step are in {kept}" if finite else f"the last good weights are in {kept}"
        remedy = "lower optimizer.lr, set optimizer.clip_norm or check these images"
        where = f"{error} at step {self.stepper.position + 1}, batch {', '.join(names[:8])}"
        raise TrainingError(f"{where}: {remedy}; {saved if finite or kept.exists() else 'no weights were saved yet'}") from error


def all_finite(state: Mapping[str, Tensor]) -> bool:
    """Whether no tensor holds a NaN or an infinite value."""
    return all(bool(torch.isfinite(value).all()) for value in state.values() if value.is_floating_point())
