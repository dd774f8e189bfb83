"""EATA: entropy minimisation on reliable, not redundant pixels, held to the parameters that matter on the source.

Niu et al., "Efficient test-time model adaptation without forgetting", ICML 2022. With H the entropy of a pixel, p its prediction and m the running mean
of the predictions that were learned from,

    S(x)  = exp(E0 - H) [H < E0] [|cos(p, m)| < epsilon]                          (1)  weight of a pixel, without gradient
    L     = sum S H / sum [S > 0] + anchor sum_i F_i (theta_i - theta_i^0)^2       (2)  over scale and shift theta of the norms
    m    <- 0.9 m + 0.1 mean of p where S > 0                                      (3)
    F_i   = mean_batches (d CE(f(x), argmax f(x)) / d theta_i)^2                   (4)  on source images, without their labels

Departures from the paper, which classifies whole images: samples are pixels, as a street's mean prediction hardly differs from that of the next street;
epsilon is 0.4, the authors' for 10 classes, not 0.05, theirs for 1,000: of some 20 classes hardly a pixel lies so far from the mean once there is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from segshift.errors import DataError, RecipeError
from segshift.methods.adapted import AdaptedParameters, OptimizerName
from segshift.methods.entropy import pixel_entropy
from segshift.methods.method import Kind, Pool
from segshift.methods.normalization import begin_with_affine
from segshift.methods.tent import check_rate

MEAN_KEPT = 0.9


@final
class Eata:
    """`margin` is E0 / ln K, `epsilon` the similarity from which a pixel is redundant (1: none is), `anchor` the weight of the Fisher term.

    The Fisher information is measured on `fisher_images` source images, in batches of `batch_size`; an `anchor` of 0 needs no source.
    """

    kind: ClassVar[Kind] = "online"
    summary: ClassVar[str] = "TENT on reliable, not redundant pixels, with a Fisher anchor"
    paper: ClassVar[str] = "Niu et al. 2022, Efficient test-time model adaptation without forgetting"
    version: ClassVar[int] = 2
    keeps: ClassVar[bool] = True
    resets: int = 0

    def __init__(
        self,
        *,
        lr: float = 1e-3,
        optimizer: OptimizerName = "adam",
        margin: float = 0.4,
        epsilon: float = 0.4,
        anchor: float = 2000.0,
        fisher_images: int = 200,
        batch_size: int = 8,
    ) -> None:
        check_rate(lr)
        if not 0 < margin <= 1:
            raise RecipeError(f"margin is {margin}: it is the largest entropy that counts over ln K, in (0, 1]")
        if not 0 < epsilon <= 1:
            raise RecipeError(f"epsilon is {epsilon}: it is a cosine, in (0, 1]; 1 keeps redundant pixels")
        if not 0 <= anchor < math.inf:
            raise RecipeError(f"anchor is {anchor}: the weight of the Fisher term is 0 or more")
        if fisher_images < 1 or batch_size < 1:
            raise RecipeError(f"fisher_images is {fisher_images} and batch_size is {batch_size}: both must be 1 or more")
        self.lr, self.optimizer = lr, optimizer
        self.margin, self.epsilon, self.anchor = margin, epsilon, anchor
        self.fisher_images, self.batch_size = fisher_images, batch_size

    @property
    def sees(self) -> frozenset[str]:
        return frozenset({"target", "source"} if self.anchor > 0 else {"target"})

    def begin(self, model: nn.Module) -> None:
        learned, self.touches = begin_with_affine(model, "eata")
        self._model = model
        self._adapted = AdaptedParameters(model, learned, self.optimizer, self.lr)
        self._fisher: dict[str, Tensor] = {}
        self._mean: Tensor | None = None

    def prepare(self, pool: Pool) -> dict[str, Any]:
        if self.anchor == 0:
            return {}
        count = pool.sizes["source"]
        if count == 0:
            raise DataError("eata measures the Fisher information on source images and there is none: name a source, or set anchor to 0")
        drawn = torch.randperm(count, generator=pool.generator)[: self.fisher_images].tolist()
        batches = 0
        sums = {name: torch.zeros_like(parameter) for name, parameter in self._adapted.parameters.items()}
        for batch in pool.load([("source", index) for index in drawn], self.batch_size):
            logits = self._model(batch.images)
            self._adapted.gradients_of(F.cross_entropy(logits, logits.detach().argmax(1)))
            for name, parameter in self._adapted.parameters.items():
                if parameter.grad is not None:
                    sums[name] += parameter.grad**2
            batches += 1
        self._adapted.optimizer.zero_grad(set_to_none=True)
        self._fisher = {name: total / batches for name, total in sums.items()}
        return {"fisher_images": len(drawn)}

    def adapt_and_predict(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        logits: Tensor = self._model(images)
        entropy = pixel_entropy(logits)
        p = logits.detach().softmax(1)
        chosen = self._choose(p, entropy.detach())
        if bool(chosen.any()):
            limit = self.margin * math.log(logits.shape[1])
            weights = (limit - entropy.detach()[chosen]).exp()
            self._adapted.descend((weights * entropy[chosen]).mean() + self._anchored())
            mean = p.movedim(1, -1)[chosen].mean(0)
            self._mean = mean if self._mean is None else MEAN_KEPT * self._mean + (1 - MEAN_KEPT) * mean
        return logits.detach()

    def _choose(self, p: Float[Tensor, "b k h w"], entropy: Float[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
        """The pixels of (1)."""
        reliable = entropy < self.margin * math.log(p.shape[1])
        if self._mean is None or self.epsilon == 1:
            return reliable
        return reliable & (F.cosine_similarity(p, self._mean[None, :, None, None], dim=1).abs() < self.epsilon)

    def _anchored(self) -> Tensor | float:
        """The Fisher term of (2)."""
        if not self._fisher:
            return 0.0
        now, before = self._adapted.parameters, self._adapted.source
        return self.anchor * torch.stack([(fisher * (now[name] - before[name]) ** 2).sum() for name, fisher in self._fisher.items()]).sum()

    def reset(self) -> None:
        self._adapted.reset()
        self._mean = None

    def model_state(self) -> dict[str, Tensor]:
        return dict(self._model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return {"adapted": self._adapted.state_dict(), "fisher": self._fisher, "mean": self._mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._adapted.load_state_dict(state["adapted"])
        parameters = self._adapted.parameters
        self._fisher = {name: value.to(parameters[name].device) for name, value in state["fisher"].items()}
        self._mean = None if state["mean"] is None else state["mean"].to(next(iter(parameters.values())).device)
