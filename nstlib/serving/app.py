"""The server's addresses, and what happens between a request and its picture."""

from __future__ import annotations

import asyncio
import base64
import functools
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, File, Form, Request, Response, UploadFile
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from starlette.datastructures import FormData
from torch import Tensor

import nstlib
from nstlib import images
from nstlib.adain import AdaIN, load_adain
from nstlib.datasets import picture_paths
from nstlib.losses import mixing_weights
from nstlib.serving.answers import KINDS, accepted, answer
from nstlib.serving.forms import bounded
from nstlib.serving.gate import Gate
from nstlib.serving.painter import Order, Painted, Painter
from nstlib.serving.problems import Problem, Refusal, add_handlers, full, stopping, told
from nstlib.serving.settings import Settings
from nstlib.serving.uploads import SMALLEST, Uploads
from nstlib.styles import Style
from nstlib.stylist import Stylist

_THUMBNAIL = 128  # pixels of a style's tile
_ONCE = ("photo", "style_picture", "alpha", "keep_color", "size")
_FIELDS = (*_ONCE, "style", "weights")
_GONE = 499  # what a client that has gone away would get: seen in logs only
_CSP = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": meaning}
    for status, meaning in {
        400: "The body is not well-formed.",
        404: "There is no such style.",
        406: "None of the kinds of picture is accepted.",
        408: "The request took too long to arrive.",
        413: "The request or a picture is too large.",
        415: "Not a picture that can be read, or not multipart/form-data.",
        422: "An argument is wrong.",
        503: "All places are taken: come again in as many seconds as Retry-After says.",
    }.items()
}


class StyleTile(BaseModel):
    """A style that can be asked for by its name."""

    name: str
    thumbnail: str  # a data URI
    width: int
    height: int


class Styles(BaseModel):
    """All styles of the server."""

    styles: list[StyleTile]


class Health(BaseModel):
    """How the server does."""

    status: Literal["ok"]
    version: str
    model: str
    device: str
    precision: str
    styles: int
    painting: int
    waiting: int
    places: int
    limits: dict[str, int]


class _Known:
    """A style that the server was started with: its picture, and what the model takes from it."""

    def __init__(self, picture: Tensor, model: AdaIN) -> None:
        self.picture = picture
        self.style = model.style(picture)
        thumbnail = images.to_jpeg_bytes(images.at_size(picture, _THUMBNAIL), quality=80)
        self.thumbnail = "data:image/jpeg;base64," + base64.b64encode(thumbnail).decode()


def create_app(
    settings: Settings | None = None,
    styles: str | Path | None = None,
    model: str | Path | AdaIN = "adain",
    device: str = "auto",
) -> FastAPI:
    """Return a server that paints photos, as an ASGI application.

    The styles are encoded here, once. ``uvicorn --factory nstlib.serving:create_app`` runs it, in
    several processes with ``--workers``; `running` does so in a thread.

    Args:
        settings: the limits.
        styles: a folder of pictures; without, the styles that ship.
        model: the one that ships, a file of weights, or an :class:`AdaIN`, where it is.
        device: to paint on, of a model that is loaded here.

    Raises:
        ImageError, WeightsError: a style or the model cannot be read.
        ValueError: there is no such device, no picture in the folder, or two of one name.

    Example:
        >>> app = create_app(Settings(style_size=64))
        >>> sorted(app.openapi()["paths"])
        ['/healthz', '/styles', '/stylize']
    """
    settings = settings or Settings()
    name = "an AdaIN of one's own" if isinstance(model, AdaIN) else Path(model).stem
    model = model if isinstance(model, AdaIN) else load_adain(model, device=device)
    known = {
        style: _Known(picture, model) for style, picture in _pictures(styles, settings.style_size)
    }
    server = Server(settings, name, Stylist(model), known)
    app = FastAPI(
        title="nstlib",
        version=nstlib.__version__,
        description="Photos in the style of any picture, by AdaIN.",
        docs_url=None,  # it would load its script from elsewhere
        redoc_url=None,
        lifespan=server.lifespan,
    )
    app.add_middleware(Gate, path="/stylize", settings=settings, refusal=server.refusal)
    add_handlers(app)
    server.add_routes(app)
    _add_pages(app)
    return app


def _pictures(folder: str | Path | None, size: int) -> Iterator[tuple[str, Tensor]]:
    """Give the styles that ship, or the pictures of a folder, by their names."""
    if folder is None:
        yield from ((name, images.style(name, size)) for name in images.style_names())
        return
    files: dict[str, Path] = {}
    for file in picture_paths(folder):
        if file.stem in files:
            raise ValueError(f"'{file}' and '{files[file.stem]}' would be styles of one name")
        files[file.stem] = file
        yield file.stem, images.at_size(images.load_image(file), size)


class Server:
    """What the addresses share.

    Args:
        settings: the limits.
        name: of the model.
        stylist: which paints.
        known: the styles, by their names.
    """

    def __init__(
        self, settings: Settings, name: str, stylist: Stylist, known: dict[str, _Known]
    ) -> None:
        self._settings, self._name, self._known = settings, name, known
        self._stylist = stylist
        self._in_hand = 0  # pictures that are decoded, wait, are painted or encoded
        self._start()

    def _start(self) -> None:
        self._painter = Painter(self._stylist, self._settings.places, self._settings.batch)
        self._uploads = Uploads(self._settings)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Run the threads while the application runs."""
        self._start()  # threads start once, and an application may be started again
        self._painter.start()
        try:
            yield
        finally:
            await asyncio.to_thread(self._painter.stop)
            self._uploads.close()

    def refusal(self) -> Problem | None:
        """Return what there is to say to one more picture: nothing while there is a place."""
        if self._in_hand < self._settings.places:
            return None
        return full(self._painter.seconds_to_wait())

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Hold a place, from when a request has arrived until it is answered."""
        if problem := self.refusal():
            raise problem
        self._in_hand += 1
        try:
            yield
        finally:
            self._in_hand -= 1

    # ------------------------------------------------------------------------------ the addresses

    def add_routes(self, app: FastAPI) -> None:
        """Add what answers with data."""
        pictures = {kind: {"schema": _schema(kind)} for kind in KINDS}
        app.router.add_api_route(
            "/stylize",
            self.stylize,
            methods=["POST"],
            summary="A photo in a style, or in a mixture of styles",
            responses={200: {"content": pictures, "description": "The picture."}, **_REFUSALS},
            response_class=Response,
            route_class_override=bounded(self._settings),
        )
        app.get("/styles", summary="The styles that there are")(self.styles)
        app.get("/healthz", summary="How the server does, and its limits")(self.health)

    async def stylize(
        self,
        request: Request,
        photo: Annotated[UploadFile, File(description="the picture to paint")],
        style: Annotated[
            list[str] | None, Form(description="a name of /styles; several are mixed")
        ] = None,
        style_picture: Annotated[
            UploadFile | None, File(description="a style of one's own, in place of names")
        ] = None,
        weights: Annotated[
            list[float] | None,
            Form(description="how much of each style; divided by their sum, equal without"),
        ] = None,
        alpha: Annotated[float, Form(ge=0, le=1, description="how much of the style")] = 1.0,
        keep_color: Annotated[
            Literal["luminance", "match", ""] | None,
            Form(description="keep the photo's colours: after painting, or in the style before"),
        ] = None,
        size: Annotated[
            int | None,
            Form(
                ge=SMALLEST,
                le=4096,
                description="shorter side in pixels to paint at; the photo's own",
            ),
        ] = None,
    ) -> Response:
        """Answer with the picture."""
        clock = _Clock(request.scope["since"])
        clock.tick("read")
        _check_fields(await request.form())
        kind = accepted(", ".join(request.headers.getlist("accept")))
        names = style or []
        self._check_styles(names, style_picture)
        shares = _shares(weights, max(1, len(names)))
        with self._place():

            async def made() -> Response:
                content = await self._uploads.photo("photo", photo.file, size)
                chosen: list[Style | Tensor] = []
                if style_picture:
                    chosen = [await self._uploads.style("style_picture", style_picture.file)]
                for known in map(self._known.__getitem__, names):
                    chosen.append(known.picture if keep_color == "match" else known.style)
                clock.tick("decode")
                order = Order(content, chosen, shares, alpha, keep_color or None)
                painted = await self._painted(order)
                clock.add(wait=painted.waited, paint=painted.painted)
                late = "the picture could not be written"
                return await self._uploads.off_loop(late, answer, painted.image, kind)

            response = await _unless_gone(request, made())
        clock.tick("encode")
        response.headers["Server-Timing"] = clock.header()
        response.headers["Vary"] = "Accept"
        response.headers["Cache-Control"] = "no-store"
        return response

    def _check_styles(self, names: Sequence[str], own: UploadFile | None) -> None:
        """Raise the problem with which styles are asked for."""
        if bool(names) == (own is not None):
            found = "both" if names else "neither"
            raise Problem(422, f"style and style_picture: {found} given; it takes one of them")
        if len(names) > self._settings.max_styles:
            raise Problem(
                422, f"style has {len(names)} names, over max_styles = {self._settings.max_styles}"
            )
        for name in names:
            if name not in self._known:
                there = ", ".join(self._known)
                raise Problem(404, f"there is no style {name[:60]!r}; there are: {there}")

    async def _painted(self, order: Order) -> Painted:
        """Return what the painter makes of an order."""
        if not self._painter.put(order):
            raise full(self._painter.seconds_to_wait())
        try:
            return await asyncio.wrap_future(order.answer)
        finally:
            self._painter.withdraw(order)  # if nobody waits for it any more

    async def styles(self, response: Response) -> Styles:
        """Answer with a tile for each style."""
        response.headers["Cache-Control"] = "max-age=600"
        tiles = [
            StyleTile(
                name=name,
                thumbnail=one.thumbnail,
                width=one.picture.shape[3],
                height=one.picture.shape[2],
            )
            for name, one in self._known.items()
        ]
        return Styles(styles=tiles)

    async def health(self) -> Health:
        """Answer with what there is to know from outside."""
        model = self._stylist.model
        weight = next(model.parameters())
        limits = {
            name: getattr(self._settings, name)
            for name in ("max_bytes", "max_pixels", "max_painted", "max_styles")
        }
        return Health(
            status="ok",
            version=nstlib.__version__,
            model=self._name,
            device=str(weight.device),
            precision=str(weight.dtype).removeprefix("torch."),
            styles=len(self._known),
            painting=self._painter.painting,
            waiting=self._painter.waiting,
            places=self._settings.places,
            limits=limits,
        )


def _schema(kind: str) -> dict[str, Any]:
    """Return how OpenAPI describes an answer of a kind."""
    if kind.startswith("image/"):
        return {"type": "string", "format": "binary"}
    properties = {
        "image": {"type": "string", "contentEncoding": "base64"},
        "media_type": {"type": "string"},
        "width": {"type": "integer"},
        "height": {"type": "integer"},
    }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _check_fields(form: FormData) -> None:
    """Raise the problem with a field that there is not, or that is given again."""
    for name in form:
        if name not in _FIELDS:
            raise Problem(422, f"there is no field {name[:60]!r}; there are: {', '.join(_FIELDS)}")
        if name in _ONCE and (count := len(form.getlist(name))) > 1:
            raise Problem(422, f"{name} is given {count} times; it takes one")


def _shares(weights: list[float] | None, count: int) -> list[float]:
    """Return how much of each style there is to be, or raise the problem with the weights."""
    with told("weights"):
        shares: list[float] = mixing_weights(weights, count).tolist()
        return shares


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Response]) -> Response:
    """Return the answer; if the client goes away before it is there, end the work on it."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    waited_for: set[asyncio.Future[Any]] = {working, gone}
    try:
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        if working.cancelled():
            raise stopping()
        return working.result() if working.done() else Response(status_code=_GONE)
    finally:
        working.cancel()
        gone.cancel()


async def _disconnected(request: Request) -> None:
    """Wait until a client, whose body has arrived, goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Clock:
    """Where the time of a request goes, as the ``Server-Timing`` header tells it, in ms."""

    def __init__(self, since: float) -> None:
        self._parts: dict[str, float] = {}
        self._since = since

    def tick(self, part: str) -> None:
        """Count what has passed since the last call for a part."""
        now = time.perf_counter()
        self._parts[part], self._since = now - self._since, now

    def add(self, **parts: float) -> None:
        """Count parts that were measured elsewhere, until now."""
        self._parts.update(parts)
        self._since = time.perf_counter()

    def header(self) -> str:
        """Return the header's value."""
        return ", ".join(f"{part};dur={1000 * spent:.1f}" for part, spent in self._parts.items())


# --------------------------------------------------------------------------------------- the pages


def _add_pages(app: FastAPI) -> None:
    """Add what is read in a browser; nothing of it comes from elsewhere."""
    page = resources.files("nstlib.serving").joinpath("page.html").read_text("utf-8")

    @app.get("/", include_in_schema=False)
    async def index() -> HTMLResponse:
        nonce = secrets.token_urlsafe(16)
        headers = {
            "Content-Security-Policy": _CSP.format(nonce=nonce),
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        return HTMLResponse(page.replace("{nonce}", nonce), headers=headers)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title="nstlib: the server's interface",
            swagger_js_url="docs/swagger-ui-bundle.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url="data:,",
        )

    for file, kind in (("swagger-ui-bundle.js", "text/javascript"), ("swagger-ui.css", "text/css")):
        app.get(f"/docs/{file}", include_in_schema=False)(_file_of_docs(file, kind))


def _file_of_docs(file: str, kind: str) -> Callable[[], Any]:
    """Return an address that gives one file of Swagger UI, read when it is first asked for."""

    async def give() -> Response:
        return Response(_swagger(file), media_type=kind)

    return give


@functools.cache
def _swagger(file: str) -> bytes:
    return resources.files("fastapi_offline").joinpath("static", file).read_bytes()
