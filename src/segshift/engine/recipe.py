"""What a YAML recipe may say. Everything is checked before anything heavy starts, and all errors are reported at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError, field_validator, model_validator

from segshift.data.domain import parse_domain
from segshift.engine.options import check_options
from segshift.errors import MissingDataError, RecipeError, UserError, unknown_name
from segshift.methods import METHODS
from segshift.methods.losses import LOSSES
from segshift.models import MODELS
from segshift.tuning import TUNINGS


def _canonical_domain(value: Any) -> str:
    try:
        return str(parse_domain(value))
    except UserError as error:
        raise ValueError(str(error)) from error


DomainName = Annotated[str, BeforeValidator(_canonical_domain)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """Part of a recipe: unknown keys are refused, nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelRecipe(Section):
    """The network. `weights` are the encoder's: none, imagenet (from the hub), package (an installed one) or a .safetensors file."""

    architecture: str = "unet"
    encoder: str | None = None
    weights: str = "none"
    options: dict[str, Any] = {}

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in MODELS:
            raise ValueError(str(unknown_name("model", value, MODELS)))
        return value


class DataRecipe(Section):
    """Domains by role. `size` is what the model sees, [height, width]; `tests` are evaluated after the run, by name."""

    source: DomainName | None = None
    target: DomainName | None = None
    validation: DomainName | None = None
    size: tuple[PositiveInt, PositiveInt] | None = None
    tests: dict[str, DomainName] = {}


class AugmentationRecipe(Section):
    """What happens to a training image; 0 or null switches a step off. Factors of colour are drawn from 1 +- the value."""

    scale: tuple[Rate, Rate] | None = None
    flip: Share = 0.5
    brightness: Annotated[float, Field(ge=0)] = 0.0
    contrast: Annotated[float, Field(ge=0)] = 0.0
    saturation: Annotated[float, Field(ge=0)] = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    gamma: tuple[Rate, Rate] | None = None
    blur: Share = 0.0
    blur_sigma: tuple[Rate, Rate] = (0.15, 1.15)
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    rotation_p: Share = 0.2


class MethodRecipe(Section):
    """The method's name; its options stand beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str = "supervised"

    @model_validator(mode="after")
    def _check(self) -> MethodRecipe:
        if self.name not in METHODS:
            raise ValueError(str(unknown_name("method", self.name, METHODS)))
        converted = check_options(METHODS[self.name], self.options, f"method {self.name}")
        (self.model_extra or {}).update(converted)
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of the method."""
        return dict(self.model_extra or {})


class TuningRecipe(Section):
    """The tuning's name; its options stand beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str = "all"

    @model_validator(mode="after")
    def _check(self) -> TuningRecipe:
        if self.name not in TUNINGS:
            raise ValueError(str(unknown_name("tuning", self.name, TUNINGS)))
        converted = check_options(TUNINGS[self.name].options, self.options, f"tuning {self.name}", skip=("model",))
        (self.model_extra or {}).update(converted)
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of the tuning."""
        return dict(self.model_extra or {})


class OptimizerRecipe(Section):
    """`encoder_lr_factor` multiplies the rate of the encoder; `clip_norm` bounds the norm of the gradient."""

    name: Literal["sgd", "adam", "adamw"] = "adam"
    lr: Rate = 1e-3
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    amsgrad: bool = False
    encoder_lr_factor: Annotated[float, Field(ge=0)] = 1.0
    clip_norm: Rate | None = None


class ScheduleRecipe(Section):
    """`every` is in epochs (step), `gamma` a factor an epoch (exponential) or a step down (step), `warmup` in optimizer steps."""

    name: Literal["polynomial", "exponential", "cosine", "one-cycle", "step", "constant"] = "polynomial"
    power: Annotated[float, Field(ge=0)] = 0.9
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.98
    every: PositiveInt = 30
    warmup: Annotated[int, Field(ge=0)] = 0


class TrainingRecipe(Section):
    """`accumulation` micro-batches make one optimizer step; `save_every` is in optimizer steps (default: at the end of an epoch)."""

    epochs: PositiveInt = 10
    batch_size: PositiveInt = 8
    accumulation: PositiveInt = 1
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "bf16-true"] = "32-true"
    validate_every: PositiveInt = 1
    save_every: PositiveInt | None = None


class ComputeRecipe(Section):
    """Where it runs: no part of a run's identity. `workers` load data; `devices` processes share the batches."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: PositiveInt = 1
    workers: Annotated[int, Field(ge=0)] = 1


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
    compute: ComputeRecipe = ComputeRecipe()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        sees = METHODS[self.method.name](**self.method.options).sees
        problems = [
            f"data.{role}: method {self.method.name} sees the {role}, so the recipe must name it"
            for role in ("source", "target")
            if role in sees and getattr(self.data, role) is None
        ]
        if self.data.validation is not None:
            problems += _validation_problems(self.data, sees)
        if self.augmentation.scale is not None and self.data.size is None:
            problems.append("augmentation.scale: crops need data.size")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def identity(self) -> dict[str, Any]:
        """What of it makes a run the run it is: everything but its name, where it runs and what is tested afterwards."""
        content: dict[str, Any] = self.model_dump(mode="json", exclude={"name": True, "compute": True, "data": {"tests"}})
        for role in ("source", "target", "validation"):
            if content["data"][role] is not None:  # where the data lies plays no part; its hash does
                content["data"][role] = str(replace(parse_domain(content["data"][role]), root=None))
        return content

    def to_yaml(self) -> str:
        """The complete recipe, defaults included."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _validation_problems(data: DataRecipe, sees: frozenset[str]) -> list[str]:
    """A checkpoint may be chosen only on a validation split of the data that the run learns from (rule 4)."""
    assert data.validation is not None
    validation = parse_domain(data.validation)
    learned = [role for role in ("source", "target") if f"{role}_labels" in sees]
    problems = []
    for role in learned:
        domain = getattr(data, role)
        if domain is None:
            continue
        learns = parse_domain(domain)
        if (learns.name, learns.root) != (validation.name, validation.root):
            problems.append(f"data.validation: {validation} is not a split of the data that the run learns from ({learns}); name it under data.tests")
        elif learns == validation:
            problems.append(f"data.validation: {validation} is the training data itself; name its validation split")
    return problems


def load_recipe(path: Path | str, changes: Sequence[str] = ()) -> Recipe:
    """Reads a YAML file, applies `a.b=c` changes and validates.

    Raises MissingDataError, or RecipeError with every problem in one message.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingDataError(f"no recipe at {path}: see recipes/ for examples, or `segshift recipe schema`")
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RecipeError(f"{path} must be a mapping such as 'model: {{architecture: unet}}', not {type(content).__name__}")
    return validate_recipe(content, changes, str(path))


def validate_recipe(content: Mapping[str, Any], changes: Sequence[str] = (), where: str = "recipe") -> Recipe:
    """The recipe of a mapping; all problems are reported together."""
    plain: dict[str, Any] = json.loads(json.dumps(content, default=str))
    for change in changes:
        apply_change(plain, change)
    try:
        return Recipe.model_validate(plain)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        raise RecipeError(f"{where}: {len(problems)} problem{'s' * (len(problems) > 1)}: {'; '.join(problems)}") from error


def apply_change(content: dict[str, Any], change: str) -> None:
    """Sets one value, `a.b=c`, where c is YAML."""
    key, separator, value = change.partition("=")
    if not separator or not key:
        raise RecipeError(f"--set {change}: write it as section.key=value, for example --set training.epochs=5")
    *sections, last = key.split(".")
    place = content
    for section in sections:
        inner = place.setdefault(section, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"--set {change}: {section} is a value, not a section")
        place = inner
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {change}: the value is not valid YAML") from error


def _explain(problem: Mapping[str, Any]) -> str:
    """One problem in words: where, what came, what is allowed."""
    location = [str(part) for part in problem["loc"]]
    where = ".".join(location) or "recipe"
    if problem["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        near = get_close_matches(location[-1], known, n=1, cutoff=0.5)
        return f"{where}: unknown key{f', did you mean {near[0]!r}' if near else ''}? Known here: {', '.join(known)}"
    message = problem["msg"].removeprefix("Value error, ")
    given = problem.get("input")
    came = f" (got {given!r})" if isinstance(given, str | int | float | bool) and repr(given) not in message else ""
    return f"{where}: {message}{came}" if location else f"{message}{came}"


def _keys_at(location: Sequence[str]) -> list[str]:
    """The keys that a section of the recipe knows."""
    section: Any = Recipe
    for part in location:
        field = section.model_fields.get(part) if isinstance(section, type) and issubclass(section, BaseModel) else None
        section = field.annotation if field else None
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []


def recipe_schema() -> str:
    """The JSON schema of a recipe, for editors, with the names of every table."""
    schema = Recipe.model_json_schema()
    for section, key, table in (
        ("ModelRecipe", "architecture", MODELS),
        ("MethodRecipe", "name", METHODS),
        ("TuningRecipe", "name", TUNINGS),
    ):
        schema["$defs"][section]["properties"][key]["enum"] = sorted(table)
    schema["$defs"]["MethodRecipe"]["properties"]["loss"] = {"enum": sorted(LOSSES), "title": "Loss"}
    return json.dumps(schema, indent=2)
