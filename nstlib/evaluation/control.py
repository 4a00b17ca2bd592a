"""How good is what can be turned: colours that are kept, and covariances in place of deviations.

Colours: the chroma distance says how far the colours of a picture are from those of its photo, and the
style loss of the grey pictures says what keeping them cost. Both are given beside those of plain AdaIN.

Covariances: what is left of the style loss, as in :mod:`nstlib.evaluation.judging`, of the deviations that
AdaIN matches, and of the Gram matrices, which also know which channels go together.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from nstlib import losses
from nstlib.adain import AdaIN, Match
from nstlib.color import luminance
from nstlib.encoders import Encoder, check_taps
from nstlib.evaluation.judging import CONTENT_TAP, SEEN_TAPS, distance_to, targets_of
from nstlib.stylist import KeepColor, Stylist

COLORS: tuple[KeepColor | None, ...] = (None, *get_args(KeepColor))


def chroma_distance(image: Tensor, photo: Tensor) -> float:
    r"""Return how far colours are from a photo's, whatever their lightness: a mean over the pixels.

    .. math:: \frac1P \sum_p \lVert (x_p - Y(x_p)) - (c_p - Y(c_p)) \rVert

    Args:
        image, photo: (1, 3, H, W) in [0, 1], of one size.

    Example:
        >>> grey = torch.full((1, 3, 2, 2), 0.5)
        >>> chroma_distance(grey, grey + 0.2)
        0.0
    """
    apart = (image - luminance(image)) - (photo - luminance(photo))
    return float(torch.linalg.vector_norm(apart, dim=1).mean())


@dataclass(frozen=True)
class ColorResult:
    """What was measured of one photo in one style, in one way to keep its colours."""

    photo: str
    style: str
    keep_color: KeepColor | None
    chroma: float  # :func:`chroma_distance` to the photo
    style_loss: float  # of the grey pictures


@torch.no_grad()
def evaluate_colors(
    model: AdaIN, judge: Encoder, photos: Mapping[str, Tensor], styles: Mapping[str, Tensor]
) -> Iterator[ColorResult]:
    """Measure each photo in each style, in the style's colours and in each way to keep the photo's.

    Args:
        model: what paints.
        judge: an encoder with the judged taps.
        photos, styles: (1, 3, H, W), by what they are called.

    Raises:
        ValueError: the judge lacks a tap.
    """
    check_taps(judge, SEEN_TAPS, "judge")
    stylist = Stylist(model)
    targets = {
        name: targets_of(judge, _grey(picture), losses.StatisticsLoss)
        for name, picture in styles.items()
    }
    for photo, picture in photos.items():
        for style, painting in styles.items():
            for keep in COLORS:
                made = stylist.stylize(picture, painting, keep_color=keep)
                loss = distance_to(judge(_grey(made), SEEN_TAPS), targets[style])
                yield ColorResult(photo, style, keep, chroma_distance(made, picture), loss)


def _grey(image: Tensor) -> Tensor:
    return luminance(image).expand(-1, 3, -1, -1).contiguous()


def color_table(results: Sequence[ColorResult]) -> str:
    """Return a Markdown table: a row for each way, with shares of what plain AdaIN has.

    Example:
        >>> print(color_table([ColorResult("a", "b", keep, chroma, 0.2)
        ...                    for keep, chroma in ((None, 0.4), ("luminance", 0.1))]))
        | colours | pairs | chroma distance | … of plain | worst pair | grey style loss | … of plain |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: |
        | the style's | 1 | 0.400 | 100 % | 100 % | 0.200 | 1.00 |
        | luminance | 1 | 0.100 | 25 % | 25 % | 0.200 | 1.00 |
    """
    lines = [
        "| colours | pairs | chroma distance | … of plain | worst pair | grey style loss | … of plain |",
        "| --- |" + " ---: |" * 6,
    ]
    plain = [result for result in results if result.keep_color is None]
    for keep in dict.fromkeys(result.keep_color for result in results):
        here = [result for result in results if result.keep_color == keep]
        chroma, loss = (statistics.mean(part) for part in zip(*map(_measures, here), strict=True))
        whole = [statistics.mean(part) for part in zip(*map(_measures, plain), strict=True)]
        worst = max(_ratio(a.chroma, b.chroma) for a, b in zip(here, plain, strict=True))
        name = keep or "the style's"
        lines.append(
            f"| {name} | {len(here)} | {chroma:.3f} "
            f"| {100 * _ratio(chroma, whole[0]):.0f} % | {100 * worst:.0f} % "
            f"| {loss:.3f} | {_ratio(loss, whole[1]):.2f} |"
        )
    return "\n".join(lines)


def _ratio(found: float, plain: float) -> float:
    """Return a share of what plain AdaIN has; where that is nothing, of nothing 1, else infinity."""
    return found / plain if plain else (1.0 if found == plain else math.inf)


def _measures(result: ColorResult) -> tuple[float, float]:
    return result.chroma, result.style_loss


# ------------------------------------------------------------------------------------ covariances


@dataclass(frozen=True)
class MatchResult:
    """What the judge says of one photo in one style, with one way to match the maps."""

    photo: str
    style: str
    match: Match
    deviations: float  # the share of the photo's style loss that is left; 0 is best
    grams: float  # the same of Gram matrices
    content: float  # how far the picture is from the photo; 1 is as far as no picture at all


@torch.no_grad()
def evaluate_matches(
    model: AdaIN, judge: Encoder, photos: Mapping[str, Tensor], styles: Mapping[str, Tensor]
) -> Iterator[MatchResult]:
    """Let ``judge`` look at each photo in each style, with each way to match the style's maps.

    Args:
        model: what paints.
        judge: an encoder with the judged taps.
        photos, styles: (1, 3, H, W), by what they are called.

    Raises:
        ValueError: the judge lacks a tap.
    """
    check_taps(judge, SEEN_TAPS, "judge")
    known = {
        name: (
            model.style(picture),
            [targets_of(judge, picture, kind) for kind in (losses.StatisticsLoss, losses.GramLoss)],
        )
        for name, picture in styles.items()
    }
    for photo, picture in photos.items():
        content, seen = model.content(picture), judge(picture, SEEN_TAPS)
        for name, (style, targets) in known.items():
            for match in get_args(Match):
                made = judge(model.stylize(content, style, match=match), SEEN_TAPS)
                of_deviations, of_grams = (
                    distance_to(made, each) / distance_to(seen, each) for each in targets
                )
                lost = float(losses.content_distance(made[CONTENT_TAP], seen[CONTENT_TAP]))
                yield MatchResult(photo, name, match, of_deviations, of_grams, lost)


def match_table(results: Sequence[MatchResult]) -> str:
    """Return a Markdown table: a row for each way to match, means and medians over all pairs.

    Example:
        >>> print(match_table([MatchResult("a", "b", "deviation", 0.1, 0.2, 0.5)]))
        | match | pairs | deviations left: mean | median | Grams left: mean | median | content loss |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: |
        | deviation | 1 | 10.0 % | 10.0 % | 20.0 % | 20.0 % | 0.50 |
    """
    lines = [
        "| match | pairs | deviations left: mean | median | Grams left: mean | median | content loss |",
        "| --- |" + " ---: |" * 6,
    ]
    for match in dict.fromkeys(result.match for result in results):
        here = [result for result in results if result.match == match]
        shares = [
            f"{100 * average(part):.1f} %"
            for part in ([r.deviations for r in here], [r.grams for r in here])
            for average in (statistics.mean, statistics.median)
        ]
        content = statistics.mean(result.content for result in here)
        lines.append(f"| {match} | {len(here)} | {' | '.join(shares)} | {content:.2f} |")
    return "\n".join(lines)
