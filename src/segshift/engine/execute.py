"""From a recipe to a finished run folder: opens the domains, builds model, method and tuning, hands over to the loop or the estimate,
records what changed and what it saw."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.label_space import LabelSpace
from segshift.engine.checkpoint import hash_tensors, save_state, write_atomic
from segshift.engine.evaluate import evaluate_run
from segshift.engine.loading import DomainPool
from segshift.engine.logs import Reporter
from segshift.engine.provenance import describe_provenance, run_identity
from segshift.engine.recipe import Recipe
from segshift.engine.run import SCHEMA, Run, describe_label_space
from segshift.engine.train import Interrupted, choose_device, create_fabric, run_training
from segshift.errors import ModelError, RecipeError, TrainingError
from segshift.methods import METHODS, EstimatingMethod, Method, TrainingMethod
from segshift.models import SegmentationModel, create_model
from segshift.tuning import Tuning, create_tuning, describe_selection
from segshift.types import ROLES


def execute(recipe: Recipe, out: Path | str | None = None, parent: Run | None = None, resume: bool = False, reporter: Reporter | None = None) -> Run:
    """Runs a recipe, then evaluates it on the recipe's tests. A finished run of the same identity is returned as it is.

    Raises Interrupted where the user stopped it; everything is saved then and `resume=True` goes on.
    """
    reporter = reporter or Reporter(None)
    method = METHODS[recipe.method.name](**recipe.method.options)
    datasets: dict[str, DomainDataset] = {role: open_domain(getattr(recipe.data, role), depth="depth" in method.sees) for role in ROLES if role in method.sees}
    space = _learned_space(datasets, method, parent)
    fingerprints = {role: dataset.fingerprint() for role, dataset in datasets.items()}
    identity = run_identity(recipe.identity(), parent.record["identity"] if parent else None, fingerprints, method.version)
    name = recipe.name or (f"{recipe.method.name}-{recipe.tuning.name}" if method.kind == "trains" else recipe.method.name)
    folder = Path(out) if out is not None else Path("runs") / f"{name}-{identity[:8]}"
    run, finished = _prepare_folder(folder, identity, name, recipe, parent, method, datasets, space, fingerprints, resume)
    if not finished:
        model = _build_model(recipe, parent, space, reporter).to(memory_format=torch.channels_last)  # a tenth to a fifth faster on a CPU
        if model.load_report is not None:
            run.update(model={**run.record["model"], "pretraining": str(model.load_report)})
        fabric = create_fabric(recipe)
        run.update(provenance=describe_provenance(fabric.device), seconds=run.record["seconds"])
        start = time.perf_counter()
        before = {key: value.clone() for key, value in model.state_dict().items()}
        method.begin(model)
        try:
            if method.kind == "trains":
                tuning = create_tuning(recipe.tuning.name, **recipe.tuning.options)
                tuning.prepare(model)
                _show_selection(model, tuning, reporter)
                run_training(run, recipe, model, cast(TrainingMethod, method), tuning, datasets, fabric, reporter, resume)
            elif method.kind == "estimates":
                _estimate(run, recipe, model, cast(EstimatingMethod, method), datasets, fabric.device, reporter)
            else:
                raise RecipeError(f"method {recipe.method.name} works online: it adapts while it predicts and has no run of its own")
        except Interrupted:
            run.update(status="interrupted", seconds=run.record["seconds"] + time.perf_counter() - start)
            raise
        except BaseException:
            with suppress(TrainingError):  # the disk may be full: what went wrong first is what must be seen
                run.update(status="failed", seconds=run.record["seconds"] + time.perf_counter() - start)
            raise
        run.update(**describe_change(model, before), seconds=round(run.record["seconds"] + time.perf_counter() - start, 3), status="finished")
    elif reporter.console is not None:
        reporter.say(f"{folder} is finished already (same recipe, data and parent): nothing runs again")
    done = {(evaluation.name, evaluation.record["fingerprint"]) for evaluation in run.evaluations()}
    for label, domain in recipe.data.tests.items():
        if (label, open_domain(domain, depth=False).fingerprint()) not in done:
            evaluate_run(
                run,
                domain,
                label,
                batch_size=recipe.training.batch_size,
                device=choose_device(recipe.compute.device),
                workers=recipe.compute.workers,
                reporter=reporter,
            )
    return run


def _prepare_folder(
    folder: Path,
    identity: str,
    name: str,
    recipe: Recipe,
    parent: Run | None,
    method: Method,
    datasets: Mapping[str, DomainDataset],
    space: LabelSpace,
    fingerprints: Mapping[str, str],
    resume: bool,
) -> tuple[Run, bool]:
    """The run folder of this identity, and whether it is finished; never one that holds something else."""
    if (folder / "run.json").is_file():
        run = Run.open(folder)
        if run.record["identity"] != identity:
            raise RecipeError(f"{folder} holds another run (other recipe, data or parent): choose another --out, or remove it")
        if run.record["status"] == "finished":
            return run, True
        if not resume:
            raise RecipeError(f"{folder} holds this run, {run.record['status']}: go on with --resume, or choose another --out")
        run.update(status="running")
        return run, False
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RecipeError(f"{folder} holds something else than a run: choose another --out")
    labels = {role: len(dataset) if f"{role}_labels" in method.sees else 0 for role, dataset in datasets.items()}
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "identity": identity,
        "name": name,
        "parent": None if parent is None else {"path": _relative(parent.path, folder), "identity": parent.record["identity"], "name": parent.name},
        "method": recipe.method.name,
        "method_version": method.version,
        "method_options": recipe.method.options,
        "tuning": recipe.tuning.name if method.kind == "trains" else None,
        "sees": sorted(method.sees),
        "protocol": _protocol(method, recipe, datasets),
        "label_space": describe_label_space(space),
        "seed": recipe.seed,
        "data": {
            role: {"domain": str(dataset.domain), "fingerprint": fingerprints[role], "images": len(dataset), "labels_used": labels[role]}
            for role, dataset in datasets.items()
        },
        "labels_used": labels.get("target", 0),
        "tested_checkpoint": "best" if recipe.data.validation is not None and method.kind == "trains" else "last",
        "status": "running",
        "seconds": 0.0,
    }
    source = parent.record["model"] if parent else {}
    record["model"] = {
        "architecture": source.get("architecture", recipe.model.architecture),
        "encoder": source.get("encoder", recipe.model.encoder),
        "classes": len(space),
        "options": source.get("options", recipe.model.options),
        "pretraining": source.get("pretraining", "none"),
    }
    write_atomic(folder / "recipe.yaml", recipe.to_yaml())
    run = Run(folder, record)
    run.update()
    return run, False


def _build_model(recipe: Recipe, parent: Run | None, space: LabelSpace, reporter: Reporter) -> SegmentationModel:
    if parent is not None:
        return parent.load_model()
    wanted = recipe.model.weights
    pretrained: bool | str = False if wanted == "none" else "hub" if wanted == "imagenet" else wanted
    model = create_model(
        recipe.model.architecture, encoder=recipe.model.encoder, classes=len(space), pretrained=pretrained, seed=recipe.seed, **recipe.model.options
    )
    if model.load_report is not None:
        reporter.say(f"encoder {model.encoder_name}: {model.load_report}")
    return model


def _learned_space(datasets: Mapping[str, DomainDataset], method: Method, parent: Run | None) -> LabelSpace:
    """The label space of what the model learns; a parent's classes must be those of the labels."""
    labelled = [datasets[role] for role in ("source", "target") if f"{role}_labels" in method.sees]
    if parent is None:
        if not labelled:
            raise RecipeError("this method learns without labels: it starts from a trained run, so use `segshift adapt RUN`")
        return labelled[0].label_space
    for dataset in labelled:
        if dataset.label_space.classes != parent.label_space.classes:
            raise ModelError(
                f"{parent.path} has {len(parent.label_space)} classes ({parent.label_space.name}), "
                f"{dataset.domain} has {len(dataset.label_space)} ({dataset.label_space.name}): tune on labels of the same classes"
            )
    return parent.label_space


def _estimate(
    run: Run,
    recipe: Recipe,
    model: SegmentationModel,
    method: EstimatingMethod,
    datasets: Mapping[str, DomainDataset],
    device: torch.device,
    reporter: Reporter,
) -> None:
    model.to(device).eval()
    pool = DomainPool(datasets, recipe.data.size, method.sees, device, recipe.compute.workers)
    reporter.say(f"{recipe.method.name}: " + ", ".join(f"{count} {role} images" for role, count in pool.sizes.items()) + " at hand, no labels")
    done = method.adapt(model, pool)
    if not all(bool(torch.isfinite(value).all()) for value in model.state_dict().values() if value.is_floating_point()):
        raise TrainingError(f"method {recipe.method.name} gave statistics that are not finite: check the target images")
    save_state(run.path / "last.safetensors", {"identity": run.record["identity"], "model": dict(model.state_dict()), "predictor": None})
    run.update(adaptation=done)


def describe_change(model: nn.Module, before: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a run changed: parameters and tensors that differ, values of running statistics that differ, and the hash of the result."""
    parameters = dict(model.named_parameters())
    after = {key: value.cpu() for key, value in model.state_dict().items()}
    changed = {key: int((after[key] != before[key].cpu()).sum()) for key in after if "num_batches_tracked" not in key}
    learned = [key for key in changed if key in parameters]
    return {
        "parameters": sum(p.numel() for p in parameters.values()),
        "parameters_changed": sum(changed[key] for key in learned),
        "tensors_changed": sum(changed[key] > 0 for key in learned),
        "statistics_changed": sum(count for key, count in changed.items() if key not in parameters),
        "weights_hash": hash_tensors(after),
    }


def _show_selection(model: SegmentationModel, tuning: Tuning, reporter: Reporter) -> None:
    """The four switches, before training."""
    if reporter.console is None:
        return
    from rich.table import Table

    rows = describe_selection(model, tuning.selection)
    table = Table("part", "tensors learn", "parameters learn", "share", "batch norms learn", "statistics update", title="what may change")
    for row in rows:
        share = f"{row.parameters_learn / row.parameters:.1%}" if row.parameters else "-"
        table.add_row(
            row.part,
            f"{row.tensors_learn} of {row.tensors}",
            f"{row.parameters_learn:,} of {row.parameters:,}",
            share,
            f"{row.norms_learn} of {row.norms}",
            f"{row.statistics_update} of {row.norms}",
        )
    reporter.console.print(table)
    reporter.say(f"dropout: {'on' if tuning.selection.dropout else 'off'}")


def _protocol(method: Method, recipe: Recipe, datasets: Mapping[str, DomainDataset]) -> str:
    """One line that goes with every figure of this run."""
    seen = ", ".join(sorted(method.sees))
    domains = "; ".join(f"{role} {dataset.domain} ({len(dataset)} images)" for role, dataset in datasets.items())
    if method.kind == "trains":
        chosen = "best on its validation split" if recipe.data.validation else "last checkpoint"
        how = f"offline training, {recipe.training.epochs} epochs, batch {recipe.training.batch_size}, {chosen}"
    else:
        how = "offline: adapted on all target images at once, then fixed"
    return f"sees {seen}; {how}; {domains}"


def _relative(path: Path, folder: Path) -> str:
    """The parent's folder seen from the child's, so that both can move together."""
    import os

    return os.path.relpath(path.resolve(), folder.resolve())
