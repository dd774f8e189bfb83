"""Weights & Biases: offline in RUN/wandb, until somebody logs in.

Every session of an offline run holds the whole run so far: `wandb sync` knows no resuming, and lets the rows of a file
take the place of those that were uploaded before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, final

from segshift.engine.trackers.tracker import Subject

EXIT_CODES = {"finished": 0, "failed": 1, "interrupted": 130}
PATIENCE = 300.0
"""Seconds that the end of a run waits for a slow network; the rest stays in RUN/wandb."""


@final
class WandB:
    """A run whose id is the start of the run's identity. Rows are optimizer steps; tests stand in the summary, as they have no course."""

    summary: ClassVar[str] = "Weights & Biases, offline in RUN/wandb until `wandb login`"
    packages: ClassVar[tuple[str, ...]] = ("wandb",)

    def __init__(self) -> None:
        self.where = ""
        self._run: Any = None

    def begin(self, subject: Subject) -> int:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # it would call home from an offline run as well
        import wandb

        offline = "WANDB_MODE" not in os.environ and not wandb.login(prompt=False, verify=False)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "segshift"),
            id=subject.identity[:16],
            name=subject.name,
            dir=subject.folder,
            config=dict(subject.config),
            mode="offline" if offline else None,
            resume=None if offline else "allow",
            reinit="create_new",  # a run that the caller has open is none of ours
            settings=wandb.Settings(console="off", silent=True, save_code=False, disable_git=True, finish_timeout=PATIENCE),
        )
        self.where = f"offline; to upload it: wandb sync {self._run.sync_dir}" if self._run.offline else str(self._run.url)
        return -1

    def write(self, values: Mapping[str, float], position: int) -> None:
        if position >= self._run.starting_step:  # rows that the server has cannot be written again
            self._run.log(dict(values), step=position)

    def evaluated(self, values: Mapping[str, float], position: int) -> None:
        self._run.summary.update(dict(values))

    def end(self, status: str) -> None:
        self._run.finish(exit_code=EXIT_CODES[status])
