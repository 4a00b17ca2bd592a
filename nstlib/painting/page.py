"""A page to be printed: shapes in screened inks, and the contours of a loaded ink brush."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from nstlib.painting.block import Block
from nstlib.painting.canvas import Array, Mask, pixel_centres
from nstlib.painting.scene import Scene

Plates = dict[str, Array | float]  # a shape's flat, dots, tone and screen


class Ink(IntEnum):
    """The inks of the press; PAPER prints nothing."""

    PAPER = 0
    KEY = 1
    DEEP = 2
    SKY = 3
    RED = 4
    SUN = 5


class Screen(IntEnum):
    """What breaks an ink into tones: the press knows how fine each is, and how it lies."""

    COARSE = 0
    FINE = 1
    LINES = 2
    STEEP = 3


STEP = 0.0011  # between the dabs that make an inked line
BARE, INKED = np.ones(3, np.float32), np.zeros(3, np.float32)  # the key block, before its ink


@dataclass
class Page:
    """A drawing for the press: which inks print where, how dark, and the key block of lines."""

    scene: Scene  # flat: the even ink; dots: the screened ink; tone: how much of it; screen
    key: Block
    weight: float  # how thick all lines are, as a factor

    @classmethod
    def blank(cls, canvas: int, weight: float) -> Page:
        """Begin with a bare sheet."""
        x, y = pixel_centres(canvas)
        scene = Scene.blank(x, y, flat=Ink.PAPER, dots=Ink.SKY, tone=0.0, screen=Screen.COARSE)
        return cls(scene, Block(canvas, np.ones((canvas, canvas, 3), np.float32)), weight)

    def shape(self, points: Array, line: float, **plates: Array | float) -> None:
        """Cover what is there with a polygon (N, 2), and ink its outline."""
        self.scene.put(self._mask([points]), part=0, **plates)
        self.key.fill(points, BARE)
        self.outline(points, line)

    def puffs(self, centres: Array, radii: Array, line: float, **plates: Array | float) -> None:
        """Cover what is there with a cloud of discs under one outline."""
        turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        ring = np.stack([np.cos(turn), np.sin(turn)], 1)
        rings = [centre + radius * ring for centre, radius in zip(centres, radii, strict=True)]
        self.scene.put(self._mask(rings), part=0, **plates)
        thick = line * self.weight
        # The ink stands to the lower right of what lies bare: heavy on the side away from the light.
        self.key.dots(centres + 0.35 * thick, radii + 0.65 * thick, INKED)
        self.key.dots(centres, radii - 0.1 * thick, BARE)

    def outline(self, points: Array, line: float) -> None:
        """Ink a polygon's contour with a brush: heavy on the side away from the light."""
        closed = np.concatenate([points, points[:1]])
        x, y = closed[:-1].T
        turn = np.sign(np.sum(x * closed[1:, 1] - y * closed[1:, 0]))  # clockwise or not
        places = even(closed)
        along = np.gradient(places, axis=0)
        along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
        shade = 0.7 * turn * (along[:, 1] - along[:, 0])  # how far the side faces down right
        shade = ndimage.uniform_filter1d(np.clip(shade, -0.4, 1), 15, mode="wrap")
        self.key.dots(places, 0.5 * self.weight * line * (0.75 + 0.75 * shade), INKED)

    def stroke(self, points: Array, line: float) -> None:
        """Ink a line that swells and tapers to its end."""
        places = even(points)
        swell = np.linspace(0.3, 1, len(places)) ** 0.5 * np.linspace(1, 0.05, len(places)) ** 0.7
        self.key.dots(places, 0.7 * self.weight * line * swell, INKED)

    def _mask(self, polygons: Sequence[Array]) -> Mask:
        size = len(self.scene.x)
        image = Image.new("L", (size, size))
        pen = ImageDraw.Draw(image)
        for points in polygons:
            pen.polygon([(float(x), float(y)) for x, y in points * size], fill=1)
        return np.asarray(image).astype(bool)


def even(points: Array) -> Array:
    """Return places at even steps along a line of points."""
    gone = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    at = np.linspace(0, gone[-1], max(int(gone[-1] / STEP), 3))
    return np.stack([np.interp(at, gone, points[:, axis]) for axis in (0, 1)], 1)


def smooth(points: Array) -> Array:
    """Return a Catmull-Rom curve through the points (N, 2)."""
    last = len(points) - 1
    part = np.linspace(0, 1, 14, endpoint=False)[:, None]
    pieces = []
    for i in range(last):
        a, b, c, d = points[np.clip([i - 1, i, i + 1, i + 2], 0, last)]
        curve = 2 * b + (c - a) * part + (2 * a - 5 * b + 4 * c - d) * part**2
        pieces.append(0.5 * (curve + (3 * b - a - 3 * c + d) * part**3))
    return np.concatenate([*pieces, points[-1:]])


def polar(centre: Array, radius: Array | float, angle: Array) -> Array:
    """Return points about a centre, (N, 2)."""
    ring = np.stack([np.cos(angle), np.sin(angle)], 1)
    return np.asarray(centre + np.reshape(radius, (-1, 1)) * ring)
