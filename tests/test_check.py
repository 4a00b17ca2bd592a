"""Checks pass what is right, name what is wrong, and wait for what is not done."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

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


def tv_wrapped_around(x: Tensor) -> Tensor:
    return (x - torch.roll(x, 1, 2)).abs().mean() + (x - torch.roll(x, 1, 3)).abs().mean()


def field(tap: str, window: int = 2, stride: int = 2, first: int = 1) -> int:
    size, step = first, 1
    for block, count in ((1, 2), (2, 2), (3, 4)):
        if block > 1:
            size += (window - 1) * step
            step *= stride
        for i in range(1, count + 1):
            size += 2 * step
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


def tile_of(program: int, block: int, size: int) -> tuple[Tensor, Tensor]:
    places = torch.arange(program * block, (program + 1) * block)
    return places, places.lt(size)


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
    return norm(features, condition).detach()


def norm_over(axes: tuple[int, ...], bessel: int = 0, eps: float = 1e-5) -> Answer:
    def norm(f: Tensor, condition: Tensor, gammas: Tensor, betas: Tensor) -> Tensor:
        centred = f - f.mean(axes, keepdim=True)
        count = torch.tensor([f.shape[axis] for axis in axes]).prod() - bessel
        variance = centred.square().sum(axes, keepdim=True) / count
        gamma, beta = torch.einsum("nr,trc->tnc", condition, torch.stack([gammas, betas]))
        scaled = centred * gamma[:, :, None, None]
        return scaled / torch.sqrt(variance + eps) + beta[:, :, None, None]

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
    "smoothed": [averages],
    "shared_gradient": [
        lambda g, counts: sum(n * part for n, part in zip(counts, g, strict=True)) / sum(counts),
    ],
    "merged": [merged_places],
    "gram": [kernels.gram, gram_by_einsum, gram_in_a_loop],
    "total_variation": [kernels.total_variation, tv_by_slices, lambda x: float(tv_by_slices(x))],
    "receptive_field": [field],
    "masked_gram": [masked, lambda f, m: masked(f.double(), m.double())],
    "keep_colour": [coloured],
    "tile": [tile_of, lambda *given: [part.float() for part in tile_of(*given)]],
    "offsets": [offsets_of],
    "half_gram": [half_gram, kernels.gram],
    "masked_max": [lambda values, mask: values.masked_fill(~mask, -1e30).max(1).values],
    "tv_gradient": [slopes],
    "conditional_norm": [normed, norm_by_the_package, norm_over((2, 3))],
    "dial_position": [
        dial_shares,
        lambda w, dial: transform_net.dial_position(torch.tensor([w]), dial)[0].tolist(),
    ],
    "overlaps": [stamps],
    "folded_kernel": [lambda a, b, c: ((a, b + c), (a + b, c)), folded_by_the_package],
    "break_even": [pays_from, lambda *seconds: float(pays_from(*seconds))],
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
        ("it must be (2, 3, 4, 5)", lambda c, s, a: s),
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
        ("where", lambda f: 1.5 * gram_in_a_loop(f)),
        ("returns 2 values; it must return a tensor of shape (2, 3, 3)", lambda f: (f, f)),
    ],
    "total_variation": [
        ("not absolute", lambda x: x.diff(dim=2).mean() + x.diff(dim=3).mean()),
        ("squared", lambda x: x.diff(dim=2).pow(2).mean() + x.diff(dim=3).pow(2).mean()),
        ("add those side by side", lambda x: (x[:, :, 1:] - x[:, :, :-1]).abs().mean()),
        ("add those above each other", lambda x: (x[..., 1:] - x[..., :-1]).abs().mean()),
        ("summed", lambda x: x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum()),
        ("wrapped around", tv_wrapped_around),
        ("axes 2 and 3", lambda x: x.diff(dim=1).abs().mean() + x.diff(dim=2).abs().mean()),
        ("returns a value of type str", lambda x: "0.5"),
    ],
    "receptive_field": [
        ("strides are missing", lambda tap: field(tap, stride=1)),
        ("pools are missing", lambda tap: field(tap, window=1)),
        ("begins at 1", lambda tap: field(tap, first=0)),
        ("too early", lambda tap: {"relu1_2": 6, "relu2_2": 16}.get(tap, field(tap))),
    ],
    "masked_gram": [
        ("divided by H·W", lambda f, m: masked(f, m) * m.sum() / m.numel()),
        ("not divided", lambda f, m: masked(f, m) * m.sum()),
        ("both factors", lambda f, m: kernels.gram(f * m, "sum")[0] / m.sum()),
        ("number of masked positions", lambda f, m: masked(f, m) * m.sum() / m.count_nonzero()),
        ("soft edge is lost", lambda f, m: kernels.gram(f[..., m[0, 0, 0] > 0])[0]),
        ("mask is not used", lambda f, m: kernels.gram(f)[0]),
        ("axis of length one", lambda f, m: masked(f, m)[None]),
    ],
    "keep_colour": [
        ("not clamped", lambda x, c: c + coloured(x, 0 * c) - coloured(c, 0 * c)),
        ("swapped", lambda x, c: coloured(c, x)),
        ("plain mean", lambda x, c: (c + (x - c).mean(1, keepdim=True)).clamp(0, 1)),
        ("subtract Y(c)", lambda x, c: (c + coloured(x, 0 * x)).clamp(0, 1)),
        ("colour is gone", lambda x, c: coloured(x, 0 * x).expand_as(x)),
        ("blue, green, red", lambda x, c: coloured(x, c, (0.114, 0.587, 0.299))),
    ],
    "tile": [
        ("mask is missing", lambda i, b, n: (tile_of(i, b, n)[0], torch.ones(b).bool())),
        ("one too many", lambda i, b, n: (tile_of(i, b, n)[0], tile_of(i, b, n)[0] < n + 1)),
        ("all programs read one block", lambda i, b, n: tile_of(0, b, n)),
        ("blocks overlap", lambda i, b, n: (torch.arange(i, i + b), torch.arange(i, i + b) < n)),
        ("it must return 2 values", lambda i, b, n: tile_of(i, b, n)[0]),
    ],
    "offsets": [
        ("rows are taken to join", lambda c, p, w, s: c * s[0] + p * s[2]),
        ("swapped", lambda c, p, w, s: c * s[0] + p % w * s[1] + p // w * s[2]),
        ("columns' stride is missing", lambda c, p, w, s: offsets_of(c, p, w, (*s[:2], 1))),
        ("channel's stride is missing", lambda c, p, w, s: offsets_of(c, p, w, (1, *s[1:]))),
        ("channel is missing", lambda c, p, w, s: offsets_of(0, p, w, s)),
    ],
    "half_gram": [
        ("overflows", lambda f: f.flatten(2) @ f.flatten(2).mT / 16384),
        ("vanishes", lambda f: f.flatten(2).div(16384) @ f.flatten(2).mT),
        ("overflows", lambda f: (f.flatten(2) @ f.flatten(2).mT).float() / 16384),
        ("not divided", lambda f: 16384 * half_gram(f)),
    ],
    "masked_max": [
        ("masked lanes hold 0", lambda values, mask: (values * mask).amax(1)),
        ("mask is not used", lambda values, mask: values.max(1).values),
        ("smallest", lambda values, mask: values[:, :6].amin(1)),
        ("one number for all", lambda values, mask: values[mask].max()),
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
                ).mul(1),
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
        ("it must be (2, 3, 4, 5)", lambda f, c, g, b: normed(f, c, g, b)[0]),
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
        ("it must return 2 values", lambda w, dial: [1.0]),
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


def round_trip(styles: int, frames: int, last: int = 0) -> Tensor:
    rows = []
    for frame in range(frames):
        leg, share = divmod(frame * styles / (frames - last), 1)
        row = [0.0] * styles
        row[int(leg) % styles] += 1 - share
        row[(int(leg) + 1) % styles] += share
        rows.append(row)
    return torch.tensor(rows)


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


def each_channel(colors: Tensor, target: Tensor) -> Tensor:
    scale = target.std(1, correction=0, keepdim=True) / colors.std(1, correction=0, keepdim=True)
    return (colors - colors.mean(1, keepdim=True)) * scale + target.mean(1, keepdim=True)


def blended(
    maps: Tensor, masks: Tensor, means: Tensor, stds: Tensor, inside: bool = True, rest: bool = True
) -> Tensor:
    parts = []
    for mask, mean, std in zip(masks, means, stds, strict=True):
        counts = (mask if inside else torch.ones_like(mask)).flatten()
        values = maps.flatten(1)
        own = values @ counts / counts.sum()
        spread = ((values - own[:, None]) ** 2 @ counts / counts.sum() + 1e-5).sqrt()
        styled = torch.stack(
            [
                m + s * (x - o) / d
                for x, m, s, o, d in zip(maps, mean, std, own, spread, strict=True)
            ]
        )
        parts.append(mask * styled)
    left = (1 - masks.sum(0)) * maps if rest else torch.zeros_like(maps)
    return torch.stack([*parts, left]).sum(0)


def fair_shares(masks: Tensor) -> Tensor:
    whole = masks.sum(0)
    parts = torch.where(whole > 1, masks / whole, masks)
    return torch.cat([parts, (1 - whole).clamp_min(0)[None]])


RIGHT |= {
    "mixture": [
        lambda statistics, weights: torch.tensor(weights) @ statistics / sum(weights),
        lambda statistics, weights: sum(
            w / sum(weights) * row for w, row in zip(weights, statistics, strict=True)
        ),
    ],
    "triangle": [areas],
    "loop": [round_trip],
    "recolored": [by_svd],
    "regions": [blended],
    "shares": [fair_shares],
}
WRONG |= {
    "mixture": [
        ("not divided by their sum", lambda s, weights: torch.tensor(weights) @ s),
        ("a softmax never", lambda s, weights: torch.tensor(weights).softmax(0) @ s),
        ("divided by the number", lambda s, weights: torch.tensor(weights) @ s / len(weights)),
        ("whatever the weights", lambda s, weights: s.mean(0)),
        ("only the style with most", lambda s, weights: s[weights.index(max(weights))]),
        ("over the channels", lambda s, w: (torch.tensor(w)[:, None] * s).sum(1) / sum(w)),
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
    ],
    "regions": [
        ("those of the whole", lambda *given: blended(*given, inside=False)),
        ("own maps stay", lambda *given: blended(*given, rest=False)),
        ("swapped", lambda m, k, means, stds: blended(m, k, means.flip(0), stds.flip(0))),
    ],
    "shares": [
        ("sum to more than 1", lambda m: torch.cat([m, 1 - m.sum(0, keepdim=True)])),
        ("everywhere", lambda m: torch.cat([m / m.sum(0), 1 - (m / m.sum(0)).sum(0, True)])),
        ("photo's share is missing", lambda m: fair_shares(m)[:-1]),
        ("softmax", lambda m: torch.cat([m.softmax(0), torch.zeros_like(m[:1])])),
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


def by_bessel(colors: Tensor, target: Tensor) -> Tensor:
    """With torch.cov as it is by default."""

    def power(covariance: Tensor, exponent: float) -> Tensor:
        values, vectors = torch.linalg.eigh(covariance)
        made: Tensor = vectors @ torch.diag(values**exponent) @ vectors.T
        return made

    apart = colors - colors.mean(1, keepdim=True)
    moved = power(torch.cov(target), 0.5) @ power(torch.cov(colors), -0.5) @ apart
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
    assert words in result.hint


@pytest.mark.parametrize("exercise", RIGHT)
@pytest.mark.parametrize("stub", [lambda *_: None, lambda *_: ...])
def test_an_open_exercise_is_not_done_yet(exercise: str, stub: Answer) -> None:
    result = run(exercise, stub)
    assert result.passed is None
    assert repr(result) == f"… {exercise}: not done yet"


def test_an_answer_that_raises_is_told_what_it_raised() -> None:
    result = check.gram(lambda features: features @ features)
    assert result.passed is False
    assert "raises RuntimeError: " in result.hint


def test_nan_is_wrong() -> None:
    result = check.total_variation(lambda image: image.mean() / 0 * 0)
    assert result.passed is False
    assert "nan where" in result.hint


def test_an_answer_cannot_spoil_its_own_check() -> None:
    def zeroing(features: Tensor) -> Tensor:
        return kernels.gram(features.zero_())

    assert check.gram(zeroing).passed is False


def test_a_wrong_kind_is_told_with_its_header() -> None:
    result = check.kind(lambda accept, kinds: "image/gif")
    assert result.hint == "for 'image/jpeg' it is 'image/gif'; 'image/jpeg' is right"


def test_every_check_is_held() -> None:
    public = {name for name, value in vars(check).items() if inspect.isfunction(value)}
    assert public == set(RIGHT) == set(WRONG) == set(check.__all__) - {"Result"}
    assert all(len(wrong) >= 3 for wrong in WRONG.values())


def test_a_result_is_one_line_with_a_mark() -> None:
    assert repr(check.Result("gram", True, "right")) == "✓ gram: right"
    assert repr(check.Result("gram", False, "not divided")) == "✗ gram: not divided"
