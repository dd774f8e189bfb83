"""What the driver of a study and the processes that perform its runs say to one another."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, final

Kind = Literal["progress", "said", "done", "failed", "missing", "full", "interrupted", "lost"]


@final
@dataclass(frozen=True)
class Job:
    """One run to perform: its complete recipe, its folder, its parent's folder; `existing` runs are only tested.

    `identity` is what it must have, `fingerprints` are the hashes of its tests' data, by label: a machine with other data must not do it.
    `diagnose` has the folders of the runs that its parent is compared with, threshold and granularity.
    """

    key: str
    recipe: Mapping[str, Any]
    folder: str
    parent: str | None = None
    existing: bool = False
    identity: str | None = None
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    diagnose: Mapping[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `Job(**...)` reads it back."""
        return asdict(self)


@final
@dataclass(frozen=True)
class Message:
    """What happened to a job. `missing`: this machine has not the data. `full`: the disk is. `lost`: its process is gone, and nothing is known but that.

    `progress` counts images and says how many seconds training still takes, or this evaluation. `seconds` are those that a run took, `memory` its bytes.
    """

    kind: Kind
    key: str
    text: str = ""
    done: int = 0
    total: int = 0
    left: float = 0.0
    seconds: float = 0.0
    memory: int = 0


class Executor(Protocol):
    """Where jobs run: processes here, or a cluster."""

    @property
    def tries(self) -> int:
        """How often a run is begun whose process dies."""
        ...

    @property
    def threads(self) -> int:
        """Of each run."""
        ...

    @property
    def slots(self) -> int:
        """How many more jobs may start now."""
        ...

    def start(self, job: Job) -> None:
        """Begins a job in a free slot."""
        ...

    def wait(self, seconds: float) -> list[Message]:
        """What happened, waiting at most so long for the first message."""
        ...

    def stop(self) -> None:
        """Asks what runs to save and to end as interrupted."""
        ...

    def close(self) -> None:
        """Ends every process at once."""
        ...


def perform(job: Job, send: Callable[[Message], None]) -> None:
    """Does a job in this process, telling how it goes; never raises what a job can do wrong."""
    from segshift.engine.train import Interrupted
    from segshift.errors import DiskFullError, MissingDataError, UserError

    try:
        _perform(job, send)
    except Interrupted:
        send(Message("interrupted", job.key))
    except DiskFullError as error:
        send(Message("full", job.key, str(error)))
    except MissingDataError as error:
        send(Message("missing", job.key, str(error)))
    except UserError as error:
        send(Message("failed", job.key, str(error)))
    except Exception as error:
        send(Message("failed", job.key, f"unexpected {type(error).__name__}: {error}\n{traceback.format_exc()}"))
    else:
        send(Message("done", job.key, memory=peak_memory()))


def _perform(job: Job, send: Callable[[Message], None]) -> None:
    from segshift.data.dataset import open_domain
    from segshift.engine.execute import evaluate_tests, execute
    from segshift.engine.folder import Compared, open_tests
    from segshift.engine.processes import choose_device
    from segshift.engine.read_recipe import validate_recipe
    from segshift.engine.run import Run
    from segshift.errors import MissingDataError
    from segshift.study.forward import ForwardingReporter

    recipe, reporter = validate_recipe(job.recipe, (), job.key), ForwardingReporter(job.key, send)
    for label, fingerprint in job.fingerprints.items():
        if open_domain(recipe.data.tests[label], depth=False).fingerprint() != fingerprint:
            raise MissingDataError(f"{recipe.data.tests[label]} (test {label}) has other images here than where the study was planned")
    if job.existing:
        run = Run.open(job.folder)
        evaluate_tests(run, recipe, open_tests(recipe, run.label_space), choose_device(recipe.compute.device), reporter)
        return
    compared = None
    if job.diagnose is not None:
        compared = Compared(tuple(map(Run.open, job.diagnose["runs"])), job.diagnose["threshold"], job.diagnose["granularity"])
    parent = Run.open(job.parent) if job.parent else None
    execute(recipe, Path(job.folder), parent, resume=True, reporter=reporter, identity=job.identity, compared=compared)


def peak_memory() -> int:
    """The most memory that this process had, in bytes; 0 where the system does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    import sys

    return peak if sys.platform == "darwin" else 1024 * peak
