"""What the README says is so: its code runs, its targets and files exist. Its commands: test_examples."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text()


def blocks(readme: str, language: str) -> list[str]:
    """The README's fenced blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", readme, flags=re.MULTILINE | re.DOTALL)


def make_targets(root: Path) -> set[str]:
    """The targets that the Makefile defines."""
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (root / "Makefile").read_text(), flags=re.MULTILINE)
    return set(phony.split())


def test_python_blocks_run(
    readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other, as a reader would type them; their pictures go to a scratch folder."""
    import nstlib

    monkeypatch.chdir(tmp_path)
    found = blocks(readme, "python")
    assert len(found) >= 2
    names: dict[str, object] = {}
    for block in found:
        exec(compile(block, "README.md", "exec"), names)
    photo, picture = names["photo"], nstlib.load_image(tmp_path / "picture.png")
    assert picture.shape == photo.shape  # type: ignore[attr-defined]
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [int(index) for index, _ in printed] == list(range(1, 11))
    first, *_, last = (float(loss) for _, loss in printed)
    assert last < first


def test_named_make_targets_exist(readme: str, root: Path) -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", readme, flags=re.MULTILINE))
    assert {"lab", "demo", "test"} <= named <= make_targets(root)


def test_make_help_names_every_target(root: Path) -> None:
    text = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True)
    named = set(re.findall(r"^make ([a-z]+)", text.stdout, flags=re.MULTILINE))
    assert named == make_targets(root) - {"help", "setup"}


def test_named_files_exist(readme: str, root: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", readme)
    folders = re.findall(r"`((?:data|tests|tools|notebooks|nstlib)/[\w/]*)`", readme)
    assert links
    assert folders
    missing = [name for name in links + folders if not (root / name).exists()]
    assert missing == []


def test_listed_notebooks_are_those_that_exist(readme: str, root: Path) -> None:
    rows = re.findall(r"^\| (\w\d) [^|]+\| ([^|]+) \|$", readme, flags=re.MULTILINE)
    there = {number for number, text in rows if text != "planned"}
    assert there == {path.name[:2] for path in (root / "notebooks").glob("*.ipynb")}
