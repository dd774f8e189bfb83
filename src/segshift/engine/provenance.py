"""Which run this is (identity) and where it came from (provenance). A commit or a library version is provenance: it reruns nothing."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("segshift", "torch", "torchvision", "segmentation-models-pytorch", "timm", "lightning-fabric", "numpy", "numba")


def run_identity(recipe: Mapping[str, Any], parent: str | None, data: Mapping[str, str], method_version: int, compared: Any = None) -> str:
    """SHA-256 of recipe (its seed included), parent, data hashes by role, the method's own version, and what its parent is compared with, if anything."""
    content = {"recipe": recipe, "parent": parent, "data": dict(data), "method_version": method_version}
    if compared is not None:
        content["compared"] = compared
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def describe_provenance(device: torch.device | str) -> dict[str, Any]:
    """Versions, commit, command, device and time."""
    name = str(device)
    if name.startswith("cuda"):
        name = torch.cuda.get_device_name(torch.device(device))
    return {
        **{package: _version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "commit": _commit(),
        "command": command_line(),
        "device": name,
        "threads": torch.get_num_threads(),
        "created": now(),
    }


def command_line() -> str:
    """The command as it can be typed again, without the program's folder."""
    if not sys.argv:
        return ""
    name = Path(sys.argv[0]).name
    return shlex.join(["segshift" if name == "__main__.py" else name, *sys.argv[1:]])


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that this code runs from, if it is one; `+` marks local changes."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(folder)]
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=5, check=True).stdout.strip()
        changed = subprocess.run([*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changed.strip() else "")
