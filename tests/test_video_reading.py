"""Clips are made on the fly by PyAV, odd ones and broken ones, and read as a player shows them."""

from __future__ import annotations

import base64
import io
import itertools
import math
import os
import sys
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from PIL import Image

import nstlib
from nstlib import VideoError, video
from nstlib.errors import VideoWarning
from nstlib.images import resize, sample, to_uint8
from nstlib.video.timing import constant_rate

if TYPE_CHECKING:
    from playwright.sync_api import Browser

Array = npt.NDArray[Any]
NTSC = Fraction(30000, 1001)
HEIGHT, WIDTH = 32, 48


def quarters(height: int = HEIGHT, width: int = WIDTH) -> Array:
    """Return a picture (H, W, 3) of four colours, which tells how it is turned."""
    picture = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    picture[:top, :left], picture[:top, left:] = (200, 30, 30), (30, 200, 30)
    picture[top:, :left], picture[top:, left:] = (30, 30, 200), (200, 200, 200)
    return picture


def greys(count: int, height: int = HEIGHT, width: int = WIDTH) -> list[Array]:
    """Return pictures that tell their index."""
    return [np.full((height, width, 3), 10 + 230 * i // count, np.uint8) for i in range(count)]


def noise(count: int) -> list[Array]:
    """Return pictures whose packets are large enough to be damaged one by one."""
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(count)]


def made(
    path: Path,
    pictures: list[Array],
    rate: Fraction | int = 25,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    *,
    times: list[int] | None = None,  # in ms; None is one after the other at the rate
    sound: str | None = None,
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
    change: Callable[[Any], None] = lambda stream: None,
) -> Path:
    """Write a clip with PyAV alone."""
    with av.open(str(path), "w", options=muxing or {}) as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *pictures[0].shape[:2], pixels
        stream.thread_count = 1
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        change(stream)
        if sound:
            audio: Any = container.add_stream(sound, rate=48000)
        for index, picture in enumerate(pictures):
            kind = "rgba" if picture.shape[2] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(picture, format=kind).reformat(
                format=pixels, dst_colorspace=Colorspace.SMPTE170M
            )
            frame.pts, frame.time_base = index, 1 / Fraction(rate)
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            hum = np.zeros((2, 1024 * 4), np.float32)
            spoken = av.AudioFrame.from_ndarray(hum, format="fltp", layout="stereo")
            spoken.sample_rate, spoken.pts = 48000, 0
            container.mux(audio.encode(spoken))
            container.mux(audio.encode())
    return path


def pictures_of(reader: video.Reader) -> list[Array]:
    """Return a clip's frames (H, W, 3) in 0 .. 255."""
    return [to_uint8(frame.image) for frame in reader]


def apart(found: Array, wanted: Array) -> int:
    """Return by how many levels two pictures differ at most."""
    return int(np.abs(found.astype(int) - wanted).max())


# ------------------------------------------------------------------------------- odd, but sound files


def vfr(folder: Path) -> Path:
    return made(folder / "a.mp4", greys(5), times=[0, 40, 50, 200, 210])


def of_29_97_in_ms(folder: Path) -> Path:
    return made(folder / "a.mkv", greys(40), NTSC)


def without_any_rate(folder: Path) -> Path:
    return made(folder / "a.h264", greys(6))


def with_sound(folder: Path) -> Path:
    return made(folder / "a.mp4", greys(5), sound="aac")


def of_odd_size(folder: Path) -> Path:
    return made(folder / "a.webm", greys(5, 33, 47), codec="libvpx-vp9")


def of_one_frame(folder: Path) -> Path:
    return made(folder / "a.mp4", greys(1))


def vp8(folder: Path) -> Path:
    return made(folder / "a.webm", greys(30), codec="libvpx")


def avi(folder: Path) -> Path:
    return made(folder / "a.avi", greys(9))


def late_with_b_frames(folder: Path) -> Path:
    return made(folder / "a.ts", greys(12), times=[5000 + 40 * k for k in range(12)])


def fragmented(folder: Path) -> Path:
    return made(folder / "a.mp4", greys(9), muxing={"movflags": "frag_keyframe+empty_moov"})


def cut_at_its_start(folder: Path) -> Path:
    """An edit list hides the first two of seven frames, which the others are predicted from."""
    return made(folder / "a.mp4", greys(7), times=[40 * k for k in range(-2, 5)])


def anamorphic(folder: Path) -> Path:
    def change(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    return made(folder / "a.mp4", greys(4), change=change)


def of_10_bits(folder: Path) -> Path:
    return made(folder / "a.mkv", greys(4), codec="ffv1", pixels="yuv420p10le")


def grey(folder: Path) -> Path:
    return made(folder / "a.mkv", greys(4), codec="ffv1", pixels="gray")


def mpeg4(folder: Path) -> Path:
    return made(folder / "a.mov", greys(6), codec="mpeg4")


def gif(folder: Path) -> Path:
    return video.write(folder / "a.gif", [torch.full((1, 3, 32, 48), i / 9) for i in range(1, 7)])


SOUND = [  # builder, frames, (H, W), rate, moments in ms where it varies
    (vfr, 5, (32, 48), None, [0, 40, 50, 200, 210]),
    (of_29_97_in_ms, 40, (32, 48), NTSC, None),
    (without_any_rate, 6, (32, 48), Fraction(25), None),
    (with_sound, 5, (32, 48), Fraction(25), None),
    (of_odd_size, 5, (33, 47), Fraction(25), None),
    (of_one_frame, 1, (32, 48), Fraction(25), None),
    (vp8, 30, (32, 48), Fraction(25), None),
    (avi, 9, (32, 48), Fraction(25), None),
    (late_with_b_frames, 12, (32, 48), Fraction(25), None),
    (fragmented, 9, (32, 48), Fraction(25), None),
    (cut_at_its_start, 5, (32, 48), Fraction(25), None),
    (anamorphic, 4, (32, 64), Fraction(25), None),
    (of_10_bits, 4, (32, 48), Fraction(25), None),
    (grey, 4, (32, 48), Fraction(25), None),
    (mpeg4, 6, (32, 48), Fraction(25), None),
    (gif, 6, (32, 48), Fraction(25), None),
]


@pytest.mark.parametrize(
    ("build", "count", "size", "rate", "moments"), SOUND, ids=lambda v: getattr(v, "__name__", "")
)
def test_an_odd_file_is_read_whole_and_at_its_times(
    build: Callable[[Path], Path],
    count: int,
    size: tuple[int, int],
    rate: Fraction | None,
    moments: list[int] | None,
    tmp_path: Path,
) -> None:
    reader = video.read(build(tmp_path))
    frames = list(reader)
    assert (len(reader), len(frames)) == (count, count)
    assert (reader.height, reader.width, reader.rate) == (*size, rate)
    assert reader.has_audio == (build is with_sound)
    assert all(frame.image.shape == (1, 3, *size) for frame in frames)
    assert all(frame.image.dtype == torch.float32 for frame in frames)
    wanted = (
        [k / rate for k in range(count)] if rate else [Fraction(m, 1000) for m in moments or []]
    )
    assert [frame.time for frame in frames] == wanted
    for before, after in itertools.pairwise(frames):
        assert before.time + before.duration == after.time
        assert before.image.mean() < after.image.mean(), "each is lighter than the one before"
    assert frames[-1].time + frames[-1].duration == reader.seconds
    if rate:
        assert reader.seconds == count / rate


def test_each_loop_begins_anew_and_closes_the_file_also_when_it_is_left(tmp_path: Path) -> None:
    reader = video.read(made(tmp_path / "a.mp4", greys(6)))
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("only Linux tells which files are open")
    before = len(list(descriptors.iterdir()))
    first = next(iter(reader)).image
    for frame in reader:
        assert torch.equal(frame.image, first)
        break
    assert len(list(descriptors.iterdir())) == before
    assert len(list(reader)) == 6


def test_a_frame_that_others_are_made_from_but_none_sees_is_not_counted(tmp_path: Path) -> None:
    path = made(tmp_path / "a.webm", noise(20), codec="libvpx")
    with av.open(str(path)) as container:
        hidden = next(itertools.islice(container.demux(video=0), 10, None))
    data = bytearray(path.read_bytes())
    data[data.index(bytes(hidden))] &= ~0x10  # VP8's show_frame
    path.write_bytes(data)
    reader = video.read(path)
    assert len(reader) == len(list(reader)) == 19


def test_a_rate_is_seen_through_whole_milliseconds() -> None:
    for rate in (Fraction(24000, 1001), Fraction(24), Fraction(25), NTSC, Fraction(60), 2 * NTSC):
        ticks = np.array([round(1000 * k / rate) for k in range(200)])
        assert constant_rate(ticks, Fraction(1, 1000), 0, []) == rate
        ticks[100] += 3
        assert constant_rate(ticks, Fraction(1, 1000), 0, [rate]) is None


def test_a_last_frame_that_stays_makes_the_rate_vary(tmp_path: Path) -> None:
    with Image.open(video.write(tmp_path / "a.gif", torch.rand(3, 3, 16, 16))) as picture:
        picture.save(tmp_path / "b.gif", save_all=True, duration=[40, 40, 900])
    reader = video.read(tmp_path / "b.gif")
    assert reader.rate is None
    assert [frame.duration for frame in reader] == [Fraction(n, 100) for n in (4, 4, 90)]


# ------------------------------------------------------------------------------- as a player shows it


def turned(degrees: int, mirrored: bool = False) -> Callable[[Any], None]:
    return lambda stream: stream.set_display_rotation(degrees, hflip=mirrored)


@pytest.mark.parametrize(
    ("degrees", "mirrored", "shown"),
    [
        (-90, False, lambda p: np.rot90(p, -1)),  # a phone held upright: turned clockwise
        (90, False, lambda p: np.rot90(p, 1)),
        (180, False, lambda p: np.rot90(p, 2)),
        (0, True, lambda p: p[:, ::-1]),
    ],
)
def test_frames_are_turned_upright(
    degrees: int, mirrored: bool, shown: Callable[[Array], Array], tmp_path: Path
) -> None:
    path = made(tmp_path / "a.mp4", [quarters()] * 3, change=turned(degrees, mirrored))
    wanted = shown(quarters())
    reader = video.read(path)
    assert (reader.height, reader.width) == wanted.shape[:2]
    inner = np.abs(pictures_of(reader)[1].astype(int) - wanted)
    assert np.median(inner) <= 3
    assert (inner > 40).mean() < 0.1, "only along the edges, where colour is stored coarsely"
    small = video.read(path, 16)
    assert (small.height, small.width) == tuple(n // 2 for n in wanted.shape[:2])
    assert next(iter(small)).image.shape[2:] == (small.height, small.width)


# Kr and Kb of ITU-R BT.601 and BT.709; the tags by ITU-T H.273.
MATRICES = {"601": (0.299, 0.114, 6), "709": (0.2126, 0.0722, 1), "2020": (0.2627, 0.0593, 9)}


def as_yuv(colour: tuple[int, int, int], matrix: str, is_full: bool) -> tuple[int, int, int]:
    """Return a colour as a file stores it: the formulas of BT.601 and BT.709, in float64."""
    red, green, blue = (level / 255 for level in colour)
    kr, kb, _ = MATRICES[matrix]
    y = kr * red + (1 - kr - kb) * green + kb * blue
    u, v = (blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)
    if is_full:
        return round(255 * y), round(128 + 255 * u), round(128 + 255 * v)
    return round(16 + 219 * y), round(128 + 224 * u), round(128 + 224 * v)


def flat_yuv(
    path: Path, yuv: tuple[int, int, int], size: tuple[int, int], tag: int, full: int
) -> Path:
    """Write a lossless clip of one stored colour."""
    height, width = size
    planes = [
        np.full(height * width // n, min(255, value))
        for n, value in zip((1, 4, 4), yuv, strict=True)
    ]
    stored = np.concatenate(planes).astype(np.uint8).reshape(height * 3 // 2, width)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = tag, full
        frame = av.VideoFrame.from_ndarray(stored, format="yuv420p")
        frame.colorspace, frame.color_range = tag, full
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("colour", [(255, 0, 0), (20, 200, 90), (250, 240, 10), (30, 30, 220)])
@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("matrix", MATRICES)
def test_colours_follow_the_matrix_and_range_that_are_named(
    matrix: str, is_full: bool, colour: tuple[int, int, int], tmp_path: Path
) -> None:
    yuv = as_yuv(colour, matrix, is_full)
    full = ColorRange.JPEG if is_full else ColorRange.MPEG
    path = flat_yuv(tmp_path / "a.mkv", yuv, (HEIGHT, WIDTH), MATRICES[matrix][2], full)
    assert apart(pictures_of(video.read(path))[0], np.array(colour)) <= 2
    assert apart(pictures_of(video.read(path, 16))[0], np.array(colour)) <= 2


@pytest.mark.parametrize(("height", "matrix"), [(576, "601"), (720, "709")])
def test_a_matrix_that_is_not_named_is_told_by_the_rows(
    height: int, matrix: str, tmp_path: Path
) -> None:
    colour = (20, 200, 90)
    path = flat_yuv(tmp_path / "a.mkv", as_yuv(colour, matrix, False), (height, 64), 2, 0)
    assert apart(pictures_of(video.read(path))[0], np.array(colour)) <= 2


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    picture = np.dstack([quarters(), np.full((HEIGHT, WIDTH), 255, np.uint8)])
    picture[:, :24, 3], picture[:, 24:36, 3] = 0, 128
    path = made(tmp_path / "a.mov", [picture], codec="qtrle", pixels="argb")
    alpha = picture[..., 3:] / 255
    wanted = alpha * picture[..., :3] + (1 - alpha) * 255
    assert apart(pictures_of(video.read(path))[0], wanted.round()) <= 1


def test_a_gif_is_as_load_image_reads_it(tmp_path: Path) -> None:
    first = Image.fromarray(quarters()).quantize(16)
    path = tmp_path / "a.gif"
    first.save(path, save_all=True, append_images=[first.rotate(180)], duration=70, transparency=0)
    frame = next(iter(video.read(path)))
    assert torch.equal(frame.image, nstlib.load_image(path))


@pytest.mark.parametrize(("aspect", "size"), [("16/11", (32, 70)), ("1/2", (64, 48))])
def test_pixels_come_square_and_none_is_lost(
    aspect: str, size: tuple[int, int], tmp_path: Path
) -> None:
    def change(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(aspect)

    reader = video.read(made(tmp_path / "a.mp4", [quarters()] * 2, change=change))
    assert (reader.height, reader.width) == size
    assert next(iter(reader)).image.shape[2:] == size


def test_a_smaller_size_is_what_resize_makes_of_the_frames(tmp_path: Path) -> None:
    path = video.write(tmp_path / "a.mp4", [sample("coffee", 192)] * 2)
    whole, small = (next(iter(video.read(path, size))).image for size in (None, 80))
    assert small.shape == (1, 3, 80, 120)
    error = small - resize(whole, 80)
    assert 10 * math.log10(1 / error.square().mean()) > 45  # dB
    assert error.abs().mean() < 0.004  # a level


def test_a_clip_is_never_made_larger(tmp_path: Path) -> None:
    reader = video.read(made(tmp_path / "a.mp4", greys(2)), 500)
    assert (reader.height, reader.width) == (32, 48)


@pytest.mark.parametrize("size", [(33, 48), (32, 47), (33, 47), (1, 1)])
def test_an_odd_size_that_was_padded_comes_back(size: tuple[int, int], tmp_path: Path) -> None:
    ramp = torch.linspace(0, 1, size[1]).expand(1, 3, *size).clone()
    path = video.write(tmp_path / "a.mp4", [ramp] * 3, crf=1)
    reader = video.read(path)
    assert (reader.height, reader.width) == size
    frame = next(iter(reader)).image
    assert frame.shape[2:] == size
    assert (frame - ramp).abs().max() <= 6 / 255
    if min(size) > 1:
        small = next(iter(video.read(path, 16))).image
        assert torch.equal(small, resize(frame, 16))


def test_a_note_of_a_size_that_no_longer_holds_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["comment"] = "nstlib: 33 x 17 pixels, padded to even numbers"
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(quarters(), format="rgb24")))
        container.mux(stream.encode())
    assert (video.read(path).height, video.read(path).width) == (32, 48)


# ------------------------------------------------------------------------------------- damaged files


def cut(path: Path, part: float) -> Path:
    """Keep the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path


def mp4_with_its_index_in_front(folder: Path) -> Path:
    return cut(made(folder / "a.mp4", noise(20), muxing={"movflags": "faststart"}), 0.6)


def mkv(folder: Path) -> Path:
    return cut(made(folder / "a.mkv", noise(20)), 0.6)


def webm(folder: Path) -> Path:
    return cut(made(folder / "a.webm", noise(20), codec="libvpx-vp9"), 0.6)


def avi_cut(folder: Path) -> Path:
    return cut(made(folder / "a.avi", noise(20), codec="mpeg4"), 0.6)


@pytest.mark.parametrize("build", [mp4_with_its_index_in_front, mkv, webm, avi_cut])
def test_of_a_file_that_is_cut_short_the_beginning_comes_and_the_rest_is_told(
    build: Callable[[Path], Path], tmp_path: Path
) -> None:
    reader = video.read(build(tmp_path))
    with pytest.warns(VideoWarning) as told:
        frames = list(reader)
    assert 5 <= len(frames) <= 14
    assert f"is cut short: {len(frames)} of 20 frames could be read" in str(told[0].message)
    assert str(reader.path) in str(told[0].message)
    assert [frame.time for frame in frames] == [Fraction(k, 25) for k in range(len(frames))]
    assert told[0].filename == __file__, "it points at the loop"


def test_of_a_file_with_garbage_in_its_middle_the_rest_comes_at_its_times(tmp_path: Path) -> None:
    pictures = greys(20)
    path = made(tmp_path / "a.mp4", pictures, options={"g": "1"})
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux() if packet.size]
    data = bytearray(path.read_bytes())
    for at, size in packets[8:10]:
        data[at : at + size] = b"\xff" * size
    path.write_bytes(data)
    reader = video.read(path)
    with pytest.warns(VideoWarning, match="is damaged: 18 of 20 frames could be read$"):
        frames = list(reader)
    assert len(reader) == 20
    assert [frame.time * 25 for frame in frames] == [*range(8), *range(10, 20)]
    for frame in frames:
        assert apart(to_uint8(frame.image), pictures[int(frame.time * 25)]) <= 3
    assert frames[7].duration == Fraction(3, 25), "it stays until the next that could be read"
    assert sum(frame.duration for frame in frames) == reader.seconds


# -------------------------------------------------------------------------------------- refused files


def index_lost(folder: Path) -> Path:
    return cut(made(folder / "a.mp4", noise(20)), 0.6)


def empty(folder: Path) -> Path:
    (folder / "a.mp4").touch()
    return folder / "a.mp4"


def text(folder: Path) -> Path:
    (folder / "a.mp4").write_text("This is not a clip.\n" * 100)
    return folder / "a.mp4"


def garbage(folder: Path) -> Path:
    (folder / "a.mp4").write_bytes(np.random.default_rng(1).bytes(5000))
    return folder / "a.mp4"


def a_folder(folder: Path) -> Path:
    (folder / "a.mp4").mkdir()
    return folder / "a.mp4"


def missing(folder: Path) -> Path:
    return folder / "a.mp4"


def pipe(folder: Path) -> Path:
    if not hasattr(os, "mkfifo"):
        pytest.skip("Windows has no such files")
    os.mkfifo(folder / "a.mp4")
    return folder / "a.mp4"


def spoken(folder: Path) -> Path:
    with wave.open(str(folder / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(bytes(16000))
    return folder / "a.wav"


def with_a_cover(folder: Path) -> Path:
    with av.open(str(folder / "a.mp3"), "w") as container:
        audio = container.add_stream("libmp3lame", rate=48000)
        cover: Any = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 48, 32, "yuvj420p"
        cover.disposition = 0x400
        picture = av.VideoFrame.from_ndarray(quarters(), format="rgb24").reformat(format="yuvj420p")
        container.mux(cover.encode(picture))
        container.mux(cover.encode())
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 4800), np.float32), "fltp", "stereo")
        frame.sample_rate = 48000
        container.mux(audio.encode(frame))
        container.mux(audio.encode())
    return folder / "a.mp3"


def png(folder: Path) -> Path:
    Image.fromarray(quarters()).save(folder / "a.png")
    return folder / "a.png"


def jpeg_called_mp4(folder: Path) -> Path:
    Image.fromarray(quarters()).save(folder / "a.mp4", "JPEG")
    return folder / "a.mp4"


def avif(folder: Path) -> Path:
    Image.fromarray(quarters(64, 64)).save(folder / "a.avif")
    return folder / "a.avif"


def unknown_codec(folder: Path) -> Path:
    path = made(folder / "a.mp4", greys(3))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    return path


def not_one_whole_frame(folder: Path) -> Path:
    path = made(folder / "a.mp4", noise(3), muxing={"movflags": "faststart"})
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"mdat") + 20])
    return path


def huge(folder: Path) -> Path:
    path = video.write(folder / "a.gif", torch.rand(2, 3, 8, 8))
    data = bytearray(path.read_bytes())
    data[6:10] = b"\x10\x27\x10\x27"
    path.write_bytes(data)
    return path


def playlist(folder: Path) -> Path:
    made(folder / "b.ts", greys(3))
    (folder / "a.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nb.ts\n#EXT-X-ENDLIST\n"
    )
    return folder / "a.m3u8"


def script(folder: Path) -> Path:
    made(folder / "b.mp4", greys(3))
    (folder / "a.ffconcat").write_text("ffconcat version 1.0\nfile b.mp4\n")
    return folder / "a.ffconcat"


REFUSED = [
    (index_lost, "it is no clip, or its beginning or its index is lost"),
    (empty, "the file is empty"),
    (text, "it is no clip"),
    (garbage, "it is no clip"),
    (a_folder, "it is a folder, not a clip"),
    (missing, "No such file"),
    (pipe, "it is no regular file"),
    (spoken, "it holds sound only; a clip is wanted"),
    (with_a_cover, "it holds sound and a cover picture only; a clip is wanted"),
    (png, "it is a still picture, which nstlib.load_image reads"),
    (jpeg_called_mp4, "it is a still picture, which nstlib.load_image reads"),
    (avif, "it is a still picture, which nstlib.load_image reads"),
    (unknown_codec, "its frames are coded in a way not known here"),
    (not_one_whole_frame, "not one frame can be decoded"),
    (huge, "its frames have 10000 x 10000 = 100,000,000 pixels, over the limit of 67,108,864"),
    (playlist, "it is no clip"),
    (script, "it is no clip"),
]


@pytest.mark.parametrize(("build", "said"), REFUSED, ids=lambda v: getattr(v, "__name__", ""))
def test_what_cannot_be_read_is_told_with_the_file(
    build: Callable[[Path], Path], said: str, tmp_path: Path
) -> None:
    path = build(tmp_path)
    with pytest.raises(VideoError) as told:
        video.read(path)
    assert str(told.value).startswith(f"'{path}' cannot be read: ")
    assert said in str(told.value)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9/a.mp4", "concat:a.mp4", "file:a.mp4", "data:video/mp4,", "a\0.mp4"],
)
def test_an_address_is_no_file(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path / "a.mp4", greys(3))
    with pytest.raises(VideoError, match="cannot be read: "):
        video.read(address)


def test_a_size_that_changes_midway_is_told_at_its_frame(tmp_path: Path) -> None:
    in_order = {"bf": "0"}
    made(tmp_path / "a.ts", greys(5), options=in_order)
    made(tmp_path / "b.ts", greys(5, 64, 96), times=[*range(200, 400, 40)], options=in_order)
    path = tmp_path / "c.ts"
    path.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    reader = video.read(path)
    frames = iter(reader)
    seen = []
    said = r"c.ts' cannot be read on: frame 5 has 96 x 64 pixels, the frames before it 48 x 32"
    with pytest.raises(VideoError, match=said):
        seen.extend(frame.image.shape for frame in frames)
    assert set(seen) == {(1, 3, 32, 48)}


@pytest.mark.parametrize(
    ("path", "size", "error", "said"),
    [
        (3, None, TypeError, "path is 3; it takes a string"),
        ("a.mp4", 0, ValueError, "size is 0; it must be at least 1"),
        ("a.mp4", 8.5, TypeError, "size is 8.5; it takes a whole number"),
        ("a.mp4", True, TypeError, "size is True"),
    ],
)
def test_a_wrong_argument_is_named(path: Any, size: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        video.read(path, size)


def test_pyav_is_asked_for_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "a.mp4", greys(2))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VideoError, match="pip install 'nstlib\\[video\\]'"):
        video.read(path)


@pytest.mark.parametrize("name", ["my clip.mp4", "é 🎨.mp4", "take:2.mp4", "%03d.mp4", "-i.mp4"])
def test_any_name_will_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform == "win32" and ":" in name:
        pytest.skip("Windows has no such names")
    monkeypatch.chdir(tmp_path)
    made(Path("./made.mp4"), greys(2)).rename(name)
    assert len(list(video.read(name))) == 2


def seen_in(browser: Browser, element: str) -> Array:
    """Return what a browser shows of a clip (H, W, 3), pixel for pixel, given its <video> element."""
    page = browser.new_page()
    page.set_content("<body style='margin: 0'></body>")
    page.evaluate("element => document.body.innerHTML = element", element)
    page.wait_for_function("document.querySelector('video').currentTime > 0.2")
    width, height = page.evaluate(
        "(v => [v.videoWidth, v.videoHeight])(document.querySelector('video'))"
    )
    page.evaluate("document.querySelector('video').controls = false")
    shot = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    page.close()
    return shot[:height, :width]


@pytest.mark.browser
@pytest.mark.parametrize(
    ("degrees", "aspect", "matrix"),
    [(90, Fraction(4, 3), Colorspace.ITU709), (270, Fraction(3, 4), Colorspace.ITU601)],
)
def test_what_is_read_is_what_a_browser_shows(
    degrees: int, aspect: Fraction, matrix: Colorspace, tmp_path: Path, browser: Browser
) -> None:
    def change(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = aspect
        context = stream.codec_context
        context.colorspace, context.color_range = matrix, ColorRange.MPEG
        context.color_primaries, context.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        stream.set_display_rotation(degrees)

    path = made(tmp_path / "a.mp4", [quarters(192, 288)] * 50, change=change)
    reader = video.read(path)
    element = (
        '<video muted autoplay loop style="display: block" '
        f'src="data:video/mp4;base64,{base64.b64encode(path.read_bytes()).decode()}"></video>'
    )
    wanted, found = seen_in(browser, element), pictures_of(reader)[0]
    assert found.shape == wanted.shape
    height, width = reader.height, reader.width
    for y, x in itertools.product((height // 4, 3 * height // 4), (width // 4, 3 * width // 4)):
        assert apart(found[y, x], wanted[y, x]) <= 12, "computed in few bits without a GPU"
