"""Prove the kernels on this machine, and measure them where it has an NVIDIA GPU: ``make gpu``.

On a GPU the tests of the kernels run there, through Triton, and then the benchmark. Elsewhere they
run on the CPU: the references, what Triton compiles, and Triton's kernels in its interpreter. What
runs them needs PyTorch, Triton, NumPy and pytest, and nothing else of the course.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NEEDED = ("torch", "triton", "numpy", "pytest")
OLDEST = (3, 11)  # as in pyproject.toml
# What chooses how the tests run: each step says it anew.
CHOICES = ("NSTLIB_KERNELS", "NSTLIB_TEST_DEVICE", "TRITON_INTERPRET")

# The project's options for pytest name plugins that may be missing here. Without them it must run
# all the same: the options are dropped, and it is silent about the setting that none of them reads.
PYTEST = (
    *("-m", "pytest", "tests/kernels"),
    *("-o", "addopts=--strict-markers -ra"),
    *("-W", "ignore:Unknown config option:pytest.PytestConfigWarning"),
)
# With NumPy 2.3 the interpreter of Triton 3.6 does what NumPy warns of, and 2.4 refuses.
INTERPRETED = (*PYTEST, "-W", "ignore:Conversion of an array with ndim:DeprecationWarning")
BENCHMARK = ("-m", "nstlib.kernels.benchmark", "--out", "data/benchmarks")

LOOK = """
import json, torch
found = {"torch": torch.__version__}
found["gpu"] = None
if torch.cuda.is_available() and not torch.version.hip:
    found["gpu"] = torch.cuda.get_device_name()
for name in ("triton", "numpy"):
    try:
        found[name] = __import__(name).__version__
    except ImportError:
        found[name] = None
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Machine:
    """What a Python finds here; None is what is missing."""

    torch: str
    gpu: str | None
    triton: str | None
    numpy: str | None


@dataclass(frozen=True)
class Step:
    """What is run by Python, and the environment variables that say how."""

    name: str
    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


def can_run() -> bool:
    """Say whether this Python has all that the kernels' tests need."""
    if sys.version_info < OLDEST:
        return False
    try:
        for name in NEEDED:
            importlib.import_module(name)
    except ImportError:
        return False
    return True


def look() -> Machine:
    """Ask this Python what is here, in a process of its own: a GPU is then free for the steps."""
    run = subprocess.run(
        [sys.executable, "-c", LOOK], stdout=subprocess.PIPE, text=True, check=True
    )
    return Machine(**json.loads(run.stdout.splitlines()[-1]))


def release(version: str) -> tuple[int, int]:
    """Return the first two numbers of a version."""
    major, minor = re.findall(r"\d+", version)[:2]
    return int(major), int(minor)


def why_not_interpreted(machine: Machine) -> str | None:
    """Say why Triton's interpreter does not run here, or None where it does."""
    if machine.triton is None:
        return "Triton is not installed; on Linux `pip install triton` brings it"
    if machine.numpy is None:
        return "NumPy is not installed, which Triton's interpreter computes with"
    if release(machine.triton) <= (3, 6) and release(machine.numpy) >= (2, 4):
        return f"that of Triton {machine.triton} fails with NumPy {machine.numpy}; NumPy 2.3 works"
    return None


def plan(machine: Machine) -> tuple[list[str], list[Step]]:
    """Return what to say of this machine, a line each, and the steps to run."""
    if machine.gpu:
        device = {"NSTLIB_TEST_DEVICE": "cuda", "NSTLIB_KERNELS": "triton"}
        line = f"{machine.gpu}, PyTorch {machine.torch}, Triton {machine.triton or 'missing'}."
        return [line], [Step("Proof on the GPU", PYTEST, device), Step("Benchmark", BENCHMARK)]
    lines = ["No NVIDIA GPU is here: proofs on the CPU, and no benchmark."]
    steps = [Step("Proof of the references, and of what Triton compiles", PYTEST)]
    reason = why_not_interpreted(machine)
    if reason:
        lines.append(f"Left out, Triton's interpreter: {reason}.")
    else:
        interpreted = {"TRITON_INTERPRET": "1", "NSTLIB_KERNELS": "triton"}
        steps.append(Step("Proof in Triton's interpreter", INTERPRETED, interpreted))
    return lines, steps


def environment(step: Step, outside: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a step runs with; it finds the package in this clone."""
    kept = {name: value for name, value in outside.items() if name not in CHOICES}
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": path} | dict(step.variables)


def run_in_clone(step: Step) -> int:
    """Run a step, and return its exit status."""
    command = [sys.executable, *step.arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment(step, os.environ), check=False
    ).returncode


def run_all(machine: Machine, run: Callable[[Step], int] = run_in_clone) -> int:
    """Run every step, also after one that failed; return 0 where none did."""
    lines, steps = plan(machine)
    for line in lines:
        print(line)
    failed = []
    for step in steps:
        said = [f"{name}={value}" for name, value in step.variables.items()]
        print(
            f"\n=== {step.name} ===\n{shlex.join([*said, 'python', *step.arguments])}", flush=True
        )
        if run(step) != 0:
            failed.append(step.name)
    print("\n" + ("Failed: " + "; ".join(failed) if failed else "All passed"), flush=True)
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the proofs, or say with the exit status whether this Python could."""
    parser = argparse.ArgumentParser(description="Prove and measure the kernels on this machine.")
    parser.add_argument(
        "--can-run",
        action="store_true",
        help=f"only say, by the exit status, whether this Python has {', '.join(NEEDED)}",
    )
    if parser.parse_args(arguments).can_run:
        return 0 if can_run() else 1
    return run_all(look())


if __name__ == "__main__":
    sys.exit(main())
