"""What the kernels ask of their arguments, and the type that their sums are taken in."""

from __future__ import annotations

import torch
from torch import Tensor


def check_maps(features: Tensor, argument: str = "features") -> None:
    """Raise TypeError or ValueError unless ``features`` is a floating-point (N, C, H, W)."""
    if not isinstance(features, Tensor) or not features.is_floating_point():
        found = features.dtype if isinstance(features, Tensor) else type(features).__name__
        raise TypeError(f"{argument} is {found}; it must be a floating-point tensor")
    if features.ndim != 4 or features.numel() == 0:
        raise ValueError(
            f"{argument} has shape {tuple(features.shape)}; it must be (N, C, H, W), not empty"
        )


def check_like(
    argument: str, value: Tensor, wanted: tuple[int, ...], beside: str, device: torch.device
) -> Tensor:
    """Return ``value`` expanded to a shape; a size of 1 may stand for any.

    Raises:
        TypeError: no floating-point tensor.
        ValueError: a shape that does not expand to ``wanted``, or another device.
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        found = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{argument} is {found}; it must be a floating-point tensor")
    pairs = zip(value.shape, wanted, strict=False)
    if value.ndim != len(wanted) or any(have not in (1, want) for have, want in pairs):
        raise ValueError(
            f"{argument} has shape {tuple(value.shape)}; beside {beside} it must be {wanted}, "
            "or 1 where all are alike"
        )
    if value.device != device:
        raise ValueError(f"{argument} is on {value.device}; {beside} is on {device}")
    return value.expand(wanted)


def float32_at_least(values: Tensor) -> Tensor:
    """Return ``values`` in the type that sums are taken in: float32, or float64 as it is."""
    return values if values.dtype == torch.float64 else values.float()
