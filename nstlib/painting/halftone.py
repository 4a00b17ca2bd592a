"""Halftone: a pop-art print, brush-inked and coloured with coarse dots and line screens."""

from __future__ import annotations

import itertools
from typing import Annotated

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.canvas import (
    SUPERSAMPLE,
    Array,
    Noise,
    finish,
    from_edge,
    generator,
    over,
    smoothstep,
)
from nstlib.painting.page import Ink, Page, Plates, Screen, polar, smooth
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter

# Period in units of 1/512 of the side, angle in degrees, whether it is of lines.
SCREENS = ((9.5, 18.0, False), (6.6, 45.0, False), (6.2, -30.0, True), (7.6, 62.0, True))

# Along and across a flame, in parts of its reach and width.
FLAME = np.array(
    [
        *([0, -0.8], [0.3, -1.0], [0.62, -0.9], [0.5, -0.6], [0.85, -0.45], [0.7, -0.2]),
        *([1.0, 0.1], [0.66, 0.35], [0.78, 0.75], [0.3, 1.0], [0, 0.8]),
    ]
)


@painter
def halftone(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "comic",
    *,
    screen: Annotated[float, Range(0.6, 1.8, "how coarse the dots and line screens are")] = 1.0,
    weight: Annotated[float, Range(0.3, 2, "how thick the inked lines are")] = 1.0,
    misprint: Annotated[float, Range(0, 3, "how far the plates miss each other")] = 1.0,
    age: Annotated[float, Range(0, 2, "how worn and yellow the sheet is")] = 1.0,
) -> Tensor:
    """Print an explosion, a breaking wave or a rocket over a city as a page of a comic.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(halftone(size=64, screen=1.5).shape)
        (1, 3, 64, 64)
    """
    rng = generator("halftone", seed)
    colors = Palette(palette)
    canvas = size * SUPERSAMPLE
    page = Page.blank(canvas, weight)
    (_explosion, _breaker, _rocket)[int(rng.integers(3))](page, rng)
    return finish(_print(page, rng, colors, screen, misprint, age))


# ------------------------------------------------------------------------------------- the motifs


def _rays(page: Page, rng: np.random.Generator, centre: Array, count: int) -> None:
    """Fill the sky with beams from a centre: dotted ones, whose dots grow outwards, and ruled.

    An even ``count`` lets them alternate all around.
    """
    scene = page.scene
    dx, dy = scene.x - centre[0], scene.y - centre[1]
    edges = (np.arange(count) + rng.uniform(-0.3, 0.3, count)) / count * 2 * np.pi - np.pi
    beam = np.searchsorted(edges, np.arctan2(dy, dx)) % 2 == 0
    away = np.hypot(dx, dy)
    scene.put(beam, 0, flat=Ink.SKY, dots=Ink.DEEP, tone=1.15 * away - 0.18, screen=Screen.COARSE)
    scene.put(~beam, 0, flat=Ink.PAPER, dots=Ink.SKY, tone=0.12 + 0.75 * away, screen=Screen.LINES)
    for angle in np.repeat(edges, 3) + rng.normal(0, 0.05, 3 * count):
        ends = polar(centre, np.array([1.3, rng.uniform(0.34, 0.75)]), np.repeat(angle, 2))
        page.stroke(ends, rng.uniform(0.004, 0.013))


def _star(
    rng: np.random.Generator, centre: Array, radius: float, spikes: int, depth: float
) -> Array:
    """Return a jagged star, (2 spikes, 2)."""
    angle = (np.arange(2 * spikes) + rng.uniform(-0.35, 0.35, 2 * spikes)) / spikes * np.pi
    reach = np.where(np.arange(2 * spikes) % 2 == 0, 1.0, 1 - depth)
    return polar(centre, radius * reach * rng.uniform(0.82, 1.15, 2 * spikes), angle)


def _cloud(
    page: Page, rng: np.random.Generator, centre: Array, radius: float, spread: float
) -> None:
    """Draw a billow of smoke, shaded at its lower right."""
    count = 9
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.uniform(0, 1)
    ring = polar(np.zeros(2), spread * rng.uniform(0.8, 1.1, count), angle) * (1, 0.7)
    centres = np.concatenate([centre + ring, centre[None]])
    radii = np.append(radius * rng.uniform(0.6, 1.05, count), 1.1 * max(radius, spread))
    lit = (page.scene.x - centre[0] + page.scene.y - centre[1]) / (spread + radius)
    page.puffs(
        centres,
        radii,
        0.010,
        flat=Ink.PAPER,
        dots=Ink.SKY,
        tone=0.20 + 0.42 * lit,
        screen=Screen.FINE,
    )
    for at, r in zip(centres[:-1:2], radii[:-1:2], strict=True):  # curls inside
        start = rng.uniform(0, 6.28)
        page.stroke(polar(at, 0.62 * r, start + np.linspace(0, 2.6, 12)), 0.006)


def _city(page: Page, rng: np.random.Generator, horizon: float) -> None:
    """Draw two rows of towers, the far in dots only, the near with lit windows."""
    for row, (count, low, high) in enumerate(((11, 0.10, 0.26), (7, 0.02, 0.20))):
        edges = np.linspace(-0.03, 1.03, count + 1) + rng.uniform(-0.018, 0.018, count + 1)
        for left, right in itertools.pairwise(edges):
            top = horizon - rng.uniform(low, high)
            step = 0.25 * (right - left) * rng.integers(0, 2)
            roof = top - 0.035 * rng.integers(0, 3)
            tower = np.array(
                [
                    *([left, 1.05], [left, top], [left + step, top], [left + step, roof]),
                    *([right - step, roof], [right - step, top], [right, top], [right, 1.05]),
                ]
            )
            if row == 0:
                tone = 0.75 - 1.2 * (page.scene.y - top)
                page.shape(tower, 0.007, flat=Ink.SKY, dots=Ink.DEEP, tone=tone, screen=Screen.FINE)
                continue
            flat, dots = ((Ink.DEEP, Ink.KEY), (Ink.RED, Ink.KEY))[int(rng.random() < 0.4)]
            tone = 0.05 + 0.8 * (page.scene.x - left) / (right - left)
            page.shape(tower, 0.010, flat=flat, dots=dots, tone=tone, screen=Screen.STEEP)
            _windows(page, rng, left, right, top)


def _windows(page: Page, rng: np.random.Generator, left: float, right: float, top: float) -> None:
    """Light some windows of a tower."""
    columns = np.linspace(left, right, 2 + int((right - left) / 0.036))[1:-1]
    for y in np.arange(top + 0.030, 1.0, 0.046):
        for x in columns:
            if rng.random() < 0.7:
                pane = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (0.0085, 0.013) + (x, y)
                flat = Ink.SUN if rng.random() < 0.75 else Ink.PAPER
                page.shape(pane, 0.005, flat=flat, tone=0.0)


def _explosion(page: Page, rng: np.random.Generator) -> None:
    """Draw a burst in billows of smoke above a city, with splinters flying."""
    centre = np.array([rng.uniform(0.42, 0.58), rng.uniform(0.38, 0.44)])
    _rays(page, rng, centre, 26)
    _city(page, rng, rng.uniform(0.84, 0.90))
    for angle in rng.permutation(11) / 11 * 2 * np.pi + rng.uniform(0, 1):
        at = polar(centre, rng.uniform(0.26, 0.33), np.array([angle]))[0]
        _cloud(page, rng, at, rng.uniform(0.045, 0.07), rng.uniform(0.05, 0.075))
    away = np.hypot(page.scene.x - centre[0], page.scene.y - centre[1])
    for radius, flat, dots, tone, screen in (
        (0.37, Ink.RED, Ink.KEY, 2.3 * away - 0.42, Screen.COARSE),
        (0.275, Ink.SUN, Ink.RED, 4.2 * away - 0.48, Screen.COARSE),
        (0.155, Ink.PAPER, Ink.SUN, 6.0 * away - 0.10, Screen.FINE),
    ):
        star = _star(rng, centre, radius, 15, 0.42)
        page.shape(star, 0.013, flat=flat, dots=dots, tone=tone, screen=screen)
    for _ in range(26):
        angle, reach = rng.uniform(0, 6.28), rng.uniform(0.30, 0.56)
        ends = polar(centre, np.array([reach, reach - 0.10]), np.repeat(angle, 2))
        page.stroke(ends, 0.008)
        chip = _star(rng, ends[0], rng.uniform(0.012, 0.030), 3, 0.3)
        page.shape(chip, 0.007, flat=Ink.SUN if rng.random() < 0.5 else Ink.RED, tone=0.0)


def _breaker(page: Page, rng: np.random.Generator) -> None:
    """Draw a wave that breaks before a low sun, gulls, and chop in front."""
    side = rng.choice([-1.0, 1.0])

    def place(points: npt.ArrayLike, stray: float = 0.0) -> Array:
        at = np.array(points, np.float64)
        at += stray * rng.standard_normal(at.shape)
        return np.asarray((0.5 + side * (at[:, 0] - 0.5), at[:, 1])).T

    scene = page.scene
    sun = place([[rng.uniform(0.22, 0.32), rng.uniform(0.44, 0.52)]])[0]
    _rays(page, rng, sun, 30)
    disc = polar(sun, rng.uniform(0.20, 0.24), np.linspace(0, 2 * np.pi, 90))
    low = 2.6 * (scene.y - sun[1]) + 0.42
    page.shape(disc, 0.011, flat=Ink.SUN, dots=Ink.RED, tone=low, screen=Screen.COARSE)
    for _ in range(3):
        at = place([[rng.uniform(0.05, 0.95), rng.uniform(0.08, 0.22)]])[0]
        _cloud(page, rng, at, rng.uniform(0.03, 0.05), rng.uniform(0.05, 0.08))

    # Water runs up the hollow and over the back, and both end in the lip.
    back = [[1.3, 1.0], [1.1, 0.66], [0.93, 0.44], [0.78, 0.26], [0.60, 0.15], [0.42, 0.14]]
    hollow = [[-0.3, 0.86], [0.10, 0.83], [0.34, 0.76], [0.50, 0.60], [0.53, 0.44], [0.44, 0.32]]
    outer = smooth(place([*back, [0.27, 0.23], [0.20, 0.40]], 0.012))
    inner = smooth(place([*hollow, [0.32, 0.32], [0.20, 0.40]], 0.012))
    inner[-1] = outer[-1]
    steep = 0.25 + 0.9 * (scene.y - 0.25)
    bands: tuple[Plates, ...] = (
        {"flat": Ink.SKY, "dots": Ink.DEEP, "tone": 1.1 - steep, "screen": Screen.FINE},
        {"flat": Ink.DEEP, "dots": Ink.KEY, "tone": steep, "screen": Screen.STEEP},
        {"flat": Ink.PAPER, "dots": Ink.SKY, "tone": steep, "screen": Screen.COARSE},
        {"flat": Ink.DEEP, "dots": Ink.SKY, "tone": 0.8 - steep, "screen": Screen.COARSE},
    )
    count = 11
    for index in range(count):
        part = (index / count) ** 0.9
        line = outer * (1 - part) + inner * part
        page.shape(np.concatenate([line, inner[::-1]]), 0.009, **bands[index % len(bands)])
    for _ in range(44):  # brush lines that follow the water
        part, start = rng.uniform(0.03, 0.97), int(rng.integers(10, 60))
        line = outer * (1 - part) + inner * part
        page.stroke(line[start : start + int(rng.integers(12, 34))], 0.007)
    crest = outer[int(0.50 * len(outer)) :]
    _foam(page, rng, crest, 46, 0.034)
    for index, level in enumerate((0.84, 0.94)):
        x = np.linspace(-0.1, 1.1, 160)
        chop = level - 0.045 * np.abs(np.sin(np.pi * (x * (4.5 - index) + rng.random()))) ** 1.5
        row = np.stack([x, chop], 1)
        near: Plates = {**bands[index], "tone": 0.30 + 2.2 * (scene.y - level)}
        page.shape(np.concatenate([row, [[1.1, 1.2], [-0.1, 1.2]]]), 0.011, **near)
        _foam(page, rng, row, 46, 0.017)
    for _ in range(5):
        at = place([[rng.uniform(0.04, 0.5), rng.uniform(0.05, 0.34)]])[0]
        for wing in (-1.0, 1.0):
            span = np.array([[0, 0], [0.4 * wing, -0.42], [wing, -0.2]]) * rng.uniform(0.02, 0.04)
            page.stroke(smooth(at + span), 0.010)


def _foam(page: Page, rng: np.random.Generator, line: Array, count: int, radius: float) -> None:
    """Set foam along a line, and drops in the air about it."""
    at = line[np.sort(rng.integers(0, len(line), count))]
    centres = at + radius * rng.normal(0, 0.45, at.shape)
    shade = 0.55 + 9 * (page.scene.y - np.interp(page.scene.x, *_by_x(line)))
    page.puffs(
        centres,
        radius * rng.uniform(0.45, 1.1, count),
        0.009,
        flat=Ink.PAPER,
        dots=Ink.SKY,
        tone=shade.clip(0, 0.75),
        screen=Screen.FINE,
    )
    drops = at + radius * rng.normal(0, 2.2, at.shape) - (0, radius)
    page.puffs(drops, radius * rng.uniform(0.08, 0.26, count), 0.006, flat=Ink.PAPER, tone=0.0)


def _by_x(line: Array) -> Array:
    """Return a line's x, rising, and its y there: (2, N)."""
    return np.asarray(line[np.argsort(line[:, 0])].T)


def _rocket(page: Page, rng: np.random.Generator) -> None:
    """Draw a rocket that climbs past a planet, on a trail of smoke from a city."""
    scene, side = page.scene, rng.choice([-1.0, 1.0])
    heading = np.array([side * rng.uniform(0.55, 0.8), -0.75])
    heading /= np.linalg.norm(heading)
    middle = np.array([0.5 + side * 0.10, rng.uniform(0.32, 0.38)])

    _rays(page, rng, middle + 0.25 * heading, 24)
    planet = np.array([0.5 - side * rng.uniform(0.26, 0.32), rng.uniform(0.20, 0.26)])
    globe = polar(planet, rng.uniform(0.13, 0.17), np.linspace(0, 2 * np.pi, 90))
    tone = 0.35 + 2.4 * (scene.x - planet[0] + scene.y - planet[1])
    page.shape(globe, 0.011, flat=Ink.SUN, dots=Ink.RED, tone=tone, screen=Screen.COARSE)
    for _ in range(16):
        star = _star(rng, rng.random(2) * (1, 0.6), rng.uniform(0.012, 0.028), 5, 0.55)
        page.shape(star, 0.006, flat=Ink.SUN if rng.random() < 0.6 else Ink.PAPER, tone=0.0)
    _city(page, rng, rng.uniform(0.88, 0.94))
    for step in np.linspace(1, 0, 8):  # the trail widens downwards
        foot = middle - (0.36 + 0.50 * step) * heading + 0.05 * rng.standard_normal(2)
        _cloud(page, rng, foot, 0.035 + 0.035 * step, 0.030 + 0.055 * step)

    _hull(page, rng, middle, heading, side)


def _hull(page: Page, rng: np.random.Generator, middle: Array, heading: Array, side: float) -> None:
    """Draw the rocket itself: flames, fins, body, nose and portholes."""
    scene, across = page.scene, np.array([-heading[1], heading[0]])

    def hull(points: npt.ArrayLike) -> Array:  # from (along, across) the rocket
        return np.asarray(middle + np.array(points) @ np.stack([heading, across]))

    v = (scene.x - middle[0]) * across[0] + (scene.y - middle[1]) * across[1]
    u = (scene.x - middle[0]) * heading[0] + (scene.y - middle[1]) * heading[1]
    shade = 0.42 + 4.2 * side * v
    for reach, wide, flat, dots in (
        (0.30, 0.075, Ink.RED, Ink.SUN),
        (0.22, 0.055, Ink.SUN, Ink.RED),
        (0.13, 0.032, Ink.PAPER, Ink.SUN),
    ):
        tongues = [[-0.20 - reach * f, wide * w] for f, w in FLAME * rng.uniform(0.9, 1.1, (11, 2))]
        page.shape(
            hull(tongues), 0.009, flat=flat, dots=dots, tone=-2.2 * (u + 0.17), screen=Screen.FINE
        )
    red: Plates = {"flat": Ink.RED, "dots": Ink.KEY, "tone": shade, "screen": Screen.FINE}
    for fin in (-1.0, 1.0):
        blade = [[-0.04, 0.06], [-0.10, 0.135], [-0.27, 0.165], [-0.20, 0.10], [-0.19, 0.05]]
        page.shape(hull(np.array(blade) * (1, fin)), 0.012, **red)
    half = np.array([[-0.21, 0.045], [-0.12, 0.080], [0.0, 0.092], [0.12, 0.074], [0.21, 0.036]])
    body = np.concatenate([half, [[0.27, 0.0]], half[::-1] * (1, -1)])
    page.shape(
        hull(smooth(body)), 0.014, flat=Ink.PAPER, dots=Ink.SKY, tone=shade, screen=Screen.FINE
    )
    nose = np.array([[0.12, 0.074], [0.21, 0.036], [0.27, 0.0], [0.21, -0.036], [0.12, -0.074]])
    page.shape(hull(smooth(nose)), 0.011, **red)
    page.shape(
        hull([[-0.12, 0.080], [-0.075, 0.086], [-0.075, -0.086], [-0.12, -0.080]]), 0.009, **red
    )
    facing = [[-0.06, 0.012], [-0.06, -0.012], [-0.33, -0.01], [-0.33, 0.01]]  # the third fin
    page.shape(hull(facing), 0.009, **red)
    for at in (0.065, 0.0):
        ring = polar(hull([[at, 0.0]])[0], 0.030, np.linspace(0, 2 * np.pi, 40))
        page.shape(
            ring, 0.010, flat=Ink.SKY, dots=Ink.DEEP, tone=0.5 + 8 * side * v, screen=Screen.LINES
        )


# --------------------------------------------------------------------------------------- the press


def _inks(colors: Palette) -> Array:
    """Return the colours of ``Ink``, (6, 3), found in the palette by lightness and temperature."""
    cool, warm = colors.part("cool"), colors.part("warm")
    if len(cool.colors) < 4:  # deep and sky need two colours between ink and paper
        cool = colors
    red = colors.reddest
    if red[0] - red[1:].mean() <= 0.1:  # in a palette without red a middle tone stands in for it
        red = colors.nearest(0.4)
    return np.stack(
        [colors.paper, colors.ink, cool.nearest(0.34), cool.nearest(0.67), red, warm.nearest(0.8)]
    ).astype(np.float32)


def _screened(page: Page, number: int, scale: float) -> Array:
    """Break the page's tones into one screen's dots or lines: how much each pixel is covered."""
    period, degrees, ruled = SCREENS[number]
    period, angle = period * scale / 512, np.deg2rad(degrees)
    x, y = page.scene.x, page.scene.y
    u = (np.cos(angle) * x + np.sin(angle) * y) / period
    away = np.abs(np.mod(u, 1) - 0.5)
    reach = 0.5 * page.scene["tone"].clip(0, 1)
    if not ruled:
        v = (np.cos(angle) * y - np.sin(angle) * x) / period
        away = np.hypot(away, np.mod(v, 1) - 0.5)
        reach = 0.64 * np.sqrt(2 * reach)  # at most dots join, and leave small stars between
    soft = min(0.9 / (period * len(x)), 0.3)  # about a pixel of the canvas
    return smoothstep(0.0, 1.0, 0.5 + (reach - away) / (2 * soft)) * (reach > 0.03)


def _shifted(plate: Array, shift: Array, order: int = 1) -> Array:
    """Move a plate by a part of the side; its border is repeated. Order 0 keeps whole numbers."""
    rows_first = shift[::-1] * len(plate)
    return np.asarray(ndimage.shift(plate, rows_first, order=order, mode="nearest"))


def _print(
    page: Page, rng: np.random.Generator, colors: Palette, scale: float, misprint: float, age: float
) -> Array:
    """Pull the print: paper, even inks, screened inks and the key, each plate a little off."""
    inks, scene = _inks(colors), page.scene
    size = len(scene.x)
    shift = 0.0042 * misprint * polar(np.zeros(2), 1.0, rng.uniform(0, 6.28) + np.array([0, 2.2]))
    blotches, fibres = Noise.make(rng, 5, octaves=3), Noise.make(rng, 150)
    worn = Noise.make(rng, 110, octaves=2).grid(size) + 0.45 * Noise.make(rng, 7).grid(size)
    stain = 0.5 + 0.5 * blotches.grid(size)
    edge, _ = from_edge(scene.x, scene.y)
    yellow = age * (0.10 * stain + 0.16 * smoothstep(0.07, 0.0, edge) + 0.03 * fibres.grid(size))
    pixels = over(
        np.broadcast_to(inks[Ink.PAPER], (size, size, 3)),
        yellow.clip(0, 0.6),
        colors.part("warm").at(0.66),
    )
    flat = scene["flat"].astype(np.int64)
    # Worn ink lets the paper through in specks.
    hold = 1 - 0.75 * smoothstep(2.7, 3.1, worn * age**0.5) - 0.05 * age * np.abs(worn)
    hold = hold.clip(0)  # no more than all of it
    pixels = over(pixels, 0.95 * hold * (flat != Ink.PAPER), inks[flat])
    number = scene["screen"].astype(np.int64)
    dots = np.zeros((size, size), np.float32)
    for each in Screen:
        np.copyto(dots, _screened(page, each, scale), where=number == each)
    which = _shifted(scene["dots"], shift[1], order=0).astype(np.int64)
    pixels = over(pixels, 0.93 * hold * _shifted(dots, shift[1]), inks[which])
    lines = _shifted(1 - page.key.pixels()[..., 0], shift[0])
    return over(pixels, 0.96 * (0.4 + 0.6 * hold) * lines, inks[Ink.KEY])
