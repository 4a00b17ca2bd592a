"""Every method in one run: how long, how much memory, and how good; and the kernels beneath them.

A contender is a stream of pictures, so one loop times, weighs and judges all of them.
"""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nstlib import config, gatys
from nstlib.benchmarks import records
from nstlib.benchmarks.contenders import Contender, Pictures, contenders, load_pictures
from nstlib.benchmarks.field import FIELD
from nstlib.benchmarks.kernels import measure_kernel
from nstlib.benchmarks.memory import PeakMemory
from nstlib.benchmarks.rows import METHODS, STEPS, KernelRow, MethodRow, Whole
from nstlib.benchmarks.timing import compare, wait_for_device
from nstlib.encoders import Encoder
from nstlib.evaluation.judging import Left, best_judge, judging
from nstlib.kernels import benchmark as kernel_benchmark
from nstlib.memory import allocation_named

PAIRS = (("astronaut", "vortex"), ("coffee", "woodblock"))  # photos and styles that ship
STYLE_SIZE = 256  # px at which a style is judged: that of the strokes that the nets were taught
JUDGED_STEPS = 100  # of Gatys' method, where not all STEPS are run: by then little is left to gain
STARTS = 3  # of Gatys' method that are timed

Progress = Callable[[str], None]

# --------------------------------------------------------------------------------------- measuring


@dataclass(frozen=True)
class Job:
    """What is measured in turns: a method's contenders, at one size on one device."""

    method: str
    size: int
    device: str

    def __str__(self) -> str:
        return f"{self.method}, {self.size} px, {self.device}"


def plan(sizes: Sequence[int], device: str = "auto", has_field: bool = True) -> list[Job]:
    """Return what there is to measure.

    Args:
        sizes: in pixels, of every method.
        device: ``"auto"`` is the CPU and, where there is one, the GPU.
        has_field: also what the field quotes.

    Raises:
        ValueError: no size, one too small to judge, or a device that is not here.

    Example:
        >>> [str(job) for job in plan([512], "cpu")]
        ['Gatys, 512 px, cpu', 'fast net, 512 px, cpu', 'AdaIN, 512 px, cpu', 'AdaIN, 1024 px, cpu']
    """
    if not sizes and not has_field:
        raise ValueError("size is empty; it takes a number of pixels, or several")
    for size in sizes:
        if size < gatys.SMALLEST_RUNG:
            raise ValueError(f"size is {size}; it must be at least {gatys.SMALLEST_RUNG} px")
    return [
        Job(method, size, place)
        for place in devices(device)
        for method in METHODS
        for size in sorted({*sizes, *(size for one, size in FIELD if one == method and has_field)})
    ]


def devices(device: str = "auto") -> list[str]:
    """Return the device asked for; ``"auto"`` is the CPU and, where there is one, CUDA's GPU."""
    if device != "auto":
        return [str(config.pick_device(device))]
    return ["cpu"] + ["cuda"] * torch.cuda.is_available()


def measure(
    job: Job,
    judge: Encoder,
    repeats: int = 7,
    is_full: bool = False,
    tell: Progress = lambda text: None,
) -> list[MethodRow]:
    """Time all contenders of a job in turns; then weigh each, and judge what it paints.

    Args:
        job: what is measured.
        judge: an encoder on the CPU with the judged taps.
        repeats: timed runs of each.
        is_full: run all of Gatys' steps.
        tell: is told what is being done.
    """
    device = torch.device(job.device)
    found = contenders(job.method, device)
    timed = load_pictures(PAIRS[0], job.size, job.size, device)
    judged = [load_pictures(pair, job.size, STYLE_SIZE, device) for pair in PAIRS]
    jury = [judging(judge, of.photo.cpu(), of.style.cpu()) for of in judged]
    tell(f"{job}: timed")
    rows = []
    for contender, row in zip(found, _timed(job, found, timed, repeats), strict=True):
        tell(f"{job}: {contender.network}, {contender.dtype}")
        if job.method == "Gatys":
            row = replace(row, start=_start(contender, timed))
        row = replace(row, memory=_memory(contender, timed, device))
        if contender.is_trained:
            row = replace(row, **_judged(job, contender, judged, jury, is_full))
        rows.append(row)
    return rows


def _timed(job: Job, found: Sequence[Contender], of: Pictures, repeats: int) -> Iterator[MethodRow]:
    streams = {f"{i}": contender.stream(of) for i, contender in enumerate(found)}
    works = {name: functools.partial(next, stream) for name, stream in streams.items()}
    for contender, row in zip(found, compare(works, repeats), strict=True):
        yield MethodRow(
            method=job.method,
            size=job.size,
            device=job.device,
            dtype=contender.dtype,
            network=contender.network,
            kind=contender.kind,
            milliseconds=row.milliseconds,
            low=row.low,
            high=row.high,
            ratio=row.ratio,
        )


def _start(contender: Contender, of: Pictures) -> float:
    """Return the milliseconds until a new run has its first picture, a median."""
    taken = []
    for _ in range(STARTS):
        wait_for_device()
        started = time.perf_counter()
        next(contender.stream(of))
        wait_for_device()
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


def _memory(contender: Contender, of: Pictures, device: torch.device) -> int | None:
    """Return the bytes that a new run takes at the peak: two pictures, as the optimiser's last."""
    if device.type not in ("cpu", "cuda"):
        return None

    def work() -> None:
        stream = contender.stream(of)
        next(stream)
        next(stream)

    if device.type == "cpu":
        with PeakMemory() as peak:
            work()
        return peak.bytes
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    work()
    torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


def _judged(
    job: Job,
    contender: Contender,
    judged: Sequence[Pictures],
    jury: Sequence[Callable[[Tensor], Left]],
    is_full: bool,
) -> dict[str, Any]:
    """Return the fields of a row that say how good it is: means over the pairs."""
    is_gatys = job.method == "Gatys"
    steps = (STEPS if is_full else JUDGED_STEPS) if is_gatys else 1
    left, seconds = [], []
    for of, left_of in zip(judged, jury, strict=True):
        picture, taken = _painted(contender, of, steps)
        left.append(left_of(picture.cpu()))
        seconds.append(taken)
    return {
        "left": statistics.mean(one.gram for one in left),
        "left_statistics": statistics.mean(one.statistics for one in left),
        "steps": steps if is_gatys else None,
        "run": statistics.median(seconds) if is_gatys and is_full else None,
    }


def _painted(contender: Contender, of: Pictures, steps: int) -> tuple[Tensor, float]:
    """Return the picture after so many steps, and the seconds that they took."""
    wait_for_device()
    started = time.perf_counter()
    stream = contender.stream(of)
    for _ in range(steps):
        picture = next(stream)
    wait_for_device()
    return picture, time.perf_counter() - started


# -------------------------------------------------------------------------------------- all of it


def measure_whole(
    jobs: Iterable[Job],
    repeats: int = 7,
    is_full: bool = False,
    machine: Mapping[str, str] | None = None,
    tell: Progress = lambda text: None,
) -> Whole:
    """Measure jobs, and the kernels of their devices; what there is no memory for is left out.

    Args:
        jobs: from :func:`plan`; each is taken when its turn comes.
        repeats, is_full, tell: as in :func:`measure`.
        machine: what it is measured on; without, what :func:`~nstlib.benchmarks.records.machine` says.

    Raises:
        ValueError: fewer than two repeats.
    """
    if repeats < 2:
        raise ValueError(f"repeats is {repeats}; a median and quantiles need 2 at least")
    judge = best_judge()
    rows: list[MethodRow] = []
    kernels: list[KernelRow] = []
    left_out: list[str] = []
    places: dict[str, None] = {}
    for job in jobs:
        places[job.device] = None
        with _leaving_out(str(job), left_out):
            rows += measure(job, judge, repeats, is_full, tell)
    for place, kernel in itertools.product(places, kernel_benchmark.ENTRIES):
        tell(f"{kernel}, {place}")
        with _leaving_out(f"{kernel}, {place}", left_out):
            kernels += measure_kernel(kernel, place, repeats)
    return Whole(
        machine=machine or records.machine(),
        judge="VGG-19" if judge.name == "vgg19" else f"the {judge.name} encoder that ships",
        pairs=tuple(" × ".join(pair) for pair in PAIRS),
        repeats=repeats,
        rows=tuple(rows),
        kernels=tuple(kernels),
        left_out=tuple(left_out),
    )


@contextmanager
def _leaving_out(what: str, left_out: list[str]) -> Iterator[None]:
    """Add to ``left_out`` what there is no memory for, and go on."""
    try:
        with allocation_named():
            yield
    except MemoryError as error:
        left_out.append(f"{what}: {error}")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # the next needs blocks of other sizes
