"""Ink wash: misty mountains above water, a pine or bamboo, birds and a seal, on fibrous paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.brush import lane_of, sweep
from nstlib.painting.canvas import (
    FIELD,
    SUPERSAMPLE,
    Array,
    Indices,
    Noise,
    finish,
    generator,
    look_up,
    over,
    pixel_centres,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter


@painter
def ink_wash(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "sumi",
    *,
    ridges: Annotated[int, Range(2, 9, "how many ridges lie behind each other")] = 6,
    mist: Annotated[float, Range(0.3, 2, "how soon a ridge fades into mist")] = 1.0,
    foliage: Annotated[float, Range(0, 2, "how much grows: needles, leaves, reeds, dots")] = 1.0,
    brush: Annotated[float, Range(0, 2, "how many strokes model the rocks and the water")] = 1.0,
) -> Tensor:
    """Paint ridges in wet washes, dark at their crests, then all that a dry brush adds.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(ink_wash(size=64, ridges=4).shape)
        (1, 3, 64, 64)
    """
    rng = generator("ink_wash", seed)
    colors = Palette(palette)
    side = float(rng.choice([-1.0, 1.0]))  # where the tree stands; -1 is left
    crests = _crests(rng, ridges, side)
    sheet = _washes(rng, crests, mist, colors, side, size * SUPERSAMPLE)
    _rock_strokes(rng, sheet, crests, brush)
    _dots(rng, sheet, crests, foliage)
    _water(rng, sheet, crests, brush, side)
    grow = _bamboo if rng.random() < 0.35 else _pine
    grow(rng, sheet, side, foliage)
    _reeds(rng, sheet, side, foliage)
    _birds(rng, sheet, side)
    _seal(rng, sheet, colors, side)
    return finish(_fibres(rng, sheet.color))


@dataclass
class Sheet:
    """The paper and what is on it; inks of the cool part of the palette, by their dilution."""

    color: Array  # (S, S, 3)
    ridge: Indices  # (S, S): the ridge seen at each pixel, -1 for the sky
    inks: Palette

    def stroke(
        self,
        rng: np.random.Generator,
        path: tuple[Array, Array],
        width: Array | float,
        tone: Array | float,
        *,
        strength: float = 0.9,
        dryness: float = 0.4,
        taper: float = 0.9,
        ridge: Indices | None = None,
    ) -> None:
        """Stroke paths (N, P) in ink of a tone, 0 … 1, so dry that the paper shows between hairs.

        ``ridge`` (N,) keeps each stroke to one ridge: what stands before it hides the rest.
        """
        x, y = (part.astype(np.float32) for part in path)
        if len(x) == 0:
            return
        wide = np.asarray(width, np.float32)
        wide = np.broadcast_to(wide, len(x)) if wide.ndim < 2 else wide
        found = sweep(len(self.color), x, y, wide, taper=taper)
        hairs = rng.random((64, 7)).astype(np.float32)
        hair = hairs[found.stroke % 64, lane_of(found.v, 7)]
        # A stroke begins wet; hair by hair it runs dry.
        load = smoothstep(0.0, 0.25, 1.0 - dryness * (0.35 + 0.9 * found.u) * (0.5 + hair))
        cover = strength * load * (1.0 - 0.35 * hair)
        if ridge is not None:
            cover = cover * (self.ridge[found.covered] == ridge[found.stroke])
        tones = np.broadcast_to(np.asarray(tone, np.float32), (len(x),))
        below = self.color[found.covered]
        ink = self.inks.at(tones)[found.stroke]
        self.color[found.covered] = below + cover[:, None] * (ink - below)


def _crests(rng: np.random.Generator, count: int, side: float) -> Array:
    """Draw the height of every ridge's crest along x, (ridges, FIELD): far ones first.

    Peaks stand like pillars, steep and rounded; the last crest is the bank the tree grows on.
    """
    x = (np.arange(FIELD, dtype=np.float32) + 0.5) / FIELD
    steep = rng.uniform(0.7, 1.5)  # gentle hills, or needles of rock
    focus = 0.5 - side * rng.uniform(0.0, 0.3)  # the highest peaks stand away from the tree
    horizon, lofty = rng.uniform(0.36, 0.54), rng.uniform(0.75, 1.5)
    crests = []
    for index in range(count):
        depth = index / count
        base = horizon + (0.84 - horizon) * depth + rng.uniform(-0.03, 0.03)
        line = np.full(FIELD, base, np.float32)
        for _ in range(int(rng.integers(3, 6))):
            at = focus + rng.normal(0, 0.38)
            tall = (
                lofty
                * rng.uniform(0.06, 0.34)
                * (1 - 0.35 * depth)
                * np.exp(-1.5 * abs(at - focus))
            )
            wide = rng.uniform(0.05, 0.13) / steep * (0.8 + 0.5 * depth)
            lean = 1 + 0.5 * np.sign(x - at) * rng.uniform(-0.7, 0.7)
            # A pillar of rock has a shoulder on its leeward side.
            tall *= 1 - rng.uniform(0.1, 0.45) * smoothstep(0.2, 0.5, (x - at) / (wide * lean))
            peak = tall * np.exp(-(np.abs((x - at) / (wide * lean)) ** (1.1 + 0.5 * steep)))
            line = np.minimum(line, base - peak)
        rough = sum(
            0.5**octave * Noise.make(rng, 9 << octave).grid(FIELD)[0] for octave in range(4)
        )
        crests.append(line + 0.0095 * np.asarray(rough))
    rise = smoothstep(-0.10, 0.55, side * (x - 0.5))
    crests.append(1.02 - 0.24 * rise + 0.006 * Noise.make(rng, 24, octaves=3).grid(FIELD)[0])
    return np.stack(crests).astype(np.float32)


def _crest_at(crests: Array, ridge: Indices, x: Array) -> Array:
    """Return the height of a ridge's crest at x, for many at once."""
    column = np.clip(x * FIELD - 0.5, 0, FIELD - 1.001)
    left = column.astype(np.int64)
    part = column - left
    line = crests[ridge, left] * (1 - part) + crests[ridge, left + 1] * part
    return np.asarray(line, dtype=np.float32)


def _washes(
    rng: np.random.Generator,
    crests: Array,
    mist: float,
    colors: Palette,
    side: float,
    canvas: int,
) -> Sheet:
    """Lay in sky, sun and ridges wet: ink sinks from each crest and is lost in mist.

    A ridge hides what is behind it, so every pixel needs the nearest ridge's wash alone.
    """
    x, y = pixel_centres(canvas)
    grain = Noise.make(rng, 60, octaves=2).grid(canvas)
    cloud = Noise.make(rng, 3, octaves=4).grid(canvas)
    ragged = y + 0.0012 * grain
    ridge = np.full(x.shape, -1, np.int64)
    below = np.full(x.shape, 1.0, np.float32)  # how far below the crest
    for index in range(len(crests)):
        line = _crest_at(crests, np.full(canvas, index), x[0])
        deep = ragged - line
        inside = deep > 0
        ridge[inside] = index
        below[inside] = deep[inside]

    near = (np.arange(len(crests)) / (len(crests) - 1)).astype(np.float32)
    near = np.append(near, 0.0)[ridge].astype(np.float32)  # the sky's -1 takes the last
    # Ink runs downhill: a fine noise, stretched along the fall, in streaks of its own per ridge.
    runs = look_up(
        Noise.make(rng, 64).grid(FIELD), np.mod(x + 0.37 * ridge, 1.0), np.mod(below * 0.5, 1.0)
    )
    reach = (0.050 + 0.045 * near) / mist * (1.0 + 0.35 * cloud.clip(-1.5, 1.5))
    wash = np.exp(-below / reach.clip(0.02)) * (1.0 + 0.16 * runs + 0.10 * grain)
    wet_edge = np.exp(-below / 0.004)
    dark = (0.42 + 0.56 * near) * (0.92 * wash + 0.20 * wet_edge)
    # Mist gathers behind the tree, whose ink would drown in the hills' otherwise.
    veil = smoothstep(0.34, 0.0, np.abs(x - 0.5 - 0.30 * side)) * (ridge < len(crests) - 1)
    dark *= 1.0 - 0.42 * veil
    sky = 0.30 * smoothstep(0.45, 0.0, y) + 0.08 * cloud.clip(-1.5, 1.5) * smoothstep(0.7, 0.1, y)
    depth = np.where(ridge < 0, sky * (1 + 0.12 * grain), dark).clip(0, 0.97)

    tone = 1.0 - depth + 0.03 * np.tanh(cloud)
    cool, warm = colors.part("cool"), colors.part("warm")
    # Where it is thin, the wash is stained with the palette's warm lights.
    patches = smoothstep(-1.1, 0.7, Noise.make(rng, 4, octaves=2).grid(canvas))
    stain = patches * smoothstep(0.46, 0.72, tone)
    color = over(cool.at(tone), 0.9 * stain, warm.at(tone - 0.10 * stain))

    sun_x, sun_y = 0.5 - side * rng.uniform(0.1, 0.36), rng.uniform(0.10, 0.24)
    radius = rng.uniform(0.045, 0.075)
    disc = smoothstep(
        radius + 0.003, radius - 0.003, np.hypot(x - sun_x, y - sun_y) + 0.002 * grain
    )
    disc *= (ridge < 0) * (0.80 + 0.10 * grain - 0.5 * smoothstep(sun_y, sun_y + radius, y))
    return Sheet(over(color, disc.clip(0, 1), colors.reddest), ridge, cool)


def _curved(
    x: Array, y: Array, angle: Array | float, length: Array | float, bend: Array | float
) -> tuple[Array, Array]:
    """Return paths (N, 6) that start at the points (N,) and turn by ``bend`` on their way."""
    heading = np.reshape(angle, (-1, 1)) + np.reshape(bend, (-1, 1)) * np.linspace(0, 1, 5)
    stride = np.reshape(length, (-1, 1)) / 5

    def path(start: Array, steps: Array) -> Array:
        return np.concatenate([start[:, None], start[:, None] + steps.cumsum(1)], 1)

    return path(x, stride * np.cos(heading)), path(y, stride * np.sin(heading))


def _rock_strokes(rng: np.random.Generator, sheet: Sheet, crests: Array, brush: float) -> None:
    """Model the ridges with strokes like hemp fibres, which fall from the crests both ways."""
    count = int(6500 * brush)
    ridge = np.sort(rng.integers(0, len(crests), count))  # near ones last
    near = (ridge + 1) / len(crests)
    x = rng.random(count)
    # They gather in folds of the rock and leave its faces bare.
    x += 0.016 * np.sin(60 * x + 2.0 * ridge) * rng.uniform(0.4, 1.2, count)
    y = _crest_at(crests, ridge, x) + rng.exponential(0.032 + 0.028 * near)
    slope = (_crest_at(crests, ridge, x + 0.02) - _crest_at(crests, ridge, x - 0.02)) / 0.04
    angle = np.pi / 2 - np.arctan(1.1 * slope) * 0.75 + rng.normal(0, 0.16, count)
    length = rng.uniform(0.012, 0.042, count) * (0.6 + 0.7 * near)
    path = _curved(x, y, angle, length, rng.normal(0, 0.5, count))
    width = rng.uniform(0.0014, 0.0042, count) * (0.55 + 0.6 * near)
    tone = (0.56 - 0.56 * near + rng.normal(0, 0.09, count)).clip(0, 0.8)
    sheet.stroke(rng, path, width, tone, strength=0.85, dryness=0.6, ridge=ridge)


def _dots(rng: np.random.Generator, sheet: Sheet, crests: Array, foliage: float) -> None:
    """Dot woods along the crests, in clumps: short dabs of a wet brush."""
    clumps, each = int(260 * foliage), 16
    ridge = np.repeat(np.sort(rng.integers(0, len(crests), clumps)), each)
    near, count = (ridge + 1) / len(crests), clumps * each
    x = np.repeat(rng.random(clumps), each) + rng.normal(0, 0.014, count)
    y = _crest_at(crests, ridge, x) + np.repeat(rng.exponential(0.035, clumps), each)
    y += rng.normal(0, 0.005, count)
    length = rng.uniform(0.003, 0.008, count) * (0.5 + 0.7 * near)
    path = _curved(x, y, rng.normal(0, 0.35, count), length, 0.0)
    tone = (0.52 - 0.54 * near + rng.normal(0, 0.08, count)).clip(0, 0.8)
    width = length * rng.uniform(0.5, 0.9, count)
    sheet.stroke(rng, path, width, tone, strength=0.8, dryness=0.15, ridge=ridge)


def _water(
    rng: np.random.Generator, sheet: Sheet, crests: Array, brush: float, side: float
) -> None:
    """Draw ripples, level and broken, and a boat with its fisher and their reflection."""
    count = int(330 * brush)
    x, y = rng.uniform(-0.1, 1.0, count), 0.82 + 0.18 * np.sort(rng.random(count)) ** 0.8
    bank = _crest_at(crests, np.full(count, len(crests) - 1), (x + 0.03).clip(0, 1))
    length = rng.uniform(0.02, 0.13, count) * (0.4 + 4 * (y - 0.8)) * (y < bank)
    path = _curved(x, y, rng.normal(0, 0.015, count), length, rng.normal(0, 0.05, count))
    width, tone = rng.uniform(0.0014, 0.0048, count), rng.uniform(0.15, 0.6, count)
    sheet.stroke(rng, path, width, tone, strength=0.6 * min(brush, 1.0), dryness=0.9)

    at, level = 0.5 - side * rng.uniform(0.08, 0.3), rng.uniform(0.86, 0.90)
    along = np.linspace(-1, 1, 9)
    for lift, thick, tone_of_hull in ((0.0, 0.010, 0.0), (0.014, 0.005, 0.5), (0.022, 0.003, 0.6)):
        hull = level + lift - (0.014 - 0.6 * lift) * along**2
        path = (at + 0.08 * along)[None], hull[None]
        sheet.stroke(rng, path, thick, tone_of_hull, dryness=0.2)
    # The fisher's back, hat and rod.
    dx = np.array([[0.0, 0.001, 0.002], [-0.014, 0.0, 0.015], [0.012, 0.05, 0.085]])
    dy = np.array([[-0.004, -0.018, -0.030], [-0.028, -0.037, -0.028], [-0.02, -0.05, -0.055]])
    thick_of = np.array([0.014, 0.007, 0.0020])
    sheet.stroke(rng, (at - 0.02 + dx, level + dy), thick_of, 0.0, dryness=0.1, taper=0.5)


def _limb(rng: np.random.Generator, start: Array, end: Array, kink: float) -> Array:
    """Return a crooked line from start to end, (10, 2)."""
    t = np.linspace(0, 1, 10)
    wander = rng.normal(0, kink, (10, 2)).cumsum(0) * 0.5
    wander -= t[:, None] * wander[-1]
    return np.asarray(start + t[:, None] * (end - start) + wander * np.sin(np.pi * t)[:, None])


def _pine(rng: np.random.Generator, sheet: Sheet, side: float, foliage: float) -> None:
    """Grow a crooked old pine that leans over the water, its needles in flat tiers of fans."""
    root = np.array([0.5 + side * rng.uniform(0.30, 0.40), 1.04])
    top = np.array([0.5 + side * rng.uniform(0.12, 0.34), rng.uniform(0.16, 0.28)])
    trunk = _limb(rng, root, top, 0.040)
    limbs, widths, twigs = [trunk], [np.linspace(0.046, 0.010, 10)], []
    for number in range(9):
        t = 0.30 + 0.70 * number / 8
        foot = trunk[round(9 * t)]
        reach = rng.uniform(0.14, 0.34) * (1.15 - 0.5 * t) * (side if number % 2 else -side)
        limb = _limb(rng, foot, foot + np.array([reach, rng.uniform(-0.07, 0.05)]), 0.013)
        limbs.append(limb)
        widths.append(np.linspace(0.014, 0.003, 10) * (1.25 - 0.5 * t))
        twigs += [
            limb[place] + rng.normal(0, 1, 2) * [0.026, 0.010] - [0, 0.010]
            for place in rng.integers(3, 10, 7)
        ]
    wood, width = np.stack(limbs), np.stack(widths)
    sheet.stroke(
        rng, (wood[..., 0], wood[..., 1]), width, 0.0, strength=1.0, dryness=0.34, taper=0.1
    )
    place = rng.uniform(0, 9, 260)  # scales of bark, pale on the dark trunk
    bark_x, bark_y = (np.interp(place, np.arange(10), part) for part in trunk.T)
    bark_x = bark_x + rng.normal(0, 0.009, 260) * (1 - place / 12)
    scales = _curved(bark_x, bark_y, rng.uniform(0, 6.28, 260), 0.010, 2.2)
    sheet.stroke(rng, scales, 0.0018, 0.7, strength=0.4)

    fans = np.array(twigs)
    haze = _curved(fans[:, 0] - 0.022, fans[:, 1] - 0.006, 0.0, 0.044, 0.0)
    sheet.stroke(rng, haze, 0.024, 0.35, strength=0.35, dryness=0.1)
    middle = np.repeat(fans, int(52 * foliage), 0)
    count = len(middle)
    middle = middle + rng.normal(0, 0.007, (count, 2)) * [1.6, 0.5]
    angle = -np.pi / 2 + rng.uniform(-1.5, 1.5, count)  # needles point up and out
    length, bend = rng.uniform(0.012, 0.026, count), rng.normal(0, 0.25, count)
    needles = _curved(middle[:, 0], middle[:, 1], angle, length, bend)
    thin, tone = rng.uniform(0.0016, 0.0026, count), rng.choice([0.0, 0.0, 0.10, 0.30], count)
    sheet.stroke(rng, needles, thin, tone, strength=1.0, dryness=0.2)


def _bamboo(rng: np.random.Generator, sheet: Sheet, side: float, foliage: float) -> None:
    """Grow canes of bamboo, joint by joint in one dry stroke each, with leaves in falling sprays."""
    joints = []
    for pale in (0.55, 0.40, 0.25, 0.10, 0.0, 0.0):  # far canes first, in thin ink
        foot, thick = 0.5 + side * rng.uniform(0.14, 0.50), rng.uniform(0.009, 0.021)
        lean, bow = -side * rng.uniform(0.0, 0.13), -side * rng.uniform(0, 0.10)
        t = np.linspace(0, 1, 9) + np.append(0, rng.normal(0, 0.012, 8))
        x, y = foot + lean * t + bow * t**2, 1.03 - 1.10 * t
        cane = np.stack([x[:-1], x[1:]], 1), np.stack([y[:-1] - 0.003, y[1:] + 0.003], 1)
        sheet.stroke(rng, cane, thick, pale, strength=0.95, dryness=0.6, taper=0.06)
        knot = x[1:-1, None] + thick * np.array([-0.7, 0, 0.7]), y[1:-1, None] + np.zeros(3)
        sheet.stroke(rng, knot, 0.0035, max(pale - 0.1, 0.0), dryness=0.2)
        joints += [(x[k], y[k], pale) for k in range(2, 9)]
    sprays = int(120 * foliage)
    spray = np.array(joints)[rng.integers(0, len(joints), sprays)]
    spray = spray[np.argsort(-spray[:, 2], kind="stable")]  # the palest lie behind
    spray[:, :2] += rng.normal(0, 1, (sprays, 2)) * [0.065, 0.045]
    leaf = np.repeat(spray, 5, 0)
    count = len(leaf)
    angle, bend = np.pi / 2 + rng.normal(0, 0.75, count), rng.normal(0, 0.3, count)
    leaves = _curved(leaf[:, 0], leaf[:, 1], angle, rng.uniform(0.035, 0.085, count), bend)
    width = rng.uniform(0.006, 0.0125, (count, 1)) * np.array([0.25, 0.8, 1.0, 0.8, 0.45, 0.05])
    tone = (leaf[:, 2] + rng.normal(0, 0.06, count)).clip(0, 0.7)
    sheet.stroke(rng, leaves, width, tone, strength=1.0, dryness=0.22, taper=0.0)


def _reeds(rng: np.random.Generator, sheet: Sheet, side: float, foliage: float) -> None:
    """Draw reeds at the near edge, in tufts and thickets that lean with the wind."""
    tufts, each = int(34 * foliage), 14
    count, wind = tufts * each, -side * rng.uniform(0.1, 0.5)
    tuft = rng.choice(rng.random(4), tufts) + rng.normal(0, 0.075, tufts)
    foot = np.repeat(tuft, each) + rng.normal(0, 0.014, count)
    tall = np.repeat(rng.uniform(0.03, 0.11, tufts), each) * rng.uniform(0.5, 1.1, count)
    base = np.repeat(rng.uniform(0.95, 1.03, tufts), each)
    angle = -np.pi / 2 + rng.normal(0.3 * wind, 0.22, count)
    path = _curved(foot, base, angle, tall, wind + rng.normal(0, 0.5, count))
    tone = rng.choice([0.0, 0.08, 0.2, 0.45], count)
    sheet.stroke(rng, path, rng.uniform(0.0018, 0.0040, count), tone, dryness=0.3)


def _birds(rng: np.random.Generator, sheet: Sheet, side: float) -> None:
    """Let a loose line of geese cross the sky: two strokes for each."""
    count = int(rng.integers(5, 10))
    order = np.arange(count)
    x = 0.5 - side * rng.uniform(-0.1, 0.15) - 0.034 * side * order + rng.normal(0, 0.008, count)
    y = rng.uniform(0.10, 0.22) + 0.016 * np.abs(order - 2) + rng.normal(0, 0.005, count)
    span = rng.uniform(0.013, 0.022, count)
    for wing, first in ((-1.0, np.pi + 0.75), (1.0, -0.75)):
        path = _curved(x, y, first + rng.normal(0, 0.12, count), span, wing)
        sheet.stroke(rng, path, 0.0042, 0.0, strength=0.95, dryness=0.2)


def _seal(rng: np.random.Generator, sheet: Sheet, colors: Palette, side: float) -> None:
    """Write a short column with the brush, and stamp the red seal beneath it."""
    left, top, edge = (0.90 if side < 0 else 0.045), rng.uniform(0.34, 0.44), 0.056
    across = left + rng.uniform(0.004, 0.040, 30)
    down = top - 0.245 + rng.uniform(0, 0.034, 30) + np.repeat(0.046 * np.arange(5), 6)
    turn = rng.choice([0.0, 0.05, 1.5, 2.3, 0.8], 30) + rng.normal(0, 0.1, 30)
    path = _curved(across, down, turn, rng.uniform(0.008, 0.028, 30), rng.normal(0, 0.3, 30))
    sheet.stroke(rng, path, rng.uniform(0.003, 0.0065, 30), 0.0, strength=0.95, dryness=0.3)

    canvas = len(sheet.color)
    x, y = pixel_centres(canvas)
    worn = 0.0016 * Noise.make(rng, 60).grid(canvas)
    u, v = (x - left) / edge, (y - top) / edge
    outside = np.maximum(np.abs(u - 0.5), np.abs(v - 0.5)) - 0.5
    stamp = smoothstep(0.0014, -0.0014, outside * edge + worn)
    cut = rng.random((6, 6)) < 0.45  # characters as the knife leaves them: cells cut away
    row, column = (np.clip((at * 8 - 1).astype(np.int64), 0, 5) for at in (v, u))
    carved = cut[row, column] & (outside < -0.09)
    sheet.color = over(sheet.color, 0.93 * stamp * (1 - 0.85 * carved), colors.reddest)


def _fibres(rng: np.random.Generator, color: Array) -> Array:
    """Let the paper's fibres show, pale where they took no ink and dark where ink gathered."""
    canvas, count = len(color), 3400
    x, y = rng.uniform(-0.02, 1.02, (2, count))
    angle, length = rng.uniform(0, 6.28, count), rng.uniform(0.012, 0.045, count)
    path_x, path_y = _curved(x, y, angle, length, rng.normal(0, 1, count))
    thin = rng.uniform(0.0009, 0.0019, count).astype(np.float32)
    found = sweep(canvas, path_x.astype(np.float32), path_y.astype(np.float32), thin)
    lift = rng.choice([-0.09, -0.05, 0.06, 0.09], count).astype(np.float32)
    tooth = 0.035 * Noise.make(rng, 190).grid(canvas) + 0.018 * Noise.make(rng, 30, 2).grid(canvas)
    tooth[found.covered] += lift[found.stroke]
    return np.asarray(color * (1 + tooth[..., None]), dtype=np.float32)
