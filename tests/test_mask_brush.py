"""The brush for masks, without a page: what it takes, refuses, tells, and never loses."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from nstlib.images import sample
from nstlib.widgets.mask_brush import MaskBrush

SIZE = (20, 30)


def photo(*size: int) -> Tensor:
    return torch.rand(1, 3, *(size or SIZE), generator=torch.Generator().manual_seed(0))


def ones(*size: int) -> Tensor:
    """A mask of zeros and ones, by chance."""
    chance = torch.rand(1, 1, *(size or SIZE), generator=torch.Generator().manual_seed(1))
    return (chance < 0.3).float()


def values_of(mask: Tensor) -> bytes:
    return bytes((255 * mask).round().to(torch.uint8).flatten().tolist())


def calls(brush: MaskBrush) -> list[str]:
    """A list that grows by what the brush tells of."""
    told: list[str] = []
    brush.on_paint(lambda: told.append("painting" if brush.painting else "painted"))
    brush.on_rectangle(lambda: told.append("rectangle"))
    return told


def paint(brush: MaskBrush, mask: Tensor, stroke: int, **state: Any) -> None:
    """Do what the page does when it has painted on the mask that is there."""
    painted_on(brush, mask, [brush.edition[0], stroke], **state)


def painted_on(brush: MaskBrush, mask: Tensor, painted: list[int], **state: Any) -> None:
    brush.set_state({"values": memoryview(values_of(mask)), "painted": painted, **state})


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """A list that grows by what each message to a page brings; bytes travel beside its state."""
    sent: list[set[str]] = []

    def send(brush: MaskBrush, message: dict[str, Any], buffers: Any = None) -> None:
        sent.append({*message["state"], *(path[0] for path in message["buffer_paths"])})

    monkeypatch.setattr(MaskBrush, "_send", send)
    return sent


# --------------------------------------------------------------------------------- photo and size


@pytest.mark.parametrize(
    ("size", "wanted"),
    [
        (SIZE, SIZE),
        ((512, 300), (512, 300)),
        ((1024, 2000), (262, 512)),
        ((1500, 513), (512, 175)),
        ((1, 3000), (1, 512)),
    ],
)
def test_a_mask_has_the_photos_pixels_up_to_512(
    size: tuple[int, int], wanted: tuple[int, int]
) -> None:
    brush = MaskBrush(photo(*size))
    assert brush.size == wanted
    assert brush.mask.shape == (1, 1, *wanted)
    assert brush.mask.dtype == torch.float32
    assert brush.mask.max() == 0


def test_the_photo_is_a_jpeg_of_its_own_size() -> None:
    file = Image.open(io.BytesIO(MaskBrush(sample("coffee", 100)).photo))
    assert (file.format, file.size) == ("JPEG", (150, 100))


def test_another_photo_comes_with_its_mask_in_one_message(messages: list[set[str]]) -> None:
    brush = MaskBrush(photo(), ones())
    brush.rectangle = [0.1, 0.1, 0.5, 0.5]
    messages.clear()
    brush.show(photo(8, 12))
    assert brush.size == (8, 12)
    assert brush.mask.shape == (1, 1, 8, 12)
    assert brush.mask.max() == 0
    assert brush.rectangle == []
    assert messages == [{"size", "photo", "values", "edition", "rectangle"}]
    brush.show(photo(), ones())
    assert torch.equal(brush.mask, ones())


def test_a_photo_of_the_same_size_brings_an_empty_mask() -> None:
    brush = MaskBrush(photo(), ones())
    brush.show(photo())
    assert brush.mask.max() == 0


# ------------------------------------------------------------------------------------ from Python


def test_a_mask_of_zeros_and_ones_comes_back_exactly() -> None:
    brush = MaskBrush(photo())
    brush.take(ones())
    assert torch.equal(brush.mask, ones())
    assert brush.values == values_of(ones())
    brush.invert()
    assert torch.equal(brush.mask, 1 - ones())
    brush.clear()
    assert torch.equal(brush.mask, torch.zeros(1, 1, *SIZE))


def test_every_level_comes_back_exactly() -> None:
    levels = (torch.arange(256) / 255).view(1, 1, 16, 16)
    brush = MaskBrush(photo(16, 16), levels)
    assert torch.equal(brush.mask, levels)
    brush.invert()
    assert torch.allclose(brush.mask, 1 - levels, atol=1e-6)


@pytest.mark.parametrize("shaped", [lambda mask: mask[0, 0], lambda mask: mask > 0.5])
def test_masks_may_be_flat_or_boolean(shaped: Any) -> None:
    brush = MaskBrush(photo(), shaped(ones()))
    assert torch.equal(brush.mask, ones())


@pytest.mark.parametrize("times", [2, 5])
def test_a_larger_mask_keeps_its_areas(times: int) -> None:
    large = torch.zeros(1, 1, SIZE[0] * times, SIZE[1] * times)
    large[..., : 10 * times, :] = 1  # the upper half
    brush = MaskBrush(photo(), large)
    assert brush.mask[..., :8, :].min() == 1
    assert brush.mask[..., 12:, :].max() == 0
    assert brush.mask.mean() == pytest.approx(0.5, abs=0.01)


def test_the_mask_is_a_copy() -> None:
    brush = MaskBrush(photo(), ones())
    brush.mask.fill_(0.5)
    assert torch.equal(brush.mask, ones())


@pytest.mark.parametrize(
    ("mask", "error", "wanted"),
    [
        (torch.zeros(1, 3, *SIZE), ValueError, r"mask has shape \(1, 3, 20, 30\); it takes"),
        (torch.zeros(0, 3), ValueError, r"mask has shape \(0, 3\); it takes"),
        (torch.full(SIZE, 1.5), ValueError, r"mask has values from 1.5 to 1.5; .* \[0, 1\]"),
        (torch.full(SIZE, float("nan")), ValueError, "mask has values from nan to nan"),
        (torch.zeros(SIZE, dtype=torch.uint8), TypeError, "mask is a tensor of torch.uint8"),
        ([[0.0]], TypeError, "mask is list; it takes a tensor"),
    ],
)
def test_what_is_no_mask_is_refused(mask: Any, error: type[Exception], wanted: str) -> None:
    brush = MaskBrush(photo(), ones())
    for way in (brush.take, lambda mask: brush.show(photo(8, 8), mask)):
        with pytest.raises(error, match=wanted):
            way(mask)
    assert brush.size == SIZE
    assert torch.equal(brush.mask, ones())


def test_bytes_of_another_length_are_refused() -> None:
    brush = MaskBrush(photo(), ones())
    wanted = "values has 599 bytes; it takes 600, one for each of the mask's 20 × 30 pixels"
    with pytest.raises(ValueError, match=wanted):
        brush.values = bytes(599)
    with pytest.raises(ValueError, match=wanted):
        brush.set_state({"values": memoryview(bytes(599)), "painted": [brush.edition[0], 1]})
    with pytest.raises(TypeError, match="values is a int; it takes bytes"):
        brush.values = 600
    assert torch.equal(brush.mask, ones())


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("radius", 0.001, r"radius is 0.001; it must lie in \[0.01, 0.5\]"),
        ("radius", 0.6, r"radius is 0.6; it must lie in \[0.01, 0.5\]"),
        ("softness", 1.1, r"softness is 1.1; it must lie in \[0, 1\]"),
        ("mode", "circle", "mode is 'circle'; it takes one of: brush, rectangle"),
        ("rectangle", [0.5, 0.1, 0.4, 0.9], r"rectangle is \[0.5, 0.1, 0.4, 0.9\]; it takes left"),
        ("rectangle", [0.1, 0.1, 0.4], r"rectangle is \[0.1, 0.1, 0.4\]; it takes left"),
        ("rectangle", [0.1, 0.1, 0.4, 1.1], "rectangle is .* fractions of the photo"),
    ],
)
def test_settings_outside_their_range_are_refused(name: str, value: Any, wanted: str) -> None:
    brush = MaskBrush(photo())
    before = getattr(brush, name)
    with pytest.raises(ValueError, match=wanted):
        setattr(brush, name, value)
    assert getattr(brush, name) == before


@pytest.mark.parametrize("width", [10, 5000])
def test_a_width_that_fits_no_page_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match=rf"width is {width}; it must lie in \[100, 2000\]"):
        MaskBrush(photo(), width=width)


def test_a_wrong_photo_is_refused_and_leaves_the_old_one() -> None:
    brush = MaskBrush(photo(), ones())
    with pytest.raises(ValueError, match=r"photo has shape \(3, 8, 8\); it must be \(1, 3, H, W\)"):
        brush.show(torch.rand(3, 8, 8))
    assert torch.equal(brush.mask, ones())


# ---------------------------------------------------------------------------------- from the page


def test_what_is_painted_is_the_mask_and_told_once() -> None:
    brush = MaskBrush(photo())
    told = calls(brush)
    paint(brush, ones(), stroke=1, painting=True)
    assert told == ["painting"]
    assert torch.equal(brush.mask, ones())
    paint(brush, 1 - ones(), stroke=2, painting=False)
    assert told == ["painting", "painted"]
    assert torch.equal(brush.mask, 1 - ones())


def test_the_end_of_a_stroke_is_told_where_no_more_was_painted() -> None:
    brush = MaskBrush(photo())
    told = calls(brush)
    paint(brush, ones(), stroke=1, painting=True)
    brush.set_state({"painting": False})
    assert told == ["painting", "painted"]


def test_what_python_sets_is_not_told() -> None:
    brush = MaskBrush(photo())
    told = calls(brush)
    brush.take(ones())
    brush.invert()
    brush.clear()
    brush.show(photo(8, 8))
    brush.rectangle = [0.0, 0.0, 0.5, 0.5]
    assert told == []


def test_a_rectangle_is_told_and_the_mask_stays() -> None:
    brush = MaskBrush(photo(), ones())
    told = calls(brush)
    brush.set_state({"rectangle": [0.1, 0.2, 0.5, 1]})
    assert told == ["rectangle"]
    assert brush.rectangle == [0.1, 0.2, 0.5, 1.0]
    assert torch.equal(brush.mask, ones())
    brush.set_state({"rectangle": []})
    assert told == ["rectangle"]


def test_what_the_page_painted_does_not_come_back_to_it(messages: list[set[str]]) -> None:
    brush = MaskBrush(photo())
    messages.clear()
    paint(brush, ones(), stroke=1, painting=True)
    assert messages == [{"painting"}]  # that it was heard


def test_what_was_painted_on_an_older_mask_is_refused_and_the_page_told_what_is_in_this() -> None:
    """The page paints it once more: see the browser's test of crossing strokes."""
    brush = MaskBrush(photo())
    old = brush.edition[0]
    paint(brush, ones(), stroke=7)
    brush.invert()
    assert brush.edition == [old + 1, 7]
    told = calls(brush)
    painted_on(brush, torch.zeros(1, 1, *SIZE), [old, 8], painting=False)
    assert torch.equal(brush.mask, 1 - ones())
    assert brush.edition == [old + 1, 7]
    assert told == ["painted"]  # a stroke has ended all the same
    painted_on(brush, torch.ones(1, 1, *SIZE), [old + 1, 8])
    assert brush.mask.min() == 1


def test_a_follower_may_set_the_mask(messages: list[set[str]]) -> None:
    brush = MaskBrush(photo())
    brush.on_paint(brush.invert)
    messages.clear()
    paint(brush, ones(), stroke=1)
    assert torch.equal(brush.mask, 1 - ones())
    assert messages == [{"values"}, {"edition"}]
    assert brush.edition[1] == 1
