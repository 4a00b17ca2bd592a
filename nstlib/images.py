"""Pictures in and out: any file a phone or a museum gives, the one image contract, side-by-sides.

An image is a float32 RGB tensor (N, 3, H, W) with values in [0, 1].
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import re
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageCms, ImageColor, ImageOps, PngImagePlugin
from torch import Tensor

import nstlib
from nstlib.config import data_dir
from nstlib.errors import ImageError

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image
Array = npt.NDArray[Any]

# Over this many pixels a file is more likely a trap (or a mistake) than a photo: as floats, and with
# the copies that resizing needs, 100 million pixels already take more than 2 GB.
MAX_PIXELS = 100_000_000

# Only formats that decode pixels: Pillow's full list holds some that start other programs (EPS).
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "HEIF", "AVIF", "BMP")
_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF",
             ".tiff": "TIFF"}  # fmt: skip
_SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},  # 0: colour at full resolution
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
_DESCRIPTION = 0x010E  # EXIF and TIFF: ImageDescription
_RECIPE_KEY = "nstlib"  # the keyword of the PNG text chunk

# The photos of scikit-image that lie inside its wheel; its others are downloaded on first use.
_SAMPLES = ("astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "hubble_deep_field",
            "immunohistochemistry", "retina", "rocket")  # fmt: skip


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

    Args:
        source: a path, the bytes of a file, an open binary file, a PIL image, or a NumPy array
            (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8, uint16, or floats in [0, 1].
        size: the length of the shorter side; the other keeps the aspect. None keeps every pixel.
        crop: take the centre square.
        max_pixels: refuse more pixels than this; read from the header, before any is decoded.
        background: what shows through transparent pixels: a name or a hexadecimal colour.

    Raises:
        ImageError: the file is missing, empty, cut short, no picture, or too large.
        ValueError, TypeError: an argument is wrong.

    Example:
        >>> grey = np.array([[0, 255], [255, 0]], dtype=np.uint8)
        >>> load_image(grey)[0, 0].tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    size = None if size is None else _positive("size", size)
    max_pixels = _positive("max_pixels", max_pixels)
    fill = _colour(background)
    if isinstance(source, np.ndarray):
        name, pixels = "the array", _from_array(source, fill)
    elif isinstance(source, Image.Image):
        name = "the PIL image"
        _refuse_bomb(name, source.size, max_pixels)
        pixels = _decoded(name, source, fill)
    else:
        name = _name_of(source)
        with _opened(name, _stream(name, source)) as picture:
            _refuse_bomb(name, picture.size, max_pixels)
            pixels = _decoded(name, picture, fill)
    image = torch.from_numpy(np.ascontiguousarray(pixels))  # (H, W, 3)
    image = image.permute(2, 0, 1)[None]  # (1, 3, H, W)
    if crop:
        image = _centre_square(image)
    if size is not None:
        target = _shorter_side(image, size)
        _refuse_bomb(f"{name}, enlarged to size={size},", target[::-1], max_pixels)
        return resize(image, target)
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
    try:
        return ImageColor.getrgb(background)[:3]
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"background is {background!r}; it takes a colour such as 'white' or '#20304f'"
        ) from error


def _name_of(source: Source) -> str:
    """Return what messages call the source: its path, or what kind of thing it is."""
    if isinstance(source, (str, os.PathLike)):
        return f"'{os.fspath(source)}'"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"the picture ({len(source)} bytes)"
    name = getattr(source, "name", None)
    return f"'{name}'" if isinstance(name, str) else "the picture"


def _stream(name: str, source: Source) -> BinaryIO:
    """Return the file's bytes as a stream that can seek."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    elif isinstance(source, (str, os.PathLike)):
        try:
            data = Path(source).expanduser().read_bytes()
        except OSError as error:
            raise ImageError(f"{name} cannot be read: {_reason(error)}") from error
    elif hasattr(source, "read"):
        content = source.read()
        if not isinstance(content, bytes):
            raise TypeError(f"source is {name}, opened as text; open it in binary mode ('rb')")
        data = content
    else:
        raise TypeError(
            f"source is a {type(source).__name__}; load_image takes a path, bytes, an open binary "
            "file, a PIL image or a NumPy array"
        )
    if not data:
        raise ImageError(f"{name} is empty")
    return io.BytesIO(data)


def _reason(error: OSError) -> str:
    """Return a system error in plain words."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "it is a folder, not a picture"
    return (error.strerror or str(error)).lower()


_header_lock = threading.Lock()


@contextmanager
def _opened(name: str, stream: BinaryIO) -> Iterator[Image.Image]:
    """Open a picture as far as its header: no pixel is decoded yet."""
    import pillow_heif  # loads libheif: only when a picture is read

    pillow_heif.register_heif_opener()
    # Pillow's own limit is one for the whole process, and warns rather than refuses. Ours is an
    # argument: Pillow's is off while one header is read, and back before any pixel is.
    with _header_lock:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            picture = Image.open(stream, formats=_FORMATS)
        except Exception as error:  # a decoder fed with broken bytes raises anything
            raise ImageError(
                f"{name} is not a picture that can be read, or its first bytes are damaged; "
                "JPEG, PNG, WebP, TIFF, GIF, HEIC, AVIF and BMP can"
            ) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with picture:
        yield picture


def _refuse_bomb(name: str, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width} x {height} = {width * height:,} pixels, over max_pixels = "
            f"{max_pixels:,}; if you trust it, pass a larger max_pixels"
        )


def _decoded(name: str, picture: Image.Image, fill: tuple[int, int, int]) -> Array:
    """Decode a picture to float32 (H, W, 3), turned upright, in sRGB, over the background."""
    try:
        picture.load()
        upright = ImageOps.exif_transpose(picture)
        return _to_rgb(name, upright, fill)
    except ImageError:
        raise
    except Exception as error:  # a decoder fed with broken bytes raises anything
        raise ImageError(f"{name} is cut short or damaged: {error}") from error


def _to_rgb(name: str, picture: Image.Image, fill: tuple[int, int, int]) -> Array:
    """Return float32 (H, W, 3) of a decoded picture of any of Pillow's modes."""
    if picture.mode.startswith("I;16"):
        return _over(np.asarray(picture).astype(np.float32)[..., None] / 65535, fill)
    if picture.mode in ("I", "F"):
        raise ImageError(f"{name} holds 32-bit values whose white is not stated; save it as 8 or 16 bit")
    picture = _to_srgb(picture)
    wanted = "RGBA" if picture.has_transparency_data else "RGB"
    return _over(np.asarray(picture.convert(wanted)).astype(np.float32) / 255, fill)


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Apply the embedded colour profile, if there is one that fits the pixels."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(
        picture.convert("RGB") if picture.mode == "P" else picture,
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None  # None only when converting in place
    return converted


def _over(pixels: Array, fill: tuple[int, int, int]) -> Array:
    """Lay grey, RGB or RGBA pixels in [0, 1] over the background: x = α·colour + (1 - α)·fill."""
    colour = np.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3))
    if pixels.shape[2] != 4:
        return colour.astype(np.float32)
    alpha = pixels[..., 3:]
    return (alpha * colour + (1 - alpha) * (np.asarray(fill) / 255)).astype(np.float32)


def _from_array(array: Array, fill: tuple[int, int, int]) -> Array:
    """Return float32 (H, W, 3) of a NumPy array."""
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise ValueError(
            f"source is an array of shape {array.shape}; it takes (H, W), (H, W, 1), (H, W, 3) or "
            "(H, W, 4): channels last"
        )
    if pixels.dtype == np.uint8:
        return _over(pixels.astype(np.float32) / 255, fill)
    if pixels.dtype == np.uint16:
        return _over(pixels.astype(np.float32) / 65535, fill)
    if not np.issubdtype(pixels.dtype, np.floating):
        raise TypeError(f"source is an array of {array.dtype}; it takes uint8, uint16 or floats")
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"source is an array of floats from {low:g} to {high:g}; floats must lie in [0, 1]"
        )
    return _over(pixels.astype(np.float32), fill)


# ---------------------------------------------------------------------------------------- resizing


def resize(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Resize an image to (H, W), or to a shorter side of ``size`` with its aspect kept.

    The filter is the antialiased triangle ("bilinear"): its weights are positive and sum to one, so
    that values stay in [0, 1]; cubic and Lanczos filters are sharper, and overshoot at edges.

    Example:
        >>> resize(torch.rand(1, 3, 40, 60), 20).shape
        torch.Size([1, 3, 20, 30])
    """
    target = (
        (_positive("size[0]", size[0]), _positive("size[1]", size[1]))
        if isinstance(size, tuple)
        else _shorter_side(image, _positive("size", size))
    )
    if target == tuple(image.shape[-2:]):
        return image.contiguous()
    resized = torch.nn.functional.interpolate(
        image, target, mode="bilinear", align_corners=False, antialias=True
    )
    # The weights are rounded to float32, so that white can come out as 1.0000001.
    return resized.clamp_(0, 1).contiguous()


def _shorter_side(image: Tensor, size: int) -> tuple[int, int]:
    height, width = image.shape[-2:]
    scale = size / min(height, width)
    return (size, round(width * scale)) if height <= width else (round(height * scale), size)


def _centre_square(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[..., top : top + side, left : left + side]


# ---------------------------------------------------------------------------------------- encoding


def to_uint8(image: Tensor) -> npt.NDArray[np.uint8]:
    """Return one image as (H, W, 3) uint8, rounded to the nearest value.

    Raises:
        ValueError: the shape is not (1, 3, H, W), or a value lies outside [0, 1].

    Example:
        >>> to_uint8(torch.full((1, 3, 1, 1), 0.499)).ravel().tolist()
        [127, 127, 127]
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"image is {kind}; it takes a float tensor (1, 3, H, W)")
    if image.ndim != 4 or image.shape[:2] != (1, 3) or image.numel() == 0:
        raise ValueError(
            f"image has shape {tuple(image.shape)}; it takes one image, (1, 3, H, W); "
            "image[i:i+1] takes one out of a batch"
        )
    values = image.detach().float()
    low, high = (float(value) for value in values.aminmax())
    if not (low >= 0 and high <= 1):  # NaN fails both comparisons, so it is refused too
        raise ValueError(
            f"image has values from {low:g} to {high:g}; they must lie in [0, 1]: "
            "image.clamp(0, 1) does it where that is meant"
        )
    return (values[0] * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def to_png_bytes(image: Tensor) -> bytes:
    """Return one image as the bytes of a PNG file, exact to 8 bits."""
    return _encoded(Image.fromarray(to_uint8(image)), "PNG")


def to_jpeg_bytes(image: Tensor, quality: int = 88) -> bytes:
    """Return one image as the bytes of a JPEG file: small, for widgets and notebooks."""
    return _encoded(Image.fromarray(to_uint8(image)), "JPEG", quality=quality)


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------ saving


def save_image(
    image: Tensor, path: str | os.PathLike[str], recipe: Mapping[str, Any] | None = None
) -> Path:
    """Write one image to a PNG, TIFF, WebP (all exact to 8 bits) or JPEG (quality 95) file.

    The file is written beside its target and renamed: a crash leaves the old one. The recipe, and
    this package's version with it, goes into the file's metadata: `read_recipe` gives it back.

    Raises:
        ValueError: the suffix is none of these, or the image is none (see `to_uint8`).
        ImageError: the file cannot be written.
    """
    path = Path(path).expanduser()
    kind = _SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(
            f"path is '{path}'; its suffix must be one of {', '.join(sorted(_SUFFIXES))}"
        )
    picture = Image.fromarray(to_uint8(image))
    options = _SAVE_OPTIONS[kind] | _metadata(kind, recipe)
    try:
        _write(path, _encoded(picture, kind, **options))
    except OSError as error:
        raise ImageError(f"'{path}' cannot be written: {_reason(error)}") from error
    return path


def _metadata(kind: str, recipe: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return Pillow's save options that put the recipe into a file of this kind."""
    if recipe is None:
        return {}
    try:
        text = json.dumps({"version": nstlib.__version__, **recipe}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(f"recipe must hold what JSON can: {error}") from error
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text(_RECIPE_KEY, text)
        return {"pnginfo": chunks}
    exif = Image.Exif()
    exif[_DESCRIPTION] = text
    return {"exif": exif}


def _write(path: Path, data: bytes) -> None:
    """Write beside the target, then rename: whoever looks sees the old file or the whole new one."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # else a power cut after the rename could leave an empty file
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_recipe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the recipe that `save_image` stored in a picture.

    Raises:
        ImageError: the file cannot be read, or holds no recipe.
    """
    name = _name_of(path)
    with _opened(name, _stream(name, path)) as picture:
        text = picture.info.get(_RECIPE_KEY) or picture.getexif().get(_DESCRIPTION)
    try:
        recipe = json.loads(str(text))
    except ValueError:
        recipe = None
    if not isinstance(recipe, dict):
        raise ImageError(f"{name} holds no recipe: save_image(..., recipe=...) did not write it")
    return recipe


# ------------------------------------------------------------------------------- pictures that ship


def sample_names() -> list[str]:
    """Return the names that `sample` takes."""
    return list(_SAMPLES)


def sample(name: str, size: int | None = None, crop: bool = False) -> Tensor:
    """Load one of scikit-image's photos (public domain or CC0), with no download.

    Example:
        >>> tuple(sample("coffee", size=64).shape)
        (1, 3, 64, 96)
    """
    if name not in _SAMPLES:
        raise ValueError(f"name is {name!r}; sample takes one of: {', '.join(_SAMPLES)}")
    import skimage.data

    return load_image(getattr(skimage.data, name)(), size, crop)


def style_names() -> list[str]:
    """Return the names of the painted styles that ship, which `style` takes."""
    return sorted(_style_files())


def style(name: str, size: int | None = None) -> Tensor:
    """Load one of the styles that ship, painted by `nstlib.painting`."""
    files = _style_files()
    if name not in files:
        raise ValueError(f"name is {name!r}; style takes one of: {', '.join(sorted(files))}")
    return load_image(files[name], size)


def _style_files() -> dict[str, Path]:
    folder = data_dir() / "styles"
    return {file.stem: file for file in folder.iterdir() if file.suffix in (".jpg", ".png")}


# ----------------------------------------------------------------------------------------- showing


@dataclass(frozen=True)
class Picture:
    """A finished picture that a notebook displays, with its description for those who cannot see it.

    It is bytes, not a figure: nothing stays open, and any front end can show it.
    """

    data: bytes  # a JPEG file
    alt: str
    width: int
    height: int

    def __repr__(self) -> str:
        return f"<picture {self.width} x {self.height}: {self.alt}>"

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, str], dict[str, Any]]:
        data = base64.b64encode(self.data).decode("ascii")
        return {"image/jpeg": data, "text/plain": repr(self)}, {"image/jpeg": {"alt": self.alt}}


def show(image: Tensor, title: str | None = None, alt: str | None = None) -> Picture:
    """Return one image for display, at its own size, pixel for pixel."""
    return compare([image], None if title is None else [title], alt=alt, height=image.shape[-2])


def compare(
    images: Sequence[Tensor],
    titles: Sequence[str] | None = None,
    columns: int | None = None,
    alt: str | None = None,
    height: int = 256,
) -> Picture:
    """Return rows of images for display, all at one height, titles above."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    titles = [""] * len(images) if titles is None else list(titles)
    if not images or len(titles) != len(images):
        raise ValueError(f"titles has {len(titles)} entries for {len(images)} images")
    columns = len(images) if columns is None else _positive("columns", columns)
    pixels = [to_uint8(resize(image, (height, max(1, round(height * image.shape[-1] / image.shape[-2])))))
              for image in images]  # fmt: skip
    gap, head = 12, 26 if any(titles) else 0
    cell = max(picture.shape[1] for picture in pixels)
    rows = math.ceil(len(images) / columns)
    width, total = columns * (cell + gap) + gap, rows * (height + head + gap) + gap
    figure = Figure(figsize=(width / 100, total / 100), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    for index, (picture, title) in enumerate(zip(pixels, titles, strict=True)):
        row, column = divmod(index, columns)
        left = gap + column * (cell + gap) + (cell - picture.shape[1]) // 2
        top = gap + row * (height + head + gap) + head
        figure.figimage(picture, left, total - top - height)
        figure.text((left + picture.shape[1] / 2) / width, 1 - (top - 7) / total, title,
                    ha="center", va="baseline", fontsize=9.5)  # fmt: skip
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    drawn = Image.open(buffer).convert("RGB")
    said = alt or "; ".join(title for title in titles if title) or "a picture"
    return Picture(_encoded(drawn, "JPEG", quality=88, subsampling=0), re.sub(r"\s+", " ", said),
                   *drawn.size)  # fmt: skip
