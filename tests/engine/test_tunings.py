"""Every tuning through the training loop: what is frozen stays bit for bit, what changes while training runs goes on after a stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from segshift.diagnose import Diagnosis, compare_parameters
from segshift.engine import train
from segshift.engine.checkpoint import load_state
from segshift.engine.execute import execute
from segshift.engine.folder import make_plan
from segshift.engine.logs import Reporter
from segshift.engine.recipe import Recipe
from segshift.engine.run import Run
from segshift.errors import MissingDataError, RecipeError
from segshift.methods import METHODS, Supervised
from segshift.methods.ema import ExponentialMovingAverage
from segshift.models import create_model
from segshift.tuning import TUNINGS, create_tuning

DECAY = ("optimizer.name=adamw", "optimizer.weight_decay=0.1", "training.epochs=2", "training.save_every=1")
OPTIONS: dict[str, tuple[str, ...]] = {
    "random-k": ("tuning.k=5",),
    "lp-ft": ("tuning.probe=0.5",),
    "lora": ("tuning.rank=2",),
    "auto-snr": ("tuning.threshold=0.01",),
}
CHANGING = ("lp-ft", "gradual", "auto-rgn", "auto-snr", "lora")


@pytest.fixture(scope="module")
def fresh(tiny: Callable[..., Recipe]) -> dict[str, Tensor]:
    """The weights that every run of `tiny` begins with."""
    recipe = tiny().model
    return create_model(recipe.architecture, encoder=recipe.encoder, classes=19, seed=0, **recipe.options).state_dict()


@pytest.mark.parametrize("name", TUNINGS)
def test_what_is_frozen_is_bit_identical_afterwards(name: str, tiny: Callable[..., Recipe], fresh: dict[str, Tensor], tmp_path: Path) -> None:
    options = OPTIONS.get(name, ())
    recipe = tiny().model
    model = create_model(recipe.architecture, encoder=recipe.encoder, classes=19, seed=0, **recipe.options)
    if name == "top-k":
        other = create_model(recipe.architecture, encoder=recipe.encoder, classes=19, seed=1, **recipe.options)
        (tmp_path / "diagnosis.json").write_text(Diagnosis("clean", {"a": compare_parameters(model, other)}).to_json())
        options = (f"tuning.diagnosis={tmp_path}", "tuning.k=4")
    run = execute(tiny(f"tuning.name={name}", *options, *DECAY), tmp_path / "run")
    tuning = create_tuning(name, **run.recipe.tuning.options)
    chosen = tuning.prepare(model)
    reached = chosen.phases[:2] or (chosen,)  # of two epochs
    names = frozenset().union(*(phase.names for phase in reached))
    learned = {key.replace(".parametrizations.weight.0.a", ".weight").replace(".parametrizations.weight.0.b", ".weight") for key in names}
    statistics = frozenset().union(*(phase.statistics for phase in reached))
    after = run.load_model().state_dict()
    assert after.keys() == fresh.keys()
    changed = {key for key in fresh if not torch.equal(after[key], fresh[key])}
    moving = {f"{norm}.{key}" for norm in statistics for key in ("running_mean", "running_var", "num_batches_tracked")}
    assert changed <= learned | moving
    share = len(changed & learned) / len(learned & fresh.keys())
    assert share > 0 if name == "auto-snr" else share > 0.9
    assert moving <= changed
    state = load_state(run.path / "last.safetensors")
    assert state["stepper"]["optimizers"]["model"].keys() <= names, "no optimizer state of what is frozen"


class Averaged:
    """Supervised training whose result is the average over its steps."""

    kind, summary, paper, version = "trains", "", "-", 1

    def __init__(self, *, domain: Literal["source", "target"] = "source", loss: str = "cross-entropy") -> None:
        self.inner = Supervised(domain=domain, loss=loss)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def begin(self, model: nn.Module) -> None:
        self.ema = ExponentialMovingAverage(model, 0.7)

    def step(self, batches: Any, stepper: Any) -> dict[str, Tensor]:
        logged = self.inner.step(batches, stepper)
        self.ema.update(stepper.model)
        return logged

    def predictor(self) -> nn.Module:
        return self.ema.average


@pytest.mark.parametrize("name", ["freeze-n-update", "encoder-frozen", "lora"])
def test_what_is_frozen_is_bit_identical_in_an_average_too(
    name: str, tiny: Callable[..., Recipe], fresh: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(METHODS, "averaged", Averaged)
    run = execute(tiny(f"tuning.name={name}", "method.name=averaged", *DECAY), tmp_path / "run")
    plain = execute(tiny(f"tuning.name={name}", *DECAY), tmp_path / "plain")
    after, last = run.load_model().state_dict(), plain.load_model().state_dict()
    changed = {key for key in fresh if not torch.equal(after[key], fresh[key])}
    assert changed == {key for key in fresh if not torch.equal(last[key], fresh[key])}
    assert any(not torch.equal(after[key], last[key]) for key in changed), "an average is not the last step"


def test_a_run_is_what_its_diagnosis_says_wherever_that_lies(tiny: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = tiny().model
    clean, one, two = (create_model(recipe.architecture, encoder=recipe.encoder, classes=19, seed=seed, **recipe.options) for seed in range(3))
    identities = []
    for place, other in enumerate((one, one, two)):
        file = tmp_path / str(place) / "diagnosis.json"
        file.parent.mkdir()
        file.write_text(Diagnosis("clean", {"a": compare_parameters(clean, other)}).to_json())
        asked = tiny("tuning.name=top-k", f"tuning.diagnosis={file.parent if place else file}")
        identities.append(make_plan(asked, Supervised(), None, None).identity)
    assert identities[0] == identities[1] != identities[2]
    with pytest.raises(MissingDataError, match="no diagnosis at nowhere: make one with"):
        execute(tiny("tuning.name=top-k", "tuning.diagnosis=nowhere"), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "told before anything begins"
    with pytest.raises(RecipeError, match="tuning top-k needs to know what moved: give diagnosis"):
        execute(tiny("tuning.name=top-k"), tmp_path / "run")


class Stop(BaseException):
    """Takes the place of a kill."""


@pytest.mark.parametrize("name", CHANGING)
def test_a_tuning_that_changes_goes_on_after_a_stop(name: str, tiny: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = tiny(f"tuning.name={name}", *OPTIONS.get(name, ()), *DECAY)
    whole = execute(recipe, tmp_path / "whole")
    step = Supervised.step
    for stop in (2, 4):  # of six steps, three an epoch

        def halted(self: Supervised, batches: Any, stepper: Any, stop: int = stop) -> Any:
            if stepper.position == stop:
                raise Stop
            return step(self, batches, stepper)

        monkeypatch.setattr(Supervised, "step", halted)
        with pytest.raises(Stop):
            execute(recipe, tmp_path / "broken", resume=stop > 2)
    monkeypatch.setattr(Supervised, "step", step)
    resumed = execute(recipe, tmp_path / "broken", resume=True)
    assert resumed.record["weights_hash"] == whole.record["weights_hash"]


def test_phases_begin_when_they_say_and_are_shown(tiny: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: list[int] = []
    step = Supervised.step

    def counted(self: Supervised, batches: Any, stepper: Any) -> Any:
        seen.append(sum(p.requires_grad for p in stepper.model.parameters()))
        return step(self, batches, stepper)

    monkeypatch.setattr(Supervised, "step", counted)
    console = Console(record=True, width=200)
    execute(tiny("tuning.name=gradual", "training.epochs=3"), tmp_path / "gradual", reporter=Reporter(console))
    assert seen[0] == seen[2] < seen[3] == seen[5] < seen[6] == seen[8]
    said = console.export_text()
    assert "what may change, in 8 phases" in said
    assert [line.split()[0] for line in said.splitlines() if line.strip()[:1].isdigit() and "/" in line] == list("12345678")
    assert "3 epochs reach phase 3 of 8: what the later ones open stays frozen" in said
    seen.clear()
    execute(tiny("tuning.name=lp-ft", "tuning.probe=0.3"), tmp_path / "lp-ft")
    assert seen[0] == seen[1] < seen[2] == seen[5] == len(list(Run.open(tmp_path / "lp-ft").load_model().parameters()))


def test_surgical_rates_are_the_shares_that_their_equations_say(tiny: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One epoch of plain SGD: every tensor's update is its gradient, times the rate, times RGN over the largest RGN so far."""
    steps: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
    update = train.FabricStepper.update

    def spy(self: Any, name: str = "model") -> None:
        before = {key: p.detach().clone() for key, p in self.model.named_parameters()}
        gradients = {key: p.grad.clone() for key, p in self.model.named_parameters() if p.grad is not None}
        update(self, name)
        steps.append((gradients, {key: before[key] - p.detach() for key, p in self.model.named_parameters()}))
        norms.append({key: float(before[key].norm()) for key in gradients})

    norms: list[dict[str, float]] = []
    monkeypatch.setattr(train.FabricStepper, "update", spy)
    plain = ("optimizer.name=sgd", "optimizer.momentum=0", "optimizer.lr=0.5", "schedule.name=constant", "training.epochs=1")
    run = execute(tiny("tuning.name=auto-rgn", *plain), tmp_path / "run")
    sums: dict[str, float] = {}
    kept: dict[str, float] = {}
    for (gradients, moved), size in zip(steps, norms, strict=True):
        for key, gradient in gradients.items():
            sums[key] = sums.get(key, 0.0) + (float(gradient.norm()) / size[key] if norms[0][key] else 0.0)  # what began as zeros has no ratio
        most = max(sums.values())
        for key, gradient in gradients.items():
            rate = sums[key] / most if sums[key] else 1.0
            kept[key] = rate
            assert torch.allclose(moved[key], 0.5 * rate * gradient, rtol=1e-3, atol=2.5e-7), key  # a weight of 2 to 4 is stored in steps of 2.4e-7
    told = json.loads((run.path / "rates.json").read_text())
    assert told["epoch"] == 1
    assert told["rates"] == pytest.approx(kept, rel=1e-3)
    line = next(line for line in run.metrics() if line["event"] == "epoch")
    assert (line["tensors_learning"], line["median_rate"]) == (len(kept), pytest.approx(np.median(list(kept.values())), rel=1e-3))
