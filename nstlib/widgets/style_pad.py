"""A pad to mix styles on: a point that the user drags between small pictures of them."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import traitlets
from torch import Tensor

from nstlib import images
from nstlib.config import Range
from nstlib.widgets.scripts import with_helpers

Place = tuple[float, float]

# Top left, top right, bottom left, bottom right, as (x, y) from the top left.
CORNERS: tuple[Place, ...] = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))
SHARE = Range(0, 1, "a share of the whole")
SIDES = Range(160, 1000, "px on the page")
EDGE = 16  # px: between the border and where the point can go
_THUMBNAIL = 128  # px: shown at half as many, and sharp where a screen has two pixels to one


class _Share(traitlets.Float[float, float]):
    """A number in [0, 1]; another is refused before it is stored."""

    def validate(self, obj: Any, value: Any) -> float:
        return float(SHARE.check(str(self.name), value))


class StylePad(anywidget.AnyWidget):
    """A square with a small picture of each style in it, and a point between them to drag.

    The point is dragged by mouse, pen or touch; a click moves it there, one on a picture to that
    picture's own place. By keyboard, arrows move it by 0.05, with Shift by 0.01, Home brings it to
    the middle, and 1, 2, 3 … to a style. What the styles' shares are at ``x`` and ``y`` is for
    Python to say, in ``shares``; the pad shows them in percent, and as lines that grow thicker.

    Args:
        names: of the styles, one or more.
        pictures: one a style, each (1, 3, H, W) in [0, 1]; their centre squares are shown.
        places: where the styles are, as (x, y) in [0, 1] from the top left.
        x: where the point begins, from 0 at the left to 1 at the right.
        y: the same from 0 at the top to 1 at the bottom.
        side: of the pad on the page, in pixels.

    Raises:
        ValueError, TypeError: an argument is wrong, or not as many of one as of another.

    Example:
        >>> from nstlib.images import style
        >>> pad = StylePad(["vortex", "mosaic"], [style("vortex", 64)] * 2, [(0, 0.5), (1, 0.5)])
        >>> pad.on_move(lambda: print(f"at {pad.x}, {pad.y}"))
        >>> pad.move(0.25, 0.75)
        at 0.25, 0.75
        >>> pad.shares = [0.75, 0.25]
    """

    x = _Share(0.5).tag(sync=True)
    y = _Share(0.5).tag(sync=True)
    shares = traitlets.List(traitlets.Float()).tag(sync=True)
    # The styles as the page takes them: [{"name", "place", "picture"} ...], all in one message.
    styles = traitlets.List(traitlets.Dict(), read_only=True).tag(sync=True)
    side = traitlets.Int(260, read_only=True).tag(sync=True)

    _esm = with_helpers(r"""
    const SVG = "http://www.w3.org/2000/svg";
    const CAPTION = 40;  // px: a name, and its share
    const EDGE = 16;  // px: the point's own radius, so that it is whole at the border too

    const percent = share => `${Math.round(100 * share)} %`;
    const within = value => Math.round(1000 * Math.min(1, Math.max(0, value))) / 1000;

    export default { render({ model, el }) {
        const side = model.get("side"), thumb = Math.min(64, side / 4);
        const pad = part(el, "div", "nst-pad");
        pad.style.cssText = `--side: ${side}px; --thumb: ${thumb}px`;
        const lines = pad.appendChild(document.createElementNS(SVG, "svg"));
        const pictures = part(pad, "div", "nst-pad-styles");
        const handle = part(pad, "div", "nst-pad-handle");
        for (const [name, value] of Object.entries({
            role: "slider", tabindex: 0, "aria-valuemin": 0, "aria-valuemax": 100,
            "aria-roledescription": "point on a square", "aria-label": "Mixture of styles: arrow " +
                "keys move the point, with Shift finely; Home is the middle; 1, 2, 3 … are styles",
        })) handle.setAttribute(name, value);
        let views = [];

        const pixel = fraction => EDGE + fraction * (side - 2 * EDGE);
        const inside = place => Math.min(side - 5 - thumb / 2, Math.max(5 + thumb / 2, place));

        function drawStyles() {
            pictures.replaceChildren();
            lines.replaceChildren();
            views = model.get("styles").map(({ name, place: [x, y], picture }) => {
                const left = inside(pixel(x)), top = inside(pixel(y));
                const isLow = top + thumb / 2 + CAPTION > side;  // then its name stands above it
                const view = part(pictures, "figure", isLow ? "nst-pad-low" : "");
                const image = part(view, "img", "");
                Object.assign(image, { src: picture, alt: name, title: name, draggable: false });
                image.dataset.place = JSON.stringify([x, y]);
                const caption = part(view, "figcaption", "");
                part(caption, "span", "nst-pad-name", name);
                const share = part(caption, "b", "");
                view.style.left = `${left}px`;
                view.style.top = `${top}px`;
                view.dataset.side = x < 0.25 ? "left" : x > 0.75 ? "right" : "middle";
                const line = lines.appendChild(document.createElementNS(SVG, "line"));
                line.setAttribute("x2", left);
                line.setAttribute("y2", top);
                return { name, share, line };
            });
            draw();
        }

        function draw() {
            const x = model.get("x"), y = model.get("y"), shares = model.get("shares");
            handle.style.left = `${pixel(x)}px`;
            handle.style.top = `${pixel(y)}px`;
            views.forEach(({ share, line }, i) => {
                share.textContent = i in shares ? percent(shares[i]) : "";
                line.setAttribute("x1", pixel(x));
                line.setAttribute("y1", pixel(y));
                line.style.strokeWidth = i in shares ? 8 * shares[i] : 1;
            });
            const mixed = views.map(({ name }, i) => `${name} ${percent(shares[i] ?? 0)}`);
            const place = `${percent(x)} from the left, ${percent(y)} from the top`;
            handle.setAttribute("aria-valuenow", Math.round(100 * x));
            handle.setAttribute("aria-valuetext", shares.length ? mixed.join(", ") : place);
        }

        // The page may tell of a move sixty times a second; the widget's model holds back what is
        // newer until the kernel has answered, and sends only the last of it.
        let goal = null;
        function send() {
            model.set("x", goal[0]);
            model.set("y", goal[1]);
            goal = null;
            model.save_changes();
        }
        function go(x, y) {
            if (goal === null) requestAnimationFrame(send);
            goal = [within(x), within(y)];
        }

        let drag = null;  // the pointer that drags, and where it went down on a picture
        function follow(event) {
            const box = pad.getBoundingClientRect(), scale = side / box.width;
            const along = place => (scale * place - EDGE) / (side - 2 * EDGE);
            go(along(event.clientX - box.left), along(event.clientY - box.top));
        }
        pad.addEventListener("pointerdown", event => {
            if (event.button !== 0 || !event.isPrimary) return;
            event.preventDefault();
            pad.setPointerCapture(event.pointerId);
            handle.focus({ preventScroll: true });
            const place = event.target.dataset.place;
            drag = { id: event.pointerId, from: place && [event.clientX, event.clientY] };
            if (place) go(...JSON.parse(place));
            else follow(event);
        });
        pad.addEventListener("pointermove", event => {
            if (event.pointerId !== drag?.id) return;
            const [x, y] = drag.from ?? [NaN, NaN];  // NaN: it went down beside the pictures
            if (Math.hypot(event.clientX - x, event.clientY - y) < 4) return;
            drag.from = null;
            follow(event);
        });
        for (const end of ["pointerup", "pointercancel"]) {
            pad.addEventListener(end, () => { drag = null; });
        }

        // JupyterLab takes keys from the document on their way down, as commands to the notebook:
        // so they are answered, and end, before that.
        function key(event) {
            if (event.target !== handle || event.ctrlKey || event.altKey || event.metaKey) return;
            event.stopPropagation();
            const [x, y] = goal ?? [model.get("x"), model.get("y")];
            const step = event.shiftKey ? 0.01 : 0.05, move = STEPS[event.key];
            const style = model.get("styles")[Number(event.key) - 1];
            if (move) go(x + step * move[0], y + step * move[1]);
            else if (event.key === "Home") go(0.5, 0.5);
            else if (style) go(...style.place);
            else return;
            event.preventDefault();
        }
        window.addEventListener("keydown", key, true);
        model.on("change:x", draw);
        model.on("change:y", draw);
        model.on("change:shares", draw);
        model.on("change:styles", drawStyles);
        drawStyles();
        return () => window.removeEventListener("keydown", key, true);
    } };
    """)

    _css = """
    .nst-pad {
        position: relative; box-sizing: border-box; width: var(--side); height: var(--side);
        margin: 4px; overflow: hidden; touch-action: none; user-select: none; cursor: crosshair;
        color: var(--jp-ui-font-color1, #212121); background: var(--jp-layout-color2, #eee);
        border-radius: 8px; box-shadow: 0 0 0 1px var(--jp-border-color0, #8f8f8f);
        font: 12px/15px var(--jp-ui-font-family, system-ui, sans-serif);
    }
    .nst-pad svg { position: absolute; width: 100%; height: 100%; }
    .nst-pad line {
        stroke: var(--jp-brand-color1, #1976d2); stroke-opacity: 0.55; stroke-linecap: round;
    }
    .nst-pad figure { position: absolute; margin: 0; width: 0; height: 0; }
    .nst-pad img {
        position: absolute; left: calc(var(--thumb) / -2); top: calc(var(--thumb) / -2);
        width: var(--thumb); height: var(--thumb); border-radius: 6px; cursor: pointer;
        box-shadow: 0 0 0 1px var(--jp-layout-color0, #fff), 0 1px 4px 1px rgb(0 0 0 / 45%);
    }
    .nst-pad figcaption {
        position: absolute; top: calc(var(--thumb) / 2 + 5px); width: calc(var(--side) * 0.42);
        left: calc(var(--side) * -0.21); text-align: center; pointer-events: none;
        display: flex; flex-flow: column;
    }
    .nst-pad .nst-pad-low figcaption { top: auto; bottom: calc(var(--thumb) / 2 + 5px); }
    .nst-pad [data-side="left"] figcaption {
        left: calc(var(--thumb) / -2); text-align: left;
    }
    .nst-pad [data-side="right"] figcaption {
        left: auto; right: calc(var(--thumb) / -2); text-align: right;
    }
    .nst-pad-name { overflow: hidden; white-space: nowrap; text-overflow: ellipsis; }
    .nst-pad b { font-variant-numeric: tabular-nums; }
    .nst-pad-handle {
        position: absolute; box-sizing: border-box; width: 22px; height: 22px; margin: -11px;
        border: 3px solid #fff; border-radius: 50%; background: #0072b2; cursor: grab;
        outline: none; box-shadow: 0 0 0 2px #111, 0 1px 5px 2px rgb(0 0 0 / 50%);
    }
    .nst-pad-handle:active { cursor: grabbing; }
    .nst-pad-handle:focus { box-shadow: 0 0 0 2px #111, 0 0 0 4px #fff, 0 0 0 5px #111; }
    """

    def __init__(
        self,
        names: Sequence[str],
        pictures: Sequence[Tensor],
        places: Sequence[Place] = CORNERS,
        x: float = 0.5,
        y: float = 0.5,
        side: int = 260,
    ) -> None:
        SIDES.check("side", side)
        styles = _styles(names, pictures, places)
        self._followers: list[Callable[[], None]] = []
        self._told: Place | None = None
        super().__init__(x=x, y=y)
        self.set_trait("side", side)
        self.set_trait("styles", styles)
        self.add_class("nst-style-pad")

    def show(
        self, names: Sequence[str], pictures: Sequence[Tensor], places: Sequence[Place] = CORNERS
    ) -> None:
        """Replace the styles; ``shares`` is empty until it is set for these.

        Raises:
            ValueError, TypeError: an argument is wrong; the styles are then as they were.

        Example:
            >>> from nstlib.images import style
            >>> pad = StylePad(["vortex"], [style("vortex", 64)], [(0.5, 0.5)])
            >>> pad.show(["mosaic"], [style("mosaic", 64)], [(0.5, 0.5)])
            >>> pad.names
            ['mosaic']
        """
        styles = _styles(names, pictures, places)
        with self.hold_sync():
            self.shares = []
            self.set_trait("styles", styles)

    def move(self, x: float, y: float) -> None:
        """Move the point, as the user would: both coordinates together.

        Raises:
            ValueError, TypeError: one is no number in [0, 1]; the point is then where it was.
        """
        SHARE.check("x", x)
        SHARE.check("y", y)
        with self.hold_sync(), self.hold_trait_notifications():
            self.x, self.y = x, y

    def on_move(self, follower: Callable[[], None]) -> None:
        """Call ``follower`` when the point has moved: once a move, with both coordinates new."""
        self._followers.append(follower)

    @property
    def names(self) -> list[str]:
        """The styles' names."""
        return [style["name"] for style in self.styles]

    @property
    def places(self) -> list[Place]:
        """The styles' places, as (x, y) from the top left."""
        return [(style["place"][0], style["place"][1]) for style in self.styles]

    # A drag changes both coordinates, and each tells of its change when both are new: the first
    # calls the followers, and the second finds them told.
    @traitlets.observe("x", "y")
    def _moved(self, _: Any) -> None:
        if (self.x, self.y) == self._told:
            return
        self._told = (self.x, self.y)
        for follower in self._followers:
            follower()

    @traitlets.validate("shares")
    def _check_shares(self, proposal: Any) -> list[float]:
        shares: list[float] = proposal["value"]
        if len(shares) not in (0, len(self.styles)):
            raise ValueError(
                f"shares has {len(shares)} entries; it takes {len(self.styles)}, one a style"
            )
        for i, share in enumerate(shares):
            SHARE.check(f"shares[{i}]", share)
        return shares


def _styles(
    names: Sequence[str], pictures: Sequence[Tensor], places: Sequence[Place]
) -> list[dict[str, Any]]:
    """Return the styles as the page takes them, or say what is wrong with them."""
    if isinstance(names, str) or isinstance(pictures, Tensor):
        raise TypeError("names and pictures take lists, one entry for each style")
    if not names:
        raise ValueError("names is empty; it takes at least one style")
    for what, given in (("pictures", pictures), ("places", places)):
        if len(given) != len(names):
            raise ValueError(f"{what} has {len(given)} entries for {len(names)} names")
    for i, (picture, place) in enumerate(zip(pictures, places, strict=True)):
        images.check_image(f"pictures[{i}]", picture)
        if len(place) != 2:
            raise ValueError(f"places[{i}] is {place!r}; it takes (x, y)")
        for axis, share in zip("xy", place, strict=True):
            SHARE.check(f"{axis} of places[{i}]", share)
    return [
        {"name": str(name), "place": [float(x), float(y)], "picture": _thumbnail(picture)}
        for name, picture, (x, y) in zip(names, pictures, places, strict=True)
    ]


def _thumbnail(picture: Tensor) -> str:
    """Return the centre square of a picture, small, as the URL of a JPEG file that holds it."""
    height, width = picture.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[..., top : top + side, left : left + side]
    data = images.to_jpeg_bytes(images.resize(square, (_THUMBNAIL, _THUMBNAIL)))
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode('ascii')}"
