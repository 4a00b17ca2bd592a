"""The net that ships, looked at as a critic would: no grid, no bands, no blobs, no dead colours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nstlib import images, losses
from nstlib.transform_net import TransformNet, load_net

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
LEVEL = 1 / 255


@pytest.fixture(scope="module")
def net() -> TransformNet:
    return load_net("fast")


def at(size: int) -> Tensor:
    """Photos that ship, brought to ``size``; one alone where that takes a while."""
    names = PHOTOS if size < 512 else PHOTOS[:1]
    return torch.cat([images.resize(images.sample(n, crop=True), (size, size)) for n in names])


def all_painted(net: TransformNet, size: int) -> dict[str, Tensor]:
    content = at(size)
    styles = net.shape.styles if size < 1024 else net.shape.styles[:2]
    return {style: net.stylize(content, style) for style in styles}


@pytest.fixture(scope="module", params=[256, 512, 1024])
def painted(request: pytest.FixtureRequest, net: TransformNet) -> dict[str, Tensor]:
    """Every style at the full dial, where artefacts would be strongest."""
    return all_painted(net, request.param)


def grid(picture: Tensor, period: int) -> float:
    """How many grey levels a pattern of that period has."""
    return float(losses.grid_variance(picture, period).max().sqrt()) / LEVEL


def test_no_checkerboard(painted: dict[str, Tensor]) -> None:
    """A pattern of the strides' periods stays within a few grey levels of what any period has."""
    for style, picture in painted.items():
        for period in (2, 4):
            assert grid(picture, period) < grid(picture, period + 1) + 1.5, (style, period)


def test_a_checkerboard_would_be_seen(painted: dict[str, Tensor]) -> None:
    picture = next(iter(painted.values()))
    rows = torch.arange(picture.shape[2])[:, None] + torch.arange(picture.shape[3])
    board = (rows % 2 * 2 - 1) * 3 * LEVEL
    assert grid(picture + board, 2) > grid(picture + board, 3) + 1.5


def strokes_at_the_border(picture: Tensor) -> float:
    """How strong strokes are in the outer 4 px, as a share of those a little further in."""
    shares = []
    for turns in range(4):
        turned = picture.rot90(turns, (2, 3))
        outer, inner = (turned[:, :, ring].diff(dim=3).abs().mean() for ring in RINGS)
        shares.append(outer / inner)
    return float(torch.stack(shares).mean())


RINGS = slice(0, 4), slice(8, 24)


def test_no_band_along_the_border(painted: dict[str, Tensor]) -> None:
    """A photo has its own share, for what is photographed seldom touches the border."""
    size = next(iter(painted.values())).shape[2]
    own = strokes_at_the_border(at(size))
    for style, picture in painted.items():
        assert strokes_at_the_border(picture) > 0.85 * own, style


def test_without_its_margin_the_net_would_paint_a_band(net: TransformNet) -> None:
    bare = TransformNet(**{**vars(net.shape), "margin": 0}).in_dtype(net.dtype)
    bare.load_state_dict(net.state_dict())
    shares = [strokes_at_the_border(picture) for picture in all_painted(bare, 256).values()]
    assert sum(shares) / len(shares) < 0.8 * strokes_at_the_border(at(256))


def blobs(picture: Tensor) -> float:
    """How much further the most extreme patch lies from the mean than the next hundredth does."""
    patches = functional.avg_pool2d(picture.mean(dim=1, keepdim=True), 16).flatten()
    away = (patches - patches.median()).abs()
    return float(away.max() - away.quantile(0.99))


def test_no_blobs(painted: dict[str, Tensor]) -> None:
    """Norms can hide a droplet of another brightness in an empty corner."""
    for style, picture in painted.items():
        assert blobs(picture) < 0.25, style


def test_a_blob_would_be_seen(painted: dict[str, Tensor]) -> None:
    picture = next(iter(painted.values())).clone()
    picture[:, :, 64:80, 64:80] = picture.mean().round() * -1 + 1  # white on dark, black on light
    assert blobs(picture) > 0.25


def contrast_of_patches(picture: Tensor) -> Tensor:
    patches = functional.unfold(picture.mean(dim=1, keepdim=True), 16, stride=16)
    return patches.std(dim=1)


def test_no_dead_colours(painted: dict[str, Tensor]) -> None:
    """Every channel moves, hardly a pixel is cut off, and no patch is empty that was not so before."""
    content = at(next(iter(painted.values())).shape[2])
    filled = contrast_of_patches(content) > LEVEL
    for style, picture in painted.items():
        cut_off = ((picture < LEVEL) | (picture > 1 - LEVEL)).float().mean()
        assert cut_off < 0.1, style
        assert picture.std(dim=(2, 3)).min() > 10 * LEVEL, style
        assert contrast_of_patches(picture)[filled].quantile(0.01) > LEVEL, style


def palette(picture: Tensor) -> Tensor:
    return torch.cat([picture.mean(dim=(0, 2, 3)), picture.std(dim=(0, 2, 3))])


@pytest.fixture(scope="module")
def known(net: TransformNet) -> dict[str, Tensor]:
    return {style: palette(images.style(style, size=256)) for style in net.shape.styles}


def test_the_colours_are_the_style_s(known: dict[str, Tensor], painted: dict[str, Tensor]) -> None:
    """Of all styles' mean colours and spreads, a painted photo's are nearest to its own style's."""
    right = sum(
        min(known, key=lambda name: float((known[name] - palette(picture)).norm())) == style
        for style, picture in painted.items()
    )
    assert right >= 0.8 * len(painted)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_photo_of_one_colour_is_painted_in_the_style_s_own(
    net: TransformNet, level: float
) -> None:
    flat = torch.full((1, 3, 64, 64), level)
    style = images.style("vortex", size=64)
    painted = net.stylize(flat, "vortex")
    assert (palette(painted)[:3] - palette(style)[:3]).abs().max() < 0.35
    blue, red = painted.mean(dim=(2, 3))[0, 2], painted.mean(dim=(2, 3))[0, 0]
    assert blue > red + 0.1  # as a night sky is
