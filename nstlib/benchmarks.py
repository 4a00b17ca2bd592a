"""How fast it is: ratios within one run, contenders interleaved, medians. Never a unit test.

Each row is a function that does one piece of work; :func:`compare` times several in turn, so that
a machine that slows down slows down all of them alike. :func:`profile` says what a piece of work
spends its time on.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Self

import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity

from nstlib import config, gatys
from nstlib.adain import TILE, AdaIN, Decoder, Shape, load_adain
from nstlib.encoders import Encoder, load_encoder, random_encoder
from nstlib.files import replaced
from nstlib.transform_net import TransformNet, load_net


@dataclass(frozen=True)
class Recipe:
    """What the plain form of Gatys' method looks at."""

    content_tap: str
    style_taps: tuple[str, ...]

    @property
    def deepest(self) -> str:
        """The last layer that it computes."""
        return max(self.content_tap, self.style_taps[-1])  # conv3_4 comes after conv3_1


# What Dive into Deep Learning's recipe taps: the deepest is conv5_1.
D2L = Recipe("conv4_4", tuple(f"conv{block}_1" for block in range(1, 6)))


def d2l_within(encoder: Encoder) -> Recipe:
    """Return that recipe as far as an encoder goes; a file of VGG-19 may hold its first blocks only.

    The content is then taken at the last convolution, if the encoder ends before conv4_4.

    Example:
        >>> d2l_within(random_encoder("slim")).deepest, d2l_within(random_encoder("vgg19")) == D2L
        ('conv3_4', True)
    """
    content = D2L.content_tap if D2L.content_tap in encoder.convs else [*encoder.convs][-1]
    return Recipe(content, tuple(tap for tap in D2L.style_taps if tap in encoder.convs))


@dataclass(frozen=True)
class Row:
    """One contender: milliseconds of its median run, with the 20 and 80 % quantiles."""

    name: str
    milliseconds: float
    low: float
    high: float
    ratio: float  # how many times faster than the first contender


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


def gatys_rows(
    size: int = 256, repeats: int = 15, slim: Encoder | None = None, device: str = "auto"
) -> list[Row]:
    """Time one step of Gatys' method at ``size²``: plain VGG-19, ours on VGG-19, ours on slim."""
    contenders = gatys_contenders(size, slim, device)
    return compare({name: _advance(steps) for name, steps in contenders.items()}, repeats)


def gatys_parts(
    size: int = 256, steps: int = 5, slim: Encoder | None = None, device: str = "auto"
) -> list[Part]:
    """Say where the time of one step goes, for the contenders of :func:`gatys_rows`."""
    contenders = gatys_contenders(size, slim, device)
    place = config.pick_device(device)
    return [part for name, run in contenders.items() for part in profile(name, run, steps, place)]


def gatys_contenders(
    size: int, slim: Encoder | None = None, device: str = "auto"
) -> dict[str, Iterator[object]]:
    """Return endless runs of Gatys' method at ``size²``, by name; the plain one is the yardstick.

    The VGG-19 has random weights, which cost the same as trained ones.
    """
    place = config.pick_device(device)
    generator = torch.Generator().manual_seed(0)
    content = torch.rand(1, 3, size, size, generator=generator).to(place)
    style = torch.rand(1, 3, size, size, generator=generator).to(place)
    vgg19 = random_encoder("vgg19").to(place)
    recipe = gatys.preset("d2l", steps=1_000_000, device=str(place))
    ours = gatys.optimize(content, style, vgg19, recipe)
    exact = gatys.optimize(content, style, vgg19, recipe, precision="float32")
    settings = gatys.Settings(steps=1_000_000, device=str(place))
    small = gatys.optimize(content, style, slim or load_encoder("slim"), settings)
    return {
        "plain VGG-19, float32": PlainGatys(vgg19).steps(content, style),
        "nstlib on VGG-19, float32": exact,
        "nstlib on VGG-19, precision auto": ours,
        "nstlib on slim, precision auto": small,
    }


class PlainGatys:
    """The recipe as a reader would type it from a book: the yardstick of the ratios.

    float32, eager, channels first, every map kept, autograd for every product; d2l's layers.

    Args:
        vgg19: whose weights it has, in copies.
        recipe: what it looks at.
    """

    def __init__(self, vgg19: Encoder, recipe: Recipe = D2L) -> None:
        self.recipe, self.mean, self.std = recipe, vgg19.mean, vgg19.std
        self.layers: list[tuple[str, nn.Module]] = []
        for name, conv in vgg19.convs.items():
            if name.endswith("_1") and name != "conv1_1":
                self.layers.append(("pool", nn.MaxPool2d(2)))
            self.layers.append((name, _typed(conv, padding=1).to(vgg19.mean.device)))
            if name == recipe.deepest:
                break
            self.layers.append(("relu", nn.ReLU()))

    def steps(self, content: Tensor, style: Tensor) -> Iterator[Tensor]:
        """Yield the picture after each step, normalised as VGG-19 sees it."""
        recipe = self.recipe
        with torch.no_grad():
            content_map = self._maps(self.normalized(content))[recipe.content_tap]
            style_maps = self._maps(self.normalized(style))
            grams = {tap: _gram(style_maps[tap]) for tap in recipe.style_taps}
        image = nn.Parameter(self.normalized(content))
        optimizer = torch.optim.Adam([image], lr=0.9)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=50, gamma=0.8)
        while True:
            maps = self._maps(image)
            loss = F.mse_loss(maps[recipe.content_tap], content_map)
            for tap in recipe.style_taps:
                loss = loss + 1e4 * F.mse_loss(_gram(maps[tap]), grams[tap])
            loss = loss + 5 * (image.diff(dim=2).abs().mean() + image.diff(dim=3).abs().mean())
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            yield image

    def normalized(self, picture: Tensor) -> Tensor:
        """Return a picture as VGG-19 sees it."""
        return (picture - self.mean) / self.std

    def shown(self, image: Tensor) -> Tensor:
        """Return what :meth:`steps` yields as a picture in [0, 1]."""
        return (image.detach() * self.std + self.mean).clamp(0, 1)

    def _maps(self, image: Tensor) -> dict[str, Tensor]:
        maps = {}
        for name, layer in self.layers:
            image = maps[name] = layer(image)
        return maps


def _gram(features: Tensor) -> Tensor:
    flat = features.flatten(2)[0]  # (C, H·W)
    return flat @ flat.T / flat.numel()


# ------------------------------------------------------------------------------------- fast nets


def fast_rows(size: int = 512, repeats: int = 15, device: str = "auto") -> list[Row]:
    """Time one pass at ``size²``: the plain net, ours in the paper's width, the one that ships."""
    contenders = fast_contenders(size, device)
    with torch.no_grad():
        return compare(contenders, repeats)


def fast_contenders(size: int, device: str = "auto") -> dict[str, Callable[[], object]]:
    """Return passes over one photo of ``size²``, by name; the plain one is the yardstick."""
    place = config.pick_device(device)
    photo = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(place)
    plain = plain_net().to(place).eval()
    exact = TransformNet().to(place).eval()
    ours = exact.in_dtype(config.pick_dtype("auto", place))
    shipped = load_net("fast", device=place)
    return {
        "plain net, the paper's width, float32": partial(plain, photo),
        "nstlib, the paper's width, float32": partial(exact.stylize, photo),
        "nstlib, the paper's width, precision auto": partial(ours.stylize, photo),
        "nstlib, the net that ships, precision auto": partial(shipped.stylize, photo),
    }


def plain_net() -> nn.Module:
    """Return the net of the paper as a reader would type it: the yardstick of the ratios.

    float32, eager, channels first, instance norm and ReLU as modules of their own, nearest
    upsampling before a 3×3 convolution.
    """

    def conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Module:
        return nn.Conv2d(inputs, outputs, size, stride, size // 2, padding_mode="reflect")

    def normed(*before: nn.Module, channels: int) -> list[nn.Module]:
        return [*before, nn.InstanceNorm2d(channels, affine=True), nn.ReLU()]

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            norm = nn.InstanceNorm2d(128, affine=True)
            first = normed(conv(128, 128, 3), channels=128)
            self.body = nn.Sequential(*first, conv(128, 128, 3), norm)

        def forward(self, features: Tensor) -> Tensor:
            out: Tensor = features + self.body(features)
            return out

    return nn.Sequential(
        *normed(conv(3, 32, 9), channels=32),
        *normed(conv(32, 64, 3, 2), channels=64),
        *normed(conv(64, 128, 3, 2), channels=128),
        *(Block() for _ in range(5)),
        *normed(nn.Upsample(scale_factor=2), conv(128, 64, 3), channels=64),
        *normed(nn.Upsample(scale_factor=2), conv(64, 32, 3), channels=32),
        conv(32, 3, 9),
        nn.Sigmoid(),
    )


# ----------------------------------------------------------------------------------------- AdaIN


def adain_rows(
    size: int = 512, repeats: int = 15, device: str = "auto", shipped: AdaIN | None = None
) -> list[Row]:
    """Time one pass at ``size²``: the plain network, ours on VGG-19, the model that ships."""
    contenders = adain_contenders(size, device, shipped)
    with torch.no_grad():
        return compare(contenders, repeats)


def adain_contenders(
    size: int, device: str = "auto", shipped: AdaIN | None = None
) -> dict[str, Callable[[], object]]:
    """Return passes over one photo and one style of ``size²``, by name; the plain one is the yardstick.

    The VGG-19 and its decoder have random weights, which cost the same as trained ones; ``shipped``
    stands for the model that ships, and is to be on ``device``.
    """
    place = config.pick_device(device)
    generator = torch.Generator().manual_seed(0)
    photo, painting = torch.rand(2, 1, 3, size, size, generator=generator).to(place)
    vgg19 = random_encoder("vgg19")
    decoder = Decoder.of(vgg19, tap="relu4_1", output="sigmoid")
    plain = PlainAdaIN(vgg19, decoder).to(place).eval()
    exact = AdaIN(vgg19, decoder).to(place).eval()
    ours = exact.in_dtype(config.pick_dtype("auto", place))
    small = shipped or load_adain(device=place)
    our_style, small_style = ours.style(painting), small.style(painting)
    return {
        "plain AdaIN, VGG-19, float32": partial(plain, photo, painting),
        "nstlib on VGG-19, float32": partial(exact.stylize, photo, painting),
        "nstlib on VGG-19, precision auto, style cached": partial(ours.stylize, photo, our_style),
        "the model that ships, style cached": partial(small.stylize, photo, small_style),
        "the model that ships, style and photo cached": partial(
            small.stylize, small.content(photo), small_style
        ),
    }


@dataclass(frozen=True)
class Large:
    """One pass over a photo that is made in tiles."""

    height: int
    width: int
    seconds: float
    gigabytes: float  # at the peak, beyond what the process had with the photo and the result


def adain_large(height: int, width: int, shipped: AdaIN | None = None) -> Large:
    """Time a photo of ``height`` × ``width`` px in tiles on the CPU, and weigh the memory it takes."""
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(1, 3, height, width, generator=generator)
    model = shipped or load_adain()
    style = model.style(photo[..., :256, :256])
    with PeakMemory() as peak:
        started = time.perf_counter()
        painted = model.stylize(photo, style, tile=TILE)
        seconds = time.perf_counter() - started
    beyond = peak.bytes - painted.numel() * painted.element_size()
    return Large(height, width, seconds, beyond / 1e9)


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


class PlainAdaIN(nn.Module):
    """AdaIN as a reader would type it: the yardstick of the ratios.

    float32, eager, channels first, a ReLU, an upsampling and a border as modules of their own; both
    pictures are encoded each time.

    Args:
        encoder, decoder: whose weights it has, in copies.

    Raises:
        ValueError: a decoder with more than a mirror of its encoder has.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        plain = Shape(widths=decoder.shape.widths, tap=decoder.shape.tap)
        if decoder.shape != plain:
            raise ValueError(f"decoder has the shape {decoder.shape}; a plain one is {plain}")
        self.register_buffer("mean", encoder.mean.clone())
        self.register_buffer("std", encoder.std.clone())
        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for name, before in zip(decoder.shape.layers, (None, *decoder.shape.layers), strict=False):
            is_halved = before is not None and before[:5] != name[:5]  # conv2_1 follows conv1_2
            if is_halved:
                down.append(nn.MaxPool2d(2))
                up.insert(0, nn.Upsample(scale_factor=2))
            down += [_typed(encoder.convs[name], padding=1), nn.ReLU()]
            up[:0] = [nn.ReflectionPad2d(1), _typed(decoder.convs[name]), nn.ReLU()]
        self.encoder, self.decoder = nn.Sequential(*down), nn.Sequential(*up[:-1], nn.Sigmoid())

    def forward(self, photo: Tensor, painting: Tensor) -> Tensor:
        """Return the photo in the style of the painting."""
        content, style = (
            self.encoder((image - self.mean) / self.std) for image in (photo, painting)
        )
        normalized = (content - _mean(content)) / _std(content)
        painted: Tensor = self.decoder(normalized * _std(style) + _mean(style))
        return painted


def _typed(conv: nn.Module, padding: int = 0) -> nn.Conv2d:
    """Return a plain convolution with the weights of ``conv``."""
    assert isinstance(conv, nn.Conv2d)
    copy = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=padding)
    copy.load_state_dict(conv.state_dict())
    return copy.requires_grad_(False)


def _mean(maps: Tensor) -> Tensor:
    return maps.mean(dim=(2, 3), keepdim=True)


def _std(maps: Tensor) -> Tensor:
    return (maps.var(dim=(2, 3), keepdim=True, correction=0) + 1e-5).sqrt()


# ------------------------------------------------------------------------------------- measuring


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


def machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "fast bfloat16": str(config.has_fast_bfloat16()),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
    }


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


def write_json(path: Path, content: object) -> None:
    """Write ``content``, rows as tables, beside ``path``, then rename: a crash leaves the old file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, indent=1, ensure_ascii=False, default=asdict) + "\n"
    with replaced(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _advance(steps: Iterator[object]) -> Callable[[], object]:
    return lambda: next(steps)


def wait_for_device() -> None:
    """Return when a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
