"""The losses of a run, drawn over its steps."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nstlib import gatys

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which colour-blind readers can tell apart; the dashes say the same again.
_LINES = {
    "content": ("content", "#0072B2", "-"),
    "style": ("style", "#D55E00", "--"),
    "tv": ("total variation", "#009E73", "-."),
    "total": ("total", "#000000", ":"),
}


@dataclass(frozen=True)
class Record:
    """What is kept of a step when its picture is let go; see :class:`nstlib.gatys.Step`."""

    index: int
    losses: Mapping[str, float]
    weighted: Mapping[str, float]
    moving: Mapping[str, float]  # the weights and the learning rate of this step


def draw_losses(steps: Sequence[gatys.Step | Record], weighted: bool = True) -> Figure:
    """Draw the losses of a run over its steps, on a logarithmic scale.

    Weighted, each curve is what its term adds to the total, which is what the optimiser sees.
    Unweighted, each has a unit of its own: compare their trends, not their heights.

    Args:
        steps: of :func:`nstlib.gatys.optimize`, in order; none draws the empty axes.
        weighted: draw each loss times its weight, and their total; else the bare losses.

    Example:
        >>> draw_losses([]).axes[0].get_xlabel()
        'step'
    """
    from matplotlib.figure import Figure  # not pyplot, which would keep the figure

    # White, so that it reads on dark pages too. Margins by hand: Matplotlib's own layout takes
    # longer than all the drawing.
    figure = Figure(figsize=(3.8, 3.4), dpi=150, facecolor="white")
    axes = figure.add_axes((0.17, 0.13, 0.78, 0.73))
    at = [step.index for step in steps]
    for name, (label, colour, dashes) in _LINES.items():
        values = [(step.weighted if weighted else step.losses).get(name, 0.0) for step in steps]
        # Nought has no place on a logarithmic axis: a term that is off has no curve, and the
        # content loss of a run that starts at the content begins at its second step.
        seen = [value if value > 0 else math.nan for value in values]
        if not all(map(math.isnan, seen)):
            marker = "o" if len(seen) == 1 else None
            axes.plot(at, seen, dashes, color=colour, label=label, lw=1.8, marker=marker, ms=4)
    axes.set_yscale("log")
    axes.minorticks_off()  # they would take half of the time that drawing takes
    axes.set_xlim(0, max([10, *at]))
    axes.set_xlabel("step", labelpad=1)
    axes.set_ylabel("weight × loss" if weighted else "loss", labelpad=1)
    axes.grid(color="#DDDDDD", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        # Above, where it hides no curve.
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)
    else:
        axes.set_ylim(1e-2, 1e2)
        axes.text(0.5, 0.5, "no steps yet", ha="center", color="#666666", transform=axes.transAxes)
    return figure


def figure_bytes(figure: Figure) -> bytes:
    """Return a Matplotlib figure as the bytes of a PNG file.

    Example:
        >>> figure_bytes(draw_losses([]))[1:4]
        b'PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
