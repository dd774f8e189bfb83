"""The trackers of a run from outside: none can stop it, each is told what happens and how it ends, and none is part of what a run is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console

from segshift.engine import train
from segshift.engine.adapt import adaptation_recipe
from segshift.engine.execute import execute
from segshift.engine.logs import Reporter
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.engine.trackers import TRACKERS
from segshift.engine.trackers.tracker import Subject
from segshift.engine.tracking import Tracking
from segshift.errors import RecipeError
from segshift.methods import METHODS, Supervised

TEST = "streets::test?size=64x32&count=2"


class Recorder:
    """A tracker that remembers, and raises where it is told to."""

    summary, packages = "", ()
    calls: ClassVar[list[tuple[Any, ...]]] = []
    raises: str = ""

    def __init__(self) -> None:
        self.where = "nowhere"

    def begin(self, subject: Subject) -> int:
        return self._remember("begin", subject) or -1

    def write(self, values: Mapping[str, float], position: int) -> None:
        self._remember("write", position, *values)

    def evaluated(self, values: Mapping[str, float], position: int) -> None:
        self._remember("evaluated", position, *values)

    def end(self, status: str) -> None:
        self._remember("end", status)

    def _remember(self, *call: Any) -> None:
        self.calls.append(call)
        if call[0] == self.raises:
            raise OSError(28, "No space left\non device")


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    monkeypatch.setitem(TRACKERS, "recorder", Recorder)
    monkeypatch.setattr(Recorder, "calls", [])
    return Recorder


@pytest.mark.parametrize("raises", ["begin", "write", "evaluated", "end"])
def test_a_tracker_that_fails_is_told_once_and_switched_off(raises: str, recorder: type[Recorder], monkeypatch: pytest.MonkeyPatch, source_run: Run) -> None:
    monkeypatch.setattr(Recorder, "raises", raises)
    console = Console(record=True, file=StringIO(), width=300)
    tracking = Tracking(["recorder"], Reporter(console))
    tracking.begin(source_run)
    for position in (7, 8, 9):
        tracking.write("step", position, {"loss": 1.0})
    for evaluation in source_run.evaluations()[:1] * 2:
        tracking.evaluated(evaluation.record)
    tracking.end("finished")
    line = "recorder is switched off ([Errno 28] No space left on device): the run goes on, and metrics.jsonl has everything\n"
    said = console.export_text()
    assert said.count(line) == said.count("switched off") == 1
    done = [call[0] for call in recorder.calls]
    assert done[-2:] == [raises, "end"]  # it is left as whole as it can be


class Broken(Recorder):
    """It cannot write."""

    calls: ClassVar[list[tuple[Any, ...]]] = []
    raises = "write"


def test_a_stopped_run_goes_on_and_ends_as_any_other_though_a_tracker_fails(
    recorder: type[Recorder], monkeypatch: pytest.MonkeyPatch, source_run: Run, tiny: Callable[..., Recipe], tmp_path: Path
) -> None:
    class Stops(Supervised):
        def step(self, batches: Any, stepper: Any) -> Any:
            if stepper.position == 3:
                os.kill(os.getpid(), signal.SIGINT)
            return super().step(batches, stepper)

    monkeypatch.setitem(TRACKERS, "broken", Broken)
    recipe = tiny("compute.trackers=[broken, recorder]")
    with monkeypatch.context() as patch:
        patch.setitem(METHODS, "supervised", Stops)
        with pytest.raises(train.Interrupted):
            execute(recipe, tmp_path / "run")
    assert recorder.calls[-1] == ("end", "interrupted")
    run = execute(recipe, tmp_path / "run", resume=True)
    assert [call[1].position for call in recorder.calls if call[0] == "begin"] == [0, 3]
    assert recorder.calls[-1] == ("end", "finished")
    assert [call[0] for call in Broken.calls] == ["begin", "write", "end"] * 2
    assert run.record["weights_hash"] == source_run.record["weights_hash"]
    assert [line["event"] for line in run.metrics()] == [line["event"] for line in source_run.metrics()]


def test_a_finished_run_that_is_asked_for_again_opens_nothing(recorder: type[Recorder], source_run: Run) -> None:
    recipe = source_run.recipe
    compute = recipe.compute.model_copy(update={"trackers": ("recorder",)})
    execute(recipe.model_copy(update={"compute": compute}), source_run.path)
    assert recorder.calls == []


def test_a_repair_without_training_is_tracked_too(recorder: type[Recorder], source_run: Run, tmp_path: Path) -> None:
    target = "streets::val?size=64x32&count=4+fog=0.02"
    recipe = adaptation_recipe(source_run.recipe, "adabn", target=target, tests={"fog": TEST}, changes=("compute.trackers=[recorder]",))
    run = execute(recipe, tmp_path / "adabn", source_run)
    (_, subject), (event, position, first, *_), end = recorder.calls
    assert (event, position, first, end) == ("evaluated", 0, "test/fog/miou", ("end", "finished"))
    assert subject.config["parent.identity"] == source_run.record["identity"]
    assert subject.config["method.name"] == "adabn"
    assert subject.folder == run.path


def test_a_name_that_is_none_and_a_missing_package_are_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., Recipe], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"compute\.trackers: unknown tracker 'tensorbord': did you mean 'tensorboard'\? Known: mlflow, tensorboard, wandb"):
        tiny("compute.trackers=[tensorbord]")
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "alembic", None)
    recipe = tiny("compute.trackers=[wandb, tensorboard, mlflow]")
    with pytest.raises(RecipeError, match=r"wandb, mlflow: not installed: pip install 'segshift\[wandb,mlflow\]'"):
        execute(recipe, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_trackers_are_no_part_of_what_a_run_is(tiny: Callable[..., Recipe]) -> None:
    assert tiny("compute.trackers=[tensorboard]").identity() == tiny().identity()
    assert validate_recipe(tiny("compute.trackers=[mlflow]").model_dump(mode="json")).compute.trackers == ("mlflow",)
