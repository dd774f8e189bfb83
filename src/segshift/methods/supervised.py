"""Supervised training and fine-tuning: minimise the loss of labelled pixels.

    theta <- theta - lr * grad mean_{valid pixels} loss(f_theta(x), y)

On the source it trains the source model; on the target with its labels it is fine-tuning, and the tuning says what may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, final

from torch import Tensor, nn

from segshift.methods.losses import find_loss
from segshift.methods.method import Kind, Stepper
from segshift.models import SegmentationModel
from segshift.types import Batch


@final
class Supervised:
    """Labels of one domain, `source` or `target`; `loss` is cross-entropy, dice or cross-entropy+dice."""

    kind: ClassVar[Kind] = "trains"
    summary: ClassVar[str] = "train, or fine-tune with labels"
    paper: ClassVar[str] = "-"
    version: ClassVar[int] = 1

    def __init__(self, *, domain: Literal["source", "target"] = "source", loss: str = "cross-entropy") -> None:
        self.domain = domain
        self.criterion = find_loss(loss)

    @property
    def sees(self) -> frozenset[str]:
        return frozenset({self.domain, f"{self.domain}_labels"})

    def begin(self, model: nn.Module) -> None:
        pass

    def modules(self) -> Mapping[str, tuple[nn.Module, Mapping[str, Any]]]:
        return {}

    def step(self, batches: Mapping[str, Batch], stepper: Stepper) -> dict[str, Tensor]:
        batch = batches[self.domain]
        assert batch.labels is not None  # declared in `sees`
        valid = stepper.valid_pixels(self.domain)
        outputs = stepper.outputs(batch.images)
        stepper.tally(outputs.logits, batch.labels)
        loss = stepper.model.loss(outputs, batch.labels, lambda logits, labels: self.criterion(logits, labels, valid))
        stepper.backward(loss)
        stepper.update()
        return {"loss": loss.detach()}

    def predictor(self) -> SegmentationModel | None:
        return None

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass
