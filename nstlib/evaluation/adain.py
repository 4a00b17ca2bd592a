"""How good is AdaIN, beside Gatys' method? How much of the style loss is left, and what it costs.

Both are judged by the style loss that AdaIN knows of: that of means and deviations.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from nstlib import gatys, losses
from nstlib.adain import AdaIN
from nstlib.encoders import Encoder, check_taps
from nstlib.evaluation.judging import (
    CONTENT_TAP,
    SEEN_TAPS,
    SETTINGS,
    StyleLoss,
    distance_to,
    targets_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALPHAS = (1.0, 0.75, 0.5, 0.25)
GATYS_STEPS = (10, 25, 50, 100, 200, 400)
Method = Literal["adain", "gatys"]


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
    targets: Mapping[str, StyleLoss],
) -> tuple[float, float, float]:
    """Return the style loss of the photo, that of the picture, and the picture's content loss."""
    content = float(losses.content_distance(painted[CONTENT_TAP], photo[CONTENT_TAP]))
    return distance_to(photo, targets), distance_to(painted, targets), content


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
