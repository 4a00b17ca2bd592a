"""When the frames of a clip are shown, found from its packets without decoding one."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nstlib.video.opening import packets_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_USUAL = Fraction(25)  # frames a second, where a file says nothing at all


@dataclass(frozen=True, eq=False)
class Timing:
    """The moments of a clip's frames, in the order in which they are shown.

    They are held in 8 bytes a frame: a million, which is nine hours, take 8 MB.
    """

    ticks: npt.NDArray[np.int64]  # (frames,) as the file counts them
    tick: Fraction  # seconds
    last: Fraction  # seconds that the last frame stays
    rate: Fraction | None  # frames a second; None where it varies
    promised: int  # frames that the file's header speaks of, where it speaks
    is_matched: bool  # whether decoded frames carry these ticks

    @property
    def count(self) -> int:
        """Return the number of frames."""
        return len(self.ticks)

    @property
    def start(self) -> Fraction:
        """Return the first frame's moment by the file's clock, in seconds."""
        return int(self.ticks[0]) * self.tick

    @property
    def seconds(self) -> Fraction:
        """Return how long the clip is."""
        return self.time(self.count)

    def time(self, index: int) -> Fraction:
        """Return when frame ``index`` is shown, in seconds since the first; the last's end, too."""
        if self.rate:
            return index / self.rate
        beyond = max(0, index - self.count + 1)  # a packet may hold more than one frame
        since = int(self.ticks[index - beyond] - self.ticks[0])
        return since * self.tick + beyond * self.last

    def index(self, ticks: int | None, previous: int) -> int:
        """Return which frame it is that a decoder gave with this time, after ``previous``."""
        if ticks is None or not self.is_matched:
            return previous + 1
        return max(previous + 1, min(bisect_left(self.ticks, ticks), self.count - 1))


def scan(container: InputContainer, stream: VideoStream) -> Timing | None:
    """Read all packets of the frames, and return their times; None where there is no packet.

    Where the file breaks off, or cannot be read on, the packets before count.
    """
    presented: list[int | None] = []
    decoded: list[int | None] = []  # all that an AVI has
    end, hidden, last = -1, 0, 0
    for packet in packets_of(container, stream):
        if packet.is_discard or _is_hidden(packet, stream):
            hidden += 1
            continue
        presented.append(packet.pts)
        decoded.append(packet.dts)
        if packet.pts is not None and packet.pts >= end:
            end, last = packet.pts, packet.duration or 0
    if not presented:
        return None
    tick = stream.time_base or 1 / _USUAL
    tagged = [r for r in (stream.average_rate, stream.guessed_rate, stream.base_rate) if r]
    promised = max(len(presented), stream.frames - hidden)
    if container.format.name == "avi":  # it counts packets, and what is made of that is a guess
        presented = [None] * len(decoded)
    for moments in (presented, decoded):
        ticks = np.array(sorted(m for m in moments if m is not None), dtype=np.int64)
        if len(ticks) == len(presented):
            steps = np.arange(len(ticks))
            ticks = np.maximum.accumulate(ticks - steps) + steps  # no two at one moment
            rate = constant_rate(ticks, tick, last, tagged)
            stays = last * tick if last else 1 / (rate or (tagged or [_USUAL])[0])
            timing = Timing(ticks, tick, stays, rate, promised, is_matched=moments is presented)
            return replace(timing, promised=max(promised, _promised(container, stream, timing)))
    rate = tagged[0] if tagged else _USUAL  # a bare stream: no container, so no times
    return Timing(np.arange(len(presented)), 1 / rate, 1 / rate, rate, promised, is_matched=False)


def _is_hidden(packet: Packet[VideoStream], stream: VideoStream) -> bool:
    """Say whether a packet holds a frame that others are predicted from, but that is not shown.

    Only VP8 gives such a frame a packet of its own: bit 4 of its header (RFC 6386, 9.1) is 0.
    """
    return stream.codec_context.name in ("vp8", "libvpx") and not bytes(packet)[0] & 0x10


def constant_rate(
    ticks: npt.NDArray[np.int64], tick: Fraction, last: int, tagged: Sequence[Fraction]
) -> Fraction | None:
    """Return the rate at which all frames come, None where it varies.

    The moments k / rate are rounded to the container's ticks, in Matroska to whole ms: 29.97 frames
    a second come after 33, 67, 100 ms. So a rate fits when no frame is off by more than a tick.

    Args:
        ticks: when the frames are shown, sorted.
        tick: a tick in seconds.
        last: ticks that the last frame stays; 0 is unknown.
        tagged: the rates that the file claims: the first guesses.

    Example:
        >>> moments = np.array([0, 33, 67, 100, 133])
        >>> constant_rate(moments, Fraction(1, 1000), 33, [Fraction(30000, 1001)])
        Fraction(30000, 1001)
        >>> constant_rate(np.array([0, 40, 50, 90]), Fraction(1, 1000), 40, []) is None
        True
    """
    if len(ticks) == 1:
        return 1 / (last * tick) if last else (tagged[0] if tagged else None)
    span = int(ticks[-1] - ticks[0])
    if not span:
        return None
    mean = (len(ticks) - 1) / (span * tick)
    slowed = Fraction(1000 * round(mean * Fraction(1001, 1000)), 1001)
    for rate in (*tagged, Fraction(round(mean)), slowed, mean.limit_denominator(1001)):
        if rate <= 0:
            continue
        step = 1 / (rate * tick)  # ticks a frame
        late = (ticks - ticks[0]) - np.arange(len(ticks)) * float(step)
        stays_as_long = not last or abs(last - step) <= step / 2
        if np.ptp(late) <= 1 + 1e-6 and stays_as_long:
            return rate
    return None


def _promised(container: InputContainer, stream: VideoStream, timing: Timing) -> int:
    """Return how many frames Matroska's header speaks of, by the seconds that it names.

    They are those of the longest stream where there is none of its own for the frames.
    """
    if "matroska" not in container.format.name or not timing.rate:
        return 0
    seconds = _clock(stream.metadata.get("DURATION", ""))
    if not seconds and len(container.streams) == 1 and container.duration:
        seconds = Fraction(container.duration, 1_000_000)
    missing = (seconds - timing.seconds) * timing.rate
    return timing.count + round(missing) if missing >= 1 else 0


def _clock(words: str) -> Fraction:
    """Return the seconds of ``00:01:02.345000000``; 0 for other words."""
    found = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", words.strip())
    if not found:
        return Fraction(0)
    hours, minutes, seconds = (Fraction(group) for group in found.groups())
    return 3600 * hours + 60 * minutes + seconds
