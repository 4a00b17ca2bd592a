"""Neoplastic: black bars, primary planes and the syncopated little squares of a city at night."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.block import Block
from nstlib.painting.brush import Canvas, brush_on
from nstlib.painting.canvas import (
    FIELD,
    SUPERSAMPLE,
    Array,
    Noise,
    enlarge,
    finish,
    generator,
    look_up,
    over,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter

REACH = 0.23  # how far the grid goes beyond the picture, so that a turned one still fills it
WIDTHS = (0.009, 0.014, 0.020, 0.024, 0.034)  # of bars
CRACKS = 512  # the craquelure's field is computed at this size


@painter
def neoplastic(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "primary",
    *,
    bars: Annotated[int, Range(4, 36, "how many bars")] = 18,
    rhythm: Annotated[float, Range(0, 2, "how densely small squares ride on the bars")] = 1.0,
    color: Annotated[float, Range(0, 1, "share of the planes in full colour")] = 0.42,
    brushwork: Annotated[float, Range(0, 2, "how visible brush and craquelure are")] = 1.0,
) -> Tensor:
    """Balance bars and planes of paint in a grid, upright or turned by half a right angle.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(neoplastic(size=64, bars=9).shape)
        (1, 3, 64, 64)
    """
    rng = generator("neoplastic", seed)
    colors = Palette(palette)
    turn = float(rng.choice([0.0, 0.0, 0.0, np.pi / 4])) + rng.normal(0, 0.004)
    grid = _grid(rng, bars)
    paints = Paints.choose(rng, colors, color)
    slabs = _planes(rng, grid, paints) + _bars(rng, grid, paints, rhythm)

    canvas = _brushed(rng, slabs, turn, size * SUPERSAMPLE, brushwork)
    # The brush decides how light each colour is; edges are the flat slabs', and stay crisp.
    canvas.color = _flat(rng, slabs, turn, size * SUPERSAMPLE, colors) * canvas.color
    _crackle(rng, canvas, colors.ink, brushwork)
    return finish(canvas.lit(0.17 * brushwork + 0.02))


@dataclass(frozen=True)
class Bar:
    """A bar of the grid: where it lies across, from where to where it runs, and its width."""

    upright: bool
    at: float
    start: float
    end: float
    width: float

    def slab(self, start: float, end: float, color: Array, share: float = 1.0) -> Slab:
        """Return a stretch of the bar, or of a share of its width, as paint."""
        low, high = self.at - 0.5 * share * self.width, self.at + 0.5 * share * self.width
        box = (low, start, high, end) if self.upright else (start, low, end, high)
        return Slab(*box, color)


@dataclass(frozen=True)
class Slab:
    """A rectangle of one paint, in the grid's own coordinates."""

    left: float
    top: float
    right: float
    bottom: float
    color: Array

    def inset(self, share: float, x: float, y: float, color: Array) -> Slab:
        """Return a smaller rectangle inside, at a place from 0 to 1 of the room left over."""
        wide, high = self.right - self.left, self.bottom - self.top
        left = self.left + x * (1 - share) * wide
        top = self.top + y * (1 - share) * high
        return Slab(left, top, left + share * wide, top + share * high, color)


def _grid(rng: np.random.Generator, count: int) -> list[Bar]:
    """Lay bars one after the other; each ends at bars that cross it, so all planes are rectangles.

    The first four frame the grid. Long bars come first, as a painter would begin.
    """
    low, high = -REACH, 1 + REACH
    bars = [Bar(up, at, low, high, WIDTHS[0]) for up in (True, False) for at in (low, high)]
    lean = rng.uniform(0.32, 0.68)  # some pictures stand, others lie
    for number in range(count):
        for _ in range(40):  # a few tries to find room
            upright = bool(rng.random() < lean)
            at = float(rng.uniform(low, high) if number > 5 else rng.uniform(0.06, 0.94))
            middle = rng.uniform(0.1, 0.9)
            ends = sorted(b.at for b in bars if b.upright != upright and b.start <= at <= b.end)
            below = [end for end in ends if end < middle]
            above = [end for end in ends if end >= middle]
            if not below or not above:
                continue
            # Early bars run right through; later ones mostly stop at the next crossing.
            skip = 9 if number < 5 else int(rng.integers(0, 3))
            start = below[max(len(below) - 1 - skip, 0)]
            end = above[min(skip, len(above) - 1)]
            gaps = [
                abs(b.at - at)
                for b in bars
                if b.upright == upright and b.start < end and b.end > start
            ]
            # Neighbours are either a narrow pair or well apart: nothing lies evenly.
            if min(gaps) > rng.choice([0.045, 0.085, 0.13]) * (18 / (count + 4)) ** 0.5:
                bars.append(Bar(upright, at, start, end, float(rng.choice(WIDTHS))))
                break
    return bars


@dataclass(frozen=True)
class Paints:
    """The paints of one picture: which colours it uses, and how much of each."""

    ink: Array
    whites: Array  # (W, 3), off-whites and greys
    hues: Array  # (H, 3), full colours, the first the brightest
    shares: Array  # (H,), one of them dominates
    full: float  # share of the planes in full colour

    @classmethod
    def choose(cls, rng: np.random.Generator, colors: Palette, full: float) -> Paints:
        """Sort a palette into black, off-whites and full colours, and draw how they balance."""
        inner = colors.colors[1:-1]
        chroma = inner.max(1) - inner.min(1)
        vivid = inner[chroma >= 0.5 * chroma.max()]
        quiet = inner[chroma < 0.5 * chroma.max()]
        grey = quiet if len(quiet) else inner[-1:]
        steps = np.array([0.0, 0.0, 0.05, 0.10, 0.18, 0.28, 0.42, 0.75], np.float32)
        picks = grey[rng.integers(0, len(grey), len(steps))]
        whites = colors.paper + steps[:, None] * (picks - colors.paper)
        shares = rng.dirichlet(np.full(len(vivid), 2.5))
        shares[0] *= 0.5  # the brightest is for the lanes, which its planes would swallow
        return cls(colors.ink, whites, vivid[::-1], shares / shares.sum(), full)

    def white(self, rng: np.random.Generator) -> Array:
        """Return an off-white or a grey."""
        return np.asarray(self.whites[rng.integers(len(self.whites))])

    def hue(self, rng: np.random.Generator) -> Array:
        """Return a full colour, most often the one that dominates."""
        return np.asarray(self.hues[rng.choice(len(self.hues), p=self.shares)])

    def any(self, rng: np.random.Generator) -> Array:
        """Return any paint, as a small square may have it."""
        pick = rng.random()
        if pick < 0.16:
            return self.ink
        return self.white(rng) if pick < 0.48 else np.asarray(rng.choice(self.hues))


def _planes(rng: np.random.Generator, bars: list[Bar], paints: Paints) -> list[Slab]:
    """Fill what the bars leave open, and set smaller planes into some of them."""
    across = sorted({bar.at for bar in bars if bar.upright})
    down = sorted({bar.at for bar in bars if not bar.upright})
    slabs: list[Slab] = []
    done: set[tuple[int, int]] = set()
    for i in range(len(across) - 1):
        for j in range(len(down) - 1):
            if (i, j) in done:
                continue
            right, bottom = i + 1, j + 1
            while not _cut(bars, True, across[right], (down[j] + down[j + 1]) / 2):
                right += 1
            while not _cut(bars, False, down[bottom], (across[i] + across[i + 1]) / 2):
                bottom += 1
            done |= {(a, b) for a in range(i, right) for b in range(j, bottom)}
            hue = rng.random() < paints.full
            fill = paints.hue(rng) if hue else paints.white(rng)
            plane = Slab(across[i], down[j], across[right], down[bottom], fill)
            slabs += [plane, *_nested(rng, plane, paints)]
    return slabs


def _cut(bars: list[Bar], upright: bool, at: float, place: float) -> bool:
    """Tell whether a bar at ``at`` passes ``place`` along it."""
    return any(b.upright == upright and b.at == at and b.start < place < b.end for b in bars)


def _nested(rng: np.random.Generator, plane: Slab, paints: Paints) -> list[Slab]:
    """Set up to three planes into one, each into the last: blocks of houses with their courts."""
    nested: list[Slab] = []
    while rng.random() < 0.42 and len(nested) < 3:
        share = rng.uniform(0.35, 0.62)
        plane = plane.inset(share, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), paints.any(rng))
        nested.append(plane)
    return nested


def _bars(rng: np.random.Generator, bars: list[Bar], paints: Paints, rhythm: float) -> list[Slab]:
    """Paint the bars, black or as lanes of the brightest colour, and let squares dance on them."""
    slabs: list[Slab] = []
    squares: list[Slab] = []
    lanes = rng.choice([0.0, 0.2, 0.45, 0.8])  # of some pictures' bars, most are lanes
    for bar in bars:
        lane = rng.random() < lanes
        body = paints.hues[0] if lane else paints.ink
        slabs.append(bar.slab(bar.start, bar.end, body))
        beat = max(bar.width, 0.011)
        at = bar.start
        while at < bar.end:
            # A beat is one square long, sometimes two; a rest is one to many.
            long = beat * float(rng.choice([1.0, 1.0, 1.0, 2.0]))
            if rng.random() < min(1.0, rhythm * (0.75 if lane else 0.55)):
                share = float(rng.choice([1.0, 1.0, 0.5]))
                squares.append(bar.slab(at, at + long, paints.any(rng), share))
            at += long + beat * float(rng.choice([0.4, 1.0, 1.0, 2.0, 3.5]))
    crossings = [
        (v.at, h.at, max(v.width, h.width))
        for v in bars
        for h in bars
        if v.upright and not h.upright and v.start <= h.at <= v.end and h.start <= v.at <= h.end
    ]
    for x, y, width in crossings:
        if rng.random() < 0.5 * rhythm:
            half = 0.5 * width * rng.uniform(1.0, 1.5)
            squares.append(Slab(x - half, y - half, x + half, y + half, paints.any(rng)))
    return slabs + squares


def _turned(x: Array, y: Array, turn: float) -> tuple[Array, Array]:
    """Return the picture's coordinates of places in the grid."""
    c, s = np.cos(turn), np.sin(turn)
    return 0.5 + c * (x - 0.5) - s * (y - 0.5), 0.5 + s * (x - 0.5) + c * (y - 0.5)


def _flat(
    rng: np.random.Generator, slabs: list[Slab], turn: float, canvas: int, colors: Palette
) -> Array:
    """Lay in every slab flat; its edges waver a little, as a hand's do without a ruler."""
    block = Block(canvas, np.broadcast_to(colors.ink, (canvas, canvas, 3)))
    side = np.linspace(0, 1, 7)
    for slab in slabs:
        waver = rng.normal(0, 0.0007, (4, 7)).cumsum(1) * 0.5 + rng.normal(0, 0.0006, (4, 1))
        wide, high = slab.right - slab.left, slab.bottom - slab.top
        x = [slab.left + wide * side, slab.right + waver[1], slab.right - wide * side]
        y = [slab.top + waver[0], slab.top + high * side, slab.bottom + waver[2]]
        x.append(slab.left + waver[3])
        y.append(slab.bottom - high * side)
        points = np.stack(_turned(np.concatenate(x), np.concatenate(y), turn), 1)
        block.fill(points, slab.color)
    return block.pixels()


def _brushed(
    rng: np.random.Generator, slabs: list[Slab], turn: float, size: int, brushwork: float
) -> Canvas:
    """Go over every slab with parallel strokes, along it or across, that stay inside its edges.

    Returns how thick the paint lies, and as its colour how much lighter than its slab it is.
    """
    canvas = Canvas.primed(np.ones((size, size, 3), np.float32))
    box = np.array([(s.left, s.top, s.right, s.bottom) for s in slabs])
    wide, high = box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]
    upright = np.where(np.minimum(wide, high) < 0.035, high > wide, rng.random(len(slabs)) < 0.5)
    # Each slab is mixed a little lighter or darker, and each stroke again.
    mixed = rng.normal(0, 0.035, len(slabs))
    pressed = 0.045 * Noise.make(rng, 7, octaves=2).grid(FIELD)
    for length, width, coats in ((0.085, 0.0095, 1.5), (0.045, 0.0050, 0.8)):
        count = np.ceil(coats * wide * high / (length * width)).astype(np.int64)
        owner = np.repeat(np.arange(len(slabs)), count)  # in order: later slabs lie on top
        long, narrow = np.where(upright, high, wide)[owner], np.where(upright, wide, high)[owner]
        thick = np.minimum(width * rng.uniform(0.7, 1.1, len(owner)), narrow)
        half = 0.5 * np.minimum(length * rng.uniform(0.6, 1.1, len(owner)), long)
        along = half + rng.random(len(owner)) * (long - 2 * half)
        aside = 0.5 * thick + rng.random(len(owner)) * (narrow - thick)
        u = along[:, None] + half[:, None] * np.linspace(-1, 1, 3)
        v = aside[:, None] + rng.normal(0, 0.0006, (len(owner), 3))
        standing = upright[owner, None]
        x = box[owner, 0, None] + np.where(standing, v, u)
        y = box[owner, 1, None] + np.where(standing, u, v)
        path_x, path_y = _turned(x, y, turn)
        uneven = look_up(pressed, path_x[:, 1], path_y[:, 1])
        shade = 1 + brushwork * (mixed[owner] + uneven + rng.normal(0, 0.055, len(owner)))
        brush_on(
            canvas,
            path_x.astype(np.float32),
            path_y.astype(np.float32),
            thick.astype(np.float32),
            np.repeat(shade[:, None], 3, 1).astype(np.float32),
            rng,
            bristles=5,
            streak=0.030 * brushwork,
            thickness=0.9,
            taper=0.1,
        )
    return canvas


def _crackle(rng: np.random.Generator, canvas: Canvas, ink: Array, brushwork: float) -> None:
    """Let the paint crack into small cells where it is old, and the ground show in the cracks."""
    size = len(canvas.height)
    bend = [0.004 * Noise.make(rng, 40).grid(CRACKS) for _ in range(2)]
    axis = (np.arange(CRACKS, dtype=np.float32) + 0.5) / CRACKS
    gap = _seams(rng, axis[None] + bend[0], axis[:, None] + bend[1], 74)
    old = smoothstep(-0.2, 1.8, Noise.make(rng, 5, octaves=2).grid(CRACKS))
    crack = smoothstep(0.0020, 0.0003, gap) * (0.08 + 0.92 * old)
    crack = enlarge(crack, size)
    canvas.color = over(canvas.color, 0.36 * min(brushwork, 1.5) * crack, ink)
    canvas.height -= 1.2 * crack


def _seams(rng: np.random.Generator, x: Array, y: Array, cells: int) -> Array:
    """Return how much farther the second nearest of many scattered points is than the nearest."""
    points = rng.random((2, cells + 4, cells + 4)).astype(np.float32)
    column, row = np.floor(x * cells).astype(np.int64), np.floor(y * cells).astype(np.int64)
    nearest = np.full(x.shape, np.inf, np.float32)
    second = nearest.copy()
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            at = (np.clip(row + i + 2, 0, cells + 3), np.clip(column + j + 2, 0, cells + 3))
            dx = (column + j + points[0][at]) / cells - x
            dy = (row + i + points[1][at]) / cells - y
            far = np.hypot(dx, dy)
            second = np.minimum(second, np.maximum(nearest, far))
            nearest = np.minimum(nearest, far)
    return np.asarray(second - nearest, dtype=np.float32)
