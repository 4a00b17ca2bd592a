"""Marbling: colours dropped on a bath, combed and turned with a needle, lifted off on paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.canvas import (
    FIELD,
    SUPERSAMPLE,
    Array,
    Indices,
    Mask,
    Noise,
    finish,
    generator,
    look_up,
    over,
    pixel_centres,
    relief,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter

CHUNK = 1 << 16  # pixels followed at a time: their coordinates fit in the cache
SPRAY = 700  # small drops that fly from the brush
RINGS = 7  # drops let fall on one another for each bloom


@dataclass
class Bath:
    """What each pixel shows, found by undoing what was done to the bath, the last thing first.

    A pixel starts where it lies on the paper and is carried back to where its colour was dropped:
    so edges stay crisp however far the colours are drawn out, and at every size.
    """

    x: Array  # (S, S): where the pixel's colour was before all that is undone so far
    y: Array
    ink: Indices  # (S, S): which of the palette's colours it is; -1 as long as it is not known
    rim: Array  # (S, S): how deep the pixel lies inside its drop, in unit lengths

    def settle(self, inside: Mask, ink: Indices | int, rim: Array) -> None:
        """Give a colour to the pixels inside a drop that have none yet."""
        new = inside & (self.ink < 0)
        self.ink = np.where(new, ink, self.ink)
        self.rim = np.where(new, rim, self.rim)


@painter
def marbling(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "carnival",
    *,
    drops: Annotated[int, Range(30, 400, "drops on the bath before it is combed")] = 240,
    combing: Annotated[float, Range(0, 2, "how far the fine comb draws the colours")] = 1.0,
    swirl: Annotated[float, Range(0, 2, "how far the needle turns them")] = 1.0,
    blooms: Annotated[int, Range(0, 9, "flowers drawn on top")] = 5,
) -> Tensor:
    """Marble a sheet: combed feathers and turned swirls, with flowers that push them aside.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(marbling(size=64, drops=60).shape)
        (1, 3, 64, 64)
    """
    rng = generator("marbling", seed)
    colors = Palette(palette)
    x, y = pixel_centres(size * SUPERSAMPLE)
    bath = Bath(x, y, np.full(x.shape, -1), np.zeros(x.shape, np.float32))
    # From the last thing done to the first: see Bath.
    _undo_spatter(bath, rng, len(colors.colors))
    _undo_blooms(bath, rng, len(colors.colors), blooms)
    _undo_swirls(bath, rng, swirl)
    _undo_combs(bath, rng, combing)
    _undo_drops(bath, rng, len(colors.colors), drops)
    return finish(_lift(bath, rng, colors))


def _undo_spatter(bath: Bath, rng: np.random.Generator, inks: int) -> None:
    """Undo the fine spray from the brush: small drops in clouds, which push only what is near."""
    size = len(bath.x)
    clouds = rng.random((9, 2))
    at = clouds[rng.integers(0, len(clouds), SPRAY)] + 0.13 * rng.standard_normal((SPRAY, 2))
    radii = 0.0016 + 0.0034 * rng.random(SPRAY) ** 3
    # Most of the spray is the palest or the darkest colour, which shows on every other.
    which = rng.choice([inks - 1, inks - 2, 0], SPRAY, p=(0.6, 0.2, 0.2))
    for (cx, cy), radius, ink in zip(at, radii, which, strict=True):
        reach = 7 * radius
        rows, columns = (
            slice(max(int((c - reach) * size), 0), max(int((c + reach) * size) + 2, 0))
            for c in (cy, cx)
        )
        box = (rows, columns)
        near = Bath(bath.x[box], bath.y[box], bath.ink[box], bath.rim[box])
        _undo_drop(near, cx, cy, radius, int(ink))
        bath.x[box], bath.y[box], bath.ink[box], bath.rim[box] = near.x, near.y, near.ink, near.rim


def _undo_drop(bath: Bath, cx: float, cy: float, radius: float, ink: int) -> None:
    """Undo one drop: what it pushed outwards, by its own area at every distance, comes back."""
    dx, dy = bath.x - cx, bath.y - cy
    square = dx * dx + dy * dy + 1e-12
    shrink = np.sqrt(np.clip(1 - radius**2 / square, 0, None))
    bath.settle(square < radius**2, ink, radius - np.sqrt(square))
    bath.x, bath.y = cx + dx * shrink, cy + dy * shrink


def _undo_blooms(bath: Bath, rng: np.random.Generator, inks: int, count: int) -> None:
    """Undo the flowers: rings of drops on one another, drawn into petals by a needle."""
    placed: list[Array] = []
    for index in range(count):
        radius = float((0.165, 0.115, 0.075)[min(index, 2)] * rng.uniform(0.85, 1.15))
        tries = rng.uniform(0.08, 0.92, (30, 2))
        gaps = [min([np.hypot(*(p - t)) for p in placed], default=0) for t in tries]
        placed.append(tries[int(np.argmax(gaps))])
        cx, cy = (float(c) for c in placed[-1])
        petals = int(rng.integers(5, 8) + 30 * radius)
        turned, twist = rng.uniform(0, 2 * np.pi), rng.uniform(-0.9, 0.9)
        shades = rng.choice(inks, RINGS, replace=inks < RINGS)

        dx, dy = bath.x - cx, bath.y - cy
        r, angle = np.hypot(dx, dy) + 1e-6, np.arctan2(dy, dx)
        share = r / radius
        pull = share**2 * np.exp(1 - share**2)  # strongest at the flower's edge
        around = (angle + twist * np.exp(-(share**2)) + turned) * petals / (2 * np.pi)
        away = np.abs(np.mod(around, 1.0) - 0.5)  # from the needle's line, 0 … 0.5 of a petal
        needle = np.exp(-9 * away) - 0.55 * np.exp(-9 * (0.5 - away))
        drawn, r = r, r + 0.42 * radius * pull * needle
        # Drops at one place are one drop, seen from outside; their edges lie at these radii.
        edges = np.cumsum(rng.uniform(0.6, 1.4, RINGS))
        edges = (edges * (radius / edges[-1])).astype(np.float32)
        ring = np.searchsorted(edges, r).clip(0, RINGS - 1)
        inner = np.append(np.float32(0), edges[:-1])
        rim = np.minimum(edges[ring] - r, np.where(ring > 0, r - inner[ring], 1))
        bath.settle(r < radius, shades[ring], rim)
        back = np.sqrt(np.clip(r * r - radius**2, 0, None)) / drawn
        bath.x, bath.y = cx + dx * back, cy + dy * back


def _undo_swirls(bath: Bath, rng: np.random.Generator, swirl: float) -> None:
    """Undo the needle's circles: each turned the bath, most in its middle."""
    for radius in (0.30, 0.22, 0.17, 0.13):
        cx, cy = (float(c) for c in rng.uniform(0.1, 0.9, 2))
        turn = swirl * float(rng.choice([-1.0, 1.0])) * rng.uniform(1.4, 2.6)
        dx, dy = bath.x - cx, bath.y - cy
        angle = turn * np.exp(-(dx * dx + dy * dy) / (0.5 * radius) ** 2)
        c, s = np.cos(angle), np.sin(angle)
        bath.x, bath.y = cx + c * dx - s * dy, cy + s * dx + c * dy


def _undo_combs(bath: Bath, rng: np.random.Generator, combing: float) -> None:
    """Undo the combs: a wide rake to and fro, then a fine comb across it, then a wavy one."""
    tilt = rng.uniform(0, np.pi)
    c, s = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    along, across = c * bath.x + s * bath.y, -s * bath.x + c * bath.y
    phase = rng.uniform(0, 2 * np.pi, 4).astype(np.float32)

    across = across + 0.030 * np.sin(2 * np.pi * along / 0.42 + phase[0] + 2 * across)
    # The fine comb touches the bath here and not there: feathers beside broad bands.
    pressed = smoothstep(-0.35, 0.45, look_up(Noise.make(rng, 3).grid(FIELD), bath.x, bath.y))
    spacing = rng.uniform(0.024, 0.032)
    teeth = np.abs(np.mod(along / spacing + phase[1], 1.0) - 0.5)
    across = across + combing * 0.075 * pressed * (np.exp(-5.5 * teeth) - 0.3)
    # The rake's teeth go there and come back between.
    spacing = rng.uniform(0.16, 0.22)
    cycle = across / spacing + phase[2]
    for back, reach in ((0.0, 0.24), (0.5, -0.20)):
        teeth = np.abs(np.mod(cycle + back, 1.0) - 0.5)
        along = along + reach * np.exp(-6 * teeth)
    bath.x, bath.y = c * along - s * across, s * along + c * across


def _undo_drops(bath: Bath, rng: np.random.Generator, inks: int, count: int) -> None:
    """Undo the drops, the last first: a pixel inside one has its colour, the others come closer."""
    centres = rng.uniform(-0.2, 1.2, (count, 2)).astype(np.float32)
    # Large drops cover the bath; smaller and smaller ones squeeze them to veins.
    radii = np.linspace(0.085, 0.026, count) * np.sqrt(240 / count) * rng.lognormal(0, 0.4, count)
    # A throw of the brush leaves a few drops of one colour; the next throw has another.
    rounds = count // 3 // inks + 1
    # Clear drops, as pale as the paper, fall in every second round only.
    throws = np.concatenate([rng.permutation(inks - number % 2) for number in range(rounds)])
    radii = radii.astype(np.float32)
    ink = throws[np.arange(count) * len(throws) // count]
    found = np.full(bath.x.size, -1)
    depth = np.zeros(bath.x.size, np.float32)
    for start in range(0, bath.x.size, CHUNK):
        some = slice(start, start + CHUNK)
        open_ = np.flatnonzero(bath.ink.ravel()[some] < 0) + start
        x, y = bath.x.ravel()[open_], bath.y.ravel()[open_]
        for which in range(count - 1, -1, -1):
            (cx, cy), radius = centres[which], radii[which]
            dx, dy = x - cx, y - cy
            square = dx * dx + dy * dy
            inside = square < radius * radius
            if inside.any():
                own = open_[inside]
                found[own] = ink[which]
                depth[own] = radius - np.sqrt(square[inside])
                keep = ~inside
                open_, dx, dy, square = open_[keep], dx[keep], dy[keep], square[keep]
            shrink = np.sqrt(1 - radius * radius / square)
            x, y = cx + dx * shrink, cy + dy * shrink
    shape = bath.x.shape
    bath.settle(found.reshape(shape) >= 0, found.reshape(shape), depth.reshape(shape))


def _lift(bath: Bath, rng: np.random.Generator, colors: Palette) -> Array:
    """Lift the colours off on paper: pale veins at the drops' edges, grains of pigment, fibres."""
    size = len(bath.x)
    # Where no drop came the bath is clear, and the paper shows.
    color = colors.colors[np.where(bath.ink < 0, len(colors.colors) - 1, bath.ink)]
    grain = Noise.make(rng, 150, octaves=2).grid(size)
    cloud = Noise.make(rng, 14, octaves=3).grid(size)
    # Pigment gathers inside a drop's edge and is thin in its middle.
    thin = 0.10 * smoothstep(0.004, 0.030, bath.rim) + 0.05 * cloud + 0.07 * grain
    # Light fades as a power of the layer it passes: a thin one is paler, and no grain looks dirty.
    color = color ** np.clip(1.0 - 2.2 * thin, 0.4, 1.6)[..., None]
    color = over(color, 0.85 * smoothstep(0.0026, 0.0008, bath.rim), colors.paper)
    fibre = relief(1.1 * Noise.make(rng, 200).grid(size), 0.06)[..., None]
    return np.asarray(color * (1 + fibre), dtype=np.float32)
