"""How good is a fast net, at each place of its dial? One pass, and the judge's word on it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nstlib import losses
from nstlib.encoders import Encoder, check_taps
from nstlib.evaluation.judging import CONTENT_TAP, SEEN_TAPS, distance_to, targets_of
from nstlib.transform_net import TransformNet


@dataclass(frozen=True)
class DialResult:
    """What the judge says of one photo in one style, at one place of a net's dial."""

    photo: str
    style: str
    style_weight: float | None
    left: float  # of the photo's own distance to the style
    content: float  # how far the picture is from the photo; 1 is as far as no picture at all


@torch.no_grad()
def evaluate_net(
    net: TransformNet,
    judge: Encoder,
    photos: Mapping[str, Tensor],
    styles: Mapping[str, Tensor],
    style_weights: Sequence[float | None] = (None,),
) -> Iterator[DialResult]:
    """Let ``judge`` look at each photo in each style at each style weight; None is the full dial.

    Args:
        net: what paints.
        judge: an encoder with the judged taps.
        photos: (1, 3, H, W), by what they are called.
        styles: the style pictures, under the net's names for them.
        style_weights: places of the dial.

    Raises:
        ValueError: the judge lacks a tap, or the net a style or a place of the dial.
    """
    check_taps(judge, SEEN_TAPS, "judge")
    targets = {style: targets_of(judge, picture) for style, picture in styles.items()}
    for photo, content in photos.items():
        seen = judge(content, SEEN_TAPS)
        for style, target in targets.items():
            before = distance_to(seen, target)
            for style_weight in style_weights:
                painted = net.stylize(
                    content, style if net.shape.styles else None, style_weight=style_weight
                )
                maps = judge(painted, SEEN_TAPS)
                lost = float(losses.content_distance(maps[CONTENT_TAP], seen[CONTENT_TAP]))
                left = distance_to(maps, target) / before
                yield DialResult(photo, style, style_weight, left, lost)


def dial_table(results: Sequence[DialResult]) -> str:
    """Return a Markdown table: a row for each place of the dial, over all photos and styles.

    Example:
        >>> results = [DialResult("a", "vortex", weight, 1 / weight, 0.1) for weight in (10, 20)]
        >>> print(dial_table(results))
        | style weight | left: mean | median | worst | content distance |
        | ---: | ---: | ---: | ---: | ---: |
        | 10 | 10.0 % | 10.0 % | 10.0 % | 0.10 |
        | 20 | 5.0 % | 5.0 % | 5.0 % | 0.10 |
    """
    lines = [
        "| style weight | left: mean | median | worst | content distance |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for weight in dict.fromkeys(result.style_weight for result in results):
        here = [result for result in results if result.style_weight == weight]
        left, content = [r.left for r in here], statistics.mean(r.content for r in here)
        shares = (statistics.mean(left), statistics.median(left), max(left))
        cells = " | ".join(f"{100 * share:.1f} %" for share in shares)
        name = "full" if weight is None else f"{weight:g}"
        lines.append(f"| {name} | {cells} | {content:.2f} |")
    return "\n".join(lines)


def style_table(results: Sequence[DialResult]) -> str:
    """Return a Markdown table: a row for each style, a column for each place of the dial.

    Example:
        >>> results = [DialResult("a", "vortex", weight, 1 / weight, 0.1) for weight in (10, 20)]
        >>> print(style_table(results))
        | style | left at 10 | 20 |
        | --- | ---: | ---: |
        | vortex | 10.0 % | 5.0 % |
    """
    weights = list(dict.fromkeys(result.style_weight for result in results))
    titles = ["full" if weight is None else f"{weight:g}" for weight in weights]
    lines = [
        f"| style | left at {' | '.join(titles)} |",
        f"| --- |{' ---: |' * len(weights)}",
    ]
    for style in dict.fromkeys(result.style for result in results):
        cells = [
            statistics.mean(r.left for r in results if (r.style, r.style_weight) == (style, weight))
            for weight in weights
        ]
        lines.append(f"| {style} | {' | '.join(f'{100 * cell:.1f} %' for cell in cells)} |")
    return "\n".join(lines)
