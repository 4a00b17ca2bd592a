r"""Warping: the frame before, moved to where the flow says its pixels went.

Bytes: image and flow once, the result once; with a blend also the current frame and the mask. Four
corners are read for each pixel, but neighbours share them, and the cache holds them.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from nstlib.kernels.arguments import check_like, check_maps, dtype_of_sums
from nstlib.kernels.backend import Kernel, like_its_maps, operator, tl
from nstlib.kernels.tiles import PROGRAMS, offset_of, strides_of, tiles_for

Border = Literal["border", "zeros", "reflection"]

FAR = 2.0**30  # pixels; a flow beyond is as far as this: it must fit a whole number

# ------------------------------------------------------------------------------------ reference


def reference(
    image: Tensor, flow: Tensor, border: str, current: Tensor | None, mask: Tensor | None
) -> Tensor:
    """Compute :func:`warp` with PyTorch."""
    moved = _moved(image, flow, border)
    if current is not None and mask is not None:
        moved = mask * moved + (1 - mask) * current
    return torch.empty_like(image).copy_(moved)


def _moved(image: Tensor, flow: Tensor, border: str) -> Tensor:
    """Return the image where the flow points to, in float32 at least."""
    moved = flow.new_zeros(image.shape)
    for corner in _corners(image, flow, border):
        moved = torch.addcmul(moved, corner.share, corner.value.to(flow.dtype))
    return moved


@dataclass(frozen=True, eq=False)
class Corner:
    """One of the four pixels around each place that the flow points to."""

    value: Tensor  # (N, C, H, W)
    index: Tensor  # (N, 1, H·W): where it lies in a plane
    share_x: Tensor  # (N, 1, H, W), as is share_y: how near it is; 0 outside a picture that ends
    share_y: Tensor
    sign_x: int  # 1 where it comes nearer as the flow grows, else -1
    sign_y: int

    @property
    def share(self) -> Tensor:
        """How much of it is in the result, (N, 1, H, W)."""
        return self.share_x * self.share_y

    @property
    def slope(self) -> Tensor:
        """What a change of the flow changes in that, (N, 2, H, W)."""
        return torch.cat([self.sign_x * self.share_y, self.sign_y * self.share_x], dim=1)


def _corners(image: Tensor, flow: Tensor, border: str) -> Iterator[Corner]:
    """Yield the four pixels around each place that the flow points to."""
    height, width = image.shape[2:]
    rows = torch.arange(height, device=image.device)[:, None]
    columns = torch.arange(width, device=image.device)
    # Whole pixels and the rest apart: added to a column first, the rest would lose its last digits.
    flow = flow.clamp(-FAR, FAR)
    whole = flow.nan_to_num().floor()
    x, y = (flow - whole).split(1, dim=1)  # (N, 1, H, W); NaN where the flow is no number
    step_x, step_y = whole.long().split(1, dim=1)
    across = list(_on_axis(columns + step_x, x, width, border))
    for row, share_y, sign_y, inside_y in _on_axis(rows + step_y, y, height, border):
        for column, share_x, sign_x, inside_x in across:
            index = (row * width + column).flatten(2)  # (N, 1, H·W)
            value = image.flatten(2).gather(2, index.expand(-1, image.shape[1], -1))
            value = value.view(image.shape)
            if inside_x is not None and inside_y is not None:
                value = value.masked_fill(
                    ~(inside_x & inside_y), 0
                )  # a NaN there is not seen either
            yield Corner(value, index, share_x, share_y, sign_x, sign_y)


def _on_axis(
    place: Tensor, rest: Tensor, size: int, border: str
) -> Iterator[tuple[Tensor, Tensor, int, Tensor | None]]:
    """Yield the pixels on both sides of ``place + rest``: which it is, its share, the share's sign.

    Where the picture ends in zeros, also whether the pixel is one of its own.
    """
    for pixel, share, sign in ((place, 1 - rest, -1), (place + 1, rest, 1)):
        inside = None
        if border == "zeros":
            inside = (pixel >= 0) & (pixel < size)
            share = share * inside
        elif border == "reflection":
            within = pixel.remainder(2 * size)  # there and back again
            pixel = torch.minimum(within, 2 * size - 1 - within)
        yield pixel.clamp(0, size - 1), share, sign, inside


# --------------------------------------------------------------------------------------- Triton


@Kernel
def on_axis(place, size, BORDER: tl.constexpr):
    """Return which pixel stands for one at ``place``."""
    if BORDER == "reflection":
        within = place % (2 * size)
        within = tl.where(within < 0, within + 2 * size, within)  # % keeps the sign, as in C
        place = tl.minimum(within, 2 * size - 1 - within)
    return tl.minimum(tl.maximum(place, 0), size - 1)


@Kernel
def whole_and_rest(flow):
    """Return the whole pixels of a flow, 0 of NaN, and what is left of it: 0 … 1, or NaN."""
    flow = tl.where(flow > 1073741824.0, 1073741824.0, flow)  # FAR
    flow = tl.where(flow < -1073741824.0, -1073741824.0, flow)
    whole = tl.floor(tl.where(flow == flow, flow, 0.0))
    return whole.to(tl.int64), flow - whole


@Kernel
def move(
    image,
    flow,
    current,
    mask,
    out,
    channels,
    pixels,
    height,
    width,
    span,
    stride_n,
    stride_c,
    stride_h,
    stride_w,
    flow_n,
    flow_c,
    flow_h,
    flow_w,
    FLOW_FLAT: tl.constexpr,
    current_n,
    current_c,
    current_h,
    current_w,
    CURRENT_FLAT: tl.constexpr,
    mask_n,
    mask_c,
    mask_h,
    mask_w,
    MASK_FLAT: tl.constexpr,
    to_n,
    to_c,
    to_h,
    to_w,
    TO_FLAT: tl.constexpr,
    BORDER: tl.constexpr,
    BLENDED: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Move a tile of pixels, a span of its channels, whose flow is read once."""
    n = tl.program_id(2)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)[:, None]
    there = p < pixels
    at = offset_of(n, 0, p, width, flow_n, flow_c, flow_h, flow_w, FLOW_FLAT)
    flow_x = tl.load(flow + at, mask=there, other=0.0).to(tl.float32)
    flow_y = tl.load(flow + at + flow_c, mask=there, other=0.0).to(tl.float32)
    whole_x, share_x = whole_and_rest(flow_x)
    whole_y, share_y = whole_and_rest(flow_y)
    column, row = p % width + whole_x, p // width + whole_y
    if BLENDED:
        at = offset_of(n, 0, p, width, mask_n, mask_c, mask_h, mask_w, MASK_FLAT)
        kept = tl.load(mask + at, mask=there, other=0.0).to(tl.float32)
    for first in range(0, span, BLOCK_C):
        c = tl.program_id(1) * span + first + tl.arange(0, BLOCK_C)[None, :]
        inside = there & (c < channels)
        plane = n.to(tl.int64) * stride_n + c.to(tl.int64) * stride_c
        moved = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
        for down in tl.static_range(2):
            for right in tl.static_range(2):
                i, j = row + down, column + right
                share = tl.where(down == 1, share_y, 1.0 - share_y)
                share *= tl.where(right == 1, share_x, 1.0 - share_x)
                seen = inside
                if BORDER == "zeros":
                    seen = inside & (i >= 0) & (i < height) & (j >= 0) & (j < width)
                i, j = on_axis(i, height, BORDER), on_axis(j, width, BORDER)
                corner = image + plane + i * stride_h + j * stride_w
                value = tl.load(corner, mask=seen, other=0.0).to(tl.float32)
                moved += share * value
        if BLENDED:
            beside = offset_of(
                n, c, p, width, current_n, current_c, current_h, current_w, CURRENT_FLAT
            )
            now = tl.load(current + beside, mask=inside, other=0.0).to(tl.float32)
            moved = kept * moved + (1.0 - kept) * now
        to = offset_of(n, c, p, width, to_n, to_c, to_h, to_w, TO_FLAT)
        tl.store(out + to, moved.to(out.dtype.element_ty), mask=inside)


def in_triton(
    image: Tensor, flow: Tensor, border: str, current: Tensor | None, mask: Tensor | None
) -> Tensor:
    """Compute :func:`warp` with Triton."""
    images, channels, height, width = image.shape
    tiles = tiles_for(image, 1024, each=2)  # each element has four addresses
    out = torch.empty_like(image)
    now, kept = (image, image) if current is None or mask is None else (current, mask)
    across, blocks = -(-height * width // tiles.pixels), -(-channels // tiles.channels)
    # All channels in one program read their flow once; but a GPU wants enough programs first.
    groups = min(blocks, max(1, PROGRAMS // (across * images)))
    span = -(-blocks // groups) * tiles.channels
    move.launch(
        (across, -(-channels // span), images),
        image,
        flow,
        now,
        kept,
        out,
        channels,
        height * width,
        height,
        width,
        span,
        *image.stride(),
        *strides_of(flow),
        *strides_of(now),
        *strides_of(kept),
        *strides_of(out),
        BORDER=border,
        BLENDED=mask is not None,
        **tiles.options,
    )
    return out


# ------------------------------------------------------------------------ operator and gradient

_warp = operator("warp", reference, in_triton)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    image, flow, ctx.border, current, mask = inputs
    ctx.save_for_backward(image, flow, current, mask)


def _gradient(ctx: Any, of_out: Tensor) -> tuple[Tensor | None, ...]:
    """Each pixel gives back to its four corners what it took from them, and their slopes to the flow."""
    image, flow, current, mask = ctx.saved_tensors
    of_out = of_out.to(flow.dtype)
    of_current = of_mask = None
    if current is not None and mask is not None:
        of_current = ((1 - mask) * of_out).to(current.dtype)
        if ctx.needs_input_grad[4]:
            moved = _moved(image, flow, ctx.border)
            of_mask = (of_out * (moved - current)).sum(dim=1, keepdim=True)
        of_out = of_out * mask
    of_image = of_flow = None
    if ctx.needs_input_grad[0]:
        of_image = _given_back(image, flow, ctx.border, of_out).to(image.dtype)
    if ctx.needs_input_grad[1]:
        of_flow = torch.zeros_like(flow)
        for corner in _corners(image, flow, ctx.border):
            of_share = (of_out * corner.value).sum(dim=1, keepdim=True)
            of_flow = of_flow + corner.slope * of_share
    return of_image, of_flow, None, of_current, of_mask


def _given_back(image: Tensor, flow: Tensor, border: str, of_out: Tensor) -> Tensor:
    """Add to each pixel what was taken from it, all channels of it together."""
    images, channels, height, width = image.shape
    first = height * width * torch.arange(images, device=image.device)[:, None, None]
    total = of_out.new_zeros(images * height * width, channels)
    for corner in _corners(image, flow, border):
        at = (first + corner.index).flatten()  # (N·H·W)
        given = (of_out * corner.share).permute(0, 2, 3, 1).reshape(len(total), channels)
        # Adds in one order, also on a GPU, where scatter_add would add in any.
        total = total.index_put((at,), given, accumulate=True)
    return total.view(images, height, width, channels).permute(0, 3, 1, 2)  # (N, C, H, W)


_warp.register_fake(like_its_maps)
_warp.register_autograd(_gradient, setup_context=_save)


def warp(
    image: Tensor,
    flow: Tensor,
    border: Border = "border",
    current: Tensor | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    r"""Move an image along a flow, and blend it with the current frame where it is not to be trusted.

    .. math:: w(p) = \text{image}(p + \text{flow}(p)), \qquad y = m\,w + (1 - m)\,\text{current}

    Between pixels the four around are mixed linearly. To bring the frame before into the current
    one, the flow must lead *from the current frame to the one before*: each pixel asks where it came
    from.

    Args:
        image: ``(N, C, H, W)`` in float16, bfloat16, float32 or float64, in any layout.
        flow: ``(N, 2, H, W)``: pixels to the right, then pixels down; a 1 stands for any N, H or W.
        border: what lies beyond the picture: ``"border"`` its last pixels, ``"zeros"`` 0, or
            ``"reflection"`` the picture, mirrored at the outer edge of its last pixels.
        current, mask: the frame to fall back on, of the image's shape, and m, ``(N, 1, H, W)`` in
            [0, 1], 1 where the warped image counts; both or neither.

    Returns:
        The image's shape, dtype and layout. A flow of 0 returns a finite image bit for bit.

    Raises:
        TypeError, ValueError: no such tensors, or one of ``current`` and ``mask`` alone.

    Bytes moved:
        Image, flow and result once; with a blend the current frame and the mask once.

    Precision:
        Where between two pixels a place lies is computed in float32, whatever the picture's size.
        Where the flow is NaN the result is NaN; an infinite flow leads beyond any border.

    Example:
        >>> image = torch.tensor([[[[1.0, 2.0, 4.0]]]])
        >>> warp(image, torch.tensor([0.5, 0.0]).view(1, 2, 1, 1))
        tensor([[[[1.5000, 3.0000, 4.0000]]]])

    Reference:
        Jaderberg et al., Spatial Transformer Networks, 2015; Ruder, Dosovitskiy & Brox, Artistic
        Style Transfer for Videos, 2016 (the blend).
    """
    check_maps(image, "image")
    if border not in get_args(Border):
        raise ValueError(f"border is {border!r}; it takes {', '.join(map(repr, get_args(Border)))}")
    if (current is None) != (mask is None):
        missing = "current" if current is None else "mask"
        raise ValueError(f"{missing} is missing; a blend takes both current and mask")
    images, _, height, width = image.shape
    exact = dtype_of_sums(image)
    plane = (images, 1, height, width)
    flow = check_like("flow", flow, (images, 2, height, width), image, (0, 2, 3), "image").to(exact)
    if current is not None and mask is not None:
        current = check_like("current", current, tuple(image.shape), image, (), "image")
        mask = check_like("mask", mask, plane, image, (0, 2, 3), "image").to(exact)
    moved: Tensor = _warp(image, flow, border, current, mask)
    return moved
