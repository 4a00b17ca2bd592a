"""A full disk and Ctrl-C: the old file stays, nothing else is left, and a line says what happened."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import run
from test_video import full_disk

from nstlib import VideoError, benchmarks, images, masks, showing, training, video, weights
from nstlib.errors import ImageError

NOISE = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))
STATE = {"weight": torch.rand(1000, generator=torch.Generator().manual_seed(1))}

# Whatever the package writes, by the name of the file.
WRITERS: dict[str, Callable[[Path], object]] = {
    "picture.png": lambda path: images.save_image(NOISE, path),
    "picture.jpg": lambda path: images.save_image(NOISE, path),
    "picture.webp": lambda path: images.save_image(NOISE, path),
    "picture.tif": lambda path: images.save_image(NOISE, path),
    "mask.png": lambda path: masks.save_mask(NOISE[:, :1], path),
    "sheet.jpg": lambda path: showing.show(NOISE).save(path),
    "net.safetensors": lambda path: weights.save_weights(STATE, path, {}),
    "net.pt": lambda path: weights.save_checkpoint({"model": STATE}, path),
    "bench.json": lambda path: benchmarks.write_json(path, list(range(1000))),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("limit", [0, 500])
def test_a_full_disk_is_told_of_with_the_file_and_leaves_the_old_one(
    name: str, limit: int, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    with full_disk(limit), pytest.raises((OSError, ImageError)) as told:
        WRITERS[name](path)
    assert str(path) in str(told.value)
    assert "File too large" in str(told.value)  # the system's own reason
    assert ".tmp" not in str(told.value)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    WRITERS[name](path)
    assert path.stat().st_size > limit


def test_a_full_disk_is_a_line_that_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with full_disk(100):
        assert run("paint", "vortex", "--size", "32", "-o", "a.png") == 1
    assert capsys.readouterr().err == "nst: 'a.png' cannot be written: File too large\n"
    assert not list(tmp_path.iterdir())


MOMENTS = {"write_bytes": Path, "write_text": Path, "fsync": os, "replace": os}


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", WRITERS)
def test_ctrl_c_at_any_moment_leaves_the_old_file(
    name: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    begun = []

    def stopped(file: Any, *_: Any, **__: Any) -> None:
        begun.append(file)
        if isinstance(file, Path):
            file.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(MOMENTS[moment], moment, stopped)
    try:
        WRITERS[name](path)
    except KeyboardInterrupt:
        assert path.read_bytes() == b"old"
    else:
        assert not begun, "by other means"
        assert moment.startswith("write")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [path]


COMMANDS = """
nst paint vortex --size 32 -o old.png
nst fast photos -o out
nst adain photos/a.png vortex --style-size 48 -o old.png
nst gatys photos/a.png vortex --size 48 --preset default --steps 1 -o old.png
nst gallery --net fast --photos photos/a.png --styles vortex --size 32 --shown 32 -o old.jpg
nst train fast --style vortex --content photos --checkpoint old.pt --crop 32 --steps 1 --batch 1 --width 0.25
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of photos and old outputs, in which commands run."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("a", "b"):
        images.save_image(NOISE, f"photos/{name}.png")
    for name in ("old.png", "old.jpg"):
        Path(name).write_bytes(b"old")
    return tmp_path


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", COMMANDS.strip().splitlines())
def test_ctrl_c_while_a_command_writes_is_a_line_and_130(
    command: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_in(place)

    def stopped(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stopped)
    assert run(*shlex.split(command)[1:]) == 130
    assert capsys.readouterr().err == "nst: stopped\n"
    assert files_in(place) == before


def test_ctrl_c_in_a_folder_keeps_what_was_painted(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written, sync = [], os.fsync

    def stopped_at_the_second(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 2:
            raise KeyboardInterrupt
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", stopped_at_the_second)
    assert run("fast", "photos", "-o", "out") == 130
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]
    assert images.load_image("out/a.png").shape == NOISE.shape


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_ctrl_c_while_a_clip_is_copied_into_its_place_keeps_it_beside(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All was encoded by then, which may have taken hours."""
    path, partial = tmp_path / f"clip{suffix}", tmp_path / f"clip.partial{suffix}"
    path.write_bytes(b"old")

    def stopped(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stopped)
    with pytest.raises(KeyboardInterrupt) as told:
        video.write(path, NOISE.repeat(3, 1, 1, 1))
    assert str(partial) in told.value.__notes__[0]
    assert path.read_bytes() == b"old"
    assert set(tmp_path.iterdir()) == {path, partial}
    assert len(video.read(partial)) in (1, 3)  # a GIF shows frames that repeat as one


def test_a_full_disk_for_a_clips_name_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(VideoError, match=r"clip.gif' cannot be written: No space left on device"):
        video.write(tmp_path / "clip.gif", NOISE)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.partial.gif"]


TRAINING = shlex.split(
    "train fast --style vortex --content photos --checkpoint net.pt --crop 32 --batch 1 --every 1 "
    "--width 0.25 --steps 3"
)


def test_ctrl_c_in_a_training_step_leaves_the_last_checkpoint_and_says_how_to_go_on(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    advance, done = training._Run.advance, []

    def stopped_in_the_third(run: Any, batch: training.Batch) -> training.Progress:
        if run.step == 2:
            done.append(files_in(place))
            raise KeyboardInterrupt
        return advance(run, batch)

    monkeypatch.setattr(training._Run, "advance", stopped_in_the_third)
    assert run(*TRAINING) == 130
    *_, line = capsys.readouterr().err.splitlines()
    assert line == "nst: stopped; the same command goes on from 'net.pt'"
    assert files_in(place) == done[0]
    monkeypatch.undo()
    monkeypatch.chdir(place)
    assert run(*TRAINING) == 0
    assert '{"step": 3,' in capsys.readouterr().out
