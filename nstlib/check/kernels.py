"""Checks for notebook A1: blocks and masks, memory, and sums that stay finite."""

from __future__ import annotations

import torch
from torch import Tensor

from nstlib import kernels
from nstlib.check.common import Answer, Mistakes, Result, compare, seeded_maps


def tile(answer: Answer) -> Result:
    """Check ``answer(program, block, size) -> (places, mask)``: what a program reads of a row."""

    def right(program: int, block: int, size: int) -> tuple[Tensor, Tensor]:
        lanes = torch.arange(program * block, (program + 1) * block)
        return lanes, lanes < size

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
        "places are held back at the last one, which is read again: leave them, and mask": (
            lambda program, block, size: (
                right(program, block, size)[0].clamp(max=size - 1),
                right(program, block, size)[1],
            )
        ),
        "the mask is turned round: it is true inside": (
            lambda *given: (right(*given)[0], ~right(*given)[1])
        ),
    }
    inputs = [(0, 4, 10), (1, 4, 10), (2, 4, 10), (2, 4, 9)]
    return compare("tile", answer, right, inputs, mistakes)


def offsets(answer: Answer) -> Result:
    """Check ``answer(c, p, width, strides) -> offsets``: where pixels p of channel c lie in memory."""

    def right(c: int, p: Tensor, width: int, strides: tuple[int, int, int]) -> Tensor:
        return c * strides[0] + p // width * strides[1] + p % width * strides[2]

    mistakes: Mistakes = {
        "rows are taken to join: in a crop the next row begins a stride later; use stride_h": (
            lambda c, p, width, s: c * s[0] + p * s[2]
        ),
        "p / width is a fraction: a row is a whole number, p // width": (
            lambda c, p, width, s: c * s[0] + p / width * s[1] + p % width * s[2]
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
    return compare("offsets", answer, right, inputs, mistakes)


def half_gram(answer: Answer) -> Result:
    """Check ``answer(features) -> (N, C, C)``: a Gram matrix of float16 maps that stays finite."""
    mistakes: Mistakes = {
        "it overflows: the sum is taken in float16, which ends at 65,504; go to float32 first": (
            lambda f: f.flatten(2) @ f.flatten(2).transpose(1, 2) / f[0, 0].numel()
        ),
        "it vanishes: divided by H·W in float16, small maps lose their digits; go to float32 first": (
            lambda f: (f.flatten(2) / f[0, 0].numel()) @ f.flatten(2).transpose(1, 2)
        ),
        "not divided: a sum over positions grows with the picture; divide by H·W": (
            lambda f: kernels.gram(f, "sum")
        ),
        "gone back to float16, which has three digits: return float32": (
            lambda f: kernels.gram(f).half()
        ),
    }
    flat = [(torch.full((1, 2, 128, 128), value).half(),) for value in (100.0, 0.03)]
    whole = seeded_maps(2, 3, 4, 4).mul(2).round().half()  # small enough for any dtype
    inputs = [(whole,), *flat]
    return compare("half_gram", answer, kernels.gram, inputs, mistakes)


def masked_max(answer: Answer) -> Result:
    """Check ``answer(values, mask) -> (rows,)``: the largest of each row's values inside the mask."""

    def right(values: Tensor, mask: Tensor, other: float = -torch.inf) -> Tensor:
        return torch.where(mask, values, other).amax(dim=1)

    mistakes: Mistakes = {
        "masked lanes hold 0, which is larger than what is below 0: they must hold −∞": (
            lambda values, mask: right(values, mask, 0.0)
        ),
        **{
            f"masked lanes hold {least:.0f}, which a value may be below of: they must hold −∞": (
                lambda values, mask, least=least: right(values, mask, least)
            )
            for least in (-1.0, -1e3, -1e4, -1e5)
        },
        "the mask is not used: what lies outside is counted too": (
            lambda values, mask: values.amax(dim=1)
        ),
        "the smallest, not the largest": (
            lambda values, mask: torch.where(mask, values, torch.inf).amin(dim=1)
        ),
        "one number for all: the largest of each row is asked for": (
            lambda values, mask: right(values, mask).amax()
        ),
        "the largest of each lane: a row is along axis 1": (
            lambda values, mask: torch.where(mask, values, -torch.inf).amax(dim=0)
        ),
        "its place, not the value: argmax says where, amax how large": (
            lambda values, mask: torch.where(mask, values, -torch.inf).argmax(dim=1)
        ),
    }
    values = seeded_maps(1, 1, 3, 8)[0, 0] - 4  # all below 0
    values[2] -= 1e6  # and some far below
    values[:, 6:] = 9  # what happens to lie beyond
    mask = (torch.arange(8) < 6).expand(3, 8)
    return compare("masked_max", answer, right, [(values, mask)], mistakes)


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
    inputs = [(seeded_maps(1, 2, 4, 6),), (seeded_maps(2, 1, 5, 3, seed=1),)]
    return compare("tv_gradient", answer, right, inputs, mistakes)
