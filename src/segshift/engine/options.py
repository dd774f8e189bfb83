"""Options of methods and tunings are their keyword arguments: one place that reads, checks and converts them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, get_type_hints

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
            hint = f", did you mean {near[0]!r}" if near else ""
            problems.append(f"{what} has no option {name!r}{hint}? Known: {', '.join(known) or 'none'}")
            continue
        try:
            converted[name] = TypeAdapter(known[name][0]).validate_python(value)
        except ValidationError as error:
            problems.append(f"{what}: {name}: {error.errors()[0]['msg']} (got {value!r})")
    if problems:
        raise RecipeError("; ".join(problems))
    if isinstance(target, type):
        target(**converted)
    return converted


def describe_options(target: Callable[..., Any], skip: Iterable[str] = ()) -> str:
    """The options as one line: --name TYPE (default)."""
    words = []
    for name, (kind, default) in option_types(target, skip).items():
        choices = getattr(kind, "__args__", None) if "Literal" in str(kind) else None
        shown = "|".join(str(c) for c in choices) if choices else getattr(kind, "__name__", str(kind))
        words.append(f"--{name.replace('_', '-')} {shown} ({default})")
    return "  ".join(words)


def sees_of_configurations(method: Any) -> list[frozenset[str]]:
    """What a method sees under its defaults and under each choice of one option (a Literal's values, a number above 0)."""
    found = [method().sees]
    for name, (kind, default) in option_types(method).items():
        choices = kind.__args__ if "Literal" in str(kind) else (0.5,) if kind is float and default == 0 else ()
        for choice in choices:
            sees = method(**{name: choice}).sees
            if sees not in found:
                found.append(sees)
    return found
