"""``nst``: the course's methods on the command line.

Flags take their names, ranges and defaults from the settings of the functions behind them, so that
what is called ``style_weight`` in a notebook is ``--style-weight`` here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import torch

import nstlib
from nstlib.cli import adain, fast, gatys, measure, training
from nstlib.cli.flags import find_picture
from nstlib.errors import NstError
from nstlib.memory import allocation_named

__all__ = ["find_picture", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 where the run failed, or 2 where an argument is wrong."""
    options = _parser().parse_args(arguments)
    try:
        with allocation_named():
            code: int | None = options.run(options)
    except (NstError, ValueError, TypeError) as error:
        print(f"nst: {error}", file=sys.stderr)
        return 2
    except (ArithmeticError, MemoryError, OSError, torch.OutOfMemoryError) as error:
        print(f"nst: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nst", description="Neural style transfer.")
    parser.add_argument("--version", action="version", version=f"nst {nstlib.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    gatys.add_gatys(commands)
    fast.add_fast(commands)
    adain.add_adain(commands)
    gatys.add_gallery(commands)
    gatys.add_paint(commands)
    training.add_train(commands)
    training.add_distill(commands)
    measure.add_evaluate(commands)
    measure.add_bench(commands)
    measure.add_doctor(commands)
    return parser
