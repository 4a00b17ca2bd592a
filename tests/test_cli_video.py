"""nst video: a clip in a style, with its times and its sound, and never lost halfway."""

from __future__ import annotations

import contextlib
import functools
import itertools
import shutil
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import run
from PIL import Image
from torch import Tensor

import nstlib
from nstlib import adain, flow, images, masks, painting, transform_net, video
from nstlib.color import luminance
from nstlib.stylist import NetStylist, Stylist

av = pytest.importorskip("av")

from test_video import heard, spoken  # noqa: E402
from test_video_reading import NTSC, cut, greys, made, noise  # noqa: E402

SMALL = ("--style-size", "64", "--device", "cpu")


def paint(clip: Path, out: Path, *flags: str | Path, style: str = "vortex") -> int:
    return run("video", clip, style, *SMALL, *flags, "-o", out)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A clip of six frames of 96 x 64 pixels, 29.97 a second, without sound."""
    frames = painting.clip("sprites", frames=6, height=64, width=96).frames
    return video.write(tmp_path / "clip.mp4", frames, NTSC)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The pictures that are handed to the encoder."""
    seen: list[Tensor] = []
    write = video.write

    def watched(path: Path, frames: Any, **rest: Any) -> Path:
        def noted() -> Any:
            for frame in frames:
                seen.append(frame.image)
                yield frame

        return write(path, noted(), **rest)

    monkeypatch.setattr(video, "write", watched)
    return seen


def frames_of(path: Path, size: int | None = None) -> list[Tensor]:
    return [frame.image for frame in video.read(path, size)]


def times_of(path: Path) -> list[Fraction]:
    return [frame.time for frame in video.read(path)]


def seen_style(name: str) -> Tensor:
    return images.style(name, size=64)


def close(found: list[Tensor], wanted: list[Tensor]) -> bool:
    """Say whether pictures differ by no more than bfloat16 does in batches of other sizes."""
    pairs = zip(found, wanted, strict=True)
    return all(float((one - other).abs().max()) < 0.02 for one, other in pairs)


# ------------------------------------------------------------------------------------ what comes out


def test_a_painted_clip_has_its_source_s_size_rate_frames_and_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = made(tmp_path / "silent.mp4", greys(30), NTSC)
    sound = spoken(tmp_path / "sound.mkv", "aac", seconds=1)
    source = video.write(tmp_path / "clip.mp4", video.read(silent), audio=sound)
    out = tmp_path / "deep" / "out.mp4"
    assert paint(source, out) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert len(heard(source)[0]) > 40_000
    assert torch.equal(torch.tensor(heard(out)), torch.tensor(heard(source)))
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (48, 32, NTSC)
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert sum(1 for _ in container.decode(stream)) == 30
    assert times_of(out) == [k / NTSC for k in range(30)]


def test_the_flow_that_is_asked_for_finds_the_motion(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found_by: set[str] = set()
    find = flow.flow

    def noted(now: Tensor, then: Tensor, method: flow.Method, *rest: Any) -> Tensor:
        found_by.add(method)
        return find(now, then, method, *rest)

    monkeypatch.setattr(flow, "flow", noted)
    assert paint(clip, tmp_path / "out.mp4", "--flow", "farneback") == 0
    assert found_by == {"farneback"}


def test_without_temporal_weight_each_frame_is_what_nst_adain_makes_of_it(
    clip: Path, given: list[Tensor], tmp_path: Path
) -> None:
    assert paint(clip, tmp_path / "out.mp4", "--temporal-weight", "0", "--alpha", "0.8") == 0
    for index, frame in enumerate(frames_of(clip)):
        images.save_image(frame, tmp_path / f"{index}.png")
        flags = ["--alpha", "0.8", *SMALL, "-o", tmp_path / f"painted-{index}.png"]
        assert run("adain", tmp_path / f"{index}.png", "vortex", *flags) == 0
    alone = [nstlib.load_image(tmp_path / f"painted-{index}.png") for index in range(6)]
    assert close(given, alone)
    # And the file shows them. It halves the colours' resolution, which costs most in a small picture
    # of strong colours: their lightness is what it must keep.
    assert all(
        float((luminance(one) - luminance(other)).abs().mean()) < 0.03
        for one, other in zip(frames_of(tmp_path / "out.mp4"), alone, strict=True)
    )


def test_by_default_it_is_steady(clip: Path, given: list[Tensor], tmp_path: Path) -> None:
    assert paint(clip, tmp_path / "out.mp4") == 0
    calm, known = list(given), adain.load_adain()
    wanted = video.stylize(video.read(clip), known, known.style(seen_style("vortex")))
    assert close(calm, [frame.image for frame in wanted])
    given.clear()
    assert paint(clip, tmp_path / "out.mp4", "--temporal-weight", "0") == 0
    assert float((calm[0] - given[0]).abs().max()) == 0
    assert float((calm[5] - given[5]).abs().mean()) > 0.01


@pytest.mark.parametrize(
    ("flags", "turned"),
    [
        (["--weights", ".25", ".75"], {"weights": [0.25, 0.75]}),
        (["--weights", "1,3", "--keep-color", "luminance"], {"keep_color": "luminance"}),
        (["--match", "whitening"], {"match": "whitening"}),
    ],
)
def test_several_styles_are_mixed_as_a_stylist_mixes_them(
    flags: list[str], turned: dict[str, Any], clip: Path, given: list[Tensor], tmp_path: Path
) -> None:
    named = ["--style", "vortex", "--style", "mosaic", "--temporal-weight", "0", *flags]
    assert run("video", clip, *named, *SMALL, "-o", tmp_path / "out.mp4") == 0
    weights = [0.25, 0.75] if "--weights" in flags else None
    styles = [seen_style("vortex"), seen_style("mosaic")]
    stylist = Stylist(adain.load_adain())
    turned = {"weights": weights} | turned
    assert close(given, [stylist.stylize(frame, styles, **turned) for frame in frames_of(clip)])


def test_kept_colours_are_the_clip_s(clip: Path, given: list[Tensor], tmp_path: Path) -> None:
    flags = ["--keep-color", "luminance", "--temporal-weight", "0"]
    assert paint(clip, tmp_path / "out.mp4", *flags) == 0
    for painted, frame in zip(given, frames_of(clip), strict=True):
        chroma = [image - luminance(image) for image in (painted, frame)]
        inside = (painted > 0) & (painted < 1)  # elsewhere a colour was cut off
        assert float(((chroma[0] - chroma[1]).abs() * inside).mean()) < 0.01
    given.clear()
    assert paint(clip, tmp_path / "out.mp4", "--keep-color", "match") == 0
    mean = [picture.mean(dim=(2, 3)) for picture in (given[0], frames_of(clip)[0])]
    assert float((mean[0] - mean[1]).abs().max()) < 0.1


def test_a_mask_of_the_first_frame_moves_along(
    clip: Path, given: list[Tensor], tmp_path: Path
) -> None:
    subject = painting.clip("sprites", frames=6, height=64, width=96).masks
    images.save_image(subject[:1].expand(-1, 3, -1, -1), tmp_path / "mask.png")
    flags = ["--mask", tmp_path / "mask.png", "--temporal-weight", "0"]
    assert paint(clip, tmp_path / "out.mp4", *flags) == 0
    for index, (painted, frame) in enumerate(zip(given, frames_of(clip), strict=True)):
        changed = (painted - frame).abs().mean(dim=1, keepdim=True)
        on, off = (
            float((changed * part).sum() / part.sum())
            for part in (subject[index : index + 1] > 0.99, subject[index : index + 1] < 0.01)
        )
        assert on > 5 * off, "the background stays as it is"


def test_a_foreground_is_cut_out_of_the_first_frame(
    clip: Path, given: list[Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def left_half(photo: Tensor, rectangle: Any) -> Tensor:
        asked.append((photo, rectangle))
        region = torch.zeros(1, 1, *photo.shape[2:])
        region[..., : photo.shape[3] // 2] = 1
        return region

    monkeypatch.setattr(masks, "foreground", left_half)
    flags = ["--foreground", ".1", ".1", ".5", ".9", "--temporal-weight", "0", "--seconds", ".03"]
    named = ["--style", "vortex", "--style", "mosaic"]
    assert run("video", clip, *named, *flags, *SMALL, "-o", tmp_path / "out.mp4") == 0
    ((photo, rectangle),) = asked
    assert torch.equal(photo, frames_of(clip)[0])
    assert rectangle == (0.1, 0.1, 0.5, 0.9)
    half = left_half(photo, None)
    wanted = Stylist(adain.load_adain()).stylize(
        photo, [seen_style("vortex"), seen_style("mosaic")], mask=torch.cat([half, 1 - half])
    )
    assert close(given, [wanted])


def test_a_fast_net_paints_by_the_names_of_its_styles(
    clip: Path, given: list[Tensor], tmp_path: Path
) -> None:
    flags = ["--net", "fast", "--style-weight", "10", "--temporal-weight", "0", "--device", "cpu"]
    assert run("video", clip, "gilded", *flags, "-o", tmp_path / "out.mp4") == 0
    net = NetStylist(transform_net.load_net())
    assert close(given, [net.stylize(f, "gilded", style_weight=10) for f in frames_of(clip)])


def test_a_gif_has_the_clip_s_frames_and_length(tmp_path: Path) -> None:
    source = spoken(tmp_path / "clip.mp4", "aac", seconds=0.4, frames=10)  # with sound
    out = tmp_path / "out.GIF"
    assert paint(source, out) == 0
    assert video.read(out).seconds == Fraction(10, 25)
    with Image.open(out) as picture:
        assert picture.size == (48, 32)


# -------------------------------------------------------------------------------- what can be turned


@pytest.mark.parametrize(("size", "wanted"), [(40, (40, 60)), (64, (64, 96)), (200, (64, 96))])
def test_size_is_the_shorter_side_and_a_smaller_clip_keeps_its_own(
    size: int, wanted: tuple[int, int], clip: Path, tmp_path: Path
) -> None:
    assert paint(clip, tmp_path / "out.mp4", "--size", str(size)) == 0
    painted = video.read(tmp_path / "out.mp4")
    assert (painted.height, painted.width) == wanted


def test_it_stops_after_the_seconds_that_were_asked_for(tmp_path: Path) -> None:
    source = spoken(tmp_path / "clip.mp4", "flac", seconds=2)
    out = tmp_path / "out.mp4"
    assert paint(source, out, "--seconds", "0.4") == 0
    assert len(video.read(out)) == 10
    whole, part = heard(source), heard(out)
    assert 0 <= part.shape[1] / 48000 - 0.4 < 0.1, "to the end of a packet"
    assert (part == whole[:, : part.shape[1]]).all()


def test_seconds_are_those_of_the_frames_where_the_rate_varies(tmp_path: Path) -> None:
    times = [0, 40, 50, 200, 900, 910]
    source = made(tmp_path / "clip.mp4", greys(6), times=times)
    out = tmp_path / "out.mp4"
    assert paint(source, out) == 0
    assert times_of(out) == [Fraction(at, 1000) for at in times]
    assert paint(source, out, "--seconds", "0.3") == 0
    assert times_of(out) == [Fraction(at, 1000) for at in times[:4]]


def test_sound_can_be_left_out(tmp_path: Path) -> None:
    source = spoken(tmp_path / "clip.mp4", "aac", seconds=0.2, frames=5)
    assert paint(source, tmp_path / "out.mp4", "--no-audio") == 0
    assert video.read(source).has_audio
    assert not video.read(tmp_path / "out.mp4").has_audio


@pytest.mark.parametrize("name", ["it's my clip.mp4", "take 2 ☀.mp4", '-a:b"%03d.mp4'])
def test_odd_sizes_and_odd_names_come_through(name: str, tmp_path: Path) -> None:
    video.write(tmp_path / "clip.mp4", torch.rand(3, 3, 33, 47)).rename(tmp_path / name)
    out = tmp_path / f"out {name}"
    assert paint(tmp_path / name, out) == 0
    painted = video.read(out)
    assert (len(painted), painted.height, painted.width) == (3, 33, 47)


# ------------------------------------------------------------------------------ clips that are broken


def test_of_a_clip_that_is_cut_short_all_is_painted_that_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = made(tmp_path / "whole.mkv", noise(20), options={"bf": "0"})
    source = cut(Path(shutil.copy(whole, tmp_path / "clip.mkv")), 0.6)
    assert paint(source, tmp_path / "out.mp4") == 0
    count = len(video.read(tmp_path / "out.mp4"))
    assert 5 <= count <= 14
    said = capsys.readouterr()
    assert said.err == f"nst: '{source}' is cut short: {count} of 20 frames could be read\n"
    assert said.out == f"{tmp_path / 'out.mp4'}\n"


def test_where_frames_are_lost_the_others_stay_with_the_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = made(tmp_path / "silent.mp4", greys(20), options={"g": "1"})
    sound = spoken(tmp_path / "sound.mp4", "aac", seconds=0.8)
    source = tmp_path / "clip.mp4"
    joined(silent, sound, source)
    with av.open(str(source)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(source.read_bytes())
    for at, size in packets[8:10]:
        data[at : at + size] = b"\xff" * size
    source.write_bytes(data)
    out = tmp_path / "out.mp4"
    assert paint(source, out) == 0
    assert "is damaged: 18 of 20 frames could be read\n" in capsys.readouterr().err
    assert [at * 25 for at in times_of(out)] == [*range(8), *range(10, 20)]
    assert (heard(out) == heard(source)).all()


def joined(pictures: Path, sound: Path, out: Path) -> None:
    """Copy the frames of one file and the sound of another into a third, packet by packet."""
    with av.open(str(pictures)) as a, av.open(str(sound)) as b, av.open(str(out), "w") as target:
        sources = [(a, a.streams.video[0]), (b, b.streams.audio[0])]
        copies = [target.add_stream_from_template(stream) for _, stream in sources]
        for (source, stream), copy in zip(sources, copies, strict=True):
            for packet in source.demux(stream):
                if packet.size:
                    packet.stream = copy
                    target.mux(packet)


# ----------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("gone.mp4 vortex", "argument clip: gone.mp4: there is no such file"),
        (". vortex", "argument clip: .: it is a folder, not a file"),
        ("clip.mp4", "there is no style: name one after the clip, or several with --style"),
        (
            "clip.mp4 vortex --style mosaic",
            "there is a style after the clip, 'vortex', and --style",
        ),
        ("clip.mp4 gone", "gone: no such file, and none that ships is called so"),
        ("clip.mp4 vortex -o clip.mp4", "'clip.mp4' is a file it is made of, which would be"),
        ("clip.mp4 vortex -o link.mp4", "'link.mp4' is a file it is made of, which would be"),
        ("clip.mp4 vortex -o out.mkv", "'out.mkv' must end in .mp4 or .gif"),
        (
            "fast.mp4 vortex -o out.gif",
            "'fast.mp4' has 60 frames a second, and a GIF has 50 at most",
        ),
        ("clip.mp4 vortex --temporal-weight 1", "temporal_weight is 1.0; it must lie in [0, 0.95]"),
        ("clip.mp4 vortex --temporal-weight nan", "temporal_weight is nan"),
        ("clip.mp4 vortex --alpha 2", "alpha is 2.0; it must lie in [0, 1]"),
        ("clip.mp4 vortex --seconds 0", "seconds is 0.0; it must lie in [0.001, 1e+06]"),
        ("clip.mp4 vortex --size 0", "argument --size: 0 is no whole number of at least 1"),
        ("clip.mp4 --style vortex mosaic --weights 1", "weights"),
        ("clip.mp4 vortex --weights=-1", "weights"),
        ("clip.mp4 --style vortex mosaic --mask wide.png", "they must be of one shape"),
        ("clip.mp4 --style vortex --weights 1 --mask wide.png", "in a region there is one style"),
        ("clip.mp4 vortex --foreground .5 0 .2 1", "--foreground is 0.5 0 0.2 1; it takes LEFT"),
        ("clip.mp4 vortex --model gone.safetensors", "gone.safetensors: there is no such file"),
        ("clip.mp4 vortex --style-weight 5", "--style-weight: of no effect on AdaIN"),
        ("clip.mp4 gilded --net fast --alpha .5", "--alpha: of no effect on a fast net"),
        ("clip.mp4 gilded --net fast --style-size 9", "--style-size: of no effect on a fast net"),
        ("clip.mp4 mosaic --net fast", "style is 'mosaic'; the net has: vortex"),
        ("clip.mp4 gilded --net fast --style-weight 99", "the net's dial goes from"),
        ("clip.mp4 gilded --net fast --keep-color match", "keep_color is 'match'"),
        ("clip.mp4 vortex --no-audio -o out.gif", "--no-audio: of no effect on a GIF"),
    ],
)
def test_a_command_that_is_wrong_is_one_sentence_and_leaves_nothing(
    flags: str,
    sentence: str,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(clip.parent)
    refused(flags, sentence, 2, capsys)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("picture.png vortex", "it is a still picture, which nstlib.load_image reads"),
        ("clip.mp4 vortex -o picture.png/out.mp4", "'picture.png/out.mp4' cannot be written: "),
        ("clip.mp4 vortex -o folder.mp4", "'folder.mp4' cannot be written: it is a folder"),
        ("clip.mp4 vortex --flow raft", "raft"),
    ],
)
def test_a_run_that_fails_is_one_sentence_and_leaves_nothing(
    flags: str,
    sentence: str,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(clip.parent)
    refused(flags, sentence, 1, capsys)


def refused(flags: str, sentence: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the command beside ``clip.mp4``, and find the folder as it was."""
    images.save_image(torch.rand(1, 3, 24, 24), "picture.png")
    images.save_image(torch.rand(1, 3, 24, 240), "wide.png")
    video.write("fast.mp4", torch.rand(2, 3, 24, 24), 60)
    Path("folder.mp4").mkdir()
    Path("link.mp4").symlink_to("clip.mp4")
    Path("out.mp4").write_bytes(b"mine")
    before = {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")}
    assert run("video", "-o", "out.mp4", *flags.split(), "--device", "cpu") == code
    said = capsys.readouterr().err
    assert sentence in said
    assert said.startswith("nst: ")
    assert said.count("\n") == 1
    assert {path: path.is_file() and path.read_bytes() for path in Path().rglob("*")} == before


# -------------------------------------------------------------------------------- ended from outside


def out_of_memory() -> None:
    raise MemoryError("no memory is left")


def ctrl_c() -> None:
    signal.default_int_handler(signal.SIGINT, None)  # as Python does, unless it was told otherwise


@pytest.mark.parametrize(
    ("ending", "code", "said"), [(out_of_memory, 1, ["nst: no memory is left"]), (ctrl_c, 130, [])]
)
def test_ended_halfway_it_leaves_the_old_clip_and_tells_where_a_part_is_that_plays(
    ending: Callable[[], None],
    code: int,
    said: list[str],
    clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    paints = video.stylize

    @functools.wraps(paints)  # flags are read from its signature
    def broken(frames: Any, **given: Any) -> Any:
        with contextlib.closing(paints(frames, **given)) as painted:
            yield from itertools.islice(painted, 4)
            ending()

    monkeypatch.setattr(video, "stylize", broken)
    out, partial = tmp_path / "my out.mp4", tmp_path / "my out.partial.mp4"
    out.write_bytes(b"mine")
    assert paint(clip, out) == code
    note = f"nst: What came of '{out}' until then is in '{partial}'"
    assert capsys.readouterr().err.splitlines() == [*said, note]
    assert out.read_bytes() == b"mine"
    assert len(list(video.read(partial))) == 4
