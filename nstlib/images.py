"""Pictures in and out: any file a phone or a museum gives, the one image contract, side-by-sides.

An image is a float32 RGB tensor (N, 3, H, W) with values in [0, 1].
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from PIL import (
    ExifTags,
    Image,
    ImageCms,
    ImageColor,
    ImageOps,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
)
from torch import Tensor

import nstlib
from nstlib.config import data_dir
from nstlib.errors import ImageError, TooManyPixelsError
from nstlib.files import replaced

if TYPE_CHECKING:
    from matplotlib.text import Text

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image
Array = npt.NDArray[Any]

# Over this many pixels a file is more likely a trap or a mistake than a photo: as floats, with the
# copies that resizing needs, 100 million pixels already take more than 2 GB.
MAX_PIXELS = 100_000_000

# Only formats that decode pixels: Pillow's full list holds some that start other programs (EPS).
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "HEIF", "BMP", "AVIF")
SUFFIXES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {},  # to optimize saves 3 %, but needs a guess at the file's size, too low for noise
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
_RECIPE_KEY = "nstlib"  # the keyword of the PNG text chunk; other formats hold it in EXIF

# The photos of scikit-image that lie inside its wheel; its others are downloaded on first use.
_SAMPLES = (
    "astronaut",
    "brick",
    "chelsea",
    "coffee",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "retina",
    "rocket",
)


# ---------------------------------------------------------------------------------------- loading


def load_image(
    source: Source | Array,
    size: int | None = None,
    crop: bool = False,
    *,
    max_pixels: int = MAX_PIXELS,
    background: str = "white",
) -> Tensor:
    """Load a picture as a viewer would show it, as an image (1, 3, H, W) in [0, 1].

    JPEG, PNG, WebP, TIFF, GIF (its first frame), HEIC, AVIF and BMP; turned upright as EXIF says,
    colours brought to sRGB by the embedded profile, transparency laid over ``background``.

    Args:
        source: a path, the bytes of a file, an open binary file, a PIL image, or a NumPy array
            (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, or floats in [0, 1].
        size: the length of the shorter side; the other keeps the aspect. None keeps every pixel.
        crop: take the centre square.
        max_pixels: refuse more pixels than this; read from the header, before any is decoded. A
            WebP is held to Pillow's own limit, too: its decoder takes the memory with the header.
        background: what shows through transparent pixels: a name or a hexadecimal colour.

    Raises:
        ImageError: the file is missing, empty, cut short, no picture, or over ``max_pixels``.
        ValueError, TypeError: an argument is wrong.

    Example:
        >>> grey = np.array([[0, 255], [255, 0]], dtype=np.uint8)
        >>> load_image(grey)[0, 0].tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    size = None if size is None else _positive("size", size)
    if not isinstance(crop, bool):
        raise TypeError(f"crop is {crop!r}; it takes True or False")
    max_pixels = _positive("max_pixels", max_pixels)
    fill = _colour(background)
    name = _name_of(source)
    if isinstance(source, np.ndarray):
        pixels = _from_array(source, fill)
    elif isinstance(source, Image.Image):
        _refuse_bomb(name, source.size, max_pixels)
        pixels = _to_rgb(name, source, fill)
    else:
        with _stream(name, source) as stream, _opened(name, stream) as picture:
            _refuse_bomb(name, picture.size, max_pixels)
            pixels = _to_rgb(name, picture, fill)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # (H, W, 3) -> (1, 3, H, W)
    if crop:
        image = _centre_square(image)
    if size is not None:
        height, width = _shorter_side(image, size)  # a thread of 1 x 9999 pixels can grow huge
        _refuse_bomb(f"{name} at size={size}", (width, height), max_pixels)
        return resize(image, (height, width))
    return image.contiguous()


def _positive(argument: str, value: int) -> int:
    """Return ``value`` if it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{argument} is {value!r}; it takes a whole number")
    if value < 1:
        raise ValueError(f"{argument} is {value}; it must be at least 1")
    return int(value)


def _colour(background: str) -> tuple[int, int, int]:
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


def _name_of(source: object) -> str:
    """Return what messages call the source: its path, or what kind of thing it is."""
    if isinstance(source, (str, os.PathLike)):
        return f"'{os.fspath(source)}'"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"the file ({len(source)} bytes)"
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return f"'{name}'" if isinstance(name, str) else "the picture's file"


def _stream(name: str, source: Source) -> BinaryIO:
    """Return the file's bytes as a stream that can seek."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        try:
            if path.is_dir():  # asked, because Windows says "permission denied" of a folder
                raise IsADirectoryError
            stream: BinaryIO = path.open("rb")
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {_reason(error)}") from error
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


def _reason(error: Exception) -> str:
    """Return an error of the system or of Pillow in plain words."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file or folder"
    if isinstance(error, IsADirectoryError):
        return "it is a folder, not a picture"
    said = str(getattr(error, "strerror", None) or error or type(error).__name__).strip()
    return said.partition("\n")[0]


@contextmanager
def _opened(name: str, stream: BinaryIO) -> Iterator[Image.Image]:
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
    warn up to twice its value. Ours is an argument, and an error: see `_refuse_bomb`.
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


def _refuse_bomb(name: str, size: tuple[int, int], max_pixels: int) -> None:
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
        raise ImageError(f"{name} is cut short or damaged: {_reason(error)}") from error


# -------------------------------------------------------------------------- from any mode to sRGB


def _to_rgb(name: str, picture: Image.Image, fill: tuple[int, int, int]) -> Array:
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


def _from_array(array: Array, fill: tuple[int, int, int]) -> Array:
    """Return float32 (H, W, 3) of a NumPy array."""
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or pixels.size == 0:
        raise ValueError(
            f"source is an array of shape {array.shape}; it takes (H, W), (H, W, 1), (H, W, 3) or "
            "(H, W, 4), channels last"
        )
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


# ---------------------------------------------------------------------------------------- resizing


def resize(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Resize images (N, C, H, W) to (H, W), or to a shorter side of ``size`` with the aspect kept.

    The filter is the antialiased triangle ("bilinear"), a mean whose weights are never negative: no
    value leaves the range of its input. Cubic and Lanczos filters are a little sharper, but they
    overshoot at edges and would need clipping, here and in whatever is resized with the image.

    Raises:
        ValueError, TypeError: ``image`` or ``size`` is not of this form.

    Example:
        >>> resize(torch.rand(1, 3, 40, 60), 20).shape
        torch.Size([1, 3, 20, 30])
        >>> resize(torch.rand(1, 3, 40, 60), (50, 50)).shape
        torch.Size([1, 3, 50, 50])
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        raise TypeError(f"image is {_kind(image)}; it takes a float tensor (N, C, H, W)")
    if image.ndim != 4 or image.numel() == 0:
        raise ValueError(f"image has shape {tuple(image.shape)}; it takes (N, C, H, W)")
    if isinstance(size, tuple):
        if len(size) != 2:
            raise ValueError(f"size is {size!r}; it takes (H, W), or the shorter side's length")
        target = _positive("size[0]", size[0]), _positive("size[1]", size[1])
    else:
        target = _shorter_side(image, _positive("size", size))
    if target == tuple(image.shape[-2:]):
        return image.contiguous()
    resized = torch.nn.functional.interpolate(
        image, target, mode="bilinear", align_corners=False, antialias=True
    )
    # The weights add up to 1 within float32's rounding only: white would come out as 1.0000005.
    return resized.clamp(image.amin(), image.amax()).contiguous()


def at_size(image: Tensor, size: int) -> Tensor:
    """Return images with a shorter side of ``size``; smaller ones keep their own pixels.

    Raises:
        ValueError, TypeError: ``size`` is no number of pixels, or the shape not (N, C, H, W).

    Example:
        >>> at_size(torch.rand(1, 3, 40, 60), 20).shape
        torch.Size([1, 3, 20, 30])
        >>> at_size(torch.rand(1, 3, 40, 60), 512).shape
        torch.Size([1, 3, 40, 60])
    """
    return resize(image, min(size, *image.shape[2:]))


def _kind(value: object) -> str:
    """Return what messages call a value that should have been a tensor of floats."""
    return f"a tensor of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def _shorter_side(image: Tensor, size: int) -> tuple[int, int]:
    """Return the (H, W) whose shorter side is ``size``, at the image's aspect."""
    height, width = image.shape[-2:]
    if height <= width:
        return size, round(width * size / height)
    return round(height * size / width), size


def _centre_square(image: Tensor) -> Tensor:
    """Return the largest square in the middle."""
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[..., top : top + side, left : left + side]


# ---------------------------------------------------------------------------------------- encoding


def check_image(name: str, image: Tensor, batch: bool = False) -> None:
    """Raise TypeError or ValueError unless ``image`` is (1, 3, H, W) in [0, 1], or (N, 3, H, W).

    Example:
        >>> check_image("content", torch.zeros(3, 8, 8))
        Traceback (most recent call last):
        ...
        ValueError: content has shape (3, 8, 8); it must be (1, 3, H, W)
    """
    wanted = "(N, 3, H, W)" if batch else "(1, 3, H, W)"
    if not isinstance(image, Tensor) or not image.is_floating_point():
        found = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"{name} is {found}; it must be a float tensor {wanted}, see load_image")
    if (
        image.ndim != 4
        or image.shape[1] != 3
        or image.numel() == 0
        or not (batch or len(image) == 1)
    ):
        raise ValueError(f"{name} has shape {tuple(image.shape)}; it must be {wanted}")
    low, high = image.min().item(), image.max().item()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{name} has values from {low:g} to {high:g}; they must lie in [0, 1]")


def to_uint8(image: Tensor) -> npt.NDArray[np.uint8]:
    """Return one image as (H, W, 3) uint8: round(255 x), never cut off.

    Raises:
        ValueError: the shape is not (1, 3, H, W), or a value lies outside [0, 1].
        TypeError: it is no float tensor.

    Example:
        >>> to_uint8(torch.full((1, 3, 1, 1), 0.999)).ravel().tolist()
        [255, 255, 255]
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        raise TypeError(f"image is {_kind(image)}; it takes a float tensor (1, 3, H, W)")
    if image.ndim != 4 or image.shape[:2] != (1, 3) or image.numel() == 0:
        raise ValueError(
            f"image has shape {tuple(image.shape)}; it takes one image, (1, 3, H, W); "
            "image[i : i + 1] is one of a batch"
        )
    values = image.detach().float()
    low, high = (float(value) for value in values.aminmax())
    if not (low >= 0 and high <= 1):  # NaN fails both comparisons, so it is refused too
        raise ValueError(
            f"image has values from {low:.6g} to {high:.6g}; they must lie in [0, 1]: "
            "image.clamp(0, 1) where that is meant"
        )
    rounded = (values[0] * 255).round().to(torch.uint8)  # (3, H, W)
    return rounded.permute(1, 2, 0).contiguous().cpu().numpy()


def to_png_bytes(image: Tensor) -> bytes:
    """Return one image as the bytes of a PNG file, exact to 8 bits.

    Example:
        >>> to_png_bytes(torch.zeros(1, 3, 2, 2))[1:4]
        b'PNG'
    """
    return _encoded(Image.fromarray(to_uint8(image)), "PNG")


def to_jpeg_bytes(image: Tensor, quality: int = 88) -> bytes:
    """Return one image as the bytes of a JPEG file of ``quality`` 1 to 100.

    Below 90 it is small, for widgets, with colours at half the resolution. From 90 on they have all of
    it: else, where two pure colours meet, a painted picture is off by up to 0.4.

    Example:
        >>> len(to_jpeg_bytes(sample("coffee", 256))) < len(to_png_bytes(sample("coffee", 256))) / 4
        True
    """
    subsampling = 0 if _quality(quality) >= 90 else 2
    picture = Image.fromarray(to_uint8(image))
    return _encoded(picture, "JPEG", quality=quality, subsampling=subsampling)


def to_webp_bytes(image: Tensor, quality: int = 88) -> bytes:
    """Return one image as the bytes of a WebP file of ``quality`` 1 to 100: smaller than a JPEG.

    Example:
        >>> to_webp_bytes(sample("coffee", 64))[8:12]
        b'WEBP'
    """
    return _encoded(Image.fromarray(to_uint8(image)), "WEBP", quality=_quality(quality))


def _quality(value: int) -> int:
    """Return the quality of a JPEG file if it is one."""
    if _positive("quality", value) > 100:
        raise ValueError(f"quality is {value}; it must lie in [1, 100]")
    return value


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    """Return the bytes of a picture file."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------ saving


def save_image(
    image: Tensor,
    path: str | os.PathLike[str],
    recipe: Mapping[str, Any] | None = None,
    *,
    quality: int = 95,
) -> Path:
    """Write one image to a file; PNG, TIFF and WebP are exact to 8 bits, JPEG loses a little.

    ``quality``, 1 to 100, is of JPEGs only; from 90 on they keep their colour at full resolution,
    fit to be edited further, and below it at half, as photos on the web do.

    The file is written beside its target and renamed, so that a crash leaves the old one. The
    recipe (settings, seed, encoder ...) goes into the file's metadata with the version of this
    package, which writes the file, whatever version the recipe says; `read_recipe` gives it back,
    years later.

    Raises:
        ValueError: the suffix is none of these, a value of the image lies outside [0, 1], or
            ``quality`` outside [1, 100].
        TypeError: the recipe holds what JSON cannot say, or an argument is of another type.
        ImageError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save_image(torch.rand(1, 3, 8, 8), f"{folder}/mine.png", {"seed": 7})
        ...     read_recipe(path)["seed"]
        7
    """
    path = _path(path).expanduser()
    kind = kind_of(path)
    quality = _quality(quality)
    picture = Image.fromarray(to_uint8(image))
    options = _SAVE_OPTIONS[kind] | ({} if recipe is None else _metadata(kind, recipe))
    if kind == "JPEG":
        options |= {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
    try:
        with replaced(path) as unfinished:
            unfinished.write_bytes(_encoded(picture, kind, **options))
    except (OSError, ValueError) as error:  # ValueError: more pixels or metadata than a JPEG holds
        raise ImageError(f"'{path}' cannot be written: {_reason(error)}") from error
    return path


def kind_of(path: Path) -> str:
    """Return the format that a suffix stands for.

    Raises:
        ValueError: a suffix that :func:`save_image` cannot write.

    Example:
        >>> kind_of(Path("holiday.JPG"))
        'JPEG'
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"path is '{path}'; its suffix must be one of {', '.join(SUFFIXES)}")
    return kind


def _path(path: str | os.PathLike[str]) -> Path:
    """Return a path given as either of its types."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path is {path!r}; it takes a string or a pathlib.Path")
    return Path(path)


def _metadata(kind: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with which Pillow puts the recipe into a file of this kind."""
    try:
        text = json.dumps({**recipe, "version": nstlib.__version__}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"recipe must hold only what JSON can say: {error}") from error
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text(_RECIPE_KEY, text)
        return {"pnginfo": chunks}
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = text
    return {"exif": exif}


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the recipe that `save_image` stored in a picture, with the package's version.

    Raises:
        ImageError: the file cannot be read, or holds no recipe.
        TypeError: ``path`` is no path.
    """
    path = _path(path)
    name = _name_of(path)
    with _stream(name, path) as stream, _opened(name, stream) as picture:
        text = picture.info.get(_RECIPE_KEY) or picture.getexif().get(
            ExifTags.Base.ImageDescription
        )
    try:
        recipe = json.loads(str(text))
    except ValueError:  # cameras write their own descriptions
        recipe = None
    if not isinstance(recipe, dict) or "version" not in recipe:
        raise ImageError(f"{name} holds no recipe: save_image(..., recipe=...) writes one")
    return recipe


# ------------------------------------------------------------------------------- pictures that ship


def sample_names() -> list[str]:
    """Return the names that `sample` takes.

    Example:
        >>> "astronaut" in sample_names()
        True
    """
    return list(_SAMPLES)


def sample(name: str, size: int | None = None, crop: bool = False) -> Tensor:
    """Load one of scikit-image's photos (public domain or CC0): no download.

    Raises:
        ValueError: there is no such photo; the message lists those there are.

    Example:
        >>> tuple(sample("coffee", size=64).shape)
        (1, 3, 64, 96)
    """
    if name not in _SAMPLES:
        raise ValueError(f"name is {name!r}; sample takes one of: {', '.join(_SAMPLES)}")
    import skimage.data

    return load_image(getattr(skimage.data, name)(), size, crop)


def style_names() -> list[str]:
    """Return the names that `style` takes.

    Example:
        >>> "vortex" in style_names()
        True
    """
    return sorted(_style_files())


def style(name: str, size: int | None = None) -> Tensor:
    """Load one of the styles that ship, painted by `nstlib.painting`.

    Raises:
        ValueError: there is no such style; the message lists those there are.

    Example:
        >>> tuple(style("vortex", size=64).shape)
        (1, 3, 64, 64)
    """
    files = _style_files()
    if name not in files:
        raise ValueError(f"name is {name!r}; style takes one of: {', '.join(sorted(files))}")
    return load_image(files[name], size)


def _style_files() -> dict[str, Path]:
    """Return the picture files in the folder of styles by their names."""
    folder = data_dir() / "styles"
    return {file.stem: file for file in folder.iterdir() if file.suffix in SUFFIXES}


# ----------------------------------------------------------------------------------------- showing

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
        path = _path(path).expanduser()
        if SUFFIXES.get(path.suffix.lower()) != "JPEG":
            raise ValueError(f"path is '{path}'; a picture for display is saved as .jpg")
        try:
            with replaced(path) as unfinished:
                unfinished.write_bytes(self.data)
        except OSError as error:
            raise ImageError(f"'{path}' cannot be written: {_reason(error)}") from error
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
        >>> compare([sample("coffee", 64), sample("brick", 64)], ["Content", "Style"])
        <picture, 196 x 105: Content; Style>
    """
    images, titles = _checked(images, titles)
    columns = len(images) if columns is None else _positive("columns", columns)
    tallest = max(image.shape[-2] for image in images)
    height = min(tallest, 320) if height is None else _positive("height", height)
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
