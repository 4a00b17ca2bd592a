"""A loaded brush: thousands of curved strokes with bristles, ragged ends and thick paint, at once.

Each stroke is a curve with a width. All strokes of a layer are sampled on one lattice (along,
across), each sample claims the pixel it falls on, and a later stroke covers an earlier one. Only the
claims are made sample by sample; colour and height are then looked up once for each pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nstlib.painting.canvas import Array, Indices, Mask, look_up, relief

DENSITY = 1.45  # samples for each canvas pixel along an axis: over sqrt(2), so no pixel is missed
BRUSHES = 64  # different bristle patterns; a stroke picks one


@dataclass
class Canvas:
    """Wet paint: its colour (S, S, 3) and its thickness (S, S) in units of 1/512 of the side."""

    color: Array
    height: Array

    @classmethod
    def primed(cls, color: Array) -> Canvas:
        """Return a canvas with an underpainting, (S, S, 3)."""
        return cls(color.copy(), np.zeros(color.shape[:2], np.float32))

    def lit(self, depth: float = 0.16) -> Array:
        """Return the paint seen under a low light from the upper left."""
        light = relief(self.height, depth)[..., None]
        # Shadows keep the paint's hue; lights move towards white, as varnish does.
        shadow, shine = np.minimum(light, 0), np.maximum(light, 0)
        return np.asarray(self.color * (1 + shadow) + shine * (1.04 - self.color))


def trace(
    x: Array, y: Array, flow: Array, length: Array | float, points: int = 12
) -> tuple[Array, Array]:
    """Follow a direction field both ways from each point; return the paths' x and y, (N, points).

    ``flow`` is (F, F, 2), unit vectors (dx, dy); ``length`` is the paths' in unit coordinates.
    """
    step = np.asarray(length, np.float32) / (points - 1)
    halves = []
    for sign, count in ((-1.0, (points - 1) // 2), (1.0, points - 1 - (points - 1) // 2)):
        px, py = x, y
        path = []
        for _ in range(count):
            dx, dy = look_up(flow[..., 0], px, py), look_up(flow[..., 1], px, py)
            norm = np.sqrt(dx * dx + dy * dy) + 1e-6
            px = (px + sign * step * dx / norm).astype(np.float32)
            py = (py + sign * step * dy / norm).astype(np.float32)
            path.append((px, py))
        halves.append(path)
    whole = halves[0][::-1] + [(x, y)] + halves[1]
    return np.stack([p[0] for p in whole], 1), np.stack([p[1] for p in whole], 1)


def straight(x: Array, y: Array, angle: Array, length: Array | float) -> tuple[Array, Array]:
    """Return straight paths, (N, 2), with their middles at the points."""
    reach = np.asarray(length)[..., None] * np.array([-0.5, 0.5])
    path_x = x[:, None] + reach * np.cos(angle)[:, None]
    path_y = y[:, None] + reach * np.sin(angle)[:, None]
    return path_x.astype(np.float32), path_y.astype(np.float32)


@dataclass(frozen=True)
class Sweep:
    """Which stroke each covered pixel belongs to, and where in it the pixel lies."""

    covered: Mask  # (S, S); the arrays below hold its True pixels in order
    stroke: Indices
    u: Array  # along the stroke, 0 … 1
    v: Array  # across it, -1 … 1


def sweep(
    size: int,
    path_x: Array,
    path_y: Array,
    width: Array,
    *,
    taper: float = 0.0,
    fray: Array | None = None,
) -> Sweep:
    """Sweep a width along each path in order, the last on top, over a canvas of ``size`` pixels.

    Args:
        size: the canvas's side in pixels.
        path_x: the curves, (N, P), unit coordinates.
        path_y: as ``path_x``.
        width: full widths in unit lengths, (N,), or (N, P) where they change along the path.
        taper: how much narrower the ends are than the middle, 0 … 1.
        fray: (N, B): how much of its length each of B bristles, side by side, leaves bare.
    """
    count = len(path_x)
    spans = np.hypot(np.diff(path_x, axis=1), np.diff(path_y, axis=1)).sum(1)
    along = max(int(spans.max() * size * DENSITY) + 2, 3)
    across = max(int(width.max() * size * DENSITY) + 2, 3)
    u = np.linspace(0.0, 1.0, along, dtype=np.float32)
    v = np.linspace(-1.0, 1.0, across, dtype=np.float32)

    # Curves and their normals at `along` places, from the P points of each path.
    position = u * (path_x.shape[1] - 1)
    start = np.minimum(position.astype(np.int64), path_x.shape[1] - 2)
    part = position - start

    def along_path(values: Array) -> Array:  # (N, P) -> (N, along)
        return np.asarray(values[:, start] * (1 - part) + values[:, start + 1] * part, np.float32)

    x, y = along_path(path_x), along_path(path_y)
    tangent_x, tangent_y = np.gradient(x, axis=1), np.gradient(y, axis=1)
    norm = np.hypot(tangent_x, tangent_y) + 1e-9
    full = along_path(width) if width.ndim == 2 else width[:, None]
    half = 0.5 * full * (1.0 - taper * np.abs(2 * u - 1) ** 3)
    normal_x = (-tangent_y / norm * half * size).astype(np.float32)
    normal_y = (tangent_x / norm * half * size).astype(np.float32)
    x, y = (x * size).astype(np.float32), (y * size).astype(np.float32)

    claims = np.full(size * size + 1, -1, np.int64)  # the last cell takes what falls outside
    chunk = max(1, 1_000_000 // (along * across))  # so many samples at a time fit in the cache
    for first in range(0, count, chunk):
        some = slice(first, min(first + chunk, count))
        px = np.floor(x[some, :, None] + normal_x[some, :, None] * v).astype(np.int32)
        py = np.floor(y[some, :, None] + normal_y[some, :, None] * v).astype(np.int32)
        lost = (px < 0) | (py < 0) | (px >= size) | (py >= size)
        if fray is not None:
            bare = fray[some][:, None, lane_of(v, fray.shape[1])]  # (n, 1, across)
            lost |= (u[:, None] > 1 - bare) | (u[:, None] < 0.3 * bare)
        cell = np.where(lost, size * size, py * size + px)
        begin = first * along * across
        # Of equal cells NumPy keeps the last assignment: later strokes lie on top.
        claims[cell.ravel()] = np.arange(begin, begin + cell.size)

    won = claims[:-1].reshape(size, size)
    covered = won >= 0
    stroke, rest = np.divmod(won[covered], along * across)
    i, j = np.divmod(rest, across)
    return Sweep(covered, stroke, u[i], v[j])


def lane_of(v: Array, lanes: int) -> Indices:
    """Return which of so many lanes, side by side, each place across a stroke lies in."""
    return np.minimum(((v + 1) * 0.5 * lanes).astype(np.int64), lanes - 1)


def brush_on(
    canvas: Canvas,
    path_x: Array,
    path_y: Array,
    width: Array,
    color: Array,
    rng: np.random.Generator,
    *,
    bristles: int = 9,
    streak: float = 0.10,
    thickness: float = 1.0,
    dryness: float = 0.35,
    taper: float = 0.35,
) -> None:
    """Paint strokes in order, the last on top.

    Args:
        canvas: what is painted on.
        path_x: the strokes' curves, (N, P), unit coordinates.
        path_y: as ``path_x``.
        width: the strokes' full widths, (N,), unit lengths.
        color: the strokes' colours, (N, 3).
        rng: source of the bristles' differences.
        bristles: how many ridges a stroke has across.
        streak: how far a bristle's lightness strays from the stroke's.
        thickness: height of the paint.
        dryness: over what part of its length a brush may run dry.
        taper: how much narrower a stroke's ends are, 0 … 1.
    """
    table = rng.standard_normal((BRUSHES, 6, bristles)).astype(np.float32)
    table = 0.75 * table[:, :1] + 0.65 * table  # a bristle keeps most of its paint along a stroke
    runs_dry = rng.random((BRUSHES, bristles)).astype(np.float32) ** 1.5 * dryness
    brush = rng.integers(0, BRUSHES, len(path_x))
    found = sweep(canvas.color.shape[0], path_x, path_y, width, taper=taper, fray=runs_dry[brush])
    segment = np.minimum((found.u * 6).astype(np.int64), 5)
    grain = table[brush[found.stroke], segment, lane_of(found.v, bristles)]
    dome = 1.0 - found.v**4
    at = found.covered
    canvas.color[at] = color[found.stroke] + (streak * grain)[:, None]
    # What lies beneath still shows a little in the new paint's height.
    canvas.height[at] = canvas.height[at] * 0.4 + thickness * (
        1.6 * dome + 0.45 * grain + 0.5 * found.u
    )
