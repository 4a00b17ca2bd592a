"""The lab of notebook 05: a clip in a style, how steady it is, and what that costs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ipywidgets
import torch
from torch import Tensor

from nstlib import flow, video
from nstlib.adain import ALPHA, AdaIN
from nstlib.flow import Method, check_method
from nstlib.images import at_size, positive
from nstlib.video.steadying import TEMPORAL_WEIGHT
from nstlib.widgets.clip_player import ClipPlayer
from nstlib.widgets.controls import Control, menu_control, plain, range_control
from nstlib.widgets.curves import figure_bytes
from nstlib.widgets.display import add_classes, attempt, image_widget, pixels, told
from nstlib.widgets.menu_keys import MenuKeys
from nstlib.widgets.nets import loaded_model
from nstlib.widgets.painted_clip import (
    Clip,
    Measures,
    PaintedClip,
    Params,
    compute,
    draw,
    footage_of,
)
from nstlib.widgets.pictures import (
    WRAPPING,
    free_path,
    save,
    save_button,
    style_picker,
    took,
)

ORIGINAL, ALONE, STEADY = "Original", "Frame by frame", "Steady"  # the clips that are shown
METHODS: dict[str, Method] = {"DIS": "dis", "Farnebäck": "farneback", "RAFT": "raft"}
BESIDE, STEADY_ONLY = "original | steady", "steady alone"  # what Save writes


@dataclass(frozen=True, eq=False)
class Result:
    """A steady clip, what it was made from, and how long that took."""

    params: Params
    frames: Sequence[Tensor]  # steady
    style: Tensor
    style_name: str
    alpha: float
    method: Method
    seconds: float


class VideoLab:
    """A clip in a style: as it is, frame by frame, and steady, side by side; with its measures.

    A cell that ends in a lab shows it. The motion is found once for each method, and the frames are
    painted once for each style and alpha that was kept: so the temporal weight and the mask are
    answered soonest. The curve has a point for each temporal weight that was visited with what else
    the controls stand at.

    Args:
        clip: made by :func:`nstlib.painting.clip`, and then its errors are measured by its true
            motion; a file; or images (1, 3, H, W), or one tensor of them all.
        style: where to begin: the name of a painting that ships, a file, or an image.
        model: a model, a file of its decoder, or None for the one that ships.
        temporal_weight, alpha: where the sliders begin.
        method: of the flow; RAFT is in the menu where its weights are found.
        masked: whether the picture before is blended in only where it is to be trusted.
        frames: of the clip, at most.
        size: the shorter side of its frames; those of a made clip keep theirs, and none is enlarged.
        style_size: the shorter side at which paintings are looked at; none is enlarged.
        rate: frames a second, where a file does not say.
        folder: where Save puts clips.

    ``frames`` is the steady clip that is shown, ``measures`` what was measured of it, ``seconds`` how
    long it took. ``player`` shows the clips; ``controls`` holds each :class:`Control` by name.

    Raises:
        ValueError, TypeError: an argument is wrong.
        VideoError, WeightsError, ImageError: a file that the lab is to begin with cannot be read.
        ImportError: OpenCV is missing, which finds the motion.
    """

    measures: Measures

    def __init__(
        self,
        clip: Clip,
        style: str | Path | Tensor = "mosaic",
        *,
        model: AdaIN | str | Path | None = None,
        temporal_weight: float = 0.7,
        alpha: float = 1.0,
        method: Method = "dis",
        masked: bool = True,
        frames: int = 48,
        size: int = 144,
        style_size: int = 512,
        rate: float | Fraction = 25,
        folder: str | Path = "out",
    ) -> None:
        TEMPORAL_WEIGHT.check("temporal_weight", temporal_weight)
        ALPHA.check("alpha", alpha)
        positive("size", size)
        positive("style_size", style_size)
        if type(frames) is not int or frames < 2:
            raise ValueError(f"frames is {frames!r}; it takes a whole number, 2 or more")
        self._folder, self._style_size = Path(folder), style_size
        # A kernel may answer two widgets at once, each in a thread.
        self._one_at_a_time = threading.RLock()
        self.style = style_picker(style)
        self.clip = PaintedClip(footage_of(clip, frames, size, rate), loaded_model(model)[0])
        self._paintings: list[Tensor] = []
        self.controls: dict[str, Control] = {
            "temporal_weight": _slider("temporal_weight", TEMPORAL_WEIGHT, temporal_weight),
            "alpha": _slider("alpha", ALPHA, alpha),
            "method": _method_menu(method),
            "masked": _mask_box(masked),
        }
        # Warping errors: of each style, alpha, method and use of the mask, by temporal weight.
        self._curves: dict[tuple[Any, ...], dict[float, float]] = {}
        self.result = self._made()
        self._make_displays()
        self.view = self._laid_out()
        self._measure()
        self._follow_the_user()

    # -------------------------------------------------------------------------- what the user sees

    @property
    def frames(self) -> Sequence[Tensor]:
        """The steady clip that is shown, each frame (1, 3, H, W)."""
        return self.result.frames

    @property
    def seconds(self) -> float:
        """How long the last answer took, until its pictures were there."""
        return self.result.seconds

    @property
    def points(self) -> dict[float, float]:
        """The warping errors of the curve that is shown, by their temporal weights."""
        made = self.result
        key = (made.style, made.alpha, made.method, made.params.masked)
        return self._curves.setdefault(key, {})

    def save(self, _: Any = None) -> Path | None:
        """Write the clip that is shown as an MP4 under a name that is free, as Save does."""
        with self._one_at_a_time:  # what is shown now, whatever is moved in the meantime
            shown, beside = self.result, self.save_menu.value == BESIDE
        footage = self.clip.footage
        stem = f"{footage.name}-{Path(shown.style_name).stem}{'-beside' if beside else ''}"
        frames = _side_by_side(footage.frames, shown.frames) if beside else iter(shown.frames)

        def write() -> tuple[str, Path]:
            path = free_path(self._folder, stem, ".mp4")
            video.write(path, frames, footage.rate, audio=footage.sound)
            return f"{len(shown.frames)} frames", path

        return save(write, self.save_button, self.message)

    # -------------------------------------------------------------------------------- what happens

    def answer(self, _: Any = None) -> None:
        """Show what the controls stand at, or say in a sentence why not."""
        with self._one_at_a_time:
            attempt(self._answer, self.message)

    def _answer(self) -> None:
        made = self._made()
        before, self.result = self.result, made
        self._show(before)
        self._measure()

    def _made(self) -> Result:
        """Return the clip as the controls stand."""
        began = time.perf_counter()
        turned = {name: control.read() for name, control in self.controls.items()}
        style, alpha = self._painting(), float(turned["alpha"])
        method: Method = turned["method"]
        params = Params(
            self.clip.look(style, alpha),
            self.clip.motions(method),
            float(turned["temporal_weight"]),
            turned["masked"],
        )
        frames = compute(params)
        seconds = time.perf_counter() - began
        return Result(params, frames, style, self.style.name, alpha, method, seconds)

    def _painting(self) -> Tensor:
        """Return the painting at its size: the same object for the same pixels, that keeps what is known.

        (The menu loads a picture anew each time.)
        """
        wanted = at_size(self.style.image, self._style_size)
        known = (painting for painting in self._paintings if torch.equal(painting, wanted))
        if (painting := next(known, None)) is not None:
            return painting
        self._paintings.append(wanted)
        return wanted

    def _show(self, before: Result) -> None:
        """Show the clips that have changed; the page changes them as one."""
        made = self.result
        with self.player.hold_sync():
            if made.params.look is not before.params.look:
                self.player.set(ALONE, made.params.look)
            self.player.set(STEADY, made.frames)

    def _measure(self) -> None:
        """Measure the clip that is shown; tell of it, and add it to its curve."""
        made, points = self.result, self.points
        weight = made.params.temporal_weight
        points[0.0], strength_alone = self.clip.alone(made.style, made.alpha, made.method)
        if weight not in points:
            points[weight] = self.clip.error(made.frames, made.method)
        strength = self.clip.strength(made.frames, made.style)
        self.measures = Measures(points[weight], points[0.0], strength, strength_alone)
        self.status.value = told("<br>".join([*self.measures.in_words(), self._caption()]))
        self.curve.value = figure_bytes(draw(points, weight))

    def _caption(self) -> str:
        """Return what was measured by, and what the clip cost, in words."""
        is_known = self.clip.footage.truth is not None
        by = "the true motion" if is_known else "the motion that was found"
        size = pixels(self.frames[0])
        return f"Measured by {by}; {len(self.frames)} frames of {size} in {took(self.seconds)}"

    def _take_method(self, _: Any = None) -> None:
        self.message.value = told("Finding the motion …")  # the first time it takes a while
        self.answer()

    def _follow_the_user(self) -> None:
        self.style.on_change(self.answer)
        self.save_button.on_click(self.save)
        for name, control in self.controls.items():
            control.observe(self._take_method if name == "method" else self.answer)

    # ------------------------------------------------------------------------------ how it is made

    def _make_displays(self) -> None:
        clips = {
            ORIGINAL: self.clip.footage.frames,
            ALONE: self.result.params.look,
            STEADY: self.frames,
        }
        self.player = ClipPlayer(list(clips.items()), rate=float(self.clip.footage.rate))
        self.status, self.message = ipywidgets.HTML(), ipywidgets.HTML()
        self.curve = image_widget(b"\x89PNG", width="100%", max_width="360px")
        self.save_menu = menu_control(
            [BESIDE, STEADY_ONLY], BESIDE, "Clip", "Which clip is written", 44, 150
        ).view
        self.save_button = save_button("Write the clip as an MP4, with the sound that it came with")

    def _laid_out(self) -> Any:
        """Put the parts in their places, and name them for style sheets and tests."""
        row, column = ipywidgets.HBox, ipywidgets.VBox
        style, views = self.style.line(), {n: c.view for n, c in self.controls.items()}
        # The text has its lines also while it is empty, so that nothing jumps from under a hand.
        told_here = column([self.status, self.message], layout={"min_height": "108px"})
        left = column(
            [
                views["temporal_weight"],
                views["alpha"],
                told_here,
                row([self.save_menu, self.save_button], layout=WRAPPING),
            ],
            layout={"flex": "1 1 380px", "min_width": "0"},
        )
        right = column([self.curve], layout={"flex": "0 1 360px", "min_width": "240px"})
        view = column(
            [
                row([style, views["method"], views["masked"]], layout=WRAPPING),
                self.style.message,
                self.player,
                row([left, right], layout={"flex_flow": "row wrap", "grid_gap": "4px 16px"}),
                MenuKeys(),
            ],
            layout={"max_width": "1000px"},
        )
        named = {"video-lab": view, "style": style, "curve": self.curve, "save": self.save_button}
        named |= {"save-menu": self.save_menu, "status": self.status, "message": self.message}
        add_classes(named | views)
        return view

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)


def _slider(name: str, of: Any, value: float) -> Control:
    control = range_control(name, of, float(value), step=0.05)
    control.view.style.description_width = "108px"
    control.view.layout.flex = "0 0 auto"
    return control


def _method_menu(value: Method) -> Control:
    check_method(value)
    found = flow.find_raft_weights() is not None
    offered = {
        name: method
        for name, method in METHODS.items()
        if method != "raft" or found or value == "raft"
    }
    return menu_control(offered, value, "Flow", "How motion is found from frame to frame", 44, 110)


def _mask_box(value: bool) -> Control:
    return plain(
        ipywidgets.Checkbox(
            value=value,
            description="Use the mask",
            tooltip="Blend only where the thing at a pixel could be seen in the frame before",
            indent=False,
            layout={"width": "auto", "margin": "2px 2px 2px 16px"},
        )
    )


def _side_by_side(left: Sequence[Tensor], right: Sequence[Tensor]) -> Iterator[Tensor]:
    return (torch.cat(pair, dim=3) for pair in zip(left, right, strict=True))
