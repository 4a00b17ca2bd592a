import pytest
import torch
from test_video_steadying import SIZE, known_motions, still, still_motions
from torch import Tensor

from nstlib.painting import clip
from nstlib.video import Motion, carried, motions


def overlap(moved: Tensor, truth: Tensor) -> float:
    """Intersection over union."""
    inside, wanted = moved > 0.5, truth > 0.5
    return float((inside & wanted).sum() / (inside | wanted).sum())


@pytest.mark.parametrize("found", [False, True], ids=["known motion", "found motion"])
def test_regions_move_along_with_what_they_are_on(found: bool) -> None:
    known = clip("sprites", frames=12, height=144, width=192, seed=1)
    moving = motions(known.frames.split(1)) if found else known_motions(known)
    regions = torch.cat([known.masks[:1], 1 - known.masks[:1]])
    for motion, moved in carried(regions, moving):
        assert overlap(moved[:1], known.masks[motion.index]) > 0.85, motion.index
        assert float((moved.sum(dim=0) - 1).abs().max()) < 0.02
    assert overlap(known.masks[:1], known.masks[11:]) < 0.5  # they did move


def test_half_tones_stay_and_what_regions_cover_in_all() -> None:
    veil = torch.full((1, 1, *SIZE), 0.3)
    thirds = torch.full((3, 1, *SIZE), 1 / 3)
    soft = torch.linspace(0, 1, SIZE[1]).expand(1, 1, *SIZE)
    for regions in (veil, thirds, torch.cat([soft, 1 - soft])):
        for _, moved in carried(regions, still_motions(8)):
            torch.testing.assert_close(moved, regions, atol=0.02, rtol=0)


def test_what_comes_into_sight_is_of_the_region_that_it_looks_like() -> None:
    """A red thing goes to the right before blue: where it was, and beyond the border, it is blue."""
    red, blue = (torch.tensor(color).view(1, 3, 1, 1) for color in ((1.0, 0, 0), (0, 0, 1.0)))
    thing = torch.zeros(1, 1, 32, 48)
    thing[..., 8:24, 18:28] = 1
    before = torch.zeros_like(thing)
    before[..., 8:24, 12:22] = 1
    flow = torch.cat([-6 * thing, torch.zeros_like(thing)], dim=1)
    shown = ((thing == 1) | (before == 0)).float()
    shown[..., :3] = 0
    frames = [mask * red + (1 - mask) * blue for mask in (before, thing)]
    moving = [Motion(0, frames[0]), Motion(1, frames[1], flow, shown)]
    (_, _), (_, moved) = carried(before, moving)
    torch.testing.assert_close(moved, thing, atol=0.02, rtol=0)


def test_after_a_cut_all_is_of_the_last_region_until_one_is_drawn() -> None:
    frames = torch.zeros(1, 3, *SIZE)
    moving = [
        Motion(0, frames),
        still(1, frames),
        Motion(2, frames),
        still(3, frames),
        still(4, frames),
    ]
    regions = torch.zeros(2, 1, *SIZE)
    regions[0, ..., :30] = 1
    regions[1] = 1 - regions[0]
    anew = regions.flip(0)
    found = [moved for _, moved in carried({0: regions, 4: anew}, moving)]
    assert torch.equal(found[1], regions)
    for moved in found[2:4]:
        assert float(moved[0].max()) == 0
        assert float(moved[1].min()) == 1
    assert torch.equal(found[4], anew)
    one = [moved for _, moved in carried(regions[:1], moving)]
    assert float(one[2].max()) == 0


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ({3: torch.zeros(1, 1, *SIZE)}, "must begin with frame 0"),
        (
            {0: torch.zeros(1, 1, *SIZE), 3: torch.zeros(2, 1, *SIZE)},
            "number of regions that changes",
        ),
        (torch.zeros(1, 1, 8, 8), "mask of frame 0"),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        list(carried(mask, still_motions(2)))  # type: ignore[arg-type]
