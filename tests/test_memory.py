"""While a run is under way freed memory is used again, and at its end it goes back to the system."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext  # noqa: F401  # a script below takes it from here
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from torch import Tensor

from nstlib import adain, memory  # noqa: F401  # likewise
from nstlib.adain import AdaIN, Decoder
from nstlib.benchmarks import PeakMemory
from nstlib.encoders import load_encoder
from nstlib.memory import allocation_named, reused_memory
from nstlib.transform_net import TransformNet, memory_needed

resource = pytest.importorskip("resource", reason="page faults are counted on Unix only")
needs_gnu = pytest.mark.skipif(
    memory._gnu_library() is None, reason="memory is kept with GNU's C library only"
)


def page_faults_of_a_step() -> int:
    """Allocate, fill and free 160 MB, as a step does, and count the pages that had to be fetched."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        tensor = torch.ones(10_000_000)
        del tensor
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


def bytes_held() -> int:
    """Return how much of the machine's memory this process holds."""
    return int(psutil.Process().memory_info().rss)


def in_a_process_of_its_own(script: str, **variables: str) -> list[float]:
    """Run lines that print numbers: elsewhere a heap full of holes has room by luck."""
    command = [sys.executable, "-c", f"from tests.test_memory import *\n{script}"]
    run = subprocess.run(
        command,
        cwd=Path(__file__).parent.parent,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(number) for number in run.stdout.split()]


@pytest.fixture(scope="module")
def measured() -> dict[str, float]:
    """Return page faults of steps, and bytes held, before, within, at and after the end of runs."""
    names = ("faults without", "before", "faults within", "faults after one", "kept", "after")
    numbers = in_a_process_of_its_own("""
memory._MAY_STAY = 8_000_000  # a heap grows to 120 MB or to 240, as its holes happen to lie
print(page_faults_of_a_step())
with reused_memory():
    with reused_memory():
        print(bytes_held())
        for _ in range(4):  # until the heap has grown to what a step needs
            page_faults_of_a_step()
        print(page_faults_of_a_step())
    print(page_faults_of_a_step())
    print(bytes_held())
print(bytes_held())
""")
    return dict(zip(names, numbers, strict=True))


@needs_gnu
def test_a_step_fetches_no_page_that_the_one_before_had(measured: dict[str, float]) -> None:
    assert measured["faults without"] > 20_000, "40 MB are given back as soon as they are freed"
    assert measured["faults within"] < 1_000


@needs_gnu
def test_memory_goes_back_when_the_last_of_several_runs_ends(measured: dict[str, float]) -> None:
    assert measured["faults after one"] < 1_000, "one run is still under way"
    assert measured["kept"] > measured["before"] + 30_000_000, "and keeps what it freed"
    assert measured["after"] < measured["before"] + 10_000_000


def test_an_error_ends_a_run_too() -> None:
    def fail() -> None:
        with reused_memory():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert memory._runs == 0


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_gnu_library", lambda: None)
    with reused_memory():
        assert torch.ones(3).sum() == 3
    assert memory._runs == 0


# ------------------------------------------------------------------------ memory that is free


def test_on_a_gpu_what_torch_keeps_without_using_it_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1_000, 80_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 60_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20_000)
    assert memory.free_memory(torch.device("cuda")) == 41_000


V2 = ("0::/job/step", "", "memory.max", "memory.current", "inactive_file")
V1 = (
    "1:cpu,memory:/job/step", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
    "total_inactive_file",
)  # fmt: skip


@pytest.mark.parametrize("version", [V2, V1], ids=["v2", "v1"])
@pytest.mark.parametrize("limited", ["", "job", "job/step"])
def test_a_container_leaves_what_its_limit_leaves(
    version: tuple[str, ...], limited: str, tmp_path: Path
) -> None:
    line, hierarchy, limit, usage, cache = version
    membership, root = tmp_path / "cgroup", tmp_path / "fs"
    membership.write_text(f"7:cpuset:/elsewhere\n{line}\n")
    for group in ("", "job", "job/step"):
        folder = root / hierarchy / group
        folder.mkdir(parents=True, exist_ok=True)
        (folder / limit).write_text("500\n" if group == limited else "max\n")
        (folder / usage).write_text("300\n")
        (folder / "memory.stat").write_text(f"anon 260\n{cache} 40\n")
    # What files left in memory, and nobody reads, is given up when it is needed.
    assert memory._container_memory(root, membership) == 500 - (300 - 40)


def test_without_a_container_nothing_limits(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    assert memory._container_memory(tmp_path, membership) == math.inf  # as on macOS
    membership.write_text("0::/\n")
    assert memory._container_memory(tmp_path, membership) == math.inf


def test_the_smaller_of_machine_and_container_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, container in ((100, 70), (70, 100), (70, math.inf)):
        here = SimpleNamespace(available=machine)
        monkeypatch.setattr(psutil, "virtual_memory", lambda here=here: here)
        monkeypatch.setattr(memory, "_container_memory", lambda free=container: free)
        assert memory.free_memory(torch.device("cpu")) == 70


# ------------------------------------------------------------------- memory that a picture takes


def estimated_and_taken(dtype: str, side: int = 400) -> Iterator[float]:
    """Yield, of a fast net and of AdaIN, how many times its peak a pass is estimated to take."""
    image = torch.rand(1, 3, side, side)
    small = image[:, :, :64, :64]
    net = TransformNet(width=0.5).in_dtype(getattr(torch, dtype)).eval()
    encoder = load_encoder("slim")
    decoder = Decoder.of(encoder, coarse=2, last_channels=16, steered_by=("relu2_1", "relu3_1"))
    model = AdaIN(encoder, decoder).in_dtype(getattr(torch, dtype)).eval()
    style = model.style(small)
    with torch.no_grad():
        yield memory_needed(net, (side, side)) / peak_of(net, small, image)
        taken = peak_of(lambda photo: model.stylize(photo, style), small, image)
        yield model._memory_needed((side, side)) / taken


def peak_of(work: Callable[[Tensor], Tensor], small: Tensor, image: Tensor) -> int:
    """Return how many bytes a pass takes at its peak; what is set up once does not count."""
    work(small)
    with PeakMemory() as peak:
        work(image)
    return peak.bytes


@needs_gnu
@pytest.mark.parametrize("dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.soak)])
def test_the_estimate_is_what_a_picture_takes_at_its_peak(dtype: str) -> None:
    """Where what is freed goes back at once no hole is there to be filled: runs agree to a percent."""
    script = f"adain.reused_memory = nullcontext\nprint(*estimated_and_taken({dtype!r}))"
    of_net, of_adain = in_a_process_of_its_own(
        script, MALLOC_MMAP_THRESHOLD_="65536", OMP_NUM_THREADS="1"
    )
    # 1.54 and 1.43 in float32 on one processor; on others convolutions may want other room.
    assert 1 < of_net < 2.1
    assert 1 < of_adain < 2


# ------------------------------------------------------------------------------ memory that ran out


def test_what_a_cpu_cannot_allocate_is_a_memory_error_in_torchs_own_sentence() -> None:
    """Torch raises a plain RuntimeError for it, which could be anything."""
    with pytest.raises(MemoryError) as caught, allocation_named():
        torch.empty(1 << 60, dtype=torch.uint8)
    assert str(caught.value).startswith("DefaultCPUAllocator: ")
    assert f"you tried to allocate {1 << 60} bytes" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert type(caught.value.__cause__) is RuntimeError


@pytest.mark.parametrize("error", [RuntimeError("mat1 and mat2"), ValueError("alpha")])
def test_any_other_error_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, allocation_named():
        raise error
    assert caught.value is error


def test_within_what_can_be_allocated_nothing_happens() -> None:
    with allocation_named():
        total = float(torch.ones(3).sum())
    assert total == 3
