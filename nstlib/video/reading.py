"""A clip is read frame by frame, as a player shows it; memory does not grow with its length."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from nstlib.errors import VideoError, VideoWarning
from nstlib.video.looks import Look, look_of
from nstlib.video.opening import (
    audio_stream,
    check_pixels,
    check_side,
    local_path,
    opened,
    packets_of,
    video_stream,
)
from nstlib.video.timing import Timing, scan

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of a clip that was read."""

    image: Tensor  # (1, 3, H, W) float32 in [0, 1], as a viewer shows it
    time: Fraction  # seconds since the first frame of the clip
    duration: Fraction  # seconds until the next


def read(path: str | os.PathLike[str], size: int | None = None) -> Reader:
    """Open a clip for reading frame by frame, as a player shows it.

    Any file that FFmpeg decodes: MP4, MOV, MKV, WebM, AVI, MPEG, an animated GIF ... Its frames are
    turned upright, their pixels square, their colours by the matrix and range that the file names
    (BT.709 from 720 rows on, else BT.601, where it names none), transparency is laid over white as
    by `load_image`, and what `write` padded of an odd size is cut off again. High dynamic range is
    not mapped to the usual one.

    The file is gone through once for its frames' times, and one frame is decoded. A file that is
    cut short or damaged gives what can be read; then a `VideoWarning` says how much that was. Only
    local files are opened, and no others that they name: no address, playlist or script.

    Args:
        path: the file.
        size: the shorter side in pixels that frames are brought to while they are decoded, by the
            same antialiased filter as `images.resize`; smaller clips keep their own pixels, as by
            `images.at_size`. None keeps all.

    Raises:
        VideoError: the file is missing, empty, no clip, over 67 million pixels a frame, or not one
            frame can be decoded. While frames are read: their size changes.
        ValueError, TypeError: an argument is not of this form.

    Example:
        >>> import tempfile, torch
        >>> from nstlib.video import write
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     clip = read(write(f"{folder}/noise.mp4", torch.rand(5, 3, 24, 33), rate=29.97))
        ...     print(clip, [float(frame.time) for frame in clip][:3])
        <5 frames, 33 x 24, 29.97 a second, no sound> [0.0, 0.03336666, 0.06673333]
    """
    check_side("size", size)
    path = local_path(path)
    with opened(path) as container:
        stream = video_stream(path, container)
        check_pixels(path, stream.width, stream.height)
        has_audio = audio_stream(container) is not None
        timing = scan(container, stream)
    loss = _Loss()
    with opened(path) as container:  # from its beginning
        stream = video_stream(path, container)
        first = next(_decoded(container, stream, loss), None)
        if first is None or timing is None:
            raise VideoError(f"'{path}' cannot be read: not one frame can be decoded{loss.reason}")
        look = look_of(container, stream, first, size)
        check_pixels(path, *look.square)
    return Reader(path, timing, look, has_audio)


class Reader:
    """A clip's frames, as `read` returns them: each loop opens the file anew, and closes it.

    ``len(reader)`` is the number of frames that the file holds, by its packets.
    """

    def __init__(self, path: Path, timing: Timing, look: Look, has_audio: bool) -> None:
        self.path = path
        self.height, self.width = look.shown  # pixels of the frames it gives
        self.rate = timing.rate  # frames a second, exact; None where it varies
        self.seconds = timing.seconds
        self.has_audio = has_audio
        self._timing, self._look = timing, look

    def __len__(self) -> int:
        return self._timing.count

    def __repr__(self) -> str:
        rate = f"{float(self.rate):.4g} a second" if self.rate else f"{float(self.seconds):.4g} s"
        sound = "with sound" if self.has_audio else "no sound"
        return f"<{len(self)} frames, {self.width} x {self.height}, {rate}, {sound}>"

    def __iter__(self) -> Iterator[Frame]:
        loss = _Loss()
        with opened(self.path) as container:
            stream = video_stream(self.path, container)
            frames = self._indexed(_decoded(container, stream, loss))
            before = next(frames, None)
            while before is not None:  # a frame stays until the next one that could be decoded
                after = next(frames, None)
                yield self._frame(before, after)
                before = after
        if loss.given < self._timing.promised or loss.damaged:
            warnings.warn(f"'{self.path}' {loss.told(self._timing)}", VideoWarning, stacklevel=2)

    def _indexed(self, frames: Iterator[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        """Give each frame with its index in the clip, which skips those that are lost."""
        index = -1
        for frame in frames:
            index = self._timing.index(frame.pts, index)
            width, height = self._look.coded
            if (frame.width, frame.height) != (width, height):
                raise VideoError(
                    f"'{self.path}' cannot be read on: frame {index} has {frame.width} x "
                    f"{frame.height} pixels, the frames before it {width} x {height}"
                )
            yield index, frame

    def _frame(self, before: tuple[int, VideoFrame], after: tuple[int, VideoFrame] | None) -> Frame:
        """Return a frame as an image, shown until the one after it comes."""
        index, decoded = before
        time = self._timing.time(index)
        end = self._timing.time(after[0] if after else index + 1)
        return Frame(self._look.image(decoded), time, end - time)


@dataclass
class _Loss:
    """What of a clip could be decoded."""

    given: int = 0
    damaged: int = 0  # of them, those that the decoder patched up
    reason: str = ""

    def told(self, timing: Timing) -> str:
        """Return it in words."""
        why = "is cut short" if timing.count < timing.promised else "is damaged"
        damaged = f", {self.damaged} of them damaged" if self.damaged else ""
        return f"{why}: {self.given} of {timing.promised} frames could be read{damaged}"


def _decoded(container: InputContainer, stream: VideoStream, loss: _Loss) -> Iterator[VideoFrame]:
    """Decode the frames; one that cannot be is left out, and counted."""
    import av

    stream.thread_count = 1  # of several threads, an error in one frame costs those beside it
    for packet in itertools.chain(packets_of(container, stream), [None]):  # None: what is left
        try:
            frames = stream.decode(packet)
        except av.FFmpegError as error:
            loss.reason = f": {error.strerror}"
            continue
        for frame in frames:
            loss.given += 1
            loss.damaged += frame.is_corrupt
            yield frame
