"""How long the kernels take that lie beneath the methods, beside a copy of the bytes they must move."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from nstlib.benchmarks.contenders import dtypes_of, name_of
from nstlib.benchmarks.rows import KernelRow
from nstlib.kernels import benchmark as kernel_benchmark
from nstlib.kernels.backend import has_triton
from nstlib.memory import reused_memory


def measure_kernel(
    kernel: str, place: str, repeats: int = 7, shape: kernel_benchmark.Shape | None = None
) -> list[KernelRow]:
    """Time a kernel's PyTorch reference and, on an NVIDIA GPU, ``torch.compile`` and Triton.

    Maps lie as the encoders' do, channels last.

    Args:
        kernel: a name of ``nstlib.kernels.benchmark.ENTRIES``.
        place: the device; of MPS the clocks know nothing, and there are no rows.
        repeats: timed calls of each on a CPU; a GPU takes as many as the kernels' own benchmark.
        shape: of the maps; without, one of the course's on a CPU, and one that fills a GPU.
    """
    device = torch.device(place)
    if device.type not in ("cpu", "cuda"):
        return []
    if device.type == "cuda":
        repeats = kernel_benchmark.REPEATS
        shape = shape or kernel_benchmark.ENTRIES[kernel].shapes[0]
    rows = []
    for dtype in dtypes_of(device):
        size = shape or kernel_benchmark.COURSE[0]
        maps = kernel_benchmark.maps_for(size, dtype, "channels_last", device)
        rows += _kernel_rows(kernel, maps, repeats)
    return rows


def _kernel_rows(kernel: str, maps: Tensor, repeats: int) -> list[KernelRow]:
    entry = kernel_benchmark.ENTRIES[kernel]
    moved = entry.bytes_moved(maps)
    source, target = torch.zeros(2, moved // 2, dtype=torch.uint8, device=maps.device)
    providers = ["eager"]
    if maps.is_cuda and has_triton() and not torch.version.hip:
        providers += ["compile", "triton"]
    # A CPU takes longer to be given new memory than to fill it: what was freed is used again.
    with (
        kernel_benchmark.exact_products(),
        kernel_benchmark.triton_asked_for(),
        reused_memory(),
    ):
        known = kernel_benchmark.calls_of(entry, entry.inputs(maps), moved)
        calls: dict[str, kernel_benchmark.Call] = {"copy": functools.partial(target.copy_, source)}
        calls |= {name: known[name] for name in providers}
        times = kernel_benchmark.interleaved(calls, repeats, maps.device)
    copied = times.pop("copy", None)
    return [
        KernelRow(
            kernel=kernel,
            shape=tuple(maps.shape),
            device=maps.device.type,
            dtype=name_of(maps.dtype),
            provider=provider,
            milliseconds=found.median,
            low=found.low,
            high=found.high,
            bytes=moved,
            roofline=copied.median if copied else None,
            launches=maps.is_cuda and found.median < kernel_benchmark.LAUNCHES,
        )
        for provider, found in times.items()
    ]
