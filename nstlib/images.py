"""Pictures in and out: any file a phone or a museum gives, and the one image contract.

An image is a float32 RGB tensor (N, 3, H, W) with values in [0, 1].
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import (
    ExifTags,
    Image,
    PngImagePlugin,
)
from torch import Tensor

import nstlib
from nstlib.config import data_dir
from nstlib.decoding import (
    Array,
    Source,
    fill_colour,
    from_array,
    name_of,
    opened,
    reason,
    refuse_bomb,
    seekable,
    to_rgb,
)
from nstlib.errors import ImageError
from nstlib.files import expanded, replaced

# Over this many pixels a file is more likely a trap or a mistake than a photo: as floats, with the
# copies that resizing needs, 100 million pixels already take more than 2 GB.
MAX_PIXELS = 100_000_000

WRITABLE = {  # suffixes of files, and their formats
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
    size = None if size is None else positive("size", size)
    if not isinstance(crop, bool):
        raise TypeError(f"crop is {crop!r}; it takes True or False")
    max_pixels = positive("max_pixels", max_pixels)
    fill = fill_colour(background)
    name = name_of(source)
    if isinstance(source, np.ndarray):
        pixels = from_array(source, fill, max_pixels)
    elif isinstance(source, Image.Image):
        refuse_bomb(name, source.size, max_pixels)
        pixels = to_rgb(name, source, fill)
    else:
        with seekable(name, source) as stream, opened(name, stream) as picture:
            refuse_bomb(name, picture.size, max_pixels)
            pixels = to_rgb(name, picture, fill)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # (H, W, 3) -> (1, 3, H, W)
    if crop:
        image = _centre_square(image)
    if size is not None:
        height, width = _shorter_side(image, size)  # a thread of 1 x 9999 pixels can grow huge
        refuse_bomb(f"{name} at size={size}", (width, height), max_pixels)
        return resize(image, (height, width))
    return image.contiguous()


def positive(argument: str, value: int) -> int:
    """Return ``value`` if it is a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{argument} is {value!r}; it takes a whole number")
    if value < 1:
        raise ValueError(f"{argument} is {value}; it must be at least 1")
    return int(value)


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
        target = positive("size[0]", size[0]), positive("size[1]", size[1])
    else:
        target = _shorter_side(image, positive("size", size))
    if target == tuple(image.shape[-2:]):
        return image.contiguous()
    values = image if image.dtype.itemsize >= 4 else image.float()  # half, torch does not resize
    resized = torch.nn.functional.interpolate(
        values, target, mode="bilinear", align_corners=False, antialias=True
    )
    # The weights add up to 1 within float32's rounding only: white would come out as 1.0000005.
    return resized.clamp(values.amin(), values.amax()).to(image.dtype).contiguous()


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
    if positive("quality", value) > 100:
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
    path = as_path(path)
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
        raise ImageError(f"'{path}' cannot be written: {reason(error)}") from error
    return path


def kind_of(path: Path) -> str:
    """Return the format that a suffix stands for.

    Raises:
        ValueError: a suffix that :func:`save_image` cannot write.

    Example:
        >>> kind_of(Path("holiday.JPG"))
        'JPEG'
    """
    kind = WRITABLE.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"path is '{path}'; its suffix must be one of {', '.join(WRITABLE)}")
    return kind


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return a path given as either of its types; a ``~`` is the home folder."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path is {path!r}; it takes a string or a pathlib.Path")
    return expanded(path)


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
    path = as_path(path)
    name = name_of(path)
    with seekable(name, path) as stream, opened(name, stream) as picture:
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
    return {file.stem: file for file in folder.iterdir() if file.suffix in WRITABLE}
