r"""Gram matrices: how strongly each pair of channels fires together.

Bytes: the maps once, C² numbers an image out. The product is skinny, 64 channels by a million
positions, so that one program an image and pair of channel blocks would leave a GPU idle: the
positions are cut into parts, whose products a second launch adds. Of a symmetric matrix only the
blocks on and above the diagonal are computed.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from nstlib.kernels.arguments import check_maps, dtype_of_sums, float32_at_least
from nstlib.kernels.backend import Kernel, is_interpreted, operator, tl
from nstlib.kernels.tiles import offset_of, parts_of, power_of_two, strides_of

GramScale = Literal["hw", "chw", "sum"]

# ------------------------------------------------------------------------------------ reference


def reference(features: Tensor, scale: float) -> Tensor:
    """Compute F·Fᵀ / ``scale`` with PyTorch."""
    flat = features.flatten(2)  # (N, C, H·W)
    if flat.dtype == torch.float16:
        flat = flat.float()
    return float32_at_least(_products(flat, flat.transpose(1, 2))) / scale


def _products(left: Tensor, right: Tensor) -> Tensor:
    """Multiply image by image; on a CPU a batch of products this long and thin is twice as slow."""
    with torch.autocast(left.device.type, enabled=False):  # which would round what is exact
        if left.is_cuda:
            return left @ right
        if len(left) == 1:
            return (left[0] @ right[0])[None]  # stacking would copy what is as large as the maps
        return torch.stack([a @ b for a, b in zip(left, right, strict=True)])


# --------------------------------------------------------------------------------------- Triton


@Kernel
def gram_parts(
    features,
    products,
    channels,
    pixels,
    width,
    chunk,
    blocks,
    stride_n,
    stride_c,
    stride_h,
    stride_w,
    FLAT: tl.constexpr,
    PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
    ONE_BLOCK: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Store the products of two blocks of channels over one part of the positions."""
    pair, part, n = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    row, column = pair // blocks, pair % blocks
    if row <= column:  # below the diagonal stands what stands above it
        upper = row * BLOCK_C + tl.arange(0, BLOCK_C)
        lower = column * BLOCK_C + tl.arange(0, BLOCK_C)
        total = tl.zeros((BLOCK_C, BLOCK_C), tl.float32)
        for first in range(0, chunk, BLOCK_P):
            p = part * chunk + first + tl.arange(0, BLOCK_P)
            here = (p < pixels)[None, :]
            at = offset_of(
                n, upper[:, None], p[None, :], width, stride_n, stride_c, stride_h, stride_w, FLAT
            )
            left = tl.load(features + at, mask=here & (upper < channels)[:, None], other=0.0)
            if ONE_BLOCK:
                right = left
            else:
                at = offset_of(
                    n,
                    lower[:, None],
                    p[None, :],
                    width,
                    stride_n,
                    stride_c,
                    stride_h,
                    stride_w,
                    FLAT,
                )
                right = tl.load(features + at, mask=here & (lower < channels)[:, None], other=0.0)
            if UPCAST:
                left, right = left.to(tl.float32), right.to(tl.float32)
            total = tl.dot(left, tl.trans(right), total, input_precision=PRECISION)
        plane = (n.to(tl.int64) * tl.num_programs(1) + part) * channels
        at = (plane + upper[:, None]) * channels + lower[None, :]
        held = (upper < channels)[:, None] & (lower < channels)[None, :]
        tl.store(products + at, total, mask=held)


@Kernel
def gram_sum(products, gram, channels, parts, factor, BLOCK: tl.constexpr, AT_ONCE: tl.constexpr):
    """Add the parts, scale, and mirror what is above the diagonal."""
    n = tl.program_id(1).to(tl.int64)
    entry = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row, column = entry // channels, entry % channels
    there = row < channels
    at = tl.minimum(row, column).to(tl.int64) * channels + tl.maximum(row, column)
    total = tl.zeros((BLOCK,), tl.float32)
    for first in range(0, parts, AT_ONCE):
        part = first + tl.arange(0, AT_ONCE)
        plane = (n * parts + part) * channels * channels
        held = (part < parts)[:, None] & there[None, :]
        found = tl.load(products + plane[:, None] + at[None, :], mask=held, other=0.0)
        total += tl.sum(found, axis=0)
    tl.store(gram + n * channels * channels + entry, total * factor, mask=there)


def in_triton(features: Tensor, scale: float) -> Tensor:
    """Compute F·Fᵀ / ``scale`` with Triton."""
    images, channels, height, width = features.shape
    pixels = height * width
    # A tensor core takes 16 at least. The largest tiles that need no more registers than there are:
    # float32 goes through tensor cores as three products of parts, which all want to be kept.
    exact = features.dtype == torch.float32
    wide = min(64 if exact else 128, max(16, power_of_two(channels)))
    long = 2048 // wide if exact else 64 if wide == 128 else 128
    strides = strides_of(features)
    if not strides.flat:
        long //= 2  # each element has an address of its own
    blocks = -(-channels // wide)
    # A part's product is C² numbers: at 16·C positions or more, writing it costs little.
    least = max(4, 16 * channels // long)
    parts, chunk = parts_of(pixels, long, images * blocks * (blocks + 1) // 2, least)
    products = features.new_empty((images, parts, channels, channels), dtype=torch.float32)
    gram_parts.launch(
        (blocks * blocks, parts, images),  # all pairs of a part at once: the cache holds it
        features,
        products,
        channels,
        pixels,
        width,
        chunk,
        blocks,
        *strides,
        # Three products of tensor cores that together are as exact as one in float32.
        PRECISION="tf32x3" if exact else "ieee",
        UPCAST=is_interpreted(),  # which multiplies the bits of bfloat16 as if they were integers
        ONE_BLOCK=blocks == 1,
        BLOCK_P=long,
        BLOCK_C=wide,
        num_warps=8 if wide == 128 or (exact and wide == 64) else 4,
        num_stages=3,
    )
    gram = features.new_empty((images, channels, channels), dtype=torch.float32)
    block = min(64, power_of_two(channels * channels))
    gram_sum.launch(
        (-(-channels * channels // block), images),
        products,
        gram,
        channels,
        parts,
        1.0 / scale,
        BLOCK=block,
        AT_ONCE=min(32, power_of_two(parts)),
        num_warps=4,
    )
    return gram


# ------------------------------------------------------------------------ operator and gradient

_gram = operator("gram", reference, in_triton)


def _shape(features: Tensor, scale: float) -> Tensor:
    images, channels = features.shape[:2]
    return features.new_empty((images, channels, channels), dtype=dtype_of_sums(features))


def _save(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
    features, ctx.scale = inputs
    ctx.save_for_backward(features)


def _gradient(ctx: Any, of_gram: Tensor) -> tuple[Tensor, None]:
    """(D + Dᵀ)·F is one product where autograd would form two, in the layout of the maps."""
    (features,) = ctx.saved_tensors
    flat = features.flatten(2)  # (N, C, H·W)
    if flat.dtype == torch.float16:
        flat = flat.float()  # D is small where maps are large: float16 would round it to zero
    symmetric = ((of_gram + of_gram.transpose(1, 2)) / ctx.scale).to(flat.dtype)
    if flat.stride(1) == 1:  # channels last
        gradient = _products(flat.transpose(1, 2), symmetric).transpose(1, 2)
    else:
        gradient = _products(symmetric, flat)
    return gradient.unflatten(2, features.shape[2:]).to(features.dtype), None  # (N, C, H, W)


_gram.register_fake(_shape)
_gram.register_autograd(_gradient, setup_context=_save)


def gram(features: Tensor, normalize: GramScale = "hw") -> Tensor:
    r"""Return the Gram matrix of each image: how strongly each pair of channels fires together.

    .. math:: G_{ij} = \frac1{s} \sum_p F_{ip} F_{jp}

    The sum runs over all positions p, so the matrix knows *what* occurs together and not *where*.

    Args:
        features: ``(N, C, H, W)`` in float16, bfloat16, float32 or float64, in any layout.
        normalize: the scale s: ``"hw"`` H·W, a mean over positions; ``"chw"`` C·H·W; ``"sum"`` 1.

    Returns:
        ``(N, C, C)`` in float32, or float64 for float64; symmetric; images are never mixed.

    Raises:
        TypeError, ValueError: no such maps, or an unknown ``normalize``.

    Bytes moved:
        The maps once, and C² numbers an image; the products of parts, which are an eighth of
        bfloat16 maps at most, are written and read in between.

    Precision:
        Sums are taken in float32: in float16 they overflow, and scaled first they vanish. On a CPU
        bfloat16 products are summed in float32 and then rounded to bfloat16's 8 bits, so that an
        entry is wrong by up to 0.4 %, whatever the dtype says.

    Example:
        >>> gram(torch.tensor([[[[1.0, 2.0]], [[0.0, 1.0]]]]), normalize="sum")
        tensor([[[5., 2.],
                 [2., 1.]]])

    Reference:
        Gatys, Ecker & Bethge, Image Style Transfer Using Convolutional Neural Networks, 2016, eq. 3.
    """
    check_maps(features)
    if normalize not in get_args(GramScale):
        raise ValueError(f"normalize is {normalize!r}; a Gram matrix takes 'hw', 'chw' or 'sum'")
    _, channels, height, width = features.shape
    scale = {"sum": 1, "hw": height * width, "chw": channels * height * width}[normalize]
    matrices: Tensor = _gram(features, float(scale))
    return matrices
