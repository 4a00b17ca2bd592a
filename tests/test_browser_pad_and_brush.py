"""The pad of styles and the brush for masks in a real JupyterLab and a real browser.

A small notebook shows both, and beside each, in a label, what Python knows of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from jupyter_pages import ACTIVE_CELL, Place, Server, at, box_of, drag, in_sight, rests, wait_in

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

SIDE = 260  # px: of the pad
EDGE = 16  # px: between its border and where the point can go
PAD = """
import ipywidgets
from nstlib import images
from nstlib.widgets.style_pad import StylePad

names = ["vortex", "stained_glass", "weaving", "cubism"]
pad = StylePad(names, [images.style(name, 128) for name in names])
place, moves = ipywidgets.Label().add_class("nst-place"), []

def tell():
    moves.append((pad.x, pad.y))
    left, top = 1 - pad.x, 1 - pad.y
    pad.shares = [left * top, pad.x * top, left * pad.y, pad.x * pad.y]
    place.value = f"{pad.x:.3f} {pad.y:.3f} after {len(moves)}"

pad.on_move(tell)
tell()
ipywidgets.VBox([pad, place])
"""
BRUSH = """
import time
from pathlib import Path
from nstlib.widgets.mask_brush import MaskBrush

brush = MaskBrush(images.sample("coffee", 200))
told = ipywidgets.Label().add_class("nst-told")
erase = ipywidgets.Checkbox(description="Erase").add_class("nst-erase")
mode = ipywidgets.Dropdown(options=["brush", "rectangle"]).add_class("nst-mode")
ipywidgets.link((erase, "value"), (brush, "erase"))
ipywidgets.link((mode, "value"), (brush, "mode"))
strokes, boxes = [], []
held = ipywidgets.Checkbox(description="Held").add_class("nst-held")

def paint():
    if held.value:
        held.value = False
        while not Path("released").exists():
            time.sleep(0.01)
        brush.invert()
    if not brush.painting:
        strokes.append(brush.mask)
    tell()

def tell():
    box = " ".join(f"{part:.3f}" for part in brush.rectangle)
    inside = (brush.mask > 0.5).sum()
    soft = ((brush.mask > 0) & (brush.mask < 1)).sum()
    state = "held, " if held.value else ""
    told.value = f"{state}{inside} px, {soft} soft, {len(strokes)} strokes, {len(boxes)} boxes: {box}"

def draw():
    boxes.append(brush.rectangle)
    tell()

def button(name, press):
    made = ipywidgets.Button(description=name).add_class(f"nst-{name}")
    made.on_click(lambda _: (press(), tell()))
    return made

brush.on_paint(paint)
brush.on_rectangle(draw)
held.observe(lambda _: tell(), "value")
buttons = [button("clear", brush.clear), button("invert", brush.invert)]
ipywidgets.VBox([brush, told, erase, mode, held, ipywidgets.HBox(buttons)])
"""
CELLS = (PAD, BRUSH)
# How many pixels lie under the veil, at half its opacity at least, or on its line.
VEILED = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, i) => i % 4 === 3 && value >= 64).length;
}"""


def finger(page: Page, part: Locator, *places: Place) -> None:
    """Put a finger on the first place, move it over the others, and lift it."""
    touch = page.context.new_cdp_session(page)
    for i, place in enumerate(places):
        kind, (x, y) = "touchMove" if i else "touchStart", at(part, place)
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


# -------------------------------------------------------------------------------------------- pad


@pytest.fixture
def pad(page: Page) -> Locator:
    """The pad, its point in the middle."""
    pad = in_sight(page.locator(".nst-pad"))
    pad.locator("[role=slider]").focus()
    page.keyboard.press("Home")
    wait_in(page, lambda: place(page) == (0.5, 0.5), "the middle")
    return pad


def place(page: Page) -> tuple[float, float]:
    """Where Python has the point."""
    x, y = (page.locator(".nst-place").text_content() or "").split()[:2]
    return float(x), float(y)


def moves(page: Page) -> int:
    return int((page.locator(".nst-place").text_content() or "").split()[-1])


def spot(x: float, y: float) -> Place:
    """Where in the pad, with its border, a place for the point is."""
    inner = SIDE - 2 * EDGE
    return (EDGE + x * inner) / SIDE, (EDGE + y * inner) / SIDE


def until_at(page: Page, x: float, y: float, close: float = 1e-6) -> None:
    def there() -> bool:
        return place(page) == pytest.approx((x, y), abs=close)

    wait_in(page, there, f"the point at {x}, {y}; it is at {place(page)}")


def test_a_drag_moves_the_point_and_python_follows(pad: Locator, page: Page) -> None:
    with drag(page, pad, spot(0.5, 0.5), spot(0.6, 0.4)):
        until_at(page, 0.6, 0.4, close=0.005)  # before it is let go
        page.mouse.move(*at(pad, spot(0.3, 0.7)), steps=8)
    page.mouse.move(*at(pad, spot(0.9, 0.9)))  # it no longer follows
    until_at(page, 0.3, 0.7, close=0.005)
    handle = box_of(pad.locator("[role=slider]"))
    middle = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    assert middle == pytest.approx(at(pad, spot(0.3, 0.7)), abs=1)


def test_a_drag_beyond_the_border_ends_at_it(pad: Locator, page: Page) -> None:
    with drag(page, pad, spot(0.5, 0.5), spot(1.4, -0.2)):
        until_at(page, 1, 0)


def test_a_click_moves_the_point_once(pad: Locator, page: Page) -> None:
    before = moves(page)
    page.mouse.click(*at(pad, spot(0.4, 0.55)))
    until_at(page, 0.4, 0.55, close=0.005)
    page.keyboard.press("Home")
    until_at(page, 0.5, 0.5)
    assert moves(page) == before + 2


def test_a_click_on_a_picture_moves_the_point_to_its_place(pad: Locator, page: Page) -> None:
    pad.locator("img").nth(1).click()
    until_at(page, 1, 0)
    assert pad.locator("figcaption").nth(1).text_content() == "stained_glass100 %"
    assert pad.locator("figcaption").nth(2).text_content() == "weaving0 %"


def test_pictures_lie_in_the_pad_and_the_point_lies_over_them(pad: Locator, page: Page) -> None:
    whole = box_of(pad)
    for picture in pad.locator("img").all():
        box = box_of(picture)
        assert whole["x"] <= box["x"]
        assert whole["y"] <= box["y"]
        assert box["x"] + box["width"] <= whole["x"] + whole["width"]
        assert box["y"] + box["height"] <= whole["y"] + whole["height"]
    page.keyboard.press("4")
    until_at(page, 1, 1)
    pad.locator("[role=slider]").click(trial=True)  # fails where another part would get the click


def test_arrow_keys_move_the_point_and_not_the_notebook(pad: Locator, page: Page) -> None:
    cell = page.evaluate(ACTIVE_CELL)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    until_at(page, 0.65, 0.55)
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    until_at(page, 0.64, 0.54)
    page.keyboard.press("3")
    until_at(page, 0, 1)
    page.keyboard.press("m")  # to JupyterLab: turn the cell into text
    page.keyboard.press("ArrowDown")  # at the border
    page.keyboard.press("ArrowUp")
    until_at(page, 0, 0.95)
    assert page.evaluate(ACTIVE_CELL) == cell
    assert page.locator(".jp-MarkdownCell").count() == 0
    assert pad.locator("[role=slider]").evaluate("part => document.activeElement === part")


def test_screen_readers_are_told_the_shares(pad: Locator, page: Page) -> None:
    handle = pad.locator("[role=slider]")
    told = "vortex 25 %, stained_glass 25 %, weaving 25 %, cubism 25 %"
    wait_in(page, lambda: handle.get_attribute("aria-valuetext") == told, "the shares")
    assert "arrow keys" in (handle.get_attribute("aria-label") or "")


def test_a_finger_drags_the_point(pad: Locator, page: Page) -> None:
    finger(page, pad, *(spot(0.5 - 0.05 * step, 0.5 + 0.04 * step) for step in range(6)))
    until_at(page, 0.25, 0.7, close=0.005)


# ------------------------------------------------------------------------------------------ brush


@pytest.fixture
def board(page: Page) -> Locator:
    """The photo, with nothing painted, and the brush to paint with."""
    page.locator(".nst-erase input").set_checked(False)
    page.locator(".nst-mode select").select_option("brush")
    page.locator("button.nst-clear").click()
    wait_in(page, lambda: covered(page) == 0, "an empty mask")
    board = page.locator(".nst-board canvas")
    wait_in(page, lambda: veiled(board) == 0, "no veil")
    page.locator(".nst-board-ring.nst-paints").wait_for(state="attached")
    board.scroll_into_view_if_needed()
    return board


def told(page: Page) -> str:
    return page.locator(".nst-told").text_content() or ""


def count(page: Page, what: str) -> int:
    found = re.search(rf"(\d+) {what}", told(page))
    return int(found[1]) if found else 0


def covered(page: Page) -> int:
    """How many pixels Python has in the mask."""
    return count(page, "px")


def strokes(page: Page) -> int:
    return count(page, "strokes")


def veiled(board: Locator) -> int:
    """How many pixels the page shows in the mask."""
    return int(board.evaluate(VEILED))


def take_eraser(page: Page) -> None:
    page.locator(".nst-erase input").set_checked(True)
    page.locator(".nst-board-ring.nst-erases").wait_for(state="attached")


def stroke(page: Page, board: Locator, *places: Place, steps: int = 6) -> float:
    """Paint from place to place, until Python knows of all of it; return the mask's pixels."""
    before = strokes(page)
    with drag(page, board, *places, steps=steps):
        pass
    return until_told(page, before + 1)


def until_told(page: Page, count: int) -> float:
    """Wait for the end of a stroke; return the mask's pixels."""
    wait_in(page, lambda: strokes(page) == count, "the stroke")
    return covered(page)


def rectangle(page: Page) -> list[float]:
    """Left, top, right and bottom as Python has them, or nothing."""
    return [float(part) for part in told(page).partition(": ")[2].split()]


# A line of 180 px and half a circle at each end, 14 px from its middle to half the veil.
LINE = 180 * 2 * 14 + 3.14 * 14**2


def test_a_fast_stroke_has_no_gaps(board: Locator, page: Page) -> None:
    found = stroke(page, board, (0.2, 0.5), (0.8, 0.5), steps=1)
    assert found == pytest.approx(LINE, rel=0.1)
    assert veiled(board) == pytest.approx(found, rel=0.02)
    opacity = board.evaluate("""canvas => {
        const row = canvas.getContext("2d").getImageData(60, 100, 180, 1).data;
        return Array.from(row).filter((_, i) => i % 4 === 3);
    }""")
    assert len(set(opacity)) == 1
    assert opacity[0] > 100


def test_python_follows_before_the_stroke_ends(board: Locator, page: Page) -> None:
    before = strokes(page)
    with drag(page, board, (0.3, 0.3), (0.5, 0.3)):
        wait_in(page, lambda: covered(page) > 0, "a part of the stroke")
        assert strokes(page) == before
    until_told(page, before + 1)


def test_the_mask_is_painted_by_keyboard_and_the_notebook_stays(board: Locator, page: Page) -> None:
    cell = page.evaluate(ACTIVE_CELL)
    board.focus()
    page.keyboard.press("Space")
    wait_in(page, lambda: covered(page) > 0, "a dab")
    one = covered(page)
    assert one == pytest.approx(3.14 * 14**2, rel=0.1)
    assert 0.2 * one < count(page, "soft") < one
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_in(page, lambda: covered(page) == pytest.approx(2 * one, rel=0.05), "another dab")
    page.keyboard.press("m")
    page.keyboard.press("ArrowDown")
    assert page.evaluate(ACTIVE_CELL) == cell
    assert page.locator(".jp-MarkdownCell").count() == 0
    assert board.evaluate("part => document.activeElement === part")


def test_a_finger_paints(board: Locator, page: Page) -> None:
    before = strokes(page)
    finger(page, board, *((0.2 + 0.1 * step, 0.2 + 0.1 * step) for step in range(6)))
    assert until_told(page, before + 1) == pytest.approx(LINE, rel=0.1)


def test_what_is_painted_is_erased(board: Locator, page: Page) -> None:
    whole = stroke(page, board, (0.2, 0.5), (0.8, 0.5))
    page.locator(".nst-erase input").set_checked(True)
    page.locator(".nst-board-ring.nst-erases").wait_for(state="attached")
    less = stroke(page, board, (0.5, 0.1), (0.5, 0.9))
    assert 0.6 * whole < less < 0.9 * whole
    assert veiled(board) == pytest.approx(less, rel=0.02)


def test_a_rectangle_is_drawn_by_mouse_and_by_keyboard(board: Locator, page: Page) -> None:
    page.locator(".nst-mode select").select_option("rectangle")
    # The kernel passes the choice on to the board: until then, it is still a brush.
    page.locator(".nst-board-ring.nst-points").wait_for(state="attached")
    with drag(page, board, (0.75, 0.8), (0.25, 0.2)):  # from the bottom right
        pass
    first = wait_in(page, lambda: rectangle(page), "a rectangle")
    assert first == pytest.approx([0.25, 0.2, 0.75, 0.8], abs=0.01)
    assert covered(page) == 0
    frame = page.locator(".nst-board-frame")
    assert frame.is_visible()
    board.focus()
    page.keyboard.press("Space")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    page.keyboard.press("Space")
    wait_in(page, lambda: rectangle(page) != first, "another rectangle")
    left, top, right, bottom = rectangle(page)
    assert (left, top) == pytest.approx((0.25, 0.2), abs=0.01)  # where the pointer was
    assert right - left == pytest.approx(2 * 10 / 300, abs=0.002)
    assert bottom - top == pytest.approx(10 / 200, abs=0.002)
    page.locator(".nst-mode select").select_option("brush")
    frame.wait_for(state="hidden")


def test_what_python_sets_is_shown(board: Locator, page: Page) -> None:
    found = stroke(page, board, (0.2, 0.5), (0.8, 0.5))
    page.locator("button.nst-invert").click()
    wait_in(page, lambda: covered(page) > 2 * found, "the inverse")
    assert covered(page) == pytest.approx(200 * 300 - found, abs=1)
    wait_in(page, lambda: veiled(board) > 2 * found, "the inverse on the page")
    assert veiled(board) == pytest.approx(covered(page), rel=0.02)


def test_a_stroke_that_crosses_what_python_sets_is_not_lost(
    board: Locator, page: Page, jupyter: Server
) -> None:
    """It is painted while the kernel answers another, and then inverts the mask."""
    first = stroke(page, board, (0.2, 0.3), (0.8, 0.3))
    page.locator(".nst-held input").set_checked(True)
    wait_in(page, lambda: told(page).startswith("held"), "the kernel to know")
    with drag(page, board, (0.4, 0.3), (0.5, 0.3)):  # where all is painted
        pass
    wait_in(page, lambda: not told(page).startswith("held"), "the kernel to be held by it")
    with drag(page, board, (0.5, 0.1), (0.5, 0.5)):
        pass
    (jupyter.folder / "released").touch()
    inverse = 200 * 300 - first
    crossing = (2 * 0.08 * 200) ** 2
    both = pytest.approx(inverse + crossing, abs=0.3 * crossing)
    wait_in(page, lambda: covered(page) == both, "both")
    wait_in(page, lambda: rests(page), "the kernel to rest")
    assert covered(page) == both
    assert veiled(board) == pytest.approx(covered(page), abs=0.1 * crossing)
