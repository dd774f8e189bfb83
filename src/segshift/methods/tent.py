"""TENT: minimise the entropy of the predictions over scale and shift of the normalisation layers.

Wang et al., "Tent: Fully test-time adaptation by entropy minimization", ICLR 2021. On every batch x of the stream, with batch norm by its own statistics,

    L(x) = mean_pixels H(softmax(f(x)))                                       (1)
    (gamma, beta) <- (gamma, beta) - lr dL / d(gamma, beta)                   (2)

and the answer is f(x) before the step.

Departures from the paper: layer, group and instance norms are tuned too, and a model with these alone is taken; with `steps` above 1 the answer is that
before the last step, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

from jaxtyping import Float
from torch import Tensor, nn

from segshift.errors import RecipeError
from segshift.methods.adapted import AdaptedParameters, OptimizerName
from segshift.methods.entropy import pixel_entropy
from segshift.methods.method import Kind, Pool
from segshift.methods.normalization import begin_with_affine


@final
class Tent:
    """`steps` of `optimizer` at the rate `lr` a batch."""

    kind: ClassVar[Kind] = "online"
    summary: ClassVar[str] = "scale and shift of the norms by the entropy of the predictions"
    paper: ClassVar[str] = "Wang et al. 2021, Tent"
    version: ClassVar[int] = 1
    keeps: ClassVar[bool] = True
    resets: int = 0

    def __init__(self, *, lr: float = 1e-3, optimizer: OptimizerName = "adam", steps: int = 1) -> None:
        check_rate(lr, steps)
        self.lr, self.optimizer, self.steps = lr, optimizer, steps

    @property
    def sees(self) -> frozenset[str]:
        return frozenset({"target"})

    def begin(self, model: nn.Module) -> None:
        learned, self.touches = begin_with_affine(model, "tent")
        self._model = model
        self._adapted = AdaptedParameters(model, learned, self.optimizer, self.lr)

    def prepare(self, pool: Pool) -> dict[str, Any]:
        return {}

    def adapt_and_predict(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        for _ in range(self.steps):
            logits: Tensor = self._model(images)
            self._adapted.descend(pixel_entropy(logits).mean())
        return logits.detach()

    def reset(self) -> None:
        self._adapted.reset()

    def model_state(self) -> dict[str, Tensor]:
        return dict(self._model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return self._adapted.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._adapted.load_state_dict(state)


def check_rate(lr: float, steps: int = 1) -> None:
    """RecipeError for a rate or a number of steps that cannot be."""
    if not 0 < lr < float("inf"):
        raise RecipeError(f"lr is {lr}: a learning rate is above 0, for example 0.001")
    if steps < 1:
        raise RecipeError(f"steps is {steps}: at least one step a batch")
