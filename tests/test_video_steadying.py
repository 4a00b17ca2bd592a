from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nstlib import kernels
from nstlib.color import luminance
from nstlib.painting import KnownClip, clip
from nstlib.video import Motion, steady
from nstlib.video.steadying import _details

SIZE = (48, 64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def still(index: int, frame: Tensor) -> Motion:
    height, width = frame.shape[2:]
    return Motion(index, frame, torch.zeros(1, 2, height, width), torch.ones(1, 1, height, width))


def still_motions(count: int, frame: Tensor | None = None) -> list[Motion]:
    frame = torch.zeros(1, 3, *SIZE) if frame is None else frame
    return [Motion(0, frame), *(still(i, frame) for i in range(1, count))]


def known_motions(known: KnownClip) -> list[Motion]:
    begins = {0, *known.cuts}
    parts = zip(
        *(maps.split(1) for maps in (known.frames, known.flows, known.visible)), strict=True
    )
    return [
        Motion(i, frame) if i in begins else Motion(i, frame, flow, shown)
        for i, (frame, flow, shown) in enumerate(parts)
    ]


def contrast(image: Tensor) -> float:
    """The energy of the finest details."""
    return float(next(_details(luminance(image))).square().mean())


# ---------------------------------------------------------------------------------------- blending


def test_without_weight_each_frame_stays_as_it_is() -> None:
    painted = torch.rand(4, 1, 3, *SIZE, generator=generator())
    for picture, result in zip(painted, steady(painted, still_motions(4), 0), strict=True):
        assert torch.equal(picture, result)


def still_in(dtype: torch.dtype, count: int) -> list[Motion]:
    frame = torch.zeros(1, 3, *SIZE, dtype=dtype)
    return [
        Motion(m.index, frame, *(None if x is None else x.to(dtype) for x in (m.flow, m.visible)))
        for m in still_motions(count)
    ]


@pytest.mark.parametrize("weight", [0.3, 0.7, 0.9])
def test_a_still_scene_is_the_sum_that_the_formula_says(weight: float) -> None:
    painted = torch.rand(6, 1, 3, *SIZE, generator=generator(), dtype=torch.float64)
    results = list(steady(painted, still_in(torch.float64, 6), weight, anchored=False))
    wanted = painted[0]
    torch.testing.assert_close(results[0], wanted)
    for picture, result in zip(painted[1:], results[1:], strict=True):
        wanted = weight * wanted + (1 - weight) * picture
        torch.testing.assert_close(result, wanted)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_pictures_keep_their_type(dtype: torch.dtype) -> None:
    painted = torch.rand(4, 1, 3, *SIZE, generator=generator()).to(dtype)
    results = list(steady(painted, still_in(dtype, 4), 0.7))
    assert {result.dtype for result in results} == {dtype}
    exact = list(steady(painted.double(), still_in(torch.float64, 4), 0.7))
    torch.testing.assert_close(results[-1].double(), exact[-1], atol=0.02, rtol=0)


def test_only_what_is_blended_is_a_new_tensor() -> None:
    painted = [picture.clone() for picture in torch.rand(4, 1, 3, *SIZE, generator=generator())]
    frame = painted[0]
    moving = [Motion(0, frame), still(1, frame), Motion(2, frame), still(3, frame)]
    for weight, same in ((0.7, [True, False, True, False]), (0, [True] * 4)):
        results = steady(painted, moving, weight)
        assert [a is b for a, b in zip(painted, results, strict=True)] == same


@pytest.mark.parametrize("anchored", [False, True])
def test_writing_into_a_result_changes_none_after_it(anchored: bool) -> None:
    painted = torch.rand(5, 1, 3, *SIZE, generator=generator())
    wanted = [r.clone() for r in steady(painted.clone(), still_motions(5), 0.7, anchored)]
    for result, right in zip(steady(painted, still_motions(5), 0.7, anchored), wanted, strict=True):
        assert torch.equal(result, right)
        result.zero_()


@pytest.mark.parametrize("weight", [0.5, 0.7, 0.9])
def test_flicker_keeps_the_variance_that_the_docstring_says(weight: float) -> None:
    """(1 - λ) / (1 + λ) of the variance, and (1 - λ)² / (1 + λ) of the change between frames."""
    noise = 0.05 * torch.randn(80, 1, 3, *SIZE, generator=generator())
    calm = torch.cat(list(steady(0.5 + noise, still_motions(80), weight, anchored=False)))[40:]
    kept = float((calm - 0.5).square().mean()) / 0.05**2
    changed = float((calm[1:] - calm[:-1]).square().mean()) / (2 * 0.05**2)
    assert kept == pytest.approx((1 - weight) / (1 + weight), rel=0.06)
    assert changed == pytest.approx((1 - weight) ** 2 / (1 + weight), rel=0.06)


def test_what_just_came_into_sight_and_a_new_scene_are_as_painted() -> None:
    painted = torch.rand(3, 1, 3, *SIZE, generator=generator())
    shown = torch.ones(1, 1, *SIZE)
    shown[..., :20] = 0
    flow = torch.randn(1, 2, *SIZE, generator=generator())
    moving = [Motion(0, painted[0]), Motion(1, painted[1], flow, shown), Motion(2, painted[2])]
    first, second, third = steady(painted, moving, 0.9)
    assert torch.equal(first, painted[0])
    assert torch.equal(second[..., :20], painted[1, ..., :20])
    assert not torch.equal(second[..., 20:], painted[1, ..., 20:])
    assert torch.equal(third, painted[2])


def test_it_follows_the_motion_and_the_wrong_direction_does_not() -> None:
    """A clip whose strokes move with it is steady already, and stays; warped forward it smears."""
    known = clip("pan", frames=6, height=96, width=128, seed=1)
    moving = known_motions(known)
    wrong = [
        Motion(m.index, m.frame, None if m.flow is None else -m.flow, m.visible) for m in moving
    ]
    apart = {}
    for name, used in (("right", moving), ("wrong", wrong)):
        calm = torch.cat(list(steady(known.frames.split(1), used, 0.7, anchored=False)))
        apart[name] = float((calm - known.frames).abs()[:, :, 16:-16, 16:-16].mean())
    assert apart["right"] < 0.012
    assert apart["wrong"] > 4 * apart["right"]


def test_without_the_mask_there_are_ghosts() -> None:
    known = clip("sprites", frames=8, height=96, width=128, seed=1)
    moving = known_motions(known)
    blind = [
        Motion(m.index, m.frame, m.flow, None if m.visible is None else torch.ones_like(m.visible))
        for m in moving
    ]
    hidden = known.visible[1:] == 0
    errors = []
    for used in (moving, blind):
        calm = torch.cat(list(steady(known.frames.split(1), used, 0.7, anchored=False)))
        away = (calm - known.frames)[1:].abs().mean(dim=1, keepdim=True)
        errors.append(float(away[hidden].mean()))
    assert errors[0] == 0
    assert errors[1] > 0.05


# ----------------------------------------------------------------------------------------- anchors


def flickering(count: int, seed: int = 0) -> Iterator[Tensor]:
    """A still picture whose strokes fall a little elsewhere in each frame."""
    ground = clip("still", frames=1, height=SIZE[0], width=SIZE[1], seed=2).frames
    strokes = generator(seed)
    for _ in range(count):
        yield (ground + 0.08 * torch.randn(ground.shape, generator=strokes)).clamp(0, 1)


def jittering(count: int, seed: int = 1) -> list[Motion]:
    """A still scene in which the flow errs by a tenth of a pixel or so, as found flows do."""
    errors = generator(seed)
    frame, shown = torch.zeros(1, 3, *SIZE), torch.ones(1, 1, *SIZE)
    return [Motion(0, frame)] + [
        Motion(i, frame, 0.1 * torch.randn(1, 2, *SIZE, generator=errors), shown)
        for i in range(1, count)
    ]


@pytest.mark.parametrize("weight", [0.7, 0.95])
def test_a_still_scene_neither_drifts_nor_darkens_nor_blurs_over_300_frames(weight: float) -> None:
    calm = list(steady(flickering(300), jittering(300), weight))
    early, late = torch.cat(calm[40:100]), torch.cat(calm[240:])
    assert abs(float(late.mean() - early.mean())) < 1e-3  # a quarter of a level of 8 bits
    # Nothing wanders off: each 4 × 4 px show on average what they showed.
    early_places, late_places = (F.avg_pool2d(part.mean(0), 4) for part in (early, late))
    assert float((late_places - early_places).abs().mean()) < 0.006
    assert contrast(late) == pytest.approx(contrast(early), rel=0.1)


def test_a_loop_that_feeds_on_whole_levels_does_darken() -> None:
    """What the test above is there to find: frames cut to 8 bits before they are blended again."""
    before, levels = None, []
    for picture, motion in zip(flickering(60), still_motions(60), strict=True):
        if before is not None:
            picture = kernels.warp(before, motion.flow, current=picture, mask=0.95 * motion.visible)
        before = (picture * 255).floor() / 255
        levels.append(float(before.mean()))
    assert levels[-1] < levels[0] - 0.02


def test_details_get_back_most_of_what_the_blend_took() -> None:
    painted = list(flickering(30))
    own = contrast(torch.cat(painted))
    plain = list(steady(painted, still_motions(30), 0.5, anchored=False))
    anchored = list(steady(painted, still_motions(30), 0.5))
    assert contrast(plain[-1]) < 0.6 * own
    assert 0.75 * own < contrast(anchored[-1]) < own
    # And it is steady all the same.
    change = [
        float(torch.stack([(b - a).square().mean() for a, b in pairwise(run[10:])]).mean())
        for run in (painted, anchored)
    ]
    assert change[1] < 0.6 * change[0]


def test_details_are_not_made_stronger_than_twice() -> None:
    """Where the flow finds nothing that belongs together there is nothing to make stronger."""
    painted = torch.rand(30, 1, 3, *SIZE, generator=generator())
    plain = list(steady(painted, still_motions(30), 0.95, anchored=False))[-1]
    anchored = list(steady(painted, still_motions(30), 0.95))[-1]
    assert contrast(anchored) <= 4.01 * contrast(plain)


@pytest.mark.parametrize("weight", [-0.1, 0.96, float("nan")])
def test_a_weight_off_its_range_is_refused_at_once(weight: float) -> None:
    with pytest.raises(ValueError, match="temporal_weight"):
        steady([], [], weight)
