"""What the tests of the command line share: a command is run as a shell would run it."""

from __future__ import annotations

from pathlib import Path

from nstlib import cli


def run(*arguments: str | Path) -> int:
    """Run a command in this process; return its exit code."""
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as ended:  # argparse's way out
        return int(ended.code or 0)
