"""What the Triton kernels share: where a pixel lies in memory, and how work is cut into tiles.

A map (N, C, H, W) may lie in memory in any order: channels first, channels last, a slice of a
larger map, one image repeated. The kernels take the four strides as they are, so that nothing is
copied to suit them. A program works on a tile of pixels × channels: long in pixels where these lie
side by side, wide in channels where those do.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call"

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from nstlib.kernels.backend import Kernel, tl

PROGRAMS = 1024  # some eight for each processor of a large GPU: enough that none stands idle
# Elements of a tile, 8 for each of 256 threads: two loads of 16 bytes in float32, one in float16,
# and few enough registers (an address takes two) that many programs share a processor.
TILE = 2048

WHOLE_TILE = 16384  # of a tile that holds whole planes: 32 for each of 512 threads


@Kernel
def offset_of(n, c, p, width, stride_n, stride_c, stride_h, stride_w, FLAT: tl.constexpr):
    """Return where pixel ``p`` of channel ``c`` of image ``n`` lies.

    In int64 before anything meets a stride: nine images of 64 channels at 2048² are more than 2³¹
    elements. Row and column are found in 32 bits, where a division is far cheaper.
    ``FLAT`` says that a row begins where the one before it ends.
    """
    if FLAT:
        place = tl.cast(p, tl.int64) * stride_w
    else:
        row = p // width
        column = p - row * width
        place = tl.cast(row, tl.int64) * stride_h + tl.cast(column, tl.int64) * stride_w
    return tl.cast(n, tl.int64) * stride_n + tl.cast(c, tl.int64) * stride_c + place


class Strides(NamedTuple):
    """How many elements lie between neighbours along each axis, and whether rows join."""

    n: int
    c: int
    h: int
    w: int
    flat: bool


def strides_of(maps: Tensor) -> Strides:
    """Return the strides of (N, C, H, W) as :func:`offset_of` takes them."""
    n, c, h, w = maps.stride()
    height, width = maps.shape[2:]
    if width == 1:  # then pixel p is row p
        return Strides(n, c, h, h, True)
    return Strides(n, c, h, w, height == 1 or h == width * w)


class Tiles(NamedTuple):
    """How maps are cut: pixels and channels of a tile, and the number of warps to work on it."""

    pixels: int
    channels: int
    warps: int

    @property
    def options(self) -> dict[str, int]:
        """As keywords of a launch."""
        return {"BLOCK_P": self.pixels, "BLOCK_C": self.channels, "num_warps": self.warps}


def tiles_for(maps: Tensor, elements: int = TILE, each: int = 8) -> Tiles:
    """Cut (N, C, H, W) so that neighbouring threads read neighbouring elements, ``each`` so many."""
    pixels, channels = power_of_two(maps.shape[2] * maps.shape[3]), maps.shape[1]
    wide = 1
    if channels > 1 and maps.stride(1) == 1:
        wide = min(power_of_two(channels), 64)  # 64 floats are two lines of the cache
    tall = min(pixels, max(1, elements // wide))
    return Tiles(tall, wide, _warps(tall * wide, each))


def whole_tiles_for(maps: Tensor) -> Tiles | None:
    """Cut (N, C, H, W) into tiles that hold whole planes, or return None where these are too large."""
    pixels, wide = maps.shape[2] * maps.shape[3], tiles_for(maps).channels
    tall = power_of_two(pixels)
    while True:
        # Where rows do not join, or a tile is not filled, addresses and masks take registers, too.
        even = strides_of(maps).flat and pixels % 16 == 0 and maps.shape[1] % wide == 0
        if wide * tall <= (WHOLE_TILE if even else WHOLE_TILE // 2):
            return Tiles(tall, wide, _warps(tall * wide, 8))
        if wide <= 16:
            return None
        wide //= 2  # channels side by side can share the room: down to 16, half a line of the cache


def _warps(elements: int, each: int) -> int:
    return min(16, max(1, elements // (32 * each)))


def power_of_two(number: int) -> int:
    """Return the least power of two that is not below ``number``.

    Example:
        >>> [power_of_two(number) for number in (1, 3, 64, 65)]
        [1, 4, 64, 128]
    """
    return 1 << (number - 1).bit_length()


def parts_of(pixels: int, block: int, others: int, least: int = 4) -> tuple[int, int]:
    """Cut a plane's pixels into parts, each a program's: return how many, and pixels in each.

    ``others`` programs are there already, one a plane; together they should be about ``PROGRAMS``.
    A part is ``least`` tiles at least, of ``block`` pixels each: shorter ones only start and end.

    Example:
        >>> parts_of(1024 * 1024, 4096, others=512), parts_of(1000, 1024, others=512)
        ((2, 524288), (1, 1024))
    """
    tiles = -(-pixels // block)
    parts = max(1, min(PROGRAMS // max(1, others), tiles // least))
    chunk = -(-tiles // parts) * block
    return -(-pixels // chunk), chunk
