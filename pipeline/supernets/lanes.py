"""Batches side by side on a CPU: each thread computes whole ones alone.

Layers of small networks are too short to be shared by threads that sleep while they wait (docs/results/supernets.md).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

import torch
from torch import nn

from pipeline.supernets.compute import device_of

A = TypeVar("A")
B = TypeVar("B")
_MOST: Final = 8  # Python itself keeps no more threads busy
_AHEAD: Final = 2  # batches that each thread has before it


def lanes_for(network: nn.Module, batches: int) -> int:
    """How many threads are to compute so many batches of a network; 1 where it is not on the CPU."""
    if device_of(network).type != "cpu":
        return 1
    return max(1, min(_MOST, torch.get_num_threads(), batches))


def side_by_side(work: Callable[[A], B], items: Iterable[A], lanes: int) -> Iterator[B]:
    """`work(item)` for each of `items`, in their order, by so many threads that share this one's processors."""
    if lanes == 1:
        yield from map(work, items)
        return
    threads = torch.get_num_threads()
    waiting: deque[Future[B]] = deque()
    try:
        with ThreadPoolExecutor(lanes, initializer=torch.set_num_threads, initargs=(max(1, threads // lanes),)) as pool:
            for item in items:
                if len(waiting) == _AHEAD * lanes:
                    yield waiting.popleft().result()
                waiting.append(pool.submit(work, item))
            while waiting:
                yield waiting.popleft().result()
    finally:
        torch.set_num_threads(threads)  # what those threads have set is where later ones begin
