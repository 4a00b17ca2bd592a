"""Memory that is used again: a long loop's big tensors without asking the system for pages anew.

Each step of a run allocates and frees the same big tensors. The GNU C library gives much of that
back to the system as soon as it is freed, and takes it anew in the next step, page by page, each
page filled with zeros first: five thousand pages for a step at 256², about a tenth of its time.
While a run is under way, what it frees is kept for its next step; at the end it goes back.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Names and numbers of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4
_MEGABYTE = 1 << 20

_lock = threading.Lock()
_runs = 0  # under way; the first changes how memory is kept, the last changes it back


@contextmanager
def reused_memory() -> Iterator[None]:
    """Keep what is freed within the block for the next allocation, and give it back at its end.

    Blocks may nest and overlap. Where the C library is another than GNU's (on Windows, macOS or
    Alpine) nothing happens.

    Example:
        >>> with reused_memory():
        ...     total = sum(len(bytes(1000)) for _ in range(3))
        >>> total
        3000
    """
    global _runs
    with _lock:
        _runs += 1
        if _runs == 1:
            _keep()
    try:
        yield
    finally:
        with _lock:
            _runs -= 1
            if _runs == 0:
                _give_back()


def _keep() -> None:
    if library := _gnu_library():
        # Blocks of pages of their own are given back when freed, whatever the threshold says.
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _give_back() -> None:
    if library := _gnu_library():
        library.mallopt(_M_MMAP_MAX, 65536)  # as it is by default
        # To call mallopt stops the library from raising these two by itself: where it would end.
        library.mallopt(_M_MMAP_THRESHOLD, 32 * _MEGABYTE)
        library.mallopt(_M_TRIM_THRESHOLD, 64 * _MEGABYTE)
        library.malloc_trim(0)


@functools.cache
def _gnu_library() -> ctypes.CDLL | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL(None)
