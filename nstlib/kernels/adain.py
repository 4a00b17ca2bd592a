r"""Adaptive instance normalisation: a photo's features with the style's mean and deviation.

Bytes: the maps once and the result once where a tile holds whole planes (then it is one launch),
else the maps twice: nothing can be normalised before all of it was seen.
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
    float32_at_least,
)
from nstlib.kernels.backend import Kernel, like_its_maps, operator, tl
from nstlib.kernels.moments import (
    launch_moments,
    moments,
    plane_moments,
    renormalized_exactly,
    through_moments,
)
from nstlib.kernels.moments import reference as moments_reference
from nstlib.kernels.tiles import offset_of, strides_of

# ------------------------------------------------------------------------------------ reference


def reference(
    content: Tensor,
    style_mean: Tensor,
    style_std: Tensor,
    alpha: Tensor,
    mask: Tensor | None,
    eps: float,
) -> Tensor:
    """Compute :func:`adain` with PyTorch; the style's statistics are (N, C), alpha is (N,)."""
    mean, std = moments_reference(content, eps)
    if mask is None:
        # Part of the style is a spread and a mean between the two pictures'.
        part = alpha[:, None]
        between = (torch.lerp(mean, style_mean, part), torch.lerp(std, style_std, part))
        styled = renormalized_exactly(content, mean, std, *reversed(between))
        # A compiled graph cannot ask what alpha is.
        if torch.compiler.is_compiling() or 0 in alpha:
            return torch.where(part[..., None, None] == 0, content, styled)
        return styled
    values = float32_at_least(content)
    mean, std = mean[..., None, None], std[..., None, None]
    scale = style_std[..., None, None] / std
    styled = torch.addcmul(style_mean[..., None, None], values - mean, scale)
    return torch.lerp(values, styled, alpha[:, None, None, None] * mask).to(content.dtype)


# --------------------------------------------------------------------------------------- Triton


@Kernel
def restyle(
    content,
    out,
    style_mean,
    style_std,
    alpha,
    mask,
    mean,
    std,
    channels,
    pixels,
    width,
    eps,
    mean_n,
    mean_c,
    std_n,
    std_c,
    alpha_n,
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
    mask_n,
    mask_c,
    mask_h,
    mask_w,
    MASK_FLAT: tl.constexpr,
    MASKED: tl.constexpr,
    WHOLE: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Normalise a tile by its own statistics, give it the style's, and blend."""
    n = tl.program_id(2)
    p = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    there = c < channels
    inside = (p < pixels)[:, None] & there[None, :]
    at = offset_of(n, c[None, :], p[:, None], width, stride_n, stride_c, stride_h, stride_w, FLAT)
    values = tl.load(content + at, mask=inside, other=0.0).to(tl.float32)
    plane = n.to(tl.int64) * channels + c
    level, spread = plane_moments(values, inside, mean, std, plane, there, pixels, eps, WHOLE)
    image, channel = n.to(tl.int64), c.to(tl.int64)
    wanted_mean = tl.load(style_mean + image * mean_n + channel * mean_c, mask=there, other=0.0)
    wanted_std = tl.load(style_std + image * std_n + channel * std_c, mask=there, other=0.0)
    scale = wanted_std / spread
    styled = (values - level[None, :]) * scale[None, :] + wanted_mean[None, :]
    amount = tl.load(alpha + image * alpha_n)
    if MASKED:
        at = offset_of(n, 0, p, width, mask_n, mask_c, mask_h, mask_w, MASK_FLAT)
        share = tl.load(mask + at, mask=p < pixels, other=0.0).to(tl.float32)
        amount = (amount * share)[:, None]
    blended = values * (1.0 - amount) + styled * amount  # exact at both ends
    at = offset_of(n, c[None, :], p[:, None], width, to_n, to_c, to_h, to_w, TO_FLAT)
    tl.store(out + at, blended.to(out.dtype.element_ty), mask=inside)


def in_triton(
    content: Tensor,
    style_mean: Tensor,
    style_std: Tensor,
    alpha: Tensor,
    mask: Tensor | None,
    eps: float,
) -> Tensor:
    """Compute :func:`adain` with Triton."""
    images, channels, height, width = content.shape
    mean, std, tiles, options = launch_moments(content, eps)
    out = torch.empty_like(content)
    strides = strides_of(content)
    restyle.launch(
        (-(-height * width // tiles.pixels), -(-channels // tiles.channels), images),
        content,
        out,
        style_mean,
        style_std,
        alpha,
        content if mask is None else mask,
        mean,
        std,
        channels,
        height * width,
        width,
        eps,
        *style_mean.stride(),
        *style_std.stride(),
        *alpha.stride(),
        *strides,
        *strides_of(out),
        *(strides if mask is None else strides_of(mask)),
        MASKED=mask is not None,
        **options,
    )
    return out


# ------------------------------------------------------------------------ operator and gradient

_adain = operator("adain", reference, in_triton)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _gradient(ctx: Any, of_out: Tensor) -> tuple[Tensor | None, ...]:
    """With x̂ = (x − μ)/σ and a = α·mask, y = (1 − a)·x + a·(x̂·σₛ + μₛ), each in turn."""
    content, style_mean, style_std, alpha, mask = ctx.saved_tensors
    of_out, values = of_out.to(style_mean.dtype), float32_at_least(content)
    mean, std = (part[..., None, None] for part in moments(content, ctx.eps))
    normalized = (values - mean) / std
    wanted_std = style_std[..., None, None]
    amount = alpha[:, None, None, None] * (1 if mask is None else mask)
    of_styled = of_out * amount
    of_content = of_out * (1 - amount)
    of_content = of_content + through_moments(of_styled * wanted_std, normalized, std)
    of_mean = of_styled.sum(dim=(2, 3))
    of_std = (of_styled * normalized).sum(dim=(2, 3))
    of_alpha = of_mask = None
    if ctx.needs_input_grad[3] or ctx.needs_input_grad[4]:
        styled = normalized * wanted_std + style_mean[..., None, None]
        of_amount = (of_out * (styled - values)).sum(dim=1, keepdim=True)  # (N, 1, H, W)
        of_alpha = (of_amount if mask is None else of_amount * mask).sum(dim=(1, 2, 3))
        if mask is not None:
            of_mask = (of_amount * alpha[:, None, None, None]).to(mask.dtype)
    return of_content.to(content.dtype), of_mean, of_std, of_alpha, of_mask, None


_adain.register_fake(like_its_maps)
_adain.register_autograd(_gradient, setup_context=_save)


def adain(
    content: Tensor,
    style_mean: Tensor,
    style_std: Tensor,
    alpha: float | Tensor = 1.0,
    mask: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    r"""Give each channel of the content the mean and deviation that it has in the style.

    .. math:: y = (1 - a)\,x + a \left(\sigma_s\,\frac{x - \mu}{\sigma} + \mu_s\right),
              \qquad a = \alpha \cdot \text{mask}

    Args:
        content: ``(N, C, H, W)`` in float16, bfloat16, float32 or float64, in any layout.
        style_mean, style_std: ``(N, C)``, or ``(1, C)`` for all images: what
            :func:`~nstlib.kernels.moments` returns for the style.
        alpha: how much of the style, 0 … 1: a number, or ``(N,)``, one for each image.
        mask: ``(N, 1, H, W)`` in [0, 1], how much of it where; a 1 stands for any N, H or W.
        eps: added to the content's variance.

    Returns:
        The content's shape, dtype and layout. Where alpha is 0, finite content stays, bit for bit.

    Raises:
        TypeError, ValueError: no such tensors.

    Bytes moved:
        Content and result once where a tile holds whole planes, of 16,384 positions at most (fewer
        in a crop, or with channels last: ``tiles.whole_tiles_for``); the content twice beyond.

    Precision:
        Statistics and arithmetic are in float32; a constant channel becomes the style's mean.

    Example:
        >>> content = torch.tensor([[[[1.0, 3.0]]]])
        >>> adain(content, torch.tensor([[10.0]]), torch.tensor([[5.0]]), eps=0)
        tensor([[[[ 5., 15.]]]])

    Reference:
        Huang & Belongie, Arbitrary Style Transfer in Real-time with AdaIN, 2017, eq. 8 and 14.
    """
    check_maps(content, "content")
    images, channels, height, width = content.shape
    shape = (images, channels)
    exact = dtype_of_sums(content)
    style_mean = check_like("style_mean", style_mean, shape, content, (0,)).to(exact)
    style_std = check_like("style_std", style_std, shape, content, (0,)).to(exact)
    if not isinstance(alpha, Tensor):
        alpha = torch.full((1,), float(alpha), dtype=exact, device=content.device)
    alpha = check_like("alpha", alpha, (images,), content, (0,)).to(exact)
    if mask is not None:
        plane = (images, 1, height, width)
        mask = check_like("mask", mask, plane, content, (0, 2, 3)).to(exact)
    styled: Tensor = _adain(content, style_mean, style_std, alpha, mask, check_eps(eps))
    return styled
