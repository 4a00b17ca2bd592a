"""Set-up chooses a PyTorch that installs, within seconds; rendering leaves no trace of the run."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import nbformat
import pytest


@pytest.fixture(scope="module")
def set_up(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("set_up", root / "tools" / "set_up.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Index(BaseHTTPRequestHandler):
    """A package index that knows torch and nothing else."""

    def do_HEAD(self) -> None:
        self.send_response(200 if self.path == "/cpu/torch/" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an index on this machine that answers."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with HTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/cpu"
        server.shutdown()
        thread.join()


@pytest.fixture
def silent_index() -> Iterator[str]:
    """The address of an index that accepts a connection and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/cpu"


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_card")
class TestWhichTorch:
    def test_cpu_wheels_where_their_index_answers(self, set_up: ModuleType, index: str) -> None:
        assert set_up.wants_cpu_wheels("auto", index)
        assert set_up.wants_cpu_wheels("cpu", index)

    def test_default_wheels_where_the_index_lacks_torch(
        self, set_up: ModuleType, index: str
    ) -> None:
        assert not set_up.wants_cpu_wheels("auto", f"{index}/elsewhere")

    def test_default_wheels_where_nothing_listens(self, set_up: ModuleType) -> None:
        assert not set_up.wants_cpu_wheels("auto", "http://127.0.0.1:9")

    def test_a_silent_index_costs_seconds(
        self, set_up: ModuleType, silent_index: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        start = time.perf_counter()
        assert not set_up.wants_cpu_wheels("auto", silent_index)
        assert time.perf_counter() - start < set_up.PATIENCE + 1

    def test_cuda_is_taken_at_its_word(self, set_up: ModuleType, index: str) -> None:
        assert not set_up.wants_cpu_wheels("cuda", index)

    def test_an_nvidia_card_means_cuda_unless_told_otherwise(
        self, set_up: ModuleType, index: str, tmp_path: Path
    ) -> None:
        card = tmp_path / "nvidia-smi"
        card.write_text("#!/bin/sh\n")
        card.chmod(0o755)
        assert not set_up.wants_cpu_wheels("auto", index)
        assert set_up.wants_cpu_wheels("cpu", index)


def test_an_old_python_is_told_so_in_words(root: Path, tmp_path: Path) -> None:
    old = tmp_path / "python-old"
    old.write_text("#!/bin/sh\nexit 1\n")  # what the version check does on an old Python
    old.chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt", "Makefile"):
        shutil.copy(root / name, tmp_path)
    shutil.copytree(root / "tools", tmp_path / "tools")
    run = subprocess.run(
        ["make", "lab", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    assert f"needs Python 3.11 or newer; '{old}' is missing or older" in run.stderr
    assert "make lab PYTHON=" in run.stderr
    assert not (tmp_path / ".venv").exists()


def render(root: Path, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "tools" / "render.py", path],
        capture_output=True,
        text=True,
        check=False,
    )


def write_notebook(path: Path, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def test_rendering_twice_gives_the_same_file(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    write_notebook(
        path,
        "from pathlib import Path\nprint(Path.cwd().name)",
        "import ipywidgets\nipywidgets.IntSlider()",
        "print('a', flush=True)\nprint('b')",
    )
    assert render(root, path).returncode == 0
    once = path.read_bytes()
    assert render(root, path).returncode == 0
    assert path.read_bytes() == once
    notebook = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3]
    assert notebook.cells[0].outputs[0].text == f"{tmp_path.name}\n"
    assert notebook.cells[1].outputs[0].data == {
        "text/plain": "Live controls: run this cell to use them."
    }
    assert [output.text for output in notebook.cells[2].outputs] == ["a\nb\n"]
    assert all("execution" not in cell.metadata for cell in notebook.cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert dict(notebook.metadata.language_info) == {"name": "python"}


def test_a_failing_notebook_stays_as_it_was(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    write_notebook(path, "1 / 0")
    before = path.read_bytes()
    run = render(root, path)
    assert run.returncode != 0
    assert "ZeroDivisionError" in run.stderr
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.ipynb"]
