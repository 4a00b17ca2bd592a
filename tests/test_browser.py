"""The labs in a real JupyterLab and a real browser, as a student meets them.

One small notebook shows them all: each appears, and what is moved by keyboard or by mouse changes
its picture. (``test_browser_notebooks.py`` runs the course's own notebooks; other files have what
plays, what is painted by hand, and what is served.)
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from jupyter_pages import (
    Server,
    assert_they_fit_their_page,
    differ,
    drag,
    in_sight,
    move_slider,
    number_in,
    pixels,
    readout,
    saved_by,
    status,
    text,
    until_the_picture_moves,
    until_the_picture_rests,
    wait_in,
)

from nstlib.images import load_image, read_recipe, save_image

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

# Small pictures, so that each answer takes a moment.
CELLS = (
    """
from typing import Annotated, Literal
import torch
from nstlib.config import Range
from nstlib.widgets import *

small = {"size": 96, "style_size": 128, "folder": "out"}
""",
    'GatysLab("astronaut", "vortex", "slim", size=96, folder="out")',
    'FastLab("astronaut", size=96, style_weight=10, folder="out")',
    "AdaINLab(**small)",
    """
greys = {name: [torch.full((1, 3, 48, 64), (i + shift) / 8) for i in range(5)]
         for name, shift in (("dark", 0), ("light", 3))}
SampleBrowser(greys, [0, 10, 100, 1000, 2000], "greys")
""",
    'MixLab(["vortex", "woodblock", "mosaic"], **small)',
    "PadLab(**small)",
    'MaskLab("mosaic", "woodblock", **small)',
    """
def grey(level: Annotated[float, Range(0, 1)] = 0.5, tint: Literal["none", "red"] = "none"):
    if level > 0.95:
        raise ValueError("level is too bright")
    shown = torch.full((1, 3, 8, 8), level)
    if tint == "red":
        shown[:, 1:] = 0
    return shown

explore(grey, lambda image: image, "a grey square")
""",
)
LABS = (
    "lab",
    "fast-lab",
    "adain-lab",
    "sample-browser",
    "mix-lab",
    "pad-lab",
    "mask-lab",
    "explorer",
)


def lab_of(page: Page, name: str) -> Locator:
    """A lab by its name, with its picture in sight."""
    lab = page.locator(f".nst-{name}").first
    in_sight(lab.locator(picture_of(name)).first)
    return lab


def picture_of(name: str) -> str:
    return "img" if name == "explorer" else "img.nst-picture"


# --------------------------------------------------------------------------------------- every lab


def test_every_lab_appears_and_fits_its_page(page: Page) -> None:
    labs = [lab_of(page, name) for name in LABS]
    assert_they_fit_their_page(page, *labs)
    for name, lab in zip(LABS, labs, strict=True):
        assert pixels(lab, picture_of(name)).std() > 0 or name in ("explorer", "sample-browser")


@pytest.mark.parametrize(
    ("name", "slider", "key"),
    [
        ("fast-lab", ".nst-style-weight", "ArrowLeft"),
        ("adain-lab", ".nst-alpha", "ArrowLeft"),
        ("sample-browser", ".nst-step", "End"),
        ("mix-lab", ".nst-alpha", "ArrowLeft"),
        ("mix-lab", ".nst-stroke-size", "ArrowLeft"),
        ("mix-lab", ".widget-gridbox", "Home"),  # the first style's share
        ("pad-lab", ".nst-pad", "ArrowRight"),
        ("mask-lab", ".nst-alpha", "ArrowLeft"),
        ("explorer", ".widget-slider", "ArrowRight"),
    ],
)
def test_a_slider_moved_by_keyboard_changes_the_picture(
    page: Page, name: str, slider: str, key: str
) -> None:
    lab, picture = lab_of(page, name), picture_of(name)
    before = pixels(lab, picture)
    lab.locator(slider).locator("[role=slider]").first.focus()
    for _ in range(8):
        page.keyboard.press(key)
    until_the_picture_moves(lab, before, page, picture)


@pytest.mark.parametrize(
    ("name", "menu"),
    [
        ("fast-lab", ".nst-style"),
        ("fast-lab", ".nst-photo"),
        ("adain-lab", ".nst-style"),
        ("adain-lab", ".nst-content"),
        ("sample-browser", ".nst-run"),
        ("mix-lab", ".nst-match"),
        ("mix-lab", ".nst-keep-color"),
        ("pad-lab", ".nst-photo"),
        ("mask-lab", ".nst-around"),
        ("explorer", ".widget-dropdown"),
    ],
)
def test_a_menu_moved_by_keyboard_changes_the_picture_and_keeps_the_focus(
    page: Page, name: str, menu: str
) -> None:
    lab, picture = lab_of(page, name), picture_of(name)
    before = until_the_picture_rests(lab, page, picture)
    select = lab.locator(menu).locator("select")
    select.focus()
    page.keyboard.press("ArrowDown")
    until_the_picture_moves(lab, before, page, picture)
    assert select.evaluate("menu => document.activeElement === menu")


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("fast-lab", ["photo-shown", "picture"]),
        ("adain-lab", ["photo-shown", "style-shown", "picture"]),
    ],
)
def test_pictures_stand_side_by_side_at_one_height(
    page: Page, name: str, pictures: list[str]
) -> None:
    lab = lab_of(page, name)
    boxes = [lab.locator(f"img.nst-{picture}").bounding_box() or {} for picture in pictures]
    for left, right in itertools.pairwise(boxes):
        assert left["x"] + left["width"] <= right["x"]
        assert left["y"] == right["y"]
        assert left["height"] == pytest.approx(right["height"], abs=1)


def test_save_says_where_the_picture_lies(page: Page, jupyter: Server) -> None:
    lab = lab_of(page, "fast-lab")
    assert re.match(r"\d+ × \d+ px in [\d.]+ m?s on \w+( threads?)?", status(lab))
    path = saved_by(lab, jupyter)
    assert load_image(path).shape[1] == 3
    assert read_recipe(path)["content"]


# -------------------------------------------------------------------------------------- a long run


@pytest.fixture
def gatys_lab(page: Page) -> Locator:
    return lab_of(page, "lab")


def test_run_paints_and_its_loss_falls_until_stop(gatys_lab: Locator, page: Page) -> None:
    lab, photo = gatys_lab, pixels(gatys_lab)
    assert status(lab) == "Press Run."
    assert lab.locator(".nst-stop").is_disabled()
    lab.locator(".nst-steps input").fill("5000")  # so many that it is still running at Stop
    page.keyboard.press("Tab")
    lab.locator(".nst-run").focus()
    page.keyboard.press("Enter")

    def loss() -> float:
        return number_in(status(lab), r"in total ([\d.e+-]+)")

    first = wait_in(page, lambda: loss() > 0 and loss(), "the first step")
    wait_in(page, lambda: loss() < first / 2, "the loss to fall")
    wait_in(page, lambda: differ(pixels(lab), photo, 4), "the picture")

    # Moved in the midst of the run, the weight acts in it.
    before = readout(lab, "style-weight")
    move_slider(lab, page, "style-weight", "ArrowLeft", 10)

    def weight_used() -> float:
        row = lab.locator(".widget-hbox", has=page.locator(".nst-style-weight")).last.text_content()
        loss, weighted = map(float, re.search(r"loss ([\d.e+-]+) = ([\d.e+-]+)", row).groups())  # type: ignore[union-attr]
        return weighted / loss

    wait_in(page, lambda: weight_used() == pytest.approx(before / 10, rel=0.05), "it to act")
    lab.locator(".nst-stop").click()
    wait_in(page, lambda: "Stopped" in status(lab), "the run to stop")
    done, steps = map(int, re.search(r"step (\d+) of (\d+)", status(lab)).groups())  # type: ignore[union-attr]
    assert 1 < done < steps == 5000
    wait_in(page, lab.locator(".nst-run").is_enabled, "the button to be there again")


def test_a_picture_of_ones_own(gatys_lab: Locator, page: Page, tmp_path: Path) -> None:
    bad, good = tmp_path / "notes.jpg", tmp_path / "mine.png"
    bad.write_text("no picture")
    save_image(torch.rand(1, 3, 48, 64), good)
    photo = gatys_lab.locator(".nst-photo")

    def choose(file: Path) -> None:
        with page.expect_file_chooser() as chooser:
            photo.get_by_role("button").click()
        chooser.value.set_files(file)

    choose(bad)
    alert = photo.get_by_role("alert")
    alert.wait_for()
    assert "notes.jpg" in (alert.text_content() or "")
    choose(good)
    alert.wait_for(state="detached")
    assert photo.locator("select").input_value() == "mine.png"


# ------------------------------------------------------------------------------- what else is moved


def test_a_browser_of_samples_plays_by_itself(page: Page) -> None:
    browser = lab_of(page, "sample-browser")
    browser.locator(".nst-step [role=slider]").focus()
    page.keyboard.press("Home")
    wait_in(page, lambda: status(browser).endswith("training step 0"), "the first step")
    browser.locator(".nst-play button").first.click()
    wait_in(page, lambda: status(browser).endswith("training step 2,000"), "the last step")


def test_what_cannot_be_computed_is_told_and_the_picture_stays(page: Page) -> None:
    explorer = lab_of(page, "explorer")
    before = pixels(explorer, "img")
    explorer.locator("[role=slider]").focus()
    page.keyboard.press("End")
    alert = explorer.get_by_role("alert")
    alert.wait_for()
    assert alert.text_content() == "⚠ Level is too bright."
    assert not differ(pixels(explorer, "img"), before)
    page.keyboard.press("Home")
    alert.wait_for(state="detached")


def test_the_point_is_dragged_and_the_picture_follows(page: Page) -> None:
    lab = lab_of(page, "pad-lab")
    before, pad = until_the_picture_rests(lab, page), lab.locator(".nst-pad")
    with drag(page, pad, (0.5, 0.5), (0.15, 0.85)):  # to the lower left: mosaic
        until_the_picture_moves(lab, before, page)  # before it is let go
    told = (lab.locator(".nst-pad-handle").get_attribute("aria-valuetext") or "").lower()
    shares = {name: int(share) for name, share in re.findall(r"(\w+),? (\d+)", told)}
    assert max(shares, key=lambda name: shares[name]) == "mosaic", told


def test_a_stroke_of_the_brush_changes_the_picture_there_only(page: Page) -> None:
    lab = lab_of(page, "mask-lab")
    lab.locator(".nst-clear").click()
    before = until_the_picture_rests(lab, page)
    with drag(page, lab.locator(".nst-board canvas"), (0.2, 0.2), (0.3, 0.7)):
        pass
    until_the_picture_moves(lab, before, page)
    moved = np.abs(until_the_picture_rests(lab, page) - before).mean(axis=2)  # (16, 16)
    assert moved[3:11, 2:6].mean() > 5 * moved[:, 12:].mean()


def test_a_rectangle_cuts_a_thing_out_and_it_is_saved(page: Page, jupyter: Server) -> None:
    lab = lab_of(page, "mask-lab")
    before = until_the_picture_rests(lab, page)
    lab.locator(".nst-tool button").nth(1).click()
    lab.get_by_label("Photo: arrow keys").wait_for()  # the kernel passes the choice to the board
    with drag(page, lab.locator(".nst-board canvas"), (0.05, 0.02), (0.8, 0.99)):
        pass
    until_the_picture_moves(lab, before, page)
    assert 0.1 < read_recipe(saved_by(lab, jupyter))["share"] < 0.8
    assert text(lab, "message").startswith("Saved")
