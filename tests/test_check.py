"""Checks pass what is right, name what is wrong, and wait for what is not done."""

from __future__ import annotations

import inspect
import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import serving_answers
import torch
import video_answers
from torch import Tensor

from nstlib import check, kernels, layers, transform_net

Answer = Callable[..., Any]

# Written as a student would write them, not as the module does.


def gram_by_einsum(features: Tensor) -> Tensor:
    return torch.einsum("nchw,ndhw->ncd", features, features) / features[0, 0].numel()


def gram_in_a_loop(features: Tensor) -> Tensor:
    return torch.stack([f.flatten(1) @ f.flatten(1).T / f[0].numel() for f in features])


def gram_with_batch_folded(features: Tensor) -> Tensor:
    n, c, h, w = features.shape
    flat = features.view(n * c, h * w)
    return flat @ flat.t() / (h * w)


def gram_with_axes_mixed(features: Tensor) -> Tensor:
    n, c, h, w = features.shape
    flat = features.permute(0, 2, 3, 1).reshape(n, c, h * w)
    return flat @ flat.mT / (h * w)


def covariance(features: Tensor) -> Tensor:
    return torch.stack([f.flatten(1).cov(correction=0) for f in features])


def tv_by_slices(x: Tensor) -> Tensor:
    down = (x[:, :, 1:] - x[:, :, :-1]).abs().mean()
    return down + (x[..., 1:] - x[..., :-1]).abs().mean()


def one_mean_of_steps(x: Tensor) -> Tensor:
    down, right = x[:, :, 1:] - x[:, :, :-1], x[..., 1:] - x[..., :-1]
    return (down.abs().sum() + right.abs().sum()) / (down.numel() + right.numel())


def slope_lengths(x: Tensor) -> Tensor:
    down, right = x[:, :, 1:, :-1] - x[:, :, :-1, :-1], x[:, :, :-1, 1:] - x[:, :, :-1, :-1]
    return (down**2 + right**2).sqrt().mean()


def tv_wrapped_around(x: Tensor) -> Tensor:
    return (x - torch.roll(x, 1, 2)).abs().mean() + (x - torch.roll(x, 1, 3)).abs().mean()


def field(tap: str, window: int = 2, stride: int = 2, first: int = 1, steps: int = 2) -> int:
    size, step = first, 1
    for block, count in ((1, 2), (2, 2), (3, 4)):
        if block > 1:
            size += (window - 1) * step
            step *= stride
        for i in range(1, count + 1):
            size += steps * step
            if tap == f"relu{block}_{i}":
                return size
    raise AssertionError(tap)


def masked(f: Tensor, m: Tensor) -> Tensor:
    return torch.einsum("nchw,ndhw,nehw->cd", f, f, m) / m.sum()


def coloured(
    result: Tensor, photo: Tensor, weights: tuple[float, ...] = (0.299, 0.587, 0.114)
) -> Tensor:
    def brightness(image: Tensor) -> Tensor:
        return torch.einsum("c,nchw->nhw", torch.tensor(weights), image)[:, None]

    return (photo + brightness(result) - brightness(photo)).clamp(0, 1)


def picked_gram(features: Tensor, mask: Tensor) -> Tensor:
    inside = features[0][:, mask[0, 0] > 0]  # (C, P)
    return inside @ inside.T / inside.shape[1]


def by_difference(result: Tensor, photo: Tensor) -> Tensor:
    r, g, b = (result - photo).unbind(dim=1)
    brighter = 0.299 * r + 0.587 * g + 0.114 * b
    return torch.stack([channel + brighter for channel in photo.unbind(dim=1)], dim=1).clip(0, 1)


def field_from_above(tap: str) -> int:
    """Ask from the map down to the picture how many positions are seen."""
    block, conv = int(tap[4]), int(tap[6])
    seen = 1
    for b in range(block, 0, -1):
        convolutions = conv if b == block else {1: 2, 2: 2}[b]
        seen = (2 * seen if b < block else seen) + 2 * convolutions
    return seen


def tile_of(program: int, block: int, size: int) -> tuple[Tensor, Tensor]:
    places = torch.arange(program * block, (program + 1) * block)
    return places, places.lt(size)


def held_back(program: int, block: int, size: int) -> tuple[Tensor, Tensor]:
    places, inside = tile_of(program, block, size)
    return torch.minimum(places, torch.tensor(size - 1)), inside


def offsets_of(c: int, p: Tensor, width: int, strides: tuple[int, int, int]) -> Tensor:
    rows = torch.div(p, width, rounding_mode="floor")
    return strides[0] * c + strides[1] * rows + strides[2] * (p - rows * width)


def half_gram(f: Tensor) -> Tensor:
    return torch.einsum("nchw,ndhw->ncd", f.float(), f.float()) / f[0, 0].numel()


def slopes(x: Tensor, value: Answer = tv_by_slices) -> Tensor:
    moved = x.clone().requires_grad_()
    return torch.autograd.grad(value(moved), moved)[0]


def normed(features: Tensor, condition: Tensor, gammas: Tensor, betas: Tensor) -> Tensor:
    planes = [
        torch.nn.functional.instance_norm(
            picture[None], weight=shares @ gammas, bias=shares @ betas
        )
        for picture, shares in zip(features, condition, strict=True)
    ]
    return torch.cat(planes)


def norm_by_the_package(
    features: Tensor, condition: Tensor, gammas: Tensor, betas: Tensor
) -> Tensor:
    norm = transform_net.ConditionalNorm(features.shape[1], len(gammas))
    norm.load_state_dict({"weight": gammas, "bias": betas})
    return norm(features, condition)


def norm_over(axes: tuple[int, ...], bessel: int = 0, eps: float = 1e-5, late: float = 0) -> Answer:
    def norm(f: Tensor, condition: Tensor, gammas: Tensor, betas: Tensor) -> Tensor:
        centred = f - f.mean(axes, keepdim=True)
        count = torch.tensor([f.shape[axis] for axis in axes]).prod() - bessel
        variance = centred.square().sum(axes, keepdim=True) / count
        gamma, beta = torch.einsum("nr,trc->tnc", condition, torch.stack([gammas, betas]))
        scaled = centred * gamma[:, :, None, None]
        return scaled / (torch.sqrt(variance + eps) + late) + beta[:, :, None, None]

    return norm


def divided_by_variance(f: Tensor, condition: Tensor, gammas: Tensor, betas: Tensor) -> Tensor:
    mean, variance = f.mean((2, 3), keepdim=True), f.var((2, 3), keepdim=True, unbiased=False)
    gamma, beta = ((condition @ table).unsqueeze(2).unsqueeze(3) for table in (gammas, betas))
    return gamma * (f - mean) / (variance + 1e-5) + beta


def dial_shares(
    w: float, dial: Sequence[float], log: Answer = math.log10, turned: bool = False
) -> list[float]:
    shares = [0.0] * len(dial)
    for i, (low, high) in enumerate(itertools.pairwise(dial)):
        if low <= w <= high:
            t = log(w) - log(low)
            t = t / (log(high) - log(low))
            shares[i], shares[i + 1] = (t, 1 - t) if turned else (1 - t, t)
    return shares


def nearest_place(w: float, dial: Sequence[float]) -> list[float]:
    best = min(dial, key=lambda place: abs(math.log(w / place)))
    return [1.0 if place == best else 0.0 for place in dial]


def stamps(size: int, kernel: int, stride: int) -> list[int]:
    ones = torch.ones(1, 1, size), torch.ones(1, 1, kernel)
    return [int(v) for v in torch.nn.functional.conv_transpose1d(*ones, stride=stride)[0, 0]]


def folded_by_the_package(a: float, b: float, c: float) -> list[list[float]]:
    """Read the folded weights off a convolution of one row: what single bright pixels become."""
    conv = layers.UpsampledConv(1, 1)
    conv.weight.data = torch.zeros(1, 1, 3, 3)
    conv.weight.data[0, 0, 1] = torch.tensor([a, b, c])
    rows = conv(torch.eye(4)[:, None, None])[:, 0, 0].detach()  # (pixel, place)
    return [rows[0:2, 2].tolist(), rows[1:3, 3].tolist()]


def pays_from(training: float, optimising: float, passing: float) -> float:
    if passing >= optimising:
        return math.inf
    pictures = 0
    while training + pictures * passing > pictures * optimising:
        pictures += 1
    return pictures


def restyled(
    content: Tensor, style: Tensor, alpha: float, flat: float = 1e-5, bessel: bool = False
) -> Tensor:
    out = torch.empty_like(content)
    for n, picture in enumerate(content):
        for c, channel in enumerate(picture):
            own = style[n, c]
            spread = (channel.var(unbiased=bessel) + flat).sqrt()
            wanted = (own.var(unbiased=bessel) + flat).sqrt()
            new = (channel - channel.mean()) / spread * wanted + own.mean()
            out[n, c] = channel + alpha * (new - channel)
    return out


def restyled_over(axes: tuple[int, ...]) -> Answer:
    def answer(content: Tensor, style: Tensor, alpha: float) -> Tensor:
        def normal(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            mean = x.mean(axes, keepdim=True)
            std = ((x - mean).square().mean(axes, keepdim=True) + 1e-5).sqrt()
            return (x - mean) / std, mean, std

        unit, _, _ = normal(content)
        _, mean, std = normal(style)
        return torch.lerp(content, unit * std + mean, alpha)

    return answer


def restyled_with_late_epsilon(content: Tensor, style: Tensor, alpha: float) -> Tensor:
    """As a popular port does it."""
    (mean, std), (mean_s, std_s) = (
        (x.mean((2, 3), keepdim=True), x.std((2, 3), correction=0, keepdim=True) + 1e-5)
        for x in (content, style)
    )
    return alpha * ((content - mean) / std * std_s + mean_s) + (1 - alpha) * content


def restyled_by_variances(content: Tensor, style: Tensor, alpha: float) -> Tensor:
    (mean, var), (mean_s, var_s) = (
        (x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False) + 1e-5)
        for x in (content, style)
    )
    return torch.lerp(content, (content - mean) * var_s / var + mean_s, alpha)


def averages(values: Sequence[float], memory: float) -> list[float]:
    """Weigh each value by memory to the power of its age, and divide by the weights."""
    out = []
    for n in range(1, len(values) + 1):
        ages = [memory ** (n - 1 - i) for i in range(n)]
        out.append(sum(a * v for a, v in zip(ages, values[:n], strict=True)) / sum(ages))
    return out


def uncorrected(values: Sequence[float], memory: float, first: float = 0.0) -> list[float]:
    out = [first]
    for value in values:
        out.append(out[-1] + (1 - memory) * (value - out[-1]))
    return out[1:]


def smoothed_in_one_go(values: Sequence[float], memory: float) -> list[Tensor]:
    """As a product with a matrix of shares."""
    ages = torch.arange(len(values))[:, None] - torch.arange(len(values))
    shares = torch.where(ages >= 0, torch.tensor(memory) ** ages, 0.0)
    return list(shares @ torch.tensor(values) / shares.sum(dim=1))


def corrected_and_carried_on(values: Sequence[float], memory: float) -> list[float]:
    mean, out = 0.0, []
    for n, value in enumerate(values):
        mean = memory * mean + (1 - memory) * value
        mean /= 1 - memory ** (n + 1)
        out.append(mean)
    return out


def merged_samples(
    counts: Sequence[int], means: Sequence[float], stds: Sequence[float]
) -> tuple[float, float]:
    n, m, s = (np.array(part) for part in (counts, means, stds))
    mean = (n * m).sum() / n.sum()
    return mean, (((n - 1) * s**2 + n * (m - mean) ** 2).sum() / (n.sum() - 1)) ** 0.5


def merged_by_squares(
    counts: Sequence[int], means: Sequence[float], stds: Sequence[float]
) -> tuple[float, float]:
    """E[x²] − E[x]²: right, if not what to do in float32 with large means."""
    n, m, s = (torch.tensor(part, dtype=torch.float64) for part in (counts, means, stds))
    mean = (n * m).sum() / n.sum()
    return float(mean), float(((n * (s**2 + m**2)).sum() / n.sum() - mean**2).sqrt())


def merged_places(
    counts: Sequence[int], means: Sequence[float], stds: Sequence[float]
) -> tuple[float, float]:
    """Spread each tile's positions one deviation to both sides of its mean, then take statistics."""
    twice = [
        mean + sign * std
        for count, mean, std in zip(counts, means, stds, strict=True)
        for sign in (-1, 1)
        for _ in range(count)
    ]
    places = torch.tensor(twice, dtype=torch.float64)
    return float(places.mean()), float(places.std(unbiased=False))


RIGHT: dict[str, list[Answer]] = {
    "adain": [
        restyled,
        lambda c, s, alpha: kernels.adain(c, *kernels.moments(s), alpha),
        restyled_over((2, 3)),
    ],
    "between": [
        lambda c, s, a: ((1 - a) * c[0] + a * s[0], (1 - a) * c[1] + a * s[1]),
        lambda c, s, a: torch.lerp(torch.tensor(c), torch.tensor(s), a).tolist(),
    ],
    "smoothed": [averages, smoothed_in_one_go],
    "shared_gradient": [
        lambda g, counts: sum(n * part for n, part in zip(counts, g, strict=True)) / sum(counts),
        lambda g, counts: torch.einsum("p...,p->...", g, torch.tensor(counts) / sum(counts)),
        lambda g, counts: g.repeat_interleave(torch.tensor(counts), dim=0).double().mean(dim=0),
    ],
    "merged": [merged_places, merged_by_squares],
    "gram": [
        kernels.gram,
        gram_by_einsum,
        gram_in_a_loop,
        lambda f: torch.bmm(f.flatten(2), f.flatten(2).transpose(1, 2)).div(f[0, 0].numel()),
        lambda f: gram_by_einsum(f.double()),
    ],
    "total_variation": [
        kernels.total_variation,
        tv_by_slices,
        lambda x: float(tv_by_slices(x)),
        lambda x: torch.nn.functional.l1_loss(x[:, :, 1:], x[:, :, :-1]) + x.diff().abs().mean(),
    ],
    "receptive_field": [field, lambda tap: float(field(tap)), field_from_above],
    "masked_gram": [
        masked,
        lambda f, m: masked(f.double(), m.double()),
        lambda f, m: kernels.gram(f * m.sqrt(), "sum")[0] / m.sum(),
    ],
    "keep_colour": [coloured, by_difference, lambda x, c: by_difference(x.double(), c)],
    "tile": [
        tile_of,
        lambda *given: [part.float() for part in tile_of(*given)],
        lambda i, b, n: (p := torch.arange(b) + b * i, p <= n - 1),
    ],
    "offsets": [
        offsets_of,
        lambda c, p, w, s: torch.stack([torch.full_like(p, c), p // w, p % w], 1) @ torch.tensor(s),
    ],
    "half_gram": [
        half_gram,
        kernels.gram,
        lambda f: gram_in_a_loop(f.double()),
        lambda f: torch.bmm(f.flatten(2).float(), f.flatten(2).mT.float()).div(f[0, 0].numel()),
    ],
    "masked_max": [
        lambda values, mask: values.masked_fill(~mask, -1e30).max(1).values,
        lambda values, mask: torch.stack(
            [row[inside].max() for row, inside in zip(values, mask, strict=True)]
        ),
    ],
    "tv_gradient": [
        slopes,
        lambda x: slopes(x, kernels.total_variation),
        lambda x: slopes(x.double()),
    ],
    "conditional_norm": [normed, norm_by_the_package, norm_over((2, 3))],
    "dial_position": [
        dial_shares,
        lambda w, dial: transform_net.dial_position(torch.tensor([w]), dial)[0].tolist(),
    ],
    "overlaps": [
        stamps,
        lambda size, kernel, stride: [
            sum(0 <= place - stride * i < kernel for i in range(size))
            for place in range((size - 1) * stride + kernel)
        ],
    ],
    "folded_kernel": [lambda a, b, c: ((a, b + c), (a + b, c)), folded_by_the_package],
    "break_even": [
        pays_from,
        lambda *seconds: float(pays_from(*seconds)),
        lambda t, o, p: np.ceil(t / (o - p)) if o > p else np.inf,
        lambda t, o, p: math.floor(t / (o - p)) + 1 if o > p else float("inf"),
    ],
}

# What is wrong, and words of the hint that it must get.
WRONG: dict[str, list[tuple[str, Answer]]] = {
    "adain": [
        ("swapped", lambda c, s, a: torch.lerp(s, restyled(s, c, 1), a)),
        ("alpha is turned round", lambda c, s, a: restyled(c, s, 1 - a)),
        ("alpha is missing", lambda c, s, a: restyled(c, s, 1)),
        ("batch statistics", restyled_over((0, 2, 3))),
        ("run over the channels too", restyled_over((1, 2, 3))),
        (
            "the style's mean is missing",
            lambda c, s, a: restyled(c, s - s.mean((2, 3))[:, :, None, None], a),
        ),
        ("σ is the root", restyled_by_variances),
        ("Bessel", lambda c, s, a: restyled(c, s, a, bessel=True)),
        ("becomes NaN", lambda c, s, a: restyled(c, s, a, flat=0)),
        ("the epsilon is outside", restyled_with_late_epsilon),
        ("it must be (2, 3, 4, 5)", lambda c, s, a: s),
        ("no gradient leads back", lambda c, s, a: restyled(c, s, a).detach()),
    ],
    "between": [
        (
            "variances are mixed",
            lambda c, s, a: (
                (1 - a) * c[0] + a * s[0],
                math.sqrt((1 - a) * c[1] * c[1] + a * s[1] * s[1]),
            ),
        ),
        (
            "nothing to do with each other",
            lambda c, s, a: ((1 - a) * c[0] + a * s[0], math.hypot((1 - a) * c[1], a * s[1])),
        ),
        (
            "alpha is turned round",
            lambda c, s, a: [a * x + (1 - a) * y for x, y in zip(c, s, strict=True)],
        ),
        ("whatever alpha says", lambda c, s, a: s),
        ("swapped", lambda c, s, a: [c[i] + a * (s[i] - c[i]) for i in (1, 0)]),
        ("must return 2 values", lambda c, s, a: c[0] + a * (s[0] - c[0])),
    ],
    "smoothed": [
        ("it begins at 0", uncorrected),
        ("all its weight on the first value", lambda v, m: uncorrected(v, m, first=v[0])),
        ("memory is turned round", lambda v, m: averages(v, 1 - m)),
        ("the mean of all so far", lambda v, m: averages(v, 1)),
        ("is carried on", corrected_and_carried_on),
        ("raises ZeroDivisionError: ", lambda v, m: [x / (1 - m**n) for n, x in enumerate(v)]),
        ("return a value for each", lambda v, m: averages(v, m)[-1]),
    ],
    "shared_gradient": [
        ("a plain mean", lambda g, counts: g.mean(0)),
        ("a plain sum", lambda g, counts: g.sum(0)),
        (
            "not divided by the number of pictures",
            lambda g, counts: sum(n * part for n, part in zip(counts, g, strict=True)),
        ),
        (
            "divided by the number of processes",
            lambda g, counts: sum(n * part for n, part in zip(counts, g, strict=True)) / len(g),
        ),
        (
            "turned round",
            lambda g, counts: (
                sum(part / n for n, part in zip(counts, g, strict=True))
                / sum(1 / n for n in counts)
            ),
        ),
    ],
    "merged": [
        (
            "that is spread too",
            lambda n, m, s: (
                merged_places(n, m, s)[0],
                math.sqrt(sum(a * b * b for a, b in zip(n, s, strict=True)) / sum(n)),
            ),
        ),
        (
            "deviations are averaged",
            lambda n, m, s: (
                merged_places(n, m, s)[0],
                sum(a * b for a, b in zip(n, s, strict=True)) / sum(n),
            ),
        ),
        ("count alike", lambda n, m, s: merged_places([1 for _ in n], m, s)),
        ("divided by n − 1", merged_samples),
        ("add its variance", lambda n, m, s: merged_places(n, m, [0.0 for _ in s])),
        (
            "its root is the deviation",
            lambda n, m, s: (merged_places(n, m, s)[0], merged_places(n, m, s)[1] ** 2),
        ),
    ],
    "gram": [
        ("not divided", lambda f: f.flatten(2) @ f.flatten(2).mT),
        ("divided by C·H·W", lambda f: f.flatten(2) @ f.flatten(2).mT / f[0].numel()),
        ("transposed", lambda f: f.flatten(2).mT @ f.flatten(2) / f[0, 0].numel()),
        ("batch is folded", gram_with_batch_folded),
        ("batch is summed", lambda f: torch.einsum("nchw,ndhw->cd", f, f) / f[0, 0].numel()),
        ("batch is averaged", lambda f: gram_in_a_loop(f).mean(0)),
        ("means are subtracted", covariance),
        ("channels and positions are mixed", gram_with_axes_mixed),
        ("the shape is (2, 3, 4, 5); it must be (2, 3, 3)", lambda f: f),
        ("divided by N, too", lambda f: f.flatten(2) @ f.flatten(2).mT / f[:, 0].numel()),
        ("images are compared", lambda f: f.flatten(1).mm(f.flatten(1).t()) / f[0, 0].numel()),
        ("all numbers are 1.5 times", lambda f: 1.5 * gram_in_a_loop(f)),
        ("all numbers are 1, then 0.45 times", lambda f: f.flatten(2) @ f.flatten(2).mT / 20),
        ("returns 2 values; it must return a tensor of shape (2, 3, 3)", lambda f: (f, f)),
        ("no gradient leads back", lambda f: torch.tensor(gram_in_a_loop(f).tolist())),
    ],
    "total_variation": [
        ("not absolute", lambda x: x.diff(dim=2).mean() + x.diff(dim=3).mean()),
        ("squared", lambda x: x.diff(dim=2).pow(2).mean() + x.diff(dim=3).pow(2).mean()),
        ("add those side by side", lambda x: (x[:, :, 1:] - x[:, :, :-1]).abs().mean()),
        ("add those above each other", lambda x: (x[..., 1:] - x[..., :-1]).abs().mean()),
        ("summed", lambda x: x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum()),
        ("wrapped around", tv_wrapped_around),
        ("axes 2 and 3", lambda x: x.diff(dim=1).abs().mean() + x.diff(dim=2).abs().mean()),
        (
            "absolute too late",
            lambda x: sum(
                (x.narrow(d, 1, n - 1) - x.narrow(d, 0, n - 1)).mean().abs()
                for d, n in ((2, x.shape[2]), (3, x.shape[3]))
            ),
        ),
        ("one mean over all pairs", one_mean_of_steps),
        ("halved", lambda x: tv_by_slices(x) / 2),
        ("the length of the slope", slope_lengths),
        ("returns a value of type str", lambda x: "0.5"),
    ],
    "receptive_field": [
        ("strides are missing", lambda tap: field(tap, stride=1)),
        ("pools are missing", lambda tap: field(tap, window=1)),
        ("begins at 1", lambda tap: field(tap, first=0)),
        ("one to either side", lambda tap: field(tap, steps=1)),
        ("too early", lambda tap: {"relu1_2": 6, "relu2_2": 16}.get(tap, field(tap))),
    ],
    "masked_gram": [
        ("divided by H·W", lambda f, m: masked(f, m) * m.sum() / m.numel()),
        ("not divided", lambda f, m: masked(f, m) * m.sum()),
        ("both factors", lambda f, m: kernels.gram(f * m, "sum")[0] / m.sum()),
        ("number of masked positions", lambda f, m: masked(f, m) * m.sum() / m.count_nonzero()),
        ("soft edge is lost", picked_gram),
        ("mask is not used", lambda f, m: kernels.gram(f)[0]),
        ("axis of length one", lambda f, m: masked(f, m)[None]),
        ("it must be (3, 3)", lambda f, m: (f * m).flatten(1).T @ f.flatten(1) / m.sum()),
        ("no gradient leads back", lambda f, m: masked(f.detach(), m)),
    ],
    "keep_colour": [
        ("not clamped", lambda x, c: c + coloured(x, 0 * c) - coloured(c, 0 * c)),
        ("swapped", lambda x, c: coloured(c, x)),
        ("plain mean", lambda x, c: (c + (x - c).mean(1, keepdim=True)).clamp(0, 1)),
        ("subtract Y(c)", lambda x, c: (c + coloured(x, 0 * x)).clamp(0, 1)),
        ("colour is gone", lambda x, c: coloured(x, 0 * x).expand_as(x)),
        ("blue, green, red", lambda x, c: coloured(x, c, (0.114, 0.587, 0.299))),
        ("writes into c,", lambda x, c: c.add_(coloured(x, c) - c)),
    ],
    "tile": [
        ("mask is missing", lambda i, b, n: (tile_of(i, b, n)[0], torch.ones(b).bool())),
        ("one too many", lambda i, b, n: (tile_of(i, b, n)[0], tile_of(i, b, n)[0] < n + 1)),
        ("all programs read one block", lambda i, b, n: tile_of(0, b, n)),
        ("blocks overlap", lambda i, b, n: (torch.arange(i, i + b), torch.arange(i, i + b) < n)),
        ("held back at the last one", held_back),
        ("the mask is turned round", lambda *given: (tile_of(*given)[0], ~tile_of(*given)[1])),
        ("it must return 2 values", lambda i, b, n: tile_of(i, b, n)[0]),
        ("torch.tensor makes one", lambda i, b, n: (list(range(b)), tile_of(i, b, n)[1])),
    ],
    "offsets": [
        ("a fraction", lambda c, p, w, s: c * s[0] + (p / w) * s[1] + (p % w) * s[2]),
        ("rows are taken to join", lambda c, p, w, s: c * s[0] + p * s[2]),
        ("swapped", lambda c, p, w, s: c * s[0] + p % w * s[1] + p // w * s[2]),
        ("columns' stride is missing", lambda c, p, w, s: offsets_of(c, p, w, (*s[:2], 1))),
        ("channel's stride is missing", lambda c, p, w, s: offsets_of(c, p, w, (1, *s[1:]))),
        ("channel is missing", lambda c, p, w, s: offsets_of(0, p, w, s)),
    ],
    "half_gram": [
        ("overflows", lambda f: f.flatten(2) @ f.flatten(2).mT / f[0, 0].numel()),
        ("vanishes", lambda f: f.flatten(2).div(f[0, 0].numel()) @ f.flatten(2).mT),
        ("overflows", lambda f: (f.flatten(2) @ f.flatten(2).mT).float() / f[0, 0].numel()),
        ("not divided", lambda f: f[0, 0].numel() * half_gram(f)),
        ("return float32", lambda f: half_gram(f).half()),
        ("the shape is (2, 16, 16)", lambda f: f.flatten(2).float().mT @ f.flatten(2).float()),
    ],
    "masked_max": [
        ("masked lanes hold 0", lambda values, mask: (values * mask).amax(1)),
        ("mask is not used", lambda values, mask: values.max(1).values),
        ("smallest", lambda values, mask: values[:, :6].amin(1)),
        ("one number for all", lambda values, mask: values[mask].max()),
        ("masked lanes hold -10000", lambda v, mask: v.where(mask, torch.tensor(-1e4)).amax(1)),
        ("masked lanes hold -100000", lambda v, mask: v.masked_fill(~mask, -1e5).amax(1)),
        ("masked lanes hold -1000,", lambda v, mask: v.masked_fill(~mask, -1e3).amax(1)),
        ("masked lanes hold -1,", lambda v, mask: v.masked_fill(~mask, -1).amax(1)),
        ("a row is along axis 1", lambda v, mask: v.masked_fill(~mask, -math.inf).max(0).values),
        ("its place", lambda v, mask: v.masked_fill(~mask, -math.inf).max(1).indices),
        ("take its .values", lambda v, mask: v.masked_fill(~mask, -math.inf).max(1)),
    ],
    "tv_gradient": [
        ("sign is turned round", lambda x: -slopes(x)),
        (
            "not divided",
            lambda x: slopes(x, lambda y: sum(y.diff(dim=d).abs().sum() for d in (2, 3))),
        ),
        (
            "steps themselves",
            lambda x: slopes(x, lambda y: sum(y.diff(dim=d).square().mean() / 2 for d in (2, 3))),
        ),
        (
            "count one pair alike",
            lambda x: slopes(
                x, lambda y: sum(y.diff(dim=d).abs().sum() for d in (2, 3)) / y.numel()
            ),
        ),
        (
            "only the neighbour ahead",
            lambda x: slopes(
                x,
                lambda y: (
                    (x[:, :, 1:] - y[:, :, :-1]).abs().mean()
                    + (x[..., 1:] - y[..., :-1]).abs().mean()
                ),
            ),
        ),
        (
            "only the neighbour behind",
            lambda x: slopes(
                x,
                lambda y: (
                    (y[:, :, 1:] - x[:, :, :-1]).abs().mean()
                    + (y[..., 1:] - x[..., :-1]).abs().mean()
                ),
            ),
        ),
    ],
    "conditional_norm": [
        ("batch statistics", norm_over((0, 2, 3))),
        ("run over the channels too", norm_over((1, 2, 3))),
        ("one γ and β for all", lambda f, c, g, b: normed(f, c[:1].repeat(len(f), 1), g, b)),
        ("swapped", lambda f, c, g, b: normed(f, c, b, g)),
        ("β is missing", lambda f, c, g, b: normed(f, c, g, torch.zeros_like(b))),
        ("γ is missing", lambda f, c, g, b: normed(f, c, torch.ones_like(g), b)),
        ("σ is its root", lambda f, c, g, b: divided_by_variance(f, c, g, b)),
        ("Bessel", norm_over((2, 3), bessel=1)),
        ("becomes NaN", norm_over((2, 3), eps=0.0)),
        ("the epsilon is outside", norm_over((2, 3), eps=0.0, late=1e-5)),
        (
            "the largest share",
            lambda f, c, g, b: normed(f, torch.eye(c.shape[1])[c.argmax(1)], g, b),
        ),
        ("it must be (2, 3, 4, 5)", lambda f, c, g, b: normed(f, c, g, b)[0]),
        ("no gradient leads back", torch.no_grad()(normed)),
    ],
    "dial_position": [
        ("straight over w itself", lambda w, dial: dial_shares(w, dial, log=float)),
        ("turned round", lambda w, dial: dial_shares(w, dial, turned=True)),
        ("only the nearest place", nearest_place),
        (
            "only the ends",
            lambda w, dial: [
                1 - math.log(w / dial[0], dial[-1] / dial[0]),
                *[0.0 for _ in dial[2:]],
                math.log(w / dial[0], dial[-1] / dial[0]),
            ],
        ),
        ("for w = 2.0, dial = (1, 10): returns 1 value; it must", lambda w, dial: [1.0]),
        ("its .tolist()", lambda w, dial: torch.tensor(dial_shares(w, dial))),
        (
            "for w = 0.7, dial = (0.1, 1, 10, 100): number 0, counted from 0",
            lambda w, dial: dial_shares(w, dial) if w > 1 else [0.0, 1.0, 0.0, 0.0],
        ),
    ],
    "overlaps": [
        ("stride is missing", lambda size, kernel, stride: stamps(size, kernel, 1)),
        ("swapped", lambda size, kernel, stride: stamps(size, stride, kernel)),
        ("one stamp is missing", lambda size, kernel, stride: stamps(size - 1, kernel, stride)),
        ("one place too many", lambda *given: [*stamps(*given), 0]),
        (
            "the last stamp is whole",
            lambda n, kernel, stride: stamps(n, kernel, stride)[: n * stride],
        ),
        (
            "the mean",
            lambda n, kernel, stride: [kernel / stride for _ in stamps(n, kernel, stride)],
        ),
    ],
    "folded_kernel": [
        ("even and odd are swapped", lambda a, b, c: ((a + b, c), (a, b + c))),
        ("each pair is turned round", lambda a, b, c: ((b + c, a), (c, a + b))),
        ("one sum for both", lambda a, b, c: ((a, b + c), (a, b + c))),
        ("means of weights", lambda a, b, c: ((a, b / 2 + c / 2), (a / 2 + b / 2, c))),
        ("a weight is lost", lambda a, b, c: ((a, b), (b, c))),
        ("must return 2 values", lambda a, b, c: (a, b, c)),
    ],
    "break_even": [
        ("own pass is free here", lambda t, o, p: pays_from(t, o, 0)),
        ("added, not subtracted", lambda t, o, p: math.ceil(t / (o + p))),
        ("rounded down", lambda t, o, p: math.inf if p >= o else int(t / (o - p))),
        ("not a whole number", lambda t, o, p: math.inf if p >= o else t / (o - p)),
        ("never pays", lambda t, o, p: math.ceil(t / (o - p))),
    ],
}


# ------------------------------------------------------------------------------------ notebook 04


def areas(corners: Tensor, point: Tensor) -> Tensor:
    """Weights in a triangle, by the areas of the three triangles at the point."""

    def area(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        (x, y), (u, v) = b - a, c - a
        return x * v - y * u

    a, b, c = corners
    parts = torch.stack([area(point, b, c), area(a, point, c), area(a, b, point)])
    return parts / area(a, b, c)


def from_the_last_corner(corners: Tensor, point: Tensor) -> Tensor:
    sides = (corners[:2] - corners[2]).T
    first = torch.linalg.inv(sides) @ (point - corners[2])
    return torch.cat([first, 1 - first.sum(0, keepdim=True)])


def round_trip(styles: int, frames: int, last: int = 0) -> Tensor:
    rows = []
    for frame in range(frames):
        leg, share = divmod(frame * styles / (frames - last), 1)
        row = [0.0] * styles
        row[int(leg) % styles] += 1 - share
        row[(int(leg) + 1) % styles] += share
        rows.append(row)
    return torch.tensor(rows)


def by_the_way_round(styles: int, frames: int) -> Tensor:
    """A style's share is one less how far it is, the shorter way round."""
    apart = torch.arange(frames)[:, None] * styles / frames - torch.arange(styles)
    return (1 - torch.minimum(apart % styles, -apart % styles)).relu()


def one_way(styles: int, frames: int) -> Tensor:
    places = torch.linspace(0, styles - 1, frames)
    return (1 - (places[:, None] - torch.arange(styles)).abs()).clamp_min(0)


def by_svd(colors: Tensor, target: Tensor, *, centre: bool = True, goal: bool = True) -> Tensor:
    """Whitened and coloured, with the roots taken from singular values."""

    def root(vectors: Tensor, power: int) -> Tensor:
        axes, lengths, _ = torch.linalg.svd(vectors / vectors.shape[1] ** 0.5, full_matrices=False)
        made: Tensor = axes @ torch.diag(lengths**power) @ axes.T
        return made

    apart, wanted = (v - v.mean(1, keepdim=True) for v in (colors, target))
    moved = root(wanted, 1) @ root(apart, -1) @ (apart if centre else colors)
    return moved + target.mean(1, keepdim=True) if goal else moved


def by_cholesky(colors: Tensor, target: Tensor) -> Tensor:
    apart, wanted = (v - v.mean(1, keepdim=True) for v in (colors, target))
    white, paint = (torch.linalg.cholesky(v @ v.T / v.shape[1]) for v in (apart, wanted))
    return paint @ white.inverse() @ apart + target.mean(1, keepdim=True)


def by_transport(colors: Tensor, target: Tensor) -> Tensor:
    """The symmetric map from the one covariance to the other."""

    def root(covariance: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(covariance)
        made: Tensor = vectors @ values.sqrt().diag() @ vectors.T
        return made

    apart = colors - colors.mean(1, keepdim=True)
    own, goal = (torch.cov(v, correction=0) for v in (colors, target))
    inverse = torch.linalg.inv(root(own))
    return inverse @ root(root(own) @ goal @ root(own)) @ inverse @ apart + target.mean(1, True)


def each_channel(colors: Tensor, target: Tensor) -> Tensor:
    scale = target.std(1, correction=0, keepdim=True) / colors.std(1, correction=0, keepdim=True)
    return (colors - colors.mean(1, keepdim=True)) * scale + target.mean(1, keepdim=True)


def blended(
    maps: Tensor,
    masks: Tensor,
    means: Tensor,
    stds: Tensor,
    *,
    inside: bool = True,
    rest: bool = True,
    weigh: bool = True,
    zeros: bool = False,
    rounded: bool = False,
    eps: float = 1e-5,
    late: float = 0,
) -> Tensor:
    parts = []
    for mask, mean, std in zip(masks, means, stds, strict=True):
        counts = (mask if inside and not zeros else torch.ones_like(mask)).flatten()
        counts = counts.round() if rounded else counts
        values = (mask * maps if zeros else maps).flatten(1)
        own = values @ counts / counts.sum()
        spread = ((values - own[:, None]) ** 2 @ counts / counts.sum() + eps).sqrt() + late
        styled = torch.stack(
            [
                m + s * (x - o) / d
                for x, m, s, o, d in zip(maps, mean, std, own, spread, strict=True)
            ]
        )
        parts.append(mask * styled if weigh else styled)
    left = (1 - masks.sum(0)) * maps if rest else torch.zeros_like(maps)
    return torch.stack([*parts, left]).sum(0)


def regions_with_axes_named(maps: Tensor, masks: Tensor, means: Tensor, stds: Tensor) -> Tensor:
    """All regions at once, without a loop."""
    shares = masks / masks.sum((1, 2), keepdim=True)
    own = torch.einsum("rhw,chw->rc", shares, maps)
    apart = maps - own[..., None, None]
    spread = (torch.einsum("rhw,rchw->rc", shares, apart**2) + 1e-5).sqrt()
    styled = apart * (stds / spread)[..., None, None] + means[..., None, None]
    return maps + torch.einsum("rhw,rchw->chw", masks, styled - maps)


def fair_shares(masks: Tensor) -> Tensor:
    whole = masks.sum(0)
    parts = torch.where(whole > 1, masks / whole, masks)
    return torch.cat([parts, (1 - whole).clamp_min(0)[None]])


def covering_shares(masks: Tensor) -> Tensor:
    left = torch.cumprod(1 - masks.flip(0), dim=0).flip(0)  # what is seen through k and all later
    return torch.cat([masks * torch.cat([left[1:], torch.ones_like(left[:1])]), left[:1]])


RIGHT |= {
    "mixture": [
        lambda statistics, weights: torch.tensor(weights) @ statistics / sum(weights),
        lambda statistics, weights: sum(
            w / sum(weights) * row for w, row in zip(weights, statistics, strict=True)
        ),
    ],
    "triangle": [
        areas,
        from_the_last_corner,
        lambda corners, point: areas(corners, point).double(),
    ],
    "loop": [
        round_trip,
        by_the_way_round,
        lambda styles, frames: round_trip(styles, frames).double(),
    ],
    "recolored": [by_svd, lambda colors, target: by_svd(colors, target).float()],
    "regions": [
        blended,
        lambda *given: blended(*(part.double() for part in given)),
        regions_with_axes_named,
    ],
    "shares": [fair_shares, lambda masks: fair_shares(masks.double())],
}
WRONG |= {
    "mixture": [
        ("not divided by their sum", lambda s, weights: torch.tensor(weights) @ s),
        ("a softmax never", lambda s, weights: torch.tensor(weights).softmax(0) @ s),
        ("divided by the number", lambda s, weights: torch.tensor(weights) @ s / len(weights)),
        ("whatever the weights", lambda s, weights: s.mean(0)),
        ("only the style with most", lambda s, weights: s[weights.index(max(weights))]),
        ("over the channels", lambda s, w: (torch.tensor(w)[:, None] * s).sum(1) / sum(w)),
        ("the rows are added", lambda s, w: s.sum(0)),
        ("it must be (4,)", lambda s, w: (torch.tensor(w) @ s / sum(w))[None]),
    ],
    "triangle": [
        ("by distance", lambda c, p: (w := 1 / (torch.cdist(p[None], c)[0] + 1e-12)) / w.sum()),
        ("the sum is not 1", lambda c, p: torch.linalg.pinv(c.T) @ p),
        ("x and y are swapped", lambda c, p: areas(c, p.flip(0))),
        ("each corner is a column", lambda c, p: areas_of_rows(c, p)),
    ],
    "loop": [
        ("stands still", lambda styles, frames: round_trip(styles, frames, last=1)),
        ("a loop jumps", one_way),
        ("shares are swapped", lambda styles, frames: swapped_trip(styles, frames)),
        ("the nearest style has all", lambda styles, frames: stepped_trip(styles, frames, round)),
        ("the style before has all", lambda styles, frames: stepped_trip(styles, frames, int)),
        ("stays at the last style", lambda styles, frames: stuck_trip(styles, frames)),
    ],
    "recolored": [
        ("swapped", lambda colors, target: by_svd(target, colors)),
        ("mean is missing", lambda colors, target: by_svd(colors, target, goal=False)),
        ("subtract it first", lambda colors, target: by_svd(colors, target, centre=False)),
        ("each channel by itself", each_channel),
        ("Bessel", lambda colors, target: by_bessel(colors, target)),
        ("in the wrong order", lambda colors, target: by_bessel(colors, target, 0.5, 0, True)),
        ("a Cholesky factor", by_cholesky),
        ("this is transport", by_transport),
        ("only whitened", lambda colors, target: by_bessel(colors, target, 0.0, 0)),
        ("in place of their roots", lambda colors, target: by_bessel(colors, target, 1.0, 0)),
        ("complex", lambda colors, target: by_svd(colors, target) + 0j),
    ],
    "regions": [
        ("those of the whole", lambda *given: blended(*given, inside=False)),
        ("own maps stay", lambda *given: blended(*given, rest=False)),
        ("swapped", lambda m, k, means, stds: blended(m, k, means.flip(0), stds.flip(0))),
        ("whose zeros count", lambda *given: blended(*given, zeros=True)),
        ("is rounded", lambda *given: blended(*given, rounded=True)),
        ("weighted by its mask", lambda *given: blended(*given, weigh=False)),
        ("add 1e-5", lambda *given: blended(*given, eps=0)),
        ("the epsilon is outside", lambda *given: blended(*given, eps=0, late=1e-5)),
    ],
    "shares": [
        ("sum to more than 1", lambda m: torch.cat([m, 1 - m.sum(0, keepdim=True)])),
        ("everywhere", lambda m: torch.cat([m / m.sum(0), 1 - (m / m.sum(0)).sum(0, True)])),
        ("photo's share is missing", lambda m: fair_shares(m)[:-1]),
        ("softmax", lambda m: torch.cat([m.softmax(0), torch.zeros_like(m[:1])])),
        (
            "cut off at 1 each",
            lambda m: torch.cat([(c := m.clip(0, 1 / len(m))), 1 - c.sum(0, True)]),
        ),
        ("the last region covers", covering_shares),
    ],
}


def swapped_trip(styles: int, frames: int) -> Tensor:
    table = round_trip(styles, frames)
    for frame, row in enumerate(table):
        here = int(frame * styles / frames)
        after = (here + 1) % styles
        row[[here, after]] = row[[after, here]]
    return table


def stepped_trip(styles: int, frames: int, whole: Callable[[float], int]) -> Tensor:
    places = [whole(frame * styles / frames) % styles for frame in range(frames)]
    return torch.eye(styles)[places]


def stuck_trip(styles: int, frames: int) -> Tensor:
    places = (torch.arange(frames) * styles / frames).clamp(max=styles - 1)
    return (1 - (places[:, None] - torch.arange(styles)).abs()).clamp_min(0)


def by_bessel(
    colors: Tensor,
    target: Tensor,
    painted: float = 0.5,
    correction: int = 1,
    turned: bool = False,
) -> Tensor:
    """With torch.cov as it is by default, or with other powers."""
    whitened = -max(painted, 0.5)

    def power(covariance: Tensor, exponent: float) -> Tensor:
        values, vectors = torch.linalg.eigh(covariance)
        made: Tensor = vectors @ torch.diag(values**exponent) @ vectors.T
        return made

    apart = colors - colors.mean(1, keepdim=True)
    first, second = (torch.cov(part, correction=correction) for part in (colors, target))
    paint, white = power(second, painted), power(first, whitened)
    moved = (white @ paint if turned else paint @ white) @ apart
    return moved + target.mean(1, keepdim=True)


def areas_of_rows(corners: Tensor, point: Tensor) -> Tensor:
    system = torch.cat([corners, torch.ones(3, 1)], dim=1)
    return torch.linalg.inv(system) @ torch.cat([point, torch.ones(1)])


RIGHT |= video_answers.RIGHT | serving_answers.RIGHT
WRONG |= video_answers.WRONG | serving_answers.WRONG


def run(exercise: str, answer: Answer) -> check.Result:
    result = getattr(check, exercise)(answer)
    assert isinstance(result, check.Result)
    return result


@pytest.mark.parametrize(
    ("exercise", "answer"), [(name, answer) for name, all_ in RIGHT.items() for answer in all_]
)
def test_right_answers_pass(exercise: str, answer: Answer) -> None:
    assert run(exercise, answer) == check.Result(exercise, True, "right")


@pytest.mark.parametrize(
    ("exercise", "words", "answer"),
    [(name, *wrong) for name, all_ in WRONG.items() for wrong in all_],
)
def test_wrong_answers_get_the_hint_that_names_them(
    exercise: str, words: str, answer: Answer
) -> None:
    result = run(exercise, answer)
    assert result.passed is False
    assert words in result.hint.partition(" (line ")[0]  # the line may quote these words


@pytest.mark.parametrize("exercise", RIGHT)
@pytest.mark.parametrize("stub", [lambda *_: None, lambda *_: ...])
def test_an_open_exercise_is_not_done_yet(exercise: str, stub: Answer) -> None:
    result = run(exercise, stub)
    assert result.passed is None
    assert repr(result) == f"… {exercise}: not done yet"


def gram_without_return(features: Tensor) -> None:
    flat = features.flatten(2)
    flat @ flat.mT


def field_of_two_blocks(tap: str) -> int | None:
    if tap < "relu3":
        return field(tap)
    return None


def stub_that_raises(features: Tensor) -> Tensor:
    raise NotImplementedError


def gram_of_one_shape(features: Tensor) -> Tensor:
    flat = features.reshape(2, 3, 20)
    return flat @ flat.mT / 20


def gram_by_numpy(features: Tensor) -> Any:
    flat = features.numpy().reshape(*features.shape[:2], -1)
    return flat @ flat.swapaxes(1, 2) / flat.shape[2]


def gram_by_numpy_and_back(features: Tensor) -> Tensor:
    return torch.from_numpy(gram_by_numpy(features))


def gram_in_place(features: Tensor) -> Tensor:
    flat = features.flatten(2)
    flat /= math.sqrt(flat.shape[2])  # a view: it is the caller's
    return flat @ flat.mT


def steady_with_flows_first(painted: Tensor, flows: Tensor, visible: Tensor, weight: float) -> Any:
    return kernels.warp(flows, painted)


JUNK: list[Any] = [
    *("", {}, [], [[]], [None], [1j, 2], [10**400] * 2, [torch.zeros(2), torch.zeros(3)], range(3)),
    *(
        math.nan,
        math.inf,
        10**400,
        1j,
        np.complex64(1),
        np.bool_(True),
        np.str_("a"),
        np.array("a"),
    ),
    *(torch.empty(0), torch.zeros(3).to_sparse(), torch.tensor(1j), float, print),
]


class TestWhatEveryCheckSays:
    """Of mistakes that have nothing to do with the exercise."""

    @pytest.mark.parametrize(
        ("hint", "answer"),
        [
            ("it returns nothing: a `return` is missing", gram_without_return),
            ("returns a NumPy array of shape (2, 3, 3); it must return a tensor", gram_by_numpy),
            ("no gradient leads back", gram_by_numpy_and_back),
            ("it writes into features, which belongs to whoever calls", gram_in_place),
            ("raises RuntimeError: shape '[2, 3, 20]' is invalid", gram_of_one_shape),
            ("take sizes from the shape", lambda f: f.flatten(2) @ f.flatten(2).mT / 20),
            ("torch.stack", lambda f: [one.flatten(1) @ one.flatten(1).T for one in f]),
            ("the shape is (); it must be (2, 3, 3)", lambda f: 0.5),
            ("the dtype is torch.int64, which has whole", lambda f: gram_in_a_loop(f).long()),
            ("the dtype is torch.bfloat16, which holds", lambda f: gram_in_a_loop(f).bfloat16()),
            ("complex; real ones are wanted", lambda f: gram_in_a_loop(f) + 1j),
            ("is called with 1 argument", lambda f, mask: f),
            ("this is a tensor of shape (2, 2): hand over the function", torch.eye(2)),
            ("nan where", lambda f: gram_in_a_loop(f) / 0 * 0),
        ],
    )
    def test_a_kind_of_mistake_has_its_hint(self, hint: str, answer: Any) -> None:
        result = check.gram(answer)
        assert result.passed is False
        assert hint in result.hint
        assert "\n" not in repr(result)

    def test_a_stub_that_raises_is_not_done_yet(self) -> None:
        assert check.gram(stub_that_raises).passed is None

    def test_an_operation_that_pytorch_lacks_is_an_error(self) -> None:
        result = check.gram(lambda features: features.long().softmax(0))
        assert result.passed is False
        assert "raises NotImplementedError: " in result.hint

    def test_one_way_without_return_is_told_with_its_input(self) -> None:
        result = check.receptive_field(field_of_two_blocks)
        assert result.hint == "for tap = 'relu3_1': it returns nothing: a `return` is missing"

    def test_an_error_is_told_in_a_line_with_the_line_that_raised_it(self) -> None:
        result = check.steady(steady_with_flows_first)
        assert re.search(
            r"raises ValueError: .+ \(line \d+: return kernels\.warp\(flows, painted\)\)",
            result.hint,
        )

    def test_the_line_is_counted_in_the_cell(self) -> None:
        cell: dict[str, Any] = {}
        exec("\ndef my_gram(features):\n    flat = features.flatten(2)\n    return flatt", cell)
        hint = "raises NameError: name 'flatt' is not defined (line 4)"
        assert check.gram(cell["my_gram"]).hint.replace(". Did you mean: 'flat'?", "") == hint

    def test_an_error_of_many_lines_is_told_in_its_first(self) -> None:
        def answer(features: Tensor) -> Tensor:
            raise ValueError("\n  one\ntwo\n")

        assert check.gram(answer).hint.startswith("raises ValueError: one (line ")

    @pytest.mark.parametrize("value", JUNK, ids=lambda value: type(value).__name__)
    def test_whatever_is_returned_a_check_raises_nothing(self, value: Any) -> None:
        for name in ("gram", "tile", "steady", "kind", "kept", "between", "break_even"):
            result = run(name, lambda *given: value)
            assert result.passed is False
            assert len(repr(result).splitlines()) == 1

    def test_an_interrupt_is_not_an_answer(self) -> None:
        def answer(features: Tensor) -> Tensor:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            check.gram(answer)

    def test_an_answer_cannot_spoil_its_own_check(self) -> None:
        assert check.gram(lambda features: kernels.gram(features.zero_())).passed is False

    def test_a_wrong_kind_is_told_with_its_header(self) -> None:
        result = check.kind(lambda accept, kinds: "image/gif")
        assert result.hint == "for accept = 'image/jpeg': it is 'image/gif'; 'image/jpeg' is right"


def test_every_hint_is_given_to_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    hints: set[str] = set()

    def collect(exercise: str, *given: Any, **options: Any) -> None:
        hints.update(given[3])

    given = {run(name, answer).hint for name, all_ in WRONG.items() for _, answer in all_}
    for name in RIGHT:
        module = inspect.getmodule(getattr(check, name))
        monkeypatch.setattr(module, "compare", collect)
        getattr(check, name)(None)
    assert len(hints) > 200
    assert hints - given == set()


def test_every_check_is_held() -> None:
    public = {name for name, value in vars(check).items() if inspect.isfunction(value)}
    assert public == set(RIGHT) == set(WRONG) == set(check.__all__) - {"Result"}
    assert all(len(right) >= 2 for right in RIGHT.values())
    assert all(len(wrong) >= 3 for wrong in WRONG.values())


def test_a_result_is_one_line_with_a_mark() -> None:
    assert repr(check.Result("gram", True, "right")) == "✓ gram: right"
    assert repr(check.Result("gram", False, "not divided")) == "✗ gram: not divided"
