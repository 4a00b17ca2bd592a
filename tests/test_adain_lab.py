"""The AdaIN lab encodes a picture once and decodes at each move; the browser shows what was recorded.

The model here is random: its decoder's last layer is so strong that no two styles, and no two
alphas, give the same picture.
"""

from __future__ import annotations

import dataclasses
import io
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from nstlib import adain, images, widgets
from nstlib.adain import AdaIN, Content, Decoder, load_adain
from nstlib.encoders import Encoder, random_encoder
from nstlib.errors import ImageError, WeightsError
from nstlib.images import load_image, read_recipe, save_image, to_uint8
from nstlib.weights import save_weights
from nstlib.widgets import AdaINLab, SampleBrowser, adain_lab, browser, display, nets
from nstlib.widgets.adain_lab import Params, compute, cost, size_choices
from nstlib.widgets.display import preview
from nstlib.widgets.pictures import caption

STYLE_SIZE = 24


@pytest.fixture(scope="module")
def model() -> AdaIN:
    encoder = random_encoder("slim")
    torch.manual_seed(0)
    decoder = Decoder.of(encoder)
    decoder.requires_grad_(False).convs["conv1_1"].get_parameter("weight").mul_(50)
    return AdaIN(encoder, decoder).eval()


@pytest.fixture
def make_lab(
    model: AdaIN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., AdaINLab]:
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(widgets.pictures, "data_dir", lambda: tmp_path)

    def make(**changes: Any) -> AdaINLab:
        options = {"model": model, "content": "coffee", "size": 24, "style_size": STYLE_SIZE}
        return AdaINLab(**{**options, "folder": tmp_path / "out", **changes})

    return make


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a model was made to do, in order: "encode" or "decode"."""
    done: list[str] = []

    def counted(kind: type[torch.nn.Module], name: str) -> None:
        forward = kind.forward

        def count(*arguments: Any) -> Any:
            done.append(name)
            return forward(*arguments)

        monkeypatch.setattr(kind, "forward", count)

    counted(Encoder, "encode")
    counted(Decoder, "decode")
    return done


def photo(name: str = "coffee", size: int = 24) -> Tensor:
    return images.resize(images.sample(name), size)


def painting(name: str = "vortex") -> Tensor:
    return images.resize(images.style(name), STYLE_SIZE)


def looks_like(widget: Any, image: Tensor) -> bool:
    """Whether a widget shows an image, but for what a JPEG loses of it."""
    wanted = np.asarray(Image.open(io.BytesIO(images.to_jpeg_bytes(image)))).astype(float)
    shown = np.asarray(Image.open(io.BytesIO(widget.value))).astype(float)
    return shown.shape == wanted.shape and bool(np.abs(shown - wanted).max() <= 1)


def in_bytes(image: Tensor) -> Tensor:
    """An image as a file with 8 bits a channel gives it back."""
    return load_image(images.to_png_bytes(image))


def upload(picker: widgets.PicturePicker, name: str, content: bytes) -> None:
    """Do what the page does when a file was chosen."""
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    picker.upload.value = ({**file, "last_modified": datetime.now()},)


def values_of(widget: Any) -> list[Any]:
    """Return a list that grows by each value that the widget is given from now on."""
    seen: list[Any] = []
    widget.observe(lambda change: seen.append(change["new"]), names="value")
    return seen


def alpha(lab: AdaINLab) -> Any:
    return lab.controls["alpha"].view


def size(lab: AdaINLab) -> Any:
    return lab.controls["size"].view


def equal(found: Tensor, wanted: Tensor) -> bool:
    return torch.equal(found, wanted)


# --------------------------------------------------------------------------------------- creation


def test_a_new_lab_shows_photo_style_and_result(
    make_lab: Callable[..., AdaINLab], model: AdaIN, capfd: pytest.CaptureFixture[str]
) -> None:
    lab = make_lab(alpha=0.7)
    wanted = model.stylize(photo(), painting(), alpha=0.7)
    assert equal(lab.image, wanted)
    assert looks_like(lab.photo_shown.widget, photo())
    assert looks_like(lab.style_shown.widget, painting())
    assert looks_like(lab.picture_shown.widget, wanted)
    assert cost(lab.shown) in lab.status.value
    assert "36 × 24 px in " in caption(lab.shown.result)
    assert (lab.alpha, alpha(lab).value, lab.message.value) == (0.7, 0.7, "")
    assert capfd.readouterr() == ("", "")


def test_a_cell_shows_it(make_lab: Callable[..., AdaINLab]) -> None:
    assert "application/vnd.jupyter.widget-view+json" in make_lab()._repr_mimebundle_()


def test_it_begins_with_the_model_that_ships(
    make_lab: Callable[..., AdaINLab], model: AdaIN, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def load(source: str) -> AdaIN:
        asked.append(source)
        return model

    monkeypatch.setattr(nets, "load_adain", load)
    lab = make_lab(model=None)
    assert (lab.model, asked) == (model, ["adain"])


def test_a_model_can_be_a_file(make_lab: Callable[..., AdaINLab], tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    decoder = Decoder.of(random_encoder("slim"), tap="relu1_1")
    save_weights(decoder.state_dict(), path, {"shape": dataclasses.asdict(decoder.shape)})
    lab = make_lab(model=path)
    assert equal(lab.image, load_adain(path).stylize(photo(), painting()))
    saved = lab.save()
    assert saved is not None
    assert read_recipe(saved)["model"] == "mine.safetensors"


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"alpha": 1.1}, ValueError, "alpha is 1.1"),
        ({"alpha": "much"}, TypeError, "alpha is 'much'"),
        ({"size": 0}, ValueError, "^size is 0"),
        ({"style_size": 24.5}, TypeError, "^style_size is 24.5"),
        ({"model": "nowhere.safetensors"}, WeightsError, "nowhere"),
        ({"content": "nowhere.jpg"}, ImageError, "nowhere"),
        ({"style": "cubist.jpg"}, ImageError, "cubist"),
    ],
)
def test_what_the_lab_cannot_begin_with_is_named(
    make_lab: Callable[..., AdaINLab], changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        make_lab(**changes)


def test_controls_are_told_in_words(make_lab: Callable[..., AdaINLab]) -> None:
    lab = make_lab()
    slider = alpha(lab)
    assert (slider.min, slider.max, slider.step, slider.readout) == (0, 1, 0.05, True)
    assert (slider.description, slider.tooltip) == ("Alpha", "how much of the style")
    assert (lab.content.menu.description, lab.style.menu.description) == ("Photo", "Style")
    assert set(images.style_names()) <= set(lab.style.menu.options)
    views = {"adain-lab": lab.view, "alpha": slider, "size": size(lab), "save": lab.save_button}
    views |= {"picture": lab.picture_shown.widget, "status": lab.status, "message": lab.message}
    for name, view in views.items():
        assert f"nst-{name}" in view._dom_classes


# ------------------------------------------------------------------------------------------ moves


def test_a_move_of_alpha_costs_one_decode_only(
    make_lab: Callable[..., AdaINLab],
    model: AdaIN,
    work: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = make_lab()
    assert work == ["encode", "encode", "decode"] * 2  # a first pass that loads what torch needs

    def refuse(*_: Any) -> None:
        raise AssertionError("a picture was prepared again")

    drawn: list[Tensor] = []

    def noted(image: Tensor) -> bytes:
        drawn.append(image)
        return preview(image)

    monkeypatch.setattr(display, "preview", noted)
    for name in ("resize", "sample", "style", "load_image"):
        monkeypatch.setattr(images, name, refuse)
    work.clear()
    alpha(lab).value = 0.35
    alpha(lab).value = 0.0
    assert work == ["decode"] * 2
    monkeypatch.undo()
    assert equal(lab.image, model.stylize(photo(), painting(), alpha=0.0))
    assert (lab.image - model.stylize(photo(), painting(), alpha=1.0)).abs().mean() > 0.05
    assert looks_like(lab.picture_shown.widget, lab.image)
    assert len(drawn) == 2
    assert equal(drawn[-1], lab.image)


def choose_photo(lab: AdaINLab) -> None:
    lab.content.menu.value = "chelsea"


def choose_style(lab: AdaINLab) -> None:
    lab.style.menu.value = "mosaic"


def choose_size(lab: AdaINLab) -> None:
    size(lab).value = 128


@pytest.mark.parametrize(
    ("move", "wanted"),
    [
        (choose_photo, ("chelsea", 24, "vortex")),
        (choose_style, ("coffee", 24, "mosaic")),
        (choose_size, ("coffee", 128, "vortex")),
    ],
)
def test_only_what_is_chosen_is_encoded_and_the_picture_follows(
    make_lab: Callable[..., AdaINLab],
    model: AdaIN,
    work: list[str],
    move: Callable[[AdaINLab], None],
    wanted: tuple[str, int, str],
) -> None:
    lab = make_lab(alpha=0.6)
    work.clear()
    move(lab)
    assert work == ["encode", "decode"]
    name, side, style = wanted
    assert equal(lab.image, model.stylize(photo(name, side), painting(style), alpha=0.6))
    assert looks_like(lab.picture_shown.widget, lab.image)
    assert looks_like(lab.photo_shown.widget, photo(name, side))
    assert looks_like(lab.style_shown.widget, painting(style))
    assert caption(lab.shown.result) in lab.status.value


def test_pictures_are_as_wide_as_their_aspects_so_that_they_are_of_one_height(
    make_lab: Callable[..., AdaINLab],
) -> None:
    lab = make_lab(style=torch.rand(1, 3, 60, 20))
    panels = (lab.photo_shown, lab.style_shown, lab.picture_shown)
    assert [panel.view.layout.flex for panel in panels] == [
        "1.5000 1 0",
        "0.3333 1 0",
        "1.5000 1 0",
    ]
    upload(lab.content, "tall.png", images.to_png_bytes(torch.rand(1, 3, 30, 20)))
    assert [panel.view.layout.flex for panel in panels] == [
        "0.6667 1 0",
        "0.3333 1 0",
        "0.6667 1 0",
    ]


@pytest.mark.parametrize(("seconds", "is_live"), [(0.02, True), (0.2, False)])
def test_the_slider_is_live_only_where_pictures_are_quick(
    make_lab: Callable[..., AdaINLab],
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    is_live: bool,
) -> None:
    def timed(params: Params) -> Any:
        return dataclasses.replace(compute(params), seconds=seconds)

    monkeypatch.setattr(adain_lab, "compute", timed)
    assert alpha(make_lab()).continuous_update is is_live


# ------------------------------------------------------------------------------------------- size


def test_sizes_go_up_to_the_photos_own(make_lab: Callable[..., AdaINLab], model: AdaIN) -> None:
    small = torch.rand(1, 3, 140, 150)
    lab = make_lab(content=small, size=384)
    assert list(size(lab)._options_labels) == ["128 px", "all its 140 px"]
    assert size(lab).value == 140
    assert equal(lab.image, model.stylize(small, painting()))


def test_another_photo_has_other_sizes_and_the_one_chosen_comes_back(
    make_lab: Callable[..., AdaINLab], work: list[str]
) -> None:
    lab = make_lab()
    size(lab).value = 128
    work.clear()
    upload(lab.content, "tiny.png", images.to_png_bytes(torch.rand(1, 3, 20, 30)))
    assert (dict(size(lab).options), lab.image.shape[2:]) == ({"all its 20 px": 20}, (20, 30))
    lab.content.menu.value = "coffee"
    assert (size(lab).value, min(lab.image.shape[2:])) == (128, 128)
    assert work == ["encode", "decode"] * 2


def test_a_size_that_the_menu_lacks_joins_it() -> None:
    assert list(size_choices(torch.rand(1, 3, 200, 260), 150).values()) == [128, 150, 192, 200]
    assert list(size_choices(torch.rand(1, 3, 200, 260), 128).values()) == [128, 192, 200]
    assert list(size_choices(torch.rand(1, 3, 20, 26), 384).values()) == [20]


def test_a_style_is_never_enlarged(make_lab: Callable[..., AdaINLab], model: AdaIN) -> None:
    own = torch.rand(1, 3, 15, 20)
    assert equal(make_lab(style=own).image, model.stylize(photo(), own))


# ----------------------------------------------------------------------------------- what goes wrong


def test_an_upload_is_painted_and_a_bad_one_is_a_sentence(
    make_lab: Callable[..., AdaINLab], model: AdaIN
) -> None:
    lab = make_lab()
    before = lab.image
    for picker in (lab.content, lab.style):
        upload(picker, "notes.jpg", b"no picture")
        assert "notes.jpg" in picker.message.value
        assert picker.message.value.count('role="alert"') == 1
        assert lab.image is before
    content, style = torch.rand(1, 3, 24, 40), torch.rand(1, 3, 24, 32)
    upload(lab.content, "holiday.png", images.to_png_bytes(content))
    upload(lab.style, "painted.png", images.to_png_bytes(style))
    assert (lab.content.message.value, lab.style.message.value) == ("", "")
    assert equal(lab.image, model.stylize(in_bytes(content), in_bytes(style)))


def test_what_does_not_fit_is_one_sentence_and_the_picture_stays(
    make_lab: Callable[..., AdaINLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab()
    before = (lab.shown, lab.picture_shown.widget.value, lab.status.value)

    def full(*_: Any) -> Content:
        raise MemoryError("the photo is too large")

    with monkeypatch.context() as patch:
        patch.setattr(AdaIN, "content", full)
        lab.content.menu.value = "chelsea"
        assert "The photo is too large." in lab.message.value
        assert (lab.shown, lab.picture_shown.widget.value, lab.status.value) == before
    saved = lab.save()  # what is shown is what is saved
    assert saved is not None
    assert read_recipe(saved)["content"] == "coffee"
    alpha(lab).value = 0.5  # there is room again
    assert lab.message.value == ""
    assert lab.shown.photo.name == "chelsea"


def test_a_defect_is_not_hidden(
    make_lab: Callable[..., AdaINLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab()

    def broken(_: Params) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(adain_lab, "compute", broken)
    with pytest.raises(KeyError):
        alpha(lab).value = 0.5


# ------------------------------------------------------------------------------------------- save


def test_save_paints_all_pixels_whatever_is_shown(
    make_lab: Callable[..., AdaINLab], model: AdaIN
) -> None:
    own = torch.rand(1, 3, 50, 61)
    lab = make_lab(content=own, alpha=0.8)
    told = values_of(lab.message)
    lab.save_button.click()
    (path,) = lab._folder.iterdir()
    assert path.name == "the notebook's photo-vortex-1.png"
    wanted = model.stylize(own, painting(), alpha=0.8)
    assert (to_uint8(load_image(path)) == to_uint8(wanted)).all()
    assert tuple(lab.image.shape) == (1, 3, 24, 29)
    assert len(told) == 2
    assert "Painting 61 × 50 px, about " in told[0]
    assert "Saved, 61 × 50 px" in told[1]
    assert path.name.replace("'", "&#x27;") in told[1]
    assert not lab.save_button.disabled


def test_a_recipe_can_be_painted_again(
    make_lab: Callable[..., AdaINLab], model: AdaIN, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"coffee": photo("coffee", 40)}
    monkeypatch.setattr(images, "sample", small.__getitem__)
    lab = make_lab(style="mosaic")
    alpha(lab).value = 0.45
    path = lab.save()
    assert path is not None
    assert path.name == "coffee-mosaic-1.png"
    recipe = read_recipe(path)
    del recipe["version"]
    assert recipe == {
        "method": "adain",
        "content": "coffee",
        "size": 40,
        "style": "mosaic",
        "style_size": STYLE_SIZE,
        "alpha": 0.45,
        "model": "the notebook's model",
    }
    content = images.resize(images.sample(recipe["content"]), recipe["size"])
    style = images.resize(images.style(recipe["style"]), recipe["style_size"])
    again = model.stylize(content, style, alpha=recipe["alpha"])
    assert (to_uint8(load_image(path)) == to_uint8(again)).all()


def test_what_is_shown_at_all_pixels_is_saved_as_it_is(
    make_lab: Callable[..., AdaINLab], work: list[str]
) -> None:
    lab = make_lab(content=torch.rand(1, 3, 20, 30))
    work.clear()
    path = lab.save()
    assert path is not None
    assert work == []
    assert (to_uint8(load_image(path)) == to_uint8(lab.image)).all()


def test_a_large_photo_is_painted_in_tiles(
    make_lab: Callable[..., AdaINLab],
    model: AdaIN,
    work: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = torch.rand(1, 3, 90, 130)
    whole = model.stylize(own, painting(), alpha=0.5)
    monkeypatch.setattr(adain, "TILE", 64)
    monkeypatch.setattr(adain, "LARGEST_WHOLE", 90 * 130 - 1)
    assert isinstance(model.content_or_photo(own), Tensor)
    assert isinstance(model.content_or_photo(own[:, :, 1:]), Content)
    lab = make_lab(content=own, alpha=0.5)
    work.clear()
    path = lab.save()
    assert path is not None
    assert work.count("decode") == 2 * 3
    saved = load_image(path)
    assert (saved - whole).abs().max() < 1.5 / 255
    size(lab).value = 90  # as large a picture can be shown, too
    assert isinstance(lab.shown.photo.kept, Tensor)
    torch.testing.assert_close(lab.image, whole, rtol=0, atol=1e-3)


def test_save_without_a_place_is_one_sentence(
    make_lab: Callable[..., AdaINLab], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    lab = make_lab(folder=tmp_path / "file" / "out", content=torch.rand(1, 3, 20, 30))
    assert lab.save() is None
    assert lab.message.value.count('role="alert"') == 1


def test_save_without_memory_is_one_sentence(
    make_lab: Callable[..., AdaINLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab(content=torch.rand(1, 3, 50, 61))

    def full(*_: Any, **__: Any) -> Tensor:
        raise MemoryError("the photo is too large")

    monkeypatch.setattr(AdaIN, "stylize", full)
    assert lab.save() is None
    assert "The photo is too large." in lab.message.value
    assert not lab.save_button.disabled


# ---------------------------------------------------------------------------- the functions beneath


def test_compute_is_a_plain_pass_and_alters_nothing(model: AdaIN) -> None:
    params = Params(model.content(photo()), model.style(painting()), model, 0.5)
    kept = {tap: maps.clone() for tap, maps in params.content.maps.items()}  # type: ignore[union-attr]
    first, second = compute(params), compute(params)
    assert equal(first.image, second.image)
    assert equal(first.image, model.stylize(photo(), painting(), alpha=0.5))
    assert all(equal(params.content.maps[tap], maps) for tap, maps in kept.items())  # type: ignore[union-attr]
    assert 0 < first.seconds < 60


def test_the_cost_tells_what_was_paid_once(make_lab: Callable[..., AdaINLab]) -> None:
    shown = make_lab().shown
    shown = dataclasses.replace(
        shown,
        photo=dataclasses.replace(shown.photo, seconds=0.055),
        painting=dataclasses.replace(shown.painting, seconds=1.24),
        result=dataclasses.replace(shown.result, seconds=0.1, place="cuda"),
    )
    assert cost(shown) == (
        "36 × 24 px in 100 ms on cuda<br>Encoded once and kept: photo 55 ms, style 1.2 s"
    )


# ---------------------------------------------------------------------------------------- browser

STEPS = [0, 500, 12_000]


def sheets(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(1, 3, 20, 32, generator=generator) for _ in STEPS]


def test_a_browser_shows_the_first_sheet_and_follows_its_slider() -> None:
    recorded = sheets()
    shown = SampleBrowser(recorded, STEPS, caption="Photos & results")
    assert looks_like(shown.picture, recorded[0])
    assert "Photos &amp; results · training step 0<" in shown.status.value
    shown.slider.index = 2
    assert equal(shown.image, recorded[2])
    assert looks_like(shown.picture, recorded[2])
    assert (shown.label, shown.slider.label) == ("12,000", "12,000")
    assert "training step 12,000<" in shown.status.value
    assert shown.menu is None
    assert "application/vnd.jupyter.widget-view+json" in shown._repr_mimebundle_()


def test_play_goes_through_all_steps() -> None:
    shown = SampleBrowser(sheets(), STEPS)
    assert (shown.play.min, shown.play.max) == (0, 2)
    for index, sheet in enumerate(sheets()):
        shown.play.value = index  # as the page does, time and again
        assert shown.slider.index == index
        assert looks_like(shown.picture, sheet)
    shown.slider.index = 1
    assert shown.play.value == 1  # it goes on from where the user is


def test_another_run_is_shown_at_the_same_step() -> None:
    runs = {f"style weight {weight}": sheets(weight) for weight in (1, 10, 100)}
    shown = SampleBrowser(runs, STEPS)
    assert shown.menu is not None
    assert shown.menu.options == tuple(runs)
    shown.slider.index = 1
    shown.menu.value = "style weight 100"
    assert (shown.run, shown.label) == ("style weight 100", "500")
    assert equal(shown.image, sheets(100)[1])
    assert looks_like(shown.picture, sheets(100)[1])
    assert "style weight 100 · training step 500<" in shown.status.value


def test_files_are_shown_as_tensors_are(tmp_path: Path) -> None:
    paths = [save_image(sheet, tmp_path / f"{i}.png") for i, sheet in enumerate(sheets())]
    shown = SampleBrowser([str(paths[0]), *paths[1:]], ["first", "second", "third"])
    for index, sheet in enumerate(sheets()):
        shown.slider.index = index
        assert (to_uint8(shown.image) == to_uint8(sheet)).all()
    assert shown.label == "third"


def test_a_damaged_sheet_is_one_sentence_and_the_picture_stays(tmp_path: Path) -> None:
    bad = tmp_path / "samples-500.png"
    bad.write_text("no picture")
    recorded = sheets()
    shown = SampleBrowser([recorded[0], bad, recorded[2]], STEPS)
    shown.slider.index = 1
    assert "samples-500.png" in shown.message.value
    assert shown.message.value.count('role="alert"') == 1
    assert equal(shown.image, recorded[0])
    assert "training step 0<" in shown.status.value
    shown.slider.index = 2
    assert (shown.message.value, equal(shown.image, recorded[2])) == ("", True)


@pytest.mark.parametrize(
    ("pictures", "labels", "error", "words"),
    [
        ([], [], ValueError, "empty"),
        ({}, STEPS, ValueError, "empty"),
        (sheets(), STEPS[:2], ValueError, "3 pictures and 2 labels"),
        ({"a": sheets(), "b": sheets()[:1]}, STEPS, ValueError, "1 pictures of 'b' and 3 labels"),
        (sheets(), [0, 500, 500], ValueError, "'500' twice"),
        ([*sheets()[:2], "nowhere.png"], STEPS, ImageError, "'nowhere.png'"),
    ],
)
def test_what_a_browser_cannot_show_is_named(
    pictures: Any, labels: list[int], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        SampleBrowser(pictures, labels)


def test_a_large_sheet_is_drawn_smaller() -> None:
    drawn = Image.open(io.BytesIO(browser.draw(torch.rand(1, 3, 500, 2048))))
    assert drawn.size == (1024, 250)


def test_answers_that_wait_for_each_other_show_where_the_controls_stand(
    make_lab: Callable[..., AdaINLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is held up; meanwhile alpha moves on, and the last word is the last's."""
    lab = make_lab()
    alpha, began, go_on = lab.controls["alpha"].view, threading.Event(), threading.Event()

    def held(params: Params) -> Any:
        if params.alpha == 0.5:
            began.set()
            assert go_on.wait(30)
        return compute(params)

    monkeypatch.setattr(adain_lab, "compute", held)
    threads = [
        threading.Thread(target=setattr, args=(alpha, "value", value)) for value in (0.5, 0.25)
    ]
    threads[0].start()
    assert began.wait(30)
    threads[1].start()
    threads[1].join(1)  # without a lock it is done by now
    go_on.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert lab.alpha == alpha.value == 0.25
    assert lab.picture_shown.widget.value == preview(lab.image)
