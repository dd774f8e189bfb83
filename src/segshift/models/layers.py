"""The tensors of a model in the order of its forward pass, each with its kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from segshift.models.anatomy import SegmentationModel
from segshift.models.convolutions import pass_blank

Kind = Literal["convolution", "batch norm", "running statistics", "norm", "linear", "attention", "classifier", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""`norm` is any norm without running statistics, `attention` every linear layer and convolution inside an attention block, `classifier` what gives
the logits, `other` what no layer owns (position embeddings, layer scales)."""


@dataclass(frozen=True)
class Layer:
    """A parameter or running statistic by its name in the state dict; `depth` counts modules with tensors in forward order, from 0."""

    name: str
    kind: Kind
    depth: int


def layers(model: SegmentationModel) -> tuple[Layer, ...]:
    """Every parameter and running statistic, in forward order; what a forward pass in evaluation does not run comes last.

    >>> from segshift.models import create_model
    >>> [(layer.name, layer.kind) for layer in layers(create_model("unet", encoder="resnet18", seed=0))[:2]]
    [('network.encoder.model.conv1.weight', 'convolution'), ('network.encoder.model.bn1.weight', 'batch norm')]
    """
    called = _forward_order(model)
    classifier = model.parts().classifier
    found: list[tuple[int, str, nn.Module, list[str]]] = []
    for name, module in model.named_modules():
        own = [key for key, _ in module.named_parameters(recurse=False)]
        own += [key for key in ("running_mean", "running_var") if isinstance(module, _BatchNorm) and getattr(module, key) is not None]
        if own:
            found.append((_place(name, called), name, module, own))
    found.sort(key=lambda item: item[0])  # stable: equal places keep the order of registration
    return tuple(
        Layer(f"{name}.{key}", _kind(model, name, module, key, classifier), depth) for depth, (_, name, module, own) in enumerate(found) for key in own
    )


def _forward_order(model: nn.Module) -> dict[str, int]:
    """The number of each module's first call in a forward pass."""
    order: dict[str, int] = {}

    def note(name: str) -> None:
        order.setdefault(name, len(order))

    handles = [module.register_forward_pre_hook(lambda *_, name=name: note(name)) for name, module in model.named_modules()]
    try:
        pass_blank(model)
    finally:
        for handle in handles:
            handle.remove()
    return order


def _place(name: str, called: dict[str, int]) -> int:
    """Where a module runs. One that is never called runs where the nearest module around it does, if that reads it without calling any of its own."""
    if name in called:
        return called[name]
    owner = name
    while owner not in called:
        owner = owner.rpartition(".")[0]
    alone = not any(other.startswith(f"{owner}.") for other in called)
    return called[owner] if owner and alone else len(called)


def _kind(model: nn.Module, name: str, module: nn.Module, key: str, classifier: tuple[str, ...]) -> Kind:
    if isinstance(module, _BatchNorm):
        return "running statistics" if key.startswith("running_") else "batch norm"
    if "Norm" in type(module).__name__:
        return "norm"
    if any(name == prefix or name.startswith(f"{prefix}.") for prefix in classifier):
        return "classifier"
    path = name.split(".")
    if any("attention" in type(model.get_submodule(".".join(path[:depth]))).__name__.lower() for depth in range(1, len(path) + 1)):
        return "attention"
    if isinstance(module, _ConvNd):
        return "convolution"
    return "linear" if isinstance(module, nn.Linear) else "other"


def normalization_layers(module: nn.Module) -> dict[str, _BatchNorm]:
    """Batch norm layers that keep running statistics, by name, in definition order."""
    return {name: m for name, m in module.named_modules() if isinstance(m, _BatchNorm) and m.running_mean is not None}
