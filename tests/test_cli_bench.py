"""``nst bench`` by itself: what it is asked for reaches the measuring, and what is found is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from command_line import run

from nstlib import benchmarks
from nstlib.benchmarks import whole
from nstlib.benchmarks.rows import PLAIN, MethodRow, Whole, read
from nstlib.benchmarks.whole import Job

Asked = dict[str, Any]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What the measuring is asked for; it finds a row for each job at once."""
    seen: Asked = {}

    def measure(
        jobs: Iterable[Job], repeats: int, is_full: bool, machine: dict[str, str], tell: Any
    ) -> Whole:
        seen.update(jobs=list(jobs), repeats=repeats, is_full=is_full)
        tell("something")
        rows = [
            MethodRow(job.method, job.size, job.device, "float32", "plain", PLAIN, 5, 4, 6, 1)
            for job in seen["jobs"]
        ]
        return Whole(machine, "VGG-19", ("a × b",), repeats, tuple(rows))

    monkeypatch.setattr(whole, "measure_whole", measure)
    return seen


def test_without_a_subject_everything_is_measured_and_written(
    asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "out"
    assert run("bench", "--device", "cpu", "--out", folder) == 0
    assert asked["jobs"] == whole.plan([256], "cpu")
    assert (asked["repeats"], asked["is_full"]) == (7, False)
    told = capsys.readouterr()
    assert told.out == (folder / "whole.md").read_text(encoding="utf-8")
    assert told.err == "", "a bar is for terminals"
    found = read(folder / "whole.json")
    assert [(row.method, row.size) for row in found.rows] == [
        (job.method, job.size) for job in asked["jobs"]
    ]
    assert found.machine == benchmarks.machine()
    assert (folder / "whole.png").read_bytes().startswith(b"\x89PNG")


def test_its_flags_say_what_is_measured(asked: Asked, tmp_path: Path) -> None:
    flags = ["--size", "64", "96", "--repeats", "3", "--device", "cpu", "--quick", "--full"]
    assert run("bench", *flags) == 0
    assert asked["jobs"] == whole.plan([64, 96], "cpu", has_field=False)
    assert (asked["repeats"], asked["is_full"]) == (3, True)


@pytest.mark.parametrize("subject", ["gatys", "video"])
@pytest.mark.parametrize("flags", [["--quick"], ["--repeats", "3"], ["--out", "out"]])
def test_what_stands_before_a_subject_is_not_passed_over(
    subject: str, flags: list[str], asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("bench", *flags, subject) == 2
    said = capsys.readouterr().err
    assert said == f"nst: {flags[0]} stands before the subject; what is for it comes after it\n"
    assert not asked


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--size", "31"], "size is 31"),
        (["--size", "0"], "0 is no whole number"),
        (["--repeats", "1"], "repeats is 1"),
        (["--device", "tpu"], "device is 'tpu'"),
        (["everything"], "invalid choice: 'everything'"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    flags: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("bench", *flags) == 2
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_a_folder_that_cannot_be_made_ends_it_before_the_work(
    asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "blocked").write_text("a file")
    assert run("bench", "--out", tmp_path / "blocked" / "out") == 1
    assert "blocked" in capsys.readouterr().err
    assert not asked
