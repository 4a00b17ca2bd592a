"""What the lesson draws: lanes that lie where a program's do, and bytes that were really written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from proof import plainly

from nstlib.kernels.benchmark import LARGE
from nstlib.kernels.lesson import (
    MASKED,
    READ,
    bytes_written,
    draw_bars,
    draw_lanes,
    lanes_of,
    shares_of_a_copy,
)

pytestmark = plainly


@pytest.mark.parametrize(
    ("height", "width", "block"), [(9, 13, (4, 8)), (1, 1, (8, 16)), (4, 8, (4, 8))]
)
def test_all_programs_together_read_each_pixel_once(
    height: int, width: int, block: tuple[int, int]
) -> None:
    seen = torch.zeros(height, width)
    count = lanes_of(height, width, *block, program=0).programs
    for program in range(count):
        lanes = lanes_of(height, width, *block, program=program)
        for i, j in lanes.read.nonzero().tolist():
            seen[lanes.rows[i], lanes.columns[j]] += 1
    assert (seen == 1).all()


def test_a_program_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="program is 6; the last of these 6 is number 5"):
        lanes_of(9, 13, 4, 8, program=6)


def test_the_drawing_has_a_square_for_each_lane() -> None:
    to_hex = pytest.importorskip("matplotlib.colors").to_hex
    lanes = lanes_of(9, 13, 4, 8, program=5)
    colours = [to_hex(patch.get_facecolor()).upper() for patch in draw_lanes(lanes).axes[0].patches]
    assert colours.count(READ) == int(lanes.read.sum()) == 5
    assert colours.count(MASKED) == 27


def test_bars_are_as_long_as_their_values() -> None:
    pytest.importorskip("matplotlib")
    figure = draw_bars({"one": {"a": 1.0, "b": 2.0}, "two": {"a": 3.0}}, "ms", "times")
    assert [bar.get_width() for bar in figure.axes[0].patches] == [1, 3, 2, 0]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["one", "two"]


def recorded(provider: str, share: float | None, **changes: object) -> dict[str, object]:
    place = {"shape": list(LARGE), "dtype": "float32", "layout": "contiguous"}
    return place | {"kernel": "gram", "provider": provider, "of_copy": share} | changes


def test_recorded_shares_are_those_of_the_large_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert shares_of_a_copy(tmp_path) == {}
    (tmp_path / "gatys.json").write_text('{"sizes": []}')  # another benchmark's
    rows = [
        recorded("copy", 1.0),
        recorded("triton", 0.9),
        recorded("triton", 0.1, dtype="bfloat16"),
        recorded("triton", 0.2, shape=[1, 64, 512, 512]),
        recorded("eager", None),
        recorded("triton", 0.8, kernel="warp"),
    ]
    (tmp_path / "a-gpu.json").write_text(json.dumps({"rows": rows}))
    assert shares_of_a_copy(tmp_path) == {"gram": {"triton": 0.9}, "warp": {"triton": 0.8}}


def test_views_and_writes_in_place_cost_nothing() -> None:
    x = torch.ones(10, 10)
    assert bytes_written(lambda: x[2:].transpose(0, 1)) == 0
    assert bytes_written(lambda: x.mul_(2)) == 0
    assert bytes_written(lambda: (x + x).abs()) == 800
