"""Cubism: a guitar and bottles on a table, seen from many sides at once."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from nstlib.config import Range
from nstlib.painting.brush import Canvas, brush_on
from nstlib.painting.canvas import (
    SUPERSAMPLE,
    Array,
    Indices,
    Noise,
    edge_distance,
    finish,
    generator,
    look_up,
    pixel_centres,
    smoothstep,
)
from nstlib.painting.palettes import Palette
from nstlib.painting.registry import Colors, Seed, Size, painter
from nstlib.painting.scene import Scene


@painter
def cubism(
    size: Size = 512,
    seed: Seed = 0,
    palette: Colors = "cafe",
    *,
    facets: Annotated[int, Range(8, 120, "how many facets")] = 46,
    fracture: Annotated[float, Range(0, 3, "how far the facets' views differ")] = 1.0,
    brushwork: Annotated[float, Range(0, 2, "how visible the brush is")] = 1.0,
) -> Tensor:
    """Break a still life into facets: each shows it shifted, turned and under a light of its own.

    Returns (1, 3, size, size), float32 in [0, 1].

    Example:
        >>> tuple(cubism(size=64, facets=20).shape)
        (1, 3, 64, 64)
    """
    rng = generator("cubism", seed)
    colors = Palette(palette)
    canvas_size = size * SUPERSAMPLE
    labels, normals = _facets(rng, canvas_size, facets)
    count = len(normals)
    x, y = pixel_centres(canvas_size)

    # Each facet sees the table from a place of its own.
    shift = (0.030 * fracture * rng.standard_normal((count, 2))).astype(np.float32)
    turn = (0.13 * fracture * rng.standard_normal(count)).astype(np.float32)
    c, s = np.cos(turn)[labels], np.sin(turn)[labels]
    seen_x = 0.5 + c * (x - 0.5) - s * (y - 0.5) + shift[labels, 0]
    seen_y = 0.5 + s * (x - 0.5) + c * (y - 0.5) + shift[labels, 1]
    scene = _still_life(rng, seen_x, seen_y)

    # Passage: a facet goes from light at one edge to dark at the other.
    ramp = _ramp(x * normals[labels, 0] + y * normals[labels, 1], labels)
    level = rng.normal(0.0, 0.10, count).astype(np.float32)[labels]
    passage = 0.42 * (0.5 - ramp) * (1 if rng.random() < 0.5 else -1)
    tone = (scene["tone"] + level + passage).clip(0, 1)
    lean = rng.normal(0.0, 0.16, count).astype(np.float32)[labels]
    mix = smoothstep(0.40, 0.60, scene["warmth"] + lean)[..., None]
    canvas = Canvas.primed(
        colors.part("cool").at(tone) * (1 - mix) + colors.part("warm").at(tone) * mix
    )
    _scumble(canvas, rng, labels, normals, scene.parts, brushwork)
    painted = canvas.lit(0.20 * brushwork)

    # Contours: dark on one side of an edge, a light rim on the other, as wide as the seam is old.
    seam = edge_distance(labels)
    age = smoothstep(-1.0, 1.2, Noise.make(rng, 6).grid(canvas_size))
    rough = 1 + 0.35 * np.tanh(Noise.make(rng, 70).grid(canvas_size))
    ink = smoothstep(0.0036, 0.0012, seam * rough) * (0.35 + 0.65 * age)
    ink = np.maximum(ink, 0.92 * smoothstep(0.0036, 0.0018, edge_distance(scene.parts) * rough))
    ink = np.maximum(ink, 0.85 * scene["lines"])[..., None]
    rim = smoothstep(0.0105, 0.0040, seam)[..., None] * smoothstep(0.55, 0.05, ramp)[..., None]
    lit = painted + 0.30 * rim * (colors.paper - painted)
    return finish(lit + ink * (colors.ink - lit))


def _ramp(across: Array, labels: Indices) -> Array:
    """Rescale a coordinate to run from 0 to 1 within each facet."""
    low = np.full(int(labels.max()) + 1, np.inf, np.float32)
    high = -low
    np.minimum.at(low, labels.ravel(), across.ravel())
    np.maximum.at(high, labels.ravel(), across.ravel())
    span = np.maximum(high - low, 1e-3)
    return np.asarray((across - low[labels]) / span[labels])


def _facets(rng: np.random.Generator, size: int, facets: int) -> tuple[Indices, Array]:
    """Cut the square into convex facets: their numbers (S, S), and a normal of each, (K, 2).

    The largest facet is cut through its middle, along one of the picture's few directions, until
    there are enough.
    """
    directions = rng.uniform(0, np.pi) + np.array([0.0, 0.9, 1.57, 2.4])
    pieces = [np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)]
    normals = [np.array([0.0, 1.0])]
    while len(pieces) < facets:
        weights = [_area(piece) * rng.uniform(0.5, 1.5) for piece in pieces]
        piece = pieces.pop(largest := int(np.argmax(weights)))
        normals.pop(largest)
        angle = rng.choice(directions) + rng.normal(0, 0.16)
        normal = np.array([np.cos(angle), np.sin(angle)])
        offset = float((piece.mean(0) + rng.normal(0, 0.02, 2)) @ normal)
        halves = [_clip(piece, sign * normal, sign * offset) for sign in (1.0, -1.0)]
        for half in halves:
            if len(half) >= 3:
                pieces.append(half)
                normals.append(normal)
    image = Image.new("I", (size, size))
    pen = ImageDraw.Draw(image)
    for number, piece in enumerate(pieces):
        pen.polygon([(float(px), float(py)) for px, py in piece * size], fill=number)
    return np.asarray(image).astype(np.int64), np.array(normals, np.float32)


def _area(piece: np.ndarray) -> float:
    x, y = piece.T
    return float(abs(x @ np.roll(y, 1) - y @ np.roll(x, 1)) / 2)


def _clip(piece: np.ndarray, normal: np.ndarray, offset: float) -> np.ndarray:
    """Keep the part of a convex polygon where ``point @ normal <= offset``."""
    kept = []
    side = piece @ normal - offset
    for i in range(len(piece)):
        a, b = piece[i - 1], piece[i]
        if (side[i - 1] <= 0) != (side[i] <= 0):
            kept.append(a + (b - a) * side[i - 1] / (side[i - 1] - side[i]))
        if side[i] <= 0:
            kept.append(b)
    return np.array(kept)


def _still_life(rng: np.random.Generator, x: Array, y: Array) -> Scene:
    """Compose tone, warmth and drawn lines, at the places the facets see."""
    scene = Scene.blank(x, y, tone=0.50 + 0.10 * np.sin(5 * x + 3 * y), warmth=0.30, lines=0.0)
    scene.put((np.mod(x * 9, 1) < 0.32) & (y < 0.5), tone=0.68, warmth=0.4)  # striped wallpaper
    tx, ty = rng.uniform(0.4, 0.6), rng.uniform(0.68, 0.76)
    wood = 0.46 + 0.06 * np.sin(70 * y + 5 * np.sin(6 * x))
    scene.put(np.hypot((x - tx) / 0.52, (y - ty) / 0.34) < 1, tone=wood, warmth=0.9)
    _newspaper(rng, scene)
    _bottle(scene, at=rng.uniform(0.16, 0.30), base=0.66, tall=0.50, warmth=0.05)
    _bottle(scene, at=rng.uniform(0.72, 0.86), base=0.80, tall=0.34, warmth=0.15)
    _guitar(rng, scene)
    for _ in range(2):  # apples
        ax, ay, radius = rng.uniform(0.30, 0.80), rng.uniform(0.78, 0.88), rng.uniform(0.045, 0.06)
        lit = 0.44 - 4.0 * (x - ax + y - ay)
        scene.put(np.hypot(x - ax, y - ay) < radius, tone=lit, warmth=1.0)
    return scene


def _newspaper(rng: np.random.Generator, scene: Scene) -> None:
    """Put a sheet with a headline and columns of print."""
    dx, dy = scene.x - rng.uniform(0.12, 0.28), scene.y - rng.uniform(0.60, 0.72)
    turn = rng.uniform(-0.5, 0.5)
    across = np.cos(turn) * dx + np.sin(turn) * dy
    down = np.cos(turn) * dy - np.sin(turn) * dx
    sheet = (np.abs(across) < 0.16) & (np.abs(down) < 0.13)
    rows = (np.mod(down * 52, 1) < 0.42) & (np.mod(across * 9, 1) < 0.86) & (down > -0.07)
    words = np.sin(across * 260 + 30 * np.floor(down * 52)) > -0.5
    headline = (np.abs(down + 0.098) < 0.016) & (np.mod(across * 24, 1) < 0.62)
    scene.put(sheet, tone=0.90, warmth=0.6)
    np.copyto(scene["lines"], 0.9, where=sheet & ((rows & words) | headline))


def _bottle(scene: Scene, at: float, base: float, tall: float, warmth: float) -> None:
    """Put a bottle with a label."""
    x = scene.x - at
    height = (base - scene.y) / tall
    half = 0.068 - 0.044 * smoothstep(0.6, 0.76, height)
    bottle = (height > 0) & (height < 1) & (np.abs(x) < half)
    scene.put(bottle, tone=0.30 + 0.40 * smoothstep(0.3, -0.9, x / 0.068), warmth=warmth)
    label = bottle & (height > 0.18) & (height < 0.46)
    scene.put(label, tone=0.85 - 2.5 * np.abs(x), warmth=0.8)
    stamp = bottle & (np.abs(height - 0.32) < 0.045) & (np.abs(x) < 0.04)
    scene.put(stamp, tone=0.25, warmth=1.0)


def _guitar(rng: np.random.Generator, scene: Scene) -> None:
    """Put a guitar: two rounds and a waist, a neck with frets, a sound hole, strings."""
    gx, gy = rng.uniform(0.48, 0.58), rng.uniform(0.54, 0.62)
    tilt = rng.uniform(0.35, 0.8) * rng.choice([-1.0, 1.0])
    u = np.sin(tilt) * (scene.x - gx) - np.cos(tilt) * (scene.y - gy)  # along the neck, upwards
    v = np.cos(tilt) * (scene.x - gx) + np.sin(tilt) * (scene.y - gy)
    lower, upper = np.hypot(u + 0.10, v) - 0.175, np.hypot(u - 0.10, v) - 0.128
    blend = (0.5 + 0.5 * (upper - lower) / 0.06).clip(0, 1)  # a smooth union makes the waist
    body = upper * (1 - blend) + lower * blend - 0.06 * blend * (1 - blend) < 0
    grain = 0.05 * np.sin(190 * v + 4 * np.sin(14 * u))
    on_neck, hole = (u > 0.10) & (u < 0.46), np.hypot(u - 0.02, v)

    shadow = (np.hypot(u + 0.06, v + 0.05) < 0.22) & (v < 0)
    scene.put(shadow, tone=0.16, warmth=0.5)
    scene.put(body, tone=0.66 + 0.5 * v + grain, warmth=1.0)
    scene.put(body & (v < -0.02) & (u < 0.02), tone=0.44 + grain, warmth=0.9)
    scene.put((np.abs(v) < 0.024) & on_neck, tone=0.20, warmth=0.7)
    scene.put((np.abs(v) < 0.040) & (u > 0.46) & (u < 0.54), tone=0.36, warmth=1.0)
    scene.put(hole < 0.068, tone=0.80, warmth=0.8)
    scene.put(hole < 0.056, tone=0.04, warmth=0.4)
    scene.put((np.abs(v) < 0.055) & (np.abs(u + 0.15) < 0.013), tone=0.10, warmth=0.6)  # bridge

    strung = (np.abs(v) < 0.0215) & (u > -0.15) & (u < 0.46)
    strings = strung & (np.mod((v + 0.0215) / 0.0086, 1) < 0.20)
    frets = on_neck & (np.abs(v) < 0.024) & (np.mod(u / 0.034, 1) < 0.13)
    # Strings are dark on wood, and light over the hole.
    np.copyto(scene["lines"], np.where(hole < 0.056, 0.0, 0.8), where=strings, casting="same_kind")
    np.copyto(scene["tone"], 0.85, where=frets | (strings & (hole < 0.056)))


def _scumble(
    canvas: Canvas,
    rng: np.random.Generator,
    labels: Indices,
    normals: Array,
    objects: Indices,
    brushwork: float,
) -> None:
    """Go over every facet with short parallel strokes of its own colours, inside its borders."""
    size = len(labels)

    def pixel(at: Array) -> Indices:
        return np.clip((at * size).astype(np.int64), 0, size - 1)

    for count, length, width, stray in ((7000, 0.040, 0.0125, 0.06), (8000, 0.026, 0.0080, 0.085)):
        x, y = rng.random((2, count)).astype(np.float32)
        facet = labels[pixel(y), pixel(x)]
        along = np.stack([-normals[facet, 1], normals[facet, 0]], 1)
        half = 0.5 * length * rng.uniform(0.6, 1.0, (count, 1)).astype(np.float32)
        steps = np.linspace(-1, 1, 4, dtype=np.float32)
        path_x = x[:, None] + along[:, :1] * half * steps
        path_y = y[:, None] + along[:, 1:] * half * steps
        whole = labels * 1000 + objects
        inside = np.ones(count, bool)
        for end in (0, -1):
            inside &= (
                whole[pixel(path_y[:, end]), pixel(path_x[:, end])] == whole[pixel(y), pixel(x)]
            )
        color = np.stack([look_up(canvas.color[..., k], x, y) for k in range(3)], 1)
        color = color * (1 + 1.5 * stray * brushwork * rng.standard_normal((count, 1)))
        color = color + 0.12 * stray * brushwork * rng.standard_normal((count, 3))
        brush_on(
            canvas,
            path_x[inside],
            path_y[inside],
            (width * rng.uniform(0.7, 1.0, count)).astype(np.float32)[inside],
            color.astype(np.float32)[inside],
            rng,
            bristles=6,
            streak=0.035 * brushwork,
            thickness=0.9,
        )
