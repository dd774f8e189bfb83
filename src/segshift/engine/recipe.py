"""What a YAML recipe may say. Everything is checked before anything heavy starts, and all errors are reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import yaml
from pydantic import Field, model_validator

from segshift.data.domain import parse_domain
from segshift.engine.sections import (
    AugmentationRecipe,
    ComputeRecipe,
    DataRecipe,
    MethodRecipe,
    ModelRecipe,
    OptimizerRecipe,
    ScheduleRecipe,
    Section,
    StreamRecipe,
    TrainingRecipe,
    TuningRecipe,
    name_rounds,
)
from segshift.engine.validation_split import validation_problems
from segshift.methods import METHODS
from segshift.tuning import TUNINGS
from segshift.types import ROLES

JITTER = 2
"""Version of the colour jitter, in the identity of the runs that it changes."""
SELDOM = (("model", "head"), ("augmentation", "jitter_p"), ("augmentation", "gamma_p"), ("training", "patience"))
"""Settings that are part of a run's identity only where they are not at their default."""


class Recipe(Section):
    """A whole run: model, domains, augmentation, method, tuning, optimizer, schedule, training, and where it runs."""

    name: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    model: ModelRecipe = ModelRecipe()
    data: DataRecipe = DataRecipe()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    method: MethodRecipe = MethodRecipe()
    tuning: TuningRecipe = TuningRecipe()
    optimizer: OptimizerRecipe = OptimizerRecipe()
    schedule: ScheduleRecipe = ScheduleRecipe()
    training: TrainingRecipe = TrainingRecipe()
    stream: StreamRecipe = StreamRecipe()
    compute: ComputeRecipe = ComputeRecipe()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        method = METHODS[self.method.name](**self.method.options)
        sees = method.sees
        problems = [
            f"data.{role}: method {self.method.name} sees the {role}, so the recipe must name it"
            for role in ROLES
            if role in sees and getattr(self.data, role) is None and not (role == "target" and method.kind == "online")
        ]
        if method.kind == "online" and self.data.target is not None and not getattr(method, "keeps", True):
            problems.append(
                f"data.target: method {self.method.name} answers each batch for itself and arrives at no model: leave the target out, and name tests"
            )
        if method.kind == "online" and self.data.target is not None and self.stream.reset == "batch":
            problems.append("stream.reset: batch unlearns each batch before the next, so a pass over the target would come to nothing: take never")
        if self.data.validation is not None:
            problems += validation_problems(self.data, sees)
        if self.augmentation.scale is not None and self.data.size is None:
            problems.append("augmentation.scale: crops need data.size")
        if self.training.patience is not None and self.data.validation is None:
            problems.append("training.patience: it is judged on a validation domain: name data.validation, or leave it out")
        if self.training.feature_cache is not None and self.augmentation.steps:
            off = ", ".join(f"{name}: {'null' if name in ('scale', 'gamma') else 0}" for name in self.augmentation.steps)
            problems.append(f"training.feature_cache: maps are computed once, so nothing may be drawn before them: set augmentation {{{off}}}, or leave it out")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def identity(self) -> dict[str, Any]:
        """What of it makes a run the run it is: everything but its name, where it runs and what is tested afterwards."""
        content: dict[str, Any] = self.model_dump(mode="json", exclude={"name": True, "compute": True, "data": {"tests"}})
        method = METHODS[self.method.name](**self.method.options)
        for role in ROLES:
            if role not in method.sees:  # named for those that start from this run
                content["data"][role] = None
        for role in (*ROLES, "validation"):
            if content["data"][role] is not None:  # where the data lies plays no part; its hash does
                content["data"][role] = str(replace(parse_domain(content["data"][role]), root=None))
        for option in TUNINGS[self.tuning.name].reads:
            content["tuning"].pop(option, None)  # nor where that lies
        # Maps that are kept are rounded, whatever the budget.
        content["training"]["feature_cache"] = True
        if self.training.feature_cache is None:
            del content["training"]["feature_cache"]
        if method.kind != "online":
            del content["stream"]
        elif self.online and self.stream.reset == "never":  # what it is tested on first decides how it answers what comes next
            content["stream"]["tests"] = [str(replace(parse_domain(domain), root=None)) for domain in self.data.tests.values()]
        for section, key in SELDOM:  # what most runs say nothing of is no part of theirs
            part = getattr(self, section)
            if getattr(part, key) == type(part).model_fields[key].default:
                del content[section][key]
        if self.augmentation.contrast or self.augmentation.saturation or self.augmentation.hue:
            content["augmentation"]["jitter"] = JITTER
        return content

    @property
    def online(self) -> bool:
        """Whether the method adapts on what it is tested on, while it is tested."""
        return METHODS[self.method.name].kind == "online" and self.data.target is None

    @property
    def together(self) -> int:
        """Images of a stream that are answered together: one where each may have a size of its own."""
        return self.stream.batch_size if self.data.size else 1

    def rounds_of(self, label: str) -> list[str]:
        """The names that a test is evaluated under: its label, or one a round of an online stream."""
        return name_rounds(label, self.stream.rounds) if self.online else [label]

    @property
    def evaluated_tests(self) -> dict[str, str]:
        """The domain of every evaluation that the run has once it is tested, by its name."""
        return {name: domain for label, domain in self.data.tests.items() for name in self.rounds_of(label)}

    def to_yaml(self) -> str:
        """The complete recipe, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


TRAINS_ALONE = ("augmentation", "optimizer", "schedule", "training")
"""Sections that only a method that trains reads; what is not trained is tested in batches of `training.batch_size`, too."""


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a recipe's content by dotted key.

    >>> flatten({"seed": 0, "data": {"size": [64, 128]}})
    {'seed': 0, 'data.size': [64, 128]}
    """
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
