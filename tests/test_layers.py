"""A file imports only from its own folder and from lines above it in this order."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ORDER = (
    ("errors", "types"),
    ("options",),
    ("weather",),
    ("data",),
    ("metrics",),
    ("models",),
    ("diagnose",),
    ("tuning",),
    ("methods",),
    ("engine",),
    ("study",),
    ("report",),
    ("export", "predict", "render"),
    ("watch",),
    ("cli",),
    ("__main__",),
)
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
PURE = ("weather", "metrics")
SOURCE = Path(__file__).resolve().parents[1] / "src" / "segshift"
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.relative_to(SOURCE).parts != ("__init__.py",))


def imports(path: Path) -> set[str]:
    """First names below segshift that a file imports, at the top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} if node.module != "segshift" else {f"segshift.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("segshift.")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_only_from_above(path: Path) -> None:
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    for name in imports(path):
        assert name in RANK, f"{name} has no place in the order"
        assert RANK[name] < RANK[own] or name == own, f"{own} must not import {name}"
        if own in PURE:
            assert name in (own, "errors", "types"), f"{own} is pure: it must not import {name}"


def test_the_order_knows_every_folder() -> None:
    folders = {path.name.removesuffix(".py") for path in SOURCE.iterdir() if path.suffix == ".py" or path.is_dir()} - {"__init__", "__pycache__"}
    assert folders <= set(RANK)
