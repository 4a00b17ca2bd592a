"""Frames become an MP4 that plays up to its last second while it is still being written."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nstlib.errors import VideoError
from nstlib.video.looks import size_note
from nstlib.video.opening import opened, video_stream
from nstlib.video.sound import Sound
from nstlib.video.timing import scan

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.reformatter import Colorspace
    from av.video.stream import VideoStream

Picture = npt.NDArray[np.uint8]  # (H, W, 3)

# Each fragment has an index of its own, and is on the disk when it is done; the first holds the
# header, which then knows where sound and frames begin.
_FRAGMENTED = {
    "movflags": "+frag_keyframe+delay_moov+default_base_moof",
    "flush_packets": "1",
    "max_interleave_delta": "1000000",  # us that one stream waits for the other
}
# Of x264's presets the fastest that keeps files small: at 384 x 216 it takes 2 ms a frame, "medium"
# 4 ms for 1 dB more, and "superfast" would double the file.
_PRESET = "veryfast"
_MOST_THREADS = 4


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture of a clip, and when it is shown."""

    picture: Picture
    time: Fraction  # seconds since the first
    duration: Fraction  # seconds

    @property
    def end(self) -> Fraction:
        """Return when it is shown no longer."""
        return self.time + self.duration


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say what the system or an encoder refuses as a VideoError that names the clip.

    It is laid around their calls only: what a frames' generator raises passes as it is.
    """
    try:
        yield
    except Exception as error:  # an encoder raises anything
        reason = getattr(error, "strerror", None) or error
        raise VideoError(f"'{path}' cannot be written: {reason}") from error


def check_av(path: Path) -> None:
    """Raise VideoError where PyAV is missing."""
    try:
        import av  # noqa: F401
    except ImportError as error:
        raise VideoError(
            f"'{path}' cannot be written: an MP4 needs PyAV, which is not installed: "
            "pip install 'nstlib[video]' (a .gif needs nothing more)"
        ) from error


def encode(
    path: Path,
    partial: Path,
    frames: Iterator[Shown],
    tick: Fraction,
    crf: int,
    sound: Sound | None,
) -> int:
    """Encode the frames of ``path`` to ``partial`` as they come, and return how many came.

    When they fail, what came until then is finished, so that it plays.
    """
    import av

    first = next(frames)
    with told(path):
        # An absolute path, as FFmpeg takes "take:2" for a protocol and its address.
        container = av.open(str(partial.absolute()), "w", format="mp4", options=_FRAGMENTED)
    count, stream = 0, None
    try:
        with told(path):
            stream = _added_stream(container, first, tick, crf)
            if sound:
                sound.attach(container, first.time)
        for last in itertools.chain([first], frames):
            with told(path):
                container.mux(stream.encode(_as_yuv(last, first.time, tick)))
                if sound:
                    sound.advance(last.time - first.time)
            count += 1
    except BaseException:
        with suppress(Exception), container:  # the first error is the one to tell
            container.mux(stream.encode() if stream else [])
        raise
    with told(path), container:
        container.mux(stream.encode())
        if sound:
            sound.finish(last.end - first.time, last.duration)
    return count


def _added_stream(
    container: OutputContainer, first: Shown, tick: Fraction, crf: int
) -> VideoStream:
    """Add H.264 frames to a container; a key frame a second begins a fragment each."""
    from av.codec.context import Flags
    from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

    height, width, _ = first.picture.shape
    if height % 2 or width % 2:
        container.metadata["comment"] = size_note(width, height)
    rate = 1 / first.duration
    options = {"crf": str(crf), "preset": _PRESET, "g": str(max(1, round(rate)))}
    stream = container.add_stream(
        "libx264", rate=rate.limit_denominator(1001), time_base=tick, options=options
    )
    stream.width, stream.height = width + width % 2, height + height % 2
    stream.pix_fmt = "yuv420p"
    stream.thread_type = "FRAME"  # in slices, files are larger and threads wait for each other
    stream.thread_count = min(_MOST_THREADS, os.cpu_count() or 1)
    context = stream.codec_context
    context.flags |= Flags.frame_duration  # else the last frame's time is the one before's
    context.colorspace, context.color_range = _matrix(), ColorRange.MPEG
    context.color_primaries = ColorPrimaries.BT709
    context.color_trc = ColorTrc.IEC61966_2_1
    return stream


def _matrix() -> Colorspace:
    """Return the matrix by which frames are stored: BT.601's, as in a JPEG; the colours are sRGB's.

    Where a browser has no GPU, it computes BT.709's in so few bits that yellow and magenta come out
    11/255 wrong.
    """
    from av.video.reformatter import Colorspace

    return Colorspace.SMPTE170M


def _as_yuv(shown: Shown, zero: Fraction, tick: Fraction) -> VideoFrame:
    """Return a picture as the encoder takes it, with its time since ``zero``."""
    import av
    from av.video.reformatter import ColorRange

    frame = av.VideoFrame.from_ndarray(_even(shown.picture), format="rgb24").reformat(
        format="yuv420p", dst_colorspace=_matrix(), dst_color_range=ColorRange.MPEG, threads=1
    )
    begin, end = (round((moment - zero) / tick) for moment in (shown.time, shown.end))
    frame.pts, frame.duration, frame.time_base = begin, end - begin, tick
    return frame


def _even(picture: Picture) -> Picture:
    """Repeat the last row and column where their number is odd."""
    height, width, _ = picture.shape
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def remux(partial: Path, target: Path, count: int) -> None:
    """Copy what was encoded into one whole, with its index in front: nothing is encoded anew.

    Raises:
        OSError: of the ``count`` frames not all reached the disk, which FFmpeg does not always tell.
    """
    import av

    options = {"movflags": "+faststart"}
    address = str(target.absolute())
    with opened(partial) as source, av.open(address, "w", format="mp4", options=options) as whole:
        whole.metadata.update(source.metadata)
        streams = [whole.add_stream_from_template(stream, opaque=True) for stream in source.streams]
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                whole.mux(packet)
    with opened(target) as finished:
        timing = scan(finished, video_stream(target, finished))
    found = timing.count if timing else 0
    if found != count:
        raise OSError(f"only {found} of {count} frames reached the disk; is it full?")
