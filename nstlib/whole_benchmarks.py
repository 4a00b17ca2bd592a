"""Every method in one run: how long, how much memory, and how good; and the kernels beneath them.

A contender is a stream of pictures. To ask it for the next is one unit of work: a step of Gatys'
method, a pass of a net. So one loop times, weighs and judges all of them. Each method's first
contender is its plain form in float32, the yardstick. A network with random weights costs the same
as a trained one, but what it paints is not judged.
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

from nstlib import benchmarks, config, evaluation, gatys, images
from nstlib.adain import AdaIN, Decoder, load_adain
from nstlib.bench_table import (
    FEWER,
    FIELD,
    KEPT,
    METHODS,
    PLAIN,
    SAME,
    SHIPS,
    STEPS,
    KernelRow,
    MethodRow,
    Whole,
)
from nstlib.encoders import Encoder, find_vgg19_weights, load_encoder, random_encoder
from nstlib.kernels import benchmark as kernel_benchmark
from nstlib.kernels.backend import has_triton
from nstlib.memory import allocation_named, reused_memory
from nstlib.transform_net import TransformNet, load_net

PAIRS = (("astronaut", "vortex"), ("coffee", "woodblock"))  # photos and styles that ship
STYLE_SIZE = 256  # px at which a style is judged: that of the strokes that the nets were taught
JUDGED_STEPS = 100  # of Gatys' method, where not all STEPS are run: by then little is left to gain
ENDLESS = 1_000_000  # steps
STARTS = 3  # of Gatys' method that are timed

Progress = Callable[[str], None]


# -------------------------------------------------------------------------------------- contenders


@dataclass(frozen=True, eq=False)
class Pictures:
    """A photo (1, 3, S, S) and a style, both on the device that paints."""

    name: str
    photo: Tensor
    style: Tensor
    style_name: str


def load_pictures(
    pair: tuple[str, str], size: int, style_size: int, device: torch.device
) -> Pictures:
    """Return the square in the middle of a photo that ships, and a style that ships."""
    photo, style = pair
    return Pictures(
        " × ".join(pair),
        images.sample(photo, size, crop=True).to(device),
        images.style(style, style_size).to(device),
        style,
    )


@dataclass(frozen=True, eq=False)
class Contender:
    """One way to paint: what it is, and the stream of what it makes of pictures."""

    network: str
    kind: str  # one of bench_table.KINDS
    dtype: str
    stream: Callable[[Pictures], Iterator[Tensor]]
    is_trained: bool = False


def dtypes_of(device: torch.device) -> list[torch.dtype]:
    """Return the dtypes that are worth while on a device; float32 is the first."""
    return [torch.float32] + [torch.bfloat16] * config.has_fast_bfloat16(device.type)


def contenders(method: str, device: torch.device) -> list[Contender]:
    """Return all that a method has, the plain form first.

    Raises:
        ValueError: no such method.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it takes {', '.join(map(repr, METHODS))}")
    return dict(zip(METHODS, (_gatys, _fast, _adain), strict=True))[method](device)


def _gatys(device: torch.device) -> list[Contender]:
    """Return Gatys' method, plain and by nstlib.

    VGG-19 has trained weights where they are found, as deep as they go. Where that is less than the
    recipe looks at, the yardstick has random ones, and the recipe as far as they go is one more.
    """
    path = find_vgg19_weights()
    found = random_encoder("vgg19") if path is None else load_encoder("vgg19")
    recipe, is_trained = benchmarks.d2l_within(found), path is not None
    whole = [(found, is_trained)]
    if recipe != benchmarks.D2L:
        whole.insert(0, (random_encoder("vgg19"), False))
    rows = [_plain_gatys(vgg19.to(device), trained) for vgg19, trained in whole]
    taps = {
        "content_taps": {recipe.content_tap: 1.0},
        "style_taps": dict.fromkeys(recipe.style_taps, 1.0),
    }
    name, slim = f"VGG-19 to {recipe.deepest}", load_encoder("slim").to(device)
    for dtype in dtypes_of(device):
        options = {"precision": _precision(dtype), "device": str(device), "steps": ENDLESS}
        same = gatys.preset("d2l", **taps, **options)
        ours = gatys.preset("default", **options)
        rows.append(_gatys_on(found, name, SAME, dtype, same, is_trained))
        rows.append(_gatys_on(slim, "slim", SHIPS, dtype, ours, True))
    return rows


def _plain_gatys(vgg19: Encoder, is_trained: bool) -> Contender:
    recipe = benchmarks.d2l_within(vgg19)
    plain = benchmarks.PlainGatys(vgg19, recipe)
    kind = PLAIN if recipe == benchmarks.D2L else FEWER

    def stream(of: Pictures) -> Iterator[Tensor]:
        return map(plain.shown, plain.steps(of.photo, of.style))

    return Contender(f"plain VGG-19 to {recipe.deepest}", kind, "float32", stream, is_trained)


def _gatys_on(
    encoder: Encoder,
    name: str,
    kind: str,
    dtype: torch.dtype,
    settings: gatys.Settings,
    is_trained: bool,
) -> Contender:
    ready = encoder.in_dtype(dtype)  # else each run would convert the weights

    def stream(of: Pictures) -> Iterator[Tensor]:
        for step in gatys.optimize(of.photo, of.style, ready, settings):
            yield step.image

    return Contender(name, kind, _name_of(dtype), stream, is_trained)


def _fast(device: torch.device) -> list[Contender]:
    """Return fast nets: the plain one, ours in the paper's width, and the one that ships."""
    plain, same = benchmarks.plain_net().to(device).eval(), TransformNet().to(device).eval()
    rows = [Contender("plain, the paper's width", PLAIN, "float32", _passes(plain))]
    for dtype in dtypes_of(device):
        wide = same.in_dtype(dtype)
        ships = load_net("fast", device=device, precision=_precision(dtype))
        rows += [
            Contender("the paper's width", SAME, _name_of(dtype), _passes(wide.stylize)),
            Contender("the net that ships", SHIPS, _name_of(dtype), _named_passes(ships), True),
        ]
    return rows


def _adain(device: torch.device) -> list[Contender]:
    """Return AdaIN: plain, ours on VGG-19, and the model that ships, also with its style kept."""
    vgg19 = random_encoder("vgg19")
    decoder = Decoder.of(vgg19, tap="relu4_1", output="sigmoid")
    plain = benchmarks.PlainAdaIN(vgg19, decoder).to(device).eval()
    same = AdaIN(vgg19, decoder).to(device).eval()
    rows = [Contender("plain, VGG-19", PLAIN, "float32", _pair_passes(plain))]
    for dtype in dtypes_of(device):
        wide, name = same.in_dtype(dtype), _name_of(dtype)
        ships = load_adain(device=device, precision=_precision(dtype))
        rows += [
            Contender("VGG-19", SAME, name, _pair_passes(wide.stylize)),
            Contender("the model that ships", SHIPS, name, _pair_passes(ships.stylize), True),
            Contender("… its style kept", KEPT, name, _kept_passes(ships), True),
        ]
    return rows


def _passes(paint: Callable[[Tensor], Tensor]) -> Callable[[Pictures], Iterator[Tensor]]:
    return lambda of: _again(functools.partial(paint, of.photo))


def _pair_passes(paint: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Iterator[Tensor]]:
    return lambda of: _again(functools.partial(paint, of.photo, of.style))


def _named_passes(net: TransformNet) -> Callable[[Pictures], Iterator[Tensor]]:
    return lambda of: _again(functools.partial(net.stylize, of.photo, of.style_name))


def _kept_passes(model: AdaIN) -> Callable[[Pictures], Iterator[Tensor]]:
    return lambda of: _again(functools.partial(model.stylize, of.photo, model.style(of.style)))


def _again(paint: Callable[[], Tensor]) -> Iterator[Tensor]:
    while True:
        with torch.no_grad():  # not around the yield: who asks for a picture may want gradients
            picture = paint()
        yield picture


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _precision(dtype: torch.dtype) -> config.Precision:
    return "float32" if dtype == torch.float32 else "bfloat16"


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
    jury = [evaluation.judging(judge, of.photo.cpu(), of.style.cpu()) for of in judged]
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
    for contender, row in zip(found, benchmarks.compare(works, repeats), strict=True):
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
        benchmarks.wait_for_device()
        started = time.perf_counter()
        next(contender.stream(of))
        benchmarks.wait_for_device()
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
        with benchmarks.PeakMemory() as peak:
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
    jury: Sequence[Callable[[Tensor], evaluation.Left]],
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
    benchmarks.wait_for_device()
    started = time.perf_counter()
    stream = contender.stream(of)
    for _ in range(steps):
        picture = next(stream)
    benchmarks.wait_for_device()
    return picture, time.perf_counter() - started


# ----------------------------------------------------------------------------------------- kernels


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
            dtype=_name_of(maps.dtype),
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
        machine: what it is measured on; without, what :func:`nstlib.benchmarks.machine` says.

    Raises:
        ValueError: fewer than two repeats.
    """
    if repeats < 2:
        raise ValueError(f"repeats is {repeats}; a median and quantiles need 2 at least")
    judge = evaluation.best_judge()
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
        machine=machine or benchmarks.machine(),
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
