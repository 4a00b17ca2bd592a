"""nst morph: a clip that walks through styles, of the frames that were asked for, encoded once."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from command_line import encoded_pictures, run
from PIL import Image

import nstlib
from nstlib import adain, images, transform_net, video
from nstlib.cli import morph
from nstlib.interpolation import path_weights
from nstlib.stylist import NetStylist, Stylist

av = pytest.importorskip("av")

THREE = ("vortex", "mosaic", "marbling")
OF_NET = ("vortex", "gilded", "engraving")
SMALL = ("--size", "48", "--style-size", "48", "--device", "cpu")


@pytest.fixture
def clip(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The frames that are handed to the encoder, batch by batch."""
    given: list[torch.Tensor] = []
    write = video.write

    def watched(path: Path, frames: object, rate: float, **rest: bool) -> Path:
        def seen() -> object:
            for batch in frames:  # type: ignore[attr-defined]
                given.append(batch)
                yield batch

        return write(path, seen(), rate, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(video, "write", watched)
    return given


def test_a_clip_has_the_frames_that_were_asked_for_and_its_size_and_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "walk.mp4"
    flags = ["--seconds", "1.1", "--rate", "10"]
    assert run("morph", "coffee", *THREE, *SMALL, *flags, "-o", out) == 0
    assert capsys.readouterr().out == f"{out}\n"
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width, stream.average_rate) == (48, 72, 10)
        assert sum(1 for _ in container.decode(stream)) == 11


def test_without_seconds_it_takes_two_for_each_style() -> None:
    command = argparse.ArgumentParser()
    morph.add_morph(command.add_subparsers())
    asked = command.parse_args(["morph", "coffee", *THREE, "--rate", "29.97", "-o", "walk.mp4"])
    assert morph._table(asked).shape == (round(2 * 3 * 29.97), 3)


def test_the_frames_are_what_a_stylist_makes_of_a_walk(
    clip: list[torch.Tensor], tmp_path: Path
) -> None:
    flags = ["--seconds", "1", "--rate", "6", "--alpha", "0.7", "--keep-color", "match"]
    assert run("morph", "coffee", *THREE, *SMALL, *flags, "-o", tmp_path / "w.mp4") == 0
    assert [len(batch) for batch in clip] == [4, 2]  # a few at a time
    styles = [images.style(name, size=48) for name in THREE]
    wanted = Stylist(adain.load_adain()).stylize(
        images.sample("coffee", size=48),
        styles,
        weights=path_weights(3, 6),
        alpha=0.7,
        keep_color="match",
    )
    assert (torch.cat(clip) - wanted).abs().max() < 0.02  # of bfloat16, in batches of other sizes


@pytest.mark.parametrize("flags", [[], ["--open"]])
def test_it_walks_back_to_the_first_style_or_ends_with_the_last(
    flags: list[str], clip: list[torch.Tensor], tmp_path: Path
) -> None:
    flags = [
        *flags,
        "--seconds",
        "1",
        "--rate",
        "6",
        "--net",
        "fast",
        "--size",
        "48",
        "--device",
        "cpu",
    ]
    assert run("morph", "coffee", *OF_NET[:2], *flags, "-o", tmp_path / "w.mp4") == 0
    frames = torch.cat(clip)
    photo, net = images.sample("coffee", size=48), NetStylist(transform_net.load_net())
    first, last = (net.stylize(photo, name) for name in OF_NET[:2])
    assert (frames[:1] - first).abs().max() < 0.02
    at = 5 if "--open" in flags else 3
    assert (frames[at : at + 1] - last).abs().max() < 0.02
    if at == 3:  # there and back: each frame of the way has its like
        assert (frames[[1, 2]] - frames[[5, 4]]).abs().max() < 0.02


@pytest.mark.parametrize(("flags", "loops"), [([], True), (["--open"], False)])
def test_a_gif_of_a_loop_plays_on_and_one_of_a_single_way_once(
    flags: list[str], loops: bool, tmp_path: Path
) -> None:
    out = tmp_path / "walk.gif"
    some = ["--net", "fast", "--style-weight", "10", "--size", "48", "--seconds", "1"]
    assert run("morph", "coffee", *OF_NET, *some, "--rate", "5", *flags, "-o", out) == 0
    with Image.open(out) as picture:
        assert (picture.size, picture.n_frames) == ((72, 48), 5)  # type: ignore[attr-defined]
        assert picture.info["duration"] == 200
        assert ("loop" in picture.info) is loops


@pytest.mark.parametrize(
    "flags", [[], ["--keep-color", "match"], ["--match", "transport"], ["--stroke-size", "0.5"]]
)
def test_the_photo_and_each_style_are_encoded_once(
    flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = encoded_pictures(monkeypatch)
    five = [*THREE, "weaving", "impasto"]
    rates = ["--seconds", "1", "--rate", "10"]
    assert run("morph", "coffee", *five, *flags, *SMALL, *rates, "-o", tmp_path / "w.mp4") == 0
    assert len(encoded) == 1 + 5


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("vortex", "there is one style, 'vortex'; a walk takes two or more"),
        ("vortex mosaic -o walk.avi", "'walk.avi' must end in .mp4 or .gif"),
        ("vortex mosaic --seconds 0", "seconds is 0.0; it must lie in [0.1, 3600]"),
        ("vortex mosaic --seconds nan", "seconds is nan"),
        ("vortex mosaic --rate 0", "rate is 0.0; it must lie in [1, 1000]"),
        ("vortex mosaic --rate 60 -o walk.gif", "rate is 60.0; it must lie in [1, 50]"),
        (
            "vortex mosaic gilded --seconds 1 --rate 2",
            "seconds is 1 and rate 2: 2 frames; each of the 3 styles takes one at least",
        ),
        ("vortex mosaic --alpha 2", "alpha is 2.0; it must lie in [0, 1]"),
        ("vortex gone", "gone: no such file"),
        ("vortex mosaic --model gone.safetensors", "gone.safetensors: there is no such file"),
        ("vortex mosaic --style-weight 5", "--style-weight: of no effect on AdaIN"),
        (
            "vortex gilded --net fast --alpha .5 --match transport",
            "--alpha, --match: of no effect on a fast net",
        ),
        ("vortex gilded --net fast --style-size 64", "--style-size: of no effect on a fast net"),
        ("vortex mosaic --net fast", "style is 'mosaic'; the net has: vortex"),
        ("vortex gilded --net fast --style-weight 99", "the net's dial goes from"),
    ],
)
def test_what_cannot_be_is_one_sentence_before_any_work(
    flags: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(video, "write", None)
    assert run("morph", "coffee", "-o", "walk.mp4", *flags.split()) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("--keep-color match", "keep_color is 'match'; it takes 'luminance', or None"),
        ("--stroke-size 4", "stroke_size is 4; a picture of 64×96 px takes 2 at most"),
    ],
)
def test_what_the_first_frame_tells_leaves_an_old_clip_as_it_was(
    flags: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "walk.mp4"
    out.write_bytes(b"mine")
    some = ["--net", "fast", "--size", "64", *flags.split()]
    assert run("morph", "coffee", "vortex", "gilded", *some, "-o", out) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mp4"]
    assert out.read_bytes() == b"mine"


def test_a_clip_is_not_written_over_its_photo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.gif"
    Image.new("RGB", (40, 40), "teal").save(photo)
    kept = photo.read_bytes()
    assert run("morph", photo, "vortex", "mosaic", "-o", photo) == 2
    assert "is a picture it is made of, which would be overwritten" in capsys.readouterr().err
    assert photo.read_bytes() == kept


def test_a_picture_of_an_odd_size_is_a_clip_too(tmp_path: Path) -> None:
    photo = images.save_image(torch.rand(1, 3, 33, 47), tmp_path / "odd.png")
    flags = ["--net", "fast", "--size", "33", "--seconds", "1", "--rate", "2"]
    assert run("morph", photo, *OF_NET[:2], *flags, "-o", tmp_path / "w.gif") == 0
    assert nstlib.load_image(tmp_path / "w.gif").shape == (1, 3, 33, 47)
