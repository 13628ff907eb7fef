"""Weight-shared networks and their training.

A supernet runs thousands of distinct layer shapes. oneDNN compiles code for each and keeps 1,024 of them by
default, so that training on random networks spent a third of its time compiling; it reads this once, when the
first layer of the process runs.
"""

import os

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")
