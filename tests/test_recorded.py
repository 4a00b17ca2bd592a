"""The sheets that were put aside while the decoder was trained, as notebook 03 leafs through them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from nstlib import load_image

FOLDER = Path(__file__).resolve().parent.parent / "data" / "adain"
TILE, PITCH = 200, 208  # px: a picture, and from one to the next


@pytest.fixture(scope="module")
def recorded() -> Any:
    return json.loads((FOLDER / "training.json").read_text())


def test_every_sheet_is_named_once_and_there(recorded: Any) -> None:
    weights = itertools.chain(*recorded["style_weights"]["files"].values())
    named = [*recorded["run"]["files"], *weights, "monochrome.jpg"]
    assert sorted(named) == sorted(path.name for path in FOLDER.glob("*.jpg"))


def test_steps_go_on_and_there_is_a_sheet_for_each(recorded: Any) -> None:
    run, weights = recorded["run"], recorded["style_weights"]
    assert run["steps"] == sorted(set(run["steps"]))
    assert len(run["steps"]) == len(run["files"]) >= 10
    assert [f"step-{step:05d}.jpg" for step in run["steps"]] == run["files"]
    assert len(weights["files"]) == 3
    for files in weights["files"].values():
        assert len(files) == len(weights["steps"])


def test_sheets_are_three_rows_of_one_size(recorded: Any) -> None:
    sheets = [path for path in FOLDER.glob("*.jpg") if path.name != "monochrome.jpg"]
    width, height = 4 * PITCH - (PITCH - TILE), 3 * PITCH - (PITCH - TILE)
    assert {tuple(load_image(path).shape) for path in sheets} == {(1, 3, height, width)}
    first, *others = (load_image(path)[..., : 2 * PITCH, :] for path in sheets)
    for other in others:
        assert (first - other).abs().mean() < 0.01, "the same photos and styles on each"
