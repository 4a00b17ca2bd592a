"""The copy for students: all that is needed, not a line of a solution, and it runs."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
STAYS = ("tests", ".ci", ".github")
SOLUTION = re.compile(r"<summary>Solution.*?</details>", re.S)


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("student", ROOT / "tools" / "student.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def cells(notebook: Any, kind: str) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def lines(text: str) -> set[str]:
    return {line.strip() for line in text.splitlines()}


def solution_lines(notebook: Any) -> set[str]:
    """The lines that solutions have, and that the lesson around them has not."""
    whole = "\n\n".join(cell.source for cell in notebook.cells)
    return lines("\n".join(SOLUTION.findall(whole))) - lines(SOLUTION.sub("", whole))


@pytest.fixture(scope="module")
def copy(tool: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("student") / "course"
    tool.hand_out(ROOT, out, is_checked=False)
    return out


class TestTheCourse:
    @pytest.fixture(params=NOTEBOOKS)
    def name(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    def test_all_that_git_knows_is_there_but_for_the_tests(self, copy: Path) -> None:
        if not (ROOT / ".git").exists():
            pytest.skip("this is no git checkout")
        command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        names = {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
        stays = {name for name in names if name.startswith(tuple(f"{one}/" for one in STAYS))}
        assert [name for name in sorted(stays) if (copy / name).exists()] == []
        assert [name for name in sorted(names - stays) if not (copy / name).exists()] == []
        for name in names - stays:
            if not name.startswith("notebooks/"):
                assert (copy / name).read_bytes() == (ROOT / name).read_bytes()

    def test_all_notebooks_are_there(self, copy: Path) -> None:
        assert sorted(path.name for path in (copy / "notebooks").iterdir()) == NOTEBOOKS

    def test_no_line_of_a_solution_is_left(self, copy: Path, name: str) -> None:
        hidden = solution_lines(read(ROOT / "notebooks" / name))
        assert len(hidden) > 20
        left = read(copy / "notebooks" / name).cells
        assert hidden & lines("\n".join(cell.source for cell in left)) == set()
        text = (copy / "notebooks" / name).read_text()  # with all outputs
        long = [line for line in hidden if len(line) > 30 and '"' not in line]
        assert [line for line in long if line in text] == []

    def test_nothing_speaks_of_solutions(self, copy: Path, name: str) -> None:
        prose = "\n\n".join(c.source for c in cells(read(copy / "notebooks" / name), "markdown"))
        assert not re.search(r"\bsolutions?\b|</?details|</?summary", prose, re.I)
        assert "Each has a stub and a check that " in prose

    def test_code_and_its_outputs_are_those_of_the_course(self, copy: Path, name: str) -> None:
        ours, theirs = (read(root / "notebooks" / name) for root in (ROOT, copy))
        assert cells(theirs, "code") == cells(ours, "code")
        open_ones = [c for c in cells(theirs, "code") if "exercise" in c.metadata.get("tags", [])]
        assert len(open_ones) >= 5
        for stub in open_ones:
            assert "    ...\n" in stub.source
            assert stub.outputs[0].data["text/plain"].endswith(": not done yet")

    def test_every_other_line_stays(self, copy: Path, name: str) -> None:
        ours, theirs = (read(root / "notebooks" / name) for root in (ROOT, copy))
        gone = lines("\n".join(c.source for c in ours.cells)) - lines(
            "\n".join(c.source for c in theirs.cells)
        )
        around = {line for line in gone - solution_lines(ours) if "details>" not in line}
        assert all("a folded solution" in line for line in around)

    def test_it_is_a_valid_notebook(self, copy: Path, name: str) -> None:
        notebook = read(copy / "notebooks" / name)
        nbformat.validate(notebook)
        ids = [cell.id for cell in notebook.cells]
        assert len(ids) == len(set(ids))
        assert all(cell.source.strip() for cell in notebook.cells)

    def test_the_checks_do_not_spell_solutions_out(self, copy: Path, name: str) -> None:
        hidden = {
            line
            for line in solution_lines(read(ROOT / "notebooks" / name))
            if len(line) >= 25 and "import" not in line and not line.endswith(":")
        }
        for path in (copy / "nstlib" / "check").glob("*.py"):
            assert hidden & lines(path.read_text()) == set()


CHECK = """
def gram(answer):
    return OPEN if answer(1) is None else RIGHT

class Line(str):
    __repr__ = str.__str__

OPEN, RIGHT = Line("… gram: not done yet"), Line("✓ gram: right")
"""
STUB = "def my_gram(x):\n    ...\n\n\ncheck.gram(my_gram)"
SOLVED = (
    "Before.\n\n<details><summary>Solution 1</summary>\n\n```python\nreturn 42\n```\n</details>"
)


def write_notebook(path: Path, *, stub: str = STUB, solution: str = SOLVED, last: str = "") -> None:
    new = nbformat.v4
    cells = [
        new.new_markdown_cell("Each has a stub, a check that helps, and a folded solution. Go on."),
        new.new_code_cell("from nstlib import check\nimport nstlib"),
        new.new_code_cell(stub, metadata={"tags": ["exercise"]}),
        new.new_markdown_cell(solution),
        new.new_markdown_cell(SOLUTION_ALONE),
        new.new_code_cell(stub, metadata={"tags": ["exercise"]}),
        new.new_code_cell(last),
    ]
    nbformat.write(new.new_notebook(cells=[cell for cell in cells if cell.source]), path)


SOLUTION_ALONE = SOLVED.removeprefix("Before.\n\n")


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A course of one notebook, its package and its tools; and what is nobody's business."""
    root = tmp_path / "course"
    for name, text in {
        "nstlib/__init__.py": "",
        "nstlib/check.py": CHECK,
        "nstlib/__pycache__/check.pyc": "",
        "data/mine/README.md": "yours",
        "data/mine/me.png": "",
        "tests/test_answers.py": "",
        "README.md": "# A course",
        "answers.md": "42",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "tools").mkdir()
    for tool in ("student.py", "render.py"):
        shutil.copy(ROOT / "tools" / tool, root / "tools")
    (root / "notebooks").mkdir()
    write_notebook(root / "notebooks" / "01-a.ipynb")
    return root


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestACourseOfOneNotebook:
    def test_what_is_handed_out_and_what_is_not(self, tool: ModuleType, course: Path) -> None:
        out = course.parent / "out"
        assert tool.hand_out(course, out, is_checked=False) == 2
        assert files(out) == [
            "README.md",
            "data/mine/README.md",
            "notebooks/01-a.ipynb",
            "nstlib/__init__.py",
            "nstlib/check.py",
            "tools/render.py",
            "tools/student.py",
        ]
        sources = [cell.source for cell in read(out / "notebooks" / "01-a.ipynb").cells]
        assert sources == [
            "Each has a stub and a check that helps. Go on.",
            "from nstlib import check\nimport nstlib",
            STUB,
            "Before.",
            STUB,
        ]

    def test_an_empty_folder_will_do(self, tool: ModuleType, course: Path) -> None:
        out = course.parent / "out"
        out.mkdir()
        tool.hand_out(course, out, is_checked=False)
        assert (out / "README.md").exists()

    def test_the_copy_is_run_with_its_own_package(self, course: Path) -> None:
        write_notebook(
            course / "notebooks" / "01-a.ipynb",
            last="from pathlib import Path\n"
            "Path('left.txt').touch()\n"
            "assert Path(nstlib.__file__).parents[1] == Path.cwd().parent",
        )
        command = [sys.executable, "tools/student.py", "../out", "--check"]
        done = subprocess.run(command, cwd=course, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        last = done.stdout.splitlines()[-1]
        assert last == "../out: the course for students, without its 2 solutions"
        assert files(course.parent / "out" / "notebooks") == ["01-a.ipynb"]

    def test_one_that_does_not_run_is_not_handed_out(
        self, tool: ModuleType, course: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failed = subprocess.CompletedProcess([], 1)
        monkeypatch.setattr(tool.subprocess, "run", lambda *_, **__: failed)
        with pytest.raises(ValueError, match="01-a.ipynb does not run without its solutions"):
            tool.hand_out(course, course.parent / "out", is_checked=True)
        assert [path.name for path in course.parent.iterdir()] == ["course"]

    def test_a_check_that_says_something_else_is_found(
        self, tool: ModuleType, course: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done = subprocess.CompletedProcess([], 0)
        monkeypatch.setattr(tool.subprocess, "run", lambda *_, **__: done)  # it stays unrun
        with pytest.raises(ValueError, match=r"01-a.ipynb: check.gram\(my_gram\) does not say"):
            tool.hand_out(course, course.parent / "out", is_checked=True)

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            ({"stub": STUB.replace("...", "return 42")}, "an exercise is done already"),
            ({"solution": "None."}, "2 exercises, and 1 solutions were found"),
            ({"solution": SOLVED + "\n\n" + SOLVED}, "2 exercises, and 3 solutions were found"),
        ],
    )
    def test_a_notebook_that_is_not_as_it_should_be_is_named(
        self, tool: ModuleType, course: Path, changed: dict[str, str], words: str
    ) -> None:
        write_notebook(course / "notebooks" / "01-a.ipynb", **changed)
        with pytest.raises(ValueError, match=f"notebooks/01-a.ipynb: .*{words}"):
            tool.hand_out(course, course.parent / "out", is_checked=False)
        assert [path.name for path in course.parent.iterdir()] == ["course"]

    def test_it_writes_over_nothing(
        self, tool: ModuleType, course: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = course.parent / "out" / "mine.txt"
        kept.parent.mkdir()
        kept.write_text("a year's work")
        monkeypatch.setattr(tool, "ROOT", course)
        monkeypatch.setattr(sys, "argv", ["student.py", str(kept.parent)])
        with pytest.raises(SystemExit) as stopped:
            tool.main()
        said = f"No copy was written: {kept.parent} is not an empty folder: name a new one."
        assert str(stopped.value) == said
        assert files(kept.parent) == ["mine.txt"]

    def test_it_does_not_copy_into_what_it_copies(self, tool: ModuleType, course: Path) -> None:
        with pytest.raises(ValueError, match="lies in a folder that is copied"):
            tool.hand_out(course, course / "notebooks" / "out", is_checked=False)
