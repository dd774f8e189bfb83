"""Evaluation in bounded memory: one confusion matrix an image, at the labels' own size.

The image is resized to what the model sees, the logits are resized back to the label by bilinear interpolation, then the argmax is taken.
A model of another label space is scored over the classes that both have, after the argmax.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.label_space import LabelSpace, mapping
from segshift.data.transforms import resize_sample
from segshift.engine.counting import ScoreCounter, describe_curves
from segshift.engine.loading import Failure, one_thread, read_cached
from segshift.engine.logs import Reporter
from segshift.engine.prediction import label_map
from segshift.engine.processes import on_all, on_first
from segshift.engine.provenance import command_line, now
from segshift.engine.run import Evaluation, Run, write_evaluation
from segshift.errors import DataError, RecipeError, UserError
from segshift.metrics import confusion as metrics
from segshift.models import SegmentationModel
from segshift.types import IGNORE, Sample

Predict = Callable[[Tensor], Tensor]


@final
@dataclass(frozen=True)
class Scores:
    """What an evaluation measured: (N, K, K) matrices, names and blocks of the images, the classes scored, seconds.

    `score_counts`, (2, K, bins), are the pixels by score over the whole data set, as `ScoreHistogram` has them; None where nobody asked.
    """

    confusions: np.ndarray
    names: list[str]
    blocks: list[str]
    space: LabelSpace
    seconds: float
    score_counts: np.ndarray | None = None

    @property
    def total(self) -> np.ndarray:
        """The one confusion matrix over the whole data set."""
        summed: np.ndarray = self.confusions.sum(0)
        return summed

    @property
    def miou(self) -> float:
        """Mean IoU in [0, 1] over the classes that occur."""
        return float(metrics.miou(self.total))


def without_gradients(model: SegmentationModel) -> Predict:
    """A model as a predictor; methods that adapt while they predict need theirs."""

    def predict(images: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = model(images)
            return logits

    return predict


def score(
    predict: Predict,
    dataset: DomainDataset,
    space: LabelSpace,
    size: tuple[int, int] | None,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
    workers: int = 0,
    reporter: Reporter | None = None,
    fabric: Fabric | None = None,
    curves: bool = False,
) -> Scores:
    """Predicts every image and counts. `space` is the model's; `size` (height, width) what it sees, None for each image's own.

    With `curves` the scores of every pixel are counted too, for ROC and precision-recall.
    Several processes (`fabric`) share the images, every image once, and all have the whole result.
    """
    parts = on_all(fabric, lambda: _score_share(predict, dataset, space, size, batch_size, device, workers, reporter, fabric, curves))
    order = np.argsort(np.concatenate([np.arange(place, len(dataset), len(parts)) for place in range(len(parts))]))
    names = [name for part in parts for name in part.names]
    matrices = np.concatenate([part.confusions for part in parts])
    counts = [part.score_counts for part in parts if part.score_counts is not None]
    return replace(
        parts[0],
        confusions=matrices[order],
        names=[names[k] for k in order],
        seconds=max(part.seconds for part in parts),
        score_counts=sum(counts[1:], start=counts[0]) if counts else None,
    )


def _score_share(
    predict: Predict,
    dataset: DomainDataset,
    space: LabelSpace,
    size: tuple[int, int] | None,
    batch_size: int,
    device: torch.device | str,
    workers: int,
    reporter: Reporter | None,
    fabric: Fabric | None,
    curves: bool,
) -> Scores:
    """The scores of every n-th image, of n processes."""
    if not dataset.labelled:
        raise DataError(f"{dataset.domain} has no labels: an evaluation needs them; `segshift predict` does without")
    lookup_model, lookup_label, scored = mapping(space, dataset.label_space)
    to_common, from_label = torch.as_tensor(lookup_model), torch.as_tensor(lookup_label)
    same = space.classes == dataset.label_space.classes
    counter = None
    if curves:
        counter = ScoreCounter(len(scored)) if same else ScoreCounter(len(scored), to_common, from_label)
    # Images of different sizes cannot share a batch; at their own size they go one by one.
    first, processes = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
    loader = DataLoader(
        Subset(_Scored(dataset, size), range(first, len(dataset), processes)),
        batch_size=1 if size is None else batch_size,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=one_thread,
    )
    matrices, names = [], []
    start = time.perf_counter()
    for loaded in loader:
        if isinstance(loaded, Failure):
            raise loaded.error
        images, labels, batch_names = loaded
        logits = predict(images.to(device).float().div_(255)).detach().float()
        for position, label in enumerate(labels):
            predicted = (label_map(logits[position], *label.shape) if counter is None else counter.label_map(logits[position], label)).cpu()
            if not same:
                predicted, label = to_common[predicted.long()], from_label[label.long()]
                predicted = torch.where(predicted == IGNORE, torch.full_like(predicted, len(scored)), predicted)
            matrices.append(_count(predicted, label, len(scored), same))
        names += batch_names
        if reporter is not None:
            reporter.advance(len(batch_names) * processes)
    stacked = np.stack(matrices) if matrices else np.zeros((0, len(scored), len(scored) + (not same)), np.int64)
    counts = None if counter is None else counter.histogram.counts
    return Scores(stacked, names, list(dataset.blocks), scored, time.perf_counter() - start, counts)


def _count(predicted: Tensor, label: Tensor, classes: int, same: bool) -> np.ndarray:
    """(K, K), or (K, K + 1) where the spaces differ: a predicted class without counterpart is a miss, counted in the last column."""
    if same:
        return np.asarray(metrics.confusion_matrix(predicted, label, classes))
    return np.asarray(metrics.confusion_matrix(predicted, label, classes + 1))[:classes]


def evaluate_run(
    run: Run,
    domain: str | Mapping[str, Any],
    name: str | None = None,
    checkpoint: str | None = None,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
    workers: int = 1,
    reporter: Reporter | None = None,
    overwrite: bool = False,
    fabric: Fabric | None = None,
    cache: str | None = None,
    curves: bool = False,
) -> Evaluation:
    """Tests a run on a domain and keeps the result in its folder. Several processes (`fabric`) share the images; the first one writes.

    `cache` is a folder for decoded images, as `compute.cache` of a recipe. With `curves` the counts that ROC and precision-recall are drawn from
    are kept too; an earlier result of this name loses its own otherwise.

    Raises RecipeError where the name already stands for other images, unless `overwrite` says that they may go.
    """
    dataset = open_domain(domain, depth=False)
    chosen = checkpoint or str(run.record["tested_checkpoint"])
    title = name or str(dataset.domain)
    if chosen != run.record["tested_checkpoint"]:
        title += f" ({chosen} checkpoint)"
    reporter = reporter or Reporter(None)
    other = next((e.record for e in run.evaluations() if e.name == title and e.record["fingerprint"] != dataset.fingerprint()), None)
    if other is not None and not overwrite:
        raise RecipeError(f"{title} already stands for {other['domain']} in {run.path}: choose another label (LABEL:=DOMAIN), or replace it with --replace")
    if other is not None:
        reporter.say(f"{title}: replaces the figures on {other['domain']}")
    model = run.load_model(checkpoint).to(device).to(memory_format=torch.channels_last)
    if cache is not None:
        read_cached(dataset, cache, None, f"cache {title}", reporter)
    known = images_known(run, dataset, chosen)
    if known:
        reporter.say(f"{title}: {known}; such a figure says nothing about new images", "yellow")
    with reporter.task(f"evaluate {run.name} on {title}", len(dataset)):
        scores = score(without_gradients(model), dataset, run.label_space, run.size, batch_size, device, workers, reporter, fabric, curves)
        over = "" if len(scores.space) == len(run.label_space) else f" over the {len(scores.space)} classes that both have"
        areas = {} if scores.score_counts is None else describe_curves(scores.score_counts)
        also = f", mean AUC {areas['mean_roc_auc']:.4f}, mean average precision {areas['mean_average_precision']:.3f}" if areas else ""
        reporter.end(f"mIoU {scores.miou:.3f}{also}{over}")
    protocol = {
        "known_images": known,
        "prediction": "offline: fixed weights, evaluation mode",
        "batch_size": 1 if run.size is None else batch_size,
        "checkpoint": chosen,
        "adaptation": run.record.get("protocol"),
    }
    record = {
        "schema": 1,
        "name": title,
        "domain": str(dataset.domain),
        "fingerprint": dataset.fingerprint(),
        "depth": dataset.weather_depth,
        "checkpoint": chosen,
        "checkpoint_hash": run.model_hash(checkpoint),
        **summarise(scores),
        **({"curves": areas} if areas else {}),
        "size": list(run.size) if run.size else None,
        "scored_at": "label size",
        "protocol": protocol,
        "created": now(),
        "command": command_line(),
    }
    return on_first(fabric, lambda: write_evaluation(run, record, scores.confusions, scores.names, scores.blocks, scores.score_counts))


def images_known(run: Run, dataset: DomainDataset, checkpoint: str) -> str:
    """What the run or one of its ancestors already knew of a domain's images, "" where nothing: labels learned, or a checkpoint chosen."""
    wanted = set(dataset.identities)
    here: Run | None = run
    while here is not None:
        for role, data in here.record.get("data", {}).items():
            if not data["labels_used"] or (role == "validation" and (here is run and checkpoint == "last")):
                continue
            with suppress(UserError):  # the data need not be here any more
                shared = len(wanted & set(open_domain(data["domain"], depth=False, labels=False).identities))
                if shared:
                    how = "chose its checkpoint on" if role == "validation" else "learned from the labels of"
                    return f"{here.name} {how} {shared} of these {len(wanted)} images"
        with suppress(UserError):
            here = here.parent()
            continue
        return ""
    return ""


def summarise(scores: Scores) -> dict[str, Any]:
    """The figures of an evaluation; a class that does not occur is None and is left out of the means."""
    total = scores.total
    iou = metrics.iou(total)
    return {
        "label_space": scores.space.name,
        "classes": list(scores.space.classes),
        "images": len(scores.names),
        "definition": metrics.DEFINITION,
        "miou": float(metrics.miou(total)),
        "mean_accuracy": float(metrics.mean_accuracy(total)),
        "accuracy": float(metrics.accuracy(total)),
        "dice": float(metrics.dice(total)),
        "frequency_weighted_iou": float(metrics.frequency_weighted_iou(total)),
        "iou": [None if math.isnan(value) else float(value) for value in iou],
        "seconds": round(scores.seconds, 3),
    }


Item = tuple[Tensor, Tensor, str]


@final
class _Scored(Dataset[Item | Failure]):
    """Image at the model's size, label at its own, name."""

    def __init__(self, dataset: DomainDataset, size: tuple[int, int] | None) -> None:
        self.dataset = dataset
        self.size = size

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Item | Failure:
        try:
            sample = self.dataset[index]
        except UserError as error:
            return Failure(error)
        assert sample.label is not None  # the domain is labelled
        image = sample.image
        if self.size is not None:
            image = resize_sample(Sample(image, None, None, sample.name), self.size).image
        return image, sample.label, sample.name


def _collate(items: Sequence[Item | Failure]) -> tuple[Tensor, list[Tensor], list[str]] | Failure:
    for item in items:
        if isinstance(item, Failure):
            return item
    good = [item for item in items if not isinstance(item, Failure)]
    return torch.stack([item[0] for item in good]), [item[1] for item in good], [item[2] for item in good]
