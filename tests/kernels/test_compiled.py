"""Each kernel, compiled for the A100 and the H100 on a machine that has neither."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import pytest
import torch
from compiled import ARCHITECTURES, compile_for, launches_of
from proof import laid_out
from test_backend import calls

from nstlib.kernels import backend
from nstlib.kernels.backend import is_interpreted

pytestmark = [
    pytest.mark.skipif(not backend.has_triton(), reason="Triton is not installed"),
    pytest.mark.skipif(is_interpreted(), reason="in the interpreter nothing is compiled"),
]

# What one program may use of the memory on the chip.
SHARED = {80: 163 * 1024, 90: 227 * 1024}
SHAPES = {
    "a large plane": (2, 64, 256, 256),
    "a small plane, blocks of channels": (2, 192, 32, 32),
    "an uneven plane": (1, 33, 87, 93),
    "channels that fill no tile": (1, 67, 32, 31),
    "one pixel": (1, 1, 1, 1),
}
DTYPES = (torch.float32, torch.bfloat16)
LAYOUTS = ("contiguous", "channels_last", "crop")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", calls(torch.zeros(1, 1, 1, 1)))
def test_compiles_without_spilling(
    name: str, architecture: int, record_property: Callable[[str, object], None]
) -> None:
    for (shape, size), dtype, layout in itertools.product(SHAPES.items(), DTYPES, LAYOUTS):
        if shape.startswith("one") and (dtype, layout) != (torch.float32, "contiguous"):
            continue  # all the same
        if layout == "crop" and not shape.startswith("an"):
            continue  # the hardest is enough
        maps = laid_out(torch.zeros(size, dtype=dtype), layout)
        for launch in launches_of(calls(maps)[name]):
            made = compile_for(launch, architecture)
            text = f"{launch.kernel.__name__} of {name}, {shape}, {layout}, {dtype}"
            record_property("compiled", dataclasses.astuple(made))  # for the table at the end
            assert made.spilled == 0, f"{text} keeps {made.spilled} bytes out of its registers"
            assert made.shared <= SHARED[architecture], f"{text} does not fit: {made.shared} bytes"
            threads = 32 * launch.options["num_warps"]
            assert made.registers * threads <= 65536, f"{text} cannot start: {made.registers}"


def test_a_call_launches_once_where_a_tile_holds_the_plane() -> None:
    small, large = torch.zeros(1, 32, 32, 32), torch.zeros(1, 32, 256, 256)
    for name in ("adain", "instance_norm"):
        assert len(launches_of(calls(small)[name])) == 1
        assert len(launches_of(calls(large)[name])) == 3
