"""SAR: entropy minimisation on reliable pixels, towards a flat minimum, with a reset when predictions collapse.

Niu et al., "Towards stable test-time adaptation in dynamic wild world", ICLR 2023. Over scale and shift theta of the norms, with H the entropy of a pixel,

    L(theta)  = mean of H over pixels with H < E0                            (1)
    e         = rho dL / |dL|                                                (2)
    theta    <- theta - lr dL(theta + e) / dtheta                            (3)  pixels filtered by (1) at theta and at theta + e
    a        <- 0.9 a + 0.1 L(theta + e);   a < a0: theta and the optimizer as they began   (4)

Departures from the paper: samples are pixels; a0, 0.2 for 1,000 classes, is given in units of ln K (`reset_level` 0.2 / ln 1000); the paper
leaves out the norms of the last blocks (layer4 of a ResNet), before the class is decided; here a decoder follows them and every norm learns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segshift.errors import RecipeError
from segshift.methods.adapted import AdaptedParameters, OptimizerName
from segshift.methods.entropy import pixel_entropy
from segshift.methods.method import Kind, Pool
from segshift.methods.normalization import begin_with_affine
from segshift.methods.tent import check_rate

AVERAGE_KEPT = 0.9


@final
class Sar:
    """`margin` is E0 / ln K, `rho` the length of the step (2), `reset_level` a0 / ln K, 0 for no reset."""

    kind: ClassVar[Kind] = "online"
    summary: ClassVar[str] = "TENT on reliable pixels, sharpness-aware, with a reset"
    paper: ClassVar[str] = "Niu et al. 2023, Towards stable test-time adaptation in dynamic wild world"
    version: ClassVar[int] = 1
    keeps: ClassVar[bool] = True
    resets: int = 0

    def __init__(
        self,
        *,
        lr: float = 1e-3,
        optimizer: OptimizerName = "sgd",
        margin: float = 0.4,
        rho: float = 0.05,
        reset_level: float = 0.2 / math.log(1000),
    ) -> None:
        check_rate(lr)
        if not 0 < margin <= 1:
            raise RecipeError(f"margin is {margin}: it is the largest entropy that counts over ln K, in (0, 1]")
        if not 0 < rho < math.inf:
            raise RecipeError(f"rho is {rho}: the length of the sharpness-aware step is above 0, 0.05 in the paper")
        if not 0 <= reset_level < 1:
            raise RecipeError(f"reset_level is {reset_level}: it is an entropy over ln K, in [0, 1); 0 never resets")
        self.lr, self.optimizer = lr, optimizer
        self.margin, self.rho, self.reset_level = margin, rho, reset_level

    @property
    def sees(self) -> frozenset[str]:
        return frozenset({"target"})

    def begin(self, model: nn.Module) -> None:
        learned, self.touches = begin_with_affine(model, "sar")
        self._model = model
        self._adapted = AdaptedParameters(model, learned, self.optimizer, self.lr)
        self._average: float | None = None

    def prepare(self, pool: Pool) -> dict[str, Any]:
        return {}

    def adapt_and_predict(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        logits: Tensor = self._model(images)
        limit = self.margin * math.log(logits.shape[1])
        entropy = pixel_entropy(logits)
        first = entropy.detach() < limit
        if bool(first.any()):
            self._adapted.gradients_of(entropy[first].mean())
            with self._adapted.moved(self._sharpest_step()):
                entropy = pixel_entropy(self._model(images))
                both = first & (entropy.detach() < limit)
                loss = entropy[both].mean() if bool(both.any()) else None
                if loss is not None:
                    self._adapted.gradients_of(loss)
            if loss is not None:
                self._adapted.optimizer.step()
                self._watch(float(loss.detach()), math.log(logits.shape[1]))
            self._adapted.optimizer.zero_grad(set_to_none=True)
        return logits.detach()

    def _sharpest_step(self) -> dict[str, Tensor]:
        """(2), from the gradients that lie in the parameters."""
        gradients = {name: parameter.grad for name, parameter in self._adapted.parameters.items() if parameter.grad is not None}
        norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
        return {name: gradient * (self.rho / (norm + 1e-12)) for name, gradient in gradients.items()}

    def _watch(self, loss: float, most: float) -> None:
        """(4)."""
        self._average = loss if self._average is None else AVERAGE_KEPT * self._average + (1 - AVERAGE_KEPT) * loss
        if self._average < self.reset_level * most:
            self.reset()
            self.resets += 1

    def reset(self) -> None:
        self._adapted.reset()
        self._average = None

    def model_state(self) -> dict[str, Tensor]:
        return dict(self._model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return {"adapted": self._adapted.state_dict(), "average": self._average, "resets": self.resets}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._adapted.load_state_dict(state["adapted"])
        self._average = state["average"]
        self.resets = max(self.resets, state["resets"])  # what was taken back once was taken back
