"""Folders of pictures: who is held out, what is left out and why, and crops that a seed repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nstlib.datasets import Crops, picture_paths


def gradient_picture(path: Path, width: int, height: int) -> Path:
    """Red says the column and green the row of each pixel, in a blue that says which picture."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    blue = np.full_like(columns, sum(path.name.encode()) % 200)
    Image.fromarray(np.stack([columns, rows, blue], axis=2).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.png", "sub/c.png", "d.png"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        gradient_picture(path, 40, 30)
    (tmp_path / "pictures" / "notes.txt").write_text("no picture")
    return tmp_path / "pictures"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_pictures_are_found_in_folders_below_and_sorted(folder: Path) -> None:
    assert names(picture_paths(folder)) == ["a.png", "b.png", "d.png", "c.png"]
    assert picture_paths(str(folder)) == picture_paths(folder)
    (folder / "e.JPG").write_bytes(b"")
    assert "e.JPG" in names(picture_paths(folder))


@pytest.mark.parametrize("above", [False, True])
def test_a_manifest_in_the_folder_or_above_says_what_is_held_out(folder: Path, above: bool) -> None:
    place = folder.parent if above else folder
    prefix = "pictures/" if above else ""
    (place / "MANIFEST.csv").write_text(
        "artist,path,split\n"
        f'"Doe, Jane",{prefix}b.png,held-out\n'
        f",{prefix}sub/c.png,held-out\n"
        f",{prefix}a.png,train\n"
        f",{prefix}gone.png,held-out\n",
        encoding="utf-8",
    )
    assert names(picture_paths(folder, split="held-out")) == ["b.png", "c.png"]
    assert names(picture_paths(folder, split="train")) == ["a.png", "d.png"]  # d.png is not listed
    assert len(picture_paths(folder, split="all")) == 4
    train, held_out = (set(picture_paths(folder, split=split)) for split in ("train", "held-out"))
    assert not train & held_out


def test_without_a_manifest_all_is_for_training(folder: Path) -> None:
    assert picture_paths(folder, split="train") == picture_paths(folder)
    with pytest.raises(ValueError, match=r"no picture of split 'held-out' in '.*pictures'"):
        picture_paths(folder, split="held-out")


def test_of_several_folders_one_may_hold_nothing_out(folder: Path, tmp_path: Path) -> None:
    judged = tmp_path / "judged"
    judged.mkdir()
    gradient_picture(judged / "z.png", 40, 30)
    (judged / "MANIFEST.csv").write_text("path,split\nz.png,held-out\n", encoding="utf-8")
    assert names(picture_paths(judged, folder)) == ["z.png", "a.png", "b.png", "d.png", "c.png"]
    assert names(picture_paths(folder, judged, split="held-out")) == ["z.png"]
    assert names(picture_paths(judged, folder, split="train")) == names(picture_paths(folder))


def test_a_folder_within_another_holds_out_the_same(folder: Path) -> None:
    """Else what one folder holds out would be trained on by way of the other."""
    (folder / "MANIFEST.csv").write_text("path,split\nsub/deep/e.png,held-out\n", encoding="utf-8")
    (folder / "sub" / "deep").mkdir()
    gradient_picture(folder / "sub" / "deep" / "e.png", 40, 30)
    both = (folder, folder / "sub" / "deep")
    assert "e.png" not in names(picture_paths(*both, split="train"))
    assert names(picture_paths(*both, split="held-out")) == ["e.png"], "and once"
    with pytest.raises(ValueError, match="folders is empty"):
        picture_paths()


@pytest.mark.parametrize(
    "content",
    [
        "path,split\na.png,heldout\n",
        "path,split\na.png,\n",
        "path,split\n,train\n",
        "file,split\na.png,train\n",
        "path\na.png\n",
    ],
)
def test_a_manifest_that_is_not_understood_trains_on_nothing(folder: Path, content: str) -> None:
    """A misspelt "held-out" would let a picture that is judged by into the training."""
    (folder / "MANIFEST.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"MANIFEST\.csv, row 2: path is .*'train' or 'held-out'"):
        picture_paths(folder, split="train")


def test_a_folder_or_split_that_does_not_exist_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder is '.*nowhere', which is not a folder"):
        picture_paths(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"folder is '.*a\.png', which is not a folder"):
        picture_paths(folder / "a.png")
    with pytest.raises(ValueError, match="split is 'test'; it takes 'train', 'held-out' or 'all'"):
        picture_paths(folder, split="test")  # type: ignore[arg-type]


def draw(crops: Crops, count: int, seed: int = 0) -> torch.Tensor:
    return crops.draw(count, torch.Generator().manual_seed(seed))


def test_crops_are_windows_of_the_pictures_mirrored_half_the_time(folder: Path) -> None:
    crops = Crops(picture_paths(folder), crop=16)
    drawn = draw(crops, 300)
    assert drawn.shape == (300, 3, 16, 16)
    assert drawn.dtype == torch.float32
    levels = (drawn * 255).round()
    assert torch.equal(levels / 255, drawn)
    columns, rows, blue = levels[:, 0], levels[:, 1], levels[:, 2]
    steps = columns.diff(dim=2)
    mirrored = steps[:, 0, 0] < 0
    assert torch.equal(steps, torch.where(mirrored, -1.0, 1.0)[:, None, None].expand_as(steps))
    assert (rows.diff(dim=1) == 1).all()  # never upside down, never stretched
    assert 0.4 < mirrored.float().mean() < 0.6
    left, top = columns.amin(dim=(1, 2)), rows.amin(dim=(1, 2))
    assert set(left.int().tolist()) == set(range(40 - 16 + 1))  # every place, and none outside
    assert set(top.int().tolist()) == set(range(30 - 16 + 1))
    assert len(blue[:, 0, 0].unique()) == len(crops) == 4  # colours are left alone


def test_the_same_seed_draws_the_same_crops(folder: Path) -> None:
    crops = Crops(picture_paths(folder), crop=16)
    torch.manual_seed(1)
    first = draw(crops, 5)
    torch.manual_seed(2)
    assert torch.equal(draw(crops, 5), first)
    assert not torch.equal(draw(crops, 5, seed=1), first)


def test_large_pictures_are_made_smaller_with_their_aspect_and_none_larger(tmp_path: Path) -> None:
    paths = [
        gradient_picture(tmp_path / "wide.png", 200, 100),
        gradient_picture(tmp_path / "tall.png", 60, 90),
        gradient_picture(tmp_path / "exact.png", 50, 40),
        gradient_picture(tmp_path / "small.png", 20, 30),
    ]
    crops = Crops(paths, crop=16, shorter_side=40)
    sizes = [tuple(picture.shape) for picture in crops.pictures]
    assert sizes == [(3, 40, 80), (3, 60, 40), (3, 40, 50), (3, 30, 20)]
    assert not crops.skipped


def test_what_cannot_be_read_or_is_too_small_is_left_out_and_named(
    folder: Path, tmp_path: Path
) -> None:
    bad = {
        "empty.png": b"",
        "text.jpg": b"<html>not found</html>",
        "cut.png": (folder / "a.png").read_bytes()[:60],
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    small = gradient_picture(folder / "small.png", 40, 15)
    (folder / "album.jpg").mkdir()
    paths = [*picture_paths(folder), folder / "missing.png"]
    crops = Crops(paths, crop=16)
    assert len(crops) == 4
    for name in (*bad, "album.jpg", "missing.png"):
        assert sum(str(folder / name) in line for line in crops.skipped) == 1
    assert f"{small}: smaller than the crop of 16 px" in crops.skipped
    assert len(crops.skipped) == 6


def test_no_picture_at_all_is_an_error_that_says_why(tmp_path: Path) -> None:
    small = gradient_picture(tmp_path / "small.png", 8, 8)
    with pytest.raises(
        ValueError, match=r"no picture of at least 16 px .*small\.png: smaller than"
    ):
        Crops([small], crop=16)


@pytest.mark.parametrize("crop", [0, -1, 41])
def test_a_crop_that_fits_no_picture_is_refused(folder: Path, crop: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"crop is {crop}; it must lie in \[1, shorter_side\], 40"
    ):
        Crops(picture_paths(folder), crop=crop, shorter_side=40)
