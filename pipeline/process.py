"""What is set for the whole process: once, by whoever starts work in it, never by importing.

`before_torch` is for whoever owns the process, before torch is loaded; `for_networks` for whoever is about to run
networks in it. What the environment says already stays as it is.
"""

import contextlib
import functools
import gc
import os
import sys
from collections.abc import Iterator

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def before_torch() -> None:
    """OpenMP's threads sleep while they wait: where they spin, training is eight times slower beside other work.

    On a machine that does nothing else GOMP_SPINCOUNT=10000 in the environment takes 30 % off.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextlib.contextmanager
def without_collector() -> Iterator[None]:
    """Look for no garbage: a third of the time in which hundreds of thousands of objects are made that stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@functools.cache
def for_networks() -> None:
    """Keep compiled layers and freed memory.

    A supernet runs thousands of distinct layer shapes. oneDNN compiles code for each and keeps 1,024 of them by
    default, so that training on random networks spent a third of its time compiling; it reads this once, when the
    first layer of the process runs.

    glibc gives large blocks back to the system as soon as they are freed, and the next layer gets them again one page
    fault for every 4 kB: a fifth of a training step at 160 pixels.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
    if sys.platform != "linux" or {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
        return
    import ctypes

    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:  # musl has none
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def under_torchrun() -> bool:
    """Whether `torchrun` started this process beside others."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def first_process() -> bool:
    """Whether nobody else speaks for this command: under `torchrun` the first process does."""
    return os.environ.get("RANK", "0") == "0" or not under_torchrun()
