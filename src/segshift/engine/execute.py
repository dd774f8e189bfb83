"""From a recipe to a finished run folder: plans, builds model, method and tuning, hands over to the loop or the estimate, records what changed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from segshift.data.dataset import DomainDataset
from segshift.engine.checkpoint import hash_tensors, save_state, write_atomic
from segshift.engine.diagnosis import diagnose_runs
from segshift.engine.evaluate import evaluate_run
from segshift.engine.features import require_frozen_encoder
from segshift.engine.folder import Compared, Plan, begin_run, create_method, find_run, make_plan
from segshift.engine.loading import DomainPool, read_cached
from segshift.engine.logs import Reporter
from segshift.engine.online import evaluate_stream, prepare_stream
from segshift.engine.processes import create_fabric, on_first, require_one_process
from segshift.engine.provenance import describe_provenance
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.engine.samples import check_samples, describe_clashes, describe_small, skips_unreadable
from segshift.engine.switches import show_selection, warn_of_phases
from segshift.engine.trackers import require_installed
from segshift.engine.tracking import Tracking
from segshift.engine.train import Interrupted, all_finite, run_training
from segshift.errors import DataError, MissingDataError, RecipeError, TrainingError, name_some
from segshift.methods import EstimatingMethod, Method, OnlineMethod, TrainingMethod
from segshift.models import SegmentationModel, create_model, load_checked
from segshift.tuning import Tuning, create_tuning
from segshift.tuning.tuning import within

NAMED = 20
"""Unreadable images whose names a run's record keeps."""


def execute(
    recipe: Recipe,
    out: Path | str | None = None,
    parent: Run | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    identity: str | None = None,
    compared: Compared | None = None,
) -> Run:
    """Runs a recipe, then evaluates it on the recipe's tests. A finished run of the same identity is returned as it is.

    With `compute.devices` above 1, every process calls this; the first writes, and all return the finished run.
    `identity` is what the run must have: MissingDataError where it has another one here. `compared` makes the diagnosis of a tuning that needs one.
    Raises Interrupted where the user stopped it; everything is saved then and `resume=True` goes on.
    """
    reporter = reporter or Reporter(None)
    require_installed(recipe.compute.trackers)
    method = create_method(recipe)
    if method.kind != "trains" and not getattr(method, "shares", False):
        require_one_process(recipe.method.name)
        recipe = recipe.model_copy(update={"compute": recipe.compute.model_copy(update={"devices": 1})})
    plan = make_plan(recipe, method, parent, out, compared)
    if identity not in (None, plan.identity):
        data = ", ".join(str(dataset.domain) for dataset in plan.datasets.values())
        raise MissingDataError(f"the data ({data}) or the version of segshift are others here than where the study was planned")
    fabric = create_fabric(recipe, method.kind == "trains")
    state = on_first(fabric, lambda: find_run(plan, resume))
    with _tracked(recipe.compute.trackers if fabric.is_global_zero else (), reporter) as tracking:
        if state == "finished":
            reporter.say(f"{plan.folder} is finished already (same recipe, data and parent): nothing runs again")
        else:
            if state == "new":
                count_images(plan)
                check_samples(plan)
                for line in describe_clashes(plan):
                    reporter.say(line, "yellow")
            model = _build_model(plan, reporter).to(memory_format=torch.channels_last)  # a tenth to a fifth faster on a CPU
            if state == "new":
                check_features(plan, model)
                check_layers(plan, model)
                on_first(fabric, lambda: begin_run(plan, model))
            _perform(plan, model, fabric, resume, reporter, tracking)
        evaluate_tests(Run.open(plan.folder), recipe, plan.tests, fabric.device, reporter, fabric, tracking)
    return Run.open(plan.folder)


def count_images(plan: Plan) -> int:
    """How many images an estimating method will load; DataError, before the run has a folder, where its options ask for more than there are."""
    if plan.method.kind != "estimates":
        return 0
    return cast(EstimatingMethod, plan.method).count_images({role: len(dataset) for role, dataset in plan.seen.items()})


def check_features(plan: Plan, model: SegmentationModel) -> None:
    """Refuses kept features with a tuning that changes the encoder, before the run has a folder."""
    tuning, trains = plan.recipe.tuning, plan.method.kind == "trains"  # what trains nothing keeps nothing, whatever its parent's recipe says
    if trains and plan.recipe.training.feature_cache is not None and plan.compared is None:  # a diagnosis that is still to be made says later what learns
        trial, copied = create_tuning(tuning.name, **tuning.options), deepcopy(model)
        with torch.random.fork_rng(devices=[]):
            trial.prepare(copied)
        require_frozen_encoder(copied, trial, tuning.name)


def check_layers(plan: Plan, model: SegmentationModel) -> None:
    """Refuses a model that has not what the method works on, before the run has a folder."""
    if plan.method.kind != "trains":  # one that trains begins with what its tuning puts into the model
        with torch.random.fork_rng(devices=[]):
            create_method(plan.recipe).begin(deepcopy(model))


@contextmanager
def _tracked(names: Sequence[str], reporter: Reporter) -> Iterator[Tracking]:
    """The trackers of a run, told how it ended."""
    tracking = Tracking(names, reporter)
    try:
        yield tracking
    except (Interrupted, KeyboardInterrupt):
        tracking.end("interrupted")
        raise
    except BaseException:
        tracking.end("failed")
        raise
    tracking.end("finished")


def _perform(plan: Plan, model: SegmentationModel, fabric: Fabric, resume: bool, reporter: Reporter, tracking: Tracking) -> None:
    """Trains or estimates in the run's folder; what happens to it stands in its record."""
    run, recipe, method = Run.open(plan.folder), plan.recipe, plan.method
    run.writes = fabric.is_global_zero
    run.update(status="running", provenance=describe_provenance(fabric.device))
    start = time.perf_counter()
    before, parameters = {key: value.clone() for key, value in model.state_dict().items()}, frozenset(name for name, _ in model.named_parameters())
    try:
        if recipe.compute.cache is not None:
            keep_decoded(plan, recipe.compute.cache, reporter)
        tuning = create_tuning(recipe.tuning.name, **recipe.tuning.options, **_diagnose(plan)) if method.kind == "trains" else None
        if tuning is not None:  # first, so that what a method copies of the model has what the tuning puts into it
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(recipe.seed)
                tuning.prepare(model)
        if method.kind != "trains":
            model.to(fabric.device).eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            method.begin(model)
        if tuning is not None:
            show_selection(model, tuning, reporter, recipe.training.feature_cache is not None)
            warn_of_phases(tuning, recipe.training.epochs, reporter)
            for line in describe_small(plan):
                reporter.say(line, "yellow")
            if plan.parent is None and model.load_report is None and _freezes_encoder(model, tuning):
                reporter.say(f"tuning {recipe.tuning.name} freezes an encoder of random weights: name model.weights, or adapt a trained run", "yellow")
            validation = plan.datasets.get("validation")
            run_training(run, recipe, model, cast(TrainingMethod, method), tuning, plan.seen, validation, fabric, reporter, tracking, resume)
        else:
            tracking.begin(run)
            _estimate(run, plan, model, method, fabric, reporter)
    except (Interrupted, KeyboardInterrupt):
        run.update(status="interrupted")
        raise
    except BaseException:
        with suppress(TrainingError):  # the disk may be full: what went wrong first is what must be seen
            run.update(status="failed")
        raise
    if run.writes:
        if method.kind != "trains":  # training counts its own, over all interruptions
            run.update(seconds=round(time.perf_counter() - start, 3))
        run.update(**describe_change(run.weights(), before, parameters), status="finished")


def _diagnose(plan: Plan) -> dict[str, str]:
    """The tuning's diagnosis, made from the runs that the parent is compared with."""
    if plan.compared is None or plan.parent is None:
        return {}
    diagnosis, _ = diagnose_runs(plan.parent, plan.compared.runs, plan.compared.threshold, plan.compared.granularity)
    path = plan.folder / "diagnosis.json"
    write_atomic(path, diagnosis.to_json())
    return {"diagnosis": str(path)}


def keep_decoded(plan: Plan, folder: str, reporter: Reporter) -> None:
    """Lets what the run reads come from caches in `folder`; what the model sees only at `data.size` is kept at that."""
    recipe = plan.recipe
    size = recipe.data.size if plan.method.kind != "trains" or recipe.augmentation.scale is None else None
    for role, dataset in plan.seen.items():
        try:
            read_cached(dataset, folder, size, f"cache {role}", reporter)
        except (DataError, MissingDataError) as error:
            if role not in skips_unreadable(plan.method):
                raise
            reporter.say(f"{role}: read from its files each time, as a cache holds whole data sets alone: {error}", "yellow")
    if "validation" in plan.datasets:  # scored at the labels' own size
        read_cached(plan.datasets["validation"], folder, None, "cache validation", reporter)


def evaluate_tests(
    run: Run,
    recipe: Recipe,
    tests: Mapping[str, DomainDataset],
    device: torch.device | str,
    reporter: Reporter,
    fabric: Fabric | None = None,
    tracking: Tracking | None = None,
) -> None:
    """Evaluates on the tests that it was not evaluated on, or on other data of this name."""
    tracking = tracking or Tracking((), reporter)
    done = {(evaluation.name, evaluation.record["fingerprint"]) for evaluation in run.evaluations()}
    if run.record["online"]:
        stream = run.recipe.stream
        left = {label: dataset for label, dataset in tests.items() if any((name, dataset.fingerprint()) not in done for name in run.recipe.rounds_of(label))}
        if left:  # what was tested before decides how a method that is never reset goes on: the whole stream again
            tracking.begin(run)
            for evaluation in evaluate_stream(run, tests if stream.reset == "never" else left, device, reporter, recipe.compute.workers, recipe.compute.cache):
                tracking.evaluated(evaluation.record)
        return
    batch_size, workers = recipe.training.batch_size, recipe.compute.workers
    for label, dataset in tests.items():
        if (label, dataset.fingerprint()) not in done:
            tracking.begin(run)
            evaluation = evaluate_run(
                run, str(dataset.domain), label, None, batch_size, device, workers, reporter, overwrite=True, fabric=fabric, cache=recipe.compute.cache
            )
            tracking.evaluated(evaluation.record)


def _build_model(plan: Plan, reporter: Reporter) -> SegmentationModel:
    recipe = plan.recipe
    if plan.parent is not None and recipe.model.head == "parent":
        return plan.parent.load_model()
    if plan.parent is not None:
        return _with_new_head(plan, plan.parent, reporter)
    wanted = recipe.model.weights
    pretrained: bool | str = False if wanted == "none" else "hub" if wanted == "imagenet" else wanted
    model = create_model(
        recipe.model.architecture, encoder=recipe.model.encoder, classes=len(plan.space), pretrained=pretrained, seed=recipe.seed, **recipe.model.options
    )
    if model.load_report is not None:
        reporter.say(f"encoder {model.encoder_name}: {model.load_report}")
    return model


def _with_new_head(plan: Plan, parent: Run, reporter: Reporter) -> SegmentationModel:
    """The parent's encoder under a new decoder and classifier, for the classes that the run learns."""
    before = parent.load_model()
    asked, had = plan.recipe.model, parent.recipe.model
    if (asked.architecture, asked.encoder, asked.weights, asked.options) != (had.architecture, had.encoder, had.weights, had.options):
        raise RecipeError(f"model.head: new keeps the network of {parent.name}: leave model.architecture, encoder, weights and options as they are there")
    model = create_model(before.architecture, encoder=before.encoder_name, classes=len(plan.space), seed=plan.recipe.seed, **before.options)
    source = f"{parent.name} ({parent.record['protocol']})"
    model.load_report = load_checked(model.encoder, before.encoder.state_dict(), source=source)
    reporter.say(f"encoder {model.encoder_name}: {model.load_report}; the head is new, for {len(plan.space)} classes")
    return model


def _estimate(run: Run, plan: Plan, model: SegmentationModel, method: Method, fabric: Fabric, reporter: Reporter) -> None:
    recipe, device = plan.recipe, fabric.device
    progress = reporter.advance if method.kind == "estimates" else None
    pool = DomainPool(plan.seen, recipe.data.size, method.sees, device, recipe.compute.workers, recipe.seed, fabric, progress)
    at_hand = ", ".join(f"{count} {role} image{'s' * (count != 1)}" for role, count in pool.sizes.items())
    labels = ", ".join(sorted(seen.replace("_", " ") for seen in method.sees if seen.endswith("labels"))) or "no labels"
    if at_hand:
        reporter.say(f"{recipe.method.name}: {at_hand} at hand, {labels}")
    if method.kind == "online":
        done = prepare_stream(run, plan, cast(OnlineMethod, method), pool, lambda: _build_model(plan, Reporter(None)).to(device).eval(), reporter)
    else:
        with reporter.task(f"{recipe.method.name} on the target", count_images(plan)):
            done = cast(EstimatingMethod, method).adapt(model, pool)
        state = {"identity": run.record["identity"], "model": dict(model.state_dict()), "predictor": None}
        on_first(fabric, lambda: save_state(run.path / "last.safetensors", state))
    if not all_finite(run.weights("last")):
        raise TrainingError(f"method {recipe.method.name} gave values that are not finite: check the target images")
    left_out, remarks = pool.left_out(), done.setdefault("remarks", [])
    if left_out:
        names = [*left_out]
        remarks.append(f"{len(names)} of {pool.sizes['target']} target images could not be read and are left out ({name_some(names)})")
        run.update(unreadable={"images": len(names), "names": names[:NAMED], "first": left_out[names[0]]})
    said = "; ".join([*([done["said"]] if "said" in done else []), *remarks])
    if said:
        reporter.say(f"{recipe.method.name}: {said}")
    run.update(adaptation=done, protocol=f"{run.record['protocol']}; {said}" if said else run.record["protocol"])


def describe_change(after: Mapping[str, Tensor], before: Mapping[str, Tensor], parameters: frozenset[str]) -> dict[str, Any]:
    """What a run changed in these states: values of `parameters` and tensors that differ, values of running statistics that differ, the hash of the result."""
    changed = {key: int((after[key] != before[key].cpu()).sum()) for key in after if "num_batches_tracked" not in key}
    learned = [key for key in changed if key in parameters]
    return {
        "parameters": sum(after[name].numel() for name in parameters),
        "parameters_changed": sum(changed[key] for key in learned),
        "tensors_changed": sum(changed[key] > 0 for key in learned),
        "statistics_changed": sum(count for key, count in changed.items() if key not in parameters),
        "weights_hash": hash_tensors(after),
    }


def _freezes_encoder(model: SegmentationModel, tuning: Tuning) -> bool:
    encoder = model.parts().encoder
    return not any(within(name, encoder) for name in tuning.reachable)
