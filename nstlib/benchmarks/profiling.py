"""What a piece of work spends its time on: convolutions, Gram products, Python and so on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity

from nstlib.benchmarks.timing import wait_for_device


@dataclass(frozen=True)
class Part:
    """What one kind of work takes within a contender's step."""

    contender: str
    part: str
    milliseconds: float
    share: float  # of the step


# Whose work an operator's is, by its name: the first that fits. What fits none is the last part,
# Python and autograd: all that passes between the operators.
PARTS: dict[str, str] = {
    "convolutions, backward": r"convolution_backward",
    "convolutions, forward": r"conv",
    "Gram products": r"aten::(mm|bmm|addmm|matmul)$",
    "pooling": r"pool2d",
    "ReLUs": r"threshold_backward|clamp_min$|relu",
    "copies, in layout or type": r"copy_|clone|contiguous",
    "filling with zeros": r"fill_|zero_",
    "optimiser": r"_foreach|fused_adam|lerp_|addcmul_|addcdiv_|sqrt",
    "other arithmetic": r"aten::",
}
REST = "Python and autograd"


def profile(
    name: str, run: Iterator[object], steps: int = 5, device: str | torch.device = "cpu"
) -> list[Part]:
    """Return what ``steps`` steps of a run spend their time on, a mean over them, by ``PARTS``.

    Watching costs time too, mostly in Python: the shares say more than the milliseconds.

    Example:
        >>> run = (torch.rand(64, 64) @ torch.rand(64, 64) for _ in range(10))
        >>> parts = profile("products", run)
        >>> [part.part for part in parts if part.part in ("Gram products", REST)]
        ['Gram products', 'Python and autograd']
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be at least 1")
    place = torch.device(device)
    if place.type not in ("cpu", "cuda"):
        raise ValueError(f"device is {str(place)!r}; a profile is of 'cpu' or 'cuda'")
    for _ in range(2):  # the first steps fill caches and choose algorithms
        next(run)
    on_gpu = place.type == "cuda"
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * on_gpu
    started = time.perf_counter()
    with torch.profiler.profile(activities=activities, acc_events=True) as watched:
        for _ in range(steps):
            next(run)
        wait_for_device()
        whole = 1000 * (time.perf_counter() - started) / steps
    spent = dict.fromkeys([*PARTS, REST], 0.0)
    for event in watched.key_averages():
        part = next((p for p, names in PARTS.items() if re.search(names, event.key)), REST)
        # Kernels of a GPU are listed beside the operators that launched them: count them once.
        if part != REST and event.key.startswith("aten::"):
            microseconds = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            spent[part] += microseconds / 1000 / steps
    spent[REST] = max(0.0, whole - sum(spent.values()))
    return [Part(name, p, value, value / whole) for p, value in spent.items() if value > 0]


def parts_table(parts: list[Part]) -> str:
    """Return a Markdown table: a row for each part, a column for each contender.

    Example:
        >>> print(parts_table([Part("slim", "pooling", 2.5, 0.25), Part("slim", REST, 7.5, 0.75)]))
        | part of a step | slim |
        | --- | ---: |
        | pooling | 2.5 ms, 25 % |
        | Python and autograd | 7.5 ms, 75 % |
    """
    contenders = list(dict.fromkeys(part.contender for part in parts))
    cells = {
        (p.part, p.contender): f"{p.milliseconds:.1f} ms, {100 * p.share:.0f} %" for p in parts
    }
    lines = [
        f"| part of a step | {' | '.join(contenders)} |",
        f"| --- |{' ---: |' * len(contenders)}",
    ]
    for part in dict.fromkeys(p.part for p in parts):
        row = [cells.get((part, contender), "–") for contender in contenders]
        lines.append(f"| {part} | {' | '.join(row)} |")
    return "\n".join(lines)
