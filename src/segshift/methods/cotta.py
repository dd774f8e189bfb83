"""CoTTA: a student learns from an averaged teacher's averaged views, and forgets at random.

Wang et al., "Continual test-time domain adaptation", CVPR 2022. With the student f, the teacher f' and the model as it began f0, all with batch norm by
the batch's statistics, on every batch x of the stream

    y   = mean over views v of v^-1 f'(v x)   if the mean confidence of f0(x) < threshold,   else f'(x)            (1)
    L   = mean_pixels - sum_k y_k ln f(x)_k                                                                        (2)
    theta  <- theta - lr dL / dtheta                                                                               (3)
    theta' <- decay theta' + (1 - decay) theta                                                                     (4)
    theta  <- theta0 where a coin of probability `restore` says so, value by value                                 (5)

and the answer is y. Views are the image at seven scales, mirrored or not.

Departures from the paper: (1) decides by the mean confidence of the batch, as the authors' code for classification does, not pixel by pixel; views are
resized bilinearly, of logits too before their softmax is averaged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segshift.errors import RecipeError
from segshift.methods.adapted import AdaptedParameters, OptimizerName
from segshift.methods.ema import ExponentialMovingAverage
from segshift.methods.entropy import cross_entropy_of
from segshift.methods.method import Kind, Pool
from segshift.methods.normalization import normalise_by_batch
from segshift.methods.tent import check_rate
from segshift.models.layers import normalization_layers

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)


@final
class Cotta:
    """`threshold` is the confidence of the model as it began below which views are averaged, over `scales`, each mirrored too."""

    kind: ClassVar[Kind] = "online"
    summary: ClassVar[str] = "all weights from an averaged teacher's averaged views, with random restoration"
    paper: ClassVar[str] = "Wang et al. 2022, Continual test-time domain adaptation"
    version: ClassVar[int] = 1
    keeps: ClassVar[bool] = True
    resets: int = 0

    def __init__(
        self,
        *,
        lr: float = 7.5e-6,
        optimizer: OptimizerName = "adam",
        decay: float = 0.999,
        threshold: float = 0.69,
        restore: float = 0.01,
        scales: tuple[float, ...] = SCALES,
    ) -> None:
        check_rate(lr)
        if not 0 <= decay < 1:
            raise RecipeError(f"decay is {decay}: the share of the teacher that a step keeps is 0 or more and below 1, 0.999 in the paper")
        if not 0 <= threshold <= 1 or not 0 <= restore <= 1:
            raise RecipeError(f"threshold is {threshold} and restore is {restore}: both are probabilities, in [0, 1]")
        if not scales or not all(0 < scale < math.inf for scale in scales):
            raise RecipeError(f"scales are {scales}: at least one, all above 0 and finite")
        self.lr, self.optimizer, self.decay = lr, optimizer, decay
        self.threshold, self.restore, self.scales = threshold, restore, scales

    @property
    def sees(self) -> frozenset[str]:
        return frozenset({"target"})

    def begin(self, model: nn.Module) -> None:
        layers = normalization_layers(model)
        model.eval()
        normalise_by_batch(layers)
        self._model = model
        self._anchor = deepcopy(model).requires_grad_(False)
        self._adapted = AdaptedParameters(model, dict(model.named_parameters()), self.optimizer, self.lr)
        self.touches = f"all {sum(p.numel() for p in model.parameters()):,} parameters, {len(layers)} batch norms by the batch's statistics"
        self._seed = int(torch.randint(2**31, ()))
        self._teacher = ExponentialMovingAverage(model, self.decay, ramp=False)
        self._generator = torch.Generator().manual_seed(self._seed)

    def prepare(self, pool: Pool) -> dict[str, Any]:
        return {}

    def adapt_and_predict(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        with torch.no_grad():
            doubtful = float(self._anchor(images).softmax(1).amax(1).mean()) < self.threshold
            teacher = self._teacher.average
            y = average_views(teacher, images, self.scales) if doubtful else teacher(images).softmax(1)
        self._adapted.descend(cross_entropy_of(y, self._model(images)).mean())
        self._teacher.update(self._model)
        self._forget()
        return y.clamp_min(torch.finfo(y.dtype).tiny).log()

    @torch.no_grad()
    def _forget(self) -> None:
        """(5)."""
        for name, parameter in self._adapted.parameters.items():
            coins = torch.rand(parameter.shape, generator=self._generator).to(parameter.device)
            parameter.copy_(torch.where(coins < self.restore, self._adapted.source[name], parameter))

    def reset(self) -> None:
        self._adapted.reset()
        self._teacher.load_state_dict({"average": self._anchor.state_dict(), "updates": 0})
        self._generator.manual_seed(self._seed)

    def model_state(self) -> dict[str, Tensor]:
        return dict(self._teacher.average.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return {
            "adapted": self._adapted.state_dict(),
            "teacher": self._teacher.state_dict(),
            "generator": self._generator.get_state(),
            "seed": self._seed,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._adapted.load_state_dict(state["adapted"])
        self._teacher.load_state_dict(state["teacher"])
        self._generator.set_state(state["generator"])
        self._seed = state["seed"]


def average_views(model: nn.Module, images: Float[Tensor, "b 3 h w"], scales: tuple[float, ...]) -> Float[Tensor, "b k h w"]:
    """Mean probabilities over the images at these scales, each mirrored too."""
    height, width = images.shape[-2:]
    total: Tensor | None = None
    for scale in scales:
        size = (max(round(height * scale), 1), max(round(width * scale), 1))
        view = images if scale == 1 else F.interpolate(images, size=size, mode="bilinear", align_corners=False)
        for mirrored in (False, True):
            logits = model(view.flip(-1)).flip(-1) if mirrored else model(view)
            if scale != 1:
                logits = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
            total = logits.softmax(1) if total is None else total + logits.softmax(1)
    assert total is not None  # there is a scale
    return total / (2 * len(scales))
