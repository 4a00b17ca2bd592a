"""Checks for notebook 02: conditional norms, the dial, upsampling, and what a training costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nstlib.check.common import Answer, Mistakes, Result, compare, seeded_maps

Pairs = tuple[tuple[float, float], tuple[float, float]]


def conditional_norm(answer: Answer) -> Result:
    """Check ``answer(features, condition, gammas, betas) -> maps``: each picture in its own style."""

    def right(
        features: Tensor,
        condition: Tensor,
        gammas: Tensor,
        betas: Tensor,
        *,
        axes: tuple[int, ...] = (2, 3),
        correction: int = 0,
        eps: float = 1e-5,
        power: float = 0.5,
        late_eps: float = 0,
    ) -> Tensor:
        mean = features.mean(axes, keepdim=True)
        variance = features.var(axes, keepdim=True, correction=correction)
        gamma, beta = (condition @ table for table in (gammas, betas))  # (N, C)
        normal = (features - mean) / ((variance + eps) ** power + late_eps)
        return normal * gamma[..., None, None] + beta[..., None, None]

    mistakes: Mistakes = {
        "these are batch statistics: mean and variance are of each picture alone, over H and W": (
            lambda *given: right(*given, axes=(0, 2, 3))
        ),
        "mean and variance run over the channels too: each channel has its own, over H and W": (
            lambda *given: right(*given, axes=(1, 2, 3))
        ),
        "one γ and β for all: each picture of the batch has a row of the condition": (
            lambda f, condition, *tables: right(f, condition[:1].expand_as(condition), *tables)
        ),
        "γ and β are swapped: γ multiplies, β is added": (
            lambda f, condition, gammas, betas: right(f, condition, betas, gammas)
        ),
        "β is missing: add it after the product with γ": (
            lambda f, condition, gammas, betas: right(f, condition, gammas, 0 * betas)
        ),
        "γ is missing: multiply by it after the division by σ": (
            lambda f, condition, gammas, betas: right(f, condition, 0 * gammas + 1, betas)
        ),
        "divided by the variance: σ is its root": lambda *given: right(*given, power=1),
        "Bessel's correction: divide by H·W, not by H·W − 1 (correction=0)": (
            lambda *given: right(*given, correction=1)
        ),
        "a flat channel becomes NaN: add 1e-5 to the variance, inside the root": (
            lambda *given: right(*given, eps=0)
        ),
        "the epsilon is outside: add it to the variance, and then take the root": (
            lambda *given: right(*given, eps=0, late_eps=1e-5)
        ),
        "only the style with the largest share: mix the rows by the shares": (
            lambda f, condition, *tables: right(f, condition.round(), *tables)
        ),
    }
    features = seeded_maps(2, 3, 4, 5)
    features[1] *= 3  # a picture of another contrast
    features[0, 1] *= 0.01  # a channel that is nearly flat
    features[0, 2] = 0.5  # and one that is
    condition = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    gammas, betas = torch.tensor([[1.0, 2.0, 0.5], [3.0, 1.5, 1.0]]), seeded_maps(2, 3, seed=1)
    other = seeded_maps(1, 2, 3, 3, seed=2), torch.tensor([[1.0]]), gammas[:1, :2], betas[:1, :2]
    inputs = [(features, condition, gammas, betas), other]
    return compare("conditional_norm", answer, right, inputs, mistakes, has_gradient=True)


def dial_position(answer: Answer) -> Result:
    """Check ``answer(style_weight, dial) -> shares``: how much of the row of each place to take."""

    def right(
        style_weight: float, dial: Sequence[float], along: Answer = math.log, turned: bool = False
    ) -> list[float]:
        left = max(i for i, place in enumerate(dial[:-1]) if place <= style_weight)
        low, here, high = map(along, (dial[left], style_weight, dial[left + 1]))
        share = (here - low) / (high - low)
        share = 1 - share if turned else share
        return [0.0] * left + [1 - share, share] + [0.0] * (len(dial) - left - 2)

    def nearest(style_weight: float, dial: Sequence[float]) -> list[float]:
        shares = right(style_weight, dial)
        return [float(share == max(shares)) for share in shares]

    def between_the_ends(style_weight: float, dial: Sequence[float]) -> list[float]:
        share = right(style_weight, (dial[0], dial[-1]))[1]
        return [1 - share, *[0.0] * (len(dial) - 2), share]

    mistakes: Mistakes = {
        "straight over w itself: the dial spans decades, so go straight over log w": (
            lambda style_weight, dial: right(style_weight, dial, along=float)
        ),
        "the two shares are turned round: the nearer place gets the larger one": (
            lambda style_weight, dial: right(style_weight, dial, turned=True)
        ),
        "only the nearest place: between two places, both count": nearest,
        "only the ends of the dial: take the two places that w lies between": between_the_ends,
    }
    dials = (1, 10), (1, 10, 100), (0.1, 1, 10, 100)
    inputs = [(2.0, dials[0]), (30.0, dials[1]), (0.7, dials[2]), (100.0, dials[1])]
    return compare("dial_position", answer, right, inputs, mistakes)


def overlaps(answer: Answer) -> Result:
    """Check ``answer(size, kernel, stride) -> counts``: how many stamps cover each place of a row."""

    def right(size: int, kernel: int, stride: int) -> list[int]:
        counts = [0] * ((size - 1) * stride + kernel)
        for first in range(0, size * stride, stride):
            for place in range(first, first + kernel):
                counts[place] += 1
        return counts

    mistakes: Mistakes = {
        "the stride is missing: each stamp begins a stride after the one before": (
            lambda size, kernel, stride: right(size, kernel, 1)
        ),
        "kernel and stride are swapped": lambda size, kernel, stride: right(size, stride, kernel),
        "one stamp is missing: every one of the small row's places prints one": (
            lambda size, kernel, stride: right(size - 1, kernel, stride)
        ),
        "one place too many: the last stamp begins at (size − 1) · stride": (
            lambda size, kernel, stride: [*right(size, kernel, stride), 0]
        ),
        "cut to size · stride places: nothing is cut here, so the last stamp is whole": (
            lambda size, kernel, stride: right(size, kernel, stride)[: size * stride]
        ),
        "the mean, kernel / stride, everywhere: count each place by itself": (
            lambda size, kernel, stride: [kernel / stride] * len(right(size, kernel, stride))
        ),
    }
    return compare("overlaps", answer, right, [(4, 3, 2), (4, 4, 2), (3, 5, 3)], mistakes)


def folded_kernel(answer: Answer) -> Result:
    """Check ``answer(a, b, c) -> ((…, …), (…, …))``: a kernel's sums at even and at odd places."""

    def right(a: float, b: float, c: float) -> Pairs:
        return (a, b + c), (a + b, c)

    mistakes: Mistakes = {
        "even and odd are swapped: an even place is the first of two copies": (
            lambda a, b, c: right(a, b, c)[::-1]
        ),
        "each pair is turned round: the pixel to the left comes first": (
            lambda a, b, c: tuple(pair[::-1] for pair in right(a, b, c))
        ),
        "one sum for both: which two of three neighbours are copies depends on the place": (
            lambda a, b, c: ((a, b + c), (a, b + c))
        ),
        "means of weights: two copies of a pixel count twice, so their weights add up": (
            lambda a, b, c: ((a, (b + c) / 2), ((a + b) / 2, c))
        ),
        "a weight is lost: all three of them act at every place": (
            lambda a, b, c: ((a, b), (b, c))
        ),
    }
    return compare("folded_kernel", answer, right, [(1.0, 2.0, 4.0), (-1.0, 0.5, 3.0)], mistakes)


def break_even(answer: Answer) -> Result:
    """Check ``answer(training, optimising, passing) -> pictures``: from how many on a net pays."""

    def right(training: float, optimising: float, passing: float) -> float:
        if passing >= optimising:
            return math.inf
        return math.ceil(training / (optimising - passing))

    mistakes: Mistakes = {
        "the net's own pass is free here: each picture saves optimising − passing": (
            lambda training, optimising, passing: right(training, optimising, 0)
        ),
        "added, not subtracted: each picture saves optimising − passing": (
            lambda training, optimising, passing: right(training, optimising + passing, 0)
        ),
        "rounded down: at that number the training is not yet paid; round up": (
            lambda training, optimising, passing: (
                training // (optimising - passing) if optimising > passing else math.inf
            )
        ),
        "not a whole number: round up": (
            lambda training, optimising, passing: (
                training / (optimising - passing) if optimising > passing else math.inf
            )
        ),
        "a net that saves nothing never pays: return math.inf where passing ≥ optimising": (
            lambda training, optimising, passing: math.ceil(training / (optimising - passing))
        ),
    }
    inputs = [(60.0, 4.0, 0.02), (51.0, 2.5, 0.5), (60.0, 1.0, 4.0)]  # no tie
    return compare("break_even", answer, right, inputs, mistakes)
