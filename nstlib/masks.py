"""Where a style acts: masks from pictures, cut out of photos, softened, and shared among styles.

A mask is a float32 tensor (N, 1, H, W) with values in [0, 1]: 1 where the style acts.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from nstlib.color import luminance
from nstlib.decoding import Array, Source
from nstlib.errors import ImageError
from nstlib.files import expanded, replaced
from nstlib.images import at_size, check_image, load_image, positive, resize, to_uint8

# GrabCut's time grows faster than its pixels, and the guided filter brings the contours back.
CUT_SIZE = 144  # the shorter side that a photo is cut at: 0.06 to 0.2 s

_FEWEST_PIXELS = 25  # each side's colours are told by five Gaussians, each of some pixels


def check_mask(name: str, mask: Tensor, size: tuple[int, int] | None = None) -> None:
    """Raise TypeError or ValueError unless ``mask`` is (N, 1, H, W) in [0, 1], of (H, W) = ``size``.

    Example:
        >>> check_mask("mask", torch.zeros(1, 1, 8, 8), size=(8, 9))
        Traceback (most recent call last):
        ...
        ValueError: mask has shape (1, 1, 8, 8); it must be (N, 1, 8, 9)
    """
    wanted = f"(N, 1, {size[0]}, {size[1]})" if size else "(N, 1, H, W)"
    if not isinstance(mask, Tensor) or not mask.is_floating_point():
        found = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"{name} is {found}; it must be a float tensor {wanted}")
    if (
        mask.ndim != 4
        or mask.shape[1] != 1
        or mask.numel() == 0
        or (size and tuple(mask.shape[2:]) != tuple(size))
    ):
        raise ValueError(f"{name} has shape {tuple(mask.shape)}; it must be {wanted}")
    low, high = mask.min().item(), mask.max().item()
    if not (low >= 0 and high <= 1):  # NaN fails both comparisons, so it is refused too
        raise ValueError(f"{name} has values from {low:g} to {high:g}; they must lie in [0, 1]")


# ----------------------------------------------------------------------------------- in and out


def load_mask(source: Source | Array, size: int | tuple[int, int] | None = None) -> Tensor:
    """Load a picture as a mask (1, 1, H, W): white is 1, black and what is transparent 0.

    Of a coloured picture its lightness counts, `nstlib.color.luminance`.

    Args:
        source: what `nstlib.load_image` takes.
        size: (H, W), or the shorter side with the aspect kept; None keeps every pixel.

    Raises:
        ImageError: the picture cannot be read.
        ValueError, TypeError: an argument is wrong.

    Example:
        >>> drawn = np.array([[0, 255], [255, 0]], dtype=np.uint8)
        >>> load_mask(drawn)[0, 0].tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    mask = luminance(load_image(source, background="black"))
    return mask if size is None else resize(mask, size)


def save_mask(mask: Tensor, path: str | os.PathLike[str]) -> Path:
    """Write one mask (1, 1, H, W) as an 8-bit grey PNG; `load_mask` gives it back to 1/510.

    It is written beside its target and renamed, so that a crash leaves the old file.

    Raises:
        ValueError, TypeError: it is no mask, more than one, or the suffix is not ``.png``.
        ImageError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> mask = torch.tensor([[[[0.0, 1.0]]]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.equal(load_mask(save_mask(mask, f"{folder}/right.png")), mask)
        True
    """
    check_mask("mask", mask)
    if len(mask) != 1:
        raise ValueError(f"mask has shape {tuple(mask.shape)}; save_mask takes one, (1, 1, H, W)")
    path = expanded(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path is '{path}'; a mask is saved as .png")
    levels = (mask[0, 0].detach().float() * 255).round().to(torch.uint8).cpu().numpy()
    try:
        with replaced(path) as unfinished:
            Image.fromarray(levels).save(unfinished, "PNG")
    except OSError as error:
        raise ImageError(f"'{path}' cannot be written: {error.strerror or error}") from error
    return path


# -------------------------------------------------------------------------------------- cut out


def foreground(
    image: Tensor, rectangle: tuple[float, float, float, float], steps: int = 3
) -> Tensor:
    """Cut the thing within a rectangle out of a photo: a mask (1, 1, H, W), 1 on the thing.

    GrabCut (Rother et al. 2004) takes what lies outside for background, tells the colours of both
    sides by Gaussians, and cuts where that costs least: along contours, between unlike colours. It
    fails where the thing has the colours of its background. Draw the rectangle close, with all of
    the thing inside. The photo is cut at a shorter side of ``CUT_SIZE``, and a guided filter
    brings the cut to full size, its edge soft and along the photo's own contours.

    Args:
        image: the photo, (1, 3, H, W) in [0, 1].
        rectangle: (left, top, right, bottom) as fractions of the width and height.
        steps: rounds of colours and cut; most cuts stay as they are after the third.

    Raises:
        ValueError, TypeError: an argument is wrong, or nothing in the rectangle stands out.
        ImportError: OpenCV is missing.

    Example:
        >>> photo = torch.zeros(1, 3, 48, 48)
        >>> photo[:, 0, 16:32, 16:32] = 1  # a red square on black
        >>> mask = foreground(photo, (0.2, 0.2, 0.8, 0.8))
        >>> mask[0, 0, 24, 24], mask[0, 0, 4, 4]
        (tensor(1.00), tensor(0.00))
    """
    check_image("image", image)
    steps = positive("steps", steps)
    image = image.detach().float().cpu()
    small = at_size(image, CUT_SIZE)
    inside = _inside(rectangle, small.shape[2], small.shape[3])
    cut = _grab_cut(to_uint8(small), inside, steps)
    if not cut.any():
        raise ValueError(
            f"rectangle is {rectangle}, and nothing in it stands out from what lies around it; "
            "draw it closer about the thing"
        )
    return _guided(torch.from_numpy(cut)[None, None].float(), small, image)


def _inside(
    rectangle: tuple[float, float, float, float], height: int, width: int
) -> npt.NDArray[np.bool_]:
    """Return where the rectangle lies (H, W), or say what is wrong with it."""
    takes = "it takes four fractions (left, top, right, bottom)"
    try:
        left, top, right, bottom = (float(side) for side in rectangle)
    except (TypeError, ValueError) as error:
        raise TypeError(f"rectangle is {rectangle!r}; {takes}") from error
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):  # NaN fails, too
        raise ValueError(
            f"rectangle is {rectangle}; {takes} in [0, 1] with left < right and top < bottom"
        )
    inside = np.zeros((height, width), dtype=bool)
    rows = slice(round(top * height), round(bottom * height))
    inside[rows, round(left * width) : round(right * width)] = True
    if inside.sum() < _FEWEST_PIXELS:
        raise ValueError(f"rectangle is {rectangle}; it is too small to hold anything")
    if (~inside).sum() < _FEWEST_PIXELS:
        raise ValueError(
            f"rectangle is {rectangle}; it leaves nothing outside it to tell the background by"
        )
    return inside


def _grab_cut(
    picture: npt.NDArray[np.uint8], inside: npt.NDArray[np.bool_], steps: int
) -> npt.NDArray[np.bool_]:
    """Return OpenCV's cut (H, W) of an RGB picture (H, W, 3)."""
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            "foreground needs OpenCV, which is not installed: pip install 'nstlib[video]'"
        ) from error
    cv2.setRNGSeed(0)  # its Gaussians start from random pixels: the same ones each time
    classes = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    behind, before = np.zeros((1, 65)), np.zeros((1, 65))  # for 5 Gaussians of 13 numbers each
    cv2.grabCut(picture, classes, (0, 0, 0, 0), behind, before, steps, cv2.GC_INIT_WITH_MASK)
    cut: npt.NDArray[np.bool_] = classes == cv2.GC_PR_FGD
    return cut


def _guided(
    cut: Tensor, small: Tensor, image: Tensor, radius: int = 2, eps: float = 1e-3
) -> Tensor:
    """Bring a cut (1, 1, h, w) of the small photo (1, 3, h, w) to the size of the photo.

    In each window of the small photo the cut is fitted by a line in the colour, cut = a·I + b; the
    lines, enlarged, then see the large photo's contours (He et al. 2010; at reduced size: He and
    Sun 2015). Where the colour tells nothing, ``eps`` makes a vanish, and b a local mean.
    """

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(F.pad(x, (radius,) * 4, mode="replicate"), 2 * radius + 1, stride=1)

    def enlarged(x: Tensor) -> Tensor:
        return F.interpolate(mean(x), image.shape[2:], mode="bilinear", align_corners=False)

    colour, share = mean(small), mean(cut)
    squares = torch.cat([mean(small * small[:, c : c + 1]) for c in range(3)])  # (3, 3, h, w)
    squares = squares - colour * colour.transpose(0, 1)
    covariance = squares.permute(2, 3, 0, 1)[None] + eps * torch.eye(3)  # (1, h, w, 3, 3)
    with_cut = (mean(small * cut) - colour * share).movedim(1, -1)  # (1, h, w, 3)
    a = torch.linalg.solve(covariance, with_cut).movedim(-1, 1)  # (1, 3, h, w)
    b = share - (a * colour).sum(1, keepdim=True)
    # A line does not stop at 0 and 1, where the cut does.
    return ((enlarged(a) * image).sum(1, keepdim=True) + enlarged(b)).clamp(0, 1)


# ------------------------------------------------------------------------------- soften and share


def soften(mask: Tensor, radius: float) -> Tensor:
    """Blur masks by a Gaussian whose standard deviation is ``radius`` pixels; 0 leaves them.

    Beyond the border the border's values go on: a flat mask stays as it is.

    Raises:
        ValueError, TypeError: it is no mask, or ``radius`` no number of at least 0.

    Example:
        >>> edge = torch.tensor([0.0, 0, 0, 1, 1, 1]).expand(1, 1, 6, 6)
        >>> soften(edge, 1)[0, 0, 0]
        tensor([0.00, 0.06, 0.30, 0.70, 0.94, 1.00])
    """
    check_mask("mask", mask)
    if isinstance(radius, bool) or not isinstance(radius, (int, float)):
        raise TypeError(f"radius is {radius!r}; it takes a number of pixels")
    if not 0 <= radius < math.inf:
        raise ValueError(f"radius is {radius}; it must be at least 0")
    if radius < 0.05:  # its neighbours weigh less than float32 can say
        return mask
    reach = math.ceil(3 * radius)  # what lies farther weighs 0.3 % in all
    at = torch.arange(-reach, reach + 1, dtype=mask.dtype, device=mask.device)
    weights = torch.exp(-((at / radius) ** 2) / 2)
    weights = weights / weights.sum()
    blurred = F.conv2d(
        F.pad(mask, (reach, reach, 0, 0), mode="replicate"), weights[None, None, None]
    )
    blurred = F.conv2d(
        F.pad(blurred, (0, 0, reach, reach), mode="replicate"), weights[None, None, :, None]
    )
    # The weights add up to 1 within rounding only: 1 would come out as 1.0000001.
    return blurred.clamp(mask.amin((1, 2, 3), keepdim=True), mask.amax((1, 2, 3), keepdim=True))


def shares(masks: Tensor) -> Tensor:
    """Return what each of R regions (R, 1, H, W) gets of every pixel, at most 1 in all.

    m_r / max(1, Σ m): where regions overlap beyond 1 they share in proportion; elsewhere they stay
    as they are, and what is left belongs to the photo itself.

    Raises:
        ValueError, TypeError: they are no masks.

    Example:
        >>> shares(torch.tensor([1.0, 0.5]).view(2, 1, 1, 1)).ravel()
        tensor([0.67, 0.33])
        >>> shares(torch.tensor([0.2, 0.5]).view(2, 1, 1, 1)).ravel()
        tensor([0.20, 0.50])
    """
    check_mask("masks", masks)
    return masks / masks.sum(0, keepdim=True).clamp(min=1)
