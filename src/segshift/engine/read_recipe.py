"""From YAML to a recipe: files, `--set` changes, and messages that name every problem at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from segshift.engine.recipe import Recipe
from segshift.engine.trackers import TRACKERS
from segshift.errors import RecipeError, require_recipe
from segshift.methods import METHODS
from segshift.methods.losses import LOSSES
from segshift.models import MODELS
from segshift.tuning import TUNINGS


def load_recipe(path: Path | str, changes: Sequence[str] = ()) -> Recipe:
    """Reads a YAML file, applies `a.b=c` changes and validates.

    Raises MissingDataError, or RecipeError with every problem in one message.
    """
    path = Path(path)
    require_recipe(path)
    return validate_recipe(read_mapping(path, "such as 'model: {architecture: unet}'"), changes, str(path))


def read_mapping(path: Path, example: str) -> dict[str, Any]:
    """A YAML file that is a mapping; RecipeError where it is something else, with an example of one."""
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if content is None:
        raise RecipeError(f"{path} is empty: it must be a mapping {example}")
    if not isinstance(content, dict):
        raise RecipeError(f"{path} must be a mapping {example}, not {type(content).__name__}")
    return content


def validate_recipe(content: Mapping[str, Any], changes: Sequence[str] = (), where: str = "recipe") -> Recipe:
    """The recipe of a mapping; all problems are reported together."""
    plain: dict[str, Any] = json.loads(json.dumps(content, default=str))
    for change in changes:
        apply_change(plain, change)
    try:
        return Recipe.model_validate(plain)
    except ValidationError as error:
        raise RecipeError(explain_problems(error, where, Recipe)) from error


def apply_change(content: dict[str, Any], change: str) -> None:
    """Sets one value, `a.b=c`, where c is YAML."""
    key, separator, value = change.partition("=")
    if not separator or not key:
        raise RecipeError(f"--set {change}: write it as section.key=value, for example --set training.epochs=5")
    *sections, last = key.split(".")
    place = content
    for section in sections:
        inner = place.setdefault(section, {})
        if not isinstance(inner, dict):
            raise RecipeError(f"--set {change}: {section} is a value, not a section")
        place = inner
    try:
        place[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {change}: the value is not valid YAML") from error


def explain_problems(error: ValidationError, where: str, root: type[BaseModel]) -> str:
    """All problems of a file in one line; `root` is what the file was read as."""
    problems = [_explain(problem, root) for problem in error.errors()]
    return f"{where}: {len(problems)} problem{'s' * (len(problems) > 1)}: {'; '.join(problems)}"


def _explain(problem: Mapping[str, Any], root: type[BaseModel]) -> str:
    """One problem in words: where, what came, what is allowed."""
    location = ["null" if part == "None" else str(part) for part in problem["loc"]]  # as YAML writes it
    where = ".".join(location) or "recipe"
    if problem["type"] == "extra_forbidden":
        known = _keys_at(location[:-1], root)
        near = get_close_matches(location[-1], known, n=1, cutoff=0.5)
        return f"{where}: unknown key{f', did you mean {near[0]!r}' if near else ''}? Known here: {', '.join(known)}"
    message = problem["msg"].removeprefix("Value error, ").replace("Input should be a valid string", "text is needed, in quotes where YAML reads it otherwise")
    given = problem.get("input")
    came = f" (got {given!r})" if isinstance(given, str | int | float | bool) and repr(given) not in message else ""
    return f"{where}: {message}{came}" if location else f"{message}{came}"


def _keys_at(location: Sequence[str], root: type[BaseModel]) -> list[str]:
    """The keys that a section knows; a mapping of sections, as the runs of a study, has any key and the section behind it."""
    section: Any = root
    for part in location:
        if get_origin(section) is dict:
            section = get_args(section)[1]
            continue
        field = section.model_fields.get(part) if isinstance(section, type) and issubclass(section, BaseModel) else None
        section = field.annotation if field else None
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []


def recipe_schema() -> str:
    """The JSON schema of a recipe, for editors, with the names of every table."""
    schema = Recipe.model_json_schema()
    for section, key, table in (
        ("ModelRecipe", "architecture", MODELS),
        ("MethodRecipe", "name", METHODS),
        ("TuningRecipe", "name", TUNINGS),
    ):
        schema["$defs"][section]["properties"][key]["enum"] = sorted(table)
    schema["$defs"]["ComputeRecipe"]["properties"]["trackers"]["items"]["enum"] = sorted(TRACKERS)
    schema["$defs"]["MethodRecipe"]["properties"]["loss"] = {"enum": sorted(LOSSES), "title": "Loss"}
    return json.dumps(schema, indent=2)
