"""The lab with a pad: a point between four styles, or on a map of many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack

import ipywidgets
import torch
from torch import Tensor

from nstlib.interpolation import corner_weights, near_weights, spaced, style_map
from nstlib.widgets.mix_lab import pictures_of
from nstlib.widgets.style_pad import CORNERS, EDGE, StylePad
from nstlib.widgets.stylist_lab import LabOptions, StylistLab

Arrangement = Literal["corners", "map"]
CORNERS_SIDE, MAP_SIDE = 260, 420  # px: of the pad on the page
_APART = 104  # px: from picture to picture on a map, so that none hides another's name


class PadLab(StylistLab):
    """A photo in the mixture at a point: between four styles in the corners, or among any on a map.

    Args:
        styles: names of paintings that ship, or paintings by their names; four in the corners.
        arrangement: ``"corners"``, or ``"map"``: each style where its statistics put it
            (:func:`~nstlib.interpolation.style_map`), and the nearer to the point, the more of it.
        x, y: where the point begins, from the top left, in [0, 1].
        **options: see :class:`StylistLab`.

    Raises:
        ValueError: not four styles for the corners, or fewer than two for a map.

    Example:
        >>> from nstlib.adain import AdaIN, Decoder
        >>> from nstlib.encoders import random_encoder
        >>> encoder = random_encoder("slim")
        >>> model = AdaIN(encoder, Decoder.of(encoder, tap="relu1_1"))
        >>> lab = PadLab(model=model, content="coffee", size=48)
        >>> lab.pad.move(1.0, 0.0)
        >>> lab.params.weights
        [0.0, 1.0, 0.0, 0.0]
    """

    name = "pad"

    def __init__(
        self,
        styles: Sequence[str] | Mapping[str, Tensor] = ("vortex", "woodblock", "mosaic", "impasto"),
        arrangement: Arrangement = "corners",
        x: float = 0.5,
        y: float = 0.5,
        **options: Unpack[LabOptions],
    ) -> None:
        super().__init__(**options)
        self.pictures = pictures_of(styles)
        if arrangement not in ("corners", "map"):
            raise ValueError(f"arrangement is {arrangement!r}; it takes 'corners' or 'map'")
        if arrangement == "corners" and len(self.pictures) != 4:
            raise ValueError(f"styles has {len(self.pictures)}; a square has four corners")
        self.arrangement = arrangement
        self._looks = [self.seen(picture, self.style_size) for picture in self.pictures.values()]
        self._places = self._placed()
        places = CORNERS if arrangement == "corners" else [tuple(p) for p in self._places.tolist()]
        side = CORNERS_SIDE if arrangement == "corners" else MAP_SIDE
        self.pad = StylePad(list(self.pictures), list(self.pictures.values()), places, x, y, side)
        self.begin()
        self._tell()
        self.pad.on_move(self._move)

    def _placed(self) -> Tensor:
        """Return where the styles are, (K, 2)."""
        if self.arrangement == "corners":
            return torch.tensor(CORNERS)
        places = style_map([self.stylist.style(picture) for picture in self._looks])
        # As far apart as they are wanted, or as so many can be.
        return spaced(places, min(_APART / (MAP_SIDE - 2 * EDGE), 0.75 / len(places) ** 0.5))

    def weights(self) -> list[float]:
        """Return how much of each style there is at the point."""
        x, y = self.pad.x, self.pad.y
        if self.arrangement == "corners":
            return corner_weights(x, y).tolist()
        return near_weights(self._places, torch.tensor([x, y])).tolist()

    def _move(self) -> None:
        self._tell()
        self.answer()

    def _tell(self) -> None:
        self.pad.shares = [min(1.0, weight) for weight in self.weights()]

    def styled(self) -> Mapping[str, Any]:
        """Return all styles, and their weights."""
        return {"style": self._looks, "weights": self.weights()}

    def named(self) -> Mapping[str, Any]:
        """Return the names of the styles, and their weights."""
        return {"style": list(self.pictures), "weights": self.weights()}

    def panels(self) -> Sequence[Any]:
        """Return the pad and the picture; what the photo is, its menu says."""
        return self.pad, self.picture_shown.view

    def style_view(self) -> Any:
        """Return how the pad is used by keyboard."""
        return ipywidgets.HTML(
            "Drag the point; or press Tab to it, then the arrows (finer with Shift)"
        )
