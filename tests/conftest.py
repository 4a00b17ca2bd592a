"""What the tests share: no windows, and the marks of tests that need what not every machine has."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from jupyter_pages import Server
    from playwright.sync_api import Browser, Page

os.environ.setdefault("MPLBACKEND", "Agg")  # figures are drawn, never shown in a window

pytest.register_assert_rewrite("jupyter_pages")

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome, or None."""
    from nstlib.doctor import CHROMIUM_NAMES  # here: a GPU's tests have not all that it needs

    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with the reason, a test whose mark names something that this machine lacks."""
    if item.get_closest_marker("vgg19_weights"):
        from nstlib.encoders import find_vgg19_weights

        if find_vgg19_weights() is None:
            pytest.skip("no VGG-19 weights in NSTLIB_WEIGHTS or torch hub's cache")
    if item.get_closest_marker("browser") and find_chromium() is None:
        pytest.skip("no browser: `nst doctor` says which will do")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last; where the interpreter was asked for without Triton, all are skipped.

    (While Playwright runs, no other test of its process could run an event loop.)
    """
    from nstlib.kernels.backend import has_triton, is_interpreted

    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
    if is_interpreted() and not has_triton():
        for item in items:
            reason = "Triton is not installed; on Linux `pip install triton` brings it"
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print registers and spills, the most of each kernel over what it was compiled for."""
    reports = [
        report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)
    ]
    compiled = [
        value
        for report in reports
        for key, value in report.user_properties
        if key == "compiled" and report.when == "call"
    ]
    if not compiled:
        return
    rows: dict[tuple[str, int], list[int]] = {}
    for name, architecture, *found in compiled:
        most = rows.setdefault((name, architecture), [0, 0, 0, 0])
        most[:3] = map(max, most[:3], found)
        most[3] += 1
    terminalreporter.section("kernels as compiled (the most of each)")
    terminalreporter.line(f"{'kernel':18} {'for':6} registers  spilled    shared  variants")
    for (name, architecture), (registers, spilled, shared, count) in sorted(rows.items()):
        terminalreporter.line(
            f"{name:18} sm_{architecture:<3} {registers:9} {spilled:6} B {shared:7} B {count:9}"
        )


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of the browser, for tests marked ``browser``."""
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium is installed")
    return path


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """Return a browser, which all tests share."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*CHROMIUM_FLAGS])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a JupyterLab that shows an empty folder, which all tests share."""
    from jupyter_pages import jupyterlab

    with jupyterlab(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture(scope="session")
def complaints() -> list[str]:
    """Return what JupyterLab's page, and its notebook's kernel, have complained of."""
    return []


@pytest.fixture(scope="session")
def jupyter_page(browser: Browser, jupyter: Server, complaints: list[str]) -> Page:
    """Return a page with JupyterLab, in which notebooks are shown one after the other."""
    from jupyter_pages import VIEWPORT, open_jupyterlab, watch

    page = browser.new_page(viewport=VIEWPORT)
    watch(page, jupyter.url, complaints)
    open_jupyterlab(page, jupyter)
    return page


@pytest.fixture(scope="module")
def notebook(
    jupyter_page: Page, jupyter: Server, complaints: list[str], request: pytest.FixtureRequest
) -> Page:
    """Return the page after Run All, with the notebook of a test's file: its ``CELLS``."""
    from jupyter_pages import open_notebook, run_all

    name = f"{request.module.__name__}.ipynb"
    jupyter.write(name, *request.module.CELLS)
    open_notebook(jupyter_page, name)
    run_all(jupyter_page, complaints)
    return jupyter_page


@pytest.fixture
def page(notebook: Page, complaints: list[str]) -> Iterator[Page]:
    """Return that page; a test fails where it, or its kernel, complains of anything."""
    yield notebook
    found, complaints[:] = [*complaints], []
    assert found == []


@pytest.fixture(scope="session")
def root() -> Path:
    """Return the clone's folder."""
    return ROOT
