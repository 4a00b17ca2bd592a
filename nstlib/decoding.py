"""From a picture file of any kind to the sRGB pixels that a viewer shows.

Formats, colour profiles, gamma, transparency and orientation are dealt with here, and broken files
are named; :func:`nstlib.images.load_image` makes an image of the pixels.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageColor, ImageOps, TiffImagePlugin, UnidentifiedImageError

from nstlib.errors import ImageError, TooManyPixelsError
from nstlib.files import expanded

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image
Array = npt.NDArray[Any]

# Only formats that decode pixels: Pillow's full list holds some that start other programs (EPS).
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "HEIF", "BMP", "AVIF")


def fill_colour(background: str) -> tuple[int, int, int]:
    """Return a colour's red, green and blue in 0 .. 255."""
    wanted = f"background is {background!r}; it takes an opaque colour, as 'white' or '#20304f'"
    if not isinstance(background, str):
        raise TypeError(wanted)
    try:
        colour = ImageColor.getrgb(background)
    except ValueError as error:
        raise ValueError(wanted) from error
    if len(colour) == 4:
        raise ValueError(wanted)
    return colour


def name_of(source: object) -> str:
    """Return what messages call the source: its path, or what kind of thing it is."""
    if isinstance(source, (str, os.PathLike)):
        return f"'{os.fspath(source)}'"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"the file ({len(source)} bytes)"
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return f"'{name}'" if isinstance(name, str) else "the picture's file"


def seekable(name: str, source: Source) -> BinaryIO:
    """Return the file's bytes as a stream that can seek."""
    if isinstance(source, (str, os.PathLike)):
        path = expanded(source)
        try:
            if path.is_dir():  # asked, because Windows says "permission denied" of a folder
                raise IsADirectoryError
            stream: BinaryIO = path.open("rb")
        except (OSError, ValueError) as error:  # ValueError: a null byte in the name
            raise ImageError(f"{name} cannot be read: {reason(error)}") from error
    elif isinstance(source, (bytes, bytearray, memoryview)):
        stream = io.BytesIO(source)
    elif hasattr(source, "read"):
        content = source.read()
        if not isinstance(content, bytes):
            raise TypeError(f"source is {name} opened as text; open it in binary mode, 'rb'")
        stream = io.BytesIO(content)
    else:
        raise TypeError(
            f"source is a {type(source).__name__}; load_image takes a path, bytes, an open binary "
            "file, a PIL image or a NumPy array"
        )
    if stream.seek(0, os.SEEK_END) == 0:
        stream.close()
        raise ImageError(f"{name} is empty")
    return stream


def reason(error: Exception) -> str:
    """Return an error of the system or of Pillow in plain words."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder"
    if isinstance(error, IsADirectoryError):
        return "it is a folder, not a picture"
    said = str(getattr(error, "strerror", None) or error or type(error).__name__).strip()
    return said.partition("\n")[0]


@contextmanager
def opened(name: str, stream: BinaryIO) -> Iterator[Image.Image]:
    """Open a picture as far as its header: no pixel is decoded yet."""
    import pillow_heif  # libheif is loaded with the first picture, not with the package

    pillow_heif.register_heif_opener()
    try:
        picture = _identified(stream)
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(
            f"{name} is too large: {error} That limit is twice PIL.Image.MAX_IMAGE_PIXELS"
        ) from error
    except Exception as error:  # a decoder fed with broken bytes raises anything
        raise ImageError(
            f"{name} is not a picture, or its first bytes are damaged; "
            "JPEG, PNG, WebP, TIFF, GIF, HEIC, AVIF and BMP can be read"
        ) from error
    with picture:
        yield picture


def _identified(stream: BinaryIO) -> Image.Image:
    """Hand the stream to the reader that knows its first bytes, as `Image.open` does.

    `Image.open` would also hold the picture to a limit that is one for the whole process, and only
    warn up to twice its value. Ours is an argument, and an error: see `refuse_bomb`.
    """
    Image.init()
    stream.seek(0)
    prefix = stream.read(16)
    for kind in _FORMATS:
        factory, accept = Image.OPEN[kind]
        if accept is not None and accept(prefix) is not True:  # text says what a reader lacks
            continue
        stream.seek(0)
        try:
            return factory(stream, "")
        except (SyntaxError, IndexError, TypeError, struct.error):  # another's after all
            continue
    raise UnidentifiedImageError


def refuse_bomb(name: str, size: tuple[int, int], max_pixels: int) -> None:
    """Refuse a picture of more than ``max_pixels``."""
    width, height = size
    if width * height > max_pixels:
        raise TooManyPixelsError(
            f"{name} has {width} x {height} = {width * height:,} pixels, over max_pixels = "
            f"{max_pixels:,}; if you trust it, pass a larger max_pixels"
        )


def _decoded(name: str, picture: Image.Image) -> Image.Image:
    """Decode a picture's pixels and turn them upright."""
    try:
        return ImageOps.exif_transpose(picture)
    except MemoryError:
        raise
    except Exception as error:  # a decoder fed with broken bytes raises anything
        raise ImageError(f"{name} is cut short or damaged: {reason(error)}") from error


# -------------------------------------------------------------------------- from any mode to sRGB


def to_rgb(name: str, picture: Image.Image, fill: tuple[int, int, int]) -> Array:
    """Return float32 (H, W, 3) of a picture of any of Pillow's modes."""
    tags: Mapping[int, Any] = getattr(picture, "tag_v2", {})  # only a TIFF file has them
    picture = _decoded(name, picture)
    if picture.mode in ("I", "F"):
        raise ImageError(
            f"{name} holds 32-bit or signed numbers that do not say which value is white; "
            "save it with 8 or 16 bits a channel"
        )
    profile, info = _profile(picture), picture.info
    is_grey = Image.getmodebase(picture.mode) == "L"
    alpha: Array | None = None
    if picture.mode.startswith("I;16"):
        if "transparency" in info:  # one grey value is transparent
            alpha = (np.asarray(picture) != info["transparency"]).astype(np.float32)
        rgb = _grey_to_rgb(_grey16(picture, tags), profile)
    else:
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            alpha = _levels(picture.getchannel("A"))
        if is_grey:  # by way of RGB, because Pillow cannot make L of every such mode
            rgb = _grey_to_rgb(_levels(picture.convert("RGB").convert("L")), profile)
        else:
            rgb = _levels(_to_srgb(picture, profile))
    return _over(_without_gamma(rgb, info), alpha, fill)


def _levels(picture: Image.Image) -> Array:
    """Return 8-bit levels as float32 in [0, 1]."""
    return np.asarray(picture).astype(np.float32) / 255


def _grey16(picture: Image.Image, tags: Mapping[int, Any]) -> Array:
    """Return the 12- or 16-bit grey values of a picture as float32 (H, W) in [0, 1]."""
    values = np.asarray(picture).astype(np.float32)
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (16,))[0]
    white_is_zero = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0
    grey: Array = values / (2**bits - 1)
    return 1 - grey if white_is_zero else grey  # Pillow inverts such files of 8 bits, not of 16


def _profile(picture: Image.Image) -> ImageCms.ImageCmsProfile | None:
    """Return the colour profile that the pixels follow, None for sRGB."""
    if picture.mode == "LAB":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    data = picture.info.get("icc_profile")
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(data)) if data else None
    except OSError:  # a damaged profile: viewers show the pixels as they stand
        return None


# The pixels that a profile of each colour space can speak of.
_PROFILED = {"RGB ": ("RGB",), "GRAY": ("L",), "CMYK": ("CMYK",), "Lab ": ("LAB",)}


def _to_srgb(
    picture: Image.Image, profile: ImageCms.ImageCmsProfile | None, exact: bool = False
) -> Image.Image:
    """Convert L, RGB, CMYK or LAB pixels (or what Pillow makes RGB of) to sRGB."""
    space = str(profile.profile.xcolor_space) if profile else ""
    if picture.mode not in ("L", "CMYK", "LAB") or space == "RGB ":
        picture = picture.convert("RGB")
    if profile is None or picture.mode not in _PROFILED.get(space, ()):
        # Viewers ignore a profile of another colour space, and show CMYK that has none as
        # red = (1 - cyan)(1 - black), and so on.
        return picture.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(
            picture,
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,  # paper becomes white
            outputMode="RGB",
            flags=ImageCms.Flags.NOOPTIMIZE if exact else ImageCms.Flags.NONE,
        )
    except ImageCms.PyCMSError:  # a damaged profile: viewers show the pixels as they stand
        return picture.convert("RGB")
    assert converted is not None  # it is None only when it converts in place
    return converted


def _grey_to_rgb(grey: Array, profile: ImageCms.ImageCmsProfile | None) -> Array:
    """Return RGB (H, W, 3) of grey (H, W) in [0, 1]; a profile of grey is one curve."""
    if profile is None:
        return np.repeat(grey[..., None], 3, axis=2)
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])  # (1, 256)
    curve = _levels(_to_srgb(ramp, profile, exact=True))[0]  # (256, 3)
    at = np.arange(256) / 255
    return np.stack([np.interp(grey, at, curve[:, channel]) for channel in range(3)], axis=-1)


def _without_gamma(rgb: Array, info: Mapping[Any, Any]) -> Array:
    """Undo a PNG file's own gamma, where it has one and no profile: light = value^(1/gamma)."""
    gamma = info.get("gamma")
    if not gamma or "srgb" in info or "icc_profile" in info or abs(gamma * 2.2 - 1) < 0.05:
        return rgb  # 1/2.2 stands for sRGB, which has no single gamma; 5 % is libpng's rule
    light: Array = rgb ** (1 / gamma)
    curved = 1.055 * light ** (1 / 2.4) - 0.055  # sRGB's own curve
    return np.where(light <= 0.0031308, 12.92 * light, curved)


def _over(colour: Array, alpha: Array | None, fill: tuple[int, int, int]) -> Array:
    """Lay colours (H, W, 3) over the background: alpha * colour + (1 - alpha) * background."""
    if alpha is not None:
        background = np.asarray(fill) / 255
        colour = alpha[..., None] * colour + (1 - alpha[..., None]) * background
    return np.ascontiguousarray(colour, dtype=np.float32)


def from_array(array: Array, fill: tuple[int, int, int], max_pixels: int) -> Array:
    """Return float32 (H, W, 3) of a NumPy array of at most ``max_pixels``."""
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or pixels.size == 0:
        raise ValueError(
            f"source is an array of shape {array.shape}; it takes (H, W), (H, W, 1), (H, W, 3) or "
            "(H, W, 4), channels last"
        )
    refuse_bomb("source", (pixels.shape[1], pixels.shape[0]), max_pixels)
    if np.issubdtype(pixels.dtype, np.floating):
        white = 1
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0 and high <= 1):  # NaN fails both comparisons, so it is refused too
            raise ValueError(
                f"source is an array of floats from {low:g} to {high:g}; they must lie in [0, 1]"
            )
    elif pixels.dtype in (np.uint8, np.uint16):
        white = np.iinfo(pixels.dtype).max
    else:
        raise TypeError(f"source is an array of {array.dtype}; it takes uint8, uint16 or floats")
    values = pixels.astype(np.float32) / white
    colour = np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values[..., :3]
    return _over(colour, values[..., 3] if values.shape[2] == 4 else None, fill)
