"""``nst``: the course's methods on the command line.

Flags take their names, ranges and defaults from the settings of the functions behind them, so that
what is called ``style_weight`` in a notebook is ``--style-weight`` here.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from tqdm import tqdm

import nstlib
from nstlib.cli import adain, fast, gatys, measure, morph, training, video
from nstlib.cli.flags import find_picture
from nstlib.errors import NstError, VideoWarning
from nstlib.memory import allocation_named

__all__ = ["find_picture", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, 1 where the run failed, 2 where an argument is wrong, or 130: Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        with allocation_named(), _warnings_told():
            code: int | None = options.run(options)
    except (NstError, ValueError, TypeError) as error:
        _tell(error, *_notes(error))
        return 2
    except (ArithmeticError, MemoryError, OSError, torch.OutOfMemoryError) as error:
        _tell(error, *_notes(error))
        return 1
    except KeyboardInterrupt as interrupt:
        _tell(*_notes(interrupt))
        return 130
    return code or 0


def _tell(*messages: object) -> None:
    """Print a line each; where there is a progress bar, above it."""
    for message in messages:
        tqdm.write(f"nst: {message}", file=sys.stderr)


def _notes(error: BaseException) -> list[str]:
    """Return what was noted of an error on its way, such as where a file is that was begun."""
    return getattr(error, "__notes__", [])


@contextmanager
def _warnings_told() -> Iterator[None]:
    """Tell of what could not be read of a clip, without the line of the program that says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", VideoWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, VideoWarning):
                _tell(message)
            else:
                usual(message, category, *place, **more)

        warnings.showwarning = show
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nst", description="Neural style transfer.")
    parser.add_argument("--version", action="version", version=f"nst {nstlib.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    gatys.add_gatys(commands)
    fast.add_fast(commands)
    adain.add_adain(commands)
    morph.add_morph(commands)
    video.add_video(commands)
    gatys.add_gallery(commands)
    gatys.add_paint(commands)
    training.add_train(commands)
    training.add_distill(commands)
    measure.add_evaluate(commands)
    measure.add_bench(commands)
    measure.add_doctor(commands)
    return parser
