"""Devices, precision and processes. With several processes each runs the same code on its share of the batches; the first one writes.

N processes equal one process that accumulates the same N micro-batches: gradients are averaged once a step, where the optimizer
needs them, and buffers are those of the first process. DistributedDataParallel does it while the backward pass runs, but refuses
what methods do: several forward passes before a backward pass, modules frozen for one of them, tunings that change what learns.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.distributed import ReduceOp, all_gather_object, all_reduce, broadcast

from segshift.engine.recipe import Recipe
from segshift.errors import RecipeError, UserError, unknown_name

T = TypeVar("T")
PATIENCE = timedelta(days=1)
"""How long processes wait for one another: one of them may read slower data."""


class AveragedGradients(DDPStrategy):
    """Fabric's processes and its process group, with the module as it is: `average_gradients` takes the wrapper's place."""

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]  # Fabric's returns its wrapper
        return module


def choose_device(wanted: str) -> str:
    """`cpu` or `cuda`; `auto` takes a GPU where there is one."""
    if wanted not in ("auto", "cpu", "cuda"):
        raise unknown_name("device", wanted, ("auto", "cpu", "cuda"))
    if wanted == "cuda" and not torch.cuda.is_available():
        raise RecipeError("the device is cuda, but PyTorch sees no GPU: use cpu or auto")
    return "cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu"


def visible_gpus() -> list[str]:
    """The GPUs that PyTorch sees, as CUDA_VISIBLE_DEVICES names them."""
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    count = torch.cuda.device_count()
    return named[:count] or [str(number) for number in range(count)]


def require_one_process(method: str) -> None:
    """RecipeError where torchrun started several processes for a method that runs in one."""
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1:
        raise RecipeError(f"method {method} runs in one process: start it without torchrun")


def create_fabric(recipe: Recipe, trains: bool = True) -> Fabric:
    """Devices, precision and processes as the recipe says; the other processes start here, unless torchrun started them.

    What does not train computes in 32 bits, whatever precision the run that it starts from was trained in.

    Raises RecipeError where there are fewer GPUs, or where torchrun started another number of processes.
    """
    accelerator, devices = choose_device(recipe.compute.device), recipe.compute.devices
    precision = recipe.training.precision if trains else "32-true"
    if accelerator == "cpu" and precision == "16-mixed":
        raise RecipeError("training.precision is 16-mixed, which needs a GPU: on a CPU use bf16-mixed or 32-true")
    if accelerator == "cuda" and devices > torch.cuda.device_count():
        raise RecipeError(f"compute.devices is {devices}, but PyTorch sees {torch.cuda.device_count()} GPUs: lower it")
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if "TORCHELASTIC_RUN_ID" in os.environ and started != devices:
        raise RecipeError(f"torchrun started {started} processes, but compute.devices is {devices}: add --set compute.devices={started}")
    strategy = AveragedGradients(timeout=PATIENCE) if devices > 1 else "auto"
    fabric = Fabric(accelerator=accelerator, devices=devices, precision=precision, strategy=strategy)
    if devices > 1:
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # what each process is called is no news
        fabric.launch()
    return fabric


def on_first(fabric: Fabric | None, action: Callable[[], T]) -> T:
    """What `action` gives in the first process, for all. Its error is told once: there it is raised, the others end."""
    if fabric is None or fabric.world_size == 1:
        return action()
    outcome: tuple[bool, Any] = (False, None)
    if fabric.is_global_zero:
        try:
            outcome = (True, action())
        except UserError as error:
            outcome = (False, error)
    done, result = fabric.broadcast(outcome)
    if done:
        return result  # type: ignore[no-any-return]  # Fabric's broadcast is untyped
    if fabric.is_global_zero:
        raise result
    raise SystemExit(1)


def on_all(fabric: Fabric | None, action: Callable[[], T]) -> list[T]:
    """What `action` gives in each process, for all of them. An error of one ends all and is told once, by the first."""
    if fabric is None or fabric.world_size == 1:
        return [action()]
    try:
        outcome: tuple[bool, Any] = (True, action())
    except UserError as error:
        outcome = (False, error)
    found: list[Any] = [None] * fabric.world_size
    all_gather_object(found, outcome)
    for done, result in found:
        if not done:
            if fabric.is_global_zero:
                raise result
            raise SystemExit(1)
    return [result for _, result in found]


def any_process(fabric: Fabric, flag: bool) -> bool:
    """Whether the flag is set in one of the processes."""
    if fabric.world_size == 1:
        return flag
    value = torch.tensor(float(flag), device=fabric.device)
    all_reduce(value, ReduceOp.MAX)
    return bool(value)


def gather_names(fabric: Fabric, names: list[str]) -> list[str]:
    """The names of all processes, in the order of the processes."""
    if fabric.world_size == 1:
        return names
    found: list[Any] = [None] * fabric.world_size
    all_gather_object(found, names)
    return [name for part in found for name in part]


def sum_over_processes(fabric: Fabric, value: Tensor) -> Tensor:
    """The sum of a tensor over all processes, where the tensor is."""
    if fabric.world_size == 1:
        return value
    total = value.to(fabric.device, copy=True)
    all_reduce(total)
    return total.to(value.device)


def mean_over_processes(fabric: Fabric, value: Tensor) -> Tensor:
    """The mean of a tensor over all processes."""
    return sum_over_processes(fabric, value) / fabric.world_size if fabric.world_size > 1 else value


def average_gradients(fabric: Fabric, parameters: Sequence[Tensor]) -> None:
    """Every gradient becomes its mean over the processes; one that is missing in some of them counts as 0 there."""
    if fabric.world_size == 1 or not parameters:
        return
    there = torch.tensor([float(p.grad is not None) for p in parameters], device=fabric.device)
    all_reduce(there, ReduceOp.MAX)
    used = [p for p, known in zip(parameters, there.tolist(), strict=True) if known]
    for parameter in used:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    _together([p.grad for p in used if p.grad is not None], lambda flat: all_reduce(flat.div_(fabric.world_size)))


def share_tensors(fabric: Fabric, tensors: Iterable[Tensor]) -> None:
    """Every tensor becomes that of the first process."""
    if fabric.world_size > 1:
        _together(list(tensors), lambda flat: broadcast(flat, 0))


def _together(tensors: Sequence[Tensor], exchange: Callable[[Tensor], object]) -> None:
    """Exchanges tensors in place, all of one type in one message."""
    for dtype in sorted({tensor.dtype for tensor in tensors}, key=str):
        same = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([tensor.reshape(-1) for tensor in same])
        exchange(flat)
        for tensor, part in zip(same, torch.split(flat, [tensor.numel() for tensor in same]), strict=True):
            tensor.copy_(part.view_as(tensor))
