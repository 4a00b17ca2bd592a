r"""Mean and standard deviation of each channel: what AdaIN and instance norm are made of.

Bytes: the maps are read once, in parts; a part's mean and squared deviations are merged with the
others' afterwards, so that nothing is read a second time.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nstlib.kernels.arguments import check_eps, check_maps, dtype_of_sums, float32_at_least
from nstlib.kernels.backend import Kernel, operator, tl
from nstlib.kernels.tiles import (
    Tiles,
    offset_of,
    parts_of,
    power_of_two,
    strides_of,
    tiles_for,
    whole_tiles_for,
)

# ------------------------------------------------------------------------------------ reference


BAND = 1 << 13  # positions: a sum in float32 of many more loses digits where it goes one by one


def reference(features: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Compute :func:`moments` with PyTorch: two passes, the second over what the mean leaves."""
    if features.device.type == "cpu":
        mean, variance = (
            torch.stack(parts) for parts in zip(*map(_by_bands, features), strict=True)
        )
        return mean, (variance + eps).sqrt()
    values = float32_at_least(features)
    mean = values.mean(dim=(2, 3))  # (N, C)
    spread = torch.linalg.vector_norm(values - mean[..., None, None], dim=(2, 3))
    return mean, (spread.square() / values[0, 0].numel() + eps).sqrt()


def renormalized(
    features: Tensor, mean: Tensor, std: Tensor, gain: Tensor, shift: Tensor
) -> Tensor:
    r"""Return γ·(x − μ)/σ + β with statistics that are known, all (N, C), in the maps' layout.

    A batch norm of one picture with given statistics is one pass, and an operator of PyTorch's: on
    processors three times faster than a difference and a product of float32 maps.
    """
    pictures = zip(features.split(1), mean, std.square(), gain, shift, strict=True)
    normalized = [
        torch.native_batch_norm(picture, scale, level, middle, variance, False, 0.0, 0.0)[0]
        for picture, middle, variance, scale, level in pictures
    ]
    out = normalized[0] if len(normalized) == 1 else torch.cat(normalized)
    if out.stride() != (like := torch.empty_like(features)).stride():
        out = like.copy_(out)
    return out


def renormalized_exactly(
    features: Tensor, mean: Tensor, std: Tensor, gain: Tensor, shift: Tensor
) -> Tensor:
    """Compute :func:`renormalized`, also where channels are nearly constant and far from 0.

    A batch norm on a processor computes x·a + (β − μ·a), which cancels there.
    """
    on_processor = features.device.type == "cpu"
    if on_processor and (torch.compiler.is_compiling() or bool((mean.abs() > 64 * std).any())):
        scale, middle, level = (part[..., None, None] for part in (gain / std, mean, shift))
        return torch.addcmul(level, features - middle, scale).to(features.dtype)
    return renormalized(features, mean, std, gain, shift)


def _by_bands(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and population variance of one image's channels, (C,), from bands of its rows.

    On a processor PyTorch's general sums take three times as long as the statistics that it has for
    batch norms; but with channels last those add a whole map one by one. So each band has its own,
    in float32, and they are merged (Chan, Golub & LeVeque).
    """
    exact = dtype_of_sums(maps)
    bands = maps[None].split(max(1, BAND // maps.shape[2]), dim=2)
    # Means and variances to be updated, by nothing: they say in which dtype to answer.
    unused = torch.zeros(2, len(maps), dtype=exact)
    found = [torch.batch_norm_update_stats(band, unused[0], unused[1], 0.0) for band in bands]
    if len(found) == 1:
        return found[0]
    mean, variance = (torch.stack(parts).double() for parts in zip(*found, strict=True))
    share = torch.tensor([band.shape[2] for band in bands]).double()[:, None] / maps.shape[1]
    whole = (share * mean).sum(dim=0)
    spread = (share * (variance + (mean - whole).square())).sum(dim=0)
    return whole.to(exact), spread.to(exact)


# --------------------------------------------------------------------------------------- Triton


@Kernel
def tile_moments(values, inside, count):
    """Return mean and sum of squared deviations of each column of a tile (pixels, channels)."""
    filled = tl.maximum(count, 1)
    mean = tl.sum(values, axis=0) / filled
    centred = tl.where(inside, values - mean[None, :], 0.0)  # outside, 0 − mean is not 0
    # What rounding left in the mean shows now, without the mean itself in the way.
    rest = tl.sum(centred, axis=0) / filled
    square = tl.sum(centred * centred, axis=0) - filled * rest * rest
    return mean + rest, tl.where(square < 0, 0.0, square)  # rounded below 0, its root would be NaN


@Kernel
def part_moments(
    features,
    means,
    squares,
    channels,
    pixels,
    width,
    chunk,
    stride_n,
    stride_c,
    stride_h,
    stride_w,
    FLAT: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Store mean and squared deviations of one part of the pixels, for a tile's channels."""
    part, n = tl.program_id(0), tl.program_id(2)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mean = tl.zeros((BLOCK_C,), tl.float32)
    square = tl.zeros((BLOCK_C,), tl.float32)
    seen = 0.0
    for first in range(0, chunk, BLOCK_P):
        start = part * chunk + first
        p = start + tl.arange(0, BLOCK_P)
        inside = (p < pixels)[:, None] & (c < channels)[None, :]
        at = offset_of(
            n, c[None, :], p[:, None], width, stride_n, stride_c, stride_h, stride_w, FLAT
        )
        values = tl.load(features + at, mask=inside, other=0.0).to(tl.float32)
        count = tl.maximum(tl.minimum(pixels - start, BLOCK_P), 0).to(tl.float32)
        tile_mean, tile_square = tile_moments(values, inside, count)
        # Chan, Golub & LeVeque: two sets' deviations, and what lies between their means.
        share = tl.where(seen == 0, 1.0, count / tl.maximum(seen + count, 1.0))
        between = tile_mean - mean
        mean += between * share
        square += tile_square + between * seen * share * between
        seen += count
    plane = n.to(tl.int64) * channels + c
    at = plane * tl.num_programs(0) + part
    tl.store(means + at, mean, mask=c < channels)
    tl.store(squares + at, square, mask=c < channels)


@Kernel
def merged_moments(means, squares, plane, there, parts, chunk, pixels, PARTS: tl.constexpr):
    """Return mean and population variance of planes, (B,), from those of their parts."""
    part = tl.arange(0, PARTS)
    at = plane[:, None] * parts + part[None, :]
    held = there[:, None] & (part < parts)[None, :]
    count = tl.minimum(pixels - part * chunk, chunk).to(tl.float32)[None, :]
    part_mean = tl.load(means + at, mask=held, other=0.0)
    # Sums of differences from the first part's mean: a large mean would round them away.
    first = tl.load(means + plane * parts, mask=there, other=0.0)
    offset = tl.where(held, part_mean - first[:, None], 0.0)
    shift = tl.sum(offset * count, axis=1) / pixels
    between = tl.where(held, offset - shift[:, None], 0.0)
    within = tl.load(squares + at, mask=held, other=0.0)
    total = tl.sum(tl.where(held, within + count * between * between, 0.0), axis=1)
    return first + shift, total / pixels


@Kernel
def plane_moments(values, inside, mean, std, plane, there, pixels, eps, WHOLE: tl.constexpr):
    """Return mean and deviation of a tile's planes: its own where it holds them, else those found."""
    if WHOLE:
        found, square = tile_moments(values, inside, pixels * 1.0)
        spread = tl.sqrt(square / pixels + eps)
    else:
        found = tl.load(mean + plane, mask=there, other=0.0)
        spread = tl.load(std + plane, mask=there, other=1.0)
    return found, spread


@Kernel
def finish(
    means,
    squares,
    mean,
    std,
    planes,
    parts,
    chunk,
    pixels,
    eps,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Store mean and standard deviation of a block of planes."""
    plane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    there = plane < planes
    found, variance = merged_moments(means, squares, plane, there, parts, chunk, pixels, PARTS)
    tl.store(mean + plane, found, mask=there)
    tl.store(std + plane, tl.sqrt(variance + eps), mask=there)


def in_triton(features: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Compute :func:`moments` with Triton: those of parts, then their merger."""
    images, channels, height, width = features.shape
    tiles = tiles_for(features, 4096, each=16)  # large: each tile is summed three times over
    across = -(-channels // tiles.channels)
    parts, chunk = parts_of(height * width, tiles.pixels, images * across)
    means = features.new_empty((images, channels, parts), dtype=torch.float32)
    squares = torch.empty_like(means)
    part_moments.launch(
        (parts, across, images),
        features,
        means,
        squares,
        channels,
        height * width,
        width,
        chunk,
        *strides_of(features),
        **tiles.options,
    )
    mean = features.new_empty((images, channels), dtype=torch.float32)
    std = torch.empty_like(mean)
    planes, held = images * channels, power_of_two(parts)
    block = max(1, 2048 // held)
    finish.launch(
        (-(-planes // block),),
        means,
        squares,
        mean,
        std,
        planes,
        parts,
        chunk,
        height * width,
        eps,
        PARTS=held,
        BLOCK=block,
        num_warps=4,
    )
    return mean, std


def launch_moments(
    features: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tiles, dict[str, int | bool]]:
    """Prepare :func:`plane_moments` for a kernel that goes on from there.

    Where tiles can hold whole planes nothing is launched: that kernel is the only one. Returns its
    ``mean`` and ``std``, the tiles, and its options.
    """
    if tiles := whole_tiles_for(features):
        return features, features, tiles, {"WHOLE": True, **tiles.options}  # neither is read
    mean, std = in_triton(features, eps)
    tiles = tiles_for(features)
    return mean, std, tiles, {"WHOLE": False, **tiles.options}


# ------------------------------------------------------------------------ operator and gradient

_moments = operator("moments", reference, in_triton)


def _shapes(features: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    empty = features.new_empty(features.shape[:2], dtype=dtype_of_sums(features))
    return empty, torch.empty_like(empty)


def _save(ctx: Any, inputs: tuple[Tensor, float], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(inputs[0], *output)


def _gradient(ctx: Any, of_mean: Tensor, of_std: Tensor) -> tuple[Tensor, None]:
    """∂μ/∂x = 1/P and ∂σ/∂x = (x − μ) / (P·σ), for P positions."""
    features, mean, std = ctx.saved_tensors
    pixels = features[0, 0].numel()
    slope = (of_std / (pixels * std))[..., None, None]
    level = (of_mean / pixels)[..., None, None]
    gradient = torch.addcmul(level, features - mean[..., None, None], slope)
    return gradient.to(features.dtype), None


_moments.register_fake(_shapes)
_moments.register_autograd(_gradient, setup_context=_save)


def through_moments(gradient: Tensor, normalized: Tensor, std: Tensor) -> Tensor:
    r"""Return the gradient of the maps, from that of their normalised selves x̂ = (x − μ) / σ.

    .. math:: \frac1\sigma \left(g - \operatorname{mean} g - \hat x \operatorname{mean}(g\,\hat x)\right)

    since μ and σ move with each x. All (N, C, H, W), but ``std`` (N, C, 1, 1).
    """
    level = gradient.mean(dim=(2, 3), keepdim=True)
    slope = (gradient * normalized).mean(dim=(2, 3), keepdim=True)
    return (gradient - level - normalized * slope) / std


def moments(features: Tensor, eps: float = 1e-8) -> tuple[Tensor, Tensor]:
    r"""Return the mean and the standard deviation of each channel over its positions.

    .. math:: \mu_c = \frac1{HW}\sum_p F_{cp}, \qquad
              \sigma_c = \sqrt{\frac1{HW}\sum_p (F_{cp} - \mu_c)^2 + \varepsilon}

    The population variance, with ε inside the root: a map of one position gives √ε and no NaN, and
    the gradient is finite where a channel is constant.

    Args:
        features: ``(N, C, H, W)`` in float16, bfloat16, float32 or float64, in any layout.
        eps: ε, at least 0.

    Returns:
        Two tensors ``(N, C)``, in float32, or in float64 for float64.

    Raises:
        TypeError, ValueError: no such maps, or a negative ``eps``.

    Bytes moved:
        The maps once. Deviations are taken from the mean, never as E[x²] − E[x]², which cancels.

    Example:
        >>> mean, std = moments(torch.tensor([[[[1.0, 3.0]]]]))
        >>> mean.item(), std.item()
        (2.0, 1.0)

    Reference:
        Huang & Belongie, Arbitrary Style Transfer in Real-time with AdaIN, 2017, eq. 5 and 6; Chan,
        Golub & LeVeque, Algorithms for Computing the Sample Variance, 1983.
    """
    check_maps(features)
    mean, std = _moments(features, check_eps(eps))
    return mean, std
