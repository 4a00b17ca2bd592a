"""A photo under a veil that the user paints: which pixels a style is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anywidget
import torch
import traitlets
from torch import Tensor

from nstlib import images
from nstlib.config import Range
from nstlib.widgets.display import preview
from nstlib.widgets.scripts import with_helpers

LONGEST = 512  # px: the longer side of a mask; a stroke sends all of it
RADIUS = Range(0.01, 0.5, "the brush's radius, in shorter sides of the photo")
SOFTNESS = Range(0, 1, "how much of the radius the brush's edge takes to fade")
WIDTHS = Range(100, 2000, "px on the page")
MODES = ("brush", "rectangle")


class _Ranged(traitlets.Float[float, float]):
    """A number in a range; another is refused before it is stored."""

    def __init__(self, default: float, of: Range) -> None:
        super().__init__(default)
        self.of = of

    def validate(self, obj: Any, value: Any) -> float:
        return float(self.of.check(str(self.name), value))


class _Values(traitlets.Bytes):
    """The mask's bytes, as many as it has pixels; what the page sends is a view of memory."""

    def validate(self, obj: Any, value: Any) -> bytes:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise TypeError(f"values is a {type(value).__name__}; it takes bytes")
        data, (height, width) = bytes(value), obj.size
        if len(data) != height * width:
            raise ValueError(
                f"values has {len(data)} bytes; it takes {height * width}, one for each of the "
                f"mask's {height} × {width} pixels"
            )
        return data


class MaskBrush(anywidget.AnyWidget):
    """A photo, and over it a mask that the user paints, shown as an orange veil.

    The brush is round and its edge soft. It paints by mouse, pen or touch; by keyboard, arrows move
    it, with Shift finely, and Space or Enter dabs. Where ``mode`` is "rectangle", the user draws one
    instead: by dragging, or with Space at one corner and at the other. The mask is left as it is.

    Args:
        photo: what is painted over, (1, 3, H, W) in [0, 1].
        mask: where the mask begins, as :meth:`take` takes it; None is nowhere.
        width: of the photo on the page, in pixels; less where the page is narrower.

    ``mask`` is the mask as a tensor, ``size`` its (H, W): the photo's own, with the longer side
    512 at most. ``radius`` (of the photo's shorter side), ``softness`` (of the radius), ``erase``
    and ``mode`` may be set or linked at any time. ``rectangle`` is (left, top, right, bottom) as
    fractions of the photo, or empty. ``painting`` says whether a stroke is being painted just now.

    Raises:
        ValueError, TypeError: an argument is wrong.

    Example:
        >>> from nstlib.images import sample
        >>> brush = MaskBrush(sample("coffee", 40))
        >>> brush.size, brush.mask.mean().item()
        ((40, 60), 0.0)
        >>> brush.invert()
        >>> brush.mask.mean().item()
        1.0
    """

    # Both come before `values`, which they say how to read.
    size = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(0, 0), read_only=True)
    size.tag(sync=True)
    photo = traitlets.Bytes(read_only=True).tag(sync=True)  # a JPEG file
    # Row by row from 0, outside, to 255. The page that sends them does not want them back.
    values = _Values().tag(sync=True, echo_update=False)
    radius = _Ranged(0.08, RADIUS).tag(sync=True)
    softness = _Ranged(0.3, SOFTNESS).tag(sync=True)
    erase = traitlets.Bool(False).tag(sync=True)
    mode = traitlets.Unicode("brush").tag(sync=True)
    rectangle = traitlets.List(traitlets.Float()).tag(sync=True)
    painting = traitlets.Bool(False).tag(sync=True)
    width = traitlets.Int(420, read_only=True).tag(sync=True)
    # Strokes that the page sends may cross a mask that Python sends: one painted while the kernel
    # was busy must be neither lost nor undo what Python did. So masks that Python sets are counted,
    # and so are strokes. What was painted on an older mask is refused here; and the page, when the
    # newer comes, paints the strokes that are not in it once more.
    edition = traitlets.List([0, 0]).tag(sync=True)  # of this mask; the last stroke that is in it
    painted = traitlets.List([0, 0]).tag(sync=True, echo_update=False)  # on that edition; stroke

    _esm = with_helpers(r"""
    const LABELS = {
        brush: "Mask over the photo: arrow keys move the brush, with Shift finely; Space paints",
        rectangle: "Photo: arrow keys move, with Shift finely; Space sets a corner of the " +
            "rectangle, and then the other; Escape begins anew",
    };
    const ORANGE = [213, 94, 0], VEIL = 0.5;
    const KEPT = 2000;  // parts of strokes: far more than are painted while the kernel is busy

    const within = value => Math.min(1, Math.max(0, value));

    // A part of a stroke goes from one point to another, all in the mask's pixels. A pixel's share
    // depends on how far it is from that line: a fast stroke has no gaps.
    function paint(mask, [height, width], { from, to, radius, soft, erase }) {
        const reach = radius + 1, [ax, ay] = from, dx = to[0] - ax, dy = to[1] - ay;
        const square = dx * dx + dy * dy, edge = Math.max(1, soft * radius);
        const left = Math.max(0, Math.floor(Math.min(ax, to[0]) - reach));
        const top = Math.max(0, Math.floor(Math.min(ay, to[1]) - reach));
        const right = Math.min(width, Math.ceil(Math.max(ax, to[0]) + reach));
        const bottom = Math.min(height, Math.ceil(Math.max(ay, to[1]) + reach));
        for (let y = top; y < bottom; y++) {
            for (let x = left; x < right; x++) {
                const px = x + 0.5 - ax, py = y + 0.5 - ay;
                const along = square && within((px * dx + py * dy) / square);
                const away = Math.hypot(px - along * dx, py - along * dy);
                const depth = within((radius + 0.5 - away) / edge);  // 0 outside, 1 from the edge on
                const share = Math.round(255 * depth * depth * (3 - 2 * depth)), i = y * width + x;
                mask[i] = erase ? Math.min(mask[i], 255 - share) : Math.max(mask[i], share);
            }
        }
        return [left, top, right, bottom];
    }

    export default { render({ model, el }) {
        const board = part(el, "div", "nst-board"), picture = part(board, "img", "");
        const canvas = part(board, "canvas", ""), context = canvas.getContext("2d");
        const frame = part(board, "div", "nst-board-frame"), ring = part(board, "div", "nst-board-ring");
        const said = part(el, "span", "nst-board-said");
        picture.alt = "";
        board.style.maxWidth = `${model.get("width")}px`;
        said.setAttribute("role", "status");
        canvas.tabIndex = 0;
        canvas.setAttribute("role", "application");

        let height, width, mask, veil;  // the mask's, and what is drawn of it
        let photo = null, url = null;
        let strokes = [];  // parts of strokes, the newest last
        let pen = [0.5, 0.5], shown = false;  // where the brush is, as fractions, and whether it is seen
        let drag = null;  // the pointer that draws
        let corner = null;  // of the rectangle that is being drawn

        const inMask = ([x, y]) => [x * width, y * height];
        const radius = () => model.get("radius") * Math.min(height, width);
        const isBrush = () => model.get("mode") === "brush";

        function showPhoto() {
            if (photo === model.get("photo")) return;
            if (url) URL.revokeObjectURL(url);
            photo = model.get("photo");
            url = URL.createObjectURL(new Blob([photo], { type: "image/jpeg" }));
            picture.src = url;
            strokes = [];
            [height, width] = model.get("size");
            Object.assign(canvas, { width, height });
            board.style.aspectRatio = `${width} / ${height}`;
            veil = context.createImageData(width, height);
        }
        // Orange does not show on what is orange: where the mask begins there is a white line too.
        const isOut = (x, y) =>
            x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x] < 128;
        const isLine = (x, y) => !isOut(x, y) &&
            (isOut(x - 1, y) || isOut(x + 1, y) || isOut(x, y - 1) || isOut(x, y + 1));
        function draw([left, top, right, bottom]) {
            [left, top] = [Math.max(0, left - 1), Math.max(0, top - 1)];
            [right, bottom] = [Math.min(width, right + 1), Math.min(height, bottom + 1)];
            for (let y = top; y < bottom; y++) {
                for (let x = left; x < right; x++) {
                    const i = y * width + x, line = isLine(x, y), at = 4 * i;
                    for (let c = 0; c < 3; c++) veil.data[at + c] = line ? 255 : ORANGE[c];
                    veil.data[at + 3] = line ? 255 : VEIL * mask[i];
                }
            }
            context.putImageData(veil, 0, 0, left, top, right - left, bottom - top);
        }
        function load() {
            showPhoto();
            const { buffer, byteOffset, byteLength } = model.get("values");
            mask = new Uint8Array(buffer, byteOffset, byteLength).slice();
            draw([0, 0, width, height]);
        }
        function tell() {
            const inside = mask.reduce((sum, value) => sum + value, 0) / (255 * mask.length);
            said.textContent = `${Math.round(100 * inside)} % of the photo is covered`;
        }

        // ------------------------------------------------------------------------ to and from Python

        let waits = false, mine = null;
        function send() {
            waits = false;
            mine = new DataView(mask.slice().buffer);
            model.set("values", mine);
            model.set("painted", [model.get("edition")[0], strokes.at(-1)?.number ?? 0]);
            model.save_changes();
        }
        function sendSoon() {  // at once a frame: newer messages wait until the kernel has answered
            if (!waits) requestAnimationFrame(() => waits && send());
            waits = true;
        }
        function sendAll() {
            if (waits) send();
            else model.save_changes();
        }
        model.on("change:values", () => { if (model.get("values") !== mine) load(); });
        model.on("change:photo", load);
        model.on("change:edition", () => {
            load();
            const missed = strokes.filter(({ number }) => number > model.get("edition")[1]);
            missed.forEach(stroke => draw(paint(mask, [height, width], stroke)));
            if (missed.length) sendSoon();
        });

        // ---------------------------------------------------------------------------- brush and frame

        function stroke(from, to) {
            const number = 1 + Math.max(model.get("painted")[1], strokes.at(-1)?.number ?? 0);
            strokes.push({
                number, from: inMask(from), to: inMask(to), radius: radius(),
                soft: model.get("softness"), erase: model.get("erase"),
            });
            if (strokes.length > KEPT) strokes.shift();
            draw(paint(mask, [height, width], strokes.at(-1)));
            sendSoon();
        }
        function boxTo(point) {
            const xs = [corner[0], point[0]], ys = [corner[1], point[1]];
            return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
        }
        function frameTo(point) {  // the rectangle is drawn: if it is one
            const [left, top, right, bottom] = boxTo(point);
            corner = null;
            if ((right - left) * width < 2 || (bottom - top) * height < 2) return;
            model.set("rectangle", [left, top, right, bottom]);
            model.save_changes();
        }
        function move(point) {
            pen = point.map(within);
            shown = true;
            show();
        }
        function show() {
            const brush = isBrush(), erases = model.get("erase");
            const box = corner ? boxTo(pen) : model.get("rectangle");
            const across = brush ? 2 * model.get("radius") * Math.min(height, width) / width : 0;
            canvas.setAttribute("aria-label", LABELS[model.get("mode")]);
            ring.hidden = !shown;
            ring.className = `nst-board-ring nst-${brush ? (erases ? "erases" : "paints") : "points"}`;
            ring.style.cssText = `left: ${100 * pen[0]}%; top: ${100 * pen[1]}%; ` +
                (brush ? `width: ${100 * across}%` : "");
            frame.hidden = brush || box.length === 0;
            if (frame.hidden) return;
            const [left, top, right, bottom] = box.map(fraction => 100 * fraction);
            frame.style.cssText =
                `left: ${left}%; top: ${top}%; right: ${100 - right}%; bottom: ${100 - bottom}%`;
        }
        for (const name of ["radius", "erase", "rectangle", "size"]) model.on(`change:${name}`, show);
        model.on("change:mode", () => { corner = drag = null; show(); });

        // ------------------------------------------------------------------------ mouse, pen and touch

        function place(event) {
            const box = canvas.getBoundingClientRect();
            return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
        }
        canvas.addEventListener("pointerdown", event => {
            if (event.button !== 0 || !event.isPrimary) return;
            event.preventDefault();
            canvas.setPointerCapture(event.pointerId);
            canvas.focus({ preventScroll: true });
            drag = { id: event.pointerId, last: place(event) };
            move(drag.last);
            if (!isBrush()) { corner = pen; return show(); }
            model.set("painting", true);
            stroke(drag.last, drag.last);
        });
        canvas.addEventListener("pointermove", event => {
            if (drag && event.pointerId !== drag.id) return;
            if (drag && isBrush()) {
                for (const step of event.getCoalescedEvents?.() ?? []) advance(place(step));
                advance(place(event));
            }
            move(place(event));
        });
        function advance(to) {
            if (to[0] === drag.last[0] && to[1] === drag.last[1]) return;
            stroke(drag.last, to);
            drag.last = to;
        }
        function release(event) {
            if (event.pointerId !== drag?.id) return;
            drag = null;
            if (!isBrush()) {
                if (event.type === "pointerup") frameTo(pen);
                corner = null;
                return show();
            }
            model.set("painting", false);
            sendAll();
            tell();
        }
        canvas.addEventListener("pointerup", release);
        canvas.addEventListener("pointercancel", release);
        canvas.addEventListener("pointerleave", () => { shown = drag !== null; show(); });
        canvas.addEventListener("focus", () => { shown = true; show(); });
        canvas.addEventListener("blur", () => { shown = false; show(); });

        // JupyterLab takes keys from the document on their way down, as commands to the notebook:
        // so they are answered, and end, before that.
        function key(event) {
            if (event.target !== canvas || event.ctrlKey || event.altKey || event.metaKey) return;
            event.stopPropagation();
            const direction = STEPS[event.key];
            const pixels = (isBrush() ? radius() / 2 : Math.min(height, width) / 20)
                / (event.shiftKey ? 5 : 1);
            if (direction) {
                move([pen[0] + direction[0] * pixels / width, pen[1] + direction[1] * pixels / height]);
            } else if (event.key === " " || event.key === "Enter") press();
            else if (event.key === "Escape") { corner = null; show(); }
            else return;
            event.preventDefault();
        }
        function press() {
            move(pen);
            if (isBrush()) {
                stroke(pen, pen);
                tell();
            } else if (corner) frameTo(pen);
            else corner = pen;
            show();
        }
        window.addEventListener("keydown", key, true);
        load();
        show();
        return () => {
            window.removeEventListener("keydown", key, true);
            URL.revokeObjectURL(url);
        };
    } };
    """)

    _css = """
    .nst-board { position: relative; margin: 4px; overflow: hidden; border-radius: 4px; }
    .nst-board [hidden] { display: none; }
    .nst-board img, .nst-board canvas { position: absolute; inset: 0; width: 100%; height: 100%; }
    .nst-board canvas { cursor: crosshair; touch-action: none; outline: none; }
    .nst-board:focus-within {
        box-shadow: 0 0 0 2px var(--jp-layout-color1, #fff), 0 0 0 4px var(--jp-brand-color1, #1976d2);
    }
    .nst-board-ring, .nst-board-frame { position: absolute; box-sizing: border-box; pointer-events: none; }
    .nst-board-ring {
        aspect-ratio: 1; transform: translate(-50%, -50%); border: 2px solid #fff; border-radius: 50%;
        box-shadow: 0 0 0 1px #111, inset 0 0 0 1px #111;
    }
    .nst-board-ring.nst-erases { border-style: dashed; }
    .nst-board-ring.nst-points { width: 12px; }
    .nst-board-ring::before {
        content: "+"; position: absolute; left: 50%; top: 50%; transform: translate(-50%, -50%);
        color: #fff; font: bold 16px/1 sans-serif; text-shadow: 0 0 2px #000, 0 0 2px #000;
    }
    .nst-board-ring.nst-erases::before { content: "−"; }
    .nst-board-ring.nst-points::before { content: none; }
    .nst-board-frame {
        border: 2px dashed #fff; outline: 1px solid #111; box-shadow: 0 0 0 9999px rgb(0 0 0 / 35%);
    }
    .nst-board-said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
    """

    def __init__(self, photo: Tensor, mask: Tensor | None = None, width: int = 420) -> None:
        WIDTHS.check("width", width)
        self._painters: list[Callable[[], None]] = []
        self._drawers: list[Callable[[], None]] = []
        self._received: bytes | None = None  # the last mask that the page sent
        super().__init__()
        self.set_trait("width", width)
        self.show(photo, mask)
        self.add_class("nst-mask-brush")

    # -------------------------------------------------------------------------------- from Python

    @property
    def mask(self) -> Tensor:
        """The mask, (1, 1, H, W) in [0, 1] at ``size``: 1 where all is painted."""
        values = torch.frombuffer(bytearray(self.values), dtype=torch.uint8)
        return values.view(1, 1, *self.size).float() / 255

    def take(self, mask: Tensor) -> None:
        """Set the mask: (H, W) or (1, 1, H, W), of any size; the page shows it at once.

        Values are floats in [0, 1], or booleans. Where the size is the brush's own they are kept to
        a 255th; otherwise they are resized, as photos are.

        Raises:
            ValueError, TypeError: it is no such tensor; the mask is then as it was.

        Example:
            >>> brush = MaskBrush(torch.rand(1, 3, 4, 6))
            >>> brush.take(torch.eye(4, 6))
            >>> torch.equal(brush.mask[0, 0], torch.eye(4, 6))
            True
        """
        self.values = _bytes(mask, self.size)

    def clear(self) -> None:
        """Take the mask off the whole photo."""
        self.values = bytes(len(self.values))

    def invert(self) -> None:
        """Make outside what was inside, and inside what was outside."""
        self.values = bytes(255 - value for value in self.values)

    def show(self, photo: Tensor, mask: Tensor | None = None) -> None:
        """Show another photo, under a mask of its own; the rectangle goes.

        Raises:
            ValueError, TypeError: an argument is wrong; all is then as it was.

        Example:
            >>> brush = MaskBrush(torch.rand(1, 3, 4, 6))
            >>> brush.show(torch.rand(1, 3, 1024, 2048))
            >>> brush.size
            (256, 512)
        """
        images.check_image("photo", photo)
        height, width = photo.shape[2:]
        scale = min(1, LONGEST / max(height, width))
        size = max(1, round(height * scale)), max(1, round(width * scale))
        values = bytes(size[0] * size[1]) if mask is None else _bytes(mask, size)
        with self.hold_sync():
            self.set_trait("size", size)
            self.set_trait("photo", preview(photo))
            self.rectangle = []
            self.values = values

    def on_paint(self, follower: Callable[[], None]) -> None:
        """Call ``follower`` when the user has painted: during a stroke, and at its end.

        During a stroke, ``painting`` is True, and the page waits for the answer before it tells of
        more. What Python sets calls nobody.
        """
        self._painters.append(follower)

    def on_rectangle(self, follower: Callable[[], None]) -> None:
        """Call ``follower`` when the user has drawn a rectangle; what Python sets calls nobody."""
        self._drawers.append(follower)

    @traitlets.observe("values")
    def _count(self, change: Any) -> None:
        if change["new"] is not self._received:
            self.edition = [self.edition[0] + 1, self.painted[1]]

    # ------------------------------------------------------------------------------ from the page

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page sends, and call who follows; ipywidgets calls this."""
        state = dict(sync_data)
        if state.get("painted", self.edition)[0] != self.edition[0]:  # on a mask that is no more
            del state["painted"]
            state.pop("values", None)
        if "values" in state:
            state["values"] = self._received = bytes(state["values"])
        super().set_state(state)
        if "values" in state or state.get("painting") is False:
            _call(self._painters)
        if state.get("rectangle"):
            _call(self._drawers)

    # ------------------------------------------------------------------------------------- checks

    @traitlets.validate("mode")
    def _check_mode(self, proposal: Any) -> str:
        mode: str = proposal["value"]
        if mode not in MODES:
            raise ValueError(f"mode is {mode!r}; it takes one of: {', '.join(MODES)}")
        return mode

    @traitlets.validate("rectangle")
    def _check_rectangle(self, proposal: Any) -> list[float]:
        box: list[float] = proposal["value"]
        if box and not _is_box(box):
            raise ValueError(
                f"rectangle is {box}; it takes left, top, right and bottom as fractions of the "
                "photo, left < right and top < bottom, or nothing"
            )
        return box


def _call(followers: Sequence[Callable[[], None]]) -> None:
    for follower in followers:
        follower()


def _is_box(box: Sequence[float]) -> bool:
    """Whether these are a rectangle's left, top, right and bottom."""
    return len(box) == 4 and 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1


def _bytes(mask: Tensor, size: tuple[int, int]) -> bytes:
    """Return a mask as one byte a pixel, resized to (H, W) where it is of another size."""
    if not isinstance(mask, Tensor) or not (mask.is_floating_point() or mask.dtype == torch.bool):
        found = f"a tensor of {mask.dtype}" if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(f"mask is {found}; it takes a tensor of floats or booleans")
    if mask.numel() == 0 or not (mask.ndim == 2 or (mask.ndim == 4 and mask.shape[:2] == (1, 1))):
        raise ValueError(f"mask has shape {tuple(mask.shape)}; it takes (H, W) or (1, 1, H, W)")
    values = mask.detach().float().cpu().view(1, 1, *mask.shape[-2:])
    low, high = (float(value) for value in values.aminmax())
    if not (low >= 0 and high <= 1):  # NaN fails both comparisons, so it is refused too
        raise ValueError(f"mask has values from {low:g} to {high:g}; they must lie in [0, 1]")
    levels = (images.resize(values, size) * 255).round().to(torch.uint8)
    return levels.numpy().tobytes()
