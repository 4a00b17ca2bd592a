"""How a player shows a decoded frame: colours, shape of the pixels, which way is up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nstlib.images import resize

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Plane = npt.NDArray[np.uint8]  # (H, W)

_HD_ROWS = 720  # from so many on, a clip that names no matrix follows BT.709, else BT.601
_MATRICES = (1, 4, 5, 6, 7, 9)  # those that are computed, by their numbers in ITU-T H.273
_UPRIGHT = (1, 0, 0, 1)


@dataclass(frozen=True)
class Look:
    """What is done to each frame of a clip. Sizes are (width, height), before it is turned."""

    coded: tuple[int, int]  # as the decoder gives them
    true: tuple[int, int]  # without the row and column that make an odd size even
    square: tuple[int, int]  # with square pixels
    scaled: tuple[int, int]  # as they are given
    matrix: tuple[int, int, int, int]  # where it shows a pixel: x' = a x + c y, y' = b x + d y

    @property
    def shown(self) -> tuple[int, int]:
        """Return the (H, W) of the images."""
        width, height = self.scaled
        return (width, height) if self._is_turned else (height, width)

    @property
    def _is_turned(self) -> bool:
        """Say whether rows become columns."""
        a, b, _, _ = self.matrix
        return abs(b) > abs(a)

    def image(self, frame: VideoFrame) -> Tensor:
        """Return a decoded frame as an image (1, 3, H, W)."""
        if self.true == self.coded:  # all is done in one pass
            return self._joined(_planes(frame, *self.scaled))
        width, height = self.true
        whole = self._joined([p[:height, :width] for p in _planes(frame, *self.coded)])
        return resize(whole, self.shown)

    def _joined(self, planes: list[Plane]) -> Tensor:
        """Return red, green, blue (and alpha) as an image: over white, turned upright."""
        planes = [self._turned(plane) for plane in planes]
        image = np.empty((1, 3, *planes[0].shape), np.float32)
        for channel in range(3):
            np.divide(planes[channel], np.float32(255), out=image[0, channel])
        if len(planes) == 4:
            alpha = planes[3] / np.float32(255)
            image = alpha * image + (1 - alpha)
        return torch.from_numpy(image)

    def _turned(self, plane: Plane) -> Plane:
        """Return a view of a plane as the matrix shows it."""
        a, b, c, d = self.matrix
        if self._is_turned:
            plane, along_rows, along_columns = plane.T, b, c
        else:
            along_rows, along_columns = d, a
        return plane[:: -1 if along_rows < 0 else 1, :: -1 if along_columns < 0 else 1]


def look_of(
    container: InputContainer, stream: VideoStream, frame: VideoFrame, size: int | None
) -> Look:
    """Return how the frames of a clip are shown, from its header and its first frame."""
    coded = frame.width, frame.height
    true = _true_size(container.metadata, coded)
    square = _square(true, stream.sample_aspect_ratio or Fraction(1))
    factor = min(Fraction(1), Fraction(size or min(square), min(square)))
    scaled = max(1, round(square[0] * factor)), max(1, round(square[1] * factor))
    return Look(coded, true, square, scaled, _matrix(frame))


def _square(size: tuple[int, int], aspect: Fraction) -> tuple[int, int]:
    """Return the size in square pixels: as players do it, the side grows that is too short."""
    width, height = size
    if aspect > 1:
        return round(width * aspect), height
    return width, round(height / aspect) if aspect > 0 else height


def size_note(width: int, height: int) -> str:
    """Return the comment in a file that its frames of odd size were padded to even ones."""
    return f"nstlib: {width} x {height} pixels, padded to even numbers"


def _true_size(metadata: Mapping[str, str], coded: tuple[int, int]) -> tuple[int, int]:
    """Return the frames' size that `size_note` tells of, if it does."""
    comment = metadata.get("comment", metadata.get("COMMENT", ""))
    found = re.search(r"nstlib: (\d+) x (\d+) pixels", comment)
    if not found:
        return coded
    width, height = int(found[1]), int(found[2])
    # Another program may have scaled the frames since, and kept the comment.
    return (width, height) if (width + width % 2, height + height % 2) == coded else coded


def _matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Return a frame's display matrix without its shifts (ISO/IEC 14496-12, 8.3.2)."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return _UPRIGHT
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].tolist()
    return a, b, c, d


def _planes(frame: VideoFrame, width: int, height: int) -> list[Plane]:
    """Return a frame's red, green and blue (H, W), and alpha where there is one, at a size."""
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    has_alpha = any(component.is_alpha for component in frame.format.components)
    is_unnamed = frame.colorspace not in _MATRICES
    matrix = Colorspace.ITU709 if frame.height >= _HD_ROWS else Colorspace.SMPTE170M
    converted = frame.reformat(
        width=width,
        height=height,
        format="gbrap" if has_alpha else "gbrp",  # in planes: faster than interleaved by half
        src_colorspace=matrix if is_unnamed and not frame.format.is_rgb else None,
        dst_color_range=ColorRange.JPEG,
        # The triangle of `images.resize`; each pixel has a colour of its own; exact to a level.
        interpolation=Interpolation.BILINEAR
        | Interpolation.FULL_CHR_H_INT
        | Interpolation.ACCURATE_RND,
        threads=1,
    )
    green, blue, red, *alpha = (
        np.frombuffer(memoryview(plane), np.uint8).reshape(height, plane.line_size)[:, :width]
        for plane in converted.planes
    )
    return [red, green, blue, *alpha]
