"""A finished clip in the page of a notebook."""

from __future__ import annotations

import base64
import html
import os
from dataclasses import dataclass
from typing import Any

from nstlib.errors import VideoError
from nstlib.video.opening import check_side
from nstlib.video.writing import clip_path


@dataclass(frozen=True)
class Clip:
    """A finished clip that a notebook plays, with words for those who cannot see it.

    The page holds the file's bytes, so that it plays where there is no kernel and no file.
    """

    data: bytes  # an MP4 or GIF file
    alt: str
    width: int | None  # pixels in the page; None is the clip's own width

    def __repr__(self) -> str:
        return f"<clip, {len(self.data) / 1000:.0f} kB: {self.alt}>"

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        """Return what IPython asks for: the page's element, and its stand-in in words."""
        return {"text/html": self._html(), "text/plain": repr(self)}, {}

    def _html(self) -> str:
        data = base64.b64encode(self.data).decode("ascii")
        alt = html.escape(self.alt)
        look = 'style="max-width: 100%"' + (f' width="{self.width}"' if self.width else "")
        if self.data.startswith(b"GIF"):
            return f'<img {look} alt="{alt}" src="data:image/gif;base64,{data}">'
        # A browser starts a clip by itself only without sound, and a phone in its page only so.
        return (
            f'<video {look} aria-label="{alt}" controls loop autoplay muted playsinline '
            f'src="data:video/mp4;base64,{data}">{alt}</video>'
        )


def display(path: str | os.PathLike[str], width: int | None = None, alt: str | None = None) -> Clip:
    """Return a clip for display: as the last line of a cell it plays in the page, over and over.

    The notebook grows by 4/3 of the file, so this is for short clips.

    Args:
        path: an ``.mp4`` or ``.gif``.
        width: in the page, in pixels; None is the clip's own. No clip is wider than the page.
        alt: what the clip shows, in words, for those who cannot see it; None is the file's name.

    Raises:
        VideoError: the file cannot be read.
        ValueError, TypeError: another suffix, or a width that is no number of pixels.

    Example:
        >>> import tempfile, torch
        >>> from nstlib.video import write
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write(f"{folder}/noise.gif", torch.rand(4, 3, 16, 16))
        ...     display(path, alt="Noise")
        <clip, 4 kB: Noise>
    """
    path = clip_path(path)
    check_side("width", width)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VideoError(f"'{path}' cannot be read: {error.strerror}") from error
    return Clip(data, path.stem if alt is None else " ".join(alt.split()), width)
