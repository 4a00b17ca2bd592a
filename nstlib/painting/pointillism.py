"""Pointillism: a river on a summer day, in dots of unmixed colour."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.brush import Canvas, brush_on, straight
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
from nstlib.painting.scene import Scene


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
    scene = _river(rng, sails, trees)
    tone, warmth = blur(scene["tone"].clip(0, 1), 0.003), blur(scene["warmth"].clip(0, 1), 0.004)
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
        turn = look_up(scene["angle"], x, y) + 0.35 * rng.standard_normal(count)
        length = width * dot * stretch * rng.uniform(0.7, 1.15, count)
        # Division: each dot leans to the warm or the cool side of the colour that is meant.
        own = look_up(tone, x, y) + scatter * division * rng.standard_normal(count) * 0.7
        own = (own + 0.03 * look_up(hue, x, y)).astype(np.float32)
        lean = look_up(warmth, x, y) + 0.28 * division * rng.standard_normal(count)
        paint = np.where(lean[:, None] > 0.5, warm.nearest(own), cool.nearest(own))
        paint = paint * (1 + 0.06 * rng.standard_normal((count, 1)))
        brush_on(
            canvas,
            *straight(x, y, turn, length),
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


def _river(rng: np.random.Generator, sails: int, trees: int) -> Scene:
    """Compose tone, warmth and the dots' direction: sky, water, then the near bank."""
    x, y = pixel_centres(FIELD)
    horizon, sun_x = rng.uniform(0.34, 0.42), rng.uniform(0.25, 0.75)
    sun_y = horizon - rng.uniform(0.12, 0.2)
    clouds = Noise.make(rng, 5, octaves=3).grid(FIELD)
    # Sky: blue above, peach at the horizon, haloes around the sun.
    r = np.hypot(x - sun_x, y - sun_y)
    haloes = 0.05 * np.cos(60 * r) * np.exp(-r / 0.25) + 0.24 * np.exp(-((r / 0.10) ** 2))
    scene = Scene.blank(
        x,
        y,
        tone=0.86 - 0.20 * (y / horizon) + 0.06 * clouds + haloes,
        warmth=0.15 + 0.62 * smoothstep(0.3, 1, y / horizon) + 0.5 * np.exp(-((r / 0.17) ** 2)),
        angle=np.arctan2(x - sun_x, -(y - sun_y)) + 0.2 * clouds,
    )
    scene.put(r < 0.045, tone=1.0)
    # The far bank: a low line of blue hills.
    hills = horizon - 0.025 - 0.03 * np.sin(6 * x + rng.uniform(0, 6)) - 0.012 * np.sin(21 * x)
    scene.put((y > hills) & (y < horizon), tone=0.36 + 0.1 * np.sin(40 * x), warmth=0.25)
    ripple = _water(scene, horizon, sun_x, clouds)
    for index in range(sails):  # small ones far off first
        _sail(rng, scene, ripple, horizon, far=1 - index / sails)
    _bank(rng, scene, clouds, sun_x, trees)
    return scene


def _water(scene: Scene, horizon: float, sun_x: float, clouds: Array) -> Array:
    """Put the water, with the sun's path in it; return its ripples, -1 … 1."""
    x, y = scene.x, scene.y
    near = (y - horizon) / (1 - horizon)
    waves = 26 * np.sqrt(near.clip(1e-4)) + 0.5 * np.sin(9 * x) + 0.35 * clouds
    ripple = np.sin(2 * np.pi * waves)
    glitter = np.exp(-(((x - sun_x) / (0.035 + 0.16 * near)) ** 2))
    scene.put(
        y >= horizon,
        tone=0.60 - 0.10 * near + 0.26 * np.tanh(3 * ripple) + glitter * (0.10 + 0.16 * ripple),
        warmth=0.10 + 0.78 * glitter * (ripple > -0.4),
        angle=0.15 * ripple,
    )
    return np.asarray(ripple)


def _sail(
    rng: np.random.Generator, scene: Scene, ripple: Array, horizon: float, far: float
) -> None:
    """Put a boat: its mirror image between the ripples, then mainsail, jib and hull."""
    x, y = scene.x, scene.y
    foot = horizon + 0.015 + 0.30 * (1 - far) ** 1.5
    tall = 0.07 + 0.34 * (foot - horizon)
    at, side = rng.uniform(0.06, 0.94), rng.choice([-1.0, 1.0])

    def cloths(height: Array, left: Array) -> tuple[Mask, Mask]:
        up, low = height > 0, 0.8 * tall - height
        main = up & (left > 0) & (left < 0.42 * (tall - height))
        return main, up & (low > 0) & (left < -0.004) & (left > -0.28 * low)

    main, jib = cloths(y - foot, (x - at + 0.006 * np.sin(160 * y)) * side)
    scene.put((main | jib) & (ripple > -0.3), tone=0.72, warmth=0.6, angle=0.0)
    main, jib = cloths(foot - y, (x - at) * side)
    scene.put(main, tone=1.0, warmth=0.75, angle=1.2)
    scene.put(jib, tone=0.86, warmth=0.55, angle=1.9)
    hull = (np.abs(x - at) < 0.28 * tall) & (np.abs(y - foot - 0.004) < 0.035 * tall + 0.002)
    scene.put(hull, tone=0.18, warmth=0.9, angle=0.0)


def _bank(rng: np.random.Generator, scene: Scene, clouds: Array, sun_x: float, trees: int) -> None:
    """Put the near bank: grass in sun and in shade, flowers, and trees on its higher side."""
    x, y = scene.x, scene.y
    slope = rng.choice([-1.0, 1.0])
    bank = 0.80 + 0.16 * slope * (x - 0.5) + 0.02 * np.sin(11 * x)
    grass = y > bank
    sunny = smoothstep(-0.2, 0.5, Noise.make(rng, 4, octaves=2).grid(FIELD))
    scene.put(
        grass, tone=0.42 + 0.24 * sunny, warmth=0.08 + 0.34 * sunny**2, angle=0.5 * clouds - 1.3
    )
    scene.put((y > bank - 0.012) & ~grass, tone=0.84, warmth=0.9, angle=0.0)
    flowers = grass & (Noise.make(rng, 46).grid(FIELD) > 1.35)
    scene.put(flowers, tone=0.40 + 0.5 * (clouds > 0), warmth=0.95, angle=0.0)
    for index in range(trees):
        at_left = (index % 2 == 0) == (slope > 0)
        at = rng.uniform(0.02, 0.30) if at_left else rng.uniform(0.72, 0.98)
        base = 0.82 + 0.16 * slope * (at - 0.5) + rng.uniform(0.0, 0.06)
        _tree(rng, scene, clouds, at, base, np.sign(sun_x - at))
        shadow = np.abs(y - base - 0.02 - 0.25 * (at - x) * np.sign(sun_x - at)) < 0.022
        fallen = shadow & grass & (np.abs(x - at) < 0.30)
        scene.put(fallen, tone=0.16, warmth=0.05, angle=0.3)


def _tree(
    rng: np.random.Generator, scene: Scene, clouds: Array, at: float, base: float, sun_side: float
) -> None:
    """Put a trunk, and a crown of rounded masses that are light towards the sun."""
    x, y = scene.x, scene.y
    tall = rng.uniform(0.42, 0.72)
    trunk = np.abs(x - at - 0.015 * np.sin(9 * y)) < 0.009 + 0.012 * (y - base + 0.1).clip(0)
    trunk &= (y < base) & (y > base - 0.7 * tall)
    scene.put(trunk, tone=0.12, warmth=0.7, angle=1.5)
    for _ in range(9):
        dx = x - at - rng.normal(0, 0.065)
        dy = y - base + rng.uniform(0.42, 1.0) * tall
        radius = rng.uniform(0.035, 0.075)
        lit = ((dx * sun_side - 0.8 * dy) / radius + 0.25 * clouds).clip(-1, 1)
        scene.put(
            np.hypot(dx, 1.25 * dy) < radius * (1 + 0.16 * clouds),
            tone=0.42 + 0.24 * lit,
            warmth=0.14 + 0.40 * (lit > 0.5),
            angle=np.arctan2(dx, -dy),
        )
