"""What the server answers: the picture that Python paints, in the kind that is asked for."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from command_line import run
from fastapi import FastAPI
from fastapi.openapi.models import OpenAPI
from PIL import Image
from test_adain_model import picture
from torch import Tensor

from nstlib import adain, images
from nstlib.adain import AdaIN, load_adain
from nstlib.serving import Settings, create_app, painter, runner, running, uploads
from nstlib.serving.answers import KINDS, accepted
from nstlib.serving.app import _check_fields
from nstlib.serving.painter import Order, Painted, Painter
from nstlib.serving.problems import Problem
from nstlib.serving.uploads import KeptPictures, Uploads
from nstlib.stylist import Stylist

SIZE = (36, 44)
NAMES = ("ash", "birch", "cedar")
BATCH_CLOSE = 3e-5  # float32 sums in another order, when several pictures are painted at once
BATCH_CLOSE_BFLOAT16 = 0.03


# --------------------------------------------------------------------------- what the files share


@pytest.fixture(scope="session")
def model() -> AdaIN:
    return load_adain()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("styles")
    for seed, name in enumerate(NAMES, 1):
        images.save_image(picture(40, 52, seed=seed), folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def photo() -> bytes:
    return images.to_png_bytes(picture(*SIZE))


@contextmanager
def serving(folder: Path, model: AdaIN, **limits: Any) -> Iterator[httpx.Client]:
    """Run a server within a block, and give a client of it."""
    app = create_app(Settings(**{"style_size": 64, **limits}), folder, model)
    limits_of_client = httpx.Limits(max_connections=None)
    with (
        running(app) as address,
        httpx.Client(
            base_url=address, trust_env=False, timeout=60, limits=limits_of_client
        ) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def complaints() -> Iterator[list[str]]:
    """Fail a test in which the server or asyncio logs an exception; one that plants it clears this."""
    found: list[str] = []
    handle = logging.Logger.handle  # uvicorn sets the handlers of its loggers anew

    def watched(logger: logging.Logger, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            found.append(f"{record.getMessage()} {record.exc_info}")
        handle(logger, record)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.Logger, "handle", watched)
        yield found
    assert not found


def ask(client: httpx.Client, photo: bytes, accept: str = "*/*", **data: Any) -> httpx.Response:
    """Ask for a photo in a style: the first one, unless told otherwise."""
    if not {"style", "files"} & set(data):
        data["style"] = NAMES[0]
    files = {"photo": photo, **data.pop("files", {})}
    return client.post("/stylize", files=files, data=data, headers={"Accept": accept})


def until(is_so: Callable[[], object]) -> None:
    """Wait until something is so, for ten seconds at most."""
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end, "it never came to be so"
        time.sleep(0.005)


def waiting(client: httpx.Client) -> int:
    health = client.get("/healthz").json()
    return int(health["waiting"])


class Passes:
    """The passes of a painter, which are held back until they are let go."""

    def __init__(self) -> None:
        self.sizes: list[list[tuple[int, ...]]] = []
        self.may_go, self.fails = threading.Event(), False

    def __call__(self, stylist: Stylist, orders: Sequence[Order]) -> Tensor:
        self.sizes.append([tuple(order.photo.shape[2:]) for order in orders])
        assert self.may_go.wait(20)
        if self.fails:
            raise RuntimeError("a planted failure")
        return painter_together(stylist, orders)


painter_together = painter.together


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Passes]:
    """Hold back what is painted until ``passes.may_go`` is set."""
    held = Passes()
    monkeypatch.setattr(painter, "together", held)
    yield held
    held.may_go.set()


@pytest.fixture(scope="module")
def client(folder: Path, model: AdaIN) -> Iterator[httpx.Client]:
    with serving(folder, model) as client:
        yield client


def style_of(folder: Path, name: str) -> Tensor:
    return images.at_size(images.load_image(folder / f"{name}.png"), 64)


def loaded(data: bytes) -> Tensor:
    return images.load_image(data)


# ------------------------------------------------------------------------------------ the picture


TURNS: list[dict[str, Any]] = [
    {},
    {"alpha": 0.4},
    {"alpha": 0},
    {"style": ["ash", "cedar"]},
    {"style": ["ash", "cedar", "birch"], "weights": [1, 2, 5]},
    {"style": ["ash", "ash"], "weights": [1, 3]},
    {"keep_color": "luminance"},
    {"keep_color": "match", "style": ["birch", "ash"], "weights": [3, 1]},
    {"size": 64},
    {"size": 20, "alpha": 0.7, "keep_color": "luminance"},
]


@pytest.mark.parametrize("turn", TURNS, ids=str)
def test_the_picture_is_what_python_paints(
    client: httpx.Client, folder: Path, model: AdaIN, photo: bytes, turn: dict[str, Any]
) -> None:
    reply = ask(client, photo, **turn)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == "image/png"
    names = turn.get("style", ["ash"])
    wanted = Stylist(model).stylize(
        images.load_image(photo, turn.get("size")),
        [style_of(folder, name) for name in names],
        weights=turn.get("weights"),
        alpha=turn.get("alpha", 1.0),
        keep_color=turn.get("keep_color"),
    )
    assert torch.equal(loaded(reply.content), loaded(images.to_png_bytes(wanted)))


@pytest.mark.parametrize("keep_color", [None, "luminance", "match"])
def test_a_style_of_ones_own_paints_as_its_picture_does(
    client: httpx.Client, folder: Path, model: AdaIN, photo: bytes, keep_color: Any
) -> None:
    own = (folder / "birch.png").read_bytes()
    data = {"keep_color": keep_color} if keep_color else {}
    reply = ask(client, photo, files={"style_picture": own}, **data)
    wanted = Stylist(model).stylize(loaded(photo), style_of(folder, "birch"), keep_color=keep_color)
    assert torch.equal(loaded(reply.content), loaded(images.to_png_bytes(wanted)))


def test_a_style_that_was_asked_for_is_seen_in_the_picture(
    client: httpx.Client, photo: bytes
) -> None:
    painted = {ask(client, photo, style=name).content for name in NAMES}
    assert len(painted) == len(NAMES)


def test_empty_fields_are_as_none(client: httpx.Client, photo: bytes) -> None:
    assert (
        ask(client, photo, size="", keep_color="", alpha="").content == ask(client, photo).content
    )


# --------------------------------------------------------------------------------------- its kind


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        (None, "image/png"),
        ("", "image/png"),
        ("*/*", "image/png"),
        ("image/*", "image/png"),
        ("image/jpeg", "image/jpeg"),
        ("IMAGE/WebP", "image/webp"),
        ("application/json", "application/json"),
        ("application/*;q=0.9, image/*;q=0.1", "application/json"),
        ("image/png;q=0.5, image/webp", "image/webp"),
        ("image/*, image/png;q=0", "image/jpeg"),
        ("*/*;q=0.1, image/png;q=0.05", "image/jpeg"),
        ("text/html, image/webp;q=0.8, */*;q=0.5", "image/webp"),
        ("image/avif,image/webp,image/apng,*/*;q=0.8", "image/webp"),
        ("image/jpeg ; q=0.3 , image/webp ; q=0.31", "image/webp"),
        ("image/jpeg;q=much", "image/jpeg"),
        ("text/html", None),
        ("image/avif", None),
        ("*/*;q=0", None),
        (",;,", None),
    ],
)
def test_accept_chooses_the_kind(header: str | None, kind: str | None) -> None:
    if kind is not None:
        assert accepted(header) == kind
        return
    with pytest.raises(Problem, match="Accept takes none of image/png, image/jpeg") as problem:
        accepted(header)
    assert problem.value.status_code == 406


@pytest.mark.parametrize("kind", KINDS[:3])
def test_the_kind_is_what_the_bytes_are(client: httpx.Client, photo: bytes, kind: str) -> None:
    exact = loaded(ask(client, photo).content)
    reply = ask(client, photo, kind)
    assert reply.headers["content-type"] == kind
    assert reply.headers["vary"] == "Accept"
    assert Image.open(io.BytesIO(reply.content)).get_format_mimetype() == kind
    assert (loaded(reply.content) - exact).abs().mean() < 0.05


def test_json_holds_the_png(client: httpx.Client, photo: bytes) -> None:
    answer = ask(client, photo, "application/json").json()
    assert base64.b64decode(answer.pop("image")) == ask(client, photo).content
    assert answer == {"media_type": "image/png", "width": SIZE[1], "height": SIZE[0]}


def test_several_accept_headers_are_one(client: httpx.Client, photo: bytes) -> None:
    headers = [("Accept", "text/html"), ("Accept", "image/webp")]
    reply = client.post(
        "/stylize", files={"photo": photo}, data={"style": "ash"}, headers=httpx.Headers(headers)
    )
    assert reply.headers["content-type"] == "image/webp"


def test_the_time_is_told_part_by_part(client: httpx.Client, photo: bytes) -> None:
    began = time.perf_counter()
    parts = ask(client, photo).headers["server-timing"].split(", ")
    whole = 1000 * (time.perf_counter() - began)
    times = dict(part.split(";dur=") for part in parts)
    assert list(times) == ["read", "decode", "wait", "paint", "encode"]
    assert all(float(spent) >= 0 for spent in times.values())
    assert 0 < sum(map(float, times.values())) < whole


# --------------------------------------------------------------------------- what else is answered


def test_each_style_has_a_tile(client: httpx.Client) -> None:
    reply = client.get("/styles")
    tiles = reply.json()["styles"]
    assert [tile["name"] for tile in tiles] == list(NAMES)
    for tile in tiles:
        kind, data = tile["thumbnail"].split(";base64,")
        assert kind == "data:image/jpeg"
        assert loaded(base64.b64decode(data)).shape[2:] == (40, 52)
        assert (tile["height"], tile["width"]) == (40, 52)
    assert "max-age" in reply.headers["cache-control"]


def test_health_is_told(client: httpx.Client) -> None:
    health = client.get("/healthz").json()
    assert health["status"] == "ok"
    assert (health["styles"], health["painting"], health["waiting"]) == (3, 0, 0)
    assert health["places"] == Settings().places
    assert health["limits"] == {
        name: getattr(Settings(), name)
        for name in ("max_bytes", "max_pixels", "max_painted", "max_styles")
    }


def test_the_flags_of_the_command_reach_the_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    hosts: list[str] = []

    def serve(app: FastAPI, listener: socket.socket) -> None:
        hosts.append(listener.getsockname()[0])
        with running(app) as address, httpx.Client(base_url=address, trust_env=False) as client:
            told.extend(client.get(path).json() for path in ("/healthz", "/styles"))

    monkeypatch.setattr(runner, "serve", serve)
    limits = {"max_bytes": 5000, "max_pixels": 2000, "max_painted": 1000, "max_styles": 2}
    asked = {**limits, "places": 3, "style_size": 64, "styles": folder, "host": "0.0.0.0"}
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items()]
    assert run("serve", "--port", "0", "--device", "cpu", *flags) == 0
    health, tiles = told
    assert (health["limits"], health["places"]) == (limits, 3)
    assert [tile["name"] for tile in tiles["styles"]] == list(NAMES)
    assert hosts == ["0.0.0.0"]


def test_the_page_and_the_docs_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    for path in ("/", "/docs"):
        page = client.get(path)
        assert page.status_code == 200
        loads = re.findall(r"""(?:src|href|url)\s*[=:(]\s*["']?([^"'\s>)]+)""", page.text)
        assert not [place for place in loads if re.match(r"(https?:)?//", place)]
    for file in re.findall(r'(?:src|href)="(docs/[^"]+)"', client.get("/docs").text):
        assert client.get("/" + file).status_code == 200


def test_the_page_runs_only_what_has_this_answers_nonce(client: httpx.Client) -> None:
    first, second = client.get("/"), client.get("/")
    nonces = [
        re.search("script-src 'nonce-([^']+)'", page.headers["content-security-policy"])
        for page in (first, second)
    ]
    assert nonces[0]
    assert nonces[1]
    assert nonces[0][1] != nonces[1][1]
    assert f'<script nonce="{nonces[0][1]}"' in first.text
    assert "{nonce}" not in first.text


def test_the_interface_is_described(client: httpx.Client) -> None:
    description = client.get("/openapi.json").json()
    OpenAPI.model_validate(description)
    assert sorted(description["paths"]) == ["/healthz", "/styles", "/stylize"]
    answers = description["paths"]["/stylize"]["post"]["responses"]
    assert set(answers) == {"200", "400", "404", "406", "408", "413", "415", "422", "503"}
    assert set(answers["200"]["content"]) == set(KINDS)
    for status, answer in answers.items():
        assert status == "200" or set(answer["content"]) == {"application/json"}


# ---------------------------------------------------------------------------- what is not answered


WRONG: list[tuple[str, dict[str, Any], int, str]] = [
    ("no such style", {"style": "oak"}, 404, "no style 'oak'; there are: ash, birch, cedar"),
    ("a long name", {"style": "x" * 999}, 404, "no style '" + "x" * 60 + "'; there"),
    ("not accepted", {"accept": "text/html"}, 406, "Accept takes none of"),
    ("both", {"style": "ash", "files": {"style_picture": b"x"}}, 422, "both given; it takes one"),
    ("neither", {"style": []}, 422, "neither given; it takes one"),
    ("too many styles", {"style": ["ash"] * 9}, 422, "style has 9 names, over max_styles = 8"),
    ("alpha", {"alpha": 2}, 422, "alpha is '2': input should be less than or equal to 1"),
    ("keep_color", {"keep_color": "hue"}, 422, "keep_color is 'hue': input should be 'luminance'"),
    ("size", {"size": 8}, 422, "size is '8': input should be greater than or equal to 16"),
    ("half a pixel", {"size": 40.5}, 422, "size is '40.5': input should be a valid integer"),
    ("weights", {"weights": [1, 2]}, 422, "weights has 2 values; there are 1 styles"),
    ("a word", {"weights": ["much"]}, 422, "weights is 'much': input should be a valid number"),
    ("no such field", {"aplha": 0.5}, 422, "there is no field 'aplha'; there are: photo,"),
    ("twice", {"alpha": [0.5, 0.6]}, 422, "alpha is given 2 times; it takes one"),
    ("a broken style", {"files": {"style_picture": b"GIF89a"}}, 415, "style_picture: "),
]  # fmt: skip


@pytest.mark.parametrize(
    ("data", "status", "sentence"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_what_is_wrong_is_said_in_one_sentence(
    client: httpx.Client, photo: bytes, data: dict[str, Any], status: int, sentence: str
) -> None:
    refused(ask(client, photo, **data), status, sentence)


def refused(reply: httpx.Response, status: int, sentence: str) -> None:
    """Check an answer that is none."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/json"
    answer = reply.json()
    assert list(answer) == ["detail"]
    assert sentence in answer["detail"]
    assert "\n" not in answer["detail"]
    assert not answer["detail"].endswith(".")


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "empty"),
        (b"hello", "(5 bytes) is not a picture"),
        (b"\x89PNG\r\n\x1a\n", "photo: "),
        (b"%PDF-1.4", "photo: "),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "photo: "),
        (b"PK\x03\x04", "photo: "),
    ],
)
def test_what_is_no_picture_is_refused(client: httpx.Client, data: bytes, sentence: str) -> None:
    reply = ask(client, data)
    refused(reply, 415, "photo: ")
    assert sentence in reply.json()["detail"]


def test_a_cut_picture_is_refused(client: httpx.Client, photo: bytes) -> None:
    refused(ask(client, photo[: len(photo) // 2]), 415, "photo: ")


def test_a_body_of_another_type_is_refused(client: httpx.Client, photo: bytes) -> None:
    refused(client.post("/stylize", json={"photo": "x"}), 415, "the body is application/json")
    refused(client.post("/stylize", content=photo), 415, "the body is of no type")
    refused(client.post("/stylize", data={"style": "ash"}), 415, "x-www-form-urlencoded")


def test_a_body_that_is_not_well_formed_is_refused(client: httpx.Client) -> None:
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x"):
        reply = client.post("/stylize", content=b"nothing", headers={"Content-Type": kind})
        assert reply.status_code in (400, 422)
        assert list(reply.json()) == ["detail"]


def test_a_missing_photo_and_one_that_is_text_are_refused(
    client: httpx.Client, photo: bytes
) -> None:
    reply = client.post("/stylize", files={"style": (None, "ash")})
    refused(reply, 422, "photo is missing")
    reply = client.post("/stylize", files={"photo": (None, "ash"), "style": (None, "ash")})
    refused(reply, 422, "photo is no file; it takes a picture's")


def test_other_addresses_and_methods_are_refused(client: httpx.Client, photo: bytes) -> None:
    refused(client.get("/nowhere"), 404, "nothing at this address; /docs says what there is")
    refused(client.get("/stylize"), 405, "GET is not taken at this address")
    refused(client.put("/stylize", content=photo), 405, "PUT is not taken at this address")
    refused(client.post("/styles", json={}), 405, "POST is not taken at this address")
    refused(client.post("/nowhere", content=photo), 404, "nothing at this address")


def test_fields_are_those_that_are_described(client: httpx.Client) -> None:
    form = client.get("/openapi.json").json()["components"]["schemas"]["Body_stylize_stylize_post"]

    class Form(dict[str, str]):
        def getlist(self, name: str) -> list[str]:
            return [name]

    _check_fields(Form(dict.fromkeys(form["properties"], "")))  # type: ignore[arg-type]


# --------------------------------------------------------------------------------- what is kept


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count the pictures that are decoded from uploads, and those that an encoder sees."""
    counts = {"decoded": 0, "encoded": 0}
    load, encode = uploads.load_image, adain.mirrored_maps

    def counted_load(*given: Any, **options: Any) -> Any:
        counts["decoded"] += 1
        return load(*given, **options)

    def counted_encode(*given: Any) -> Any:
        counts["encoded"] += 1
        return encode(*given)

    monkeypatch.setattr(uploads, "load_image", counted_load)
    monkeypatch.setattr(adain, "mirrored_maps", counted_encode)
    return counts


def test_the_second_request_of_a_photo_decodes_nothing_and_encodes_nothing(
    folder: Path, model: AdaIN, photo: bytes, counts: dict[str, int]
) -> None:
    with serving(folder, model) as client:
        assert counts == {"decoded": 0, "encoded": 3}  # each style once, at the start
        first = ask(client, photo)
        assert counts == {"decoded": 1, "encoded": 4}
        assert ask(client, photo).content == first.content
        assert ask(client, photo, style="birch", alpha=0.3, accept="image/webp").is_success
        assert counts == {"decoded": 1, "encoded": 4}
        assert ask(client, photo, size=20).is_success  # another size is another picture
        assert counts == {"decoded": 2, "encoded": 5}
        own = {"style_picture": (folder / "ash.png").read_bytes()}
        for _ in range(2):
            assert ask(client, photo, files=own).is_success
            assert counts == {"decoded": 3, "encoded": 6}


def test_without_room_nothing_is_kept(
    folder: Path, model: AdaIN, photo: bytes, counts: dict[str, int]
) -> None:
    with serving(folder, model, kept_bytes=0) as client:
        assert ask(client, photo).content == ask(client, photo).content
    assert counts["decoded"] == 2


def test_what_is_kept_is_bounded_and_the_last_asked_for() -> None:
    kept, generator = KeptPictures(1000), torch.Generator().manual_seed(0)
    uses: list[int] = []
    for number in torch.randint(0, 40, (500,), generator=generator).tolist():
        if kept.get(str(number)) is None:
            kept.put(str(number), torch.zeros(1 + number))
        uses.append(number)
        held = sum(4 * (1 + n) for n in range(40) if str(n) in kept._pictures)
        assert kept.bytes == held <= 1000
        latest = list(dict.fromkeys(reversed(uses)))[: len(kept)]
        assert set(kept._pictures) == set(map(str, latest))


def test_a_picture_larger_than_the_whole_turns_out_no_other() -> None:
    kept, small = KeptPictures(100), torch.zeros(10)
    kept.put("small", small)
    kept.put("large", torch.zeros(26))
    assert (kept.get("small"), kept.get("large"), kept.bytes) == (small, None, 40)


def test_of_two_that_decode_one_photo_at_once_one_is_kept_for_both() -> None:
    kept, first, second = KeptPictures(100), torch.zeros(10), torch.zeros(10)
    assert kept.put("a", first) is first
    assert kept.put("a", second) is first  # so that the model encodes one
    assert kept.bytes == 40


def test_styles_of_one_name_are_refused(model: AdaIN, tmp_path: Path) -> None:
    for name in ("ash.png", "ash.jpg"):
        images.save_image(picture(32, 32), tmp_path / name)
    with pytest.raises(ValueError, match="would be styles of one name"):
        create_app(Settings(), tmp_path, model)


def test_a_folder_without_a_picture_is_refused(model: AdaIN, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        create_app(Settings(), tmp_path, model)


# ------------------------------------------------------------------------------------ the painter


def orders_of(model: AdaIN, sizes: Sequence[tuple[int, int]], **options: Any) -> list[Order]:
    """Return orders of photos of some sizes, each in a mixture of its own."""
    styles = [model.style(picture(40, 52, seed=seed)) for seed in (1, 2, 3)]
    return [
        Order(
            photo=picture(*size, seed=10 + seed),
            styles=[styles[seed % 3], styles[(seed + 1) % 3]],
            weights=[0.25, 0.75],
            alpha=1 - seed % 10 / 10,
            keep_color=options.get("keep_color"),
        )
        for seed, size in enumerate(sizes)
    ]


@contextmanager
def painting(model: AdaIN, places: int = 20, batch: int = 4) -> Iterator[Painter]:
    one = Painter(Stylist(model), places, batch)
    one.start()
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module")
def exact() -> AdaIN:
    return load_adain(precision="float32")


def test_what_waits_goes_in_one_pass_with_its_equals(exact: AdaIN, passes: Passes) -> None:
    small, large = (32, 40), (40, 32)
    first, *rest = orders = orders_of(
        exact, [large, small, small, large, small, small, small, large]
    )
    with painting(exact) as one:
        assert one.put(first)
        until(lambda: passes.sizes)
        assert all(map(one.put, rest))
        assert (one.painting, one.waiting) == (1, 7)
        passes.may_go.set()
        answers = [order.answer.result(20) for order in orders]
    # The longest waiting leads; no pass is larger than 4, and none mixes sizes.
    assert passes.sizes == [[large], [small] * 4, [large] * 2, [small]]
    assert [answer.together for answer in answers] == [1, 4, 4, 2, 4, 4, 1, 2]
    for order, answer in zip(orders, answers, strict=True):
        alone = painter_together(Stylist(exact), [order])
        assert (answer.image - alone).abs().max() < BATCH_CLOSE


def test_together_is_as_alone_at_the_precision_that_serves(model: AdaIN) -> None:
    for keep_color in (None, "luminance"):
        orders = orders_of(model, [SIZE] * 3, keep_color=keep_color)
        several = painter_together(Stylist(model), orders)
        for order, one in zip(orders, several, strict=True):
            alone = painter_together(Stylist(model), [order])[0]
            assert (one - alone).abs().max() < BATCH_CLOSE_BFLOAT16


def test_a_recoloured_style_has_a_pass_of_its_own_and_colours_do_not_mix(model: AdaIN) -> None:
    a, b = orders_of(model, [SIZE] * 2, keep_color="match")
    assert a.kind == a.kind != b.kind
    c, d = orders_of(model, [SIZE] * 2, keep_color="luminance")
    assert c.kind == d.kind != orders_of(model, [SIZE])[0].kind


def test_a_painter_takes_no_more_than_it_has_places(model: AdaIN, passes: Passes) -> None:
    with painting(model, places=3) as one:
        orders = orders_of(model, [SIZE] * 5)
        assert [one.put(order) for order in orders] == [True, True, True, False, False]
        until(lambda: one.painting > 0)
        assert one.seconds_to_wait() >= 1
        passes.may_go.set()
        for order in orders[:3]:
            order.answer.result(20)
        assert one.put(orders[3])  # whoever has an answer has left a place, at once
        orders[3].answer.result(20)


def test_who_has_an_answer_has_left_a_place(model: AdaIN) -> None:
    with painting(model, places=1) as one:
        for order in orders_of(model, [(16, 16)] * 40):
            assert one.put(order)
            order.answer.result(20)


def test_what_is_withdrawn_is_not_painted_and_leaves_its_place(
    model: AdaIN, passes: Passes
) -> None:
    with painting(model, places=3) as one:
        held, dropped, kept, late = orders_of(model, [SIZE] * 4)
        one.put(held)
        until(lambda: passes.sizes)
        one.put(dropped)
        one.put(kept)
        assert not one.put(late)
        one.withdraw(dropped)
        one.withdraw(held)  # which is painted already, and to the end
        assert one.waiting == 1
        assert one.put(late)
        passes.may_go.set()
        for order in (held, kept, late):
            assert isinstance(order.answer.result(20), Painted)
    assert [len(sizes) for sizes in passes.sizes] == [1, 2]


def test_a_failing_pass_answers_its_orders_and_the_next_is_painted(
    model: AdaIN, passes: Passes
) -> None:
    passes.fails = True
    with painting(model) as one:
        first, *rest = orders = orders_of(model, [SIZE] * 4)
        one.put(first)
        until(lambda: passes.sizes)
        for order in rest:
            one.put(order)
        passes.may_go.set()
        for order in orders:
            with pytest.raises(RuntimeError, match="a planted failure"):
                order.answer.result(20)
        passes.fails = False
        good = orders_of(model, [SIZE])[0]
        one.put(good)
        assert good.answer.result(20).image.shape == (1, 3, *SIZE)


def test_a_painter_that_stops_ends_its_pass_and_gives_up_what_waits(
    model: AdaIN, passes: Passes
) -> None:
    one = Painter(Stylist(model), 10, 4)
    one.start()
    held, left = orders_of(model, [SIZE] * 2)
    one.put(held)
    until(lambda: passes.sizes)
    one.put(left)
    stopping = threading.Thread(target=one.stop)
    stopping.start()
    with pytest.raises(CancelledError):
        left.answer.result(20)
    assert stopping.is_alive()  # until the pass is done
    passes.may_go.set()
    stopping.join(20)
    assert not stopping.is_alive()
    assert held.answer.done()
    assert not one.put(orders_of(model, [SIZE])[0])


# ------------------------------------------------------------------------- several clients at once


def test_requests_that_wait_are_painted_together_and_each_gets_its_own(
    folder: Path, model: AdaIN, passes: Passes
) -> None:
    photos = [images.to_png_bytes(picture(*SIZE, seed=seed)) for seed in range(4)]
    with serving(folder, model) as client, ThreadPoolExecutor(4) as threads:
        first = threads.submit(ask, client, photos[0])
        until(lambda: passes.sizes)
        rest = [threads.submit(ask, client, data, style="birch") for data in photos[1:]]
        until(lambda: waiting(client) == 3)
        passes.may_go.set()
        replies = [future.result(20) for future in (first, *rest)]
        assert [len(sizes) for sizes in passes.sizes] == [1, 3]
        for data, reply in zip(photos[1:], replies[1:], strict=True):
            alone = loaded(ask(client, data, style="birch").content)
            assert (loaded(reply.content) - alone).abs().max() < BATCH_CLOSE_BFLOAT16


def test_a_failing_pass_fails_its_requests_and_no_other(
    folder: Path, model: AdaIN, photo: bytes, passes: Passes, complaints: list[str]
) -> None:
    passes.fails = True
    passes.may_go.set()
    with serving(folder, model, places=1) as client:
        for _ in range(3):
            refused(ask(client, photo), 500, "the server has failed; its log says how")
        until(lambda: len(complaints) == 3)  # it is logged after the answer
        complaints.clear()
        passes.fails = False
        assert ask(client, photo).is_success


def test_too_little_memory_is_told_as_that(
    folder: Path, model: AdaIN, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise MemoryError("no room")

    with serving(folder, model, places=1) as client:
        for size, module, name in ((17, painter, "together"), (18, uploads, "load_image")):
            with monkeypatch.context() as patch:
                patch.setattr(module, name, fails)
                reply = ask(client, photo, size=size)
            refused(reply, 503, "there is too little memory for this picture now")
            assert int(reply.headers["retry-after"]) >= 1
        assert ask(client, photo).is_success


# ---------------------------------------------------------------------------------- where it runs


def test_it_runs_at_a_free_port_twice_at_once_and_frees_it(folder: Path, model: AdaIN) -> None:
    before = set(threading.enumerate())
    with serving(folder, model) as one, serving(folder, model) as two:
        ports = [one.base_url.port, two.base_url.port]
        assert ports[0] != ports[1]
        assert one.get("/healthz").json()["status"] == two.get("/healthz").json()["status"] == "ok"
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port or 0), 5)
    assert set(threading.enumerate()) <= before


def test_a_port_that_is_taken_is_refused(folder: Path, model: AdaIN) -> None:
    app = create_app(Settings(style_size=64), folder, model)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match="in use"), running(app, port=port):
            pass


def test_a_server_that_does_not_start_says_so(
    folder: Path, model: AdaIN, monkeypatch: pytest.MonkeyPatch, complaints: list[str]
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a planted failure")

    app = create_app(Settings(style_size=64), folder, model)
    monkeypatch.setattr(Painter, "start", fails)
    with pytest.raises(RuntimeError, match="did not start; its log says why"), running(app):
        pass
    assert any("planted" in line for line in complaints)
    complaints.clear()


def test_it_can_be_started_again(folder: Path, model: AdaIN, photo: bytes) -> None:
    app = create_app(Settings(style_size=64), folder, model)
    for _ in range(2):
        with running(app) as address:
            reply = httpx.post(
                address + "/stylize",
                files={"photo": photo},
                data={"style": "ash"},
                trust_env=False,
            )
            assert reply.is_success


def test_it_runs_where_a_loop_already_does(folder: Path, model: AdaIN, photo: bytes) -> None:
    async def cell() -> int:
        with serving(folder, model) as client:
            return ask(client, photo).status_code

    assert asyncio.run(cell()) == 200


def test_an_error_in_the_block_stops_it(folder: Path, model: AdaIN) -> None:
    app, addresses = create_app(Settings(style_size=64), folder, model), []

    def fails() -> None:
        with running(app) as address:
            addresses.append(address)
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    with pytest.raises(httpx.ConnectError):
        httpx.get(addresses[0], trust_env=False)


def test_who_waits_when_it_stops_is_told(
    folder: Path, model: AdaIN, photo: bytes, passes: Passes
) -> None:
    app = create_app(Settings(style_size=64), folder, model)

    async def stopped() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            async with app.router.lifespan_context(app):
                tasks = []
                for count in (0, 1):
                    request = client.post("/stylize", files={"photo": photo}, data={"style": "ash"})
                    tasks.append(asyncio.create_task(request))
                    while (health := (await client.get("/healthz")).json())["waiting"] != count:
                        await asyncio.sleep(0.01)
                    while not (health["painting"]):
                        health = (await client.get("/healthz")).json()
                        await asyncio.sleep(0.01)
                asyncio.get_running_loop().call_later(0.1, passes.may_go.set)
            return list(await asyncio.gather(*tasks))

    replies = asyncio.run(stopped())
    refused(replies[1], 503, "the server stops")
    assert replies[0].status_code in (200, 503)  # painted; whether it is encoded, too, is chance


# -------------------------------------------------------------------------- work off the event loop


def test_a_thread_that_is_late_is_not_given_to_another() -> None:
    """Two that take for ever hold the two threads; the next waits for one, and is told to come again."""

    async def scene() -> None:
        pool, may_end = Uploads(Settings(decode_seconds=0.1)), threading.Event()
        for _ in range(2):
            with pytest.raises(Problem, match="too slow in 0.1 s") as late:
                await pool.off_loop("too slow", may_end.wait)
            assert late.value.status_code == 422
        with pytest.raises(Problem, match="all places are taken") as none_free:
            await pool.off_loop("quick", int)
        assert none_free.value.status_code == 503
        assert none_free.value.headers == {"Retry-After": "1"}
        may_end.set()
        assert await pool.off_loop("quick", int) == 0
        pool.close()
        with pytest.raises(Problem, match="the server stops") as closed:
            await pool.off_loop("quick", int)
        assert closed.value.status_code == 503

    asyncio.run(scene())


def test_whatever_goes_wrong_on_the_painters_thread_is_an_answer_and_the_next_is_painted(
    model: AdaIN, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what nobody thinks of: an error while the orders of a pass are chosen, or an exit."""
    chosen, left, good = orders_of(model, [SIZE] * 3)
    with painting(model, batch=2.5) as one:  # type: ignore[arg-type]
        assert one.put(chosen)
        with pytest.raises(TypeError, match="slice indices"):
            chosen.answer.result(20)
        one._batch = 4
        with monkeypatch.context() as patch:
            patch.setattr(Stylist, "stylize", lambda *_, **__: sys.exit("a planted exit"))
            assert one.put(left)
            with pytest.raises(RuntimeError, match="a planted exit"):
                left.answer.result(20)
        assert one.put(good)
        assert good.answer.result(20).image.shape == (1, 3, *SIZE)
        assert one.painting == 0
