"""Interpolation: tables of weights by their definition, and maps that keep how far styles are apart."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from scipy.spatial.distance import pdist
from torch import Tensor

from nstlib import interpolation
from nstlib.interpolation import (
    corner_weights,
    near_weights,
    path_weights,
    spaced,
    square_weights,
    style_map,
)
from nstlib.styles import Style

PATHS = [(2, 2), (2, 3), (2, 25), (3, 3), (3, 60), (4, 5), (5, 48), (7, 100)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_are_shares(table: Tensor) -> None:
    assert table.dtype == torch.float32
    assert (table >= 0).all()
    assert torch.allclose(table.sum(dim=-1), torch.ones(table.shape[:-1]), atol=1e-6)


# ------------------------------------------------------------------------------------ the square


def test_each_corner_is_one_style_and_the_centre_has_a_quarter_of_each() -> None:
    corners = [corner_weights(x, y).tolist() for y in (0, 1) for x in (0, 1)]
    assert corners == torch.eye(4).tolist()  # left to right, then down
    assert corner_weights(0.5, 0.5).tolist() == [0.25] * 4


def test_weights_in_the_square_are_bilinear() -> None:
    x, y = random(2, 50)
    table = corner_weights(x, y)
    assert table.shape == (50, 4)
    assert_are_shares(table)
    # A bilinear mean of the corners' own coordinates is the point.
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert torch.allclose(table @ corners, torch.stack([x, y], dim=1).float(), atol=1e-6)
    # Along a row of the square they lie on a straight line.
    ends, middle = corner_weights(torch.tensor([0.2, 0.8]), 0.3), corner_weights(0.5, 0.3)
    assert torch.allclose(ends.mean(dim=0), middle, atol=1e-6)


def test_a_number_and_a_tensor_give_a_row_for_each_of_the_tensor_s() -> None:
    column = torch.tensor([[0.0], [0.5], [1.0]])
    table = corner_weights(0.25, column)
    assert table.shape == (3, 1, 4)
    for i, y in enumerate((0.0, 0.5, 1.0)):
        assert torch.equal(table[i, 0], corner_weights(0.25, y))


@pytest.mark.parametrize("value", [-0.5, 1.5, math.nan, math.inf])
@pytest.mark.parametrize("name", ["x", "y"])
def test_a_point_outside_the_square_is_refused(name: str, value: float) -> None:
    point = {"x": 0.5, "y": 0.5, name: value}
    with pytest.raises(ValueError, match=rf"{name} is {value}; the square goes from 0 to 1"):
        corner_weights(**point)
    point[name] = torch.tensor([0.5, value])  # type: ignore[assignment]
    with pytest.raises(ValueError, match=rf"{name} is \[0.5, .*; the square goes from 0 to 1"):
        corner_weights(**point)


@pytest.mark.parametrize("steps", [2, 3, 5, 8])
def test_a_square_is_read_row_by_row_from_the_top_left(steps: int) -> None:
    table = square_weights(steps)
    assert table.shape == (steps**2, 4)
    assert_are_shares(table)
    for row in range(steps):
        for column in range(steps):
            here = corner_weights(column / (steps - 1), row / (steps - 1))
            assert torch.allclose(table[row * steps + column], here, atol=1e-6)
    corners = [0, steps - 1, steps * (steps - 1), steps**2 - 1]
    assert torch.equal(table[corners], torch.eye(4))


@pytest.mark.parametrize("steps", [1, 0, -3, 2.0, "5", True, None])
def test_a_square_without_corners_is_refused(steps: Any) -> None:
    with pytest.raises(ValueError, match=f"steps is {steps!r}; it takes a whole number, 2 or more"):
        square_weights(steps)


# -------------------------------------------------------------------------------------- the path


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize(("styles", "frames"), PATHS)
def test_a_row_of_a_path_has_shares_of_two_neighbours_at_most(
    styles: int, frames: int, closed: bool
) -> None:
    table = path_weights(styles, frames, closed)
    assert table.shape == (frames, styles)
    assert_are_shares(table)
    for row in table:
        first, *others = row.nonzero().flatten().tolist()
        assert others in ([], [first + 1]) or (closed and (first, others) == (0, [styles - 1]))


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("styles", [2, 3, 5])
def test_each_style_is_met_alone_where_frames_fall_on_the_stops(styles: int, closed: bool) -> None:
    each = 8  # frames from stop to stop
    table = path_weights(styles, styles * each if closed else (styles - 1) * each + 1, closed)
    assert torch.equal(table[::each], torch.eye(styles))


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize(("styles", "frames"), PATHS)
def test_each_style_is_the_most_of_a_picture_however_few_there_are(
    styles: int, frames: int, closed: bool
) -> None:
    # The frame nearest to a stop is at most half a step of ≤ 1 away: there the style has a half.
    assert (path_weights(styles, frames, closed).amax(dim=0) >= 0.5 - 1e-6).all()


@pytest.mark.parametrize(("styles", "frames"), PATHS)
def test_an_open_path_begins_at_the_first_style_and_ends_at_the_last(
    styles: int, frames: int
) -> None:
    table = path_weights(styles, frames, closed=False)
    assert torch.equal(table[0], torch.eye(styles)[0])
    assert torch.allclose(table[-1], torch.eye(styles)[-1], atol=1e-6)
    # Walked backwards it is the path through the styles in reverse.
    assert torch.allclose(table.flip(0, 1), table, atol=1e-6)


def has_no_jump(table: Tensor) -> bool:
    """Return whether the step from the last row to the first is among those like it."""
    steps = (table.roll(-1, 0) - table).abs().sum(dim=1)
    return bool(0.5 * steps[:-1].min() <= steps[-1] <= steps[:-1].max() + 1e-6)


@pytest.mark.parametrize(("styles", "frames"), [(2, 24), (3, 60), (4, 32), (5, 100)])
def test_a_closed_path_shown_again_and_again_has_no_jump(styles: int, frames: int) -> None:
    table = path_weights(styles, frames)
    assert has_no_jump(table)
    # Begun at another style it is the same walk: no leg differs from the others.
    each = frames // styles
    assert torch.allclose(table.roll(-each, 0), table.roll(1, 1), atol=1e-6)
    # What goes wrong most easily is told apart: a last frame that is the first once more, which
    # stands still, and an open path, which jumps.
    assert not has_no_jump(torch.cat([table, table[:1]]))
    assert not has_no_jump(path_weights(styles, frames, closed=False))


@pytest.mark.parametrize("closed", [True, False])
def test_a_walk_stands_still_at_a_stop_and_is_fastest_half_way(closed: bool) -> None:
    each = 1000
    table = path_weights(3, 3 * each if closed else 2 * each + 1, closed)
    speed = (table[1:] - table[:-1]).abs().sum(dim=1) / 2 * each  # in shares a leg
    for stop in (0, each, 2 * each - 1):
        assert speed[stop] < 0.01
    assert speed[each // 2].item() == pytest.approx(math.pi / 2, rel=1e-3)
    assert speed.max().item() == pytest.approx(math.pi / 2, rel=1e-3)


@pytest.mark.parametrize("closed", [True, False])
def test_shares_follow_the_formula(closed: bool) -> None:
    frames = 37
    place = torch.arange(frames).double() * (3 / frames if closed else 2 / (frames - 1))
    wanted = torch.zeros(frames, 3, dtype=torch.float64)
    for row, at in enumerate(place.tolist()):
        leg = min(int(at), 2 if closed else 1)
        wanted[row, (leg + 1) % 3] = 0.5 - 0.5 * math.cos(math.pi * (at - leg))
        wanted[row, leg] = 1 - wanted[row].sum()
    assert torch.allclose(path_weights(3, frames, closed).double(), wanted, atol=1e-6)


def test_a_path_past_too_few_styles_or_in_too_few_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="styles is 1; a path leads past 2 or more"):
        path_weights(1, 10)
    with pytest.raises(ValueError, match="frames is 3; it takes one for each of the 4 styles"):
        path_weights(4, 3)


# ----------------------------------------------------------------------------------- on the map


def test_at_a_style_s_own_place_it_is_alone_and_equals_share() -> None:
    places = torch.tensor([[0.0, 0.0], [1.0, 0.5], [1.0, 0.5], [0.3, 0.9]])
    assert near_weights(places, places[0]).tolist() == [1, 0, 0, 0]
    assert near_weights(places, places[1]).tolist() == [0, 0.5, 0.5, 0]


def test_weights_fall_with_the_fourth_power_of_the_distance() -> None:
    places, point = random(6, 2), random(2, seed=1)
    found = near_weights(places, point)
    inverse = torch.stack([1 / (place - point).norm() ** 4 for place in places])
    assert torch.allclose(found, inverse / inverse.sum())
    assert found.sum().item() == pytest.approx(1)


def test_other_places_order_moves_and_scales_change_nothing() -> None:
    places, point = random(6, 2), random(2, seed=1)
    found, order = near_weights(places, point), torch.tensor([3, 0, 5, 1, 4, 2])
    assert torch.allclose(near_weights(places[order], point), found[order])
    assert torch.allclose(near_weights(7 * places + 3, 7 * point + 3), found)
    assert torch.allclose(near_weights(places.flip(1), point.flip(0)), found)


@pytest.mark.parametrize("away", [1e-3, 1e-10, 1e-18, 1e-20, 1e-25, 1e-40])
def test_the_weights_go_to_a_style_s_own_as_the_point_does(away: float) -> None:
    places = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = near_weights(
        places, torch.tensor([away, 0.0])
    )  # in float32 1 / away⁴ overflows, or away² is 0
    assert found.isfinite().all()
    assert found.sum().item() == pytest.approx(1)
    assert 1 - found[0] < 4 * away**2 + 1e-7


def test_far_away_all_styles_count_alike() -> None:
    far = near_weights(random(5, 2), torch.tensor([1e6, -1e6], dtype=torch.float64))
    assert torch.allclose(far, torch.full((5,), 0.2, dtype=torch.float64), atol=1e-5)


# ---------------------------------------------------------------------------------------- spaced


@pytest.mark.parametrize(("count", "least"), [(2, 0.5), (5, 0.3), (9, 0.22), (12, 0.18)])
def test_places_moved_apart_are_so_far_apart_and_stay_in_the_square(
    count: int, least: float
) -> None:
    for seed in range(5):
        places = 0.4 + 0.2 * random(count, 2, seed=seed)  # all in the middle
        before = places.clone()
        moved = spaced(places, least)
        assert torch.equal(places, before)
        assert distances(moved).min() > 0.998 * least
        assert moved.min() >= 0
        assert moved.max() <= 1
        assert moved.dtype == torch.float32


def test_places_far_enough_apart_stay_where_they_are() -> None:
    places = torch.tensor([[0.0, 0.0], [0.5, 0.1], [0.2, 0.9], [1.0, 1.0]])
    assert torch.equal(spaced(places, 0.4), places)
    near = torch.cat([places, torch.tensor([[0.5, 0.2]])])
    moved = spaced(near, 0.3)
    assert torch.equal(moved[[0, 2, 3]], places[[0, 2, 3]])  # the pair parts, and no other
    assert torch.allclose(moved[[1, 4]].mean(dim=0), torch.tensor([0.5, 0.15]), atol=1e-3)
    assert torch.equal(spaced(places[:1], 0.4), places[:1])


@pytest.mark.parametrize("corner", [(0.5, 0.5), (0.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("count", [2, 3, 6])
def test_places_that_coincide_part_too(count: int, corner: tuple[float, float]) -> None:
    moved = spaced(torch.tensor(corner).expand(count, 2), 0.2)
    assert distances(moved).min() > 0.998 * 0.2
    assert torch.equal(moved, spaced(torch.tensor(corner).expand(count, 2), 0.2))


def test_too_many_places_for_a_square_are_told() -> None:
    with pytest.raises(
        ValueError, match="least is 0.9; there is no room for 6 places so far apart"
    ):
        spaced(random(6, 2), 0.9)


# --------------------------------------------------------------------------------- map of styles


def style_at(vector: Tensor, tap: str = "relu1_1") -> Style:
    """Return a style with half of a vector for its means, and half for its deviations."""
    half = len(vector) // 2
    return Style({tap: vector[None, :half]}, {tap: vector[None, half:]})


def random_styles(count: int, seed: int = 0, **scales: float) -> list[Style]:
    """Return styles of two taps, whose statistics are multiplied by ``scales``."""
    taps = {
        tap: random(count, 2, 6, seed=seed + i) * scales.get(tap, 1) for i, tap in enumerate("ab")
    }
    return [
        Style(
            {tap: part[i, :1] for tap, part in taps.items()},
            {tap: part[i, 1:] for tap, part in taps.items()},
        )
        for i in range(count)
    ]


def distances(places: Tensor) -> Tensor:
    return torch.from_numpy(pdist(places.double().numpy()))


def in_a_plane(points: Tensor, seed: int = 5) -> list[Style]:
    """Return styles whose statistics lie in a plane of 12 dimensions as ``points`` do in theirs."""
    axes = torch.linalg.qr(random(12, 2, seed=seed) - 0.5).Q
    return [style_at(row) for row in points @ axes.T + 2]


@pytest.mark.parametrize("count", [3, 4, 9])
def test_styles_that_lie_in_a_plane_keep_their_distances_up_to_one_scale(count: int) -> None:
    points = random(count, 2)
    ratio = distances(style_map(in_a_plane(points))) / distances(points)
    assert torch.allclose(ratio, ratio.mean().expand_as(ratio), rtol=1e-5)


def test_a_plane_that_keeps_distances_worse_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    svd = torch.linalg.svd

    def with_axes_alike(*given: Any, **options: Any) -> Any:  # forgets the axes' lengths
        directions, lengths, rest = svd(*given, **options)
        return directions, torch.ones_like(lengths), rest

    points = random(6, 2) * torch.tensor([3.0, 1.0])
    monkeypatch.setattr(torch.linalg, "svd", with_axes_alike)
    ratio = distances(style_map(in_a_plane(points))) / distances(points)
    assert ratio.std() > 0.05 * ratio.mean()


def test_the_map_is_that_of_classical_scaling() -> None:
    # Torgerson's own way, from the table of the distances.
    styles = random_styles(7)
    squares = torch.zeros(7, 7, dtype=torch.float64)
    for tap in "ab":
        rows = torch.cat([torch.cat([s.means[tap], s.stds[tap]], dim=1) for s in styles])
        apart = (rows[:, None] - rows).square().sum(dim=2)
        squares += apart / (apart.sum() / (7 * 6))
    centre = torch.eye(7, dtype=torch.float64) - 1 / 7
    values, vectors = torch.linalg.eigh(-centre @ squares @ centre / 2)
    wanted = vectors[:, -2:] * values[-2:].sqrt()
    found, oracle = distances(style_map(styles)), distances(wanted)
    assert torch.allclose(found / found.max(), oracle / oracle.max(), atol=1e-5)


def fits_the_square(places: Tensor) -> bool:
    low, high = places.amin(dim=0), places.amax(dim=0)
    return bool(
        torch.allclose((low + high) / 2, torch.full((2,), 0.5), atol=1e-5)
        and (high - low).max().item() == pytest.approx(1, abs=1e-5)
        and places.min() >= -1e-6
        and places.max() <= 1 + 1e-6
    )


@pytest.mark.parametrize("count", [2, 3, 8])
def test_a_map_fills_the_square_from_side_to_side(count: int) -> None:
    places = style_map(random_styles(count))
    assert places.shape == (count, 2)
    assert places.dtype == torch.float32
    assert fits_the_square(places)


def test_the_first_style_lies_in_the_left_half_and_the_upper_one() -> None:
    # Of a lopsided map too, whose mean is not its middle.
    lopsided = [style_at(torch.tensor([level, 1.0])) for level in (-1.0, -20.0, 10.0, 11.0)]
    for styles in (lopsided, *(random_styles(6, seed=seed) for seed in range(0, 60, 2))):
        assert (style_map(styles)[0] <= 0.5 + 1e-6).all()


def test_another_order_of_the_styles_is_the_same_map_but_for_its_mirror_image() -> None:
    styles, order = random_styles(6), [4, 2, 0, 5, 1, 3]
    places, other = style_map(styles), style_map([styles[i] for i in order])
    away, wanted = other - 0.5, places[order] - 0.5
    for axis in (0, 1):
        same, mirrored = away[:, axis] - wanted[:, axis], away[:, axis] + wanted[:, axis]
        assert min(same.abs().max(), mirrored.abs().max()) < 1e-5


def test_equal_styles_are_at_one_place() -> None:
    styles = random_styles(4)
    places = style_map([styles[0], *styles, styles[2]])
    assert torch.allclose(places[0], places[1], atol=1e-6)
    assert torch.allclose(places[3], places[5], atol=1e-6)
    assert fits_the_square(places)


@pytest.mark.parametrize("count", [2, 3, 5, 6, 7])
def test_styles_that_are_all_equal_lie_in_the_middle(count: int) -> None:
    # 1/3 is no number of a computer's: sums of it are rounded.
    style = style_at(torch.full((8,), 1 / 3))
    assert torch.allclose(style_map([style] * count), torch.full((count, 2), 0.5), atol=1e-5)


def test_two_styles_are_left_and_right() -> None:
    first, second = style_map(random_styles(2))
    assert torch.allclose(first, torch.tensor([0.0, 0.5]), atol=1e-6)
    assert torch.allclose(second, torch.tensor([1.0, 0.5]), atol=1e-6)
    narrow = [style_at(torch.tensor([level, 1.0])) for level in (3.0, 1.0)]  # of one channel
    assert torch.allclose(style_map(narrow), torch.tensor([[0.0, 0.5], [1.0, 0.5]]), atol=1e-6)


def test_every_tap_has_the_same_say_whatever_the_scale_of_its_maps() -> None:
    places = style_map(random_styles(6))
    for scale in (1e-4, 300.0):
        assert torch.allclose(style_map(random_styles(6, a=scale)), places, atol=1e-5)
        assert torch.allclose(style_map(random_styles(6, a=scale, b=scale)), places, atol=1e-5)


def test_taps_that_are_not_said_alike_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_they_are(styles: list[Style], tap: str) -> Tensor:
        return torch.cat([torch.cat([s.means[tap], s.stds[tap]], dim=1) for s in styles])

    monkeypatch.setattr(interpolation, "_said_alike", as_they_are)
    places = style_map(random_styles(6))
    assert (style_map(random_styles(6, a=300.0)) - places).abs().max() > 0.01


def test_a_tap_at_which_all_are_equal_says_nothing() -> None:
    styles = random_styles(7)
    more = [
        Style(s.means | {"c": torch.full((1, 4), 1 / 3)}, s.stds | {"c": torch.full((1, 4), 0.1)})  # type: ignore[operator]
        for s in styles
    ]
    assert torch.allclose(style_map(more), style_map(styles), atol=1e-5)


def test_a_channel_far_from_0_does_not_cancel() -> None:
    levels = [0.0, 0.25, 1.0]
    styles = [style_at(torch.tensor([4096 + level, 1.0])) for level in levels]
    assert torch.allclose(style_map(styles)[:, 0], torch.tensor(levels), atol=1e-5)


def test_a_map_of_one_style_or_of_two_models_is_refused() -> None:
    one, two = random_styles(2)
    with pytest.raises(ValueError, match="styles has 1; a map takes 2 or more"):
        style_map([one])
    with pytest.raises(ValueError, match="styles come from different models: their taps"):
        style_map([one, style_at(torch.ones(12), "a")])
    wider = Style({tap: torch.ones(1, 7) for tap in "ab"}, {tap: torch.ones(1, 7) for tap in "ab"})
    with pytest.raises(ValueError, match="styles come from different models: their taps"):
        style_map([one, two, wider])
