"""What a run will be, known before anything is trained, and the folder that keeps it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.label_space import LabelSpace, mapping
from segshift.engine.overlap import check_validation
from segshift.engine.provenance import run_identity
from segshift.engine.recipe import Recipe
from segshift.engine.run import SCHEMA, Run, create_folder, describe_label_space
from segshift.engine.sections import describe_stream
from segshift.errors import ModelError, RecipeError, UserError
from segshift.methods import METHODS, Method
from segshift.models import SegmentationModel
from segshift.tuning import TUNINGS
from segshift.types import ROLES

Open = Callable[..., DomainDataset]


@final
@dataclass(frozen=True)
class Compared:
    """Runs that a parent is compared with, so that a tuning knows what moved in them; `threshold` and `granularity` as in `compare_parameters`."""

    runs: tuple[Run, ...]
    threshold: float
    granularity: str

    def identity(self) -> dict[str, Any]:
        """What of it makes a run the run it is."""
        return describe_comparison([run.record["identity"] for run in self.runs], self.threshold, self.granularity)


@final
@dataclass(frozen=True)
class Plan:
    """A recipe with its domains opened and checked against each other: by role, `validation` among them."""

    recipe: Recipe
    method: Method
    parent: Run | None
    datasets: Mapping[str, DomainDataset]
    tests: Mapping[str, DomainDataset]
    space: LabelSpace
    fingerprints: Mapping[str, str]
    identity: str
    name: str
    folder: Path
    compared: Compared | None = None

    @property
    def seen(self) -> dict[str, DomainDataset]:
        """The domains that the method is handed."""
        return {role: dataset for role, dataset in self.datasets.items() if role in ROLES}


@final
@dataclass(frozen=True)
class Opened:
    """The domains of a recipe by role, `validation` among them, those of its tests, the classes that the model learns, and the data's hashes."""

    datasets: Mapping[str, DomainDataset]
    tests: Mapping[str, DomainDataset]
    space: LabelSpace
    fingerprints: Mapping[str, str]


def make_plan(recipe: Recipe, method: Method, parent: Run | None, out: Path | str | None, compared: Compared | None = None) -> Plan:
    """Opens the domains, those of the tests too; labels and depth only where the method declares them.

    Raises RecipeError, DataError, MissingDataError or ModelError for what cannot go together.
    """
    if parent is not None:
        parent.require_finished()
        parent.require_standalone()
    opened = open_all(recipe, method, (str(parent.path), parent.label_space) if parent else None)
    identity = identify(recipe, method, parent.record["identity"] if parent else None, opened, compared.identity() if compared else None)
    name = recipe.name or (f"{recipe.method.name}-{recipe.tuning.name}" if method.kind == "trains" else recipe.method.name)
    folder = Path(out) if out is not None else Path("runs") / f"{name}-{identity[:8]}"
    return Plan(recipe, method, parent, opened.datasets, opened.tests, opened.space, opened.fingerprints, identity, name, folder, compared)


def create_method(recipe: Recipe) -> Method:
    """The method with its own random weights drawn from the recipe's seed; RecipeError for one that has no run of its own, or no use of the tuning."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        method = METHODS[recipe.method.name](**recipe.method.options)
    if method.kind == "estimates" and recipe.tuning.name != "all":
        raise RecipeError(f"method {recipe.method.name} has no gradients, so tuning {recipe.tuning.name} would change nothing: leave the tuning out")
    if method.kind == "online" and recipe.tuning.name != "all":
        raise RecipeError(f"method {recipe.method.name} says itself what it changes, so tuning {recipe.tuning.name} would not count: leave the tuning out")
    return method


def open_all(recipe: Recipe, method: Method, parent: tuple[str, LabelSpace] | None, open_one: Open = open_domain) -> Opened:
    """Opens every domain of a recipe and checks them against each other. `parent`: its name and its classes; `open_one` is `open_domain` or a cache of it.

    Raises RecipeError, DataError, MissingDataError or ModelError for what cannot go together.
    """
    domains = read_domains(recipe, method)
    datasets = {role: open_one(name, depth=depth, labels=labels) for role, (name, depth, labels) in domains.items() if role in ROLES}
    if recipe.model.head == "new":
        if parent is None:
            raise RecipeError("model.head: new is for a run with a parent, whose encoder it keeps; without one every head is new")
        if not any(f"{role}_labels" in method.sees for role in ROLES):
            raise RecipeError(f"model.head: a new head is learned from labels, and method {recipe.method.name} sees none")
        parent = None
    space = _learned_space(datasets, method, parent)
    tests = open_tests(recipe, space, open_one)
    if "validation" in domains:
        validation = open_one(domains["validation"][0], depth=False)
        check_validation(validation, datasets, tests, space)
        datasets["validation"] = validation
    return Opened(datasets, tests, space, {role: dataset.fingerprint() for role, dataset in datasets.items()})


def read_domains(recipe: Recipe, method: Method) -> dict[str, tuple[str, bool, bool]]:
    """What a run reads, by role: the domain, and whether depth and labels are read with it. `validation` is one of the roles."""
    sees = method.sees
    named = {role: getattr(recipe.data, role) for role in ROLES if role in sees and not (role == "target" and recipe.online)}
    found = {role: (domain, "depth" in sees, f"{role}_labels" in sees) for role, domain in named.items()}
    if recipe.data.validation is not None and method.kind == "trains":
        found["validation"] = (recipe.data.validation, False, True)
    return found


def open_tests(recipe: Recipe, space: LabelSpace, open_one: Open = open_domain) -> dict[str, DomainDataset]:
    """The domains to test on, by label: labelled, with classes that the model has too. Raises what `open_all` does."""
    tests = {}
    for label, domain in recipe.data.tests.items():
        try:
            dataset = open_one(domain, depth=False)
            if not dataset.labelled:
                raise RecipeError(f"{dataset.domain} has no labels, and a test needs them; `segshift predict` does without")
            mapping(space, dataset.label_space)
        except UserError as error:
            raise type(error)(f"data.tests.{label}: {error}") from error
        tests[label] = dataset
    return tests


def identify(recipe: Recipe, method: Method, parent: str | None, opened: Opened, compared: Mapping[str, Any] | None = None) -> str:
    """The identity of a run; `parent` is that of its parent, `compared` what `describe_comparison` gives.

    Raises MissingDataError or WeightsError for a file of its tuning that cannot be read, RecipeError where it needs one and none is named.
    """
    tuning = recipe.tuning
    reads = {f"tuning.{option}": read(path) for option, read in TUNINGS[tuning.name].reads.items() if (path := tuning.options.get(option)) is not None}
    if TUNINGS[tuning.name].reads and not reads and compared is None:
        raise RecipeError(
            f"tuning {tuning.name} needs to know what moved: give diagnosis, the folder that `segshift diagnose` wrote (in a study: the key diagnose)"
        )
    return run_identity(recipe.identity(), parent, {**opened.fingerprints, **reads}, method.version, compared)


def describe_comparison(identities: Sequence[str], threshold: float, granularity: str) -> dict[str, Any]:
    """A comparison with runs of these identities, for the identity of the run that it serves."""
    return {"runs": sorted(identities), "threshold": threshold, "granularity": granularity}


def find_run(plan: Plan, resume: bool) -> str:
    """Whether the folder is "new", or holds this run, "begun" or "finished"; RecipeError where it holds something else.

    A run that failed before it had any weights holds nothing that could be lost: it counts as new.
    """
    folder = plan.folder
    if (folder / "run.json").is_file():
        record = Run.open(folder).record
        if record["status"] == "failed" and not any(folder.glob("*.safetensors")):
            return "new"
        if record["identity"] != plan.identity:
            raise RecipeError(f"{folder} holds another run (other recipe, data or parent): choose another --out, or remove it")
        if record["status"] != "finished" and not resume:
            raise RecipeError(f"{folder} holds this run, {record['status']}: go on with --resume, or choose another --out")
        return "finished" if record["status"] == "finished" else "begun"
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RecipeError(f"{folder} holds something else than a run: choose another --out")
    return "new"


def begin_run(plan: Plan, model: SegmentationModel) -> None:
    """Writes the folder of a new run: its recipe and its record."""
    recipe, method = plan.recipe, plan.method
    labels = {role: len(dataset) if dataset.labelled else 0 for role, dataset in plan.datasets.items()}
    target_labels = labels.get("target", 0)
    if target_labels:
        target_labels += labels.get("validation", 0)  # a split of the target: its labels were needed as well
    source = plan.parent.record["model"] if plan.parent else {}
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "identity": plan.identity,
        "name": plan.name,
        "parent": None
        if plan.parent is None
        else {"path": _relative(plan.parent.path, plan.folder), "identity": plan.parent.record["identity"], "name": plan.parent.name},
        "compared": None
        if plan.compared is None
        else [{"path": _relative(run.path, plan.folder), "identity": run.record["identity"], "name": run.name} for run in plan.compared.runs],
        "method": recipe.method.name,
        "method_version": method.version,
        "method_options": recipe.method.options,
        "tuning": recipe.tuning.name if method.kind == "trains" else None,
        "sees": sorted(method.sees),
        "protocol": _protocol(plan, model),
        "label_space": describe_label_space(plan.space),
        "seed": recipe.seed,
        "data": {
            role: {
                "domain": str(dataset.domain),
                "fingerprint": plan.fingerprints[role],
                "images": len(dataset),
                "labels_used": labels[role],
                "depth": dataset.weather_depth,
            }
            for role, dataset in plan.datasets.items()
        },
        "labels_used": target_labels,
        "tested_checkpoint": "best" if "validation" in plan.datasets else "last",
        "model": {
            "architecture": model.architecture,
            "encoder": model.encoder_name,
            "classes": model.classes,
            "options": dict(model.options),
            "pretraining": str(model.load_report) if model.load_report is not None else source.get("pretraining", "none"),
        },
        "online": recipe.online,
        "status": "running",
        "seconds": 0.0,
    }
    create_folder(plan.folder, recipe, record)


def _learned_space(datasets: Mapping[str, DomainDataset], method: Method, parent: tuple[str, LabelSpace] | None) -> LabelSpace:
    """The label space of what the model learns; a parent's classes must be those of the labels."""
    labelled = {role: datasets[role] for role in ROLES if f"{role}_labels" in method.sees}
    for role, dataset in labelled.items():
        if not dataset.labelled:
            raise RecipeError(f"{dataset.domain} has no labels, but this method learns from those of the {role}: name a labelled domain")
    if parent is None:
        if not labelled or method.kind != "trains":
            raise RecipeError("this method learns without labels: it starts from a trained run, so use `segshift adapt RUN`")
        return next(iter(labelled.values())).label_space
    name, space = parent
    for dataset in labelled.values():
        if dataset.label_space.classes != space.classes:
            raise ModelError(
                f"{name} has {len(space)} classes ({space.name}), "
                f"{dataset.domain} has {len(dataset.label_space)} ({dataset.label_space.name}): tune on labels of the same classes, or set model.head=new"
            )
    return space


def _protocol(plan: Plan, model: SegmentationModel) -> str:
    """One line that goes with every figure of this run."""
    recipe = plan.recipe
    seen = ", ".join(sorted(plan.method.sees)) or "nothing"
    domains = "; ".join(f"{role} {dataset.domain} ({len(dataset)} images)" for role, dataset in plan.datasets.items())
    if plan.method.kind == "trains":
        chosen = "best on its validation split" if "validation" in plan.datasets else "last checkpoint"
        how = f"offline training, {recipe.training.epochs} epochs, batch {recipe.training.batch_size}, {_epoch(plan)}{chosen}"
    elif plan.method.kind == "online":
        how = describe_stream(recipe.stream, recipe.together, recipe.online, getattr(plan.method, "keeps", True))
    else:
        how = "offline: adapted on all target images at once, then fixed"
    return "; ".join(filter(None, (f"sees {seen}", _start(plan, model), how, domains)))


def _start(plan: Plan, model: SegmentationModel) -> str:
    """The weights that the run begins with, and how many of the encoder's tensors they are."""
    report = model.load_report
    if plan.parent is None:
        return "from random weights" if report is None else f"from random weights but for the encoder ({report})"
    if report is None:
        return f"from {plan.parent.name}"
    return f"from the encoder of {plan.parent.name} ({len(report.matched)} of {len(report.matched) + len(report.missing)} tensors) and a new head"


def _epoch(plan: Plan) -> str:
    """How many images an epoch takes where whole batches leave some out; they are drawn anew each time."""
    labelled = [role for role in plan.seen if f"{role}_labels" in plan.method.sees]
    images = len(plan.seen[labelled[0] if labelled else list(plan.seen)[-1]])
    batch = min(plan.recipe.training.batch_size, images)
    return f"{images - images % batch} of {images} images an epoch (whole batches, drawn anew), " if images % batch else ""


def _relative(path: Path, folder: Path) -> str:
    """The parent's folder seen from the child's, so that both can move together."""
    return os.path.relpath(path.resolve(), folder.resolve())
