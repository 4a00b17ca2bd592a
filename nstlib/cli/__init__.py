"""``nst``: the course's methods on the command line.

Flags take their names, ranges and defaults from the settings of the functions behind them, so that
what is called ``style_weight`` in a notebook is ``--style-weight`` here.
"""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

import nstlib
from nstlib.cli import adain, bench, demo, fast, gatys, measure, morph, serve, training, video
from nstlib.cli.flags import UsageError, find_picture
from nstlib.cli.parsers import USAGE, Parser, one_line
from nstlib.errors import DivergenceError, NstError, TilesWarning, VideoWarning
from nstlib.memory import allocation_named

__all__ = ["find_picture", "main"]

FAILED, INTERRUPTED = 1, 130

EPILOG = """examples:
  nst demo
  nst adain photo.jpg painting.jpg -o out.jpg
  nst doctor

Each command has a --help of its own, with examples.

exit codes:
  0    all was done
  1    the run failed: a file is damaged or cannot be written, memory or disk is full, what the run
       needs is not installed, it diverged, or some pictures of a folder were left out
  2    the command is wrong: an unknown flag, a value out of range, a file that is not there, or an
       output that would overwrite what it is made of
  130  it was stopped by Ctrl-C
"""

# What says in a sentence why a run failed. Of any other error it is told what kind it is, too.
_EXPECTED = (NstError, DivergenceError, MemoryError, OSError, ImportError, FloatingPointError)
_TOLD = (TilesWarning, VideoWarning)
_PACKAGE = Path(nstlib.__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code, having said in a line on stderr what went wrong.

    0: all was done. 1: the run failed: a damaged file, a full disk or memory, a missing package, a
    run that diverged, some pictures of a folder that were left out; also any error that nobody
    foresaw. 2: the command is wrong: a value out of range, a file that is not there, an output over
    its input. 130: Ctrl-C. ``--debug`` shows the traceback, too.

    Raises:
        SystemExit: with 2, for what cannot be understood at all; with 0, after ``--help``.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")  # a file's name may have what a terminal lacks
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:  # else the outermost parser would complain, and send to a help that has no flags
        options.command.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        with allocation_named(), _warnings_told():
            code: int | None = options.run(options)
            sys.stdout.flush()  # here, where a full disk or a closed pipe is told of
            return code or 0
    except KeyboardInterrupt as interrupt:
        _tell(*(_notes(interrupt) or ["stopped"]))
        return INTERRUPTED
    except BrokenPipeError:  # `nst doctor | head`: who reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if options.debug:
            traceback.print_exception(error)
        _tell(_sentence(error), *_notes(error))
        return USAGE if _is_wrong_usage(error) else FAILED


def _tell(*messages: object) -> None:
    """Print a line each; where there is a progress bar, above it."""
    for message in messages:
        tqdm.write(f"nst: {one_line(str(message))}", file=sys.stderr)


def _is_wrong_usage(error: Exception) -> bool:
    """Whether it is the command that is wrong: a ValueError that we raise names an argument.

    One that Python or a library raises is a mistake of ours.
    """
    if not isinstance(error, ValueError):
        return isinstance(error, UsageError)
    *_, where = traceback.extract_tb(error.__traceback__)
    is_raised = (where.line or "raise").startswith("raise")  # there may be no source
    return is_raised and Path(where.filename).is_relative_to(_PACKAGE)


def _sentence(error: Exception) -> str:
    """Return an error as a line; of one that nobody foresaw, its kind, and how to see more of it."""
    if isinstance(error, OSError) and error.strerror:
        named = f"'{error.filename}': " if error.filename else ""
        return f"{named}{error.strerror}"
    said = str(error)
    if said and (isinstance(error, _EXPECTED) or _is_wrong_usage(error)):
        return said
    kind = type(error).__name__
    return f"{kind}: {said}; --debug shows where" if said else f"{kind}; --debug shows where"


def _notes(error: BaseException) -> list[str]:
    """Return what was noted of an error on its way, such as where a file is that was begun."""
    return getattr(error, "__notes__", [])


@contextmanager
def _warnings_told() -> Iterator[None]:
    """Tell of what could not be read of a clip, say, without the line of the program that says so."""
    with warnings.catch_warnings():
        for category in _TOLD:
            warnings.simplefilter("always", category)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, _TOLD):
                _tell(message)
            else:
                usual(message, category, *place, **more)

        warnings.showwarning = show
        yield


def _parser() -> Parser:
    parser = Parser(prog="nst", description="Neural style transfer.", epilog=EPILOG)
    parser.set_defaults(debug=False)
    parser.add_argument("--version", action="version", version=f"nst {nstlib.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND")
    demo.add_demo(commands)
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
    bench.add_bench(commands)
    serve.add_serve(commands)
    measure.add_doctor(commands)
    return parser
