"""Which implementation runs, where offsets lie, and that nothing is copied behind the caller."""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from compiled import launches_of
from proof import DEVICE, draw, laid_out
from torch import Tensor

from nstlib import kernels
from nstlib.kernels import backend, tiles
from nstlib.kernels.backend import Kernel, KernelError, choose, is_interpreted, tl
from nstlib.kernels.lesson import bytes_written
from nstlib.kernels.tiles import offset_of

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
needs_triton = pytest.mark.skipif(not backend.has_triton(), reason="Triton is not installed")


# -------------------------------------------------------------------------------- what runs where


@pytest.mark.parametrize(
    ("asked", "device", "triton_computes", "why"),
    [
        ("auto", CPU, False, "on cpu PyTorch is the fast way"),
        ("torch", CUDA, False, "NSTLIB_KERNELS=torch"),
        ("torch", CPU, False, "NSTLIB_KERNELS=torch"),
        ("auto", torch.device("mps"), False, "on mps PyTorch is the fast way"),
    ],
)
def test_the_choice(
    asked: str,
    device: torch.device,
    triton_computes: bool,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NSTLIB_KERNELS", asked)
    assert choose(device, torch.float32) == (triton_computes, why)


@pytest.mark.parametrize("asked", ["auto", "triton"])
def test_on_a_gpu_triton_computes(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSTLIB_KERNELS", asked)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(backend, "why_not_on", lambda device: "")
    assert choose(CUDA, torch.bfloat16) == (True, "an NVIDIA GPU")
    assert not choose(CUDA, torch.float64)[0], "Triton would compute it in float32"


def test_where_triton_fails_a_gpu_takes_pytorch_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backend, "why_not_on", lambda device: "no C compiler was found")
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setenv("NSTLIB_KERNELS", "auto")
    assert choose(CUDA, torch.float32) == (False, "no C compiler was found")
    monkeypatch.setenv("NSTLIB_KERNELS", "triton")
    with pytest.raises(KernelError, match="on cuda no C compiler was found"):
        choose(CUDA, torch.float32)


@pytest.mark.parametrize(
    ("triton", "capability", "answer", "reason"),
    [
        ("missing", (9, 0), 1.0, "Triton is not installed"),
        (sys, (7, 5), 1.0, "its compute capability is 7.5; the kernels need 8.0"),
        (sys, (8, 0), RuntimeError("no C compiler"), "fails here: RuntimeError: no C compiler"),
        (sys, (8, 0), 0.5, "computes nonsense"),
        (sys, (8, 0), 1.0, ""),
    ],
)
def test_a_gpu_is_tried_before_it_is_trusted(
    triton: object,
    capability: tuple[int, int],
    answer: float | Exception,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def launch(kernel: Kernel, grid: tuple[int, ...], out: Tensor) -> None:
        if isinstance(answer, Exception):
            raise answer
        out.fill_(answer)

    monkeypatch.setattr(backend, "_triton", lambda: triton)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(Kernel, "launch", launch)
    found = backend.why_not_on.__wrapped__(CPU)  # where the one element can be allocated
    assert reason in found
    assert bool(found) == bool(reason)


def test_a_plane_beyond_32_bits_goes_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_triton(*_: object) -> None:
        raise AssertionError("Triton counts positions in 32 bits")

    monkeypatch.setattr(backend, "choose", lambda device, dtype: (True, "told so"))
    monkeypatch.setattr(backend.torch.library, "custom_op", lambda name, function, **_: function)
    monkeypatch.delitem(backend.KERNELS, "probe", raising=False)
    compute = backend.operator("probe", lambda maps: "PyTorch", in_triton)
    huge = torch.empty(1, 1, 1, 1).expand(1, 1, 2**15, 2**15)
    assert compute(huge) == "PyTorch"
    backend.KERNELS.pop("probe")


@needs_triton
def test_triton_on_a_cpu_is_an_error_that_names_the_ways_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NSTLIB_KERNELS", "triton")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    message = "does not run on cpu; move the tensors to an NVIDIA GPU, set TRITON_INTERPRET=1"
    with pytest.raises(KernelError, match=message):
        kernels.gram(torch.zeros(1, 1, 2, 2))


def test_another_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSTLIB_KERNELS", "cuda")
    with pytest.raises(ValueError, match="'cuda'; it takes 'auto', 'triton' or 'torch'"):
        kernels.gram(torch.zeros(1, 1, 2, 2))


def test_a_triton_that_does_not_load_says_what_else_there_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.setattr(backend, "_triton", backend._triton.__wrapped__)
    assert not backend.has_triton()
    with pytest.raises(KernelError, match="NSTLIB_KERNELS=torch does without"):
        backend.load_triton()


def test_the_report_has_a_line_for_each_dtype_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSTLIB_KERNELS", "torch")
    lines = kernels.report().splitlines()
    assert lines[0].split() == ["device", "dtype", "runs", "in", "because"]
    assert [line.split()[:3] for line in lines[1:5]] == [
        ["cpu", dtype, "PyTorch"] for dtype in ("float32", "float16", "bfloat16", "float64")
    ]
    assert lines[1].endswith("NSTLIB_KERNELS=torch")


def test_a_kernel_is_not_called() -> None:
    with pytest.raises(TypeError, match="offset_of is a kernel in Triton's language; launch it"):
        tiles.offset_of(0)


# -------------------------------------------------------------------------------------- offsets


def store_offsets(out, n, c, first, width, sn, sc, sh, sw, FLAT: tl.constexpr):  # type: ignore
    p = first + tl.arange(0, 4)
    tl.store(out + tl.arange(0, 4), offset_of(n, c, p, width, sn, sc, sh, sw, FLAT))


@pytest.mark.skipif(DEVICE == "cpu" and not is_interpreted(), reason="Triton's interpreter is off")
@pytest.mark.parametrize("flat", [True, False])
def test_offsets_beyond_31_bits(flat: bool) -> None:
    """No tensor of 8 GB is needed: the function alone says where an element would lie."""
    check_offsets(offset_of, flat)


def check_offsets(offset_of: Kernel, flat: bool) -> None:
    """Compare an ``offset_of`` with Python's own numbers, which have no end."""
    names = store_offsets.__globals__ | {"offset_of": offset_of}
    function = types.FunctionType(store_offsets.__code__, names, "store_offsets")
    function.__module__, function.__annotations__ = __name__, store_offsets.__annotations__
    out = torch.zeros(4, dtype=torch.int64, device=DEVICE)
    n, c, first, width = 7, 63, 2**28 + 5, 2**10
    stride_n, stride_c, stride_w = 64 * 2**26, 2**26 + 1, 2**5
    stride_h = width * stride_w if flat else 2**15 + 3
    strides = (stride_n, stride_c, stride_h, stride_w)
    type(offset_of)(function).launch((1,), out, n, c, first, width, *strides, FLAT=flat)
    for i, found in enumerate(out.tolist()):
        row, column = divmod(first + i, width)
        assert found == n * stride_n + c * stride_c + row * stride_h + column * stride_w


# ---------------------------------------------------------------------------------- masked loads


def test_every_masked_load_says_what_stands_where_nothing_is_read() -> None:
    """On a GPU it is anything that was in the register; the interpreter always puts 0 there."""
    check_masked_loads(Path(tiles.__file__).parent)


def check_masked_loads(folder: Path) -> None:
    """Read the text of each kernel."""
    loads = 0
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "tl.load":
                keywords = {keyword.arg for keyword in node.keywords}
                assert "mask" not in keywords or "other" in keywords, f"{path.name}:{node.lineno}"
                loads += 1
    assert loads > 20


# ------------------------------------------------------------------------------- memory and layout


def calls(maps: Tensor) -> dict[str, Callable[[], object]]:
    """Return a call of each kernel's Triton side, with what it takes beside the maps."""
    images, channels, height, width = maps.shape
    style, each = torch.ones(images, channels), torch.ones(images)
    plane, flow = torch.ones(images, 1, height, width), torch.zeros(images, 2, height, width)

    def side(name: str) -> Callable[..., object]:
        return sys.modules[f"nstlib.kernels.{name}"].in_triton  # type: ignore[no-any-return]

    return {
        "gram": lambda: side("gram")(maps, 1.0),
        "moments": lambda: side("moments")(maps, 1e-5),
        "adain": lambda: side("adain")(maps, style, style, each, plane, 1e-5),
        "instance_norm": lambda: side("instance_norm")(maps, style, style, maps, True, 1e-5),
        "total_variation": lambda: side("total_variation")(maps, 1, True),
        "warp": lambda: side("warp")(maps, flow, "zeros", maps, plane),
    }


LIKE_THE_MAPS = {"adain", "instance_norm", "total_variation", "warp"}


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "channel slice", "crop"])
@pytest.mark.parametrize("name", calls(torch.zeros(1, 1, 1, 1)))
def test_nothing_is_copied(name: str, layout: str) -> None:
    """The result is allocated, and what parts leave for their merger: no second copy of the maps."""
    maps = laid_out(draw(2, 24, 96, 160).float(), layout)
    allocated = bytes_written(lambda: launches_of(calls(maps)[name]))
    result = maps.nelement() * maps.element_size() if name in LIKE_THE_MAPS else 0
    assert result <= allocated < result + 0.27 * maps.nelement() * maps.element_size()


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "channel slice", "crop"])
@pytest.mark.parametrize("name", ["adain", "instance_norm", "warp"])
def test_the_result_lies_in_memory_as_the_input_does(name: str, layout: str) -> None:
    maps = laid_out(draw(2, 5, 6, 7).float().to(DEVICE), layout)
    style = torch.ones(2, 5, device=DEVICE)
    found = {
        "adain": lambda: kernels.adain(maps, style, style),
        "instance_norm": lambda: kernels.instance_norm(maps, relu=True),
        "warp": lambda: kernels.warp(maps, torch.zeros(1, 2, 1, 1, device=DEVICE)),
    }[name]()
    assert found.stride() == torch.empty_like(maps).stride()


# --------------------------------------------------------------------------------------- tiles


def test_a_plane_is_cut_into_parts_that_cover_it_once() -> None:
    for pixels in (1, 2047, 2048, 2049, 67591, 1024 * 1024):
        for others in (1, 7, 512, 5000):
            parts, chunk = tiles.parts_of(pixels, 2048, others)
            assert (parts - 1) * chunk < pixels <= parts * chunk
            assert chunk % 2048 == 0
            assert parts * others <= max(tiles.PROGRAMS, others)


def test_tiles_are_long_where_pixels_lie_together_and_wide_where_channels_do() -> None:
    maps = torch.zeros(1, 192, 64, 64)
    assert tiles.tiles_for(maps)[:2] == (2048, 1)
    assert tiles.tiles_for(laid_out(maps, "channels_last"))[:2] == (32, 64)
    assert tiles.tiles_for(maps[:, :1, :1, :1])[:2] == (1, 1)


def test_a_tile_holds_whole_planes_where_they_are_small() -> None:
    small, large = torch.zeros(1, 48, 32, 32), torch.zeros(1, 48, 129, 128)
    for layout in ("contiguous", "channels_last"):
        found = tiles.whole_tiles_for(laid_out(small, layout))
        assert found
        assert found.pixels == 1024
        assert tiles.whole_tiles_for(laid_out(large, layout)) is None
