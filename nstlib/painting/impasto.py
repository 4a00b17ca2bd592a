"""Impasto: a night of lamps and wet reflections, laid on in slabs with a palette knife."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import numpy as np
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.brush import Canvas, lane_of, straight, sweep
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
from nstlib.painting.scene import Scene

KNIVES = 64  # different edges; a slab is laid with one of them
NICKS = 22  # places across a knife's edge that drag the paint each in its own way


class Touch(NamedTuple):
    """One slab by itself: from where to where, how wide, and its colour."""

    x0: float
    y0: float
    x1: float
    y1: float
    width: float
    tone: float
    warmth: float


@dataclass
class Night(Scene):
    """A scene with single slabs of paint to be set last."""

    touches: list[Touch] = field(default_factory=list)

    def touch(
        self,
        start: tuple[float, float],
        stop: tuple[float, float],
        width: float,
        tone: float,
        warmth: float,
    ) -> None:
        """Remember one slab."""
        self.touches.append(Touch(*start, *stop, width, tone, warmth))


@painter
def impasto(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "neon",
    *,
    slabs: Annotated[float, Range(0.6, 1.8, "length and width of the slabs of paint")] = 1.0,
    body: Annotated[float, Range(0, 2, "how thick the paint stands")] = 1.0,
    lamps: Annotated[float, Range(0, 2, "how far the lamps light up the night")] = 1.0,
    drag: Annotated[float, Range(0, 2, "how far the knife pulls one colour into the next")] = 1.0,
) -> Tensor:
    """Paint a rainy street or a harbour at night in thick, short, upright and level slabs.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(impasto(size=64, seed=1).shape)
        (1, 3, 64, 64)
    """
    rng = generator("impasto", seed)
    colors = Palette(palette)
    x, y = pixel_centres(FIELD)
    ground = Scene.blank(x, y, tone=0.12, warmth=0.0, upright=0.0, glow=0.0)
    scene = Night(ground.x, ground.y, ground.fields, ground.parts)
    (_street, _harbour)[int(rng.integers(2))](scene, rng)
    tone = scene["tone"] + lamps * scene["glow"] * (1 - scene["tone"])
    warmth = np.maximum(scene["warmth"], smoothstep(0.05, 0.35, lamps * scene["glow"]))
    view = np.stack([tone, warmth, scene["upright"]], -1).astype(np.float32)

    under = _mix(colors, enlarge(tone, size * SUPERSAMPLE), enlarge(warmth, size * SUPERSAMPLE))
    canvas = Canvas.primed(0.7 * under)
    # Small slabs go where there is something to see: edges and lights.
    steep = np.hypot(*np.gradient(blur(tone, 0.004)))
    detail = (0.06 + 11.0 * steep + 0.35 * smoothstep(0.55, 0.85, tone)).clip(0, 1)
    # From broad to fine: how many, length, width, how far a slab's tone strays, and what part
    # of them lies where there is little to see.
    for count, length, width, stray, plain in (
        (1000, 0.140, 0.074, 0.080, 0.6),
        (3600, 0.074, 0.032, 0.085, 0.05),
        (9500, 0.036, 0.0135, 0.075, 0.05),
    ):
        at = rng.random((int(count / slabs**1.5), 2)).astype(np.float32)
        at = at[rng.random(len(at)) < plain + look_up(detail, at[:, 0], at[:, 1])]
        _lay(canvas, rng, colors, view, at, (length * slabs, width * slabs), stray, drag)
    _touch(canvas, rng, colors, scene.touches)
    return finish(canvas.lit(0.42 * body))


def _mix(colors: Palette, tone: Array, warmth: Array, nearest: bool = False) -> Array:
    """Return the colours of tones (...), from the palette's cool part to its warm one."""
    cool, warm = (
        part.nearest(tone) if nearest else part.at(tone)
        for part in (colors.part("cool"), colors.part("warm"))
    )
    share = smoothstep(0.35, 0.65, warmth)[..., None]
    return np.asarray(cool + share * (warm - cool), dtype=np.float32)


def _lay(
    canvas: Canvas,
    rng: np.random.Generator,
    colors: Palette,
    view: Array,
    at: Array,
    slab: tuple[float, float],
    stray: float,
    drag: float,
) -> None:
    """Lay slabs of one size at the places (N, 2): each a colour, pulled into the next one's."""
    count = len(at)
    length, width = slab
    upright = look_up(view[..., 2], *at.T) + 0.22 * rng.standard_normal(count) > 0.5
    angle = np.where(upright, np.pi / 2, 0.0) + 0.07 * rng.standard_normal(count)
    angle += np.pi * (rng.random(count) < 0.5)  # the knife is pulled either way
    reach = length * rng.uniform(0.5, 1.0, count)
    path_x, path_y = straight(at[:, 0], at[:, 1], angle, reach)

    ends = []
    for end in (0.08, 0.92):  # what the slab shows where it begins and where it stops
        x, y = (path[:, 0] + end * (path[:, 1] - path[:, 0]) for path in (path_x, path_y))
        ends.append((look_up(view[..., 0], x, y), look_up(view[..., 1], x, y)))
    (tone, warmth), (far_tone, far_warmth) = ends
    # Across a hard edge the knife seldom goes.
    jump = np.abs(tone - far_tone) + 0.3 * np.abs(warmth - far_warmth)
    kept = (jump < 0.14) | (rng.random(count) < 0.06 + 0.10 * drag)
    own = stray * rng.standard_normal(count)
    lean = 0.13 * rng.standard_normal(count)  # some warm slabs among the cool, and cool among warm
    tone, far_tone = tone + own, far_tone + own
    warmth, far_warmth = warmth + lean, far_warmth + lean
    near = 0.45 * _mix(colors, tone, warmth) + 0.55 * _mix(colors, tone, warmth, nearest=True)
    far = _mix(colors, far_tone + 0.10 * rng.standard_normal(count), far_warmth)

    # Lights go on last, as they do on a dark canvas.
    order = np.argsort(tone + 0.22 * rng.standard_normal(count), kind="stable")
    order = order[kept[order]]
    widths = (width * rng.uniform(0.6, 1.0, count)).astype(np.float32)
    _press(canvas, rng, path_x[order], path_y[order], widths[order], near[order], far[order], drag)


def _touch(canvas: Canvas, rng: np.random.Generator, colors: Palette, touches: list[Touch]) -> None:
    """Set single slabs with the edge of the knife: panes, posts, masts, the hearts of lamps."""
    rows = np.array(touches, np.float32)
    x0, y0, x1, y1, widths, tone, warmth = rows.T
    paint = _mix(colors, tone + 0.03 * rng.standard_normal(len(rows)), warmth)
    far = _mix(colors, tone - 0.14, warmth)
    _press(canvas, rng, np.stack([x0, x1], 1), np.stack([y0, y1], 1), widths, paint, far, 0.6)


def _press(
    canvas: Canvas,
    rng: np.random.Generator,
    path_x: Array,
    path_y: Array,
    widths: Array,
    near: Array,
    far: Array,
    drag: float,
) -> None:
    """Press slabs flat in order: streaks of the far colour, ridges at the sides and at the end."""
    edge = rng.standard_normal((KNIVES, NICKS)).astype(np.float32)
    worn = 0.14 * rng.random((KNIVES, NICKS)).astype(np.float32) ** 2
    hold = rng.uniform(0.2, 1.3, (KNIVES, NICKS)).astype(np.float32)  # how long a streak stays pure
    knife = rng.integers(0, KNIVES, len(widths))
    found = sweep(len(canvas.color), path_x, path_y, widths, fray=worn[knife])
    u, v, at = found.u, found.v, found.covered
    lane = lane_of(v, NICKS)
    which = knife[found.stroke]
    nick = edge[which, lane]

    pulled = smoothstep(-0.1, 0.25, drag * u - hold[which, lane])[:, None]
    paint = near[found.stroke] + pulled * (far - near)[found.stroke]
    canvas.color[at] = paint * (1 + 0.03 * nick[:, None]) + 0.010 * nick[:, None]
    # The knife squeezes paint out at its sides, and leaves a lip where it is lifted.
    rims = smoothstep(0.62, 0.92, np.abs(v)) * (1 - 0.7 * smoothstep(0.92, 1.0, np.abs(v)))
    lip = np.exp(-(((u - 0.93) / 0.045) ** 2))
    thick = 2.0 * (widths[found.stroke] / 0.026) ** 0.5
    canvas.height[at] = 0.25 * canvas.height[at] + thick * (
        0.55 + 0.35 * smoothstep(0.0, 0.15, u) + 0.75 * rims + 0.9 * lip + 0.10 * nick
    )


# ------------------------------------------------------------------------------------- what is seen


def _lamp(scene: Night, cx: float, cy: float, radius: float, reach: float) -> None:
    """Hang a lamp, and let its light spread; what is wetted later mirrors it."""
    away = np.hypot(scene.x - cx, scene.y - cy)
    scene.put(away < radius, 0, tone=1.0, warmth=1.0)
    scene["glow"][:] = np.maximum(scene["glow"], 0.7 * np.exp(-away / reach))
    for tilt in (0.0, np.pi / 2):
        dx, dy = 1.1 * radius * np.cos(tilt), 1.1 * radius * np.sin(tilt)
        scene.touch((cx - dx, cy - dy), (cx + dx, cy + dy), 1.2 * radius, 1.0, 1.0)


def _night_sky(scene: Night, rng: np.random.Generator, cx: float, cy: float, light: float) -> None:
    """Let the sky go from deep to the light that hangs over a place."""
    haze = np.exp(-1.7 * np.hypot(scene.x - cx, 1.15 * (scene.y - cy)) / light)
    drift = Noise.make(rng, 4, octaves=2).grid(FIELD)
    tone = 0.17 + 0.50 * haze + 0.10 * drift
    scene["tone"][:] = tone.clip(0.02, 1)
    scene["warmth"][:] = 1.25 * haze - 0.35


def _mirror(scene: Night, rng: np.random.Generator, base: Array, dim: float) -> None:
    """Wet the ground below a base line: what stands on it is seen again, broken and upside down."""
    wet = scene.y > base
    ripple = Noise.make(rng, 14).grid(FIELD)
    rows = Noise.make(rng, 40).grid(FIELD)[:, :1]  # each row of ripples throws its light aside
    x = scene.x + (0.006 * ripple + 0.008 * rows) * (1 + 3 * (scene.y - base))
    y = np.maximum(2 * base - scene.y, 0)
    for name in ("tone", "warmth", "glow"):
        seen = look_up(blur(scene[name], 0.004), x, y)
        np.copyto(scene[name], dim * seen, where=wet)
    dark = wet & (rows + 0.8 * ripple > 1.1)
    scene.put(dark, 0, tone=0.45 * scene["tone"], upright=0.0)
    scene["upright"][wet & ~dark] = 0.72


def _street(scene: Night, rng: np.random.Generator) -> None:
    """Compose a street that runs to a bright end: fronts with windows, lamps, umbrellas."""
    end, base = rng.uniform(0.40, 0.60), rng.uniform(0.54, 0.59)
    _night_sky(scene, rng, end, base - 0.05, rng.uniform(0.34, 0.42))
    foot = base + 0.16 * np.abs(scene.x - end)
    for side in (-1.0, 1.0):
        _fronts(scene, rng, side, end, base)
    for d in (0.11, 0.18, 0.29, 0.44):
        for side in (-1.0, 1.0):
            px, top = end + side * 0.84 * d, base - 0.58 * d
            scene.touch((px, top), (px, base + 0.17 * d), 0.003 + 0.02 * d, 0.0, 0.0)
            _lamp(scene, px, top, 0.006 + 0.038 * d, 0.012 + 0.09 * d)
    _mirror(scene, rng, foot, 0.92)
    for _ in range(9):  # lamps and windows run down the wet street as single pulls of the knife
        at, top = end + rng.normal(0, 0.25), rng.uniform(0.62, 0.9)
        warmth, width = float(rng.random() < 0.75), rng.uniform(0.008, 0.018)
        scene.touch((at, top), (at, top + rng.uniform(0.05, 0.14)), width, 0.85, warmth)
    gait = rng.choice([-1.0, 1.0])
    for shift, feet in ((0.20, 0.70), (-0.16, 0.78), (0.08, 0.93)):
        cx = end + gait * shift + rng.uniform(-0.04, 0.04)
        _walker(scene, rng, cx, feet + rng.uniform(-0.02, 0.02), base)


def _fronts(scene: Night, rng: np.random.Generator, side: float, end: float, base: float) -> None:
    """Put one side's fronts, equally wide and so in a geometric row, with shops and windows."""
    d = np.maximum(side * (scene.x - end), 1e-3)
    row = np.log(d / 0.045) / 0.47
    number = np.clip(np.floor(row), 0, 7).astype(np.int64)
    rise = (scene.y - base) / d  # in distances from the end, negative upwards
    tall, shade = rng.uniform(0.85, 1.7, 8), rng.uniform(0.08, 0.38, 8)
    hue, awnings = rng.uniform(-0.3, 0.95, 8), rng.uniform(0.15, 0.5, 8)
    front = (d > 0.045) & (rise > -tall[number]) & (scene.y < base + 0.16 * d)
    light = shade[number] * (1 + 0.45 * (rise + 0.3))
    scene.put(front, 0, tone=light, warmth=hue[number], upright=1.0)
    scene.put(front & (rise < 0.05 - tall[number]), 0, tone=0.5 * light, upright=0.0)  # cornice
    shops = front & (rise > -0.14) & (rise < 0.10) & (np.mod(row, 1) > 0.12)
    scene.put(shops, 0, tone=0.66 + 0.4 * shade[number], warmth=1.0, upright=1.0)
    awning = front & (np.abs(rise + 0.15) < 0.035)
    scene.put(awning, 0, tone=awnings[number], warmth=1.0 - hue[number], upright=0.0)
    for place in range(24):  # three windows to a front
        at = 0.045 * np.exp(0.47 * (place + 0.62) / 3)
        for storey in range(1, int((tall[place // 3] - 0.1) / 0.2)):
            if rng.random() < 0.5:
                x, y = end + side * at, base - 0.20 * (storey + 0.45) * at
                half, width = 0.062 * at, 0.075 * at
                tone, warmth = rng.uniform(0.55, 0.95), float(rng.random() < 0.72)
                scene.touch((x, y - half), (x, y + half), width, tone, warmth)
                pane = (np.abs(scene.x - x) < width) & (np.abs(scene.y - y) < half)
                scene.put(pane, 0, tone=tone, warmth=warmth)  # for the wet street to mirror


def _walker(scene: Night, rng: np.random.Generator, cx: float, feet: float, base: float) -> None:
    """Draw somebody under an umbrella: nearer ones are larger."""
    tall = 0.72 * (feet - base) + 0.07
    dx, dy = (scene.x - cx) / tall, (scene.y - feet) / tall
    coat = (np.abs(dx) < 0.24 + 0.16 * dy) & (dy > -0.80) & (dy < -0.18)
    scene.put(coat, 0, tone=0.0, warmth=0.0, upright=1.0, glow=0.0)
    hue = float(rng.random() < 0.75)

    def knife(x0: float, y0: float, x1: float, y1: float, width: float, tone: float) -> None:
        start, stop = (cx + x0 * tall, feet + y0 * tall), (cx + x1 * tall, feet + y1 * tall)
        scene.touch(start, stop, width * tall, tone, hue if tone > 0.1 else 0.0)

    knife(-0.05, -0.6, -0.09, 0.0, 0.07, 0.0)
    knife(0.05, -0.6, 0.08, -0.03, 0.07, 0.0)
    knife(-0.02, -0.74, -0.06, -0.2, 0.20, 0.02)
    knife(0.06, -0.74, 0.08, -0.26, 0.12, 0.05)
    # The umbrella: panels that fan out from its tip, lit from the left.
    for out, tone in ((0.40, 0.20), (0.24, 0.28), (-0.42, 0.44), (-0.24, 0.52), (0.0, 0.36)):
        knife(0.12 * out, -1.12, out, -0.84 + 0.12 * abs(out), 0.21, tone)
    knife(-0.10, 0.03, 0.14, 0.03, 0.05, 0.0)  # a shadow in the wet


def _harbour(scene: Night, rng: np.random.Generator) -> None:
    """Compose boats at their moorings before a lit shore, under a moon."""
    x, y = scene.x, scene.y
    base, side = rng.uniform(0.48, 0.54), rng.choice([-1.0, 1.0])
    moon = (0.5 + side * rng.uniform(0.12, 0.28), rng.uniform(0.14, 0.20))
    _night_sky(scene, rng, *moon, 0.40)
    _lamp(scene, *moon, 0.030, 0.06)
    for _ in range(14):
        cx, cy = moon + 0.026 * rng.standard_normal(2)
        dx, dy = rng.permutation([0.004, rng.uniform(0.018, 0.032)])
        scene.touch((cx - dx, cy - dy), (cx + dx, cy + dy), 0.022, rng.uniform(0.84, 1.0), 1.0)
    hills = base - 0.13 - 0.05 * np.sin(5 * x + rng.uniform(0, 6.28)) - 0.03 * np.sin(11 * x + 1)
    scene.put(y > hills, 0, tone=0.05 + 0.9 * (y - hills), warmth=0.0, upright=0.0)
    edges = np.linspace(-0.02, 1.02, 17) + rng.uniform(-0.02, 0.02, 17)
    for left, right in itertools.pairwise(edges):
        top, hue = base - rng.uniform(0.04, 0.13), rng.uniform(-0.3, 1.1)
        house = (x > left) & (x < right) & (y > top)
        scene.put(house, 0, tone=rng.uniform(0.10, 0.45), warmth=hue, upright=1.0)
        for px in np.arange(left + 0.014, right - 0.008, 0.020):
            for py in np.arange(top + 0.018, base - 0.012, 0.027):
                if rng.random() < 0.55:
                    warmth = float(rng.random() < 0.85)
                    scene.put(np.hypot(x - px, y - py) < 0.006, 0, tone=0.9, warmth=warmth)
                    scene.touch((px, py - 0.006), (px, py + 0.006), 0.008, 0.85, warmth)
    for cx in rng.permutation(6)[:5] / 6 + rng.uniform(0.02, 0.14, 5):
        _lamp(scene, cx, base - 0.02, 0.009, 0.022)
    _mirror(scene, rng, np.full_like(x, base), 0.95)
    places = np.array([0.16, 0.40, 0.64, 0.86]) + rng.uniform(-0.05, 0.05, 4)
    levels = np.sort(rng.uniform(base + 0.05, 0.86, 4))
    for cx, level in zip(rng.permutation(places), levels, strict=True):
        _boat(scene, rng, float(cx), float(level), 0.075 + 0.26 * (level - base))
    for _ in range(46):  # broken lights on the water
        cx, cy = rng.random(), base + 0.46 * rng.random() ** 1.4
        half, warmth = rng.uniform(0.012, 0.035), float(rng.random() < 0.6)
        tone, width = rng.uniform(0.45, 0.9), rng.uniform(0.006, 0.011)
        if scene.parts[int(cy * FIELD), int(cx * FIELD)] == 0:  # open water
            scene.touch((cx - half, cy), (cx + half, cy), width, tone, warmth)


def _boat(scene: Night, rng: np.random.Generator, cx: float, level: float, size: float) -> None:
    """Moor a boat with a mast, a sail or a cabin, a lamp; and lay its reflection."""
    hue, paint, lean = rng.uniform(-0.2, 1.2), rng.uniform(0.22, 0.5), rng.choice([-1.0, 1.0])
    has_sail, boat = rng.random() < 0.65, scene.new_part()
    for flip, dim in ((-1.0, 0.62), (1.0, 1.0)):  # the reflection first
        dx = lean * (scene.x - cx) / size
        up = flip * (level - scene.y) / size
        if flip < 0:
            dx, up = dx + 0.10 * np.sin(26 * up), up * 0.9
        hull = (up > -0.02) & (up < 0.34 + 0.12 * dx) & (np.abs(dx) < 0.78 + 0.75 * up)
        put = {"upright": 0.8 if flip < 0 else 0.0, "glow": 0.0}
        scene.put(hull, boat, tone=dim * paint * (0.45 + 1.8 * up), warmth=hue, **put)
        if has_sail:
            sail = (dx > 0.05) & (dx < 0.86 * (2.4 - up) / 1.9) & (up > 0.5) & (up < 2.4)
            tone = dim * (0.90 - 0.30 * dx)
            scene.put(sail, boat, tone=tone, warmth=hue + 0.5 * up - 0.6, upright=0.8, glow=0.0)
            jib = (dx < -0.06) & (dx > -0.62 * (2.0 - up) / 1.6) & (up > 0.5) & (up < 2.0)
            scene.put(jib, boat, tone=0.75 * tone, warmth=1.0 - hue, upright=0.8, glow=0.0)
        else:
            cabin = (np.abs(dx + 0.1) < 0.42) & (up > 0.34) & (up < 0.80)
            scene.put(cabin, boat, tone=dim * 0.66, warmth=1.0 - hue, **put)

    def knife(x0: float, up0: float, x1: float, up1: float, width: float, tone: float) -> None:
        start = (cx + lean * x0 * size, level - up0 * size)
        stop = (cx + lean * x1 * size, level - up1 * size)
        scene.touch(start, stop, width * size, tone, 1.0)

    knife(-0.98, 0.25, 1.05, 0.46, 0.09, 0.90)  # the rail catches the light
    knife(-0.80, 0.01, 0.85, 0.01, 0.07, 0.02)  # the shadow at the waterline
    knife(0.0, 0.35, 0.0, 2.5, 0.06, 0.03)
    if not has_sail:
        for x0 in (-0.34, -0.10, 0.14):
            knife(x0, 0.50, x0, 0.68, 0.15, 0.97)
    _lamp(scene, cx, level - (0.62 if has_sail else 1.6) * size, 0.09 * size, 0.018)
