"""Execute notebooks in place from a fresh kernel, keeping nothing that changes from run to run.

``python tools/render.py notebooks/*.ipynb`` (or ``make render``).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

CELL_SECONDS = 300  # as in pyproject.toml: a cell that hangs fails
WIDGET = "application/vnd.jupyter.widget-view+json"


def say_where_widgets_were(notebook: nbformat.NotebookNode) -> None:
    """Put one line of text in the place of each widget.

    A stored widget names a model of the kernel that ran it: on a page, or in a new kernel, it shows
    as an error, and its random name changes with every run.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if WIDGET in output.get("data", {}):
                output.data = {"text/plain": "Live controls: run this cell to use them."}


def render(path: Path) -> None:
    """Run the notebook from top to bottom and write it back; a failing cell leaves it unchanged."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,  # no dates in the cells' metadata
        store_widget_state=False,  # megabytes of pictures, of use only to a page without a kernel
        coalesce_streams=True,  # one text output a cell, however it was flushed
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    say_where_widgets_were(notebook)
    notebook.metadata.pop("widgets", None)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {"name": "python"}  # without the version that ran it
    beside = path.with_suffix(".ipynb.tmp")
    nbformat.write(notebook, beside)
    os.replace(beside, path)


def main() -> None:
    """Render every notebook named on the command line."""
    for path in map(Path, sys.argv[1:]):
        start = time.perf_counter()
        render(path)
        seconds = time.perf_counter() - start
        print(f"{path}: {seconds:.0f} s, {path.stat().st_size / 1e6:.2f} MB", flush=True)


if __name__ == "__main__":
    main()
