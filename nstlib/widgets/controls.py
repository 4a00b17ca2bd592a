"""What the user moves: sliders, menus and boxes that mean what a setting means."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets

from nstlib.config import Range

_DECADES = 3  # that the slider of a weight spans, to each side of where it begins
LIVE = 0.05  # seconds: where an answer takes less, it follows the slider while that moves
LABEL = {"description_width": "150px"}
FILL = {"width": "auto", "flex": "1 1 auto"}


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


def plain(widget: Any) -> Control:
    """Return the control of a widget that is shown as it is, and holds one value."""
    return Control(widget, (widget,), lambda: widget.value)


def full_words(name: str) -> str:
    """Return a parameter's name as a label.

    Example:
        >>> full_words("tv_weight")
        'Total variation weight'
    """
    words = ["total variation" if word == "tv" else word for word in name.split("_")]
    return " ".join(words).capitalize()


def range_control(
    name: str, of: Range, value: float, live: bool = False, step: float | None = None
) -> Control:
    """Return the slider of a number; without a ``step``, a hundredth of the range.

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
    options |= {"style": LABEL, "layout": FILL}
    if not of.log:
        whole = isinstance(value, int)
        kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
        step = step or (1 if whole else (of.high - of.low) / 100)
        return plain(kind(value=value, min=of.low, max=of.high, step=step, **options))
    begin, high = value or 1.0, math.log10(of.high)
    low = math.log10(of.low) if of.low > 0 else round(math.log10(begin)) - _DECADES
    if of.low == 0:
        high = min(high, low + 2 * _DECADES)
    slider = ipywidgets.FloatLogSlider(
        value=begin, min=low, max=high, step=0.1, readout_format=".3r", **options
    )
    return _with_switch(slider, value > 0) if of.low == 0 else plain(slider)


def _with_switch(slider: Any, on: bool) -> Control:
    switch = ipywidgets.Checkbox(value=on, description="on", indent=False, layout={"width": "50px"})

    def enable(_: Any = None) -> None:
        slider.disabled = not switch.value

    enable()
    switch.observe(enable, names="value")
    view = ipywidgets.HBox([slider, switch], layout=FILL)
    return Control(view, (slider, switch), lambda: slider.value if switch.value else 0.0)


def choice_control(name: str, choices: Sequence[Any], value: Any, live: bool = False) -> Control:
    """Return a slider over numbers, or a menu of words.

    Example:
        >>> choice_control("layer", ["relu1_1", "relu3_1"], "relu3_1").read()
        'relu3_1'
    """
    if value not in choices:
        raise ValueError(f"{name} begins at {value!r}; it takes {', '.join(map(repr, choices))}")
    options: dict[str, Any] = {"description": full_words(name), "style": LABEL, "value": value}
    if all(isinstance(choice, (int, float)) for choice in choices):
        labelled = [(f"{choice:g}", choice) for choice in choices]
        options |= {"options": labelled, "continuous_update": live, "layout": FILL}
        return plain(ipywidgets.SelectionSlider(**options))
    return plain(
        ipywidgets.Dropdown(options=[(str(choice), choice) for choice in choices], **options)
    )


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


def menu_control(
    options: Any, value: Any, label: str, tooltip: str, label_width: int = 92, width: int = 112
) -> Control:
    """Return a menu of names, or of values by their names; both widths are in pixels."""
    parts = _labelled(label, tooltip, label_width, width)
    return plain(ipywidgets.Dropdown(options=options, value=value, **parts))


def number_control(label: str, of: Range, value: int) -> Control:
    """Return a field for a whole number."""
    options = _labelled(label, of.meaning, 58)
    return plain(ipywidgets.BoundedIntText(value=value, min=of.low, max=of.high, **options))


def _labelled(label: str, tooltip: str, label_width: int, width: int = 112) -> dict[str, Any]:
    # A menu with a label shows no tooltip of its own: the label carries it.
    return {
        "description": f'<span title="{html.escape(tooltip)}">{label}</span>',
        "description_allow_html": True,
        "style": {"description_width": f"{label_width}px"},
        "layout": {"width": f"{label_width + width}px"},
    }
