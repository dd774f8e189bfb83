"""AdaBN for any module with batch norm, on batches of any kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segshift.errors import AdaptationWarning, DataError, ModelError, RecipeError, UserError, warn
from segshift.methods.adabn import interpolate
from segshift.methods.normalization import Moments, batch_statistics, read_statistics, require_batch_norm, write_statistics
from segshift.methods.target_images import STABLE, constant_images, describe_constant, describe_few


@torch.no_grad()
def adapt_statistics(
    module: nn.Module, batches: Iterable[Any], *, source_weight: float = 0.0, forward: Callable[[nn.Module, Any], Any] | None = None
) -> Mapping[str, int]:
    """AdaBN for any module with batch norm (a detector, a classifier): its running statistics become those of these batches, in place.

    A batch is what the module takes, or a tuple or list (images, ...) with that first, as a DataLoader of labelled images gives; a list of (c, h, w) images
    alone goes through whole, unless all batch norms are BatchNorm1d: such a network knows no images, and (n, c, l) tensors in a list are batches too.
    `forward(module, batch)` says it otherwise and gets all of the batch. The module is in evaluation mode, and afterwards as it was.
    `source_weight` in [0, 1) is that of the statistics that the module came with. Gives the number of values a channel that each layer was counted on.

    Raises ModelError for a module without batch norm, or whose batch norms are frozen, RecipeError for another weight, DataError where there is no batch, or
    one does not go through the module or gives values that are not finite: the module is then as it was. Images of one colour, which have no variance, are
    counted and told by an AdaptationWarning; so is their number where it is below 16.

        ss.adapt_statistics(network, DataLoader(labelled, batch_size=8))    # (images, labels): labels are not looked at
        ss.adapt_statistics(detector, ([image] for image in images))        # torchvision's detectors take lists of images
        ss.adapt_statistics(network, loader, forward=lambda network, batch: network(batch["image"].cuda()))
    """
    if not 0 <= source_weight < 1:
        raise RecipeError(f"source_weight is {source_weight}: the weight of the statistics that the module came with lies in [0, 1); 1 would change nothing")
    if not isinstance(module, nn.Module):
        raise ModelError(f"ss.adapt_statistics takes a torch module, not {type(module).__name__}; ss.adapt takes the folder of a run")
    require_batches(batches)
    layers = require_batch_norm(module, "adapt_statistics")
    exact = {name: Moments(layer.num_features) for name, layer in layers.items()}
    batch, seen, constant, knows_images = None, 0, 0, not all(isinstance(layer, nn.BatchNorm1d) for layer in layers.values())
    with batch_statistics(module, layers) as measured:
        for batch in batches:
            measured.clear()
            images = images_of(batch, knows_images)
            if all_images(images) or (isinstance(images, Tensor) and images.ndim == 4):
                seen, constant = seen + len(images), constant + len(constant_images(images))
            else:
                seen += STABLE  # what is no image is not counted
            if forward is None:
                pass_through(module, images)
            else:
                forward(module, batch)
            for name, mean, var, count in measured:
                if not bool((mean + var).isfinite().all()):
                    raise DataError(f"the values of a batch at {name} are not finite, and the module stays as it was: leave such images out")
                exact[name].add(mean, var, count)
    counted = {name: moments.count for name, moments in exact.items() if moments.count > 0}
    if not counted:
        raise DataError(
            "there is no batch to count statistics on: give one"
            if batch is None
            else "no batch gave a batch norm several values a channel: give several images at once"
        )
    for name in counted:
        before = [value.double().cpu() for value in read_statistics(layers[name])]
        write_statistics(layers[name], *interpolate(exact[name].unbiased(), (before[0], before[1]), source_weight))
    if seen < STABLE:
        warn(f"adapt_statistics: {describe_few(seen, 'image')}", AdaptationWarning)
    if constant:
        warn(f"adapt_statistics: {describe_constant(constant)}", AdaptationWarning)
    return counted


def require_batches(batches: object) -> None:
    """DataError for what is no sequence of batches, with what would be."""
    if isinstance(batches, str | Path):
        raise DataError(f"batches is {str(batches)!r}, a name: give batches of images, of a folder for example ss.BandImages({str(batches)!r})")
    if isinstance(batches, Tensor):
        raise DataError(f"batches is one tensor, {describe(batches)}: give several, (b, c, h, w) each, such as images.split(8)")
    if isinstance(batches, Mapping) or (not isinstance(batches, Iterable) and not hasattr(batches, "__getitem__")):
        raise DataError(f"batches is {describe(batches)}: give what can be gone through batch by batch, such as a DataLoader or a list of tensors")


def pass_through(module: nn.Module, images: Any) -> None:
    """A batch's images through the module; DataError, with what came, where it does not take them."""
    try:
        module(images)
    except (UserError, torch.OutOfMemoryError):
        raise
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
        reason = str(error).partition("\n")[0][:160]
        taken = f"module(batch[{next(iter(images))!r}])" if isinstance(images, Mapping) and images else "..."
        raise DataError(
            f"{type(module).__name__} does not take {describe(images)} ({reason}): give what it was trained on, alone or first of a tuple, on its device; "
            f"else forward=lambda module, batch: {taken} says how one goes through"
        ) from error


def images_of(batch: Any, knows_images: bool = True) -> Any:
    """What the module gets of a batch: the first of a tuple or list (images, ...), of all else the whole, as a list of images where it knows such.

    >>> [images_of(batch).shape for batch in (torch.zeros(2, 3, 8, 8), (torch.zeros(2, 3, 8, 8), torch.zeros(2, 8, 8)), [torch.zeros(2, 3, 8, 8)])]
    [torch.Size([2, 3, 8, 8]), torch.Size([2, 3, 8, 8]), torch.Size([2, 3, 8, 8])]
    >>> len(images_of([torch.zeros(3, 8, 8), torch.zeros(3, 9, 7)])), len(images_of(([torch.zeros(3, 8, 8)] * 2, [{"boxes": None}] * 2)))
    (2, 2)
    >>> images_of([torch.zeros(8, 1, 5), torch.zeros(8, 2, 5)], knows_images=False).shape
    torch.Size([8, 1, 5])
    """
    if not isinstance(batch, tuple | list) or not batch or (knows_images and all_images(batch)):
        return batch
    return batch[0] if isinstance(batch[0], Tensor) or all_images(batch[0]) else batch


def all_images(values: object) -> bool:
    """Whether these are (c, h, w) images of floats, a list of which is one batch of a detector."""
    return isinstance(values, tuple | list) and all(isinstance(value, Tensor) and value.ndim == 3 and value.is_floating_point() for value in values)


def describe(value: object) -> str:
    """A kind of value in words: a tensor's shape and type, a mapping's keys.

    >>> describe(torch.zeros(2, 3)), describe({"image": 1, "mask": 2}), describe([1, "a", "b"])
    ('a float32 tensor of shape (2, 3)', "a dict with 'image', 'mask'", 'a list of int, str')
    """
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with {', '.join(map(repr, list(value)[:5]))}"
    inside = f" of {', '.join(dict.fromkeys(type(one).__name__ for one in value))}" if isinstance(value, tuple | list) else ""
    return f"a {type(value).__name__}{inside}"
