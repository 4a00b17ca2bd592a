"""The tables of what ``nst bench`` has measured, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nstlib.benchmarks.rows import WORK, KernelRow, MethodRow, in_order
from nstlib.benchmarks.units import duration, figures, memory, share, span


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> str:
    """Return a Markdown table whose first columns, so many, are words; the others are numbers.

    Example:
        >>> print(table(("method", "time"), [("AdaIN", "1 s")], words=1))
        | method | time |
        | --- | ---: |
        | AdaIN | 1 s |
    """
    marks = ["---"] * words + ["---:"] * (len(titles) - words)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, marks, *rows))


def methods_table(rows: Iterable[MethodRow]) -> str:
    """Return a row for each contender, each beside the plain one of its method, size and device."""
    titles = ["method", "px", "device", "network", "dtype", "time", "20–80 %", "times faster"]
    titles += ["peak memory", "style left", "… means, deviations"]
    return table(titles, map(_method_cells, in_order(rows)), words=5)


def _method_cells(row: MethodRow) -> tuple[str, ...]:
    return (
        f"{row.method}, {WORK[row.method]}",
        str(row.size),
        row.device,
        row.network,
        row.dtype,
        duration(row.milliseconds / 1000),
        span(row.low / 1000, row.high / 1000),
        f"{row.ratio:.1f}",
        memory(row.memory),
        quality(row),
        share(row.left_statistics, "–"),
    )


def quality(row: MethodRow) -> str:
    """Return what is left of the style, or why nothing is said of it."""
    after = "" if row.steps is None else f" after {row.steps} steps"
    return share(row.left, "random weights") + after


def kernels_table(rows: Iterable[KernelRow]) -> str:
    """Return a row for each way to compute a kernel."""
    titles = ["kernel", "shape", "device", "dtype", "by", "time", "20–80 %", "GB/s"]
    titles += ["roofline", "of the roofline"]
    return table(titles, map(_kernel_cells, rows), words=5)


def _kernel_cells(row: KernelRow) -> tuple[str, ...]:
    reached = "–" if row.roofline is None else f"{100 * row.roofline / row.milliseconds:.0f} %"
    return (
        row.kernel,
        "×".join(map(str, row.shape)),
        row.device,
        row.dtype,
        row.provider,
        duration(row.milliseconds / 1000),
        span(row.low / 1000, row.high / 1000),
        "launches" if row.launches else figures(row.gigabytes_per_second),
        "–" if row.roofline is None else duration(row.roofline / 1000),
        reached,
    )
