"""The lists agree: pyproject.toml, constraints.txt, environment.yml, CITATION.cff, CHANGELOG.md.

And the data that ships is inside the wheel, where an installed package finds it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import nstlib

# The user's own pictures, figures of measurements, what the painters' parameters do, and the sheets of
# a training.
STAYS_IN_THE_CLONE = {"adain", "mine", "benchmarks", "painters"}
OWN_PINS = {"torch", "torchvision"}


@pytest.fixture(scope="module")
def pyproject(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def project(pyproject: dict[str, Any]) -> dict[str, Any]:
    return dict(pyproject["project"])


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, Version]:
    """The version that constraints.txt names for each package."""
    found: dict[str, Version] = {}
    for line in (root / "constraints.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9.]*)", line)
        assert match, f"constraints.txt: {line!r} is not of the form name==version"
        name, version = match.groups()
        assert name == canonicalize_name(name)
        assert name not in found, f"constraints.txt names {name} twice"
        found[name] = Version(version)
    return found


@pytest.fixture(scope="module")
def environment(root: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((root / "environment.yml").read_text()))


def requirements(project: dict[str, Any]) -> dict[str, list[Requirement]]:
    """The requirements of the package ("base") and of each of its extras."""
    lists = {"base": project["dependencies"], **project["optional-dependencies"]}
    return {extra: [Requirement(line) for line in lines] for extra, lines in lists.items()}


def test_base_and_extras_are_those_promised(project: dict[str, Any]) -> None:
    listed = requirements(project)
    assert set(listed) == {"base", "video", "serve", "train", "book", "dev", "all"}
    promised = "torch torchvision matplotlib ipywidgets anywidget pillow pillow-heif jupyterlab"
    promised += " scikit-image safetensors tqdm"
    assert set(promised.split()) <= {requirement.name for requirement in listed["base"]}


def test_every_dependency_is_pinned_to_a_version_it_allows(
    project: dict[str, Any], pins: dict[str, Version]
) -> None:
    for extra, wanted in requirements(project).items():
        for requirement in wanted:
            if requirement.name == project["name"]:
                continue  # "all" names this package's own extras
            pin = pins.get(canonicalize_name(requirement.name))
            assert pin is not None, f"{requirement.name} ({extra}) is not in constraints.txt"
            assert pin in requirement.specifier, f"{requirement} does not allow {pin}"


def needed_by(requirements: list[Requirement]) -> set[str]:
    """What these bring along, as it is installed here; PyTorch pins what it needs itself."""
    found: set[str] = set()
    while requirements:
        requirement = requirements.pop()
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        found.add(name)
        for line in (name not in OWN_PINS and distribution(name).requires) or ():
            brought = Requirement(line)
            extras = requirement.extras or {""}
            if not brought.marker or any(brought.marker.evaluate({"extra": e}) for e in extras):
                requirements.append(brought)
    return found


def test_what_the_dependencies_bring_along_is_pinned_too(
    project: dict[str, Any], pins: dict[str, Version]
) -> None:
    """Else two installations differ, and one of them may not work."""
    wanted = [one for listed in requirements(project).values() for one in listed]
    try:
        needed = needed_by([one for one in wanted if one.name != project["name"]])
    except PackageNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    assert needed - set(pins) == set()


def test_no_dependency_is_listed_twice(project: dict[str, Any]) -> None:
    """Neither in one extra nor in two: pyproject.toml is one list."""
    seen = [
        canonicalize_name(requirement.name)
        for extra, wanted in requirements(project).items()
        if extra != "all"
        for requirement in wanted
    ]
    assert sorted(seen) == sorted(set(seen))


def test_all_means_every_extra(project: dict[str, Any]) -> None:
    (everything,) = requirements(project)["all"]
    assert everything.name == project["name"]
    assert everything.extras == set(project["optional-dependencies"]) - {"all"}


def test_torch_and_torchvision_are_pinned_as_a_pair(pins: dict[str, Version]) -> None:
    """torchvision 0.(n + 15) is built against torch 2.n, and fails to load with any other."""
    torch, torchvision = pins["torch"], pins["torchvision"]
    assert (torch.major, torchvision.major) == (2, 0)
    assert torchvision.minor == torch.minor + 15


def test_environment_is_python_pip_and_this_package(
    environment: dict[str, Any], project: dict[str, Any]
) -> None:
    python, pip, by_pip = environment["dependencies"]
    name, _, version = python.partition("=")
    assert name == "python"
    assert version in SpecifierSet(project["requires-python"])
    assert pip == "pip"
    assert by_pip == {"pip": ["-c constraints.txt", "-e .[all]"]}


def test_tools_agree_on_the_oldest_python(pyproject: dict[str, Any]) -> None:
    oldest = pyproject["project"]["requires-python"].removeprefix(">=")
    assert pyproject["tool"]["mypy"]["python_version"] == oldest
    assert pyproject["tool"]["ruff"]["target-version"] == "py" + oldest.replace(".", "")


def test_one_version_everywhere(root: Path, project: dict[str, Any]) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    newest = re.search(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert newest
    versions = {nstlib.__version__, project["version"], citation["version"], newest[1]}
    assert versions == {nstlib.__version__}


def test_one_licence_everywhere(root: Path, project: dict[str, Any]) -> None:
    assert (root / "LICENSE").read_text().startswith("MIT License")
    assert project["license"] == "MIT"
    assert yaml.safe_load((root / "CITATION.cff").read_text())["license"] == "MIT"


def shipped_files(root: Path) -> set[str]:
    """The files of data/ that ship, as paths below data/."""
    return {
        path.relative_to(root / "data").as_posix()
        for folder in (root / "data").iterdir()
        if folder.is_dir() and folder.name not in STAYS_IN_THE_CLONE
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of the clone, built without a network by the hatchling that is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    run = subprocess.run(build, cwd=root, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_the_package_and_what_ships(wheel: Path, root: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    data = {name for name in names if name.startswith("nstlib/data/")}
    assert data == {f"nstlib/data/{name}" for name in shipped_files(root)}
    code = {path.relative_to(root).as_posix() for path in (root / "nstlib").rglob("*.py")}
    assert code | {"nstlib/py.typed"} <= names
    assert {name.partition("/")[0] for name in names} == {
        "nstlib",
        f"{wheel_stem(wheel)}.dist-info",
    }


def wheel_stem(wheel: Path) -> str:
    """The name and version that a wheel's file name begins with."""
    return "-".join(wheel.name.split("-")[:2])


def test_wheel_has_the_command_and_the_licence(wheel: Path) -> None:
    information = f"{wheel_stem(wheel)}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        assert "nst = nstlib.cli:main" in archive.read(f"{information}/entry_points.txt").decode()
        assert archive.read(f"{information}/licenses/LICENSE").startswith(b"MIT License")


def test_unpacked_wheel_finds_its_own_data(wheel: Path, tmp_path: Path) -> None:
    """As installed: away from the clone, the data is the wheel's and a style of it loads."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import nstlib.config; print(nstlib.config.data_dir());"
        "print(*nstlib.style(nstlib.images.style_names()[0], size=32).shape)"
    )
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    folder, shape = run.stdout.splitlines()
    assert Path(folder) == tmp_path / "nstlib" / "data"
    assert shape.startswith("1 3 ")


def test_clone_finds_its_own_data(root: Path) -> None:
    from nstlib.config import data_dir

    if Path(nstlib.__file__).parent != root / "nstlib":
        pytest.skip("nstlib is not installed from this clone")
    assert data_dir() == root / "data"
