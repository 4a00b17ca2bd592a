"""Mean and deviation against float64, in every layout; cancellation, constants, single pixels."""

from __future__ import annotations

import os

import pytest
import torch
from proof import DEVICE, Subject, draw, maps_of
from torch import Tensor

from nstlib import kernels


def oracle(features: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    flat = features.flatten(2)
    mean = flat.sum(2) / flat.shape[2]
    return mean, (((flat - mean[..., None]) ** 2).sum(2) / flat.shape[2] + eps).sqrt()


SUBJECT = Subject(
    name="moments",
    inputs=lambda case: [maps_of(case)],
    call=lambda kernels, features, eps: kernels.moments(features, eps),
    oracle=oracle,
    options={"eps 1e-8": {"eps": 1e-8}, "eps 0.1": {"eps": 0.1}},
    magnitude=lambda features, eps: features.double().nan_to_num().abs().mean().item(),
    sums=True,
)


def test_a_small_spread_around_a_large_mean_does_not_cancel() -> None:
    """E[x²] − E[x]² in float32 is −8 here: its numbers are 10⁸, and 1 in 10⁷ of them is lost."""
    features = (draw(1, 2, 64, 64) + 1e4).float().to(DEVICE)
    mean, std = kernels.moments(features)
    flat = features.double().flatten(2)
    assert (std.double() / flat.std(2, correction=0) - 1).abs().max() < 1e-6
    assert (mean.double() / flat.mean(2) - 1).abs().max() < 1e-7
    naive = features.square().mean((2, 3)) - features.mean((2, 3)).square()
    assert (naive - 1).abs().max() > 0.5, "the formula that is avoided fails here"


IN_THE_INTERPRETER = os.environ.get("TRITON_INTERPRET") == "1"


@pytest.mark.skipif(IN_THE_INTERPRETER, reason="Triton's interpreter takes minutes for so many")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_large_photo_s_maps_are_not_summed_one_by_one(layout: torch.memory_format) -> None:
    """In float32, a sum that has come to 2²⁴ takes no further 1: four million stop at half."""
    maps = (1 + draw(1, 4, 2048, 2048)).to(DEVICE, memory_format=layout)
    mean, std = kernels.moments(maps)
    exact = maps.double()
    assert torch.allclose(mean.double(), exact.mean(dim=(2, 3)), rtol=0, atol=2e-6)
    assert torch.allclose(std.double(), exact.std(dim=(2, 3), correction=0), rtol=0, atol=2e-6)


@pytest.mark.skipif(IN_THE_INTERPRETER, reason="what is banded is the sum on a processor")
@pytest.mark.parametrize("size", [(3, 40_000), (40_000, 3), (16_385, 1)])
def test_bands_of_any_shape_are_merged(size: tuple[int, int]) -> None:
    maps = draw(2, 3, *size).to(DEVICE) * 3 + 5
    mean, std = kernels.moments(maps)
    exact = maps.double()
    assert torch.allclose(mean.double(), exact.mean(dim=(2, 3)), rtol=0, atol=1e-5)
    assert torch.allclose(std.double(), exact.std(dim=(2, 3), correction=0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_constant_plane_has_no_spread(dtype: torch.dtype) -> None:
    features = torch.full((1, 2, 61, 67), 0.7, dtype=dtype, device=DEVICE)
    mean, std = kernels.moments(features, eps=1e-8)
    assert torch.equal(mean, features[:, :, 0, 0].float())
    torch.testing.assert_close(std, torch.full_like(std, 1e-4))


def test_one_pixel_has_the_spread_of_eps_and_a_gradient_of_zero() -> None:
    features = torch.tensor([[[[3.0]]]], device=DEVICE, requires_grad=True)
    mean, std = kernels.moments(features, eps=1e-4)
    assert (mean.item(), std.item()) == (3.0, pytest.approx(0.01))
    (gradient,) = torch.autograd.grad(std.sum(), features)
    assert gradient.item() == 0


def test_population_variance() -> None:
    features = torch.tensor([1.0, 3.0], device=DEVICE).view(1, 1, 1, 2)
    assert kernels.moments(features, eps=0)[1].item() == 1.0  # with Bessel's correction: 1.41


def test_a_negative_eps_is_refused() -> None:
    with pytest.raises(ValueError, match="eps is -1; it must be at least 0"):
        kernels.moments(torch.zeros(1, 1, 2, 2), eps=-1)
