r"""How good is an encoder? Not by its training loss: by the pictures that are made through it.

A photo is stylised by Gatys' method through the encoder under test, and VGG-19, the judge, says how
much of the distance to the style is left:

.. math:: d(x) = \frac14 \sum_l \frac{\lVert G_l(x) - G_l(s)\rVert^2}{\lVert G_l(s)\rVert^2},
          \qquad \text{left} = d(x_{150}) \,/\, d(x_0)

over relu1_1, relu2_1, relu3_1 and relu3_4. 0 is a perfect match of the style's Gram matrices; 1 is
the photo as it was; above 1, the encoder led away from the style.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nstlib import config, gatys, losses
from nstlib.encoders import Encoder, check_taps
from nstlib.images import load_image

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
    found, wanted = judge(image, JUDGED_TAPS), judge(style, JUDGED_TAPS)
    distances = [losses.GramLoss(wanted[tap])(found[tap]) for tap in JUDGED_TAPS]
    return float(torch.stack(distances).mean())


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
