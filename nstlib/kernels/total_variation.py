r"""Total variation: how much neighbouring pixels differ, and how each pixel would change that.

Bytes: the picture once; the slopes, as large, once. Both the value and the slopes, which are the
gradient but for a factor, come from one reading: each pixel looks at its four neighbours, which its
own tile or the cache holds.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from nstlib.kernels.arguments import check_maps, dtype_of_sums, float32_at_least
from nstlib.kernels.backend import Kernel, operator, tl
from nstlib.kernels.tiles import offset_of, strides_of, tiles_for

# ------------------------------------------------------------------------------------ reference


def reference(image: Tensor, power: int, with_slopes: bool) -> tuple[Tensor, Tensor]:
    """Compute the value, and the slopes where asked for, with PyTorch.

    The slopes are the gradient times the number of elements: a number near 1, where the gradient
    itself, of a mean over so many, would be lost in half precision.
    """
    values = float32_at_least(image)
    total = values.new_zeros(())
    slopes = torch.zeros_like(values) if with_slopes else values.new_empty(0)
    for axis in (2, 3):
        size = values.shape[axis]
        if size == 1:
            continue
        step = values.diff(dim=axis)
        total += (step.abs() if power == 1 else step.square()).mean()
        if with_slopes:
            slope = step.sign() if power == 1 else 2 * step
            share = values.numel() / step.numel()
            slopes.narrow(axis, 1, size - 1).add_(slope, alpha=share)
            slopes.narrow(axis, 0, size - 1).sub_(slope, alpha=share)
    return total, slopes.to(image.dtype)


# --------------------------------------------------------------------------------------- Triton


@Kernel
def slope_of(step, SQUARED: tl.constexpr):
    """Return the derivative of |step| or step²; of |0| and |NaN| it is 0, as PyTorch has it."""
    if SQUARED:
        slope = 2.0 * step
    else:
        slope = tl.where(step > 0, 1.0, tl.where(step < 0, -1.0, 0.0))
    return slope


@Kernel
def steps_and_slopes(
    image,
    sums,
    slopes,
    channels,
    pixels,
    width,
    row_share,
    column_share,
    elements,
    stride_n,
    stride_c,
    stride_h,
    stride_w,
    FLAT: tl.constexpr,
    to_n,
    to_c,
    to_h,
    to_w,
    TO_FLAT: tl.constexpr,
    SQUARED: tl.constexpr,
    SLOPES: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Store a tile's share of the value, and its pixels' slopes.

    A pair of neighbours counts ``row_share`` one above the other and ``column_share`` side by side:
    one over the number of such pairs. A slope is worth ``elements`` times as much.
    """
    n = tl.program_id(2)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)[:, None]
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    inside = (p < pixels) & (c < channels)
    column = p % width
    below, right = inside & (p < pixels - width), inside & (column < width - 1)
    at = offset_of(n, c, p, width, stride_n, stride_c, stride_h, stride_w, FLAT)
    here = tl.load(image + at, mask=inside, other=0.0).to(tl.float32)
    down = tl.load(image + at + stride_h, mask=below, other=0.0).to(tl.float32) - here
    across = tl.load(image + at + stride_w, mask=right, other=0.0).to(tl.float32) - here
    down, across = tl.where(below, down, 0.0), tl.where(right, across, 0.0)
    if SQUARED:
        share = row_share * down * down + column_share * across * across
    else:
        share = row_share * tl.abs(down) + column_share * tl.abs(across)
    program = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    program += n * tl.num_programs(0) * tl.num_programs(1)
    tl.store(sums + program, tl.sum(tl.sum(share, axis=1), axis=0))
    if SLOPES:
        above, left = inside & (p >= width), inside & (column > 0)
        up = here - tl.load(image + at - stride_h, mask=above, other=0.0).to(tl.float32)
        back = here - tl.load(image + at - stride_w, mask=left, other=0.0).to(tl.float32)
        up, back = tl.where(above, up, 0.0), tl.where(left, back, 0.0)
        rows = slope_of(up, SQUARED) - slope_of(down, SQUARED)
        columns = slope_of(back, SQUARED) - slope_of(across, SQUARED)
        found = (row_share * elements) * rows + (column_share * elements) * columns
        at = offset_of(n, c, p, width, to_n, to_c, to_h, to_w, TO_FLAT)
        tl.store(slopes + at, found.to(slopes.dtype.element_ty), mask=inside)


def in_triton(image: Tensor, power: int, with_slopes: bool) -> tuple[Tensor, Tensor]:
    """Compute the value, and the slopes where asked for, with Triton."""
    images, channels, height, width = image.shape
    tiles = tiles_for(image)
    grid = (-(-height * width // tiles.pixels), -(-channels // tiles.channels), images)
    sums = image.new_empty(grid[::-1], dtype=torch.float32)
    slopes = torch.empty_like(image) if with_slopes else image.new_empty(0)
    pairs = images * channels * (height - 1) * width, images * channels * height * (width - 1)
    strides = strides_of(image)
    steps_and_slopes.launch(
        grid,
        image,
        sums,
        slopes,
        channels,
        height * width,
        width,
        *(1.0 / max(count, 1) for count in pairs),
        float(image.numel()),
        *strides,
        *(strides_of(slopes) if with_slopes else strides),
        SQUARED=power == 2,
        SLOPES=with_slopes,
        **tiles.options,
    )
    return sums.sum(), slopes


# ------------------------------------------------------------------------ operator and gradient

_total_variation = operator("total_variation", reference, in_triton)


def _shapes(image: Tensor, power: int, with_slopes: bool) -> tuple[Tensor, Tensor]:
    slopes = torch.empty_like(image) if with_slopes else image.new_empty(0)
    return image.new_empty((), dtype=dtype_of_sums(image)), slopes


def _save(ctx: Any, inputs: tuple[Tensor, int, bool], output: tuple[Tensor, Tensor]) -> None:
    image, ctx.power, ctx.has_slopes = inputs
    ctx.set_materialize_grads(False)  # nobody asks for a second derivative: then there is no zero
    ctx.save_for_backward(output[1] if ctx.has_slopes else image)


def _gradient(
    ctx: Any, of_value: Tensor | None, of_slopes: Tensor | None
) -> tuple[Tensor | None, None, None]:
    """The slopes are there already; their own derivative is a constant: linear of squares, else 0."""
    (kept,) = ctx.saved_tensors
    gradient: Tensor | None = None
    if of_value is not None:
        slopes = kept if ctx.has_slopes else _total_variation(kept, ctx.power, True)[1]
        gradient = (of_value / kept.numel() * slopes).to(kept.dtype)
    if of_slopes is not None and ctx.has_slopes and ctx.power == 2:
        curvature = _total_variation(of_slopes, 2, True)[1]
        gradient = curvature if gradient is None else gradient + curvature
    return gradient, None, None


_total_variation.register_fake(_shapes)
_total_variation.register_autograd(_gradient, setup_context=_save)


def total_variation(image: Tensor, power: Literal[1, 2] = 1) -> Tensor:
    r"""Return how much neighbouring pixels differ: the mean over rows plus the mean over columns.

    .. math:: TV = \operatorname{mean}|x_{i+1,j} - x_{ij}|^p + \operatorname{mean}|x_{i,j+1} - x_{ij}|^p

    With ``power=1`` an edge costs its height however steep it is, so that edges stay and noise
    goes; with ``power=2`` a steep edge costs more than a ramp, so that everything is smoothed.

    Args:
        image: ``(N, C, H, W)`` in float16, bfloat16, float32 or float64, in any layout; a side of
            one pixel has no neighbours and adds 0.
        power: p.

    Returns:
        One number, in float32, or float64 for float64.

    Raises:
        TypeError, ValueError: no such image, or another power.

    Bytes moved:
        The image once, and where a gradient is wanted the slopes once, from the same reading; to
        scale them by what comes from above is a pass of its own.

    Precision:
        At equal neighbours ``|x|`` has no derivative; 0 is taken, as PyTorch does.

    Example:
        >>> total_variation(torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])).item()
        1.0

    Reference:
        Rudin, Osher & Fatemi, Nonlinear Total Variation Based Noise Removal Algorithms, 1992.
    """
    check_maps(image, "image")
    if power not in (1, 2):
        raise ValueError(f"power is {power!r}; it takes 1 (absolute) or 2 (squared)")
    wants_gradient = image.requires_grad and torch.is_grad_enabled()
    value: Tensor = _total_variation(image, int(power), wants_gradient)[0]
    return value
