"""Make the virtual environment that every `make` target runs in: ``python3 tools/set_up.py .venv``.

It needs nothing but Python itself. pip's own settings (index, proxy, certificates) are respected.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PATIENCE = 3.0  # seconds to wait for that index: it is a convenience, not a need

# JupyterLab asks on its first start whether to fetch news: not in the middle of a lesson.
LAB_OVERRIDES = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}
}


def answers(url: str, patience: float = PATIENCE) -> bool:
    """Say whether ``url`` answers a HEAD request within ``patience`` seconds, name look-up included."""
    found = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=patience):
                found.set()
        except (OSError, ValueError):
            pass  # out of reach, refused, or not a web address: the caller takes the default wheels

    # A timeout of urlopen does not bound the name look-up, so the wait is bounded from outside.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience)
    return found.is_set()


def wants_cpu_wheels(torch: str, index: str = CPU_INDEX) -> bool:
    """Say whether to take PyTorch's small CPU wheels, which hold no CUDA, from ``index``.

    Elsewhere than on Linux the default wheels are the small ones already.
    """
    if torch == "cuda" or sys.platform != "linux":
        return False
    if torch == "auto" and shutil.which("nvidia-smi"):
        print("An NVIDIA card is here: taking PyTorch with CUDA.")
        return False
    if answers(f"{index}/torch/"):
        print("Taking PyTorch's small CPU wheels.")
        return True
    print(f"{index} does not answer: taking the default PyTorch wheels, which also run on a CPU.")
    return False


def torch_build(python: Path) -> str | None:
    """Return ``"cpu"`` or ``"cuda"`` for the PyTorch that is installed, None where there is none."""
    code = "import importlib.metadata as m; print(m.version('torch'))"
    run = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        return None
    return "cpu" if "+cpu" in run.stdout else "cuda"


def replaces_torch(torch: str, installed: str | None, cpu_wheels: bool) -> bool:
    """Say whether the installed build must go first: pip takes either build of one version for it.

    A build is removed only where another was asked for by name, and can be had.
    """
    if torch == "cpu":
        return cpu_wheels and installed == "cuda"
    return (torch, installed) == ("cuda", "cpu")


def install(python: Path, cpu_wheels: bool, index: str = CPU_INDEX) -> None:
    """Install this package in place, with all that it needs, at the versions of constraints.txt."""
    # A local version such as 2.14.1+cpu sorts above 2.14.1, so pip prefers what the index has.
    # There is something to fall back on, so pip gives that index up early: it waits, then asks once
    # more, where by default it would ask five times more.
    extra = [f"--extra-index-url={index}", "--timeout=15", "--retries=1"] if cpu_wheels else []
    # Gigabytes are not fetched in silence; where they are here already, there is little to say.
    quiet = ["--quiet"] if torch_build(python) else []
    # To compile all modules takes most of a minute; Python compiles what it imports, the first time.
    how = ["--no-compile", "--disable-pip-version-check", *quiet, *extra]
    pip: list[str | Path] = [python, "-m", "pip", "install"]
    subprocess.run([*pip, *how, "-c", "constraints.txt", "-e", ".[all]"], check=True)


def uninstall_torch(python: Path) -> None:
    """Remove PyTorch, so that another build of the same version can take its place."""
    subprocess.run([python, "-m", "pip", "uninstall", "-y", "torch", "torchvision"], check=True)


def torch_works(python: Path) -> bool:
    """Say whether torch and torchvision load together: a pair that does not match fails here."""
    code = "import torchvision"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def install_with_cpu_wheels(python: Path) -> bool:
    """Install with PyTorch's small CPU wheels; say whether that gave a PyTorch that works."""
    try:
        install(python, cpu_wheels=True)
    except subprocess.CalledProcessError:
        print("The CPU wheels could not be installed: taking the default ones.", flush=True)
        return False
    if torch_works(python):
        return True
    print("The CPU wheels do not fit each other: taking the default ones.", flush=True)
    uninstall_torch(python)
    return False


def make_environment(folder: Path) -> Path:
    """Return the Python of the environment in ``folder``, making it where it is not whole.

    Without python3-venv, Debian's Python leaves an environment that has a Python and no pip.
    """
    python = folder / "bin" / "python"
    pip: list[str | Path] = [python, "-m", "pip", "--version"]
    if python.exists() and subprocess.run(pip, capture_output=True, check=False).returncode == 0:
        return python
    # Only what venv made is cleared: the folder may have been named by mistake.
    clear = ["--clear"] if (folder / "pyvenv.cfg").exists() else []
    try:
        subprocess.run([sys.executable, "-m", "venv", *clear, folder], check=True)
    except subprocess.CalledProcessError:
        sys.exit(
            f"{sys.executable} cannot make a virtual environment: install python3-venv, "
            "or name another Python, as in `make lab PYTHON=python3.12`."
        )
    return python


def set_up(folder: Path, torch: str) -> None:
    """Make the environment in ``folder``, or bring it up to date."""
    python = make_environment(folder)
    print(
        "Installing what pyproject.toml lists; the first time this takes some minutes.", flush=True
    )
    cpu_wheels = wants_cpu_wheels(torch)
    if replaces_torch(torch, torch_build(python), cpu_wheels):
        uninstall_torch(python)
    if not (cpu_wheels and install_with_cpu_wheels(python)):
        install(python, cpu_wheels=False)
        if not torch_works(python):
            sys.exit("torch and torchvision do not load together; `make clean`, then try again.")
    settings = folder / "share" / "jupyter" / "lab" / "settings"
    settings.mkdir(parents=True, exist_ok=True)
    (settings / "overrides.json").write_text(json.dumps(LAB_OVERRIDES, indent=2) + "\n")


def main() -> None:
    """Read the command line and set up."""
    parser = argparse.ArgumentParser(description="Make the course's virtual environment.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--torch", choices=("auto", "cpu", "cuda"), default="auto")
    arguments = parser.parse_args()
    try:
        set_up(arguments.folder, arguments.torch)
    except subprocess.CalledProcessError as error:
        sys.exit(f"Set-up stopped: {' '.join(map(str, error.cmd))} failed (its reason is above).")


if __name__ == "__main__":
    main()
