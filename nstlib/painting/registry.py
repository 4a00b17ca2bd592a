"""What makes a function a painter: it is listed by name, and its arguments are checked."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ParamSpec, get_type_hints

from torch import Tensor

from nstlib.config import Range

P = ParamSpec("P")

# Below 32 pixels strokes are lost; above 4096 the canvas outgrows a laptop.
Size = Annotated[int, Range(32, 4096, "side of the picture in pixels")]
SEEDS = Range(0, 2**63 - 1, "another seed is another picture")
Seed = Annotated[int, SEEDS]
Colors = str | Sequence[str]  # a name in PALETTES, or '#rrggbb' colours

PAINTERS: dict[str, Callable[..., Tensor]] = {}


@dataclass(frozen=True)
class Parameter:
    """One of a painter's own parameters: a whole number where ``default`` is one."""

    default: float
    range: Range


def painter(function: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Register a painter under its name; check what it is called with against its signature.

    Raises:
        ValueError: (when called) an unknown parameter, or a value outside its ``Range``.
        TypeError: (when called) no whole number where one is wanted.
    """
    name = function.__name__
    signature = inspect.signature(function)
    hints = get_type_hints(function, include_extras=True)
    ranges = {
        argument: (hint.__origin__, hint.__metadata__[0])
        for argument, hint in hints.items()
        if hasattr(hint, "__metadata__")
    }

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        unknown = [key for key in kwargs if key not in signature.parameters]
        if unknown:
            known = ", ".join(signature.parameters)
            raise ValueError(f"{name} has no parameter {unknown[0]!r}; it takes {known}")
        for argument, value in signature.bind(*args, **kwargs).arguments.items():
            if argument in ranges:
                kind, allowed = ranges[argument]
                check_kind(argument, kind, value)
                allowed.check(argument, value)
        return function(*args, **kwargs)

    PAINTERS[name] = checked
    return checked


def check_kind(argument: str, kind: type, value: object) -> None:
    """Refuse what is no number, and a fraction where a whole number is wanted."""
    wanted = "a whole number" if kind is int else "a number"
    try:
        if isinstance(value, bool):
            raise TypeError
        operator.index(value) if kind is int else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"{argument} is {value!r}; it must be {wanted}") from None


def painter_named(name: str) -> Callable[..., Tensor]:
    """Return the painter of that name; raise ValueError where there is none."""
    if name not in PAINTERS:
        raise ValueError(f"name is {name!r}; the painters are {', '.join(sorted(PAINTERS))}")
    return PAINTERS[name]


def parameters_of(name: str) -> dict[str, Parameter]:
    """Return the parameters that are a painter's own, by name.

    Example:
        >>> import nstlib.painting
        >>> parameters_of("vortex")["stars"].range.meaning
        'stars that turn the sky'
    """
    function = painter_named(name)
    hints = get_type_hints(function, include_extras=True)
    return {
        argument: Parameter(value.default, hints[argument].__metadata__[0])
        for argument, value in inspect.signature(function).parameters.items()
        if value.kind is inspect.Parameter.KEYWORD_ONLY
    }
