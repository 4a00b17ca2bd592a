"""The table and the plot of ``nst bench``: functions of rows, which are made here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nstlib.benchmarks import field, plot, report, table, units
from nstlib.benchmarks.field import FIELD, QUOTED
from nstlib.benchmarks.rows import (
    KEPT,
    KINDS,
    METHODS,
    PLAIN,
    SAME,
    SHIPS,
    KernelRow,
    MethodRow,
    Whole,
    in_order,
    read,
)


def row(
    method: str = "AdaIN", size: int = 512, kind: str = PLAIN, ms: float = 1000.0, **fields: object
) -> MethodRow:
    """A row of which only what a test is about is said."""
    known: dict[str, object] = {"device": "cpu", "dtype": "float32", "network": f"a {kind} one"}
    known |= {"low": 0.9 * ms, "high": 1.2 * ms, "ratio": 1000 / ms, "memory": 5_000_000}
    return MethodRow(method=method, size=size, kind=kind, milliseconds=ms, **known | fields)  # type: ignore[arg-type]


ROWS = (
    row("Gatys", 512, PLAIN, 2000, start=5000.0),
    row("Gatys", 512, SHIPS, 250, start=400.0, left=0.003, left_statistics=0.006, steps=100),
    row("fast net", 512, PLAIN, 600),
    row("fast net", 512, SHIPS, 70, dtype="bfloat16", left=0.05, left_statistics=0.04),
    row("AdaIN", 512, PLAIN, 2700),
    row("AdaIN", 512, SAME, 1900),
    row("AdaIN", 512, SHIPS, 300, left=0.11, left_statistics=0.09),
    row("AdaIN", 512, KEPT, 140, left=0.11, left_statistics=0.09),
    row("AdaIN", 1024, PLAIN, 11_000),
    row("AdaIN", 1024, SHIPS, 600, left=0.2, left_statistics=0.15),
)
KERNEL = KernelRow("gram", (1, 64, 8, 8), "cpu", "float32", "eager", 2.0, 1.9, 2.2, 10**7, 0.5)
WHOLE = Whole(
    machine={"processor": "a processor", "threads": "2", "gpu": "none", "torch": "2.11"},
    judge="VGG-19",
    pairs=("a × b", "c × d"),
    repeats=7,
    rows=ROWS,
    kernels=(KERNEL,),
)


def cells(table: str) -> list[list[str]]:
    """Return a Markdown table's cells, its titles first."""
    lines = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert len({len(line) for line in lines}) == 1, "every row has a cell for every title"
    return [lines[0], *lines[2:]]


# ------------------------------------------------------------------------------------------- rows


def test_a_run_is_its_first_step_and_the_others_at_the_median_or_as_it_was_run() -> None:
    told = row("Gatys", ms=100, start=350.0)
    assert told.whole_run == pytest.approx(0.35 + 299 * 0.1)
    assert replace(told, run=41.5).whole_run == 41.5
    assert row("AdaIN").whole_run is None


def test_rows_are_in_order_whatever_order_they_came_in() -> None:
    devices = [replace(one, device="cuda") for one in ROWS]
    wanted = [*ROWS[:2], *devices[:2], *ROWS[2:4], *devices[2:4], *ROWS[4:], *devices[4:]]
    mixed = [*devices, *ROWS]
    mixed = mixed[3:] + mixed[:3]
    assert in_order(mixed) == wanted
    alike = [row(network=name) for name in ("b", "a", "c")]
    assert in_order(alike) == alike


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    whole = replace(WHOLE, left_out=("AdaIN, 1024 px, cpu: too large",))
    report.write(folder, whole)
    assert sorted(path.name for path in folder.iterdir()) == [
        "whole.json",
        "whole.md",
        "whole.png",
    ]
    assert read(folder / "whole.json") == whole
    assert json.loads((folder / "whole.json").read_text(encoding="utf-8"))["judge"] == "VGG-19"
    assert (folder / "whole.md").read_text(encoding="utf-8") == report.as_markdown(whole)


# ----------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("decade", range(-4, 6))
def test_numbers_have_three_figures_and_no_power_of_ten(decade: int) -> None:
    for value in np.linspace(1, 9.9999, 50) * 10.0**decade:
        text = units.figures(value)
        assert set(text) <= set("0123456789.")
        assert float(text) == pytest.approx(value, rel=0.00501)
        before, _, after = text.partition(".")
        assert len((before + after).lstrip("0")) == max(3, len(before))
    assert units.figures(0) == "0"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.9994, "999 ms"),
        (0.9996, "1.00 s"),
        (119.4, "119 s"),
        (120, "2.00 min"),
        (1e-5, "0.0100 ms"),
    ],
)
def test_a_time_has_the_unit_that_suits_it(seconds: float, text: str) -> None:
    assert units.duration(seconds) == text


# ------------------------------------------------------------------------------------------ tables


def test_a_network_that_was_not_trained_says_so_in_place_of_a_quality() -> None:
    titles, *rows = cells(table.methods_table(ROWS))
    assert len(rows) == len(ROWS)
    for line, one in zip(rows, ROWS, strict=True):
        found = dict(zip(titles, line, strict=True))
        if one.left is None:
            assert (found["style left"], found["… means, deviations"]) == ("random weights", "–")
    gatys, fast = (dict(zip(titles, rows[i], strict=True)) for i in (1, 3))
    assert gatys["style left"] == "0.3 % after 100 steps"
    assert gatys["… means, deviations"] == "0.6 %"
    assert fast["style left"] == "5.0 %"
    assert fast["time"] == "70.0 ms"
    assert fast["20–80 %"] == "63.0–84.0 ms"
    assert fast["times faster"] == "14.3"
    assert fast["peak memory"] == "5 MB"


def test_what_the_field_quotes_is_measured_plain_and_at_its_best() -> None:
    titles, *rows = cells(field.field_table(ROWS))
    measured = [dict(zip(titles, line, strict=True)) for line in rows if line[3] == "measured here"]
    assert [(line["what"].strip("*"), line["time"]) for line in measured] == [
        ("Gatys, 300 steps at 512 × 512 px", "10.1 min"),  # 5 s and 299 times 2 s
        ("Gatys, 300 steps at 512 × 512 px", "75.2 s"),
        ("fast net, 512 × 512 px", "600 ms"),
        ("fast net, 512 × 512 px", "70.0 ms"),
        ("AdaIN, 512 × 512 px", "2.70 s"),
        ("AdaIN, 512 × 512 px", "300 ms"),  # a style that was encoded before is other work
        ("AdaIN, 1024 × 1024 px", "11.0 s"),
        ("AdaIN, 1024 × 1024 px", "600 ms"),
    ]
    assert measured[1]["a step or a pass"] == "250 ms"
    assert measured[1]["style left"] == "0.3 % after 100 steps", "not after the 300 beside it"


def test_what_is_quoted_cannot_be_taken_for_what_was_measured() -> None:
    titles, *rows = cells(field.field_table(ROWS))
    quoted = [line for line in rows if line[3] != "measured here"]
    assert len(quoted) == len(QUOTED)
    for line in quoted:
        found = dict(zip(titles, line, strict=True))
        assert found["source"].startswith("quoted: [")
        assert "](https://" in found["source"]
        assert not found["what"].startswith("**")
        assert found["style left"] == "–"
    methods = [line[0].strip("*").partition(",")[0] for line in rows]
    assert methods == sorted(methods, key=METHODS.index), "each under its method"


def test_quoted_times_make_what_a_step_takes() -> None:
    seconds = {"seconds": 1, "minutes": 60}
    for one in QUOTED:
        amount, _, unit = one.time.removeprefix("about ").removeprefix("around ").partition(" ")
        if one.what.startswith("1000 steps"):
            # A thousand steps take as many milliseconds each as seconds together.
            assert one.milliseconds == int(amount) * seconds[unit]
        elif unit in ("milliseconds", "ms"):
            assert one.milliseconds == int(amount)
        elif unit == "frames a second":
            assert one.milliseconds == 1000 / int(amount)
        else:
            assert one.milliseconds is None


def test_a_kernel_is_as_near_the_roofline_as_its_time_is_to_a_copy() -> None:
    titles, line = cells(table.kernels_table([KERNEL]))
    found = dict(zip(titles, line, strict=True))
    assert (found["GB/s"], found["roofline"], found["of the roofline"]) == (
        "5.00",  # 10 MB in 2 ms
        "0.500 ms",
        "25 %",
    )
    _, short = cells(table.kernels_table([replace(KERNEL, launches=True, roofline=None)]))
    assert short[7:] == ["launches", "–", "–"]


def test_all_is_said_of_a_run() -> None:
    text = report.as_markdown(WHOLE)
    assert "as VGG-19 sees it; the mean of a × b and c × d" in text
    assert "Medians of 7" in text
    assert "told, not run" in text
    assert "Left out" not in text
    was_run = [replace(one, run=60.0) if one.start else one for one in ROWS]
    assert "told, not run" not in report.as_markdown(replace(WHOLE, rows=tuple(was_run)))
    lacking = report.as_markdown(replace(WHOLE, left_out=("AdaIN, 1024 px: too large",)))
    assert "- AdaIN, 1024 px: too large" in lacking


def test_a_quick_run_quotes_nobody() -> None:
    """What others quote is of sizes that it did not measure."""
    quick = tuple(replace(one, size=64) for one in ROWS)
    assert "quoted" not in report.as_markdown(replace(WHOLE, rows=quick, kernels=()))


# -------------------------------------------------------------------------------------------- plot


@pytest.mark.parametrize("rows", [ROWS, ROWS[:2], ()])
def test_the_plot_is_a_picture_of_the_size_that_its_lines_take(
    rows: tuple[MethodRow, ...], tmp_path: Path
) -> None:
    plot.draw(replace(WHOLE, rows=rows)).savefig(tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as picture:
        assert picture.format == "PNG"
        lines = max(1, len({(one.method, one.size) for one in rows}))
        assert picture.size == (1500, pytest.approx(150 * (1.75 + 0.5 * lines), abs=1))
        pixels = np.asarray(picture.convert("RGBA"))
    assert (pixels[..., 3] == 255).all(), "opaque: it is shown on light and on dark pages"
    assert (pixels[[0, 0, -1, -1], [0, -1, 0, -1], :3] == 255).all()


def test_every_row_has_its_mark_and_what_is_not_trained_has_no_quality() -> None:
    figure = plot.draw(WHOLE)
    time, quality = figure.axes
    marks = [line for line in time.lines if line.get_marker() not in ("None", "")]
    found = sorted(float(np.asarray(line.get_xdata())[0]) for line in marks)
    assert found == sorted(one.milliseconds for one in ROWS)
    assert time.get_xscale() == quality.get_xscale() == "log"
    judged = sorted(float(np.asarray(line.get_xdata())[0]) for line in quality.lines)
    wanted = sorted(100 * one.left for one in ROWS if one.left is not None and one.kind != KEPT)
    assert judged == pytest.approx(wanted)
    filled = [line for line in marks if line.get_markerfacecolor() != "white"]
    assert [float(np.asarray(line.get_xdata())[0]) for line in filled] == [70], "bfloat16"


def test_the_plot_says_how_many_times_as_fast_the_fastest_is() -> None:
    time, _ = plot.draw(WHOLE).axes
    said = [text.get_text() for text in time.texts if text.get_text().endswith("×")]
    fastest = [ROWS[1], ROWS[3], ROWS[7], ROWS[9]]
    assert said == [f"{one.ratio:.1f}×" for one in fastest]


def test_nothing_that_is_written_is_cut_off_or_lies_on_something_else() -> None:
    both = tuple(replace(one, device=device) for device in ("cpu", "cuda:1") for one in ROWS)
    figure = plot.draw(replace(WHOLE, rows=both))
    figure.draw_without_rendering()
    whole = figure.bbox
    time, quality = figure.axes
    written = [*time.get_yticklabels(), *time.texts, *quality.texts, *figure.texts]
    written += [time.title, quality.title, *figure.legends[0].get_texts()]
    boxes = [text.get_window_extent() for text in written if text.get_text()]
    for box in boxes:
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1
    for i, box in enumerate(boxes):
        for other in boxes[:i]:
            assert not box.overlaps(other)


def test_kinds_differ_in_shape_and_in_colour() -> None:
    """Shapes are for whoever does not see the colours."""
    shapes, colours = zip(*(plot._MARKS[kind] for kind in KINDS), strict=True)
    assert len(set(shapes)) == len(set(colours)) == len(KINDS)


def test_the_field_is_of_methods_that_there_are() -> None:
    assert {method for method, _ in FIELD} == set(METHODS)
    assert {one.method for one in QUOTED} == set(METHODS)
