"""The size of strokes: painted small, and enlarged with what the photo has that was too fine."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nstlib import strokes
from nstlib.images import resize
from nstlib.strokes import REPAINTED, SMALLEST, Size, doublings, enlarged, painted_size

# Odd sizes, narrow ones, and those of which a part is rounded up on one side and down on the other.
SIZES = [(64, 64), (65, 97), (96, 64), (101, 333), (185, 185), (188, 377), (183, 1281), (999, 1001)]
STROKES = [1.001, 1.3, 1.5, 1.99, 2, 2.01, 2.5, 3, 3.99, 4, 4.1, 5, 8, 15.9, 16]
# A fraction of a pixel is rounded: of 32 px and more that is up to 1.6 %, on either side.
ROUNDED = 1 + 0.5 / SMALLEST


def picture(height: int, width: int, count: int = 1, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return 0.8 * smooth + 0.2 * torch.rand(count, 3, height, width, generator=generator)


def paintable() -> list[tuple[Size, float, Size]]:
    """Return sizes and stroke sizes that they take, with the size that is painted first."""
    found = []
    for size, stroke_size in itertools.product(SIZES, STROKES):
        if min(size) / stroke_size >= SMALLEST:
            found.append((size, stroke_size, painted_size(size, stroke_size)))
    return found


# ------------------------------------------------------------------------------------- the sizes


@pytest.mark.parametrize("stroke_size", [0.25, 0.3, 0.5, 1, 1.0, 1.3, 1.99, 2])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_it_is_painted_smaller_by_the_size_of_the_strokes(size: Size, stroke_size: float) -> None:
    height, width = painted_size(size, stroke_size)
    assert isinstance(height, int)
    assert isinstance(width, int)
    assert abs(height - size[0] / stroke_size) <= 0.5
    assert abs(width - size[1] / stroke_size) <= 0.5
    if stroke_size == 1:
        assert (height, width) == size


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (31, 400)])
def test_a_tiny_picture_is_painted_as_it_is_or_larger(size: Size) -> None:
    assert painted_size(size, 1) == size
    assert painted_size(size, 0.5) == (2 * size[0], 2 * size[1])


@pytest.mark.parametrize("stroke_size", [0.2, 257, 0, -1, math.nan, math.inf])
def test_strokes_off_their_range_are_refused(stroke_size: float) -> None:
    with pytest.raises(ValueError, match=rf"stroke_size is {stroke_size}; .* in \[0.25, 256\]"):
        painted_size((640, 640), stroke_size)


@pytest.mark.parametrize("stroke_size", ["2", None, [2]])
def test_strokes_that_are_no_number_are_refused(stroke_size: Any) -> None:
    with pytest.raises(TypeError, match="stroke_size is .*; it must be a number"):
        painted_size((640, 640), stroke_size)


@pytest.mark.parametrize("shorter", [33, 45, 63, 100, 101, 199, 323, 500])
def test_what_leaves_too_few_pixels_is_refused_with_the_most_that_does_not(shorter: int) -> None:
    most = shorter / SMALLEST
    said = f"{most:.3g}"
    assert min(painted_size((shorter, 600), float(said))) == SMALLEST  # what it says is true
    line = rf"stroke_size is 16; a picture of {shorter}×600 px takes {said} at most"
    with pytest.raises(ValueError, match=line):
        painted_size((shorter, 600), 16)
    with pytest.raises(ValueError, match=f"a picture of 600×{shorter} px takes {said} at most"):
        painted_size((600, shorter), 16)


def test_a_picture_below_the_smallest_takes_no_larger_strokes() -> None:
    with pytest.raises(
        ValueError, match="stroke_size is 1.5; a picture of 20×64 px takes 1 at most"
    ):
        painted_size((20, 64), 1.5)


def test_each_size_is_at_most_double_the_one_before_and_the_last_is_the_picture_s() -> None:
    for size, stroke_size, small in paintable():
        steps = [small, *doublings(small, size)]
        assert steps[-1] == size
        for before, after in itertools.pairwise(steps):
            for one, other in zip(before, after, strict=True):
                assert one <= other <= 2 * one * ROUNDED**2, (size, stroke_size, steps)


def test_there_are_no_more_doublings_than_it_takes() -> None:
    for size, stroke_size, small in paintable():
        found = len(doublings(small, size))
        assert found <= max(1, math.ceil(math.log2(stroke_size) - 1e-9)), (size, stroke_size)


def test_the_sizes_keep_the_aspect_of_the_picture() -> None:
    for size, _, small in paintable():
        for height, width in doublings(small, size):
            # A pixel that was rounded in the small picture is one for each doubling.
            slack = max(size) / min(size) * max(size) / min(small)
            assert abs(height * size[1] - width * size[0]) <= slack * min(size)


def test_exact_powers_of_two_are_exact_doublings() -> None:
    assert doublings((64, 96), (64, 96)) == [(64, 96)]
    assert doublings((64, 96), (128, 192)) == [(128, 192)]
    assert doublings((32, 48), (256, 384)) == [(64, 96), (128, 192), (256, 384)]


# -------------------------------------------------------------------------------------- enlarged

Calls = list[tuple[Size, float]]


def repainting(calls: Calls) -> Callable[[Tensor, float], Tensor]:
    """Return what repaints nothing, but writes down at which size, and how strongly."""

    def repaint(image: Tensor, part: float) -> Tensor:
        calls.append(((image.shape[2], image.shape[3]), part))
        assert image.min() >= 0
        assert image.max() <= 1
        return image

    return repaint


def all_of(share: float) -> Tensor:
    return torch.full((1, 1, 1, 1), float(share))


@pytest.mark.parametrize(
    ("size", "stroke_size"),
    [
        *itertools.product([(96, 144), (95, 141)], [1.2, 1.7, 2.0]),
        ((121, 77), 1.7),
        ((121, 77), 2.0),
    ],
    ids=str,
)
def test_a_photo_that_stays_comes_back_exactly_after_one_doubling(
    size: Size, stroke_size: float
) -> None:
    photo = picture(*size)
    small = resize(photo, painted_size(size, stroke_size))
    for stays in (all_of(1), torch.ones(1, 1, *size)):
        found = enlarged(small, photo, stays, repainting([]))
        assert torch.allclose(found, photo, atol=1e-6)


@pytest.mark.parametrize("stroke_size", [2.5, 4.0])
def test_a_photo_that_stays_comes_back_nearly_after_more(stroke_size: float) -> None:
    size = (160, 241)
    photo = picture(*size)
    small = resize(photo, painted_size(size, stroke_size))
    found = enlarged(small, photo, all_of(1), repainting([]))
    blurred = resize(small, size)
    # Shrunk in two steps a photo is not quite what it is shrunk in one.
    assert (found - photo).abs().mean() < 0.1 * (blurred - photo).abs().mean()


@pytest.mark.parametrize("stroke_size", [1.3, 2.0, 4.0])
def test_where_the_photo_does_not_stay_none_of_its_detail_comes_back(stroke_size: float) -> None:
    size = (129, 160)
    small = picture(*painted_size(size, stroke_size), seed=1)
    found = enlarged(small, picture(*size), all_of(0), repainting([]))
    assert torch.equal(found, enlarged(small, picture(*size, seed=2), all_of(0), repainting([])))
    wanted = small
    for step in doublings((small.shape[2], small.shape[3]), size):
        wanted = resize(wanted, step)
    assert torch.equal(found, wanted)


def test_part_of_a_photo_gives_that_part_of_its_detail() -> None:
    photo, size = 0.25 + 0.5 * picture(128, 96), (128, 96)  # with room on both sides: no clamp
    small = resize(photo, (64, 48))
    blurred, quarter, whole = (
        enlarged(small, photo, all_of(share), repainting([])) for share in (0, 0.25, 1)
    )
    assert torch.allclose(quarter - blurred, 0.25 * (whole - blurred), atol=1e-6)
    left = (torch.arange(size[1]) < 48).float().expand(1, 1, *size)
    found = enlarged(small, photo, left, repainting([]))
    assert torch.allclose(found, left * whole + (1 - left) * blurred, atol=1e-6)


@pytest.mark.parametrize(
    ("stroke_size", "parts"),
    [(2**0.5, [0.5]), (2, [1]), (4, [1, 1]), (2**1.5, [1, 0.5]), (8, [1, 1, 1])],
)
def test_each_doubling_repaints_once_and_part_of_one_less_strongly(
    stroke_size: float, parts: list[float]
) -> None:
    calls: Calls = []
    size = (512, 640)
    small = picture(*painted_size(size, stroke_size))
    enlarged(small, picture(*size), all_of(0), repainting(calls))
    assert [where for where, _ in calls] == doublings((small.shape[2], small.shape[3]), size)
    assert [part for _, part in calls] == pytest.approx([REPAINTED * p for p in parts], rel=0.02)
    assert all(0 < part <= REPAINTED for _, part in calls)


def test_hardly_larger_strokes_are_hardly_repainted() -> None:
    # So that a slider has no jump where it leaves 1.
    calls: Calls = []
    enlarged(picture(198, 198), picture(200, 200), all_of(0), repainting(calls))
    assert [part for _, part in calls] == pytest.approx([REPAINTED * math.log2(200 / 198)])


def test_what_is_repainted_is_what_is_enlarged_next() -> None:
    def black(image: Tensor, part: float) -> Tensor:
        return torch.zeros_like(image)

    photo = picture(128, 128)
    assert enlarged(picture(32, 32, seed=1), photo, all_of(0), black).max() == 0


def test_a_batch_is_each_picture_by_itself() -> None:
    size, stays = (90, 131), torch.tensor([0.0, 0.4, 1.0]).view(3, 1, 1, 1)
    small, photos = picture(30, 44, count=3), picture(*size, count=3, seed=1)
    together = enlarged(small, photos, stays, repainting([]))
    of_one_photo = enlarged(small, photos[:1], stays, repainting([]))
    assert together.shape == (3, 3, *size)
    for i in range(3):
        row = slice(i, i + 1)
        one = enlarged(small[row], photos[row], stays[row], repainting([]))
        assert torch.allclose(together[row], one, atol=1e-6)
        one = enlarged(small[row], photos[:1], stays[row], repainting([]))
        assert torch.allclose(of_one_photo[row], one, atol=1e-6)


def test_values_stay_between_0_and_1() -> None:
    # Black strokes on a photo of stripes: what is given back would go below black.
    photo = (torch.arange(96) % 2).float().expand(1, 3, 64, 96).contiguous()
    for level in (0.0, 1.0):
        found = enlarged(torch.full((1, 3, 32, 48), level), photo, all_of(1), repainting([]))
        assert found.min() >= 0
        assert found.max() <= 1
        assert found.std() > 0.1


def test_a_missing_clamp_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = (torch.arange(96) % 2).float().expand(1, 3, 64, 96).contiguous()
    monkeypatch.setattr(Tensor, "clamp", lambda self, *given: self)
    found = strokes.enlarged(torch.zeros(1, 3, 32, 48), photo, all_of(1), lambda image, part: image)
    assert found.min() < -0.1
