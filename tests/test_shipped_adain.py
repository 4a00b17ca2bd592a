"""The decoder that ships: it gives photos back, brings styles that it never met, and has no grid."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from torch import Tensor

from nstlib import config, images, losses, painting
from nstlib.adain import AdaIN, load_adain
from nstlib.encoders import Encoder, load_encoder, mirrored_maps

SEEDS = (1004, 1005, 1007, 1008, 1012, 1015)  # of paintings; the training met those below 60
TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu3_4")


@pytest.fixture(scope="module")
def model() -> AdaIN:
    return load_adain(precision="float32")


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder("slim")


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return images.sample("astronaut", size=192, crop=True)


@pytest.fixture(scope="module")
def paintings() -> list[Tensor]:
    return [painting.random(seed, size=192) for seed in SEEDS]


def distance(encoder: Encoder, image: Tensor, style: Tensor) -> float:
    """How far a picture's channel statistics are from a style's: a relative error over four taps."""
    seen, wanted = (mirrored_maps(encoder, picture, TAPS) for picture in (image, style))
    each = [losses.StatisticsLoss(wanted[tap])(seen[tap]).item() for tap in TAPS]
    return statistics.mean(each)


def test_a_photo_in_its_own_style_comes_back(model: AdaIN) -> None:
    ratios = []
    for name in images.sample_names():
        own = images.sample(name, size=192)
        error = (model.stylize(own, own) - own).square().mean().item()
        ratios.append(-10 * math.log10(error))
    assert statistics.mean(ratios) > 22  # dB
    assert min(ratios) > 18


def test_styles_that_it_never_met_are_brought_and_alpha_softens_them(
    model: AdaIN, encoder: Encoder, photo: Tensor, paintings: list[Tensor]
) -> None:
    content = model.content(photo)
    for style in paintings:
        before, known = distance(encoder, photo, style), model.style(style)
        left = [
            distance(encoder, model.stylize(content, known, alpha=alpha), style) / before
            for alpha in (0, 0.5, 1)
        ]
        assert left == sorted(left, reverse=True)
        assert left[-1] < 0.3


def test_no_strokes_keep_to_the_grid_of_the_strides(
    model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    painted = torch.cat([model.stylize(photo, style) for style in paintings])
    for period in (2, 4, model.decoder.shape.stride):
        planted = painted.clone()
        planted[..., ::period, ::period] = 1  # a dot at each step
        assert grey_levels(painted, period) < 4
        assert grey_levels(planted, period) > 12


def grey_levels(pictures: Tensor, period: int) -> float:
    """How many of 255 a pattern of that period has, where it has most."""
    return 255 * losses.grid_variance(pictures, period).max().sqrt().item()


def test_its_file_is_small() -> None:
    assert (config.data_dir() / "weights" / "adain.safetensors").stat().st_size < 4_000_000
