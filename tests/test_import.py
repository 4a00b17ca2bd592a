"""``import nstlib`` is cheap, and every public name that it promises is there."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import nstlib
from nstlib import doctor

# By import name, not by package name: opencv-python-headless is cv2, tensorboard is also tb.
HEAVY = {
    "torch": {"torch", "torchvision"},
    "pictures": {"PIL", "pillow_heif", "skimage", "matplotlib", "numpy"},
    "widgets": {"ipywidgets", "anywidget", "IPython", "jupyterlab"},
    "video": {"av", "cv2"},
    "web": {"fastapi", "uvicorn", "starlette", "multipart", "requests", "httpx"},
    "training": {"tensorboard", "safetensors", "tqdm"},
}


# What one fresh interpreter does, step by step, from what loads least to what loads most.
STEPS = {
    "the package": "import nstlib",
    "the kernels": "import nstlib.kernels",
    "their benchmark": "import nstlib.kernels.benchmark",
    "the doctor": "from nstlib import doctor",
    "its examination": "doctor.examine()",
    "a module reached": "assert 'nstlib.images' not in sys.modules; nstlib.images.resize",
    "a method": "import nstlib.gatys",
    "a check reached": "assert 'nstlib.check' not in sys.modules; nstlib.check.gram",
}
REPORT = "print(*{name.partition('.')[0] for name in sys.modules})"


@pytest.fixture(scope="module")
def loaded_after() -> dict[str, set[str]]:
    """Return the top-level modules that a fresh interpreter holds after each step."""
    lines = [line for step in STEPS.values() for line in (step, REPORT)]
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(["import sys", *lines])], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    found = [set(line.split()) for line in run.stdout.splitlines()]
    return dict(zip(STEPS, found, strict=True))


Loaded = dict[str, set[str]]


@pytest.mark.parametrize("kind", HEAVY)
def test_import_loads_nothing_heavy(kind: str, loaded_after: Loaded) -> None:
    assert "nstlib" in loaded_after["the package"]
    assert not HEAVY[kind] & loaded_after["the package"]


def test_methods_load_no_widget_video_web_or_training_library(loaded_after: Loaded) -> None:
    """Stylising from a script or a server needs none of them; torch and Pillow are there, and seen."""
    loaded = loaded_after["a method"]
    assert {"torch", "PIL"} <= loaded
    training = {"tensorboard"}
    assert not loaded & (HEAVY["widgets"] | HEAVY["video"] | HEAVY["web"] | training)


@pytest.mark.parametrize("step", ["the kernels", "their benchmark"])
def test_kernels_need_torch_alone(step: str, loaded_after: Loaded) -> None:
    """They are proved on a GPU machine that has nothing else; Triton loads when one is launched."""
    assert "torch" in loaded_after[step]
    others = set().union(*HEAVY.values()) - {"torch", "numpy", "tqdm"}  # as torch itself does
    assert not loaded_after[step] & (others | {"torchvision", "triton", "scipy", "psutil"})


def test_what_the_doctor_looks_for_is_not_loaded(loaded_after: Loaded) -> None:
    extras = {module for extra in doctor.EXTRAS.values() for module in extra}
    names = {*extras, *doctor.NOTEBOOKS, "pillow_heif", "torchvision"}
    assert not names & (loaded_after["its examination"] - loaded_after["the doctor"])


@pytest.mark.parametrize("step", ["a module reached", "a check reached"])
def test_modules_are_reached_through_the_package(step: str, loaded_after: Loaded) -> None:
    """The step itself says that it was not there before."""
    assert "nstlib" in loaded_after[step]


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
