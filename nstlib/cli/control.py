"""What the commands that paint in one pass share: mixtures, regions, and all that can be turned."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from nstlib import masks
from nstlib.adain import ALPHA
from nstlib.cli.flags import numbers
from nstlib.config import Range
from nstlib.errors import ImageError, NstError
from nstlib.images import resize
from nstlib.strokes import STROKE_SIZE

STYLE_SIZE = 512  # px: the shorter side that AdaIN sees a style at
STYLE_SIZE_HELP = (
    "shorter side that a style is seen at, or its own if smaller "
    f"({STYLE_SIZE}); how large the strokes are, --stroke-size says"
)

# ------------------------------------------------------------------------------- what can be turned

CONTROLS: dict[str, Range | str] = {
    "alpha": ALPHA,
    "style_weight": "where the net's dial stands (its upper end)",
    "keep_color": "keep the photo's colours",
    "match": "what the photo's maps take from the style's",
    "stroke_size": STROKE_SIZE,
}
CHOICES = {  # what they mean; which of them there are, a stylist's signature says
    "luminance": "only light and dark are painted",
    "match": "the styles are recoloured before",
    "deviation": "mean and spread of each channel, which is AdaIN",
    "whitening": "how channels go together too, whitened and then coloured",
    "transport": "that too, by the shortest way",
}

Stylize = Callable[..., Tensor]  # the method of a Stylist or a NetStylist


def add_controls(command: argparse.ArgumentParser, *stylize: Stylize) -> None:
    """Add a flag for each control of a stylist, or of several: the first that has it says what it is.

    One that is not given is left out, so that the signature's default stands.
    """
    known: dict[str, _Control] = {}
    for method in stylize:
        known = _controls_of(method) | known
    for name in (name for name in CONTROLS if name in known):
        command.add_argument(
            "--" + name.replace("_", "-"),
            type=str if known[name].choices else float,
            choices=known[name].choices or None,
            default=argparse.SUPPRESS,
            help=known[name].help,
        )


def controls(options: argparse.Namespace, stylize: Stylize, painter: str) -> dict[str, Any]:
    """Return where each control of ``stylize`` stands: as it was given, or by default.

    Raises:
        ValueError: one that was given is off its range, or ``painter`` has none such.
    """
    known = _controls_of(stylize)
    given = {name: value for name, value in vars(options).items() if name in CONTROLS}
    check_idle(painter, given.keys() - known.keys())
    for name, value in given.items():
        if isinstance(meaning := CONTROLS[name], Range):
            meaning.check(name, value)
    return {name: given.get(name, control.default) for name, control in known.items()}


def check_idle(painter: str, names: Iterable[str]) -> None:
    """Raise ValueError for what was given although ``painter`` has no use for it."""
    if idle := ", ".join("--" + name.replace("_", "-") for name in sorted(names)):
        raise ValueError(f"{idle}: of no effect on {painter}")


@dataclass(frozen=True)
class _Control:
    """A parameter of a stylist's ``stylize``."""

    meaning: Range | str
    choices: tuple[str, ...]  # none: it is a number
    default: Any

    @property
    def help(self) -> str:
        """The meaning, what it takes, and the default."""
        default = "" if self.default is None else f" ({self.default})"
        if isinstance(self.meaning, Range):
            low, high = self.meaning.low, self.meaning.high
            return f"{self.meaning.meaning}, {low:g} to {high:g}{default}"
        if not self.choices:
            return f"{self.meaning}{default}"
        means = "; ".join(f"{choice}: {CHOICES[choice]}" for choice in self.choices)
        return f"{self.meaning}{default}. {means}"


def _controls_of(stylize: Stylize) -> dict[str, _Control]:
    """Return the controls among the parameters of ``stylize``, as its signature states them."""
    hints = get_type_hints(stylize)
    return {
        name: _Control(CONTROLS[name], _choices(hints[name]), parameter.default)
        for name, parameter in inspect.signature(stylize).parameters.items()
        if name in CONTROLS
    }


def _choices(hint: Any) -> tuple[str, ...]:
    """Return the values of a ``Literal``, also of one that may be None."""
    literals = [part for part in (hint, *get_args(hint)) if get_origin(part) is Literal]
    return get_args(literals[0]) if literals else ()


# --------------------------------------------------------------------------------- several styles


def add_mixture(command: argparse.ArgumentParser, styles: str) -> None:
    """Add what says which styles, how much of each, and where."""
    command.add_argument(
        "--style", nargs="+", action="extend", dest="styles", metavar="STYLE", help=styles
    )
    command.add_argument(
        "--weights",
        nargs="+",
        type=numbers(float, ".3 .7"),
        metavar="WEIGHT",
        help="of several styles; divided by their sum (equal)",
    )
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--mask",
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
        ValueError: there is none, or both ways were taken.
    """
    if options.style and options.styles:
        raise ValueError(
            f"there is a style after the {after}, {options.style!r}, and --style "
            f"{' '.join(options.styles)}; it takes one or the other"
        )
    if not options.style and not options.styles:
        raise ValueError(f"there is no style: name one after the {after}, or several with --style")
    return options.styles or [options.style]


def weights(options: argparse.Namespace) -> list[float] | None:
    """Return the weights as one list, whether they were written ``.3 .7`` or ``0.3,0.7``."""
    return options.weights and [weight for part in options.weights for weight in part]


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
            ImageError: a mask cannot be read, or is one of the files to be written.
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

    def on(self, photo: Tensor) -> Tensor | None:
        """Return a region (1, 1, H, W) for each style on a photo, (styles, 1, H, W), or None.

        Raises:
            ValueError: a mask of another shape than the photo, or nothing to be cut out.
            NstError: OpenCV is missing, which cuts.
        """
        if not self.files and not self.rectangle:
            return None
        parts = [_on_photo(name, mask, photo) for name, mask in self.files]
        if self.rectangle:
            try:
                parts = [masks.foreground(photo, self.rectangle)]
            except ImportError as error:
                raise NstError(str(error)) from error
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


# ------------------------------------------------------------------------------------------ files


def check_kept(out: Path, kind: str, files: Iterable[str]) -> None:
    """Raise ImageError if ``out`` is one of the files that it is made of."""
    if out.resolve() in {Path(name).resolve() for name in files}:
        raise ImageError(f"'{out}' is a {kind}, which would be overwritten")


@contextmanager
def about(photo: str) -> Iterator[None]:
    """Say of which photo it is that what was asked for cannot be: of many, it is left out."""
    try:
        yield
    except ValueError as error:
        raise ImageError(f"{photo}: {error}") from error
