"""How much a server takes at once, and at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from nstlib.config import Range, check_fields

FILES = 2  # that a request may hold: a photo, and a style picture


@dataclass(frozen=True)
class Settings:
    """The limits of a server: what goes over one is refused with a sentence that says so.

    What it holds stays below about ``(uploads + places) * max_bytes`` on disk, where files go that are
    over a megabyte, and in memory ``(uploads + places) * 2`` megabytes of smaller ones,
    ``places * max_painted * 12`` bytes of photos that wait, ``kept_bytes`` of pictures that may be
    asked for again, ``max_painted * 300`` of what the model saw of the last four, what decoding two
    pictures of ``max_pixels`` takes, and painting ``batch`` of ``max_painted``.

    Raises:
        ValueError, TypeError: a limit is out of its range, no number, or not whole.

    Example:
        >>> Settings(places=4).places
        4
        >>> Settings(places=0)
        Traceback (most recent call last):
        ...
        ValueError: places is 0; it must lie in [1, 1000]
    """

    max_bytes: Annotated[int, Range(1_000, 1e9, "bytes of a request")] = 20_000_000
    max_pixels: Annotated[int, Range(256, 1e8, "pixels of an uploaded picture")] = 24_000_000
    max_painted: Annotated[int, Range(256, 4e6, "pixels of a painted picture")] = 2_500_000
    max_styles: Annotated[int, Range(1, 100, "styles of one picture")] = 8
    places: Annotated[int, Range(1, 1000, "requests that are worked on or wait")] = 32
    uploads: Annotated[int, Range(1, 1000, "requests that are being received")] = 64
    upload_seconds: Annotated[float, Range(0.1, 3600, "seconds in which one is to arrive")] = 30
    decode_seconds: Annotated[float, Range(0.1, 600, "seconds in which a file is to be read")] = 10
    batch: Annotated[int, Range(1, 64, "pictures of equal size that are painted together")] = 4
    kept_bytes: Annotated[int, Range(0, 1e11, "bytes of pictures kept for the next request")] = (
        256_000_000
    )
    style_size: Annotated[
        int, Range(32, 2048, "shorter side in pixels that styles are seen at")
    ] = 512

    def __post_init__(self) -> None:
        check_fields(self)
