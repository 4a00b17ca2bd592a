"""What every command has: examples at the end of its help, ``--debug``, and complaints of one line."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import textwrap
from typing import Any, NoReturn

USAGE = 2  # the exit code of a command that is wrong as it stands


class Help(argparse.RawDescriptionHelpFormatter):
    """Help whose epilog keeps its lines, which are commands, and whose names are never broken."""

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(" ".join(text.split()), width, break_on_hyphens=False)


class Parser(argparse.ArgumentParser):
    """A command, or all of them: it complains in a line, and takes ``--debug`` wherever it stands."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": Help} | options)
        # Left out where it is not given: else a command would take back what was said before it.
        self.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="where a run fails, show the lines of code that led there",
        )
        self.set_defaults(command=self)  # the innermost has the last word

    def add_subparsers(self, **options: Any) -> Any:
        """Add commands; without one the help is shown, which says what there is."""
        self.set_defaults(run=_show_help)
        return super().add_subparsers(**options | {"required": False})

    def error(self, message: str) -> NoReturn:
        """End with what is wrong, and where to read more: the usage of thirty flags hides it."""
        self.exit(USAGE, f"nst: {one_line(message)}{_meant(message)}; see {self.prog} --help\n")


def one_line(text: str) -> str:
    """Return a text, such as a message with a file's name, on one line: names may have several."""
    return " ".join(line.strip() for line in text.splitlines())


def add_command(
    commands: Any, name: str, summary: str, examples: str, notes: str = ""
) -> argparse.ArgumentParser:
    """Add a command whose help begins with what it does, and ends with examples and notes on them.

    Args:
        commands: what ``add_subparsers`` returned.
        name: of the command.
        summary: what it does, in half a line.
        examples: commands, a line each.
        notes: what is to be said of them.
    """
    ending = "examples:\n" + "\n".join(f"  {line}" for line in examples.strip().splitlines())
    command: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"{ending}\n\n{notes}".rstrip() + "\n",
    )
    return command


def _show_help(options: argparse.Namespace) -> int:
    options.command.print_help(sys.stderr)
    return USAGE


def _meant(message: str) -> str:
    """Return a question about the choice that one like it may stand for."""
    found = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
    if found is None:
        return ""
    near = difflib.get_close_matches(found[1], re.findall(r"[\w.-]+", found[2]), n=1)
    return f"; did you mean {near[0]}?" if near else ""
