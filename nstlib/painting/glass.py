"""Stained glass: a sun over hills and flowers, in leaded panes of uneven glass."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.canvas import (
    SUPERSAMPLE,
    Array,
    Indices,
    Noise,
    edge_distance,
    finish,
    generator,
    pixel_centres,
    relief,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter


@painter
def stained_glass(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "cathedral",
    *,
    panes: Annotated[
        int, Range(40, 800, "into how many panes the large shapes break, about")
    ] = 150,
    rays: Annotated[int, Range(6, 40, "rays of the sun")] = 18,
    flowers: Annotated[int, Range(0, 20, "flowers in front")] = 7,
    lead: Annotated[float, Range(0.5, 2, "width of the leads")] = 1.0,
) -> Tensor:
    """Lead a window: the sun's rings and rays above, hills, and flowers in front.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(stained_glass(size=64, flowers=3).shape)
        (1, 3, 64, 64)
    """
    rng = generator("stained_glass", seed)
    colors = Palette(palette)
    canvas = size * SUPERSAMPLE
    x, y = pixel_centres(canvas)
    shapes, tone_of, warm_of, whole, glow = _window(rng, x, y, rays, flowers)
    labels, cells = _break(rng, shapes, whole, x, y, panes)

    # One colour a pane, from its shape's part of the palette. Numbers are drawn for every pane
    # there could be: at a small size some are lost, and the others must keep their colours.
    tone = np.repeat(tone_of, cells)
    warm = np.repeat(warm_of, cells) > rng.uniform(0.02, 0.98, len(tone))
    tone = tone + rng.normal(0, 0.13, len(tone))
    warm_part, cool_part = colors.part("warm"), colors.part("cool")
    tone = np.clip(tone, 0.22, 1.0).astype(np.float32)
    pane = np.where(warm[:, None], warm_part.nearest(tone), cool_part.nearest(tone))

    # Glass: streaks that run another way in each pane, seeds (bubbles), a paler and a denser side.
    turn = rng.uniform(0, 2 * np.pi, len(tone)).astype(np.float32)[labels]
    streaks = np.stack([Noise.make(rng, cells, octaves=3).grid(canvas) for cells in (7, 22)])
    slope = (np.cos(turn) * (x - 0.5) + np.sin(turn) * (y - 0.5)) * 26
    ripple = np.sin(slope + 2.2 * streaks[0] + 5 * turn)
    density = 0.15 * ripple + 0.09 * streaks[1] + 0.045 * Noise.make(rng, 150).grid(canvas)
    light = 0.90 + 0.34 * glow + density
    distance = edge_distance(labels)
    # Old paint gathers along the leads and darkens the panes' rims.
    light = light * (0.58 + 0.42 * smoothstep(0.0, 0.014, distance))
    glass = pane[labels] * light[..., None]
    over = np.clip(glass - 0.85, 0, None).sum(-1, keepdims=True)
    glass = np.clip(glass + 0.30 * over, 0, 1)  # bright light washes a colour towards white

    # Leads: round bars, thicker between shapes than between panes of one shape.
    major = 0.0052 * lead
    minor = 0.0034 * lead
    shape_distance = edge_distance(shapes)
    bar = np.maximum(1 - (shape_distance / major) ** 2, 1 - (distance / minor) ** 2).clip(0.0)
    round_bar = np.sqrt(bar)
    inside = np.maximum(major - shape_distance, minor - distance)
    cover = (inside * canvas + 0.5).clip(0, 1)[..., None]  # half a pixel from the edge: half
    worn = Noise.make(rng, 60, octaves=2).grid(canvas)
    shine = relief(3.2 * round_bar + 0.12 * worn, 0.5)
    metal = colors.ink * (0.9 + 0.15 * worn[..., None]) + np.maximum(shine, 0)[..., None] * 0.42
    return finish((glass + cover * (metal - glass)).astype(np.float32))


def _window(
    rng: np.random.Generator, x: Array, y: Array, rays: int, flowers: int
) -> tuple[Indices, Array, Array, int, Array]:
    """Compose shapes (S, S), each shape's tone and warmth, and the sunlight (S, S).

    The fourth result is the number from which on shapes are small, and stay whole.
    """
    tones: list[float] = []
    warmths: list[float] = []

    def add(count: int, tone: object, warmth: object) -> int:
        """Number ``count`` more shapes; return the first number."""
        first = len(tones)
        tones.extend(np.broadcast_to(np.asarray(tone, float), count))
        warmths.extend(np.broadcast_to(np.asarray(warmth, float), count))
        return first

    cx, cy = rng.uniform(0.30, 0.70), rng.uniform(0.26, 0.36)
    r = np.hypot(x - cx, y - cy)
    angle = np.arctan2(y - cy, x - cx)
    # Sky: rays that bend a little, light and dark by turns, crossed by rings of cloud.
    spin = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.4)
    ray = np.mod((angle + spin * r + 0.12 * np.sin(9 * r)) / (2 * np.pi) * rays, rays)
    ray = np.minimum(ray.astype(np.int64), rays - 1)
    ring = np.minimum(((r - 0.15) / 0.17).clip(0) ** 0.9, 5).astype(np.int64)
    odd = np.arange(rays) % 2
    ring_number = np.repeat(np.arange(6), rays)
    odd = (np.tile(odd, 6) + ring_number) % 2
    first = add(
        6 * rays,
        np.where(odd, 0.72, 0.42) - 0.02 * ring_number,
        np.where(odd, 0.75 - 0.13 * ring_number, 0.10),
    )
    shapes = first + ring * rays + ray
    # Hills, cut along their slopes like ploughed land.
    for index, level in enumerate((0.62, 0.73, 0.84)):
        phase = rng.uniform(0, 6.28, 2)
        line = level + 0.055 * np.sin(5.5 * x + phase[0]) + 0.018 * np.sin(13 * x + phase[1])
        strips = 3
        strip = np.minimum(((y - line) / 0.055).clip(0), strips - 1).astype(np.int64)
        first = add(strips, 0.34 + 0.10 * index + 0.10 * (np.arange(strips) % 2), 0.25 * index)
        shapes = np.where(y > line, first + strip, shapes)
    whole = len(tones)
    # The sun: a heart and two rings of petals.
    for outer, sectors, tone, shift in (
        (0.15, 18, 0.62, 0.5),
        (0.105, 12, 0.86, 0.0),
        (0.055, 1, 1.0, 0.0),
    ):
        sector = np.mod((angle / (2 * np.pi) + 1) * sectors + shift, sectors).astype(np.int64)
        sector = np.minimum(sector, sectors - 1)
        first = add(sectors, tone + 0.12 * (np.arange(sectors) % 2), 1.0)
        shapes = np.where(r < outer, first + sector, shapes)
    # A river of light winds down from the horizon.
    bend = 0.5 + 0.16 * np.sin(8.5 * y + rng.uniform(0, 6.28)) + 0.3 * (cx - 0.5)
    breadth = 0.02 + 0.20 * (y - 0.62).clip(0)
    reach = np.minimum(((y - 0.62) / 0.075).clip(0), 5).astype(np.int64)
    first = add(6, 0.66 + 0.12 * (np.arange(6) % 2), 0.0)
    shapes = np.where((np.abs(x - bend) < breadth) & (y > 0.64), first + reach, shapes)
    # Flowers on stems.
    for index in range(flowers):
        fx = (index + rng.uniform(0.25, 0.75)) / max(flowers, 1)
        fy, size = rng.uniform(0.68, 0.86), rng.uniform(0.045, 0.072)
        stem = np.abs(x - fx - 0.02 * np.sin(14 * (y - fy))) < 0.009
        leaf_y = fy + 0.6 * (1 - fy)
        leaf = np.hypot(
            (np.abs(x - fx) - 0.032) / 0.030, (y - leaf_y + 0.9 * np.abs(x - fx)) / 0.016
        )
        green = add(1, 0.46, 0.0)
        shapes = np.where((stem & (y > fy)) | (leaf < 1), green, shapes)
        fr, fa = np.hypot(x - fx, y - fy), np.arctan2(y - fy, x - fx)
        petals = int(rng.integers(5, 8))
        turn = np.mod((fa + rng.uniform(0, 6)) / (2 * np.pi) * petals, petals)
        rim = size * (0.72 + 0.28 * np.abs(np.sin(np.pi * turn)))
        first = add(
            petals,
            rng.choice([0.40, 0.55, 0.72]) + 0.1 * (np.arange(petals) % 2),
            rng.choice([1.0, 1.0, 0.3]),
        )
        shapes = np.where(fr < rim, first + np.minimum(turn.astype(np.int64), petals - 1), shapes)
        heart = add(1, 0.95, 1.0)
        shapes = np.where(fr < 0.32 * size, heart, shapes)
    # Frame: a border of small panes.
    rim = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    run = np.where(np.minimum(x, 1 - x) < np.minimum(y, 1 - y), y, x)
    side = 2 * (np.minimum(x, 1 - x) < np.minimum(y, 1 - y)) + ((x > 0.5) & (y > 1 - x))
    cells = 14
    number = side * cells + np.minimum((run * cells).astype(np.int64), cells - 1)
    first = add(
        4 * cells, np.where(np.arange(4 * cells) % 2, 0.80, 0.38), np.arange(4 * cells) % 3 != 0
    )
    shapes = np.where(rim < 0.040, first + number, shapes)
    glow = np.exp(-((r / 0.34) ** 2)).astype(np.float32)
    return shapes, np.array(tones), np.array(warmths), whole, glow


def _break(
    rng: np.random.Generator, shapes: Indices, whole: int, x: Array, y: Array, panes: int
) -> tuple[Indices, int]:
    """Break shapes below ``whole`` along a Voronoi diagram.

    Returns pane numbers (S, S), shape x cells + cell, and the number of cells.
    """
    side = int(np.ceil(np.sqrt(panes)))
    lattice = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)
    centres = (lattice + rng.uniform(0.05, 0.95, lattice.shape)) / side
    _, cell = cKDTree(centres).query(np.stack([x.ravel(), y.ravel()], 1))
    broken = np.where(shapes < whole, cell.reshape(shapes.shape), 0)
    return shapes * len(centres) + broken, len(centres)
