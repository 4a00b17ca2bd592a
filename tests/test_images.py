"""Every picture file loads as a viewer shows it, or says in one sentence what is wrong with it."""

from __future__ import annotations

import io
import json
import os
import re
import struct
import types
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pillow_heif
import pytest
import torch
from PIL import Image, ImageFile

import nstlib
from nstlib import ImageError, images
from nstlib.errors import TooManyPixelsError
from nstlib.images import (
    at_size,
    load_image,
    read_recipe,
    resize,
    sample,
    save_image,
)

pillow_heif.register_heif_opener()

Array = npt.NDArray[Any]

# ------------------------------------------------------------------------------ the picture itself

# Six flat squares of 8 x 8, the blocks of JPEG: lossy formats keep them within a few levels, and no
# turn or mirroring brings the picture back onto itself.
COLOURS = np.array(
    [
        [[230, 30, 40], [40, 200, 60], [20, 60, 220]],
        [[250, 240, 30], [128, 128, 128], [5, 10, 15]],
    ],
    dtype=np.uint8,
)
PHOTO = COLOURS.repeat(8, axis=0).repeat(8, axis=1)  # (16, 24, 3)
GREY = PHOTO[..., 0]  # (16, 24), six levels
ALPHA = np.array([[255, 0, 128], [64, 255, 200]], dtype=np.uint8).repeat(8, 0).repeat(8, 1)


def rgb(values: Array) -> Array:
    """Return 8-bit RGB or grey values as float64 RGB (H, W, 3) in [0, 1]."""
    colour = values if values.ndim == 3 else np.stack([values] * 3, axis=-1)
    return colour.astype(np.float64) / 255


def over(values: Array, alpha: Array, background: tuple[int, int, int] = (255, 255, 255)) -> Array:
    """Return float64 RGB of 8-bit values with 8-bit alpha over a background."""
    share = alpha[..., None] / 255
    return share * rgb(values) + (1 - share) * np.array(background) / 255


def pixels(image: torch.Tensor) -> Array:
    """Return an image (1, 3, H, W) as float64 (H, W, 3)."""
    assert image.shape[:2] == (1, 3)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    assert 0 <= float(image.min()) <= float(image.max()) <= 1
    return image[0].permute(1, 2, 0).double().numpy()


def file_of(picture: Image.Image | Array, kind: str, **options: Any) -> bytes:
    """Return the bytes of a picture file."""
    buffer = io.BytesIO()
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


# ------------------------------------------------------------------------- files written by hand


def png(values: Array, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file of uint8 or big-endian uint16 values, with more chunks before the pixels."""
    depth = 8 * values.dtype.itemsize
    rows = b"".join(b"\0" + row.tobytes() for row in values.astype(values.dtype.newbyteorder(">")))
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def tiff16(values: Array, order: str = "<", photometric: int = 1, bits: int = 16) -> bytes:
    """Return an uncompressed grey TIFF file of 12 (packed) or 16 bits."""
    if bits == 12:
        digits = "".join(f"{value:03x}" for value in values.ravel())
        data = bytes.fromhex(digits)
    else:
        data = values.astype(f"{order}u2").tobytes()
    height, width = values.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height,
            279: len(data)}  # fmt: skip
    offset = 8 + len(data)
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, v) for tag, v in tags.items())
    directory = struct.pack(f"{order}H", len(tags)) + entries + b"\0\0\0\0"
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HI", 42, offset) + data + directory


# --------------------------------------------------------- colour profiles, and the float64 oracle

SRGB_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
P3_PRIMARIES = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_PRIMARIES = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
D65 = np.array([0.3127 / 0.3290, 1, (1 - 0.3127 - 0.3290) / 0.3290])
D50 = np.array([0.9642, 1, 0.8249])
ADOBE_GAMMA = 563 / 256


def to_xyz(primaries: tuple[tuple[float, float], ...]) -> Array:
    """Return the matrix from linear RGB (white D65) to XYZ under D50, adapted after Bradford."""
    bradford = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    scale = np.diag((bradford @ D50) / (bradford @ D65))
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    return np.linalg.inv(bradford) @ scale @ bradford @ columns * np.linalg.solve(columns, D65)


def srgb_curve(light: Array) -> Array:
    """Return the sRGB values of linear light in [0, 1]."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def srgb_light(values: Array) -> Array:
    """Return the linear light of sRGB values in [0, 1]."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def seen(xyz: Array) -> Array:
    """Return what an sRGB screen shows of XYZ under D50 (H, W, 3)."""
    light = xyz @ np.linalg.inv(to_xyz(SRGB_PRIMARIES)).T
    return srgb_curve(light.clip(0, 1))


def fixed(*values: float) -> bytes:
    """Return numbers in a profile's fixed point: 16 bits before and 16 after the point."""
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


SRGB_CURVE = b"para\0\0\0\0\0\3\0\0" + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def gamma_curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def profile(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ") -> bytes:
    """Return the bytes of a colour profile of version 4 (2 where a table asks for it)."""
    named = b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", 8, 28) + b"\0t\0e\0s\0t"
    tags = {b"desc": named, b"cprt": named, b"wtpt": b"XYZ \0\0\0\0" + fixed(*D50)} | tags
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    kind = b"mntr" if space != b"CMYK" else b"scnr"
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"\0\0\0\0", 0x04300000, kind, space, pcs)
    head += struct.pack(">6H4s4sI", 2026, 1, 1, 0, 0, 0, b"acsp", b"\0\0\0\0", 0)
    head += b"\0" * 16 + struct.pack(">I", 1) + fixed(*D50)
    return head.ljust(128, b"\0") + table + body


def matrix_profile(
    primaries: tuple[tuple[float, float], ...], curve: bytes, white: Array = D50
) -> bytes:
    matrix = to_xyz(primaries)
    tags = {b"rgb"[i : i + 1] + b"XYZ": b"XYZ \0\0\0\0" + fixed(*matrix[:, i]) for i in range(3)}
    tags |= {b"wtpt": b"XYZ \0\0\0\0" + fixed(*white)}
    return profile(b"RGB ", tags | {name + b"TRC": curve for name in (b"r", b"g", b"b")})


P3 = matrix_profile(P3_PRIMARIES, SRGB_CURVE)
# As in the real one: a white that is not D50, which a viewer does not show as a blue tint.
ADOBE = matrix_profile(ADOBE_PRIMARIES, gamma_curve(ADOBE_GAMMA), white=D65)
WITHOUT_CURVES = profile(b"RGB ", {})  # a header, and no way to convert
GREY_LINEAR = profile(b"GRAY", {b"kTRC": gamma_curve(1.0)})

P3_SEEN = seen(srgb_light(rgb(PHOTO)) @ to_xyz(P3_PRIMARIES).T)
ADOBE_SEEN = seen(rgb(PHOTO) ** ADOBE_GAMMA @ to_xyz(ADOBE_PRIMARIES).T)


def lab_to_xyz(lab: Array) -> Array:
    """Return XYZ under D50 of CIE L*a*b* (..., 3)."""
    middle = (lab[..., 0] + 16) / 116
    f = np.stack([middle + lab[..., 1] / 500, middle, middle - lab[..., 2] / 200], axis=-1)
    return np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50


# A press whose inks are not the ideal ones: paper, four inks, and red of two.
INKS_LAB = np.array(
    [[[100, 0, 0], [60, -30, -40], [52, 60, 0]], [[85, -4, 70], [48, 50, 35], [0, 0, 0]]]
)
INKS = np.array(
    [
        [[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0]],
        [[0, 0, 255, 0], [0, 255, 255, 0], [0, 0, 0, 255]],
    ],
    dtype=np.uint8,
)


def press_profile() -> bytes:
    """Return a CMYK profile: a table of 2 x 2 x 2 x 2 colours, exact at its corners."""
    corners = np.zeros((2, 2, 2, 2, 3))
    for ink, lab in zip(INKS.reshape(6, 4) // 255, INKS_LAB.reshape(6, 3), strict=True):
        corners[tuple(ink)] = lab
    coded = np.stack(
        [corners[..., 0] * 255 / 100, corners[..., 1] + 128, corners[..., 2] + 128], axis=-1
    )
    line = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    table += line * 4 + coded.round().clip(0, 255).astype(np.uint8).tobytes() + line * 3
    return profile(b"CMYK", {b"A2B0": table}, pcs=b"Lab ")


CMYK = INKS.repeat(8, 0).repeat(8, 1)
CMYK[:8, :8] = (40, 80, 120, 60)  # a mixture
CMYK_SEEN = (1 - CMYK[..., :3] / 255) * (1 - CMYK[..., 3:] / 255)
PRESS = INKS.repeat(8, 0).repeat(8, 1)
PRESS_SEEN = seen(lab_to_xyz(INKS_LAB.astype(float))).repeat(8, 0).repeat(8, 1)

LAB = np.array(
    [[[100, 0, 0], [50, 30, -20], [30, -10, 10]], [[75, 5, 40], [60, -25, 0], [0, 0, 0]]]
)
LAB_BYTES = np.stack([(LAB[..., 0] * 2.55).round(), LAB[..., 1], LAB[..., 2]], -1)  # a, b: signed
LAB_BYTES = LAB_BYTES.astype(np.int64).astype(np.uint8).repeat(8, 0).repeat(8, 1)
LAB_SEEN = seen(lab_to_xyz(LAB.astype(float))).repeat(8, 0).repeat(8, 1)

# ------------------------------------------------------------------------- files that are pictures

INDEX = np.arange(6, dtype=np.uint8).reshape(2, 3).repeat(8, 0).repeat(8, 1)
PALETTE = Image.fromarray(INDEX).convert("L")
PALETTE.putpalette(COLOURS.ravel().tolist())
CLEAR = bytes([0, 255, 128, 255, 64, 255])  # alpha of each palette entry
DEEP = GREY.astype(np.uint16) * 257 - (GREY > 128) * np.uint16(90)  # 16 bits that 8 cannot say
DEEP_RGB = PHOTO.astype(np.uint16) * 257
BLACK_WHITE = GREY > 100
OTHER = Image.fromarray(255 - PHOTO)  # a second frame or page that must not be shown
LINEAR = srgb_curve(rgb(PHOTO))


def opaque_but(values: Array, clear: Array) -> Array:
    """Return 8-bit alpha (H, W): 0 where the values are those of ``clear``."""
    return 255 * np.not_equal(values, clear).any(axis=-1)


def heif(picture: Image.Image, **options: Any) -> bytes:
    return file_of(picture, "HEIF", quality=100, chroma=444, **options)


def with_frames(kind: str, **options: Any) -> bytes:
    return file_of(PHOTO, kind, save_all=True, append_images=[OTHER.copy()], **options)


def frames_gif() -> bytes:
    return file_of(PALETTE, "GIF", save_all=True, append_images=[OTHER.quantize(6)])


def lab_tiff() -> bytes:
    return file_of(Image.frombytes("LAB", (24, 16), LAB_BYTES.tobytes()), "TIFF")


def rgba(mode: str = "RGBA") -> Image.Image:
    return Image.fromarray(np.dstack([PHOTO, ALPHA]), "RGBA").convert(mode)


def premultiplied_tiff() -> bytes:
    values = np.dstack([(PHOTO * (ALPHA[..., None] / 255)).round().astype(np.uint8), ALPHA])
    straight = struct.pack("<HHIH", 338, 3, 1, 2)  # ExtraSamples: 2 is plain alpha, 1 premultiplied
    data = file_of(Image.fromarray(values), "TIFF")
    assert straight in data
    return data.replace(straight, struct.pack("<HHIH", 338, 3, 1, 1))


def cmyk(values: Array = CMYK) -> Image.Image:
    return Image.fromarray(values, "CMYK")


def ended_early() -> bytes:
    """Return a PNG file that lacks its end mark only: every pixel is there."""
    return png(PHOTO, 2)[:-12]


# Each line: what the file is, its bytes, what a viewer shows, and by how many of 255 levels lossy
# coding or 8-bit colour conversion may differ from the float64 values.
GOOD: list[tuple[str, Callable[[], bytes], Array, float]] = [
    ("jpeg", lambda: file_of(PHOTO, "JPEG", quality=95, subsampling=0), rgb(PHOTO), 3),
    ("jpeg-progressive", lambda: file_of(PHOTO, "JPEG", quality=95, subsampling=0, progressive=True),
     rgb(PHOTO), 3),
    ("jpeg-grey", lambda: file_of(GREY, "JPEG", quality=95), rgb(GREY), 2),
    ("jpeg-cmyk-adobe-inverted", lambda: file_of(cmyk(), "JPEG", quality=95), CMYK_SEEN, 3),
    ("jpeg-cmyk-with-press-profile",
     lambda: file_of(cmyk(PRESS), "JPEG", quality=100, icc_profile=press_profile()), PRESS_SEEN, 3),
    ("jpeg-adobe-rgb-profile",
     lambda: file_of(PHOTO, "JPEG", quality=100, subsampling=0, icc_profile=ADOBE), ADOBE_SEEN, 4),
    ("jpeg-multi-picture-phone", lambda: with_frames("MPO", quality=95, subsampling=0), rgb(PHOTO), 3),
    ("jpeg-with-more-behind-its-end",
     lambda: file_of(PHOTO, "JPEG", quality=95, subsampling=0) + b"a phone's own data" * 99,
     rgb(PHOTO), 3),
    ("png", lambda: png(PHOTO, 2), rgb(PHOTO), 0),
    ("png-without-its-end-mark", ended_early, rgb(PHOTO), 0),
    ("png-rgba-over-white", lambda: file_of(rgba(), "PNG"), over(PHOTO, ALPHA), 0),
    ("png-grey", lambda: png(GREY, 0), rgb(GREY), 0),
    ("png-grey-alpha", lambda: png(np.dstack([GREY, ALPHA]), 4), over(GREY, ALPHA), 0),
    ("png-palette", lambda: file_of(PALETTE, "PNG"), rgb(PHOTO), 0),
    ("png-palette-transparency", lambda: file_of(PALETTE, "PNG", transparency=CLEAR),
     over(PHOTO, np.frombuffer(CLEAR, np.uint8)[INDEX]), 0),
    ("png-transparent-colour", lambda: png(PHOTO, 2, (b"tRNS", struct.pack(">3H", *COLOURS[0, 1]))),
     over(PHOTO, opaque_but(PHOTO, COLOURS[0, 1])), 0),
    ("png-transparent-grey", lambda: png(GREY, 0, (b"tRNS", struct.pack(">H", GREY[0, 0]))),
     over(GREY, opaque_but(GREY[..., None], GREY[0, 0])), 0),
    ("png-1-bit", lambda: file_of(BLACK_WHITE, "PNG"), rgb(255 * BLACK_WHITE), 0),
    ("png-16-bit-grey", lambda: png(DEEP, 0), rgb(DEEP / 257), 0),
    ("png-16-bit-grey-transparent", lambda: png(DEEP, 0, (b"tRNS", struct.pack(">H", DEEP[0, 0]))),
     over(DEEP / 257, opaque_but(DEEP[..., None], DEEP[0, 0])), 0),
    ("png-16-bit-rgb", lambda: png(DEEP_RGB, 2), rgb(PHOTO), 0),
    ("png-16-bit-rgba", lambda: png(np.dstack([DEEP_RGB, ALPHA.astype(np.uint16) * 257]), 6),
     over(PHOTO, ALPHA), 0),
    ("png-display-p3-profile", lambda: file_of(PHOTO, "PNG", icc_profile=P3), P3_SEEN, 1),
    ("png-adobe-rgb-profile", lambda: file_of(PHOTO, "PNG", icc_profile=ADOBE), ADOBE_SEEN, 1),
    ("png-display-p3-profile-rgba", lambda: file_of(rgba(), "PNG", icc_profile=P3),
     over(P3_SEEN * 255, ALPHA), 1),
    ("png-display-p3-profile-palette", lambda: file_of(PALETTE, "PNG", icc_profile=P3), P3_SEEN, 1),
    ("png-linear-grey-profile", lambda: file_of(GREY, "PNG", icc_profile=GREY_LINEAR),
     rgb(srgb_curve(GREY / 255) * 255), 1),
    ("png-linear-grey-profile-alpha",
     lambda: file_of(rgba("LA"), "PNG", icc_profile=GREY_LINEAR),
     over(srgb_curve(np.asarray(rgba("LA"))[..., 0] / 255) * 255, ALPHA), 1),
    ("png-linear-grey-profile-16-bit",
     lambda: file_of(Image.fromarray(DEEP), "PNG", icc_profile=GREY_LINEAR),
     rgb(srgb_curve(DEEP / 65535) * 255), 1),
    ("png-damaged-profile-is-ignored", lambda: file_of(PHOTO, "PNG", icc_profile=P3[:200]),
     rgb(PHOTO), 0),
    ("png-profile-without-curves-is-ignored",
     lambda: file_of(PHOTO, "PNG", icc_profile=WITHOUT_CURVES), rgb(PHOTO), 0),
    ("png-profile-of-another-space-is-ignored",
     lambda: file_of(PHOTO, "PNG", icc_profile=press_profile()), rgb(PHOTO), 0),
    ("png-linear-gamma", lambda: png(PHOTO, 2, (b"gAMA", struct.pack(">I", 100_000))), LINEAR, 0),
    ("png-screen-gamma", lambda: png(PHOTO, 2, (b"gAMA", struct.pack(">I", 45_455))), rgb(PHOTO), 0),
    ("png-animated", lambda: with_frames("PNG"), rgb(PHOTO), 0),
    ("webp-lossy", lambda: file_of(Image.fromarray(GREY).convert("RGB"), "WEBP", quality=95),
     rgb(GREY), 3),
    ("webp-lossless-rgba", lambda: file_of(rgba(), "WEBP", lossless=True, exact=True),
     over(PHOTO, ALPHA), 0),
    ("webp-animated", lambda: with_frames("WEBP", lossless=True), rgb(PHOTO), 0),
    ("webp-display-p3-profile", lambda: file_of(PHOTO, "WEBP", lossless=True, icc_profile=P3),
     P3_SEEN, 1),
    ("gif", lambda: file_of(PALETTE, "GIF"), rgb(PHOTO), 0),
    ("gif-transparent", lambda: file_of(PALETTE, "GIF", transparency=2),
     over(PHOTO, 255 * (INDEX != 2)), 0),
    ("gif-animated", frames_gif, rgb(PHOTO), 0),
    ("tiff", lambda: file_of(PHOTO, "TIFF"), rgb(PHOTO), 0),
    ("tiff-lzw", lambda: file_of(PHOTO, "TIFF", compression="tiff_lzw"), rgb(PHOTO), 0),
    ("tiff-rgba", lambda: file_of(rgba(), "TIFF"), over(PHOTO, ALPHA), 0),
    ("tiff-premultiplied-alpha", premultiplied_tiff, over(PHOTO, ALPHA), 2),
    ("tiff-cmyk", lambda: file_of(cmyk(), "TIFF"), CMYK_SEEN, 1),
    ("tiff-lab", lab_tiff, LAB_SEEN, 2),
    ("tiff-fax-1-bit", lambda: file_of(BLACK_WHITE, "TIFF", compression="group4"),
     rgb(255 * BLACK_WHITE), 0),
    ("tiff-16-bit-grey", lambda: tiff16(DEEP), rgb(DEEP / 257), 0),
    ("tiff-16-bit-grey-big-endian", lambda: tiff16(DEEP, ">"), rgb(DEEP / 257), 0),
    ("tiff-16-bit-grey-white-is-zero", lambda: tiff16(DEEP, photometric=0),
     1 - rgb(DEEP / 257), 0),
    ("tiff-12-bit-grey", lambda: tiff16(DEEP // 16, bits=12), rgb((DEEP // 16) / 4095 * 255), 0),
    ("tiff-several-pages", lambda: with_frames("TIFF"), rgb(PHOTO), 0),
    ("heic", lambda: heif(Image.fromarray(PHOTO)), rgb(PHOTO), 6),
    ("heic-rgba", lambda: heif(rgba()), over(PHOTO, ALPHA), 6),
    ("heic-display-p3-profile", lambda: heif(Image.fromarray(PHOTO), icc_profile=P3), P3_SEEN, 6),
    ("avif", lambda: file_of(PHOTO, "AVIF", quality=100, subsampling="4:4:4"), rgb(PHOTO), 4),
    ("bmp", lambda: file_of(PHOTO, "BMP"), rgb(PHOTO), 0),
    ("one-pixel", lambda: png(PHOTO[:1, :1], 2), rgb(PHOTO[:1, :1]), 0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("build", "shown", "levels"), [line[1:] for line in GOOD], ids=[line[0] for line in GOOD]
)
def test_file_loads_as_a_viewer_shows_it(
    build: Callable[[], bytes], shown: Array, levels: float, tmp_path: Path
) -> None:
    path = tmp_path / "a photo, mine.picture"  # what a file is stands in it, not in its name
    path.write_bytes(build())
    loaded = pixels(load_image(path))
    assert loaded.shape == shown.shape
    assert np.abs(loaded - shown).max() <= (levels + 0.01) / 255


def test_the_profiles_change_what_is_seen() -> None:
    """Guard the table above: a loader that ignores profiles must fail it."""
    for shown in (P3_SEEN, ADOBE_SEEN):
        assert np.abs(shown - rgb(PHOTO)).max() > 0.1
    assert np.abs(PRESS_SEEN - (1 - PRESS[..., :3] / 255) * (1 - PRESS[..., 3:] / 255)).max() > 0.1


# Where EXIF says the first row and column of the file stand: what is seen, from what is stored.
TURNS: dict[int, Callable[[Array], Array]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "WEBP": {"lossless": True},
        "HEIF": {"quality": 100, "chroma": 444},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    }
    stored = exif if kind == "TIFF" else exif.tobytes()
    data = file_of(PHOTO, kind, exif=stored, **options.get(kind, {}))
    assert np.abs(pixels(load_image(data)) - TURNS[orientation](rgb(PHOTO))).max() < 6 / 255


# ------------------------------------------------------------------------- files that are not


def bomb_png() -> bytes:
    """Return a PNG file of 69 bytes that says it holds 60 000 x 60 000 pixels."""
    data = bytearray(png(PHOTO[:1, :1], 2))
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def bomb_tiff() -> bytes:
    """Return a TIFF file that says it holds 60 000 x 60 000 pixels."""
    data = tiff16(DEEP)
    for tag, side in ((256, 24), (257, 16)):
        entry = struct.pack("<HHI", tag, 4, 1)
        assert entry + struct.pack("<I", side) in data
        data = data.replace(entry + struct.pack("<I", side), entry + struct.pack("<I", 60_000))
    return data


def bomb_jpeg() -> bytes:
    """Return a JPEG file whose frame says 60 000 x 60 000 pixels."""
    data = bytearray(file_of(PHOTO, "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


def bomb_gif() -> bytes:
    """Return a GIF file whose screen says 60 000 x 60 000 pixels."""
    data = bytearray(file_of(PALETTE, "GIF"))
    data[6:10] = struct.pack("<HH", 60_000, 60_000)
    return bytes(data)


def bomb_webp() -> bytes:
    """Return a WebP file of 16 000 x 16 000 white pixels: a few kilobytes."""
    size = struct.pack("<I", (16_000 - 1) | (16_000 - 1) << 14)  # VP8L: 14 bits each
    data = bytearray(file_of(PHOTO, "WEBP", lossless=True))
    data[21:25] = size
    return bytes(data)


def noise_file(kind: str, **options: Any) -> bytes:
    """Return a file of noise, large enough that half of it lacks half of its pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return file_of(noise, kind, **options)


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped_bits() -> bytes:
    """Return a PNG file with one byte of its pixels changed: its checksum no longer holds."""
    data = bytearray(noise_file("PNG"))
    data[len(data) // 2] ^= 0xFF
    return bytes(data)


def plain(mode: str, kind: str) -> bytes:
    return file_of(Image.new(mode, (8, 8)), kind)


# Each line: what the file is, its bytes, and the words the message must hold.
BAD: list[tuple[str, Callable[[], bytes], str]] = [
    ("empty", lambda: b"", "is empty"),
    ("text", lambda: b"To be, or not to be, that is the question.\n", "is not a picture"),
    ("web-page-saved-as-a-picture", lambda: b"<!DOCTYPE html><html><body>404</body></html>",
     "is not a picture"),
    ("svg", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is not a picture"),
    ("eps-is-a-program", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n",
     "is not a picture"),
    ("zeros", lambda: bytes(1000), "is not a picture"),
    ("png-mark-only", lambda: b"\x89PNG\r\n\x1a\n", "is not a picture, or its first bytes"),
    ("jpeg-header-only", lambda: file_of(PHOTO, "JPEG")[:20], "is not a picture, or its first bytes"),
    ("jpeg-truncated", lambda: half(noise_file("JPEG")), "cut short or damaged"),
    ("jpeg-progressive-truncated", lambda: half(noise_file("JPEG", progressive=True)),
     "cut short or damaged"),
    ("png-truncated", lambda: half(noise_file("PNG")), "cut short or damaged"),
    ("png-with-flipped-bits", flipped_bits, "cut short or damaged"),
    ("gif-truncated", lambda: half(noise_file("GIF")), "cut short or damaged"),
    ("webp-truncated", lambda: half(noise_file("WEBP")), "cut short|is not a picture"),
    ("tiff-truncated", lambda: half(noise_file("TIFF")), "cut short or damaged"),
    ("tiff-lzw-truncated", lambda: half(noise_file("TIFF", compression="tiff_lzw")),
     "cut short or damaged|is not a picture"),
    ("tiff-16-bit-without-its-directory", lambda: half(tiff16(DEEP)), "is not a picture, or its"),
    ("heic-truncated", lambda: half(noise_file("HEIF")), "cut short|is not a picture"),
    ("avif-truncated", lambda: half(noise_file("AVIF")), "cut short|is not a picture"),
    ("bmp-truncated", lambda: half(noise_file("BMP")), "cut short or damaged"),
    ("bomb-png", bomb_png, "60000 x 60000 = 3,600,000,000 pixels, over max_pixels = 100,000,000"),
    ("bomb-jpeg", bomb_jpeg, "60000 x 60000 .* over max_pixels"),
    ("bomb-tiff", bomb_tiff, "60000 x 60000 .* over max_pixels"),
    ("bomb-gif", bomb_gif, "60000 x 60000 .* over max_pixels"),
    ("bomb-webp", bomb_webp, r"is too large: .*256000000.*PIL\.Image\.MAX_IMAGE_PIXELS"),
    ("tiff-of-32-bit-floats", lambda: plain("F", "TIFF"), "do not say which value is white"),
    ("tiff-of-32-bit-integers", lambda: plain("I", "TIFF"), "do not say which value is white"),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # else a warning of Pillow's would pass for our error
@pytest.mark.parametrize(
    ("build", "reason"), [line[1:] for line in BAD], ids=[line[0] for line in BAD]
)
def test_bad_file_is_named_with_its_reason(
    build: Callable[[], bytes], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(build())
    with pytest.raises(ImageError, match=reason) as caught:
        load_image(path)
    message = str(caught.value)
    assert message.startswith(f"'{path}' ")
    assert "\n" not in message
    assert len(message) - len(str(path)) < 200  # a plain sentence
    with pytest.raises(ImageError, match=reason):  # the same without a name
        load_image(path.read_bytes())


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "it is a folder, not a picture"),
        (lambda path: path.symlink_to(path.parent / "gone.jpg"), "there is no such file"),
    ],
    ids=["missing", "folder", "broken-link"],
)
def test_bad_path_is_named_with_its_reason(
    make: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "holiday.jpg"
    make(path)
    with pytest.raises(ImageError, match=f"'{path}' cannot be read: {reason}"):
        load_image(path)


def subclasses(kind: type) -> list[type]:
    direct = kind.__subclasses__()
    return direct + [below for child in direct for below in subclasses(child)]


@pytest.mark.parametrize("build", [bomb_png, bomb_jpeg, bomb_tiff, bomb_gif, bomb_webp])
def test_a_bomb_is_refused_before_any_pixel_is_decoded(
    build: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = build()
    decoded: list[Image.Image] = []
    for kind in (Image.Image, *subclasses(Image.Image)):
        monkeypatch.setattr(kind, "load", lambda self: decoded.append(self))
    with pytest.raises(ImageError, match="over max_pixels|is too large"):
        load_image(data)
    assert decoded == []


def test_max_pixels_is_an_exact_bound() -> None:
    data = png(PHOTO, 2)
    assert load_image(data, max_pixels=16 * 24).shape == (1, 3, 16, 24)
    with pytest.raises(ImageError, match="24 x 16 = 384 pixels, over max_pixels = 383"):
        load_image(data, max_pixels=16 * 24 - 1)
    with pytest.raises(ImageError, match="over max_pixels"):
        load_image(Image.fromarray(PHOTO), max_pixels=383)


def test_a_thread_is_not_enlarged_into_a_bomb() -> None:
    thread = png(PHOTO[:1].repeat(20, 1), 2)  # 1 x 480
    with pytest.raises(ImageError, match="at size=1000 has 480000 x 1000"):
        load_image(thread, size=1000)


def test_pillow_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    class Watched(types.ModuleType):
        """A module that tells when its limit is moved: other threads open pictures, too."""

        def __setattr__(self, name: str, value: object) -> None:
            assert name != "MAX_IMAGE_PIXELS"
            super().__setattr__(name, value)

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # ours rules, so that this neither warns
    monkeypatch.setattr(Image, "__class__", Watched)
    load_image(png(PHOTO, 2))  # nor fails
    with pytest.raises(ImageError, match="is not a picture"):
        load_image(b"no picture")
    monkeypatch.undo()
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


# ------------------------------------------------------------------------------ sources, arguments


def test_every_source_gives_the_same_picture(tmp_path: Path) -> None:
    data = png(PHOTO, 2)
    path = tmp_path / "x.png"
    path.write_bytes(data)
    with path.open("rb") as file:
        sources = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), file]
        for source in [*sources, Image.open(path), Image.fromarray(PHOTO), PHOTO]:
            assert np.abs(pixels(load_image(source)) - rgb(PHOTO)).max() < 1e-7
        assert not file.closed


def test_an_upload_loads() -> None:
    """What ipywidgets.FileUpload hands over is a memoryview."""
    upload = {"name": "me.png", "content": memoryview(png(PHOTO, 2))}
    assert np.abs(pixels(load_image(upload["content"])) - rgb(PHOTO)).max() < 1e-7


def test_a_pil_image_is_not_altered() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.open(io.BytesIO(file_of(PHOTO, "PNG", exif=exif)))
    first, second = load_image(picture), load_image(picture)
    assert torch.equal(first, second)
    assert picture.size == (24, 16)


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (GREY, rgb(GREY)),
        (GREY[..., None], rgb(GREY)),
        (PHOTO, rgb(PHOTO)),
        (np.dstack([PHOTO, ALPHA]), over(PHOTO, ALPHA)),
        (DEEP, rgb(DEEP / 257)),
        (DEEP_RGB, rgb(PHOTO)),
        (rgb(PHOTO), rgb(PHOTO)),
        (rgb(PHOTO).astype(np.float32), rgb(PHOTO)),
        (rgb(PHOTO)[::-1, ::-1], rgb(PHOTO)[::-1, ::-1]),
    ],
    ids=["grey", "grey-1", "rgb", "rgba", "grey-16", "rgb-16", "float64", "float32", "strides"],
)
def test_array(array: Array, shown: Array) -> None:
    image = load_image(array)
    assert np.abs(pixels(image) - shown).max() < 1e-6
    before = array.copy()
    image.zero_()
    assert np.array_equal(array, before)  # the image is a copy


@pytest.mark.parametrize(
    ("array", "error", "message"),
    [
        (PHOTO.astype(np.int64), TypeError, "array of int64; it takes uint8, uint16 or floats"),
        (GREY > 100, TypeError, "array of bool"),
        (PHOTO.astype(np.float32), ValueError, r"floats from 5 to 250; they must lie in \[0, 1\]"),
        (np.full((4, 4, 3), np.nan), ValueError, "floats from nan to nan"),
        (np.full((4, 4, 3), -1e-6), ValueError, "floats from -1e-06"),
        (PHOTO.transpose(2, 0, 1), ValueError, r"shape \(3, 16, 24\).*channels last"),
        (PHOTO[None], ValueError, r"shape \(1, 16, 24, 3\)"),
        (PHOTO[:0], ValueError, r"shape \(0, 24, 3\)"),
    ],
    ids=["int64", "bool", "floats-0-255", "nan", "negative", "channels-first", "batch", "empty"],
)
def test_bad_array(array: Array, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_image(array)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": 0}, ValueError, "size is 0; it must be at least 1"),
        ({"size": -3}, ValueError, "size is -3"),
        ({"size": 2.5}, TypeError, "size is 2.5; it takes a whole number"),
        ({"size": True}, TypeError, "size is True"),
        ({"size": "256"}, TypeError, "size is '256'"),
        ({"crop": 256}, TypeError, "crop is 256; it takes True or False"),
        ({"max_pixels": 0}, ValueError, "max_pixels is 0"),
        ({"background": "colourless"}, ValueError, "background is 'colourless'"),
        ({"background": "#ffffff80"}, ValueError, "background is '#ffffff80'.*opaque"),
        ({"background": (1, 1, 1)}, TypeError, r"background is \(1, 1, 1\)"),
    ],
)
def test_bad_argument(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_image(PHOTO, **arguments)


@pytest.mark.parametrize(
    "source", [None, 3, torch.zeros(1, 3, 4, 4)], ids=["none", "int", "tensor"]
)
def test_bad_source(source: Any) -> None:
    with pytest.raises(TypeError, match=f"source is a {type(source).__name__}; load_image takes"):
        load_image(source)


def test_a_file_opened_as_text(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("text")
    with path.open() as file, pytest.raises(TypeError, match="open it in binary mode"):
        load_image(file)  # type: ignore[arg-type]


def test_background() -> None:
    data = file_of(rgba(), "PNG")
    for colour, levels in (("black", (0, 0, 0)), ("#102030", (16, 32, 48)), ("red", (255, 0, 0))):
        shown = over(PHOTO, ALPHA, levels)
        assert np.abs(pixels(load_image(data, background=colour)) - shown).max() < 1e-6


@pytest.mark.parametrize(("height", "width"), [(30, 50), (50, 30), (31, 31), (333, 517)])
def test_size_is_the_shorter_side_and_the_aspect_stays(height: int, width: int) -> None:
    array = np.random.default_rng(0).random((height, width, 3))
    loaded = load_image(array, size=20)
    longer = round(max(height, width) * 20 / min(height, width))
    assert tuple(loaded.shape[-2:]) == ((20, longer) if height <= width else (longer, 20))


def test_crop_takes_the_centre_square() -> None:
    wide = load_image(PHOTO, crop=True)
    assert np.abs(pixels(wide) - rgb(PHOTO)[:, 4:20]).max() < 1e-7
    tall = load_image(PHOTO.swapaxes(0, 1), crop=True)
    assert np.abs(pixels(tall) - rgb(PHOTO).swapaxes(0, 1)[4:20]).max() < 1e-7
    assert load_image(PHOTO, size=7, crop=True).shape == (1, 3, 7, 7)


# ---------------------------------------------------------------------------------------- resizing


def triangle(source: int, target: int) -> Array:
    """Return the float64 matrix (target, source) of antialiased linear interpolation."""
    scale = source / target
    support = max(scale, 1.0)  # shrinking, the triangle spans two target pixels
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source)[None] + 0.5 - centres[:, None]) / support
    weights = (1 - distance).clip(0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("target", [(7, 9), (20, 31), (40, 31), (64, 80), (1, 1)])
def test_resize_is_the_antialiased_triangle(target: tuple[int, int]) -> None:
    image = torch.rand(2, 3, 20, 31, generator=torch.Generator().manual_seed(0))
    rows, columns = triangle(20, target[0]), triangle(31, target[1])
    expected = rows @ image.double().numpy() @ columns.T
    assert np.abs(resize(image, target).double().numpy() - expected).max() < 3e-6


def test_resize_keeps_the_range_exactly() -> None:
    for size in ((64, 97), (100, 170), (500, 700)):
        assert torch.equal(resize(torch.ones(1, 3, 333, 517), size), torch.ones(1, 3, *size))
    moments = torch.randn(1, 3, 33, 47) * 10  # what is no picture keeps its own range
    resized = resize(moments, (20, 31))
    assert moments.min() <= resized.min() < 0
    assert 1 < resized.max() <= moments.max()


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (40, 40)])
def test_at_size_makes_smaller_and_never_larger(height: int, width: int) -> None:
    image = torch.rand(1, 3, height, width)
    assert torch.equal(at_size(image, 20), resize(image, 20))
    for size in (40, 41, 4000):
        assert torch.equal(at_size(image, size), image)
    with pytest.raises(ValueError, match="size is 0"):
        at_size(image, 0)


def test_resize_to_the_same_size_changes_nothing() -> None:
    image = torch.rand(1, 3, 20, 31)
    assert torch.equal(resize(image, (20, 31)), image)
    assert torch.equal(resize(image, 20), image)


@pytest.mark.parametrize(
    ("image", "size", "error", "message"),
    [
        (torch.rand(3, 8, 8), 4, ValueError, r"image has shape \(3, 8, 8\)"),
        (
            torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
            4,
            TypeError,
            "image is a tensor of torch.uint8",
        ),
        (PHOTO, 4, TypeError, "image is ndarray"),
        (torch.rand(1, 3, 8, 8), (4, 4, 4), ValueError, r"size is \(4, 4, 4\)"),
        (torch.rand(1, 3, 8, 8), (4, 0), ValueError, r"size\[1\] is 0"),
        (torch.rand(1, 3, 8, 8), 4.0, TypeError, "size is 4.0"),
    ],
)
def test_bad_resize(image: Any, size: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        resize(image, size)


# ---------------------------------------------------------------------------------------- encoding


def test_to_uint8_rounds_to_the_nearest_level() -> None:
    levels = torch.arange(256.0)
    for shift in (0.0, 0.49, -0.49):
        values = ((levels + shift) / 255).clamp(0, 1)
        image = values.reshape(1, 1, 16, 16).expand(1, 3, 16, 16)
        assert np.array_equal(images.to_uint8(image)[..., 1].ravel(), np.arange(256))


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (torch.full((1, 3, 4, 4), 1.0000002), ValueError, r"values from 1 to 1; they must lie in"),
        (torch.full((1, 3, 4, 4), -0.5), ValueError, "values from -0.5 to -0.5"),
        (torch.full((1, 3, 4, 4), float("nan")), ValueError, "values from nan to nan"),
        (torch.rand(2, 3, 4, 4), ValueError, r"shape \(2, 3, 4, 4\); it takes one image"),
        (torch.rand(3, 4, 4), ValueError, r"shape \(3, 4, 4\)"),
        (torch.rand(1, 1, 4, 4), ValueError, r"shape \(1, 1, 4, 4\)"),
        (torch.rand(1, 3, 0, 4), ValueError, r"shape \(1, 3, 0, 4\)"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), TypeError, "tensor of torch.uint8"),
        (PHOTO, TypeError, "image is ndarray"),
    ],
)
def test_no_image(image: Any, error: type[Exception], message: str, tmp_path: Path) -> None:
    for use in (images.to_uint8, lambda x: save_image(x, tmp_path / "x.png"), nstlib.show):
        with pytest.raises(error, match=message):
            use(image)
    assert list(tmp_path.iterdir()) == []


def test_bytes_for_widgets() -> None:
    image = load_image(PHOTO)
    assert torch.equal(load_image(images.to_png_bytes(image)), image)
    small, large = images.to_jpeg_bytes(image, 30), images.to_jpeg_bytes(image, 95)
    assert len(small) < len(large)
    assert load_image(large).shape == image.shape


@pytest.mark.parametrize(
    ("quality", "error"),
    [(0, ValueError), (101, ValueError), (90.5, TypeError), ("90", TypeError), (True, TypeError)],
)
def test_quality_has_one_range_everywhere(
    quality: Any, error: type[Exception], tmp_path: Path
) -> None:
    image = load_image(PHOTO)
    with pytest.raises(error, match=f"quality is {quality!r}"):
        images.to_jpeg_bytes(image, quality)
    with pytest.raises(error, match=f"quality is {quality!r}"):
        save_image(image, tmp_path / "x.jpg", quality=quality)
    assert list(tmp_path.iterdir()) == []
    best = images.to_jpeg_bytes(image, 100)
    assert len(best) > len(images.to_jpeg_bytes(image, 95))


# ------------------------------------------------------------------------------------------ saving

RECIPE = {"method": "gatys", "seed": 7, "settings": {"style_weight": 1e3, "taps": ["relu1_1"]},
          "title": "Ünïcode, α = ½"}  # fmt: skip
SUFFIXES = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "PNG"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_save_and_load_again(suffix: str, tmp_path: Path) -> None:
    image = load_image(PHOTO[:15, :23])  # odd sizes stay
    path = save_image(image, tmp_path / f"x.{suffix}", RECIPE)
    loaded = load_image(path)
    assert loaded.shape == image.shape
    exact = suffix not in ("jpg", "jpeg")
    assert torch.equal(loaded, image) if exact else (loaded - image).abs().max() < 4 / 255
    assert read_recipe(path) == {"version": nstlib.__version__, **RECIPE}
    assert [file.name for file in tmp_path.iterdir()] == [f"x.{suffix}"]


def test_the_version_is_that_of_the_package_that_wrote_the_file(tmp_path: Path) -> None:
    """So that a picture saved with the recipe of an older one does not pass for its age."""
    path = save_image(load_image(PHOTO), tmp_path / "x.png", {"version": "0.0.1", "seed": 7})
    assert read_recipe(path) == {"version": nstlib.__version__, "seed": 7}


@pytest.mark.parametrize("path", [5, None, b"x.png", ["x.png"]])
def test_a_path_of_the_wrong_type_is_named(path: Any) -> None:
    for use in (lambda path: save_image(load_image(PHOTO), path), read_recipe):
        with pytest.raises(TypeError, match=f"path is {re.escape(repr(path))}; it takes a"):
            use(path)


def test_a_recipe_does_not_turn_or_tint_the_picture(tmp_path: Path) -> None:
    image = load_image(PHOTO)
    for suffix in SUFFIXES:
        with_recipe = save_image(image, tmp_path / f"a.{suffix}", RECIPE)
        without = save_image(image, tmp_path / f"b.{suffix}")
        assert torch.equal(load_image(with_recipe), load_image(without))


def test_the_same_picture_is_the_same_file(tmp_path: Path) -> None:
    image = load_image(PHOTO)
    first = save_image(image, tmp_path / "a.png", RECIPE).read_bytes()
    assert save_image(image, tmp_path / "b.png", RECIPE).read_bytes() == first


def test_no_recipe(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "A DIGITAL CAMERA"
    (tmp_path / "camera.jpg").write_bytes(file_of(PHOTO, "JPEG", exif=exif))
    exif[0x010E] = json.dumps({"not": "ours"})
    (tmp_path / "other.jpg").write_bytes(file_of(PHOTO, "JPEG", exif=exif))
    save_image(load_image(PHOTO), tmp_path / "plain.png")
    for name in ("camera.jpg", "other.jpg", "plain.png"):
        with pytest.raises(ImageError, match=rf"{name}' holds no recipe"):
            read_recipe(tmp_path / name)
    with pytest.raises(ImageError, match="there is no such file"):
        read_recipe(tmp_path / "gone.png")


@pytest.mark.parametrize(
    "recipe",
    [{"x": float("nan")}, {"x": torch.zeros(1)}, {"x": Path()}],
    ids=["nan", "tensor", "path"],
)
def test_bad_recipe(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="recipe must hold only what JSON can say"):
        save_image(load_image(PHOTO), tmp_path / "x.png", recipe)
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_too_long_for_its_file(tmp_path: Path) -> None:
    recipe = {"note": "long " * 20_000}
    with pytest.raises(ImageError, match=r"x.jpg' cannot be written: EXIF data is too long"):
        save_image(load_image(PHOTO), tmp_path / "x.jpg", recipe)
    assert read_recipe(save_image(load_image(PHOTO), tmp_path / "x.png", recipe)) == {
        "version": nstlib.__version__, **recipe}  # fmt: skip


@pytest.mark.parametrize("name", ["x", "x.gif", "x.png.bak", "x.heic"])
def test_unknown_suffix(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"its suffix must be one of \.png, \.jpg"):
        save_image(load_image(PHOTO), tmp_path / name)


def test_saving_where_it_cannot_be(tmp_path: Path) -> None:
    image = load_image(PHOTO)
    with pytest.raises(ImageError, match=r"x.png' cannot be written: there is no such .* folder"):
        save_image(image, tmp_path / "gone" / "x.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match=r"folder.png' cannot be written: it is a folder"):
        save_image(image, tmp_path / "folder.png")
    assert [file.name for file in tmp_path.iterdir()] == ["folder.png"]


@pytest.mark.parametrize("moment", ["fsync", "replace"])
@pytest.mark.parametrize(
    "crash",
    [OSError(28, "No space left on device"), KeyboardInterrupt()],
    ids=["full", "interrupt"],
)
def test_a_crash_leaves_the_old_file_and_nothing_else(
    moment: str, crash: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save_image(load_image(PHOTO), tmp_path / "x.png", {"seed": 1})
    old = path.read_bytes()

    def fail(*arguments: Any) -> None:
        raise crash

    monkeypatch.setattr(os, moment, fail)
    wanted = ImageError if isinstance(crash, OSError) else KeyboardInterrupt
    with pytest.raises(wanted):
        save_image(load_image(255 - PHOTO), path, {"seed": 2})
    assert path.read_bytes() == old
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_a_reader_never_sees_half_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_image(load_image(PHOTO), tmp_path / "x.png", {"seed": 1})
    seen_before_rename = []
    rename = os.replace

    def look(source: Path, target: Path) -> None:
        seen_before_rename.append(read_recipe(target)["seed"])
        assert source.parent == target.parent  # a rename between disks would copy
        rename(source, target)

    monkeypatch.setattr(os, "replace", look)
    save_image(load_image(PHOTO), path, {"seed": 2})
    assert seen_before_rename == [1]
    assert read_recipe(path)["seed"] == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_saved_file_has_the_usual_permissions(tmp_path: Path) -> None:
    plain_file = tmp_path / "plain"
    plain_file.touch()
    saved = save_image(load_image(PHOTO), tmp_path / "x.png")
    assert saved.stat().st_mode == plain_file.stat().st_mode


# ------------------------------------------------------------------------------- pictures that ship


@pytest.mark.parametrize("name", images.sample_names())
def test_sample(name: str) -> None:
    photo = sample(name, size=48, crop=True)
    assert pixels(photo).shape == (48, 48, 3)
    assert float(photo.std()) > 0.03


def test_samples_lie_inside_the_wheel() -> None:
    """No sample may need a download: scikit-image takes others from the network."""
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    names = {"immunohistochemistry": "ihc"}
    shipped = {file.stem for file in folder.iterdir() if file.suffix in (".png", ".jpg")}
    assert {names.get(name, name) for name in images.sample_names()} <= shipped


@pytest.mark.parametrize("name", images.style_names())
def test_style(name: str) -> None:
    assert pixels(images.style(name, size=64)).std() > 0.05


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="name is 'mona_lisa'; sample takes one of: astronaut, "):
        sample("mona_lisa")
    with pytest.raises(ValueError, match=r"name is 'astronaut'; style takes one of: .*vortex"):
        images.style("astronaut")


def test_quality_makes_a_jpeg_smaller(tmp_path: Path) -> None:
    photo = images.sample("chelsea", size=128)
    small = images.save_image(photo, tmp_path / "small.jpg", quality=60)
    fine = images.save_image(photo, tmp_path / "fine.jpg")
    assert small.stat().st_size < fine.stat().st_size / 2
    assert (images.load_image(fine) - photo).abs().mean() < 0.01


@pytest.mark.parametrize("quality", [60, 88, 89, 90, 94, 95, 100])
def test_the_busiest_picture_can_be_written_at_any_quality(tmp_path: Path, quality: int) -> None:
    """Pure noise takes more bytes than any photo: up to four a pixel."""
    noise = torch.rand(1, 3, 300, 400, generator=torch.Generator().manual_seed(0))
    path = save_image(noise, tmp_path / "noise.jpg", RECIPE, quality=quality)
    assert load_image(path).shape == noise.shape
    assert read_recipe(path)["seed"] == 7


@pytest.mark.parametrize("quality", [60, 95])
def test_a_jpeg_is_hardly_larger_than_the_smallest_of_its_quality(
    tmp_path: Path, quality: int
) -> None:
    """Huffman tables made for the one picture would save a few hundredths of a photo."""
    photo = sample("coffee", size=400)
    ours = save_image(photo, tmp_path / "ours.jpg", quality=quality).stat().st_size
    options = {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
    smallest = len(file_of(images.to_uint8(photo), "JPEG", optimize=True, **options))
    assert ours < 1.05 * smallest


# -------------------------------------------------------------- too many pixels; bytes of WebP


@pytest.mark.parametrize("bomb", [bomb_png, bomb_jpeg, bomb_gif, bomb_tiff, bomb_webp])
def test_too_many_pixels_are_an_error_of_their_own(bomb: Callable[[], bytes]) -> None:
    with pytest.raises(TooManyPixelsError) as caught:
        load_image(bomb())
    assert isinstance(caught.value, ImageError)


def test_what_is_over_a_limit_of_ones_own_is_too_many_and_what_is_broken_is_not() -> None:
    data = images.to_png_bytes(torch.zeros(1, 3, 10, 11))
    assert load_image(data, max_pixels=110).shape == (1, 3, 10, 11)
    with pytest.raises(TooManyPixelsError, match="11 x 10 = 110 pixels, over max_pixels = 109"):
        load_image(data, max_pixels=109)
    with pytest.raises(TooManyPixelsError, match="at size=20"):
        load_image(data, 20, max_pixels=300)
    for broken in (data[: len(data) // 2], b"", b"hello"):
        with pytest.raises(ImageError) as caught:
            load_image(broken, max_pixels=110)
        assert not isinstance(caught.value, TooManyPixelsError)


def test_webp_bytes_are_the_picture_and_smaller_than_a_jpegs() -> None:
    image = sample("coffee", 96)
    data = images.to_webp_bytes(image)
    assert (data[:4], data[8:12]) == (b"RIFF", b"WEBP")
    assert load_image(data).shape == image.shape
    assert (load_image(data) - image).abs().mean() < 0.02
    assert len(data) < len(images.to_jpeg_bytes(image))
    assert len(images.to_webp_bytes(image, 20)) < len(data) < len(images.to_webp_bytes(image, 100))


@pytest.mark.parametrize(
    ("quality", "error"), [(0, ValueError), (101, ValueError), (1.5, TypeError), (True, TypeError)]
)
def test_the_quality_of_a_webp_has_the_range_of_a_jpegs(
    quality: Any, error: type[Exception]
) -> None:
    image = torch.rand(1, 3, 8, 8)
    for encode in (images.to_webp_bytes, images.to_jpeg_bytes):
        with pytest.raises(error, match=f"quality is {quality!r}"):
            encode(image, quality)


def test_a_jpeg_from_90_on_keeps_colours_at_the_whole_resolution() -> None:
    red, blue = torch.tensor([1.0, 0, 0]), torch.tensor([0, 0, 1.0])
    stripes = torch.stack([red, blue] * 16, dim=-1)[None, :, None].expand(1, 3, 32, 32)
    halved, whole = (
        (load_image(images.to_jpeg_bytes(stripes, quality)) - stripes).abs().mean()
        for quality in (89, 90)
    )
    assert whole < 0.05 < 0.15 < halved


def test_an_array_of_too_many_pixels_is_refused_as_a_file_is() -> None:
    grey = np.zeros((100, 50), dtype=np.uint8)
    assert load_image(grey, max_pixels=5000).shape == (1, 3, 100, 50)
    with pytest.raises(
        TooManyPixelsError, match="50 x 100 = 5,000 pixels, over max_pixels = 4,999"
    ):
        load_image(grey, max_pixels=4999)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_an_image_of_another_precision_is_resized_and_keeps_it(dtype: torch.dtype) -> None:
    image = torch.rand(1, 3, 24, 36)
    resized = images.resize(image.to(dtype), 12)
    assert resized.dtype == dtype
    torch.testing.assert_close(resized.float(), images.resize(image, 12), atol=0.004, rtol=0)
    assert torch.equal(
        images.resize(torch.ones(1, 3, 24, 36, dtype=dtype), 12).unique(),
        torch.ones(1, dtype=dtype),
    )
