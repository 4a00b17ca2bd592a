"""The live lab of notebook 03: any photo, any painting, and how much of it.

What the encoder sees of a photo or of a painting is kept until another takes its place, so that a
move of alpha costs one pass of the decoder.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import ipywidgets
import torch
from torch import Tensor

from nstlib.adain import ALPHA, AdaIN, Content, Style
from nstlib.images import at_size, positive
from nstlib.stylist import Kept
from nstlib.widgets.controls import LIVE, Control, menu_control, range_control
from nstlib.widgets.display import (
    Panel,
    add_classes,
    attempt,
    pixels,
    told,
)
from nstlib.widgets.menu_keys import MenuKeys
from nstlib.widgets.nets import loaded_model
from nstlib.widgets.pictures import (
    WRAPPING,
    Result,
    caption,
    photo_picker,
    save_button,
    save_picture,
    style_picker,
    timed,
    took,
)
from nstlib.widgets.progress import duration

SIZES = (128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072)  # of the menu, in pixels
_LABEL_WIDTH = 44  # px: of what stands under each other

Encoded = TypeVar("Encoded")


# ------------------------------------------------------------------------------- what is computed


@dataclass(frozen=True)
class Seen(Generic[Encoded]):
    """A picture, and what the encoder saw in it."""

    name: str
    whole: Tensor  # (1, 3, H, W), at all its pixels
    image: Tensor  # (1, 3, H, W), at the size that was looked at
    kept: Encoded
    seconds: float  # that the encoder took


@dataclass(frozen=True)
class Params:
    """What an answer of the lab is computed from."""

    content: Content | Tensor
    style: Style
    model: AdaIN
    alpha: float = 1.0


@dataclass(frozen=True)
class Shown:
    """A picture, and what it was made of."""

    photo: Seen[Content | Tensor]
    painting: Seen[Style]
    alpha: float
    result: Result

    @property
    def has_all_pixels(self) -> bool:
        """Whether the picture is of the photo's own size."""
        return self.photo.image.shape == self.photo.whole.shape


def compute(params: Params) -> Result:
    """Paint the photo in the style: where both are encoded, one pass of the decoder.

    Raises:
        ValueError, TypeError: ``alpha`` is no number in [0, 1].

    Example:
        >>> from nstlib.adain import Decoder
        >>> from nstlib.encoders import random_encoder
        >>> encoder = random_encoder("slim")
        >>> model = AdaIN(encoder, Decoder.of(encoder, tap="relu1_1"))
        >>> photo, painting = torch.rand(1, 3, 24, 32), torch.rand(1, 3, 40, 40)
        >>> params = Params(model.content(photo), model.style(painting), model, alpha=0.5)
        >>> tuple(compute(params).image.shape)
        (1, 3, 24, 32)
    """
    model = params.model
    return timed(
        lambda: model.stylize(params.content, params.style, alpha=params.alpha),
        model.encoder.mean.device,
    )


def whole_picture(model: AdaIN, shown: Shown) -> Tensor:
    """Return the picture with all the photo's pixels: in tiles, if these are many."""
    if shown.has_all_pixels:
        return shown.result.image
    return model.stylize(shown.photo.whole, shown.painting.kept, alpha=shown.alpha)


def size_choices(photo: Tensor, wanted: int) -> dict[str, int]:
    """Return the shorter sides that a photo can be painted at, by their names in a menu.

    Example:
        >>> size_choices(torch.rand(1, 3, 300, 400), wanted=200)
        {'128 px': 128, '192 px': 192, '200 px': 200, '256 px': 256, 'all its 300 px': 300}
    """
    own = min(photo.shape[2:])
    sizes = sorted({size for size in (*SIZES, wanted) if size < own})
    return {f"{size} px": size for size in sizes} | {f"all its {own} px": own}


def cost(shown: Shown) -> str:
    """Return what a picture cost, and what it did not cost again, in words."""
    photo, style = took(shown.photo.seconds), took(shown.painting.seconds)
    return f"{caption(shown.result)}<br>Encoded once and kept: photo {photo}, style {style}"


# -------------------------------------------------------------------------------------------- lab


class AdaINLab:
    """The live lab of notebook 03: a photo, a painting, and the photo in the painting's style.

    A cell that ends in a lab shows it.

    Args:
        model: a model, a file of its decoder, or None for the one that ships.
        content: where to begin: the name of a photo that ships, a file, or an image.
        style: the same of a painting.
        alpha: where the slider begins, in [0, 1].
        size: the shorter side of the picture shown; a smaller photo keeps its own pixels.
        style_size: the shorter side at which paintings are looked at; none is enlarged.
        folder: where Save puts pictures.

    ``image`` is the last picture (1, 3, H, W), ``alpha`` what it was painted with, ``seconds`` how
    long that took. ``controls`` holds each :class:`Control` by name: ``alpha`` and ``size``.
    Save paints the photo at all its pixels, whatever size is shown.

    Raises:
        ValueError, TypeError: an argument is wrong.
        WeightsError, ImageError: a file that the lab is to begin with cannot be read.

    Example:
        >>> from nstlib.adain import Decoder
        >>> from nstlib.encoders import random_encoder
        >>> encoder = random_encoder("slim")
        >>> lab = AdaINLab(AdaIN(encoder, Decoder.of(encoder, tap="relu1_1")), "coffee", size=48)
        >>> lab.controls["alpha"].view.value = 0.5
        >>> lab.alpha, tuple(lab.image.shape)
        (0.5, (1, 3, 48, 72))
    """

    def __init__(
        self,
        model: AdaIN | str | Path | None = None,
        content: str | Path | Tensor = "astronaut",
        style: str | Path | Tensor = "vortex",
        alpha: float = 1.0,
        size: int = 384,
        style_size: int = 512,
        folder: str | Path = "out",
    ) -> None:
        ALPHA.check("alpha", alpha)
        positive("size", size)
        positive("style_size", style_size)
        self._size, self._style_size, self._folder = size, style_size, Path(folder)
        # A kernel may answer two widgets at once, each in a thread.
        self._one_at_a_time = threading.RLock()
        self.content, self.style = photo_picker(content), style_picker(style)
        self.model, self._model_name = loaded_model(model)
        # What torch loads with its first pass is no picture's time.
        grey = torch.full((1, 3, 8, 8), 0.5)
        self.model.stylize(grey, grey)
        self._photos = _seeing(self.model.content_or_photo)
        self._paintings = _seeing(self.model.style)
        self.controls: dict[str, Control] = {
            "alpha": _alpha_slider(float(alpha)),
            "size": _size_menu(self.content.image, size),
        }
        self._paint()
        self._make_displays()
        self.view = self._laid_out()

    # -------------------------------------------------------------------------- what the user sees

    @property
    def image(self) -> Tensor:
        """The last picture, (1, 3, H, W)."""
        return self.shown.result.image

    @property
    def seconds(self) -> float:
        """How long it took, without what is encoded once."""
        return self.shown.result.seconds

    @property
    def alpha(self) -> float:
        """What it was painted with."""
        return self.shown.alpha

    def save(self, _: Any = None) -> Path | None:
        """Paint the photo at all its pixels and write it with its recipe, as Save does."""
        shown, photo = self.shown, self.shown.photo
        if not shown.has_all_pixels:
            times = photo.whole[0].numel() / photo.image[0].numel()
            about = duration(times * (2 * photo.seconds + self.seconds))  # tiles are encoded twice
            self.message.value = told(f"Painting {pixels(photo.whole)}, about {about} …")
        stem = f"{Path(photo.name).stem}-{Path(shown.painting.name).stem}"
        return save_picture(
            lambda: whole_picture(self.model, shown),
            (self._folder, stem, self._recipe_of(shown)),
            self.save_button,
            self.message,
        )

    # -------------------------------------------------------------------------------- what happens

    def _paint(self) -> None:
        """Paint what the controls stand at; what cannot be painted leaves the last picture."""
        alpha, size = self.controls["alpha"].read(), self.controls["size"].read()
        photo = self._photos(self.content.name, self.content.image, size)
        painting = self._paintings(self.style.name, self.style.image, self._style_size)
        result = compute(Params(photo.kept, painting.kept, self.model, alpha))
        self.shown = Shown(photo, painting, alpha, result)

    def _answer(self, _: Any = None) -> None:
        """Show what the controls stand at, or say in a sentence why not."""
        with self._one_at_a_time:
            if attempt(self._paint, self.message):
                self._show()

    def _show(self) -> None:
        shown = self.shown
        self.photo_shown.show(shown.photo.image)
        self.style_shown.show(shown.painting.image)
        self.picture_shown.show(shown.result.image)
        self.status.value = told(cost(shown))
        self.controls["alpha"].view.continuous_update = self.seconds < LIVE

    def _take_size(self, _: Any = None) -> None:
        self._size = self.controls["size"].read()
        self._answer()

    def _take_photo(self) -> None:
        """Offer the sizes that another photo has, and paint it at the one last chosen, or its own."""
        menu, choices = self.controls["size"].view, size_choices(self.content.image, self._size)
        # A menu that is given options goes to its first, which nobody picked.
        menu.unobserve(self._take_size, names="value")
        menu.options, menu.value = choices, min(self._size, max(choices.values()))
        menu.observe(self._take_size, names="value")
        self._answer()

    def _recipe_of(self, shown: Shown) -> dict[str, Any]:
        return {
            "method": "adain",
            "content": shown.photo.name,
            "size": min(shown.photo.whole.shape[2:]),
            "style": shown.painting.name,
            "style_size": min(shown.painting.image.shape[2:]),
            "alpha": shown.alpha,
            "model": self._model_name,
        }

    # ------------------------------------------------------------------------------ how it is made

    def _make_displays(self) -> None:
        self.photo_shown, self.style_shown = Panel("Photo"), Panel("Style")
        self.picture_shown = Panel("Result")
        self.status, self.message = ipywidgets.HTML(), ipywidgets.HTML()
        self.save_button = save_button(
            "Paint the photo at all its pixels, whatever size is shown, and write it with its "
            "recipe; the more pixels, the finer the strokes"
        )
        self._show()
        self.content.on_change(self._take_photo)
        self.style.on_change(self._answer)
        self.controls["size"].observe(self._take_size)
        self.controls["alpha"].observe(self._answer)
        self.save_button.on_click(self.save)

    def _laid_out(self) -> Any:
        """Put the parts in their places, and name them for style sheets and tests."""
        row, column = ipywidgets.HBox, ipywidgets.VBox
        alpha, size = self.controls["alpha"].view, self.controls["size"].view
        content, style = self.content.line(), self.style.line()
        hint = ipywidgets.HTML("0: none of the style · 1: all of it", layout={"margin": "2px 8px"})
        panels = (self.photo_shown, self.style_shown, self.picture_shown)
        # The message has its line also while it is empty, so that nothing jumps from under a hand.
        told_here = column(
            [self.status, self.message], layout={"flex": "1 1 auto", "min_height": "86px"}
        )
        view = column(
            [
                row([content, style, size], layout=WRAPPING),
                self.content.message,
                self.style.message,
                row([panel.view for panel in panels], layout={"grid_gap": "8px"}),
                row([alpha, hint], layout=WRAPPING),
                row([told_here, self.save_button]),
                MenuKeys(),
            ],
            layout={"max_width": "1100px"},
        )
        named = {"adain-lab": view, "content": content, "style": style, "size": size}
        names = ("photo-shown", "style-shown", "picture")
        named |= {name: panel.widget for name, panel in zip(names, panels, strict=True)}
        named |= {"alpha": alpha, "save": self.save_button}
        named |= {"status": self.status, "message": self.message}
        add_classes(named)
        return view

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.view._repr_mimebundle_(**options)


def _seeing(encode: Callable[[Tensor], Encoded]) -> Kept[Seen[Encoded]]:
    """Return what encodes a picture when it is first asked for, and keeps that until another's turn."""

    def seen(name: str, whole: Tensor, size: int) -> Seen[Encoded]:
        image = at_size(whole, size)
        began = time.perf_counter()
        kept = encode(image)
        return Seen(name, whole, image, kept, time.perf_counter() - began)

    return Kept(seen, 1)


def _alpha_slider(value: float) -> Control:
    control = range_control("alpha", ALPHA, value, step=0.05)
    control.view.style.description_width = f"{_LABEL_WIDTH}px"
    control.view.layout.flex = "1 1 260px"  # px: narrower, and the hint goes below
    return control


def _size_menu(photo: Tensor, size: int) -> Control:
    choices = size_choices(photo, size)
    value = min(size, max(choices.values()))
    tooltip = "The picture's shorter side; twice as many pixels take four times as long"
    return menu_control(choices, value, "Size", tooltip, _LABEL_WIDTH, 130)
