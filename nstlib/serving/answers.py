"""A picture in the kind that a client accepts."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Mapping
from typing import Final

from fastapi import Response
from fastapi.responses import JSONResponse
from torch import Tensor

from nstlib.images import to_jpeg_bytes, to_png_bytes, to_webp_bytes
from nstlib.serving.problems import Problem

JSON: Final = "application/json"
ENCODERS: Mapping[str, Callable[[Tensor], bytes]] = {
    "image/png": to_png_bytes,
    "image/jpeg": functools.partial(to_jpeg_bytes, quality=92),
    "image/webp": functools.partial(to_webp_bytes, quality=92),
}
KINDS = (*ENCODERS, JSON)  # the first is for those who take anything


def accepted(header: str | None) -> str:
    """Return the kind of answer that an ``Accept`` header prefers; of equals, the first of `KINDS`.

    A kind's share is that of the range that names it most closely (RFC 9110, 12.5.1).

    Raises:
        Problem: it accepts none of them.

    Example:
        >>> accepted("image/*, application/json;q=0.5"), accepted("image/jpeg, */*;q=0.1"), accepted("")
        ('image/png', 'image/jpeg', 'image/png')
    """
    ranges = dict(map(_range, (header or "*/*").split(",")))
    shares = {kind: _share(kind, ranges) for kind in KINDS}
    best = max(KINDS, key=shares.__getitem__)
    if shares[best] <= 0:
        raise Problem(406, f"Accept takes none of {', '.join(KINDS)}")
    return best


def _range(text: str) -> tuple[str, float]:
    """Return a media range and its share; what cannot be read as a share counts as 1."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, float(value)
            except ValueError:
                break
    return name, 1.0


def _share(kind: str, ranges: Mapping[str, float]) -> float:
    for name in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        if name in ranges:
            return ranges[name]
    return 0.0


def answer(picture: Tensor, kind: str) -> Response:
    """Return a picture (1, 3, H, W) as an answer of one of `KINDS`."""
    if kind != JSON:
        return Response(ENCODERS[kind](picture), media_type=kind)
    height, width = picture.shape[2:]
    data = base64.b64encode(to_png_bytes(picture)).decode()
    content = {"image": data, "media_type": "image/png", "width": width, "height": height}
    return JSONResponse(content)
