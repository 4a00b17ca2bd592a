"""A second look at a photo: its motion, its noise, and what is told of nets that are not steady."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nstlib import adain_training, config, fast_training, steadiness
from nstlib.datasets import generator_of
from nstlib.steadiness import seen_again, unsteadiness
from nstlib.weights import read_weights


def smooth(seed: int, size: tuple[int, int] = (64, 80)) -> Tensor:
    """Return blobs so large that a pixel between four others is their mean, nearly."""
    coarse = torch.rand(1, 3, 4, 4, generator=generator_of(seed))
    picture = F.interpolate(coarse, size, mode="bicubic", align_corners=True)
    return picture.clamp(0, 1)


PHOTOS = torch.cat([smooth(seed) for seed in range(6)])


# ------------------------------------------------------------------------------ the second look


def test_it_is_a_function_of_its_arguments_alone() -> None:
    first = seen_again(PHOTOS, step=3, count=6, seed=1)
    torch.manual_seed(5)
    torch.testing.assert_close(seen_again(PHOTOS, 3, 6, 1), first, rtol=0, atol=0)
    for other in (seen_again(PHOTOS, 4, 6, 1), seen_again(PHOTOS, 3, 6, 2)):
        for name, part in first.items():
            assert not any(torch.equal(*rows) for rows in zip(part, other[name], strict=True))


@pytest.mark.parametrize("processes", [2, 3])
def test_the_shares_of_processes_are_rows_of_the_whole(processes: int) -> None:
    whole = seen_again(PHOTOS, 5, 6, seed=0)
    for rank in range(processes):
        share = slice(rank, None, processes)
        wanted = {name: part[share] for name, part in whole.items()}
        found = seen_again(PHOTOS[share], 5, 6, 0, share)
        torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_each_row_moves_in_its_own_way() -> None:
    flow = seen_again(PHOTOS[:1].expand(6, -1, -1, -1), 1, 6, seed=0)["flow"]
    apart = (flow[:, None] - flow).abs().amax(dim=(2, 3, 4)) + 9 * torch.eye(6)
    assert apart.min() > 0.5


def flows(count: int = 100, size: tuple[int, int] = (64, 80)) -> Tensor:
    photos = torch.zeros(1, 3, *size).expand(count, -1, -1, -1)
    return seen_again(photos, 1, count, seed=0)["flow"]


def test_the_motion_is_small_smooth_and_between_pixels() -> None:
    flow = flows()
    assert flow.abs().max() < 9
    assert 1 < flow.abs().mean() < 4
    assert flow.mean(dim=(0, 2, 3)).abs().max() < 1, "no side is preferred"
    for axis in (2, 3):
        assert flow.diff(dim=axis).abs().max() < 0.4, "neighbours stay neighbours, in their order"
    rest = flow.remainder(1).flatten().sort().values
    assert (rest - torch.linspace(0, 1, len(rest))).abs().max() < 0.05


def test_pictures_turn_and_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bend, a flow is a similarity: p' = A p + b with A = [[a, -s], [s, a]]."""
    monkeypatch.setattr(steadiness, "BEND", 0.0)
    flow = flows(40)
    across, down = flow[:, :, :, 1:] - flow[:, :, :, :-1], flow[:, :, 1:] - flow[:, :, :-1]
    grown, turned = across[:, 0].mean(dim=(1, 2)), across[:, 1].mean(dim=(1, 2))
    torch.testing.assert_close(down[:, 1].mean(dim=(1, 2)), grown, rtol=0, atol=1e-5)
    torch.testing.assert_close(down[:, 0].mean(dim=(1, 2)), -turned, rtol=0, atol=1e-5)
    assert (across - across[:, :, :1, :1]).abs().max() < 1e-5
    scale = torch.complex(1 + grown, turned)
    assert 0.015 < (scale.abs() - 1).abs().max() <= 0.02 + 1e-5
    assert 1.5 < scale.angle().rad2deg().abs().max() <= 2 + 1e-3


def test_the_photo_moves_where_the_flow_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a ramp, a pixel that comes from d px to the right is d steps brighter."""
    monkeypatch.setattr(steadiness, "NOISE", 0.0)
    for axis in (0, 1):
        places = torch.meshgrid(torch.arange(64.0), torch.arange(80.0), indexing="ij")[1 - axis]
        ramp = (places / 80).expand(3, 3, 64, 80)
        second = seen_again(ramp, 1, 3, seed=0)
        moved = 80 * (second["again"] - ramp)[:, :, 12:-12, 12:-12]
        wanted = second["flow"][:, axis : axis + 1, 12:-12, 12:-12]
        torch.testing.assert_close(moved, wanted.expand_as(moved), rtol=0, atol=1e-4)


def test_the_noise_is_of_each_pixel_and_of_any_strength_up_to_the_largest() -> None:
    grey = torch.full((60, 3, 48, 48), 0.5)
    noise = seen_again(grey, 1, 60, seed=0)["again"] - 0.5
    strengths = noise.std(dim=(1, 2, 3)) / steadiness.NOISE
    assert (strengths.sort().values - torch.linspace(0, 1, 60)).abs().max() < 0.2
    loud = (noise / noise.std(dim=(1, 2, 3), keepdim=True))[strengths > 0.1]
    assert loud.mean(dim=(1, 2, 3)).abs().max() < 0.05
    for shifted in (loud.roll(1, dims=3), loud.roll(1, dims=2), loud.roll(1, dims=1)):
        assert (loud * shifted).mean(dim=(1, 2, 3)).abs().max() < 0.06, "neighbours know nothing"


def test_a_second_look_is_a_picture() -> None:
    for shade in (0.0, 1.0):
        again = seen_again(torch.full((4, 3, 24, 32), shade), 1, 4, seed=0)["again"]
        assert again.dtype == torch.float32
        assert (again.min() >= 0) & (again.max() <= 1)
        assert (again != shade).any()


# --------------------------------------------------------------------------------- unsteadiness


def whole_flow(right: int, down: int, size: tuple[int, int] = (12, 16)) -> Tensor:
    return torch.tensor([right, down]).float().view(1, 2, 1, 1).expand(1, 2, *size)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (3, 0), (0, 2), (3, 2), (-2, 1), (-1, -4)])
def test_it_is_the_mean_square_over_what_comes_from_within(right: int, down: int) -> None:
    painted, again = (torch.rand(1, 3, 12, 16, generator=generator_of(seed)) for seed in (0, 1))
    kept = [
        (row, column)
        for row in range(12)
        for column in range(16)
        if 0 <= row + down < 12 and 0 <= column + right < 16
    ]
    squares = [
        (again[0, :, row, column] - painted[0, :, row + down, column + right]).double().square()
        for row, column in kept
    ]
    found = unsteadiness(painted, again, whole_flow(right, down))
    assert found.shape == (1,)
    assert found.item() == pytest.approx(torch.stack(squares).mean().item(), rel=1e-6)


def test_each_picture_has_its_own() -> None:
    painted = torch.rand(3, 3, 12, 16, generator=generator_of(0)) / 2
    again = painted + torch.tensor([0.0, 0.1, 0.2]).view(3, 1, 1, 1)
    found = unsteadiness(painted, again, torch.zeros(3, 2, 12, 16))
    torch.testing.assert_close(found, torch.tensor([0.0, 0.01, 0.04]))


def test_what_comes_from_beyond_the_frame_does_not_count() -> None:
    painted = torch.rand(1, 3, 12, 16, generator=generator_of(0))
    again = painted.roll((-2, -3), dims=(2, 3))
    assert unsteadiness(painted, again, whole_flow(3, 2)) == 0
    assert unsteadiness(painted, again, whole_flow(-3, -2)) > 0.05
    assert unsteadiness(painted, again, whole_flow(30, 0)) == 0, "nothing is in sight"


def test_both_pictures_have_a_gradient() -> None:
    painted, again = (
        torch.rand(1, 3, 12, 16, generator=generator_of(seed)).requires_grad_() for seed in (0, 1)
    )
    torch.autograd.backward(unsteadiness(painted, again, whole_flow(3, 2)).sum())
    assert painted.grad is not None
    assert again.grad is not None
    for unseen in (painted.grad[:, :, :2], painted.grad[..., :3]):
        assert not unseen.any()
    torch.testing.assert_close(painted.grad[:, :, 2:, 3:], -again.grad[:, :, :-2, :-3])


# ---------------------------------------------------------------------- nets, steady and not


def as_it_is(photo: Tensor) -> Tensor:
    return photo


def other_colors(photo: Tensor) -> Tensor:
    return 1 - photo.flip(1) ** 2


def softened(photo: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(photo, (2,) * 4, mode="replicate"), 5, stride=1)


def on_a_canvas(photo: Tensor) -> Tensor:
    """Strokes that stay where they are, whatever moves below them."""
    canvas = torch.rand(photo.shape[1:], generator=generator_of(9))
    return 0.7 * photo + 0.3 * canvas


def in_tiles(photo: Tensor) -> Tensor:
    """Strokes that keep to the grid of a net's strides."""
    return F.interpolate(F.avg_pool2d(photo, 8), scale_factor=8.0)


def dithered(photo: Tensor) -> Tensor:
    """Black and white: what lies near the threshold turns over with the slightest noise."""
    return (photo > 0.5).float()


def unsteady(net: Callable[[Tensor], Tensor]) -> Tensor:
    second = seen_again(PHOTOS, 1, 6, seed=0)
    return unsteadiness(net(PHOTOS), net(second["again"]), second["flow"]).mean()


@pytest.mark.parametrize("net", [as_it_is, other_colors, softened])
def test_nets_that_paint_what_they_see_are_steady(
    net: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the pixels between pixels, and for what a softening sees beyond the frame."""
    monkeypatch.setattr(steadiness, "NOISE", 0.0)
    assert unsteady(net) < 3e-5


@pytest.mark.parametrize("net", [on_a_canvas, in_tiles, dithered])
def test_nets_that_paint_by_place_or_by_chance_are_not(
    net: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steadiness, "NOISE", 0.0)
    assert unsteady(net) > 1e-3


def test_noise_alone_shows_what_exaggerates_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHIFT", "TURN", "ZOOM", "BEND"):
        monkeypatch.setattr(steadiness, name, 0.0)
    plain = unsteady(as_it_is)
    assert plain == pytest.approx(steadiness.NOISE**2 / 3, rel=0.5)  # the mean of σ² up to it
    assert unsteady(softened) < 0.1 * plain
    assert unsteady(lambda photo: (4 * photo - 1.5).clamp(0, 1)) > 3 * plain


@pytest.mark.parametrize(
    ("name", "recipe"), [("adain", adain_training.Recipe), ("fast", fast_training.Recipe)]
)
def test_recipes_of_the_files_that_ship_can_be_read(name: str, recipe: Any) -> None:
    """Also of those that were written before there was such a term."""
    _, facts = read_weights(config.data_dir() / "weights" / f"{name}.safetensors")
    known = {key: value for key, value in facts["recipe"].items() if key != "temporal_weight"}
    assert recipe(**known).temporal_weight == 0
    assert recipe(**facts["recipe"]).temporal_weight >= 0
