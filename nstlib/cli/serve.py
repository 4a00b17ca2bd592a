"""``nst serve``: a server that paints photos, and its page."""

from __future__ import annotations

import argparse
from typing import Any

from nstlib.cli.flags import UsageError, add_device, add_fields, add_trained, chosen_fields
from nstlib.cli.parsers import add_command
from nstlib.config import Range
from nstlib.serving.settings import Settings

HOST = "127.0.0.1"  # this machine alone
PORT = Range(0, 65535, "where it listens; 0 is any that is free")

EXAMPLES = """
nst serve
nst serve --port 8080 --styles paintings/
nst serve --port 0 --places 8 --max-painted 1000000
"""
NOTES = """It stops at Ctrl-C. Several processes: uvicorn --factory nstlib.serving:create_app --workers 4
(behind a proxy: by itself, uvicorn waits for ever for a header that does not come)"""


def add_serve(commands: Any) -> None:
    """Add the command."""
    summary = "paint photos for a web page, and for other programs over HTTP"
    command = add_command(commands, "serve", summary, EXAMPLES, NOTES)
    command.add_argument("--port", type=int, default=8000, help=f"{PORT.meaning} (%(default)s)")
    command.add_argument(
        "--host", default=HOST, help="whom it listens to; 0.0.0.0 is everybody (%(default)s)"
    )
    command.add_argument("--styles", help="a folder of pictures (the styles that ship)")
    add_trained(command, "--model", "adain")
    add_device(command)
    add_fields(command, Settings)
    command.set_defaults(run=_run_serve)


def _run_serve(options: argparse.Namespace) -> None:
    PORT.check("port", options.port)
    settings = Settings(**chosen_fields(options, Settings))
    try:
        from nstlib.serving import address_of, bound, create_app, serve
    except ImportError as error:
        raise ImportError(f"serving needs {error.name}: pip install 'nstlib[serve]'") from error

    try:
        listener = bound(options.host, options.port)
    except OSError as error:
        raise UsageError(f"{options.host}, port {options.port}: {error.strerror}") from error
    with listener:
        app = create_app(settings, options.styles, options.model, options.device)
        print(address_of(listener), flush=True)
        serve(app, listener)
