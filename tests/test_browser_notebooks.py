"""Every notebook of the course in JupyterLab and a browser: all cells are run, all controls touched.

What a control does is tested elsewhere. Here whatever can be moved, chosen, ticked or pressed on the
page is found by what it is, and touched as a reader would: then the page answers, the kernel comes
to rest, and nobody complains: no cell, no kernel, no console. Takes minutes: ``make soak``.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import ROOT
from jupyter_pages import (
    VIEWPORT,
    Server,
    drag,
    in_sight,
    open_jupyterlab,
    open_notebook,
    rests,
    run_all,
    until_it_plays,
    wait_in,
    watch,
)

from nstlib.images import sample, save_image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.soak, pytest.mark.timeout(1800)]

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WIDGETS = ".jp-OutputArea-output:has(.jupyter-widgets)"  # what a cell has made, with its controls
# All that a widget shows: how its controls stand, and its pictures.
SHOWN = """widget => [
    widget.innerHTML,
    ...[...widget.querySelectorAll("input, select")].map(field => field.value + field.checked),
    ...[...widget.querySelectorAll("canvas")].map(canvas => canvas.toDataURL()),
].join()"""
PICTURES = """widget => [
    ...[...widget.querySelectorAll("img")].map(picture => picture.src),
    ...[...widget.querySelectorAll("canvas")].map(canvas => canvas.toDataURL()),
].join()"""
# Whether a control can be touched, and leads anywhere. A button that is off, as Stop and Save are
# at first, is on when it is its turn: what clicks it waits for that.
CAN_MOVE = """part => part.checkVisibility() && part.options?.length !== 1
    && (part.matches("button") || part.closest("[disabled]") === null)
    && !part.matches(".widget-toggle-buttons .mod-active")"""


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name.partition("-")[0])
def page(
    request: pytest.FixtureRequest, jupyter: Server, browser: Browser, complaints: list[str]
) -> Iterator[Page]:
    """A notebook in a page of its own, and with a kernel of its own, after Run All."""
    source: Path = request.param
    (jupyter.folder / source.name).write_bytes(source.read_bytes())
    page = browser.new_page(viewport=VIEWPORT)
    watch(page, jupyter.url, complaints)
    open_jupyterlab(page, jupyter)
    open_notebook(page, source.name)
    run_all(page, complaints, 900)
    yield page
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    page.close()


def test_all_of_it_runs_and_every_control_answers(
    page: Page, complaints: list[str], tmp_path: Path
) -> None:
    photo = save_image(sample("coffee", 192), tmp_path / "mine.png")
    widgets = page.locator(WIDGETS)
    assert widgets.count() > 0
    for i in range(widgets.count()):
        touch_all(page, widgets.nth(i), photo)
        assert complaints == [], f"of widget {i}"
    for clip in page.locator(".jp-OutputArea video").all():
        until_it_plays(clip, page)
    assert page.get_by_text("Traceback (most recent call last)").count() == 0
    assert complaints == []


def touch_all(page: Page, widget: Locator, photo: Path) -> None:
    """Touch every control of a widget, kind by kind; in the course of that its picture moves."""
    before = in_sight(widget).evaluate(PICTURES)
    for slider in controls(widget, "[role=slider], input[type=range]"):
        press(page, widget, slider, "ArrowRight", "ArrowLeft")
    for menu in controls(widget, "select"):
        press(page, widget, menu, "ArrowDown", "ArrowUp")
    for field in controls(widget, "input[type=number]"):
        press(page, widget, field, "ArrowUp", "ArrowDown")
    for box in controls(widget, "input[type=checkbox]"):
        press(page, widget, box, "Space", "Space")
    for board in controls(widget, "canvas[tabindex]"):
        press(page, widget, board, "Space", "ArrowRight")
        with answer(page, widget), drag(page, board, (0.05, 0.05), (0.3, 0.3)):
            pass
    for upload in controls(widget, "button.widget-upload"):
        with answer(page, widget):
            with page.expect_file_chooser() as chooser:
                upload.click()
            chooser.value.set_files(photo)
    for button in controls(widget, "button:not(.widget-upload)"):
        with answer(page, widget):
            button.click()
    assert widget.evaluate(PICTURES) != before


def controls(widget: Locator, kind: str) -> Iterator[Locator]:
    """The controls of a kind that can be touched; to touch one may add or take away another."""
    for i in itertools.count():
        if i >= widget.locator(kind).count():
            return
        if widget.locator(kind).nth(i).evaluate(CAN_MOVE):
            yield widget.locator(kind).nth(i)


def press(page: Page, widget: Locator, control: Locator, key: str, back: str) -> None:
    """Press a key on a control, and one that leads back; where it stands at an end, the other first."""
    control.focus()

    def leads(key: str) -> bool:
        before = widget.evaluate(SHOWN)
        control.press(key)
        with contextlib.suppress(AssertionError):
            return bool(wait_in(page, lambda: widget.evaluate(SHOWN) != before, "a move", 3))
        return False

    assert leads(key) or leads(back), f"{control} answers to neither {key} nor {back}"
    until_it_rests(page)
    assert leads(back) or leads(key), f"{control} does not go back"
    until_it_rests(page)


@contextlib.contextmanager
def answer(page: Page, widget: Locator) -> Iterator[None]:
    """Wait, after the block, until the widget shows something else."""
    before = widget.evaluate(SHOWN)
    yield
    wait_in(page, lambda: widget.evaluate(SHOWN) != before, "an answer")
    until_it_rests(page)


def until_it_rests(page: Page) -> None:
    """Wait until the kernel has answered, and a long run that was begun goes on by itself."""
    wait_in(page, lambda: rests(page), "the kernel to rest", 120)
