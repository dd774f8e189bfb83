"""What goes wrong and what to do about it.

Every error that a user can mend is a `UserError`: one line that says what came, what is allowed and what to do.
The command line prints that line and exits with 1; a traceback is shown only with `--debug`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Collection, Iterable
from difflib import get_close_matches
from pathlib import Path


class UserError(Exception):
    """An error whose message is one line with its remedy."""


class DataError(UserError, ValueError):
    """Images, labels or depths that cannot be used as they are."""


class DataWarning(UserWarning):
    """Images or labels that are used, but not all of them, or not as they are; one line."""


class UnknownColorWarning(DataWarning):
    """Pixels of a label whose colour is no class; `color` is the first of them."""

    def __init__(self, message: str, color: tuple[int, int, int]) -> None:
        super().__init__(message)
        self.color = color


class AdaptationWarning(UserWarning):
    """What may spoil an adaptation that went through: rollbacks, few images or unusable ones; one line."""


class MissingDataError(UserError, FileNotFoundError):
    """A file or folder that should be there is not."""


class UnknownNameError(UserError, ValueError):
    """A model, method, tuning, data set, weather or key that does not exist."""


class WeightsError(UserError, ValueError):
    """Weights or a checkpoint that do not fit, are cut off or are of an unsafe format."""


class ModelError(UserError, ValueError):
    """A model that cannot be built, or that cannot do what it is asked."""


class RecipeError(UserError, ValueError):
    """A recipe or an option that is not valid."""


class TrainingError(UserError, RuntimeError):
    """A run that cannot go on (a loss that is not finite, a full disk)."""


class DiskFullError(TrainingError):
    """No space is left: whatever runs next would fail the same way."""


def require_recipe(path: Path) -> None:
    """MissingDataError where there is no such file. Commands ask before they import what takes seconds, as for the two below."""
    if not path.is_file():
        raise MissingDataError(f"no recipe at {path}: see recipes/ for examples, or `segshift recipe schema`")


def require_study(path: Path) -> None:
    """MissingDataError where there is no such file."""
    if not path.is_file():
        raise MissingDataError(f"no study at {path}: see studies/ for examples")


def require_run(path: Path) -> None:
    """MissingDataError where there is no run folder; those beside it are named."""
    if path.is_file():
        raise MissingDataError(f"{path} is a file: name the folder of the run or of the study, as runs/{path.stem}")
    if not (path / "run.json").is_file():
        near = [str(p.parent) for p in sorted(path.parent.glob("*/run.json"))[:5]] if path.parent.is_dir() else []
        raise MissingDataError(f"{path} is no run folder (no run.json in it){': there is ' + ', '.join(near) if near else ''}")


def require_runs(paths: Iterable[Path]) -> None:
    """MissingDataError for the first path that is no folder: those of runs, of studies, or folders that hold runs."""
    for path in paths:
        if not path.is_dir():
            require_run(path)


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is not in a table, with the nearest name that is.

    >>> print(unknown_name("method", "adabm", ["adabn", "supervised"]))
    unknown method 'adabm': did you mean 'adabn'? Known: adabn, supervised
    """
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f": did you mean {near[0]!r}?" if near else "."
    return UnknownNameError(f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}")


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """A warning at the line that led here from outside segshift, and outside what decorates its functions."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in ("segshift", "torch", "jaxtyping"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def name_some(names: Collection[str]) -> str:
    """The first three names.

    >>> name_some(["a", "b", "c", "d"]), name_some(["a"])
    ('a, b, c, ...', 'a')
    """
    return ", ".join([*list(names)[:3], *(["..."] if len(names) > 3 else [])])
