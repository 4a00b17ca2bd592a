"""The plot of what ``nst bench`` has measured: time and quality, a line for each method and size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from nstlib.benchmarks.rows import (
    FEWER,
    KEPT,
    KINDS,
    PLAIN,
    SAME,
    SHIPS,
    MethodRow,
    Whole,
    in_order,
)
from nstlib.benchmarks.units import duration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

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
