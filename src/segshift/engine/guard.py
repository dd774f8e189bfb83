"""Answers to a stream by a method that learns from it, with what breaks the model taken back.

An answer is broken where it is not finite. A model has collapsed where its predictions use fewer classes than those of the model as it
began, on the same batch,

    exp H(mean p) < share * exp H(mean p0)        p, p0 over the batch's pixels, H in nats

Either leads back to the last state that was seen to be good, and the batch is answered from there.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segshift.methods import OnlineMethod
from segshift.methods.entropy import effective_classes

CHECK_EVERY = 10
"""Batches between two checks for a collapse, each of which costs a forward pass and a copy of the method's state."""

COLLAPSED = 0.5
"""Share of the classes in use below which predictions have collapsed."""


@final
class Guard:
    """A method at work on a stream. `began` is the model as it was before the method had it; without it no collapse is looked for."""

    def __init__(self, method: OnlineMethod, began: nn.Module | None = None) -> None:
        self._method = method
        self._began = began if method.keeps else None
        self._good: dict[str, Any] | None = deepcopy(method.state_dict()) if method.keeps else None
        self.batches = 0
        self.broken = 0
        self.collapsed = 0

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        """Logits for these images."""
        self.batches += 1
        logits = self._method.adapt_and_predict(images)
        if self._good is None:
            return logits
        finite = bool(torch.isfinite(logits).all())
        if finite and self.batches % CHECK_EVERY:
            return logits
        if finite and not self._fewer_classes(logits, images):
            self._good = deepcopy(self._method.state_dict())
            return logits
        self.broken += not finite
        self.collapsed += finite
        self._method.load_state_dict(self._good)
        logits = self._method.adapt_and_predict(images)
        self._method.load_state_dict(self._good)  # what this batch taught led astray before
        return logits

    @torch.no_grad()
    def _fewer_classes(self, logits: Tensor, images: Tensor) -> bool:
        if self._began is None:
            return False
        before = effective_classes(self._began(images).softmax(1))
        return bool(effective_classes(logits.softmax(1)) < COLLAPSED * before)

    def reset(self) -> None:
        """The method as it began; what was counted stays."""
        self._method.reset()
        if self._good is not None:
            self._good = deepcopy(self._method.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """The method's state."""
        return dict(self._method.state_dict())

    def restore(self, state: dict[str, Any], counts: dict[str, int]) -> None:
        """Goes on from a state and its counts."""
        self._method.load_state_dict(state)
        self._good = deepcopy(self._method.state_dict()) if self._good is not None else None
        self.batches, self.broken, self.collapsed = counts["batches"], counts["not_finite"], counts["collapsed"]

    def counts(self) -> dict[str, int]:
        """Batches, and how many of them led to a rollback and why."""
        resets = getattr(self._method, "resets", 0)
        return {"batches": self.batches, "not_finite": self.broken, "collapsed": self.collapsed, "resets_of_the_method": resets}

    @property
    def trouble(self) -> str:
        """What was rolled back, "" for nothing."""
        parts = [f"{count} {what}" for count, what in ((self.broken, "not finite"), (self.collapsed, "collapsed")) if count]
        return f"rolled back {self.broken + self.collapsed} of {self.batches} batches ({', '.join(parts)})" if parts else ""
