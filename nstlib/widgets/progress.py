"""How far a run has come: its share of the work, the time, and how often to draw."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Throttle:
    """Draws so seldom that the run is not slowed: at most a twentieth of the time goes into it."""

    def __init__(self, period: float, share: float = 0.05) -> None:
        self._period, self._share, self._next = period, share, -math.inf

    def __call__(self, draw: Callable[[], None]) -> None:
        """Call ``draw``, unless it is too soon."""
        began = time.perf_counter()
        if began < self._next:
            return
        draw()
        ended = time.perf_counter()
        self._next = max(began + self._period, ended + (ended - began) / self._share)


def work_done(index: int, steps: int, ladder: int) -> float:
    """Return how much of a run's work is done after ``index`` steps, 0 to 1.

    Each rung of the ladder has twice the pixels of the one before, and so twice the cost a step.

    Example:
        >>> work_done(50, 100, ladder=1), work_done(50, 100, ladder=2)
        (0.5, 0.3333333333333333)
    """
    rungs = index * ladder / steps
    whole = math.floor(rungs)
    return ((1 + rungs - whole) * 2.0**whole - 1) / (2.0**ladder - 1)


def duration(seconds: float) -> str:
    """Return a time in words, rounded up to whole seconds."""
    whole = math.ceil(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"
