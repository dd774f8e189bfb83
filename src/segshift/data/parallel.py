"""Images read or drawn by several threads, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def in_order(work: Callable[[int], T], indices: Iterable[int], threads: int) -> Iterator[T]:
    """work(index) for each index, in order; two a thread are on their way at most, each with one thread of torch's.

    >>> list(in_order(lambda index: index**2, range(4), threads=2))
    [0, 1, 4, 9]
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the images share the cores
    waiting: list[Future[T]] = []
    try:
        with ThreadPoolExecutor(threads) as pool:
            try:
                for index in indices:
                    waiting.append(pool.submit(work, index))
                    if len(waiting) >= 2 * threads:
                        yield waiting.pop(0).result()
                while waiting:
                    yield waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()
    finally:
        torch.set_num_threads(before)
