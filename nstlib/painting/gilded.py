"""Gilded: a tree of spirals on gold leaf, over a meadow of rosettes, beside patterned robes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.block import Block
from nstlib.painting.brush import Canvas, brush_on, straight, sweep
from nstlib.painting.canvas import (
    FIELD,
    SUPERSAMPLE,
    Array,
    Mask,
    Noise,
    edge_distance,
    finish,
    generator,
    look_up,
    pixel_centres,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter

POINTS = 220  # along a branch: its spiral turns more than twice


@dataclass(frozen=True)
class Branch:
    """A curve that winds up into a spiral: points (POINTS, 2), headings, width at its foot."""

    points: Array
    heading: Array
    width: float
    length: float
    turn: float
    level: int


@painter
def gilded(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "gold",
    *,
    branches: Annotated[int, Range(4, 90, "branches of the tree")] = 30,
    winding: Annotated[float, Range(0.5, 1.5, "how tightly they wind up")] = 1.0,
    rosettes: Annotated[int, Range(0, 400, "flowers in the meadow")] = 170,
    robes: Annotated[int, Range(0, 2, "patterned cloaks beside the tree")] = 2,
) -> Tensor:
    """Paint a tree whose branches end in spirals, on a ground of gold, with enamel ornaments.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(gilded(size=64, branches=9).shape)
        (1, 3, 64, 64)
    """
    rng = generator("gilded", seed)
    colors = Palette(palette)
    tree = _grow(rng, branches, winding)
    canvas = _gold_leaf(rng, size * SUPERSAMPLE, colors)
    _ornaments(canvas, rng, colors, tree)
    _branches(canvas, rng, colors, tree)
    for side in (-1.0, 1.0)[:robes] if rng.random() < 0.5 else (1.0, -1.0)[:robes]:
        _robe(canvas, rng, colors, side)
    _meadow(canvas, rng, colors, rosettes)
    fine = 0.05 * Noise.make(rng, 120, octaves=2).grid(size * SUPERSAMPLE)
    canvas.color *= 1 + fine[..., None]
    return finish(canvas.lit(0.26))


def _gold_leaf(rng: np.random.Generator, size: int, colors: Palette) -> Canvas:
    """Lay the ground: small dabs of gold that wheel around each other, light and dark in drifts."""
    gold = colors.part("warm")
    drift = Noise.make(rng, 4, octaves=2).grid(FIELD)
    eddy = np.pi * Noise.make(rng, 3).grid(FIELD)
    canvas = Canvas.primed(np.broadcast_to(gold.at(np.array([0.62])), (size, size, 3)))
    for count, length, width in ((6500, 0.022, 0.0130), (9000, 0.014, 0.0085)):
        x, y = rng.random((2, count)).astype(np.float32)
        turn = look_up(eddy, x, y) + 0.25 * rng.standard_normal(count)
        reach = length * rng.uniform(0.6, 1.0, count)
        tone = 0.70 + 0.10 * look_up(drift, x, y) + 0.085 * rng.standard_normal(count)
        brush_on(
            canvas,
            *straight(x, y, turn, reach),
            (width * rng.uniform(0.7, 1.0, count)).astype(np.float32),
            gold.at(tone.astype(np.float32)),
            rng,
            bristles=4,
            streak=0.03,
            thickness=0.7,
            dryness=0.1,
        )
    return canvas


def _grow(rng: np.random.Generator, branches: int, winding: float) -> list[Branch]:
    """Grow a trunk and, from its branches' outer sides, further ones that turn the other way."""
    s = np.linspace(0, 1, POINTS, dtype=np.float32)

    def branch(
        foot: Array, angle: float, length: float, turn: float, width: float, level: int
    ) -> Branch:
        # The curvature grows with the arc, as in Euler's spiral: a straight foot, a wound-up end.
        heading = angle + turn * winding * (1.1 * s + 12.5 * s**3.2)
        steps = np.stack([np.cos(heading), np.sin(heading)], 1) * length / POINTS
        points = foot + np.cumsum(steps, axis=0)
        return Branch(points.astype(np.float32), heading, width, length, turn, level)

    turn = rng.choice([-1.0, 1.0])
    foot = np.array([rng.uniform(0.44, 0.56), 0.95], np.float32)
    tree = [
        branch(foot, -np.pi / 2 - 0.35 * turn, 1.30, turn, 0.078, 0),
        branch(foot, -np.pi / 2 + 0.30 * turn, 1.15, -turn, 0.072, 0),
    ]
    while len(tree) < branches:
        # Many tries; the one with the freest end of all stays.
        best, most = None, -1.0
        ends = np.array([(b.points[60::40]) for b in tree]).reshape(-1, 2)
        for _ in range(24):
            parent = tree[int(rng.integers(len(tree)))]
            if parent.level > 3:
                continue
            at = int(POINTS * rng.uniform(0.22, 0.62))
            side = -parent.turn
            child = branch(
                parent.points[at],
                float(parent.heading[at] + side * rng.uniform(0.25, 0.7)),
                parent.length * rng.uniform(0.42, 0.72),
                side,
                parent.width * (1 - 0.8 * at / POINTS) * 0.85,
                parent.level + 1,
            )
            heart = child.points[-40:].mean(0)
            if not (0.0 < heart[0] < 1.0 and 0.0 < heart[1] < 0.80):
                continue
            free = float(np.linalg.norm(ends - heart, axis=1).min()) / child.length**0.4
            if free > most:
                best, most = child, free
        if best is None:
            break
        tree.append(best)
    return tree


def _branches(
    canvas: Canvas, rng: np.random.Generator, colors: Palette, tree: list[Branch]
) -> None:
    """Draw the tree, twigs first: dark outline, then a body inlaid with light and dark."""
    size = len(canvas.color)
    warm = colors.part("warm")
    s = np.linspace(0, 1, POINTS, dtype=np.float32)
    for level in sorted({b.level for b in tree}, reverse=True):
        group = [b for b in tree if b.level == level]
        x = np.stack([b.points[:, 0] for b in group])
        y = np.stack([b.points[:, 1] for b in group])
        width = np.stack([np.maximum(b.width * (1 - 0.86 * s**0.7), 0.0075) for b in group])
        rim = sweep(size, x, y, (width + 0.0065).astype(np.float32))
        canvas.color[rim.covered] = colors.ink
        canvas.height[rim.covered] = 0.0
        body = sweep(size, x, y, width.astype(np.float32))
        lengths = np.array([b.length for b in group], np.float32)[body.stroke]
        arc = body.u * lengths
        bands = np.mod(arc * 26 + 0.9 * np.abs(body.v), 1.0)
        tone = 0.34 + 0.22 * np.sin(9 * arc + 3 * body.v) + 0.16 * (1 - body.v**2)
        color = warm.at(tone.astype(np.float32))
        inlay = (bands < 0.20) & (np.abs(body.v) < 0.72)
        color[inlay] = colors.paper
        eyes = (bands > 0.52) & (bands < 0.68) & (np.abs(body.v) < 0.40)
        color[eyes] = colors.ink
        canvas.color[body.covered] = color
        canvas.height[body.covered] = 7.0 * np.sqrt((1 - body.v**2).clip(0)) * (1 - 0.6 * body.u)


def _ornaments(
    canvas: Canvas, rng: np.random.Generator, colors: Palette, tree: list[Branch]
) -> None:
    """Scatter eyes, triangles and small discs on the gold between the branches."""
    block = Block(len(canvas.color), canvas.color)
    taken = np.concatenate([b.points[::6] for b in tree])
    cool, warm = colors.part("cool"), colors.part("warm")
    for _ in range(150):
        at = rng.random(2) * (1.0, 0.82)
        gap = float(np.linalg.norm(taken - at, axis=1).min())
        if gap < 0.020:
            continue
        radius = min(0.55 * gap, rng.uniform(0.009, 0.022))
        taken = np.concatenate([taken, at[None]]).astype(np.float32)
        angle = rng.uniform(0, 2 * np.pi)
        kind = rng.choice(3, p=(0.25, 0.35, 0.40))
        if kind == 0:  # an eye
            t = np.linspace(0, 2 * np.pi, 40)
            almond = np.stack([1.5 * np.cos(t), 0.75 * np.sin(t) * np.abs(np.sin(t)) ** 0.3], 1)
            c, s = np.cos(angle), np.sin(angle)
            almond = almond @ np.array([[c, s], [-s, c]])
            block.fill((at + 1.18 * radius * almond).astype(np.float32), colors.ink)
            block.fill((at + 0.95 * radius * almond).astype(np.float32), colors.paper)
            block.dots(at[None], np.array([0.58 * radius]), cool.nearest(rng.uniform(0.3, 0.7)))
            block.dots(at[None], np.array([0.26 * radius]), colors.ink)
        elif kind == 1:  # a triangle within a triangle
            corners = angle + np.array([0, 2.09, 4.19])
            shape = np.stack([np.cos(corners), np.sin(corners)], 1)
            for part, color in (
                (1.25, colors.ink),
                (0.9, warm.nearest(rng.uniform(0.2, 0.5))),
                (0.4, colors.paper),
            ):
                block.fill((at + part * radius * shape).astype(np.float32), color)
        else:
            _rosette(block, rng, colors, at, 0.85 * radius)
    canvas.color[:] = block.pixels()


def _rosette(
    block: Block, rng: np.random.Generator, colors: Palette, at: Array, radius: float
) -> None:
    """Draw rings of contrasting colours, with a ring of dots."""
    part = colors.part("cool" if rng.random() < 0.55 else "warm")
    tones = rng.permutation(np.array([0.28, 0.5, 0.72, 0.95], np.float32))
    block.dots(at[None], np.array([1.14 * radius]), colors.ink)
    for share, tone in zip((1.0, 0.74, 0.5, 0.24), tones, strict=True):
        block.dots(at[None], np.array([share * radius]), part.nearest(tone))
    count = int(rng.integers(6, 11))
    around = np.arange(count) / count * 2 * np.pi + rng.uniform(0, 6)
    ring = at + 0.84 * radius * np.stack([np.cos(around), np.sin(around)], 1)
    block.dots(ring, np.full(count, 0.13 * radius), colors.paper if tones[0] < 0.6 else colors.ink)


def _robe(canvas: Canvas, rng: np.random.Generator, colors: Palette, side: float) -> None:
    """Hang a cloak at one side: upright tiles in black, white and colours, or rings and spirals."""
    size = len(canvas.color)
    x, y = pixel_centres(size)
    foot, top = 0.5 + side * rng.uniform(0.34, 0.42), rng.uniform(0.44, 0.58)
    drop = (y - top) / (1 - top)
    lean = -side * 0.10 * np.sin(np.pi * drop.clip(0, 1)) * 0.6
    half = 0.15 * np.sqrt((drop * (1.7 - 0.7 * drop)).clip(0)) + 0.015 * np.sin(9 * drop)
    inside: Mask = (np.abs(x - foot - lean) < half) & (drop > 0)
    # Tiles: columns of unequal width, cut at unequal heights.
    columns = np.sort(rng.random(17))
    column = np.searchsorted(columns, (x - foot - lean) / 0.34 + 0.5)
    scale = rng.uniform(12, 26, 18)[column]
    row = np.floor(y * scale + rng.random(18)[column]).astype(np.int64)
    kind = rng.random((18, 64))[column, row % 64].astype(np.float32)
    tile = (column * 64 + row).astype(np.int64)
    warm, cool = colors.part("warm"), colors.part("cool")
    color = np.where(
        (kind < 0.55)[..., None], warm.nearest(kind / 0.55), cool.nearest((kind - 0.5) * 2)
    )
    # Inner marks: a smaller tile or an eye in every other one.
    gap = edge_distance(np.where(inside, tile, -1))
    color = np.where(((gap > 0.0058) & (kind % 0.1 < 0.055))[..., None], colors.ink, color)
    color = np.where(((gap > 0.0092) & (kind % 0.1 < 0.055))[..., None], colors.paper, color)
    grout = smoothstep(0.0028, 0.0012, gap)[..., None]
    color = color + grout * (colors.ink - color)
    canvas.color[inside] = color[inside]
    canvas.height[inside] = (3.0 * np.minimum(gap / 0.004, 1))[inside]


def _meadow(canvas: Canvas, rng: np.random.Generator, colors: Palette, rosettes: int) -> None:
    """Cover the ground with leaves, and with rosettes that grow larger towards the front."""
    size = len(canvas.color)
    x, y = pixel_centres(size)
    phase = rng.uniform(0, 6.28)

    def edge_at(x: Array) -> Array:
        return np.asarray(0.84 + 0.025 * np.sin(5 * x + phase) + 0.01 * np.sin(13 * x), np.float32)

    cool = colors.part("cool")
    inside = y > edge_at(x)
    green = cool.at(0.20 + 0.25 * (y - 0.8) / 0.2)
    canvas.color[inside] = green[inside]
    canvas.height[inside] = 0.0
    count = 2600
    lx = rng.random(count).astype(np.float32)
    ly = (edge_at(lx) + 0.01 + rng.random(count) ** 0.9 * 0.17).astype(np.float32)
    turn = -np.pi / 2 + 0.6 * rng.standard_normal(count)
    brush_on(
        canvas,
        *straight(lx, ly, turn, 0.022),
        rng.uniform(0.004, 0.008, count).astype(np.float32),
        cool.nearest(rng.uniform(0.15, 0.75, count).astype(np.float32)),
        rng,
        bristles=4,
        taper=0.9,
    )
    block = Block(size, canvas.color)
    for order in range(rosettes):
        part = (order + 0.5) / rosettes
        fx = float(rng.random())
        at = np.array([fx, float(edge_at(np.array([fx]))[0]) + 0.005 + 0.165 * part])
        _rosette(block, rng, colors, at, rng.uniform(0.007, 0.013) + 0.010 * part)
    canvas.color[inside] = block.pixels()[inside]
