r"""Any style in one pass: AdaIN, and the decoder that turns its maps back into pictures.

An encoder sees the photo and the style. Each channel of the photo's maps is brought to the mean and
the spread that it has in the style; a decoder, trained once and for all styles, paints a picture
that the encoder would see so:

.. math:: t = (1-\alpha)\,f(c) + \alpha\left(\sigma(f(s))\,\frac{f(c)-\mu(f(c))}{\sigma(f(c))}
          + \mu(f(s))\right), \qquad x = g(t)

The decoder g mirrors the encoder f: its layers bear the names of those they undo, it grows the maps
by nearest neighbours where the encoder halved them, and it has no norms, which would undo what AdaIN
did.

Reference:
    Huang & Belongie, Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization,
    2017.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import EllipsisType
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nstlib import config, gaussians, kernels, masks
from nstlib.config import Precision, Range
from nstlib.decoders import Decoder, Shape
from nstlib.encoders import (
    Encoder,
    block_of,
    conv_names,
    load_encoder,
    mirrored_maps,
)
from nstlib.errors import TilesWarning, WeightsError
from nstlib.images import check_image
from nstlib.kernels.arguments import float32_at_least
from nstlib.kernels.moments import renormalized_exactly
from nstlib.memory import memory_for, reused_memory
from nstlib.styles import STYLE_EPS, Style, at_size_of, gathered, mix, stacked, style_of
from nstlib.weights import read_weights

__all__ = [
    "ALPHA",
    "AdaIN",
    "Content",
    "Decoder",
    "Match",
    "Shape",
    "Style",
    "load_adain",
    "mix",
    "steering_of",
    "style_of",
]

Maps = dict[str, Tensor]
Match = Literal["deviation", "whitening", "transport"]
LARGEST_WHOLE = 1 << 22  # pixels of a picture that is made in one piece
TILE = 1024  # px
SMALL_TILE = 512  # px, where memory ran out
EPS = 1e-5  # added to a channel's variance, as kernels.adain does
ALPHA = Range(0, 1, "how much of the style")
# The statistics of a region are as if so many pixels of it were spread over the whole picture: those
# of a small one lean on the picture's own, and those of an empty one are the picture's own.
LEANING = 256


# ----------------------------------------------------------------------------------------- model


@dataclass(frozen=True, eq=False)
class Content:
    """A photo as a model sees it: encoded once, decoded as often as something else changes."""

    maps: Mapping[str, Tensor]  # of all taps at which a model looks
    tap: str  # the one that is decoded
    own: Style  # what steers the decoder where alpha is 0
    size: tuple[int, int]  # height and width, in pixels
    stride: int  # that the size was made a multiple of
    device: torch.device  # where the photo lay, and where its pictures go

    @cached_property
    def whole(self) -> Style:
        """All statistics, the covariance too: computed when they are first asked for."""
        return style_of(self.maps, EPS, whole=[self.tap])


def together(contents: Sequence[Content]) -> Content:
    """Return photos of one size that were encoded one by one as one content, a row for each.

    Raises:
        ValueError: no photo, or of several sizes or models.

    Example:
        >>> model, (a, b) = load_adain(), torch.rand(2, 1, 3, 32, 40)
        >>> pair = together([model.content(a), model.content(b)])
        >>> tuple(model.stylize(pair, torch.rand(1, 3, 32, 32)).shape)
        (2, 3, 32, 40)
    """
    kinds = {(content.tap, content.size, content.stride, *content.maps) for content in contents}
    if len(kinds) != 1:
        raise ValueError(
            f"contents are of {len(kinds)} sizes or models; photos are painted together that are of one"
        )
    first = contents[0]
    maps = {tap: torch.cat([one.maps[tap] for one in contents]) for tap in first.maps}
    return replace(first, maps=maps, own=stacked([one.own for one in contents]))


class AdaIN(nn.Module):
    """An encoder and the decoder that was trained for it: any photo in any style.

    Args:
        encoder: whose maps are given the style's statistics.
        decoder: of that encoder's shape.

    Raises:
        ValueError: a decoder of another encoder.

    Example:
        >>> model = load_adain()
        >>> photo, painting = torch.rand(1, 3, 45, 31), torch.rand(1, 3, 64, 64)
        >>> tuple(model.stylize(photo, model.style(painting), alpha=0.7).shape)
        (1, 3, 45, 31)
    """

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        widths = decoder.shape.widths
        if encoder.widths[: len(widths)] != widths:
            raise ValueError(
                f"decoder mirrors an encoder of widths {widths}; encoder {encoder.name!r} has "
                f"{encoder.widths[: len(widths)]}"
            )
        self.encoder, self.decoder = encoder, decoder

    def in_dtype(self, dtype: torch.dtype) -> AdaIN:
        """Return this model with convolutions that compute in ``dtype``; its style and alpha do not.

        What computes in it already is no copy.
        """
        return AdaIN(self.encoder.in_dtype(dtype), self.decoder.in_dtype(dtype))

    @property
    def taps(self) -> tuple[str, ...]:
        """Where photos are given the statistics of the style."""
        return self.decoder.shape.taps

    @torch.no_grad()
    def style(self, image: Tensor) -> Style:
        """Return what there is to know about a style picture: to be kept, and used for many photos.

        Args:
            image: (1, 3, H, W) in [0, 1], of any size.
        """
        return self._style(image, self._whole("transport"))

    def _style(self, image: Tensor, whole: Sequence[str]) -> Style:
        check_image("style", image)
        if _is_large(image):
            padded = _in_whole_strides(image, self.decoder.shape.stride)
            return self._style_of_tiles(padded, TILE, STYLE_EPS, whole=whole)
        return style_of(self._encoded(image), whole=whole)

    def _whole(self, match: Match) -> list[str]:
        """Return the taps whose covariance it takes to ``match``."""
        return [] if match == "deviation" else [self.decoder.shape.tap]

    @torch.no_grad()
    def content(self, image: Tensor) -> Content:
        """Return a photo as :meth:`stylize` takes it a second time, without encoding it again.

        Args:
            image: (N, 3, H, W) in [0, 1], of any size.

        Raises:
            MemoryError: its maps are too large for what is free; the message says what fits.
        """
        check_image("content", image, batch=True)
        height, width = image.shape[2:]
        place = self.encoder.mean.device
        needed = self._memory_needed((height, width), len(image))
        with memory_for("content", (height, width), needed, place):
            maps, shape = self._encoded(image), self.decoder.shape
            own = style_of({tap: maps[tap] for tap in shape.steered_by}, EPS)
        return Content(maps, shape.tap, own, (height, width), shape.stride, image.device)

    def _memory_needed(self, size: tuple[int, int], count: int = 1, regions: int = 1) -> int:
        """Return about how many bytes so many pictures take in one piece: most, at their full size.

        There a map of the first layer, what comes of it and a copy with a border are alive at once.
        Each region has its mask, and restyled maps of its own.
        """
        bytes_each = next(self.decoder.parameters()).element_size()
        shape, pixels = self.decoder.shape, size[0] * size[1]
        each = 4 * shape.widths[0] * bytes_each + 4 * 3 * 4
        deepest = 4 * shape.widths[-1] / self.encoder.strides[shape.tap] ** 2
        return int(pixels * (count * each + (regions - 1) * (3 * deepest + 6 * 4)))

    def content_or_photo(self, image: Tensor) -> Content | Tensor:
        """Return what :meth:`stylize` is to be given for several styles or alphas of one photo.

        That is its :meth:`content`; or the photo as it is where it will be made in tiles, since the
        maps of all tiles would fill the memory.
        """
        check_image("content", image, batch=True)
        return image if _is_large(image) else self.content(image)

    @torch.no_grad()
    def stylize(
        self,
        content: Tensor | Content,
        style: Tensor | Style | Sequence[Tensor | Style],
        *,
        alpha: float | Sequence[float] | Tensor = 1.0,
        tile: int | None = None,
        mask: Tensor | None = None,
        match: Match = "deviation",
    ) -> Tensor:
        r"""Return ``content`` in a style: exactly its size, on its own device.

        Content, styles and alphas may each be several, in one batched pass: one of a kind serves all
        of the others. With a ``mask`` there is one picture, and a style for each region of it.

        Args:
            content: (N, 3, H, W) in [0, 1], or what :meth:`content` returned for it.
            style: a picture (1, 3, H, W), or what :meth:`style` or :func:`mix` returned; or several.
            alpha: how much of the style, in [0, 1]; or several.
            tile: side in pixels of the tiles that a picture is made in, with the statistics of the
                whole: less memory, more time, the same picture. Without, pictures of more than 4
                megapixels are made so, and those for which memory runs out, with a
                :class:`~nstlib.errors.TilesWarning`.
            mask: (R, 1, H, W) in [0, 1]: how much of the picture is of each of R regions where. The
                photo's statistics are taken in each region by itself. Where the regions' sum is
                below 1, the photo's own maps have the rest (decoded: a :class:`~nstlib.stylist.Stylist`
                leaves the photo itself there); where it is above, they are divided by it.
            match: what the photo's maps take from the style's: mean and ``"deviation"`` of each
                channel, which is AdaIN; or mean and covariance of all channels, by ``"whitening"``
                and colouring, or by optimal ``"transport"``
                (:func:`~nstlib.gaussians.transport`), with :math:`t = A\,(f(c) - \mu_c) + \mu_s`.

        Raises:
            TypeError, ValueError: no such pictures, a style or content of another model, an alpha or
                tile outside its range, numbers of contents, styles, alphas and regions that do not
                fit, or a tile for a content that was encoded as a whole.
            MemoryError: it is too large for what is free; the message says what fits.

        Example:
            >>> model, photo = load_adain(), torch.rand(1, 3, 32, 40)
            >>> a, b = model.style(torch.rand(1, 3, 48, 48)), model.style(torch.rand(1, 3, 48, 48))
            >>> tuple(model.stylize(photo, [a, b]).shape)
            (2, 3, 32, 40)
            >>> left = (torch.arange(40) < 20).float().expand(1, 1, 32, 40)
            >>> tuple(model.stylize(photo, [a, b], mask=torch.cat([left, 1 - left])).shape)
            (1, 3, 32, 40)
        """
        if match not in get_args(Match):
            raise ValueError(
                f"match is {match!r}; it takes {', '.join(map(repr, get_args(Match)))}"
            )
        if isinstance(content, Content):
            self._check_content(content)
            if tile is not None:
                raise ValueError(
                    f"tile is {tile}; a Content was encoded as a whole: give the picture"
                )
            count, size = len(content.maps[content.tap]), content.size
        else:
            check_image("content", content, batch=True)
            tile = TILE if tile is None and _is_large(content) else tile
            count, size = len(content), (content.shape[2], content.shape[3])
        given = [style] if isinstance(style, (Tensor, Style)) else style
        whole = self._whole(match)
        known = [part if isinstance(part, Style) else self._style(part, whole) for part in given]
        if match == "deviation":  # what is not asked for need not be decomposed
            known = [replace(part, covariances={}) for part in known]
        styles = stacked(known)
        self._check_maps("style", styles.means, self.decoder.shape.looked_at)
        self._check_root(styles, match)
        alphas = check_alphas(alpha)
        if mask is not None:
            masks.check_mask("mask", mask, size)
        _check_counts(count, len(styles), len(alphas), mask)
        wanted = _Wanted(styles, alphas, match)
        if mask is not None:
            wanted = self._in_regions(wanted, mask)
        rows = max(count, len(wanted.style), len(wanted.alpha))
        counts = {"count": rows} if mask is None else {"regions": rows}
        with reused_memory():
            if tile is None:
                try:
                    needed = self._memory_needed(size, **counts)
                    with memory_for("content", size, needed, self.encoder.mean.device):
                        seen = content if isinstance(content, Content) else self.content(content)
                        return self._decoded(seen, wanted)
                except MemoryError as error:
                    if isinstance(content, Content) or max(size) <= SMALL_TILE:
                        raise
                    told = f"{error} in one piece. It is made in tiles, which takes longer"
                    warnings.warn(told, TilesWarning, stacklevel=2)
                    tile = SMALL_TILE
            assert isinstance(content, Tensor)  # a Content has no tile, and was painted or refused
            return self._in_tiles(content, wanted, tile)

    def _in_regions(self, wanted: _Wanted, mask: Tensor) -> _Wanted:
        """Return what is wanted in each region, and in what no region covers: the photo."""
        shares, rows = masks.shares(mask).to(self.encoder.mean.device), len(mask)
        style = wanted.style if len(wanted.style) > 1 else wanted.style.rows([0] * rows)
        alpha = wanted.alpha.expand(rows)
        rest = 1 - shares.sum(dim=0, keepdim=True)
        if bool((rest > 1e-6).any()):  # else it is rounding
            shares = torch.cat([shares, rest])
            style = style.rows([*range(rows), 0])
            alpha = torch.cat([alpha, alpha.new_zeros(1)])
        shares = _in_whole_strides(shares, self.decoder.shape.stride)
        return _Wanted(style, alpha, wanted.match, shares)

    def _check_content(self, content: Content) -> None:
        """Raise ValueError unless a content was encoded by a model whose decoder is like this one's."""
        shape = self.decoder.shape
        self._check_maps("content", content.maps, shape.looked_at)
        self._check_maps("content", content.own.means, shape.steered_by)
        if content.stride != shape.stride:
            raise ValueError(
                f"content is of another model: its stride is {content.stride}; this model's is "
                f"{shape.stride}"
            )

    def _check_maps(self, argument: str, found: Mapping[str, Tensor], taps: Sequence[str]) -> None:
        """Raise ValueError unless what was taken from a picture is of this model's taps."""
        has = {tap: part.shape[1] for tap, part in found.items()}
        takes = {tap: self.encoder.channels[tap] for tap in taps}
        if has != takes:
            raise ValueError(
                f"{argument} is of another model: its taps and their channels are {has}; this "
                f"model's are {takes}"
            )

    def _check_root(self, style: Style, match: Match) -> None:
        if match != "deviation" and self.decoder.shape.tap not in style.covariances:
            raise ValueError(
                f"style has no covariance, which match={match!r} takes; AdaIN.style returns it"
            )

    def _decoded(self, content: Content, wanted: _Wanted) -> Tensor:
        shape, own = self.decoder.shape, content.own
        if wanted.shares is not None:
            counted = _counted(wanted.shares, content.size)
            own = style_of(content.maps, EPS, counted, self._whole(wanted.match))
        elif wanted.match != "deviation":
            own = content.whole
        restyled = {tap: _restyled(content.maps[tap], own, wanted, tap) for tap in shape.taps}
        height, width = content.size
        target = steering_of(own, wanted.style, wanted.alpha, shape)
        painted: Tensor = self.decoder(restyled, target, self._steered(wanted))
        painted = painted[:, :, :height, :width]
        return painted.to(content.device)

    def _steered(self, wanted: _Wanted) -> Tensor | None:
        """Return the regions as they steer the decoder: as soft as the maps know them, without a seam.

        The maps have them in steps of their stride, and the layers after them mix what is near. What
        steers a layer would change from pixel to pixel.
        """
        if wanted.shares is None:
            return None
        return masks.soften(wanted.shares.clamp(0, 1), self.encoder.strides[self.decoder.shape.tap])

    def _encoded(self, image: Tensor) -> Maps:
        """Return the maps of a picture that goes on as in a mirror, of whole decoder strides."""
        padded = _in_whole_strides(image.to(self.encoder.mean.device), self.decoder.shape.stride)
        return mirrored_maps(self.encoder, padded, self.decoder.shape.looked_at)

    # ---------------------------------------------------------------------------------- in tiles

    @property
    def reach(self) -> int:
        """How many pixels away a pixel of the photo can be, at most, to change one of the result.

        (Through the maps. Through the statistics, every pixel changes all.)
        """
        shape = self.decoder.shape
        strides = [1 << (block_of(layer) - 1) for layer in shape.layers]
        # A convolution sees one step to each side; so does its mirror, and an upsampling or pool.
        seen = 2 * (sum(strides) + sum(set(strides)))
        seen += (2 * shape.coarse + 2) * shape.stride if shape.coarse else 0
        # A border of 8 px is mirrored, which takes a tile of more than that.
        return math.ceil(max(seen, 8) / shape.stride) * shape.stride

    def _in_tiles(self, content: Tensor, wanted: _Wanted, tile: int) -> Tensor:
        shape, (height, width) = self.decoder.shape, content.shape[2:]
        if not isinstance(tile, int) or tile < 1 or tile % shape.stride:
            raise ValueError(f"tile is {tile}; it takes a multiple of {shape.stride} px")
        padded = _in_whole_strides(content, shape.stride)
        counted = None if wanted.shares is None else _counted(wanted.shares, (height, width))
        own = self._style_of_tiles(padded, tile, EPS, counted, self._whole(wanted.match))
        soft = self._steered(wanted)
        target = steering_of(own, wanted.style, wanted.alpha, shape)
        painted: Tensor | None = None
        for inside, around in _tiles(padded.shape[2:], tile, self.reach):
            here = wanted.within(around)
            maps = self._encoded(padded[around.of(1)])
            restyled = {
                tap: _restyled(maps[tap], own, here, tap, is_whole=False) for tap in self.taps
            }
            made = self.decoder(restyled, target, None if soft is None else soft[around.of(1)])
            if painted is None:
                painted = made.new_empty(len(made), *padded.shape[1:], device=padded.device)
            painted[inside.of(1)] = made[inside.within(around).of(1)]
        assert painted is not None  # no picture is empty
        return painted[:, :, :height, :width]

    def _style_of_tiles(
        self,
        padded: Tensor,
        tile: int,
        eps: float,
        counted: Tensor | None = None,
        whole: Sequence[str] = (),
    ) -> Style:
        """Return the statistics of the whole picture's maps, or of its regions', from its tiles."""
        counts: list[Tensor] = []
        parts: list[Style] = []
        for inside, around in _tiles(padded.shape[2:], tile, self.reach):
            maps = self._encoded(padded[around.of(1)])
            within = inside.within(around)
            here = {tap: part[within.of(self.encoder.strides[tap])] for tap, part in maps.items()}
            shares = None if counted is None else counted[inside.of(1)]
            parts.append(style_of(here, 0, shares, whole))
            counts.append(torch.tensor([inside.area]) if shares is None else shares.sum((1, 2, 3)))
        return gathered(parts, torch.stack(counts).cpu().double(), eps)


@dataclass(frozen=True)
class _Wanted:
    """What is made of the maps of a photo: a row of each for each picture, or each region of one."""

    style: Style
    alpha: Tensor  # (rows,), in float64, where numbers are computed
    match: Match
    shares: Tensor | None = None  # (rows, 1, H, W) of sum 1, in whole strides: the regions

    def within(self, box: _Box) -> _Wanted:
        """Return what is wanted in a part of the picture."""
        return self if self.shares is None else replace(self, shares=self.shares[box.of(1)])


@dataclass(frozen=True)
class _Box:
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def within(self, other: _Box) -> _Box:
        """Return this box as seen from the corner of another."""
        rows, columns = other.top, other.left
        return _Box(self.top - rows, self.left - columns, self.bottom - rows, self.right - columns)

    def of(self, stride: int) -> tuple[EllipsisType, slice, slice]:
        """Return what cuts the box out of maps (N, C, H, W) with a stride."""
        rows = slice(self.top // stride, self.bottom // stride)
        return ..., rows, slice(self.left // stride, self.right // stride)


def _tiles(size: Sequence[int], tile: int, reach: int) -> Iterator[tuple[_Box, _Box]]:
    """Yield the boxes that make up a picture, each with the box that it depends on."""
    height, width = size
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            around = _Box(
                max(0, top - reach),
                max(0, left - reach),
                min(height, bottom + reach),
                min(width, right + reach),
            )
            yield _Box(top, left, bottom, right), around


def steering_of(content: Style, style: Style, alpha: float | Tensor, shape: Shape) -> Tensor | None:
    """Return the statistics that a result is to have, (N, :attr:`Shape.steering`), or None.

    Args:
        content, style: what a photo has by itself, and a style; alpha lies between them.
        alpha: in [0, 1], or (N,).
        shape: of the decoder, which may be steered by none.
    """
    if not shape.steered_by:
        return None
    sides = ((content.means, style.means), (content.stds, style.stds))
    return torch.cat(
        [_between(own[tap], other[tap], alpha) for own, other in sides for tap in shape.steered_by],
        dim=1,
    )


def _between(own: Tensor, other: Tensor, alpha: float | Tensor) -> Tensor:
    """Return the statistics (N, C) that lie at ``alpha`` between two; each may have a row for all."""
    if not isinstance(alpha, Tensor):
        return torch.lerp(own, other.expand_as(own), alpha)
    rows = max(len(own), len(other), len(alpha))
    return torch.lerp(own.expand(rows, -1), other.expand(rows, -1), alpha[:, None].to(own))


def _restyled(
    features: Tensor, own: Style, wanted: _Wanted, tap: str, is_whole: bool = True
) -> Tensor:
    """Return maps with the statistics that are wanted of them: of each picture, or mixed of regions.

    Args:
        features: (N, C, H, W), or one picture's for all rows of ``wanted``.
        own: the statistics of the whole picture's maps, or of its regions'.
        wanted: its shares, if any, of the size of the features' part of the picture.
        tap: where the features were taken.
        is_whole: ``features`` are all of the picture's, so that its statistics are theirs.
    """
    style, alpha = wanted.style, wanted.alpha
    if wanted.match != "deviation" and tap in own.covariances:
        rows = _recolored(features, own, wanted, tap)
    elif is_whole and wanted.shares is None:
        count = max(len(features), len(style), len(alpha))
        features = features.expand(count, -1, -1, -1)
        mean, std = style.means[tap], style.stds[tap]
        return kernels.adain(features, mean, std, alpha.to(mean))
    else:
        gain = _between(own.stds[tap], style.stds[tap], alpha)
        level = _between(own.means[tap], style.means[tap], alpha)
        mean, std = (part[tap].expand_as(gain) for part in (own.means, own.stds))
        rows = renormalized_exactly(features.expand(len(gain), -1, -1, -1), mean, std, gain, level)
    if wanted.shares is None:
        return rows
    mixed = (rows * at_size_of(wanted.shares, features)).sum(dim=0, keepdim=True)
    return mixed.to(rows.dtype)


def _recolored(features: Tensor, own: Style, wanted: _Wanted, tap: str) -> Tensor:
    """Return maps with the style's mean and covariance of all channels, or part of the way there."""
    style = wanted.style
    carry = {"whitening": gaussians.whitening, "transport": gaussians.transport}[wanted.match]
    carried = carry(own.covariances[tap], style.roots[tap])
    stay = torch.eye(carried.shape[-1]).to(carried)
    linear = stay + wanted.alpha.to(stay)[:, None, None] * (carried - stay)  # (rows, C, C)
    level = _between(own.means[tap], style.means[tap], wanted.alpha)
    values = float32_at_least(features).permute(0, 2, 3, 1)  # (N, H, W, C), as channels lie
    apart = values - own.means[tap][:, None, None]
    moved: Tensor = apart.flatten(1, 2) @ linear.mT.to(apart) + level[:, None]  # (N, H·W, C)
    height, width = features.shape[2:]
    return moved.view(-1, height, width, moved.shape[2]).permute(0, 3, 1, 2).to(features.dtype)


def _counted(shares: Tensor, size: tuple[int, int]) -> Tensor:
    """Return how much each pixel counts for the statistics of each region, which are never of none."""
    return shares + LEANING / (size[0] * size[1])


def check_alphas(alpha: float | Sequence[float] | Tensor) -> Tensor:
    """Return one alpha or several as (N,), each in its range."""
    values: Any = alpha.tolist() if isinstance(alpha, Tensor) else alpha
    several = values if isinstance(values, Sequence) and not isinstance(values, str) else [values]
    if not several:
        raise ValueError("alpha is empty; it takes a number, or several")
    checked = [float(ALPHA.check("alpha", value)) for value in several]
    return torch.tensor(checked, dtype=torch.float64)  # as exact as any picture; it is few numbers


def _check_counts(contents: int, styles: int, alphas: int, mask: Tensor | None) -> None:
    """Raise ValueError unless there is one of each kind, or as many as of the others."""
    if mask is None:
        if len({contents, styles, alphas} - {1}) > 1:
            raise ValueError(
                f"there are {contents} contents, {styles} styles and {alphas} alphas; each must be "
                "1, or as many as the others"
            )
        return
    regions = len(mask)
    if contents != 1 or not {styles, alphas} <= {1, regions}:
        raise ValueError(
            f"mask has {regions} regions, and there are {contents} contents, {styles} styles and "
            f"{alphas} alphas; it takes 1 content, and of styles and alphas 1 or {regions}"
        )


def _is_large(image: Tensor) -> bool:
    return len(image) * image.shape[2] * image.shape[3] > LARGEST_WHOLE


def _in_whole_strides(image: Tensor, stride: int) -> Tensor:
    """Repeat the last row and column until the stride divides the size, and there is a mirror."""
    # A mirrored border of 8 px needs 9 px, and that of one step in the smallest map two steps.
    smallest = max(9, 2 * stride)
    more_height, more_width = (
        math.ceil(max(side, smallest) / stride) * stride - side for side in image.shape[2:]
    )
    if not more_height and not more_width:
        return image
    return F.pad(image, (0, more_width, 0, more_height), mode="replicate")


# ----------------------------------------------------------------------------------------- files


def load_adain(
    source: str | Path = "adain",
    encoder: Encoder | None = None,
    *,
    device: str | torch.device = "cpu",
    precision: Precision = "auto",
) -> AdaIN:
    """Return a trained model, ready to stylise.

    Args:
        source: ``"adain"``, the decoder that ships; a file that ``nst train adain`` wrote; or the
            ``decoder.pth`` of AdaIN's port to PyTorch, with its own encoder:
            ``load_adain("decoder.pth", load_encoder("vgg19", weights="vgg_normalised.pth"))``.
        encoder: for which it was trained, where that does not ship.
        device: where it computes.
        precision: what its convolutions compute in; ``"auto"`` is the faster on that device.

    Raises:
        WeightsError: no such file, or none of such a decoder.
        ValueError: no encoder, or one of another shape, for a decoder that does not say its own.
    """
    path = Path(source)
    if source == "adain":
        path = config.data_dir() / "weights" / "adain.safetensors"
    state, facts = read_weights(path)
    is_of_port = "1.weight" in state
    try:
        if is_of_port:
            state, facts = _from_adain_port(state)
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in facts["shape"].items()}
        decoder = Decoder(**fields)
        decoder.load_state_dict({name: value.float() for name, value in state.items()})
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else error
        raise WeightsError(f"{path}: is no decoder of ours: {what}") from error
    if is_of_port and not (encoder and encoder.mirrors):
        raise ValueError(
            f"encoder is {encoder and encoder.name!r}; {path.name} takes the one that it was trained "
            'with: load_encoder("vgg19", weights="vgg_normalised.pth")'
        )
    identity = facts.get("encoder")  # of the one that it was trained for, if the file says so
    if encoder is None:
        encoder = _encoder_of(identity, path) if identity else load_encoder("slim")
    if identity and encoder.identity != identity:
        raise WeightsError(
            f"{path}: was trained with the encoder {identity}; the one here is {encoder.identity}"
        )
    place = config.pick_device(device)
    model = (
        AdaIN(copy.deepcopy(encoder), decoder)
        .to(place)
        .in_dtype(config.pick_dtype(precision, place))
    )
    return model.requires_grad_(False).eval()


def _encoder_of(identity: dict[str, str], path: Path) -> Encoder:
    try:
        options: Any = {"pooling": identity["pooling"], "padding": identity["padding"]}
        return load_encoder(identity["name"], **options)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"encoder is None; {path} was trained with {identity}, which does not ship"
        ) from error


def _from_adain_port(theirs: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the weights of the port's ``decoder.pth`` under our names, and the shape they are of.

    It is a mirror of VGG-19 to relu4_1, as ours are: for each layer a padding by reflection, the
    convolution and a ReLU, and after the last of a block an upsampling.
    """
    layers = [layer for layer, _ in conv_names()][:9]
    indices = {layer: 1 + 3 * i + 4 - block_of(layer) for i, layer in enumerate(reversed(layers))}
    names = {
        f"{index}.{part}": f"convs.{layer}.{part}"
        for layer, index in indices.items()
        for part in ("weight", "bias")
    }
    widths = [theirs[f"{indices[layer]}.weight"].shape[1] for layer in layers]
    shape = {"widths": widths, "tap": "relu4_1", "output": "clamp"}
    return {names.get(name, name): value for name, value in theirs.items()}, {"shape": shape}
