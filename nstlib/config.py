"""Where the data lies, which device and precision to compute in, and how settings state ranges."""

from __future__ import annotations

import functools
import math
import numbers
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import torch

from nstlib.files import expanded

Precision = Literal["auto", "float32", "bfloat16"]

# What asks a processor for instructions of bfloat16; torch offers no public names.
_TILES_AND_DOTS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
_PRODUCTS = (torch.float32, torch.bfloat16)


@dataclass(frozen=True)
class Range:
    """The values a setting may take, for ``Annotated``: read by the CLI, the widgets and the checks.

    Example:
        >>> from typing import Annotated
        >>> Alpha = Annotated[float, Range(0, 1, "how much of the style")]
        >>> Range(0, 1).check("alpha", 0.5)
        0.5
    """

    low: float
    high: float
    meaning: str = ""
    log: bool = False  # a weight that spans decades: its slider moves in powers of ten

    def check(self, name: str, value: float) -> float:
        """Return ``value``, or raise an error naming the argument, what it got and what it takes.

        Raises:
            ValueError: outside the range, or NaN.
            TypeError: no number.
        """
        if not isinstance(value, numbers.Real):
            raise TypeError(f"{name} is {value!r}; it must be a number")
        if not self.low <= value <= self.high:  # NaN fails both comparisons, so it is refused too
            raise ValueError(f"{name} is {value!r}; it must lie in [{self.low:g}, {self.high:g}]")
        return value


def ranges_of(settings: type) -> dict[str, Range]:
    """Return the ranges that a class of settings states for its fields.

    Example:
        >>> from nstlib.gatys import Settings
        >>> ranges_of(Settings)["beta2"].high
        0.9999
    """
    return {
        name: extra
        for name, hint in _hints_of(settings).items()
        for extra in getattr(hint, "__metadata__", ())
        if isinstance(extra, Range)
    }


def check_fields(settings: Any) -> None:
    """Hold each field of a dataclass of settings to its hint.

    A :class:`Range` says what a number may be, ``int`` that it is whole, ``bool`` that it is one,
    and a ``Literal`` which values there are. Any other hint is left to the class.

    Raises:
        ValueError: a value outside its range, or an unknown choice.
        TypeError: a value that is no number, or not whole, where one is wanted.

    Example:
        >>> from nstlib.training import Settings
        >>> check_fields(Settings(steps=2))
    """
    kind_of_settings: type = type(settings)
    ranges = ranges_of(kind_of_settings)
    for name, hint in _hints_of(kind_of_settings).items():
        value = getattr(settings, name)
        if name in ranges:
            ranges[name].check(name, value)
        kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if kind is int and not isinstance(value, numbers.Integral):
            raise TypeError(f"{name} is {value!r}; it must be a whole number")
        if kind is bool and not isinstance(value, bool):
            raise TypeError(f"{name} is {value!r}; it takes True or False")
        if get_origin(kind) is Literal:
            check_choice(name, value, get_args(kind))


def check_choice(name: str, value: Any, choices: tuple[Any, ...], also: str = "") -> None:
    """Raise ValueError unless ``value`` is one of ``choices``; ``also`` is what else it could be.

    Example:
        >>> check_choice("space", "lab", ("pixels", "normalized"))
        Traceback (most recent call last):
        ...
        ValueError: space is 'lab'; it takes 'pixels', 'normalized'
    """
    # (What compares with an array or a tensor is one, too, which may be neither true nor false.)
    if not isinstance(value, (str, numbers.Integral)) or value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{name} is {value!r}; it takes {known}{also}")


@functools.cache
def _hints_of(settings: type) -> dict[str, Any]:
    """Return what a dataclass says of its fields: found once, for it takes a millisecond."""
    return get_type_hints(settings, include_extras=True)


def data_dir() -> Path:
    """Return the folder of what ships: ``data/`` of a clone, ``nstlib/data/`` of a wheel.

    Example:
        >>> (data_dir() / "styles").is_dir()
        True
    """
    package = Path(__file__).resolve().parent
    inside = package / "data"
    return inside if inside.is_dir() else package.parent / "data"


def weights_dirs() -> list[Path]:
    """Return the folders searched for the user's own weights: those named in ``NSTLIB_WEIGHTS``."""
    value = os.environ.get("NSTLIB_WEIGHTS", "")
    return [expanded(part) for part in value.split(os.pathsep) if part]


def pick_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device to compute on; ``"auto"`` is CUDA, else Apple's MPS, else the CPU.

    Raises:
        ValueError: the device does not exist on this machine.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device is {device!r}; it takes 'auto', 'cpu', 'cuda' or 'mps'"
        ) from error
    found = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not found.get(chosen.type, False):
        here = ", ".join(name for name, present in found.items() if present)
        raise ValueError(f"device is {device!r}, which this machine lacks; it has: {here}")
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {device!r}; this machine has {torch.cuda.device_count()} of them"
        )
    return chosen


@functools.cache
def has_fast_bfloat16(device_type: str = "cpu") -> bool:
    """Say whether bfloat16 products are faster than float32 ones on this device.

    Processors with tiles (AMX) compute a VGG two to three times faster in bfloat16, and so does AMD's
    AVX-512 BF16. Intel's, where its tiles are not to be had, takes twice as long as float32; and what
    has neither emulates it, and is slower still. So products are timed, once in a process: they take
    half the time or twice, which no load of the machine turns round.
    """
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device_type != "cpu":
        return False
    has = (getattr(torch.cpu, name, lambda: False) for name in _TILES_AND_DOTS)
    return any(probe() for probe in has) and _time_of_a_product() < 1


def _time_of_a_product(size: int = 256, repeats: int = 25) -> float:
    """Return how long a product of bfloat16 takes, in times of a float32 one: the fastest of each.

    On one thread, and each in a fraction of a millisecond: between two of them another program may
    run, within one it seldom does.
    """
    factors = {dtype: torch.ones(size, size, dtype=dtype) for dtype in _PRODUCTS}
    best = dict.fromkeys(_PRODUCTS, math.inf)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(repeats):  # in turn, so that a load meets both
            for dtype, factor in factors.items():
                started = time.perf_counter()
                torch.mm(factor, factor)
                best[dtype] = min(best[dtype], time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return best[torch.bfloat16] / best[torch.float32]


def pick_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the dtype that convolutions and products run in; ``"auto"`` is the faster one here.

    Raises:
        ValueError: ``precision`` is not one of its three names.
    """
    if precision == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device.type) else torch.float32
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision is {precision!r}; it takes 'auto', 'float32' or 'bfloat16'")
    return torch.float32 if precision == "float32" else torch.bfloat16
