"""What is refused before it has arrived: too many requests, too long ones, too slow ones."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nstlib.serving.problems import Problem
from nstlib.serving.settings import Settings

_LINGER = 2  # seconds in which a client that is refused may end to send, and come to read why


class Gate:
    """Holds each request to the limits while its body streams in, so that no long one is held in memory.

    A body's length is counted as it arrives, whatever its header says. ``scope["since"]`` is when a
    request began.

    Args:
        app: what stands behind it.
        path: the address whose requests have a body; no other reads one.
        settings: the limits.
        refusal: what there is to say to a picture that wants a place, or None while there is one.
    """

    def __init__(
        self, app: ASGIApp, path: str, settings: Settings, refusal: Callable[[], Problem | None]
    ) -> None:
        self._app, self._path = app, path
        self._settings, self._refusal = settings, refusal
        self.arriving = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if not self._has_body(scope):
            await self._app(scope, receive, send)
            return
        body = _Body(receive, send, self._settings, self._left)
        problem = self._checked(Headers(scope=scope))
        app: ASGIApp = self._app
        if problem is not None:
            app = JSONResponse({"detail": problem.detail}, problem.status_code, problem.headers)
        self.arriving += 1
        try:
            await app({**scope, "since": time.perf_counter()}, body.receive, body.send)
        finally:
            body.end()

    def _has_body(self, scope: Scope) -> bool:
        if scope["type"] != "http" or scope["method"] != "POST":
            return False
        return str(scope["path"]).endswith(self._path)  # what stands before it is a proxy's

    def _left(self) -> None:
        self.arriving -= 1

    def _checked(self, headers: Headers) -> Problem | None:
        """Return what the header already tells against a request."""
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "multipart/form-data":
            return Problem(415, f"the body is {kind or 'of no type'}; it takes multipart/form-data")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._settings.max_bytes:
            return _too_long(self._settings)
        if self.arriving >= self._settings.uploads:
            return Problem(503, "too many requests arrive at once", {"Retry-After": "1"})
        return self._refusal()


class _Body:
    """One request's body on its way in, and what is answered before it has arrived."""

    def __init__(
        self, receive: Receive, send: Send, settings: Settings, left: Callable[[], None]
    ) -> None:
        self._receive, self._send = receive, send
        self._settings, self._left = settings, left
        self._count, self._is_whole = 0, False
        self._until = asyncio.get_running_loop().time() + settings.upload_seconds

    async def receive(self) -> Message:
        """Return the next piece, or raise the problem with it."""
        if self._is_whole:  # what comes now is that the client has gone
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._receive()
        except TimeoutError as error:
            raise Problem(
                408, f"the request did not arrive in {self._settings.upload_seconds:g} s"
            ) from error
        self._count += len(message.get("body", b""))
        if self._count > self._settings.max_bytes:
            raise _too_long(self._settings)
        if not message.get("more_body"):
            self.end()
        return message

    async def send(self, message: Message) -> None:
        """Pass an answer on; after one that came before the body has, the connection is closed."""
        if not self._is_whole and message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        elif not self._is_whole and not message.get("more_body"):
            await self._send({**message, "more_body": True})
            self.end()
            await self._drop_rest()
            message = {"type": "http.response.body"}
        await self._send(message)

    async def _drop_rest(self) -> None:
        """Read on for a moment: closed at once, the connection could take the answer with it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while (await self._receive()).get("more_body"):
                    pass

    def end(self) -> None:
        """Count the request as arrived, once."""
        if not self._is_whole:
            self._is_whole = True
            self._left()


def _too_long(settings: Settings) -> Problem:
    return Problem(413, f"the request is over max_bytes = {settings.max_bytes:,}")
