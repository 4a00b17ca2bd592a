"""What holds of every command: exit codes, one line for what goes wrong, --debug, its help, its flags."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command_line import run

from nstlib import __version__, cli, gatys, images
from nstlib.cli import flags


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield every parser that does something, without those that only hold others."""
    subjects = [
        subject
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for subject in action.choices.values()
    ]
    if not subjects or parser.prog == "nst bench":  # which also runs by itself
        yield parser
    for subject in subjects:
        yield from commands(subject)


COMMANDS = {command.prog: command for command in commands(cli._parser())}


# ------------------------------------------------------------------------------------- exit codes


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what is whole and what is broken, in which the command runs."""
    monkeypatch.chdir(tmp_path)
    images.save_image(torch.rand(1, 3, 48, 64), "photo.png")
    Path("photos").mkdir()
    for name in ("a", "b"):
        images.save_image(torch.rand(1, 3, 48, 64), f"photos/{name}.png")
    for name in ("broken.jpg", "broken.mp4", "broken.safetensors", "broken.pt", "blocked"):
        Path(name).write_bytes(b"not what it says")
    return tmp_path


FAILURES = """
nst demo -o blocked/demo.png
nst gatys broken.jpg vortex -o out.png
nst gatys photo.png vortex -o blocked/out.png
nst fast broken.jpg -o out.png
nst fast photo.png --net broken.safetensors -o out.png
nst adain photo.png broken.jpg -o out.png
nst adain photo.png vortex --mask broken.jpg -o out.png
nst adain photo.png vortex --size 100000 -o out.png
nst morph broken.jpg vortex mosaic -o walk.mp4
nst morph photo.png vortex mosaic --model broken.safetensors -o walk.mp4
nst video broken.mp4 vortex -o out.mp4
nst gallery --net fast --photos broken.jpg -o sheet.jpg
nst paint vortex --size 32 -o blocked/out.png
nst train fast --style broken.jpg --content photos --checkpoint net.pt
nst train adain --start broken.safetensors --content photos --style photos --checkpoint net.pt
nst train adain --content photos --style photos --checkpoint broken.pt --crop 32
nst distill --pictures photos --checkpoint blocked/slim.pt
nst evaluate fast --net broken.safetensors --photos photos
"""

WRONG = """
nst
nst adian photo.png vortex -o out.png
nst demo -o demo.psd
nst gatys nobody vortex -o out.png
nst gatys photo.png vortex --steps 0 -o out.png
nst gatys photo.png vortex --init nobody.png -o out.png
nst gatys photos vortex -o photos
nst fast photo.png -o photo.png
nst fast photo.png --net nobody.safetensors -o out.png
nst fast photo.png --sparkle -o out.png
nst adain photo.png vortex
nst adain photo.png vortex --alpha 2 -o out.png
nst adain photo.png vortex --mask nobody.png -o out.png
nst adain photo.png vortex --device tpu -o out.png
nst morph photo.png vortex -o walk.mp4
nst morph photo.png vortex mosaic -o walk.avi
nst video nobody.mp4 vortex -o out.mp4
nst gallery --columns 0 -o sheet.jpg
nst paint nobody -o out.png
nst paint vortex --size 9 -o out.png
nst train
nst train fast --style nobody --content photos --checkpoint net.pt
nst train adain --content nobody --style photos --checkpoint net.pt
nst train adain --content photos --style photos --checkpoint net.zip
nst distill --pictures photos --steps 1 --checkpoint slim.pt
nst evaluate
nst evaluate fast --photos photos --style-weights one
nst bench fast --device tpu
nst doctor --sparkle
"""


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize(
    ("command", "code"), [*((c, 1) for c in lines(FAILURES)), *((c, 2) for c in lines(WRONG))]
)
def test_what_goes_wrong_has_its_exit_code_and_one_line(
    command: str, code: int, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(place.rglob("*"))
    assert run(*shlex.split(command)[1:]) == code
    said = capsys.readouterr()
    if said.err.startswith("usage: "):  # a command that only holds others shows which
        assert command.split()[-1] in ("nst", "train", "evaluate")
    else:
        assert said.err.startswith("nst: ")
        assert said.err.count("\n") == 1
    assert sorted(place.rglob("*")) == before


def test_every_command_is_among_those_that_go_wrong() -> None:
    assert {line.split()[1] for line in lines(WRONG)[1:]} >= {
        prog.split()[1] for prog in COMMANDS if "serve" not in prog
    }


# ------------------------------------------------------------------------- what nobody foresaw


@pytest.mark.parametrize(
    "words", [["--debug", "paint", "vortex"], ["paint", "vortex", "--debug"], ["paint", "vortex"]]
)
def test_a_mistake_of_ours_is_a_line_and_with_debug_a_traceback(
    words: list[str],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise KeyError("a name")

    monkeypatch.setattr(images, "save_image", wrong)
    assert run(*words, "--size", "32", "-o", "out.png") == 1
    *traceback, line = capsys.readouterr().err.splitlines()
    assert line == "nst: KeyError: 'a name'; --debug shows where"
    assert bool(traceback) == ("--debug" in words)
    if traceback:
        assert traceback[0] == "Traceback (most recent call last):"
        assert any("_run_paint" in line for line in traceback)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "out.png"), "'out.png': No space left on device"),
        (MemoryError(), "MemoryError; --debug shows where"),
        (MemoryError("it needs 9 GB"), "it needs 9 GB"),
        (ImportError("a clip needs PyAV"), "a clip needs PyAV"),
        (RuntimeError("two\n  lines"), "RuntimeError: two lines; --debug shows where"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero; --debug"),
        (TypeError("'int' is not iterable"), "TypeError: 'int' is not iterable; --debug"),
        (
            ValueError("zip() argument 2 is longer"),
            "ValueError: zip() argument 2 is longer; --debug",
        ),
    ],
)
def test_each_kind_of_failure_is_one_line(
    error: Exception,
    line: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def wrong(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(images, "save_image", wrong)
    assert run("paint", "vortex", "--size", "32", "-o", "out.png") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"nst: {line}")
    assert said.count("\n") == 1


def test_a_reader_that_has_enough_is_not_complained_of() -> None:
    """As in ``nst doctor | head -1``; here the pipe has no reader at all."""
    reader, writer = os.pipe()
    os.close(reader)
    doctor = [sys.executable, "-m", "nstlib.cli", "doctor"]
    ended = subprocess.run(doctor, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")


# -------------------------------------------------------------------------------- help and flags


@pytest.mark.parametrize("prog", COMMANDS)
def test_every_help_says_what_the_command_does_and_ends_with_examples(prog: str) -> None:
    told = COMMANDS[prog].format_help()
    examples = told.split("\nexamples:\n")[1].split("\n\n")[0]
    assert f"  {prog} " in examples.replace("\n", " \n")
    summary = told.split("\n\n")[1]
    assert summary.endswith(".")


@pytest.mark.parametrize("prog", COMMANDS)
def test_every_flag_says_what_it_is(prog: str) -> None:
    for action in COMMANDS[prog]._actions:
        if not isinstance(action, argparse._SubParsersAction):
            assert action.help, action.option_strings


def test_flags_that_several_commands_have_take_the_same_words() -> None:
    """A device is a device, and an encoder an encoder, wherever it is asked for."""
    found: dict[str, set[tuple[object, ...]]] = {"--device": set(), "--encoder": set()}
    for prog, command in COMMANDS.items():
        for action in command._actions:
            for flag in set(action.option_strings) & found.keys():
                if not prog.startswith(("nst bench", "nst evaluate")):  # whose auto is all devices
                    found[flag].add((action.help.replace("%(default)s", "auto"), action.choices))
    assert found["--device"] == {(f"{flags.DEVICE} (auto)", None)}
    assert len(found["--encoder"]) == 1


# Painters are NumPy's, and what is evaluated is judged where its figures are measured: on a CPU.
ON_CPU = ("nst paint", "nst doctor", "nst evaluate")


@pytest.mark.parametrize("prog", [prog for prog in COMMANDS if not prog.startswith(ON_CPU)])
def test_every_command_that_computes_takes_a_device(prog: str) -> None:
    assert "--device" in COMMANDS[prog].format_help()


@pytest.mark.parametrize("prog", ["nst gatys", "nst gallery", "nst paint", "nst distill"])
def test_every_command_that_draws_lots_takes_a_seed(prog: str) -> None:
    assert "--seed" in COMMANDS[prog].format_help()


def test_the_version_and_the_help_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"nst {__version__}\n"
    assert run("--help") == 0
    told = capsys.readouterr().out
    assert "exit codes:" in told
    assert run() == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", told)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["adian"], "did you mean adain?; see nst --help"),
        (["train", "fsat"], "did you mean fast?; see nst train --help"),
        (["paint", "vortx", "-o", "a.png"], "did you mean vortex?; see nst paint --help"),
        (
            ["adain", "a.jpg", "b.jpg", "-o", "c.png", "--sparkle"],
            "--sparkle; see nst adain --help",
        ),
    ],
)
def test_a_word_that_is_unknown_leads_to_those_that_are(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    assert capsys.readouterr().err.endswith(f"{said}\n")


# ---------------------------------------------------------------------------------------- demo


def test_the_demo_is_a_command_that_it_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("demo", "--device", "cpu") == 0
    where, made_by, _ = capsys.readouterr().out.splitlines()
    assert Path(where) == tmp_path / "out" / "demo.png"
    shown = images.load_image(where)
    assert min(shown.shape[2:]) == 600
    command = shlex.split(made_by.removeprefix("made by: "))[1:]
    assert run(*command[:-1], "again.png", "--device", "cpu") == 0
    assert torch.equal(images.load_image("again.png"), shown)


@pytest.mark.parametrize("prog", ["nst gatys", "nst gallery"])
def test_the_defaults_that_are_told_of_gatys_are_those_that_run(prog: str) -> None:
    """They are those of the preset that the command line starts from, not of the dataclass."""
    found = {action.dest: action for action in COMMANDS[prog]._actions}
    stands = gatys.preset(found["preset"].default)
    for name in ("style_weight", "ladder", "average", "steps", "seed"):
        assert str(found[name].help).endswith(f"({getattr(stands, name)})"), name


def test_no_help_tells_a_name_that_only_the_program_uses() -> None:
    for prog, command in COMMANDS.items():
        assert "WHOLE_" not in command.format_help(), prog


def test_a_command_that_only_holds_others_ends_its_help_with_examples_too() -> None:
    (held,) = (a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
    for name in ("train", "evaluate", "bench"):
        assert f"\nexamples:\n  nst {name}" in held.choices[name].format_help()
