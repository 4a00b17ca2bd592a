"""The size of strokes: how large a model paints, whatever the size of the picture.

A network that has learnt from pictures of 256 px paints strokes of some pixels, on any picture. For
larger ones the photo is painted small. Enlarged, the painting would be blurred; so it is taken for a
photo, and painted again with part of the style: the strokes stay where they are, with the edges that
the model gives to everything. That is done at each doubling of the size.

Reference:
    Gatys, Ecker, Bethge, Hertzmann & Shechtman, Controlling Perceptual Factors in Neural Style
    Transfer, 2017, section 6: from coarse to fine.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nstlib.config import Range
from nstlib.images import resize

STROKE_SIZE = Range(
    0.25, 256, "how large the strokes are; 1: as the model has learnt them", log=True
)
REPAINTED = 0.5  # of the style, at a doubling: enough for crisp edges, too little for new strokes
SMALLEST = 32  # px: the shorter side of what can still be painted

ROUNDED = math.log2(1 + 1 / (2 * SMALLEST))  # doublings that half a pixel can add

Size = tuple[int, int]  # height and width, in pixels


def painted_size(size: Size, stroke_size: float) -> Size:
    """Return the size at which a picture of ``size`` is painted first.

    Raises:
        ValueError: ``stroke_size`` is off its range, or leaves too few pixels.
        TypeError: it is no number.

    Example:
        >>> painted_size((384, 576), 2), painted_size((384, 576), 0.5)
        ((192, 288), (768, 1152))
    """
    STROKE_SIZE.check("stroke_size", stroke_size)
    height, width = (max(1, round(side / stroke_size)) for side in size)
    if stroke_size > 1 and min(height, width) < SMALLEST:
        most = max(1, min(size) / SMALLEST)
        raise ValueError(
            f"stroke_size is {stroke_size:g}; a picture of {size[0]}×{size[1]} px takes {most:.3g} at "
            "most"
        )
    return height, width


def doublings(small: Size, size: Size) -> list[Size]:
    """Return the sizes on the way from ``small`` to ``size``, each about twice the one before at most.

    (A side of 121 px is painted at 60 for strokes of 2: what was rounded is no doubling by itself.)

    Example:
        >>> doublings((100, 150), (384, 576))
        [(200, 300), (384, 576)]
    """
    height, width = small
    steps = max(1, math.ceil(math.log2(size[0] / height) - ROUNDED))
    return [(min(height << i, size[0]), min(width << i, size[1])) for i in range(1, steps)] + [size]


def enlarged(
    painted: Tensor,
    photo: Tensor,
    stays: Tensor,
    repaint: Callable[[Tensor, float], Tensor],
) -> Tensor:
    """Return a painting of a small photo at the size of ``photo``, with edges as crisp as before.

    Args:
        painted: (N, 3, H', W') in [0, 1].
        photo: (1, 3, H, W) or (N, 3, H, W), larger.
        stays: how much of the photo is wanted in the picture, in [0, 1]: (N, 1, H, W), or
            (N, 1, 1, 1). So much of what was too fine for the small photo is given back.
        repaint: takes a picture, and the part of the style to paint it with again.
    """
    size = (photo.shape[2], photo.shape[3])
    for step in doublings((painted.shape[2], painted.shape[3]), size):
        fine = resize(photo, step)
        lost = fine - resize(resize(fine, (painted.shape[2], painted.shape[3])), step)
        part = REPAINTED * min(1.0, math.log2(step[0] / painted.shape[2]))
        # As little larger, as little painted again: no jump where the strokes begin to grow.
        larger = (resize(painted, step) + resize(stays, step) * lost).clamp(0, 1)
        painted = torch.lerp(larger, repaint(larger, part), part / REPAINTED)
    return painted
