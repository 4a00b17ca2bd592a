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
    Noise,
    blur,
    edge_distance,
    enlarge,
    finish,
    from_edge,
    generator,
    pixel_centres,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter
from nstlib.painting.scene import Scene


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
    scene = _country(rng, x, y)
    dark, borders = blur(scene["dark"], 0.0008), edge_distance(scene.parts)

    # Each set of lines: its phase across the plate, and from which darkness on it is cut.
    wander = 0.006 * Noise.make(rng, 7, octaves=2).grid(canvas)
    count = 68 * lines
    sets = (
        (scene["phase"], 0.02, 1.00),
        (
            0.50 * scene["phase"] + 0.87 * (0.6 * x + 0.8 * y) + wander,
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
    contour = smoothstep(0.0036, 0.0016, borders * (1 + 0.4 * np.tanh(60 * wander)))
    ink = np.maximum(ink, contour)

    # Paper: laid lines, foxing, and washes that pool at their borders and miss them a little.
    laid = np.sin(2 * np.pi * 150 * x) * 0.010 + 0.02 * Noise.make(rng, 160).grid(canvas)
    foxing = smoothstep(1.1, 2.6, Noise.make(rng, 9, octaves=3).grid(canvas))
    warm_part, cool_part = colors.part("warm"), colors.part("cool")
    paper = colors.paper * (1 + laid[..., None])
    paper = paper + 0.22 * foxing[..., None] * (warm_part.at(0.55) - paper)
    tone, warm = scene["tone"], scene["warmth"][..., None] > 0.5
    color = np.where(warm, warm_part.at(tone), cool_part.at(tone))
    slip = round(0.004 * canvas)
    color = np.roll(color, (slip, -slip), axis=(0, 1))
    pool = 1 - 0.9 * smoothstep(0.0, 0.012, np.roll(borders, (slip, -slip), (0, 1)))
    cloudy = 0.66 + 0.16 * Noise.make(rng, 10, octaves=3).grid(canvas) + 0.25 * pool
    strength = (tint * cloudy).clip(0, 1)[..., None]
    page = paper + strength * (color * (1 + laid[..., None]) - paper)
    pressed = (0.93 + 0.05 * Noise.make(rng, 110).grid(canvas)).clip(0.7, 1.0)
    cover = (ink * pressed)[..., None]
    return finish((page + cover * (colors.ink - page)).astype(np.float32))


def _country(rng: np.random.Generator, x: Array, y: Array) -> Scene:
    """Compose the lines' phase, how dark they are, and the wash's tone and warmth."""
    sun = (rng.uniform(0.2, 0.8), rng.uniform(0.14, 0.28))
    scene = _radiance(rng, x, y, sun)
    for _ in range(4):
        _cloud(rng, scene, sun)
    for index in range(4):
        _mountain(rng, scene, sun, index)
    _lake(rng, scene, sun)
    _trees(rng, scene, sun)
    rim, _ = from_edge(x, y)
    scene.put(rim < 0.022, phase=x + y, dark=0.0, tone=0.97, warmth=1.0)  # the plate's margin
    return scene


def _radiance(rng: np.random.Generator, x: Array, y: Array, sun: tuple[float, float]) -> Scene:
    """Begin with the sky: rings around a sun with a face of flames, darker between its rays."""
    r, angle = np.hypot(x - sun[0], y - sun[1]), np.arctan2(y - sun[1], x - sun[0])
    rays = 0.5 + 0.5 * np.cos(angle * int(rng.integers(18, 30)))
    scene = Scene.blank(
        x,
        y,
        phase=r,
        dark=0.10 + 0.42 * smoothstep(0.05, 0.7, r) * (0.30 + 0.70 * rays),
        tone=0.66 + 0.24 * np.exp(-((r / 0.28) ** 2)),
        warmth=(r < 0.24 + 0.03 * np.sin(8 * angle)).astype(np.float32),
    )
    scene.put(r < 0.062 + 0.05 * np.abs(np.sin(8 * angle)) ** 3, dark=0.10, tone=0.45, warmth=1.0)
    scene.put(r < 0.062, dark=0.06, tone=0.62)
    return scene


def _heap(
    scene: Scene,
    balls: list[tuple[float, float, float]],
    sun: tuple[float, float],
    tone: float,
    warmth: float,
) -> None:
    """Heap up spheres (x, y, radius) as one part, each ruled along its latitudes."""
    part = scene.new_part()
    for cx, cy, radius in balls:
        near = scene.around(cx, cy, radius)
        dx, dy = (near.x - cx) / radius, (near.y - cy) / radius
        flat = dx * dx + dy * dy
        towards = np.arctan2(sun[1] - cy, sun[0] - cx)
        shade = 0.50 - 0.48 * (dx * np.cos(towards) + dy * np.sin(towards))
        shade = shade - 0.20 * np.sqrt((1 - flat).clip(0)) + 0.35 * flat**4
        latitude = radius * (0.9 * np.arcsin(dy.clip(-1, 1)) + 0.25 * dx * dx)
        near.put(
            flat < 1,
            part,
            phase=latitude + cy,
            dark=shade.clip(0.03, 0.97),
            tone=tone - 0.22 * shade,
            warmth=warmth,
        )


def _cloud(rng: np.random.Generator, scene: Scene, sun: tuple[float, float]) -> None:
    cx, cy, wide = rng.random(), rng.uniform(0.10, 0.42), rng.uniform(0.10, 0.2)
    balls = []
    for _ in range(11):
        off = rng.uniform(-1, 1)
        radius = rng.uniform(0.30, 0.5) * wide * (1.15 - off**2)
        balls.append((cx + off * wide, cy + rng.normal(0, 0.016) - 0.3 * radius, radius))
    _heap(scene, balls, sun, 1.0, 0.0)


def _mountain(rng: np.random.Generator, scene: Scene, sun: tuple[float, float], index: int) -> None:
    """Put the next nearer ridge: its lines bend over folds, dark on the side away from the sun."""
    x, y, size = scene.x, scene.y, len(scene.x)
    depth = index / 3
    level = 0.44 + 0.13 * index
    peaks = Noise.make(rng, 4 + index, octaves=3).grid(size)[size // 2]
    ridge = level - (0.085 - 0.015 * index) * peaks[None, :]
    fold = _noise(rng, size, 5 + index, 3)
    slope = np.gradient(fold + 14 * ridge, axis=1) * size * np.sign(sun[0] - 0.5)
    lit = 0.5 + 0.5 * np.tanh(0.136 * slope)
    haze = 0.315 * smoothstep(0.0, 0.25, y - ridge) * (1 - depth)
    scene.put(
        y > ridge,
        phase=0.9 * y + 0.050 * fold + 0.08 * np.sin(5 * x + index) - 0.4 * (ridge - level),
        dark=(0.20 + 0.52 * lit + 0.22 * depth - haze).clip(0.05, 0.95),
        tone=0.44 + 0.16 * (1 - depth) + 0.10 * fold,
        warmth=float(index % 2),
    )


def _lake(rng: np.random.Generator, scene: Scene, sun: tuple[float, float]) -> None:
    """Put still water in the valley, with the sun's gleam."""
    x, y = scene.x, scene.y
    middle = rng.uniform(0.70, 0.76) + 0.012 * np.sin(9 * x)
    breadth = 0.050 * smoothstep(0.0, 0.5, 1 - np.abs(2 * x - 1 + 0.3 * (sun[0] - 0.5)))
    gleam = np.exp(-(((x - sun[0]) / 0.1) ** 2))
    dark = (0.50 - 0.44 * gleam + 0.12 * np.sin(400 * y)).clip(0.04, 0.9)
    scene.put(np.abs(y - middle) < breadth, phase=y * 1.15, dark=dark, tone=0.70, warmth=0.0)


def _trees(rng: np.random.Generator, scene: Scene, sun: tuple[float, float]) -> None:
    """Put grass in front, and round trees in it."""
    x, y, size = scene.x, scene.y, len(scene.x)
    edge = 0.86 + 0.03 * np.sin(7 * x + rng.uniform(0, 6))
    tuft = _noise(rng, size, 40)
    scene.put(
        y > edge + 0.006 * tuft,
        phase=0.8 * x + 0.55 * y + 0.0045 * tuft,
        dark=(0.45 + 0.25 * _noise(rng, size, 9, 2)).clip(0.1, 0.95),
        tone=0.55,
        warmth=0.0,
    )
    for index in range(7):
        tx, base = rng.random(), rng.uniform(0.84, 0.95)
        tall = rng.uniform(0.10, 0.20)
        stem = (np.abs(x - tx) < 0.008) & (y < base) & (y > base - tall)
        scene.put(stem, phase=x * 1.6, dark=0.75, tone=0.3, warmth=1.0)
        crown = rng.normal(0, 1, (9, 2)) * (0.034, 0.030) + (tx, base - tall)
        balls = [(px, py, rng.uniform(0.020, 0.045)) for px, py in crown]
        _heap(scene, balls, sun, 0.60, float(index % 3 == 0))


def _noise(rng: np.random.Generator, size: int, cells: int, octaves: int = 1) -> Array:
    return enlarge(Noise.make(rng, cells, octaves).grid(FIELD), size)
