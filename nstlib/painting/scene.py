"""What a picture is to show, before brush, burin or stone: named fields over the unit square."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nstlib.painting.canvas import Array, Indices, Mask


@dataclass
class Scene:
    """Fields of one shape, built up from the back to the front, and the parts they show.

    Example:
        >>> from nstlib.painting.canvas import pixel_centres
        >>> scene = Scene.blank(*pixel_centres(4), tone=0.5)
        >>> scene.put(scene.x > 0.5, tone=1.0)
        >>> scene["tone"][0].tolist(), scene.parts[0].tolist()
        ([0.5, 0.5, 1.0, 1.0], [0, 0, 1, 1])
    """

    x: Array  # the places that are seen, usually the pixels' centres
    y: Array
    fields: dict[str, Array]
    parts: Indices  # which part shows; 0 is the background

    @classmethod
    def blank(cls, x: Array, y: Array, **fields: Array | float) -> Scene:
        """Begin with a background."""
        grounds = {
            name: np.array(np.broadcast_to(np.asarray(value, np.float32), x.shape))
            for name, value in fields.items()
        }
        return cls(x, y, grounds, np.zeros(x.shape, np.int64))

    def __getitem__(self, name: str) -> Array:
        return self.fields[name]

    def put(self, where: Mask, part: int | None = None, **values: Array | float) -> None:
        """Cover what is there with these values, as a new part or as more of an old one."""
        for name, value in values.items():
            np.copyto(self.fields[name], value, where=where, casting="same_kind")
        self.parts[where] = self.new_part() if part is None else part

    def new_part(self) -> int:
        """Return a number that no part has."""
        return int(self.parts.max()) + 1

    def around(self, cx: float, cy: float, radius: float) -> Scene:
        """Return the same scene, for reading and writing, in the square around a place only."""
        size = len(self.x)
        rows, columns = (
            slice(max(int((c - radius) * size), 0), max(int((c + radius) * size) + 2, 0))
            for c in (cy, cx)
        )
        box = (rows, columns)
        views = {name: field[box] for name, field in self.fields.items()}
        return Scene(self.x[box], self.y[box], views, self.parts[box])
