"""The keys of a domain: what each takes, and its canonical form."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True)
class Option:
    """A key of a domain: `canonical` returns the value as it is written in short, or raises ValueError that says what it takes."""

    summary: str
    canonical: Callable[[str], str]


def whole(text: str, least: int = 1) -> str:
    """A whole number of at least `least`.

    >>> whole("040")
    '40'
    """
    if not re.fullmatch(r"[0-9]+", text, re.ASCII) or int(text) < least:
        raise ValueError(f"takes a whole number from {least}")
    return str(int(text))


def part_of(text: str) -> str:
    """`i/n`, the i-th of n parts.

    >>> part_of("1/2")
    '1/2'
    """
    found = re.fullmatch(r"([0-9]+)/([0-9]+)", text, re.ASCII)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError("takes i/n, the i-th of n parts, such as 1/2")
    return f"{int(found[1])}/{int(found[2])}"


def size_of(text: str) -> str:
    """`WIDTHxHEIGHT` in pixels.

    >>> size_of("256x128")
    '256x128'
    """
    found = re.fullmatch(r"([0-9]+)x([0-9]+)", text, re.ASCII)
    if found is None or min(int(found[1]), int(found[2])) < 1:
        raise ValueError("takes WIDTHxHEIGHT in pixels, such as 256x128")
    return f"{int(found[1])}x{int(found[2])}"


def one_of(text: str, choices: tuple[str, ...]) -> str:
    """One of the choices."""
    if text not in choices:
        raise ValueError(f"takes {' or '.join(choices)}")
    return text


def some_of(text: str, choices: tuple[str, ...]) -> str:
    """One or more of the choices in their order, or all.

    >>> some_of("rain,fog", ("fog", "night", "rain")), some_of("b,a", ("a", "b"))
    ('fog,rain', 'all')
    """
    given = set(choices) if text == "all" else set(text.split(","))
    if not given <= set(choices):
        raise ValueError(f"takes {', '.join(choices)}, several with commas between, or all")
    return "all" if given == set(choices) else ",".join(choice for choice in choices if choice in given)


def names_of(text: str) -> str:
    """Names separated by commas, sorted, each once.

    >>> names_of("0016E5,0006R0")
    '0006R0,0016E5'
    """
    names = sorted(set(text.split(",")))
    if "" in names:
        raise ValueError("takes a name, or several with commas between")
    return ",".join(names)


def path_of(text: str) -> str:
    """A path, any text but none."""
    if not text:
        raise ValueError("takes a path")
    return text


def depth_of(text: str) -> str:
    """Where depth comes from: `plane`, or a network, which has a slash in its name.

    >>> depth_of("./networks/small")
    './networks/small'
    """
    if text != "plane" and "/" not in text:
        raise ValueError("takes plane, or a metric depth network: its folder such as ./NETWORK, or its name on the hub such as OWNER/NETWORK")
    return text


FILTERS: Mapping[str, Option] = {
    "part": Option("i/n: the i-th of n contiguous parts in time order", part_of),
    "every": Option("n: one image of n, the first of each", whole),
    "skip": Option("n: all images but one of n: those that `every` leaves out", partial(whole, least=2)),
    "first": Option("n: at most the first n images", whole),
}
"""Keys of every data set, applied in this order, after `sequence`. Time order: by sequence, then by name with numbers by value."""

SEQUENCE = Option("name[,name]: only these video sequences", names_of)
REFINE = Option(
    "guided, labels or none: how fog follows the picture where depth is rough (default guided for disparity and networks)",
    partial(one_of, choices=("guided", "labels", "none")),
)
DEPTH = Option("plane (from labels and camera), or the folder or hub name of a metric depth network: instead of the data set's own depth", depth_of)
