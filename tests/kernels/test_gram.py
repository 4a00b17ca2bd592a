"""Gram matrices against float64: symmetry, batches, blocks of channels, half precision."""

from __future__ import annotations

import pytest
import torch
from proof import DEVICE, Subject, draw, laid_out, maps_of
from torch import Tensor

from nstlib import kernels


def oracle(features: Tensor, normalize: str) -> Tensor:
    _, channels, height, width = features.shape
    scale = {"sum": 1, "hw": height * width, "chw": channels * height * width}[normalize]
    return torch.einsum("nihw,njhw->nij", features, features) / scale


SUBJECT = Subject(
    name="gram",
    inputs=lambda case: [maps_of(case)],
    call=lambda kernels, features, normalize: kernels.gram(features, normalize),
    oracle=oracle,
    options={name: {"normalize": name} for name in ("hw", "chw", "sum")},
    sums=True,
    rounded=True,
)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize("channels", [1, 16, 17, 65, 129])
def test_any_number_of_channels(channels: int, layout: str) -> None:
    """One block of 16, one and a bit, two of 64, and three."""
    features = laid_out(draw(2, channels, 5, 8).float().to(DEVICE), layout)
    found, exact = kernels.gram(features), oracle(features.double(), "hw")
    assert (found - exact).abs().max() <= 1e-5 * exact.abs().max()
    assert torch.equal(found, found.mT), "symmetric, bit for bit"


def test_images_are_not_mixed() -> None:
    features = draw(3, 4, 9, 11).float().to(DEVICE)
    alone = torch.cat([kernels.gram(image[None]) for image in features])
    torch.testing.assert_close(kernels.gram(features), alone)


@pytest.mark.parametrize("normalize", ["hw", "chw", "sum"])
def test_half_precision_neither_overflows_nor_vanishes(normalize: str) -> None:
    for value in (100.0, 0.004):  # sums to 4.1e7; squared and scaled, to 2e-9
        features = torch.full((1, 2, 64, 64), value, dtype=torch.float16, device=DEVICE)
        exact = oracle(features.double(), normalize)
        torch.testing.assert_close(
            kernels.gram(features, normalize).double(), exact, rtol=1e-3, atol=0
        )
