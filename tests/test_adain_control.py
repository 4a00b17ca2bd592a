"""What can be turned in AdaIN: several at once, regions of a picture, and covariances.

In float64, where an identity that holds holds to 1e-9; where the model's convolutions see another
surrounding, the tolerance is stated beside the test.
"""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from test_adain_model import picture, tiny_model
from torch import Tensor

from nstlib import adain, images, kernels
from nstlib.adain import AdaIN, Match, Style, load_adain, mix, steering_of, style_of
from nstlib.interpolation import ALPHAS, square_weights

EXACT = {"rtol": 0, "atol": 1e-9}
MATCHES = get_args(Match)
KINDS = ["relu3_1", "all", "steered", "coarse", "skips"]


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest) -> AdaIN:
    return tiny_model(request.param).in_dtype(torch.float64)


@pytest.fixture
def photo() -> Tensor:
    return picture(48, 72).double()


@pytest.fixture
def styles(model: AdaIN) -> list[Style]:
    return [model.style(picture(40, 56, seed=seed).double()) for seed in (1, 2, 3, 4)]


def halves(photo: Tensor) -> Tensor:
    """Return the left and the right half of a photo as masks."""
    height, width = photo.shape[2:]
    left = (torch.arange(width) < width // 2).to(photo).expand(1, 1, height, width)
    return torch.cat([left, 1 - left])


# ------------------------------------------------------------------------------------ both ends


@pytest.mark.parametrize("match", MATCHES)
def test_alpha_0_decodes_the_content(
    model: AdaIN, photo: Tensor, styles: list[Style], match: Match
) -> None:
    content = model.content(photo)
    target = steering_of(content.own, content.own, 0.0, model.decoder.shape)
    decoded = model.decoder({tap: content.maps[tap] for tap in model.taps}, target)[:, :, :48, :72]
    found = model.stylize(content, styles[0], alpha=0, match=match)
    if match == "deviation":
        assert torch.equal(found, decoded)
    assert torch.allclose(found, decoded, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_alpha_1_has_the_styles_statistics(kind: str) -> None:
    model, photo = tiny_model(kind).in_dtype(torch.float64), picture(48, 72).double()
    style = model.style(picture(40, 56, seed=1).double())
    seen: dict[str, Tensor] = {}
    model.decoder.register_forward_pre_hook(lambda _module, given: seen.update(given[0]))
    content = model.content(photo)
    model.stylize(content, style)
    for tap, maps in seen.items():
        mean, std = kernels.moments(maps, eps=0)
        _, own = kernels.moments(content.maps[tap], eps=0)
        short = own / (own.square() + 1e-5).sqrt()  # what AdaIN's eps takes away
        assert torch.allclose(mean, style.means[tap], **EXACT)
        assert torch.allclose(std, style.stds[tap] * short, **EXACT)


# --------------------------------------------------------------------------------------- batches


def test_a_square_in_one_pass_is_each_mixture_by_itself(
    model: AdaIN, photo: Tensor, styles: list[Style]
) -> None:
    table = square_weights(3)
    square = model.stylize(photo, mix(styles, table))
    for made, weights in zip(square.split(1), table.tolist(), strict=True):
        assert torch.allclose(made, model.stylize(photo, mix(styles, weights)), **EXACT)
    for corner, style in zip((0, 2, 6, 8), styles, strict=True):
        assert torch.allclose(square[corner], model.stylize(photo, style)[0], **EXACT)


@pytest.mark.parametrize("match", MATCHES)
def test_a_gallery_of_alphas_is_each_alpha_by_itself(
    model: AdaIN, photo: Tensor, styles: list[Style], match: Match
) -> None:
    gallery = model.stylize(photo, styles[0], alpha=ALPHAS, match=match)
    assert len(gallery) == len(ALPHAS)
    for made, alpha in zip(gallery.split(1), ALPHAS, strict=True):
        alone = model.stylize(photo, styles[0], alpha=alpha, match=match)
        assert torch.allclose(made, alone, **EXACT)


def test_contents_styles_and_alphas_go_together_one_by_one(
    model: AdaIN, photo: Tensor, styles: list[Style]
) -> None:
    photos = torch.cat([photo, photo.flip(3)])
    made = model.stylize(photos, styles[:2], alpha=[0.3, 0.8])
    for i, alpha in enumerate((0.3, 0.8)):
        alone = model.stylize(photos[i : i + 1], styles[i], alpha=alpha)
        assert torch.allclose(made[i : i + 1], alone, **EXACT)
    tiled = model.stylize(photos, styles[:2], alpha=[0.3, 0.8], tile=16)
    assert torch.allclose(tiled, made, **EXACT)


# --------------------------------------------------------------------------------------- regions


@pytest.mark.parametrize("match", MATCHES)
def test_a_mask_of_ones_is_no_mask(
    model: AdaIN, photo: Tensor, styles: list[Style], match: Match
) -> None:
    ones = torch.ones(1, 1, 48, 72).double()
    masked = model.stylize(photo, styles[0], alpha=0.7, mask=ones, match=match)
    assert torch.allclose(masked, model.stylize(photo, styles[0], alpha=0.7, match=match), **EXACT)


@pytest.mark.parametrize("match", MATCHES)
def test_a_mask_of_zeros_is_alpha_0(
    model: AdaIN, photo: Tensor, styles: list[Style], match: Match
) -> None:
    zeros = torch.zeros(1, 1, 48, 72).double()
    masked = model.stylize(photo, styles[0], mask=zeros, match=match)
    assert torch.allclose(masked, model.stylize(photo, styles[0], alpha=0), **EXACT)


def test_one_style_in_two_halves_has_the_statistics_of_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each half by itself, not both together: the mean of each half is the style's."""
    monkeypatch.setattr(adain, "LEANING", 0)
    model, photo = tiny_model().in_dtype(torch.float64), picture(48, 72).double()
    photo[..., 36:] *= 0.3  # a dark half
    style = model.style(picture(40, 56, seed=1).double())
    seen: dict[str, Tensor] = {}
    model.decoder.register_forward_pre_hook(lambda _module, given: seen.update(given[0]))
    model.stylize(photo, [style, style], mask=halves(photo))
    half = seen["relu3_1"].shape[3] // 2
    for maps in seen["relu3_1"].split(half, dim=3):
        assert torch.allclose(maps.mean((2, 3)), style.means["relu3_1"], **EXACT)
    seen.clear()
    model.stylize(photo, style)
    left, right = seen["relu3_1"].split(half, dim=3)
    assert (left.mean((2, 3)) - right.mean((2, 3))).abs().max() > 0.2, "as without regions"


@pytest.mark.parametrize("match", MATCHES)
@pytest.mark.parametrize("kind", ["relu3_1", "skips"])
def test_half_and_half_is_each_side_away_from_the_border(kind: str, match: Match) -> None:
    """Exactly what that style alone makes of that half, and the other half is nothing to it."""
    model, photo = tiny_model(kind).in_dtype(torch.float64), picture(40, 160).double()
    a, b = (model.style(picture(40, 56, seed=seed).double()) for seed in (1, 2))
    both = model.stylize(photo, [a, b], mask=halves(photo), match=match)
    left, right = (
        model.stylize(photo, style, mask=half[None], match=match)
        for style, half in zip((a, b), halves(photo), strict=True)
    )
    far = 80 - model.reach
    assert far > 20
    assert torch.allclose(both[..., :far], left[..., :far], **EXACT)
    assert torch.allclose(both[..., -far:], right[..., -far:], **EXACT)
    assert not torch.allclose(both[..., :far], right[..., :far], atol=1e-3)


def test_half_and_half_of_the_shipped_model_are_the_halves_by_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The half of a whole, and a photo that is that half: alike away from the border.

    To 2/255 in the mean: the encoder sees across the border, and so the statistics differ a little,
    and steer all of the half.
    """
    model, photo = load_adain(precision="float32"), picture(96, 256)
    monkeypatch.setattr(adain, "LEANING", 0)
    a, b = (model.style(picture(96, 96, seed=seed)) for seed in (1, 2))
    both = model.stylize(photo, [a, b], mask=halves(photo))
    alone = [model.stylize(photo[..., :128], a), model.stylize(photo[..., 128:], b)]
    assert (both[..., :96] - alone[0][..., :96]).abs().mean() < 2 / 255
    assert (both[..., -96:] - alone[1][..., -96:]).abs().mean() < 2 / 255
    assert (alone[0] - model.stylize(photo, a)[..., :128]).abs().mean() > 4 / 255, "no test else"


def test_where_the_style_goes_the_steering_goes() -> None:
    """A decoder that is steered by the statistics alone is so in each region by its own style."""
    model, photo = tiny_model("steered").in_dtype(torch.float64), picture(40, 160).double()
    a, b = (model.style(picture(40, 56, seed=seed).double()) for seed in (1, 2))
    twice = model.stylize(photo, [a, a], mask=halves(photo))
    both = model.stylize(photo, [a, b], mask=halves(photo))
    far = 80 - model.reach
    assert torch.allclose(both[..., :far], twice[..., :far], **EXACT)
    assert not torch.allclose(both[..., -far:], twice[..., -far:], atol=1e-3)


def test_soft_borders_are_between_the_sides() -> None:
    model, photo = tiny_model().in_dtype(torch.float64), picture(48, 72).double()
    style, share = model.style(picture(40, 56, seed=1).double()), torch.rand(1, 1, 48, 72).double()
    content, mask = model.content(photo), torch.cat([share, 1 - share])
    seen: list[Tensor] = []
    model.decoder.register_forward_pre_hook(lambda _m, given: seen.append(given[0]["relu3_1"]))
    model.stylize(content, style, alpha=[0.0, 1.0], mask=mask)
    maps = content.maps["relu3_1"]
    here = torch.nn.functional.avg_pool2d(mask, 4)
    counted = here[1:].flatten() + 256 / (48 * 72)
    counted = counted / counted.sum()
    mean = (maps[0].flatten(1) * counted).sum(1)  # (C,)
    variance = ((maps[0].flatten(1) - mean[:, None]).square() * counted).sum(1)
    scale = style.stds["relu3_1"][0] / (variance + 1e-5).sqrt()
    restyled = (maps[0] - mean[:, None, None]) * scale[:, None, None]
    restyled = restyled + style.means["relu3_1"][0][:, None, None]
    assert torch.allclose(seen[0][0], here[0] * maps[0] + here[1] * restyled, **EXACT)


@pytest.mark.parametrize("match", MATCHES)
def test_an_empty_region_and_one_of_a_pixel_change_nothing_elsewhere(
    model: AdaIN, photo: Tensor, styles: list[Style], match: Match
) -> None:
    mask = torch.zeros(2, 1, 48, 72).double()
    mask[0, :, 24, 36] = 1
    made = model.stylize(photo, styles[:2], mask=mask, match=match)
    plain = model.stylize(photo, styles[0], alpha=0)
    assert torch.isfinite(made).all()
    assert torch.allclose(made[..., :4, :4], plain[..., :4, :4], rtol=0, atol=0.02)


@pytest.mark.parametrize("match", MATCHES)
@pytest.mark.parametrize("tile", [16, 40])
def test_regions_in_tiles_are_those_of_the_whole(
    model: AdaIN, styles: list[Style], tile: int, match: Match
) -> None:
    """To 1e-9; transport to 1e-5: the root of what rounding leaves, 1e-16, is 1e-8, and is divided."""
    photo = picture(54, 71).double()
    mask = torch.rand(2, 1, 54, 71, generator=torch.Generator().manual_seed(0)).double()
    whole = model.stylize(photo, styles[:2], alpha=[0.4, 0.9], mask=mask, match=match)
    tiled = model.stylize(photo, styles[:2], alpha=[0.4, 0.9], tile=tile, mask=mask, match=match)
    assert torch.allclose(tiled, whole, rtol=0, atol=1e-5 if match == "transport" else 1e-9)


# ------------------------------------------------------------------------------------ covariances


@pytest.mark.parametrize("match", ["whitening", "transport"])
def test_the_maps_have_the_styles_covariance(match: Match) -> None:
    # At relu1_1 each direction of the photo has some deviation, and so can be given another.
    model, photo = tiny_model("relu1_1").in_dtype(torch.float64), picture(48, 72).double()
    style = model.style(picture(40, 56, seed=1).double())
    seen: dict[str, Tensor] = {}
    model.decoder.register_forward_pre_hook(lambda _module, given: seen.update(given[0]))
    model.stylize(photo, style, match=match)
    found = style_of(seen, whole=["relu1_1"])
    assert torch.allclose(found.means["relu1_1"], style.means["relu1_1"], **EXACT)
    assert torch.allclose(found.roots["relu1_1"], style.roots["relu1_1"], **EXACT)
    model.stylize(photo, style)
    plain = style_of(seen, whole=["relu1_1"])
    assert not torch.allclose(plain.roots["relu1_1"], style.roots["relu1_1"], rtol=0, atol=1e-2)


def test_mixing_roots_is_mixing_whitened_maps(photo: Tensor) -> None:
    model = tiny_model().in_dtype(torch.float64)
    a, b = (model.style(picture(40, 56, seed=seed).double()) for seed in (1, 2))
    seen: list[Tensor] = []
    model.decoder.register_forward_pre_hook(lambda _m, given: seen.append(given[0]["relu3_1"]))
    for style in (a, b, mix([a, b], [0.25, 0.75])):
        model.stylize(photo, style, match="whitening")
    assert torch.allclose(0.25 * seen[0] + 0.75 * seen[1], seen[2], **EXACT)


@pytest.mark.parametrize("match", ["whitening", "transport"])
def test_grey_and_flat_pictures_have_no_nan(match: Match) -> None:
    model = load_adain(precision="float32")
    flat = torch.tensor([0.8, 0.5, 0.2]).view(1, 3, 1, 1).expand(1, 3, 32, 32)
    grey = torch.rand(1, 1, 32, 32).expand(1, 3, -1, -1)
    for photo in (flat, grey, torch.zeros(1, 3, 32, 32)):
        for style in (flat, grey):
            made = model.stylize(photo, style, match=match)
            assert torch.isfinite(made).all()


# ----------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"match": "cholesky"}, ValueError, "match is 'cholesky'; it takes 'deviation', 'whit"),
        ({"alpha": []}, ValueError, "alpha is empty"),
        ({"alpha": [0.5, 1.5]}, ValueError, "alpha is 1.5; it must lie in"),
        ({"alpha": "half"}, TypeError, "alpha is 'half'; it must be a number"),
        ({"alpha": [0, 0.5, 1], "style": 2}, ValueError, "1 contents, 2 styles and 3 alphas"),
        ({"mask": 3, "style": 2}, ValueError, "mask has 3 regions.* 2 styles and 1 alphas"),
        ({"mask": torch.ones(1, 1, 9, 9)}, ValueError, r"mask has shape \(1, 1, 9, 9\)"),
        ({"mask": torch.ones(1, 1, 48, 72) * 2}, ValueError, "mask has values from 2 to 2"),
    ],
)
def test_what_cannot_be_is_refused(
    arguments: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    model = tiny_model()
    given = {"style": 1, **arguments}
    given["style"] = [picture(40, 56, seed=i) for i in range(given["style"])]
    if isinstance(given.get("mask"), int):
        given["mask"] = torch.ones(given["mask"], 1, 48, 72)
    with pytest.raises(error, match=sentence):
        model.stylize(picture(48, 72), **given)


def test_a_style_made_by_hand_has_no_covariance() -> None:
    model = tiny_model()
    whole = model.style(picture(40, 56, seed=1))
    with pytest.raises(ValueError, match="style has no covariance, which match='transport' takes"):
        model.stylize(picture(48, 72), Style(whole.means, whole.stds), match="transport")


# ----------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("what", ["styles", "alphas", "regions"])
def test_all_that_is_made_at_once_is_weighed(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = tiny_model(), []
    monkeypatch.setattr("nstlib.memory.check_memory", lambda *given: asked.append(given[2]))
    photo, style = picture(48, 72), model.style(picture(40, 56, seed=1))
    content = model.content(photo)
    model.stylize(content, style)
    several: dict[str, Any] = {
        "styles": {"style": [style] * 8},
        "alphas": {"style": style, "alpha": [0.5] * 8},
        "regions": {"style": style, "mask": torch.full((8, 1, 48, 72), 0.125)},
    }[what]
    model.stylize(content, **several)
    one, all_ = asked[-2:]
    assert all_ == 8 * one if what != "regions" else all_ > 1.5 * one
    monkeypatch.undo()
    monkeypatch.setattr("nstlib.memory.free_memory", lambda _device: one)
    with pytest.raises(MemoryError, match="content is 48×72 px, which needs about"):
        model.stylize(content, **several)


def test_there_is_no_seam_at_a_hard_border_of_regions() -> None:
    """Of the two halves by themselves, laid side by side, the border shows; of one picture less."""
    model, photo = load_adain(precision="float32"), images.sample("astronaut", 128, crop=True)
    sides = [model.style(images.style(name, 256)) for name in ("woodblock", "mosaic")]
    mask = halves(photo)
    together = model.stylize(photo, sides, mask=mask)
    cut = torch.cat(
        [model.stylize(photo[..., :64], sides[0]), model.stylize(photo[..., 64:], sides[1])], 3
    )

    def jump(image: Tensor) -> float:
        return (image[..., 64] - image[..., 63]).abs().mean().item()

    assert jump(together) < 0.6 * jump(cut)
