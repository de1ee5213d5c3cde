"""How the process gets its memory from the system."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # the names of these settings in malloc.h


def keep_freed_memory() -> None:
    """Let the process reuse large pieces of memory that it freed, rather than return them and fetch others.

    A step of training frees the same large tensors that the next one needs. The system clears what it hands out, which
    takes up to a fifth of a step on a CPU. Only GNU's C library on Linux can be told so; elsewhere nothing changes.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_MMAP_MAX, 0)
        library.mallopt(_TRIM_THRESHOLD, -1)  # never
