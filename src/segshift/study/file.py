"""A study file: runs by name, each a template that its grid expands, with dependencies between them.

    name: streets-fog                  # default: the file's name
    seeds: [0, 1]                      # of every run without a parent; tables give the mean over them
    runs:
      source:                          # a source model: a recipe (path beside the study file, or inline), changed by `set` and by its grid
        recipe: ../recipes/streets.yaml
        set: {training.epochs: 4}
        grid:
          model.architecture: [unet, fpn]                # a dotted name is a place in the recipe
      adabn:                           # with a parent: one adaptation for every run of the parent and every point of its own grid
        parent: source
        method: adabn
        target: "streets::val?count=40+fog={fog}"        # {axis} is replaced by the value
        grid:
          fog: [0.01, 0.02]
          ratio: {none: {}, half: {method.source_ratio: 0.5}}      # labels and what each of them sets
        where: {model.architecture: unet}                # only for parents with this value, or one of a list
      top:                             # tunes what moved most in the runs of another entry with the same parent, as `segshift diagnose` finds it
        parent: source
        target: "streets::val?count=40+fog={fog}"
        diagnose: all                                    # those with the same fog; or {runs: all, threshold: 0.1, granularity: kernel}
        tuning: top-k
        set: {tuning.k: 10}
        grid: {fog: [0.01, 0.02]}
      mine: {run: runs/my-model}       # a finished run that is there already
    tests: {clear: "streets::test", fog: "streets::test+fog=0.02"}     # of every run; `tests` of a run replace them; without any, those of the recipe
    compute: {device: cpu}             # of every run

The keys of a run with a parent are those of `segshift adapt`: method, tuning, target, source. A method that answers a stream (tent ...) needs no target: it
adapts on its tests; with several rounds each is a domain of its own in the results (`fog, round 2`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from segshift.engine.read_recipe import explain_problems, read_mapping
from segshift.engine.sections import ComputeRecipe, Rate, Section
from segshift.errors import RecipeError, require_study
from segshift.methods import METHODS

Values = Annotated[list[Any], Field(min_length=1)] | Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
"""Of an axis: values, or labels with what each of them sets."""


class DiagnoseTemplate(Section):
    """The runs that the parent is compared with: those of an entry with the same parent and the same values of the axes that both have."""

    runs: str
    threshold: Rate = 0.01
    granularity: Literal["layer", "kernel"] = "layer"


class Template(Section):
    """One entry of `runs`: a source model (`recipe`), an adaptation (`parent`) or a finished run (`run`)."""

    recipe: str | dict[str, Any] | None = None
    parent: str | None = None
    run: str | None = None
    method: str = "supervised"
    tuning: str = "all"
    target: str | dict[str, Any] | None = None
    source: str | dict[str, Any] | None = None
    diagnose: Annotated[DiagnoseTemplate | None, BeforeValidator(lambda value: {"runs": value} if isinstance(value, str) else value)] = None
    set: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, Values] = Field(default_factory=dict)
    where: dict[str, Any] = Field(default_factory=dict)
    tests: dict[str, str] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Template:
        kinds = [kind for kind in ("recipe", "parent", "run") if getattr(self, kind) is not None]
        if len(kinds) != 1:
            raise ValueError(f"a run needs one of recipe, parent and run, not {' and '.join(kinds) or 'none of them'}")
        adapting = {"method", "tuning", "target", "source", "diagnose", "where"} & self.model_fields_set
        given = [self.set, *(each for values in self.grid.values() if isinstance(values, dict) for each in values.values())]
        online = "{" in self.method or getattr(METHODS.get(self.method), "kind", None) == "online"  # which may adapt on its tests
        if kinds == ["parent"] and self.target is None and not online and not any("data.target" in each for each in given):
            raise ValueError("a run with a parent needs a target")
        if kinds != ["parent"] and adapting:
            raise ValueError(f"{', '.join(sorted(adapting))}: only with a parent; a recipe says it itself")
        if kinds == ["run"] and (self.set or self.grid):
            raise ValueError("set and grid: a finished run is as it is; name it as the parent of another entry")
        return self


class Study(Section):
    """A whole study file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None
    runs: Annotated[dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")], Template], Field(min_length=1)]
    tests: dict[str, str] = Field(default_factory=dict)
    compute: ComputeRecipe = ComputeRecipe()

    @model_validator(mode="after")
    def _seeds(self) -> Study:
        twice = sorted({seed for seed in self.seeds or () if (self.seeds or []).count(seed) > 1})
        if twice:
            raise ValueError(f"seeds: {', '.join(map(str, twice))} is given twice")
        return self

    @model_validator(mode="after")
    def _diagnoses(self) -> Study:
        for name, template in self.runs.items():
            if template.diagnose is None:
                continue
            beside = [other for other, its in self.runs.items() if its.parent == template.parent and other != name and its.diagnose is None]
            if template.diagnose.runs not in beside:
                known = ", ".join(beside) or "none"
                raise ValueError(f"runs.{name}.diagnose: {template.diagnose.runs!r} is no entry with the parent {template.parent}. Known: {known}")
        return self

    @model_validator(mode="after")
    def _parents(self) -> Study:
        for name, template in self.runs.items():
            if template.parent is not None and template.parent not in self.runs:
                known = ", ".join(other for other in self.runs if other != name)
                raise ValueError(f"runs.{name}.parent: there is no run {template.parent!r}. Known: {known or 'none'}")
        for name in self.runs:
            chain = [name]
            while (parent := self.runs[chain[-1]].parent) is not None:
                if parent in chain:
                    raise ValueError(f"runs: a cycle, {' <- '.join([*chain[chain.index(parent) :], parent])}: one of them must start from a recipe")
                chain.append(parent)
        return self


def read_study(path: Path | str) -> Study:
    """Reads a study file; MissingDataError where there is none, RecipeError with every problem in one message."""
    path = Path(path)
    require_study(path)
    content = read_mapping(path, "with `runs`")
    try:
        return Study.model_validate({"name": path.stem, **content})
    except ValidationError as error:
        raise RecipeError(explain_problems(error, str(path), Study)) from error
