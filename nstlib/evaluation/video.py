r"""How steady is a stylised clip, how good is a flow, and how much of the style is in the pictures?

Steadiness alone is cheap: a blurred clip, or the photo itself, hardly flickers. So the warping
error is to be read beside the style strength. Both are measured on made clips, whose motion is known:
by found motion, the flow's own errors would go unseen.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nstlib import kernels, losses
from nstlib.encoders import Encoder
from nstlib.evaluation.judging import JUDGED_TAPS, distance_to, spread, targets_of
from nstlib.flow import check_flow
from nstlib.images import check_image
from nstlib.kernels.arguments import check_like
from nstlib.masks import check_mask
from nstlib.painting import KnownClip
from nstlib.video import motions, steady
from nstlib.video.stylizing import in_passes


@torch.no_grad()
def warping_error(
    frames: Iterable[Tensor], flows: Iterable[Tensor], visible: Iterable[Tensor]
) -> float:
    r"""Return how much a clip changes beyond its motion: the mean of its pairs' warping errors.

    .. math:: E = \frac1{|I|} \sum_{i \in I} \frac{\sum_p M_i(p) \cdot \frac13
              \lVert x_i(p) - x_{i-1}(p + \text{flow}_i(p)) \rVert^2}{\sum_p M_i(p)}

    The inner mean is over the visible pixels and the three channels; the outer, over the set I of
    the pairs of which anything is visible: a cut leaves its pair out. A clip that moves as the flow
    says has 0; independent noise of deviation σ adds 2σ² (less where the flow leads between
    pixels, which averages the noise). As published but for the scale: the paper's norm adds up the
    three channels, where the mean is a third of that.

    Args:
        frames: images (1, 3, H, W), or one tensor (N, 3, H, W); only two are held at a time.
        flows: as many (1, 2, H, W) or (N, 2, H, W), from frame i to frame i − 1, px; the first is
            not looked at, and neither is the first mask.
        visible: as many masks (1, 1, H, W) or (N, 1, H, W): 1 where frame i − 1 shows it, too.

    Raises:
        ValueError, TypeError: an argument is wrong, there is one more of frames, flows or masks
            than of the others, or no pair has anything visible.

    Example:
        >>> from nstlib.painting import clip
        >>> known = clip("still", frames=3, height=32, width=32)
        >>> warping_error(known.frames, known.flows, known.visible)
        0.0

    Reference:
        Lai et al., Learning Blind Video Temporal Consistency, 2018.
    """
    errors, before = [], None
    for frame, flow, mask in _together(frames, flows, visible):
        check_image("a frame", frame)
        if before is not None:
            check_flow("a flow", flow)
            check_mask("a mask of visible", mask, (frame.shape[2], frame.shape[3]))
            check_like("a frame", frame, tuple(before.shape), before, (), "the one before")
            if mask.any():
                errors.append(_pair_error(frame, before, flow, mask))
        before = frame
    if not errors:
        raise ValueError("frames has no pair of which anything is visible, so no warping error")
    return sum(errors) / len(errors)


def _pair_error(frame: Tensor, before: Tensor, flow: Tensor, mask: Tensor) -> float:
    squares = (frame - kernels.warp(before, flow)).square().mean(dim=1, keepdim=True)
    return float((mask * squares).sum() / mask.sum())


def _together(*parts: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield frame, flow and mask, one by one."""
    # A batch is parted into batches of one.
    streams = [torch.split(part, 1) if isinstance(part, Tensor) else part for part in parts]
    for i, (frame, flow, mask) in enumerate(itertools.zip_longest(*streams)):
        named = {"frames": frame, "flows": flow, "visible": mask}
        ended = [name for name, value in named.items() if value is None]
        if ended:
            raise ValueError(
                f"{' and '.join(ended)} ended after {i}; frames, flows and visible are as many"
            )
        yield frame, flow, mask


def end_point_error(found: Tensor, truth: Tensor, visible: Tensor | None = None) -> float:
    r"""Return the mean distance in px between where a flow leads and where it should.

    .. math:: \text{EPE} = \frac{\sum_p M(p)\,\lVert f(p) - t(p) \rVert}{\sum_p M(p)}

    Args:
        found, truth: flows (N, 2, H, W) in pixels.
        visible: (N, 1, H, W), the pixels that count and how much; None counts all alike.

    Raises:
        ValueError, TypeError: an argument is wrong, or nothing is visible.

    Example:
        >>> truth = torch.zeros(1, 2, 4, 4)
        >>> end_point_error(truth + torch.tensor([3.0, 4.0]).view(2, 1, 1), truth)
        5.0

    Reference:
        Barron, Fleet & Beauchemin, Performance of Optical Flow Techniques, 1994; Baker et al., A
        Database and Evaluation Methodology for Optical Flow, 2011.
    """
    check_flow("found", found)
    check_flow("truth", truth)
    check_like("truth", truth, tuple(found.shape), found, (), "found")
    distances = (found - truth).norm(dim=1, keepdim=True)  # (N, 1, H, W)
    if visible is None:
        return float(distances.mean())
    check_mask("visible", visible)
    check_like("visible", visible, tuple(distances.shape), distances, (), "found")
    if not visible.any():
        raise ValueError("visible is 0 everywhere, so there is nothing to take the mean of")
    return float((visible * distances).sum() / visible.sum())


class StrengthMeter:
    """Measures how much of the way to a style pictures have come: 1 − d(painted) / d(photo).

    d compares the mean and the deviation of each channel of the judge's maps with those of the
    style, as :mod:`nstlib.evaluation.judging` does. The photo has 0, the style's own statistics have 1; a
    picture farther from the style than the photo is below 0. Blur takes it down: fine texture is
    part of a style. The photos are looked at once, for many clips made of them.

    Args:
        judge: an encoder that has relu1_1, relu2_1, relu3_1 and relu3_4.
        photos: the frames of which strength is told, before they were painted.
        style: an image (1, 3, H, W) in [0, 1].

    Raises:
        ValueError: a photo has the statistics of the style already: there is no way to go.

    Example:
        >>> from nstlib.encoders import random_encoder
        >>> photos = torch.rand(2, 1, 3, 32, 32)
        >>> StrengthMeter(random_encoder(), photos, torch.rand(1, 3, 48, 32) ** 4).of(photos)
        0.0

    Reference:
        Huang & Belongie, Arbitrary Style Transfer in Real-time with Adaptive Instance
        Normalization, 2017, figure 3.
    """

    @torch.no_grad()
    def __init__(self, judge: Encoder, photos: Iterable[Tensor], style: Tensor) -> None:
        self._judge = judge
        self._targets = targets_of(judge, style, losses.StatisticsLoss)
        self._before = [self._distance(photo) for photo in photos]
        if 0 in self._before:
            raise ValueError("photo has the statistics of style already: strength would be 0 ÷ 0")

    @torch.no_grad()
    def of(self, painted: Iterable[Tensor]) -> float:
        """Return the mean strength of the photos' pictures."""
        left = map(self._distance, painted)
        return statistics.mean(1 - a / b for a, b in zip(left, self._before, strict=True))

    def _distance(self, image: Tensor) -> float:
        return distance_to(self._judge(image, JUDGED_TAPS), self._targets)


# ------------------------------------------------------------------------------------- whole clips

Paint = Callable[[Tensor, str], Tensor]  # frames (N, 3, H, W) and a style's name to pictures
WEIGHTS = (0.0, 0.5, 0.7, 0.85, 0.95)
JUDGED = 4  # frames of a clip whose style strength is measured


@dataclass(frozen=True)
class SteadyResult:
    """How steady one clip in one style is at one temporal weight, and how much style it has."""

    painter: str
    clip: str
    style: str
    temporal_weight: float
    warping_error: float
    strength: float


@torch.no_grad()
def evaluate_steadiness(
    painters: Mapping[str, Paint],
    judge: Encoder,
    clips: Mapping[str, KnownClip],
    styles: Mapping[str, Tensor],
    weights: Sequence[float] = WEIGHTS,
) -> Iterator[SteadyResult]:
    """Measure each clip in each style by each painter, at each temporal weight.

    The clip is steadied by the motion that is found in it, and measured by the true one.

    Args:
        painters: what paints frames, by what they are called.
        judge: an encoder with the judged taps, for the style strength.
        clips: whose motion is known.
        styles: pictures (1, 3, H, W), by names that the painters know.
        weights: temporal weights; 0 is each frame by itself.
    """
    for clip, known in clips.items():
        frames = torch.split(known.frames, 1)
        moving, judged = list(motions(frames)), spread(range(1, len(frames)), JUDGED)
        for style, artwork in styles.items():
            strength = StrengthMeter(judge, [frames[i] for i in judged], artwork)
            for name, paint in painters.items():
                painted = _painted(frames, paint, style)
                for weight in weights:
                    result = list(steady(painted, moving, weight))
                    error = warping_error(result, known.flows, known.visible)
                    found = strength.of(result[i] for i in judged)
                    yield SteadyResult(name, clip, style, weight, error, found)


def _painted(frames: Iterable[Tensor], paint: Paint, style: str) -> list[Tensor]:
    """Return frames (1, 3, H, W), painted by themselves."""
    pairs = in_passes(frames, lambda group: paint(torch.cat(group), style))
    return [picture for _, picture in pairs]


def steadiness_table(results: Sequence[SteadyResult], by: str = "painter") -> str:
    """Return a Markdown table: a row for each painter, or clip or style, and temporal weight.

    A share is that of the means over all clips and styles of the row, to those at weight 0.

    Raises:
        ValueError: there are no results at weight 0.

    Example:
        >>> one = SteadyResult("adain", "pan", "vortex", 0.0, 0.01, 0.9)
        >>> other = SteadyResult("adain", "pan", "vortex", 0.7, 0.002, 0.87)
        >>> print(steadiness_table([one, other]))
        | painter | temporal weight | clips | warping error | less | style strength | kept |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: |
        | adain | 0 | 1 | 0.0100 | 0 % | 0.900 | 100 % |
        | adain | 0.7 | 1 | 0.0020 | 80 % | 0.870 | 97 % |
    """
    if not all(any(_is_plain(r, result, by) for r in results) for result in results):
        raise ValueError(
            f"results have none at temporal weight 0 of some {by}, of which shares are taken"
        )
    lines = [
        f"| {by} | temporal weight | clips | warping error | less | style strength | kept |",
        "| --- |" + " ---: |" * 6,
    ]
    for name in dict.fromkeys(getattr(result, by) for result in results):
        own = [result for result in results if getattr(result, by) == name]
        plain_error, plain_strength, _ = _means(own, 0.0)
        for weight in dict.fromkeys(result.temporal_weight for result in own):
            error, strength, count = _means(own, weight)
            less, kept = 1 - error / plain_error, strength / plain_strength
            cells = f"{error:.4f} | {100 * less:.0f} % | {strength:.3f} | {100 * kept:.0f} %"
            lines.append(f"| {name} | {weight:g} | {count} | {cells} |")
    return "\n".join(lines)


def _is_plain(found: SteadyResult, of: SteadyResult, by: str) -> bool:
    return found.temporal_weight == 0 and bool(getattr(found, by) == getattr(of, by))


def _means(results: Sequence[SteadyResult], weight: float) -> tuple[float, float, int]:
    """Return the mean warping error and style strength at a weight, and of how many clips."""
    here = [result for result in results if result.temporal_weight == weight]
    errors, strengths = [r.warping_error for r in here], [r.strength for r in here]
    return statistics.mean(errors), statistics.mean(strengths), len(here)
