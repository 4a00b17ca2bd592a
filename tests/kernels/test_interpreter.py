"""Launching from a process that is not the interpreter's own: a notebook's, or this one."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from proof import DEVICE

from nstlib.kernels import backend, interpreter
from nstlib.kernels.backend import Kernel, KernelError, tl
from nstlib.kernels.interpreter import launch

pytestmark = pytest.mark.skipif(
    backend.is_interpreted() or DEVICE == "cuda", reason="this is the interpreter, or needs none"
)
needs_triton = pytest.mark.skipif(not backend.has_triton(), reason="Triton is not installed")


@Kernel
def doubled(value):  # type: ignore[no-untyped-def]
    return 2 * value


@Kernel
def double(x, out, size, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < size
    tl.store(out + place, doubled(tl.load(x + place, mask=inside, other=0.0)), mask=inside)


@Kernel
def misspelt(x, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    tl.store(x + tl.arange(0, BLOCK), tl.lod(x))


@Kernel
def astray(x, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    tl.store(x + 2**45 + tl.arange(0, BLOCK), 1.0)


@needs_triton
def test_a_launch_changes_the_callers_tensors() -> None:
    x, out = torch.arange(10.0), torch.full((12,), -1.0)
    launch(double, (3,), x, out, 10, BLOCK=4)
    assert out.tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, -1, -1]
    assert x.tolist() == list(range(10))


@needs_triton
def test_one_process_serves_all_launches() -> None:
    x, out = torch.ones(4), torch.zeros(4)
    launch(double, (1,), x, out, 4, BLOCK=4)
    serving = interpreter._interpreter(os.getpid()).process.pid
    launch(double, (1,), out, x, 4, BLOCK=4)
    assert x.tolist() == [4, 4, 4, 4]
    assert interpreter._interpreter(os.getpid()).process.pid == serving


@needs_triton
def test_threads_get_their_own_answers() -> None:
    def times_two(number: int) -> list[float]:
        x, out = torch.full((4,), float(number)), torch.zeros(4)
        launch(double, (1,), x, out, 4, BLOCK=4)
        return out.tolist()

    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(times_two, range(12))] == [[2.0 * number] * 4 for number in range(12)]


@needs_triton
def test_tensors_stay_the_callers_own() -> None:
    x, out = torch.ones(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    launch(double, (1,), x, out, 4, BLOCK=4)
    assert out.tolist() == [2, 2, 2, 2]
    assert out.is_leaf
    assert out.requires_grad
    assert not out.is_shared()


@needs_triton
def test_a_plain_script_can_launch_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Its lines are not run a second time, and its folder goes with it."""
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import torch\nfrom test_interpreter import double, launch\n"
        "x, out = torch.ones(4), torch.zeros(4)\n"
        "launch(double, (1,), x, out, 4, BLOCK=4)\nprint(out.tolist())\n"
    )
    root, temporary = Path(__file__).parents[2], tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(root)}
    run = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout == "[2.0, 2.0, 2.0, 2.0]\n"
    assert not [*temporary.glob("nstlib-*")]


@needs_triton
def test_a_mistake_is_told_and_the_next_launch_works() -> None:
    x = torch.zeros(4)
    with pytest.raises(KernelError, match=r"misspelt failed in Triton's interpreter.*lod"):
        launch(misspelt, (1,), x, BLOCK=4)
    launch(double, (1,), torch.ones(4), x, 4, BLOCK=4)
    assert x.tolist() == [2, 2, 2, 2]


@needs_triton
def test_a_crash_is_told_and_the_next_launch_works() -> None:
    x = torch.zeros(4)
    with pytest.raises(KernelError, match="astray ended the interpreter: it reads or writes far"):
        launch(astray, (1,), x, BLOCK=4)
    launch(double, (1,), torch.ones(4), x, 4, BLOCK=4)
    assert x.tolist() == [2, 2, 2, 2]


def test_without_triton_something_else_gives_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "has_triton", lambda: False)
    x, out = torch.ones(4), torch.zeros(4)
    launch(double, (1,), x, out, 4, BLOCK=4, instead=lambda: out.copy_(2 * x))
    assert out.tolist() == [2, 2, 2, 2]
    with pytest.raises(KernelError, match="Triton is not installed"):
        launch(double, (1,), x, out, 4, BLOCK=4)
