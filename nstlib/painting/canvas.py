"""What every painter shares: seeded generators, smooth fields, relief, and the finished picture.

Geometry lives in unit coordinates (x to the right, y down, the picture is [0, 1] x [0, 1]), so that
a seed paints the same composition at every size. Painters draw on a canvas of ``SUPERSAMPLE`` times
the size asked for, and ``finish`` averages it down: that is where edges get antialiased.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

# Fields and colours; float32 on the canvas, where half the memory is half the time.
Array = npt.NDArray[np.floating[Any]]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

SUPERSAMPLE = 2
FIELD = 256  # fields that steer a composition are computed at this one size, whatever the output


def generator(painter: str, seed: int) -> np.random.Generator:
    """Return the painter's own stream of random numbers: one seed gives each painter another one."""
    return np.random.default_rng([zlib.crc32(painter.encode()), seed])


def pixel_centres(size: int) -> tuple[Array, Array]:
    """Return x and y of every pixel's centre in unit coordinates, each of shape (size, size)."""
    centres = ((np.arange(size, dtype=np.float32) + 0.5) / size).astype(np.float32)
    x, y = np.meshgrid(centres, centres)
    return x, y


def from_edge(x: Array, y: Array) -> tuple[Array, Array]:
    """Return how far each place is from the picture's nearest edge, and how far along that edge."""
    inward = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    return inward, np.where(np.abs(x - 0.5) > np.abs(y - 0.5), y, x)


def smoothstep(low: float, high: float, value: Array) -> Array:
    """Rise smoothly from 0 below ``low`` to 1 above ``high``."""
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def _spline_rows(coordinates: Array, cells: int) -> Array:
    """Cubic B-spline weights of ``cells + 3`` control points at the coordinates in [0, 1]."""
    position = np.clip(coordinates, 0.0, 1.0 - 1e-6) * cells
    control = np.arange(cells + 3, dtype=np.float32) - 1.0
    t = np.abs(position[..., None] - control)  # (..., cells + 3)
    near = 2.0 / 3.0 - t * t + 0.5 * t**3
    far = np.clip(2.0 - t, 0.0, None) ** 3 / 6.0
    return np.where(t < 1.0, near, far).astype(np.float32)


@dataclass(frozen=True)
class Noise:
    """A smooth random field over the unit square: cubic B-splines over random control points.

    Its grid of control points does not depend on the picture's size, so neither does the field.
    Values have zero mean and unit standard deviation, about.
    """

    controls: tuple[Array, ...]  # one square of control points for each octave

    @classmethod
    def make(cls, rng: np.random.Generator, cells: int, octaves: int = 1) -> Noise:
        """Draw a field with ``cells`` bumps across; each further octave is half as wide and high."""
        grids = []
        for octave in range(octaves):
            points = (cells << octave) + 3
            grids.append(rng.standard_normal((points, points)).astype(np.float32) * 0.5**octave)
        # A B-spline averages its controls: 2.1 restores the unit deviation of the sum.
        norm = 2.1 / np.sqrt(sum(0.25**octave for octave in range(octaves)))
        return cls(tuple((grid * np.float32(norm)) for grid in grids))

    def grid(self, size: int) -> Array:
        """Return the field on a grid of pixels, shape (size, size)."""
        centres = ((np.arange(size, dtype=np.float32) + 0.5) / size).astype(np.float32)
        total = np.zeros((size, size), np.float32)
        for control in self.controls:
            rows = _spline_rows(centres, len(control) - 3)  # (size, points)
            total += rows @ control @ rows.T
        return total


def look_up(field: Array, x: Array, y: Array) -> Array:
    """Sample a square field at unit coordinates, linearly; outside, the border's value."""
    size = field.shape[0]
    where = np.stack([y * size - 0.5, x * size - 0.5])
    return np.asarray(
        ndimage.map_coordinates(field, where, order=1, mode="nearest"), dtype=np.float32
    )


def enlarge(field: Array, size: int) -> Array:
    """Return a square field of the composition at the canvas's size, linearly interpolated."""
    x, y = pixel_centres(size)
    return look_up(field, x, y)


def blur(field: Array, radius: float) -> Array:
    """Blur over ``radius``, a Gaussian's deviation as a fraction of the picture's side."""
    sigma = radius * field.shape[0]
    sigmas = (sigma, sigma, 0.0)[: field.ndim]
    return np.asarray(ndimage.gaussian_filter(field, sigmas, mode="nearest"), dtype=np.float32)


def relief(height: Array, depth: float, light: tuple[float, float] = (-0.7, -0.7)) -> Array:
    """Return how much brighter (positive) or darker each pixel is under a low light.

    ``height`` is in units of 1/512 of the picture's side, so that the paint is equally thick at
    every size; ``light`` is the direction the light comes from.
    """
    dy, dx = np.gradient(height)
    # A surface that rises to the right turns its face to the left.
    slope = -(dx * light[0] + dy * light[1]) * (height.shape[0] / 512)
    return np.asarray(depth * slope / (1.0 + np.abs(slope)), dtype=np.float32)


def edge_distance(labels: npt.NDArray[np.integer]) -> Array:
    """Return how far each pixel's centre is from the nearest border between two labels.

    Distances are in unit lengths, and infinite where there is one label only.
    """
    border = np.zeros(labels.shape, bool)
    across = labels[:, 1:] != labels[:, :-1]
    down = labels[1:] != labels[:-1]
    border[:, 1:] |= across
    border[:, :-1] |= across
    border[1:] |= down
    border[:-1] |= down
    distance = ndimage.distance_transform_edt(~border)
    # The nearest pixel at a border has its centre half a pixel away from it.
    return np.asarray((distance + 0.5) / labels.shape[0], dtype=np.float32)


def over(below: Array, cover: Array, color: Array) -> Array:
    """Lay a colour, one or one for each pixel, over pixels: opaque where ``cover`` (S, S) is 1."""
    return np.asarray(below + cover[..., None] * (color - below), dtype=np.float32)


def finish(color: Array) -> Tensor:
    """Average the canvas (S, S, 3) down to the picture asked for: (1, 3, size, size) in [0, 1]."""
    size = color.shape[0] // SUPERSAMPLE
    blocks = color.reshape(size, SUPERSAMPLE, size, SUPERSAMPLE, 3)  # rows, in row, columns, in col
    picture = np.clip(blocks.mean(axis=(1, 3)), 0.0, 1.0).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))[None]
