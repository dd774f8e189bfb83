"""Memory of this machine."""

from __future__ import annotations

import psutil


def available_memory() -> tuple[int, int]:
    """Bytes that new processes can have without swapping, and bytes in all."""
    memory = psutil.virtual_memory()
    return int(memory.available), int(memory.total)
