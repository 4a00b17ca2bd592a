r"""Instance normalisation with its usual company: an affine map, a ReLU, a residual.

Bytes: the maps once, the residual once and the result once where a tile holds whole planes (then it
is one launch), else the maps twice. PyTorch alone launches for each of the three, and each reads and
writes the maps again.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nstlib.kernels.arguments import (
    check_eps,
    check_like,
    check_maps,
    dtype_of_sums,
)
from nstlib.kernels.backend import Kernel, like_its_maps, operator, tl
from nstlib.kernels.moments import launch_moments, moments, plane_moments, renormalized
from nstlib.kernels.moments import reference as moments_reference
from nstlib.kernels.tiles import offset_of, strides_of

# ------------------------------------------------------------------------------------ reference


def reference(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None,
    relu: bool,
    eps: float,
) -> Tensor:
    """Compute :func:`instance_norm` with PyTorch; weight and bias are (N, C)."""
    out = renormalized(features, *moments_reference(features, eps), weight, bias)
    if relu:
        out = out.relu_()
    if residual is not None:
        out = out.add_(residual)
    return out


# --------------------------------------------------------------------------------------- Triton


@Kernel
def normalize(
    features,
    out,
    weight,
    bias,
    residual,
    mean,
    std,
    channels,
    pixels,
    width,
    eps,
    weight_n,
    weight_c,
    bias_n,
    bias_c,
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
    more_n,
    more_c,
    more_h,
    more_w,
    MORE_FLAT: tl.constexpr,
    RELU: tl.constexpr,
    RESIDUAL: tl.constexpr,
    WHOLE: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Normalise a tile, then scale and shift, then cut below zero, then add the residual."""
    n = tl.program_id(2)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    there = c < channels
    inside = (p < pixels)[:, None] & there[None, :]
    at = offset_of(n, c[None, :], p[:, None], width, stride_n, stride_c, stride_h, stride_w, FLAT)
    values = tl.load(features + at, mask=inside, other=0.0).to(tl.float32)
    plane = n.to(tl.int64) * channels + c
    level, spread = plane_moments(values, inside, mean, std, plane, there, pixels, eps, WHOLE)
    image, channel = n.to(tl.int64), c.to(tl.int64)
    gain = tl.load(weight + image * weight_n + channel * weight_c, mask=there, other=0.0)
    shift = tl.load(bias + image * bias_n + channel * bias_c, mask=there, other=0.0)
    scale = gain / spread
    result = (values - level[None, :]) * scale[None, :] + shift[None, :]
    if RELU:
        result = tl.where(result < 0, 0.0, result)  # NaN stays NaN
    if RESIDUAL:
        at = offset_of(n, c[None, :], p[:, None], width, more_n, more_c, more_h, more_w, MORE_FLAT)
        result += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    at = offset_of(n, c[None, :], p[:, None], width, to_n, to_c, to_h, to_w, TO_FLAT)
    tl.store(out + at, result.to(out.dtype.element_ty), mask=inside)


def in_triton(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None,
    relu: bool,
    eps: float,
) -> Tensor:
    """Compute :func:`instance_norm` with Triton."""
    images, channels, height, width = features.shape
    mean, std, tiles, options = launch_moments(features, eps)
    out = torch.empty_like(features)
    strides = strides_of(features)
    normalize.launch(
        (-(-height * width // tiles.pixels), -(-channels // tiles.channels), images),
        features,
        out,
        weight,
        bias,
        features if residual is None else residual,
        mean,
        std,
        channels,
        height * width,
        width,
        eps,
        *weight.stride(),
        *bias.stride(),
        *strides,
        *strides_of(out),
        *(strides if residual is None else strides_of(residual)),
        RELU=relu,
        RESIDUAL=residual is not None,
        **options,
    )
    return out


# ------------------------------------------------------------------------ operator and gradient

_instance_norm = operator("instance_norm", reference, in_triton)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    features, weight, bias, residual, ctx.relu, ctx.eps = inputs
    ctx.residual_dtype = None if residual is None else residual.dtype
    # Where nothing was added after the ReLU, the result itself says what the ReLU let through.
    seen = output if ctx.relu and residual is None else None
    ctx.save_for_backward(features, weight, bias, seen)


def _gradient(ctx: Any, of_out: Tensor) -> tuple[Tensor | None, ...]:
    """Of y = relu(x̂·γ + β) + r, with x̂ = (x − μ)/σ: the ReLU lets through where it was positive."""
    features, weight, bias, out = ctx.saved_tensors
    of_residual = None if ctx.residual_dtype is None else of_out.to(ctx.residual_dtype)
    if ctx.relu:
        if out is None:
            with torch.no_grad():  # only its sign is wanted
                out = reference(features, weight, bias, None, False, ctx.eps)
        of_out = torch.ops.aten.threshold_backward(of_out, out, 0)
    # Constants to autograd: the operator's own derivative knows that they come from the features.
    mean, std = (part.detach() for part in moments(features, ctx.eps))
    pictures = zip(of_out.split(1), features.split(1), weight, mean, 1 / std, strict=True)
    parts = [
        torch.ops.aten.native_batch_norm_backward(
            of_picture, picture, gain, None, None, level, scale, True, ctx.eps, (True, True, True)
        )
        for of_picture, picture, gain, level, scale in pictures
    ]
    of_features, of_weight, of_bias = zip(*parts, strict=True)
    return (
        torch.cat(of_features),
        torch.stack(of_weight),
        torch.stack(of_bias),
        of_residual,
        None,
        None,
    )


_instance_norm.register_fake(like_its_maps)
_instance_norm.register_autograd(_gradient, setup_context=_save)


def instance_norm(
    features: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    relu: bool = False,
    eps: float = 1e-5,
) -> Tensor:
    r"""Normalise each channel of each image; then affine, then ReLU, then add a residual.

    .. math:: y = \operatorname{relu}\left(\gamma\,\frac{x - \mu}{\sigma} + \beta\right) + r

    Args:
        features: ``(N, C, H, W)`` in float16, bfloat16, float32 or float64, in any layout.
        weight, bias: γ and β, ``(C,)``, or ``(N, C)`` where each image has its own, as in a net of
            several styles; 1 and 0 without.
        residual: r, of the features' shape; any layout and dtype.
        relu: whether negative values become 0, before the residual is added.
        eps: added to the variance.

    Returns:
        The features' shape, dtype and layout.

    Raises:
        TypeError, ValueError: no such tensors.

    Bytes moved:
        Features, residual and result once where a tile holds whole planes, of 16,384 positions at
        most (fewer in a crop, or with channels last: ``tiles.whole_tiles_for``); the features twice
        beyond.

    Precision:
        Statistics and arithmetic are in float32.

    Example:
        >>> instance_norm(torch.tensor([[[[1.0, 3.0]]]]), relu=True, eps=0)
        tensor([[[[0., 1.]]]])

    Reference:
        Ulyanov, Vedaldi & Lempitsky, Instance Normalization: The Missing Ingredient for Fast
        Stylization, 2016; Dumoulin, Shlens & Kudlur, A Learned Representation for Artistic Style,
        2017 (γ and β of each image).
    """
    check_maps(features)
    channels = features.shape[1]
    place, exact = features.device, dtype_of_sums(features)
    weight = torch.ones(1, channels, dtype=exact, device=place) if weight is None else weight
    bias = torch.zeros(1, channels, dtype=exact, device=place) if bias is None else bias
    weight, bias = (_each("weight", weight, features), _each("bias", bias, features))
    if residual is not None:
        check_maps(residual, "residual")
        if residual.shape != features.shape or residual.device != place:
            raise ValueError(
                f"residual has shape {tuple(residual.shape)} on {residual.device}; the features "
                f"have {tuple(features.shape)} on {place}"
            )
    out: Tensor = _instance_norm(
        features, weight.to(exact), bias.to(exact), residual, bool(relu), check_eps(eps)
    )
    return out


def _each(argument: str, value: Tensor, features: Tensor) -> Tensor:
    """Return (C,) or (N, C) as (N, C)."""
    rows = value[None] if isinstance(value, Tensor) and value.ndim == 1 else value
    return check_like(argument, rows, tuple(features.shape[:2]), features, (0,), "features")
