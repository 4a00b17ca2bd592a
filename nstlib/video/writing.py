"""Frames become an MP4 that browsers play, or a GIF; whatever happens, what came is not lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from nstlib.errors import VideoError
from nstlib.files import replaced
from nstlib.images import as_path, check_image, to_uint8
from nstlib.video import gif, mp4
from nstlib.video.mp4 import Shown, told
from nstlib.video.reading import Frame, read
from nstlib.video.sound import sound_of

# Frames a second at most. A GIF counts in 1/100 s, and browsers play a delay of 0.01 s as 0.1 s.
FASTEST = {".mp4": 1000, ".gif": 50}
_SLOWEST = 0.01
_RATE = Fraction(25)  # frames a second, of tensors that come without one
# Frames that bring their own times are counted in this, in which all usual rates are whole: a frame
# is 4000 ticks at 30 a second, and 4004 at 30000/1001.
_TICK = Fraction(1, 120_000)  # seconds


def write(
    path: str | os.PathLike[str],
    frames: Iterable[Tensor | Frame],
    rate: float | Fraction | None = None,
    *,
    crf: int = 18,
    loop: bool = True,
    audio: str | os.PathLike[str] | None = None,
) -> Path:
    """Write a clip as ``.mp4`` or ``.gif`` and return its path.

    An MP4 is H.264 in yuv420p with its index in front, what every browser plays, and is encoded
    while the frames come: memory does not grow with length. It counts colour, and so its size, in
    blocks of 2 x 2: of an odd size, the last row or column is there twice, which the file says, so
    that `read` cuts it off again.

    A GIF has one palette of 256 colours for all frames, so that what stands still does not
    shimmer, and is dithered; its frames are held in memory, a byte a value. Its delays are whole
    1/100 s, rounded such that no frame comes more than 0.005 s early or late. Frames that repeat
    are stored as one that stays longer.

    An old file stays as it was until the new one is whole. Until then that is ``NAME.partial.mp4``
    (``.partial-2`` where there is such a file), which plays up to its last second or two also after
    a crash. When the frames' generator fails, or Ctrl-C is pressed, it is finished and stays, and
    the error has a note of where. That the target can be written is found out before the first
    frame is asked for.

    Args:
        path: where to; the suffix says what.
        frames: images (1, 3, H, W) or batches (N, 3, H, W) in [0, 1], one tensor of them all, or
            the frames of a clip that was read.
        rate: frames a second, kept exactly: 0.01 to 1000, for a GIF to 50. 29.97, 23.976 and their
            like are short for 30000/1001, 24000/1001 ... None: frames that were read keep their own
            times, exact where their rate divides 120000 or is such a number over 1.001, else to
            4 us; tensors get 25.
        crf: of an MP4, how much may be lost, from 1 (least) to 51; 18 is hard to see, and each 6
            more about halve the file.
        loop: of a GIF, whether it starts again for ever. An MP4's player decides, see `display`.
        audio: of an MP4, a file whose sound the clip gets. AAC, MP3, Opus and FLAC, what browsers
            play in an MP4, are copied sample by sample, others encoded to AAC. It begins with the
            file's own frames, moved by the first frame's time, and is cut where the frames end
            before they do. A file without sound gives none.

    Raises:
        VideoError: there are no frames, one is of another size than the first, the file cannot be
            written, ``audio`` cannot be read, or PyAV is missing, which an MP4 needs.
        ValueError, TypeError: an argument or a frame is not of this form.

    Example:
        >>> import tempfile, torch
        >>> shades = (torch.full((1, 3, 32, 48), i / 10) for i in range(10))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write(f"{folder}/shades.mp4", shades, rate=29.97).read_bytes()[4:8]
        b'ftyp'
    """
    path = clip_path(path)
    suffix = path.suffix.lower()
    exact = None if rate is None else _exact(rate, FASTEST[suffix])
    if isinstance(crf, bool) or not isinstance(crf, int):
        raise TypeError(f"crf is {crf!r}; it takes a whole number")
    if not 1 <= crf <= 51:  # 0 would be lossless, by a profile that browsers do not play
        raise ValueError(f"crf is {crf}; it must lie in [1, 51]")
    if suffix == ".gif" and audio is not None:
        raise ValueError(f"audio is {str(audio)!r}, but '{path}' is a GIF, which holds no sound")
    if suffix == ".mp4":
        mp4.check_av(path)
    with _kept(path) as partial:
        shown = _shown(path, frames, exact)
        with sound_of(audio) as sound:
            if suffix == ".gif":
                gif.encode(path, partial, shown, loop)
            else:
                tick = 1 / exact if exact else _TICK
                count = mp4.encode(path, partial, shown, tick, crf, sound)
        with told(path), replaced(path) as unfinished:
            if suffix == ".gif":
                shutil.copyfile(partial, unfinished)
            else:
                mp4.remux(partial, unfinished, count)
    return path


def clip_path(path: str | os.PathLike[str]) -> Path:
    """Return a path given as either of its types, if it is that of a clip that can be written."""
    path = as_path(path)
    if path.suffix.lower() not in FASTEST:
        raise ValueError(f"path is '{path}'; its suffix must be one of {', '.join(FASTEST)}")
    return path


def _exact(rate: float | Fraction, fastest: int) -> Fraction:
    """Return the rate as the fraction that is meant: 29.97 is 30000/1001.

    Colour television slowed its 30 frames a second by 1000/1001; cameras still do, and round it.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, float, Fraction)):
        raise TypeError(f"rate is {rate!r}; it takes a number of frames a second")
    if not _SLOWEST <= rate <= fastest:  # NaN fails both comparisons, so it is refused too
        raise ValueError(f"rate is {rate}; it must lie in [{_SLOWEST}, {fastest}]")
    slowed = Fraction(1000 * round(rate * Fraction(1001, 1000)), 1001)
    is_rounded = rate in (round(float(slowed), 2), round(float(slowed), 3))
    if is_rounded and rate != round(rate):  # 4 is 4, though 4000/1001 rounds to it
        return slowed
    return Fraction(rate).limit_denominator(1001)


@contextmanager
def _kept(path: Path) -> Iterator[Path]:
    """Give a visible name to write to; after a failure the file stays there, if it plays."""
    with told(path):
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        partial = _reserved(path)
    try:
        yield partial
    except BaseException as error:
        if _plays(partial):
            error.add_note(f"What came of '{path}' until then is in '{partial}'")
        else:
            partial.unlink(missing_ok=True)
        raise
    partial.unlink(missing_ok=True)


def _reserved(path: Path) -> Path:
    """Make an empty file beside ``path``, under a name that is nobody's."""
    count = 1
    while True:
        number = f"-{count}" if count > 1 else ""
        partial = path.with_name(f"{path.stem}.partial{number}{path.suffix}")
        try:
            partial.open("xb").close()
        except FileExistsError:
            count += 1
        else:
            return partial


def _plays(partial: Path) -> bool:
    """Say whether a file that was not finished holds frames."""
    if partial.suffix.lower() == ".gif":  # as it holds all or nothing, its end tells
        return partial.read_bytes().endswith(b";")
    try:
        return len(read(partial)) > 0
    except VideoError:
        return False


def _shown(path: Path, frames: Iterable[Tensor | Frame], rate: Fraction | None) -> Iterator[Shown]:
    """Give the frames one by one as 8-bit pictures with their times, or say which is wrong."""
    shape: tuple[int, ...] | None = None
    for index, frame in enumerate(_timed(path, frames, rate)):
        picture = to_uint8(frame.image)
        shape = shape or picture.shape
        if picture.shape != shape:
            raise VideoError(
                f"'{path}' cannot be written: frame {index} has {_size(picture.shape)} pixels, "
                f"the frames before it {_size(shape)}"
            )
        yield Shown(picture, frame.time, frame.duration)
    if shape is None:
        raise VideoError(f"'{path}' cannot be written: there are no frames")


def _timed(path: Path, frames: Iterable[Tensor | Frame], rate: Fraction | None) -> Iterator[Frame]:
    """Give the images one by one with their times: those they bring, or at a rate."""
    rate_of_tensors = rate or _RATE
    index = 0
    end: Fraction | None = None  # of the last that brought its own time
    for given in [frames] if isinstance(frames, Tensor) else frames:
        if isinstance(given, Frame):
            check_image(f"frame {index} of '{path}'", given.image)
            images, brings = given.image, rate is None
        else:
            check_image(f"frame {index} of '{path}'", given, batch=True)
            images, brings = given, False
        if index and brings != (end is not None):
            raise TypeError(
                f"frame {index} of '{path}' is a {type(given).__name__}, those before it are not: "
                "only some bring their own times, so pass a rate"
            )
        if isinstance(given, Frame) and brings:
            _check_times(index, path, given, end)
            end = given.time + given.duration
            yield given
            index += 1
            continue
        for i in range(len(images)):
            yield Frame(images[i : i + 1], index / rate_of_tensors, 1 / rate_of_tensors)
            index += 1


def _check_times(index: int, path: Path, frame: Frame, end: Fraction | None) -> None:
    """Raise ValueError unless a frame comes after those before it, and stays long enough."""
    shortest = max(_TICK, Fraction(1, FASTEST[path.suffix.lower()]))
    if frame.duration < shortest:
        raise ValueError(
            f"frame {index} of '{path}' is shown for {float(frame.duration):.4g} s; it must be at "
            f"least {float(shortest):.4g} s: pass a rate to give all frames the same time"
        )
    if end is not None and frame.time < end - shortest / 2:
        raise ValueError(
            f"frame {index} of '{path}' is shown at {float(frame.time):.6g} s, but the frame before "
            f"it until {float(end):.6g} s: pass a rate to give all frames the same time"
        )


def _size(shape: tuple[int, ...]) -> str:
    """Return a picture's width and height as messages say them."""
    return f"{shape[1]} x {shape[0]}"
