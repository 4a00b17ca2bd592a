"""The house style of every notebook, its exercises, and the outputs that are stored with it."""

from __future__ import annotations

import ast
import re
import statistics
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch

from nstlib import check

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
PATHS = sorted(FOLDER.glob("[0-9A]*.ipynb"))

CELLS, WORDS = (30, 60), (1500, 3500)
LINES_MEDIAN, LINES_MAX = 8, 25  # of a code cell, blank lines left out
MEGABYTES = 2.5
OPENING = ("What you will be able to do", "Time and hardware", "Read first")
PICTURES = ("image/png", "image/jpeg")

# What a reader must never meet: a machine's own paths, and notes to ourselves that are left over.
FORBIDDEN = re.compile(r"site-packages|\bTODO\b|\bFIXME\b|localhost:")
# Two folders deep at least, and part of no address, fraction or closing tag.
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/~<*])/[\w.-]+/|\b[A-Z]:\\Users")
FENCED = re.compile(
    r"<details><summary>Solution[^<]*</summary>\s*```python\n(.*?)```\s*</details>", re.S
)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def cells(notebook: Any, kind: str) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == kind]


def tags(cell: Any) -> list[str]:
    return list(cell.metadata.get("tags", []))


def prose(notebook: Any) -> str:
    return "\n\n".join(cell.source for cell in cells(notebook, "markdown"))


EMBEDDED = re.compile(r";base64,[A-Za-z0-9+/=]+")


def texts(part: Any) -> list[str]:
    """All strings in a notebook's file, but for the bytes of pictures and clips."""
    if isinstance(part, dict):
        return [text for key, value in part.items() if key not in PICTURES for text in texts(value)]
    if isinstance(part, list):
        return [text for value in part for text in texts(value)]
    return [EMBEDDED.sub("", part)] if isinstance(part, str) else []


def lines(source: str) -> list[str]:
    return [line for line in source.splitlines() if line.strip()]


@pytest.fixture(params=PATHS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.param
    return chosen


@pytest.fixture
def notebook(path: Path) -> Any:
    return read(path)


def test_the_series_is_whole() -> None:
    assert [path.name.partition("-")[0] for path in PATHS] == [
        "01",
        "02",
        "03",
        "04",
        "05",
        "06",
        "A1",
    ]


def link_to(path: Path) -> str:
    """Name a notebook by its number and its title up to a colon."""
    number = path.name.partition("-")[0]
    title = read(path).cells[0].source.splitlines()[0].removeprefix("# ").partition(":")[0]
    return f"[{'Notebook' if number.isdigit() else 'Appendix'} {number}, {title}]({path.name})"


class TestSeries:
    def test_neighbours_are_linked_at_both_ends(self, path: Path) -> None:
        place, ways = PATHS.index(path), []
        if path != PATHS[0]:
            ways.append(f"**Before:** {link_to(PATHS[place - 1])}.")
        if path != PATHS[-1]:
            ways.append(f"**Next:** {link_to(PATHS[place + 1])}.")
        notebook = read(path)
        for end in (notebook.cells[0], notebook.cells[-1]):
            assert end.source.splitlines()[-1] == " ".join(ways)

    def test_a_notebook_that_is_named_is_linked(self, notebook: Any) -> None:
        text = re.sub(r"```.*?```", "", prose(notebook), flags=re.S)
        assert re.findall(r"(?<!\[)\b(?:notebook|appendix) [0A]\d\b", text, re.I) == []
        links = re.findall(r"\[(?:notebook|appendix) ([0A]\d)[^\]]*\]\(([^)]+)\)", text, re.I)
        assert links
        for number, name in links:
            assert name.startswith(f"{number}-")
            assert (FOLDER / name).is_file()

    def test_a_picture_opens_it(self, notebook: Any) -> None:
        first = next(i for i, cell in enumerate(notebook.cells) if has_picture(cell))
        assert "## 2. " not in "\n".join(cell.source for cell in notebook.cells[:first])

    def test_no_two_define_the_same(self) -> None:
        found = [
            ast.dump(part)
            for path in PATHS
            for cell in cells(read(path), "code")
            for part in ast.parse(cell.source).body
            if isinstance(part, ast.FunctionDef | ast.ClassDef)
        ]
        assert len(found) == len(set(found)) > 50


def has_picture(cell: Any) -> bool:
    """Tell whether a picture or a clip is stored with a cell."""
    data = [output.get("data", {}) for output in cell.get("outputs", [])]
    return any(set(PICTURES) & set(one) or "<video" in one.get("text/html", "") for one in data)


class TestShape:
    def test_one_title_and_it_comes_first(self, notebook: Any) -> None:
        titles = re.findall(r"^# .+$", prose(notebook), re.M)
        assert len(titles) == 1
        assert notebook.cells[0].source.startswith(titles[0])

    def test_it_opens_with_aims_time_and_what_to_read(self, notebook: Any) -> None:
        places = [notebook.cells[0].source.find(f"**{part}.**") for part in OPENING]
        assert -1 not in places
        assert places == sorted(places)

    def test_it_ends_with_pitfalls_exercises_summary_and_references(self, notebook: Any) -> None:
        headings = re.findall(r"^## (.+)$", prose(notebook), re.M)
        assert headings[-4:] == ["What can go wrong", "Exercises", "Summary", "References"]

    def test_length(self, notebook: Any) -> None:
        assert CELLS[0] <= len(notebook.cells) <= CELLS[1]
        assert WORDS[0] <= len(prose(notebook).split()) <= WORDS[1]

    def test_code_cells_are_short(self, notebook: Any) -> None:
        lengths = [len(lines(cell.source)) for cell in cells(notebook, "code")]
        assert statistics.median(lengths) <= LINES_MEDIAN
        assert max(lengths) <= LINES_MAX

    def test_references_are_numbered_and_cited(self, notebook: Any) -> None:
        text, _, listed = prose(notebook).partition("## References")
        numbers = [int(number) for number in re.findall(r"^(\d+)\. ", listed, re.M)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert {int(number) for number in re.findall(r"(?<=\s)\[(\d+)\]", text)} == set(numbers)

    def test_the_sizes_stand_at_the_top(self, notebook: Any) -> None:
        first = cells(notebook, "code")[0].source
        assert re.search(r"^SIZE = \d+", first, re.M)
        assert re.search(r"^(STEPS|FRAMES|REQUESTS)\b.* = \d+", first, re.M)

    def test_nothing_is_skipped(self, notebook: Any) -> None:
        known = {"exercise", "nbval-check-output"}
        assert {tag for cell in notebook.cells for tag in tags(cell)} <= known

    def test_claims_are_asserted(self, notebook: Any) -> None:
        taught = [cell for cell in cells(notebook, "code") if "exercise" not in tags(cell)]
        asserting = [cell for cell in taught if re.search(r"^\s*assert ", cell.source, re.M)]
        assert len(asserting) >= len(taught) / 2

    def test_no_word_that_does_not_belong(self, path: Path) -> None:
        assert FORBIDDEN.findall(path.read_text()) == []

    def test_no_path_of_the_machine_that_ran_it(self, notebook: Any) -> None:
        pages = [page for page in texts(notebook) if ABSOLUTE_PATH.search(page)]
        assert [ABSOLUTE_PATH.findall(page) for page in pages] == []

    def test_no_bare_layer_index(self, notebook: Any) -> None:
        code = "\n".join(cell.source for cell in cells(notebook, "code"))
        assert not re.search(r"\.features\b", code)


@pytest.mark.parametrize("place", [FOLDER, Path.home(), Path(tempfile.gettempdir())])
def test_a_path_of_this_machine_would_be_seen(place: Path) -> None:
    file = str(place / "a" / "b.png")
    for text in (file, f"saved as {file}", f"'{file}'", f"(see {file})", f"File {file}:3"):
        notebook = {"cells": [{"outputs": [{"data": {"text/plain": text}}]}]}
        assert [bool(ABSOLUTE_PATH.search(page)) for page in texts(notebook)] == [True]
    assert ABSOLUTE_PATH.search(r"C:\Users\a\b.png")
    for text in ("https://a.org/b/c", "../data/mine/a.png", "C/H/W", "</b></a>", "1 / 2 / 3"):
        assert not ABSOLUTE_PATH.search(text)


class TestStoredOutputs:
    def test_it_was_run_from_top_to_bottom(self, notebook: Any) -> None:
        counts = [cell.execution_count for cell in cells(notebook, "code")]
        assert counts == list(range(1, len(counts) + 1))

    def test_no_error_and_nothing_on_stderr(self, notebook: Any) -> None:
        outputs = [output for cell in cells(notebook, "code") for output in cell.outputs]
        assert [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"] == []

    def test_checked_cells_have_what_is_checked(self, notebook: Any) -> None:
        checked = [c for c in cells(notebook, "code") if "nbval-check-output" in tags(c)]
        assert checked
        for cell in checked:
            assert cell.outputs
            assert not any(set(PICTURES) & set(o.get("data", {})) for o in cell.outputs)

    def test_pictures_are_pixels_with_alt_text(self, notebook: Any) -> None:
        outputs = [output for cell in cells(notebook, "code") for output in cell.outputs]
        data = [output for output in outputs if "data" in output]
        assert not any("image/svg+xml" in output.data for output in data)
        shown = [(o, kind) for o in data for kind in PICTURES if kind in o.data]
        assert shown
        for output, kind in shown:
            assert len(output.metadata.get(kind, {}).get("alt", "")) > 5

    def test_size(self, path: Path) -> None:
        assert path.stat().st_size <= MEGABYTES * 1e6

    def test_no_trace_of_the_run(self, notebook: Any) -> None:
        assert set(notebook.metadata) == {"kernelspec", "language_info"}
        assert all(set(cell.metadata) <= {"tags"} for cell in notebook.cells)


def stubs(notebook: Any) -> list[Any]:
    return [cell for cell in cells(notebook, "code") if "exercise" in tags(cell)]


def exercise_of(stub: Any) -> tuple[str, str]:
    """Return the check and the function of ``check.gram(my_gram)``, the stub's last line."""
    called = re.fullmatch(r"check\.(\w+)\((my_\w+)\)", lines(stub.source)[-1])
    assert called, lines(stub.source)[-1]
    return called[1], called[2]


def run(source: str) -> dict[str, Any]:
    """Run an exercise's code as the notebook would, with what its imports offer."""
    names: dict[str, Any] = {"torch": torch, "check": check}
    exec(source, names)
    return names


class TestExercises:
    def test_there_are_five_or_more(self, notebook: Any) -> None:
        assert len(stubs(notebook)) >= 5

    def test_stubs_say_what_is_wanted_and_leave_it_open(self, notebook: Any) -> None:
        for stub in stubs(notebook):
            function = ast.parse(stub.source).body[0]
            assert isinstance(function, ast.FunctionDef)
            assert ast.get_docstring(function)
            assert lines(stub.source)[-2].strip() == "..."

    def test_an_untouched_stub_is_not_done_yet(self, notebook: Any) -> None:
        for stub in stubs(notebook):
            name, function = exercise_of(stub)
            result = getattr(check, name)(run(stub.source)[function])
            assert result.passed is None
            assert stub.outputs[0].data["text/plain"] == repr(result)

    def test_every_solution_passes_its_check(self, notebook: Any) -> None:
        solutions = FENCED.findall(prose(notebook))
        assert len(solutions) == len(stubs(notebook))
        for stub, solution in zip(stubs(notebook), solutions, strict=True):
            name, function = exercise_of(stub)
            assert repr(getattr(check, name)(run(solution)[function])) == f"✓ {name}: right"

    def test_no_solution_lies_open(self, notebook: Any) -> None:
        open_text = FENCED.sub("", prose(notebook))
        assert "```python\ndef my_" not in open_text
