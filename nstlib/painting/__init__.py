"""Styles painted by code: seeded painters that need no museum and no download.

A painter is a function of a size, a seed, a palette and parameters of its own; the same arguments
give the same picture, bit for bit on one machine, and another size gives the same composition. Any
painter takes any palette: endless variants, the styles that ship in ``data/styles``, and a training
set without limits.

>>> picture = paint("vortex", size=64, seed=3, palette="dawn")
>>> tuple(picture.shape)
(1, 3, 64, 64)
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor

from nstlib import images
from nstlib.painting.cubism import cubism
from nstlib.painting.engraving import engraving
from nstlib.painting.gilded import gilded
from nstlib.painting.glass import stained_glass
from nstlib.painting.mosaic import mosaic
from nstlib.painting.palettes import PALETTES
from nstlib.painting.pointillism import pointillism
from nstlib.painting.registry import PAINTERS, Colors
from nstlib.painting.vortex import vortex
from nstlib.painting.woodblock import woodblock

__all__ = [
    "PAINTERS",
    "PALETTES",
    "STYLES",
    "cubism",
    "engraving",
    "gilded",
    "mosaic",
    "paint",
    "painters",
    "pointillism",
    "stained_glass",
    "vortex",
    "woodblock",
    "write_styles",
]

# What ships: a file's name and the arguments of `paint` that make it, chosen by eye.
STYLES: dict[str, dict[str, Any]] = {
    "vortex": {"name": "vortex", "seed": 1, "palette": "night"},
    "vortex-dawn": {"name": "vortex", "seed": 2, "palette": "dawn"},
    "woodblock": {"name": "woodblock", "seed": 2, "palette": "prussian"},
    "stained_glass": {"name": "stained_glass", "seed": 2, "palette": "cathedral"},
    "mosaic": {"name": "mosaic", "seed": 1, "palette": "lagoon"},
    "pointillism": {"name": "pointillism", "seed": 0, "palette": "riverside"},
    "cubism": {"name": "cubism", "seed": 0, "palette": "cafe"},
    "cubism-fauve": {"name": "cubism", "seed": 2, "palette": "fauve"},
    "engraving": {"name": "engraving", "seed": 0, "palette": "folio"},
    "gilded": {"name": "gilded", "seed": 0, "palette": "gold"},
}
STYLE_SIZE = 512
JPEG_QUALITY = 88  # keeps the edges of strokes, and every file under 200 KB


def painters() -> tuple[str, ...]:
    """Return the painters' names.

    Example:
        >>> "vortex" in painters()
        True
    """
    return tuple(sorted(PAINTERS))


def paint(
    name: str, size: int = 512, seed: int = 0, palette: Colors | None = None, **parameters: Any
) -> Tensor:
    """Paint a picture: (1, 3, size, size), float32 in [0, 1].

    Args:
        name: one of ``painters()``.
        size: side in pixels, 32 … 4096. Another size is the same picture, larger or smaller.
        seed: a whole number from 0; another seed is another picture.
        palette: a name in ``PALETTES``, '#rrggbb' colours, or None for the painter's own.
        **parameters: the painter's own; its signature says which, and their ranges.

    Raises:
        ValueError: an unknown painter, palette or parameter, or a value outside its range.
        TypeError: no whole number where one is wanted.

    Example:
        >>> paint("vortex", size=64, seed=1, strokes=1.5).dtype
        torch.float32
        >>> paint("vortex", size=64, stroke=2)
        Traceback (most recent call last):
        ...
        ValueError: vortex has no parameter 'stroke'; it takes size, seed, palette, stars, ...
    """
    if name not in PAINTERS:
        raise ValueError(f"name is {name!r}; the painters are {', '.join(painters())}")
    if palette is not None:
        parameters["palette"] = palette
    return PAINTERS[name](size=size, seed=seed, **parameters)


def write_styles(folder: str | os.PathLike[str]) -> list[Path]:
    """Paint every picture of ``STYLES`` into a folder as JPEG, its recipe in its metadata.

    Returns the files' paths.
    """
    paths = [Path(folder) / f"{stem}.jpg" for stem in STYLES]
    for path, arguments in zip(paths, STYLES.values(), strict=True):
        recipe = {"made by": "nstlib.painting.paint", "size": STYLE_SIZE, **arguments}
        picture = paint(size=STYLE_SIZE, **arguments)
        images.save_image(picture, path, recipe, quality=JPEG_QUALITY)
    return paths
