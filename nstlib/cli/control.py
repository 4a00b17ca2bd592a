"""What the commands that paint in one pass share: mixtures, regions, and all that can be turned."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nstlib import images, masks
from nstlib.cli.flags import (
    OWN_PICTURES,
    Parameter,
    UsageError,
    add_weights,
    check_kept,
    existing_file,
    find_picture,
    parameters_of,
    whole,
)
from nstlib.config import Range
from nstlib.images import resize

STYLE_SIZE = 512  # px: the shorter side that AdaIN sees a style at

# ------------------------------------------------------------------------------- what can be turned

CONTROLS = ("alpha", "style_weight", "keep_color", "match", "stroke_size")

Stylize = Callable[..., Tensor]  # the method of a Stylist or a NetStylist


def add_controls(command: argparse.ArgumentParser, *stylize: Stylize) -> None:
    """Add a flag for each control of a stylist, or of several: the first that has it says what it is.

    One that is not given is left out, so that the signature's default stands.
    """
    known: dict[str, Parameter] = {}
    for method in stylize:
        known = _controls_of(method) | known
    for name in (name for name in CONTROLS if name in known):
        known[name].add_to(command)


def controls(options: argparse.Namespace, stylize: Stylize, painter: str) -> dict[str, Any]:
    """Return where each control of ``stylize`` stands: as it was given, or by default.

    Raises:
        ValueError: one that was given is off its range, or ``painter`` has none such.
    """
    known = _controls_of(stylize)
    given = {name: value for name, value in vars(options).items() if name in CONTROLS}
    check_idle(painter, given.keys() - known.keys())
    for name, value in given.items():
        if isinstance(meaning := known[name].meaning, Range):
            meaning.check(name, value)
    return {name: given.get(name, control.default) for name, control in known.items()}


def check_idle(painter: str, names: Iterable[str]) -> None:
    """Raise UsageError for what was given although ``painter`` has no use for it."""
    if idle := ", ".join("--" + name.replace("_", "-") for name in sorted(names)):
        raise UsageError(f"{idle}: of no effect on {painter}")


def _controls_of(stylize: Stylize) -> dict[str, Parameter]:
    """Return the controls among the parameters of ``stylize``, as its signature states them."""
    return {name: of for name, of in parameters_of(stylize).items() if name in CONTROLS}


# --------------------------------------------------------------------------------- several styles


def add_style(command: argparse.ArgumentParser, more: str) -> None:
    """Add the style, by its place or by ``--style``, of which there may be several."""
    known = ", ".join(images.style_names())
    style = command.add_argument("style", metavar="[style]", help=f"{OWN_PICTURES}{known}; {more}")
    style.required = False  # with nargs="?" it could not stand after a flag, before Python 3.13
    add_mixture(command, styles="one style, or several to mix: --style a b")


def add_mixture(command: argparse.ArgumentParser, styles: str) -> None:
    """Add what says which styles, how much of each, and where."""
    command.add_argument(
        "--style", nargs="+", action="extend", dest="styles", metavar="STYLE", help=styles
    )
    add_weights(command)
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--mask",
        type=existing_file,
        action="append",
        default=[],
        metavar="FILE",
        help="a picture, white where the first style goes, and another --mask for the next; one more "
        "style goes where no mask is, else the photo stays there",
    )
    where.add_argument(
        "--foreground",
        nargs=4,
        type=float,
        metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"),
        help="a rectangle about a thing in the photo, in fractions of its sides: the first style goes "
        "on that thing, and a second around it",
    )


def styles_asked(options: argparse.Namespace, after: str = "photo") -> list[str]:
    """Return what was named as a style: by its place, or by flags.

    Raises:
        UsageError: there is none, or both ways were taken.
    """
    if options.style and options.styles:
        raise UsageError(
            f"there is a style after the {after}, {options.style!r}, and --style "
            f"{' '.join(options.styles)}; it takes one or the other"
        )
    if not options.style and not options.styles:
        raise UsageError(f"there is no style: name one after the {after}, or several with --style")
    return options.styles or [options.style]


def add_style_size(command: argparse.ArgumentParser) -> None:
    """Add how large AdaIN sees a style; :func:`style_size` reads it."""
    command.add_argument(
        "--style-size",
        type=whole,
        default=argparse.SUPPRESS,
        help=f"shorter side that a style is seen at, or its own if smaller ({STYLE_SIZE}); how large "
        "the strokes are, --stroke-size says",
    )


def style_size(options: argparse.Namespace) -> int:
    """Return the shorter side that AdaIN sees a style at."""
    size: int = getattr(options, "style_size", STYLE_SIZE)
    return size


class Photo(NamedTuple):
    """A photo (1, 3, H, W), and a region (styles, 1, H, W) for each style, where there are any."""

    image: Tensor
    mask: Tensor | None


@dataclass(frozen=True)
class Regions:
    """Where each style goes: into masks from files, or onto a thing that is cut out of the photo."""

    files: Sequence[tuple[str, Tensor]]
    rectangle: tuple[float, float, float, float] | None
    styles: int

    @classmethod
    def asked(cls, options: argparse.Namespace, styles: int, outs: Iterable[Path]) -> Regions:
        """Return those that the flags ask for, of a number of styles.

        Raises:
            ImageError: a mask cannot be read.
            UsageError: a mask is one of the files to be written.
            ValueError: they do not fit the styles, or the rectangle not a picture.
        """
        count = 1 if options.foreground else len(options.mask)
        if count and options.weights:
            raise ValueError("--weights are of a mixture; in a region there is one style")
        if count and styles not in (count, count + 1):
            raise ValueError(
                f"styles: {styles}, regions: {count}; each region takes a style, and one more goes "
                "where they are not"
            )
        if options.foreground:
            _check_rectangle(*options.foreground)
        for out in outs:
            check_kept(out, "mask", options.mask)
        files = [(name, masks.load_mask(name)) for name in options.mask]
        return cls(files, options.foreground and tuple(options.foreground), styles)

    def photo(self, name: str, size: int | None) -> Photo:
        """Return a photo and its regions."""
        photo = find_picture(name, size)
        return Photo(photo, self.on(photo))

    def on(self, photo: Tensor) -> Tensor | None:
        """Return a region (1, 1, H, W) for each style on a photo, (styles, 1, H, W), or None.

        Raises:
            ValueError: a mask of another shape than the photo, or nothing to be cut out.
            ImportError: OpenCV is missing, which cuts.
        """
        if not self.files and not self.rectangle:
            return None
        parts = [_on_photo(name, mask, photo) for name, mask in self.files]
        if self.rectangle:
            parts = [masks.foreground(photo, self.rectangle)]
        regions = torch.cat(parts)
        if self.styles > len(regions):
            rest = 1 - masks.shares(regions).sum(dim=0, keepdim=True)
            regions = torch.cat([regions, rest.clamp_min(0)])
        return regions

    @property
    def recipe(self) -> dict[str, Any]:
        """What a picture says of its regions."""
        names = [Path(name).name for name, _ in self.files]
        return {"mask": names or None, "foreground": self.rectangle}


def _on_photo(name: str, mask: Tensor, photo: Tensor) -> Tensor:
    """Return a mask at the size of a photo of the same shape."""
    (mask_height, mask_width), (height, width) = mask.shape[2:], photo.shape[2:]
    # Sizes are whole pixels, so that the sides' ratios differ by up to one of the smaller picture's.
    if abs(mask_height * width - mask_width * height) > max(mask_height, mask_width, height, width):
        raise ValueError(
            f"the mask '{name}' has {mask_width} x {mask_height} pixels, the photo {width} x {height}; "
            "they must be of one shape"
        )
    return resize(mask, (height, width))


def _check_rectangle(left: float, top: float, right: float, bottom: float) -> None:
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):  # NaN fails, too
        raise ValueError(
            f"--foreground is {left:g} {top:g} {right:g} {bottom:g}; it takes LEFT TOP RIGHT BOTTOM "
            "in [0, 1], left of right and top above bottom"
        )
