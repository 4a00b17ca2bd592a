r"""How good is an encoder, or a net? Not by its training loss: by the pictures that come out of it.

A photo is stylised, by Gatys' method through the encoder under test or by one pass of a net, and
VGG-19, the judge, says how much of the distance to the style is left:

.. math:: d(x) = \frac14 \sum_l \frac{\lVert G_l(x) - G_l(s)\rVert^2}{\lVert G_l(s)\rVert^2},
          \qquad \text{left} = d(x_{\text{stylised}}) \,/\, d(x_{\text{photo}})

over relu1_1, relu2_1, relu3_1 and relu3_4. 0 is a perfect match of the style's Gram matrices; 1 is
the photo as it was; above 1, the picture was led away from the style. What the photo lost is its
content distance: the relative squared error of relu3_3.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nstlib import config, gatys, losses
from nstlib.encoders import Encoder, check_taps
from nstlib.images import load_image
from nstlib.transform_net import TransformNet

JUDGED_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
SIZE = 256  # px
STEPS = 150
SETTINGS = gatys.Settings(style_weight=1e3, tv_weight=0, learning_rate=0.03, steps=STEPS)


@dataclass(frozen=True)
class Pair:
    """A photo and a style, as paths within a folder of pictures."""

    content: str
    style: str


@dataclass(frozen=True)
class PairResult:
    """The judge's distance to the style before and after one run."""

    pair: Pair
    before: float
    after: float

    @property
    def left(self) -> float:
        """The share of the distance that is left; 0 is best."""
        return self.after / self.before


@dataclass(frozen=True)
class Summary:
    """What is left over all pairs, as shares."""

    encoder: str
    mean: float
    median: float
    worst: float


def read_pairs(path: Path | None = None) -> list[Pair]:
    """Return the pairs of a CSV file with the columns ``content`` and ``style``.

    Without a path, the twenty held-out pairs that the figures in the model cards stand for.

    Raises:
        ValueError: the file lacks a column, or has no pair.

    Example:
        >>> len(read_pairs())
        20
    """
    path = path or config.data_dir() / "evaluation" / "encoder-pairs.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"content", "style"} <= rows[0].keys():
        raise ValueError(f"{path}: needs the columns content and style, and a row at least")
    return [Pair(row["content"], row["style"]) for row in rows]


@torch.no_grad()
def style_distance(judge: Encoder, image: Tensor, style: Tensor) -> float:
    """Return how far the Gram matrices of ``image`` are from those of ``style``, relative to them.

    Example:
        >>> from nstlib.encoders import random_encoder
        >>> style = torch.rand(1, 3, 32, 32)
        >>> style_distance(random_encoder(), style, style)
        0.0
    """
    return _distance(judge(image, JUDGED_TAPS), _targets(judge, style))


def _targets(judge: Encoder, style: Tensor) -> dict[str, losses.GramLoss]:
    """Return what pictures are to be compared with, tap by tap."""
    maps = judge(style, JUDGED_TAPS)
    return {tap: losses.GramLoss(maps[tap]) for tap in JUDGED_TAPS}


def _distance(maps: Mapping[str, Tensor], targets: Mapping[str, losses.GramLoss]) -> float:
    return float(torch.stack([loss(maps[tap]) for tap, loss in targets.items()]).mean())


def evaluate_encoder(
    encoder: Encoder,
    judge: Encoder,
    pairs: Iterable[Pair],
    pictures: Path,
    settings: gatys.Settings = SETTINGS,
) -> Iterator[PairResult]:
    """Stylise each pair through ``encoder`` and let ``judge`` say what is left of the distance.

    Raises:
        ValueError: the judge lacks a tap.
        ImageError: a picture of a pair is missing from the folder ``pictures``.
    """
    check_taps(judge, JUDGED_TAPS, "judge")
    for pair in pairs:
        content = load_image(pictures / pair.content, size=SIZE, crop=True)
        style = load_image(pictures / pair.style, size=SIZE)
        image = gatys.stylize(content, style, encoder, settings)
        before = style_distance(judge, content, style)
        yield PairResult(pair, before, style_distance(judge, image, style))


@dataclass(frozen=True)
class DialResult:
    """What the judge says of one photo in one style, at one place of a net's dial."""

    photo: str
    style: str
    style_weight: float | None
    left: float  # of the photo's own distance to the style
    content: float  # how far the picture is from the photo; 1 is as far as no picture at all


CONTENT_TAP = "relu3_3"


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
    check_taps(judge, (*JUDGED_TAPS, CONTENT_TAP), "judge")
    taps = (*JUDGED_TAPS, CONTENT_TAP)
    targets = {style: _targets(judge, picture) for style, picture in styles.items()}
    for photo, content in photos.items():
        seen = judge(content, taps)
        for style, target in targets.items():
            before = _distance(seen, target)
            for style_weight in style_weights:
                painted = net.stylize(content, style if net.shape.styles else None, style_weight)
                maps = judge(painted, taps)
                lost = float(losses.content_distance(maps[CONTENT_TAP], seen[CONTENT_TAP]))
                left = _distance(maps, target) / before
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


def summarise(name: str, results: Sequence[PairResult]) -> Summary:
    """Return the mean, the median and the worst of what is left.

    Example:
        >>> results = [PairResult(Pair("a", "b"), 1.0, after) for after in (0.01, 0.03, 0.05)]
        >>> summary = summarise("slim", results)
        >>> f"{summary.mean:.2f} {summary.median:.2f} {summary.worst:.2f}"
        '0.03 0.03 0.05'
    """
    left = [result.left for result in results]
    return Summary(name, statistics.mean(left), statistics.median(left), max(left))


def as_table(summaries: Iterable[Summary]) -> str:
    """Return a Markdown table, in percent.

    Example:
        >>> print(as_table([Summary("slim", 0.02, 0.015, 0.04)]))
        | encoder | mean | median | worst |
        | --- | ---: | ---: | ---: |
        | slim | 2.0 % | 1.5 % | 4.0 % |
    """
    rows = ["| encoder | mean | median | worst |", "| --- | ---: | ---: | ---: |"]
    rows += [
        f"| {s.encoder} | {100 * s.mean:.1f} % | {100 * s.median:.1f} % | {100 * s.worst:.1f} % |"
        for s in summaries
    ]
    return "\n".join(rows)
