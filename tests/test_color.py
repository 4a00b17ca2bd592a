"""Colours kept and matched: exact statistics, identities, grey pictures, and colours that do not fit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nstlib import images
from nstlib.color import keep_color, luminance, match_color
from nstlib.gaussians import covariance_of


def picture(seed: int = 0, side: int = 24, dtype: torch.dtype = torch.float64) -> Tensor:
    """Colours that keep away from 0 and 1, of three correlated channels."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, 3, side, side, generator=generator, dtype=torch.float64)
    mixed = torch.einsum("ij,njhw->nihw", torch.rand(3, 3, generator=generator).double(), noise)
    return (0.5 + 0.05 * mixed).clamp(0.05, 0.95).to(dtype)


def color_statistics(image: Tensor) -> tuple[Tensor, Tensor]:
    return covariance_of(image.double().flatten(2))


GREY = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(9)).expand(1, 3, -1, -1)
FLAT = torch.tensor([0.8, 0.5, 0.2]).view(1, 3, 1, 1).expand(1, 3, 24, 24)


# ----------------------------------------------------------------------------------- luminance


def test_lightness_is_that_of_grey_and_of_each_primary() -> None:
    grey = torch.full((1, 3, 2, 2), 0.3)
    assert torch.allclose(luminance(grey), torch.full((1, 1, 2, 2), 0.3))
    primaries = torch.eye(3).view(3, 3, 1, 1)
    assert torch.allclose(luminance(primaries).flatten(), torch.tensor([0.299, 0.587, 0.114]))


# ------------------------------------------------------------------------------------- keeping


def test_the_photo_keeps_itself() -> None:
    photo = picture()
    assert torch.allclose(keep_color(photo, photo), photo)


def test_lightness_is_of_the_painting_and_hue_of_the_photo() -> None:
    painted, photo = picture(1), picture(2)
    kept = keep_color(painted, photo)
    assert torch.allclose(luminance(kept), luminance(painted))
    color, before = kept - luminance(kept), photo - luminance(photo)
    share = (color * before).sum(1) / before.square().sum(1)
    assert torch.allclose(color, share[:, None] * before, atol=1e-9), "one direction"
    assert torch.allclose(share, torch.ones_like(share)), "and all of it, where there is room"


@pytest.mark.parametrize("light", [0.0, 0.02, 0.9, 1.0])
def test_a_color_without_room_grows_paler_and_keeps_lightness_and_hue(light: float) -> None:
    photo = torch.tensor([1.0, 0.1, 0.0]).view(1, 3, 1, 1)
    painted = torch.full((1, 3, 1, 1), light)
    kept = keep_color(painted, photo)
    assert kept.min() >= 0
    assert kept.max() <= 1
    assert luminance(kept).item() == pytest.approx(light, abs=1e-6)
    color, before = (kept - light).flatten(), (photo - luminance(photo)).flatten()
    assert torch.linalg.cross(color, before).norm() < 1e-6
    assert (color @ before) >= 0
    touches = min(kept.min().item(), 1 - kept.max().item())
    assert touches == pytest.approx(0, abs=1e-6), "no paler than it must"


def test_a_grey_photo_makes_a_grey_picture() -> None:
    kept = keep_color(picture(dtype=torch.float32), GREY)
    assert torch.allclose(kept, luminance(picture(dtype=torch.float32)).expand_as(kept), atol=1e-6)


def test_one_photo_serves_a_batch() -> None:
    painted, photo = torch.cat([picture(1), picture(2)]), picture(3)
    kept = keep_color(painted, photo)
    for one, alone in zip(kept.split(1), painted.split(1), strict=True):
        assert torch.equal(one, keep_color(alone, photo))


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"photo has shape \(1, 3, 12, 12\) and painted \(1, 3, 24"
    ):
        keep_color(picture(), picture(side=12))


# ------------------------------------------------------------------------------------ matching


def test_mean_and_covariance_are_the_targets() -> None:
    matched = match_color(picture(1), picture(2, side=30))
    found, wanted = color_statistics(matched), color_statistics(picture(2, side=30))
    for one, other in zip(found, wanted, strict=True):
        assert torch.allclose(one, other, atol=1e-9)


def test_its_own_colors_change_nothing_and_there_and_back_is_nothing() -> None:
    one, other = picture(1), picture(2)
    assert torch.allclose(match_color(one, one), one)
    assert torch.allclose(match_color(match_color(one, other), one), one)


def test_it_moves_less_than_other_maps_with_the_same_statistics() -> None:
    one, other = picture(1), picture(2)
    (mean, covariance), (wanted_mean, wanted) = map(color_statistics, (one, other))
    cholesky = torch.linalg.cholesky(wanted) @ torch.linalg.cholesky(covariance).inverse()
    moved = cholesky[0] @ (one[0].flatten(1) - mean[0][:, None]) + wanted_mean[0][:, None]
    assert torch.allclose(torch.cov(moved, correction=0), wanted[0])
    ours = match_color(one, other)[0].flatten(1)
    apart = [(x - one[0].flatten(1)).square().mean() for x in (ours, moved)]
    assert apart[0] < apart[1]


@pytest.mark.parametrize("target", [picture(2, dtype=torch.float32), GREY, FLAT])
@pytest.mark.parametrize("image", [picture(1, dtype=torch.float32), GREY, FLAT])
def test_grey_and_flat_pictures_have_no_nan(image: Tensor, target: Tensor) -> None:
    matched = match_color(image, target)
    assert torch.isfinite(matched).all()
    mean, wanted = color_statistics(matched)[0], color_statistics(target)[0]
    assert torch.allclose(mean, wanted, atol=0.02)  # but for what left [0, 1]


def test_a_flat_picture_becomes_the_targets_mean() -> None:
    target = picture(dtype=torch.float32)
    mean = target.mean((2, 3), keepdim=True)
    assert torch.allclose(match_color(FLAT, target), mean.expand(1, 3, 24, 24), atol=1e-6)


def test_colors_of_a_photo_are_those_of_a_painting_to_the_eye() -> None:
    photo, painting = images.sample("coffee", size=64), images.style("woodblock", size=64)
    matched = match_color(photo, painting)
    assert (matched.mean((2, 3)) - painting.mean((2, 3))).abs().max() < 0.03
    assert matched.min() >= 0
    assert matched.max() <= 1


def test_a_batch_is_matched_picture_by_picture() -> None:
    pictures, targets = torch.cat([picture(1), picture(2)]), torch.cat([picture(3), picture(4)])
    for wanted in (targets[:1], targets):
        whole = match_color(pictures, wanted)
        for i, one in enumerate(pictures.split(1)):
            alone = match_color(one, wanted[i : i + 1] if len(wanted) > 1 else wanted)
            assert torch.allclose(whole[i : i + 1], alone)


def test_targets_that_are_neither_one_nor_as_many_are_refused() -> None:
    with pytest.raises(ValueError, match="target is 2 pictures; it must be 1, or 3"):
        match_color(picture().expand(3, -1, -1, -1), picture().expand(2, -1, -1, -1))
