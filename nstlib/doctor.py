"""What this installation has, and what to do about each gap: ``nst doctor``.

It looks and changes nothing, loads no library that it need not, and asks no network.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

import nstlib
from nstlib import config
from nstlib.encoders import find_vgg19_weights, load_encoder
from nstlib.errors import WeightsError
from nstlib.kernels import backend

# The oldest that will do, and each extra's modules: tests hold them against pyproject.toml.
OLDEST_PYTHON = (3, 11)
OLDEST_TORCH = (2, 11)
OLDEST_TORCHVISION = (0, 26)
EXTRAS: dict[str, tuple[str, ...]] = {
    "video": ("av", "cv2"),
    "serve": ("fastapi", "fastapi_offline", "uvicorn", "python_multipart"),
    "train": ("tensorboard",),
    "book": ("fontTools", "math_core", "myst_nb", "sphinx", "sphinx_book_theme", "ziamath"),
    "dev": (
        *("build", "hatchling", "httpx", "hypothesis", "jupytext", "mypy", "nbclient", "nbformat"),
        *("nbval", "packaging", "playwright", "pytest", "pytest_timeout", "xdist", "yaml", "ruff"),
        "schemathesis",
    ),
}
NOTEBOOKS = ("jupyterlab", "ipywidgets", "anywidget")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

LITTLE_MEMORY = 2e9  # bytes: PyTorch itself takes a quarter of them


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``advice`` is empty where nothing is to be done."""

    name: str
    found: str
    advice: str = ""


def examine() -> list[Finding]:
    """Return what this installation has; a gap is a finding with advice, never an error.

    Example:
        >>> [finding.name for finding in examine()][:4]
        ['nstlib', 'Python', 'PyTorch', 'torchvision']
    """
    device = config.pick_device("auto")
    return [
        _package(),
        _python(),
        _torch(),
        _torchvision(),
        _device(device),
        _memory(),
        _triton(device),
        _kernels(device),
        _slim(),
        _vgg19(),
        _heif(),
        _notebooks(),
        *(_extra(name) for name in EXTRAS),
        _browser(),
    ]


def as_text(findings: list[Finding]) -> str:
    """Return a line for each finding, with its advice on a line below.

    Example:
        >>> findings = [Finding("Python", "3.13.1"), Finding("Triton", "missing", "install it")]
        >>> print(as_text(findings))
        Python  3.13.1
        Triton  missing
                → install it
    """
    width = max((len(finding.name) for finding in findings), default=0) + 2
    lines = []
    for finding in findings:
        lines.append(finding.name.ljust(width) + _one_line(finding.found))
        if finding.advice:
            lines.append(" " * width + "→ " + _one_line(finding.advice))
    return "\n".join(lines)


# --------------------------------------------------------------------------- Python and PyTorch


def _package() -> Finding:
    package = Path(config.__file__).resolve().parent
    if config.data_dir().parent == package:
        where = f"a wheel in {_from_here(package)}"
    else:
        where = f"a clone in {_from_here(package.parent)}"
    return Finding("nstlib", f"{nstlib.__version__}, {where}")


def _python() -> Finding:
    version = platform.python_version()
    if _numbers(version) >= OLDEST_PYTHON:
        return Finding("Python", version)
    advice = f"nstlib needs {_dotted(OLDEST_PYTHON)} or newer: install one from python.org"
    return Finding("Python", version, advice)


def _torch() -> Finding:
    found = f"{torch.__version__}, {_build()}"
    if _numbers(torch.__version__) >= OLDEST_TORCH:
        return Finding("PyTorch", found)
    oldest = f'"torch>={_dotted(OLDEST_TORCH)}" "torchvision>={_dotted(OLDEST_TORCHVISION)}"'
    return Finding("PyTorch", found, f"nstlib needs a newer one: pip install {oldest}")


def _build() -> str:
    if torch.version.hip:
        return f"a build for ROCm {torch.version.hip}"
    if torch.version.cuda:
        return f"a build for CUDA {torch.version.cuda}"
    return "a build for Apple's GPU" if torch.backends.mps.is_built() else "a CPU build"


def _torchvision() -> Finding:
    version = _version("torchvision")
    if version is None:
        return Finding("torchvision", "missing", "pip install torchvision")
    (major, minor), (ours, release) = _numbers(torch.__version__), _numbers(version)
    # 0.(n + 15) is built for 2.n; whether a later series keeps step is not known.
    if (major, ours) != (2, 0) or release == minor + 15:
        return Finding("torchvision", version)
    install = f'pip install "torchvision==0.{minor + 15}.*"'
    advice = f"it is built for another PyTorch, and may not load beside this one: {install}"
    return Finding("torchvision", version, advice)


# ---------------------------------------------------------------------------------- the machine


def _device(device: torch.device) -> Finding:
    if device.type == "mps":
        return Finding("device", "mps: Apple's GPU")
    try:
        what = _card(device) if device.type == "cuda" else f"{os.cpu_count()} cores"
        pays = "faster" if config.has_fast_bfloat16(device.type) else "not faster"
    except RuntimeError as error:  # CUDA's: another process has the card to itself, say
        return Finding("device", f"{device.type}, which does not answer", str(error))
    found = f"{device.type}: {what}; bfloat16 is {pays} than float32"
    return Finding("device", found, _idle_card() if device.type == "cpu" else "")


def _card(device: torch.device) -> str:
    properties = torch.cuda.get_device_properties(device)
    return f"{properties.name}, {_gigabytes(properties.total_memory)}"


def _idle_card() -> str:
    """Return what to do where there is an NVIDIA card and PyTorch computes on the CPU."""
    if not shutil.which("nvidia-smi"):
        return ""
    if torch.version.cuda:
        return (
            "NVIDIA's driver is here, and PyTorch reaches no card: `nvidia-smi` says whether "
            f"there is one, and whether its driver is too old for CUDA {torch.version.cuda}"
        )
    return (
        "NVIDIA's driver is here, and this PyTorch cannot use it: `make lab TORCH=cuda` in a "
        "clone, or choose a build at pytorch.org"
    )


def _memory() -> Finding:
    memory = psutil.virtual_memory()
    found = f"{_gigabytes(memory.available)} of {_gigabytes(memory.total)}"
    advice = "close what you do not need, or make smaller pictures, as in `--size 192`"
    return Finding("memory free", found, advice if memory.available < LITTLE_MEMORY else "")


# ---------------------------------------------------------------------------------- the kernels


def _triton(device: torch.device) -> Finding:
    if device.type != "cuda" or torch.version.hip:
        missing = "missing; on Linux, notebook A1 wants it: pip install triton"
        return Finding("Triton", _version("triton") or missing)
    try:
        return Finding("Triton", str(backend.load_triton().__version__))
    except backend.KernelError as error:
        return Finding("Triton", "missing", str(error))


def _kernels(device: torch.device) -> Finding:
    try:
        triton_computes, why = backend.choose(device, torch.float32)
    except (backend.KernelError, ValueError) as error:
        return Finding("kernels", "none runs", str(error))
    return Finding("kernels", f"{'Triton' if triton_computes else 'PyTorch'}: {why}")


# ---------------------------------------------------------------------------------- the weights


def _slim() -> Finding:
    path = config.data_dir() / "weights" / "slim.safetensors"
    advice = "it ships: `git checkout data/weights` in a clone, else install nstlib again"
    if not path.is_file():
        return Finding("slim's weights", f"missing in {_from_here(path.parent)}", advice)
    try:
        load_encoder("slim")
    except WeightsError as error:
        return Finding("slim's weights", f"damaged: {error}", advice)
    return Finding("slim's weights", f"here, {path.stat().st_size / 1e6:.1f} MB")


def _vgg19() -> Finding:
    name = "VGG-19 weights"
    try:
        path = find_vgg19_weights()
    except (WeightsError, OSError) as error:
        return Finding(name, "not found", f"{error}; correct the variable, or unset it")
    if path is not None:
        return Finding(name, _from_here(path))
    advice = (
        "nothing needs them; to have them, name their folder in the environment variable "
        'NSTLIB_WEIGHTS, or let `load_encoder("vgg19")` download 548 MB once'
    )
    if folders := config.weights_dirs():
        named = ", ".join(map(_from_here, folders))
        advice = f"no vgg19*.pth or vgg19*.safetensors lies in NSTLIB_WEIGHTS ({named}); {advice}"
    return Finding(name, "not found", advice)


# --------------------------------------------------------------------------------- the packages


def _heif() -> Finding:
    version = _version("pillow-heif")
    advice = "no picture opens without it: pip install pillow-heif"
    if version is None:
        return Finding("HEIF pictures", "pillow-heif is missing", advice)
    return Finding("HEIF pictures", f"pillow-heif {version}")


def _notebooks() -> Finding:
    versions = {package: _version(package) for package in NOTEBOOKS}
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        advice = f"pip install {' '.join(missing)}"
        return Finding("notebooks", f"missing: {', '.join(missing)}", advice)
    found = ", ".join(f"{package} {version}" for package, version in versions.items())
    return Finding("notebooks", found)


def _extra(extra: str) -> Finding:
    name = f"optional: {extra}"
    missing = [module for module in EXTRAS[extra] if not _is_there(module)]
    if not missing:
        return Finding(name, "complete")
    return Finding(name, f"missing: {', '.join(missing)}", f'pip install "nstlib[{extra}]"')


def _browser() -> Finding:
    name = next(filter(shutil.which, CHROMIUM_NAMES), None)
    advice = "only the browser tests need one, Chromium or Chrome; they are skipped without"
    return Finding("browser", name) if name else Finding("browser", "not found", advice)


# -------------------------------------------------------------------------------------- helpers


def _version(package: str) -> str | None:
    """Return the version of an installed package, without loading it; None where it is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_there(module: str) -> bool:
    """Say whether a module can be imported, without loading it.

    A mere folder of its name does not count: a clone has a ``build/`` once a wheel was made in it.
    """
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None


def _numbers(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version, also of a build's such as ``2.14.1+cpu``."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.1f} GB"


def _from_here(path: Path) -> str:
    """Return a path in short: what is printed is shown to others, who need no user's name."""
    here, home = Path.cwd(), Path(os.path.expanduser("~"))
    if path == here:
        return "this folder"
    if path.is_relative_to(here):
        return path.relative_to(here).as_posix()
    return f"~/{path.relative_to(home).as_posix()}" if path.is_relative_to(home) else str(path)


def _one_line(text: str) -> str:
    """Return a text, the message of an error perhaps, on one line."""
    return " ".join(text.split())
