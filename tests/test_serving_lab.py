"""The lab of notebook 06 shows what a server paints, and says in a sentence what it refuses.

The server is a real one, of a small random model, at a port of this machine.
"""

from __future__ import annotations

import io
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from test_adain_lab import looks_like, upload
from test_adain_model import picture, tiny_model

from nstlib import images, widgets
from nstlib.adain import AdaIN
from nstlib.images import at_size, load_image, save_image, to_png_bytes
from nstlib.serving import Settings, create_app, running
from nstlib.stylist import Stylist
from nstlib.widgets import ServingLab, serving_lab
from nstlib.widgets.serving_lab import Params, RefusedError, Reply, compute, draw, form, timing_of

SIZE = 48
MOST = 10_000  # pixels that the server paints
PARTS = ["read", "decode", "wait", "paint", "encode", "the way"]


@pytest.fixture(scope="module")
def model() -> AdaIN:
    return tiny_model("skips")


@pytest.fixture(scope="module")
def address(model: AdaIN, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("styles")
    for seed, name in enumerate(("blue", "red")):
        save_image(picture(40, 56, seed=seed), folder / f"{name}.png")
    with running(create_app(Settings(max_painted=MOST), folder, model)) as address:
        yield address


@pytest.fixture
def make_lab(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(widgets.pictures, "data_dir", lambda: tmp_path)

    def make(**changes: Any) -> ServingLab:
        return ServingLab(**{"address": address, "content": "coffee", "size": SIZE, **changes})

    return make


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Params]:
    """Return what the lab asks the server, as it does."""
    seen: list[Params] = []

    def watched(params: Params) -> Any:
        seen.append(params)
        return compute(params)

    monkeypatch.setattr(serving_lab, "compute", watched)
    return seen


def refuse(status: int, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every request of now on refused."""
    monkeypatch.setattr(serving_lab, "ask", lambda *given: Reply(status, {}, body, 0.001))


def shown(lab: ServingLab) -> tuple[Any, ...]:
    return lab.result, lab.params, lab.picture_shown.widget.value, lab.bar.value, lab.status.value


@pytest.fixture
def other_server() -> Iterator[Callable[[bytes], str]]:
    """Return what starts a server that is not ours, which answers the same to all."""
    servers: list[ThreadingHTTPServer] = []

    def start(answer: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


# ------------------------------------------------------------------------------- compute and draw


def test_the_picture_is_what_a_stylist_paints(address: str, model: AdaIN) -> None:
    photo = load_image(to_png_bytes(picture(40, 48, seed=5)))
    found = compute(Params(address, to_png_bytes(photo), "red", alpha=0.6))
    style = load_image(to_png_bytes(picture(40, 56, seed=1)))
    wanted = Stylist(model).stylize(photo, style, alpha=0.6)
    assert (found.image - wanted).abs().max() <= 0.51 / 255
    assert list(found.timing) == PARTS
    assert min(found.timing.values()) >= 0
    assert sum(found.timing.values()) == pytest.approx(found.seconds, abs=1e-3)


@pytest.mark.parametrize(("kind", "format"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
def test_the_server_sends_the_kind_that_is_asked_for(
    kind: str, format: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies: list[bytes] = []
    monkeypatch.setattr(
        serving_lab, "load_image", lambda data: (bodies.append(data), load_image(data))[1]
    )
    photo = to_png_bytes(picture(40, 48, seed=5))
    found = compute(Params(address, photo, "red", kind=f"image/{kind}"))
    assert Image.open(io.BytesIO(bodies[0])).format == format
    assert found.size == len(bodies[0])


def test_a_refusal_has_the_servers_words_and_status(address: str) -> None:
    photo = to_png_bytes(picture(40, 48, seed=5))
    with pytest.raises(RefusedError, match="there is no style 'green'; there are: blue, red") as no:
        compute(Params(address, photo, "green"))
    assert no.value.status == 404
    with pytest.raises(RefusedError, match="over max_painted = 10,000") as large:
        compute(Params(address, to_png_bytes(torch.rand(1, 3, 101, 100)), "red"))
    assert large.value.status == 413


def test_a_form_is_read_as_it_was_meant() -> None:
    data = bytes(range(256))
    body, kind = form({"style": "red", "alpha": 0.5}, {"photo": data})
    boundary = kind.partition("boundary=")[2].encode()
    first, style, alpha, photo, last = body.split(b"--" + boundary)
    assert (first, last) == (b"", b"--\r\n")
    assert style.endswith(b'name="style"\r\n\r\nred\r\n')
    assert alpha.endswith(b'name="alpha"\r\n\r\n0.5\r\n')
    assert photo.endswith(b'filename="photo"\r\n\r\n' + data + b"\r\n")
    assert form({}, {})[1] != form({}, {})[1]


def test_a_timing_without_parts_has_none() -> None:
    assert timing_of("") == {}
    assert timing_of("hit, db;dur=62.5") == {"db": 0.0625}


def test_bars_are_as_long_as_what_they_tell() -> None:
    """Count the pixels of a colour: twice the time, twice as many."""

    def blue(image: bytes) -> int:
        pixels = images.to_uint8(load_image(image))
        return int((pixels == torch.tensor([0x00, 0x72, 0xB2]).numpy()).all(axis=-1).sum())

    def bars(first: float) -> bytes:
        return draw({"a": {"paint": first}, "b": {"decode": 0.1}})

    legend = blue(bars(0.0))
    assert blue(bars(0.08)) - legend == pytest.approx(2 * (blue(bars(0.04)) - legend), rel=0.03)


# ---------------------------------------------------------------------------------------- the lab


def test_it_begins_with_a_picture_from_the_server(make_lab: Any, asked: list[Params]) -> None:
    lab = make_lab(style="red", alpha=0.5, kind="JPEG")
    assert asked == [lab.params]
    assert (lab.params.style, lab.params.alpha, lab.params.kind) == ("red", 0.5, "image/jpeg")
    assert lab.image.shape == (1, 3, SIZE, 72)
    assert looks_like(lab.picture_shown.widget, lab.image)
    sent = load_image(lab.params.photo)
    wanted = at_size(images.sample("coffee"), SIZE)
    assert (sent - wanted).abs().max() <= 0.51 / 255
    assert lab.bar.value[1:4] == b"PNG"
    assert "72 × 48 px in " in lab.status.value
    assert "paint " in lab.status.value
    assert lab.message.value == ""


def test_the_styles_are_those_of_the_server(make_lab: Any) -> None:
    lab = make_lab()
    menu = lab.controls["style"].view
    assert (menu.options, menu.value) == (("blue", "red"), "blue")


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [("alpha", 0.25, "alpha"), ("style", "red", "style"), ("kind", "image/webp", "kind")],
)
def test_each_move_is_one_new_picture(
    name: str, value: Any, field: str, make_lab: Any, asked: list[Params]
) -> None:
    lab = make_lab(alpha=1.0)
    before = shown(lab)
    lab.controls[name].view.value = value
    assert len(asked) == 2
    assert getattr(lab.params, field) == value
    assert lab.params.photo is asked[0].photo, "the same bytes, which the server knows"
    assert lab.result is not before[0]
    assert looks_like(lab.picture_shown.widget, lab.image)
    if name != "kind":
        assert lab.picture_shown.widget.value != before[2]


def test_another_photo_is_sent(make_lab: Any, asked: list[Params]) -> None:
    lab = make_lab()
    lab.photo.menu.value = "brick"
    assert lab.image.shape == (1, 3, SIZE, SIZE)
    upload(lab.photo, "mine.png", to_png_bytes(picture(30, 40, seed=7)))
    assert lab.image.shape == (1, 3, 30, 40), "no photo is enlarged"
    assert (len(asked), lab.params) == (3, asked[2])


FULL = json.dumps({"detail": "all places are taken; try again in 3 s"}).encode()
SENTENCES = [
    (503, FULL, "All places are taken; try again in 3 s."),
    (502, b"<html>Bad Gateway</html>", "The server answers 502."),
    (500, b'{"detail": "<b>no</b>"}', "&lt;b&gt;no&lt;/b&gt;."),
]


@pytest.mark.parametrize(("status", "body", "words"), SENTENCES)
def test_a_refusal_is_one_sentence_and_leaves_the_picture(
    status: int, body: bytes, words: str, make_lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = make_lab()
    before = shown(lab)
    with monkeypatch.context() as patched:
        refuse(status, body, patched)
        lab.controls["alpha"].view.value = 0.5
    assert words in lab.message.value
    assert 'role="alert"' in lab.message.value
    assert all(now is then for now, then in zip(shown(lab), before, strict=True))
    lab.controls["alpha"].view.value = 0.25
    assert (lab.message.value, lab.params.alpha) == ("", 0.25)


def test_a_server_that_was_stopped_is_told_of(model: AdaIN, tmp_path: Path, make_lab: Any) -> None:
    (tmp_path / "styles").mkdir()
    save_image(picture(40, 56, seed=1), tmp_path / "styles" / "red.png")
    with running(create_app(None, tmp_path / "styles", model)) as there:
        lab = make_lab(address=there)
    lab.controls["alpha"].view.value = 0.5
    words = f"Nobody answers at {there}: the server may have been stopped.</div>"
    assert lab.message.value.endswith(words)
    with pytest.raises(RefusedError, match="nobody answers"):
        make_lab(address=there)


def test_answers_that_wait_for_each_other_show_where_the_controls_stand(
    make_lab: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is held up; meanwhile the slider moves on, and the last word is the last's."""
    lab = make_lab(alpha=1.0)
    began, go_on = threading.Event(), threading.Event()

    def held(params: Params) -> Any:
        if params.alpha == 0.5:
            began.set()
            assert go_on.wait(30)
        return compute(params)

    monkeypatch.setattr(serving_lab, "compute", held)

    def move(alpha: float) -> threading.Thread:
        slider = lab.controls["alpha"].view
        thread = threading.Thread(target=setattr, args=(slider, "value", alpha))
        thread.start()
        return thread

    first = move(0.5)
    assert began.wait(30)
    second = move(0.25)
    go_on.set()
    for thread in (first, second):
        thread.join(30)
        assert not thread.is_alive()
    assert lab.params.alpha == lab.controls["alpha"].view.value == 0.25
    assert looks_like(lab.picture_shown.widget, lab.image)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"alpha": 1.5}, "alpha is 1.5"),
    ({"size": 0}, "size is 0"),
    ({"kind": "GIF"}, "kind is 'GIF'; it takes 'PNG', 'JPEG', 'WebP'"),
    ({"style": "green"}, "style is 'green'; the server has 'blue', 'red'"),
    ({"address": "127.0.0.1:8000"}, "address is '127.0.0.1:8000'"),
    ({"address": "file:///etc"}, "address is 'file:///etc'"),
]


@pytest.mark.parametrize(("changes", "words"), WRONG)
def test_a_wrong_argument_is_named(changes: dict[str, Any], words: str, make_lab: Any) -> None:
    with pytest.raises(ValueError, match=words):
        make_lab(**changes)


def test_another_server_is_not_taken_for_ours(
    make_lab: Any, other_server: Callable[[bytes], str]
) -> None:
    page = other_server(b"HTTP/1.0 200 OK\r\n\r\n<html></html>")
    with pytest.raises(RefusedError, match="has no list of styles: it is no server of nstlib"):
        make_lab(address=page)
    lost = other_server(b"HTTP/1.0 404 Not Found\r\n\r\n")
    with pytest.raises(RefusedError, match="the server answers 404"):
        make_lab(address=lost)
    odd = other_server(b"I speak no HTTP\r\n")
    with pytest.raises(RefusedError, match="nobody answers"):
        make_lab(address=odd)


def test_no_proxy_stands_between(make_lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert urllib.parse.urlsplit(make_lab().address).hostname == "127.0.0.1"
