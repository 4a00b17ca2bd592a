"""Memory: how much of it is free, and how a long loop uses the same again.

A picture that is too large for a method should be refused before the work, with the size that would
fit: that is :func:`check_memory`. Where memory runs out all the same, :func:`memory_for` says so
likewise, and :func:`allocation_named` where no size is known.

Each step of a run allocates and frees the same big tensors. The GNU C library gives much of that
back to the system as soon as it is freed, and takes it anew in the next step, page by page, each
page filled with zeros first: five thousand pages for a step at 256², about a tenth of its time.
Within :func:`reused_memory`, what a run frees is kept for its next step; at the end it goes back.
"""

from __future__ import annotations

import ctypes
import functools
import math
import platform
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

# Names and numbers of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4
_MEGABYTE = 1 << 20
# What a short run may leave behind: a slider's next answer finds its pages there. Gaps in the heap
# count, also where their pages are gone: less would be given back after each pass at 512².
_MAY_STAY = 384 * _MEGABYTE

# How torch says that a device is full, up to how much it could not have; its advice comes after that.
_FULL = re.compile(
    r"DefaultCPUAllocator: .*"
    r"|(CUDA|CUDA error:|HIP|XPU|MPS backend) out of memory(.*?Tried to allocate .*?(?=\. |\.?$))?"
)

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
        library.mallopt(_M_TRIM_THRESHOLD, _MAY_STAY)
        if _unused(library) > _MAY_STAY:
            library.malloc_trim(0)


class _Heap(ctypes.Structure):
    """The C library's own account of its heap, in bytes (``struct mallinfo2``)."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )


def _unused(library: ctypes.CDLL) -> float:
    """Return how many bytes were freed and not given back; infinity where it cannot be said."""
    if not hasattr(library, "mallinfo2"):  # before version 2.33
        return math.inf
    library.mallinfo2.restype = _Heap
    return int(library.mallinfo2().fordblks)


@functools.cache
def _gnu_library() -> ctypes.CDLL | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL(None)


# ------------------------------------------------------------------------ memory that is free


def free_memory(device: torch.device) -> float | None:
    """Return how many bytes are free on ``device``, or None where that cannot be said."""
    if device.type == "mps":  # shares the machine's memory, and pages
        return None
    if device.type == "cuda":
        # What torch keeps from earlier runs, without using it, is free for this one.
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return min(float(psutil.virtual_memory().available), _container_memory())


def _container_memory(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> float:
    """Return how many bytes Linux's control groups leave this process, infinity for no limit.

    A container sees the whole machine's free memory, but is killed where it takes more than its
    own group may, or any group above it.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # another system
        return math.inf
    free = math.inf
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":  # version 2: one tree for everything
            tree, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            tree = root / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = tree / group.lstrip("/")
        for place in (folder, *folder.parents):
            if place.is_relative_to(tree):
                free = min(free, _left_in_group(place, *names))
    return free


def _left_in_group(folder: Path, limit: str, usage: str, cache: str) -> float:
    """Return the bytes a control group has left, infinity where it has no limit."""
    try:
        left = int((folder / limit).read_text()) - int((folder / usage).read_text())
        statistics = dict(map(str.split, (folder / "memory.stat").read_text().splitlines()))
    except (OSError, ValueError):  # no such group here, or its limit reads "max"
        return math.inf
    # What was read from files, and lies unused, is given up when memory is needed.
    return max(0, left + int(statistics[cache]))


def check_memory(name: str, size: tuple[int, int], needed: int, device: torch.device) -> None:
    """Raise MemoryError where ``needed`` bytes, which grow with the pixels, are not free.

    Args:
        name: what the picture is called.
        size: its height and width; the error says which would fit.
        needed: in bytes.
        device: where they are needed.
    """
    free = free_memory(device)
    if free is not None and needed > free:
        shrink = (free / needed) ** 0.5
        fits = f"{int(size[0] * shrink)}×{int(size[1] * shrink)}"
        raise MemoryError(
            f"{name} is {size[0]}×{size[1]} px, which needs about {needed / 1e9:.1f} GB on "
            f"{device}; {free / 1e9:.1f} GB are free. About {fits} px would fit"
        )


@contextmanager
def memory_for(
    name: str, size: tuple[int, int], needed: int, device: torch.device
) -> Iterator[None]:
    """Do the work that takes ``needed`` bytes, or raise MemoryError with a size that would fit.

    Before the work, as :func:`check_memory` does, whose arguments these are; and where memory runs
    out within it all the same, since it lies in pieces, say, or another program took it.

    Example:
        >>> with memory_for("content", (480, 640), 1_000_000, torch.device("cpu")):
        ...     raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0")
        Traceback (most recent call last):
        ...
        MemoryError: content is 480×640 px, and memory ran out: CUDA out of memory. Tried to
        allocate 2.00 GiB. About 339×452 px would fit
    """
    check_memory(name, size, needed, device)
    try:
        yield
    except RuntimeError as error:
        if not (said := _why_full(error)):
            raise
        # Half the pixels: what there is, was judged to be enough, and is less than that.
        fits = f"{int(size[0] * 0.5**0.5)}×{int(size[1] * 0.5**0.5)}"
        raise MemoryError(
            f"{name} is {size[0]}×{size[1]} px, and memory ran out: {said}. "
            f"About {fits} px would fit"
        ) from error


@contextmanager
def allocation_named() -> Iterator[None]:
    """Raise MemoryError, in torch's own sentence, where a device cannot allocate what a block needs.

    Of a GPU torch raises an error of its own, and of a CPU, or Apple's GPU, a plain RuntimeError, as
    for many a mistake; any other error stays as it is.

    Example:
        >>> with allocation_named():
        ...     torch.empty(1 << 60, dtype=torch.uint8)
        Traceback (most recent call last):
        ...
        MemoryError: DefaultCPUAllocator: ... you tried to allocate 1152921504606846976 bytes...
    """
    try:
        yield
    except RuntimeError as error:
        if said := _why_full(error):
            raise MemoryError(said) from error
        raise


def _why_full(error: RuntimeError) -> str:
    """Return what torch says of memory that ran out, without its advice; nothing of other errors."""
    if found := _FULL.search(str(error)):
        return found[0]
    return str(error) if isinstance(error, torch.OutOfMemoryError) else ""
