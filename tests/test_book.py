"""The book as a reader gets it: built once, held to its links page by page, then read in a browser.

The browser opens the files from disk and has no network.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import pkgutil
import re
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from fontTools.ttLib import TTFont

import nstlib

pytest.importorskip("sphinx_book_theme", reason="nstlib[book] is not installed")

pytestmark = pytest.mark.timeout(900)  # on a busy machine the book is long in the making

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(path.stem for path in ROOT.glob("notebooks/*.ipynb"))
# The command line tells of itself; and what is below a package's first level, the package offers.
MODULES = sorted(
    f"nstlib.{module.name}"
    for module in pkgutil.iter_modules(nstlib.__path__)
    if module.name != "cli"
)
LINK_IN_CSS = re.compile(r"(?:url\(|@import\s(?!\s*url))\s*[\"']?([^\"')]+)")
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
LOADING = {
    "src",
    "srcset",
    "poster",
    "data",
    "action",
    "background",
}  # attributes, besides <link href>
FROM_ELSEWHERE = re.compile(r"^([a-z]+:)?//|^(?!data:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)
WORDLESS = {"math", "pre", "code", "script", "style"}
CODE = re.compile(r"```.*?```|`[^`]*`", re.DOTALL)
FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$\n]+\$", re.DOTALL)
RAW_FORMULA = re.compile(r"\$\$|\\\(|\\\[|\\frac|\\sum|\\operatorname")


class Leaf(HTMLParser):
    """A page of the book: its anchors, what it links to, what it loads, its pictures and formulas."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.alts: list[str] = []
        self.formulas: list[str] = []
        self.words: list[str] = []
        self.folded = 0
        self._inside: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found.get("id", ""), found.get("name", "")}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag == "link" and found["rel"] not in {"index", "search", "next", "prev"}:
            self.loaded.append(found["href"])
        self.loaded += [value for name, value in found.items() if name in LOADING]
        if tag == "img":
            self.alts.append(found.get("alt", ""))
        if tag == "math":
            self.formulas.append("")
        if tag == "details" and "article" in self._inside:
            assert "open" not in found
            self.folded += 1
        if tag in {"article", *WORDLESS}:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and tag == self._inside[-1]:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside[-1:] == ["math"]:
            self.formulas[-1] += data
        elif not WORDLESS & set(self._inside):
            self.words.append(data)


def build(source: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build a book into a folder's ``html``, as ``make book`` does."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-c", "book"]
    command += ["-d", str(folder / "doctrees"), str(source), str(folder / "html")]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book, which is built where nothing is amiss."""
    folder = tmp_path_factory.mktemp("book")
    run = build(root, folder)
    assert run.returncode == 0, run.stderr
    return folder / "html"


def test_what_is_amiss_stops_the_build(tmp_path: Path) -> None:
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

    page = tmp_path / "book" / "index.md"
    page.parent.mkdir()
    page.write_text(
        "# Amiss\n\nA formula: $\\frc{1}{2}$. A [link](nowhere.md).\n\n"
        "```{toctree}\n../notebooks/undescribed\n```\n\n```{eval-rst}\n:func:`nstlib.nothing`\n```\n"
    )
    picture = new_output("display_data", {"image/png": PIXEL}, metadata={"image/png": {"alt": ""}})
    cells = [new_markdown_cell("# Undescribed"), new_code_cell("1", outputs=[picture])]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks" / "undescribed.ipynb")
    run = build(tmp_path, tmp_path / "built")
    assert run.returncode == 1
    for complaint in (r"\frc", "nowhere.md", "nstlib.nothing", "a picture has no alt text"):
        assert complaint in run.stderr


@pytest.fixture(scope="module")
def leaves(site: Path) -> dict[Path, Leaf]:
    """Every page; below ``_static`` lie templates of the theme's."""
    paths = (path for path in sorted(site.rglob("*.html")) if site / "_static" not in path.parents)
    return {path: Leaf(path) for path in paths}


@pytest.fixture(params=NOTEBOOKS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def notebook(root: Path, name: str) -> Any:
    return nbformat.read(root / "notebooks" / f"{name}.ipynb", as_version=4)


@pytest.fixture
def leaf(leaves: dict[Path, Leaf], site: Path, name: str) -> Leaf:
    return leaves[site / "notebooks" / f"{name}.html"]


def broken_links(leaves: dict[Path, Leaf]) -> list[str]:
    """The links, within these pages, to what is not there."""
    broken = []
    for leaf in leaves.values():
        for link in leaf.links + leaf.loaded:
            address = urlsplit(link)
            if address.scheme or not (address.path or address.fragment):
                continue
            target = (
                (leaf.path.parent / unquote(address.path)).resolve() if address.path else leaf.path
            )
            anchor = unquote(address.fragment)
            there = target.is_file() and (
                not anchor or target not in leaves or anchor in leaves[target].anchors
            )
            broken += [] if there else [f"{leaf.path.name}: {link}"]
    return broken


def test_every_link_leads_somewhere(leaves: dict[Path, Leaf]) -> None:
    assert broken_links(leaves) == []


def test_nothing_is_loaded_from_elsewhere(leaves: dict[Path, Leaf], site: Path) -> None:
    loaded = {link for leaf in leaves.values() for link in leaf.loaded}
    assert len(loaded) > 20
    assert [link for link in loaded if FROM_ELSEWHERE.match(link)] == []
    for sheet in site.rglob("*.css"):
        for link in re.findall(LINK_IN_CSS, sheet.read_text()):
            assert not FROM_ELSEWHERE.match(link), f"{sheet.name}: {link}"
            assert link.startswith("data:") or (sheet.parent / urlsplit(link).path).is_file()


def test_a_broken_page_would_be_seen(tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    page.write_text(
        '<p id="here"><a href="#here">1</a><a href="#there">2</a><a href="b.html#c">3</a>'
        '<a href="https://a.org/">4</a><img src="c.png"><script src="//cdn.org/d.js"></script>'
    )
    leaf = Leaf(page)
    assert broken_links({page: leaf}) == [
        f"a.html: {link}" for link in ("#there", "b.html#c", "c.png", "//cdn.org/d.js")
    ]
    assert [bool(FROM_ELSEWHERE.match(link)) for link in leaf.loaded] == [False, True]
    assert FROM_ELSEWHERE.match("https://a.org/b.css")
    assert not FROM_ELSEWHERE.match("data:video/mp4;base64,AA==")
    assert leaf.alts == [""]
    rules = '@import "a.css"; @import url(b.css); p { background: url("//cdn.org/c.png") }'
    assert LINK_IN_CSS.findall(rules) == ["a.css", "b.css", "//cdn.org/c.png"]


def test_every_picture_is_described(leaves: dict[Path, Leaf]) -> None:
    alts = [alt for leaf in leaves.values() for alt in leaf.alts]
    assert len(alts) > 80
    assert [alt for alt in alts if len(alt) <= 5 or re.search(r"\.(png|jpe?g)$", alt)] == []


def test_a_notebook_shows_what_it_has_stored(leaf: Leaf, notebook: Any) -> None:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = [
        output.metadata[kind]["alt"]
        for output in outputs
        for kind in ("image/png", "image/jpeg")
        if kind in output.get("data", {})
    ]
    assert [alt for alt in leaf.alts if alt] == pictures
    clips = [
        output for output in outputs if "<video" in output.get("data", {}).get("text/html", "")
    ]
    assert sum(link.startswith("data:video/mp4") for link in leaf.loaded) == len(clips)


def test_a_notebooks_formulas_are_all_set(leaf: Leaf, notebook: Any) -> None:
    prose = [CODE.sub("", cell.source) for cell in notebook.cells if cell.cell_type == "markdown"]
    assert len(leaf.formulas) == sum(len(FORMULA.findall(text)) for text in prose)


def test_solutions_are_folded(leaf: Leaf, notebook: Any) -> None:
    stubs = [cell for cell in notebook.cells if "exercise" in cell.metadata.get("tags", [])]
    assert leaf.folded == len(stubs) >= 5


def test_no_formula_is_left_raw(leaves: dict[Path, Leaf]) -> None:
    raw = {leaf.path.name: RAW_FORMULA.findall("".join(leaf.words)) for leaf in leaves.values()}
    assert {name: found for name, found in raw.items() if found} == {}


def test_the_font_has_every_character_of_the_formulas(leaves: dict[Path, Leaf], site: Path) -> None:
    sheet = (site / "_static" / "math-font.css").read_text()
    (data,) = re.findall(r"data:font/woff;base64,([\w+/=]+)", sheet)
    font = TTFont(io.BytesIO(b64decode(data)))
    assert "MATH" in font  # where a bar of a fraction lies, and what a bracket grows by
    written = {letter for leaf in leaves.values() for text in leaf.formulas for letter in text}
    invisible = {"\n", "\u2061", "\u2062", "\u2063"}  # "function of", "times", "and"
    assert {
        letter for letter in written if ord(letter) not in font["cmap"].getBestCmap()
    } <= invisible


def parts_of(name: str) -> dict[str, str]:
    """The functions and classes that a module defines, or that a package offers; and where from."""
    module = importlib.import_module(name)
    parts = {part: getattr(module, part) for part in getattr(module, "__all__", dir(module))}
    return {
        part: value.__module__
        for part, value in parts.items()
        if (inspect.isfunction(value) or inspect.isclass(value)) and not part.startswith("_")
        if hasattr(module, "__path__") or value.__module__ == name
    }


def test_every_module_is_in_the_reference(leaves: dict[Path, Leaf]) -> None:
    anchors = set().union(*(leaf.anchors for leaf in leaves.values()))
    assert {name for name in ["nstlib", *MODULES] if f"module-{name}" not in anchors} == set()
    # What a package offers stands under its name, or where its modules are told of, under theirs.
    offered = {
        (f"{name}.{part}", f"{home}.{part}")
        for name in MODULES
        for part, home in parts_of(name).items()
    }
    assert len(offered) > 300
    assert {names for names in offered if anchors.isdisjoint(names)} == set()


def test_names_in_the_text_lead_to_the_reference(leaves: dict[Path, Leaf], site: Path) -> None:
    links = leaves[site / "notebooks" / "01-gram-matrices-and-gatys.html"].links
    assert "../book/api/gatys.html#nstlib.gatys.stylize" in links


def test_the_search_knows_every_page_and_its_words(site: Path) -> None:
    index = (site / "searchindex.js").read_text()
    found = json.loads(re.fullmatch(r"Search\.setIndex\((.*)\)", index, re.DOTALL)[1])  # type: ignore[index]
    assert {f"notebooks/{name}" for name in NOTEBOOKS} <= set(found["docnames"])
    assert {"book/history", "book/glossary", "book/rights", "book/teaching"} <= set(
        found["docnames"]
    )
    assert {"gram", "adain", "flicker", "tensor"} <= set(found["terms"])


# ------------------------------------------------------------------------------------ in a browser

WIDTHS = {"a desk": 1280, "a phone": 390}
# Parts that reach beyond the window, and are not in a box that is scrolled by itself.
TOO_WIDE = """() => document.documentElement.scrollWidth <= innerWidth ? [] :
    [...document.querySelectorAll("main *")]
        .filter(part => part.getBoundingClientRect().right > innerWidth + 1)
        .map(part => part.outerHTML.slice(0, 200))"""
# Formulas that have no size, or are set in another font than the book's.
UNSET = """async () => {
    await document.fonts.ready;
    const loaded = [...document.fonts].filter(font => font.status === "loaded").map(font => font.family);
    if (!loaded.some(family => family.includes("Book Math"))) return ["the font was not loaded"];
    return [...document.querySelectorAll("math")]
        .filter(formula => formula.checkVisibility())
        .filter(formula => formula.getBoundingClientRect().height < 5
            || !getComputedStyle(formula).fontFamily.includes("Book Math"))
        .map(formula => formula.outerHTML);
}"""


@contextlib.contextmanager
def reading(browser: Browser, **device: Any) -> Iterator[Page]:
    """A page without network; at the end, hold it to no complaint and no request but for files."""
    complaints: list[str] = []
    asked: list[str] = []
    context = browser.new_context(offline=True, **device)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url[:200]))
    page.on(
        "console",
        lambda message: (
            complaints.append(message.text) if message.type in {"error", "warning"} else None
        ),
    )
    page.on("request", lambda request: asked.append(request.url))
    yield page
    context.close()
    assert complaints == []
    assert [url[:200] for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


@pytest.mark.browser
def test_no_page_is_wider_than_the_window(
    browser: Browser, leaves: dict[Path, Leaf], site: Path
) -> None:
    with reading(browser) as page:
        for path in leaves.keys() - {site / "index.html"}:  # which leads on at once
            page.set_viewport_size({"width": 1280, "height": 900})
            page.goto(path.as_uri())
            for width in WIDTHS.values():
                page.set_viewport_size({"width": width, "height": 900})
                assert page.evaluate(TOO_WIDE) == [], f"{path.name} at {width} px"


@pytest.mark.browser
def test_formulas_are_set_in_the_books_font(browser: Browser, site: Path) -> None:
    with reading(browser) as page:
        for name in ("notebooks/01-gram-matrices-and-gatys", "book/api/kernels", "book/glossary"):
            page.goto((site / f"{name}.html").as_uri())
            assert page.locator("math").count() > 3
            assert page.evaluate(UNSET) == []


@pytest.mark.browser
def test_the_first_page_leads_to_the_notebooks(browser: Browser, site: Path) -> None:
    with reading(browser) as page:
        page.goto((site / "index.html").as_uri())
        page.wait_for_url("**/book/index.html")
        page.get_by_role("table").get_by_role("link", name="03").click()
        page.get_by_role("heading", level=1, name="AdaIN").wait_for()


@pytest.mark.browser
@pytest.mark.parametrize("device", WIDTHS)
def test_search_finds(browser: Browser, site: Path, device: str) -> None:
    with reading(browser, viewport={"width": WIDTHS[device], "height": 844}) as page:
        page.goto((site / "book" / "index.html").as_uri())
        page.keyboard.press("Control+k")
        page.get_by_role("searchbox").first.fill("AdaIN")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search.html?q=AdaIN*")
        page.locator("#search-results a", has_text="AdaIN: ").first.click()
        page.get_by_role("heading", level=1, name="AdaIN").wait_for()


@pytest.mark.browser
def test_the_theme_is_the_readers_and_stays_as_it_is_set(browser: Browser, site: Path) -> None:
    brightness = "sum(getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3))"
    brightness = (
        f"(() => {{ const sum = all => all.reduce((a, b) => a + +b, 0); return {brightness}; }})()"
    )
    with reading(browser, color_scheme="light") as page:
        page.goto((site / "notebooks" / f"{NOTEBOOKS[0]}.html").as_uri())
        assert page.evaluate(brightness) > 600
        page.locator(".theme-switch-button:visible").click()
        page.locator(".theme-change-button:visible", has_text="Dark").click()
        assert page.evaluate(brightness) < 150
        page.goto((site / "book" / "glossary.html").as_uri())
        assert page.evaluate(brightness) < 150
    with reading(browser, color_scheme="dark") as page:
        page.goto((site / "book" / "index.html").as_uri())
        assert page.evaluate(brightness) < 150


@pytest.mark.browser
def test_a_solution_opens(browser: Browser, site: Path) -> None:
    with reading(browser) as page:
        page.goto((site / "notebooks" / f"{NOTEBOOKS[0]}.html").as_uri())
        solution = page.locator("article details").first
        code = solution.locator("pre")
        assert not code.is_visible()
        solution.locator("summary").click()
        code.wait_for()
        assert code.inner_text().startswith("def my_")
