"""What the tests share: no windows, and the marks of tests that need what not every machine has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

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
