"""Folders of pictures: who is held out, what is left out and why, and crops that a seed repeats."""

from __future__ import annotations

import gzip
import itertools
import os
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nstlib import ImageError
from nstlib.datasets import Crops, generator_of, picture_paths
from nstlib.images import load_image


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


def test_a_folder_with_a_pictures_name_is_no_picture_but_may_hold_some(folder: Path) -> None:
    wanted = picture_paths(folder)
    for name in ("album.jpg", "album.tar"):
        (folder / name).mkdir()
    assert picture_paths(folder, shards=True) == wanted
    inside = gradient_picture(folder / "album.jpg" / "z.png", 40, 30)
    assert sorted(picture_paths(folder)) == sorted([*wanted, inside])


@pytest.mark.skipif(os.name == "nt", reason="Windows gives few users leave to make links")
def test_a_link_that_leads_nowhere_is_found_so_that_it_can_be_named(folder: Path) -> None:
    lost = folder / "lost.png"
    lost.symlink_to(folder / "gone.png")
    (line,) = Crops(picture_paths(folder), crop=16).skipped
    assert str(lost) in line


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
    paths = [*picture_paths(folder), folder / "album.jpg", folder / "missing.png"]
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


# ------------------------------------------------------------------------- the batches of a training


def flat(level: int, size: int = 20) -> torch.Tensor:
    """Return a picture of one grey, which says in each of its crops which picture it is."""
    return torch.full((1, 3, size, size), level / 255)


def flat_crops(count: int) -> Crops:
    return Crops([flat(level) for level in range(count)], crop=16)


def levels(batch: torch.Tensor) -> list[int]:
    """Return which of the flat pictures each crop of a batch is of."""
    assert (batch == batch[:, :1, :1, :1]).all()
    return [round(255 * value) for value in batch[:, 0, 0, 0].tolist()]


@pytest.mark.parametrize("count", [1, 3, 5, 12])
def test_every_picture_is_seen_once_before_any_is_seen_again(count: int) -> None:
    crops = flat_crops(5)
    steps = range(1, 60 // count + 1)
    seen = [level for step in steps for level in levels(crops.batch(step, count, seed=3))]
    passes = [seen[first : first + 5] for first in range(0, 60, 5)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in passes)
    assert len(set(map(tuple, passes))) > 6, "each pass draws its order anew"


def test_another_seed_draws_another_order_and_other_crops(folder: Path) -> None:
    seen = [levels(flat_crops(30).batch(1, 30, seed)) for seed in (0, 1)]
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(30))
    assert seen[0] != seen[1]
    one_picture = Crops(picture_paths(folder)[:1], crop=16)
    assert not torch.equal(one_picture.batch(1, 4, seed=0), one_picture.batch(1, 4, seed=1))
    assert not torch.equal(one_picture.batch(1, 4, seed=0), one_picture.batch(2, 4, seed=0))


def test_a_batch_depends_on_its_step_and_on_nothing_before_it(folder: Path) -> None:
    crops = Crops(picture_paths(folder), crop=16)
    torch.manual_seed(1)
    in_order = [crops.batch(step, 3, seed=0) for step in range(1, 7)]
    torch.manual_seed(2)
    for step in (6, 1, 4, 4, 2, 5, 3):
        assert torch.equal(crops.batch(step, 3, seed=0), in_order[step - 1])
    assert torch.equal(Crops(picture_paths(folder), crop=16).batch(5, 3, seed=0), in_order[4])


def test_a_batch_leaves_the_callers_random_numbers_alone(folder: Path) -> None:
    crops = Crops(picture_paths(folder), crop=16)
    torch.manual_seed(0)
    wanted = torch.rand(3)
    torch.manual_seed(0)
    crops.batch(1, 4, seed=0)
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("processes", [1, 2, 3, 6])
def test_the_shares_of_processes_put_together_are_the_batch(folder: Path, processes: int) -> None:
    crops = Crops(picture_paths(folder), crop=16)
    whole, together = crops.batch(4, 6, seed=0), torch.zeros(6, 3, 16, 16)
    for rank in range(processes):
        share = slice(rank, None, processes)
        together[share] = crops.batch(4, 6, seed=0, share=share)
    assert torch.equal(together, whole)
    assert len({crop.numpy().tobytes() for crop in whole}) == 6


def test_the_crops_of_a_batch_are_windows_mirrored_half_the_time(folder: Path) -> None:
    batch = (Crops(picture_paths(folder), crop=16).batch(1, 200, seed=0) * 255).round()
    steps = batch[:, 0].diff(dim=2)
    mirrored = steps[:, 0, 0] < 0
    assert torch.equal(steps, torch.where(mirrored, -1.0, 1.0)[:, None, None].expand_as(steps))
    assert (batch[:, 1].diff(dim=1) == 1).all()
    assert 0.35 < mirrored.float().mean() < 0.65
    assert set(batch[:, 0].amin(dim=(1, 2)).int().tolist()) == set(range(40 - 16 + 1))


def test_threads_that_ask_for_different_passes_get_their_own() -> None:
    """The next batch is drawn ahead while a sheet of samples draws another."""
    crops = flat_crops(5)
    wanted = {turn: flat_crops(5)._order(0, turn) for turn in (1, 2)}
    assert wanted[1] != wanted[2]

    def ask(turn: int) -> bool:
        return all(crops._order(0, turn) == wanted[turn] for _ in range(1000))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(ask, (1, 2, 1, 2)))
    finally:
        sys.setswitchinterval(interval)


# ---------------------------------------------------------------------- pictures in memory and on disk


def test_images_are_taken_as_files_are(folder: Path) -> None:
    paths = picture_paths(folder)
    from_images = Crops(map(load_image, paths), crop=16)
    assert torch.equal(from_images.batch(2, 5, seed=0), Crops(paths, crop=16).batch(2, 5, seed=0))


def test_a_large_image_is_made_smaller_and_a_small_one_left_out() -> None:
    crops = Crops(
        [torch.rand(1, 3, 90, 60, generator=generator_of(0)), flat(9, size=12), flat(7)],
        crop=16,
        shorter_side=40,
    )
    assert [tuple(picture.shape) for picture in crops.pictures] == [(3, 60, 40), (3, 20, 20)]
    assert crops.skipped == ["image 2: smaller than the crop of 16 px"]


def test_each_image_that_is_left_out_has_a_line_of_its_own(folder: Path) -> None:
    """Those of files that lie between them are not counted."""
    small = [flat(9, size=12) for _ in range(4)]
    crops = Crops([small[0], *picture_paths(folder), flat(7), *small[1:]], crop=16)
    assert crops.skipped == [
        f"image {number}: smaller than the crop of 16 px" for number in (1, 3, 4, 5)
    ]


def test_to_name_the_next_of_many_bad_files_takes_no_longer_than_the_first() -> None:
    class Line(str):
        comparisons = 0
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            Line.comparisons += 1
            return super().__eq__(other)

    crops, lines = flat_crops(1), [Line(number) for number in range(300)]
    for line in lines:
        crops._skip(line)
    assert Line.comparisons < 300, "to compare each with all takes 45 000"
    assert crops.skipped == lines


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.rand(3, 20, 20), r"shape \(3, 20, 20\)"),
        (torch.rand(2, 3, 20, 20), r"shape \(2, 3, 20, 20\)"),
        (torch.full((1, 3, 20, 20), 1.5), "values from 1.5 to 1.5"),
    ],
)
def test_what_is_no_image_is_refused(image: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=f"picture has {message}"):
        Crops([image], crop=16)


@pytest.mark.parametrize("room", [0, 1, 2, 4])
def test_what_does_not_fit_in_memory_is_read_when_it_is_drawn(folder: Path, room: int) -> None:
    """The pictures are of 40 × 30 px in three colours, a byte each."""
    paths = picture_paths(folder)
    few = Crops(paths, crop=16, in_memory=room * 40 * 30 * 3)
    assert [isinstance(picture, torch.Tensor) for picture in few.pictures] == [
        index < room for index in range(4)
    ]
    all_in_memory = Crops(paths, crop=16)
    for step in (1, 2, 3):
        assert torch.equal(few.batch(step, 4, seed=0), all_in_memory.batch(step, 4, seed=0))


@pytest.mark.parametrize("in_memory", [0, 1])
def test_images_are_in_memory_anyway(folder: Path, in_memory: int) -> None:
    """They cannot be read from a file: they stay, a quarter as large, whatever room there is."""
    image = torch.rand(1, 3, 90, 60, generator=generator_of(0))
    pictures = [flat(3), *picture_paths(folder), image, flat(5)]
    crops = Crops(pictures, crop=16, shorter_side=40, in_memory=in_memory)
    kept = [picture for picture in crops.pictures if isinstance(picture, torch.Tensor)]
    assert [tuple(picture.shape) for picture in kept] == [(3, 20, 20), (3, 60, 40), (3, 20, 20)]
    assert {picture.dtype for picture in kept} == {torch.uint8}
    plenty = Crops(pictures, crop=16, shorter_side=40)
    assert torch.equal(crops.batch(1, 14, seed=0), plenty.batch(1, 14, seed=0))


def test_a_file_that_breaks_later_gives_way_to_the_next_one(tmp_path: Path) -> None:
    paths = [tmp_path / f"{level}.png" for level in (10, 20, 30)]
    for path in paths:
        Image.new("RGB", (20, 20), (int(path.stem),) * 3).save(path)
    crops = Crops(paths, crop=16, in_memory=0)
    assert sorted(levels(crops.batch(1, 3, seed=0))) == [10, 20, 30]
    paths[0].write_bytes(paths[0].read_bytes()[:60])
    for step in (1, 2, 3):
        assert sorted(levels(crops.batch(step, 3, seed=0))) == [20, 20, 30]
    paths[1].unlink()
    assert sorted(levels(crops.batch(4, 3, seed=0))) == [30, 30, 30]
    assert len(crops.skipped) == 2, "each is named once, however often it is drawn"
    assert all(str(path) in line for path, line in zip(paths, crops.skipped, strict=False))
    paths[2].unlink()
    with pytest.raises(ImageError, match="none of the 3 pictures can be read any more"):
        crops.batch(5, 3, seed=0)
    with pytest.raises(ImageError, match="none of the 3 pictures"):
        draw(crops, 1)


def test_a_small_file_is_left_out_when_it_is_drawn(tmp_path: Path) -> None:
    small = gradient_picture(tmp_path / "small.png", 40, 15)
    large = gradient_picture(tmp_path / "large.png", 40, 30)
    crops = Crops([small, large], crop=16, in_memory=0)
    assert len(crops) == 2
    assert not crops.skipped
    blue = (crops.batch(1, 4, seed=0)[:, 2] * 255).round().unique()
    assert blue.tolist() == [sum(b"large.png") % 200]
    assert crops.skipped == [f"{small}: smaller than the crop of 16 px"]


# ------------------------------------------------------------------------------------ random numbers


def test_a_generator_of_numbers_is_another_for_each_tuple_and_its_order() -> None:
    tuples = [*itertools.product(range(6), repeat=2), *itertools.product((0, 7), (0, 7), (1, 2))]
    first = {numbers: torch.rand(2, generator=generator_of(*numbers)) for numbers in tuples}
    assert len({tuple(values.tolist()) for values in first.values()}) == len(tuples)
    for numbers, values in first.items():
        assert torch.equal(torch.rand(2, generator=generator_of(*numbers)), values)


def test_generators_of_neighbouring_steps_are_not_alike() -> None:
    """As they would be, were the numbers added up: step 1 of seed 1 is not step 2 of seed 0."""
    draws = torch.stack([torch.rand(500, generator=generator_of(0, step)) for step in range(20)])
    correlations = torch.corrcoef(draws) - torch.eye(20)
    assert correlations.abs().max() < 0.25  # of 190 pairs; a deviation is 1/√500 = 0.045
    assert not torch.equal(
        torch.rand(3, generator=generator_of(1, 1)), torch.rand(3, generator=generator_of(0, 2))
    )


def test_a_generator_takes_large_numbers() -> None:
    assert generator_of(2**31 - 1, 10**12).initial_seed() < 2**63


# --------------------------------------------------------------------------- pictures in .tar files


@pytest.fixture
def shards(folder: Path) -> Path:
    """Return a folder with the pictures of ``folder`` in two shards, beside what is no picture."""
    home = folder.parent / "shards"
    (home / "deep").mkdir(parents=True)
    paths = picture_paths(folder)
    for name, inside in (("a.tar", paths[:1]), ("deep/b.TAR", paths[1:])):
        with tarfile.open(home / name, "w") as tar:
            tar.add(folder, "folder", recursive=False)
            for path in inside:
                tar.add(folder / "notes.txt", f"{path.stem}.txt")
                tar.add(path, f"x/{'long' * 40}/{path.name}")  # whose header takes three blocks
    return home


def test_pictures_of_a_tar_are_drawn_like_files(folder: Path, shards: Path) -> None:
    """At any step and in any order, as a run that is taken up asks for them."""
    files = Crops(picture_paths(folder), crop=16)
    for in_memory in (0, 1, 1 << 20):
        members = Crops(picture_paths(shards, shards=True), crop=16, in_memory=in_memory)
        assert len(members) == 4
        assert not members.skipped
        for step in (5, 1, 3):
            assert torch.equal(members.batch(step, 3, seed=0), files.batch(step, 3, seed=0))


def test_tars_files_and_images_can_be_mixed(folder: Path, shards: Path) -> None:
    paths = picture_paths(folder)
    mixture: list[Path | torch.Tensor] = [paths[0], shards / "deep" / "b.TAR", flat(3)]
    mixed = Crops(mixture, crop=16, in_memory=0)
    files = Crops([*map(load_image, paths), flat(3)], crop=16)
    assert torch.equal(mixed.batch(1, 5, seed=0), files.batch(1, 5, seed=0))


def test_tars_are_found_where_they_are_asked_for(folder: Path, shards: Path) -> None:
    assert names(picture_paths(shards, shards=True)) == ["a.tar", "b.TAR"]
    assert len(picture_paths(folder, shards, shards=True)) == 4 + 2
    with pytest.raises(ValueError, match="no picture in '.*shards'"):
        picture_paths(shards)
    manifest = "path,split\ndeep/b.TAR,held-out\n"
    (shards / "MANIFEST.csv").write_text(manifest, encoding="utf-8")
    assert names(picture_paths(shards, split="train", shards=True)) == ["a.tar"]
    assert names(picture_paths(shards, split="held-out", shards=True)) == ["b.TAR"]


def flat_tar(path: Path, levels: range) -> tuple[bytes, list[tarfile.TarInfo]]:
    """Write a tar of pictures of one grey each; return its bytes, and where each member lies."""
    for level in levels:
        Image.new("RGB", (20, 20), (level,) * 3).save(path.parent / f"{level}.png")
    with tarfile.open(path, "w") as tar:
        for level in levels:
            tar.add(path.parent / f"{level}.png", f"{level}.png")
    with tarfile.open(path) as tar:
        return path.read_bytes(), tar.getmembers()


def shown(crops: Crops) -> list[int]:
    """Return which pictures of one grey are drawn in a pass."""
    return sorted(levels(crops.batch(1, len(crops), seed=0)))


def test_a_bad_picture_in_a_tar_is_left_out_and_named(tmp_path: Path) -> None:
    shard = tmp_path / "s.tar"
    content, (_, second, _) = flat_tar(shard, range(10, 13))
    place = second.offset_data
    shard.write_bytes(content[:place] + bytes(second.size) + content[place + second.size :])
    crops = Crops([shard], crop=16)
    assert shown(crops) == [10, 12]
    (line,) = crops.skipped
    assert line.startswith(f"{shard}/11.png: ")
    later = Crops([shard], crop=16, in_memory=0)
    assert shown(later) in ([10, 10, 12], [10, 12, 12]), "another stands in"
    assert later.skipped == [line]


@pytest.mark.parametrize("in_memory", [0, 1 << 20])
def test_a_small_picture_in_a_tar_is_left_out_and_named(tmp_path: Path, in_memory: int) -> None:
    shard = tmp_path / "s.tar"
    flat_tar(shard, range(10, 12))
    gradient_picture(tmp_path / "small.png", 40, 15)
    with tarfile.open(shard, "a") as tar:
        tar.add(tmp_path / "small.png", "small.png")
    crops = Crops([shard], crop=16, in_memory=in_memory)
    assert set(shown(crops)) == {10, 11}
    assert crops.skipped == [f"{shard}/small.png: smaller than the crop of 16 px"]


def test_of_a_damaged_tar_what_can_be_read_is_used_and_the_rest_told_of(tmp_path: Path) -> None:
    """Also behind a damaged header, which ``tarfile`` itself takes for the end."""
    shard = tmp_path / "s.tar"
    content, (_, second, third) = flat_tar(shard, range(10, 13))
    header = second.offset
    damaged = {
        "within a header": (content[: third.offset + 100], [10, 11]),
        "within a picture": (content[: third.offset_data + 20], [10, 11]),
        "a header's checksum": (content[:header] + b"?" + content[header + 1 :], [10]),
    }
    for what, (left, wanted) in damaged.items():
        shard.write_bytes(left)
        crops = Crops([shard], crop=16)
        assert shown(crops) == wanted, what
        assert str(shard) in crops.skipped[0], what
        assert "is no whole .tar file" in crops.skipped[0], what
    shard.write_bytes(content[: third.offset_data + -(-third.size // 512) * 512])
    crops = Crops([shard], crop=16)
    assert shown(crops) == [10, 11, 12], "no zeros at the end are needed"
    assert not crops.skipped


@pytest.mark.parametrize("kind", ["empty", "text", "gzip", "folder", "gone"])
def test_what_is_no_tar_is_named(tmp_path: Path, kind: str) -> None:
    shard = tmp_path / "s.tar"
    content, _ = flat_tar(tmp_path / "good.tar", range(10, 12))
    if kind == "folder":
        shard.mkdir()
    elif kind != "gone":
        text = b"no archive at all" * 100
        shard.write_bytes({"empty": b"", "text": text, "gzip": gzip.compress(content)}[kind])
    crops = Crops([shard, tmp_path / "good.tar"], crop=16)
    assert shown(crops) == [10, 11]
    (line,) = crops.skipped
    assert line.startswith(f"{shard}: is no whole .tar file, 0 pictures found (")
    with pytest.raises(ValueError, match=r"no picture of at least 16 px .*s\.tar"):
        Crops([shard], crop=16)


def test_a_tar_that_is_gone_later_gives_way_to_the_next_pictures(tmp_path: Path) -> None:
    first, second = tmp_path / "1.tar", tmp_path / "2.tar"
    flat_tar(first, range(10, 12))
    flat_tar(second, range(20, 22))
    crops = Crops([first, second], crop=16, in_memory=0)
    assert shown(crops) == [10, 11, 20, 21]
    first.unlink()
    assert set(shown(crops)) == {20, 21}
    assert len(crops.skipped) == 2
    assert {str(first / "10.png"), str(first / "11.png")} == {
        line.split(": ")[0] for line in crops.skipped
    }


def test_what_has_a_pictures_name_in_a_tar_and_is_no_whole_file_is_named(tmp_path: Path) -> None:
    """A folder is not a picture that is missing: only its files are."""
    shard = tmp_path / "s.tar"
    flat_tar(shard, range(10, 12))
    kinds = {
        "symbolic.png": tarfile.SYMTYPE,
        "hard.png": tarfile.LNKTYPE,
        "holes.png": tarfile.GNUTYPE_SPARSE,
        "pipe.png": tarfile.FIFOTYPE,
        "folder.png": tarfile.DIRTYPE,
        "notes.txt": tarfile.LNKTYPE,
    }
    with tarfile.open(shard, "a") as tar:
        for name, kind in kinds.items():
            part = tarfile.TarInfo(name)
            part.type, part.linkname = kind, "10.png"
            tar.addfile(part)
    crops = Crops([shard], crop=16)
    assert shown(crops) == [10, 11]
    assert crops.skipped == [
        f"{shard}/symbolic.png: is a link",
        f"{shard}/hard.png: is a link",
        f"{shard}/holes.png: is sparse",
        f"{shard}/pipe.png: is no file",
    ]
