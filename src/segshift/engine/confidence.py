"""What a model shows without labels on images that it looks at one by one: how sure it is, whether it agrees with itself, what enters its batch norms."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.transforms import resize_sample
from segshift.diagnose.drift import InputMoments, PooledMoments, watch_inputs
from segshift.engine.loading import Failure, one_thread, require_most
from segshift.engine.prediction import resized
from segshift.errors import ModelError, UserError
from segshift.methods.consistency import Agreement
from segshift.metrics import confusion as metrics
from segshift.metrics.calibration import ConfidenceCounts
from segshift.models import SegmentationModel
from segshift.models.layers import normalization_layers
from segshift.types import Sample


@final
@dataclass(frozen=True)
class Shown:
    """An image (3, h', w') at the model's size; its own size (h, w), and its label of that size where it has one, or why it could not be read."""

    image: Tensor
    size: tuple[int, int]
    label: Tensor | None
    unlabelled: Failure | None = None

    def in_classes(self, to_model: Tensor) -> Shown:
        """With its label, which it has, in the model's classes."""
        assert self.label is not None
        return replace(self, label=to_model[self.label.long()])

    def strips(self, logits: Tensor) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Of logits (K, h', w'): those (1, K, rows, w) at its own size and their labels (1, rows, w), from the top: of large pictures a strip of rows at a
        time, else all."""
        start = 0
        for strip in resized(logits, *self.size):
            rows = strip.shape[1]
            yield strip[None], None if self.label is None else self.label[None, start : start + rows]
            start += rows


@final
class Signals:
    """`counts` of confidence, `agreement` with other views and, of a model with batch norm, the `pooled` moments of what enters it, of the images looked at."""

    def __init__(
        self, model: SegmentationModel, device: torch.device | str, temperatures: Tensor, thresholds: np.ndarray | None = None, labelled: bool = False
    ) -> None:
        self.model, self.device, self.labelled = model.to(device).eval(), device, labelled
        self.counts, self.agreement = ConfidenceCounts(temperatures, thresholds), Agreement()
        self.pooled = PooledMoments() if normalization_layers(model) else None
        self.images = 0

    def look(self, shown: Shown) -> Iterator[tuple[Tensor, Tensor | None]]:
        """The strips of an image, counted as they are taken; their labels count only where `labelled`."""
        logits, moments = look_at(self.model, shown.image, self.device)
        for part in moments:
            assert self.pooled is not None
            self.pooled.add(part)
        self.agreement.update(self.model, as_input(shown.image, self.device), logits[None])
        self.images += 1
        for strip, label in shown.strips(logits):
            self.counts.update(strip, label if self.labelled else None)
            yield strip, label


@torch.no_grad()
def look_at(model: SegmentationModel, image: Tensor, device: torch.device | str) -> tuple[Tensor, list[InputMoments]]:
    """Logits (K, h', w') of an image (3, h', w') and what entered the batch norms: nothing without. ModelError where the logits are not finite."""
    watching: AbstractContextManager[list[InputMoments]] = watch_inputs(model) if normalization_layers(model) else nullcontext([])
    with watching as moments:
        logits: Tensor = model(as_input(image, device))[0].float()
    if not bool(torch.isfinite(logits).all()):
        raise ModelError("the model's logits are not finite: its weights are damaged")
    return logits, moments


def as_input(image: Tensor, device: torch.device | str) -> Tensor:
    """A batch of one, in [0, 1]."""
    return image[None].to(device).float().div_(255)


def as_seen(image: Tensor, size: tuple[int, int] | None) -> Tensor:
    """An image at the model's size."""
    return image if size is None else resize_sample(Sample(image, None, None, ""), size).image


def confusion_of(logits: Tensor, label: Tensor) -> np.ndarray:
    """Confusion matrix of logits (1, K, h, w) and labels (1, h, w) of their classes."""
    return np.asarray(metrics.confusion_matrix(logits.max(1).indices.cpu().to(torch.uint8), label.to(torch.uint8), logits.shape[1]))


@final
class ShownImages:
    """A domain's images one by one, as the model sees them, read in `workers` processes.

    With `skips_unreadable`, an image that cannot be read is left out and told by `unreadable`, unless that is more than half of them: DataError. One
    whose label alone cannot be read is shown without it, and told by `unlabelled`.
    """

    def __init__(self, dataset: DomainDataset, size: tuple[int, int] | None, workers: int = 0, skips_unreadable: bool = False) -> None:
        self.dataset, self.size, self.workers, self.skips_unreadable = dataset, size, workers, skips_unreadable
        self.unreadable: dict[str, str] = {}
        self.unlabelled: dict[str, str] = {}

    def __iter__(self) -> Iterator[Shown]:
        for item in load_each(_Read(self.dataset, self.size, self.skips_unreadable and self.dataset.labelled), self.workers):
            if not isinstance(item, Failure):
                if item.unlabelled is not None:
                    self.unlabelled[item.unlabelled.name] = str(item.unlabelled.error)
                yield item
                continue
            if not self.skips_unreadable:
                raise item.error
            self.unreadable[item.name] = str(item.error)
            require_most(self.unreadable, len(self.dataset))


def load_each(dataset: Dataset[Any], workers: int) -> DataLoader[Any]:
    """Items one at a time, as they are."""
    return DataLoader(dataset, batch_size=None, num_workers=workers, collate_fn=_as_it_is, worker_init_fn=one_thread)


def _as_it_is(item: Any) -> Any:
    return item


@final
class _Read(Dataset[Shown | Failure]):
    """With `spares`, an image whose label alone cannot be read is shown without it."""

    def __init__(self, dataset: DomainDataset, size: tuple[int, int] | None, spares: bool) -> None:
        self.dataset, self.size, self.spares = dataset, size, spares

    @cached_property
    def bare(self) -> tuple[DomainDataset, dict[str, int]]:
        """The images without labels, and their places by name; opened where a label is damaged, which is rare."""
        dataset = open_domain(self.dataset.domain, depth=False, labels=False, seed=self.dataset.seed)
        return dataset, {name: place for place, name in enumerate(dataset.names)}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Shown | Failure:
        try:
            return show(self.dataset[index], self.size)
        except UserError as error:
            failure = Failure(error, self.dataset.names[index])
        if self.spares:
            with suppress(UserError):
                bare, places = self.bare
                if failure.name in places:
                    return replace(show(bare[places[failure.name]], self.size), unlabelled=failure)
        return failure


def show(sample: Sample, size: tuple[int, int] | None) -> Shown:
    """A sample as a model that works at `size` sees it."""
    height, width = (sample.image if sample.label is None else sample.label).shape[-2:]
    return Shown(as_seen(sample.image, size), (height, width), sample.label)
