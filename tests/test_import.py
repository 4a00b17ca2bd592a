"""``import nstlib`` is cheap, and every public name that it promises is there."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import nstlib

# By import name, not by package name: opencv-python-headless is cv2, tensorboard is also tb.
HEAVY = {
    "torch": {"torch", "torchvision"},
    "pictures": {"PIL", "pillow_heif", "skimage", "matplotlib", "numpy"},
    "widgets": {"ipywidgets", "anywidget", "IPython", "jupyterlab"},
    "video": {"av", "cv2"},
    "web": {"fastapi", "uvicorn", "starlette", "multipart", "requests", "httpx"},
    "training": {"tensorboard", "safetensors", "tqdm"},
}


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after running ``code``."""
    report = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


@pytest.fixture(scope="module")
def loaded_by_root() -> set[str]:
    return loaded_by("import nstlib")


@pytest.mark.parametrize("kind", HEAVY)
def test_import_loads_nothing_heavy(kind: str, loaded_by_root: set[str]) -> None:
    assert "nstlib" in loaded_by_root
    assert not HEAVY[kind] & loaded_by_root


def test_methods_load_no_widget_video_web_or_training_library() -> None:
    """Stylising from a script or a server needs none of them; torch and Pillow are there, and seen."""
    loaded = loaded_by("import nstlib.gatys")
    assert {"torch", "PIL"} <= loaded
    training = {"tensorboard"}
    assert not loaded & (HEAVY["widgets"] | HEAVY["video"] | HEAVY["web"] | training)


def test_kernels_need_torch_alone() -> None:
    """They are proved on a GPU machine that has nothing else; Triton loads when one is launched."""
    loaded = loaded_by("import nstlib.kernels")
    assert "torch" in loaded
    others = set().union(*HEAVY.values()) - {"torch", "numpy", "tqdm"}  # as torch itself does
    assert not loaded & (others | {"triton", "scipy", "psutil"})


@pytest.mark.parametrize("name", nstlib.__all__)
def test_public_names_resolve(name: str) -> None:
    assert getattr(nstlib, name) is not None


def test_public_names_are_listed_once_in_order() -> None:
    assert nstlib.__all__ == sorted(set(nstlib.__all__))
    assert set(nstlib.__all__) <= set(dir(nstlib))


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'nstlib' has no attribute 'styel'"):
        nstlib.styel  # noqa: B018  # the access is what is tested


@pytest.mark.parametrize(
    "module", [info.name for info in pkgutil.walk_packages(nstlib.__path__, "nstlib.")]
)
def test_every_module_imports_and_says_what_it_is(module: str) -> None:
    assert importlib.import_module(module).__doc__


@pytest.mark.parametrize("use", ["nstlib.images.resize", "nstlib.check.gram"])
def test_modules_are_reached_through_the_package(use: str) -> None:
    code = f"import sys, nstlib; assert {use.rpartition('.')[0]!r} not in sys.modules; {use}"
    assert "nstlib" in loaded_by(code)
