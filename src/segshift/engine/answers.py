"""A method at work on the images of a test: what answers them, in what order, and how that is told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast, final

import torch
from torch import Tensor

from segshift.engine.checkpoint import load_state
from segshift.engine.folder import create_method
from segshift.engine.guard import Guard
from segshift.engine.loading import generator_of
from segshift.engine.run import Run
from segshift.engine.sections import StreamRecipe, describe_stream
from segshift.methods import OnlineMethod


@final
class Answers:
    """The method of an online run, begun, prepared and guarded; one stream is answered after the other."""

    def __init__(self, run: Run, device: torch.device | str) -> None:
        self.method = cast(OnlineMethod, create_method(run.recipe))
        self.stream: StreamRecipe = run.recipe.stream
        self._seed = run.recipe.seed
        model = run.load_model().to(device).to(memory_format=torch.channels_last)
        began = run.load_model().to(device).to(memory_format=torch.channels_last) if self.method.keeps else model  # what keeps nothing is not compared
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self.method.begin(model)
        learned = load_state(run.checkpoint("last"), only=("method",)).get("method")
        if learned is not None:
            self.method.load_state_dict(learned)
        self.guard = Guard(self.method, began, self.stream.least_classes)
        self._before = self.guard.counts()

    def predict(self, images: Tensor) -> Tensor:
        """Logits for a batch."""
        if self.stream.reset == "batch":
            self.guard.reset()
        return self.guard(images)

    def begin_domain(self) -> None:
        """Called before the first image of each domain."""
        self._before = self.guard.counts()
        if self.stream.reset == "domain":
            self.guard.reset()

    def order(self, images: int, round_: int = 0) -> Sequence[int]:
        """The order in which so many images come; a shuffle is that of the run's seed and the round."""
        if self.stream.order == "time":
            return range(images)
        return list(torch.randperm(images, generator=generator_of(self._seed, round_)).tolist())

    def counts(self) -> dict[str, int]:
        """Of the domain: its batches, and how many of them led to a rollback and why."""
        return {key: value - self._before[key] for key, value in self.guard.counts().items()}

    def protocol(self, batch_size: int) -> dict[str, Any]:
        """How the answers were made, for the record of an evaluation."""
        return {"prediction": describe_stream(self.stream, batch_size, keeps=self.method.keeps), "stream": self.counts()}
