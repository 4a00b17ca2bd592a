"""Pictures for the page of a notebook: one, or several side by side under their titles."""

from __future__ import annotations

import base64
import io
import itertools
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from nstlib.decoding import Array, reason
from nstlib.errors import ImageError
from nstlib.files import replaced
from nstlib.images import WRITABLE, as_path, positive, resize, to_uint8

if TYPE_CHECKING:
    from matplotlib.text import Text

_GAP = 12  # pixels between pictures
_LINE = 17  # pixels a line of a title takes
_FONT = 13  # pixels, the size of its letters
# A figure is measured in inches and its letters in points of 1/72 inch: at 72 pixels an inch a point
# is a pixel, and sizes come back whole (at 100, 402 pixels would come back as 401).
_DPI = 72


@dataclass(frozen=True)
class Picture:
    """A finished picture that a notebook displays, with words for those who cannot see it.

    It is the bytes of a file and no open figure: any front end shows it, and nothing stays behind.
    The words are display metadata, as nbconvert reads them, and the text that stands in for the
    picture where none can be shown.
    """

    data: bytes  # a JPEG file
    alt: str
    width: int  # pixels
    height: int  # pixels

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture as it is to a file that ends in ``.jpg``.

        Raises:
            ValueError: another ending.
            ImageError: the file cannot be written.
        """
        path = as_path(path)
        if WRITABLE.get(path.suffix.lower()) != "JPEG":
            raise ValueError(f"path is '{path}'; a picture for display is saved as .jpg")
        try:
            with replaced(path) as unfinished:
                unfinished.write_bytes(self.data)
        except OSError as error:
            raise ImageError(f"'{path}' cannot be written: {reason(error)}") from error
        return path

    def __repr__(self) -> str:
        return f"<picture, {self.width} x {self.height}: {self.alt}>"

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
        """Return what IPython asks for: the picture by type, and its metadata by type."""
        data = base64.b64encode(self.data).decode("ascii")
        return {"image/jpeg": data, "text/plain": repr(self)}, {"image/jpeg": {"alt": self.alt}}


def show(image: Tensor, title: str | None = None, alt: str | None = None) -> Picture:
    """Return one image (1, 3, H, W) for display, pixel for pixel, under its title.

    As the last line of a cell it is shown; elsewhere in a cell, hand it to ``display``.

    Example:
        >>> from nstlib.images import sample
        >>> show(sample("coffee", 64), "A coffee")
        <picture, 120 x 105: A coffee>
    """
    titles = None if title is None else [title]
    return compare([image], titles, alt=alt, height=image.shape[-2])


def compare(
    images: Sequence[Tensor],
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    alt: str | None = None,
    height: int | None = None,
) -> Picture:
    """Return images side by side for display: all of one height, each under its title.

    Args:
        images: one or more, each (1, 3, H, W); their widths keep their aspects.
        titles: one for each image; Matplotlib's ``$...$`` formulas are set.
        columns: images in a row; None puts all in one row.
        alt: what the picture shows, in words, for those who cannot see it; None joins the titles.
        height: of every image, in pixels; None is that of the tallest, at most 320.

    Raises:
        ValueError, TypeError: an argument is not of this form.

    Example:
        >>> from nstlib.images import sample
        >>> compare([sample("coffee", 64), sample("brick", 64)], ["Content", "Style"])
        <picture, 196 x 105: Content; Style>
    """
    images, titles = _checked(images, titles)
    columns = len(images) if columns is None else positive("columns", columns)
    tallest = max(image.shape[-2] for image in images)
    height = min(tallest, 320) if height is None else positive("height", height)
    pictures = [to_uint8(resize(image, _at_height(image, height))) for image in images]
    untitled = "an image" if len(images) == 1 else f"{len(images)} images"
    said = alt or "; ".join(filter(None, titles)) or untitled
    drawn, width, total = _drawn(pictures, titles, columns)
    return Picture(drawn, " ".join(said.split()), width, total)


def _checked(
    images: Sequence[Tensor], titles: Sequence[str] | None
) -> tuple[list[Tensor], list[str]]:
    """Return images and titles as lists of one length, or say what is wrong with them."""
    if isinstance(images, Tensor) or isinstance(titles, str):
        raise TypeError("images and titles take lists, one entry for each picture")
    images = list(images)
    titles = [""] * len(images) if titles is None else [str(title) for title in titles]
    if not images:
        raise ValueError("images is empty; it takes at least one image")
    if len(titles) != len(images):
        raise ValueError(f"titles has {len(titles)} entries for {len(images)} images")
    for image in images:
        to_uint8(image)
    return images, titles


def _at_height(image: Tensor, height: int) -> tuple[int, int]:
    """Return the (H, W) of a given height, at the image's aspect."""
    return height, max(1, round(image.shape[-1] * height / image.shape[-2]))


def _drawn(pictures: list[Array], titles: list[str], columns: int) -> tuple[bytes, int, int]:
    """Draw pictures of one height in rows; return a JPEG file, its width and its height."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot, which would keep the figure

    figure = Figure(dpi=_DPI, facecolor="white")  # white: readable on dark pages and on light ones
    canvas = FigureCanvasAgg(figure)

    def write(line: str, x: float = 0, y: float = 0) -> Text:
        return figure.text(x, y, line, fontsize=_FONT, color="black", ha="center")

    def measure(line: str) -> int:
        text = write(line)
        width = math.ceil(text.get_window_extent().width)
        text.remove()
        return width

    # Where the columns and rows begin; the last of each is where the whole ends.
    height = pictures[0].shape[0]
    needed = [
        max([picture.shape[1], *map(measure, _words(title))])  # a long word widens its column
        for picture, title in zip(pictures, titles, strict=True)
    ]
    widths = [max(needed[column::columns]) for column in range(min(columns, len(needed)))]
    lefts = list(itertools.accumulate((width + _GAP for width in widths), initial=_GAP))
    lines = [_wrapped(title, widths[i % columns], measure) for i, title in enumerate(titles)]
    heads = [max(map(len, row)) * _LINE for row in _in_rows(lines, columns)]
    tops = list(itertools.accumulate((head + height + _GAP for head in heads), initial=_GAP))

    figure.set_size_inches(lefts[-1] / _DPI, tops[-1] / _DPI)
    for i, picture in enumerate(pictures):
        row, column = divmod(i, columns)
        bottom = tops[-1] - (tops[row] + heads[row] + height)  # a figure counts upwards
        middle = lefts[column] + widths[column] // 2
        figure.figimage(picture, middle - picture.shape[1] // 2, bottom, origin="upper")
        for above, line in enumerate(reversed(lines[i])):
            baseline = bottom + height + 5 + above * _LINE
            write(line, middle / lefts[-1], baseline / tops[-1])
    buffer = io.BytesIO()
    options = {"quality": 88, "subsampling": 0}  # 0: else the letters' edges blur
    canvas.print_jpg(buffer, pil_kwargs=options)  # type: ignore[no-untyped-call]
    return buffer.getvalue(), lefts[-1], tops[-1]


def _words(title: str) -> list[str]:
    """Split a title at its spaces; a formula ``$...$`` is one word, spaces and all."""
    return re.findall(r"(?:\$[^$]*\$|\S)+", title)


def _wrapped(title: str, width: int, measure: Callable[[str], int]) -> list[str]:
    """Break a title into lines that are no wider than ``width``, where its words allow it."""
    lines: list[str] = []
    for word in _words(title):
        if lines and measure(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _in_rows(lines: list[list[str]], columns: int) -> list[list[list[str]]]:
    """Cut a list into rows of ``columns``; the last may be shorter."""
    return [lines[start : start + columns] for start in range(0, len(lines), columns)]
