"""The lab of fast nets paints what its controls say, a pass a move; errors are sentences.

Its nets here are tiny and untrained: their tables are random, so that no two styles, and no two
places of the dial, give the same picture.
"""

from __future__ import annotations

import dataclasses
import io
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from nstlib import images, widgets
from nstlib.errors import ImageError, WeightsError
from nstlib.images import load_image, read_recipe, to_uint8
from nstlib.transform_net import TransformNet, load_net
from nstlib.weights import save_weights
from nstlib.widgets import FastLab, StyleMixer, fast_lab
from nstlib.widgets.fast_lab import Params, Result, caption, compute, draw

STYLES = ("vortex", "mosaic", "gilded")
DIAL = (1.0, 10.0, 100.0)


def make_net(seed: int = 0, **fields: Any) -> TransformNet:
    """A tiny net with random tables."""
    torch.manual_seed(seed)
    net = TransformNet(**{"width": 0.25, "blocks": 1, "styles": STYLES, "dial": DIAL, **fields})
    for norm in (part for part in net.modules() if hasattr(part, "norm")):
        if isinstance(norm.bias, torch.Tensor):
            torch.nn.init.normal_(norm.bias)
    return net.requires_grad_(False).eval()


def save(net: TransformNet, path: Path) -> Path:
    save_weights(net.state_dict(), path, {"shape": dataclasses.asdict(net.shape)})
    return path


@pytest.fixture
def net() -> TransformNet:
    return make_net()


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own folder, empty."""
    (tmp_path / "data" / "mine").mkdir(parents=True)
    monkeypatch.setattr(widgets.nets, "data_dir", lambda: tmp_path / "data")
    return tmp_path / "data" / "mine"


@pytest.fixture
def make_lab(net: TransformNet, mine: Path, tmp_path: Path) -> Callable[..., FastLab]:
    def make(**changes: Any) -> FastLab:
        options = {"content": "coffee", "net": net, "size": 24, "folder": tmp_path / "out"}
        return FastLab(**{**options, **changes})

    return make


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The sizes of the pictures that went through a net, in order."""
    seen: list[tuple[int, ...]] = []
    forward = TransformNet.forward

    def counted(net: TransformNet, image: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(tuple(image.shape[2:]))
        return forward(net, image, *rest)

    monkeypatch.setattr(TransformNet, "forward", counted)
    return seen


def photo(size: int = 24) -> torch.Tensor:
    return images.resize(images.sample("coffee"), size)


def decoded(widget: Any) -> np.ndarray:
    """What an image widget shows, (H, W, 3)."""
    return np.asarray(Image.open(io.BytesIO(widget.value))).astype(float)


def looks_like(widget: Any, image: torch.Tensor) -> bool:
    """Whether a widget shows an image, but for what a JPEG loses of it."""
    wanted = np.asarray(Image.open(io.BytesIO(images.to_jpeg_bytes(image)))).astype(float)
    shown = decoded(widget)
    return shown.shape == wanted.shape and bool(np.abs(shown - wanted).max() <= 1)


def upload(picker: widgets.PicturePicker, name: str, content: bytes) -> None:
    """Do what the page does when a file was chosen."""
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    picker.upload.value = ({**file, "last_modified": datetime.now()},)


def menu(lab: FastLab) -> Any:
    return lab.controls["style"].view


def sliders(lab: FastLab) -> dict[str, Any]:
    assert lab.mixer is not None
    return lab.mixer.sliders


def dial(lab: FastLab) -> Any:
    return lab.controls["style_weight"].view


def shares(lab: FastLab) -> list[str]:
    assert lab.mixer is not None
    return [lab.mixer.shares[name].value for name in STYLES]


# --------------------------------------------------------------------------------------- creation


def test_a_new_lab_shows_the_photo_and_its_first_style_at_the_dials_end(
    make_lab: Callable[..., FastLab], net: TransformNet, capfd: pytest.CaptureFixture[str]
) -> None:
    lab = make_lab()
    wanted = net.stylize(photo(), "vortex", style_weight=100)
    torch.testing.assert_close(lab.image, wanted, rtol=0, atol=0)
    assert looks_like(lab.picture, wanted)
    assert looks_like(lab.photo_shown, photo())
    assert (lab.style, lab.style_weight) == ({"vortex": 1.0}, 100.0)
    assert shares(lab) == ["100 %", "0 %", "0 %"]
    assert caption(Result(wanted, lab.seconds, lab._result.place)) in lab.status.value
    assert "36 × 24 px" in lab.status.value
    assert capfd.readouterr() == ("", "")


def test_it_begins_with_the_net_that_ships(mine: Path) -> None:
    lab = FastLab("coffee", size=32)
    shipped = load_net("fast")
    assert list(sliders(lab)) == list(shipped.shape.styles)
    assert 10 ** dial(lab).min == pytest.approx(shipped.shape.dial[0])
    assert 10 ** dial(lab).max == pytest.approx(shipped.shape.dial[-1])
    torch.testing.assert_close(lab.image, shipped.stylize(photo(32)), rtol=0, atol=0)


def test_a_cell_shows_it(make_lab: Callable[..., FastLab]) -> None:
    assert "application/vnd.jupyter.widget-view+json" in make_lab()._repr_mimebundle_()


@pytest.mark.parametrize(
    "style", ["mosaic", ["vortex", "gilded", "gilded"], {"vortex": 3, "mosaic": 1}]
)
def test_it_begins_with_the_style_that_it_is_given(
    make_lab: Callable[..., FastLab], net: TransformNet, style: Any
) -> None:
    lab = make_lab(style=style, style_weight=5)
    wanted = net.stylize(photo(), style, style_weight=5)
    torch.testing.assert_close(lab.image, wanted, rtol=0, atol=1e-6)
    assert max(slider.value for slider in sliders(lab).values()) == 1


def test_a_photo_is_never_enlarged(make_lab: Callable[..., FastLab]) -> None:
    own = torch.rand(1, 3, 20, 31)
    assert tuple(make_lab(content=own, size=384).image.shape) == (1, 3, 20, 31)
    assert tuple(make_lab(content=own, size=10).image.shape) == (1, 3, 10, 16)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"style": "cubism"}, ValueError, "style is 'cubism'; the net has: vortex"),
        ({"style": {"vortex": 0.0}}, ValueError, "one must be above 0"),
        ({"style_weight": 1000}, ValueError, "from 1 to 100"),
        ({"size": 0}, ValueError, "size is 0"),
        ({"size": "large"}, TypeError, "size is 'large'"),
        ({"size": 24.5}, TypeError, "size is 24.5"),
        ({"net": "nowhere.safetensors"}, WeightsError, "nowhere"),
        ({"content": "nowhere.jpg"}, ImageError, "nowhere"),
    ],
)
def test_what_the_lab_cannot_begin_with_is_named(
    make_lab: Callable[..., FastLab], changes: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        make_lab(**changes)


def test_controls_are_told_in_words(make_lab: Callable[..., FastLab]) -> None:
    lab = make_lab()
    for slider in (dial(lab), *sliders(lab).values()):
        assert slider.description
        assert slider.tooltip
        assert slider.readout
        assert not slider.continuous_update
    assert dial(lab).description == "Style weight"
    names = ("fast-lab", "style-weight", "mix", "picture", "style", "net", "save")
    views = [lab.view, dial(lab), lab.controls["mix"].view, lab.picture, menu(lab)]
    views += [lab.nets.menu, lab.save_button]
    for name, view in zip(names, views, strict=True):
        assert f"nst-{name}" in view._dom_classes


# ------------------------------------------------------------------------------------------ moves


def turn_the_dial(lab: FastLab) -> None:
    dial(lab).value = 3.0


def mix_in_another(lab: FastLab) -> None:
    sliders(lab)["gilded"].value = 0.5


def choose_one(lab: FastLab) -> None:
    menu(lab).value = "mosaic"


def leave_one_of_a_mixture(lab: FastLab) -> None:
    mix_in_another(lab)
    menu(lab).value = "gilded"


MOVES = [
    (turn_the_dial, ("vortex", 3.0), 1),
    (mix_in_another, ({"vortex": 1.0, "gilded": 0.5}, 100), 1),
    (choose_one, ("mosaic", 100), 1),
    (leave_one_of_a_mixture, ("gilded", 100), 2),
]


@pytest.mark.parametrize(("move", "asked", "count"), MOVES)
def test_the_picture_follows_what_is_moved_in_one_pass_each(
    make_lab: Callable[..., FastLab],
    net: TransformNet,
    passes: list[tuple[int, ...]],
    move: Callable[[FastLab], None],
    asked: tuple[Any, float],
    count: int,
) -> None:
    lab = make_lab()
    before = lab.image
    passes.clear()
    move(lab)
    assert passes == [(24, 36)] * count
    wanted = net.stylize(photo(), asked[0], style_weight=asked[1])
    torch.testing.assert_close(lab.image, wanted, rtol=0, atol=0)
    assert (lab.image - before).abs().mean() > 0.01
    assert looks_like(lab.picture, wanted)
    again = net.stylize(photo(), lab.style, style_weight=lab.style_weight)
    torch.testing.assert_close(again, wanted, rtol=0, atol=0)


def test_a_move_neither_loads_nor_resizes_the_photo(
    make_lab: Callable[..., FastLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab()

    def refuse(*_: Any) -> None:
        raise AssertionError("the photo was prepared again")

    monkeypatch.setattr(images, "resize", refuse)
    monkeypatch.setattr(images, "sample", refuse)
    monkeypatch.setattr(images, "load_image", refuse)
    for move, _, _ in MOVES:
        move(lab)
    assert lab.style == {"gilded": 1.0}


def test_shares_and_menu_tell_the_mixture(make_lab: Callable[..., FastLab]) -> None:
    lab = make_lab()
    assert menu(lab).label == "vortex"
    sliders(lab)["mosaic"].value = 0.5
    sliders(lab)["gilded"].value = 0.5
    assert shares(lab) == ["50 %", "25 %", "25 %"]
    assert menu(lab).label == "a mixture"
    menu(lab).value = "mosaic"
    assert shares(lab) == ["0 %", "100 %", "0 %"]
    assert [slider.value for slider in sliders(lab).values()] == [0, 1, 0]
    assert list(menu(lab)._options_labels) == list(STYLES)  # no mixture is left to choose
    sliders(lab)["vortex"].value = 0.25
    sliders(lab)["mosaic"].value = 0.0
    assert (menu(lab).label, shares(lab)) == ("vortex", ["100 %", "0 %", "0 %"])


def test_no_style_is_one_sentence_and_the_picture_stays(
    make_lab: Callable[..., FastLab], passes: list[tuple[int, ...]]
) -> None:
    lab = make_lab()
    before = (lab.image, lab.picture.value, lab.status.value, lab.style)
    passes.clear()
    sliders(lab)["vortex"].value = 0.0
    assert "All styles stand at 0" in lab.message.value
    assert lab.message.value.count("role=") == 1
    assert (lab.image, lab.picture.value, lab.status.value, lab.style) == before
    assert (shares(lab), menu(lab).label, passes) == (["0 %"] * 3, "none", [])
    menu(lab).value = "gilded"
    assert lab.message.value == ""
    assert lab.style == {"gilded": 1.0}


@pytest.mark.parametrize("place", [0.3, 20.0])
def test_the_dial_reaches_its_ends(make_lab: Callable[..., FastLab], place: float) -> None:
    """Powers of ten are rounded: 10 ** log10(20) is above 20, where no net's dial goes."""
    lab = make_lab(net=make_net(dial=(0.3, 20.0)), style_weight=2)
    dial(lab).value = 10 ** dial(lab).max if place > 1 else 10 ** dial(lab).min
    assert lab.message.value == ""
    assert lab.style_weight == place


def test_too_large_a_picture_is_one_sentence(
    make_lab: Callable[..., FastLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab()
    before = lab.image
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10_000))
    turn_the_dial(lab)
    assert "would fit" in lab.message.value
    assert lab.image is before
    assert lab.style_weight == 100


def test_a_defect_is_not_hidden(
    make_lab: Callable[..., FastLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab()

    def broken(_: Params) -> Result:
        raise KeyError("a defect")

    monkeypatch.setattr(fast_lab, "compute", broken)
    with pytest.raises(KeyError):
        turn_the_dial(lab)


# ----------------------------------------------------------------------------------------- photos


def test_another_photo_is_painted_at_once_in_one_pass(
    make_lab: Callable[..., FastLab], net: TransformNet, passes: list[tuple[int, ...]]
) -> None:
    lab = make_lab(style_weight=10)
    passes.clear()
    lab.photo.menu.value = "chelsea"
    resized = images.resize(images.sample("chelsea"), 24)
    assert passes == [tuple(resized.shape[2:])]
    assert looks_like(lab.photo_shown, resized)
    wanted = net.stylize(resized, "vortex", style_weight=10)
    torch.testing.assert_close(lab.image, wanted, rtol=0, atol=0)
    assert looks_like(lab.picture, wanted)


def test_an_upload_is_painted_and_a_bad_one_is_a_sentence(make_lab: Callable[..., FastLab]) -> None:
    lab = make_lab()
    before = lab.image
    upload(lab.photo, "notes.jpg", b"no picture")
    assert "notes.jpg" in lab.photo.message.value
    assert lab.image is before
    upload(lab.photo, "holiday.png", images.to_png_bytes(torch.rand(1, 3, 30, 20)))
    assert tuple(lab.image.shape) == (1, 3, 30, 20)
    assert lab.photo.message.value == ""


# ------------------------------------------------------------------------------------------- nets


def test_the_menu_has_the_users_own_nets(mine: Path, make_lab: Callable[..., FastLab]) -> None:
    save(make_net(), mine / "b.safetensors")
    save(make_net(), mine / "a.safetensors")
    (mine / "README.md").write_text("no net")
    assert make_lab(net=None).nets.menu.options == ("fast", "a.safetensors", "b.safetensors")


def test_a_net_can_be_a_file(make_lab: Callable[..., FastLab], tmp_path: Path) -> None:
    lab = make_lab(net=save(make_net(3), tmp_path / "mine.safetensors"))
    assert lab.nets.menu.value == lab.nets.name == "mine.safetensors"
    wanted = load_net(tmp_path / "mine.safetensors").stylize(photo())
    torch.testing.assert_close(lab.image, wanted, rtol=0, atol=0)


def test_controls_follow_the_net(
    make_lab: Callable[..., FastLab], mine: Path, passes: list[tuple[int, ...]]
) -> None:
    other = make_net(1, styles=("gilded", "impasto"), dial=(5.0, 50.0))
    save(other, mine / "other.safetensors")
    lab = make_lab()
    passes.clear()
    lab.nets.menu.value = "other.safetensors"
    assert passes == [(24, 36)]
    assert list(sliders(lab)) == ["gilded", "impasto"]
    assert (10 ** dial(lab).min, 10 ** dial(lab).max) == pytest.approx((5, 50))
    assert (lab.style, lab.style_weight) == ({"gilded": 1.0}, 50)
    menu(lab).value = "impasto"
    dial(lab).value = 20.0
    loaded = load_net(mine / "other.safetensors")
    wanted = loaded.stylize(photo(), "impasto", style_weight=20)
    torch.testing.assert_close(lab.image, wanted, rtol=0, atol=0)
    shown = lab._settings.children
    assert dial(lab) is shown[0]
    assert lab.controls["mix"].view is shown[-1]


def test_what_two_nets_have_in_common_stays(make_lab: Callable[..., FastLab], mine: Path) -> None:
    save(make_net(1, styles=("gilded", "mosaic", "impasto")), mine / "other.safetensors")
    lab = make_lab(style={"mosaic": 1.0, "gilded": 0.5}, style_weight=10)
    lab.nets.menu.value = "other.safetensors"
    assert (lab.style, lab.style_weight) == ({"gilded": 0.5, "mosaic": 1.0}, 10)


def test_a_net_may_have_neither_styles_nor_a_dial(
    make_lab: Callable[..., FastLab], mine: Path
) -> None:
    plain = make_net(2, styles=(), dial=())
    save(plain, mine / "plain.safetensors")
    lab = make_lab()
    lab.nets.menu.value = "plain.safetensors"
    assert set(lab.controls) == {"net"}
    assert (lab.style, lab.style_weight, lab._settings.children) == (None, None, ())
    wanted = load_net(mine / "plain.safetensors").stylize(photo())
    torch.testing.assert_close(lab.image, wanted, rtol=0, atol=0)
    lab.nets.menu.value = lab.nets.menu.options[-1]  # the notebook's, back again
    assert set(lab.controls) == {"net", "style", "mix", "style_weight"}
    assert lab.style == {"vortex": 1.0}


def spoil(path: Path, how: str) -> None:
    if how == "no weights":
        path.write_bytes(b"no weights at all")
    elif how == "an encoder":
        save_weights({"weight": torch.zeros(3)}, path, {"widths": [8, 16]})
    else:  # another shape than it says: torch lists every tensor, a line each
        save_weights(make_net().state_dict(), path, {"shape": {"width": 1.0}})


@pytest.mark.parametrize("how", ["no weights", "an encoder", "another shape", "gone"])
def test_a_bad_file_is_one_sentence_and_changes_nothing(
    make_lab: Callable[..., FastLab], mine: Path, how: str
) -> None:
    path = mine / "broken.safetensors"
    spoil(path, how)
    lab = make_lab(style="gilded", style_weight=10)
    if how == "gone":
        path.unlink()
    before = (lab.image, lab.picture.value, lab.controls, lab.nets.net)
    lab.nets.menu.value = "broken.safetensors"
    assert "broken.safetensors" in lab.nets.message.value
    assert "stays.</div>" in lab.nets.message.value
    assert len(lab.nets.message.value) < 400
    assert "\n" not in lab.nets.message.value
    assert lab.nets.menu.value == lab.nets.name == "the notebook's net"
    assert (lab.image, lab.picture.value, lab.controls, lab.nets.net) == before
    lab.nets.menu.value = "fast"
    assert lab.nets.message.value == ""
    assert lab.nets.name == "fast"


# ------------------------------------------------------------------------------------------- save


def test_save_writes_the_picture_and_how_it_was_made(
    make_lab: Callable[..., FastLab], net: TransformNet
) -> None:
    lab = make_lab(style_weight=10)
    menu(lab).value = "mosaic"
    sliders(lab)["mosaic"].value = 0.0  # nothing to paint: what is shown is what is saved
    lab.save_button.click()
    (path,) = lab._folder.iterdir()
    assert path.name == "coffee-mosaic-1.png"
    assert str(path) in lab.message.value
    assert (to_uint8(load_image(path)) == to_uint8(lab.image)).all()
    recipe = read_recipe(path)
    del recipe["version"]
    assert recipe == {
        "method": "fast",
        "content": "coffee",
        "size": 24,
        "net": "the notebook's net",
        "style": ["mosaic"],
        "weights": [1.0],
        "style_weight": 10.0,
    }


def test_a_saved_mixture_can_be_painted_again(
    make_lab: Callable[..., FastLab], net: TransformNet
) -> None:
    lab = make_lab(style={"vortex": 1.0, "mosaic": 0.25})
    path = lab.save()
    assert path is not None
    assert path.name == "coffee-mixture-1.png"
    recipe = read_recipe(path)
    content = images.resize(images.sample(recipe["content"]), recipe["size"])
    again = net.stylize(
        content, recipe["style"], style_weight=recipe["style_weight"], weights=recipe["weights"]
    )
    assert (to_uint8(load_image(path)) == to_uint8(again)).all()


def test_a_net_without_styles_gives_its_own_name(
    make_lab: Callable[..., FastLab], tmp_path: Path
) -> None:
    lab = make_lab(net=save(make_net(styles=(), dial=()), tmp_path / "wedding.safetensors"))
    path = lab.save()
    assert path is not None
    assert path.name == "coffee-wedding-1.png"
    recipe = read_recipe(path)
    assert (recipe["style"], recipe["weights"], recipe["style_weight"]) == ([], [], None)


def test_save_without_a_place_is_one_sentence(
    make_lab: Callable[..., FastLab], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    lab = make_lab(folder=tmp_path / "file" / "out")
    assert lab.save() is None
    assert 'role="alert"' in lab.message.value


# ---------------------------------------------------------------------------- the functions beneath


def test_compute_is_a_plain_pass_and_alters_nothing(net: TransformNet) -> None:
    params = Params(photo(), net, {"vortex": 1.0, "gilded": 3.0}, 10)
    kept = params.photo.clone()
    first, second = compute(params), compute(params)
    torch.testing.assert_close(params.photo, kept, rtol=0, atol=0)
    torch.testing.assert_close(first.image, second.image, rtol=0, atol=0)
    wanted = net.stylize(kept, ["vortex", "gilded"], style_weight=10, weights=[0.25, 0.75])
    torch.testing.assert_close(first.image, wanted, rtol=0, atol=0)
    assert 0 < first.seconds < 60
    assert first.place == f"{torch.get_num_threads()} thread" + "s" * (torch.get_num_threads() > 1)


def test_a_large_picture_is_drawn_smaller() -> None:
    small, large = torch.rand(1, 3, 40, 60), torch.rand(1, 3, 600, 1200)
    sizes = [
        Image.open(io.BytesIO(draw(Result(image, 1.0, "2 threads")))).size
        for image in (small, large)
    ]
    assert sizes == [(60, 40), (1024, 512)]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.0474, "47 ms"), (0.9996, "1000 ms"), (2.44, "2.4 s")]
)
def test_a_caption_tells_time_in_a_fit_unit(seconds: float, words: str) -> None:
    result = Result(torch.rand(1, 3, 24, 36), seconds, "1 thread")
    assert caption(result) == f"36 × 24 px in {words} on 1 thread"


@pytest.mark.parametrize(
    ("weights", "words"),
    [({"cubism": 1.0}, "cubism"), ({"vortex": 0.0}, "above 0"), ({"vortex": -1.0}, "negative")],
)
def test_a_mixer_names_what_it_cannot_begin_with(weights: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        StyleMixer(STYLES, weights)


def test_answers_that_wait_for_each_other_show_where_the_controls_stand(
    make_lab: Callable[..., FastLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is held up; meanwhile the dial moves on, and the last word is the last's."""
    lab = make_lab()
    dial, began, go_on = lab.controls["style_weight"].view, threading.Event(), threading.Event()

    def held(params: Params) -> Result:
        if params.style_weight == 10:
            began.set()
            assert go_on.wait(30)
        return compute(params)

    monkeypatch.setattr(fast_lab, "compute", held)
    threads = [
        threading.Thread(target=setattr, args=(dial, "value", value)) for value in (10.0, 50.0)
    ]
    threads[0].start()
    assert began.wait(30)
    threads[1].start()
    threads[1].join(1)  # without a lock it is done by now
    go_on.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert lab.style_weight == dial.value == 50
    assert lab.picture.value == draw(compute(lab.params()))
