"""Mistakes that kernels are known for, planted one at a time: each is caught, and by what.

A copy of the package of kernels gets the mistake, under a name of its own, and goes through one of
the checks that the kernels themselves pass. A check that a mistake passes proves nothing.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import test_gram
import torch
from proof import DEVICE, Case, check_gradient, check_value, draw
from test_backend import check_masked_loads, check_offsets
from test_proofs import SUBJECTS

import nstlib.kernels
from nstlib.kernels.backend import is_interpreted

pytestmark = pytest.mark.skipif(
    not is_interpreted() or DEVICE != "cpu", reason="needs TRITON_INTERPRET=1: Triton's kernels run"
)
SOURCE = Path(nstlib.kernels.__file__).parent
HALF, FULL = torch.bfloat16, torch.float32
Check = Callable[[Any], None]


@functools.cache
def value(
    name: str,
    option: str,
    shape: str = "primes",
    layout: str = "contiguous",
    dtype: torch.dtype = FULL,
    values: str = "normal",
) -> Check:
    """The value is the oracle's, in this case."""
    case = Case(shape, layout, dtype, values, option)
    return lambda planted: check_value(planted, SUBJECTS[name], case)


@functools.cache
def gradient(name: str, option: str, shape: str = "primes") -> Check:
    """The gradient is the oracle's."""
    case = Case(shape, "contiguous", FULL, "normal", option)
    return lambda planted: check_gradient(planted, SUBJECTS[name], case)


def many_channels(planted: Any) -> None:
    """Several blocks of channels: what is below the diagonal is what is above it."""
    features = draw(1, 130, 4, 4).float()
    found, exact = planted.gram(features), test_gram.oracle(features.double(), "hw")
    assert (found - exact).abs().max() <= 1e-5 * exact.abs().max()


def as_many_images_as_channels(planted: Any) -> None:
    """So that a mix-up of the two reads the wrong numbers, and not beyond them."""
    features = draw(3, 3, 5, 7).float()
    found, exact = planted.gram(features), test_gram.oracle(features.double(), "hw")
    assert (found - exact).abs().max() <= 1e-5 * exact.abs().max()


def large_mean(planted: Any) -> None:
    """A spread of 1 around a mean of 10,000."""
    features = (draw(1, 2, 64, 64) + 1e4).float()
    exact = features.double().flatten(2).std(2, correction=0)
    assert (planted.moments(features)[1].double() / exact - 1).abs().max() < 1e-6


def two_halves(planted: Any) -> None:
    """A plane whose parts are constant, and differ: all the spread is between them."""
    features = torch.ones(1, 1, 3, 30_001)
    features[:, :, 1:] = -2
    mean, std = planted.moments(features, eps=0)
    assert abs(mean.item() + 1) < 1e-5
    assert abs(std.item() - 2**0.5) < 1e-5


def offsets(planted: Any) -> None:
    """Where elements lie, beyond 2³¹."""
    tiles = sys.modules[f"{planted.__name__}.tiles"]
    check_offsets(tiles.offset_of, flat=True)
    check_offsets(tiles.offset_of, flat=False)


def masked_loads(planted: Any) -> None:
    """Every masked load says what stands where nothing is read; only the text can tell."""
    check_masked_loads(Path(planted.__file__).parent)


@dataclass(frozen=True)
class Mistake:
    """What is wrong, where: ``right`` in a file becomes ``wrong``; and what catches it."""

    what: str
    file: str
    right: str
    wrong: str
    caught_by: Check


MISTAKES = {
    "gram": [
        Mistake(
            "mask dropped: reads into the next plane",
            "gram",
            "here = (p < pixels)[None, :]",
            "here = (p >= 0)[None, :]",
            value("gram", "hw", layout="channel slice"),
        ),
        Mistake(
            "images and channels swapped",
            "gram",
            "upper[:, None], p[None, :], width, stride_n, stride_c,",
            "upper[:, None], p[None, :], width, stride_c, stride_n,",
            as_many_images_as_channels,
        ),
        Mistake(
            "sum not scaled",
            "gram",
            "total * factor, mask=there",
            "total, mask=there",
            value("gram", "chw"),
        ),
        Mistake(
            "not mirrored: reads blocks that nobody wrote",
            "gram",
            "tl.minimum(row, column).to(tl.int64) * channels + tl.maximum(row, column)",
            "row.to(tl.int64) * channels + column",
            many_channels,
        ),
        Mistake(
            "parts begin in the wrong place",
            "gram",
            "p = part * chunk + first",
            "p = part * BLOCK_P + first",
            value("gram", "hw", "beyond 16 bits"),
        ),
        Mistake(
            "each tile forgets those before it",
            "gram",
            "tl.dot(left, tl.trans(right), total, input",
            "tl.dot(left, tl.trans(right), input",
            value("gram", "hw"),
        ),
        Mistake(
            "images mixed: every program reads the first",
            "gram",
            "row, column = pair // blocks, pair % blocks",
            "row, column, n = pair // blocks, pair % blocks, n * 0",
            value("gram", "hw"),
        ),
        Mistake(
            "other= lost: what a masked load leaves is anything",
            "gram",
            "mask=here & (upper < channels)[:, None], other=0.0)",
            "mask=here & (upper < channels)[:, None])",
            masked_loads,
        ),
    ],
    "moments": [
        Mistake(
            "not masked again after centring: what is outside counts",
            "moments",
            "centred = tl.where(inside, values - mean[None, :], 0.0)",
            "centred = values - mean[None, :]",
            value("moments", "eps 1e-8"),
        ),
        Mistake(
            "Bessel's correction",
            "moments",
            "return first + shift, total / pixels",
            "return first + shift, total / (pixels - 1)",
            value("moments", "eps 1e-8", "tile-1"),
        ),
        Mistake(
            "eps outside the root",
            "moments",
            "tl.store(std + plane, tl.sqrt(variance + eps), mask=there)",
            "tl.store(std + plane, tl.sqrt(variance) + eps, mask=there)",
            value("moments", "eps 0.1"),
        ),
        Mistake(
            "E[x^2] - E[x]^2",
            "moments",
            "tl.sum(centred * centred, axis=0) - filled * rest * rest",
            "tl.sum(values * values, axis=0) - filled * mean * mean",
            large_mean,
        ),
        Mistake(
            "what lies between tiles' means forgotten",
            "moments",
            "square += tile_square + between * seen * share * between",
            "square += tile_square",
            two_halves,
        ),
        Mistake(
            "the last part counted as full",
            "moments",
            "count = tl.minimum(pixels - part * chunk, chunk)",
            "count = (chunk + part * 0)",
            two_halves,
        ),
        Mistake(
            "a crop read as if its rows joined",
            "tiles",
            "place = tl.cast(row, tl.int64) * stride_h",
            "place = tl.cast(row, tl.int64) * (width * stride_w)",
            value("moments", "eps 1e-8", layout="crop"),
        ),
        Mistake(
            "rows in 32 bits",
            "tiles",
            "tl.cast(row, tl.int64) * stride_h",
            "(row * stride_h).to(tl.int32)",
            offsets,
        ),
        Mistake(
            "images in 32 bits",
            "tiles",
            "tl.cast(n, tl.int64) * stride_n",
            "(tl.cast(n, tl.int32) * stride_n).to(tl.int32)",
            offsets,
        ),
    ],
    "total_variation": [
        Mistake(
            "the end of a row is the neighbour of the next one's beginning",
            "total_variation",
            "inside & (column < width - 1)",
            "inside & (column < width)",
            value("total_variation", "absolute", layout="channel slice"),
        ),
        Mistake(
            "the last row has one below it",
            "total_variation",
            "inside & (p < pixels - width)",
            "inside & (p < pixels)",
            value("total_variation", "absolute", layout="channel slice"),
        ),
        Mistake(
            "not masked again: what is outside counts",
            "total_variation",
            "down, across = tl.where(below, down, 0.0), tl.where(right, across, 0.0)",
            "down, across = down, across",
            value("total_variation", "squared"),
        ),
        Mistake(
            "pairs in rows and in columns counted as each other",
            "total_variation",
            "for count in pairs)",
            "for count in pairs[::-1])",
            value("total_variation", "absolute", "tile-1"),
        ),
        Mistake(
            "programs of all images write to one place",
            "total_variation",
            "program += n * tl.num_programs(0) * tl.num_programs(1)",
            "program += 0",
            value("total_variation", "absolute"),
        ),
        Mistake(
            "sign of one side",
            "total_variation",
            "slope_of(back, SQUARED) - slope_of(across, SQUARED)",
            "slope_of(back, SQUARED) + slope_of(across, SQUARED)",
            gradient("total_variation", "absolute"),
        ),
        Mistake(
            "the 2 of the square forgotten",
            "total_variation",
            "slope = 2.0 * step",
            "slope = 1.0 * step",
            gradient("total_variation", "squared"),
        ),
        Mistake(
            "the first column has one to the left",
            "total_variation",
            "inside & (column > 0)",
            "inside & (column >= 0) & (p > 0)",
            gradient("total_variation", "absolute"),
        ),
    ],
    "adain": [
        Mistake(
            "alpha turned round",
            "adain",
            "blended = values * (1.0 - amount) + styled * amount",
            "blended = styled * (1.0 - amount) + values * amount",
            value("adain", "alpha"),
        ),
        Mistake(
            "mask ignored",
            "adain",
            "amount = (amount * share)[:, None]",
            "amount = (amount + 0 * share)[:, None]",
            value("adain", "alpha and mask"),
        ),
        Mistake(
            "the first image's style for all",
            "adain",
            "style_mean + image * mean_n + channel * mean_c",
            "style_mean + channel * mean_c",
            value("adain", "plain"),
        ),
        Mistake(
            "divided by the variance",
            "adain",
            "scale = wanted_std / spread",
            "scale = wanted_std / (spread * spread)",
            value("adain", "plain", "tile"),
        ),
        Mistake(
            "its own mean given back",
            "adain",
            "scale[None, :] + wanted_mean[None, :]",
            "scale[None, :] + level[None, :]",
            value("adain", "plain"),
        ),
        Mistake(
            "Bessel's correction, where a tile holds the plane",
            "moments",
            "spread = tl.sqrt(square / pixels + eps)",
            "spread = tl.sqrt(square / (pixels - 1) + eps)",
            value("adain", "plain", "tile"),
        ),
        Mistake(
            "written where it was read",
            "adain",
            "width, to_n, to_c, to_h, to_w, TO_FLAT)",
            "width, stride_n, stride_c, stride_h, stride_w, FLAT)",
            value("adain", "plain", "tile", layout="expanded"),
        ),
    ],
    "instance_norm": [
        Mistake(
            "the residual goes through the ReLU too",
            "instance_norm",
            "result += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)",
            "result = tl.maximum(result + tl.load(residual + at, mask=inside, other=0.0), 0.0)",
            value("instance_norm", "all"),
        ),
        Mistake(
            "the ReLU makes a number of NaN",
            "instance_norm",
            "tl.where(result < 0, 0.0, result)",
            "tl.where(result > 0, result, 0.0)",
            value("instance_norm", "affine, relu", values="one NaN"),
        ),
        Mistake(
            "one weight for all images",
            "instance_norm",
            "weight + image * weight_n + channel * weight_c",
            "weight + channel * weight_c",
            value("instance_norm", "each its own"),
        ),
        Mistake(
            "bias subtracted",
            "instance_norm",
            "scale[None, :] + shift[None, :]",
            "scale[None, :] - shift[None, :]",
            value("instance_norm", "affine, relu"),
        ),
        Mistake(
            "the residual read as the features lie",
            "instance_norm",
            "width, more_n, more_c, more_h, more_w, MORE_FLAT)",
            "width, stride_n, stride_c, stride_h, stride_w, FLAT)",
            value("instance_norm", "all"),
        ),
        Mistake(
            "the last tile has no program",
            "instance_norm",
            "(-(-height * width // tiles.pixels), -(-channels",
            "(max(1, height * width // tiles.pixels), -(-channels",
            value("instance_norm", "plain", "beyond 16 bits"),
        ),
        Mistake(
            "statistics of a tile taken for the plane's",
            "moments",
            '"WHOLE": False',
            '"WHOLE": True',
            value("instance_norm", "plain", "beyond 16 bits"),
        ),
    ],
    "warp": [
        Mistake(
            "down taken for right",
            "warp",
            "flow_x = tl.load(flow + at, mask",
            "flow_x = tl.load(flow + at + flow_c, mask",
            value("warp", "border"),
        ),
        Mistake(
            "the last pixel left out",
            "warp",
            "return tl.minimum(tl.maximum(place, 0), size - 1)",
            "return tl.minimum(tl.maximum(place, 0), size - 2)",
            value("warp", "border"),
        ),
        Mistake(
            "mirrored at the middle of the last pixel",
            "warp",
            "place = tl.minimum(within, 2 * size - 1 - within)",
            "place = tl.minimum(within, 2 * size - 2 - within)",
            value("warp", "reflection"),
        ),
        Mistake(
            "one pixel beyond the border is still seen",
            "warp",
            "(j >= 0) & (j < width)",
            "(j >= 0) & (j <= width)",
            value("warp", "zeros"),
        ),
        Mistake(
            "cut off instead of rounded down",
            "warp",
            "whole = tl.floor(tl.where(flow == flow, flow, 0.0))",
            "whole = tl.where(flow == flow, flow, 0.0).to(tl.int64).to(tl.float32)",
            value("warp", "border"),
        ),
        Mistake(
            "the flow followed backwards",
            "warp",
            "column, row = p % width + whole_x,",
            "column, row = p % width - whole_x,",
            value("warp", "border"),
        ),
        Mistake(
            "mask turned round",
            "warp",
            "moved = kept * moved + (1.0 - kept) * now",
            "moved = kept * now + (1.0 - kept) * moved",
            value("warp", "zeros, blend"),
        ),
        Mistake(
            "each program begins at the first channel",
            "warp",
            "c = tl.program_id(1) * span + first",
            "c = first",
            value("warp", "border"),
        ),
    ],
}
NUMBERS = itertools.count()


@pytest.mark.parametrize(
    "mistake",
    [pytest.param(m, id=f"{name}: {m.what}") for name, all_of in MISTAKES.items() for m in all_of],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a mistake takes the root of what is below 0
def test_is_caught(mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = plant(mistake, tmp_path, monkeypatch)
    with pytest.raises(AssertionError):
        mistake.caught_by(planted)


@pytest.mark.parametrize("name", MISTAKES)
def test_what_catches_a_mistake_passes_without_it(name: str) -> None:
    assert len(MISTAKES[name]) >= 5
    for check in dict.fromkeys(mistake.caught_by for mistake in MISTAKES[name]):
        check(nstlib.kernels)


def plant(mistake: Mistake, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a copy of the kernels with a mistake, and with operators of another name."""
    package = f"planted_{next(NUMBERS)}"
    shutil.copytree(SOURCE, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder / package).glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if path.stem == mistake.file:
            assert text.count(mistake.right) == 1, f"{mistake.right!r} stands not once in {path}"
            text = text.replace(mistake.right, mistake.wrong)
        text = text.replace("nstlib.kernels", package).replace('"nstlib::', f'"{package}::')
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    return importlib.import_module(package)
