"""What the tests share: no windows, and the marks of tests that need what not every machine has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")  # figures are drawn, never shown in a window

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """Return the path of an installed Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with the reason, a test whose mark names something that this machine lacks."""
    if item.get_closest_marker("vgg19_weights"):
        from nstlib.encoders import find_vgg19_weights

        if find_vgg19_weights() is None:
            pytest.skip("no VGG-19 weights in NSTLIB_WEIGHTS or torch hub's cache")
    if item.get_closest_marker("browser") and find_chromium() is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUM_NAMES)} is installed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where the interpreter was asked for and there is no Triton, skip with the reason."""
    from nstlib.kernels.backend import has_triton, is_interpreted

    if is_interpreted() and not has_triton():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="Triton is not installed; it is for Linux"))


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
def root() -> Path:
    """Return the clone's folder."""
    return ROOT
