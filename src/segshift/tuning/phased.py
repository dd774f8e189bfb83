"""Tunings in phases: the head first, so that random or badly fitting features of it do not distort the encoder.

lp-ft     Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022: the head alone, then everything
gradual   Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL 2018: the head, then a stage of the encoder more, top down
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

from segshift.errors import RecipeError
from segshift.models import SegmentationModel
from segshift.models.stages import encoder_stages
from segshift.tuning.selection import select_all, select_classifier, union, within_parts
from segshift.tuning.tuning import Fixed, Progress, Selection


class Phased(Fixed, ABC):
    """One selection after the other; `phase_at` says which."""

    def __init__(self) -> None:
        super().__init__()
        self._phases: tuple[Selection, ...] = ()
        self._phase = 0

    @abstractmethod
    def choose(self, model: SegmentationModel) -> tuple[Selection, ...]:
        """The phases."""

    @abstractmethod
    def phase_at(self, progress: Progress) -> int:
        """The number of the phase, from 0; beyond the last one it is the last."""

    @property
    def selection(self) -> Selection:
        return replace(self._phases[self._phase], phases=self._phases) if self._phases else self._selection

    def prepare(self, model: SegmentationModel) -> Selection:
        self._phases, self._phase = self.choose(model), 0
        return self.selection

    def before_step(self, model: SegmentationModel, progress: Progress) -> bool:
        before, self._phase = self._phase, min(self.phase_at(progress), len(self._phases) - 1)
        return self._phase != before

    def state_dict(self) -> dict[str, Any]:
        return {"phase": self._phase}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._phase = state["phase"]


@final
class LinearProbeThenFineTune(Phased):
    """`probe` in (0, 1) is the share of the steps that the head learns alone."""

    def __init__(self, *, probe: float = 0.5) -> None:
        super().__init__()
        if not 0 < probe < 1:
            raise RecipeError(f"probe is {probe}: it is a share of the steps between 0 and 1")
        self.probe = probe

    def choose(self, model: SegmentationModel) -> tuple[Selection, ...]:
        return select_classifier(model), select_all(model)

    def phase_at(self, progress: Progress) -> int:
        return int(progress.position >= self.probe * progress.total)


@final
class GradualUnfreezing(Phased):
    """`every` epochs the next stage of the encoder learns too, the deepest first; the stem goes with the first stage."""

    def __init__(self, *, every: int = 1) -> None:
        super().__init__()
        if every < 1:
            raise RecipeError(f"every is {every}: it is a number of epochs, 1 or more")
        self.every = every

    def choose(self, model: SegmentationModel) -> tuple[Selection, ...]:
        phases = [select_classifier(model)]
        for stage in reversed(encoder_stages(model)):
            phases.append(union(phases[-1], within_parts(model, stage)))
        return tuple(phases)

    def phase_at(self, progress: Progress) -> int:
        return progress.epoch // self.every
