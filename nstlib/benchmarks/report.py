"""What a run of ``nst bench`` leaves: everything as JSON, as tables with notes, and as a plot."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from nstlib.benchmarks.field import FIELD, field_table
from nstlib.benchmarks.plot import draw
from nstlib.benchmarks.records import write_json
from nstlib.benchmarks.rows import STEPS, MethodRow, Whole
from nstlib.benchmarks.table import kernels_table, methods_table
from nstlib.files import replaced


def write(folder: Path, whole: Whole) -> None:
    """Write ``whole.json``, ``whole.md`` and ``whole.png`` to a folder, which is made if need be."""
    write_json(folder / "whole.json", whole)
    with replaced(folder / "whole.md") as unfinished:
        unfinished.write_text(as_markdown(whole), encoding="utf-8")
    with replaced(folder / "whole.png") as unfinished:
        draw(whole).savefig(unfinished, format="png")


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
