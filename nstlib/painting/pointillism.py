"""Pointillism: a river on a summer day, in dots of unmixed colour."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.brush import Canvas, brush_on
from nstlib.painting.canvas import (
    FIELD,
    SUPERSAMPLE,
    Array,
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
def pointillism(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "riverside",
    *,
    sails: Annotated[int, Range(0, 12, "boats on the water")] = 5,
    trees: Annotated[int, Range(0, 12, "trees on the bank")] = 5,
    dot: Annotated[float, Range(0.6, 2, "size of the dots")] = 1.0,
    division: Annotated[float, Range(0, 2, "how far neighbouring dots differ in colour")] = 1.0,
) -> Tensor:
    """Set a river, its sails and trees in dots; the eye mixes what the brush did not.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(pointillism(size=64, dot=2).shape)
        (1, 3, 64, 64)
    """
    rng = generator("pointillism", seed)
    colors = Palette(palette)
    warm, cool = colors.part("warm"), colors.part("cool")
    tone, warmth, angle = _river(rng, sails, trees)
    ground = 0.5 * (warm.at(tone) + cool.at(tone))
    canvas = Canvas.primed(
        np.stack([enlarge(ground[..., k], size * SUPERSAMPLE) for k in range(3)], -1)
    )
    hue = Noise.make(rng, 12, octaves=2).grid(FIELD)

    # From large dots to small: (how many, diameter, longest over widest, colour's scatter).
    layers = ((6000, 0.0185, 1.7, 0.07), (10500, 0.0138, 1.35, 0.10), (10000, 0.0110, 1.1, 0.13))
    for count, width, stretch, scatter in layers:
        count = int(count / dot**2)
        x, y = _evenly(rng, count)
        count = len(x)
        turn = look_up(angle, x, y) + 0.35 * rng.standard_normal(count)
        half = 0.5 * width * dot * stretch * rng.uniform(0.7, 1.15, count)
        steps = np.linspace(-1, 1, 3)
        path_x = (x[:, None] + (half * np.cos(turn))[:, None] * steps).astype(np.float32)
        path_y = (y[:, None] + (half * np.sin(turn))[:, None] * steps).astype(np.float32)
        # Division: each dot leans to the warm or the cool side of the colour that is meant.
        own = look_up(tone, x, y) + scatter * division * rng.standard_normal(count) * 0.7
        own = (own + 0.03 * look_up(hue, x, y)).astype(np.float32)
        lean = look_up(warmth, x, y) + 0.28 * division * rng.standard_normal(count)
        paint = np.where(lean[:, None] > 0.5, warm.nearest(own), cool.nearest(own))
        paint = paint * (1 + 0.06 * rng.standard_normal((count, 1)))
        brush_on(
            canvas,
            path_x,
            path_y,
            (width * dot * rng.uniform(0.75, 1.1, count)).astype(np.float32),
            paint.astype(np.float32),
            rng,
            bristles=4,
            streak=0.035,
            thickness=0.8,
            dryness=0.0,
            taper=0.75,
        )
    return finish(canvas.lit(0.20))


def _evenly(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Scatter about ``count`` points evenly, in random order: one in each cell of a lattice."""
    side = int(np.ceil(np.sqrt(count)))
    lattice = rng.permutation(side * side)
    x = (lattice % side + rng.random(side * side)) / side
    y = (lattice // side + rng.random(side * side)) / side
    return x.astype(np.float32) * 1.02 - 0.01, y.astype(np.float32) * 1.02 - 0.01


def _river(rng: np.random.Generator, sails: int, trees: int) -> tuple[Array, Array, Array]:
    """Compose tone, warmth and the dots' direction, all (F, F)."""
    x, y = pixel_centres(FIELD)
    horizon = rng.uniform(0.34, 0.42)
    sun_x = rng.uniform(0.25, 0.75)
    sun_y = horizon - rng.uniform(0.12, 0.2)
    r = np.hypot(x - sun_x, y - sun_y)
    clouds = Noise.make(rng, 5, octaves=3).grid(FIELD)
    # Sky: blue above, peach at the horizon, haloes around the sun.
    tone = 0.86 - 0.20 * (y / horizon) + 0.06 * clouds + 0.05 * np.cos(60 * r) * np.exp(-r / 0.25)
    warmth = 0.15 + 0.62 * smoothstep(0.3, 1.0, y / horizon) + 0.5 * np.exp(-((r / 0.17) ** 2))
    tone = tone + 0.24 * np.exp(-((r / 0.10) ** 2))
    tone = np.where(r < 0.045, 1.0, tone)
    angle = np.arctan2(x - sun_x, -(y - sun_y)) + 0.2 * clouds

    # Far bank: a low line of blue hills.
    hills = horizon - 0.025 - 0.03 * np.sin(6 * x + rng.uniform(0, 6)) - 0.012 * np.sin(21 * x)
    far = (y > hills) & (y < horizon)
    tone = np.where(far, 0.36 + 0.1 * np.sin(40 * x), tone)
    warmth = np.where(far, 0.25, warmth)

    # Water: horizontal ripples, the sun's path.
    water = y >= horizon
    near = (y - horizon) / (1 - horizon)
    ripple = np.sin(
        2 * np.pi * (26 * np.sqrt(near.clip(1e-4)) + 0.5 * np.sin(9 * x) + clouds * 0.35)
    )
    glitter = np.exp(-(((x - sun_x) / (0.035 + 0.16 * near)) ** 2))
    lake = 0.60 - 0.10 * near + 0.26 * np.tanh(3 * ripple) + glitter * (0.10 + 0.16 * ripple)
    tone = np.where(water, lake, tone)
    warmth = np.where(water, 0.10 + 0.78 * glitter * (ripple > -0.4), warmth)
    angle = np.where(water, 0.15 * ripple, angle)

    def dab(
        mask: Array, new_tone: Array | float, new_warmth: Array | float, turn: Array | float
    ) -> None:
        nonlocal tone, warmth, angle
        tone = np.where(mask, new_tone, tone)
        warmth = np.where(mask, new_warmth, warmth)
        angle = np.where(mask, turn, angle)

    # Sails, small far off, with their reflections.
    for index in range(sails):
        foot = horizon + (0.015 + 0.30 * (index / max(sails, 1)) ** 1.5)
        tall = 0.07 + 0.34 * (foot - horizon)
        sx = rng.uniform(0.06, 0.94)
        side = rng.choice([-1.0, 1.0])
        for flip, light in ((-1.0, 0.72), (1.0, 1.0)):
            h = (foot - y) * flip  # above the foot, or its mirror image below
            sway = 0.0 if flip > 0 else 0.006 * np.sin(160 * y)
            left = (x - sx + sway) * side
            sail = (h > 0) & (h < tall) & (left > 0) & (left < 0.42 * (tall - h))
            jib = (h > 0) & (h < 0.8 * tall) & (left < -0.004) & (left > -0.28 * (0.8 * tall - h))
            if flip > 0:
                dab(sail, light, 0.75, 1.2)
                dab(jib, 0.86 * light, 0.55, 1.9)
            else:
                dab((sail | jib) & (ripple > -0.3), light, 0.6, 0.0)
        hull = (np.abs(x - sx) < 0.28 * tall) & (np.abs(y - foot - 0.004) < 0.035 * tall + 0.002)
        dab(hull, 0.18, 0.9, 0.0)

    # The near bank: grass in sun and in shade, with flowers.
    slope = rng.choice([-1.0, 1.0])
    bank = 0.80 + 0.16 * slope * (x - 0.5) + 0.02 * np.sin(11 * x)
    grass = y > bank
    shade = smoothstep(-0.2, 0.5, Noise.make(rng, 4, octaves=2).grid(FIELD))
    dab(grass, 0.42 + 0.24 * shade, 0.08 + 0.34 * shade**2, -1.3 + 0.5 * clouds)
    dab((y > bank - 0.012) & (y < bank), 0.84, 0.9, 0.0)
    flowers = grass & (Noise.make(rng, 46).grid(FIELD) > 1.35)
    dab(flowers, 0.40 + 0.5 * (clouds > 0), 0.95, 0.0)

    # Trees: trunks with crowns of rounded masses, light towards the sun.
    for index in range(trees):
        at_left = (index % 2 == 0) == (slope > 0)
        tx = rng.uniform(0.02, 0.30) if at_left else rng.uniform(0.72, 0.98)
        base = 0.82 + 0.16 * slope * (tx - 0.5) + rng.uniform(0.0, 0.06)
        tall = rng.uniform(0.42, 0.72)
        trunk = np.abs(x - tx - 0.015 * np.sin(9 * y)) < 0.009 + 0.012 * (y - base + 0.1).clip(0)
        dab(trunk & (y < base) & (y > base - 0.7 * tall), 0.12, 0.7, 1.5)
        for _ in range(9):
            ox, oy = rng.normal(0, 0.065), rng.uniform(0.42, 1.0) * tall
            radius = rng.uniform(0.035, 0.075)
            dx, dy = x - tx - ox, y - (base - oy)
            crown = np.hypot(dx, 1.25 * dy) < radius * (1 + 0.16 * clouds)
            lit = ((dx * np.sign(sun_x - tx) - 0.8 * dy) / radius + 0.25 * clouds).clip(-1, 1)
            dab(crown, 0.42 + 0.24 * lit, 0.14 + 0.40 * (lit > 0.5), np.arctan2(dx, -dy))
        # Its shadow falls across the grass.
        shadow = grass & (np.abs(y - base - 0.02 - 0.25 * (tx - x) * np.sign(sun_x - tx)) < 0.022)
        dab(shadow & (np.abs(x - tx) < 0.30), 0.16, 0.05, 0.3)
    return (
        blur(np.clip(tone, 0, 1).astype(np.float32), 0.003),
        blur(np.clip(warmth, 0, 1).astype(np.float32), 0.004),
        angle.astype(np.float32),
    )
