"""Adapting a trained run, or a model in memory, to a target domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from segshift.data.dataset import DomainDataset, open_domain
from segshift.data.domain import Domain, parse_domain
from segshift.data.label_space import LabelSpace, default_colors
from segshift.engine.checkpoint import hash_tensors, save_state, write_atomic
from segshift.engine.execute import execute
from segshift.engine.logs import Reporter
from segshift.engine.options import sort_options
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.recipe import TRAINS_ALONE, Recipe
from segshift.engine.run import SCHEMA, Run, describe_label_space
from segshift.errors import AdaptationWarning, ModelError, RecipeError, warn
from segshift.methods import METHODS
from segshift.models import SegmentationModel
from segshift.options import check_options, describe_options, option_types

Named = str | Path | Mapping[str, Any] | Domain | DomainDataset
"""What stands for a domain in Python."""


def adaptation_recipe(
    parent: Recipe,
    method: str,
    tuning: str = "all",
    target: str | Mapping[str, Any] | Domain | None = None,
    source: str | Mapping[str, Any] | Domain | None = None,
    options: Mapping[str, Any] | None = None,
    tests: Mapping[str, Any] | None = None,
    name: str | None = None,
    changes: tuple[str, ...] = (),
) -> Recipe:
    """The parent's recipe with another method, tuning and domains: what is not said stays as the parent had it.

    Adaptation learns from the target, so a method with the option `domain` gets `domain="target"`, the parent's validation split
    is dropped, and the source is the parent's own unless it is named; a method that does not see it is the same with any.
    `options` are those of the method and of the tuning.
    """
    of_method, of_tuning = sort_options(options or {}, method, tuning)
    chosen: dict[str, Any] = {"name": method, **of_method}
    if "domain" in option_types(METHODS[method]):
        chosen.setdefault("domain", "target")
    if "loss" in option_types(METHODS[method]) and "loss" in parent.method.options:
        chosen.setdefault("loss", parent.method.options["loss"])
    content = parent.model_dump(mode="json")
    content["name"] = name
    content["model"]["head"] = "parent"  # a new head is new once
    content["method"] = chosen
    content["tuning"] = {"name": tuning, **of_tuning}
    content["training"]["patience"] = None  # judged on the validation split, which goes
    content["data"] = {"size": content["data"]["size"], "target": target, "source": source or parent.data.source, "tests": dict(tests or {})}
    recipe = validate_recipe(content, changes, "adapt")
    network, before = (each.model.model_dump(exclude={"head"}) for each in (recipe, parent))
    if other := [f"model.{key}" for key, value in network.items() if value != before[key]]:
        raise RecipeError(f"{', '.join(other)}: a repair has the network of the run that it repairs; train another source model for another network")
    require_work(recipe)
    require_effect(recipe, changes)
    return recipe


def require_effect(recipe: Recipe, changes: Sequence[str]) -> None:
    """RecipeError for changes of keys that the method does not read, as it trains nothing by them."""
    name = recipe.method.name
    keys = [change.partition("=")[0] for change in changes]
    idle = [key for key in keys if key.partition(".")[0] in TRAINS_ALONE and key != "training.batch_size"]
    if METHODS[name].kind != "trains" and idle:
        own = describe_options(METHODS[name])
        raise RecipeError(f"{', '.join(idle)}: method {name} does not train by the recipe, so that counts for nothing; its own options: {own or 'none'}")


def require_work(recipe: Recipe) -> None:
    """RecipeError for a run that would be a copy of its parent: its method learns on its tests alone, and there is none."""
    method = METHODS[recipe.method.name](**recipe.method.options)
    if recipe.online and not recipe.data.tests and not method.sees - {"target"}:
        said = "tests: of a study, data.tests of a recipe, --test on the command line"
        or_target = "; or name a target (target:, data.target, --target) for a model that has adapted once" if getattr(method, "keeps", True) else ""
        raise RecipeError(f"method {recipe.method.name} does all its work on what it is tested on, and no test is named: name one ({said}){or_target}")


def adapt(
    model: SegmentationModel | Run | Path | str,
    method: str,
    *,
    target: Named,
    source: Named | None = None,
    tuning: str = "all",
    size: tuple[int, int] | None = None,
    changes: tuple[str, ...] = (),
    out: Path | str | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    **options: Any,
) -> SegmentationModel:
    """An adapted copy of a model; the given one stays as it is.

    `model` is a SegmentationModel, or a run (folder). `target` and `source` are domains by name, a folder's Path or what `open_domain` gave, which is
    opened anew. `options` are those of the method and of the tuning, with the names of the command line;
    `changes` are recipe changes such as "training.epochs=5". `size` (height, width) is what a model in memory sees; a run knows its own.
    The run folder is kept where `out` names one. Without a `reporter`, which is told it, what may spoil the result (rollbacks, images that were left out,
    too few of them or of one colour) is an AdaptationWarning each. Raises ModelError for any other model.

        better = ss.adapt(model, method="adabn", target="camvid:PATH:train?sequence=0001TP", source="camvid:PATH:train", source_ratio=0.2)
    """
    if not isinstance(model, SegmentationModel | Run | Path | str):
        remedy = "; ss.adapt_statistics counts the batch norm statistics of any module" if isinstance(model, nn.Module) else ""
        raise ModelError(f"ss.adapt takes a SegmentationModel (from ss.create_model) or the folder of a run, not {type(model).__name__}{remedy}")
    if method in METHODS and not getattr(METHODS[method], "keeps", True):
        raise RecipeError(f"method {method} answers each batch for itself and arrives at no model that could be given back: test it, segshift adapt --test")
    target, source = _in_recipe(target), None if source is None else _in_recipe(source)
    with TemporaryDirectory(prefix="segshift-") as folder:
        if isinstance(model, SegmentationModel):
            of_method, _ = sort_options(options, method, tuning)
            if "domain" in option_types(METHODS[method]):
                of_method.setdefault("domain", "target")
            known = check_options(METHODS[method], of_method, f"method {method}")
            if source is None and "source" in METHODS[method](**known).sees:
                raise RecipeError(f"method {method} sees the source with these options: give source, as a model in memory does not know it")
            parent = _run_of_model(model, target, size, Path(folder) / "model")
        else:
            parent = model if isinstance(model, Run) else Run.open(model)
        if out is None:
            changes = (*changes, "compute.trackers=[]")  # what lies in a folder that is deleted is nobody's to look at
        recipe = adaptation_recipe(parent.recipe, method, tuning, target, source, options, changes=changes)
        run = execute(recipe, out or Path(folder) / "adapted", parent, resume, reporter)
        if reporter is None:
            for remark in run.record.get("adaptation", {}).get("remarks", ()):
                warn(f"{method}: {remark}", AdaptationWarning)
        return run.load_model()


def _in_recipe(domain: Named) -> str | Mapping[str, Any] | Domain:
    """The domain as a recipe takes it: text and mappings are its own to check."""
    if isinstance(domain, DomainDataset):
        return domain.domain
    return parse_domain(domain) if isinstance(domain, Path) else domain


def _run_of_model(model: SegmentationModel, target: str | Mapping[str, Any] | Domain, size: tuple[int, int] | None, folder: Path) -> Run:
    """A run folder around a model in memory; its classes are taken to be the target's, or only counted where that has no labels."""
    dataset = open_domain(target, depth=False)
    space = dataset.label_space
    if not dataset.labelled:
        space = LabelSpace("classes", tuple(f"class {k}" for k in range(model.classes)), default_colors(model.classes))
    if len(space) != model.classes:
        raise ModelError(f"the model has {model.classes} classes and {dataset.domain} has {len(space)}: adapt a run, which knows its classes")
    recipe = validate_recipe(
        {
            "model": {"architecture": model.architecture, "encoder": model.encoder_name, "options": model.options},
            "method": {"name": "none"},
            "data": {"size": size},
        }
    )
    write_atomic(folder / "recipe.yaml", recipe.to_yaml())
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    save_state(folder / "last.safetensors", {"identity": "", "model": state, "predictor": None})
    run = Run(
        folder,
        {
            "schema": SCHEMA,
            "identity": hash_tensors(state),
            "name": "model",
            "parent": None,
            "label_space": describe_label_space(space),
            "model": {"architecture": model.architecture, "encoder": model.encoder_name, "classes": model.classes, "options": dict(model.options)},
            "tested_checkpoint": "last",
            "status": "finished",
        },
    )
    run.update()
    return run
