"""Engraving: hills under a radiant sky, in swelling and crossing lines, tinted by hand."""

from __future__ import annotations

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
    blur,
    edge_distance,
    enlarge,
    finish,
    generator,
    pixel_centres,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter


@painter
def engraving(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "folio",
    *,
    lines: Annotated[float, Range(0.5, 2, "how many lines to a length")] = 1.0,
    crossing: Annotated[float, Range(0, 2, "how soon, towards the dark, lines cross")] = 1.0,
    tint: Annotated[float, Range(0, 1.5, "strength of the hand colouring")] = 1.0,
) -> Tensor:
    """Engrave a landscape: tone is the lines' width, and where it is dark they cross.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(engraving(size=64, tint=0).shape)
        (1, 3, 64, 64)
    """
    rng = generator("engraving", seed)
    colors = Palette(palette)
    canvas = size * SUPERSAMPLE
    x, y = pixel_centres(canvas)
    form, dark, wash, warm, parts = _country(rng, x, y)

    # Each set of lines: its phase across the plate, and from which darkness on it is cut.
    wander = 0.006 * Noise.make(rng, 7, octaves=2).grid(canvas)
    count = 68 * lines
    sets = (
        (form, 0.02, 1.00),
        (
            0.50 * form + 0.87 * (0.6 * x + 0.8 * y) + wander,
            0.40 / crossing if crossing else 9,
            0.85,
        ),
        (0.8 * x - 0.6 * y + wander, 0.62 / crossing if crossing else 9, 0.80),
    )
    ink = np.zeros_like(x)
    for phase, since, most in sets:
        strength = ((dark - since) / (1.02 - since)).clip(0, 1) ** 0.8 * most
        # A burin swells: the line is as wide as its share of the period, with soft borders.
        place = np.abs(np.mod(phase * count, 1.0) - 0.5) * 2  # 0 on the line's axis … 1 between
        gy, gx = np.gradient(phase * count)
        pixel = 2 * np.hypot(gx, gy) + 1e-6  # what one pixel is worth in `place`
        cover = smoothstep(-0.75, 0.75, (0.94 * strength - place) / pixel)
        ink = np.maximum(ink, np.where(strength > 0.01, cover, 0.0))
    contour = smoothstep(0.0036, 0.0016, edge_distance(parts) * (1 + 0.4 * np.tanh(60 * wander)))
    ink = np.maximum(ink, contour)

    # Paper: laid lines, foxing, and washes that pool at their borders and miss them a little.
    laid = np.sin(2 * np.pi * 150 * x) * 0.010 + 0.02 * Noise.make(rng, 160).grid(canvas)
    foxing = smoothstep(1.1, 2.6, Noise.make(rng, 9, octaves=3).grid(canvas))
    warm_part, cool_part = colors.part("warm"), colors.part("cool")
    paper = colors.paper * (1 + laid[..., None])
    paper = paper + 0.22 * foxing[..., None] * (warm_part.at(0.55) - paper)
    color = np.where(warm[..., None] > 0.5, warm_part.at(wash), cool_part.at(wash))
    slip = round(0.004 * canvas)
    color = np.roll(color, (slip, -slip), axis=(0, 1))
    pool = 1 - 0.9 * smoothstep(0.0, 0.012, np.roll(edge_distance(parts), (slip, -slip), (0, 1)))
    cloudy = 0.66 + 0.16 * Noise.make(rng, 10, octaves=3).grid(canvas) + 0.25 * pool
    strength = (tint * cloudy).clip(0, 1)[..., None]
    page = paper + strength * (color * (1 + laid[..., None]) - paper)
    pressed = (0.93 + 0.05 * Noise.make(rng, 110).grid(canvas)).clip(0.7, 1.0)
    cover = (ink * pressed)[..., None]
    return finish((page + cover * (colors.ink - page)).astype(np.float32))


def _country(
    rng: np.random.Generator, x: Array, y: Array
) -> tuple[Array, Array, Array, Array, Indices]:
    """Compose the lines' phase, darkness, the wash's tone and warmth, and numbered parts."""
    size = len(x)

    def noise(cells: int, octaves: int = 1) -> Array:
        return enlarge(Noise.make(rng, cells, octaves).grid(FIELD), size)

    # Sky: rays around the sun between rolling clouds.
    sx, sy = rng.uniform(0.2, 0.8), rng.uniform(0.14, 0.28)
    r, a = np.hypot(x - sx, y - sy), np.arctan2(y - sy, x - sx)
    rays = 0.5 + 0.5 * np.cos(a * int(rng.integers(18, 30)))
    form = np.asarray(r.copy(), np.float32)
    dark = 0.10 + 0.42 * smoothstep(0.05, 0.7, r) * (0.30 + 0.70 * rays)
    parts = np.zeros(x.shape, np.int64)
    wash = 0.66 + 0.24 * np.exp(-((r / 0.28) ** 2))
    warm = (r < 0.24 + 0.03 * np.sin(8 * a)).astype(np.float32)
    disc = r < 0.062
    dark, parts = np.where(disc, 0.06, dark), np.where(disc, 1, parts)
    flame = (r < 0.062 + 0.05 * np.abs(np.sin(8 * a)) ** 3) & ~disc
    dark, parts = np.where(flame, 0.10, dark), np.where(flame, 2, parts)
    warm = np.where(disc | flame, 1.0, warm)
    wash = np.where(disc, 0.62, np.where(flame, 0.45, wash))

    def lay(mask: Mask, phase: Array, darkness: Array, tone: Array | float, warmth: float) -> None:
        """Put a new part over what is there."""
        for field, value in ((form, phase), (dark, darkness), (wash, tone), (warm, warmth)):
            np.copyto(field, value, where=mask)
        parts[mask] = parts.max() + 1

    def balls(centres: list[tuple[float, float, float]], tone: float, warmth: float) -> None:
        """Heap up spheres (x, y, radius) as one part, each ruled along its latitudes."""
        number = parts.max() + 1
        for cx, cy, radius in centres:
            rows = slice(max(int((cy - radius) * size), 0), max(int((cy + radius) * size) + 2, 0))
            columns = slice(
                max(int((cx - radius) * size), 0), max(int((cx + radius) * size) + 2, 0)
            )
            box = (rows, columns)
            dx, dy = (x[box] - cx) / radius, (y[box] - cy) / radius
            flat = dx * dx + dy * dy
            towards = np.arctan2(sy - cy, sx - cx)
            shade = 0.50 - 0.48 * (dx * np.cos(towards) + dy * np.sin(towards))
            shade = shade - 0.20 * np.sqrt((1 - flat).clip(0)) + 0.35 * flat**4
            latitude = radius * (0.9 * np.arcsin(dy.clip(-1, 1)) + 0.25 * dx * dx)
            inside = flat < 1
            for field, value in (
                (form, latitude + cy),
                (dark, shade.clip(0.03, 0.97)),
                (wash, tone - 0.22 * shade),
                (warm, warmth),
            ):
                np.copyto(field[box], value, where=inside)
            parts[box][inside] = number

    # Clouds: heaps of balls, the far ones first.
    for _ in range(4):
        cx, cy, wide = rng.random(), rng.uniform(0.10, 0.42), rng.uniform(0.10, 0.2)
        heap = []
        for _ in range(11):
            off = rng.uniform(-1, 1)
            radius = rng.uniform(0.30, 0.5) * wide * (1.15 - off**2)
            heap.append((cx + off * wide, cy + rng.normal(0, 0.016) - 0.3 * radius, radius))
        balls(heap, 1.0, 0.0)
    # Mountains: ridges whose lines run down the slope.
    for index in range(4):
        depth = index / 3
        level = 0.44 + 0.13 * index
        peaks = Noise.make(rng, 4 + index, octaves=3)
        ridge = level - (0.085 - 0.015 * index) * peaks.grid(size)[size // 2][None, :]
        below = y > ridge
        fall = y - ridge
        fold = noise(5 + index, 3)
        lit = 0.5 + 0.5 * np.tanh(
            1.9 * np.gradient(fold + 14 * ridge, axis=1) * size / 14 * np.sign(sx - 0.5)
        )
        phase = 0.9 * y + 0.050 * fold + 0.08 * np.sin(5 * x + index) - 0.4 * (ridge - level)
        shade = (
            0.20
            + 0.52 * lit
            + 0.22 * depth
            - 0.9 * smoothstep(0.0, 0.25, fall) * (1 - depth) * 0.35
        )
        lay(
            below,
            phase,
            shade.clip(0.05, 0.95),
            0.44 + 0.16 * (1 - depth) + 0.10 * fold,
            float(index % 2 == 1),
        )
    # A lake with still lines in the valley.
    ly = rng.uniform(0.70, 0.76)
    lake = np.abs(y - ly - 0.012 * np.sin(9 * x)) < 0.050 * smoothstep(
        0.0, 0.5, 1 - np.abs(2 * x - 1 + 0.3 * (sx - 0.5))
    )
    gleam = np.exp(-(((x - sx) / 0.1) ** 2))
    lay(lake, y * 1.15, (0.50 - 0.44 * gleam + 0.12 * np.sin(400 * y)).clip(0.04, 0.9), 0.70, 0.0)
    # Round trees in front, and the grass they stand in.
    edge = 0.86 + 0.03 * np.sin(7 * x + rng.uniform(0, 6))
    tuft = noise(40)
    lay(
        y > edge + 0.006 * tuft,
        0.8 * x + 0.55 * y + 0.0045 * tuft,
        (0.45 + 0.25 * noise(9, 2)).clip(0.1, 0.95),
        0.55,
        0.0,
    )
    for index in range(7):
        tx, base = rng.random(), rng.uniform(0.84, 0.95)
        tall = rng.uniform(0.10, 0.20)
        stem = (np.abs(x - tx) < 0.008) & (y < base) & (y > base - tall)
        lay(stem, x * 1.6, np.full_like(x, 0.75), 0.3, 1.0)
        crown = rng.normal(0, 1, (9, 2)) * (0.034, 0.030) + (tx, base - tall)
        heap = [(px, py, rng.uniform(0.020, 0.045)) for px, py in crown]
        balls(heap, 0.60, float(index % 3 == 0))
    # Frame lines of the plate.
    rim = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    margin = rim < 0.022
    lay(margin, x + y, np.zeros_like(x), 0.97, 1.0)
    return (
        form.astype(np.float32),
        blur(dark.astype(np.float32), 0.0008),
        np.clip(wash, 0, 1).astype(np.float32),
        np.asarray(warm, np.float32),
        parts,
    )
