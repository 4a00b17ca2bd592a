"""Checks for the exercises of the notebooks: one function for each, named as what it checks.

A check runs the student's function on small seeded inputs and compares with nstlib's own. It also
knows the usual mistakes, each written out as a function: an answer that agrees with one of them
gets the hint that names it. So do mistakes of every kind of answer: a forgotten ``return``, an
argument that is written to, a size taken from one example, half precision, a gradient that is cut
where the function is to be part of a loss or a net. An error is told with the line that raised it.
No check raises, so that a notebook with open exercises runs through.

>>> from nstlib import check, kernels
>>> check.gram(kernels.gram)
✓ gram: right
>>> check.gram(lambda features: kernels.gram(features, "sum"))
✗ gram: not divided: a sum over positions grows with the picture; divide by H·W
>>> check.gram(lambda features: ...)
… gram: not done yet
"""

from __future__ import annotations

from nstlib.check.adain import adain, between, merged, shared_gradient, smoothed
from nstlib.check.common import Result
from nstlib.check.fast_nets import (
    break_even,
    conditional_norm,
    dial_position,
    folded_kernel,
    overlaps,
)
from nstlib.check.gatys import gram, keep_colour, masked_gram, receptive_field, total_variation
from nstlib.check.interpolation import loop, mixture, recolored, regions, shares, triangle
from nstlib.check.kernels import half_gram, masked_max, offsets, tile, tv_gradient
from nstlib.check.serving import admit, in_server, kept, kind, percentile
from nstlib.check.video import steady, visible, warping_error, weight_for, zoom_flow

__all__ = [
    "Result",
    "adain",
    "admit",
    "between",
    "break_even",
    "conditional_norm",
    "dial_position",
    "folded_kernel",
    "gram",
    "half_gram",
    "in_server",
    "keep_colour",
    "kept",
    "kind",
    "loop",
    "masked_gram",
    "masked_max",
    "merged",
    "mixture",
    "offsets",
    "overlaps",
    "percentile",
    "receptive_field",
    "recolored",
    "regions",
    "shared_gradient",
    "shares",
    "smoothed",
    "steady",
    "tile",
    "total_variation",
    "triangle",
    "tv_gradient",
    "visible",
    "warping_error",
    "weight_for",
    "zoom_flow",
]
