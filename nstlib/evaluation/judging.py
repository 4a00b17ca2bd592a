r"""The judge: how far a picture is from a style, and how much of a photo's distance to it is left.

VGG-19 judges, or an encoder that stands for it. Of a photo that was stylised it says how much of the
distance to the style is left:

.. math:: d(x) = \frac14 \sum_l \frac{\lVert G_l(x) - G_l(s)\rVert^2}{\lVert G_l(s)\rVert^2},
          \qquad \text{left} = d(x_{\text{stylised}}) \,/\, d(x_{\text{photo}})

over relu1_1, relu2_1, relu3_1 and relu3_4. 0 is a perfect match of the style's Gram matrices; 1 is
the photo as it was; above 1, the picture was led away from the style. What the photo lost is its
content distance: the relative squared error of relu3_3.

AdaIN knows of a style no more than the mean and the deviation of each channel, and so does its
judge: there d compares these in place of the Gram matrices, as in figure 3 of Huang & Belongie,
Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization, 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from nstlib import gatys, losses
from nstlib.encoders import Encoder, check_taps, find_vgg19_weights, load_encoder

JUDGED_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
CONTENT_TAP = "relu3_3"
SEEN_TAPS = (*JUDGED_TAPS, CONTENT_TAP)
SIZE = 256  # px
STEPS = 150  # of Gatys' method, where it is judged
SETTINGS = gatys.Settings(style_weight=1e3, tv_weight=0, learning_rate=0.03, steps=STEPS)
StyleLoss = losses.GramLoss | losses.StatisticsLoss
_Item = TypeVar("_Item")


@torch.no_grad()
def style_distance(judge: Encoder, image: Tensor, style: Tensor) -> float:
    """Return how far the Gram matrices of ``image`` are from those of ``style``, relative to them.

    Example:
        >>> from nstlib.encoders import random_encoder
        >>> style = torch.rand(1, 3, 32, 32)
        >>> style_distance(random_encoder(), style, style)
        0.0
    """
    return distance_to(judge(image, JUDGED_TAPS), targets_of(judge, style))


def targets_of(
    judge: Encoder, style: Tensor, kind: type[StyleLoss] = losses.GramLoss
) -> dict[str, StyleLoss]:
    """Return what pictures are to be compared with, tap by tap."""
    maps = judge(style, JUDGED_TAPS)
    return {tap: kind(maps[tap]) for tap in JUDGED_TAPS}


def distance_to(maps: Mapping[str, Tensor], targets: Mapping[str, StyleLoss]) -> float:
    """Return how far maps are from what :func:`targets_of` returned, a mean over the judged taps."""
    return float(torch.stack([loss(maps[tap]) for tap, loss in targets.items()]).mean())


@dataclass(frozen=True)
class Left:
    """The shares of a photo's distance to a style that are left, by both measures; 0 is best."""

    gram: float
    statistics: float  # of means and deviations


def judging(judge: Encoder, photo: Tensor, style: Tensor) -> Callable[[Tensor], Left]:
    """Return what says of a photo's stylised forms what is left of its distance to the style.

    Raises:
        ValueError: the judge lacks a tap.

    Example:
        >>> from nstlib.encoders import random_encoder
        >>> photo, style = torch.rand(2, 1, 3, 32, 32)
        >>> left_of = judging(random_encoder(), photo, style)
        >>> left_of(photo), left_of(style)
        (Left(gram=1.0, statistics=1.0), Left(gram=0.0, statistics=0.0))
    """
    check_taps(judge, JUDGED_TAPS, "judge")
    kinds = (losses.GramLoss, losses.StatisticsLoss)
    with torch.no_grad():
        targets = [targets_of(judge, style, kind) for kind in kinds]
        before = [distance_to(judge(photo, JUDGED_TAPS), target) for target in targets]

    @torch.no_grad()
    def left_of(painted: Tensor) -> Left:
        maps = judge(painted, JUDGED_TAPS)
        after = [distance_to(maps, target) for target in targets]
        return Left(*(now / then for now, then in zip(after, before, strict=True)))

    return left_of


def best_judge() -> Encoder:
    """Return VGG-19 where its weights are found on this machine, else the slim encoder that ships."""
    return load_encoder("slim" if find_vgg19_weights() is None else "vgg19")


def spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """Return ``count`` of ``items``, or all where there are fewer, as far apart as they can be.

    Files in a row by name are often by one hand.

    Example:
        >>> spread("abcdefgh", 3)
        ['a', 'c', 'f']
    """
    if count < 1:
        raise ValueError(f"count is {count}; it must be at least 1")
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def diagonal(first: Sequence[str], second: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield every pair once, in an order in which the first few have many different members.

    Example:
        >>> ["".join(pair) for pair in diagonal("abcd", "xy")]
        ['ax', 'by', 'cx', 'dy', 'ay', 'bx', 'cy', 'dx']
    """
    turn = math.lcm(len(first), len(second))  # after which a diagonal would begin again
    for i in range(len(first) * len(second)):
        yield first[i % len(first)], second[(i + i // turn) % len(second)]
