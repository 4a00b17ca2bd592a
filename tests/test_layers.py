"""How the package is built: imports go down or sideways, in no circle, and files stay short."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "nstlib"

# From what stands on nothing to what people touch. A module may import from its own layer and from
# those above it in this table.
LAYERS = (
    ("config", "errors", "files", "gaussians", "kernels", "layers", "memory"),
    (
        *("color", "datasets", "decoders", "decoding", "encoders", "flow", "images"),
        *("interpolation", "losses", "masks", "painting", "showing", "steadiness", "strokes"),
        *("styles", "training", "weights"),
    ),
    (
        *("adain", "adain_training", "distillation", "fast_training", "gatys", "stylist"),
        "transform_net",
    ),
    ("video",),
    (*("benchmarks", "check", "cli", "doctor", "evaluation", "serving", "widgets"),),
)

MOST_LINES = 400
# What is longer, and why it stays in one piece.
LONG = {
    "adain.py": "the model, its content and its styles: one idea, and half of it is docstrings",
    "cli/flags.py": "every flag that commands share, each once",
    "distillation.py": "how the encoder was made, from first to last",
    "encoders.py": "VGG, where its weights are found, and what is wrong with a file",
    "flow.py": "three ways to find the flow, and what could be seen before",
    "gatys.py": "the whole method; its options are told of one by one",
    "images.py": "the one image contract: load, resize, save",
    "kernels/benchmark.py": "what each kernel is measured against, and how",
    "losses.py": "every loss with its formula and its normalisations",
    "painting/art_nouveau.py": "a painter: what it draws, piece by piece",
    "painting/clips.py": "made clips, with the motion and the occlusion of each kind",
    "painting/ink_wash.py": "a painter: what it draws, piece by piece",
    "serving/app.py": "every address of the server; what it does lies in the modules beside it",
    "training.py": "one loop, with its checkpoints and its processes",
    "transform_net.py": "the net, its shapes, and the files that it is loaded from",
    "widgets/gatys_lab.py": "a lab: its run, its controls, its record",
    "widgets/mask_brush.py": "two thirds are the script of the page",
}


def modules() -> dict[str, Path]:
    """Return the file of each module, by its name within the package."""
    return {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


FILES = modules()


def imported(name: str) -> set[str]:
    """Return the modules of the package that one imports as it is imported itself."""
    return {
        found
        for statement in _at_import(ast.parse(FILES[name].read_text()).body)
        for found in _named(statement)
        if found != name
    }


def _at_import(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Give what runs when the module is imported: neither functions nor what is for types alone."""
    for statement in body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            yield statement
        elif isinstance(statement, ast.If) and ast.unparse(statement.test) != "TYPE_CHECKING":
            yield from _at_import(statement.body + statement.orelse)
        elif isinstance(statement, ast.Try):
            yield from _at_import(statement.body)


def _named(statement: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        candidates = [alias.name for alias in statement.names]
    else:
        base = statement.module or ""
        inside = [f"{base}.{alias.name}" for alias in statement.names]
        candidates = [full if _within(full) in FILES else base for full in inside]
    yield from (_within(full) for full in candidates if _within(full) in FILES)


def _within(full: str) -> str:
    """Return a module's name within the package; of the package itself, and of others, nothing."""
    return full.removeprefix("nstlib.") if full.startswith("nstlib.") else ""


GRAPH = {name: imported(name) for name in FILES if name != "__init__"}


def layer(name: str) -> int:
    """Return the number of a module's layer."""
    return next(number for number, here in enumerate(LAYERS) if name.split(".")[0] in here)


def test_every_module_has_one_layer() -> None:
    named = sorted(name for here in LAYERS for name in here)
    assert named == sorted({name.split(".")[0] for name in GRAPH})


@pytest.mark.parametrize("name", sorted(GRAPH))
def test_imports_go_down_or_sideways(name: str) -> None:
    up = {found for found in GRAPH[name] if layer(found) > layer(name)}
    assert not up, f"{name} imports {', '.join(sorted(up))} from above it"


def test_imports_run_in_no_circle() -> None:
    graphlib.TopologicalSorter(GRAPH).prepare()  # raises, and names the circle


def test_a_circle_would_be_found() -> None:
    with pytest.raises(graphlib.CycleError, match="circle|cycle"):
        graphlib.TopologicalSorter(GRAPH | {"config": {"cli"}}).prepare()
    assert "losses" in GRAPH["gatys"]
    assert "widgets.controls" in GRAPH["widgets.gatys_lab"]


def test_a_long_file_has_a_reason() -> None:
    lengths = {
        str(path.relative_to(PACKAGE)): len(path.read_text().splitlines())
        for path in FILES.values()
    }
    long = {name for name, length in lengths.items() if length > MOST_LINES}
    assert sorted(long - set(LONG)) == [], f"over {MOST_LINES} lines: split it, or say why not"
    assert sorted(set(LONG) - long) == [], "has become short: its reason can go"
