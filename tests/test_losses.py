"""Losses against float64 oracles, analytic cases and the identities between their conventions.

Each property of a Gram matrix is a function that checks an implementation, so that implementations
with a known mistake can be put through the same checks and must fail them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError
from torch.nn import functional as F

from nstlib import losses, sample, style
from nstlib.encoders import load_encoder, random_encoder
from nstlib.kernels import gram, moments, total_variation
from nstlib.losses import (
    ContentLoss,
    GramLoss,
    Normalize,
    PerceptualLoss,
    StatisticsLoss,
    statistics_distance,
)

NORMALIZATIONS: tuple[Normalize, ...] = get_args(Normalize)
GramFunction = Callable[..., Tensor]
StyleLoss = type[GramLoss] | type[StatisticsLoss]


def random_maps(
    *shape: int, seed: int = 0, dtype: torch.dtype = torch.float32, scale: float = 1.0
) -> Tensor:
    """Maps such as a ReLU gives: half of them zero, none negative."""
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(shape, generator=generator, dtype=torch.float64)).relu().to(dtype)


def in_layout(features: Tensor, layout: str) -> Tensor:
    formats = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
    return features.contiguous(memory_format=formats[layout])


# --------------------------------------------------------------------------- the Gram matrix


def gram_oracle(features: Tensor, normalize: str) -> Tensor:
    _, channels, height, width = features.shape
    scale = {"sum": 1, "hw": height * width, "chw": channels * height * width}[normalize]
    maps = features.double()
    return torch.einsum("nihw,njhw->nij", maps, maps) / scale


def check_equals_oracle(function: GramFunction) -> None:
    for normalize, layout in itertools.product(("hw", "chw", "sum"), ("nchw", "channels_last")):
        features = in_layout(random_maps(2, 5, 7, 11), layout)
        found, wanted = function(features, normalize), gram_oracle(features, normalize)
        assert found.shape == (2, 5, 5)
        assert (found - wanted).abs().max() <= 1e-6 * wanted.abs().max()


def check_images_of_a_batch_are_not_mixed(function: GramFunction) -> None:
    features = random_maps(3, 4, 6, 5)
    alone = torch.cat([function(one[None], "hw") for one in features])
    torch.testing.assert_close(function(features, "hw"), alone)


def check_symmetric_and_positive_semidefinite(function: GramFunction) -> None:
    found = function(random_maps(1, 6, 2, 2, dtype=torch.float64), "hw")  # rank 4 of 6
    assert torch.equal(found, found.mT)
    smallest, largest = torch.linalg.eigvalsh(found)[0, [0, -1]]
    assert largest > 0
    assert smallest > -1e-12 * largest


def check_blind_to_where(function: GramFunction) -> None:
    features = random_maps(1, 4, 8, 9)
    order = torch.randperm(72, generator=torch.Generator().manual_seed(0))
    shuffled = features.flatten(2)[..., order].view_as(features)
    torch.testing.assert_close(function(shuffled, "hw"), function(features, "hw"))


def check_half_precision_neither_overflows_nor_vanishes(function: GramFunction) -> None:
    large = torch.full((1, 2, 256, 256), 100.0, dtype=torch.float16)  # sums to 6.6e8
    for normalize, wanted in {"hw": 1e4, "chw": 5e3, "sum": 100.0**2 * 256**2}.items():
        torch.testing.assert_close(
            function(large, normalize).double(),
            torch.full((1, 2, 2), wanted).double(),
            rtol=1e-3,
            atol=0,
        )
    small = torch.full((1, 64, 64, 64), 0.004, dtype=torch.float16)
    wanted = gram_oracle(small, "chw").float()
    torch.testing.assert_close(function(small, "chw").float(), wanted, rtol=1e-3, atol=0)


def check_first_and_second_derivative(function: GramFunction) -> None:
    for layout in ("nchw", "channels_last"):
        features = in_layout(random_maps(2, 3, 4, 3, dtype=torch.float64), layout)
        features.requires_grad_()
        assert torch.autograd.gradcheck(lambda maps: function(maps, "chw"), features)
        assert torch.autograd.gradgradcheck(lambda maps: function(maps, "chw"), features)


CHECKS: dict[str, Callable[[GramFunction], None]] = {
    "oracle": check_equals_oracle,
    "batch": check_images_of_a_batch_are_not_mixed,
    "symmetric": check_symmetric_and_positive_semidefinite,
    "blind": check_blind_to_where,
    "half": check_half_precision_neither_overflows_nor_vanishes,
    "derivatives": check_first_and_second_derivative,
}


@pytest.mark.parametrize("check", CHECKS)
def test_gram(check: str) -> None:
    CHECKS[check](gram)


def batch_folded_into_channels(features: Tensor, normalize: str) -> Tensor:
    count, channels, height, width = features.shape
    flat = features.reshape(count * channels, height * width)
    scale = {"sum": 1, "hw": height * width, "chw": channels * height * width}[normalize]
    return (flat @ flat.mT / scale).view(count, channels, -1)[..., :channels]


def never_scaled(features: Tensor, normalize: str) -> Tensor:
    return gram(features, "sum")


def batch_in_the_scale(features: Tensor, normalize: str) -> Tensor:
    return gram(features, normalize) / len(features)  # type: ignore[arg-type]


def positions_instead_of_channels(features: Tensor, normalize: str) -> Tensor:
    flat = features.flatten(2)
    return (flat.mT @ flat)[:, : features.shape[1], : features.shape[1]]


def neighbours_multiplied(features: Tensor, normalize: str) -> Tensor:
    flat = features.flatten(2)
    return flat @ flat.roll(1, dims=2).mT / flat.shape[2]


def divided_after_a_half_product(features: Tensor, normalize: str) -> Tensor:
    return (
        gram_oracle(features, normalize).to(features.dtype)
        if features.dtype != torch.half
        else (features.flatten(2) @ features.flatten(2).mT / features[0, 0].numel())
    )


def scaled_in_half_before_the_product(features: Tensor, normalize: str) -> Tensor:
    flat = features.flatten(2)
    scale = {"sum": 1, "hw": flat.shape[2], "chw": flat[0].numel()}[normalize]
    flat = flat * scale**-0.5
    return flat @ flat.mT


class _HalfTheGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, flat: Tensor) -> Tensor:
        ctx.save_for_backward(flat)
        return flat @ flat.mT

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (flat,) = ctx.saved_tensors
        result: Tensor = gradient @ flat  # and Dᵀ·F is forgotten
        return result


def half_the_gradient(features: Tensor, normalize: str) -> Tensor:
    product: Tensor = _HalfTheGradient.apply(features.flatten(2))
    return product


def covariance(features: Tensor, normalize: str) -> Tensor:
    return gram(features - features.mean(dim=(2, 3), keepdim=True), "hw")


@pytest.mark.parametrize(
    ("wrong", "caught_by"),
    [
        (batch_folded_into_channels, {"batch"}),
        (never_scaled, {"oracle"}),
        (batch_in_the_scale, {"oracle", "batch"}),
        (positions_instead_of_channels, {"oracle", "blind"}),
        (neighbours_multiplied, {"oracle", "symmetric", "blind"}),
        (divided_after_a_half_product, {"half"}),
        (scaled_in_half_before_the_product, {"half"}),
        (half_the_gradient, {"derivatives"}),
        (covariance, {"oracle"}),
    ],
)
def test_a_planted_mistake_is_caught(wrong: GramFunction, caught_by: set[str]) -> None:
    for name in caught_by:
        with pytest.raises((AssertionError, GradcheckError)):
            CHECKS[name](wrong)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_statistics_come_in_float32_at_least(dtype: torch.dtype) -> None:
    features = random_maps(1, 3, 5, 5, dtype=dtype)
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    assert gram(features).dtype == wanted
    assert {statistic.dtype for statistic in moments(features)} == {wanted}


def test_bfloat16_is_summed_in_float32_and_rounded_once() -> None:
    features = random_maps(1, 16, 128, 128, scale=50, dtype=torch.bfloat16)
    found = gram(features, "sum")
    assert torch.equal(found, found.bfloat16().float())  # no digit beyond bfloat16's
    wanted = gram_oracle(features, "sum")
    error = ((found.double() - wanted) / wanted).abs().max().item()
    # Half a unit of the last of 8 bits, and float32's own error. Summed in bfloat16, 16 384
    # products would stand still long before the end.
    assert 2**-11 < error < 2**-8 + 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("loss", [ContentLoss, GramLoss, StatisticsLoss])
def test_the_gradient_is_right_in_every_precision(
    dtype: torch.dtype, loss: type[ContentLoss] | StyleLoss
) -> None:
    target = random_maps(1, 8, 64, 64, seed=1, scale=20, dtype=dtype)
    features = random_maps(1, 8, 64, 64, seed=2, scale=30, dtype=dtype).requires_grad_()
    exact = features.detach().double().requires_grad_()
    (found,) = torch.autograd.grad(loss(target)(features) * 1e4, features)
    (wanted,) = torch.autograd.grad(loss(target.double())(exact) * 1e4, exact)
    assert found.dtype == dtype
    assert (found - wanted).norm() <= 2 * torch.finfo(
        dtype
    ).eps * wanted.norm() + 1e-5 * wanted.norm()


@pytest.mark.parametrize("layout", ["nchw", "channels_last"])
@pytest.mark.parametrize("loss", [ContentLoss, GramLoss])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_keeps_the_layout_of_the_maps(
    layout: str, loss: type[ContentLoss] | type[GramLoss], dtype: torch.dtype
) -> None:
    target = in_layout(random_maps(1, 4, 6, 5, seed=1, dtype=dtype), layout)
    features = in_layout(random_maps(1, 4, 6, 5, seed=2, dtype=dtype), layout).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(target)(features), features)
    layouts = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
    assert gradient.is_contiguous(memory_format=layouts[layout])


# ------------------------------------------------------------------------------- mean and deviation


def test_mean_and_deviation_equal_numpys_in_float64() -> None:
    features = random_maps(2, 5, 7, 9, scale=3)
    mean, deviation = moments(features, eps=0)
    array = features.numpy().astype(np.float64)
    np.testing.assert_allclose(mean.numpy(), array.mean(axis=(2, 3)), rtol=1e-6)
    np.testing.assert_allclose(deviation.numpy(), array.std(axis=(2, 3)), rtol=1e-6)  # population


def test_one_position_has_no_deviation_and_no_nan() -> None:
    features = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).requires_grad_()
    mean, deviation = moments(features, eps=1e-8)
    assert torch.equal(mean, torch.tensor([[3.0, -2.0]]))
    torch.testing.assert_close(deviation, torch.full((1, 2), 1e-4))
    (gradient,) = torch.autograd.grad(deviation.sum() + mean.sum(), features)
    assert torch.equal(gradient, torch.ones_like(gradient))
    with pytest.warns(UserWarning, match="degrees of freedom"):
        bessel = features.detach().std(dim=(2, 3))
    assert bessel.isnan().all()


def test_a_mean_far_above_the_deviation_does_not_cancel() -> None:
    noise = torch.randn(1, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    features = 1e4 + noise
    exact = features.double().std(dim=(2, 3), correction=0)
    found = moments(features)[1]
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=0)
    flat = features.flatten(2)
    in_one_pass = (flat.square().mean(2) - flat.mean(2).square()).double()
    assert ((in_one_pass - exact.square()).abs() > 0.5).any(), "E[x²]−E[x]² should have failed here"


@pytest.mark.parametrize("layout", ["nchw", "channels_last"])
def test_mean_and_deviation_have_the_derivatives_they_say(layout: str) -> None:
    features = in_layout(random_maps(2, 3, 3, 4, dtype=torch.float64), layout).requires_grad_()
    assert torch.autograd.gradcheck(lambda maps: moments(maps, 1e-5), features)


# ------------------------------------------------------------------------------- total variation


def ramp(height: int, width: int, down: float, right: float) -> Tensor:
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width)
    return (down * rows + right * columns).float().expand(1, 2, -1, -1)


def checkerboard(height: int, width: int) -> Tensor:
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width)
    return ((rows + columns) % 2).float().expand(1, 3, -1, -1)


@pytest.mark.parametrize(
    ("image", "absolute", "squared"),
    [
        (torch.full((2, 3, 5, 7), 0.3), 0, 0),
        (ramp(5, 7, 0.25, 0.5), 0.75, 0.3125),
        (ramp(5, 7, -0.25, 0.5), 0.75, 0.3125),
        (ramp(9, 4, 0, 0.5), 0.5, 0.25),
        (checkerboard(5, 7), 2, 2),
        (ramp(1, 7, 9, 0.5), 0.5, 0.25),
        (ramp(7, 1, 0.5, 9), 0.5, 0.25),
        (ramp(1, 1, 9, 9), 0, 0),
    ],
)
def test_total_variation_of_known_pictures(image: Tensor, absolute: float, squared: float) -> None:
    assert total_variation(image, 1).item() == pytest.approx(absolute)
    assert total_variation(image, 2).item() == pytest.approx(squared)


def test_an_edge_costs_its_height_and_squared_also_its_steepness() -> None:
    columns = torch.arange(11.0)
    edge, slope = (columns > 5).float().expand(1, 1, 3, -1), (columns / 10).expand(1, 1, 3, -1)
    assert total_variation(edge, 1).item() == pytest.approx(total_variation(slope, 1).item())
    assert total_variation(edge, 2).item() == pytest.approx(10 * total_variation(slope, 2).item())


def test_total_variation_is_twice_the_books() -> None:
    image = torch.rand(2, 3, 6, 9, dtype=torch.float64)
    book = 0.5 * (
        (image[:, :, 1:] - image[:, :, :-1]).abs().mean()
        + (image[..., 1:] - image[..., :-1]).abs().mean()
    )
    torch.testing.assert_close(total_variation(image), 2 * book)


# ------------------------------------------------------------- the table of conventions, and between


def double_maps(*shape: int, seed: int) -> Tensor:
    return random_maps(*shape, seed=seed, dtype=torch.float64)


def content_oracle(found: Tensor, target: Tensor, normalize: str) -> Tensor:
    squares = (found - target).square().sum()
    _, channels, height, width = found.shape
    positions = height * width
    divisor = {
        "energy": target.square().sum(),
        "chw": torch.tensor(channels * positions),
        "hw": torch.tensor(positions),
        "sum": torch.tensor(1),
    }[normalize]
    return squares / divisor


def gram_loss_oracle(found: Tensor, target: Tensor, normalize: str) -> Tensor:
    scale = "chw" if normalize == "chw" else "hw"
    one, other = gram_oracle(found, scale), gram_oracle(target, scale)
    squares = (one - other).square()
    return {
        "energy": squares.sum() / other.square().sum(),
        "chw": squares.mean(),
        "hw": squares.mean(),
        "sum": squares.sum(),
    }[normalize]


def statistics_oracle(found: Tensor, target: Tensor, normalize: str) -> Tensor:
    def both(maps: Tensor) -> Tensor:
        return torch.stack([maps.mean((2, 3)), (maps.var((2, 3), correction=0) + 1e-8).sqrt()])

    squares = (both(found) - both(target)).square().sum()
    divisor = {"energy": both(target).square().sum(), "chw": found.shape[1], "hw": 1, "sum": 1}
    return squares / divisor[normalize]


ORACLES: dict[Any, Callable[[Tensor, Tensor, str], Tensor]] = {
    ContentLoss: content_oracle,
    GramLoss: gram_loss_oracle,
    StatisticsLoss: statistics_oracle,
}
LOSSES = list(ORACLES)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_each_convention_is_that_of_the_table(loss: Any, normalize: Normalize) -> None:
    found, target = double_maps(1, 6, 5, 7, seed=1), double_maps(1, 6, 5, 7, seed=2)
    wanted = ORACLES[loss](found, target, normalize)
    torch.testing.assert_close(loss(target, normalize)(found), wanted, rtol=1e-6, atol=0)


def test_the_conventions_differ_by_the_constants_that_are_stated() -> None:
    channels, positions = 6, 35
    found, target = double_maps(1, 6, 5, 7, seed=1), double_maps(1, 6, 5, 7, seed=2)

    def value(loss: Any, normalize: Normalize) -> float:
        return float(loss(target, normalize)(found))

    assert value(ContentLoss, "hw") == pytest.approx(channels * value(ContentLoss, "chw"))
    assert value(ContentLoss, "sum") == pytest.approx(positions * value(ContentLoss, "hw"))
    assert value(GramLoss, "hw") == pytest.approx(channels**2 * value(GramLoss, "chw"))
    assert value(GramLoss, "sum") == pytest.approx(channels**2 * value(GramLoss, "hw"))
    assert value(StatisticsLoss, "hw") == pytest.approx(channels * value(StatisticsLoss, "chw"))
    assert value(StatisticsLoss, "sum") == pytest.approx(value(StatisticsLoss, "hw"))


def double_statistics(images: int, channels: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(images, 2, channels, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_statistics_of_each_image_are_compared_with_its_own_target(normalize: Normalize) -> None:
    """As AdaIN's training does, of whose batch each picture has a style of its own."""
    found, target = double_statistics(3, 5, seed=1), double_statistics(3, 5, seed=2)
    wanted = []
    for one, other in zip(found.tolist(), target.tolist(), strict=True):
        pairs = [*zip(one[0], other[0], strict=True), *zip(one[1], other[1], strict=True)]
        squares, energy = sum((a - b) ** 2 for a, b in pairs), sum(b**2 for _, b in pairs)
        wanted.append(squares / {"energy": energy, "chw": 5, "hw": 1, "sum": 1}[normalize])
    distances = statistics_distance(found, target, normalize)
    assert distances.tolist() == pytest.approx(wanted, rel=1e-7)
    alone = [
        statistics_distance(found[i : i + 1], target[i : i + 1], normalize).item() for i in range(3)
    ]
    assert distances.tolist() == pytest.approx(alone, rel=1e-12), "none depends on the others"
    assert statistics_distance(target, target, normalize).tolist() == [0, 0, 0]


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_one_target_of_statistics_may_serve_all_images(normalize: Normalize) -> None:
    found, target = double_statistics(3, 5, seed=1), double_statistics(1, 5, seed=2)
    wanted = statistics_distance(found, target.expand(3, -1, -1), normalize)
    torch.testing.assert_close(statistics_distance(found, target, normalize), wanted)


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_the_loss_of_statistics_is_the_mean_of_their_distances(normalize: Normalize) -> None:
    found, target = double_maps(3, 6, 5, 7, seed=1), double_maps(1, 6, 5, 7, seed=2)
    one, other = (torch.stack(moments(maps), dim=1) for maps in (found, target))
    wanted = statistics_distance(one, other, normalize).mean()
    torch.testing.assert_close(StatisticsLoss(target, normalize)(found), wanted)


@pytest.mark.parametrize("loss", LOSSES)
def test_energy_is_a_relative_error(loss: Any) -> None:
    target = double_maps(1, 6, 5, 7, seed=2)
    compare = loss(target, "energy")
    assert compare(target).item() == 0
    assert compare(torch.zeros_like(target)).item() == pytest.approx(1, abs=1e-3)
    if loss is not GramLoss:  # a Gram matrix is of second order: 1.1² − 1 of it
        assert compare(1.1 * target).item() == pytest.approx(0.01, rel=1e-5)
    else:
        assert compare(1.1 * target).item() == pytest.approx(0.21**2, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("factor", [0.3, 30.0, 1e3])
def test_energy_does_not_depend_on_the_scale_of_the_maps(loss: Any, factor: float) -> None:
    found, target = double_maps(1, 6, 8, 8, seed=1), double_maps(1, 6, 8, 8, seed=2)
    scaled = loss(factor * target)(factor * found).item()
    assert scaled == pytest.approx(loss(target)(found).item(), rel=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_energy_does_not_depend_on_the_size_of_the_picture(loss: Any) -> None:
    found, target = double_maps(1, 6, 4, 5, seed=1), double_maps(1, 6, 4, 5, seed=2)
    tiled = loss(target.tile(1, 1, 3, 2))(found.tile(1, 1, 3, 2)).item()
    assert tiled == pytest.approx(loss(target)(found).item(), rel=1e-9)


def test_the_floor_under_the_energy_is_far_below_that_of_any_real_map() -> None:
    taps = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")
    dark = 0.1 * sample("chelsea", size=96)
    for encoder in (load_encoder("slim"), random_encoder("slim")):
        for features in encoder(dark, taps).values():
            assert features.square().mean() > 1e4 * losses.EPS
            assert gram(features).square().mean() > 1e4 * losses.EPS


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_a_black_or_flat_target_stays_finite(loss: Any, normalize: Normalize, level: float) -> None:
    target = torch.full((1, 3, 6, 6), level)
    for features in (torch.zeros(1, 3, 6, 6), torch.rand(1, 3, 6, 6), target.clone()):
        features.requires_grad_()
        value = loss(target, normalize)(features)
        (gradient,) = torch.autograd.grad(value, features)
        assert value.isfinite()
        assert gradient.isfinite().all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_a_batch_is_the_mean_of_its_images(loss: Any, normalize: Normalize) -> None:
    found = double_maps(3, 4, 5, 6, seed=1)
    shared = double_maps(1, 4, 5, 6, seed=2)
    each = shared * torch.tensor([1.0, 0.2, 5.0]).view(3, 1, 1, 1)  # of very different energies
    for targets in (shared.expand(3, -1, -1, -1), each):
        alone = [
            loss(target[None], normalize)(image[None])
            for image, target in zip(found, targets, strict=True)
        ]
        batch = loss(targets, normalize)(found)
        torch.testing.assert_close(batch, torch.stack(alone).mean(), rtol=1e-9, atol=0)
    torch.testing.assert_close(
        loss(shared, normalize)(found), loss(shared.expand(3, -1, -1, -1), normalize)(found)
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("normalize", NORMALIZATIONS)
@pytest.mark.parametrize("layout", ["nchw", "channels_last"])
def test_each_loss_has_the_derivative_it_says(loss: Any, normalize: Normalize, layout: str) -> None:
    compare = loss(double_maps(1, 3, 4, 3, seed=2), normalize)
    features = in_layout(double_maps(2, 3, 4, 3, seed=1), layout).requires_grad_()
    assert torch.autograd.gradcheck(compare, features)


# ------------------------------------------------------------------------------------- targets


@pytest.mark.parametrize("loss", LOSSES)
def test_a_target_is_a_buffer_of_its_own_without_a_gradient(loss: Any) -> None:
    pixels = nn.Parameter(random_maps(1, 3, 6, 6, seed=1))
    compare = loss(pixels)
    assert dict(compare.named_buffers())["target"].requires_grad is False
    assert not list(compare.parameters())
    moved = pixels.detach().clone() + 0.5
    before = compare(moved).item()
    with torch.no_grad():
        pixels += 0.5  # as an optimiser moves the picture, in place
    assert compare(moved).item() == before > 0
    reloaded = loss(torch.zeros(1, 3, 6, 6))
    reloaded.load_state_dict(compare.state_dict())
    assert reloaded(moved).item() == before


@pytest.mark.parametrize("loss", [GramLoss, StatisticsLoss])
def test_a_style_may_have_any_size(loss: StyleLoss) -> None:
    features = random_maps(1, 4, 6, 6)
    assert loss(features.tile(1, 1, 2, 5))(features).item() < 1e-10


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ([1, 3], [0.25, 0.75]),
        ([1e39, 1], [1, 0]),
        ([1e-320, 3e-320], [0.25, 0.75]),
    ],
)
def test_weights_of_any_size_are_shares(weights: list[float], shares: list[float]) -> None:
    assert losses.mixing_weights(weights, 2).tolist() == pytest.approx(shares, abs=1e-3)


@pytest.mark.parametrize("loss", [GramLoss, StatisticsLoss])
@pytest.mark.parametrize("normalize", ["chw", "hw", "sum"])
def test_mixing_styles_pulls_as_the_weighted_losses_do(
    loss: StyleLoss, normalize: Normalize
) -> None:
    styles = [double_maps(1, 4, 5 + i, 6, seed=i) for i in range(3)]
    shares = [0.5, 0.3, 0.2]
    features = double_maps(1, 4, 7, 7, seed=9).requires_grad_()
    mixed = loss(styles, normalize, [5, 3, 2])(features)
    weighted = [w * loss(s, normalize)(features) for w, s in zip(shares, styles, strict=True)]
    total = torch.stack(weighted).sum()
    (found,) = torch.autograd.grad(mixed, features)
    (wanted,) = torch.autograd.grad(total, features)
    torch.testing.assert_close(found, wanted)
    assert total > mixed  # by a constant: the spread of the styles


@pytest.mark.parametrize("loss", [GramLoss, StatisticsLoss])
def test_styles_are_mixed_equally_without_weights_and_one_weight_takes_all(loss: StyleLoss) -> None:
    one, other, features = (random_maps(1, 4, 6, 6, seed=seed) for seed in range(3))
    equal = loss([one, other])(features)
    torch.testing.assert_close(equal, loss([one, other], weights=[7, 7])(features))
    alone = loss(other)(features)
    torch.testing.assert_close(loss([one, other], weights=[0, 2])(features), alone)
    assert not torch.isclose(equal, alone)


def test_statistics_are_the_diagonal_view_of_a_gram_matrix() -> None:
    """Gᵢᵢ = μᵢ² + σᵢ²: what StatisticsLoss does not see is how channels fire together."""
    features = double_maps(1, 4, 6, 7, seed=0)
    mean, deviation = moments(features, eps=0)
    diagonal = gram(features, "hw").diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(diagonal, mean.square() + deviation.square())
    alone = features.clone()
    alone[:, 0] = alone[:, 0].flip(1).roll(1, 2)
    assert StatisticsLoss(features)(alone).item() < 1e-20
    assert GramLoss(features)(alone).item() > 1e-3


# ------------------------------------------------------------------------------- perceptual loss


def test_perceptual_loss_is_the_weighted_sum_of_the_layers_content_losses() -> None:
    encoder = random_encoder()
    target, image = (
        torch.rand(2, 3, 24, 20, generator=torch.Generator().manual_seed(s)) for s in (0, 1)
    )
    layers = {"relu1_2": 2.0, "conv3_1": 0.5}
    compare = PerceptualLoss(encoder, target, layers, normalize="hw")
    maps, targets = encoder(image, list(layers)), encoder(target, list(layers))
    wanted = sum(w * ContentLoss(targets[t], "hw")(maps[t]) for t, w in layers.items())
    torch.testing.assert_close(compare(image), torch.as_tensor(wanted))
    assert compare(target).item() == 0
    pixels = image.clone().requires_grad_()
    torch.autograd.backward(compare(pixels))  # an in-place ReLU would fail here
    assert pixels.grad is not None
    assert pixels.grad.isfinite().all()


def test_perceptual_loss_sees_blur_where_pixels_hardly_do() -> None:
    """A photo, blurred, and brightened by as much squared error: only one of them looks worse."""
    photo = sample("chelsea", size=96)
    blurred = F.avg_pool2d(F.pad(photo, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    shift = (blurred - photo).square().mean().sqrt()
    brighter = photo + shift  # values above 1 do not matter to an encoder
    compare = PerceptualLoss(load_encoder("slim"), photo)
    assert compare(blurred) > 2 * compare(brighter)


# -------------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize("function", [gram, moments, total_variation, *LOSSES])
@pytest.mark.parametrize(
    ("features", "error"),
    [
        (torch.zeros(3, 4, 4), ValueError),
        (torch.zeros(1, 3, 0, 4), ValueError),
        (torch.zeros(0, 3, 4, 4), ValueError),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), TypeError),
        (np.zeros((1, 3, 4, 4)), TypeError),
    ],
)
def test_maps_of_another_form_are_refused(
    function: Callable[[Any], Any], features: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"(features|image) (has shape|is )"):
        function(features)


@pytest.mark.parametrize("loss", LOSSES)
def test_an_unknown_normalization_names_those_that_exist(loss: Any) -> None:
    with pytest.raises(
        ValueError, match=r"normalize is 'mean'; it takes 'energy', 'chw', 'hw', 's"
    ):
        loss(torch.zeros(1, 3, 4, 4), "mean")


def test_a_gram_matrix_has_no_energy_of_its_own() -> None:
    with pytest.raises(ValueError, match="normalize is 'energy'; a Gram matrix takes 'hw', 'chw'"):
        gram(torch.zeros(1, 3, 4, 4), "energy")  # type: ignore[arg-type]


def test_an_unknown_power_is_refused() -> None:
    with pytest.raises(ValueError, match="power is 3; it takes 1"):
        total_variation(torch.zeros(1, 3, 4, 4), 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        (ContentLoss, (2, 3, 4, 5)),
        (ContentLoss, (2, 4, 4, 4)),
        (ContentLoss, (3, 3, 4, 4)),
        (GramLoss, (2, 4, 4, 4)),
        (GramLoss, (3, 3, 4, 4)),
        (StatisticsLoss, (2, 4, 4, 4)),
        (StatisticsLoss, (3, 3, 4, 4)),
    ],
)
def test_maps_that_do_not_fit_the_target_are_refused(loss: Any, shape: Sequence[int]) -> None:
    with pytest.raises(ValueError, match="features has"):
        loss(torch.ones(2, 3, 4, 4))(torch.ones(*shape))


@pytest.mark.parametrize("loss", [GramLoss, StatisticsLoss])
@pytest.mark.parametrize(
    ("styles", "weights", "message"),
    [
        ([], None, "features holds no style"),
        ([torch.ones(1, 3, 4, 4), torch.ones(1, 4, 4, 4)], None, "features has styles of 3 and 4"),
        ([torch.ones(1, 3, 4, 4)] * 2, [1], "weights has 1 values; there are 2 styles"),
        ([torch.ones(1, 3, 4, 4)] * 2, [1, -1], "weights is .*none may be negative"),
        ([torch.ones(1, 3, 4, 4)] * 2, [0, 0], "weights is .*one must be above 0"),
        ([torch.ones(1, 3, 4, 4)] * 2, [1, float("nan")], "weights is .*none may be negative"),
        ([torch.ones(1, 3, 4, 4)] * 2, [1, float("inf")], "weights is "),
    ],
)
def test_styles_and_weights_that_do_not_fit_are_refused(
    loss: StyleLoss, styles: list[Tensor], weights: list[float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        loss(styles, weights=weights)


def test_a_perceptual_loss_without_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="layers is {}"):
        PerceptualLoss(random_encoder(), torch.zeros(1, 3, 8, 8), {})


def test_a_real_style_is_nearer_to_its_own_other_half_than_to_a_photo() -> None:
    """What it is all for: the style loss knows a painter's hand from a photograph."""
    encoder = load_encoder("slim")
    from nstlib.images import style_names

    painting = style(style_names()[0], size=192)
    left, right = painting[..., :96], painting[..., 96:192]
    photo = sample("astronaut", size=192)
    taps = ["relu1_1", "relu2_1", "relu3_1"]
    distances = []
    for picture in (right, photo):
        found, target = encoder(picture, taps), encoder(left, taps)
        distances.append(sum(GramLoss(target[tap])(found[tap]).item() for tap in taps))
    assert distances[0] < 0.5 * distances[1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("distance", "shape"),
    [
        (losses.content_distance, (1, 64, 32, 32)),
        (losses.gram_distance, (1, 64, 64)),
        (losses.statistics_distance, (1, 2, 64)),
    ],
)
@pytest.mark.parametrize("normalize", get_args(Normalize))
def test_distances_of_half_precision_are_as_those_of_the_same_values_in_float32(
    distance: Callable[..., Tensor], shape: Sequence[int], normalize: Normalize, dtype: torch.dtype
) -> None:
    found, target = torch.full(shape, 299.0), torch.full(shape, 1.0)  # 298² is above float16's end
    expected = distance(found, target, normalize)
    torch.testing.assert_close(
        distance(found.to(dtype), target, normalize), expected, rtol=0.01, atol=0
    )
    torch.testing.assert_close(
        distance(found.to(dtype), target.to(dtype), normalize), expected, rtol=0.01, atol=0
    )


def test_the_grid_of_a_half_precision_picture_is_measured_in_float32() -> None:
    picture = torch.rand(1, 3, 256, 256).bfloat16()
    expected = losses.grid_variance(picture.float(), 2)
    torch.testing.assert_close(losses.grid_variance(picture, 2), expected)
