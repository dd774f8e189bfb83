"""docs/recipes.md: its recipe is one, says every key, and says the defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from segshift.engine.read_recipe import validate_recipe
from segshift.engine.recipe import Recipe

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "recipes.md").read_text()
CHOSEN = {"name", "model.encoder", "data.source", "data.validation", "data.size", "data.tests"}
"""Keys whose values in the example are none of the defaults, as their comments say."""


def flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in content.items():
        inner = isinstance(value, dict) and prefix + key not in ("model.options", "data.tests")
        found |= flat(value, f"{prefix}{key}.") if inner else {prefix + key: value}
    return found


def test_the_example_says_every_key_and_the_defaults() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    content = yaml.safe_load(block)
    validate_recipe(content)
    written = flat(content)
    default = flat(Recipe.model_validate({"data": {"source": "streets"}}).model_dump(mode="json"))
    loss = {"method.domain", "method.loss"}  # options of the method, which `segshift list methods` names
    assert written.keys() == default.keys() - loss
    assert {key for key in written if written[key] != default[key]} == CHOSEN
