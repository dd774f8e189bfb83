"""What a tuning is: what may change in a model, before and while it learns.

Freezing means four separate switches: whether weights learn, whether the scale and shift of batch norms learn, whether running
statistics update, and whether dropout drops. A tuning sets them in `prepare`, and may change them while training runs
(phases, masks drawn from gradients, learning rates a tensor).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, final, runtime_checkable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from segshift.models import SegmentationModel


@dataclass(frozen=True)
class Selection:
    """What learns: parameters by name, the batch norms whose running statistics update, and whether dropout drops.

    `note` is what a user should know of it. Of a tuning with phases these are the first one's, and `phases` has them all.
    """

    names: frozenset[str]
    statistics: frozenset[str]
    dropout: bool = True
    note: str = ""
    phases: tuple[Selection, ...] = ()

    def __repr__(self) -> str:
        moves = f"statistics of {len(self.statistics)} batch norms move, dropout {'on' if self.dropout else 'off'}"
        return f"Selection({len(self.names)} tensors learn, {moves}{f', the first of {len(self.phases)} phases' if self.phases else ''})"

    def parameters(self, model: nn.Module) -> int:
        """Number of learnable values."""
        return sum(p.numel() for name, p in model.named_parameters() if name in self.names)


@dataclass(frozen=True)
class Switches:
    """One row of the table that is shown before training: a part of the model and what of it learns."""

    part: str
    tensors: int
    tensors_learn: int
    parameters: int
    parameters_learn: int
    norms: int
    norms_learn: int
    statistics_update: int


@dataclass(frozen=True)
class Progress:
    """Where training is: optimizer steps taken, those of an epoch, and all of them."""

    position: int
    steps_per_epoch: int
    total: int

    @property
    def epoch(self) -> int:
        """The epoch that the next step belongs to, from 0."""
        return self.position // self.steps_per_epoch


@runtime_checkable
class Tuning(Protocol):
    """The engine calls these in this order; `Fixed` answers all but `prepare` with nothing."""

    @property
    def selection(self) -> Selection:
        """What learns at present."""

    @property
    def reachable(self) -> frozenset[str]:
        """The parameters that learn at some time: those that the optimizer is built for."""

    @property
    def rates(self) -> Mapping[str, float] | None:
        """A factor in [0, 1] of the learning rate for each reachable parameter, at present; None where all have the whole rate, always."""

    def prepare(self, model: SegmentationModel) -> Selection:
        """Chooses what learns, and puts into the model what it needs; called once, before the optimizers are built."""

    def before_step(self, model: SegmentationModel, progress: Progress) -> bool:
        """Called before each step; True where the selection has changed (a phase), so that the engine applies it anew."""

    def before_update(self, model: SegmentationModel, progress: Progress) -> None:
        """Called before the optimizer's step, when the gradients of the whole window are there."""

    def mask_update(self, model: SegmentationModel, progress: Progress) -> None:
        """Called after each optimizer step, to undo what must not have moved (masks within a tensor)."""

    def plain_state(self, model: SegmentationModel) -> dict[str, Tensor] | None:
        """The state dict of an ordinary model that gives the same logits, where `prepare` put something into it; else None."""

    def state_dict(self) -> dict[str, Any]:
        """What must survive a restart."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""


class Fixed:
    """A tuning whose selection does not change while training runs; others say what differs."""

    def __init__(self) -> None:
        self._selection = Selection(frozenset(), frozenset())

    @property
    def selection(self) -> Selection:
        return self._selection

    @property
    def reachable(self) -> frozenset[str]:
        return self.selection.names.union(*(phase.names for phase in self.selection.phases))

    @property
    def rates(self) -> Mapping[str, float] | None:
        return None

    def before_step(self, model: SegmentationModel, progress: Progress) -> bool:
        return False

    def before_update(self, model: SegmentationModel, progress: Progress) -> None:
        pass

    def mask_update(self, model: SegmentationModel, progress: Progress) -> None:
        pass

    def plain_state(self, model: SegmentationModel) -> dict[str, Tensor] | None:
        return None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


@final
class SelectOnce(Fixed):
    """The tuning of a selection by its function and options."""

    def __init__(self, select: Callable[..., Selection], options: Mapping[str, Any]) -> None:
        super().__init__()
        self._select = select
        self._options = dict(options)

    def prepare(self, model: SegmentationModel) -> Selection:
        self._selection = self._select(model, **self._options)
        return self._selection


def apply_selection(model: nn.Module, selection: Selection) -> None:
    """Sets the first two switches: which parameters receive a gradient."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in selection.names)


def set_train_mode(model: nn.Module, selection: Selection) -> None:
    """Sets the last two: train mode everywhere but in batch norms whose statistics stay and, without dropout, in dropout layers.

    `model.train()` alone would let frozen batch norms move their running statistics.
    """
    model.train()
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm):
            module.train(name in selection.statistics)
        elif isinstance(module, _DropoutNd) or type(module).__name__ == "DropPath":
            module.train(selection.dropout)


def describe_selection(model: SegmentationModel, selection: Selection) -> list[Switches]:
    """The four switches by part: encoder, decoder, classifier, and the total last."""
    parts = model.parts()
    rows = []
    everything = dict(model.named_parameters())
    norms = [name for name, m in model.named_modules() if isinstance(m, _BatchNorm)]
    groups = {"encoder": parts.encoder, "decoder": parts.decoder, "classifier": parts.classifier, "total": ("",)}
    for part, prefixes in groups.items():
        inside = [name for name in everything if within(name, prefixes)]
        owned = [name for name in norms if within(name, prefixes)]
        learn = [name for name in inside if name in selection.names]
        rows.append(
            Switches(
                part,
                len(inside),
                len(learn),
                sum(everything[name].numel() for name in inside),
                sum(everything[name].numel() for name in learn),
                len(owned),
                sum(bool(selection.names & {f"{name}.weight", f"{name}.bias"}) for name in owned),
                sum(name in selection.statistics for name in owned),
            )
        )
    return rows


def within(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a dotted name lies at or below one of the prefixes; the empty prefix holds everything."""
    return any(prefix == "" or name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
