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
    argument: str,
    value: Tensor,
    wanted: tuple[int, ...],
    maps: Tensor,
    free: tuple[int, ...],
    beside: str = "content",
) -> Tensor:
    """Return ``value`` expanded to a shape; along the axes ``free`` a size of 1 may stand for any.

    Raises:
        TypeError: no floating-point tensor.
        ValueError: another shape, or another device than that of ``maps``, which are ``beside``.
    """
    if not isinstance(value, Tensor) or not value.is_floating_point():
        found = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{argument} is {found}; it must be a floating-point tensor")
    fits = value.ndim == len(wanted) and all(
        have == want or (have == 1 and axis in free)
        for axis, (have, want) in enumerate(zip(value.shape, wanted, strict=True))
    )
    if not fits:
        one = ", or 1 for " + " or ".join("NCHW"[axis] for axis in free) if free else ""
        raise ValueError(
            f"{argument} has shape {tuple(value.shape)}; beside {beside} it must be {wanted}{one}"
        )
    if value.device != maps.device:
        raise ValueError(f"{argument} is on {value.device}; {beside} is on {maps.device}")
    return value.expand(wanted)


def check_eps(eps: float) -> float:
    """Return ``eps``, or raise ValueError where it is below 0 or no number."""
    if not eps >= 0:
        raise ValueError(f"eps is {eps!r}; it must be at least 0")
    return float(eps)


def dtype_of_sums(values: Tensor) -> torch.dtype:
    """Return the type that sums of such values are taken in: float32, or float64 for float64."""
    return torch.float64 if values.dtype == torch.float64 else torch.float32


def float32_at_least(values: Tensor) -> Tensor:
    """Return ``values`` in the type that sums are taken in."""
    return values.to(dtype_of_sums(values))
