"""What is refused: a status and one plain sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from nstlib.errors import ImageError, TooManyPixelsError

_SHOWN = 60  # characters of a wrong value that its sentence repeats


class Refusal(BaseModel):
    """The body of every answer but a good one."""

    detail: str


class Problem(HTTPException):
    """A request is refused.

    Example:
        >>> Problem(404, "there is no style 'x'").detail
        "there is no style 'x'"
    """

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None):
        super().__init__(status, sentence, headers)


def full(seconds: int) -> Problem:
    """Return the refusal of a server that has no place left, with when to come again."""
    return Problem(
        503,
        f"all places are taken; try again in {seconds} s",
        {"Retry-After": str(seconds)},
    )


def stopping() -> Problem:
    """Return what is told to those who still wait when the server stops."""
    return Problem(503, "the server stops", {"Retry-After": "1"})


@contextmanager
def told(name: str) -> Iterator[None]:
    """Turn what the package says of a wrong argument or picture into a refusal.

    Args:
        name: of the field that holds the picture.
    """
    try:
        yield
    except TooManyPixelsError as error:
        raise Problem(413, f"{name}: {error}") from error
    except ImageError as error:
        raise Problem(415, f"{name}: {error}") from error
    except (ValueError, TypeError) as error:
        raise Problem(422, str(error)) from error


def add_handlers(app: FastAPI) -> None:
    """Make every error of an application say what it is in one sentence."""

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        sentence = str(error.detail)
        if not isinstance(error, Problem) and error.status_code in _PLAIN:
            sentence = _PLAIN[error.status_code].format(request.method)
        return JSONResponse({"detail": sentence}, error.status_code, error.headers)

    @app.exception_handler(MemoryError)
    async def no_memory(request: Request, error: MemoryError) -> JSONResponse:
        sentence = "there is too little memory for this picture now; try again, or a smaller size"
        return JSONResponse({"detail": sentence}, 503, {"Retry-After": "1"})

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        sentence = "the server has failed; its log says how"
        # It closes the connection after an error that it did not expect: the client is to know.
        return JSONResponse({"detail": sentence}, 500, {"Connection": "close"})

    @app.exception_handler(RequestValidationError)
    async def wrong_field(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = next((part for part in first["loc"][1:] if isinstance(part, str)), "the body")
        if first["type"] == "missing":
            sentence = f"{name} is missing"
        elif first["loc"][-1] in ("photo", "style_picture"):
            sentence = f"{name} is no file; it takes a picture's"
        elif isinstance(given := first.get("input"), (str, int, float)):
            shown = repr(given) if len(repr(given)) <= _SHOWN else repr(given)[:_SHOWN] + "…"
            sentence = f"{name} is {shown}: {_lowered(first['msg'])}"
        else:
            sentence = f"{name}: {_lowered(first['msg'])}"
        return JSONResponse({"detail": sentence}, 422)


_PLAIN = {
    404: "there is nothing at this address; /docs says what there is",
    405: "{} is not taken at this address; /docs says what is",
}


def _lowered(sentence: str) -> str:
    """Return pydantic's sentence as the second half of one."""
    return sentence[:1].lower() + sentence[1:]
