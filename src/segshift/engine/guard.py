"""Answers to a stream by a method that learns from it, with what breaks the model taken back.

An answer is broken where it is not finite. A model collapses, at once or little by little, where it calls the pixels of a batch fewer classes than the model
as it began does, normalised by the batch as all methods that keep something do,

    exp H(q) < least_classes * exp H(q0)        q, q0 the shares of the batch's pixels that are called each class, H in nats

Of called classes, not of probabilities, for a method that makes a model surer takes nothing away by that. Either leads back to the last state that was seen
to answer well, and the batch is answered from there; where that state does not answer this batch well either, to the beginning, and the model as it began
answers. A method answers before its last step, so that a state is known to be good, or not, by the next batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segshift.methods import OnlineMethod
from segshift.methods.entropy import effective_classes
from segshift.methods.normalization import normalise_by_batch
from segshift.models.layers import normalization_layers

CHECK_EVERY = 10
"""Most batches between two checks for a collapse, each of which costs a forward pass and a copy of the method's state: 1, 2, 4, ... where it is young."""


@final
class Guard:
    """A method at work on a stream. `began` is the model as it was before the method had it, in evaluation mode; it belongs to the guard."""

    def __init__(self, method: OnlineMethod, began: nn.Module, least_classes: float) -> None:
        self._method, self._began, self._least_classes = method, began, least_classes
        self._good: dict[str, Any] | None = method.state_dict() if method.keeps else None
        if method.keeps:
            normalise_by_batch(normalization_layers(began))
        self._wait = self._gap = 1
        self.batches = 0
        self.broken = 0
        self.collapsed = 0

    def __call__(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k h w"]:
        """Logits for these images."""
        self.batches += 1
        if self._good is None:
            return self._method.adapt_and_predict(images)
        self._wait -= 1
        before = self._method.state_dict() if self._wait == 0 else None
        logits = self._method.adapt_and_predict(images)
        if self._breaks(logits, None if before is None else images, count=True):
            return self._again(images)
        if before is not None:
            self._good = before
            self._wait, self._gap = self._gap, min(2 * self._gap, CHECK_EVERY)
        return logits

    def settle(self, images: Float[Tensor, "b 3 h w"]) -> None:
        """Takes the last steps back where the state that they led to does not answer these images well; teaches nothing."""
        if self._good is None:
            return
        arrived = deepcopy(self._began)  # normalised by the batch, as the method's own model is
        arrived.load_state_dict(self._method.model_state())
        with torch.no_grad():
            logits = arrived(images)
        if self._breaks(logits, images, count=True):
            self._method.load_state_dict(self._good)

    def _breaks(self, logits: Tensor, images: Tensor | None, count: bool) -> bool:
        """Whether an answer is broken or, with the images it answers, collapsed."""
        finite = bool(torch.isfinite(logits).all())
        collapsed = finite and images is not None and self._fewer_classes(logits, images)
        self.broken += count and not finite
        self.collapsed += count and collapsed
        return collapsed or not finite

    def _again(self, images: Tensor) -> Tensor:
        """The answer of the last good state, or of the beginning; it learns nothing from what led astray."""
        assert self._good is not None  # there is one to go back to
        resets = self._method.resets
        self._method.load_state_dict(self._good)
        logits = self._method.adapt_and_predict(images)
        if self._breaks(logits, images, count=False):  # good on other batches: it may have eroded there without being seen
            self._method.reset()
            self._good = self._method.state_dict()
            with torch.no_grad():
                logits = self._began(images)
        self._method.load_state_dict(self._good)
        self._method.resets = resets  # one of its own in these steps is taken back with them
        self._wait = self._gap = 1
        return logits

    @torch.no_grad()
    def _fewer_classes(self, logits: Tensor, images: Tensor) -> bool:
        if self._least_classes == 0:
            return False
        return bool(effective_classes(logits) < self._least_classes * effective_classes(self._began(images)))

    def reset(self) -> None:
        """The method as it began; what was counted stays."""
        self._method.reset()
        if self._good is not None:
            self._good = self._method.state_dict()
            self._wait = self._gap = 1

    def state_dict(self) -> dict[str, Any]:
        """The method's state, the last good one, when the next check is due, and the counts."""
        counts = {"batches": self.batches, "broken": self.broken, "collapsed": self.collapsed, "wait": self._wait, "gap": self._gap}
        return {"method": self._method.state_dict(), "good": self._good, "counts": counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on as if nothing had stopped it."""
        self._method.load_state_dict(state["method"])
        self._good, counts = state["good"], state["counts"]
        self.batches, self.broken, self.collapsed = counts["batches"], counts["broken"], counts["collapsed"]
        self._wait, self._gap = counts["wait"], counts["gap"]

    def counts(self) -> dict[str, int]:
        """Batches, and how many of them led to a rollback and why, since it began."""
        return {"batches": self.batches, "not_finite": self.broken, "collapsed": self.collapsed, "resets_of_the_method": self._method.resets}


def describe_trouble(counts: Mapping[str, int]) -> str:
    """What was rolled back, and how often the method took itself back; "" for neither.

    >>> describe_trouble({"batches": 20, "not_finite": 1, "collapsed": 2, "resets_of_the_method": 0})
    '3 rollbacks in 20 batches (1 not finite, 2 collapsed)'
    >>> describe_trouble({"batches": 20, "not_finite": 0, "collapsed": 0, "resets_of_the_method": 1})
    '1 reset of its own in 20 batches'
    """
    parts = [f"{counts[key]} {key.replace('_', ' ')}" for key in ("not_finite", "collapsed") if counts[key]]
    total, own = counts["not_finite"] + counts["collapsed"], counts["resets_of_the_method"]
    batches = f"in {counts['batches']} batch{'es' * (counts['batches'] != 1)}"
    rollbacks = f"{total} rollback{'s' * (total != 1)} {batches} ({', '.join(parts)})" if parts else ""
    resets = f"{own} reset{'s' * (own != 1)} of its own{'' if parts else f' {batches}'}" if own else ""
    return ", ".join(filter(None, (rollbacks, resets)))
