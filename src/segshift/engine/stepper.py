"""The Stepper that training methods drive: optimizers, schedules, precision, accumulation, clipping and processes on Lightning Fabric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float, Integer
from lightning_fabric import Fabric
from torch import Tensor, nn

from segshift.engine.features import KeptFeatures
from segshift.engine.optimizers import build_optimizer, learning_rate_factor, load_optimizer_state, optimizer_state, parameter_groups, set_learning_rate
from segshift.engine.processes import any_process, average_gradients, mean_over_processes, share_tensors, sum_over_processes
from segshift.engine.recipe import Recipe
from segshift.engine.sections import OptimizerRecipe
from segshift.errors import TrainingError
from segshift.methods import TrainingMethod
from segshift.methods.losses import count_valid
from segshift.metrics import confusion_matrix
from segshift.models import Outputs, SegmentationModel
from segshift.tuning import Progress, Tuning
from segshift.types import Batch


@final
class FabricStepper:
    """One optimizer for the model and one for each of the method's own modules."""

    def __init__(
        self, fabric: Fabric, model: SegmentationModel, method: TrainingMethod, tuning: Tuning, recipe: Recipe, total: int, steps_per_epoch: int
    ) -> None:
        self._fabric = fabric
        self._model = model
        self._tuning = tuning
        self._schedule = recipe.schedule
        self._accumulation = recipe.training.accumulation
        self._total = total
        self._steps_per_epoch = steps_per_epoch
        self._position = 0
        self._window: Sequence[Mapping[str, Batch]] = ()
        self._micro = 0
        self._factor = 1.0  # of the learning rates, at this step
        self._modules: dict[str, nn.Module] = {"model": model}
        self._recipes: dict[str, OptimizerRecipe] = {"model": recipe.optimizer}
        self._updated = False
        self._confusion = np.zeros((2, model.classes, model.classes), np.int64)  # predictions in the epoch's steps so far, and in this window
        self._buffers: list[Tensor] = []
        self.features: KeptFeatures | None = None  # of the encoder, where it is frozen and they are kept
        self._wrapped: dict[str, Any] = {"model": fabric.setup_module(model)}
        self._wrapped["model"].mark_forward_method("outputs")
        self._wrapped["model"].mark_forward_method("encode")
        self._optimizers: dict[str, Any] = {}  # wrapped by Fabric
        encoder = model.parts().encoder
        groups = parameter_groups(model, recipe.optimizer, encoder, apart=tuning.rates is not None)
        if not groups:
            raise TrainingError(f"tuning {recipe.tuning.name} leaves no parameter to learn in {model.architecture} / {model.encoder_name}")
        self._add("model", build_optimizer(recipe.optimizer, groups))
        for name, (module, settings) in method.modules().items():
            self._modules[name] = module
            self._recipes[name] = recipe.optimizer.model_copy(update=dict(settings))
            self._wrapped[name] = fabric.setup_module(module)
            self._add(name, build_optimizer(self._recipes[name], [{"params": [p for p in module.parameters() if p.requires_grad]}]))
        share_tensors(fabric, (tensor.detach() for own in self._modules.values() for tensor in own.state_dict().values()))

    def _add(self, name: str, optimizer: torch.optim.Optimizer) -> None:
        self._optimizers[name] = self._fabric.setup_optimizers(optimizer)

    @property
    def position(self) -> int:
        return self._position

    @property
    def model(self) -> SegmentationModel:
        return self._model

    @property
    def learning_rate(self) -> float:
        """The rate of the model's last group at this step, before a tuning's own share."""
        return float(self._optimizers["model"].param_groups[-1]["initial_lr"]) * self._factor

    @property
    def progress(self) -> Progress:
        """Where training is, for the tuning."""
        return Progress(self._position, self._steps_per_epoch, self._total)

    def begin(self, window: Sequence[Mapping[str, Batch]]) -> None:
        """A window of micro-batches begins: rates are set for its step, and buffers are kept in case it fails."""
        self._window = window
        self._micro = 0
        self._updated = False
        self._confusion[1] = 0
        self._buffers = [buffer.clone() for module in self._modules.values() for buffer in module.buffers()]
        self._factor = learning_rate_factor(self._schedule, self._position, self._total, self._steps_per_epoch)
        for optimizer in self._optimizers.values():
            set_learning_rate(_raw(optimizer), self._factor)

    def next_batch(self) -> None:
        """The next micro-batch of the window begins."""
        self._micro += 1

    def end(self) -> None:
        """The window is done: one step further."""
        share_tensors(self._fabric, (buffer for module in self._modules.values() for buffer in module.buffers()))
        self._position += 1
        self._confusion[0] += sum_over_processes(self._fabric, torch.from_numpy(self._confusion[1])).numpy()

    def take_confusion(self) -> np.ndarray:
        """(K, K) pixels of the predictions tallied since the last call, of all processes; rows are the truth."""
        taken: np.ndarray = self._confusion[0].copy()
        self._confusion[0] = 0
        return taken

    def undo(self) -> bool:
        """Puts the buffers back as they were before this window; False where a part of it has been learned already."""
        with torch.no_grad():
            for buffer, before in zip((b for module in self._modules.values() for b in module.buffers()), self._buffers, strict=True):
                buffer.copy_(before)
        return not self._updated

    def encode(self, images: Float[Tensor, "b 3 h w"]) -> Any:
        """What the model's encoder gives, under the run's precision."""
        return self._wrapped["model"].encode(images)

    def outputs(self, images: Float[Tensor, "b 3 h w"]) -> Outputs:
        maps = None
        if self.features is not None:
            # Images that a method has changed (mixed, recoloured) are other tensors, and pass the encoder.
            known = ((role, batch) for batches in self._window for role, batch in batches.items() if batch.images is images)
            if (found := next(known, None)) is not None:
                maps = self.features.maps(images, [f"{found[0]}/{name}" for name in found[1].names])
        result: Outputs = self._wrapped["model"].outputs(images, maps)
        return result

    def forward(self, name: str, *inputs: Tensor) -> Tensor:
        result: Tensor = self._wrapped[name](*inputs)
        return result

    def valid_pixels(self, role: str) -> Tensor:
        labels = [batches[role].labels for batches in self._window]
        return mean_over_processes(self._fabric, torch.stack([count_valid(known) for known in labels if known is not None]).mean())

    @torch.no_grad()
    def tally(self, logits: Float[Tensor, "b k h w"], labels: Integer[Tensor, "b h w"]) -> None:
        predicted = logits.max(1).indices  # three times as fast as argmax on a CPU
        self._confusion[1] += confusion_matrix(predicted, labels, self._model.classes)

    @contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        learnable = [p for p in self._modules[name].parameters() if p.requires_grad]
        for parameter in learnable:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in learnable:
                parameter.requires_grad_(True)

    def backward(self, loss: Tensor) -> None:
        if any_process(self._fabric, not bool(torch.isfinite(loss))):
            raise NonFiniteError(f"the loss is {loss.item()}")
        self._fabric.backward(loss / self._accumulation)

    def update(self, name: str = "model") -> None:
        if self._micro < len(self._window):
            return
        optimizer = self._optimizers[name]
        precision = self._fabric.strategy.precision
        average_gradients(self._fabric, [p for group in optimizer.param_groups for p in group["params"]])
        learnable = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        precision.unscale_gradients(_raw(optimizer))  # the norm is that of the gradient, whatever the precision's scale
        clip = self._recipes[name].clip_norm
        norm = torch.nn.utils.get_total_norm([p.grad for p in learnable if p.grad is not None])
        finite = bool(torch.isfinite(norm))
        if not finite and precision.precision != "16-mixed":  # there the scaler leaves this step out
            optimizer.zero_grad(set_to_none=True)
            raise NonFiniteError("the gradient is not finite")
        if clip is not None:
            torch.nn.utils.clip_grads_with_norm_(learnable, clip, norm)
        if name == "model":
            if finite:
                self._tuning.before_update(self._model, self.progress)
            if self._tuning.rates is not None:
                set_learning_rate(_raw(optimizer), self._factor, self._tuning.rates)
        optimizer.step()
        self._updated = True
        optimizer.zero_grad(set_to_none=True)
        if name == "model":
            self._tuning.mask_update(self._model, self.progress)

    def state_dict(self) -> dict[str, Any]:
        """Position, predictions of the epoch, own modules and optimizers; the model itself is kept beside it."""
        return {
            "position": self._position,
            "confusion": torch.from_numpy(self._confusion[0]),
            "precision": self._fabric.strategy.precision.state_dict(),
            "modules": {name: dict(module.state_dict()) for name, module in self._modules.items() if name != "model"},
            "optimizers": {
                name: optimizer_state(_raw(optimizer), {p: key for key, p in self._modules[name].named_parameters()})
                for name, optimizer in self._optimizers.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes back what `state_dict` gave."""
        self._position = state["position"]
        self._confusion[0] = state["confusion"].numpy()
        self._fabric.strategy.precision.load_state_dict(state["precision"])
        for name, module in state["modules"].items():
            self._modules[name].load_state_dict(module)
        for name, optimizer in self._optimizers.items():
            load_optimizer_state(_raw(optimizer), state["optimizers"][name], self._modules[name].named_parameters())


class NonFiniteError(ArithmeticError):
    """A loss or gradient is NaN or infinite; nothing was updated with it."""


def _raw(optimizer: Any) -> torch.optim.Optimizer:
    """The optimizer inside Fabric's wrapper."""
    inner: torch.optim.Optimizer = getattr(optimizer, "optimizer", optimizer)
    return inner
