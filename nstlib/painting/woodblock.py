"""Woodblock: great waves under a mountain, printed in flat colours with a key block of lines."""

from __future__ import annotations

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
        depth = index / max(waves - 1, 1)  # 0 far … 1 near
        _wave_row(block, rng, colors, depth, curl, foam)
    _cartouche(block, rng, colors)
    return finish(_print(rng, block.pixels(), colors, grain))


def _backdrop(rng: np.random.Generator, canvas: int, colors: Palette) -> Array:
    """Print the sky: a gradation from dark to paper and back to a warm horizon; sun, mountain."""
    x, y = pixel_centres(canvas)
    cool, warm = colors.part("cool"), colors.part("warm")
    uneven = 0.015 * Noise.make(rng, 5).grid(canvas)
    top = smoothstep(0.26, 0.0, y + uneven)
    low = smoothstep(0.22, 0.62, y + uneven)
    paper = warm.at(np.full_like(y, 0.92))
    sky = paper + top[..., None] * 0.9 * (cool.at(0.45) - paper)
    sky = sky + low[..., None] * 0.75 * (warm.at(0.62) - sky)
    side = rng.choice([-1.0, 1.0])
    sx, sy, sr = (
        0.5 + side * rng.uniform(0.1, 0.3),
        rng.uniform(0.16, 0.26),
        rng.uniform(0.07, 0.10),
    )
    r = np.hypot(x - sx, y - sy)
    disc = smoothstep(sr + 0.0012, sr - 0.0012, r)[..., None]
    fade = 0.35 * smoothstep(sy - sr, sy + 1.2 * sr, y)[..., None]
    red = _reddest(colors)
    sky = sky + disc * (red + fade * (paper - red) - sky)
    # Banks of mist with rounded ends.
    line = cool.at(0.38)
    for _ in range(16):
        mx, my = rng.random(), rng.uniform(0.04, 0.46)
        half, thick = rng.uniform(0.06, 0.20), rng.uniform(0.006, 0.022)
        wave = my + 0.006 * np.sin(30 * x + rng.uniform(0, 6.28))
        band = np.hypot((np.abs(x - mx) - half).clip(0), y - wave) - thick
        inside = smoothstep(0.001, -0.001, band)[..., None]
        tint = (paper, cool.at(0.68), warm.at(0.7))[rng.integers(3)]
        sky = sky + inside * 0.85 * (tint - sky)
        # Outlines within the outline, like the year rings of a plank.
        rings = np.abs(np.mod(band / 0.0075, 1.0) - 0.5) * 0.0075
        drawn = smoothstep(0.0016, 0.0006, 0.00375 - rings) * (band < 0.0038)
        sky = sky + drawn[..., None] * 0.75 * (line - sky)
    # The mountain, with snow that runs down in tongues.
    mx, peak, foot = 0.5 - side * rng.uniform(0.05, 0.25), rng.uniform(0.22, 0.30), 0.62
    spread = 0.035 + 0.32 * ((y - peak) / (foot - peak)).clip(0) ** 1.35
    inside = np.minimum(spread - np.abs(x - mx), (y - peak) * 2)
    body = cool.at(0.12 + 0.42 * smoothstep(peak, foot, y + uneven))
    mount = smoothstep(-0.001, 0.001, inside)[..., None]
    sky = sky + mount * (body - sky)
    tongue = 0.035 * np.sin(70 * (x - mx)) + 0.022 * np.sin(143 * (x - mx) + 1.0)
    snow = (y < peak + 0.11 + tongue - 0.35 * np.abs(x - mx)) & (inside > 0.004)
    sky = np.where(snow[..., None], colors.paper, sky)
    outline = smoothstep(0.0026, 0.0014, np.abs(inside))[..., None]
    return (sky + outline * (colors.ink - sky)).astype(np.float32)


def _reddest(colors: Palette) -> Array:
    """Return the palette's most saturated warm colour: the seal's and the sun's."""
    redness = colors.colors[:, 0] - colors.colors[:, 1:].mean(1)
    return np.asarray(colors.colors[int(np.argmax(redness))], dtype=np.float32)


def _crest(
    t: Array, period: float, phase: float, height: float, lean: float, wobble: Array
) -> Array:
    """Return the profile of a row of breaking waves, (N, 2), for t along the row.

    A sharp-crested swell h(t), sheared by h² so that its tops lean over and fold.
    """
    cycle = np.pi * (t - phase) / period
    rise = (1 - np.abs(np.sin(cycle))) ** 1.35 * wobble
    x = t + lean * rise**2.6
    y = -height * rise * (1 - 0.34 * np.clip(lean / 0.12, 0, 1.2) * rise**5)
    return np.stack([x, y], 1).astype(np.float32)


def _wave_row(
    block: Block, rng: np.random.Generator, colors: Palette, depth: float, curl: float, foam: float
) -> None:
    """Carve one row: nested bands of blue below the crest's line, then its foam."""
    cool = colors.part("cool")
    level = 0.50 + 0.42 * depth + rng.uniform(-0.015, 0.015)
    period = 0.30 + 0.34 * depth + rng.uniform(0, 0.06)
    height = 0.16 + 0.26 * depth * rng.uniform(0.9, 1.1)
    direction = rng.choice([-1.0, 1.0]) if depth == 0 else -1.0
    lean = direction * curl * (0.07 + 0.11 * depth)
    phase = rng.random() * period
    t = np.linspace(-0.6, 1.6, 700, dtype=np.float32)
    swell = 0.82 + 0.18 * np.sin(2.1 * t / period + rng.uniform(0, 6.28))
    floor = np.array([[1.8, 1.2], [-0.8, 1.2]], np.float32)
    base = np.array([0.0, level], np.float32)

    # Bands: the same crest, lower and flatter each time, in light and dark by turns; fine lines
    # between them.
    tones = (0.10, 0.95, 0.34, 0.10, 0.64, 0.26, 0.95, 0.10, 0.48, 0.30, 0.95, 0.10, 0.62, 0.22)
    bands = 2 * len(tones)
    ink = 0.0022 + 0.0013 * depth
    for band in range(bands):
        part = band / bands
        # Bands slide back under the fold and sink.
        slide = np.array([0.30 * part * lean, 0.80 * height * part], np.float32)
        curve = _crest(
            t, period, phase, height * (1 - 0.86 * part), lean * (1 - part) ** 1.3, swell
        )
        curve = curve + base + slide
        if band % 2 == 0:
            shade = cool.nearest(tones[band // 2])
            block.fill(np.concatenate([curve, floor]), shade)
        block.line(
            curve, 1.5 * ink if band == 0 else ink if band % 2 == 0 else 0.5 * ink, colors.ink
        )
    _foam(block, rng, colors, t, period, phase, height, lean, swell, base, depth, foam)


def _foam(
    block: Block,
    rng: np.random.Generator,
    colors: Palette,
    t: Array,
    period: float,
    phase: float,
    height: float,
    lean: float,
    swell: Array,
    base: Array,
    depth: float,
    foam: float,
) -> None:
    """Set foam on the crests: lobes that end in claws, and spray in the air before them."""
    curve = _crest(t, period, phase, height, lean, swell) + base
    rise = (1 - np.abs(np.sin(np.pi * (t - phase) / period))) ** 1.35 * swell
    high = np.flatnonzero(rise > 0.40)
    scale = (0.006 + 0.010 * depth) * foam**0.5
    if len(high) == 0 or foam == 0:
        return
    tangent = np.gradient(curve, axis=0)
    normal = np.stack([tangent[:, 1], -tangent[:, 0]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    count = int(260 * foam)
    at = rng.choice(high, count)
    size = scale * rng.uniform(0.45, 1.25, count) * (0.35 + 0.9 * rise[at])
    out = rng.uniform(-1.6, 1.5, count) * scale * rise[at] ** 2
    centres = curve[at] + normal[at] * out[:, None]
    # Claws: three shrinking lobes that reach out and downwards from a third of the lobes.
    claw = rng.random(count) < 0.40
    reach = normal[at][claw] + np.array([0.9 * np.sign(lean), 0.55])
    reach /= np.linalg.norm(reach, axis=1, keepdims=True) + 1e-9
    for step in (1, 2, 3, 4):
        bend = np.array([0.0, 0.22 * step * step]) * size[: len(centres)][:count][claw][:, None]
        centres = np.concatenate(
            [
                centres,
                centres[:count][claw] + reach * (size[:count][claw] * 0.85 * step)[:, None] + bend,
            ]
        )
        size = np.concatenate([size, size[:count][claw] * (0.78, 0.6, 0.45, 0.3)[step - 1]])
    outline = 0.0017 + 0.0012 * depth
    cool = colors.part("cool")
    block.dots(centres, size + outline, colors.ink)
    block.dots(centres, size, colors.paper)
    # Shadows inside the foam: small pale-blue flecks.
    flecks = rng.random(len(centres)) < 0.55
    block.dots(
        centres[flecks] + 0.25 * size[flecks, None],
        0.42 * size[flecks],
        cool.at(0.7),
    )
    block.dots(centres[flecks] + 0.10 * size[flecks, None], 0.36 * size[flecks], colors.paper)
    spray = curve[rng.choice(high, int(170 * foam))]
    spray = (
        spray
        + rng.normal(0, 1, spray.shape) * (0.035 + 0.04 * depth)
        + np.array([0.5 * lean, -0.02])
    )
    radius = rng.uniform(0.0012, 0.0042, len(spray)) * (0.6 + 0.8 * depth)
    block.dots(spray, radius + 0.0012, cool.at(0.35))
    block.dots(spray, radius, colors.paper)


def _cartouche(block: Block, rng: np.random.Generator, colors: Palette) -> None:
    """Stamp the publisher's red seal in a corner, with strokes like characters."""
    x, y = (0.045, 0.05) if rng.random() < 0.5 else (0.895, 0.05)
    box = np.array([[0, 0], [0.06, 0], [0.06, 0.15], [0, 0.15]], np.float32) + np.array([x, y])
    block.fill(box.astype(np.float32), _reddest(colors))
    block.line(np.concatenate([box, box[:1]]).astype(np.float32), 0.003, colors.ink)
    for row in range(4):
        for _ in range(4):
            a = rng.uniform([0.012, 0.012], [0.048, 0.032]) + np.array([0, 0.034 * row])
            b = (
                a
                + rng.choice([-1, 1])
                * rng.uniform([0.0, 0.008], [0.018, 0.014])[:: rng.choice([-1, 1])]
            )
            block.line(np.stack([a, b]).astype(np.float32) + np.array([x, y]), 0.0032, colors.paper)


def _print(rng: np.random.Generator, pixels: Array, colors: Palette, grain: float) -> Array:
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
