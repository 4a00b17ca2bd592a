"""The book: the notebooks as they are stored, the pages beside this file, and the package's reference.

``make book`` builds it. Neither the build nor a reader needs a network: all that a page loads is
beside it, formulas are MathML, and the notebooks are not run again.

The clone's folder is the source, so that a page links to ``../notebooks`` here as it does on disk.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from fontTools import subset
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging

import nstlib

project = "nstlib"
author = "The nstlib authors"
version = release = nstlib.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "book/index"
include_patterns = ["book/**", "notebooks/*.ipynb"]
exclude_patterns = [".*", "build", "data", "dist", "nstlib", "out", "runs", "tests", "tools"]

# ------------------------------------------------------------------------- notebooks and Markdown

nb_execution_mode = "off"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables, too
nb_ipywidgets_js = {}  # they would be fetched from elsewhere, and a page has no kernel
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3

# -------------------------------------------------------------------------------------- reference

nitpicky = True  # a name in a docstring that leads nowhere is an error
nitpick_ignore_regex = [
    ("py:.*", r"(?!nstlib).*"),  # what is not ours is not here
    (
        "py:class",
        r"nstlib\.(painting|video|widgets)\.\w+\.\w+",
    ),  # nor what a package keeps to itself
    ("py:class", r"nstlib\.(\w+\.)+(Answer|Function|Model|_Item)"),  # nor a TypeVar
]
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True  # as they are written
autodoc_typehints_format = "short"
napoleon_use_ivar = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# ------------------------------------------------------------------------------------------ pages

html_theme = "sphinx_book_theme"
html_title = "Neural style transfer, from Gram matrices up"
html_theme_options = {
    "logo": {"text": "Neural style transfer"},
    "navbar_persistent": [],  # the search button stands in the side bar
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_context = {"default_mode": "auto"}  # light or dark, as the reader's machine is
html_static_path = ["_static"]
html_extra_path = ["_extra"]  # an index.html that leads to the first page
html_css_files = ["math-font.css", "book.css"]
html_favicon = "_static/favicon.svg"
html_use_index = html_domain_indices = False  # the search finds every name
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_show_search_summary = False  # it is fetched, which a browser forbids to a page from disk
html_math_renderer = "mathml"

logger = logging.getLogger(__name__)

MATHML = LatexToMathML(fancy_error=False)
# What formulas are written with: ASCII, accents, Greek, punctuation, blackboard letters, arrows,
# operators, brackets, and the letters that a browser sets in bold, in italics and on a blackboard.
MATH_CHARACTERS = (
    *(range(0x20, 0x7F), range(0xA0, 0xF8), range(0x2C6, 0x2DD), range(0x300, 0x339)),
    *(range(0x391, 0x3F6), range(0x2010, 0x2058), range(0x2102, 0x213A), range(0x2190, 0x21D6)),
    *(range(0x2200, 0x22FF), range(0x2308, 0x230C), range(0x27E8, 0x27EA)),
    *(range(0x1D400, 0x1D468), range(0x1D538, 0x1D56C), range(0x1D6A4, 0x1D71C)),
)


def write_math_font(app: Sphinx) -> None:
    """Put the font of the formulas into a style sheet: a page from disk may load no font's file."""
    options = subset.Options(flavor="woff", layout_features=[], hinting=False)
    path = files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf"
    font = subset.load_font(str(path), options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=[code for codes in MATH_CHARACTERS for code in codes])
    subsetter.subset(font)
    file = io.BytesIO()
    subset.save_font(font, file, options)
    data = base64.b64encode(file.getvalue()).decode()
    sheet = app.outdir / "_static" / "math-font.css"
    sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet.write_text(
        "/* STIX Two Math, cut down. (c) The STIX Fonts Project Authors, SIL Open Font License 1.1 */\n"
        f'@font-face {{ font-family: "Book Math"; src: url("data:font/woff;base64,{data}"); }}\n'
    )


def write_formula(translator: Any, node: nodes.Element) -> None:
    """Write a formula as MathML; one that is wrong is told of with its place."""
    block = isinstance(node, nodes.math_block)
    try:
        formula = MATHML.convert_with_local_state(node.astext(), displaystyle=block)
    except LatexError as error:
        logger.warning("%s in the formula %s", error, node.astext(), location=node)
        raise nodes.SkipNode from error
    translator.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def stored_pictures(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name that MyST-NB gives each stored picture of a notebook, and its alt text."""
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            for kind in {"image/png", "image/jpeg"} & set(output.get("data", {})):
                data = base64.b64decode(output.data[kind])
                yield hashlib.sha256(data).hexdigest(), output.metadata.get(kind, {}).get("alt", "")


def finish_notebook(app: Sphinx, page: nodes.document) -> None:
    """Take over the pictures' alt texts, and say what stands where a widget was."""
    path = Path(page["source"])
    if path.suffix != ".ipynb":
        return
    alt = dict(stored_pictures(path))
    for picture in page.findall(nodes.image):
        picture["alt"] = alt.get(Path(picture["uri"]).stem, picture.get("alt"))
        if not picture["alt"]:
            logger.warning("a picture has no alt text", location=picture)
    for output in list(page.findall(nodes.literal_block)):
        if output.astext().startswith("Live controls:"):
            text = "In JupyterLab, live controls stand here. The figure below shows what they draw."
            output.replace_self(nodes.paragraph("", text, classes=["live-controls"]))


def link_names(app: Sphinx, page: nodes.document, name: str) -> None:
    """Let a name such as ``gatys.stylize`` lead to its place in the reference."""
    places = app.env.domains.python_domain.objects
    for literal in list(page.findall(nodes.literal)):
        text = literal.astext().partition("(")[0]
        place = places.get(f"nstlib.{text.removeprefix('nstlib.')}") if "." in text else None
        if place and not isinstance(literal.parent, nodes.reference):
            address = f"{app.builder.get_relative_uri(name, place.docname)}#{place.node_id}"
            literal.replace_self(nodes.reference("", "", literal.deepcopy(), refuri=address))


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("builder-inited", write_math_font)
    app.connect("doctree-read", finish_notebook)
    app.connect("doctree-resolved", link_names)
