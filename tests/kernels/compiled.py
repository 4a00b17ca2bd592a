"""Compile what a call launches, for GPUs that are not here: Triton's compiler needs none.

A call runs with launches that only write down what they would launch, so that what is compiled is
exactly what a GPU would be given: the types, the strides of one, the multiples of 16, the warps.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nstlib.kernels.backend import Kernel

ARCHITECTURES = (80, 90)  # A100; H100 and H200
TYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass(frozen=True)
class Launch:
    """A kernel with its grid, its arguments by name, and its options."""

    kernel: Kernel
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    options: dict[str, int]


@dataclass(frozen=True)
class Compiled:
    """What the compiler says of a kernel for one architecture."""

    name: str
    architecture: int
    registers: int
    spilled: int  # bytes of the stack of a thread
    shared: int  # bytes


@contextmanager
def written_down() -> Iterator[list[Launch]]:
    """Let launches do nothing but stand in a list."""
    launches: list[Launch] = []

    def write(kernel: Kernel, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
        code = kernel.function.__code__
        names = code.co_varnames[: code.co_argcount]
        constants = {name: options.pop(name) for name in names if name in options}
        named = dict(zip(names, arguments, strict=False)) | constants
        assert list(named) == list(names), f"{kernel.__name__} is not given what it takes"
        launches.append(Launch(kernel, grid, named, options))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kernel, "launch", write)
        yield launches


def launches_of(call: Callable[[], object]) -> list[Launch]:
    """Return what a call launches."""
    with written_down() as launches:
        call()
    return launches


def compile_for(launch: Launch, architecture: int) -> Compiled:
    """Compile a launch as it stands; return what the compiler says of the result."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature, constants, attributes = {}, {}, {}
    annotations = launch.kernel.function.__annotations__
    for i, (name, value) in enumerate(launch.arguments.items()):
        constant = "constexpr" in str(annotations.get(name, ""))
        kind, divisible = ("constexpr", False) if constant else _kind_of(value)
        if kind == "constexpr":
            signature[name], constants[name] = "constexpr", value
            continue
        signature[name] = kind
        if divisible:
            attributes[(i,)] = [["tt.divisibility", 16]]
    source = ASTSource(launch.kernel.jitted, signature, constants, attributes)
    target = GPUTarget("cuda", architecture, 32)
    made = triton.compile(source, target=target, options=launch.options)
    registers, stack = _resources(made.asm["cubin"])
    return Compiled(launch.kernel.__name__, architecture, registers, stack, made.metadata.shared)


def _kind_of(value: Any) -> tuple[str, bool]:
    """Return the type that Triton gives an argument, and whether it is a multiple of 16."""
    if isinstance(value, Tensor):
        return "*" + TYPES[value.dtype], value.data_ptr() % 16 == 0
    if isinstance(value, float):
        return "fp32", False
    if value == 1:
        return "constexpr", False
    return ("i32" if abs(value) < 2**31 else "i64"), value % 16 == 0


def _resources(cubin: bytes) -> tuple[int, int]:
    """Return registers and bytes of stack of a compiled kernel, as NVIDIA's own tool tells."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"kernel-{os.getpid()}.cubin"
    path.write_bytes(cubin)
    try:
        said = subprocess.run(
            [tool, "-res-usage", path], capture_output=True, text=True, check=True
        ).stdout
    finally:
        path.unlink()
    found = re.search(r"REG:(\d+) STACK:(\d+)", said)
    assert found, said
    return int(found[1]), int(found[2])
