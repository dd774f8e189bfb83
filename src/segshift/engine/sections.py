"""The sections of a recipe, each checked for itself."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, field_validator, model_validator

from segshift.data.domain import parse_domain
from segshift.engine.trackers import TRACKERS
from segshift.errors import UserError, unknown_name
from segshift.methods import METHODS
from segshift.models import MODELS, check_pair
from segshift.options import check_options
from segshift.tuning import TUNINGS


def _canonical_domain(value: Any) -> str:
    try:
        return str(parse_domain(value))
    except UserError as error:
        raise ValueError(str(error)) from error


DomainName = Annotated[str, BeforeValidator(_canonical_domain)]
Share = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


def _ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the first of the two must not be the larger")
    return value


Range = Annotated[tuple[Rate, Rate], AfterValidator(_ascending)]


class Section(BaseModel):
    """Part of a recipe: unknown keys are refused, nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True)


WEIGHTS = ("none", "imagenet", "package")


class ModelRecipe(Section):
    """The network. `weights` are the encoder's: none, imagenet (from the hub), package (an installed one) or a .safetensors file.

    `head` of a run with a parent: the parent's, or a new one for the classes that it learns, on the parent's encoder.
    """

    architecture: str = "unet"
    encoder: str | None = None
    weights: str = "none"
    head: Literal["parent", "new"] = "parent"
    options: dict[str, Any] = {}

    @field_validator("architecture")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in MODELS:
            raise ValueError(str(unknown_name("model", value, MODELS)))
        return value

    @field_validator("weights")
    @classmethod
    def _weights(cls, value: str) -> str:
        if value not in WEIGHTS and not value.endswith(".safetensors"):
            near = get_close_matches(value, WEIGHTS, n=1)
            raise ValueError(f"{'did you mean ' + repr(near[0]) + '? ' if near else ''}Known: {', '.join(WEIGHTS)}, or the path of a .safetensors file")
        return value

    @model_validator(mode="after")
    def _works(self) -> ModelRecipe:
        try:
            check_pair(self.architecture, self.encoder or MODELS[self.architecture].default_encoder)
        except UserError as error:
            raise ValueError(str(error)) from error
        return self


class DataRecipe(Section):
    """Domains by role. `size` is what the model sees, [height, width]; `tests` are evaluated after the run, by name."""

    source: DomainName | None = None
    target: DomainName | None = None
    validation: DomainName | None = None
    size: tuple[PositiveInt, PositiveInt] | None = None
    tests: dict[str, DomainName] = {}


class AugmentationRecipe(Section):
    """What happens to a training image; 0 or null switches a step off. Factors of colour are drawn from 1 +- the value.

    With probability `jitter_p` brightness, contrast, saturation and hue change together, with `gamma_p` gamma does.
    """

    scale: Range | None = None
    flip: Share = 0.5
    brightness: Amount = 0.0
    contrast: Amount = 0.0
    saturation: Amount = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    jitter_p: Share = 1.0
    gamma: Range | None = None
    gamma_p: Share = 1.0
    blur: Share = 0.0
    blur_sigma: Range = (0.15, 1.15)
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    rotation_p: Share = 0.2

    @property
    def steps(self) -> list[str]:
        """The steps that are on."""
        return [name for name in ("scale", "flip", "brightness", "contrast", "saturation", "hue", "gamma", "blur", "rotation") if getattr(self, name)]


class Named(Section):
    """Something with a name; its options stand beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def options(self) -> dict[str, Any]:
        """Its keyword arguments."""
        return dict(self.model_extra or {})


class MethodRecipe(Named):
    """The method's name; its options stand beside it."""

    name: str = "supervised"

    @model_validator(mode="after")
    def _check(self) -> MethodRecipe:
        if self.name not in METHODS:
            raise ValueError(str(unknown_name("method", self.name, METHODS)))
        converted = check_options(METHODS[self.name], self.options, f"method {self.name}")
        (self.model_extra or {}).update(converted)
        return self


class TuningRecipe(Named):
    """The tuning's name; its options stand beside it."""

    name: str = "all"

    @model_validator(mode="after")
    def _check(self) -> TuningRecipe:
        if self.name not in TUNINGS:
            raise ValueError(str(unknown_name("tuning", self.name, TUNINGS)))
        converted = check_options(TUNINGS[self.name].options, self.options, f"tuning {self.name}", skip=("model",))
        (self.model_extra or {}).update(converted)
        return self


class OptimizerRecipe(Section):
    """`encoder_lr_factor` multiplies the rate of the encoder; `clip_norm` bounds the norm of the gradient."""

    name: Literal["sgd", "adam", "adamw"] = "adam"
    lr: Rate = 1e-3
    momentum: Momentum = 0.9
    nesterov: bool = False
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    weight_decay: Amount = 0.0
    amsgrad: bool = False
    encoder_lr_factor: Amount = 1.0
    clip_norm: Rate | None = None

    @model_validator(mode="after")
    def _nesterov(self) -> OptimizerRecipe:
        if self.nesterov and (self.name != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs sgd with a momentum above 0")
        return self


class ScheduleRecipe(Section):
    """`every` is in epochs (step), `gamma` a factor an epoch (exponential) or a step down (step), `warmup` in optimizer steps."""

    name: Literal["polynomial", "exponential", "cosine", "one-cycle", "step", "constant"] = "polynomial"
    power: Amount = 0.9
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.98
    every: PositiveInt = 30
    warmup: Annotated[int, Field(ge=0)] = 0


class TrainingRecipe(Section):
    """`accumulation` micro-batches make one optimizer step; `save_every` is in optimizer steps (default: at the end of an epoch).

    `patience` ends training after so many epochs in which the validation domain's mIoU was not above its best.
    `feature_cache` keeps what a frozen encoder gives, in up to so many GiB of half floats, and computes it once.
    """

    epochs: PositiveInt = 10
    batch_size: PositiveInt = 8
    accumulation: PositiveInt = 1
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = "32-true"
    validate_every: PositiveInt = 1
    patience: PositiveInt | None = None
    save_every: PositiveInt | None = None
    feature_cache: Rate | None = None


class StreamRecipe(Section):
    """How a method that answers a stream meets it: `batch_size` images at a time, in the data's `order` or shuffled.

    With a `data.target` it works offline: it adapts on the target, `rounds` times over, and the model that it arrives at is tested as it is. Without
    one it works online: it adapts on each test while it is tested, the tests one after the other, `rounds` times. `reset` takes it back to its beginning
    before every batch (episodic), before every domain, or never (continual). A model that calls the pixels fewer than `least_classes` of the classes that it
    called them as it began (see engine/guard.py) is taken back; at 0 only one whose answers are not finite.
    """

    batch_size: PositiveInt = 4
    order: Literal["time", "shuffled"] = "time"
    reset: Literal["batch", "domain", "never"] = "domain"
    rounds: PositiveInt = 1
    least_classes: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """The default was chosen on rounds over fog, night, rain and snow: TENT falls below it in the third, a point or two down, EATA and SAR in four never."""


def name_rounds(label: str, rounds: int) -> list[str]:
    """What the rounds of a test are called."""
    return [label] if rounds == 1 else [f"{label}, round {number}" for number in range(1, rounds + 1)]


def describe_stream(stream: StreamRecipe, batch_size: int, online: bool = True, keeps: bool = True) -> str:
    """The protocol of a stream in words. A method that `keeps` nothing of a batch has nothing to reset.

    >>> describe_stream(StreamRecipe(reset="never"), 4)
    'online: adapts while it predicts, continual (never reset), batches of 4 in time order'
    >>> describe_stream(StreamRecipe(rounds=2), 4, online=False)
    'offline: adapts on the target, batches of 4 in time order, 2 times over, then fixed'
    >>> describe_stream(StreamRecipe(least_classes=0), 4)
    'online: adapts while it predicts, reset before every domain, batches of 4 in time order, taken back only where not finite'
    >>> describe_stream(StreamRecipe(), 4, keeps=False)
    'online: answers each batch for itself, batches of 4 in time order'
    """
    guarded = "" if stream.least_classes == StreamRecipe().least_classes else f", taken back below {stream.least_classes:g} of its classes"
    if stream.least_classes == 0:
        guarded = ", taken back only where not finite"
    if not online:
        often = "" if stream.rounds == 1 else f", {stream.rounds} times over"
        return f"offline: adapts on the target, batches of {batch_size} {'in time order' if stream.order == 'time' else 'shuffled'}{often}{guarded}, then fixed"
    resets = {"batch": "episodic (reset before every batch)", "domain": "reset before every domain", "never": "continual (never reset)"}
    order = "in time order" if stream.order == "time" else "shuffled"
    if not keeps:
        return f"online: answers each batch for itself, batches of {batch_size} {order}"
    return f"online: adapts while it predicts, {resets[stream.reset]}, batches of {batch_size} {order}{guarded}"


class ComputeRecipe(Section):
    """Where it runs: no part of a run's identity. `workers` load data; `devices` processes share the batches.

    `cache` is a folder in which decoded samples are kept for this run and others; see `segshift cache`. `trackers` mirror the run's figures.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: PositiveInt = 1
    workers: Annotated[int, Field(ge=0)] = 1
    cache: str | None = None
    trackers: tuple[str, ...] = ()

    @field_validator("trackers")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in value if name not in TRACKERS]:
            raise ValueError(str(unknown_name("tracker", unknown[0], TRACKERS)))
        return value
