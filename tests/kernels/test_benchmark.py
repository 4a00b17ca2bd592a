"""What the benchmark compares and counts, at sizes that say nothing of speed."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from proof import DEVICE, plainly
from torch import Tensor

from nstlib.kernels import backend, benchmark
from nstlib.kernels.benchmark import ENTRIES, Row

pytestmark = plainly
CPU = torch.device("cpu")
TINY = (2, 5, 12, 16)
ROW = Row(
    gpu="NVIDIA H200",
    torch="2.11.0",
    triton="3.6.0",
    kernel="gram",
    shape=TINY,
    dtype="float32",
    layout="contiguous",
    provider="triton",
    median=2.0,
    low=1.9,
    high=2.2,
    cpu=0.05,
    bytes=4_000_000,
    gigabytes_per_second=2.0,
    of_copy=0.5,
    ratio=3.0,
    launches=False,
)


def row(**changes: object) -> Row:
    """Return a row like any other but for some of its cells."""
    return dataclasses.replace(ROW, **changes)  # type: ignore[arg-type]


def test_every_kernel_has_an_entry() -> None:
    assert set(ENTRIES) == set(backend.KERNELS)
    for entry in ENTRIES.values():
        assert set(benchmark.COURSE) | {(8, 64, 1024, 1024)} <= set(entry.shapes)


@pytest.mark.parametrize("layout", benchmark.LAYOUTS)
@pytest.mark.parametrize("kernel", ENTRIES)
def test_the_contenders_compute_the_same(
    kernel: str, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Triton on a GPU; elsewhere the public function stands for it, with its own defaults."""
    monkeypatch.setenv("NSTLIB_KERNELS", "triton" if DEVICE == "cuda" else "torch")
    maps = benchmark.maps_for(TINY, torch.float32, layout, torch.device(DEVICE))
    entry = ENTRIES[kernel]
    inputs = entry.inputs(maps)
    assert all(value.stride() == maps.stride() for value in inputs if value.shape == maps.shape)
    for ours, plain in zip(
        outputs(entry.public(*inputs)), outputs(entry.reference(*inputs)), strict=True
    ):
        assert ours.dtype == plain.dtype
        assert torch.allclose(ours, plain, rtol=1e-4, atol=1e-5)


def outputs(found: object) -> tuple[Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)  # type: ignore[return-value]


@pytest.mark.parametrize("dtype", benchmark.DTYPES)
@pytest.mark.parametrize("kernel", ENTRIES)
def test_a_row_for_each_provider(kernel: str, dtype: torch.dtype) -> None:
    rows = benchmark.measure(kernel, TINY, dtype, "channels_last", CPU, repeats=2)
    assert [found.provider for found in rows] == ["copy", "eager", "aot_eager"]
    for found in rows:
        assert (found.kernel, found.shape, found.layout) == (kernel, TINY, "channels_last")
        assert found.dtype == str(dtype).removeprefix("torch.")
        assert (found.gpu, found.triton, found.torch) == ("none", "none", torch.__version__)
        assert 0 < found.low <= found.median <= found.high
        assert found.gigabytes_per_second == pytest.approx(found.bytes / found.median / 1e6)
    copy, eager, _ = rows
    assert copy.of_copy == eager.ratio == 1
    assert eager.of_copy == pytest.approx(copy.median / eager.median)


def test_bytes_by_hand() -> None:
    def moved(kernel: str, shape: benchmark.Shape, dtype: torch.dtype = torch.float32) -> int:
        return ENTRIES[kernel].bytes_moved(benchmark.maps_for(shape, dtype, "contiguous", CPU))

    # 2·5·12·16 = 1920 elements; two matrices of 5×5.
    assert moved("gram", TINY) == 1920 * 4 + 2 * 25 * 4
    assert moved("gram", TINY, torch.bfloat16) == 1920 * 2 + 2 * 25 * 4
    # Three frames in their dtype; the flow's two planes and the mask in float32, whatever that is.
    assert moved("warp", TINY, torch.bfloat16) == 3 * 1920 * 2 + 3 * 2 * 12 * 16 * 4
    assert moved("total_variation", TINY) == 2 * 1920 * 4
    # A plane of 128² is read once, one of 128·129 twice; the result, and the residual, once.
    assert moved("adain", (1, 2, 128, 128)) == 2 * 32768 * 4
    assert moved("adain", (1, 2, 128, 129)) == 3 * 33024 * 4
    assert moved("instance_norm", (1, 2, 128, 128)) == 3 * 32768 * 4
    assert moved("instance_norm", (1, 2, 128, 129)) == 4 * 33024 * 4


@pytest.mark.parametrize("kernel", ENTRIES)
def test_the_copy_moves_as_many_bytes(kernel: str) -> None:
    maps = benchmark.maps_for(TINY, torch.float32, "contiguous", CPU)
    copied = benchmark.calls_of(ENTRIES[kernel], [maps], 7680)["copy"]()
    assert isinstance(copied, Tensor)
    assert 2 * copied.numel() * copied.element_size() == 7680  # read, and written


def test_what_was_chosen_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    products = torch.backends.cuda.matmul
    before = products.allow_tf32, products.allow_bf16_reduced_precision_reduction
    monkeypatch.setenv("NSTLIB_KERNELS", "torch")
    with benchmark.exact_products(), benchmark.triton_asked_for():
        assert backend.mode() == "triton"
        assert not products.allow_tf32
        assert not products.allow_bf16_reduced_precision_reduction
    assert (products.allow_tf32, products.allow_bf16_reduced_precision_reduction) == before
    assert backend.mode() == "torch"
    monkeypatch.delenv("NSTLIB_KERNELS")
    with benchmark.triton_asked_for():
        pass
    assert backend.mode() == "auto"


def test_what_lacks_memory_is_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    def greedy() -> None:
        raise torch.OutOfMemoryError

    times = benchmark.interleaved({"modest": int, "greedy": greedy}, 2, CPU)
    assert list(times) == ["modest"]
    assert "greedy: left out, for want of memory" in capsys.readouterr().out


def test_on_a_gpu_each_call_finds_the_cache_flushed_and_all_take_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[str] = []

    class Event:
        def __init__(self, time: float) -> None:
            self.time = time

        def record(self) -> None:
            log.append("event")

        def elapsed_time(self, other: Event) -> float:
            return other.time - self.time

    class Memory:
        def zero_(self) -> None:
            log.append("flush")

    times = (3.0**i for i in itertools.count())
    monkeypatch.setattr(benchmark, "_event", lambda: Event(next(times)))
    monkeypatch.setattr(benchmark, "_to_flush_with", lambda device: Memory())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: log.append("wait"))
    calls = {"one": lambda: log.append("one"), "two": lambda: log.append("two")}
    found = benchmark.interleaved(calls, 2, torch.device("cuda"))
    warm_ups = [name for name in calls for _ in range(benchmark.WARM_UPS)]
    turn = [step for name in calls for step in ("flush", "event", name, "event")] + ["wait"]
    assert log[: len(warm_ups) + 2 * len(turn)] == warm_ups + turn + turn
    assert found["one"].median == ((3 - 1) + (3**5 - 3**4)) / 2


def test_a_median_needs_two_runs() -> None:
    with pytest.raises(ValueError, match="repeats is 1; a median and quantiles need 2 at least"):
        benchmark.interleaved({"one": int}, 1, CPU)


class TestTable:
    def test_has_a_line_for_each_row(self) -> None:
        lines = benchmark.as_table([ROW, row(launches=True, of_copy=None)]).splitlines()
        assert {line.count("|") for line in lines[:4]} == {11}
        assert lines[2] == (
            "| gram | 2×5×12×16, float32, contiguous | triton | 2.000 ms | 1.900–2.200 ms "
            "| 0.050 ms | 2 | 50 % | 3.00 |  |"
        )
        assert lines[3].endswith("| – | 3.00 | launches |")
        assert any("under 20 µs" in line for line in lines[4:])

    @pytest.mark.parametrize(
        ("times", "said"),
        [
            (
                {"triton": 1.0, "eager": 2.0, "compile": 3.0},
                "- gram (sizes: 1): Triton is the fastest at each.",
            ),
            (
                {"triton": 3.0, "eager": 2.0, "compile": 4.0},
                "- gram (sizes: 1): Triton loses to eager at 2×5×12×16, float32, contiguous, "
                "1.50 times its time.",
            ),
            (
                {"triton": 3.0, "compile": 2.0},
                "- gram (sizes: 1): Triton loses to compile at 2×5×12×16, float32, contiguous, "
                "1.50 times its time.",
            ),
            ({"eager": 2.0}, "- gram: Triton was not measured; it needs an NVIDIA GPU."),
        ],
    )
    def test_says_where_triton_loses(self, times: Mapping[str, float], said: str) -> None:
        rows = [row(provider=provider, median=median) for provider, median in times.items()]
        assert benchmark.verdicts(rows) == [said]

    def test_says_where_launches_decide(self) -> None:
        rows = [row(launches=True), row(provider="eager", median=1.0, launches=True)]
        assert benchmark.verdicts(rows)[0].endswith("2.00 times its time (launches).")


class TestFile:
    def test_quick_writes_rows_that_can_be_read(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        benchmark.main(["--quick", "--out", str(tmp_path), "--kernels", "moments"])
        (path,) = tmp_path.iterdir()
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        assert path.name == "cpu.json"
        assert len(rows) == len(benchmark.DTYPES) * len(benchmark.LAYOUTS) * 3
        assert set(rows[0]) == {field.name for field in dataclasses.fields(Row)}
        assert "| moments | 2×5×12×16, bfloat16, channels_last | eager |" in capsys.readouterr().out

    def test_rows_of_other_kernels_stay(self, tmp_path: Path) -> None:
        path = tmp_path / "gpu.json"
        benchmark.write(path, [row(kernel="warp"), row(median=1.0)])
        benchmark.write(path, [row(median=5.0), row(median=6.0)])
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        assert [(found["kernel"], found["median"]) for found in rows] == [
            ("gram", 5.0),
            ("gram", 6.0),
            ("warp", 2.0),
        ]


@pytest.mark.skipif(DEVICE != "cuda", reason="needs NSTLIB_TEST_DEVICE=cuda")
@pytest.mark.filterwarnings("ignore")  # the compiler's advice, TF32 for one, is not taken
@pytest.mark.parametrize("kernel", ENTRIES)
def test_on_a_gpu_triton_and_the_compiler_are_among_them(kernel: str) -> None:
    rows = benchmark.measure(
        kernel, TINY, torch.bfloat16, "contiguous", torch.device("cuda"), repeats=3
    )
    assert [found.provider for found in rows] == ["copy", "eager", "compile", "triton"]
    assert all(found.launches and 0 < found.low <= found.high for found in rows)
