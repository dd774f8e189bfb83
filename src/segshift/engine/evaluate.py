"""Tests of a run: on a domain, kept in the run's folder with what the run already knew of its images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from lightning_fabric import Fabric

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.label_space import describe_common
from segshift.data.shared import shared_images
from segshift.engine.answers import Answers
from segshift.engine.counting import describe_curves
from segshift.engine.guard import describe_trouble
from segshift.engine.loading import read_cached
from segshift.engine.logs import Reporter
from segshift.engine.processes import on_first
from segshift.engine.provenance import command_line, now
from segshift.engine.run import Evaluation, Run, write_evaluation
from segshift.engine.scoring import Scores, score, without_gradients
from segshift.errors import RecipeError, UserError
from segshift.metrics import confusion as metrics


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
    answers: Answers | None = None,
    round_: int = 0,
) -> Evaluation:
    """Tests a run on a domain and keeps the result in its folder. Several processes (`fabric`) share the images; the first one writes.

    A run that adapts while it predicts is tested with its method, at the batch size of its recipe; `answers` is that method where a stream has begun already.

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
    if answers is None and run.record.get("online"):
        answers = Answers(run, device)
    if answers is None:
        predict = without_gradients(run.load_model(checkpoint).to(device).to(memory_format=torch.channels_last))
    else:
        predict, batch_size, fabric = answers.predict, answers.stream.batch_size, None
        answers.begin_domain()
    if cache is not None:
        read_cached(dataset, cache, None, f"cache {title}", reporter)
    known = images_known(run, dataset, chosen)
    if known:
        reporter.say(f"{title}: {known}; such a figure says nothing about new images", "yellow")
    with reporter.task(f"evaluate {run.name} on {title}", len(dataset)):
        order = None if answers is None else answers.order(len(dataset), round_)
        scores = score(predict, dataset, run.label_space, run.size, batch_size, device, workers, reporter, fabric, curves, order=order)
        common = describe_common(run.label_space, dataset.label_space)
        over = f" over the {len(scores.space)} classes that model and data both have" if common else ""
        areas = {} if scores.score_counts is None else describe_curves(scores.score_counts)
        also = f", mean AUC {100 * areas['mean_roc_auc']:.1f} %, mean average precision {100 * areas['mean_average_precision']:.1f} %" if areas else ""
        together = 1 if run.size is None else batch_size
        how = "" if answers is None else f"; {answers.protocol(together)['prediction']}"
        reporter.end(f"mIoU {100 * scores.miou:.1f} %{also}{over}{how}")
    if answers is not None and (trouble := describe_trouble(answers.counts())):
        reporter.say(f"{title}: {trouble}", "yellow")
    protocol = {
        "known_images": known,
        **({"prediction": "offline: fixed weights, evaluation mode"} if answers is None else answers.protocol(together)),
        "batch_size": together,
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
        "scored_over": common,
        "protocol": protocol,
        "created": now(),
        "command": command_line(),
    }
    return on_first(fabric, lambda: write_evaluation(run, record, scores.confusions, scores.names, scores.blocks, scores.score_counts))


def images_known(run: Run, dataset: DomainDataset, checkpoint: str = "best", *, learned: bool = False) -> str:
    """What the run or one of its ancestors already knew of a domain's images or their copies, "" where nothing: labels learned, or (without `learned`) a
    checkpoint chosen.
    """
    here: Run | None = run
    while here is not None:
        for role, data in here.record.get("data", {}).items():
            if not data["labels_used"] or (role == "validation" and (learned or (here is run and checkpoint == "last"))):
                continue
            with suppress(UserError):  # the data need not be here any more
                shared = len(shared_images(dataset, open_domain(data["domain"], depth=False, labels=False)))
                if shared:
                    how = "chose its checkpoint on" if role == "validation" else "learned from the labels of"
                    return f"{here.name} {how} {shared} of these {len(dataset)} images"
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
