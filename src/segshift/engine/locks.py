"""One process at a time: a lock that ends with the process that holds it, however that ends."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from segshift.errors import RecipeError


@contextmanager
def alone(lock: Path, taken: str, remedy: str) -> Iterator[None]:
    """Holds a file, which is made where it is not there and stays. RecipeError where another process holds it: `taken`, which process, and the `remedy`."""
    try:
        import fcntl
    except ImportError:  # a system without locks of this kind
        yield
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    file: IO[str]
    with open(lock, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise RecipeError(f"{taken} (process {file.read().strip() or '?'}): {remedy}") from error
        except OSError:  # a file system without locks
            yield
            return
        file.truncate(0)
        file.write(f"{os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
