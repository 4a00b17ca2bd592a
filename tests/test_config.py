"""Ranges that name what they refuse, devices that exist, precision that pays, data that is found."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nstlib import config
from nstlib.config import Range, data_dir, has_fast_bfloat16, pick_device, pick_dtype, weights_dirs


@pytest.mark.parametrize("value", [0, 1, 0.5, np.float32(0.25), np.int64(1)])
def test_a_range_gives_back_what_lies_in_it(value: Any) -> None:
    assert Range(0, 1).check("alpha", value) is value


@pytest.mark.parametrize("value", [-0.001, 1.001, math.inf, -math.inf, math.nan])
def test_a_range_names_argument_value_and_limits(value: float) -> None:
    with pytest.raises(ValueError, match=r"alpha is .*; it must lie in \[0, 1\]") as caught:
        Range(0, 1).check("alpha", value)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("value", ["0.5", None, [0.5], torch.tensor(0.5), 1j])
def test_what_is_no_number_is_named_too(value: Any) -> None:
    with pytest.raises(TypeError, match=r"alpha is .*; it must be a number"):
        Range(0, 1).check("alpha", value)


def test_what_ships_is_found_in_a_clone_and_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (data_dir() / "weights").is_dir()
    clone, wheel = tmp_path / "clone", tmp_path / "wheel"
    for folder in (clone / "nstlib", clone / "data", wheel / "nstlib" / "data"):
        folder.mkdir(parents=True)
    monkeypatch.setattr(config, "__file__", str(clone / "nstlib" / "config.py"))
    assert data_dir() == clone / "data"
    monkeypatch.setattr(config, "__file__", str(wheel / "nstlib" / "config.py"))
    assert data_dir() == wheel / "nstlib" / "data"


def test_weights_folders_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NSTLIB_WEIGHTS", raising=False)
    assert weights_dirs() == []
    monkeypatch.setenv("NSTLIB_WEIGHTS", "")
    assert weights_dirs() == []
    monkeypatch.setenv("NSTLIB_WEIGHTS", os.pathsep.join(["/a", "", "~/b"]))
    assert weights_dirs() == [Path("/a"), Path.home() / "b"]


def with_devices(monkeypatch: pytest.MonkeyPatch, *, cuda: int, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(1, False, "cuda"), (1, True, "cuda"), (0, True, "mps"), (0, False, "cpu")],
)
def test_auto_takes_the_fastest_device_there_is(
    monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, chosen: str
) -> None:
    with_devices(monkeypatch, cuda=cuda, mps=mps)
    assert pick_device() == torch.device(chosen)
    assert pick_device(torch.device(chosen)) == torch.device(chosen)


def test_a_device_that_is_not_here_is_named_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_devices(monkeypatch, cuda=0, mps=False)
    with pytest.raises(ValueError, match="device is 'cuda', which this machine lacks; it has: cpu"):
        pick_device("cuda")
    with pytest.raises(ValueError, match="device is 'mps', which this machine lacks"):
        pick_device("mps")
    with pytest.raises(ValueError, match="device is 'meta', which this machine lacks"):
        pick_device("meta")
    with_devices(monkeypatch, cuda=2, mps=False)
    assert pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ValueError, match="device is 'cuda:2'; this machine has 2 of them"):
        pick_device("cuda:2")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:one", ""])
def test_a_device_that_does_not_exist_is_named(device: str) -> None:
    """ "cuda:" is what "cuda:".format(rank) gives on every rank."""
    with pytest.raises(
        ValueError, match=f"device is {device!r}; it takes 'auto', 'cpu', 'cuda' or"
    ):
        pick_device(device)


def test_auto_precision_is_bfloat16_where_that_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for fast, dtype in {True: torch.bfloat16, False: torch.float32}.items():
        monkeypatch.setattr(config, "has_fast_bfloat16", lambda _device, fast=fast: fast)
        assert pick_dtype("auto", cpu) == dtype
        assert pick_dtype("float32", cpu) == torch.float32
        assert pick_dtype("bfloat16", cpu) == torch.bfloat16
    with pytest.raises(ValueError, match="precision is 'half'; it takes 'auto', 'float32' or 'bf"):
        pick_dtype("half", cpu)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tiles", "dots", "time", "fast"),
    [
        (True, False, 0.4, True),
        (False, True, 0.5, True),  # AMD's
        (False, True, 1.9, False),  # Intel's, without its tiles
        (False, False, 0.5, False),
    ],
)
def test_the_processor_is_asked_at_run_time_and_timed(
    monkeypatch: pytest.MonkeyPatch, tiles: bool, dots: bool, time: float, fast: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: dots)
    monkeypatch.setattr(config, "_time_of_a_product", lambda: time)
    assert has_fast_bfloat16.__wrapped__("cpu") is fast
    assert has_fast_bfloat16.__wrapped__("mps") is False


def test_products_of_both_kinds_are_timed_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that each bfloat16 product moves by 2 s, each other one by 3, the first by 50."""
    now, asked = [0.0], []

    def product(one: torch.Tensor, other: torch.Tensor) -> None:
        asked.append(one.dtype)
        now[0] += 50 if len(asked) < 3 else 2 if one.dtype == torch.bfloat16 else 3

    monkeypatch.setattr(config.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(torch, "mm", product)
    assert config._time_of_a_product(size=1, repeats=3) == pytest.approx(2 / 3)
    assert asked == [torch.float32, torch.bfloat16] * 3


def test_a_torch_that_renames_its_probes_means_float32_and_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert has_fast_bfloat16.__wrapped__("cpu") is False
