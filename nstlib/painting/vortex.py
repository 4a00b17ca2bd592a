"""Vortex: a post-impressionist night, every stroke laid along the wind."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.brush import Canvas, brush_on, trace
from nstlib.painting.canvas import (
    FIELD,
    SUPERSAMPLE,
    Array,
    Mask,
    Noise,
    blur,
    enlarge,
    finish,
    generator,
    look_up,
    pixel_centres,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter


@painter
def vortex(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "night",
    *,
    stars: Annotated[int, Range(0, 24, "stars that turn the sky")] = 9,
    swirl: Annotated[float, Range(0, 3, "how strongly they turn it")] = 1.0,
    strokes: Annotated[float, Range(0.5, 2, "length and width of the strokes")] = 1.0,
    broken: Annotated[float, Range(0, 3, "how far neighbouring strokes differ in colour")] = 1.0,
) -> Tensor:
    """Paint a turning sky over hills, in strokes that follow the wind around each star.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(vortex(size=64, seed=1).shape)
        (1, 3, 64, 64)
    """
    rng = generator("vortex", seed)
    colors = Palette(palette)
    flow, tone, ground = _night(rng, stars, swirl)
    ramp = colors.at(enlarge(tone, size * SUPERSAMPLE))
    canvas = Canvas.primed(0.8 * ramp)
    hue = Noise.make(rng, 9).grid(FIELD)

    # From broad to fine: (how many, length, width, how far a stroke's tone strays).
    layers = ((1500, 0.130, 0.0220, 0.06), (2600, 0.090, 0.0150, 0.09), (2700, 0.062, 0.0105, 0.12))
    for index, (count, length, width, stray) in enumerate(layers):
        count = int(count / strokes**2)
        x, y = rng.random((2, count)).astype(np.float32) * 1.04 - 0.02
        lengths = length * strokes * rng.uniform(0.55, 1.0, count).astype(np.float32)
        widths = width * strokes * rng.uniform(0.7, 1.0, count).astype(np.float32)
        path_x, path_y = trace(x, y, flow, lengths)
        own = look_up(tone, x, y) + 0.02 * look_up(hue, x, y)
        own += stray * broken * rng.standard_normal(count).astype(np.float32)
        # A few strokes jump to the other end of the palette: the sparkle of broken colour.
        jumps = rng.random(count) < 0.05 * broken
        own = np.where(jumps, own + 0.32 * np.sign(0.5 - own), own)
        # Land and trees are drawn without the palette's lights.
        own = np.where(look_up(ground, x, y) > 0.5, np.minimum(own, 0.72), own)
        paint = 0.35 * colors.at(own) + 0.65 * colors.nearest(own)
        # Light strokes go on last in each layer, as thick touches.
        order = np.argsort(own + 0.25 * rng.standard_normal(count), kind="stable")
        brush_on(
            canvas,
            path_x[order],
            path_y[order],
            widths[order],
            paint[order].astype(np.float32),
            rng,
            bristles=9 if index == 0 else 6,
            thickness=(0.8, 1.0, 1.1)[index],
        )
    return finish(canvas.lit(0.22))


def _night(rng: np.random.Generator, stars: int, swirl: float) -> tuple[Array, Array, Array]:
    """Compose flow (F, F, 2), tone (F, F) and where it is dark ground (F, F)."""
    x, y = pixel_centres(FIELD)
    slope, base, phase = rng.uniform(-0.12, 0.12), rng.uniform(0.70, 0.80), rng.uniform(0, 6.28, 4)
    waves = 0.035 * np.sin(7 * x + phase[0]) + 0.018 * np.sin(17 * x + phase[1])
    far = base + slope * (x - 0.5) + waves
    waves = 0.030 * np.sin(6 * x + phase[2]) + 0.010 * np.sin(23 * x + phase[3])
    near = base + 0.11 - slope * (x - 0.5) + waves

    flow, tone, moon_x = _sky(rng, x, y, stars, swirl)

    def lay(where: Mask, angle: Array, new_tone: Array) -> None:
        np.copyto(tone, new_tone, where=where, casting="same_kind")
        flow[where] = np.stack([np.cos(angle), np.sin(angle)], -1)[where]

    for line, low, high in ((far, 0.10, 0.50), (near, 0.02, 0.40)):
        along = np.arctan(np.gradient(line, axis=1) * FIELD) + 0.25 * np.sin(11 * x + 14 * y)
        furrow = 0.5 + 0.5 * np.sin((y - line) * 110 + 3 * np.sin(9 * x + phase[0]))
        crest = np.exp(-((y - line).clip(0) * 22))  # the sky's light catches the ridge
        lay(y > line, along, low + (high - low) * (0.55 * furrow**2 + 0.75 * crest))
        np.copyto(tone, 0.03, where=np.abs(y - line) < 0.006)
    # Wheat catches the light before the near hills.
    wheat = (y > near + 0.02) & (Noise.make(rng, 4).grid(FIELD) + 5 * (y - near - 0.06) > -0.1)
    swaths = 0.66 + 0.24 * np.sin((y - near) * 150 + 4 * np.sin(8 * x))
    np.copyto(tone, swaths, where=wheat, casting="same_kind")
    trees = _cypress(rng, x, y, moon_x)
    flames = 0.5 + 0.5 * np.sin(95 * x + 9 * np.sin(13 * y))
    lay(trees, -np.pi / 2 + 0.35 * np.sin(30 * y + 9 * x), 0.03 + 0.20 * flames**2)
    ground = (((y >= far) & ~wheat) | trees).astype(np.float32)
    return blur(flow, 0.004), tone.clip(0, 1), ground


def _sky(
    rng: np.random.Generator, x: Array, y: Array, stars: int, swirl: float
) -> tuple[Array, Array, float]:
    """Compose the wind (F, F, 2), the sky's tone, and where the moon is.

    A wavy breeze carries two great eddies that roll into each other, and a ring at each star.
    """
    breeze = 0.55 * Noise.make(rng, 3).grid(FIELD)
    wind = np.stack([np.cos(breeze), np.sin(breeze)], -1)
    tone = 0.26 + 0.06 * Noise.make(rng, 4, octaves=2).grid(FIELD)

    def wheel(
        cx: float, cy: float, reach: float, turn: float, inward: float
    ) -> tuple[Array, Array]:
        """Turn the wind around a place; return polar coordinates about it."""
        dx, dy = x - cx, y - cy
        r = np.hypot(dx, dy) + 1e-4
        pull = swirl * np.exp(-((r / reach) ** 2)) / r
        wind[..., 0] += pull * (-turn * dy - inward * dx)
        wind[..., 1] += pull * (turn * dx - inward * dy)
        return r, np.arctan2(dy, dx)

    turn = rng.choice([-1.0, 1.0])
    middle = (rng.uniform(0.38, 0.60), rng.uniform(0.30, 0.44))
    tilt = rng.uniform(-0.5, 0.5)
    axis = np.array([np.cos(tilt), np.sin(tilt)])
    eddies = [tuple(middle - 0.12 * axis), tuple(middle + 0.13 * axis)]
    for (cx, cy), radius, sign in zip(eddies, (0.17, 0.13), (turn, -turn), strict=True):
        # Paths spiral in: a closed ring would look like a target.
        r, angle = wheel(cx, cy, radius, 4.5 * sign, 1.26)
        arms = np.cos(2.0 * angle * sign + 38.0 * r)
        tone += 0.20 * np.exp(-((r / (1.15 * radius)) ** 2)) * (0.55 + arms)
    centres = _scatter(rng, stars, eddies)
    for index, (cx, cy) in enumerate(centres):  # the first is the moon
        radius = 0.125 if index == 0 else float(rng.uniform(0.055, 0.09))
        r, _ = wheel(cx, cy, 1.2 * radius, 6.0 * rng.choice([-1.0, 1.0]), 0.0)
        halo = np.exp(-((r / radius) ** 2)) * (0.75 + 0.25 * np.cos(r / radius * 9.0))
        core = smoothstep(0.42 * radius, 0.28 * radius, r)
        tone = np.maximum(tone + 0.58 * halo, core * 0.97)

    wind /= np.linalg.norm(wind, axis=-1, keepdims=True) + 1e-6
    # Streaks: noise smeared along the wind, so that bands of light run with it.
    tone = tone + 0.16 * _smear(Noise.make(rng, 22).grid(FIELD), wind)
    return wind, tone, centres[0][0] if centres else 0.5


def _scatter(
    rng: np.random.Generator, stars: int, eddies: list[tuple[float, float]]
) -> list[tuple[float, float]]:
    """Place stars in the sky, each far from those before and from the eddies' hearts."""
    corner = (0.86, 0.16) if rng.random() < 0.5 else (0.14, 0.16)
    placed = [corner] if stars else []
    while len(placed) < stars:
        tries = rng.random((40, 2)) * (0.96, 0.62) + (0.02, 0.03)
        others = np.array([*placed, *eddies])
        gaps = np.linalg.norm(tries[:, None] - others[None], axis=2).min(1)
        best = tries[np.argmax(gaps)]
        placed.append((float(best[0]), float(best[1])))
    return placed


def _smear(field: Array, flow: Array, steps: int = 16) -> Array:
    """Average a field along the flow (line integral convolution), then restore unit deviation."""
    x, y = pixel_centres(FIELD)
    total = field.copy()
    for sign in (-1.0, 1.0):
        px, py = x, y
        for _ in range(steps):
            dx, dy = look_up(flow[..., 0], px, py), look_up(flow[..., 1], px, py)
            px, py = px + sign * dx / 170, py + sign * dy / 170
            total += look_up(field, px, py)
    return np.asarray(total / (total.std() + 1e-6), dtype=np.float32)


def _cypress(rng: np.random.Generator, x: Array, y: Array, moon_x: float) -> Mask:
    """Draw the silhouette of two cypresses at the side away from the moon."""
    trees = np.zeros(x.shape, bool)
    foot = rng.uniform(0.10, 0.22) if moon_x > 0.5 else rng.uniform(0.74, 0.86)
    for shift, top, half in (
        (0.0, rng.uniform(0.12, 0.3), 0.075),
        (0.09, rng.uniform(0.45, 0.6), 0.05),
    ):
        height = np.clip((y - top) / (1.0 - top), 0, 1)
        sway = 0.018 * np.sin(9 * y + foot * 20) + 0.01 * np.sin(31 * y)
        width = half * height**0.75 * (1 + 0.16 * np.sin(47 * y + 5 * shift))
        trees |= (np.abs(x - foot - shift - sway) < width) & (y > top)
    return trees
