"""JupyterLab in a real browser, as a student meets it: its server, its notebooks, what is in them.

A test's file says in ``CELLS`` what its notebook holds, and has it run, in a browser that all tests
share, by the fixture ``page`` (``conftest.py``).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import numpy as np
import psutil

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SETTINGS = {  # what would ask the network for news, and lay a notice over the page
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    }
}
VIEWPORT = {"width": 1280, "height": 1000}
FINE = 0.2  # of 255: what the mean of two pictures may differ by, and still be told apart

# Show a notebook alone, without a question about the one before, and wait until its kernel answers.
# What its kernel complains of outside of any cell, where a control's answer fails, is told as well;
# but not that it lacks the comms that a page asks for before ipywidgets is loaded.
SHOW = """async path => {
    const { shell, commands } = window.jupyterapp;
    const others = [...shell.widgets("main")];
    const panel = await commands.execute("docmanager:open", { path, factory: "Notebook" });
    for (const other of others) other.dispose();
    await panel.context.ready;
    const { sessionContext } = panel;
    sessionContext.iopubMessage.connect((_, { header, content }) => {
        const complaint = header.msg_type === "error" ? content.evalue
            : header.msg_type === "stream" && content.name === "stderr" ? content.text : "";
        if (complaint && !complaint.startsWith("No such comm"))
            console.error(`The kernel says: ${complaint}`);
    });
    await sessionContext.ready;
    await sessionContext.session.kernel.info;
}"""
NOTEBOOK = "window.jupyterapp.shell.currentWidget"
# The code cells that have not run; their complaints are told as they come.
WAITING = f"""() => {NOTEBOOK}.content.widgets
    .filter(cell => cell.model.type === "code" && cell.model.executionCount === null)
    .map(cell => cell.model.sharedModel.source).filter(source => source.trim())"""
RESTS = f"() => {NOTEBOOK}.sessionContext.session.kernel.status === 'idle'"
# Which of the notebook's cells is the one that keys act on.
ACTIVE_CELL = f"() => {NOTEBOOK}.content.activeCellIndex"
THUMBNAIL = """image => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 16;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, 16, 16);
    return Array.from(context.getImageData(0, 0, 16, 16).data);
}"""
# How long a clip has played. What is out of sight a browser lets rest, and may leave at rest.
PLAYED = """clip => {
    if (clip.paused) clip.play().catch(() => {});
    return clip.currentTime;
}"""
# What of a lab reaches beyond its right border.
TOO_WIDE = """lab => [...lab.querySelectorAll("button, select, input, img, canvas, label")]
    .filter(part => part.offsetParent !== null)
    .filter(part => part.getBoundingClientRect().right > lab.getBoundingClientRect().right + 1)
    .map(part => part.outerHTML)"""


# ----------------------------------------------------------------------------------------- server


@dataclass(frozen=True)
class Server:
    """A running JupyterLab, and the folder that it shows."""

    url: str
    token: str
    folder: Path

    def ask(self, address: str, /, **body: Any) -> Any:
        """Return what the server's API says, asked by POST where there is a body."""
        data = json.dumps(body).encode() if body else None
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(f"{self.url}{address}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)

    def write(self, name: str, *sources: str) -> None:
        """Write a notebook of these code cells, to run in the kernel of all such notebooks.

        They run one after the other, and a kernel takes seconds to load what each of them needs.
        """
        cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]
        notebook = nbformat.v4.new_notebook(cells=cells)
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
        nbformat.write(notebook, self.folder / name)
        running = self.ask("/api/kernels")
        kernel = {"id": running[0]["id"]} if running else {"name": "python3"}
        self.ask("/api/sessions", path=name, name=name, type="notebook", kernel=kernel)


@contextlib.contextmanager
def jupyterlab(folder: Path) -> Iterator[Server]:
    """Run a JupyterLab of its own in a folder; it and its kernels end with the block."""
    home = folder / ".jupyter"
    (home / "labconfig").mkdir(parents=True)
    (home / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(SETTINGS))
    places = {
        "JUPYTER_CONFIG_DIR": home,
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "IPYTHONDIR": home / "ipython",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}", secrets.token_hex(16), folder)
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        *("--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={server.token}", f"--ServerApp.root_dir={folder}"),
        "--LabApp.expose_app_in_browser=True",
    ]
    environment = {**os.environ, **{name: str(place) for name, place in places.items()}}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:

            def answers() -> bool:
                assert process.poll() is None, (home / "log").read_text()
                with contextlib.suppress(OSError):
                    return bool(server.ask("/api/status"))
                return False

            wait_until(answers, "JupyterLab to answer", time.sleep, 120)
            yield server
        finally:
            kernels = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            _, alive = psutil.wait_procs([psutil.Process(process.pid), *kernels], timeout=20)
            for straggler in alive:
                straggler.kill()
            process.wait(20)


# ------------------------------------------------------------------------------------------ pages


def watch(page: Page, address: str, complaints: list[str], everything: bool = False) -> None:
    """Note what an empty page will complain of, and what it asks of anyone but its server.

    An error on the console is a complaint, and where ``everything`` is asked for, any word on it.
    """
    own = (address, address.replace("http:", "ws:"), "data:", f"blob:{address}")

    def note_elsewhere(asked: Any) -> None:
        if not asked.url.startswith(own):
            complaints.append(f"asked elsewhere: {asked.url}")

    def note_failure(request: Any) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page itself has given it up
            complaints.append(f"{request.url}: {request.failure}")

    def note_word(message: Any) -> None:
        if everything or message.type == "error":
            complaints.append(f"{message.text} ({message.location.get('url', '')})")

    def note_error(error: Any) -> None:
        # Seen as a page was made narrow. No widget of ours calls removeChild: where the topmost file
        # is one of JupyterLab's, it is its own.
        raised_at = (error.stack or "").partition("\n    at ")[2].partition("\n")[0]
        if not ("removeChild" in str(error) and "/static/lab/" in raised_at):
            complaints.append(error.stack or str(error))

    page.on("pageerror", note_error)
    page.on("console", note_word)
    page.on("requestfailed", note_failure)
    page.on("request", note_elsewhere)
    page.on("websocket", note_elsewhere)


def open_jupyterlab(page: Page, server: Server, path: str = "") -> None:
    """Show JupyterLab, with nothing in it, or with a file."""
    page.set_default_timeout(60_000)
    tree = f"/tree/{path}" if path else ""
    page.goto(f"{server.url}/lab{tree}?token={server.token}&reset")
    page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget")


def open_notebook(page: Page, path: str) -> None:
    """Show a notebook of the server's folder, alone, and wait for its kernel."""
    page.evaluate(SHOW, path)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()


def run_all(page: Page, complaints: list[str], seconds: float = 120) -> None:
    """Run all cells of the notebook that is shown, as a reader does, and wait until they have run."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()

    def waiting() -> list[str]:
        assert complaints == []
        return list(page.evaluate(WAITING))

    # The counts that are stored in the notebook go when its cells are queued.
    wait_in(page, waiting, "the cells to be queued")
    wait_in(page, lambda: not waiting(), "all cells to run", seconds)
    wait_in(page, lambda: rests(page), "the kernel to rest", seconds)


def rests(page: Page) -> bool:
    """Whether the kernel of the notebook that is shown is idle."""
    return bool(page.evaluate(RESTS))


def pause_of(page: Page) -> Callable[[float], None]:
    return lambda seconds: page.wait_for_timeout(1000 * seconds)


def wait_until(
    condition: Callable[[], Any], what: str, pause: Callable[[float], None], seconds: float
) -> Any:
    """Return the condition's value as soon as it is true."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        pause(0.05)
    return value


def wait_in(page: Page, condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
    """Wait until a condition holds while the page goes on; return its value."""
    return wait_until(condition, what, pause_of(page), seconds)


# ------------------------------------------------------------------------------ what is in a page


def in_sight(widget: Locator) -> Locator:
    """Scroll to a widget, and return it."""
    widget.scroll_into_view_if_needed()
    return widget


def text(lab: Locator, part: str) -> str:
    """What a part of a lab says, by its name."""
    # Not inner_text: JupyterLab leaves out of the layout what is scrolled out of sight.
    return lab.locator(f".nst-{part}").text_content() or ""


def status(lab: Locator) -> str:
    return text(lab, "status")


def readout(lab: Locator, name: str) -> float:
    return float(lab.locator(f".nst-{name} .widget-readout").text_content() or "nan")


def pixels(lab: Locator, picture: str = "img.nst-picture") -> np.ndarray:
    """What the lab's picture shows, small."""
    shown = lab.locator(picture).evaluate(THUMBNAIL)
    return np.array(shown, dtype=float).reshape(16, 16, 4)[..., :3]


def differ(one: np.ndarray, other: np.ndarray, by: float = FINE) -> bool:
    return bool(np.abs(one - other).mean() > by)


def until_the_picture_moves(
    lab: Locator, before: np.ndarray, page: Page, picture: str = "img.nst-picture"
) -> None:
    wait_in(page, lambda: differ(pixels(lab, picture), before, 1), "another picture")


def until_the_picture_rests(
    lab: Locator, page: Page, picture: str = "img.nst-picture"
) -> np.ndarray:
    """Wait for the answers that are still under way; return the last one's pixels."""
    last, since = pixels(lab, picture), time.monotonic()
    while time.monotonic() < since + 0.3:
        pause_of(page)(0.05)
        if differ(now := pixels(lab, picture), last, 0) or not rests(page):
            last, since = now, time.monotonic()
    return last


def move_slider(lab: Locator, page: Page, name: str, key: str, times: int) -> None:
    """Press a key on a slider, so many times."""
    lab.locator(f".nst-{name} [role=slider]").focus()
    for _ in range(times):
        page.keyboard.press(key)


def until_it_plays(clip: Locator, page: Page) -> None:
    """Wait until a finished clip has played for a while."""
    wait_in(page, lambda: in_sight(clip).evaluate(PLAYED) > 0.2, "the clip to play")


def saved_by(lab: Locator, server: Server) -> Path:
    """Press Save, and return the path that is told: it lies in the server's folder."""
    lab.locator(".nst-save").click()
    told = lab.locator(".nst-message code")
    told.wait_for()
    path = Path(told.text_content() or "")
    assert server.folder in path.parents
    return path


def assert_they_fit_their_page(page: Page, *labs: Locator) -> None:
    """At 900 px, with no sideways scrolling and no control cut off."""

    def widths() -> list[float]:
        return [(in_sight(lab).bounding_box() or {"width": 0})["width"] for lab in labs]

    page.set_viewport_size({**VIEWPORT, "width": 900})
    try:
        wait_in(page, lambda: max(widths()) <= 900, "labs that fit their page")
        for lab in labs:
            wait_in(page, lambda: in_sight(lab).evaluate(TOO_WIDE) == [], "controls that do")  # noqa: B023
    finally:
        page.set_viewport_size(VIEWPORT)  # type: ignore[arg-type]


def box_of(part: Locator) -> dict[str, float]:
    """Where a part of a page is, in sight."""
    box = in_sight(part).bounding_box()
    assert box is not None
    return {**box}


Place = tuple[float, float]


def at(part: Locator, place: Place) -> Place:
    """Where on the page a place in one of its parts is, given from 0, 0 to 1, 1."""
    box, (x, y) = box_of(part), place
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


@contextlib.contextmanager
def drag(page: Page, part: Locator, first: Place, *others: Place, steps: int = 6) -> Iterator[None]:
    """Drag the mouse from place to place in a part of the page; it is let go after the block."""
    page.mouse.move(*at(part, first))
    page.mouse.down()
    for place in others:
        page.mouse.move(*at(part, place), steps=steps)
    yield
    page.mouse.up()


def number_in(words: str, pattern: str) -> float:
    """The number that a pattern's group finds in a text, or NaN."""
    found = re.search(pattern, words)
    return float(found[1]) if found else float("nan")
