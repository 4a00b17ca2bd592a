"""What an installation has and lacks: every gap is a finding that says what to do, never a crash."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import json
import os
import platform
import shutil
import socket
import sys
import tomllib
import types
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import nstlib
from nstlib import cli, config, doctor
from nstlib.doctor import Finding, as_text, examine
from nstlib.kernels import backend

CPU, CUDA = torch.device("cpu"), torch.device("cuda")

# The modules of pyproject's packages that are not called as the package is.
MODULES = {
    "fonttools": "fontTools",
    "opencv-python-headless": "cv2",
    "pytest-xdist": "xdist",
    "pyyaml": "yaml",
}


@pytest.fixture(autouse=True)
def plain_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU, without VGG-19, and with nothing chosen by its environment."""
    for name in ("NSTLIB_WEIGHTS", "NSTLIB_KERNELS", "TRITON_INTERPRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with_device(monkeypatch, CPU)
    commands(monkeypatch)


def look(name: str) -> Finding:
    """Return the one finding of this name among all of them."""
    (found,) = (finding for finding in examine() if finding.name == name)
    return found


def with_device(monkeypatch: pytest.MonkeyPatch, picked: torch.device) -> None:
    """This device is picked, unless one is asked for by name."""

    def pick(device: str = "auto") -> torch.device:
        return picked if device == "auto" else torch.device(device)

    monkeypatch.setattr(config, "pick_device", pick)


def commands(monkeypatch: pytest.MonkeyPatch, *present: str) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}" if name in present else None)


def without_modules(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    """Every module is there but these."""

    def find(name: str) -> ModuleSpec | None:
        return None if name in missing else ModuleSpec(name, None, origin="here.py")

    monkeypatch.setattr(importlib.util, "find_spec", find)


def with_versions(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Every package is there, in version 1.2, but for what is said of these; None is missing."""

    def version(package: str) -> str:
        found = versions.get(package.replace("-", "_"), "1.2")
        if found is None:
            raise importlib.metadata.PackageNotFoundError(package)
        return found

    monkeypatch.setattr(importlib.metadata, "version", version)


def with_card(monkeypatch: pytest.MonkeyPatch, *, hip: str | None = None) -> None:
    """An NVIDIA card, or one of AMD's, that need not be there."""
    card = types.SimpleNamespace(name="A Card", total_memory=24.4e9)
    with_device(monkeypatch, CUDA)
    monkeypatch.setattr(config, "has_fast_bfloat16", lambda device_type="cpu": True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    monkeypatch.setattr(torch.version, "hip", hip)


def with_triton(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    """Triton loads, or does not, in place of the one that is installed or not."""

    module = types.ModuleType("triton")
    module.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setattr(backend, "_triton", lambda: module if version else "no module of that name")
    reason = "" if version else "Triton is not installed"
    monkeypatch.setattr(backend, "why_not_on", lambda device: reason)


# ---------------------------------------------------------------------------------------- lists


def test_everything_is_looked_at_once() -> None:
    names = [finding.name for finding in examine()]
    assert names == [
        *("nstlib", "Python", "PyTorch", "torchvision", "device", "memory free"),
        *("Triton", "kernels", "slim's weights", "VGG-19 weights", "HEIF pictures", "notebooks"),
        *("optional: video", "optional: serve", "optional: train", "optional: book"),
        *("optional: dev", "browser"),
    ]
    assert all(finding.found for finding in examine())


def test_what_is_looked_for_is_what_pyproject_lists(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = {
        extra: {package.partition(">=")[0] for package in packages}
        for extra, packages in project["optional-dependencies"].items()
        if extra != "all"
    }
    modules = {
        extra: {MODULES.get(package, package.replace("-", "_")) for package in packages}
        for extra, packages in extras.items()
    }
    assert {extra: set(names) for extra, names in doctor.EXTRAS.items()} == modules
    base = set(project["dependencies"])
    assert {*doctor.NOTEBOOKS, "pillow-heif", "psutil"} <= base
    for package, oldest in (
        ("torch", doctor.OLDEST_TORCH),
        ("torchvision", doctor.OLDEST_TORCHVISION),
    ):
        assert f"{package}>={oldest[0]}.{oldest[1]}" in base
    assert project["requires-python"] == ">={}.{}".format(*doctor.OLDEST_PYTHON)


def test_modules_are_called_as_their_packages_say() -> None:
    """For the packages that are here: a module of another name would be missed for ever."""
    owners = importlib.metadata.packages_distributions()
    modules = {name for names in doctor.EXTRAS.values() for name in names} & set(owners)
    assert {"pytest", "yaml"} <= modules  # without which no test runs
    packages = {module: package for package, module in MODULES.items()}
    for module in modules:
        found = {owner.lower().replace("_", "-") for owner in owners[module]}
        assert packages.get(module, module.replace("_", "-")) in found


# --------------------------------------------------------------------------- Python and PyTorch


def test_a_clone_and_a_wheel_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone, wheel = tmp_path / "clone" / "nstlib", tmp_path / "site" / "nstlib"
    for folder in (clone, clone.parent / "data", wheel / "data"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config, "__file__", str(clone / "config.py"))
    assert look("nstlib").found == f"{nstlib.__version__}, a clone in clone"
    monkeypatch.setattr(config, "__file__", str(wheel / "config.py"))
    assert look("nstlib").found == f"{nstlib.__version__}, a wheel in site/nstlib"
    monkeypatch.chdir(clone.parent)
    monkeypatch.setattr(config, "__file__", str(clone / "config.py"))
    assert look("nstlib").found == f"{nstlib.__version__}, a clone in this folder"


def test_a_path_below_the_home_folder_names_no_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(os.path, "expanduser", lambda _: str(tmp_path / "home"))
    assert doctor._from_here(tmp_path / "home" / "course" / "data") == "~/course/data"
    assert doctor._from_here(tmp_path / "homes") == str(tmp_path / "homes")


@pytest.mark.parametrize(("version", "is_old"), [("3.10.14", True), ("3.11.0", False)])
def test_an_old_python(version: str, is_old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "python_version", lambda: version)
    finding = look("Python")
    assert finding.found == version
    assert ("3.11 or newer" in finding.advice) is is_old


@pytest.mark.parametrize(
    ("version", "is_old"), [("2.9.1+cpu", True), ("2.11.0a0+git1", False), ("3.0.0", False)]
)
def test_an_old_pytorch(version: str, is_old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """2.9 is older than 2.11, though it sorts after it as text."""
    monkeypatch.setattr(torch, "__version__", version)
    finding = look("PyTorch")
    assert finding.found.startswith(f"{version}, ")
    assert ('pip install "torch>=2.11" "torchvision>=0.26"' in finding.advice) is is_old


@pytest.mark.parametrize(
    ("cuda", "hip", "mps", "build"),
    [
        ("13.0", None, False, "a build for CUDA 13.0"),
        (None, "6.4", False, "a build for ROCm 6.4"),
        (None, None, True, "a build for Apple's GPU"),
        (None, None, False, "a CPU build"),
    ],
)
def test_which_build_it_is(
    cuda: str | None, hip: str | None, mps: bool, build: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: mps)
    assert look("PyTorch").found.endswith(f", {build}")


@pytest.mark.parametrize(
    ("pytorch", "torchvision", "advice"),
    [
        ("2.12.1+cpu", "0.27.0+cpu", None),
        ("2.12.1", "0.26.0", '"torchvision==0.27.*"'),
        ("2.12.1", None, "pip install torchvision"),
        ("3.1.0", "0.40.0", None),  # how those pair is not known
        ("3.1.0", "1.0.0", None),
    ],
)
def test_torchvision_is_built_for_this_pytorch(
    pytorch: str, torchvision: str | None, advice: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", pytorch)
    with_versions(monkeypatch, torchvision=torchvision)
    finding = look("torchvision")
    assert finding.found == (torchvision or "missing")
    assert bool(finding.advice) is (advice is not None)
    assert (advice or "") in finding.advice


# ---------------------------------------------------------------------------------- the machine


@pytest.mark.parametrize("is_fast", [True, False])
def test_a_processor(is_fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.setattr(config, "has_fast_bfloat16", lambda device_type="cpu": is_fast)
    pays = "faster" if is_fast else "not faster"
    assert look("device") == Finding("device", f"cpu: 6 cores; bfloat16 is {pays} than float32")


def test_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    with_card(monkeypatch)
    with_triton(monkeypatch, "3.8.0")
    commands(monkeypatch, "nvidia-smi")
    found = "cuda: A Card, 24.4 GB; bfloat16 is faster than float32"
    assert look("device") == Finding("device", found)


def test_a_card_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(device: torch.device) -> None:
        raise RuntimeError("CUDA error: all devices are busy\nor unavailable")

    with_card(monkeypatch)
    with_triton(monkeypatch, "3.8.0")
    monkeypatch.setattr(torch.cuda, "get_device_properties", refuse)
    assert "does not answer" in look("device").found
    assert "→ CUDA error: all devices are busy or unavailable" in as_text([look("device")])


def test_apples_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with_device(monkeypatch, torch.device("mps"))
    assert look("device") == Finding("device", "mps: Apple's GPU")


@pytest.mark.parametrize(
    ("cuda", "advice"), [(None, "make lab TORCH=cuda"), ("13.0", "too old for CUDA 13.0")]
)
def test_a_card_that_pytorch_does_not_use(
    cuda: str | None, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", cuda)
    assert look("device").advice == ""
    commands(monkeypatch, "nvidia-smi")
    assert advice in look("device").advice


@pytest.mark.parametrize(("free", "is_little"), [(1.94e9, True), (2.0e9, False)])
def test_little_memory(free: float, is_little: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = types.SimpleNamespace(available=free, total=8e9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    finding = look("memory free")
    assert finding.found == f"{free / 1e9:.1f} GB of 8.0 GB"
    assert ("smaller pictures" in finding.advice) is is_little


# ---------------------------------------------------------------------------------- the kernels


def test_triton_is_missed_on_nvidias_gpus_only(monkeypatch: pytest.MonkeyPatch) -> None:
    with_triton(monkeypatch, None)
    with_versions(monkeypatch, triton=None)
    finding = look("Triton")
    assert finding.found == "missing; on Linux, notebook A1 wants it: pip install triton"
    assert finding.advice == ""
    with_card(monkeypatch, hip="6.4")
    assert look("Triton").advice == ""
    with_card(monkeypatch)
    assert look("Triton").found == "missing"
    assert "Triton cannot be loaded" in look("Triton").advice
    assert "`pip install triton`" in look("Triton").advice
    assert look("kernels") == Finding("kernels", "PyTorch: Triton is not installed")


def test_triton_on_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    with_card(monkeypatch)
    with_triton(monkeypatch, "3.8.0")
    assert look("Triton") == Finding("Triton", "3.8.0")
    assert look("kernels") == Finding("kernels", "Triton: an NVIDIA GPU")


def test_kernels_on_a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look("kernels") == Finding("kernels", "PyTorch: on cpu PyTorch is the fast way")
    monkeypatch.setenv("NSTLIB_KERNELS", "torch")
    assert look("kernels") == Finding("kernels", "PyTorch: NSTLIB_KERNELS=torch")


@pytest.mark.parametrize(
    ("asked", "advice"),
    [
        ("nonsense", "NSTLIB_KERNELS is 'nonsense'; it takes 'auto', 'triton' or 'torch'"),
        ("triton", "NSTLIB_KERNELS=triton, and Triton does not run on cpu"),
    ],
)
def test_kernels_that_cannot_run(asked: str, advice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_triton(monkeypatch, "3.8.0")
    monkeypatch.setenv("NSTLIB_KERNELS", asked)
    assert look("kernels").found == "none runs"
    assert advice in look("kernels").advice


# ---------------------------------------------------------------------------------- the weights


def test_slim_ships() -> None:
    path = config.data_dir() / "weights" / "slim.safetensors"
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    assert look("slim's weights") == Finding("slim's weights", f"here, {size}")


def test_slim_missing_or_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "data_dir", lambda: tmp_path)
    missing = look("slim's weights")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "slim.safetensors").write_text("version https://git-lfs.github.com")
    damaged = look("slim's weights")
    assert missing.found.startswith("missing in ")
    assert damaged.found.startswith("damaged: ")
    assert "git checkout data/weights" in missing.advice
    assert missing.advice == damaged.advice


def test_vgg19_is_not_needed() -> None:
    finding = look("VGG-19 weights")
    assert finding.found == "not found"
    assert finding.advice.startswith("nothing needs them")
    assert "NSTLIB_WEIGHTS" in finding.advice
    assert "548 MB" in finding.advice


def test_vgg19_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vgg19-own.pth").write_bytes(b"")
    monkeypatch.setenv("NSTLIB_WEIGHTS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert look("VGG-19 weights") == Finding("VGG-19 weights", "vgg19-own.pth")


def test_a_weights_folder_without_vgg19(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NSTLIB_WEIGHTS", str(tmp_path / "mine"))
    advice = look("VGG-19 weights").advice
    assert "no vgg19*.pth or vgg19*.safetensors lies in NSTLIB_WEIGHTS (mine)" in advice


def test_weights_that_point_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NSTLIB_WEIGHTS", str(tmp_path / "nowhere"))
    finding = look("VGG-19 weights")
    assert finding.found == "not found"
    assert f"NSTLIB_WEIGHTS names {tmp_path / 'nowhere'}" in finding.advice
    assert "correct the variable" in finding.advice


# --------------------------------------------------------------------------------- the packages


@pytest.mark.parametrize("extra", doctor.EXTRAS)
def test_an_extra(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    without_modules(monkeypatch)
    assert look(f"optional: {extra}") == Finding(f"optional: {extra}", "complete")
    lost = doctor.EXTRAS[extra][-1]
    without_modules(monkeypatch, lost)
    advice = f'pip install "nstlib[{extra}]"'
    assert look(f"optional: {extra}") == Finding(f"optional: {extra}", f"missing: {lost}", advice)
    gaps = [finding.name for finding in examine() if finding.found.startswith("missing:")]
    assert gaps == [f"optional: {extra}"]


def test_a_folder_called_like_a_module_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_module_of_no_one").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert not doctor._is_there("a_module_of_no_one")
    (tmp_path / "a_module_of_no_one" / "__init__.py").write_text("raise SystemExit('loaded')")
    importlib.invalidate_caches()
    assert doctor._is_there("a_module_of_no_one")


def test_packages_of_pictures_and_notebooks(monkeypatch: pytest.MonkeyPatch) -> None:
    with_versions(monkeypatch)
    found = "jupyterlab 1.2, ipywidgets 1.2, anywidget 1.2"
    assert look("notebooks") == Finding("notebooks", found)
    assert look("HEIF pictures") == Finding("HEIF pictures", "pillow-heif 1.2")
    with_versions(monkeypatch, ipywidgets=None, anywidget=None, pillow_heif=None)
    advice = "pip install ipywidgets anywidget"
    assert look("notebooks") == Finding("notebooks", "missing: ipywidgets, anywidget", advice)
    assert "pip install pillow-heif" in look("HEIF pictures").advice


def test_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look("browser").found == "not found"
    assert "only the browser tests need one" in look("browser").advice
    commands(monkeypatch, "google-chrome")
    assert look("browser") == Finding("browser", "google-chrome")


# ------------------------------------------------------------------------ looking costs nothing


def test_no_network_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("asks the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert look("VGG-19 weights").found == "not found"


# -------------------------------------------------------------------------- text, JSON, command


def test_text_is_aligned_and_advice_stands_below() -> None:
    findings = [
        Finding("a", "there"),
        Finding("longer name", "missing", "pip install it,\nand look again"),
        Finding("b", "there, too"),
    ]
    assert as_text(findings).splitlines() == [
        "a            there",
        "longer name  missing",
        "             → pip install it, and look again",
        "b            there, too",
    ]
    assert as_text([]) == ""


def test_the_command_prints_each_finding(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    findings = [Finding("Python", "3.9", "a newer one"), Finding("Triton", "3.8")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert cli.main(["doctor"]) == 0  # a gap is what it reports, not a failure of its own
    assert capsys.readouterr().out == as_text(findings) + "\n"


def test_the_command_on_a_machine_with_every_setting_wrong(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NSTLIB_WEIGHTS", str(tmp_path / "nowhere"))
    monkeypatch.setenv("NSTLIB_KERNELS", "nonsense")
    assert cli.main(["doctor"]) == 0
    captured = capsys.readouterr()
    assert "→ NSTLIB_KERNELS is 'nonsense'" in captured.out
    assert "→ NSTLIB_WEIGHTS names" in captured.out
    assert captured.err == ""


def test_json_holds_what_the_text_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    read = [Finding(**entry) for entry in json.loads(capsys.readouterr().out)]
    assert [finding.name for finding in read] == [finding.name for finding in examine()]
    (vgg19,) = (finding for finding in read if finding.name == "VGG-19 weights")
    assert vgg19 == look("VGG-19 weights")


def test_a_pipe_without_an_arrow_is_printed_to_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = io.BytesIO()
    pipe = io.TextIOWrapper(written, encoding="cp1252", write_through=True)
    monkeypatch.setattr(doctor, "examine", lambda: [Finding("Triton", "missing", "a × b")])
    monkeypatch.setattr(sys, "stdout", pipe)
    assert cli.main(["doctor"]) == 0
    assert written.getvalue().decode("cp1252").split() == ["Triton", "missing", "?", "a", "×", "b"]
