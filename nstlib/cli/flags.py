"""What the commands share: names of pictures and files, and flags that are read from signatures."""

from __future__ import annotations

import argparse
import inspect
import os
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from torch import Tensor

from nstlib import images
from nstlib.adain import ALPHA
from nstlib.config import Range
from nstlib.errors import ImageError, NstError
from nstlib.files import expanded
from nstlib.strokes import STROKE_SIZE
from nstlib.video import FASTEST, TEMPORAL_WEIGHT

ENCODERS = ("slim", "vgg19")
OWN_PICTURES = "a file, or one that ships: "


class UsageError(NstError):
    """What was asked for cannot be; the message names the argument or the file."""


# ------------------------------------------------------------------------------ pictures and files


def find_picture(name: str, size: int | None = None, crop: bool = False) -> Tensor:
    """Return the picture of a file, or the photo or painted style that ships under ``name``.

    ``size`` is its shorter side in pixels, and ``crop`` takes the square in its middle.

    Raises:
        UsageError: there is neither.
        ImageError: the file is no picture, or damaged.
    """
    path = expanded(name)
    if os.path.isfile(path):  # os.path's: pathlib's raises an error of a name that is too long
        return images.load_image(name, size=size, crop=crop)
    if name in images.sample_names():
        return images.sample(name, size=size, crop=crop)
    if name in images.style_names():
        return images.style(name, size=size)  # a square already
    if os.path.isdir(path):
        raise UsageError(f"{name}: it is a folder, not a picture")
    if os.path.exists(path):
        return images.load_image(name, size=size)  # a device, say: the error says what it is
    known = ", ".join([*images.sample_names(), *images.style_names()])
    raise UsageError(f"{name}: no such file, and none that ships is called so; there are: {known}")


def existing_file(text: str) -> str:
    """Return the name of a file that is there."""
    path = str(expanded(text))
    if os.path.isdir(path):  # os.path's: pathlib's raises an error of a name that is too long
        raise argparse.ArgumentTypeError(f"{text}: it is a folder, not a file")
    if not os.path.exists(path):
        raise argparse.ArgumentTypeError(f"{text}: there is no such file")
    return path


def trained(ships: str) -> Callable[[str], str]:
    """Return what reads where weights lie: in a file that is there, or in what ships by a name."""
    return lambda text: text if text == ships else existing_file(text)


def file_ending_in(*suffixes: str) -> Callable[[str], Path]:
    """Return what reads the path of a file to be written, of one of some kinds."""

    def read(text: str) -> Path:
        path = expanded(text)
        if path.suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f"{text!r} must end in {' or '.join(suffixes)}")
        return path

    return read


picture_file = file_ending_in(*images.WRITABLE)
clip_file = file_ending_in(*FASTEST)


def make_folder(path: Path) -> None:
    """Make the folder of an output before the work: a long run must not fail at its last line."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"'{path}' cannot be written: {error.strerror}") from error


def check_kept(out: Path, kind: str, names: Sequence[str]) -> None:
    """Raise UsageError if ``out`` is one of the files that it is made of."""
    if out.resolve() in {Path(name).resolve() for name in names}:
        raise UsageError(f"'{out}' is a {kind}, which would be overwritten")


# ---------------------------------------------------------------- flags that several commands have

DEVICE = "where to compute: auto, which is a GPU if there is one, cpu, cuda, cuda:1 or mps"


def add_out(
    command: argparse.ArgumentParser,
    what: str,
    kind: Callable[[str], Path],
    default: Path | None = None,
) -> None:
    """Add where the result goes: a file of a ``kind``, or whatever ``what`` says."""
    stands = "" if default is None else f" ({default})"
    command.add_argument(
        "-o", "--out", type=kind, default=default, required=default is None, help=what + stands
    )


def add_device(command: argparse.ArgumentParser) -> None:
    """Add where to compute."""
    command.add_argument("--device", default="auto", help=f"{DEVICE} (%(default)s)")


def add_size(command: argparse.ArgumentParser, default: int | None, more: str = "") -> None:
    """Add how large a photo is painted; at its own size where there is no default."""
    stands = "the photo's own" if default is None else default
    command.add_argument(
        "--size", type=whole, default=default, help=f"shorter side in pixels{more} ({stands})"
    )


def add_encoder(
    command: argparse.ArgumentParser, default: str = "slim", what: str = "what looks at pictures"
) -> None:
    """Add which network looks at pictures, or judges them."""
    command.add_argument(
        "--encoder",
        default=default,
        choices=ENCODERS,
        help=f"{what}: slim, which ships, or VGG-19, as found or downloaded (%(default)s)",
    )


def add_weights(command: argparse.ArgumentParser) -> None:
    """Add how much of each of several styles; :func:`weights` reads it."""
    command.add_argument(
        "--weights",
        nargs="+",
        type=numbers(float, ".3 .7"),
        metavar="WEIGHT",
        help="of several styles; divided by their sum (equal)",
    )


def weights(options: argparse.Namespace) -> list[float] | None:
    """Return the weights as one list, whether they were written ``.3 .7`` or ``0.3,0.7``."""
    return options.weights and [weight for part in options.weights for weight in part]


def add_trained(command: argparse.ArgumentParser, flag: str, ships: str) -> None:
    """Add where a model's weights lie: in what ships, or in a file."""
    command.add_argument(
        flag,
        type=trained(ships),
        default=ships,
        metavar="WEIGHTS",
        help=f"'{ships}', which ships, or a file of weights (%(default)s)",
    )


def add_painter(command: argparse.ArgumentParser, otherwise: str = "adain") -> None:
    """Add which model paints in one pass: AdaIN or a fast net, what ships or a file."""
    painter = command.add_mutually_exclusive_group()
    painter.add_argument(
        "--model",
        type=trained("adain"),
        metavar="WEIGHTS",
        help=f"paint by AdaIN: 'adain', which ships, or a file of weights ({otherwise})",
    )
    painter.add_argument(
        "--net",
        type=trained("fast"),
        metavar="WEIGHTS",
        help="paint by a fast net: 'fast', which ships, or a file of weights",
    )


# -------------------------------------------------------------------------- flags from signatures

# What a parameter means where its annotation does not say so.
MEANINGS: dict[str, Range | str] = {
    "alpha": ALPHA,
    "clamp": "keep the picture in [0, 1] at every step of Adam",
    "coarse": "residual blocks at twice the tap's stride",
    "coarse_channels": "channels of those",
    "content_tap": "layer that the photo is compared at",
    "content_taps": "layers that the photo is compared at: a,b or with weights a=1,b=0.5",
    "crop": "side of a crop in pixels",
    "device": DEVICE,
    "dial": "style weights that the net can be turned to",
    "every": "steps between two checkpoints",
    "flow": "how motion is found",
    "init": "what to begin with: content, noise, or a picture of the photo's shape",
    "keep_color": "keep the photo's colours",
    "kernels": "sides of the first and the last convolution, in pixels",
    "last_channels": "before the last convolution; 0: as many as the encoder has",
    "margin": "pixels painted around the picture, and cut off",
    "match": "what the photo's maps take from the style's",
    "norm": "how maps are normalised",
    "normalize": "what a layer's loss is divided by",
    "optimizer": "how the pixels are optimised",
    "output": "how what is painted is brought into [0, 1]",
    "precision": "what is computed in; auto: the faster one here",
    "seed": "another seed, another result",
    "shorter_side": "larger pictures are made so small; large collections are often used at crops "
    "of 256 px out of 512",
    "size": "side in pixels",
    "skips": "shallower taps whose maps join on the way",
    "space": "which numbers are optimised, and smoothed",
    "steered_by": "taps whose statistics scale and shift each layer",
    "stroke_size": STROKE_SIZE,
    "style_taps": "layers that the style is compared at: a,b or with weights a=1,b=0.5",
    "style_weight": "where the net's dial stands (its upper end)",
    "temporal_weight": replace(
        TEMPORAL_WEIGHT, meaning=f"{TEMPORAL_WEIGHT.meaning}; 0: each frame by itself"
    ),
    "tv_power": "of the differences between neighbours",
    "upsample": "how maps are enlarged",
    "width": "of the paper's channels, a factor",
    "widths": "channels of the student's convolutions",
}
CHOICES = {  # what they mean; which of them there are, a signature says
    "luminance": "only light and dark are painted",
    "match": "the styles are recoloured before",
    "deviation": "mean and spread of each channel, which is AdaIN",
    "whitening": "how channels go together too, whitened and then coloured",
    "transport": "that too, by the shortest way",
}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function, or a field of a dataclass, as its signature states it."""

    name: str
    hint: Any
    default: Any
    meaning: Range | str

    @property
    def choices(self) -> tuple[Any, ...]:
        """Return the values of a ``Literal``, also of one that may be None; else there are none."""
        parts = [part for part in _parts(self.hint) if part is not types.NoneType]
        is_literal = len(parts) == 1 and get_origin(parts[0]) is Literal
        return get_args(parts[0]) if is_literal else ()

    @property
    def kind(self) -> Callable[[str], Any]:
        """Return what reads a value."""
        if self.choices:
            return type(self.choices[0])
        plain = [part for part in _parts(self.hint) if part in (int, float)]
        return _READERS.get(self.name) or next(iter(plain), str)

    @property
    def help(self) -> str:
        """Return the meaning, what it takes, and the default."""
        said = _limited(self.meaning) if isinstance(self.meaning, Range) else self.meaning
        if self.default is not None:
            said = f"{said} ({_written(self.default)})".strip()
        if means := "; ".join(f"{c}: {CHOICES[c]}" for c in self.choices if c in CHOICES):
            said += f". {means}"
        return said

    def add_to(self, command: argparse._ActionsContainer) -> None:
        """Add its flag; one that is not given is left out, so that the default stands."""
        flag = "--" + self.name.replace("_", "-")
        given: dict[str, Any] = {"default": argparse.SUPPRESS, "help": self.help}
        if self.hint is bool:
            command.add_argument(flag, action=argparse.BooleanOptionalAction, **given)
        else:
            command.add_argument(flag, type=self.kind, choices=self.choices or None, **given)


def parameters_of(function: Callable[..., Any]) -> dict[str, Parameter]:
    """Return the parameters of a function, or the fields of a dataclass, by their names."""
    hints = get_type_hints(function, include_extras=True)
    return {
        name: _parameter(name, hints[name], given.default)
        for name, given in inspect.signature(function).parameters.items()
        if name in hints
    }


def _parameter(name: str, hint: Any, default: Any) -> Parameter:
    meaning = MEANINGS.get(name, "")
    if get_origin(hint) is Annotated:
        hint, meaning = get_args(hint)
    return Parameter(name, hint, default, meaning)


def add_fields(
    command: argparse.ArgumentParser,
    settings: type[Any],
    leave_out: Sequence[str] = (),
    stands: Any = None,
) -> None:
    """Add a flag for each field of a dataclass, in a group that its docstring names.

    ``stands`` is one of them, whose values are told as the defaults in place of the dataclass's.
    """
    title = (settings.__doc__ or "settings").partition(".")[0]
    group = command.add_argument_group(title)
    for name, parameter in parameters_of(settings).items():
        if name not in leave_out:
            default = parameter.default if stands is None else getattr(stands, name)
            replace(parameter, default=default).add_to(group)


def chosen_fields(options: argparse.Namespace, settings: type[Any]) -> dict[str, Any]:
    """Return the fields of ``settings`` whose flags were given."""
    names = {item.name for item in fields(settings)}
    return {name: value for name, value in vars(options).items() if name in names}


def add_parameters(
    command: argparse.ArgumentParser, function: Callable[..., Any], *names: str
) -> None:
    """Add a flag for each of these parameters of a function."""
    known = parameters_of(function)
    for name in names:
        known[name].add_to(command)


def values(
    options: argparse.Namespace, function: Callable[..., Any], *names: str
) -> dict[str, Any]:
    """Return where each of these parameters of a function stands: as it was given, or by default."""
    known = parameters_of(function)
    return {name: getattr(options, name, known[name].default) for name in names}


def _parts(hint: Any) -> tuple[Any, ...]:
    """Return the kinds that a hint allows: those of a union, or the hint itself."""
    is_union = get_origin(hint) in (Union, types.UnionType)
    return get_args(hint) if is_union else (hint,)


def _limited(values: Range) -> str:
    """Return the meaning of a range and its ends; one that only a computer would reach is left out."""
    if values.high >= 2**31 - 1:
        return f"{values.meaning}, from {values.low:g}"
    return f"{values.meaning}, {values.low:g} to {values.high:g}"


def _written(default: Any) -> str:
    """Return a default as it would be given on the command line."""
    if isinstance(default, tuple):
        return ",".join(map(str, default)) or "none"
    return str(default)


# -------------------------------------------------------------------------------- values as text


def whole(text: str) -> int:
    """Read a whole number of at least 1, such as how many pixels there are."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number of at least 1")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    """Read ``relu1_1,relu2_1``."""
    return tuple(part.strip() for part in text.split(","))


def _taps(text: str) -> dict[str, float] | tuple[str, ...]:
    """Read ``relu1_1,relu2_1`` or ``relu1_1=0.5,relu2_1=2``."""
    parts = _names(text)
    if "=" not in text:
        return parts
    try:
        return {name: float(weight) for name, _, weight in (part.partition("=") for part in parts)}
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r}: write relu1_1,relu2_1 or relu1_1=0.5,relu2_1=2"
        ) from error


def numbers(kind: type[int] | type[float], example: str) -> Callable[[str], tuple[float, ...]]:
    """Return what reads numbers like those of ``example``."""

    def read(text: str) -> tuple[float, ...]:
        try:
            return tuple(kind(part) for part in text.split(","))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: write {example}") from error

    return read


_READERS: dict[str, Callable[[str], Any]] = {
    "content_taps": _taps,
    "style_taps": _taps,
    "skips": _names,
    "steered_by": _names,
    "widths": numbers(int, "32,64"),
    "kernels": numbers(int, "9,5"),
    "dial": numbers(float, "0.1,1,10,100"),
}
