"""Properties that hold for any picture, style, mask and flag: examples are drawn by Hypothesis."""

from __future__ import annotations

import argparse
import functools
import io
import random
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import run
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_adain_model import tiny_model
from test_cli_contract import COMMANDS
from torch import Tensor

from nstlib import cli, images, kernels, losses, masks, styles
from nstlib.errors import ImageError
from nstlib.styles import Style

# The same examples in every run, and few: what is looked for is a kind of value nobody thought of.
few = settings(
    derandomize=True,
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
sides = st.integers(1, 13)
unit = st.floats(0, 1, width=32)
levels = st.tuples(sides, sides, st.just(3)).flatmap(lambda shape: arrays(np.uint8, shape))
seeds = st.integers(0, 2**31)


@st.composite
def pictures(draw: st.DrawFn, channels: int = 3, count: int = 1, least: int = 1) -> Tensor:
    """Draw images (count, channels, H, W) in [0, 1], whose ends are there now and then."""
    height, width = draw(st.integers(least, 13)), draw(st.integers(least, 13))
    shape = (count, channels, height, width)
    return torch.from_numpy(draw(arrays(np.float32, shape, elements=unit)))


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------------------------------- images


@few
@given(levels, st.sampled_from([".png", ".tif", ".webp", ".TIFF"]))
def test_what_is_saved_without_loss_is_loaded_to_the_last_level(
    tmp_path: Path, pixels: Any, suffix: str
) -> None:
    image = images.load_image(pixels)
    path = images.save_image(image, tmp_path / f"a{suffix}", {"side": pixels.shape[0]})
    assert torch.equal(images.load_image(path), image)
    assert np.array_equal(images.to_uint8(image), pixels)


@few
@given(levels)
def test_grey_opaque_and_deep_pixels_are_the_same_picture(pixels: Any) -> None:
    image = images.load_image(pixels)
    opaque = np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], axis=2)
    deep = pixels.astype(np.uint16) * 257
    assert torch.equal(images.load_image(opaque), image)
    assert torch.allclose(images.load_image(deep), image, atol=1e-7)
    assert torch.allclose(images.load_image(pixels.astype(np.float32) / 255), image, atol=1e-7)
    grey = images.load_image(pixels[..., 0])
    assert torch.equal(grey, images.load_image(pixels[..., :1]))
    assert torch.equal(grey, image[:, :1].expand_as(image))
    clear = np.concatenate([pixels, np.zeros_like(pixels[..., :1])], axis=2)
    assert (images.load_image(clear) == 1).all(), "white shows through"


@few
@given(pictures())
def test_eight_bits_are_off_by_half_a_level_at_most(image: Tensor) -> None:
    again = images.load_image(images.to_uint8(image))
    assert (again - image).abs().max() <= 0.5 / 255 + 1e-7


@few
@given(pictures(), st.integers(1, 40))
def test_resizing_keeps_the_contract_the_aspect_and_the_range(image: Tensor, size: int) -> None:
    resized = images.resize(image, size)
    height, width = image.shape[2:]
    short, long = sorted(resized.shape[2:])
    assert (short, resized.dtype, resized.is_contiguous()) == (size, torch.float32, True)
    assert abs(long - size * max(height, width) / min(height, width)) <= 0.5
    assert (resized.shape[2] <= resized.shape[3]) == (height <= width) or short == long
    assert image.min() <= resized.min()
    assert resized.max() <= image.max()
    images.check_image("resized", resized)
    flat = torch.full_like(image, 0.3)
    assert torch.equal(images.resize(flat, size), torch.full_like(resized, 0.3))


@functools.cache
def file_of(kind: str) -> bytes:
    """Return a small picture as the bytes of a file."""
    import pillow_heif

    pillow_heif.register_heif_opener()
    written = io.BytesIO()
    pixels = images.to_uint8(drawn(1, 3, 12, 16, seed=0))
    images.Image.fromarray(pixels).save(written, kind)
    return written.getvalue()


KINDS = ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "HEIF"]


@pytest.mark.parametrize("kind", KINDS)
def test_whichever_bytes_of_a_header_are_wrong_it_is_a_picture_or_an_image_error(kind: str) -> None:
    whole, lots, refused = file_of(kind), random.Random(0), []
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(lots.randint(1, 4)):
            data[lots.randrange(min(160, len(data)))] = lots.choice([0, 1, 0x7F, 0x80, 0xFF])
        if lots.random() < 0.2:
            data = data[: lots.randrange(len(data))]
        try:
            images.check_image("image", images.load_image(bytes(data), max_pixels=1 << 20))
        except ImageError as error:
            refused.append(str(error))
    assert len(refused) > 5
    assert all(line.startswith("the file (") for line in refused)


# ----------------------------------------------------------------------------------------- AdaIN


@few
@given(seeds, st.integers(1, 4), st.integers(1, 5), st.integers(2, 9))
def test_maps_get_the_mean_and_the_deviation_of_the_style(
    seed: int, count: int, channels: int, side: int
) -> None:
    maps = 4 * drawn(count, channels, side, side + 1, seed=seed) - 1
    mean, std = drawn(2, count, channels, seed=seed + 1)
    made = kernels.adain(maps, mean, std)
    found, spread = kernels.moments(made, 0.0)
    assert torch.allclose(found, mean, atol=1e-5)
    assert torch.allclose(spread, std, rtol=1e-3, atol=1e-5)  # the maps' variance has an eps
    assert torch.allclose(kernels.adain(maps, mean, std, 0.0), maps, atol=1e-5)


@settings(few, max_examples=8)
@given(pictures(count=3, least=3), st.lists(unit, min_size=3, max_size=3), seeds)
def test_a_batch_is_its_pictures_one_by_one_and_at_alpha_0_no_style_tells(
    photos: Tensor, alphas: list[float], seed: int
) -> None:
    model = tiny_model("steered")
    a, b = (model.style(drawn(1, 3, 20, 17, seed=seed + i)) for i in range(2))
    batch = model.stylize(photos, a, alpha=alphas)
    assert batch.shape == photos.shape
    for i, alpha in enumerate(alphas):
        assert torch.allclose(
            batch[i : i + 1], model.stylize(photos[i : i + 1], a, alpha=alpha), atol=1e-4
        )
    plain = model.stylize(photos, a, alpha=0.0)
    assert torch.allclose(plain, model.stylize(photos, b, alpha=0.0), atol=1e-4)


@st.composite
def shares_of(draw: st.DrawFn) -> list[float]:
    """Draw weights that are not all 0, also tiny and huge ones."""
    given = draw(st.lists(st.floats(0, 1e30), min_size=1, max_size=5))
    return given if max(given) > 0 else [*given, 1.0]


@few
@given(shares_of(), seeds, st.randoms(use_true_random=False))
def test_a_mixture_lies_among_its_styles_in_whatever_order_they_come(
    weights: list[float], seed: int, lots: random.Random
) -> None:
    known = [
        Style({"relu1_1": drawn(1, 4, seed=seed + i)}, {"relu1_1": drawn(1, 4, seed=seed - i)})
        for i in range(len(weights))
    ]
    mixed = styles.mix(known, weights)
    every = torch.cat([style.means["relu1_1"] for style in known])
    assert (every.amin(dim=0) - 1e-6 <= mixed.means["relu1_1"]).all()
    assert (mixed.means["relu1_1"] <= every.amax(dim=0) + 1e-6).all()
    order = list(range(len(weights)))
    lots.shuffle(order)
    again = styles.mix([known[i] for i in order], [weights[i] for i in order])
    for one, other in ((mixed.means, again.means), (mixed.stds, again.stds)):
        assert torch.allclose(one["relu1_1"], other["relu1_1"], atol=1e-6)
    shares = losses.mixing_weights(weights, len(weights))
    assert (shares >= 0).all()
    assert abs(float(shares.sum()) - 1) < 1e-6
    assert torch.allclose(losses.mixing_weights([w / 2 for w in weights], len(weights)), shares)


# ----------------------------------------------------------------------------------------- masks


@few
@given(st.integers(1, 4).flatmap(lambda count: pictures(channels=1, count=count)))
def test_regions_never_share_more_than_there_is(regions: Tensor) -> None:
    shared, total = masks.shares(regions), regions.sum(0)
    assert (shared <= regions + 1e-7).all()
    assert (shared.sum(0) <= 1 + 1e-5).all()
    assert torch.allclose(shared.sum(0)[total >= 1], torch.ones(()), atol=1e-5)
    assert torch.allclose(shared.sum(0)[total < 1], total[total < 1], atol=1e-6)
    assert torch.allclose(masks.shares(shared.clamp(0, 1)), shared, atol=1e-5), (
        "shared once for all"
    )


@few
@example(torch.ones(1, 1, 2, 2), 5e-324, 1, 1)  # 0 in float32
@given(pictures(channels=1), st.floats(0, 6), st.integers(1, 30), st.integers(1, 30))
def test_what_parts_a_picture_parts_it_softened_and_at_any_size(
    part: Tensor, radius: float, height: int, width: int
) -> None:
    both = torch.cat([part, 1 - part])
    for made in (masks.soften(both, radius), images.resize(both, (height, width))):
        masks.check_mask("made", made)
        assert torch.allclose(made.sum(0), torch.ones(()), atol=1e-5)


@few
@given(st.tuples(*[st.floats(-0.2, 1.2)] * 4), st.integers(8, 40), st.integers(8, 40))
def test_any_rectangle_is_taken_as_it_is_drawn_or_named(
    rectangle: tuple[float, float, float, float], height: int, width: int
) -> None:
    left, top, right, bottom = rectangle
    area = (right - left) * width * (bottom - top) * height
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        with pytest.raises(ValueError, match="rectangle is .* it takes four fractions"):
            masks._inside(rectangle, height, width)
        return
    try:
        inside = masks._inside(rectangle, height, width)
    except ValueError:  # too small, or too large
        least = masks._FEWEST_PIXELS + height + width
        assert min(area, height * width - area) < least
        return
    assert inside.shape == (height, width)
    assert abs(inside.sum() - area) <= height + width, "to a pixel of each side"


# ---------------------------------------------------------------------------------- command line

# What people, shells and programs put after a flag, and whatever Hypothesis thinks of.
ODD = [
    "", " ", "0", "-1", "1e999", "nan", "inf", "-inf", "1_000", "٣", "²", "0x10", "9" * 30, "9" * 5000,
    "1,2", ",", "=", "a=b", "relu1_1=", "--", "-", "~", "~nobody-at-all", "..", ".png", "a\nb",
    "\N{RIGHT-TO-LEFT OVERRIDE}a", "😀", "n" * 300, "None", "True", "%s", "{}", "*",
]  # fmt: skip
values = st.one_of(st.sampled_from(ODD), st.text(max_size=12))
FLAGS = [
    (prog.split()[1:], action.option_strings[-1])
    for prog, command in COMMANDS.items()
    for action in command._actions
    if action.option_strings and not isinstance(action, argparse._HelpAction)
]


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Commands that can be understood do nothing."""
    monkeypatch.chdir(tmp_path)
    parser = cli._parser()
    parse = parser.parse_known_args

    def understood(arguments: Any) -> Any:
        options, unknown = parse(arguments)
        options.run = lambda _: 0
        return options, unknown

    monkeypatch.setattr(parser, "parse_known_args", understood)
    monkeypatch.setattr(cli, "_parser", lambda: parser)
    yield
    assert not list(tmp_path.iterdir())


def told_by(*words: str) -> tuple[int, str]:
    """Return the exit code of a command, and what it says on stderr."""
    errors = io.StringIO()
    with redirect_stderr(errors), redirect_stdout(io.StringIO()):
        code = run(*words)
    return code, errors.getvalue()


@settings(few, max_examples=150)
@given(st.sampled_from(FLAGS), values, st.booleans())
def test_whatever_stands_after_a_flag_is_understood_or_complained_of_in_a_line(
    nothing_runs: None, flag: tuple[list[str], str], value: str, joined: bool
) -> None:
    command, name = flag
    words = [f"{name}={value}"] if joined and name.startswith("--") else [name, value]
    code, told = told_by(*command, *words)
    assert code in (0, 2)
    assert told.count("\n") == (1 if code else 0)
    assert "Traceback" not in told


# Each ends at its photo, style or folder, which is not there: after its settings were looked at.
NOBODY = {
    "gatys": ["gatys", "nobody.jpg", "nobody.jpg", "-o", "a.png"],
    "adain": ["adain", "nobody.jpg", "nobody.jpg", "-o", "a.png"],
    "fast": ["fast", "nobody.jpg", "-o", "a.png"],
    "train fast": [
        *("train", "fast", "--style", "nobody.jpg", "--content", "nobody"),
        *("--checkpoint", "a.pt"),
    ],
    "train adain": [
        *("train", "adain", "--style", "nobody", "--content", "nobody", "--checkpoint", "a.pt"),
    ],
}
LOOKED_AT = [
    (subject, name)
    for command, name in FLAGS
    if (subject := " ".join(command)) in NOBODY
    and name
    not in ("--encoder", "--net", "--start", "--out", "--checkpoint", "--debug", "--version")
]


@settings(few, max_examples=60)
# (Of "--flag=--" argparse makes an empty list, before Python 3.13.)
@given(st.sampled_from(LOOKED_AT), values.filter(lambda value: value != "--"))
def test_whatever_a_setting_is_given_the_command_is_wrong_and_no_mistake_of_ours(
    tmp_path: Path, flag: tuple[str, str], value: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        code, told = told_by(*NOBODY[flag[0]], f"{flag[1]}={value}")
    assert code == 2, told
    assert told.startswith("nst: ")
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())
