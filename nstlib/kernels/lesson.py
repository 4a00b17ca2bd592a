"""What the lesson on kernels shows: what a program reads and masks, and what bytes are moved."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nstlib.config import Range, data_dir
from nstlib.kernels import benchmark
from nstlib.kernels.backend import why_not_on

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours that stay apart for colour-blind eyes, and hatching beside them.
READ, MASKED, OTHER = "#0072B2", "#E69F00", "#E6E6E6"


@dataclass(frozen=True)
class Lanes:
    """What one program of a grid does with a picture.

    ``rows`` and ``columns`` are those of its tile, ``read`` says which of its lanes lie inside.
    """

    height: int
    width: int
    rows: Tensor
    columns: Tensor
    read: Tensor  # (rows, columns)
    program: int
    programs: int


def lanes_of(
    height: Annotated[int, Range(1, 16, "rows of the picture")] = 9,
    width: Annotated[int, Range(1, 24, "pixels in a row")] = 13,
    block_height: Literal[1, 2, 4, 8] = 4,
    block_width: Literal[1, 2, 4, 8, 16] = 8,
    program: Annotated[int, Range(0, 23, "which program to show")] = 3,
) -> Lanes:
    """Return what a program reads where a grid of tiles covers a picture.

    Raises:
        ValueError: there are fewer programs.

    Example:
        >>> lanes = lanes_of(height=3, width=5, block_height=2, block_width=4, program=1)
        >>> lanes.programs, lanes.read.tolist()
        (4, [[True, False, False, False], [True, False, False, False]])
    """
    down, across = -(-height // block_height), -(-width // block_width)
    if program >= down * across:
        raise ValueError(
            f"program is {program}; the last of these {down * across} is number {down * across - 1}"
        )
    rows = program // across * block_height + torch.arange(block_height)
    columns = program % across * block_width + torch.arange(block_width)
    read = (rows < height)[:, None] & (columns < width)[None, :]
    return Lanes(height, width, rows, columns, read, program, down * across)


def draw_lanes(lanes: Lanes) -> Figure:
    """Draw the picture's pixels, those that the program reads, and the lanes that it masks.

    Example:
        >>> draw_lanes(lanes_of()).axes[0].get_title(loc="left")
        'program 3 of 0 … 5: 20 lanes read, 12 masked'
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    bottom = max(lanes.height, int(lanes.rows[-1]) + 1)
    right = max(lanes.width, int(lanes.columns[-1]) + 1)
    cell, title_height = 0.3, 0.35  # inches
    size = (cell * right, cell * bottom + title_height)
    figure = Figure(figsize=size, dpi=110, facecolor="white")
    axes = figure.add_axes((0, 0, 1, cell * bottom / size[1]))
    for row in range(lanes.height):
        for column in range(lanes.width):
            axes.add_patch(Rectangle((column + 0.07, row + 0.07), 0.86, 0.86, color=OTHER))
    for i, row in enumerate(lanes.rows.tolist()):
        for j, column in enumerate(lanes.columns.tolist()):
            inside = bool(lanes.read[i, j])
            lane = Rectangle((column + 0.07, row + 0.07), 0.86, 0.86, lw=0)
            lane.set_facecolor(READ if inside else MASKED)
            lane.set_hatch("" if inside else "////")
            axes.add_patch(lane)
    outline = Rectangle((0, 0), lanes.width, lanes.height, fill=False, edgecolor="black", lw=1.2)
    axes.add_patch(outline)
    read, masked = int(lanes.read.sum()), int((~lanes.read).sum())
    last = lanes.programs - 1
    title = f"program {lanes.program} of 0 … {last}: {read} lanes read, {masked} masked"
    axes.set_title(title, fontsize=9, loc="left")
    axes.set_xlim(-0.1, right + 0.1)
    axes.set_ylim(bottom + 0.1, -0.1)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure


def draw_bars(values: Mapping[str, Mapping[str, float]], unit: str, title: str) -> Figure:
    """Draw horizontal bars: a group for each name, a bar for each of its parts.

    Example:
        >>> draw_bars({"copy": {"predicted": 1.0}}, "ms", "times").axes[0].get_xlabel()
        'ms'
    """
    from matplotlib.figure import Figure

    parts = list(dict.fromkeys(part for group in values.values() for part in group))
    figure = Figure(
        figsize=(6.4, 0.6 + 0.26 * len(values) * (len(parts) + 0.6)),
        dpi=120,
        facecolor="white",
        layout="constrained",
    )
    axes = figure.add_subplot()
    looks = [(READ, ""), (MASKED, "////"), ("#009E73", ".."), ("#999999", "xx")]
    for i, part in enumerate(parts):
        colour, hatch = looks[i % len(looks)]
        places = [j + (i - (len(parts) - 1) / 2) * 0.8 / len(parts) for j in range(len(values))]
        widths = [group.get(part, 0.0) for group in values.values()]
        axes.barh(
            places,
            widths,
            0.72 / len(parts),
            color=colour,
            hatch=hatch,
            label=part,
            edgecolor="white",
            linewidth=0.5,
        )
    axes.set_yticks(range(len(values)), list(values))
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    if len(parts) > 1:
        axes.legend(frameon=False, fontsize=8)
    return figure


def shares_of_a_copy(folder: Path | None = None) -> dict[str, dict[str, float]]:
    """Return what share of a copy's bandwidth each provider of each kernel reaches.

    For a large batch in float32: measured now where there is a GPU, which takes a minute, else as
    recorded in a folder's ``*.json`` by :mod:`nstlib.kernels.benchmark`; empty where nothing is.

    Args:
        folder: the ``benchmarks`` folder of what ships, without.

    Example:
        >>> isinstance(shares_of_a_copy(), dict)
        True
    """
    shares: dict[str, dict[str, float]] = {}
    for row in _rows_measured() or _rows_recorded(folder or data_dir() / "benchmarks"):
        if row["of_copy"] is not None and row["provider"] != "copy":
            shares.setdefault(str(row["kernel"]), {})[str(row["provider"])] = row["of_copy"]
    return shares


def _rows_measured() -> list[dict[str, Any]]:
    place = torch.device("cuda")
    if not torch.cuda.is_available() or why_not_on(place):
        return []
    found = []
    for kernel in benchmark.ENTRIES:
        with contextlib.suppress(torch.OutOfMemoryError):  # on a small GPU some are left out
            found += benchmark.measure(
                kernel, benchmark.LARGE, torch.float32, "contiguous", place, repeats=10
            )
    return [dataclasses.asdict(row) for row in found]


def _rows_recorded(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the first GPU by name that the large batch was measured on."""
    for path in sorted(folder.glob("*.json")):
        rows = json.loads(path.read_text(encoding="utf-8")).get("rows", [])
        large = {"shape": list(benchmark.LARGE), "dtype": "float32", "layout": "contiguous"}
        found = [row for row in rows if all(row.get(key) == large[key] for key in large)]
        if found:
            return found
    return []


def bytes_written(call: Callable[[], object]) -> int:
    """Return the bytes of all tensors that PyTorch's operations make during a call.

    Example:
        >>> ones = torch.ones(100)
        >>> bytes_written(lambda: ones[1:] * 2 + ones[:-1])
        792
    """
    made: dict[int, Tensor] = {}  # kept until the end, so that no memory is given out twice

    def storages(values: Any) -> dict[int, Tensor]:
        tensors = [value for value in tree_leaves(values) if isinstance(value, Tensor)]
        return {value.untyped_storage().data_ptr(): value for value in tensors}

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(
            self, function: Any, types: Any, arguments: Any = (), options: Any = None
        ) -> Any:
            result = function(*arguments, **(options or {}))
            given = storages((arguments, options))  # a view, or written in place, is not made
            made.update({at: v for at, v in storages(result).items() if at not in given})
            return result

    with Watch():  # type: ignore[no-untyped-call]
        call()
    return sum(value.untyped_storage().nbytes() for value in made.values())
