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

import numpy as np
from torch import Tensor

from nstlib import images
from nstlib.files import replaced
from nstlib.painting.art_nouveau import art_nouveau
from nstlib.painting.clips import Kind, KnownClip, clip
from nstlib.painting.cubism import cubism
from nstlib.painting.engraving import engraving
from nstlib.painting.gilded import gilded
from nstlib.painting.glass import stained_glass
from nstlib.painting.halftone import halftone
from nstlib.painting.impasto import impasto
from nstlib.painting.ink_wash import ink_wash
from nstlib.painting.marbling import marbling
from nstlib.painting.mosaic import mosaic
from nstlib.painting.neoplastic import neoplastic
from nstlib.painting.palettes import PALETTES
from nstlib.painting.pointillism import pointillism
from nstlib.painting.registry import (
    PAINTERS,
    SEEDS,
    Colors,
    check_kind,
    painter_named,
    parameters_of,
)
from nstlib.painting.vortex import vortex
from nstlib.painting.weaving import weaving
from nstlib.painting.woodblock import woodblock
from nstlib.showing import Picture, compare

__all__ = [
    "PAINTERS",
    "PALETTES",
    "STYLES",
    "Kind",
    "KnownClip",
    "art_nouveau",
    "clip",
    "cubism",
    "engraving",
    "gilded",
    "halftone",
    "impasto",
    "ink_wash",
    "marbling",
    "mosaic",
    "neoplastic",
    "paint",
    "painters",
    "painters_page",
    "parameter_sheet",
    "parameters_of",
    "pointillism",
    "random",
    "random_arguments",
    "stained_glass",
    "vortex",
    "weaving",
    "woodblock",
    "write_painters_page",
    "write_styles",
]

# What ships: a file's name and the arguments of `paint` that make it, chosen by eye.
STYLES: dict[str, dict[str, Any]] = {
    "vortex": {"name": "vortex", "seed": 1, "palette": "night"},
    "vortex-dawn": {"name": "vortex", "seed": 2, "palette": "dawn"},
    "woodblock": {"name": "woodblock", "seed": 2, "palette": "prussian"},
    "woodblock-dawn": {"name": "woodblock", "seed": 5, "palette": "dawn"},
    "stained_glass": {"name": "stained_glass", "seed": 2, "palette": "cathedral"},
    "stained_glass-night": {"name": "stained_glass", "seed": 3, "palette": "night"},
    "art_nouveau": {"name": "art_nouveau", "seed": 1, "palette": "salon"},
    "art_nouveau-firebird": {"name": "art_nouveau", "seed": 14, "palette": "gold"},
    "marbling": {"name": "marbling", "seed": 1, "palette": "carnival"},
    "marbling-indigo": {"name": "marbling", "seed": 11, "palette": "prussian"},
    "mosaic": {"name": "mosaic", "seed": 1, "palette": "lagoon"},
    "mosaic-cathedral": {"name": "mosaic", "seed": 4, "palette": "cathedral"},
    "ink_wash": {"name": "ink_wash", "seed": 5, "palette": "sumi"},
    "ink_wash-dusk": {"name": "ink_wash", "seed": 9, "palette": "dawn"},
    "neoplastic": {"name": "neoplastic", "seed": 13, "palette": "primary"},
    "neoplastic-diagonal": {"name": "neoplastic", "seed": 36, "palette": "lagoon"},
    "pointillism": {"name": "pointillism", "seed": 0, "palette": "riverside"},
    "pointillism-pond": {"name": "pointillism", "seed": 3, "palette": "pond"},
    "cubism": {"name": "cubism", "seed": 0, "palette": "cafe"},
    "cubism-fauve": {"name": "cubism", "seed": 2, "palette": "fauve"},
    "engraving": {"name": "engraving", "seed": 0, "palette": "folio"},
    "engraving-dawn": {"name": "engraving", "seed": 6, "palette": "dawn"},
    "gilded": {"name": "gilded", "seed": 0, "palette": "gold"},
    "gilded-rose": {"name": "gilded", "seed": 5, "palette": "pond"},
    "halftone": {"name": "halftone", "seed": 4, "palette": "comic"},
    "halftone-surf": {"name": "halftone", "seed": 1, "palette": "carnival"},
    "impasto": {"name": "impasto", "seed": 8, "palette": "neon"},
    "impasto-harbour": {"name": "impasto", "seed": 6, "palette": "lagoon"},
    "weaving": {"name": "weaving", "seed": 2, "palette": "kilim"},
    "weaving-dazzle": {"name": "weaving", "seed": 13, "palette": "fauve"},
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
    function = painter_named(name)
    if palette is not None:
        parameters["palette"] = palette
    return function(size=size, seed=seed, **parameters)


def random_arguments(seed: int) -> dict[str, Any]:
    """Return arguments of :func:`paint`, drawn by ``seed``: painter, palette, parameters and seed.

    Each parameter is drawn from the whole of its range, most often near its own default.

    Example:
        >>> arguments = random_arguments(7)
        >>> arguments["name"] in painters(), arguments["palette"] in PALETTES
        (True, True)
    """
    check_kind("seed", int, seed)
    SEEDS.check("seed", seed)
    rng = np.random.default_rng(seed)
    name = str(rng.choice(painters()))
    drawn: dict[str, Any] = {
        "name": name,
        "seed": int(rng.integers(2**31)),
        "palette": str(rng.choice(sorted(PALETTES))),
    }
    for key, parameter in parameters_of(name).items():
        low, high = parameter.range.low, parameter.range.high
        value = float(rng.triangular(low, parameter.default, high))
        drawn[key] = round(value) if isinstance(parameter.default, int) else round(value, 3)
    return drawn


def random(seed: int, size: int = 512) -> Tensor:
    """Paint a picture of which all but the size is drawn by ``seed``: a training set without end.

    Example:
        >>> tuple(random(3, size=32).shape)
        (1, 3, 32, 32)
    """
    return paint(size=size, **random_arguments(seed))


def parameter_sheet(name: str, size: int = 128) -> Picture:
    """Show what each parameter of a painter does: its lowest value, its own, its highest.

    Example:
        >>> parameter_sheet("weaving", size=32).alt
        'weaving: threads 0.6, 1 and 1.5; wobble 0, 1 and 3; abrash 0, 1 and 3; depth 0, 1 and 2'
    """
    pictures, titles, said = [], [], []
    usual = paint(name, size)
    for key, parameter in parameters_of(name).items():
        kind = type(parameter.default)
        ends = [kind(parameter.range.low), kind(parameter.range.high)]
        low, high = (PAINTERS[name](size=size, **{key: end}) for end in ends)
        pictures += [low, usual, high]
        titles += [f"{key} {value:g}" for value in (ends[0], parameter.default, ends[1])]
        said.append(f"{key} {ends[0]:g}, {parameter.default:g} and {ends[1]:g}")
    return compare(pictures, titles, columns=3, alt=f"{name}: {'; '.join(said)}")


def painters_page() -> str:
    """Return a Markdown page of all painters: what each paints, and a sheet of its parameters.

    Example:
        >>> "| `stars` | stars that turn the sky | 0 to 24 | 9 |" in painters_page()
        True
    """
    lines = [
        "# Painters",
        "",
        "Each row of a sheet is one parameter: at its lowest, at the painter's own choice, and at",
        "its highest; all else is the same. Any painter takes any palette, size and seed.",
        "`python -m nstlib.painting` writes this page and its pictures.",
    ]
    for name in painters():
        said = (PAINTERS[name].__doc__ or "").splitlines()[0]
        lines += ["", f"## {name}", "", said, ""]
        lines += ["| parameter | what it is | range | own |", "| --- | --- | --- | --- |"]
        for key, parameter in parameters_of(name).items():
            low, high = parameter.range.low, parameter.range.high
            own = f"{parameter.default:g}"
            lines.append(f"| `{key}` | {parameter.range.meaning} | {low:g} to {high:g} | {own} |")
        lines += ["", f"![What each parameter of {name} does]({name}.jpg)"]
    return "\n".join(lines) + "\n"


def write_painters_page(folder: str | os.PathLike[str]) -> list[Path]:
    """Write :func:`painters_page` as ``README.md`` into a folder, and its sheets; return the paths."""
    paths = [Path(folder) / f"{name}.jpg" for name in painters()]
    for name, path in zip(painters(), paths, strict=True):
        parameter_sheet(name).save(path)
    page = Path(folder) / "README.md"
    with replaced(page) as unfinished:
        unfinished.write_text(painters_page(), encoding="utf-8")
    return [*paths, page]


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
