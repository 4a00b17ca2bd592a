"""Art nouveau: a bird before a halo, its feathers and the air drawn out in whiplash lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.block import Block
from nstlib.painting.brush import sweep
from nstlib.painting.canvas import (
    SUPERSAMPLE,
    Array,
    Noise,
    finish,
    from_edge,
    generator,
    over,
    pixel_centres,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter

Complex = npt.NDArray[np.complexfloating]

# What fills the bands of the air, one after the other: a tone, and which ornament.
PLAIN, PEARLS, SCALES = 0, 1, 2
BANDS = ((0.66, PLAIN), (0.86, PLAIN), (0.50, PEARLS), (0.94, PLAIN), (0.74, SCALES), (0.38, PLAIN))


@dataclass(frozen=True)
class Tints:
    """The palette, and its halves: the bird's colours and, against them, the air's."""

    all: Palette
    bird: Palette
    air: Palette


@dataclass(frozen=True)
class Halo:
    """The disc behind the bird: its centre, its radius, and the side the bird looks to."""

    x: float
    y: float
    radius: float
    side: float

    def place(self, points: npt.ArrayLike) -> Array:
        """Return unit coordinates of points (N, 2) given in radii, for a bird that looks right."""
        shift = np.asarray(points, np.float32) * self.radius * np.array([self.side, 1.0])
        return np.asarray(shift + np.array([self.x, self.y]), dtype=np.float32)


@painter
def art_nouveau(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "salon",
    *,
    bands: Annotated[float, Range(0.5, 2, "how many bands the air is drawn in")] = 1.0,
    whirls: Annotated[int, Range(0, 6, "eyes that the bands wind around")] = 4,
    plumes: Annotated[int, Range(6, 60, "feathers of the bird's train")] = 34,
    flowers: Annotated[int, Range(0, 9, "irises that grow from below")] = 5,
) -> Tensor:
    """Print a poster: a peacock or firebird before a halo, irises, and bands that wind about them.

    Its train falls, or stands in a wheel around the halo.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(art_nouveau(size=64, flowers=3).shape)
        (1, 3, 64, 64)
    """
    rng = generator("art_nouveau", seed)
    colors = Palette(palette)
    # A cool bird in warm air, or a warm one in cool air; a falling train, or a wheel.
    warm_bird, wheel = rng.random(2) < (0.4, 0.5)
    tints = Tints(
        colors, *(colors.part(t) for t in (("warm", "cool") if warm_bird else ("cool", "warm")))
    )
    side = float(rng.choice([-1.0, 1.0]))
    at = (0.5 + side * rng.uniform(0.02, 0.08), rng.uniform(0.35, 0.39))
    halo = Halo(*at, 0.195 if wheel else 0.265, side)
    picture = _air(rng, size * SUPERSAMPLE, tints, halo, bands, whirls)
    if wheel:
        picture = _plumage(picture, tints, _wheel(rng, halo, plumes), 1.35)
    picture = _ring(rng, picture, tints, halo)
    # A bird in its wheel keeps a few feathers to cover its back.
    picture = _plumage(picture, tints, _train(rng, halo, plumes // 2 if wheel else plumes))
    picture = _bird(picture, tints, halo)
    picture = _garden(rng, picture, colors, halo, flowers)
    picture = _frame(picture, tints)
    return finish(_stone(rng, picture))


# ------------------------------------------------------------------------------------------ the air


def _air(
    rng: np.random.Generator, size: int, tints: Tints, halo: Halo, bands: float, whirls: int
) -> Array:
    """Draw the air as a fluid that streams around the halo and winds into whirls.

    The flow's complex potential maps the picture conformally: its imaginary part runs across the
    bands and its real part along them, so ornaments keep their shape wherever the bands go.
    """
    x, y = pixel_centres(size)
    wave = 0.020 * Noise.make(rng, 3).grid(size)
    z = (x - halo.x + wave) + 1j * (y - halo.y - wave)
    turn = np.complex64(np.exp(1j * (np.pi / 2 - halo.side * rng.uniform(0.3, 0.7))))
    scale = np.float32(20 * bands)
    potential = scale * (z / turn + halo.radius**2 * turn / z)
    slope = scale * (1 / turn - halo.radius**2 * turn / z**2)
    eyes = []
    corners = rng.permutation(
        np.array([[0.15, 0.14], [0.85, 0.16], [0.13, 0.60], [0.87, 0.58], [0.2, 0.88], [0.8, 0.9]])
    )
    for cx, cy in (corners + rng.uniform(-0.04, 0.04, (6, 2)))[:whirls]:
        eye = np.complex64(complex(cx - halo.x, cy - halo.y))
        # Whole periods around an eye: the bands meet themselves without a seam.
        period = len(BANDS) / (2 * np.pi)
        strength = np.complex64(period * complex(rng.choice([-1, 1]), rng.choice([-1, 1])))
        potential = potential + strength * np.log(z - eye)
        slope = slope + strength / (z - eye)
        eyes.append((cx, cy, rng.uniform(0.020, 0.032)))
    picture = _fill_bands(rng, tints, potential, np.abs(slope).astype(np.float32))
    block = Block(size, picture)
    for cx, cy, radius in eyes:
        _pearl(block, tints, np.array([cx, cy]), radius)
    return block.pixels()


def _fill_bands(rng: np.random.Generator, tints: Tints, potential: Complex, slope: Array) -> Array:
    """Tint the bands, set ornaments in some, and draw their contours, thick and thin."""
    size, ink, paper = len(slope), tints.all.ink, tints.all.paper
    across, along = potential.imag, potential.real
    number = np.floor(across).astype(np.int64) % len(BANDS)
    part = across - np.floor(across)  # 0 … 1 across a band
    tones = np.array([tone for tone, _ in BANDS], np.float32)[number]
    kinds = np.array([kind for _, kind in BANDS])[number]
    # Each tint deepens across its band; a power keeps the pale ones clean.
    picture = tints.air.nearest(tones) ** (0.85 + 0.75 * part)[..., None]
    swell = Noise.make(rng, 5).grid(size)

    # Hairs follow a plain band near its darker edge; the wide ones where the air stands still
    # are hatched all over. Ornaments are set where there is room, and none grows too large.
    room, wide = smoothstep(70, 35, slope), smoothstep(13, 8, slope)
    for place in (0.10, 0.20, 0.30, 0.41, 0.55, 0.68, 0.79, 0.88):
        gap = np.abs(part - place) / slope
        runs = wide if place < 0.5 else room * smoothstep(-0.9, 0.3, swell + place)
        hair = smoothstep(0.0015, 0.0004, gap) * np.where(kinds == PLAIN, runs, 0)
        picture = over(picture, 0.75 * hair, ink)
    fits = room * (slope > 7)
    pearl = np.hypot(np.mod(2 * along, 1.0) / 2 - 0.25, part - 0.5)  # two to a band's width
    drawn = (kinds == PEARLS) * fits
    for radius, color in ((0.23, ink), (0.17, paper)):
        inside = smoothstep(0.0007, -0.0007, (pearl - radius) / slope)
        picture = over(picture, drawn * inside, color)
    # Scales: rows of half discs, every second one shifted.
    row = np.floor(3 * part)
    tile = np.hypot(np.mod(3 * along + 0.5 * row, 1.0) - 0.5, 3 * part - row)
    drawn = (kinds == SCALES) * fits
    picture = over(picture, drawn * smoothstep(0.12, 0.04, np.abs(tile - 0.48)), ink)
    picture = over(picture, drawn * smoothstep(0.20, 0.12, tile), paper)
    gap = np.minimum(part, 1 - part) / slope
    weight = 0.0022 + 0.0009 * np.clip(swell, -1.5, 1.5)
    return over(picture, smoothstep(0.0006, -0.0006, gap - weight), ink)


# ----------------------------------------------------------------------------------------- the halo


def _inlay(
    picture: Array, distance: Array, soft: float, layers: Sequence[tuple[float, Array]]
) -> Array:
    """Lay shapes within shapes: each colour where a distance is below its radius."""
    for radius, color in layers:
        picture = over(picture, smoothstep(radius + soft, radius - soft, distance), color)
    return picture


def _ring(rng: np.random.Generator, picture: Array, tints: Tints, halo: Halo) -> Array:
    """Print the halo: rays within, and around them a ring of medallions between lines."""
    size = len(picture)
    ink, paper, air, bird = tints.all.ink, tints.all.paper, tints.air, tints.bird
    rays, count = 2 * int(rng.integers(20, 31)), int(rng.integers(22, 31))
    reach = 1.15 * halo.radius
    rows, columns = (
        slice(int((c - reach) * size), int((c + reach) * size)) for c in (halo.y, halo.x)
    )
    x, y = (part[rows, columns] for part in pixel_centres(size))
    dx, dy = (x - halo.x) / halo.radius, (y - halo.y) / halo.radius
    r, angle = np.hypot(dx, dy), np.arctan2(dy, dx) / (2 * np.pi)

    disc = air.at(1.0 - 0.14 * np.clip(r, 0, 1) ** 2)
    wedge = np.abs(np.mod(angle * rays, 1.0) - 0.5)
    disc = over(disc, smoothstep(0.22, 0.27, wedge) * smoothstep(0.1, 0.5, r), air.nearest(0.74))
    ripple = np.abs(np.mod(r * 17, 1.0) - 0.5)
    disc = over(disc, 0.45 * smoothstep(0.40, 0.47, ripple), air.at(0.3))

    # Medallions: in each of the ring's cells a disc within a disc, leaves in between.
    middle, cell = 0.935, 2 * np.pi / count * 0.935
    along = (np.mod(angle * count, 1.0) - 0.5) * cell
    medal = np.hypot(along, r - middle)
    leaf = np.hypot(np.abs(along) - cell / 2, (r - middle) / 2.6)
    ground = ((1.12, ink), (1.10, paper), (1.055, ink), (1.04, bird.nearest(0.30)))
    gems = ((0.082, ink), (0.070, air.nearest(0.72)), (0.044, ink), (0.034, paper))
    leaves = ((0.034, ink), (0.024, bird.nearest(0.75)))
    inner = ((0.83, ink), (0.81, air.nearest(0.85)), (0.785, ink), (0.77, disc))
    seen = picture[rows, columns]
    for distance, layers in ((r, ground), (medal, gems), (leaf, leaves), (r, inner)):
        seen = _inlay(seen, distance, 0.006, layers)
    picture[rows, columns] = seen
    return picture


# ----------------------------------------------------------------------------------------- the bird


def _curve(points: Array, count: int = 120) -> Array:
    """Return a smooth curve, (count, 2), through a few points (N, 2)."""
    spans = np.hypot(*np.diff(points, axis=0).T)
    at = np.concatenate([[0.0], np.cumsum(np.sqrt(spans))])
    return np.asarray(CubicSpline(at, points)(np.linspace(0, at[-1], count)), dtype=np.float32)


EYE = 0.028  # how far from a feather's tip its eye is
ROWS = (1.0, 0.82, 0.64, 0.48)  # how far each row of feathers reaches, the longest first


def _rows(plumes: int) -> list[tuple[float, float]]:
    """Return for each feather how far it reaches, and its place in its row, 0 … 1."""
    rows = np.array_split(np.arange(plumes), len(ROWS))
    return [
        (reach, (place + (0.3, 0.7)[row % 2]) / len(feathers))
        for row, (reach, feathers) in enumerate(zip(ROWS, rows, strict=True))
        for place in range(len(feathers))
    ]


def _train(rng: np.random.Generator, halo: Halo, plumes: int) -> list[Array]:
    """Let the feathers fall from the bird's back, each swinging out to its own end."""
    paths = []
    for reach, fan in _rows(plumes):
        turn = 3.05 - 1.95 * fan + rng.uniform(-0.03, 0.03)
        out = np.array([np.cos(turn), np.sin(turn)])
        start = np.array([-0.12 - 0.2 * rng.random(), 0.42])
        fall = 1.77 * reach * out + [0.07, 0.03]
        lean = np.array([-out[1], out[0]]) * (0.30 * reach * (1 - fan) + 0.05)
        points = [start, start + 0.36 * fall + lean, start + 0.74 * fall + 0.7 * lean, start + fall]
        paths.append(_curve(halo.place(points)))
    return paths


def _wheel(rng: np.random.Generator, halo: Halo, plumes: int) -> list[Array]:
    """Spread the feathers around the halo, all bent a little the same way."""
    paths = []
    for reach, fan in _rows(plumes):
        turn = -np.pi / 2 + 4.9 * (fan - 0.5) + rng.uniform(-0.02, 0.02)
        arc = turn + np.array([-0.75, -0.40, -0.08, 0.06])
        along = (0.4 + 2.0 * reach) * np.array([0.15, 0.45, 0.75, 1.0])
        paths.append(_curve(halo.place(along[:, None] * np.stack([np.cos(arc), np.sin(arc)], 1))))
    return paths


def _plumage(picture: Array, tints: Tints, paths: list[Array], broad: float = 1.0) -> Array:
    """Draw feathers along the paths, the later over the earlier."""
    x, y = (np.stack([path[:, axis] for path in paths]) for axis in (0, 1))
    s = np.linspace(0, 1, x.shape[1], dtype=np.float32)
    lengths = np.hypot(np.diff(x, axis=1), np.diff(y, axis=1)).sum(1)
    left = (1 - s) * lengths[:, None] / broad  # to the tip, which is as round on short feathers
    width = 0.015 + 0.016 * s + 0.020 * np.exp(-(((left - EYE) / 0.030) ** 2))
    width = broad * width * np.sqrt(np.clip(1 - (1 - left / EYE).clip(0) ** 2, 0.003, 1))
    # Outline and body together, so that each feather covers the one below with both.
    found = sweep(len(picture), x, y, width.astype(np.float32))
    place = np.rint(found.u * (len(s) - 1)).astype(np.int64)
    rim = 1 - 0.0045 / width[found.stroke, place].clip(0.006)
    v = np.abs(found.v)
    barbs = np.mod(34 * found.u + 2.2 * v, 1.0)
    tone = np.array([0.34, 0.52, 0.68])[found.stroke % 3] - 0.16 * (1 - found.u) + 0.10 * (1 - v)
    color = tints.bird.at(tone.astype(np.float32))
    color = over(color, 0.55 * smoothstep(0.62, 0.80, barbs), tints.all.ink)
    color = over(color, smoothstep(0.16, 0.10, v), tints.all.paper)
    color = over(color, smoothstep(-0.06, 0.06, v - rim), tints.all.ink)
    picture[found.covered] = color
    block = Block(len(picture), picture)
    for path, length in zip(paths, lengths, strict=True):
        _feather_eye(block, tints, path[: -int(EYE * broad / length * len(s))], broad)
    return block.pixels()


def _feather_eye(block: Block, tints: Tints, path: Array, broad: float) -> None:
    """Draw an eye where a path ends: drops within drops, along the feather."""
    ahead = path[-1] - path[-3]
    ahead = ahead / (np.hypot(*ahead) + 1e-9)
    across = np.array([-ahead[1], ahead[0]])
    t = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    colors, bird, air = tints.all, tints.bird, tints.air
    for length, color in (
        (0.0235, colors.ink),
        (0.0205, air.nearest(0.72)),
        (0.0155, colors.ink),
        (0.0135, bird.nearest(0.62)),
        (0.0080, colors.ink),
        (0.0040, colors.paper),
    ):
        drop = np.outer(1.25 * np.cos(t), ahead) + np.outer(0.85 * np.sin(t), across)
        block.fill(path[-1] + broad * length * drop, color)


def _bird(picture: Array, tints: Tints, halo: Halo) -> Array:
    """Draw the body and its long neck, covered in scales; then the head with beak and crest."""
    size = len(picture)
    colors, bird = tints.all, tints.bird
    spine = [[0.40, -0.56], [0.28, -0.62], [0.15, -0.50], [0.14, -0.26], [0.24, -0.02]]
    spine += [[0.20, 0.24], [-0.02, 0.44], [-0.22, 0.56]]
    path = _curve(halo.place(spine), 160)
    s = np.linspace(0, 1, 160)
    thick = np.interp(
        s,
        [0, 0.06, 0.14, 0.24, 0.42, 0.62, 0.76, 0.90, 1],
        [0.05, 0.15, 0.17, 0.13, 0.18, 0.34, 0.42, 0.34, 0.10],
    )
    thick = (thick * halo.radius).astype(np.float32)
    x, y = path[None, :, 0], path[None, :, 1]
    rim = sweep(size, x, y, thick[None] + 0.009)
    picture[rim.covered] = colors.ink
    body = sweep(size, x, y, thick[None])
    # Scales as wide as the bird is: fine on the neck, broad on the breast.
    lanes = np.interp(body.u, s, np.interp(s, [0, 0.3, 0.62, 1], [3, 3, 5, 5])).round()
    row = body.u * 34
    shift = 0.5 * (np.floor(row) % 2)
    tile = np.hypot(np.mod(body.v * lanes / 2 + shift, 1.0) - 0.5, np.mod(row, 1.0) * 0.8)
    shade = 0.62 - 0.30 * body.u + 0.16 * np.sqrt(np.clip(1 - body.v**2, 0, 1))
    color = bird.at((shade - 0.12 * halo.side * body.v).astype(np.float32))
    inner = smoothstep(1.0, 0.9, np.abs(body.v))  # the contour stays clean
    color = over(color, 0.85 * inner * smoothstep(0.12, 0.05, np.abs(tile - 0.46)), colors.ink)
    color = over(color, 0.80 * smoothstep(0.24, 0.14, tile), bird.at(0.85))
    picture[body.covered] = color

    block = Block(size, picture)
    crown = np.array([0.26, -0.70])
    for lean in np.linspace(-0.95, 0.35, 6):
        tip = crown + 0.24 * np.array([np.sin(lean), -np.cos(lean)])
        bow = crown + 0.13 * np.array([np.sin(lean - 0.35), -np.cos(lean - 0.35)])
        stalk = halo.place(_curve(np.stack([crown + np.array([0, 0.04]), bow, tip]), 20))
        block.line(stalk, 0.0035, colors.ink)
        block.dots(stalk[-1:], np.array([0.0095]), colors.ink)
        block.dots(stalk[-1:], np.array([0.0060]), bird.nearest(0.7))
    beak = [[0.36, -0.64], [0.50, -0.57], [0.56, -0.47], [0.46, -0.52], [0.36, -0.53]]
    block.fill(halo.place(beak), colors.ink)
    block.fill(halo.place(0.78 * np.array(beak) + 0.22 * np.mean(beak, 0)), colors.paper)
    for radius, color in ((0.0135, colors.paper), (0.0085, colors.ink)):
        block.dots(halo.place([[0.31, -0.60]]), np.array([radius]), color)
    return block.pixels()


# --------------------------------------------------------------------------------------- the garden


def _petal(
    block: Block,
    colors: tuple[Array, Array, Array],
    foot: Array,
    angle: float,
    length: float,
    width: float,
    bend: float,
    full: float = 0.6,
) -> Array:
    """Draw a petal or leaf: contour, body, a paler heart and a vein; return its tip.

    ``bend`` turns it from foot to tip; ``full`` says where along it the petal is widest, 0 … 1.
    """
    ink, body, heart = colors
    s = np.linspace(0, 1, 40)
    heading = angle + bend * (s - 0.15) * s
    steps = np.stack([np.cos(heading), np.sin(heading)], 1) * length / len(s)
    spine = foot + np.cumsum(steps, axis=0)
    normal = np.stack([-np.sin(heading), np.cos(heading)], 1)
    half = 0.5 * width * np.sin(np.pi * s ** (np.log(0.5) / np.log(full))) ** 0.8

    def shape(low: float, high: float) -> Array:
        return np.concatenate(
            [
                spine + normal * (high * half)[:, None],
                (spine + normal * (low * half)[:, None])[::-1],
            ]
        )

    line = 0.0016 + 0.03 * width
    outline = shape(-1, 1)
    block.fill(outline, body)
    block.fill(shape(-0.62, 0.30), heart)
    block.line(np.concatenate([outline, outline[:1]]), line, ink)
    for at in (-0.5, 0.0, 0.5):
        block.line((spine + normal * (at * half)[:, None])[2:31], 0.5 * line, ink)
    return np.asarray(spine[-1])


def _garden(
    rng: np.random.Generator, picture: Array, colors: Palette, halo: Halo, flowers: int
) -> Array:
    """Grow irises from below, most of them on the side the bird looks to, among their leaves."""
    block = Block(len(picture), picture)
    cool, warm = colors.part("cool"), colors.part("warm")
    greens = [(colors.ink, cool.nearest(t), cool.at(t + 0.22)) for t in (0.3, 0.45, 0.6)]
    plants = []
    for index in range(flowers):
        spread = 0.40 - 0.86 * ((index * 0.382) % 1.0) ** 1.5
        foot = np.array([0.5 + halo.side * spread + rng.uniform(-0.02, 0.02), 1.02])
        height = 0.16 + 0.34 * np.clip(0.55 + spread, 0, 1) * rng.uniform(0.75, 1.1)
        plants.append((height, foot))
    # The tall ones stand behind.
    for height, foot in sorted(plants, key=lambda plant: -plant[0]):
        sway = float(rng.uniform(-0.30, 0.30))
        for _ in range(3):
            lean = rng.uniform(-0.30, 0.30)
            _petal(
                block,
                greens[int(rng.integers(3))],
                foot + np.array([rng.uniform(-0.05, 0.05), 0]),
                -np.pi / 2 + lean,
                height * rng.uniform(0.75, 1.1),
                0.034,
                lean * 4.5,
                0.35,
            )
        top = _petal(block, greens[0], foot, -np.pi / 2 - sway, height, 0.016, 2.2 * sway)
        shades = rng.permutation([0.42, 0.62, 0.80])
        tints = [(colors.ink, warm.nearest(t), warm.at(t + 0.20)) for t in shades]
        _iris(block, colors, tints, top, 0.5 * sway, rng.uniform(0.078, 0.100))
    return block.pixels()


def _iris(
    block: Block,
    colors: Palette,
    tints: list[tuple[Array, Array, Array]],
    at: Array,
    tilt: float,
    size: float,
) -> None:
    """Draw an iris: petals that stand, petals that fall, and the beards on these."""
    up = -np.pi / 2 + tilt
    for turn, bend in ((-0.55, 0.9), (0.55, -0.9), (0.0, 0.0)):
        _petal(block, tints[0], at, up + turn, 1.05 * size, 0.62 * size, bend, 0.62)
    for turn, bend, long in ((-1.25, -1.9, 1.15), (1.25, 1.9, 1.15), (np.pi, 0.0, 0.85)):
        _petal(block, tints[1], at, up + turn, long * size, 0.60 * size, bend, 0.66)
        toward = np.array([np.cos(up + turn), np.sin(up + turn)])
        beard = at + np.outer(np.linspace(0.08, 0.42, 6) * size, toward)
        block.dots(beard, np.linspace(0.075, 0.03, 6) * size + 0.0012, colors.ink)
        block.dots(beard, np.linspace(0.075, 0.03, 6) * size, colors.part("warm").nearest(0.8))


# ---------------------------------------------------------------------------- the frame, the print


def _pearl(block: Block, tints: Tints, at: Array, radius: float) -> None:
    """Set a cabochon in the heart of a whirl."""
    colors, bird, air = tints.all, tints.bird, tints.air
    for share, color in (
        (1.16, colors.ink),
        (1.0, air.nearest(0.75)),
        (0.74, colors.ink),
        (0.64, bird.nearest(0.45)),
    ):
        block.dots(at[None], np.array([share * radius]), color)
    block.dots(at[None] - 0.2 * radius, np.array([0.20 * radius]), colors.paper)


def _frame(picture: Array, tints: Tints) -> Array:
    """Print the border: paper between two lines, a row of small drops, and rounded corners."""
    x, y = pixel_centres(len(picture))
    dx, dy = np.abs(x - 0.5) - 0.40, np.abs(y - 0.5) - 0.40
    # Distance inwards from a square with round corners.
    inside = 0.06 - np.hypot(dx.clip(0), dy.clip(0)) - np.minimum(np.maximum(dx, dy), 0)
    ink, bird, air = tints.all.ink, tints.bird, tints.air
    lines = ((0.0, ink), (-0.004, air.nearest(0.9)), (-0.012, ink), (-0.014, bird.nearest(0.3)))
    picture = _inlay(picture, inside, 0.0008, lines)
    # Drops along each side, one in each of its 40 cells.
    edge, along = from_edge(x, y)
    drop = np.hypot((np.mod(along * 40, 1.0) - 0.5) / 40, 0.6 * (edge - 0.013))
    drop = np.where(inside < -0.016, drop, 1.0)
    return _inlay(picture, drop, 0.0006, ((0.0056, air.nearest(0.75)), (0.0025, ink)))


def _stone(rng: np.random.Generator, picture: Array) -> Array:
    """Print from the stone: its grain breaks the crayon's tone, the ink lies unevenly."""
    size = len(picture)
    grain = Noise.make(rng, 230).grid(size)
    uneven = Noise.make(rng, 7, octaves=3).grid(size)
    change = 0.045 * grain + 0.016 * uneven
    return np.asarray(picture * (1 + change[..., None]), dtype=np.float32)
