"""What others have published of each method, beside what was measured here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nstlib.benchmarks.rows import KEPT, METHODS, STEPS, MethodRow, in_order
from nstlib.benchmarks.table import quality, table
from nstlib.benchmarks.units import duration

# What the field quotes, so that it is always measured: method and side in pixels.
FIELD = (("Gatys", 512), ("fast net", 512), ("AdaIN", 512), ("AdaIN", 1024))


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
    return (what, network, row.device, "measured here", whole, step, quality(row))


def _quoted_cells(one: Quoted) -> tuple[str, ...]:
    step = "–" if one.milliseconds is None else duration(one.milliseconds / 1000)
    source = f"quoted: [{one.source}]({one.address})"
    return (f"{one.method}, {one.what}", "theirs", one.hardware, source, one.time, step, "–")
