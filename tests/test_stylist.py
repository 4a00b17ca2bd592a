"""All that can be turned in one call: against the parts by hand, with every encoder call counted."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_adain_model import picture, tiny_model
from test_transform_net import DIAL, STYLES, random_net
from torch import Tensor

from nstlib import adain, color, stylist
from nstlib.adain import AdaIN, load_adain
from nstlib.encoders import mirrored_maps
from nstlib.images import resize
from nstlib.strokes import REPAINTED, doublings, enlarged, painted_size
from nstlib.styles import Style, mix
from nstlib.stylist import Kept, NetStylist, Stylist

SIZE = (45, 61)
STATE = (
    1e-4  # a mask's shares are float32, and statistics in a region are other sums than a whole's
)
TURNS: dict[str, dict[str, Any]] = {
    "plain": {},
    "alpha": {"alpha": 0.4},
    "match": {"match": "transport"},
    "luminance": {"keep_color": "luminance"},
    "its colours": {"keep_color": "match"},
    "large strokes": {"stroke_size": 1.4},
    "small strokes": {"stroke_size": 0.5},
    "all": {
        "alpha": 0.7, "match": "whitening", "keep_color": "luminance", "stroke_size": 1.3
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def model() -> AdaIN:
    return tiny_model("skips")


@pytest.fixture(scope="module")
def photo() -> Tensor:
    return picture(*SIZE)


@pytest.fixture(scope="module")
def paintings() -> list[Tensor]:
    return [picture(40, 56, seed=1), picture(48, 40, seed=2), picture(33, 35, seed=3)]


def halves(height: int = SIZE[0], width: int = SIZE[1]) -> Tensor:
    """Return two regions, the left and the right, with a soft edge between them."""
    left = ((width / 2 - torch.arange(width)) / 8 + 0.5).clamp(0, 1).expand(1, 1, height, width)
    return torch.cat([left, 1 - left])


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return the sizes of all pictures that the encoder has seen."""
    sizes: list[tuple[int, int]] = []
    encode = mirrored_maps

    def counted(encoder: Any, image: Tensor, taps: Any) -> Any:
        sizes.append((image.shape[2], image.shape[3]))
        return encode(encoder, image, taps)

    monkeypatch.setattr(adain, "mirrored_maps", counted)
    return sizes


# -------------------------------------------------------------------------------- what is kept


def counting(calls: list[Any]) -> Callable[..., float]:
    def total(*given: Any) -> float:
        calls.append(given)
        return sum(float(torch.as_tensor(part).sum()) for part in given)

    return total


def test_the_same_tensors_are_not_computed_again_and_equal_ones_are_others() -> None:
    calls: list[Any] = []
    kept, one, other = Kept(counting(calls), 4), torch.ones(3), torch.ones(3)
    assert [kept(one), kept(one), kept(other), kept(other), kept(one, 2), kept(one, 2)] == [
        3, 3, 3, 3, 5, 5
    ]  # fmt: skip
    assert len(calls) == 3
    kept(one, 3)
    kept(one, other)
    kept(other, one)
    assert len(calls) == 6


@pytest.mark.parametrize("part", [lambda t: t, lambda t: t[:1], lambda t: t.view(1, 3)])
def test_what_was_written_into_is_another(part: Callable[[Tensor], Tensor]) -> None:
    calls: list[Any] = []
    kept, one, other = Kept(counting(calls), 4), torch.ones(3), torch.ones(3)
    assert kept(other, one) == 6
    part(one).mul_(2)  # also by a view of it
    assert kept(other, one) == kept(other, one) == 6 + float(part(torch.ones(3)).sum())
    other[0] = 5
    assert kept(other, one) == kept(other, one) == 10 + float(part(torch.ones(3)).sum())
    assert len(calls) == 3


def test_the_one_asked_for_longest_ago_goes_first() -> None:
    calls: list[Any] = []
    kept, (a, b, c) = Kept(counting(calls), 2), torch.eye(3).unbind()
    for image in (a, b, a, c, a):  # c takes b's place: a was asked for since
        kept(image)
    assert [given[0] is image for given, image in zip(calls, (a, b, c), strict=True)] == [True] * 3
    kept(b)
    assert len(calls) == 4
    kept(b)
    assert len(calls) == 4


def test_what_goes_is_freed() -> None:
    kept = Kept(torch.Tensor.clone, 1)
    answer = weakref.ref(kept(torch.ones(3)))
    assert answer() is not None
    kept(torch.zeros(3))
    assert answer() is None


def test_an_error_is_not_kept() -> None:
    calls: list[int] = []

    def fails_once(image: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) == 1:
            raise MemoryError
        return image

    kept, image = Kept(fails_once, 2), torch.ones(1)
    with pytest.raises(MemoryError):
        kept(image)
    assert kept(image) is image


def test_what_counts_no_changes_is_not_kept() -> None:
    calls: list[Any] = []
    with torch.inference_mode():
        kept, one = Kept(counting(calls), 2), torch.ones(3)
        assert kept(one) == 3
        assert kept(one.mul_(2)) == 6


# ----------------------------------------------------------------------------------- encoder calls


def test_what_is_turned_costs_no_pass_of_the_encoder(
    model: AdaIN, photo: Tensor, paintings: list[Tensor], seen: list[Any]
) -> None:
    painter = Stylist(model)
    painter.stylize(photo, paintings[:2])
    assert len(seen) == 3  # the photo, and two styles
    for turned in (
        {"alpha": 0.3}, {"alpha": [0.1, 0.9]}, {"weights": [0.1, 0.9]}, {"weights": torch.eye(2)},
        {"keep_color": "luminance"}, {"match": "transport"}, {"match": "whitening"},
        {"mask": halves()}, {"mask": halves().flip(0)}, {"mask": halves(), "match": "transport"},
        {"mask": halves(), "alpha": [0.5, 1.0]}, {},
    ):  # fmt: skip
        painter.stylize(photo, paintings[:2], **turned)
    painter.stylize(photo, paintings[1])
    painter.stylize(photo, paintings[1::-1])
    assert len(seen) == 3


def test_another_photo_or_style_costs_one_pass(
    model: AdaIN, photo: Tensor, paintings: list[Tensor], seen: list[Any]
) -> None:
    painter, other = Stylist(model), picture(30, 40, seed=7)
    painter.stylize(photo, paintings[:2])
    for count, (content, styles) in enumerate(
        [(other, paintings[:2]), (other, paintings), (photo.clone(), paintings)], start=4
    ):
        painter.stylize(content, styles)
        assert len(seen) == count
    painter.stylize(photo, paintings)
    painter.stylize(other, paintings[2])
    assert len(seen) == 6


def test_so_many_photos_and_styles_are_kept(
    model: AdaIN, paintings: list[Tensor], seen: list[Any]
) -> None:
    painter = Stylist(model, kept=1)  # 1 photo and 4 styles
    one, other = picture(32, 32, seed=5), picture(32, 32, seed=6)
    for count, content in ((2, one), (2, one), (3, other), (4, one)):
        painter.stylize(content, paintings[0])
        assert len(seen) == count
    styles = [picture(32, 32, seed=seed) for seed in range(10, 14)]
    painter.stylize(one, styles)
    painter.stylize(one, styles)
    assert len(seen) == 8
    painter.stylize(one, paintings[0])  # four came after it
    assert len(seen) == 9


def test_a_picture_that_is_written_into_is_seen_again(
    model: AdaIN, paintings: list[Tensor], seen: list[Any]
) -> None:
    painter, content, style = Stylist(model), picture(*SIZE, seed=8), paintings[0].clone()
    for options in ({}, {"stroke_size": 1.3}, {"keep_color": "match"}):
        before = painter.stylize(content, style, **options)
        count = len(seen)
        for image in (content, style):
            image.copy_(image.flip(1))
            after = painter.stylize(content, style, **options)
            assert len(seen) > count
            assert torch.equal(after, Stylist(model).stylize(content, style, **options))
            assert (after - before).abs().max() > 0.01
            before, count = after, len(seen)


def test_a_recoloured_style_is_seen_once_for_each_photo(
    model: AdaIN, photo: Tensor, paintings: list[Tensor], seen: list[Any]
) -> None:
    painter, other = Stylist(model), picture(30, 40, seed=7)
    for count, content in ((3, photo), (3, photo), (6, other), (6, photo), (6, other)):
        for alpha in (0.3, 1.0):
            painter.stylize(content, paintings[:2], alpha=alpha, keep_color="match")
            assert len(seen) == count
    painter.stylize(photo, paintings[:2])  # in their own colours
    assert len(seen) == 8


def test_strokes_cost_what_they_paint(
    model: AdaIN, photo: Tensor, paintings: list[Tensor], seen: list[Any]
) -> None:
    painter = Stylist(model)
    style = model.style(paintings[0])
    for stroke_size, first, again in ((0.5, 1, 0), (1, 1, 0), (1.4, 2, 1)):
        for passes in (first, again, again):  # the small photo is kept; what is repainted is new
            seen.clear()
            painter.stylize(photo, style, stroke_size=stroke_size)
            assert len(seen) == passes


def test_a_photo_too_large_to_be_encoded_as_a_whole_is_made_in_tiles(
    model: AdaIN, paintings: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, style = picture(70, 90), model.style(paintings[0])
    whole = Stylist(model).stylize(content, style, mask=halves(70, 90)[:1])
    monkeypatch.setattr(adain, "LARGEST_WHOLE", 64 * 64)
    monkeypatch.setattr(adain, "TILE", 32)
    monkeypatch.delattr(AdaIN, "content")  # whose maps would fill the memory
    tiled = Stylist(model).stylize(content, style, mask=halves(70, 90)[:1])
    assert (tiled - whole).abs().max() < 1e-3


# --------------------------------------------------------------------------- what the model paints


@pytest.mark.parametrize("turned", [{}, {"alpha": 0.3}, {"match": "whitening"}], ids=str)
@pytest.mark.parametrize("kind", ["skips", "steered", "coarse"])
def test_with_the_model_s_own_strokes_it_is_the_model_bit_for_bit(
    kind: str, turned: dict[str, Any], photo: Tensor, paintings: list[Tensor]
) -> None:
    model = tiny_model(kind)
    painter = Stylist(model)
    for stroke_size in (1, 1.0):
        found = painter.stylize(photo, paintings[0], stroke_size=stroke_size, **turned)
        assert torch.equal(found, model.stylize(photo, paintings[0], **turned))
    mixture = mix([model.style(painting) for painting in paintings], [1, 2, 3])
    found = painter.stylize(photo, paintings, weights=[1, 2, 3], **turned)
    assert torch.equal(found, model.stylize(photo, mixture, **turned))


# A Style is no picture that could be recoloured: that it is refused is tested below.
@pytest.mark.parametrize("kind", [k for k in TURNS if TURNS[k].get("keep_color") != "match"])
def test_pictures_and_their_styles_are_the_same(
    kind: str, model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    painter, styles = Stylist(model), [model.style(painting) for painting in paintings]
    wanted = painter.stylize(photo, paintings, weights=[3, 1, 1], **TURNS[kind])
    several: list[Any] = [styles, tuple(styles), [paintings[0], *styles[1:]]]
    for same in several:
        assert torch.equal(painter.stylize(photo, same, weights=[3, 1, 1], **TURNS[kind]), wanted)
    alone = painter.stylize(photo, styles[0], **TURNS[kind])
    assert torch.equal(painter.stylize(photo, paintings[0], **TURNS[kind]), alone)


@pytest.mark.parametrize("kind", TURNS)
def test_a_table_paints_a_picture_for_each_row(
    kind: str, model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    painter = Stylist(model)
    table = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.0, 5.0, 5.0]])
    together = painter.stylize(photo, paintings, weights=table, **TURNS[kind])
    assert together.shape == (3, 3, *SIZE)
    for i, row in enumerate(table.tolist()):
        one = painter.stylize(photo, paintings, weights=row, **TURNS[kind])
        assert torch.allclose(together[i : i + 1], one, atol=1e-5)
    alone = painter.stylize(photo, paintings[0], **TURNS[kind])
    assert torch.allclose(together[:1], alone, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in TURNS if "alpha" not in TURNS[kind]])
def test_several_alphas_paint_a_picture_each(
    kind: str, model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    painter, alphas = Stylist(model), [0.0, 0.35, 1.0]
    together = painter.stylize(photo, paintings[0], alpha=alphas, **TURNS[kind])
    assert together.shape == (3, 3, *SIZE)
    same = painter.stylize(photo, paintings[0], alpha=torch.tensor(alphas), **TURNS[kind])
    assert torch.allclose(same, together, atol=1e-6)
    for i, alpha in enumerate(alphas):
        one = painter.stylize(photo, paintings[0], alpha=alpha, **TURNS[kind])
        assert torch.allclose(together[i : i + 1], one, atol=1e-5)
        zero_dimensional = torch.tensor(alpha, dtype=torch.float64)
        same = painter.stylize(photo, paintings[0], alpha=zero_dimensional, **TURNS[kind])
        assert torch.equal(same, one)
    with_table = painter.stylize(
        photo, paintings, weights=torch.eye(3), alpha=alphas, **TURNS[kind]
    )
    assert torch.allclose(with_table[:1], together[:1], atol=1e-5)


# ---------------------------------------------------------------------------------------- strokes


@pytest.mark.parametrize("stroke_size", [0.25, 0.6, 0.999, 1.001, 1.3])
@pytest.mark.parametrize("size", [(45, 61), (64, 48), (47, 131)], ids=str)
def test_whatever_the_strokes_the_picture_has_the_photo_s_size(
    size: tuple[int, int], stroke_size: float, model: AdaIN, paintings: list[Tensor]
) -> None:
    found = Stylist(model).stylize(picture(*size), paintings[0], stroke_size=stroke_size)
    assert found.shape == (1, 3, *size)
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (20, 31)], ids=str)
def test_a_tiny_photo_takes_small_strokes(
    size: tuple[int, int], model: AdaIN, paintings: list[Tensor]
) -> None:
    found = Stylist(model).stylize(picture(*size), paintings[0], stroke_size=0.5)
    assert found.shape == (1, 3, *size)
    with pytest.raises(ValueError, match=rf"stroke_size is 2; a picture of {size[0]}×{size[1]} px"):
        Stylist(model).stylize(picture(*size), paintings[0], stroke_size=2)


def test_small_strokes_are_a_large_picture_made_small(
    model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    large = model.stylize(resize(photo, (90, 122)), paintings[0], alpha=0.8)
    found = Stylist(model).stylize(photo, paintings[0], alpha=0.8, stroke_size=0.5)
    assert torch.equal(found, resize(large, SIZE))


@pytest.mark.parametrize(("stroke_size", "alpha"), [(1.3, 1.0), (2.0, 0.6), (3.0, 0.6), (2.0, 0.0)])
def test_large_strokes_are_a_small_picture_repainted_with_part_of_the_style(
    stroke_size: float, alpha: float, model: AdaIN, paintings: list[Tensor]
) -> None:
    size = (97, 121)
    content, style = picture(*size), model.style(paintings[0])
    small = painted_size(size, stroke_size)
    steps = []

    def repaint(image: Tensor, part: float) -> Tensor:
        steps.append((image.shape[2], image.shape[3]))
        return model.stylize(image, style, alpha=part * alpha)

    first = model.stylize(resize(content, small), style, alpha=alpha)
    stays = torch.full((1, 1, 1, 1), 1 - alpha)  # of the detail that the small photo lacks
    wanted = enlarged(first, content, stays, repaint)
    assert steps == doublings(small, size)
    found = Stylist(model).stylize(content, style, alpha=alpha, stroke_size=stroke_size)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_no_more_than_half_of_the_style_is_painted_again(
    model: AdaIN, photo: Tensor, paintings: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    alphas: list[float] = []
    stylize = AdaIN.stylize

    def noted(self: AdaIN, content: Any, style: Any, alpha: Any, **options: Any) -> Tensor:
        alphas.append(float(alpha))
        return stylize(self, content, style, alpha=alpha, **options)

    monkeypatch.setattr(AdaIN, "stylize", noted)
    Stylist(model).stylize(picture(128, 160), paintings[0], alpha=0.8, stroke_size=4)
    assert alphas == pytest.approx([0.8, 0.8 * REPAINTED, 0.8 * REPAINTED])
    assert 0 < REPAINTED <= 0.5


@pytest.mark.parametrize("match", ["deviation", "transport"])
def test_twice_the_picture_with_twice_the_strokes_looks_alike(match: Any) -> None:
    # With the model that ships: one of random weights gives no strokes to speak of.
    painter, away = Stylist(load_adain()), torch.zeros(2)
    for seed in range(3):
        content, style = picture(48, 64, seed=seed), picture(64, 64, seed=seed + 11)
        plain, twice = painter.stylize(content, style, match=match), resize(content, (96, 128))
        for i, size in enumerate((2, 1)):
            found = painter.stylize(twice, style, match=match, stroke_size=size)
            away[i] += (resize(found, (48, 64)) - plain).abs().mean()
    assert away[0] < 0.9 * away[1]


# ---------------------------------------------------------------------------------------- colours


def tint(image: Tensor) -> Tensor:
    """Return what a pixel has beyond a grey of its own lightness."""
    return image - color.luminance(image)


@pytest.mark.parametrize("stroke_size", [0.7, 1, 1.4])
def test_the_lightness_is_the_painting_s_and_the_tint_the_photo_s(
    stroke_size: float, model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    painter = Stylist(model)
    plain = painter.stylize(photo, paintings, stroke_size=stroke_size)
    found = painter.stylize(photo, paintings, stroke_size=stroke_size, keep_color="luminance")
    assert torch.allclose(color.luminance(found), color.luminance(plain), atol=1e-5)
    # The tint is the photo's, or a paler one where the new lightness leaves it no room.
    own, kept = tint(photo), tint(found)
    share = (own * kept).sum(dim=1, keepdim=True) / own.square().sum(dim=1, keepdim=True)
    assert share.min() > -1e-3
    assert share.max() < 1 + 1e-3
    assert torch.allclose(kept, share * own, atol=1e-4)
    assert (tint(plain) - own).abs().mean() > 0.05


def test_a_style_in_the_photo_s_colours_is_recoloured_before_it_is_looked_at(
    model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    recoloured = [model.style(color.match_color(painting, photo)) for painting in paintings]
    wanted = model.stylize(photo, mix(recoloured, [1, 2, 2]))
    found = Stylist(model).stylize(photo, paintings, weights=[1, 2, 2], keep_color="match")
    assert torch.equal(found, wanted)
    assert (found - model.stylize(photo, paintings[0])).abs().max() > 0.01
    large = Stylist(model).stylize(photo, paintings[0], keep_color="match", stroke_size=1.4)
    same = Stylist(model).stylize(photo, recoloured[0], stroke_size=1.4)
    assert torch.equal(large, same)  # the colours are those of the photo, not of the small one


# ------------------------------------------------------------------------------------------ masks


@pytest.mark.parametrize("kind", TURNS)
def test_a_mask_of_ones_is_no_mask(
    kind: str, model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    painter, ones = Stylist(model), torch.ones(1, 1, *SIZE)
    found = painter.stylize(photo, paintings[0], mask=ones, **TURNS[kind])
    wanted = painter.stylize(photo, paintings[0], **TURNS[kind])
    assert found.shape == wanted.shape
    assert (found - wanted).abs().max() < STATE


@pytest.mark.parametrize("kind", TURNS)
def test_where_no_region_is_the_photo_is_itself_exactly(
    kind: str, model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    painter = Stylist(model)
    for regions in (1, 2):
        nowhere = torch.zeros(regions, 1, *SIZE)
        found = painter.stylize(photo, paintings[:regions], mask=nowhere, **TURNS[kind])
        assert torch.equal(found, photo)
    hard = (halves() > 0.5).float()[:1]
    found = painter.stylize(photo, paintings[0], mask=hard, **TURNS[kind])
    outside = (hard == 0).expand_as(photo)
    assert torch.equal(found[outside], photo[outside])
    assert (found - photo)[~outside].abs().mean() > 0.02


def test_a_mask_is_the_model_s_where_it_covers_everything(
    model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    styles = [model.style(painting) for painting in paintings[:2]]
    for alpha in (1.0, [0.3, 1.0]):
        found = Stylist(model).stylize(photo, paintings[:2], alpha=alpha, mask=halves())
        wanted = model.stylize(photo, styles, alpha=alpha, mask=halves())
        assert torch.allclose(found, wanted, atol=1e-6)
    swapped = Stylist(model).stylize(photo, paintings[1::-1], mask=halves().flip(0))
    assert torch.allclose(
        swapped, Stylist(model).stylize(photo, paintings[:2], mask=halves()), atol=1e-5
    )


def test_one_style_serves_all_regions_and_overlaps_are_shared(
    model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    painter = Stylist(model)
    one = painter.stylize(photo, paintings[0], mask=halves())
    two = painter.stylize(photo, [paintings[0]] * 2, mask=halves())
    assert torch.allclose(one, two, atol=1e-6)
    twice = torch.ones(2, 1, *SIZE)  # half of each
    found = painter.stylize(photo, paintings[:2], mask=twice)
    wanted = painter.stylize(photo, paintings[:2], mask=twice / 2)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_the_more_a_region_covers_the_more_of_the_style_there_is() -> None:
    # With the model that ships: what one of random weights makes of its own maps is no photo.
    painter, content, style = Stylist(load_adain()), picture(48, 64), picture(64, 64, seed=1)
    whole = painter.stylize(content, style)
    away = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        found = painter.stylize(content, style, mask=torch.full((1, 1, 48, 64), share))
        away.append((found - content).abs().mean().item())
    assert away == sorted(away)
    assert away[0] == 0
    assert away[-1] == pytest.approx((whole - content).abs().mean().item(), abs=STATE)


@pytest.mark.parametrize("stroke_size", [0.5, 1.4])
def test_the_fine_detail_that_stays_is_that_of_the_regions(
    stroke_size: float, model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    # A region whose alpha is 0 keeps the photo's detail, the other none of it.
    painter = Stylist(model)
    options: dict[str, Any] = {"mask": (halves() > 0.5).float(), "stroke_size": stroke_size}
    found = painter.stylize(photo, paintings[0], alpha=[0.0, 1.0], **options)
    assert found.shape == photo.shape
    own = painter.stylize(photo, paintings[0], alpha=0.0, **options)
    assert (found - own)[..., :12].abs().mean() < 0.3 * (found - own)[..., -12:].abs().mean()


def test_what_stays_of_the_photo_is_what_no_region_covers_and_what_alpha_leaves(
    model: AdaIN, photo: Tensor, paintings: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[Tensor] = []

    def enlarging(painted: Tensor, photo: Tensor, stays: Tensor, repaint: Any) -> Tensor:
        noted.append(stays)
        return enlarged(painted, photo, stays, repaint)

    monkeypatch.setattr(stylist, "enlarged", enlarging)
    mask = torch.tensor([0.8, 0.5, 0.4]).view(3, 1, 1, 1) * torch.cat([halves(), halves()[:1]])
    shares = mask / mask.sum(dim=0, keepdim=True).clamp(min=1)
    alphas = [0.2, 0.7, 1.0]
    Stylist(model).stylize(photo, paintings, alpha=alphas, mask=mask, stroke_size=1.4)
    styled = sum(alpha * share for alpha, share in zip(alphas, shares, strict=True))
    assert torch.allclose(noted[0], 1 - torch.as_tensor(styled)[None], atol=1e-6)
    net = NetStylist(random_net(styles=STYLES))
    net.stylize(photo, STYLES, mask=mask, stroke_size=1.4)
    assert torch.allclose(noted[1], 1 - shares.sum(dim=0, keepdim=True), atol=1e-6)


def test_a_soft_region_has_as_much_of_the_style_as_the_model_gives_it(
    model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    mask = torch.full((1, 1, *SIZE), 0.5)
    found = Stylist(model).stylize(photo, paintings[0], mask=mask)
    wanted = model.stylize(photo, paintings[0], mask=mask)
    assert (found - wanted).abs().mean() < 0.25 * (wanted - photo).abs().mean()


def test_a_mask_or_a_photo_may_be_of_another_type(
    model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    wanted = Stylist(model).stylize(photo, paintings[:2], mask=halves())
    for content, mask in ((photo, halves().double()), (photo.double(), halves())):
        found = Stylist(model).stylize(content, paintings[:2], mask=mask)
        assert torch.allclose(found.float(), wanted, atol=1e-5)


# ----------------------------------------------------------------------------------------- errors


def named(value: object) -> str:
    """Return what is given wrong, as the name of a case."""
    return ", ".join(value) if isinstance(value, dict) else ""


def wrong(model: AdaIN, photo: Tensor, paintings: list[Tensor], /, **given: Any) -> None:
    Stylist(model).stylize(**{"content": photo, "style": paintings[:2], **given})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keep_color": "hue"}, "keep_color is 'hue'; it takes 'luminance', 'match', or None"),
        ({"keep_color": True}, "keep_color is True; it takes 'luminance', 'match', or None"),
        ({"match": "mean"}, "match is 'mean'; it takes 'deviation', 'whitening', 'transport'"),
        ({"alpha": 1.5}, r"alpha is 1.5; it must lie in \[0, 1\]"),
        ({"alpha": -0.1}, r"alpha is -0.1; it must lie in \[0, 1\]"),
        ({"alpha": float("nan")}, r"alpha is nan; it must lie in \[0, 1\]"),
        ({"alpha": [0.5, 7]}, r"alpha is 7(.0)?; it must lie in \[0, 1\]"),
        ({"alpha": []}, "alpha is empty"),
        ({"alpha": [0.1, 0.2], "weights": torch.ones(3, 2)}, "1 contents, 3 styles and 2 alphas"),
        (
            {"content": torch.zeros(2, 3, 8, 8), "keep_color": "match"},
            r"content has shape \(2, 3, 8, 8\); it must be \(1, 3",
        ),
        ({"content": torch.full((1, 3, 8, 8), 255.0)}, "content has values from 255 to 255"),
        ({"style": torch.zeros(2, 3, 8, 8)}, r"style has shape \(2, 3, 8, 8\); it must be \(1, 3"),
        ({"style": []}, "styles is empty; it takes one at least"),
        ({"weights": [1, 2, 3]}, "weights has 3 values; there are 2 styles"),
        ({"weights": torch.ones(4, 3)}, r"weights has shape \(4, 3\); it takes \(2,\) or \(N, 2\)"),
        ({"weights": [1, -1]}, r"weights is \[1, -1\]; none may be negative"),
        ({"stroke_size": 0}, r"stroke_size is 0; it must lie in \[0.25, 256\]"),
        ({"stroke_size": 2}, "stroke_size is 2; a picture of 45×61 px takes 1.41 at most"),
        ({"mask": halves(), "weights": [1, 2]}, "weights and mask are both given; a region of"),
        ({"mask": 2 * halves()}, r"mask has values from 0 to 2; they must lie in \[0, 1\]"),
        ({"mask": halves()[0]}, r"mask has shape \(1, 45, 61\); it must be \(N, 1, "),
        ({"mask": halves().repeat(2, 1, 1, 1)}, "mask has 4 regions, .* 2 styles"),
    ],
    ids=named,
)
def test_what_cannot_be_turned_so_is_told(
    model: AdaIN, photo: Tensor, paintings: list[Tensor], given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        wrong(model, photo, paintings, **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"content": "photo.jpg"}, r"content is str; it must be a float tensor \(N, 3, H, W\)"),
        ({"content": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}, "content is torch.uint8"),
        ({"style": torch.zeros(1, 3, 8, 8, dtype=torch.uint8)}, "style is torch.uint8"),
        ({"weights": "ab"}, "weights is 'ab'; it takes a sequence of numbers"),
        ({"mask": "left"}, "mask is str; it must be a float tensor"),
        ({"mask": halves() > 0.5}, "mask is torch.bool; it must be a float tensor"),
        ({"stroke_size": "2"}, "stroke_size is '2'; it must be a number"),
    ],
    ids=named,
)
def test_what_is_of_no_such_type_is_told(
    model: AdaIN, photo: Tensor, paintings: list[Tensor], given: dict[str, Any], said: str
) -> None:
    with pytest.raises(TypeError, match=said):
        wrong(model, photo, paintings, **given)


@pytest.mark.parametrize("alpha", ["0.5", None, ["a"]], ids=str)
def test_an_alpha_that_is_no_number_is_told(
    alpha: Any, model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    with pytest.raises(TypeError, match="alpha is .*; it must be a number"):
        wrong(model, photo, paintings, alpha=alpha)


@pytest.mark.parametrize(
    ("alpha", "said"),
    [
        ([0.1, 0.2, 0.3], "alpha has 3 values|mask has 2 regions, .* 3 alphas"),
        ([], "alpha is empty"),
    ],
    ids=str,
)
def test_alphas_that_do_not_fit_the_regions_are_told(
    alpha: Any, said: str, model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    with pytest.raises(ValueError, match=said):
        wrong(model, photo, paintings, alpha=alpha, mask=halves())


@pytest.mark.parametrize("size", [(45, 60), (90, 122), (1, 1), (45, 1)], ids=str)
def test_a_mask_of_another_size_is_told(
    size: tuple[int, int], model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    said = rf"mask has shape \(2, 1, {size[0]}, {size[1]}\); it must be \(N, 1, 45, 61\)"
    with pytest.raises(ValueError, match=said):
        wrong(model, photo, paintings, mask=torch.full((2, 1, *size), 0.5))
    with pytest.raises(ValueError, match=said):
        NetStylist(random_net(styles=STYLES)).stylize(
            photo, STYLES[:2], mask=torch.full((2, 1, *size), 0.5)
        )


@pytest.mark.parametrize("styles", ["painting.jpg", [None], [torch.zeros(1, 3, 8, 8).numpy()]])
def test_what_is_neither_a_picture_nor_a_style_is_told(
    styles: Any, model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    with pytest.raises(TypeError, match="styles? is "):
        wrong(model, photo, paintings, style=styles)


def test_styles_without_what_is_asked_for_are_told(
    model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    style = model.style(paintings[0])
    for styles in (style, [paintings[1], style]):
        with pytest.raises(ValueError, match="keep_color='match' recolours pictures"):
            wrong(model, photo, paintings, style=styles, keep_color="match")
    with pytest.raises(ValueError, match="style has no covariance, which match='transport' takes"):
        wrong(model, photo, paintings, style=Style(style.means, style.stds), match="transport")
    with pytest.raises(ValueError, match="styles come from different models"):
        wrong(model, photo, paintings, style=[style, tiny_model("relu1_1").style(paintings[0])])
    with pytest.raises(ValueError, match="style is of another model"):
        wrong(model, photo, paintings, style=tiny_model("relu1_1").style(paintings[0]))


# ------------------------------------------------------------------------------------- a fast net


@pytest.fixture(scope="module")
def net() -> NetStylist:
    return NetStylist(random_net(styles=STYLES, dial=DIAL))


def test_a_net_paints_as_it_does(net: NetStylist, photo: Tensor) -> None:
    assert torch.equal(net.stylize(photo), net.net.stylize(photo))
    for name in STYLES:
        assert torch.equal(net.stylize(photo, name), net.net.stylize(photo, name))
        assert torch.equal(net.stylize(photo, [name]), net.net.stylize(photo, name))
    found = net.stylize(photo, STYLES, weights=[1, 2, 3], style_weight=20)
    wanted = net.net.stylize(photo, STYLES, style_weight=20, weights=[1, 2, 3])
    assert torch.allclose(found, wanted, atol=1e-6)
    assert not torch.allclose(found, net.stylize(photo, STYLES, weights=[1, 2, 3]), atol=1e-3)


@pytest.mark.parametrize(
    "turned", [{}, {"stroke_size": 0.6}, {"stroke_size": 1.4}, {"keep_color": "luminance"}], ids=str
)
def test_a_net_s_table_paints_a_picture_for_each_row(
    turned: dict[str, Any], net: NetStylist, photo: Tensor
) -> None:
    table = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.3, 0.5]])
    together = net.stylize(photo, STYLES, weights=table, style_weight=30, **turned)
    assert together.shape == (2, 3, *SIZE)
    for i, row in enumerate(table.tolist()):
        one = net.stylize(photo, STYLES, weights=row, style_weight=30, **turned)
        assert torch.allclose(together[i : i + 1], one, atol=1e-5)


@pytest.mark.parametrize("style_weight", [None, 1.0, 3.0, 100.0])
def test_part_of_a_style_is_part_of_the_way_up_the_dial(
    style_weight: float | None, net: NetStylist, photo: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[float] = []
    stylize = type(net.net).stylize

    def noted(self: Any, content: Tensor, style: Any, **turned: Any) -> Tensor:
        place = turned["style_weight"]
        places.append(DIAL[-1] if place is None else place)
        return stylize(self, content, style, **turned)

    monkeypatch.setattr(type(net.net), "stylize", noted)
    size = (128, 160)
    net.stylize(picture(*size), "sea", style_weight=style_weight, stroke_size=4)
    high = style_weight or DIAL[-1]
    # Half of the style is half of the way on the dial's own scale, which is a logarithm's.
    assert places == pytest.approx([high, high**0.5, high**0.5])


def test_a_net_without_a_dial_repaints_with_all_that_it_has(photo: Tensor) -> None:
    plain = random_net(styles=STYLES)
    found = NetStylist(plain).stylize(photo, "sea", stroke_size=1.4)
    small = plain.stylize(resize(photo, painted_size(SIZE, 1.4)), "sea")
    larger = resize(small, SIZE)
    share = math.log2(SIZE[0] / small.shape[2])  # of a doubling: so much of what was painted again
    wanted = torch.lerp(larger, plain.stylize(larger, "sea"), share)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_strokes_a_little_larger_change_a_little(photo: Tensor, net: NetStylist) -> None:
    """No jump where strokes begin to grow: at 1 the photo is painted once, above it again."""
    plain = net.stylize(photo, "sea")
    apart = [
        (net.stylize(photo, "sea", stroke_size=size) - plain).square().mean().item()
        for size in (1.0001, 1.03, 1.1, 1.4)
    ]
    assert apart[0] == 0, "rounded to the same size: nothing is painted again"
    assert 0 < apart[1] < 0.6 * apart[3]


def test_a_photo_is_not_enlarged_beyond_what_is_free(
    photo: Tensor, net: NetStylist, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nstlib.memory.free_memory", lambda _device: 60 * 4 * SIZE[0] * SIZE[1] - 1)
    sentence = f"content, enlarged for its strokes, is {4 * SIZE[0]}×{4 * SIZE[1]} px"
    with pytest.raises(MemoryError, match=sentence):
        net.stylize(photo, "sea", stroke_size=0.25)


@pytest.mark.parametrize("high", [1.7, 3.4, 6.8])
def test_the_upper_end_of_any_dial_is_on_it(high: float, photo: Tensor) -> None:
    net = random_net(styles=STYLES, dial=(0.1, high))
    for style_weight in (None, high):
        found = NetStylist(net).stylize(photo, "sea", style_weight=style_weight)
        assert torch.equal(found, net.stylize(photo, "sea", style_weight=style_weight))


@pytest.mark.parametrize("stroke_size", [0.25, 0.6, 0.999, 1.001, 1.3])
@pytest.mark.parametrize("size", [(45, 61), (64, 48), (47, 131)], ids=str)
def test_a_net_s_picture_has_the_photo_s_size(
    size: tuple[int, int], stroke_size: float, net: NetStylist
) -> None:
    found = net.stylize(picture(*size), STYLES, stroke_size=stroke_size)
    assert found.shape == (1, 3, *size)
    assert found.min() >= 0
    assert found.max() <= 1


def test_a_net_s_lightness_is_the_painting_s_and_the_tint_the_photo_s(
    net: NetStylist, photo: Tensor
) -> None:
    found = net.stylize(photo, "fire", keep_color="luminance")
    assert torch.equal(found, color.keep_color(net.stylize(photo, "fire"), photo))


@pytest.mark.parametrize("stroke_size", [1, 0.5])
def test_a_net_s_regions_are_its_pictures_blended(
    stroke_size: float, net: NetStylist, photo: Tensor
) -> None:
    mask, names = halves(), ["sea", "moss"]
    found = net.stylize(photo, names, style_weight=10, mask=mask, stroke_size=stroke_size)
    each = [net.stylize(photo, name, style_weight=10, stroke_size=stroke_size) for name in names]
    wanted = mask[:1] * each[0] + mask[1:] * each[1]
    if stroke_size == 1:
        assert torch.allclose(found, wanted, atol=1e-5)
    # Blended before or after it is resized differs, but where the mask is flat.
    assert (found - wanted)[..., :12].abs().mean() < 0.02
    overlapping = net.stylize(photo, names, style_weight=10, mask=torch.ones(2, 1, *SIZE))
    wanted = (
        net.stylize(photo, "sea", style_weight=10) + net.stylize(photo, "moss", style_weight=10)
    ) / 2
    assert torch.allclose(overlapping, wanted, atol=1e-5)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.9])
def test_a_soft_region_has_so_much_of_the_style_as_it_says(
    share: float, net: NetStylist, photo: Tensor
) -> None:
    found = net.stylize(photo, "sea", mask=torch.full((1, 1, *SIZE), share))
    wanted = share * net.stylize(photo, "sea") + (1 - share) * photo
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("stroke_size", [0.5, 1, 1.4])
@pytest.mark.parametrize("keep_color", [None, "luminance"])
def test_where_no_region_is_a_net_leaves_the_photo_exactly(
    keep_color: Any, stroke_size: float, net: NetStylist, photo: Tensor
) -> None:
    turned: dict[str, Any] = {"keep_color": keep_color, "stroke_size": stroke_size}
    nowhere = torch.zeros(1, 1, *SIZE)
    assert torch.equal(net.stylize(photo, "sea", mask=nowhere, **turned), photo)
    everywhere = net.stylize(photo, "sea", mask=1 - nowhere, **turned)
    assert torch.allclose(everywhere, net.stylize(photo, "sea", **turned), atol=1e-5)


def test_a_net_of_one_style_without_a_name_takes_a_mask(photo: Tensor) -> None:
    plain = NetStylist(random_net())
    found = plain.stylize(photo, mask=torch.ones(1, 1, *SIZE))
    assert torch.allclose(found, plain.stylize(photo), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"style": "snow"}, "style is 'snow'; the net has: sea, fire, moss"),
        ({"style": ["sea", "snow"]}, "style is 'snow'; the net has: sea, fire, moss"),
        ({"keep_color": "match"}, "keep_color is 'match'; it takes 'luminance', or None"),
        ({"style_weight": 0.5}, "style_weight is 0.5; the net's dial goes from 1 to 100"),
        ({"style_weight": 101}, "style_weight is 101.*; the net's dial goes from 1 to 100"),
        ({"style_weight": float("nan")}, "style_weight is nan; the net's dial"),
        ({"style": STYLES, "weights": [1, 2]}, "weights has 2 values; there are 3 styles"),
        ({"content": torch.zeros(3, 8, 8)}, r"content has shape \(3, 8, 8\)"),
        ({"stroke_size": 2}, "stroke_size is 2; a picture of 45×61 px takes 1.41 at most"),
        ({"style": "sea", "mask": halves()}, "mask has 2 regions, and there are 1 styles"),
        ({"mask": halves(), "weights": [1, 2]}, "weights and mask are both given"),
        ({"mask": 2 * halves()}, "mask has values from 0 to 2"),
    ],
    ids=named,
)
def test_what_a_net_cannot_be_told_is_told(
    net: NetStylist, photo: Tensor, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        net.stylize(**{"content": photo, **given})


def test_a_net_without_a_dial_takes_no_style_weight(photo: Tensor) -> None:
    with pytest.raises(ValueError, match="style_weight is 3; the net has no dial"):
        NetStylist(random_net(styles=STYLES)).stylize(photo, "sea", style_weight=3)


# -------------------------------------------------------------------------------- planted mistakes


def test_a_memory_that_forgets_versions_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(Kept[float]):
        def __call__(self, *given: Any) -> float:
            return self._kept((), *given)

    monkeypatch.setattr(stylist, "Kept", Forgetful)
    painter = Stylist(tiny_model("skips"))
    content, style = picture(32, 32), picture(32, 32, seed=1)
    before = painter.stylize(content, style)
    content.mul_(0.5)
    assert torch.equal(painter.stylize(content, style), before)  # what the tests above refuse


def test_a_photo_that_is_not_put_back_would_be_seen(
    model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    # What the model itself makes of what no region covers is near the photo, and not the photo.
    nowhere = torch.zeros(1, 1, *SIZE)
    assert not torch.equal(model.stylize(photo, paintings[0], mask=nowhere), photo)


# -------------------------------------------------------------------------- several photos at once


@pytest.mark.parametrize(
    "turned",
    [
        {},
        {"alpha": [0.3, 0.9]},
        {"weights": torch.tensor([[0.3, 0.7], [1.0, 0.0]])},
        {"keep_color": "luminance", "match": "transport"},
        {"stroke_size": 1.3},
    ],
    ids=lambda turned: ", ".join(turned) or "nothing",
)
def test_photos_of_one_size_in_one_pass_are_as_each_alone(
    model: AdaIN, photo: Tensor, paintings: list[Tensor], turned: dict[str, Any]
) -> None:
    photos = torch.cat([photo, photo.flip(3)])
    stylist = Stylist(model)
    together = stylist.stylize(photos, paintings[:2], **turned)
    for i in range(2):
        own = {
            name: value[i] if name in ("alpha", "weights") else value
            for name, value in turned.items()
        }
        alone = stylist.stylize(photos[i : i + 1], paintings[:2], **own)
        assert torch.allclose(together[i : i + 1], alone, atol=2e-5)


def test_regions_are_of_one_photo(model: AdaIN, photo: Tensor, paintings: list[Tensor]) -> None:
    with pytest.raises(ValueError, match=r"content has shape \(2, 3"):
        wrong(model, photo, paintings, content=photo.repeat(2, 1, 1, 1), mask=halves())


# ------------------------------------------------------------------------------ a list of photos


@pytest.mark.parametrize("turn", [name for name in TURNS if name != "its colours"])
def test_a_list_of_photos_paints_each_as_it_is_alone(
    model: AdaIN, paintings: list[Tensor], turn: str
) -> None:
    photos = [picture(*SIZE, seed=seed) for seed in (20, 21, 22)]
    together = Stylist(model).stylize(photos, paintings[:2], weights=[1, 3], **TURNS[turn])
    assert together.shape == (3, 3, *SIZE)
    for photo, painted in zip(photos, together, strict=True):
        alone = Stylist(model).stylize(photo, paintings[:2], weights=[1, 3], **TURNS[turn])
        assert (painted - alone[0]).abs().max() < STATE


def test_each_photo_of_a_list_can_have_its_own_weights_and_alpha(
    model: AdaIN, paintings: list[Tensor]
) -> None:
    photos, table, alphas = [picture(*SIZE, seed=s) for s in (20, 21)], torch.eye(2), [0.3, 1.0]
    together = Stylist(model).stylize(photos, paintings[:2], weights=table, alpha=alphas)
    for photo, style, alpha, painted in zip(photos, paintings, alphas, together, strict=False):
        assert (painted - Stylist(model).stylize(photo, style, alpha=alpha)[0]).abs().max() < STATE


def test_each_photo_of_a_list_is_remembered_by_itself(
    model: AdaIN, paintings: list[Tensor], seen: list[Any]
) -> None:
    painter, (a, b, c) = Stylist(model), (picture(*SIZE, seed=seed) for seed in (20, 21, 22))
    painter.stylize([a, b], paintings[0])
    assert len(seen) == 3  # two photos and a style
    painter.stylize([b, a], paintings[0], alpha=0.5)
    painter.stylize(a, paintings[0])
    painter.stylize([a], paintings[0])
    assert len(seen) == 3
    painter.stylize([b, c, a, c], paintings[0])
    assert len(seen) == 4
    painter.stylize(torch.cat([a, b]), paintings[0])  # one tensor is remembered as one
    assert len(seen) == 5


def test_a_list_of_one_photo_is_that_photo(
    model: AdaIN, photo: Tensor, paintings: list[Tensor]
) -> None:
    for options in ({"keep_color": "match"}, {"mask": halves()}, {"stroke_size": 1.4}):
        turned: dict[str, Any] = options
        painter = Stylist(model)
        one = painter.stylize([photo], paintings[:2], **turned)
        assert torch.equal(one, painter.stylize(photo, paintings[:2], **turned))


def test_photos_that_are_made_in_tiles_are_painted_together_too(
    model: AdaIN, paintings: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [picture(*SIZE, seed=seed) for seed in (20, 21)]
    whole = Stylist(model).stylize(photos, paintings[0])
    monkeypatch.setattr(adain, "LARGEST_WHOLE", SIZE[0] * SIZE[1] - 1)
    monkeypatch.setattr(adain, "TILE", 32)
    tiled = Stylist(model).stylize(photos, paintings[0])
    assert (tiled - whole).abs().max() < STATE


@pytest.mark.parametrize(
    ("photos", "options", "error", "sentence"),
    [
        ([], {}, ValueError, "content is empty; it takes one photo at least"),
        (
            [(9, 12), (12, 9)],
            {},
            ValueError,
            r"photos of \(9, 12\) and \(12, 9\); it takes one size",
        ),
        ([(9, 12)] * 2, {"keep_color": "match"}, ValueError, r"content has shape \(2, 3, 9, 12\)"),
        ([(9, 12)] * 2, {"mask": halves(9, 12)}, ValueError, r"content has shape \(2, 3, 9, 12\)"),
        ([(9, 12)] * 2, {"alpha": [0.1, 0.2, 0.3]}, ValueError, "3"),
    ],
)
def test_photos_that_cannot_be_painted_together_are_refused(
    model: AdaIN,
    paintings: list[Tensor],
    photos: list[tuple[int, int]],
    options: dict[str, Any],
    error: type[Exception],
    sentence: str,
) -> None:
    content = [picture(*size) for size in photos]
    with pytest.raises(error, match=sentence):
        Stylist(model).stylize(content, paintings[:2], **options)


def test_a_batch_in_a_list_is_refused(model: AdaIN, paintings: list[Tensor]) -> None:
    with pytest.raises(ValueError, match="content"):
        Stylist(model).stylize([picture(9, 12, count=2)], paintings[0])


def test_of_photos_that_styles_were_matched_to_no_more_are_held_than_are_kept(
    model: AdaIN, paintings: list[Tensor]
) -> None:
    """A server's memory is reckoned so: what is left of the others is a few numbers of their colours."""
    painter, photos = Stylist(model, kept=2), []
    for seed in range(5):
        photo = picture(*SIZE, seed=seed)
        photos.append(weakref.ref(photo))
        painter.stylize(photo, paintings, keep_color="match")
    del photo
    assert [one() is not None for one in photos] == [False, False, False, True, True]


@pytest.mark.parametrize("stroke_size", [0.5, 2])
def test_a_photo_of_half_precision_is_painted_with_strokes_of_any_size(
    model: AdaIN, paintings: list[Tensor], stroke_size: float
) -> None:
    photo = picture(80, 96)
    stylist = Stylist(model)
    painted = stylist.stylize(photo.half(), paintings[0], stroke_size=stroke_size)
    expected = stylist.stylize(photo, paintings[0], stroke_size=stroke_size)
    torch.testing.assert_close(painted, expected, atol=0.02, rtol=0)
