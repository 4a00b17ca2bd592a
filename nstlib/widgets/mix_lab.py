"""The lab with a slider a style: mixtures, alpha, colours and strokes, live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from torch import Tensor

from nstlib import images
from nstlib.widgets.mixer import StyleMixer
from nstlib.widgets.stylist_lab import LabOptions, StylistLab


class MixLab(StylistLab):
    """A photo in a mixture of styles: a slider each, whose weights are divided by their sum.

    Args:
        styles: names of paintings that ship, or paintings by their names.
        weights: where the sliders begin, by name, the others at 0; without, all alike.
        **options: see :class:`StylistLab`.

    Example:
        >>> from nstlib.adain import AdaIN, Decoder
        >>> from nstlib.encoders import random_encoder
        >>> encoder = random_encoder("slim")
        >>> model = AdaIN(encoder, Decoder.of(encoder, tap="relu1_1"))
        >>> lab = MixLab(["vortex", "mosaic"], {"mosaic": 1}, model=model, content="coffee", size=48)
        >>> lab.mixer.sliders["vortex"].value = 1.0
        >>> lab.params.weights, tuple(lab.image.shape)
        ([0.5, 0.5], (1, 3, 48, 72))
    """

    name = "mix"

    def __init__(
        self,
        styles: Sequence[str] | Mapping[str, Tensor] = ("vortex", "woodblock", "mosaic", "impasto"),
        weights: Mapping[str, float] | None = None,
        **options: Unpack[LabOptions],
    ) -> None:
        super().__init__(**options)
        self.pictures = pictures_of(styles)
        self.mixer = StyleMixer(list(self.pictures), weights or dict.fromkeys(self.pictures, 1.0))
        self.begin()
        self.mixer.on_change(self.answer)

    def styled(self) -> Mapping[str, Any]:
        """Return the styles that have a share, and their weights."""
        weights = self.mixer.read()
        whole = sum(weights.values())
        return {
            "style": [self.seen(self.pictures[name], self.style_size) for name in weights],
            "weights": [weight / whole for weight in weights.values()],
        }

    def named(self) -> Mapping[str, Any]:
        """Return the names of the styles, and their weights."""
        weights = self.mixer.read()
        return {"style": list(weights), "weights": list(weights.values())}

    def style_view(self) -> Any:
        """Return the sliders."""
        return self.mixer.view


def pictures_of(styles: Sequence[str] | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return paintings by their names: of those that ship, or as they are given.

    Raises:
        TypeError: a name alone.
        ValueError: none is given, or a name that none has.
        ImageError: a painting that ships cannot be read.
    """
    if isinstance(styles, str):
        raise TypeError(f"styles is {styles!r}; it takes several names, or pictures by their names")
    if isinstance(styles, Mapping):
        pictures = dict(styles)
        for name, picture in pictures.items():
            images.check_image(f"styles[{name!r}]", picture)
    else:
        pictures = {name: images.style(name) for name in styles}
    if not pictures:
        raise ValueError("styles is empty; it takes one at least")
    return pictures
