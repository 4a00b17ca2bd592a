"""Checks for notebook 03: AdaIN and its alpha, a smoothed curve, shared gradients, merged tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nstlib.check.common import Answer, Mistakes, Result, compare, seeded_maps

Moments = tuple[float, float]


def adain(answer: Answer) -> Result:
    """Check ``answer(content, style, alpha) -> maps``: the style's statistics, as much as alpha says."""

    def right(
        content: Tensor,
        style: Tensor,
        alpha: float,
        *,
        axes: tuple[int, ...] = (2, 3),
        correction: int = 0,
        eps: float = 1e-5,
        power: float = 0.5,
        late_eps: float = 0,
    ) -> Tensor:
        mean_c, mean_s = (maps.mean(axes, keepdim=True) for maps in (content, style))
        std_c, std_s = (
            (maps.var(axes, keepdim=True, correction=correction) + eps) ** power + late_eps
            for maps in (content, style)
        )
        styled = std_s * (content - mean_c) / std_c + mean_s
        return (1 - alpha) * content + alpha * styled

    mistakes: Mistakes = {
        "content and style are swapped": lambda c, s, alpha: right(s, c, alpha),
        "alpha is turned round: 0 is the content's own maps, 1 is all style": (
            lambda c, s, alpha: right(c, s, 1 - alpha)
        ),
        "alpha is missing: mix the content's maps with the restyled ones": (
            lambda c, s, alpha: right(c, s, 1)
        ),
        "these are batch statistics: mean and deviation are of each picture alone, over H and W": (
            lambda *given: right(*given, axes=(0, 2, 3))
        ),
        "mean and deviation run over the channels too: each channel has its own, over H and W": (
            lambda *given: right(*given, axes=(1, 2, 3))
        ),
        "the style's mean is missing: add it after the product with its deviation": (
            lambda c, s, alpha: right(c, s - s.mean((2, 3), keepdim=True), alpha)
        ),
        "variances in place of deviations: σ is the root": lambda *given: right(*given, power=1),
        "Bessel's correction: a map of one position would become NaN (correction=0)": (
            lambda *given: right(*given, correction=1)
        ),
        "a flat channel becomes NaN: add 1e-5 to the variance, inside the root": (
            lambda *given: right(*given, eps=0)
        ),
        "the epsilon is outside: add it to the variance, and then take the root": (
            lambda *given: right(*given, eps=0, late_eps=1e-5)
        ),
    }
    content, style = seeded_maps(2, 3, 4, 5), 2 * seeded_maps(2, 3, 3, 4, seed=1) + 1
    content[0, 1] *= 0.01  # a channel that is nearly flat
    content[0, 2] = 0.5  # and one that is
    inputs = [(content, style, 1.0), (content, style, 0.3), (content[:1, :2], style[:1, :2], 0.6)]
    return compare("adain", answer, right, inputs, mistakes, has_gradient=True)


def between(answer: Answer) -> Result:
    """Check ``answer(content, style, alpha) -> (mean, std)``: what a channel has at an alpha."""

    def right(content: Moments, style: Moments, alpha: float) -> Moments:
        first, second = torch.lerp(torch.tensor(content), torch.tensor(style), alpha).tolist()
        return first, second

    mistakes: Mistakes = {
        "variances are mixed: maps that are sums of one map mix their deviations": (
            lambda c, s, a: (right(c, s, a)[0], ((1 - a) * c[1] ** 2 + a * s[1] ** 2) ** 0.5)
        ),
        "as if the two maps had nothing to do with each other: one is the other, scaled": (
            lambda c, s, a: (right(c, s, a)[0], (((1 - a) * c[1]) ** 2 + (a * s[1]) ** 2) ** 0.5)
        ),
        "alpha is turned round: 0 is the content, 1 is all style": (
            lambda c, s, a: right(c, s, 1 - a)
        ),
        "the style's, whatever alpha says": lambda c, s, a: s,
        "mean and deviation are swapped": lambda c, s, a: right(c, s, a)[::-1],
    }
    inputs = [((2.0, 0.5), (-1.0, 3.0), 0.25), ((0.0, 1.0), (4.0, 2.0), 0.8)]
    return compare("between", answer, right, inputs, mistakes)


def smoothed(answer: Answer) -> Result:
    """Check ``answer(values, memory) -> list``: a running mean that begins where the values do."""

    def right(values: Sequence[float], memory: float, corrected: bool = True) -> list[float]:
        ages = torch.arange(len(values))[:, None] - torch.arange(len(values))
        weights = (1 - memory) * torch.where(ages < 0, 0.0, memory**ages)
        sums = weights @ torch.tensor(values)
        return (sums / weights.sum(dim=1) if corrected else sums).tolist()

    def carried_on(values: Sequence[float], memory: float) -> list[float]:
        out = [0.0]
        for count, value in enumerate(values, start=1):
            out.append((memory * out[-1] + (1 - memory) * value) / (1 - memory**count))
        return out[1:]

    def from_the_first(values: Sequence[float], memory: float) -> list[float]:
        out = [values[0]]
        for value in values[1:]:
            out.append(memory * out[-1] + (1 - memory) * value)
        return out

    mistakes: Mistakes = {
        "it begins at 0: divide by 1 − memory^n, the weights that n values have in all": (
            lambda values, memory: right(values, memory, corrected=False)
        ),
        "it begins with all its weight on the first value, which is as noisy as any": from_the_first,
        "memory is turned round: near 1 it is smooth, near 0 it follows each value": (
            lambda values, memory: right(values, 1 - memory)
        ),
        "the mean of all so far: what is long past should count ever less": (
            lambda values, memory: [sum(values[:n]) / n for n in range(1, len(values) + 1)]
        ),
        "what was put right is carried on: keep the mean that began at 0, and return another": (
            carried_on
        ),
        "only the last of them: return a value for each": (
            lambda values, memory: right(values, memory)[-1]
        ),
    }
    inputs = [([3.0, 1.0, 4.0, 1.0, 5.0], 0.9), ([2.0, 2.0, 2.0], 0.5)]
    return compare("smoothed", answer, right, inputs, mistakes)


def shared_gradient(answer: Answer) -> Result:
    """Check ``answer(gradients, counts) -> gradient``: of the mean loss over all processes' pictures.

    Each process hands in the gradient of the mean over its own pictures.
    """

    def right(gradients: Tensor, counts: Sequence[float]) -> Tensor:
        shares = torch.tensor(counts, dtype=gradients.dtype) / sum(counts)  # (P,)
        mean: Tensor = torch.tensordot(shares, gradients, dims=1)
        return mean

    mistakes: Mistakes = {
        "a plain mean: a process with more pictures counts for more": (
            lambda gradients, counts: gradients.mean(dim=0)
        ),
        "a plain sum: with two processes the step would be twice as long": (
            lambda gradients, counts: gradients.sum(dim=0)
        ),
        "not divided by the number of pictures in all": (
            lambda gradients, counts: right(gradients, counts) * sum(counts)
        ),
        "divided by the number of processes: divide by that of the pictures": (
            lambda gradients, counts: right(gradients, counts) * sum(counts) / len(counts)
        ),
        "the shares are turned round: a gradient is a mean already; more pictures, more weight": (
            lambda gradients, counts: right(gradients, [1 / count for count in counts])
        ),
    }
    inputs = [
        (seeded_maps(2, 3), [4, 2]),
        (seeded_maps(3, 2, 2, seed=1), [1, 1, 6]),
    ]
    return compare("shared_gradient", answer, right, inputs, mistakes)


def merged(answer: Answer) -> Result:
    """Check ``answer(counts, means, stds) -> (mean, std)``: of a whole map, from those of its tiles."""

    def right(
        counts: Sequence[int], means: Sequence[float], stds: Sequence[float], apart: bool = True
    ) -> Moments:
        tiles = list(zip(counts, means, stds, strict=True))
        mean = sum(n * m for n, m, _ in tiles) / sum(counts)
        square = sum(n * (s**2 + apart * (m - mean) ** 2) for n, m, s in tiles) / sum(counts)
        return mean, math.sqrt(square)

    def equally(counts: Sequence[int], means: Sequence[float], stds: Sequence[float]) -> Moments:
        return right([1] * len(counts), means, stds)

    def of_samples(counts: Sequence[int], means: Sequence[float], stds: Sequence[float]) -> Moments:
        mean, tiles = right(counts, means, stds)[0], zip(counts, means, stds, strict=True)
        square = sum((n - 1) * s**2 + n * (m - mean) ** 2 for n, m, s in tiles)
        return mean, math.sqrt(square / (sum(counts) - 1))

    def mean_of_deviations(
        counts: Sequence[int], means: Sequence[float], stds: Sequence[float]
    ) -> Moments:
        return right(counts, means, stds)[0], right(counts, stds, stds)[0]

    mistakes: Mistakes = {
        "the tiles' means differ, and that is spread too: add (mean of the tile − mean)²": (
            lambda counts, means, stds: right(counts, means, stds, apart=False)
        ),
        "deviations are averaged: it is variances that add up": mean_of_deviations,
        "tiles of different size count alike: weigh them by their positions": equally,
        "divided by n − 1, as a sample's: these deviations divide by n": of_samples,
        "the spread inside each tile is missing: add its variance": (
            lambda counts, means, stds: right(counts, means, [0 * std for std in stds])
        ),
        "the variance: its root is the deviation": (
            lambda *given: (right(*given)[0], right(*given)[1] ** 2)
        ),
    }
    inputs = [([12, 4], [0.5, 2.5], [1.0, 0.25]), ([1, 2, 5], [1.0, -1.0, 0.0], [0.0, 2.0, 0.5])]
    return compare("merged", answer, right, inputs, mistakes)
