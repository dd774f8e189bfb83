"""The options of methods and tunings, told apart, and what a method sees for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from segshift.errors import UnknownNameError, unknown_name
from segshift.methods import METHODS
from segshift.options import literal_values, option_types, plain_types
from segshift.tuning import TUNINGS


def sort_options(options: Mapping[str, Any], method: str, tuning: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options by name, sorted into those of the method and those of the tuning; UnknownNameError with the nearest for any other.

    A method that does not train has no use of a tuning, so that the options of `all`, which stands for none, are unknown there.
    """
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if tuning not in TUNINGS:
        raise unknown_name("tuning", tuning, TUNINGS)
    tunes = METHODS[method].kind == "trains" or tuning != "all"
    of_method, of_tuning = option_types(METHODS[method]), option_types(TUNINGS[tuning].options, ("model",)) if tunes else {}
    for name in options:
        if name not in of_method and name not in of_tuning:
            raise _unknown_option(name, {f"method {method}": of_method, **({f"tuning {tuning}": of_tuning} if tunes else {})})
    return {k: v for k, v in options.items() if k in of_method}, {k: v for k, v in options.items() if k not in of_method}


def _unknown_option(name: str, known: Mapping[str, Iterable[str]]) -> UnknownNameError:
    """The error for an option that none of them has; `known` are the options by whose they are."""
    near = get_close_matches(name, [option for options in known.values() for option in options], n=1, cutoff=0.4)
    named = [f"{', '.join(sorted(options)) or 'none'} ({whose})" for whose, options in known.items()]
    return UnknownNameError(f"unknown option {name!r}{f': did you mean {near[0]!r}?' if near else '.'} Known: {'; '.join(named)}")


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
