"""How good is an encoder? Gatys' method looks through it, and the judge at the pictures.

A photo is stylised through the encoder under test, and VGG-19 says how much of the distance to the
style is left.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nstlib import config, gatys
from nstlib.encoders import Encoder, check_taps
from nstlib.evaluation import judging
from nstlib.evaluation.judging import JUDGED_TAPS, SETTINGS, style_distance
from nstlib.images import load_image


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
        content = load_image(pictures / pair.content, size=judging.SIZE, crop=True)
        style = load_image(pictures / pair.style, size=judging.SIZE)
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
