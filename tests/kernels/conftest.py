"""What the proofs of kernels need, and at their end what the compiler said of each kernel."""

from __future__ import annotations

from typing import Any

import pytest

from nstlib.kernels.backend import has_triton, is_interpreted


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where the interpreter was asked for and there is no Triton, skip with the reason."""
    if is_interpreted() and not has_triton():
        for item in items:
            item.add_marker(pytest.mark.skip(reason="Triton is not installed; it is for Linux"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print registers and spills, the most of each kernel over what it was compiled for."""
    reports = [
        report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)
    ]
    compiled = [
        value
        for report in reports
        for key, value in report.user_properties
        if key == "compiled" and report.when == "call"
    ]
    if not compiled:
        return
    rows: dict[tuple[str, int], list[int]] = {}
    for name, architecture, *found in compiled:
        most = rows.setdefault((name, architecture), [0, 0, 0, 0])
        most[:3] = map(max, most[:3], found)
        most[3] += 1
    terminalreporter.section("kernels as compiled (the most of each)")
    terminalreporter.line(f"{'kernel':18} {'for':6} registers  spilled    shared  variants")
    for (name, architecture), (registers, spilled, shared, count) in sorted(rows.items()):
        terminalreporter.line(
            f"{name:18} sm_{architecture:<3} {registers:9} {spilled:6} B {shared:7} B {count:9}"
        )
