"""Sliders, menus and boxes over any function: controls from its annotations, a picture below."""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import ipywidgets
from torch import Tensor

from nstlib import images
from nstlib.config import Range
from nstlib.showing import Picture
from nstlib.widgets.controls import LABEL, Control, choice_control, full_words, plain, range_control
from nstlib.widgets.curves import figure_bytes
from nstlib.widgets.display import attempt, image_widget
from nstlib.widgets.menu_keys import MenuKeys

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Explorer:
    """Controls over a picture; see :func:`explore`.

    ``controls`` holds each :class:`Control` by name, ``picture`` is the image widget, ``message``
    the line below it, ``result`` what was computed last.
    """

    def __init__(
        self,
        compute: Callable[..., Any],
        draw: Callable[[Any], Tensor | Figure | Picture],
        controls: Mapping[str, Control],
        caption: str,
    ) -> None:
        self._compute, self._draw = compute, draw
        self.controls = dict(controls)
        self.result = compute(**self.params())
        # At its own size: a small picture that is as wide as the page is a blur.
        self.picture = image_widget(
            _drawn_bytes(draw(self.result)), max_width="100%", align_self="flex-start"
        )
        self.message = ipywidgets.HTML()
        views = [control.view for control in self.controls.values()]
        words = ipywidgets.HTML(html.escape(caption))
        parts = [*views, self.picture, words, self.message, MenuKeys()]
        self.view = ipywidgets.VBox(parts, layout={"max_width": "900px"})
        self.view.add_class("nst-explorer")
        for control in self.controls.values():
            control.observe(self._update)

    def params(self) -> dict[str, Any]:
        """Return what the controls stand at."""
        return {name: control.read() for name, control in self.controls.items()}

    def _update(self, _: Any = None) -> None:
        """Show what the controls stand at, or say in a sentence why not."""
        attempt(self._paint, self.message)

    def _paint(self) -> None:
        self.result = self._compute(**self.params())
        self.picture.value = _drawn_bytes(self._draw(self.result))

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)


def explore(
    compute: Callable[..., Any],
    draw: Callable[[Any], Tensor | Figure | Picture],
    caption: str = "",
    live: bool = False,
    **controls: Sequence[Any] | Range,
) -> Explorer:
    """Show ``draw(compute(...))`` under controls for the parameters of ``compute``.

    Both are plain functions, so that a cell without controls, and a test, can call them too.

    Args:
        compute: its annotated parameters become controls: ``Annotated[float, Range(...)]``
            sliders, ``Literal[...]`` menus, ``bool`` boxes to tick. They begin at their defaults.
        draw: makes an image, a Matplotlib figure or the picture of :func:`nstlib.showing.compare`
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
        return plain(ipywidgets.Checkbox(value=value, description=full_words(name), style=LABEL))
    if isinstance(wanted, (list, tuple)) and wanted:
        return choice_control(name, wanted, wanted[0] if missing else default, live)
    raise TypeError(f"{name} has no Range and no choices; annotate it, or pass {name}=[...]")


def _drawn_bytes(drawn: Tensor | Figure | Picture) -> bytes:
    """Return what was drawn as the bytes of a picture file."""
    if isinstance(drawn, Tensor):
        return images.to_jpeg_bytes(drawn)
    return drawn.data if isinstance(drawn, Picture) else figure_bytes(drawn)
