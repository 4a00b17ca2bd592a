"""Write a copy of the course without its solutions: ``python tools/student.py OUT`` (or ``make student``).

Everything else is as it was, stored outputs included. With ``--check`` each notebook of the copy is
run first, with its exercises open; a copy that does not run is not left behind.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Any

import nbformat

ROOT = Path(__file__).resolve().parent.parent

# What a student needs: named, so that a teacher's notes that lie beside are not handed out. Tests
# and what runs them stay here: they hold answers.
HANDED_OUT = (
    *("notebooks", "nstlib", "data", "book", "tools"),
    *("README.md", "LICENSE", "CITATION.cff", "CHANGELOG.md"),
    *("Makefile", "pyproject.toml", "constraints.txt", "environment.yml", ".gitignore"),
)
GENERATED = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "*.egg-info", "_build")

SOLUTION = re.compile(r"\s*<details><summary>Solution\b.*?</details>", re.S)
PROMISE = re.compile(r"Each has a stub, (a check[^,.]*), and a folded solution\.")
OPEN = "not done yet"  # how the line ends that a check gives an untouched stub


def exercises(notebook: Any) -> list[Any]:
    """Return the cells that hold a stub and its check."""
    return [cell for cell in notebook.cells if "exercise" in cell.metadata.get("tags", [])]


def without_solutions(notebook: Any, name: str) -> int:
    """Take the solutions out of a notebook, in place, and return how many there were.

    Raises:
        ValueError: an exercise was done, or has no solution that could be found.
    """
    stubs = exercises(notebook)
    if any("..." not in map(str.strip, stub.source.splitlines()) for stub in stubs):
        raise ValueError(f"{name}: an exercise is done already; put its stub back")
    count = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text, found = SOLUTION.subn("", cell.source)
            cell.source = PROMISE.sub(r"Each has a stub and \1.", text).strip()
            count += found
    if count != len(stubs):
        raise ValueError(f"{name}: {len(stubs)} exercises, and {count} solutions were found")
    notebook.cells = [cell for cell in notebook.cells if cell.source or cell.cell_type == "code"]
    nbformat.validate(notebook)
    return count


def not_handed_out(folder: str, names: list[str]) -> set[str]:
    """Return what is left out of a folder: what was generated, and a user's own pictures."""
    if Path(folder).parts[-2:] == ("data", "mine"):
        return {name for name in names if name != "README.md"}
    return GENERATED(folder, names)


def write_copy(root: Path, copy: Path) -> int:
    """Copy the course to a new folder, take the solutions out, and return how many there were."""
    copy.mkdir(parents=True)
    for source in (root / name for name in HANDED_OUT):
        if source.is_dir():
            shutil.copytree(source, copy / source.name, ignore=not_handed_out)
        elif source.exists():
            shutil.copy2(source, copy)
    count = 0
    for path in sorted((copy / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        count += without_solutions(notebook, f"notebooks/{path.name}")
        nbformat.write(notebook, path)
    return count


def check(copy: Path) -> None:
    """Run each notebook of the copy, in another, so that the runs leave no trace in it.

    Raises:
        ValueError: one does not run, or one of its exercises is not open.
    """
    with tempfile.TemporaryDirectory() as folder:
        trial = shutil.copytree(copy, Path(folder) / "course")
        # The package of the copy, not the one that is installed.
        environment = os.environ | {"PYTHONPATH": str(trial)}
        for path in sorted((trial / "notebooks").glob("*.ipynb")):
            name = f"notebooks/{path.name}"
            render = [sys.executable, "tools/render.py", name]
            if subprocess.run(render, cwd=trial, env=environment, check=False).returncode:
                raise ValueError(f"{name} does not run without its solutions (the error is above)")
            for stub in exercises(nbformat.read(path, as_version=4)):
                said = [output.get("data", {}).get("text/plain", "") for output in stub.outputs]
                if not said or not said[-1].endswith(OPEN):
                    raise ValueError(
                        f"{name}: {stub.source.splitlines()[-1]} does not say {OPEN!r}"
                    )


def hand_out(root: Path, out: Path, is_checked: bool) -> int:
    """Write the copy beside ``out`` and rename it; return how many solutions were taken out.

    Raises:
        ValueError: ``out`` is not empty or lies in what is copied, or the copy would not do.
    """
    root, out = root.resolve(), out.resolve()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is not an empty folder: name a new one")
    if any(out.is_relative_to(root / name) for name in HANDED_OUT):
        raise ValueError(f"{out} lies in a folder that is copied: name one outside")
    unfinished = out.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        count = write_copy(root, unfinished)
        if is_checked:
            check(unfinished)
        if out.exists():
            out.rmdir()
        unfinished.rename(out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return count


def main() -> None:
    """Read the command line and write the copy."""
    parser = argparse.ArgumentParser(description="Copy the course without its solutions.")
    parser.add_argument("out", type=Path, help="a new folder, or an empty one")
    parser.add_argument("--check", action="store_true", help="run each notebook of the copy first")
    arguments = parser.parse_args()
    try:
        count = hand_out(ROOT, arguments.out, arguments.check)
    except (ValueError, OSError) as error:
        sys.exit(f"No copy was written: {error}.")
    print(f"{arguments.out}: the course for students, without its {count} solutions")


if __name__ == "__main__":
    main()
