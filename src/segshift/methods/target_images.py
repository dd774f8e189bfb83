"""What the images that statistics are counted on tell before any label does: too few of them, or images that hold no scene."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from jaxtyping import Num
from torch import Tensor

from segshift.errors import name_some
from segshift.methods.method import Pool

STABLE = 16
"""Images below which statistics change notably from one set of images to the next; a run says so."""


def count_targets(pool: Pool) -> int:
    """Target images without those that turned out to be unreadable."""
    return pool.sizes["target"] - len(pool.left_out())


def find_remarks(pool: Pool) -> list[str]:
    """What a run that counted statistics on the pool says of its images, a remark each; called by all processes."""
    targets, constant = count_targets(pool), pool.constant()
    remarks = []
    if targets < STABLE:
        remarks.append(describe_few(targets, "target image"))
    if constant:
        remarks.append(describe_constant(len(constant), constant))
    return remarks


def describe_few(count: int, kind: str) -> str:
    """What is said of fewer than STABLE images.

    >>> describe_few(1, "image")
    '1 image is few: below 16 the statistics change from one set of images to the next'
    """
    return f"{count} {kind}{'s are' if count != 1 else ' is'} few: below {STABLE} the statistics change from one set of images to the next"


def describe_constant(count: int, names: Collection[str] = ()) -> str:
    """What is said of so many images of one colour.

    >>> describe_constant(1, ["cap"])
    '1 image is of one colour (cap), which the statistics take for a scene: leave such images out'
    """
    named = f" ({name_some(names)})" if names else ""
    images, taken = ("image is", "a scene") if count == 1 else ("images are", "scenes")
    return f"{count} {images} of one colour{named}, which the statistics take for {taken}: leave such images out"


def constant_images(images: Iterable[Num[Tensor, "c _h _w"]]) -> list[int]:
    """The places of the images that have one value a channel in all of their pixels, of which one alone, as of pooled features, says nothing.

    >>> import torch
    >>> constant_images(torch.stack([torch.zeros(3, 8, 8), torch.eye(8).expand(3, 8, 8), torch.arange(3.0)[:, None, None].expand(3, 8, 8)]))
    [0, 2]
    >>> constant_images(torch.zeros(2, 3, 1, 1))
    []
    """
    # few pixels settle it for most
    return [place for place, image in enumerate(images) if image[0].numel() > 1 and _constant(image[:, ::16, ::16]) and _constant(image)]


def _constant(image: Tensor) -> bool:
    return bool((image == image[:, :1, :1]).all())
