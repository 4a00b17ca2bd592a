r"""How good is an encoder, or a net? Not by its training loss: by the pictures that come out of it.

A photo is stylised, by Gatys' method through the encoder under test or by one pass of a net, and
VGG-19, the judge, says how much of the distance to the style is left:

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

import csv
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

import torch
from torch import Tensor

from nstlib import config, gatys, losses
from nstlib.adain import AdaIN
from nstlib.encoders import Encoder, check_taps, find_vgg19_weights, load_encoder
from nstlib.images import load_image
from nstlib.transform_net import TransformNet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JUDGED_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
SIZE = 256  # px
STEPS = 150
_StyleLoss = losses.GramLoss | losses.StatisticsLoss
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
    return distance_to(judge(image, JUDGED_TAPS), targets_of(judge, style))


def targets_of(
    judge: Encoder, style: Tensor, kind: type[_StyleLoss] = losses.GramLoss
) -> dict[str, _StyleLoss]:
    """Return what pictures are to be compared with, tap by tap."""
    maps = judge(style, JUDGED_TAPS)
    return {tap: kind(maps[tap]) for tap in JUDGED_TAPS}


def distance_to(maps: Mapping[str, Tensor], targets: Mapping[str, _StyleLoss]) -> float:
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
SEEN_TAPS = (*JUDGED_TAPS, CONTENT_TAP)


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


# ---------------------------------------------------------------------------------------- AdaIN

ALPHAS = (1.0, 0.75, 0.5, 0.25)
GATYS_STEPS = (10, 25, 50, 100, 200, 400)
Method = Literal["adain", "gatys"]
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Judged:
    """What the judge says of one photo in one style, as one method made it."""

    photo: str
    style: str
    method: Method
    place: float  # AdaIN's alpha, or how many steps Gatys' method took
    before: float  # the style loss of the photo itself
    after: float
    content: float  # how far the picture is from the photo; 1 is as far as no picture at all

    @property
    def left(self) -> float:
        """The share of the photo's style loss that is left; 0 is best."""
        return self.after / self.before


def evaluate_adain(
    model: AdaIN,
    judge: Encoder,
    photos: Mapping[str, Tensor],
    styles: Mapping[str, Tensor],
    alphas: Sequence[float] = ALPHAS,
) -> Iterator[Judged]:
    """Let ``judge`` look at each photo in each style at each alpha.

    Args:
        model: what paints.
        judge: an encoder with the judged taps.
        photos, styles: (1, 3, H, W), by what they are called.
        alphas: how much of the style.

    Raises:
        ValueError: the judge lacks a tap, or an alpha lies outside [0, 1].
    """
    check_taps(judge, SEEN_TAPS, "judge")
    known = {
        name: (model.style(picture), targets_of(judge, picture, losses.StatisticsLoss))
        for name, picture in styles.items()
    }
    for photo, picture in photos.items():
        content, seen = model.content(picture), judge(picture, SEEN_TAPS)
        for name, (style, targets) in known.items():
            for alpha in alphas:
                painted = judge(model.stylize(content, style, alpha=alpha), SEEN_TAPS)
                yield Judged(photo, name, "adain", alpha, *_verdict(painted, seen, targets))


def evaluate_gatys(
    judge: Encoder,
    photos: Mapping[str, Tensor],
    styles: Mapping[str, Tensor],
    pairs: Iterable[tuple[str, str]],
    at: Sequence[int] = GATYS_STEPS,
    encoder: str | Encoder = "slim",
    settings: gatys.Settings = SETTINGS,
) -> Iterator[Judged]:
    """Let ``judge`` look at one run of Gatys' method for each pair, after each of ``at`` steps.

    Args:
        judge: an encoder with the judged taps.
        photos, styles: (1, 3, H, W), by what they are called.
        pairs: names of a photo and a style.
        at: numbers of steps; a run ends at the last of them.
        encoder: what the method looks through.
        settings: of the runs; ``steps`` are those of ``at``.

    Raises:
        ValueError: the judge lacks a tap.
    """
    check_taps(judge, SEEN_TAPS, "judge")
    settings = gatys.changed(settings, {"steps": max(at)})
    for photo, style in pairs:
        seen = judge(photos[photo], SEEN_TAPS)
        targets = targets_of(judge, styles[style], losses.StatisticsLoss)
        for step in gatys.optimize(photos[photo], styles[style], encoder, settings):
            if step.index in at:
                painted = judge(step.image, SEEN_TAPS)
                verdict = _verdict(painted, seen, targets)
                yield Judged(photo, style, "gatys", step.index, *verdict)


def _verdict(
    painted: Mapping[str, Tensor],
    photo: Mapping[str, Tensor],
    targets: Mapping[str, _StyleLoss],
) -> tuple[float, float, float]:
    """Return the style loss of the photo, that of the picture, and the picture's content loss."""
    content = float(losses.content_distance(painted[CONTENT_TAP], photo[CONTENT_TAP]))
    return distance_to(photo, targets), distance_to(painted, targets), content


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


@dataclass(frozen=True)
class Reading:
    """What the judge says of one place of a method, over all its pairs."""

    method: Method
    place: float
    pairs: int
    mean: float  # of what is left of the style loss
    median: float
    worst: float
    content: float  # a mean


def readings(results: Iterable[Judged]) -> list[Reading]:
    """Return a reading for each place of each method, in the order they first come in.

    Example:
        >>> results = [Judged("a", s, "adain", 1.0, 2.0, after, 0.5)
        ...            for s, after in (("x", 0.2), ("y", 0.4), ("z", 0.9))]
        >>> [reading] = readings(results)
        >>> reading.pairs, reading.mean, reading.median, reading.worst
        (3, 0.25, 0.20, 0.45)
    """
    places: dict[tuple[Method, float], list[Judged]] = {}
    for result in results:
        places.setdefault((result.method, result.place), []).append(result)
    found = []
    for (method, place), here in places.items():
        left, content = [r.left for r in here], statistics.mean(r.content for r in here)
        shares = (statistics.mean(left), statistics.median(left), max(left))
        found.append(Reading(method, place, len(here), *shares, content))
    return found


@dataclass(frozen=True)
class Equal:
    """Where Gatys' method has as much of the style loss left as a picture of AdaIN."""

    alpha: float
    steps: float | None  # None: it did not come so far
    content: float | None  # its content loss there


def where_equal(results: Sequence[Judged]) -> list[Equal]:
    """Return how many steps of Gatys' method each alpha equals, and its content loss after these.

    All is of means over the pairs that both were judged on; between two readings of a run, steps
    and content loss are taken to be linear in the logarithm of the style loss. Without a run of
    Gatys' method there is nothing to return.

    Example:
        >>> def result(method, place, left, content):
        ...     return Judged("a", "x", method, place, 1.0, left, content)
        >>> run = [result("gatys", 10, 0.10, 0.2), result("gatys", 20, 0.01, 0.4)]
        >>> where_equal([result("adain", 1.0, 0.1 * 10**-0.5, 0.5), *run])
        [Equal(alpha=1.0, steps=15.0, content=0.3)]
    """
    both = readings(_of_both(results))
    run = sorted((r for r in both if r.method == "gatys"), key=lambda reading: reading.place)
    return [
        Equal(reading.place, *_crossing(run, reading.mean))
        for reading in both
        if run and reading.method == "adain"
    ]


def _of_both(results: Sequence[Judged]) -> list[Judged]:
    """Return the results of the pairs that Gatys' method was run on, or all where it was not."""
    pairs = {(r.photo, r.style) for r in results if r.method == "gatys"}
    return [r for r in results if not pairs or (r.photo, r.style) in pairs]


def _crossing(run: Sequence[Reading], left: float) -> tuple[float | None, float | None]:
    """Return steps and content loss where a run, which begins at the photo, first has ``left``."""
    if left >= 1:
        return 0.0, 0.0  # no nearer to the style than the photo
    before = (0.0, 1.0, 0.0)
    for reading in run:
        after = (reading.place, reading.mean, reading.content)
        if reading.mean <= left:
            share = math.log(before[1] / left) / math.log(before[1] / after[1])
            steps, content = (before[i] + share * (after[i] - before[i]) for i in (0, 2))
            return steps, content
        before = after
    return None, None


def adain_table(results: Sequence[Judged]) -> str:
    """Return a Markdown table: the photo, a row for each alpha, and one for each reading of Gatys'.

    The last two columns are those of :func:`where_equal`.

    Example:
        >>> print(adain_table([Judged("a", "x", "adain", 1.0, 2.0, 0.5, 0.4)]))
        | picture | pairs | left: mean | median | worst | content loss | Gatys' steps | … its content loss |
        | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
        | the photo | 1 | 100.0 % | 100.0 % | 100.0 % | 0.00 | | |
        | AdaIN, α = 1 | 1 | 25.0 % | 25.0 % | 25.0 % | 0.40 | | |
    """
    titles = ("pairs", "left: mean", "median", "worst", "content loss", "Gatys' steps")
    lines = [
        f"| picture | {' | '.join(titles)} | … its content loss |",
        f"| --- |{' ---: |' * 7}",
        f"| the photo | {len({(r.photo, r.style) for r in results})} |{' 100.0 % |' * 3} 0.00 | | |",
    ]
    equals = {equal.alpha: equal for equal in where_equal(results)}
    last = max((r.place for r in results if r.method == "gatys"), default=0)
    for r in readings(results):
        is_ours = r.method == "adain"
        name = f"AdaIN, α = {r.place:g}" if is_ours else f"Gatys, {r.place:g} steps"
        shares = " | ".join(f"{100 * share:.1f} %" for share in (r.mean, r.median, r.worst))
        equal = equals.get(r.place) if is_ours else None
        steps, content = _cells(equal, last) if equal else ("", "")
        end = "".join(f" {cell} |" if cell else " |" for cell in (steps, content))
        lines.append(f"| {name} | {r.pairs} | {shares} | {r.content:.2f} |{end}")
    return "\n".join(lines)


def _cells(equal: Equal, last: float) -> tuple[str, str]:
    if equal.steps is None or equal.content is None:
        return f"over {last:g}", "–"
    return f"{equal.steps:.0f}", f"{equal.content:.2f}"


# Okabe and Ito's palette, which colour-blind readers can tell apart; lines and marks differ too.
_CURVES = (
    ("gatys", "Gatys' method after so many steps", "o-", "#0072B2", "{:g}"),
    ("adain", "AdaIN", "s--", "#D55E00", "α = {:g}"),
)


def draw_quality(results: Sequence[Judged]) -> Figure:
    """Draw what is left of the style loss against the content loss, of both methods.

    Down is nearer to the style and left is nearer to the photo, from which Gatys' curve sets out.
    All is of means over the pairs that both were judged on.

    Example:
        >>> draw_quality([Judged("a", "x", "adain", 1.0, 2.0, 0.5, 0.4)]).axes[0].get_yscale()
        'log'
    """
    from matplotlib.figure import Figure  # not pyplot, which would keep the figure

    figure = Figure(figsize=(6.4, 4.4), dpi=150, facecolor="white")  # reads on dark pages too
    axes = figure.add_axes((0.11, 0.12, 0.86, 0.78))
    found = readings(_of_both(results))
    for method, label, line, colour, name_of in _CURVES:
        points = [(r.content, r.mean, name_of.format(r.place)) for r in found if r.method == method]
        if method == "gatys" and points:
            points.insert(0, (0.0, 1.0, "the photo"))
        if points:
            contents, left = [point[0] for point in points], [point[1] for point in points]
            axes.plot(contents, left, line, color=colour, label=label, lw=1.8, ms=6)
            for content, share, name in points:
                # Where Gatys' method has come to rest its readings crowd: the last is named on the left.
                is_last = method == "gatys" and (content, share, name) == points[-1]
                axes.annotate(
                    name,
                    (content, share),
                    (-8, -4) if is_last else (8, 3),
                    textcoords="offset points",
                    color=colour,
                    ha="right" if is_last else "left",
                )
    axes.set_yscale("log")
    axes.margins(x=0.14)  # room for names
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("content loss, to the photo")
    axes.set_ylabel("style loss that is left (the photo: 1)")
    axes.set_title(f"Style loss against content loss, means (pairs: {found[0].pairs})", fontsize=11)
    axes.grid(color="#DDDDDD", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    return figure
