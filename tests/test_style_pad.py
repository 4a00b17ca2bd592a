"""The pad of styles, without a page: what it takes, refuses, and tells."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from nstlib.widgets.style_pad import CORNERS, StylePad

NAMES = ["red", "green", "blue", "grey"]


def flat(*colour: float, size: tuple[int, int] = (20, 30)) -> Tensor:
    return (
        torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, *size).contiguous()
    )


PICTURES = [flat(1, 0, 0), flat(0, 1, 0), flat(0, 0, 1), flat(0.5, 0.5, 0.5)]


def make(**changes: Any) -> StylePad:
    return StylePad(**{"names": NAMES, "pictures": PICTURES, **changes})


def told(pad: StylePad) -> list[tuple[float, float]]:
    """A list that grows by the point's place at each move that the pad tells of."""
    seen: list[tuple[float, float]] = []
    pad.on_move(lambda: seen.append((pad.x, pad.y)))
    return seen


def thumbnail(pad: StylePad, i: int) -> Image.Image:
    url = pad.styles[i]["picture"]
    assert url.startswith("data:image/jpeg;base64,")
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


def sent(pad: StylePad, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A list that grows by each message to the page."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(
        StylePad, "_send", lambda self, message, buffers=None: messages.append(message)
    )
    return messages


# -------------------------------------------------------------------------------------- the point


def test_the_point_begins_in_the_middle_and_the_styles_at_the_corners() -> None:
    pad = make()
    assert (pad.x, pad.y) == (0.5, 0.5)
    assert pad.places == list(CORNERS) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert pad.names == NAMES
    assert pad.shares == []


def test_a_drag_is_told_once_with_both_coordinates_new() -> None:
    pad = make()
    seen = told(pad)
    pad.set_state({"x": 0.1, "y": 0.2})  # what the page does
    assert seen == [(0.1, 0.2)]
    pad.set_state({"y": 0.3})
    assert seen == [(0.1, 0.2), (0.1, 0.3)]


def test_a_move_from_python_is_told_once_and_sent_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pad = make()
    seen, messages = told(pad), sent(pad, monkeypatch)
    pad.move(0.25, 1)
    assert seen == [(0.25, 1.0)]
    assert [message["state"] for message in messages] == [{"x": 0.25, "y": 1.0}]


def test_no_move_is_not_told() -> None:
    pad = make(x=0.2)
    seen = told(pad)
    pad.move(0.2, 0.5)
    pad.set_state({"x": 0.2, "y": 0.5})
    assert seen == []


def test_a_follower_may_move_the_point() -> None:
    pad = make()
    pad.on_move(lambda: pad.move(round(pad.x), round(pad.y)))
    seen = told(pad)
    pad.set_state({"x": 0.9, "y": 0.1})
    assert (pad.x, pad.y) == (1, 0)
    assert seen[-1] == (1, 0)
    assert len(seen) <= 2


@pytest.mark.parametrize("axis", ["x", "y"])
@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_a_place_outside_the_pad_is_refused(axis: str, value: float) -> None:
    wanted = rf"{axis} is {value}; it must lie in \[0, 1\]"
    pad = make()
    seen = told(pad)
    with pytest.raises(ValueError, match=wanted):
        setattr(pad, axis, value)
    with pytest.raises(ValueError, match=wanted):
        pad.move(**{"x": 0.1, "y": 0.2, axis: value})
    with pytest.raises(ValueError, match=wanted):
        make(**{axis: value})
    assert (pad.x, pad.y) == (0.5, 0.5)
    assert seen == []


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match="x is 'left'; it must be a number"):
        make().x = "left"


# ------------------------------------------------------------------------------------- the shares


def test_shares_are_kept_and_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    pad = make()
    messages = sent(pad, monkeypatch)
    pad.shares = [0.1, 0.2, 0.3, 0.4]
    assert messages[-1]["state"] == {"shares": [0.1, 0.2, 0.3, 0.4]}


@pytest.mark.parametrize(
    ("shares", "wanted"),
    [
        ([0.5, 0.5], "shares has 2 entries; it takes 4, one a style"),
        ([0.5, 0.5, 0.1, -0.1], r"shares\[3\] is -0.1; it must lie in \[0, 1\]"),
        ([1.5, 0.0, 0.0, 0.0], r"shares\[0\] is 1.5; it must lie in \[0, 1\]"),
    ],
)
def test_shares_that_are_none_are_refused(shares: list[float], wanted: str) -> None:
    pad = make()
    with pytest.raises(ValueError, match=wanted):
        pad.shares = shares
    assert pad.shares == []


# ------------------------------------------------------------------------------------- the styles


def test_thumbnails_are_small_centre_squares() -> None:
    wide = flat(0, 0, 1, size=(40, 120))
    wide[..., 40:80] = flat(1, 0, 0, size=(40, 40))  # the centre square
    pad = StylePad(["wide"], [wide], [(0.5, 0.5)])
    picture = thumbnail(pad, 0)
    assert picture.size == (128, 128)
    for place in ((1, 1), (126, 126), (64, 64)):
        red, green, blue = picture.convert("RGB").getpixel(place)
        assert red > 230
        assert max(green, blue) < 25


def test_pictures_come_in_the_order_of_their_names() -> None:
    pad = make()
    for i, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255)]):
        assert thumbnail(pad, i).convert("RGB").getpixel((64, 64)) == pytest.approx(colour, abs=3)


def test_other_styles_come_in_one_message_and_the_point_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pad = make(x=0.2)
    pad.shares = [0.25] * 4
    seen, messages = told(pad), sent(pad, monkeypatch)
    pad.show(["one", "two"], PICTURES[:2], [(0, 0.5), (1, 0.5)])
    assert [set(message["state"]) for message in messages] == [{"styles", "shares"}]
    assert pad.names == ["one", "two"]
    assert pad.places == [(0, 0.5), (1, 0.5)]
    assert pad.shares == []
    assert (pad.x, seen) == (0.2, [])
    pad.shares = [0.5, 0.5]


@pytest.mark.parametrize(
    ("changes", "error", "wanted"),
    [
        ({"names": []}, ValueError, "names is empty; it takes at least one style"),
        ({"names": NAMES[:3]}, ValueError, "pictures has 4 entries for 3 names"),
        ({"places": CORNERS[:3]}, ValueError, "places has 3 entries for 4 names"),
        (
            {"places": [*CORNERS[:3], (0.5, 2)]},
            ValueError,
            r"y of places\[3\] is 2; it must lie in \[0, 1\]",
        ),
        ({"places": [*CORNERS[:3], (0.5,)]}, ValueError, r"places\[3\] is \(0.5,\); it takes"),
        (
            {"pictures": [*PICTURES[:3], torch.rand(3, 8, 8)]},
            ValueError,
            r"pictures\[3\] has shape \(3, 8, 8\); it must be \(1, 3, H, W\)",
        ),
        (
            {"pictures": [flat(2, 0, 0), *PICTURES[1:]]},
            ValueError,
            r"pictures\[0\] has values from 0 to 2",
        ),
        ({"names": "abcd"}, TypeError, "names and pictures take lists"),
        ({"pictures": torch.rand(4, 3, 8, 8)}, TypeError, "names and pictures take lists"),
    ],
)
def test_wrong_styles_are_refused_and_leave_those_there_are(
    changes: dict[str, Any], error: type[Exception], wanted: str
) -> None:
    given = {"names": NAMES, "pictures": PICTURES, **changes}
    pad = make()
    pad.shares = [0.25] * 4
    ways: list[Callable[..., object]] = [StylePad, pad.show]
    for way in ways:
        with pytest.raises(error, match=wanted):
            way(**given)
    assert pad.names == NAMES
    assert pad.shares == [0.25] * 4


@pytest.mark.parametrize("side", [10, 4000])
def test_a_side_that_fits_no_page_is_refused(side: int) -> None:
    with pytest.raises(ValueError, match=rf"side is {side}; it must lie in \[160, 1000\]"):
        make(side=side)
    assert make(side=300).side == 300
