"""Kernels on a CPU: launched in Triton's interpreter, in a process of its own.

The interpreter runs a kernel's programs one after the other, line by line, with NumPy: a thousand
times slower than a GPU, and just as right or wrong. Whether Triton interprets or compiles is decided
when it is loaded, for a whole process; so the interpreter has one to itself, which starts with the
first launch and ends with Python.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import multiprocessing
import os
import signal
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nstlib.kernels.backend import Kernel, KernelError, has_triton

_HEADER = "import triton\n\nfrom nstlib.kernels.backend import Kernel, tl\n"


def launch(
    kernel: Kernel,
    grid: tuple[int, ...],
    *arguments: Any,
    instead: Callable[[], object] | None = None,
    **options: Any,
) -> None:
    """Run ``grid`` programs of a kernel: on the GPU where its tensors are, else interpreted.

    Tensors are changed in place, as a GPU would.

    Args:
        kernel: decorated with :class:`~nstlib.kernels.backend.Kernel`, in a file or a notebook's
            cell; it may call others like it.
        grid: how many programs along up to three axes.
        arguments: what the kernel takes, in order.
        instead: called where Triton is not installed; it has to put the same into the tensors.
        options: the kernel's constants by name, and ``num_warps``.

    Raises:
        KernelError: Triton is not installed, and there is no ``instead``; or the kernel failed.

    Example:
        >>> def one() -> None:
        ...     out.fill_(1)
        >>> from nstlib.kernels.tiles import offset_of
        >>> out = torch.zeros(2)
        >>> launch(offset_of, (1,), instead=one) if not has_triton() else one()
        >>> out
        tensor([1., 1.])
    """
    tensors = [value for value in arguments if isinstance(value, Tensor)]
    if tensors and tensors[0].is_cuda:
        kernel.launch(grid, *arguments, **options)
        return
    if not has_triton():
        if instead is None:
            raise KernelError("Triton is not installed, so kernels do not run here")
        instead()
        return
    name, source = kernel.function.__name__, source_of(kernel)
    changed = _interpreter().run((source, name, grid, arguments, options))
    for tensor, value in zip(tensors, changed, strict=True):
        tensor.copy_(value)


def source_of(kernel: Kernel) -> str:
    """Return a module's text that holds a kernel, and those of its own file that it calls.

    Example:
        >>> from nstlib.kernels.tiles import offset_of
        >>> "def offset_of(n, c, p" in source_of(offset_of)
        True
    """
    parts = dict.fromkeys(_parts_of(kernel))
    return _HEADER + "\n\n".join(parts)


def _parts_of(kernel: Kernel) -> Iterator[str]:
    """Yield what a kernel calls, then itself."""
    function = kernel.function
    for name in function.__code__.co_names:
        called = function.__globals__.get(name)
        if isinstance(called, Kernel) and called is not kernel:
            yield from _parts_of(called)
    yield textwrap.dedent(inspect.getsource(function))


Task = tuple[str, str, tuple[int, ...], tuple[Any, ...], dict[str, Any]]


class _Interpreter:
    """The process, and the line to it."""

    def __init__(self) -> None:
        # Spawned, not forked: threads of PyTorch do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.line, far_end = context.Pipe()
        self.process = context.Process(target=_serve, args=(far_end,), daemon=True)
        self.process.start()
        far_end.close()

    def run(self, task: Task) -> list[Tensor]:
        """Return a launch's tensors as they are after it."""
        try:
            self.line.send(task)
            changed, error = self.line.recv()
        except (
            BaseException
        ) as lost:  # interrupted, or the process died: the next one has a new one
            self.process.kill()
            _interpreter.cache_clear()
            if isinstance(lost, EOFError | OSError):
                raise KernelError(
                    f"{task[1]} ended the interpreter: it reads or writes far outside its tensors"
                ) from lost
            raise
        if error:
            raise KernelError(f"{task[1]} failed in Triton's interpreter: {error}")
        return list(changed)


@functools.cache
def _interpreter() -> _Interpreter:
    return _Interpreter()


def _serve(line: Connection) -> None:
    """In the process: run what comes, until nobody is there any more."""
    os.environ["TRITON_INTERPRET"] = "1"  # before Triton is loaded
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever launched is interrupted, and ends this
    torch.set_num_threads(1)
    while True:
        try:
            source, name, grid, arguments, options = line.recv()
        except EOFError:
            return
        try:
            getattr(_module(source), name).launch(grid, *arguments, **options)
            line.send(([value for value in arguments if isinstance(value, Tensor)], ""))
        except Exception as error:
            line.send(([], f"{type(error).__name__}: {error}"))


@functools.cache
def _module(source: str) -> Any:
    """Return the module of a text: Triton reads kernels from files."""
    path = Path(_folder().name) / f"kernels_{len(sys.modules)}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nstlib-")
