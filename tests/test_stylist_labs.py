"""The labs of mixtures, pads and masks: each move is one answer, the picture that a Stylist paints.

The model is small and random; no two styles, alphas or masks give the same picture.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_adain_lab import looks_like, upload, values_of
from test_adain_model import picture, tiny_model
from torch import Tensor

from nstlib import adain, images, masks, widgets
from nstlib.adain import AdaIN
from nstlib.encoders import mirrored_maps
from nstlib.errors import ImageError, WeightsError
from nstlib.images import at_size, load_image, read_recipe, resize, to_png_bytes, to_uint8
from nstlib.interpolation import corner_weights, near_weights, style_map
from nstlib.stylist import Stylist
from nstlib.widgets import MaskLab, MixLab, PadLab, display, nets, stylist_lab
from nstlib.widgets.mask_lab import disc
from nstlib.widgets.pictures import caption
from nstlib.widgets.stylist_lab import Params, StylistLab, compute

SIZE, STYLE_SIZE = 48, 40
PAINTINGS = {
    "red": picture(40, 56, seed=1),
    "blue": picture(66, 50, seed=2),  # larger than it is looked at
    "sand": picture(33, 35, seed=3),  # smaller
    "moss": picture(40, 40, seed=4),
}
POINT = (0.3, 0.6)
KINDS = ("mix", "corners", "map", "mask")
LABS = ("mix", "corners", "mask")  # a map is a pad as its corners are
Make = Callable[..., Any]


@pytest.fixture(scope="module")
def model() -> AdaIN:
    return tiny_model("skips")


@pytest.fixture
def make_lab(model: AdaIN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return what makes a lab of a kind; where the notebook says nothing, of the coffee."""
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(widgets.pictures, "data_dir", lambda: tmp_path)

    def make(kind: str, **changes: Any) -> Any:
        options: dict[str, Any] = {"model": model, "content": "coffee", "size": SIZE}
        options |= {"style_size": STYLE_SIZE, "folder": tmp_path / "out", **changes}
        if kind == "mask":
            return MaskLab(**{"style": PAINTINGS["red"], "around": "woodblock", **options})
        styles = options.pop("styles", PAINTINGS)
        if kind == "mix":
            return MixLab(styles, **options)
        x, y = POINT
        return PadLab(styles, **{"arrangement": kind, "x": x, "y": y, **options})

    return make


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Return the sizes of all pictures that the encoder has seen."""
    sizes: list[tuple[int, int]] = []

    def look(encoder: Any, image: Tensor, taps: Any) -> Any:
        sizes.append((image.shape[2], image.shape[3]))
        return mirrored_maps(encoder, image, taps)

    monkeypatch.setattr(adain, "mirrored_maps", look)
    return sizes


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Params]:
    """Return what the labs compute their pictures from, as they do."""
    seen: list[Params] = []

    def watched(params: Params) -> Any:
        seen.append(params)
        return compute(params)

    monkeypatch.setattr(stylist_lab, "compute", watched)
    return seen


def photo(name: str = "coffee", size: int = SIZE) -> Tensor:
    return resize(images.sample(name), size)


def looks() -> list[Tensor]:
    return [at_size(painting, STYLE_SIZE) for painting in PAINTINGS.values()]


def in_bytes(mask: Tensor) -> Tensor:
    """A mask as a brush holds it."""
    return (255 * mask).round().to(torch.uint8).float() / 255


def two(mask: Tensor) -> Tensor:
    return torch.cat([mask, 1 - mask])


def map_weights(model: AdaIN, x: float, y: float) -> list[float]:
    places = style_map([model.style(look) for look in looks()])
    return near_weights(places, torch.tensor([x, y])).tolist()


def begins(kind: str, model: AdaIN) -> dict[str, Any]:
    """What a new lab of a kind asks of a Stylist."""
    if kind == "mask":
        around = at_size(images.style("woodblock"), STYLE_SIZE)
        return {"style": [looks()[0], around], "mask": two(in_bytes(disc(photo())))}
    weights = {
        "mix": [0.25] * 4,
        "corners": corner_weights(*POINT).tolist(),
        "map": map_weights(model, *POINT),
    }
    return {"style": looks(), "weights": weights[kind]}


def by_hand(model: AdaIN, photo: Tensor, **turned: Any) -> Tensor:
    return Stylist(model).stylize(photo, **turned)


def turn(lab: StylistLab, **values: Any) -> None:
    for name, value in values.items():
        lab.controls[name].view.value = value


def is_kept(lab: StylistLab) -> Callable[[], bool]:
    """Return what says whether the lab still shows what it shows now."""
    shown = (lab.result, lab.params, lab.picture_shown.widget.value, lab.status.value)
    return lambda: all(
        now is before
        for now, before in zip(
            (lab.result, lab.params, lab.picture_shown.widget.value, lab.status.value),
            shown,
            strict=True,
        )
    )


def is_told(lab: StylistLab, *words: str) -> bool:
    """Whether the lab says one sentence, with these words."""
    said: str = lab.message.value
    assert "Traceback" not in said
    assert "\n" not in said
    return said.count('role="alert"') == 1 and all(word in said for word in words)


# --------------------------------------------------------------------------------------- creation


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_lab_shows_its_picture_which_was_painted_once(
    kind: str,
    make_lab: Make,
    model: AdaIN,
    computed: list[Params],
    capfd: pytest.CaptureFixture[str],
) -> None:
    lab = make_lab(kind)
    wanted = by_hand(model, photo(), **begins(kind, model))
    assert torch.equal(lab.image, wanted)
    assert len(computed) == 1
    assert looks_like(lab.picture_shown.widget, wanted)
    assert looks_like(lab.photo_shown.widget, photo())
    assert caption(lab.result) in lab.status.value
    assert (lab.seconds, lab.message.value) == (lab.result.seconds, "")
    assert "application/vnd.jupyter.widget-view+json" in lab._repr_mimebundle_()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_lab_begins_where_it_is_told_to(kind: str, make_lab: Make, model: AdaIN) -> None:
    turned = {"alpha": 0.7, "keep_color": "luminance", "match": "transport", "stroke_size": 1.3}
    lab = make_lab(kind, **turned)
    assert {name: control.read() for name, control in lab.controls.items()} == turned
    assert torch.equal(lab.image, by_hand(model, photo(), **begins(kind, model), **turned))


def test_a_lab_begins_with_the_model_that_ships_or_one_of_a_file(
    make_lab: Make, model: AdaIN, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def load(source: Any) -> AdaIN:
        asked.append(source)
        return model

    monkeypatch.setattr(nets, "load_adain", load)
    for source in (None, "mine.safetensors", Path("mine.safetensors")):
        assert make_lab("mix", model=source).stylist.model is model
    assert asked == ["adain", "mine.safetensors", Path("mine.safetensors")]


@pytest.mark.parametrize("kind", LABS)
def test_controls_are_told_in_words_and_named_for_the_page(kind: str, make_lab: Make) -> None:
    lab = make_lab(kind)
    slider, strokes = lab.controls["alpha"].view, lab.controls["stroke_size"].view
    assert (slider.min, slider.max, slider.step, slider.readout) == (0, 1, 0.05, True)
    assert (slider.description, slider.tooltip) == ("Alpha", "how much of the style")
    assert strokes.description == "Stroke size"
    assert strokes.continuous_update is False
    assert [label for label, _ in strokes.options][2:4] == ["1 ×", "1.4 ×"]
    menu = lab.controls["keep_color"].view
    assert next(iter(menu.options)) == "the painting's"
    views = {f"{lab.name}-lab": lab.view, "save": lab.save_button, "message": lab.message}
    views |= {name: control.view for name, control in lab.controls.items()}
    views |= {"picture": lab.picture_shown.widget, "status": lab.status}
    for name, view in views.items():
        assert f"nst-{name.replace('_', '-')}" in view._dom_classes


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"alpha": 1.1}, ValueError, "alpha is 1.1"),
        ({"alpha": "much"}, TypeError, "alpha is 'much'"),
        ({"stroke_size": 0.1}, ValueError, "stroke_size is 0.1"),
        ({"stroke_size": 2}, ValueError, "a picture of 48×72 px takes 1.5 at most"),
        ({"keep_color": "hue"}, ValueError, "keep_color is 'hue'; it takes .*'luminance', 'match'"),
        ({"match": "all"}, ValueError, "match is 'all'; it takes 'deviation'"),
        ({"size": 0}, ValueError, "^size is 0"),
        ({"style_size": 2.5}, TypeError, "^style_size is 2.5"),
        ({"model": "nowhere.safetensors"}, WeightsError, "nowhere"),
        ({"content": "nowhere.jpg"}, ImageError, "nowhere"),
    ],
)
def test_what_no_lab_can_begin_with_is_named(
    changes: dict[str, Any], error: type[Exception], words: str, make_lab: Make
) -> None:
    """Of one kind, for what they have in common is checked in one place; the others are below."""
    with pytest.raises(error, match=words):
        make_lab("mix", **changes)


@pytest.mark.parametrize(
    ("kind", "changes", "error", "words"),
    [
        ("corners", {"alpha": 1.1}, ValueError, "alpha is 1.1"),
        ("mask", {"alpha": 1.1}, ValueError, "alpha is 1.1"),
        ("corners", {"style_size": 2.5}, TypeError, "^style_size is 2.5"),
        ("mask", {"style_size": 2.5}, TypeError, "^style_size is 2.5"),
        ("mix", {"styles": []}, ValueError, "styles is empty"),
        ("mix", {"styles": ["rembrandt"]}, ValueError, "'rembrandt'"),
        (
            "mix",
            {"styles": {"red": torch.rand(3, 4, 4)}},
            ValueError,
            "styles\\['red'\\] has shape",
        ),
        ("mix", {"weights": {"teal": 1}}, ValueError, "weights has teal; it takes: red"),
        ("mix", {"weights": {"red": -1, "blue": 2}}, ValueError, "weights is .*negative"),
        ("mix", {"weights": {"red": 0}}, ValueError, "one must be above 0"),
        ("corners", {"arrangement": "ring"}, ValueError, "arrangement is 'ring'; it takes 'corner"),
        ("corners", {"styles": ["vortex"]}, ValueError, "styles has 1; a square has four corners"),
        ("map", {"styles": ["vortex"]}, ValueError, "styles has 1; a map takes 2 or more"),
        ("corners", {"x": 1.5}, ValueError, "x is 1.5"),
        ("map", {"y": "low"}, TypeError, "y is 'low'"),
        ("mask", {"style": "cubist.jpg"}, ImageError, "cubist"),
        ("mask", {"around": "cubist.jpg"}, ImageError, "cubist"),
        ("mask", {"mask": torch.ones(2, 1, 8, 8)}, ValueError, "mask has shape"),
        ("mask", {"mask": 2 * torch.ones(1, 1, 8, 8)}, ValueError, "mask has values"),
        ("mask", {"mask": "left"}, TypeError, "mask is str"),
    ],
)
def test_what_one_lab_cannot_begin_with_is_named(
    kind: str, changes: dict[str, Any], error: type[Exception], words: str, make_lab: Make
) -> None:
    with pytest.raises(error, match=words):
        make_lab(kind, **changes)


# ------------------------------------------------------------------------------------------ moves

# What is turned, and how many passes of the encoder it costs: the first time, and each time that
# alpha is moved then. (None stands for one for each style that is in the picture.)
TURNS: list[tuple[dict[str, Any], int | None, int]] = [
    ({"alpha": 0.4}, 0, 0),
    ({"alpha": 0.0}, 0, 0),
    ({"keep_color": "luminance"}, 0, 0),
    ({"keep_color": "match"}, None, 0),  # recoloured styles are other pictures; they are kept
    ({"match": "whitening"}, 0, 0),
    ({"match": "transport"}, 0, 0),
    ({"stroke_size": 0.5}, 1, 0),  # the photo twice as large, which is kept
    ({"stroke_size": 1.4}, 2, 1),  # the small photo, which is kept; and what is painted again
]


@pytest.mark.parametrize("kind", LABS)
@pytest.mark.parametrize(("turned", "first", "then"), TURNS, ids=lambda value: str(value))
def test_a_control_paints_what_a_stylist_does_and_encodes_no_more_than_it_must(
    kind: str,
    turned: dict[str, Any],
    first: int | None,
    then: int,
    make_lab: Make,
    model: AdaIN,
    computed: list[Params],
    encoded: list[Any],
) -> None:
    lab = make_lab(kind)
    before, asked = lab.image, begins(kind, model)
    computed.clear()
    encoded.clear()
    turn(lab, **turned)
    assert len(encoded) == (len(asked["style"]) if first is None else first)
    assert computed == [lab.params]
    ((name, value),) = turned.items()
    assert getattr(lab.params, name) == value
    assert torch.equal(lab.image, by_hand(model, photo(), **asked, **turned))
    assert (lab.image - before).abs().max() > 0.01
    assert looks_like(lab.picture_shown.widget, lab.image)
    for alpha in (0.3, 0.8):
        encoded.clear()
        turn(lab, alpha=alpha)
        assert len(encoded) == then
    assert len(computed) == 3
    assert torch.equal(lab.image, by_hand(model, photo(), **{**asked, **turned, "alpha": 0.8}))


@pytest.mark.parametrize("kind", LABS)
def test_what_is_turned_back_is_what_it_was(kind: str, make_lab: Make, encoded: list[Any]) -> None:
    lab = make_lab(kind)
    before = lab.image
    turn(lab, keep_color="match", match="transport", stroke_size=0.7)
    encoded.clear()
    turn(lab, keep_color="painting", match="deviation", stroke_size=1.0)
    assert lab.params.keep_color is None
    assert encoded == []
    assert torch.equal(lab.image, before)


@pytest.mark.parametrize("kind", LABS)
def test_an_answer_sends_one_picture_and_prepares_none(
    kind: str, make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab(kind)
    drawn: list[Tensor] = []

    def noted(image: Tensor) -> bytes:
        drawn.append(image)
        return images.to_jpeg_bytes(image)

    def refuse(*_: Any) -> None:
        raise AssertionError("a picture was loaded again")

    monkeypatch.setattr(display, "preview", noted)
    for name in ("sample", "style", "load_image"):
        monkeypatch.setattr(images, name, refuse)
    turn(lab, alpha=0.35)
    assert len(drawn) == 1
    assert drawn[0] is lab.image


@pytest.mark.parametrize("kind", LABS)
def test_another_photo_costs_one_pass_of_the_encoder(
    kind: str, make_lab: Make, model: AdaIN, computed: list[Params], encoded: list[Any]
) -> None:
    lab = make_lab(kind, alpha=0.6)
    computed.clear()
    encoded.clear()
    lab.photo.menu.value = "chelsea"
    other = photo("chelsea")
    assert (len(encoded), len(computed)) == (1, 1)
    asked = begins(kind, model)
    if kind == "mask":
        asked["mask"] = two(in_bytes(disc(other)))
    assert torch.equal(lab.image, by_hand(model, other, alpha=0.6, **asked))
    assert looks_like(lab.photo_shown.widget, other)
    encoded.clear()
    turn(lab, alpha=0.3)
    assert encoded == []


@pytest.mark.parametrize("kind", LABS)
def test_an_upload_is_painted_with_its_own_pixels_and_a_bad_one_is_a_sentence(
    kind: str, make_lab: Make
) -> None:
    lab = make_lab(kind)
    kept = is_kept(lab)
    upload(lab.photo, "notes.jpg", b"no picture")
    assert "notes.jpg" in lab.photo.message.value
    assert kept()
    upload(lab.photo, "tiny.png", to_png_bytes(picture(40, 50)))
    assert lab.photo.message.value == lab.message.value == ""
    assert (lab.image.shape, lab.size_shown) == ((1, 3, 40, 50), 40)


@pytest.mark.parametrize("kind", ["mix", "mask"])
def test_alpha_is_live_only_while_pictures_are_quick(
    kind: str, make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.2, 0.02, 0.3])

    def timed(params: Params) -> Any:
        return dataclasses.replace(compute(params), seconds=next(times))

    monkeypatch.setattr(stylist_lab, "compute", timed)
    lab = make_lab(kind)
    slider = lab.controls["alpha"].view
    assert slider.continuous_update is False
    slider.value = 0.5
    assert slider.continuous_update is True
    slider.value = 0.6
    assert slider.continuous_update is False


# ----------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("kind", LABS)
def test_strokes_too_large_for_a_photo_are_a_sentence_and_the_picture_stays(
    kind: str, make_lab: Make, computed: list[Params]
) -> None:
    lab = make_lab(kind)
    kept = is_kept(lab)
    turn(lab, stroke_size=2.0)
    assert is_told(lab, "Stroke_size is 2; a picture of 48×72 px takes 1.5 at most.")
    assert kept()
    turn(lab, stroke_size=1.4)
    assert lab.message.value == ""
    kept = is_kept(lab)
    upload(lab.photo, "tiny.png", to_png_bytes(picture(40, 50)))
    assert is_told(lab, "a picture of 40×50 px takes 1.25 at most.")
    assert kept()
    turn(lab, stroke_size=1.0)
    assert (lab.message.value, lab.image.shape) == ("", (1, 3, 40, 50))


@pytest.mark.parametrize("kind", ["mix", "mask"])
def test_what_does_not_fit_is_a_sentence_and_a_defect_is_not_hidden(
    kind: str, make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab(kind)
    kept = is_kept(lab)

    def fail(error: Exception) -> Callable[..., Any]:
        def paint(*_: Any, **__: Any) -> None:
            raise error

        return paint

    with monkeypatch.context() as patch:
        patch.setattr(AdaIN, "stylize", fail(MemoryError("the <photo> is too large")))
        turn(lab, alpha=0.5)
        assert is_told(lab, "The &lt;photo&gt; is too large.")
        patch.setattr(AdaIN, "stylize", fail(KeyError("a defect")))
        with pytest.raises(KeyError):
            turn(lab, alpha=0.6)
    assert kept()
    turn(lab, alpha=0.7)
    assert lab.message.value == ""
    assert not kept()


def test_answers_that_are_asked_for_at_once_come_one_after_the_other(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab("mix")
    under_way: list[Params] = []
    most: list[int] = []

    def slow(params: Params) -> Any:
        under_way.append(params)
        most.append(len(under_way))
        time.sleep(0.05)
        under_way.pop()
        return compute(params)

    monkeypatch.setattr(stylist_lab, "compute", slow)
    threads = [threading.Thread(target=lab.answer) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]


# --------------------------------------------------------------------------------------- a mixture


def test_a_slider_makes_another_mixture_in_one_answer(
    make_lab: Make, model: AdaIN, computed: list[Params], encoded: list[Any]
) -> None:
    lab = make_lab("mix")
    computed.clear()
    encoded.clear()
    lab.mixer.sliders["blue"].value = 0.5
    first, weights = lab.image, [1 / 3.5, 0.5 / 3.5, 1 / 3.5, 1 / 3.5]
    assert lab.params.weights == weights
    assert lab.mixer.shares["blue"].value == "14 %"
    lab.mixer.sliders["sand"].value = 0
    assert lab.params.weights == [1 / 2.5, 0.5 / 2.5, 1 / 2.5]
    assert (len(computed), encoded) == (2, [])
    assert torch.equal(first, by_hand(model, photo(), style=looks(), weights=weights))
    red, blue, _, moss = looks()
    three = {"style": [red, blue, moss], "weights": lab.params.weights}
    assert torch.equal(lab.image, by_hand(model, photo(), **three))


def test_one_style_alone_is_one_answer(
    make_lab: Make, model: AdaIN, computed: list[Params], encoded: list[Any]
) -> None:
    lab = make_lab("mix")
    computed.clear()
    encoded.clear()
    lab.mixer.menu.value = "blue"
    assert (lab.params.weights, len(computed), encoded) == ([1.0], 1, [])
    assert torch.equal(lab.image, by_hand(model, photo(), style=looks()[1], weights=[1.0]))
    assert lab.named() == {"style": ["blue"], "weights": [1.0]}


def test_a_style_is_encoded_when_it_first_joins(make_lab: Make, encoded: list[Any]) -> None:
    lab = make_lab("mix", weights={"red": 2, "moss": 1})
    assert lab.params.weights == [2 / 3, 1 / 3]
    encoded.clear()
    for share in (0.5, 0.8, 0.0, 0.3):
        lab.mixer.sliders["sand"].value = share
    assert encoded == [(36, 36)]  # 33 × 35 px, in whole strides


def test_without_any_style_the_picture_stays(make_lab: Make) -> None:
    lab = make_lab("mix", weights={"red": 1})
    kept = is_kept(lab)
    lab.mixer.sliders["red"].value = 0
    assert is_told(lab, "All styles stand at 0; move one of them up.")
    assert kept()
    lab.mixer.sliders["blue"].value = 0.2
    assert (lab.message.value, lab.params.weights) == ("", [1.0])


def test_paintings_that_ship_are_mixed_by_their_names(make_lab: Make, model: AdaIN) -> None:
    lab = make_lab("mix", styles=["vortex", "mosaic"], weights={"mosaic": 3, "vortex": 1})
    shipped = [at_size(images.style(name), STYLE_SIZE) for name in ("vortex", "mosaic")]
    wanted = by_hand(model, photo(), style=shipped, weights=lab.params.weights)
    assert torch.equal(lab.image, wanted)
    assert lab.params.weights == pytest.approx([0.25, 0.75])


# ------------------------------------------------------------------------------------------ a pad


@pytest.mark.parametrize("corner", range(4))
def test_a_corner_is_one_style_alone(
    corner: int, make_lab: Make, model: AdaIN, computed: list[Params], encoded: list[Any]
) -> None:
    lab = make_lab("corners")
    computed.clear()
    encoded.clear()
    lab.pad.move(corner % 2, corner // 2)
    assert lab.params.weights == lab.pad.shares == [float(i == corner) for i in range(4)]
    assert (len(computed), encoded) == (1, [])
    alone = by_hand(model, photo(), style=looks()[corner])
    torch.testing.assert_close(lab.image, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["corners", "map"])
def test_the_pad_shows_the_shares_that_are_painted(
    kind: str, make_lab: Make, model: AdaIN, computed: list[Params]
) -> None:
    lab = make_lab(kind)
    assert lab.pad.shares == begins(kind, model)["weights"]
    computed.clear()
    for x, y in ((0.0, 0.35), (0.81, 0.12), (0.5, 0.5), (1.0, 1.0), (0.999, 0.001)):
        lab.pad.set_state({"x": x, "y": y})  # as the page does
        assert lab.pad.shares == lab.params.weights
        assert sum(lab.pad.shares) == pytest.approx(1, abs=1e-6)
        assert all(0 <= share <= 1 for share in lab.pad.shares)
        wanted = corner_weights(x, y).tolist() if kind == "corners" else map_weights(model, x, y)
        assert lab.params.weights == wanted
    assert len(computed) == 5
    assert torch.equal(lab.image, by_hand(model, photo(), style=looks(), weights=wanted))


def test_the_corners_are_those_that_the_pad_shows(make_lab: Make) -> None:
    pad = make_lab("corners").pad
    assert pad.names == list(PAINTINGS)
    assert pad.places == [(0, 0), (1, 0), (0, 1), (1, 1)]


@pytest.mark.parametrize("place", range(4))
def test_at_its_place_on_a_map_a_style_is_alone(
    place: int, make_lab: Make, model: AdaIN, encoded: list[Any]
) -> None:
    lab = make_lab("map")
    encoded.clear()
    x, y = lab.pad.places[place]
    lab.pad.move(x, y)
    assert lab.params.weights == [float(i == place) for i in range(4)]
    assert encoded == []
    alone = by_hand(model, photo(), style=looks()[place])
    torch.testing.assert_close(lab.image, alone, atol=1e-5, rtol=0)
    # A page moves the point by thousandths of the side.
    lab.pad.set_state({"x": round(x, 3), "y": round(y, 3)})
    assert lab.params.weights[place] > 0.999


def test_a_map_has_its_styles_within_it_and_wide_apart(make_lab: Make, model: AdaIN) -> None:
    pad = make_lab("map").pad
    places = torch.tensor(pad.places, dtype=torch.float64)
    assert pad.names == list(PAINTINGS)
    assert places.min() == 0
    assert places.max() == 1
    wanted = style_map([model.style(look) for look in looks()])
    torch.testing.assert_close(places.float(), wanted, atol=0, rtol=0)


def test_a_map_of_two_alike_is_painted(make_lab: Make, model: AdaIN) -> None:
    lab = make_lab("map", styles={"one": PAINTINGS["red"], "same": PAINTINGS["red"].clone()})
    assert sum(lab.params.weights) == pytest.approx(1)
    alone = by_hand(model, photo(), style=looks()[0])
    torch.testing.assert_close(lab.image, alone, atol=1e-5, rtol=0)


def test_a_map_encodes_each_style_once(make_lab: Make, encoded: list[Any]) -> None:
    make_lab("map")
    assert len(encoded) == 2 + 1 + 4  # what loads torch; the photo, and the styles


# ----------------------------------------------------------------------------------------- a mask


def tool(lab: MaskLab, name: str) -> Any:
    return next(part for part in lab._tools if f"nst-{name}" in part._dom_classes)


def paint(lab: MaskLab, mask: Tensor) -> None:
    """Do what the page does when the user has painted."""
    values = (255 * mask).round().to(torch.uint8).flatten().numpy().tobytes()
    lab.brush.set_state({"values": memoryview(values), "painted": [lab.brush.edition[0], 1]})


def left(height: int = SIZE, width: int = 72) -> Tensor:
    return (torch.arange(width) < width // 2).float().expand(1, 1, height, width).contiguous()


def test_what_is_painted_is_answered_at_once(
    make_lab: Make, model: AdaIN, computed: list[Params], encoded: list[Any]
) -> None:
    lab = make_lab("mask")
    computed.clear()
    encoded.clear()
    soft = masks.soften(left(), 4)
    paint(lab, soft)
    assert (len(computed), encoded) == (1, [])
    assert torch.equal(lab.mask, in_bytes(soft))
    styles = begins("mask", model)["style"]
    assert torch.equal(lab.image, by_hand(model, photo(), style=styles, mask=two(in_bytes(soft))))


def test_without_a_style_around_a_clear_mask_leaves_the_photo_itself(
    make_lab: Make, computed: list[Params], encoded: list[Any]
) -> None:
    lab = make_lab("mask", around=None, alpha=0.8)
    assert (lab.covers.value, len(lab.params.style), len(lab.params.mask)) == (False, 1, 1)
    computed.clear()
    encoded.clear()
    tool(lab, "clear").click()
    assert torch.equal(lab.image, photo())
    assert (len(computed), encoded) == (1, [])
    turn(lab, match="transport", keep_color="luminance")
    assert torch.equal(lab.image, photo())


def test_where_no_style_is_the_photo_stays(make_lab: Make) -> None:
    lab = make_lab("mask", around=None)
    paint(lab, left())
    assert torch.equal(lab.image[..., 36:], photo()[..., 36:])
    assert (lab.image[..., :36] - photo()[..., :36]).abs().mean() > 0.01


def test_invert_changes_the_styles_sides(
    make_lab: Make, model: AdaIN, computed: list[Params]
) -> None:
    lab = make_lab("mask")
    before, levels = lab.image, torch.frombuffer(bytearray(lab.brush.values), dtype=torch.uint8)
    computed.clear()
    tool(lab, "invert").click()
    assert torch.equal(lab.mask, (255 - levels).view(1, 1, SIZE, 72).float() / 255)
    styles = begins("mask", model)["style"]
    assert torch.equal(lab.image, by_hand(model, photo(), style=styles, mask=two(lab.mask)))
    tool(lab, "invert").click()
    assert torch.equal(lab.image, before)
    assert len(computed) == 2


def test_the_box_takes_the_style_around_away_and_brings_it_back(
    make_lab: Make, model: AdaIN, computed: list[Params], encoded: list[Any]
) -> None:
    lab = make_lab("mask")
    before = lab.image
    computed.clear()
    encoded.clear()
    lab.covers.value = False
    alone = lab.image
    assert lab.named()["style"] == ["the notebook's painting", "the photo itself"]
    lab.covers.value = True
    assert torch.equal(lab.image, before)
    assert lab.named()["style"] == ["the notebook's painting", "woodblock"]
    assert (len(computed), encoded) == (2, [])
    mask = in_bytes(disc(photo()))
    assert torch.equal(alone, by_hand(model, photo(), style=looks()[:1], mask=mask))


def test_a_style_around_that_was_not_wanted_is_encoded_when_it_is(
    make_lab: Make, encoded: list[Any]
) -> None:
    lab = make_lab("mask", around=None)
    encoded.clear()
    lab.covers.value = True
    assert len(encoded) == 1
    assert len(lab.params.style) == 2


@pytest.mark.parametrize("side", ["style", "around"])
def test_another_style_costs_one_pass_of_the_encoder(
    side: str, make_lab: Make, model: AdaIN, computed: list[Params], encoded: list[Any]
) -> None:
    lab = make_lab("mask")
    computed.clear()
    encoded.clear()
    getattr(lab, side).menu.value = "mosaic"
    assert (len(encoded), len(computed)) == (1, 1)
    asked = begins("mask", model)
    asked["style"][side == "around"] = at_size(images.style("mosaic"), STYLE_SIZE)
    assert torch.equal(lab.image, by_hand(model, photo(), **asked))


def test_a_style_that_cannot_be_read_is_a_sentence_beside_its_menu(make_lab: Make) -> None:
    lab = make_lab("mask")
    kept = is_kept(lab)
    for picker in (lab.style, lab.around):
        upload(picker, "notes.jpg", b"no picture")
        assert "notes.jpg" in picker.message.value
    assert kept()


def test_a_mask_of_another_size_is_where_it_begins(make_lab: Make) -> None:
    lab = make_lab("mask", mask=left(24, 36))
    wanted = in_bytes(resize(left(24, 36), (SIZE, 72)))
    assert torch.equal(lab.mask, wanted)
    assert torch.equal(lab.params.mask, two(wanted))


def test_another_photo_begins_with_a_disc(make_lab: Make) -> None:
    lab = make_lab("mask", mask=left())
    upload(lab.photo, "tall.png", to_png_bytes(picture(60, 44)))
    assert lab.brush.size == (60, 44)
    assert torch.equal(lab.mask, in_bytes(disc(torch.zeros(1, 3, 60, 44))))
    assert torch.equal(lab.params.mask, two(lab.mask))


def test_the_brush_does_as_its_tools_say(make_lab: Make, computed: list[Params]) -> None:
    lab = make_lab("mask")
    computed.clear()
    lab.radius.value, lab.erase.value, lab.tool.value = 0.3, True, "rectangle"
    assert (lab.brush.radius, lab.brush.erase, lab.brush.mode) == (0.3, True, "rectangle")
    lab.brush.set_state({"radius": 0.2, "erase": False, "mode": "brush"})
    assert (lab.radius.value, lab.erase.value, lab.tool.value) == (0.2, False, "brush")
    assert computed == []


def test_a_rectangle_cuts_a_thing_out(
    make_lab: Make,
    model: AdaIN,
    computed: list[Params],
    encoded: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Tensor, Any]] = []

    def cut(image: Tensor, rectangle: Any) -> Tensor:
        asked.append((image, rectangle))
        return left()

    monkeypatch.setattr(masks, "foreground", cut)
    lab = make_lab("mask")
    lab.tool.value = "rectangle"
    computed.clear()
    encoded.clear()
    lab.brush.set_state({"rectangle": [0.1, 0.2, 0.8, 0.9]})
    ((image, rectangle),) = asked
    assert torch.equal(image, photo())
    assert rectangle == (0.1, 0.2, 0.8, 0.9)
    assert (lab.tool.value, lab.brush.mode, lab.message.value) == ("brush", "brush", "")
    assert (len(computed), encoded) == (1, [])
    styles = begins("mask", model)["style"]
    assert torch.equal(lab.image, by_hand(model, photo(), style=styles, mask=two(left())))


def test_a_cut_that_fails_is_a_sentence_and_mask_and_picture_stay(
    make_lab: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab("mask")
    lab.tool.value = "rectangle"
    kept, mask = is_kept(lab), lab.brush.values
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "cv2", None)  # as where it is not installed
        lab.brush.set_state({"rectangle": [0.1, 0.2, 0.8, 0.9]})
    assert is_told(lab, "Foreground needs OpenCV", "nstlib[video]")

    def nothing(*_: Any) -> Tensor:
        raise ValueError("nothing stands out")

    monkeypatch.setattr(masks, "foreground", nothing)
    lab.brush.set_state({"rectangle": [0.2, 0.2, 0.8, 0.9]})
    assert is_told(lab, "Nothing stands out.")
    assert kept()
    assert (lab.brush.values, lab.tool.value) == (mask, "rectangle")
    paint(lab, left())
    assert lab.message.value == ""


def test_the_style_around_can_be_a_picture(make_lab: Make, model: AdaIN) -> None:
    lab = make_lab("mask", around=PAINTINGS["blue"])
    mask = two(in_bytes(disc(photo())))
    assert torch.equal(lab.image, by_hand(model, photo(), style=looks()[:2], mask=mask))


# ------------------------------------------------------------------------------------------- save

OWN = picture(96, 111, seed=9)  # which is shown at half its size


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stroke_size", [1.0, 0.7, 1.4])
def test_save_paints_all_pixels_with_strokes_as_much_larger(
    kind: str, stroke_size: float, make_lab: Make, model: AdaIN
) -> None:
    lab = make_lab(kind, content=OWN, alpha=0.9, stroke_size=stroke_size)
    shown, told = lab.image, values_of(lab.message)
    lab.save_button.click()
    (path,) = lab._folder.iterdir()
    assert path.name == f"the notebook's photo-{lab.name}-1.png"
    asked = begins(kind, model)
    if kind == "mask":
        asked["mask"] = resize(two(in_bytes(disc(resize(OWN, SIZE)))), (96, 111))
    wanted = by_hand(model, OWN, alpha=0.9, stroke_size=2 * stroke_size, **asked)
    assert (to_uint8(load_image(path)) == to_uint8(wanted)).all()
    assert shown.shape == (1, 3, 48, 56)
    assert lab.image is shown
    assert len(told) == 2
    assert "Painting 111 × 96 px" in told[0]
    assert "Saved, 111 × 96 px" in told[1]
    assert path.name.replace("'", "&#x27;") in told[1]
    assert not lab.save_button.disabled


WHO = {
    "mix": {"style": list(PAINTINGS), "weights": [1.0] * 4},
    "corners": {"style": list(PAINTINGS), "weights": corner_weights(*POINT).tolist()},
    "map": {"style": list(PAINTINGS)},
    "mask": {"style": ["the notebook's painting", "woodblock"]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_says_what_was_painted(kind: str, make_lab: Make) -> None:
    turned = {"alpha": 0.45, "keep_color": "luminance", "match": "transport"}
    lab = make_lab(kind, content=OWN, stroke_size=0.7, **turned)
    recipe = read_recipe(lab.save())
    wanted = {"method": "adain", "content": "the notebook's photo", "size": 96, **WHO[kind]}
    wanted |= {"stroke_size": 1.4, **turned}
    assert {name: recipe[name] for name in wanted} == wanted
    if kind == "mask":
        assert recipe["share"] == pytest.approx(lab.mask.mean().item(), abs=1e-4)


def test_a_recipe_can_be_painted_again(
    make_lab: Make, model: AdaIN, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "sample", {"coffee": photo("coffee", 96)}.__getitem__)
    lab = make_lab("mix", styles=["vortex", "mosaic"], weights={"vortex": 1, "mosaic": 0.5})
    path = lab.save()
    recipe = read_recipe(path)
    content = resize(images.sample(recipe["content"]), recipe["size"])
    styles = [at_size(images.style(name), STYLE_SIZE) for name in recipe["style"]]
    again = by_hand(
        model,
        content,
        style=styles,
        **{name: recipe[name] for name in ("weights", "alpha", "match", "stroke_size")},
    )
    assert path.name == "coffee-mix-1.png"
    assert (load_image(path) - again).abs().max() < 1.5 / 255  # the weights are divided once more


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_names_the_model_and_how_large_styles_were_looked_at(
    kind: str, make_lab: Make
) -> None:
    recipe = read_recipe(make_lab(kind, content=OWN).save())
    assert recipe["style_size"] == STYLE_SIZE
    assert recipe["model"] == "the notebook's model"


def test_a_picture_saved_never_takes_the_place_of_another(make_lab: Make) -> None:
    lab = make_lab("mix", content=OWN)
    names = [lab.save().name for _ in range(3)]
    assert names == [f"the notebook's photo-mix-{number}.png" for number in (1, 2, 3)]
    assert len(list(lab._folder.iterdir())) == 3


def test_what_is_shown_at_all_its_pixels_is_saved_as_it_is(
    make_lab: Make, encoded: list[Any]
) -> None:
    lab = make_lab("mix", content=picture(40, 50))
    told = values_of(lab.message)
    encoded.clear()
    saved = load_image(lab.save())
    assert (to_uint8(saved) == to_uint8(lab.image)).all()
    assert (encoded, len(told)) == ([], 1)


def test_save_without_a_place_or_memory_is_a_sentence(
    make_lab: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    lab = make_lab("mix", content=OWN, folder=tmp_path / "file" / "out")
    assert lab.save() is None
    assert is_told(lab)

    def full(*_: Any, **__: Any) -> Tensor:
        raise MemoryError("the photo is too large")

    monkeypatch.setattr(AdaIN, "stylize", full)
    assert lab.save() is None
    assert is_told(lab, "The photo is too large.")
    assert not lab.save_button.disabled


def test_what_is_shown_is_saved_though_no_style_is_left(make_lab: Make) -> None:
    lab = make_lab("mix", weights={"red": 1}, content=picture(40, 50))
    lab.mixer.sliders["red"].value = 0
    path = lab.save()
    assert (to_uint8(load_image(path)) == to_uint8(lab.image)).all()
    assert read_recipe(path)["style"] == ["red"]


@pytest.mark.parametrize("kind", LABS)
def test_what_is_shown_is_saved_though_another_photo_was_chosen(kind: str, make_lab: Make) -> None:
    """That one is too small for its strokes, so that it is not shown."""
    lab = make_lab(kind, content=OWN, stroke_size=1.4)
    upload(lab.photo, "tiny.png", to_png_bytes(picture(40, 50)))
    assert lab.message.value
    path = lab.save()
    assert load_image(path).shape == OWN.shape
    assert read_recipe(path)["content"] == "the notebook's photo"


def test_a_large_photo_is_saved_with_any_strokes_that_can_be_shown(make_lab: Make) -> None:
    """One of 640 px shown at 32 px is enlarged as one of 24 megapixels is on a page, and more."""
    lab = make_lab("mix", content=picture(640, 640), size=32, weights={"red": 1})
    assert lab.save() is not None
