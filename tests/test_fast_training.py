"""How a fast net is trained: the loss by its formula, what is drawn, and a net that can be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nstlib import fast_training, kernels, steadiness
from nstlib.config import ranges_of
from nstlib.datasets import Crops, generator_of
from nstlib.encoders import Encoder, mirrored_maps
from nstlib.fast_training import RECIPES, FastNetTask, Recipe
from nstlib.kernels.gram import GramScale
from nstlib.losses import ContentLoss, GramLoss, tap_weights
from nstlib.steadiness import seen_again
from nstlib.training import Batch, Settings, train
from nstlib.transform_net import ConditionalNorm, TransformNet, load_net
from nstlib.weights import read_weights

CPU = torch.device("cpu")
TINY = Settings(steps=6, batch=4, learning_rate=1e-2, warm_up=2, average=0.5, precision="float32")
STYLES, DIAL = ("waves", "dots"), (1.0, 10.0, 100.0)
# Every number another than the default's.
ODD = Recipe(
    content_weight=3,
    tv_weight=20,
    grid_weight=7,
    temporal_weight=9,
    content_taps={"conv2_2": 0.3, "relu3_1": 2.0},
    style_taps={"relu2_1": 0.7, "conv1_1": 4.0},
    normalize="hw",
)


def picture(seed: int, size: tuple[int, int] = (48, 40)) -> Tensor:
    """Return blurred blobs of colour."""
    coarse = torch.rand(1, 3, 6, 6, generator=generator_of(seed))
    return F.interpolate(coarse, size, mode="bicubic").clamp(0, 1)


def tiny_encoder() -> Encoder:
    """Return random eyes with all the taps of the slim encoder."""
    encoder = Encoder((4, 4, 6, 6, 8, 8, 8, 8), name="tiny")
    for seed, conv in enumerate(encoder.convs.values()):
        assert isinstance(conv, nn.Conv2d)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator_of(seed))
        nn.init.uniform_(conv.bias, -0.5, 0.5, generator=generator_of(seed))  # type: ignore[arg-type]
    return encoder


def tiny_net(styles: tuple[str, ...] = STYLES, dial: tuple[float, ...] = DIAL) -> TransformNet:
    """Return a net whose rows of γ and β all differ, as after some training."""
    net = TransformNet(width=0.125, blocks=1, kernels=(3, 3), styles=styles, dial=dial)
    nn.init.zeros_(net.head.bias)  # type: ignore[arg-type]
    for seed, parameter in enumerate(net.parameters()):
        noise = torch.randn(parameter.shape, generator=generator_of(7, seed))
        with torch.no_grad():
            if parameter.ndim == 4:  # a convolution
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
            else:  # γ about 1, β and the bias about 0
                parameter.add_(0.2 * noise)
    return net


def tiny_task(
    recipe: Recipe | None = None, net: TransformNet | None = None, **more: Any
) -> FastNetTask:
    net = net or tiny_net()
    crops = Crops([picture(seed) for seed in range(5)], crop=32)
    styles = [picture(100, (40, 56)), picture(101, (64, 48)), picture(102)]
    styles = styles[: max(1, len(net.shape.styles))]
    return FastNetTask(net, styles, crops, tiny_encoder(), recipe, **more)


def ready(task: FastNetTask, dtype: torch.dtype = torch.float32) -> FastNetTask:
    """Return a task that has seen its styles."""
    task.to(CPU, dtype)
    return task


def looks_at(photos: Tensor) -> Batch:
    """Return a second look at each photo, the same whichever others are beside it."""
    looks = [seen_again(photo[None], 1, 1, seed=0) for photo in photos]
    return {name: torch.cat([look[name] for look in looks]) for name in ("again", "flow")}


def batch_of(photo: Tensor, mixture: list[float], weight: float) -> Batch:
    return {
        "content": photo,
        "mixture": torch.tensor([mixture] * len(photo)),
        "weight": torch.tensor([weight] * len(photo)),
    } | looks_at(photo)


# --------------------------------------------------------------------------- the loss by its formula


def seen(encoder: Encoder, image: Tensor, taps: Sequence[str]) -> dict[str, Tensor]:
    """The maps of a picture with 8 px of its mirror image around it, without those 8 px."""
    height, width = image.shape[2:]
    rows = [height - 1 - abs(height - 1 - abs(y)) for y in range(-8, height + 8)]
    columns = [width - 1 - abs(width - 1 - abs(x)) for x in range(-8, width + 8)]
    maps = encoder(image[:, :, rows][:, :, :, columns], taps)
    inside = {}
    for tap, features in maps.items():
        step = encoder.strides[tap]
        first, high, wide = 8 // step, height // step, width // step
        inside[tap] = features[:, :, first : first + high, first : first + wide]
    return inside


def by_hand(
    task: FastNetTask, photo: Tensor, mixture: list[float], weight: float
) -> dict[str, float]:
    """Return (w_c·L_c + w·L_s + w_tv·TV) / (w_c + w) of a picture by notebook 01's modules, and grid."""
    recipe, net = task.recipe, task.model
    content_taps = tap_weights("content_taps", recipe.content_taps)
    style_taps = tap_weights("style_taps", recipe.style_taps)
    taps = list(dict.fromkeys([*content_taps, *style_taps]))
    encoder = tiny_encoder().in_dtype(torch.float64)
    style = dict(zip(net.shape.styles, mixture, strict=True)) if net.shape.styles else None
    condition = net.condition(style, style_weight=weight if net.shape.dial else None)
    painted = net(photo, condition)
    found, wanted = seen(encoder, painted, taps), seen(encoder, photo, taps)
    style_maps = [seen(encoder, style, taps) for style in task.styles]
    content = sum(
        share * ContentLoss(wanted[tap], recipe.normalize)(found[tap]).item()
        for tap, share in content_taps.items()
    )
    gram_losses = {
        tap: GramLoss([maps[tap] for maps in style_maps], recipe.normalize, mixture)
        for tap in style_taps
    }
    pull = sum(share * gram_losses[tap](found[tap]).item() for tap, share in style_taps.items())
    tv = kernels.total_variation(painted.double()).item()
    grid = grid_by_hand(painted.double(), net.shape.stride)
    total = recipe.content_weight * content + weight * pull + recipe.tv_weight * tv
    total = total / (recipe.content_weight + weight) + recipe.grid_weight * grid
    terms = {"content": content, "style": pull, "tv": tv, "grid": grid}
    if recipe.temporal_weight:
        look = looks_at(photo)
        again = net(look["again"], condition)
        terms["temporal"] = unsteadiness_by_hand(painted, again, look["flow"])
        total += recipe.temporal_weight * terms["temporal"]
    return {"total": total, **terms}


def unsteadiness_by_hand(painted: Tensor, again: Tensor, flow: Tensor) -> float:
    """Return the mean square between the second picture and the first, by PyTorch's own sampling."""
    height, width = painted.shape[2:]
    x = torch.arange(width).double() + flow[:, 0]
    y = torch.arange(height).double()[:, None] + flow[:, 1]
    places = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)
    moved = F.grid_sample(painted.double(), places, align_corners=True)
    return (again - moved).square().mean(dim=1)[(places.abs() <= 1).all(dim=-1)].mean().item()


def grid_by_hand(image: Tensor, stride: int) -> float:
    """Return how much the means of the pixels differ by their place within a step of the strides."""
    means = [
        image[:, :, row::stride, column::stride].mean(dim=(2, 3))
        for row in range(stride)
        for column in range(stride)
    ]
    return torch.stack(means).var(dim=0, correction=0).mean().item()


def losses_of(task: FastNetTask, batch: Batch) -> dict[str, float]:
    return {name: term.item() for name, term in task.losses(task.model, batch).items()}


@pytest.mark.parametrize("recipe", [Recipe(), RECIPES["perceptual"], ODD])
@pytest.mark.parametrize("weight", [1.0, 3.0, 100.0])
@pytest.mark.parametrize("mixture", [[1.0, 0.0], [0.0, 1.0], [0.3, 0.7]])
def test_the_loss_of_a_picture_is_that_of_the_formula(
    recipe: Recipe, weight: float, mixture: list[float]
) -> None:
    task, photo = ready(tiny_task(recipe)), picture(1, (32, 32))
    found = losses_of(task, batch_of(photo, mixture, weight))
    assert found == pytest.approx(by_hand(task, photo, mixture, weight), rel=1e-5)


@pytest.mark.parametrize("recipe", [Recipe(), ODD])
def test_a_net_of_one_style_and_no_dial_has_the_recipes_style_weight(recipe: Recipe) -> None:
    task, photo = ready(tiny_task(recipe, tiny_net((), ()))), picture(1, (32, 32))
    batch = task.draw(1, 3, seed=0)
    assert batch["weight"].tolist() == [recipe.style_weight] * 3
    assert batch["mixture"].tolist() == [[1.0]] * 3
    found = losses_of(task, batch_of(photo, [1.0], recipe.style_weight))
    assert found == pytest.approx(by_hand(task, photo, [1.0], recipe.style_weight), rel=1e-5)


@pytest.mark.parametrize("recipe", [Recipe(), ODD])
def test_the_loss_of_a_batch_is_the_mean_of_its_pictures(recipe: Recipe) -> None:
    """Each has a style and a weight of its own; were they mixed, processes could not share them."""
    task = ready(tiny_task(recipe))
    photos = task.draw(1, 4, seed=0)["content"]
    batch = {
        "content": photos,
        "mixture": torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.3, 0.7], [1.0, 0.0]]),
        "weight": torch.tensor([1.0, 3.0, 30.0, 100.0]),
    }
    alone = [
        by_hand(task, photo[None], mixture.tolist(), weight.item())
        for photo, mixture, weight in zip(*batch.values(), strict=True)
    ]
    mean = {name: sum(one[name] for one in alone) / 4 for name in alone[0]}
    assert losses_of(task, batch | looks_at(photos)) == pytest.approx(mean, rel=1e-5)


def test_the_perceptual_recipe_is_the_one_that_courses_teach() -> None:
    """Means of squared differences over three layers, and 1e5 times those of Gram / CHW."""
    task = ready(tiny_task(RECIPES["perceptual"], tiny_net((), ())))
    photo, encoder, taps = picture(1, (32, 32)), tiny_encoder(), ("relu1_2", "relu2_2", "relu3_3")
    with torch.no_grad():
        painted = task.model(photo)
        found, wanted, style = (seen(encoder, x, taps) for x in (painted, photo, task.styles[0]))

    def gram(maps: Tensor) -> Tensor:
        flat = maps[0].flatten(1).double()
        return flat @ flat.T / maps[0].numel()

    content = sum(F.mse_loss(found[tap], wanted[tap]).item() for tap in taps)
    pull = sum(F.mse_loss(gram(found[tap]), gram(style[tap])).item() for tap in taps)
    told = losses_of(task, task.draw(1, 1, seed=0) | {"content": photo})
    assert told["content"] == pytest.approx(content, rel=1e-5)
    assert told["style"] == pytest.approx(pull, rel=1e-5)
    assert told["total"] == pytest.approx((content + 1e5 * pull) / (1 + 1e5), rel=1e-5)


def plant_folded_batch(task: FastNetTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Gram matrix of all pictures of the batch, as though they were one."""
    gram = kernels.gram

    def folded(features: Tensor, scale: GramScale) -> Tensor:
        together = features.transpose(0, 1).flatten(1)[None, :, :, None]  # (1, C, N·H·W, 1)
        return gram(together, scale).expand(len(features), -1, -1)

    monkeypatch.setattr(fast_training.kernels, "gram", folded)


def plant_style_as_photo(task: FastNetTask, monkeypatch: pytest.MonkeyPatch) -> None:
    style, losses = F.interpolate(task.styles[0], (32, 32)).expand(2, -1, -1, -1), task.losses
    monkeypatch.setattr(task, "losses", lambda net, b: losses(net, b | {"content": style}))


def plant_styles_in_another_order(task: FastNetTask, monkeypatch: pytest.MonkeyPatch) -> None:
    task.grams = {tap: grams.flip(0) for tap, grams in task.grams.items()}


def plant_dial_at_its_end(task: FastNetTask, monkeypatch: pytest.MonkeyPatch) -> None:
    position = fast_training.dial_position
    monkeypatch.setattr(fast_training, "dial_position", lambda w, d: position(0 * w + d[-1], d))


def plant_no_balance(task: FastNetTask, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = task.losses
    monkeypatch.setattr(
        task,
        "losses",
        lambda net, b: losses(net, b) | {"total": losses(net, b)["total"] * (1 + b["weight"][0])},
    )


def plant_first_look_twice(task: FastNetTask, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = task.losses
    monkeypatch.setattr(task, "losses", lambda net, b: losses(net, b | {"again": b["content"]}))


def plant_motion_backwards(task: FastNetTask, monkeypatch: pytest.MonkeyPatch) -> None:
    unsteadiness = steadiness.unsteadiness
    monkeypatch.setattr(steadiness, "unsteadiness", lambda p, a, flow: unsteadiness(p, a, -flow))


@pytest.mark.parametrize(
    "plant",
    [
        plant_folded_batch,
        plant_first_look_twice,
        plant_motion_backwards,
        plant_style_as_photo,
        plant_styles_in_another_order,
        plant_dial_at_its_end,
        plant_no_balance,
    ],
)
def test_a_planted_mistake_is_far_from_the_formula(
    plant: Callable[[FastNetTask, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    task = ready(tiny_task(Recipe(temporal_weight=9)))
    photos = torch.cat([picture(1, (32, 32)), picture(2, (32, 32)) ** 4])  # the second is dark
    mixture, weight = [1.0, 0.0], 3.0
    wanted = sum(by_hand(task, photo[None], mixture, weight)["total"] for photo in photos) / 2
    batch = batch_of(photos, mixture, weight)
    assert losses_of(task, batch)["total"] == pytest.approx(wanted, rel=1e-5)
    plant(task, monkeypatch)
    assert losses_of(task, batch)["total"] != pytest.approx(wanted, rel=1e-3)


def test_in_bfloat16_the_losses_are_nearly_the_same() -> None:
    batch = tiny_task().draw(1, 4, seed=0)
    exact = losses_of(ready(tiny_task()), batch)
    task = ready(tiny_task(), torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        found = losses_of(task, batch)
    assert found != exact
    assert found == pytest.approx(exact, rel=0.03)


def test_the_net_and_the_photo_get_what_is_theirs() -> None:
    """The net learns; encoder, photos and styles stay, whatever is trained."""
    task = ready(tiny_task())
    batch = task.draw(1, 2, seed=0)
    batch["content"].requires_grad_()
    torch.autograd.backward(task.losses(task.model, batch)["total"])
    gradients = {name: part.grad for name, part in task.model.named_parameters()}
    assert [name for name, found in gradients.items() if found is None or not found.any()] == []
    assert all(part.grad is None for part in task.encoder.parameters())
    assert all(style.grad is None for style in task.styles)


@pytest.mark.parametrize(
    ("weight", "places"), [(1.0, {0}), (10.0, {1}), (30.0, {1, 2}), (100.0, {2})]
)
def test_only_the_rows_that_are_drawn_get_a_gradient(weight: float, places: set[int]) -> None:
    """Rows stand style by style, each at the three places of the dial."""
    task = ready(tiny_task())
    batch = batch_of(torch.cat([picture(1, (32, 32)), picture(2, (32, 32))]), [0.0, 1.0], weight)
    torch.autograd.backward(task.losses(task.model, batch)["total"])
    norms = [part for part in task.model.modules() if isinstance(part, ConditionalNorm)]
    assert len(norms) == 7
    for norm in norms:
        for rows in (norm.weight, norm.bias):
            assert rows.grad is not None
            touched = {row for row in range(6) if rows.grad[row].any()}
            assert touched == {3 + place for place in places}


def test_rows_learn_faster_by_the_recipes_rate() -> None:
    task = tiny_task(Recipe(row_rate=7))
    others, rows = task.parameter_groups(1e-3)
    assert "lr" not in others
    assert rows["lr"] == pytest.approx(7e-3)
    assert {tuple(row.shape) for row in rows["params"]} == {(6, 4), (6, 8), (6, 16)}
    together = [id(part) for group in (others, rows) for part in group["params"]]
    assert sorted(together) == sorted(map(id, task.model.parameters())), "each of them, once"


# ---------------------------------------------------------------------------------- what is drawn


def test_photos_styles_and_weights_are_a_function_of_seed_and_step() -> None:
    recipe = Recipe(temporal_weight=1)
    task = tiny_task(recipe)
    in_order = [task.draw(step, 6, seed=0) for step in (1, 2, 3)]
    again = [tiny_task(recipe).draw(step, 6, seed=0) for step in (3, 1, 2)]
    torch.testing.assert_close(again, [in_order[i] for i in (2, 0, 1)], rtol=0, atol=0)
    other = task.draw(1, 6, seed=1)
    for name, part in in_order[0].items():
        assert not torch.equal(part, in_order[1][name]), name
        assert not torch.equal(part, other[name]), name
    assert torch.equal(in_order[1]["content"], task.crops.batch(2, 6, seed=0))


@pytest.mark.parametrize("processes", [2, 3])
def test_the_shares_of_processes_put_together_are_the_batch(processes: int) -> None:
    task = tiny_task(Recipe(temporal_weight=1))
    whole = task.draw(5, 6, seed=0)
    for rank in range(processes):
        share = slice(rank, None, processes)
        wanted = {name: part[share] for name, part in whole.items()}
        torch.testing.assert_close(task.draw(5, 6, 0, share), wanted, rtol=0, atol=0)


def test_steadiness_takes_nothing_and_changes_nothing_where_it_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a training without it draws and tells is, bit for bit, what one with it does besides."""
    steady = ready(tiny_task(Recipe(temporal_weight=1)))
    batch = steady.draw(3, 4, seed=0)
    told = losses_of(steady, batch)
    monkeypatch.delattr(steadiness, "seen_again")
    monkeypatch.delattr(steadiness, "unsteadiness")
    plain = ready(tiny_task(Recipe()))
    drawn = plain.draw(3, 4, seed=0)
    assert batch.keys() - drawn.keys() == {"again", "flow"}
    assert all(torch.equal(batch[name], part) for name, part in drawn.items())
    assert told.items() - losses_of(plain, drawn).items() == {
        ("temporal", told["temporal"]),
        ("total", told["total"]),
    }


def test_some_pictures_have_two_styles_in_any_proportion() -> None:
    task = tiny_task(Recipe(mixtures=0.4), tiny_net(("a", "b", "c")))
    mixture = task._mixtures(4000, generator_of(0))
    assert mixture.shape == (4000, 3)
    assert torch.allclose(mixture.sum(dim=1), torch.ones(4000))
    assert mixture.min() >= 0
    assert mixture.count_nonzero(dim=1).max() == 2
    mixed = mixture[mixture.count_nonzero(dim=1) == 2]
    # Two styles are drawn, and in a third of the cases they are the same one.
    assert len(mixed) / 4000 == pytest.approx(0.4 * 2 / 3, abs=0.03)
    assert mixed.amax(dim=1).mean().item() == pytest.approx(0.75, abs=0.02)  # E max(u, 1 − u)
    assert mixture.mean(dim=0).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
    alone = tiny_task(Recipe(mixtures=0))._mixtures(100, generator_of(0))
    assert set(map(tuple, alone.tolist())) == {(1.0, 0.0), (0.0, 1.0)}


def test_style_weights_are_even_over_the_decades_and_often_at_the_end() -> None:
    weight = tiny_task(Recipe(full_dial=0.3))._weights(4000, generator_of(0))
    assert weight.shape == (4000,)
    assert weight.min() >= 1 - 1e-5
    at_the_end = weight > 100 * (1 - 1e-5)
    assert at_the_end.float().mean().item() == pytest.approx(0.3, abs=0.03)
    exponents = weight[~at_the_end].log10().sort().values
    even = torch.linspace(0, 2, len(exponents))
    assert (exponents - even).abs().max() < 0.08  # Kolmogorov and Smirnov, for 2800 draws
    assert weight.max().item() == pytest.approx(100, rel=1e-5)


def test_a_style_weight_of_nothing_keeps_the_photo() -> None:
    """It has no logarithm, which the dial is drawn on."""
    task = ready(tiny_task(Recipe(style_weight=0), tiny_net((), ())))
    batch = task.draw(1, 3, seed=0)
    assert batch["weight"].tolist() == [0, 0, 0]
    found = losses_of(task, batch)
    wanted = found["content"] + 0.1 * found["tv"] + 300 * found["grid"]
    assert found["total"] == pytest.approx(wanted, rel=1e-5)


# ------------------------------------------------------------------------------- a net that is trained


def learn(task: FastNetTask, checkpoint: Path | None = None, **changes: Any) -> FastNetTask:
    settings = dataclasses.replace(TINY, **changes)
    for _ in train(task, settings, checkpoint, every=3, device="cpu"):
        pass
    return task


def test_a_short_training_lowers_the_loss_of_each_style_all_over_the_dial() -> None:
    fresh, taught = (ready(tiny_task(Recipe(tv_weight=0))) for _ in range(2))
    learn(taught, steps=40, learning_rate=5e-3, average=0.8)
    photos = torch.cat([picture(seed, (32, 32)) for seed in (50, 51, 52, 53)])  # never seen
    for mixture in ([1.0, 0.0], [0.0, 1.0], [0.5, 0.5]):
        for weight in (1.0, 30.0, 100.0):
            batch = batch_of(photos, mixture, weight)
            before, after = (losses_of(task, batch)["total"] for task in (fresh, taught))
            assert after < 0.7 * before, (mixture, weight)


def test_steadiness_can_be_learned_and_the_style_beside_it() -> None:
    """Not by painting nothing, which is steadiest."""
    photos = torch.cat([picture(seed, (32, 32)) for seed in (50, 51, 52, 53)])  # never seen
    batch, taught = batch_of(photos, [0.5, 0.5], 30.0), {}
    for weight in (1e-9, 10):
        task = tiny_task(Recipe(temporal_weight=weight))
        taught[weight] = losses_of(learn(task, steps=10, average=0.8), batch)
    assert taught[10]["temporal"] < 0.75 * taught[1e-9]["temporal"]
    assert taught[10]["style"] < 1.2 * taught[1e-9]["style"]


def test_a_resumed_net_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    settings = dataclasses.replace(TINY, steps=4)
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    uninterrupted = list(train(tiny_task(), settings, whole, every=2, device="cpu"))
    for progress in train(tiny_task(), settings, parts, every=2, device="cpu"):
        if progress.step == 3:
            break
    resumed = list(train(tiny_task(), settings, parts, every=2, device="cpu"))
    assert [point.losses for point in resumed] == [point.losses for point in uninterrupted[2:]]
    one, other = (torch.load(path, weights_only=True) for path in (whole, parts))
    for name in ("model", "averaged", "optimizer", "schedule"):
        torch.testing.assert_close(one[name], other[name], rtol=0, atol=0)
    assert {part.dtype for part in one["model"].values()} == {torch.float32}


def test_the_file_is_the_net_up_to_its_rounding(tmp_path: Path) -> None:
    task = learn(tiny_task(ODD), tmp_path / "net.pt", seed=5)
    net = load_net(tmp_path / "net.safetensors", precision="float32")
    assert net.shape == task.model.shape
    assert net.shape.styles == STYLES
    assert net.shape.dial == DIAL
    photo = picture(9, (37, 50))
    for style, weight in (("waves", 1.0), ("dots", 100.0), ({"waves": 0.4, "dots": 0.6}, 20.0)):
        shown, wanted = (
            each.stylize(photo, style, style_weight=weight) for each in (net, task.model)
        )
        assert (shown - wanted).abs().max() < 5e-3
        assert (shown - wanted).abs().max() > 0, "half precision rounds"
    state, facts = read_weights(tmp_path / "net.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert facts["recipe"] == dataclasses.asdict(ODD)
    assert (facts["seed"], facts["steps"], facts["steps_done"]) == (5, 6, 6)
    assert facts["shape"]["styles"] == list(STYLES)


def test_a_net_from_a_file_can_be_trained_further(tmp_path: Path) -> None:
    """It is frozen, and on some processors in bfloat16, which would round each step away."""
    learn(tiny_task(), tmp_path / "net.pt")
    for precision in ("float32", "bfloat16"):
        net = load_net(tmp_path / "net.safetensors", precision=precision)  # type: ignore[arg-type]
        before = net.head.weight.float().clone()
        learn(tiny_task(net=net), steps=2)
        assert (net.head.weight - before).abs().max() > 1e-4
        assert {part.dtype for part in net.parameters()} == {torch.float32}


def test_batch_norm_learns_from_batches_and_paints_each_picture_alone(tmp_path: Path) -> None:
    net = TransformNet(width=0.125, blocks=1, kernels=(3, 3), norm="batch")
    learn(tiny_task(net=net), tmp_path / "net.pt")
    stored = load_net(tmp_path / "net.safetensors", precision="float32")
    assert stored.norms[0].running_mean.any(), "the running means are in the file"
    photos = torch.cat([picture(1, (32, 32)), picture(2, (32, 32))])
    torch.testing.assert_close(stored.stylize(photos)[:1], stored.stylize(photos[:1]))


def test_the_encoder_is_not_rounded_by_an_earlier_training() -> None:
    task = tiny_task()
    task.to(CPU, torch.bfloat16)
    task.to(CPU, torch.float32)
    batch = task.draw(1, 2, seed=0)
    assert losses_of(task, batch) == losses_of(ready(tiny_task()), batch)


def test_a_sheet_shows_each_picture_in_each_style() -> None:
    shown = torch.cat([picture(seed, (24, 30)) for seed in (1, 2, 3)])
    task = tiny_task(shown=shown)
    sheet = task.samples(task.model)
    gap = 4
    assert sheet.shape == (1, 3, 3 * (24 + gap) + gap, 3 * (30 + gap) + gap)
    rows = [shown, *(task.model.stylize(shown, style, style_weight=100) for style in STYLES)]
    for i, row in enumerate(rows):
        for j, each in enumerate(row):
            top, left = gap + i * (24 + gap), gap + j * (30 + gap)
            cell = sheet[0, :, top : top + 24, left : left + 30]
            torch.testing.assert_close(cell, each, rtol=0, atol=1e-6)


def test_without_pictures_of_its_own_a_sheet_shows_crops() -> None:
    task = tiny_task(net=tiny_net((), ()))
    sheet = task.samples(task.model)
    assert sheet.shape == (1, 3, 2 * 36 + 4, 4 * 36 + 4)
    assert torch.equal(sheet[0, :, 4:36, 4:36], task.crops.batch(1, 4, seed=0)[0])


# ------------------------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    ("styles", "given", "wanted"), [(STYLES, 1, 2), (STYLES, 3, 2), ((), 2, 1)]
)
def test_another_number_of_style_pictures_is_an_error(
    styles: tuple[str, ...], given: int, wanted: int
) -> None:
    task = tiny_task()
    pictures = [picture(seed) for seed in range(given)]
    with pytest.raises(ValueError, match=f"styles has {given} pictures; the net has {wanted}"):
        FastNetTask(tiny_net(styles), pictures, task.crops, task.encoder)


def test_taps_that_the_encoder_lacks_are_named() -> None:
    task, shallow = tiny_task(), Encoder((4, 4, 6, 6), name="shallow")
    with pytest.raises(ValueError, match=r"asks for relu3_3, relu3_1, relu3_4, which .*'shallow'"):
        FastNetTask(tiny_net(), task.styles, task.crops, shallow)
    with pytest.raises(ValueError, match=r"asks for relu4_1, which encoder 'tiny'"):
        tiny_task(Recipe(content_taps=("relu4_1",)))


@pytest.mark.parametrize("name", ranges_of(Recipe))
def test_a_recipe_out_of_range_is_named(name: str) -> None:
    value_range = ranges_of(Recipe)[name]
    for value in (value_range.low - 1, 2 * value_range.high, float("nan")):
        with pytest.raises(ValueError, match=rf"{name} is .*; it must lie in \["):
            Recipe(**{name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalize": "mean"}, "normalize is 'mean'; it takes 'energy', 'chw', 'hw', 'sum'"),
        ({"style_taps": ()}, r"style_taps is \(\); it takes names"),
        ({"content_taps": "relu3_1"}, "content_taps is 'relu3_1'; it takes names"),
        ({"style_taps": {"relu1_1": -1.0}}, r"style_taps\['relu1_1'\] is -1.0; it must lie in"),
        (
            {"content_weight": 0, "style_weight": 0},
            "content_weight and style_weight are 0; one must be above",
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
        (lambda: tiny_task(Recipe(tv_weight=0.2)), "tv_weight is 0.2; .* was trained with 0.1"),
        (lambda: tiny_task(net=tiny_net(("dots", "waves"))), r"styles is \['dots', 'waves'\]; .*"),
        (lambda: tiny_task(net=tiny_net(dial=(1, 10, 50))), r"dial is .*50\]; .* was .*100.0\]"),
    ],
)
def test_a_checkpoint_of_another_net_or_recipe_is_refused(
    trained: Path, other: Callable[[], FastNetTask], message: str
) -> None:
    kept = trained.read_bytes()
    with pytest.raises(ValueError, match=message):
        learn(other(), trained, steps=3)
    assert trained.read_bytes() == kept


def test_the_border_of_a_picture_is_seen_as_its_middle_is() -> None:
    """A flat picture's maps are flat to the last row: no frame for the net to learn."""
    task = ready(tiny_task())
    flat = torch.full((1, 3, 32, 32), 0.4)
    taps = ["relu1_1", "relu1_2"]
    for tap, maps in mirrored_maps(task.eyes, flat, taps).items():
        assert maps.shape[2:] == (32, 32)
        assert maps.std(dim=(2, 3)).max() < 1e-5, tap
    framed = task.eyes(flat, taps)
    assert framed["relu1_2"].std(dim=(2, 3)).max() > 1e-2


def test_in_bfloat16_the_target_grams_are_not_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    task = ready(tiny_task(), torch.bfloat16)
    dtypes = []
    distance = fast_training.losses.gram_distance

    def spy(found: Tensor, target: Tensor, *rest: Any) -> Tensor:
        dtypes.append(target.dtype)
        return distance(found, target, *rest)

    monkeypatch.setattr(fast_training.losses, "gram_distance", spy)
    with torch.autocast("cpu", torch.bfloat16):
        task.losses(task.model, batch_of(picture(1, (32, 32)), [0.3, 0.7], 3.0))
    assert set(dtypes) == {torch.float32}


def test_crops_too_small_to_be_mirrored_are_refused_before_any_is_looked_at() -> None:
    task = tiny_task()
    task.crops.crop = 8
    with pytest.raises(ValueError, match=r"crops of 8 px; the losses take more than 8 px"):
        FastNetTask(tiny_net(), task.styles, task.crops, task.encoder)
