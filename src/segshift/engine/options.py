"""Options of methods and tunings are their keyword arguments: one place that reads, checks and converts them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from segshift.errors import RecipeError, unknown_name
from segshift.methods import METHODS
from segshift.tuning import TUNINGS


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


def sort_options(options: Mapping[str, Any], method: str, tuning: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options by name, sorted into those of the method and those of the tuning; UnknownNameError with the nearest for any other."""
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if tuning not in TUNINGS:
        raise unknown_name("tuning", tuning, TUNINGS)
    of_method, of_tuning = option_types(METHODS[method]), option_types(TUNINGS[tuning].options, ("model",))
    for name in options:
        if name not in of_method and name not in of_tuning:
            raise unknown_name(f"option of method {method} and tuning {tuning}", name, [*of_method, *of_tuning] or ["(none)"])
    return {k: v for k, v in options.items() if k in of_method}, {k: v for k, v in options.items() if k not in of_method}


def describe_options(target: Callable[..., Any], skip: Iterable[str] = ()) -> str:
    """The options as one line: --name TYPE (default)."""
    words = []
    for name, (kind, default) in option_types(target, skip).items():
        shown = [*(getattr(part, "__name__", str(part)) for part in plain_types(kind)), *map(str, literal_values(kind))]
        words.append(f"--{name.replace('_', '-')} {'|'.join(shown)} ({default})")
    return "  ".join(words)


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


def sees_of_configurations(method: Any) -> list[frozenset[str]]:
    """What a method sees under its defaults and under each choice of one option (a Literal's values, a number above 0)."""
    found = [method().sees]
    for name, (kind, default) in option_types(method).items():
        choices = (*literal_values(kind), *((0.5,) if float in plain_types(kind) and default == 0 else ()))
        for choice in choices:
            sees = method(**{name: choice}).sees
            if sees not in found:
                found.append(sees)
    return found
