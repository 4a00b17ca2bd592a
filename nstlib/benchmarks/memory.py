"""How much memory this process takes at its peak, which PyTorch counts on a GPU alone."""

from __future__ import annotations

import ctypes
import gc
import platform
import threading
from pathlib import Path
from typing import Self

import psutil


class PeakMemory:
    """By how much this process grew within a block, at the most: ``bytes``, once the block has ended.

    Linux itself marks how much a process held at the most; elsewhere it is looked at every 20 ms, and
    what is over sooner is missed. Blocks do not nest. What was freed before goes back to the system
    first; what is freed within may be kept and taken again, as it is in use.
    """

    def __enter__(self) -> Self:
        gc.collect()
        if platform.libc_ver()[0] == "glibc":
            ctypes.CDLL(None).malloc_trim(0)
        self._process, self._over = psutil.Process(), threading.Event()
        self._before, self.bytes = self._process.memory_info().rss, 0
        self._is_marked = _begins_mark(self._before)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        if not self._is_marked:
            self._watcher.start()
        return self

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.bytes = max(self.bytes, self._process.memory_info().rss - self._before)

    def __exit__(self, *error: object) -> None:
        self._over.set()
        if self._is_marked:
            self.bytes = max(0, _mark() - self._before)
        else:
            self._watcher.join()


def _begins_mark(held: int) -> bool:
    """Let Linux begin anew to mark what this process holds at the most; say whether it did."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # "5" is the mark, in proc(5)
        return _mark() - held < 2**24  # an older one would lie far above
    except (OSError, LookupError):
        return False


def _mark() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(dict(line.split(":", 1) for line in lines)["VmHWM"].split()[0])
