"""Gaussians: statistics by definition, and maps that give one the covariance of another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nstlib.gaussians import covariance_of, root_of, transport, whitening

CARRIERS = [transport, whitening]


def covariances(size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.randn(2, 5, size, 2 * size, generator=generator, dtype=torch.float64)
    return one @ one.mT, other @ other.mT


def test_statistics_are_those_of_their_definition() -> None:
    vectors = torch.randn(2, 4, 50, dtype=torch.float64) + 100
    mean, covariance = covariance_of(vectors)
    for i in range(2):
        assert torch.allclose(mean[i], vectors[i].mean(1))
        assert torch.allclose(covariance[i], torch.cov(vectors[i], correction=0))


def test_weights_count_vectors_as_if_they_were_so_many() -> None:
    vectors = torch.randn(1, 3, 6, dtype=torch.float64)
    counts = torch.tensor([[1, 2, 0, 3, 1, 1], [0, 0, 4, 1, 1, 0]])
    found = covariance_of(vectors, counts / counts.sum(dim=1, keepdim=True, dtype=torch.float64))
    for i, count in enumerate(counts):
        repeated = covariance_of(vectors[0].repeat_interleave(count, dim=1)[None])
        for one, other in zip(found, repeated, strict=True):
            assert torch.allclose(one[i], other[0])


@pytest.mark.parametrize("size", [1, 3, 6])
def test_a_root_is_symmetric_and_its_square_the_covariance(size: int) -> None:
    covariance, _ = covariances(size)
    root = root_of(covariance)
    assert torch.allclose(root, root.mT)
    assert torch.allclose(root @ root, covariance)


@pytest.mark.parametrize("carry", CARRIERS)
@pytest.mark.parametrize("size", [1, 3, 6])
def test_one_covariance_becomes_the_other(carry: Callable[..., Tensor], size: int) -> None:
    one, other = covariances(size)
    linear = carry(one, root_of(other))
    assert torch.allclose(linear @ one @ linear.mT, other)


def test_transport_is_symmetric_and_moves_less_than_whitening() -> None:
    one, other = covariances(4)
    linear, by_way_of_white = (carry(one, root_of(other)) for carry in CARRIERS)
    assert torch.allclose(linear, linear.mT)
    eye = torch.eye(4, dtype=torch.float64)

    def moved(by: Tensor) -> Tensor:  # E‖Av − v‖² over vectors of the first covariance
        return ((by - eye) @ one @ (by - eye).mT).diagonal(dim1=-2, dim2=-1).sum(-1)

    assert bool((moved(linear) < moved(by_way_of_white) - 1e-6).all())
    distance = (one + other - 2 * root_of(root_of(one) @ other @ root_of(one))).diagonal(
        dim1=-2, dim2=-1
    )
    assert torch.allclose(moved(linear), distance.sum(-1)), "the distance of Olkin & Pukelsheim"


def test_whitening_is_linear_in_the_wanted_root() -> None:
    one, other = covariances(4)[0], root_of(covariances(4)[1])
    third = root_of(covariances(4, seed=1)[0])
    mixed = whitening(one, 0.3 * other + 0.7 * third)
    assert torch.allclose(mixed, 0.3 * whitening(one, other) + 0.7 * whitening(one, third))


@pytest.mark.parametrize("carry", CARRIERS)
def test_channels_that_know_nothing_of_each_other_get_their_own_deviation(
    carry: Callable[..., Tensor],
) -> None:
    one, other = (
        torch.diag(torch.tensor([1.0, 2.0, 4.0])),
        torch.diag(torch.tensor([3.0, 1.0, 2.0])),
    )
    assert torch.allclose(carry(one @ one, other), torch.diag(torch.tensor([3.0, 0.5, 0.5])))


@pytest.mark.parametrize("carry", CARRIERS)
@pytest.mark.parametrize("flat", [(0.0, 1.0), (0.0, 0.0), (1e-17, 1.0), (1e-17, 1e-17)])
def test_a_direction_without_deviation_has_none_afterwards(
    carry: Callable[..., Tensor], flat: tuple[float, float]
) -> None:
    covariance = torch.diag(torch.tensor(flat, dtype=torch.float64).square())
    linear = carry(covariance, torch.eye(2, dtype=torch.float64))
    assert torch.allclose(linear, torch.diag(torch.tensor([0.0, float(flat[1] == 1)]).double()))


@pytest.mark.parametrize("carry", CARRIERS)
def test_maps_of_many_channels_lose_no_direction(carry: Callable[..., Tensor]) -> None:
    """256 channels, as at relu3_1: no direction of a hundredth of the largest deviation collapses."""
    generator = torch.Generator().manual_seed(0)
    one, other = (
        torch.linalg.qr(torch.randn(256, 256, generator=generator, dtype=torch.float64))[0]
        for _ in range(2)
    )
    spread = torch.logspace(0.5, -2, 256, dtype=torch.float64).square()
    covariance, wanted = (axes @ torch.diag(spread) @ axes.T for axes in (one, other))
    linear = carry(covariance, root_of(wanted))
    made = linear @ covariance @ linear.T
    assert (made - wanted).norm() < 1e-3 * wanted.norm()
    least = 1e-4 * spread.max()
    assert (torch.linalg.eigvalsh(made) > 0.25 * least).sum() >= (spread > least).sum() > 150


def test_transport_gives_greys_what_goes_with_them() -> None:
    """Vectors along one line are moved to what the others regress on, with the target's spread."""
    line = torch.ones(3, dtype=torch.float64) / 3**0.5
    _, (wanted, *_) = covariances(3)
    moved = transport(0.04 * torch.outer(line, line), root_of(wanted)) @ (0.2 * line)
    toward = wanted @ line
    assert torch.allclose(moved / moved.norm(), toward / toward.norm())
    assert (moved @ torch.linalg.solve(wanted, moved)).item() == pytest.approx(1), (
        "on its ellipsoid"
    )


@pytest.mark.parametrize("carry", CARRIERS)
def test_a_target_without_deviation_leaves_none(carry: Callable[..., Tensor]) -> None:
    one, _ = covariances(3)
    assert torch.equal(carry(one, torch.zeros(3, 3).double()), torch.zeros(5, 3, 3).double())
