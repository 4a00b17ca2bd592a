"""Set-up chooses a PyTorch that installs, within seconds; rendering leaves no trace of the run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from nstlib.doctor import CHROMIUM_NAMES


def tool(root: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, root / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def set_up(root: Path) -> ModuleType:
    return tool(root, "set_up")


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
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
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
        assert set_up.answers.__defaults__ == (set_up.PATIENCE,) == (3,)
        monkeypatch.setattr(set_up.answers, "__defaults__", (0.3,))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        start = time.perf_counter()
        assert not set_up.wants_cpu_wheels("auto", silent_index)
        assert 0.3 <= time.perf_counter() - start < 1.3

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


# An environment's Python as set-up uses it. Its pip knows one version of PyTorch in two builds and,
# as the real one does, leaves either where it is. A file `cut-off` breaks its downloads from the
# CPU index, `misfit` the CPU wheels that it installs.
FAKE_PYTHON = f"""#!{sys.executable} -IS
import sys
from pathlib import Path

here = Path(__file__).parent
call = " ".join(sys.argv[1:])
with (here / "calls").open("a") as calls:
    print(call, file=calls)
torch = here / "torch"
if "version('torch')" in call:
    sys.exit(print(torch.read_text()) if torch.exists() else 1)
if "import torchvision" in call:
    sys.exit((here / "misfit").exists() and "+cpu" in torch.read_text())
if "pip uninstall" in call:
    torch.unlink()
if "pip install" in call:
    cpu = "--extra-index-url" in call
    if cpu and (here / "cut-off").exists():
        sys.exit(1)
    if not torch.exists():
        torch.write_text("2.14.1+cpu" if cpu else "2.14.1")
"""


def write_script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@dataclass(frozen=True)
class Environment:
    """A folder with FAKE_PYTHON in it, and the set-up that works on it."""

    folder: Path
    module: ModuleType
    monkeypatch: pytest.MonkeyPatch

    def set_up(self, torch: str, installed: str | None, cpu_index: bool) -> str:
        """Set up where a build is installed, and return the build that is there at the end."""
        file = self.folder / "bin" / "torch"
        if installed:
            file.write_text(installed)
        self.monkeypatch.setattr(self.module, "wants_cpu_wheels", lambda _: cpu_index)
        self.module.set_up(self.folder, torch)
        return file.read_text()

    def calls(self, what: str) -> list[str]:
        """What the environment's Python was called with, as far as it holds ``what``."""
        lines = (self.folder / "bin" / "calls").read_text().splitlines()
        return [line for line in lines if what in line]


@pytest.fixture
def environment(set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Environment:
    write_script(tmp_path / "venv" / "bin" / "python", FAKE_PYTHON)
    return Environment(tmp_path / "venv", set_up, monkeypatch)


class TestInstall:
    @pytest.mark.parametrize("installed", ["2.14.1", "2.14.1+cpu"])
    @pytest.mark.parametrize(
        ("torch", "cpu_index"), [("auto", True), ("auto", False), ("cpu", False)]
    )
    def test_a_build_stays_where_no_other_is_asked_for_and_to_be_had(
        self, environment: Environment, torch: str, installed: str, cpu_index: bool
    ) -> None:
        assert environment.set_up(torch, installed, cpu_index) == installed
        assert not environment.calls("uninstall")

    @pytest.mark.parametrize(
        ("torch", "installed", "cpu_index", "wanted"),
        [("cpu", "2.14.1", True, "2.14.1+cpu"), ("cuda", "2.14.1+cpu", False, "2.14.1")],
    )
    def test_the_build_asked_for_by_name_takes_the_other_ones_place(
        self, environment: Environment, torch: str, installed: str, cpu_index: bool, wanted: str
    ) -> None:
        assert environment.set_up(torch, installed, cpu_index) == wanted
        assert len(environment.calls("uninstall")) == 1
        assert environment.set_up(torch, None, cpu_index) == wanted
        assert len(environment.calls("uninstall")) == 1  # the second time there is nothing to do

    def test_an_index_that_answers_and_then_fails_costs_one_line(
        self, environment: Environment, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (environment.folder / "bin" / "cut-off").touch()
        assert environment.set_up("cpu", None, cpu_index=True) == "2.14.1"
        first, second = environment.calls("pip install")
        assert "--timeout=15 --retries=1" in first  # pip's own patience holds for the second only
        assert "--timeout" not in second
        assert "--retries" not in second
        assert "--extra-index-url" not in second
        (_, line) = capsys.readouterr().out.splitlines()
        assert line == "The CPU wheels could not be installed: taking the default ones."

    def test_cpu_wheels_that_do_not_load_give_way(self, environment: Environment) -> None:
        (environment.folder / "bin" / "misfit").touch()
        assert environment.set_up("auto", None, cpu_index=True) == "2.14.1"

    def test_a_failure_of_the_default_wheels_is_the_end(
        self, environment: Environment, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(python: Path, cpu_wheels: bool) -> None:
            raise subprocess.CalledProcessError(1, [python])

        monkeypatch.setattr(environment.module, "install", fail)
        with pytest.raises(subprocess.CalledProcessError):
            environment.set_up("auto", None, cpu_index=True)


class TestEnvironment:
    @pytest.fixture
    def system_python(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The Python that set-up runs in; it notes its calls in a file, and makes nothing."""
        python = write_script(tmp_path / "python3", '#!/bin/sh\necho "$*" >> "$0.calls"\n')
        monkeypatch.setattr(sys, "executable", str(python))
        return tmp_path / "python3.calls"

    def test_a_whole_one_is_kept(self, environment: Environment, system_python: Path) -> None:
        python = environment.module.make_environment(environment.folder)
        assert python == environment.folder / "bin" / "python"
        assert not system_python.exists()

    def test_one_without_pip_is_made_anew(
        self, set_up: ModuleType, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        folder = tmp_path / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        calls: Path = request.getfixturevalue("system_python")
        set_up.make_environment(folder)
        assert calls.read_text() == f"-m venv --clear {folder}\n"

    def test_a_folder_that_is_no_environment_is_not_cleared(
        self, set_up: ModuleType, tmp_path: Path, system_python: Path
    ) -> None:
        folder = tmp_path / "venv"
        folder.mkdir()
        set_up.make_environment(folder)
        assert system_python.read_text() == f"-m venv {folder}\n"

    def test_without_python3_venv_one_sentence_says_what_to_do(
        self, set_up: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(SystemExit, match="install python3-venv, or name another") as stopped:
            set_up.make_environment(tmp_path / "venv")
        assert "make lab PYTHON=" in str(stopped.value)
        assert len(str(stopped.value).splitlines()) == 1


@pytest.fixture
def clone(root: Path, tmp_path: Path) -> Path:
    """A clone as far as the Makefile needs one, with a set-up that only notes which torch it got."""
    for name in ("pyproject.toml", "constraints.txt", "Makefile"):
        shutil.copy(root / name, tmp_path)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "set_up.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "Path(sys.argv[1]).mkdir(exist_ok=True)\n"
        "print(sys.argv[3], file=open('set-ups', 'a'))\n"
    )
    return tmp_path


def make(folder: Path, *arguments: str, python: str = sys.executable) -> tuple[int, str, str]:
    """Run make as from a terminal: `make test TORCH=cpu` hands its variables on to its children."""
    ours = {"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "TORCH", "PYTHON"}
    run = subprocess.run(
        ["make", *arguments, f"PYTHON={python}"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name not in ours},
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout, run.stderr


class TestMakefile:
    def test_an_old_python_is_told_so_in_words(self, clone: Path) -> None:
        # What the version check does on an old Python.
        old = write_script(clone / "python-old", "#!/bin/sh\nexit 1\n")
        status, _, errors = make(clone, "lab", python=str(old))
        assert status != 0
        assert f"needs Python 3.11 or newer; '{old}' is missing or older" in errors
        assert "make lab PYTHON=" in errors
        assert not (clone / ".venv").exists()

    def test_set_up_runs_again_only_where_something_changed(self, clone: Path) -> None:
        def set_ups(*arguments: str) -> str:
            status, _, errors = make(clone, "setup", *arguments)
            assert status == 0, errors
            return " ".join((clone / "set-ups").read_text().split())

        assert set_ups("TORCH=cpu") == "cpu"
        assert set_ups() == "cpu"  # auto is content with what was chosen by name
        assert set_ups("TORCH=cpu") == "cpu"
        assert set_ups("TORCH=cuda") == "cpu cuda"
        assert set_ups() == "cpu cuda"
        os.utime(clone / ".venv" / "ready-cuda", (0, 0))  # older than what it was made from
        assert set_ups() == "cpu cuda cuda"  # and keeps to that choice
        shutil.rmtree(clone / ".venv")
        assert set_ups() == "cpu cuda cuda auto"

    def test_a_set_up_that_failed_is_not_taken_for_done(self, clone: Path) -> None:
        assert make(clone, "setup")[0] == 0
        tool = clone / "tools" / "set_up.py"
        tool.write_text("raise SystemExit('no network')")
        os.utime(clone / ".venv" / "ready-auto", (0, 0))
        for _ in range(2):
            status, _, errors = make(clone, "setup")
            assert status != 0
            assert "no network" in errors

    def test_demo_is_the_command_of_the_environment_and_shows_what_it_prints(
        self, clone: Path
    ) -> None:
        """What that command writes and prints is tried as a command."""
        write_script(clone / ".venv" / "bin" / "nst", '#!/bin/sh\necho "$PWD: nst $*"\n')
        status, output, errors = make(clone, "demo")
        assert status == 0, errors
        assert f"{clone.resolve()}: nst demo" in output.splitlines()


@dataclass(frozen=True)
class BareMachine:
    """A machine where all that CI's script finds are these few commands; each notes its calls."""

    clone: Path
    commands: Path

    def add(self, name: str, script: str = "") -> None:
        """Add a command, which notes its name and arguments and then does ``script``."""
        calls = self.clone / "calls"
        write_script(self.commands / name, f'#!/bin/sh\necho {name} "$@" >> {calls}\n{script}\n')

    def run(self) -> list[str]:
        """Run CI's script and return the calls of the commands that matter."""
        environment = {"PATH": str(self.commands)}
        script = [str(self.commands / "bash"), ".ci/run"]
        subprocess.run(script, cwd=self.clone, env=environment, capture_output=True, check=True)
        lines = (self.clone / "calls").read_text().splitlines()
        return [line for line in lines if line.startswith(("apt-get", "make", "weights"))]


UPDATE = "apt-get update -qq"
INSTALL = "apt-get install -qq -y --no-install-recommends chromium"


class TestCI:
    @pytest.fixture
    def machine(self, root: Path, tmp_path: Path) -> BareMachine:
        shutil.copytree(root / ".ci", tmp_path / "clone" / ".ci")
        machine = BareMachine(tmp_path / "clone", tmp_path / "bin")
        for name in ("bash", "dirname", "chmod"):
            found = shutil.which(name)
            assert found is not None
            machine.commands.mkdir(exist_ok=True)
            (machine.commands / name).symlink_to(found)
        machine.add("id", "echo 0")
        machine.add("sleep")
        machine.add("make", f'echo "weights $NSTLIB_WEIGHTS" >> {machine.clone}/calls')
        return machine

    def test_a_bare_debian_gets_a_chromium_first(self, machine: BareMachine) -> None:
        browser = machine.commands / "chromium"
        machine.add("apt-get", f'[ "$1" = update ] || {{ : > {browser}; chmod +x {browser}; }}')
        assert machine.run() == [UPDATE, INSTALL, "make test", "weights "]

    @pytest.mark.parametrize("browser", CHROMIUM_NAMES)
    def test_a_browser_that_is_there_will_do(self, machine: BareMachine, browser: str) -> None:
        machine.add("apt-get")
        machine.add(browser)
        assert machine.run() == ["make test", "weights "]

    @pytest.mark.parametrize("may_install", [True, False])
    def test_the_tests_run_without_a_browser_too(
        self, machine: BareMachine, may_install: bool
    ) -> None:
        machine.add("apt-get", "exit 100")
        if not may_install:
            machine.add("id", "echo 1000")
        assert machine.run() == [*([UPDATE] * 3 if may_install else []), "make test", "weights "]

    def test_vgg19_weights_beside_the_clone_are_found(self, machine: BareMachine) -> None:
        weights = machine.clone.parent / "shared" / "weights"
        weights.mkdir(parents=True)
        machine.add("chromium")
        assert machine.run() == ["make test", f"weights {weights}"]


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
    render = tool(root, "render").render
    render(path)
    once = path.read_bytes()
    render(path)
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
    run = subprocess.run(
        [sys.executable, root / "tools" / "render.py", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "ZeroDivisionError" in run.stderr
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.ipynb"]
