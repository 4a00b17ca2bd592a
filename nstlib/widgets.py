"""Live controls for notebooks: the lab of notebook 01, and small sliders over any function.

Widgets only wire: what is computed lives in the methods' modules, and what is drawn in pure
functions, so that a plain cell, or a test, can draw the same without controls.

A long run has its own thread, which writes to widgets that only show something (pictures, text, a
progress bar) and reads from those that the user moves. That division is what makes it safe: no
widget is written from two sides. A task on an event loop would not do: any cell that runs holds up
the kernel's, and JupyterLab sends what the user moves through a second one (a subshell), so there
is no one loop to come back to. What a widget shows leaves through a queue of the kernel's that
takes messages from any thread.
"""

from __future__ import annotations

import atexit
import dataclasses
import html
import inspect
import io
import itertools
import math
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import ipywidgets
from torch import Tensor

from nstlib import gatys, images
from nstlib.config import Range, data_dir
from nstlib.encoders import Encoder, check_taps, load_encoder
from nstlib.errors import NstError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What the user's own choices can bring about: told in one sentence. In a handler anything else is
# a defect of ours, and is not hidden.
_USERS_ERRORS = (ValueError, TypeError, ArithmeticError, MemoryError, OSError, NstError)


# ------------------------------------------------------------------------------------- loss curves

# Okabe and Ito's palette, which colour-blind readers can tell apart; the dashes say the same again.
_LINES = {
    "content": ("content", "#0072B2", "-"),
    "style": ("style", "#D55E00", "--"),
    "tv": ("total variation", "#009E73", "-."),
    "total": ("total", "#000000", ":"),
}


@dataclass(frozen=True)
class Record:
    """What is kept of a step when its picture is let go; see :class:`nstlib.gatys.Step`."""

    index: int
    losses: Mapping[str, float]
    weighted: Mapping[str, float]
    moving: Mapping[str, float]  # the weights and the learning rate of this step


def draw_losses(steps: Sequence[gatys.Step | Record], weighted: bool = True) -> Figure:
    """Draw the losses of a run over its steps, on a logarithmic scale.

    Weighted, each curve is what its term adds to the total, which is what the optimiser sees.
    Unweighted, each has a unit of its own: compare their trends, not their heights.

    Args:
        steps: of :func:`nstlib.gatys.optimize`, in order; none draws the empty axes.
        weighted: draw each loss times its weight, and their total; else the bare losses.

    Example:
        >>> draw_losses([]).axes[0].get_xlabel()
        'step'
    """
    from matplotlib.figure import Figure  # not pyplot, which would keep the figure

    # White, so that it reads on dark pages too. Margins by hand: Matplotlib's own layout takes
    # longer than all the drawing.
    figure = Figure(figsize=(3.8, 3.4), dpi=150, facecolor="white")
    axes = figure.add_axes((0.17, 0.13, 0.78, 0.73))
    at = [step.index for step in steps]
    for name, (label, colour, dashes) in _LINES.items():
        values = [(step.weighted if weighted else step.losses).get(name, 0.0) for step in steps]
        # Nought has no place on a logarithmic axis: a term that is off has no curve, and the
        # content loss of a run that starts at the content begins at its second step.
        seen = [value if value > 0 else math.nan for value in values]
        if not all(map(math.isnan, seen)):
            marker = "o" if len(seen) == 1 else None
            axes.plot(at, seen, dashes, color=colour, label=label, lw=1.8, marker=marker, ms=4)
    axes.set_yscale("log")
    axes.minorticks_off()  # they would take half of the time that drawing takes
    axes.set_xlim(0, max([10, *at]))
    axes.set_xlabel("step", labelpad=1)
    axes.set_ylabel("weight × loss" if weighted else "loss", labelpad=1)
    axes.grid(color="#DDDDDD", lw=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        # Above, where it hides no curve.
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)
    else:
        axes.set_ylim(1e-2, 1e2)
        axes.text(0.5, 0.5, "no steps yet", ha="center", color="#666666", transform=axes.transAxes)
    return figure


def figure_bytes(figure: Figure) -> bytes:
    """Return a Matplotlib figure as the bytes of a PNG file.

    Example:
        >>> figure_bytes(draw_losses([]))[1:4]
        b'PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


# ---------------------------------------------------------------------------------------- controls

_DECADES = 3  # that the slider of a weight spans, to each side of where it begins
_LABEL = {"description_width": "150px"}
_FILL = {"width": "auto", "flex": "1 1 auto"}


@dataclass(frozen=True)
class Control:
    """One thing that the user can move: the widget to show, and how to read it."""

    view: Any
    inputs: tuple[Any, ...]  # the widgets whose ``value`` the user moves
    read: Callable[[], Any]

    def observe(self, callback: Callable[[Any], None]) -> None:
        """Call back when the user has moved it."""
        for widget in self.inputs:
            widget.observe(callback, names="value")


def _plain(widget: Any) -> Control:
    return Control(widget, (widget,), lambda: widget.value)


def full_words(name: str) -> str:
    """Return a parameter's name as a label.

    Example:
        >>> full_words("tv_weight")
        'Total variation weight'
    """
    words = ["total variation" if word == "tv" else word for word in name.split("_")]
    return " ".join(words).capitalize()


def range_control(name: str, of: Range, value: float, live: bool = False) -> Control:
    """Return the slider of a number.

    What spans decades moves in powers of ten. If it may also be 0, which no power of ten is, it has
    an off switch, and its slider spans three decades to each side of ``value``.

    Example:
        >>> weight = range_control("style_weight", Range(0, 1e12, log=True), 1e3)
        >>> slider, switch = weight.inputs
        >>> slider.min, slider.max, weight.read()
        (0.0, 6.0, 1000.0)
        >>> switch.value = False
        >>> weight.read()
        0.0
    """
    options = {"description": full_words(name), "tooltip": of.meaning, "continuous_update": live}
    options |= {"style": _LABEL, "layout": _FILL}
    if not of.log:
        whole = isinstance(value, int)
        kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        step = 1 if whole else (of.high - of.low) / 100
        return _plain(kind(value=value, min=of.low, max=of.high, step=step, **options))
    begin, high = value or 1.0, math.log10(of.high)
    low = math.log10(of.low) if of.low > 0 else round(math.log10(begin)) - _DECADES
    if of.low == 0:
        high = min(high, low + 2 * _DECADES)
    slider = ipywidgets.FloatLogSlider(
        value=begin, min=low, max=high, step=0.1, readout_format=".3r", **options
    )
    return _with_switch(slider, value > 0) if of.low == 0 else _plain(slider)


def _with_switch(slider: Any, on: bool) -> Control:
    switch = ipywidgets.Checkbox(value=on, description="on", indent=False, layout={"width": "50px"})

    def enable(_: Any = None) -> None:
        slider.disabled = not switch.value

    enable()
    switch.observe(enable, names="value")
    view = ipywidgets.HBox([slider, switch], layout=_FILL)
    return Control(view, (slider, switch), lambda: slider.value if switch.value else 0.0)


def choice_control(name: str, choices: Sequence[Any], value: Any, live: bool = False) -> Control:
    """Return a slider over numbers, or a menu of words.

    Example:
        >>> choice_control("layer", ["relu1_1", "relu3_1"], "relu3_1").read()
        'relu3_1'
    """
    if value not in choices:
        raise ValueError(f"{name} begins at {value!r}; it takes {', '.join(map(repr, choices))}")
    options: dict[str, Any] = {"description": full_words(name), "style": _LABEL, "value": value}
    if all(isinstance(choice, (int, float)) for choice in choices):
        labelled = [(f"{choice:g}", choice) for choice in choices]
        options |= {"options": labelled, "continuous_update": live, "layout": _FILL}
        return _plain(ipywidgets.SelectionSlider(**options))
    return _plain(
        ipywidgets.Dropdown(options=[(str(choice), choice) for choice in choices], **options)
    )


def _sentence(error: BaseException) -> str:
    """Return an error as one line for the page; what it quotes is the user's, and is escaped."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f'<div role="alert" style="line-height: 1.5">⚠ {html.escape(text[:1].upper() + text[1:])}.</div>'


_CONTAINED = {"object_fit": "contain", "object_position": "center top", "margin": "2px 0"}


def _image(data: bytes, **layout: str) -> Any:
    """Return an image widget whose size on the page does not follow its file's.

    The widget has no alt text (and its view fails when given a tooltip), so what a picture shows is
    always said in the text beside it too.
    """
    kind = "png" if data[1:4] == b"PNG" else "jpeg"
    return ipywidgets.Image(value=data, format=kind, layout=_CONTAINED | layout)


# ----------------------------------------------------------------------------------------- explore


class Explorer:
    """Controls over a picture; see :func:`explore`.

    ``controls`` holds each :class:`Control` by name, ``picture`` is the image widget, ``message``
    the line below it, ``result`` what was computed last.
    """

    def __init__(
        self,
        compute: Callable[..., Any],
        draw: Callable[[Any], Tensor | Figure | images.Picture],
        controls: Mapping[str, Control],
        caption: str,
    ) -> None:
        self._compute, self._draw = compute, draw
        self.controls = dict(controls)
        self.result = compute(**self.params())
        self.picture = _image(_drawn_bytes(draw(self.result)), max_width="100%")
        self.message = ipywidgets.HTML()
        views = [control.view for control in self.controls.values()]
        parts = [*views, self.picture, ipywidgets.HTML(html.escape(caption)), self.message]
        self.view = ipywidgets.VBox(parts, layout={"max_width": "900px"})
        self.view.add_class("nst-explorer")
        for control in self.controls.values():
            control.observe(self._update)

    def params(self) -> dict[str, Any]:
        """Return what the controls stand at."""
        return {name: control.read() for name, control in self.controls.items()}

    def _update(self, _: Any = None) -> None:
        try:
            self.result = self._compute(**self.params())
            self.picture.value = _drawn_bytes(self._draw(self.result))
            self.message.value = ""
        except _USERS_ERRORS as error:
            self.message.value = _sentence(error)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)


def explore(
    compute: Callable[..., Any],
    draw: Callable[[Any], Tensor | Figure | images.Picture],
    caption: str = "",
    live: bool = False,
    **controls: Sequence[Any] | Range,
) -> Explorer:
    """Show ``draw(compute(...))`` under controls for the parameters of ``compute``.

    Both are plain functions, so that a cell without controls, and a test, can call them too.

    Args:
        compute: its annotated parameters become controls: ``Annotated[float, Range(...)]``
            sliders, ``Literal[...]`` menus, ``bool`` boxes to tick. They begin at their defaults.
        draw: makes an image, a Matplotlib figure or the picture of :func:`nstlib.images.compare`
            of what ``compute`` returns.
        caption: what the picture shows, in words.
        live: compute while a slider moves, not when it is let go: for under 50 ms.
        controls: a range, or the values to choose from, in place of an annotation.

    Raises:
        TypeError: a parameter has neither a range nor choices, or ``compute`` lacks it.

    Example:
        >>> import torch
        >>> def grey(level: Annotated[float, Range(0, 1, "how bright")] = 0.5) -> Tensor:
        ...     return torch.full((1, 3, 8, 8), level)
        >>> explorer = explore(grey, lambda image: image, "a grey square")
        >>> explorer.controls["level"].view.value = 1.0
        >>> explorer.result.max().item()
        1.0
    """
    parameters = inspect.signature(compute).parameters
    unknown = [name for name in controls if name not in parameters]
    if unknown:
        raise TypeError(f"compute takes {', '.join(parameters)}; it lacks {', '.join(unknown)}")
    hints = get_type_hints(compute, include_extras=True)
    made = {
        name: _control_of(name, controls.get(name, hints.get(name)), parameter.default, live)
        for name, parameter in parameters.items()
    }
    return Explorer(compute, draw, made, caption)


def _control_of(name: str, wanted: Any, default: Any, live: bool) -> Control:
    """Return the control of one parameter, by its annotation or by what the caller gave."""
    missing = default is inspect.Parameter.empty
    if get_origin(wanted) is Annotated:
        ranges = [extra for extra in get_args(wanted) if isinstance(extra, Range)]
        wanted = ranges[0] if ranges else get_args(wanted)[0]
    if get_origin(wanted) is Literal:
        wanted = get_args(wanted)
    if isinstance(wanted, Range):
        return range_control(name, wanted, wanted.low if missing else default, live)
    if wanted is bool:
        value = False if missing else default
        return _plain(ipywidgets.Checkbox(value=value, description=full_words(name), style=_LABEL))
    if isinstance(wanted, (list, tuple)) and wanted:
        return choice_control(name, wanted, wanted[0] if missing else default, live)
    raise TypeError(f"{name} has no Range and no choices; annotate it, or pass {name}=[...]")


def _drawn_bytes(drawn: Tensor | Figure | images.Picture) -> bytes:
    """Return what was drawn as the bytes of a picture file."""
    if isinstance(drawn, Tensor):
        return images.to_jpeg_bytes(drawn)
    return drawn.data if isinstance(drawn, images.Picture) else figure_bytes(drawn)


# ---------------------------------------------------------------------------------- picture picker

_PICTURE_FILES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"),
    *(".gif", ".heic", ".heif", ".avif", ".bmp"),
)
_Loader = Callable[[], Tensor]


class PicturePicker:
    """One picture of the user's choice: one that ships, one of ``data/mine``, or an upload.

    ``image`` is the picture at all its pixels, ``name`` what it is called. A file that is no
    picture leaves both as they were, and is told of in a sentence.
    """

    def __init__(
        self, title: str, kind: str, shipped: Mapping[str, _Loader], first: str | Path | Tensor
    ) -> None:
        self._loaders = {**shipped, **_own_pictures()}
        self.name = self._add(first, f"the notebook's {kind}")
        self.image = self._loaders[self.name]()
        self.menu = ipywidgets.Dropdown(
            options=list(self._loaders), value=self.name, layout={"width": "auto"}
        )
        self.upload = ipywidgets.FileUpload(
            accept=",".join(_PICTURE_FILES),
            description="Upload",
            # A server takes no message above 10 MB, unless it is told to, and does not say so.
            tooltip=f"Your own {kind}, up to 10 MB; put a larger file into the folder data/mine",
            layout={"width": "auto"},
        )
        self.thumbnail = _image(self._thumbnail_bytes(), height="90px")
        self.message = ipywidgets.HTML()
        heading = ipywidgets.HTML(f"<b>{title}</b>")
        parts = [heading, self.thumbnail, self.menu, self.upload, self.message]
        self.view = ipywidgets.VBox(parts, layout={"width": "50%"})
        self._followers: list[Callable[[], None]] = []
        self.menu.observe(self._pick, names="value")
        self.upload.observe(self._receive, names="value")

    def on_change(self, follower: Callable[[], None]) -> None:
        """Call ``follower`` whenever another picture has been chosen."""
        self._followers.append(follower)

    def _add(self, first: str | Path | Tensor, name: str) -> str:
        """Make sure that the menu has what the notebook begins with; return its name there."""
        if isinstance(first, Tensor):
            self._loaders[name] = lambda: first
            return name
        if first not in self._loaders:
            self._loaders[Path(first).name] = partial(images.load_image, Path(first))
            return Path(first).name
        return str(first)

    def _pick(self, _: Any = None) -> None:
        try:
            self.image = self._loaders[self.menu.value]()
        except _USERS_ERRORS as error:  # a file of data/mine may be damaged, or gone
            self.message.value = _sentence(error)
            return
        self.name, self.message.value = self.menu.value, ""
        self.thumbnail.value = self._thumbnail_bytes()
        for follower in self._followers:
            follower()

    def _receive(self, _: Any = None) -> None:
        if not self.upload.value:
            return
        file = self.upload.value[0]
        stream = io.BytesIO(file["content"])
        stream.name = file["name"]  # what an error calls it
        try:
            image = images.load_image(stream)
        except _USERS_ERRORS as error:
            self.message.value = _sentence(error)
        else:
            self._loaders[file["name"]] = lambda: image
            # A menu that is given options goes to its first, which nobody picked.
            self.menu.unobserve(self._pick, names="value")
            self.menu.options, self.menu.value = list(self._loaders), file["name"]
            self.menu.observe(self._pick, names="value")
            self._pick()
        self.upload.value = ()  # so that the same file, mended, can be sent again

    def _thumbnail_bytes(self) -> bytes:
        return images.to_jpeg_bytes(_at_most(self.image, 320))


def _own_pictures() -> dict[str, _Loader]:
    """Return a loader for each picture in the user's own folder."""
    folder = data_dir() / "mine"
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    pictures = [file for file in files if file.suffix.lower() in _PICTURE_FILES]
    return {file.name: partial(images.load_image, file) for file in pictures}


def _at_most(image: Tensor, side: int) -> Tensor:
    """Return the picture, made smaller where its longer side is above ``side``."""
    height, width = image.shape[2:]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    return images.resize(image, (max(1, round(height * scale)), max(1, round(width * scale))))


# ----------------------------------------------------------------------------------------- the lab

_WEIGHTS = {"content_weight": "content", "style_weight": "style", "tv_weight": "tv"}  # their terms
_PREVIEW = 1024  # px: the longer side of what is sent to the page while a larger picture is made


class Throttle:
    """Draws so seldom that the run is not slowed: at most a twentieth of the time goes into it."""

    def __init__(self, period: float, share: float = 0.05) -> None:
        self._period, self._share, self._next = period, share, -math.inf

    def __call__(self, draw: Callable[[], None]) -> None:
        """Call ``draw``, unless it is too soon."""
        began = time.perf_counter()
        if began < self._next:
            return
        draw()
        ended = time.perf_counter()
        self._next = max(began + self._period, ended + (ended - began) / self._share)


class GatysLab:
    """The live lab of notebook 01: optimise a picture, watch it, and turn its weights meanwhile.

    The weights and the learning rate act from the next step of a run; everything else acts at the
    next Run. A cell that ends in a lab shows it; no run begins by itself.

    Args:
        content, style: where to begin: the name of a picture that ships, a file, or an image.
        encoder: a name for :func:`~nstlib.encoders.load_encoder`, or an encoder.
        size: the shorter side of the picture to make; the style is brought to the same.
        folder: where Save puts pictures.
        settings, changes: where the controls begin; see :class:`nstlib.gatys.Settings`. What has no
            control stays as it is there.

    Example:
        >>> lab = GatysLab("coffee", "vortex", size=48, steps=2)
        >>> lab.start()
        >>> lab.wait()
        True
        >>> len(lab.history), tuple(lab.image.shape)
        (2, (1, 3, 48, 72))
    """

    _starting = threading.Lock()
    _latest: weakref.ref[GatysLab] | None = None  # the lab that runs, or ran last

    def __init__(
        self,
        content: str | Path | Tensor = "astronaut",
        style: str | Path | Tensor = "vortex",
        encoder: str | Encoder = "slim",
        size: int = 256,
        folder: str | Path = "out",
        settings: gatys.Settings | None = None,
        **changes: Any,
    ) -> None:
        self._base = gatys.changed(settings or gatys.Settings(), changes)
        self._encoder = load_encoder(encoder) if isinstance(encoder, str) else encoder
        self._folder = Path(folder)

        self.history: list[Record] = []
        self.image: Tensor | None = None  # the last good picture, (1, 3, H, W)
        self.error: Exception | None = None  # what ended the last run, if anything went wrong
        self._first = (0.0, 0.0)  # after the run's first step: seconds, and share of the work
        self._recipe: dict[str, Any] = {}  # of ``image``
        self._planned: dict[str, Any] = {}  # of the run under way, until it has a picture
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._drawing = threading.Lock()  # the curves are drawn by the run and by their switch

        photos = {name: partial(images.sample, name) for name in images.sample_names()}
        paintings = {name: partial(images.style, name) for name in images.style_names()}
        self.content = PicturePicker("Photo", "photo", photos, content)
        self.style = PicturePicker("Style", "painting", paintings, style)
        self.moving = {
            name: range_control(name, gatys.RANGES[name], getattr(self._base, name), live=True)
            for name in (*_WEIGHTS, "learning_rate")
        }
        self.setup = _setup_controls(self._base, self._encoder, size)
        self._make_displays()
        self.view = self._laid_out()

    # -------------------------------------------------------------------------- what the user does

    @property
    def running(self) -> bool:
        """Whether a run is under way."""
        return self._thread is not None and self._thread.is_alive()

    def settings(self) -> gatys.Settings:
        """Return the settings that the controls stand at.

        Raises:
            ValueError: they do not go together; the message says why.
        """
        chosen = {name: control.read() for name, control in {**self.moving, **self.setup}.items()}
        del chosen["size"]
        if chosen["init"] == "last":
            if self.image is None:
                raise ValueError("there is no last picture yet; begin with the photo, or noise")
            chosen["init"] = self.image
        return gatys.changed(self._base, chosen)

    def start(self, _: Any = None) -> None:
        """Begin a run, as Run does; nothing happens while one is under way."""
        with GatysLab._starting:
            if self.running and self.run_button.disabled:
                return
            self.wait()  # a run that has enabled Run again is at its very end
            other = GatysLab._latest and GatysLab._latest()
            if other and other is not self:  # of a cell that was run again: it is seen no more
                other.stop()
                other.wait()
            GatysLab._latest = weakref.ref(self)
            self._stop.clear()
            self.message.value = ""
            self._set_buttons(running=True)
            # A daemon that is stopped at exit: so the kernel's end does not wait for all its steps,
            # and no step is cut short by an interpreter that is being torn down.
            self._thread = threading.Thread(target=self._run, name="nstlib-lab", daemon=True)
            self._thread.start()

    def stop(self, _: Any = None) -> None:
        """End the run after the step that is under way, as Stop does."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the run, at most ``timeout`` seconds; return whether it has ended."""
        if self._thread is not None:
            self._thread.join(timeout)
        return not self.running

    def save(self, _: Any = None) -> Path | None:
        """Write the picture with its recipe under a name that is free, as Save does."""
        try:
            if self.image is None:
                raise ValueError("there is no picture yet; press Run first")
            stem = f"{Path(self._recipe['content']).stem}-{Path(self._recipe['style']).stem}"
            path = images.save_image(self.image, _free_path(self._folder, stem), self._recipe)
        except _USERS_ERRORS as error:
            self.message.value = _sentence(error)
            return None
        place = html.escape(str(path.resolve()))
        saved = f"Saved, {_pixels(self.image)}: <code>{place}</code>"
        self.message.value = f'<div role="status" style="line-height: 1.5">{saved}</div>'
        return path

    # ---------------------------------------------------------------------------- the run's thread

    def _run(self) -> None:
        """Run, and say how it ended: the whole life of the run's thread."""
        atexit.register(self._halt)
        began = time.perf_counter()
        self.error, self.history = None, []
        try:
            self._optimise()
        except gatys.DivergenceError as error:
            self.error, self.image = error, error.image.cpu()
            if not self.history:
                self._recipe = self._planned
        except Exception as error:  # whatever it is: in a thread nobody else would hear of it
            self.error = error
        finally:
            self._show_end(time.perf_counter() - began)
            self._set_buttons(running=False)
            atexit.unregister(self._halt)

    def _optimise(self) -> None:
        """Do the steps, each with what the sliders stand at as it begins."""
        self._say("Preparing …")
        settings, size = self.settings(), self.setup["size"].read()
        self._planned = self._first_recipe(settings, size)
        content = images.resize(self.content.image, size)
        style = images.resize(self.style.image, size)
        run = gatys.optimize(content, style, self._encoder, settings)
        picture_throttle, curves_throttle = Throttle(0.1), Throttle(0.5)
        while not self._stop.is_set():
            moving = {name: control.read() for name, control in self.moving.items()}
            for name, value in moving.items():
                setattr(settings, name, value)
            step = next(run, None)
            if step is None:
                break
            self._keep(step, moving)
            picture_throttle(partial(self._draw_step, step, settings.ladder))
            curves_throttle(self._draw_curves)

    def _first_recipe(self, settings: gatys.Settings, size: int) -> dict[str, Any]:
        """Return what a picture says of how it was made, as far as it is known before a step."""
        values = {item.name: getattr(settings, item.name) for item in dataclasses.fields(settings)}
        if isinstance(settings.init, Tensor):
            values["init"] = "the picture of the run before"
        return {
            "method": "gatys",
            "content": self.content.name,
            "style": self.style.name,
            "encoder": self._encoder.name,
            "encoder_weights": self._encoder.weights,
            "size": size,
            "settings": values,
            "moved": [],  # [from which step, what, to which value]
            "steps_done": 0,
        }

    def _keep(self, step: gatys.Step, moving: Mapping[str, float]) -> None:
        """Record a step, and in the recipe what was moved since the one before."""
        before = self.history[-1].moving if self.history else moving
        moved = [
            [step.index, name, moving[name]] for name in moving if moving[name] != before[name]
        ]
        if not self.history:  # only now: a run that fails before has left the old picture
            self._recipe = self._planned
        self.image = step.image
        self.history.append(Record(step.index, step.losses, step.weighted, moving))
        self._recipe["moved"] += moved
        self._recipe["steps_done"] = step.index

    def _halt(self) -> None:
        """End the run before the interpreter ends."""
        self.stop()
        self.wait(10)

    # ------------------------------------------------------------------------------- what is shown

    def _say(self, text: str) -> None:
        self.status.value = f'<div role="status" style="line-height: 1.5">{text}</div>'

    def _draw_step(self, step: gatys.Step, ladder: int) -> None:
        self._draw_picture(step.image)
        self._draw_terms()
        done = work_done(step.index, step.steps, ladder)
        self.progress.value = done
        if step.index == 1:  # it takes longer, with all that is made ready in it
            self._first = step.seconds, done
        spent, gained = step.seconds - self._first[0], done - self._first[1]
        left = f", about {_duration(spent / gained * (1 - done))} left" if gained else ""
        self._say(
            f"Step {step.index} of {step.steps}{left}<br>{_pixels(step.image)} · "
            f"loss evaluated {_times(step.evaluations)}, in total {_short(step.weighted['total'])}"
        )

    def _show_end(self, seconds: float) -> None:
        """Show how a run ended, however it did, and its last picture."""
        done = len(self.history)
        steps = self._recipe["settings"]["steps"] if done else 0
        if done:
            assert self.image is not None
            self._draw_picture(self.image)
            self._draw_terms()
            self._draw_curves()
        if self.error is not None:
            self.message.value = _sentence(self.error)
            self._say(f"Ended after step {done} of {steps}." if done else "Not run.")
        elif not done:
            self._say("Stopped before the first step.")
        elif done < steps:
            self._say(f"Stopped after step {done} of {steps}, {_duration(seconds)}.")
        else:
            self.progress.value = 1
            self._say(f"Done: {steps} steps in {_duration(seconds)}.")

    def _draw_picture(self, image: Tensor) -> None:
        self.picture.value = images.to_jpeg_bytes(_at_most(image, _PREVIEW))

    def _draw_terms(self) -> None:
        last = self.history[-1]
        for name, term in _WEIGHTS.items():
            self.terms[
                name
            ].value = f"× loss {_short(last.losses[term])} = <b>{_short(last.weighted[term])}</b>"

    def _draw_curves(self, _: Any = None) -> None:
        with self._drawing:
            self.curves.value = figure_bytes(draw_losses(self.history, self.weighted.value))

    def _draw_photo(self) -> None:
        """Show the photo where the result will be, unless a result is there."""
        if self.image is None and not self.running:
            self._draw_picture(self.content.image)

    def _set_buttons(self, running: bool) -> None:
        self.run_button.disabled = running
        self.stop_button.disabled = not running
        self.save_button.disabled = running or self.image is None

    # ------------------------------------------------------------------------------ how it is made

    def _make_displays(self) -> None:
        button = partial(ipywidgets.Button, layout={"width": "104px"})
        self.run_button = button(description="Run", icon="play", button_style="primary")
        self.stop_button = button(description="Stop", icon="stop")
        self.save_button = button(description="Save", icon="save")
        self.run_button.tooltip = "Begin a new run"
        self.stop_button.tooltip = "End the run after the step under way"
        self.save_button.tooltip = "Write the picture, at all its pixels, with its recipe"
        self._set_buttons(running=False)
        self.progress = ipywidgets.FloatProgress(max=1, layout={"width": "auto"})
        self.status, self.message = ipywidgets.HTML("Press Run."), ipywidgets.HTML()
        self.terms = {name: ipywidgets.HTML(layout={"width": "170px"}) for name in _WEIGHTS}

        photo = images.to_jpeg_bytes(_at_most(self.content.image, _PREVIEW))
        self.picture = _image(photo, width="100%", max_height="460px")
        self.curves = _image(figure_bytes(draw_losses([])), width="100%")
        self.weighted = ipywidgets.ToggleButtons(
            options={"weight × loss": True, "loss": False},
            tooltips=["What each term adds to the total", "The bare losses: compare their trends"],
            style={"button_width": "auto"},
        )
        self.run_button.on_click(self.start)
        self.stop_button.on_click(self.stop)
        self.save_button.on_click(self.save)
        self.weighted.observe(self._draw_curves, names="value")
        self.content.on_change(self._draw_photo)

    def _laid_out(self) -> Any:
        """Put the parts in their places, and name them for style sheets and tests."""
        row, column = ipywidgets.HBox, ipywidgets.VBox
        wrapping = partial(row, layout={"flex_flow": "row wrap"})
        setup = {name: control.view for name, control in self.setup.items()}
        buttons = [self.run_button, self.stop_button, self.save_button]
        layers = [ipywidgets.HTML("Style layers"), setup["style_taps"]]
        menus = [setup[name] for name in ("content_taps", "init", "optimizer")]
        numbers = [setup[name] for name in ("steps", "ladder", "size")]
        view = column(
            [
                wrapping(
                    [
                        column(
                            [self.picture, row(buttons), self.progress, self.status, self.message],
                            layout={"flex": "3 1 330px", "min_width": "0"},
                        ),
                        column(
                            [row([self.content.view, self.style.view]), self.curves, self.weighted],
                            layout={
                                "flex": "2 1 260px",
                                "max_width": "400px",
                                "margin": "0 0 0 10px",
                            },
                        ),
                    ]
                ),
                ipywidgets.HTML("<b>Act from the next step, also during a run</b>"),
                *(row([self.moving[name].view, self.terms[name]]) for name in _WEIGHTS),
                row(
                    [self.moving["learning_rate"].view, ipywidgets.HTML(layout={"width": "228px"})]
                ),
                ipywidgets.HTML("<b>Act at the next Run</b>"),
                wrapping([column(layers), column(menus), column(numbers)]),
            ],
            layout={"max_width": "1100px"},
        )
        named = {"lab": view, "picture": self.picture, "curves": self.curves}
        named |= {"run": self.run_button, "stop": self.stop_button, "save": self.save_button}
        named |= {"status": self.status, "message": self.message}
        named |= {"photo": self.content.view, "style": self.style.view}
        named |= {name: control.view for name, control in {**self.moving, **self.setup}.items()}
        for name, widget in named.items():
            widget.add_class(f"nst-{name.replace('_', '-')}")
        return view

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)


def _setup_controls(base: gatys.Settings, encoder: Encoder, size: int) -> dict[str, Control]:
    """Return the controls of what is settled when a run begins, by the names of Settings."""
    content, style = (_names(name, getattr(base, name)) for name in ("content_taps", "style_taps"))
    check_taps(encoder, content, "content_taps")
    check_taps(encoder, style, "style_taps")
    if len(content) != 1 or isinstance(base.init, Tensor):
        raise ValueError("the lab takes one of content_taps, and init 'content' or 'noise'")
    offered = [tap for tap in encoder.taps if tap.startswith("relu") or tap in (*content, *style)]
    layer = _menu(
        offered, content[0], "Content layer", "Deeper: where things are, not how they look"
    )
    inits = {"the photo": "content", "noise": "noise", "the last picture": "last"}
    optimizers = {"Adam": "adam", "L-BFGS": "lbfgs"}
    sizes = Range(
        gatys.SMALLEST_RUNG, 4096, "shorter side in pixels; twice as many, four times slower"
    )
    return {
        "style_taps": layer_boxes(offered, style),
        "content_taps": dataclasses.replace(layer, read=lambda: (layer.view.value,)),
        "steps": _number("Steps", gatys.RANGES["steps"], base.steps),
        "init": _menu(inits, base.init, "Begin with", "The last picture goes on where a run ended"),
        "ladder": _number("Ladder", gatys.RANGES["ladder"], base.ladder),
        "optimizer": _menu(
            optimizers, base.optimizer, "Optimiser", "L-BFGS takes several evaluations a step"
        ),
        "size": _number("Size (px)", sizes, size),
    }


def layer_boxes(offered: Sequence[str], chosen: Sequence[str]) -> Control:
    """Return boxes to tick, one for each layer, and a row for each block, as the network is built.

    (In a list, to choose several a key must be held down, which nobody tells.)

    Example:
        >>> layer_boxes(["relu1_1", "relu2_1", "relu2_2"], ["relu2_1"]).read()
        ('relu2_1',)
    """
    boxes = {
        tap: ipywidgets.Checkbox(
            value=tap in chosen, description=tap, indent=False, layout={"width": "78px"}
        )
        for tap in offered
    }
    blocks = itertools.groupby(boxes, key=lambda tap: tap.partition("_")[0])
    rows = [ipywidgets.HBox([boxes[tap] for tap in taps]) for _, taps in blocks]

    def read() -> tuple[str, ...]:
        ticked = tuple(tap for tap, box in boxes.items() if box.value)
        if not ticked:
            raise ValueError("no style layer is ticked; tick one or more")
        return ticked

    return Control(ipywidgets.VBox(rows), tuple(boxes.values()), read)


def _menu(options: Any, value: Any, label: str, tooltip: str) -> Control:
    return _plain(
        ipywidgets.Dropdown(options=options, value=value, **_labelled(label, tooltip, 92))
    )


def _number(label: str, of: Range, value: int) -> Control:
    options = _labelled(label, of.meaning, 58)
    return _plain(ipywidgets.BoundedIntText(value=value, min=of.low, max=of.high, **options))


def _labelled(label: str, tooltip: str, label_width: int) -> dict[str, Any]:
    # A menu with a label shows no tooltip of its own: the label carries it.
    return {
        "description": f'<span title="{html.escape(tooltip)}">{label}</span>',
        "description_allow_html": True,
        "style": {"description_width": f"{label_width}px"},
        "layout": {"width": f"{label_width + 112}px"},
    }


def _names(name: str, taps: gatys.Taps) -> list[str]:
    """Return the names of layers; the lab has no controls for a weight of each."""
    if isinstance(taps, (str, Mapping)):
        raise ValueError(f"{name} is {taps!r}; the lab takes names, as ('relu1_1', 'relu2_1')")
    return list(taps)


def work_done(index: int, steps: int, ladder: int) -> float:
    """Return how much of a run's work is done after ``index`` steps, 0 to 1.

    Each rung of the ladder has twice the pixels of the one before, and so twice the cost a step.

    Example:
        >>> work_done(50, 100, ladder=1), work_done(50, 100, ladder=2)
        (0.5, 0.3333333333333333)
    """
    rungs = index * ladder / steps
    whole = math.floor(rungs)
    return ((1 + rungs - whole) * 2.0**whole - 1) / (2.0**ladder - 1)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def _pixels(image: Tensor) -> str:
    height, width = image.shape[2:]
    return f"{width} × {height} px"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _duration(seconds: float) -> str:
    whole = math.ceil(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def _free_path(folder: Path, stem: str) -> Path:
    """Return a path, in the folder (made where it is missing), that no file has yet."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = (folder / f"{stem}-{number}.png" for number in itertools.count(1))
    return next(path for path in paths if not path.exists())
