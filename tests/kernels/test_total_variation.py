"""Total variation and its gradient against float64: edges of the picture, of a row, of a tile."""

from __future__ import annotations

import pytest
import torch
from proof import DEVICE, Subject, draw, laid_out, maps_of
from torch import Tensor

from nstlib import kernels


def oracle(image: Tensor, power: int) -> Tensor:
    total = image.new_zeros(())
    if image.shape[2] > 1:
        total = total + (image[:, :, 1:] - image[:, :, :-1]).abs().pow(power).mean()
    if image.shape[3] > 1:
        total = total + (image[..., 1:] - image[..., :-1]).abs().pow(power).mean()
    return total


SUBJECT = Subject(
    name="total_variation",
    inputs=lambda case: [maps_of(case)],
    call=lambda kernels, image, power: kernels.total_variation(image, power),
    oracle=oracle,
    options={"absolute": {"power": 1}, "squared": {"power": 2}},
    sums=True,
    own_gradient=True,
)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "crop"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 2), (3, 5)])
def test_thin_pictures(size: tuple[int, int], layout: str) -> None:
    image = laid_out(draw(2, 3, *size).float().to(DEVICE), layout)
    twin = image.double().requires_grad_()
    image = image.requires_grad_()
    found, exact = kernels.total_variation(image), oracle(twin, 1)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-7)
    (gradient,) = torch.autograd.grad(found, image)
    if size != (1, 1):
        (wanted,) = torch.autograd.grad(exact, twin)
        torch.testing.assert_close(gradient.double(), wanted, rtol=1e-5, atol=1e-7)
    else:
        assert not gradient.any()


def test_the_gradient_survives_half_precision() -> None:
    """1 / 10⁶ is nothing in float16, but a scaled loss brings it back: the slopes are kept near 1."""
    image = draw(1, 1, 512, 512).half().to(DEVICE).requires_grad_()
    scaled = kernels.total_variation(image) * 2.0**18
    (gradient,) = torch.autograd.grad(scaled, image)
    twin = image.detach().double().requires_grad_()
    (wanted,) = torch.autograd.grad(oracle(twin, 1) * 2.0**18, twin)
    torch.testing.assert_close(gradient.double(), wanted, rtol=2e-3, atol=2e-3)
