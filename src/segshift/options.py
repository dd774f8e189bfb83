"""Options are keyword arguments: one place that reads their types, checks, converts and describes them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from segshift.errors import RecipeError


def option_types(target: Callable[..., Any], skip: Iterable[str] = ()) -> dict[str, tuple[Any, Any]]:
    """(type, default) of every keyword argument, by name."""
    function = inspect.getattr_static(target, "__init__") if isinstance(target, type) else target
    hints = get_type_hints(function)
    parameters = inspect.signature(target).parameters
    return {name: (hints.get(name, Any), p.default) for name, p in parameters.items() if name not in skip}


def check_options(target: Callable[..., Any], options: Mapping[str, Any], what: str, skip: Iterable[str] = ()) -> dict[str, Any]:
    """The options converted to their types (text from a command line too).

    Raises RecipeError with every problem: unknown names with the nearest, values of another type, what the method itself refuses.
    """
    known = option_types(target, skip)
    problems, converted = [], {}
    for name, value in options.items():
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f", did you mean {near[0]!r}?" if near else "."
            problems.append(f"{what} has no option {name!r}{hint} Known: {', '.join(known) or 'none'}")
            continue
        if get_origin(known[name][0]) is tuple and isinstance(value, str | int | float):  # 1.0,0.75 on a command line
            value = str(value).split(",")
        try:
            converted[name] = TypeAdapter(known[name][0]).validate_python(value)
        except ValidationError:
            problems.append(f"{what}: {name} is {value!r}, and takes {describe_type(known[name][0])}")
    if problems:
        raise RecipeError("; ".join(problems))
    if isinstance(target, type):
        target(**converted)
    return converted


def describe_options(target: Callable[..., Any], skip: Iterable[str] = ()) -> str:
    """The options as one line: --name TYPE (default)."""
    words = []
    for name, (kind, default) in option_types(target, skip).items():
        shown = [*(getattr(part, "__name__", str(part)) for part in plain_types(kind)), *map(str, literal_values(kind))]
        words.append(f"--{name.replace('_', '-')} {'|'.join(shown)} ({f'{default:.4g}' if isinstance(default, float) else default})")
    return "  ".join(words)


KINDS = {int: "a whole number", float: "a number such as 0.5", bool: "true or false", str: "text", Path: "a path"}


def describe_type(kind: Any) -> str:
    """The values that a type allows, in words.

    >>> describe_type(float | Literal["auto"]), describe_type(Literal["exact", "ema"]), describe_type(int | None)
    ('a number such as 0.5 or auto', 'exact or ema', 'a whole number or none')
    >>> describe_type(tuple[float, ...])
    'values with commas between them, each a number such as 0.5'
    """
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"values with commas between them, each {describe_type(get_args(kind)[0])}"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(describe_type, get_args(kind)))
    return "none" if kind is NoneType else KINDS.get(kind, str(getattr(kind, "__name__", kind)))


def literal_values(kind: Any) -> tuple[Any, ...]:
    """The values of a Literal, alone or in a union.

    >>> literal_values(float | Literal["auto"])
    ('auto',)
    """
    return get_args(kind) if get_origin(kind) is Literal else tuple(value for part in get_args(kind) for value in literal_values(part))


def plain_types(kind: Any) -> tuple[Any, ...]:
    """What else a type allows: itself, or the parts of a union that are no Literal."""
    if get_origin(kind) is Literal:
        return ()
    return tuple(part for part in get_args(kind) if get_origin(part) is not Literal) if literal_values(kind) else (kind,)
