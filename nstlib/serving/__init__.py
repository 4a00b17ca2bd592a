"""A server that paints photos: `create_app` makes it, `running` runs it in a thread.

``nst serve`` runs it from the command line. It listens at this machine's own address alone unless told
otherwise, and keeps to the limits of :class:`Settings` whatever comes. Needs ``nstlib[serve]``.
"""

import importlib
from typing import TYPE_CHECKING, Any

from nstlib.serving.settings import Settings

if TYPE_CHECKING:
    from nstlib.serving.app import create_app
    from nstlib.serving.runner import address_of, bound, running, serve

__all__ = ["Settings", "address_of", "bound", "create_app", "running", "serve"]


def __getattr__(name: str) -> Any:
    """Load what needs FastAPI when it is first asked for: the limits are read without it."""
    if name in __all__:
        home = "app" if name == "create_app" else "runner"
        return getattr(importlib.import_module(f"nstlib.serving.{home}"), name)
    raise AttributeError(f"module 'nstlib.serving' has no attribute {name!r}")
