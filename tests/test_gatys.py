"""Gatys' method: the sources' recipes step by step, and every promise of the stream of steps."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

import nstlib
from nstlib import encoders, gatys, kernels, losses
from nstlib.encoders import Encoder, load_encoder, random_encoder
from nstlib.gatys import (
    PixelDivergenceError,
    Settings,
    Step,
    memory_needed,
    optimize,
    preset,
    stylize,
)
from nstlib.images import resize, sample, style, style_names

Image = Tensor


def picture(height: int, width: int, seed: int = 0) -> Image:
    """A smooth random picture: blobs, like a photo out of focus."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 6 + 2, width // 6 + 2, generator=generator)
    return F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)


def far_from_black_and_white(seed: int) -> Image:
    """A picture that a few steps do not bring to where it would be cut off."""
    return 0.3 + 0.4 * picture(33, 40, seed)


@pytest.fixture(scope="module")
def content() -> Image:
    return picture(33, 40, seed=1)


@pytest.fixture(scope="module")
def painting() -> Image:
    return picture(36, 30, seed=2)


@pytest.fixture
def encoder() -> Encoder:
    return random_encoder("slim")


def run(*args: Any, **changes: Any) -> list[Step]:
    return list(optimize(*args, **{"precision": "float32", "steps": 4} | changes))


def count_calls(encoder: Encoder) -> list[int]:
    calls = [0]

    def count(*_: Any) -> None:
        calls[0] += 1

    encoder.register_forward_hook(count)
    return calls


# ------------------------------------------- the sources' recipes, written as their books have them


@pytest.fixture(scope="module")
def features() -> nn.Sequential:
    """Torchvision's VGG-19 with random weights, its ReLUs no longer in place."""
    layers: nn.Sequential = torchvision.models.vgg.make_layers(
        torchvision.models.vgg.cfgs["E"], batch_norm=False
    )
    generator = torch.Generator().manual_seed(0)
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            assert layer.bias is not None
            nn.init.normal_(layer.bias, std=0.1, generator=generator)
        elif isinstance(layer, nn.ReLU):
            layers[index] = nn.ReLU(inplace=False)
    return layers.requires_grad_(False)


@pytest.fixture(scope="module")
def vgg19(features: nn.Sequential) -> Encoder:
    encoder = Encoder(encoders.VGG19_WIDTHS, name="vgg19")
    encoder.load_state_dict(
        {
            f"convs.{layer}.{part}": features[index].state_dict()[part]
            for layer, index in encoders.torchvision_indices().items()
            for part in ("weight", "bias")
        }
    )
    return encoder


def extract(features: nn.Sequential, image: Tensor, indices: list[int]) -> list[Tensor]:
    maps = []
    for index, layer in enumerate(features):
        image = layer(image)
        if index in indices:
            maps.append(image)
        if index == max(indices):
            break
    return maps


def book_gram(features: Tensor) -> Tensor:
    channels, positions = features.shape[1], features.numel() // features.shape[1]
    flat = features.reshape(channels, positions)
    return flat @ flat.T / (channels * positions)


def plain_d2l(
    features: nn.Sequential, content: Image, style: Image, steps: int, decay_every: int = 50
) -> Image:
    """Dive into Deep Learning, 14.12, its loops, losses and weights; the rate is the first edition's."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    content_x, style_x = (content - mean) / std, (style - mean) / std
    style_layers, content_layers = [0, 5, 10, 19, 28], [25]
    contents_y = extract(features, content_x, content_layers)
    styles_y_gram = [book_gram(y) for y in extract(features, style_x, style_layers)]
    generated = nn.Parameter(content_x.clone())
    trainer = torch.optim.Adam([generated], lr=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(trainer, decay_every, 0.8)
    for _ in range(steps):
        trainer.zero_grad()
        contents = extract(features, generated, content_layers)
        styles = extract(features, generated, style_layers)
        contents_l = [F.mse_loss(x, y) * 1 for x, y in zip(contents, contents_y, strict=True)]
        styles_l = [
            F.mse_loss(book_gram(x), y) * 1e4 for x, y in zip(styles, styles_y_gram, strict=True)
        ]
        tv_l = 10 * 0.5 * (
            (generated[:, :, 1:, :] - generated[:, :, :-1, :]).abs().mean()
            + (generated[:, :, :, 1:] - generated[:, :, :, :-1]).abs().mean()
        )  # fmt: skip
        torch.autograd.backward(sum(styles_l + contents_l, tv_l))
        trainer.step()
        scheduler.step()
    return (generated.detach() * std + mean).clamp(0, 1)


def plain_core(features: nn.Sequential, content: Image, style: Image, steps: int) -> Image:
    """The textbook form: five ReLUs, content at the fourth, Adam at 0.01 on pixels in [0, 1]."""
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    layers = [3, 8, 17, 26, 35]  # relu1_2, relu2_2, relu3_4, relu4_4, relu5_4
    content_map = extract(features, (content - mean) / std, layers)[3]
    grams = [book_gram(y) for y in extract(features, (style - mean) / std, layers)]
    image = nn.Parameter(content.clone())
    optimizer = torch.optim.Adam([image], lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        maps = extract(features, (image - mean) / std, layers)
        loss = F.mse_loss(maps[3], content_map)
        for found, wanted in zip(maps, grams, strict=True):
            loss = loss + 1e6 * F.mse_loss(book_gram(found), wanted)
        torch.autograd.backward(loss)
        optimizer.step()
        with torch.no_grad():
            image.clamp_(0, 1)
    return image.detach()


@pytest.fixture
def in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what asks for float32 compute in float64.

    Adam's steps have the sign of a gradient more than its size, and these recipes take long ones:
    the order in which float32 adds up grows, within 20 steps, into another picture of the same kind
    (a plain version whose photo is changed by a millionth does so too). In float64 it cannot.
    """
    monkeypatch.setattr(Tensor, "float", Tensor.double)
    monkeypatch.setattr(gatys.config, "pick_dtype", lambda precision, device: torch.float64)


def test_d2l_is_the_books_recipe(in_float64: None, features: nn.Sequential, vgg19: Encoder) -> None:
    content, painting = picture(20, 24, seed=1), picture(24, 17, seed=2)
    ours = stylize(content, painting, vgg19, preset("d2l"), steps=8, decay_every=3)
    exact = copy.deepcopy(features).double()
    plain = plain_d2l(exact, content.double(), painting.double(), steps=8, decay_every=3)
    assert (ours - plain).abs().max() < 1e-6
    assert (ours - content).abs().mean() > 0.1


def test_core_is_the_textbooks_recipe(
    in_float64: None, features: nn.Sequential, vgg19: Encoder
) -> None:
    content, painting = picture(20, 24, seed=1), picture(24, 17, seed=2)
    ours = stylize(content, painting, vgg19, preset("core"), steps=8)
    exact = copy.deepcopy(features).double()
    plain = plain_core(exact, content.double(), painting.double(), steps=8)
    assert (ours - plain).abs().max() < 1e-6
    assert (ours - content).abs().mean() > 0.03


@pytest.mark.parametrize(("name", "plain"), [("d2l", plain_d2l), ("core", plain_core)])
def test_the_first_step_is_the_books_in_float32_too(
    features: nn.Sequential,
    vgg19: Encoder,
    content: Image,
    painting: Image,
    name: str,
    plain: Callable[[nn.Sequential, Image, Image, int], Image],
) -> None:
    ours = stylize(content, painting, vgg19, preset(name), steps=1, precision="float32")
    assert (ours - plain(features, content, painting, 1)).abs().mean() < 1e-5


def test_the_presets_keep_the_books_numbers() -> None:
    recipe = preset("d2l")
    assert (recipe.steps, recipe.learning_rate) == (500, 0.9)
    assert (recipe.decay_factor, recipe.decay_every) == (0.8, 50)
    assert preset("core").steps == 300
    assert recipe.content_taps == {"conv4_4": 1.0}  # index 25, where the book's slides say conv4_2


@pytest.mark.parametrize(
    ("name", "missing"), [("d2l", "content_taps asks for conv4_4"), ("core", "asks for relu4_4")]
)
def test_on_slim_the_error_names_the_missing_taps(
    name: str, missing: str, encoder: Encoder, content: Image, painting: Image
) -> None:
    with pytest.raises(
        ValueError, match=rf"{missing}, which encoder 'slim' .* it has conv1_1 … relu3"
    ):
        optimize(content, painting, encoder, preset(name))
    with pytest.raises(ValueError, match=r"style_taps asks for conv4_1, conv5_1"):
        optimize(content, painting, encoder, preset("d2l"), content_taps=["relu3_1"])


# ----------------------------------------------------------------------------- what a step tells


def test_a_step_tells_its_losses_bare_and_weighted(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    settings = Settings(
        content_weight=2, style_weight=30, tv_weight=0.25, steps=3, precision="float32"
    )
    steps = list(optimize(content, painting, encoder, settings))
    assert [step.index for step in steps] == [1, 2, 3]
    assert {step.steps for step in steps} == {3}
    assert [step.evaluations for step in steps] == [1, 2, 3]
    seconds = [step.seconds for step in steps]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    for step in steps:
        assert step.image.shape == content.shape
        assert step.weighted["content"] == pytest.approx(2 * step.losses["content"])
        assert step.weighted["style"] == pytest.approx(30 * step.losses["style"])
        assert step.weighted["tv"] == pytest.approx(0.25 * step.losses["tv"])
        parts = [step.weighted[name] for name in ("content", "style", "tv")]
        assert step.weighted["total"] == pytest.approx(sum(parts))
        assert tuple(step.layers) == settings.style_taps
        assert step.losses["style"] == pytest.approx(sum(step.layers.values()) / 4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        steps[0].index = 7  # type: ignore[misc]


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_the_losses_are_those_of_the_picture_before_the_step(
    encoder: Encoder, painting: Image, optimizer: str
) -> None:
    content = far_from_black_and_white(seed=1)
    steps = run(content, painting, encoder, optimizer=optimizer)
    assert steps[0].losses["content"] == 0
    taps = Settings().style_taps
    assert not isinstance(taps, dict)
    before, compared = content, 0
    for step in steps:
        if before.min() == 0 or before.max() == 1:
            break  # what was shown was cut off; the run went on from what it was
        compared += 1
        found, target = encoder(before, list(taps)), encoder(painting, list(taps))
        for tap in taps:
            wanted = losses.GramLoss(target[tap])(found[tap]).item()
            assert step.layers[tap] == pytest.approx(wanted, rel=1e-3)
        assert step.losses["tv"] == pytest.approx(kernels.total_variation(before).item(), rel=1e-3)
        before = step.image
    assert compared >= 2


def test_taps_with_weights_of_their_own_are_added_up(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    shares = {"relu1_1": 0.25, "relu2_1": 3.0}
    (step,) = run(content, painting, encoder, style_taps=shares, steps=1)
    wanted = sum(weight * step.layers[tap] for tap, weight in shares.items())
    assert step.losses["style"] == pytest.approx(wanted)


def test_the_loss_falls_on_a_photo_and_a_painting() -> None:
    photo, painted = sample("chelsea", size=64), style(style_names()[0], size=64)
    steps = run(photo, painted, load_encoder("slim"), steps=30)
    totals = [step.weighted["total"] for step in steps]
    assert totals[-1] < 0.2 * totals[0]
    assert steps[-1].losses["style"] < 0.2 * steps[0].losses["style"]


@pytest.mark.parametrize("shape", [(33, 47), (64, 33), (37, 37)])
@pytest.mark.parametrize("ladder", [1, 2])
def test_the_result_has_exactly_the_contents_size(
    encoder: Encoder, painting: Image, shape: tuple[int, int], ladder: int
) -> None:
    if ladder == 2:
        shape = shape[0] + 14, shape[1] + 14
    result = stylize(picture(*shape), painting, encoder, steps=2, ladder=ladder)
    assert result.shape == (1, 3, *shape)
    assert result.dtype == torch.float32
    assert 0 <= result.min() <= result.max() <= 1


def test_stylize_is_the_last_step(encoder: Encoder, content: Image, painting: Image) -> None:
    steps = run(content, painting, encoder)
    last = stylize(content, painting, encoder, precision="float32", steps=4)
    assert torch.equal(steps[-1].image, last)


# ------------------------------------------------------------------------- the same and not the same


def test_the_same_seed_is_the_same_picture_and_another_is_another(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    def noise(seed: int) -> Image:
        return run(content, painting, encoder, init="noise", seed=seed)[-1].image

    torch.manual_seed(1)
    first = noise(0)
    torch.manual_seed(2)  # the global generator is none of our business
    assert torch.equal(noise(0), first)
    assert (noise(1) - first).abs().mean() > 0.1
    photo_start = [run(content, painting, encoder, seed=seed)[-1].image for seed in (0, 1)]
    assert torch.equal(*photo_start)


def test_the_callers_pictures_encoder_and_generator_stay_as_they_are(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    start = picture(33, 40, seed=5)
    before = [tensor.clone() for tensor in (content, painting, start, *encoder.parameters())]
    state = torch.get_rng_state()
    made = run(content, painting, encoder, init=start)[0].image
    kept = made.clone()
    for precision in ("float32", "bfloat16"):
        for init in ("noise", start):
            run(content, painting, encoder, precision=precision, init=init)
    assert torch.equal(made, kept)
    after = (content, painting, start, *encoder.parameters())
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_images_of_earlier_steps_do_not_change_later(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    steps = optimize(content, painting, encoder, steps=3, average=0.5)
    first = next(steps).image
    kept = first.clone()
    for _ in steps:
        pass
    assert torch.equal(first, kept)


def test_coarse_precision_gets_as_far(encoder: Encoder, content: Image, painting: Image) -> None:
    fine, coarse = (
        run(content, painting, encoder, precision=precision, steps=20)
        for precision in ("float32", "bfloat16")
    )
    assert not torch.equal(fine[0].image, coarse[0].image)
    assert fine[-1].losses["style"] < 0.2 * fine[0].losses["style"]
    for term in ("content", "style"):
        assert coarse[-1].losses[term] == pytest.approx(fine[-1].losses[term], rel=0.2)


def test_lbfgs_computes_in_float32_unless_told_otherwise(
    content: Image, painting: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gatys.config, "has_fast_bfloat16", lambda device: True)
    for optimizer, wanted in {"lbfgs": torch.float32, "adam": torch.bfloat16}.items():
        seen: set[torch.dtype] = set()
        objective = gatys.Objective.forward

        def watch(self: Any, image: Tensor, seen: Any = seen, objective: Any = objective) -> Any:
            seen.add(self.encoder.dtype)
            return objective(self, image)

        monkeypatch.setattr(gatys.Objective, "forward", watch)
        run(content, painting, random_encoder(), optimizer=optimizer, precision="auto", steps=1)
        assert seen == {wanted}
        monkeypatch.setattr(gatys.Objective, "forward", objective)


# ------------------------------------------------------------------------ moved while it runs


def with_a_move(
    at: int, move: Callable[[Settings], None], *args: Any, **changes: Any
) -> list[Step]:
    """A run on which ``move`` acts between step ``at`` and the next."""
    settings = Settings(**{"precision": "float32", "steps": 5} | changes)
    steps = []
    for step in optimize(*args, settings):
        steps.append(step)
        if step.index == at:
            move(settings)
    return steps


@pytest.mark.parametrize("name", ["content_weight", "style_weight", "tv_weight"])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_weight_that_is_moved_acts_from_the_next_step_and_not_before(
    encoder: Encoder, content: Image, painting: Image, name: str, optimizer: str
) -> None:
    start = picture(33, 40, seed=5)
    still = run(content, painting, encoder, init=start, optimizer=optimizer, steps=5)
    moved = with_a_move(
        3,
        lambda settings: setattr(settings, name, 7 * getattr(settings, name)),
        content,
        painting,
        encoder,
        init=start,
        optimizer=optimizer,
    )
    for index in range(3):
        assert torch.equal(moved[index].image, still[index].image)
    term = name.removesuffix("_weight")
    assert moved[3].losses == still[3].losses  # of the picture before the step
    assert moved[3].weighted[term] == pytest.approx(7 * still[3].weighted[term])
    assert not torch.equal(moved[3].image, still[3].image)


def test_the_learning_rate_may_be_moved(encoder: Encoder, content: Image, painting: Image) -> None:
    def stop(settings: Settings) -> None:
        settings.learning_rate = 1e-6

    steps = with_a_move(2, stop, content, painting, encoder, clamp=False)
    assert (steps[1].image - steps[0].image).abs().mean() > 1e-3
    assert (steps[2].image - steps[1].image).abs().max() < 1e-5


def test_what_may_not_be_moved_is_read_once(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    def move(settings: Settings) -> None:
        settings.average, settings.steps, settings.clamp = 0.99, 50, False
        settings.style_taps, settings.beta2 = ("relu3_4",), 0.5

    still = run(content, painting, encoder, steps=5)
    moved = with_a_move(2, move, content, painting, encoder)
    assert len(moved) == 5
    assert all(torch.equal(a.image, b.image) for a, b in zip(still, moved, strict=True))


def test_a_wrong_value_moved_in_is_an_error_at_the_next_step(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    settings = Settings(steps=3)
    steps = optimize(content, painting, encoder, settings)
    next(steps)
    settings.style_weight = -5
    with pytest.raises(ValueError, match=r"style_weight is -5; it must lie in \[0, 1e\+12\]"):
        next(steps)


def test_lbfgs_forgets_its_history_when_the_loss_changes(encoder: Encoder, painting: Image) -> None:
    """After a move it does what a new run from that picture does."""
    content = far_from_black_and_white(seed=1)

    def move(settings: Settings) -> None:
        settings.style_weight = 5.0

    moved = with_a_move(3, move, content, painting, encoder, optimizer="lbfgs")
    assert 0 < moved[2].image.min() < moved[2].image.max() < 1
    fresh = run(
        content,
        painting,
        encoder,
        init=moved[2].image,
        style_weight=5.0,
        optimizer="lbfgs",
        steps=2,
    )
    torch.testing.assert_close(moved[4].image, fresh[1].image, atol=1e-4, rtol=0)


def test_the_callers_settings_are_not_changed_by_changes(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    settings = Settings(steps=9)
    (step,) = optimize(content, painting, encoder, settings, steps=1)
    assert (settings.steps, step.steps) == (9, 1)


# ------------------------------------------------------------------------------- stopping, counting


def test_nothing_runs_before_the_first_step_or_after_a_break(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    calls = count_calls(encoder)
    steps = optimize(content, painting, encoder, steps=50, precision="float32")
    assert isinstance(steps, Iterator)
    assert calls == [0]
    for step in steps:
        if step.index == 3:
            break
    assert calls == [2 + 3]  # the two targets, and three steps
    del steps
    assert calls == [2 + 3]


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_evaluations_are_counted_as_they_are_made(
    encoder: Encoder, content: Image, painting: Image, optimizer: str
) -> None:
    calls = count_calls(encoder)
    settings = Settings(optimizer=optimizer, steps=6, precision="float32")  # type: ignore[arg-type]
    seen = []
    for step in optimize(content, painting, encoder, settings):
        assert step.evaluations == calls[0] - 2
        seen.append(step.evaluations)
    if optimizer == "adam":
        assert seen == [1, 2, 3, 4, 5, 6]
    else:
        assert seen[-1] > 6, "a line search takes more than one"


def test_lbfgs_gets_further_than_adam_with_as_many_evaluations() -> None:
    """A smooth problem, its favourite: a photo found again from the maps of an early layer."""
    photo, encoder = sample("chelsea", size=48, crop=True), load_encoder("slim")
    problem = {"content_taps": ["relu1_2"], "tv_weight": 0, "init": "noise"}

    def loss_after(evaluations: int, **changes: Any) -> float:
        for step in optimize(photo, None, encoder, precision="float32", **problem, **changes):
            if step.evaluations >= evaluations:
                return step.losses["content"]
        raise AssertionError("the run ended too soon")

    curvature = loss_after(30, optimizer="lbfgs", steps=30)
    gradients = [loss_after(30, learning_rate=rate, steps=30) for rate in (0.01, 0.03, 0.1)]
    assert curvature < min(gradients)


def test_lbfgs_arrives_where_the_loss_is_large_beside_what_a_step_wins() -> None:
    # Its first look along the gradient was once too short for float32 to see the loss fall.
    photo, painting = nstlib.sample("astronaut", 96, crop=True), nstlib.style("vortex", 96)
    totals = [
        step.weighted["total"]
        for step in gatys.optimize(photo, painting, optimizer="lbfgs", steps=10, style_weight=1e3)
    ]
    assert totals[-1] < 0.1 * totals[0]


def test_lbfgs_does_not_mind_small_weights() -> None:
    """Its steps depend on the shape of the loss and not on its size."""
    content, painting, encoder = picture(32, 32, 1), picture(32, 32, 2), random_encoder()
    large, small = (
        run(
            content,
            painting,
            encoder,
            optimizer="lbfgs",
            content_weight=scale,
            style_weight=10 * scale,
            tv_weight=0,
        )[-1]
        for scale in (1e3, 1e-3)
    )
    assert large.losses["style"] < 0.5
    assert small.losses["style"] == pytest.approx(large.losses["style"], rel=0.05)


# ------------------------------------------------------------------------ the ladder and the average


def test_the_ladder_climbs_by_the_root_of_two_to_the_contents_size(
    encoder: Encoder, painting: Image
) -> None:
    steps = run(picture(80, 101), painting, encoder, ladder=3, steps=8)
    sizes = [tuple(step.image.shape[2:]) for step in steps]
    assert sizes == [(40, 50)] * 3 + [(57, 71)] * 3 + [(80, 101)] * 2
    assert [step.index for step in steps] == list(range(1, 9))
    assert steps[-1].evaluations == 8


def test_each_rung_begins_where_the_last_one_ended(encoder: Encoder, painting: Image) -> None:
    steps = run(picture(48, 64), painting, encoder, ladder=2, steps=4, learning_rate=1e-6)
    photo = resize(picture(48, 64), tuple(steps[0].image.shape[2:]))  # type: ignore[arg-type]
    torch.testing.assert_close(steps[1].image, photo, atol=1e-4, rtol=0)
    enlarged = F.interpolate(steps[1].image, (48, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(steps[2].image, enlarged, atol=1e-4, rtol=0)
    assert (steps[2].image - picture(48, 64)).abs().max() > 1e-3  # it is not the photo again


def test_adam_remembers_from_rung_to_rung(encoder: Encoder, painting: Image) -> None:
    """The first step of an Adam without memory is as long as the learning rate, everywhere."""
    steps = run(
        picture(48, 64), painting, encoder, ladder=2, steps=10, learning_rate=0.01, clamp=False
    )
    alone = run(picture(48, 64), painting, encoder, steps=1, learning_rate=0.01, clamp=False)

    def share_as_long_as_the_rate(before: Image, after: Image) -> float:
        before = F.interpolate(before, after.shape[2:], mode="bilinear", align_corners=False)
        inside = (after > 0) & (after < 1) & (before > 0) & (before < 1)
        length = (after - before).abs()[inside]
        return ((length - 0.01).abs() < 1e-4).float().mean().item()

    assert share_as_long_as_the_rate(picture(48, 64), alone[0].image) > 0.9
    assert share_as_long_as_the_rate(steps[4].image, steps[5].image) < 0.2


def test_moments_are_carried_as_a_mean_over_more_pixels_wants_them() -> None:
    def adam(size: tuple[int, int]) -> tuple[torch.optim.Adam, nn.Parameter]:
        values = nn.Parameter(torch.zeros(1, 3, *size))
        return torch.optim.Adam([values]), values

    (old, small), (new, large) = adam((4, 6)), adam((8, 12))
    small.grad = torch.full_like(small, 2.0)
    for _ in range(3):
        old.step()
    gatys._carry_moments(old, new)
    before, after = old.state[small], new.state[large]
    assert after["step"] == before["step"] == 3
    for name, power in {"exp_avg": 1, "exp_avg_sq": 2}.items():
        assert after[name].shape == large.shape
        expected = before[name][0, 0, 0, 0] / 4**power
        torch.testing.assert_close(after[name], expected.expand_as(large))
    assert after["step"] is not before["step"]  # a shared count would run for both
    large.grad = torch.full_like(large, 2.0 / 4)  # the same slope, over four times the pixels
    new.step()
    torch.testing.assert_close(large.detach(), torch.full_like(large, -1e-3))


def test_a_gradient_shrinks_as_the_pixels_grow(encoder: Encoder, painting: Image) -> None:
    """Why the moments are rescaled: the loss of a tiled picture is spread over its tiles."""
    photo, start = picture(32, 32, 1), picture(32, 32, 3)
    shallow = Settings(content_taps=["relu2_1"], style_taps=["relu1_1", "relu2_1"])
    slopes = []
    for tiles in (1, 3):
        canvas = start.tile(1, 1, tiles, tiles).requires_grad_()
        objective = gatys.Objective(encoder, photo.tile(1, 1, tiles, tiles), [painting], shallow)
        content, style_term, _ = objective(canvas)
        (gradient,) = torch.autograd.grad(content + style_term, canvas)
        slopes.append(gradient.abs().median().item())
    assert slopes[0] / slopes[1] == pytest.approx(9, rel=0.2)


@pytest.mark.parametrize("ladder", [1, 2])
def test_the_average_is_that_of_the_iterates_and_not_darker(
    encoder: Encoder, painting: Image, ladder: int
) -> None:
    memory, photo = 0.8, picture(48, 52, 1)
    # One rung: a rung's start depends on the average, so a longer ladder has other iterates.
    if ladder == 1:
        iterates = [step.image for step in run(photo, painting, encoder, steps=6)]
        averaged = run(photo, painting, encoder, steps=6, average=memory)
        for count, step in enumerate(averaged, start=1):
            weights = [(1 - memory) * memory ** (count - k) for k in range(1, count + 1)]
            assert sum(weights) == pytest.approx(1 - memory**count)
            mean = sum(w * x for w, x in zip(weights, iterates, strict=False)) / sum(weights)
            torch.testing.assert_close(step.image, torch.as_tensor(mean), atol=1e-5, rtol=0)
    else:
        steps = run(photo, painting, encoder, steps=4, ladder=2, average=memory, learning_rate=1e-6)
        for step in steps:
            assert step.image.mean() == pytest.approx(photo.mean().item(), rel=0.01)


def test_the_styles_size_is_the_size_of_its_strokes(encoder: Encoder, content: Image) -> None:
    """The style is scaled with the rung, and by style_scale, its aspect kept."""
    painting, seen = picture(64, 96), []
    encoder.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[2:])))
    run(picture(64, 64), painting, encoder, ladder=2, steps=2, style_scale=0.5)
    styles = [seen[1], seen[4]]  # content, style, step, and again
    assert styles == [(22, 34), (32, 48)]


# ------------------------------------------------------------------------------ starts and styles


def test_a_run_may_begin_with_any_picture(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    start = picture(33, 40, seed=5)
    still = {"learning_rate": 1e-6, "steps": 1}
    (mine,) = run(content, painting, encoder, init=start, **still)
    torch.testing.assert_close(mine.image, start, atol=1e-5, rtol=0)
    assert mine.losses["content"] > 0.01
    (photo,) = run(content, painting, encoder, **still)
    torch.testing.assert_close(photo.image, content, atol=1e-5, rtol=0)
    (noise,) = run(content, painting, encoder, init="noise", seed=4, **still)
    wanted = torch.rand(content.shape, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(noise.image, wanted, atol=1e-5, rtol=0)


def test_pixels_are_kept_in_range_by_the_clamp_and_always_in_what_is_shown(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    pictures = {}
    for space in ("pixels", "normalized"):
        for clamp in (True, False):
            steps = run(
                content,
                painting,
                encoder,
                init="noise",
                learning_rate=0.5,
                space=space,
                clamp=clamp,
                steps=3,
            )
            for step in steps:
                assert 0 <= step.image.min() <= step.image.max() <= 1
            pictures[space, clamp] = steps[-1].image
    assert not torch.equal(pictures["pixels", True], pictures["pixels", False])


def test_the_clamp_is_of_the_picture_in_either_space(encoder: Encoder) -> None:
    for space in ("pixels", "normalized"):
        canvas = gatys._Canvas(torch.tensor([-1.0, 0.25, 3.0]).view(1, 3, 1, 1), encoder, space)
        canvas.clamp()
        torch.testing.assert_close(
            canvas.image().detach().flatten(), torch.tensor([0.0, 0.25, 1.0]), atol=1e-6, rtol=0
        )


def test_several_styles_are_mixed_by_their_weights(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    other = picture(50, 44, seed=9)

    def result(styles: Any, **changes: Any) -> Image:
        return run(content, styles, encoder, **changes)[-1].image

    alone = result(painting)

    def apart(image: Image) -> float:
        """On the mean: Adam moves a pixel whose gradient is nearly 0 by its sign, so by rounding."""
        return float((image - alone).abs().mean())

    assert torch.equal(result([painting]), alone)
    assert apart(result([painting, painting], weights=[1, 4])) < 1e-4
    assert apart(result([painting, other], weights=[2, 0])) < 1e-4
    mixed = result([painting, other], weights=[1, 1])
    torch.testing.assert_close(mixed, result([painting, other]))
    assert apart(mixed) > 1e-3


def test_without_a_style_the_content_is_found_again(encoder: Encoder, content: Image) -> None:
    steps = run(content, None, encoder, init="noise", tv_weight=0, steps=20)
    assert steps[-1].losses["content"] < 0.5 * steps[0].losses["content"]
    assert steps[-1].losses["style"] == 0
    assert steps[-1].layers == {}


def test_without_a_style_its_taps_need_not_exist(content: Image) -> None:
    shallow = Encoder((32, 32), name="shallow")
    assert stylize(content, None, shallow, content_taps=["relu1_2"], steps=1).shape == content.shape


# ------------------------------------------------------------------------------------- divergence


@pytest.mark.parametrize("when", ["forward", "backward"])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_ends_the_run_with_the_last_good_picture(
    encoder: Encoder, content: Image, painting: Image, when: str, optimizer: str, bad: float
) -> None:
    armed = [False]

    def poison(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
        if armed[0] and when == "forward":
            return output * bad
        if armed[0] and output.requires_grad:
            output.register_hook(lambda gradient: gradient * bad)
        return None

    encoder.convs["conv1_1"].register_forward_hook(poison)
    settings = Settings(optimizer=optimizer, steps=9, precision="float32")  # type: ignore[arg-type]
    steps = optimize(content, painting, encoder, settings)
    next(steps)
    last = next(steps).image
    armed[0] = True
    with pytest.raises(PixelDivergenceError, match="try a lower learning_rate") as caught:
        next(steps)
    assert last.isfinite().all()
    assert torch.equal(caught.value.image, last)


def test_a_run_that_diverges_at_once_keeps_its_start(
    encoder: Encoder, content: Image, painting: Image
) -> None:
    with torch.no_grad():
        encoder.convs["conv1_1"].weight *= 1e30
    with pytest.raises(PixelDivergenceError, match="the loss is") as caught:
        stylize(content, painting, encoder, init="noise", precision="float32", normalize="sum")
    assert caught.value.image.isfinite().all()
    assert caught.value.image.shape == content.shape


def test_a_picture_that_leaves_its_range_a_thousandfold_is_found_out(
    encoder: Encoder, content: Image
) -> None:
    """Though its loss be a number: here the further the pixels go, the lower it gets."""

    def reward(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        falls_with_distance = 1e4 - inputs[0].abs().mean()
        return output * 0 + (falls_with_distance if output.requires_grad else 0)  # 0: the target

    encoder.convs["conv1_1"].register_forward_hook(reward)
    settings = Settings(
        content_taps=["conv1_1"],
        tv_weight=0,
        learning_rate=10,
        clamp=False,
        normalize="sum",
        steps=400,
        precision="float32",
    )
    steps = optimize(content, None, encoder, settings, init="noise")
    seen = [next(steps)]
    with pytest.raises(PixelDivergenceError, match="the largest pixel is 100[0-9]") as caught:
        seen.extend(steps)
    assert len(seen) > 50
    assert torch.equal(caught.value.image, seen[-1].image)


# ----------------------------------------------------------------------------------------- memory


def with_free_memory(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(free)))


def test_a_picture_too_large_for_the_machine_is_told_what_fits(
    encoder: Encoder, painting: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_free_memory(monkeypatch, 100e6)
    large = torch.full((1, 3, 400, 300), 0.5)
    with pytest.raises(MemoryError) as caught:
        optimize(large, painting, encoder, precision="float32")
    message = str(caught.value)
    assert re.match(r"content is 400×300 px, which needs about 0\.2 GB on cpu; 0\.1 GB", message)
    found = re.search(r"About (\d+)×(\d+) px would fit", message)
    assert found is not None
    height, width = map(int, found.groups())
    assert height / width == pytest.approx(4 / 3, rel=0.01)
    optimize(resize(large, (height, width)), painting, encoder, precision="float32")
    with pytest.raises(MemoryError):
        optimize(
            resize(large, (height * 11 // 10, width * 11 // 10)),
            painting,
            encoder,
            precision="float32",
        )


def test_a_style_too_large_is_told_before_the_start_too(
    encoder: Encoder, content: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_free_memory(monkeypatch, 100e6)
    museum = torch.full((1, 3, 600, 800), 0.5)
    with pytest.raises(MemoryError, match="style is 600×800 px, which needs about 0.2 GB"):
        optimize(content, museum, encoder, precision="float32")
    with pytest.raises(MemoryError, match="style is 360×480 px"):  # and three of them at once
        optimize(content, [museum] * 3, encoder, precision="float32", style_scale=0.6)
    optimize(content, museum, encoder, precision="float32", style_scale=0.6)


@pytest.mark.parametrize("name", ["slim", "vgg19"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_estimate_holds_what_the_gradient_keeps_and_not_much_more(
    name: str, dtype: torch.dtype, vgg19: Encoder, painting: Image
) -> None:
    encoder = (vgg19 if name == "vgg19" else random_encoder()).in_dtype(dtype)
    taps = ["relu1_1", "relu2_1", "relu3_1", "relu3_4"]
    size = (64, 80)
    objective = gatys.Objective(encoder, picture(*size), [painting], Settings())
    weights = {parameter.data_ptr() for parameter in objective.encoder.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        terms = objective(picture(*size, seed=3).requires_grad_())
    assert terms[0].requires_grad
    # A few maps more are alive on the way back, and some copies of the picture: 1.8 to 2 times.
    assert 1.5 < memory_needed(encoder, taps, size) / sum(kept.values()) < 2.4


def test_an_encoder_elsewhere_is_copied_and_stays_where_it_is(encoder: Encoder) -> None:
    """On "meta", a device without numbers, since not every machine has a second one."""
    meta = torch.device("meta")
    twin = gatys._on(meta, encoder)
    assert twin is not encoder
    assert (twin.mean.device, encoder.mean.device) == (meta, torch.device("cpu"))
    assert gatys._on(torch.device("cpu"), encoder) is encoder


# -------------------------------------------------------------------------------- wrong arguments


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"content_weight": -1}, ValueError, r"content_weight is -1; it must lie in \[0, 1e\+06\]"),
        ({"style_weight": 1e13}, ValueError, r"style_weight is 1\d+\.0; it must lie in"),
        ({"tv_weight": math.nan}, ValueError, r"tv_weight is nan; it must lie in \[0, 1e\+06\]"),
        ({"learning_rate": 0}, ValueError, r"learning_rate is 0; it must lie in \[1e-06, 10\]"),
        ({"steps": 0}, ValueError, r"steps is 0; it must lie in \[1, 1e\+06\]"),
        ({"steps": 2.5}, TypeError, r"steps is 2\.5; it must be a whole number"),
        ({"steps": "100"}, TypeError, r"steps is '100'; it must be a number"),
        ({"style_weight": None}, TypeError, "style_weight is None; it must be a number"),
        ({"ladder": 0}, ValueError, r"ladder is 0; it must lie in \[1, 16\]"),
        ({"ladder": 2.0}, TypeError, r"ladder is 2\.0; it must be a whole number"),
        ({"ladder": 3, "steps": 2}, ValueError, "ladder is 3 and steps is 2; each size takes"),
        ({"ladder": 2, "optimizer": "lbfgs"}, ValueError, "ladder is above 1 with optimizer 'lbf"),
        ({"ladder": 2, "normalize": "sum"}, ValueError, "ladder is above 1 with normalize 'sum'"),
        ({"clamp": 1}, TypeError, "clamp is 1; it takes True or False"),
        ({"device": 0}, TypeError, "device is 0; it takes a name such as 'auto' or 'cpu'"),
        ({"weights": 1.0}, TypeError, r"weights is 1\.0; it takes a sequence of numbers"),
        ({"weights": "1"}, TypeError, "weights is '1'; it takes a sequence of numbers"),
        ({"weights": ["1"]}, TypeError, r"weights is \['1'\]; it takes a sequence of numbers"),
        ({"weights": [-1, 2]}, ValueError, r"weights is \[-1, 2\]; none may be negative"),
        ({"content_taps": 5}, TypeError, "content_taps is 5; it takes names such as"),
        ({"style_taps": {"relu1_1"}}, TypeError, r"style_taps is {'relu1_1'}; it takes names"),
        ({"style_taps": [1]}, TypeError, r"style_taps is \[1\]; it takes names such as"),
        (
            {"style_taps": ["relu1_1", "relu2_1", "relu1_1"]},
            ValueError,
            "style_taps names relu1_1 more than once",
        ),
        ({"average": 1}, ValueError, r"average is 1; it must lie in \[0, 0\.9999\]"),
        ({"beta2": 1.0}, ValueError, r"beta2 is 1\.0; it must lie in \[0, 0\.9999\]"),
        ({"decay_factor": 1.1}, ValueError, r"decay_factor is 1\.1; it must lie in \[0, 1\]"),
        ({"seed": -1}, ValueError, "seed is -1; it must lie in"),
        ({"style_scale": 0}, ValueError, r"style_scale is 0; it must lie in \[0\.05, 20\]"),
        ({"optimizer": "sgd"}, ValueError, "optimizer is 'sgd'; it takes 'adam', 'lbfgs'"),
        ({"optimizer": torch.ones(1)}, ValueError, r"optimizer is tensor\(.*it takes 'adam'"),
        ({"init": "zeros"}, ValueError, "init is 'zeros'; it takes 'content', 'noise' or a pictu"),
        ({"normalize": "mean"}, ValueError, "normalize is 'mean'; it takes 'energy', 'chw'"),
        ({"space": "lab"}, ValueError, "space is 'lab'; it takes 'pixels', 'normalized'"),
        ({"precision": "half"}, ValueError, "precision is 'half'; it takes 'auto', 'float32', 'b"),
        ({"tv_power": 3}, ValueError, "tv_power is 3; it takes 1, 2"),
        ({"device": "abacus"}, ValueError, "device is 'abacus'; it takes 'auto', 'cpu'"),
        ({"style_taps": ()}, ValueError, r"style_taps is \(\); it takes names such as"),
        ({"style_taps": "relu1_1"}, ValueError, "style_taps is 'relu1_1'; it takes names such as"),
        ({"content_taps": {}}, ValueError, "content_taps is {}; it takes names such as"),
        ({"content_taps": ["relu9_1"]}, ValueError, r"content_taps asks for relu9_1.*it has"),
        ({"style_taps": {"relu1_1": -1.0}}, ValueError, r"style_taps\['relu1_1'\] is -1\.0; it m"),
        ({"style_taps": {"relu1_1": math.nan}}, ValueError, r"style_taps\['relu1_1'\] is nan; it"),
        ({"weights": [1, 2]}, ValueError, "weights has 2 values; there are 1 styles"),
        ({"weights": [0]}, ValueError, "weights is .*one must be above 0"),
        ({"init": torch.zeros(1, 3, 8, 8)}, ValueError, r"init has shape \(1, 3, 8, 8\); the con"),
        ({"init": torch.full((1, 3, 33, 40), 255.0)}, ValueError, "init has values from 255 to 25"),
        ({"init": torch.full((1, 3, 33, 40), math.nan)}, ValueError, "init has values from nan"),
        ({"init": torch.zeros(1, 3, 33, 40, dtype=torch.uint8)}, TypeError, "init is torch.uint8"),
        ({"ladder": 3}, ValueError, r"ladder is 3, whose smallest picture would be 16×20 px; no s"),
        (
            {"style_scale": 0.05},
            ValueError,
            "style is 2×2 px where it is smallest; relu3_4 needs 4",
        ),
        ({"style_wieght": 1}, TypeError, "no setting is called style_wieght; there are: content_w"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_runs(
    encoder: Encoder,
    content: Image,
    painting: Image,
    change: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    calls = count_calls(encoder)
    with pytest.raises(error, match=message):
        optimize(content, painting, encoder, **change)
    assert calls == [0]


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ("photo.jpg", TypeError, "is str; it must be a float tensor .* see load_image"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), TypeError, "is torch.uint8"),
        (torch.zeros(3, 8, 8), ValueError, r"has shape \(3, 8, 8\); it must be \(1, 3, H, W\)"),
        (torch.zeros(2, 3, 8, 8), ValueError, r"has shape \(2, 3, 8, 8\)"),
        (torch.zeros(1, 4, 8, 8), ValueError, r"has shape \(1, 4, 8, 8\)"),
        (torch.zeros(1, 3, 0, 8), ValueError, r"has shape \(1, 3, 0, 8\)"),
        (torch.full((1, 3, 8, 8), 255.0), ValueError, "has values from 255 to 255; they must lie"),
        (torch.full((1, 3, 8, 8), -0.1), ValueError, "has values from -0.1"),
        (torch.full((1, 3, 8, 8), math.nan), ValueError, "has values from nan"),
        (torch.zeros(1, 3, 3, 40), ValueError, "is 3×40 px where it is smallest; relu3_. needs 4"),
    ],
)
def test_a_wrong_picture_is_named(
    encoder: Encoder, content: Image, bad: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"content {message}"):
        optimize(bad, content, encoder)
    if not isinstance(bad, str):
        with pytest.raises(error, match=f"style {message}"):
            optimize(content, [content, bad], encoder)


@pytest.mark.parametrize(
    "change", [{"content_taps": 5}, {"style_taps": ["relu1_1"] * 2}, {"weights": "1"}]
)
def test_a_wrong_setting_is_named_where_it_is_set(change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{next(iter(change))} "):
        Settings(**change)


def test_an_unknown_preset_names_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"preset is 'vgg'; it takes 'default', .*'d2l', 'core'"):
        preset("vgg")


def test_every_preset_is_valid_and_can_be_changed() -> None:
    for name in gatys.PRESETS:
        assert preset(name, steps=123).steps == 123
    with pytest.raises(TypeError, match="no setting is called stpes"):
        preset("default", stpes=3)
