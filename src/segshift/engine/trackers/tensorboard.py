"""TensorBoard: event files in RUN/tensorboard, written through PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, final

from segshift.engine.trackers.tracker import Subject, clean


@final
class TensorBoard:
    """Scalars over optimizer steps, and the recipe as hyperparameters. What a kill left behind the checkpoint is purged by its reader."""

    summary: ClassVar[str] = "event files in RUN/tensorboard"
    packages: ClassVar[tuple[str, ...]] = ("tensorboard",)

    def __init__(self) -> None:
        self.where = ""
        self._writer: Any = None
        self._end: Any = None

    def begin(self, subject: Subject) -> int:
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        folder = subject.folder / "tensorboard"
        resumed = any(folder.glob("events.*"))
        self._writer = SummaryWriter(str(folder), purge_step=subject.position + 1 if resumed else None)
        tests = [key.removeprefix("data.tests.") for key in subject.config if key.startswith("data.tests.")]
        shown = ["train/epoch_loss", *["validation/miou"] * ("data.validation" in subject.config), *(f"test/{clean(test)}/miou" for test in tests)]
        experiment, start, self._end = hparams(dict(subject.config), dict.fromkeys(shown, 0.0))
        if not resumed:
            for summary in (experiment, start):
                self._writer.file_writer.add_summary(summary)
        self.where = f"tensorboard --logdir {folder}"
        return subject.position if resumed else -1

    def write(self, values: Mapping[str, float], position: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, position)
        self._writer.flush()  # a kill must not lose what a checkpoint stands behind

    def evaluated(self, values: Mapping[str, float], position: int) -> None:
        self.write(values, position)

    def end(self, status: str) -> None:
        if status == "finished":
            self._writer.file_writer.add_summary(self._end)
        self._writer.close()
