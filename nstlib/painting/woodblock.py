"""Woodblock: great waves under a mountain, printed in flat colours with a key block of lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.block import Block
from nstlib.painting.canvas import (
    SUPERSAMPLE,
    Array,
    Noise,
    finish,
    generator,
    over,
    pixel_centres,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter


@painter
def woodblock(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "prussian",
    *,
    waves: Annotated[int, Range(2, 7, "rows of waves")] = 4,
    curl: Annotated[float, Range(0, 1.5, "how far the crests fold over")] = 1.0,
    foam: Annotated[float, Range(0, 2, "how much foam the crests carry")] = 1.0,
    grain: Annotated[float, Range(0, 3, "how strongly the block's wood shows")] = 1.0,
) -> Tensor:
    """Print breaking waves with clawed foam before a sky that fades, a red sun and a mountain.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(woodblock(size=64, waves=3).shape)
        (1, 3, 64, 64)
    """
    rng = generator("woodblock", seed)
    colors = Palette(palette)
    canvas = size * SUPERSAMPLE
    block = Block(canvas, _backdrop(rng, canvas, colors))
    for index in range(waves):
        row = _wave_row(rng, index / (waves - 1), curl)
        _carve(block, row, colors)
        _foam(block, rng, row, colors, foam)
    _cartouche(block, rng, colors)
    return finish(_print(rng, block.pixels(), grain))


def _backdrop(rng: np.random.Generator, canvas: int, colors: Palette) -> Array:
    """Print the sky, which fades from dark to paper and to a warm horizon; sun, mist, mountain."""
    x, y = pixel_centres(canvas)
    cool, warm = colors.part("cool"), colors.part("warm")
    uneven = y + 0.015 * Noise.make(rng, 5).grid(canvas)
    paper = warm.at(0.92)
    sky = over(
        np.broadcast_to(paper, (*y.shape, 3)), 0.9 * smoothstep(0.26, 0, uneven), cool.at(0.45)
    )
    sky = over(sky, 0.75 * smoothstep(0.22, 0.62, uneven), warm.at(0.62))

    side = rng.choice([-1.0, 1.0])  # the sun's; the mountain stands at the other
    sx, sy = 0.5 + side * rng.uniform(0.1, 0.3), rng.uniform(0.16, 0.26)
    radius = rng.uniform(0.07, 0.10)
    red = colors.reddest
    fade = 0.35 * smoothstep(sy - radius, sy + 1.2 * radius, y)
    disc = smoothstep(radius + 0.0012, radius - 0.0012, np.hypot(x - sx, y - sy))
    sky = over(sky, disc, over(np.broadcast_to(red, sky.shape), fade, paper))
    for _ in range(16):
        sky = _mist(rng, sky, x, y, (paper, cool.at(0.68), warm.at(0.7)), cool.at(0.38))
    return _mountain(rng, sky, x, y, uneven, colors, 0.5 - side * rng.uniform(0.05, 0.25))


def _mist(
    rng: np.random.Generator, sky: Array, x: Array, y: Array, tints: Sequence[Array], line: Array
) -> Array:
    """Print a bank of mist with rounded ends, its outline repeated inside it."""
    at, height = rng.random(), rng.uniform(0.04, 0.46)
    half, thick = rng.uniform(0.06, 0.20), rng.uniform(0.006, 0.022)
    wave = height + 0.006 * np.sin(30 * x + rng.uniform(0, 6.28))
    outside = np.hypot((np.abs(x - at) - half).clip(0), y - wave) - thick
    sky = over(sky, 0.85 * smoothstep(0.001, -0.001, outside), tints[int(rng.integers(len(tints)))])
    step = 0.0075
    to_line = np.abs(np.mod(outside / step + 0.5, 1.0) - 0.5) * step
    drawn = smoothstep(0.0016, 0.0006, to_line) * (outside < step / 2)
    return over(sky, 0.75 * drawn, line)


def _mountain(
    rng: np.random.Generator,
    sky: Array,
    x: Array,
    y: Array,
    uneven: Array,
    colors: Palette,
    at: float,
) -> Array:
    """Print a mountain whose snow runs down in tongues."""
    peak, foot = rng.uniform(0.22, 0.30), 0.62
    spread = 0.035 + 0.32 * ((y - peak) / (foot - peak)).clip(0) ** 1.35
    inside = np.minimum(spread - np.abs(x - at), (y - peak) * 2)
    body = colors.part("cool").at(0.12 + 0.42 * smoothstep(peak, foot, uneven))
    sky = over(sky, smoothstep(-0.001, 0.001, inside), body)
    tongues = 0.035 * np.sin(70 * (x - at)) + 0.022 * np.sin(143 * (x - at) + 1.0)
    snow = (y < peak + 0.11 + tongues - 0.35 * np.abs(x - at)) & (inside > 0.004)
    sky = over(sky, snow.astype(np.float32), colors.paper)
    return over(sky, smoothstep(0.0026, 0.0014, np.abs(inside)), colors.ink)


@dataclass(frozen=True)
class Row:
    """A row of breaking waves."""

    level: float  # of the troughs
    period: float
    phase: float
    height: float
    lean: float  # how far the tops stand before their feet
    depth: float  # 0 far … 1 near
    along: Array  # places along the row, (N,)
    swell: Array  # how high the row is at each

    def rise(self) -> Array:
        """Return a sharp-crested swell, 0 … 1."""
        cycle = np.pi * (self.along - self.phase) / self.period
        return np.asarray((1 - np.abs(np.sin(cycle))) ** 1.35 * self.swell)

    def curve(self, sunk: float = 0.0) -> Array:
        """Return the crest's line, (N, 2), or one that lies deeper in the wave, 0 … 1.

        The swell is sheared the more the higher it is, so that its top leans over and folds.
        """
        rise, lean = self.rise(), self.lean * (1 - sunk) ** 1.3
        folded = rise * (1 - 0.34 * np.clip(lean / 0.12, 0, 1.2) * rise**5)
        x = self.along + lean * rise**2.6 + 0.30 * sunk * self.lean
        y = self.level - self.height * ((1 - 0.86 * sunk) * folded - 0.80 * sunk)
        return np.stack([x, y], 1)


# A wave's bands below its crest, as tones of the cool part of the palette.
BANDS = (0.10, 0.95, 0.34, 0.10, 0.64, 0.26, 0.95, 0.10, 0.48, 0.30, 0.95, 0.10, 0.62, 0.22)


def _wave_row(rng: np.random.Generator, depth: float, curl: float) -> Row:
    """Compose a row; nearer ones are lower in the picture, longer and higher."""
    level = 0.50 + 0.42 * depth + rng.uniform(-0.015, 0.015)
    period = 0.30 + 0.34 * depth + rng.uniform(0, 0.06)
    height = 0.16 + 0.26 * depth * rng.uniform(0.9, 1.1)
    direction = rng.choice([-1.0, 1.0]) if depth == 0 else -1.0
    lean = direction * curl * (0.07 + 0.11 * depth)
    phase = rng.random() * period
    along = np.linspace(-0.6, 1.6, 700, dtype=np.float32)
    swell = 0.82 + 0.18 * np.sin(2.1 * along / period + rng.uniform(0, 6.28))
    return Row(level, period, phase, height, lean, depth, along, swell)


def _carve(block: Block, row: Row, colors: Palette) -> None:
    """Carve a row: bands in light and dark by turns, and fine lines between them."""
    floor = np.array([[1.8, 1.2], [-0.8, 1.2]])
    ink = 0.0022 + 0.0013 * row.depth
    block.line(row.curve(), 2 * ink, colors.ink)
    for band, tone in enumerate(BANDS):
        upper, middle = (row.curve((band + part) / len(BANDS)) for part in (0.0, 0.5))
        block.fill(np.concatenate([upper, floor]), colors.part("cool").nearest(tone))
        block.line(upper, ink, colors.ink)
        block.line(middle, 0.5 * ink, colors.ink)


def _foam(block: Block, rng: np.random.Generator, row: Row, colors: Palette, foam: float) -> None:
    """Set foam on the crests: lobes that end in claws, and spray in the air before them."""
    curve, rise, depth = row.curve(), row.rise(), row.depth
    high = np.flatnonzero(rise > 0.40)
    if len(high) == 0 or foam == 0:
        return
    tangent = np.gradient(curve, axis=0)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    count, scale = int(260 * foam), (0.006 + 0.010 * depth) * foam**0.5
    at = rng.choice(high, count)
    size = scale * rng.uniform(0.45, 1.25, count) * (0.35 + 0.9 * rise[at])
    out = rng.uniform(-1.6, 1.5, count) * scale * rise[at] ** 2
    centres = curve[at] + normal[at] * out[:, None]
    # Claws: from two lobes in five a row of shrinking ones reaches out, and falls.
    claw = rng.random(count) < 0.40
    foot, thick = centres[claw], size[claw, None]
    reach = normal[at][claw] + np.array([0.9 * np.sign(row.lean), 0.55])
    reach /= np.linalg.norm(reach, axis=1, keepdims=True) + 1e-9
    fall = np.array([0.0, 0.22])
    fingers = [foot + thick * (0.85 * step * reach + step**2 * fall) for step in (1, 2, 3, 4)]
    centres = np.concatenate([centres, *fingers])
    size = np.concatenate([size, *(size[claw] * share for share in (0.78, 0.6, 0.45, 0.3))])

    cool = colors.part("cool")
    block.dots(centres, size + 0.0017 + 0.0012 * depth, colors.ink)
    block.dots(centres, size, colors.paper)
    flecks = rng.random(len(centres)) < 0.55  # pale shadows inside the foam: small crescents
    middle, size = centres[flecks], size[flecks]
    block.dots(middle + 0.25 * size[:, None], 0.42 * size, cool.at(0.7))
    block.dots(middle + 0.10 * size[:, None], 0.36 * size, colors.paper)
    spray = curve[rng.choice(high, int(170 * foam))] + np.array([0.5 * row.lean, -0.02])
    spray = spray + (0.035 + 0.04 * depth) * rng.normal(0, 1, spray.shape)
    radius = rng.uniform(0.0012, 0.0042, len(spray)) * (0.6 + 0.8 * depth)
    block.dots(spray, radius + 0.0012, cool.at(0.35))
    block.dots(spray, radius, colors.paper)


def _cartouche(block: Block, rng: np.random.Generator, colors: Palette) -> None:
    """Stamp a red seal in a corner, with strokes like characters."""
    corner = np.array([0.045 if rng.random() < 0.5 else 0.895, 0.05])
    box = corner + np.array([[0, 0], [0.06, 0], [0.06, 0.15], [0, 0.15]])
    block.fill(box, colors.reddest)
    block.line(np.concatenate([box, box[:1]]), 0.003, colors.ink)
    for row in range(4):
        for _ in range(4):
            start = corner + rng.uniform([0.012, 0.012], [0.048, 0.032]) + [0, 0.034 * row]
            stroke = rng.uniform([-0.020, -0.014], [0.020, 0.014])
            block.line(np.stack([start, start + stroke]), 0.0032, colors.paper)


def _print(rng: np.random.Generator, pixels: Array, grain: float) -> Array:
    """Pull the print: the wood's grain, uneven ink, paper fibres."""
    canvas = len(pixels)
    x, y = pixel_centres(canvas)
    warp = Noise.make(rng, 3).grid(canvas)
    rings = np.sin(2 * np.pi * (46 * y + 3.0 * warp + 0.5 * np.sin(7 * x)))
    fine = np.sin(2 * np.pi * (131 * y + 7.5 * warp + 2 * x))
    wood = 0.020 * rings + 0.014 * fine + 0.014 * Noise.make(rng, 9, octaves=2).grid(canvas)
    fibre = 0.020 * Noise.make(rng, 170).grid(canvas)
    dark = 1.0 - pixels.mean(-1)  # the wood shows where there is much ink
    change = grain * (wood * (0.35 + 1.5 * dark) + fibre * (0.5 + 0.5 * dark))
    change = change[..., None]
    return np.asarray(pixels * (1 + change) + 0.5 * np.clip(change, 0, None), dtype=np.float32)
