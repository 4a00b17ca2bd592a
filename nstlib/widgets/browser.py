"""Recorded pictures to leaf through: what a model made in the course of its training."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets
from torch import Tensor

from nstlib import images
from nstlib.errors import ImageError
from nstlib.widgets.controls import FILL, LABEL, menu_control
from nstlib.widgets.display import add_classes, attempt, image_widget, preview, told
from nstlib.widgets.menu_keys import MenuKeys
from nstlib.widgets.pictures import WRAPPING

Recorded = str | Path | Tensor  # a file, or an image (1, 3, H, W)
_ONLY = ""  # the name of a run that needs none


def compute(runs: Mapping[str, Sequence[Recorded]], run: str, index: int) -> Tensor:
    """Return one of the recorded pictures, (1, 3, H, W).

    Raises:
        ImageError: its file cannot be read.

    Example:
        >>> import torch
        >>> runs = {"style weight 1": [torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)]}
        >>> compute(runs, "style weight 1", 1).mean().item()
        1.0
    """
    picture = runs[run][index]
    return picture if isinstance(picture, Tensor) else images.load_image(picture)


def draw(picture: Tensor) -> bytes:
    """Return a picture as the bytes of a JPEG file: a longer side above 1024 px becomes that.

    Example:
        >>> import torch
        >>> draw(torch.rand(1, 3, 24, 32))[6:10]
        b'JFIF'
    """
    return preview(picture)


class SampleBrowser:
    """A slider, and a button that plays, over the sheets of samples that a training has left.

    A cell that ends in a browser shows it.

    Args:
        pictures: of one run, in order: files, or images (1, 3, H, W); or of several runs, by their
            names, which then stand in a menu.
        labels: one for each picture of a run: the training step.
        caption: what the pictures show, in words.

    ``picture`` is the image widget, ``slider`` and ``play`` move through the steps, ``menu`` is that
    of the runs (None where there is one).

    Raises:
        ValueError: no pictures, or another number of labels.
        ImageError: a picture's file is missing, or the first cannot be read.

    Example:
        >>> import torch
        >>> sheets = [torch.full((1, 3, 8, 8), grey) for grey in (0.2, 0.5, 0.8)]
        >>> browser = SampleBrowser({"weight 1": sheets, "weight 10": sheets[::-1]}, [0, 500, 1000])
        >>> browser.slider.index = 2
        >>> browser.run, browser.label, round(browser.image.mean().item(), 1)
        ('weight 1', '1,000', 0.8)
    """

    def __init__(
        self,
        pictures: Sequence[Recorded] | Mapping[str, Sequence[Recorded]],
        labels: Sequence[object],
        caption: str = "",
    ) -> None:
        self._runs = dict(pictures) if isinstance(pictures, Mapping) else {_ONLY: pictures}
        _check(self._runs, labels)
        self._caption = caption
        self._make_controls([_label(label) for label in labels])
        self.image = compute(self._runs, self.run, 0)
        # So high that the slider and the last row of a sheet are on one screen.
        self.picture = image_widget(
            draw(self.image), max_width="100%", max_height="520px", align_self="center"
        )
        self.status, self.message = ipywidgets.HTML(self._told()), ipywidgets.HTML()
        self.view = self._laid_out()

    @property
    def run(self) -> str:
        """The name of the run that is chosen; empty where there is only one, without a name."""
        return str(self.menu.value) if self.menu else next(iter(self._runs))

    @property
    def label(self) -> str:
        """The label of the step that is chosen."""
        return str(self.slider.label)

    def _answer(self, _: Any = None) -> None:
        """Show what the controls stand at, or say in a sentence why not."""
        if attempt(self._load, self.message):
            self.picture.value, self.status.value = draw(self.image), self._told()

    def _load(self) -> None:
        self.image = compute(self._runs, self.run, self.slider.index)

    def _told(self) -> str:
        """Return which picture is shown, in words: it has no other text."""
        parts = [self._caption, self.run, f"training step {self.label}"]
        return told(" · ".join(html.escape(part) for part in parts if part))

    def _make_controls(self, labels: Sequence[str]) -> None:
        self.slider = ipywidgets.SelectionSlider(
            options=[(label, index) for index, label in enumerate(labels)],
            description="Training step",
            tooltip="How long the model had been trained when it made the picture",
            style=LABEL | {"description_width": "92px"},
            layout=FILL | {"flex": "1 1 260px"},  # narrower, and the buttons go below
        )
        self.play = ipywidgets.Play(
            min=0,
            max=len(labels) - 1,
            interval=700,
            show_repeat=False,
            tooltip="Go through the steps by itself",
            layout={"width": "108px"},
        )
        traitlets.link((self.play, "value"), (self.slider, "index"))
        self.slider.observe(self._answer, names="index")
        self.menu = None
        if len(self._runs) > 1:
            names = list(self._runs)
            self.menu = menu_control(names, names[0], "Run", "Which training", 92, 220).view
            self.menu.observe(self._answer, names="value")

    def _laid_out(self) -> Any:
        """Put the parts in their places, and name them for style sheets and tests."""
        menu = [self.menu] if self.menu else []
        steps = ipywidgets.HBox([self.slider, self.play], layout=WRAPPING)
        parts = [*menu, steps, self.picture, self.status, self.message, MenuKeys()]
        view = ipywidgets.VBox(parts, layout={"max_width": "1100px"})
        add_classes({"sample-browser": view, "step": self.slider, "play": self.play})
        add_classes({"picture": self.picture, "status": self.status, "message": self.message})
        if self.menu:
            add_classes({"run": self.menu})
        return view

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)


def _check(runs: Mapping[str, Sequence[Recorded]], labels: Sequence[object]) -> None:
    """Raise an error unless each label is of one picture in every run, and the files are there."""
    if not runs or not labels:
        raise ValueError("pictures or labels is empty; it takes one at least")
    named = [_label(label) for label in labels]
    for label in named:
        if named.count(label) > 1:
            raise ValueError(f"labels has {label!r} twice; each must be another")
    for run, pictures in runs.items():
        if len(pictures) != len(labels):
            of = f" of {run!r}" if run else ""
            raise ValueError(f"there are {len(pictures)} pictures{of} and {len(labels)} labels")
        for picture in pictures:
            if not isinstance(picture, Tensor) and not Path(picture).is_file():
                raise ImageError(f"'{picture}' cannot be read: there is no such file")


def _label(label: object) -> str:
    """Return a step as it is told: the thousands of a number apart."""
    return f"{label:,}" if isinstance(label, int) else str(label)
