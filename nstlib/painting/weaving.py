"""Weaving: a kilim, every bump of its threads dyed, spun and beaten in by hand."""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import numpy as np
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.canvas import (
    SUPERSAMPLE,
    Array,
    Indices,
    Noise,
    finish,
    from_edge,
    generator,
    over,
    pixel_centres,
    relief,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter
from nstlib.painting.scene import Scene

ROWS, WARPS = 130, 82  # of threads in the cloth; a row is five eighths as high as a warp is wide
SPARE = 6  # more of both at each side, since the rows wander


class Yarn(IntEnum):
    """The dyer's yarns."""

    DARK = 0
    GROUND = 1
    FIGURE = 2
    WARM = 3
    COOL = 4
    LIGHT = 5
    SPARK = 6


DEEP = (Yarn.DARK, Yarn.GROUND, Yarn.FIGURE)
BRIGHT = (Yarn.WARM, Yarn.COOL, Yarn.LIGHT, Yarn.SPARK)


@painter
def weaving(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "kilim",
    *,
    threads: Annotated[float, Range(0.6, 1.5, "how many threads the cloth has")] = 1.0,
    wobble: Annotated[float, Range(0, 3, "how far the rows wander")] = 1.0,
    abrash: Annotated[float, Range(0, 3, "how unevenly the yarn took the dye")] = 1.0,
    depth: Annotated[float, Range(0, 2, "how far the threads stand out")] = 1.0,
) -> Tensor:
    """Weave a rug: medallions in borders, bands of ornament, or diamonds that dazzle the eye.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(weaving(size=64, threads=0.8).shape)
        (1, 3, 64, 64)
    """
    rng = generator("weaving", seed)
    colors = Palette(palette)
    rows, warps = round(ROWS * threads), round(WARPS * threads)
    row, column = np.mgrid[-SPARE : rows + SPARE, -SPARE : warps + SPARE].astype(np.float32)
    # Each row goes over the warps that the last one went under: half a step to the side.
    cloth = Scene.blank((column + 0.5 * (row % 2)) / warps, (row + 0.5) / rows, yarn=Yarn.GROUND)
    (_medallions, _bands, _dazzler)[int(rng.integers(3))](cloth, rng)
    dyed = _dye(rng, colors, cloth, abrash)
    return finish(_weave(rng, colors, dyed, size * SUPERSAMPLE, (rows, warps), wobble, depth))


# ------------------------------------------------------------------------------------- the thread


def _dye(rng: np.random.Generator, colors: Palette, cloth: Scene, abrash: float) -> Array:
    """Dye every place of the design: (rows, warps, 3). One vat differs from the next by a shade."""
    cool, warm = colors.part("cool"), colors.part("warm")
    grounds = [warm.nearest(rng.uniform(0.2, 0.38)), cool.nearest(rng.uniform(0.2, 0.42))]
    if rng.random() < 0.4:
        grounds.reverse()
    yarns = np.stack(
        [
            *(colors.at(0.03), *grounds, warm.nearest(0.68), cool.nearest(rng.uniform(0.62, 0.82))),
            *(colors.at(0.98), warm.nearest(0.50)),
        ]
    )
    number = cloth["yarn"].astype(np.int64)
    color = yarns[number]
    # A vat lasts some rows; so its shade runs through them, for one yarn and not for another.
    steps = rng.standard_normal((len(yarns), 40))
    vat = (np.clip(cloth.y, 0, 0.999) * 34 + 0.6 * np.sin(9 * cloth.x)).astype(np.int64).clip(0, 39)
    shade = 0.075 * steps[number, vat] + 0.055 * rng.standard_normal(number.shape)
    return np.asarray(color * (1 + abrash * shade[..., None]), dtype=np.float32).clip(0, 1)


def _weave(
    rng: np.random.Generator,
    colors: Palette,
    dyed: Array,
    size: int,
    counts: tuple[int, int],
    wobble: float,
    depth: float,
) -> Array:
    """Weave the design: rounded, twisted bumps of weft, and the warp in the gaps between them."""
    rows, warps = counts
    x, y = pixel_centres(size)
    pull, sag = Noise.make(rng, 3).grid(size), Noise.make(rng, 4, octaves=3).grid(size)
    slubs, fuzz = Noise.make(rng, 44).grid(size), Noise.make(rng, 190).grid(size)
    down = (y + wobble * (0.0034 * sag + 0.0011 * slubs)) * rows
    row = np.floor(down)
    across = 2 * (down - row) - 1  # -1 … 1 over the thread
    along = (x + wobble * 0.0050 * pull) * warps - 0.5 * np.mod(row, 2)
    bump = np.floor(along + 0.5)
    along = 2 * (along + 0.5 - bump) - 1  # -1 … 1 along the bump
    i = (row.astype(np.int64) + SPARE).clip(0, len(dyed) - 1)
    k = (bump.astype(np.int64) + SPARE).clip(0, dyed.shape[1] - 1)

    thick = (1 + 0.09 * rng.standard_normal(dyed.shape[:2]).astype(np.float32))[i, k]
    outside = (np.abs(across) / (0.97 * thick)) ** 3 + np.abs(along / 0.98) ** 6
    covered = smoothstep(1.25, 0.75, outside)
    # Two plies, twisted: dark furrows run aslant over each bump.
    phase = rng.random((len(dyed),)).astype(np.float32)[i]
    furrow = np.sin(2 * np.pi * (1.3 * along + 0.6 * across + phase))
    arch = (1 - 0.75 * along**2) * np.sqrt((1 - 0.9 * across**2).clip(0))
    height = covered * (2.9 * arch + 0.6 * furrow) + 0.25 * fuzz + 1.3 * sag
    weft = dyed[i, k] * (0.90 + 0.22 * arch + 0.07 * furrow + 0.05 * fuzz)[..., None]
    # In the gaps: undyed warp in the shadow of its neighbours.
    warp = colors.at(0.80) * (0.50 + 0.12 * fuzz)[..., None]
    woven = over(
        warp * (1 - 0.75 * smoothstep(0.55, 1.0, np.abs(across)))[..., None], covered, weft
    )
    light = relief(height, 0.42 * depth)[..., None]
    return np.asarray(woven * (1 + np.minimum(light, 0)) + np.maximum(light, 0) * (1 - woven))


# ------------------------------------------------------------------------------------- the design


def _diamond(x: Array, y: Array, wide: float, high: float) -> Array:
    """Return how far out of a diamond's middle each place is; 1 is its edge."""
    return np.asarray(np.abs(x) / wide + np.abs(y) / high)


def _wave(s: Array) -> Array:
    """Go up and down between 0 and 1 in straight lines, once each unit."""
    return np.asarray(np.abs(2 * np.mod(s, 1) - 1))


def _medallion(
    cloth: Scene, rng: np.random.Generator, cx: float, cy: float, wide: float, high: float
) -> None:
    """Weave a hooked medallion: rings of stepped diamonds around a star."""
    x, y = cloth.x - cx, cloth.y - cy
    out, around = _diamond(x, y, wide, high), np.abs(y) / high - np.abs(x) / wide
    hook = np.mod(around * 5.5, 1)
    stem = (hook < 0.36) & (out < 1.30)
    tip = (hook < 0.80) & (out > 1.17) & (out < 1.30)
    cloth.put((stem | tip) & (out > 0.9), 0, yarn=Yarn.LIGHT)
    inner = (Yarn.FIGURE, Yarn.WARM, Yarn.COOL)[int(rng.integers(3))]
    for edge, yarn in (
        *((1.06, Yarn.DARK), (1.0, Yarn.WARM), (0.90, Yarn.LIGHT), (0.82, Yarn.DARK)),
        *((0.76, inner), (0.44, Yarn.LIGHT), (0.38, Yarn.GROUND), (0.20, Yarn.DARK)),
    ):
        cloth.put(out < edge, 0, yarn=yarn)
    # Teeth on the ring inside, small eyes around, and a cross in the heart.
    teeth = (out > 0.58) & (out < 0.76) & (np.mod(around * 9, 1) < (out - 0.58) * 4.5)
    cloth.put(teeth, 0, yarn=Yarn.DARK)
    eyes = _diamond(np.abs(x) - 0.30 * wide, np.abs(y) - 0.28 * high, 0.075, 0.075) < 0.5
    cloth.put(eyes & (out < 0.8), 0, yarn=Yarn.COOL if inner != Yarn.COOL else Yarn.LIGHT)
    cross = np.minimum(
        np.abs(x) / wide + 3 * np.abs(y) / high, 3 * np.abs(x) / wide + np.abs(y) / high
    )
    cloth.put(cross < 0.30, 0, yarn=Yarn.LIGHT)
    cloth.put(out < 0.07, 0, yarn=Yarn.WARM)


def _borders(cloth: Scene) -> None:
    """Weave borders around the cloth: triangles, a row of diamonds, and checks."""
    inward, s = from_edge(cloth.x, cloth.y)
    cloth.put(inward < 0.190, 0, yarn=Yarn.DARK)
    main = (inward > 0.060) & (inward < 0.150)
    cloth.put(main, 0, yarn=Yarn.FIGURE)
    count = 8
    number = np.floor(s * count)
    out = _diamond((np.mod(s * count, 1) - 0.5) / count, inward - 0.105, 0.060, 0.047)
    center = (Yarn.WARM, Yarn.GROUND, Yarn.COOL, Yarn.SPARK)
    cloth.put(main & (out < 1.0), 0, yarn=Yarn.LIGHT)
    cloth.put(main & (out < 0.80), 0, yarn=Yarn.DARK)
    cloth.put(main & (out < 0.64), 0, yarn=np.choose(number.astype(np.int64) % 4, center))
    cloth.put(main & (out < 0.24), 0, yarn=Yarn.LIGHT)
    corners = main & (np.abs(np.mod(s * count + 0.5, 1) - 0.5) < 0.07)
    cloth.put(corners, 0, yarn=Yarn.WARM)

    cloth.put((inward > 0.158) & (inward < 0.182), 0, yarn=Yarn.LIGHT)
    check = (np.mod(s * 30, 1) < 0.5) == (inward > 0.170)
    cloth.put(check & (inward > 0.158) & (inward < 0.182), 0, yarn=Yarn.GROUND)
    _edging(cloth)


def _edging(cloth: Scene) -> None:
    """Weave a row of triangles along the cloth's four edges."""
    inward, s = from_edge(cloth.x, cloth.y)
    cloth.put(inward < 0.055, 0, yarn=Yarn.DARK)
    row = (inward > 0.012) & (inward < 0.047)
    cloth.put(row, 0, yarn=Yarn.WARM)
    cloth.put(row & (_wave(14 * s) > (inward - 0.012) / 0.035), 0, yarn=Yarn.GROUND)


def _medallions(cloth: Scene, rng: np.random.Generator) -> None:
    """Compose one to three medallions on a field strewn with small ones, in borders."""
    x, y = cloth.x, cloth.y
    count = int(rng.integers(1, 4))
    wide, high = ((0.23, 0.24), (0.21, 0.115), (0.18, 0.078))[count - 1]
    rows = 0.5 + (np.arange(count) - (count - 1) / 2) * 0.60 / count
    corners = [(cx, cy, 0.17, 0.15) for cx in (0.19, 0.81) for cy in (0.19, 0.81)]

    pitch = rng.uniform(0.062, 0.080)
    line = np.floor((y - 0.5) / pitch)
    place = np.floor((x - 0.5) / pitch + 0.5 * (line % 2))
    cx, cy = 0.5 + pitch * (place + 0.5 - 0.5 * (line % 2)), 0.5 + pitch * (line + 0.5)
    # Only whole ones: none that a medallion or a corner would cut.
    free = np.ones(x.shape, bool)
    for at_x, at_y, half_x, half_y in (*((0.5, at, wide, high) for at in rows), *corners):
        free &= _diamond(cx - at_x, cy - at_y, half_x + 0.07, half_y + 0.07) > 1.0
    out = _diamond(x - cx, y - cy, 0.40 * pitch, 0.40 * pitch)
    kind = (place + 2 * line).astype(np.int64) % 3
    small = (Yarn.SPARK, Yarn.COOL, Yarn.FIGURE)
    cloth.put(free & (out < 1), 0, yarn=np.choose(kind, small))
    cloth.put(free & (out < 0.42), 0, yarn=Yarn.LIGHT)

    for at_x, at_y, half_x, half_y in corners:  # quarter diamonds
        part = _diamond(x - at_x, y - at_y, half_x, half_y)
        for edge, yarn in ((1.0, Yarn.LIGHT), (0.88, Yarn.DARK), (0.76, Yarn.FIGURE)):
            cloth.put(part < edge, 0, yarn=yarn)
        cloth.put((part < 0.52) & (_wave(part * 4) > 0.5), 0, yarn=Yarn.WARM)
    for at in rows:
        _medallion(cloth, rng, 0.5, float(at), wide, high)
    _borders(cloth)


def _bands(cloth: Scene, rng: np.random.Generator) -> None:
    """Compose bands across the cloth, broad ones with ornament between narrow stripes."""
    y, top = cloth.y, rng.uniform(-0.10, 0.0)
    ornaments = (_chevrons, _diamonds, _hourglasses, _combs, _crosses)
    turn = int(rng.integers(len(ornaments)))
    while top < 1.0:
        for _ in range(int(rng.integers(3, 6))):
            high = rng.uniform(0.008, 0.022)
            yarn = _unlike(rng, [int(cloth["yarn"][y < top][-1])] if top > 0 else [])
            cloth.put((y >= top) & (y < top + high), 0, yarn=yarn[0])
            top += high
        high = rng.uniform(0.085, 0.19)
        middle = top + 0.5 * high
        up = (y - middle) / (0.5 * high)
        count = max(3, round(0.8 / high))
        along = (cloth.x - 0.5) * count + 0.5 * rng.integers(0, 2)
        first, _, second, *_, third, _ = _unlike(rng, [])
        contrast = Yarn.LIGHT if first in DEEP else Yarn.DARK
        yarns = [first, contrast, second, third]  # but for one, all dark or all light
        where = np.abs(up) <= 1
        pick = ornaments[turn % len(ornaments)](along, up)
        cloth.put(where, 0, yarn=np.asarray(yarns, np.float32)[pick % len(yarns)])
        turn, top = turn + int(rng.integers(1, 3)), top + high


def _unlike(rng: np.random.Generator, taken: list[int]) -> list[int]:
    """Return the yarns that are not taken, dark and light by turns, so that neighbours stand out."""
    deep, bright = (
        rng.permutation([yarn for yarn in yarns if yarn not in taken]).tolist()
        for yarns in (DEEP, BRIGHT)
    )
    if rng.random() < 0.5:  # a light ground, or a dark one
        deep, bright = bright, deep
    pairs = zip(deep, bright, strict=False)
    return [int(yarn) for pair in pairs for yarn in pair]


# Ornaments of a band: which of its yarns lies where, along (one motif a unit) and up (-1 … 1).


def _chevrons(along: Array, up: Array) -> Indices:
    return np.asarray(3 * (_wave(along) + 0.9 * up) + 9, dtype=np.int64)


def _diamonds(along: Array, up: Array) -> Indices:
    out = _wave(along) * 1.15 + np.abs(up)
    return np.asarray(np.searchsorted([0.22, 0.45, 0.70, 0.95, 1.12], out))


def _hourglasses(along: Array, up: Array) -> Indices:
    gap = _wave(along) - np.abs(up)
    inner = np.abs(gap) < 0.17
    outer = np.where(gap > 0, 2 + (gap > 0.52), 4 + (gap < -0.52))
    return np.where(inner, 1, outer)


def _combs(along: Array, up: Array) -> Indices:
    teeth = (np.mod(5 * along, 1) < 0.5) & (np.abs(up) < 0.80)
    spine = np.abs(up) < 0.20 + 0.28 * (_wave(along) < 0.5)
    return np.where(spine, 3 + (np.abs(up) < 0.12), np.where(teeth, 1, 0))


def _crosses(along: Array, up: Array) -> Indices:
    a, b = _wave(along), np.abs(up)
    step = np.floor(4 * a) + np.floor(4 * b)
    every_second = np.mod(np.floor(along), 2) == 1
    return np.asarray(step + (every_second & (step < 2)), dtype=np.int64)


def _dazzler(cloth: Scene, rng: np.random.Generator) -> None:
    """Compose serrated diamonds, one inside the other, that spread over the whole cloth."""
    x, y = cloth.x - 0.5, cloth.y - 0.5
    wide = 1 / rng.choice([1.0, 1.5, 2.0])
    high = wide * rng.uniform(0.8, 1.1)
    out = (1 - _wave(x / wide + 0.5 * rng.integers(0, 2))) + (1 - _wave(y / high))
    teeth = _wave(rng.integers(10, 15) * x / wide)
    rings = int(24 * wide**0.75)
    ring = np.floor(out * rings / 2 + 0.85 * teeth).astype(np.int64)
    sequence = [yarn for _ in range(8) for yarn in _unlike(rng, [])]
    cloth["yarn"][:] = np.asarray(sequence)[ring % len(sequence)]
    _edging(cloth)
