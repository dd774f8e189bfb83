"""Passes over a domain that look at how sure a model is: logits at the images' own size, with labels where there are some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segshift.data.dataset import DomainDataset
from segshift.data.transforms import resize_sample
from segshift.diagnose.drift import InputMoments, watch_inputs
from segshift.engine.loading import Failure, one_thread
from segshift.errors import ModelError, UserError
from segshift.models import SegmentationModel
from segshift.models.layers import normalization_layers
from segshift.types import Sample


@final
@dataclass(frozen=True)
class Seen:
    """One image: its logits (1, K, h, w) at its own size, and its label (1, h, w) where it has one."""

    logits: Tensor
    label: Tensor | None


@final
class ConfidencePass:
    """Predicts a domain, or some of its images, one by one in the loader's processes; the moments that entered the batch norms are collected on the way."""

    def __init__(
        self,
        model: SegmentationModel,
        dataset: DomainDataset,
        size: tuple[int, int] | None,
        device: torch.device | str,
        workers: int = 0,
        indices: Sequence[int] | None = None,
    ) -> None:
        self.model = model.to(device).eval()
        self.dataset, self.size, self.device, self.workers = dataset, size, device, workers
        self.indices = range(len(dataset)) if indices is None else indices
        self.moments: InputMoments | None = None

    def __iter__(self) -> Iterator[Seen]:
        if not normalization_layers(self.model):
            yield from self._predict()
            return
        with watch_inputs(self.model) as found:
            yield from self._predict()
        self.moments = InputMoments.join(found)

    def _predict(self) -> Iterator[Seen]:
        shown = _Shown(self.dataset, self.size, self.indices)
        loader = DataLoader(shown, batch_size=None, num_workers=self.workers, collate_fn=as_it_is, worker_init_fn=one_thread)
        for item in loader:
            if isinstance(item, Failure):
                raise item.error
            image, label, own = item
            with torch.no_grad():
                logits = self.model(image[None].to(self.device).float().div_(255)).float()
            if not bool(torch.isfinite(logits).all()):
                raise ModelError("the model's logits are not finite: its weights are damaged")
            if logits.shape[-2:] != own:
                logits = F.interpolate(logits, size=own, mode="bilinear", align_corners=False)
            yield Seen(logits, None if label is None else label[None])


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
            return Failure(error)
        height, width = (sample.image if sample.label is None else sample.label).shape[-2:]
        image = sample.image
        if self.size is not None:
            image = resize_sample(Sample(image, None, None, sample.name), self.size).image
        return image, sample.label, (height, width)
