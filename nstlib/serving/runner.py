"""A server in a thread, for a notebook or a test; and one that runs until it is stopped."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

_GRACE = 10  # seconds that requests have to end, when the server stops


def bound(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Return a socket that listens at an address; port 0 is any that is free.

    Raises:
        OSError: the port is taken, or the host is not one of this machine's.
    """
    kind = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=kind)


def address_of(listener: socket.socket) -> str:
    """Return the address to open in a browser.

    Example:
        >>> with bound() as listener:
        ...     address_of(listener).rpartition(":")[0]
        'http://127.0.0.1'
    """
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def running(app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Run a server in a thread within a block, and give its address.

    Args:
        app: what `create_app` returned.
        host: who can reach it: by default this machine alone.
        port: 0 is any that is free.

    Raises:
        OSError: the port is taken.
        RuntimeError: it does not start; its log says why.

    Example:
        >>> import urllib.request
        >>> from nstlib.serving import create_app
        >>> with running(create_app()) as address:
        ...     urllib.request.urlopen(address + "/healthz").status
        200
    """
    with bound(host, port) as listener:
        server = uvicorn.Server(configured(app, log_level="warning"))

        def run() -> None:
            with suppress(SystemExit):  # what it says to a process when it does not start
                server.run([listener])

        thread = threading.Thread(target=run, name="nst-server", daemon=True)
        thread.start()
        try:
            while not server.started:
                thread.join(0.01)
                if not thread.is_alive():
                    raise RuntimeError("the server did not start; its log says why")
            yield address_of(listener)
        finally:
            server.should_exit = True
            thread.join()


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Run a server at a socket until Ctrl-C, which then is raised as KeyboardInterrupt."""
    uvicorn.Server(configured(app)).run([listener])


def configured(app: FastAPI, log_level: str = "info") -> uvicorn.Config:
    """Return how uvicorn is to run an application."""
    return uvicorn.Config(
        app, http=Impatient, log_level=log_level, timeout_graceful_shutdown=_GRACE
    )


class Impatient(H11Protocol):
    """HTTP, as uvicorn speaks it; but a connection whose next header is not whole in time is closed.

    Of itself, uvicorn waits for ever for a first byte, and for the rest of a header that has begun:
    whoever sends none could hold all the connections that a process may have.
    """

    seconds = 10.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first header."""
        super().connection_made(transport)
        self._closing: asyncio.TimerHandle | None = None
        self._wait_if_a_header_is_due()

    def data_received(self, data: bytes) -> None:
        """Take what comes: more of a header, or of a body, for which the gate waits."""
        super().data_received(data)
        self._wait_if_a_header_is_due()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _wait_if_a_header_is_due(self) -> None:
        if self.conn.their_state is not h11.IDLE:  # a whole header has come
            self._wait_no_more()
        elif self._closing is None:  # what came before does not prolong it
            self._closing = self.loop.call_later(self.seconds, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
