"""The clip player, the lab of clips, and a finished clip, in a real JupyterLab and a real browser.

A small notebook shows them, and beside the player, in a label, what Python knows of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from jupyter_pages import (
    ACTIVE_CELL,
    Server,
    assert_they_fit_their_page,
    differ,
    in_sight,
    move_slider,
    pixels,
    readout,
    saved_by,
    status,
    until_it_plays,
    until_the_picture_moves,
    wait_in,
)

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

COUNT, RATE = 12, 10  # frames, and frames a second: grey, each lighter than the one before
PLAYER = """
import ipywidgets, torch
from nstlib.widgets import ClipPlayer

greys = torch.linspace(0, 1, 12).view(12, 1, 1, 1).expand(12, 3, 24, 32).contiguous()
player = ClipPlayer([("Grey", greys), ("Negative", 1 - greys)], rate=10)
told = ipywidgets.Label().add_class("nst-told")

def tell(_=None):
    told.value = f"{player.index} {'plays' if player.playing else 'rests'}"

player.observe(tell, ["index", "playing"])
tell()

def red(_):
    player.set("Negative", torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(12, 3, 24, 32))

def go(_):
    player.playing = True

def button(name, press):
    made = ipywidgets.Button(description=name).add_class(f"nst-{name}")
    made.on_click(press)
    return made

ipywidgets.VBox([player, told, button("red", red), button("go", go)])
"""
SECOND_VIEW = "player"
SELF_STARTER = 'ClipPlayer([("Grey", greys)], rate=10, playing=True).add_class("nst-self-starter")'
LAB = """
from nstlib.painting import clip
from nstlib.widgets import VideoLab

VideoLab(clip("sprites", frames=8, height=72, width=128), style_size=96)
"""
FILE = """
from nstlib import video

video.display(video.write("greys.mp4", greys.repeat(3, 1, 1, 1)[..., :31], rate=12), alt="Greys")
"""
CELLS = (PLAYER, SECOND_VIEW, SELF_STARTER, LAB, FILE)
TRACKS = {
    name: f".nst-player canvas >> nth={i}" for i, name in enumerate(("original", "alone", "steady"))
}
# How light each of a player's clips is in its middle, all read at one moment.
LIGHTNESS = """player => [...player.querySelectorAll("canvas")].map(canvas => {
    const { width, height } = canvas;
    return canvas.getContext("2d").getImageData(width / 2, height / 2, 1, 1).data[0];
})"""
# Which frame two views show, and when, at each of the page's own frames for a while.
BOTH = """(second, rate) => new Promise(done => {
    const [one, other] = document.querySelectorAll(".nst-player"), seen = [];
    const shown = () => [one, other].map(view => Number(view.dataset.index));
    const note = now => {
        seen.push([...shown(), now]);
        if (now - seen[0][2] > 8000 / rate) done(seen);
        else requestAnimationFrame(note);
    };
    requestAnimationFrame(note);
})"""
# The colours of a text and of what is behind it.
COLOURS = """part => {
    let behind = part;
    const colour = () => getComputedStyle(behind).backgroundColor;
    while (/, 0\\)|transparent/.test(colour())) behind = behind.parentElement;
    return [getComputedStyle(part).color, colour()].map(
        text => text.match(/[\\d.]+/g).slice(0, 3).map(Number));
}"""


@pytest.fixture(scope="module")
def less_motion(jupyter_page: Page) -> Iterator[None]:
    jupyter_page.emulate_media(reduced_motion="reduce")
    yield
    jupyter_page.emulate_media(reduced_motion="no-preference")


@pytest.fixture(scope="module")
def notebook(less_motion: None, notebook: Page) -> Page:
    """The notebook, after Run All, for a reader who wants less motion."""
    return notebook


# ----------------------------------------------------------------------------------------- player


@pytest.fixture
def player(page: Page) -> Locator:
    """The player, which rests at its first frame."""
    player = in_sight(page.locator(".nst-player").first)
    slider(player).focus()
    page.keyboard.press("Home")
    until_told(page, "0 rests")
    wait_in(page, lambda: lightness(player)[0] == 0, "the first frame")
    return player


def slider(player: Locator) -> Locator:
    return player.locator("input[type=range]")


def until_told(page: Page, what: str) -> None:
    told = page.locator(".nst-told")
    wait_in(page, lambda: told.text_content() == what, f"{what!r} in Python")


def lightness(player: Locator) -> list[int]:
    return [int(value) for value in player.evaluate(LIGHTNESS)]


def frames_of(player: Locator) -> list[float]:
    """Which frame each clip shows, by how light it is."""
    light, negative = lightness(player)
    return [light / 255 * (COUNT - 1), (1 - negative / 255) * (COUNT - 1)]


def until_at(player: Locator, page: Page, frame: int) -> None:
    def there() -> bool:
        return frames_of(player) == pytest.approx([frame, frame], abs=0.2)

    wait_in(page, there, f"frame {frame} in both clips")
    assert slider(player).get_attribute("aria-valuetext") == f"frame {frame + 1} of {COUNT}"
    text = f"{frame + 1} of {COUNT} · {frame / RATE:.2f} s"
    assert player.locator("output").text_content() == text


def assert_it_rests(player: Locator, page: Page) -> None:
    """For longer than a frame lasts."""
    page.wait_for_timeout(2000 / RATE)
    assert player.get_by_role("button", name="Play").is_visible()
    assert slider(player).input_value() == "0"


def test_it_does_not_start_by_itself(player: Locator, page: Page) -> None:
    assert_it_rests(player, page)


def test_where_less_motion_is_wanted_none_starts_by_itself(page: Page) -> None:
    assert_it_rests(in_sight(page.locator(".nst-self-starter")), page)


def test_python_starts_it(player: Locator, page: Page) -> None:
    page.locator("button.nst-go").click()
    wait_in(page, lambda: frames_of(player)[0] > 2, "it to play")
    player.get_by_role("button", name="Pause").click()


def test_it_plays_in_step_and_pauses_and_python_is_told_where(player: Locator, page: Page) -> None:
    player.get_by_role("button", name="Play").click()
    until_told(page, "0 plays")
    seen = set()

    def has_shown_four() -> bool:
        grey, negative = frames_of(player)
        assert grey == pytest.approx(negative, abs=0.3)
        seen.add(round(grey))
        return len(seen) >= 4

    wait_in(page, has_shown_four, "four frames")
    player.get_by_role("button", name="Pause").click()
    wait_in(page, lambda: "rests" in str(page.locator(".nst-told").text_content()), "the rest")
    stopped = slider(player).input_value()
    until_at(player, page, int(stopped))
    until_told(page, f"{stopped} rests")


def test_what_plays_begins_again_at_its_end(player: Locator, page: Page) -> None:
    page.keyboard.press("End")
    until_at(player, page, COUNT - 1)
    page.keyboard.press("Space")
    wait_in(page, lambda: 0 < frames_of(player)[0] < COUNT - 1.5, "the beginning")
    page.keyboard.press("Space")
    wait_in(page, lambda: "rests" in str(page.locator(".nst-told").text_content()), "the rest")


def test_the_scrubber_moves_by_keyboard_and_the_notebook_stays(player: Locator, page: Page) -> None:
    cell = page.evaluate(ACTIVE_CELL)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    until_at(player, page, 3)
    until_told(page, "3 rests")
    page.keyboard.press("ArrowLeft")
    until_at(player, page, 2)
    page.keyboard.press("m")  # to JupyterLab: turn the cell into text
    assert page.evaluate(ACTIVE_CELL) == cell
    assert page.locator(".jp-MarkdownCell").count() == 0
    player.get_by_role("button", name="Next frame").focus()
    page.keyboard.press("ArrowRight")
    until_at(player, page, 3)


def test_the_scrubber_moves_by_mouse_and_pauses_what_plays(player: Locator, page: Page) -> None:
    player.get_by_role("button", name="Play").click()
    until_told(page, "0 plays")
    box = slider(player).bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    wait_in(page, lambda: "rests" in str(page.locator(".nst-told").text_content()), "the rest")
    assert 4 <= frames_of(player)[0] <= 7


def test_buttons_step_round_the_ends(player: Locator, page: Page) -> None:
    player.get_by_role("button", name="Previous frame").click()
    until_at(player, page, COUNT - 1)
    player.get_by_role("button", name="Next frame").click()
    until_at(player, page, 0)


def test_two_views_of_a_player_show_the_same(player: Locator, page: Page) -> None:
    second = page.locator(".nst-player").nth(1)
    page.keyboard.press("ArrowRight")
    until_at(player, page, 1)
    until_at(second, page, 1)
    second.get_by_role("button", name="Play").click()
    seen = second.evaluate(BOTH, RATE)
    page.locator(".nst-player-play").nth(1).click()
    assert all(a == b for a, b, _ in seen)
    # One clock: with two, it would be at twice the speed.
    ahead = sum((b - a) % COUNT for (a, *_), (b, *_) in itertools.pairwise(seen))
    seconds = (seen[-1][2] - seen[0][2]) / 1000
    assert 0 < ahead <= seconds * RATE + 2


def test_another_clip_leaves_the_frame_that_is_shown(player: Locator, page: Page) -> None:
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    until_at(player, page, 5)
    page.locator("button.nst-red").click()
    wait_in(page, lambda: lightness(player)[1] > 245, "the red clip")
    assert lightness(player)[0] == pytest.approx(255 * 5 / (COUNT - 1), abs=3)
    assert slider(player).input_value() == "5"


# -------------------------------------------------------------------------------------------- lab


@pytest.fixture
def lab(page: Page) -> Locator:
    lab = page.locator(".nst-video-lab")
    in_sight(lab.locator(".nst-player"))
    lab.locator("input.nst-player-frame").focus()
    page.keyboard.press("End")
    wait_in(page, lambda: lab.locator(".nst-player").get_attribute("data-index") == "7", "the end")
    return lab


def tracks(lab: Locator) -> dict[str, np.ndarray[Any, Any]]:
    return {name: pixels(lab, selector) for name, selector in TRACKS.items()}


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before if differ(before[name], after[name])}


def until_told_anew(lab: Locator, page: Page, before: str) -> None:
    wait_in(page, lambda: status(lab) not in ("", before), "other measures")


def test_the_temporal_weight_moves_by_keyboard_and_only_the_steady_clip_with_it(
    lab: Locator, page: Page
) -> None:
    before, said = tracks(lab), status(lab)
    weight = readout(lab, "temporal-weight")
    move_slider(lab, page, "temporal-weight", "ArrowLeft", 6)
    until_told_anew(lab, page, said)
    wait_in(page, lambda: changed(before, tracks(lab)) == {"steady"}, "another steady clip")
    assert readout(lab, "temporal-weight") == pytest.approx(weight - 0.3)
    assert "% less" in status(lab)


def test_the_mask_changes_the_steady_clip_alone(lab: Locator, page: Page) -> None:
    before, said = tracks(lab), status(lab)
    lab.get_by_text("Use the mask").click()
    until_told_anew(lab, page, said)
    wait_in(page, lambda: changed(before, tracks(lab)) == {"steady"}, "the ghosts")


def test_another_style_changes_what_is_painted(lab: Locator, page: Page) -> None:
    before = tracks(lab)
    lab.locator(".nst-style select").select_option("woodblock")
    until_the_picture_moves(lab, before["steady"], page, TRACKS["steady"])
    wait_in(page, lambda: changed(before, tracks(lab)) == {"alone", "steady"}, "both")


def test_save_writes_a_clip_and_says_where(lab: Locator, jupyter: Server) -> None:
    path = saved_by(lab, jupyter)
    assert path.read_bytes()[4:8] == b"ftyp"


def contrast(text: list[float], behind: list[float]) -> float:
    """The ratio of two colours' luminances, as WCAG 2 has it."""

    def luminance(colour: list[float]) -> float:
        linear = [
            (v / 255 / 12.92) if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in colour
        ]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    darker, lighter = sorted((luminance(text), luminance(behind)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_it_is_readable_in_dark_and_light(lab: Locator, page: Page, theme: str) -> None:
    page.evaluate(
        "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme
    )
    title = lab.locator("figcaption").first

    def has_changed() -> bool:
        return bool((np.mean(title.evaluate(COLOURS)[1]) < 100) == ("Dark" in theme))

    wait_in(page, has_changed, theme)
    assert contrast(*title.evaluate(COLOURS)) > 7
    button, behind = lab.locator(".nst-player-play").evaluate(COLOURS)
    assert contrast(button, behind) > 4.5


# ------------------------------------------------------------------------------------ a finished clip


def test_a_clip_that_was_written_plays(page: Page) -> None:
    clip = page.locator(".jp-OutputArea video").first
    until_it_plays(clip, page)
    size = clip.evaluate("clip => [clip.videoWidth, clip.videoHeight, clip.duration]")
    assert size == [32, 24, pytest.approx(3 * COUNT / 12, abs=0.01)]  # padded to even numbers


def test_the_lab_fits_its_page(lab: Locator, page: Page) -> None:
    assert_they_fit_their_page(page, lab)
