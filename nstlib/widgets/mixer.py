"""Sliders for a mixture of styles."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ipywidgets

from nstlib.losses import check_weights
from nstlib.widgets.controls import Control, menu_control

_SEVERAL = ""  # what the menu's value is where no style stands alone: no style has this name
LABEL_WIDTH = 118  # px: of sliders and of what stands above them
_SHARE = {"width": "46px", "display": "flex", "justify_content": "flex-end"}  # under each other
# Two beside each other, and one where the page is narrow: of three, none could be moved finely.
_TWO_COLUMNS = "repeat(auto-fit, minmax(min(100%, max(300px, 40%)), 1fr))"


class StyleMixer:
    """A slider a style, beside each its share of the mixture, and a menu that leaves one alone.

    ``sliders`` and ``shares`` hold the widgets by the styles' names, ``menu`` is the menu and
    ``view`` the sliders.

    Args:
        names: of the styles, one or more.
        weights: where the sliders begin: by name, the others at 0. The largest becomes 1.

    Raises:
        ValueError: a weight has no slider, is negative, or none is above 0.

    Example:
        >>> mixer = StyleMixer(["vortex", "mosaic", "gilded"], {"vortex": 3, "mosaic": 1})
        >>> mixer.shares["mosaic"].value, mixer.menu.label
        ('25 %', 'a mixture')
        >>> mixer.menu.value = "gilded"
        >>> mixer.read()
        {'gilded': 1.0}
    """

    def __init__(self, names: Sequence[str], weights: Mapping[str, float]) -> None:
        check_weights(list(weights.values()))
        unknown = [name for name in weights if name not in names]
        if unknown:
            raise ValueError(f"weights has {', '.join(unknown)}; it takes: {', '.join(names)}")
        most = max(weights.values())
        self.sliders = {name: _slider(name, weights.get(name, 0) / most) for name in names}
        self.shares = {name: ipywidgets.Label(layout=_SHARE) for name in names}
        only = "Only this style: its slider goes to 1 and all others to 0"
        named = [(name, name) for name in names]
        self.menu = menu_control(named, names[0], "Style", only, LABEL_WIDTH, 180).view
        self.view = ipywidgets.GridBox(
            [ipywidgets.HBox([self.sliders[name], self.shares[name]]) for name in names],
            layout={"grid_template_columns": _TWO_COLUMNS, "grid_gap": "0 16px"},
        )
        self._followers: list[Callable[[], None]] = []
        self._quiet = False
        self._show()
        for slider in self.sliders.values():
            slider.observe(self._moved, names="value")
        self.menu.observe(self._only, names="value")

    def read(self) -> dict[str, float]:
        """Return where the sliders stand that are above 0, by the names of their styles.

        Raises:
            ValueError: all are at 0.
        """
        weights = {name: slider.value for name, slider in self.sliders.items() if slider.value > 0}
        if not weights:
            raise ValueError("all styles stand at 0; move one of them up")
        return weights

    def control(self) -> Control:
        """Return the sliders as one control."""
        return Control(self.view, tuple(self.sliders.values()), self.read)

    def on_change(self, follower: Callable[[], None]) -> None:
        """Call ``follower`` whenever the user has made another mixture: once, by slider or menu."""
        self._followers.append(follower)

    def _moved(self, _: Any = None) -> None:
        if self._quiet:
            return
        self._show()
        for follower in self._followers:
            follower()

    def _only(self, _: Any = None) -> None:
        if self._quiet or self.menu.value == _SEVERAL:
            return
        with self._quietly():
            for name, slider in self.sliders.items():
                slider.value = float(name == self.menu.value)
        self._moved()

    def _show(self) -> None:
        """Show the shares, and in the menu the one style that is left."""
        weights = {name: slider.value for name, slider in self.sliders.items()}
        whole = sum(weights.values())
        for name, weight in weights.items():
            self.shares[name].value = f"{100 * weight / whole:.0f} %" if whole else "0 %"
        mixed = [name for name, weight in weights.items() if weight > 0]
        named = [(name, name) for name in weights]
        several = [("a mixture" if mixed else "none", _SEVERAL)]
        options = named if len(mixed) == 1 else several + named
        with self._quietly(), self.menu.hold_sync():
            if self.menu.options != tuple(options):  # given options, a menu goes to its first
                self.menu.options = options
            self.menu.value = mixed[0] if len(mixed) == 1 else _SEVERAL

    @contextlib.contextmanager
    def _quietly(self) -> Iterator[None]:
        """Move widgets as the user would, without an answer to each."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False


def _slider(name: str, value: float) -> Any:
    return ipywidgets.FloatSlider(
        value=value,
        min=0.0,
        max=1.0,
        step=0.01,
        description=name,
        tooltip=f"How much of {name}; the weights of all styles are divided by their sum",
        continuous_update=False,
        style={"description_width": f"{LABEL_WIDTH}px"},
        layout={"width": "auto", "min_width": "0", "flex": "1 1 auto"},
    )
