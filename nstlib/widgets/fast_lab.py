"""The live lab of notebook 02: a fast style net, its dial, and mixtures of its styles.

A picture takes the net one pass, so there is nothing to run and to stop: each answer is computed
where the control that was moved is handled.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ipywidgets
import torch
from torch import Tensor

from nstlib.config import Range
from nstlib.images import at_size, positive
from nstlib.transform_net import TransformNet
from nstlib.widgets.controls import Control, plain, range_control
from nstlib.widgets.display import (
    add_classes,
    attempt,
    image_widget,
    preview,
    told,
)
from nstlib.widgets.menu_keys import MenuKeys
from nstlib.widgets.mixer import LABEL_WIDTH, StyleMixer
from nstlib.widgets.nets import SHIPPED, NetPicker
from nstlib.widgets.pictures import (
    WRAPPING,
    Result,
    caption,
    draw,
    photo_picker,
    save_button,
    save_picture,
    timed,
)

__all__ = ["FastLab", "Params", "Result", "caption", "compute", "draw"]

_DIAL = "The more, the further the picture goes from the photo, towards the style"
_SIDE_BY_SIDE = {"flex": "1 1 0", "min_width": "0", "max_height": "440px"}


@dataclass(frozen=True)
class Params:
    """What an answer of the lab is computed from."""

    photo: Tensor  # (1, 3, H, W), at the size of the picture to make
    net: TransformNet
    style: Mapping[str, float] | None = None  # styles of the net by weight; without, its first
    style_weight: float | None = None  # without, the upper end of the net's dial


def compute(params: Params) -> Result:
    """Paint the photo: one pass of the net.

    Raises:
        ValueError: the net lacks a style, or its dial does not go there.
        MemoryError: the photo is too large for what is free.

    Example:
        >>> net = TransformNet(width=0.25, styles=("vortex", "mosaic"), dial=(1, 100))
        >>> result = compute(Params(torch.rand(1, 3, 24, 32), net, {"mosaic": 1.0}, 10))
        >>> tuple(result.image.shape)
        (1, 3, 24, 32)
    """
    return timed(
        lambda: params.net.stylize(params.photo, params.style, style_weight=params.style_weight),
        params.net.head.weight.device,
    )


class FastLab:
    """The live lab of notebook 02: a net paints a photo anew whenever a control has been moved.

    A cell that ends in a lab shows it.

    Args:
        content: where to begin: the name of a photo that ships, a file, or an image.
        net: a net, a file of one, or None for the one that ships.
        size: the shorter side of the picture; a smaller photo keeps its own pixels.
        style: of the net: a name, several, or names with their weights; None is its first.
        style_weight: where the dial begins; None is its upper end.
        folder: where Save puts pictures.

    ``image`` is the last picture (1, 3, H, W), ``style`` and ``style_weight`` what it was painted
    with, ``seconds`` how long the net took. ``controls`` holds each :class:`Control` by name, as
    far as the net has them: ``net``, ``style`` (the menu), ``mix`` (the sliders), ``style_weight``.

    Raises:
        ValueError, TypeError: the net has no such style or style weight, or an argument is wrong.
        WeightsError, ImageError: a file that the lab is to begin with cannot be read.

    Example:
        >>> lab = FastLab("coffee", size=48)
        >>> lab.controls["style"].view.value = "woodblock"
        >>> lab.controls["style_weight"].view.value = 10.0
        >>> lab.style, lab.style_weight, tuple(lab.image.shape)
        ({'woodblock': 1.0}, 10.0, (1, 3, 48, 72))
    """

    def __init__(
        self,
        content: str | Path | Tensor = "astronaut",
        net: str | Path | TransformNet | None = None,
        size: int = 384,
        style: str | Sequence[str] | Mapping[str, float] | None = None,
        style_weight: float | None = None,
        folder: str | Path = "out",
    ) -> None:
        positive("size", size)
        self._size = size
        self._folder = Path(folder)
        # A kernel may answer two widgets at once, each in a thread.
        self._one_at_a_time = threading.RLock()
        self.photo = photo_picker(content)
        self.nets = NetPicker(SHIPPED if net is None else net)
        # A wrong style ends it here; and what torch loads with its first pass is no picture's time.
        self.nets.net.stylize(torch.zeros(1, 3, 8, 8), style, style_weight=style_weight)
        self.controls: dict[str, Control] = {}
        self.mixer: StyleMixer | None = None
        self._make_controls(_weights(self.nets.net, style), style_weight)
        self._resized = at_size(self.photo.image, self._size)  # once, not at each move
        self._paint()
        self._make_displays()
        self.view = self._laid_out()

    # -------------------------------------------------------------------------- what the user sees

    @property
    def image(self) -> Tensor:
        """The last picture, (1, 3, H, W)."""
        return self._result.image

    @property
    def seconds(self) -> float:
        """How long the net took for it."""
        return self._result.seconds

    @property
    def style(self) -> Mapping[str, float] | None:
        """The weights of its styles by name; None where the net has no styles to choose from."""
        return self._params.style

    @property
    def style_weight(self) -> float | None:
        """Where the dial stood for it; None where the net has none."""
        return self._params.style_weight

    def params(self) -> Params:
        """Return what the controls stand at.

        Raises:
            ValueError: they do not go together; the message says why.
        """
        mix, dial = self.controls.get("mix"), self.controls.get("style_weight")
        return Params(
            self._resized,
            self.nets.net,
            mix.read() if mix else None,
            dial.read() if dial else None,
        )

    def save(self, _: Any = None) -> Path | None:
        """Write the picture with its recipe under a name that is free, as Save does."""
        with self._one_at_a_time:  # what is shown now, whatever is moved in the meantime
            image, recipe = self.image, self._recipe
        names = recipe["style"] or [Path(recipe["net"]).stem]
        look = names[0] if len(names) == 1 else "mixture"
        stem = f"{Path(recipe['content']).stem}-{look}"
        return save_picture(
            lambda: image, (self._folder, stem, recipe), self.save_button, self.message
        )

    # -------------------------------------------------------------------------------- what happens

    def _paint(self) -> None:
        """Paint what the controls stand at; what cannot be painted leaves the last picture."""
        params = self.params()
        self._result = compute(params)
        self._params, self._recipe = params, self._recipe_of(params)

    def _answer(self, _: Any = None) -> None:
        """Show what the controls stand at, or say in a sentence why not."""
        with self._one_at_a_time:
            if attempt(self._paint, self.message):
                self.picture.value = draw(self._result)
                self.status.value = told(caption(self._result))

    def _take_photo(self) -> None:
        with self._one_at_a_time:
            self._resized = at_size(self.photo.image, self._size)
            self.photo_shown.value = preview(self._resized)
            self._answer()

    def _take_net(self) -> None:
        with self._one_at_a_time:
            self._follow_the_net()
            self._answer()

    def _follow_the_net(self) -> None:
        """Make its controls; what both nets have stays where it stands."""
        shape = self.nets.net.shape
        sliders = self.mixer.sliders if self.mixer else {}
        weights = {name: slider.value for name, slider in sliders.items() if name in shape.styles}
        dial = self.controls.get("style_weight")
        style_weight = dial.read() if dial else None
        self._make_controls(
            weights if any(weights.values()) else _weights(self.nets.net, None),
            style_weight if style_weight and _is_on(shape.dial, style_weight) else None,
        )
        self._settings.children = self._setting_views()

    def _recipe_of(self, params: Params) -> dict[str, Any]:
        style = params.style or {}
        return {
            "method": "fast",
            "content": self.photo.name,
            "size": min(params.photo.shape[2:]),
            "net": self.nets.name,
            "style": list(style),
            "weights": list(style.values()),
            "style_weight": params.style_weight,
        }

    # ------------------------------------------------------------------------------ how it is made

    def _make_controls(self, weights: Mapping[str, float], style_weight: float | None) -> None:
        """Make the controls that the net has, and let the lab follow them."""
        shape, menu = self.nets.net.shape, self.nets.menu
        self.controls = {"net": Control(menu, (menu,), lambda: self.nets.name)}
        self.mixer = StyleMixer(shape.styles, weights) if shape.styles else None
        if self.mixer:
            self.mixer.on_change(self._answer)
            self.controls["style"] = plain(self.mixer.menu)
            self.controls["mix"] = self.mixer.control()
        if len(shape.dial) > 1:
            self.controls["style_weight"] = _dial(shape.dial, style_weight or shape.dial[-1])
            self.controls["style_weight"].observe(self._answer)

    def _make_displays(self) -> None:
        self.photo_shown = image_widget(preview(self._resized), **_SIDE_BY_SIDE)
        self.picture = image_widget(draw(self._result), **_SIDE_BY_SIDE)
        self.status = ipywidgets.HTML(told(caption(self._result)))
        self.message = ipywidgets.HTML()
        self.save_button = save_button("Write the picture, at all its pixels, with its recipe")
        self.save_button.on_click(self.save)
        self.photo.on_change(self._take_photo)
        self.nets.on_change(self._take_net)

    def _setting_views(self) -> list[Any]:
        """Return the controls that follow the net, from the top down."""
        add_classes({name: control.view for name, control in self.controls.items()})
        views = [self.controls["style_weight"].view] if "style_weight" in self.controls else []
        if self.mixer:
            hint = ipywidgets.HTML(
                "or mix: beside each slider stands its share", layout={"margin": "2px 8px"}
            )
            views += [ipywidgets.HBox([self.mixer.menu, hint], layout=WRAPPING), self.mixer.view]
        return views

    def _laid_out(self) -> Any:
        """Put the parts in their places, and name them for style sheets and tests."""
        row, column = ipywidgets.HBox, ipywidgets.VBox
        photo = self.photo.line()
        # The message has its line also while it is empty, so that nothing jumps from under a hand.
        told_here = column(
            [self.status, self.message], layout={"flex": "1 1 auto", "min_height": "62px"}
        )
        self._settings = column(self._setting_views())
        view = column(
            [
                row([photo, self.nets.menu], layout=WRAPPING),
                self.photo.message,
                self.nets.message,
                row([self.photo_shown, self.picture], layout={"grid_gap": "8px"}),
                row([told_here, self.save_button]),
                self._settings,
                MenuKeys(),
            ],
            layout={"max_width": "900px"},
        )
        named = {"fast-lab": view, "photo": photo}
        named |= {"photo-shown": self.photo_shown, "picture": self.picture}
        named |= {"status": self.status, "message": self.message, "save": self.save_button}
        add_classes(named)
        return view

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)


def _weights(
    net: TransformNet, style: str | Sequence[str] | Mapping[str, float] | None
) -> Mapping[str, float]:
    """Return the weights that a style or several stand for; without, the net's first."""
    if isinstance(style, Mapping):
        return style
    names = [style] if isinstance(style, str) else list(style or net.shape.styles[:1])
    return {name: float(names.count(name)) for name in names}


def _is_on(dial: Sequence[float], style_weight: float) -> bool:
    return len(dial) > 1 and dial[0] <= style_weight <= dial[-1]


def _dial(places: Sequence[float], value: float) -> Control:
    """Return the slider of the style weight over a net's dial."""
    low, high = places[0], places[-1]
    control = range_control("style_weight", Range(low, high, _DIAL, log=True), value)
    control.view.style.description_width = f"{LABEL_WIDTH}px"

    def read() -> float:
        """Return the value; at an end the end itself, for 10 ** log10(20) is a little above 20."""
        value: float = control.view.value
        return next((end for end in (low, high) if math.isclose(value, end)), value)

    return replace(control, read=read)
