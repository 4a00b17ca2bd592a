"""The lab with a brush: one style where the user paints, another around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import ipywidgets
import torch
from torch import Tensor

from nstlib import images, masks
from nstlib.widgets.controls import plain
from nstlib.widgets.display import USERS_ERRORS, add_classes, sentence
from nstlib.widgets.mask_brush import RADIUS, MaskBrush
from nstlib.widgets.pictures import WRAPPING, style_picker
from nstlib.widgets.stylist_lab import LabOptions, StylistLab

PHOTO = "the photo itself"
_TOOLS = {"brush": "Brush", "rectangle": "Cut out"}


class MaskLab(StylistLab):
    """A photo with one style where a mask is, and another, or none, around it.

    The mask is painted with a brush; or cut out of a rectangle that is drawn around a thing.

    Args:
        style, around: names of paintings that ship, files, or images; ``around`` may be None: there
            the photo stays.
        mask: (1, 1, H, W), where to begin; a disc in the middle without.
        **options: see :class:`StylistLab`.

    Example:
        >>> from nstlib.adain import AdaIN, Decoder
        >>> from nstlib.encoders import random_encoder
        >>> encoder = random_encoder("slim")
        >>> model = AdaIN(encoder, Decoder.of(encoder, tap="relu1_1"))
        >>> lab = MaskLab("vortex", None, model=model, content="coffee", size=48)
        >>> lab.brush.clear()
        >>> lab.answer()
        >>> torch.equal(lab.image, lab.content)
        True
    """

    name = "mask"

    def __init__(
        self,
        style: str | Path | Tensor = "mosaic",
        around: str | Path | Tensor | None = "woodblock",
        mask: Tensor | None = None,
        **options: Unpack[LabOptions],
    ) -> None:
        super().__init__(**options)
        self.style = style_picker(style)
        self.around = style_picker("woodblock" if around is None else around)
        self.covers = ipywidgets.Checkbox(
            value=around is not None,
            description="a style around it",
            indent=False,
            layout={"width": "auto"},
        )
        self.brush = MaskBrush(self.content, disc(self.content) if mask is None else mask)
        # Beside it the picture takes what room it can get: of the brush's none.
        self.brush.layout = {"flex": "0 0 auto", "width": f"{self.brush.width}px"}
        self._make_tools()
        self.begin()
        self.brush.on_paint(self.answer)
        self.brush.on_rectangle(self._cut)
        for picker in (self.style, self.around):
            picker.on_change(self.answer)
        plain(self.covers).observe(self.answer)

    @property
    def mask(self) -> Tensor:
        """The mask at the size of the photo shown, (1, 1, H, W)."""
        height, width = self.content.shape[2:]
        return images.resize(self.brush.mask, (height, width))

    def styled(self) -> Mapping[str, Any]:
        """Return the style within, the one around it, if any, and their regions."""
        looks = [self.picked(self.style.image, self.style_size)]
        mask = self.mask
        if self.covers.value:
            looks.append(self.picked(self.around.image, self.style_size))
            mask = torch.cat([mask, 1 - mask])
        return {"style": looks, "mask": mask}

    def named(self) -> Mapping[str, Any]:
        """Return the names of the styles, and how much of the photo the first has."""
        around = self.around.name if self.covers.value else PHOTO
        return {"style": [self.style.name, around], "share": round(self.mask.mean().item(), 4)}

    def on_photo(self) -> None:
        """Begin with a disc on another photo."""
        self.brush.show(self.content, disc(self.content))

    # ------------------------------------------------------------------------------ brush and cut

    def _cut(self) -> None:
        """Take what lies in the rectangle out of its background, and paint with the brush again."""
        left, top, right, bottom = self.brush.rectangle
        try:
            self.brush.take(masks.foreground(self.content, (left, top, right, bottom)))
        except (*USERS_ERRORS, ImportError) as error:
            self.message.value = sentence(error)
            return
        self.tool.value = "brush"
        self.answer()

    def _make_tools(self) -> None:
        self.tool = ipywidgets.ToggleButtons(
            options=[(label, name) for name, label in _TOOLS.items()],
            tooltips=["Paint where the style is to be", "Draw a rectangle around a thing"],
            style={"button_width": "76px"},
            layout={"width": "auto"},
        )
        self.radius = ipywidgets.FloatSlider(
            value=self.brush.radius,
            min=RADIUS.low,
            max=RADIUS.high,
            step=0.01,
            description="Brush size",
            readout_format=".2f",
            tooltip="Of the brush: its radius as a share of the photo's shorter side",
            layout={"width": "250px"},
        )
        self.erase = ipywidgets.ToggleButton(description="Erase", layout={"width": "70px"})
        clear = ipywidgets.Button(description="Clear", layout={"width": "70px"})
        invert = ipywidgets.Button(description="Invert", layout={"width": "70px"})
        clear.on_click(lambda _: self._changed(self.brush.clear))
        invert.on_click(lambda _: self._changed(self.brush.invert))
        ipywidgets.link((self.tool, "value"), (self.brush, "mode"))
        ipywidgets.link((self.radius, "value"), (self.brush, "radius"))
        ipywidgets.link((self.erase, "value"), (self.brush, "erase"))
        self._tools = [self.tool, self.erase, clear, invert, self.radius, self.covers]
        add_classes({"erase": self.erase, "clear": clear, "invert": invert, "tool": self.tool})

    def _changed(self, change: Any) -> None:
        change()
        self.answer()

    def panels(self) -> Sequence[Any]:
        """Return the photo under the brush, and the picture."""
        return self.brush, self.picture_shown.view

    def style_view(self) -> Any:
        """Return the brush's tools, and the menus of the styles."""
        style, around = self.style.line(), self.around.line()
        self.around.menu.description, self.around.menu.style.description_width = "Around", "52px"
        add_classes({"style": style, "around": around, "covers": self.covers})
        return ipywidgets.VBox(
            [
                ipywidgets.HBox(self._tools, layout=WRAPPING),
                ipywidgets.HBox([style, around], layout=WRAPPING),
                self.style.message,
                self.around.message,
            ]
        )


def disc(photo: Tensor, radius: float = 0.6) -> Tensor:
    """Return a soft disc in the middle of a photo, (1, 1, H, W); 1 reaches the nearer border.

    Example:
        >>> mask = disc(torch.zeros(1, 3, 40, 60))
        >>> mask[0, 0, 20, 30] > 0.99, mask[0, 0, 0, 0] < 0.01
        (tensor(True), tensor(True))
    """
    height, width = photo.shape[2:]
    rows, columns = (torch.arange(side) - (side - 1) / 2 for side in (height, width))
    distance = (rows[:, None].square() + columns.square()).sqrt() / (min(height, width) / 2)
    return torch.sigmoid(30 * (radius - distance))[None, None]
