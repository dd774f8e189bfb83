"""Passes over a domain that look at how sure a model is: logits at the images' own size, with labels where there are some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segshift.data.dataset import DomainDataset
from segshift.data.transforms import resize_sample
from segshift.diagnose.drift import InputMoments, PooledMoments, watch_inputs
from segshift.engine.loading import Failure, one_thread, require_most
from segshift.engine.prediction import resized
from segshift.errors import ModelError, UserError
from segshift.metrics import confusion as metrics
from segshift.models import SegmentationModel
from segshift.models.layers import normalization_layers
from segshift.types import Sample


@final
@dataclass(frozen=True)
class Seen:
    """One image: its logits (K, h', w') at the model's size, its own size (h, w), and its label of that size where it has one."""

    small: Tensor
    size: tuple[int, int]
    label: Tensor | None

    def strips(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Logits (1, K, rows, w) at its own size and their labels (1, rows, w), from the top: of large pictures a strip of rows at a time, else all."""
        start = 0
        for logits in resized(self.small, *self.size):
            rows = logits.shape[1]
            yield logits[None], None if self.label is None else self.label[None, start : start + rows]
            start += rows


def confusion_of(logits: Tensor, label: Tensor) -> np.ndarray:
    """Confusion matrix of logits (1, K, h, w) and labels (1, h, w) of their classes."""
    return np.asarray(metrics.confusion_matrix(logits.max(1).indices.cpu().to(torch.uint8), label.to(torch.uint8), logits.shape[1]))


@final
class ConfidencePass:
    """Predicts a domain, or some of its images, one by one in the loader's processes.

    The moments that entered the batch norms are collected on the way, `pooled` over all images and, with `by_image`, as `moments` of each: the latter take
    some 200 kB an image. Both are None for a model without batch norm. With `skips_unreadable`, an image that cannot be read is left out and told by
    `unreadable`, unless that is more than half of them: DataError.
    """

    def __init__(
        self,
        model: SegmentationModel,
        dataset: DomainDataset,
        size: tuple[int, int] | None,
        device: torch.device | str,
        workers: int = 0,
        indices: Sequence[int] | None = None,
        by_image: bool = False,
        skips_unreadable: bool = False,
    ) -> None:
        self.model = model.to(device).eval()
        self.skips_unreadable, self.unreadable = skips_unreadable, dict[str, str]()
        self.dataset, self.size, self.device, self.workers, self.by_image = dataset, size, device, workers, by_image
        self.indices = range(len(dataset)) if indices is None else indices
        self.pooled: PooledMoments | None = None
        self.moments: InputMoments | None = None

    def __iter__(self) -> Iterator[Seen]:
        if not normalization_layers(self.model):
            yield from self._predict()
            return
        pooled, each = PooledMoments(), list[InputMoments]()
        with watch_inputs(self.model) as found:
            for seen in self._predict():
                for part in found:
                    pooled.add(part)
                each += found if self.by_image else []
                found.clear()
                yield seen
        self.pooled = pooled
        if self.by_image:
            self.moments = replace(InputMoments.join(each), blocks=tuple(self.dataset.blocks[i] for i in self.indices))

    def _predict(self) -> Iterator[Seen]:
        shown = _Shown(self.dataset, self.size, self.indices)
        loader = DataLoader(shown, batch_size=None, num_workers=self.workers, collate_fn=as_it_is, worker_init_fn=one_thread)
        for item in loader:
            if isinstance(item, Failure):
                if not self.skips_unreadable:
                    raise item.error
                self.unreadable[item.name] = str(item.error)
                require_most(self.unreadable, len(self.indices))
                continue
            image, label, own = item
            yield Seen(logits_of(self.model, image, self.device), own, label)


@torch.no_grad()
def logits_of(model: SegmentationModel, image: Tensor, device: torch.device | str) -> Tensor:
    """(K, h', w') of an image (3, h, w) of 0 to 255; ModelError where they are not finite."""
    logits: Tensor = model(image[None].to(device).float().div_(255))[0].float()
    if not bool(torch.isfinite(logits).all()):
        raise ModelError("the model's logits are not finite: its weights are damaged")
    return logits


def as_seen(image: Tensor, size: tuple[int, int] | None) -> Tensor:
    """An image at the model's size."""
    return image if size is None else resize_sample(Sample(image, None, None, ""), size).image


Item = tuple[Tensor, Tensor | None, tuple[int, int]]


def as_it_is(item: Any) -> Any:
    """One image at a time."""
    return item


@final
class _Shown(Dataset[Item | Failure]):
    """Image at the model's size, label at its own, and the size of the label or else of the image as it lies."""

    def __init__(self, dataset: DomainDataset, size: tuple[int, int] | None, indices: Sequence[int]) -> None:
        self.dataset, self.size, self.indices = dataset, size, indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> Item | Failure:
        try:
            sample = self.dataset[self.indices[place]]
        except UserError as error:
            return Failure(error, self.dataset.names[self.indices[place]])
        height, width = (sample.image if sample.label is None else sample.label).shape[-2:]
        return as_seen(sample.image, self.size), sample.label, (height, width)
