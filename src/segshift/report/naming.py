"""Names of runs beside each other: those of one name are told apart by what differs in their recipes, else by their folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segshift.engine.recipe import TRAINS_ALONE, flatten
from segshift.engine.run import Run
from segshift.errors import UserError
from segshift.methods import METHODS
from segshift.options import option_types
from segshift.tuning import TUNINGS

MOST = 3
"""Settings that a name shows; where more differ, the folders tell runs apart."""

Settings = Mapping[str, str]


def row_names(runs: Sequence[Run]) -> dict[Path, str]:
    """Names of the rows: runs of one name show the settings that differ between them, `tent lr=0.001`, or the ends of their paths."""
    found: dict[Path, str] = {}
    for name in dict.fromkeys(run.name for run in runs):
        same = [run for run in runs if run.name == name]
        found |= dict(zip([run.path for run in same], name_apart([[run] for run in same]), strict=True))
    return {run.path: found[run.path] for run in runs}


def name_apart(arms: Sequence[Sequence[Run]], seed: bool = True) -> list[str]:
    """Names of arms (runs that may differ by their seed) that share theirs, by what differs between them; `seed` is among it or not.

    The parent's name, which is no setting, is shown where all of an arm's runs have the one.
    """
    runs = [arm[0] for arm in arms]
    if len(runs) == 1:
        return [runs[0].name]
    settings = [{**each, **({"seed": str(run.record.get("seed"))} if seed else {})} for each, run in zip(settings_apart(runs), runs, strict=True)]
    for each, arm in zip(settings, arms, strict=True):
        if len(parents := {str(run.record["parent"].get("name")) for run in arm if run.record.get("parent")}) == 1:
            each["parent"] = parents.pop()
    keys = [key for key in settings[0] if all(key in each for each in settings) and len({each[key] for each in settings}) > 1]
    own = [key for key in keys if not key.startswith("parent") and not key.endswith(".hash")]
    if "method.source_ratio" in own and "data.source" in own and len({each["data.source"] for each in settings} - {"null"}) == 1:
        own.remove("data.source")  # a ratio of 0 needs none
    above = [key for key in keys if key.startswith("parent.") and not key.endswith(".hash")]
    for shown in (own, [*own, *(key for key in keys if key == "parent")], [*own, *above]):
        if 0 < len(shown) <= MOST:
            words = _last_words(shown)
            names = [" ".join([run.name, *(f"{word}={each[key]}" for key, word in words.items())]) for run, each in zip(runs, settings, strict=True)]
            if len(set(names)) == len(names):
                return names
    return [f"{run.name} ({told_apart(run, runs)})" for run in runs]


def settings_apart(runs: Sequence[Run]) -> list[dict[str, str]]:
    """The settings of each run; what is its seed in all of them is written {seed}, so that runs that differ in nothing else have the same."""
    settings = [settings_of(run) for run in runs]
    unseeded = [{key: _without_seed(value, run.record.get("seed")) for key, value in each.items()} for each, run in zip(settings, runs, strict=True)]
    everywhere = {key for key in unseeded[0] if all("{seed}" in each.get(key, "") for each in unseeded)}
    drawn = {f"{key}.hash" for key in everywhere}  # other seed, other images
    return [
        {key: other[key] if key in everywhere else value for key, value in each.items() if key not in drawn}
        for each, other in zip(settings, unseeded, strict=True)
    ]


def settings_of(run: Run) -> dict[str, str]:
    """What makes a run the run it is, but for its seed: its recipe's values by dotted key, defaults of options among them, its data's hashes, and
    the same of its parent, whatever that is called. A recipe that cannot be read counts by what the run's record says.
    """
    record = run.record
    try:
        content = run.recipe.identity()
    except (UserError, OSError):
        content = {"method": {"name": record.get("method"), **(record.get("method_options") or {})}, "tuning": {"name": record.get("tuning")}}
    content.pop("seed", None)
    method = METHODS.get(str(record.get("method")))
    if method is not None and method.kind != "trains":
        content = {section: values for section, values in content.items() if section not in TRAINS_ALONE}
    found = _defaults(run) | {key: _write(value) for key, value in flatten(content).items()}
    found |= {f"data.{role}.hash": data["fingerprint"] for role, data in (record.get("data") or {}).items()}
    if record.get("parent"):
        try:
            parent = run.parent()
            above = settings_of(parent) if parent is not None else {}
        except UserError:
            above = {"hash": record["parent"]["identity"]}
        found |= {f"parent.{key}": value for key, value in above.items()}
    return found


def told_apart(run: Run, runs: Sequence[Run]) -> str:
    """As much of the end of a run's path as no other run of its name has."""
    own = run.path.resolve().parts
    others = [other.path.resolve().parts for other in runs if other.name == run.name and other.path != run.path]
    length = next((count for count in range(1, len(own)) if all(other[-count:] != own[-count:] for other in others)), len(own))
    return "/".join(own[-length:])


def _last_words(keys: Sequence[str]) -> dict[str, str]:
    """The shortest name of each key that no other has: its last word, `method` for method.name, `parent.lr` for one of the parent, else all of it."""
    short = {key: ("parent." if key.startswith("parent.") else "") + key.removesuffix(".name").rpartition(".")[2] for key in keys}
    return {key: word if list(short.values()).count(word) == 1 else key for key, word in short.items()}


def _defaults(run: Run) -> dict[str, str]:
    """Defaults of the options of a run's method and tuning, by dotted key."""
    record = run.record
    found: dict[str, str] = {}
    if record.get("method") in METHODS:
        found |= {f"method.{key}": _write(default) for key, (_, default) in option_types(METHODS[record["method"]]).items()}
    if record.get("tuning") in TUNINGS:
        found |= {f"tuning.{key}": _write(default) for key, (_, default) in option_types(TUNINGS[record["tuning"]].options, ("model",)).items()}
    return found


def _write(value: Any) -> str:
    """A value as a person writes it: 0.001, 64,128."""
    if isinstance(value, list | tuple):
        return ",".join(map(_write, value))
    return f"{value:g}" if isinstance(value, float) else "null" if value is None else str(value)


def _without_seed(value: str, seed: object) -> str:
    """{seed} for a value that is the seed, and for that of the key `seed` of a domain."""
    return "{seed}" if value == str(seed) else re.sub(rf"\bseed={seed}\b", "seed={seed}", value)
