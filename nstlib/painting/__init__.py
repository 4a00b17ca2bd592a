"""Styles painted by code: seeded painters that need no museum and no download.

A painter is a function of a size, a seed, a palette and parameters of its own; the same arguments
give the same picture, bit for bit on one machine. They are the styles that ship in ``data/styles``
and a training set without limits.

>>> picture = paint("vortex", size=64, seed=3, palette="dawn")
>>> tuple(picture.shape)
(1, 3, 64, 64)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from nstlib.painting.palettes import PALETTES
from nstlib.painting.vortex import vortex

__all__ = ["PAINTERS", "PALETTES", "paint", "painters", "vortex"]

PAINTERS: dict[str, Callable[..., Tensor]] = {painter.__name__: painter for painter in (vortex,)}

SMALLEST, LARGEST = 32, 4096  # below, strokes are lost; above, the canvas outgrows a laptop


def painters() -> tuple[str, ...]:
    """Return the painters' names.

    Example:
        >>> "vortex" in painters()
        True
    """
    return tuple(PAINTERS)


def paint(
    name: str,
    size: int = 512,
    seed: int = 0,
    palette: str | Sequence[str] | None = None,
    **parameters: Any,
) -> Tensor:
    """Paint a picture: (1, 3, size, size), float32 in [0, 1].

    Args:
        name: one of ``painters()``.
        size: side in pixels, 32 … 4096. Another size is the same picture, larger or smaller.
        seed: a whole number from 0; another seed is another picture.
        palette: a name in ``PALETTES``, hex colours, or None for the painter's own.
        **parameters: the painter's own; see its documentation.

    Raises:
        ValueError: an unknown painter, palette or parameter, or a value outside its range.
        TypeError: ``size`` or ``seed`` is not a whole number.

    Example:
        >>> paint("vortex", size=64, seed=1, strokes=1.5).dtype
        torch.float32
    """
    if name not in PAINTERS:
        raise ValueError(f"name is {name!r}; the painters are {', '.join(PAINTERS)}")
    own = {
        key
        for key, parameter in inspect.signature(PAINTERS[name]).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    unknown = sorted(set(parameters) - own)
    if unknown:
        raise ValueError(f"{name} has no parameter {unknown[0]!r}; it takes {', '.join(sorted(own))}")
    for argument, value in (("size", size), ("seed", seed)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{argument} is {value!r}; it must be a whole number")
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size is {size}; it must lie in [{SMALLEST}, {LARGEST}]")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    if palette is not None:
        parameters["palette"] = palette
    return PAINTERS[name](size=size, seed=seed, **parameters)
