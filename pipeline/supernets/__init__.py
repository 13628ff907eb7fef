"""Weight-shared networks and their training.

Two settings of the process, made when this is imported unless the environment sets them, that training on CPUs needs:

A supernet runs thousands of distinct layer shapes. oneDNN compiles code for each and keeps 1,024 of them by
default, so that training on random networks spent a third of its time compiling; it reads this once, when the
first layer of the process runs.

glibc gives large blocks back to the system as soon as they are freed, and the next layer gets them again one page
fault for every 4 kB: a fifth of a training step at 160 pixels.
"""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
if sys.platform == "linux" and not {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys():
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
