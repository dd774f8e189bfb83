"""From domains to batches. What is drawn for a sample depends on (seed, epoch, index) only, so that the number of workers,
a restart and other processes change nothing. A method gets what it declared: here labels and domains are held back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar, final

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from segshift.data.cache import cache_samples
from segshift.data.dataset import DomainDataset
from segshift.data.transforms import JointTransform, resize_sample
from segshift.engine.logs import Reporter
from segshift.engine.processes import on_all
from segshift.errors import DataError, UserError
from segshift.methods.target_images import constant_images
from segshift.types import ROLES, Batch, Sample

T = TypeVar("T")
Drawn = tuple[int, int]
"""(epoch, index)"""


@final
@dataclass(frozen=True)
class Failure:
    """An error of the user's data on its way out of a loading process, where raising it would bury its one line in a traceback."""

    error: UserError
    name: str = ""


@final
class TrainingSamples(Dataset[Sample | Failure]):
    """Samples of a domain, transformed with a generator of (seed, epoch, index)."""

    def __init__(self, dataset: DomainDataset, transform: JointTransform, seed: int) -> None:
        self.dataset = dataset
        self.transform = transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, drawn: Drawn) -> Sample | Failure:
        epoch, index = drawn
        try:
            return self.transform(self.dataset[index], generator_of(self.seed, epoch, index))
        except UserError as error:
            return Failure(error)


@final
class ResizedSamples(Dataset[Sample | Failure]):
    """Samples of a domain at the model's input size, without chance."""

    def __init__(self, dataset: DomainDataset, size: tuple[int, int] | None) -> None:
        self.dataset = dataset
        self.size = size

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample | Failure:
        try:
            sample = self.dataset[index]
            return sample if self.size is None else resize_sample(sample, self.size)
        except UserError as error:
            return Failure(error, self.dataset.names[index])


@final
class EndlessSampler(Sampler[list[Drawn]]):
    """Every `stride`-th micro-batch of (epoch, index) from number `start` on, a fresh permutation an epoch; the incomplete last batch is left out.

    N processes share the micro-batches with stride N, so that together they see what one process sees. Fewer images than a batch make
    one batch of them all.
    """

    def __init__(self, length: int, batch_size: int, seed: int, start: int = 0, stride: int = 1) -> None:
        self.length = length
        self.seed = seed
        self.start = start
        self.stride = stride
        self.batch_size = min(batch_size, length)
        self.batches_per_epoch = length // self.batch_size

    def __iter__(self) -> Iterator[list[Drawn]]:
        drawn, order = -1, []
        for number in count(self.start, self.stride):
            epoch, batch = divmod(number, self.batches_per_epoch)
            if epoch != drawn:
                drawn, order = epoch, torch.randperm(self.length, generator=generator_of(self.seed, epoch)).tolist()
            yield [(epoch, index) for index in order[batch * self.batch_size : (batch + 1) * self.batch_size]]


@final
class DomainPool:
    """The images that a method may read by itself: only declared roles, never labels or depths unless declared.

    Target images whose labels it does not see come as a camera left them: those that cannot be read are left out, and told by `left_out`. All others must
    be readable. `progress` is told of images that are done with, those of all processes.
    """

    def __init__(
        self,
        datasets: Mapping[str, DomainDataset],
        size: tuple[int, int] | None,
        sees: frozenset[str],
        device: torch.device,
        workers: int = 0,
        seed: int = 0,
        fabric: Fabric | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.generator = generator_of(seed)
        self._progress = progress
        self._fabric = fabric
        self._samples = {role: ResizedSamples(dataset, size) for role, dataset in datasets.items() if role in sees}
        self._sees = sees
        self._device = device
        self._workers = workers
        self._left_out: dict[str, str] = {}
        self._constant: set[str] = set()

    @property
    def sizes(self) -> Mapping[str, int]:
        return {role: len(samples) for role, samples in self._samples.items()}

    def load(self, picks: Sequence[tuple[str, int]], batch_size: int) -> Iterator[Batch]:
        place, processes = (0, 1) if self._fabric is None else (self._fabric.global_rank, self._fabric.world_size)
        batches = [list(range(start, min(start + batch_size, len(picks)))) for start in range(0, len(picks), batch_size)][place::processes]
        picked = _Picked(self._samples, picks, frozenset() if "target_labels" in self._sees else frozenset({"target"}))
        loader = DataLoader(picked, batch_sampler=batches, num_workers=self._workers, collate_fn=collate_readable, worker_init_fn=one_thread)
        roles = {role for role, _ in picks}
        hidden = {f"{role}_labels" for role in ROLES} if len(roles) > 1 else set()  # a mixed batch may show only what all its roles may show
        for raw, left_out, constant in loader:
            self._left_out |= left_out
            self._constant |= constant
            if left_out:
                require_most(self._left_out, self.sizes["target"])
            if raw is not None:
                yield visible(to_batch(raw, self._device), next(iter(roles)), self._sees - hidden)
            if self._progress is not None:
                self._progress(processes * ((0 if raw is None else len(raw["names"])) + len(left_out)))

    def on_all(self, action: Callable[[], T]) -> list[T]:
        return on_all(self._fabric, action)

    def left_out(self) -> dict[str, str]:
        found = dict(sorted(item for part in self.on_all(lambda: self._left_out) for item in part.items()))
        self.on_all(lambda: require_most(found, self.sizes.get("target", 0)))  # told once
        return found

    def constant(self) -> list[str]:
        return sorted({name for part in self.on_all(lambda: self._constant) for name in part})


def require_most(left_out: Mapping[str, str], images: int) -> None:
    """DataError where more than half of the target images cannot be read: what is learned from the others is not the target's."""
    if 2 * len(left_out) > images:
        raise DataError(
            f"{len(left_out)} of {images} target images cannot be read, and at most half may be left out; the first: {next(iter(left_out.values()))}"
        )


@final
@dataclass(frozen=True)
class LeftOut:
    """A sample that cannot be read and need not be."""

    name: str
    reason: str


@final
class _Picked(Dataset[Sample | Failure | LeftOut]):
    def __init__(self, samples: Mapping[str, ResizedSamples], picks: Sequence[tuple[str, int]], skips: frozenset[str]) -> None:
        self.samples = samples
        self.picks = picks
        self.skips = skips

    def __len__(self) -> int:
        return len(self.picks)

    def __getitem__(self, position: int) -> Sample | Failure | LeftOut:
        role, index = self.picks[position]
        sample = self.samples[role][index]
        return LeftOut(sample.name, str(sample.error)) if isinstance(sample, Failure) and role in self.skips else sample


def read_cached(dataset: DomainDataset, folder: str, size: tuple[int, int] | None, title: str, reporter: Reporter) -> None:
    """Lets a data set read from its cache in `folder`, which is built where it is not there."""
    with reporter.task(title, len(dataset)):
        dataset.read_from(cache_samples(dataset, folder, size, progress=counter(reporter), say=reporter.say))


def counter(reporter: Reporter) -> Callable[[int], None]:
    """Advances the reporter's task to a number of images; never back, where a cache is compared and then built again."""
    done = 0

    def tell(there: int) -> None:
        nonlocal done
        if there > done:
            reporter.advance(there - done)
            done = there

    return tell


def training_loader(samples: TrainingSamples, sampler: EndlessSampler, workers: int) -> DataLoader[Any]:
    """An endless stream of collated micro-batches."""
    return DataLoader(samples, batch_sampler=sampler, num_workers=workers, collate_fn=collate, worker_init_fn=one_thread, persistent_workers=workers > 0)


def generator_of(*key: int) -> torch.Generator:
    """A generator that depends on this key alone; neighbouring keys give unrelated streams (SplitMix64 over the key)."""
    state = 0x9E3779B97F4A7C15
    for part in key:
        state = (state ^ (part & (2**64 - 1))) * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & (2**64 - 1)
        state ^= state >> 31
    return torch.Generator().manual_seed(state & (2**63 - 1))


def collate(loaded: Sequence[Sample | Failure]) -> dict[str, Any] | Failure:
    """Stacks samples of one size as uint8; labels and depths are None unless every sample has them."""
    samples = [sample for sample in loaded if isinstance(sample, Sample)]
    if len(samples) < len(loaded):
        return next(sample for sample in loaded if isinstance(sample, Failure))
    try:
        require_one_size(samples)
    except DataError as error:
        return Failure(error)
    labels = [sample.label for sample in samples if sample.label is not None]
    depths = [sample.depth for sample in samples if sample.depth is not None]
    return {
        "images": torch.stack([sample.image for sample in samples]),
        "labels": torch.stack(labels) if len(labels) == len(samples) else None,
        "depths": torch.stack(depths) if len(depths) == len(samples) else None,
        "names": tuple(sample.name for sample in samples),
    }


def collate_readable(loaded: Sequence[Sample | Failure | LeftOut]) -> tuple[dict[str, Any] | Failure | None, dict[str, str], set[str]]:
    """The batch of the samples that are there, None where none is; why each other one, by its name, is not; the names of those of one colour."""
    there = [sample for sample in loaded if not isinstance(sample, LeftOut)]
    samples = [sample for sample in there if isinstance(sample, Sample)]
    constant = {samples[place].name for place in constant_images([sample.image for sample in samples])}
    return collate(there) if there else None, {sample.name: sample.reason for sample in loaded if isinstance(sample, LeftOut)}, constant


def require_one_size(samples: Sequence[Sample]) -> None:
    """DataError where images that would share a batch are of several sizes."""
    shapes = {tuple(sample.image.shape[-2:]) for sample in samples}
    if len(shapes) > 1:
        named = ", ".join(f"{h} x {w}" for h, w in sorted(shapes))
        raise DataError(f"images of different sizes cannot share a batch ({named}): set data.size, for example [512, 1024], or a batch size of 1")


def to_batch(raw: Mapping[str, Any] | Failure, device: torch.device) -> Batch:
    """Images become floats in [0, 1] on the device, labels integers; a failure is raised here."""
    if isinstance(raw, Failure):
        raise raw.error
    images: Tensor = raw["images"].to(device, non_blocking=True)
    labels = raw["labels"]
    depths = raw["depths"]
    return Batch(
        images.float().div_(255),
        None if labels is None else labels.to(device, non_blocking=True).long(),
        None if depths is None else depths.to(device, non_blocking=True),
        raw["names"],
    )


def visible(batch: Batch, role: str, sees: frozenset[str]) -> Batch:
    """The batch with only what was declared."""
    return Batch(
        batch.images,
        batch.labels if f"{role}_labels" in sees else None,
        batch.depths if "depth" in sees else None,
        batch.names,
    )


def one_thread(_: int) -> None:
    """A loading process keeps to one thread: the others belong to the model."""
    torch.set_num_threads(1)
