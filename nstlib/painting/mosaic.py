"""Mosaic: a Roman floor of fish, its stones set in rows along every contour."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.brush import DENSITY
from nstlib.painting.canvas import (
    FIELD,
    SUPERSAMPLE,
    Array,
    Indices,
    Noise,
    blur,
    edge_distance,
    finish,
    from_edge,
    generator,
    look_up,
    pixel_centres,
    relief,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter
from nstlib.painting.scene import Scene


@painter
def mosaic(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "lagoon",
    *,
    fish: Annotated[int, Range(1, 9, "how many fish swim")] = 5,
    stones: Annotated[int, Range(1000, 12000, "stones on the floor")] = 4200,
    grout: Annotated[float, Range(0.5, 2, "width of the joints")] = 1.0,
) -> Tensor:
    """Lay a floor of square stones (tesserae) whose rows follow the outlines of swimming fish.

    Stones settle as in a centroidal Voronoi diagram under the maximum norm, turned to follow the
    nearest outline (Hausner, "Simulating Decorative Mosaics", 2001).

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(mosaic(size=64, stones=1000).shape)
        (1, 3, 64, 64)
    """
    rng = generator("mosaic", seed)
    colors = Palette(palette)
    warm, cool = colors.part("warm"), colors.part("cool")
    scene = _pond(rng, fish)
    angle, edge = _rows(scene.parts)
    x, y = _settle(rng, angle, edge, stones)
    turn = _angle_at(angle, x, y)
    labels = _lay(size * SUPERSAMPLE, x, y, turn, 1.12 / np.sqrt(stones))

    joint = 0.0012 * grout
    distance = np.where(labels < 0, 0.0, edge_distance(labels)).astype(np.float32)
    soft = max(0.35 * joint, 0.5 / (size * SUPERSAMPLE))  # no edge is sharper than a pixel
    face = smoothstep(joint - soft, joint + soft, distance)
    own = look_up(scene["tone"], x, y) + 0.045 * rng.standard_normal(stones).astype(np.float32)
    paint = np.where(
        look_up(scene["warmth"], x, y)[:, None] > rng.uniform(0.2, 0.8, (stones, 1)),
        0.3 * warm.at(own) + 0.7 * warm.nearest(own),
        0.3 * cool.at(own) + 0.7 * cool.nearest(own),
    )
    paint = paint * (1 + 0.09 * rng.standard_normal((stones, 1))).astype(np.float32)

    # Each stone is cut a little askew, bevelled at its edge, and veined.
    tilt = 0.05 * rng.standard_normal((stones, 2)).astype(np.float32)
    px, py = pixel_centres(size * SUPERSAMPLE)
    dx, dy = px - x[labels], py - y[labels]
    slant = (dx * tilt[labels, 0] + dy * tilt[labels, 1]) * np.sqrt(stones)
    veins = 0.022 * Noise.make(rng, 90, octaves=2).grid(size * SUPERSAMPLE)
    stone = paint[labels] * (1 + slant + veins)[..., None]
    bevel = np.minimum(distance / (2.2 * joint), 1.0)
    light = relief(2.4 * bevel + 0.5 * veins, 0.30)[..., None]
    stone = stone * (1 + np.minimum(light, 0)) + np.maximum(light, 0) * (1.0 - stone) * 0.8
    mortar = 0.75 * colors.ink + 0.12 * colors.paper
    bed = mortar * (1 + 2.0 * veins)[..., None]
    return finish((bed + face[..., None] * (stone - bed)).astype(np.float32))


def _pond(rng: np.random.Generator, fish: int) -> Scene:
    """Compose the floor's tone and warmth; each of its parts gets an outline of stones."""
    x, y = pixel_centres(FIELD)
    # Water: crossed by waves, light at their crests.
    ripple = y + 0.020 * np.sin(2 * np.pi * (2.5 * x + rng.random())) + 0.008 * np.sin(40 * x)
    band = np.mod(ripple * 6.5 + rng.random(), 1.0)
    water = np.where(band > 0.9, 0.97, 0.30 + 0.45 * smoothstep(0.1, 0.9, band))
    scene = Scene.blank(x, y, tone=water, warmth=0.0)
    spots: list[tuple[float, float]] = []
    for _ in range(fish):  # each where it has most room
        tries = rng.random((60, 2)) * (0.46, 0.62) + (0.27, 0.19)
        gaps = np.linalg.norm(tries[:, None] - np.array(spots or [(9.0, 9.0)])[None], axis=2)
        cx, cy = tries[np.argmax(gaps.min(1))]
        spots.append((float(cx), float(cy)))
        _fish(rng, scene, cx, cy, rng.uniform(0.145, 0.185) * (5 / max(fish, 4)) ** 0.4)
    # Around each figure a row of dark stones inside its outline and two pale rows outside it.
    figure = scene.parts > 0
    inside = ndimage.distance_transform_edt(figure) / FIELD
    outside = ndimage.distance_transform_edt(~figure) / FIELD
    np.copyto(scene["tone"], 0.02, where=figure & (inside < 0.012))
    np.copyto(scene["tone"], 0.93, where=~figure & (outside < 0.024))
    # A frame of plain bands around one of teeth.
    rim, run = from_edge(x, y)
    teeth = (rim - 0.030) / 0.052 < 0.1 + 0.8 * np.abs(2 * np.mod(11 * run, 1.0) - 1)
    scene.put(rim < 0.098, tone=0.02, warmth=1.0)
    scene.put(rim < 0.082, tone=np.where(teeth, 0.92, 0.30))
    scene.put(rim < 0.030, tone=0.50)
    return scene


def _fish(rng: np.random.Generator, scene: Scene, cx: float, cy: float, length: float) -> None:
    """Put a fish: fins and tail, a body with stripes or scales, gill and eye."""
    heading = rng.uniform(-0.4, 0.4) + (np.pi if rng.random() < 0.5 else 0.0)
    c, s = np.cos(heading), np.sin(heading)
    dx, dy = (scene.x - cx) / length, (scene.y - cy) / length
    along = c * dx + s * dy
    across = (c * dy - s * dx) * np.sign(c)  # backs up, bellies down
    across = across + 0.10 * np.sin(2.2 * along + rng.uniform(0, 6.28))
    bulk = rng.uniform(0.42, 0.56)
    shape = bulk * np.sqrt(np.clip(1 - along**2, 0, None)) * (1 - 0.18 * along)
    body = np.abs(across) < shape
    fork = np.abs(across) < 0.12 + np.clip(-along - 0.80, 0, None)
    tail = (along < -0.80) & (along > -1.42 + 0.5 * np.clip(0.4 - np.abs(across), 0, 1)) & fork
    dorsal = (across < 0) & (across > -shape - 0.17) & (np.abs(along + 0.05) < 0.36)
    ventral = (across > 0) & (across < shape + 0.14) & (np.abs(along - 0.15) < 0.15)
    rays = 0.35 + 0.35 * (np.mod(across * 5, 1) > 0.5)
    scene.put(dorsal | ventral | tail, tone=rays, warmth=0.85)

    # A dark back and a light belly.
    skin = 0.55 + 0.5 * np.clip(across / bulk, -1, 1)
    if rng.random() < 0.5:
        skin = skin - 0.34 * (np.mod(along * 3.2 + 0.4 * across**2, 1) < 0.36) * (along < 0.4)
    else:
        skin = skin + 0.14 * np.sign(np.sin(along * 20) * np.sin(across * 20))
    scene.put(body, tone=skin.clip(0.12, 1.0), warmth=1.0 if rng.random() < 0.75 else 0.15)
    gill = body & (np.abs(along - 0.45 + 0.5 * across**2) < 0.05)
    np.copyto(scene["tone"], 0.0, where=gill)
    eye = np.hypot(along - 0.70, across + 0.12)
    for radius, tone in ((0.22, 0.0), (0.16, 1.0), (0.08, 0.0)):
        np.copyto(scene["tone"], tone, where=eye < radius)


def _rows(regions: Indices) -> tuple[Array, Array]:
    """Return the rows' direction as a field of quadrupled angles (F, F, 2), and the outlines' distance.

    A stone turned by a quarter is the same stone, so directions are averaged as four times their
    angle: (cos 4a, sin 4a).
    """
    distance = edge_distance(regions)
    dy, dx = np.gradient(blur(distance, 0.006))
    angle = np.arctan2(dy, dx)
    field = np.stack([np.cos(4 * angle), np.sin(4 * angle)], -1).astype(np.float32)
    return blur(field, 0.006), distance


def _angle_at(field: Array, x: Array, y: Array) -> Array:
    return (np.arctan2(look_up(field[..., 1], x, y), look_up(field[..., 0], x, y)) / 4).astype(
        np.float32
    )


def _settle(
    rng: np.random.Generator, field: Array, edge: Array, stones: int, rounds: int = 9
) -> tuple[Array, Array]:
    """Let the stones settle: each moves to the middle of what is nearest to it, off the outlines."""
    side = int(np.ceil(np.sqrt(stones)))
    lattice = rng.permutation(side * side)[:stones]
    jitter = rng.random((2, stones))
    centres = np.stack(
        [(lattice % side + jitter[0]) / side, (lattice // side + jitter[1]) / side], 1
    )
    x, y = pixel_centres(FIELD)
    free = edge > 0.6 / FIELD  # an outline pushes stones to either side
    points = np.stack([x[free], y[free]], 1)
    for _ in range(rounds):
        turn = _angle_at(field, centres[:, 0].astype(np.float32), centres[:, 1].astype(np.float32))
        _, near = cKDTree(centres).query(points, k=5)
        offset = points[:, None] - centres[near]  # (points, 5, 2)
        c, s = np.cos(turn)[near], np.sin(turn)[near]
        reach = np.maximum(
            np.abs(c * offset[..., 0] + s * offset[..., 1]),
            np.abs(-s * offset[..., 0] + c * offset[..., 1]),
        )
        owner = near[np.arange(len(points)), np.argmin(reach, axis=1)]
        count = np.bincount(owner, minlength=stones)
        for axis in (0, 1):
            middle = np.bincount(owner, points[:, axis], stones) / np.maximum(count, 1)
            centres[:, axis] = np.where(count > 0, middle, centres[:, axis])
    return centres[:, 0].astype(np.float32), centres[:, 1].astype(np.float32)


def _lay(size: int, x: Array, y: Array, turn: Array, width: float) -> Indices:
    """Return which stone each pixel shows, -1 for mortar: where stones meet, the nearer centre's."""
    across = int(width * size * DENSITY) + 2
    line = np.linspace(-0.5, 0.5, across, dtype=np.float32)
    u, v = (part.ravel() for part in np.meshgrid(line, line))
    # Samples far from the centre first: of equal pixels NumPy keeps the last assignment.
    order = np.argsort(-np.maximum(np.abs(u), np.abs(v)), kind="stable")
    u, v = u[order, None] * width, v[order, None] * width  # (samples, 1)
    c, s = np.cos(turn)[None], np.sin(turn)[None]
    px = np.floor((x + c * u - s * v) * size).astype(np.int64)
    py = np.floor((y + s * u + c * v) * size).astype(np.int64)
    lost = (px < 0) | (py < 0) | (px >= size) | (py >= size)
    cell = np.where(lost, size * size, py * size + px)
    labels = np.full(size * size + 1, -1, np.int64)
    labels[cell.ravel()] = np.broadcast_to(np.arange(len(x)), cell.shape).ravel()
    return labels[:-1].reshape(size, size)
