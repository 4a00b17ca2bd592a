"""How a decoder is trained: the loss by its formula, what is drawn, and a model that can be used."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nstlib import adain_training, kernels, steadiness
from nstlib.adain import AdaIN, Decoder, load_adain
from nstlib.adain_training import RECIPES, AdaINTask, Recipe
from nstlib.config import ranges_of
from nstlib.datasets import Crops, generator_of
from nstlib.encoders import Encoder, random_encoder
from nstlib.losses import Normalize, tap_weights
from nstlib.steadiness import seen_again
from nstlib.training import Batch, Settings, train
from nstlib.weights import read_weights

CPU = torch.device("cpu")
TINY = Settings(steps=6, batch=4, learning_rate=1e-3, warm_up=2, average=0.5, precision="float32")
# Every number another than the default's.
ODD = Recipe(
    content_weight=3,
    style_weight=0.7,
    gram_weight=0.2,
    perceptual_weight=0.4,
    identity_weight=5,
    identity_share=0.5,
    tv_weight=2,
    grid_weight=7,
    temporal_weight=9,
    content_tap="conv2_2",
    style_taps={"relu2_1": 0.7, "conv1_1": 4.0},
    normalize="hw",
)
MIXED = Recipe(identity_share=0.4)  # so that a batch of four has pictures of either kind
WIDTHS = (4, 4, 6, 6, 8, 8, 8, 8, 10)  # of convolutions down to conv4_1


def picture(seed: int, size: tuple[int, int] = (48, 40)) -> Tensor:
    """Return blurred blobs of colour."""
    coarse = torch.rand(1, 3, 6, 6, generator=generator_of(seed))
    return F.interpolate(coarse, size, mode="bicubic").clamp(0, 1)


def tiny_encoder(convs: int = 8, seed: int = 0, name: str = "tiny") -> Encoder:
    """Return random eyes: with 8 convolutions they have the taps of the slim encoder."""
    encoder = Encoder(WIDTHS[:convs], name=name)
    for place, conv in enumerate(encoder.convs.values()):
        assert isinstance(conv, nn.Conv2d)
        generator = generator_of(seed, place)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
        nn.init.uniform_(conv.bias, -0.5, 0.5, generator=generator)  # type: ignore[arg-type]
    return encoder


def tiny_decoder(**fields: Any) -> Decoder:
    """Return a decoder all of whose weights differ, as after some training."""
    decoder = Decoder.of(tiny_encoder(9), **{"skips": ("relu1_2",), "coarse": 1, **fields})
    for seed, parameter in enumerate(decoder.parameters()):
        noise = torch.randn(parameter.shape, generator=generator_of(7, seed))
        with torch.no_grad():
            if parameter.ndim == 4:
                parameter.copy_(noise * (2 / parameter[0].numel()) ** 0.5)
            else:  # a bias
                parameter.copy_(0.1 * noise)
    painting = decoder.convs["conv1_1"]
    with torch.no_grad():  # pictures that are neither grey nor all black and white
        painting.weight.mul_(0.1)  # type: ignore[operator]
        painting.bias.add_(0.5 * (decoder.shape.output == "clamp"))  # type: ignore[operator]
    return decoder


def tiny_task(
    recipe: Recipe | None = None, decoder: Decoder | None = None, **more: Any
) -> AdaINTask:
    given: dict[str, Any] = {
        "encoder": tiny_encoder(),
        "photos": Crops([picture(seed) for seed in range(5)], crop=32),
        "paintings": Crops([picture(seed) for seed in range(100, 107)], crop=32),
    }
    return AdaINTask(decoder or tiny_decoder(), recipe=recipe or MIXED, **given | more)


def deep_task(recipe: Recipe, **more: Any) -> AdaINTask:
    """Return a task whose encoder has the tap that the literature decodes."""
    return tiny_task(recipe, tiny_decoder(tap="relu4_1"), encoder=tiny_encoder(9), **more)


def ready(task: AdaINTask, dtype: torch.dtype = torch.float32) -> AdaINTask:
    task.to(CPU, dtype)
    return task


def looks_at(photos: Tensor) -> Batch:
    """Return a second look at each photo, the same whichever others are beside it."""
    looks = [seen_again(photo[None], 1, 1, seed=0) for photo in photos]
    return {name: torch.cat([look[name] for look in looks]) for name in ("again", "flow")}


def batch_of(photos: Tensor, styles: Tensor, own: Sequence[bool] | None = None) -> Batch:
    own = own or [False] * len(photos)
    batch = {"content": photos, "style": styles, "own": torch.tensor(own)}
    return batch | looks_at(photos.detach())


PHOTO, STYLE = picture(1, (32, 32)), picture(2, (32, 32)) ** 2


# --------------------------------------------------------------------------- the loss by its formula


def seen(encoder: Encoder, image: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
    """The maps, in float64, of a picture with 8 px of its mirror image around it, without those."""
    height, width = image.shape[2:]
    rows = [height - 1 - abs(height - 1 - abs(y)) for y in range(-8, height + 8)]
    columns = [width - 1 - abs(width - 1 - abs(x)) for x in range(-8, width + 8)]
    maps = encoder.in_dtype(torch.float64)(image.double()[:, :, rows][:, :, :, columns], taps)
    inside = {}
    for tap, features in maps.items():
        step = encoder.strides[tap]
        first, high, wide = 8 // step, height // step, width // step
        inside[tap] = features[:, :, first : first + high, first : first + wide]
    return inside


def moments(maps: Tensor, eps: float = 1e-8) -> tuple[Tensor, Tensor]:
    """Mean and deviation, (1, C, 1, 1)."""
    mean = maps.mean(dim=(2, 3), keepdim=True)
    return mean, ((maps - mean).square().mean(dim=(2, 3), keepdim=True) + eps).sqrt()


def restyled(photo: Tensor, style: Tensor) -> Tensor:
    (mean, std), (style_mean, style_std) = moments(photo, eps=1e-5), moments(style)
    return style_std * (photo - mean) / std + style_mean


def content_loss(found: Tensor, wanted: Tensor, normalize: Normalize) -> float:
    _, channels, height, width = wanted.shape
    apart = (found - wanted).square().sum()
    divisor = {"chw": channels * height * width, "hw": height * width, "sum": 1}
    return float(apart / divisor.get(normalize, wanted.square().sum()))


def style_loss(found: Tensor, wanted: Tensor, normalize: Normalize) -> float:
    (mean, std), (wanted_mean, wanted_std) = moments(found), moments(wanted)
    apart = (mean - wanted_mean).square().sum() + (std - wanted_std).square().sum()
    energy = wanted_mean.square().sum() + wanted_std.square().sum()
    divisor = {"chw": wanted.shape[1], "hw": 1, "sum": 1}
    return float(apart / divisor.get(normalize, energy))


def gram_loss(found: Tensor, wanted: Tensor, normalize: Normalize) -> float:
    _, channels, height, width = wanted.shape
    area = height * width * (channels if normalize == "chw" else 1)
    gram, wanted_gram = (
        maps[0].flatten(1) @ maps[0].flatten(1).T / area for maps in (found, wanted)
    )
    apart = (gram - wanted_gram).square().sum()
    divisor = {"chw": channels**2, "hw": channels**2, "sum": 1}
    return float(apart / divisor.get(normalize, wanted_gram.square().sum()))


def grid_by_hand(image: Tensor, stride: int) -> float:
    """Return how much the means of the pixels differ by their place within a step of the strides."""
    means = [
        image[:, :, row::stride, column::stride].mean(dim=(2, 3))
        for row in range(stride)
        for column in range(stride)
    ]
    return torch.stack(means).var(dim=0, correction=0).mean().item()


def painted_by_hand(task: AdaINTask, photo: Tensor, style: Tensor) -> Tensor:
    """Return what the decoder makes of a photo, in float64."""
    shape = task.model.shape
    photo_maps, style_maps = (
        seen(task.encoder, image, list(shape.looked_at)) for image in (photo, style)
    )
    steered = [style_maps[tap] for tap in shape.steered_by]
    parts = [m.mean(dim=(2, 3)) for m in steered]
    parts += [(m.var(dim=(2, 3), correction=0) + 1e-8).sqrt() for m in steered]
    painted: Tensor = copy.deepcopy(task.model).double()(
        {tap: restyled(photo_maps[tap], style_maps[tap]) for tap in shape.taps},
        torch.cat(parts, dim=1) if parts else None,
    )
    return painted


def unsteadiness_by_hand(painted: Tensor, again: Tensor, flow: Tensor) -> float:
    """Return the mean square between the second picture and the first, by PyTorch's own sampling."""
    height, width = painted.shape[2:]
    x = torch.arange(width).double() + flow[:, 0]
    y = torch.arange(height).double()[:, None] + flow[:, 1]
    places = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)
    moved = F.grid_sample(painted, places, align_corners=True)
    return (again - moved).square().mean(dim=1)[(places.abs() <= 1).all(dim=-1)].mean().item()


@torch.no_grad()
def by_hand(task: AdaINTask, photo: Tensor, style: Tensor, own: bool) -> dict[str, float]:
    """Return the terms of one picture, and their weighted sum, in float64."""
    recipe, normalize = task.recipe, task.recipe.normalize
    painted, look = painted_by_hand(task, photo, style), looks_at(photo)
    painted_again = painted_by_hand(task, look["again"], style)
    taps = list(task.eyes.taps)
    found, of_photo, of_style = (seen(task.eyes, image, taps) for image in (painted, photo, style))
    tap, weights = recipe.content_tap, tap_weights("style_taps", recipe.style_taps)
    shallow = ("relu1_2", "relu2_2")
    terms = {
        "content": content_loss(found[tap], restyled(of_photo[tap], of_style[tap]), normalize),
        "style": sum(w * style_loss(found[t], of_style[t], normalize) for t, w in weights.items()),
        "identity": F.mse_loss(painted, photo.double()).item() if own else 0.0,
        "grid": grid_by_hand(painted, task.model.shape.stride),
        "gram": sum(w * gram_loss(found[t], of_style[t], normalize) for t, w in weights.items()),
        "perceptual": sum(content_loss(found[t], of_photo[t], normalize) for t in shallow) / 2,
        "tv": sum(painted.diff(dim=axis).abs().mean().item() for axis in (2, 3)),
        "temporal": unsteadiness_by_hand(painted, painted_again, look["flow"]),
    }
    total = sum(getattr(recipe, f"{name}_weight") * term for name, term in terms.items())
    always = ("content", "style", "identity", "grid")
    told = {n: t for n, t in terms.items() if n in always or getattr(recipe, f"{n}_weight")}
    return {"total": total, **told}


def losses_of(task: AdaINTask, batch: Batch) -> dict[str, float]:
    return {name: term.item() for name, term in task.losses(task.model, batch).items()}


@pytest.mark.parametrize("recipe", [Recipe(), ODD, *RECIPES.values()])
@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("eyes", ["its own", "others"])
def test_the_loss_of_a_picture_is_that_of_the_formula(recipe: Recipe, own: bool, eyes: str) -> None:
    other = tiny_encoder(9, seed=5) if eyes == "others" else None
    task = ready(deep_task(recipe, eyes=other))
    style = PHOTO if own else STYLE
    found = losses_of(task, batch_of(PHOTO, style, [own]))
    assert found == pytest.approx(by_hand(task, PHOTO, style, own), rel=2e-5)


@pytest.mark.parametrize("normalize", ["energy", "chw", "hw", "sum"])
def test_each_convention_is_that_of_its_table(normalize: Normalize) -> None:
    task = ready(tiny_task(dataclasses.replace(ODD, normalize=normalize)))
    found = losses_of(task, batch_of(PHOTO, STYLE))
    assert found == pytest.approx(by_hand(task, PHOTO, STYLE, False), rel=2e-5)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"skips": ()},
        {"coarse": 0},
        {"tap": "relu2_1"},
        {"output": "clamp"},
        {"last_channels": 3},
        {"steered_by": ("relu1_1", "relu2_1")},
    ],
)
def test_any_decoder_is_trained_by_the_formula(fields: dict[str, Any]) -> None:
    task = ready(tiny_task(ODD, tiny_decoder(**fields)))
    found = losses_of(task, batch_of(PHOTO, STYLE))
    assert found == pytest.approx(by_hand(task, PHOTO, STYLE, False), rel=2e-5)


@pytest.mark.parametrize("recipe", [Recipe(), ODD])
def test_the_loss_of_a_batch_is_the_mean_of_its_pictures(recipe: Recipe) -> None:
    """Each has a style of its own; were they mixed, processes could not share them."""
    task = ready(tiny_task(recipe))
    drawn = tiny_task(Recipe(identity_share=0.5)).draw(2, 4, seed=0)
    assert {True, False} == set(drawn["own"].tolist())
    batch = drawn | looks_at(drawn["content"])
    alone = [
        by_hand(task, photo[None], style[None], bool(own))
        for photo, style, own in zip(*drawn.values(), strict=True)
    ]
    mean = {name: sum(one[name] for one in alone) / 4 for name in alone[0]}
    assert losses_of(task, batch) == pytest.approx(mean, rel=2e-5)


WEIGHTS = [name for name in ranges_of(Recipe) if name.endswith("_weight")]
NONE: dict[str, Any] = dict.fromkeys(WEIGHTS, 0)


@pytest.mark.parametrize("name", WEIGHTS)
def test_each_weight_is_of_its_own_term(name: str) -> None:
    """Beside the content loss, for something must pull towards the photo or the style."""
    task = ready(tiny_task(Recipe(**NONE | {"content_weight": 1, name: 6.5})))
    found = losses_of(task, batch_of(PHOTO, PHOTO, [True]))
    term = found[name.removesuffix("_weight")]
    assert term > 0
    wanted = 6.5 * term + (0 if name == "content_weight" else found["content"])
    assert found["total"] == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("name", ["content", "style", "gram"])
def test_a_term_may_be_alone(name: str) -> None:
    recipe = Recipe(**NONE | {f"{name}_weight": 2.0})
    found = losses_of(ready(tiny_task(recipe)), batch_of(PHOTO, STYLE))
    assert found["total"] == pytest.approx(2 * found[name], rel=1e-6)


def plant_photo_as_target(task: AdaINTask, monkeypatch: pytest.MonkeyPatch) -> None:
    restyled = adain_training._restyled

    def kept(photo: Any, style: Any, taps: Sequence[str]) -> Any:
        return photo if list(taps) == [task.recipe.content_tap] else restyled(photo, style, taps)

    monkeypatch.setattr(adain_training, "_restyled", kept)


def plant_statistics_of_the_batch(task: AdaINTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """As though all pictures of the batch were one."""
    moments = kernels.moments

    def folded(maps: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = moments(maps.transpose(0, 1).flatten(1)[None, :, :, None])
        return mean.expand(len(maps), -1), std.expand(len(maps), -1)

    monkeypatch.setattr(kernels, "moments", folded)


def plant_styles_in_another_order(task: AdaINTask, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = task._seen
    monkeypatch.setattr(
        task, "_seen", lambda p, s: (seen(p, s)[0], seen(p, s)[1], *seen(p, s.flip(0))[2:])
    )


def plant_identity_of_all(task: AdaINTask, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = task.losses
    monkeypatch.setattr(
        task, "losses", lambda net, b: losses(net, b | {"own": torch.ones(2, dtype=torch.bool)})
    )


def plant_dark_frame(task: AdaINTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an encoder sees whose maps are padded with zeros."""
    monkeypatch.setattr(adain_training, "mirrored_maps", lambda eyes, image, t: eyes(image, t))


def plant_other_eyes(task: AdaINTask, monkeypatch: pytest.MonkeyPatch) -> None:
    task._eyes = tiny_encoder(seed=5)


def plant_first_look_twice(task: AdaINTask, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = task.losses
    monkeypatch.setattr(task, "losses", lambda net, b: losses(net, b | {"again": b["content"]}))


def plant_motion_backwards(task: AdaINTask, monkeypatch: pytest.MonkeyPatch) -> None:
    unsteadiness = steadiness.unsteadiness
    monkeypatch.setattr(steadiness, "unsteadiness", lambda p, a, flow: unsteadiness(p, a, -flow))


def plant_other_style_for_the_second_look(task: AdaINTask, monkeypatch: pytest.MonkeyPatch) -> None:
    restyled = task._restyled_again
    monkeypatch.setattr(
        task, "_restyled_again", lambda b: restyled(b | {"style": b["style"].flip(0)})
    )


@pytest.mark.parametrize(
    "plant",
    [
        plant_photo_as_target,
        plant_first_look_twice,
        plant_motion_backwards,
        plant_other_style_for_the_second_look,
        plant_statistics_of_the_batch,
        plant_styles_in_another_order,
        plant_identity_of_all,
        plant_dark_frame,
        plant_other_eyes,
    ],
)
def test_a_planted_mistake_is_far_from_the_formula(
    plant: Callable[[AdaINTask, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ready(tiny_task(dataclasses.replace(ODD, normalize="energy")))
    photos = torch.cat([PHOTO, picture(3, (32, 32)) ** 4])  # the second is dark
    styles = torch.cat([STYLE, photos[1:]])
    rows = zip(photos[:, None], styles[:, None], (False, True), strict=True)
    wanted = sum(by_hand(task, *row)["total"] for row in rows) / 2
    batch = batch_of(photos, styles, [False, True])
    assert losses_of(task, batch)["total"] == pytest.approx(wanted, rel=2e-5)
    plant(task, monkeypatch)
    assert losses_of(task, batch)["total"] != pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("eyes", [None, tiny_encoder(9, seed=5)])
def test_in_bfloat16_the_losses_are_nearly_the_same(eyes: Encoder | None) -> None:
    batch = tiny_task().draw(1, 4, seed=0)
    exact = losses_of(ready(tiny_task(eyes=eyes)), batch)
    task = ready(tiny_task(eyes=eyes), torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        found = losses_of(task, batch)
    assert found != exact
    assert found == pytest.approx(exact, rel=0.05, abs=1e-5)


@pytest.mark.parametrize("eyes", [None, tiny_encoder(9, seed=5)])
@pytest.mark.parametrize("recipe", [Recipe(), ODD])
def test_only_the_decoder_learns_and_all_of_it(recipe: Recipe, eyes: Encoder | None) -> None:
    task = ready(tiny_task(recipe, eyes=eyes))
    torch.autograd.backward(task.losses(task.model, task.draw(1, 4, seed=0))["total"])
    gradients = {name: part.grad for name, part in task.model.named_parameters()}
    assert [name for name, found in gradients.items() if found is None or not found.any()] == []
    for encoder in (task.encoder, task.eyes, task._encoder, task._eyes):
        assert all(part.grad is None for part in encoder.parameters())


def test_what_is_wanted_is_no_way_for_gradients() -> None:
    """Were they to reach t, the target would come to the picture, not the picture to the target."""
    task = ready(tiny_task(Recipe(identity_weight=0)))
    batch = batch_of(PHOTO.clone().requires_grad_(), STYLE.clone().requires_grad_())
    terms = task.losses(task.model, batch)
    for name in ("content", "style", "grid", "total"):
        slopes = torch.autograd.grad(
            terms[name], [batch["content"], batch["style"]], retain_graph=True, allow_unused=True
        )
        assert not any(slope is not None and slope.any() for slope in slopes), name


def test_other_eyes_judge_and_the_decoders_encoder_encodes() -> None:
    """A decoder is of one encoder; what it is told may come from another, with other taps."""
    deep = tiny_encoder(9, seed=5)
    task = ready(tiny_task(dataclasses.replace(ODD, content_tap="relu4_1"), eyes=deep))
    found = losses_of(task, batch_of(PHOTO, STYLE))
    assert found == pytest.approx(by_hand(task, PHOTO, STYLE, False), rel=2e-5)
    assert task.config["encoder"] == "tiny (random)"
    same = ready(tiny_task(eyes=None))
    twin = ready(tiny_task(eyes=tiny_encoder()))
    batch = same.draw(1, 3, seed=0)
    assert losses_of(same, batch) == pytest.approx(losses_of(twin, batch), rel=1e-6)


def test_the_encoders_are_not_rounded_by_an_earlier_training() -> None:
    task = tiny_task(eyes=tiny_encoder(seed=5))
    task.to(CPU, torch.bfloat16)
    task.to(CPU, torch.float32)
    batch = task.draw(1, 2, seed=0)
    assert losses_of(task, batch) == losses_of(ready(tiny_task(eyes=tiny_encoder(seed=5))), batch)


# ---------------------------------------------------------------------------------- what is drawn


def test_pictures_are_a_function_of_seed_and_step() -> None:
    recipe = Recipe(identity_share=0.4, temporal_weight=1)
    task = tiny_task(recipe)
    in_order = [task.draw(step, 6, seed=0) for step in (1, 2, 3)]
    again = [tiny_task(recipe).draw(step, 6, seed=0) for step in (3, 1, 2)]
    torch.testing.assert_close(again, [in_order[i] for i in (2, 0, 1)], rtol=0, atol=0)
    other = task.draw(1, 6, seed=1)
    for name, part in in_order[0].items():
        assert not torch.equal(part, in_order[1][name]), name
        assert not torch.equal(part, other[name]), name
    assert torch.equal(in_order[1]["content"], task.photos.batch(2, 6, seed=0))


@pytest.mark.parametrize("processes", [2, 3])
@pytest.mark.parametrize("step", [2, 5])
def test_the_shares_of_processes_put_together_are_the_batch(processes: int, step: int) -> None:
    task = tiny_task(Recipe(identity_share=0.5, autoencoder_steps=3, temporal_weight=1))
    whole = task.draw(step, 6, seed=0)
    for rank in range(processes):
        share = slice(rank, None, processes)
        wanted = {name: part[share] for name, part in whole.items()}
        torch.testing.assert_close(task.draw(step, 6, 0, share), wanted, rtol=0, atol=0)


def test_steadiness_takes_nothing_and_changes_nothing_where_it_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a training without it draws and tells is, bit for bit, what one with it does besides."""
    steady = ready(tiny_task(dataclasses.replace(MIXED, temporal_weight=1)))
    batch = steady.draw(3, 4, seed=0)
    told = losses_of(steady, batch)
    monkeypatch.delattr(steadiness, "seen_again")
    monkeypatch.delattr(steadiness, "unsteadiness")
    plain = ready(tiny_task(MIXED))
    drawn = plain.draw(3, 4, seed=0)
    assert batch.keys() - drawn.keys() == {"again", "flow"}
    assert all(torch.equal(batch[name], part) for name, part in drawn.items())
    assert told.items() - losses_of(plain, drawn).items() == {
        ("temporal", told["temporal"]),
        ("total", told["total"]),
    }


def flat_task(photos: int, paintings: int, recipe: Recipe | None = None) -> AdaINTask:
    """Return a task whose pictures are of one grey each, which says which of them a crop is of."""
    grey = [
        Crops([torch.full((1, 3, 36, 36), (first + i) / 255) for i in range(count)], crop=32)
        for first, count in ((0, photos), (100, paintings))
    ]
    return tiny_task(recipe or Recipe(identity_share=0), photos=grey[0], paintings=grey[1])


def numbers(pictures: Tensor, first: int = 0) -> list[int]:
    return [round(255 * value) - first for value in pictures[:, 0, 0, 0].tolist()]


def test_every_photo_and_every_painting_is_seen_once_a_pass() -> None:
    task = flat_task(5, 7)
    batches = [task.draw(step, 7, seed=3) for step in range(1, 6)]
    photos = numbers(torch.cat([batch["content"] for batch in batches]))
    paintings = numbers(torch.cat([batch["style"] for batch in batches]), first=100)
    for seen, count in ((photos, 5), (paintings, 7)):
        passes = [seen[first : first + count] for first in range(0, 35, count)]
        assert all(sorted(one) == list(range(count)) for one in passes)
        assert len(set(map(tuple, passes))) > 1, "each in an order of its own"


def test_any_photo_meets_any_painting() -> None:
    """Even of equally many, each pass pairs them anew: were the orders one, 12 pairs would be all."""
    task, pairs = flat_task(12, 12), set()
    for step in range(1, 41):
        batch = task.draw(step, 12, seed=0)
        pairs |= set(zip(numbers(batch["content"]), numbers(batch["style"], 100), strict=True))
    assert len(pairs) > 120  # of 144; 40 draws leave out a pair with (11/12)^40 = 3 %


def test_identity_pictures_are_their_own_style_and_the_others_have_a_painting() -> None:
    task = flat_task(5, 7, Recipe(identity_share=0.3))
    batches = [task.draw(step, 40, seed=0) for step in range(1, 51)]
    own = torch.cat([batch["own"] for batch in batches])
    photos, styles = (torch.cat([b[name] for b in batches]) for name in ("content", "style"))
    assert own.dtype == torch.bool
    assert own.float().mean().item() == pytest.approx(0.3, abs=0.04)  # 4 deviations of 2000
    assert torch.equal(photos[own], styles[own])
    assert min(numbers(styles[~own], first=100)) == 0
    # The paintings are those of a run without identity pictures, but where a photo took the place.
    plain = torch.cat([flat_task(5, 7).draw(step, 40, seed=0)["style"] for step in range(1, 51)])
    assert torch.equal(styles[~own], plain[~own])


@pytest.mark.parametrize(("share", "own"), [(0, False), (1, True)])
def test_none_or_all_may_be_their_own_style(share: float, own: bool) -> None:
    batch = tiny_task(Recipe(identity_share=share)).draw(1, 50, seed=0)
    assert set(batch["own"].tolist()) == {own}
    assert torch.equal(batch["style"], batch["content"]) == own


def test_only_pictures_of_their_own_style_count_in_the_identity_term() -> None:
    """And the others as 0: a batch without any has none to divide by, and shares must add up."""
    task = ready(tiny_task())
    photos = torch.cat([picture(seed, (32, 32)) for seed in range(4)])

    def identity(own: Sequence[bool], rows: slice = slice(None)) -> float:
        return losses_of(task, batch_of(photos[rows], photos[rows], own))["identity"]

    errors = [identity([True], slice(i, i + 1)) for i in range(4)]
    assert min(errors) > 0.001
    assert len(set(errors)) == 4
    assert identity([False] * 4) == 0
    assert identity([True] * 4) == pytest.approx(sum(errors) / 4)
    assert identity([False, True, False, False]) == pytest.approx(errors[1] / 4)
    shares = [identity([True, True], slice(0, 2)), identity([False, False], slice(2, 4))]
    assert identity([True, True, False, False]) == pytest.approx(sum(shares) / 2)


def test_in_the_first_steps_all_photos_are_their_own_style() -> None:
    task = tiny_task(Recipe(identity_share=0.2, autoencoder_steps=3))
    plain = tiny_task(Recipe(identity_share=0.2))
    for step in (1, 2, 3, 4, 5):
        batch, without = (each.draw(step, 20, seed=0) for each in (task, plain))
        assert torch.equal(batch["content"], without["content"])
        if step <= 3:
            assert batch["own"].all()
            assert torch.equal(batch["style"], batch["content"])
        else:
            torch.testing.assert_close(batch, without, rtol=0, atol=0)
            assert not batch["own"].all()


# ------------------------------------------------------------------------------------- the recipes


def test_the_literatures_recipes_are_what_they_state() -> None:
    """Means of squared differences at relu4_1, and of the statistics of four layers, by 10 or 1/λ."""
    taps = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
    told = {}
    for name in ("style10", "lambda2.5"):
        task = ready(deep_task(RECIPES[name]))
        encoder, painter = tiny_encoder(9), AdaIN(tiny_encoder(9), task.model)
        painted = painter.stylize(PHOTO, STYLE)
        found, photo, style = (seen(encoder, x, taps) for x in (painted, PHOTO, STYLE))
        target = restyled(photo["relu4_1"], style["relu4_1"])
        content = F.mse_loss(found["relu4_1"], target).item()
        pull = sum(
            F.mse_loss(one, other).item()
            for tap in taps
            for one, other in zip(moments(found[tap]), moments(style[tap]), strict=True)
        )
        told[name] = losses_of(task, batch_of(PHOTO, STYLE, [True]))
        assert told[name]["content"] == pytest.approx(content, rel=1e-4)
        assert told[name]["style"] == pytest.approx(pull, rel=1e-4)
    style10, lambda25 = told["style10"], told["lambda2.5"]
    assert style10["total"] == pytest.approx(style10["content"] + 10 * style10["style"])
    assert lambda25["total"] == pytest.approx(lambda25["style"] + 2.5 * lambda25["content"])
    for name in ("style10", "lambda2.5"):
        assert not deep_task(RECIPES[name]).draw(1, 100, seed=0)["own"].any()


@pytest.mark.parametrize("name", ["style10", "lambda2.5"])
def test_the_literatures_recipes_need_an_encoder_that_goes_so_deep(name: str) -> None:
    slim = random_encoder("slim")
    with pytest.raises(ValueError, match=r"recipe asks for relu4_1, which encoder 'slim' .* lacks"):
        tiny_task(RECIPES[name], Decoder.of(slim), encoder=slim)
    assert deep_task(RECIPES[name]).eyes.name == "tiny"
    with_deep_eyes = tiny_task(RECIPES[name], Decoder.of(slim), encoder=slim, eyes=tiny_encoder(9))
    assert with_deep_eyes.encoder is slim


def test_the_other_recipes_add_what_they_state_to_the_default() -> None:
    batch = batch_of(PHOTO, STYLE)
    told = {
        name: losses_of(ready(tiny_task(RECIPES[name])), batch)
        for name in ("default", "gram", "perceptual")
    }
    default = told["default"]
    assert {"gram", "perceptual", "tv"}.isdisjoint(default)
    wanted = default["content"] + 10 * default["style"] + 100 * default["grid"]
    assert default["total"] == pytest.approx(wanted, rel=1e-5)
    for name, weight in (("gram", 10), ("perceptual", 1)):
        assert told[name].keys() - default.keys() == {name}
        wanted = default["total"] + weight * told[name][name]
        assert told[name]["total"] == pytest.approx(wanted, rel=1e-5)
    assert default["style"] > 0
    assert RECIPES["default"] == Recipe()


@pytest.mark.parametrize("recipe", [Recipe(), ODD, *RECIPES.values()])
def test_a_recipe_names_each_tap_once(recipe: Recipe) -> None:
    wanted = {recipe.content_tap, *recipe.style_taps}
    wanted |= {"relu1_2", "relu2_2"} if recipe.perceptual_weight else set()
    assert len(recipe.taps) == len(set(recipe.taps))
    assert set(recipe.taps) == wanted


# --------------------------------------------------------------------------- a decoder that is trained


def learn(task: AdaINTask, checkpoint: Path | None = None, **changes: Any) -> AdaINTask:
    settings = dataclasses.replace(TINY, **changes)
    for _ in train(task, settings, checkpoint, every=3, device="cpu"):
        pass
    return task


def test_a_short_training_lowers_the_loss_of_pictures_never_seen() -> None:
    fresh, taught = ready(tiny_task(Recipe())), tiny_task(Recipe())
    learn(taught, steps=60, average=0.8)
    photos, styles = (
        torch.cat([picture(first + i, (32, 32)) for i in range(4)]) for first in (50, 60)
    )
    before, after = (losses_of(task, batch_of(photos, styles)) for task in (fresh, taught))
    assert after["total"] < 0.5 * before["total"]


def test_steadiness_can_be_learned_and_the_style_beside_it() -> None:
    """Not by painting nothing, which is steadiest."""
    photos, styles = (
        torch.cat([picture(first + i, (32, 32)) for i in range(4)]) for first in (50, 60)
    )
    batch, taught = batch_of(photos, styles), {}
    for weight in (1e-9, 300):
        task = tiny_task(Recipe(identity_share=0, temporal_weight=weight))
        taught[weight] = losses_of(learn(task, steps=20, average=0.8), batch)
    assert taught[300]["temporal"] < 0.5 * taught[1e-9]["temporal"]
    assert taught[300]["style"] < 1.3 * taught[1e-9]["style"]


def test_autoencoder_steps_teach_to_give_photos_back() -> None:
    """Those that were never seen, too, and better than steps that teach to restyle."""
    photos = torch.cat([picture(seed, (32, 32)) for seed in (50, 51, 52, 53)])
    errors, shallow = {}, partial(tiny_decoder, tap="relu1_2", skips=(), coarse=0)
    for name, steps, own in (("none", 1, 0), ("restyling", 60, 0), ("giving back", 60, 60)):
        recipe = Recipe(identity_share=0, identity_weight=100, autoencoder_steps=own)
        task = learn(tiny_task(recipe, shallow()), steps=steps, learning_rate=3e-3, average=0.8)
        errors[name] = losses_of(task, batch_of(photos, photos, [True] * 4))["identity"]
    assert errors["giving back"] < 0.8 * min(errors["none"], errors["restyling"])


def test_a_resumed_decoder_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    """Also where the first half learns as an autoencoder, and the rate decays."""
    settings = dataclasses.replace(TINY, steps=4, decay=0.1)
    recipe = Recipe(identity_share=0.4, autoencoder_steps=3)
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    uninterrupted = list(train(tiny_task(recipe), settings, whole, every=2, device="cpu"))
    for progress in train(tiny_task(recipe), settings, parts, every=2, device="cpu"):
        if progress.step == 3:
            break
    resumed = list(train(tiny_task(recipe), settings, parts, every=2, device="cpu"))
    assert [point.losses for point in resumed] == [point.losses for point in uninterrupted[2:]]
    one, other = (torch.load(path, weights_only=True) for path in (whole, parts))
    for name in ("model", "averaged", "optimizer", "schedule"):
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)
    assert {part.dtype for part in one["model"].values()} == {torch.float32}
    assert not any(name.startswith("module.") for name in one["model"])


@pytest.mark.parametrize("fields", [{}, {"skips": (), "coarse": 0, "output": "clamp"}])
def test_the_file_is_the_decoder_up_to_its_rounding(tmp_path: Path, fields: dict[str, Any]) -> None:
    task = learn(tiny_task(ODD, tiny_decoder(**fields)), tmp_path / "net.pt", seed=5)
    path = tmp_path / "net.safetensors"
    model = load_adain(path, encoder=tiny_encoder(), precision="float32")
    assert model.decoder.shape == task.model.shape
    photo, style = picture(9, (37, 50)), picture(10)
    for alpha in (1.0, 0.4):
        shown, wanted = (
            each.stylize(photo, style, alpha=alpha)
            for each in (model, AdaIN(task.encoder, task.model))
        )
        assert 0 < (shown - wanted).abs().max() < 1e-2, "half precision rounds"
    state, facts = read_weights(path)
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert not any(name.startswith("module.") for name in state)
    assert facts["recipe"] == dataclasses.asdict(ODD)
    assert facts["encoder"] == facts["eyes"] == tiny_encoder().identity
    assert (facts["seed"], facts["steps"], facts["steps_done"]) == (5, 6, 6)


def test_a_decoder_from_a_file_can_be_trained_further(tmp_path: Path) -> None:
    """It is frozen, and on some processors in bfloat16, which would round each step away."""
    learn(tiny_task(), tmp_path / "net.pt")
    for precision in ("float32", "bfloat16"):
        decoder = load_adain(
            tmp_path / "net.safetensors",
            encoder=tiny_encoder(),
            precision=precision,
        ).decoder
        weight = decoder.get_parameter("convs.conv1_1.weight")
        before = weight.float().clone()
        learn(tiny_task(decoder=decoder), steps=2)
        weight = decoder.get_parameter("convs.conv1_1.weight")
        assert (weight - before).abs().max() > 1e-4
        assert {part.dtype for part in decoder.parameters()} == {torch.float32}


def cells(sheet: Tensor, height: int, width: int, columns: int) -> list[list[Tensor]]:
    """Return the pictures of a sheet of three rows, with 4 px between them."""
    assert sheet.shape == (1, 3, 3 * (height + 4) + 4, columns * (width + 4) + 4)
    return [
        [
            sheet[0, :, 4 + i * (height + 4) :, 4 + j * (width + 4) :][:, :height, :width]
            for j in range(columns)
        ]
        for i in range(3)
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_sheet_shows_photos_styles_and_what_becomes_of_each_pair(dtype: torch.dtype) -> None:
    photos = torch.cat([picture(seed, (24, 30)) for seed in (1, 2, 3)])
    styles = torch.cat([picture(seed, (24, 30)) for seed in (11, 12, 13)])
    task = ready(tiny_task(shown=(photos, styles)), dtype)
    painter = AdaIN(tiny_encoder().in_dtype(dtype), copy.deepcopy(task.model).to(dtype))
    rows = cells(task.samples(task.model), 24, 30, columns=3)
    for photo, style, cell in zip(photos, styles, zip(*rows, strict=True), strict=True):
        wanted = [photo, style, painter.stylize(photo[None], style[None])[0]]
        torch.testing.assert_close(list(cell), wanted, rtol=0, atol=1e-6)
    assert {part.dtype for part in task.model.parameters()} == {torch.float32}


def test_without_pictures_of_its_own_a_sheet_shows_crops_each_in_another_style() -> None:
    """Also of a training in whose first steps all photos are their own style."""
    task = tiny_task(Recipe(autoencoder_steps=100))
    photos, styles, _ = cells(task.samples(task.model), 32, 32, columns=4)
    for photo, wanted in zip(photos, task.photos.batch(1, 4, seed=0), strict=True):
        assert torch.equal(photo, wanted)
    paintings = tiny_task(Recipe(identity_share=0)).draw(1, 4, seed=0)["style"]
    for style, wanted in zip(styles, paintings, strict=True):
        assert torch.equal(style, wanted)


# ------------------------------------------------------------------------------------ what goes wrong


def crops(crop: int, shorter_side: int = 304) -> Crops:
    return Crops([picture(0, (80, 80))], crop=crop, shorter_side=shorter_side)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: tiny_task(encoder=Encoder((4, 5, 6, 6, 8, 8, 8, 8), name="wider")),
            r"decoder mirrors .* \(4, 4, 6, 6, 8\); encoder 'wider' has \(4, 5, 6, 6, 8\)",
        ),
        (
            lambda: tiny_task(eyes=tiny_encoder(4)),
            r"recipe asks for relu3_1, relu3_4, which encoder 'tiny'",
        ),
        (
            lambda: tiny_task(
                Recipe(perceptual_weight=1, content_tap="relu1_1", style_taps=("relu1_1",)),
                eyes=tiny_encoder(1),
            ),
            "recipe asks for relu1_2, relu2_2, which encoder 'tiny'",
        ),
        (
            lambda: tiny_task(photos=crops(32), paintings=crops(24)),
            "photos come in crops of 32 px and paintings of 24 px",
        ),
        (
            lambda: tiny_task(photos=crops(36), paintings=crops(36)),
            "crops of 36 px; this decoder and its losses take a multiple of 8 px above 8 px",
        ),
        (
            lambda: tiny_task(
                Recipe(), tiny_decoder(coarse=0), photos=crops(8), paintings=crops(8)
            ),
            "crops of 8 px; this decoder and its losses take a multiple of 4 px above 8 px",
        ),
        (
            lambda: tiny_task(shown=(torch.rand(3, 3, 24, 24), torch.rand(2, 3, 24, 24))),
            r"shown has photos of shape \(3, 3, 24, 24\) and styles of \(2, 3, 24, 24\)",
        ),
        (
            lambda: tiny_task(shown=(torch.rand(2, 3, 24, 24), torch.rand(2, 3, 24, 30))),
            r"shown has photos of shape .* and styles of \(2, 3, 24, 30\); both must be of one",
        ),
        (
            lambda: tiny_task(shown=(torch.rand(2, 3, 24, 24), 2 + torch.rand(2, 3, 24, 24))),
            r"shown has values from 2.* they must lie in \[0, 1\]",
        ),
    ],
)
def test_what_does_not_fit_together_is_known_before_the_first_step(
    build: Callable[[], AdaINTask], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("task", "crop"),
    [
        (lambda c: tiny_task(Recipe(), tiny_decoder(coarse=0), photos=c, paintings=c), 12),
        (lambda c: tiny_task(photos=c, paintings=c), 16),
        (lambda c: deep_task(Recipe(), photos=c, paintings=c), 32),
    ],
)
def test_the_smallest_crops_that_are_taken_can_be_learned_from(
    task: Callable[[Crops], AdaINTask], crop: int
) -> None:
    learn(task(crops(crop)), steps=1)
    with pytest.raises(ValueError, match=f"crops of {crop - 4} px"):
        task(crops(crop - 4))


@pytest.mark.parametrize("name", ranges_of(Recipe))
def test_a_recipe_out_of_range_is_named(name: str) -> None:
    value_range = ranges_of(Recipe)[name]
    for value in (value_range.low - 1, 2 * value_range.high, float("nan")):
        changes: dict[str, Any] = {name: value}
        with pytest.raises(ValueError, match=rf"{name} is .*; it must lie in \["):
            Recipe(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalize": "mean"}, "normalize is 'mean'; it takes 'energy', 'chw', 'hw', 'sum'"),
        ({"style_taps": ()}, r"style_taps is \(\); it takes names"),
        ({"style_taps": {"relu1_1": -1.0}}, r"style_taps\['relu1_1'\] is -1.0; it must lie in"),
        (
            {"content_weight": 0, "style_weight": 0},
            "content_weight, style_weight and gram_weight are 0; one must be above",
        ),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recipe(**changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the checkpoint of a short training, which those that it is refused to leave alone."""
    checkpoint = tmp_path_factory.mktemp("trained") / "net.pt"
    learn(tiny_task(), checkpoint, steps=3)
    return checkpoint


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: tiny_task(ODD), "content_weight is 3; .* was trained with 1.0"),
        (
            lambda: tiny_task(dataclasses.replace(MIXED, autoencoder_steps=2)),
            "autoencoder_steps is 2; .* was trained with 0",
        ),
        (lambda: tiny_task(decoder=tiny_decoder(coarse=2)), "coarse is 2; .* was trained with 1"),
        (lambda: tiny_task(decoder=tiny_decoder(skips=())), r"skips is \[\]; .*\['relu1_2'\]"),
        (
            lambda: tiny_task(encoder=tiny_encoder(name="other")),
            r"encoder is 'other \(random\)'; .* was trained with 'tiny \(random\)'",
        ),
        (
            lambda: tiny_task(eyes=tiny_encoder(name="other")),
            r"eyes is 'other \(random\)'; .* was trained with 'tiny \(random\)'",
        ),
        (lambda: tiny_task(photos=crops(32)), "photos is 1; .* was trained with 5"),
        (lambda: tiny_task(paintings=crops(32)), "paintings is 1; .* was trained with 7"),
        (
            lambda: tiny_task(
                photos=Crops([picture(seed) for seed in range(5)], 32, shorter_side=38)
            ),
            r"shorter_sides is \[38, 304\]; .* was trained with \[304, 304\]",
        ),
    ],
)
def test_a_checkpoint_of_another_task_is_refused(
    trained: Path, other: Callable[[], AdaINTask], message: str
) -> None:
    kept = trained.read_bytes()
    with pytest.raises(ValueError, match=message):
        learn(other(), trained, steps=3)
    assert trained.read_bytes() == kept
