"""Checks for notebook 04: mixtures, triangles, loops, colours, regions and overlapping masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nstlib.check.common import Answer, Mistakes, Result, compare, seeded_maps
from nstlib.gaussians import transport
from nstlib.masks import shares as fair_shares


def mixture(answer: Answer) -> Result:
    """Check ``answer(statistics, weights) -> (C,)``: the weighted mean of (K, C)."""

    def right(statistics: Tensor, weights: Sequence[float]) -> Tensor:
        return torch.einsum("k,kc->c", torch.tensor(weights), statistics) / sum(weights)

    mistakes: Mistakes = {
        "the weights are not divided by their sum: twice the weights would be twice the style": (
            lambda statistics, weights: (torch.tensor(weights)[:, None] * statistics).sum(dim=0)
        ),
        "a softmax never gives a style nothing: divide by the sum": (
            lambda statistics, weights: (
                torch.softmax(torch.tensor(weights), dim=0)[:, None] * statistics
            ).sum(dim=0)
        ),
        "divided by the number of styles: divide by the sum of the weights": (
            lambda statistics, weights: (torch.tensor(weights)[:, None] * statistics).mean(dim=0)
        ),
        "the styles are mixed alike, whatever the weights": (
            lambda statistics, weights: statistics.mean(dim=0)
        ),
        "the rows are added, one each: multiply by the shares first": (
            lambda statistics, weights: statistics.sum(dim=0)
        ),
        "only the style with most weight": (
            lambda statistics, weights: statistics[int(torch.tensor(weights).argmax())]
        ),
        "the sum is over the channels: it is over the styles, the first axis": (
            lambda statistics, weights: (
                (torch.tensor(weights) / sum(weights))[:, None] * statistics
            ).sum(dim=1)
        ),
    }
    statistics = seeded_maps(3, 4)
    inputs = [(statistics, [1.0, 2.0, 5.0]), (statistics, [0.0, 0.3, 0.3])]
    return compare("mixture", answer, right, inputs, mistakes)


def triangle(answer: Answer) -> Result:
    """Check ``answer(corners, point) -> (3,)``: the weights of styles in the corners of a triangle."""

    def right(corners: Tensor, point: Tensor) -> Tensor:
        system = torch.cat([corners.T, torch.ones(1, 3)])  # (3, 3): two places, and a sum of 1
        weights: Tensor = torch.linalg.solve(system, torch.cat([point, torch.ones(1)]))
        return weights

    def by_distance(corners: Tensor, point: Tensor) -> Tensor:
        distances: Tensor = (corners - point).square().sum(dim=1).sqrt().clamp_min(1e-12)
        return distances.reciprocal() / distances.reciprocal().sum()

    def without_sum(corners: Tensor, point: Tensor) -> Tensor:
        weights: Tensor = torch.linalg.lstsq(corners.T, point[:, None]).solution[:, 0]
        return weights

    mistakes: Mistakes = {
        "by distance no corner is ever out of the mixture: on an edge the third has 0": by_distance,
        "the sum is not 1: that is the third equation beside the two of the place": without_sum,
        "x and y are swapped": lambda corners, point: right(corners, point.flip(0)),
        "the corners' places are rows: each corner is a column of the system": (
            lambda corners, point: torch.linalg.solve(
                torch.cat([corners, torch.ones(3, 1)], dim=1), torch.cat([point, torch.ones(1)])
            )
        ),
    }
    corners = torch.tensor([[0.1, 0.0], [1.0, 0.2], [0.3, 0.9]])
    points = torch.tensor([[0.5, 0.4], [0.55, 0.1], [0.3, 0.9]])
    return compare("triangle", answer, right, [(corners, point) for point in points], mistakes)


def loop(answer: Answer) -> Result:
    """Check ``answer(styles, frames) -> (frames, styles)``: round past all styles at one speed."""

    def shares_at(places: Tensor, styles: int) -> Tensor:
        """Return how near each place is to each style, the shorter way round."""
        apart = places[:, None] - torch.arange(styles)
        return (1 - torch.minimum(apart % styles, -apart % styles)).clamp_min(0)

    def walk(styles: int, frames: int) -> Tensor:
        return torch.arange(frames) * styles / frames

    def right(styles: int, frames: int) -> Tensor:
        return shares_at(walk(styles, frames), styles)

    def swapped(styles: int, frames: int) -> Tensor:
        places = walk(styles, frames)
        return shares_at(2 * places.floor() + 1 - places, styles)

    mistakes: Mistakes = {
        "the last frame is the first again: shown in a loop, it stands still for a frame": (
            lambda styles, frames: shares_at(torch.linspace(0, styles, frames), styles)
        ),
        "it stops at the last style, and a loop jumps from there: walk back to the first": (
            lambda styles, frames: shares_at(torch.linspace(0, styles - 1, frames), styles)
        ),
        "it stays at the last style where it should walk on to the first": (
            lambda styles, frames: shares_at(walk(styles, frames).clamp(max=styles - 1), styles)
        ),
        "the two shares are swapped: just after a style a frame has nearly all of that one": swapped,
        "no frame between two styles is mixed: the nearest style has all": (
            lambda styles, frames: shares_at(walk(styles, frames).round(), styles)
        ),
        "no frame between two styles is mixed: the style before has all": (
            lambda styles, frames: shares_at(walk(styles, frames).floor(), styles)
        ),
    }
    return compare("loop", answer, right, [(3, 12), (4, 10)], mistakes)


def recolored(answer: Answer) -> Result:
    """Check ``answer(colors, target) -> (3, P)``: whitened, and coloured with the target's root."""

    def root(covariance: Tensor, power: float) -> Tensor:
        spread, axes = torch.linalg.eigh(covariance)
        powered: Tensor = (axes * spread**power) @ axes.mT
        return powered

    def right(
        colors: Tensor,
        target: Tensor,
        *,
        centre: bool = True,
        shift: bool = True,
        powers: tuple[float, float] = (-0.5, 0.5),
        own: bool = False,
        correction: int = 0,
        turned: bool = False,
    ) -> Tensor:
        mean, goal = colors.mean(1, keepdim=True), target.mean(1, keepdim=True)
        apart = colors - mean
        first, second = (torch.cov(part, correction=correction) for part in (colors, target))
        if own:
            first, second = (torch.diag(part.diagonal()) for part in (first, second))
        paint, whiten = root(second, powers[1]), root(first, powers[0])
        linear = whiten @ paint if turned else paint @ whiten
        moved = linear @ (apart if centre else colors)
        return moved + goal if shift else moved

    def moved_by(linear: Callable[[Tensor, Tensor], Tensor], colors: Tensor, to: Tensor) -> Tensor:
        covariances = (torch.cov(part, correction=0) for part in (colors, to))
        return linear(*covariances) @ (colors - colors.mean(1, True)) + to.mean(1, True)

    def cholesky(first: Tensor, second: Tensor) -> Tensor:
        lower, wanted = map(torch.linalg.cholesky, (first, second))
        made: Tensor = wanted @ torch.linalg.inv(lower)
        return made

    def transported(first: Tensor, second: Tensor) -> Tensor:
        return transport(first, root(second, 0.5))

    mistakes: Mistakes = {
        "colors and target are swapped": lambda colors, target: right(target, colors),
        "the target's mean is missing: add it at the end": (
            lambda *given: right(*given, shift=False)
        ),
        "the colours keep their own mean: subtract it first": (
            lambda *given: right(*given, centre=False)
        ),
        "only whitened: the root of the target's covariance comes on the left": (
            lambda *given: right(*given, powers=(-0.5, 0.0))
        ),
        "covariances in place of their roots: of the eigenvalues take the powers ½ and −½": (
            lambda *given: right(*given, powers=(-1.0, 1.0))
        ),
        "Bessel's correction: these covariances divide by the number of colours (correction=0)": (
            lambda *given: right(*given, correction=1)
        ),
        "the two roots are in the wrong order: the one on the right works first, and whitens": (
            lambda *given: right(*given, turned=True)
        ),
        "a Cholesky factor is a root too, but not the symmetric one: use eigh": (
            lambda *given: moved_by(cholesky, *given)
        ),
        "this is transport, which moves the colours least: whiten, then colour": (
            lambda *given: moved_by(transported, *given)
        ),
        "each channel by itself: the covariances between channels are left out": (
            lambda *given: right(*given, own=True)
        ),
    }
    generator = torch.Generator().manual_seed(0)
    mixer = torch.rand(2, 3, 3, generator=generator) + torch.eye(3)
    colors, target = (mixer[i] @ torch.rand(3, 40 + 8 * i, generator=generator) + i for i in (0, 1))
    return compare("recolored", answer, right, [(colors.double(), target.double())], mistakes)


def regions(answer: Answer) -> Result:
    """Check ``answer(maps, masks, means, stds) -> (C, H, W)``: AdaIN, a style in each region."""

    def inside(
        maps: Tensor, mask: Tensor, eps: float = 1e-5, late_eps: float = 0
    ) -> tuple[Tensor, Tensor]:
        def average(values: Tensor) -> Tensor:
            return (mask * values).sum((1, 2), keepdim=True) / mask.sum()

        mean = average(maps)
        return mean, (average((maps - mean).square()) + eps).sqrt() + late_eps

    def right(
        maps: Tensor,
        masks: Tensor,
        means: Tensor,
        stds: Tensor,
        *,
        own: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] = inside,
        rest: bool = True,
        weigh: bool = True,
    ) -> Tensor:
        out = (1 - masks.sum(0)) * maps if rest else torch.zeros_like(maps)
        for mask, style_mean, style_std in zip(masks, means, stds, strict=True):
            mean, std = own(maps, mask)
            styled = style_std[:, None, None] * (maps - mean) / std + style_mean[:, None, None]
            out = out + (mask * styled if weigh else styled)
        return out

    mistakes: Mistakes = {
        "the photo's statistics are those of the whole: take them inside each mask": (
            lambda *given: right(*given, own=lambda maps, mask: inside(maps, torch.ones_like(mask)))
        ),
        "these are statistics of the maps times the mask, whose zeros count too": (
            lambda *given: right(
                *given, own=lambda maps, mask: inside(maps * mask, torch.ones_like(mask))
            )
        ),
        "the mask is rounded in the statistics: a position half inside counts half": (
            lambda *given: right(*given, own=lambda maps, mask: inside(maps, (mask > 0.5).to(maps)))
        ),
        "where the masks leave something, the photo's own maps stay": (
            lambda *given: right(*given, rest=False)
        ),
        "each region's restyled maps are weighted by its mask before they are added": (
            lambda *given: right(*given, weigh=False)
        ),
        "a region without spread becomes NaN, or too bright: add 1e-5 to the variance in the root": (
            lambda *given: right(*given, own=lambda maps, mask: inside(maps, mask, eps=0))
        ),
        "the epsilon is outside: add it to the variance, and then take the root": (
            lambda *given: right(*given, own=lambda maps, mask: inside(maps, mask, 0, 1e-5))
        ),
        "the styles are swapped between the regions": (
            lambda maps, masks, means, stds: right(maps, masks, means.flip(0), stds.flip(0))
        ),
    }
    maps = seeded_maps(3, 5, 6) + torch.arange(6.0)
    maps[2] *= 1e-3  # nearly flat
    masks = 0.9 * torch.rand(1, 5, 6, generator=torch.Generator().manual_seed(1))
    masks = torch.cat([masks, 0.8 * (1 - masks)])
    masks[:, :, 4:] *= 0.5
    means, stds = seeded_maps(2, 3, seed=2), seeded_maps(2, 3, seed=3).abs() + 0.5
    one = seeded_maps(2, 3, 4, seed=4), masks[:1, :3, :4], means[:1, :2], stds[:1, :2]
    return compare("regions", answer, right, [(maps, masks, means, stds), one], mistakes)


def shares(answer: Answer) -> Result:
    """Check ``answer(masks) -> (R + 1, H, W)``: what each region gets, and last what the photo keeps."""

    def with_rest(parts: Tensor) -> Tensor:
        return torch.cat([parts, (1 - parts.sum(0, keepdim=True))])

    def right(given: Tensor) -> Tensor:
        return with_rest(fair_shares(given[:, None])[:, 0])

    def later_on_top(given: Tensor) -> Tensor:
        parts, left = [], torch.ones_like(given[0])
        for mask in given.flip(0):
            parts.append(mask * left)
            left = left * (1 - mask)
        return torch.stack([*parts[::-1], left])

    mistakes: Mistakes = {
        "where regions overlap, the shares sum to more than 1: divide by the sum where it is above 1": (
            with_rest
        ),
        "divided by the sum everywhere: where masks are faint the photo should stay, and 0 / 0 is NaN": (
            lambda given: with_rest(given / given.sum(0))
        ),
        "cut off at 1 each: it is their sum that may not be above 1": (
            lambda given: with_rest(given.clamp(max=1 / len(given)))
        ),
        "a softmax gives every region a share everywhere": (
            lambda given: with_rest(given.softmax(0))
        ),
        "the last region covers the others: none is on top, they share": later_on_top,
        "the photo's share is missing: what the regions leave, as the last": (
            lambda given: right(given)[:-1]
        ),
    }
    two = torch.tensor([[[1.0, 1.0, 0.2, 0.0]], [[0.0, 1.0, 0.4, 0.0]]])
    three = torch.cat([two, two[:1] / 2]).transpose(1, 2)
    return compare("shares", answer, right, [(two,), (three,)], mistakes)
