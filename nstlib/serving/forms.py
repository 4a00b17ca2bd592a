"""Forms are read within bounds: how many files they may hold, how many texts, and how long ones."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from nstlib.serving.problems import Problem
from nstlib.serving.settings import FILES, Settings

LONGEST = 8192  # bytes of a text: it is a number, or a style's name
_ONE_OF_EACH = 5  # fields that are given once; a file may be sent as text by mistake


def bounded(settings: Settings) -> type[APIRoute]:
    """Return a kind of route that takes no more of a form in than there can be.

    Starlette would take a thousand files, each in memory up to a megabyte, and as many texts; all
    that before anything could be said of them.
    """
    texts = _ONE_OF_EACH + 2 * settings.max_styles  # names, and weights

    class Bounded(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            answer = super().get_route_handler()

            async def read_and_answer(request: Request) -> Response:
                try:  # read once: the request keeps its form
                    await request.form(max_files=FILES, max_fields=texts, max_part_size=LONGEST)
                except ClientDisconnect as error:
                    raise Problem(400, "the client has gone") from error  # which nobody reads
                except HTTPException as error:
                    if isinstance(error, Problem):  # of the gate
                        raise
                    reason = error.detail.partition(".")[0]
                    raise Problem(
                        error.status_code,
                        f"the form is not one to be read, {reason[:1].lower()}{reason[1:]}: it takes "
                        f"{FILES} files and {texts} texts of up to {LONGEST:,} bytes each",
                    ) from error
                return await answer(request)

            return read_and_answer

    return Bounded
