"""The lab of notebook 06 in a real JupyterLab and a real browser: the slider's pictures come by HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from jupyter_pages import (
    assert_they_fit_their_page,
    differ,
    in_sight,
    move_slider,
    pixels,
    readout,
    text,
    until_the_picture_moves,
    wait_in,
)

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

SERVER = """
from contextlib import ExitStack
from pathlib import Path

import ipywidgets
import nstlib
from nstlib.serving import Settings, create_app, running
from nstlib.widgets import ServingLab

folder = Path("styles")
folder.mkdir()
for name in ("mosaic", "vortex"):
    nstlib.save_image(nstlib.style(name, 128), folder / f"{name}.png")
stack = ExitStack()
address = stack.enter_context(running(create_app(Settings(style_size=128), folder)))
"""
LAB = """
stop = ipywidgets.Button(description="stop").add_class("nst-stop-server")

def close(_):
    stack.close()
    stop.description = "stopped"

stop.on_click(close)
ipywidgets.VBox([ServingLab(address, style="vortex", size=96).view, stop])
"""


CELLS = (SERVER, LAB)


@pytest.fixture
def lab(page: Page) -> Locator:
    return in_sight(page.locator(".nst-serving-lab"))


def test_the_slider_gets_a_new_picture_and_a_new_bar(lab: Locator, page: Page) -> None:
    before, bar, said = pixels(lab), pixels(lab, "img.nst-bar"), text(lab, "status")
    assert "paint" in said
    move_slider(lab, page, "alpha", "ArrowLeft", 12)
    wait_in(page, lambda: readout(lab, "alpha") == pytest.approx(0.4), "the slider")
    until_the_picture_moves(lab, before, page)
    wait_in(page, lambda: text(lab, "status") != said, "other times")
    wait_in(page, lambda: differ(pixels(lab, "img.nst-bar"), bar, 0), "another bar")


def test_another_style_paints_another_picture(lab: Locator, page: Page) -> None:
    before = pixels(lab)
    lab.locator(".nst-style select").select_option("mosaic")
    until_the_picture_moves(lab, before, page)


def test_the_lab_fits_its_page(lab: Locator, page: Page) -> None:
    assert_they_fit_their_page(page, lab)


def test_a_stopped_server_is_told_of_in_a_sentence(lab: Locator, page: Page) -> None:
    page.locator("button.nst-stop-server").click()
    page.locator("button.nst-stop-server", has_text="stopped").wait_for()
    before = pixels(lab)
    lab.locator(".nst-style select").select_option("vortex")
    wait_in(page, lambda: "Nobody answers at" in text(lab, "message"), "the sentence")
    assert np.array_equal(pixels(lab), before)
