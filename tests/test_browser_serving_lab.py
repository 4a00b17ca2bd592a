"""The lab of notebook 06 in a real JupyterLab and a real browser: the slider's pictures come by HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pytest
from test_browser import (
    Server,
    assert_it_fits_its_page,
    jupyterlab_with,
    move_slider,
    new_page,
    open_notebook,
    pixels,
    readout,
    run_all,
    until_the_picture_moves,
    wait_in,
)

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with jupyterlab_with(tmp_path_factory.mktemp("lab"), "serving", SERVER, LAB) as server:
        yield server


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    """What the page has complained of."""
    return []


@pytest.fixture(scope="module")
def page(server: Server, chromium: str, complaints: list[str]) -> Iterator[Page]:
    """The notebook, after Run All."""
    with new_page(chromium, complaints) as page:
        open_notebook(page, server, "serving")
        run_all(page, server, "serving")
        yield page


@pytest.fixture
def lab(page: Page) -> Locator:
    lab = page.locator(".nst-serving-lab")
    lab.scroll_into_view_if_needed()
    return lab


def text(lab: Locator, part: str) -> str:
    return lab.locator(f".nst-{part}").text_content() or ""


def test_the_slider_gets_a_new_picture_and_a_new_bar(lab: Locator, page: Page) -> None:
    before, bar, said = pixels(lab), pixels(lab, "img.nst-bar"), text(lab, "status")
    assert "paint" in said
    move_slider(lab, page, "alpha", "ArrowLeft", 12)
    wait_in(page, lambda: readout(lab, "alpha") == pytest.approx(0.4), "the slider")
    until_the_picture_moves(lab, before, page)
    wait_in(page, lambda: text(lab, "status") != said, "other times")
    assert (pixels(lab, "img.nst-bar") != bar).any()


def test_another_style_paints_another_picture(lab: Locator, page: Page) -> None:
    before = pixels(lab)
    lab.locator(".nst-style select").select_option("mosaic")
    until_the_picture_moves(lab, before, page)


def test_the_lab_fits_its_page(lab: Locator, page: Page) -> None:
    assert_it_fits_its_page(lab, page)


def test_a_stopped_server_is_told_of_in_a_sentence(lab: Locator, page: Page) -> None:
    page.locator("button.nst-stop-server").click()
    page.locator("button.nst-stop-server", has_text="stopped").wait_for()
    before = pixels(lab)
    lab.locator(".nst-style select").select_option("vortex")
    wait_in(page, lambda: "Nobody answers at" in text(lab, "message"), "the sentence")
    assert np.array_equal(pixels(lab), before)


def test_the_page_has_not_complained(page: Page, complaints: list[str]) -> None:
    assert complaints == []
