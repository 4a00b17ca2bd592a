"""What the labs of notebook 04 share: a photo, what can be turned, and the picture that comes of it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import ipywidgets
import torch
from torch import Tensor

from nstlib import images
from nstlib.adain import ALPHA, AdaIN, Match
from nstlib.images import at_size, positive
from nstlib.strokes import STROKE_SIZE
from nstlib.stylist import KeepColor, Kept, Stylist, check_colors
from nstlib.widgets.controls import LIVE, Control, menu_control, plain, range_control
from nstlib.widgets.display import Panel, add_classes, attempt, pixels, told
from nstlib.widgets.menu_keys import MenuKeys
from nstlib.widgets.nets import loaded_model
from nstlib.widgets.pictures import (
    WRAPPING,
    Result,
    caption,
    photo_picker,
    save_button,
    save_picture,
    timed,
)

LABEL_WIDTH = 84  # px: of what stands under each other
STROKE_SIZES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
# What the menu's value is where no colours are kept: None would be that of a menu without a choice.
_PAINTINGS = "painting"
COLORS: dict[str, str] = {
    "the painting's": _PAINTINGS,
    "the photo's, by lightness": "luminance",
    "the photo's, matched before": "match",
}
MATCHES: dict[str, str] = {
    "each channel": "deviation",
    "all, whitened": "whitening",
    "all, transported": "transport",
}


@dataclass(frozen=True)
class Params:
    """What an answer of a lab is computed from: the arguments of :meth:`Stylist.stylize`."""

    stylist: Stylist
    content: Tensor
    style: Sequence[Tensor]
    weights: Sequence[float] | None = None
    alpha: float = 1.0
    mask: Tensor | None = None
    keep_color: KeepColor | None = None
    match: Match = "deviation"
    stroke_size: float = 1.0

    def at_all_pixels(self, photo: Tensor) -> Params:
        """Return what makes the same picture of the whole photo: its strokes, and its mask, grow."""
        times = min(photo.shape[2:]) / min(self.content.shape[2:])
        mask = self.mask
        if mask is not None:
            mask = images.resize(mask, (photo.shape[2], photo.shape[3]))
        # A stylist of its own, that is forgotten with the whole photo.
        stylist = (
            self.stylist if photo.shape == self.content.shape else Stylist(self.stylist.model, 1)
        )
        larger = self.stroke_size * times
        return replace(self, stylist=stylist, content=photo, mask=mask, stroke_size=larger)


def compute(params: Params) -> Result:
    """Paint the photo as the controls stand.

    Raises:
        TypeError, ValueError: as :meth:`Stylist.stylize`.

    Example:
        >>> from nstlib.adain import Decoder
        >>> from nstlib.encoders import random_encoder
        >>> encoder = random_encoder("slim")
        >>> stylist = Stylist(AdaIN(encoder, Decoder.of(encoder, tap="relu1_1")))
        >>> photo, a, b = torch.rand(3, 1, 3, 40, 48)
        >>> tuple(compute(Params(stylist, photo, [a, b], [0.3, 0.7], stroke_size=0.5)).image.shape)
        (1, 3, 40, 48)
    """
    given = {
        name: value for name, value in vars(params).items() if name not in ("stylist", "content")
    }
    device = params.stylist.model.encoder.mean.device
    return timed(lambda: params.stylist.stylize(params.content, **given), device)


class LabOptions(TypedDict, total=False):
    """What every lab over a stylist takes by name: see :class:`StylistLab`."""

    model: AdaIN | str | Path | None
    content: str | Path | Tensor
    alpha: float
    keep_color: KeepColor | None
    match: Match
    stroke_size: float
    size: int
    style_size: int
    folder: str | Path


class StylistLab(ABC):
    """A lab over a :class:`Stylist`: what a subclass adds is where the styles and their shares are.

    A cell that ends in a lab shows it.

    Args:
        model: a model, a file of its decoder, or None for the one that ships.
        content: where to begin: the name of a photo that ships, a file, or an image.
        alpha, keep_color, match, stroke_size: where the controls begin.
        size: the shorter side of the picture shown; a smaller photo keeps its own pixels.
        style_size: the shorter side at which paintings are looked at; none is enlarged.
        folder: where Save puts pictures.

    ``image`` is the last picture (1, 3, H, W), ``params`` what it was made from, ``seconds`` how long
    it took. ``controls`` holds each :class:`Control` by name. Save paints the photo at all its pixels,
    with strokes that are as much larger.

    Raises:
        ValueError, TypeError: an argument is wrong.
        WeightsError, ImageError: a file that the lab is to begin with cannot be read.
    """

    name: str  # of the lab, for style sheets and tests
    params: Params
    result: Result
    _whole: Tensor
    _recipe: dict[str, Any]

    def __init__(
        self,
        *,
        model: AdaIN | str | Path | None = None,
        content: str | Path | Tensor = "astronaut",
        alpha: float = 1.0,
        keep_color: KeepColor | None = None,
        match: Match = "deviation",
        stroke_size: float = 1.0,
        size: int = 384,
        style_size: int = 512,
        folder: str | Path = "out",
    ) -> None:
        ALPHA.check("alpha", alpha)
        STROKE_SIZE.check("stroke_size", stroke_size)
        positive("size", size)
        positive("style_size", style_size)
        self.size, self.style_size, self._folder = size, style_size, Path(folder)
        # A kernel may answer two widgets at once, each in a thread.
        self._one_at_a_time = threading.RLock()
        self.photo = photo_picker(content)
        loaded, self._model_name = loaded_model(model)
        self.stylist = Stylist(loaded, kept=8)
        # A picture at a size stays one object, and so is encoded once. Few are kept of what is picked:
        # with each goes the whole photo.
        self.seen, self.picked = Kept(at_size, 32), Kept(at_size, 4)
        # What torch loads with its first pass is no picture's time.
        grey = torch.full((1, 3, 32, 32), 0.5)
        self.stylist.stylize(grey, grey)
        self.controls: dict[str, Control] = {
            "alpha": _labelled(range_control("alpha", ALPHA, float(alpha), step=0.05)),
            "stroke_size": _stroke_control(stroke_size),
            "keep_color": _color_menu(keep_color),
            "match": _menu(
                "match", MATCHES, match, "Match", "What the photo's maps take of the style's", 130
            ),
        }

    # -------------------------------------------------------------- what a subclass says of styles

    @abstractmethod
    def styled(self) -> Mapping[str, Any]:
        """Return ``style``, and ``weights`` or ``mask``, as they stand: of :class:`Params`."""

    @abstractmethod
    def named(self) -> Mapping[str, Any]:
        """Return what the recipe of a saved picture says of its styles."""

    @abstractmethod
    def style_view(self) -> Any:
        """Return the controls of the styles, to stand beside the picture."""

    def on_photo(self) -> None:  # noqa: B027 – most labs have nothing to do there
        """Follow another photo, before it is painted."""

    # -------------------------------------------------------------------------- what the user sees

    @property
    def image(self) -> Tensor:
        """The last picture, (1, 3, H, W)."""
        return self.result.image

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.result.seconds

    @property
    def content(self) -> Tensor:
        """The photo at the size that is shown."""
        return self.picked(self.photo.image, self.size_shown)

    @property
    def size_shown(self) -> int:
        """The shorter side of the picture."""
        height, width = self.photo.image.shape[2:]
        return min(self.size, height, width)

    def save(self, _: Any = None) -> Path | None:
        """Paint what is shown, at all the photo's pixels, and write it with its recipe, as Save does."""
        with self._one_at_a_time:  # what is shown now, whatever is moved in the meantime
            whole, shown, recipe = self._whole, self.params, self._recipe
        params = shown.at_all_pixels(whole)
        if whole.shape != self.image.shape:
            self.message.value = told(f"Painting {pixels(whole)} …")
        stem = f"{Path(recipe['content']).stem}-{self.name}"
        recipe = recipe | {"stroke_size": params.stroke_size}
        return save_picture(
            lambda: compute(params).image,
            (self._folder, stem, recipe),
            self.save_button,
            self.message,
        )

    # -------------------------------------------------------------------------------- what happens

    def begin(self) -> None:
        """Paint the first picture, and put all in its place; a subclass ends its making with this."""
        self.paint()
        self.photo_shown, self.picture_shown = Panel("Photo"), Panel("Result")
        self.status, self.message = ipywidgets.HTML(), ipywidgets.HTML()
        self.save_button = save_button(
            "Paint the photo at all its pixels, with strokes that are as much larger, and write it "
            "with its recipe"
        )
        self.view = self._laid_out()
        self._show()
        self.photo.on_change(self._take_photo)
        self.save_button.on_click(self.save)
        for control in self.controls.values():
            control.observe(self.answer)

    def paint(self) -> None:
        """Paint what the controls stand at; what cannot be painted leaves the last picture."""
        turned = {name: control.read() for name, control in self.controls.items()}
        params = Params(self.stylist, self.content, **turned, **self.styled())
        # What Save paints is what is shown, wherever the controls have gone since.
        whole = self.photo.image
        recipe = {
            "method": "adain",
            "model": self._model_name,
            "content": self.photo.name,
            "size": min(whole.shape[2:]),
            "style_size": self.style_size,
            **self.named(),
            **turned,
        }
        self.result = compute(params)
        self.params, self._whole, self._recipe = params, whole, recipe

    def answer(self, _: Any = None) -> None:
        """Show what the controls stand at, or say in a sentence why not."""
        with self._one_at_a_time:
            if attempt(self.paint, self.message):
                self._show()

    def _show(self) -> None:
        self.photo_shown.show(self.content)
        self.picture_shown.show(self.image)
        self.status.value = told(caption(self.result))
        self.controls["alpha"].view.continuous_update = self.seconds < LIVE

    def _take_photo(self) -> None:
        self.on_photo()
        self.answer()

    # ------------------------------------------------------------------------------ how it is made

    def panels(self) -> Sequence[Any]:
        """Return what is shown in a row: the photo and the picture, unless a lab has its own."""
        return self.photo_shown.view, self.picture_shown.view

    def _laid_out(self) -> Any:
        """Put the parts in their places, and name them for style sheets and tests."""
        row, column = ipywidgets.HBox, ipywidgets.VBox
        photo, views = self.photo.line(), {n: c.view for n, c in self.controls.items()}
        # The message has its line also while it is empty, so that nothing jumps from under a hand.
        told_here = column(
            [self.status, self.message], layout={"flex": "1 1 auto", "min_height": "62px"}
        )
        view = column(
            [
                row([photo, views["keep_color"], views["match"]], layout=WRAPPING),
                self.photo.message,
                row(list(self.panels()), layout={"grid_gap": "8px"}),
                self.style_view(),
                row([views["alpha"], views["stroke_size"]], layout=WRAPPING),
                row([told_here, self.save_button]),
                MenuKeys(),
            ],
            layout={"max_width": "1000px"},
        )
        named = {f"{self.name}-lab": view, "photo": photo, "photo-shown": self.photo_shown.widget}
        named |= {"picture": self.picture_shown.widget, "save": self.save_button}
        named |= {"status": self.status, "message": self.message, **views}
        add_classes(named)
        return view

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)


def _labelled(control: Control) -> Control:
    control.view.style.description_width = f"{LABEL_WIDTH}px"
    control.view.layout.flex = "1 1 300px"
    return control


def _stroke_control(value: float) -> Control:
    sizes = sorted({*STROKE_SIZES, float(value)})
    slider = ipywidgets.SelectionSlider(
        options=[(f"{size:g} ×", size) for size in sizes],
        value=float(value),
        description="Stroke size",
        tooltip=STROKE_SIZE.meaning,
        continuous_update=False,
    )
    return _labelled(plain(slider))


def _color_menu(value: KeepColor | None) -> Control:
    check_colors(value)
    control = _menu(
        "keep_color", COLORS, value or _PAINTINGS, "Colours", "Whose colours the picture has", 210
    )
    menu = control.view
    return replace(control, read=lambda: None if menu.value == _PAINTINGS else menu.value)


def _menu(
    name: str, choices: Mapping[str, Any], value: Any, label: str, tooltip: str, width: int
) -> Control:
    if value not in choices.values():
        takes = ", ".join(repr(choice) for choice in choices.values())
        raise ValueError(f"{name} is {value!r}; it takes {takes}")
    return menu_control(dict(choices), value, label, tooltip, 60, width)
