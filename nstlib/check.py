"""Checks for the exercises of the notebooks: one function for each, named as what it checks.

A check runs the student's function on small seeded inputs and compares with nstlib's own. It also
knows the usual mistakes, each written out as a function: an answer that agrees with one of them
gets the hint that names it. No check raises, so that a notebook with open exercises runs through.

>>> from nstlib import check, kernels
>>> check.gram(kernels.gram)
✓ gram: right
>>> check.gram(lambda features: kernels.gram(features, "sum"))
✗ gram: not divided: a sum over positions grows with the picture; divide by H·W
>>> check.gram(lambda features: ...)
… gram: not done yet
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nstlib import kernels
from nstlib.encoders import conv_names

Answer = Callable[..., Any]
Mistakes = dict[str, Answer]  # a hint, and what somebody who makes the mistake would have written

LUMINANCE = (0.299, 0.587, 0.114)  # how bright red, green and blue look, by ITU-R BT.601


@dataclass(frozen=True)
class Result:
    """What a check found; a notebook shows its one line."""

    exercise: str
    passed: bool | None  # None: not done yet
    hint: str = ""

    def __repr__(self) -> str:
        mark = {True: "✓", False: "✗", None: "…"}[self.passed]
        return f"{mark} {self.exercise}: {self.hint}"


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
    }
    return _compare("gram", answer, kernels.gram, [(_maps(2, 3, 4, 5),)], mistakes)


def total_variation(answer: Answer) -> Result:
    """Check ``answer(image) -> scalar``: mean |Δ| over rows plus mean |Δ| over columns."""
    mistakes: Mistakes = {
        "not absolute: steps up and steps down cancel; take .abs() before the mean": (
            lambda x: x.diff(dim=2).mean() + x.diff(dim=3).mean()
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
    }
    inputs = [(_maps(1, 3, 4, 6),)]
    return _compare("total_variation", answer, kernels.total_variation, inputs, mistakes)


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
    mask = torch.tensor([0, 0, 0.5, 1, 1]).expand(1, 1, 4, 5)  # nothing, a soft edge, everything
    return _compare("masked_gram", answer, right, [(_maps(1, 3, 4, 5), mask)], mistakes)


def keep_colour(answer: Answer) -> Result:
    """Check ``answer(result, photo) -> image``: the brightness of the one, the colour of the other."""

    def mixed(result: Tensor, photo: Tensor, weights: Sequence[float] = LUMINANCE) -> Tensor:
        per_channel = torch.tensor(weights).view(1, 3, 1, 1)
        return photo + ((result - photo) * per_channel).sum(dim=1, keepdim=True)

    def right(result: Tensor, photo: Tensor) -> Tensor:
        return mixed(result, photo).clamp(0, 1)

    mistakes: Mistakes = {
        "not clamped: a bright stroke on a bright colour leaves [0, 1]": mixed,
        "the pictures are swapped: the brightness is the result's, the colour the photo's": (
            lambda result, photo: right(photo, result)
        ),
        "a plain mean of red, green and blue: the eye sees green brightest; use the three weights": (
            lambda result, photo: mixed(result, photo, (1 / 3, 1 / 3, 1 / 3)).clamp(0, 1)
        ),
        "the photo's own brightness is still in: subtract Y(c) where you add Y(x)": (
            lambda result, photo: (photo + mixed(result, 0 * photo)).clamp(0, 1)
        ),
        "the colour is gone: this is the brightness alone; add it to the photo's colour": (
            lambda result, photo: mixed(result, 0 * photo).clamp(0, 1)
        ),
        "the weights are in the order blue, green, red: the first channel is red": (
            lambda result, photo: mixed(result, photo, LUMINANCE[::-1]).clamp(0, 1)
        ),
    }
    pictures = _maps(1, 3, 4, 5).clamp(0, 1), _maps(1, 3, 4, 5, seed=1).clamp(0, 1)
    return _compare("keep_colour", answer, right, [pictures], mistakes)


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
        "one pixel is missing: a field begins at 1, the position itself": (
            lambda tap: _field(tap) - 1
        ),
    }
    return _compare("receptive_field", answer, _field, taps, mistakes)


def tile(answer: Answer) -> Result:
    """Check ``answer(program, block, size) -> (places, mask)``: what a program reads of a row."""

    def right(program: int, block: int, size: int) -> tuple[Tensor, Tensor]:
        places = program * block + torch.arange(block)
        return places, places < size

    mistakes: Mistakes = {
        "the mask is missing: the last block reaches beyond the row; places < size are inside": (
            lambda program, block, size: (right(program, block, size)[0], torch.ones(block))
        ),
        "one too many: places count from 0, so that place number size is outside already": (
            lambda program, block, size: (
                right(program, block, size)[0],
                right(program, block, size)[0] <= size,
            )
        ),
        "all programs read one block: a program begins where its number times the block is": (
            lambda program, block, size: right(0, block, size)
        ),
        "blocks overlap: a program begins at its number times the block, not at its number": (
            lambda program, block, size: (
                program + torch.arange(block),
                program + torch.arange(block) < size,
            )
        ),
    }
    inputs = [(0, 4, 10), (1, 4, 10), (2, 4, 10), (2, 4, 9)]
    return _compare("tile", answer, right, inputs, mistakes)


def offsets(answer: Answer) -> Result:
    """Check ``answer(c, p, width, strides) -> offsets``: where pixels p of channel c lie in memory."""

    def right(c: int, p: Tensor, width: int, strides: tuple[int, int, int]) -> Tensor:
        stride_c, stride_h, stride_w = strides
        return c * stride_c + p // width * stride_h + p % width * stride_w

    mistakes: Mistakes = {
        "rows are taken to join: in a crop the next row begins a stride later; use stride_h": (
            lambda c, p, width, s: c * s[0] + p * s[2]
        ),
        "row and column are swapped: p // width is the row, p % width the column": (
            lambda c, p, width, s: c * s[0] + p % width * s[1] + p // width * s[2]
        ),
        "the columns' stride is missing: with channels last, neighbours lie C apart": (
            lambda c, p, width, s: c * s[0] + p // width * s[1] + p % width
        ),
        "the channel's stride is missing: a channel begins c * stride_c elements further on": (
            lambda c, p, width, s: c + p // width * s[1] + p % width * s[2]
        ),
        "the channel is missing: every channel would read the first": (
            lambda c, p, width, s: p // width * s[1] + p % width * s[2]
        ),
    }
    p = torch.arange(12)
    crop, last = (6 * 9, 9, 1), (1, 4 * 5, 5)  # of a larger map; with five channels, last
    inputs = [(2, p, 4, (12, 4, 1)), (2, p, 4, crop), (2, p, 4, last)]
    return _compare("offsets", answer, right, inputs, mistakes)


def half_gram(answer: Answer) -> Result:
    """Check ``answer(features) -> (N, C, C)``: a Gram matrix of float16 maps that stays finite."""
    pixels = 128 * 128
    mistakes: Mistakes = {
        "it overflows: the sum is taken in float16, which ends at 65,504; go to float32 first": (
            lambda f: f.flatten(2) @ f.flatten(2).transpose(1, 2) / pixels
        ),
        "it vanishes: divided by H·W in float16, small maps lose their digits; go to float32 first": (
            lambda f: (f.flatten(2) / pixels) @ f.flatten(2).transpose(1, 2)
        ),
        "not divided: a sum over positions grows with the picture; divide by H·W": (
            lambda f: kernels.gram(f, "sum")
        ),
    }
    inputs = [(torch.full((1, 2, 128, 128), value).half(),) for value in (100.0, 0.03)]
    return _compare("half_gram", answer, kernels.gram, inputs, mistakes)


def masked_max(answer: Answer) -> Result:
    """Check ``answer(values, mask) -> (rows,)``: the largest of each row's values inside the mask."""

    def right(values: Tensor, mask: Tensor, other: float = -torch.inf) -> Tensor:
        return torch.where(mask, values, other).amax(dim=1)

    mistakes: Mistakes = {
        "masked lanes hold 0, which is larger than what is below 0: they must hold −∞": (
            lambda values, mask: right(values, mask, 0.0)
        ),
        "the mask is not used: what lies outside is counted too": (
            lambda values, mask: values.amax(dim=1)
        ),
        "the smallest, not the largest": (
            lambda values, mask: torch.where(mask, values, torch.inf).amin(dim=1)
        ),
        "one number for all: the largest of each row is asked for": (
            lambda values, mask: right(values, mask).amax()
        ),
    }
    values = _maps(1, 1, 3, 8)[0, 0] - 4  # all below 0
    values[2] -= 1e6  # and some far below
    values[:, 6:] = 9  # what happens to lie beyond
    mask = (torch.arange(8) < 6).expand(3, 8)
    return _compare("masked_max", answer, right, [(values, mask)], mistakes)


def tv_gradient(answer: Answer) -> Result:
    """Check ``answer(image) -> image``: how the total variation changes with each pixel."""

    def slopes(
        x: Tensor, ahead: float = 1, behind: float = 1, mean: bool = True, sign: bool = True
    ) -> Tensor:
        gradient = torch.zeros_like(x)
        for axis in (2, 3):
            step = x.diff(dim=axis)
            slope = (step.sign() if sign else step) / (step.numel() if mean else 1)
            gradient.narrow(axis, 1, x.shape[axis] - 1).add_(slope, alpha=behind)
            gradient.narrow(axis, 0, x.shape[axis] - 1).sub_(slope, alpha=ahead)
        return gradient

    def right(image: Tensor) -> Tensor:
        return slopes(image)

    mistakes: Mistakes = {
        "the sign is turned round: a pixel above its neighbours has a positive slope": (
            lambda x: -slopes(x)
        ),
        "only the neighbour ahead counts: a pixel is the neighbour of the one behind it, too": (
            lambda x: slopes(x, behind=0)
        ),
        "only the neighbour behind counts: the one ahead pulls as well": (
            lambda x: slopes(x, ahead=0)
        ),
        "not divided: each direction is a mean, so divide by the number of its pairs": (
            lambda x: slopes(x, mean=False)
        ),
        "the steps themselves: the slope of |d| is its sign, 1 or −1, however large the step": (
            lambda x: slopes(x, sign=False)
        ),
        "the two directions count one pair alike: each is a mean over its own number of pairs": (
            lambda x: slopes(x, mean=False) / x.numel()
        ),
    }
    return _compare("tv_gradient", answer, right, [(_maps(1, 2, 4, 6),)], mistakes)


# -------------------------------------------------------------------------------------- helpers


def _compare(
    exercise: str,
    answer: Answer,
    right: Answer,
    inputs: Sequence[tuple[Any, ...]],
    mistakes: Mistakes,
) -> Result:
    """Run ``answer`` on every input; compare with ``right``, and where they differ, find out why."""
    wanted = [right(*arguments) for arguments in inputs]
    try:
        found = [answer(*copy.deepcopy(arguments)) for arguments in inputs]  # it may write to them
    except Exception as error:  # whatever a student's function raises is an answer of its kind
        return Result(exercise, False, f"raises {type(error).__name__}: {error}")
    if any(value is None or value is ... for value in found):
        return Result(exercise, None, "not done yet")
    if _same(found, wanted):
        return Result(exercise, True, "right")
    for hint, mistaken in mistakes.items():
        if _same(found, [mistaken(*arguments) for arguments in inputs]):
            return Result(exercise, False, hint)
    return Result(exercise, False, _difference(found, wanted))


def _same(found: Any, wanted: Any) -> bool:
    """Say whether two answers agree: their structure, shapes and values, NaN equal to NaN."""
    if isinstance(wanted, list | tuple):
        alike = isinstance(found, list | tuple) and len(found) == len(wanted)
        return alike and all(map(_same, found, wanted))
    if not isinstance(found, Tensor | int | float):
        return False
    mine, theirs = _tensor(found), _tensor(wanted)
    return mine.shape == theirs.shape and torch.allclose(
        mine, theirs, rtol=1e-4, atol=1e-6, equal_nan=True
    )


def _difference(found: Any, wanted: Any) -> str:
    """Say in words where two answers first differ."""
    if isinstance(wanted, list | tuple):
        if not isinstance(found, list | tuple) or len(found) != len(wanted):
            return f"returns {_kind(found)}; it must return {len(wanted)} values"
        pairs = zip(found, wanted, strict=True)
        return next(_difference(one, other) for one, other in pairs if not _same(one, other))
    if not isinstance(found, Tensor | int | float):
        return f"returns {_kind(found)}; it must return {_kind(wanted)}"
    mine, theirs = _tensor(found), _tensor(wanted)
    if mine.shape != theirs.shape:
        return f"the shape is {tuple(mine.shape)}; it must be {tuple(theirs.shape)}"
    worst = int((mine - theirs).abs().nan_to_num(torch.inf).argmax())
    numbers = f"{mine.flatten()[worst]:.4g} where {theirs.flatten()[worst]:.4g} is right"
    return f"the shape is right, the numbers are not: {numbers}"


def _tensor(value: Tensor | float) -> Tensor:
    """Return a number or a tensor as a float64 tensor on the CPU, without a gradient."""
    return torch.as_tensor(value).detach().double().cpu()


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"{len(value)} values"
    return f"a value of type {type(value).__name__}"


def _maps(*shape: int, seed: int = 0) -> Tensor:
    """Return seeded maps with means that are not zero, as after a ReLU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) + 0.5


def _field(tap: str, *, stride: int = 2, pool_window: int = 2) -> int:
    """Return the receptive field of a tap; the options are the mistakes that can be made."""
    field, jump, wanted = 1, 1, tap.replace("relu", "conv")
    for layer, block in conv_names():
        if layer.endswith("_1") and block > 1:
            field, jump = field + (pool_window - 1) * jump, jump * stride
        field += 2 * jump  # a 3 × 3 window reaches one step further on either side
        if layer == wanted:
            return field
    raise ValueError(f"tap is {tap!r}; taps are called like 'relu3_1'")
