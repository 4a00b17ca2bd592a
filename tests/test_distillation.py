"""Distillation: what the loss means, a run that resumes bit for bit, an encoder that can be used."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from test_training import on_a_disk_that_is_full_for
from torch import Tensor, nn

from nstlib import WeightsError, distillation, gatys, kernels, training, weights
from nstlib.datasets import Crops, generator_of
from nstlib.distillation import (
    STYLE_TAPS,
    TAPS,
    Progress,
    Recipe,
    Rehearsal,
    Student,
    balanced,
    cut_down,
    distill,
    prediction_losses,
    unit_energy,
)
from nstlib.encoders import SLIM_WIDTHS, Encoder, load_encoder, random_encoder
from nstlib.errors import DivergenceError

# The slim encoder's, an eighth of them: wide just where it is.
WIDTHS = tuple(width // 8 for width in SLIM_WIDTHS)
WIDE = max(WIDTHS)
TINY = Recipe(WIDTHS, steps=6, batch=3, crop=16, warm_up=2, rehearsed=1, average=0.5)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Crops:
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for index in range(3):
        coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((40, 32), Image.Resampling.BICUBIC).save(
            folder / f"{index}.png"
        )
    return Crops(sorted(folder.iterdir()), crop=16)


def random_weights(widths: Sequence[int], seed: int) -> Encoder:
    encoder = Encoder(widths)
    for place, conv in enumerate(encoder.convs.values()):
        assert isinstance(conv, nn.Conv2d)
        generator = generator_of(seed, place)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
        nn.init.uniform_(conv.bias, -0.1, 0.1, generator=generator)  # type: ignore[arg-type]
    return encoder


def teacher_of(widths: Sequence[int]) -> Encoder:
    """Return one that is wider than the student just where VGG-19 is wider than the slim encoder."""
    wide = max(widths)
    return random_weights([width if width == wide else 12 + width for width in widths], seed=9)


@pytest.fixture
def teacher() -> Encoder:
    return teacher_of(WIDTHS)


Train = Callable[..., list[Progress]]


@pytest.fixture
def train(crops: Crops, teacher: Encoder) -> Train:
    def run(checkpoint: Path, recipe: Recipe = TINY, until: int | None = None, **more: Any) -> Any:
        options = {"teacher": teacher, "device": "cpu", "every": 2} | more
        points = []
        for point in distill(
            crops=crops, held_out=crops, checkpoint=checkpoint, recipe=recipe, **options
        ):
            points.append(point)
            if point.step == until:
                break
        return points

    return run


def batch(crops: Crops, count: int = 4) -> Tensor:
    return crops.draw(count, torch.Generator().manual_seed(5))


def assert_equal_bits(one: Any, other: Any) -> None:
    """Compare nested dictionaries, lists, tensors and numbers."""
    assert type(one) is type(other)
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal_bits(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_equal_bits(left, right)
    else:
        assert one == other


# ---------------------------------------------------------------------------- what the loss means


def test_a_perfect_student_has_no_error_and_one_that_knows_nothing_has_all_of_it(
    crops: Crops,
) -> None:
    teacher = random_encoder("slim", seed=9)
    student, image = Student(teacher), batch(crops)
    student.encoder.load_state_dict(teacher.state_dict())
    for error in prediction_losses(student, teacher, image, torch.float32):
        assert error.item() < 1e-10
    for parameter in student.parameters():
        nn.init.zeros_(parameter)
    for error in prediction_losses(student, teacher, image, torch.float32):
        assert error.item() == pytest.approx(1)


def test_a_student_as_wide_as_its_teacher_predicts_the_map_itself(teacher: Encoder) -> None:
    student = Student(teacher, WIDTHS)
    through_a_map = {tap for tap in TAPS if isinstance(student.projections[tap], nn.Conv2d)}
    assert set(TAPS) - through_a_map == {"relu3_1", "relu3_4"}


# ---------------------------------------------------------------------------------- the beginning


def noise(seed: int) -> Tensor:
    """Pictures large enough that their maps have more positions than channels."""
    return torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_in_units_of_its_energy_the_teacher_is_the_same_network(
    teacher: Encoder, crops: Crops
) -> None:
    image = batch(crops)
    kept = {name: value.clone() for name, value in teacher.state_dict().items()}
    before, after = teacher(image, TAPS), unit_energy(teacher, image)(image, TAPS)
    for tap in TAPS:
        energy = before[tap].square().mean().sqrt()
        assert after[tap].square().mean().item() == pytest.approx(1, rel=1e-3)
        torch.testing.assert_close(after[tap], before[tap] / energy, rtol=1e-4, atol=1e-4)
    assert_equal_bits(kept, dict(teacher.state_dict()))


def test_no_channel_is_picked_twice() -> None:
    """Of 24 channels and their 24 copies, 32 are asked: rounding decides among those left."""
    half = torch.rand(1, 24, 64, 64, generator=torch.Generator().manual_seed(0))
    picked = distillation._telling_channels(1e3 * torch.cat([half, 3 * half], dim=1), 32)
    assert len(set(picked.tolist())) == 32
    assert {int(channel) % 24 for channel in picked} == set(range(24))


def test_a_teacher_of_twins_is_cut_down_without_a_loss() -> None:
    """Each channel of a narrow layer is there twice, in another strength: half of them tell all."""
    small = random_weights(WIDTHS, seed=3)
    teacher = Encoder([width * 2 if width < WIDE else width for width in WIDTHS])
    seen_twice = False
    for tap, (layer, conv) in zip(TAPS, teacher.convs.items(), strict=True):
        weight, bias = small.convs[layer].weight, small.convs[layer].bias
        if seen_twice:  # of twins of strengths 1 and 3 it takes a half of one, a sixth of the other
            weight = torch.stack([weight / 2, weight / 6], dim=2).flatten(1, 2)
        seen_twice = small.channels[tap] < WIDE
        if seen_twice:  # side by side: the first half of them does not tell all
            weight = torch.stack([weight, 3 * weight], dim=1).flatten(0, 1)
            bias = torch.stack([bias, 3 * bias], dim=1).flatten()
        conv.weight.copy_(weight)
        conv.bias.copy_(bias)
    student, image = Student(teacher, WIDTHS), noise(0)
    worse = prediction_losses(student, teacher, image, torch.float32)
    cut_down(student, teacher, image)
    for error, random in zip(
        prediction_losses(student, teacher, image, torch.float32), worse, strict=True
    ):
        assert error.item() < 1e-4
        assert random.item() > 0.1


def test_a_cut_teacher_is_better_than_a_random_student() -> None:
    teacher = teacher_of(SLIM_WIDTHS)
    student, image = Student(teacher), noise(1)
    random = prediction_losses(student, teacher, image, torch.float32)
    cut_down(student, teacher, noise(0))
    cut = prediction_losses(student, teacher, image, torch.float32)
    assert cut[0] < 0.2 * random[0]
    assert cut[1] < 0.2 * random[1]


# ---------------------------------------------------------------------------- what the loss means


def test_every_layer_counts_alike_whatever_its_scale(teacher: Encoder, crops: Crops) -> None:
    image = batch(crops)
    student = Student(teacher, WIDTHS)
    before = prediction_losses(student, teacher, image, torch.float32)
    projection = student.projections["relu2_2"]
    assert isinstance(projection, nn.Conv2d)
    with torch.no_grad():  # one of the teacher's maps, and what predicts it, a hundredfold
        teacher.convs["conv2_2"].weight *= 100
        teacher.convs["conv2_2"].bias *= 100
        teacher.convs["conv3_1"].weight /= 100
        for parameter in projection.parameters():
            parameter *= 100
    after = prediction_losses(student, teacher, image, torch.float32)
    for one, other in zip(before, after, strict=True):
        assert one.item() == pytest.approx(other.item(), rel=1e-4)


def test_the_errors_are_the_means_of_relative_squared_errors(
    teacher: Encoder, crops: Crops
) -> None:
    image, student = batch(crops), Student(teacher, WIDTHS)
    maps, matrices = prediction_losses(student, teacher, image, torch.float32)
    found, wanted = student(image), teacher(image, TAPS)

    def relative(one: Tensor, other: Tensor) -> float:
        one, other = one.double(), other.double()
        return ((one - other).square().sum() / other.square().sum()).item()

    mean = sum(relative(found[tap], wanted[tap]) for tap in TAPS) / 8
    assert maps.item() == pytest.approx(mean, rel=1e-5)
    grams = [
        relative(kernels.gram(found[tap].double()), kernels.gram(wanted[tap].double()))
        for tap in STYLE_TAPS
    ]
    assert matrices.item() == pytest.approx(sum(grams) / 4, rel=1e-4)


def test_balancing_scales_channels_and_changes_nothing_else(teacher: Encoder, crops: Crops) -> None:
    student = Student(teacher, WIDTHS)
    image = batch(crops)
    before, after = student.encoder(image, TAPS), balanced(student)(image, TAPS)
    for tap in TAPS:
        projection, factor = student.projections[tap], torch.ones(1)
        if isinstance(projection, nn.Conv2d):
            factor = projection.weight.flatten(1).norm(dim=0)[:, None, None]  # (ours, 1, 1)
        torch.testing.assert_close(after[tap], before[tap] * factor, rtol=1e-4, atol=1e-5)
    assert all(parameter.requires_grad for parameter in student.encoder.parameters())
    assert not any(parameter.requires_grad for parameter in balanced(student).parameters())


def test_a_silent_channel_is_balanced_too(teacher: Encoder) -> None:
    for parameter in teacher.convs["conv1_1"].parameters():
        parameter[:14] = -1.0 * parameter[:14].abs()  # of 16 channels, most never fire
    student, image = Student(teacher, WIDTHS), noise(0)
    cut_down(student, teacher, image)
    before, after = student.encoder(image, TAPS), balanced(student)(image, TAPS)
    for tap in ("relu3_1", "relu3_4"):
        torch.testing.assert_close(after[tap], before[tap], rtol=1e-3, atol=1e-3)
    assert all(value.isfinite().all() for value in balanced(student).state_dict().values())


# ------------------------------------------------------------------------------------- rehearsal


def test_a_rehearsed_picture_follows_adam_down_the_students_style_loss(
    teacher: Encoder, crops: Crops
) -> None:
    rehearsal = Rehearsal(crops, torch.Generator().manual_seed(0), slots=1)
    pixels = nn.Parameter(rehearsal.images.clone())
    adam = torch.optim.Adam([pixels], lr=0.03, betas=(0.9, 0.99), eps=1e-12)
    with torch.no_grad():
        target = teacher(rehearsal.styles, STYLE_TAPS)
    values = []
    for _ in range(12):
        led = rehearsal.draw(1, teacher, torch.float32)
        maps = teacher(pixels, STYLE_TAPS)
        errors = [
            (kernels.gram(maps[tap]) - kernels.gram(target[tap])).square().sum()
            / kernels.gram(target[tap]).square().sum()
            for tap in STYLE_TAPS
        ]
        total = torch.stack(errors).sum()
        adam.zero_grad()
        torch.autograd.backward(total)
        adam.step()
        with torch.no_grad():
            pixels.clamp_(0, 1)
        values.append(total.item())
        torch.testing.assert_close(led, pixels.detach(), rtol=0, atol=2e-3)
    assert values[-1] < 0.5 * values[0]
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_rehearsal_takes_turns_and_begins_anew_after_a_life(teacher: Encoder, crops: Crops) -> None:
    rehearsal = Rehearsal(crops, torch.Generator().manual_seed(0), slots=4)
    assert rehearsal.ages == [1, 26, 51, 76]
    rehearsal.life = 77
    first = rehearsal.images.clone()
    drawn = rehearsal.draw(3, teacher, torch.float32)
    assert drawn.shape == (3, 3, 16, 16)
    assert rehearsal.ages == [2, 27, 52, 76]
    assert torch.equal(rehearsal.images[3], first[3])
    rehearsal.draw(3, teacher, torch.float32)  # the fourth, and from the front again
    rehearsal.draw(3, teacher, torch.float32)
    assert rehearsal.ages == [4, 28, 53, 1]  # the fourth is another picture now
    assert rehearsal.moments[:, 3].count_nonzero() == 0
    assert 0 <= rehearsal.images.min() <= rehearsal.images.max() <= 1


# -------------------------------------------------------------------------------------- the run


def test_a_run_tells_finite_errors_and_leaves_an_encoder_that_can_be_used(
    tmp_path: Path, train: Train, crops: Crops
) -> None:
    """At its full width, as a file of the slim encoder must be."""
    teacher, recipe = teacher_of(SLIM_WIDTHS), dataclasses.replace(TINY, widths=SLIM_WIDTHS)
    kept = {name: value.clone() for name, value in teacher.state_dict().items()}
    points = train(tmp_path / "slim.pt", recipe, teacher=teacher)
    assert [point.step for point in points] == [2, 4, 6]
    assert all(0 < point.train < 10 and 0 < point.held_out < 10 for point in points)
    assert_equal_bits(kept, dict(teacher.state_dict()))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert {path.name for path in tmp_path.iterdir()} == {"slim.pt", "slim.safetensors"}

    encoder = load_encoder("slim", weights=tmp_path / "slim.safetensors")
    assert encoder.weights == "distilled from VGG-19"
    assert encoder.taps == teacher.taps
    maps = encoder(batch(crops), TAPS)
    assert all(features.isfinite().all() for features in maps.values())
    with safe_open(tmp_path / "slim.safetensors", framework="pt") as file:
        told = json.loads(file.metadata()["config"])
    assert told["steps_done"] == 6
    found = {item.name: told[item.name] for item in dataclasses.fields(TINY)}
    assert Recipe(**found | {"widths": tuple(found["widths"])}) == recipe


def test_training_teaches(tmp_path: Path, train: Train) -> None:
    recipe = Recipe(
        steps=40, batch=3, crop=16, learning_rate=5e-3, warm_up=5, rehearsed=1, gram_weight=0,
        average=0.5,
    )  # fmt: skip
    points = train(tmp_path / "slim.pt", recipe, every=10, teacher=teacher_of(SLIM_WIDTHS))
    assert points[-1].held_out < 0.7 * points[0].held_out
    assert points[-1].train < 0.7 * points[0].train


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(
    tmp_path: Path, train: Train, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distillation.config, "pick_dtype", lambda precision, device: dtype)
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    uninterrupted = train(whole)
    resumed = train(parts, until=2) + train(parts, until=4) + train(parts)
    assert resumed == uninterrupted
    assert_equal_bits(torch.load(whole, weights_only=True), torch.load(parts, weights_only=True))
    assert_equal_bits(
        load_file(whole.with_suffix(".safetensors")), load_file(parts.with_suffix(".safetensors"))
    )
    assert train(parts) == []  # it is done


def test_the_recipes_seed_is_the_only_one(tmp_path: Path, train: Train) -> None:
    torch.manual_seed(1)
    one = train(tmp_path / "one.pt", until=2)
    torch.manual_seed(2)
    assert train(tmp_path / "same.pt", until=2) == one
    assert train(tmp_path / "other.pt", dataclasses.replace(TINY, seed=1), until=2) != one


def test_without_rehearsal_all_of_a_batch_are_photos(tmp_path: Path, train: Train) -> None:
    plain = dataclasses.replace(TINY, rehearsed=0)
    assert train(tmp_path / "slim.pt", plain)[-1].step == 6


# ----------------------------------------------------------------------------------- what goes wrong


def test_a_checkpoint_of_another_recipe_is_not_gone_on_from(tmp_path: Path, train: Train) -> None:
    checkpoint = tmp_path / "slim.pt"
    train(checkpoint, until=2)
    kept = checkpoint.read_bytes()
    other = dataclasses.replace(TINY, learning_rate=7e-4)
    with pytest.raises(ValueError, match=r"slim\.pt', of recipe .*0\.0003.*; this one .*0\.0007"):
        train(checkpoint, other)
    assert checkpoint.read_bytes() == kept


@pytest.mark.parametrize("content", [b"", b"<html>", "truncated", {"steps": 3}, [1, 2]])
def test_a_checkpoint_that_cannot_be_read_is_named(
    tmp_path: Path, train: Train, content: Any
) -> None:
    checkpoint = tmp_path / "slim.pt"
    if content == "truncated":
        train(checkpoint, until=2)
        checkpoint.write_bytes(checkpoint.read_bytes()[:-2000])
    elif isinstance(content, bytes):
        checkpoint.write_bytes(content)
    else:
        torch.save(content, checkpoint)
    kept = checkpoint.read_bytes()
    with pytest.raises(WeightsError, match=r"slim\.pt: is no checkpoint of a distillation"):
        train(checkpoint)
    assert checkpoint.read_bytes() == kept


@pytest.mark.parametrize("name", ["slim.safetensors", "slim.pt"])
def test_a_crash_while_writing_leaves_the_old_files(
    tmp_path: Path, train: Train, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "slim.pt"
    train(checkpoint, until=2)
    files = [checkpoint, checkpoint.with_suffix(".safetensors")]
    kept = [path.read_bytes() for path in files]

    monkeypatch.setattr(Path, "write_bytes", on_a_disk_that_is_full_for(name))
    with pytest.raises(OSError, match=rf"No space left on device: '.*/{name}'"):
        train(checkpoint)
    assert files[0].read_bytes() == kept[0]
    if name == "slim.safetensors":
        assert files[1].read_bytes() == kept[1]
    monkeypatch.undo()
    assert train(checkpoint)[-1].step == 6


def test_a_crash_at_the_last_step_leaves_that_step_to_do(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "slim.pt"
    train(checkpoint, until=4)
    monkeypatch.setattr(weights, "save", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(checkpoint)
    monkeypatch.undo()
    assert [point.step for point in train(checkpoint)] == [6]
    with safe_open(checkpoint.with_suffix(".safetensors"), framework="pt") as file:
        assert json.loads(file.metadata()["config"])["steps_done"] == 6


def test_a_loss_that_is_no_number_stops_the_run(
    tmp_path: Path, train: Train, teacher: Encoder
) -> None:
    with torch.no_grad():
        teacher.convs["conv3_1"].bias[0] = float("nan")
    with pytest.raises(DivergenceError, match="the loss is nan at step 1; the last checkpoint"):
        train(tmp_path / "slim.pt")
    assert not list(tmp_path.iterdir())


def test_a_teacher_without_the_taps_is_refused(tmp_path: Path, crops: Crops) -> None:
    shallow = Encoder((32, 32, 64, 64), name="shallow")
    with pytest.raises(ValueError, match="a teacher asks for relu3_1, .* lacks; it has conv1_1 …"):
        list(distill(shallow, crops, crops, tmp_path / "slim.pt", TINY, device="cpu"))


@pytest.mark.parametrize("name", ["nowhere/slim.pt", "slim.safetensors", "slim.ckpt", "folder.pt"])
def test_a_checkpoint_that_cannot_be_written_is_known_before_the_first_step(
    tmp_path: Path, train: Train, name: str
) -> None:
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(ValueError, match=rf"checkpoint is '.*{name}'; it must be a \.pt file in a"):
        train(tmp_path / name)


def test_what_does_not_fit_together_is_known_before_the_first_step(
    tmp_path: Path, train: Train, teacher: Encoder, crops: Crops
) -> None:
    checkpoint = tmp_path / "slim.pt"
    with pytest.raises(ValueError, match="every is 0; it must be at least 1"):
        train(checkpoint, every=0)
    with pytest.raises(ValueError, match="crops are of 16 px; the recipe's crop is 24"):
        train(checkpoint, dataclasses.replace(TINY, crop=24))
    with pytest.raises(ValueError, match="widths has 60 for relu1_1; the teacher has 16"):
        train(checkpoint, dataclasses.replace(TINY, widths=(60, *WIDTHS[1:])))
    softer = Encoder(teacher.widths, pooling="avg")
    with pytest.raises(ValueError, match="teacher has pooling 'avg' and padding 'zeros'"):
        next(distill(softer, crops, crops, checkpoint, TINY))


def test_the_file_holds_the_balanced_mean_of_the_weights(
    tmp_path: Path, train: Train, teacher: Encoder
) -> None:
    train(tmp_path / "slim.pt")
    content = torch.load(tmp_path / "slim.pt", weights_only=True)
    student = Student(teacher, WIDTHS)
    mean = {
        name.removeprefix("module."): value
        for name, value in content["averaged"].items()
        if name.startswith("module.")
    }
    student.load_state_dict(mean)
    for name, value in load_file(tmp_path / "slim.safetensors").items():
        assert torch.equal(value, balanced(student).state_dict()[name].half()), name
    assert not torch.equal(
        mean["encoder.convs.conv1_1.weight"], content["student"]["encoder.convs.conv1_1.weight"]
    )


def test_maps_grams_and_rehearsal_all_decide_what_is_learnt(tmp_path: Path, train: Train) -> None:
    learnt = []
    for number, changes in enumerate(({}, {"gram_weight": 0.0}, {"rehearsed": 0})):
        path = tmp_path / f"{number}.pt"
        train(path, dataclasses.replace(TINY, **changes))
        learnt.append(load_file(path.with_suffix(".safetensors"))["convs.conv3_4.weight"])
    assert not torch.equal(learnt[0], learnt[1])
    assert not torch.equal(learnt[0], learnt[2])


def test_a_batch_has_photos_and_rehearsed_pictures(
    tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, led = [], []
    losses_of, draw = prediction_losses, Rehearsal.draw

    def spy_on_losses(student: nn.Module, *arguments: Any) -> tuple[Tensor, Tensor]:
        if isinstance(student, Student):  # and not the averaged one, in its exam
            seen.append(arguments[1])
        return losses_of(student, *arguments)

    def spy_on_rehearsal(self: Rehearsal, *arguments: Any) -> Tensor:
        led.append(draw(self, *arguments))
        return led[-1]

    monkeypatch.setattr(distillation, "prediction_losses", spy_on_losses)
    monkeypatch.setattr(Rehearsal, "draw", spy_on_rehearsal)
    train(tmp_path / "slim.pt")
    assert len(seen) == len(led) == 6
    for image, rehearsed in zip(seen, led, strict=True):
        assert image.shape == (3, 3, 16, 16)
        assert torch.equal(image[2:], rehearsed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 100}, "warm_up is 200; it must be less than steps, 100"),
        ({"warm_up": 1}, r"warm_up is 1; it must lie in \[2, "),
        ({"rehearsed": 6}, "rehearsed is 6; it must be at least 0 and less than batch, 6"),
        ({"rehearsed": -1}, "rehearsed is -1"),
        ({"widths": (32, 64)}, "widths has 2 values; it takes 8"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**changes)


@pytest.mark.parametrize("name", ["student", "step", "generator", "rehearsal"])
def test_a_checkpoint_that_lacks_a_part_is_named_and_left_alone(
    tmp_path: Path, train: Train, name: str
) -> None:
    checkpoint = tmp_path / "slim.pt"
    train(checkpoint, until=2)
    content = torch.load(checkpoint, weights_only=True)
    del content[name]
    torch.save(content, checkpoint)
    kept = checkpoint.read_bytes()
    with pytest.raises(WeightsError, match=r"slim\.pt: is no checkpoint of a distillation"):
        train(checkpoint)
    assert checkpoint.read_bytes() == kept


def test_a_checkpoint_with_a_wrong_bit_in_a_weight_is_refused(tmp_path: Path, train: Train) -> None:
    checkpoint = tmp_path / "slim.pt"
    train(checkpoint, until=2)
    whole = bytearray(checkpoint.read_bytes())
    whole[len(whole) // 2] ^= 1
    checkpoint.write_bytes(whole)
    torch.load(checkpoint, weights_only=True)  # which takes no notice
    with pytest.raises(WeightsError, match="is not as it was written"):
        train(checkpoint)


def test_the_two_ways_to_diverge_are_of_one_kind() -> None:
    assert issubclass(gatys.PixelDivergenceError, DivergenceError)
    assert training.DivergenceError is DivergenceError
