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
    Mask,
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
    design, large, glow = _window(rng, x, y, rays, flowers)
    labels, cells = _break(rng, design, large, panes)

    # One colour a pane, from its shape's part of the palette. Numbers are drawn for every pane
    # there could be: at a small size some are lost, and the others must keep their colours.
    tone = np.repeat(design.tones, cells)
    warm = np.repeat(design.warmths, cells) > rng.uniform(0.02, 0.98, len(tone))
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
    shape_distance = edge_distance(design.shapes)
    bar = np.maximum(1 - (shape_distance / major) ** 2, 1 - (distance / minor) ** 2).clip(0.0)
    round_bar = np.sqrt(bar)
    inside = np.maximum(major - shape_distance, minor - distance)
    cover = (inside * canvas + 0.5).clip(0, 1)[..., None]  # half a pixel from the edge: half
    worn = Noise.make(rng, 60, octaves=2).grid(canvas)
    shine = relief(3.2 * round_bar + 0.12 * worn, 0.5)
    metal = colors.ink * (0.9 + 0.15 * worn[..., None]) + np.maximum(shine, 0)[..., None] * 0.42
    return finish((glass + cover * (metal - glass)).astype(np.float32))


class Design:
    """A cartoon for a window: which shape each place belongs to, and each shape's colour."""

    def __init__(self, x: Array, y: Array) -> None:
        self.x, self.y = x, y
        self.shapes: Indices = np.zeros(x.shape, np.int64)
        self.tones: list[float] = []
        self.warmths: list[float] = []

    def put(
        self,
        where: Mask,
        number: Indices | int,
        count: int,
        tone: Array | float,
        warmth: Array | float,
    ) -> None:
        """Cover places with ``count`` new shapes; ``number`` says which of them, from 0."""
        np.copyto(self.shapes, len(self.tones) + number, where=where)
        self.tones.extend(np.broadcast_to(tone, count))
        self.warmths.extend(np.broadcast_to(warmth, count))


def _window(
    rng: np.random.Generator, x: Array, y: Array, rays: int, flowers: int
) -> tuple[Design, int, Array]:
    """Compose the window; return its design, how many shapes may break, and the sunlight (S, S)."""
    design = Design(x, y)
    sun = (rng.uniform(0.30, 0.70), rng.uniform(0.26, 0.36))
    _sky(rng, design, sun, rays)
    for index, level in enumerate((0.62, 0.73, 0.84)):  # hills, ploughed along their slopes
        phase = rng.uniform(0, 6.28, 2)
        line = level + 0.055 * np.sin(5.5 * x + phase[0]) + 0.018 * np.sin(13 * x + phase[1])
        strip = np.minimum(((y - line) / 0.055).clip(0), 2).astype(np.int64)
        tones = 0.34 + 0.10 * index + 0.10 * (np.arange(3) % 2)
        design.put(y > line, strip, 3, tones, 0.25 * index)
    large = len(design.tones)
    _sun(design, sun)
    _stream(rng, design, sun)
    for index in range(flowers):
        _flower(rng, design, (index + rng.uniform(0.25, 0.75)) / flowers)
    _border(design)
    glow = np.exp(-(((x - sun[0]) ** 2 + (y - sun[1]) ** 2) / 0.34**2))
    return design, large, glow


def _sectors(angle: Array, count: int, shift: float = 0.0) -> Indices:
    """Number the sectors of a circle, ``count`` of them."""
    turns: Indices = np.mod(angle / (2 * np.pi) * count + shift, count).astype(np.int64)
    return np.minimum(turns, count - 1)


def _sky(rng: np.random.Generator, design: Design, sun: tuple[float, float], rays: int) -> None:
    """Put rays that bend a little, light and dark by turns, crossed by rings of cloud."""
    dx, dy = design.x - sun[0], design.y - sun[1]
    r = np.hypot(dx, dy)
    spin = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.4)
    ray = _sectors(np.arctan2(dy, dx) + spin * r + 0.12 * np.sin(9 * r), rays)
    rings = 6
    ring = np.minimum(((r - 0.15) / 0.17).clip(0) ** 0.9, rings - 1).astype(np.int64)
    outward = np.repeat(np.arange(rings), rays)
    odd = (np.tile(np.arange(rays), rings) + outward) % 2 == 1
    tones = np.where(odd, 0.72, 0.42) - 0.02 * outward
    warmths = np.where(odd, 0.75 - 0.13 * outward, 0.10)
    design.put(np.ones(r.shape, bool), ring * rays + ray, rings * rays, tones, warmths)


def _sun(design: Design, sun: tuple[float, float]) -> None:
    """Put a heart and two rings of petals."""
    dx, dy = design.x - sun[0], design.y - sun[1]
    r, angle = np.hypot(dx, dy), np.arctan2(dy, dx)
    for outer, count, tone, shift in (
        (0.15, 18, 0.62, 0.5),
        (0.105, 12, 0.86, 0),
        (0.055, 1, 1, 0),
    ):
        tones = tone + 0.12 * (np.arange(count) % 2)
        design.put(r < outer, _sectors(angle, count, shift), count, tones, 1.0)


def _stream(rng: np.random.Generator, design: Design, sun: tuple[float, float]) -> None:
    """Put a stream that winds down from the horizon, in pieces."""
    y = design.y
    middle = 0.5 + 0.16 * np.sin(8.5 * y + rng.uniform(0, 6.28)) + 0.3 * (sun[0] - 0.5)
    breadth = 0.02 + 0.20 * (y - 0.62).clip(0)
    piece = np.minimum(((y - 0.62) / 0.075).clip(0), 5).astype(np.int64)
    tones = 0.66 + 0.12 * (np.arange(6) % 2)
    design.put((np.abs(design.x - middle) < breadth) & (y > 0.64), piece, 6, tones, 0.0)


def _flower(rng: np.random.Generator, design: Design, at: float) -> None:
    """Put a stem with two leaves, petals, and a heart."""
    top, radius = rng.uniform(0.68, 0.86), rng.uniform(0.045, 0.072)
    x, y = design.x - at, design.y - top
    stem = (np.abs(x - 0.02 * np.sin(14 * y)) < 0.009) & (y > 0)
    rise = y - 0.6 * (1 - top) + 0.9 * np.abs(x)
    leaves = np.hypot((np.abs(x) - 0.032) / 0.030, rise / 0.016) < 1
    design.put(stem | leaves, 0, 1, 0.46, 0.0)
    r, angle = np.hypot(x, y), np.arctan2(y, x) + rng.uniform(0, 6)
    petals = int(rng.integers(5, 8))
    edge = radius * (0.72 + 0.28 * np.abs(np.sin(0.5 * petals * angle)))
    tones = rng.choice([0.40, 0.55, 0.72]) + 0.1 * (np.arange(petals) % 2)
    design.put(r < edge, _sectors(angle, petals), petals, tones, rng.choice([1.0, 1.0, 0.3]))
    design.put(r < 0.32 * radius, 0, 1, 0.95, 1.0)


def _border(design: Design) -> None:
    """Put a border of small panes around it all."""
    across, down = np.minimum(design.x, 1 - design.x), np.minimum(design.y, 1 - design.y)
    upright = across < down
    beyond = (design.x > 0.5) & (design.y > 1 - design.x)  # right and bottom, not left and top
    cells = 14
    run = np.where(upright, design.y, design.x)
    number = (2 * upright + beyond) * cells + np.minimum((run * cells).astype(np.int64), cells - 1)
    order = np.arange(4 * cells)
    tones = np.where(order % 2, 0.80, 0.38)
    design.put(np.minimum(across, down) < 0.040, number, 4 * cells, tones, 1.0 * (order % 3 != 0))


def _break(rng: np.random.Generator, design: Design, large: int, panes: int) -> tuple[Indices, int]:
    """Break the large shapes, numbered below ``large``, along a Voronoi diagram.

    Returns pane numbers (S, S), shape x cells + cell, and the number of cells.
    """
    side = int(np.ceil(np.sqrt(panes)))
    lattice = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2)
    centres = (lattice + rng.uniform(0.05, 0.95, lattice.shape)) / side
    _, cell = cKDTree(centres).query(np.stack([design.x.ravel(), design.y.ravel()], 1))
    broken = np.where(design.shapes < large, cell.reshape(design.shapes.shape), 0)
    return design.shapes * len(centres) + broken, len(centres)
