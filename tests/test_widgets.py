"""The lab runs, listens, stops and saves; its controls mean what Settings say; errors are sentences.

Runs here are real, and tiny. Where a test must act in the midst of a step, it holds the run before
each evaluation of the loss and lets it go step by step.
"""

from __future__ import annotations

import dataclasses
import gc
import io
import itertools
import json
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from nstlib import gatys, images, widgets
from nstlib.config import Range
from nstlib.encoders import Encoder, random_encoder
from nstlib.images import load_image, read_recipe, to_uint8
from nstlib.showing import compare
from nstlib.widgets import GatysLab, Record, draw_losses, explore, range_control

LONG = 60  # seconds that no wait here comes near


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name == "nstlib-lab"]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return random_encoder("slim")


@pytest.fixture
def make_lab(encoder: Encoder, tmp_path: Path) -> Iterator[Callable[..., GatysLab]]:
    """A tiny lab; what it runs is stopped at the end, however the test ends."""
    made: list[GatysLab] = []

    def make(**changes: Any) -> GatysLab:
        options = {"content": "coffee", "style": "vortex", "size": 32, "steps": 4}
        lab = GatysLab(**{**options, "encoder": encoder, "folder": tmp_path / "out", **changes})
        made.append(lab)
        return lab

    yield make
    for lab in made:
        lab.stop()
        assert lab.wait(LONG)


class Turns:
    """Holds a run before each evaluation of its loss, until it is given a turn."""

    def __init__(self) -> None:
        self._turns = threading.Semaphore(0)
        self._waiting = threading.Semaphore(0)

    def take(self) -> None:
        """The run's side."""
        self._waiting.release()
        assert self._turns.acquire(timeout=LONG)

    def until_held(self) -> None:
        """Wait until the run stands before an evaluation."""
        assert self._waiting.acquire(timeout=LONG)

    def give(self, count: int = 1) -> None:
        """Let it do so many."""
        self._turns.release(count)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    held, forward = Turns(), gatys.Objective.forward

    def wait_then_forward(objective: gatys.Objective, image: torch.Tensor) -> Any:
        held.take()
        return forward(objective, image)

    monkeypatch.setattr(gatys.Objective, "forward", wait_then_forward)
    return held


def decoded(widget: Any) -> Image.Image:
    """What an image widget shows."""
    return Image.open(io.BytesIO(widget.value))


def ran(lab: GatysLab) -> GatysLab:
    """Press Run, and wait for the end."""
    lab.run_button.click()
    assert lab.wait(LONG)
    return lab


def png(image: torch.Tensor) -> bytes:
    return images.to_png_bytes(image)


def upload(picker: widgets.PicturePicker, name: str, content: bytes) -> None:
    """Do what the page does when a file was chosen."""
    file = {"name": name, "type": "", "size": len(content), "content": memoryview(content)}
    file["last_modified"] = datetime.now()
    picker.upload.value = (file,)


# --------------------------------------------------------------------------------------- creation


def test_a_new_lab_shows_the_photo_and_empty_curves_and_runs_nothing(
    make_lab: Callable[..., GatysLab], capfd: pytest.CaptureFixture[str]
) -> None:
    lab = make_lab(content="chelsea")
    photo = images.sample("chelsea")
    assert decoded(lab.picture).size == (photo.shape[3], photo.shape[2])
    assert decoded(lab.curves).size[0] > 300
    assert decoded(lab.content.thumbnail).size < decoded(lab.picture).size
    assert not lab.running
    assert (lab.run_button.disabled, lab.stop_button.disabled) == (False, True)
    assert lab.save_button.disabled
    assert capfd.readouterr() == ("", "")


def test_a_cell_shows_it(make_lab: Callable[..., GatysLab]) -> None:
    assert "application/vnd.jupyter.widget-view+json" in make_lab()._repr_mimebundle_()


@pytest.mark.parametrize("name", ["content_weight", "style_weight", "tv_weight", "learning_rate"])
def test_sliders_come_from_settings(make_lab: Callable[..., GatysLab], name: str) -> None:
    control, of = make_lab().moving[name], gatys.RANGES[name]
    slider = control.inputs[0]
    assert control.read() == getattr(gatys.Settings(), name)
    assert slider.tooltip == of.meaning
    assert len(slider.description) > len("weight")
    assert of.low <= 10**slider.min < 10**slider.max <= of.high


def test_settings_begin_as_they_were_given(make_lab: Callable[..., GatysLab]) -> None:
    given = gatys.Settings(style_weight=20, style_taps=("relu2_2",), init="noise", average=0.5)
    lab = make_lab(settings=given, steps=7)
    wanted = dataclasses.replace(given, steps=7)
    assert lab.settings() == wanted


def test_a_weight_of_zero_begins_switched_off(make_lab: Callable[..., GatysLab]) -> None:
    lab = make_lab(tv_weight=0.0)
    slider, switch = lab.moving["tv_weight"].inputs
    assert (switch.value, slider.disabled, lab.settings().tv_weight) == (False, True, 0.0)
    switch.value = True
    assert not slider.disabled
    assert lab.settings().tv_weight == slider.value > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"style_taps": ("relu5_1",)}, "relu5_1"),
        ({"style_taps": {"relu1_1": 2.0}}, "style_taps"),
        ({"content_taps": ("relu1_1", "relu2_1")}, "content_taps"),
        ({"style_weight": -1}, "style_weight"),
    ],
)
def test_what_the_lab_cannot_take_is_named(
    make_lab: Callable[..., GatysLab], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_lab(**changes)


# -------------------------------------------------------------------------------------------- run


def test_a_run_draws_its_picture_and_its_loss_falls(tmp_path: Path) -> None:
    """With the weights that ship, and the page's own buttons."""
    lab = ran(GatysLab("coffee", "vortex", size=48, steps=12, folder=tmp_path))
    assert lab.error is None
    assert [record.index for record in lab.history] == list(range(1, 13))
    totals = [record.weighted["total"] for record in lab.history]
    assert totals[-1] < totals[0] / 2
    assert lab.image is not None
    assert decoded(lab.picture).size == (72, 48) == (lab.image.shape[3], lab.image.shape[2])
    shown = np.asarray(decoded(lab.picture)).astype(float)
    photo = images.resize(images.sample("coffee"), 48)
    far = np.abs(shown - to_uint8(photo)).mean()
    assert np.abs(shown - to_uint8(lab.image)).mean() < far / 2  # a JPEG of it, not of the photo
    assert "12 steps" in lab.status.value
    assert lab.progress.value == 1
    assert not lab.save_button.disabled


def test_the_same_seed_and_settings_are_a_plain_run(
    make_lab: Callable[..., GatysLab], encoder: Encoder
) -> None:
    """The lab adds nothing to the method, and takes nothing away."""
    lab = ran(make_lab(init="noise", ladder=1, seed=3))
    content = images.resize(images.sample("coffee"), 32)
    style = images.resize(images.style("vortex"), 32)
    plain = gatys.stylize(content, style, encoder, init="noise", steps=4, seed=3)
    assert lab.image is not None
    torch.testing.assert_close(lab.image, plain, rtol=0, atol=0)


def test_a_ladder_is_shown_at_each_of_its_sizes(
    make_lab: Callable[..., GatysLab], turns: Turns
) -> None:
    lab = make_lab(size=64, ladder=2, steps=2)
    lab.start()
    turns.until_held()
    turns.give()
    turns.until_held()
    assert decoded(lab.picture).size == (68, 45)
    turns.give()
    assert lab.wait(LONG)
    assert decoded(lab.picture).size == (96, 64)


def test_a_moved_weight_acts_from_the_next_step(
    make_lab: Callable[..., GatysLab], turns: Turns
) -> None:
    lab = make_lab(steps=3, style_weight=1000.0)
    lab.start()
    turns.until_held()
    turns.give()
    turns.until_held()  # in the midst of step 2
    lab.moving["style_weight"].inputs[0].value = 10.0
    lab.moving["content_weight"].inputs[1].value = False
    turns.give(2)
    assert lab.wait(LONG)
    used = [record.weighted["style"] / record.losses["style"] for record in lab.history]
    assert used == pytest.approx([1000, 1000, 10])
    assert lab.history[2].losses["content"] > 0
    assert lab.history[2].weighted["content"] == 0


def test_stop_ends_after_the_step_under_way(
    make_lab: Callable[..., GatysLab], turns: Turns
) -> None:
    lab = make_lab(steps=1000)
    lab.start()
    for _ in range(3):
        turns.until_held()
        turns.give()
    turns.until_held()  # in the midst of step 4
    lab.stop_button.click()
    turns.give(1000)
    assert lab.wait(LONG)
    assert len(lab.history) == 4
    assert lab.error is None
    assert "Stopped after step 4 of 1000" in lab.status.value
    assert (lab.run_button.disabled, lab.save_button.disabled) == (False, False)


def test_controls_stay_alive_during_a_run(make_lab: Callable[..., GatysLab], turns: Turns) -> None:
    """Nothing that the user touches waits for a step."""
    lab = make_lab()
    lab.start()
    turns.until_held()
    began = time.perf_counter()
    lab.weighted.value = False
    lab.content.menu.value = "chelsea"
    lab.setup["steps"].view.value = 9
    lab.moving["tv_weight"].inputs[0].value = 2.0
    assert time.perf_counter() - began < LONG / 4
    assert lab.running
    turns.give(4)
    assert lab.wait(LONG)
    assert len(lab.history) == 4  # the run kept to the settings that it began with
    assert "Done: 4 steps" in lab.status.value
    assert len(ran_with(lab, turns, 9).history) == 9


def ran_with(lab: GatysLab, turns: Turns, count: int) -> GatysLab:
    turns.give(count)
    return ran(lab)


def test_two_runs_do_not_overlap(make_lab: Callable[..., GatysLab], turns: Turns) -> None:
    lab, other = make_lab(steps=50), make_lab(steps=1)
    lab.run_button.click()
    turns.until_held()
    thread = lab._thread
    lab.run_button.click()
    assert lab._thread is thread
    turns.give(
        50
    )  # the first run may end its step; the second lab's Run has ended it before its own
    other.start()
    assert not lab.running
    assert other.wait(LONG)
    assert len(lab.history) < 50
    assert len(other.history) == 1


def test_a_run_can_go_on_from_the_last_picture(make_lab: Callable[..., GatysLab]) -> None:
    lab = ran(make_lab())
    first = lab.image
    assert first is not None
    lab.setup["init"].view.value = "last"
    assert lab.settings().init is first
    ran(lab)
    assert lab.error is None
    assert lab.history[0].losses["content"] > 0  # it did not begin at the photo again


def test_a_lab_leaves_no_run_behind_when_python_ends() -> None:
    """Neither does the interpreter wait for all the steps, nor does it end in a traceback."""
    code = """
from nstlib.encoders import random_encoder
from nstlib.widgets import GatysLab
lab = GatysLab("coffee", "vortex", random_encoder(), size=32, steps=1_000_000)
lab.start()
while not lab.history:
    lab.wait(0.05)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


# ----------------------------------------------------------------------------------------- errors


def switch_all_layers_off(lab: GatysLab) -> None:
    for box in lab.setup["style_taps"].inputs:
        box.value = False


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (switch_all_layers_off, "no style layer"),
        (lambda lab: setattr(lab.setup["ladder"].view, "value", 9), "ladder is 9"),
        (lambda lab: setattr(lab.setup["init"].view, "value", "last"), "no last picture"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(
    make_lab: Callable[..., GatysLab], spoil: Callable[[GatysLab], None], words: str
) -> None:
    lab = make_lab()
    spoil(lab)
    ran(lab)
    assert isinstance(lab.error, ValueError)
    assert words in lab.message.value.lower()
    assert "Traceback" not in lab.message.value
    assert lab.image is None
    assert not lab.run_button.disabled
    assert lab.save_button.disabled


def test_an_error_goes_when_the_next_run_begins(make_lab: Callable[..., GatysLab]) -> None:
    lab = make_lab(ladder=9, steps=9)
    assert ran(lab).message.value
    lab.setup["ladder"].view.value = 1
    assert ran(lab).message.value == ""
    assert lab.error is None
    assert len(lab.history) == 9


def test_too_large_a_picture_is_one_sentence(
    make_lab: Callable[..., GatysLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SimpleNamespace(available=10_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: small)
    lab = ran(make_lab())
    assert isinstance(lab.error, MemoryError)
    assert "would fit" in lab.message.value


def test_divergence_keeps_the_last_good_picture(
    make_lab: Callable[..., GatysLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = gatys.Objective.forward, itertools.count(1)

    def not_a_number_at_last(objective: gatys.Objective, image: torch.Tensor) -> Any:
        content, style, layers = forward(objective, image)
        return content * (torch.nan if next(calls) == 3 else 1), style, layers

    monkeypatch.setattr(gatys.Objective, "forward", not_a_number_at_last)
    lab = ran(make_lab())
    assert isinstance(lab.error, gatys.PixelDivergenceError)
    assert "diverged" in lab.message.value
    assert "Ended after step 2 of 4" in lab.status.value
    assert lab.image is not None
    assert torch.isfinite(lab.image).all()
    assert decoded(lab.picture).size == (48, 32)
    assert not lab.save_button.disabled


def test_a_defect_in_a_run_is_told_and_kept(
    make_lab: Callable[..., GatysLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("no <b>such</b> thing")

    monkeypatch.setattr(gatys.Objective, "forward", broken)
    lab = ran(make_lab())
    assert isinstance(lab.error, RuntimeError)
    assert "No &lt;b&gt;such" in lab.message.value  # as text: it is not for the page to obey


# --------------------------------------------------------------------------------------- pictures


def test_another_photo_is_shown_at_once(make_lab: Callable[..., GatysLab]) -> None:
    lab = make_lab()
    before = lab.picture.value
    lab.content.menu.value = "chelsea"
    assert lab.picture.value != before
    assert lab.content.name == "chelsea"
    torch.testing.assert_close(lab.content.image, images.sample("chelsea"))


def test_an_upload_is_taken_at_all_its_pixels(make_lab: Callable[..., GatysLab]) -> None:
    lab, own = make_lab(), torch.rand(1, 3, 40, 50)
    upload(lab.content, "holiday.png", png(own))
    assert (lab.content.name, lab.content.menu.value) == ("holiday.png", "holiday.png")
    assert (to_uint8(lab.content.image) == to_uint8(own)).all()
    assert lab.content.upload.value == ()
    lab.content.menu.value = "coffee"
    lab.content.menu.value = "holiday.png"  # it stays in the menu
    assert tuple(lab.content.image.shape) == (1, 3, 40, 50)
    assert ran(lab).image is not None
    assert decoded(lab.picture).size == (40, 32)


def test_an_upload_of_the_same_name_replaces_the_first(make_lab: Callable[..., GatysLab]) -> None:
    picker = make_lab().style
    upload(picker, "mine.png", png(torch.zeros(1, 3, 8, 8)))
    upload(picker, "mine.png", png(torch.ones(1, 3, 8, 8)))
    assert picker.image.min() == 1
    assert list(picker.menu.options).count("mine.png") == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("notes.txt", b"no picture at all", "notes.txt"),
        ("empty.jpg", b"", "empty"),
        ("<img src=x onerror=alert(1)>.png", b"no picture", "&lt;img"),
    ],
)
def test_a_bad_upload_is_one_sentence_and_changes_nothing(
    make_lab: Callable[..., GatysLab], name: str, content: bytes, words: str
) -> None:
    picker = make_lab().content
    before = (picker.name, picker.image, picker.thumbnail.value)
    upload(picker, name, content)
    assert words in picker.message.value
    assert "<img" not in picker.message.value
    assert (picker.name, picker.image, picker.thumbnail.value) == before
    upload(picker, "good.png", png(torch.rand(1, 3, 8, 8)))
    assert picker.message.value == ""
    assert picker.name == "good.png"


def test_pictures_begin_with_a_file_or_an_image(
    make_lab: Callable[..., GatysLab], tmp_path: Path
) -> None:
    file = tmp_path / "mine.png"
    file.write_bytes(png(torch.zeros(1, 3, 6, 7)))
    lab = make_lab(content=file, style=torch.ones(1, 3, 5, 5))
    assert lab.content.name == "mine.png"
    assert tuple(lab.content.image.shape) == (1, 3, 6, 7)
    assert tuple(lab.style.image.shape) == (1, 3, 5, 5)


def test_the_users_own_folder_is_in_the_menus(
    make_lab: Callable[..., GatysLab], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "cat.png").write_bytes(png(torch.zeros(1, 3, 6, 7)))
    (tmp_path / "mine" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "mine" / "README.md").write_text("not a picture")
    monkeypatch.setattr(widgets.pictures, "data_dir", lambda: tmp_path)
    picker = make_lab().content
    assert "README.md" not in picker.menu.options
    picker.menu.value = "cat.png"
    assert tuple(picker.image.shape) == (1, 3, 6, 7)
    picker.menu.value = "broken.png"
    assert "broken.png" in picker.message.value
    assert picker.name == "cat.png"


# ------------------------------------------------------------------------------------------- save


def test_save_writes_the_picture_and_how_it_was_made(
    make_lab: Callable[..., GatysLab], turns: Turns, encoder: Encoder
) -> None:
    lab = make_lab(steps=3, seed=5)
    lab.start()
    turns.until_held()
    turns.give()
    turns.until_held()
    lab.moving["style_weight"].inputs[0].value = 10.0
    turns.give(2)
    assert lab.wait(LONG)
    lab.save_button.click()
    (path,) = (lab._folder).iterdir()
    assert path.name == "coffee-vortex-1.png"
    assert str(path) in lab.message.value
    assert lab.image is not None
    assert (to_uint8(load_image(path)) == to_uint8(lab.image)).all()
    recipe = read_recipe(path)
    assert (recipe["content"], recipe["style"], recipe["size"]) == ("coffee", "vortex", 32)
    assert recipe["encoder"] == encoder.name
    assert recipe["steps_done"] == 3
    assert recipe["moved"] == [[3, "style_weight", 10.0]]
    began = gatys.Settings(steps=3, seed=5)
    assert recipe["settings"] == json.loads(json.dumps(dataclasses.asdict(began)))


def test_save_takes_a_name_that_is_free(make_lab: Callable[..., GatysLab]) -> None:
    lab = ran(make_lab())
    assert [lab.save().name, lab.save().name] == [  # type: ignore[union-attr]
        "coffee-vortex-1.png",
        "coffee-vortex-2.png",
    ]


def test_a_run_that_fails_leaves_the_old_picture_and_its_recipe(
    make_lab: Callable[..., GatysLab], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = ran(make_lab())

    def refuse(*_: object) -> None:
        raise MemoryError("too large")

    monkeypatch.setattr(gatys, "optimize", refuse)
    lab.setup["steps"].view.value = 9
    ran(lab)
    assert isinstance(lab.error, MemoryError)
    recipe = read_recipe(lab.save())  # type: ignore[arg-type]
    assert (recipe["settings"]["steps"], recipe["steps_done"]) == (4, 4)


def test_save_without_a_place_is_one_sentence(
    make_lab: Callable[..., GatysLab], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.touch()
    lab = ran(make_lab(folder=file / "out"))
    assert lab.save() is None
    assert 'role="alert"' in lab.message.value


def test_save_without_a_picture_is_one_sentence(make_lab: Callable[..., GatysLab]) -> None:
    lab = make_lab()
    assert lab.save() is None
    assert "press Run" in lab.message.value


# ----------------------------------------------------------------------------------------- curves


def record(index: int, content: float, style: float, tv: float) -> Record:
    losses = {"content": content, "style": style, "tv": tv}
    weighted = {"content": 2 * content, "style": 100 * style, "tv": 0.0}
    return Record(index, losses, {**weighted, "total": sum(weighted.values())}, {})


RECORDS = [record(1, 0.0, 3.0, 0.5), record(2, 0.1, 2.0, 0.25)]


def test_curves_hold_the_losses() -> None:
    axes = draw_losses(RECORDS, weighted=False).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    assert list(lines) == ["content", "style", "total variation"]
    np.testing.assert_array_equal(lines["style"].get_ydata(), [3.0, 2.0])
    np.testing.assert_array_equal(lines["style"].get_xdata(), [1, 2])
    np.testing.assert_array_equal(lines["content"].get_ydata(), [np.nan, 0.1])
    assert axes.get_yscale() == "log"


def test_weighted_curves_have_a_total_and_none_for_a_term_that_is_off() -> None:
    lines = {line.get_label(): line for line in draw_losses(RECORDS).axes[0].lines}
    assert list(lines) == ["content", "style", "total"]
    np.testing.assert_array_equal(lines["total"].get_ydata(), [300.0, 200.2])


def test_curves_differ_in_dashes_and_stand_out_from_their_paper() -> None:
    both = [
        *draw_losses(RECORDS).axes[0].lines,
        *draw_losses(RECORDS, weighted=False).axes[0].lines,
    ]
    lines = {line.get_label(): line for line in both}
    assert len({line.get_linestyle() for line in lines.values()}) == len(lines) == 4
    for line in lines.values():
        rgb = np.array([int(line.get_color()[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        luminance = linear @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (luminance + 0.05) > 3  # WCAG's contrast for graphics


def test_steps_of_a_run_can_be_drawn_as_they_are(encoder: Encoder) -> None:
    photo = torch.rand(1, 3, 32, 32)
    steps = list(gatys.optimize(photo, photo.flip(3), encoder, steps=2))
    assert len(draw_losses(steps).axes[0].lines) == 4


def test_the_switch_redraws_the_curves(make_lab: Callable[..., GatysLab]) -> None:
    lab = ran(make_lab())
    weighted = lab.curves.value
    lab.weighted.value = False
    assert lab.curves.value != weighted
    lab.weighted.value = True
    assert (np.asarray(decoded(lab.curves)) == np.asarray(Image.open(io.BytesIO(weighted)))).all()


# ---------------------------------------------------------------------------- controls and explore


def test_drawing_takes_a_twentieth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, drawn = SimpleNamespace(now=0.0), []
    monkeypatch.setattr(widgets.progress, "time", SimpleNamespace(perf_counter=lambda: clock.now))

    def draw(cost: float) -> None:
        drawn.append(clock.now)
        clock.now += cost

    cheap, dear = widgets.Throttle(0.5), widgets.Throttle(0.5)
    while clock.now < 2.2:
        cheap(lambda: draw(0.0))
        clock.now += 0.125
    assert drawn == [0.0, 0.5, 1.0, 1.5, 2.0]
    clock.now = 0.0
    drawn.clear()
    while clock.now < 20:
        dear(lambda: draw(0.25))
        clock.now += 0.125
    assert drawn == [0.0, 5.25, 10.5, 15.75]


@pytest.mark.parametrize("ladder", [1, 3])
def test_the_share_of_work_grows_to_one(ladder: int) -> None:
    shares = [widgets.work_done(index, 30, ladder) for index in range(31)]
    assert shares[0] == 0
    assert shares[-1] == 1
    assert shares == sorted(shares)
    assert shares[10] == pytest.approx({1: 1 / 3, 3: 1 / 7}[ladder])


def test_a_range_that_is_not_logarithmic_is_a_plain_slider() -> None:
    alpha = range_control("alpha", Range(0, 1, "how much"), 0.5)
    count = range_control("count", Range(1, 9), 3)
    assert (alpha.view.min, alpha.view.max, alpha.read()) == (0, 1, 0.5)
    assert (count.view.step, count.read(), type(count.read())) == (1, 3, int)


def test_a_logarithmic_range_above_zero_is_spanned_whole_and_has_no_switch() -> None:
    rate = range_control("learning_rate", Range(1e-4, 10, log=True), 0.1)
    assert (rate.view.min, rate.view.max, len(rate.inputs)) == (-4, 1, 1)


def describe(
    level: Annotated[float, Range(0, 1, "how bright")] = 0.5,
    side: Literal["left", "right"] = "left",
    flip: bool = False,
) -> dict[str, Any]:
    return {"level": level, "side": side, "flip": flip}


def paint(result: dict[str, Any]) -> torch.Tensor:
    return torch.full((1, 3, 8, 8), float(result["level"]))


def test_explore_draws_once_and_then_what_the_controls_say() -> None:
    explorer = explore(describe, paint)
    assert explorer.result == describe()
    first = explorer.picture.value
    explorer.controls["level"].view.value = 1.0
    explorer.controls["side"].view.value = "right"
    explorer.controls["flip"].view.value = True
    assert explorer.result == {"level": 1.0, "side": "right", "flip": True}
    assert explorer.picture.value != first
    assert np.asarray(decoded(explorer.picture)).min() == 255
    assert not explorer.controls["level"].view.continuous_update


def test_explore_takes_choices_for_a_parameter_without_a_range() -> None:
    def pick(style_weight: float = 10) -> float:
        return style_weight / 1000

    explorer = explore(pick, lambda x: torch.full((1, 3, 4, 4), x), style_weight=[1, 10, 1000])
    slider = explorer.controls["style_weight"].view
    assert slider.value == 10
    slider.value = 1000
    assert explorer.result == 1


def test_explore_takes_figures_and_compared_pictures() -> None:
    figure = explore(lambda n: n, lambda _: draw_losses(RECORDS), n=[1])
    side_by_side = explore(lambda n: n, lambda _: compare([torch.rand(1, 3, 8, 8)]), n=[1])
    assert decoded(figure.picture).format == "PNG"
    assert decoded(side_by_side.picture).format == "JPEG"


def test_explore_says_in_a_sentence_what_cannot_be_computed() -> None:
    def inverse(n: float) -> float:
        if n == 0:
            raise ValueError("n is 0; it has no inverse")
        return 1 / n

    explorer = explore(inverse, lambda x: torch.full((1, 3, 4, 4), x), n=[2, 0, 4])
    before = explorer.picture.value
    explorer.controls["n"].view.value = 0
    assert "N is 0; it has no inverse" in explorer.message.value
    assert explorer.picture.value == before
    explorer.controls["n"].view.value = 4
    assert explorer.message.value == ""
    assert explorer.result == 0.25


def test_a_defect_in_compute_is_not_hidden() -> None:
    def broken(n: int = 1) -> int:
        return {1: 1}[n]

    explorer = explore(broken, lambda x: torch.full((1, 3, 4, 4), float(x)), n=[1, 2])
    with pytest.raises(KeyError):
        explorer.controls["n"].view.value = 2


@pytest.mark.parametrize(
    ("compute", "controls", "words"),
    [
        (lambda n: n, {}, "n has no Range"),
        (lambda n: n, {"n": [1], "m": [1]}, "lacks m"),
    ],
)
def test_explore_names_a_parameter_that_it_cannot_make_a_control_of(
    compute: Callable[..., Any], controls: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        explore(compute, paint, **controls)


def test_an_upload_is_kept_as_its_file_and_decoded_when_it_is_picked() -> None:
    """Decoded, a photo of 12 megapixels takes 144 MB; its file takes some."""
    picker = widgets.pictures.photo_picker("coffee")
    upload(picker, "holiday.png", png(torch.rand(1, 3, 30, 40)))
    first = picker.image.clone()
    decoded = weakref.ref(picker.image)
    picker.menu.value = "astronaut"
    gc.collect()
    assert decoded() is None
    picker.menu.value = "holiday.png"
    assert torch.equal(picker.image, first)
