"""What a method is: what it may see, and how it drives a change.

There are three kinds, told apart by `kind`:

- `trains`: `step` runs once a window of batches, computes its losses and orders its own backward passes through a `Stepper`;
- `estimates`: `adapt` passes once over a `Pool` of images and changes the model in place, without gradients;
- `online`: `prepare` passes once over what it declared beside the stream; then `adapt_and_predict` answers every batch of a stream and may change
  the model while it does.

A method is built from flat keyword options alone; `begin(model)` gives it the model. It declares what it sees for its options
(a subset of `segshift.types.SEES`), and the engine hands it only that: labels that were not declared are None,
a domain that was not declared is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Integer
from torch import Tensor, nn

from segshift.methods.losses import Loss
from segshift.models import Outputs, SegmentationModel
from segshift.types import Batch

Kind = Literal["trains", "estimates", "online"]
T = TypeVar("T")


@runtime_checkable
class Stepper(Protocol):
    """What a training method uses instead of optimizers: the engine owns precision, accumulation, clipping, schedules and processes."""

    @property
    def position(self) -> int:
        """Optimizer steps taken so far."""

    @property
    def model(self) -> SegmentationModel:
        """The model that learns, without wrappers: for its loss and its parts, never for a forward pass."""

    def outputs(self, images: Float[Tensor, "b 3 h w"]) -> Outputs:
        """The model's outputs, through the wrapped forward pass."""

    def forward(self, name: str, *inputs: Tensor) -> Tensor:
        """The forward pass of one of the method's own modules, wrapped."""

    def valid_pixels(self, role: str) -> Tensor:
        """Mean number of labelled pixels a micro-batch over the window and all processes: what a loss is divided by."""

    def tally(self, logits: Float[Tensor, "b k h w"], labels: Integer[Tensor, "b h w"]) -> None:
        """Counts the predictions of a labelled batch: the training mIoU of an epoch is logged."""

    def frozen(self, name: str) -> AbstractContextManager[None]:
        """Inside it, the parameters of the named module receive no gradient."""

    def backward(self, loss: Tensor) -> None:
        """Backward pass of a scalar loss, scaled for accumulation and precision."""

    def update(self, name: str = "model") -> None:
        """Clip, step and zero the named optimizer; inside an accumulation window, only at its end."""


@runtime_checkable
class Pool(Protocol):
    """The images that an estimating method may read, by role."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Number of images by role: `source`, `target`."""

    @property
    def generator(self) -> torch.Generator:
        """What decides which images are drawn, seeded by the run."""

    def load(self, picks: Sequence[tuple[str, int]], batch_size: int) -> Iterator[Batch]:
        """The picked images, (role, index), in this order, in batches; of several processes each gets its own of them.

        Target images without labels that cannot be read are left out of their batch.
        """

    def on_all(self, action: Callable[[], T]) -> list[T]:
        """What an action gives in each process that shares the images, for all of them; an error of one ends all."""

    def left_out(self) -> Mapping[str, str]:
        """Images that could not be read so far, in any process, by name, and why: `sizes` counts them. Called by all processes.

        Raises DataError where they are more than half.
        """

    def constant(self) -> Sequence[str]:
        """Images so far, in any process, that have one value a channel, by name: they hold no scene. Called by all processes."""


@runtime_checkable
class Method(Protocol):
    """What every method has, whatever its kind."""

    kind: ClassVar[Kind]
    summary: ClassVar[str]
    paper: ClassVar[str]
    version: ClassVar[int]
    """Raised whenever the results change: it is part of a run's identity."""

    @property
    def sees(self) -> frozenset[str]:
        """What these options need, out of `segshift.types.SEES`."""

    def begin(self, model: nn.Module) -> None:
        """Builds what lives beside the model (a teacher, a discriminator). Called once, before the first step.

        Random weights come from the global generator, which the engine seeds for this call and for the method's construction.
        """


@runtime_checkable
class TrainingMethod(Method, Protocol):
    """A method with gradients."""

    @property
    def criterion(self) -> Loss:
        """The loss of labelled pixels that it minimises, whatever else: it is measured on the validation domain too."""

    def modules(self) -> Mapping[str, tuple[nn.Module, Mapping[str, Any]]]:
        """Learned modules beside the model, each with its optimizer's settings (the keys of a recipe's `optimizer`)."""

    def step(self, batches: Mapping[str, Batch], stepper: Stepper) -> dict[str, Tensor]:
        """One step on one micro-batch a role; returns what is logged, `loss` among it."""

    def predictor(self) -> SegmentationModel | None:
        """What is evaluated and kept as the result, where it is not the model itself (an EMA teacher)."""

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart beyond the model and `modules()`: nested dicts of tensors and plain values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""


@runtime_checkable
class EstimatingMethod(Method, Protocol):
    """A method without gradients that passes over images and changes statistics."""

    @property
    def shares(self) -> bool:
        """Whether several processes may share the images: the result is theirs together."""

    def count_images(self, sizes: Mapping[str, int]) -> int:
        """How many images `adapt` will load from a pool of these sizes, each as often as it does.

        Raises DataError where its options ask for more than there are.
        """

    def adapt(self, model: nn.Module, pool: Pool) -> dict[str, Any]:
        """Changes the model in place; returns what is worth recording (images, layers, passes): `said` for a person, `remarks` on what may spoil it."""


@runtime_checkable
class OnlineMethod(Method, Protocol):
    """A method that answers a stream. The model that `begin` sees is the method's from then on: its norms and gradients stay as the method sets them."""

    keeps: ClassVar[bool]
    """Whether what a batch teaches outlives it. If not, each batch is answered for itself, and no model is arrived at."""

    resets: int
    """How often it took itself back so far."""

    touches: str
    """Which layers it changes or normalises otherwise, once it has begun."""

    def prepare(self, pool: Pool) -> dict[str, Any]:
        """Learns what it needs before the stream, from the source; returns what is worth recording."""

    def adapt_and_predict(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        """Logits for these images, adapting before, after or not at all."""

    def reset(self) -> None:
        """Back to where `begin` and `prepare` left it."""

    def model_state(self) -> dict[str, Tensor]:
        """The state dict of the model that the stream has led to, to be used without the method."""

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart, what `prepare` learned among it: nested dicts of tensors and plain values, which later batches leave as they are."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave, and leaves it as it is."""
