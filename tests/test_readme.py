"""What the README, and the pages of book/ beside it, say is so. Their commands: test_examples."""

from __future__ import annotations

import functools
import importlib.util
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from PIL import Image
from torch import Tensor

import nstlib
from nstlib import images

ROOT = Path(__file__).resolve().parent.parent
BOOK = [ROOT / "book" / f"{name}.md" for name in ("history", "glossary", "rights", "teaching")]
PAGES = [ROOT / "README.md", *BOOK, *sorted((ROOT / "data").rglob("*.md"))]
HOURS = {"An hour and a half": "1½ h", "Two hours": "2 h"}  # as notebooks and README say it


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def readme() -> str:
    return text_of("README.md")


@pytest.fixture(scope="module")
def notebooks() -> dict[str, str]:
    """The text cells of each notebook, by its number."""
    found = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        found[path.name[:2]] = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    return found


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    return dict(yaml.safe_load(text_of("CITATION.cff")))


def blocks(text: str, language: str) -> list[str]:
    """A page's fenced blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def rows(text: str) -> list[list[str]]:
    """The cells of each row of a page's tables, without their titles and rules."""
    lines = re.findall(r"^\| (.*) \|$", text, flags=re.MULTILINE)
    return [re.split(r" +\| +", line) for line in lines if not set(line) <= set("-: |")]


def anchors(text: str) -> set[str]:
    """What a link to a heading of a page ends with, as GitHub makes it."""
    titles = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


# ------------------------------------------------------------------------------------- the README


def small(load: Callable[..., Tensor], name: str, size: int = 64) -> Tensor:
    return load(name, size=min(size, 64))


def test_python_blocks_run(
    readme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other, as a reader would type them, small; their pictures go to a scratch folder."""
    monkeypatch.chdir(tmp_path)
    for load in (images.sample, images.style):
        monkeypatch.setattr(nstlib, load.__name__, functools.partial(small, load))
    found = blocks(readme, "python")
    assert found
    names: dict[str, Any] = {}
    for block in found:
        exec(compile(block, "README.md", "exec"), names)
    photo, picture = names["photo"], nstlib.load_image(tmp_path / "picture.png")
    assert picture.shape == photo.shape
    assert (picture - names["picture"]).abs().max() < 1 / 255
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [int(index) for index, _ in printed] == list(range(1, 11))
    first, *_, last = (float(loss) for _, loss in printed)
    assert last < first


def make_targets() -> set[str]:
    """The targets that the Makefile defines."""
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text_of("Makefile"), flags=re.MULTILINE)
    return set(phony.split())


def test_named_make_targets_exist() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    code = blocks(text, "sh") + re.findall(r"`([^`\n]+)`", text)
    named = set(re.findall(r"\bmake ([a-z]+)", "\n".join(code)))
    assert {"lab", "demo", "test"} <= named <= make_targets()


def test_make_help_names_every_target(root: Path) -> None:
    text = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True)
    named = set(re.findall(r"^make ([a-z]+)", text.stdout, flags=re.MULTILINE))
    assert named == make_targets() - {"help", "setup"}


def test_its_table_lists_the_notebooks(readme: str, notebooks: dict[str, str]) -> None:
    """Each by its link, its title, and the hours that it gives itself."""
    listed = re.findall(r"^\| \[(\w\d) (.*?)\]\((.*?)\) \|.*\| (.*?) \| .*? \|$", readme, re.M)
    assert [number for number, *_ in listed] == list(notebooks)
    for number, title, link, hours in listed:
        assert Path(link).name.startswith(f"{number}-")
        heading, *_ = notebooks[number].splitlines()
        assert heading.removeprefix("# ").startswith(title), number
        opening = notebooks[number].partition("\n## ")[0]
        said = re.search(r"\*\*Time and hardware\.\*\* (.*?)(?: to read and play)?\.", opening)
        assert said
        assert HOURS[said[1]] == hours, number


def test_the_messages_that_it_quotes_are_said(readme: str) -> None:
    """And the limits that it names are those of the code."""
    trouble = readme.partition("## When something goes wrong")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\d+\. ", trouble, flags=re.MULTILINE)) == 10
    assert "This course needs Python 3.11 or newer" in trouble
    assert "This course needs Python 3.11 or newer" in text_of("Makefile")
    assert f"Above {images.MAX_PIXELS // 1_000_000} megapixels" in trouble


def test_opening_picture_is_what_its_tool_paints(readme: str) -> None:
    """Small, for that takes a moment; and the file that ships has the same two rows."""
    spec = importlib.util.spec_from_file_location("opening", ROOT / "tools" / "opening.py")
    assert spec is not None
    assert spec.loader is not None
    opening = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(opening)
    painted = opening.tiles(size=64, steps=3)
    assert all(picture.shape == (1, 3, 64, 64) for picture in painted.values())
    photos = [painted["a photo"]] * 5 + [painted["another photo"]] * 5
    changes = [(x - c).abs().mean() for x, c in zip(painted.values(), photos, strict=True)]
    assert all(change > 0.01 for i, change in enumerate(changes) if i not in (0, 5))

    path = ROOT / "data" / "opening.jpg"
    assert f"]({name_of(path)})" in readme
    assert path.stat().st_size < 400_000
    with Image.open(path) as sheet:
        gap = 12
        assert sheet.width == 5 * opening.SHOWN + 6 * gap
        assert sheet.height > 2 * opening.SHOWN


# ---------------------------------------------------------------------------------------- all pages


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    """To files of the clone, and to headings that are there."""
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        file, _, heading = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        if heading:
            assert heading in anchors(target.read_text(encoding="utf-8")), link
    for path in re.findall(r"`((?:data|tests|tools|notebooks|nstlib)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pictures_are_told_in_words(page: Path) -> None:
    pictures = re.findall(r"!\[([^\]]*)\]\(", page.read_text(encoding="utf-8"))
    assert all(len(words.split()) > 3 for words in pictures)


SECTIONS = re.compile(r"\b(0\d|A1)\.(\d+)\b")
EXERCISES = re.compile(r"\b(0\d|A1) ex\. (\d)\b")


def test_sections_that_the_glossary_names_are_there(notebooks: dict[str, str]) -> None:
    text = text_of("book/glossary.md")
    sections, exercises = SECTIONS.findall(text), EXERCISES.findall(text)
    assert len(sections) > 40
    assert exercises
    for number, section in sections:
        assert f"\n## {section}. " in notebooks[number], f"{number}.{section}"
    for number, exercise in exercises:
        assert f"\n### {exercise}. " in notebooks[number], f"{number} ex. {exercise}"


def test_the_glossary_is_in_order() -> None:
    _, _, terms = text_of("book/glossary.md").partition("\n## Terms\n")
    names = re.findall(r"^\*\*(.*?)\*\*", terms, flags=re.MULTILINE)
    assert len(names) > 40
    assert names == sorted(names, key=str.casefold)
    ends = re.compile(r"\S (0\d|A1)(, (0\d|A1))*(; .*)?$")  # with the notebooks that introduce it
    assert all(ends.search(line) for line in terms.strip().split("\n\n"))


def test_sections_that_the_history_names_are_there(notebooks: dict[str, str]) -> None:
    named = re.findall(
        r"\[[Nn]otebook (\w\d)\]\(\S+?/(\w\d)-\S+\)(?:, sections? (\d+)(?:(?: and| to|,) (\d+))?)?",
        text_of("book/history.md"),
    )
    assert {number for number, *_ in named} >= {"01", "02", "03", "04", "05"}
    for number, linked, *sections in named:
        assert number == linked
        assert all(f"\n## {section}. " in notebooks[number] for section in filter(None, sections))


def test_what_is_cited_is_told_of_in_the_history(citation: dict[str, Any]) -> None:
    history = text_of("book/history.md")
    for paper in citation["references"]:
        assert {"type", "title", "authors", "year"} <= paper.keys()
        if "Triton" not in paper["title"]:  # the story is one of pictures
            assert f"*{paper['title']}" in history, paper["title"]
        for identifier in paper.get("identifiers", []):
            number = identifier["value"].removeprefix("arXiv:")
            assert re.fullmatch(r"\d{4}\.\d{4,5}", number)
            assert "Triton" in paper["title"] or f"arXiv {number}" in history


def test_bibtex_says_what_the_citation_file_says(readme: str, citation: dict[str, Any]) -> None:
    (entry,) = blocks(readme, "bibtex")
    fields = dict(re.findall(r"(\w+) += \{+(.*?)\}+,?$", entry, flags=re.MULTILINE))
    (author,) = citation["authors"]
    assert fields["author"] == author["name"]
    assert {fields[key] == citation[key] for key in ("title", "version")} == {True}
    assert fields["year"] in text_of("LICENSE")


# ------------------------------------------------------------------------------ the teacher's page


@pytest.fixture(scope="module")
def teaching() -> str:
    return text_of("book/teaching.md")


def schedules(page: str) -> Iterator[tuple[str, list[list[str]]]]:
    """The tables whose title says how many hours they fill, and their rows."""
    for title, body in re.findall(
        r"^\| min \| (\w+) hours: .*\n\| -.*\n((?:\| .*\n)+)", page, re.M
    ):
        yield title, rows(body)


def test_schedules_fill_their_hours_with_sections_that_exist(
    teaching: str, notebooks: dict[str, str]
) -> None:
    hours = {"two": 120, "four": 240, "eight": 480}
    found = dict(schedules(teaching))
    assert found.keys() == hours.keys()
    for name, lessons in found.items():
        assert sum(int(minutes) for minutes, _ in lessons) == hours[name]
        for _, lesson in lessons:
            number = re.search(r"\b0\d\b", lesson)
            for last in re.findall(r"§(?:\d+–)?(\d+)", lesson):
                assert number
                assert f"\n## {last}. " in notebooks[number[0]], lesson


def test_its_table_has_the_check_of_each_exercise(teaching: str) -> None:
    table = {number: list(filter(None, names)) for number, *names in rows(teaching)}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        named = [name.strip(" |") for name in table[path.name[:2]]]
        assert [n for n in named if n] == re.findall(r"^check\.(\w+)\(my_\w+\)", code, re.MULTILINE)
