"""The pad of styles and the brush for masks in a real JupyterLab and a real browser.

A small notebook shows both, and beside each, in a label, what Python knows of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from test_browser import (
    ACTIVE_CELL,
    Server,
    jupyterlab_with,
    new_page,
    open_notebook,
    pause_of,
    run_all,
    wait_in,
)

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

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
from nstlib.widgets.mask_brush import MaskBrush

brush = MaskBrush(images.sample("coffee", 200))
told = ipywidgets.Label().add_class("nst-told")
erase = ipywidgets.Checkbox(description="Erase").add_class("nst-erase")
mode = ipywidgets.Dropdown(options=["brush", "rectangle"]).add_class("nst-mode")
ipywidgets.link((erase, "value"), (brush, "erase"))
ipywidgets.link((mode, "value"), (brush, "mode"))
strokes, boxes = [], []
slow = ipywidgets.Checkbox(description="Slow").add_class("nst-slow")

def paint():
    if slow.value:
        slow.value = False
        time.sleep(1.5)
        brush.invert()
    if not brush.painting:
        strokes.append(brush.mask)
    tell()

def tell():
    box = " ".join(f"{part:.3f}" for part in brush.rectangle)
    inside = (brush.mask > 0.5).sum()
    soft = ((brush.mask > 0) & (brush.mask < 1)).sum()
    told.value = f"{inside} px, {soft} soft, {len(strokes)} strokes, {len(boxes)} boxes: {box}"

def draw():
    boxes.append(brush.rectangle)
    tell()

def button(name, press):
    made = ipywidgets.Button(description=name).add_class(f"nst-{name}")
    made.on_click(lambda _: (press(), tell()))
    return made

brush.on_paint(paint)
brush.on_rectangle(draw)
buttons = [button("clear", brush.clear), button("invert", brush.invert)]
ipywidgets.VBox([brush, told, erase, mode, slow, ipywidgets.HBox(buttons)])
"""
# How many pixels lie under the veil, at half its opacity at least, or on its line.
VEILED = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.filter((value, i) => i % 4 === 3 && value >= 64).length;
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    cells = (PAD, BRUSH, "'the end'")
    with jupyterlab_with(tmp_path_factory.mktemp("lab"), "controls", *cells) as server:
        yield server


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    """What the page has complained of."""
    return []


@pytest.fixture(scope="module")
def page(server: Server, chromium: str, complaints: list[str]) -> Iterator[Page]:
    """The notebook, after Run All."""
    with new_page(chromium, complaints) as page:
        open_notebook(page, server, "controls")
        run_all(page, server, "controls")
        yield page


def box_of(part: Locator) -> dict[str, float]:
    part.scroll_into_view_if_needed()
    box = part.bounding_box()
    assert box is not None
    return {**box}


def finger(page: Page, *points: tuple[float, float]) -> None:
    """Put a finger on the first point, move it over the others, and lift it."""
    touch = page.context.new_cdp_session(page)
    for i, (x, y) in enumerate(points):
        kind = "touchMove" if i else "touchStart"
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


# -------------------------------------------------------------------------------------------- pad


@pytest.fixture
def pad(page: Page) -> Locator:
    """The pad, its point in the middle."""
    pad = page.locator(".nst-pad")
    pad.scroll_into_view_if_needed()
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


def at(pad: Locator, x: float, y: float) -> tuple[float, float]:
    """Where on the page a place of the pad is."""
    box, inner = box_of(pad), SIDE - 2 * EDGE
    return box["x"] + EDGE + x * inner, box["y"] + EDGE + y * inner


def until_at(page: Page, x: float, y: float, close: float = 1e-6) -> None:
    def there() -> bool:
        return place(page) == pytest.approx((x, y), abs=close)

    wait_in(page, there, f"the point at {x}, {y}; it is at {place(page)}")


def test_a_drag_moves_the_point_and_python_follows(pad: Locator, page: Page) -> None:
    page.mouse.move(*at(pad, 0.5, 0.5))
    page.mouse.down()
    page.mouse.move(*at(pad, 0.6, 0.4), steps=4)
    until_at(page, 0.6, 0.4, close=0.005)  # before it is let go
    page.mouse.move(*at(pad, 0.3, 0.7), steps=8)
    page.mouse.up()
    until_at(page, 0.3, 0.7, close=0.005)
    page.mouse.move(*at(pad, 0.9, 0.9))
    pause_of(page)(0.5)
    until_at(page, 0.3, 0.7, close=0.005)  # it no longer follows
    handle = box_of(pad.locator("[role=slider]"))
    middle = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    assert middle == pytest.approx(at(pad, 0.3, 0.7), abs=1)


def test_a_drag_beyond_the_border_ends_at_it(pad: Locator, page: Page) -> None:
    page.mouse.move(*at(pad, 0.5, 0.5))
    page.mouse.down()
    page.mouse.move(*at(pad, 1.4, -0.2), steps=3)
    until_at(page, 1, 0)
    page.mouse.up()


def test_a_click_moves_the_point_once(pad: Locator, page: Page) -> None:
    before = moves(page)
    page.mouse.click(*at(pad, 0.4, 0.55))
    until_at(page, 0.4, 0.55, close=0.005)
    pause_of(page)(0.3)
    assert moves(page) == before + 1


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
    pause_of(page)(0.3)
    assert place(page) == (0, 1)
    assert page.evaluate(ACTIVE_CELL) == cell
    assert page.locator(".jp-MarkdownCell").count() == 0
    assert pad.locator("[role=slider]").evaluate("part => document.activeElement === part")


def test_screen_readers_are_told_the_shares(pad: Locator, page: Page) -> None:
    handle = pad.locator("[role=slider]")
    told = "vortex 25 %, stained_glass 25 %, weaving 25 %, cubism 25 %"
    wait_in(page, lambda: handle.get_attribute("aria-valuetext") == told, "the shares")
    assert "arrow keys" in (handle.get_attribute("aria-label") or "")


def test_a_finger_drags_the_point(pad: Locator, page: Page) -> None:
    finger(page, *(at(pad, 0.5 - 0.05 * step, 0.5 + 0.04 * step) for step in range(6)))
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


def on(board: Locator, x: float, y: float) -> tuple[float, float]:
    box = box_of(board)
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def take_eraser(page: Page) -> None:
    page.locator(".nst-erase input").set_checked(True)
    page.locator(".nst-board-ring.nst-erases").wait_for(state="attached")


def drag(page: Page, board: Locator, *places: tuple[float, float], steps: int = 5) -> None:
    page.mouse.move(*on(board, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*on(board, *place), steps=steps)
    page.mouse.up()


def until_told(page: Page, count: int) -> float:
    """Wait for the end of a stroke; return the mask's pixels."""
    wait_in(page, lambda: strokes(page) == count, "the stroke")
    return covered(page)


def test_a_fast_stroke_has_no_gaps(board: Locator, page: Page) -> None:
    before = strokes(page)
    drag(page, board, (0.2, 0.5), (0.8, 0.5), steps=1)
    found = until_told(page, before + 1)
    # A line of 180 px and half a circle at each end, 14 px from its middle to half the veil.
    assert found == pytest.approx(180 * 2 * 14 + 3.14 * 14**2, rel=0.1)
    assert veiled(board) == pytest.approx(found, rel=0.02)
    opacity = board.evaluate("""canvas => {
        const row = canvas.getContext("2d").getImageData(60, 100, 180, 1).data;
        return Array.from(row).filter((_, i) => i % 4 === 3);
    }""")
    assert len(set(opacity)) == 1
    assert opacity[0] > 100


def test_python_follows_before_the_stroke_ends(board: Locator, page: Page) -> None:
    before = strokes(page)
    page.mouse.move(*on(board, 0.3, 0.3))
    page.mouse.down()
    page.mouse.move(*on(board, 0.5, 0.3), steps=5)
    wait_in(page, lambda: covered(page) > 0, "a part of the stroke")
    assert strokes(page) == before
    page.mouse.up()
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
    finger(page, *(on(board, 0.2 + 0.1 * step, 0.2 + 0.1 * step) for step in range(6)))
    # A line of 180 px and half a circle at each end, 14 px from its middle to half the veil.
    assert until_told(page, before + 1) == pytest.approx(180 * 2 * 14 + 3.14 * 14**2, rel=0.1)


def test_what_is_painted_is_erased(board: Locator, page: Page) -> None:
    before = strokes(page)
    drag(page, board, (0.2, 0.5), (0.8, 0.5))
    whole = until_told(page, before + 1)
    take_eraser(page)
    drag(page, board, (0.5, 0.1), (0.5, 0.9))
    less = until_told(page, before + 2)
    assert 0.6 * whole < less < 0.9 * whole
    assert veiled(board) == pytest.approx(less, rel=0.02)


def test_a_rectangle_is_drawn_by_mouse_and_by_keyboard(board: Locator, page: Page) -> None:
    page.locator(".nst-mode select").select_option("rectangle")
    drag(page, board, (0.75, 0.8), (0.25, 0.2))  # from the bottom right
    wait_in(page, lambda: "boxes: 0" in told(page), "a rectangle")
    assert [float(part) for part in told(page).split(": ")[1].split()] == pytest.approx(
        [0.25, 0.2, 0.75, 0.8], abs=0.01
    )
    assert covered(page) == 0
    frame = page.locator(".nst-board-frame")
    assert frame.is_visible()
    first = told(page)
    board.focus()
    page.keyboard.press("Space")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    page.keyboard.press("Space")
    wait_in(page, lambda: told(page) != first, "another rectangle")
    left, top, right, bottom = (float(part) for part in told(page).split(": ")[1].split())
    assert (left, top) == pytest.approx((0.25, 0.2), abs=0.01)  # where the pointer was
    assert right - left == pytest.approx(2 * 10 / 300, abs=0.002)
    assert bottom - top == pytest.approx(10 / 200, abs=0.002)
    page.locator(".nst-mode select").select_option("brush")
    frame.wait_for(state="hidden")


def test_what_python_sets_is_shown(board: Locator, page: Page) -> None:
    before = strokes(page)
    drag(page, board, (0.2, 0.5), (0.8, 0.5))
    found = until_told(page, before + 1)
    page.locator("button.nst-invert").click()
    wait_in(page, lambda: covered(page) > 2 * found, "the inverse")
    assert covered(page) == pytest.approx(200 * 300 - found, abs=1)
    wait_in(page, lambda: veiled(board) > 2 * found, "the inverse on the page")
    assert veiled(board) == pytest.approx(covered(page), rel=0.02)


def test_a_stroke_that_crosses_what_python_sets_is_not_lost(board: Locator, page: Page) -> None:
    """It is painted while the kernel answers another, and then inverts the mask."""
    before = strokes(page)
    drag(page, board, (0.2, 0.3), (0.8, 0.3))
    first = until_told(page, before + 1)
    page.locator(".nst-slow input").set_checked(True)
    pause_of(page)(0.3)
    drag(page, board, (0.4, 0.3), (0.5, 0.3))  # where all is painted
    pause_of(page)(0.5)
    assert strokes(page) == before + 1  # the kernel is busy with it
    drag(page, board, (0.5, 0.1), (0.5, 0.5))
    inverse = 200 * 300 - first
    crossing = (2 * 0.08 * 200) ** 2
    wait_in(page, lambda: covered(page) > inverse + 0.7 * crossing, "both")
    pause_of(page)(0.5)
    assert covered(page) == pytest.approx(inverse + crossing, abs=0.3 * crossing)
    assert veiled(board) == pytest.approx(covered(page), abs=0.1 * crossing)


def test_the_page_has_not_complained(board: Locator, complaints: list[str]) -> None:
    assert complaints == []
