# ruff: noqa: F811 (a fixture that is imported is named again where it is used)
"""What comes over a limit is refused at once, with a sentence; and the next good request is served."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import io
import os
import pickle
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import torch
from fastapi.responses import JSONResponse
from starlette import formparsers
from starlette.types import Message, Receive, Scope, Send
from test_adain_model import picture
from test_images import bomb_gif, bomb_jpeg, bomb_png, bomb_tiff, bomb_webp
from test_serving import (  # noqa: F401 (fixtures)
    SIZE,
    Passes,
    ask,
    complaints,
    folder,
    model,
    passes,
    photo,
    refused,
    serving,
    until,
    waiting,
)

from nstlib import images
from nstlib.adain import AdaIN
from nstlib.serving import Settings, uploads
from nstlib.serving.gate import Gate
from nstlib.serving.painter import Order
from nstlib.serving.problems import full
from nstlib.serving.runner import Impatient
from nstlib.serving.uploads import Uploads

MOST = 50_000  # bytes of a request, where that is tested


@pytest.fixture(scope="module")
def narrow(folder: Path, model: AdaIN) -> Iterator[httpx.Client]:
    with serving(
        folder, model, max_bytes=MOST, places=1, uploads=1, max_pixels=100_000, upload_seconds=0.4
    ) as client:
        yield client


@pytest.fixture
def served(narrow: httpx.Client, photo: bytes) -> Iterator[httpx.Client]:
    """A server with one place and one upload: a test that loses either does not end well."""
    yield narrow
    assert ask(narrow, photo).status_code == 200
    health = narrow.get("/healthz").json()
    assert (health["painting"], health["waiting"]) == (0, 0)


def whole(client: httpx.Client, photo: bytes, **data: str) -> bytes:
    """Return a good request as the bytes that are sent."""
    fields = {"style": "ash", **data}
    request = client.build_request("POST", "/stylize", files={"photo": photo}, data=fields)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    head = "\r\n".join(["POST /stylize HTTP/1.1", *lines, "", ""])
    return head.encode() + request.read()


def connected(client: httpx.Client) -> socket.socket:
    return socket.create_connection(("127.0.0.1", client.base_url.port or 0), 20)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def answer_of(connection: socket.socket) -> bytes:
    """Return an answer as far as the end of its JSON."""
    answer = b""
    while not answer.endswith(b"}"):
        piece = connection.recv(65536)
        assert piece, answer
        answer += piece
    return answer


def to_end(connection: socket.socket) -> bytes:
    """Return all that is sent until the connection is closed."""
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


# --------------------------------------------------------------------------------- too many bytes


def test_a_body_that_is_too_long_is_refused(served: httpx.Client) -> None:
    refused(ask(served, bytes(MOST)), 413, "the request is over max_bytes = 50,000")


def test_a_body_without_a_length_is_counted(served: httpx.Client, photo: bytes) -> None:
    def pieces(count: int) -> Iterator[bytes]:
        yield head
        for _ in range(count):
            yield bytes(1000)
        yield tail

    body = whole(served, b"PHOTO").partition(b"\r\n\r\n")[2]
    head, tail = body.split(b"PHOTO")
    boundary = head.split(b"\r\n")[0][2:].decode()
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    refused(served.post("/stylize", content=pieces(200), headers=kind), 413, "over max_bytes")
    short = (part for part in (head, photo, tail))
    assert served.post("/stylize", content=short, headers=kind).status_code == 200


@pytest.mark.parametrize("length", [b"10", b"-1", b"1e3", b"0x10", b"9" * 30, b"10, 10"])
def test_a_length_that_lies_makes_no_difference(
    served: httpx.Client, photo: bytes, length: bytes
) -> None:
    request = whole(served, photo)
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    with connected(served) as connection:
        connection.sendall(
            b"\r\n".join([*lines, b"Content-Length: " + length, b"Connection: close", b"", body])
        )
        answer = to_end(connection)
    assert status_of(answer) in (400, 413, 422)


def gated(
    pieces: list[bytes], settings: Settings, headers: list[tuple[bytes, bytes]] | None = None
) -> tuple[int, int, list[Message]]:
    """Return how many bytes came through a gate, how many were asked for, and what was answered."""
    kind = (b"content-type", b"multipart/form-data; boundary=x")
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/stylize",
        "headers": [kind, *(headers or [])],
    }
    through, asked, answers = 0, 0, []
    coming = iter(pieces)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal through
        try:
            while (message := await receive()).get("more_body"):
                through += len(message["body"])
        except Exception as problem:
            await JSONResponse({}, getattr(problem, "status_code", 500))(scope, receive, send)
            return
        await JSONResponse({})(scope, receive, send)

    async def receive() -> Message:
        nonlocal asked
        piece = next(coming, None)
        asked += len(piece or b"")
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(message: Message) -> None:
        answers.append(dict(message))

    gate = Gate(app, "/stylize", settings, lambda: None)
    asyncio.run(gate(scope, receive, send))
    assert gate.arriving == 0
    return through, asked, answers


def test_no_more_than_the_limit_comes_through() -> None:
    settings = Settings(max_bytes=10_000)
    through, _, answers = gated([bytes(1000)] * 10, settings)
    assert (through, answers[0]["status"]) == (10_000, 200)
    through, _, answers = gated([bytes(1000)] * 10 + [b"x"], settings)
    assert (through, answers[0]["status"]) == (10_000, 413)
    assert (b"connection", b"close") in answers[0]["headers"]
    through, _, answers = gated([bytes(1000)] * 99, settings, [(b"content-length", b"10001")])
    assert (through, answers[0]["status"]) == (0, 413)
    assert not answers[-1].get("more_body")


def test_a_refusal_stands_before_the_rest_is_dropped() -> None:
    _, asked, answers = gated([bytes(1000)] * 99, Settings(max_bytes=10_000))
    assert asked == 99_000  # what is dropped on the way lets a client come to read its answer
    bodies = [message for message in answers if message["type"] == "http.response.body"]
    assert [message.get("more_body", False) for message in bodies] == [True, False]
    assert not bodies[-1].get("body")


def test_who_sends_without_end_is_left(
    served: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nstlib.serving.gate._LINGER", 0.2)
    head = whole(served, b"").partition(b"\r\n\r\n")[0].replace(b"Content-Length", b"X-Was")
    head = head.replace(b"content-length", b"x-was") + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"2710\r\n" + bytes(10_000) + b"\r\n"
    with connected(served) as connection:
        connection.sendall(head)
        began = time.monotonic()
        with pytest.raises(OSError, match="reset|[Bb]roken pipe"):
            connection.sendall(chunk * 100_000)  # 1 GB: what it is not let to the end of
    assert time.monotonic() < began + 5


def test_who_asks_before_sending_is_told_before(served: httpx.Client) -> None:
    head = (
        b"POST /stylize HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    )
    with connected(served) as connection:
        connection.sendall(head)
        assert status_of(connection.recv(65536)) == 413


# -------------------------------------------------------------------------------- too many pixels


BOMBS = [bomb_png, bomb_jpeg, bomb_tiff, bomb_gif, bomb_webp]


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_a_bomb_is_refused_fast_and_takes_no_memory(
    served: httpx.Client, photo: bytes, bomb: Callable[[], bytes]
) -> None:
    assert ask(served, photo).is_success  # all code has been loaded
    before, began = psutil.Process().memory_info().rss, time.monotonic()
    refused(ask(served, bomb()), 413, "photo: ")
    refused(ask(served, photo, files={"style_picture": bomb()}), 413, "style_picture: ")
    assert time.monotonic() - began < 2
    assert psutil.Process().memory_info().rss - before < 60e6  # of the 10 GB that it would be


def test_a_picture_of_too_many_pixels_is_refused(served: httpx.Client) -> None:
    large = images.to_png_bytes(torch.zeros(1, 3, 320, 320))
    refused(ask(served, large), 413, "320 x 320 = 102,400 pixels, over max_pixels = 100,000")
    refused(ask(served, large, size=32), 413, "max_pixels")  # it would have to be decoded


def test_more_pixels_to_paint_than_fit_are_refused_with_the_size_that_fits(
    folder: Path, model: AdaIN
) -> None:
    wide = images.to_png_bytes(picture(40, 60))
    with serving(folder, model, max_painted=3000) as client:
        ask(client, images.to_png_bytes(picture(50, 60))).raise_for_status()
        over = images.to_png_bytes(picture(50, 61))
        refused(ask(client, over), 413, "61 x 50 pixels, over max_painted = 3,000; size=49 fits")
        refused(ask(client, wide, size=50), 413, "75 x 50 pixels, over max_painted = 3,000")
        assert "size=44 fits" in ask(client, wide, size=45).json()["detail"]
        assert ask(client, wide, size=44).is_success
        thin = images.to_png_bytes(picture(2, 1000))
        refused(
            ask(client, thin, size=16), 413, "8000 x 16 pixels, over max_painted = 3,000; without"
        )
        assert ask(client, thin).is_success
        refused(ask(client, images.to_png_bytes(picture(2, 1600))), 413, "none fits")


def test_the_size_that_is_said_to_fit_fits_and_the_next_does_not() -> None:
    pool, generator = Uploads(Settings(max_painted=10_000)), torch.Generator().manual_seed(1)
    for height, width in torch.randint(16, 400, (60, 2), generator=generator).tolist():
        data = images.to_png_bytes(torch.zeros(1, 3, height, width))

        def fails(size: int | None, data: bytes = data) -> str:
            try:
                pool._read_photo("photo", data, size)
            except Exception as problem:
                return str(getattr(problem, "detail", ""))
            return ""

        if advice := fails(None):
            size = int(advice.rpartition("size=")[2].split()[0])
            assert not fails(size)
            assert fails(size + 1)
    pool.close()


# ---------------------------------------------------------------------------------- wrong numbers


@pytest.mark.parametrize("alpha", ["nan", "inf", "-inf", "-0.1", "1.1", "x", "1e999", "0,5", "١.٥"])
def test_an_alpha_that_is_none_is_refused(served: httpx.Client, photo: bytes, alpha: str) -> None:
    refused(ask(served, photo, alpha=alpha), 422, "alpha is ")


@pytest.mark.parametrize(
    "weights",
    [
        ["nan", "1"],
        ["inf", "1"],
        ["-1", "2"],
        ["0", "0"],
        ["1e308", "1e308"],
        ["1", "x"],
        ["1"],
        ["1", "1", "1"],
        ["1e999", "1"],
    ],
)
def test_weights_that_are_none_are_refused(
    served: httpx.Client, photo: bytes, weights: list[str]
) -> None:
    refused(ask(served, photo, style=["ash", "birch"], weights=weights), 422, "weights")


@pytest.mark.parametrize("size", ["0", "15", "4097", "-5", "nan", "1e3", "9" * 5000, "0x20", " "])
def test_a_size_that_is_none_is_refused(served: httpx.Client, photo: bytes, size: str) -> None:
    reply = ask(served, photo, size=size)
    refused(reply, 422, "size is ")
    assert len(reply.text) < 200


def test_a_style_too_many_is_refused(folder: Path, model: AdaIN, photo: bytes) -> None:
    with serving(folder, model, max_styles=2) as client:
        assert ask(client, photo, style=["ash", "birch"]).is_success
        refused(ask(client, photo, style=["ash"] * 3), 422, "3 names, over max_styles = 2")


@pytest.mark.parametrize("count", [1000, 3000])
def test_very_many_fields_are_refused(served: httpx.Client, photo: bytes, count: int) -> None:
    fields = [("photo", ("a.png", photo)), *[(f"f{n}", (None, "")) for n in range(count)]]
    reply = served.post("/stylize", files=fields)
    assert reply.status_code in (400, 413, 422)
    assert list(reply.json()) == ["detail"]


# ----------------------------------------------------------------------------- names, and no paths


MEMORY = ("/proc/meminfo", "/proc/self/cgroup", "/sys/fs/cgroup/")  # where the free one is told
NAMES_OF_FILES = [
    "../../etc/passwd",
    "..\\..\\windows\\win.ini",
    "%2e%2e/%2e%2e/etc/passwd",
    "/etc/passwd",
    "/proc/self/environ",
    "file:///etc/passwd",
    "ash\0.png",
    "ash.png",
    "ash/../ash",
    "~root",
    "CON",
    "\ud7ff\uffff\u202e",
    "{0.__class__}",
    "%s%n",
]


@pytest.mark.parametrize("name", NAMES_OF_FILES)
def test_a_name_opens_no_file(
    served: httpx.Client, photo: bytes, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ask(served, photo)
    opened: list[Any] = []
    opens = {module: module.open for module in (builtins, io, os)}

    def watched(module: Any) -> Any:
        def opening(file: Any, *given: Any, **options: Any) -> Any:
            is_server = threading.current_thread() is not threading.main_thread()
            if is_server and not str(file).startswith(MEMORY):
                opened.append(file)
            return opens[module](file, *given, **options)

        return opening

    with monkeypatch.context() as patch:
        for module in opens:
            patch.setattr(module, "open", watched(module))
        refused(ask(served, photo, style=name), 404, "there is no style")
        named = {"photo": (name.replace("\0", "%00"), photo, "image/png")}
        same = served.post("/stylize", files=named, data={"style": "ash"})
        other = served.get("/docs/" + name.replace("\0", "%00"))
    assert same.content == plain.content
    assert other.status_code == 404
    assert not opened


def unpickled() -> None:
    raise AssertionError("a pickle was read")


class Planted:
    def __reduce__(self) -> Any:
        return unpickled, ()


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_no_picture_and_is_not_read(
    served: httpx.Client, photo: bytes, protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pickle.dumps(Planted(), protocol)
    with pytest.raises(AssertionError, match="a pickle was read"):
        pickle.loads(data)

    def fails(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was to be read")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, fails)
    monkeypatch.setattr(torch, "load", fails)
    refused(ask(served, data), 415, "photo: ")
    refused(ask(served, photo, files={"style_picture": data}), 415, "style_picture: ")


# ---------------------------------------------------------------------------------------- too slow


def test_a_slow_body_is_refused(served: httpx.Client, photo: bytes) -> None:
    request = whole(served, photo)
    began = time.monotonic()
    with connected(served) as connection:
        connection.sendall(request[:-100])
        answer = answer_of(connection)
        assert status_of(answer) == 408
        assert b"the request did not arrive in 0.4 s" in answer
        assert 0.3 < time.monotonic() - began < 3


def test_a_trickling_body_is_refused_too(served: httpx.Client, photo: bytes) -> None:
    """The time is of the whole body: a byte now and then does not prolong it."""
    request, began = whole(served, photo), time.monotonic()
    with connected(served) as connection:
        connection.settimeout(0.05)
        connection.sendall(request[:-200])
        for place in range(len(request) - 200, len(request) - 1):
            connection.sendall(request[place : place + 1])
            with contextlib.suppress(TimeoutError):
                assert status_of(connection.recv(65536)) == 408
                break
        else:
            pytest.fail("it was never refused")
    assert time.monotonic() - began < 3


def test_a_file_that_takes_too_long_to_decode_is_refused_and_the_next_served(
    folder: Path, model: AdaIN, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, may_end = uploads.load_image, threading.Event()

    def slow(data: bytes, **options: Any) -> Any:
        if data == late:
            may_end.wait(20)
        return load(data, **options)

    late = images.to_png_bytes(picture(*SIZE, seed=9))
    monkeypatch.setattr(uploads, "load_image", slow)
    with serving(folder, model, decode_seconds=0.3, places=1) as client:
        refused(ask(client, late), 422, "photo could not be read in 0.3 s")
        assert ask(client, photo).is_success
        refused(ask(client, late), 422, "photo could not be read in 0.3 s")
        # Both threads are held: not the next picture's fault.
        busy = ask(client, photo, size=20)
        refused(busy, 503, "all places are taken")
        assert busy.headers["retry-after"] == "1"
        may_end.set()
        until(lambda: ask(client, photo).is_success)


# ------------------------------------------------------------------------------------- gone away


def drop(connection: socket.socket) -> None:
    """Close a connection with a reset, as when a cable is pulled or a program killed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("leave", [drop, socket.socket.close])
def test_who_goes_while_sending_takes_no_place(
    served: httpx.Client, photo: bytes, part: float, leave: Callable[[socket.socket], None]
) -> None:
    request = whole(served, photo)
    for _ in range(3):
        connection = connected(served)
        connection.sendall(request[: int(part * len(request))])
        leave(connection)
    # It may take a moment until the server knows.
    until(lambda: ask(served, photo).is_success)


@pytest.mark.parametrize("leave", [drop, socket.socket.close])
def test_who_goes_while_waiting_is_not_painted(
    folder: Path,
    model: AdaIN,
    photo: bytes,
    passes: Passes,
    leave: Callable[[socket.socket], None],
) -> None:
    with serving(folder, model, places=3) as client, ThreadPoolExecutor(2) as threads:
        first = threads.submit(ask, client, photo)
        until(lambda: passes.sizes)
        gone = [connected(client) for _ in range(2)]
        for connection in gone:
            connection.sendall(whole(client, photo))
        until(lambda: waiting(client) == 2)
        assert ask(client, photo).status_code == 503
        for connection in gone:
            leave(connection)
        until(lambda: waiting(client) == 0)  # while the first is still painted
        last = threads.submit(ask, client, photo)
        until(lambda: waiting(client) == 1)
        passes.may_go.set()
        assert first.result(20).is_success
        assert last.result(20).is_success
    assert [len(sizes) for sizes in passes.sizes] == [1, 1]


def test_who_goes_while_painted_takes_no_place(
    folder: Path, model: AdaIN, photo: bytes, passes: Passes
) -> None:
    with serving(folder, model, places=1) as client:
        connection = connected(client)
        connection.sendall(whole(client, photo))
        until(lambda: passes.sizes)
        drop(connection)
        passes.may_go.set()
        until(lambda: client.get("/healthz").json()["painting"] == 0)
        assert ask(client, photo).is_success


def test_who_goes_while_decoded_is_not_painted(
    folder: Path, model: AdaIN, photo: bytes, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, decoding, may_end = uploads.load_image, threading.Event(), threading.Event()

    def slow(data: bytes, **options: Any) -> Any:
        decoding.set()
        may_end.wait(20)
        return load(data, **options)

    monkeypatch.setattr(uploads, "load_image", slow)
    passes.may_go.set()
    with serving(folder, model, places=1) as client:
        connection = connected(client)
        connection.sendall(whole(client, photo))
        assert decoding.wait(20)
        drop(connection)
        until(lambda: not refusing(client, photo))
        may_end.set()
        assert ask(client, photo).is_success
    assert len(passes.sizes) == 1


def refusing(client: httpx.Client, photo: bytes) -> bool:
    """Return whether all places are taken, by a request that wants none in the end."""
    return ask(client, photo, alpha=5, accept="image/png").status_code == 503


# ------------------------------------------------------------------------------------ too many


def test_a_full_server_refuses_at_once_and_says_when_to_come_again(
    folder: Path, model: AdaIN, photo: bytes, passes: Passes, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, loads = uploads.load_image, []

    def counted(*given: Any, **options: Any) -> Any:
        loads.append(1)
        return load(*given, **options)

    with serving(folder, model, places=4) as client, ThreadPoolExecutor(4) as threads:
        taken = [threads.submit(ask, client, photo) for _ in range(4)]
        until(lambda: passes.sizes)
        until(lambda: sum(client.get("/healthz").json()[k] for k in ("waiting", "painting")) == 4)
        monkeypatch.setattr(uploads, "load_image", counted)
        began = time.monotonic()
        for _ in range(30):
            reply = ask(client, images.to_png_bytes(picture(20, 20)))
            refused(reply, 503, "all places are taken; try again in ")
            assert int(reply.headers["retry-after"]) >= 1
        assert time.monotonic() - began < 3
        assert not loads  # nothing of them is looked at
        assert waiting(client) <= 3
        assert not any(future.done() for future in taken)
        passes.may_go.set()
        assert all(future.result(20).is_success for future in taken)
        assert ask(client, photo).is_success


def test_too_many_that_arrive_are_refused(folder: Path, model: AdaIN, photo: bytes) -> None:
    with serving(folder, model, uploads=2, upload_seconds=30) as client:
        slow = [connected(client) for _ in range(2)]
        for connection in slow:
            connection.sendall(whole(client, photo)[:-100])
        until(lambda: ask(client, photo).status_code == 503)
        reply = ask(client, photo)
        refused(reply, 503, "too many requests arrive at once")
        assert reply.headers["retry-after"] == "1"
        for connection in slow:
            connection.close()
        until(lambda: ask(client, photo).is_success)


def test_a_request_that_comes_between_the_gate_and_its_place_is_refused_too(
    folder: Path, model: AdaIN, photo: bytes, passes: Passes
) -> None:
    """A place is free while two requests arrive; one of them gets it."""
    with serving(folder, model, places=1) as client, ThreadPoolExecutor(2) as threads:
        request = whole(client, photo)
        early = connected(client)
        early.sendall(request[:-100])
        first = threads.submit(ask, client, photo)
        until(lambda: passes.sizes)
        early.sendall(request[-100:])
        assert status_of(early.recv(65536)) == 503
        early.close()
        passes.may_go.set()
        assert first.result(20).is_success


def test_when_to_come_again_is_reckoned_from_what_waits() -> None:
    from nstlib.serving.painter import Painter

    painter = Painter(None, 10, 4)  # type: ignore[arg-type]
    assert painter.seconds_to_wait() == 1
    for _ in range(9):
        painter.put(Order(torch.zeros(1, 3, 4, 4), [], [], 1.0, None))
    assert painter.seconds_to_wait() == 2  # 9 · 0.2 s
    assert full(7).headers == {"Retry-After": "7"}


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([(f"f{n}", (f"{n}.png", bytes(1000))) for n in range(100)], "too many files"),
        ([("style", (None, "ash")) for _ in range(1000)], "too many fields"),
        ([("style", (None, "a" * 9000))], "part exceeded maximum size of 8KB"),
    ],
)
def test_a_form_holds_two_files_and_short_texts_and_no_more_is_taken_in(
    folder: Path,
    model: AdaIN,
    photo: bytes,
    monkeypatch: pytest.MonkeyPatch,
    parts: list[Any],
    reason: str,
) -> None:
    """Each file that arrives is in memory up to a megabyte: how many there may be is bounded first."""
    held = []

    class Counted(formparsers.SpooledTemporaryFile):
        def __init__(self, *given: Any, **options: Any) -> None:
            held.append(self)
            super().__init__(*given, **options)

    monkeypatch.setattr(formparsers, "SpooledTemporaryFile", Counted)
    with serving(folder, model) as client:
        reply = client.post("/stylize", files=[("photo", ("a.png", photo)), *parts])
        sentence = "it takes 2 files and 21 texts of up to 8,192 bytes each"
        refused(reply, 400, f"the form is not one to be read, {reason}: {sentence}")
        assert len(held) <= 2
        assert all(file.closed for file in held)
        assert ask(client, photo).is_success


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost:"])
def test_a_header_that_does_not_come_closes_the_connection(
    served: httpx.Client, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Impatient, "seconds", 0.3)
    began = time.monotonic()
    with connected(served) as connection:
        connection.sendall(sent)
        assert to_end(connection) == b""
        assert 0.2 < time.monotonic() - began < 3


def test_the_time_of_a_header_is_of_the_whole_and_of_each(
    served: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then does not prolong it, and a second request's half header is closed, too."""
    monkeypatch.setattr(Impatient, "seconds", 0.3)
    request = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"
    with connected(served) as connection:
        for _ in range(2):  # a connection may go on, also for longer than a header may take
            connection.sendall(request)
            assert status_of(answer_of(connection)) == 200
            time.sleep(0.4)
        connection.settimeout(0.05)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):  # closed while it is sent
            for place in range(len(request)):
                connection.sendall(request[place : place + 1])
                with contextlib.suppress(TimeoutError):
                    assert connection.recv(65536) == b""
                    break
        assert 0.2 < time.monotonic() - began < 1.5


def test_a_body_may_take_longer_than_a_header(
    served: httpx.Client, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Impatient, "seconds", 0.1)
    request = whole(served, photo)
    with connected(served) as connection:
        connection.sendall(request[:-100])
        time.sleep(0.25)
        connection.sendall(request[-100:])
        assert status_of(connection.recv(65536)) == 200
        to_end(connection)
