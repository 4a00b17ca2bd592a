"""The sound of one clip goes into another: packet by packet where browsers play it so."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from nstlib.errors import VideoError, VideoWarning
from nstlib.video.opening import audio_stream, first_video, local_path, opened, packets_of
from nstlib.video.timing import Timing, scan

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

    Heard = tuple[Fraction, Packet[AudioStream]]  # seconds after the clip's first frame, and what

# FFmpeg's decoders of what Chromium and Firefox play in an MP4. Of AC-3, DTS, Vorbis and plain
# samples they play none there, so those are encoded.
_COPIED = ("aac", "mp3", "mp3float", "opus", "libopus", "flac")
_AAC_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)  # samples a second
_AAC_BITS = 96_000  # a second and channel: no difference is heard
_PREROLL = Fraction(1, 10)  # seconds before the first sample that a decoder may need


class Sound:
    """The sound of a file, on its way into a clip that is being written."""

    def __init__(self, path: Path, source: InputContainer, timing: Timing | None) -> None:
        stream = source.streams.audio[0]
        self._path, self._source, self._stream = path, source, stream
        # By the source's clock: when its frames begin, and end. Without frames, its sound begins.
        self._start = timing.start if timing else _seconds(stream, stream.start_time or 0)
        self._end = self._start + timing.seconds if timing else None
        self._packets: Iterator[Heard] = iter(())
        self._next: Heard | None = None

    def attach(self, target: OutputContainer, first: Fraction) -> None:
        """Add a stream to a clip that begins ``first`` seconds after the source's first frame."""
        self._target = target
        self._zero = self._start + first
        copies = self._stream.codec_context.name in _COPIED
        self._packets = self._copied(target) if copies else self._encoded(target)
        self._next = next(self._packets, None)  # adds the stream, before the first frame comes

    def advance(self, until: Fraction) -> None:
        """Write the sound that is heard before ``until`` seconds."""
        while self._next and self._next[0] < until:
            self._target.mux(self._next[1])
            self._next = next(self._packets, None)

    def finish(self, end: Fraction, last: Fraction) -> None:
        """Write what is heard until the frames' ``end``; the rest, too, if they are the source's.

        Of the source's frames at most the last, of ``last`` seconds, may be missing for that.
        """
        self.advance(end)
        if self._end is not None and self._zero + end >= self._end - last:
            while self._next:
                self.advance(self._next[0] + 1)

    def _copied(self, target: OutputContainer) -> Iterator[Heard]:
        """Give the source's packets, their times counted in samples."""
        stream = target.add_stream_from_template(self._stream, opaque=True)
        sample = Fraction(1, self._stream.codec_context.sample_rate)
        for packet in self._as_mp4():
            tick = packet.time_base
            silent = _unheard(packet) * sample
            # Only what is heard begins at a whole tick: an Opus in Matroska, which counts in ms,
            # is decoded from 6.5 ms before it on.
            begin = round((packet.pts or 0) + silent / tick) * tick - silent - self._zero
            duration = (packet.duration or 0) * tick
            if begin + duration < -_PREROLL:
                continue
            packet.stream, packet.time_base = stream, sample
            packet.pts = packet.dts = round(begin / sample)
            packet.duration = round(duration / sample)
            yield begin, packet

    def _as_mp4(self) -> Iterator[Packet[AudioStream]]:
        """Give the packets as an MP4 holds them: AAC without the headers it has in a broadcast."""
        from av.bitstream import BitStreamFilterContext

        context = self._stream.codec_context
        has_headers = context.name == "aac" and not context.extradata
        bare = BitStreamFilterContext("aac_adtstoasc" if has_headers else "null", self._stream)
        for packet in packets_of(self._source, self._stream):
            if packet.pts is not None:
                yield from bare.filter(packet)

    def _encoded(self, target: OutputContainer) -> Iterator[Heard]:
        """Encode the source's sound to AAC."""
        context = self._stream.codec_context
        known = (rate for rate in _AAC_RATES if rate <= context.sample_rate)
        stream = target.add_stream("aac", rate=next(known, _AAC_RATES[-1]))
        # AAC knows these; others, and channels that are not named, are mixed to two.
        channels = {"mono": 1, "stereo": 2, "5.1": 6}
        layout = context.layout.name if context.layout.name in channels else "stereo"
        stream.codec_context.layout = "mono" if context.layout.nb_channels == 1 else layout
        stream.codec_context.bit_rate = _AAC_BITS * channels[layout]
        for frame in self._decoded():
            tick = frame.time_base or Fraction(1, frame.sample_rate)
            begin = (frame.pts or 0) * tick - self._zero
            if begin + Fraction(frame.samples, frame.sample_rate) <= 0:
                continue
            frame.pts = round(begin / tick)
            yield from _timed(stream.encode(frame))
        yield from _timed(stream.encode(None))

    def _decoded(self) -> Iterator[AudioFrame]:
        """Decode the source's sound, but for packets that are damaged."""
        import av

        damaged = 0
        for packet in packets_of(self._source, self._stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                damaged += 1
                continue
            yield from frames
        yield from self._stream.codec_context.decode(None)
        if damaged:
            warnings.warn(
                f"'{self._path}': {damaged} packets of its sound could not be decoded",
                VideoWarning,
                stacklevel=2,
            )


def _timed(packets: list[Packet[AudioStream]]) -> Iterator[Heard]:
    """Give an encoder's packets with the moments at which they are heard."""
    for packet in packets:
        yield (packet.pts or 0) * packet.time_base, packet


def _unheard(packet: Packet[AudioStream]) -> int:
    """Return how many samples at the beginning of a packet are decoded, but not heard."""
    if not packet.has_sidedata("skip_samples"):
        return 0
    return int.from_bytes(bytes(packet.get_sidedata("skip_samples"))[:4], "little")


def _seconds(stream: AudioStream, ticks: int) -> Fraction:
    """Return a stream's ticks in seconds."""
    return ticks * (stream.time_base or Fraction(0))


@contextmanager
def sound_of(path: str | os.PathLike[str] | None) -> Iterator[Sound | None]:
    """Open the sound of a file; None for no file, and for a clip without sound."""
    if path is None:
        yield None
        return
    path = local_path(path)
    with opened(path) as container:
        frames, stream = first_video(container), audio_stream(container)
        if not frames and not stream:
            raise VideoError(f"'{path}' cannot be read: it holds no sound and no frames")
        if stream and stream.codec_context is None:
            raise VideoError(f"'{path}' cannot be read: its sound is coded in a way not known here")
        timing = scan(container, frames) if frames and stream else None
    if stream is None:
        yield None
        return
    with opened(path) as container:  # from its beginning
        yield Sound(path, container, timing)
