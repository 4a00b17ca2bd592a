"""How fast the kernels are: Triton beside eager PyTorch, ``torch.compile`` and a copy of the bytes.

``python -m nstlib.kernels.benchmark --out data/benchmarks`` measures on an NVIDIA GPU. It needs
PyTorch and Triton, and no other part of the course. Elsewhere it runs at tiny sizes, without
Triton, to show that it runs at all.

Eager PyTorch and ``torch.compile`` are given a kernel's reference itself; Triton is called as a
reader calls it, through the public function with its checks. Each call finds the GPU's cache
flushed and, if it takes the CPU less time than the flush takes the GPU, its launches queued: then
the milliseconds are the GPU's own. What the CPU spends on a call stands beside them.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from nstlib.files import replaced
from nstlib.kernels.adain import adain
from nstlib.kernels.adain import reference as adain_reference
from nstlib.kernels.backend import load_triton
from nstlib.kernels.gram import gram
from nstlib.kernels.gram import reference as gram_reference
from nstlib.kernels.instance_norm import instance_norm
from nstlib.kernels.instance_norm import reference as instance_norm_reference
from nstlib.kernels.moments import moments
from nstlib.kernels.moments import reference as moments_reference
from nstlib.kernels.tiles import whole_tiles_for
from nstlib.kernels.total_variation import reference as total_variation_reference
from nstlib.kernels.total_variation import total_variation
from nstlib.kernels.warp import reference as warp_reference
from nstlib.kernels.warp import warp

Shape = tuple[int, int, int, int]
Call = Callable[[], object]

DTYPES = (torch.float32, torch.bfloat16)
LAYOUTS = ("contiguous", "channels_last")
COURSE: tuple[Shape, ...] = ((1, 64, 512, 512), (8, 256, 64, 64), (1, 3, 288, 512))
LARGE: Shape = (8, 64, 1024, 1024)
PICTURES: Shape = (8, 3, 1024, 1024)
QUICK: tuple[Shape, ...] = ((2, 5, 12, 16),)

REPEATS, QUICK_REPEATS = 50, 3
WARM_UPS = 3
# A gigabyte is larger than any cache, and takes a GPU 0.3 to 2 ms to write: longer than it takes a
# CPU to launch what comes after.
FLUSH = 2**30
LAUNCHES = 0.02  # milliseconds; what takes less is the time of launches, not of bytes
NOTE = (
    "GB/s are of the bytes that the kernel must move, not of those that a provider does move. "
    "Where 'launches' stands, the call or the copy takes under 20 µs: that measures launches, not "
    "bytes. CPU is what the processor spends on a call; where the GPU waits for it, it counts."
)


# --------------------------------------------------------------------------------------- entries


@dataclass(frozen=True)
class Entry:
    """A kernel's benchmark: its inputs, beginning with the maps, what computes it, and its bytes.

    ``public`` is called with the inputs under ``NSTLIB_KERNELS=triton``; ``reference`` is the same
    in plain PyTorch, which ``torch.compile`` can look into.
    """

    inputs: Callable[[Tensor], list[Tensor]]
    public: Callable[..., object]
    reference: Callable[..., object]
    bytes_moved: Callable[[Tensor], int]
    shapes: tuple[Shape, ...] = (LARGE, *COURSE)


def bytes_of(maps: Tensor) -> int:
    """Return the bytes of the maps' elements."""
    return maps.numel() * maps.element_size()


def readings(maps: Tensor) -> int:
    """Return how often maps must be read to be normalised: once where a tile holds whole planes."""
    return 2 if whole_tiles_for(maps) is None else 1


def _alone(maps: Tensor) -> list[Tensor]:
    return [maps]


def _gram_bytes(maps: Tensor) -> int:
    images, channels = maps.shape[:2]
    return bytes_of(maps) + images * channels * channels * 4


def _plain_gram(maps: Tensor) -> Tensor:
    return gram_reference(maps, float(maps.shape[2] * maps.shape[3]))


def _plain_moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    return moments_reference(maps, 1e-8)


def _adain_inputs(maps: Tensor) -> list[Tensor]:
    images, channels = maps.shape[:2]
    mean, alpha = _normal((images, channels), maps), maps.new_full((images,), 0.8).float()
    return [maps, mean, mean.abs() + 0.5, alpha]


def _plain_adain(maps: Tensor, mean: Tensor, std: Tensor, alpha: Tensor) -> Tensor:
    return adain_reference(maps, mean, std, alpha, None, 1e-5)


def _value_and_gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    leaf = image.detach().requires_grad_()
    value = total_variation(leaf)
    return value.detach(), torch.autograd.grad(value, leaf)[0]


def _plain_value_and_gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    value, slopes = total_variation_reference(image, 1, True)
    return value, (slopes.to(value.dtype) / image.numel()).to(image.dtype)


def _instance_norm_inputs(maps: Tensor) -> list[Tensor]:
    weight, bias = _normal(maps.shape[1:2], maps), _normal(maps.shape[1:2], maps)
    residual = torch.empty_like(maps).copy_(_normal(maps.shape, maps))
    return [maps, weight, bias, residual]


def _instance_norm(maps: Tensor, weight: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
    return instance_norm(maps, weight, bias, residual, relu=True)


def _plain_instance_norm(maps: Tensor, weight: Tensor, bias: Tensor, residual: Tensor) -> Tensor:
    each = maps.shape[:2]
    return instance_norm_reference(
        maps, weight.expand(each), bias.expand(each), residual, True, 1e-5
    )


def _warp_inputs(image: Tensor) -> list[Tensor]:
    """Return frames, a flow of a few pixels that is as smooth as a film's, and a soft mask."""
    images, _, height, width = image.shape
    coarse = 4 * _normal((images, 2, 8, 8), image)
    flow = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    current = torch.empty_like(image).copy_(_normal(image.shape, image))
    mask = _normal((images, 1, height, width), image).sigmoid()
    return [image, flow, current, mask]


def _warp(image: Tensor, flow: Tensor, current: Tensor, mask: Tensor) -> Tensor:
    return warp(image, flow, "border", current, mask)


def _plain_warp(image: Tensor, flow: Tensor, current: Tensor, mask: Tensor) -> Tensor:
    return warp_reference(image, flow, "border", current, mask)


def _warp_bytes(image: Tensor) -> int:
    images, _, height, width = image.shape
    return 3 * bytes_of(image) + images * (2 + 1) * height * width * 4  # flow and mask: float32


def _normal(shape: Sequence[int], beside: Tensor) -> Tensor:
    """Return normal numbers in float32 on the device of another tensor."""
    return torch.randn(tuple(shape), device=beside.device)


ENTRIES: Mapping[str, Entry] = {
    "gram": Entry(
        _alone,
        gram,
        _plain_gram,
        _gram_bytes,
        (LARGE, (8, 128, 512, 512), (8, 256, 256, 256), *COURSE),
    ),
    "moments": Entry(_alone, moments, _plain_moments, bytes_of),
    "adain": Entry(
        _adain_inputs, adain, _plain_adain, lambda maps: (readings(maps) + 1) * bytes_of(maps)
    ),
    "total_variation": Entry(
        _alone,
        _value_and_gradient,
        _plain_value_and_gradient,
        lambda image: 2 * bytes_of(image),
        (LARGE, PICTURES, *COURSE),
    ),
    "instance_norm": Entry(
        _instance_norm_inputs,
        _instance_norm,
        _plain_instance_norm,
        lambda maps: (readings(maps) + 2) * bytes_of(maps),
    ),
    "warp": Entry(_warp_inputs, _warp, _plain_warp, _warp_bytes, (LARGE, PICTURES, *COURSE)),
}


# ---------------------------------------------------------------------------------------- timing


@dataclass(frozen=True)
class Time:
    """Milliseconds of a call: the median, the 20 and 80 % quantiles, and the CPU's part."""

    median: float
    low: float
    high: float
    cpu: float


class CpuClock:
    """Times a call on a CPU."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    def time(self, call: Call) -> None:
        """Run the call, and remember how long it took."""
        started = time.perf_counter()
        call()
        self.taken.append(1000 * (time.perf_counter() - started))

    def read(self) -> Time:
        """Return what the calls took."""
        return _time_of(self.taken, self.taken)


class GpuClock:
    """Times a call on a GPU, by events in its queue: nothing is waited for between them."""

    def __init__(self, flush: Tensor) -> None:
        self.flush = flush
        self.events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self.spent: list[float] = []

    def time(self, call: Call) -> None:
        """Flush the cache, and put the call into the queue between two events."""
        begin, end = _event(), _event()
        self.flush.zero_()
        begin.record()
        started = time.perf_counter()
        call()
        self.spent.append(1000 * (time.perf_counter() - started))
        end.record()
        self.events.append((begin, end))

    def read(self) -> Time:
        """Return what the calls took."""
        torch.cuda.synchronize()
        return _time_of([begin.elapsed_time(end) for begin, end in self.events], self.spent)


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _time_of(taken: Sequence[float], spent: Sequence[float]) -> Time:
    quantiles = statistics.quantiles(taken, n=5, method="inclusive")
    return Time(statistics.median(taken), quantiles[0], quantiles[-1], statistics.median(spent))


def interleaved(calls: Mapping[str, Call], repeats: int, device: torch.device) -> dict[str, Time]:
    """Time the calls in turn, ``repeats`` times each; what lacks the memory to run is left out.

    Example:
        >>> times = interleaved({"one": lambda: sum(range(9))}, 3, torch.device("cpu"))
        >>> times["one"].low <= times["one"].median <= times["one"].high
        True
    """
    if repeats < 2:
        raise ValueError(f"repeats is {repeats}; a median and quantiles need 2 at least")
    on_gpu = device.type == "cuda"
    calls = {name: call for name, call in calls.items() if _is_warm(name, call)}
    clocks: dict[str, CpuClock | GpuClock] = {}
    for name in calls:
        clocks[name] = GpuClock(_to_flush_with(device)) if on_gpu else CpuClock()
    for _ in range(repeats):
        for name, call in calls.items():
            clocks[name].time(call)
        if on_gpu:
            torch.cuda.synchronize()  # a full queue would hold up the CPU
    return {name: clock.read() for name, clock in clocks.items()}


@functools.cache
def _to_flush_with(device: torch.device) -> Tensor:
    """Return memory that is written to flush the cache: a gigabyte, or less on a small GPU."""
    held = torch.cuda.get_device_properties(device).total_memory
    return torch.empty(min(FLUSH, held // 8), dtype=torch.uint8, device=device)


def _is_warm(name: str, call: Call) -> bool:
    """Run a call until all is compiled and chosen; say whether there is memory for it."""
    try:
        for _ in range(WARM_UPS):
            call()
    except torch.OutOfMemoryError:
        print(f"  {name}: left out, for want of memory", flush=True)
        torch.cuda.empty_cache()
        return False
    return True


@contextmanager
def exact_products() -> Iterator[None]:
    """Let products of float32 be float32's, and those of bfloat16 be summed in float32."""
    products = torch.backends.cuda.matmul
    before = products.allow_tf32, products.allow_bf16_reduced_precision_reduction
    products.allow_tf32 = products.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        products.allow_tf32, products.allow_bf16_reduced_precision_reduction = before


@contextmanager
def triton_asked_for() -> Iterator[None]:
    """Let the public functions run Triton or raise, never fall back."""
    before = os.environ.get("NSTLIB_KERNELS")
    os.environ["NSTLIB_KERNELS"] = "triton"
    try:
        yield
    finally:
        if before is None:
            del os.environ["NSTLIB_KERNELS"]
        else:
            os.environ["NSTLIB_KERNELS"] = before


# ------------------------------------------------------------------------------------------ rows


@dataclass(frozen=True)
class Row:
    """One provider's time for one kernel at one size; ``cpu`` to ``high`` in milliseconds."""

    gpu: str
    torch: str
    triton: str
    kernel: str
    shape: Shape
    dtype: str
    layout: str
    provider: str
    median: float
    low: float
    high: float
    cpu: float
    bytes: int
    gigabytes_per_second: float
    of_copy: float | None  # bandwidth as a share of the copy's
    ratio: float | None  # how many times faster than eager
    launches: bool  # whether it is launches that are measured

    @property
    def place(self) -> str:
        """Where it was measured: shape, dtype and layout."""
        return f"{'×'.join(map(str, self.shape))}, {self.dtype}, {self.layout}"


def maps_for(shape: Shape, dtype: torch.dtype, layout: str, device: torch.device) -> Tensor:
    """Return normal numbers in a shape, dtype and layout."""
    order = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    maps = torch.empty(shape, dtype=dtype, device=device, memory_format=order)
    return maps.normal_()


def calls_of(entry: Entry, inputs: list[Tensor], moved: int) -> dict[str, Call]:
    """Return what is compared, by provider; the copy reads and writes half of the bytes each.

    On a CPU there is no Triton, and ``torch.compile`` only traces: its compiler would take a minute.
    """
    on_gpu = inputs[0].is_cuda
    half = torch.empty(moved // 2, dtype=torch.uint8, device=inputs[0].device).fill_(7)
    torch.compiler.reset()  # else what was compiled at other sizes counts against a limit
    backend = "inductor" if on_gpu else "aot_eager"
    compiled = torch.compile(entry.reference, fullgraph=True, dynamic=False, backend=backend)
    calls: dict[str, Call] = {
        "copy": half.clone,
        "eager": functools.partial(entry.reference, *inputs),
        "compile" if on_gpu else backend: functools.partial(compiled, *inputs),
    }
    if on_gpu:
        calls["triton"] = functools.partial(entry.public, *inputs)
    return calls


def measure(
    kernel: str,
    shape: Shape,
    dtype: torch.dtype,
    layout: str,
    device: torch.device,
    repeats: int = REPEATS,
) -> list[Row]:
    """Return a row for each provider of a kernel at one size."""
    torch.manual_seed(0)
    entry = ENTRIES[kernel]
    maps = maps_for(shape, dtype, layout, device)
    moved = entry.bytes_moved(maps)
    with exact_products(), triton_asked_for():
        times = interleaved(calls_of(entry, entry.inputs(maps), moved), repeats, device)
    copied, eager = times.get("copy"), times.get("eager")
    return [
        Row(
            gpu=torch.cuda.get_device_name(device) if device.type == "cuda" else "none",
            torch=torch.__version__,
            triton=load_triton().__version__ if device.type == "cuda" else "none",
            kernel=kernel,
            shape=shape,
            dtype=str(dtype).removeprefix("torch."),
            layout=layout,
            provider=provider,
            median=found.median,
            low=found.low,
            high=found.high,
            cpu=found.cpu,
            bytes=moved,
            gigabytes_per_second=moved / found.median / 1e6,
            of_copy=copied.median / found.median if copied else None,
            ratio=eager.median / found.median if eager else None,
            launches=min(found.median, (copied or found).median) < LAUNCHES,
        )
        for provider, found in times.items()
    ]


def measure_all(
    kernel: str, shapes: Iterable[Shape], device: torch.device, repeats: int = REPEATS
) -> list[Row]:
    """Return the rows of a kernel at each shape, dtype and layout."""
    rows = []
    for shape in shapes:
        for dtype in DTYPES:
            for layout in LAYOUTS:
                try:
                    rows += measure(kernel, shape, dtype, layout, device, repeats)
                except torch.OutOfMemoryError:
                    print(f"  {kernel} at {shape}: left out, for want of memory", flush=True)
                if device.type == "cuda":
                    torch.cuda.empty_cache()  # the next size needs blocks of other sizes
    return rows


# ---------------------------------------------------------------------------------------- tables


def as_table(rows: Sequence[Row]) -> str:
    """Return a Markdown table, with what is to be said of it in words."""
    lines = [
        "| kernel | size | provider | median | 20–80 % | CPU | GB/s | of a copy's | times faster | |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        cells = (
            row.kernel,
            row.place,
            row.provider,
            f"{row.median:.3f} ms",
            f"{row.low:.3f}–{row.high:.3f} ms",
            f"{row.cpu:.3f} ms",
            f"{row.gigabytes_per_second:.0f}",
            "–" if row.of_copy is None else f"{100 * row.of_copy:.0f} %",
            "–" if row.ratio is None else f"{row.ratio:.2f}",
            "launches" if row.launches else "",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", NOTE, "", *verdicts(rows)])


def verdicts(rows: Sequence[Row]) -> list[str]:
    """Say of each kernel whether Triton is the fastest, and where it is not."""
    return [_verdict(kernel, rows) for kernel in dict.fromkeys(row.kernel for row in rows)]


def _verdict(kernel: str, rows: Sequence[Row]) -> str:
    times: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.kernel == kernel:
            times.setdefault(row.place, {})[row.provider] = row
    measured = {place: found for place, found in times.items() if "triton" in found}
    if not measured:
        return f"- {kernel}: Triton was not measured; it needs an NVIDIA GPU."
    losses = []
    for place, found in measured.items():
        ours = found["triton"]
        for rival in ("eager", "compile"):
            if rival in found and ours.median > found[rival].median:
                slower = ours.median / found[rival].median
                beside = " (launches)" if ours.launches else ""
                losses.append(f"to {rival} at {place}, {slower:.2f} times its time{beside}")
    if not losses:
        return f"- {kernel} (sizes: {len(measured)}): Triton is the fastest at each."
    return f"- {kernel} (sizes: {len(measured)}): Triton loses {'; '.join(losses)}."


# ----------------------------------------------------------------------------------------- files


def slug(name: str) -> str:
    """Return a name as a file can have it.

    Example:
        >>> slug("NVIDIA H200")
        'nvidia-h200'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write rows, a line each; the rows of other kernels that stand there already stay."""
    measured = {row.kernel for row in rows}
    kept = [row for row in _rows_in(path) if row["kernel"] in ENTRIES.keys() - measured]
    lines = [
        json.dumps(row, ensure_ascii=False)
        for row in sorted([*kept, *map(asdict, rows)], key=_order)
    ]
    note = json.dumps(NOTE, ensure_ascii=False)
    text = f'{{\n "note": {note},\n "rows": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _rows_in(path: Path) -> list[dict[str, object]]:
    if not path.exists():
        return []
    rows: list[dict[str, object]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return rows


def _order(row: Mapping[str, object]) -> int:
    return [*ENTRIES].index(str(row["kernel"]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write the rows where told to."""
    parser = argparse.ArgumentParser(prog="python -m nstlib.kernels.benchmark")
    parser.add_argument("--out", type=Path, help="folder for <name of the GPU>.json")
    parser.add_argument("--kernels", nargs="+", choices=ENTRIES, default=[*ENTRIES])
    parser.add_argument("--repeats", type=int, help=f"timed calls of each; {REPEATS} by default")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: to see that it runs")
    options = parser.parse_args(arguments)
    on_gpu = torch.cuda.is_available() and not torch.version.hip
    device = torch.device("cuda" if on_gpu else "cpu")
    name = torch.cuda.get_device_name() if on_gpu else "cpu"
    if not on_gpu and not options.quick:
        print("No NVIDIA GPU is here: tiny sizes on the CPU, to see that it runs.")
    quick = options.quick or not on_gpu
    repeats = options.repeats or (QUICK_REPEATS if quick else REPEATS)
    rows: list[Row] = []
    for kernel in options.kernels:
        found = measure_all(kernel, QUICK if quick else ENTRIES[kernel].shapes, device, repeats)
        rows += found
        print(f"{kernel}: {len(found)} rows", flush=True)
        if options.out and found:  # now: a run that is cut off keeps what it has
            write(options.out / f"{slug(name)}.json", found)
    print(as_table(rows))


if __name__ == "__main__":
    main()
