"""Each control's row does its control's work each time: no more is encoded, and no answer is kept."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image
from test_adain_model import tiny_model
from torch import Tensor

from nstlib import adain, images
from nstlib.adain import Decoder
from nstlib.benchmarks import control
from nstlib.benchmarks.control import control_contenders, control_rows
from nstlib.encoders import mirrored_maps
from nstlib.stylist import Stylist

SIZE = 128  # px: the least that the largest strokes take
CUT = "foreground cut out, for two styles"
# How many pictures the encoder looks at for one answer.
LOOKS = {
    "nothing kept: photo and style encoded": 2,
    "alpha": 0,
    "sliders of four styles": 0,
    "pad between four styles": 0,
    "colours by lightness": 0,
    "colours matched, the first time": 1,
    "match by whitening": 0,
    "match by transport": 0,
    "stroke size 0.5": 0,
    "stroke size 2": 1,  # one doubling
    "stroke size 4": 2,
    "brush: another mask for two styles": 0,
    "brush, match by transport": 0,
    "alpha, with two styles by a mask": 0,
    CUT: 0,
    "another photo": 1,
    "another style": 1,
    "square of 25 at 32 px, in one pass": 0,
}
HAS_OPENCV = importlib.util.find_spec("cv2") is not None
# What a copy of the same picture is painted as, each time.
SAME = ("colours matched, the first time", "another photo", "another style")


@pytest.fixture
def make_contenders(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    monkeypatch.setattr(control, "STYLE_SIZE", 40)
    monkeypatch.setattr(control, "SQUARE_SIZE", 32)
    return lambda: control_contenders(SIZE, "cpu", Stylist(tiny_model("skips"), kept=8))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Return a list that grows by the pictures that the encoder looks at."""
    seen: list[Tensor] = []

    def look(encoder: Any, image: Tensor, taps: Any) -> Any:
        seen.append(image)
        return mirrored_maps(encoder, image, taps)

    monkeypatch.setattr(adain, "mirrored_maps", look)
    return seen


def size_of(picture: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(picture)).size


def test_every_control_encodes_no_more_than_it_must_whoever_came_before(
    make_contenders: Callable[[], dict[str, Any]], encoded: list[Tensor]
) -> None:
    contenders = make_contenders()
    assert len(encoded) == 1 + 4  # the photo, and the styles
    assert list(contenders) == [name for name in LOOKS if HAS_OPENCV or name != CUT]
    for work in contenders.values():
        work()
    for _ in range(3):
        looks = {}
        for name, work in contenders.items():
            encoded.clear()
            work()
            looks[name] = len(encoded)
        assert looks == {name: LOOKS[name] for name in contenders}


def test_every_answer_is_painted_and_is_the_bytes_of_its_picture(
    make_contenders: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    contenders = make_contenders()
    painted: list[int] = []
    decode = Decoder.forward

    def watched(decoder: Decoder, *given: Any) -> Tensor:
        pictures = decode(decoder, *given)
        painted.append(len(pictures))
        return pictures

    monkeypatch.setattr(Decoder, "forward", watched)
    for name, work in contenders.items():
        painted.clear()
        answers = [work() for _ in range(3)]
        passes = {"stroke size 2": 2, "stroke size 4": 3}.get(name, 1)
        assert painted == [25 if "square" in name else 1] * 3 * passes
        assert {size_of(answer) for answer in answers} == {
            (160, 160) if "square" in name else (128,) * 2
        }
        assert len(set(answers)) == (1 if name in SAME else 3), name


def test_a_cut_is_left_out_where_opencv_is_missing(
    make_contenders: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert list(make_contenders()) == [name for name in LOOKS if name != CUT]


def test_a_square_shows_its_pictures_row_by_row() -> None:
    levels = torch.arange(25.0).view(25, 1, 1, 1).expand(25, 3, 2, 4) / 25
    square = control._as_square(levels)
    assert square.shape == (1, 3, 10, 20)
    assert torch.equal(square[0, :, ::2, ::4], levels[:, :, 0, 0].view(5, 5, 3).permute(2, 0, 1))


def test_rows_are_those_of_the_model_that_ships_without_a_stylist(
    make_contenders: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def load(device: Any) -> Any:
        asked.append(str(device))
        return tiny_model("skips")

    monkeypatch.setattr(control, "load_adain", load)
    rows = control_rows(SIZE, 2, "cpu")
    assert asked == ["cpu"]
    assert [row.name for row in rows] == list(make_contenders())
    assert rows[0].ratio == 1


def test_the_photo_and_the_styles_ship() -> None:
    assert control.PHOTO in images.sample_names()
    assert set(control.STYLES) <= set(images.style_names())
