"""Frames become a GIF of one palette."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from nstlib.video.mp4 import Shown, told

_PALETTE_PIXELS = 2**16  # pixels that a GIF's palette is found from: more change nothing to see


def encode(path: Path, partial: Path, frames: Iterator[Shown], loop: bool) -> None:
    """Write the frames of ``path`` to ``partial``; when they fail, what came until then."""
    held: list[Image.Image] = []
    moments: list[Fraction] = []  # when each is shown, and then the end of the last
    try:
        for frame in frames:
            held.append(Image.fromarray(frame.picture))
            moments[-1:] = [frame.time, frame.end]
    except BaseException:
        if held:
            with suppress(Exception):  # the first error is the one to tell
                _save(partial, held, moments, loop)
        raise
    with told(path):
        _save(partial, held, moments, loop)


def _save(partial: Path, held: list[Image.Image], moments: list[Fraction], loop: bool) -> None:
    """Bring all pictures to one palette, and write them."""
    palette = _palette(held)
    frames = [image.quantize(palette=palette) for image in held]  # dithers after Floyd-Steinberg
    frames[0].save(
        partial,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        duration=_delays(moments),
        **({"loop": 0} if loop else {}),  # 0 is for ever, and without it a GIF plays once
    )


def _palette(pictures: list[Image.Image]) -> Image.Image:
    """Return a picture whose palette suits pixels from all of the pictures."""
    pixels = np.concatenate([np.asarray(picture).reshape(-1, 3) for picture in pictures])
    step = len(pixels) // _PALETTE_PIXELS | 1  # odd, so that no column of most pictures is left out
    # k-means moves the colours to where the pixels are: errors shrink by a sixth, tints by a third.
    return Image.fromarray(pixels[None, ::step]).quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)


def _delays(moments: list[Fraction]) -> list[int]:
    """Return each frame's time in ms, in whole 1/100 s.

    Not the delays but the moments are rounded, so that errors do not add up.
    """
    rounded = [math.floor(100 * (at - moments[0]) + Fraction(1, 2)) for at in moments]
    return [10 * (after - before) for before, after in itertools.pairwise(rounded)]
