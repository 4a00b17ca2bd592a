"""Which implementation of a kernel runs, and how one written in Triton is found and launched.

Each kernel has two implementations: one in PyTorch, the reference, which runs anywhere, and one in
Triton for NVIDIA's GPUs. ``NSTLIB_KERNELS`` chooses: ``auto`` (Triton on a GPU where it is
installed, PyTorch elsewhere), ``triton`` or ``torch``. Triton is not loaded before it is needed,
and not needed at all without a GPU.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import types
from collections.abc import Callable
from typing import Any, Literal, TypeVar, cast, get_args

import torch
from torch import Tensor

from nstlib.errors import NstError

Mode = Literal["auto", "triton", "torch"]
Function = TypeVar("Function", bound=Callable[..., Any])

# Triton computes in float32; what comes in float64 is meant to be exact and stays with PyTorch.
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


class _Language:
    """Stands for ``triton.language`` in the text of kernels, until Triton is loaded."""

    def __getattr__(self, name: str) -> str:
        return f"tl.{name}"  # in an annotation Triton reads text as well


tl: Any = _Language()

OLDEST = (8, 0)  # the compute capability of an A100; older tensor cores make the kernels spill
# Positions of a plane are counted in 32 bits: 32,768 pixels squared. Beyond, PyTorch computes.
LARGEST_PLANE = 2**30

KERNELS: dict[str, Callable[..., Any]] = {}  # every operator of the package, by name


class KernelError(NstError, RuntimeError):
    """``NSTLIB_KERNELS`` asks for what this machine cannot do."""


class Kernel:
    """A function in Triton's language, handed to Triton when it is first launched.

    ``tl`` and the kernels that it calls are put into a copy of its module's names at that moment,
    so that a module of kernels can be imported, and read, where there is no Triton.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = cast(types.FunctionType, function)

    def __call__(self, *arguments: Any) -> Any:
        """Refuse: a kernel is launched, or called by another one, where Triton reads the call."""
        raise TypeError(f"{self.function.__name__} is a kernel in Triton's language; launch it")

    @functools.cached_property
    def jitted(self) -> Any:
        """What ``triton.jit`` makes of the function: compiled for a GPU, or interpreted."""
        triton = load_triton()
        function = self.function
        names = dict(function.__globals__) | {"tl": importlib.import_module("triton.language")}
        for name in function.__code__.co_names:
            if isinstance(names.get(name), Kernel):
                names[name] = names[name].jitted
        twin = types.FunctionType(
            function.__code__, names, function.__name__, function.__defaults__
        )
        twin.__module__, twin.__qualname__ = function.__module__, function.__qualname__
        twin.__annotations__, twin.__doc__ = function.__annotations__, function.__doc__
        return triton.jit(twin)

    def launch(self, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
        """Run ``grid`` programs on the device where the tensors are."""
        place = next(value.device for value in arguments if isinstance(value, Tensor))
        with torch.cuda.device(place) if place.type == "cuda" else contextlib.nullcontext():
            self.jitted[grid](*arguments, **options)


@functools.cache
def _triton() -> types.ModuleType | str:
    """Return Triton, or why it does not load: looked for once."""
    try:
        return importlib.import_module("triton")
    except ImportError as error:
        return str(error)


def load_triton() -> types.ModuleType:
    """Return Triton.

    Raises:
        KernelError: it is not installed, or does not load.
    """
    found = _triton()
    if isinstance(found, str):
        raise KernelError(
            f"Triton cannot be loaded ({found}). On Linux it comes with PyTorch's CUDA builds (`make "
            "lab TORCH=cuda`), or by `pip install triton`; NSTLIB_KERNELS=torch does without"
        )
    return found


def has_triton() -> bool:
    """Say whether Triton loads here."""
    return not isinstance(_triton(), str)


@Kernel
def store_one(out):  # type: ignore[no-untyped-def]
    """Do as little as a kernel can."""
    tl.store(out, 1.0)


@functools.cache
def why_not_on(device: torch.device) -> str:
    """Say why Triton's kernels do not run on a GPU, or nothing where they do: by running one.

    That Triton loads is not enough: it needs a C compiler for its launcher, and a GPU with the
    tensor cores of an A100 or younger.
    """
    if not has_triton():
        return "Triton is not installed"
    try:
        major, minor = torch.cuda.get_device_capability(device)
        if (major, minor) < OLDEST:
            return f"its compute capability is {major}.{minor}; the kernels need 8.0"
        out = torch.zeros(1, device=device)
        store_one.launch((1,), out)
        return "" if out.item() == 1 else "Triton computes nonsense here"
    except Exception as error:  # of the compiler, the driver, the launcher: whatever it is
        return f"Triton fails here: {type(error).__name__}: {error}"


def is_interpreted() -> bool:
    """Say whether Triton's kernels run in its interpreter, on the CPU: ``TRITON_INTERPRET=1``."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def mode() -> Mode:
    """Return what ``NSTLIB_KERNELS`` says: ``"auto"`` where it is not set.

    Raises:
        ValueError: it says something else.
    """
    value = os.environ.get("NSTLIB_KERNELS", "auto")
    if value not in get_args(Mode):
        raise ValueError(f"NSTLIB_KERNELS is {value!r}; it takes 'auto', 'triton' or 'torch'")
    return cast(Mode, value)


def choose(device: torch.device, dtype: torch.dtype) -> tuple[bool, str]:
    """Say whether Triton computes for such tensors, and why.

    Raises:
        KernelError: ``NSTLIB_KERNELS=triton``, and Triton cannot.

    Example:
        >>> choose(torch.device("cpu"), torch.float64)
        (False, 'float64 is meant to be exact')
    """
    asked = mode()
    if dtype not in DTYPES:
        return False, f"{str(dtype).removeprefix('torch.')} is meant to be exact"
    if asked == "torch":
        return False, "NSTLIB_KERNELS=torch"
    if device.type == "cuda" and not torch.version.hip:
        reason = why_not_on(device)
        if reason and asked == "triton":
            raise KernelError(f"NSTLIB_KERNELS=triton, and on {device} {reason}")
        return not reason, reason or "an NVIDIA GPU"
    if asked == "auto":
        return False, f"on {device.type} PyTorch is the fast way"
    load_triton()
    if device.type == "cpu" and is_interpreted():
        return True, "in Triton's interpreter: for proofs, not for speed"
    raise KernelError(
        f"NSTLIB_KERNELS=triton, and Triton does not run on {device.type}; move the tensors to an "
        "NVIDIA GPU, set TRITON_INTERPRET=1 (slow), or choose NSTLIB_KERNELS=auto"
    )


def operator(name: str, reference: Function, in_triton: Function) -> Any:
    """Register ``nstlib::name``: one operator, whichever of the two functions computes it.

    To PyTorch it is one opaque node: ``torch.compile`` does not look inside, and its gradient is
    the one that is registered with it.
    """

    @functools.wraps(reference)
    def compute(*arguments: Any) -> Any:
        maps: Tensor = arguments[0]
        triton_computes, _ = choose(maps.device, maps.dtype)
        triton_computes &= maps.shape[2] * maps.shape[3] < LARGEST_PLANE
        return (in_triton if triton_computes else reference)(*arguments)

    registered = torch.library.custom_op(f"nstlib::{name}", compute, mutates_args=())
    KERNELS[name] = registered
    return registered


def like_its_maps(maps: Tensor, *_: Any) -> Tensor:
    """Return what an operator's result looks like where it has its maps' shape, type and layout."""
    return torch.empty_like(maps)


def report() -> str:
    """Return a table of what would run where on this machine, and why.

    Example:
        >>> print(report())  # doctest: +ELLIPSIS
        device  dtype     runs in  because
        cpu     float32   ...
    """
    devices = ["cpu"]
    devices += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    lines = [("device", "dtype", "runs in", "because")]
    for device in devices:
        for dtype in (*DTYPES, torch.float64):
            try:
                triton_computes, why = choose(torch.device(device), dtype)
                runs_in = "Triton" if triton_computes else "PyTorch"
            except KernelError as error:
                runs_in, why = "nothing", str(error)
            lines.append((device, str(dtype).removeprefix("torch."), runs_in, why))
    widths = [max(len(line[i]) for line in lines) for i in range(3)]
    return "\n".join(
        "  ".join([*(part.ljust(w) for part, w in zip(line, widths, strict=False)), line[3]])
        for line in lines
    )
