"""Ranges that name what they refuse, devices that exist, precision that pays, data that is found."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch

from nstlib import (
    adain_training,
    config,
    decoders,
    distillation,
    fast_training,
    gatys,
    serving,
    training,
    transform_net,
)
from nstlib.config import (
    Range,
    check_fields,
    data_dir,
    has_fast_bfloat16,
    pick_device,
    pick_dtype,
    weights_dirs,
)


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


@dataclass(frozen=True)
class Knobs:
    """Settings of every kind that a hint can hold to."""

    share: Annotated[float, Range(0, 1)] = 0.5
    count: Annotated[int, Range(1, 8)] = 2
    seed: int = 0
    kind: Literal["a", "b"] = "a"
    power: Literal[1, 2] = 1
    clamp: bool = True
    names: tuple[str, ...] = ()  # a hint that says nothing of values: its owner looks at it


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"share": 1.5}, ValueError, r"share is 1\.5; it must lie in \[0, 1\]"),
        ({"share": "1"}, TypeError, "share is '1'; it must be a number"),
        ({"count": 0}, ValueError, r"count is 0; it must lie in \[1, 8\]"),
        ({"count": 2.5}, TypeError, r"count is 2\.5; it must be a whole number"),
        ({"count": 2.0}, TypeError, r"count is 2\.0; it must be a whole number"),
        ({"seed": 0.5}, TypeError, r"seed is 0\.5; it must be a whole number"),
        ({"kind": "c"}, ValueError, "kind is 'c'; it takes 'a', 'b'"),
        ({"kind": None}, ValueError, "kind is None; it takes 'a', 'b'"),
        ({"kind": np.zeros(2)}, ValueError, r"kind is array\(\[0\., 0\.\]\); it takes 'a', 'b'"),
        ({"power": 3}, ValueError, "power is 3; it takes 1, 2"),
        ({"clamp": 1}, TypeError, "clamp is 1; it takes True or False"),
    ],
)
def test_a_field_that_its_hint_does_not_allow_is_named(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_fields(Knobs(**changes))


def test_what_the_hints_allow_passes() -> None:
    check_fields(Knobs())
    check_fields(Knobs(share=1, count=np.int64(8), kind="b", power=2, clamp=False))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        (gatys.Settings, {"steps": 2.5}),
        (training.Settings, {"batch": 1.5}),
        (training.Settings, {"precision": "half"}),
        (serving.Settings, {"batch": 2.5}),
        (serving.Settings, {"places": 2.5}),
        (fast_training.Recipe, {"normalize": "mean"}),
        (adain_training.Recipe, {"autoencoder_steps": 2.5}),
        (distillation.Recipe, {"batch": 3.5}),
        (distillation.Recipe, {"crop": 0}),
        (distillation.Recipe, {"learning_rate": -1}),
        (distillation.Recipe, {"average": 7}),
        (distillation.Recipe, {"widths": (32, 32, 64, 64, 256, 96, 96, 0)}),
        (transform_net.Shape, {"blocks": 2.5}),
        (transform_net.Shape, {"margin": 4.0}),
        (transform_net.Shape, {"kernels": (9.0, 9)}),
        (decoders.Shape, {"widths": (4, 4, 6, 6, 8), "coarse": 2.5}),
    ],
)
def test_every_dataclass_of_settings_refuses_what_its_hints_do_not_allow(
    settings: type[Any], changes: dict[str, Any]
) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{[*changes][-1]} "):
        settings(**changes)
