"""The walls hold: a two-optimizer method and an online method, written against the interface alone, each in under 50 lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segshift.data.dataset import open_domain
from segshift.engine.adapt import adaptation_recipe
from segshift.engine.checkpoint import load_state
from segshift.engine.execute import execute
from segshift.engine.read_recipe import validate_recipe
from segshift.engine.run import Run
from segshift.engine.scoring import score
from segshift.methods import METHODS
from segshift.methods.losses import cross_entropy
from segshift.models import create_model
from segshift.models.layers import normalization_layers
from segshift.types import Batch


class ToyAdversarial:
    """Segmentation on the source; a discriminator tells the domains' predictions apart, the model fools it."""

    kind, summary, paper, version = "trains", "toy", "-", 1

    def __init__(self, *, weight: float = 0.01) -> None:
        self.weight = weight
        self.discriminator = nn.Conv2d(19, 1, 4, stride=4)
        self.criterion = cross_entropy

    @property
    def sees(self) -> frozenset[str]:
        return frozenset({"source", "source_labels", "target"})

    def begin(self, model: Any) -> None: ...

    def modules(self) -> Mapping[str, tuple[nn.Module, Mapping[str, Any]]]:
        return {"discriminator": (self.discriminator, {"name": "adam", "lr": 1e-3})}

    def step(self, batches: Mapping[str, Batch], stepper: Any) -> dict[str, Tensor]:
        assert batches["target"].labels is None  # not declared, so not there
        source, target = batches["source"], batches["target"]
        predicted = stepper.outputs(source.images).logits
        loss = cross_entropy(predicted, source.labels, stepper.valid_pixels("source"))
        guessed = stepper.outputs(target.images).logits
        with stepper.frozen("discriminator"):
            fooled = judge(stepper, guessed.softmax(1), 0.0)
            stepper.backward(loss + self.weight * fooled)
        stepper.update("model")
        told = judge(stepper, predicted.detach().softmax(1), 0.0) + judge(stepper, guessed.detach().softmax(1), 1.0)
        stepper.backward(told / 2)
        stepper.update("discriminator")
        return {"loss": loss.detach(), "discriminator": told.detach()}

    def predictor(self) -> None: ...
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def judge(stepper: Any, probabilities: Tensor, domain: float) -> Tensor:
    logits = stepper.forward("discriminator", probabilities)
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, domain))


class ToyOnline:
    """Predictions of lower entropy: one gradient step on batch norm's scales and shifts before each answer, forgotten by reset."""

    kind, summary, paper, version = "online", "toy", "-", 1
    keeps, resets, touches, sees = True, 0, "batch norm's scales and shifts", frozenset({"target"})

    def begin(self, model: Any) -> None:
        self.model = model
        self.before = {k: v.clone() for k, v in model.state_dict().items()}
        layers = normalization_layers(model.requires_grad_(False).eval()).values()
        self.learned = [p.requires_grad_() for layer in layers for p in (layer.weight, layer.bias)]
        self.optimizer = torch.optim.SGD(self.learned, lr=0.01)

    def adapt_and_predict(self, images: Tensor) -> Tensor:
        logits = self.model(images)
        entropy = -(logits.softmax(1) * logits.log_softmax(1)).sum(1).mean()
        self.optimizer.zero_grad()
        entropy.backward()
        self.optimizer.step()
        return self.model(images)

    def prepare(self, pool: Any) -> dict[str, Any]:
        return {}

    def reset(self) -> None:
        self.load_state_dict(self.before)

    def model_state(self) -> dict[str, Tensor]:
        return self.state_dict()

    def state_dict(self) -> dict[str, Any]:
        return {k: v.clone() for k, v in self.model.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state)


def test_two_optimizers_train_and_resume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(METHODS, "toy-adversarial", ToyAdversarial)
    recipe = validate_recipe(
        {
            "method": {"name": "toy-adversarial", "weight": 0.1},
            "model": {"encoder": "resnet18"},
            "data": {"source": "streets?size=64x32&count=8", "target": "streets::val?size=64x32&count=6+fog=0.02", "size": [32, 64]},
            "training": {"epochs": 2, "batch_size": 4, "save_every": 1},
            "compute": {"workers": 0, "device": "cpu"},
        }
    )
    run = execute(recipe, tmp_path / "run")
    step, broken = ToyAdversarial.step, tmp_path / "broken"

    def dies(self: Any, batches: Any, stepper: Any) -> Any:
        if stepper.position == 3:
            raise OSError("gone")
        return step(self, batches, stepper)

    with monkeypatch.context() as patch:
        patch.setattr(ToyAdversarial, "step", dies)
        with pytest.raises(OSError, match="gone"):
            execute(recipe, broken)
    resumed = execute(recipe, broken, resume=True)
    assert resumed.record["weights_hash"] == run.record["weights_hash"]
    discriminators = [load_state(r.path / "last.safetensors")["stepper"]["modules"]["discriminator"] for r in (run, resumed)]
    assert all(torch.equal(value, discriminators[1][name]) for name, value in discriminators[0].items())
    state = load_state(run.path / "last.safetensors")
    assert set(state["stepper"]["optimizers"]) == {"model", "discriminator"}
    assert set(state["stepper"]["modules"]) == {"discriminator"}
    assert state["stepper"]["optimizers"]["discriminator"]["weight"]["step"] == 4
    assert all("discriminator" in line for line in run.metrics() if line["event"] == "step")
    assert run.record["sees"] == ["source", "source_labels", "target"]
    assert run.record["labels_used"] == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = {
        "model": {"encoder": "resnet18"},
        "data": {"source": "streets?size=64x32&count=8", "size": [32, 64]},
        "training": {"epochs": 1, "batch_size": 4},
        "compute": {"workers": 0, "device": "cpu"},
    }
    return execute(validate_recipe(recipe), tmp_path_factory.mktemp("trained"))


def test_an_online_method_is_run_guarded_and_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trained: Run) -> None:
    monkeypatch.setitem(METHODS, "toy-online", ToyOnline)
    fog = "streets::test?size=64x32&count=4+fog=0.02"
    online = execute(adaptation_recipe(trained.recipe, "toy-online", tests={"fog": fog}), tmp_path / "online", trained)
    offline = execute(adaptation_recipe(trained.recipe, "toy-online", target=fog, tests={"fog": fog}), tmp_path / "offline", trained)
    assert online.evaluations()[0].record["protocol"]["stream"]["batches"] == 1
    assert "touches batch norm's scales and shifts" in online.record["adaptation"]["said"]
    assert online.record["weights_hash"] == trained.record["weights_hash"]
    assert offline.record["weights_hash"] != trained.record["weights_hash"]


def test_online_methods_answer_a_stream_and_reset() -> None:
    model = create_model("unet", encoder="resnet18", classes=19, seed=0)
    method = ToyOnline()
    method.begin(model)
    dataset = open_domain("streets::test?size=64x32&count=4+fog=0.02")
    adapted = score(method.adapt_and_predict, dataset, dataset.label_space, (32, 64), batch_size=2)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, method.before[k])}
    assert changed  # no running statistic, and only where its gradient is not 0
    assert changed <= {name for name, p in model.named_parameters() if p.requires_grad}
    method.reset()
    assert all(torch.equal(v, method.before[k]) for k, v in model.state_dict().items())
    fixed = score(model.eval(), dataset, dataset.label_space, (32, 64), batch_size=2)
    assert adapted.confusions.shape == fixed.confusions.shape == (4, 19, 19)
    assert not np.array_equal(adapted.confusions, fixed.confusions)
