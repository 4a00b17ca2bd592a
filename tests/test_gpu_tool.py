"""``make gpu``: what it would run, with a GPU and without one, and with what on the machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def tool(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_tool", root / "tools" / "gpu.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def machine(tool: ModuleType, **changes: str | None) -> object:
    """Return what is found on a machine, by default one without a GPU."""
    found = {"torch": "2.11.0", "gpu": None, "triton": "3.6.0", "numpy": "2.3.5"} | changes
    return tool.Machine(**found)


def steps(tool: ModuleType, **changes: str | None) -> list[tuple[str, dict[str, str]]]:
    """Return the module that each step runs, and the variables that it is given."""
    _, found = tool.plan(machine(tool, **changes))
    return [(step.arguments[1], dict(step.variables)) for step in found]


class TestPlan:
    def test_with_a_gpu_the_proof_on_it_and_the_benchmark(self, tool: ModuleType) -> None:
        assert steps(tool, gpu="NVIDIA H200") == [
            ("pytest", {"NSTLIB_TEST_DEVICE": "cuda", "NSTLIB_KERNELS": "triton"}),
            ("nstlib.kernels.benchmark", {}),
        ]
        lines, found = tool.plan(machine(tool, gpu="NVIDIA H200"))
        assert lines == ["NVIDIA H200, PyTorch 2.11.0, Triton 3.6.0."]
        assert found[1].arguments[2:] == ("--out", "data/benchmarks")

    def test_without_one_a_line_says_so_and_the_proofs_run_on_the_cpu(
        self, tool: ModuleType
    ) -> None:
        assert steps(tool) == [
            ("pytest", {}),
            ("pytest", {"TRITON_INTERPRET": "1", "NSTLIB_KERNELS": "triton"}),
        ]
        lines, _ = tool.plan(machine(tool))
        assert lines == ["No NVIDIA GPU is here: proofs on the CPU, and no benchmark."]

    @pytest.mark.parametrize(
        ("triton", "numpy", "reason"),
        [
            ("3.6.0", "2.4.6", "that of Triton 3.6.0 fails with NumPy 2.4.6; NumPy 2.3 works"),
            ("3.5.1+git", "2.10.0", "that of Triton 3.5.1+git fails with NumPy 2.10.0"),
            (None, "2.3.5", "Triton is not installed"),
            ("3.6.0", None, "NumPy is not installed"),
        ],
    )
    def test_where_the_interpreter_fails_only_its_proof_is_left_out(
        self, tool: ModuleType, triton: str | None, numpy: str | None, reason: str
    ) -> None:
        assert steps(tool, triton=triton, numpy=numpy) == [("pytest", {})]
        lines, _ = tool.plan(machine(tool, triton=triton, numpy=numpy))
        assert len(lines) == 2
        assert reason in lines[1]

    @pytest.mark.parametrize(("triton", "numpy"), [("3.6.0", "2.3.5"), ("3.8.0", "2.4.6")])
    def test_pairs_that_work(self, tool: ModuleType, triton: str, numpy: str) -> None:
        assert tool.why_not_interpreted(machine(tool, triton=triton, numpy=numpy)) is None


class TestRun:
    def test_a_step_finds_the_clone_and_no_choice_from_outside(self, tool: ModuleType) -> None:
        outside = {
            "PYTHONPATH": "elsewhere",
            "TRITON_INTERPRET": "1",
            "NSTLIB_KERNELS": "torch",
            "NSTLIB_TEST_DEVICE": "cuda",
            "HOME": "home",
        }
        _, (plain, interpreted) = tool.plan(machine(tool))
        path = f"{tool.ROOT}{os.pathsep}elsewhere"
        assert tool.environment(plain, outside) == {"PYTHONPATH": path, "HOME": "home"}
        found = tool.environment(interpreted, outside)
        assert (found["TRITON_INTERPRET"], found["NSTLIB_KERNELS"]) == ("1", "triton")
        assert tool.environment(plain, {})["PYTHONPATH"] == str(tool.ROOT)

    @pytest.mark.parametrize(
        ("statuses", "status", "last"),
        [
            ((0, 0), 0, "All passed"),
            ((1, 0), 1, "Failed: Proof on the GPU"),
            ((0, 2), 1, "Failed: Benchmark"),
            ((-9, 1), 1, "Failed: Proof on the GPU; Benchmark"),
        ],
    )
    def test_every_step_runs_and_one_failure_is_a_failure(
        self,
        tool: ModuleType,
        statuses: tuple[int, int],
        status: int,
        last: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        left = list(statuses)
        found = tool.run_all(machine(tool, gpu="NVIDIA H200"), lambda step: left.pop(0))
        assert found == status
        assert left == []
        assert capsys.readouterr().out.splitlines()[-1] == last

    def test_this_machine_is_looked_at(self, tool: ModuleType) -> None:
        import torch

        assert tool.look().torch == torch.__version__

    def test_pytest_starts_without_the_plugins_that_the_project_names(
        self, tool: ModuleType, root: Path
    ) -> None:
        command = [sys.executable, *tool.PYTEST, "-p", "no:cacheprovider", "--collect-only", "-q"]
        environment = tool.environment(tool.plan(machine(tool))[1][0], os.environ)
        environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        run = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout + run.stderr
        assert "test_gram.py::" in run.stdout


class TestWhichPython:
    def test_this_one_can_run_where_it_has_all(
        self, tool: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tool, "NEEDED", ("json", "numpy"))
        assert tool.main(["--can-run"]) == 0
        monkeypatch.setattr(tool, "NEEDED", ("json", "no_such_library"))
        assert tool.main(["--can-run"]) == 1
        monkeypatch.setattr(tool, "NEEDED", ())
        monkeypatch.setattr(tool, "OLDEST", (99, 0))
        assert tool.main(["--can-run"]) == 1

    @pytest.mark.parametrize("can_run", [True, False])
    def test_make_sets_up_only_where_the_named_python_cannot(
        self, root: Path, tmp_path: Path, can_run: bool
    ) -> None:
        for name in ("pyproject.toml", "constraints.txt", "Makefile"):
            shutil.copy(root / name, tmp_path)
        (tmp_path / "tools").mkdir()
        (tmp_path / "tools" / "set_up.py").touch()
        python = tmp_path / "python-named"
        answer = 0 if can_run else 1
        python.write_text(f'#!/bin/sh\ncase "$*" in *--can-run) exit {answer};; esac\n')
        python.chmod(0o755)
        run = subprocess.run(
            ["make", "--dry-run", "gpu", f"PYTHON={python}"],
            cwd=tmp_path,
            env={k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")},
            capture_output=True,
            text=True,
            check=True,
        )
        assert ("set_up.py" in run.stdout) is not can_run
        runs = str(python) if can_run else ".venv/bin/python"
        assert run.stdout.splitlines()[-1] == f"{runs} tools/gpu.py"
