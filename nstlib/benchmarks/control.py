"""How fast each control answers: what a user waits for, from the move to the bytes of the picture.

The photo and the styles are encoded before, as a lab keeps them; the first row is the yardstick, in
which nothing is kept. No control finds its answer ready: each time it is moved to another place.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nstlib import config, images, masks
from nstlib.adain import load_adain
from nstlib.benchmarks.timing import Row, compare
from nstlib.interpolation import corner_weights, square_weights
from nstlib.stylist import Stylist
from nstlib.widgets.display import preview
from nstlib.widgets.mask_lab import disc

PHOTO = "astronaut"
STYLES = ("vortex", "woodblock", "mosaic", "impasto")
STYLE_SIZE = 512  # px: the shorter side at which a painting is looked at, as in the labs
SQUARE_SIZE = 128  # px: of each picture of a square, of so many to a side:
SQUARE_STEPS = 5
STROKES = (0.5, 2, 4)
KEPT = 8  # photos, as in the labs: no row pushes out what another keeps

# Where controls are moved to, in turn. None is an end of its range, where there may be less to do.
_ALPHAS = (0.35, 0.8, 0.5, 0.95, 0.65)
_WEIGHTS = ((1, 2, 3, 4), (4, 1, 2, 3), (3, 4, 1, 2), (2, 3, 4, 1))
_POINTS = ((0.2, 0.3), (0.7, 0.4), (0.6, 0.8), (0.3, 0.6))
_RADII = (0.3, 0.6, 0.4, 0.7, 0.5)
# Around the head and the shoulders, more or less closely.
_RECTANGLES = ((0.15, 0.02, 0.8, 0.95), (0.12, 0.02, 0.78, 0.96), (0.14, 0.04, 0.82, 0.97))

Paint = Callable[[], Tensor]


def control_rows(
    size: int = 384, repeats: int = 15, device: str = "auto", stylist: Stylist | None = None
) -> list[Row]:
    """Time one answer of each control, on a photo that ships, its shorter side ``size``."""
    return compare(control_contenders(size, device, stylist), repeats)


def control_contenders(
    size: int = 384, device: str = "auto", stylist: Stylist | None = None
) -> dict[str, Callable[[], bytes]]:
    """Return one answer of each control, as the bytes that a page is sent; the first keeps nothing.

    Cutting out a foreground is left out where OpenCV is missing. ``stylist`` stands for one over the
    model that ships.
    """
    if stylist is None:
        stylist = Stylist(load_adain(device=config.pick_device(device)), kept=KEPT)
    styles = [images.at_size(images.style(name), STYLE_SIZE) for name in STYLES]
    at = _Work(stylist, images.sample(PHOTO, size), styles)
    stylist.stylize(at.photo, styles)
    works = {**_of_styles(at), **_of_regions(at), **_of_pictures(at)}
    return {name: partial(_sent, work) for name, work in works.items()}


def _sent(paint: Paint) -> bytes:
    return preview(paint())


@dataclass(frozen=True)
class _Work:
    """What all controls turn: a photo and its styles."""

    stylist: Stylist
    photo: Tensor
    styles: Sequence[Tensor]

    def paint(self, **turned: object) -> Tensor:
        """Return the photo in the first style."""
        return self.stylist.stylize(self.photo, self.styles[0], **turned)  # type: ignore[arg-type]

    def mix(self, weights: Sequence[float] | Tensor) -> Tensor:
        """Return the photo in a mixture of all styles."""
        return self.stylist.stylize(self.photo, self.styles, weights=weights)


def _of_styles(at: _Work) -> dict[str, Paint]:
    """Return what is turned of the whole picture."""
    alphas, weights = itertools.cycle(_ALPHAS), itertools.cycle(_WEIGHTS)
    points = itertools.cycle(_POINTS)

    def painted(**turned: object) -> Paint:
        return lambda: at.paint(alpha=next(alphas), **turned)

    def first_matched() -> Tensor:
        # A copy is another picture: its colours are moved, and it is encoded.
        return at.stylist.stylize(at.photo, at.styles[0].clone(), keep_color="match")

    return {
        "nothing kept: photo and style encoded": lambda: at.stylist.model.stylize(
            at.photo, at.styles[0], alpha=next(alphas)
        ),
        "alpha": painted(),
        "sliders of four styles": lambda: at.mix(next(weights)),
        "pad between four styles": lambda: at.mix(corner_weights(*next(points))),
        "colours by lightness": painted(keep_color="luminance"),
        "colours matched, the first time": first_matched,
        "match by whitening": painted(match="whitening"),
        "match by transport": painted(match="transport"),
        **{f"stroke size {size:g}": painted(stroke_size=size) for size in STROKES},
    }


def _of_regions(at: _Work) -> dict[str, Paint]:
    """Return what is turned where a mask parts two styles; a cut only where OpenCV is there."""
    alphas, boxes = itertools.cycle(_ALPHAS), itertools.cycle(_RECTANGLES)
    discs = itertools.cycle([disc(at.photo, radius) for radius in _RADII])
    still = _two(next(discs))

    def painted(regions: Tensor, **turned: object) -> Tensor:
        return at.stylist.stylize(at.photo, at.styles[:2], mask=regions, **turned)  # type: ignore[arg-type]

    works: dict[str, Paint] = {
        "brush: another mask for two styles": lambda: painted(_two(next(discs))),
        "brush, match by transport": lambda: painted(_two(next(discs)), match="transport"),
        "alpha, with two styles by a mask": lambda: painted(still, alpha=next(alphas)),
    }
    if importlib.util.find_spec("cv2"):
        works["foreground cut out, for two styles"] = lambda: painted(
            _two(masks.foreground(at.photo, next(boxes)))
        )
    return works


def _two(mask: Tensor) -> Tensor:
    return torch.cat([mask, 1 - mask])


def _of_pictures(at: _Work) -> dict[str, Paint]:
    """Return what is made of other pictures, and of many at once."""
    small = images.at_size(at.photo, SQUARE_SIZE)
    tables = itertools.cycle([square_weights(SQUARE_STEPS).roll(i, dims=1) for i in range(4)])
    return {
        "another photo": lambda: at.stylist.stylize(at.photo.clone(), at.styles[0]),
        "another style": lambda: at.stylist.stylize(at.photo, at.styles[0].clone()),
        f"square of {SQUARE_STEPS**2} at {SQUARE_SIZE} px, in one pass": lambda: _as_square(
            at.stylist.stylize(small, at.styles, weights=next(tables))
        ),
    }


def _as_square(pictures: Tensor) -> Tensor:
    """Return n² pictures (n², 3, H, W) as one, row by row."""
    rows = pictures.view(SQUARE_STEPS, SQUARE_STEPS, *pictures.shape[1:])  # (n, n, 3, H, W)
    return rows.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)[None]
