"""Clips are decoded again by PyAV, OpenCV, Pillow and a browser: what went in comes out."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageSequence
from test_video_reading import apart, seen_in
from torch import Tensor

from nstlib import VideoError, video
from nstlib.errors import VideoWarning
from nstlib.images import sample, to_uint8
from nstlib.video import mp4, writing

Array = npt.NDArray[Any]
NTSC = Fraction(30000, 1001)
SUFFIXES = [".mp4", ".gif"]

# Those that a matrix or range mistaken for another moves most.
COLOURS = [
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 0),
    (255, 0, 255),
    (0, 255, 255),
    (255, 255, 255),
    (128, 128, 128),
    (20, 60, 220),
    (5, 10, 15),
]


def flat(colour: tuple[int, int, int], height: int = 32, width: int = 48) -> Tensor:
    """Return an image of one colour, given in 0 .. 255."""
    return torch.tensor(colour).div(255).view(1, 3, 1, 1).expand(1, 3, height, width)


def shades(count: int, height: int = 32, width: int = 48) -> list[Tensor]:
    """Return frames that tell their index: each a grey of its own."""
    return [torch.full((1, 3, height, width), (i + 1) / (count + 1)) for i in range(count)]


def by_av(path: Path) -> list[Array]:
    """Return a clip's frames (H, W, 3) as PyAV decodes them."""
    with av.open(path) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def by_cv2(path: Path) -> list[Array]:
    """Return a clip's frames (H, W, 3) as OpenCV decodes them."""
    capture = cv2.VideoCapture(str(path))
    return [np.asarray(bgr)[..., ::-1] for ok, bgr in iter(capture.read, (False, None)) if ok]


def by_pillow(path: Path) -> list[Array]:
    """Return a GIF's frames (H, W, 3) as Pillow decodes them."""
    with Image.open(path) as gif:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]


def delays(path: Path) -> list[int]:
    """Return a GIF's delays in ms."""
    with Image.open(path) as gif:
        return [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]


# --------------------------------------------------------------------------------------------- mp4


def test_an_mp4_is_what_browsers_play(tmp_path: Path) -> None:
    path = video.write(tmp_path / "a.mp4", shades(12), rate=29.97)
    with av.open(path) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert context.name == "h264"
        assert context.profile == "High", "not High 4:4:4, which no browser plays"
        assert context.pix_fmt == "yuv420p"
        assert (stream.average_rate, stream.frames) == (NTSC, 12)
        # BT.709's primaries, sRGB's curve, BT.601's matrix, and black at 16.
        assert (context.color_primaries, context.color_trc) == (1, 13)
        assert context.colorspace in (5, 6)
        assert context.color_range == 1
        times = [Fraction(frame.pts) * frame.time_base for frame in container.decode(stream)]
    assert times == [k / NTSC for k in range(12)], "not one of them drifts"


@pytest.mark.parametrize("read", [by_av, by_cv2])
def test_all_frames_come_back_in_order(tmp_path: Path, read: Any) -> None:
    frames = shades(30)
    found = read(video.write(tmp_path / "a.mp4", frames))
    assert len(found) == 30
    for image, picture in zip(frames, found, strict=True):
        assert apart(picture, to_uint8(image)) <= 3


def test_opencv_reads_the_rate_too(tmp_path: Path) -> None:
    path = video.write(tmp_path / "a.mp4", shades(12), rate=29.97)
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(float(NTSC), abs=1e-9)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 12


def test_the_index_lies_before_the_pixels(tmp_path: Path) -> None:
    """A browser starts to play before the whole file has come."""
    data, boxes, at = video.write(tmp_path / "a.mp4", shades(5)).read_bytes(), [], 0
    while at < len(data):
        boxes.append(data[at + 4 : at + 8])
        at += int.from_bytes(data[at : at + 4], "big")
    assert boxes.index(b"moov") < boxes.index(b"mdat")


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("read", [by_av, by_cv2])
def test_a_flat_colour_survives(tmp_path: Path, read: Any, colour: tuple[int, int, int]) -> None:
    for picture in read(video.write(tmp_path / "a.mp4", [flat(colour)] * 2)):
        assert apart(picture, np.array(colour)) <= 3


def test_the_colours_are_red_green_and_blue_in_that_order(tmp_path: Path) -> None:
    """The oracle: BT.601's matrix on sRGB's values, black at 16 (ITU-R BT.601, 2.5.3)."""
    path = video.write(tmp_path / "a.mp4", [flat((200, 100, 50))])
    with av.open(path) as container:
        planes = next(container.decode(video=0)).to_ndarray()  # (3/2 H, W): Y above U above V
    red, green, blue = 200 / 255, 100 / 255, 50 / 255
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    wanted = 16 + 219 * y, 128 + 224 * (blue - y) / 1.772, 128 + 224 * (red - y) / 1.402
    found = planes[:32], planes[32:40], planes[40:]
    for plane, value in zip(found, wanted, strict=True):
        assert np.abs(plane.astype(float) - value).max() <= 1.5


@pytest.mark.parametrize("size", [(32, 48), (33, 48), (32, 47), (33, 47), (1, 1)])
def test_an_odd_size_repeats_its_last_row_and_column(tmp_path: Path, size: tuple[int, int]) -> None:
    """Not squashed: each pixel of the frame is where it was."""
    height, width = size
    ramp = torch.linspace(0, 1, width).expand(1, 3, height, width).clone()
    ramp[..., -1] = 0.2
    for read in (by_av, by_cv2):
        picture = read(video.write(tmp_path / "a.mp4", [ramp] * 3, crf=1))[1]
        assert picture.shape == (height + height % 2, width + width % 2, 3)
        assert apart(picture[:height, :width], to_uint8(ramp)) <= 6
        assert apart(picture[-1, -1], np.array([51] * 3)) <= 6


def test_a_photo_stays_a_photo(tmp_path: Path) -> None:
    photo = sample("coffee", 192)
    picture = by_av(video.write(tmp_path / "a.mp4", [photo] * 3))[1]
    error = (picture.astype(float) - to_uint8(photo)) / 255
    assert -10 * np.log10((error**2).mean()) > 33  # colour at half the resolution costs most of it


def test_a_larger_crf_makes_a_smaller_file(tmp_path: Path) -> None:
    photo = sample("coffee", 96)
    sizes = [
        video.write(tmp_path / "a.mp4", [photo] * 3, crf=crf).stat().st_size for crf in (10, 18, 40)
    ]
    assert sizes == sorted(sizes, reverse=True)


def test_memory_does_not_grow_with_length(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Any]] = []
    most = 0

    def watched(value: Any) -> Any:
        alive.append(weakref.ref(value))
        return value

    def frames() -> Iterator[Tensor]:
        nonlocal most
        for _ in range(40):
            yield watched(torch.rand(1, 3, 16, 16))
            most = max(most, sum(ref() is not None for ref in alive))

    monkeypatch.setattr(writing, "to_uint8", lambda image: watched(to_uint8(image)))
    assert len(by_av(video.write(tmp_path / "a.mp4", frames()))) == 40
    assert len(alive) == 80
    assert most <= 4, "the last frame and the first, each as it came and as 8 bits"


# --------------------------------------------------------------------------------------------- gif


def test_a_gif_holds_all_frames_and_loops(tmp_path: Path) -> None:
    frames = shades(12)
    path = video.write(tmp_path / "a.gif", frames)
    found = by_pillow(path)
    assert len(found) == 12
    for image, picture in zip(frames, found, strict=True):
        assert apart(picture, to_uint8(image)) <= 1
    with Image.open(path) as gif:
        assert gif.info["loop"] == 0  # for ever
        assert gif.size == (48, 32)


def test_flat_colours_survive_in_a_gif(tmp_path: Path) -> None:
    bars = torch.cat([flat(colour) for colour in COLOURS], dim=3)
    frames = [bars, bars.flip(3)]
    found = by_pillow(video.write(tmp_path / "a.gif", frames))
    for image, picture in zip(frames, found, strict=True):
        assert apart(picture, to_uint8(image)) <= 1


def test_a_gif_plays_once_when_asked(tmp_path: Path) -> None:
    with Image.open(video.write(tmp_path / "a.gif", shades(3), loop=False)) as gif:
        assert "loop" not in gif.info


@pytest.mark.parametrize("rate", [1, 3, 12, 24, 23.976, 25, 29.97, 30, 33.3, 45, 50])
def test_delays_are_rounded_so_that_none_drifts(tmp_path: Path, rate: float) -> None:
    found = delays(video.write(tmp_path / "a.gif", shades(40), rate))
    assert min(found) >= 20, "browsers play a delay of 10 ms as 100 ms"
    for k, moment in enumerate(itertools.accumulate(found), 1):
        assert abs(moment - 1000 * k / rate) <= 5.1  # 29.97 is short for a little more


def test_an_odd_size_is_kept_by_a_gif(tmp_path: Path) -> None:
    assert by_pillow(video.write(tmp_path / "a.gif", shades(2, 33, 47)))[0].shape == (33, 47, 3)


def test_what_stands_still_does_not_shimmer(tmp_path: Path) -> None:
    """One palette for all frames: with a palette each, the still half would be dithered anew."""
    still = sample("coffee", 48)
    frames = []
    for i in range(6):
        frame = still.clone()
        frame[..., 36:] = torch.rand(1, 3, 48, 36, generator=torch.Generator().manual_seed(i))
        frames.append(frame)
    found = by_pillow(video.write(tmp_path / "a.gif", frames))
    left = [picture[:, :30] for picture in found]  # dithering carries errors to the left, a little
    assert np.mean([np.abs(a - left[0].astype(float)).mean() for a in left]) < 0.5


def test_frames_that_repeat_are_shown_as_long(tmp_path: Path) -> None:
    a, b = shades(2)
    assert delays(video.write(tmp_path / "a.gif", [a, a, a, b], rate=25)) == [120, 40]


# --------------------------------------------------------------------------------------- both kinds


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".MP4"])
def test_one_frame_is_a_clip(tmp_path: Path, suffix: str) -> None:
    read = by_pillow if suffix == ".gif" else by_av
    assert len(read(video.write(tmp_path / f"a{suffix}", shades(1)))) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_images_batches_and_one_tensor_give_one_file(tmp_path: Path, suffix: str) -> None:
    images = shades(5)
    whole = torch.cat(images)
    forms = [images, iter(images), [whole[:2], whole[2:]], whole]
    files = [video.write(tmp_path / f"a{suffix}", form).read_bytes() for form in forms]
    assert all(file == files[0] for file in files)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("folder", ["my clips", "é 🎨", "take:2", "%03d"])
def test_any_name_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, folder: str
) -> None:
    if sys.platform == "win32" and ":" in folder:
        pytest.skip("Windows has no such names")
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    path = video.write(f"{folder}/a 🎬 %d{suffix}", shades(2))
    assert path.is_file()
    assert list((tmp_path / folder).iterdir()) == [tmp_path / path]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("error", [RuntimeError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("after", [0, 3])
def test_a_failure_of_the_frames_keeps_the_old_file_and_what_came_under_another_name(
    tmp_path: Path, suffix: str, error: type[BaseException], after: int
) -> None:
    """Hours of frames may have come: they are not thrown away, and the error says where they are."""
    path, partial = tmp_path / f"a{suffix}", tmp_path / f"a.partial{suffix}"
    path.write_bytes(b"old")

    def frames() -> Iterator[Tensor]:
        yield from shades(after)
        assert path.read_bytes() == b"old"
        raise error("of the frames")

    with pytest.raises(error) as told:
        video.write(path, frames())
    assert str(told.value) == "of the frames", "as it is, and not as one of the file's"
    assert path.read_bytes() == b"old"
    if after:
        assert told.value.__notes__ == [f"What came of '{path}' until then is in '{partial}'"]
        assert set(tmp_path.iterdir()) == {path, partial}
        found = by_pillow(partial) if suffix == ".gif" else by_cv2(partial)
        assert len(found) == after
        for image, picture in zip(shades(after), found, strict=True):
            assert apart(picture, to_uint8(image)) <= 3
    else:
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_partial_file_of_before_is_not_overwritten(tmp_path: Path, suffix: str) -> None:
    for name in (f"a.partial{suffix}", f"a.partial-2{suffix}"):
        (tmp_path / name).write_bytes(b"of before")

    def frames() -> Iterator[Tensor]:
        yield from shades(2)
        assert (tmp_path / f"a.partial-3{suffix}").exists()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        video.write(tmp_path / f"a{suffix}", frames())
    video.write(tmp_path / f"a{suffix}", shades(2))
    kept = {f"a.partial{suffix}", f"a.partial-2{suffix}"}
    assert {path.name for path in tmp_path.iterdir()} == {
        *kept,
        f"a.partial-3{suffix}",
        f"a{suffix}",
    }
    assert all((tmp_path / name).read_bytes() == b"of before" for name in kept)


ENDLESS = """
import itertools, sys, torch
from nstlib import video
def frames():
    for index in itertools.count():
        print(index, flush=True)
        yield torch.full((1, 3, 32, 48), index % 100 / 100)
video.write(sys.argv[1], frames(), audio=sys.argv[2])
"""


def test_a_killed_process_leaves_the_old_file_and_a_clip_that_plays(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    sound = spoken(tmp_path / "sound.mp4", "aac", seconds=1)
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(path), str(sound)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 150:
            process.kill()  # SIGKILL: nothing can be finished
            break
    process.communicate()
    assert path.read_bytes() == b"old"
    found = by_cv2(tmp_path / "a.partial.mp4")
    assert 75 <= len(found) <= 151, "of six seconds at least three"
    for index, picture in enumerate(found):
        assert apart(picture, np.array(round(2.55 * (index % 100)))) <= 4
    assert len(list(video.read(tmp_path / "a.partial.mp4"))) == len(found)


@pytest.mark.parametrize(
    ("rate", "wanted"),
    [
        (25, Fraction(25)),
        (29.97, NTSC),
        (30000 / 1001, NTSC),
        (NTSC, NTSC),
        (59.94, 2 * NTSC),
        (23.976, Fraction(24000, 1001)),
        (23.98, Fraction(24000, 1001)),
        (4, Fraction(4)),
        (4.0, Fraction(4)),
        (12.5, Fraction(25, 2)),
        (1 / 3, Fraction(1, 3)),
        (1000, Fraction(1000)),
        (0.01, Fraction(1, 100)),
    ],
)
def test_the_rate_is_exact(tmp_path: Path, rate: float, wanted: Fraction) -> None:
    with av.open(video.write(tmp_path / "a.mp4", shades(3), rate)) as container:
        assert container.streams.video[0].average_rate == wanted


# ------------------------------------------------------------------------------------------- times


def timed(moments: list[Fraction], end: Fraction) -> list[video.Frame]:
    """Return frames with their own times; the last stays until ``end``."""
    spans = itertools.pairwise([*moments, end])
    return [
        video.Frame(image, time, until - time)
        for image, (time, until) in zip(shades(len(moments)), spans, strict=True)
    ]


@pytest.mark.parametrize(
    "rate",
    [Fraction(n) for n in (10, 12, 15, 24, 25, 30, 48, 50, 60, 120)]
    + [Fraction(1000 * n, 1001) for n in (24, 30, 60, 120)]
    + [Fraction(25, 2)],
)
def test_frames_that_were_read_keep_their_rate_and_length_exactly(
    tmp_path: Path, rate: Fraction
) -> None:
    frames = timed([k / rate for k in range(40)], 40 / rate)
    path = video.write(tmp_path / "a.mp4", frames)
    with av.open(path) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.base_rate, stream.frames) == (rate, rate, 40)
        assert stream.duration * stream.time_base == 40 / rate
    reader = video.read(path)
    assert (reader.rate, reader.seconds, len(reader)) == (rate, 40 / rate, 40)
    assert [frame.time for frame in reader] == [frame.time for frame in frames]


def test_a_varying_rate_is_kept_and_the_time_of_the_last_frame(tmp_path: Path) -> None:
    moments = [Fraction(n, 120) for n in (0, 5, 6, 40, 44, 45, 90)]
    frames = timed(moments, Fraction(2))
    for suffix in SUFFIXES:
        if suffix == ".gif":  # it counts in 1/100 s
            frames = timed([Fraction(n, 100) for n in (0, 5, 8, 40, 90)], Fraction(2))
        reader = video.read(video.write(tmp_path / f"a{suffix}", frames))
        assert reader.rate is None
        assert [(f.time, f.duration) for f in reader] == [(f.time, f.duration) for f in frames]
        assert reader.seconds == 2


def test_a_clip_begins_with_the_first_frame_that_it_is_given(tmp_path: Path) -> None:
    frames = timed([Fraction(k, 25) for k in range(10)], Fraction(10, 25))
    reader = video.read(video.write(tmp_path / "a.mp4", frames[4:]))
    assert [frame.time for frame in reader] == [Fraction(k, 25) for k in range(6)]


def test_a_rate_overrules_the_times_of_frames(tmp_path: Path) -> None:
    frames = timed([Fraction(n, 100) for n in (0, 7, 8, 40)], Fraction(1))
    assert video.read(video.write(tmp_path / "a.mp4", frames, rate=10)).rate == 10


def test_frames_whose_times_make_no_clip_are_named(tmp_path: Path) -> None:
    a, b, c = timed([Fraction(0), Fraction(1, 25), Fraction(2, 25)], Fraction(3, 25))
    none = video.Frame(b.image, b.time, Fraction(0))
    with pytest.raises(ValueError, match=r"frame 1 of '.*' is shown for 0 s; it must be at least"):
        video.write(tmp_path / "a.mp4", [a, none])
    with pytest.raises(
        ValueError, match="frame 2 of '.*' is shown at 0.04 s, but the frame before"
    ):
        video.write(tmp_path / "a.mp4", [a, c, b])
    with pytest.raises(ValueError, match="is shown for 0.01 s; it must be at least 0.02 s"):
        video.write(tmp_path / "a.gif", timed([Fraction(0)], Fraction(1, 100)))
    with pytest.raises(TypeError, match="frame 1 of '.*' is a Tensor, those before it are not"):
        video.write(tmp_path / "a.mp4", [a, b.image])
    with pytest.raises(TypeError, match="frame 1 of '.*' is a Frame, those before it are not"):
        video.write(tmp_path / "a.mp4", [a.image, b])


# ------------------------------------------------------------------------------------------- sound


def spoken(
    path: Path,
    codec: str,
    seconds: float = 2,
    *,
    late: int = 0,
    frames: int = 50,
    pictures: str = "",
) -> Path:
    """Write a clip of 25 frames a second whose sound is two rising tones, from ``late`` frames on."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(pictures or "libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        audio: Any = container.add_stream(codec, rate=48000)
        audio.layout = "stereo"
        for index in range(frames):
            picture = np.full((32, 48, 3), index, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index + late, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        at = np.arange(round(48000 * seconds)) / 48000
        tones = [0.3 * np.sin(2 * np.pi * (300 + 200 * k + 80 * at) * at) for k in range(2)]
        whole = av.AudioFrame.from_ndarray(np.float32(tones), format="fltp", layout="stereo")
        whole.sample_rate, whole.pts, whole.time_base = 48000, 0, Fraction(1, 48000)
        container.mux(audio.encode(whole))
        container.mux(audio.encode())
    return path


def heard(path: Path) -> Array:
    """Return a file's samples (channels, N) as they are decoded."""
    with av.open(path) as container:
        parts = [frame.to_ndarray() for frame in container.decode(audio=0)]
    if parts[0].shape[0] == 1:  # interleaved
        parts = [part.reshape(-1, 2).T for part in parts]
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize(
    ("name", "codec", "found"),
    [
        ("a.mp4", "aac", "aac"),
        ("a.mkv", "aac", "aac"),
        ("a.mp4", "libmp3lame", "mp3float"),
        ("a.avi", "libmp3lame", "mp3float"),
        ("a.mp4", "libopus", "opus"),
        ("a.mkv", "flac", "flac"),
    ],
)
def test_the_samples_of_copied_sound_are_those_of_the_source(
    tmp_path: Path, name: str, codec: str, found: str
) -> None:
    source = spoken(tmp_path / name, codec)
    path = video.write(tmp_path / "out.mp4", video.read(source), audio=source)
    with av.open(path) as container:
        assert container.streams.audio[0].codec_context.name == found
        assert container.streams.audio[0].start_time == 0
    assert np.array_equal(heard(path), heard(source))
    assert video.read(path).has_audio
    assert len(by_cv2(path)) == 50


def test_opus_of_a_webm_is_copied_up_to_what_its_last_packet_holds_in_excess(
    tmp_path: Path,
) -> None:
    source = spoken(tmp_path / "a.webm", "libopus", pictures="libvpx")
    path = video.write(tmp_path / "out.mp4", video.read(source), audio=source)
    wanted, found = heard(source), heard(path)
    assert np.array_equal(found[:, : wanted.shape[1]], wanted)
    assert found.shape[1] - wanted.shape[1] < 960, "a packet of 20 ms"


def test_aac_of_a_broadcast_is_copied(tmp_path: Path) -> None:
    source = spoken(tmp_path / "a.ts", "aac")
    path = video.write(tmp_path / "out.mp4", video.read(source), audio=source)
    wanted, found = heard(source), heard(path)
    late = wanted.shape[1] - found.shape[1]  # sound that a broadcast has before its first frame
    assert 0 <= late <= 2048
    assert np.abs(found - wanted[:, late:]).max() < 1e-3


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "ac3"), ("a.mov", "pcm_s16le")])
def test_sound_that_browsers_do_not_play_is_encoded(tmp_path: Path, name: str, codec: str) -> None:
    source = spoken(tmp_path / name, codec)
    path = video.write(tmp_path / "out.mp4", video.read(source), audio=source)
    with av.open(path) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    wanted, found = heard(source).astype(np.float64), heard(path)
    assert np.corrcoef(wanted[0, 4000:90000], found[0, 4000:90000])[0, 1] > 0.999


def test_sound_begins_with_the_first_frame_and_ends_with_the_last(tmp_path: Path) -> None:
    source = spoken(tmp_path / "a.mp4", "aac", late=5)  # 0.2 s of sound come before the frames
    frames = list(video.read(source))
    whole = heard(source)
    cases = [(0, 50), (0, 20), (10, 30), (30, 50)]
    for first, last in cases:
        path = video.write(tmp_path / "out.mp4", frames[first:last], audio=source)
        found = heard(path)
        begin = 48000 * (5 + first) // 25
        wanted = whole[:, begin : begin + found.shape[1]]
        # A sample early or late would be 0.02 off.
        assert np.abs(found[:, : wanted.shape[1]] - wanted).max() < 5e-3, (first, last)
        seconds = found.shape[1] / 48000
        assert abs(seconds - (last - first) / 25) < (0.25 if last == 50 else 0.05), (first, last)


def test_sound_that_outlasts_the_frames_is_whole_only_if_all_frames_came(tmp_path: Path) -> None:
    source = spoken(tmp_path / "a.mp4", "aac", seconds=3)
    frames = list(video.read(source))
    for count, seconds in ((50, 3.0), (49, 3.0), (40, 1.6)):
        path = video.write(tmp_path / "out.mp4", frames[:count], audio=source)
        assert heard(path).shape[1] / 48000 == pytest.approx(seconds, abs=0.05)


def test_sound_alone_is_laid_under_any_frames(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        audio = container.add_stream("pcm_s16le", rate=44100)
        tone = (9000 * np.sin(np.arange(2 * 44100) / 20)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2, 1), format="s16", layout="stereo")
        frame.sample_rate = 44100
        container.mux(audio.encode(frame))
        container.mux(audio.encode())
    path = video.write(tmp_path / "out.mp4", shades(25), audio=tmp_path / "a.wav")
    assert heard(path).shape[1] / 44100 == pytest.approx(1, abs=0.05)


def test_a_clip_can_be_written_over_itself(tmp_path: Path) -> None:
    path = spoken(tmp_path / "a.mp4", "aac")
    wanted = heard(path)
    assert video.write(path, video.read(path), audio=path) == path
    assert np.array_equal(heard(path), wanted)
    assert len(by_cv2(path)) == 50
    assert list(tmp_path.iterdir()) == [path]


def test_sound_that_is_damaged_is_left_out_and_told_of(tmp_path: Path) -> None:
    source = spoken(tmp_path / "a.mkv", "ac3")
    with av.open(source) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
    data = bytearray(source.read_bytes())
    at = data.index(bytes(packets[20]))
    data[at : at + packets[20].size] = bytes(packets[20].size)
    source.write_bytes(data)
    with pytest.warns(VideoWarning, match="a.mkv': 1 packets of its sound could not be decoded"):
        path = video.write(tmp_path / "out.mp4", shades(50), audio=source)
    assert heard(path).shape[1] / 48000 == pytest.approx(2, abs=0.05)


def test_a_source_without_sound_gives_none(tmp_path: Path) -> None:
    silent = video.write(tmp_path / "a.mp4", shades(5))
    assert not video.read(video.write(tmp_path / "b.mp4", shades(5), audio=silent)).has_audio


def test_another_program_finds_what_was_written(tmp_path: Path) -> None:
    if not shutil.which("ffprobe"):
        pytest.skip("there is no ffprobe")
    source = spoken(tmp_path / "a.mp4", "aac")
    path = video.write(tmp_path / "out.mp4", shades(60), rate=29.97, audio=source)
    asked = "stream=codec_name,pix_fmt,nb_frames,r_frame_rate,avg_frame_rate,duration"
    command = ["ffprobe", "-v", "error", "-show_entries", asked, "-of", "json", str(path)]
    streams = json.loads(subprocess.check_output(command))["streams"]
    assert streams[0]["codec_name"] == "h264"
    assert streams[0]["pix_fmt"] == "yuv420p"
    assert streams[0]["r_frame_rate"] == streams[0]["avg_frame_rate"] == "30000/1001"
    assert streams[0]["nb_frames"] == "60"
    assert float(streams[0]["duration"]) == pytest.approx(60 * 1001 / 30000, abs=1e-6)
    assert streams[1]["codec_name"] == "aac"


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_frame_of_another_size_is_named(tmp_path: Path, suffix: str) -> None:
    frames = [*shades(3), torch.rand(1, 3, 32, 50)]
    said = (
        rf"a{suffix}' cannot be written: frame 3 has 50 x 32 pixels, the frames before it 48 x 32"
    )
    with pytest.raises(VideoError, match=said):
        video.write(tmp_path / f"a{suffix}", frames)
    with pytest.raises(VideoError, match="frame 5 has"):
        video.write(tmp_path / f"a{suffix}", [torch.rand(5, 3, 8, 8), torch.rand(2, 3, 8, 9)])
    assert not (tmp_path / f"a{suffix}").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_frames_are_no_clip(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(VideoError, match=f"a{suffix}' cannot be written: there are no frames"):
        video.write(tmp_path / f"a{suffix}", [])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frame", "error", "said"),
    [
        (torch.rand(3, 8, 8), ValueError, r"frame 1 of '.*' has shape \(3, 8, 8\)"),
        (torch.rand(1, 1, 8, 8), ValueError, r"frame 1 of '.*' has shape \(1, 1, 8, 8\)"),
        (torch.full((1, 3, 8, 8), 1.5), ValueError, r"frame 1 of '.*' has values from 1.5 to 1.5"),
        (torch.full((1, 3, 8, 8), torch.nan), ValueError, "must lie in"),
        (np.zeros((8, 8, 3)), TypeError, "frame 1 of '.*' is ndarray"),
    ],
)
def test_what_is_no_frame_is_named(
    tmp_path: Path, frame: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        video.write(tmp_path / "a.mp4", [torch.rand(1, 3, 8, 8), frame])


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"path": "a.avi"}, ValueError, "path is 'a.avi'; its suffix must be one of .mp4, .gif"),
        ({"path": "mp4"}, ValueError, "path is 'mp4'; its suffix"),
        ({"path": 3}, TypeError, "path is 3; it takes a string"),
        ({"rate": 0}, ValueError, r"rate is 0; it must lie in \[0.01, 1000\]"),
        ({"rate": -25}, ValueError, "rate is -25"),
        ({"rate": float("nan")}, ValueError, "rate is nan"),
        ({"rate": float("inf")}, ValueError, "rate is inf"),
        ({"rate": 60, "path": "a.gif"}, ValueError, r"rate is 60; it must lie in \[0.01, 50\]"),
        ({"rate": "25"}, TypeError, "rate is '25'; it takes a number"),
        ({"rate": True}, TypeError, "rate is True"),
        ({"crf": 0}, ValueError, r"crf is 0; it must lie in \[1, 51\]"),
        ({"crf": 52}, ValueError, "crf is 52"),
        ({"crf": 18.5}, TypeError, "crf is 18.5; it takes a whole number"),
        ({"audio": 3}, TypeError, "path is 3; it takes a string"),
        ({"audio": "none.mp4"}, VideoError, "'none.mp4' cannot be read: No such file"),
        ({"audio": "a.mp4", "path": "a.gif"}, ValueError, "'a.gif' is a GIF, which holds no sound"),
    ],
)
def test_a_wrong_argument_is_named_before_a_frame_is_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    frames = iter(shades(1))
    with pytest.raises(error, match=said):
        video.write(**({"path": "a.mp4", "frames": frames} | change))
    assert len(list(frames)) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_place_that_cannot_be_written_is_named_first(tmp_path: Path, suffix: str) -> None:
    frames = iter(shades(1))
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(VideoError, match=f"missing/a{suffix}' cannot be written: No such file"):
        video.write(tmp_path / f"missing/a{suffix}", frames)
    with pytest.raises(VideoError, match=f"folder{suffix}' cannot be written: it is a folder"):
        video.write(tmp_path / f"folder{suffix}", frames)
    assert len(list(frames)) == 1


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """Let no file grow over a number of bytes."""
    resource = pytest.importorskip("resource", reason="files are limited on Unix only")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # else the process ends
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, former)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("limit", [100, 20_000, 50_000])  # of about 80 000
def test_a_full_disk_is_told_of(tmp_path: Path, suffix: str, limit: int) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"old")
    random = torch.Generator().manual_seed(0)
    noise = (torch.rand(1, 3, 64, 64, generator=random) for _ in range(20))
    with full_disk(limit), pytest.raises(VideoError, match=rf"a{suffix}' cannot be written: "):
        video.write(path, noise)
    assert path.read_bytes() == b"old"
    left = set(tmp_path.iterdir()) - {path}
    assert left <= {tmp_path / f"a.partial{suffix}"}
    for partial in left:
        assert by_cv2(partial), "what is left plays"


def test_a_disk_that_is_full_for_the_last_copy_keeps_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remux = mp4.remux

    def on_a_full_disk(*arguments: Any) -> None:
        with full_disk(3000):
            remux(*arguments)

    monkeypatch.setattr(mp4, "remux", on_a_full_disk)
    with pytest.raises(VideoError, match="a.mp4' cannot be written: ") as told:
        video.write(tmp_path / "a.mp4", torch.rand(12, 3, 64, 64))
    assert "a.partial.mp4" in told.value.__notes__[0]
    assert list(tmp_path.iterdir()) == [tmp_path / "a.partial.mp4"]
    assert len(by_cv2(tmp_path / "a.partial.mp4")) == 12


def test_pyav_is_asked_for_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    said = re.escape("an MP4 needs PyAV, which is not installed: pip install 'nstlib[video]'")
    with pytest.raises(VideoError, match=said):
        video.write(tmp_path / "a.mp4", shades(1))
    video.write(tmp_path / "a.gif", shades(1))


# ----------------------------------------------------------------------------------------- showing


def html(clip: video.Clip) -> str:
    data, _ = clip._repr_mimebundle_()
    assert data["text/plain"] == repr(clip)
    return data["text/html"]


def test_an_mp4_plays_in_the_page(tmp_path: Path) -> None:
    clip = video.display(video.write(tmp_path / "a.mp4", shades(3)), 320, 'Waves, "calm" & <small>')
    element = html(clip)
    assert re.match(r"<video [^>]*>Waves, &quot;calm&quot; &amp; &lt;small&gt;</video>$", element)
    for word in ("controls", "loop", "autoplay", "muted", "playsinline", 'width="320"'):
        assert f" {word} " in element
    assert 'aria-label="Waves, &quot;calm&quot; &amp; &lt;small&gt;"' in element
    assert repr(clip) == '<clip, 2 kB: Waves, "calm" & <small>>'


def test_a_gif_is_a_picture(tmp_path: Path) -> None:
    element = html(video.display(video.write(tmp_path / "my waves.gif", shades(3))))
    assert re.match(r'<img [^>]*alt="my waves" src="data:image/gif;base64,[^"]*">$', element)
    assert "width=" not in element


@pytest.mark.parametrize(
    ("path", "width", "error", "said"),
    [
        ("a.mp4", None, VideoError, "'a.mp4' cannot be read: No such file"),
        ("a.webm", None, ValueError, "path is 'a.webm'"),
        ("a.mp4", 0, ValueError, "width is 0; it must be at least 1"),
        ("a.mp4", "100%", TypeError, "width is '100%'; it takes a whole number"),
    ],
)
def test_what_cannot_be_shown_is_told(
    path: str, width: Any, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        video.display(path, width)


@pytest.mark.browser
def test_a_browser_plays_it_in_the_right_colours(tmp_path: Path, chromium: str) -> None:
    """As a notebook puts it into its page, and as software decodes it, which is the coarsest way."""
    bars = torch.cat([flat(colour, 64, 40) for colour in COLOURS], dim=3)
    shot = seen_in(chromium, html(video.display(video.write(tmp_path / "a.mp4", [bars] * 50))))
    assert shot.shape == (64, 400, 3)
    for i, colour in enumerate(COLOURS):
        assert apart(shot[32, 40 * i + 20], np.array(colour)) <= 3
