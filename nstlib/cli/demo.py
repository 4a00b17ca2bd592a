"""``nst demo``: a first picture, of a photo and a style that ship."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from nstlib.cli.flags import add_device, add_out, picture_file
from nstlib.cli.parsers import add_command

EXAMPLES = """
nst demo
nst demo -o cat.jpg
"""

# Of the pairs that ship, and the methods that take a second or two, the one that shows most.
PICTURE = ("fast", "chelsea", "--style", "stained_glass", "--size", "600")


def add_demo(commands: Any) -> None:
    """Add the command."""
    summary = "stylise a photo that ships by a style that ships, in seconds"
    command = add_command(commands, "demo", summary, EXAMPLES)
    add_device(command)
    add_out(command, "where to write the picture", picture_file, Path("out", "demo.png"))
    command.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> int:
    """Run the command that a user would have typed, and say which it was."""
    from nstlib.cli import main  # it knows all commands, and this one is among them

    asked = [*PICTURE, "--device", options.device, *(["--debug"] if options.debug else [])]
    code = main([*asked, "-o", str(options.out.resolve())])
    if code == 0:
        print(f"made by: {shlex.join(['nst', *PICTURE, '-o', str(options.out)])}")
        print("with your own pictures: nst adain photo.jpg painting.jpg -o picture.jpg")
    return code
