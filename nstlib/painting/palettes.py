"""Palettes: a handful of colours from dark to light, named for what they evoke.

Any painter takes any palette, by name or as a sequence of hex colours. Painters ask for a tone
between 0 (the darkest) and 1 (the lightest) and get the palette's colour there, so a palette's
hues fall in place by their lightness: night's stars are yellow because its lights are yellow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from nstlib.painting.canvas import Array

PALETTES: dict[str, tuple[str, ...]] = {
    # A southern night: indigo and cobalt under gaslight and stars.
    "night": (
        "#0b1030",
        "#14235c",
        "#1f3f8f",
        "#2f6ab3",
        "#5fa3c7",
        "#9cc9b8",
        "#e3c34a",
        "#f7e9a0",
    ),
    # The hour before the sun: plum hills, rose and coral air, a rim of gold.
    "dawn": (
        "#241035",
        "#4b1d5e",
        "#8c2f6b",
        "#cf4a62",
        "#f07b53",
        "#f7a84a",
        "#fbd477",
        "#fdf1cf",
    ),
    # Prussian blue on handmade paper, with one red seal.
    "prussian": (
        "#0d1b33",
        "#173a63",
        "#2a659a",
        "#c8402f",
        "#6fa3bf",
        "#d9a05b",
        "#e8d9b0",
        "#f6efdc",
    ),
    # Light through a cathedral's window: ruby, cobalt, emerald, amber.
    "cathedral": (
        "#120d18",
        "#5a1140",
        "#14388f",
        "#b0142b",
        "#0f7a4a",
        "#e0641c",
        "#2f9fd0",
        "#f2b21b",
        "#f6edd0",
    ),
    # A Roman floor: marble, terracotta, slate and sea-green.
    "marble": (
        "#22201f",
        "#4a3a33",
        "#8a3b26",
        "#2f6670",
        "#b96a3c",
        "#7fa08c",
        "#d9b57c",
        "#ece1c6",
    ),
    # A harbour at noon: deep water, turquoise shallows, coral boats, warm sand.
    "lagoon": (
        "#0c1c3a",
        "#123f73",
        "#9c2a2f",
        "#12768f",
        "#e0592f",
        "#37adab",
        "#f2a23a",
        "#a8dcc6",
        "#f9edcf",
    ),
    # A summer Sunday by the river: violet shade, emerald grass, orange light.
    "riverside": (
        "#1d2350",
        "#46409a",
        "#1f6b4f",
        "#c2452f",
        "#5b9e3e",
        "#4f9fd0",
        "#f0a23c",
        "#f6d95f",
        "#fbf3d4",
    ),
    # A café table in Paris: umber, slate, ochre and a splinter of vermilion.
    "cafe": (
        "#15120f",
        "#3a2a20",
        "#2f4550",
        "#8f3f22",
        "#6c7a70",
        "#b9853f",
        "#d6b680",
        "#f0e5cb",
    ),
    # A hand-coloured print: iron-gall ink, washes of verdigris, rose and saffron on cream.
    "folio": (
        "#16130f",
        "#1d5580",
        "#b5382a",
        "#3f8f66",
        "#e0862a",
        "#62aed0",
        "#f0c565",
        "#f6ecd2",
    ),
    # Gold leaf and enamel: black-brown, malachite, lapis, vermilion, three golds.
    "gold": (
        "#1c120c",
        "#4a2413",
        "#12494f",
        "#8e2a1e",
        "#2f7d5f",
        "#b5791c",
        "#dba82f",
        "#f3d57a",
        "#fbf0c8",
    ),
    # A pond in June: bottle green, violet shadows, rose blossoms, a white sky.
    "pond": (
        "#0c2033",
        "#1f4a4f",
        "#3a4f8f",
        "#2c8a4c",
        "#7477cc",
        "#d4468a",
        "#9fc48a",
        "#f2b8b5",
        "#f5eed6",
    ),
    # Colour let off the leash: magenta, turquoise, cadmium orange and lemon.
    "fauve": (
        "#1b1142",
        "#5c1a7a",
        "#c21d6a",
        "#0d6f9c",
        "#e8482c",
        "#16a58f",
        "#f58f1f",
        "#f9d33c",
        "#fdf4d3",
    ),
    # Autumn in the hills: peat, wine, rust, moss, saffron and mist.
    "autumn": (
        "#1a120e",
        "#4a1a1c",
        "#8c2f1b",
        "#4f5a24",
        "#c55a1e",
        "#8f9a4a",
        "#e59a2c",
        "#f2cd6c",
        "#f7ecd0",
    ),
    # A fairground at night: candy pink, cherry, cobalt, aqua, tangerine, lemon ice.
    "carnival": (
        "#1a1240",
        "#3a1f9c",
        "#c4123f",
        "#0f6fd6",
        "#f0387f",
        "#12a99a",
        "#ff7f2a",
        "#ffc928",
        "#9fe3e6",
        "#fff3df",
    ),
    # A Sunday supplement: black, royal blue, signal red, sky, orange, yellow on newsprint.
    "comic": (
        "#14121d",
        "#1d3596",
        "#d51f30",
        "#e8691f",
        "#45a6dc",
        "#f2a08c",
        "#fbcf33",
        "#f7ebd0",
    ),
    # A salon in 1900: walnut, sea-green silk, wine, sage, ochre, old rose, ivory.
    "salon": (
        "#22150f",
        "#123c46",
        "#7a2c33",
        "#2f7f80",
        "#b5652b",
        "#7f9a6a",
        "#d98f7c",
        "#e3b04b",
        "#b9cfa8",
        "#f7ead0",
    ),
    # A studio of right angles: lamp black, cobalt, cadmium red, chrome yellow, three greys, white.
    "primary": (
        "#15130f",
        "#1b3f9a",
        "#cf2a1c",
        "#55585c",
        "#8f9499",
        "#f4c21c",
        "#c6cbcb",
        "#f4efe0",
    ),
    # Ink in five dilutions on warm rice paper, a breath of indigo, and the master's seal.
    "sumi": (
        "#14120f",
        "#33302c",
        "#3f5563",
        "#b8321f",
        "#6e6f6a",
        "#8ea0a3",
        "#c2ad80",
        "#e2c88f",
        "#f5e5bc",
    ),
    # Rain on a boulevard at night: ink, ultramarine, violet, teal, scarlet, amber, lamplight.
    "neon": (
        "#0b0d1e",
        "#1a2160",
        "#45227c",
        "#b3203f",
        "#14639c",
        "#e2521f",
        "#2fa3b4",
        "#f79a1e",
        "#a9d8d6",
        "#ffd65a",
        "#fff3cf",
    ),
    # A nomad's dyes: walnut, indigo, madder, olive, rust, turquoise, saffron, camel, wool.
    "kilim": (
        "#1c1414",
        "#1f2f5c",
        "#8f1f26",
        "#2c6a72",
        "#c0432b",
        "#6f8f5a",
        "#e0922f",
        "#8fbfb2",
        "#e9c98a",
        "#f4e8cd",
    ),
}

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def luma(color: Array) -> Array:
    """Return the perceived lightness of colours (..., 3), in [0, 1]."""
    return np.asarray(color @ LUMA, dtype=np.float32)


def _sorted(colors: Array) -> Array:
    """Order colours (K, 3) from dark to light."""
    return np.asarray(colors[np.argsort(luma(colors), kind="stable")], dtype=np.float32)


def _from_hex(text: object) -> list[float]:
    """Return red, green and blue in [0, 1] of '#rrggbb'."""
    if not isinstance(text, str) or not re.fullmatch("#[0-9a-fA-F]{6}", text):
        raise ValueError(f"palette has the colour {text!r}; a colour is written '#rrggbb'")
    return [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]


class Palette:
    """Colours from dark to light, with what painters ask of them.

    Raises:
        ValueError: the name is unknown, a colour is not ``#rrggbb``, or there are fewer than 3.

    Attributes:
        colors: (K, 3), dark first.

    Example:
        >>> palette = Palette("night")
        >>> bool(luma(palette.ink) < luma(palette.paper))
        True
    """

    def __init__(self, colors: str | Sequence[str]) -> None:
        if isinstance(colors, str):
            if colors not in PALETTES:
                raise ValueError(
                    f"palette is {colors!r}; there are {', '.join(PALETTES)}, "
                    "or give a sequence of '#rrggbb' colours"
                )
            colors = PALETTES[colors]
        if not isinstance(colors, Sequence):
            raise TypeError(f"palette is {colors!r}; it takes a name or a sequence of colours")
        if len(colors) < 3:
            raise ValueError(f"palette has {len(colors)} colours; a painter needs at least 3")
        self.colors = _sorted(np.array([_from_hex(color) for color in colors], np.float32))

    def part(self, temperature: Literal["warm", "cool"]) -> Palette:
        """Return the palette's warm (red leads) or cool half, with its ink and paper.

        A palette with no colour of that temperature between ink and paper returns itself.
        """
        inner = self.colors[1:-1]
        is_warm = inner[:, 0] >= inner[:, 1:].max(axis=1)
        kept = inner[is_warm == (temperature == "warm")]
        if len(kept) == 0:
            return self
        half = Palette.__new__(Palette)
        half.colors = _sorted(np.concatenate([self.colors[:1], kept, self.colors[-1:]]))
        return half

    @property
    def ink(self) -> Array:
        """The darkest colour, (3,)."""
        return np.asarray(self.colors[0])

    @property
    def paper(self) -> Array:
        """The lightest colour, (3,)."""
        return np.asarray(self.colors[-1])

    @property
    def reddest(self) -> Array:
        """The colour in which red leads most, (3,): a seal's, or a low sun's."""
        redness = self.colors[:, 0] - self.colors[:, 1:].mean(axis=1)
        return np.asarray(self.colors[int(np.argmax(redness))])

    def at(self, tone: Array | float) -> Array:
        """Return the colours at tones in [0, 1], blended between neighbours: (..., 3)."""
        position = np.clip(np.asarray(tone, np.float32), 0.0, 1.0) * (len(self.colors) - 1)
        below = np.minimum(position.astype(np.int64), len(self.colors) - 2)
        part = (position - below)[..., None].astype(np.float32)
        return np.asarray(self.colors[below] * (1 - part) + self.colors[below + 1] * part)

    def nearest(self, tone: Array | float) -> Array:
        """Return the one palette colour nearest to each tone in [0, 1], unblended: (..., 3)."""
        position = np.clip(np.asarray(tone, np.float32), 0.0, 1.0) * (len(self.colors) - 1)
        return self.colors[np.rint(position).astype(np.int64)]
