"""What the commands share: names of pictures and files, and flags read from a dataclass's fields."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from torch import Tensor

from nstlib import images
from nstlib.errors import ImageError

OWN_PICTURES = "a file, or one that ships: "


def find_picture(name: str, size: int | None = None, crop: bool = False) -> Tensor:
    """Return the picture of a file, or the photo or painted style that ships under ``name``.

    ``size`` is its shorter side in pixels, and ``crop`` takes the square in its middle.

    Raises:
        ImageError: there is neither.
    """
    if Path(name).is_file():
        return images.load_image(name, size=size, crop=crop)
    if name in images.sample_names():
        return images.sample(name, size=size, crop=crop)
    if name in images.style_names():
        return images.style(name, size=size)  # a square already
    if Path(name).exists():
        return images.load_image(name, size=size)  # a folder, say: the error says what it is
    known = ", ".join([*images.sample_names(), *images.style_names()])
    raise ImageError(f"{name}: no such file, and none that ships is called so; there are: {known}")


def picture_file(text: str) -> Path:
    """Return the path of a picture that can be written."""
    path = Path(text).expanduser()
    if path.suffix.lower() not in images.SUFFIXES:
        known = ", ".join(images.SUFFIXES)
        raise argparse.ArgumentTypeError(f"{text!r} must end in one of {known}")
    return path


def make_folder(path: Path) -> None:
    """Make the folder of an output before the work: a long run must not fail at its last line."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"'{path}' cannot be written: {error.strerror}") from error


# ------------------------------------------------------------------- flags from a dataclass's fields


def add_fields(
    command: argparse.ArgumentParser, settings: type[Any], leave_out: Sequence[str] = ()
) -> None:
    """Add a flag for each field; one that is not given is left out, so that the default stands."""
    hints = get_type_hints(settings, include_extras=True)
    group = command.add_argument_group((settings.__doc__ or "settings").splitlines()[0])
    for item in dataclasses.fields(settings):
        if item.name in leave_out:
            continue
        hint, help_text = hints[item.name], f"({item.default})"
        if get_origin(hint) is Annotated:
            hint, value_range = get_args(hint)
            help_text = (
                f"{value_range.meaning}, {value_range.low:g} to {value_range.high:g} {help_text}"
            )
        flag = "--" + item.name.replace("_", "-")
        if hint is bool:
            group.add_argument(
                flag,
                action=argparse.BooleanOptionalAction,
                default=argparse.SUPPRESS,
                help=help_text,
            )
            continue
        choices = get_args(hint) if get_origin(hint) is Literal else None
        kind = type(choices[0]) if choices else _PARSERS.get(item.name, _PLAIN.get(hint, str))
        group.add_argument(
            flag, type=kind, choices=choices, default=argparse.SUPPRESS, help=help_text
        )


def chosen_fields(options: argparse.Namespace, settings: type[Any]) -> dict[str, Any]:
    """Return the fields of ``settings`` whose flags were given."""
    names = {item.name for item in dataclasses.fields(settings)}
    return {name: value for name, value in vars(options).items() if name in names}


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


_PLAIN: dict[Any, Callable[[str], Any]] = {int: int, float: float, str: str}
_PARSERS: dict[str, Callable[[str], Any]] = {
    "content_taps": _taps,
    "style_taps": _taps,
    "skips": _names,
    "steered_by": _names,
    "weights": numbers(float, "0.3,0.7"),
    "widths": numbers(int, "32,64"),
    "kernels": numbers(int, "9,5"),
    "dial": numbers(float, "0.1,1,10,100"),
}
