"""Where widely read sources err: each mistake is held by a test and told of in a notebook."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nstlib import gatys, kernels
from nstlib.encoders import Encoder, random_encoder
from nstlib.losses import PerceptualLoss


@dataclass(frozen=True)
class Erratum:
    """What errs, the tests that hold what we do instead, and the box that tells a reader."""

    number: int
    errs: str
    tests: tuple[str, ...]
    notebook: str
    box: str  # a phrase of one box of the notebook's section "What can go wrong"


ERRATA = (
    Erratum(
        1,
        "Index 25 of VGG-19 is taken for conv4_2; it is conv4_4, and conv4_2 is 21.",
        ("tests/test_encoders.py::test_index_25_is_conv4_4_and_21_is_conv4_2",),
        "01",
        "index 25 is often taken for `conv4_2`",
    ),
    Erratum(
        2,
        "A kept convolution's map is overwritten by the in-place ReLU behind it.",
        (
            "tests/test_encoders.py"
            "::test_torchvisions_in_place_relu_alters_a_saved_map_and_ours_does_not",
        ),
        "01",
        "a convolution's map that you kept is overwritten",
    ),
    Erratum(
        3,
        "A slice of layers that stops at 3, 8, 17, 26 or 35 ends before the ReLU it is named for.",
        ("tests/test_encoders.py::test_slices_that_stop_at_these_indices_end_before_the_relu",),
        "01",
        "such as `features[3:8]` ends before a ReLU",
    ),
    Erratum(
        4,
        "The frame before is warped by the forward flow, which leads the wrong way.",
        (
            "tests/test_flow.py::test_the_frame_before_warped_by_the_flow_is_the_current_frame",
            "tests/test_flow.py::test_the_forward_flow_or_swapped_axes_would_be_found_out",
            "tests/test_evaluation_video.py::test_the_forward_flow_and_swapped_axes_are_punished",
            "tests/test_video_steadying.py"
            "::test_it_follows_the_motion_and_the_wrong_direction_does_not",
        ),
        "05",
        "**The flow leads forward.**",
    ),
    Erratum(
        5,
        "A clip is written as mp4v, in blue and red swapped, silent, and at 29 frames for 29.97.",
        (
            "tests/test_video.py::test_an_mp4_is_what_browsers_play",
            "tests/test_video.py::test_the_index_lies_before_the_pixels",
            "tests/test_video.py::test_the_colours_are_red_green_and_blue_in_that_order",
            "tests/test_video.py::test_the_rate_is_exact",
            "tests/test_video.py::test_the_samples_of_copied_sound_are_those_of_the_source",
        ),
        "05",
        "`mp4v` is a codec that browsers do not know",
    ),
    Erratum(
        6,
        "A spread with Bessel's correction is no number where a map has one position.",
        (
            "tests/kernels/test_moments.py::test_population_variance",
            "tests/kernels/test_moments.py"
            "::test_one_pixel_has_the_spread_of_eps_and_a_gradient_of_zero",
            "tests/test_losses.py::test_one_position_has_no_deviation_and_no_nan",
        ),
        "03",
        "**Bessel's correction.**",
    ),
    Erratum(
        7,
        "A Gram matrix in half precision overflows where it is divided after the product.",
        (
            "tests/kernels/test_gram.py::test_half_precision_neither_overflows_nor_vanishes",
            "tests/test_losses.py::test_a_planted_mistake_is_caught",
        ),
        "01",
        "divided *after* the product overflows",
    ),
    Erratum(
        8,
        "The mean of squares less the square of the mean cancels far from zero.",
        (
            "tests/kernels/test_moments.py"
            "::test_a_small_spread_around_a_large_mean_does_not_cancel",
            "tests/test_losses.py::test_a_mean_far_above_the_deviation_does_not_cancel",
        ),
        "03",
        "subtracts two large numbers",
    ),
    Erratum(
        9,
        "The Gram matrix of a batch that is folded into the channels mixes its images.",
        (
            "tests/kernels/test_gram.py::test_images_are_not_mixed",
            "tests/test_losses.py::test_a_batch_is_the_mean_of_its_images",
        ),
        "01",
        "a **batch** that is folded into the channels",
    ),
    Erratum(
        10,
        "Style losses are summed here and averaged there, and their weights compared all the same.",
        (
            "tests/test_losses.py::test_each_convention_is_that_of_the_table",
            "tests/test_losses.py::test_the_conventions_differ_by_the_constants_that_are_stated",
        ),
        "01",
        "sums and means differ by factors of thousands",
    ),
    Erratum(
        11,
        "Files that are not upright 8-bit RGB are read raw, in other colours than a viewer shows.",
        (
            "tests/test_images.py::test_file_loads_as_a_viewer_shows_it",
            "tests/test_images.py::test_the_profiles_change_what_is_seen",
            "tests/test_images.py::test_exif_orientation",
        ),
        "01",
        "**The file is not RGB.**",
    ),
    Erratum(
        12,
        "The decoder of AdaIN gets norms, which wipe out the statistics that it was given.",
        (
            "tests/test_adain_model.py::test_a_decoder_mirrors_the_encoder_and_has_no_norms",
            "tests/test_adain_model.py::test_it_is_the_formula_written_with_plain_modules",
            "tests/test_transform_net.py"
            "::test_upsampling_and_convolution_in_one_is_the_two_one_after_the_other",
        ),
        "03",
        "They erase what AdaIN wrote",
    ),
    Erratum(
        13,
        "A clamp within or between L-BFGS's steps contradicts its history, and steps are counted "
        "where evaluations are what costs.",
        (
            "tests/test_errata.py::test_lbfgs_is_not_clamped_while_it_runs",
            "tests/test_gatys.py::test_lbfgs_forgets_its_history_when_the_loss_changes",
            "tests/test_gatys.py::test_evaluations_are_counted_as_they_are_made",
        ),
        "01",
        "A clamp inside its closure, or between its steps",
    ),
    Erratum(
        14,
        "Data-parallel training repeats one shuffle, and saves a wrapper that loads nowhere else.",
        (
            "tests/test_training.py::test_two_processes_learn_what_one_learns_from_the_whole_batch",
            "tests/test_training.py::test_one_process_takes_up_what_two_began",
            "tests/test_datasets.py::test_every_picture_is_seen_once_before_any_is_seen_again",
            "tests/test_losses.py::test_a_target_is_a_buffer_of_its_own_without_a_gradient",
            "tests/test_adain_model.py::test_a_decoder_that_was_saved_wrapped_loads",
        ),
        "03",
        "**Weights that were saved wrapped.**",
    ),
    Erratum(
        15,
        "Training photos are squashed to squares.",
        (
            "tests/test_datasets.py"
            "::test_large_pictures_are_made_smaller_with_their_aspect_and_none_larger",
            "tests/test_datasets.py::test_crops_are_windows_of_the_pictures_mirrored_half_the_time",
        ),
        "02",
        "teaches a squashed world",
    ),
    Erratum(
        16,
        "The warped frame before is blended in everywhere, which leaves ghosts and drifts.",
        (
            "tests/test_video_steadying.py::test_without_the_mask_there_are_ghosts",
            "tests/test_video_steadying.py"
            "::test_a_still_scene_neither_drifts_nor_darkens_nor_blurs_over_300_frames",
            "tests/test_video_steadying.py::test_a_loop_that_feeds_on_whole_levels_does_darken",
        ),
        "05",
        "**Blending everywhere.**",
    ),
    Erratum(
        17,
        "AdaIN's weight is quoted without the loss that it weighs, and σ called of first order.",
        (
            "tests/test_adain_training.py::test_the_literatures_recipes_are_what_they_state",
            "tests/test_adain_training.py::test_each_weight_is_of_its_own_term",
            "tests/test_errata.py::test_the_spread_is_a_statistic_of_second_order",
        ),
        "03",
        "**A weight without its loss.**",
    ),
    Erratum(
        18,
        "A perceptual loss keeps a map that an in-place ReLU then overwrites.",
        ("tests/test_errata.py::test_a_loss_on_a_map_that_is_overwritten_fails_and_ours_does_not",),
        "02",
        "**A ReLU in place.**",
    ),
    Erratum(
        19,
        'The device of each process is "cuda:".format(rank), which is "cuda:" for all.',
        ("tests/test_config.py::test_a_device_that_does_not_exist_is_named",),
        "03",
        '**`"cuda:".format(rank)`**',
    ),
    Erratum(
        20,
        "A book takes conv4_4 for the content, its slides say conv4_2; its total variation is halved.",
        (
            "tests/test_gatys.py::test_d2l_is_the_books_recipe",
            "tests/test_gatys.py::test_the_presets_keep_the_books_numbers",
            "tests/test_losses.py::test_total_variation_is_twice_the_books",
        ),
        "01",
        "takes the content at index 25, which is `conv4_4`",
    ),
)


# ------------------------------------------------------------------------------------- the table


@cache
def defined_in(path: Path) -> frozenset[str]:
    """The tests that a file defines: ``test_name``, or ``Class::test_name``."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        parts = node.body if isinstance(node, ast.ClassDef) else [node]
        within = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        found |= {within + part.name for part in parts if isinstance(part, ast.FunctionDef)}
    return frozenset(name for name in found if name.rpartition("::")[2].startswith("test_"))


@cache
def boxes_of(folder: Path, number: str) -> tuple[str, ...]:
    """The boxes of a notebook's section "What can go wrong"."""
    (path,) = folder.glob(f"{number}-*.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    section = prose.partition("\n## What can go wrong\n")[2].partition("\n## ")[0]
    return tuple(re.findall(r"^> .+$", section, re.M))


def test_the_errata_are_numbered_from_1_to_20() -> None:
    assert [erratum.number for erratum in ERRATA] == list(range(1, 21))


@pytest.mark.parametrize("erratum", ERRATA, ids=lambda erratum: str(erratum.number))
class TestEachErratum:
    def test_its_tests_are_there(self, erratum: Erratum, root: Path) -> None:
        assert erratum.tests
        for test in erratum.tests:
            file, _, name = test.partition("::")
            assert name in defined_in(root / file)

    def test_one_box_of_its_notebook_tells_of_it(self, erratum: Erratum, root: Path) -> None:
        boxes = boxes_of(root / "notebooks", erratum.notebook)
        assert len([box for box in boxes if erratum.box in box]) == 1


def test_no_two_errata_share_a_phrase_or_a_sentence() -> None:
    assert len({erratum.box for erratum in ERRATA}) == len(ERRATA)
    assert len({erratum.errs for erratum in ERRATA}) == len(ERRATA)


# ------------------------------------------------------------ what no file of one module's tests holds


@pytest.fixture
def encoder() -> Encoder:
    return random_encoder("slim")


@pytest.fixture
def photo() -> Tensor:
    return torch.rand(1, 3, 24, 32, generator=torch.Generator().manual_seed(0)).round()


def test_lbfgs_is_not_clamped_while_it_runs(encoder: Encoder, photo: Tensor) -> None:
    """The photo is black and white, so that every step would leave the range."""
    painting = photo.flip(3).mul(0.5)
    ends = {}
    for optimizer in ("adam", "lbfgs"):
        for clamp in (True, False):
            run: dict[str, Any] = {"optimizer": optimizer, "clamp": clamp, "steps": 3}
            ends[optimizer, clamp] = gatys.stylize(
                photo, painting, encoder, precision="float32", **run
            )
    assert torch.equal(ends["lbfgs", True], ends["lbfgs", False])
    assert not torch.equal(ends["adam", True], ends["adam", False]), "where a clamp shows"
    assert all(end.min() >= 0 and end.max() <= 1 for end in ends.values()), "at the end all are"


def test_the_spread_is_a_statistic_of_second_order(photo: Tensor) -> None:
    """Over equal parts, means are averaged, and so are means of squares; spreads are not."""
    maps = photo.double() * torch.linspace(0, 1, 32)
    mean, std = (value[0] for value in kernels.moments(maps, eps=0))
    halves = torch.cat(maps.split(16, dim=3))
    means, stds = kernels.moments(halves, eps=0)
    torch.testing.assert_close(means.mean(0), mean)
    torch.testing.assert_close((means**2 + stds**2).mean(0), mean**2 + std**2)
    assert ((stds.mean(0) - std).abs() > 0.01).all()


def test_a_loss_on_a_map_that_is_overwritten_fails_and_ours_does_not(
    encoder: Encoder, photo: Tensor
) -> None:
    pixels = ((photo - encoder.mean) / encoder.std).requires_grad_()
    kept = encoder.convs["conv1_1"](pixels)
    flat = kept.flatten(2)
    gram = flat @ flat.mT
    F.relu(kept, inplace=True)
    assert kept.min() == 0, "what was kept is the next layer's map"
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.backward(gram.sum())

    picture = photo.clone().requires_grad_()
    loss = PerceptualLoss(encoder, 1 - photo, {"conv1_1": 1.0, "relu3_4": 1.0})
    torch.autograd.backward(loss(picture))
    assert picture.grad is not None
    assert picture.grad.abs().sum() > 0
    assert encoder(picture, ["conv1_1", "relu3_4"])["conv1_1"].min() < 0
