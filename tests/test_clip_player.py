"""The clip player, without a page: what it takes, refuses, and sends."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from nstlib.widgets import ClipPlayer
from nstlib.widgets.clip_player import MOST

COUNT = 5


def shades(first: float, last: float, count: int = COUNT, width: int = 30) -> Tensor:
    """Grey frames from one shade to another."""
    return torch.linspace(first, last, count).view(-1, 1, 1, 1).expand(-1, 3, 20, width)


TRACKS = [("Lighter", shades(0, 1)), ("Darker", shades(1, 0))]


def make(**changes: Any) -> ClipPlayer:
    return ClipPlayer(**{"tracks": TRACKS, **changes})


def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A list that grows by what each message to the page changes."""
    messages: list[dict[str, Any]] = []
    monkeypatch.setattr(
        ClipPlayer, "_send", lambda self, message, buffers=None: messages.append(message["state"])
    )
    return messages


def shown(data: bytes) -> tuple[str | None, tuple[int, int], float]:
    """A picture's format, size, and how light it is."""
    picture = Image.open(io.BytesIO(data))
    level = picture.convert("L").getpixel((3, 3))
    assert isinstance(level, int)
    return picture.format, picture.size, level / 255


def test_the_page_gets_each_frame_as_a_jpeg() -> None:
    player = make()
    assert (player.titles, player.count, player.size) == (["Lighter", "Darker"], COUNT, [30, 20])
    for frames, wanted in (
        (player.frames_0, (0, 0.25, 0.5, 0.75, 1)),
        (player.frames_1, (1, 0.75)),
    ):
        for data, level in zip(frames, wanted, strict=False):
            assert shown(data) == ("JPEG", (30, 20), pytest.approx(level, abs=0.01))
    assert player.frames_2 == player.frames_3 == []


def test_the_page_begins_with_all_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came after the first message would find a page that is drawn already."""
    opened: list[dict[str, Any]] = []
    monkeypatch.setattr(ClipPlayer, "open", lambda self: opened.append(self.get_state()))
    make(index=2)
    assert [len(state["frames_1"]) for state in opened] == [COUNT]
    assert opened[0]["index"] == 2


def test_it_rests_at_its_first_frame_unless_told_otherwise() -> None:
    assert (make().index, make().playing, make().rate) == (0, False, 25)
    player = make(index=COUNT - 1, playing=True, rate=12.5)
    assert (player.index, player.playing, player.rate) == (COUNT - 1, True, 12.5)


def test_frames_may_come_one_by_one() -> None:
    one_by_one = make(tracks=[("Lighter", list(torch.split(shades(0, 1), 1)))])
    assert one_by_one.frames_0 == make().frames_0


def test_index_and_playing_follow_the_page() -> None:
    player = make()
    seen: list[tuple[str, Any]] = []
    player.observe(lambda change: seen.append((change.name, change.new)), ["index", "playing"])
    player.set_state({"index": 3})
    player.set_state({"playing": True})
    assert seen == [("index", 3), ("playing", True)]


@pytest.mark.parametrize("track", ["Darker", 1])
def test_one_clip_is_replaced_in_one_message(
    track: str | int, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = make(index=3)
    before, messages = player.frames_0, sent(monkeypatch)
    player.set(track, shades(0.5, 0.5))
    assert [list(state) for state in messages] == [["frames_1"]]
    assert shown(player.frames_1[0])[2] == pytest.approx(0.5, abs=0.01)
    assert player.frames_0 is before
    assert player.index == 3


def test_several_clips_are_replaced_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    player = make()
    messages = sent(monkeypatch)
    with player.hold_sync():
        player.set(0, shades(0.5, 0.5))
        player.set(1, shades(0.2, 0.2))
    assert [set(state) for state in messages] == [{"frames_0", "frames_1"}]


@pytest.mark.parametrize("track", ["Lightest", 2, -1, True, None])
def test_no_such_clip(track: Any) -> None:
    with pytest.raises(ValueError, match=rf"track is {track!r}; it takes 'Lighter', 'Darker'"):
        make().set(track, shades(0, 1))


@pytest.mark.parametrize("index", [-1, COUNT])
def test_no_such_frame(index: int) -> None:
    wanted = rf"index is {index}; it must lie in \[0, 4\]"
    player = make()
    with pytest.raises(ValueError, match=wanted):
        player.index = index
    assert player.index == 0
    with pytest.raises(ValueError, match=wanted):
        make(index=index)


WRONG: dict[str, Any] = {
    "'Short' has 4 frames; it takes 5, as the others": shades(0, 1, COUNT - 1),
    "frame 0 of 'Short' has 31 × 20 px; it takes 30 × 20 px, as the others": shades(0, 1, width=31),
    "'Short' has no frames": [],
    "frame 0 of 'Short' has shape": torch.rand(COUNT, 1, 20, 30),
    "frame 0 of 'Short' has values": 2 + torch.rand(COUNT, 3, 20, 30),
}


@pytest.mark.parametrize("said", WRONG)
def test_clips_that_do_not_fit_are_refused(said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(tracks=[*TRACKS, ("Short", WRONG[said])])
    player = make(tracks=[*TRACKS, ("Short", shades(0, 1))])
    before = player.frames_2
    with pytest.raises(ValueError, match=said):
        player.set("Short", WRONG[said])
    assert player.frames_2 is before


def test_one_clip_to_four_each_with_a_title_of_its_own() -> None:
    many = [(str(i), shades(0, 1)) for i in range(MOST + 1)]
    assert make(tracks=many[:MOST]).frames_3
    for tracks in ([], many):
        with pytest.raises(ValueError, match=f"tracks has {len(tracks)} clips; it takes 1 to 4"):
            make(tracks=tracks)
    with pytest.raises(ValueError, match="each must be another"):
        make(tracks=[TRACKS[0], TRACKS[0]])


@pytest.mark.parametrize("rate", [0, -1, 121, float("nan")])
def test_no_such_rate(rate: float) -> None:
    with pytest.raises(ValueError, match=f"rate is {rate}"):
        make(rate=rate)
