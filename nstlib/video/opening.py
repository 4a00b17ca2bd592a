"""A clip's file is opened: only a local one, only by formats that hold clips, nothing that it names.

FFmpeg would also open addresses, playlists and scripts that make it read other files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nstlib.errors import ImageError, VideoError
from nstlib.images import as_path, load_image, positive

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    _Stream = TypeVar("_Stream", AudioStream, VideoStream)

# Twice 8K. A frame takes 12 bytes a pixel as floats, so this is 0.8 GB for each that is held.
MAX_PIXELS = 2**26

# FFmpeg's names of what it may read: clips, and sound alone. Pictures, playlists (HLS, DASH), scripts
# (concat) and devices are not among them.
_FORMATS = (
    *("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "gif", "apng", "mpegts", "mpeg", "flv"),
    *("asf", "ogg", "nut", "mxf", "ivf", "yuv4mpegpipe", "h264", "hevc", "m4v", "mpegvideo", "obu"),
    *("dv", "rm", "mp3", "wav", "flac", "aac", "ac3", "aiff"),
)
_PICTURE_BRANDS = (b"heic", b"heix", b"mif1", b"avif")  # MP4's container, with one picture in it
_PICTURE = "it is a still picture, which nstlib.load_image reads"


def local_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that is there and can be read."""
    path = as_path(path)
    try:
        if path.is_dir():
            raise VideoError(f"'{path}' cannot be read: it is a folder, not a clip")
        if path.exists() and not path.is_file():  # a pipe or a device may never end
            raise VideoError(f"'{path}' cannot be read: it is no regular file")
        with path.open("rb") as file:
            is_empty = not file.read(1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise VideoError(f"'{path}' cannot be read: {reason}") from error
    if is_empty:
        raise VideoError(f"'{path}' cannot be read: the file is empty")
    return path


@contextmanager
def opened(path: Path) -> Iterator[InputContainer]:
    """Open a clip's file, and close it in any case."""
    try:
        import av
    except ImportError as error:
        raise VideoError(
            f"'{path}' cannot be read: a clip needs PyAV, which is not installed: "
            "pip install 'nstlib[video]'"
        ) from error
    options = {"protocol_whitelist": "file", "format_whitelist": ",".join(_FORMATS)}
    try:
        # "file:" and an absolute path, as FFmpeg takes "take:2" for a protocol and its address.
        # Words in any encoding are let pass: titles are not what is read here.
        container = av.open(
            f"file:{path.absolute()}", "r", container_options=options, metadata_errors="replace"
        )
    except av.FFmpegError as error:
        raise VideoError(f"'{path}' cannot be read: {_what_it_is(path)}") from error
    with container:
        yield container


def _what_it_is(path: Path) -> str:
    """Return what can be said of a file that opens as no clip."""
    try:
        load_image(path)
    except ImageError:
        return (
            "it is no clip, or its beginning or its index is lost; "
            "MP4, MOV, MKV, WebM, AVI, GIF and MPEG are among what can be read"
        )
    return _PICTURE


def video_stream(path: Path, container: InputContainer) -> VideoStream:
    """Return the file's frames, or say what it holds instead."""
    stream = first_video(container)
    if stream is None:
        cover = " and a cover picture" if container.streams.video else ""
        kinds = f"it holds sound{cover} only" if container.streams.audio else "it holds no frames"
        raise VideoError(f"'{path}' cannot be read: {kinds}; a clip is wanted")
    with path.open("rb") as file:
        if file.read(12)[8:] in _PICTURE_BRANDS:
            raise VideoError(f"'{path}' cannot be read: {_PICTURE}")
    if stream.codec_context is None:
        raise VideoError(f"'{path}' cannot be read: its frames are coded in a way not known here")
    return stream


def first_video(container: InputContainer) -> VideoStream | None:
    """Return the file's frames; None where it has none, or only a cover picture."""
    from av.stream import Disposition

    covers = Disposition.attached_pic
    return next((s for s in container.streams.video if not s.disposition & covers), None)


def audio_stream(container: InputContainer) -> AudioStream | None:
    """Return the file's sound, its first where it has several; None where it has none."""
    return next(iter(container.streams.audio), None)


def packets_of(container: InputContainer, stream: _Stream) -> Iterator[Packet[_Stream]]:
    """Give the packets of a stream as far as the file can be read."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        if packet.size:  # an empty one says that the last frame stays
            yield packet


def check_side(name: str, side: int | None) -> None:
    """Raise TypeError or ValueError unless a side is a number of pixels, or None."""
    if side is not None:
        positive(name, side)


def check_pixels(path: Path, width: int, height: int) -> None:
    """Refuse frames of more than MAX_PIXELS."""
    if width * height > MAX_PIXELS:
        raise VideoError(
            f"'{path}' cannot be read: its frames have {width} x {height} = {width * height:,} "
            f"pixels, over the limit of {MAX_PIXELS:,}, twice those of 8K"
        )
