"""What ``nst bench`` has measured, as JSON, as tables and as a plot; and what others have published.

Everything here is a function of the rows. :mod:`nstlib.whole_benchmarks` measures them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nstlib.benchmarks import write_json
from nstlib.files import replaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

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

# What the field quotes, so that it is always measured: method and side in pixels.
FIELD = (("Gatys", 512), ("fast net", 512), ("AdaIN", 512), ("AdaIN", 1024))


# ------------------------------------------------------------------------------------------- rows


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
    """Return what :func:`write` wrote to a ``whole.json``."""
    found = json.loads(path.read_text(encoding="utf-8"))
    kernels = [KernelRow(**row | {"shape": tuple(row["shape"])}) for row in found["kernels"]]
    rows = tuple(MethodRow(**row) for row in found["rows"])
    texts = {name: tuple(found[name]) for name in ("pairs", "left_out")}
    return Whole(**found | texts | {"rows": rows, "kernels": tuple(kernels)})


def write(folder: Path, whole: Whole) -> None:
    """Write ``whole.json``, ``whole.md`` and ``whole.png`` to a folder, which is made if need be."""
    write_json(folder / "whole.json", whole)
    with replaced(folder / "whole.md") as unfinished:
        unfinished.write_text(as_markdown(whole), encoding="utf-8")
    with replaced(folder / "whole.png") as unfinished:
        draw(whole).savefig(unfinished, format="png")


# ---------------------------------------------------------------------------------- what is quoted


@dataclass(frozen=True)
class Quoted:
    """A time that others have published, in their words; it was not measured here."""

    method: str
    what: str
    hardware: str
    time: str
    milliseconds: float | None  # what that makes a step or a pass
    source: str
    address: str


_TORCH_STYLE = ("J. Johnson, neural-style", "https://github.com/jcjohnson/neural-style")
_TENSORFLOW_STYLE = ("A. Athalye, neural-style", "https://github.com/anishathalye/neural-style")

# Each stands where it says, in the authors' own paper or README; others may have been updated since.
QUOTED = (
    Quoted(
        "Gatys",
        "about 512 × 512 px",
        "NVIDIA K40",
        "up to an hour",
        None,
        "Gatys, Ecker & Bethge 2016",
        "https://www.cv-foundation.org/openaccess/content_cvpr_2016/html/Gatys_Image_Style_Transfer_CVPR_2016_paper.html",
    ),
    Quoted(
        "Gatys",
        "1000 steps at 512 px",
        "GTX Titan X",
        "about 2 minutes",
        120,
        *_TORCH_STYLE,
    ),
    Quoted(
        "Gatys",
        "1000 steps at 512 px",
        "Core i7-4790K (CPU)",
        "around 40 minutes",
        2400,
        *_TORCH_STYLE,
    ),
    Quoted(
        "Gatys",
        "1000 steps at 512 × 512 px",
        "GTX 1080 Ti",
        "60 seconds",
        60,
        *_TENSORFLOW_STYLE,
    ),
    Quoted(
        "Gatys",
        "1000 steps at 512 × 512 px",
        "Core i7-5930K (CPU)",
        "60 minutes",
        3600,
        *_TENSORFLOW_STYLE,
    ),
    Quoted(
        "fast net",
        "1200 × 630 px",
        "Pascal Titan X",
        "50 milliseconds",
        50,
        "Johnson, Alahi & Fei-Fei 2016: their code",
        "https://github.com/jcjohnson/fast-neural-style",
    ),
    Quoted(
        "fast net",
        "1024 × 680 px",
        "Titan X of 2015",
        "100 ms",
        100,
        "L. Engstrom, fast-style-transfer",
        "https://github.com/lengstrom/fast-style-transfer",
    ),
    Quoted(
        "AdaIN",
        "512 × 512 px",
        "Pascal Titan X",
        "15 frames a second",
        1000 / 15,
        "Huang & Belongie 2017: their code",
        "https://github.com/xunhuang1995/AdaIN-style",
    ),
)


# ----------------------------------------------------------------------------------------- numbers


def figures(value: float) -> str:
    """Return a number to three figures, never as a power of ten.

    Example:
        >>> [figures(value) for value in (0.12345, 9.996, 69.16, 1234.5)]
        ['0.123', '10.0', '69.2', '1234']
    """
    if value <= 0:
        return "0"
    rounded = float(f"{value:.2e}")
    return f"{rounded if value < 100 else value:.{max(0, 2 - math.floor(math.log10(rounded)))}f}"


def duration(seconds: float | None) -> str:
    """Return a time in the unit that suits it.

    Example:
        >>> [duration(seconds) for seconds in (0.00692, 2.7467, 300, None)]
        ['6.92 ms', '2.75 s', '5.00 min', '–']
    """
    if seconds is None:
        return "–"
    if seconds < 0.9995:
        return f"{figures(1000 * seconds)} ms"
    return f"{figures(seconds)} s" if seconds < 120 else f"{figures(seconds / 60)} min"


def span(low: float, high: float) -> str:
    """Return two times in seconds, with the unit said once where it is the same.

    Example:
        >>> span(0.0119, 0.0131), span(0.99, 1.2)
        ('11.9–13.1 ms', '990 ms–1.20 s')
    """
    first, last = duration(low), duration(high)
    unit = last.partition(" ")[2]
    return f"{first.removesuffix(f' {unit}')}–{last}"


def share(value: float | None, missing: str) -> str:
    """Return a share in percent, or what is to be said where there is none.

    Example:
        >>> share(0.0458, "random weights"), share(None, "random weights")
        ('4.6 %', 'random weights')
    """
    return missing if value is None else f"{100 * value:.1f} %"


def memory(count: int | None) -> str:
    """Return bytes as MB or GB.

    Example:
        >>> memory(87_654_321), memory(1_165_105_152), memory(None)
        ('88 MB', '1.17 GB', '–')
    """
    if count is None:
        return "–"
    return f"{count / 1e6:.0f} MB" if count < 0.9995e9 else f"{figures(count / 1e9)} GB"


# ------------------------------------------------------------------------------------------ tables


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
        _left(row),
        share(row.left_statistics, "–"),
    )


def _left(row: MethodRow) -> str:
    after = "" if row.steps is None else f" after {row.steps} steps"
    return share(row.left, "random weights") + after


def field_table(rows: Iterable[MethodRow], quoted: Iterable[Quoted] = QUOTED) -> str:
    """Return what was measured of FIELD, and under each method what others have published of it."""
    measured = in_order(rows)
    cells: list[tuple[str, ...]] = []
    for method in METHODS:
        for asked, size in FIELD:
            found = [r for r in measured if (r.method, r.size) == (asked, size)]
            if asked == method:
                cells += [_field_cells(row) for row in _plain_and_best(found)]
        cells += [_quoted_cells(one) for one in quoted if one.method == method]
    titles = ("what", "network", "on", "source", "time", "a step or a pass", "style left")
    return table(titles, cells, words=4)


def _plain_and_best(rows: Sequence[MethodRow]) -> list[MethodRow]:
    """Return the yardstick of each device, and what does the same work fastest, nothing kept."""
    chosen = []
    for device in dict.fromkeys(row.device for row in rows):
        here = [row for row in rows if row.device == device and row.kind != KEPT]
        best = min(here, key=lambda row: row.milliseconds)
        chosen += [here[0]] + [best] * (best is not here[0])
    return chosen


def _field_cells(row: MethodRow) -> tuple[str, ...]:
    what, step = f"{row.size} × {row.size} px", duration(row.milliseconds / 1000)
    whole = step
    if row.method == "Gatys":
        what, whole = f"{STEPS} steps at {what}", duration(row.whole_run)
    network = f"{row.network}, {row.dtype}"
    what = f"**{row.method}, {what}**"
    return (what, network, row.device, "measured here", whole, step, _left(row))


def _quoted_cells(one: Quoted) -> tuple[str, ...]:
    step = "–" if one.milliseconds is None else duration(one.milliseconds / 1000)
    source = f"quoted: [{one.source}]({one.address})"
    return (f"{one.method}, {one.what}", "theirs", one.hardware, source, one.time, step, "–")


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


def as_markdown(whole: Whole) -> str:
    """Return all tables, with what is to be said of them in words."""
    parts = [
        "# What nstlib takes, and what it gives for it",
        "`nst bench`, " + ", ".join(f"{name} {value}" for name, value in whole.machine.items()),
        "## Every method, beside its plain form",
        methods_table(whole.rows),
        _notes(whole),
    ]
    if any((row.method, row.size) in FIELD for row in whole.rows):
        parts += ["## What the field quotes", field_table(whole.rows), _field_notes(whole.rows)]
    if whole.kernels:
        parts += ["## Kernels", kernels_table(whole.kernels), _KERNEL_NOTES]
    if whole.left_out:
        parts += ["## Left out, for want of memory", *(f"- {what}" for what in whole.left_out)]
    return "\n\n".join(parts) + "\n"


def _notes(whole: Whole) -> str:
    on_gpu = any(row.device != "cpu" for row in whole.rows)
    exact = " On a GPU, convolutions in float32 may run in TF32, as PyTorch has it." * on_gpu
    return (
        f"Medians of {whole.repeats}, contenders in turn; times faster than the first row of the "
        "same method, size and device. Peak memory is beyond inputs and weights: on a GPU as "
        "PyTorch counts it; on a CPU by how much the process grew, which Linux marks to a page, and "
        "other systems show every 20 ms. Style left is the share of the photo's distance to the "
        "style, by Gram matrices, and in the last column by means and deviations, as "
        f"{whole.judge} sees it; the mean of {' and '.join(whole.pairs)}. Random weights cost the "
        "same as trained ones, and paint nothing to be judged." + exact
    )


def _field_notes(rows: Iterable[MethodRow]) -> str:
    was_run = any(row.run is not None for row in rows)
    told = (
        "were run"
        if was_run
        else "are told, not run: the first with its set-up, and the others at the median of a step"
    )
    return (
        f"Measured here, Gatys' {STEPS} steps {told}. Quoted figures are the sources' own, on their "
        "hardware and with their networks: they were not measured here, and stand for orders of "
        "magnitude. What they make a step or a pass is a division."
    )


_KERNEL_NOTES = (
    "GB/s are of the bytes that a kernel must move; the roofline is the time in which a copy moves "
    "as many, in the same run. Where 'launches' stands, it took under 20 µs: that measures launches."
)


# -------------------------------------------------------------------------------------------- plot

# Okabe and Ito's palette, which colour-blind readers can tell apart; the marks differ too.
_MARKS = {
    PLAIN: ("s", "#000000"),
    FEWER: ("P", "#7F7F7F"),
    SAME: ("^", "#D55E00"),
    SHIPS: ("o", "#0072B2"),
    KEPT: ("D", "#009E73"),
}
_LINE_HEIGHT, _ABOVE, _BELOW = 0.5, 0.9, 0.85  # inches: a line, and what is around all of them
_ASIDE = {"float32": -0.13, "bfloat16": 0.13}  # of a line's height, so that none hides another


def draw(whole: Whole) -> Figure:
    """Draw time and quality of every contender: a line for each method, size and device."""
    from matplotlib.figure import Figure  # not pyplot, which would keep the figure

    lines = _lines(whole.rows)
    height = _ABOVE + _LINE_HEIGHT * max(1, len(lines)) + _BELOW
    figure = Figure(figsize=(10, height), dpi=150, facecolor="white")  # reads on dark pages too
    bottom, tall = _BELOW / height, 1 - (_ABOVE + _BELOW) / height
    time = figure.add_axes((0.16, bottom, 0.49, tall))
    quality = figure.add_axes((0.68, bottom, 0.30, tall))
    for axes in (time, quality):
        _prepare(axes, list(lines))
    quality.set_yticklabels([])
    for y, rows in enumerate(lines.values()):
        _draw_times(time, y, rows)
        _draw_quality(quality, y, rows)
    _say_units(time, lambda ms: duration(ms / 1000).replace(".00", "").replace(".0", ""), room=0.07)
    _say_units(quality, lambda percent: f"{percent:g} %")
    _title(
        time, "Time of a step of Gatys, or of a pass", "median, 20–80 %; ×: times as fast as plain"
    )
    _title(quality, "Style distance left", "the photo: 100 %; random weights have none")
    figure.text(0.01, 1 - 0.1 / height, _where(whole), fontsize=9, color="#555555", va="top")
    figure.legend(
        handles=_legend(whole.rows),
        loc="lower center",
        ncols=7,
        frameon=False,
        fontsize=9,
        handletextpad=0.1,
        columnspacing=1.2,
    )
    return figure


def _lines(rows: Iterable[MethodRow]) -> dict[str, list[MethodRow]]:
    """Return the rows of each line, by what is written beside it; the device where there are several."""
    ordered = in_order(rows)
    several = len({row.device for row in ordered}) > 1
    lines: dict[str, list[MethodRow]] = {}
    for row in ordered:
        name = f"{row.method}, {row.size}²" + (f", {row.device}" if several else "")
        lines.setdefault(name, []).append(row)
    return lines


def _prepare(axes: Axes, names: Sequence[str]) -> None:
    """Lay out a panel with a line for each name."""
    axes.set_xscale("log")
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    for y in range(0, len(names), 2):
        axes.axhspan(y - 0.5, y + 0.5, color="#F4F4F4", lw=0, zorder=0)
    axes.grid(axis="x", color="#DDDDDD", lw=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _title(axes: Axes, title: str, explained: str) -> None:
    axes.set_title(title, fontsize=11, loc="left", pad=18)
    axes.text(
        0, 1.01, explained, transform=axes.transAxes, fontsize=8, color="#555555", va="bottom"
    )


def _draw_times(axes: Axes, y: int, rows: Sequence[MethodRow]) -> None:
    """Draw each contender's median, and say how many times the plain one's speed the fastest has."""
    fastest = min(rows, key=lambda row: row.milliseconds)
    for row in rows:
        height = y + _ASIDE.get(row.dtype, 0)
        axes.plot([row.low, row.high], [height] * 2, color=_MARKS[row.kind][1], lw=3, alpha=0.4)
        _mark(axes, row.milliseconds, height, row)
    axes.annotate(
        f"{fastest.ratio:.1f}×",
        (min(fastest.low, fastest.milliseconds), y + _ASIDE.get(fastest.dtype, 0)),
        (-7, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=9,
    )


def _draw_quality(axes: Axes, y: int, rows: Sequence[MethodRow]) -> None:
    """Draw what each contender leaves; a style that is kept changes no picture."""
    for row in rows:
        if row.left is not None and row.kind != KEPT:
            _mark(axes, max(100 * row.left, 1e-3), y + _ASIDE.get(row.dtype, 0), row)


def _mark(axes: Axes, x: float, y: float, row: MethodRow) -> None:
    shape, colour = _MARKS[row.kind]
    face = "white" if row.dtype == "float32" else colour
    axes.plot([x], [y], marker=shape, color=colour, mfc=face, mew=1.5, ms=6.5, ls="", zorder=3)


def _legend(rows: Iterable[MethodRow]) -> list[Line2D]:
    """Return what explains the marks that are there: shapes are kinds, and filled is bfloat16."""
    from matplotlib.lines import Line2D

    shown = list(rows)
    marks = [(kind, *_MARKS[kind]) for kind in KINDS if any(row.kind == kind for row in shown)]
    handles = [
        Line2D([], [], ls="", marker=mark, color=colour, mfc="white", mew=1.5, label=name)
        for name, mark, colour in marks
    ]
    if any(row.dtype == "bfloat16" for row in shown):
        handles.append(Line2D([], [], ls="", marker="o", color="#555555", label="bfloat16: filled"))
    return handles


def _say_units(axes: Axes, say: Callable[[float], str], room: float = 0) -> None:
    """Label the decades, and 2 and 5 of each where there are few; leave more room on the left."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.margins(x=0.08)
    axes.autoscale(axis="x")
    low, high = axes.get_xlim()
    axes.set_xlim(low * (low / high) ** room, high)
    subs = (1.0,) if math.log10(high / low) > 2.5 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=subs))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: say(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _where(whole: Whole) -> str:
    """Return what was measured on, and who judged, in a line."""
    machine = whole.machine
    parts = [f"{machine.get('processor', '?')}, threads: {machine.get('threads', '?')}"]
    if machine.get("gpu", "none") != "none":
        parts.append(machine["gpu"])
    return " · ".join([*parts, f"PyTorch {machine.get('torch', '?')}", f"judge: {whole.judge}"])
