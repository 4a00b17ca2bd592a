"""What ``nst bench`` finds: a row for each contender of a method, and for each way to a kernel."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

METHODS = ("Gatys", "fast net", "AdaIN")
WORK = {"Gatys": "a step", "fast net": "a pass", "AdaIN": "a pass"}  # what is timed
STEPS = 300  # of Gatys' method, for which the field quotes times

# What a contender is to the plain baseline: itself, or as far as VGG-19's trained weights were found;
# the same network by nstlib; what ships with it; and that where the style is encoded before, as for a
# video or a slider.
PLAIN, FEWER, SAME, SHIPS, KEPT = KINDS = (
    "plain",
    "plain, fewer layers",
    "same network, nstlib",
    "what ships",
    "what ships, style kept",
)


@dataclass(frozen=True)
class MethodRow:
    """One contender of a method, at one size on one device: how long, how much memory, how good."""

    method: str
    size: int  # px, of a square photo
    device: str
    dtype: str
    network: str
    kind: str  # of KINDS
    milliseconds: float  # of a step or a pass, the median
    low: float  # the 20 % quantile
    high: float  # the 80 % quantile
    ratio: float  # how many times faster than the first contender, the plain one
    start: float | None = None  # ms from the call to Gatys' first picture: set-up and a step
    run: float | None = None  # s that all of Gatys' steps took, where they were run
    memory: int | None = None  # bytes at the peak, beyond inputs and weights
    left: float | None = None  # of the photo's distance to the style, by Gram matrices
    left_statistics: float | None = None  # … by means and deviations
    steps: int | None = None  # after which Gatys' method was judged

    @property
    def whole_run(self) -> float | None:
        """Seconds that Gatys' STEPS steps take: as run, or the first and so many medians.

        Example:
            >>> row = MethodRow("Gatys", 512, "cpu", "float32", "slim", SHIPS, 100, 90, 120, 1, 400)
            >>> row.whole_run
            30.3
        """
        if self.run is not None or self.start is None:
            return self.run
        return (self.start + (STEPS - 1) * self.milliseconds) / 1000


@dataclass(frozen=True)
class KernelRow:
    """One way to compute a kernel: its time, beside that of a copy of the bytes it must move."""

    kernel: str
    shape: tuple[int, ...]  # (N, C, H, W)
    device: str
    dtype: str
    provider: str
    milliseconds: float
    low: float
    high: float
    bytes: int
    roofline: float | None  # ms that so many bytes take at the bandwidth of a copy
    launches: bool = False  # too short on a GPU to say anything of bytes

    @property
    def gigabytes_per_second(self) -> float:
        """Of the bytes that must be moved.

        Example:
            >>> row = KernelRow("gram", (1, 1, 1, 1), "cpu", "float32", "eager", 2, 2, 2, 10**9, 1)
            >>> row.gigabytes_per_second
            500.0
        """
        return self.bytes / self.milliseconds / 1e6


@dataclass(frozen=True)
class Whole:
    """All that one run of ``nst bench`` found."""

    machine: Mapping[str, str]
    judge: str  # who says what is left of a style
    pairs: tuple[str, ...]  # a photo and a style each, over which that is a mean
    repeats: int
    rows: tuple[MethodRow, ...]
    kernels: tuple[KernelRow, ...] = ()
    left_out: tuple[str, ...] = ()  # what there was no memory for


def in_order(rows: Iterable[MethodRow]) -> list[MethodRow]:
    """Return rows by method, device, size and kind; those alike in all stay as they were measured."""
    return sorted(
        rows,
        key=lambda row: (METHODS.index(row.method), row.device, row.size, KINDS.index(row.kind)),
    )


def read(path: Path) -> Whole:
    """Return what :func:`~nstlib.benchmarks.report.write` wrote to a ``whole.json``."""
    found = json.loads(path.read_text(encoding="utf-8"))
    kernels = [KernelRow(**row | {"shape": tuple(row["shape"])}) for row in found["kernels"]]
    rows = tuple(MethodRow(**row) for row in found["rows"])
    texts = {name: tuple(found[name]) for name in ("pairs", "left_out")}
    return Whole(**found | texts | {"rows": rows, "kernels": tuple(kernels)})
