"""The lab of notebook 06: what is turned here, a server paints; and where the time of it goes."""

from __future__ import annotations

import http.client
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ipywidgets
from matplotlib.figure import Figure
from torch import Tensor

from nstlib.adain import ALPHA
from nstlib.errors import NstError
from nstlib.images import at_size, load_image, positive, to_png_bytes
from nstlib.stylist import Kept
from nstlib.widgets.controls import LIVE, Control, menu_control, range_control
from nstlib.widgets.curves import figure_bytes
from nstlib.widgets.display import (
    Panel,
    add_classes,
    attempt,
    image_widget,
    pixels,
    told,
)
from nstlib.widgets.menu_keys import MenuKeys
from nstlib.widgets.pictures import WRAPPING, photo_picker, took

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WebP": "image/webp"}
# Okabe and Ito's palette, which colour-blind readers can tell apart; each with its own hatching.
_LOOKS = {
    "read": ("#999999", ""),
    "decode": ("#56B4E9", "///"),
    "wait": ("#F0E442", ""),
    "paint": ("#0072B2", ""),
    "encode": ("#E69F00", "\\\\\\"),
    "the way": ("#DDDDDD", "..."),
}
WAY = "the way"  # what the server does not know of: the client, and what lies between
_TIMEOUT = 60  # seconds without a byte


class RefusedError(NstError):
    """A server has refused, or does not answer; the message says why."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Reply:
    """What a server has answered."""

    status: int
    headers: Mapping[str, str]  # by names in small letters
    body: bytes
    seconds: float  # from the first byte sent to the last one received


@dataclass(frozen=True)
class Params:
    """What the server is asked."""

    address: str
    photo: bytes  # a file
    style: str
    alpha: float = 1.0
    kind: str = "image/png"


@dataclass(frozen=True)
class Result:
    """The server's picture, and where the time went: seconds of each part, and in all."""

    image: Tensor  # (1, 3, H, W)
    timing: Mapping[str, float]
    seconds: float
    size: int  # bytes


def ask(
    address: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """Send one request, POST where there is a body, and return the answer, whatever its status.

    No proxy is asked: the server is here, or at the address.

    Raises:
        ValueError: the address is none of http.
        RefusedError: nobody answers.
    """
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"address is {address!r}; it takes one such as 'http://127.0.0.1:8000'")
    secure = parts.scheme == "https"
    link = (http.client.HTTPSConnection if secure else http.client.HTTPConnection)(
        parts.netloc, timeout=_TIMEOUT
    )
    started = time.perf_counter()
    try:
        link.request("GET" if body is None else "POST", path, body, dict(headers or {}))
        answer = link.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise RefusedError(
            f"nobody answers at {address}: the server may have been stopped"
        ) from error
    finally:
        link.close()
    found = {name.lower(): value for name, value in answer.getheaders()}
    return Reply(answer.status, found, content, time.perf_counter() - started)


def form(fields: Mapping[str, object], files: Mapping[str, bytes]) -> tuple[bytes, str]:
    """Return a body of multipart/form-data, and its Content-Type.

    Example:
        >>> body, kind = form({"alpha": 0.5}, {"photo": b"..."})
        >>> kind.partition("=")[0], body.count(b"Content-Disposition")
        ('multipart/form-data; boundary', 2)
    """
    boundary = secrets.token_hex(16)
    parts = []
    for name, value in fields.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        parts.append(head.encode() + str(value).encode() + b"\r\n")
    for name, data in files.items():
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"'
        parts.append(head.encode() + b"\r\n\r\n" + data + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"


def timing_of(header: str) -> dict[str, float]:
    """Return the seconds of a ``Server-Timing`` header's parts.

    Example:
        >>> timing_of("decode;dur=2.5, paint;dur=40.0")
        {'decode': 0.0025, 'paint': 0.04}
    """
    parts = (part.strip().partition(";dur=") for part in header.split(",") if ";dur=" in part)
    return {name: float(milliseconds) / 1000 for name, _, milliseconds in parts}


def compute(params: Params) -> Result:
    """Have the server paint.

    Raises:
        RefusedError: it refuses, in its own words, or does not answer.
    """
    fields = {"style": params.style, "alpha": params.alpha}
    body, content_type = form(fields, {"photo": params.photo})
    headers = {"Content-Type": content_type, "Accept": params.kind}
    reply = ask(params.address, "/stylize", body, headers)
    if reply.status != 200:
        raise RefusedError(_detail(reply), reply.status)
    timing = timing_of(reply.headers.get("server-timing", ""))
    timing[WAY] = max(0.0, reply.seconds - sum(timing.values()))
    return Result(load_image(reply.body), timing, reply.seconds, len(reply.body))


def draw(timings: Mapping[str, Mapping[str, float]]) -> bytes:
    """Draw where the time goes, as the bytes of a PNG file: a bar for each, by its name.

    Args:
        timings: seconds of each part, such as :attr:`Result.timing`.

    Example:
        >>> draw({"now": {"decode": 0.002, "paint": 0.04}})[1:4]
        b'PNG'
    """
    height = 0.72 + 0.3 * len(timings)
    figure = Figure(figsize=(7.2, height), dpi=100, facecolor="white")
    axes = figure.add_axes((0.17, 0.42 / height, 0.8, 0.3 * len(timings) / height))
    used = dict.fromkeys(part for timing in timings.values() for part in timing)
    starts = dict.fromkeys(timings, 0.0)
    for part in used:
        colour, hatch = _LOOKS.get(part, ("#CC79A7", ""))
        widths = [1000 * timing.get(part, 0.0) for timing in timings.values()]
        left = [1000 * start for start in starts.values()]
        axes.barh(
            list(timings),
            widths,
            0.7,
            left,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=part,
        )
        starts = {name: starts[name] + timings[name].get(part, 0.0) for name in timings}
    axes.invert_yaxis()
    axes.set_xlabel("ms", fontsize=8, labelpad=1)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="upper center", ncols=len(used), fontsize=8, frameon=False, handlelength=1.6)
    return figure_bytes(figure)


class ServingLab:
    """A photo that a server paints: a style, α, the kind of file; and where the time of it goes.

    A cell that ends in a lab shows it. Every picture comes by HTTP.

    Args:
        address: of a running server, such as :func:`nstlib.serving.running` gives.
        content: where to begin: the name of a photo that ships, a file, or an image.
        style: where the menu begins; without, at the server's first.
        alpha: where the slider begins.
        kind: of the file that is asked for: ``"PNG"``, ``"JPEG"`` or ``"WebP"``.
        size: the shorter side of the photo that is sent; a smaller one keeps its own pixels.

    ``image`` is the last picture (1, 3, H, W), ``params`` what the server was asked, ``result`` its
    answer. ``controls`` holds each :class:`Control` by name.

    Raises:
        ValueError: an argument is wrong, or the server has no such style.
        RefusedError: the server does not answer, or refuses the first picture.
        ImageError: the photo that the lab is to begin with cannot be read.
    """

    params: Params
    result: Result

    def __init__(
        self,
        address: str,
        *,
        content: str | Path | Tensor = "astronaut",
        style: str | None = None,
        alpha: float = 1.0,
        kind: str = "PNG",
        size: int = 256,
    ) -> None:
        ALPHA.check("alpha", alpha)
        positive("size", size)
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; it takes {', '.join(map(repr, KINDS))}")
        self.address, self.size = address.rstrip("/"), size
        styles = _styles_of(self.address)
        style = style or styles[0]
        if style not in styles:
            raise ValueError(f"style is {style!r}; the server has {', '.join(map(repr, styles))}")
        # A kernel may answer two widgets at once, each in a thread.
        self._one_at_a_time = threading.RLock()
        self.photo = photo_picker(content)
        # One object for a photo, and one file: the server knows it again by its bytes.
        self._sent = Kept(lambda image, side: to_png_bytes(at_size(image, side)), 4)
        self._shown = Kept(at_size, 4)
        self.controls: dict[str, Control] = {
            "alpha": _slider(alpha),
            "style": menu_control(styles, style, "Style", "Which the server knows", 44, 170),
            "kind": menu_control(
                KINDS, KINDS[kind], "File", "What the server is to send the picture as", 36, 80
            ),
        }
        self.paint()
        self.photo_shown, self.picture_shown = Panel("Photo"), Panel("What the server sent")
        self.bar = image_widget(b"\x89PNG", width="100%", max_width="720px")
        self.status, self.message = ipywidgets.HTML(), ipywidgets.HTML()
        self.view = self._laid_out()
        self._show()
        self.photo.on_change(self.answer)
        for control in self.controls.values():
            control.observe(self.answer)

    @property
    def image(self) -> Tensor:
        """The last picture, (1, 3, H, W)."""
        return self.result.image

    @property
    def size_shown(self) -> int:
        """The shorter side of the photo that is sent."""
        height, width = self.photo.image.shape[2:]
        return min(self.size, height, width)

    # -------------------------------------------------------------------------------- what happens

    def paint(self) -> None:
        """Ask for what the controls stand at; what is refused leaves the last picture."""
        photo = self._sent(self.photo.image, self.size_shown)
        turned = {name: control.read() for name, control in self.controls.items()}
        params = Params(self.address, photo, **turned)
        self.result = compute(params)
        self.params = params

    def answer(self, _: Any = None) -> None:
        """Show what the controls stand at, or say in a sentence why not."""
        with self._one_at_a_time:
            if attempt(self.paint, self.message):
                self._show()

    def _show(self) -> None:
        result = self.result
        self.photo_shown.show(self._shown(self.photo.image, self.size_shown))
        self.picture_shown.show(result.image)
        self.bar.value = draw({"this picture": result.timing})
        self.status.value = told(in_words(result))
        self.controls["alpha"].view.continuous_update = result.seconds < LIVE

    # ------------------------------------------------------------------------------ how it is made

    def _laid_out(self) -> Any:
        """Put the parts in their places, and name them for style sheets and tests."""
        row, column = ipywidgets.HBox, ipywidgets.VBox
        photo, views = self.photo.line(), {n: c.view for n, c in self.controls.items()}
        # The text has its lines also while it is empty, so that nothing jumps from under a hand.
        told_here = column([self.status, self.message], layout={"min_height": "62px"})
        view = column(
            [
                row([photo, views["style"], views["kind"]], layout=WRAPPING),
                self.photo.message,
                row([self.photo_shown.view, self.picture_shown.view], layout={"grid_gap": "8px"}),
                views["alpha"],
                self.bar,
                told_here,
                MenuKeys(),
            ],
            layout={"max_width": "1000px"},
        )
        named = {"serving-lab": view, "photo": photo, "photo-shown": self.photo_shown.widget}
        named |= {"picture": self.picture_shown.widget, "bar": self.bar}
        add_classes(named | {"status": self.status, "message": self.message, **views})
        return view

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)


def in_words(result: Result) -> str:
    """Return what a picture took, in words.

    Example:
        >>> image, parts = load_image(to_png_bytes(Tensor(1, 3, 24, 32).zero_())), {"paint": 0.04}
        >>> in_words(Result(image, parts, 0.05, 2345))
        '32 × 24 px in 50 ms, a file of 2 kB; paint 40 ms'
    """
    parts = ", ".join(f"{part} {took(spent)}" for part, spent in result.timing.items())
    size = f"a file of {result.size / 1000:,.0f} kB"
    return f"{pixels(result.image)} in {took(result.seconds)}, {size}; {parts}"


def _slider(alpha: float) -> Control:
    control = range_control("alpha", ALPHA, float(alpha), step=0.05)
    control.view.style.description_width = "84px"
    control.view.layout.flex = "0 0 auto"
    return control


def _styles_of(address: str) -> list[str]:
    reply = ask(address, "/styles")
    if reply.status != 200:
        raise RefusedError(_detail(reply), reply.status)
    try:
        return [style["name"] for style in json.loads(reply.body)["styles"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"{address} has no list of styles: it is no server of nstlib") from error


def _detail(reply: Reply) -> str:
    """Return the sentence of a refusal."""
    try:
        return str(json.loads(reply.body)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the server answers {reply.status}"
