"""Kernels on a CPU: launched in Triton's interpreter, in a process of its own.

The interpreter runs a kernel's programs one after the other, line by line, with NumPy: far
slower than a GPU. Whether Triton interprets or compiles is decided
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
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nstlib.kernels.backend import Kernel, KernelError, has_triton

_HEADER = "from nstlib.kernels.backend import Kernel, tl\n"


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
            cell; it may call others like it. Constants are passed, not read from around it.
        grid: how many programs along up to three axes.
        arguments: what the kernel takes, in order.
        instead: called where Triton is not installed; it has to put the same into the tensors.
        options: the kernel's constants by name, and ``num_warps``.

    Raises:
        KernelError: Triton is not installed, and there is no ``instead``; or the kernel failed.

    Example:
        >>> from nstlib.kernels.backend import store_one
        >>> out = torch.zeros(2)
        >>> launch(store_one, (1,), out, instead=lambda: out[0].fill_(1))
        >>> out
        tensor([1., 0.])
    """
    tensors = [value for value in arguments if isinstance(value, Tensor)]
    if tensors and tensors[0].is_cuda:
        kernel.launch(grid, *arguments, **options)
        return
    if not has_triton():
        if instead is None:
            raise KernelError(
                "Triton is not installed, so kernels do not run here; on Linux `pip install triton` "
                "brings it"
            )
        instead()
        return
    name = kernel.function.__name__
    # Without gradients, and as they are now; what comes back is put into the caller's own.
    sent = [value.detach() if isinstance(value, Tensor) else value for value in arguments]
    task = pickle.dumps((source_of(kernel), name, grid, sent, options))
    changed = _interpreter(os.getpid()).run(name, task)
    with torch.no_grad():
        for tensor, value in zip(tensors, changed, strict=True):
            tensor.copy_(value)


def source_of(kernel: Kernel) -> str:
    """Return a module's text that holds a kernel, and the kernels that it calls.

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


class _Interpreter:
    """The process, and the line to it; one launch after the other, whichever thread they come from."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.folder = tempfile.TemporaryDirectory(prefix="nstlib-")
        self.line, far_end = multiprocessing.Pipe()
        # Not by multiprocessing, which would run the caller's script again in the new process.
        code = "from nstlib.kernels.interpreter import serve; import sys; serve(*sys.argv[1:])"
        package = Path(__file__).resolve().parents[2]
        places = [str(package), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(far_end.fileno()), self.folder.name],
            env={
                **os.environ,
                "TRITON_INTERPRET": "1",
                "PYTHONPATH": os.pathsep.join(filter(None, places)),
            },
            pass_fds=[far_end.fileno()],
            start_new_session=True,  # whoever launched is interrupted, and ends this
        )
        far_end.close()

    def run(self, name: str, task: bytes) -> list[Tensor]:
        """Return a launch's tensors as they are after it."""
        with self.lock:
            try:
                self.line.send_bytes(task)
                changed, error = pickle.loads(self.line.recv_bytes())
            except BaseException as lost:  # interrupted, or the process died: there will be another
                _interpreter.cache_clear()
                self.process.kill()
                self.folder.cleanup()
                if isinstance(lost, EOFError | OSError):
                    raise KernelError(self._why(name)) from lost
                raise
        if error:
            raise KernelError(f"{name} failed in Triton's interpreter: {error}")
        return list(changed)

    def _why(self, name: str) -> str:
        code = self.process.wait()
        if -code in (signal.SIGSEGV, signal.SIGBUS):
            return f"{name} ended the interpreter: it reads or writes far outside its tensors"
        return f"the interpreter's process ended with code {code} before {name} was done"


@functools.cache
def _interpreter(process: int) -> _Interpreter:
    """Return that of a process: a forked child must not talk on its parent's line."""
    return _Interpreter()


def serve(descriptor: str, folder: str) -> None:
    """In the process: run what comes, until nobody is there any more."""
    line = Connection(int(descriptor))
    torch.set_num_threads(1)
    while True:
        try:
            source, name, grid, arguments, options = pickle.loads(line.recv_bytes())
        except EOFError:
            return
        try:
            getattr(_module(source, folder), name).launch(grid, *arguments, **options)
            answer = [value for value in arguments if isinstance(value, Tensor)], ""
        except Exception as error:
            answer = [], f"{type(error).__name__}: {error}"
        line.send_bytes(pickle.dumps(answer))


@functools.cache
def _module(source: str, folder: str) -> Any:
    """Return the module of a text: Triton reads kernels from files."""
    path = Path(folder) / f"kernels_{len(sys.modules)}.py"
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
