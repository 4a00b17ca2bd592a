"""Checks for notebook 01: Gram matrices, total variation, and what a layer sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nstlib import kernels
from nstlib.check.common import Answer, Mistakes, Result, compare, seeded_maps
from nstlib.color import LUMA
from nstlib.encoders import conv_names


def gram(answer: Answer) -> Result:
    """Check ``answer(features) -> (N, C, C)``: the Gram matrix of each image, a mean over positions."""
    mistakes: Mistakes = {
        "not divided: a sum over positions grows with the picture; divide by H·W": (
            lambda f: kernels.gram(f, "sum")
        ),
        "divided by C·H·W: here the mean is over positions only; divide by H·W": (
            lambda f: kernels.gram(f, "chw")
        ),
        "transposed: this is positions × positions, F.T @ F; channels × channels is F @ F.T": (
            lambda f: f.flatten(2).transpose(1, 2) @ f.flatten(2) / f[0, 0].numel()
        ),
        "the batch is folded into the channels, which mixes images: keep N as a dimension": (
            lambda f: f.flatten(0, 1).flatten(1) @ f.flatten(0, 1).flatten(1).T / f[0, 0].numel()
        ),
        "the batch is summed away: the answer has one matrix for each image": (
            lambda f: kernels.gram(f).sum(0)
        ),
        "the batch is averaged away: the answer has one matrix for each image": (
            lambda f: kernels.gram(f).mean(0)
        ),
        "the means are subtracted: that is the covariance; a Gram matrix keeps the means": (
            lambda f: kernels.gram(f - f.mean((2, 3), keepdim=True))
        ),
        "channels and positions are mixed: a view cannot swap axes; flatten H and W only": (
            lambda f: kernels.gram(f.permute(0, 2, 3, 1).reshape(f.shape))
        ),
        "divided by N, too: each image has a mean of its own; divide by H·W": (
            lambda f: kernels.gram(f) / len(f)
        ),
        "images are compared, not channels: flatten from axis 2 on, so that N and C stay": (
            lambda f: f.flatten(1) @ f.flatten(1).T / f[0, 0].numel()
        ),
    }
    inputs = [(seeded_maps(2, 3, 4, 5),), (seeded_maps(3, 4, 3, 3, seed=1),)]
    return compare("gram", answer, kernels.gram, inputs, mistakes, has_gradient=True)


def total_variation(answer: Answer) -> Result:
    """Check ``answer(image) -> scalar``: ``mean |Δ|`` over rows plus ``mean |Δ|`` over columns."""
    mistakes: Mistakes = {
        "not absolute: steps up and steps down cancel; take .abs() before the mean": (
            lambda x: x.diff(dim=2).mean() + x.diff(dim=3).mean()
        ),
        "absolute too late: in a mean, steps up and steps down have cancelled; take .abs() before it": (
            lambda x: x.diff(dim=2).mean().abs() + x.diff(dim=3).mean().abs()
        ),
        "squared: that is the other total variation, which blurs edges; take .abs()": (
            lambda x: kernels.total_variation(x, 2)
        ),
        "only neighbours above each other are compared: add those side by side": (
            lambda x: x.diff(dim=2).abs().mean()
        ),
        "only neighbours side by side are compared: add those above each other": (
            lambda x: x.diff(dim=3).abs().mean()
        ),
        "summed: a sum grows with the picture; take means": (
            lambda x: x.diff(dim=2).abs().sum() + x.diff(dim=3).abs().sum()
        ),
        "wrapped around: torch.roll makes the last row a neighbour of the first; use slices": (
            lambda x: sum((x - x.roll(1, d)).abs().mean() for d in (2, 3))
        ),
        "the colours are compared with each other: neighbours lie along axes 2 and 3": (
            lambda x: x.diff(dim=1).abs().mean() + x.diff(dim=2).abs().mean()
        ),
        "one mean over all pairs: each direction is a mean over its own, and the two are added": (
            lambda x: torch.cat([x.diff(dim=d).flatten() for d in (2, 3)]).abs().mean()
        ),
        "halved: the two means are added": lambda x: kernels.total_variation(x) / 2,
        "the length of the slope: here its two parts are added, without squares and root": (
            lambda x: x.diff(dim=2)[..., :-1].hypot(x.diff(dim=3)[:, :, :-1]).mean()
        ),
    }
    inputs = [(seeded_maps(1, 3, 4, 6),), (seeded_maps(2, 3, 7, 5, seed=1),)]
    return compare("total_variation", answer, kernels.total_variation, inputs, mistakes)


def masked_gram(answer: Answer) -> Result:
    """Check ``answer(features, mask) -> (C, C)``: the Gram matrix over the mask's positions."""

    def right(features: Tensor, mask: Tensor) -> Tensor:
        flat, weights = features[0].flatten(1), mask.flatten()  # (C, H·W), (H·W,)
        return (flat * weights) @ flat.T / weights.sum()

    mistakes: Mistakes = {
        "divided by H·W: the mean is over the mask's positions; divide by the sum of the mask": (
            lambda f, m: right(f, m) * m.mean()
        ),
        "not divided: divide by the sum of the mask": lambda f, m: right(f, m) * m.sum(),
        "the mask is in both factors, so that its soft edge is squared: put it into one": (
            lambda f, m: right(f, m.square()) * m.square().sum() / m.sum()
        ),
        "divided by the number of masked positions: a soft mask counts each by its weight": (
            lambda f, m: right(f, m) * m.sum() / (m > 0).sum()
        ),
        "the soft edge is lost: weigh each position by the mask, do not pick positions": (
            lambda f, m: right(f, (m > 0).float())
        ),
        "the mask is not used at all": lambda f, m: kernels.gram(f)[0],
        "the batch is still there: drop the axis of length one, the answer is (C, C)": (
            lambda f, m: right(f, m)[None]
        ),
    }
    mask = torch.tensor([0, 0, 0.5, 1, 1])  # nothing, a soft edge, everything
    inputs = [
        (seeded_maps(1, 3, 4, 5), mask.expand(1, 1, 4, 5)),
        (seeded_maps(1, 4, 5, 3, seed=1), mask[:, None].expand(1, 1, 5, 3)),
    ]
    return compare("masked_gram", answer, right, inputs, mistakes, has_gradient=True)


def keep_colour(answer: Answer) -> Result:
    """Check ``answer(result, photo) -> image``: the lightness of the one, the colour of the other."""

    def mixed(result: Tensor, photo: Tensor, weights: Sequence[float] = LUMA) -> Tensor:
        per_channel = torch.tensor(weights).view(1, 3, 1, 1)
        return photo + ((result - photo) * per_channel).sum(dim=1, keepdim=True)

    def right(result: Tensor, photo: Tensor) -> Tensor:
        return mixed(result, photo).clamp(0, 1)

    mistakes: Mistakes = {
        "not clamped: a bright stroke on a bright colour leaves [0, 1]": mixed,
        "the pictures are swapped: the lightness is the result's, the colour the photo's": (
            lambda result, photo: right(photo, result)
        ),
        "a plain mean of red, green and blue: the eye sees green brightest; use the three weights": (
            lambda result, photo: mixed(result, photo, (1 / 3, 1 / 3, 1 / 3)).clamp(0, 1)
        ),
        "the photo's own lightness is still in: subtract Y(c) where you add Y(x)": (
            lambda result, photo: (photo + mixed(result, 0 * photo)).clamp(0, 1)
        ),
        "the colour is gone: this is the lightness alone; add it to the photo's colour": (
            lambda result, photo: mixed(result, 0 * photo).clamp(0, 1)
        ),
        "the weights are in the order blue, green, red: the first channel is red": (
            lambda result, photo: mixed(result, photo, LUMA[::-1]).clamp(0, 1)
        ),
    }
    pictures = seeded_maps(1, 3, 4, 5).clamp(0, 1), seeded_maps(1, 3, 4, 5, seed=1).clamp(0, 1)
    return compare("keep_colour", answer, right, [pictures], mistakes)


def receptive_field(answer: Answer) -> Result:
    """Check ``answer(tap) -> int``: the side of the window that one position of a map sees, in px."""
    taps = [(f"relu{block}_{layer.rpartition('_')[2]}",) for layer, block in conv_names((2, 2, 4))]
    mistakes: Mistakes = {
        "the strides are missing: after a pool, one step in the map is two steps before it": (
            lambda tap: _field(tap, stride=1)
        ),
        "the pools are missing: their 2 × 2 window widens the field by one step, too": (
            lambda tap: _field(tap, pool_window=1)
        ),
        "a pool is counted too early: it comes after the last ReLU of a block, which is without it": (
            lambda tap: _field(tap) + {"relu1_2": 1, "relu2_2": 2}.get(tap, 0)
        ),
        "a convolution widens by two steps: one to either side": lambda tap: _field(tap, reach=0.5),
        "one pixel is missing: a field begins at 1, the position itself": (
            lambda tap: _field(tap) - 1
        ),
    }
    return compare("receptive_field", answer, _field, taps, mistakes)


def _field(tap: str, *, stride: int = 2, pool_window: int = 2, reach: float = 1) -> float:
    """Return the receptive field of a tap; the options are the mistakes that can be made."""
    field, jump, wanted = 1.0, 1, tap.replace("relu", "conv")
    for layer, block in conv_names():
        if layer.endswith("_1") and block > 1:
            field, jump = field + (pool_window - 1) * jump, jump * stride
        field += 2 * reach * jump  # a 3 × 3 window reaches one step further on either side
        if layer == wanted:
            return field
    raise ValueError(f"tap is {tap!r}; taps are called like 'relu3_1'")
