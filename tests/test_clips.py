"""Made clips: their truths against the pixels, against each other, and against the formulas."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from nstlib import kernels
from nstlib.images import sample
from nstlib.painting import KnownClip, clip
from nstlib.painting.clips import LAP, PHOTOS, Kind

SMALL = {"height": 96, "width": 160}
MOVING: list[tuple[Kind, int]] = [
    (kind, seed) for kind in ("pan", "zoom", "sprites", "cut") for seed in (0, 1, 2, 3)
]


def errors_of(known: KnownClip) -> Tensor:
    """Return how far each frame is from the one before, moved as the truth says: (N − 1, 1, H, W)."""
    moved = kernels.warp(known.frames[:-1], known.flows[1:])
    return (moved - known.frames[1:]).abs().mean(dim=1, keepdim=True)


@pytest.mark.parametrize(("kind", "seed"), MOVING)
def test_the_frame_before_moved_by_the_flow_is_the_frame_where_it_was_visible(
    kind: Kind, seed: int
) -> None:
    known = clip(kind, frames=10, seed=seed, **SMALL)
    visible, errors = known.visible[1:], errors_of(known)
    mean = (visible * errors).sum() / visible.sum()
    assert mean < 0.01
    # What is left is of bilinear mixing and of edges; unmoved frames are much farther apart.
    unmoved = (known.frames[1:] - known.frames[:-1]).abs().mean(dim=1, keepdim=True)
    assert (visible * unmoved).sum() / visible.sum() > 2.5 * mean


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_away_from_edges_not_one_pixel_is_wrong(seed: int) -> None:
    known = clip("sprites", frames=8, seed=seed, **SMALL)
    # Within two pixels of another motion a pixel's four neighbours may show something else.
    reach = torch.nn.functional.max_pool2d
    hidden_near = reach(1 - known.visible[1:], 5, stride=1, padding=2)
    rough = sum(
        reach(known.flows[1:, i : i + 1], 5, 1, 2) + reach(-known.flows[1:, i : i + 1], 5, 1, 2)
        for i in (0, 1)
    )
    calm = (hidden_near == 0) & (rough < 0.5)
    assert calm.float().mean() > 0.6
    assert errors_of(known)[calm].max() < 0.12
    assert errors_of(known)[calm].quantile(0.999) < 0.06


def test_a_still_clip_does_not_change_at_all() -> None:
    known = clip("still", frames=3, **SMALL)
    assert torch.equal(known.frames, known.frames[:1].expand_as(known.frames))
    assert not known.flows.any()
    assert known.visible[1:].all()


def test_a_pan_moves_all_pixels_alike_by_parts_of_pixels_at_changing_speed() -> None:
    flows = clip("pan", frames=48, **SMALL).flows
    first = flows[:, :, :1, :1]
    torch.testing.assert_close(flows, first.expand_as(flows), atol=1e-4, rtol=0)
    speeds = first[1:].norm(dim=1).flatten()
    assert speeds.max() > 1.5 * speeds.min()
    assert ((first - first.round()).abs() > 0.05).float().mean() > 0.5


def test_a_zoom_is_a_similarity_that_turns_and_comes_closer() -> None:
    flow = clip("zoom", frames=24, **SMALL).flows[-1].double()
    rows, columns = np.mgrid[:96, :160]
    places = (columns + 1j * rows).ravel()
    found = (flow[0] + 1j * flow[1]).numpy().ravel()
    system = np.stack([places, np.ones_like(places)], axis=1)
    (growth, shift), *_ = np.linalg.lstsq(system, found, rcond=None)
    np.testing.assert_allclose(growth * places + shift, found, atol=1e-4)
    assert abs(1 + growth) < 0.999  # backward in time: things were smaller
    assert abs(np.angle(1 + growth)) > 1e-3


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_what_is_said_to_be_hidden_was_covered_and_what_is_visible_was_not(seed: int) -> None:
    known = clip("sprites", frames=24, seed=seed, **SMALL)
    before = kernels.warp(known.masks[:-1], known.flows[1:])  # the subject, where a pixel was
    background, inside = known.masks[1:] == 0, leads_inside(known.flows[1:])
    visible = known.visible[1:] == 1
    assert not (visible & ~inside).any()
    assert (background & inside & ~visible).sum() > 50
    # A thing's edge, mixed from four pixels, may lie up to a pixel beside the true one.
    assert (before[background & visible] > 0.75).float().mean() < 1e-3
    assert (before[background & inside & ~visible] < 0.25).float().mean() < 1e-2
    subject = known.masks[1:] == 1
    assert (before[subject & visible] < 0.25).sum() == 0
    assert (subject & inside & ~visible).sum() > 50  # the subject's things cover each other, too


def leads_inside(flows: Tensor) -> Tensor:
    height, width = flows.shape[2:]
    x = flows[:, :1] + torch.arange(width)
    y = flows[:, 1:] + torch.arange(height)[:, None]
    return (x >= -0.5) & (x < width - 0.5) & (y >= -0.5) & (y < height - 0.5)


def test_hidden_pixels_are_where_the_warped_frame_shows_ghosts() -> None:
    known = clip("sprites", frames=16, **SMALL)
    errors, visible = errors_of(known), known.visible[1:]
    hidden = (1 - visible) * leads_inside(known.flows[1:])
    assert (errors * hidden).sum() / hidden.sum() > 10 * (errors * visible).sum() / visible.sum()


def test_the_subject_is_in_the_masks_and_moves_otherwise_than_its_background() -> None:
    known = clip("sprites", frames=12, **SMALL)
    inside, outside = known.masks[-1, 0] == 1, known.masks[-1, 0] == 0
    assert 0.1 < inside.float().mean() < 0.5
    assert ((known.masks > 0) & (known.masks < 1)).any()  # soft edges
    flow = known.flows[-1]
    background = flow[:, outside]
    assert (background - background[:, :1]).abs().max() < 1e-4
    assert (flow[:, inside] - background[:, :1]).norm(dim=0).min() > 0.1


@pytest.mark.parametrize("kind", ["still", "pan", "zoom"])
def test_a_clip_without_sprites_has_no_subject(kind: Kind) -> None:
    assert not clip(kind, frames=2, **SMALL).masks.any()


@pytest.mark.parametrize("seed", range(4))
def test_at_a_cut_nothing_is_known_and_elsewhere_most(seed: int) -> None:
    known = clip("cut", frames=9, seed=seed, **SMALL)
    assert known.cuts == (5,)
    for i in (0, *known.cuts):
        assert not known.flows[i].any()
        assert not known.visible[i].any()
    others = [i for i in range(9) if i not in (0, *known.cuts)]
    assert known.visible[others].mean() > 0.9
    steps = (known.frames[1:] - known.frames[:-1]).abs().mean(dim=(1, 2, 3))
    assert steps.argmax() + 1 == known.cuts[0]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_seed_makes_the_same_clip_on_every_run_and_another_seed_another(kind: Kind) -> None:
    first, again, other = (clip(kind, 3, **SMALL, seed=s, noise=0.01) for s in (0, 0, 1))
    for name in ("frames", "flows", "visible", "masks"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.frames, other.frames)


def test_a_longer_clip_begins_as_the_shorter_and_comes_back_after_a_lap() -> None:
    short, long = (clip("sprites", frames, height=32, width=48) for frames in (3, LAP + 1))
    for name in ("frames", "flows", "visible", "masks"):
        torch.testing.assert_close(getattr(long, name)[:3], getattr(short, name))
    torch.testing.assert_close(long.frames[LAP], long.frames[0], atol=1e-4, rtol=0)


def test_noise_has_its_deviation_is_new_in_each_frame_and_leaves_the_truth() -> None:
    grey = torch.full((1, 3, 40, 40), 0.5)
    clean, noisy = (clip("pan", 4, **SMALL, noise=noise, photo=grey) for noise in (0.0, 0.03))
    noise = noisy.frames - clean.frames
    assert noise.std().item() == pytest.approx(0.03, rel=0.02)
    assert abs(noise.mean().item()) < 3e-4
    pairs = torch.corrcoef(noise.flatten(1)) - torch.eye(4)
    assert pairs.abs().max() < 0.02
    assert torch.equal(noisy.flows, clean.flows)
    strong = clip("still", 2, **SMALL, noise=0.4).frames
    assert strong.min() == 0
    assert strong.max() == 1


@pytest.mark.parametrize("kind", get_args(Kind))
@pytest.mark.parametrize("size", [(32, 32), (97, 33), (33, 128)])
def test_all_is_float32_in_range_and_of_the_size_asked_for(
    kind: Kind, size: tuple[int, int]
) -> None:
    known = clip(kind, 3, *size, noise=0.02)
    for value, channels in zip(
        (known.frames, known.flows, known.visible, known.masks), (3, 2, 1, 1), strict=True
    ):
        assert value.shape == (3, channels, *size)
        assert value.dtype == torch.float32
        assert value.isfinite().all()
    assert known.visible.unique().tolist() in ([0, 1], [0])
    for value in (known.frames, known.masks):
        assert value.min() >= 0
        assert value.max() <= 1


def test_the_photo_handed_in_is_the_background_also_of_a_cut() -> None:
    green = torch.tensor([0.1, 0.7, 0.2]).view(1, 3, 1, 1).expand(1, 3, 20, 30)
    for kind in ("still", "pan", "zoom"):
        frames = clip(kind, 2, **SMALL, photo=green).frames
        torch.testing.assert_close(frames, green[:, :, :1, :1].expand_as(frames), atol=1e-5, rtol=0)
    known = clip("sprites", 2, **SMALL, photo=green)
    background = (known.masks == 0).expand_as(known.frames)
    wanted = green[:, :, :1, :1].expand_as(known.frames)
    torch.testing.assert_close(known.frames[background], wanted[background], atol=1e-5, rtol=0)


def test_without_a_photo_seeds_go_through_the_samples() -> None:
    for seed, name in enumerate(PHOTOS):
        mean = clip("still", 1, **SMALL, seed=seed).frames.mean(dim=(0, 2, 3))
        photo = clip("still", 1, **SMALL, photo=sample(name)).frames.mean(dim=(0, 2, 3))
        torch.testing.assert_close(mean, photo)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "swirl"}, "kind is 'swirl'; it takes 'still', 'pan'"),
        ({"frames": 0}, "frames is 0"),
        ({"kind": "cut", "frames": 1}, "frames is 1; a cut takes at least 2"),
        ({"height": 16}, "height is 16"),
        ({"width": 5000}, "width is 5000"),
        ({"seed": -1}, "seed is -1"),
        ({"noise": 0.6}, "noise is 0.6"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"photo": torch.zeros(3, 8, 8)}, r"photo has shape \(3, 8, 8\)"),
        ({"photo": torch.full((1, 3, 8, 8), 2.0)}, "photo has values from 2 to 2"),
    ],
)
def test_a_wrong_value_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clip(**{"kind": "pan", "frames": 2, **SMALL, **arguments})


@pytest.mark.parametrize("arguments", [{"frames": 2.5}, {"height": "64"}, {"photo": "cat.jpg"}])
def test_a_wrong_type_is_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(arguments))):
        clip(**{"kind": "pan", "frames": 2, **SMALL, **arguments})
