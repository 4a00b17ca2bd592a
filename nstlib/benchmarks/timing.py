"""How fast it is: ratios within one run, contenders interleaved, medians. Never a unit test.

Each contender is a function that does one piece of work; :func:`compare` times several in turn, so
that a machine that slows down slows down all of them alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Row:
    """One contender: milliseconds of its median run, with the 20 and 80 % quantiles."""

    name: str
    milliseconds: float
    low: float
    high: float
    ratio: float  # how many times faster than the first contender


def compare(contenders: Mapping[str, Callable[[], object]], repeats: int = 15) -> list[Row]:
    """Time the contenders in turn, ``repeats`` times each; the first is the yardstick.

    Each time a contender first runs uncounted, so that it finds its own data in the caches, as it
    would in a run of its own.

    Example:
        >>> rows = compare({"one": lambda: sum(range(10)), "two": lambda: sum(range(10))}, repeats=3)
        >>> [row.name for row in rows], rows[0].ratio
        (['one', 'two'], 1.0)
    """
    if repeats < 2:
        raise ValueError(f"repeats is {repeats}; a median and quantiles need 2 at least")
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 2):
        for name, work in contenders.items():
            work()  # not counted: in a run each step finds the caches as one of its kind left them
            wait_for_device()
            started = time.perf_counter()
            work()
            wait_for_device()
            if turn >= 2:  # the first turns fill caches and choose algorithms
                times[name].append(1000 * (time.perf_counter() - started))
    return as_rows(times)


def as_rows(times: Mapping[str, Sequence[float]]) -> list[Row]:
    """Return each contender's median and quantiles, of its times in ms; the first is the yardstick.

    Example:
        >>> as_rows({"plain": [4.0, 4.0], "ours": [2.0, 2.0]})[1]
        Row(name='ours', milliseconds=2.0, low=2.0, high=2.0, ratio=2.0)
    """
    first = statistics.median(next(iter(times.values())))
    rows = []
    for name, values in times.items():
        quantiles = statistics.quantiles(values, n=5, method="inclusive")
        median = statistics.median(values)
        rows.append(Row(name, median, quantiles[0], quantiles[-1], first / median))
    return rows


def as_table(rows: list[Row], work: str = "step") -> str:
    """Return a Markdown table; ``work`` is what was timed.

    Example:
        >>> print(as_table([Row("plain", 500.0, 490.0, 520.0, 1.0)]))
        | step | median | 20–80 % | times faster |
        | --- | ---: | ---: | ---: |
        | plain | 500.0 ms | 490.0–520.0 ms | 1.0 |
    """
    lines = [f"| {work} | median | 20–80 % | times faster |", "| --- | ---: | ---: | ---: |"]
    lines += [
        f"| {r.name} | {r.milliseconds:.1f} ms | {r.low:.1f}–{r.high:.1f} ms | {r.ratio:.1f} |"
        for r in rows
    ]
    return "\n".join(lines)


def wait_for_device() -> None:
    """Return when a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()
