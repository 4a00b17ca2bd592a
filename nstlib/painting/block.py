"""A carved block: flat shapes with clean edges, for painters that cut rather than brush."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from nstlib.painting.canvas import Array


class Block:
    """Filled shapes in unit coordinates, drawn at twice the size of the canvas they return to."""

    def __init__(self, canvas: int, backdrop: Array) -> None:
        self.canvas = canvas
        self.scale = 2 * canvas
        ground = Image.fromarray(np.rint(backdrop.clip(0, 1) * 255).astype(np.uint8))
        self.image = ground.resize((self.scale, self.scale), Image.Resampling.NEAREST)
        self.pen = ImageDraw.Draw(self.image)

    def fill(self, points: Array, color: Array) -> None:
        """Fill the polygon (N, 2)."""
        self.pen.polygon([(float(x), float(y)) for x, y in points * self.scale], fill=_rgb(color))

    def line(self, points: Array, width: float, color: Array) -> None:
        """Draw a line through the points (N, 2)."""
        self.pen.line(
            [(float(x), float(y)) for x, y in points * self.scale],
            fill=_rgb(color),
            width=max(1, round(width * self.scale)),
            joint="curve",
        )

    def dots(self, centres: Array, radii: Array, color: Array) -> None:
        """Fill discs at the centres (N, 2)."""
        fill = _rgb(color)
        for (x, y), r in zip(centres * self.scale, radii * self.scale, strict=True):
            self.pen.ellipse((x - r, y - r, x + r, y + r), fill=fill)

    def pixels(self) -> Array:
        """Return the block at the canvas's size, (S, S, 3)."""
        small = self.image.resize((self.canvas, self.canvas), Image.Resampling.BOX)
        return np.asarray(small, dtype=np.float32) / np.float32(255)


def _rgb(color: Array) -> tuple[int, int, int]:
    red, green, blue = (round(float(part) * 255) for part in np.clip(color, 0, 1))
    return red, green, blue
