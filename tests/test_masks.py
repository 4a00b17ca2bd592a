"""Masks: read and written, cut out of photos along their contours, softened, and shared."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from nstlib import ImageError, color, masks
from nstlib.images import at_size, load_image, sample
from nstlib.masks import check_mask, foreground, load_mask, save_mask, shares, soften

Array = npt.NDArray[Any]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def disc(height: int, width: int, radius: float, soft: float = 1.0) -> Tensor:
    """Return an exact disc (1, 1, H, W) in the middle, its edge ``soft`` pixels wide."""
    y = torch.arange(height).view(-1, 1) - (height - 1) / 2
    x = torch.arange(width) - (width - 1) / 2
    return ((radius - torch.hypot(y, x)) / soft + 0.5).clamp(0, 1)[None, None]


def on_texture(mask: Tensor, seed: int = 0) -> Tensor:
    """Return a textured orange thing, where the mask says, on textured blue and green ground."""
    height, width = mask.shape[2:]
    noise = soften(random(1, 1, height, width, seed=seed), 2)
    noise = (noise - noise.mean()) * 1.5
    thing = torch.tensor([0.9, 0.5, 0.15]).view(1, 3, 1, 1) + noise
    ground = torch.tensor([0.2, 0.45, 0.5]).view(1, 3, 1, 1) + noise.flip(2, 3)
    return (mask * thing + (1 - mask) * ground).clamp(0, 1)


def overlap(a: Tensor, b: Tensor) -> float:
    """Return the intersection over the union of two masks, cut at a half."""
    a, b = a > 0.5, b > 0.5
    return ((a & b).sum() / (a | b).sum()).item()


# ------------------------------------------------------------------------------------------- checks


@pytest.mark.parametrize(
    ("mask", "size", "error", "said"),
    [
        (np.zeros((1, 1, 4, 4)), None, TypeError, "mask is ndarray; it must be a float tensor"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.bool), None, TypeError, "mask is torch.bool"),
        (torch.zeros(4, 4), None, ValueError, r"shape \(4, 4\); it must be \(N, 1, H, W\)"),
        (torch.zeros(1, 3, 4, 4), None, ValueError, r"shape \(1, 3, 4, 4\)"),
        (torch.zeros(0, 1, 4, 4), None, ValueError, r"shape \(0, 1, 4, 4\)"),
        (torch.zeros(1, 1, 4, 4), (4, 5), ValueError, r"it must be \(N, 1, 4, 5\)"),
        (torch.full((1, 1, 4, 4), 1.5), None, ValueError, "mask has values from 1.5 to 1.5"),
        (torch.full((1, 1, 4, 4), -0.5), None, ValueError, r"must lie in \[0, 1\]"),
        (torch.full((1, 1, 4, 4), torch.nan), None, ValueError, "values from nan to nan"),
    ],
)
def test_what_is_no_mask_is_told(mask: Any, size: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        check_mask("mask", mask, size)


def test_a_mask_is_a_mask() -> None:
    check_mask("mask", torch.tensor([0.0, 1.0]).view(2, 1, 1, 1), size=(1, 1))
    check_mask("mask", torch.rand(1, 1, 4, 5), size=(4, 5))


# --------------------------------------------------------------------------------------- in and out


def test_the_lightness_of_a_picture_is_the_mask() -> None:
    photo = (random(8, 9, 3).numpy() * 255).astype(np.uint8)
    torch.testing.assert_close(load_mask(photo), color.luminance(load_image(photo)))
    assert load_mask(np.full((2, 2, 3), 255, dtype=np.uint8)).eq(1).all()


def test_what_is_transparent_is_outside() -> None:
    """A thing cut out and drawn white: its surroundings are not part of the mask."""
    picture = np.full((2, 2, 4), 255, dtype=np.uint8)
    picture[0, 0, 3] = 0
    assert load_mask(picture)[0, 0].tolist() == [[0, 1], [1, 1]]


def test_a_mask_is_brought_to_size_by_area() -> None:
    checks = np.kron(np.indices((8, 12)).sum(0) % 2, np.ones((4, 4))).astype(np.float32)
    assert load_mask(checks).shape == (1, 1, 32, 48)
    assert load_mask(checks, 16).shape == (1, 1, 16, 24)
    small = load_mask(checks, (4, 5))
    assert small.shape == (1, 1, 4, 5)
    assert (small - 0.5).abs().max() < 0.15, "no check is picked out, and none left out"


def test_a_mask_comes_back_from_its_file(tmp_path: Path) -> None:
    mask = random(1, 1, 9, 11)
    path = save_mask(mask, tmp_path / "my mask 🎭.png")
    with Image.open(path) as picture:
        assert (picture.mode, picture.size) == ("L", (11, 9))
    assert (load_mask(path) - mask).abs().max() <= 0.5 / 255 + 1e-6
    assert list(tmp_path.iterdir()) == [path]


def test_a_mask_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_mask(torch.ones(1, 1, 2, 2), tmp_path / "a.png")
    old = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(ImageError, match="a.png' cannot be written: No space left on device"):
        save_mask(torch.zeros(1, 1, 2, 2), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_saved_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 1, 4, 4\); save_mask takes one"):
        save_mask(torch.zeros(2, 1, 4, 4), tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a.jpg'; a mask is saved as .png"):
        save_mask(torch.zeros(1, 1, 4, 4), tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="missing"):
        load_mask(tmp_path / "missing.png")


# ------------------------------------------------------------------------------------------ cut out


@pytest.mark.parametrize(
    ("height", "width", "radius"), [(384, 576, 120), (301, 201, 60), (90, 120, 30)]
)
def test_a_disc_is_cut_out_of_its_ground(height: int, width: int, radius: float) -> None:
    truth = disc(height, width, radius)
    photo = on_texture(truth)
    before = photo.clone()
    mask = foreground(photo, (0.1, 0.1, 0.9, 0.9))
    check_mask("mask", mask, (height, width))
    assert len(mask) == 1
    assert overlap(mask, truth) > 0.95
    assert torch.equal(photo, before)


def test_a_rectangle_is_measured_in_widths_and_heights() -> None:
    wanted = np.zeros((10, 20), dtype=bool)
    wanted[2:9, 6:10] = True
    np.testing.assert_array_equal(masks._inside((0.3, 0.2, 0.5, 0.9), 10, 20), wanted)


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0)])
def test_left_and_top_are_where_they_are_said_to_be(corner: tuple[int, int]) -> None:
    """Of two things, the one in the rectangle: no coordinate stands for another."""
    down, right = corner
    photo = torch.zeros(1, 3, 60, 100)
    for row, column in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        photo[:, 0, 8 + 30 * row : 22 + 30 * row, 15 + 50 * column : 35 + 50 * column] = 1
    truth = torch.zeros(1, 1, 60, 100)
    truth[..., 8 + 30 * down : 22 + 30 * down, 15 + 50 * right : 35 + 50 * right] = 1
    rectangle = (0.5 * right + 0.1, 0.5 * down + 0.05, 0.5 * right + 0.4, 0.5 * down + 0.45)
    assert overlap(foreground(photo, rectangle), truth) > 0.95


def test_the_colours_are_told_apart_by_all_three_channels() -> None:
    truth = disc(80, 80, 22)
    for channel in range(3):
        photo = torch.full((1, 3, 80, 80), 0.4)
        photo[:, channel] += 0.5 * truth[:, 0]
        assert overlap(foreground(photo, (0.1, 0.1, 0.9, 0.9)), truth) > 0.95


def test_the_same_photo_is_always_cut_the_same() -> None:
    photo = sample("coffee", 96)
    first = foreground(photo, (0.15, 0.05, 0.85, 0.95))
    cv2.setRNGSeed(123)
    assert torch.equal(foreground(photo, (0.15, 0.05, 0.85, 0.95)), first)


def test_the_edge_follows_the_photo() -> None:
    """Of a right cut, the edge is 4 times as near to the truth as when it is only enlarged."""
    truth = disc(480, 640, 150, soft=3)
    photo = on_texture(truth)
    cut = (at_size(truth, masks.CUT_SIZE) > 0.5).float()
    guided = masks._guided(cut, at_size(photo, masks.CUT_SIZE), photo)
    enlarged = F.interpolate(cut, (480, 640), mode="bilinear", align_corners=False)
    assert (guided - truth).abs().mean() < (enlarged - truth).abs().mean() / 4


def test_the_guided_filter_fits_lines() -> None:
    """The oracle: least squares with a ridge in each window, one by one in float64."""
    photo, cut = random(1, 3, 9, 10), random(1, 1, 9, 10, seed=1).round()
    radius, eps = 2, 1e-3
    colours = np.pad(photo[0].double().numpy(), ((0, 0), (radius,) * 2, (radius,) * 2), mode="edge")
    values = np.pad(cut[0, 0].double().numpy(), radius, mode="edge")
    lines = np.zeros((4, 9, 10))
    for y, x in np.ndindex(9, 10):
        window = (slice(y, y + 2 * radius + 1), slice(x, x + 2 * radius + 1))
        seen = np.vstack([colours[:, *window].reshape(3, -1), np.ones(25)]).T
        ridge = np.diag([25 * eps] * 3 + [0])
        lines[:, y, x] = np.linalg.solve(seen.T @ seen + ridge, seen.T @ values[window].ravel())
    padded = np.pad(lines, ((0, 0), (radius,) * 2, (radius,) * 2), mode="edge")
    means = scipy.ndimage.uniform_filter(padded, (1, 5, 5))[:, radius:-radius, radius:-radius]
    wanted = (means[:3] * photo[0].double().numpy()).sum(0) + means[3]
    found = masks._guided(cut, photo, photo, radius, eps)[0, 0].double().numpy()
    np.testing.assert_allclose(found, wanted.clip(0, 1), atol=1e-5)


def test_a_real_thing_is_cut_out() -> None:
    """A cup and its saucer: the middle is in, the table's corners are out."""
    mask = foreground(sample("coffee", 192), (0.15, 0.05, 0.85, 0.95))[0, 0]
    assert mask[90:110, 140:160].min() > 0.9
    corners = mask[:20, :20], mask[:20, -20:], mask[-20:, :20], mask[-20:, -20:]
    assert max(corner.max().item() for corner in corners) < 0.05


@pytest.mark.parametrize(
    ("rectangle", "error", "said"),
    [
        ((0.1, 0.1, 0.9), TypeError, "rectangle is .*; it takes four fractions"),
        ("left", TypeError, "rectangle is 'left'; it takes four fractions"),
        (None, TypeError, "rectangle is None"),
        ((0.9, 0.1, 0.1, 0.9), ValueError, "with left < right and top < bottom"),
        ((0.1, 0.5, 0.9, 0.5), ValueError, "with left < right and top < bottom"),
        ((-0.1, 0.1, 0.9, 0.9), ValueError, r"in \[0, 1\]"),
        ((10, 10, 60, 60), ValueError, r"in \[0, 1\]"),
        ((0.1, 0.1, 0.9, float("nan")), ValueError, "rectangle is"),
        ((0, 0, 1, 1), ValueError, "it leaves nothing outside it to tell the background by"),
        ((0.5, 0.5, 0.51, 0.51), ValueError, "it is too small to hold anything"),
    ],
)
def test_a_wrong_rectangle_is_told(rectangle: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        foreground(random(1, 3, 64, 64), rectangle)


def test_other_wrong_arguments_are_told() -> None:
    rectangle = (0.1, 0.1, 0.9, 0.9)
    with pytest.raises(ValueError, match=r"image has shape \(2, 3, 8, 8\)"):
        foreground(torch.zeros(2, 3, 8, 8), rectangle)
    with pytest.raises(ValueError, match="steps is 0; it must be at least 1"):
        foreground(torch.zeros(1, 3, 8, 8), rectangle, steps=0)
    with pytest.raises(TypeError, match="steps is 2.5; it takes a whole number"):
        foreground(torch.zeros(1, 3, 8, 8), rectangle, steps=2.5)  # type: ignore[arg-type]


def test_an_empty_cut_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing in it stands out from what lies around it"):
        foreground(torch.full((1, 3, 64, 64), 0.5), (0.3, 0.3, 0.7, 0.7))


def test_opencv_is_asked_for_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    said = "foreground needs OpenCV, which is not installed: pip install 'nstlib[video]'"
    with pytest.raises(ImportError, match=re.escape(said)):
        foreground(random(1, 3, 64, 64), (0.1, 0.1, 0.9, 0.9))


# -------------------------------------------------------------------------------- soften and share


@pytest.mark.parametrize("radius", [0.3, 1, 2.5, 7, 40])
def test_softening_is_a_gaussian(radius: float) -> None:
    """The oracle: SciPy's, in float64; also where it reaches farther than the picture does."""
    mask = random(2, 1, 24, 31).round()
    reach = int(np.ceil(3 * radius))
    for image, wanted in zip(soften(mask, radius), mask, strict=True):
        blurred = scipy.ndimage.gaussian_filter(
            wanted[0].double().numpy(), radius, mode="nearest", radius=reach
        )
        np.testing.assert_allclose(image[0].numpy(), blurred, atol=1e-6)


def test_softening_leaves_what_is_flat() -> None:
    flat = torch.tensor([0.0, 0.1, 0.7, 1.0]).view(4, 1, 1, 1).expand(4, 1, 9, 12)
    assert torch.equal(soften(flat, 3.7), flat)
    mask = random(1, 1, 5, 5)
    assert torch.equal(soften(mask, 0), mask)


@pytest.mark.parametrize(
    ("radius", "error", "said"),
    [
        (-1, ValueError, "radius is -1; it must be at least 0"),
        (float("nan"), ValueError, "radius is nan"),
        (float("inf"), ValueError, "radius is inf"),
        ("3", TypeError, "radius is '3'; it takes a number of pixels"),
    ],
)
def test_a_wrong_radius_is_told(radius: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        soften(torch.zeros(1, 1, 4, 4), radius)


def test_shares_never_exceed_the_whole() -> None:
    regions = random(3, 1, 20, 30)
    shared = shares(regions)
    total, whole = shared.sum(0), regions.sum(0)
    assert total.max() <= 1 + 1e-6
    over = whole > 1
    assert over.any()
    assert (~over).any()
    torch.testing.assert_close(total[over], torch.ones_like(total[over]))
    assert torch.equal(shared[:, ~over], regions[:, ~over]), "where there is room, none loses any"
    torch.testing.assert_close(shared * whole.clamp(min=1), regions), "in proportion"
    torch.testing.assert_close(shares(shared), shared), "once is enough"


def test_regions_that_do_not_overlap_stay() -> None:
    left = torch.zeros(1, 1, 4, 6)
    left[..., :3] = 1
    regions = torch.cat([left, 1 - left])
    assert torch.equal(shares(regions), regions)
    assert torch.equal(shares(left), left)
